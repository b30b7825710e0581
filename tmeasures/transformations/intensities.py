"""Transformations that change intensities and move nothing, one class a kind."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from copy import copy
from math import ceil, inf
from typing import Self

import torch
from torch import Tensor

from tmeasures.errors import TransformationError
from tmeasures.hints import dtype_name, numbers
from tmeasures.transformations.base import Ids, Transformation, TransformationSet, draw_seed
from tmeasures.transformations.identities import Identity
from tmeasures.transformations.sampling import check_images

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the luma of Rec. ITU-R BT.601."""

CUT = 4
"""A blur's kernel ends at so many sigmas: what lies beyond is 6e-5 of its weight."""

SLACK = 1e-3
"""Values may lie so far outside the limits, in ranges: interpolation rounds."""


def check_floating(batch: Tensor, name: str) -> None:
    """Raise unless the values of a prepared batch are floating."""
    if not batch.is_floating_point():
        raise TransformationError(
            f"found dtype {dtype_name(batch.dtype)}, expected floating or uint8 values for "
            f"{name!r}: convert them by float()"
        )


class Photometric(Transformation):
    """A change of intensities that moves nothing: on feature maps it acts as the identity.

    Args:
        amount: How strong it is.
        limits: The least and the largest intensity.
        clip: Whether the result is clipped to them.
    """

    key: str
    unit: str = ""
    neutral: float = 0

    def __init__(self, amount: float, limits: tuple[float, float], clip: bool) -> None:
        super().__init__(f"{self.key} {amount:g}{self.unit}", {self.key: amount})
        self.is_identity = amount == self.neutral
        self._amount, self._range = amount, limits[1] - limits[0]
        self._limits = limits if clip else None

    def acting_on(
        self, shape: Sequence[int], dims: Sequence[str], item: Sequence[int]
    ) -> Transformation:
        """The identity: intensities change, places do not."""
        return Identity()

    def check(self, batch: Tensor) -> None:
        """Raise where it does not fit, or clipping would destroy the samples themselves."""
        check_floating(batch, self.name)
        self._fits(batch)
        if self.is_identity or self._limits is None:
            return
        low, high = self._limits
        least, most = (v.item() for v in batch.aminmax())
        if least < low - SLACK * self._range or most > high + SLACK * self._range:
            raise TransformationError(
                f"found values from {least:.3g} to {most:.3g}, expected them within "
                f"limits=({low:g}, {high:g}) of {self.name!r}: give the limits of your inputs, or "
                "clip=False"
            )

    def _apply(self, batch: Tensor, ids: Ids, seed: int) -> Tensor:
        check_floating(batch, self.name)
        self._fits(batch)
        if self.is_identity:
            return batch
        out = self._changed(batch, ids, seed)
        return out if self._limits is None else out.clamp_(*self._limits)

    def _fits(self, batch: Tensor) -> None:
        """Raise unless it can be applied to items of this shape."""

    @abstractmethod
    def _changed(self, batch: Tensor, ids: Ids, seed: int) -> Tensor:
        """The changed intensities, in memory of their own."""


class Brightness(Photometric):
    """Adds a share of the range."""

    key = "brightness"

    def __init__(self, amount: float, limits: tuple[float, float], clip: bool) -> None:
        super().__init__(amount, limits, clip)
        self.name = f"brightness {amount:+g}" if amount else "brightness 0"

    def _changed(self, batch: Tensor, ids: Ids, seed: int) -> Tensor:
        return batch + self._amount * self._range


class Contrast(Photometric):
    """Multiplies."""

    key = "contrast"
    neutral = 1

    def _changed(self, batch: Tensor, ids: Ids, seed: int) -> Tensor:
        return batch * self._amount


class Grayscale(Photometric):
    """Mixes with the luma."""

    key = "grayscale"

    def _fits(self, batch: Tensor) -> None:
        shape = tuple(batch.shape[1:])
        if len(shape) < 3 or shape[-3] != 3:
            raise TransformationError(
                f"found items of shape {shape}, expected red, green and blue, (..., 3, y, x): "
                "leave grayscale out for images without colours"
            )

    def _changed(self, batch: Tensor, ids: Ids, seed: int) -> Tensor:
        red, green, blue = (batch.select(-3, c) * weight for c, weight in enumerate(LUMA))
        luma = (red + green + blue).unsqueeze(-3)
        return (batch * (1 - self._amount)).add_(luma, alpha=self._amount)


