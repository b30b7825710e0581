"""Firing kernels for the CPU: parallel over blocks of units, one read.

Counts are whole numbers: neither the tiles nor the number of threads change a bit. An activation
that is not finite disturbs no other unit.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from tmeasures.kernels.compile import inner
from tmeasures.kernels.numba_blocks import blocks, copy, place
from tmeasures.kernels.tasks import DONE, Kernel, call

# A block's counts and limits stay in the L1 cache beside four rows of a tile, and each row is read
# in runs of a page.
BLOCK = 1024
# A block's heaps of 42 stay in the L1 cache. 64 and 1024 take a fifth longer.
HEAPS = 256

# The rows of a unit's totals, and of a block's counts over a tile.
ALL, SAMPLES, JOINT = range(3)


@inner()
def _replace_least(heap, u, v):
    """Put v in the place of the least value of unit u's heap."""
    at, size = 0, heap.shape[0]
    while 2 * at + 1 < size:
        child = 2 * at + 1
        if child + 1 < size and heap[child + 1, u] < heap[child, u]:
            child += 1
        if heap[child, u] >= v:
            break
        heap[at, u] = heap[child, u]
        at = child
    heap[at, u] = v


@inner()
def _keep(x, sign, heap, smallest):
    for u in range(x.size):
        v = sign * x[u]
        smallest[u] = v if v < smallest[u] else smallest[u]
    for u in range(x.size):
        v = sign * x[u]
        if v > heap[0, u]:
            _replace_least(heap, u, v)


@Kernel
def _keep_largest(b, x, sign, kept, smallest):
    _, s, t, width = x.shape
    o, lo, hi, a, z = place(b, width, HEAPS)
    heap = np.empty((kept.shape[0], hi - lo), x.dtype)
    for k in range(kept.shape[0]):
        copy(kept[k, a:z], heap[k])
    for i in range(s):
        for j in range(t):
            _keep(x[o, i, j, lo:hi], x.dtype.type(sign), heap, smallest[a:z])
    for k in range(kept.shape[0]):
        copy(heap[k], kept[k, a:z])
    return DONE


@inner()
def _count(x, sign, limit, step, count):
    for u in range(x.size):
        count[u] += step if sign * x[u] > limit[u] else 0


@inner()
def _count_four(x0, x1, x2, x3, sign, limit, count):
    # The counts are loaded and stored once for four reads.
    for u in range(x0.size):
        a = np.int32(sign * x0[u] > limit[u]) + np.int32(sign * x1[u] > limit[u])
        b = np.int32(sign * x2[u] > limit[u]) + np.int32(sign * x3[u] > limit[u])
        count[u] += a + b


@inner()
def _count_row(y, lo, hi, same, sign, limit, count, total):
    """Add the columns that fire to total; those that are no identity become count."""
    t = y.shape[0]
    count[:] = 0
    for j in range(0, t - 3, 4):
        y0, y1, y2, y3 = y[j, lo:hi], y[j + 1, lo:hi], y[j + 2, lo:hi], y[j + 3, lo:hi]
        _count_four(y0, y1, y2, y3, sign, limit, count)
    for j in range(t - t % 4, t):
        _count(y[j, lo:hi], sign, limit, 1, count)
    for u in range(hi - lo):
        total[u] += count[u]
    for j in same:
        _count(y[j, lo:hi], sign, limit, -1, count)


@inner()
def _join_row(count, fires, open_count, open_fires, seen):
    """Join the counts of a tile to those of the row's earlier tiles, and keep them."""
    for u in range(open_count.size):
        if seen:
            count[u] += open_count[u]
            fires[u] += open_fires[u]
        open_count[u], open_fires[u] = count[u], fires[u]


@inner()
def _close_row(count, fires, samples, joint, width):
    for u in range(width):
        samples[u] += fires[u]
        joint[u] += fires[u] * count[u]


@inner()
def _not_finite(x, bad):
    for u in range(x.size):
        bad[u] += x[u] - x[u]  # NaN where x is not finite, else 0


@Kernel
def _firing(b, x, reference, at, same, sign, limits, totals, open_counts, open_fires, seen, m):
    _, s, t, width = x.shape
    signs = limits.shape[0]
    o, lo, hi, a, z = place(b, width, BLOCK)
    found, bad = np.zeros((signs, 3, BLOCK), np.int32), np.zeros(BLOCK, x.dtype)
    count, fires = np.empty(BLOCK, np.int32), np.empty(BLOCK, np.int32)
    for i in range(s):
        first = reference[o, i, at, lo:hi]
        if at >= 0:
            _not_finite(first, bad)
        for k in range(signs):
            own, limit = x.dtype.type(sign if k == 0 else -sign), limits[k, a:z]
            _count_row(x[o, i], lo, hi, same, own, limit, count, found[k, ALL])
            fires[:] = 0
            if at >= 0:
                _count(first, own, limit, 1, fires)
            if t < m:
                kept, fired = open_counts[i, k, a:z], open_fires[i, k, a:z]
                _join_row(count, fires, kept, fired, seen)
            if seen + t == m:
                _close_row(count, fires, found[k, SAMPLES], found[k, JOINT], hi - lo)
    for k in range(signs):
        for u in range(hi - lo):
            totals[k, ALL, a + u] += found[k, ALL, u]
            totals[k, SAMPLES, a + u] += found[k, SAMPLES, u] + bad[u]
            totals[k, JOINT, a + u] += found[k, JOINT, u]
    return DONE


def keep_largest(x: Tensor, sign: int, kept: Tensor, smallest: Tensor) -> None:
    """See `tmeasures.kernels.Backend.keep_largest`."""
    call(_keep_largest, blocks(x, HEAPS), x, sign, kept, smallest)


def firing(
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
    """See `tmeasures.kernels.Backend.firing`."""
    rows = (open_counts, open_fires)
    call(_firing, blocks(x, BLOCK), x, reference, at, same, sign, limits, totals, *rows, seen, m)
