"""Results in fewer numbers: one row per layer.

Everything here reads the groups of a result tree and nothing else, so that a tree that was opened,
merged or reduced is summarised by the same code as one fresh from a run.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from fnmatch import fnmatchcase
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from tmeasures.errors import ArgumentError, ResultError
from tmeasures.fields import (
    DEAD,
    NOT_FINITE,
    STATUS_BY_STRATUM,
    SV_BELOW_ROUNDING,
    TV_BELOW_ROUNDING,
)
from tmeasures.hints import called, near, nearest

if TYPE_CHECKING:
    import xarray as xr

STATISTICS = {
    "mean": "mean over finite units",
    "std": "standard deviation over finite units",
    "median": "median over finite units",
    "q25": "lower quartile over finite units",
    "q75": "upper quartile over finite units",
    "score": "mean of the largest of the finite units, the measure's score being their share",
    "finite": "number of finite units",
    "dead": "number of dead units",
    "infinite": "number of infinite units",
    "nan": "number of NaN units",
    "below_rounding": "number of units, not dead, with a variance below rounding",
    "share": "share true among units with finite activations",
}
"""Columns that a variable may have in the summary, and what they say."""

GROUPS = ("summary", "transformations", "samples", "layers")
"""The groups that every result has."""


def layers_of(tree: xr.DataTree) -> dict[str, xr.Dataset]:
    """The layers of a result, by name, in forward order.

    Args:
        tree: A result.

    Returns:
        Each layer's variables, without what its group would inherit.

    Raises:
        ResultError: The tree is not a result.
    """
    if isinstance(tree, str | os.PathLike):
        raise ResultError(f"the result is a path; open it first, tm.open({str(tree)!r})")
    if not hasattr(tree, "children"):
        raise ResultError(
            f"the result is {called(tree)}; give the tree that tm.measure or tm.open returned"
        )
    missing = [name for name in GROUPS if name not in tree.children]
    if missing or "format" not in tree.attrs:
        what = ", ".join("/" + name for name in missing) or "the attribute 'format'"
        raise ResultError(
            f"this tree lacks {what}, so it is not a result: give what tm.measure or tm.open "
            "returned, whole"
        )
    nodes = tree.children["layers"].children.values()
    return {str(node.attrs["layer"]): node.to_dataset(inherit=False) for node in nodes}


def measured(data: xr.Dataset) -> list[str]:
    """The names of a layer's measures: its variables but for the status."""
    return [str(name) for name in data.data_vars if name not in ("status", STATUS_BY_STRATUM)]


def status_of(data: xr.Dataset, measure: str) -> xr.DataArray:
    """The status of what a measure has values of: units, whole maps, units within a class."""
    dims = data.variables[measure].dims
    by_class = "stratum" in dims and STATUS_BY_STRATUM in data
    status = data[STATUS_BY_STRATUM if by_class else "status"]
    return status_over(status, [dim for dim in data.variables["status"].dims if dim not in dims])


def status_over(status: xr.DataArray, space: Sequence[Hashable]) -> xr.DataArray:
    """Dead where all is along these dims; not finite where any is; the others as the means are."""
    if not space:
        return status
    # In numpy: xarray's operations on small arrays took a fifth of a run of all measures.
    bits, axes = status.to_numpy(), tuple(status.dims.index(dim) for dim in space)
    dead = (bits & DEAD) != 0
    all_dead = dead.all(axes)
    reduced = all_dead * DEAD + ((bits & NOT_FINITE) != 0).any(axes) * NOT_FINITE
    for bit in (TV_BELOW_ROUNDING, SV_BELOW_ROUNDING):
        reduced += ((((bits & bit) != 0) | dead).all(axes) & ~all_dead) * bit
    first = status.isel(dict.fromkeys(space, 0), drop=True)
    return first.copy(deep=False, data=np.asarray(reduced, np.uint8))


def choose(
    layers: dict[str, xr.Dataset], measure: str, patterns: str | Sequence[str] | None
) -> dict[str, xr.Dataset]:
    """The layers that have the measure and match a pattern."""
    having = {name: data for name, data in layers.items() if measure in measured(data)}
    if not having:
        there = dict.fromkeys(name for data in layers.values() for name in measured(data))
        raise ResultError(
            f"the result has no measure {measure!r}{near(measure, there)}: use one of "
            f"{', '.join(there) or 'none'}"
        )
    return matching(having, patterns, f" with {measure}")


