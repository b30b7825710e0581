"""Turns the statistics of a layer into its measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tmeasures.capture import Layer
from tmeasures.fields import DEAD, NOT_FINITE, SV_BELOW_ROUNDING, TV_BELOW_ROUNDING, Field
from tmeasures.hints import within_memory
from tmeasures.measures import Measure, Quantities
from tmeasures.statistics import completed
from tmeasures.strata import undefined

COUNTS = ("/rows", "/columns", "/inputs", "/left_out")
"""How the names of quantities end that depend on no activation."""


@dataclass(frozen=True)
class Outcome:
    """What was measured of one layer.

    Attributes:
        layer: The layer.
        fields: By variable name.
        status: Bits for each unit, ``(*unit,)`` uint8.
    """

    layer: Layer
    fields: dict[str, Field]
    status: np.ndarray


def memory_of_results() -> AbstractContextManager[None]:
    """Says what to do where memory runs out for the results."""
    return within_memory("the results", "name fewer layers, or take activations='pooled'")


def finish(
    layer: Layer,
    found: Mapping[str, Tensor],
    measures: Sequence[Measure],
    n: int,
    m: int,
    errors: bool,
) -> Outcome:
    """Turn what the statistics of a layer have given into its measures."""
    fields: dict[str, Field] = {}
    # 0 / 0 and x / 0 have their meaning in each measure
    with memory_of_results(), np.errstate(all="ignore"):
        values = {k: v.numpy() for k, v in completed(found).items()}
        status, bad = _status(values, n, m, torch.finfo(layer.dtype).eps)
        if bad.any():
            values = {k: _without(k, v, bad, layer) for k, v in values.items()}
        quantities = Quantities(n, m, values)
        for measure in measures:
            fields |= _fields(measure, quantities, errors)
    return Outcome(layer, fields, status)


def _fields(measure: Measure, quantities: Quantities, errors: bool) -> dict[str, Field]:
    found = measure.finalize(quantities)
    if errors:
        found |= measure.standard_errors(quantities)
    return undefined(found) if quantities.n < measure.least[0] else found


def _without(name: str, values: np.ndarray, bad: np.ndarray, layer: Layer) -> np.ndarray:
    """A quantity with NaN for units that were not finite, and for channels with such a unit.

    One of the whole layer is NaN for any, if it does not only count.
    """
    if not values.ndim:
        return values if name.endswith(COUNTS) else np.asarray(np.nan)
    if values.shape[values.ndim - bad.ndim :] != bad.shape:
        others = tuple(axis for axis, dim in enumerate(layer.dims) if dim != "channel")
        bad = np.asarray(bad.any(others))
    return np.where(bad, np.nan, values)


def _status(
    values: Mapping[str, np.ndarray], n: int, m: int, eps: float
) -> tuple[np.ndarray, np.ndarray]:
    """Bits for each unit, and which units had an activation that is not finite."""
    moments = (v for name, v in values.items() if "/" not in name)
    bad = ~np.isfinite(sum(moments))
    rounding = (16 * eps * values["largest"]) ** 2
    zero = np.zeros_like(values["largest"])
    within, columns = values.get("rows", zero), values.get("columns", zero)
    # Rows and columns constant, or what one of the two orders knows of both.
    others = values.get("columns", values.get("row_means", zero)) + values.get("between", zero)
    status = np.where(bad, NOT_FINITE, 0).astype(np.uint8)
    status |= np.where(~bad & (within == 0) & (others == 0), DEAD, 0).astype(np.uint8)
    for bit, squares, count in (
        (TV_BELOW_ROUNDING, within, n * (m - 1)),
        (SV_BELOW_ROUNDING, columns, m * (n - 1)),
    ):
        below = ~bad & (squares > 0) & (squares < rounding * count)
        status |= np.where(below, bit, 0).astype(np.uint8)
    return status, bad
