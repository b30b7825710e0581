"""What is measured of a problem; every function can run in a process of its own."""

from __future__ import annotations

import gc
import math
import tempfile
import time
from collections import defaultdict, deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from machine import Peak, other_cpu_seconds
from problems import COSTS, Problem, Workload

import tmeasures as tm
from tmeasures.statistics import KINDS, Setup
from tmeasures.tile import Tile

QUIET = 0.1
"""Cores that others may use during a reading, on average, before its round is dropped."""
# A clock tick of /proc/stat is 10 ms, and each core has one.
_RESOLUTION = 0.02
# Times that the kernel alone is read before it stands as it is.
_TRIES = 3
# Readings of each layer in such a try.
_REPEATS = 9

Figures = dict[str, Any]
Readings = dict[str, list[float]]


def timed(call: Callable[[], object], device: torch.device) -> tuple[float, float]:
    """Seconds of a call, and the cores that other processes used meanwhile, on average."""
    before = other_cpu_seconds()
    seconds = _seconds(call, device)
    return seconds, max(other_cpu_seconds() - before - _RESOLUTION, 0.0) / seconds


def _seconds(call: Callable[[], object], device: torch.device) -> float:
    """Seconds of a call; what it returns is freed after the clock was read."""
    _synchronise(device)
    start = time.perf_counter()
    result = call()
    _synchronise(device)
    seconds = time.perf_counter() - start
    del result
    return seconds


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def spread(values: list[float]) -> Figures:
    """Median, least and greatest."""
    return {"median": median(values), "least": min(values), "greatest": max(values)}


def overhead(problem: Problem, device: str, repeats: int, tuned: bool) -> Figures:
    """The whole `measure` call against the bare forward of the same inputs, at n and 4n.

    A round reads all four, in an order that turns about from round to round. Rounds in which
    others used more than `QUIET` cores are dropped; there are ``2 * repeats`` rounds at most, and
    all count where none was quiet. With T and F for the seconds of the two, each round gives::

        slope = (T(4n) - T(n)) / (F(4n) - F(n))        fixed = T(n) - (T(4n) - T(n)) / 3

    Args:
        problem: What to run.
        device: Where.
        repeats: Quiet rounds that are wanted.
        tuned: Whether to set the allocator for the rest of the process.

    Returns:
        `spread` of every figure, and how many rounds were used and dropped.
    """
    if tuned:
        tm.tune_allocator()
    work = Workload(problem, device)
    n, more = problem.sizes
    pairs = {
        "measure n": lambda: work.measure(n),
        "forward n": lambda: work.forward(n),
        "forward 4n": lambda: work.forward(more),
        "measure 4n": lambda: work.measure(more),
    }
    for call in (pairs["measure n"], pairs["forward n"]):  # compiles, plans, fills caches
        call()
    quiet, noisy = _rounds(pairs, repeats, work.device)
    rounds = quiet or noisy
    times = {name: [one[name] for one in rounds] for name in pairs}
    found = _overhead(times, work)
    for _ in range(_TRIES):
        _, others = timed(lambda: found.update(_parts(times["forward 4n"], work)), work.device)
        if not others > QUIET:
            break
    return {
        **{name: spread(values) for name, values in found.items()},
        "parts_quiet": not others > QUIET,
        "rounds": len(rounds),
        "dropped": len(noisy) if quiet else 0,
        "quiet": bool(quiet),
        "activations": work.units,
        "layers": len(work.plan.layers),
        "tile": [work.plan.passes[0].samples, work.plan.passes[0].transformations],
        "passes": len(work.plan.passes),
    }


def _rounds(
    pairs: dict[str, Callable[[], object]], repeats: int, device: torch.device
) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
    """Seconds of each call, of quiet and of noisy rounds."""
    quiet: list[dict[str, float]] = []
    noisy: list[dict[str, float]] = []
    for number in range(2 * repeats):
        if len(quiet) == repeats:
            break
        gc.collect()
        names = list(pairs) if number % 2 == 0 else list(pairs)[::-1]
        readings = {name: timed(pairs[name], device) for name in names}
        busy = any(others > QUIET for _, others in readings.values())
        (noisy if busy else quiet).append({k: seconds for k, (seconds, _) in readings.items()})
    return quiet, noisy


def _overhead(times: Readings, work: Workload) -> Readings:
    """The figures of each round."""
    n, more = work.problem.sizes
    found: Readings = defaultdict(list)
    for t, f, f4, t4 in zip(*times.values(), strict=True):
        fixed = t - (t4 - t) * n / (more - n)
        found["slope"].append((t4 - t) / (f4 - f))
        found["ratio_n"].append(t / f)
        found["ratio_4n"].append(t4 / f4)
        found["forward_s_4n"].append(f4)
        found["fixed_s"].append(fixed)
        found["fixed_s_per_million"].append(fixed / work.units * 1e6)
        found["activations_per_s"].append(more * work.problem.m * work.units / t4)
    return dict(found)


