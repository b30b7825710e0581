"""Maps: the spatial detail of one layer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from tmeasures.errors import ArgumentError, ResultError
from tmeasures.hints import nearest
from tmeasures.plots.colours import (
    Cells,
    Limit,
    Scale,
    both_ends,
    colour_bar,
    legend,
    make_scale,
    units,
)
from tmeasures.plots.common import (
    check_scale,
    default_title,
    only,
    own_style,
    require_one_value_per_unit,
)
from tmeasures.plots.text import fitted
from tmeasures.summaries import choose, layers_of, status_of
from tmeasures.views import SPATIAL

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST = 64
"""Channels that are drawn unless more are asked for."""

_GRID = 6.4
"""Inches that the images take together, unless they are many."""

_ALONG = (*SPATIAL, "token")
"""Dims that run to the right where a layer has two."""


@own_style()
def maps(
    tree: xr.DataTree,
    layer: str,
    measure: str = "NV",
    *,
    channels: Sequence[int] | None = None,
    scale: Literal["linear", "log"] = "linear",
    limit: Limit = None,
    title: str | None = None,
) -> Figure:
    """An image per channel of one layer: the values that the heat map averages over space.

    A pixel is an activation at its place in the feature map, y downwards; the number above an image
    is its channel. Layers of two dims, ``(channel, time)`` and ``(token, unit)``, are one image,
    with time or tokens to the right and a row for each channel or unit.

    Colours are those of `heatmap`: outliers, dead units, infinite ones and NaN have their own, and
    the legend counts them in what is shown.

    Args:
        tree: A result.
        layer: Name of a layer.
        measure: Name of a variable with one value per unit.
        channels: Which channels (rows, where the layer is one image), in which order. None: the
            first 64, or all rows; the title says of how many.
        scale: ``"linear"`` or ``"log"``.
        limit: Upper end of the colours, or both ends. None: as `heatmap` chooses from all
            activations of the layer, shown or not.
        title: None: the measure, layer, network, transformations, n and m, and what is shown.

    Returns:
        The figure.

    Raises:
        ArgumentError: ``tree`` is not a single result; the scale or a channel does not exist; the
            limit is not above the lower end.
        ResultError: There is no such layer or measure; the values have one dim only, as those of a
            measure of whole maps do, or more than two that are not y and x of a map.

    Example:
        >>> import torch, tmeasures as tm
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU())
        >>> tree = tm.measure(network, torch.rand(8, 1, 9, 9), tm.rotations(4), measures=["NV"])
        >>> figure = tm.plots.maps(tree, "1", "NV", channels=[0, 2])
        >>> [image.get_array().shape for image in figure.axes[0].images]
        [(7, 7, 4), (7, 7, 4)]
    """
    from tmeasures.plots.picture import Picture

    check_scale(scale)
    result = only(tree)
    data = _layer(result, layer, measure)
    require_one_value_per_unit(data, measure)
    ordered = _laid_out(layer, data[[measure]].assign(status=status_of(data, measure)), measure)
    rows, *space = (str(dim) for dim in ordered["status"].dims)
    whole = units(ordered, measure)
    chosen = _chosen(channels, whole, layer, rows)
    shown = whole[chosen]
    attributes = data[measure].attrs
    colours = make_scale(both_ends([whole], attributes, scale, limit), scale)

    figure = Picture(dpi=120, layout="constrained")
    axes = (_grid if len(space) == 2 else _image)(figure, shown, chosen, colours)
    if len(space) == 1:
        axes.set_xlabel(space[0], fontsize=9, parse_math=False)
        axes.set_ylabel(rows, fontsize=9, parse_math=False)
    colour_bar(figure, [axes], [shown], colours, attributes)
    legend(figure, [shown], colours.high)
    if title is None:
        title = f"{default_title(result, f'{measure} in {layer}')}\n{_count(ordered, chosen)}"
    title = fitted(title, 0.95 * figure.get_figwidth(), 10)
    figure.suptitle(title, fontsize=10, parse_math=False)
    return figure


def _layer(tree: xr.DataTree, layer: str, measure: str) -> xr.Dataset:
    having = choose(layers_of(tree), measure, None)
    if layer not in list(having):
        raise ResultError(
            f"there is no layer {layer!r} with {measure}: use one of {nearest(str(layer), having)}"
        )
    return having[layer]


def _laid_out(layer: str, data: xr.Dataset, measure: str) -> xr.Dataset:
    """With dims ``(row, column)``, or ``(map, y, x)``."""
    dims = [str(dim) for dim in data["status"].dims]
    others = [dim for dim in dims if dim not in ("y", "x")]
    if len(dims) - len(others) == 2 and len(others) < 2:
        return data.transpose(..., *others, "y", "x") if others else data.expand_dims("map")
    if len(dims) == 2:
        along = next((dim for dim in _ALONG if dim in dims), dims[1])
        return data.transpose(..., *(dim for dim in dims if dim != along), along)
    if len(dims) < 2:
        raise ResultError(
            f"{measure} has no space in layer {layer!r}, one value per "
            f"{dims[0] if dims else 'layer'}: draw it with "
            f"heatmap(tree, {measure!r}, layers={layer!r}), or name a measure and a layer of "
            f"feature maps"
        )
    extra = next(dim for dim in others if dim != "channel")
    raise ResultError(
        f"layer {layer!r} has the dims {', '.join(dims)}, more than images can show: pick one of "
        f"{extra}, such as tree.isel({extra}=0)"
    )


def _chosen(channels: Sequence[int] | None, whole: Cells, layer: str, rows: str) -> list[int]:
    there = len(whole.values)
    if channels is None:
        return list(range(there if whole.values.ndim == 2 else min(there, _MOST)))
    chosen = list(channels) if isinstance(channels, Iterable) else []
    if not chosen or not all(type(n) is int or isinstance(n, np.integer) for n in chosen):
        raise ArgumentError(
            f"channels={channels!r} is not a list of indices: give one such as [0, 1]"
        )
    missing = [number for number in chosen if not 0 <= number < there]
    if missing:
        raise ArgumentError(
            f"layer {layer!r} has no {rows} {missing[0]}: use indices from 0 to {there - 1}"
        )
    return chosen


def _count(data: xr.Dataset, chosen: Sequence[int]) -> str:
    """What is shown of how much."""
    (rows, there), *space = ((str(dim), size) for dim, size in data["status"].sizes.items())
    of = f"all {there:,}" if chosen == list(range(there)) else f"{len(chosen):,} of {there:,}"
    of = f"{of} {rows}s" if there > 1 else f"one {rows}"
    if len(space) == 2:
        return f"{of} of {space[0][1]} x {space[1][1]} (y, x)"
    dim, size = space[0]
    return f"{of}, {size:,} {'time step' if dim == 'time' else dim}s"


def _grid(figure: Figure, shown: Cells, numbers: Sequence[int], colours: Scale) -> Axes:
    """An image per channel, each with its number; a power of two to a row, as channels come."""
    from matplotlib.patches import Rectangle

    n, height, width = shown.values.shape
    high = min(max(height / width, 0.2), 5)
    columns = n if n <= 4 else min(n, 2 ** math.ceil(math.log2(max(n * high, 1)) / 2))
    inches = min(max(_GRID / columns, 0.4), 3.2, 3.2 / high)
    across, down = 1 + 0.08 / inches, high + 0.17 / inches
    extent = columns * across, math.ceil(n / columns) * down
    figure.set_size_inches(max(extent[0] * inches, 3.7) + 1.1, extent[1] * inches + 1.2)
    axes = figure.add_subplot()
    for i, (number, rgba) in enumerate(zip(numbers, colours.paint(shown), strict=True)):
        x, y = i % columns * across, i // columns * down
        axes.imshow(rgba, extent=(x, x + 1, y + high, y), interpolation="nearest")
        frame = Rectangle((x, y), 1, high, fill=False, edgecolor="0.5", linewidth=0.5)
        axes.add_patch(frame).set_clip_on(False)
        axes.text(x, y, f"{number}", fontsize=6, ha="left", va="bottom")
    axes.set(xlim=(0, extent[0]), ylim=(extent[1] + high - down, high - down), aspect="equal")
    axes.set_axis_off()
    return axes


def _image(figure: Figure, shown: Cells, numbers: Sequence[int], colours: Scale) -> Axes:
    """The whole layer at once."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    figure.set_size_inches(_GRID + 1.3, min(max(0.1 * len(numbers), 1.5), 5) + 1.7)
    axes = figure.add_subplot()
    axes.imshow(colours.paint(shown), aspect="auto", interpolation="nearest")
    axes.tick_params(labelsize=8)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
    # Rows may be chosen in any order; ticks lie at their places and say their indices.
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda y, _: str(numbers[int(y)]) if 0 <= y < len(numbers) else "")
    )
    return axes
