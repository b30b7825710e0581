"""Whole `measure` calls against the bare forward pass of the same inputs, at n and 4n."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from plain import plain_forward
from problems import CASES, Case, Problem
from rounds import Figures, interleave, spreads
from system import Reading, timed
from workload import How, Workload

FORWARD = ("forward n", "forward 4n", "plain 4n")
"""What every case is compared with: plain is under an untouched allocator."""

Call = Callable[[], Reading]


def overhead(problem: Problem, how: How, part: str) -> list[Figures]:
    """The cases of a part, a record each: `ratios`, and how many rounds were used and dropped."""
    how.tune()
    work = Workload(problem, how.device)
    return timings(work, how, CASES[part])


def timings(
    work: Workload,
    how: How,
    cases: Mapping[str, Case],
    beside: Mapping[str, Call] | None = None,
) -> list[Figures]:
    """Time cases in rounds that read all of them and both bare forward passes.

    Args:
        work: What is measured.
        how: How often.
        cases: The calls, by name.
        beside: Readings of something else that every case is compared with as well.

    Returns:
        A record of each case.
    """
    n, more = work.problem.sizes
    beside = beside or {}
    with plain_forward(work.problem, how) as plain:
        calls: dict[str, Call] = {
            "forward n": _timed(work, work.forward, n),
            "forward 4n": _timed(work, work.forward, more),
            "plain 4n": partial(plain, more),
            **beside,
        }
        for name, case in cases.items():
            calls[f"{name} n"] = _timed(work, work.measure, n, case)
            calls[f"{name} 4n"] = _timed(work, work.measure, more, case)
            work.measure(n, case)  # compiles, fills caches
        work.forward(n)
        together = {name: (*FORWARD, *beside, f"{name} n", f"{name} 4n") for name in cases}
        found = interleave(calls, together, how.repeats)
    return [
        {
            "case": name,
            **about(work, more, case),
            **spreads([ratios(name, one, work) for one in found[name].used]),
            **found[name].about(),
        }
        for name, case in cases.items()
    ]


def _timed(work: Workload, call: Callable[..., object], *arguments: Any) -> Call:
    return lambda: timed(partial(call, *arguments), work.device)


def ratios(name: str, seconds: Mapping[str, float], work: Workload) -> dict[str, float]:
    """The figures of a round.

    With T and F for the seconds of the case and of the bare forward pass::

        slope = (T(4n) - T(n)) / (F(4n) - F(n))        fixed = T(n) - (T(4n) - T(n)) / 3

    Args:
        name: Of the case.
        seconds: From calls to seconds.
        work: What was measured.
    """
    t, t4 = seconds[f"{name} n"], seconds[f"{name} 4n"]
    f, f4, plain4 = (seconds[call] for call in FORWARD)
    n, more = work.problem.sizes
    fixed = t - (t4 - t) * n / (more - n)
    rate = more * work.problem.m * work.units / t4
    return {
        "seconds": t4,
        "forward_s": f4,
        "plain_s": plain4,
        "fixed_s": fixed,
        "fixed_s_per_million": fixed / work.units * 1e6,
        "slope": (t4 - t) / (f4 - f),
        "ratio_n": t / f,
        "ratio": t4 / f4,
        "ratio_plain": t4 / plain4,
        "activations_per_s": rate,
        "gb_per_s": rate * work.itemsize / 1e9,
        **{call: seconds[call] for call in seconds if call not in FORWARD and name not in call},
    }


def about(work: Workload, n: int, case: Case | None = None) -> Figures:
    """What was run, for a record."""
    plan = work.explain(n, case)
    last = plan.passes[-1]
    return {
        "network": work.problem.network,
        "shape": list(work.problem.shape),
        "n": n,
        "m": work.problem.m,
        "activations": sum(plan.layers.values()),
        "layers": len(plan.layers),
        "batch": last.samples * last.transformations,
        "order": plan.memory_format,
        "passes": [str(p) for p in plan.passes],
    }
