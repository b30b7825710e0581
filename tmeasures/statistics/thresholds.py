"""The thresholds over which units fire, from reference inputs."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from math import ceil
from typing import Literal, Self

import torch
from torch import Tensor

from tmeasures.statistics.base import Kind, Reference, Statistic, squares_about_mean
from tmeasures.statistics.memory import MemoryOrder
from tmeasures.statistics.setup import Setup
from tmeasures.tile import Tile

Threshold = Literal["quantile", "normal"]
Sign = Literal[1, -1, "best"]

MOST = 4096
"""Reference inputs that a quantile is taken from, at most; transformed ones fill whole rows."""

# Activations that differ by less, relative to the largest, are equal but for rounding: that of the
# precision they are kept in, for those of a half network stand on a lattice already.
_ROUNDING = {dtype: 16 * torch.finfo(dtype).eps for dtype in (torch.float32, torch.float64)}


@dataclass(frozen=True)
class Rule:
    """When a unit fires: where ``sign * a`` is over a threshold that depends on the unit.

    Attributes:
        g: The share of the reference inputs on which it is to fire.
        reference: These inputs: the untransformed samples, or the whole matrix.
        threshold: ``"quantile"`` of the first of them, or ``"normal"``, from the mean and the
            standard deviation over all.
        sign: 1, -1, or ``"best"`` for one after the other.
    """

    g: float = 0.01
    reference: Reference = "untransformed"
    threshold: Threshold = "quantile"
    sign: Sign = 1

    @property
    def suffix(self) -> str:
        """What differs from the defaults, for a name."""
        given = [] if self.g == 0.01 else [f"g={self.g}"]
        given += [] if self.reference == "untransformed" else [self.reference]
        given += [] if self.threshold == "quantile" else [self.threshold]
        given += [] if self.sign == 1 else [f"sign={self.sign}"]
        return f"({', '.join(given)})" if given else ""

    @property
    def name(self) -> str:
        """What the names of the quantities start with."""
        return f"firing{self.suffix}"

    @property
    def threshold_name(self) -> str:
        """The quantity that says where it fires."""
        return f"{self.name}/threshold"

    @property
    def signs(self) -> tuple[int, ...]:
        """The signs, in order."""
        return (1, -1) if self.sign == "best" else (self.sign,)

    def rows(self, n: int, m: int) -> int:
        """How many samples, the first ones, give the threshold."""
        if self.threshold == "normal":
            return n
        inputs = min(n, MOST)
        return inputs if self.reference == "untransformed" else ceil(inputs / m)

    def inputs(self, n: int, m: int) -> int:
        """How many inputs give the threshold."""
        return self.rows(n, m) * (1 if self.reference == "untransformed" else m)

    def firing(self, n: int, m: int) -> int:
        """On how many of these inputs a unit is to fire."""
        # 0.07 * 100 is a little over 7
        return max(1, ceil(round(self.g * self.inputs(n, m), 9)))


_DEFAULT = Rule()


@dataclass(frozen=True)
class CalibrationKind(Kind):
    """The kind of statistic that finds the thresholds of a rule."""

    rule: Rule = _DEFAULT

    @property
    def name(self) -> str:
        """See `Kind.name`."""
        return f"calibration{self.rule.suffix}"

    @property
    def provides(self) -> frozenset[str]:
        """See `Kind.provides`."""
        return frozenset({self.rule.threshold_name})

    @property
    def signs(self) -> int:
        """See `Kind.signs`."""
        return len(self.rule.signs)

    @property
    def reference(self) -> Reference:
        """See `Kind.reference`."""
        return self.rule.reference

    def rows(self, n: int, m: int) -> int:
        """See `Prelude.rows`."""
        return self.rule.rows(n, m)

    def state_bytes(self, setup: Setup) -> int:
        """See `Kind.state_bytes`."""
        return self._statistic.state_bytes(setup, self.rule)

    def __call__(self, setup: Setup) -> Calibration:
        """See `Kind`."""
        return self._statistic(setup, self.rule)

    @property
    def _statistic(self) -> type[Calibration]:
        return Quantile if self.rule.threshold == "quantile" else Normal


class Calibration(Statistic):
    """What the reference inputs tell of the thresholds of a rule; ``n`` counts these inputs."""

    name = "calibration"

    def __init__(self, setup: Setup, rule: Rule = _DEFAULT) -> None:
        self.rule = rule
        super().__init__(setup)

    @staticmethod
    @abstractmethod
    def state_bytes(setup: Setup, rule: Rule = _DEFAULT) -> int:
        """See `Statistic.state_bytes`."""

    @abstractmethod
    def _thresholds(self) -> Tensor:
        """The thresholds, ``(sign, unit)`` float64, flat in memory order."""

    def update(self, tile: Tile[Tensor]) -> None:
        """Fold the reference inputs among a tile, as far as they are wanted."""
        values = self._inputs(tile)
        rows = self.rule.rows(rows_of(self.setup), self.setup.m) - tile.samples.start
        if values is None or rows <= 0:
            return
        if self.order is None:
            self.order = MemoryOrder.of(tile.values)
        x = self.order.tile(values[:rows].to(self.device))
        self._fold(x, tile.samples, tile.transformations)
        self.n += x.shape[1] * x.shape[2]

    def _inputs(self, tile: Tile[Tensor]) -> Tensor | None:
        if self.rule.reference == "transformed":
            return tile.values
        found = self._untransformed(tile)
        return None if found is None else found.unsqueeze(1)

    def merge(self, other: Self) -> None:
        """Add other reference inputs."""
        if other.order is not None:  # else there were none
            self.order = self.order or other.order
            self._merge(other)
            self.n += other.n

    @abstractmethod
    def _merge(self, other: Self) -> None:
        """Add the state of another part."""

    def quantities(self) -> dict[str, Tensor]:
        """The thresholds, ``(sign, unit)``."""
        return {self.rule.threshold_name: self._thresholds()}


class Quantile(Calibration):
    """The largest values of each unit's reference inputs, one more than it is to fire on."""

    @staticmethod
    def state_bytes(setup: Setup, rule: Rule = _DEFAULT) -> int:
        """See `Statistic.state_bytes`."""
        each = _kept(setup, rule) + 1
        return setup.units * len(rule.signs) * each * setup.kept.itemsize

    def _allocate(self) -> None:
        signs = len(self.rule.signs)
        self.kept = self._activations(signs, _kept(self.setup, self.rule)).fill_(-torch.inf)
        self.smallest = self._activations(signs).fill_(torch.inf)

    def _fold(self, x: Tensor, samples: range, transformations: range) -> None:
        for k, sign in enumerate(self.rule.signs):
            self.backend.keep_largest(x, sign, self.kept[k], self.smallest[k])

    def _merge(self, other: Self) -> None:
        both = torch.cat([self.kept, self._of(other, other.kept)], 1)
        self.kept.copy_(both.topk(self.kept.shape[1], 1).values.flip(1))  # the least first
        torch.minimum(self.smallest, self._of(other, other.smallest), out=self.smallest)

    def _thresholds(self) -> Tensor:
        """The middle between the largest values; see `Calibration`.

        Just as many inputs lie over it as are to fire where no two are equal, also where a tile of
        another size changes an activation's last bit. Two that differ by rounding only are taken
        for equal, and a unit that is constant but for rounding never fires.
        """
        largest = self.kept.amax(1).double()
        rounding = _ROUNDING[self.kept.dtype] * largest.abs().maximum(self.smallest.double().abs())
        if self.rule.firing(rows_of(self.setup), self.setup.m) < self.kept.shape[1]:
            beyond, last = self.kept[:, 0].double(), self.kept[:, 1:].amin(1).double()
            tied = last - beyond <= rounding
            found = torch.where(tied, beyond + rounding, (beyond + last) / 2)
        else:
            found = torch.full_like(self.smallest, -torch.inf, dtype=torch.float64)
        return found.masked_fill_(largest - self.smallest <= rounding, torch.inf)


