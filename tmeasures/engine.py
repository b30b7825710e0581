"""Runs a plan: tiles through the network, each activation into the statistics as it appears."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from tmeasures.budget import size
from tmeasures.capture import Layer, Network
from tmeasures.fields import Field
from tmeasures.finishing import Outcome, finish, memory_of_results
from tmeasures.forwards import MemoryFormat
from tmeasures.hints import within_memory
from tmeasures.inputs import Feed
from tmeasures.measures import Measure
from tmeasures.plan import Pass, Plan
from tmeasures.statistics import Kind, Statistic, gather
from tmeasures.statistics.setup import known
from tmeasures.strata import Aggregate, Strata
from tmeasures.tile import Inputs, Tile, length
from tmeasures.transformations.actions import Actions

State = dict[str, list[Statistic]]
"""The statistics of each layer."""

Found = dict[str, dict[str, Tensor]]
"""The quantities found of each layer."""


@dataclass(frozen=True, slots=True)
class Step:
    """What the engine did last.

    Attributes:
        number: Of the pass, from 0.
        stratum: Index of the stratum; 0 without.
        tile: The tile, without its values.
        inputs: How many went through the network.
    """

    number: int
    stratum: int
    tile: Tile[None]
    inputs: int


class Run:
    """A plan that is being run.

    Args:
        plan: The plan.
        network: Probed.
        feed: The samples and transformations.
        measures: What is wanted.
        kinds: The kinds of statistic that the plan names.
        strata: The strata, where the plan has some.
        actions: How the transformations act on each layer's outputs, or why that is not known.
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
        actions: Mapping[str, Actions | str] | None = None,
    ) -> None:
        self.plan, self.network, self.feed = plan, network, feed
        self.measures, self.kinds, self.strata = measures, kinds, strata
        self.errors, self.actions = errors, actions or {}
        self.outcomes: list[Outcome] = []
        self.stratum_status: dict[str, np.ndarray] | None = None
        self._before: Found = {layer.name: {} for layer in network.layers}

    def steps(self) -> Generator[Step]:
        """Walk the matrix as planned; a step for each tile, when it is in the state.

        The network is under hooks until the generator ends or is closed.
        """
        numbered = list(enumerate(self.plan.passes))
        preludes = [(number, p) for number, p in numbered if p.prelude]
        walks = [(number, p) for number, p in numbered if not p.prelude]
        with self.network.session(self.plan.memory_format):
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
        yield from self._walk(number, p, feed, 0, self._before)

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
        """All passes over one matrix, and what they give; a layer is done with its last pass."""
        found: Found = {name: dict(before) for name, before in self._before.items()}
        last = {layer.name: number for number, p in walks for layer in self._layers(p)}
        done: dict[str, Outcome] = {}
        for number, p in walks:
            n = yield from self._walk(number, p, feed, stratum, found)
            for layer in self._layers(p):
                if last[layer.name] == number:
                    given = found.pop(layer.name)
                    measures = [
                        measure
                        for measure in self.measures
                        if not any(self._why_not(kind, layer) for kind in measure.kinds)
                    ]
                    done[layer.name] = finish(layer, given, measures, n, self.plan.m, self.errors)
        outcomes = [done[layer.name] for layer in self.network.layers]
        for measure in self.measures:
            of_layers: list[dict[str, Field]] = [outcome.fields for outcome in outcomes]
            measure.conclude(of_layers)
        return outcomes

    @property
    def _limit(self) -> str:
        """What state and tile take, of which a plan for less memory takes less."""
        return size(self.plan.state_bytes + self.plan.tile_bytes)

    def _layers(self, p: Pass) -> list[Layer]:
        layers = self.network.layers
        return [layer for layer in layers if p.layers is None or layer.name in p.layers]

    def _start(self, p: Pass, n: int | None, found: Found) -> State:
        """Empty statistics for a pass over n samples."""
        advice = f"name fewer layers, or give a memory= below {self._limit} for less state"
        with within_memory(f"the state, {size(self.plan.state_bytes)}", advice):
            state = {layer.name: self._statistics(p, layer, n) for layer in self._layers(p)}
        for name, statistics in state.items():
            for statistic in statistics:
                statistic.take(found[name])
        return state

    def _statistics(self, p: Pass, layer: Layer, n: int | None) -> list[Statistic]:
        setup = p.setup(
            layer,
            m=self.plan.m,
            n=None if self.feed.samples.iterable else n,
            device=self.network.device,
            identities=self.feed.transformations.identities,
            spread=self.plan.spread,
            errors=self.plan.errors,
            actions=known(self.actions.get(layer.name)),
        )
        kinds = (self.kinds[name] for name in p.statistics)
        return [kind(setup) for kind in kinds if self._why_not(kind, layer) is None]

    def _why_not(self, kind: Kind, layer: Layer) -> str | None:
        return kind.applies(layer.dims, self.actions.get(layer.name))

    def _walk(
        self, number: int, p: Pass, feed: Feed, stratum: int, found: Found
    ) -> Generator[Step, None, int]:
        """One pass, whose quantities are added to those found; the number of its samples.

        The state of a layer is freed when its quantities are there.
        """
        n = 0
        state = self._start(p, self.feed.samples.n if p.prelude else feed.samples.n, found)
        with _memory_of(p, f", a memory= below {self._limit}"):
            for tile in self._tiles(p, feed):
                self._fold(tile, p, state)
                n = max(n, tile.samples.stop)
                step = Step(number, stratum, tile.holding(None), length(tile.values))
                del tile  # else its inputs stay beside the next ones
                yield step
        with memory_of_results():
            for name in list(state):
                found[name] = gather(state.pop(name)) | found[name]
        return n

    def _tiles(self, p: Pass, feed: Feed) -> Iterator[Tile[Inputs]]:
        return feed.tiles(p.order, p.samples, p.transformations, p.untransformed)

    def _fold(self, tile: Tile[Inputs], p: Pass, state: State) -> None:
        shape = (len(tile.samples), len(tile.transformations))
        count = shape[0] * shape[1]

        def receive(layer: Layer, values: Tensor) -> None:
            statistics = state.get(layer.name)
            if statistics is None:
                return
            if values.dtype.itemsize == 2:  # widened once for all statistics
                values = values.float()
            reference = values if p.untransformed == "alone" else None
            if len(values) > count:
                reference, values = values[count:], values[:count]
            part = tile.holding(torch.unflatten(values, 0, shape), reference)
            for statistic in statistics:
                statistic.update(part)

        self.network.forward(tile.values, receive)


def _memory_of(p: Pass, less: str = "") -> AbstractContextManager[None]:
    s, t = p.samples, p.transformations
    what = f"a tile of {s} samples x {t} transformations, {s * t} inputs"
    return within_memory(what, f"give batch_size={max(1, s * t // 2)}{less}, or smaller inputs")


def walk(
    network: Network, feed: Feed, p: Pass, memory_format: MemoryFormat
) -> Generator[Tile[dict[str, Tensor]]]:
    """The tiles of one pass with copies of all layers' values."""
    with network.session(memory_format), _memory_of(p):
        for tile in feed.tiles(p.order, p.samples, p.transformations):
            shape = (len(tile.samples), len(tile.transformations))
            values: dict[str, Tensor] = {}

            def receive(layer: Layer, found: Tensor) -> None:
                values[layer.name] = torch.unflatten(found, 0, shape).clone()  # noqa: B023

            network.forward(tile.values, receive)
            yield tile.holding(values)
