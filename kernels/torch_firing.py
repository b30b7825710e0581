"""Firing kernels in torch operations, for devices that numba does not serve.

A tile is widened to float64 a chunk of units at a time, as for the moments.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tmeasures.kernels.torch_moments import chunks

# The rows of a unit's totals.
ALL, SAMPLES, JOINT = range(3)


def keep_largest(x: Tensor, sign: int, kept: Tensor, smallest: Tensor) -> None:
    """See `tmeasures.kernels.Backend.keep_largest`."""
    k, inputs = len(kept), x.shape[1] * x.shape[2]
    for v, units in chunks(x):
        values = v.flatten(0, 1).mul_(sign)
        least, heap = smallest[units], kept[:, units]
        torch.minimum(least, values.amin(0).to(least.dtype), out=least)
        step = max(1, values.shape[1] * inputs // (inputs + k))  # what is sorted is a chunk too
        for lo in range(0, values.shape[1], step):
            at = slice(lo, lo + step)
            both = torch.cat([heap[:, at].to(values.dtype), values[:, at]])
            heap[:, at] = both.topk(k, 0).values.flip(0)


def _over(v: Tensor, sign: int, limit: Tensor) -> Tensor:
    return v > limit if sign > 0 else v < -limit


def firing(
    x: Tensor,
    reference: Tensor,
    at: int,
    same: Tensor,
    sign: int,
    limits: Tensor,
    totals: Tensor,
    open_counts: Tensor,
    open_fires: Tensor,
    seen: int,
    m: int,
) -> None:
    """See `tmeasures.kernels.Backend.firing`."""
    s, t = x.shape[1:3]
    untransformed = reference[:, :, at].transpose(0, 1).flatten(1)
    for v, units in chunks(x):
        first = untransformed[:, units]
        if at >= 0:
            totals[:, SAMPLES, units] += (first - first).sum(0)  # NaN where it is not finite
        for k, limit in enumerate(limits[:, units]):
            own = sign if k == 0 else -sign
            over = _over(v, own, limit)
            count = over.sum(1, dtype=torch.int32)
            totals[k, ALL, units] += count.sum(0)
            for j in same.tolist():
                count -= over[:, j].int()
            fires = _over(first, own, limit) if at >= 0 else torch.zeros_like(over[:, 0])
            if t < m:
                opened, fired = open_counts[:s, k, units], open_fires[:s, k, units]
                if seen:
                    count += opened
                    fires = fires | fired.bool()
                opened.copy_(count)
                fired.copy_(fires)
            if seen + t == m:
                totals[k, SAMPLES, units] += fires.sum(0)
                totals[k, JOINT, units] += (count * fires).sum(0)
