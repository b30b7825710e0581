"""What the layer lines show of a result: its points, its band, and their words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tmeasures.errors import ArgumentError, ResultError
from tmeasures.plots.common import label, require_one_value_per_unit
from tmeasures.summaries import choose, layers_of, matching, summary

if TYPE_CHECKING:
    import xarray as xr


FLOOR = "_floor"
"""Ending of the variables that say what warping alone makes of a measure."""


@dataclass(frozen=True)
class Wanted:
    """The measures that are asked for, and what is drawn of them.

    ``floors`` names those whose floor has to be there; with ``every_floor`` those of others are
    drawn where there are any.
    """

    measures: tuple[str, ...]
    floors: frozenset[str]
    every_floor: bool
    layers: str | Sequence[str] | None
    statistic: str
    bands: bool

    def draws_floor(self, measure: str) -> bool:
        """Whether the floor of a measure is drawn if it is there."""
        return self.every_floor or measure in self.floors


@dataclass(frozen=True)
class Line:
    """What one tree draws of one measure.

    ``lower`` and ``upper`` are the ends of the band, None where there is none, and so is ``floor``;
    ``dead`` the share of each layer's units that are; ``kind`` is the variable's; ``means`` says
    what is drawn, with braces for what it is of, ``over``; ``left_out`` what is not drawn, and
    ``lacking`` how many layers have no such measure.
    """

    measure: str
    layers: list[str]
    depth: np.ndarray
    centre: np.ndarray
    lower: np.ndarray | None
    upper: np.ndarray | None
    floor: np.ndarray | None
    dead: np.ndarray
    kind: str
    means: str
    over: str
    label: str
    units: str
    left_out: str
    lacking: int

    def ends(self) -> list[np.ndarray]:
        """All that is drawn."""
        return [*self.points(), *(end for end in (self.lower, self.upper) if end is not None)]

    def points(self) -> list[np.ndarray]:
        """All but the band."""
        return [self.centre] if self.floor is None else [self.centre, self.floor]


def lines_of(tree: xr.DataTree, wanted: Wanted) -> list[Line]:
    """What the summary of a result says of each measure, layer by layer."""
    everything = layers_of(tree)
    chosen = _chosen(everything, wanted)
    places = list(everything)
    depth = [100 * places.index(name) / max(len(places) - 1, 1) for name in chosen]
    table = summary(tree).sel(layer=list(chosen))
    return [_line(name, wanted, chosen, np.array(depth), table) for name in wanted.measures]


def _chosen(everything: dict[str, xr.Dataset], wanted: Wanted) -> dict[str, xr.Dataset]:
    """The layers that have some of the measures and match a pattern; each measure has some."""
    for name in wanted.floors:
        choose(everything, f"{name}{FLOOR}", None)
    having = [choose(everything, name, None) for name in wanted.measures]
    some = {name: data for name, data in everything.items() if any(name in has for has in having)}
    chosen = matching(some, wanted.layers, f" with {' or '.join(wanted.measures)}")
    for name, has in zip(wanted.measures, having, strict=True):
        if not has.keys() & chosen.keys():
            raise ResultError(
                f"none of the layers asked for has {name}: take the measure out, or more layers, "
                f"such as {next(iter(has))}"
            )
    return chosen


def _line(
    measure: str,
    wanted: Wanted,
    chosen: dict[str, xr.Dataset],
    depth: np.ndarray,
    table: xr.Dataset,
) -> Line:
    having = [data for data in chosen.values() if measure in data]
    for data in having:
        require_one_value_per_unit(data, measure)
    variable = having[0][measure]
    kind, attributes = variable.attrs["kind"], variable.attrs
    centre, band, means = _points(table, variable, wanted)
    over = "units"
    if any(data[measure].ndim < data["status"].ndim for data in having):
        over = "feature maps"
    if not variable.ndim:  # one value for each layer
        band, means = [], ""
    if band and not any(bool((data[measure] < 0).any()) for data in having):
        band[0] = np.maximum(band[0], 0)
    return Line(
        measure,
        list(chosen),
        depth,
        centre,
        band[0] if band else None,
        band[1] if band else None,
        _floor(table, measure, wanted),
        _dead(table, measure) if kind == "value" else np.zeros(1),
        kind,
        means,
        over,
        attributes["long_name"] if kind == "decision" else label(attributes),
        attributes["units"],
        _left_out(table, measure),
        len(chosen) - len(having),
    )


def _points(
    table: xr.Dataset, variable: xr.DataArray, wanted: Wanted
) -> tuple[np.ndarray, list[np.ndarray], str]:
    """The points of a line, the ends of its band if it has one, and what they are in words."""

    def column(name: str) -> np.ndarray:
        return table[f"{variable.name}_{name}"].to_numpy()

    kind, band = variable.attrs["kind"], []
    if kind == "decision":
        return column("share"), [], "share of the {} for which this is so"
    if kind == "count":
        return column("mean"), [], "mean over {}"
    if kind == "p" or wanted.statistic == "median":
        if wanted.bands:
            band = [column("q25"), column("q75")]
        return column("median"), band, f"median{' and quartiles' if band else ''} over {{}}"
    if wanted.statistic == "score":
        if "score" not in variable.attrs:
            raise ArgumentError(
                f"statistic='score' is not there for {variable.name}: use 'mean' or 'median'"
            )
        share = f"{100 * variable.attrs['score']:g} %"
        return column("score"), [], f"mean of the largest {share} of the {{}}"
    mean, std = column("mean"), column("std")
    if wanted.bands:
        band = [mean - std, mean + std]
    return mean, band, f"mean{' and standard deviation' if band else ''} over {{}}"


def _floor(table: xr.Dataset, measure: str, wanted: Wanted) -> np.ndarray | None:
    column = f"{measure}{FLOOR}_{'median' if wanted.statistic == 'median' else 'mean'}"
    if wanted.draws_floor(measure) and column in table:
        return np.asarray(table[column])
    return None


def _dead(table: xr.Dataset, measure: str) -> np.ndarray:
    """The share of dead units among all that have a value, which may be those of whole maps."""
    counts = {name: table[f"{measure}_{name}"] for name in ("dead", "finite", "infinite", "nan")}
    dead, count = counts.pop("dead").to_numpy(), sum(counts.values())
    return np.asarray(dead / np.maximum(count, 1))


def _left_out(table: xr.Dataset, measure: str) -> str:
    """How many units are not finite: no more than that, as the summary counts them."""
    counts = {
        word: int(table[f"{measure}_{column}"].sum())
        for word, column in (("infinite", "infinite"), ("NaN", "nan"))
        if f"{measure}_{column}" in table
    }
    return " and ".join(f"{count} {word}" for word, count in counts.items() if count)
