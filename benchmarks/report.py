"""What is printed: the machine, a section of each part, the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

import table
from table import EMPTY, MEBIBYTE, Figures, Show, median, number, scientific, spread

Columns = Sequence[tuple[str, str, Show]]
Table = Callable[[Sequence[str], Sequence[Sequence[str]]], str]


def _count(passes: Sequence[str]) -> str:
    return str(len(passes))


def _lines(passes: Sequence[str]) -> str:
    return "; ".join(passes)


def _percent(value: float) -> str:
    return f"{100 * value:.2g} %"


def _layers(names: Sequence[str]) -> str:
    return f"{len(names)}: {', '.join(names)}" if len(names) < 6 else f"{len(names)}"


def rounds(record: Figures) -> str:
    """How many rounds count, and whether they are to be trusted."""
    if "rounds" not in record:
        return EMPTY if record.get("quiet", True) else "OTHERS WERE BUSY: not to be trusted"
    if not record["quiet"]:
        return f"{record['rounds']}, NONE QUIET: not to be trusted"
    return f"{record['rounds']}, {record['dropped']} dropped"


_TIMES: Columns = (
    ("measures", "case", str),
    ("slope", "slope", spread(2)),
    ("/ forward at n", "ratio_n", median(2)),
    ("at 4n", "ratio", spread(2)),
    ("/ plain at 4n", "ratio_plain", spread(2)),
    ("s at 4n", "seconds", median(3)),
    ("forward", "forward_s", median(3)),
    ("plain", "plain_s", median(3)),
    ("fixed s", "fixed_s", median(3)),
    ("/ 1e6 activations", "fixed_s_per_million", median(3)),
    ("1e6 act/s", "activations_per_s", median(0, 1e6)),
    ("passes", "passes", _count),
)

_SWEEP: Columns = (
    ("n", "n", number(0)),
    ("m", "m", number(0)),
    ("batch", "batch", number(0)),
    ("s", "seconds", spread(3)),
    ("forward s", "forward_s", spread(3)),
    ("/ forward", "ratio", spread(2)),
    ("1e6 act/s", "activations_per_s", median(0, 1e6)),
    ("of the forward", "forward_activations_per_s", median(0, 1e6)),
    ("GB/s", "gb_per_s", median(2)),
)

_BYTES = number(1, MEBIBYTE)

SECTIONS: dict[str, Columns] = {
    "overhead": _TIMES,
    "costs": _TIMES,
    "alone": (
        ("kernel ns / activation", "kernel_ns", spread(3)),
        ("bare read (torch.sum) ns", "read_ns", spread(3)),
        ("kernel / bare read", "kernel_over_read", spread(2)),
        ("kernel / forward", "kernel_over_forward", spread(3)),
        ("transforming / forward", "rotating_over_forward", spread(3)),
    ),
    "error": (
        ("measure", "case", str),
        ("median", "median", _percent),
        ("largest", "largest", _percent),
        ("units", "units", number(0)),
        ("worst layer by median", "worst_layer", str),
        ("its median", "worst_median", _percent),
    ),
    "memory": (
        ("measures", "case", str),
        ("peak at n, MiB", "at_n", _BYTES),
        ("then at 4n, MiB", "peak", _BYTES),
        ("the plan's, MiB", "plan", _BYTES),
    ),
    "save": (
        ("tm.save s", "save_s", spread(3)),
        ("file MiB", "file", _BYTES),
        ("variables", "variables", " ".join),
    ),
    "batch": _SWEEP,
    "m": _SWEEP,
    "beyond": (("measures", "case", str), *_SWEEP, ("passes", "passes", _lines)),
    "growth": (
        ("n", "n", number(0)),
        ("m", "m", number(0)),
        ("s", "seconds", spread(3)),
        ("the plan's s", "plan_seconds", number(3)),
        ("s / the plan's, goal 0.67..1.5", "seconds_over_plan", number(2)),
        ("peak MiB", "peak", _BYTES),
        ("the plan's MiB", "plan", _BYTES),
        ("bytes / the plan's, goal 0.8..1.2", "bytes_over_plan", number(2)),
        ("left out", "left_out", str),
    ),
    "big": (
        ("measures", "case", str),
        ("n", "n", number(0)),
        ("s", "seconds", spread(1)),
        ("forward s", "forward_s", spread(1)),
        ("/ forward", "ratio", spread(2)),
        ("peak MiB", "peak", _BYTES),
        ("of the whole process MiB", "peak_process", _BYTES),
        ("the plan's MiB", "plan", _BYTES),
    ),
    "peer": (
        ("measures", "case", str),
        ("ours s", "seconds", spread(2)),
        ("peer s", "peer_s", spread(2)),
        ("plain forward s", "plain_s", spread(2)),
        ("peer / ours", "peer_over_ours", number(1)),
        ("ours MiB", "peak", _BYTES),
        ("peer MiB", "peer_peak", _BYTES),
        ("median relative difference", "difference_median", scientific),
        ("largest", "difference", scientific),
        ("layers compared", "peer_layers", _layers),
        ("layers it sees wrongly", "peer_wrong_layers", _layers),
    ),
}
"""The columns of each part's section."""

