"""Options that several commands share, and the objects they name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import torch
from typer import Option

from tmeasures.cli.references import load, model
from tmeasures.cli.sets import transformations
from tmeasures.cli.sources import normalisation, open_samples
from tmeasures.errors import ArgumentError
from tmeasures.job import DEFAULT_MEASURES


class Activations(StrEnum):
    """What of an output is measured."""

    unit = "unit"
    pooled = "pooled"


class Channels(StrEnum):
    """Where an array has its channels."""

    first = "first"
    last = "last"


def listed(text: str | None) -> list[str] | None:
    """The parts of a comma-separated list."""
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]


@dataclass
class Network:
    """The network, and where it runs."""

    model: Annotated[
        str,
        Option(
            metavar="MODULE:NAME",
            help="A torch.nn.Module, or a function without arguments that makes one: "
            "package.module:name or file.py:name.",
        ),
    ]
    weights: Annotated[
        Path | None,
        Option(metavar="FILE", help="A state dict: .safetensors, or what torch.save wrote."),
    ] = None
    device: Annotated[
        str | None, Option(metavar="NAME", help="Where to run, such as cuda; the CPU if left out.")
    ] = None

    def load(self, seed: int) -> Any:
        """The model with its weights; what it draws at random is the same in every run."""
        torch.manual_seed(seed)
        return model(self.model, self.weights)


@dataclass
class Selection:
    """What of the network is measured."""

    layers: Annotated[
        str | None,
        Option(
            metavar="PATTERNS",
            help='Layers to measure, such as "conv*,fc"; if left out, all that compute.',
        ),
    ] = None
    activations: Annotated[
        Activations, Option(help="Every unit, or maps averaged over space first.")
    ] = Activations.unit

    def arguments(self) -> dict[str, Any]:
        """Those of `tmeasures.measure`."""
        return {"layers": listed(self.layers), "activations": self.activations.value}


@dataclass
class Inputs:
    """The samples, and what happens to them before the network."""

    samples: Annotated[
        str,
        Option(
            metavar="PATH",
            help="A .npy, .npz (file.npz:key for one of its arrays) or IDX file, or a folder of "
            "images.",
        ),
    ]
    labels: Annotated[
        str | None,
        Option(
            metavar="PATH|KEY",
            help="Labels: a .npy, IDX, .txt or .csv file, or a key of the .npz; by default those "
            "in it, or the subfolders.",
        ),
    ] = None
    limit: Annotated[
        int | None, Option(metavar="N", help="Take at most so many samples, drawn by the seed.")
    ] = None
    resize: Annotated[
        str | None, Option(metavar="SIZE", help="Resize images to 64, or to HEIGHTxWIDTH.")
    ] = None
    grey: Annotated[bool, Option("--grey", help="Read a folder's images in one channel.")] = False
    channels: Annotated[
        Channels | None, Option(help="Which axis of an image array holds the channels.")
    ] = None
    mean: Annotated[
        str | None,
        Option(
            metavar="NUMBERS", help="Subtracted after the transformation, such as .485,.456,.406."
        ),
    ] = None
    std: Annotated[
        str | None, Option(metavar="NUMBERS", help="Divided by, after --mean is subtracted.")
    ] = None
    preprocess: Annotated[
        str | None,
        Option(
            metavar="MODULE:NAME",
            help="A function of a batch, applied after the transformation, in place of --mean and "
            "--std.",
        ),
    ] = None
    workers: Annotated[int, Option(metavar="N", help="Processes that read a folder.")] = 0
    seed: Annotated[
        int, Option(metavar="N", help="Of all that is random: the order, draws, weights.")
    ] = 0

    def open(self) -> tuple[Any, dict[str, Any]]:
        """The samples, and the arguments of `tmeasures.measure` that go with them."""
        channels = None if self.channels is None else self.channels.value
        samples, labels = open_samples(
            self.samples,
            labels=self.labels,
            resize=self.resize,
            grey=self.grey,
            channels=channels,
            workers=self.workers,
        )
        return samples, {
            "labels": labels,
            "n_samples": None if self.limit is None else min(self.limit, len(samples)),
            "preprocess": self._preprocess,
            "seed": self.seed,
        }

    @cached_property
    def _preprocess(self) -> Callable[[Any], Any] | None:
        if self.preprocess is None:
            given = self.mean is not None or self.std is not None
            return normalisation(self.mean or "0", self.std or "1") if given else None
        if self.mean is not None or self.std is not None:
            raise ArgumentError(
                "--preprocess is given beside --mean or --std: normalise in the function, or "
                "leave it out"
            )
        function: Callable[[Any], Any] = load(self.preprocess, "--preprocess")
        return function


@dataclass
class Transformed:
    """The transformations."""

    transformations: Annotated[
        str,
        Option(
            metavar="SET",
            help="rotation:16 (so many angles), rotation:-10,0,10 (these), scale, scale:.5,1,2, "
            "translation:1,2,4, flip, combined, a product such as rotation:8*scale, or "
            "package:factory.",
        ),
    ]

    def set(self) -> Any:
        """What `tmeasures.measure` takes."""
        return transformations(self.transformations)


@dataclass
class Question:
    """What is measured, and what it may cost."""

    measures: Annotated[str, Option(metavar="NAMES", help="Short names, separated by commas.")] = (
        ",".join(DEFAULT_MEASURES)
    )
    batch_size: Annotated[
        int | None, Option(metavar="N", help="Inputs in a tile; the plan chooses if left out.")
    ] = None
    memory: Annotated[
        str | None,
        Option(
            metavar="SIZE", help="What state and tile may take, such as 4GiB; half of what is free."
        ),
    ] = None

    def arguments(self) -> dict[str, Any]:
        """Those of `tmeasures.measure`."""
        return {
            "measures": listed(self.measures),
            "batch_size": self.batch_size,
            "memory": self.memory,
        }


def gather(
    network: Network,
    selection: Selection,
    inputs: Inputs,
    transformed: Transformed,
    question: Question,
) -> tuple[tuple[Any, Any, Any], dict[str, Any]]:
    """The arguments of `tmeasures.measure`: by position, and by name."""
    # What costs nothing to check comes before files that are opened.
    chosen = transformed.set()
    arguments = selection.arguments() | question.arguments() | {"device": network.device}
    samples, more = inputs.open()
    return (network.load(inputs.seed), samples, chosen), arguments | more
