"""Transformation and TransformationSet: callables on a batch, one by one and a tile at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from functools import cached_property
from html import escape
from types import MappingProxyType
from typing import Self, overload

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from tmeasures.errors import TransformationError
from tmeasures.hints import called

Ids = NDArray[np.int64]
HALF = (torch.float16, torch.bfloat16)
MAP = ("channel", "y", "x")
"""Dims of the outputs that are maps."""
_SHOWN = 16  # rows of a notebook's table


def prepare(batch: Tensor) -> Tensor:
    """The batch in the dtype transformations work in: uint8 as float32 / 255, halves as float32."""
    if not isinstance(batch, Tensor) or batch.ndim == 0:
        found = f"shape {tuple(batch.shape)}" if isinstance(batch, Tensor) else called(batch)
        raise TransformationError(
            f"found {found}, expected a tensor (batch, *item): give torch.as_tensor(...) with a "
            "first axis of samples"
        )
    if batch.dtype == torch.uint8:
        return batch.to(torch.float32) / 255
    return batch.to(torch.float32) if batch.dtype in HALF else batch


def draw_seed(*keys: int) -> int:
    """A 64-bit seed, independent for each tuple of non-negative keys."""
    return int(np.random.SeedSequence(keys).generate_state(1, np.uint64)[0])


class Transformation(ABC):
    """A callable on a batch, ``(batch, *item) -> (batch, *item')``, with a name and parameters.

    Elements of a `TransformationSet` are of this type. A uint8 batch becomes float32 / 255, float16
    and bfloat16 become float32.

    Args:
        name: Short and readable, as it should stand on a plot's axis.
        parameters: What distinguishes it from others of its set, numbers by name.

    Attributes:
        name: As given.
        parameters: As given, read-only.
        is_identity: Whether it returns every batch as it is.
        acts_on: Dims of the outputs, of any size, on which `acting_on` knows its action; empty
            where it knows none but those of the inputs' shape.

    Example:
        >>> import torch
        >>> from tmeasures.transformations import rotations
        >>> quarter = rotations(4)[1]
        >>> quarter
        <rotation 90°>
        >>> quarter(torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]))
        tensor([[[2., 4.],
                 [1., 3.]]])
    """

    is_identity: bool = False
    acts_on: tuple[str, ...] = ()

    def __init__(self, name: str, parameters: Mapping[str, float] | None = None) -> None:
        self.name = name
        self.parameters: Mapping[str, float] = MappingProxyType(dict(parameters or {}))

    def at(self, index: int) -> Self:
        """The same as the element of this index of a set; random ones draw by it."""
        return self

    def called(self, name: str, parameters: Mapping[str, float]) -> Self:
        """The same transformation under another name, with further parameters."""
        other = copy(self)
        other.name = name
        other.parameters = MappingProxyType({**self.parameters, **parameters})
        return other

    def __call__(self, batch: Tensor, *, ids: ArrayLike | None = None, seed: int = 0) -> Tensor:
        """The transformed batch; ``ids`` and ``seed`` matter to random transformations only."""
        batch = prepare(batch)
        return self._apply(batch, check_ids(ids, len(batch)), seed)

    def inverse(self) -> Transformation:
        """The transformation that undoes this one.

        Raises:
            TransformationError: It has none.
        """
        raise TransformationError(
            f"{self.name!r} has no inverse: use a set whose transformations have one, or give "
            "inverses= to tm.transformations"
        )

    def valid(self, size: tuple[int, int]) -> Tensor:
        """Where the output is read from inside the input's frame: bool ``(y, x)`` of this size.

        True everywhere for transformations that move nothing, and for callables, of which nothing
        is known. ``t.inverse().valid(size)`` is the mask of maps that ``t.inverse()`` warped back.
        """
        return self._carry(torch.ones(size, dtype=torch.bool))

    def acting_on(
        self, shape: Sequence[int], dims: Sequence[str], item: Sequence[int]
    ) -> Transformation | None:
        r"""How this transformation of a network's inputs acts on the outputs of one of its layers.

        For a network whose maps follow their input, $A(t(x)) = a(A(x))$ with $a$ the action: a
        rotation of the image turns the map by the same angle about the map's centre, a shift moves
        it by as many pixels as the map is smaller. `inverse` of the action takes maps back, `valid`
        says where they were read inside the map.

        =================  ==========================================================
        Transformation     Action
        =================  ==========================================================
        affine             On ``(channel, y, x)``: $S A S^{-1}$ in pixels of the map,
                           $S = \mathrm{diag}(1/r_y, 1/r_x, 1)$ with the strides r; $A$
                           itself where they are 1. A constant fill becomes 0, ``"edge"``
                           and ``"wrap"`` stay.
        identity           The identity, on outputs of any shape.
        callable           Itself, on ``(channel, y, x)`` and on outputs of the item's
                           shape; a random one has no action.
        ``a * b``          One action, then the other; one of them where the other is
                           the identity. None if either is.
        =================  ==========================================================

        Layers whose maps have their dims in another order, as ``layout=`` says, are seen in this
        one: ``(y, x, channel)`` as ``(channel, y, x)``, ``(time, channel)`` as ``(channel, time)``,
        ``(y, x)`` as one channel.

        A stride is how many pixels of the input a step on the map is: the whole number next to the
        ratio of their sizes. Where many layers without padding, a crop or a resize in between
        change that ratio, it is a guess, and a wrong one shows as a map that does not follow: give
        the number by ``action={pattern: 2}`` of `tmeasures.measure`.

        The centre of a turn is the centre of the map. A strided layer whose kernel, stride and
        padding are not symmetric about the frame has the centres of its outputs elsewhere (3 x 3,
        stride 2, padding 1 on even sizes: half an input pixel off), so that such a layer shows a
        difference that is its own.

        Args:
            shape: Of the layer's outputs, without the batch.
            dims: Their names, such as ``("channel", "y", "x")``.
            item: Shape of the network's input items.

        Returns:
            A transformation of outputs ``(batch, *shape)``, with the parameters that it has on
            inputs; None where the action is not known.

        Example:
            >>> import torch
            >>> from tmeasures.transformations import translations
            >>> shift = translations(offsets=[(4, 0)])[0]
            >>> shift.acting_on((8, 14, 14), ("channel", "y", "x"), (3, 28, 28)).matrix[:2, 2]
            array([2., 0.])
            >>> shift.acting_on((10,), ("unit",), (3, 28, 28)) is None
            True
        """
        return None

    def check(self, batch: Tensor) -> None:
        """Raise a `TransformationError` where a few prepared samples show that it is no good."""

    @abstractmethod
    def _apply(self, batch: Tensor, ids: Ids, seed: int) -> Tensor:
        """The transformation of a prepared batch."""

    def _carry(self, mask: Tensor) -> Tensor:
        """Where pixels end up that are valid before it; stays in place unless overridden."""
        return mask

    def __repr__(self) -> str:
        """Its name."""
        return f"<{self.name}>"


class TransformationSet(Sequence[Transformation]):
    """An ordered set of transformations that applies itself to a batch, a tile in one call.

    A sequence: indexing gives a `Transformation`, a slice gives a set. ``a * b`` is the set of all
    products, a first, then b; a's index is the slow one, so ``(a * b)[i * len(b) + j]`` does
    ``a[i]``, then ``b[j]``. Its inverses undo b first.

    Args:
        name: Name of the set.
        transformations: Its elements, at least one.

    Attributes:
        name: As given.

    Raises:
        TransformationError: No elements, or something that is not a `Transformation`.

    Example:
        >>> import torch
        >>> from tmeasures.transformations import flips, rotations
        >>> both = rotations(4) * flips()
        >>> both
        <rotations(4) * flips: 16 transformations; angle 0 to 270; flip_y 0 to 1; flip_x 0 to 1; \
