"""Histograms: how the values of each layer are spread."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from tmeasures.hints import whole
from tmeasures.plots.colours import Cells, axis_ends, log_ticks, units
from tmeasures.plots.common import check_scale, default_title, label, only, own_style
from tmeasures.plots.text import LINE, fitted
from tmeasures.summaries import choose, layers_of

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BARS = "#6a9bc9"

_KEY = (
    "bars: numbers of units, each histogram to its own height; black: their median; above, below: "
    "off the axis"
)

_NAME, _NOTE = 7, 6
"""Points of the name of a layer and of the counts below it."""


@own_style()
def histograms(
    tree: xr.DataTree,
    measure: str = "NV",
    *,
    layers: str | Sequence[str] | None = None,
    bins: int = 40,
    scale: Literal["linear", "log"] = "linear",
    title: str | None = None,
) -> Figure:
    """A small histogram for each layer, of all its activations, along one axis.

    Of a measure of whole feature maps each map counts as one unit.

    Bars count the finite values of units that are not dead; each histogram is as high as its
    fullest bin, and the black line is the median of these values. Above it stands how many units
    the layer has, and how many of them the bars leave out: dead (all activations equal), infinite,
    NaN, and those beyond the axis.

    The axis runs from 0, or the least value if that is negative, to the upper quartile plus three
    interquartile ranges, layers weighing alike; no farther than the largest value and no less far
    than the 90 % quantile. On a logarithmic scale both ends are found like that, from the
    logarithms of the positive values; zeros and negative values are then beyond the axis. For
    p-values and decisions it is 0 to 1.

    Args:
        tree: A result; give `tmeasures.channels` of it to have feature maps count as one unit.
        measure: Name of a variable with one value per unit.
        layers: Patterns of names of layers (``"conv*"``); None: every layer that has the measure.
        bins: Of each histogram, the same for all layers.
        scale: ``"linear"`` or ``"log"``; logarithmic bins are as wide on the axis.
        title: None: the measure, network, transformations, n and m.

    Returns:
        The figure, layers in forward order, row by row.

    Raises:
        ArgumentError: ``tree`` is not a single result, the scale is unknown, or there is no bin.
        ResultError: There is no such measure or layer, or the measure has dims beside those of the
            units.

    Example:
        >>> import torch, tmeasures as tm
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU())
        >>> tree = tm.measure(network, torch.rand(8, 1, 9, 9), tm.rotations(4), measures=["NV"])
        >>> figure = tm.plots.histograms(tree, "NV", scale="log")
        >>> [axes.get_title(loc="left") for axes in figure.axes]
        ['0', '1']
    """
    from tmeasures.plots.picture import Picture

    check_scale(scale)
    bins = whole("bins", bins)
    result = only(tree)
    chosen = choose(layers_of(result), measure, layers)
    attributes = next(iter(chosen.values()))[measure].attrs
    cells = {layer: units(data, measure) for layer, data in chosen.items()}
    low, high = axis_ends(list(cells.values()), attributes, scale)
    edges = (np.geomspace if scale == "log" else np.linspace)(low, high, bins + 1)

    columns = len(cells) if len(cells) <= 3 else 2 ** math.ceil(math.log2(len(cells)) / 2)
    rows = math.ceil(len(cells) / columns)
    wide = min(max(8 / columns, 1.3), 4.5)
    figure = Picture(dpi=120, layout="constrained")
    figure.set_size_inches(columns * (wide + 0.2) + 0.2, rows * (wide / 2 + 0.45) + 1.2)
    axes = list(figure.subplots(rows, columns, squeeze=False, sharex=True).flat)
    for panel, (layer, each) in zip(axes, cells.items(), strict=False):
        _draw(panel, each, edges)
        _name(panel, layer, _note(each, low, high), wide)
    _finish(axes, len(cells), columns, (low, high), scale)
    key = f"{label(attributes)}\n{fitted(_KEY, 0.95 * figure.get_figwidth(), 8)}"
    figure.supxlabel(key, fontsize=8, parse_math=False)
    text = default_title(result, measure) if title is None else title
    text = fitted(text, 0.95 * figure.get_figwidth(), 10)
    figure.suptitle(text, fontsize=10, parse_math=False)
    return figure


def _note(cells: Cells, low: float, high: float) -> str:
    """How many units there are, and how many of them are not in the bars."""
    kinds = {kind: int(where.sum()) for kind, where in cells.kinds(high).items()}
    kinds["above"] = kinds.pop("outlier")
    kinds["below"] = int((cells.alive < low).sum())
    left_out = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items() if count)
    count = cells.values.size
    return f"{count:,} unit{'s' * (count != 1)}" + (f": {left_out}" if left_out else "")


def _name(axes: Axes, layer: str, note: str, width: float) -> None:
    """The layer above a histogram, on lines that break at its dots, and the note below it."""
    note = fitted(note, width, _NOTE)
    name = fitted(layer.replace(".", ". "), width, _NAME, lines=3).replace(". ", ".")
    room = LINE * _NOTE * len(note.splitlines()) + 2
    axes.set_title(name, loc="left", fontsize=_NAME, pad=room + 3.5, parse_math=False)
    axes.annotate(
        note,
        (0, 1),
        (0, room),
        xycoords="axes fraction",
        textcoords="offset points",
        va="top",
        fontsize=_NOTE,
        color="0.3",
    )


def _draw(axes: Axes, cells: Cells, edges: np.ndarray) -> None:
    alive = cells.alive
    counts, _ = np.histogram(alive, edges)
    axes.stairs(counts, edges, fill=True, color=_BARS)
    if alive.size:
        axes.axvline(float(np.median(alive)), color="black", linewidth=1)
    axes.set_ylim(0, 1.05 * max(counts.max(), 1))


def _finish(
    axes: Sequence[Axes],
    n: int,
    columns: int,
    ends: tuple[float, float],
    scale: str,
) -> None:
    """The axis that all share, with its numbers below the last histogram of each column."""
    from matplotlib.ticker import MaxNLocator

    axes[0].set(xscale=scale, xlim=ends)
    for i, panel in enumerate(axes):
        panel.set_visible(i < n)
        panel.set_yticks([])
        panel.spines[["left", "right", "top"]].set_visible(False)
        if scale == "log":
            log_ticks(panel.xaxis, *ends, most=4)
        else:
            panel.xaxis.set_major_locator(MaxNLocator(3))
        panel.minorticks_off()
        panel.tick_params(labelsize=_NAME, labelbottom=i + columns >= n)
        panel.grid(axis="x", color="0.85", linewidth=0.5)
        panel.set_axisbelow(True)
