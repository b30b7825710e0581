"""Maps moved back by the transformations they came under: what same-equivariance is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import torch
from torch import Tensor

from tmeasures.statistics.base import Kind, Prelude, Reference, Statistic
from tmeasures.statistics.setup import Setup
from tmeasures.tile import Tile
from tmeasures.transformations.actions import Actions, Table

Per = Literal["channel", "layer"]

LEAST_SHARE = 0.1
"""The share of a map that has to be valid under two transformations for their distance to count."""

_FLOOR_SAMPLES = 8, 32  # at least, where there are so many, and at most

_COLUMNS = 64  # columns whose tables the floor needs at once
_MOVED = 2**20  # activations that it moves at once where a sample has less


class MovingKind(Kind):
    """What a kind is that moves maps back unless it says otherwise.

    Attributes:
        valid_only: Whether only what was read inside the frame counts.
    """

    valid_only: bool

    @property
    def moves(self) -> bool:
        """See `Kind.moves`."""
        return True

    @property
    def inverts(self) -> bool:
        """See `Kind.inverts`."""
        return True

    def applies(self, dims: tuple[str, ...], actions: Actions | str | None = None) -> str | None:
        """See `Kind.applies`: it has to be known how transformations act on the outputs."""
        return actions if isinstance(actions, str) else None

    def valid(self, table: Table) -> Tensor:
        """Where maps count, ``(t, value)`` bool."""
        return table.valid if self.valid_only else torch.ones_like(table.valid)


@dataclass(frozen=True)
class Vectors:
    """Which vectors of a layer's outputs are compared.

    Attributes:
        per: Whether a vector is the map of one channel, or those of all.
        unit_norm: Whether vectors are divided by their norms first.
    """

    per: Per = "channel"
    unit_norm: bool = True


@dataclass(frozen=True)
class ReturnedKind(MovingKind):
    """The kind of statistic of maps that were moved back: of variances, distances, or both.

    Quantities:

    =======================================  ===================================================
    ``returned variances/sum``               summed over rows, the variance of each location
                                             over the transformations under which it is valid;
                                             NaN where these are fewer than two
    ``returned distances/sum``               summed over rows, the mean distance of the pairs
                                             ``(p, q)`` that count, ``p = q`` among them; NaN
                                             where no others do
    ``returned distances/left_out``          the pairs ``p < q`` that do not count
    =======================================  ===================================================

    A floor, ``floor of returned variances/sum``, is the same of maps that were moved there and
    back, of the first samples, and also gives their number, ``floor of .../rows``.

    Attributes:
        variances: Whether variances are wanted.
        vectors: Of which vectors distances are wanted; None: of none.
        valid_only: Whether only what was read inside the frame counts.
        floor: Whether it is a floor.
    """

    variances: bool = True
    vectors: Vectors | None = None
    valid_only: bool = True
    floor: bool = False

    @property
    def variances_key(self) -> str:
        """What the names of quantities of variances start with."""
        return self._key("variances", [])

    @property
    def distances_key(self) -> str:
        """What the names of quantities of distances start with."""
        assert self.vectors is not None
        words = ["layer"] if self.vectors.per == "layer" else []
        return self._key("distances", words + ([] if self.vectors.unit_norm else ["raw"]))

    def _key(self, part: str, words: list[str]) -> str:
        words = words + ([] if self.valid_only else ["whole frame"])
        label = f" ({', '.join(words)})" if words else ""
        return f"{'floor of ' if self.floor else ''}returned {part}{label}"

    @property
    def keys(self) -> list[str]:
        """What the names of its quantities start with."""
        keys = [self.variances_key] if self.variances else []
        return keys + ([self.distances_key] if self.vectors else [])

    @property
    def name(self) -> str:
        """See `Kind.name`."""
        return " and ".join(self.keys)

    @property
    def provides(self) -> frozenset[str]:
        """See `Kind.provides`."""
        found = {f"{key}/sum" for key in self.keys}
        found |= {f"{self.distances_key}/left_out"} if self.vectors else set()
        return frozenset(found | ({f"{key}/rows" for key in self.keys} if self.floor else set()))

    def sums(self, setup: Setup) -> int:
        """How many sums of distances there are."""
        if self.vectors is None:
            return 0
        return actions_of(setup).channels if self.vectors.per == "channel" else 1

    @property
    def reference(self) -> Reference:
        """See `Kind.reference`."""
        return "untransformed" if self.floor else "transformed"

    @property
    def before(self) -> tuple[Prelude, ...]:
        """The kind of floor; see `Kind.before`."""
        return () if self.floor else (replace(self, floor=True),)

    @property
    def closes_rows(self) -> bool:
        """See `Kind.closes_rows`."""
        return self.vectors is not None and not self.floor

    def held_rows(self, setup: Setup) -> int:
        """Rows whose activations are held, as tiles do not close them; 0: none."""
        return setup.tile[0] if self.closes_rows and not setup.whole_rows else 0

    def rows(self, n: int, m: int) -> int:
        """See `Prelude.rows`."""
        return floor_samples(n)

    def state_bytes(self, setup: Setup) -> int:
        """See `Kind.state_bytes`."""
        return (Floor if self.floor else Returned).state_bytes(setup, self)

    def __call__(self, setup: Setup) -> Returned:
        """See `Kind`."""
        return (Floor if self.floor else Returned)(setup, self)


_USUAL = ReturnedKind()


def fused(kinds: Sequence[ReturnedKind]) -> tuple[ReturnedKind, ...]:
    """The kinds with variances and distances of one read each, where both are wanted."""
    found = list(dict.fromkeys(kind for kind in kinds if kind.vectors))
    for kind in dict.fromkeys(kind for kind in kinds if kind.variances):
        same = [i for i, other in enumerate(found) if other.valid_only == kind.valid_only]
        if same:
            found[same[0]] = replace(found[same[0]], variances=True)
        else:
            found.append(kind)
    return tuple(found)


class Returned(Statistic):
    """Variances or distances of maps moved back, or both, summed over rows.

    Kept: for variances the squares of each location, and the mean and squares of open rows so far
    where a tile holds less than whole rows; for distances a sum for each channel, and the
    activations of the open rows, in place of their means.

    Args:
        setup: The layer, the matrix and the pass; with actions.
        kind: What is measured.
    """

    name = "returned"

    def __init__(self, setup: Setup, kind: ReturnedKind = _USUAL) -> None:
        self.kind, self.actions = kind, actions_of(setup)
        super().__init__(setup)

    @staticmethod
    def state_bytes(setup: Setup, kind: ReturnedKind = _USUAL) -> int:
        """See `Statistic.state_bytes`."""
        rows = 0 if setup.whole_rows else setup.tile[0]
        squares = setup.units * 8 * kind.variances
        if kind.vectors is None:
            rows *= 2 * 8
        else:
            rows *= setup.m * setup.kept.itemsize
        return squares + rows * setup.units + 8 * (kind.sums(setup) + 2 * actions_of(setup).values)

    def _allocate(self) -> None:
        shape = self.actions.channels, self.actions.values
        rows = 0 if self.setup.whole_rows else self.setup.tile[0]
        held = rows if self.kind.vectors else 0
        kept, device = self.setup.kept, self.device
        self.squares = self._sums(*(shape if self.kind.variances else (0, 0)))
        self.open_rows = self._sums(rows - held, 2, *shape)
        self.sums = self._sums(self.kind.sums(self.setup))
        self.held = torch.zeros(held, self.setup.m, *self.setup.shape, dtype=kept, device=device)
        self.counts = torch.zeros(2, shape[1], dtype=torch.int64, device=device)
        self.left_out = 0

    def _sums(self, *shape: int) -> Tensor:
        return torch.zeros(shape, dtype=torch.float64, device=self.device)

    def update(self, tile: Tile[Tensor]) -> None:
        """See `Statistic.update`."""
        self._fold(tile.values.to(self.device), tile.samples, tile.transformations)

    def _fold(self, x: Tensor, samples: range, transformations: range) -> None:
        """Fold a tile ``(s, t, *unit)``."""
        last = transformations.stop == self.setup.m
        if not len(self.held):
            self._add(x, transformations, last)
        else:
            self.held[: len(x), transformations.start : transformations.stop] = x
            if last:
                self._add(self.held[: len(x)], range(self.setup.m), last)
        if last:
            self.n += len(samples)

    def _add(self, values: Tensor, block: range, last: bool) -> None:
        actions, table, vectors = self.actions, self.actions.back(block), self.kind.vectors
        valid = self.kind.valid(table)
        kept = counted(valid) if vectors else valid.new_zeros(0, 0)
        # Of each location, the valid columns of these rows before this tile, and of whole rows.
        seen, counts = self.counts
        self.backend.returned(
            actions.maps(actions.moved_back(values, block)),
            table.index,
            table.weight,
            valid,
            kept,
            vectors is None or vectors.unit_norm,
            self.squares,
            self.open_rows,
            seen,
            last,
            self.sums,
        )
        self.left_out = int((~kept).triu(1).sum())
        seen += valid.sum(0)
        if last:
            counts.copy_(seen)
            seen.zero_()

    def merge(self, other: Self) -> None:
        """Add other rows of the matrix; both have closed theirs."""
        self.squares += other.squares
        self.sums += other.sums
        if other.n:
            self.counts.copy_(other.counts)
            self.left_out = other.left_out
        self.n += other.n

    def quantities(self) -> dict[str, Tensor]:
        """See `ReturnedKind`, ``(channel, value)``, and ``(channel,)`` where there are channels."""
        found: dict[str, Tensor] = {}
        if self.kind.variances:
            counts = self.counts[1].double()
            divisors = (counts - 1).masked_fill(counts < 2, torch.nan)
            found[f"{self.kind.variances_key}/sum"] = self.squares / divisors
        if self.kind.vectors:
            m, key = self.setup.m, self.kind.distances_key
            pairs = m**2 - 2 * self.left_out
            sums = 2 * self.sums / (pairs if pairs > m else torch.nan)
            whole = self.kind.vectors.per == "layer"
            found[f"{key}/sum"] = of_layer(sums) if whole else of_channels(sums, self.setup)
            found[f"{key}/left_out"] = torch.tensor(self.left_out, dtype=torch.float64)
        return found

    def finalize(self) -> dict[str, Tensor]:
        """The quantities, those of locations ``(*unit,)``; see `Statistic.finalize`."""
        found = self.quantities()
        return {k: self.actions.units(v) if v.ndim == 2 else v for k, v in found.items()}


class Floor(Returned):
    """The same of the first untransformed maps, moved there and back."""

    name = "floor"

    def __init__(self, setup: Setup, kind: ReturnedKind = _USUAL) -> None:
        super().__init__(replace(setup, tile=(1, setup.m)), kind)

    @staticmethod
    def state_bytes(setup: Setup, kind: ReturnedKind = _USUAL) -> int:
        """See `Statistic.state_bytes`."""
        moved = _moved_rows(setup) * setup.m * setup.units * setup.kept.itemsize
        return Returned.state_bytes(replace(setup, tile=(1, setup.m)), kind) + moved

    def _allocate(self) -> None:
        super()._allocate()
        shape = self.setup.m, self.actions.channels, self.actions.values
        self.moved = torch.zeros(
            _moved_rows(self.setup), *shape, dtype=self.setup.kept, device=self.device
        )
        self.wanted = floor_samples(self.setup.n)
        self.taken: range | None = None

    def update(self, tile: Tile[Tensor]) -> None:
        """Fold the untransformed maps among a tile, as far as they are wanted."""
        found = self._untransformed(tile)
        # Rows that have them beside may have an identity among later columns too.
        if found is None or tile.samples == self.taken:
            return
        self.taken = tile.samples
        columns = range(self.setup.m)
        wanted = found[: self.wanted - self.n].to(self.device)
        if not len(wanted):
            return
        if self.actions.is_exact and wanted.isfinite().all():  # all come back to the last bit
            self.counts[1] = len(columns)
            self.n += len(wanted)
            return
        for outputs in torch.split(wanted, len(self.moved)):
            moved = self.moved[: len(outputs)]
            for start in columns[::_COLUMNS]:
                self._move(outputs, columns[start : start + _COLUMNS], moved)
            self._fold(self.actions.units(moved), range(len(outputs)), columns)

    def _move(self, outputs: Tensor, block: range, moved: Tensor) -> None:
        """Move outputs ``(s, *unit)`` by a block of transformations, to these columns."""
        actions, table = self.actions, self.actions.forth(block)
        copies = outputs.unsqueeze(1).expand(-1, len(block), *outputs.shape[1:])
        found = actions.moved_forth(copies, block)
        x = actions.maps(found[:, :1] if found is copies else found)
        self.backend.moved(x, table.index, table.weight, block.start, moved)

    def quantities(self) -> dict[str, Tensor]:
        """See `ReturnedKind`."""
        rows = torch.tensor(self.n, dtype=torch.float64)
        return super().quantities() | {f"{key}/rows": rows for key in self.kind.keys}


def floor_samples(n: int | None) -> int:
    """Samples that a floor is measured on, the first of n: an eighth, for an eighth of the cost."""
    least, most = _FLOOR_SAMPLES
    return most if n is None else min(n, most, max(least, n // 8))


def _moved_rows(setup: Setup) -> int:
    """Samples that a floor moves at once: in a few large calls where layers are small."""
    return max(1, min(floor_samples(setup.n), _MOVED // (setup.m * setup.units)))


def counted(valid: Tensor) -> Tensor:
    """Which pairs of transformations leave enough of a map valid for both, ``(t, t)`` bool."""
    share = valid.double()
    return share @ share.T >= LEAST_SHARE * valid.shape[1]


def enough(valid: Tensor) -> Tensor:
    """Which transformations leave enough of a map valid, ``(t,)`` bool."""
    return valid.sum(1) >= LEAST_SHARE * valid.shape[1]


def of_channels(sums: Tensor, setup: Setup) -> Tensor:
    """One number for each channel, ``(channel,)``; for outputs without channels one, ``()``."""
    return sums if "channel" in setup.dims else of_layer(sums)


def of_layer(sums: Tensor) -> Tensor:
    """The only number, ``()``; NaN where it is not finite, as nothing else says so of a layer."""
    return sums[0].masked_fill(~sums[0].isfinite(), torch.nan)


def actions_of(setup: Setup) -> Actions:
    """How the transformations act on the layer's outputs, which is known."""
    assert setup.actions is not None, "maps are moved where it is known how"
    return setup.actions
