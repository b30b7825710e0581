"""Moment kernels in torch operations, for devices that numba does not serve; float64 arithmetic.

A tile is widened a chunk of units at a time, so that what is live beside the state stays under
``CHUNK_BYTES`` whatever the size of the layer. The formulas are those of the numba kernels, but the
squares about a mean are taken in a second sweep.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

CHUNK_BYTES = 128 * 2**20
# Tensors of a chunk's size that are alive at once, at most: the widened tile, the differences from
# the shift, both about their row means, and a square.
_ALIVE = 5


def chunks(x: Tensor) -> Iterator[tuple[Tensor, slice]]:
    """Pieces of a tile ``(s, t, unit)`` in float64, each with the place of its units."""
    outer, s, t, width = x.shape
    step = max(1, CHUNK_BYTES // (8 * _ALIVE * s * t))
    for o in range(outer):
        for lo in range(0, width, step):
            hi = min(lo + step, width)
            yield (
                x[o, :, :, lo:hi].to(torch.float64, copy=True),
                slice(o * width + lo, o * width + hi),
            )


def _row_sums(v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """First value, sum about it, squares about the mean; each ``(s, unit)``."""
    first = v[:, 0].clone()
    about = v - v[:, :1]
    total = about.sum(1)
    about -= (total / v.shape[1]).unsqueeze(1)
    return first, total, about.square_().sum(1)


def _join(row: Tensor, sums: tuple[Tensor, Tensor, Tensor], seen: int, t: int) -> None:
    """Join t values to the earlier ones of each row; ``row`` is ``(s, 3, unit)``."""
    first, total, within = sums
    if seen == 0:
        row[:, 0], row[:, 1], row[:, 2] = first, total, within
        return
    step = first - row[:, 0]
    gap = step + total / t - row[:, 1] / seen
    row[:, 1] += step * t + total
    row[:, 2] += within + gap.square_() * (seen * t / (seen + t))


def _enlarge(largest: Tensor, v: Tensor) -> None:
    torch.maximum(largest, v.abs().amax((0, 1)).to(largest.dtype), out=largest)


def fused(
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
    """See `tmeasures.kernels.Backend.fused`."""
    t = x.shape[2]
    for v, at in chunks(x):
        _enlarge(largest[at], v)
        of_x = _row_sums(v)
        d = v.sub_(shift[:, at])
        sums[:, at] += d.sum(0)
        of_d = _row_sums(d)
        squares[at] += d.square_().sum((0, 1))
        if t < m:
            row = open_rows[: x.shape[1], :, at]
            _join(row[:, :3], of_x, seen, t)
            _join(row[:, 3:], of_d, seen, t)
            rows_within, paired_within = row[:, 2], row[:, 5]
        else:
            rows_within, paired_within = of_x[2], of_d[2]
        if seen + t == m:
            rows[at] += rows_within.sum(0)
            paired[at] += paired_within.sum(0)


def between(shift: Tensor, sums: Tensor, n: int, out: Tensor) -> None:
    """See `tmeasures.kernels.Backend.between`."""
    m, units = sums.shape
    step = max(1, CHUNK_BYTES // (8 * _ALIVE * m))
    for lo in range(0, units, step):
        at = slice(lo, lo + step)
        c, k = sums[:, at], shift[:, at].double()
        out[0, at] = c.square().sum(0) / n
        gap = c - c[0]
        k = (k - k[0]) + gap / n
        out[1, at] = gap.sub_(gap.mean(0)).square_().sum(0) / n
        out[2, at] = k.sub_(k.mean(0)).square_().sum(0) * n


def rows(
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
    """See `tmeasures.kernels.Backend.rows`."""
    t = x.shape[2]
    for v, at in chunks(x):
        _enlarge(largest[at], v)
        first, total, within = _row_sums(v)
        if t < m:
            row = open_rows[: x.shape[1], :, at]
            _join(row, (first, total, within), seen, t)
            first, total, within = row[:, 0], row[:, 1], row[:, 2]
        if seen + t == m:
            rows[at] += within.sum(0)
            if deviations.numel():
                deviations[at] += (within / (m - 1)).sqrt_().sum(0)
            if variances.numel():
                variance = within / (m - 1)
                if closed == 0:
                    variances[0, at] = variance[0]
                variance -= variances[0, at]
                variances[1, at] += variance.sum(0)
                variances[2, at] += variance.square_().sum(0)
            rest = total / m
            if closed == 0:
                means[0, at], means[1, at] = first[0], rest[0]
            gap = (first - means[0, at]) + (rest - means[1, at])
            means[2, at] += gap.sum(0)
            means[3, at] += gap.square_().sum(0)


def columns(x: Tensor, shift: Tensor, sums: Tensor, squares: Tensor, largest: Tensor) -> None:
    """See `tmeasures.kernels.Backend.columns`."""
    for v, at in chunks(x):
        _enlarge(largest[at], v)
        d = v.sub_(shift[:, at])
        sums[:, at] += d.sum(0)
        squares[:, at] += d.square_().sum(0)
