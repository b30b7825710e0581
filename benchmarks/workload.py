"""A problem made ready to run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import xarray as xr
from problems import MOMENTS, Case, Problem
from torch import Tensor

import tmeasures as tm


@dataclass(frozen=True)
class How:
    """How problems are run.

    Attributes:
        device: Where.
        repeats: Quiet rounds that are wanted.
        tuned: Whether to set the allocator for the rest of the process.
        quick: Whether all is done in this process, once: figures mean nothing.
        peer: Interpreter of the environment that has the other library.
    """

    device: str = "cpu"
    repeats: int = 5
    tuned: bool = True
    quick: bool = False
    peer: str | None = None

    @property
    def allocator(self) -> str:
        """The state of the allocator, in a word."""
        return "tuned" if self.tuned else "default"

    def tune(self) -> None:
        """Set the allocator for the rest of the process, where that is wanted."""
        if self.tuned and not self.quick:
            tm.tune_allocator()


def warm() -> None:
    """Load and compile what the first call of `tmeasures.measure` does."""
    images = torch.arange(128.0).view(2, 1, 8, 8)
    tm.measure(torch.nn.ReLU(), images, tm.rotations(2), measures=MOMENTS, progress=False)


class Workload:
    """The network, the samples, and the inputs that are already transformed.

    Weights and samples are those of seed 0; the global random state is left as it was.

    Args:
        problem: The problem.
        device: Where network and inputs are.
        n: Samples; None for the long run's.
    """

    def __init__(self, problem: Problem, device: str, n: int | None = None) -> None:
        self.problem, self.device = problem, torch.device(device)
        self.n = n or max(problem.sizes)
        self.model = problem.make().to(self.device)
        random = torch.Generator().manual_seed(0)
        self.samples = torch.rand(self.n, *problem.shape, generator=random)
        self.transformations = problem.transformations(problem.m)
        self.arguments: dict[str, Any] = {"measures": MOMENTS, "layers": problem.layers}

    @cached_property
    def plan(self) -> tm.Plan:
        """The plan of the moments; its tile is that of the bare forward passes."""
        return self.explain(self.n)

    def explain(self, n: int, case: Case | None = None, **others: Any) -> tm.Plan:
        """The plan of a case for n samples."""
        case = case or Case()
        arguments = self.arguments | case.arguments | others
        return tm.explain(self.model, self.samples[:n], self._applied(case), **arguments)

    @property
    def units(self) -> int:
        """Activations of the network for one input."""
        return sum(self.plan.layers.values())

    @property
    def itemsize(self) -> int:
        """Bytes of an activation."""
        return next(self.model.parameters()).element_size()

    @property
    def batch(self) -> int:
        """Inputs of a tile of the plan."""
        return self.plan.passes[0].samples * self.plan.passes[0].transformations

    def rotate(self, n: int) -> Iterator[Tensor]:
        """The inputs of n samples, a tile at a time."""
        m, first = self.problem.m, self.plan.passes[0]
        for samples in self.samples[:n].split(first.samples):
            on_device = samples.to(self.device)
            for at in range(0, m, first.transformations):
                block = range(at, min(at + first.transformations, m))
                yield self.transformations.apply(on_device, block).flatten(0, 1)

    @cached_property
    def rotated(self) -> Tensor:
        """All inputs."""
        return torch.cat(list(self.rotate(self.n)))

    @torch.no_grad()
    def forward(self, n: int, batch: int | None = None) -> None:
        """The bare forward passes of the inputs of n samples, in batches as large as the tiles."""
        for tile in self.rotated[: n * self.problem.m].split(batch or self.batch):
            self.model(tile)

    def measure(self, n: int, case: Case | None = None, **others: Any) -> xr.DataTree:
        """The whole call on n samples: reading, rotating, p-values and tree included.

        Args:
            n: Samples.
            case: Which call; None for the moments.
            others: Arguments of `tmeasures.measure` in place of the case's.
        """
        case = case or Case()
        arguments = self.arguments | case.arguments | others
        transformations = self._applied(case)
        return tm.measure(
            self.model, self.samples[:n], transformations, progress=False, **arguments
        )

    def _applied(self, case: Case) -> tm.TransformationSet:
        """The transformations; or as many copied pixels, which copy pixels."""
        turns = [90.0 * k for k in range(self.problem.m // 4)]
        return tm.rotations(turns) * tm.flips() if case.lattice else self.transformations
