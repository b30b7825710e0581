"""``show``, ``heatmap`` and ``plot``: what reads results."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

import tmeasures as tm
from tmeasures.cli import files, tables
from tmeasures.cli.commands import command
from tmeasures.cli.options import Inputs, Network, Transformed, listed
from tmeasures.errors import ArgumentError


class By(StrEnum):
    """What a row is."""

    layer = "layer"
    channel = "channel"
    unit = "unit"


class Scale(StrEnum):
    """Of an axis or of colours."""

    linear = "linear"
    log = "log"


class Depth(StrEnum):
    """What the axis of depth shows."""

    layer = "layer"
    percent = "percent"


class Statistic(StrEnum):
    """Of a layer's units."""

    mean = "mean"
    median = "median"


Results = Annotated[list[Path], typer.Argument(metavar="FILE...", help="Results.")]
Result = Annotated[Path, typer.Argument(metavar="FILE", help="A result.")]
Layer = Annotated[str, typer.Option(metavar="NAME", help="Which layer.")]
Rows = Annotated[int, typer.Option(metavar="N", help="How many samples.")]
Columns = Annotated[int, typer.Option(metavar="N", help="How many transformations, at most.")]
Measure = Annotated[str, typer.Option(metavar="NAME", help="Which measure.")]
Layers = Annotated[
    str | None, typer.Option(metavar="PATTERNS", help='Only these layers, such as "conv*,fc".')
]
Out = Annotated[Path, typer.Option(metavar="FILE", help="The picture: .png, .svg or .pdf.")]
Scaled = Annotated[Scale, typer.Option(help="Of the values.")]
Title = Annotated[str | None, typer.Option(metavar="TEXT", help="In place of the usual title.")]


plot = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Draw other pictures.")


def show(
    file: Result,
    measure: Annotated[
        str | None, typer.Option(metavar="NAME", help="All statistics of this measure.")
    ] = None,
    by: Annotated[
        By, typer.Option(help="A row for each layer, or for each value of each channel or unit.")
    ] = By.layer,
    layers: Layers = None,
    csv: Annotated[bool, typer.Option("--csv", help="As CSV.")] = False,
    json: Annotated[
        bool, typer.Option("--json", help="As JSON, with the attributes of the run.")
    ] = False,
) -> None:
    r"""Print the summary of a result.

    In JSON a NaN is null and an infinite value the text "inf".

    Examples, with what the demo wrote:
        tmeasures show tmeasures-demo/plain.nc
        tmeasures show tmeasures-demo/plain.nc --measure NV --layers "conv*" --csv
        tmeasures show tmeasures-demo/plain.nc --by channel --json
    """
    if csv and json:
        raise ArgumentError("both --csv and --json are given: choose one")
    tree = tm.open(file)
    if by is By.layer:
        frame = tables.summary(tree, measure, listed(layers))
    else:
        frame = tm.to_frame(
            tree, measure, layers=listed(layers), by="channel" if by is By.channel else "unit"
        )
    if json:
        print(tables.as_json(tree, frame))
    elif csv:
        print(frame.to_csv(index=False), end="")
    else:
        print(f"{tables.overview(tree)}\n\n{tables.text(frame)}")
        if len(frame) > tables.ROWS:
            print(f"({len(frame):,} rows; --csv and --json print all of them)")


def heatmap(
    results: Results,
    out: Out,
    measure: Measure = "NV",
    layers: Layers = None,
    scale: Scaled = Scale.linear,
    limit: Annotated[
        float | None, typer.Option(metavar="VALUE", help="Upper end of the colours.")
    ] = None,
    sort: Annotated[bool, typer.Option("--sort", help="Sort the cells of each layer.")] = False,
    title: Title = None,
) -> None:
    r"""Draw the heat map of one or several results.

    A column is a layer, a cell an activation or the mean over a feature map. Several results share
    their colours.

    Examples, with what the demo wrote:
        tmeasures heatmap tmeasures-demo/plain.nc --out plain.png
        tmeasures heatmap tmeasures-demo/plain.nc tmeasures-demo/augmented.nc --scale log --sort \
            --out both.pdf
    """
    files.picture(out)
    figure = tm.plots.heatmap(
        _opened(results),
        measure,
        layers=listed(layers),
        scale=scale.value,
        limit=limit,
        sort=sort,
        title=title,
    )
    files.write(figure, out)


@command(plot)
def lines(
    results: Results,
    out: Out,
    measure: Measure = "NV",
    layers: Layers = None,
    statistic: Annotated[
        Statistic, typer.Option(help="Mean and standard deviation, or median and quartiles.")
    ] = Statistic.mean,
    depth: Annotated[
        Depth, typer.Option(help="Names of layers, or per cent for unlike networks.")
    ] = Depth.layer,
    scale: Scaled = Scale.linear,
    dashed: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Results drawn dashed, such as plain.")
    ] = None,
    title: Title = None,
) -> None:
    r"""A measure against depth: a line for each result.

    Example, with what the demo wrote:
        tmeasures plot lines tmeasures-demo/plain.nc tmeasures-demo/augmented.nc --dashed plain \
            --statistic median --out lines.png
    """
    files.picture(out)
    figure = tm.plots.layer_lines(
        _opened(results),
        measure,
        layers=listed(layers),
        statistic=statistic.value,
        depth=depth.value,
        scale=scale.value,
        dashed=listed(dashed) or (),
        title=title,
    )
    files.write(figure, out)


