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
    spelled,
    titles,
)
from tmeasures.plots.curves import FLOOR, Line, Wanted, lines_of
from tmeasures.plots.legends import Key, Look, keys_of, looks_of
from tmeasures.plots.text import fitted, height_of, shortened, width_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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
    measure: str | Sequence[str] = "NV",
    *,
    layers: str | Sequence[str] | None = None,
    statistic: Literal["mean", "median", "score"] = "mean",
    depth: Literal["layer", "percent"] = "layer",
    scale: Literal["linear", "log"] = "linear",
    floor: bool = True,
    dashed: str | Collection[str] = (),
    title: str | None = None,
) -> Figure:
    """A line for each result: what its layers' units have of a measure, or several, against depth.

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

    A dotted line is the floor of a measure that has one (DSE, VSE): what warping there and back
    alone makes of it in that layer. A layer whose point is there follows its input perfectly, as
    far as can be told.

    Several measures go into one picture where their units are the same: NV, ND and DSE, which have
    none, or TV and VSE. A layer is drawn if it has one of them; where it lacks another there is a
    gap, and the picture says in how many layers. Colours are then those of the results, styles and
    markers those of the measures, without bands; of a single result the measures have the colours,
    and bands.

    A band ends at 0 where no unit is negative. On a linear scale a band that would flatten the
    lines (over three times as high as all points) leaves the picture; on a logarithmic one it ends
    a decade below the lowest point, and a layer at 0 has no point.

    Args:
        trees: A result, a mapping of names to results, or a sequence of results, which are then
            named by their networks. Their colours can be told apart by colour-blind people, and
            their markers differ.
        measure: Name of a variable with one value per unit, feature map or layer, or names of
            several; ``"NV_by_stratum"``: a line for each class, as of the results that
            `tmeasures.stratum` gives.
        layers: Patterns of names of layers (``"conv*"``); None: every layer that has a measure.
        statistic: ``"mean"`` with standard deviation, ``"median"`` with quartiles, or ``"score"``.
        depth: ``"layer"``: one step a layer, in forward order, with their names (of more than 87
            layers not all are named, long ones are shortened in the middle), the same for all
            results. ``"percent"``: networks of unlike layers; 0 is a result's first layer and 100
            its last one, chosen or not.
        scale: ``"linear"`` or ``"log"``.
        floor: Whether measures that have a floor are drawn with it; a floor that is named beside
            its measure always is.
        dashed: Names of the results to draw dashed: one group of several, say the trained ones.
        title: None: the measures, network, transformations, n and m.

    Returns:
        The figure, as wide as its layers need; ``figure.savefig(path)`` writes it.

    Raises:
        ArgumentError: An option is unknown, a name in ``dashed`` is that of no result, or there are
            several measures, whose styles differ already; there are no results or measures, the
            units of the measures differ, one has no score, or nothing is positive on a logarithmic
            scale.
        ResultError: A tree is not a result or has no such measure or layer; with
            ``depth="layer"``, their layers differ; or the measure has dims beside those of the
            units, of which one has to be picked.

    Example:
        >>> import torch, tmeasures as tm
        >>> networks = {str(size): torch.nn.Conv2d(1, 4, size) for size in (3, 5)}
        >>> images, angles = torch.rand(8, 1, 9, 9), tm.rotations(4)
        >>> trees = {
        ...     name: tm.measure(network, images, angles, measures=["NV", "DSE"])
        ...     for name, network in networks.items()
        ... }
        >>> figure = tm.plots.lines(trees, "NV", dashed="5")
        >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
        ['3', '5']
        >>> figure = tm.plots.lines(trees, ["NV", "DSE"])
        >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
        ['3', '5', 'NV', 'DSE', 'floor of DSE']
    """
    from tmeasures.plots.picture import Picture

    _check(statistic, depth, scale)
    results, measures = named(trees), _measures(measure)
    if all(name.endswith(BY_STRATUM) for name in measures):
        results = by_class(results)
        measures = [name.removesuffix(BY_STRATUM) for name in measures]
    wanted = _wanted(measures, floor, layers, statistic, len(results))
    broken = _dashed(dashed, results, wanted.measures)
    drawn = {name: lines_of(tree, wanted) for name, tree in results.items()}
    if depth == "layer":
        _require_alike({name: group[0] for name, group in drawn.items()})

    groups = list(drawn.values())
    _require_units(groups[0])
    shared, own = titles(results, ", ".join(wanted.measures))
    looks = looks_of(groups, [name in broken for name in results])
    keys = keys_of(groups, looks, own)
    ticks = shortened(groups[0][0].layers) if depth == "layer" else None
    wide, tall, beside = _size(ticks, [key.text for key in keys])
    figure = Picture(figsize=(wide + 1 + beside, tall), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    _limits(axes, [line for group in groups for line in group], scale)
    for group, own_looks in zip(groups, looks, strict=True):
        for line, look in zip(group, own_looks, strict=True):
            x = np.arange(len(line.layers)) if depth == "layer" else line.depth
            _draw(axes, line, look, x, _step(len(x), wide))
    _name_axes(axes, groups, ticks, _step(len(ticks or []), wide), bool(keys))
    if keys:
        _legend(axes, keys)
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


def _measures(given: str | Sequence[str]) -> list[str]:
    """The names, each once."""
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise ArgumentError(
            f"measure={given!r} is neither a name nor a list of such: give 'NV' or ['NV', 'DSE']"
        )
    if not names:
        raise ArgumentError("measure=[] draws nothing: give a name such as 'NV'")
    by_class = [name for name in names if name.endswith(BY_STRATUM)]
    if 0 < len(by_class) < len(names):
        other = next(name for name in names if name not in by_class)
        raise ArgumentError(
            f"{by_class[0]} is of single classes and {other} of the whole set: draw one by one"
        )
    return list(dict.fromkeys(names))


def _wanted(
    names: Sequence[str],
    floor: bool,
    layers: str | Sequence[str] | None,
    statistic: str,
    n_results: int,
) -> Wanted:
    """Which are measures, and which the floors of others among them."""
    floors = frozenset(name for name in names if f"{name}{FLOOR}" in names)
    measures = tuple(name for name in names if name.removesuffix(FLOOR) not in floors - {name})
    bands = n_results == 1 or len(measures) == 1
    return Wanted(measures, floors, floor, layers, statistic, bands)


def _dashed(
    dashed: str | Collection[str], results: Collection[str], measures: Collection[str]
) -> set[str]:
    """Names of the results that are drawn dashed."""
    names = {dashed} if isinstance(dashed, str) else set(dashed)
    if strangers := sorted(names.difference(results)):
        raise ArgumentError(
            f"dashed names {strangers[0]!r}, and the results are {', '.join(results)}: use these"
        )
    if names and len(measures) > 1:
        raise ArgumentError(
            f"dashed lines and the {len(measures)} measures, which have styles of their own, "
            f"cannot be told apart: leave dashed out, or draw one measure"
        )
    return names


def _require_units(group: Sequence[Line]) -> None:
    first = group[0]
    for line in group:
        if line.units != first.units:
            units = f"{spelled(first.units)} and {spelled(line.units)}"
            raise ArgumentError(
                f"{first.measure} and {line.measure} have other units, {units}, and there is one "
                f"axis: draw them one by one"
            )


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


def _step(count: int, wide: float) -> int:
    """Every how many of the layers has room for a name, or a marker."""
    return max(1, math.ceil(count * _SLOT / wide))


def _limits(axes: Axes, lines: Sequence[Line], scale: str) -> None:
    """The ends of the axis: all points, and the bands as far as they are near."""
    from matplotlib.ticker import FuncFormatter

    points = np.concatenate([each[np.isfinite(each)] for line in lines for each in line.points()])
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


def _draw(axes: Axes, line: Line, look: Look, x: np.ndarray, step: int) -> None:
    """The line with a marker at every so many points, its floor, and the band."""
    log = axes.get_yscale() == "log"
    known = np.pad(np.isfinite(line.centre), 1)
    lone = known[1:-1] & ~known[:-2] & ~known[2:]
    colour = look.colour
    if line.lower is not None and line.upper is not None:
        lower = np.maximum(line.lower, axes.get_ylim()[0]) if log else line.lower
        axes.fill_between(x, lower, line.upper, color=colour, alpha=0.12, linewidth=0)
        for end in (lower, line.upper):
            axes.plot(x, end, color=colour, alpha=0.45, linewidth=0.6)
        # Where both neighbours are missing the band has no width.
        axes.vlines(x[lone], lower[lone], line.upper[lone], color=colour, alpha=0.45, linewidth=0.6)
    marked = np.flatnonzero(lone | (np.arange(len(x)) % step == 0)).tolist()
    for centre, how in ((line.floor, look.floor), (line.centre, look.line)):
        if centre is not None:
            shown = np.where(centre > 0, centre, np.nan) if log else centre
            axes.plot(x, shown, markevery=marked, **how)
    hollow = np.broadcast_to(line.dead > _MANY, x.shape)
    if hollow.any():
        axes.plot(
            x[hollow],
            line.centre[hollow],
            look.marker,
            color=colour,
            markerfacecolor="white",
            markersize=4.5,
        )


def _legend(axes: Axes, keys: Sequence[Key]) -> None:
    from matplotlib.lines import Line2D

    # Matplotlib 3.8 leaves out labels that begin with an underscore; texts may.
    handles = [Line2D([], [], **key.style) for key in keys]
    legend = axes.legend(
        handles, ["key"] * len(keys), loc="upper left", bbox_to_anchor=(1.01, 1), **_LEGEND
    )
    for text, key in zip(legend.get_texts(), keys, strict=True):
        text.set(text=key.text, parse_math=False)


def _name_axes(
    axes: Axes, groups: Sequence[Sequence[Line]], ticks: list[str] | None, step: int, keys: bool
) -> None:
    axes.tick_params(which="both", labelsize=8)
    below = "depth (% of the layers)"
    if ticks is not None:
        below = "layer"
        places = np.arange(0, len(ticks), step)
        axes.set_xticks(places, [ticks[i] for i in places], rotation=90, parse_math=False)
        axes.set_xticks(np.arange(len(ticks)), minor=True)
        axes.set_xlim(-0.6, len(ticks) - 0.4)
    if any((line.dead > _MANY).any() for group in groups for line in group):
        below += f"; hollow: over {_MANY:.0%} of the units are dead".replace("%", " %")
    if not keys and groups[0][0].left_out:
        below += f"\n(units left out: {groups[0][0].left_out})"
    axes.set_xlabel(below, fontsize=9)
    axes.set_ylabel(_words(groups), fontsize=9, parse_math=False)
    axes.grid(axis="y", color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _words(groups: Sequence[Sequence[Line]]) -> str:
    """What the values are, and what of a layer's units a point is."""
    every = [line for group in groups for line in group]
    labels = {line.label for line in every}
    what = ", ".join(dict.fromkeys(line.measure for line in every))
    if len(groups[0]) > 1:
        what += f" ({spelled(every[0].units)})"
    elif len(labels) == 1:
        what = labels.pop()
    means: dict[str, dict[str, None]] = {}
    for line in every:
        if line.means:
            means.setdefault(line.means, {})[line.over] = None
    said = ", ".join(words.format(" and ".join(over)) for words, over in means.items())
    return fitted(f"{what}\n{said}".strip(), 3.2, 9)
