"""Draws throughput against batch size and number of transformations, from the figures of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter
from rounds import Figures

LABELS = {"batch": "inputs in a batch", "m": "transformations"}
LINES = {
    "forward_activations_per_s": ("bare forward pass", "0.55", "o"),
    "activations_per_s": ("tm.measure: TV, SV, NV, ANOVA", "C0", "s"),
}


def draw(found: Figures, folder: Path) -> list[Path]:
    """A picture of each problem that was swept over; gives where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for part in LABELS:
        swept = [record for record in found["records"] if record["part"] == part]
        names = {(record["problem"], record["allocator"]): None for record in swept}
        for problem, allocator in names:
            mine = [r for r in swept if (r["problem"], r["allocator"]) == (problem, allocator)]
            path = folder / f"{part}-{problem}-{allocator}.png"
            with matplotlib.rc_context({"font.size": 10}):
                picture(mine, part, found["machine"]).savefig(path, dpi=120)
            paths.append(path)
    return paths


def picture(records: Sequence[Figures], part: str, machine: Figures) -> Figure:
    """Medians, over bands from least to greatest; the horizontal axis goes by doublings."""
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.subplots()
    at = [record[part] for record in records]
    for name, (label, colour, marker) in LINES.items():
        values = [record[name] for record in records]
        middle = [value["median"] / 1e6 for value in values]
        low, high = ([value[end] / 1e6 for value in values] for end in ("least", "greatest"))
        axes.plot(at, middle, color=colour, marker=marker, markersize=4, label=label)
        axes.fill_between(at, low, high, color=colour, alpha=0.2, linewidth=0)
    first = records[0]
    axes.set_xscale("log", base=2)
    axes.set_xticks(at, [f"{value:,}" for value in at])
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(LABELS[part])
    axes.set_ylabel("million activations a second")
    axes.set_title(
        f"{first['network']}, {'x'.join(map(str, first['shape']))}, {machine['device']}, "
        f"{machine['cores']} cores"
    )
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure
