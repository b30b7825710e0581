"""Peak memory over what the set-up holds, beside the plan's."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

from overhead import about
from problems import CASES, Case, Problem
from rounds import Figures
from system import Peak
from workers import fresh
from workload import How, Workload

import tmeasures as tm


def memory(problem: Problem, how: How) -> list[Figures]:
    """A record of each case of the problem's parts, and of the bare forward pass."""
    call: Callable[..., Any] = (lambda f, *a: f(*a)) if how.quick else fresh
    cases = {name: case for part in problem.parts for name, case in CASES.get(part, {}).items()}
    if how.quick:
        cases = dict(list(cases.items())[:1])
    found = [call(peak, problem, how, name, case) for name, case in cases.items()]
    return [call(peak, problem, how, "forward", None), *found]


def peak(problem: Problem, how: How, name: str, case: Case | None) -> Figures:
    """Peak memory of a case, or of the bare forward pass, at n and then at 4n.

    The set-up holds the network, the samples (for the forward pass their rotated inputs) and the
    loaded libraries.

    Args:
        problem: What to run.
        how: Where, and whether to set the allocator once all is set up.
        name: Of the case.
        case: The case; None for the forward pass.

    Returns:
        A record with bytes at n and at 4n, and those of the plan.
    """
    work = Workload(problem, how.device)
    n, more = problem.sizes
    arguments = {} if case is None else {"measures": case.arguments["measures"]}
    tm.measure(work.model, work.samples[:2], tm.rotations(4), progress=False, **arguments)
    planned = work.explain(more, case).bytes
    if case is None:
        work.forward(1)  # transforms all inputs
    how.tune()
    gc.collect()
    found: Figures = {
        "case": name,
        **about(work, more, case),
        "plan": None if case is None else planned,
    }
    before = Peak(work.device)
    for key, count in (("at_n", n), ("peak", more)):
        if case is None:
            work.forward(count)
        else:
            work.measure(count, case)
        found[key] = before.bytes()
    return found