def matching(
    layers: dict[str, xr.Dataset], patterns: str | Sequence[str] | None, which: str = ""
) -> dict[str, xr.Dataset]:
    """The layers that match a pattern; ``which`` says in errors what layers they are."""
    if patterns is None:
        return layers
    wanted = [patterns] if isinstance(patterns, str) else patterns
    if not isinstance(wanted, Sequence) or not all(isinstance(name, str) for name in wanted):
        raise ArgumentError(
            f"layers={patterns!r} is neither a pattern nor a list of such: give names of layers, "
            f"or patterns such as 'conv*'"
        )
    matches = {
        pattern: [name for name in layers if name == pattern or fnmatchcase(name, pattern)]
        for pattern in wanted
    }
    idle = [pattern for pattern, names in matches.items() if not names]
    if idle or not wanted:
        missing = idle[0] if idle else ""
        raise ResultError(
            f"no layer{which} matches {missing!r}: use names or patterns of "
            f"{nearest(missing, layers)}"
        )
    chosen = {name for names in matches.values() for name in names}
    return {name: data for name, data in layers.items() if name in chosen}


def summary(tree: xr.DataTree) -> xr.Dataset:
    """One row per layer: the table that was computed when the tree was built.

    For a measure ``V`` with one value per unit the table has, along the dim ``layer``,

    - ``V_mean``, ``V_std``, ``V_median``, ``V_q25``, ``V_q75`` over the finite units, in V's units.
      The units are all there are, not a draw from more of them, so ``V_std`` has the divisor
      ``count``. Quartiles interpolate linearly. A layer without a finite unit: NaN.
    - ``V_score``, where V has the attribute ``score``: the mean of the largest ``ceil(score *
      V_finite)`` of them, a score of 0.2 being that of Goodfellow et al. (2009).
    - ``V_finite``, ``V_infinite``, ``V_nan``: how many units are so; the three add up to
      ``n_units``.
    - ``V_dead``: units whose activations are all equal; they are finite where V is defined for
      them (TV: 0, NV: 1).
    - ``V_below_rounding``: units, not dead, where a variance that V is made of is below
      ``(16 eps max|a|)^2``, so that the network's own rounding explains it.

    For p-values ``V_q25``, ``V_median``, ``V_q75`` and ``V_nan``. For decisions ``V_share``, the
    share that is true among units whose activations are all finite. For counts ``V_mean``.

    All of a measure of whole feature maps, with one value per channel, is over its values: the
    three numbers add up to that of the channels. A channel's status is as in `tmeasures.channels`.

    Leading dims of a measure (``transformation``) stay beside ``layer``; so does ``stratum`` of a
    measure of single classes, whose units are dead or below rounding within each class. A layer
    that lacks a measure has NaN there and counts of 0. The coordinates are the layers' names in
    forward order, ``kind`` (the class of the module), ``n_units``, and the labels of the classes.

    Args:
        tree: A result of `tmeasures.measure` or `tmeasures.open`, or of `tmeasures.channels`, where
            each channel counts as one unit.

    Returns:
        The group ``/summary`` as a dataset.

    Raises:
        ResultError: The tree is not a result.

    Note:
        Nothing is computed here. Building the table takes one sort of each variable.

    Example:
        >>> import torch, tmeasures as tm
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU())
        >>> tree = tm.measure(network, torch.rand(8, 1, 9, 9), tm.rotations(4), measures=["NV"])
        >>> table = tm.summary(tree)
        >>> bool((table.NV_finite + table.NV_infinite + table.NV_nan == table.n_units).all())
        True
    """
    layers_of(tree)
    return tree.children["summary"].to_dataset(inherit=False)


