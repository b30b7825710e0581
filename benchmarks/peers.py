"""Runs a job here and by the paper author's library, and compares values, seconds and memory."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from halves import differences
from memory import peak
from overhead import timings
from problems import CASES, Problem
from rounds import Figures
from system import Reading
from workers import Worker, fresh
from workload import How, Workload

import tmeasures as tm

SCRIPT = Path(__file__).with_name("peer.py")
# Inputs in a batch of the other library: its own default.
BATCH = 32


def peer(problem: Problem, how: How, script: Path = SCRIPT) -> list[Figures]:
    """NV of standard deviations here and there, of the same inputs and layers, at 4n.

    A round reads the bare forward passes, ours and theirs. Values are compared of the layers that
    the other library sees as they are: where a later operation works in place, or a module is
    called again, it keeps something else.

    Args:
        problem: What to run.
        how: Where, and the other interpreter.
        script: What runs there.

    Returns:
        A record of each case, with the other's figures.
    """
    assert how.peer is not None
    how.tune()
    work = Workload(problem, how.device)
    more = max(problem.sizes)
    ((name, case),) = CASES["peer"].items()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write(work, folder)
        with Worker(script, str(folder), python=how.peer) as other:
            memory = other.ask("memory", n=more)
            beside = {"peer_s": lambda: Reading(*other.ask("time", n=more))}
            (record,) = timings(work, how, {name: case}, beside)
            other.ask("values", n=more)
        tree = work.measure(more, case)
        with np.load(folder / "values.npz") as values:
            compared = compare(work, tree, dict(values))
    ours = peak(problem, how, name, case) if how.quick else fresh(peak, problem, how, name, case)
    times = {"peer_over_ours": record["peer_s"]["median"] / record["seconds"]["median"]}
    return [
        record
        | compared
        | times
        | {"peer": other.about, "peer_peak": memory, "peak": ours["peak"], "plan": ours["plan"]}
    ]


def write(work: Workload, folder: Path) -> None:
    """The job as files: no pickle, nothing of this library."""
    job = {
        "network": work.problem.network,
        "shape": work.problem.shape,
        "layers": list(work.plan.layers),
        "batch": BATCH,
    }
    (folder / "job.json").write_text(json.dumps(job))
    weights = {name: value.cpu().numpy() for name, value in work.model.state_dict().items()}
    np.savez(folder / "weights.npz", **weights)
    np.save(folder / "inputs.npy", work.transformations.apply(work.samples).numpy())


def compare(work: Workload, tree: xr.DataTree, values: dict[str, np.ndarray]) -> Figures:
    """Which layers the other saw as they are, and how far its values are from ours on them."""
    first = work.samples[:1].to(work.device)
    seen = {name: value[0] for name, value in _activations(work, first).items()}
    right, wrong, found = [], [], []
    for name, shown in seen.items():
        theirs = values.get(f"seen/{name}")
        alike = theirs is not None and theirs.shape == shown.shape
        # Another order of sums in the convolutions is no other activation.
        if not alike or not np.allclose(theirs, shown, rtol=1e-3, atol=1e-5):
            wrong.append(name)
            continue
        right.append(name)
        ours = tree[f"layers/{name}/NV_deviation"].values
        found.append(differences(ours, values[f"NV/{name}"]))
    every = np.concatenate(found) if found else np.zeros(1)
    return {
        "peer_layers": right,
        "peer_wrong_layers": wrong,
        "difference_median": float(np.median(every)),
        "difference": float(every.max()),
    }


def _activations(work: Workload, sample: torch.Tensor) -> dict[str, np.ndarray]:
    """What our hooks hand out of a sample under all transformations."""
    tiles = tm.walk(work.model, sample, work.transformations, batch_size=work.problem.m)
    (tile,) = tiles
    return {name: value.cpu().numpy() for name, value in tile.values.items()}
