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
    shape = cube.shape[2:]
    columns, valid = [], []
    for j, each in enumerate(transformations):
        back = _action(each, shape, dims, item).inverse()
        columns.append(_moved(cube[:, j], back))
        valid.append(_valid(back, shape, dims))
    return np.stack(columns, 1), np.stack(valid)


def moved_there(
    outputs: np.ndarray,
    transformations: TransformationSet,
    dims: Sequence[str],
    item: Sequence[int] | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Outputs ``(sample, *unit)`` under each transformation's action, and where they are valid."""
    shape = outputs.shape[1:]
    actions = [_action(each, shape, dims, item) for each in transformations]
    columns = [_moved(outputs, action) for action in actions]
    return np.stack(columns, 1), np.stack([_valid(action, shape, dims) for action in actions])


def moved_there_and_back(
    outputs: np.ndarray,
    transformations: TransformationSet,
    dims: Sequence[str],
    item: Sequence[int] | None,
) -> np.ndarray:
    """Outputs ``(sample, *unit)`` under each action and its inverse, which no network follows."""
    there, _ = moved_there(outputs, transformations, dims, item)
    return moved_back(there.astype(outputs.dtype), transformations, dims, item)[0]


def _action(
    each: Transformation, shape: Sequence[int], dims: Sequence[str], item: Sequence[int] | None
) -> Transformation:
    action = each.acting_on(shape, dims, shape if item is None else item)
    assert action is not None, f"how {each.name!r} acts is not known"
    return action


def _moved(outputs: np.ndarray, action: Transformation) -> np.ndarray:
    moved = action(torch.from_numpy(outputs.astype(np.float64)))
    return moved.numpy().astype(np.longdouble)


def _valid(action: Transformation, shape: Sequence[int], dims: Sequence[str]) -> np.ndarray:
    """Of all units, where an action reads inside the frame."""
    axes = [axis for axis, dim in enumerate(dims) if dim != "channel"]
    sizes = [shape[axis] for axis in axes]
    frame = (int(np.prod(sizes[:-1])), sizes[-1])
    mask = action.valid(frame).numpy().reshape(sizes)
    channel = [axis for axis in range(len(dims)) if axis not in axes]
    return np.broadcast_to(np.expand_dims(mask, channel), shape)
