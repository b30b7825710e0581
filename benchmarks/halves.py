"""The error that bfloat16 brings, against float32."""

from __future__ import annotations

import numpy as np
from problems import MOMENTS, Case, Problem
from rounds import Figures
from workload import How, Workload

HALF = {"autocast": "bfloat16"}


def error(problem: Problem, how: How) -> list[Figures]:
    """A record of each measure: the relative differences of the units that are finite in both."""
    how.tune()
    work = Workload(problem, how.device, problem.n)
    whole = work.measure(problem.n)
    half = work.measure(problem.n, Case({"measures": MOMENTS, **HALF}))
    layers = [name for name, group in whole["layers"].children.items() if group.data_vars]
    records = []
    for measure in ("TV", "SV", "NV", "ANOVA_F"):
        found = {
            layer: differences(
                whole[f"layers/{layer}/{measure}"].values, half[f"layers/{layer}/{measure}"].values
            )
            for layer in layers
        }
        every = np.concatenate(list(found.values()))
        medians = {layer: float(np.median(each)) for layer, each in found.items() if each.size}
        worst = max(medians, key=medians.__getitem__)
        records.append(
            {
                "case": measure,
                "n": problem.n,
                "m": problem.m,
                "median": float(np.median(every)),
                "largest": float(every.max()),
                "units": int(every.size),
                "worst_layer": worst,
                "worst_median": medians[worst],
            }
        )
    return records


def differences(expected: np.ndarray, found: np.ndarray) -> np.ndarray:
    """``|found - expected| / |expected|`` of values that are finite in both and not both 0."""
    expected, found = expected.ravel().astype(np.float64), found.ravel().astype(np.float64)
    finite = np.isfinite(expected) & np.isfinite(found) & (expected != 0)
    return np.abs(found[finite] - expected[finite]) / np.abs(expected[finite])
