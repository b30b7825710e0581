"""Layer lines: what a measure does with depth."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tmeasures.errors import ArgumentError, ResultError
from tmeasures.fields import BY_STRATUM
from tmeasures.plots.common import (
    Trees,
    by_class,
    check_scale,
    named,
    own_style,
    titles,
)
from tmeasures.plots.curves import Line, line_of
from tmeasures.plots.text import fitted, height_of, shortened, width_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

# Okabe and Ito (2008), without the yellow, which is faint on white: colours that people with
# protanopia, deuteranopia and tritanopia tell apart.
LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
"""Colours of the lines, in turn."""

MARKERS = "os^Dv<>P"
"""Markers of the lines, in turn; one more than colours, so that 56 lines differ."""

_SLOT = 0.16
"""Inches that the name of a layer needs on the axis, at 8 points."""

_WIDEST = 14.0
"""Inches of the axis beyond which not every layer is named."""

_MANY = 0.1
"""Share of dead units above which a layer's marker is hollow."""

_LEGEND: dict[str, Any] = {
    "borderaxespad": 0,
    "fontsize": 8,
    "frameon": False,
    "handlelength": 3.2,
}


@own_style()
def lines(
    trees: Trees,
    measure: str = "NV",
    *,
    layers: str | Sequence[str] | None = None,
    statistic: Literal["mean", "median", "score"] = "mean",
    depth: Literal["layer", "percent"] = "layer",
    scale: Literal["linear", "log"] = "linear",
    dashed: str | Collection[str] = (),
    title: str | None = None,
) -> Figure:
    """A line for each result: what its layers' units have of a measure, against depth.

    A point is the mean of the finite units of a layer, and the band around the line goes one
    standard deviation up and down (``statistic="median"``: from the lower to the upper quartile;
    ``"score"``: no band around the mean of the largest, for measures such as GF that have one).
    They are those of `tmeasures.summary`, so units weigh alike; give `tmeasures.channels` of a
    result to have feature maps weigh alike. Units that are infinite or NaN are left out, and the
    picture says how many. Dead units are finite (NV: 1, TV: 0), so the point of a layer with many
    of them says little: its marker is hollow where they are over a tenth. p-values have their
    median and quartiles whatever the statistic, decisions the share that is true and counts their
    mean, without a band. Where a few units dominate the mean, draw the median, or on a logarithmic
    scale.

    A band ends at 0 where no unit is negative. On a linear scale a band that would flatten the
    lines (over three times as high as all points) leaves the picture; on a logarithmic one it ends
    a decade below the lowest point, and a layer at 0 has no point.

    Args:
        trees: A result, a mapping of names to results, or a sequence of results, which are then
            named by their networks. Their colours can be told apart by colour-blind people, and
            their markers differ.
        measure: Name of a variable with one value per unit; ``"NV_by_stratum"``: a line for each
            class, as of the results that `tmeasures.stratum` gives.
        layers: Patterns of names of layers (``"conv*"``); None: every layer that has the measure.
        statistic: ``"mean"`` with standard deviation, ``"median"`` with quartiles, or ``"score"``.
        depth: ``"layer"``: one step a layer, in forward order, with their names (of more than 87
            layers not all are named, long ones are shortened in the middle), the same for all
            results. ``"percent"``: networks of unlike layers; 0 is a result's first layer and 100
            its last one, chosen or not.
        scale: ``"linear"`` or ``"log"``.
        dashed: Names of the results to draw dashed: one group of several, say the trained ones.
        title: None: the measure, network, transformations, n and m.

    Returns:
        The figure, as wide as its layers need; ``figure.savefig(path)`` writes it.

    Raises:
        ArgumentError: An option is unknown, a name in ``dashed`` is that of no result, there are no
            results, the measure has no score, or nothing is positive on a logarithmic scale.
        ResultError: A tree is not a result or has no such measure or layer; with
            ``depth="layer"``, their layers differ; or the measure has dims beside those of the
            units, of which one has to be picked.

    Example:
        >>> import torch, tmeasures as tm
        >>> networks = {str(size): torch.nn.Conv2d(1, 4, size) for size in (3, 5)}
        >>> images, angles = torch.rand(8, 1, 9, 9), tm.rotations(4)
        >>> trees = {
        ...     name: tm.measure(network, images, angles, measures="NV")
        ...     for name, network in networks.items()
        ... }
        >>> figure = tm.plots.lines(trees, "NV", dashed="5")
        >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
        ['3', '5']
    """
    from tmeasures.plots.picture import Picture

    _check(statistic, depth, scale)
    results = named(trees)
    if measure.endswith(BY_STRATUM):
        results, measure = by_class(results), measure.removesuffix(BY_STRATUM)
    broken = _dashed(dashed, results)
    lines = {name: line_of(tree, measure, layers, statistic) for name, tree in results.items()}
    if depth == "layer":
        _require_alike(lines)

    first = next(iter(lines.values()))
    shared, own = titles(results, measure)
    keys = [_key(*pair) for pair in zip(own, lines.values(), strict=True)] if any(own) else []
    ticks = shortened(first.layers) if depth == "layer" else None
    wide, tall, beside = _size(ticks, keys)
    figure = Picture(figsize=(wide + 1 + beside, tall), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    _limits(axes, list(lines.values()), scale)
    drawn = []
    for i, (name, line) in enumerate(lines.items()):
        x = np.arange(len(line.layers)) if depth == "layer" else line.depth
        style = "--" if name in broken else "-"
        drawn.append(_draw(axes, i, line, x, _step(len(x), wide), style))
    _name_axes(axes, list(lines.values()), measure, ticks, _step(len(ticks or []), wide))
    if keys:
        _legend(axes, drawn, keys)
    elif first.left_out:
        axes.set_xlabel(f"{axes.get_xlabel()}\n(units left out: {first.left_out})", fontsize=9)
    text = fitted(shared if title is None else title, wide + 0.8 + beside, 10)
    figure.suptitle(text, fontsize=10, parse_math=False)
    return figure


def _check(statistic: str, depth: str, scale: str) -> None:
    for name, given, known in (
        ("statistic", statistic, ("mean", "median", "score")),
        ("depth", depth, ("layer", "percent")),
    ):
        if given not in known:
            others = ", ".join(map(repr, known[:-1]))
            raise ArgumentError(f"{name}={given!r} is unknown: use {others} or {known[-1]!r}")
    check_scale(scale)


def _dashed(dashed: str | Collection[str], results: Collection[str]) -> set[str]:
    """Names of the results that are drawn dashed."""
    names = {dashed} if isinstance(dashed, str) else set(dashed)
    if strangers := sorted(names.difference(results)):
        raise ArgumentError(
            f"dashed names {strangers[0]!r}, and the results are {', '.join(results)}: use these"
        )
    return names


def _size(ticks: Sequence[str] | None, keys: Sequence[str]) -> tuple[float, float, float]:
    """Inches: how wide the axes are, how high the figure is, and how wide the legend is."""
    wide = 5.6 if ticks is None else max(4.6, min(_WIDEST, _SLOT * len(ticks)))
    tall = 4.3 + max(width_of(tick, 8) for tick in ticks or [""])
    if not keys:
        return wide, tall, 0
    tall = max(tall, 0.8 + sum(height_of(key, 8) + 0.07 for key in keys))
    return wide, tall, 0.8 + max(width_of(key, 8) for key in keys)


def _require_alike(lines: Mapping[str, Line]) -> None:
    first, *others = lines
    for other in others:
        pairs = lines[first].layers, lines[other].layers
        if pairs[0] == pairs[1]:
            continue
        apart = sorted(set(pairs[0]) ^ set(pairs[1]), key=(pairs[0] + pairs[1]).index)
        what = f"{apart[0]!r} is in one of them only" if apart else "their order is not the same"
        raise ResultError(
            f"{first!r} and {other!r} have different layers, {what}: use depth='percent', or "
            f"choose the layers that they share with layers="
        )


def _key(name: str, line: Line) -> str:
    """What the legend says of a line: its name, and how many units are left out."""
    note = f"\n({line.left_out} left out)" if line.left_out else ""
    return fitted(name, 2.4, 8) + note


def _step(count: int, wide: float) -> int:
    """Every how many of the layers has room for a name, or a marker."""
    return max(1, math.ceil(count * _SLOT / wide))


def _limits(axes: Axes, lines: Sequence[Line], scale: str) -> None:
    """The ends of the axis, from the points first and the bands as far as they are near."""
    from matplotlib.ticker import FuncFormatter

    points = np.concatenate([line.centre[np.isfinite(line.centre)] for line in lines])
    every = np.concatenate([end[np.isfinite(end)] for line in lines for end in line.ends()])
    if scale == "log":
        if not (points > 0).any():
            raise ArgumentError(
                "no layer has a positive value to draw on a logarithmic scale: use scale='linear'"
            )
        low = max(points[points > 0].min() / 10, every.min())
        axes.set_yscale("log")
        axes.set_ylim(low / 1.25, every.max() * 1.25)
        # Where powers of ten are few, steps between them have numbers too.
        between = "235" if every.max() < 30 * low else ""
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
        axes.yaxis.set_minor_formatter(
            FuncFormatter(lambda y, _: f"{y:g}" if f"{y:.0e}"[0] in between else "")
        )
    elif all(line.kind == "decision" for line in lines):
        axes.set_ylim(-0.03, 1.03)
    elif points.size:
        reach = 3 * (np.ptp(points) or abs(points[0]) or 1)
        low = max(min(every.min(), 0), points.min() - reach)
        high = min(every.max(), points.max() + reach)
        room = 0.05 * ((high - low) or 1)
        axes.set_ylim(low - (room if low < 0 else room / 2), high + room)


def _draw(axes: Axes, i: int, line: Line, x: np.ndarray, step: int, style: str) -> Line2D:
    """The line with a marker at every so many points, and the band."""
    colour = LINES[i % len(LINES)]
    log = axes.get_yscale() == "log"
    known = np.pad(np.isfinite(line.centre), 1)
    lone = known[1:-1] & ~known[:-2] & ~known[2:]
    if line.lower is not None and line.upper is not None:
        lower = np.maximum(line.lower, axes.get_ylim()[0]) if log else line.lower
        axes.fill_between(x, lower, line.upper, color=colour, alpha=0.12, linewidth=0)
        for end in (lower, line.upper):
            axes.plot(x, end, color=colour, alpha=0.45, linewidth=0.6)
        # Where both neighbours are missing the band has no width.
        axes.vlines(x[lone], lower[lone], line.upper[lone], color=colour, alpha=0.45, linewidth=0.6)
    (drawn,) = axes.plot(
        x,
        np.where(line.centre > 0, line.centre, np.nan) if log else line.centre,
        style,
        color=colour,
        marker=MARKERS[i % len(MARKERS)],
        markevery=np.flatnonzero(lone | (np.arange(len(x)) % step == 0)).tolist(),
        markersize=4.5,
        markeredgecolor="white",
        markeredgewidth=0.5,
        linewidth=1.4,
    )
    hollow = np.broadcast_to(line.dead > _MANY, x.shape)
    if hollow.any():
        axes.plot(
            x[hollow],
            line.centre[hollow],
            MARKERS[i % len(MARKERS)],
            color=colour,
            markerfacecolor="white",
            markersize=4.5,
        )
    return drawn


def _legend(axes: Axes, lines: Sequence[Line2D], keys: Sequence[str]) -> None:
    # Matplotlib 3.8 leaves out labels that begin with an underscore; texts may.
    legend = axes.legend(
        lines, ["key"] * len(keys), loc="upper left", bbox_to_anchor=(1.01, 1), **_LEGEND
    )
    for text, key in zip(legend.get_texts(), keys, strict=True):
        text.set(text=key, parse_math=False)


def _name_axes(
    axes: Axes, lines: Sequence[Line], measure: str, ticks: list[str] | None, step: int
) -> None:
    axes.tick_params(which="both", labelsize=8)
    below = "depth (% of the layers)"
    if ticks is not None:
        below = "layer"
        places = np.arange(0, len(ticks), step)
        axes.set_xticks(places, [ticks[i] for i in places], rotation=90, parse_math=False)
        axes.set_xticks(np.arange(len(ticks)), minor=True)
        axes.set_xlim(-0.6, len(ticks) - 0.4)
    if any((line.dead > _MANY).any() for line in lines):
        below += f"; hollow: over {_MANY:.0%} of the units are dead".replace("%", " %")
    axes.set_xlabel(below, fontsize=9)
    labels = {line.label for line in lines}
    means = dict.fromkeys(line.means for line in lines)
    what = labels.pop() if len(labels) == 1 else measure
    text = fitted(f"{what}\n{', '.join(means)}", 3.2, 9)
    axes.set_ylabel(text, fontsize=9, parse_math=False)
    axes.grid(axis="y", color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
