"""``show`` and ``heatmap``: what reads results, and the options that pictures share."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

import tmeasures as tm
from tmeasures.cli import files, tables
from tmeasures.cli.options import listed
from tmeasures.errors import ArgumentError
from tmeasures.views import strata


class By(StrEnum):
    """What a row is."""

    layer = "layer"
    channel = "channel"
    unit = "unit"


class Scale(StrEnum):
    """Of an axis or of colours."""

    linear = "linear"
    log = "log"


Results = Annotated[list[Path], typer.Argument(metavar="FILE", help="One or more results.")]
Result = Annotated[Path, typer.Argument(metavar="FILE", help="A result.")]
Measure = Annotated[str, typer.Option(metavar="NAME", help="Which measure.")]
Layers = Annotated[
    str | None, typer.Option(metavar="PATTERNS", help='Only these layers, such as "conv*,fc".')
]
Out = Annotated[Path, typer.Option(metavar="FILE", help="The picture: .png, .svg or .pdf.")]
Scaled = Annotated[Scale, typer.Option(help="Of the values.")]
Stratum = Annotated[
    str | None,
    typer.Option(metavar="LABEL", help="The result of one class, measured with --stratify each."),
]
Title = Annotated[str | None, typer.Option(metavar="TEXT", help="In place of the usual title.")]


def show(
    file: Result,
    measure: Annotated[
        str | None, typer.Option(metavar="NAME", help="All statistics of this measure.")
    ] = None,
    by: Annotated[
        By, typer.Option(help="A row for each layer, or for each value of each channel or unit.")
    ] = By.layer,
    layers: Layers = None,
    stratum: Stratum = None,
    csv: Annotated[bool, typer.Option("--csv", help="As CSV.")] = False,
    json: Annotated[
        bool, typer.Option("--json", help="As JSON, with the attributes of the run.")
    ] = False,
) -> None:
    r"""Print the summary of a result.

    Of a result by classes the means over them, with --stratum the table of one class, or with
    --measure NV_by_stratum a measure of each. In JSON a NaN is null and an infinite value the text
    "inf".

    Examples, with what the demo wrote:
        tmeasures show tmeasures-demo/plain.nc
        tmeasures show tmeasures-demo/plain.nc --measure NV --layers "conv*" --csv
        tmeasures show tmeasures-demo/plain.nc --by channel --json
    """
    if csv and json:
        raise ArgumentError("both --csv and --json are given: choose one")
    tree = of_class(file, stratum)
    brief = by is By.layer and measure is None and not (csv or json)
    if brief:
        print(f"{tables.overview(tree)}\n\n{tables.brief(tree, listed(layers))}")
        return
    frame = tm.to_frame(tree, measure, layers=listed(layers), by=by.value)
    if json:
        print(tables.as_json(tree, frame))
    elif csv:
        frame.to_csv(sys.stdout, index=False, lineterminator="\n")
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
    upper: Annotated[
        float | None, typer.Option(metavar="VALUE", help="Upper end of the colours.")
    ] = None,
    sort: Annotated[bool, typer.Option("--sort", help="Sort the cells of each layer.")] = False,
    stratum: Stratum = None,
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
        opened(results, stratum),
        measure,
        layers=listed(layers),
        scale=scale.value,
        limit=upper,
        sort=sort,
        title=title,
    )
    files.write(figure, out)


def of_class(path: Path, label: str | None) -> Any:
    """A result, or that of the class whose label is typed like this."""
    tree = tm.open(path)
    if label is None:
        return tree
    typed = {f"{each:g}" if isinstance(each, float) else str(each): each for each in strata(tree)}
    return tm.stratum(tree, typed.get(label, label))


def opened(paths: list[Path], label: str | None) -> dict[str, Any]:
    """Results by the name of their files; by their paths where names are alike."""
    if twice := next((path for path in paths if paths.count(path) > 1), None):
        raise ArgumentError(f"{str(twice)!r} is given twice: give each result once")
    names = [path.stem for path in paths]
    if len(set(names)) < len(names):
        names = [str(path) for path in paths]
    return {name: of_class(path, label) for name, path in zip(names, paths, strict=True)}
