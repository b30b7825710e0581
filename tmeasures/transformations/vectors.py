"""Transformations of vectors ``(unit,)`` and sequences ``(token, unit)``, exact and invertible."""

from __future__ import annotations

import operator
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tmeasures.errors import TransformationError
from tmeasures.hints import dtype_name, numbers
from tmeasures.transformations.base import Ids, Transformation, TransformationSet


class VectorTransformation(Transformation):
    """Exchanges the values along one axis of items, counted from the end, or their signs."""

    def __init__(self, name: str, parameters: Mapping[str, float], axis: int) -> None:
        super().__init__(name, parameters)
        self.axis = axis

    def acting_on(
        self, shape: Sequence[int], dims: Sequence[str], item: Sequence[int]
    ) -> Transformation | None:
        """Itself on outputs of the items' shape; None for others."""
        return self if tuple(shape) == tuple(item) else None

    def _apply(self, batch: Tensor, ids: Ids, seed: int) -> Tensor:
        shape = tuple(batch.shape[1:])
        if len(shape) < -self.axis:
            raise TransformationError(
                f"found items of shape {shape} for {self.name!r}, expected an axis {self.axis}: "
                "give an axis that items have, counted from the end"
            )
        return self._exchanged(batch)

    def _expect(self, batch: Tensor, length: int) -> None:
        if batch.shape[self.axis] != length:
            raise TransformationError(
                f"found items of shape {tuple(batch.shape[1:])} for {self.name!r}, expected "
                f"{length} along axis {self.axis}: give one number for each of them"
            )

    @abstractmethod
    def _exchanged(self, batch: Tensor) -> Tensor:
        """The transformed batch, which has the axis."""


class Permutation(VectorTransformation):
    """Output i is input ``order[i]``."""

    def __init__(
        self, name: str, parameters: Mapping[str, float], axis: int, order: NDArray[np.int64]
    ) -> None:
        super().__init__(name, parameters, axis)
        self._order = order
        self.is_identity = bool((order == np.arange(len(order))).all())

    def inverse(self) -> Permutation:
        """The permutation that puts all back."""
        return Permutation(f"inverse of {self.name}", {}, self.axis, np.argsort(self._order))

    def _exchanged(self, batch: Tensor) -> Tensor:
        self._expect(batch, len(self._order))
        return batch.index_select(self.axis, torch.as_tensor(self._order, device=batch.device))


class SignFlip(VectorTransformation):
    """Multiplies by signs."""

    def __init__(
        self, name: str, parameters: Mapping[str, float], axis: int, signs: NDArray[np.int64]
    ) -> None:
        super().__init__(name, parameters, axis)
        self._signs = signs
        self.is_identity = bool((signs == 1).all())

    def inverse(self) -> SignFlip:
        """Itself."""
        return self

    def _exchanged(self, batch: Tensor) -> Tensor:
        self._expect(batch, len(self._signs))
        if batch.dtype == torch.bool:
            raise TransformationError(
                f"found dtype {dtype_name(batch.dtype)} for {self.name!r}, expected numbers that "
                "have a sign: convert them by float()"
            )
        signs = torch.as_tensor(self._signs, dtype=batch.dtype, device=batch.device)
        return batch * signs.reshape(-1, *[1] * (-self.axis - 1))


class CircularShift(VectorTransformation):
    """Moves all to higher indices, the last ones to the front."""

    def __init__(self, name: str, parameters: Mapping[str, float], axis: int, offset: int) -> None:
        super().__init__(name, parameters, axis)
        self._offset = offset
        self.is_identity = offset == 0

    def inverse(self) -> CircularShift:
        """The shift the other way."""
        back = -self._offset
        parameters = {"circular_shift": back}
        return CircularShift(f"inverse of {self.name}", parameters, self.axis, back)

    def _exchanged(self, batch: Tensor) -> Tensor:
        return torch.roll(batch, self._offset, self.axis)


def permutations(orders: Sequence[Sequence[int]], *, axis: int = -1) -> TransformationSet:
    r"""Permutations of units or tokens: $y_i = x_{p_i}$, as ``x[..., p]`` does.

    Of items ``(unit,)``, ``(token, unit)`` or any other, along one axis; values are copied, of any
    dtype. Inverse: exact, ``argsort(p)``. It acts as itself on layers whose outputs have the shape
    of the items, and in no known way on others.

    Args:
        orders: Permutations $p$ of 0 to one less than the axis is long, all of one length.
        axis: Counted from the end: -1 for units, -2 for the tokens of ``(token, unit)``.

    Raises:
        TransformationError: No permutations, lengths that differ, numbers that are missing or come
            twice, an axis that is not negative; on a batch, an axis of another length.

    Example:
        >>> import torch
        >>> both = permutations([[0, 1, 2], [2, 0, 1]])
        >>> both
        <permutations(2): 2 transformations; permutation 0 to 1; identity 0>
        >>> both.apply(torch.tensor([[5.0, 6.0, 7.0]]))[0, 1]
        tensor([7., 5., 6.])
        >>> both[1].inverse()(torch.tensor([[7.0, 5.0, 6.0]]))
        tensor([[5., 6., 7.]])
    """
    axis = _axis(axis)
    table = _table("orders", orders)
    wrong = np.flatnonzero((np.sort(table) != np.arange(table.shape[1])).any(1))
    if len(wrong) or table.dtype.kind not in "iu":
        at = wrong[0] if len(wrong) else 0
        raise TransformationError(
            f"found the order {_start(table[at])} at index {at}, expected each of 0 to "
            f"{table.shape[1] - 1} once: give whole numbers such as torch.randperm(n).tolist()"
        )
    elements = [
        Permutation(f"permutation {i}", {"permutation": i}, axis, order)
        for i, order in enumerate(table.astype(np.int64))
    ]
    return TransformationSet(f"permutations({len(elements)})", elements)


