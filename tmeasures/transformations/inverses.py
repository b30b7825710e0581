"""Whether the inverses given for callables undo them, tried before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from math import inf, pi

import numpy as np
import torch
from torch import Tensor

from tmeasures.errors import TransformationError
from tmeasures.transformations.base import Transformation, TransformationSet, prepare
from tmeasures.transformations.callables import CallableTransformation
from tmeasures.transformations.products import ProductTransformation

EXACT = 1e-3
"""The most by which an inverse that loses nothing misses, relative to the norm of its input."""

LIMIT = 0.25
"""The most by which an interpolating one may miss on smooth content. Bilinear warps there and back
miss by 0.01 to 0.2 (rotations, shifts, scales 0.5 to 2; frames of 16 to 224), nearest-neighbour
ones by 0.1 to 0.23, a scale of 0.5 on frames of 8 to 12 by 0.25 to 0.32; a rotation by 30 degrees
given as its own inverse on 16 and more by 0.4 to 1.4."""

DISPLACED = 0.4
"""The most pixels by which it may displace content on the mean, or an 80th of the frame where that
is more. Right ones within `LIMIT` displace it by up to 0.13 (nearest-neighbour ones by 0.22, those
that fill with the border by 0.36 and, on 64 pixels, 0.43). On frames of 8 a shift by one pixel too
many displaces it by 1, a turn by 22.5 degrees left out or taken back twice by 0.45 to 0.6; a factor
of 1.25 taken back twice, or a shear of 0.3 left out, by 0.33 to 0.41 and may pass."""

_SHOWS = 8  # pixels of the shortest side from which on displacements can be told
_EQUATIONS = 2**18  # of least squares, 16 MiB; more of them tell nothing new

KEPT = 0.02
"""The most by which a constant may miss where it comes back: 8-bit images miss by 0.004."""


def check_inverses(transformations: TransformationSet, batch: Tensor, limit: float = LIMIT) -> None:
    """Find out on a small batch whether layers' outputs can be taken back.

    Each transformation, and each factor of a product, must act as one that has an inverse
    (photometric ones act as the identity). The inverses of this library's, and of classes of one's
    own, are taken as they are. A callable $f$ and the inverse $g$ that was given for it are tried:
    $|g(f(x)) - x| / |x|$ must be at most 0.001 on the batch. For items with two or more axes, where
    interpolation blurs and what leaves the frame is lost, it may be more if f does not merely put
    values in other places and constants come back at least in part: up to ``limit`` on smooth
    random content in the range of the batch that fades towards the border, which both leave nearly
    as it is. A small step shows little in that norm, so on frames of 8 pixels and more it may not
    displace such content by more than 0.4 pixels on the mean, or an 80th of the frame where that is
    more. Smaller steps pass, and larger ones on smaller frames.

    The second factor of a product is tried on what the first element of the first set gives: an
    inverse that is right for that and wrong for what another element gives is not found out.

    Args:
        transformations: The set.
        batch: ``(sample, *item)``, a few samples.
        limit: On smooth content.

    Raises:
        TransformationError: No inverse, or one that fails or does not undo its callable.

    Example:
        >>> import torch
        >>> from tmeasures.transformations import transformations
        >>> batch = torch.rand(2, 1, 8, 8)
        >>> check_inverses(transformations([lambda x: 2 * x], inverses=[lambda x: x / 2]), batch)
        >>> check_inverses(transformations([lambda x: 2 * x], inverses=[lambda x: x]), batch)
        Traceback (most recent call last):
        tmeasures.errors.TransformationError: 't0' and the inverse given for it change the samples \
by 100% of the norm, expected at most 0.1%: give a function that undoes it in inverses=
    """
    batch = prepare(batch)
    tried: set[int] = set()
    for each in transformations:
        _check(each, lambda: batch, limit, tried)


def _check(
    each: Transformation, given: Callable[[], Tensor], limit: float, tried: set[int]
) -> None:
    """Check what was not tried before; a product's second factor on what the first gives."""
    if isinstance(each, ProductTransformation):
        first = each.first
        _check(first, given, limit, tried)
        _check(each.second, lambda: prepare(first(given())), limit, tried)
    elif id(each) not in tried:
        tried.add(id(each))
        batch = given()
        item = batch.shape[1:]
        move = each.acting_on(item, each.acts_on, item) or each
        inverse = move.inverse()
        if isinstance(move, CallableTransformation):
            _try(move, inverse, batch, limit)


