"""Options that several commands share, and the objects they name."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from typer import Option

from tmeasures.cli.normalising import Normalisation
from tmeasures.cli.references import load, model
from tmeasures.cli.sets import transformations
from tmeasures.cli.sources import open_samples
from tmeasures.errors import ArgumentError
from tmeasures.hints import whole
from tmeasures.job import DEFAULT_MEASURES


class Activations(StrEnum):
    """What of an output is measured."""

    unit = "unit"
    pooled = "pooled"


class Stratify(StrEnum):
    """What is kept of the classes."""

    mean = "mean"
    each = "each"


class MemoryFormat(StrEnum):
    """In which order images lie in memory."""

    auto = "auto"
    preserve = "preserve"
    channels_last = "channels_last"


class Autocast(StrEnum):
    """The precision that forwards are taken down to."""

    bfloat16 = "bfloat16"
    float16 = "float16"


class Channels(StrEnum):
    """Where an array has its channels."""

    first = "first"
    last = "last"
    none = "none"


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
        str | None,
        Option(metavar="NAME", help="Where to run, such as cuda; if left out, where the model is."),
    ] = None

    def load(self, seed: int | None) -> Any:
        """The model with its weights; what it draws at random is the same in every run.

        The global generators stay seeded: the process is the command's own.
        """
        drawn = np.random.SeedSequence(seed or 0).generate_state(3).tolist()
        random.seed(drawn[0])
        np.random.seed(drawn[1])  # noqa: NPY002
        torch.manual_seed(drawn[2])
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
    layout: Annotated[
        list[str] | None,
        Option(
            metavar="PATTERN=DIMS",
            help='Dims of layers whose type does not tell them, such as "mix*=channel,y,x"; may be '
            "given again.",
        ),
    ] = None

    def arguments(self) -> dict[str, Any]:
        """Those of `tmeasures.measure`."""
        layout = {}
        for text in self.layout or ():
            pattern, equals, dims = text.rpartition("=")
            if not equals or not listed(dims):
                raise ArgumentError(
                    f"--layout {text!r} names no dims: write a pattern of layers and their dims, "
                    f"such as 'mix*=channel,y,x'"
                )
            layout[pattern] = listed(dims)
        return {
            "layers": listed(self.layers),
            "activations": self.activations.value,
            "layout": layout or None,
        }


@dataclass
class Samples:
    """The samples."""

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
            help="Labels, kept in the result, shown beside samples, and the classes of --stratify: "
            "a .npy, IDX, .txt or .csv file, or a key of the .npz; by default those in it, or the "
            "subfolders.",
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
        Channels | None,
        Option(help="Which axis of an image array holds the channels; none: it has no such axis."),
    ] = None
    workers: Annotated[int, Option(metavar="N", help="Processes that read a folder.")] = 0
    seed: Annotated[
        int | None,
        Option(metavar="N", help="Of the order of samples, of draws, of weights; 0 if left out."),
    ] = None

    def open(self) -> tuple[Any, Any, int]:
        """The samples, their labels, and how many to take."""
        limit = None if self.limit is None else whole("--limit", self.limit)
        if self.seed is not None and whole("--seed", self.seed, 0) >= 2**63:
            raise ArgumentError(f"--seed {self.seed} is too large: give one below 2**63")
        found, labels = open_samples(
            self.samples,
            labels=self.labels,
            resize=self.resize,
            grey=self.grey,
            channels=None if self.channels is None else self.channels.value,
            workers=self.workers,
        )
        return found, labels, len(found) if limit is None else min(limit, len(found))


@dataclass
class Preparation:
    """What happens to the transformed samples before the network."""

    mean: Annotated[
        str | None,
        Option(metavar="NUMBERS", help="Subtracted after the transformation: .485,.456,.406."),
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

    def function(self) -> Callable[[Any], Any] | None:
        """The argument ``preprocess`` of `tmeasures.measure`."""
        normalising = self.mean is not None or self.std is not None
        if self.preprocess is None:
            return Normalisation(self.mean or "0", self.std or "1") if normalising else None
        if normalising:
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
            "translation:1,2,4, flip, combined, identity; with numbers of your own, as in "
            "brightness:-.2,0,.2, contrast, grayscale, gaussian_blur, gaussian_noise, zoom, "
            "horizontal_scaling, vertical_scaling, shear, time_shift, time_stretch, gain, "
            "signal_noise and circular_shift; a product such as rotation:8*scale; or "
            "package.module:name or file.py:name.",
        ),
    ]

    def set(self) -> Any:
        """What `tmeasures.measure` takes."""
        return transformations(self.transformations)


@dataclass
class Question:
    """What is measured, and what it may cost."""

    measures: Annotated[
        str, Option(metavar="NAMES", help='Short names, separated by commas, or "all".')
    ] = ",".join(DEFAULT_MEASURES)
    stratify: Annotated[
        Stratify | None,
        Option(
            help="Measure within each class of the labels and keep the means over classes, or each "
            "class too."
        ),
    ] = None
    errors: Annotated[bool, Option("--errors", help="Standard errors too, TV_se and the like.")] = (
        False
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
    memory_format: Annotated[
        MemoryFormat,
        Option(
            help="Whether images have their channels last in memory, which makes some networks "
            "faster; auto: what a short trial finds the faster."
        ),
    ] = MemoryFormat.auto
    autocast: Annotated[
        Autocast | None,
        Option(
            help="Run the network in lower precision, which may be much faster; float16 on CUDA "
            "only."
        ),
    ] = None

    def arguments(self) -> dict[str, Any]:
        """Those of `tmeasures.measure`."""
        return {
            "measures": "all" if self.measures.strip() == "all" else listed(self.measures),
            "stratify": None if self.stratify is None else self.stratify.value,
            "errors": self.errors,
            "batch_size": self.batch_size,
            "memory": self.memory,
            "memory_format": self.memory_format.value,
            "autocast": None if self.autocast is None else self.autocast.value,
        }


def gather(
    network: Network,
    selection: Selection,
    samples: Samples,
    preparation: Preparation,
    transformed: Transformed,
    question: Question,
) -> tuple[tuple[Any, Any, Any], dict[str, Any]]:
    """The arguments of `tmeasures.measure`: by position, and by name."""
    # What costs little to check comes before files that are opened.
    chosen = transformed.set()
    arguments = selection.arguments() | question.arguments() | {"device": network.device}
    arguments["preprocess"] = preparation.function()
    found, labels, count = samples.open()
    arguments |= {"labels": labels, "n_samples": count, "seed": samples.seed or 0}
    return (network.load(samples.seed), found, chosen), arguments
