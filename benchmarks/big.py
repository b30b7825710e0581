"""Big networks within 6 GB: every activation, and feature maps pooled."""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import partial
from typing import Any

from overhead import about
from problems import MOMENTS, Case, Problem
from rounds import Figures, interleave, spreads
from system import Peak, timed
from workers import fresh
from workload import How, Workload, warm

MEMORY = "6GB"
CASES = {
    "moments": Case({"measures": MOMENTS, "memory": MEMORY}),
    "moments, pooled": Case({"measures": MOMENTS, "memory": MEMORY, "activations": "pooled"}),
}


def big(problem: Problem, how: How) -> list[Figures]:
    """A record of each of `CASES`."""
    call: Callable[..., Any] = (lambda f, *a: f(*a)) if how.quick else fresh
    return [call(run, problem, how, name, case) for name, case in CASES.items()]


def run(problem: Problem, how: How, name: str, case: Case) -> Figures:
    """Seconds beside the bare forward pass, the plan in words, and the peak of the process.

    The first call gives the peak; its seconds count too.
    """
    how.tune()
    n = problem.n
    work = Workload(problem, how.device, n)
    plan = work.explain(n, case)
    warm()
    gc.collect()
    peak = Peak(work.device)
    reading = timed(partial(work.measure, n, case), work.device)
    found = {"peak": peak.bytes(), "peak_process": peak.whole()}
    readings = iter([reading])
    calls = {
        "seconds": lambda: (
            next(readings, None) or timed(partial(work.measure, n, case), work.device)
        ),
        "forward": lambda: timed(partial(work.forward, n), work.device),
    }
    work.forward(1)  # transforms all inputs
    rounds = interleave(calls, {name: ("seconds", "forward")}, how.repeats)[name]
    inputs = n * problem.m
    units = sum(plan.layers.values())
    figures = [
        {
            "seconds": one["seconds"],
            "forward_s": one["forward"],
            "ratio": one["seconds"] / one["forward"],
            "activations_per_s": inputs * units / one["seconds"],
            "gb_per_s": inputs * units * work.itemsize / one["seconds"] / 1e9,
        }
        for one in rounds.used
    ]
    return {
        "case": name,
        **about(work, n, case),
        **spreads(figures),
        **found,
        "plan": plan.bytes,
        "plan_text": str(plan),
        **rounds.about(),
    }
