"""Results as text: tables for people, CSV and JSON for programs."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import tmeasures as tm
from tmeasures.results import attribute
from tmeasures.summaries import STATISTICS, choose, layers_of, measured

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

_SHOWN = {"value": "median", "p": "median", "decision": "share"}
"""The one statistic of a measure that the short table shows, by kind."""

ROWS = 200
"""The most rows that a table for people has."""

_LEFT = ("layer", "kind", "measure", "status")
"""Columns of text."""


def overview(tree: xr.DataTree) -> str:
    """What was measured, in three lines."""

    def read(name: str) -> Any:
        return attribute(tree, name) if name in tree.attrs else "?"

    seconds = read("seconds")
    took = f"{seconds:.1f} s" if isinstance(seconds, float) else "?"
    lines = [
        f"{read('model')} under {read('transformations')}",
        f"n = {read('n_samples')} samples, m = {read('n_transformations')} transformations, "
        f"{read('n_units')} activations",
        f"measured on {read('device')} in {took}, {read('created')}, tmeasures {read('tmeasures')}",
    ]
    if "command" in tree.attrs:
        lines.append(f"by {read('command')}")
    return "\n".join(lines)


def summary(
    tree: xr.DataTree, measure: str | None = None, layers: list[str] | None = None
) -> pd.DataFrame:
    """One row per layer: the statistics of one measure, or one of each.

    Without a measure, columns of infinite and NaN units are shown where there are any.
    """
    kinds = _kinds(tree)
    frame = tm.summary(tree).to_dataframe().reset_index()
    chosen = choose(layers_of(tree), measure or next(iter(kinds)), layers)
    frame = frame[frame["layer"].isin(chosen)]
    if measure is None:
        columns = [f"{name}_{_SHOWN[kind]}" for name, kind in kinds.items()]
        values = [name for name, kind in kinds.items() if kind == "value"]
        columns += [f"{name}_dead" for name in values[:1]]
        flaws = [f"{name}_{flaw}" for name in values for flaw in ("infinite", "nan")]
        columns += [column for column in flaws if frame[column].any()]
    else:
        columns = [f"{measure}_{name}" for name in STATISTICS if f"{measure}_{name}" in frame]
    leading = [column for column in frame if "_" not in column]
    return frame[[*leading, "n_units", *columns]]


def text(frame: pd.DataFrame) -> str:
    """A table for people: four digits, names at the left; the middle of a long one left out."""
    wide = {name: max(map(len, (name, *map(str, frame[name])))) for name in _LEFT if name in frame}
    columns = {name: frame[name].astype(str).str.ljust(width) for name, width in wide.items()}
    headed = {name: name.ljust(width) for name, width in wide.items()}
    table = frame.assign(**columns).rename(columns=headed)
    return str(table.to_string(index=False, float_format="{:.4g}".format, max_rows=ROWS))


def as_json(tree: xr.DataTree, frame: pd.DataFrame) -> str:
    """The root attributes and the rows; NaN is null, infinite ones are the text ``"inf"``."""
    attributes = {str(name): attribute(tree, str(name)) for name in tree.attrs}
    rows = [
        {name: _plain(value) for name, value in row.items()}
        for row in frame.astype(object).to_dict("records")
    ]
    return json.dumps({"attributes": attributes, "rows": rows}, indent=1)


def _plain(value: Any) -> str | int | float | None:
    """What JSON can hold."""
    if isinstance(value, float) and math.isinf(value):
        return str(value)
    return value if isinstance(value, str | int | float) and value == value else None


def _kinds(tree: xr.DataTree) -> dict[str, str]:
    """Kind of each measure, by name, in the order of the results."""
    return {
        name: data[name].attrs["kind"]
        for data in layers_of(tree).values()
        for name in measured(data)
    }
