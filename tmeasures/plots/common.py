"""What the pictures share: which layers, what to call them, what the axes say."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any, TypeAlias

from tmeasures.errors import ArgumentError, ResultError
from tmeasures.fields import BY_STRATUM
from tmeasures.results import attribute
from tmeasures.views import of_classes, strata, stratum

if TYPE_CHECKING:
    import xarray as xr

Trees: TypeAlias = "xr.DataTree | Mapping[str, xr.DataTree] | Iterable[xr.DataTree]"
"""One result or several, as the pictures take them."""

_ENDS = {"TV": "least", "NV": "least", "TD": "least", "ND": "least", "GF": "largest"}
"""Which values of a measure are those of the most invariant units."""

_NOT_OF_INVARIANCE = ("se", "rate")
"""Last words of names of variables that say something else about the measure: its error, a rate."""

_OF_FILES = ("pdf.", "ps.", "savefig.", "svg.")
_OF_LOOKS = ("savefig.edgecolor", "savefig.facecolor", "savefig.transparent")


@contextmanager
def own_style() -> Iterator[None]:
    """Matplotlib's own style instead of the user's; how files are written stays the user's."""
    from matplotlib import rc_context, rcParams, style

    kept = {
        key: rcParams[key] for key in rcParams if key.startswith(_OF_FILES) and key not in _OF_LOOKS
    }
    with style.context("default"), rc_context(kept):
        yield


def named(trees: Trees) -> dict[str, xr.DataTree]:
    """Results by name: those of a mapping, else the network's, counted up where it is taken."""
    import xarray as xr

    # A DataTree is a mapping too, of its groups.
    if isinstance(trees, xr.DataTree) or not isinstance(trees, Iterable):
        trees = [trees]
    elif isinstance(trees, str | bytes):
        raise _not_a_result(trees)
    unnamed = ((None, tree) for tree in trees)
    pairs: list[tuple[Any, Any]] = list(trees.items() if isinstance(trees, Mapping) else unnamed)
    if not pairs:
        raise ArgumentError("there are no results to draw: give at least one")
    found: dict[str, xr.DataTree] = {}
    for key, tree in pairs:
        if not isinstance(tree, xr.DataTree):
            raise _not_a_result(tree)
        name = str(tree.attrs.get("model", "result") if key is None else key)
        if name in found:
            name = next(f"{name} {i}" for i in count(2) if f"{name} {i}" not in found)
        found[name] = tree
    return found


def only(tree: Trees) -> xr.DataTree:
    """The one result, for pictures that draw one."""
    found = named(tree)
    if len(found) > 1:
        raise ArgumentError(
            f"this picture is of one result, not of {len(found)}: draw {', '.join(found)} one by "
            f"one"
        )
    return next(iter(found.values()))


def default_title(tree: xr.DataTree, what: str) -> str:
    """What is shown, the network, the transformations, n and m."""
    return _sentence(what, _facts(tree))


def titles(trees: Mapping[str, xr.DataTree], what: str) -> tuple[str, list[str]]:
    """What holds for all results as the title of a figure, and the rest as titles of its panels."""
    facts = {name: _facts(tree) for name, tree in trees.items()}
    first = next(iter(facts.values()))
    shared = {
        key: fact for key, fact in first.items() if all(fact == f.get(key) for f in facts.values())
    }
    own = []
    for name, found in facts.items():
        rest = {key: fact for key, fact in found.items() if key not in shared}
        if rest.get("model") == f"of {name}":
            del rest["model"]
        if "class" in rest and f"class {name}".endswith(rest["class"]):
            del rest["class"]
        own.append(_sentence(name, rest).replace("\n", ", "))
    alone = len(facts) == 1 and first["model"] == f"of {next(iter(facts))}"
    return _sentence(what, shared), [""] if alone else own


def by_class(trees: Mapping[str, xr.DataTree]) -> dict[str, xr.DataTree]:
    """The results of the single classes of results, by name."""
    return {
        f"{name}, class {label}" if len(trees) > 1 else f"class {label}": stratum(tree, label)
        for name, tree in trees.items()
        for label in strata(tree)
    }


def most_invariant(variable: xr.DataArray) -> str:
    """``"least"`` or ``"largest"``; empty where a variable does not measure invariance."""
    words = str(variable.name).split("_")
    of_invariance = variable.attrs["kind"] == "value" and words[-1] not in _NOT_OF_INVARIANCE
    return _ENDS.get(words[0], "") if of_invariance else ""


def check_scale(scale: str) -> None:
    """Whether it is one that the pictures know."""
    if scale not in ("linear", "log"):
        raise ArgumentError(f"scale={scale!r} is not a scale: use 'linear' or 'log'")


def require_one_value_per_unit(data: xr.Dataset, measure: str) -> None:
    """Whether a measure of a layer has no dims beside those of the units."""
    if measure.endswith(BY_STRATUM):
        raise ResultError(
            f"{measure} has a value for each class: draw {measure.removesuffix(BY_STRATUM)} of "
            f"tm.stratum(tree, label)"
        )
    leading = [str(dim) for dim in data[measure].dims if dim not in data["status"].dims]
    if leading:
        raise ResultError(
            f"{measure} has the dim {leading[0]!r} beside those of the units: pick one of it, "
            f"such as tree.isel({leading[0]}=0)"
        )


def label(attributes: Mapping[str, Any]) -> str:
    """A variable in words, with its units."""
    return f"{attributes['long_name']} ({spelled(attributes['units'])})"


def spelled(units: str) -> str:
    """Units as an axis says them."""
    if units == "1":
        return "dimensionless"
    return re.sub("(?<=[a-z])[2-9]", lambda power: "⁰¹²³⁴⁵⁶⁷⁸⁹"[int(power[0])], units)


def _facts(tree: xr.DataTree) -> dict[str, str]:
    def read(name: str) -> object:
        return attribute(tree, name) if name in tree.attrs else "?"

    classes = of_classes(tree)
    return {
        "model": f"of {read('model')}",
        "transformations": f"under {read('transformations')}",
        **({"class": classes} if classes else {}),
        "n": f"n = {read('n_samples')} samples",
        "m": f"m = {read('n_transformations')} transformations",
    }


def _sentence(what: str, facts: Mapping[str, str]) -> str:
    first = [what, *(facts[key] for key in ("model", "transformations") if key in facts)]
    second = [facts[key] for key in ("class", "n", "m") if key in facts]
    return "\n".join([" ".join(first), *([", ".join(second)] if second else [])])


def _not_a_result(found: object) -> ArgumentError:
    if isinstance(found, str | bytes | os.PathLike):
        path = os.fsdecode(found)
        return ArgumentError(f"{path!r} is a path, not a result: open it first, tm.open({path!r})")
    return ArgumentError(
        f"an object of type {type(found).__name__} is not a result: pass what tm.measure or "
        f"tm.open returned, or a mapping or sequence of such"
    )
