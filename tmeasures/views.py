"""Results made of a result: one value per channel, or one class alone.

Each has the groups of a result and a summary of its own, so that all that takes a result takes it.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tmeasures.errors import ArgumentError, ResultError
from tmeasures.fields import (
    BY_STRATUM,
    NOT_FINITE,
    STATUS_BY_STRATUM,
    SV_BELOW_ROUNDING,
    TV_BELOW_ROUNDING,
)
from tmeasures.hints import nearest
from tmeasures.results import attribute, encode
from tmeasures.summaries import layers_of, measured, status_of, status_over, summarise

if TYPE_CHECKING:
    import xarray as xr

SPATIAL = ("z", "y", "x", "time")
"""Dims over which a map extends."""


def channels(tree: xr.DataTree, how: Literal["mean", "ratio"] = "mean") -> xr.DataTree:
    """Reduce feature maps to one value per channel.

    The dims ``z``, ``y``, ``x`` and ``time`` are taken together; a layer that has none of them
    stays as it is, and so does a measure of whole maps, which has one value per channel already.

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
        ResultError: The tree is not a result, or has no TV and SV to take the ratio of: also where
            they are means over classes, since the mean of NV is not the ratio of their means.

    Example:
        >>> import torch, tmeasures as tm
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU())
        >>> tree = tm.measure(
        ...     network, torch.rand(8, 1, 9, 9), tm.rotations(4), measures=["TV", "SV", "NV"]
        ... )
        >>> tm.channels(tree, "ratio")["layers/0"]["NV"].dims
        ('channel',)
    """
    if how not in ("mean", "ratio"):
        raise ArgumentError(f"how={how!r} is no way to reduce maps: give 'mean' or 'ratio'")
    layers = layers_of(tree)
    if how == "ratio":
        _require_variances(layers)
    reduced = {name: per_channel(data, how) for name, data in layers.items()}
    samples = tree.children["samples"].to_dataset(inherit=False)
    return _rebuilt(tree, reduced, tree.attrs | {"channels": how}, samples)


def stratum(tree: xr.DataTree, label: Any) -> xr.DataTree:
    """The result of one class: what measuring its samples alone would give.

    Of a run with ``stratify="each"``, which keeps every measure within each class. Thresholds that
    hold for the whole set (Goodfellow) are those of the whole set here too.

    Args:
        tree: A result with a value for each class.
        label: Of the class, as it stands in the coordinate ``stratum`` of the layers: a number or
            a text.

    Returns:
        A tree of the same groups, to save, draw or summarise as any result. Of each
        ``V_by_stratum`` it has the values of the class as ``V``, with its attributes, and its
        status as ``status``; ``/samples`` and the root attribute ``n_samples`` are those of the
        class, the root attribute ``stratum`` is its label, and the summary is made anew. Variables
        that were not kept by class are left out. The input is unchanged.

    Raises:
        ResultError: The tree is not a result, keeps no values of single classes, is that of one
            class already, or has no such class.

    Example:
        >>> import numpy as np, torch, tmeasures as tm
        >>> images, kinds = torch.rand(12, 1, 9, 9), np.array(["cat", "dog"] * 6)
        >>> tree = tm.measure(
        ...     torch.nn.Conv2d(1, 4, 3), images, tm.rotations(4), measures="NV", labels=kinds,
        ...     stratify="each",
        ... )
        >>> dogs = tm.stratum(tree, "dog")
        >>> dogs["layers/output/NV"].dims, dogs.attrs["n_samples"]
        (('channel', 'y', 'x'), 6)
    """
    labels = strata(tree)
    if label not in labels:
        raise ResultError(
            f"the result has no class {label!r}: use one of "
            f"{nearest(repr(label), map(repr, labels))}"
        )
    at = labels.index(label)
    layers = {name: _of_class(data, at) for name, data in layers_of(tree).items()}
    samples = tree.children["samples"].to_dataset(inherit=False)
    samples = samples.isel(sample=np.flatnonzero(samples["labels"].to_numpy() == labels[at]))
    own = {"n_samples": samples.sizes["sample"], "stratum": encode(labels[at])}
    return _rebuilt(tree, layers, tree.attrs | own, samples)


def strata(tree: xr.DataTree) -> list[Any]:
    """The labels of the classes that a result has values of, or an error if it has of none."""
    for data in layers_of(tree).values():
        if STATUS_BY_STRATUM in data:
            return list(data["stratum"].to_numpy().tolist())
    if "stratum" in tree.attrs:
        raise ResultError(
            f"this is the result of class {attribute(tree, 'stratum')!r} already: take another of "
            f"the whole result"
        )
    raise ResultError("the result has no values of single classes: measure with stratify='each'")


def of_classes(tree: xr.DataTree) -> str:
    """Which class, or that they are means over classes, in words; empty for other results."""
    if "stratum" in tree.attrs:
        return f"class {attribute(tree, 'stratum')}"
    return "means over classes" if tree.attrs.get("stratify", "none") != "none" else ""


def per_channel(
    data: xr.Dataset, how: str = "mean", over: Collection[Hashable] = SPATIAL
) -> xr.Dataset:
    """One layer as `channels` reduces it; the very dataset where it has none of the dims."""
    status = data["status"]
    space = [dim for dim in status.dims if dim in over]
    if not space:
        return data
    reduced = {name: _mean_over(data, name, space) for name in measured(data)}
    if how == "ratio":
        reduced["NV"] = _ratio_over(data, space)
    for name in ("status", STATUS_BY_STRATUM):
        if name in data:
            reduced[name] = status_over(data[name], space)
    return data.drop_dims(space).assign(reduced)[list(reduced)]


def _rebuilt(
    tree: xr.DataTree,
    layers: Mapping[str, xr.Dataset],
    attributes: Mapping[Any, Any],
    samples: xr.Dataset,
) -> xr.DataTree:
    """The tree with other layers, attributes and samples, and their summary."""
    import xarray as xr

    groups: dict[str, xr.Dataset] = {
        "/": xr.Dataset(attrs=attributes),
        "/summary": summarise(layers),
        "/transformations": tree.children["transformations"].to_dataset(inherit=False),
        "/samples": samples,
        "/layers": xr.Dataset(),
    }
    nodes = zip(tree.children["layers"].children, layers.values(), strict=True)
    return xr.DataTree.from_dict(groups | {f"/layers/{node}": data for node, data in nodes})


def _of_class(data: xr.Dataset, at: int) -> xr.Dataset:
    import xarray as xr

    kept = {}
    for name in data.data_vars:
        if str(name).endswith(BY_STRATUM):
            values = data[name].isel(stratum=at, drop=True)
            values.attrs["long_name"] = values.attrs["long_name"].removesuffix(", in each stratum")
            kept[str(name).removesuffix(BY_STRATUM)] = values
    return xr.Dataset(kept, attrs=data.attrs)


def _require_variances(layers: Mapping[str, xr.Dataset]) -> None:
    for layer, data in layers.items():
        missing = [name for name in ("TV", "SV") if name not in data]
        if missing:
            raise ResultError(
                f"layer {layer!r} has no {' and no '.join(missing)}, which the ratio per channel "
                "is made of: measure with measures=['TV', 'SV', 'NV'], or use how='mean'"
            )
        if "TV_strata" in data:
            raise ResultError(
                "TV and SV are means over classes, whose ratio is not the mean of NV: take the "
                "ratio of one class, tm.stratum(tree, label), or use how='mean'"
            )


def _mean_over(data: xr.Dataset, measure: str, over: list[Hashable]) -> xr.DataArray:
    """A measure's mean over those of the dims that it has."""
    variable = data[measure]
    space = [dim for dim in over if dim in variable.dims]
    if not space:
        return variable
    name = variable.attrs["long_name"]
    if variable.attrs["kind"] == "decision":
        known = variable.where((status_of(data, measure) & NOT_FINITE) == 0)
        share = {"kind": "value", "long_name": f"{name}, share of locations"}
        return known.mean(space).assign_attrs(variable.attrs | share)
    attributes = variable.attrs | {"long_name": f"{name}, mean over space"}
    finite = _finite(variable)
    mean = variable.where(finite).mean(space, dtype=np.float64)
    infinite = (variable.notnull() & ~finite).any(space) & ~finite.any(space)
    precision = variable.dtype if variable.dtype.kind == "f" else np.float32
    return mean.where(~infinite, np.inf).astype(precision).assign_attrs(attributes)


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
