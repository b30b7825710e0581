"""Normalisation of inputs by the numbers that the command line gets."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tmeasures.errors import ArgumentError, warn


class Normalisation:
    """``(x - mean) / std`` of a batch ``(batch, channel, *space)``.

    Args:
        mean: One number, or one for each channel: ``"0.485,0.456,0.406"``. Of what the network
            gets, which for uint8 images are values from 0 to 1.
        std: Likewise, above 0.

    Raises:
        ArgumentError: They are no finite numbers, of unlike lengths, or a std is not positive.

    Example:
        >>> normalise = Normalisation("0.5", "0.25")
        >>> normalise(torch.tensor([[[0.0, 0.5, 1.0]]]))
        tensor([[[-2.,  0.,  2.]]])
        >>> normalise
        --mean 0.5 --std 0.25
    """

    def __init__(self, mean: str, std: str) -> None:
        self._warned = False
        self._given = f"--mean {mean} --std {std}"
        self._mean, self._std = _numbers(mean, "--mean"), _numbers(std, "--std")
        if min(self._std) <= 0:
            raise ArgumentError(f"--std {std!r} is not positive; give numbers above 0")
        if 1 != len(self._mean) != len(self._std) != 1:
            raise ArgumentError(
                f"--mean has {len(self._mean)} numbers and --std {len(self._std)}; give as many of "
                "each, one or one for each channel"
            )

    def __call__(self, batch: Tensor) -> Tensor:
        """The normalised batch.

        Raises:
            ArgumentError: It has another number of channels.

        Warns:
            TMeasuresWarning: Once, if the means are those of pixels up to 255 and the inputs go
                up to 1.
        """
        channels = max(len(self._mean), len(self._std))
        if channels > 1 and (batch.ndim < 2 or batch.shape[1] != channels):
            raise ArgumentError(
                f"{self._given} are for {channels} channels, and inputs have shape "
                f"{tuple(batch.shape[1:])}; give one number, or one for each channel"
            )
        if max(self._mean) > 1 and not self._warned and batch.amax() <= 1:
            self._warned = True
            warn(
                f"{self._given} have a mean above 1, and the inputs go up to 1, as uint8 images do "
                "after a division by 255; divide mean and std by 255 too"
            )
        axes = (-1, *[1] * (batch.ndim - 2))
        dtype = batch.dtype if batch.is_floating_point() else torch.float32
        mean, std = (
            torch.tensor(numbers, dtype=dtype, device=batch.device).reshape(axes)
            for numbers in (self._mean, self._std)
        )
        return (batch - mean) / std

    def __repr__(self) -> str:
        """The options that gave it."""
        return self._given


def _numbers(text: str, what: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = [math.nan]
    if not all(map(math.isfinite, numbers)):
        raise ArgumentError(
            f"{what} {text!r} is not one or more finite numbers; give one, or one for each "
            "channel with commas between, such as 0.485,0.456,0.406"
        )
    return numbers
