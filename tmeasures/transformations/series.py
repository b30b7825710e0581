"""Transformations of series ``(channel, time)``: shifts, stretches, gains, noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from torch import Tensor

from tmeasures.errors import TransformationError
from tmeasures.hints import numbers
from tmeasures.transformations.affine import AffineSet, AffineTransformation
from tmeasures.transformations.base import Ids, Transformation, TransformationSet
from tmeasures.transformations.intensities import (
    Contrast,
    Noise,
    check_floating,
    photometric_set,
)
from tmeasures.transformations.sampling import Fill, FillArgument


class SeriesTransformation(AffineTransformation):
    """An affine transformation of the last axis: that of images of one row, ``(1, time)``.

    Its matrix, inverse, fill and mask are those of such images, so that ``valid((1, time))`` is the
    mask of a series.
    """

    acts_on = ("channel", "time")

    def _apply(self, batch: Tensor, ids: Ids, seed: int) -> Tensor:
        _check(batch, self.fill, self.name)
        return super()._apply(batch.unsqueeze(-2), ids, seed).squeeze(-2)


class SeriesSet(AffineSet):
    """A set of `SeriesTransformation` with one fill; a tile and a product are one interpolation."""

    def _apply(self, batch: Tensor, indices: range, ids: Ids, seed: int) -> Tensor:
        _check(batch, self.fill, self.name)
        return super()._apply(batch.unsqueeze(-2), indices, ids, seed).squeeze(-2)

    def kept_bytes(self, batch: Tensor) -> int:
        """See `tmeasures.TransformationSet.kept_bytes`."""
        return super().kept_bytes(batch.unsqueeze(-2))

    def _subset(self, name: str, elements: Sequence[Transformation]) -> TransformationSet:
        return SeriesSet(name, elements)

    def __mul__(self, other: TransformationSet) -> TransformationSet:
        """One matrix a pair where both are series of one fill."""
        if not isinstance(other, SeriesSet) or other.fill != self.fill:
            return TransformationSet.__mul__(self, other)
        products = [
            SeriesTransformation(
                t.matrix,
                t.fill,
                name=t.name,
                parameters=t.parameters,
                inverse_parameters=t._inverse_parameters,
            )
            for t in cast(AffineSet, super().__mul__(other))._elements
        ]
        return SeriesSet(f"{self.name} * {other.name}", products)


def _check(series: Tensor, fill: Fill, name: str) -> None:
    """Raise unless these are ``(sample, ..., time)`` that the fill fits."""
    check_floating(series, name)
    shape = tuple(series.shape[1:])
    if not shape:
        raise TransformationError(
            f"found single numbers as items for {name!r}, expected series (channel, time): give "
            "samples with an axis of time"
        )
    if isinstance(fill, tuple) and (len(shape) < 2 or shape[-2] != len(fill)):
        raise TransformationError(
            f"found items of shape {shape} and a fill for {len(fill)} channels, expected "
            f"(..., {len(fill)}, time): give one number, or one for each channel"
        )


def time_shifts(offsets: Sequence[float], *, fill: FillArgument = 0) -> AffineSet:
    r"""Shifts in time of series ``(..., channel, time)``: the content comes so many steps later.

    $y(t) = x(t - d)$, linear between steps. Whole shifts copy values, bit for bit. Inverse: $-d$;
    what left the frame does not come back. On layers ``(channel, time)`` it is the same shift in
    their own steps: 4 is 2 on a layer of half the length.

    Args:
        offsets: $d$ in steps of time, of any sign.
        fill: Before and after the series: a number, one a channel, ``"edge"`` (the first and the
            last value) or ``"wrap"`` (the series repeats).

    Raises:
        TransformationError: No offsets, one that is not finite, an unknown fill; on a batch, values
            that are not floating or uint8, or not as many channels as the fill.

    Example:
        >>> import torch
        >>> time_shifts([-1, 0, 1])
        <time_shifts(3): 3 transformations; shift -1 to 1; identity 1; fill 0.0>
        >>> series = torch.tensor([[[1.0, 2, 3, 4]]])
        >>> time_shifts([1, -0.5], fill="edge").apply(series)[0, :, 0]
        tensor([[1.0000, 1.0000, 2.0000, 3.0000],
                [1.5000, 2.5000, 3.5000, 4.0000]])
    """
    values = numbers("offsets", offsets, TransformationError)
    return SeriesSet(
        f"time_shifts({len(values)})",
        [
            SeriesTransformation(
                np.array([[1, 0, 0], [0, 1, d], [0, 0, 1]]),
                fill,
                name=f"shift {d:g}",
                parameters={"shift": d},
                inverse_parameters={"shift": 0 - d},
            )
            for d in values
        ],
    )


def time_stretches(factors: Sequence[float], *, fill: FillArgument = 0) -> AffineSet:
    r"""Stretches in time of series ``(..., channel, time)`` about the middle of the frame.

    $y(t) = x(c + (t - c) / s)$ with $c = (T - 1) / 2$, linear between steps: a factor multiplies
    the duration of the content. $s = 2$ shows the middle half at half the speed, $s = 1/2$ all of
    it at twice the speed, in the fill. No smoothing goes before the reading. Inverse: the factor
    $1 / s$. On layers ``(channel, time)`` it is the same factor about their own middle.

    Args:
        factors: $s$, positive.
        fill: Before and after the series: a number, one a channel, ``"edge"`` (the first and the
            last value) or ``"wrap"`` (the series repeats).

    Raises:
        TransformationError: No factors, one that is not positive or finite, an unknown fill; on a
            batch, values that are not floating or uint8, or not as many channels as the fill.

    Example:
        >>> import torch
        >>> time_stretches([0.5, 1, 2])
        <time_stretches(3): 3 transformations; stretch 0.5 to 2; identity 1; fill 0.0>
        >>> series = torch.tensor([[[0.0, 1, 2, 3, 4]]])
        >>> time_stretches([0.5, 2]).apply(series)[0, :, 0]
        tensor([[0.0000, 0.0000, 2.0000, 4.0000, 0.0000],
                [1.0000, 1.5000, 2.0000, 2.5000, 3.0000]])
    """
    values = numbers("factors", factors, TransformationError)
    if min(values) <= 0:
        raise TransformationError(
            f"found the factor {min(values):g}, expected positive ones: use "
            "tm.transformations([lambda x: x.flip(-1)]) to turn time round"
        )
    return SeriesSet(
        f"time_stretches({len(values)})",
        [
            SeriesTransformation(
                np.diag([1.0, s, 1.0]),
                fill,
                name=f"stretch {s:g}",
                parameters={"stretch": s},
                inverse_parameters={"stretch": 1 / s},
            )
            for s in values
        ],
    )


class Gain(Contrast):
    """Multiplies."""

    key = "gain"


def gains(factors: Sequence[float]) -> TransformationSet:
    r"""Louder and softer series: $v x$, not clipped.

    Series of any shape. On layers' outputs it acts as the identity: the intensity changes, nothing
    moves. It has no inverse as an operation on inputs. The factor 1 returns the series bit for bit.

    Args:
        factors: $v$, at least 0.

    Raises:
        TransformationError: No factors, one that is negative or not finite; on a batch, values that
            are not floating or uint8.

    Example:
        >>> import torch
        >>> gains([0.5, 1, 2])
        <gains(3): 3 transformations; gain 0.5 to 2; identity 1>
        >>> gains([0.5, 2]).apply(torch.tensor([[[-1.0, 3.0]]]))[0, :, 0]
        tensor([[-0.5000,  1.5000],
                [-2.0000,  6.0000]])
    """
    return photometric_set("gains", Gain, "factors", factors)


def signal_noise(sds: Sequence[float]) -> TransformationSet:
    r"""Noisy series: $x + \sigma z$, with $z$ normal, independent for each value; not clipped.

    `tmeasures.gaussian_noise` in the signal's own units: $z$ is drawn by (seed, sample id,
    transformation). On layers' outputs it acts as the identity. Inverse: none. The standard
    deviation 0 returns the series bit for bit.

    Args:
        sds: $\sigma$, standard deviations in the units of the signal, at least 0.

    Raises:
        TransformationError: No standard deviations, one that is negative or not finite; on a batch,
            values that are not floating or uint8.

    Example:
        >>> import torch
        >>> signal_noise([0, 3.0])
        <signal_noise(2): 2 transformations; noise 0 to 3; identity 0>
        >>> signal_noise([0, 3.0]).apply(torch.zeros(8, 2, 500)).std((0, 2, 3)).round(decimals=1)
        tensor([0., 3.])
    """
    return photometric_set("signal_noise", Noise, "sds", sds)
