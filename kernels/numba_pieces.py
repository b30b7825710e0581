"""What a piece of moved maps gives, for the CPU: squares of locations, sums of pairs, distances.

A piece is ``(fours of maps, PIECE, map, lane)`` in float64, as `numba_gather.move` writes it. Each
sum is one lane's, whatever the lanes beside it, and is added up in the order of locations: equal
maps are exactly at 0, and maps that are not finite disturb no other lane.
"""

from __future__ import annotations

import numpy as np

from tmeasures.kernels import ROUNDING
from tmeasures.kernels.compile import inner
from tmeasures.kernels.numba_gather import L1, L2, L3, U, four, rows, up
from tmeasures.kernels.numba_maps import (
    _BLOCK,
    _ROW,
    LANES,
    PIECE,
    SIDE,
    STEPS,
    _root,
)

# What is added up for a pair: squares of the difference, and of both maps where both count.
PAIR = 3 * LANES


@inner()
def _add_block(moved, at, first, sums, squares, k, norms, g):
    """Add four values of four maps to the sums about the first map, and to the maps' norms."""
    for lane in range(LANES):
        u = U(lane)
        s0, s1, s2, s3 = rows(norms, g + u)
        for step in range(STEPS):
            row, to = U(step * _ROW) + u, k + U(step * LANES) + u
            r = moved[first + row]
            a, b, c, d = rows(moved, at + row)
            s0, s1, s2, s3 = s0 + a * a, s1 + b * b, s2 + c * c, s3 + d * d
            a, b, c, d = a - r, b - r, c - r, d - r
            sums[to] += (a + b) + (c + d)
            squares[to] += (a * a + b * b) + (c * c + d * d)
        to = g + u
        norms[to], norms[to + L1], norms[to + L2], norms[to + L3] = s0, s1, s2, s3


