"""What the pictures share: which layers, what to call them, what the axes say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from tmeasures.errors import ResultError
from tmeasures.results import attribute
from tmeasures.summaries import measured

if TYPE_CHECKING:
    import xarray as xr


def choose(
    layers: dict[str, xr.Dataset], measure: str, patterns: str | Sequence[str] | None
) -> dict[str, xr.Dataset]:
    """The layers that have the measure and match a pattern."""
    having = {name: data for name, data in layers.items() if measure in measured(data)}
    if not having:
        there = dict.fromkeys(name for data in layers.values() for name in measured(data))
        raise ResultError(
            f"the result has no measure {measure!r}: use one of {', '.join(there) or 'none'}"
        )
    if patterns is None:
        return having
    wanted = [patterns] if isinstance(patterns, str) else list(patterns)
    matches = {
        pattern: [name for name in having if fnmatchcase(name, pattern)] for pattern in wanted
    }
    idle = [pattern for pattern, names in matches.items() if not names]
    if idle or not wanted:
        raise ResultError(
            f"no layer with {measure} matches {idle[0] if idle else wanted!r}: use names or "
            f"patterns of {', '.join(having)}"
        )
    chosen = {name for names in matches.values() for name in names}
    return {name: data for name, data in having.items() if name in chosen}


def default_title(tree: xr.DataTree, what: str) -> str:
    """What is shown, the network, the transformations, n and m."""

    def read(name: str) -> object:
        return attribute(tree, name) if name in tree.attrs else "?"

    return (
        f"{what} of {read('model')} under {read('transformations')}\n"
        f"n = {read('n_samples')} samples, m = {read('n_transformations')} transformations"
    )


def label(attributes: Mapping[str, Any]) -> str:
    """A variable in words, with its units."""
    units = "dimensionless" if attributes["units"] == "1" else attributes["units"]
    return f"{attributes['long_name']} ({units})"
