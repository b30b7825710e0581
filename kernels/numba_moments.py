"""Moment kernels for the CPU: parallel over blocks of units, float64 arithmetic, one read.

Each row is summed about its first value ``r``:

    sum (v - mean)^2 = sum (v - r)^2 - (sum (v - r))^2 / t

Little is lost to cancellation: ``r`` is itself a term, so ``t (mean - r)^2`` is at most ``t`` times
the left side and the subtraction costs at most a factor ``1 + t`` over 2**-53; and equal values
give exactly 0. A block of units belongs to one thread: the number of threads changes no bit.
"""

from __future__ import annotations

import numba
import numpy as np
import torch
from numba import prange
from torch import Tensor

from tmeasures.kernels.compile import call, inner, parallel

# 16 columns of state of a block, and the sums of two rows, are 70 KB of the L2 cache, and each row
# of a tile is read in runs of 1 KB. 128 and 1024 take 1.2 times as long.
BLOCK = 256
LEAST = 64

# The rows of a block's scratch: sum and squares about the row's first value, for x (E, EE) and for
# the differences from the shift (G, GG); and those first values.
E, EE, G, GG, FIRST, FIRST_D = range(6)
U = np.uint64  # an index with a sign would be checked for counting from the end
TO_EE, TO_G, TO_GG, TO_FIRST, TO_FIRST_D, NEXT = (U(k * BLOCK) for k in range(1, 7))
# The rows of a block's totals over the rows of a tile.
SQUARES, ROWS, PAIRED = range(3)


@inner()
def _larger(a, b):
    return a if a > b else b


@inner()
def _first_values(x, k, acc):
    for u in range(x.size):
        acc[E, u] = acc[EE, u] = acc[G, u] = acc[GG, u] = 0.0
        acc[FIRST, u] = np.float64(x[u])
        acc[FIRST_D, u] = np.float64(x[u]) - np.float64(k[u])


@inner()
def _one_column(x, k, c, big, acc):
    for u in range(x.size):
        v = np.float64(x[u])
        a = abs(x[u])
        big[u] = a if a > big[u] else big[u]
        d = v - np.float64(k[u])
        c[u] += d
        e = v - acc[FIRST, u]
        acc[E, u] += e
        acc[EE, u] += e * e
        g = d - acc[FIRST_D, u]
        acc[G, u] += g
        acc[GG, u] += g * g


@inner()
def _four_columns(x0, x1, x2, x3, k0, k1, k2, k3, c0, c1, c2, c3, big, acc):
    # The row's sums are loaded and stored once for four reads, which takes 0.6 of the time of
    # _one_column. Rows come one by one: numba takes a slice of two dims for not contiguous.
    for u in range(x0.size):
        a = _larger(_larger(abs(x0[u]), abs(x1[u])), _larger(abs(x2[u]), abs(x3[u])))
        big[u] = _larger(a, big[u])
        v0, v1, v2, v3 = np.float64(x0[u]), np.float64(x1[u]), np.float64(x2[u]), np.float64(x3[u])
        d0, d1 = v0 - np.float64(k0[u]), v1 - np.float64(k1[u])
        d2, d3 = v2 - np.float64(k2[u]), v3 - np.float64(k3[u])
        c0[u] += d0
        c1[u] += d1
        c2[u] += d2
        c3[u] += d3
        r = acc[FIRST, u]
        e0, e1, e2, e3 = v0 - r, v1 - r, v2 - r, v3 - r
        acc[E, u] += (e0 + e1) + (e2 + e3)
        acc[EE, u] += (e0 * e0 + e1 * e1) + (e2 * e2 + e3 * e3)
        r = acc[FIRST_D, u]
        g0, g1, g2, g3 = d0 - r, d1 - r, d2 - r, d3 - r
        acc[G, u] += (g0 + g1) + (g2 + g3)
        acc[GG, u] += (g0 * g0 + g1 * g1) + (g2 * g2 + g3 * g3)


@inner()
def _add_to_row(v, d, acc, u):
    """Add four values, and their differences from the shift, to the sums of a row."""
    r = acc[u + TO_FIRST]
    e0, e1, e2, e3 = v[0] - r, v[1] - r, v[2] - r, v[3] - r
    acc[u] += (e0 + e1) + (e2 + e3)
    acc[u + TO_EE] += (e0 * e0 + e1 * e1) + (e2 * e2 + e3 * e3)
    r = acc[u + TO_FIRST_D]
    g0, g1, g2, g3 = d[0] - r, d[1] - r, d[2] - r, d[3] - r
    acc[u + TO_G] += (g0 + g1) + (g2 + g3)
    acc[u + TO_GG] += (g0 * g0 + g1 * g1) + (g2 * g2 + g3 * g3)


