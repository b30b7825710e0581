"""Distances of feature maps for the CPU: four by four pairs at a time, float64 sums.

A lane is a channel of one sample, for the pairs of its transformations, or a channel under one
transformation, for the pairs of a block of samples. The maps of `LANES` lanes are widened side by
side into a scratch, `PIECE` of their values at a time, which stays in the L2 cache; vectors run
over lanes. Each sum of a pair is thus one lane's, added up in the order of its values whatever the
lanes beside it: the number of threads changes no bit, equal maps are exactly at 0, and maps that
are not finite disturb no other lane. Four maps against four others make 16 pairs, so a value that
is loaded serves four of them; their sums are in registers for the values of a piece.
"""

from __future__ import annotations

from math import gcd, sqrt

import numpy as np
import torch
from torch import Tensor

from tmeasures.kernels.compile import inner
from tmeasures.kernels.numba_distances import distances
from tmeasures.kernels.numba_vectors import WIDTH, load, store
from tmeasures.kernels.tasks import DONE, Kernel, call

# Channels side by side in memory fill a line of the cache as float32.
LANES = 16

# Maps whose pairs with as many others are added up at once.
SIDE = 4

# Values of a map, and maps, in the scratch: 64 KB, and 72 KB of sums.
PIECE = 16
MAPS = 32

# Values of the channels that a thread reads once for the pairs of rows, and from the cache for
# those of columns.
GROUP = 2**17

# Values that are worth a thread and its scratch.
WORK = 2**16

METRICS = ("euclidean", "manhattan", "cosine")

_ROW = SIDE * LANES
_BLOCK = SIDE * _ROW


@inner()
def _term(s, a, b, absolute):
    d = a - b
    if absolute is None:  # known by its type: the compiler drops the other branch
        return s + d * d
    return s + abs(d)


@inner()
def load_four(v, at):
    """Some lanes of four maps."""
    return load(v, at), load(v, at + LANES), load(v, at + 2 * LANES), load(v, at + 3 * LANES)


@inner()
def store_four(v, at, s):
    """Write some lanes of four maps."""
    store(v, at, s[0])
    store(v, at + LANES, s[1])
    store(v, at + 2 * LANES, s[2])
    store(v, at + 3 * LANES, s[3])


@inner()
def _to_four(s, a, b, absolute):
    low = _term(s[0], a, b[0], absolute), _term(s[1], a, b[1], absolute)
    return (*low, _term(s[2], a, b[2], absolute), _term(s[3], a, b[3], absolute))


@inner()
def _add_across(a, i, b, j, width, to, at, absolute):
    """Add some values of four maps against four others to the sums of their 16 pairs."""
    for u in range(0, LANES, WIDTH):
        s0, s1 = load_four(to, at + u), load_four(to, at + u + _ROW)
        s2, s3 = load_four(to, at + u + 2 * _ROW), load_four(to, at + u + 3 * _ROW)
        for k in range(width):
            v, w = load_four(a, i + u + k * _ROW), load_four(b, j + u + k * _ROW)
            s0, s1 = _to_four(s0, v[0], w, absolute), _to_four(s1, v[1], w, absolute)
            s2, s3 = _to_four(s2, v[2], w, absolute), _to_four(s3, v[3], w, absolute)
        store_four(to, at + u, s0)
        store_four(to, at + u + _ROW, s1)
        store_four(to, at + u + 2 * _ROW, s2)
        store_four(to, at + u + 3 * _ROW, s3)


@inner()
def _add_within(a, i, width, to, at, absolute):
    """The same for the 6 pairs of four maps, at their places among the 16."""
    for u in range(at, at + LANES, WIDTH):
        r0, r1, r2 = load_four(to, u), load_four(to, u + _ROW), load_four(to, u + 2 * _ROW)
        s0, s1, s2, s3, s4, s5 = r0[1], r0[2], r0[3], r1[2], r1[3], r2[3]
        for k in range(width):
            v = load_four(a, i + u - at + k * _ROW)
            s0, s1 = _term(s0, v[0], v[1], absolute), _term(s1, v[0], v[2], absolute)
            s2, s3 = _term(s2, v[0], v[3], absolute), _term(s3, v[1], v[2], absolute)
            s4, s5 = _term(s4, v[1], v[3], absolute), _term(s5, v[2], v[3], absolute)
        store_four(to, u, (r0[0], s0, s1, s2))
        store_four(to, u + _ROW, (r1[0], r1[1], s3, s4))
        store_four(to, u + 2 * _ROW, (r2[0], r2[1], r2[2], s5))


