"""Feature maps and their transformations for the CPU: gathered, and reduced in the cache.

Locations are taken by pattern: those where the same maps count follow each other, and only these
maps are moved, `PIECE` locations at a time, into a scratch that stays in the L1 cache. From there
come the squares about the mean of each location, and the sums of each pair, four by four maps as in
`numba_maps`. The norms of a pattern's maps are added up once, and go to its pairs where it ends.
Parts of a tile have squares of their own, which are added in a fixed order: the number of threads
changes no bit.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from tmeasures.kernels.compile import inner
from tmeasures.kernels.numba_gather import U, bring, find_lanes, move, pack, up
from tmeasures.kernels.numba_maps import _BLOCK, _ROW, LANES, PIECE, SIDE, _add_piece
from tmeasures.kernels.numba_pieces import (
    PAIR,
    add_gaps,
    close,
    collect,
    finish,
    finish_alike,
    join,
    merge,
)
from tmeasures.kernels.tasks import DONE, Kernel, call

# Maps whose pairs are added up at once, and bytes of them that a thread brings side by side, twice
# where these are pairs of two blocks. With a quarter, 16 maps of 112x112 take four times as long.
MAPS = 32
BROUGHT = 16 * 2**20

# Parts of a tile whose squares are kept apart, where its channels do not make as many.
PARTS = 16

_known: Any = WeakIdKeyDictionary()


@inner()
def _scratch(p, q):
    sides = up(max(p, q), SIDE) // SIDE
    a, b = np.empty(sides * PIECE * _ROW), np.empty(sides * PIECE * _ROW)
    sums, norms = np.zeros(sides * sides * _BLOCK), np.zeros((2, sides * _ROW))
    total = np.empty(p * q * PAIR)
    return a, b, sums, norms, total, np.empty(PIECE * LANES), np.empty(PIECE * LANES)


@inner()
def _fold(brought, table, other, order, bounds, sizes, flags, state, lanes, scratch, to):
    """Add the squares of the rows of some lanes, and the sums of their pairs."""
    same, squares, pairs, alike, last = flags
    (open_rows, seen), (q, taps) = state, sizes
    a, b, sums, norms, total, about, about_squares = scratch
    norms_a, norms_b = norms[0], norms[0 if same else 1]
    for i in range(bounds.size - 1):
        maps, others = table[3][i], other[3][i]
        norms[:] = 0
        for lo in range(bounds[i], bounds[i + 1], PIECE):
            some = order[lo : min(lo + PIECE, bounds[i + 1])]
            if not same:
                move(
                    brought[1], other, taps, lo, others, some.size, b, about, about_squares,
                    norms_b,
                )  # fmt: skip
            move(brought[0], table, taps, lo, maps, some.size, a, about, about_squares, norms_a)
            if pairs:
                _add_piece(a, a if same else b, maps, others, same, some.size, sums, None)
            if squares and open_rows.size:
                join(a, about, about_squares, maps, some, seen, last, open_rows, lanes)
            if squares and last:
                close(about, about_squares, maps, some, to)
        if pairs and not alike:
            of_a, of_b = table[2][i], other[2][i]
            collect(sums, norms_a, of_a, maps, norms_b, of_b, others, same, total, q)


@inner()
def _bring_maps(x, starts, used, beside, strides, first, maps, size, to):
    for j in range(maps):
        at = (first + j) * strides[2]
        bring(x, starts, used, beside, at, strides[3], size, to, j * size * LANES, starts.size)


@Kernel
def _returned(
    w, x, strides, table, other, order, bounds, sizes, flags, kept, open_rows, seen, shares, places,
    parts, workers, found,
):  # fmt: skip
    """Fold some shares of the work: the squares of each part, the distances of each lane."""
    (first, p, second, q, channels, taps), (same, fold, pairs, last, unit, layer) = sizes, flags
    size, scratch = order.size, _scratch(p, q)
    alike = bounds.size == 2 and not layer
    brought = np.empty(p * size * LANES, x.dtype), np.empty((1 - same) * q * size * LANES, x.dtype)
    starts, to, most = np.zeros(LANES, np.int64), np.empty(LANES), scratch[3].shape[1]
    norms = np.empty((2, 3, most))
    for k in range(len(shares) * w // workers, len(shares) * (w + 1) // workers):
        deep = shares[k, 4]
        for row in range(shares[k, 2], shares[k, 3], deep):
            if not alike:
                scratch[4][:] = 0
            channel, wide, used = 0, 1, 0
            for part in range(shares[k, 0], shares[k, 1]):
                channel, wide = places[part, 0], places[part, 1]
                used = wide * min(deep, shares[k, 3] - row)
                beside = wide == LANES and strides[0] == 1
                find_lanes(channel, wide, row, used, strides, starts)
                _bring_maps(x, starts, used, beside, strides, first, p, size, brought[0])
                if not same:
                    _bring_maps(x, starts, used, beside, strides, second, q, size, brought[1])
                _fold(
                    brought, table, other, order, bounds, (q, taps),
                    (same, fold, pairs, alike, last), (open_rows, seen),
                    (channel, channels, wide, row, used), scratch, parts[part],
                )  # fmt: skip
            if pairs:
                if alike:
                    a, b = (first, table[2][0], table[3][0]), (second, other[2][0], other[3][0])
                    finish_alike(scratch[2], scratch[3], norms, a, b, same, unit, kept, to)
                else:
                    finish(scratch[4], (first, p, second, q), unit, kept, layer, norms, to)
                if layer:
                    found[0, row] = to[0]
                for u in range(0, 0 if layer else used, wide):
                    for c in range(wide):
                        found[channel + c, row + u // wide] = to[u + c]
    return DONE


@Kernel
def _carried(
    w, x, strides, reference, of_samples, table, mask, sizes, shares, places, workers, found
):  # fmt: skip
    """Find the norms of the gaps and of the moved maps, each lane's summed over its maps."""
    t, size, taps = sizes
    sides = up(t, SIDE) // SIDE
    starts, brought = np.zeros(LANES, np.int64), np.empty(size * LANES, reference.dtype)
    values, gap = np.zeros(sides * PIECE * _ROW, x.dtype), SIDE * starts.size
    moved, gaps, norms = np.empty(values.size), np.empty(sides * _ROW), np.empty(sides * _ROW)
    unused = np.empty(PIECE * LANES), np.zeros(sides * _ROW)
    for k in range(len(shares) * w // workers, len(shares) * (w + 1) // workers):
        channel, wide, deep = places[shares[k, 0], 0], places[shares[k, 0], 1], shares[k, 4]
        for row in range(shares[k, 2], shares[k, 3], deep):
            used = wide * min(deep, shares[k, 3] - row)
            beside = wide == LANES and of_samples[0] == 1
            find_lanes(channel, wide, row, used, of_samples, starts)
            _bring_maps(reference, starts, used, beside, of_samples, 0, 1, size, brought)
            beside = wide == LANES and strides[0] == 1
            find_lanes(channel, wide, row, used, strides, starts)
            gaps[:] = 0
            norms[:] = 0
            for lo in range(0, size, PIECE):
                width = min(PIECE, size - lo)
                move(brought, table, taps, lo, t, width, moved, unused[0], unused[0], unused[1])
                for j in range(t):
                    at = j * strides[2] + lo * strides[3]
                    to = (j // SIDE * PIECE * SIDE + j % SIDE) * LANES
                    bring(x, starts, used, beside, at, strides[3], width, values, to, gap)
                add_gaps(values, moved, mask[lo * sides * SIDE :], sides, width, gaps, norms)
            for u in range(used):
                c, i = channel + u % wide, row + u // wide
                for j in range(u, t * LANES, LANES):
                    found[0, c, i] += np.sqrt(gaps[j])
                    found[1, c, i] += np.sqrt(norms[j])
    return DONE


@Kernel
def _moved(k, x, strides, sizes, index, weight, first, out):
    channels, columns = sizes
    t, taps, size = index.shape
    c, i, step, total = k % channels, k // channels, strides[3], np.empty(size)
    for j in range(t):
        at = c * strides[0] + i * strides[1] + min(j, columns - 1) * strides[2]
        moved = out[i, first + j, c]
        total[:] = 0
        for tap in range(taps):
            places, weights = index[j, tap], weight[j, tap]
            for u in range(size):
                if weights[u] != 0:
                    total[u] += weights[u] * x[U(at + places[u] * step)]
        for u in range(size):
            moved[u] = total[u]
    return DONE


def _patterns(valid: Tensor) -> tuple[Tensor, Tensor]:
    """Locations in an order that puts those together where the same maps count, and its bounds."""
    bits = torch.arange(len(valid)).unsqueeze(1)
    keys, order = (valid.long() << bits).sum(0).sort(stable=True)
    counts = keys.unique_consecutive(return_counts=True)[1]
    return order, torch.nn.functional.pad(counts.cumsum(0), (1, 0))


def _table(
    index: Tensor, weight: Tensor, valid: Tensor, order: Tensor, bounds: Tensor, apart: int
) -> Any:
    """How to read the maps that count in each pattern, which these are, and how many.

    Fours of maps are filled up with the pattern's first one.
    """
    count = torch.nn.functional.pad(valid[:, order[bounds[:-1]]].T.long(), (0, -len(valid) % SIDE))
    count, members = count.sort(dim=1, descending=True, stable=True)
    members = torch.where(count > 0, members, members[:, :1]).contiguous()
    counts = count.sum(1)
    arrays = [v.numpy() for v in (index, weight, order, bounds, members)]
    return *cast(Any, pack)(*arrays, apart), members.numpy(), counts.numpy()


def _read(index: Tensor, weight: Tensor, valid: Tensor, apart: int) -> tuple[Tensor, Tensor, Any]:
    """The patterns and the table of all maps of a tile, kept while ``index`` lives.

    Made at each call, they took 3 % of the time of ResNet18's layers. Of one index the last are
    kept; tables are never changed in place.
    """
    key, known = (valid.numpy().tobytes(), apart), _known.get(index)
    if known is None or known[0] != key or known[1] is not weight:
        order, bounds = _patterns(valid)
        table = _table(index, weight, valid, order, bounds, apart)
        known = _known[index] = key, weight, (order, bounds, table)
    found: tuple[Tensor, Tensor, Any] = known[2]
    return found


@lru_cache(maxsize=256)
def _shares(channels: int, s: int, together: bool, most: int) -> tuple[Tensor, Tensor]:
    """Shares of the work, and their parts.

    A share: its first part and the one after its last, its samples likewise, and how many of these
    are side by side. A part: its first channel, how many, and the part that adds up its channels'.
    """
    parts = [(c, min(LANES, channels - c)) for c in range(0, channels, LANES)]
    shares: list[tuple[int, ...]] = []
    places: list[tuple[int, ...]] = []
    for group in [parts] if together else [[part] for part in parts]:
        deep = 1 if together else LANES // group[0][1]
        sets, first = -(-s // deep), len(places)
        cuts = min(sets, -(-most // len(parts)))
        for k in range(cuts):
            begin, end = sets * k // cuts * deep, min(s, sets * (k + 1) // cuts * deep)
            shares.append((len(places), len(places) + len(group), begin, end, deep))
            places += [(*part, first + i) for i, part in enumerate(group)]
    return torch.tensor(shares), torch.tensor(places)


def _flat(x: Tensor) -> tuple[Tensor, Tensor]:
    """What a tensor spans in memory, and its strides; halves become float32."""
    if x.dtype in (torch.float16, torch.bfloat16):
        x = x.float()
    extent = 1 + sum((n - 1) * step for n, step in zip(x.shape, x.stride(), strict=True))
    return x.as_strided((extent,), (1,)), torch.tensor(x.stride())


def returned(
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
    """See `tmeasures.kernels.Backend.returned`."""
    channels, s, t, size = x.shape
    flat, strides = _flat(x)
    deep = BROUGHT // (size * LANES * flat.element_size()) // SIDE * SIDE
    deep = min(MAPS, max(SIDE, deep), t)
    if squares.numel() and not len(open_rows) and deep < t:
        open_rows = squares.new_zeros(s, 2, channels, size)
    pairs, layer = distances.numel() > 0, distances.numel() == 1 < channels
    shares, places = _shares(channels, s, layer, PARTS)
    workers, rows = min(torch.get_num_threads(), len(shares)), open_rows.view(-1)
    for first in range(0, t, deep):
        p, closing = min(deep, t - first), last and first + deep >= t
        of_first = valid[first : first + p]
        for second in range(first, t, deep) if pairs else (first,):
            q, same = min(deep, t - second), first == second
            if p == t:
                order, bounds, table = _read(index, weight, valid, size)
                other = table
            else:
                both = of_first if same else torch.cat([of_first, valid[second : second + q]])
                order, bounds = _patterns(both)
                a, b = slice(first, first + p), slice(second, second + q)
                table = _table(index[a], weight[a], valid[a], order, bounds, size)
                other = _table(index[b], weight[b], valid[b], order, bounds, size)
            fold = squares.numel() > 0 and same
            parts = np.zeros((len(places), size * LANES if fold and closing else 0))
            found = distances.new_zeros(distances.numel(), s)
            sizes = first, p, second, q, channels, index.shape[1]
            flags = same, fold, pairs, closing, unit_norm, layer
            call(
                _returned, workers, flat, strides, table, other, order, bounds, sizes, flags, kept,
                rows, seen, shares, places, parts, workers, found,
            )  # fmt: skip
            if parts.shape[1]:
                cast(Any, merge)(places.numpy(), parts, squares.numpy())
            distances += found.cumsum(1)[:, -1]
        seen = seen + of_first.sum(0)


def moved(x: Tensor, index: Tensor, weight: Tensor, first: int, out: Tensor) -> None:
    """See `tmeasures.kernels.Backend.moved`."""
    flat, strides = _flat(x)
    channels, s, columns, _ = x.shape
    sizes = channels, columns
    call(_moved, channels * s, flat, strides, sizes, index, weight, first, out)


def carried(
    x: Tensor, reference: Tensor, index: Tensor, weight: Tensor, valid: Tensor, totals: Tensor
) -> None:
    """See `tmeasures.kernels.Backend.carried`."""
    channels, s, t, size = x.shape
    shares, places = _shares(channels, s, False, PARTS)
    (flat, strides), (samples, of_samples) = _flat(x), _flat(reference.unsqueeze(2))
    table = _read(index, weight, torch.ones_like(valid), 0)[2]
    mask = torch.nn.functional.pad(valid.T, (0, -t % SIDE)).reshape(-1)
    workers, found = min(torch.get_num_threads(), len(shares)), totals.new_zeros(2, channels, s)
    sizes = t, size, index.shape[1]
    call(
        _carried, workers, flat, strides, samples, of_samples, table, mask, sizes, shares, places,
        workers, found,
    )  # fmt: skip
    totals += found.cumsum(2)[..., -1]
