"""Runs a plan: tiles through the network, each activation into the statistics as it appears."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tmeasures.budget import size
from tmeasures.capture import Layer, Network
from tmeasures.fields import (
    DEAD,
    NOT_FINITE,
    SV_BELOW_ROUNDING,
    TV_BELOW_ROUNDING,
    Field,
)
from tmeasures.hints import within_memory
from tmeasures.inputs import Feed
from tmeasures.measures import Measure, Quantities
from tmeasures.plan import Pass, Plan
from tmeasures.statistics import KINDS, Setup, Statistic, gather
from tmeasures.tile import Inputs, Tile

State = dict[str, dict[str, Statistic]]
"""Of each layer, its statistics by name."""


@dataclass(frozen=True, slots=True)
class Step:
    """What the engine did last.

    Attributes:
        number: Of the pass, from 0.
        tile: The tile; its values are the network's inputs.
    """

    number: int
    tile: Tile[Inputs]

    @property
    def inputs(self) -> int:
        """Inputs that went through the network."""
        return len(self.tile.samples) * len(self.tile.transformations)


def start(plan: Plan, layers: Sequence[Layer], device: torch.device) -> State:
    """Empty statistics for a plan."""

    def statistics(layer: Layer) -> dict[str, Statistic]:
        return {
            name: KINDS[name](
                Setup(
                    shape=layer.shape,
                    m=plan.m,
                    tile=(p.samples, p.transformations),
                    order=p.order,
                    columns=p.columns,
                    n=plan.n,
                    dims=layer.dims,
                    dtype=layer.dtype,
                    device=device,
                    spread=plan.spread,
                )
            )
            for p in plan.passes
            for name in p.statistics
        }

    advice = f"name fewer layers, or give a memory= below {size(plan.bytes)} for less state"
    with within_memory(f"the state, {size(plan.state_bytes)}", advice):
        return {layer.name: statistics(layer) for layer in layers}


def run(plan: Plan, network: Network, feed: Feed, state: State) -> Generator[Step]:
    """Walk the matrix as planned; a step for each tile, when it is in the state.

    The network is under hooks until the generator ends or is closed.
    """
    less = f", a memory= below {size(plan.bytes)}"
    with network.session():
        for number, p in enumerate(plan.passes):
            with _memory_of(p, less):
                for tile in feed.tiles(p.order, p.samples, p.transformations):
                    _fold(network, tile, p, state)
                    yield Step(number, tile)


def _memory_of(p: Pass, less: str = "") -> AbstractContextManager[None]:
    s, t = p.samples, p.transformations
    what = f"a tile of {s} samples x {t} transformations, {s * t} inputs"
    return within_memory(what, f"give batch_size={max(1, s * t // 2)}{less}, or smaller inputs")


def _fold(network: Network, tile: Tile[Inputs], p: Pass, state: State) -> None:
    shape = (len(tile.samples), len(tile.transformations))

    def receive(layer: Layer, values: Tensor) -> None:
        part = tile.holding(torch.unflatten(values, 0, shape))
        for name in p.statistics:
            state[layer.name][name].update(part)

    network.forward(tile.values, receive)


def walk(network: Network, feed: Feed, p: Pass) -> Generator[Tile[dict[str, Tensor]]]:
    """The tiles of one pass with copies of all layers' values."""
    with network.session(), _memory_of(p):
        for tile in feed.tiles(p.order, p.samples, p.transformations):
            shape = (len(tile.samples), len(tile.transformations))
            values: dict[str, Tensor] = {}

            def receive(layer: Layer, found: Tensor) -> None:
                values[layer.name] = torch.unflatten(found, 0, shape).clone()  # noqa: B023

            network.forward(tile.values, receive)
            yield tile.holding(values)


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


@within_memory("the results", "name fewer layers, or take activations='pooled'")
def finish(
    state: State, layers: Sequence[Layer], measures: Sequence[Measure], m: int
) -> list[Outcome]:
    """Turn statistics into measures; each layer's state is freed when it is done."""
    outcomes = []
    for layer in layers:
        statistics = state.pop(layer.name)
        n = next(iter(statistics.values())).n
        values = {k: v.cpu().double().numpy() for k, v in gather(statistics.values()).items()}
        del statistics
        with np.errstate(all="ignore"):
            status, bad = _status(values, n, m, torch.finfo(layer.dtype).eps)
        if bad.any():
            values = {k: np.where(bad, np.nan, v) for k, v in values.items()}
        quantities = Quantities(n, m, values)
        fields: dict[str, Field] = {}
        with np.errstate(all="ignore"):  # 0 / 0 and x / 0 have their meaning in each measure
            for measure in measures:
                fields |= measure.finalize(quantities)
        outcomes.append(Outcome(layer, fields, status))
    for measure in measures:
        measure.conclude([outcome.fields for outcome in outcomes])
    return outcomes


def _status(
    values: Mapping[str, np.ndarray], n: int, m: int, eps: float
) -> tuple[np.ndarray, np.ndarray]:
    """Bits for each unit, and which units had an activation that is not finite."""
    bad = ~np.isfinite(sum(values.values()))
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
