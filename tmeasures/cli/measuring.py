"""``measure``, ``explain`` and ``layers``: what runs a network."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import tmeasures as tm
from tmeasures.cli import files, tables
from tmeasures.cli.options import (
    Network,
    Preparation,
    Question,
    Samples,
    Selection,
    Transformed,
    gather,
)
from tmeasures.run import probed
from tmeasures.summaries import layers_of, measured

if TYPE_CHECKING:
    import xarray as xr

logger = logging.getLogger("tmeasures")


def measure(
    context: typer.Context,
    network: Network,
    selection: Selection,
    samples: Samples,
    preparation: Preparation,
    transformed: Transformed,
    question: Question,
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="The result, netCDF; replaced if there.")
    ],
    heatmap: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A heat map too: .png, .svg or .pdf.")
    ] = None,
) -> None:
    r"""Measure a network and save the result.

    Sends every sample under every transformation through the network and measures how each
    activation of each layer reacts. Prints the summary by layer. The file keeps the command that
    made it.

    Sets: rotation (16 angles of a full turn), scale (11 factors, .5 to 1.25), translation (8
    directions by 1, 2 and 4 pixels), flip (4), combined (rotation, scale and translation, 4224),
    identity; "rotation:45," with a comma is the angle 45 alone.

    With numbers of your own, of images: brightness (shares of the range of intensities), contrast
    (factors), grayscale (0 to 1), gaussian_blur (sigmas in pixels), gaussian_noise (shares of the
    range), zoom, horizontal_scaling, vertical_scaling (factors at which images are read: 2 makes
    them half as large), shear (pixels a pixel); of series: time_shift (steps), time_stretch, gain
    (factors), signal_noise (standard deviations); of vectors: circular_shift (places).

    Example, with what the demo wrote:
        tmeasures measure --model tmeasures.demo:network --weights tmeasures-demo/augmented.pt \
            --samples tmeasures-demo/digits.npz --transformations "rotation:8*scale:.8,1" \
            --measures NV,ANOVA --out turned.nc --heatmap turned.png
    """
    files.result(out)
    if heatmap is not None:
        files.picture(heatmap)
    subjects, arguments = gather(network, selection, samples, preparation, transformed, question)
    tm.tune_allocator()
    tree = tm.measure(*subjects, **arguments)
    tree.attrs["command"] = context.find_root().obj
    logger.info("saving %s", out)
    tm.save(tree, out)
    print(tables.brief(tree))
    print()
    files.wrote(out)
    if heatmap is not None:
        files.write(tm.plots.heatmap(tree, _mapped(tree)), heatmap)


def explain(
    network: Network,
    selection: Selection,
    samples: Samples,
    preparation: Preparation,
    transformed: Transformed,
    question: Question,
    trial: Annotated[
        bool,
        typer.Option("--trial", help="Run a few tiles too, and say how many seconds all take."),
    ] = False,
) -> None:
    r"""Say how measure would go: passes, order, tile, bytes, and why.

    Takes the options of measure that matter to it, runs two tiny batches, and writes nothing. For
    a network that convolves images, in a run of 2,400 inputs or more, it also tries in which order
    images in memory are the faster (--memory-format), with at most 2 % of the inputs.

    Example, with what the demo wrote:
        tmeasures explain --model tmeasures.demo:network --samples tmeasures-demo/digits.npz \
            --transformations combined --memory 64MiB
    """
    subjects, arguments = gather(network, selection, samples, preparation, transformed, question)
    if trial:
        tm.tune_allocator()  # as measure does
    print(tm.explain(*subjects, trial=trial, **arguments))


def layers(
    network: Network, selection: Selection, samples: Samples, preparation: Preparation
) -> None:
    r"""List the layers that would be measured.

    And those that would be left out, with the reason.

    Example, with what the demo wrote:
        tmeasures layers --model tmeasures.demo:network --samples tmeasures-demo/digits.npz
    """
    import pandas as pd

    preprocess = preparation.function()
    found, _, _ = samples.open()
    probe = probed(
        network.load(samples.seed),
        found,
        preprocess=preprocess,
        device=network.device,
        **selection.arguments(),
    )
    rows = [
        {
            "layer": layer.name,
            "kind": layer.kind,
            "units": f"{layer.n_units:,}",
            "dims": ", ".join(
                f"{name} {size}" for name, size in zip(layer.dims, layer.shape, strict=True)
            ),
        }
        for layer in probe.layers
    ]
    print(tables.text(pd.DataFrame(rows)))
    for name, reason in probe.left_out.items():
        print(f"left out: {name}, {reason}")


def _mapped(tree: xr.DataTree) -> str:
    """The measure whose heat map says most: one without units, or the first."""
    names = dict.fromkeys(name for data in layers_of(tree).values() for name in measured(data))
    return next((name for name in ("NV", "ND", "GF", "DSE") if name in names), next(iter(names)))
