"""Scatter: one measure against another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tmeasures.errors import ResultError
from tmeasures.plots.colours import Cells, channels, log_ticks
from tmeasures.plots.common import check_scale, default_title, label, only, own_style
from tmeasures.plots.text import fitted, shortened, width_of
from tmeasures.summaries import choose, layers_of

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROUNDS = 32
"""Times that all layers draw a part of their dots, so that none lies on top of all others."""

_NAME = 7
"""Points of the names of layers."""

_NAMES = 30
"""Names of layers that fit beside the bar."""


@own_style()
def scatter(
    tree: xr.DataTree,
    x: str,
    y: str,
    *,
    layers: str | Sequence[str] | None = None,
    scale: Literal["linear", "log"] = "linear",
    title: str | None = None,
) -> Figure:
    """A dot for each unit: one measure against another, coloured by the depth of the layer.

    Maps are averaged over space as in `heatmap`, so a convolution has one dot per channel; beside a
    measure of whole maps the other is averaged over all dims that this one lacks. Dots
    that have no place are counted below the picture: dead units (all their activations equal),
    units of which a value is NaN or infinite, and on a logarithmic scale those with a value that is
    not positive. Each is counted once, as the first of these that it is. Where both measures have
    the same units, such as TV and SV, a dashed line shows where they are equal; that two numbers
    without units are equal says nothing.

    Args:
        tree: A result.
        x: Name of the variable along the horizontal axis, with one value per unit.
        y: Name of the one along the vertical axis.
        layers: Patterns of names of layers (``"conv*"``); None: every layer that has both.
        scale: ``"linear"`` or ``"log"``, of both axes.
        title: None: the measures, network, transformations, n and m.

    Returns:
        The figure. The dots are pixels also in SVG and PDF, where a million of them would be too
        much to open: give ``savefig`` a ``dpi`` of 300 for print. A million take about 2 s.

    Raises:
        ArgumentError: ``tree`` is not a single result, or the scale is unknown.
        ResultError: There is no such measure or layer, no layer has both, or a measure has dims
            beside those of the units.

    Example:
        >>> import torch, tmeasures as tm
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU())
        >>> images = torch.rand(8, 1, 9, 9)
        >>> tree = tm.measure(network, images, tm.rotations(4), measures=["TV", "SV"])
        >>> figure = tm.plots.scatter(tree, "SV", "TV", scale="log")
        >>> figure.axes[0].get_ylabel()
        'transformation variance (activation²)'
    """
    from tmeasures.plots.picture import Picture

    check_scale(scale)
    result = only(tree)
    chosen = _with_both(layers_of(result), x, y, layers)
    pairs = [_pair(data, x, y) for data in chosen.values()]
    kept, left_out = zip(*(_kept(*pair, scale) for pair in pairs), strict=True)
    first = next(iter(chosen.values()))

    names = shortened(list(chosen), 48)
    beside = max(width_of(name, _NAME) for name in names)
    figure = Picture(dpi=120, layout="constrained", figsize=(6 + beside, 5.2))
    axes = figure.add_subplot()
    colours = _depths(len(kept))
    if n := sum(dots.shape[1] for dots in kept):
        _dots(axes, kept, colours, min(max(150 / n**0.5, 1.2), 5))
    axes.set(xscale=scale, yscale=scale)
    axes.set_xlabel(label(first[x].attrs), fontsize=9, parse_math=False)
    axes.set_ylabel(label(first[y].attrs), fontsize=9, parse_math=False)
    axes.tick_params(labelsize=8)
    if scale == "log":
        log_ticks(axes.xaxis, *axes.get_xlim())
        log_ticks(axes.yaxis, *axes.get_ylim())
    note = _note(kept, left_out)
    if first[x].attrs["units"] == first[y].attrs["units"] != "1":
        _diagonal(axes)
        note = f"dashed: equal; {note}"
    figure.supxlabel(fitted(note, 6.5, 8), fontsize=8, color="0.3")
    _layer_bar(figure, axes, names, colours)
    text = default_title(result, f"{y} against {x}") if title is None else title
    text = fitted(text, 0.95 * figure.get_figwidth(), 10)
    figure.suptitle(text, fontsize=10, parse_math=False)
    return figure


def _with_both(
    layers: dict[str, xr.Dataset], x: str, y: str, patterns: str | Sequence[str] | None
) -> dict[str, xr.Dataset]:
    having = choose(layers, x, None)
    both = {name: data for name, data in choose(layers, y, None).items() if name in having}
    if not both:
        raise ResultError(f"no layer has both {x} and {y}: measure them together")
    return choose(both, y, patterns)


def _pair(data: xr.Dataset, x: str, y: str) -> tuple[Cells, Cells]:
    """The cells of both, over the dims that both have."""
    apart = set(data[x].dims) ^ set(data[y].dims)
    return channels(data, x, apart), channels(data, y, apart)


def _kept(x: Cells, y: Cells, scale: str) -> tuple[np.ndarray, dict[str, int]]:
    """Dots ``(2, n)``, and how many are left out and why."""
    values = np.stack([x.values, y.values])
    reasons = {
        "dead": x.dead,
        "NaN": np.isnan(values).any(0),
        "infinite": np.isinf(values).any(0),
    }
    if scale == "log":
        reasons["not positive"] = (values <= 0).any(0)
    open_ = np.ones(len(x.dead), bool)
    counts = {}
    for reason, where in reasons.items():
        counts[reason] = int((open_ & where).sum())
        open_ &= ~where
    return values[:, open_], counts


def _dots(axes: Axes, layers: Sequence[np.ndarray], colours: np.ndarray, size: float) -> None:
    order = np.random.default_rng(0)
    for part in range(_ROUNDS):
        for layer in order.permutation(len(layers)):
            axes.plot(
                *layers[layer][:, part::_ROUNDS],
                linestyle="none",
                marker="o",
                markersize=size,
                markeredgewidth=0,
                color=colours[layer],
                alpha=0.7,
                rasterized=True,
            )


def _diagonal(axes: Axes) -> None:
    """Where both are equal, as far as the axes go."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    ends = max(left, bottom), min(right, top)
    if ends[0] < ends[1]:
        axes.plot(ends, ends, color="0.3", linewidth=1, linestyle="--", zorder=1.5)
    axes.set(xlim=(left, right), ylim=(bottom, top))


