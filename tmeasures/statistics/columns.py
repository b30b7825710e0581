"""What columns alone give: the state of a transformation-first pass, or of all columns at once."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from tmeasures.errors import ArgumentError
from tmeasures.statistics.base import Statistic, chunks, squares_about_mean
from tmeasures.statistics.setup import Setup

# The totals over closed columns: squares within, deviations, the first column's shift and its mean
# about it, sum and squares of all columns' means about that one.
WITHIN, DEVIATIONS, FIRST_SHIFT, FIRST_MEAN, GAPS, GAP_SQUARES = range(6)


class Columns(Statistic):
    """Squares within columns and between column means.

    Kept for each unit and open column: the first activation, and the sum and the squares of the
    differences from it. When all samples have passed, a column is closed into sums whose size does
    not depend on m: the squares within columns, the sum of their standard deviations, and the sum
    and squares of the column means about the first one's.
    """

    name = "columns"
    provides = frozenset({"columns", "between", "column_deviations"})

    @staticmethod
    def state_bytes(setup: Setup) -> int:
        """See `Statistic.state_bytes`."""
        itemsize = setup.kept.itemsize
        return setup.units * (setup.open_columns * (itemsize + 16) + 6 * 8 + itemsize)

    def _allocate(self) -> None:
        self.columns = self.setup.open_columns
        self.shift, self.largest = self._activations(self.columns), self._activations()
        self.sums, self.squares = self._zeros(self.columns), self._zeros(self.columns)
        self.counts = [0] * self.columns
        self.block = range(0, 0)
        self.closed = 0
        self.totals = self._zeros(6)

    def _fold(self, x: Tensor, samples: range, transformations: range) -> None:
        if self.columns < self.setup.m and transformations != self.block:
            self._close_block()
            self.block = transformations
        first = 0 if self.columns == self.setup.m else transformations.start
        at = slice(transformations.start - first, transformations.stop - first)
        if self.counts[at.start] == 0:
            self.shift[at] = x[:, 0].transpose(0, 1).flatten(1)
        self.backend.columns(x, self.shift[at], self.sums[at], self.squares[at], self.largest)
        for j in range(at.start, at.stop):
            self.counts[j] += len(samples)
        self.n = max(self.counts)

    def _close_block(self) -> None:
        """Close the columns of the block that ended and free their place."""
        self._close(self.totals, len(self.block), self.closed)
        self.closed += len(self.block)
        self.counts = [0] * self.columns
        self.sums.zero_()
        self.squares.zero_()

    def _close(self, totals: Tensor, first: int, before: int) -> None:
        """Add the first so many open columns to totals that hold ``before`` columns."""
        if not first:
            return
        count = torch.tensor(self.counts[:first], dtype=torch.float64, device=self.device)[:, None]
        for at in chunks(totals.shape[1], first):
            part = totals[:, at]
            shift, sums = self.shift[:first, at], self.sums[:first, at]
            within = squares_about_mean(sums, self.squares[:first, at], count)
            part[WITHIN] += within.sum(0)
            if self.setup.spread:
                part[DEVIATIONS] += within.div_((count - 1).clamp_(min=1)).sqrt_().sum(0)
            mean = torch.div(sums, count, out=within)
            if before == 0:
                part[FIRST_SHIFT], part[FIRST_MEAN] = shift[0], mean[0]
            gap = mean.sub_(part[FIRST_MEAN]).add_(shift - part[FIRST_SHIFT])
            part[GAPS] += gap.sum(0)
            part[GAP_SQUARES] += gap.square_().sum(0)

    def merge(self, other: Self) -> None:
        """Add other rows of the matrix, all columns being open; or other, closed columns."""
        if self.columns == self.setup.m:
            e = self._of(other, other.shift).double() - self.shift
            sums = self._of(other, other.sums)
            self.squares += self._of(other, other.squares) + 2 * sums * e + other.n * e.square()
            self.sums += sums + other.n * e
            self.counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]
            self.n += other.n
        else:
            self._merge_columns(other)
        torch.maximum(self.largest, self._of(other, other.largest), out=self.largest)

    def _merge_columns(self, other: Self) -> None:
        if self.n != other.n:
            raise ArgumentError(
                "parts with closed columns merge only over the same samples, but these saw "
                f"{self.n} and {other.n}; split such a run by transformations"
            )
        for part in (self, other):
            part._close_block()
            part.block = range(0, 0)
        theirs = self._of(other, other.totals)
        ours = self.totals
        e = (theirs[FIRST_SHIFT] - ours[FIRST_SHIFT]) + (theirs[FIRST_MEAN] - ours[FIRST_MEAN])
        ours[WITHIN] += theirs[WITHIN]
        ours[DEVIATIONS] += theirs[DEVIATIONS]
        ours[GAPS] += theirs[GAPS] + other.closed * e
        ours[GAP_SQUARES] += theirs[GAP_SQUARES] + 2 * theirs[GAPS] * e + other.closed * e.square()
        self.closed += other.closed

    def quantities(self) -> dict[str, Tensor]:
        """See `Statistic.quantities`."""
        totals = self.totals.clone()
        seen = sum(count > 0 for count in self.counts)  # the last block may be shorter
        self._close(totals, seen, self.closed)
        closed = self.closed + seen
        found = {
            "columns": totals[WITHIN],
            "between": self.n * squares_about_mean(totals[GAPS], totals[GAP_SQUARES], closed),
            "largest": self.largest,
        }
        return found | ({"column_deviations": totals[DEVIATIONS]} if self.setup.spread else {})
