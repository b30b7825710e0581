"""The inner loops: numba on the CPU, torch operations on every other device.

A backend has the functions of ``Backend``; all take torch tensors and change the state in place,
so that a statistic's state has one form everywhere. A tile ``x`` has the shape ``(outer, s, t,
inner)`` and is C-contiguous: s rows (samples) by t columns (transformations) in the layer's own
memory order; unit ``(o, u)`` stands at ``o * inner + u`` of every state.

The numba modules are imported when a state on the CPU is first made: loading numba costs a second.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from types import SimpleNamespace
from typing import Protocol, cast

import torch
from torch import Tensor

_FAMILIES = {
    "numba": ("moments", "margins", "distances", "maps", "firing", "equivariance"),
    "torch": ("moments", "distances", "maps", "firing", "equivariance"),
}
"""The modules that hold a backend's functions."""

ROUNDING = 16 * 2.0**-53
"""The share of a sum of squares below which a difference of such sums is rounding."""


class Backend(Protocol):
    """What a module of kernels offers; ``unit`` is the flat unit index, float64 if not said."""

    def fused(
        self,
        x: Tensor,
        shift: Tensor,
        sums: Tensor,
        squares: Tensor,
        paired: Tensor,
        rows: Tensor,
        largest: Tensor,
        open_rows: Tensor,
        seen: int,
        m: int,
    ) -> None:
        """Fold a tile into all moments, one read.

        Args:
            x: The tile.
            shift: ``(t, unit)`` of x's type: the first sample under each of the tile's columns.
            sums: ``(t, unit)``: sums of ``d = x - shift`` down each column.
            squares: ``(unit,)``: sum of ``d**2``.
            paired: ``(unit,)``: squares of d about the row mean of d, of closed rows.
            rows: ``(unit,)``: squares of x about the row mean, of closed rows.
            largest: ``(unit,)`` of x's type: max ``|x|``.
            open_rows: ``(s, 6, unit)``: each row's first value, sum about it and squares about
                the mean so far, for x and for d; empty where a tile holds whole rows.
            seen: Columns of these rows that earlier tiles held.
            m: Columns of a whole row.
        """

    def between(self, shift: Tensor, sums: Tensor, n: int, out: Tensor) -> None:
        """Reduce the column sums of n samples.

        Args:
            shift: ``(m, unit)``: as in `fused`.
            sums: ``(m, unit)``: the sums of n differences.
            n: Samples.
            out: ``(3, unit)``: becomes ``sum_j c[j]^2 / n``, ``sum_j (c[j] - mean c)^2 / n`` and
                ``n sum_j (k[j] - mean k)^2`` with ``k[j] = (K[j] - K[0]) + (c[j] - c[0]) / n``.
        """

    def rows(
        self,
        x: Tensor,
        rows: Tensor,
        means: Tensor,
        largest: Tensor,
        deviations: Tensor,
        variances: Tensor,
        open_rows: Tensor,
        seen: int,
        m: int,
        closed: int,
    ) -> None:
        """Fold a tile into what rows alone give: see `fused`.

        Args:
            x: The tile.
            rows: As in `fused`.
            means: ``(4, unit)``: the first row's mean as its first value and the rest (formed it
                would lose digits), sum and squares of row means about it.
            largest: As in `fused`.
            deviations: ``(unit,)``: sum of the closed rows' standard deviations; or empty.
            variances: ``(3, unit)``: the first row's variance, sum and squares of the others' about
                it; or empty.
            open_rows: ``(s, 3, unit)``: as in `fused`, for x only.
            seen: As in `fused`.
            m: As in `fused`.
            closed: Rows closed before this tile.
        """

    def columns(
        self, x: Tensor, shift: Tensor, sums: Tensor, squares: Tensor, largest: Tensor
    ) -> None:
        """Fold a tile into what columns alone give: see `fused`; ``squares`` is ``(t, unit)``."""

    def distances(self, x: Tensor, block: int, within_rows: Tensor, within_blocks: Tensor) -> None:
        """Fold a tile into sums of the distances ``|a - b|`` of pairs.

        Args:
            x: The tile; its rows are cut into blocks, the last one may be shorter.
            block: Rows of a block.
            within_rows: ``(blocks of the tile, unit)``: grows by the distances of the pairs inside
                each row, summed over a block's rows; or empty.
            within_blocks: ``(blocks of the tile, unit)``: grows by the distances of the pairs of
                rows inside a block, summed over the tile's columns; or empty.
        """

    def maps(
        self, x: Tensor, metric: str, unit_norm: bool, within_rows: Tensor, within_blocks: Tensor
    ) -> None:
        """Fold feature maps into sums of their distances, all rows of the tile being one block.

        Args:
            x: ``(channel, s, t, value)`` with any strides, of any floating type.
            metric: ``"euclidean"``, ``"manhattan"`` or ``"cosine"``, which is half the squared
                euclidean distance of maps of unit norm; 0 for two zero maps, 1 for one.
            unit_norm: Whether each map is divided by its norm first; a zero map stays zero.
            within_rows: ``(1, channel)``: grows by the distances of the pairs inside each row,
                summed over rows; or empty.
            within_blocks: ``(1, channel)``: grows by the distances of the pairs of rows, summed
                over columns; or empty.
        """

    def keep_largest(self, x: Tensor, sign: int, kept: Tensor, smallest: Tensor) -> None:
        """Fold a tile into the largest and the smallest value of each unit.

        Args:
            x: The tile.
            sign: 1, or -1 to take ``-x`` in place of x.
            kept: ``(k, unit)`` of x's type: the k largest as a heap, ``kept[i]`` being at most
                ``kept[2 * i + 1]`` and ``kept[2 * i + 2]``; ``-inf`` where fewer were seen.
            smallest: ``(unit,)`` of x's type.
        """

    def firing(
        self,
        x: Tensor,
        reference: Tensor,
        at: int,
        same: Tensor,
        sign: int,
        limits: Tensor,
        totals: Tensor,
        open_counts: Tensor,
        open_fires: Tensor,
        seen: int,
        m: int,
    ) -> None:
        """Count the activations of a tile over a limit, one read.

        Args:
            x: The tile.
            reference: Like x, with the untransformed samples in column ``at``; x itself where the
                tile holds them.
            at: That column; -1 where they come with another tile of these rows.
            same: The columns of x with the identity, int64 on the CPU.
            sign: Of the first limit; ``sign * x > limit`` counts.
            limits: ``(1, unit)`` of x's type, or ``(2, unit)``, the second for ``-sign``.
            totals: ``(limits, 3, unit)``: activations over the limit; of closed rows, the
                untransformed samples over it (NaN where one was not finite), and, summed over these
                samples, the columns over it but for those of the identity.
            open_counts: ``(s, limits, unit)`` int32: each row's columns over the limit so far, but
                for those of the identity; empty where a tile holds whole rows.
            open_fires: ``(s, limits, unit)`` uint8: whether its untransformed sample is.
            seen: As in `fused`.
            m: As in `fused`.
        """

    def returned(
        self,
        x: Tensor,
        index: Tensor,
        weight: Tensor,
        valid: Tensor,
        kept: Tensor,
        unit_norm: bool,
        squares: Tensor,
        open_rows: Tensor,
        seen: Tensor,
        last: bool,
        distances: Tensor,
    ) -> None:
        """Fold feature maps, each moved back by its transformation, into what rows give, one read.

        Args:
            x: ``(channel, s, t, value)`` with any strides, of any floating type.
            index: ``(t, taps, value)`` int32, 1 tap or 4: where a moved map is read.
            weight: ``(t, taps, value)``: the moved map is
                ``w[c, i, j, l] = sum_k weight[j, k, l] x[c, i, j, index[j, k, l]]``.
            valid: ``(t, value)`` bool: where the moved maps of each column count.
            kept: ``(t, t)`` bool: the pairs ``p < q`` of columns whose distances count.
            unit_norm: Whether each map of a pair is divided first by its norm over the locations
                that count for both; a zero map stays zero.
            squares: ``(channel, value)``: grows by the squares of w about the row mean over the
                columns that count at a location, of rows that close with the tile; or empty.
            open_rows: ``(s, 2, channel, value)``: each row's mean and squares about it over the
                earlier tiles' columns that count, 0 in a row's first tile and again once it closes;
                empty where a tile holds whole rows.
            seen: ``(value,)`` int64: the columns of earlier tiles that count.
            last: Whether rows close with this tile.
            distances: ``(channel,)``, or ``(1,)`` for the maps of all channels as one vector: grows
                by the euclidean distances of the pairs inside each row over the locations that
                count for both, summed over rows; or empty, as where a tile holds parts of rows.
        """

    def carried(
        self,
        x: Tensor,
        reference: Tensor,
        index: Tensor,
        weight: Tensor,
        valid: Tensor,
        totals: Tensor,
    ) -> None:
        """Fold feature maps into their distances from the moved maps of untransformed samples.

        Args:
            x: As in `returned`.
            reference: ``(channel, s, value)`` of x's type: maps of the untransformed samples.
            index: As in `returned`.
            weight: As in `returned`, for the maps of the reference.
            valid: As in `returned`.
            totals: ``(2, channel)``: norms of the differences between x and the moved maps, and of
                the moved maps, both over the locations that count, summed over rows and columns.
        """

    def moved(self, x: Tensor, index: Tensor, weight: Tensor, first: int, out: Tensor) -> None:
        """Move feature maps.

        Args:
            x: ``(channel, s, t, value)`` with any strides, of any floating type; or ``(channel, s,
                1, value)``: one map for all columns.
            index: As in `returned`.
            weight: As in `returned`.
            first: The first column of what is written.
            out: ``(s, column, channel, value)``, C-contiguous: t columns of it are written.
        """


def backend(device: torch.device, name: str | None = None) -> Backend:
    """The kernels for a device, or those named: ``"numba"`` (CPU only) or ``"torch"``."""
    return _joined(name or ("numba" if device.type == "cpu" else "torch"))


@cache
def _joined(name: str) -> Backend:
    modules = [import_module(f"{__name__}.{name}_{family}") for family in _FAMILIES[name]]
    functions = [key for key in vars(Backend) if not key.startswith("_")]
    found = {key: getattr(m, key) for m in modules for key in functions if hasattr(m, key)}
    return cast(Backend, SimpleNamespace(**found))
