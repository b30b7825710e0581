"""The parts of a run alone: the kernel, beside a bare read, and transforming."""

from __future__ import annotations

import math
from collections import deque
from functools import partial

import numpy as np
import torch
from overhead import about
from problems import Problem
from rounds import QUIET, Figures, spread
from system import seconds_of, timed
from workload import How, Workload

import tmeasures as tm
from tmeasures.statistics import KINDS, Setup
from tmeasures.tile import Tile

# Times that all is read before it stands as it is.
_TRIES = 3
# Readings of each layer in such a try.
_REPEATS = 9


def alone(problem: Problem, how: How) -> list[Figures]:
    """The kernel alone, and transforming alone, as shares of the bare forward pass."""
    how.tune()
    work = Workload(problem, how.device, problem.n)
    work.forward(problem.n)
    found: Figures = {}
    for _ in range(1 if how.quick else _TRIES):
        _, others = timed(lambda: found.update(_parts(work)), work.device)
        if not others > QUIET:
            break
    return [{"case": "moments", **about(work, problem.n), **found, "quiet": not others > QUIET}]


def _parts(work: Workload) -> Figures:
    n, m = work.problem.n, work.problem.m
    forward = [seconds_of(lambda: work.forward(n), work.device) for _ in range(_REPEATS)]
    seconds = float(np.median(forward))
    kernel, read, units = _kernel(work)
    moving = [
        seconds_of(lambda: deque(work.rotate(n), maxlen=0), work.device) for _ in range(_REPEATS)
    ]
    found = {
        "kernel_ns": kernel,
        "read_ns": read,
        "kernel_over_read": [a / b for a, b in zip(kernel, read, strict=True)],
        "kernel_over_forward": [ns * 1e-9 * units * n * m / seconds for ns in kernel],
        "rotating_over_forward": [each / seconds for each in moving],
    }
    return {name: spread(values) for name, values in found.items()}


def _kernel(work: Workload) -> tuple[list[float], list[float], int]:
    """Nanoseconds an activation of folding tiles of all layers, and of `torch.sum`.

    Each layer's readings are sorted before layers are added up: a thread that waits for a core now
    and then, for milliseconds, does not reach the median. Also gives the number of activations.
    """
    first = work.plan.passes[0]
    s, t, m = first.samples, first.transformations, work.problem.m
    kernel, read = np.zeros(_REPEATS), np.zeros(_REPEATS)
    random = torch.Generator().manual_seed(0)
    units = 0
    for layer in tm.layers(work.model, work.samples[:1], layers=work.problem.layers):
        values = torch.rand(s, t, *layer.shape, generator=random).to(work.device, layer.dtype)
        tile = Tile(range(s), range(t), np.arange(s), None, values)
        setup = Setup(
            shape=layer.shape,
            m=m,
            tile=(s, t),
            columns=first.columns,
            dtype=layer.dtype,
            device=work.device,
        )
        statistics = [KINDS[name](setup) for name in first.statistics]
        folds = [partial(statistic.update, tile) for statistic in statistics]
        for fold in folds:  # the first takes the state's memory
            fold()
        found = [
            (
                sum(seconds_of(fold, work.device) for fold in folds),
                seconds_of(values.sum, work.device),
            )
            for _ in range(_REPEATS)
        ]
        of_kernel, of_read = np.sort(np.array(found), axis=0).T
        kernel += of_kernel
        read += of_read
        units += math.prod(layer.shape)
    each = 1e9 / (s * t * units)
    return (kernel * each).tolist(), (read * each).tolist(), units