def summarise(layers: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Compute the table that `summary` describes.

    Args:
        layers: Datasets as `layers_of` gives them, with the variable ``status``, in which each
            other variable has the attribute ``kind`` and, where a bit of the status concerns it,
            ``rounding``, and ``score`` where it has one.

    Returns:
        The dataset, dim ``layer``.
    """
    import xarray as xr

    columns: dict[str, np.ndarray] = {}
    labels: dict[str, tuple[tuple[Hashable, ...], dict[str, str]]] = {}
    named: dict[Hashable, xr.DataArray] = {}
    for row, data in enumerate(layers.values()):
        dims_of_units = data.variables["status"].dims
        status: dict[tuple[Hashable, ...], xr.DataArray] = {}
        for name in measured(data):
            variable = data.variables[name]
            leading = [dim for dim in variable.dims if dim not in dims_of_units]
            named |= {dim: data[dim] for dim in leading if dim in data.coords}
            if variable.dims not in status:
                status[variable.dims] = status_of(data, name)
            found = _statistics(variable, status[variable.dims], leading)
            for statistic, value in found.items():
                key = f"{name}_{statistic}"
                if key not in columns:
                    missing = np.zeros((), value.dtype) if value.dtype.kind == "i" else np.nan
                    shape = (len(layers), *value.shape)
                    columns[key] = np.full(shape, missing)
                    dims = ("layer", *leading[: value.ndim])
                    labels[key] = dims, _column_attributes(variable, statistic)
                columns[key][row] = value
    coordinates: dict[Hashable, Any] = {
        "layer": ("layer", np.array(list(layers), dtype=str)),
        "kind": ("layer", np.array([data.attrs["kind"] for data in layers.values()], dtype=str)),
        "n_units": ("layer", np.array([data["status"].size for data in layers.values()], np.int64)),
    }
    variables = {key: (labels[key][0], values, labels[key][1]) for key, values in columns.items()}
    return xr.Dataset(variables, coordinates | named)


def _statistics(
    variable: xr.Variable, status: xr.DataArray, leading: list[Hashable]
) -> dict[str, np.ndarray]:
    """Statistics of one variable over its units, each of the shape of the leading dims or ()."""
    values = variable.to_numpy().reshape(*(variable.sizes[dim] for dim in leading), -1)
    within = [status.sizes[dim] for dim in leading if dim in status.dims]
    bits = status.to_numpy().reshape(*within, -1)
    kind = variable.attrs["kind"]
    if kind == "decision":
        known = np.broadcast_to((bits & NOT_FINITE) == 0, values.shape)
        with np.errstate(invalid="ignore"):
            return {"share": np.asarray((values & known).sum(-1) / known.sum(-1))}
    finite = np.isfinite(values)
    of_finite = _over_finite(values, finite, variable.attrs.get("score", 0.0))
    if kind == "count":
        return {"mean": of_finite["mean"]}
    invalid = np.asarray(np.isnan(values).sum(-1))
    if kind == "p":
        return {name: of_finite[name] for name in ("q25", "median", "q75")} | {"nan": invalid}
    dead = (bits & DEAD) != 0
    below = (bits & variable.attrs.get("rounding", 0)) != 0
    return of_finite | {
        "finite": np.asarray(finite.sum(-1)),
        "dead": np.asarray(dead.sum(-1)),
        "infinite": np.asarray(np.isinf(values).sum(-1)),
        "nan": invalid,
        "below_rounding": np.asarray((below & ~dead).sum(-1)),
    }


def _over_finite(values: np.ndarray, finite: np.ndarray, score: float) -> dict[str, np.ndarray]:
    """Mean, standard deviation, quartiles and score of the finite numbers of the last axis."""
    names = ["mean", "std", "median", "q25", "q75", *(["score"] if score else [])]
    rows = values.reshape(-1, values.shape[-1])
    table = np.full((len(rows), len(names)), np.nan)
    for row, numbers, known in zip(table, rows, finite.reshape(rows.shape), strict=True):
        # Sorting takes a fifth of the time of numpy's quantiles, which select.
        ordered = np.sort(numbers[known]).astype(np.float64)
        if ordered.size:
            with np.errstate(over="ignore", invalid="ignore"):
                row[:5] = ordered.mean(), ordered.std(), *_quartiles(ordered)
            if score:
                top = ceil(score * ordered.size * (1 - 1e-12))  # 0.07 * 100 > 7
                row[5] = ordered[-top:].mean()
    return {
        name: column.reshape(values.shape[:-1]) for name, column in zip(names, table.T, strict=True)
    }


def _quartiles(ordered: np.ndarray) -> np.ndarray:
    """Median, lower and upper quartile of ordered numbers, linear between neighbours."""
    at = np.array([0.5, 0.25, 0.75]) * (ordered.size - 1)
    low, high = ordered[np.floor(at).astype(int)], ordered[np.ceil(at).astype(int)]
    return np.asarray(low + (high - low) * (at % 1))


def _column_attributes(variable: xr.Variable, statistic: str) -> dict[str, str]:
    own = ("mean", "std", "median", "q25", "q75", "score")
    measured_in = variable.attrs["units"] if statistic in own else "1"
    return {
        "units": measured_in,
        "long_name": f"{variable.attrs['long_name']}: {STATISTICS[statistic]}",
    }
