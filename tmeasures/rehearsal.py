"""A run of a few tiles of each pass, which tells what the whole takes."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from tmeasures.engine import Run
from tmeasures.inputs import Feed
from tmeasures.job import Job
from tmeasures.plan import Pass
from tmeasures.recording import result_of
from tmeasures.tile import Inputs, Tile

# Tiles below one another that are run: blocks of distances close with every other one, or every
# fourth. Where a row takes several tiles, three of them are run beside one another.
_ROWS, _OPEN_ROWS = 5, 3


class Rehearsal(Run):
    """A run that leaves out most tiles of each pass; all else it does as a run does.

    Run are the first rows of tiles and, where a row takes several, the first, the second and the
    last tile of each, and that of the identity: the last ones close rows. The first row of tiles
    touches new state and counts once; the others count for all samples that are left out, and the
    second tile of a row for all tiles between.

    Args:
        given: What a `Run` is given.
        rows: Rows of tiles at most; None: five, or three where a row takes several.
        others: What a `Run` is given by name.

    Attributes:
        rest: Seconds that the tiles left out would take.
    """

    def __init__(self, *given: Any, rows: int | None = None, **others: Any) -> None:
        super().__init__(*given, **others)
        self.rest = 0.0
        self._rows = rows

    def _tiles(self, p: Pass, feed: Feed) -> Iterator[Tile[Inputs]]:
        n, blocks = feed.samples.n, p.blocks(self.plan.m)
        assert n is not None, "an iterable data set is not rehearsed"
        rows = self._rows or (_ROWS if blocks == 1 else _OPEN_ROWS)
        few = replace(feed, samples=feed.samples.take(np.arange(min(n, rows * p.samples))))
        columns = self._columns(p, blocks)
        weights = {k * p.transformations: 1 for k in columns}
        weights[columns[min(1, blocks - 1)] * p.transformations] += blocks - len(columns)
        whole: dict[bool, float] = defaultdict(float)
        spent, seen, first = 0.0, 0, 0
        started = time.perf_counter()
        for tile in few.tiles(p.order, p.samples, p.transformations, p.untransformed, columns):
            yield tile  # and the run folds it
            self.network.wait()
            seconds = time.perf_counter() - started
            whole[tile.samples.start == 0] += seconds * weights[tile.transformations.start]
            spent += seconds
            seen, first = max(seen, tile.samples.stop), first or len(tile.samples)
            started = time.perf_counter()
        others = (n - first) / (seen - first) if seen > first else 0
        self.rest += whole[True] + whole[False] * others - spent

    def _columns(self, p: Pass, blocks: int) -> list[int]:
        """Places of the tiles of a row that are run."""
        identities = self.feed.transformations.identities[:1]
        wanted = {0, 1, blocks - 1, *(j // p.transformations for j in identities)}
        return sorted(k for k in wanted if k < blocks)


def seconds_of(prepared: Callable[[], Job]) -> float:
    """Seconds of a whole run, from preparing to the result, once all is compiled.

    Args:
        prepared: Prepares the run, each time that it is called.
    """
    _rehearsed(prepared, rows=1)  # compiles
    return _rehearsed(prepared)


def _rehearsed(prepared: Callable[[], Job], rows: int | None = None) -> float:
    started = time.perf_counter()
    job = prepared()
    run = Rehearsal(*job.given, rows=rows)
    for _ in run.steps():
        pass
    result_of(job, run, np.arange(job.plan.n or 0), None, started)
    return time.perf_counter() - started + run.rest
