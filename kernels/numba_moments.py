"""Moment kernels for the CPU: parallel over blocks of units, float64 arithmetic, one read.

Each row is summed about its first value ``r``:

    sum (v - mean)^2 = sum (v - r)^2 - (sum (v - r))^2 / t

Little is lost to cancellation: ``r`` is itself a term, so ``t (mean - r)^2`` is at most ``t`` times
the left side and the subtraction costs at most a factor ``1 + t`` over 2**-53; and equal values
give exactly 0. A block of units belongs to one thread: the number of threads changes no bit.
"""

from __future__ import annotations

from collections.abc import Callable

import numba
import numpy as np
import torch
from numba import prange
from torch import Tensor

from tmeasures.kernels.compile import inner, parallel

# Row sums and 16 columns of state of a block stay in a 1 MB L2 cache, and each row of a tile is
# read in runs of a page. 512 and 2048 are within 5 %, 128 takes twice as long.
BLOCK = 1024

# Activations that one thread folds in 30 microseconds. A second thread would save 15, and costs a
# hundred times that where another process has its core.
_SMALL = 2**16

# The rows of a block's scratch: sum and squares about the row's first value, for x (E, EE) and for
# the differences from the shift (G, GG); and those first values.
E, EE, G, GG, FIRST, FIRST_D = range(6)


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
def _four_columns(x, k, c, big, acc):
    # The row's sums are loaded and stored once for four reads: 0.29 against 0.50 ns an activation.
    x0, x1, x2, x3 = x[0], x[1], x[2], x[3]
    k0, k1, k2, k3 = k[0], k[1], k[2], k[3]
    c0, c1, c2, c3 = c[0], c[1], c[2], c[3]
    for u in range(x0.size):
        a0, a1, a2, a3 = abs(x0[u]), abs(x1[u]), abs(x2[u]), abs(x3[u])
        a0 = a0 if a0 > a1 else a1
        a2 = a2 if a2 > a3 else a3
        a0 = a0 if a0 > a2 else a2
        big[u] = a0 if a0 > big[u] else big[u]
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
def _first_values(x, k, acc):
    acc[E : GG + 1] = 0.0
    for u in range(x.size):
        acc[FIRST, u] = np.float64(x[u])
        acc[FIRST_D, u] = np.float64(x[u]) - np.float64(k[u])


@inner()
def _join(row, first, total, within, seen, t):
    """Join t values (first value, sum about it, squares about the mean) to a row's earlier ones."""
    for u in range(first.size):
        if seen == 0:
            row[0, u] = first[u]
            row[1, u] = total[u]
            row[2, u] = within[u]
        else:
            step = first[u] - row[0, u]
            gap = step + total[u] / t - row[1, u] / seen
            row[1, u] += step * t + total[u]
            row[2, u] += within[u] + gap * gap * (seen * t / (seen + t))


@inner()
def _within(acc, t, width):
    """Turn squares about the first value into squares about the mean."""
    for u in range(width):
        acc[EE, u] -= acc[E, u] * acc[E, u] / t
        acc[GG, u] -= acc[G, u] * acc[G, u] / t


@inner()
def _add(within, total):
    for u in range(total.size):
        total[u] += within[u]


@inner()
def _add_squares(acc, t, squares):
    for u in range(squares.size):
        d = acc[FIRST_D, u]
        squares[u] += acc[GG, u] + 2.0 * d * acc[G, u] + t * d * d


@parallel()
def _fused(x, shift, sums, squares, paired, rows, largest, open_rows, seen, m):
    outer, s, t, width = x.shape
    blocks = (width + BLOCK - 1) // BLOCK
    for b in prange(outer * blocks):
        o, lo = b // blocks, b % blocks * BLOCK
        hi = min(lo + BLOCK, width)
        a, z = o * width + lo, o * width + hi
        acc = np.empty((6, BLOCK))
        for i in range(s):
            _first_values(x[o, i, 0, lo:hi], shift[0, a:z], acc)
            for j in range(0, t - 3, 4):
                four = slice(j, j + 4)
                _four_columns(
                    x[o, i, four, lo:hi], shift[four, a:z], sums[four, a:z], largest[a:z], acc
                )
            for j in range(t - t % 4, t):
                _one_column(x[o, i, j, lo:hi], shift[j, a:z], sums[j, a:z], largest[a:z], acc)
            _add_squares(acc, t, squares[a:z])
            _within(acc, t, hi - lo)
            if t == m:
                _add(acc[EE], rows[a:z])
                _add(acc[GG], paired[a:z])
                continue
            row = open_rows[i, :, a:z]
            _join(row[:3], acc[FIRST, : hi - lo], acc[E], acc[EE], seen, t)
            _join(row[3:], acc[FIRST_D, : hi - lo], acc[G], acc[GG], seen, t)
            if seen + t == m:
                _add(row[2], rows[a:z])
                _add(row[5], paired[a:z])


@inner()
def _add_deviation(within, total, m):
    for u in range(total.size):
        total[u] += np.sqrt(within[u] / (m - 1))


