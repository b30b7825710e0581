"""Maps side by side and moved, for the CPU: one index and one weight serve a vector of lanes.

A lane is a channel of one sample. The maps of `LANES` lanes are brought side by side, ``(map,
value, lane)``; a moved value is then a sum of whole vectors. Tables for reading (`pack`) follow the
order of writing: locations, fours of maps, the taps of each.
"""

from __future__ import annotations

import numpy as np

from tmeasures.kernels.compile import inner, serial
from tmeasures.kernels.numba_maps import LANES, PIECE, SIDE, STEPS

# Indices without a sign: numba checks the others for counting from the end, and a slice in their
# place takes as long as the work on it. Loops over lanes have four vectors in their body, or LLVM
# would unroll them first.
U = np.uint64
L1, L2, L3, ROW = U(LANES), U(2 * LANES), U(3 * LANES), U(SIDE * LANES)


@inner()
def four(v, at):
    """Neighbours in a table."""
    return v[at], v[at + U(1)], v[at + U(2)], v[at + U(3)]


@inner()
def rows(v, at):
    """One lane of four maps or values."""
    return v[at], v[at + L1], v[at + L2], v[at + L3]


@inner()
def _bring_apart(x, starts, at, step, size, to, first, row):
    """Copy values of lanes that stand anywhere, four at a time: the last four again at the end."""
    for k in range(0, size, STEPS):
        i = min(k, size - STEPS)
        a, r = U(first + i * row), U(row)
        b, c, d = a + r, a + r + r, a + r + r + r
        for lane in range(LANES):
            u, v, w = U(lane), starts[lane] + U(at + i * step), U(step)
            to[a + u] = x[v]
            to[b + u] = x[v + w]
            to[c + u] = x[v + w + w]
            to[d + u] = x[v + w + w + w]


@inner()
def _bring_beside(x, start, at, step, size, to, first, row):
    """Copy values of lanes that stand side by side."""
    for k in range(0, size, STEPS):
        i = min(k, size - STEPS)
        a, r = U(first + i * row), U(row)
        b, c, d = a + r, a + r + r, a + r + r + r
        v, w = start + U(at + i * step), U(step)
        for lane in range(LANES):
            u = U(lane)
            to[a + u] = x[v + u]
            to[b + u] = x[v + w + u]
            to[c + u] = x[v + w + w + u]
            to[d + u] = x[v + w + w + w + u]


@inner()
def bring(x, starts, used, beside, at, step, size, to, first, row):
    """Copy a map of each lane side by side, a vector every ``row``; lanes that are not used: 0.

    ``beside``: the lanes stand side by side in x too.
    """
    if size < STEPS:
        for k in range(size):
            for u in range(LANES):
                to[first + k * row + u] = x[starts[u] + U(at + k * step)]
    elif beside:
        _bring_beside(x, starts[0], at, step, size, to, first, row)
    else:
        _bring_apart(x, starts, at, step, size, to, first, row)
    for k in range(size if used < LANES else 0):
        for u in range(used, LANES):
            to[first + k * row + u] = 0


@inner()
def _scaled(x, i, w, u):
    return w * np.float64(x[i + u])


@inner()
def _mixed(x, i, w, u):
    low = _scaled(x, i[0], w[0], u) + _scaled(x, i[1], w[1], u)
    return low + (_scaled(x, i[2], w[2], u) + _scaled(x, i[3], w[3], u))


@inner()
def _copy(x, offsets, weights, e, step, sides, width, deep, to):
    """Write values of fours of maps, each from one tap; two locations at a time."""
    for k in range(0, width, 2):
        at = U(k) * ROW
        for _ in range(sides):
            (i0, i1, i2, i3), (w0, w1, w2, w3) = four(offsets, e), four(weights, e)
            (j0, j1, j2, j3), (v0, v1, v2, v3) = four(offsets, e + step), four(weights, e + step)
            for lane in range(LANES):
                u = U(lane)
                a, b = at + u, at + u + ROW
                to[a], to[a + L1] = _scaled(x, i0, w0, u), _scaled(x, i1, w1, u)
                to[a + L2], to[a + L3] = _scaled(x, i2, w2, u), _scaled(x, i3, w3, u)
                to[b], to[b + L1] = _scaled(x, j0, v0, u), _scaled(x, j1, v1, u)
                to[b + L2], to[b + L3] = _scaled(x, j2, v2, u), _scaled(x, j3, v3, u)
            e += U(SIDE)
            at += deep
        e += step + step - U(sides * SIDE)


@inner()
def _mix(x, offsets, weights, e, step, sides, width, deep, to):
    """Write values of fours of maps, each from four taps."""
    for row in range(width):
        at = U(row) * ROW
        for _ in range(sides):
            f, g, h = e + U(4), e + U(8), e + U(12)
            i, a, j, b = four(offsets, e), four(weights, e), four(offsets, f), four(weights, f)
            k, c, m, d = four(offsets, g), four(weights, g), four(offsets, h), four(weights, h)
            for lane in range(LANES):
                u = U(lane)
                to[at + u], to[at + u + L1] = _mixed(x, i, a, u), _mixed(x, j, b, u)
                to[at + u + L2], to[at + u + L3] = _mixed(x, k, c, u), _mixed(x, m, d, u)
            e += U(4 * SIDE)
            at += deep
        e += step - U(sides * 4 * SIDE)


@inner()
def move(brought, table, taps, row, maps, width, to):
    """Write ``width`` locations from a row of the table on, a multiple of `STEPS`.

    ``to``: ``(fours of maps, PIECE, map, lane)``.
    """
    offsets, weights, members = table[:3]
    step = members.shape[1] * taps
    e, step, sides, deep = U(row * step), U(step), up(maps, SIDE) // SIDE, U(PIECE) * ROW
    if taps == 1:
        _copy(brought, offsets, weights, e, step, sides, width, deep, to)
    else:
        _mix(brought, offsets, weights, e, step, sides, width, deep, to)


@inner()
def up(n, by):
    """The next multiple."""
    return (n + by - 1) // by * by


@serial()
def pack(index, weight, order, bounds, members, apart):
    """Where the values of maps stand, ``apart`` from each other, and their weights, by patterns.

    Fours of locations are filled up with the pattern's last one, at weights of zero.
    """
    taps, fours = index.shape[1], 0
    for i in range(len(members)):
        fours += up(bounds[i + 1] - bounds[i], STEPS)
    offsets = np.empty(fours * members.shape[1] * taps, np.uint64)
    weights, e = np.empty(offsets.size), 0
    for i in range(len(members)):
        for k in range(bounds[i], bounds[i] + up(bounds[i + 1] - bounds[i], STEPS)):
            at = order[min(k, bounds[i + 1] - 1)]
            for j in range(members.shape[1]):
                for tap in range(taps):
                    offsets[e] = (members[i, j] * apart + index[members[i, j], tap, at]) * LANES
                    weights[e] = weight[members[i, j], tap, at] if k < bounds[i + 1] else 0.0
                    e += 1
    return offsets, weights


@inner()
def find_lanes(channel, wide, row, used, strides, starts):
    """Where lanes begin: ``wide`` channels of one sample after another; the rest are the last."""
    for u in range(LANES):
        v = min(u, used - 1)
        starts[u] = (channel + v % wide) * strides[0] + (row + v // wide) * strides[1]
