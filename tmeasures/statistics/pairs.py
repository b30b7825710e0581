"""Sums of the distances of pairs, over tiles: what `tmeasures.statistics.distances` names."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import ceil, prod
from typing import Self

import torch
from torch import Tensor

from tmeasures.errors import ArgumentError
from tmeasures.statistics.base import Statistic, squares_about_mean
from tmeasures.statistics.memory import MemoryOrder
from tmeasures.statistics.metrics import Metric
from tmeasures.statistics.setup import Setup
from tmeasures.tile import Tile

BLOCK = 32
"""Rows of a block, if not said."""


@dataclass(frozen=True)
class Pairs:
    """Which pairs there are, and how far apart they are.

    Attributes:
        metric: The distance.
        block: Rows of a block; None: all of them.
        parts: What is wanted, of ``"rows"`` and ``"blocks"``.
    """

    metric: Metric = field(default_factory=Metric)
    block: int | None = BLOCK
    parts: frozenset[str] = frozenset({"rows", "blocks"})

    @property
    def rows(self) -> bool:
        """Whether pairs inside rows are summed."""
        return "rows" in self.parts

    @property
    def blocks(self) -> bool:
        """Whether pairs of rows inside blocks are summed."""
        return "blocks" in self.parts

    @property
    def label(self) -> str:
        """What sets them apart from the usual ones, in parentheses; else empty."""
        words = [*self.metric.words]
        if self.block != BLOCK:
            words.append("all pairs" if self.block is None else f"block={self.block}")
        return f"({', '.join(words)})" if words else ""

    @property
    def key(self) -> str:
        """What the names of the quantities start with; the same whatever the parts."""
        return f"distances{self.label}"

    def quantity(self, name: str) -> str:
        """The full name of a quantity; distances inside rows are the same whatever the block."""
        key = replace(self, block=BLOCK).key if name == "rows" else self.key
        return f"{key}/{name}"

    def held_rows(self, setup: Setup) -> int:
        """Rows whose activations are held, as tiles do not close them; 0: none."""
        s, t = setup.tile
        block, n = self.block or setup.n, setup.n
        if not self.blocks:
            return 0 if t == setup.m else s
        assert block is not None, "all pairs take a known number of samples"
        aligned = n is not None and (s % block == 0 or s >= n)
        if aligned and (t == setup.m or not self.rows):
            return 0
        regular = n is not None and (s % block == 0 or block % s == 0)
        most = max(s, block) if regular else block + s
        return most if n is None else min(most, n)

    def shapes(self, setup: Setup) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
        """The tensors of the state for one layer."""
        s, t = setup.tile
        parts, units, held = len(self.parts), self.sums(setup), self.held_rows(setup)
        slots = spread = 0
        if setup.errors and self.block is not None and setup.open_columns == setup.m:
            spread = 3 * parts + (parts == 2)
            # Blocks of a tile that holds only some of their columns are open at the same time.
            slots = 1 if held or t == setup.m else ceil(min(s, setup.n or s) / self.block)
        return {
            "totals": ((parts, units), torch.float64),
            "open": ((slots, parts, units), torch.float64),
            "spread": ((spread, units), torch.float64),
            "held": ((held, setup.open_columns, setup.units), setup.kept),
        }

    def sums(self, setup: Setup) -> int:
        """Units, or channels of feature maps."""
        if not self.metric.vectors:
            return setup.units
        return setup.shape[setup.dims.index("channel")]


_USUAL = Pairs()


class Distances(Statistic):
    """Sums of the distances of pairs inside rows and inside blocks of rows.

    Where a tile closes its rows and its blocks, it goes to the kernel as it is and nothing is held.
    Else the activations of a block (where only rows are wanted: of the open rows) are held in the
    network's precision until all its rows and columns have come; so rows and blocks are exact
    however they are cut into tiles.

    Args:
        setup: The layer, the matrix and the pass.
        pairs: Metric, block and parts.
    """

    name = "distances"
    totals: Tensor  # (part, unit), parts in the order rows, blocks
    open: Tensor  # (slot, part, unit): of blocks that have not closed
    spread: Tensor  # first values, sums and squares about them, each (part, unit), and products
    held: Tensor  # (row, column, activation)

    def __init__(self, setup: Setup, pairs: Pairs) -> None:
        self.pairs = pairs
        super().__init__(setup)

    @staticmethod
    def state_bytes(setup: Setup, pairs: Pairs = _USUAL) -> int:
        """See `Statistic.state_bytes`."""
        return sum(prod(shape) * dtype.itemsize for shape, dtype in pairs.shapes(setup).values())

    def _allocate(self) -> None:
        for name, (shape, dtype) in self.pairs.shapes(self.setup).items():
            setattr(self, name, torch.zeros(shape, dtype=dtype, device=self.device))
        self.block = self.pairs.block or self.setup.n or 0
        self.columns = self.setup.open_columns
        self.column_block = range(0, 0)
        self.filled = 0  # rows held of all their columns
        self.in_block = 0  # rows added to the open block
        self.closed = 0  # blocks in the spread
        if self.pairs.metric.vectors:
            self.order = MemoryOrder((self.totals.shape[1],), (), (0,))

    def update(self, tile: Tile[Tensor]) -> None:
        """See `Statistic.update`."""
        if self.pairs.metric.vectors:
            channel = 2 + self.setup.dims.index("channel")
            maps = tile.values.to(self.device).movedim(channel, 0)
            self._fold(maps.reshape(*maps.shape[:3], -1), tile.samples, tile.transformations)
        else:
            super().update(tile)

    def _fold(self, x: Tensor, samples: range, transformations: range) -> None:
        by_columns = self.columns < self.setup.m
        if by_columns and transformations != self.column_block:
            self._end()
            self.column_block, self.n = transformations, 0
        closes = by_columns or transformations.stop == self.setup.m
        if len(self.held):
            self._hold(x, transformations)
            if closes:
                self._hand_over(len(samples))
        else:
            self._take(x, closes)
        if closes:
            self.n += len(samples)

    def _end(self) -> None:
        """Close the last block of these columns, shorter or not."""
        if self.filled:
            self._take(self._rows_held(self.filled))
            self.filled = 0
        if self.in_block:
            self._close(0, self.in_block)
            self.in_block = 0

    @property
    def _buffer(self) -> Tensor:
        """What is held, ``(row, column, activation)`` of the open columns and contiguous."""
        rows, columns, units = self.held.shape
        width = len(self.column_block) or columns
        return self.held.view(-1)[: rows * width * units].view(rows, width, units)

    def _rows_held(self, rows: int) -> Tensor:
        """The first rows held as a tile."""
        held = self._buffer[:rows]
        if self.pairs.metric.vectors:
            return held.view(*held.shape[:2], self.totals.shape[1], -1).permute(2, 0, 1, 3)
        return held.unsqueeze(0)

    def _hold(self, x: Tensor, transformations: range) -> None:
        outer, s, t, inner = x.shape
        at = transformations.start - self.column_block.start
        place = self._buffer[self.filled : self.filled + s, at : at + t]
        torch.unflatten(place, 2, (outer, inner)).copy_(x.permute(1, 2, 0, 3))

    def _hand_over(self, rows: int) -> None:
        """Close the last rows held; add whole blocks and move the rest to the front."""
        held = self.filled + rows
        rest = held % self.block if self.pairs.blocks else 0
        if whole := held - rest:
            self._take(self._rows_held(whole))
            self._buffer[:rest] = self._buffer[whole:held]
        self.filled = rest

    def _take(self, x: Tensor, closes: bool = True) -> None:
        """Add a tile of whole rows and blocks; of some columns of them, the last if it closes."""
        for number, (start, stop) in enumerate(self._pieces(x.shape[1])):
            piece = x[:, start:stop]
            if not len(self.open):
                self._add(piece, self.totals)
                continue
            slot = min(number, len(self.open) - 1)
            self._add(piece, self.open[slot])
            if closes:
                self.in_block += stop - start
                if self.pairs.blocks or self.in_block == self.block:
                    self._close(slot, self.in_block)
                    self.in_block = 0

    def _pieces(self, rows: int) -> Iterator[tuple[int, int]]:
        """The rows of a tile, cut where blocks end if that matters."""
        cuts = range(self.block - self.in_block, rows, self.block)
        return pairwise([0, *(cuts if self.pairs.blocks or len(self.open) else ()), rows])

    def _add(self, x: Tensor, sums: Tensor) -> None:
        """Add the distances inside a tile, all its rows being one block, to ``(part, unit)``."""
        within_rows = sums[: int(self.pairs.rows)]
        within_blocks = sums[len(within_rows) :]
        self.pairs.metric.add(x, within_rows, within_blocks, self.backend)

    def _close(self, slot: int, rows: int) -> None:
        """Add a block to the totals, and its values to the spread."""
        sums, m = self.open[slot], self.setup.m
        self.totals += sums
        if rows > 1:
            counts = {"rows": rows * m**2 / 2, "blocks": m * rows * (rows - 1) / 2}
            values = sums.clone()
            for part, value in zip(self._parts, values, strict=True):
                value /= counts[part]
            first, total, squares, products = self._spread()
            if self.closed == 0:
                first.copy_(values)
            values -= first
            total += values
            squares += values.square()
            products += values.prod(0)
            self.closed += 1
        sums.zero_()

    @property
    def _parts(self) -> list[str]:
        return [part for part in ("rows", "blocks") if part in self.pairs.parts]

    def _spread(self) -> tuple[Tensor, ...]:
        """First values, sums, squares, each ``(part, unit)``; products, empty for one part."""
        parts = len(self.pairs.parts)
        return torch.split(self.spread, [parts, parts, parts, len(self.spread) - 3 * parts])

    def merge(self, other: Self) -> None:
        """Add other rows of the matrix, or other, closed columns of the same rows.

        Of two parts by rows one may have ended within a block: blocks would not be those of the
        whole matrix otherwise.
        """
        if self.columns < self.setup.m:
            self._merge_columns(other)
            return
        whole = not (self.pairs.blocks or len(self.spread))
        if not whole and self.n % self.block and other.n % self.block:
            raise ArgumentError(
                f"parts merge by whole blocks of {self.block} samples, but these saw {self.n} and "
                f"{other.n}; split such a run at multiples of {self.block}"
            )
        self.totals += self._of(other, other.totals)
        if len(self.spread):
            self._merge_spread(other)
        if other.filled:
            self._buffer[: other.filled] = self._of(other, other._buffer[: other.filled])
        if other.in_block:
            self.open[0] = self._of(other, other.open[0])
        self.filled, self.in_block = self.filled + other.filled, self.in_block + other.in_block
        self.n += other.n

    def _merge_columns(self, other: Self) -> None:
        if self.n != other.n:
            raise ArgumentError(
                "parts with closed columns merge only over the same samples, but these saw "
                f"{self.n} and {other.n}; split such a run by transformations"
            )
        for part in (self, other):
            part._end()
            part.column_block = range(0, 0)
        self.totals += self._of(other, other.totals)

    def _merge_spread(self, other: Self) -> None:
        """Move the other's sums to these first values, and add them."""
        if self.closed == 0:
            self.spread.copy_(self._of(other, other.spread))
        elif other.closed:
            first, total, squares, products = self._spread()
            theirs = (self._of(other, part) for part in other._spread())
            other_first, other_total, other_squares, other_products = theirs
            e = other_first - first
            total += other_total + other.closed * e
            squares += other_squares + 2 * other_total * e + other.closed * e.square()
            crossed = (other_total * e.flip(0)).sum(0)
            products += other_products + crossed + other.closed * e.prod(0)
        self.closed += other.closed

    def quantities(self) -> dict[str, Tensor]:
        """See `Statistic.quantities`; without ``largest``."""
        whole = copy(self)
        for name in ("totals", "open", "spread"):
            setattr(whole, name, getattr(self, name).clone())
        whole._end()
        found = dict(zip(self._parts, whole.totals, strict=True))
        if len(self.spread):
            count = max(whole.closed, 1)
            _, total, squares, products = whole._spread()
            for i, part in enumerate(self._parts):
                found[f"{part[:-1]}_spread"] = squares_about_mean(total[i], squares[i], count)
            if len(products):
                found["spread_together"] = products[0] - total.prod(0) / count
        return {self.pairs.quantity(name): value for name, value in found.items()}
