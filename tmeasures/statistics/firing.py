"""How often activations lie over a threshold, and the thresholds, from reference inputs."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from math import ceil
from typing import ClassVar, Literal, Self

import torch
from torch import Tensor

from tmeasures.statistics.base import Statistic, squares_about_mean
from tmeasures.statistics.memory import MemoryOrder
from tmeasures.statistics.setup import Setup
from tmeasures.tile import Tile

Reference = Literal["untransformed", "transformed"]
Threshold = Literal["quantile", "normal"]
Sign = Literal[1, -1, "best"]

MOST = 4096
"""Reference inputs that a quantile is taken from, at most; transformed ones fill whole rows."""


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
class _Kind:
    """What the kinds of statistic of a rule share."""

    rule: Rule = _DEFAULT

    def applies(self, dims: tuple[str, ...]) -> str | None:
        """See `Kind.applies`."""
        return None


class CalibrationKind(_Kind):
    """The kind of statistic that finds thresholds."""

    provides: ClassVar[frozenset[str]] = frozenset()

    @property
    def name(self) -> str:
        """See `Kind.name`."""
        return f"calibration{self.rule.suffix}"

    @property
    def reference(self) -> Reference:
        """The inputs that it looks at."""
        return self.rule.reference

    @property
    def whole(self) -> bool:
        """Whether it looks at the whole matrix."""
        return self.reference == "transformed" and self.rule.threshold == "normal"

    def rows(self, n: int, m: int) -> int:
        """How many samples it looks at, the first ones."""
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


class FiringKind(_Kind):
    """The kind of statistic that counts what fires."""

    reference: ClassVar[Reference] = "untransformed"
    """The inputs that it looks at beside the matrix, wherever the thresholds come from."""

    @property
    def name(self) -> str:
        """See `Kind.name`."""
        return self.rule.name

    @property
    def provides(self) -> frozenset[str]:
        """See `Kind.provides`."""
        return frozenset(f"{self.name}/{part}" for part in ("samples", "joint", "all"))

    @property
    def signs(self) -> int:
        """How many thresholds each unit has."""
        return len(self.rule.signs)

    @property
    def calibration(self) -> CalibrationKind:
        """The kind that finds its thresholds."""
        return CalibrationKind(self.rule)

    def state_bytes(self, setup: Setup) -> int:
        """See `Kind.state_bytes`."""
        return Firing.state_bytes(setup, self.rule)

    def __call__(self, setup: Setup) -> Firing:
        """See `Kind`."""
        return Firing(setup, self.rule)


class Calibration(Statistic):
    """What the reference inputs tell of the thresholds of a rule; ``n`` counts these inputs."""

    name = "calibration"
    provides = frozenset()

    def __init__(self, setup: Setup, rule: Rule = _DEFAULT) -> None:
        self.rule = rule
        super().__init__(setup)

    @staticmethod
    @abstractmethod
    def state_bytes(setup: Setup, rule: Rule = _DEFAULT) -> int:
        """See `Statistic.state_bytes`."""

    @abstractmethod
    def thresholds(self) -> Tensor:
        """The thresholds, ``(sign, *unit)`` float64."""

    def update(self, tile: Tile[Tensor]) -> None:
        """Fold the reference inputs among a tile, as far as they are wanted."""
        values = self._inputs(tile)
        rows = self.rule.rows(_rows_of(self.setup), self.setup.m) - tile.samples.start
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
        if tile.reference is not None:
            return tile.reference.unsqueeze(1)
        at = _identity(self.setup, tile.transformations)
        return None if at < 0 else tile.values[:, at : at + 1]

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
        """None."""
        return {}


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

    def thresholds(self) -> Tensor:
        """The middle between the largest values; see `Calibration.thresholds`.

        Just as many inputs lie over it as are to fire where no two are equal, also where a tile of
        another size changes an activation's last bit. A constant unit never fires.
        """
        assert self.order is not None, "thresholds before update"
        if self.rule.firing(_rows_of(self.setup), self.setup.m) < self.kept.shape[1]:
            found = (self.kept[:, 0].double() + self.kept[:, 1:].amin(1)) / 2
        else:
            found = torch.full_like(self.smallest, -torch.inf, dtype=torch.float64)
        found[self.kept.amax(1) == self.smallest] = torch.inf
        return self.order.units(found)


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

    def thresholds(self) -> Tensor:
        """Mean and standard deviations above it; see `Calibration.thresholds`."""
        from scipy.special import ndtri

        assert self.order is not None, "thresholds before update"
        mean = self.shift.double() + self.sums / self.n
        squares = squares_about_mean(self.sums, self.squares, self.n)
        deviation = (squares / max(1, self.n - 1)).sqrt_()
        signs = torch.tensor(self.rule.signs, device=mean.device).unsqueeze(1)
        found = signs * mean - float(ndtri(self.rule.g)) * deviation
        return self.order.units(found.masked_fill_(deviation == 0, torch.inf))


class Firing(Statistic):
    """Counts of what fires: in the matrix, untransformed, and both.

    Kept for each sign and unit: the activations that fire; the untransformed samples that fire and,
    summed over these, the columns other than the identity under which they fire; and, while a tile
    holds less than whole rows, a row's such columns so far and whether its sample fires. Thresholds
    are kept in the precision of the activations, rounded down: that changes no comparison.

    Attributes:
        thresholds: What `Calibration.thresholds` gave; to be set before the first update, which
            takes it.
    """

    name = "firing"
    provides = frozenset()

    def __init__(self, setup: Setup, rule: Rule = _DEFAULT) -> None:
        self.rule = rule
        self.thresholds: Tensor | None = None
        super().__init__(setup)

    @staticmethod
    def state_bytes(setup: Setup, rule: Rule = _DEFAULT) -> int:
        """See `Statistic.state_bytes`."""
        open_rows = 0 if setup.whole_rows else 5 * setup.tile[0]
        return setup.units * len(rule.signs) * (setup.kept.itemsize + 3 * 8 + open_rows)

    def _allocate(self) -> None:
        signs, units = len(self.rule.signs), self.setup.units
        self.limits, self.totals = self._activations(signs), self._zeros(signs, 3)
        rows = 0 if self.setup.whole_rows else self.setup.tile[0]
        shape, device = (rows, signs, units), self.device
        self.open_counts = torch.zeros(shape, dtype=torch.int32, device=device)
        self.open_fires = torch.zeros(shape, dtype=torch.uint8, device=device)
        self.compared = False

    def update(self, tile: Tile[Tensor]) -> None:
        """Fold a tile and the untransformed samples; see `Statistic.update`."""
        values = tile.values.to(self.device)
        if self.order is None:
            assert self.thresholds is not None, "update before thresholds"
            self.order = MemoryOrder.of(values)
            thresholds = self.order.flat(self.thresholds.to(self.device))
            self.limits.copy_(_rounded_down(thresholds, self.limits.dtype))
            self.thresholds = None
        reference = None
        if tile.reference is not None:
            reference = self.order.tile(tile.reference.to(self.device).unsqueeze(1))
        self._fold(self.order.tile(values), tile.samples, tile.transformations, reference)

    def _fold(
        self, x: Tensor, samples: range, transformations: range, reference: Tensor | None = None
    ) -> None:
        first, m, sign = transformations.start, self.setup.m, self.rule.signs[0]
        at = _identity(self.setup, transformations) if reference is None else 0
        reference = x if reference is None else reference
        same = torch.tensor([j - first for j in self.setup.identities if j in transformations])
        state = self.limits, self.totals, self.open_counts, self.open_fires
        self.backend.firing(x, reference, at, same.long(), sign, *state, first, m)
        self.compared |= at >= 0
        if transformations.stop == m:
            assert self.compared, "rows without their untransformed samples"
            self.compared = False
            self.n += len(samples)

    def merge(self, other: Self) -> None:
        """Add other rows of the matrix, counted over the same thresholds."""
        self.totals += self._of(other, other.totals)
        self.n += other.n

    def quantities(self) -> dict[str, Tensor]:
        """The quantities of the kind, with a leading dim of two for two signs.

        ``samples``: untransformed samples that fire, NaN where one is not finite. ``joint``: summed
        over these, the share of the columns other than the identity under which they fire too.
        ``all``: activations of the matrix that fire.
        """
        fires, samples, joint = self.totals.squeeze(0).unbind(-2)
        others = self.setup.m - len(self.setup.identities)
        unknown = self.limits.squeeze(0).isnan()  # of a reference input that was not finite
        found = {"samples": samples, "joint": joint / others, "all": fires}
        return {
            f"{self.rule.name}/{part}": value.masked_fill(unknown, torch.nan)
            for part, value in found.items()
        }


def _rows_of(setup: Setup) -> int:
    assert setup.n is not None, "thresholds take a known number of samples"
    return setup.n


def _kept(setup: Setup, rule: Rule) -> int:
    n, m = _rows_of(setup), setup.m
    return min(rule.firing(n, m) + 1, rule.inputs(n, m))


def _identity(setup: Setup, transformations: range) -> int:
    """Where the first identity is among a tile's columns; -1 if it is not."""
    at = setup.identities[0] if setup.identities else -1
    return at - transformations.start if at in transformations else -1


def _rounded_down(thresholds: Tensor, dtype: torch.dtype) -> Tensor:
    """The largest numbers of a dtype that are not above; an activation is over both or neither."""
    found = thresholds.to(dtype)
    below = torch.nextafter(found, found.new_tensor(-torch.inf))
    return torch.where(found > thresholds, below, found)
