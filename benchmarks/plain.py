"""What a user has without us: the bare forward pass, contiguous, under an untouched allocator.

    python benchmarks/plain.py PROBLEM DEVICE

A `workers.Worker`: it waits for a word, runs, and answers with the reading.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from problems import PROBLEMS, Problem
from system import Reading, timed
from workers import Worker, serve
from workload import How, Workload


def main(name: str, device: str) -> None:
    """Serve ``forward`` of a problem."""
    work = Workload(PROBLEMS[name].on(device), device)
    work.forward(work.problem.n)
    serve({"forward": lambda n: timed(partial(work.forward, n), work.device)})


@contextmanager
def plain_forward(problem: Problem, how: How) -> Iterator[Callable[[int], Reading]]:
    """Reads the bare forward pass of n samples in such a process; the quick way in this one."""
    if how.quick:
        work = Workload(problem, how.device)
        yield lambda n: timed(partial(work.forward, n), work.device)
        return
    with Worker(Path(__file__), problem.name, how.device) as worker:
        yield lambda n: Reading(*worker.ask("forward", n=n))


if __name__ == "__main__":
    main(*sys.argv[1:])
