"""The heat map: a column for each layer, a cell for each activation or feature map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tmeasures.plots.colours import (
    Cells,
    Limit,
    Scale,
    both_ends,
    channels,
    colour_bar,
    legend,
    make_scale,
)
from tmeasures.plots.common import (
    Trees,
    check_scale,
    most_invariant,
    named,
    own_style,
    titles,
)
from tmeasures.plots.text import fitted, shortened, width_of
from tmeasures.summaries import choose, layers_of

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NAME = 7
"""Points of the names of layers."""

_COLUMN = 0.17
"""Inches that a column takes at least; a name needs 0.12."""

_SIDE_BY_SIDE = 15.0
"""Inches of unlike networks that still go beside each other."""

_WIDTH, _HEIGHT, _MARGIN = 4.2, 4.0, 1.6
"""Inches of a panel, at least in width, and of what is around all panels."""


@dataclass(frozen=True)
class _Panel:
    """One result: the cells of its layers, by name."""

    title: str
    layers: Mapping[str, Cells]

    @property
    def labels(self) -> list[str]:
        """Names of the layers, with how many cells each has."""
        names = shortened(list(self.layers), 48)
        cells = self.layers.values()
        return [f"{name} ({c.values.size:,})" for name, c in zip(names, cells, strict=True)]


@own_style()
def heatmap(
    trees: Trees,
    measure: str = "NV",
    *,
    layers: str | Sequence[str] | None = None,
    scale: Literal["linear", "log"] = "linear",
    limit: Limit = None,
    sort: bool = False,
    title: str | None = None,
) -> Figure:
    """A column for each layer, a cell for each activation.

    Maps are averaged over space as `tmeasures.channels` does (``"mean"``), so a convolution has one
    cell per channel, also of a measure of whole maps; of a measure of whole layers it has one cell.
    All columns are as wide and as high: the cells of a small layer are taller. The first unit is at
    the top, or with ``sort=True`` the least invariant. The number in brackets is that of the
    layer's cells.

    Colours show finite values from the lower end (0, or the least value if that is negative; on a
    logarithmic scale the 1 % quantile of the positive ones, lower ones looking like it) up to
    ``limit``. In colours of their own, and counted in the legend: outliers (above ``limit``), dead
    units (all their activations equal), infinite ones and NaN.

    Several results get a panel each, with the same colours: below each other where their layers are
    the same, so that a layer stands above itself; else beside each other where they fit.

    Args:
        trees: A result, a mapping ``{name: result}``, or several results, which are then named
            after their networks.
        measure: Name of a variable with one value per unit, feature map or layer.
        layers: Patterns of names of layers (``"conv*"``); None: every layer that has the measure.
        scale: ``"linear"`` or ``"log"``.
        limit: Upper end of the colours, or both ends. None: the upper quartile plus three
            interquartile ranges (Tukey's far fence; on the logarithmic scale, of the logarithms) of
            the finite cells that are not dead, layers weighing alike; no less than their 90 %
            quantile and no more than the largest. 1 for p-values and decisions. Give that of
            `common_limit` to compare figures.
        sort: Order the cells of each layer by value, the most invariant at the bottom: the least,
            but of GF the largest. The height up to a colour is then a share of the layer. At the
            top come NaN and the dead; the infinite are the largest. Rows are then no longer units.
        title: None: the measure, network, transformations, n and m.

    Returns:
        The figure, as wide as its layers need; ``figure.savefig(path)`` writes it. A column with
        more cells than pixels shows some of them: give a larger ``dpi`` to see all, or sort. Long
        names of layers lose their middle, as far as they stay distinct.

    Raises:
        ArgumentError: There are no results, or something else; the scale is unknown, or the limit
            not above the lower end.
        ResultError: A tree is not a result, has no such measure or layer, or the measure has dims
            beside those of the units, of which one has to be picked.

    Example:
        >>> import torch, tmeasures as tm
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU())
        >>> images = torch.rand(8, 1, 9, 9)
        >>> tree = tm.measure(network, images, tm.rotations(4), measures=["NV"])
        >>> figure = tm.plots.heatmap(tree, "NV", layers="0")
        >>> [label.get_text() for label in figure.axes[0].get_xticklabels()]
        ['0 (4)']
        >>> other = tm.measure(network, images, tm.scalings(), measures=["NV"])
        >>> figure = tm.plots.heatmap({"turned": tree, "scaled": other}, scale="log", sort=True)
    """
    from tmeasures.plots.picture import Picture

    check_scale(scale)
    found = named(trees)
    chosen = {name: choose(layers_of(tree), measure, layers) for name, tree in found.items()}
    suptitle, own = titles(found, measure)
    panels = [
        _Panel(name, {layer: channels(data, measure) for layer, data in datasets.items()})
        for name, datasets in zip(own, chosen.values(), strict=True)
    ]
    variable = next(iter(next(iter(chosen.values())).values()))[measure]
    attributes, bottom = variable.attrs, most_invariant(variable) or "least"
    cells = [cells for panel in panels for cells in panel.layers.values()]
    colours = make_scale(both_ends(cells, attributes, scale, limit), scale)

    figure = Picture(dpi=120, layout="constrained")
    rows = f"cells by value, {bottom} at the bottom" if sort else _rows(chosen, measure)
    axes = _arrange(figure, panels, rows, sort)
    for panel, panel_axes in zip(panels, axes, strict=True):
        _draw(panel_axes, panel, colours, bottom if sort else "")
    colour_bar(figure, axes, cells, colours, attributes)
    legend(figure, cells, colours.high)
    text = suptitle if title is None else title
    text = fitted(text, 0.95 * figure.get_figwidth(), 10)
    figure.suptitle(text, fontsize=10, parse_math=False)
    return figure


def common_limit(
    trees: Trees,
    measure: str = "NV",
    *,
    layers: str | Sequence[str] | None = None,
    scale: Literal["linear", "log"] = "linear",
) -> tuple[float, float]:
    """The ends of the colours that `heatmap` would choose for several results together.

    With these as their ``limit``, figures of their own have colours that mean the same.

    Args:
        trees: Results.
        measure: Name of a variable with one value per unit.
        layers: Patterns of names of layers, as for `heatmap`; None: every layer.
        scale: That of the figures.

    Returns:
        The lower and the upper end; all layers of all results weigh alike.

    Raises:
        TMeasuresError: As `heatmap` does.

    Example:
        >>> import torch, tmeasures as tm
        >>> networks = [torch.nn.Conv2d(1, 4, size) for size in (3, 5)]
        >>> images, angles = torch.rand(8, 1, 9, 9), tm.rotations(4)
        >>> trees = [tm.measure(network, images, angles, measures="NV") for network in networks]
        >>> limit = tm.plots.common_limit(trees, "NV", scale="log")
        >>> figures = [tm.plots.heatmap(tree, "NV", scale="log", limit=limit) for tree in trees]
        >>> figures[0].axes[1].get_ylim() == figures[1].axes[1].get_ylim() == limit
        True
    """
    check_scale(scale)
    chosen = [
        data
        for tree in named(trees).values()
        for data in choose(layers_of(tree), measure, layers).values()
    ]
    cells = [channels(data, measure) for data in chosen]
    return both_ends(cells, chosen[0][measure].attrs, scale, None)


def _rows(chosen: Mapping[str, Mapping[str, xr.Dataset]], measure: str) -> str:
    """What the cells of a column are, from the top."""
    layers = [data for datasets in chosen.values() for data in datasets.values()]
    if all(data[measure].ndim == 0 for data in layers):
        return "one value for each layer"
    if all(data[measure].ndim < data["status"].ndim for data in layers):
        return "feature maps"
    return "units, maps averaged over space"


def _arrange(figure: Figure, panels: Sequence[_Panel], rows: str, shares: bool) -> list[Axes]:
    """Axes for each panel, with what is written around them, in a figure of the size they need."""
    labels = [panel.labels for panel in panels]
    names = [max(width_of(name, _NAME) for name in group) for group in labels]
    widths = [max(_WIDTH, _COLUMN * len(group)) for group in labels]
    alike = all(group == labels[0] for group in labels)
    if alike or sum(widths) > _SIDE_BY_SIDE:
        height = max(1.4, _HEIGHT if len(panels) == 1 else 1.4 * _HEIGHT / len(panels))
        widths = [max(widths)] * len(panels)
        below = sum(names[:1] if alike else names)
        figure.set_size_inches(widths[0] + _MARGIN, len(panels) * (height + 0.2) + below + _MARGIN)
        axes = list(figure.subplots(len(panels), 1, squeeze=False).flat)
        with_names, with_rows = axes[-1:] if alike else axes, axes
    else:
        height = _HEIGHT
        figure.set_size_inches(sum(widths) + _MARGIN, height + max(names) + _MARGIN)
        axes = list(figure.subplots(1, len(panels), squeeze=False, width_ratios=widths).flat)
        with_names, with_rows = axes, axes[:1]
    for panel_axes, panel, width in zip(axes, panels, widths, strict=True):
        panel_axes.set(xticks=[], yticks=[])
        text = fitted(panel.title, width, 9)
        panel_axes.set_title(text, fontsize=9, loc="left", parse_math=False)
    for panel_axes in with_names:
        group = labels[axes.index(panel_axes)]
        style: dict[str, Any] = {"rotation": 90, "fontsize": _NAME, "parse_math": False}
        panel_axes.set_xticks(range(len(group)), group, **style)
        panel_axes.set_xlabel("layer (cells)", fontsize=9)
    for panel_axes in with_rows:
        panel_axes.set_ylabel(fitted(rows, height, 9), fontsize=9)
        if shares:
            panel_axes.set_yticks([1, 0.5, 0], ["0 %", "50 %", "100 %"], fontsize=8)
    return axes


def _draw(axes: Axes, panel: _Panel, colours: Scale, bottom: str) -> None:
    """One image per layer."""
    for x, cells in enumerate(panel.layers.values()):
        shown = cells[_by_value(cells, bottom)] if bottom else cells
        axes.imshow(
            colours.paint(shown)[:, None],
            extent=(x - 0.46, x + 0.46, 1, 0),
            aspect="auto",
            interpolation="nearest",
        )
    n = len(panel.layers)
    axes.bar(range(n), 1, width=0.92, fill=False, edgecolor="0.5", linewidth=0.5)
    axes.set(xlim=(-0.54, n - 0.46), ylim=(1, 0))
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def _by_value(cells: Cells, bottom: str) -> np.ndarray:
    """From the top: NaN, dead, then the values down to the one that is at the bottom."""
    group = np.isnan(cells.values) * 2 + (np.isfinite(cells.values) & cells.dead)
    return np.lexsort((cells.values if bottom == "largest" else -cells.values, -group))
