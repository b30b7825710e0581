"""Sets of affine transformations: rotations, scalings, shears, translations, flips, products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

import numpy as np

from tmeasures.errors import TransformationError
from tmeasures.hints import numbers, whole
from tmeasures.transformations.affine import AffineSet, AffineTransformation
from tmeasures.transformations.sampling import FillArgument, Matrices

DIRECTIONS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))
FACTORS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.05, 1.1, 1.15, 1.2, 1.25)
PIXELS = (1.0, 2.0, 4.0)


def rotations(n: int | Sequence[float] = 16, *, fill: FillArgument = 0) -> AffineSet:
    r"""Rotations about the centre of the frame, by angles of a full turn in equal steps.

    $A = \begin{pmatrix} \cos a & -\sin a \\ \sin a & \cos a \end{pmatrix}$ on $(y, x)$ in pixels,
    the angles $360 i / n$ degrees. Positive angles turn as ``torch.rot90(x, 1, (-2, -1))`` does:
    counterclockwise with y downwards. Quarter turns of square images are exact; other frames are
    turned about their centre and cropped. Inverse: the angle $-a$. The first is the identity.

    Args:
        n: How many, or the angles themselves in degrees.
        fill: Outside the frame: a number, one a channel, ``"edge"`` or ``"wrap"``.

    Raises:
        TransformationError: n < 1, no angles or an unknown fill.

    Source:
        Quiroga (2020): 16 angles.

    Example:
        >>> import torch
        >>> rotations(16)
        <rotations(16): 16 transformations; angle 0 to 337.5; identity 0; fill 0.0>
        >>> images = torch.rand(5, 3, 28, 28)
        >>> tile = rotations(16).apply(images)
        >>> tile.shape
        torch.Size([5, 16, 3, 28, 28])
        >>> torch.equal(tile[:, 4], torch.rot90(images, 1, (-2, -1)))
        True
        >>> rotations([-10, 0, 10]).identity
        1
    """
    if isinstance(n, Sequence | np.ndarray) and not isinstance(n, str):
        angles = numbers("angles", n, TransformationError)
    else:
        count = whole("n", n, error=TransformationError)
        angles = [360 * i / count for i in range(count)]
    named = [(f"rotation {a:g}°", _rotation(a), {"angle": a}, {"angle": 0 - a}) for a in angles]
    return _set("rotations", named, fill)


def _set(
    name: str,
    named: Sequence[tuple[str, Matrices, dict[str, float], dict[str, float]]],
    fill: FillArgument,
) -> AffineSet:
    """A set from names, matrices, parameters and those of the inverses."""
    elements = [
        AffineTransformation(matrix, fill, name=title, parameters=own, inverse_parameters=back)
        for title, matrix, own, back in named
    ]
    return AffineSet(f"{name}({len(elements)})", elements)


def _rotation(angle: float) -> Matrices:
    # cos(pi / 2) is 6e-17 in floating point: quarter turns would miss the pixels.
    turn = np.deg2rad(angle % 360)
    exact = {0.0: (1.0, 0.0), 90.0: (0.0, 1.0), 180.0: (-1.0, 0.0), 270.0: (0.0, -1.0)}
    cos, sin = exact.get(angle % 360, (np.cos(turn), np.sin(turn)))
    return np.array([[cos, 0 - sin, 0], [sin, cos, 0], [0, 0, 1]])


def scalings(factors: Sequence[float] = FACTORS, *, fill: FillArgument = 0) -> AffineSet:
    r"""Scalings about the centre of the frame; a factor multiplies the size of the content.

    $A = \mathrm{diag}(s, s)$: $s = 2$ shows the middle half of the frame, twice as large; $s = 1/2$
    the whole frame, half as large, in the fill. No smoothing goes before the bilinear reading.
    Inverse: the factor $1 / s$. The identity is the factor 1, where it is one of them.

    Args:
        factors: Positive numbers.
        fill: Outside the frame: a number, one a channel, ``"edge"`` or ``"wrap"``.

    Raises:
        TransformationError: No factors, one that is not positive or finite, an unknown fill.

    Source:
        Quiroga (2020): .5 .6 .7 .8 .9 1 1.05 1.1 1.15 1.2 1.25.

    Example:
        >>> import torch
        >>> scalings()
        <scalings(11): 11 transformations; scale 0.5 to 1.25; identity 5; fill 0.0>
        >>> scalings([2.0]).apply(torch.tensor([[[0.0, 0, 0, 0], [0, 1, 1, 0]] * 2]))[0, 0]
        tensor([[0.5625, 0.7500, 0.7500, 0.5625],
                [0.5625, 0.7500, 0.7500, 0.5625],
                [0.1875, 0.2500, 0.2500, 0.1875],
                [0.1875, 0.2500, 0.2500, 0.1875]])
    """
    named = [
        (f"scale {s:g}", np.diag([s, s, 1.0]), {"scale": s}, {"scale": 1 / s})
        for s in _positive(factors)
    ]
    return _set("scalings", named, fill)


def _positive(factors: Sequence[float]) -> list[float]:
    values = numbers("factors", factors, TransformationError)
    if min(values) <= 0:
        raise TransformationError(
            f"found the factor {min(values):g}, expected positive ones: leave it out, or use "
            "flips() to mirror"
        )
    return values


def zooms(factors: Sequence[float], *, fill: FillArgument = 0) -> AffineSet:
    r"""Zooms about the centre of the frame, by the factor at which images are read.

    The output pixel $q$ is read at $v q$: $A = \mathrm{diag}(1 / v, 1 / v)$, the inverse of
    `tmeasures.scalings`. $v = 2$ shows the whole frame, half as large, in the fill; $v = 1/2$ its
    middle half, twice as large. Inverse: the factor $1 / v$. The identity is the factor 1.

    Args:
        factors: $v$, positive numbers.
        fill: Outside the frame: a number, one a channel, ``"edge"`` or ``"wrap"``.

    Raises:
        TransformationError: No factors, one that is not positive or finite, an unknown fill.

    Source:
        Bunne et al., "Studying Invariances of Trained Convolutional Neural Networks".

    Example:
        >>> import torch
        >>> zooms([0.5, 1, 2])
        <zooms(3): 3 transformations; zoom 0.5 to 2; identity 1; fill 0.0>
        >>> images = torch.rand(5, 3, 28, 28)
        >>> torch.equal(zooms([0.5]).apply(images), scalings([2]).apply(images))
        True
    """
    return _read_at("zooms", "zoom", factors, (1, 1), fill)


def horizontal_scalings(factors: Sequence[float], *, fill: FillArgument = 0) -> AffineSet:
    r"""Images made narrower or wider, by the factor at which columns are read.

    The output pixel $(y, x)$ is read at $(y, v x)$: $A = \mathrm{diag}(1, 1 / v)$ on $(y, x)$ about
    the centre of the frame. $v = 2$ makes the content half as wide, $v = 1/2$ twice as wide: the
    inverse of the convention of `tmeasures.scalings`. Inverse: the factor $1 / v$. The identity is
    the factor 1.

    Args:
        factors: $v$, positive numbers.
        fill: Outside the frame: a number, one a channel, ``"edge"`` or ``"wrap"``.

    Raises:
        TransformationError: No factors, one that is not positive or finite, an unknown fill.

    Source:
        Bunne et al., "Studying Invariances of Trained Convolutional Neural Networks".

    Example:
        >>> import torch
        >>> horizontal_scalings([0.5, 1, 2])
        <horizontal_scalings(3): 3 transformations; horizontal_scale 0.5 to 2; identity 1; fill 0.0>
        >>> narrow = horizontal_scalings([2.0], fill="edge")
        >>> narrow.apply(torch.tensor([[[1.0, 2, 3, 4]]])).flatten()
        tensor([1.0000, 1.5000, 3.5000, 4.0000])
    """
    return _read_at("horizontal_scalings", "horizontal scale", factors, (0, 1), fill)


def vertical_scalings(factors: Sequence[float], *, fill: FillArgument = 0) -> AffineSet:
    r"""Images made lower or higher, by the factor at which rows are read.

    The output pixel $(y, x)$ is read at $(v y, x)$: $A = \mathrm{diag}(1 / v, 1)$ on $(y, x)$ about
    the centre of the frame. $v = 2$ makes the content half as high, $v = 1/2$ twice as high: the
    inverse of the convention of `tmeasures.scalings`. Inverse: the factor $1 / v$. The identity is
    the factor 1.

    Args:
        factors: $v$, positive numbers.
        fill: Outside the frame: a number, one a channel, ``"edge"`` or ``"wrap"``.

    Raises:
        TransformationError: No factors, one that is not positive or finite, an unknown fill.

    Source:
        Bunne et al., "Studying Invariances of Trained Convolutional Neural Networks".

    Example:
        >>> import torch
        >>> vertical_scalings([0.5, 1, 2])
        <vertical_scalings(3): 3 transformations; vertical_scale 0.5 to 2; identity 1; fill 0.0>
        >>> low = vertical_scalings([2.0], fill="edge")
        >>> low.apply(torch.tensor([[[1.0, 2, 3, 4]]]).mT).flatten()
        tensor([1.0000, 1.5000, 3.5000, 4.0000])
    """
    return _read_at("vertical_scalings", "vertical scale", factors, (1, 0), fill)


def _read_at(
    name: str, word: str, factors: Sequence[float], along: tuple[int, int], fill: FillArgument
) -> AffineSet:
    """Images read at multiples of y and x, along the axes that are 1."""
    key = word.replace(" ", "_")
    named = [
        (f"{word} {v:g}", np.diag([v ** -along[0], v ** -along[1], 1.0]), {key: v}, {key: 1 / v})
        for v in _positive(factors)
    ]
    return _set(name, named, fill)


def shears(
    amounts: Sequence[float], *, axis: Literal["x", "y"] = "x", fill: FillArgument = 0
) -> AffineSet:
    r"""Shears about the centre of the frame, in pixels a pixel.

    Along x, $A = \begin{pmatrix} 1 & 0 \\ k & 1 \end{pmatrix}$ on $(y, x)$: content moves right by
    $k$ pixels for each pixel that it lies below the centre, and left above it. Along y it moves
    down by $k$ pixels for each pixel right of the centre. A shear by an angle $a$ has the amount
    $\tan a$. Inverse: $-k$. The identity is the amount 0.

    Args:
        amounts: $k$, of any sign.
        axis: ``"x"`` or ``"y"``, along which content moves.
        fill: Outside the frame: a number, one a channel, ``"edge"`` or ``"wrap"``.

    Raises:
        TransformationError: No amounts, one that is not finite, an unknown axis or fill.

    Example:
        >>> import torch
        >>> shears([-0.5, 0, 0.5])
        <shears(3): 3 transformations; shear_x -0.5 to 0.5; identity 1; fill 0.0>
        >>> shears([1.0]).apply(torch.tensor([[[1.0, 2, 3], [4, 5, 6], [7, 8, 9]]]))[0, 0]
        tensor([[2., 3., 0.],
                [4., 5., 6.],
                [0., 7., 8.]])
    """
    if axis not in ("x", "y"):
        raise TransformationError(f"found axis={axis!r}, expected 'x' or 'y': name one of them")
    key, (x, y) = f"shear_{axis}", (axis == "x", axis == "y")
    named = [
        (
            f"shear {axis} {k:g}",
            np.array([[1, k * y, 0], [k * x, 1, 0], [0, 0, 1]]),
            {key: k},
            {key: 0 - k},
        )
        for k in numbers("amounts", amounts, TransformationError)
    ]
    return _set("shears", named, fill)


def translations(
    pixels: Sequence[float] | None = None,
    *,
    offsets: Sequence[tuple[float, float]] | None = None,
    fill: FillArgument = 0,
) -> AffineSet:
    r"""Translations by ``(dy, dx)``: the content moves down and right by so many pixels.

    Each of the 8 directions, diagonals too, by each number of pixels; the direction is the slow
    index, and a diagonal one moves by that many pixels along both axes. Whole shifts are exact.
    Inverse: $(-dy, -dx)$. There is no identity in the paper's set, nor in any set made from
    ``pixels``; give ``offsets`` with ``(0, 0)`` for one.

    Args:
        pixels: Positive distances; None is 1, 2 and 4.
        offsets: Pairs ``(dy, dx)``, in place of directions and distances.
        fill: Outside the frame: a number, one a channel, ``"edge"`` or ``"wrap"``.

    Raises:
        TransformationError: Nothing given, not positive or finite numbers, both ways at once, an
            unknown fill.

    Source:
        Quiroga (2020): 8 directions by 1, 2 and 4 pixels, 24 in all.

    Example:
        >>> import torch
        >>> translations()
        <translations(24): 24 transformations; dy -4 to 4; dx -4 to 4; no identity; fill 0.0>
        >>> down = translations(offsets=[(0, 0), (1, 0)], fill="edge")[1]
        >>> down(torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]))
        tensor([[[1., 2.],
                 [1., 2.]]])
    """
    if offsets is None:
        distances = numbers("pixels", PIXELS if pixels is None else pixels, TransformationError)
        if min(distances) <= 0:
            raise TransformationError(
                f"found a distance of {min(distances):g} pixels, expected positive ones: give "
                "offsets=[(0, 0), ...] for an identity"
            )
        shifts = [(dy * p, dx * p) for dy, dx in DIRECTIONS for p in distances]
    elif pixels is not None:
        raise TransformationError(
            f"found both pixels={pixels!r} and offsets={offsets!r}, expected one: leave one out"
        )
    elif np.ndim(offsets) != 2 or np.shape(offsets)[1] != 2:
        raise TransformationError(
            f"found offsets={offsets!r}, expected one or more (dy, dx): give pairs such as "
            "[(0, 0), (1, 0)]"
        )
    else:
        flat = numbers("offsets", np.ravel(offsets), TransformationError)
        shifts = list(zip(flat[::2], flat[1::2], strict=True))
    named = [
        (
            f"translation ({dy:g}, {dx:g})",
            np.array([[1, 0, dy], [0, 1, dx], [0, 0, 1]]),
            {"dy": dy, "dx": dx},
            {"dy": 0 - dy, "dx": 0 - dx},
        )
        for dy, dx in shifts
    ]
    return _set("translations", named, fill)


def flips(*, fill: FillArgument = 0) -> AffineSet:
    """The identity, left-right, up-down, and both (half a turn); all exact, each its own inverse.

    Args:
        fill: Nothing lies outside the frame here; products need sets of equal fill to be one
            interpolation.

    Raises:
        TransformationError: An unknown fill.

    Example:
        >>> import torch
        >>> flips().names
        ['identity', 'flip left-right', 'flip up-down', 'flip both']
        >>> flips().apply(torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]))[0, 1]
        tensor([[2., 1.],
                [4., 3.]])
    """
    named = {
        "identity": (0, 0),
        "flip left-right": (0, 1),
        "flip up-down": (1, 0),
        "flip both": (1, 1),
    }
    return AffineSet(
        "flips",
        [
            AffineTransformation(
                np.diag([1 - 2 * y, 1 - 2 * x, 1]),
                fill,
                name=name,
                parameters={"flip_y": y, "flip_x": x},
                inverse_parameters={"flip_y": y, "flip_x": x},
            )
            for name, (y, x) in named.items()
        ],
    )


def combined(*, fill: FillArgument = 0) -> AffineSet:
    """The paper's combined set: ``rotations(16) * scalings() * translations()``, 4224 in all.

    Each is one matrix and one interpolation: rotated, then scaled, then moved, so that a shift
    is in pixels of the output. Inverses are true matrix inverses. There is no identity, as the
    paper's translations have none.

    Args:
        fill: Outside the frame: a number, one a channel, ``"edge"`` or ``"wrap"``.

    Raises:
        TransformationError: An unknown fill.

    Source:
        Quiroga (2020).

    Example:
        >>> combined()
        <combined: 4224 transformations; angle 0 to 337.5; scale 0.5 to 1.25; dy -4 to 4; \
dx -4 to 4; no identity; fill 0.0>
        >>> combined()[264].name
        'rotation 22.5° · scale 0.5 · translation (-1, -1)'
    """
    product = rotations(fill=fill) * scalings(fill=fill) * translations(fill=fill)
    return AffineSet("combined", cast(AffineSet, product)._elements)