def _try(move: Transformation, inverse: Transformation, batch: Tensor, limit: float) -> None:
    inverse.check(prepare(move(batch)))
    back = inverse(move(batch))
    if back.shape != batch.shape:
        raise TransformationError(
            f"the inverse given for {move.name!r} returns items of shape {tuple(back.shape[1:])}, "
            f"expected {tuple(batch.shape[1:])}: give a function that undoes it in inverses="
        )
    what, most, samples = "the samples", EXACT, batch
    if spatial := batch.ndim > 2 and batch.is_floating_point():
        content, constant = smooth(batch)
        # A batch of one value does not show where it goes.
        samples = content if batch.min() == batch.max() else batch
    error = _error(inverse(move(samples)), samples)
    if spatial and error > EXACT and not _permutes(move, samples):
        kept = ((inverse(move(constant)) - constant) / constant).abs() < KEPT
        if kept.any():
            what, most = "smooth content", limit
            error = _error(inverse(move(content)) * kept, content * kept)
            if error <= most and min(batch.shape[-2:]) >= _SHOWS:
                _try_place(move, inverse, batch, kept)
    if not error <= most:
        raise TransformationError(
            f"{move.name!r} and the inverse given for it change {what} by {100 * error:.3g}% of "
            f"the norm, expected at most {100 * most:g}%: give a function that undoes it in "
            "inverses="
        )


def _try_place(move: Transformation, inverse: Transformation, batch: Tensor, kept: Tensor) -> None:
    """Raise where content comes back elsewhere, among what is kept of a constant."""
    content, _ = smooth(batch, 1)
    most = max(DISPLACED, min(batch.shape[-2:]) / 80)
    found = _displacement(inverse(move(content)), content, kept)
    if not found <= most:
        raise TransformationError(
            f"{move.name!r} and the inverse given for it displace smooth content by {found:.3g} "
            f"pixels, expected at most {most:g}: give a function that undoes it in inverses="
        )


def _displacement(back: Tensor, content: Tensor, kept: Tensor) -> float:
    r"""By how many pixels content was displaced, the root mean square weighted by the content.

    The affine field $d$ that is nearest to $b - c = -d \cdot \nabla c + \beta \Delta c + \gamma c$
    in least squares: what interpolation blurs is no displacement.
    """
    b, c, weight = (x.cpu().double().numpy() for x in (back, content, kept))
    along_y, along_x = np.gradient(c, axis=(-2, -1))
    blur = np.gradient(along_y, axis=-2) + np.gradient(along_x, axis=-1)
    axes = [np.arange(n) - (n - 1) / 2 for n in c.shape[-2:]]
    places = np.stack([np.ones(c.shape[-2:]), *np.meshgrid(*axes, indexing="ij")])
    moved = (-slope * place for slope in (along_y, along_x) for place in places)
    some = slice(None, None, 1 + c.size // _EQUATIONS)
    columns = np.stack([(x * weight).ravel()[some] for x in chain(moved, (blur, c))], 1)
    of_place = np.abs(c * weight).reshape(-1, *c.shape[-2:]).sum(0)
    if not (of_place.any() and np.isfinite(b).all()):
        return inf if of_place.any() else 0.0
    found = np.linalg.lstsq(columns, ((b - c) * weight).ravel()[some], rcond=None)[0]
    field = np.tensordot(found[:6].reshape(2, 3), places, 1)
    return float(np.sqrt(np.average(np.square(field).sum(0), weights=of_place)))


def _permutes(move: Transformation, batch: Tensor) -> bool:
    """Whether each item has the values that it had, in places of their own: nothing is lost."""
    moved, given = (x.flatten(1).sort(1).values for x in (move(batch), batch))
    return torch.equal(moved, given)


def _error(back: Tensor, batch: Tensor) -> float:
    """The norm of what is missed, relative to that of the batch."""
    here = batch.to(torch.promote_types(batch.dtype, torch.float64))
    return float((back - here).norm() / here.norm().clamp(min=1e-300))


def smooth(batch: Tensor, blur: float = 2) -> tuple[Tensor, Tensor]:
    """Smooth random content, and a constant, of the batch's shape and range.

    Noise blurred by so many pixels, or a 16th of the frame where that is more, squashed to the
    range and faded out from the centre of the frame to its border.
    """
    axes = range(1, batch.ndim)[-2:]
    shortest = min(batch.shape[axis] for axis in axes)
    content = torch.randn(batch.shape, generator=torch.Generator().manual_seed(0)).double()
    distance = torch.zeros(())
    for axis in axes:
        at = torch.arange(batch.shape[axis], dtype=torch.float64)
        kernel = torch.exp(-(((at[:, None] - at) / max(blur, shortest / 16)) ** 2) / 2)
        content = (content.movedim(axis, -1) @ kernel).movedim(-1, axis)
        off = (2 * at + 1) / len(at) - 1
        distance = distance + (off**2).reshape(-1, *[1] * (batch.ndim - 1 - axis))
    content = torch.sigmoid(2 * content / content.std())
    low, high = (float(x) for x in batch.aminmax())
    low, high = (low, high) if high > low else (0.0, 1.0)
    fade = torch.cos(pi / 2 * distance.sqrt().clamp(max=1)) ** 2
    content = (low + (high - low) * content) * fade
    constant = torch.full_like(batch, max(low, high, key=abs))
    return content.to(batch), constant
