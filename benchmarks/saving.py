"""What it takes to write a result."""

from __future__ import annotations

import tempfile
from pathlib import Path

from overhead import about
from problems import Problem
from rounds import Figures, interleave, spread
from system import timed
from workload import How, Workload

import tmeasures as tm


def save(problem: Problem, how: How) -> list[Figures]:
    """Seconds to write the tree of a problem with `tm.save`, and the size of the file."""
    how.tune()
    work = Workload(problem, how.device, problem.n)
    tree = work.measure(problem.n)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "result.nc"
        write = {"save": lambda: timed(lambda: tm.save(tree, path), work.device)}
        rounds = interleave(write, {"save": ("save",)}, how.repeats)["save"]
        size = path.stat().st_size
    names = {str(name) for group in tree["layers"].subtree for name in group.data_vars}
    return [
        {
            "case": "tm.save",
            **about(work, problem.n),
            "save_s": spread([one["save"] for one in rounds.used]),
            "file": size,
            "variables": sorted(names),
            **rounds.about(),
        }
    ]
