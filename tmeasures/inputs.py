"""Walks the samples x transformations matrix and makes the inputs of each tile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from tmeasures.errors import ArgumentError, TMeasuresError
from tmeasures.hints import called, near, reason, shown
from tmeasures.samples import Samples
from tmeasures.statistics import Order
from tmeasures.tile import Inputs, Tile, length
from tmeasures.transformations import TransformationSet, identity

IDENTITY = identity()
Untransformed = Literal["no", "beside", "alone"]
"""Whether untransformed inputs go through the network."""


def blocks(count: int, size: int) -> Iterator[range]:
    """Consecutive ranges of ``size`` indices, the last one shorter."""
    return (range(at, min(at + size, count)) for at in range(0, count, size))


@dataclass(frozen=True)
class Feed:
    """Samples, transformations and what follows them, up to the network.

    Attributes:
        samples: What is read.
        first: Inputs of the first samples, for probes; read once.
        transformations: Applied on the device, a tile at a time.
        device: Where the network is.
        dtype: What floating inputs are cast to at the end; None leaves them.
        input: Key of the tensor that is transformed, where items are mappings; None where nothing
            is.
        preprocess: Applied to the transformed inputs of a tile.
        seed: Of random transformations.
    """

    samples: Samples
    first: Inputs
    transformations: TransformationSet
    device: torch.device
    dtype: torch.dtype | None
    input: str | None = None
    preprocess: Callable[[Any], Any] | None = None
    seed: int = 0

    def tiles(
        self, order: Order, s: int, t: int, untransformed: Untransformed = "no"
    ) -> Iterator[Tile[Inputs]]:
        """Every tile once, in the given order; values are the ``s * t`` inputs of the network.

        Sample-first order reads each sample once, transformation-first once per block of
        transformations. Untransformed inputs are the values of one column in place of the matrix
        (``"alone"``), or follow the others of the first tile of their rows (``"beside"``).
        """
        alone = untransformed == "alone"
        columns = [range(1)] if alone else list(blocks(len(self.transformations), t))
        for group in [columns] if order == "sample" else [[block] for block in columns]:
            for batch in self.samples.batches(s):
                batch = replace(batch, inputs=_to(batch.inputs, self.device))
                for block in group:
                    beside = untransformed == "beside" and block.start == 0
                    inputs = self._inputs(
                        batch.inputs, batch.ids, range(0) if alone else block, alone or beside
                    )
                    yield Tile(batch.samples, block, batch.ids, batch.labels, inputs)

    def probe(self, count: int) -> Inputs:
        """The first sample under the first transformation, ``count`` times."""
        inputs, ids = self._pick(np.zeros(count, np.int64))
        try:
            return self._inputs(inputs, ids, range(1))
        except TMeasuresError:
            raise
        except Exception as error:
            raise ArgumentError(
                f"preprocess= failed on {shown(inputs)} ({reason(error)}); give a function of a "
                "batch of tensors that returns such a batch"
            ) from error

    def images(self, count: int) -> Tensor:
        """The first samples, of which the transformations take a part; empty where they do not."""
        inputs, _ = self._pick(np.arange(count))
        found = inputs if isinstance(inputs, Tensor) else inputs.get(self.input or "")
        return found if isinstance(found, Tensor) else torch.empty(0)

    def check(self, untransformed: str = "") -> None:
        """Try the transformations on a few samples: errors come before work.

        Args:
            untransformed: Measures for which untransformed inputs go through the network too.
        """
        image = self.images(2)
        if not len(image):
            return
        self.transformations.check(image)
        if untransformed:
            moved = tuple(self.transformations.apply(image, range(1)).shape[2:])
            if moved != image.shape[1:]:
                raise ArgumentError(
                    f"the untransformed inputs have shape {tuple(image.shape[1:])} and the "
                    f"transformed ones {moved}; give transformations that keep it, or leave "
                    f"{untransformed} out"
                )

    def _pick(self, chosen: np.ndarray) -> tuple[Inputs, np.ndarray]:
        count = length(self.first)
        index = chosen % count

        def pick(value: Any) -> Any:
            if isinstance(value, Tensor):
                return value[torch.as_tensor(index, device=value.device)]
            return [value[i] for i in index] if _is_per_sample(value, count) else value

        picked = _mapped(self.first, pick)
        return _to(picked, self.device), index

    @torch.no_grad()
    def _inputs(
        self, inputs: Inputs, ids: np.ndarray, block: range, untransformed: bool = False
    ) -> Inputs:
        made = self._transformed(inputs, ids, block, untransformed)
        count = len(ids) * (len(block) + untransformed)
        if self.preprocess is not None:
            made = self.preprocess(made)
            if not isinstance(made, (Tensor, Mapping)):
                raise ArgumentError(
                    f"preprocess returned {called(made)}; return a tensor, or a mapping of what "
                    "the network takes"
                )
            made = made if isinstance(made, Tensor) else dict(made)
            if length(made) != count:
                raise ArgumentError(
                    f"preprocess returned {length(made)} inputs for {count}; return as many as it "
                    "gets, in a first axis"
                )
        if self.dtype is None:
            return made
        cast: Inputs = _each(made, lambda x: x.to(self.dtype) if x.is_floating_point() else x)
        return cast

    def _transformed(
        self, inputs: Inputs, ids: np.ndarray, block: range, untransformed: bool
    ) -> Inputs:
        def transform(x: Tensor) -> Tensor:
            parts = [IDENTITY.apply(x).flatten(0, 1)] if untransformed else []
            if block:
                moved = self.transformations.apply(x, block, ids=ids, seed=self.seed)
                parts.insert(0, moved.flatten(0, 1))
            return torch.cat(parts) if len(parts) > 1 else parts[0]

        if isinstance(inputs, Tensor):
            return transform(inputs)

        def repeat(value: Any) -> Any:
            if isinstance(value, Tensor):
                moved = value.repeat_interleave(len(block), 0)
                return torch.cat([moved, value]) if untransformed else moved
            if not _is_per_sample(value, len(ids)):
                return value
            return [x for x in value for _ in block] + (list(value) if untransformed else [])

        return {k: transform(v) if k == self.input else repeat(v) for k, v in inputs.items()}


def transformed_key(inputs: Inputs, wanted: str | None, transforming: bool) -> str | None:
    """The key of a mapping item that transformations act on: the one named, or the only image.

    Args:
        inputs: A batch of inputs.
        wanted: The key the user named, or None.
        transforming: Whether there are transformations to apply.
    """
    if isinstance(inputs, Tensor):
        if wanted is not None:
            raise ArgumentError(
                f"input={wanted!r} names a key, but the samples are no mappings; leave it out"
            )
        return None
    if wanted is not None:
        if wanted not in inputs:
            raise ArgumentError(
                f"input={wanted!r} is no key of the samples, which have {', '.join(inputs)}"
                f"{near(wanted, inputs)}; name one of these"
            )
        return wanted
    images = [key for key, value in inputs.items() if _is_image(value)]
    if len(images) != 1 and transforming:
        raise ArgumentError(
            f"the samples are mappings with {', '.join(inputs)}, of which {len(images)} look like "
            f"images; say which tensor is transformed with input='...'"
        )
    return images[0] if len(images) == 1 else None


def _is_image(value: object) -> bool:
    """Whether a batch may be of images: two item dims or more, of a type images come in."""
    if not isinstance(value, Tensor) or value.ndim < 3:
        return False
    return value.is_floating_point() or value.dtype == torch.uint8


def _is_per_sample(value: object, count: int) -> bool:
    """Whether what is no tensor has one element for each sample."""
    return isinstance(value, (list, tuple)) and len(value) == count


def _mapped(inputs: Any, f: Callable[[Any], Any]) -> Any:
    return {k: f(v) for k, v in inputs.items()} if isinstance(inputs, Mapping) else f(inputs)


def _each(inputs: Any, f: Callable[[Tensor], Tensor]) -> Any:
    """Apply f to the tensors among the inputs."""
    return _mapped(inputs, lambda value: f(value) if isinstance(value, Tensor) else value)


def _to(inputs: Inputs, device: torch.device) -> Inputs:
    moved: Inputs = _each(inputs, lambda x: x.to(device, non_blocking=True))
    return moved
