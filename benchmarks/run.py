"""Benchmarks: what measuring costs beside the bare forward pass, in time and memory.

    python benchmarks/run.py
    python benchmarks/run.py --problem simple_conv --repeats 9 --json figures.json

Each problem runs with the allocator as it comes and with `tmeasures.tune_allocator`, in processes
of their own: that setting cannot be taken back. Let nothing else run meanwhile; rounds in which
others used more than a tenth of a core are dropped. Figures are medians (least..greatest).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import measurements
import report
from machine import describe, fresh
from problems import PROBLEMS, Problem

ALLOCATORS = {"default": False, "tuned": True}


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--problem", choices=PROBLEMS, action="append", help="only this one; may be repeated"
    )
    parser.add_argument("--repeats", type=int, default=5, help="rounds of each reading")
    parser.add_argument("--device", default="cpu", help="where to run, such as cuda")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures here too")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="tiny, one round, in this process: a test, the figures mean nothing",
    )
    options = parser.parse_args(given)
    if options.repeats < 1:
        parser.error(f"--repeats is {options.repeats}: give at least 1")
    return options


def measure(
    problem: Problem, device: str, repeats: int, tuned: bool, call: Callable[..., Any] = fresh
) -> dict[str, Any]:
    """All parts of a problem for one state of the allocator; ``call`` runs each."""
    found: dict[str, Any] = {}
    if "overhead" in problem.parts:
        found["overhead"] = call(measurements.overhead, problem, device, repeats, tuned)
    if "memory" in problem.parts:
        found["memory"] = {
            what: call(measurements.memory, problem, device, tuned, what)
            for what in ("measure", "forward")
        }
    if "costs" in problem.parts:
        found["costs"] = call(measurements.costs, problem, device, repeats, tuned)
    if "save" in problem.parts:
        found["save"] = call(measurements.save, problem, device, repeats, tuned)
    return found


def results(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Every problem's figures, as they are found."""
    for name in options.problem or PROBLEMS:
        problem = PROBLEMS[name].quick() if options.quick else PROBLEMS[name].on(options.device)
        how = (options.device, 1 if options.quick else options.repeats)
        if options.quick:
            states = {"default": measure(problem, *how, False, lambda f, *a: f(*a))}
        else:
            states = {state: measure(problem, *how, tuned) for state, tuned in ALLOCATORS.items()}
        about = ("name", "shape", "n", "m", "measures")
        yield {key: getattr(problem, key) for key in about} | {"states": states}


def main(given: Sequence[str] | None = None) -> int:
    """Run what the command line asks for, print the tables, write the figures."""
    options = _arguments(given)
    machine = describe(options.device)
    print(report.machine(machine), flush=True)
    problems = []
    for found in results(options):
        problems.append(found)
        print(f"\n{report.problem(found)}", flush=True)
    if options.json:
        options.json.write_text(json.dumps({"machine": machine, "problems": problems}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
