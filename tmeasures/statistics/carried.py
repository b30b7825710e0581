"""Maps of transformed inputs beside moved maps of untransformed ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from tmeasures.statistics.base import Reference, Statistic
from tmeasures.statistics.returned import MovingKind, actions_of, enough, of_channels
from tmeasures.statistics.setup import Setup
from tmeasures.tile import Tile


@dataclass(frozen=True)
class CarriedKind(MovingKind):
    """The kind of statistic of differences ``A(t_j(x_i)) - t_j(A(x_i))``.

    Quantities, for each channel, summed over samples and transformations: ``carried/differences``,
    the norms of these, and ``carried/norms``, those of ``t_j(A(x_i))``; and ``carried/inputs``, how
    many maps that is: without those of which less than a tenth is read inside the frame.

    Attributes:
        valid_only: Whether only what was read inside the frame counts.
    """

    valid_only: bool = True

    @property
    def name(self) -> str:
        """See `Kind.name`."""
        return "carried" + ("" if self.valid_only else " (whole frame)")

    @property
    def provides(self) -> frozenset[str]:
        """See `Kind.provides`."""
        return frozenset(f"{self.name}/{part}" for part in ("differences", "norms", "inputs"))

    @property
    def reference(self) -> Reference:
        """See `Kind.reference`."""
        return "untransformed"

    @property
    def inverts(self) -> bool:
        """See `Kind.inverts`."""
        return False

    def state_bytes(self, setup: Setup) -> int:
        """See `Kind.state_bytes`."""
        return Carried.state_bytes(setup)

    def __call__(self, setup: Setup) -> Carried:
        """See `Kind`."""
        return Carried(setup, self)


_USUAL = CarriedKind()


class Carried(Statistic):
    """Norms of differences to moved maps, and of these, summed for each channel.

    Kept beside: the untransformed maps of a tile's samples, which come with the first of their
    tiles.
    """

    name = "carried"

    def __init__(self, setup: Setup, kind: CarriedKind = _USUAL) -> None:
        self.kind, self.actions = kind, actions_of(setup)
        super().__init__(setup)

    @staticmethod
    def state_bytes(setup: Setup) -> int:
        """See `Statistic.state_bytes`."""
        rows = 0 if setup.whole_rows else setup.tile[0]
        return 2 * 8 * actions_of(setup).channels + rows * setup.units * setup.kept.itemsize

    def _allocate(self) -> None:
        rows = 0 if self.setup.whole_rows else self.setup.tile[0]
        kept, device = self.setup.kept, self.device
        self.totals = torch.zeros(2, self.actions.channels, dtype=torch.float64, device=device)
        self.inputs = 0
        self.references = torch.zeros(rows, *self.setup.shape, dtype=kept, device=device)

    def update(self, tile: Tile[Tensor]) -> None:
        """Fold a tile; the first of its rows holds the untransformed samples."""
        values, block = tile.values.to(self.device), tile.transformations
        found = self._untransformed(tile)
        if found is not None and len(self.references):
            self.references[: len(found)] = found
        if len(self.references):
            found = self.references[: len(values)]
        assert found is not None, "rows without their untransformed samples"
        self._fold(values, tile.samples, block, found)

    def _fold(
        self,
        x: Tensor,
        samples: range,
        transformations: range,
        reference: Tensor | None = None,
    ) -> None:
        assert reference is not None
        actions, table = self.actions, self.actions.forth(transformations)
        valid = self.kind.valid(table)
        counting = enough(valid)
        valid = valid & counting.unsqueeze(1)
        self.inputs += len(x) * int(counting.sum())
        x, t = actions.maps(x), len(transformations)
        outputs = reference.unsqueeze(1).expand(-1, t, *reference.shape[1:])
        moved = actions.moved_forth(outputs, transformations)
        if moved is outputs:  # tables say it all: untransformed maps are read through them
            self._add(x, outputs, table.index, table.weight, valid)
        else:
            for at in (slice(k, k + 1) for k in range(t)):
                part = table.index[at], table.weight[at], valid[at]
                self._add(x[:, :, at], moved[:, at], *part)
        if transformations.stop == self.setup.m:
            self.n += len(samples)

    def _add(self, x: Tensor, moved: Tensor, index: Tensor, weight: Tensor, valid: Tensor) -> None:
        reference = self.actions.maps(moved[:, :1])[:, :, 0]
        self.backend.carried(x, reference, index, weight, valid, self.totals)

    def merge(self, other: Self) -> None:
        """Add other rows of the matrix; both have closed theirs."""
        self.totals += other.totals
        self.inputs += other.inputs
        self.n += other.n

    def quantities(self) -> dict[str, Tensor]:
        """See `CarriedKind`, ``(channel,)`` where there are channels."""
        differences, norms = (of_channels(sums, self.setup) for sums in self.totals.clone())
        inputs = torch.tensor(self.inputs, dtype=torch.float64)
        both = {f"{self.kind.name}/differences": differences, f"{self.kind.name}/norms": norms}
        return both | {f"{self.kind.name}/inputs": inputs}

    def finalize(self) -> dict[str, Tensor]:
        """See `Statistic.finalize`."""
        return self.quantities()