identity 0; fill 0.0>
        >>> both[5]
        <rotation 90° · flip left-right>
        >>> both.apply(torch.rand(3, 1, 8, 8), range(4, 10)).shape
        torch.Size([3, 6, 1, 8, 8])
    """

    def __init__(self, name: str, transformations: Sequence[Transformation]) -> None:
        self.name = name
        self._elements = tuple(transformations)
        if not self._elements:
            raise TransformationError(
                f"found no transformations in {name!r}, expected at least 1: give one, or leave "
                "the set out"
            )
        for element in self._elements:
            if not isinstance(element, Transformation):
                raise TransformationError(
                    f"found {called(element)} in {name!r}, expected a Transformation: wrap "
                    "callables by tm.transformations([...])"
                )

    @property
    def names(self) -> list[str]:
        """Name of each transformation."""
        return [t.name for t in self._elements]

    @cached_property
    def parameters(self) -> dict[str, NDArray[np.float64]]:
        """One float64 array ``(transformation,)`` a parameter, NaN where one lacks it."""
        keys = dict.fromkeys(key for t in self._elements for key in t.parameters)
        return {
            key: np.array([t.parameters.get(key, np.nan) for t in self._elements]) for key in keys
        }

    @cached_property
    def identities(self) -> tuple[int, ...]:
        """Indices of all identities."""
        return tuple(i for i, t in enumerate(self._elements) if t.is_identity)

    @property
    def identity(self) -> int | None:
        """Index of the first identity, or None where the set has none."""
        return next(iter(self.identities), None)

    def apply(
        self,
        batch: Tensor,
        indices: range | None = None,
        *,
        ids: ArrayLike | None = None,
        seed: int = 0,
    ) -> Tensor:
        """Apply a run of consecutive transformations to each sample of a batch.

        uint8 input becomes float32 / 255, float16 and bfloat16 become float32, float32 and float64
        stay. The work is done on the batch's device; the result shares no memory with the batch.

        Args:
            batch: ``(sample, *item)``.
            indices: Consecutive indices of transformations; None is all.
            ids: The samples' positions in the data set, ``(sample,)``; random transformations draw
                from (seed, id, transformation), so that results do not depend on the batches. None
                counts from 0.
            seed: Non-negative.

        Returns:
            ``(sample, transformation, *item)``, contiguous; the item may change its size.

        Raises:
            TransformationError: The batch, indices or ids do not fit.
        """
        indices = range(len(self)) if indices is None else indices
        consecutive = isinstance(indices, range) and indices.step == 1
        if not (consecutive and 0 <= indices.start < indices.stop <= len(self)):
            raise TransformationError(
                f"found indices {indices!r}, expected consecutive ones within 0 to {len(self)}: "
                "give a range(start, stop)"
            )
        batch = prepare(batch)
        return self._apply(batch, indices, check_ids(ids, len(batch)), seed)

    def check(self, batch: Tensor) -> None:
        """Find out on a small batch whether the set can be applied to such samples.

        The engine calls it once with 2 samples before it starts. Each transformation is checked and
        all are applied; affine sets apply one alone.

        Args:
            batch: ``(sample, *item)``, a few samples.

        Raises:
            TransformationError: The set cannot be applied to such items.
        """
        batch = prepare(batch)
        for element in self._elements:
            element.check(batch)
        self.apply(batch)

    def kept_bytes(self, batch: Tensor) -> int:
        """Bytes that the set keeps from one tile of such samples to the next, at most.

        Args:
            batch: ``(sample, *item)``, a sample or more.
        """
        return 0

    def _apply(self, batch: Tensor, indices: range, ids: Ids, seed: int) -> Tensor:
        elements = self._elements[indices.start : indices.stop]
        outputs = [t._apply(batch, ids, seed) for t in elements]
        for element, output in zip(elements, outputs, strict=True):
            if output.shape != outputs[0].shape:
                raise TransformationError(
                    f"{elements[0].name!r} gives items {tuple(outputs[0].shape[1:])} but "
                    f"{element.name!r} gives {tuple(output.shape[1:])}: those of one set must "
                    "agree, so crop or resize to one size"
                )
        return torch.stack(outputs, 1)

    def _subset(self, name: str, elements: Sequence[Transformation]) -> TransformationSet:
        return TransformationSet(name, elements)

    def __mul__(self, other: TransformationSet) -> TransformationSet:
        """All products: an element of this set, then one of the other."""
        if not isinstance(other, TransformationSet):
            return NotImplemented
        # Late, as products are sets themselves.
        from tmeasures.transformations.products import ProductSet

        return ProductSet(self, other)

    def __len__(self) -> int:
        """m, the number of transformations."""
        return len(self._elements)

    def __iter__(self) -> Iterator[Transformation]:
        """The transformations in order."""
        return iter(self._elements)

    @overload
    def __getitem__(self, index: int) -> Transformation: ...
    @overload
    def __getitem__(self, index: slice) -> TransformationSet: ...
    def __getitem__(self, index: int | slice) -> Transformation | TransformationSet:
        """A transformation, or the set of a slice."""
        if not isinstance(index, slice):
            return self._elements[index]
        bounds = ("" if b is None else str(b) for b in (index.start, index.stop, index.step))
        name = f"({self.name})" if " * " in self.name else self.name
        return self._subset(f"{name}[{':'.join(bounds).removesuffix(':')}]", self._elements[index])

    def _facts(self) -> list[str]:
        spans = [f"{k} {np.nanmin(v):g} to {np.nanmax(v):g}" for k, v in self.parameters.items()]
        identity = "no identity" if self.identity is None else f"identity {self.identity}"
        count = "1 transformation" if len(self) == 1 else f"{len(self)} transformations"
        return [count, *spans, identity]

    def __repr__(self) -> str:
        """Name, size, ranges of the parameters, index of the identity."""
        return f"<{self.name}: {'; '.join(self._facts())}>"

    def _repr_html_(self) -> str:
        """What `repr` says, and a table of the first transformations."""
        cells = [["", "name", *self.parameters]]
        for index, t in enumerate(self._elements[:_SHOWN]):
            numbers = (t.parameters.get(key) for key in self.parameters)
            cells.append([str(index), t.name, *("" if x is None else f"{x:g}" for x in numbers)])
        if len(self) > _SHOWN:
            cells.append(["…"] * len(cells[0]))
        rows = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in cells)
        table = "".join(f"<tr>{row}</tr>" for row in rows)
        return f"<p>{escape(repr(self))}</p><table>{table}</table>"


def joined(first: Transformation, second: Transformation) -> tuple[str, dict[str, float]]:
    """Name and parameters of a product; a parameter that both have gets a number the second time.

    Identities are not named in a product.
    """
    names = [t.name for t in (first, second) if not t.is_identity]
    parameters = dict(first.parameters)
    for key, value in second.parameters.items():
        free, count = key, 1
        while free in parameters:
            count += 1
            free = f"{key}_{count}"
        parameters[free] = value
    return " · ".join(names) or first.name, parameters


def check_ids(ids: ArrayLike | None, count: int) -> Ids:
    """The ids as an array, one a sample."""
    array = np.arange(count) if ids is None else np.asarray(ids)
    if array.shape != (count,) or array.dtype.kind not in "iu":
        raise TransformationError(
            f"found ids of shape {array.shape} and dtype {array.dtype}, expected one integer for "
            f"each of the {count} samples: give as many, or leave ids out to count from 0"
        )
    return array.astype(np.int64, copy=False)