HEADINGS = {
    "overhead": "the moments against the bare forward pass",
    "alone": "the parts alone",
    "error": "what autocast='bfloat16' brings: relative differences from float32",
    "memory": "peak memory over the set-up",
    "costs": "other measures against the bare forward pass",
    "save": "writing the result",
    "batch": "inputs in a batch",
    "m": "transformations",
    "beyond": "more transformations than a tile holds",
    "growth": "how cost grows, beside the plan",
    "big": "big networks within 6 GB",
    "peer": "the paper author's library",
}


def machine(found: Figures) -> str:
    """The machine, a line each."""
    return "\n".join(["machine", *(f"  {name:<16}{value}" for name, value in found.items())])


def section(records: Sequence[Figures], draw: Table = table.text) -> str:
    """The figures of a part, a problem and a state of the allocator."""
    first = records[0]
    columns = [c for c in SECTIONS[first["part"]] if any(_has(r, c[1]) for r in records)]
    cells = [
        [show(r[name]) if _has(r, name) else EMPTY for _, name, show in columns] for r in records
    ]
    headings = [heading for heading, _, _ in columns]
    told = [rounds(record) for record in records]
    if any(told):
        headings.append("rounds")
        cells = [[*row, one] for row, one in zip(cells, told, strict=True)]
    if len(records) == 1:  # a line for each figure
        headings, cells = (
            [headings[0], cells[0][0]],
            [list(line) for line in zip(headings[1:], cells[0][1:], strict=True)],
        )
    plans = [r["plan_text"] for r in records if "plan_text" in r]
    return "\n\n".join([draw(headings, cells), *plans])


def heading(records: Sequence[Figures]) -> str:
    """What a section is of, in a line."""
    first = records[0]
    line = f"{first['problem']}: {HEADINGS[first['part']]}, {first['allocator']} allocator"
    if "shape" not in first:
        return line
    shape = "x".join(map(str, first["shape"]))
    return (
        f"{line}; {shape}, {first['activations']:,} activations in {first['layers']} layers, "
        f"n = {first['n']:,}, m = {first['m']:,}"
    )


def sections(found: Figures) -> Iterator[list[Figures]]:
    """Records that belong to one section."""
    for _, group in groupby(
        found["records"], key=lambda r: (r["part"], r["problem"], r["allocator"])
    ):
        yield list(group)


def markdown(found: Figures) -> str:
    """All as a document: the machine, the table, the sections."""
    lines = [f"- {name}: {value}" for name, value in found["machine"].items()]
    parts = ["# Figures", "\n".join(lines)]
    headings, cells = table.rows(found)
    if cells:
        parts += ["## The table", table.markdown(headings, cells)]
    for records in sections(found):
        parts += [f"## {heading(records)}", _fenced(section(records, table.markdown))]
    return "\n\n".join(parts) + "\n"


def _fenced(text: str) -> str:
    """Plans stand in a block of their own after the table."""
    first, *plans = text.split("\n\n")
    return "\n\n".join([first, *(f"```text\n{plan}\n```" for plan in plans)])


def _has(record: dict[str, Any], name: str) -> bool:
    return record.get(name) is not None