class Normal(Calibration):
    """Sum and squares about the first of each unit's reference inputs."""

    @staticmethod
    def state_bytes(setup: Setup, rule: Rule = _DEFAULT) -> int:
        """See `Statistic.state_bytes`."""
        return setup.units * (2 * setup.kept.itemsize + 16)

    def _allocate(self) -> None:
        self.shift, self.largest = self._activations(1), self._activations()
        self.sums, self.squares = self._zeros(1), self._zeros(1)

    def _fold(self, x: Tensor, samples: range, transformations: range) -> None:
        x = x.flatten(1, 2).unsqueeze(2)
        if self.n == 0:
            self.shift[0] = x[:, 0].flatten()
        self.backend.columns(x, self.shift, self.sums, self.squares, self.largest)

    def _merge(self, other: Self) -> None:
        e = self._of(other, other.shift).double() - self.shift
        sums = self._of(other, other.sums)
        self.squares += self._of(other, other.squares) + 2 * sums * e + other.n * e.square()
        self.sums += sums + other.n * e
        torch.maximum(self.largest, self._of(other, other.largest), out=self.largest)

    def _thresholds(self) -> Tensor:
        """Mean and standard deviations above it; see `Calibration`."""
        from scipy.special import ndtri

        mean = self.shift.double() + self.sums / self.n
        squares = squares_about_mean(self.sums, self.squares, self.n)
        deviation = (squares / max(1, self.n - 1)).sqrt_()
        signs = torch.tensor(self.rule.signs, device=mean.device).unsqueeze(1)
        found = signs * mean - float(ndtri(self.rule.g)) * deviation
        constant = deviation <= _ROUNDING[self.largest.dtype] * self.largest
        return found.masked_fill_(constant, torch.inf)


def rows_of(setup: Setup) -> int:
    """The rows of the matrix, which are known."""
    assert setup.n is not None, "thresholds take a known number of samples"
    return setup.n


def _kept(setup: Setup, rule: Rule) -> int:
    n, m = rows_of(setup), setup.m
    return min(rule.firing(n, m) + 1, rule.inputs(n, m))
