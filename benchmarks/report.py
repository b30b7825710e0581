"""The tables of the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

Figures = dict[str, Any]


def _ratio(value: float) -> str:
    return f"{value:.2f}"


def _seconds(value: float) -> str:
    return f"{value:.3f}"


def _many(value: float) -> str:
    return f"{value / 1e6:,.0f}"


def _mebibytes(value: float | None) -> str:
    return "unknown" if value is None else f"{value / 2**20:,.1f}"


_OVERHEAD: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("slope: measure / forward, goal 1.5", "slope", _ratio),
    ("measure / forward at n", "ratio_n", _ratio),
    ("measure / forward at 4n", "ratio_4n", _ratio),
    ("forward at 4n, s", "forward_s_4n", _seconds),
    ("fixed part, s", "fixed_s", _seconds),
    ("fixed part, s / 1e6 activations, goal 1", "fixed_s_per_million", _seconds),
    ("activations / s, 1e6", "activations_per_s", _many),
    ("kernel alone, ns / activation", "kernel_ns", _seconds),
    ("bare read (torch.sum), ns / activation", "read_ns", _seconds),
    ("kernel / bare read", "kernel_over_read", _ratio),
    ("kernel / forward", "kernel_over_forward", _seconds),
    ("rotating / forward", "rotating_over_forward", _seconds),
)
_PARTS = {True: "read in quiet", False: "OTHERS WERE BUSY: not to be trusted"}
_MEMORY = (
    ("peak of measure at n, MiB", "measure", "n"),
    ("peak of measure at n, then 4n, MiB", "measure", "4n"),
    ("peak of forward at n, MiB", "forward", "n"),
    ("peak of forward at n, then 4n, MiB", "forward", "4n"),
    ("the plan's bytes, MiB", "measure", "plan"),
)


def machine(found: Figures) -> str:
    """The machine, a line each."""
    return "\n".join(["machine", *(f"  {name:<16}{value}" for name, value in found.items())])


def problem(found: Figures) -> str:
    """A problem's figures: a row each, a column for each state of the allocator."""
    states: dict[str, Figures] = found["states"]
    rows = [["", *(f"{state} allocator" for state in states)]]
    rows += [list(row) for row in _rows(list(states.values()))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [_heading(found)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        lines.append("  " + "   ".join(cells).rstrip())
    return "\n".join(lines)


def _heading(found: Figures) -> str:
    first = next(iter(found["states"].values()))
    about = first.get("overhead") or first.get("save") or {}
    shape = "x".join(map(str, found["shape"]))
    heading = (
        f"{found['name']}: {shape}, n = {found['n']}, m = {found['m']}, "
        f"{' + '.join(found['measures'])}"
    )
    if about:
        heading += f"; {about['activations']:,} activations in {about['layers']} layers"
    if "tile" in about:
        heading += f", {about['passes']} pass of tiles of {' x '.join(map(str, about['tile']))}"
    return heading


def _rows(states: list[Figures]) -> Iterator[list[str]]:
    """Label and one cell per state."""
    parts = states[0].keys()
    if "overhead" in parts:
        for label, name, show in _OVERHEAD:
            yield [label, *(_cell(state["overhead"][name], show) for state in states)]
        yield ["rounds", *(_rounds(state["overhead"]) for state in states)]
        yield ["the parts alone", *(_PARTS[state["overhead"]["parts_quiet"]] for state in states)]
    if "memory" in parts:
        for label, what, name in _MEMORY:
            yield [label, *(_mebibytes(state["memory"][what][name]) for state in states)]
    if "costs" in parts:
        for name in states[0]["costs"]["ratios"]:
            cells = (_cell(state["costs"]["ratios"][name], _ratio) for state in states)
            yield [f"{name} / forward at 4n", *cells]
        yield ["rounds of these", *(_rounds(state["costs"]) for state in states)]
    if "save" in parts:
        saves = [state["save"] for state in states]
        yield ["tm.save, s", *(_cell(one["save_s"], _seconds) for one in saves)]
        yield ["file, MiB", *(_mebibytes(one["file"]) for one in saves)]
        yield ["variables", *(" ".join(one["variables"]) for one in saves)]
        yield ["rounds", *(_rounds(one) for one in saves)]


def _cell(figure: Figures, show: Callable[[float], str]) -> str:
    return f"{show(figure['median'])} ({show(figure['least'])}..{show(figure['greatest'])})"


def _rounds(found: Figures) -> str:
    if not found["quiet"]:
        return f"{found['rounds']}, NONE QUIET: figures are not to be trusted"
    return f"{found['rounds']}, {found['dropped']} dropped (others were busy)"
