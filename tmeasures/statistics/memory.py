"""The memory order of a layer's output: what lets kernels read it without a copy."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class MemoryOrder:
    """How the units of a layer lie in memory: axes outside the batch axis, and axes inside it.

    Channels-last outputs have all unit axes inside, channels last; outputs with the batch in second
    place have one outside. Any other dense order is one of these; a tensor that is not dense is
    copied.

    Attributes:
        shape: The unit shape.
        outer: Unit axes that lie outside the batch, outermost first.
        inner: Unit axes that lie inside the batch, outermost first.
    """

    shape: tuple[int, ...]
    outer: tuple[int, ...]
    inner: tuple[int, ...]

    @classmethod
    def of(cls, values: Tensor) -> MemoryOrder:
        """The order of a tile ``(sample, transformation, *unit)``."""
        shape, strides = tuple(values.shape[2:]), values.stride()[2:]
        batch = min((values.stride(a) for a in (0, 1) if values.shape[a] > 1), default=0)
        axes = sorted(range(len(shape)), key=lambda a: -strides[a] if shape[a] > 1 else 0)
        outer = tuple(a for a in axes if shape[a] > 1 and 0 < batch < strides[a])
        order = cls(shape, outer, tuple(a for a in axes if a not in outer))
        if order._permute(values).is_contiguous():
            return order
        return cls(shape, (), tuple(range(len(shape))))

    def _permute(self, values: Tensor) -> Tensor:
        return values.permute(*(a + 2 for a in self.outer), 0, 1, *(a + 2 for a in self.inner))

    def tile(self, values: Tensor) -> Tensor:
        """A tile as ``(outer, s, t, inner)``, contiguous; half precision becomes float32."""
        if values.dtype in (torch.float16, torch.bfloat16):
            values = values.float()
        outer = prod(self.shape[a] for a in self.outer)
        inner = prod(self.shape[a] for a in self.inner)
        return self._permute(values).contiguous().view(outer, *values.shape[:2], inner)

    def units(self, flat: Tensor) -> Tensor:
        """Put ``(..., unit)`` in memory order back into the layer's shape ``(..., *unit)``."""
        axes = self.outer + self.inner
        lead = flat.shape[:-1]
        view = flat.reshape((*lead, *(self.shape[a] for a in axes)))
        back = [len(lead) + axes.index(a) for a in range(len(axes))]
        return view.permute((*range(len(lead)), *back))

    def flat(self, units: Tensor) -> Tensor:
        """The inverse of `units`."""
        lead = units.ndim - len(self.shape)
        axes = [lead + a for a in self.outer + self.inner]
        return units.permute((*range(lead), *axes)).reshape((*units.shape[:lead], -1))
