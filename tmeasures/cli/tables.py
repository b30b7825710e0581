"""Results as text: tables for people, CSV and JSON for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import tmeasures as tm
from tmeasures.fields import BY_STRATUM, DEAD
from tmeasures.hints import nearest
from tmeasures.results import attribute
from tmeasures.summaries import layers_of, measured
from tmeasures.views import of_classes, strata

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

_SHOWN = {"value": "median", "p": "median", "decision": "share", "count": "mean"}
"""The one statistic of a measure that the short table shows, by kind."""

_LEGEND = "medians over finite units, dead ones included; of decisions the share that is true"
"""What the numbers of the short table are, but for those that not all results have."""

ROWS = 200
"""The most rows that a table for people has."""

_LEFT = ("layer", "stratum", "kind", "dims", "measure", "status")
"""Columns of text."""


def overview(tree: xr.DataTree) -> str:
    """What was measured, in three lines."""

    def read(name: str) -> Any:
        return attribute(tree, name) if name in tree.attrs else "?"

    seconds = read("seconds")
    took = f"{seconds:.1f} s" if isinstance(seconds, float) else "?"
    classes = of_classes(tree)
    lines = [
        f"{read('model')} under {read('transformations')}" + (f", {classes}" if classes else ""),
        f"n = {read('n_samples')} samples, m = {read('n_transformations')} transformations, "
        f"{read('n_units')} activations",
        f"measured on {read('device')} in {took}, {read('created')}, tmeasures {read('tmeasures')}",
    ]
    if "command" in tree.attrs:
        lines.append(f"by {read('command')}")
    return "\n".join(lines)


def brief(tree: xr.DataTree, layers: Sequence[str] | None = None) -> str:
    """A row per layer: one statistic of each measure, and how many units are no good.

    Above it what the numbers are, below it what has no column.
    """
    frame = tm.to_frame(tree, layers=layers, by="layer")
    chosen = set(frame["layer"])
    data = {name: each for name, each in layers_of(tree).items() if name in chosen}
    places = list(frame)[: list(frame).index("n_units") + 1]
    dead = {name: int(((each["status"] & DEAD) != 0).sum()) for name, each in data.items()}
    frame["dead"] = frame["layer"].map(dead)
    attributes = {name: each[name].attrs for each in data.values() for name in measured(each)}
    shown, legend, alike = _columns(frame, attributes)
    table = _with_gaps(frame[[*places, *shown]], data).rename(columns={"n_units": "units"} | shown)
    notes = [f"the same in every layer: {', '.join(alike)}"] if alike else []
    for name, some in attributes.items():
        if "pairs_left_out" in some and (most := _most_left_out(data, name)):
            notes.append(f"pairs of transformations left out of {name}: up to {most} in a layer")
    if any(name.endswith(BY_STRATUM) for name in attributes):
        classes = nearest("", map(str, strata(tree)))
        notes.append(f"not shown: the values of each class; --stratum shows one of {classes}")
    return "\n".join([legend, text(table), *notes])


def _with_gaps(table: pd.DataFrame, data: Mapping[str, xr.Dataset]) -> pd.DataFrame:
    """A dash, in place of NaN, where a layer does not have the measure."""
    for column in table:
        measure = str(column).rpartition("_")[0]
        lacking = {name for name, each in data.items() if measure not in each}
        if measure and len(lacking) < len(data):
            there = ~table["layer"].isin(lacking)
            table = table.assign(**{column: table[column].astype(object).where(there, "-")})
    return table


def _most_left_out(data: Mapping[str, xr.Dataset], measure: str) -> int:
    having = [each[measure] for each in data.values() if measure in each]
    return max(int(variable.attrs.get("pairs_left_out", 0)) for variable in having)


def _columns(
    frame: pd.DataFrame, attributes: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, str], str, list[str]]:
    """The columns of the short table and their heads, what they are, and counts all alike."""
    kinds = {name: some["kind"] for name, some in attributes.items()}
    shown = {f"{name}_{_SHOWN[kind]}": name for name, kind in kinds.items()}
    shown = {column: name for column, name in shown.items() if column in frame}
    counts = [column for column, name in shown.items() if kinds[name] == "count"]
    alike = [f"{shown.pop(c)} {frame[c].max():.4g}" for c in counts if frame[c].nunique() == 1]
    legend = f"{_LEGEND}; of counts the mean" if set(counts) & set(shown) else _LEGEND
    for name, some in attributes.items():
        if (column := f"{name}_score") in frame:
            shown[column] = column
            legend += f"; {column}: mean of the largest {100 * some['score']:g} %"
    values = [name for name, kind in kinds.items() if kind == "value"]
    flaws = [f"{name}_{flaw}" for name in values for flaw in ("infinite", "nan")]
    flawed = {column: column for column in flaws if column in frame and frame[column].any()}
    return shown | {"dead": "dead"} | flawed, legend, alike


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
