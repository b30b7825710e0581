"""Says why a plan is as it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tmeasures.budget import size
from tmeasures.plan import Pass, Plan
from tmeasures.planning.problem import Problem
from tmeasures.statistics.distances import DistancesKind
from tmeasures.statistics.returned import ReturnedKind


def reasons(problem: Problem, plan: Plan, first: tuple[Pass, ...]) -> Iterator[str]:
    """Why the plan is as it is, a sentence each."""
    walks = [p for p in plan.passes if not p.prelude]
    yield _passes_reason(problem, walks, [p for p in first if not p.prelude])
    yield from _preludes_reasons(plan)
    if len(plan.passes) > 1:
        served: dict[str, list[str]] = {}
        for number, p in enumerate(plan.passes, 1):
            needs = problem.wanted.needs.items()
            names = ", ".join(name for name, some in needs if _serves(problem, p, some))
            served.setdefault(names, []).append(str(number))
        for names, numbers in served.items():
            which = "pass" if len(numbers) == 1 else "passes"
            yield f"{which} {', '.join(numbers)} for {names or 'the status of activations'}"
    yield from _left_out(problem)
    if problem.batch_size is not None:
        yield f"tiles of at most {problem.batch_size} inputs, as asked for"
    for p in walks:
        if p.order == "sample" and p.transformations < problem.m:
            yield (
                f"a tile holds {p.transformations} of {problem.m:,} columns: rows stay open over "
                "several tiles"
            )
            break
    yield from dict.fromkeys(_held_reasons(problem, walks))
    if plan.strata:
        yield "the samples are visited a stratum at a time, each as often as without"
    if plan.reads_labels:
        yield "the samples are read once before all passes, for their labels"


def _passes_reason(problem: Problem, walks: Sequence[Pass], first: Sequence[Pass]) -> str:
    m = problem.m
    if len(walks) == len(first) == 1 and walks[0].order == first[0].order:
        rows = {"rows"} | {k.name for k in problem.wanted.others if not k.inverts}
        if set(first[0].statistics) <= rows:
            return "one pass over the matrix: all closes with each row, so no state grows with m"
        if set(first[0].statistics) <= {"rows"} | {k.name for k in problem.wanted.others}:
            return "one pass over the matrix: all closes with each row"
        return f"one pass over the matrix: the state of all {m:,} columns fits the memory"
    text = f"one pass would take {size(problem.bytes(first))} for state and tile: "
    if any(p.layers for p in walks):
        return text + f"layers go one run after another, {len(walks)} passes in all"
    if len(walks) == 1:
        return text + "columns one block after another, each sample read once per block"
    count = {2: "two passes, twice", 3: "three passes, three times"}.get(len(walks))
    count = count or f"{len(walks)} passes, {len(walks)} times"
    return text + f"{count} the forward passes, but less state"


def _preludes_reasons(plan: Plan) -> Iterator[str]:
    for number, p in enumerate(plan.passes, 1):
        if p.prelude:
            names = " and ".join(p.statistics)
            if p.first is None and p.untransformed == "no":
                yield f"pass {number} comes before, for {names}, and takes the whole matrix"
                continue
            rows = "all samples" if p.first is None else f"{p.first:,} samples at most"
            alone = ", untransformed" if p.untransformed == "alone" else ""
            yield f"pass {number} is a short one of {rows}{alone}, for {names}"


def _serves(problem: Problem, p: Pass, needs: frozenset[str]) -> bool:
    kinds = [problem.kinds[name] for name in p.statistics]
    if any(kind.provides & needs for kind in kinds):
        return True
    waiting = [kind for kind in problem.wanted.others if kind.provides & needs]
    return any(early in kinds for kind in waiting for early in kind.before)


def _held_reasons(problem: Problem, walks: Sequence[Pass]) -> Iterator[str]:
    for p in walks:
        for kind in (problem.kinds[name] for name in p.statistics):
            if not isinstance(kind, DistancesKind | ReturnedKind):
                continue
            if rows := kind.held_rows(problem.setup(p, problem.layers[0])):
                yield (
                    f"{kind.name}: the activations of {rows:,} row{'s' if rows > 1 else ''} are "
                    f"held, for a tile of {p.samples} x {p.transformations} does not close them"
                )


def _left_out(problem: Problem) -> Iterator[str]:
    asking: dict[tuple[tuple[str, ...], str], list[str]] = {}
    for measure, left in problem.left_out.items():
        if left:
            asking.setdefault((tuple(left), next(iter(left.values()))), []).append(measure)
    for (names, why), measures in asking.items():
        shown = ", ".join([*names[:3], *["..."] * (len(names) > 3)])
        leave = "leave" if len(measures) > 1 else "leaves"
        yield (
            f"{', '.join(measures)} {leave} out {len(names)} of {len(problem.layers)} layers "
            f"({shown}): {why}"
        )
