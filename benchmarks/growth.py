"""How seconds and bytes grow with samples and transformations, beside what the plan foretells."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from overhead import about
from problems import Problem
from rounds import Figures, interleave, spread
from system import Peak, timed
from workers import fresh
from workload import How, Workload, warm

SAMPLES = (100, 1000, 10_000)
COLUMNS = (4, 16, 64, 4224)
# A run of more seconds is read once, and one of more is not begun.
LONG, TOO_LONG = 20.0, 600.0


def growth(problem: Problem, how: How) -> list[Figures]:
    """A record of each n and m, shortest first; those left out say why.

    Seconds are foretold for a larger cell from the slowest input of those before, so that none
    takes more than `TOO_LONG`.
    """
    call: Callable[..., Any] = (lambda f, *a: f(*a)) if how.quick else fresh
    cells = [(n, m) for n in SAMPLES for m in COLUMNS]
    if how.quick:
        cells = [(4, 2), (4, 4)]
    records = []
    each = 0.0
    for n, m in sorted(cells, key=lambda cell: cell[0] * cell[1]):
        foreseen = each * n * m
        if foreseen > TOO_LONG:
            why = f"would take about {foreseen:.0f} s, over {TOO_LONG:.0f} s"
            records.append({"case": "moments", "n": n, "m": m, "left_out": why})
            continue
        found = call(cell, replace(problem, n=n, m=m), how)
        # What is fixed would be foretold of every input.
        if n * m > SAMPLES[0] * COLUMNS[-2] or how.quick:
            each = max(each, found["seconds"]["median"] / (n * m))
        records.append(found)
    return records


def cell(problem: Problem, how: How) -> Figures:
    """One n and m: peak memory over what the set-up holds, then seconds, and the plan's of both."""
    n = problem.n
    work = Workload(problem, how.device, n)
    warm()
    planned = work.explain(n).bytes
    how.tune()
    gc.collect()
    peak = Peak(work.device)
    first = timed(lambda: work.measure(n), work.device)
    found = peak.bytes()
    foretold = work.explain(n, trial=True).seconds
    calls = {"run": lambda: timed(lambda: work.measure(n), work.device)}
    if first.seconds > LONG:
        calls = {"run": lambda: first}
    repeats = 1 if first.seconds > LONG else how.repeats
    rounds = interleave(calls, {"run": ("run",)}, repeats)["run"]
    seconds = spread([one["run"] for one in rounds.used])
    return {
        "case": "moments",
        **about(work, n),
        "seconds": seconds,
        "plan_seconds": foretold,
        "seconds_over_plan": None if foretold is None else seconds["median"] / foretold,
        "peak": found,
        "plan": planned,
        "bytes_over_plan": None if found is None else found / planned,
        **rounds.about(),
    }
