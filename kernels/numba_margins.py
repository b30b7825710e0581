"""Sums over rows alone, and over columns alone, for the CPU: float64 arithmetic, one read.

As in `numba_moments`, rows are summed about their first values and columns about the shift.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from tmeasures.kernels.compile import inner
from tmeasures.kernels.numba_blocks import BLOCK, block, blocks, join, place
from tmeasures.kernels.tasks import DONE, Kernel, call


@inner()
def _larger(a, b):
    return a if a > b else b


@Kernel
def _between(b, shift, sums, n, out):
    m, units = sums.shape
    lo, hi = b * BLOCK, min((b + 1) * BLOCK, units)
    first_k, first_c = shift[0, lo:hi], sums[0, lo:hi]
    columns, error, between = out[0, lo:hi], out[1, lo:hi], out[2, lo:hi]
    of_c, of_k, of_n = np.zeros(BLOCK), np.zeros(BLOCK), 1.0 / n
    columns[:] = error[:] = between[:] = 0.0
    for j in range(m):
        k, c = shift[j, lo:hi], sums[j, lo:hi]
        for u in range(hi - lo):
            of_c[u] += c[u] - first_c[u]
            of_k[u] += np.float64(k[u]) - np.float64(first_k[u])
            columns[u] += c[u] * c[u] * of_n
    for u in range(hi - lo):
        of_c[u] /= m
        of_k[u] = of_k[u] / m + of_c[u] / n
    for j in range(m):
        k, c = shift[j, lo:hi], sums[j, lo:hi]
        for u in range(hi - lo):
            gap = c[u] - first_c[u]
            mean = np.float64(k[u]) - np.float64(first_k[u]) + gap * of_n - of_k[u]
            gap -= of_c[u]
            error[u] += gap * gap * of_n
            between[u] += n * mean * mean
    return DONE


@inner()
def _four_of_row(x0, x1, x2, x3, big, row):
    for u in range(x0.size):
        a = _larger(_larger(abs(x0[u]), abs(x1[u])), _larger(abs(x2[u]), abs(x3[u])))
        big[u] = _larger(a, big[u])
        r = row[0, u]
        e0, e1 = np.float64(x0[u]) - r, np.float64(x1[u]) - r
        e2, e3 = np.float64(x2[u]) - r, np.float64(x3[u]) - r
        row[1, u] += (e0 + e1) + (e2 + e3)
        row[2, u] += (e0 * e0 + e1 * e1) + (e2 * e2 + e3 * e3)


@inner()
def _sum_row(x, o, i, lo, hi, big, row):
    """Sum row i of a tile about its first value."""
    t = x.shape[2]
    first = x[o, i, 0, lo:hi]
    for u in range(hi - lo):
        row[0, u], row[1, u], row[2, u] = np.float64(first[u]), 0.0, 0.0
    for j in range(0, t, 4):
        # The first value stands in where there is no other: it differs from itself by 0.
        j1, j2, j3 = j + 1 if j + 1 < t else 0, j + 2 if j + 2 < t else 0, j + 3 if j + 3 < t else 0
        x0, x1, x2, x3 = (
            x[o, i, j, lo:hi],
            x[o, i, j1, lo:hi],
            x[o, i, j2, lo:hi],
            x[o, i, j3, lo:hi],
        )
        _four_of_row(x0, x1, x2, x3, big, row)


@Kernel
def _rows(b, x, rows, means, largest, deviations, variances, open_rows, seen, m, closed, size):
    _, s, t, width = x.shape
    o, lo, hi, a, z = place(b, width, size)
    row, big = np.empty((3, BLOCK)), largest[a:z]
    for i in range(s):
        _sum_row(x, o, i, lo, hi, big, row)
        if t == m:
            for u in range(hi - lo):
                row[2, u] -= row[1, u] * row[1, u] / t
        else:
            kept = open_rows[i]
            first, total, within = kept[0, a:z], kept[1, a:z], kept[2, a:z]
            join(first, total, within, row[0], row[1], row[2], seen, t)
            if seen + t == m:
                for u in range(hi - lo):
                    row[0, u], row[1, u], row[2, u] = first[u], total[u], within[u]
        if seen + t == m:
            _close_mean(row, m, closed + i, a, rows, means, deviations, hi - lo)
            if variances.size:
                _close_variance(row, m, closed + i, a, variances, hi - lo)
    return DONE


@inner()
def _close_mean(row, m, i, a, rows, means, deviations, width):
    for u in range(width):
        rows[a + u] += row[2, u]
        if deviations.size:
            deviations[a + u] += np.sqrt(row[2, u] / (m - 1))
        rest = row[1, u] / m
        if i == 0:
            means[0, a + u] = row[0, u]
            means[1, a + u] = rest
        gap = (row[0, u] - means[0, a + u]) + (rest - means[1, a + u])
        means[2, a + u] += gap
        means[3, a + u] += gap * gap


@inner()
def _close_variance(row, m, i, a, variances, width):
    for u in range(width):
        variance = row[2, u] / (m - 1)
        if i == 0:
            variances[0, a + u] = variance
        gap = variance - variances[0, a + u]
        variances[1, a + u] += gap
        variances[2, a + u] += gap * gap


@inner()
def _four_of_column(x0, x1, x2, x3, k, c, q, big):
    for u in range(x0.size):
        a = _larger(_larger(abs(x0[u]), abs(x1[u])), _larger(abs(x2[u]), abs(x3[u])))
        big[u] = _larger(a, big[u])
        r = np.float64(k[u])
        d0, d1 = np.float64(x0[u]) - r, np.float64(x1[u]) - r
        d2, d3 = np.float64(x2[u]) - r, np.float64(x3[u]) - r
        c[u] += (d0 + d1) + (d2 + d3)
        q[u] += (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3)


@Kernel
def _columns(b, x, shift, sums, squares, largest, size):
    _, s, t, width = x.shape
    o, lo, hi, a, z = place(b, width, size)
    big = largest[a:z]
    for j in range(t):
        k, c, q = shift[j, a:z], sums[j, a:z], squares[j, a:z]
        for i in range(0, s, 4):
            # The shift stands in where there is no row: it differs from itself by 0, and is an
            # activation that was seen.
            x1 = x[o, i + 1, j, lo:hi] if i + 1 < s else k
            x2 = x[o, i + 2, j, lo:hi] if i + 2 < s else k
            x3 = x[o, i + 3, j, lo:hi] if i + 3 < s else k
            _four_of_column(x[o, i, j, lo:hi], x1, x2, x3, k, c, q, big)
    return DONE


def between(shift: Tensor, sums: Tensor, n: int, out: Tensor) -> None:
    """See `tmeasures.kernels.Backend.between`."""
    call(_between, -(-sums.shape[1] // BLOCK), shift, sums, n, out)


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
    size = block(x)
    call(
        _rows, blocks(x, size), x, rows, means, largest, deviations, variances, open_rows, seen, m,
        closed, size,
    )  # fmt: skip


def columns(x: Tensor, shift: Tensor, sums: Tensor, squares: Tensor, largest: Tensor) -> None:
    """See `tmeasures.kernels.Backend.columns`."""
    size = block(x)
    call(_columns, blocks(x, size), x, shift, sums, squares, largest, size)
