"""Runs a plan: tiles through the network, each activation into the statistics as it appears."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from tmeasures.budget import size
from tmeasures.capture import Layer, Network
from tmeasures.fields import Field
from tmeasures.finishing import Outcome, finish
from tmeasures.hints import within_memory
from tmeasures.inputs import Feed
from tmeasures.measures import Measure
from tmeasures.plan import Pass, Plan
from tmeasures.statistics import Kind, Statistic
from tmeasures.statistics.firing import Calibration, Firing
from tmeasures.strata import Aggregate, Strata
from tmeasures.tile import Inputs, Tile, length

State = dict[str, dict[str, Statistic]]
"""Of each layer, its statistics by name."""


@dataclass(frozen=True, slots=True)
class Step:
    """What the engine did last.

    Attributes:
        number: Of the pass, from 0.
        stratum: Index of the stratum; 0 without.
        tile: The tile; its values are the network's inputs.
    """

    number: int
    stratum: int
    tile: Tile[Inputs]

    @property
    def inputs(self) -> int:
        """Inputs that went through the network."""
        return length(self.tile.values)


class Run:
    """A plan that is being run.

    Args:
        plan: The plan.
        network: Probed.
        feed: The samples and transformations.
        measures: What is wanted.
        kinds: The kinds of statistic that the plan names.
        strata: The strata, where the plan has some.
        errors: Whether standard errors are asked for.

    Attributes:
        outcomes: What was measured of each layer, in order, once all steps are done.
        stratum_status: Of each layer, the status in each stratum, where each is kept.
    """

    def __init__(
        self,
        plan: Plan,
        network: Network,
        feed: Feed,
        measures: Sequence[Measure],
        kinds: Mapping[str, Kind],
        strata: Strata | None = None,
        errors: bool = False,
    ) -> None:
        self.plan, self.network, self.feed = plan, network, feed
        self.measures, self.kinds, self.strata = measures, kinds, strata
        self.errors = errors
        self.outcomes: list[Outcome] = []
        self.stratum_status: dict[str, np.ndarray] | None = None
        self._thresholds: dict[tuple[str, str], Tensor] = {}

    def steps(self) -> Generator[Step]:
        """Walk the matrix as planned; a step for each tile, when it is in the state.

        The network is under hooks until the generator ends or is closed.
        """
        numbered = list(enumerate(self.plan.passes))
        preludes = [(number, p) for number, p in numbered if p.prelude]
        walks = [(number, p) for number, p in numbered if not p.prelude]
        with self.network.session():
            for number, p in preludes:
                yield from self._prelude(number, p)
            if self.strata is None:
                self.outcomes = yield from self._matrix(walks, self.feed, 0)
            else:
                yield from self._each_stratum(walks, self.strata)

    def _prelude(self, number: int, p: Pass) -> Generator[Step]:
        feed = self.feed
        if p.first is not None:
            feed = replace(feed, samples=feed.samples.take(np.arange(p.first)))
        state = self._start([p], self.feed.samples.n)
        yield from self._walk(number, p, feed, state, 0)

    def _each_stratum(self, walks: list[tuple[int, Pass]], strata: Strata) -> Generator[Step]:
        assert self.plan.stratify is not None
        aggregate = Aggregate(self.plan.stratify, strata)
        least = min(measure.least[0] for measure in self.measures)
        for index, positions in enumerate(strata.positions):
            feed = replace(self.feed, samples=self.feed.samples.take(positions))
            outcomes = yield from self._matrix(walks, feed, index)
            aggregate.add(
                index,
                {outcome.layer.name: outcome.fields for outcome in outcomes},
                {o.layer.name: o.status for o in outcomes if len(positions) >= least},
            )
            del outcomes
        fields, status, self.stratum_status = aggregate.result()
        self.outcomes = [
            Outcome(layer, dict(fields[layer.name]), status[layer.name])
            for layer in self.network.layers
        ]

    def _matrix(
        self, walks: list[tuple[int, Pass]], feed: Feed, stratum: int
    ) -> Generator[Step, None, list[Outcome]]:
        """All passes over one matrix, a group of layers after another, and what they give."""
        outcomes: list[Outcome] = []
        for _, group in groupby(walks, key=lambda one: one[1].layers):
            passes = list(group)
            state = self._start([p for _, p in passes], feed.samples.n)
            for number, p in passes:
                yield from self._walk(number, p, feed, state, stratum)
            outcomes += finish(
                state, self._layers(passes[0][1]), self.measures, self.plan.m, self.errors
            )
        for measure in self.measures:
            of_layers: list[dict[str, Field]] = [outcome.fields for outcome in outcomes]
            measure.conclude(of_layers)
        return outcomes

    def _layers(self, p: Pass) -> list[Layer]:
        layers = self.network.layers
        return [layer for layer in layers if p.layers is None or layer.name in p.layers]

    def _start(self, passes: Sequence[Pass], n: int | None) -> State:
        """Empty statistics for passes over n samples."""
        layers = self._layers(passes[0])
        advice = (
            f"name fewer layers, or give a memory= below {size(self.plan.bytes)} for less state"
        )
        with within_memory(f"the state, {size(self.plan.state_bytes)}", advice):
            return {layer.name: self._statistics(passes, layer, n) for layer in layers}

    def _statistics(
        self, passes: Sequence[Pass], layer: Layer, n: int | None
    ) -> dict[str, Statistic]:
        found: dict[str, Statistic] = {}
        for p in passes:
            setup = p.setup(
                layer,
                m=self.plan.m,
                n=None if self.feed.samples.iterable else n,
                device=self.network.device,
                identities=self.feed.transformations.identities,
                spread=self.plan.spread,
                errors=self.plan.errors,
            )
            kinds = [self.kinds[name] for name in p.statistics]
            found |= {kind.name: kind(setup) for kind in kinds if kind.applies(layer.dims) is None}
        return found

    def _walk(
        self, number: int, p: Pass, feed: Feed, state: State, stratum: int
    ) -> Generator[Step]:
        for layer, statistics in state.items():
            for name in p.statistics:
                if isinstance(statistic := statistics.get(name), Firing):
                    statistic.thresholds = self._thresholds[layer, statistic.rule.name]
        with _memory_of(p, f", a memory= below {size(self.plan.bytes)}"):
            for tile in feed.tiles(p.order, p.samples, p.transformations, p.untransformed):
                self._fold(tile, p, state)
                yield Step(number, stratum, tile)
        for layer, statistics in state.items():
            for name in p.statistics:
                if isinstance(statistic := statistics.get(name), Calibration):
                    self._thresholds[layer, statistic.rule.name] = statistic.thresholds()
                    del statistics[name]

    def _fold(self, tile: Tile[Inputs], p: Pass, state: State) -> None:
        shape = (len(tile.samples), len(tile.transformations))
        count = shape[0] * shape[1]

        def receive(layer: Layer, values: Tensor) -> None:
            statistics = state.get(layer.name)
            if statistics is None:
                return
            reference = values if p.untransformed == "alone" else values[count:]
            part = tile.holding(
                torch.unflatten(values[:count], 0, shape), reference if len(reference) else None
            )
            for name in p.statistics:
                if name in statistics:
                    statistics[name].update(part)

        self.network.forward(tile.values, receive)


def _memory_of(p: Pass, less: str = "") -> AbstractContextManager[None]:
    s, t = p.samples, p.transformations
    what = f"a tile of {s} samples x {t} transformations, {s * t} inputs"
    return within_memory(what, f"give batch_size={max(1, s * t // 2)}{less}, or smaller inputs")


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
