"""The most and the least invariant feature maps of a layer, for a few inputs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from tmeasures.capture import Layer, Network
from tmeasures.errors import ArgumentError, ResultError, warn
from tmeasures.fields import DEAD
from tmeasures.hints import nearest, whole
from tmeasures.inputs import Feed, transformed_key
from tmeasures.job import feed_for, probe
from tmeasures.plots.common import default_title, most_invariant, require_one_value_per_unit
from tmeasures.plots.grid import Row, as_lines, draw, ends_of, inputs_as_rows
from tmeasures.plots.samples import cells_of, first_tile, out_of, row_names, thinned
from tmeasures.results import attribute
from tmeasures.summaries import choose, layers_of
from tmeasures.tile import Inputs, Tile
from tmeasures.transformations import TransformationSet
from tmeasures.views import per_channel

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

TINTS = ("#0072b2", "#d55e00")
"""Colours of the marks of the most and of the least invariant maps."""

_APART, _CLOSE, _BETWEEN = 0.12, 0.05, 0.32
"""Inches above a block's ends, above their other rows, and above the next sample."""

_ADVICE = (
    "choose a layer of channels and space, such as a convolution, or name the dims of this one "
    "with layout= when you measure"
)


@dataclass(frozen=True)
class _Ranking:
    """Both ends of the channels in order, what they are, and what was left out, in words."""

    first: list[int]
    last: list[int]
    marks: tuple[str, str]
    values: np.ndarray
    left_out: list[str]

    @property
    def channels(self) -> list[int]:
        """Those that are drawn, in order."""
        return [*self.first, *self.last]


