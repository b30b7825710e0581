"""Maps moved by transformations' own actions, a column at a time: the slow definition."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from tmeasures.transformations.base import Transformation, TransformationSet


def moved_back(
    cube: np.ndarray,
    transformations: TransformationSet,
    dims: Sequence[str],
    item: Sequence[int] | None,
) -> tuple[np.ndarray, np.ndarray]:
    """``ST'`` of a cube ``(sample, transformation, *unit)``, and where it is valid.

    Returns:
        The cube moved back, longdouble, and ``(transformation, *unit)`` bool.
    """
    columns = zip(cube.swapaxes(0, 1), transformations, strict=True)
    found = [_moved(outputs, each, dims, item, back=True) for outputs, each in columns]
    return np.stack([moved for moved, _ in found], 1), np.stack([valid for _, valid in found])


def moved_there(
    outputs: np.ndarray,
    transformations: TransformationSet,
    dims: Sequence[str],
    item: Sequence[int] | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Outputs ``(sample, *unit)`` under each transformation's action, and where they are valid."""
    found = [_moved(outputs, each, dims, item, back=False) for each in transformations]
    return np.stack([moved for moved, _ in found], 1), np.stack([valid for _, valid in found])


def moved_there_and_back(
    outputs: np.ndarray,
    transformations: TransformationSet,
    dims: Sequence[str],
    item: Sequence[int] | None,
) -> np.ndarray:
    """Outputs ``(sample, *unit)`` under each action and its inverse, which no network follows."""
    there, _ = moved_there(outputs, transformations, dims, item)
    return moved_back(there.astype(outputs.dtype), transformations, dims, item)[0]


def _moved(
    outputs: np.ndarray,
    each: Transformation,
    dims: Sequence[str],
    item: Sequence[int] | None,
    *,
    back: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Outputs ``(sample, *unit)`` moved by an action or its inverse, and where they are valid.

    Where it is not known of these dims, it is of ``(channel, y, x)`` or ``(channel, time)``.
    """
    shape = outputs.shape[1:]
    action = each.acting_on(shape, dims, shape if item is None else item)
    if action is None and "channel" not in dims:
        moved, valid = _moved(outputs[:, None], each, ("channel", *dims), item, back=back)
        return moved[:, 0], valid[0]
    if action is None:
        order = [dim for dim in ("channel", "y", "x", "time") if dim in dims]
        assert order != list(dims), f"how {each.name!r} acts is not known"
        axes = [dims.index(dim) for dim in order]
        ordered = outputs.transpose(0, *(1 + axis for axis in axes))
        moved, valid = _moved(ordered, each, order, item, back=back)
        here = [order.index(dim) for dim in dims]
        return moved.transpose(0, *(1 + axis for axis in here)), valid.transpose(here)
    action = action.inverse() if back else action
    moved = action(torch.from_numpy(outputs.astype(np.float64))).numpy().astype(np.longdouble)
    return moved, _valid(action, shape, dims)


def _valid(action: Transformation, shape: Sequence[int], dims: Sequence[str]) -> np.ndarray:
    """Of all units, where an action reads inside the frame."""
    axes = [axis for axis, dim in enumerate(dims) if dim != "channel"]
    sizes = [shape[axis] for axis in axes]
    frame = (int(np.prod(sizes[:-1])), sizes[-1])
    mask = action.valid(frame).numpy().reshape(sizes)
    channel = [axis for axis in range(len(dims)) if axis not in axes]
    return np.broadcast_to(np.expand_dims(mask, channel), shape)
