"""The identity, alone or as a set."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from tmeasures.transformations.base import Ids, Transformation, TransformationSet


class Identity(Transformation):
    """The identity; it takes items of any shape and dtype."""

    is_identity = True

    def __init__(self) -> None:
        super().__init__("identity")

    def inverse(self) -> Identity:
        """Itself."""
        return self

    def acting_on(self, shape: Sequence[int], dims: Sequence[str], item: Sequence[int]) -> Identity:
        """Itself, on outputs of any shape."""
        return self

    def _apply(self, batch: Tensor, ids: Ids, seed: int) -> Tensor:
        return batch


def identity() -> TransformationSet:
    """The set of the identity alone, m = 1: what is measured where no transformations are given.

    Items of any shape pass, token ids unchanged; uint8 becomes float32 / 255 as in every set.

    Example:
        >>> import torch
        >>> identity()
        <identity: 1 transformation; identity 0>
        >>> identity().apply(torch.arange(3)[:, None])
        tensor([[[0]],
        <BLANKLINE>
                [[1]],
        <BLANKLINE>
                [[2]]])
    """
    return TransformationSet("identity", [Identity()])
