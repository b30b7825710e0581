"""The sample grid: the inputs of a network under all transformations."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tmeasures.capture import Network
from tmeasures.errors import SampleError
from tmeasures.hints import whole
from tmeasures.inputs import Feed, transformed_key
from tmeasures.job import feed_for
from tmeasures.plots.grid import as_lines, draw, inputs_as_rows
from tmeasures.tile import Inputs, Tile
from tmeasures.transformations import TransformationSet

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def samples(
    samples: Any,
    transformations: TransformationSet | Iterable[Callable[..., Any]] | None = None,
    *,
    n_samples: int = 4,
    n_transformations: int = 16,
    series: bool | None = None,
    input: str | None = None,
    labels: Any = None,
    seed: int = 0,
    title: str | None = None,
) -> Figure:
    r"""What a network gets to see: a row for each sample, a column for each transformation.

    The samples are the first ones of the seeded order, those that `tmeasures.measure` with the same
    seed sees first, transformed as it transforms them, before ``preprocess``. Of more
    transformations than fit, evenly spread ones are drawn, the first and the last among them, and
    the title says of how many.

    Images ``(channel, y, x)`` or ``(y, x)`` are grey or, with three channels, RGB; of other numbers
    of channels the mean is drawn. If all values lie from 0 to 1, these are black and white; else
    the least and the largest value shown are. The line below the picture says which, one for all.
    Series ``(channel, time)`` are drawn as lines on one common axis.

    Args:
        samples: In any form that `tmeasures.measure` takes.
        transformations: As there; None for the samples alone.
        n_samples: Rows; fewer where there are fewer samples.
        n_transformations: Columns, at most.
        series: Whether items of two dims are series rather than grey images. None: where the first
            is at most 16, and at most half of the second.
        input: Key of the tensor that is transformed, where items are mappings with several images.
        labels: One for each sample of the data set, or the key of mapping items that holds them;
            those of ``(x, y)`` items are found. They stand beside the rows.
        seed: Of the order of the samples, and of random transformations.
        title: None: the transformations, n and m.

    Returns:
        The figure; ``figure.savefig(path)`` writes it. Names of transformations and samples are the
        tick labels of its only axes.

    Raises:
        TMeasuresError: As `tmeasures.measure` does for samples and transformations; the items are
            neither images nor series.

    Example:
        >>> import torch, tmeasures as tm
        >>> images, digits = torch.rand(20, 1, 9, 9), torch.arange(20) % 10
        >>> figure = tm.plots.samples((images, digits), tm.rotations(4), n_samples=2)
        >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
        ['label 4\nsample 4', 'label 9\nsample 19']
    """
    rows = whole("n_samples", n_samples)
    columns = whole("n_transformations", n_transformations)
    network = Network(torch.nn.Identity())
    feed = feed_for(network, samples, transformations, None, input, labels, None, seed)
    feed.check()
    key = feed.input or transformed_key(feed.first, input, True)
    shown = thinned(feed.transformations, columns)
    tile = first_tile(replace(feed, transformations=shown), rows)
    items = cells_of(tile.values, key, tile)
    lines = as_lines(items.shape[2:]) if series is None else series
    pictures, note = inputs_as_rows(items, row_names(tile), lines)
    m = len(feed.transformations)
    text = (
        f"Samples under {feed.transformations.name}\n"
        f"{out_of('n', len(tile.samples), feed.samples.n)} samples, "
        f"{out_of('m', len(shown), m)} transformations"
    )
    return draw(pictures, shown.names, title=text if title is None else title, note=note)


def thinned(transformations: TransformationSet, most: int) -> TransformationSet:
    """At most so many of the set, evenly spread, both ends among them; each draws as it did."""
    count = len(transformations)
    if count <= most:
        return transformations
    chosen = np.linspace(0, count - 1, most).round().astype(int).tolist()
    return TransformationSet(transformations.name, [transformations[i] for i in chosen])


def first_tile(feed: Feed, count: int) -> Tile[Inputs]:
    """The first samples under all transformations."""
    return next(feed.tiles("sample", count, len(feed.transformations)))


def cells_of(inputs: Inputs, key: str | None, tile: Tile[Any]) -> np.ndarray:
    """The inputs of a tile that are drawn, ``(sample, column, *item)``."""
    values = inputs if isinstance(inputs, torch.Tensor) else inputs[str(key)]
    items: np.ndarray = torch.unflatten(values, 0, (len(tile.samples), -1)).cpu().numpy()
    if items.ndim == 2:
        raise SampleError(
            "the inputs are single numbers, and this picture is of images (channel, y, x) or "
            "(y, x), or of series (channel, time): draw what has such a shape"
        )
    return items


def row_names(tile: Tile[Any]) -> list[str]:
    """What stands beside each sample: its label, where it has one, and its place."""
    labels = [None] * len(tile.ids) if tile.labels is None else tile.labels.tolist()
    return [
        f"sample {place}" if label is None else f"{_in_words(label)}\nsample {place}"
        for place, label in zip(tile.ids.tolist(), labels, strict=True)
    ]


def _in_words(label: object) -> str:
    return label if isinstance(label, str) else f"label {label}"


def out_of(symbol: str, shown: int, count: int | None) -> str:
    """How many are shown of how many: ``16 of m = 4224``."""
    if count is None:
        return f"the first {shown}"
    return f"{symbol} = {count}" if shown == count else f"{shown} of {symbol} = {count}"
