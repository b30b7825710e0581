"""The app: its commands, and what stands before them."""

from __future__ import annotations

import shlex
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import tmeasures as tm
from tmeasures import demo as digits
from tmeasures.cli import files, measuring, plotting, showing
from tmeasures.cli.commands import command


class _Commands(TyperGroup):
    """All commands; keeps the command line as it was typed for the results."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        ctx.obj = shlex.join(["tmeasures", *args])
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    # Boxes and colours would be in the way of pipes, and a traceback is what --debug asks for.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
plot = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Draw other pictures.")

command(app, runs=True)(measuring.measure)
command(app, runs=True)(measuring.explain)
command(app, runs=True)(measuring.layers)
command(app)(showing.show)
command(app)(showing.heatmap)
app.add_typer(plot, name="plot")
command(plot)(plotting.lines)
command(plot)(plotting.histograms)
command(plot)(plotting.scatter)
command(plot)(plotting.maps)
command(plot)(plotting.samples)
command(plot, runs=True)(plotting.features)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"tmeasures {version('tmeasures')}")
        raise typer.Exit


@app.callback()
def options(
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Measure how every activation of a neural network reacts to transformations of its input."""


@command(app)
def demo(
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder for the files.")] = Path(
        "tmeasures-demo"
    ),
    seed: Annotated[int, typer.Option(metavar="N", help="Of everything that is random.")] = 0,
    epochs: Annotated[
        int, typer.Option(metavar="N", help="Passes over the training digits.")
    ] = digits.EPOCHS,
) -> None:
    """Train on digits without and with rotations, and measure both.

    Takes about a minute. Prints accuracies and how much each layer of the two networks varies
    under rotation, and writes the results (.nc), a heat map and lines of both (.png), and, for
    trying the other commands, the digits (.npz) and the weights (.pt).

    Example:
        tmeasures demo --out tmeasures-demo --seed 1
    """
    tm.tune_allocator()
    report = digits.run(out, seed=seed, epochs=epochs)
    print(report)
    print()
    for file in report.files:
        files.wrote(file)
    print(f"in {report.seconds:.0f} s")


def main() -> None:
    """What the console script ``tmeasures`` runs."""
    app(prog_name="tmeasures")