class Blur(Photometric):
    """Sums of neighbours, along y and then along x."""

    key = "blur"
    unit = " px"

    def __init__(self, amount: float, limits: tuple[float, float], clip: bool) -> None:
        super().__init__(amount, limits, clip)
        self._radius = ceil(CUT * amount)
        if not self.is_identity:
            away = torch.arange(self._radius + 1, dtype=torch.float64) / amount
            half = torch.exp(-(away**2) / 2)
            self._half: list[float] = (half / (2 * half.sum() - 1)).tolist()

    def _fits(self, batch: Tensor) -> None:
        check_images(batch, 0.0)
        height, width = batch.shape[-2:]
        if self._radius >= min(height, width):
            raise TransformationError(
                f"found images of {height} x {width} pixels for {self.name!r}, which reads "
                f"{self._radius} pixels to each side, expected larger ones: give a sigma of at "
                f"most {(min(height, width) - 1) / CUT:g}"
            )

    def _changed(self, batch: Tensor, ids: Ids, seed: int) -> Tensor:
        return self._along(self._along(batch, -2), -1)

    def _along(self, batch: Tensor, axis: int) -> Tensor:
        # Not a convolution: on CPUs those of one channel take 4 to 25 times as long, and on GPUs
        # they round to 10 bits.
        length, radius = batch.shape[axis], self._radius
        at = torch.arange(-radius, length + radius, device=batch.device).abs()
        padded = batch.index_select(axis, length - 1 - (length - 1 - at).abs())
        out: Tensor = padded.narrow(axis, radius, length) * self._half[0]
        for away, weight in enumerate(self._half[1:], start=1):
            out.add_(padded.narrow(axis, radius - away, length), alpha=weight)
            out.add_(padded.narrow(axis, radius + away, length), alpha=weight)
        return out


class Noise(Photometric):
    """Adds normal draws; ``_key`` is its index in the set that it was made for."""

    key = "noise"
    _key = 0

    def at(self, index: int) -> Self:
        """The same, drawing as the element of this index does."""
        other = copy(self)
        other._key = index
        return other

    def _changed(self, batch: Tensor, ids: Ids, seed: int) -> Tensor:
        # Drawn on the CPU and in float32, so that all devices and dtypes get the same noise.
        noise = torch.empty(batch.shape, dtype=torch.float32)
        for row, sample_id in enumerate(ids.tolist()):
            generator = torch.Generator().manual_seed(draw_seed(seed, sample_id, self._key))
            noise[row].normal_(generator=generator)
        return noise.to(batch.device, batch.dtype).mul_(self._amount * self._range).add_(batch)


def photometric_set(
    name: str,
    kind: type[Photometric],
    what: str,
    amounts: Sequence[float],
    limits: tuple[float, float] = (0.0, 1.0),
    clip: bool = False,
    *,
    bounds: tuple[float, float] = (0, inf),
) -> TransformationSet:
    """A set of one kind, its amounts and limits checked.

    Args:
        name: Of the set, without its size.
        kind: Class of its elements.
        what: Name of the argument ``amounts``.
        amounts: One an element.
        limits: The least and the largest intensity.
        clip: Whether results are clipped to them.
        bounds: Of the amounts.
    """
    # A zero may have a sign, which names would show.
    values = [v + 0.0 for v in numbers(what, amounts, TransformationError)]
    ends = numbers("limits", limits, TransformationError)
    if len(ends) != 2 or not ends[0] < ends[1]:
        raise TransformationError(
            f"found limits={limits!r}, expected the least and the largest intensity: give a pair "
            "such as (0, 1)"
        )
    for value in values:
        if not bounds[0] <= value <= bounds[1]:
            upper = f"{bounds[0]:g} to {bounds[1]:g}"
            raise TransformationError(
                f"found {value:g} among the {what} of {name}, expected numbers "
                f"{'of at least 0' if bounds[1] == inf else 'from ' + upper}: give others"
            )
    elements = [kind(v, (ends[0], ends[1]), clip).at(i) for i, v in enumerate(values)]
    return TransformationSet(f"{name}({len(elements)})", elements)
