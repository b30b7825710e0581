"""Rows of small pictures under common headings, laid out in inches so that no text overlaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from tmeasures.errors import ArgumentError, SampleError
from tmeasures.plots.common import own_style
from tmeasures.plots.text import LINE, POINTS, fitted, height_of, width_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIZE = 7.5
_TITLE = 10
_MARGIN = 0.12
_GAP = 0.05
_APART = 0.03
"""Inches between two headings, at least, beside the gap."""

_LARGEST = 400
"""Inches: an image has at most 65536 pixels on a side, at 150 an inch."""

_TALLEST = 2.0
"""Of a cell, in its widths: taller images get narrower."""

Box: TypeAlias = tuple[float, float, float, float]
"""Left, right, bottom and top of a cell."""

SERIES = 0.6
"""Height of a cell of lines, in its widths."""

MANY = 16
"""More channels than that are no lines to tell apart."""


@dataclass(frozen=True)
class Row:
    """One row of pictures.

    Attributes:
        name: Stands at the left; may have several lines.
        cells: ``(column, y, x)``, ``(column, y, x, 3)`` from 0 to 1, or for lines ``(column,
            channel, time)``.
        ends: Values at the ends of the colours, or of the lines' axis.
        colours: Name of a colour map; not used for ``(column, y, x, 3)``.
        lines: Whether the cells are lines.
        above: Inches left free above it.
        tint: Colour of the name, and of the mark at the right of rows of the same ``mark``.
        mark: What consecutive rows have in common; empty: nothing.
    """

    name: str
    cells: np.ndarray
    ends: tuple[float, float]
    colours: str = "gray"
    lines: bool = False
    above: float = _GAP
    tint: str = "black"
    mark: str = ""

    @property
    def aspect(self) -> float:
        """Height of a cell in its widths."""
        if self.lines:
            return SERIES
        _, y, x = self.cells.shape[:3]
        return min(_TALLEST, float(y / x))


@own_style()
def draw(rows: Sequence[Row], headings: Sequence[str], *, title: str, note: str) -> Figure:
    """The rows under the headings of their columns, a title above and a note below.

    The figure has one axes in units of inches; headings and names are its tick labels.
    """
    from tmeasures.plots.picture import Picture

    count = len(headings)
    cell = _cell(rows, headings)
    names = [fitted(row.name, 1.5, _SIZE) for row in rows]
    left = 2 * _MARGIN + max(width_of(name, _SIZE) for name in names)
    right = _MARGIN + (3 * _SIZE * LINE / POINTS if any(row.mark for row in rows) else 0)
    inner = count * (cell + _GAP) - _GAP
    width = max(left + inner + right, 4.0)
    left += (width - left - inner - right) / 2
    headings = [fitted(heading, cell - _APART, _SIZE, 7) for heading in headings]
    title = fitted(title, width - 4 * _MARGIN, _TITLE)
    note = fitted(note, width - 4 * _MARGIN, _SIZE)

    tops, y = _stacked(rows, names, cell)
    bottom = 2 * _MARGIN + height_of(note, _SIZE)
    above = max(height_of(heading, _SIZE) for heading in headings) + _MARGIN
    height = 1.5 * _MARGIN + height_of(title, _TITLE) + above + y + bottom
    if max(width, height) > _LARGEST:
        raise ArgumentError(
            f"{len(rows)} rows and {count} columns make a picture of {width:.0f} by {height:.0f} "
            f"inches, more than can be drawn: ask for fewer samples, maps or transformations"
        )
    figure = Picture(figsize=(width, height), dpi=150)
    axes = figure.add_axes((left / width, bottom / height, inner / width, y / height))
    axes.set(xlim=(0, inner), ylim=(y, 0))
    lefts = np.arange(count) * (cell + _GAP)
    _fill(axes, rows, lefts, tops, cell)
    _mark(axes, rows, tops, cell, inner)
    plain: dict[str, Any] = {"fontsize": _SIZE, "parse_math": False, "linespacing": 1.1}
    axes.xaxis.tick_top()
    axes.set_xticks(lefts + cell / 2, headings, **plain)
    middles = [top + cell * row.aspect / 2 for row, top in zip(rows, tops, strict=True)]
    axes.set_yticks(middles, names, **plain)
    for tick, row in zip(axes.get_yticklabels(), rows, strict=True):
        tick.set_color(row.tint)
    axes.tick_params(length=0, pad=0.5 * _MARGIN * POINTS)
    axes.spines[:].set_visible(False)
    figure.suptitle(title, fontsize=_TITLE, y=1 - _MARGIN / height, va="top", parse_math=False)
    foot: dict[str, Any] = {"color": "0.3", "ha": "center", "va": "bottom"}
    figure.text(0.5, _MARGIN / height, note, fontsize=_SIZE, parse_math=False, **foot)
    return figure


def _cell(rows: Sequence[Row], headings: Sequence[str]) -> float:
    """Width of a cell: what a page has room for, and no less than what the headings' words need."""
    words = [width_of(word, _SIZE) for heading in headings for word in heading.split()]
    page = min(1.2, 9 / len(headings) - _GAP, 11 / sum(row.aspect for row in rows))
    return max(page, min(0.8, max(words, default=0) + _APART), 0.55)


def _stacked(rows: Sequence[Row], names: Sequence[str], cell: float) -> tuple[list[float], float]:
    """Where the cells of each row begin, and where the last row ends."""
    tops, y = [], 0.0
    for row, name in zip(rows, names, strict=True):
        high = cell * row.aspect
        spare = max(0, height_of(name, _SIZE) - high) / 2  # a name may be higher than its row
        tops.append(y + row.above + spare)
        y += row.above + high + 2 * spare
    return tops, y


