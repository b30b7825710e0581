"""Tile: what one step of a walk hands on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from torch import Tensor

Inputs = Tensor | dict[str, Any]
"""A batch for a network: a tensor, or a mapping in which tensors have the batch axis first."""

V = TypeVar("V")
W = TypeVar("W")


@dataclass(frozen=True, slots=True)
class Tile(Generic[V]):
    """A block of the samples x transformations matrix and the activations in it.

    Inside the network's hooks ``values`` is one layer's tensor, ``(sample, transformation,
    *unit)``; from `tmeasures.walk` it maps each layer's name to such a tensor.

    Attributes:
        samples: Positions of the rows in the seeded order, a range.
        transformations: Indices of the columns, a range.
        ids: Where each row stands in the data set, ``(sample,)`` int64.
        labels: Labels of the rows, ``(sample,)``, or None.
        values: The activations.
        reference: Those of the untransformed samples, ``(sample, *unit)``, where a statistic asks
            for them and the tile is the first of its rows; else None.

    Example:
        >>> import torch, tmeasures as tm
        >>> (tile,) = tm.walk(torch.nn.Linear(3, 2), torch.rand(5, 3))
        >>> tile.samples, tile.transformations, tile.values["output"].shape
        (range(0, 5), range(0, 1), torch.Size([5, 1, 2]))
        >>> tile
        <tile of samples 0 to 4, transformations 0 to 0: output (5, 1, 2)>
    """

    samples: range
    transformations: range
    ids: np.ndarray
    labels: np.ndarray | None
    values: V
    reference: V | None = None

    def __repr__(self) -> str:
        """Where it lies in the matrix, and the shapes of what it holds."""
        given = self.values if isinstance(self.values, Mapping) else {"values": self.values}
        shapes = (f"{k} {tuple(getattr(v, 'shape', ()))}" for k, v in given.items())
        at = f"samples {self.samples.start} to {self.samples.stop - 1}, transformations"
        at = f"{at} {self.transformations.start} to {self.transformations.stop - 1}"
        return f"<tile of {at}: {', '.join(shapes)}>"

    def holding(self, values: W, reference: W | None = None) -> Tile[W]:
        """The same tile with other values."""
        return Tile(self.samples, self.transformations, self.ids, self.labels, values, reference)


def length(inputs: Any) -> int:
    """How many inputs a batch holds: the length of its first tensor; 0 where there is none."""
    values = inputs.values() if isinstance(inputs, Mapping) else [inputs]
    return next((len(x) for x in values if isinstance(x, Tensor) and x.ndim), 0)
