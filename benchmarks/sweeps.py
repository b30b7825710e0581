"""How fast activations go by in batches of many sizes, and under few and many transformations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from overhead import about
from problems import Problem
from rounds import Figures, interleave, spreads
from system import Reading, timed
from workload import How, Workload

BATCHES = tuple(2**k for k in range(10))
COLUMNS = (4, 16, 64, 264, 1056, 4224)
# Inputs at each m: a bare forward pass of a second or two.
_INPUTS = 2**16
# Samples at the least: the tiles that a plan takes have 16.
_LEAST = 32

Compared = Mapping[str, Callable[[], object]]


def batch(problem: Problem, how: How) -> list[Figures]:
    """The moments and the bare forward pass by inputs in a batch; a record of each size."""
    how.tune()
    n = problem.n
    work = Workload(problem, how.device, n)
    sizes = (1, 2) if how.quick else BATCHES
    pairs = {
        str(size): {
            "forward": partial(work.forward, n, size),
            "seconds": partial(work.measure, n, batch_size=size),
        }
        for size in sizes
    }
    return [
        {**about(work, n), "case": "moments", "batch": size, **found}
        for size, found in zip(sizes, _compared(work, n, pairs, how), strict=True)
    ]


def columns(problem: Problem, how: How) -> list[Figures]:
    """The moments and the bare forward pass by transformations, at about as many inputs."""
    how.tune()
    records = []
    for m in (2, 4) if how.quick else COLUMNS:
        n = problem.n if how.quick else max(_LEAST, _INPUTS // m)
        work = Workload(replace(problem, m=m), how.device, n)
        pair = {"forward": partial(work.forward, n), "seconds": partial(work.measure, n)}
        (found,) = _compared(work, n, {"m": pair}, how)
        records.append({**about(work, n), "case": "moments", **found})
    return records


def beyond(problem: Problem, how: How) -> list[Figures]:
    """More transformations than a tile holds: in one pass, and in two orders with O(k) state.

    Two orders are what the plan takes where an eighth of the state of one pass fits.
    """
    how.tune()
    n = problem.n
    work = Workload(problem, how.device, n)
    one = work.explain(n)
    little = one.tile_bytes + one.state_bytes // 8
    ways = {"moments, one pass": {}, "moments, two orders": {"memory": little}}
    pairs = {
        name: {"forward": partial(work.forward, n), "seconds": partial(work.measure, n, **others)}
        for name, others in ways.items()
    }
    plans = [work.explain(n, **others) for others in ways.values()]
    return [
        {
            "case": name,
            **about(work, n),
            "batch": plan.passes[0].samples * plan.passes[0].transformations,
            "passes": [str(p) for p in plan.passes],
            "plan": plan.bytes,
            **found,
        }
        for name, plan, found in zip(ways, plans, _compared(work, n, pairs, how), strict=True)
    ]


def _compared(work: Workload, n: int, pairs: Mapping[str, Compared], how: How) -> list[Figures]:
    """Figures of each pair, of the bare forward pass and of the whole call."""
    inputs = n * work.problem.m

    def reading(call: Callable[[], object]) -> Callable[[], Reading]:
        return lambda: timed(call, work.device)

    calls = {
        f"{name} {what}": reading(call)
        for name, pair in pairs.items()
        for what, call in pair.items()
    }
    work.forward(1)  # transforms all inputs
    for pair in pairs.values():
        pair["seconds"]()  # compiles, fills caches
    together = {name: (f"{name} forward", f"{name} seconds") for name in pairs}
    rounds = interleave(calls, together, how.repeats)
    found = []
    for name in pairs:
        figures = [
            _figures(one[f"{name} forward"], one[f"{name} seconds"], inputs, work)
            for one in rounds[name].used
        ]
        found.append(spreads(figures) | rounds[name].about())
    return found


def _figures(forward: float, seconds: float, inputs: int, work: Workload) -> dict[str, float]:
    rate = inputs * work.units / seconds
    return {
        "seconds": seconds,
        "forward_s": forward,
        "ratio": seconds / forward,
        "activations_per_s": rate,
        "forward_activations_per_s": inputs * work.units / forward,
        "gb_per_s": rate * work.itemsize / 1e9,
    }