@inner()
def _add_piece(a, b, p, q, same, width, sums, absolute):
    """Add a piece of p maps against q others, or against one another."""
    at = 0
    for g in range(0, p, SIDE):
        for h in range(g if same else 0, q, SIDE):
            i, j = g * PIECE * LANES, h * PIECE * LANES
            if same and g == h:
                _add_within(a, i, width, sums, at, absolute)
            else:
                _add_across(a, i, b, j, width, sums, at, absolute)
            at += _BLOCK


@inner()
def _finish(sums, p, q, same, root, total):
    """Add the distances of the pairs to each lane's total, and clear their sums."""
    at = 0
    for g in range(0, p, SIDE):
        for h in range(g if same else 0, q, SIDE):
            for i in range(at, at + _BLOCK, _ROW):
                sums[i + (q - h) * LANES : i + _ROW] = 0  # maps beyond the last one
                for u in range(0, LANES, WIDTH):
                    a, b, c, d = load_four(sums, i + u)
                    if root:
                        a, b, c, d = sqrt(a), sqrt(b), sqrt(c), sqrt(d)
                    store(total, u, load(total, u) + ((a + b) + (c + d)))
            sums[at : at + _BLOCK] = 0
            at += _BLOCK


@inner()
def _widen(x, starts, norms, maps, steps, piece, unit, flag, to):
    """Copy a piece of some maps; after the last value zeros, but for a flag where a map is zero."""
    lo, hi, size = piece
    for i in range(maps):
        norm = norms[i * LANES : (i + 1) * LANES]
        start = (i // SIDE * PIECE * SIDE + i % SIDE) * LANES
        for k in range(lo, min(hi, size)):
            row = to[start + (k - lo) * _ROW : start + (k - lo) * _ROW + LANES]
            for u in range(LANES):
                row[u] = x[starts[u] + i * steps[0] + k * steps[1]]
        for k in range(lo, min(hi, size) if unit else lo):
            for u in range(0, LANES, WIDTH):
                at = start + (k - lo) * _ROW + u
                store(to, at, load(to, at) / load(norms, i * LANES + u))
        for k in range(max(lo, size), hi):
            row = to[start + (k - lo) * _ROW : start + (k - lo) * _ROW + LANES]
            for u in range(LANES):
                row[u] = np.float64(flag and k == size and norm[u] == np.inf)


@inner()
def _find_norms(x, starts, maps, steps, size, norms):
    """Each map's norm; infinite for a zero map, which a division by it leaves at zero."""
    for i in range(maps):
        norm = norms[i * LANES : (i + 1) * LANES]
        norm[:] = 0
        for k in range(size):
            for u in range(LANES):
                v = np.float64(x[starts[u] + i * steps[0] + k * steps[1]])
                norm[u] += v * v
        for u in range(LANES):
            norm[u] = np.sqrt(norm[u]) if norm[u] > 0 else np.inf


@inner()
def _add_pairs(x, starts, norms, maps, steps, size, metric, absolute, unit, scratch, total):
    """Add the distances of all pairs of each lane's maps to its total."""
    a, b, sums = scratch
    root, flag = metric == 0, metric == 2
    for first in range(0, maps, MAPS):
        p = min(MAPS, maps - first)
        of_a, norms_a = x[first * steps[0] :], norms[first * LANES :]
        for second in range(first, maps, MAPS):
            q, same = min(MAPS, maps - second), first == second
            of_b, norms_b = x[second * steps[0] :], norms[second * LANES :]
            for lo in range(0, size + flag, PIECE):
                hi = min(lo + PIECE, size + flag)
                piece = lo, hi, size
                _widen(of_a, starts, norms_a, p, steps, piece, unit, flag, a)
                if not same:
                    _widen(of_b, starts, norms_b, q, steps, piece, unit, flag, b)
                _add_piece(a, a if same else b, p, q, same, hi - lo, sums, absolute)
            _finish(sums, p, q, same, root, total)


@inner()
def _fold(x, first, lane, shape, strides, metric, absolute, unit, scratch, found):
    """Find the totals of the lanes from ``lane`` on, of the channels from ``first`` on."""
    channels, others, maps, size = shape
    lanes, steps, inside = channels * others, strides[2:], strides[0] < strides[3]
    starts, places = np.empty(LANES, np.int64), np.empty((LANES, 2), np.int64)
    norms, total = np.empty(maps * LANES), np.zeros(LANES)
    for u in range(LANES):
        i = min(lane + u, lanes - 1)
        c, o = (i % channels, i // channels) if inside else (i // others, i % others)
        starts[u] = (first + c) * strides[0] + o * strides[1]
        places[u, 0], places[u, 1] = first + c, o
    if unit:
        _find_norms(x, starts, maps, steps, size, norms)
    _add_pairs(x, starts, norms, maps, steps, size, metric, absolute, unit, scratch, total)
    for u in range(LANES):
        found[places[u, 0], places[u, 1]] = total[u]


@inner()
def _chunks(lanes):
    return (lanes + LANES - 1) // LANES


@Kernel
def _maps(w, x, shape, strides, group, workers, metric, absolute, unit, of_rows, of_columns):
    channels, s, t, size = shape
    by_channel, by_row, by_column, by_value = strides
    row_chunks = _chunks(group * of_rows.shape[1])
    chunks = row_chunks + _chunks(group * of_columns.shape[1])
    groups = (channels + group - 1) // group
    sides = (min(max(s, t), MAPS) + SIDE - 1) // SIDE
    a, b = np.empty(sides * PIECE * _ROW), np.empty(sides * PIECE * _ROW)
    scratch = a, b, np.zeros(sides * sides * _BLOCK)
    for at in range(groups * chunks * w // workers, groups * chunks * (w + 1) // workers):
        first, chunk = at // chunks * group, at % chunks
        some = min(group, channels - first)
        if chunk < row_chunks:
            lane, sizes = chunk * LANES, (some, s, t, size)
            steps, found = (by_channel, by_row, by_column, by_value), of_rows
        else:
            lane, sizes = (chunk - row_chunks) * LANES, (some, t, s, size)
            steps, found = (by_channel, by_column, by_row, by_value), of_columns
        if lane < some * sizes[1]:
            _fold(x, first, lane, sizes, steps, metric, absolute, unit, scratch, found)
    return DONE


def maps(
    x: Tensor, metric: str, unit_norm: bool, within_rows: Tensor, within_blocks: Tensor
) -> None:
    """See `tmeasures.kernels.Backend.maps`."""
    if x.dtype in (torch.float16, torch.bfloat16):
        x = x.float()
    unit = unit_norm or metric == "cosine"
    if x.shape[3] == 1 and not unit:  # |a - b|
        distances(x.permute(3, 1, 2, 0).contiguous(), x.shape[1], within_rows, within_blocks)
        return
    # Groups of whole chunks; where channels are last, 16 of them share a line of the cache.
    shared = 1 if x.stride(0) < x.stride(3) else gcd(LANES, *x.shape[1:3])
    group = min(len(x), max(LANES // shared, GROUP // x[0].numel()))
    workers = min(torch.get_num_threads(), 1 + x.numel() // WORK)
    extent = 1 + sum((n - 1) * step for n, step in zip(x.shape, x.stride(), strict=True))
    flat, number = x.as_strided((extent,), (1,)), METRICS.index(metric)
    absolute = True if metric == "manhattan" else None
    shape = tuple(x.shape)
    of_rows = within_rows.new_empty(len(x), x.shape[1] * len(within_rows))
    of_columns = within_blocks.new_empty(len(x), x.shape[2] * len(within_blocks))
    call(
        _maps, workers, flat, shape, x.stride(), group, workers, number, absolute, unit, of_rows,
        of_columns,
    )  # fmt: skip
    weight = 0.5 if metric == "cosine" else 1.0
    for total, found in ((within_rows, of_rows), (within_blocks, of_columns)):
        if len(total):
            total += found.cumsum(1)[:, -1] * weight