def features(
    model: Any,
    samples: Any,
    transformations: TransformationSet | Iterable[Callable[..., Any]] | None,
    tree: xr.DataTree,
    layer: str,
    measure: str = "NV",
    *,
    n_maps: int = 3,
    n_samples: int = 3,
    n_transformations: int = 16,
    activations: Any = "unit",
    layout: Any = None,
    preprocess: Callable[[Any], Any] | None = None,
    call: Callable[[Any, Any], Any] | None = None,
    input: str | None = None,
    labels: Any = None,
    device: torch.device | str | None = None,
    seed: int | None = None,
    title: str | None = None,
) -> Figure:
    """What the most and the least invariant feature maps of a layer show.

    A block for each sample: the sample under all transformations, below it the maps of the
    ``n_maps`` channels of smallest value and, apart, those of largest value, each with its channel
    and value at the left; of GF, where more is more invariant, the largest come first. The value of
    a channel is the mean of the measure over the finite locations of its map, as in
    `tmeasures.channels`, or that of a measure of whole maps; infinite is the largest. Dead channels
    and those without a value are left out, and the line below the picture says how many.

    The colours of a map go from its least to its largest activation over all that is shown of it,
    so they compare between transformations and samples, not between channels. Maps over time are
    lines, on an axis found alike.

    Args:
        model: The network that was measured. Its modes and parameters stay as they are.
        samples: What it was measured on, or others, in any form that `tmeasures.measure` takes.
        transformations: As there. Of more than fit evenly spread ones are drawn, the first and the
            last among them.
        tree: The result; of `tmeasures.stratum` it the channels are in the order of the class, and
            the inputs still those of all classes.
        layer: Name of a layer of it with maps.
        measure: Name of a variable with one value per unit or channel.
        n_maps: Channels at each end; fewer where there are not twice as many.
        n_samples: Inputs, the first of the seeded order: those that were measured first.
        n_transformations: Columns, at most.
        activations: As it was measured; so are the next ones.
        layout: Names of dims.
        preprocess: Applied after the transformation. The inputs are drawn as they were before it.
        call: How the model is called.
        input: Key of the tensor that is transformed.
        labels: One for each sample of the data set, or the key of mapping items that holds them.
        device: Where to run; None: where the model is.
        seed: Of the order of the samples; None: that of the result.
        title: None: the measure, layer, network, transformations, n and m.

    Returns:
        The figure; ``figure.savefig(path)`` writes it. Names of rows and columns are the tick
        labels of its only axes.

    Raises:
        ArgumentError: A number is below 1; the layer has no maps over y, x or time; or as
            `tmeasures.measure` does.
        ResultError: The tree is no result, has no such layer or measure, was made from a network of
            other channels, or no channel has a value.

    Warns:
        TMeasuresWarning: The network has other weights than the one that was measured.

    Note:
        Cost: a forward pass for each sample and transformation that is shown.

    Example:
        >>> import torch, tmeasures as tm
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ELU())
        >>> images, angles = torch.rand(8, 1, 9, 9), tm.rotations(4)
        >>> tree = tm.measure(network, images, angles, measures="NV")
        >>> figure = tm.plots.features(network, images, angles, tree, "1", n_maps=1)
        >>> len(figure.axes[0].images)  # 3 samples, 4 angles, the input and two maps
        36
    """
    count = whole("n_samples", n_samples)
    columns = whole("n_transformations", n_transformations)
    ranking = _rank(tree, layer, measure, whole("n_maps", n_maps))
    network = Network(
        model,
        # All of the result, so that patterns in activations= and layout= find what they found.
        layers=list(layers_of(tree)),
        activations=activations,
        layout=layout,
        call=call,
        device=device,
    )
    seen: list[Any] = []

    def keep(inputs: Any) -> Any:
        seen[:] = [copy.deepcopy(inputs)]  # a preprocess may work in place
        return inputs if preprocess is None else preprocess(inputs)

    if seed is None:
        seed = attribute(tree, "seed") if "seed" in tree.attrs else 0
    feed = feed_for(network, samples, transformations, keep, input, labels, None, seed)
    _probe(network, feed, tree)
    shown = thinned(feed.transformations, columns)
    key = feed.input or transformed_key(feed.first, input, True)
    tile = first_tile(replace(feed, transformations=shown), count)
    maps = _maps(network, tile, layer, ranking)
    if tree.attrs.get("parameters") not in (None, "null", network.fingerprint):
        warn(
            f"the network has other weights than the {attribute(tree, 'model')} that was measured, "
            f"so the maps are not those that the values are of; give it the weights of the result"
        )
    rows, note = _rows(cells_of(seen[0], key, tile), maps, row_names(tile), ranking, measure)
    notes = [note, *ranking.left_out, _shown(tree, feed, len(tile.samples), len(shown))]
    text = default_title(tree, f"{measure} of the maps of {layer}") if title is None else title
    return draw(rows, shown.names, title=text, note="; ".join(notes))


