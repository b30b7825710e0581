"""How images are read at the coordinates of an affine transformation.

A matrix acts on ``(y, x, 1)`` in pixels about the centre of the frame; its inverse says where each
output pixel is read. A tile needs one grid a transformation: samples are folded into channels.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from tmeasures.errors import TransformationError
from tmeasures.hints import numbers
from tmeasures.transformations.base import prepare

Fill = float | tuple[float, ...] | str
FillArgument = float | Sequence[float] | str
Size = tuple[int, int]
Matrices = NDArray[np.float64]

SNAP = 1e-9
"""Coordinates this near to a whole pixel, in pixels, are meant to be whole."""

CACHE_BYTES = 256 * 2**20
"""The most that one cache of a set may take: its grids, and the tables of its actions."""


def as_fill(fill: FillArgument) -> Fill:
    """A fill in the form in which fills are compared: a float, a tuple of floats, or a word."""
    if isinstance(fill, str):
        if fill in ("edge", "wrap"):
            return fill
    elif np.ndim(fill) == 1:
        return tuple(numbers("fill", fill, TransformationError))
    elif np.ndim(fill) == 0 and isinstance(fill, int | float | np.number) and np.isfinite(fill):
        return float(fill)
    raise TransformationError(
        f"found fill={fill!r}, expected a finite number, one for each channel, 'edge' or 'wrap': "
        "give 0 for black"
    )


def check_images(images: Tensor, fill: Fill) -> None:
    """Raise unless these are ``(sample, *item)`` images that the fill fits."""
    if not images.is_floating_point():
        raise TransformationError(
            f"found dtype {str(images.dtype).removeprefix('torch.')}, expected floating or uint8 "
            "images: convert them by float(), or use tm.transformations([...]) for other things"
        )
    shape = tuple(images.shape[1:])
    if len(shape) < 2:
        raise TransformationError(
            f"found items of shape {shape}, expected images whose last two axes are y, x: use "
            "tm.transformations([...]) for other things"
        )
    if isinstance(fill, tuple) and (len(shape) < 3 or shape[-3] != len(fill)):
        raise TransformationError(
            f"found items of shape {shape} and a fill for {len(fill)} channels, expected "
            f"(..., {len(fill)}, y, x): give one number, or one for each channel"
        )


def coordinates(back: Tensor, size: Size) -> Tensor:
    """Where each output pixel is read: ``(transformation, 2, y, x)``, rows then columns, in pixels.

    Args:
        back: Matrices from output to input, ``(transformation, 3, 3)``.
        size: Height and width of the frame.
    """
    centre = back.new_tensor([(n - 1) / 2 for n in size])
    y = torch.arange(size[0], dtype=back.dtype, device=back.device) - centre[0]
    x = torch.arange(size[1], dtype=back.dtype, device=back.device) - centre[1]
    rows, columns, offset = back[:, :2, :, None, None].unbind(2)
    return rows * y[:, None] + columns * x + (offset + centre[:, None, None])


def inside(at: Tensor, fill: Fill) -> Tensor:
    """Which coordinates lie in the frame, ``(transformation, y, x)``; all where it wraps."""
    if fill == "wrap":
        return at.new_ones(len(at), *at.shape[2:], dtype=torch.bool)
    return ((at >= -SNAP) & (at <= _size(at) - 1 + SNAP)).all(1)


def grids(at: Tensor, fill: Fill, dtype: torch.dtype) -> Tensor:
    """The coordinates as grids ``(transformation, y, x, 2)`` for `sample`."""
    before, after = (0, 0) if fill == "edge" else (0, 1) if fill == "wrap" else (1, 1)
    padded = _size(at) + (before + after)
    grid = (2 * (_bounded(at, fill) + before) + 1) / padded - 1
    return grid.flip(1).permute(0, 2, 3, 1).contiguous().to(dtype)


def _size(at: Tensor) -> Tensor:
    return at.new_tensor(at.shape[-2:])[:, None, None]


def _bounded(at: Tensor, fill: Fill) -> Tensor:
    """Coordinates with the same content at most one pixel outside the frame."""
    if fill == "wrap":
        return torch.remainder(at, _size(at))
    margin = 0 if fill == "edge" else 1
    return torch.minimum(at.clamp(min=-margin), _size(at) - 1 + margin)


def sample(images: Tensor, grid: Tensor, fill: Fill) -> Tensor:
    """Images ``(sample, *item)`` read at grids: ``(sample, transformation, *item)``, a view."""
    padded = _pad(images, fill)
    folded = padded.reshape(1, -1, *padded.shape[-2:]).expand(len(grid), -1, -1, -1)
    out = F.grid_sample(folded, grid, padding_mode="border", align_corners=False)
    return out.view(len(grid), *images.shape).transpose(0, 1)


def _pad(images: Tensor, fill: Fill) -> Tensor:
    if fill == "edge":
        return images
    if fill == "wrap":
        images = torch.cat([images, images[..., :1, :]], -2)
        return torch.cat([images, images[..., :1]], -1)
    height, width = images.shape[-2:]
    padded = images.new_empty(*images.shape[:-2], height + 2, width + 2)
    padded[...] = _values(images, fill)
    padded[..., 1:-1, 1:-1] = images
    return padded


def _values(images: Tensor, fill: Fill) -> Tensor | float:
    return images.new_tensor(fill)[:, None, None] if isinstance(fill, tuple) else float(fill)


def whole(back: Matrices, size: Size) -> NDArray[np.bool_]:
    """Which matrices ``(transformation, 3, 3)`` read whole pixels of this frame, to `SNAP`."""
    linear = back[:, :2, :2]
    centre = (np.array(size) - 1) / 2
    first = centre + back[:, :2, 2] - linear @ centre
    signs = np.rint(linear)
    snapped = np.abs(linear - signs).max((1, 2)) < SNAP
    permuted = (np.abs(signs).sum(2) == 1).all(1) & (np.abs(signs).sum(1) == 1).all(1)
    on_pixels = np.abs(first - np.rint(first)).max(1) < SNAP
    return np.asarray(snapped & permuted & on_pixels)


def pixels(at: Tensor, fill: Fill) -> Tensor:
    """The flat index of the pixel at whole coordinates: ``(transformation, y * x)`` int64.

    Outside the frame of a constant fill it is ``y * x``, one past the last pixel.
    """
    height, width = at.shape[-2:]
    y, x = _bounded(at.round(), fill).long().unbind(1)
    outside = (y < 0) | (y == height) | (x < 0) | (x == width)
    return (y * width + x).masked_fill(outside, height * width).flatten(1)


def copy(images: Tensor, index: Tensor, fill: Fill) -> Tensor:
    """Images ``(sample, *item)`` copied by pixel: ``(sample, transformation, *item)``."""
    flat = images.reshape(len(images), 1, -1, prod(images.shape[-2:]))
    if fill not in ("edge", "wrap"):
        one = images.new_empty(len(images), *images.shape[1:-2], 1, 1)
        one[...] = _values(images, fill)
        flat = torch.cat([flat, one.reshape(*flat.shape[:-1], 1)], -1)
    count, channels = len(index), flat.shape[2]
    source = flat.expand(-1, count, -1, -1)
    out = source.gather(3, index[:, None].expand(len(images), -1, channels, -1))
    return out.view(len(images), count, *images.shape[1:])


def taps(at: Tensor, fill: Fill) -> tuple[Tensor, Tensor]:
    """What bilinear reading adds up: pixels and weights, ``(transformation, 4, y * x)`` each.

    Taps of weight 0 (outside a zero fill, too) are those of the largest weight, or the location
    itself: an activation that is not finite reaches no other that does not read it.
    """
    bounded = _bounded(at, fill)
    low = bounded.floor()
    # Axes of both: transformation, the lower and the upper neighbour, y and x, location.
    places = torch.stack([low, low + 1], 1)
    weights = torch.stack([low + 1 - bounded, bounded - low], 1)
    last = _size(at) - 1
    if fill == "wrap":
        places = places.remainder(last + 1)
    elif fill != "edge":
        weights = weights * ((places >= 0) & (places <= last))
    index = (places[:, :, None, 0] * at.shape[-1] + places[:, None, :, 1]).long()
    weight = weights[:, :, None, 0] * weights[:, None, :, 1]
    index, weight = index.flatten(3).flatten(1, 2), weight.flatten(3).flatten(1, 2)
    largest, place = weight.max(1, keepdim=True)
    index = torch.where(weight > 0, index, index.gather(1, place))
    here = torch.arange(index.shape[2], device=index.device)
    return torch.where(largest == 0, here, index), weight


@dataclass(frozen=True, slots=True)
class Maps:
    """How a run of transformations reads a frame: copied pixels for some, grids for the others.

    ``order`` says where each transformation stands in copied ones, then sampled ones.
    """

    fill: Fill
    index: Tensor
    grid: Tensor
    order: Tensor

    @classmethod
    def build(
        cls, back: Matrices, fill: Fill, size: Size, dtype: torch.dtype, device: torch.device
    ) -> Maps:
        """The maps of matrices from output to input, computed in float64."""
        lattice = whole(back, size)
        # Apple's GPUs have no float64.
        place = torch.device("cpu") if device.type == "mps" else device
        at = coordinates(torch.as_tensor(back[lattice], device=place), size)
        index = pixels(at, fill).to(device)
        at = coordinates(torch.as_tensor(back[~lattice], device=place), size)
        grid = grids(at, fill, dtype).to(device)
        order = np.argsort(np.argsort(~lattice, kind="stable"))
        return cls(fill, index, grid, torch.as_tensor(order, device=device))

    def apply(self, images: Tensor) -> Tensor:
        """``(sample, *item) -> (sample, transformation, *item)``."""
        if not len(self.grid):
            return copy(images, self.index, self.fill)
        sampled = sample(images, self.grid, self.fill)
        if not len(self.index):
            return sampled.contiguous()
        exact = copy(images, self.index, self.fill)
        return torch.cat([exact, sampled], 1).index_select(1, self.order)


class KeptMaps:
    """The maps of a set for one frame, built when they are first asked for, then kept.

    Of the first transformations, as many as `CACHE_BYTES` hold; the others' are built each time.
    All that is kept is allocated at once: what is taken between the outputs of forward passes keeps
    the allocator from using theirs again, which held as many bytes as the maps.
    """

    def __init__(
        self, back: Matrices, fill: Fill, size: Size, dtype: torch.dtype, device: torch.device
    ) -> None:
        self._back = back
        self._given: tuple[Fill, Size, torch.dtype, torch.device] = fill, size, dtype, device
        count = min(len(back), CACHE_BYTES // _map_bytes(size, dtype))
        lattice = whole(back[:count], size)
        self._built = np.zeros(count, bool)
        self._copied = np.concatenate([[0], np.cumsum(lattice)])
        """How many come before each that copy pixels."""
        copied = int(self._copied[-1])
        with torch.inference_mode(False):  # what is kept serves calls outside it too
            self._index = torch.empty(copied, prod(size), dtype=torch.int64, device=device)
            self._grid = torch.empty(count - copied, *size, 2, dtype=dtype, device=device)
            self._lattice = torch.as_tensor(lattice, device=device)
            before, at = torch.as_tensor(self._copied[:-1], device=device), torch.arange(count)
            self._row = torch.where(self._lattice, before, at.to(device) - before)

    def __getitem__(self, indices: range) -> Maps:
        """The maps of consecutive transformations."""
        at = slice(indices.start, indices.stop)
        if at.stop > len(self._built):
            return Maps.build(self._back[at], *self._given)
        start, stop = self._copied[[at.start, at.stop]].tolist()
        index, grid = self._index[start:stop], self._grid[at.start - start : at.stop - stop]
        if not self._built[at].all():
            with torch.inference_mode(False):
                built = Maps.build(self._back[at], *self._given)
            # Through .data: autograd, which may keep other rows for a backward pass, counts writes
            # to the whole.
            index.data.copy_(built.index)
            grid.data.copy_(built.grid)
            self._built[at] = True
        row = self._row[at]
        order = torch.where(self._lattice[at], row - start, row + (stop - at.start))
        return Maps(self._given[0], index, grid, order)


def kept_bytes(count: int, size: Size, dtype: torch.dtype) -> int:
    """Bytes that `KeptMaps` keep of so many transformations, at most."""
    each = _map_bytes(size, dtype)
    return each * min(count, CACHE_BYTES // each)


def _map_bytes(size: Size, dtype: torch.dtype) -> int:
    """Of one map: a pixel's index, or its two coordinates."""
    return max(1, prod(size)) * max(torch.int64.itemsize, 2 * dtype.itemsize)


