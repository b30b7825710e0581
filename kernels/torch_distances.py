"""Distance kernels in torch operations, for devices that numba does not serve; float64 arithmetic.

The formula is that of the numba kernels; a tile is widened and sorted a chunk of units at a time.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tmeasures.kernels.torch_moments import chunks


def _pairs(v: Tensor, dim: int) -> Tensor:
    """Distances of all pairs along dim (0 or 1) of ``(s, t, unit)``, summed over the other."""
    c = v.shape[dim]
    ordered = v.sort(dim).values
    gaps = ordered.narrow(dim, c - c // 2, c // 2).flip(dim)  # a copy, the largest value first
    gaps -= ordered.narrow(dim, 0, c // 2)
    weights = torch.arange(c - 1, 0, -2, dtype=v.dtype, device=v.device)
    gaps *= weights.view((-1, 1, 1) if dim == 0 else (-1, 1))
    return gaps.sum((0, 1))


def distances(x: Tensor, block: int, within_rows: Tensor, within_blocks: Tensor) -> None:
    """See `tmeasures.kernels.Backend.distances`."""
    for v, at in chunks(x):
        for g, rows in enumerate(torch.split(v, block)):
            if len(within_rows):
                within_rows[g, at] += _pairs(rows, 1)
            if len(within_blocks):
                within_blocks[g, at] += _pairs(rows, 0)
