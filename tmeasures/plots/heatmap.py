"""The heat map: a column for each layer, a cell for each activation or feature map."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tmeasures.errors import ArgumentError, ResultError
from tmeasures.fields import DEAD, NOT_FINITE
from tmeasures.plots.common import choose, default_title, label
from tmeasures.summaries import layers_of, per_channel

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap, Normalize
    from matplotlib.figure import Figure

# At least 19 CIELAB units from each other and from all of viridis, also as people with protanopia,
# deuteranopia or tritanopia see them; no grey is farther than 12.
COLOURS = {
    "outlier": "#d7191c",
    "dead": "#ffffff",
    "infinite": "#ff4fd8",
    "NaN": "#000000",
}
"""Colours of the cells that the colour bar does not cover."""


@dataclass(frozen=True)
class _Column:
    """The cells of one layer, in order, and which of them are dead."""

    name: str
    values: np.ndarray
    dead: np.ndarray

    @property
    def alive(self) -> np.ndarray:
        alive: np.ndarray = self.values[np.isfinite(self.values) & ~self.dead]
        return alive


def heatmap(
    tree: xr.DataTree,
    measure: str = "NV",
    *,
    layers: str | Sequence[str] | None = None,
    scale: Literal["linear", "log"] = "linear",
    limit: float | None = None,
    title: str | None = None,
) -> Figure:
    """A column for each layer, a cell for each activation.

    Maps are averaged over space as `tmeasures.channels` does (``"mean"``), so a convolution has one
    cell per channel. All columns are as wide and as high: the cells of a small layer are taller.
    The first unit is at the top. The number in brackets is that of the layer's cells.

    Colours show finite values from the lower end (0, or the least value if that is negative; on a
    logarithmic scale the 1 % quantile of the positive ones, lower ones looking like it) up to
    ``limit``. In colours of their own, and counted in the legend: outliers (above ``limit``), dead
    units (all their activations equal), infinite ones and NaN.

    Args:
        tree: A result.
        measure: Name of a variable with one value per unit.
        layers: Patterns of names of layers (``"conv*"``); None: every layer that has the measure.
        scale: ``"linear"`` or ``"log"``.
        limit: Upper end of the colours. None: the upper quartile plus three interquartile ranges
            (Tukey's far fence; on the logarithmic scale, of the logarithms) of the finite cells
            that are not dead, layers weighing alike; no less than their 90 % quantile and no more
            than the largest. 1 for p-values and decisions. Give that of `common_limit` to compare
            figures.
        title: None: the measure, network, transformations, n and m.

    Returns:
        The figure, as wide as its layers need; ``figure.savefig(path)`` writes it. A column with
        more cells than pixels shows some of them: give a larger ``dpi`` to see all.

    Raises:
        ArgumentError: The scale is unknown, or the limit not above the lower end.
        ResultError: The tree is not a result, has no such measure or layer, or the measure has dims
            beside those of the units, of which one has to be picked.

    Example:
        >>> import torch, tmeasures as tm
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU())
        >>> tree = tm.measure(network, torch.rand(8, 1, 9, 9), tm.rotations(4), measures=["NV"])
        >>> figure = tm.plots.heatmap(tree, "NV", layers="0")
        >>> [label.get_text() for label in figure.axes[0].get_xticklabels()]
        ['0 (4)']
    """
    from matplotlib import colormaps
    from matplotlib.colors import LogNorm, Normalize
    from matplotlib.figure import Figure

    if scale not in ("linear", "log"):
        raise ArgumentError(f"scale={scale!r} is not a scale: use 'linear' or 'log'")
    chosen = choose(layers_of(tree), measure, layers)
    columns = [_column(name, data, measure) for name, data in chosen.items()]
    first = next(iter(chosen.values()))
    attributes = first[measure].attrs
    ends = _range(columns, scale, _fixed_limit(first, measure) if limit is None else limit)
    norm = LogNorm(*ends) if scale == "log" else Normalize(*ends)
    cmap = colormaps["viridis"].with_extremes(over=COLOURS["outlier"])

    width = 3.2 + max(4.0, 0.24 * len(columns))
    height = 5.2 + 0.07 * max(len(column.name) for column in columns)
    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    counts = _draw(axes, columns, norm, cmap)
    _colour_bar(figure, axes, columns, norm, cmap, attributes)
    _legend(figure, counts, norm)
    text = default_title(tree, measure) if title is None else title
    lines = [textwrap.fill(line, int(12 * width)) for line in text.splitlines()]
    figure.suptitle("\n".join(lines), fontsize=10)
    return figure


def common_limit(
    trees: Iterable[xr.DataTree],
    measure: str = "NV",
    *,
    layers: str | Sequence[str] | None = None,
) -> float:
    """The limit that `heatmap` would choose for several results together, so that colours compare.

    Args:
        trees: Results.
        measure: Name of a variable with one value per unit.
        layers: Patterns of names of layers, as for `heatmap`; None: every layer.

    Returns:
        The upper end of a linear scale; all layers of all results weigh alike.

    Raises:
        ResultError: As `heatmap` does.

    Example:
        >>> import torch, tmeasures as tm
        >>> networks = [torch.nn.Conv2d(1, 4, size) for size in (3, 5)]
        >>> images, angles = torch.rand(8, 1, 9, 9), tm.rotations(4)
        >>> trees = [tm.measure(network, images, angles, measures="NV") for network in networks]
        >>> limit = tm.plots.common_limit(trees, "NV")
        >>> figures = [tm.plots.heatmap(tree, "NV", limit=limit) for tree in trees]
        >>> figures[0].axes[1].get_ylim() == figures[1].axes[1].get_ylim() == (0, limit)
        True
    """
    chosen = [pair for tree in trees for pair in choose(layers_of(tree), measure, layers).items()]
    if not chosen:
        raise ArgumentError("there are no results to find a limit for: give at least one")
    columns = [_column(name, data, measure) for name, data in chosen]
    return _range(columns, "linear", _fixed_limit(chosen[0][1], measure))[1]


def _fixed_limit(data: xr.Dataset, measure: str) -> float | None:
    """1 for p-values and decisions."""
    return None if data[measure].attrs["kind"] == "value" else 1.0


def _column(name: str, data: xr.Dataset, measure: str) -> _Column:
    leading = [str(dim) for dim in data[measure].dims if dim not in data["status"].dims]
    if leading:
        raise ResultError(
            f"{measure} has the dim {leading[0]!r} beside those of the units: pick one of it, "
            f"such as tree.isel({leading[0]}=0)"
        )
    reduced = per_channel(data[[measure, "status"]])
    status = reduced["status"]
    bits = status.to_numpy().ravel()
    values = reduced[measure].to_numpy().ravel().astype(np.float64)
    if reduced[measure].attrs["kind"] == "decision":
        values[(bits & NOT_FINITE) != 0] = np.nan
    return _Column(name, values, (bits & DEAD) != 0)


def _range(columns: Sequence[_Column], scale: str, limit: float | None) -> tuple[float, float]:
    """Both ends of the colours."""
    layers = [column.alive for column in columns]
    if scale == "log":
        layers = [values[values > 0] for values in layers]
    layers = [values for values in layers if values.size] or [np.ones(1)]
    shown = np.concatenate(layers)
    low = float(np.quantile(shown, 0.01)) if scale == "log" else min(0.0, float(shown.min()))
    if limit is None:
        limit = (
            _upper_end(np.log(layer) for layer in layers) if scale == "log" else _upper_end(layers)
        )
        limit = math.exp(limit) if scale == "log" else limit
        if limit <= low:
            limit = max(float(shown.max()), 10 * low if scale == "log" else low + 1)
    if not limit > low:
        raise ArgumentError(
            f"limit={limit} is not above the lower end of the colours, {low:.3g}: raise it"
        )
    return low, limit


def _upper_end(layers: Iterable[np.ndarray]) -> float:
    """The far fence, between the 90 % quantile and the largest, each layer of the same weight."""
    layers = list(layers)
    values = np.concatenate(layers)
    order = np.argsort(values)
    weights = np.concatenate([np.full(layer.size, 1 / layer.size) for layer in layers])[order]
    middle = np.cumsum(weights) - weights / 2
    lower, upper, most = np.interp(np.array([0.25, 0.75, 0.9]) * len(layers), middle, values[order])
    return float(min(values[order][-1], max(most, upper + 3 * (upper - lower))))


def _draw(
    axes: Axes, columns: Sequence[_Column], norm: Normalize, cmap: Colormap
) -> dict[str, int]:
    """One image per layer; returns how many cells have each colour of `COLOURS`."""
    from matplotlib.colors import to_rgba

    counts = dict.fromkeys(COLOURS, 0)
    for x, column in enumerate(columns):
        special = {
            "outlier": np.isfinite(column.values) & ~column.dead & (column.values > norm.vmax),
            "dead": column.dead & np.isfinite(column.values),
            "infinite": np.isinf(column.values),
            "NaN": np.isnan(column.values),
        }
        cells = cmap(norm(np.clip(column.values, norm.vmin, norm.vmax)))
        for kind, where in special.items():
            cells[where] = to_rgba(COLOURS[kind])
            counts[kind] += int(where.sum())
        axes.imshow(
            cells[:, None],
            extent=(x - 0.46, x + 0.46, 1, 0),
            aspect="auto",
            interpolation="nearest",
        )
    axes.bar(range(len(columns)), 1, width=0.92, fill=False, edgecolor="0.5", linewidth=0.5)
    axes.set(xlim=(-0.54, len(columns) - 0.46), ylim=(1, 0), yticks=[])
    axes.set_xticks(
        range(len(columns)),
        [f"{column.name} ({column.values.size})" for column in columns],
        rotation=90,
        fontsize=8,
    )
    axes.set_xlabel("layer (cells)")
    axes.set_ylabel("units of the layer, maps averaged over space")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return counts


def _colour_bar(
    figure: Figure,
    axes: Axes,
    columns: Sequence[_Column],
    norm: Normalize,
    cmap: Colormap,
    attributes: Mapping[str, Any],
) -> None:
    from matplotlib.cm import ScalarMappable

    alive = np.concatenate([column.alive for column in columns])
    above, below = bool((alive > norm.vmax).any()), bool((alive < norm.vmin).any())
    extend = {(1, 1): "both", (1, 0): "max", (0, 1): "min", (0, 0): "neither"}[above, below]
    bar = figure.colorbar(ScalarMappable(norm, cmap), ax=axes, extend=extend, pad=0.02, aspect=30)
    bar.set_label(label(attributes))


def _legend(figure: Figure, counts: dict[str, int], norm: Normalize) -> None:
    from matplotlib.patches import Patch

    labels = {kind: f"{kind}: {count}" for kind, count in counts.items()}
    labels["outlier"] = f"outlier, above {norm.vmax:.3g}: {counts['outlier']}"
    patches = [
        Patch(facecolor=COLOURS[kind], edgecolor="0.5", label=label)
        for kind, label in labels.items()
    ]
    figure.legend(
        handles=patches,
        loc="outside lower center",
        ncols=len(patches),
        fontsize=8,
        frameon=False,
    )
