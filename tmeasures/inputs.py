"""Walks the samples x transformations matrix and makes the inputs of each tile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tmeasures.errors import ArgumentError
from tmeasures.samples import Samples
from tmeasures.statistics import Order
from tmeasures.tile import Tile
from tmeasures.transformations import TransformationSet

Inputs = Tensor | dict[str, Any]


def blocks(count: int, size: int) -> Iterator[range]:
    """Consecutive ranges of ``size`` indices, the last one shorter."""
    return (range(at, min(at + size, count)) for at in range(0, count, size))


@dataclass(frozen=True)
class Feed:
    """Samples, transformations and what follows them, up to the network.

    Attributes:
        samples: What is read.
        transformations: Applied on the device, a tile at a time.
        device: Where the network is.
        dtype: What floating inputs are cast to at the end; None leaves them.
        input: Key of the tensor that is transformed, where items are mappings; None where nothing is.
        preprocess: Applied to the transformed inputs of a tile.
        seed: Of random transformations.
    """

    samples: Samples
    transformations: TransformationSet
    device: torch.device
    dtype: torch.dtype | None
    input: str | None = None
    preprocess: Callable[[Any], Any] | None = None
    seed: int = 0

    def tiles(self, order: Order, s: int, t: int) -> Iterator[Tile[Inputs]]:
        """Every tile once, in the given order; values are inputs ``(samples * transformations, *item)``.

        Sample-first order reads each sample once, transformation-first once per block of
        transformations.
        """
        columns = list(blocks(len(self.transformations), t))
        for group in [columns] if order == "sample" else [[block] for block in columns]:
            for batch in self.samples.batches(s):
                batch = replace(batch, inputs=_to(batch.inputs, self.device))
                for block in group:
                    inputs = self._inputs(batch.inputs, batch.ids, block)
                    yield Tile(batch.samples, block, batch.ids, batch.labels, inputs)

    def probe(self, count: int) -> Inputs:
        """The first sample under the first transformation, ``count`` times."""
        inputs, ids = self._first(np.zeros(count, np.int64))
        return self._inputs(inputs, ids, range(1))

    def check(self) -> None:
        """Try the transformations on a few samples: errors come before work."""
        inputs, _ = self._first(np.arange(2))
        image = inputs if isinstance(inputs, Tensor) else inputs.get(self.input)
        if isinstance(image, Tensor):
            self.transformations.check(image)

    def _first(self, chosen: np.ndarray) -> tuple[Inputs, np.ndarray]:
        first = self.samples.first()
        index = torch.as_tensor(chosen) % _length(first)
        return _to(_each(first, lambda x: x[index.to(x.device)]), self.device), index.numpy()

    def _inputs(self, inputs: Inputs, ids: np.ndarray, block: range) -> Inputs:
        made = self._transformed(inputs, ids, block)
        count = len(ids) * len(block)
        if self.preprocess is not None:
            made = self.preprocess(made)
            found = _length(made)
            if found != count:
                raise ArgumentError(
                    f"preprocess returned {found} inputs for {count}; return as many as it is given."
                )
        if self.dtype is None:
            return made
        return _each(made, lambda x: x.to(self.dtype) if x.is_floating_point() else x)

    def _transformed(self, inputs: Inputs, ids: np.ndarray, block: range) -> Inputs:
        def transform(x: Tensor) -> Tensor:
            return self.transformations.apply(x, block, ids=ids, seed=self.seed).flatten(0, 1)

        if isinstance(inputs, Tensor):
            return transform(inputs)
        t = len(block)
        made = {
            key: value.repeat_interleave(t, 0)
            if isinstance(value, Tensor)
            else [x for x in value for _ in block]
            if isinstance(value, (list, tuple)) and len(value) == len(ids)
            else value
            for key, value in inputs.items()
            if key != self.input
        }
        if self.input is not None:
            made[self.input] = transform(inputs[self.input])
        return {key: made[key] for key in inputs}


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
                f"input={wanted!r} names a key, but the samples are tensors and not mappings; leave "
                f"it out."
            )
        return None
    if wanted is not None:
        if wanted not in inputs:
            raise ArgumentError(
                f"input={wanted!r} is no key of the samples, which have {', '.join(inputs)}; name one "
                f"of these."
            )
        return wanted
    images = [key for key, value in inputs.items() if _is_image(value)]
    if len(images) != 1 and transforming:
        raise ArgumentError(
            f"The samples are mappings with {', '.join(inputs)}, of which {len(images)} look like "
            f"images; say which tensor is transformed with input='...'."
        )
    return images[0] if len(images) == 1 else None


def _is_image(value: object) -> bool:
    """Whether a batch may be of images: two item dims or more, of a type images come in."""
    if not isinstance(value, Tensor) or value.ndim < 3:
        return False
    return value.is_floating_point() or value.dtype == torch.uint8


def _length(inputs: Any) -> int:
    values = inputs.values() if isinstance(inputs, Mapping) else [inputs]
    return next((len(x) for x in values if isinstance(x, Tensor) and x.ndim), 0)


def _each(inputs: Any, f: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(inputs, Mapping):
        return {k: f(v) if isinstance(v, Tensor) else v for k, v in inputs.items()}
    return f(inputs)


def _to(inputs: Inputs, device: torch.device) -> Inputs:
    moved: Inputs = _each(inputs, lambda x: x.to(device, non_blocking=True))
    return moved
