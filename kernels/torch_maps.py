"""Distances of feature maps in torch operations, for devices that numba does not serve; float64.

Without matrix products `torch.cdist` takes differences first, so equal maps are exactly at 0.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tmeasures.kernels import torch_moments

# Numbers of a map's size that are alive at once: two copies, and as much again for unit norms.
_ALIVE = 4


def divide_by_norms(maps: Tensor) -> Tensor:
    """Give maps ``(..., value)`` unit norm in place, and return which are zero: they stay so."""
    norms = torch.linalg.vector_norm(maps, dim=-1)
    zero: Tensor = norms == 0
    maps /= norms.masked_fill_(zero, 1).unsqueeze(-1)
    return zero


def _widen(maps: Tensor, metric: str, unit_norm: bool) -> Tensor:
    """Copies in float64; for the cosine zero maps are 1 in a component of their own.

    Half their squared distance from another zero map is then 0, from a map of unit norm 1.
    """
    maps = maps.to(torch.float64, copy=True)
    if metric == "cosine":
        zero = divide_by_norms(maps)
        return torch.cat([maps, zero.unsqueeze(-1)], -1)
    if unit_norm:
        divide_by_norms(maps)
    return maps


def _distances(a: Tensor, b: Tensor, metric: str) -> Tensor:
    """Those of each map ``(..., map, value)`` from each other, summed over maps."""
    p = 1.0 if metric == "manhattan" else 2.0
    found: Tensor = torch.cdist(a, b, p, compute_mode="donot_use_mm_for_euclid_dist")
    if metric == "cosine":
        found = found.square_() / 2
    return found.sum((-1, -2))


def _add_pairs(x: Tensor, metric: str, unit_norm: bool, into: Tensor) -> None:
    """Add the distances of all pairs along the third dim of ``(channel, other, map, value)``."""
    channels, others, maps, size = x.shape
    most = torch_moments.CHUNK_BYTES // 8
    of_one = maps * (_ALIVE * size + 2 * maps)
    wide = min(channels, max(1, most // (others * of_one)))
    deep = min(others, max(1, most // (wide * of_one)))
    long = max(1, most // (wide * deep * (_ALIVE * size + 2 * maps)))
    for lo in range(0, channels, wide):
        for at in range(0, others, deep):
            pieces = torch.split(x[lo : lo + wide, at : at + deep], long, 2)
            for i, piece in enumerate(pieces):
                a = _widen(piece, metric, unit_norm)
                found = _distances(a, a, metric) / 2
                for other in pieces[i + 1 :]:
                    found += _distances(a, _widen(other, metric, unit_norm), metric)
                into[lo : lo + wide] += found.sum(1)


def maps(
    x: Tensor, metric: str, unit_norm: bool, within_rows: Tensor, within_blocks: Tensor
) -> None:
    """See `tmeasures.kernels.Backend.maps`."""
    for of_row in within_rows:
        _add_pairs(x, metric, unit_norm, of_row)
    for of_block in within_blocks:
        _add_pairs(x.transpose(1, 2), metric, unit_norm, of_block)