@inner()
def add_alone(moved, maps, width, sums, squares, norms):
    """Find what a piece of some maps gives without pairs."""
    sums[:] = 0
    squares[:] = 0
    for g in range(up(maps, SIDE) // SIDE):
        for k in range(0, width, STEPS):
            at = U((g * PIECE + k) * _ROW)
            _add_block(moved, at, U(k * _ROW), sums, squares, U(k * LANES), norms, U(g * _ROW))


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
def _add_rows(sums, squares, k, share, to, a, b, c, d):
    for lane in range(LANES):
        u = U(lane)
        s, q = rows(sums, k + u), rows(squares, k + u)
        to[a + u] += q[0] - s[0] * s[0] * share
        to[b + u] += q[1] - s[1] * s[1] * share
        to[c + u] += q[2] - s[2] * s[2] * share
        to[d + u] += q[3] - s[3] * s[3] * share


@inner()
def _place(order, k, end):
    return U((order[k] if k < order.size else end + k % STEPS) * LANES)


@inner()
def close(sums, squares, maps, order, to):
    """Add a piece's squares about the means; those beyond its locations go to the end."""
    share, end = 1.0 / max(maps, 1), to.size // LANES - STEPS
    for k in range(0, order.size, STEPS):
        a, b = _place(order, k, end), _place(order, k + 1, end)
        c, d = _place(order, k + 2, end), _place(order, k + 3, end)
        _add_rows(sums, squares, U(k * LANES), share, to, a, b, c, d)


@inner()
def _add_to_pairs(sums, at, norms, i, others, j, total, a, b, c, d):
    """Add the sums of a map and four others, and their norms, to those of the pairs."""
    for lane in range(LANES):
        u = U(lane)
        s, n, m = rows(sums, at + u), norms[i + u], rows(others, j + u)
        total[a + u] += s[0]
        total[a + u + L1] += n
        total[a + u + L2] += m[0]
        total[b + u] += s[1]
        total[b + u + L1] += n
        total[b + u + L2] += m[1]
        total[c + u] += s[2]
        total[c + u + L1] += n
        total[c + u + L2] += m[2]
        total[d + u] += s[3]
        total[d + u + L1] += n
        total[d + u + L2] += m[3]


@inner()
def _pair(a, i, b, j, least, most, end):
    """Where the sums of a pair stand; those that are not needed go to the end."""
    return U((a[i] * end[0] + b[j] if least <= j < most else end[1] + j % SIDE) * PAIR)


@inner()
def collect(sums, norms, a, maps, norms_b, b, others, same, total, width):
    """Add a pattern's sums to those of its pairs, and clear them."""
    at, end = 0, (width, total.size // PAIR - SIDE)
    for g in range(0, maps, SIDE):
        for h in range(g if same else 0, others, SIDE):
            for i in range(g, min(g + SIDE, maps)):
                least = i + 1 if same else 0
                pair_a = _pair(a, i, b, h, least, others, end)
                pair_b = _pair(a, i, b, h + 1, least, others, end)
                pair_c = _pair(a, i, b, h + 2, least, others, end)
                pair_d = _pair(a, i, b, h + 3, least, others, end)
                begin, row, column = U(at + (i - g) * _ROW), U(i * LANES), U(h * LANES)
                _add_to_pairs(
                    sums, begin, norms, row, norms_b, column, total, pair_a, pair_b, pair_c, pair_d
                )
            sums[at : at + _BLOCK] = 0
            at += _BLOCK


@inner()
def _inverse(root):
    """Of a norm; 0 for that of a zero map, which stays zero."""
    return 1 / root if root > 0 else 0.0


@inner()
def _apart(squares, a, b, over_a, over_b):
    """The distance of two maps of unit norm from the squares of their difference, and their norms.

    ``|a/|a| - b/|b||^2 = (|a - b|^2 - (|a| - |b|)^2) / (|a| |b|)``, and 1 where one map is zero.
    Nothing is lost where maps are equal or nearly so; what is below the rounding of the squares, as
    where maps differ in their norms alone, is 0. Without branches, or it would not become vectors.
    """
    rest = squares - (a - b) * (a - b)
    one = np.float64(over_a == 0) - np.float64(over_b == 0)
    return np.sqrt((0.0 if rest < ROUNDING * squares else rest) * (over_a * over_b) + one * one)


@inner()
def _distance(squares, of_a, of_b, unit):
    """The distance of two maps from the squares of their difference, and their own."""
    if not unit:
        return np.sqrt(squares)
    a, b = np.sqrt(of_a), np.sqrt(of_b)
    return _apart(squares, a, b, _inverse(a), _inverse(b))


@inner()
def _add_distances(total, at, unit, to):
    for lane in range(LANES):
        u = at + U(lane)
        to[lane] += _distance(total[u], total[u + L1], total[u + L2], unit)


@inner()
def finish(total, sizes, unit, kept, layer, to):
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
                to[0] += _distance(total[at], total[at + LANES], total[at + 2 * LANES], unit)
            else:
                _add_distances(total, U(at), unit, to)


@inner()
def _find_roots(norms, roots, inverses):
    for u in range(norms.size):
        roots[u] = np.sqrt(norms[u])
        inverses[u] = _inverse(roots[u])


@inner()
def _repeat(v, maps, to):
    """Each map's lanes for four others."""
    for i in range(maps):
        at, first = U(i * _ROW), U(i * LANES)
        for lane in range(LANES):
            u, one = at + U(lane), v[first + U(lane)]
            to[u], to[u + L1], to[u + L2], to[u + L3] = one, one, one, one


@inner()
def _add(v, to):
    for u in range(v.size):
        to[u] += v[u]


@inner()
def _clear(v):
    for u in range(v.size):
        v[u] = 0.0


@inner()
def _to_distances(squares, a, b, over_a, over_b):
    for u in range(squares.size):
        squares[u] = _apart(squares[u], a[u], b[u], over_a[u], over_b[u])


@inner()
def finish_alike(sums, norms, roots, a, b, same, unit, kept, to):
    """Find the distances of each lane where all maps count at the same locations.

    A map has then one norm for all pairs. The sums are cleared.
    """
    (first, of_a, maps), (second, of_b, others) = a, b
    root_a, root_b, over_a, over_b = roots
    if unit:
        _find_roots(norms[0], root_b, over_b)
        _repeat(root_b, maps, root_a)
        _repeat(over_b, maps, over_a)
        if not same:
            _find_roots(norms[1], root_b, over_b)
    at = 0
    to[:] = 0
    for g in range(0, maps, SIDE):
        for h in range(g if same else 0, others, SIDE):
            q = slice(h * LANES, h * LANES + _ROW)
            for i in range(g, min(g + SIDE, maps)):
                p, row = slice(i * _ROW, (i + 1) * _ROW), sums[at : at + _ROW]
                if unit:
                    _to_distances(row, root_a[p], root_b[q], over_a[p], over_b[q])
                else:
                    _root(row)
                for j in range(max(h, i + 1) if same else h, min(h + SIDE, others)):
                    if kept[first + of_a[i], second + of_b[j]]:
                        _add(row[(j - h) * LANES : (j - h + 1) * LANES], to)
                _clear(row)
                at += _ROW
            at += (g + SIDE - min(g + SIDE, maps)) * _ROW


@inner()
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
def _add_gap(x, moved, at, counts, gaps, norms, to):
    gap, norm = np.float64(x[at]) - moved[at], moved[at]
    gaps[to] += gap * gap if counts else 0.0
    norms[to] += norm * norm if counts else 0.0


@inner()
def add_gaps(x, moved, mask, sides, width, gaps, norms):
    """Add the squares of the gaps between the maps of a piece and the moved ones, and of these."""
    for k in range(width):
        for g in range(sides):
            w0, w1, w2, w3 = four(mask, U((k * sides + g) * SIDE))
            at, to = U((g * PIECE + k) * _ROW), U(g * _ROW)
            for lane in range(LANES):
                u, v = at + U(lane), to + U(lane)
                _add_gap(x, moved, u, w0, gaps, norms, v)
                _add_gap(x, moved, u + L1, w1, gaps, norms, v + L1)
                _add_gap(x, moved, u + L2, w2, gaps, norms, v + L2)
                _add_gap(x, moved, u + L3, w3, gaps, norms, v + L3)
