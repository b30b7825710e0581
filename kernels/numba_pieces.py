"""What a piece of moved maps gives, for the CPU: squares of locations, sums of pairs, distances.

A piece is ``(fours of maps, PIECE, map, lane)`` in float64, as `numba_gather.move` writes it. Each
sum is one lane's, whatever the lanes beside it, and is added up in the order of locations: equal
maps are exactly at 0, and maps that are not finite disturb no other lane.
"""

from __future__ import annotations

from math import sqrt

from tmeasures.kernels import ROUNDING
from tmeasures.kernels.compile import inner, serial
from tmeasures.kernels.numba_maps import _BLOCK, _ROW, LANES, PIECE, SIDE
from tmeasures.kernels.numba_vectors import WIDTH, choose, load, splat, store

# What is added up for a pair: squares of the difference, and of both maps where both count.
PAIR = 3 * LANES


@inner()
def join(moved, sums, squares, maps, order, seen, last, open_rows, lanes):
    """Join the columns of a piece to those of earlier tiles; ``squares`` become closed rows'."""
    channel, channels, wide, row, used = lanes
    apart = channels * seen.size
    for u in range(used):
        begin = (row + u // wide) * 2 * apart + (channel + u % wide) * seen.size
        for k in range(order.size):
            i, at, before, gap = k * LANES + u, begin + order[k], seen[order[k]], 0.0
            share = maps / max(before + maps, 1)
            if maps:
                mean = sums[i] / maps
                gap = moved[k * _ROW + u] + mean - open_rows[at]
                squares[i] -= sums[i] * mean
            squares[i] += open_rows[at + apart] + gap * gap * (before * share)
            sums[i] = 0
            open_rows[at] = 0 if last else open_rows[at] + gap * share
            open_rows[at + apart] = 0 if last else squares[i]


@inner()
def close(sums, squares, maps, order, to):
    """Add a piece's squares about the means."""
    share = splat(1.0 / max(maps, 1))
    for k in range(order.size):
        for u in range(0, LANES, WIDTH):
            i, at = k * LANES + u, order[k] * LANES + u
            s, q = load(sums, i), load(squares, i)
            store(to, at, load(to, at) + (q - s * s * share))


@inner()
def _add(v, at, to, i):
    for u in range(0, LANES, WIDTH):
        store(to, i + u, load(to, i + u) + load(v, at + u))


@inner()
def collect(sums, norms, a, maps, norms_b, b, others, same, total, width):
    """Add a pattern's sums to those of its pairs, and clear them."""
    at = 0
    for g in range(0, maps, SIDE):
        for h in range(g if same else 0, others, SIDE):
            for i in range(g, min(g + SIDE, maps)):
                for j in range(max(h, i + 1) if same else h, min(h + SIDE, others)):
                    to = (a[i] * width + b[j]) * PAIR
                    _add(sums, at + (i - g) * _ROW + (j - h) * LANES, total, to)
                    _add(norms, i * LANES, total, to + LANES)
                    _add(norms_b, j * LANES, total, to + 2 * LANES)
            sums[at : at + _BLOCK] = 0
            at += _BLOCK


@inner()
def _norm(squares):
    """The norms of maps, their inverses (0 for zero maps), and 1 for zero maps (0 for others)."""
    root, zero, one = sqrt(squares), splat(0.0), splat(1.0)
    return root, choose(root, one / root, zero), choose(root, zero, one)


@inner()
def _distance(squares, of_a, of_b):
    """The distance of two maps of unit norm from the squares of their difference, and their norms.

    ``|a/|a| - b/|b||^2 = (|a - b|^2 - (|a| - |b|)^2) / (|a| |b|)``, and 1 where one map is zero.
    Nothing is lost where maps are equal or nearly so; what is below the rounding of the squares, as
    where maps differ in their norms alone, is 0.
    """
    (a, over_a, zero_a), (b, over_b, zero_b) = of_a, of_b
    # Where a map is zero the inverses' product is 0, and one is 1 or -1 unless both are.
    rest, one = squares - (a - b) * (a - b), zero_a - zero_b
    rest = choose(splat(ROUNDING) * squares - rest, splat(0.0), rest)
    return sqrt(rest * (over_a * over_b) + one * one)


@inner()
def finish(total, sizes, unit, kept, layer, norms, to):
    """Find the distances of each lane, or in its first place those of all lanes as one vector."""
    first, p, second, q = sizes
    to[:] = 0
    for i in range(p):
        for j in range(i + 1 if first == second else 0, q):
            at = (i * q + j) * PAIR
            if not kept[first + i, second + j]:
                continue
            if layer:
                for k in range(at, at + PAIR, LANES):
                    for u in range(k + 1, k + LANES):
                        total[k] += total[u]
                        total[u] = 0
            for u in range(0, LANES, WIDTH):
                s = load(total, at + u)
                if unit:
                    a, b = load(total, at + LANES + u), load(total, at + 2 * LANES + u)
                    s = _distance(s, _norm(a), _norm(b))
                else:
                    s = sqrt(s)
                store(to, u, load(to, u) + s)


@inner()
def _find_norms(squares, maps, to):
    """Keep what `_norm` gives of each map, for all of its pairs."""
    for u in range(0, maps * LANES, WIDTH):
        found = _norm(load(squares, u))
        for k in range(3):
            store(to[k], u, found[k])


@inner()
def _norms(v, at):
    return load(v[0], at), load(v[1], at), load(v[2], at)


@inner()
def finish_alike(sums, squares, norms, a, b, same, unit, kept, to):
    """Find the distances of each lane where all maps count at the same locations.

    A map has then one norm for all pairs. The sums are cleared.
    """
    (first, of_a, maps), (second, of_b, others) = a, b
    if unit:
        _find_norms(squares[0], maps, norms[0])
        _find_norms(squares[1], 0 if same else others, norms[1])
    at, norms_b = 0, norms[0 if same else 1]
    to[:] = 0
    for g in range(0, maps, SIDE):
        for h in range(g if same else 0, others, SIDE):
            for i in range(g, min(g + SIDE, maps)):
                for j in range(max(h, i + 1) if same else h, min(h + SIDE, others)):
                    if not kept[first + of_a[i], second + of_b[j]]:
                        continue
                    for u in range(0, LANES, WIDTH):
                        s = load(sums, at + (i - g) * _ROW + (j - h) * LANES + u)
                        if unit:
                            of_i, of_j = i * LANES + u, j * LANES + u
                            s = _distance(s, _norms(norms[0], of_i), _norms(norms_b, of_j))
                        else:
                            s = sqrt(s)
                        store(to, u, load(to, u) + s)
            at += _BLOCK
    sums[:at] = 0


@serial()
def merge(places, parts, squares):
    """Add up the squares of the parts of a tile."""
    for k in range(len(places)):
        first = places[k, 2]
        if first < k:
            for i in range(parts.shape[1]):
                parts[first, i] += parts[k, i]
    for k in range(len(places)):
        channel, wide = places[k, 0], places[k, 1]
        for u in range(LANES // wide * wide if places[k, 2] == k else 0):
            to = squares[channel + u % wide]
            for at in range(to.size):
                to[at] += parts[k, at * LANES + u]


@inner()
def add_gaps(x, moved, mask, sides, width, gaps, norms):
    """Add the squares of the gaps between the maps of a piece and the moved ones, and of these."""
    for k in range(width):
        for g in range(sides):
            for i in range(SIDE):
                if mask[(k * sides + g) * SIDE + i]:
                    at, to = (g * PIECE + k) * _ROW + i * LANES, g * _ROW + i * LANES
                    for u in range(0, LANES, WIDTH):
                        v = load(moved, at + u)
                        gap = load(x, at + u) - v
                        store(gaps, to + u, load(gaps, to + u) + gap * gap)
                        store(norms, to + u, load(norms, to + u) + v * v)
