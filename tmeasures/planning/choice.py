"""Makes the plan: the cheapest way through the matrix that fits the memory."""

from __future__ import annotations

from dataclasses import replace
from math import inf

from tmeasures.budget import size
from tmeasures.errors import ArgumentError, MemoryLimitError
from tmeasures.hints import called
from tmeasures.plan import Pass, Plan
from tmeasures.planning.problem import Problem, largest_tile, slowness
from tmeasures.planning.reasons import reasons
from tmeasures.statistics import provided


def choose(problem: Problem) -> Plan:
    """The plan that fits the memory and costs least: the fewest inputs through the network.

    An input costs more in a small tile, twice as much in one of 2: few passes in small tiles are
    compared with more in large ones. All walks of a way have one number of inputs in a tile; a walk
    keeps the same statistics of all layers, and is cut into passes over consecutive layers. Of
    plans that cost the same, the first of `Wanted.ways`.

    Raises:
        MemoryLimitError: Nothing fits; says the least that would.
        ArgumentError: An iterable data set would be read more than once.
    """
    if problem.iterable:
        _allows_one_reading(problem)
    best: list[Pass] | None = None
    cost, first = inf, None
    for way in problem.ways():
        for batch in problem.batches:
            if len(way) * slowness(batch) >= cost:
                break
            whole = problem.passes(way, batch)
            first = first or whole
            passes = problem.fitted(whole)
            if passes is not None and problem.cost(passes) < cost:
                best, cost = passes, problem.cost(passes)
    if best is None or first is None:
        raise _too_little(problem)
    return _plan(problem, tuple(best), tuple(first))


def _too_little(problem: Problem) -> MemoryLimitError:
    least = min(
        problem.least(problem.passes(way, batch))
        for way in problem.ways()
        for batch in problem.batches
    )
    what = "an iterable data set, which is read once, needs" if problem.iterable else "it takes"
    smaller = ", or a smaller block" if problem.wanted.distances else ""
    smaller += ", or a smaller batch_size" if problem.batch_size is not None else ""
    return MemoryLimitError(
        f"no plan fits memory={size(problem.memory)}: {what} at least {size(least)} for state "
        f"and tile; allow as much, name fewer layers, or take activations='pooled'{smaller}"
    )


def _allows_one_reading(problem: Problem) -> None:
    if waiting := [kind for kind in problem.wanted.others if kind.before]:
        names = problem.wanted.asking(waiting[0])
        raise ArgumentError(
            f"{names} takes a reading of its own, and an iterable data set serves one; give a data "
            f"set with an index, or leave {names} out"
        )
    if any(kind.block is None for kind in problem.wanted.distances):
        raise ArgumentError(
            "pairs='all' takes a number of samples known before, and an iterable data set may end "
            "early; give a data set with an index, or pairs='blocks'"
        )


def _plan(problem: Problem, passes: tuple[Pass, ...], first: tuple[Pass, ...]) -> Plan:
    """The plan of these passes; ``first`` are those that would go where memory is no concern."""
    plan = Plan(
        network=problem.network,
        n=problem.n,
        m=problem.m,
        measures=tuple(problem.wanted.needs),
        layers={layer.name: layer.n_units for layer in problem.layers},
        passes=passes,
        state_bytes=problem.state_bytes(passes),
        tile_bytes=problem.tile_bytes(largest_tile(passes)),
        result_bytes=problem.result_bytes * problem.units + problem.waiting_bytes(passes),
        memory=problem.memory,
        device=problem.device,
        spread=problem.spread,
        errors=problem.wanted.errors,
        stratify=problem.stratify,
        strata=problem.strata,
        identities=problem.identities,
        reads_labels=problem.reads_labels,
        memory_format=problem.memory_format,
        autocast=problem.autocast,
    )
    return replace(plan, why=tuple(reasons(problem, plan, first)))


def check(plan: Plan, problem: Problem) -> Plan:
    """A plan that was handed in, if it is one for this run."""
    if not isinstance(plan, Plan):
        raise ArgumentError(f"plan is {called(plan)}; give what tm.explain returned")
    if problem.iterable and (len(plan.passes) > 1 or plan.passes[0].order != "sample"):
        raise ArgumentError(
            "the plan reads the samples more than once, and an iterable data set serves one "
            "reading; allow more memory, or give a data set with an index"
        )
    if problem.iterable:
        _allows_one_reading(problem)
    layers = {layer.name: layer.n_units for layer in problem.layers}
    kept = {name for p in plan.passes for name in p.statistics}
    given = provided([problem.kinds[name] for name in kept if name in problem.kinds])
    needs = frozenset().union(*problem.wanted.needs.values())
    for what, found, expected in (
        ("layers", plan.layers, layers),
        (
            f"samples and transformations ({plan.n} and {plan.m})",
            (plan.n, plan.m),
            (problem.n, problem.m),
        ),
        ("measures", needs - given or kept - problem.kinds.keys(), frozenset()),
        ("spread", plan.spread or not problem.spread, True),
        ("autocast", plan.autocast, problem.autocast),
        ("errors", plan.errors or not problem.wanted.errors, True),
        (
            "identities",
            plan.identities if problem.wanted.others else (),
            problem.identities if problem.wanted.others else (),
        ),
        ("strata", (plan.stratify, plan.strata), (problem.stratify, problem.strata)),
    ):
        if found != expected:
            raise ArgumentError(
                f"the plan was made for other {what} than this run's; leave plan= out, or take one "
                "that tm.explain gives for the same arguments"
            )
    return plan