@parallel()
def _between(shift, sums, n, out):
    m, units = sums.shape
    for b in prange((units + BLOCK - 1) // BLOCK):
        lo, hi = b * BLOCK, min((b + 1) * BLOCK, units)
        first_k, first_c, found = shift[0, lo:hi], sums[0, lo:hi], out[:, lo:hi]
        means = np.zeros((2, BLOCK))
        found[:] = 0.0
        for j in range(m):
            k, c = shift[j, lo:hi], sums[j, lo:hi]
            for u in range(hi - lo):
                means[0, u] += c[u] - first_c[u]
                means[1, u] += np.float64(k[u]) - np.float64(first_k[u])
                found[0, u] += c[u] * c[u] / n
        for u in range(hi - lo):
            means[0, u] /= m
            means[1, u] = means[1, u] / m + means[0, u] / n
        for j in range(m):
            k, c = shift[j, lo:hi], sums[j, lo:hi]
            for u in range(hi - lo):
                gap = c[u] - first_c[u]
                mean = np.float64(k[u]) - np.float64(first_k[u]) + gap / n - means[1, u]
                gap -= means[0, u]
                found[1, u] += gap * gap / n
                found[2, u] += n * mean * mean


@inner()
def _row_mean(row, m, i, means):
    for u in range(row.shape[1]):
        mean = row[0, u] + row[1, u] / m
        if i == 0:
            means[0, u] = mean
        gap = mean - means[0, u]
        means[1, u] += gap
        means[2, u] += gap * gap


@parallel()
def _rows(x, rows, means, largest, deviations, open_rows, seen, m, closed):
    outer, s, t, width = x.shape
    blocks = (width + BLOCK - 1) // BLOCK
    for b in prange(outer * blocks):
        o, lo = b // blocks, b % blocks * BLOCK
        hi = min(lo + BLOCK, width)
        a, z = o * width + lo, o * width + hi
        acc = np.empty((3, BLOCK))
        for i in range(s):
            for u in range(hi - lo):
                acc[0, u] = np.float64(x[o, i, 0, lo + u])
                acc[1, u] = 0.0
                acc[2, u] = 0.0
            for j in range(t):
                v, big = x[o, i, j, lo:hi], largest[a:z]
                for u in range(hi - lo):
                    big[u] = max(big[u], abs(v[u]))
                    e = np.float64(v[u]) - acc[0, u]
                    acc[1, u] += e
                    acc[2, u] += e * e
            for u in range(hi - lo):
                acc[2, u] -= acc[1, u] * acc[1, u] / t
            row = acc[:, : hi - lo]
            if t < m:
                row = open_rows[i, :, a:z]
                _join(row, acc[0, : hi - lo], acc[1], acc[2], seen, t)
            if seen + t == m:
                _add(row[2], rows[a:z])
                _add_deviation(row[2], deviations[a:z], m)
                _row_mean(row, m, closed + i, means[:, a:z])


@parallel()
def _columns(x, shift, sums, squares, largest):
    outer, s, t, width = x.shape
    blocks = (width + BLOCK - 1) // BLOCK
    for b in prange(outer * blocks):
        o, lo = b // blocks, b % blocks * BLOCK
        hi = min(lo + BLOCK, width)
        a, z = o * width + lo, o * width + hi
        for i in range(s):
            for j in range(t):
                v, k, big = x[o, i, j, lo:hi], shift[j, a:z], largest[a:z]
                c, q = sums[j, a:z], squares[j, a:z]
                for u in range(hi - lo):
                    big[u] = max(big[u], abs(v[u]))
                    d = np.float64(v[u]) - np.float64(k[u])
                    c[u] += d
                    q[u] += d * d


def _call(kernel: Callable[..., None], x: Tensor, *state: Tensor | int) -> None:
    """Run a kernel on torch's number of threads, on one where a tile is small."""
    before = numba.get_num_threads()
    most = min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS)
    numba.set_num_threads(most if x.numel() > _SMALL else 1)
    try:
        kernel(x.numpy(), *(part.numpy() if isinstance(part, Tensor) else part for part in state))
    finally:
        numba.set_num_threads(before)


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
    _call(_fused, x, shift, sums, squares, paired, rows, largest, open_rows, seen, m)


def between(shift: Tensor, sums: Tensor, n: int, out: Tensor) -> None:
    """See `tmeasures.kernels.Backend.between`."""
    _call(_between, shift, sums, n, out)


def rows(
    x: Tensor,
    rows: Tensor,
    means: Tensor,
    largest: Tensor,
    deviations: Tensor,
    open_rows: Tensor,
    seen: int,
    m: int,
    closed: int,
) -> None:
    """See `tmeasures.kernels.Backend.rows`."""
    _call(_rows, x, rows, means, largest, deviations, open_rows, seen, m, closed)


def columns(x: Tensor, shift: Tensor, sums: Tensor, squares: Tensor, largest: Tensor) -> None:
    """See `tmeasures.kernels.Backend.columns`."""
    _call(_columns, x, shift, sums, squares, largest)
