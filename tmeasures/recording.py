"""The result of a run, with what made it."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np
import torch

from tmeasures import results
from tmeasures.engine import Run
from tmeasures.job import Job

if TYPE_CHECKING:
    import xarray as xr


def result_of(
    job: Job, run: Run, ids: np.ndarray, labels: np.ndarray | None, started: float
) -> xr.DataTree:
    """The result of a run that is done.

    Args:
        job: What it was given.
        run: The run.
        ids: Of the samples, in the order they came.
        labels: Theirs.
        started: What ``time.perf_counter`` gave before all.
    """
    attributes = _attributes(job, len(ids), time.perf_counter() - started)
    # Hashing, 1 GB/s, leaves Python to the other thread meanwhile.
    with ThreadPoolExecutor(1) as beside:
        parameters = beside.submit(lambda: job.network.fingerprint)
        tree = results.build(
            [(outcome.layer, outcome.fields) for outcome in run.outcomes],
            status={outcome.layer.name: outcome.status for outcome in run.outcomes},
            stratum_status=run.stratum_status,
            strata=None if job.strata is None else job.strata.labels,
            transformations=job.feed.transformations,
            ids=ids,
            labels=labels,
            attributes=attributes,
        )
    tree.attrs["parameters"] = results.encode(parameters.result())
    return tree


def _attributes(job: Job, n: int, seconds: float) -> dict[str, object]:
    plan, network = job.plan, job.network
    device = str(network.device)
    if network.device.type == "cuda":
        device += f" ({torch.cuda.get_device_name(network.device)})"
    return {
        "tmeasures": version("tmeasures"),
        "torch": torch.__version__,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "model": network.name,
        "transformations": job.feed.transformations.name,
        "measures": [str(measure) for measure in job.measures],
        "n_samples": n,
        "n_transformations": plan.m,
        "n_units": sum(plan.layers.values()),
        "seed": job.feed.seed,
        "arguments": job.arguments,
        "plan": json.loads(plan.to_json()),
        "device": device,
        "memory_format": plan.memory_format,
        "autocast": plan.autocast or "none",
        "seconds": seconds,
        "inputs": plan.inputs_of(n),
        "stratify": plan.stratify or "none",
        "left_out": network.left_out,
        "left_out_of": job.left_out_of,
    }
