"""Maps side by side and moved, for the CPU: one index and one weight serve a vector of lanes.

A lane is a channel of one sample. The maps of `LANES` lanes are brought side by side, ``(map,
value, lane)``; a moved value is then a sum of whole vectors. Tables for reading (`pack`) follow the
order of writing: locations, fours of maps, the taps of each.
"""

from __future__ import annotations

import numpy as np

from tmeasures.kernels.compile import inner, serial
from tmeasures.kernels.numba_maps import _ROW, LANES, PIECE, SIDE, load_four, store_four
from tmeasures.kernels.numba_vectors import QUAD, WIDTH, copy, load, splat, store, turn

# Indices without a sign: numba checks the others for counting from the end.
U = np.uint64

# Values of a lane that are copied before those of the next lanes: a line of the cache.
LINE = 16


@inner()
def _bring_apart(x, starts, at, size, to, first, row):
    """Copy lanes of neighbours, four by four values: the last four again at the end."""
    for begin in range(0, size, LINE):
        for u in range(0, LANES, QUAD):
            a, b, c, d = starts[u], starts[u + 1], starts[u + 2], starts[u + 3]
            for k in range(begin, min(begin + LINE, size), QUAD):
                i = min(k, size - QUAD)
                j = at + i
                turn(x, (a + j, b + j, c + j, d + j), to, first + i * row + u, row)


@inner()
def bring(x, starts, used, beside, at, step, size, to, first, row):
    """Copy a map of each lane side by side, a vector every ``row``; lanes that are not used: 0.

    ``beside``: the lanes stand side by side in x too.
    """
    if beside:
        for k in range(size):
            for u in range(0, LANES, QUAD):
                copy(x, starts[0] + at + k * step + u, to, first + k * row + u)
    elif step == 1 and size >= QUAD:
        _bring_apart(x, starts, at, size, to, first, row)
    else:
        for k in range(size):
            for u in range(LANES):
                to[U(first + k * row + u)] = x[U(starts[u] + at + k * step)]
    for k in range(size if used < LANES else 0):
        for u in range(used, LANES):
            to[first + k * row + u] = 0


@inner()
def _value(x, offsets, weights, e, u, single):
    """Some lanes of a map at a location."""
    if single is not None:  # known by its type: the compiler drops the other branch
        return splat(weights[e]) * load(x, offsets[e] + u)
    f, g, h = e + U(1), e + U(2), e + U(3)
    low = splat(weights[e]) * load(x, offsets[e] + u) + splat(weights[f]) * load(x, offsets[f] + u)
    return low + (
        splat(weights[g]) * load(x, offsets[g] + u) + splat(weights[h]) * load(x, offsets[h] + u)
    )


@inner()
def _add_squares(v, to, at):
    """Add the squares of four maps to their norms."""
    a, b, c, d = load_four(to, at)
    store_four(to, at, (a + v[0] * v[0], b + v[1] * v[1], c + v[2] * v[2], d + v[3] * v[3]))


@inner()
def _move(x, offsets, weights, row, step, sides, width, single, to, sums, squares, norms):
    taps = U(4) if single is None else U(1)
    for k in range(width):
        for u in range(0, LANES, WIDTH):
            e, first, total, square = U((row + k) * step), splat(0.0), splat(0.0), splat(0.0)
            for g in range(sides):
                at = (g * PIECE + k) * _ROW + u
                a = _value(x, offsets, weights, e, u, single)
                b = _value(x, offsets, weights, e + taps, u, single)
                c = _value(x, offsets, weights, e + U(2) * taps, u, single)
                d = _value(x, offsets, weights, e + U(3) * taps, u, single)
                store_four(to, at, (a, b, c, d))
                _add_squares((a, b, c, d), norms, g * _ROW + u)
                if g == 0:
                    first = a
                a, b, c, d = a - first, b - first, c - first, d - first
                total = total + ((a + b) + (c + d))
                square = square + ((a * a + b * b) + (c * c + d * d))
                e += U(SIDE) * taps
            store(sums, k * LANES + u, total)
            store(squares, k * LANES + u, square)


@inner()
def move(brought, table, taps, row, maps, width, to, sums, squares, norms):
    """Write ``width`` locations from a row of the table on: ``(fours of maps, PIECE, map, lane)``.

    Of each location the sums and squares of its maps about the first one are found, and the squares
    of each map are added to its norm.
    """
    offsets, weights, members = table[:3]
    step, sides = members.shape[1] * taps, up(maps, SIDE) // SIDE
    if taps == 1:
        _move(brought, offsets, weights, row, step, sides, width, True, to, sums, squares, norms)
    else:
        _move(brought, offsets, weights, row, step, sides, width, None, to, sums, squares, norms)


@inner()
def up(n, by):
    """The next multiple."""
    return (n + by - 1) // by * by


@serial()
def pack(index, weight, order, bounds, members, apart):
    """Where the values of maps stand, ``apart`` from each other, and their weights, by patterns."""
    taps = index.shape[1]
    offsets = np.empty(order.size * members.shape[1] * taps, np.int64)
    weights, e = np.empty(offsets.size), 0
    for i in range(len(members)):
        for k in range(bounds[i], bounds[i + 1]):
            for j in members[i]:
                for tap in range(taps):
                    offsets[e] = (j * apart + index[j, tap, order[k]]) * LANES
                    weights[e] = weight[j, tap, order[k]]
                    e += 1
    return offsets, weights


@inner()
def find_lanes(channel, wide, row, used, strides, starts):
    """Where lanes begin: ``wide`` channels of one sample after another; the rest are the last."""
    for u in range(0, used, wide):
        for c in range(wide):
            starts[u + c] = (channel + c) * strides[0] + row * strides[1]
        row += 1
    for u in range(used, LANES):
        starts[u] = starts[used - 1]