@inner()
def _two_rows(x0, x1, x2, x3, y0, y1, y2, y3, k0, k1, k2, k3, c0, c1, c2, c3, big, acc):
    # As _four_columns, for two rows, so that the columns' sums are loaded and stored once for two
    # reads, which takes 0.8 of the time. The rows' sums are one flat array: with more than 128
    # pairs of arrays that might overlap, LLVM makes no vectors.
    for i in range(x0.size):
        u = U(i)
        a = _larger(_larger(abs(x0[u]), abs(x1[u])), _larger(abs(x2[u]), abs(x3[u])))
        b = _larger(_larger(abs(y0[u]), abs(y1[u])), _larger(abs(y2[u]), abs(y3[u])))
        big[u] = _larger(_larger(a, b), big[u])
        s0, s1, s2, s3 = np.float64(k0[u]), np.float64(k1[u]), np.float64(k2[u]), np.float64(k3[u])
        v0, v1, v2, v3 = np.float64(x0[u]), np.float64(x1[u]), np.float64(x2[u]), np.float64(x3[u])
        d0, d1, d2, d3 = v0 - s0, v1 - s1, v2 - s2, v3 - s3
        _add_to_row((v0, v1, v2, v3), (d0, d1, d2, d3), acc, u)
        v0, v1, v2, v3 = np.float64(y0[u]), np.float64(y1[u]), np.float64(y2[u]), np.float64(y3[u])
        e0, e1, e2, e3 = v0 - s0, v1 - s1, v2 - s2, v3 - s3
        _add_to_row((v0, v1, v2, v3), (e0, e1, e2, e3), acc, u + NEXT)
        c0[u] += d0 + e0
        c1[u] += d1 + e1
        c2[u] += d2 + e2
        c3[u] += d3 + e3


@inner()
def _add_squares(acc, t, totals, width):
    for u in range(width):
        d = acc[FIRST_D, u]
        totals[SQUARES, u] += acc[GG, u] + 2.0 * d * acc[G, u] + t * d * d


@inner()
def _close_row(acc, t, totals, width):
    for u in range(width):
        totals[ROWS, u] += acc[EE, u] - acc[E, u] * acc[E, u] / t
        totals[PAIRED, u] += acc[GG, u] - acc[G, u] * acc[G, u] / t


@inner()
def _join(first, total, within, f, e, ee, seen, t):
    """Join t values (the first, sum and squares about it) to a row's ``seen`` earlier ones."""
    of_t = 1.0 / t
    if seen == 0:
        for u in range(first.size):
            first[u], total[u] = f[u], e[u]
            within[u] = ee[u] - e[u] * e[u] * of_t
        return
    of_seen, weight = 1.0 / seen, seen * t / (seen + t)
    for u in range(first.size):
        step = f[u] - first[u]
        gap = step + e[u] * of_t - total[u] * of_seen
        total[u] += step * t + e[u]
        within[u] += ee[u] - e[u] * e[u] * of_t + gap * gap * weight


@inner()
def _keep_row(acc, t, totals, row, a, z, seen, last):
    _join(row[0, a:z], row[1, a:z], row[2, a:z], acc[FIRST], acc[E], acc[EE], seen, t)
    _join(row[3, a:z], row[4, a:z], row[5, a:z], acc[FIRST_D], acc[G], acc[GG], seen, t)
    if last:
        of_x, of_d = row[2, a:z], row[5, a:z]
        for u in range(z - a):
            totals[ROWS, u] += of_x[u]
            totals[PAIRED, u] += of_d[u]


@inner()
def _fold_rows(x, o, i, rows, some, shift, sums, at, big, both):
    """Fold one row or two of a tile, from i on, into the sums of columns and of these rows."""
    (lo, hi), (a, z), t = some, at, x.shape[2]
    flat = both.reshape(-1)
    for row in range(rows):
        _first_values(x[o, i + row, 0, lo:hi], shift[0, a:z], both[row])
    for j in range(0, t - 3, 4):
        k, m, n = j + 1, j + 2, j + 3
        # fmt: off
        if rows == 2:
            _two_rows(
                x[o, i, j, lo:hi], x[o, i, k, lo:hi], x[o, i, m, lo:hi], x[o, i, n, lo:hi],
                x[o, i + 1, j, lo:hi], x[o, i + 1, k, lo:hi],
                x[o, i + 1, m, lo:hi], x[o, i + 1, n, lo:hi],
                shift[j, a:z], shift[k, a:z], shift[m, a:z], shift[n, a:z],
                sums[j, a:z], sums[k, a:z], sums[m, a:z], sums[n, a:z], big, flat,
            )
        else:
            _four_columns(
                x[o, i, j, lo:hi], x[o, i, k, lo:hi], x[o, i, m, lo:hi], x[o, i, n, lo:hi],
                shift[j, a:z], shift[k, a:z], shift[m, a:z], shift[n, a:z],
                sums[j, a:z], sums[k, a:z], sums[m, a:z], sums[n, a:z], big, both[0],
            )
        # fmt: on
    for row in range(rows):
        for j in range(t - t % 4, t):
            _one_column(x[o, i + row, j, lo:hi], shift[j, a:z], sums[j, a:z], big, both[row])


