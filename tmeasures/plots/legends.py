"""How the layer lines are told apart: their colours, styles and markers, and the legend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tmeasures.plots.curves import Line
from tmeasures.plots.text import fitted

# Okabe and Ito (2008), without the yellow, which is faint on white: colours that people with
# protanopia, deuteranopia and tritanopia tell apart.
LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
"""Colours of the lines, in turn."""

MARKERS = "os^Dv<>P"
"""Markers of the lines, in turn; one more than colours, so that 56 lines differ."""

STYLES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (6, 2, 1.5, 2)), (0, (6, 2, 1.5, 2, 1.5, 2)))
"""Styles of the measures of several results, in turn; dots are those of floors."""

_GREY = "0.25"
"""What the legend has in place of a colour, where any may be."""


@dataclass(frozen=True)
class Look:
    """Of one line."""

    colour: str
    style: Any
    marker: str

    @property
    def line(self) -> dict[str, Any]:
        """Of the line itself."""
        return {
            "color": self.colour,
            "linestyle": self.style,
            "marker": self.marker,
            "markersize": 4.5,
            "markeredgecolor": "white",
            "markeredgewidth": 0.5,
            "linewidth": 1.4,
        }

    @property
    def floor(self) -> dict[str, Any]:
        """Of its floor."""
        return {
            "color": self.colour,
            "linestyle": (0, (1, 1.6)),
            "marker": self.marker,
            "markersize": 2.2,
            "linewidth": 1,
        }


@dataclass(frozen=True)
class Key:
    """One entry of the legend: how a line looks, and what it is."""

    style: dict[str, Any]
    text: str


def looks_of(groups: Sequence[Sequence[Line]], dashed: Sequence[bool]) -> list[list[Look]]:
    """Of the lines of each result: by its colour, and of several measures by their style."""
    if len(groups) > 1 and len(groups[0]) > 1:
        return [
            [
                Look(_in_turn(LINES, i), _in_turn(STYLES, j), _in_turn(MARKERS, j))
                for j in range(len(group))
            ]
            for i, group in enumerate(groups)
        ]
    return [
        [
            Look(_in_turn(LINES, i + j), "--" if broken else "-", _in_turn(MARKERS, i + j))
            for j in range(len(group))
        ]
        for i, (group, broken) in enumerate(zip(groups, dashed, strict=True))
    ]


def keys_of(
    groups: Sequence[Sequence[Line]], looks: Sequence[Sequence[Look]], own: Sequence[str]
) -> list[Key]:
    """The legend: of results, of measures, or of both apart, and of floors; none for one line.

    Args:
        groups: The lines of each result, one for each measure.
        looks: Theirs.
        own: Names of the results; empty where the title says all.
    """
    if len(groups) > 1 and len(groups[0]) > 1:
        return _of_both(groups, looks, own)
    if len(groups) > 1:
        keys = [
            Key(row[0].line, _text(name, _left_out(group[0])))
            for name, group, row in zip(own, groups, looks, strict=True)
        ]
        return keys + _of_floors(groups, [Look(_GREY, "-", "")])
    (group,), (row,) = groups, looks
    floors = _of_floors(groups, row)
    if len(group) == 1:
        text = _text(own[0] or group[0].measure, _left_out(group[0]))
        return [Key(row[0].line, text), *floors] if own[0] or floors else []
    names = [f"{own[0]}, {line.measure}" if own[0] else line.measure for line in group]
    keys = [
        Key(look.line, _text(name, [*_lacking([line]), *_left_out(line)]))
        for look, name, line in zip(row, names, group, strict=True)
    ]
    return keys + floors


def _of_both(
    groups: Sequence[Sequence[Line]], looks: Sequence[Sequence[Look]], own: Sequence[str]
) -> list[Key]:
    """Results by colour, then measures by style."""
    results = []
    for name, group, row in zip(own, groups, looks, strict=True):
        notes = [f"{line.measure}: {note}" for line in group for note in _left_out(line)]
        results.append(Key({"color": row[0].colour, "linewidth": 4}, _text(name, notes)))
    grey = [Look(_GREY, look.style, look.marker) for look in looks[0]]
    measures = [
        Key(look.line, _text(lines[0].measure, _lacking(lines)))
        for look, lines in zip(grey, zip(*groups, strict=True), strict=True)
    ]
    return results + measures + _of_floors(groups, grey)


def _of_floors(groups: Sequence[Sequence[Line]], looks: Sequence[Look]) -> list[Key]:
    return [
        Key(look.floor, fitted(f"floor of {lines[0].measure}", 2.4, 8))
        for look, lines in zip(looks, zip(*groups, strict=True), strict=True)
        if any(line.floor is not None for line in lines)
    ]


def _text(name: str, notes: Sequence[str]) -> str:
    return "\n".join([fitted(name, 2.4, 8), *(f"({note})" for note in notes)])


def _left_out(line: Line) -> list[str]:
    """How many of its units are."""
    return [f"{line.left_out} left out"] if line.left_out else []


def _lacking(lines: Sequence[Line]) -> list[str]:
    """In how many layers there is no such measure, of one result or several."""
    counts = dict.fromkeys(f"{line.lacking} of {len(line.layers)}" for line in lines)
    lacking = any(line.lacking for line in lines)
    return [f"not in {' or '.join(counts)} layers"] if lacking else []


def _in_turn(of: Sequence[Any], i: int) -> Any:
    return of[i % len(of)]
