"""Results as text: tables for people, CSV and JSON for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import tmeasures as tm
from tmeasures.results import attribute
from tmeasures.summaries import layers_of, measured

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

_SHOWN = {"value": "median", "p": "median", "decision": "share"}
"""The one statistic of a measure that the short table shows, by kind."""

LEGEND = "medians over finite units, dead ones included; of decisions the share that is true"
"""What the numbers of the short table are."""

ROWS = 200
"""The most rows that a table for people has."""

_LEFT = ("layer", "kind", "dims", "measure", "status")
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


def short(tree: xr.DataTree, layers: Sequence[str] | None = None) -> pd.DataFrame:
    """One row per layer: one statistic of each measure, and what units are no good where any is."""
    frame = tm.to_frame(tree, layers=layers, by="layer")
    kinds = {
        name: data[name].attrs["kind"]
        for data in layers_of(tree).values()
        for name in measured(data)
    }
    shown = {f"{name}_{_SHOWN[kind]}": name for name, kind in kinds.items()}
    values = [name for name, kind in kinds.items() if kind == "value"]
    shown |= {f"{name}_dead": "dead" for name in values[:1]}
    flaws = [f"{name}_{flaw}" for name in values for flaw in ("infinite", "nan")]
    shown |= {column: column for column in flaws if frame[column].any()}
    places = [column for column in frame if str(column) in ("layer", "kind", *_leading(tree))]
    return frame[[*places, "n_units", *shown]].rename(columns={"n_units": "units"} | shown)


def text(frame: pd.DataFrame) -> str:
    """A table for people: four digits, names at the left; the middle of a long one left out."""
    wide = {name: max(map(len, (name, *map(str, frame[name])))) for name in _LEFT if name in frame}
    columns = {name: frame[name].astype(str).str.ljust(width) for name, width in wide.items()}
    headed = {name: name.ljust(width) for name, width in wide.items()}
    table = frame.assign(**columns).rename(columns=headed)
    return str(table.to_string(index=False, float_format="{:.4g}".format, max_rows=ROWS))


def as_json(tree: xr.DataTree, frame: pd.DataFrame) -> str:
    """The root attributes and the rows; NaN is null, infinite ones are the text ``"inf"``.

    Not by pandas, which rounds to 15 decimal places: of a variance of 1e-12 three digits are left.
    """
    attributes = {str(name): attribute(tree, str(name)) for name in tree.attrs}
    columns = [_plain(frame[name]) for name in frame]
    rows = [dict(zip(frame, row, strict=True)) for row in zip(*columns, strict=True)]
    return json.dumps({"attributes": attributes, "rows": rows}, allow_nan=False)


def _plain(column: pd.Series) -> list[Any]:
    """What JSON can hold."""
    values: list[Any] = column.astype(object).where(column.notna(), None).tolist()
    if column.dtype.kind == "f":
        return [str(v) if v is not None and math.isinf(v) else v for v in values]
    return values


def _leading(tree: xr.DataTree) -> list[str]:
    return [str(dim) for dim in tm.summary(tree).dims if dim != "layer"]
