"""Measures, one file each; a new file with a ``Measure`` that has a short name is a new measure."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable
from functools import cache
from importlib import import_module
from itertools import chain

from tmeasures.errors import ArgumentError
from tmeasures.fields import Field
from tmeasures.hints import called, near
from tmeasures.measures.base import Measure, Quantities

__all__ = ["Field", "Measure", "Quantities", "named", "resolve", "takes_all"]


@cache
def named() -> dict[str, type[Measure]]:
    """The measures of the library by short name."""
    found: dict[str, type[Measure]] = {}
    for module in pkgutil.iter_modules(__path__):
        members = vars(import_module(f"{__name__}.{module.name}"))
        for member in members.values():
            if (
                isinstance(member, type)
                and issubclass(member, Measure)
                and hasattr(member, "short")
            ):
                found[member.short] = member
    return dict(sorted(found.items()))


def takes_all(measures: object) -> bool:
    """Whether these are ``"all"``, or have it among them."""
    if isinstance(measures, list | tuple):
        return any(map(takes_all, measures))
    return isinstance(measures, str) and measures == "all"


def resolve(measures: str | Measure | Iterable[str | Measure]) -> list[Measure]:
    """Short names and objects as objects; unknown names are an error that says what is near.

    ``"all"`` is every measure of the library as it comes, also among others.
    """
    if isinstance(measures, (str, Measure)) or not isinstance(measures, Iterable):
        measures = [measures]
    resolved: list[Measure] = []
    given = (list(named()) if takes_all(measure) else [measure] for measure in measures)
    for measure in chain.from_iterable(given):
        if isinstance(measure, str):
            if measure not in named():
                raise ArgumentError(
                    f"measure {measure!r} is unknown{near(measure, named())}: give one of "
                    f"{', '.join(named())}, 'all', or an object such as tm.Anova(paired=True)"
                )
            measure = named()[measure]()
        elif not isinstance(measure, Measure):
            is_class = isinstance(measure, type) and issubclass(measure, Measure)
            what = f"{measure.__name__}()" if is_class else "a tm.Measure"
            raise ArgumentError(
                f"{called(measure)} is no measure: give {what}, or a short name of "
                f"{', '.join(named())}"
            )
        if measure not in resolved:
            resolved.append(measure)
    if not resolved:
        raise ArgumentError(f"measures=[] asks for nothing: give some of {', '.join(named())}")
    return resolved
