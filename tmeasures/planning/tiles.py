"""The shape of a tile: how many samples by how many transformations."""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt

from tmeasures.statistics import Kind, Order
from tmeasures.statistics.distances import DistancesKind

# The least samples in a tile when m is beyond it: column state is touched once per tile.
ROWS = 8
# The most transformations in a tile: a row of a tile is summed about its first value, which may be
# an outlier; with 64 columns that costs 64**2 roundings at most, 2e-13.
_COLUMNS = 64


def tile_shape(batch: int, n: int | None, m: int) -> tuple[int, int]:
    """Samples and transformations of a tile of at most ``batch`` inputs.

    Whole rows where 8 of them fit or m is small; else 8 samples or more, by one to four times as
    many transformations: a tile reads and writes the state of its columns, 20 bytes for each unit,
    and that of its rows, 48 bytes. A last tile of a single input is avoided where that is possible:
    torch takes other paths for it.

    >>> tile_shape(256, 1000, 16), tile_shape(256, 1000, 4224), tile_shape(256, 2, 4224)
    ((16, 16), (8, 32), (2, 64))
    """
    most = batch if n is None else min(batch, n)
    root = max(1, isqrt(batch))
    t = m
    if m * min(ROWS, most) > batch and m > min(2 * root, batch):
        t = max(root, min(_power_of_two(2 * root), batch // ROWS))
    t = min(t, _COLUMNS)
    s = max(1, min(most, batch // t))
    t = min(m, batch // s, _COLUMNS)
    while n is not None and s > 2 and min(t, m % t or t) == 1 and n % s == 1:
        s, t = (s, t - 1) if s == ROWS and t > 2 else (s - 1, t)
    return s, t


def walk_shape(
    kinds: Sequence[Kind], order: Order, batch: int, n: int | None, m: int
) -> tuple[int, int]:
    """A tile of at most ``batch`` inputs for such statistics, whole blocks and rows if they fit."""
    found = tile_shape(batch, n, m)
    rows = any(kind.closes_rows for kind in kinds)
    distances = [kind for kind in kinds if isinstance(kind, DistancesKind)]
    if not (rows or distances):
        return found
    # Distances alone may have any number of columns in a tile.
    most = _COLUMNS if len(distances) < len(kinds) else m
    blocks = [kind.block_rows(n) for kind in distances if kind.blocks]
    if not any(blocks):
        if m > most and {"moments", "columns"} & {kind.name for kind in kinds}:
            return found
        t = min(m, most, batch)
        return min(batch // t, n or batch), t
    block = max(filter(None, blocks))
    t = min(m, most, batch // block)
    if t == m or (t > 0 and not rows):
        return min(block * (batch // (block * t)), n or batch), t
    if order == "transformation":  # holds blocks of as few columns as can be
        found = min(batch, n or batch), 1
    s, t = found
    fitting = _largest_divisor(block, s)
    # Others hold a tile more than a block; single samples would be slow.
    return (fitting if block < (n or block + 1) and 2 * fitting > s else s), t


def _power_of_two(most: int) -> int:
    """The largest power of two up to most."""
    return 1 << (most.bit_length() - 1)


def _largest_divisor(count: int, most: int) -> int:
    """The largest divisor of count up to most."""
    return next(d for d in range(min(count, most), 0, -1) if count % d == 0)
