"""A result as one tidy table: a row for each measure of each activation."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tmeasures.errors import ArgumentError
from tmeasures.fields import BY_STRATUM, STATUS
from tmeasures.summaries import (
    STATISTICS,
    choose,
    layers_of,
    matching,
    measured,
    status_of,
    summary,
)
from tmeasures.views import per_channel

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

By = Literal["unit", "channel", "layer"]


def to_frame(
    tree: xr.DataTree,
    measures: str | Sequence[str] | None = None,
    *,
    layers: str | Sequence[str] | None = None,
    by: By = "unit",
) -> pd.DataFrame:
    """A result as a tidy pandas table: one row for each value of each measure.

    Columns: ``layer``, an ordered category in forward order; the position of the unit, one column
    for each dim that a layer has (``channel``, ``y``, ``x``, ``time``, ``token``, ``unit``, ...,
    dims of a measure's own such as ``transformation`` before them), missing where the values lack
    the dim; ``measure``, the name of the variable; ``value``, float64, in the measure's own units,
    decisions as 0 and 1; ``status``, the words of the unit's status bits (``dead``, ``not_finite``,
    ``tv_below_rounding``, ``sv_below_rounding``), empty where none is set. No row is left out: a
    value may be NaN or infinite.

    A measure of whole feature maps has one row per channel, with ``y`` and ``x`` missing, and the
    status that the channel has in `tmeasures.channels`: it is not repeated for each location, where
    means over rows would count it by the size of the map. With ``by="channel"`` it stands beside
    the means of the others. One of single classes has the label in a column ``stratum``, and the
    unit's status within that class.

    Args:
        tree: A result of `tmeasures.measure` or `tmeasures.open`.
        measures: Name or names of variables; None: all of them but those of single classes
            (``NV_by_stratum``), which have a row for each class and have to be named.
        layers: Patterns of names of layers (``"conv*"``); None: all of them.
        by: ``"unit"``: every activation. ``"channel"``: feature maps reduced to a value per channel
            as `tmeasures.channels` does; other layers as they are. ``"layer"``: not tidy but the
            table of `tmeasures.summary`, a row for each layer, and each class where that is asked
            for, with ``layer``, ``kind``, ``n_units`` and the statistics of each measure,
            ``NV_mean`` and so on.

    Returns:
        The table, layers in forward order, units in C order. About 25 bytes a row, that is 0.5 GB
        and 2 s for three million activations and six variables, so pick measures and layers there.

    Raises:
        ArgumentError: ``by`` is neither word.
        ResultError: The tree is not a result, or has no such measure or layer.

    Example:
        >>> import torch, tmeasures as tm
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU())
        >>> tree = tm.measure(network, torch.rand(8, 1, 9, 9), tm.rotations(4), measures=["NV"])
        >>> frame = tm.to_frame(tree, "NV", by="channel")
        >>> frame.columns.tolist()
        ['layer', 'channel', 'measure', 'value', 'status']
        >>> frame[["layer", "channel"]].values.tolist()
        [['0', 0], ['0', 1], ['1', 0], ['1', 1]]
        >>> frame.groupby("layer", observed=True).value.median().shape
        (2,)
    """
    import pandas as pd

    if by not in ("unit", "channel", "layer"):
        raise ArgumentError(f"by={by!r} is not a kind of row: use 'unit', 'channel' or 'layer'")
    there = layers_of(tree)
    chosen = _chosen(there, measures, layers)
    names = list(chosen)
    if by == "layer":
        return _by_layer(tree, names, {layer for some in chosen.values() for layer in some})
    dims = {str(dim) for data in there.values() for dim in data.dims}
    if taken := dims & {"layer", "measure", "value", "status"}:
        raise ArgumentError(
            f"a layer has a dim named {min(taken)!r}, which is a column of the table: measure with "
            f"another name in layout="
        )
    categories = {
        "layer": pd.CategoricalDtype(list(there), ordered=True),
        "measure": pd.CategoricalDtype(names),
        "status": pd.CategoricalDtype(_WORDS),
    }
    parts = []
    for layer, data in there.items():
        reduced = per_channel(data) if by == "channel" else data
        for name in names:
            if layer in chosen[name]:
                part = pd.DataFrame(_columns(layer, reduced[name], status_of(reduced, name)))
                parts.append(part.astype(categories))
    frame = pd.concat(parts, ignore_index=True)
    frame["status"] = frame["status"].cat.remove_unused_categories()
    places = [column for column in frame if column not in ("value", *categories)]
    whole = {place: np.int32 for place in places if place != "stratum" and not frame[place].hasnans}
    return frame[["layer", *places, "measure", "value", "status"]].astype(whole)


def _chosen(
    there: dict[str, xr.Dataset],
    measures: str | Sequence[str] | None,
    layers: str | Sequence[str] | None,
) -> dict[str, Collection[str]]:
    """The names of the layers, by measure."""
    everything = dict.fromkeys(name for data in there.values() for name in measured(data))
    if measures is None:
        among = matching(there, layers)
        pooled = [name for name in everything if not name.endswith(BY_STRATUM)]
        having = {name: [layer for layer in among if name in among[layer]] for name in pooled}
        return {name: some for name, some in having.items() if some}
    given = [measures] if isinstance(measures, str) else measures
    if not given:
        raise ArgumentError(f"measures=[] asks for nothing: give some of {', '.join(everything)}")
    return {name: choose(there, name, layers) for name in dict.fromkeys(given)}


def _by_layer(tree: xr.DataTree, names: Sequence[str], layers: Collection[str]) -> pd.DataFrame:
    table = summary(tree)
    columns = [f"{name}_{statistic}" for name in names for statistic in STATISTICS]
    table = table[[column for column in columns if column in table]]
    places = ["layer", *(str(dim) for dim in table.dims if dim != "layer")]
    frame = table.to_dataframe(places).reset_index()[[*places, "kind", "n_units", *table]]
    return frame[frame["layer"].isin(layers)].reset_index(drop=True)


def _columns(layer: str, values: xr.DataArray, status: xr.DataArray) -> dict[str, Any]:
    """One measure of one layer, row by row; positions may be missing elsewhere, so nullable."""
    import pandas as pd

    bits = status.broadcast_like(values).transpose(*values.dims).to_numpy().ravel()
    positions = np.indices(values.shape, np.int32).reshape(values.ndim, values.size)
    none = np.zeros(values.size, bool)
    return {
        "layer": pd.Categorical.from_codes(none.astype(np.int8), [layer]),
        **{
            str(dim): pd.array(values[dim].to_numpy())[at]
            if dim == "stratum"
            else pd.arrays.IntegerArray(at, none)
            for dim, at in zip(values.dims, positions, strict=True)
        },
        "measure": pd.Categorical.from_codes(none.astype(np.int8), [str(values.name)]),
        "value": values.to_numpy().ravel().astype(np.float64),
        "status": pd.Categorical.from_codes(bits.astype(np.int8), _WORDS),
    }


_WORDS = [
    " ".join(word for word, bit in STATUS.items() if bits & bit)
    for bits in range(2 * max(STATUS.values()))
]
"""What each combination of status bits says."""
