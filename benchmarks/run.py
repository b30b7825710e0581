"""Benchmarks: what measuring costs beside the bare forward pass, in time and memory.

    python benchmarks/run.py
    python benchmarks/run.py --part overhead --problem simple_conv --repeats 9 --json figures.json
    python benchmarks/run.py --part peer --peer other/bin/python
    python benchmarks/run.py --show a.json b.json --markdown figures.md --plots pictures

Every part runs in a process of its own, by default with the allocator as `tmeasures.tune_allocator`
sets it: that cannot be taken back. Two bare forward passes are read in turn with the calls of
`tmeasures.measure`: that of the same inputs in the same process, and "plain", in a process whose
allocator is untouched: what one has without this library. Let nothing else run meanwhile; what was
compared while others used more than a tenth of a core is dropped. Figures are medians
(least..greatest).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import plots
import report
import table
from machine import describe
from parts import OWN, PARTS, USUAL
from problems import PROBLEMS, Problem
from rounds import Figures
from workers import fresh
from workload import How

ALLOCATORS = {"tuned": True, "default": False}


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    usual = f"only this part; may be repeated; by default {', '.join(USUAL)}"
    add("--part", choices=PARTS, action="append", help=usual)
    add("--problem", choices=PROBLEMS, action="append", help="only this one; may be repeated")
    add("--repeats", type=int, default=5, help="quiet rounds of each reading")
    add("--samples", type=int, metavar="N", help="in place of each problem's own n")
    add("--device", default="cpu", help="where to run, such as cuda")
    allocators = "state of the allocator, tuned by default; may be repeated"
    add("--allocator", choices=ALLOCATORS, action="append", help=allocators)
    peer = "interpreter of an environment that has tmeasures 1.2.11 of PyPI: adds the part peer"
    add("--peer", metavar="PYTHON", help=peer)
    add("--json", type=Path, metavar="FILE", help="write all figures here too, after each part")
    add("--markdown", type=Path, metavar="FILE", help="write the tables here too")
    add("--plots", type=Path, metavar="FOLDER", help="draw throughput (parts batch and m) here")
    add("--show", type=Path, nargs="+", metavar="JSON", help="figures of earlier runs: run nothing")
    quick = "tiny, one round, in this process: a test, the figures mean nothing"
    add("--quick", action="store_true", help=quick)
    options = parser.parse_args(given)
    for name in ("repeats", "samples"):
        if (value := getattr(options, name)) is not None and value < 1:
            parser.error(f"--{name} is {value}: give at least 1")
    if "peer" in (options.part or ()) and not options.peer:
        parser.error("--part peer takes another environment: give --peer PYTHON")
    options.part = options.part or [*USUAL, *(["peer"] if options.peer else [])]
    return options


def results(options: argparse.Namespace) -> Iterator[list[Figures]]:
    """The records of every part and problem, as they are found."""
    for part, function in PARTS.items():
        for problem in map(PROBLEMS.__getitem__, options.problem or PROBLEMS):
            if part in options.part and part in problem.parts:
                for allocator in options.allocator or ["tuned"]:
                    yield _records(part, function, problem, allocator, options)


def _records(
    part: str,
    function: Callable[[Problem, How], list[Figures]],
    problem: Problem,
    allocator: str,
    options: argparse.Namespace,
) -> list[Figures]:
    problem = problem.quick() if options.quick else problem.on(options.device)
    if options.samples:
        problem = replace(problem, n=options.samples)
    how = How(
        device=options.device,
        repeats=1 if options.quick else options.repeats,
        tuned=ALLOCATORS[allocator],
        quick=options.quick,
        peer=options.peer,
    )
    here = options.quick or part in OWN
    found = function(problem, how) if here else fresh(function, problem, how)
    about = {"part": part, "problem": problem.name, "allocator": allocator}
    return [about | record for record in found]


def read(paths: Sequence[Path]) -> dict[str, Any]:
    """The figures of earlier runs in one; the machine is that of the first."""
    runs = [json.loads(path.read_text()) for path in paths]
    records = [record for run in runs for record in run["records"]]
    return {"machine": runs[0]["machine"], "records": records}


def _run(options: argparse.Namespace) -> dict[str, Any]:
    found = {"machine": describe(options.device, options.quick), "records": []}
    print(report.machine(found["machine"]), flush=True)
    for records in results(options):
        if not records:
            continue
        found["records"] += records
        _print(records)
        if options.json:
            options.json.write_text(json.dumps(found, indent=1))
    return found


def _print(records: list[Figures]) -> None:
    print(f"\n{report.heading(records)}\n{report.section(records)}", flush=True)


def main(given: Sequence[str] | None = None) -> int:
    """Run what the command line asks for, print the tables, write the figures."""
    options = _arguments(given)
    if options.show:
        found = read(options.show)
        print(report.machine(found["machine"]))
        for records in report.sections(found):
            _print(records)
    else:
        found = _run(options)
    headings, cells = table.rows(found)
    if cells:
        print(f"\n{table.text(headings, cells)}")
    if options.markdown:
        options.markdown.write_text(report.markdown(found))
    if options.plots:
        for path in plots.draw(found, options.plots):
            print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