def sign_flips(signs: Sequence[Sequence[float | bool]], *, axis: int = -1) -> TransformationSet:
    r"""Changes of sign of units or tokens: $y_i = s_i x_i$ with $s_i = \pm 1$.

    Of items ``(unit,)``, ``(token, unit)`` or any other, along one axis; exact. Each is its own
    inverse. It acts as itself on layers whose outputs have the shape of the items, and in no known
    way on others.

    Args:
        signs: Vectors of 1 and -1, or masks of bools, True where the sign changes; all of one
            length, that of the axis.
        axis: Counted from the end: -1 for units, -2 for the tokens of ``(token, unit)``.

    Raises:
        TransformationError: No signs, lengths that differ, other numbers than 1 and -1, an axis
            that is not negative; on a batch, an axis of another length, or bools.

    Example:
        >>> import torch
        >>> both = sign_flips([[1, 1, 1], [1, -1, -1]])
        >>> both
        <sign_flips(2): 2 transformations; sign_flip 0 to 1; identity 0>
        >>> both.apply(torch.tensor([[5.0, 6.0, 7.0]]))[0, 1]
        tensor([ 5., -6., -7.])
        >>> sign_flips([[False, True, True]])[0](torch.tensor([[5, 6, 7]]))
        tensor([[ 5, -6, -7]])
    """
    axis = _axis(axis)
    table = _table("signs", signs)
    values = np.where(table, -1, 1) if table.dtype == bool else table
    wrong = np.flatnonzero((np.abs(values) != 1).any(1))
    if len(wrong):
        raise TransformationError(
            f"found the signs {_start(table[wrong[0]])} at index {wrong[0]}, expected 1 and -1: "
            "give these, or bools, True where the sign changes"
        )
    elements = [
        SignFlip(f"sign flip {i}", {"sign_flip": i}, axis, each)
        for i, each in enumerate(values.astype(np.int64))
    ]
    return TransformationSet(f"sign_flips({len(elements)})", elements)


def circular_shifts(offsets: Sequence[int], *, axis: int = -1) -> TransformationSet:
    r"""Circular shifts of units or tokens: $y_{(i + k) \bmod n} = x_i$, as ``torch.roll`` does.

    Of items ``(unit,)``, ``(token, unit)`` or any other, along one axis; values are copied, of any
    dtype. Inverse: exact, the shift by $-k$. It acts as itself on layers whose outputs have the
    shape of the items, and in no known way on others.

    Args:
        offsets: $k$, whole numbers of any sign; values move to higher indices by so many places.
        axis: Counted from the end: -1 for units, -2 for the tokens of ``(token, unit)``.

    Raises:
        TransformationError: No offsets, one that is not whole, an axis that is not negative; on a
            batch, an axis that items lack.

    Example:
        >>> import torch
        >>> circular_shifts([-1, 0, 1])
        <circular_shifts(3): 3 transformations; circular_shift -1 to 1; identity 1>
        >>> circular_shifts([1]).apply(torch.tensor([[5.0, 6.0, 7.0]]))[0]
        tensor([[7., 5., 6.]])
    """
    axis = _axis(axis)
    values = numbers("offsets", offsets, TransformationError)
    for value in values:
        if value != round(value):
            raise TransformationError(
                f"found the offset {value:g}, expected whole numbers: use tm.time_shifts for parts "
                "of a step"
            )
    elements = [
        CircularShift(f"circular shift {k:g}", {"circular_shift": k}, axis, int(k)) for k in values
    ]
    return TransformationSet(f"circular_shifts({len(elements)})", elements)


def _axis(axis: int) -> int:
    try:
        found = operator.index(axis)
    except TypeError:
        found = 0
    if found >= 0:
        raise TransformationError(
            f"found axis={axis!r}, expected a negative whole number, counted from the end: give -1 "
            "for units, or -2 for the tokens of (token, unit)"
        )
    return found


def _table(name: str, rows: Any) -> NDArray[Any]:
    """Rows of equal length as an array, or an error that names the argument."""
    try:
        table = np.stack([np.asarray(row) for row in rows])
    except (TypeError, ValueError):
        table = np.empty(0)
    if table.ndim != 2 or not table.size or table.dtype.kind not in "biuf":
        raise TransformationError(
            f"{name}={_start(rows)} cannot be used: give one or more lists of numbers, all of one "
            "length"
        )
    return table


def _start(value: Any) -> str:
    text = repr(value.tolist() if isinstance(value, np.ndarray | Tensor) else value)
    return text if len(text) <= 60 else f"{text[:57]}..."
