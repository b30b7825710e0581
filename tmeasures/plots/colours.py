"""What values look like: a scale of colours, and colours of their own for what is off the scale."""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from tmeasures.errors import ArgumentError
from tmeasures.fields import DEAD, NOT_FINITE
from tmeasures.plots.common import label, require_one_value_per_unit
from tmeasures.plots.text import fitted
from tmeasures.summaries import status_of
from tmeasures.views import SPATIAL, per_channel

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.colors import Colormap, Normalize
    from matplotlib.figure import Figure

Limit: TypeAlias = float | tuple[float, float] | None
"""The upper end of the colours, or both ends; None: chosen from the values."""

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
class Cells:
    """Values of one layer, in an array of any shape, and which of them are dead."""

    values: np.ndarray
    dead: np.ndarray

    def __getitem__(self, key: Any) -> Cells:
        return Cells(self.values[key], self.dead[key])

    @property
    def alive(self) -> np.ndarray:
        """The finite values that are not dead, in a row."""
        alive: np.ndarray = self.values[np.isfinite(self.values) & ~self.dead]
        return alive

    def kinds(self, limit: float) -> dict[str, np.ndarray]:
        """Where each kind of `COLOURS` is; outliers are those above the limit."""
        finite = np.isfinite(self.values)
        return {
            "outlier": finite & ~self.dead & (self.values > limit),
            "dead": finite & self.dead,
            "infinite": np.isinf(self.values),
            "NaN": np.isnan(self.values),
        }


@dataclass(frozen=True)
class Scale:
    """From values to colours."""

    norm: Normalize
    cmap: Colormap
    low: float
    high: float
    log: bool

    def paint(self, cells: Cells) -> np.ndarray:
        """Colours ``(*cells, 4)``."""
        from matplotlib.colors import to_rgba

        # Matplotlib's logarithmic norm takes no arrays of three dims.
        values = np.clip(cells.values, self.low, self.high).ravel()
        painted = np.asarray(self.cmap(self.norm(values))).reshape(*cells.values.shape, 4)
        for kind, where in cells.kinds(self.high).items():
            painted[where] = to_rgba(COLOURS[kind])
        return painted


def units(data: xr.Dataset, measure: str) -> Cells:
    """A layer's cells, of the shape of its units, or of the measure's values if it has fewer."""
    require_one_value_per_unit(data, measure)
    bits = status_of(data, measure).to_numpy()
    values = data[measure].to_numpy().astype(np.float64)
    if data[measure].attrs["kind"] == "decision":
        values[(bits & NOT_FINITE) != 0] = np.nan
    return Cells(values, (bits & DEAD) != 0)


def channels(data: xr.Dataset, measure: str, apart: Collection[Hashable] = ()) -> Cells:
    """A layer's cells in a row, averaged over space, and over the dims that are told."""
    require_one_value_per_unit(data, measure)
    reduced = per_channel(data[[measure, "status"]], over={*SPATIAL, *apart})
    cells = units(reduced, measure)
    return Cells(cells.values.ravel(), cells.dead.ravel())


def make_scale(ends: tuple[float, float], scale: str) -> Scale:
    """Colours between two ends."""
    from matplotlib import colormaps
    from matplotlib.colors import LogNorm, Normalize

    norm = LogNorm(*ends) if scale == "log" else Normalize(*ends)
    return Scale(
        norm, colormaps["viridis"].with_extremes(over=COLOURS["outlier"]), *ends, scale == "log"
    )


def both_ends(
    layers: Sequence[Cells], attributes: Mapping[str, Any], scale: str, limit: Limit
) -> tuple[float, float]:
    """The ends that were asked for, or those that suit the values, layers weighing alike."""
    alive = _drawable(layers, scale)
    shown = np.concatenate(alive)
    low = float(np.quantile(shown, 0.01)) if scale == "log" else min(0.0, float(shown.min()))
    if limit is not None:
        return _asked_for(limit, low, scale)
    if attributes["kind"] in ("p", "decision"):
        return min(low, 0.5), 1.0
    high = _fence(np.log(values) for values in alive) if scale == "log" else _fence(alive)
    high = min(math.exp(high), float(shown.max())) if scale == "log" else high
    if high <= low:
        high = max(float(shown.max()), 10 * low if scale == "log" else low + 1)
    return low, high


def axis_ends(
    layers: Sequence[Cells], attributes: Mapping[str, Any], scale: str
) -> tuple[float, float]:
    """As `both_ends`, for an axis: a fence below as well where that is not at 0.

    Most of every layer is inside: its middle half, of a logarithmic axis 80 %.
    """
    low, high = both_ends(layers, attributes, scale, None)
    alive = _drawable(layers, scale)
    share = 0.25
    if scale == "log":
        fence = math.exp(-_fence(-np.log(values) for values in alive))
        low, share = fence if fence < high else low, 0.1
    low = min(low, *(float(np.quantile(values, share)) for values in alive))
    return low, max(high, *(float(np.quantile(values, 1 - share)) for values in alive))


