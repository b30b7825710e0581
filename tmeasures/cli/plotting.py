"""``plot``: pictures of results, of samples, and of what a network makes of them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

import tmeasures as tm
from tmeasures.cli import files
from tmeasures.cli.options import Network, Preparation, Samples, Transformed, listed
from tmeasures.cli.showing import (
    Layers,
    Measure,
    Out,
    Result,
    Results,
    Scale,
    Scaled,
    Stratum,
    Title,
    of_class,
    opened,
)
from tmeasures.hints import whole


class Depth(StrEnum):
    """What the axis of depth shows."""

    layer = "layer"
    percent = "percent"


class Statistic(StrEnum):
    """Of a layer's units."""

    mean = "mean"
    median = "median"
    score = "score"


Layer = Annotated[str, typer.Option(metavar="NAME", help="Which layer.")]
Rows = Annotated[int, typer.Option(metavar="N", help="How many samples.")]
Columns = Annotated[int, typer.Option(metavar="N", help="How many transformations, at most.")]


def lines(
    results: Results,
    out: Out,
    measure: Annotated[
        str, typer.Option(metavar="NAMES", help="Which measures, of the same units: NV,DSE.")
    ] = "NV",
    layers: Layers = None,
    statistic: Annotated[
        Statistic,
        typer.Option(
            help="Mean and standard deviation, median and quartiles, or the mean of the largest "
            "where the measure has such a score."
        ),
    ] = Statistic.mean,
    depth: Annotated[
        Depth, typer.Option(help="Names of layers, or per cent for unlike networks.")
    ] = Depth.layer,
    scale: Scaled = Scale.linear,
    floor: Annotated[
        bool, typer.Option("--floor/--no-floor", help="Of measures that have one, dotted.")
    ] = True,
    dashed: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Results drawn dashed, such as plain.")
    ] = None,
    stratum: Stratum = None,
    title: Title = None,
) -> None:
    r"""A measure against depth, or several: a line for each result and measure.

    Of --measure NV_by_stratum a line for each class.

    Examples, with what the demo wrote:
        tmeasures plot lines tmeasures-demo/plain.nc tmeasures-demo/augmented.nc --dashed plain \
            --statistic median --out lines.png
        tmeasures plot lines tmeasures-demo/plain.nc tmeasures-demo/augmented.nc \
            --measure NV,DSE --statistic median --out equivariance.png
    """
    files.picture(out)
    figure = tm.plots.lines(
        opened(results, stratum),
        listed(measure) or [],
        layers=listed(layers),
        statistic=statistic.value,
        depth=depth.value,
        scale=scale.value,
        floor=floor,
        dashed=listed(dashed) or (),
        title=title,
    )
    files.write(figure, out)


def histograms(
    result: Result,
    out: Out,
    measure: Measure = "NV",
    layers: Layers = None,
    bins: Annotated[int, typer.Option(metavar="N", help="Of each histogram.")] = 40,
    scale: Scaled = Scale.linear,
    stratum: Stratum = None,
    title: Title = None,
) -> None:
    """A histogram for each layer.

    Example, with what the demo wrote:
        tmeasures plot histograms tmeasures-demo/plain.nc --scale log --out histograms.png
    """
    files.picture(out)
    figure = tm.plots.histograms(
        of_class(result, stratum),
        measure,
        layers=listed(layers),
        bins=bins,
        scale=scale.value,
        title=title,
    )
    files.write(figure, out)


def scatter(
    result: Result,
    x: Annotated[str, typer.Option(metavar="NAME", help="Measure along the horizontal axis.")],
    y: Annotated[str, typer.Option(metavar="NAME", help="Measure along the vertical axis.")],
    out: Out,
    layers: Layers = None,
    scale: Scaled = Scale.linear,
    stratum: Stratum = None,
    title: Title = None,
) -> None:
    r"""One measure against another, a dot per unit.

    A dot is an activation, or the mean over a feature map.

    Example, with what the demo wrote:
        tmeasures plot scatter tmeasures-demo/plain.nc --x SV --y TV --scale log --out scatter.png
    """
    files.picture(out)
    figure = tm.plots.scatter(
        of_class(result, stratum), x, y, layers=listed(layers), scale=scale.value, title=title
    )
    files.write(figure, out)


def maps(
    result: Result,
    layer: Layer,
    out: Out,
    measure: Measure = "NV",
    scale: Scaled = Scale.linear,
    stratum: Stratum = None,
    title: Title = None,
) -> None:
    """The feature maps of one layer, location by location.

    Example, with what the demo wrote:
        tmeasures plot maps tmeasures-demo/plain.nc --layer conv5 --out conv5.png
    """
    files.picture(out)
    tree = of_class(result, stratum)
    figure = tm.plots.maps(tree, layer, measure, scale=scale.value, title=title)
    files.write(figure, out)


def samples(
    source: Samples,
    transformed: Transformed,
    out: Out,
    rows: Rows = 4,
    columns: Columns = 16,
    title: Title = None,
) -> None:
    r"""The inputs under the transformations.

    As the network gets them, before any --mean, --std or --preprocess.

    Example, with what the demo wrote:
        tmeasures plot samples --samples tmeasures-demo/digits.npz --transformations rotation:8 \
            --out digits.png
    """
    files.picture(out)
    chosen = transformed.set()
    found, labels, count = source.open()
    figure = tm.plots.samples(
        found,
        chosen,
        n_samples=min(whole("--rows", rows), count),
        n_transformations=whole("--columns", columns),
        labels=labels,
        seed=source.seed or 0,
        title=title,
    )
    files.write(figure, out)


def features(
    result: Result,
    layer: Layer,
    network: Network,
    samples: Samples,
    preparation: Preparation,
    transformed: Transformed,
    out: Out,
    measure: Measure = "NV",
    number: Annotated[int, typer.Option(metavar="N", help="Maps at each end.")] = 3,
    rows: Rows = 3,
    columns: Columns = 16,
    stratum: Stratum = None,
    title: Title = None,
) -> None:
    r"""The most and the least invariant feature maps.

    Of one layer, for a few inputs under the transformations, each with its value. The samples and
    the order of their seed are those of the result unless --seed says another; with --stratum too
    they are of all classes.

    Example, with what the demo wrote:
        tmeasures plot features tmeasures-demo/augmented.nc --layer conv5 --rows 2 \
            --model tmeasures.demo:network --weights tmeasures-demo/augmented.pt \
            --samples tmeasures-demo/digits.npz --transformations rotation:8 --out maps.png
    """
    files.picture(out)
    chosen, preprocess = transformed.set(), preparation.function()
    tree = of_class(result, stratum)
    found, labels, count = samples.open()
    figure = tm.plots.features(
        network.load(samples.seed),
        found,
        chosen,
        tree,
        layer,
        measure,
        n_maps=whole("--number", number),
        n_samples=min(whole("--rows", rows), count),
        n_transformations=whole("--columns", columns),
        labels=labels,
        preprocess=preprocess,
        seed=samples.seed,
        device=network.device,
        title=title,
    )
    files.write(figure, out)
