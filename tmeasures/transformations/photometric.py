"""Sets that change intensities: brightness, contrast, grayscale, Gaussian blur, Gaussian noise."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from tmeasures.transformations.base import TransformationSet
from tmeasures.transformations.intensities import (
    Blur,
    Brightness,
    Contrast,
    Grayscale,
    Noise,
    photometric_set,
)


def brightness(
    amounts: Sequence[float], *, limits: tuple[float, float] = (0.0, 1.0), clip: bool = True
) -> TransformationSet:
    r"""Lighter and darker inputs: $x + v r$, with $r$ the range of intensities.

    Inputs of any shape. Inverse: none, as clipping loses what lies outside the limits. On feature
    maps it acts as the identity. The amount 0 returns the inputs bit for bit.

    Args:
        amounts: $v$, in ranges: 0.2 adds a fifth of the range, -0.2 takes it away.
        limits: The least and the largest intensity of the inputs; $r$ is their difference.
        clip: Whether the result is clipped to the limits; inputs outside are then an error.

    Raises:
        TransformationError: No amounts, one that is not finite, limits that are not in order; on
            a batch, values that are not floating or uint8, or lie outside the limits.

    Source:
        Bunne et al., "Studying Invariances of Trained Convolutional Neural Networks".

    Example:
        >>> import torch
        >>> brightness([-0.2, 0, 0.2])
        <brightness(3): 3 transformations; brightness -0.2 to 0.2; identity 1>
        >>> brightness([-0.25, 0.25]).apply(torch.tensor([[0.0, 0.5, 1.0]]))
        tensor([[[0.0000, 0.2500, 0.7500],
                 [0.2500, 0.7500, 1.0000]]])
        >>> brightness([0.25], limits=(-1, 1)).apply(torch.tensor([[-1.0, 0.0, 1.0]]))
        tensor([[[-0.5000,  0.5000,  1.0000]]])
    """
    return photometric_set(
        "brightness", Brightness, "amounts", amounts, limits, clip, bounds=(-inf, inf)
    )


def contrast(
    factors: Sequence[float], *, limits: tuple[float, float] = (0.0, 1.0), clip: bool = True
) -> TransformationSet:
    r"""Inputs of higher and lower contrast: $v x$.

    Inputs of any shape. The intensity 0 stays, wherever it lies within the limits. Inverse: none,
    as clipping loses what lies outside the limits. On feature maps it acts as the identity. The
    factor 1 returns the inputs bit for bit.

    Args:
        factors: $v$, at least 0.
        limits: The least and the largest intensity of the inputs.
        clip: Whether the result is clipped to the limits; inputs outside are then an error.

    Raises:
        TransformationError: No factors, one that is negative or not finite, limits that are not in
            order; on a batch, values that are not floating or uint8, or lie outside the limits.

    Source:
        Bunne et al., "Studying Invariances of Trained Convolutional Neural Networks".

    Example:
        >>> import torch
        >>> contrast([0.5, 1, 2])
        <contrast(3): 3 transformations; contrast 0.5 to 2; identity 1>
        >>> contrast([0.5, 2]).apply(torch.tensor([[0.0, 0.25, 1.0]]))
        tensor([[[0.0000, 0.1250, 0.5000],
                 [0.0000, 0.5000, 1.0000]]])
    """
    return photometric_set("contrast", Contrast, "factors", factors, limits, clip)


def grayscale(
    amounts: Sequence[float], *, limits: tuple[float, float] = (0.0, 1.0), clip: bool = True
) -> TransformationSet:
    r"""Colours that fade: $(1 - v)\, x + v\, l$, with $l = 0.299 R + 0.587 G + 0.114 B$.

    $l$ is the luma of Rec. ITU-R BT.601, the same in all three channels. Inverse: none. On feature
    maps it acts as the identity. The amount 0 returns the images bit for bit.

    Args:
        amounts: $v$, from 0 to 1; 1 leaves no colour.
        limits: The least and the largest intensity of the images.
        clip: Whether the result is clipped to the limits; images outside are then an error.

    Raises:
        TransformationError: No amounts, one that is not from 0 to 1, limits that are not in order;
            on a batch, values that are not floating or uint8, or lie outside the limits, or
            another number of channels (axis -3) than 3.

    Source:
        Bunne et al., "Studying Invariances of Trained Convolutional Neural Networks".

    Example:
        >>> import torch
        >>> grayscale([0, 0.5, 1])
        <grayscale(3): 3 transformations; grayscale 0 to 1; identity 0>
        >>> red = torch.tensor([1.0, 0, 0]).reshape(1, 3, 1, 1)
        >>> grayscale([0, 0.5, 1]).apply(red)[0, :, :, 0, 0]
        tensor([[1.0000, 0.0000, 0.0000],
                [0.6495, 0.1495, 0.1495],
                [0.2990, 0.2990, 0.2990]])
    """
    return photometric_set("grayscale", Grayscale, "amounts", amounts, limits, clip, bounds=(0, 1))


def gaussian_blur(
    sigmas: Sequence[float], *, limits: tuple[float, float] = (0.0, 1.0), clip: bool = True
) -> TransformationSet:
    r"""Blurred images: the weighted mean of neighbours, with weights $e^{-d^2 / 2 \sigma^2}$.

    On the last two axes, along one after the other. The kernel ends at $\lceil 4 \sigma \rceil$
    pixels and its weights sum to 1; beyond a border the image is mirrored about its outermost
    pixels (``d c b | a b c d | c b a``). Inverse: none. On feature maps it acts as the identity.
    Sigma 0 returns the images bit for bit. Cost: $4 \lceil 4 \sigma \rceil + 2$ additions a pixel.

    Args:
        sigmas: $\sigma$ in pixels, at least 0.
        limits: The least and the largest intensity of the images.
        clip: Whether the result is clipped to the limits; images outside are then an error.

    Raises:
        TransformationError: No sigmas, one that is negative or not finite, limits that are not in
            order; on a batch, values that are not floating or uint8, or lie outside the limits, or
            a kernel that ends further out than a mirrored image does: $\lceil 4 \sigma \rceil$
            pixels are as many as the image is high or wide, or more.

    Source:
        Bunne et al., "Studying Invariances of Trained Convolutional Neural Networks".

    Example:
        >>> import torch
        >>> gaussian_blur([0, 1, 2])
        <gaussian_blur(3): 3 transformations; blur 0 to 2; identity 0>
        >>> line = torch.zeros(1, 5, 5)
        >>> line[..., 2] = 1
        >>> gaussian_blur([0.5]).apply(line)[0, 0, 0].round(decimals=3)
        tensor([0.0010, 0.1060, 0.7870, 0.1060, 0.0010])
    """
    return photometric_set("gaussian_blur", Blur, "sigmas", sigmas, limits, clip)


def gaussian_noise(
    amounts: Sequence[float], *, limits: tuple[float, float] = (0.0, 1.0), clip: bool = True
) -> TransformationSet:
    r"""Noisy inputs: $x + v r z$, with $z$ normal, independent for each value.

    $r$ is the range of intensities. Inputs of any shape. $z$ is drawn by (seed, sample id,
    transformation): it depends neither on the batches nor on the device, and differs between the
    transformations of a set, also where amounts are equal. Inverse: none. On feature maps it acts
    as the identity. The amount 0 returns the inputs bit for bit.

    Args:
        amounts: $v$, the standard deviations in ranges, at least 0.
        limits: The least and the largest intensity of the inputs; $r$ is their difference.
        clip: Whether the result is clipped to the limits; inputs outside are then an error.

    Raises:
        TransformationError: No amounts, one that is negative or not finite, limits that are not in
            order; on a batch, values that are not floating or uint8, or lie outside the limits.

    Source:
        Bunne et al., "Studying Invariances of Trained Convolutional Neural Networks".

    Example:
        >>> import torch
        >>> noise = gaussian_noise([0, 0.1, 0.1])
        >>> noise
        <gaussian_noise(3): 3 transformations; noise 0 to 0.1; identity 0>
        >>> grey = torch.full((4, 1, 28, 28), 0.5)
        >>> tile = noise.apply(grey, ids=[7, 1, 3, 0])
        >>> torch.equal(tile[1:3, 2], noise[2](grey[1:3], ids=[1, 3]))
        True
        >>> tile.std((0, 2, 3, 4)).round(decimals=2)
        tensor([0.0000, 0.1000, 0.1000])
    """
    return photometric_set("gaussian_noise", Noise, "amounts", amounts, limits, clip)