class _Sized(Protocol):
    @property
    def nbytes(self) -> int: ...


Kept = TypeVar("Kept", bound=_Sized)


class Cache(Generic[Kept]):
    """What has bytes, by key, up to `CACHE_BYTES`; those used longest ago leave first."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, Kept] = OrderedDict()
        self.nbytes = 0

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._kept)

    def get(self, key: Hashable) -> Kept | None:
        """What is kept under the key, now the last to leave."""
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def put(self, key: Hashable, value: Kept) -> None:
        """Keep something under a new key, unless it alone exceeds the limit."""
        if value.nbytes > CACHE_BYTES:
            return
        self._kept[key] = value
        self.nbytes += value.nbytes
        while self.nbytes > CACHE_BYTES:
            self.nbytes -= self._kept.popitem(last=False)[1].nbytes


def warp(images: Tensor, matrices: Tensor, fill: FillArgument = 0) -> Tensor:
    r"""Warp images by affine matrices, differentiable in both.

    Content at $p$ goes to $A p$, where $p = (y, x, 1)$ in pixels about the centre of the frame,
    $((h - 1) / 2, (w - 1) / 2)$: an output pixel $q$ is read at $A^{-1} q$, bilinear. Sets such as
    `rotations` do the same with matrices known beforehand, faster; here every pixel is
    interpolated, whole shifts too, so that gradients are those of the interpolation (undefined
    where a coordinate is whole, as bilinear interpolation has a kink there).

    Args:
        images: ``(sample, ..., y, x)``, floating; uint8 becomes float32 / 255.
        matrices: ``(transformation, 3, 3)``, invertible, last row 0, 0, 1; float64 keeps most.
            They are moved to the images' device.
        fill: What lies outside the frame: a number, one a channel (axis -3), ``"edge"`` (the
            nearest pixel) or ``"wrap"`` (the frame repeats).

    Returns:
        ``(sample, transformation, ..., y, x)``, in the images' dtype (float32 for halves).

    Raises:
        TransformationError: Not images, matrices of another shape, or a fill that does not fit.

    Example:
        The gradient of the sum of a pixel's intensities with respect to the translation.

        >>> import torch
        >>> image = torch.arange(9.0).reshape(1, 3, 3)
        >>> matrix = torch.eye(3)[None].requires_grad_()
        >>> shift = torch.tensor([[0, 0, 0.25], [0, 0, 0.5], [0, 0, 0]])
        >>> out = warp(image, matrix + shift)
        >>> out[0, 0, 1, 1]
        tensor(2.7500, grad_fn=<SelectBackward0>)
        >>> out[0, 0, 1, 1].backward()
        >>> matrix.grad[0, :2, 2]
        tensor([-3., -1.])
    """
    fill = as_fill(fill)
    images = prepare(images)
    check_images(images, fill)
    if matrices.ndim != 3 or matrices.shape[1:] != (3, 3) or not matrices.is_floating_point():
        raise TransformationError(
            f"found matrices of shape {tuple(matrices.shape)} and dtype {matrices.dtype}, expected "
            "floating ones (transformation, 3, 3): give a single one as matrix[None]"
        )
    exact = torch.float32 if images.device.type == "mps" else torch.float64
    back = torch.linalg.inv(matrices.to(images.device, exact))
    at = coordinates(back, (images.shape[-2], images.shape[-1]))
    return sample(images, grids(at, fill, images.dtype), fill).contiguous()