@command(plot)
def histograms(
    result: Result,
    out: Out,
    measure: Measure = "NV",
    layers: Layers = None,
    bins: Annotated[int, typer.Option(metavar="N", help="Of each histogram.")] = 40,
    scale: Scaled = Scale.linear,
    title: Title = None,
) -> None:
    """A histogram for each layer.

    Example, with what the demo wrote:
        tmeasures plot histograms tmeasures-demo/plain.nc --scale log --out histograms.png
    """
    files.picture(out)
    figure = tm.plots.histograms(
        tm.open(result),
        measure,
        layers=listed(layers),
        bins=bins,
        scale=scale.value,
        title=title,
    )
    files.write(figure, out)


@command(plot)
def scatter(
    result: Result,
    x: Annotated[str, typer.Option(metavar="NAME", help="Measure along the horizontal axis.")],
    y: Annotated[str, typer.Option(metavar="NAME", help="Measure along the vertical axis.")],
    out: Out,
    layers: Layers = None,
    scale: Scaled = Scale.linear,
    title: Title = None,
) -> None:
    r"""One measure against another, a dot per unit.

    A dot is an activation, or the mean over a feature map.

    Example, with what the demo wrote:
        tmeasures plot scatter tmeasures-demo/plain.nc --x SV --y TV --scale log --out scatter.png
    """
    files.picture(out)
    figure = tm.plots.scatter(
        tm.open(result), x, y, layers=listed(layers), scale=scale.value, title=title
    )
    files.write(figure, out)


@command(plot)
def maps(
    result: Result,
    layer: Layer,
    out: Out,
    measure: Measure = "NV",
    scale: Scaled = Scale.linear,
    title: Title = None,
) -> None:
    """The feature maps of one layer, location by location.

    Example, with what the demo wrote:
        tmeasures plot maps tmeasures-demo/plain.nc --layer conv5 --out conv5.png
    """
    files.picture(out)
    figure = tm.plots.maps(tm.open(result), layer, measure, scale=scale.value, title=title)
    files.write(figure, out)


@command(plot)
def samples(
    inputs: Inputs,
    transformed: Transformed,
    out: Out,
    rows: Rows = 4,
    columns: Columns = 16,
    title: Title = None,
) -> None:
    r"""The inputs under the transformations.

    As the network gets them, before --mean, --std or --preprocess.

    Example, with what the demo wrote:
        tmeasures plot samples --samples tmeasures-demo/digits.npz --transformations rotation:8 \
            --out digits.png
    """
    files.picture(out)
    chosen = transformed.set()
    found, arguments = inputs.open()
    figure = tm.plots.sample_grid(
        found,
        chosen,
        n_samples=rows,
        n_transformations=columns,
        labels=arguments["labels"],
        seed=arguments["seed"],
        title=title,
    )
    files.write(figure, out)


@command(plot)
def features(
    result: Result,
    layer: Layer,
    network: Network,
    inputs: Inputs,
    transformed: Transformed,
    out: Out,
    measure: Measure = "NV",
    number: Annotated[int, typer.Option(metavar="N", help="Maps at each end.")] = 3,
    rows: Rows = 3,
    columns: Columns = 16,
    title: Title = None,
) -> None:
    r"""The most and the least invariant feature maps.

    Of one layer, for a few inputs under the transformations, each with its value.

    Example, with what the demo wrote:
        tmeasures plot features tmeasures-demo/augmented.nc --layer conv5 --rows 2 \
            --model tmeasures.demo:network --weights tmeasures-demo/augmented.pt \
            --samples tmeasures-demo/digits.npz --transformations rotation:8 --out maps.png
    """
    files.picture(out)
    chosen, tree = transformed.set(), tm.open(result)
    found, arguments = inputs.open()
    figure = tm.plots.feature_maps(
        network.load(inputs.seed),
        found,
        chosen,
        tree,
        layer,
        measure,
        n_maps=number,
        n_samples=rows,
        n_transformations=columns,
        labels=arguments["labels"],
        preprocess=arguments["preprocess"],
        seed=arguments["seed"],
        device=network.device,
        title=title,
    )
    files.write(figure, out)


def _opened(paths: list[Path]) -> dict[str, Any]:
    """Results by the name of their files; by their paths where names are alike."""
    names = [path.stem for path in paths]
    if len(set(names)) < len(names):
        names = [str(path) for path in paths]
    return {name: tm.open(path) for name, path in zip(names, paths, strict=True)}
