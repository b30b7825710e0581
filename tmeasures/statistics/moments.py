"""All second moments of a layer in one read: the state of a single-pass plan."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from tmeasures.statistics.base import Statistic, chunks
from tmeasures.statistics.setup import Setup


class Moments(Statistic):
    """Squares within rows, within columns, between columns and of the paired error.

    With ``K[j]`` the activation of the first sample under ``t_j``, ``d[i,j] = ST[i,j] - K[j]`` and
    ``f[i,j] = d[i,j] - mean_j d[i,j]``, kept for each unit: ``K``, the column sums ``c[j]`` of d,
    the sums of ``d**2`` and ``f**2``, the squares within rows and the largest ``|a|``; and a row's
    sums so far while a tile holds less than whole rows. Then

        columns = sum d^2 - sum_j c[j]^2 / n
        between = n sum_j (k[j] - mean k)^2,    k[j] = (K[j] - K[0]) + (c[j] - c[0]) / n
        error   = sum f^2 - sum_j (c[j] - mean c)^2 / n

    K is an actual activation and not a mean: equal values in a column give differences of exactly
    0.
    """

    name = "moments"
    provides = frozenset({"rows", "columns", "between", "error"})

    @staticmethod
    def state_bytes(setup: Setup) -> int:
        """See `Statistic.state_bytes`."""
        itemsize = setup.kept.itemsize
        open_rows = 0 if setup.whole_rows else 6 * 8 * setup.tile[0]
        return setup.units * (setup.m * (itemsize + 8) + 3 * 8 + itemsize + open_rows)

    def _allocate(self) -> None:
        m = self.setup.m
        self.shift, self.largest = self._activations(m), self._activations()
        self.sums = self._zeros(m)
        self.squares, self.paired, self.rows = self._zeros(), self._zeros(), self._zeros()
        self.open_rows = self._zeros(0 if self.setup.whole_rows else self.setup.tile[0], 6)

    def _fold(self, x: Tensor, samples: range, transformations: range) -> None:
        at = slice(transformations.start, transformations.stop)
        whole = self.setup.whole_rows  # the usual: two slices less for each layer of each tile
        shift, sums = (self.shift, self.sums) if whole else (self.shift[at], self.sums[at])
        if self.n == 0:
            shift[:] = x[:, 0].transpose(0, 1).flatten(1)
        self.backend.fused(
            x,
            shift,
            sums,
            self.squares,
            self.paired,
            self.rows,
            self.largest,
            self.open_rows,
            at.start,
            self.setup.m,
        )
        if at.stop == self.setup.m:
            self.n += len(samples)

    def merge(self, other: Self) -> None:
        """Add other rows of the matrix.

        The other's sums move by ``e = K_other - K``: c grows by ``n e``, the squares of d by
        ``2 sum_j e c + n sum_j e^2``, those of f by the same with ``e - mean e`` in place of e.
        """
        for at in chunks(self.rows.numel(), self.setup.m):
            sums = self._of(other, other.sums)[:, at]
            shift = self._of(other, other.shift)[:, at].double()
            e = shift - self.shift[:, at]
            self.sums[:, at] += sums + other.n * e
            self.squares[at] += (2 * sums * e + other.n * e.square()).sum(0)
            e -= e.mean(0)
            self.paired[at] += (2 * sums * e + other.n * e.square()).sum(0)
        for name in ("squares", "paired", "rows"):
            getattr(self, name).add_(self._of(other, getattr(other, name)))
        torch.maximum(self.largest, self._of(other, other.largest), out=self.largest)
        self.n += other.n

    def quantities(self) -> dict[str, Tensor]:
        """See `Statistic.quantities`."""
        out = torch.empty(3, self.rows.numel(), dtype=torch.float64, device=self.rows.device)
        self.backend.between(self.shift, self.sums, self.n, out)
        columns, error, between = out
        return {
            "rows": self.rows,
            "columns": (self.squares - columns).clamp_(min=0),
            "between": between,
            "error": (self.paired - error).clamp_(min=0),
            "largest": self.largest,
        }