def _parts(forward: list[float], work: Workload) -> Readings:
    """The kernel alone, beside a bare read, and rotating alone, as shares of the forward pass."""
    n, more = work.problem.sizes
    inputs, seconds = more * work.problem.m, median(forward)
    kernel, bare_read, units = _kernel(work, _REPEATS)
    rotating = [
        _seconds(lambda: deque(work.rotate(n), maxlen=0), work.device) for _ in range(_REPEATS)
    ]
    return {
        "kernel_ns": kernel,
        "read_ns": bare_read,
        "kernel_over_read": [a / b for a, b in zip(kernel, bare_read, strict=True)],
        "kernel_over_forward": [ns * 1e-9 * units * inputs / seconds for ns in kernel],
        "rotating_over_forward": [each * more / n / seconds for each in rotating],
    }


def _kernel(work: Workload, repeats: int) -> tuple[list[float], list[float], int]:
    """Nanoseconds an activation of folding tiles of all layers, and of `torch.sum`.

    Each layer's readings are sorted before layers are added up: a thread that waits for a core now
    and then, for milliseconds, does not reach the median. Also gives the number of activations.
    """
    first = work.plan.passes[0]
    s, t, m = first.samples, first.transformations, work.problem.m
    kernel, read = np.zeros(repeats), np.zeros(repeats)
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
            (sum(_seconds(fold, work.device) for fold in folds), _seconds(values.sum, work.device))
            for _ in range(repeats)
        ]
        of_kernel, of_read = np.sort(np.array(found), axis=0).T
        kernel += of_kernel
        read += of_read
        units += math.prod(layer.shape)
    each = 1e9 / (s * t * units)
    return (kernel * each).tolist(), (read * each).tolist(), units


def costs(problem: Problem, device: str, repeats: int, tuned: bool) -> Figures:
    """The whole `measure` call for each of `COSTS` against the bare forward, at 4n.

    The bare forward is that of the problem's own measures: its tile may be smaller. Rounds are
    those of `overhead`.

    Args:
        problem: What to run.
        device: Where.
        repeats: Quiet rounds that are wanted.
        tuned: Whether to set the allocator for the rest of the process.

    Returns:
        `spread` of each ratio by name, the plans, and how many rounds were used and dropped.
    """
    if tuned:
        tm.tune_allocator()
    work = Workload(problem, device)
    more = max(problem.sizes)
    pairs: dict[str, Callable[[], object]] = {"forward": lambda: work.forward(more)}
    for name, arguments in COSTS.items():
        pairs[name] = partial(work.measure, more, **arguments)
        work.measure(problem.n, **arguments)  # compiles
    work.forward(more)
    quiet, noisy = _rounds(pairs, repeats, work.device)
    rounds = quiet or noisy
    return {
        "ratios": {name: spread([one[name] / one["forward"] for one in rounds]) for name in COSTS},
        "passes": {name: _passes(work, **arguments) for name, arguments in COSTS.items()},
        "rounds": len(rounds),
        "dropped": len(noisy) if quiet else 0,
        "quiet": bool(quiet),
    }


def _passes(work: Workload, measures: Any, lattice: bool = False) -> list[str]:
    arguments = work.arguments | {"measures": measures}
    samples, given = work.samples[: max(work.problem.sizes)], work.transformations(lattice)
    return [str(p) for p in tm.explain(work.model, samples, given, **arguments).passes]


def memory(problem: Problem, device: str, tuned: bool, what: str) -> Figures:
    """Peak memory of ``"measure"`` or ``"forward"`` over what the set-up holds.

    The set-up holds the network, the samples (for the forward pass their rotated inputs) and the
    loaded libraries. The peak at 4n is that of the run at n and then at 4n.

    Args:
        problem: What to run.
        device: Where.
        tuned: Whether to set the allocator once all is set up.
        what: Which of the two.

    Returns:
        Bytes at n and at 4n, and those of the plan.
    """
    work = Workload(problem, device)
    tm.measure(work.model, work.samples[:2], tm.rotations(2), progress=False)
    planned = work.plan.bytes
    if what == "forward":
        work.forward(0)  # rotates the inputs
    if tuned:
        tm.tune_allocator()
    gc.collect()
    peak = Peak(work.device)
    found: Figures = {"plan": planned}
    for name, n in zip(("n", "4n"), problem.sizes, strict=True):
        getattr(work, what)(n)
        found[name] = peak.bytes()
    return found


def save(problem: Problem, device: str, repeats: int, tuned: bool) -> Figures:
    """Seconds to write the tree of a problem with `tm.save`."""
    if tuned:
        tm.tune_allocator()
    work = Workload(problem, device)
    tree = work.measure(problem.n)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "result.nc"
        readings = []
        for _ in range(repeats):
            path.unlink(missing_ok=True)
            readings.append(timed(lambda: tm.save(tree, path), work.device))
        size = path.stat().st_size
    quiet = [seconds for seconds, others in readings if not others > QUIET]
    names = {str(name) for group in tree["layers"].subtree for name in group.data_vars}
    return {
        "save_s": spread(quiet or [seconds for seconds, _ in readings]),
        "file": size,
        "variables": sorted(names),
        "activations": work.units,
        "layers": len(work.plan.layers),
        "rounds": len(quiet) or len(readings),
        "dropped": len(readings) - len(quiet) if quiet else 0,
        "quiet": bool(quiet),
    }
