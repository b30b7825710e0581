"""What rows alone give: the state of a sample-first pass, of constant size for each unit."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from tmeasures.statistics.base import Statistic, squares_about_mean
from tmeasures.statistics.setup import Setup


class Rows(Statistic):
    """Squares within rows and between row means.

    Kept for each unit: the squares within rows, the first row's mean with the sum and the squares
    of all row means about it, the largest ``|a|``; the sum of the rows' standard deviations where
    ``spread`` asks for it; the first row's variance with the sum and the squares of all about it
    where ``errors`` asks for it; and a row's sums so far while a tile holds less than whole rows.
    """

    name = "rows"
    provides = frozenset({"rows", "row_means", "row_deviations", "row_variances"})

    @staticmethod
    def state_bytes(setup: Setup) -> int:
        """See `Statistic.state_bytes`."""
        open_rows = 0 if setup.whole_rows else 3 * 8 * setup.tile[0]
        sums = 9 if setup.errors else 6
        return setup.units * (sums * 8 + setup.kept.itemsize + open_rows)

    def _allocate(self) -> None:
        self.rows, self.means, self.largest = self._zeros(), self._zeros(4), self._activations()
        self.deviations = self._zeros() if self.setup.spread else self.rows[:0]
        self.variances = self._zeros(3 if self.setup.errors else 0)
        self.open_rows = self._zeros(0 if self.setup.whole_rows else self.setup.tile[0], 3)

    def _fold(self, x: Tensor, samples: range, transformations: range) -> None:
        self.backend.rows(
            x,
            self.rows,
            self.means,
            self.largest,
            self.deviations,
            self.variances,
            self.open_rows,
            transformations.start,
            self.setup.m,
            self.n,
        )
        if transformations.stop == self.setup.m:
            self.n += len(samples)

    def merge(self, other: Self) -> None:
        """Add other rows of the matrix."""
        first, rest, total, squares = self._of(other, other.means)
        e = (first - self.means[0]) + (rest - self.means[1])
        self.means[2] += total + other.n * e
        self.means[3] += squares + 2 * total * e + other.n * e.square()
        self.rows += self._of(other, other.rows)
        if self.setup.spread:
            self.deviations += self._of(other, other.deviations)
        if self.setup.errors:
            first, total, squares = self._of(other, other.variances)
            e = first - self.variances[0]
            self.variances[1] += total + other.n * e
            self.variances[2] += squares + 2 * total * e + other.n * e.square()
        torch.maximum(self.largest, self._of(other, other.largest), out=self.largest)
        self.n += other.n

    def quantities(self) -> dict[str, Tensor]:
        """See `Statistic.quantities`."""
        between = squares_about_mean(self.means[2], self.means[3], self.n)
        found = {"rows": self.rows, "row_means": self.setup.m * between, "largest": self.largest}
        if self.setup.spread:
            found["row_deviations"] = self.deviations
        if self.setup.errors:
            _, total, squares = self.variances
            found["row_variances"] = squares_about_mean(total, squares, self.n)
        return found
