"""Results in fewer numbers: status bits, one row per layer, one value per channel.

Everything here reads the groups of a result tree and nothing else, so that a tree that was opened,
merged or reduced is summarised by the same code as one fresh from a run.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

import numpy as np

from tmeasures.errors import ArgumentError, ResultError
from tmeasures.fields import DEAD, NOT_FINITE, SV_BELOW_ROUNDING, TV_BELOW_ROUNDING
from tmeasures.hints import called, near, nearest

if TYPE_CHECKING:
    import xarray as xr

SPATIAL = ("z", "y", "x", "time")
"""Dims over which a map extends."""

STATISTICS = {
    "mean": "mean over finite units",
    "std": "standard deviation over finite units",
    "median": "median over finite units",
    "q25": "lower quartile over finite units",
    "q75": "upper quartile over finite units",
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
    return [str(name) for name in data.data_vars if name != "status"]


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
    if patterns is None:
        return having
    wanted = [patterns] if isinstance(patterns, str) else patterns
    if not isinstance(wanted, Sequence) or not all(isinstance(name, str) for name in wanted):
        raise ArgumentError(
            f"layers={patterns!r} is neither a pattern nor a list of such: give names of layers, "
            f"or patterns such as 'conv*'"
        )
    matches = {
        pattern: [name for name in having if name == pattern or fnmatchcase(name, pattern)]
        for pattern in wanted
    }
    idle = [pattern for pattern, names in matches.items() if not names]
    if idle or not wanted:
        missing = idle[0] if idle else ""
        raise ResultError(
            f"no layer with {measure} matches {missing!r}: use names or patterns of "
            f"{nearest(missing, having)}"
        )
    chosen = {name for names in matches.values() for name in names}
    return {name: data for name, data in having.items() if name in chosen}


def summary(tree: xr.DataTree) -> xr.Dataset:
    """One row per layer: the table that was computed when the tree was built.

    For a measure ``V`` with one value per unit the table has, along the dim ``layer``,

    - ``V_mean``, ``V_std``, ``V_median``, ``V_q25``, ``V_q75`` over the finite units, in V's units.
      The units are all there are, not a draw from more of them, so ``V_std`` has the divisor
      ``count``. Quartiles interpolate linearly. A layer without a finite unit: NaN.
    - ``V_finite``, ``V_infinite``, ``V_nan``: how many units are so; the three add up to
      ``n_units``.
    - ``V_dead``: units whose activations are all equal; they are among the finite ones.
    - ``V_below_rounding``: units, not dead, where a variance that V is made of is below
      ``(16 eps max|a|)^2``, so that the network's own rounding explains it.

    For p-values ``V_q25``, ``V_median``, ``V_q75`` and ``V_nan``. For decisions ``V_share``, the
    share that is true among units whose activations are all finite.

    Leading dims of a measure (``transformation``, ``stratum``) stay beside ``layer``. A layer that
    lacks a measure has NaN there and counts of 0. The coordinates are the layers' names in forward
    order, ``kind`` (the class of the module) and ``n_units``.

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
            ``rounding``.

    Returns:
        The dataset, dim ``layer``.
    """
    import xarray as xr

    columns: dict[str, np.ndarray] = {}
    labels: dict[str, tuple[tuple[Hashable, ...], dict[str, str]]] = {}
    for row, data in enumerate(layers.values()):
        for name in measured(data):
            leading = [dim for dim in data[name].dims if dim not in data["status"].dims]
            for statistic, value in _statistics(data[name], data["status"], leading).items():
                key = f"{name}_{statistic}"
                if key not in columns:
                    missing = np.zeros((), value.dtype) if value.dtype.kind == "i" else np.nan
                    shape = (len(layers), *value.shape)
                    columns[key] = np.full(shape, missing)
                    dims = ("layer", *leading[: value.ndim])
                    labels[key] = dims, _column_attributes(data[name], statistic)
                columns[key][row] = value
    coordinates = {
        "layer": ("layer", np.array(list(layers), dtype=str)),
        "kind": ("layer", np.array([data.attrs["kind"] for data in layers.values()], dtype=str)),
        "n_units": ("layer", np.array([data["status"].size for data in layers.values()], np.int64)),
    }
    variables = {key: (labels[key][0], values, labels[key][1]) for key, values in columns.items()}
    return xr.Dataset(variables, coordinates)


def channels(tree: xr.DataTree, how: Literal["mean", "ratio"] = "mean") -> xr.DataTree:
    """Reduce feature maps to one value per channel.

    The dims ``z``, ``y``, ``x`` and ``time`` are taken together; a layer that has none of them
    stays as it is.

    - ``"mean"``: the mean of the units' values over the finite locations. A channel without a
      finite location is infinite if a location is, else NaN. Decisions become the share of
      locations where they are true, among those whose activations are finite; of p-values the mean
      is descriptive, not a p-value.
    - ``"ratio"``: as ``"mean"``, but ``NV = mean TV over space / mean SV over space``, over
      locations where both are finite, ``0 / 0 = 1`` and ``x / 0 = +inf``. A location that varies
      little then weighs little, which one with a tiny SV in the mean of ratios does not.

    A channel's status says ``dead`` if all its locations are; ``not_finite`` if any is (the mean
    leaves it out); ``below_rounding`` if all its locations that are not dead are.

    Args:
        tree: A result.
        how: ``"mean"`` or ``"ratio"``.

    Returns:
        A tree of the same groups, its summary made anew with channels for units, and the root
        attribute ``channels`` set to ``how``. The input is unchanged.

    Raises:
        ArgumentError: ``how`` is neither.
        ResultError: The tree is not a result, or has no TV and SV to take the ratio of.

    Example:
        >>> import torch, tmeasures as tm
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU())
        >>> tree = tm.measure(
        ...     network, torch.rand(8, 1, 9, 9), tm.rotations(4), measures=["TV", "SV", "NV"]
        ... )
        >>> tm.channels(tree, "ratio")["layers/0"]["NV"].dims
        ('channel',)
    """
    import xarray as xr

    if how not in ("mean", "ratio"):
        raise ArgumentError(f"how={how!r} is no way to reduce maps: give 'mean' or 'ratio'")
    layers = layers_of(tree)
    if how == "ratio":
        _require_variances(layers)
    reduced = {name: per_channel(data, how) for name, data in layers.items()}
    groups: dict[str, xr.Dataset] = {
        "/": tree.to_dataset(inherit=False).assign_attrs(channels=how),
        "/summary": summarise(reduced),
        "/transformations": tree.children["transformations"].to_dataset(inherit=False),
        "/samples": tree.children["samples"].to_dataset(inherit=False),
        "/layers": xr.Dataset(),
    }
    nodes = zip(tree.children["layers"].children, reduced.values(), strict=True)
    return xr.DataTree.from_dict(groups | {f"/layers/{node}": data for node, data in nodes})


def per_channel(data: xr.Dataset, how: str = "mean") -> xr.Dataset:
    """One layer as `channels` reduces it; the very dataset where no dim is spatial."""
    status = data["status"]
    space: list[Hashable] = [dim for dim in status.dims if dim in SPATIAL]
    if not space:
        return data
    reduced = {name: _mean_over(data[name], status, space) for name in measured(data)}
    if how == "ratio":
        reduced["NV"] = _ratio_over(data, space)
    reduced["status"] = _status_over(status, space)
    return data.drop_dims(space).assign(reduced)


def _require_variances(layers: Mapping[str, xr.Dataset]) -> None:
    for layer, data in layers.items():
        missing = [name for name in ("TV", "SV") if name not in data]
        if missing:
            raise ResultError(
                f"layer {layer!r} has no {' and no '.join(missing)}, which the ratio per channel "
                "is made of: measure with measures=['TV', 'SV', 'NV'], or use how='mean'"
            )


def _statistics(
    variable: xr.DataArray, status: xr.DataArray, leading: list[Hashable]
) -> dict[str, np.ndarray]:
    """Statistics of one variable over its units, each of the shape of the leading dims or ()."""
    values = variable.to_numpy().reshape(*(variable.sizes[dim] for dim in leading), -1)
    bits = status.to_numpy().ravel()
    if variable.attrs["kind"] == "decision":
        known = values[..., (bits & NOT_FINITE) == 0]
        share = known.mean(-1) if known.shape[-1] else np.full(known.shape[:-1], np.nan)
        return {"share": np.asarray(share)}
    invalid = np.asarray(np.isnan(values).sum(-1))
    if variable.attrs["kind"] == "p":
        of_finite = _over_finite(values)
        return {name: of_finite[name] for name in ("q25", "median", "q75")} | {"nan": invalid}
    below = (bits & variable.attrs.get("rounding", 0)) != 0
    return _over_finite(values) | {
        "finite": np.asarray(np.isfinite(values).sum(-1)),
        "dead": np.asarray(((bits & DEAD) != 0).sum()),
        "infinite": np.asarray(np.isinf(values).sum(-1)),
        "nan": invalid,
        "below_rounding": np.asarray((below & ((bits & DEAD) == 0)).sum()),
    }


def _over_finite(values: np.ndarray) -> dict[str, np.ndarray]:
    """Mean, standard deviation and quartiles over the finite numbers of the last axis."""
    names = ("mean", "std", "median", "q25", "q75")
    rows = values.reshape(-1, values.shape[-1])
    table = np.full((len(rows), len(names)), np.nan)
    for row, numbers in zip(table, rows, strict=True):
        finite = numbers[np.isfinite(numbers)].astype(np.float64)
        if finite.size:
            with np.errstate(over="ignore", invalid="ignore"):
                quartiles = np.quantile(finite, (0.5, 0.25, 0.75))
                row[:] = finite.mean(), finite.std(), *quartiles
    return {
        name: column.reshape(values.shape[:-1]) for name, column in zip(names, table.T, strict=True)
    }


def _column_attributes(variable: xr.DataArray, statistic: str) -> dict[str, str]:
    measured_in = (
        variable.attrs["units"] if statistic in ("mean", "std", "median", "q25", "q75") else "1"
    )
    return {
        "units": measured_in,
        "long_name": f"{variable.attrs['long_name']}: {STATISTICS[statistic]}",
    }


def _mean_over(variable: xr.DataArray, status: xr.DataArray, space: list[Hashable]) -> xr.DataArray:
    name = variable.attrs["long_name"]
    if variable.attrs["kind"] == "decision":
        known = variable.where((status & NOT_FINITE) == 0)
        share = {"kind": "value", "long_name": f"{name}, share of locations"}
        return known.mean(space).assign_attrs(variable.attrs | share)
    attributes = variable.attrs | {"long_name": f"{name}, mean over space"}
    finite = _finite(variable)
    mean = variable.where(finite).mean(space, dtype=np.float64)
    infinite = (variable.notnull() & ~finite).any(space) & ~finite.any(space)
    return mean.where(~infinite, np.inf).astype(variable.dtype).assign_attrs(attributes)


def _ratio_over(data: xr.Dataset, space: list[Hashable]) -> xr.DataArray:
    finite = _finite(data["TV"]) & _finite(data["SV"])
    over, under = (data[name].where(finite).mean(space, dtype=np.float64) for name in ("TV", "SV"))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (over / under).where((over != 0) | (under != 0), 1.0)
    attributes = {
        "units": "1",
        "references": data["TV"].attrs["references"],
        "kind": "value",
        "rounding": TV_BELOW_ROUNDING | SV_BELOW_ROUNDING,
    }
    if "NV" in data:
        attributes |= data["NV"].attrs
    attributes["long_name"] = "normalized variance, mean TV over space / mean SV over space"
    return ratio.astype(data["TV"].dtype).assign_attrs(attributes)


def _finite(variable: xr.DataArray) -> xr.DataArray:
    return variable.copy(data=np.isfinite(variable.to_numpy()))


def _status_over(status: xr.DataArray, space: list[Hashable]) -> xr.DataArray:
    dead = (status & DEAD) != 0
    all_dead = dead.all(space)
    reduced = all_dead * DEAD + ((status & NOT_FINITE) != 0).any(space) * NOT_FINITE
    for bit in (TV_BELOW_ROUNDING, SV_BELOW_ROUNDING):
        below = (((status & bit) != 0) | dead).all(space) & ~all_dead
        reduced = reduced + below * bit
    return reduced.astype(np.uint8).assign_attrs(status.attrs)
