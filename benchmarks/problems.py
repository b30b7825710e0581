"""The table of problems, and what is measured of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import networks
import torch

import tmeasures as tm

# A GPU is done with a problem's samples before its clock has moved.
_SAMPLES_ELSEWHERE = 16


def combined(m: int) -> tm.TransformationSet:
    """So many of the paper's combined set, evenly spread."""
    whole = tm.combined()
    return whole[:: len(whole) // m]


@dataclass(frozen=True)
class Problem:
    """A network and what goes through it.

    Attributes:
        name: What ``--problem`` takes.
        network: Name of the network.
        shape: Of an image, ``(channel, y, x)``.
        n: Samples; overheads are measured at n and 4n.
        m: Transformations.
        parts: What is measured of it, names of `parts.PARTS`.
        transformations: Makes m of them.
        layers: Patterns of the layers; None for all.
        quick_shape: Of the images of ``--quick``.
    """

    name: str
    network: str
    shape: tuple[int, ...]
    n: int
    m: int
    parts: tuple[str, ...]
    transformations: Callable[[int], tm.TransformationSet] = tm.rotations
    layers: tuple[str, ...] | None = None
    quick_shape: tuple[int, ...] = (3, 16, 16)

    @property
    def sizes(self) -> tuple[int, int]:
        """Samples of the short and of the long run."""
        return self.n, 4 * self.n

    def make(self) -> torch.nn.Module:
        """The network, of seed 0; the global random state is left as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return networks.NETWORKS[self.network](self.shape).eval()

    def quick(self) -> Problem:
        """The same problem with hardly any inputs."""
        return replace(self, shape=self.quick_shape, n=2, m=4)

    def on(self, device: str) -> Problem:
        """The same problem with as many samples as a kind of device needs."""
        if torch.device(device).type == "cpu":
            return self
        return replace(self, n=_SAMPLES_ELSEWHERE * self.n)


# 3.4 million activations at 224x224.
_CONVOLUTIONS = ("stem.0", "stem.3", "*conv*", "*shortcut*", "fc")

_MAIN = ("overhead", "alone", "error", "memory", "costs", "peer")
_digits = partial(Problem, shape=(1, 28, 28), quick_shape=(1, 12, 12))
_photos = partial(Problem, shape=(3, 224, 224), m=4)

PROBLEMS = {
    problem.name: problem
    for problem in (
        _digits("simple_conv", "simple_conv", n=128, m=16, parts=(*_MAIN, "batch")),
        Problem("resnet18", "resnet18", (3, 64, 64), n=32, m=16, parts=(*_MAIN, "batch")),
        _photos("save", "resnet18", n=4, parts=("save",), layers=_CONVOLUTIONS),
        _digits("columns", "simple_conv_4", n=32, m=4224, parts=("m",), transformations=combined),
        _digits(
            "beyond", "simple_conv_4", n=64, m=4224, parts=("beyond",), transformations=combined
        ),
        _digits("growth", "small", n=100, m=4, parts=("growth",), transformations=combined),
        _photos("resnet50", "resnet50", n=64, parts=("big",)),
        _photos("vit_b", "vit_b", n=64, parts=("big",)),
    )
}
"""The table, by name."""


@dataclass(frozen=True)
class Case:
    """One call of `tmeasures.measure`.

    Attributes:
        arguments: Its arguments.
        lattice: Whether under copied pixels, as many, in place of rotations.
    """

    arguments: dict[str, Any] = field(default_factory=dict)
    lattice: bool = False


MOMENTS = ("TV", "SV", "NV", "ANOVA")
_OTHERS = ("TD", "SD", "ND", "GF")
_SAME = ("VSE", "DSE")

CASES: dict[str, dict[str, Case]] = {
    "overhead": {
        "moments": Case({"measures": MOMENTS}),
        "moments, layout preserved": Case({"measures": MOMENTS, "memory_format": "preserve"}),
        "moments, channels last": Case({"measures": MOMENTS, "memory_format": "channels_last"}),
        "moments, bfloat16": Case({"measures": MOMENTS, "autocast": "bfloat16"}),
    },
    "costs": {
        **{name: Case({"measures": name}) for name in (*MOMENTS, *_OTHERS)},
        "moments, TD, SD, ND, GF": Case({"measures": (*MOMENTS, *_OTHERS)}),
        "ND of maps": Case({"measures": tm.NormalizedDistance(vectors=True)}),
        "VSE, DSE": Case({"measures": _SAME}),
        "moments, VSE, DSE": Case({"measures": (*MOMENTS, *_SAME)}),
        "VSE, DSE, copied pixels": Case({"measures": _SAME}, lattice=True),
        "moments, VSE, DSE, copied pixels": Case({"measures": (*MOMENTS, *_SAME)}, lattice=True),
        "SSE": Case({"measures": "SSE"}),
        "all": Case({"measures": "all"}),
    },
    "peer": {"NV, spread=std": Case({"measures": tm.NormalizedVariance(spread="std")})},
}
"""The rows of the table, by part and name."""
