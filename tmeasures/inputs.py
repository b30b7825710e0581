"""Walks the samples x transformations matrix and makes the inputs of each tile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import cycle
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor

from tmeasures.errors import ArgumentError, TMeasuresError
from tmeasures.hints import called, near, reason, shown
from tmeasures.moving import Moves
from tmeasures.samples import Batch, Samples
from tmeasures.statistics import Order
from tmeasures.tile import Inputs, Tile, length
from tmeasures.transformations import TransformationSet, identity
from tmeasures.transformations.items import ItemParts

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
        first: Inputs of the first samples, for probes; read once. Where callables act on items,
            under those of the first transformation.
        transformations: Callables of items are applied where these are read, the rest on the
            device, a tile at a time.
        device: Where the network is.
        dtype: What floating inputs are cast to at the end; None leaves them.
        input: Key of the tensor that is transformed, where batches are mappings; None where nothing
            is.
        preprocess: Applied to the transformed inputs of a tile.
        seed: Of random transformations.
        image: Key of the image that callables of items take, where items are mappings; None: the
            only one.
    """

    samples: Samples
    first: Inputs
    transformations: TransformationSet
    device: torch.device
    dtype: torch.dtype | None
    input: str | None = None
    preprocess: Callable[[Any], Any] | None = None
    seed: int = 0
    image: str | None = None

    @classmethod
    def of(
        cls,
        samples: Samples,
        transformations: TransformationSet | None,
        device: torch.device,
        dtype: torch.dtype | None,
        input: str | None = None,
        preprocess: Callable[[Any], Any] | None = None,
        seed: int = 0,
    ) -> Self:
        """A feed that has read its first samples; without transformations, of the identity.

        Callables of items are tried on them.
        """
        chosen = IDENTITY if transformations is None else transformations
        feed = cls(samples, {}, chosen, device, dtype, None, preprocess, seed, input)
        if feed.parts is None:
            first = samples.first()
        else:
            first = samples.first(feed._moves(list(dict.fromkeys(feed.parts.columns))))
            if isinstance(first, Tensor) or input not in first:
                input = None  # it was the items' key
        key = transformed_key(first, input, transformations is not None)
        return replace(feed, first=first, input=key)

    @cached_property
    def parts(self) -> ItemParts | None:
        """What is done to items as they are read; None where nothing is, or they are in memory."""
        return None if self.samples.in_memory else ItemParts.of(self.transformations)

    @property
    def on_device(self) -> TransformationSet:
        """What is left for the device."""
        return self.transformations if self.parts is None else self.parts.rest

    @property
    def reads_each_tile(self) -> bool:
        """Whether samples are read for each tile, as callables of items take."""
        return self.parts is not None and not self.samples.iterable

    def labels(self) -> np.ndarray:
        """Those of all samples in order; see `Samples.labels`."""
        if self.parts is None:
            return self.samples.labels()
        return self.samples.labels([self._moves([self.parts.columns[0]])])

    def tiles(
        self,
        order: Order,
        s: int,
        t: int,
        untransformed: Untransformed = "no",
        only: Sequence[int] | None = None,
    ) -> Iterator[Tile[Inputs]]:
        """Every tile once, in the given order; values are the ``s * t`` inputs of the network.

        Sample-first order reads each sample once, transformation-first once per block of
        transformations, as both do where callables act on items. Untransformed inputs are the
        values of one column in place of the matrix (``"alone"``), or follow the others of the first
        tile of their rows (``"beside"``). ``only`` names places of tiles in a row: no others come.
        """
        alone = untransformed == "alone"
        columns = [range(1)] if alone else list(blocks(len(self.transformations), t))
        parts = [
            (range(0) if alone else block, alone or (untransformed == "beside" and not block.start))
            for block in columns
        ]
        places = range(len(columns)) if only is None else only
        for group in [places] if order == "sample" else [[k] for k in places]:
            for batch, k in self._batches(s, group, parts):
                given = batch.samples, columns[k], batch.ids, batch.labels
                # Not held here: the next inputs take the place of these.
                yield Tile(*given, self._inputs(batch.inputs, batch.ids, *parts[k]))

    def _batches(
        self, s: int, group: Sequence[int], parts: list[tuple[range, bool]]
    ) -> Iterator[tuple[Batch, int]]:
        """Batches on the device, each with the places of a group of blocks in turn."""
        if self.parts is None:
            for batch in self.samples.batches(s):
                batch = replace(batch, inputs=_to(batch.inputs, self.device))
                yield from ((batch, k) for k in group)
            return
        moves = [self._moves(self.parts.read(*parts[k])) for k in group]
        for batch, k in zip(self.samples.batches(s, moves), cycle(group), strict=False):
            yield replace(batch, inputs=_to(batch.inputs, self.device)), k

    def _moves(self, variants: list[int]) -> Moves:
        assert self.parts is not None
        return Moves(self.parts.moves(variants, self.seed), self.image)

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
        return self._images(self._pick(np.arange(count))[0])

    def _images(self, inputs: Inputs) -> Tensor:
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
        self.on_device.check(image)
        if untransformed:
            plain, moved = image, self.on_device.apply(image, range(1))[:, 0]
            if self.parts is not None:
                plain = self._images(self.samples.first(self._moves([0])))
            if moved.shape[1:] != plain.shape[1:] or image.dtype != plain.dtype:
                raise ArgumentError(
                    f"the untransformed inputs are {shown(plain)} and the transformed ones "
                    f"{shown(moved)}; give transformations that keep it, or leave "
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
        if self.parts is not None:
            return self._arranged(self.parts, inputs, ids, block, untransformed)

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

    def _arranged(
        self, parts: ItemParts, inputs: Inputs, ids: np.ndarray, block: range, untransformed: bool
    ) -> Inputs:
        """Items under each variant of a block, put in their columns and transformed further."""
        read = parts.read(block, untransformed)
        place = {variant: k for k, variant in enumerate(read)}
        columns = np.array([place[parts.columns[j]] for j in block], np.int64)
        firsts = len(read) * np.arange(len(ids))
        index = np.add.outer(firsts, columns).ravel()
        if untransformed:
            index = np.concatenate([index, firsts + place[0]])

        def pick(value: Any) -> Any:
            if isinstance(value, Tensor):
                return value[torch.as_tensor(index, device=value.device)]
            count = len(ids) * len(read)
            return [value[i] for i in index] if _is_per_sample(value, count) else value

        def transform(x: Tensor) -> Tensor:
            if all(parts.rest[j].is_identity for j in block):
                return IDENTITY[0](pick(x))
            each = torch.unflatten(x, 0, (len(ids), len(read)))
            runs = [(each[:, place[parts.columns[run[0]]]], run) for run in parts.runs(block)]
            moved = [parts.rest.apply(x, run, ids=ids, seed=self.seed) for x, run in runs]
            found = torch.cat(moved, 1).flatten(0, 1)
            return torch.cat([found, IDENTITY[0](each[:, place[0]])]) if untransformed else found

        if isinstance(inputs, Tensor):
            return transform(inputs)
        return {k: transform(v) if k == self.input else pick(v) for k, v in inputs.items()}


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