def _fill(
    axes: Axes, rows: Sequence[Row], lefts: np.ndarray, tops: Sequence[float], cell: float
) -> None:
    """The pictures, each in a thin frame: one with a white edge would run into the page."""
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    frames = []
    for row, y in zip(rows, tops, strict=True):
        high = cell * row.aspect
        # Of a taller image the cell is narrower.
        wide = cell if row.lines else min(cell, high * row.cells.shape[2] / row.cells.shape[1])
        for left, values in zip(lefts, row.cells, strict=True):
            x = left + (cell - wide) / 2
            frames.append(Rectangle((x, y), wide, high))
            (_series if row.lines else _image)(axes, row, values, (x, x + wide, y + high, y))
    style: dict[str, Any] = {"facecolor": "none", "edgecolor": "0.75", "linewidth": 0.4}
    axes.add_collection(PatchCollection(frames, clip_on=False, **style), autolim=False)


def _image(axes: Axes, row: Row, values: np.ndarray, box: Box) -> None:
    low, high = row.ends
    axes.imshow(values, cmap=row.colours, vmin=low, vmax=high, extent=box, aspect="auto")


def _series(axes: Axes, row: Row, values: np.ndarray, box: Box) -> None:
    from matplotlib import colormaps

    left, right, bottom, top = box
    low, high = row.ends
    share = (values - low) / ((high - low) or 1)
    x = left + (right - left) * (np.arange(values.shape[1]) + 0.5) / values.shape[1]
    shades = colormaps[row.colours](np.linspace(0, 0.85, len(values)))
    for line, shade in zip(bottom - (0.05 + 0.9 * share) * (bottom - top), shades, strict=True):
        axes.plot(x, line, color=shade, linewidth=0.7)


def _mark(axes: Axes, rows: Sequence[Row], tops: Sequence[float], cell: float, x: float) -> None:
    """A bar at the right of consecutive rows of one mark, and the mark beside it."""
    start = 0
    for i, row in enumerate(rows):
        if i + 1 < len(rows) and rows[i + 1].mark == row.mark:
            continue
        if row.mark:
            top, bottom = tops[start], tops[i] + cell * row.aspect
            line: dict[str, Any] = {"color": row.tint, "linewidth": 2.5, "solid_capstyle": "butt"}
            axes.plot([x + 0.07] * 2, [top, bottom], clip_on=False, **line)
            axes.text(
                x + 0.12,
                (top + bottom) / 2,
                fitted(row.mark, bottom - top, _SIZE, 2),
                color=row.tint,
                fontsize=_SIZE,
                rotation=90,
                va="center",
                ha="left",
                linespacing=1.1,
                parse_math=False,
            )
        start = i + 1


def as_lines(shape: Sequence[int]) -> bool:
    """Whether items of a shape look like series of a few channels, and not like images."""
    if len(shape) == 2:
        return shape[0] <= MANY and 2 * shape[0] <= shape[1]
    return len(shape) == 1


def as_images(items: np.ndarray) -> tuple[np.ndarray, str]:
    """Items as images, ``(..., y, x)`` or ``(..., y, x, 3)``, and what was done to them.

    Args:
        items: ``(sample, column, *item)``: grey or RGB, channels first or, where that is not so,
            last.
    """
    shape = items.shape[2:]
    if len(shape) == 2:
        return items, ""
    if len(shape) != 3:
        raise SampleError(
            f"the inputs have shape {shape}, and this picture is of images (channel, y, x) or "
            f"(y, x), or of series (channel, time): choose such a part of them in the data set"
        )
    if shape[0] not in (1, 3) and shape[2] in (1, 3):
        items = np.moveaxis(items, -1, 2)
    if items.shape[2] == 3:
        return np.moveaxis(items, 2, -1), ""
    what = "" if items.shape[2] == 1 else f"mean of the {items.shape[2]} channels; "
    return items.mean(2), what


def ends_of(values: np.ndarray) -> tuple[float, float]:
    """The least and the largest finite value; 0 and 1 where there is none."""
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)


def inputs_as_rows(items: np.ndarray, names: Sequence[str], lines: bool) -> tuple[list[Row], str]:
    """A row for each sample, and a note on how values are shown.

    Images from 0 to 1 are shown as they are, others scaled; one scale holds for all.

    Args:
        items: ``(sample, column, *item)``.
        names: Of the samples.
        lines: Whether they are series, not images.
    """
    if lines:
        series = items.reshape(*items.shape[:2], -1, items.shape[-1]).astype(np.float64)
        ends = ends_of(series)
        rows = [
            Row(name, cells, ends, "viridis", lines=True)
            for name, cells in zip(names, series, strict=True)
        ]
        channels = f"{series.shape[2]} channels, dark to light; " if series.shape[2] > 1 else ""
        return rows, f"inputs: {channels}one axis for all, from {ends[0]:.3g} to {ends[1]:.3g}"
    images, done = as_images(items.astype(np.float64))
    low, high = ends_of(images)
    if 0 <= low <= high <= 1:
        low, high = 0.0, 1.0
    note = f"inputs: {done}from {low:.3g} (black) to {high:.3g} (white), alike in all"
    if images.ndim == 5:
        shown = np.clip(np.nan_to_num((images - low) / ((high - low) or 1)), 0, 1)
        images, low, high = shown, 0.0, 1.0
    rows = [Row(name, cells, (low, high)) for name, cells in zip(names, images, strict=True)]
    return rows, note
