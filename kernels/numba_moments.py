"""Moment kernels for the CPU: parallel over blocks of units, float64 arithmetic, one read.

Each row is summed about its first value ``r``:

    sum (v - mean)^2 = sum (v - r)^2 - (sum (v - r))^2 / t

Little is lost to cancellation: ``r`` is itself a term, so ``t (mean - r)^2`` is at most ``t`` times
the left side and the subtraction costs at most a factor ``1 + t`` over 2**-53; and equal values
give exactly 0. A block of units belongs to one thread: the number of threads changes no bit.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from tmeasures.kernels.compile import inner
from tmeasures.kernels.numba_blocks import BLOCK, block, blocks, join, place
from tmeasures.kernels.numba_vectors import WIDTH, fetch, larger, load, splat, store
from tmeasures.kernels.tasks import DONE, Kernel, call

# The rows of a block's scratch: sum and squares about the row's first value, for x (E, EE) and for
# the differences from the shift (G, GG); and those first values. A second row's follow.
E, EE, G, GG, FIRST, FIRST_D, NEXT = (k * BLOCK for k in range(7))
# The rows of a block's totals over the rows of a tile.
SQUARES, ROWS, PAIRED = E, EE, G
# Values of a line of the cache, which are asked for at once.
LINE = 16


@inner()
def _largest(a, b, c, d):
    return larger(larger(abs(a), abs(b)), larger(abs(c), abs(d)))


@inner()
def _start(v, k, acc, u):
    for at in range(E, FIRST, BLOCK):
        store(acc, at + u, splat(0.0))
    store(acc, FIRST + u, v)
    store(acc, FIRST_D + u, v - k)


@inner()
def _add(acc, at, v):
    store(acc, at, load(acc, at) + v)


@inner()
def _add_to_row(v, d, acc, u):
    """Add four values, and their differences from the shift, to the sums of a row."""
    r = load(acc, FIRST + u)
    a, b, c, e = v[0] - r, v[1] - r, v[2] - r, v[3] - r
    _add(acc, E + u, (a + b) + (c + e))
    _add(acc, EE + u, (a * a + b * b) + (c * c + e * e))
    r = load(acc, FIRST_D + u)
    a, b, c, e = d[0] - r, d[1] - r, d[2] - r, d[3] - r
    _add(acc, G + u, (a + b) + (c + e))
    _add(acc, GG + u, (a * a + b * b) + (c * c + e * e))


@inner()
def _four(v, at, places):
    return (
        load(v, at + places[0]), load(v, at + places[1]), load(v, at + places[2]),
        load(v, at + places[3]),
    )  # fmt: skip


@inner()
def _add_to_columns(sums, at, places, counts, d, e, second):
    # Columns one after the other: those that stand in for others stand at the place of the first.
    _add(sums, at + places[0], d[0] + second * e[0])
    _add(sums, at + places[1], counts[0] * (d[1] + second * e[1]))
    _add(sums, at + places[2], counts[1] * (d[2] + second * e[2]))
    _add(sums, at + places[3], counts[2] * (d[3] + second * e[3]))


@inner()
def _minus(a, b):
    return a[0] - b[0], a[1] - b[1], a[2] - b[2], a[3] - b[3]


@inner()
def _fold_rows(x, row, other, step, shift, sums, at, units, t, begin, width, acc, big):
    """Fold two rows of a tile into the sums of columns and of these rows, four columns at a time.

    A row or a column that is not there is stood in for by the first one, and does not count.
    """
    second = splat(np.float64(row != other))
    for u in range(0, width, WIDTH):
        k, to = load(shift, at + u), begin + u
        _start(load(x, row + u), k, acc, to)
        _start(load(x, other + u), k, acc, NEXT + to)
    for j in range(0, t, 4):
        a, b, c = np.float64(j + 1 < t), np.float64(j + 2 < t), np.float64(j + 3 < t)
        counts = splat(a), splat(b), splat(c)
        columns = j, j + 1 if j + 1 < t else 0, j + 2 if j + 2 < t else 0, j + 3 if j + 3 < t else 0
        of_x = columns[0] * step, columns[1] * step, columns[2] * step, columns[3] * step
        of_k = columns[0] * units, columns[1] * units, columns[2] * units, columns[3] * units
        for u in range(0, width, WIDTH):
            if u % LINE == 0:  # of large maps, which come from memory, 0.86 of the time
                for n in range(4):
                    fetch(x, row + u + of_x[n] + 4 * step)
                    fetch(x, other + u + of_x[n] + 4 * step)
            k = _four(shift, at + u, of_k)
            v = _four(x, row + u, of_x)
            most, d = _largest(*v), _minus(v, k)
            _add_to_row(v, d, acc, begin + u)
            v = _four(x, other + u, of_x)
            e = _minus(v, k)
            store(big, begin + u, larger(larger(most, _largest(*v)), load(big, begin + u)))
            _add_to_row(v, e, acc, NEXT + begin + u)
            _add_to_columns(sums, at + u, of_k, counts, d, e, second)


@inner()
def _fold_last(x, row, other, step, shift, sums, at, units, t, begin, width, aside, acc, big):
    """Fold the last units of a block, which are no whole vector: taken aside, and zeros beside."""
    values, shifts, totals = aside
    for j in range(t):
        for u in range(width):
            values[j * WIDTH + u] = x[row + j * step + u]
            values[(t + j) * WIDTH + u] = x[other + j * step + u]
            shifts[j * WIDTH + u] = shift[at + j * units + u]
            totals[j * WIDTH + u] = sums[at + j * units + u]
    second = t * WIDTH if other != row else 0
    _fold_rows(values, 0, second, WIDTH, shifts, totals, 0, WIDTH, t, begin, WIDTH, acc, big)
    for j in range(t):
        for u in range(width):
            sums[at + j * units + u] = totals[j * WIDTH + u]


@inner()
def _add_squares(acc, at, t, closes, totals, width):
    """Add the squares of a row about the shift; where it closes, those about its means too."""
    of_t, over_t, two = splat(np.float64(t)), splat(1.0 / t), splat(2.0)
    for u in range(0, width, WIDTH):
        to = at + u
        d, g, gg = load(acc, to + FIRST_D), load(acc, to + G), load(acc, to + GG)
        _add(totals, SQUARES + u, gg + two * d * g + of_t * d * d)
        if closes:
            e, ee = load(acc, to + E), load(acc, to + EE)
            _add(totals, ROWS + u, ee - e * e * over_t)
            _add(totals, PAIRED + u, gg - g * g * over_t)


@inner()
def _keep_row(acc, at, t, totals, row, a, z, seen, last):
    """Join the sums of a row to those of earlier tiles, of x and of the differences."""
    for k, first, e, ee, to in ((0, FIRST, E, EE, ROWS), (3, FIRST_D, G, GG, PAIRED)):
        of_row, within = acc[at:], row[k + 2, a:z]
        of_e, of_ee = of_row[e:], of_row[ee:]
        join(row[k, a:z], row[k + 1, a:z], within, of_row[first:], of_e, of_ee, seen, t)
        if last:
            for u in range(z - a):
                totals[to + u] += within[u]


@inner()
def _aside(x, t):
    """Room for the last units of two rows, and for their shifts and sums."""
    return np.zeros(2 * t * WIDTH, x.dtype), np.zeros(t * WIDTH, x.dtype), np.zeros(t * WIDTH)


@Kernel
def _fused(b, x, shift, sums, squares, paired, rows, largest, open_rows, seen, m, size):
    _, s, t, width = x.shape
    units = shift.shape[1]
    of_x, of_k, of_c = x.reshape(-1), shift.reshape(-1), sums.reshape(-1)
    o, lo, hi, a, z = place(b, width, size)
    acc, totals, big = np.empty(2 * NEXT), np.zeros(3 * BLOCK), np.zeros(BLOCK)
    whole = (hi - lo) // WIDTH * WIDTH
    aside = _aside(x, t if whole < hi - lo else 0)
    for first in range(0, s, 2):
        row = ((o * s + first) * t) * width + lo
        other = row + t * width if first + 1 < s else row
        _fold_rows(of_x, row, other, width, of_k, of_c, a, units, t, 0, whole, acc, big)
        if whole < hi - lo:
            _fold_last(
                of_x, row + whole, other + whole, width, of_k, of_c, a + whole, units, t, whole,
                hi - lo - whole, aside, acc, big,
            )  # fmt: skip
        for i in range(first, min(first + 2, s)):
            at = (i - first) * NEXT
            _add_squares(acc, at, t, t == m, totals, hi - lo)
            if t < m:
                _keep_row(acc, at, t, totals, open_rows[i], a, z, seen, seen + t == m)
    for u in range(hi - lo):
        squares[a + u] += totals[SQUARES + u]
        rows[a + u] += totals[ROWS + u]
        paired[a + u] += totals[PAIRED + u]
        largest[a + u] = max(largest[a + u], big[u])
    return DONE


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
    size = block(x)
    call(
        _fused, blocks(x, size), x, shift, sums, squares, paired, rows, largest, open_rows, seen, m,
        size,
    )  # fmt: skip