def _drawable(layers: Sequence[Cells], scale: str) -> list[np.ndarray]:
    """The values that have a place on the scale, by layer; a single 1 where there are none."""
    alive = [cells.alive for cells in layers]
    if scale == "log":
        alive = [values[values > 0] for values in alive]
    return [values for values in alive if values.size] or [np.ones(1)]


def _asked_for(limit: Any, low: float, scale: str) -> tuple[float, float]:
    pair = np.asarray(limit if np.ndim(limit) else (low, limit))
    if pair.shape != (2,) or pair.dtype.kind not in "iuf" or not np.isfinite(pair).all():
        raise ArgumentError(
            f"limit={limit!r} is neither a number nor two: give the upper end of the colours, or "
            f"(lower, upper)"
        )
    low, high = pair.tolist()
    if scale == "log" and low <= 0:
        raise ArgumentError(
            f"limit={limit!r} cannot start a logarithmic scale: give a lower end above 0"
        )
    if not high > low:
        raise ArgumentError(
            f"limit={limit!r} is not above the lower end of the colours, {low:.3g}: raise it"
        )
    return low, high


def _fence(layers: Iterable[np.ndarray]) -> float:
    """The far fence, between the 90 % quantile and the largest, each layer of the same weight."""
    layers = list(layers)
    values = np.concatenate(layers)
    order = np.argsort(values)
    weights = np.concatenate([np.full(layer.size, 1 / layer.size) for layer in layers])[order]
    middle = np.cumsum(weights) - weights / 2
    lower, upper, most = np.interp(np.array([0.25, 0.75, 0.9]) * len(layers), middle, values[order])
    return float(min(values[order][-1], max(most, upper + 3 * (upper - lower))))


def colour_bar(
    figure: Figure,
    axes: Sequence[Axes],
    layers: Sequence[Cells],
    scale: Scale,
    attributes: Mapping[str, Any],
) -> None:
    """The scale beside the axes, with arrows where values lie beyond its ends."""
    from matplotlib.cm import ScalarMappable

    alive = np.concatenate([cells.alive for cells in layers])
    above, below = bool((alive > scale.high).any()), bool((alive < scale.low).any())
    extend = {(1, 1): "both", (1, 0): "max", (0, 1): "min", (0, 0): "neither"}[above, below]
    bar = figure.colorbar(
        ScalarMappable(scale.norm, scale.cmap),
        ax=list(axes),
        extend=extend,
        extendfrac=0.15 / figure.get_figheight(),
        aspect=5 * figure.get_figheight(),
        pad=0.02,
    )
    text = fitted(label(attributes), 0.7 * figure.get_figheight(), 9)
    bar.set_label(text, fontsize=9, parse_math=False)
    bar.ax.tick_params(labelsize=8)
    if scale.log:
        log_ticks(bar.ax.yaxis, scale.low, scale.high)


def log_ticks(axis: Axis, low: float, high: float, most: int = 9) -> None:
    """Powers of ten on a logarithmic axis, or plain numbers where it has few of them.

    Matplotlib's own ticks leave an axis of less than a decade with one number, or with so many that
    they overlap in a small picture.
    """
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter

    small = most < 6
    enough = 2 if small else 3
    decades = range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)
    if len(decades) >= enough:
        axis.set_major_locator(
            FixedLocator([10.0**e for e in decades[:: -(-len(decades) // most)]])
        )
    else:
        around = range(decades.start - 1, decades.stop + 1)
        for digits in ((1, 3), (1, 2, 5)) if small else ((1, 2, 5),):
            ticks = [digit * 10.0**e for e in around for digit in digits]
            ticks = [tick for tick in ticks if low <= tick <= high]
            if len(ticks) >= enough:
                break
        else:
            ticks = list(MaxNLocator(2 if small else 5).tick_values(low, high))
        axis.set_major_locator(FixedLocator(ticks))
        axis.set_major_formatter(FuncFormatter(lambda x, _: _plain(x)))
    axis.set_minor_formatter(NullFormatter())


def _plain(x: float) -> str:
    """A number in few characters."""
    mantissa, exponent = f"{x:.3e}".split("e")
    return f"{x:g}" if -3 < int(exponent) < 4 else f"{float(mantissa):g}e{int(exponent)}"


def legend(figure: Figure, layers: Sequence[Cells], limit: float) -> None:
    """The colours off the scale below the picture, with how many cells have each."""
    from matplotlib.patches import Patch

    kinds = [cells.kinds(limit) for cells in layers]
    counts = {kind: sum(int(where[kind].sum()) for where in kinds) for kind in COLOURS}
    texts = {kind: f"{kind}: {count:,}" for kind, count in counts.items()}
    texts["outlier"] = f"outlier, above {limit:.3g}: {counts['outlier']:,}"
    figure.legend(
        handles=[
            Patch(facecolor=COLOURS[kind], edgecolor="0.5", label=text)
            for kind, text in texts.items()
        ],
        loc="outside lower center",
        ncols=len(texts),
        fontsize=8,
        frameon=False,
    )
