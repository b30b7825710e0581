"""The table: a row for each problem, measures and state of the allocator."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

Figures = dict[str, Any]
Show = Callable[[Any], str]

EMPTY = ""


def number(digits: int, scale: float = 1) -> Show:
    """Shows a number with so many decimals, in units of ``scale``."""
    return lambda value: f"{value / scale:,.{digits}f}"


def spread(digits: int, scale: float = 1) -> Show:
    """Shows the median of readings, and the least and the greatest."""
    show = number(digits, scale)
    return lambda of: f"{show(of['median'])} ({show(of['least'])}..{show(of['greatest'])})"


def median(digits: int, scale: float = 1) -> Show:
    """Shows the median of readings."""
    show = number(digits, scale)
    return lambda of: show(of["median"])


def scientific(value: float) -> str:
    """Shows a small number."""
    return f"{value:.1e}"


MEBIBYTE = 2**20

_COLUMNS: tuple[tuple[str, str, Show], ...] = (
    ("network", "network", str),
    ("measures", "case", str),
    ("n", "n", number(0)),
    ("m", "m", number(0)),
    ("device", "device", str),
    ("backend", "backend", str),
    ("allocator", "allocator", str),
    ("order", "order", str),
    ("batch", "batch", number(0)),
    ("seconds", "seconds", spread(3)),
    ("fixed s", "fixed_s", median(3)),
    ("slope", "slope", spread(2)),
    ("/ forward", "ratio", spread(2)),
    ("/ plain forward", "ratio_plain", spread(2)),
    ("1e6 act/s", "activations_per_s", median(0, 1e6)),
    ("GB/s", "gb_per_s", median(2)),
    ("copy GB/s", "copy", number(1)),
    ("peak MiB", "peak", number(0, MEBIBYTE)),
    ("peer s", "peer_s", median(2)),
    ("peer / ours", "peer_over_ours", number(1)),
    ("peer MiB", "peer_peak", number(0, MEBIBYTE)),
    ("difference", "difference", scientific),
)
"""Heading, name of the figure, and how it is shown."""

_KEY = ("problem", "case", "n", "m", "allocator")
_ROWS = ("overhead", "costs", "peer", "beyond", "big")


def rows(found: Figures) -> tuple[list[str], list[list[str]]]:
    """Headings and cells; columns in which no row has a figure are left out."""
    machine = found["machine"]
    always = {"device": machine["device"], "backend": machine["kernels"]}
    records = [always | {"copy": machine["copy, GB/s"]} | record for record in _merged(found)]
    columns = [column for column in _COLUMNS if any(_has(record, column[1]) for record in records)]
    cells = [
        [show(record[name]) if _has(record, name) else EMPTY for _, name, show in columns]
        for record in records
    ]
    return [heading for heading, _, _ in columns], cells


def _has(record: Figures, name: str) -> bool:
    return record.get(name) is not None


def _merged(found: Figures) -> Iterator[Figures]:
    """What was timed, with the peak memory that a part of its own gives."""
    peaks = {_key(record): record["peak"] for record in found["records"] if _is(record, "memory")}
    for record in found["records"]:
        if record["part"] in _ROWS:
            yield {"peak": peaks.get(_key(record))} | record


def _is(record: Figures, part: str) -> bool:
    return bool(record["part"] == part)


def _key(record: Figures) -> tuple[Any, ...]:
    return tuple(record.get(name) for name in _KEY)


def text(headings: Sequence[str], cells: Iterable[Sequence[str]]) -> str:
    """For the terminal."""
    lines = [list(headings), *map(list, cells)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  "
        + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def markdown(headings: Sequence[str], cells: Iterable[Sequence[str]]) -> str:
    """For a document."""
    lines = [headings, ["---"] * len(headings), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
