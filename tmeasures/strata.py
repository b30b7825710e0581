"""Strata: the samples of each class measured by themselves, and the means over classes.

Every measure is taken within each class. What is kept over classes, for each unit, is the mean of a
variable V over the classes where V is finite, and how many those are, ``V_strata``. Of a test only
the share of classes that reject is kept: an F or a p is no mean of others. ``stratify="each"``
keeps every class besides, ``V_by_stratum``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from tmeasures.fields import (
    BY_STRATUM,
    DEAD,
    NOT_FINITE,
    SV_BELOW_ROUNDING,
    TV_BELOW_ROUNDING,
    Field,
)

How = Literal["mean", "each"]
"""Whether the means over classes are kept alone, or the values of each class too."""

Role = Literal["value", "decision", "count", "error"]
"""What becomes of a variable: a mean, a share, a sum, or the standard error of a mean."""

_ROUNDING = TV_BELOW_ROUNDING | SV_BELOW_ROUNDING
_SE = "_se"


@dataclass(frozen=True, eq=False)
class Strata:
    """The classes of the samples; made by `of`.

    Attributes:
        labels: Of the classes, sorted, ``(stratum,)`` numbers or strings.
        positions: For each class its samples' positions in the seeded order, ascending.

    Example:
        >>> strata = Strata.of(np.array(["cat", "ant", "cat"]))
        >>> strata.labels, strata.sizes, strata.positions
        (array(['ant', 'cat'], dtype='<U3'), array([1, 2]), [array([1]), array([0, 2])])
    """

    labels: np.ndarray
    positions: list[np.ndarray]

    @classmethod
    def of(cls, labels: np.ndarray) -> Strata:
        """The strata of labels in the seeded order, one for each sample."""
        unique, classes = np.unique(labels, return_inverse=True)
        order = np.argsort(classes, kind="stable")
        return cls(unique, np.split(order, np.cumsum(np.bincount(classes))[:-1]))

    @property
    def sizes(self) -> np.ndarray:
        """Samples of each class, ``(stratum,)``."""
        return np.array([len(each) for each in self.positions])


class Aggregate:
    """Sums over classes of the variables and the status of every layer.

    Variables of kind ``"value"`` become means over the classes where they are finite, NaN where
    none is. Decisions become the share of classes that decide true, among those whose p is not NaN
    (a decision without a p: whose activations are finite). Counts are added up. A standard error
    ``V_se`` becomes that of the mean of V, ``sqrt(sum V_se^2) / C`` over the C classes where both
    are finite: classes share no sample. All else that shares the prefix of a p-value belongs to a
    test and is left out, as is the p; where prefixes nest the longest counts. Attributes that
    differ between classes, such as degrees of freedom, are left out.

    A unit's status says ``not_finite`` if any class does; ``dead`` if all classes do, whose
    constants may differ; below rounding if all classes do that are not dead (for the sample
    variance: and have one, which takes two samples).

    State: 8 bytes and a counter of 2 (of 4 from 2^16 classes) for each number that is averaged or
    added up; with ``"each"`` all values of all classes, as they are.

    Args:
        how: ``"mean"`` or ``"each"``.
        strata: The classes.

    Example:
        >>> strata = Strata.of(np.array([3, 5, 3, 5]))
        >>> sums = Aggregate("mean", strata)
        >>> for index, tv in enumerate(([1.0, 2.0], [3.0, np.inf])):
        ...     fields = {"TV": Field(np.array(tv), "1", "transformation variance", "Q20")}
        ...     sums.add(index, {"fc": fields}, {"fc": np.zeros(2, np.uint8)})
        >>> fields = sums.result()[0]["fc"]
        >>> fields["TV"].values, fields["TV_strata"].values
        (array([2., 2.]), array([2, 1], dtype=uint16))
    """

    def __init__(self, how: How, strata: Strata) -> None:
        self._how = how
        self._sizes = strata.sizes
        self._layers: dict[str, _Layer] = {}

    def add(
        self,
        index: int,
        fields: Mapping[str, Mapping[str, Field]],
        status: Mapping[str, np.ndarray],
    ) -> None:
        """Add one class.

        Args:
            index: Of the class in the strata; each at most once.
            fields: By layer, variables by name. One that a class is too small for is given as
                `undefined` makes it, or not at all.
            status: By layer, the bits of each unit. A class too small for all measures has none.
        """
        for name, some in fields.items():
            self._layer(name).add(index, some, status.get(name))
        for name, bits in status.items():
            self._layer(name).add_status(index, bits)

    def result(
        self,
    ) -> tuple[
        dict[str, dict[str, Field]],
        dict[str, np.ndarray],
        dict[str, np.ndarray] | None,
    ]:
        """Fields and status by layer; with ``"each"`` also the status ``(stratum, *unit)``.

        The arrays of single classes are handed over as they are; all others are new.
        """
        fields = {name: layer.fields() for name, layer in self._layers.items()}
        status = {name: layer.status() for name, layer in self._layers.items()}
        if self._how == "mean":
            return fields, status, None
        return fields, status, {name: layer.bits for name, layer in self._layers.items()}

    @property
    def nbytes(self) -> int:
        """Bytes of the state."""
        return sum(layer.nbytes for layer in self._layers.values())

    def _layer(self, name: str) -> _Layer:
        if name not in self._layers:
            self._layers[name] = _Layer(self._how, self._sizes)
        return self._layers[name]


def undefined(fields: Mapping[str, Field]) -> dict[str, Field]:
    """The same variables without a value: NaN, a decision false, a count 0.

    They count for no class in `Aggregate`, but for a decision without a p-value beside it, which
    better is not added at all.
    """
    return {name: replace(field, values=_empty(field)) for name, field in fields.items()}


def planned_bytes(fields: Mapping[str, Field], how: How, n_strata: int) -> tuple[int, int]:
    """Bytes for one activation: of the sums while classes are visited, and of the result.

    Args:
        fields: All variables of one activation, standard errors and decisions included.
        how: ``"mean"`` or ``"each"``.
        n_strata: Number of classes.

    Example:
        >>> fields = {"TV": Field(np.ones(1), "1", "transformation variance", "Q20")}
        >>> planned_bytes(fields, "mean", 10), planned_bytes(fields, "each", 10)
        ((12, 7), (102, 57))
    """
    sums = Aggregate(how, Strata.of(np.arange(n_strata)))
    sums.add(0, {"": fields}, {"": np.zeros(1, np.uint8)})
    found, status, each = sums.result()
    result = sum(field.nbytes for field in found[""].values())
    return sums.nbytes, result + status[""].nbytes + (0 if each is None else each[""].nbytes)


class _Layer:
    """What is kept of one layer."""

    def __init__(self, how: How, sizes: np.ndarray) -> None:
        self._each = how == "each"
        self._sizes = sizes
        self._variables: dict[str, Field] = {}  # without values
        self._sums: dict[str, _Sum] = {}
        self._rows: dict[str, np.ndarray] = {}
        self._any = np.zeros((), np.uint8)
        self._all = np.full((), DEAD | _ROUNDING, np.uint8)
        self.bits = np.zeros(0, np.uint8)

    def add(self, index: int, fields: Mapping[str, Field], status: np.ndarray | None) -> None:
        n = len(self._sizes)
        for name, field in fields.items():
            self._variables[name] = _common(self._variables.get(name, field), field)
            if self._each:
                if name not in self._rows:
                    self._rows[name] = _empty(field, n)
                self._rows[name][index] = field.values
            role = _role(name, fields)
            if role is not None:
                if name not in self._sums:
                    self._sums[name] = _Sum(role, field.values.shape, n)
                self._sums[name].add(*_counted(name, role, fields, status))

    def add_status(self, index: int, bits: np.ndarray) -> None:
        silent = np.where(bits & DEAD, _ROUNDING, 0).astype(np.uint8)
        if self._sizes[index] < 2:
            silent |= SV_BELOW_ROUNDING
        self._any = self._any | bits
        self._all = self._all & (bits | silent)
        if self._each:
            if not self.bits.size:
                self.bits = np.zeros((len(self._sizes), *bits.shape), np.uint8)
            self.bits[index] = bits

    def fields(self) -> dict[str, Field]:
        """The variables over classes, and in each class."""
        found: dict[str, Field] = {}
        for name, field in self._variables.items():
            if name in self._sums:
                found |= self._sums[name].fields(name, field)
            if self._each:
                found[f"{name}{BY_STRATUM}"] = replace(
                    field,
                    values=self._rows[name],
                    long_name=f"{field.long_name}, in each stratum",
                    leading=("stratum", *field.leading),
                )
        return found

    def status(self) -> np.ndarray:
        """The bits over classes."""
        everywhere = self._all & (DEAD | (self._any & _ROUNDING))
        return np.asarray(everywhere | (self._any & NOT_FINITE))

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        sums = sum(each.total.nbytes + each.count.nbytes for each in self._sums.values())
        rows = sum(each.nbytes for each in self._rows.values())
        return sums + rows + self._any.nbytes + self._all.nbytes + self.bits.nbytes


class _Sum:
    """Running sums of one variable over the classes that count, unit by unit."""

    def __init__(self, role: Role, shape: tuple[int, ...], n_strata: int) -> None:
        self.role = role
        self.total = np.zeros(shape)
        self.count = np.zeros(shape, np.uint16 if n_strata < 2**16 else np.int32)

    def add(self, values: np.ndarray, counted: np.ndarray) -> None:
        np.add(self.total, values, out=self.total, where=counted)
        self.count += counted

    def fields(self, name: str, field: Field) -> dict[str, Field]:
        """The variable over classes and, of a mean or share, how many classes it is of."""
        if self.role == "count":
            total, words = self.total.astype(np.int64), "sum over strata"
            return {name: replace(field, values=total, long_name=f"{field.long_name}, {words}")}
        sums = np.sqrt(self.total) if self.role == "error" else self.total
        mean = np.full(sums.shape, np.nan)
        np.divide(sums, self.count, out=mean, where=self.count > 0)
        if self.role == "error":
            words = "of the mean over strata"
            return {name: replace(field, values=mean, long_name=f"{field.long_name}, {words}")}
        words = "share of strata" if self.role == "decision" else "mean over strata"
        over = replace(field, values=mean, kind="value", long_name=f"{field.long_name}, {words}")
        number = Field(
            self.count,
            "1",
            f"{field.long_name}, number of strata with a value",
            field.references,
            field.leading,
            field.dims,
            kind="count",
        )
        return {name: over, f"{name}_strata": number}


def _role(name: str, fields: Mapping[str, Field]) -> Role | None:
    """What becomes of a variable over classes; None: nothing."""
    kind = fields[name].kind
    if kind == "decision" or kind == "count":
        return kind
    of = name.removesuffix(_SE)
    if of != name and of in fields:
        return "error" if _role(of, fields) == "value" else None
    return "value" if kind == "value" and _p_of(name, fields) is None else None


def _p_of(name: str, fields: Mapping[str, Field]) -> str | None:
    """The p-value of the test that a variable belongs to; None if it belongs to none."""
    stems = {p.removesuffix("_p") + "_": p for p, field in fields.items() if field.kind == "p"}
    longest = max((stem for stem in stems if name.startswith(stem)), key=len, default=None)
    return None if longest is None else stems[longest]


def _counted(
    name: str, role: Role, fields: Mapping[str, Field], status: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """What a class adds, and in which units it does."""
    field = fields[name]
    values = field.values
    if role == "value":
        return values, np.isfinite(values)
    if role == "error":
        of = fields[name.removesuffix(_SE)].values
        return np.square(values), np.isfinite(values) & np.isfinite(of)
    p = _p_of(name, fields) if role == "decision" else None
    if p is not None:
        return values, ~np.isnan(fields[p].values)
    counted = np.ones(values.shape, bool)
    if role == "decision" and status is not None and field.dims is None:
        counted &= (status & NOT_FINITE) == 0
    return values, counted


def _common(known: Field, field: Field) -> Field:
    """A field without values, and with those attributes that both have."""
    shared = {k: v for k, v in known.attributes.items() if field.attributes.get(k) == v}
    return replace(known, values=np.empty(0), attributes=shared)


def _empty(field: Field, *rows: int) -> np.ndarray:
    """Values of a class that has none, once or for so many classes."""
    shape = (*rows, *field.values.shape)
    if field.kind in ("decision", "count"):
        return np.zeros(shape, field.values.dtype)
    return np.full(shape, np.nan)
