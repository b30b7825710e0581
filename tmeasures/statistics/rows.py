"""What rows alone give: the state of a sample-first pass, of constant size for each unit."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from tmeasures.statistics.base import Statistic, squares_about_mean


class Rows(Statistic):
    """Squares within rows and between row means.

    Kept for each unit: the squares within rows, the first row's mean with the sum and the squares
    of all row means about it, the sum of the rows' standard deviations where ``spread`` asks for
    it, the largest ``|a|``; and a row's sums so far while a tile holds less than whole rows.
    """

    name = "rows"
    provides = frozenset({"rows", "row_means", "row_deviations"})

    @staticmethod
    def unit_bytes(itemsize: int, tile: tuple[int, int], columns: int, m: int) -> int:
        """See `Statistic.unit_bytes`."""
        open_rows = 3 * 8 * tile[0] if tile[1] < m else 0
        return 6 * 8 + itemsize + open_rows

    def _allocate(self) -> None:
        s, t = self.tile
        self.rows, self.means, self.largest = self._zeros(), self._zeros(4), self._activations()
        self.deviations = self._zeros() if self.spread else self.rows[:0]
        self.open_rows = self._zeros(s if t < self.m else 0, 3)

    def _fold(self, x: Tensor, samples: range, transformations: range) -> None:
        self.backend.rows(
            x,
            self.rows,
            self.means,
            self.largest,
            self.deviations,
            self.open_rows,
            transformations.start,
            self.m,
            self.n,
        )
        if transformations.stop == self.m:
            self.n += len(samples)

    def merge(self, other: Self) -> None:
        """Add other rows of the matrix."""
        first, rest, total, squares = self._of(other, other.means)
        e = (first - self.means[0]) + (rest - self.means[1])
        self.means[2] += total + other.n * e
        self.means[3] += squares + 2 * total * e + other.n * e.square()
        self.rows += self._of(other, other.rows)
        if self.spread:
            self.deviations += self._of(other, other.deviations)
        torch.maximum(self.largest, self._of(other, other.largest), out=self.largest)
        self.n += other.n

    def quantities(self) -> dict[str, Tensor]:
        """See `Statistic.quantities`."""
        between = squares_about_mean(self.means[2], self.means[3], self.n)
        found = {"rows": self.rows, "row_means": self.m * between, "largest": self.largest}
        return found | ({"row_deviations": self.deviations} if self.spread else {})
