"""The table of problems, and a problem made ready to run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil
from typing import Any

import torch
import xarray as xr
from networks import ResNet18
from torch import Tensor, nn

import tmeasures as tm

# A GPU is done with a problem's samples before its clock has moved.
_SAMPLES_ELSEWHERE = 16


@dataclass(frozen=True)
class Problem:
    """A row of the table.

    Attributes:
        name: What ``--problem`` takes.
        network: Makes the network for images of a shape.
        shape: Of an image, ``(channel, y, x)``.
        n: Samples; overheads are measured at n and 4n.
        m: Rotations.
        measures: Short names.
        parts: What is measured of it: ``"overhead"``, ``"memory"``, ``"costs"``, ``"save"``.
        layers: Patterns of the layers; None for all.
        quick_shape: Of the images of ``--quick``.
    """

    name: str
    network: Callable[[tuple[int, ...]], nn.Module]
    shape: tuple[int, ...]
    n: int
    m: int = 16
    measures: tuple[str, ...] = ("TV", "SV", "NV", "ANOVA")
    parts: tuple[str, ...] = ("overhead", "memory", "costs")
    layers: tuple[str, ...] | None = None
    quick_shape: tuple[int, ...] = (3, 16, 16)

    @property
    def sizes(self) -> tuple[int, int]:
        """Samples of the short and of the long run."""
        return self.n, 4 * self.n

    def quick(self) -> Problem:
        """The same problem with hardly any inputs."""
        return replace(self, shape=self.quick_shape, n=2, m=4)

    def on(self, device: str) -> Problem:
        """The same problem with as many samples as a kind of device needs."""
        if torch.device(device).type == "cpu":
            return self
        return replace(self, n=_SAMPLES_ELSEWHERE * self.n)


def simple_conv(shape: tuple[int, ...]) -> nn.Module:
    """The SimpleConv of the paper, 32 first filters."""
    from tmeasures.simple_conv import SimpleConv

    return SimpleConv(filters=32, shape=shape, classes=10)


def resnet18(shape: tuple[int, ...]) -> nn.Module:
    """The residual network, 1000 classes."""
    return ResNet18(channels=shape[0])


# 3.4 million activations at 224x224.
_CONVOLUTIONS = ("stem.0", "stem.3", "*conv*", "*shortcut*", "fc")

_MOMENTS = ["TV", "SV", "NV", "ANOVA"]
_OTHERS = ["TD", "SD", "ND", "GF"]
_SAME = ["VSE", "DSE"]

COSTS: dict[str, dict[str, Any]] = {
    "TV, SV, NV, ANOVA": {"measures": _MOMENTS},
    **{name: {"measures": name} for name in (*_MOMENTS, *_OTHERS)},
    "all of these": {"measures": [*_MOMENTS, *_OTHERS]},
    "ND of maps": {"measures": tm.NormalizedDistance(vectors=True)},
    "VSE, DSE": {"measures": _SAME},
    "moments, VSE, DSE": {"measures": [*_MOMENTS, *_SAME]},
    "VSE, DSE, copied pixels": {"measures": _SAME, "lattice": True},
    "moments, VSE, DSE, copied pixels": {
        "measures": [*_MOMENTS, *_SAME],
        "lattice": True,
    },
    "SSE": {"measures": "SSE"},
    "all": {"measures": "all"},
}
"""What the costs of a problem are told of; on the lattice: copied pixels."""

PROBLEMS = {
    problem.name: problem
    for problem in (
        Problem("simple_conv", simple_conv, (1, 28, 28), n=128, quick_shape=(1, 12, 12)),
        Problem("resnet18", resnet18, (3, 64, 64), n=32),
        Problem("save", resnet18, (3, 224, 224), n=4, m=4, parts=("save",), layers=_CONVOLUTIONS),
    )
}
"""The table, by name."""


class Workload:
    """A problem made ready: the network, the samples, and the inputs that are already rotated.

    Weights and samples are those of seed 0; the global random state is left as it was.

    Args:
        problem: The problem.
        device: Where network and inputs are.
    """

    def __init__(self, problem: Problem, device: str) -> None:
        self.problem, self.device = problem, torch.device(device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.model = problem.network(problem.shape).eval().to(self.device)
            self.samples = torch.rand(max(problem.sizes), *problem.shape)
        self.rotations = tm.rotations(problem.m)
        self.arguments: dict[str, Any] = {"measures": problem.measures, "layers": problem.layers}

    @cached_property
    def plan(self) -> tm.Plan:
        """The plan of the short run; its tile is that of all bare forward passes."""
        return tm.explain(
            self.model, self.samples[: self.problem.n], self.rotations, **self.arguments
        )

    @cached_property
    def rotated(self) -> list[Tensor]:
        """The inputs of the long run, a tile each."""
        return list(self.rotate(max(self.problem.sizes)))

    @property
    def units(self) -> int:
        """Activations of the network for one input."""
        return sum(self.plan.layers.values())

    def rotate(self, n: int) -> Iterator[Tensor]:
        """The inputs of n samples, a tile at a time."""
        m, first = self.problem.m, self.plan.passes[0]
        for batch in self.samples[:n].split(first.samples):
            on_device = batch.to(self.device)
            for at in range(0, m, first.transformations):
                block = range(at, min(at + first.transformations, m))
                yield self.rotations.apply(on_device, block).flatten(0, 1)

    def measure(self, n: int, lattice: bool = False, **others: Any) -> xr.DataTree:
        """The whole call on n samples: reading, rotating, p-values and tree included.

        Args:
            n: Samples.
            lattice: Whether under copied pixels, as many, in place of rotations.
            others: Arguments of `tmeasures.measure` in place of the problem's.
        """
        arguments, transformations = self.arguments | others, self.transformations(lattice)
        return tm.measure(
            self.model, self.samples[:n], transformations, progress=False, **arguments
        )

    def transformations(self, lattice: bool) -> tm.TransformationSet:
        """The rotations; or as many copied pixels, which copy pixels."""
        turns = [90.0 * k for k in range(self.problem.m // 4)]
        return tm.rotations(turns) * tm.flips() if lattice else self.rotations

    @torch.no_grad()
    def forward(self, n: int) -> None:
        """The bare forward passes of the same inputs in the same tiles."""
        first = self.plan.passes[0]
        tiles = ceil(n / first.samples) * ceil(self.problem.m / first.transformations)
        for tile in self.rotated[:tiles]:
            self.model(tile)
