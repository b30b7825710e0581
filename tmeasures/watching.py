"""Runs a plan to its end: the bar, the log, and what is lost on Ctrl-C."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterable, Iterator
from itertools import groupby
from typing import Any

import numpy as np

from tmeasures.engine import Step
from tmeasures.plan import Plan
from tmeasures.progress import share

logger = logging.getLogger("tmeasures")
"""Silent unless the program sets a level: plan, passes and times at INFO."""


def consume(steps: Generator[Step], plan: Plan, shown: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Run to the end; ids and labels of the samples in the order they came."""
    ids: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    first = next(number for number, p in enumerate(plan.passes) if not p.prelude)
    done, where = 0, _where(plan, 0, 0)
    try:
        for at, step in _counted(steps, plan):
            where = _where(plan, step.number, step.stratum)
            if step.number == first and step.tile.transformations.start == 0:
                ids.append(step.tile.ids)
                if step.tile.labels is not None:
                    labels.append(step.tile.labels)
            done += step.inputs
            shown.set_description(f"{plan.network}, {at}", refresh=False)
            shown.update(step.inputs)
    except KeyboardInterrupt as interrupt:
        interrupt.add_note(
            f"stopped in {where} after {share(done, plan.inputs)}: their sums are "
            f"lost and there is no result; the model is as it was"
        )
        raise
    return np.concatenate(ids), np.concatenate(labels) if len(labels) == len(ids) else None


def _counted(steps: Iterable[Step], plan: Plan) -> Iterator[tuple[str, Step]]:
    """Each step, and where in its pass it is; logs the passes."""
    started = time.perf_counter()
    for (stratum, number), group in groupby(steps, key=lambda step: (step.stratum, step.number)):
        where, inputs = _where(plan, number, stratum), 0
        logger.info("%s: %s", where, plan.passes[number])
        tiles = plan.tiles(number, stratum)
        for count, step in enumerate(group, 1):
            inputs += step.inputs
            yield f"{where}, tile {count:,}" + (f"/{tiles:,}" if tiles else ""), step
        seconds = time.perf_counter() - started
        logger.info("%d inputs in %.1f s, %.0f a second", inputs, seconds, inputs / seconds)
        started = time.perf_counter()


def _where(plan: Plan, number: int, stratum: int) -> str:
    where = f"pass {number + 1}/{len(plan.passes)}"
    if plan.strata and not plan.passes[number].prelude:
        where = f"stratum {stratum + 1}/{len(plan.strata)}, {where}"
    return where
