"""Affine transformations of images, one and a set: matrices that compose and invert."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from tmeasures.errors import TransformationError, warn
from tmeasures.transformations.base import (
    MAP,
    Ids,
    Transformation,
    TransformationSet,
    joined,
    prepare,
)
from tmeasures.transformations.sampling import (
    SNAP,
    Fill,
    FillArgument,
    KeptMaps,
    Maps,
    Matrices,
    as_fill,
    check_images,
    coordinates,
    inside,
    kept_bytes,
)


class AffineTransformation(Transformation):
    r"""An affine transformation of the last two axes of images, in pixels.

    Content at $p$ goes to $A p$, where $p = (y, x, 1)$ about the centre of the frame,
    $((h - 1) / 2, (w - 1) / 2)$: the output pixel $q$ is read at $A^{-1} q$, bilinear, and the fill
    surrounds the frame. Where all pixels are read at whole coordinates (flips, whole shifts,
    quarter turns of squares) they are copied, bit for bit.

    Args:
        matrix: $A$, ``(3, 3)``, invertible, last row 0, 0, 1. Kept in float64.
        fill: Outside the frame: a number, one a channel (axis -3), ``"edge"`` (the nearest pixel)
            or ``"wrap"`` (the frame repeats).
        name: Name of the transformation.
        parameters: Numbers by name.
        inverse_parameters: Those of its inverse.

    Attributes:
        matrix: ``(3, 3)`` float64, read-only.
        fill: A float, a tuple of floats or a word.
        is_identity: The matrix is the identity, to 1e-9.

    Raises:
        TransformationError: The matrix has another shape, is not finite or singular, or the fill
            is unknown; on a batch, that it holds no images, or not as many channels as the fill.

    Example:
        A shear, which no set of this library has:

        >>> import torch
        >>> shear = AffineTransformation([[1, 0, 0], [1, 1, 0], [0, 0, 1]], name="shear")
        >>> shear(torch.tensor([[[1.0, 2, 3], [4, 5, 6], [7, 8, 9]]]))
        tensor([[[2., 3., 0.],
                 [4., 5., 6.],
                 [0., 7., 8.]]])
        >>> shear.inverse().matrix
        array([[ 1.,  0.,  0.],
               [-1.,  1.,  0.],
               [ 0.,  0.,  1.]])
    """

    acts_on: tuple[str, ...] = MAP

    def __init__(
        self,
        matrix: ArrayLike,
        fill: FillArgument = 0,
        *,
        name: str = "affine",
        parameters: Mapping[str, float] | None = None,
        inverse_parameters: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(name, parameters)
        self._inverse_parameters: Mapping[str, float] = dict(inverse_parameters or {})
        self.fill = as_fill(fill)
        forth = np.array(matrix, dtype=np.float64)
        self._move(forth, _inverted(forth, name))

    def _move(self, matrix: Matrices, back: Matrices) -> None:
        """Take a matrix and its inverse; read-only, as copies of this object share them."""
        matrix.flags.writeable = False
        self.matrix, self._back = matrix, back
        self.is_identity = bool(np.abs(matrix - np.eye(3)).max() < SNAP)

    def inverse(self) -> AffineTransformation:
        """The transformation of the inverse matrix, with the same fill.

        What left the frame does not come back: see `tmeasures.Transformation.valid`.
        """
        other = copy(self)
        other.name = f"inverse of {self.name}"
        other.parameters = MappingProxyType(dict(self._inverse_parameters))
        other._inverse_parameters = self.parameters
        other._move(self._back, self.matrix)
        return other

    def acting_on(
        self, shape: Sequence[int], dims: Sequence[str], item: Sequence[int]
    ) -> AffineTransformation | None:
        """The matrix in pixels of a map about its centre, by its strides; None on other outputs."""
        axes = len(self.acts_on) - 1
        if tuple(dims) != self.acts_on or len(item) < axes:
            return None
        other = copy(self)
        other.fill = self.fill if isinstance(self.fill, str) else 0.0
        scale = np.ones(3)
        scale[2 - axes : 2] = 1 / strides(shape[-axes:], item[-axes:])
        # A ratio first: it is exactly 1 where both axes shrink alike, so a turn stays a turn.
        ratios = np.divide.outer(scale, scale)
        other._move(self.matrix * ratios, self._back * ratios)
        return other

    def _apply(self, batch: Tensor, ids: Ids, seed: int) -> Tensor:
        check_images(batch, self.fill)
        size = (batch.shape[-2], batch.shape[-1])
        maps = Maps.build(self._back[None], self.fill, size, batch.dtype, batch.device)
        return maps.apply(batch)[:, 0]

    def _carry(self, mask: Tensor) -> Tensor:
        size = (mask.shape[-2], mask.shape[-1])
        read = inside(coordinates(torch.tensor(self._back[None]), size), self.fill)[0]
        if mask.all():
            return read
        fill: Fill = "wrap" if self.fill == "wrap" else 0.0
        maps = Maps.build(self._back[None], fill, size, torch.float64, mask.device)
        return read & (maps.apply((~mask)[None].double())[0, 0] < SNAP)


class AffineSet(TransformationSet):
    """A set of affine transformations with one fill.

    A tile is one call: grids in float64, then in the images' dtype, one a transformation and kept
    for frames of one size (up to 256 MiB); samples are folded into channels. float32 grids place a
    pixel to about 1e-7 of the frame's size (3e-6 pixels at 28, 3e-5 at 224). The product of two
    such sets with equal fills is again one: a matrix $B A$ and one interpolation for each pair.
    With unlike fills the sets are applied one after the other.

    Args:
        name: Name of the set.
        transformations: `AffineTransformation` objects, at least one, of equal fill.

    Attributes:
        matrices: ``(transformation, 3, 3)`` float64.
        fill: The fill of all of them.

    Raises:
        TransformationError: Other transformations, or unlike fills.

    Example:
        >>> import numpy as np
        >>> matrices = [np.diag([1.0, 1.0 + i / 4, 1.0]) for i in range(3)]
        >>> AffineSet("stretches", [AffineTransformation(a, "edge") for a in matrices])
        <stretches: 3 transformations; identity 0; fill edge>
    """

    _elements: tuple[AffineTransformation, ...]

    def __init__(self, name: str, transformations: Sequence[Transformation]) -> None:
        super().__init__(name, transformations)
        for element in self._elements:
            if not isinstance(element, AffineTransformation):
                raise TransformationError(
                    f"found {element!r} in {name!r}, expected an AffineTransformation: use "
                    "TransformationSet for a mixture"
                )
        fills = {t.fill for t in self._elements}
        if len(fills) > 1:
            raise TransformationError(
                f"found the fills {sorted(map(str, fills))} in {name!r}, expected one for all: "
                "make them with the same fill="
            )
        self.fill = self._elements[0].fill
        self.matrices: Matrices = np.stack([t.matrix for t in self._elements])
        self._backs: Matrices = np.stack([t._back for t in self._elements])
        self._kept: tuple[tuple[object, ...], KeptMaps] | None = None

    def check(self, batch: Tensor) -> None:
        """Raise unless the items are images that the fill fits; warn of frames that do not turn."""
        self.apply(batch, range(1))
        height, width = batch.shape[-2:]
        linear = np.abs(self.matrices[:, :2, :2])
        turned = np.abs(linear - np.eye(2)[::-1]).max((1, 2)) < SNAP
        if height != width and turned.any():
            warn(
                f"quarter turns of frames of {height} x {width} are about the centre, and what "
                "leaves the frame is cropped; give square images for turns that lose nothing"
            )

    def _apply(self, batch: Tensor, indices: range, ids: Ids, seed: int) -> Tensor:
        check_images(batch, self.fill)
        size = (batch.shape[-2], batch.shape[-1])
        frame = (size, batch.dtype, batch.device)
        kept = self._kept  # read once: another thread may be at another frame
        if kept is None or kept[0] != frame:
            kept = self._kept = frame, KeptMaps(self._backs, self.fill, *frame)
        return kept[1][indices].apply(batch)

    def kept_bytes(self, batch: Tensor) -> int:
        """See `tmeasures.TransformationSet.kept_bytes`."""
        if batch.ndim < 3:
            return 0
        batch = prepare(batch)
        return kept_bytes(len(self), (batch.shape[-2], batch.shape[-1]), batch.dtype)

    def _subset(self, name: str, elements: Sequence[Transformation]) -> TransformationSet:
        return AffineSet(name, elements)

    def __mul__(self, other: TransformationSet) -> TransformationSet:
        """One matrix a pair where the fills are equal."""
        if not isinstance(other, AffineSet) or other.fill != self.fill:
            return super().__mul__(other)
        products = [_product(a, b) for a in self._elements for b in other._elements]
        return AffineSet(f"{self.name} * {other.name}", products)

    def _facts(self) -> list[str]:
        return [*super()._facts(), f"fill {self.fill}"]


def strides(sizes: Sequence[int], of_item: Sequence[int]) -> NDArray[np.float64]:
    """Pixels of the input for one of the map, on each axis: whole numbers, or one in so many.

    A map is smaller than its stride says where borders are not padded: 26 of 28 pixels have the
    stride 1, 13 have 2.

    >>> strides((26, 13), (28, 28)), strides((56,), (28,))
    (array([1., 2.]), array([0.5]))
    """
    ratios = np.divide(of_item, sizes)
    steps = np.rint(np.maximum(ratios, 1 / ratios))
    return np.where(ratios > 1, steps, 1 / steps)


def _product(first: AffineTransformation, second: AffineTransformation) -> AffineTransformation:
    name, parameters = joined(first, second)
    _, back = joined(second.inverse(), first.inverse())
    return AffineTransformation(
        second.matrix @ first.matrix,
        first.fill,
        name=name,
        parameters=parameters,
        inverse_parameters=back,
    )


def _inverted(matrix: Matrices, name: str) -> Matrices:
    if matrix.shape != (3, 3) or not np.array_equal(matrix[2], [0, 0, 1]):
        raise TransformationError(
            f"found the matrix {matrix.tolist()} for {name!r}, expected shape (3, 3) and the last "
            "row 0, 0, 1: write a linear map as [[a, b, 0], [c, d, 0], [0, 0, 1]]"
        )
    # A condition number, not a determinant: scaling by 1e-6 is small, not singular.
    regular = np.isfinite(matrix).all() and np.linalg.cond(matrix[:2, :2]) < 1e12
    with np.errstate(over="ignore"):
        back = np.linalg.inv(matrix) if regular else np.full((3, 3), np.nan)
    if not np.isfinite(back).all():
        raise TransformationError(
            f"found the matrix {matrix.tolist()} for {name!r}, expected finite numbers and an "
            "invertible matrix: use no scale of 0"
        )
    return np.asarray(back, dtype=np.float64)
