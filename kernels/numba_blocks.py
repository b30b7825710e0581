"""Blocks of units, the tasks of kernels that fold tiles unit by unit; and rows that come in parts.

A block belongs to one thread: the number of threads changes no bit.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tmeasures.kernels.compile import inner

# 16 columns of state of a block, and the sums of two rows, are 70 KB of the L2 cache, and each row
# of a tile is read in runs of 1 KB. 128 and 512 take 1.1 and 1.2 times as long.
BLOCK = 256
LEAST = 64


def block(x: Tensor) -> int:
    """Units of a block, so that all threads have as many blocks.

    Of 3136 units in blocks of 256, one of two threads would have 1792.
    """
    shares = torch.get_num_threads() * -(-x.shape[-1] // (BLOCK * torch.get_num_threads()))
    return max(LEAST, 8 * -(-x.shape[-1] // (8 * shares)))


def blocks(x: Tensor, size: int) -> int:
    """The number of blocks of a tile."""
    return x.shape[0] * -(-x.shape[-1] // size)


@inner()
def place(b, width, size):
    """Of a block its first axis, its units within that, and these among all."""
    across = (width + size - 1) // size
    o, lo = b // across, b % across * size
    hi = min(lo + size, width)
    return o, lo, hi, o * width + lo, o * width + hi


@inner()
def copy(x, to):
    """Copy units; assigning arrays takes 2.5 seconds to compile, for a message of errors."""
    for u in range(x.size):
        to[u] = x[u]


@inner()
def join(first, total, within, f, e, ee, seen, t):
    """Join t values (the first, sum and squares about it) to a row's ``seen`` earlier ones."""
    of_t = 1.0 / t
    if seen == 0:
        for u in range(first.size):
            first[u], total[u] = f[u], e[u]
            within[u] = ee[u] - e[u] * e[u] * of_t
        return
    of_seen, weight = 1.0 / seen, seen * t / (seen + t)
    for u in range(first.size):
        step = f[u] - first[u]
        gap = step + e[u] * of_t - total[u] * of_seen
        total[u] += step * t + e[u]
        within[u] += ee[u] - e[u] * e[u] * of_t + gap * gap * weight
