"""Makes the plan: the cheapest way through the matrix that fits the memory."""

from __future__ import annotations

from dataclasses import replace

from tmeasures.budget import size
from tmeasures.errors import ArgumentError, MemoryLimitError
from tmeasures.hints import called
from tmeasures.plan import Pass, Plan
from tmeasures.planning.problem import ROWS, Problem, largest_tile
from tmeasures.planning.reasons import reasons
from tmeasures.statistics import provided


def choose(problem: Problem) -> Plan:
    """The plan with the fewest inputs through the network that fits the memory.

    Of several the one with the largest tile; a tile of less than 8 inputs is taken only where
    nothing else fits.

    Raises:
        MemoryLimitError: Nothing fits; says the least that would.
        ArgumentError: An iterable data set would be read more than once.
    """
    if problem.iterable:
        _allows_one_reading(problem)
    ways, batches = problem.ways(), problem.batches
    small = min(ROWS, batches[-1] if problem.batch_size else batches[0])
    counts = problem.group_counts() if problem.wanted.distances else [1]
    order = sorted(
        (len(problem.partition(groups)) * len(way), groups, number)
        for groups in counts
        for number, way in enumerate(ways)
        if groups == 1 or not problem.iterable
    )
    least, first = None, ways[0]
    for large in (True, False):
        for _, groups, number in order:
            for batch in batches:
                if (batch >= small) is not large:
                    continue
                passes = problem.passes(ways[number], batch, groups)
                needed = problem.bytes(passes)
                least = min(least or needed, needed)
                if needed <= problem.memory:
                    return _plan(problem, passes, problem.passes(first, batch, 1))
    what = "an iterable data set, which is read once, needs" if problem.iterable else "it takes"
    smaller = ", or a smaller block" if problem.wanted.distances else ""
    smaller += ", or a smaller batch_size" if problem.batch_size is not None else ""
    raise MemoryLimitError(
        f"no plan fits memory={size(problem.memory)}: {what} at least {size(least or 0)} for state "
        f"and tile; allow as much, name fewer layers, or take activations='pooled'{smaller}"
    )


def _allows_one_reading(problem: Problem) -> None:
    if problem.wanted.firing:
        raise ArgumentError(
            "thresholds take a reading of their own, and an iterable data set serves one; give a "
            "data set with an index, or leave GF out"
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
        result_bytes=problem.result_bytes * problem.units,
        memory=problem.memory,
        device=problem.device,
        spread=problem.spread,
        errors=problem.wanted.errors,
        stratify=problem.stratify,
        strata=problem.strata,
        identities=problem.identities,
        reads_labels=problem.reads_labels,
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
        ("errors", plan.errors or not problem.wanted.errors, True),
        (
            "identities",
            plan.identities if problem.wanted.firing else (),
            problem.identities if problem.wanted.firing else (),
        ),
        ("strata", (plan.stratify, plan.strata), (problem.stratify, problem.strata)),
    ):
        if found != expected:
            raise ArgumentError(
                f"the plan was made for other {what} than this run's; leave plan= out, or take one "
                "that tm.explain gives for the same arguments"
            )
    return plan
