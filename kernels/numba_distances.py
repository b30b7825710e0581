"""Distance kernels for the CPU: a sorting network over vectors of units, float64 sums, one read.

With a unit's values sorted, the distances of all pairs are

    sum_{p<q} |v_p - v_q| = sum_{r<c/2} (c - 1 - 2r) (v_(c-1-r) - v_(r)),    r = 0, 1, ...

which has no negative term, so nothing cancels, and equal values give exactly 0. A row or a column
of `UNITS` units is copied side by side into a scratch that stays in the L1 cache; a comparator of
the network is then a minimum and a maximum of whole vectors. Batcher's odd-even merge sort serves:
16 values at a time in registers, the merges of these in the scratch. Units whose values are not
finite give anything, and disturb no other. A block of units belongs to one thread: the number of
threads changes no bit.

Source: K. E. Batcher, Sorting networks and their applications, AFIPS Spring Joint Computer
Conference, 1968.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

from tmeasures.kernels.compile import inner
from tmeasures.kernels.numba_blocks import blocks, copy, place
from tmeasures.kernels.tasks import DONE, Kernel, call

# 32 rows of float32 take 32 KB of scratch, and each row of a tile is read in runs of 1 KB. 128 and
# 512 are within 15 %.
UNITS = 256

# Values that are sorted in registers.
GROUP = 16

# Vectors have 16 float32 at most. Whole ones need no second loop, and some units beyond the last
# cost nothing.
_LANES = 16


@cache
def comparators(c: int) -> Tensor:
    """Batcher's merges of sorted groups of 16 values into c: the pairs to put in order."""
    found = [np.empty((0, 2), np.int64)]
    size = GROUP
    while size < c:
        step = size
        while step:
            first = np.arange(step % size, c - step)
            first = first[(first - step % size) // step % 2 == 0]
            second = first + step
            same = first // (2 * size) == second // (2 * size)
            found.append(np.stack([first, second], 1)[same])
            step //= 2
        size *= 2
    return torch.from_numpy(np.concatenate(found))


@inner()
def _pair(a, b):
    return (a if a < b else b), (b if a < b else a)


@inner()
def _merge4(v):
    a, c = _pair(v[0], v[2])
    b, d = _pair(v[1], v[3])
    return (a, *_pair(b, c), d)


@inner()
def _merge8(v):
    e, o = _merge4(v[::2]), _merge4(v[1::2])
    return (e[0], *_pair(o[0], e[1]), *_pair(o[1], e[2]), *_pair(o[2], e[3]), o[3])


@inner()
def _merge16(v):
    e, o = _merge8(v[::2]), _merge8(v[1::2])
    low = (e[0], *_pair(o[0], e[1]), *_pair(o[1], e[2]), *_pair(o[2], e[3]))
    high = (*_pair(o[4], e[5]), *_pair(o[5], e[6]), *_pair(o[6], e[7]), o[7])
    return (*low, *_pair(o[3], e[4]), *high)


@inner()
def _sort8(v):
    low = _merge4((*_pair(v[0], v[1]), *_pair(v[2], v[3])))
    high = _merge4((*_pair(v[4], v[5]), *_pair(v[6], v[7])))
    return _merge8((*low, *high))


@inner()
def _load8(v, u):
    n = UNITS
    low = v[u], v[u + n], v[u + 2 * n], v[u + 3 * n]
    return (*low, v[u + 4 * n], v[u + 5 * n], v[u + 6 * n], v[u + 7 * n])


@inner()
def _store8(v, u, s):
    n = UNITS
    v[u], v[u + n], v[u + 2 * n], v[u + 3 * n] = s[:4]
    v[u + 4 * n], v[u + 5 * n], v[u + 6 * n], v[u + 7 * n] = s[4:]


@inner()
def _sort16(v, lanes):
    half = 8 * UNITS
    for u in range(lanes):
        s = _merge16((*_sort8(_load8(v, u)), *_sort8(_load8(v, u + half))))
        _store8(v, u, s[:8])
        _store8(v, u + half, s[8:])


@inner()
def _row(v, i):
    return v[i * UNITS : (i + 1) * UNITS]


@inner()
def _add_pairs(v, c, network, lanes, total):
    """Add the distances of all pairs of each unit's first c values in the scratch; sorts them."""
    whole = (c + GROUP - 1) // GROUP * GROUP
    for i in range(c, whole):
        _row(v, i)[:] = np.inf
    for i in range(0, whole, GROUP):
        _sort16(v[i * UNITS : (i + GROUP) * UNITS], lanes)
    for k in range(network.shape[0]):
        a, b = _row(v, network[k, 0]), _row(v, network[k, 1])
        for u in range(lanes):
            a[u], b[u] = _pair(a[u], b[u])
    for i in range(c // 2):
        a, b, weight = _row(v, i), _row(v, c - 1 - i), np.float64(c - 1 - 2 * i)
        for u in range(lanes):
            total[u] += weight * (np.float64(b[u]) - np.float64(a[u]))


@inner()
def _add_rows(x, lo, hi, v, network, total):
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            copy(x[i, j, lo:hi], _row(v, j))
        _add_pairs(v, x.shape[1], network, _lanes(hi - lo), total)


@inner()
def _add_columns(x, lo, hi, v, network, total):
    for j in range(x.shape[1]):
        for i in range(x.shape[0]):
            copy(x[i, j, lo:hi], _row(v, i))
        _add_pairs(v, x.shape[0], network, _lanes(hi - lo), total)


@inner()
def _lanes(units):
    return (units + _LANES - 1) // _LANES * _LANES


@inner()
def _add(total, to):
    for u in range(to.size):
        to[u] += total[u]
        total[u] = 0.0


@Kernel
def _distances(b, x, block, of_row, of_block, of_last, within_rows, within_blocks):
    _, s, t, width = x.shape
    o, lo, hi, a, z = place(b, width, UNITS)
    groups = (max(t, min(s, block)) + GROUP - 1) // GROUP
    v, total = np.zeros(groups * GROUP * UNITS, x.dtype), np.zeros(UNITS)
    for g in range((s + block - 1) // block):
        rows = x[o, g * block : min((g + 1) * block, s)]
        if within_rows.shape[0]:
            _add_rows(rows, lo, hi, v, of_row, total)
            _add(total, within_rows[g, a:z])
        if within_blocks.shape[0]:
            network = of_block if rows.shape[0] == block else of_last
            _add_columns(rows, lo, hi, v, network, total)
            _add(total, within_blocks[g, a:z])
    return DONE


def distances(x: Tensor, block: int, within_rows: Tensor, within_blocks: Tensor) -> None:
    """See `tmeasures.kernels.Backend.distances`."""
    s, t = x.shape[1:3]
    networks = (comparators(c) for c in (t, min(block, s), s % block))
    call(_distances, blocks(x, UNITS), x, block, *networks, within_rows, within_blocks)
