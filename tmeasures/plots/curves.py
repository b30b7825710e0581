"""What the layer lines show of a result: its points, its band, and their words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tmeasures.errors import ArgumentError
from tmeasures.plots.common import label, require_one_value_per_unit
from tmeasures.summaries import choose, layers_of, summary

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Line:
    """What one tree draws.

    ``lower`` and ``upper`` are the ends of the band, None where there is none; ``dead`` the share
    of each layer's units that are; ``kind`` is the variable's; ``means`` says what is drawn, in
    words, and ``left_out`` what is not.
    """

    layers: list[str]
    depth: np.ndarray
    centre: np.ndarray
    lower: np.ndarray | None
    upper: np.ndarray | None
    dead: np.ndarray
    kind: str
    means: str
    label: str
    left_out: str

    def ends(self) -> list[np.ndarray]:
        """All that is drawn."""
        return [line for line in (self.centre, self.lower, self.upper) if line is not None]


def line_of(
    tree: xr.DataTree, measure: str, patterns: str | Sequence[str] | None, statistic: str
) -> Line:
    """What the summary of a result says of a measure, layer by layer."""
    everything = layers_of(tree)
    chosen = choose(everything, measure, patterns)
    for data in chosen.values():
        require_one_value_per_unit(data, measure)
    names = list(chosen)
    variable = next(iter(chosen.values()))[measure]
    kind = variable.attrs["kind"]
    table = summary(tree).sel(layer=names)
    lower = upper = None
    if kind == "decision":
        centre, means = table[f"{measure}_share"], "share of the units for which this is so"
    elif kind == "count":
        centre, means = table[f"{measure}_mean"], "mean over units"
    elif kind == "p" or statistic == "median":
        centre, means = table[f"{measure}_median"], "median and quartiles over units"
        lower, upper = table[f"{measure}_q25"], table[f"{measure}_q75"]
    elif statistic == "score":
        centre, means = _score(table, variable)
    else:
        centre, means = table[f"{measure}_mean"], "mean and standard deviation over units"
        lower, upper = (centre + sign * table[f"{measure}_std"] for sign in (-1, 1))
        if all(not bool((data[measure] < 0).any()) for data in chosen.values()):
            lower = lower.clip(min=0)
    places = list(everything)
    depth = [100 * places.index(name) / max(len(places) - 1, 1) for name in names]
    return Line(
        names,
        np.array(depth),
        centre.to_numpy(),
        None if lower is None else lower.to_numpy(),
        None if upper is None else upper.to_numpy(),
        _dead(table, measure) if kind == "value" else np.zeros(1),
        kind,
        means,
        variable.attrs["long_name"] if kind == "decision" else label(variable.attrs),
        _left_out(table, measure),
    )


def _score(table: xr.Dataset, variable: xr.DataArray) -> tuple[xr.DataArray, str]:
    if "score" not in variable.attrs:
        raise ArgumentError(
            f"statistic='score' is not there for {variable.name}: use 'mean' or 'median'"
        )
    share = f"{100 * variable.attrs['score']:g} %"
    return table[f"{variable.name}_score"], f"mean of the largest {share} of the units"


def _dead(table: xr.Dataset, measure: str) -> np.ndarray:
    """The share of dead units among all that have a value, which may be those of whole maps."""
    counts = {name: table[f"{measure}_{name}"] for name in ("dead", "finite", "infinite", "nan")}
    dead = counts.pop("dead") / sum(counts.values())
    return np.asarray(dead)


def _left_out(table: xr.Dataset, measure: str) -> str:
    """How many units are not finite: no more than that, as the summary counts them."""
    counts = {
        word: int(table[f"{measure}_{column}"].sum())
        for word, column in (("infinite", "infinite"), ("NaN", "nan"))
        if f"{measure}_{column}" in table
    }
    return " and ".join(f"{count} {word}" for word, count in counts.items() if count)
