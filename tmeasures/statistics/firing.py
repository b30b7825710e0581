"""How often activations lie over a threshold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from tmeasures.statistics.base import Kind, Prelude, Reference, Statistic
from tmeasures.statistics.memory import MemoryOrder
from tmeasures.statistics.setup import Setup
from tmeasures.statistics.thresholds import CalibrationKind, Rule
from tmeasures.tile import Tile

_DEFAULT = Rule()


@dataclass(frozen=True)
class FiringKind(Kind):
    """The kind of statistic that counts what fires."""

    rule: Rule = _DEFAULT

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
        """See `Kind.signs`: one for each threshold."""
        return len(self.rule.signs)

    @property
    def reference(self) -> Reference:
        """See `Kind.reference`."""
        return "untransformed"

    @property
    def before(self) -> tuple[Prelude, ...]:
        """The kind that finds its thresholds; see `Kind.before`."""
        return (CalibrationKind(self.rule),)

    def state_bytes(self, setup: Setup) -> int:
        """See `Kind.state_bytes`."""
        return Firing.state_bytes(setup, self.rule)

    def __call__(self, setup: Setup) -> Firing:
        """See `Kind`."""
        return Firing(setup, self.rule)


class Firing(Statistic):
    """Counts of what fires: in the matrix, untransformed, and both.

    Kept for each sign and unit: the activations that fire; the untransformed samples that fire and,
    summed over these, the columns other than the identity under which they fire; and, while a tile
    holds less than whole rows, a row's such columns so far and whether its sample fires. Thresholds
    are kept in the precision of the activations, rounded down: that changes no comparison.
    """

    name = "firing"

    def __init__(self, setup: Setup, rule: Rule = _DEFAULT) -> None:
        self.rule = rule
        self._thresholds: Tensor | None = None
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

    def take(self, found: Mapping[str, Tensor]) -> None:
        """Take the thresholds, ``(sign, *unit)``; see `Statistic.take`."""
        self._thresholds = found[self.rule.threshold_name]

    def update(self, tile: Tile[Tensor]) -> None:
        """Fold a tile and the untransformed samples; see `Statistic.update`."""
        values = tile.values.to(self.device)
        if self.order is None:
            assert self._thresholds is not None, "update before thresholds"
            self.order = MemoryOrder.of(values)
            thresholds = self.order.flat(self._thresholds.to(self.device))
            self.limits.copy_(_rounded_down(thresholds, self.limits.dtype))
            self._thresholds = None
        reference = None
        if tile.reference is not None:
            reference = self.order.tile(tile.reference.to(self.device).unsqueeze(1))
        self._fold(self.order.tile(values), tile.samples, tile.transformations, reference)

    def _fold(
        self, x: Tensor, samples: range, transformations: range, reference: Tensor | None = None
    ) -> None:
        first, m, sign = transformations.start, self.setup.m, self.rule.signs[0]
        at = 0
        if reference is None:
            reference = x
            at = -1 if self.compared else self.setup.identity_at(transformations)
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


def _rounded_down(thresholds: Tensor, dtype: torch.dtype) -> Tensor:
    """The largest numbers of a dtype that are not above; an activation is over both or neither."""
    found = thresholds.to(dtype)
    below = torch.nextafter(found, found.new_tensor(-torch.inf))
    return torch.where(found > thresholds, below, found)
