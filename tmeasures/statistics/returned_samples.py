"""How maps that were moved back vary over samples, for same-equivariance relative to that."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from tmeasures.statistics.base import Statistic
from tmeasures.statistics.columns import Columns
from tmeasures.statistics.distances import DistancesKind
from tmeasures.statistics.metrics import Metric
from tmeasures.statistics.returned import (
    MovingKind,
    Vectors,
    actions_of,
    enough,
    of_channels,
    of_layer,
)
from tmeasures.statistics.setup import Setup
from tmeasures.tile import Tile


@dataclass(frozen=True)
class ReturnedSamplesKind(MovingKind):
    """The kind of statistic of the columns of maps that were moved back.

    Quantities, their names starting with the kind's:

    ===========  ===========================================================================
    ``sum``      without vectors: the squares of each location about their mean over
                 samples, summed over the transformations under which it is valid; with
                 vectors: the distances of the pairs of samples inside blocks of 32, summed
                 over the transformations that count
    ``columns``  how many transformations these are, for each location, or in all
    ===========  ===========================================================================

    Attributes:
        vectors: Of which vectors distances are wanted; None: variances.
        valid_only: Whether only what was read inside the frame counts.
    """

    vectors: Vectors | None = None
    valid_only: bool = True

    @property
    def name(self) -> str:
        """See `Kind.name`."""
        words = ["distances", self.vectors.per] if self.vectors else ["variances"]
        words += ["raw"] if self.vectors and not self.vectors.unit_norm else []
        words += [] if self.valid_only else ["whole frame"]
        return f"returned samples ({', '.join(words)})"

    @property
    def provides(self) -> frozenset[str]:
        """See `Kind.provides`."""
        return frozenset({f"{self.name}/sum", f"{self.name}/columns"})

    @property
    def pairs(self) -> DistancesKind:
        """The pairs of samples whose distances are summed."""
        assert self.vectors is not None
        metric = Metric.of("euclidean", True, self.vectors.unit_norm)
        return DistancesKind(metric, parts=frozenset({"blocks"}))

    def inner(self, setup: Setup) -> tuple[Setup, type[Columns] | DistancesKind]:
        """What is kept of the maps once they are moved back, ``(channel, value)`` each."""
        actions = actions_of(setup)
        shape = actions.channels, actions.values
        if self.vectors and self.vectors.per == "layer":
            shape = 1, setup.units
        given = replace(
            setup,
            shape=shape,
            dims=("channel", "value"),
            dtype=torch.float64,
            actions=None,
            errors=False,
        )
        return given, Columns if self.vectors is None else self.pairs

    def state_bytes(self, setup: Setup) -> int:
        """See `Kind.state_bytes`."""
        given, kind = self.inner(setup)
        s, t = setup.tile
        moved = s * t * setup.units * 8
        return kind.state_bytes(given) + moved + 8 * actions_of(setup).values

    def __call__(self, setup: Setup) -> ReturnedSamples:
        """See `Kind`."""
        return ReturnedSamples(setup, self)


_USUAL = ReturnedSamplesKind()


class ReturnedSamples(Statistic):
    """Maps moved back as they are, in a statistic of their columns; 0 where they do not count.

    What is 0 for every sample adds nothing to squares about a mean, nor to distances.
    """

    name = "returned samples"

    def __init__(self, setup: Setup, kind: ReturnedSamplesKind = _USUAL) -> None:
        self.kind, self.actions = kind, actions_of(setup)
        super().__init__(setup)

    @staticmethod
    def state_bytes(setup: Setup) -> int:
        """See `Statistic.state_bytes`."""
        return _USUAL.state_bytes(setup)

    def _allocate(self) -> None:
        setup, kind = self.kind.inner(self.setup)
        (s, t), device = self.setup.tile, self.device
        self.inner: Statistic = kind(setup)
        shape = s, t, self.actions.channels, self.actions.values
        self.moved = torch.zeros(shape, dtype=torch.float64, device=device)
        self.columns = torch.zeros(self.actions.values, dtype=torch.int64, device=device)
        self.counted, self.first = 0, -1

    def update(self, tile: Tile[Tensor]) -> None:
        """See `Statistic.update`."""
        self._fold(tile.values.to(self.device), tile.samples, tile.transformations)

    def _fold(self, x: Tensor, samples: range, transformations: range) -> None:
        """Fold a tile ``(s, t, *unit)``."""
        actions, table = self.actions, self.actions.back(transformations)
        valid = self.kind.valid(table)
        self.first = samples.start if self.first < 0 else self.first
        is_first = samples.start == self.first
        if self.kind.vectors:
            counting = enough(valid)
            valid = valid & counting.unsqueeze(1)
            self.counted += int(counting.sum()) * is_first
        maps, out = actions.maps(actions.moved_back(x, transformations)), self.moved[: len(x)]
        self.backend.moved(maps, table.index, table.weight, 0, out)
        moved = out[:, : len(transformations)].masked_fill_(~valid.unsqueeze(1), 0)
        moved = moved.reshape(*moved.shape[:2], *self.inner.setup.shape)
        if is_first:
            self.columns += valid.sum(0)
        self.inner.update(Tile(samples, transformations, np.array(samples), None, moved))
        if transformations.stop == self.setup.m:
            self.n += len(samples)

    def merge(self, other: Self) -> None:
        """Add other rows of the matrix."""
        self.inner.merge(other.inner)
        if other.n:
            self.columns, self.counted = other.columns, other.counted
        self.n += other.n

    def quantities(self) -> dict[str, Tensor]:
        """See `ReturnedSamplesKind`."""
        found, name = self.inner.finalize(), self.kind.name
        if self.kind.vectors is None:
            columns = self.columns.double().expand(self.actions.channels, -1)
            both = {"sum": found["columns"], "columns": columns}
            return {f"{name}/{key}": self.actions.units(value) for key, value in both.items()}
        sums = found[self.kind.pairs.quantity("blocks")]
        whole = self.kind.vectors.per == "layer"
        sums = of_layer(sums) if whole else of_channels(sums, self.setup)
        columns = torch.tensor(self.counted, dtype=torch.float64)
        return {f"{name}/sum": sums, f"{name}/columns": columns}

    def finalize(self) -> dict[str, Tensor]:
        """See `Statistic.finalize`."""
        return self.quantities()
