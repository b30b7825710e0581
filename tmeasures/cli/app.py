"""The command line: one function a command, each of them arguments and printing only."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import tmeasures as tm
from tmeasures import demo as digits

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it: 128 + SIGINT."""


class _Commands(TyperGroup):
    """All commands; the library's errors end them with one sentence, Ctrl-C with one word."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except tm.TMeasuresError as error:
            if ctx.params["debug"]:
                raise
            print(f"tmeasures: {error}", file=sys.stderr)
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            print("tmeasures: interrupted", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    # Boxes and colours would be in the way of pipes, and a traceback is what --debug asks for.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"tmeasures {version('tmeasures')}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the whole traceback of an error.")
    ] = False,
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Measure how every activation of a neural network reacts to transformations of its input."""


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the files.")] = Path("tmeasures-demo"),
    seed: Annotated[int, typer.Option(help="Of everything that is random.")] = 0,
    epochs: Annotated[int, typer.Option(help="Passes over the training digits.")] = digits.EPOCHS,
) -> None:
    """Train on digits without and with rotations, and measure both.

    Takes about a minute. Prints accuracies and how much each layer of the two networks varies
    under rotation, and writes the results (.nc) and their heat maps (.png).

    Example: tmeasures demo --out digits --seed 1
    """
    tm.tune_allocator()
    report = digits.run(out, seed=seed, epochs=epochs)
    print(report)
    print()
    for file in report.files:
        print(f"wrote {file}")
    print(f"in {report.seconds:.0f} s")


def main() -> None:
    """What the console script ``tmeasures`` runs."""
    app(prog_name="tmeasures")