@parallel()
def _fused(x, shift, sums, squares, paired, rows, largest, open_rows, seen, m, size):
    outer, s, t, width = x.shape
    blocks = (width + size - 1) // size
    for b in prange(outer * blocks):
        o, lo = b // blocks, b % blocks * size
        hi = min(lo + size, width)
        a, z = o * width + lo, o * width + hi
        both, totals, big = np.empty((2, 6, BLOCK)), np.zeros((3, BLOCK)), np.zeros(BLOCK, x.dtype)
        for first in range(0, s, 2):
            rows_here = min(2, s - first)
            _fold_rows(x, o, first, rows_here, (lo, hi), shift, sums, (a, z), big, both)
            for i in range(first, first + rows_here):
                acc = both[i - first]
                _add_squares(acc, t, totals, hi - lo)
                if t == m:
                    _close_row(acc, t, totals, hi - lo)
                else:
                    _keep_row(acc, t, totals, open_rows[i], a, z, seen, seen + t == m)
        for u in range(hi - lo):
            squares[a + u] += totals[SQUARES, u]
            rows[a + u] += totals[ROWS, u]
            paired[a + u] += totals[PAIRED, u]
            largest[a + u] = max(largest[a + u], big[u])


@parallel()
def _between(shift, sums, n, out):
    m, units = sums.shape
    for b in prange((units + BLOCK - 1) // BLOCK):
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


@parallel()
def _rows(x, rows, means, largest, deviations, variances, open_rows, seen, m, closed, size):
    outer, s, t, width = x.shape
    blocks = (width + size - 1) // size
    for b in prange(outer * blocks):
        o, lo = b // blocks, b % blocks * size
        hi = min(lo + size, width)
        a, z = o * width + lo, o * width + hi
        row, big = np.empty((3, BLOCK)), largest[a:z]
        for i in range(s):
            _sum_row(x, o, i, lo, hi, big, row)
            if t == m:
                for u in range(hi - lo):
                    row[2, u] -= row[1, u] * row[1, u] / t
            else:
                kept = open_rows[i]
                first, total, within = kept[0, a:z], kept[1, a:z], kept[2, a:z]
                _join(first, total, within, row[0], row[1], row[2], seen, t)
                if seen + t == m:
                    for u in range(hi - lo):
                        row[0, u], row[1, u], row[2, u] = first[u], total[u], within[u]
            if seen + t == m:
                _close_mean(row, m, closed + i, a, rows, means, deviations, hi - lo)
                if variances.size:
                    _close_variance(row, m, closed + i, a, variances, hi - lo)


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


@parallel()
def _columns(x, shift, sums, squares, largest, size):
    outer, s, t, width = x.shape
    blocks = (width + size - 1) // size
    for b in prange(outer * blocks):
        o, lo = b // blocks, b % blocks * size
        hi = min(lo + size, width)
        a, z = o * width + lo, o * width + hi
        big = largest[a:z]
        for j in range(t):
            k, c, q = shift[j, a:z], sums[j, a:z], squares[j, a:z]
            for i in range(0, s, 4):
                # The shift stands in where there is no row: it differs from itself by 0.
                x1 = x[o, i + 1, j, lo:hi] if i + 1 < s else k
                x2 = x[o, i + 2, j, lo:hi] if i + 2 < s else k
                x3 = x[o, i + 3, j, lo:hi] if i + 3 < s else k
                _four_of_column(x[o, i, j, lo:hi], x1, x2, x3, k, c, q, big)


def _block(x: Tensor) -> int:
    """Units of a block, so that all threads have as many blocks.

    Of 3136 units in blocks of 256, one of two threads would have 1792.
    """
    shares = torch.get_num_threads() * -(-x.shape[-1] // (BLOCK * torch.get_num_threads()))
    return max(LEAST, 8 * -(-x.shape[-1] // (8 * shares)))


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
    call(_fused, x, shift, sums, squares, paired, rows, largest, open_rows, seen, m, _block(x))


def between(shift: Tensor, sums: Tensor, n: int, out: Tensor) -> None:
    """See `tmeasures.kernels.Backend.between`."""
    call(_between, shift, sums, n, out)


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
    call(
        _rows, x, rows, means, largest, deviations, variances, open_rows, seen, m, closed, _block(x)
    )


def columns(x: Tensor, shift: Tensor, sums: Tensor, squares: Tensor, largest: Tensor) -> None:
    """See `tmeasures.kernels.Backend.columns`."""
    call(_columns, x, shift, sums, squares, largest, _block(x))


def threading_layer() -> str:
    """What the kernels' threads run on: ``"omp"``, 2.3 times as fast as ``"workqueue"``.

    Numba decides when it first runs something in parallel, so a tile of one activation is folded.
    """
    one = torch.zeros(1, 1)
    columns(one.view(1, 1, 1, 1), one, one.double(), one.double(), one[0])
    return str(numba.threading_layer())