def _note(kept: Sequence[np.ndarray], left_out: Sequence[Mapping[str, int]]) -> str:
    counts = {reason: sum(each[reason] for each in left_out) for reason in left_out[0]}
    missing = ", ".join(f"{count:,} {reason}" for reason, count in counts.items() if count)
    n = sum(dots.shape[1] for dots in kept)
    drawn = f"{n:,} dot" if n == 1 else f"{n:,} dots"
    return f"{drawn}; not drawn: {missing}" if missing else drawn


def _depths(n: int) -> np.ndarray:
    """A colour per layer, from dark to light; the lightest would be lost on white."""
    from matplotlib import colormaps

    return np.asarray(colormaps["plasma"](np.linspace(0, 0.88, n)))


def _layer_bar(figure: Figure, axes: Axes, names: Sequence[str], colours: np.ndarray) -> None:
    """The layers beside the axes, first at the top, as many of their names as have room."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import BoundaryNorm, ListedColormap

    n = len(names)
    norm = BoundaryNorm(np.arange(n + 1) - 0.5, n)
    bar = figure.colorbar(
        ScalarMappable(norm, ListedColormap(colours)), ax=axes, pad=0.02, aspect=30
    )
    step = -(-n // _NAMES)
    style: dict[str, Any] = {"fontsize": _NAME, "parse_math": False}
    bar.set_ticks(list(range(0, n, step)), labels=names[::step], **style)
    bar.ax.minorticks_off()
    bar.ax.invert_yaxis()
    bar.ax.tick_params(length=2)
    bar.ax.set_title("layer", fontsize=8)