def _rank(tree: xr.DataTree, layer: str, measure: str, most: int) -> _Ranking:
    everything = layers_of(tree)
    if layer not in everything:
        raise ResultError(
            f"the result has no layer {layer!r}: use one of {nearest(str(layer), everything)}"
        )
    data = choose({layer: everything[layer]}, measure, None)[layer]
    require_one_value_per_unit(data, measure)
    reduced = per_channel(data[[measure, "status"]])
    status, values = reduced["status"], reduced[measure]
    if status.dims != ("channel",):
        raise ArgumentError(
            f"layer {layer!r} has the dims {', '.join(map(str, data['status'].dims))} and so no "
            f"maps: {_ADVICE}"
        )
    if values.dims != ("channel",):
        raise ArgumentError(
            f"{measure} has one value for the whole layer, by which its maps cannot be ranked: "
            f"name a measure that has one for each, such as NV"
        )
    numbers = values.to_numpy().astype(np.float64)
    dead = (status.to_numpy() & DEAD) != 0
    unknown = np.isnan(numbers) & ~dead
    invariant = most_invariant(values)
    order = np.argsort(-numbers if invariant == "largest" else numbers, kind="stable")
    alive = [int(i) for i in order if not (dead[i] or unknown[i])]
    if not alive:
        raise ResultError(
            f"no channel of {layer!r} has a value of {measure}, all {len(numbers)} being dead or "
            f"NaN: choose another layer"
        )
    count = min(most, max(1, len(alive) // 2))
    counts = {"dead": int(dead.sum()), "NaN": int(unknown.sum())}
    out = [f"{n} {what} channels left out" for what, n in counts.items() if n]
    words = ("most invariant", "least invariant")
    marks = words if invariant else (f"smallest {measure}", f"largest {measure}")
    return _Ranking(alive[:count], alive[max(count, len(alive) - count) :], marks, numbers, out)


def _probe(network: Network, feed: Feed, tree: xr.DataTree) -> None:
    """Finds the layers of the result in the network."""
    try:
        probe(network, feed)
    except ArgumentError as error:
        for name in layers_of(tree):
            if str(error).startswith(f"layers pattern {name!r} "):
                raise ResultError(
                    f"the network has no layer {name!r} of the result: give the network that was "
                    f"measured"
                ) from None
        raise


def _maps(network: Network, tile: Tile[Inputs], layer: str, ranking: _Ranking) -> np.ndarray:
    """Maps of the ranked channels: ``(channel, sample, column, y, x)`` or ``(..., time)``."""
    found = next(each for each in network.layers if each.name == layer)
    space = [dim for dim in ("time", "y", "x") if dim in found.dims]
    if sorted(found.dims) not in (["channel", "time"], ["channel", "x", "y"]):
        raise ArgumentError(
            f"layer {layer!r} has the dims {', '.join(found.dims)} and so no maps over y, x or "
            f"time: {_ADVICE}"
        )
    count = found.shape[found.dims.index("channel")]
    if count != len(ranking.values):
        raise ResultError(
            f"layer {layer!r} has {len(ranking.values)} channels in the result and {count} in the "
            f"network: give the network that was measured"
        )
    kept: list[Tensor] = []

    def receive(each: Layer, values: Tensor) -> None:
        if each.name == layer:
            first = [1 + found.dims.index(dim) for dim in ("channel", *space)]
            kept.append(values.permute(first[0], 0, *first[1:])[ranking.channels].float().cpu())

    with network.session():
        network.forward(tile.values, receive)
    maps: np.ndarray = torch.unflatten(kept[0], 1, (len(tile.samples), -1)).numpy()
    return maps


def _rows(
    items: np.ndarray, maps: np.ndarray, names: list[str], ranking: _Ranking, measure: str
) -> tuple[list[Row], str]:
    """The rows of all samples, and a note on how values are shown."""
    over_time = maps.ndim == 4
    series = over_time if items.ndim == 4 else as_lines(items.shape[2:])
    inputs, note = inputs_as_rows(items, names, series)
    rows = [
        row
        for i, first in enumerate(inputs)
        for row in (replace(first, above=_BETWEEN if i else 0), *_block(maps, i, ranking, measure))
    ]
    how = "lines" if over_time else "dark to light"
    return (
        rows,
        f"{note}; maps: {how}, each channel from its least to its largest activation shown",
    )


def _block(maps: np.ndarray, i: int, ranking: _Ranking, measure: str) -> list[Row]:
    """The rows of one sample, the two ends apart."""
    rows = []
    for place, (channel, values) in enumerate(zip(ranking.channels, maps, strict=True)):
        end = int(place >= len(ranking.first))
        value = f"{ranking.values[channel]:.4g}".replace("inf", "∞")
        rows.append(
            Row(
                f"channel {channel}\n{measure} {value}",
                values[i][:, None] if values.ndim == 3 else values[i],
                ends_of(values),
                "viridis",
                lines=values.ndim == 3,
                above=_APART if place in (0, len(ranking.first)) else _CLOSE,
                tint=TINTS[end],
                mark=ranking.marks[end],
            )
        )
    return rows


def _shown(tree: xr.DataTree, feed: Feed, rows: int, columns: int) -> str:
    """How much of what there is."""
    m, name = len(feed.transformations), feed.transformations.name
    text = f"shown: {out_of('n', rows, feed.samples.n)} samples"
    if columns < m or name != tree.attrs.get("transformations", name):
        text += f", {out_of('m', columns, m)} transformations of {name}"
    return text
