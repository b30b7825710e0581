"""In which order images lie in memory: the one that a short trial finds the faster."""

from __future__ import annotations

import time
from dataclasses import replace

import torch

from tmeasures.capture import Layer, Network
from tmeasures.forwards import MemoryFormat
from tmeasures.inputs import Feed
from tmeasures.plan import Plan
from tmeasures.planning import Problem, choose
from tmeasures.planning.problem import largest_tile
from tmeasures.tile import Inputs

# Inputs of a run that go through a trial, at most: in small forwards these take half as long again.
_SHARE = 0.02
# Inputs of a forward in a trial. Seen: SimpleConv channels-last takes 0.71 of the time for 256, and
# 0.73 to 0.75 for 8 to 16; ResNet18 at 64x64 1.22, and 1.13 to 1.18.
_LEAST, _MOST = 8, 32
# Forwards in each order in turn: what drifts meanwhile weighs on both. The first of each warms up.
_TURNS: tuple[tuple[MemoryFormat, int], ...] = (
    ("preserve", 2),
    ("channels_last", 3),
    ("preserve", 1),
)
_FORWARDS = sum(count for _, count in _TURNS)
# Below this share of the time channels-last order is taken.
_GAIN = 0.95


def planned(problem: Problem, network: Network, feed: Feed) -> Plan:
    """The plan of a run whose ``memory_format`` is ``"auto"``, made in the faster order.

    A trial of channels-last order takes place where the network convolves images, and where the
    forwards of a trial, of 8 to 32 inputs, are at most 2 % of the run's.
    """
    plan = choose(problem)
    if not network.convolves(feed.probe(1)):
        return plan
    if plan.inputs is None:
        why = "images lie as they come: how long the run is, for a trial, is not known"
        return replace(plan, why=(*plan.why, why))
    count = int(plan.inputs * _SHARE / _FORWARDS)
    if count < _LEAST:
        why = f"images lie as they come: {plan.inputs:,} inputs are too few for a trial"
        return replace(plan, why=(*plan.why, why))
    count = min(count, _MOST, largest_tile(plan.passes))
    ratio = _ratio(network, feed.probe(count))
    if ratio <= _GAIN:
        with network.session("channels_last"):
            found = network.needs(feed.probe(2), feed.probe(3))
        plan = choose(replace(problem, memory_format="channels_last", probe=found))
    why = f"channels-last forwards took {ratio:.2f} of the time in a trial of {count} inputs"
    return replace(plan, why=(*plan.why, why))


def _ratio(network: Network, inputs: Inputs) -> float:
    """The time of channels-last forwards over that of forwards as they come."""
    seconds: dict[MemoryFormat, list[float]] = {"preserve": [], "channels_last": []}
    for memory_format, count in _TURNS:
        with network.session(memory_format):
            seconds[memory_format] += [_seconds(network, inputs) for _ in range(count)]
    return min(seconds["channels_last"][1:]) / min(seconds["preserve"][1:])


def _seconds(network: Network, inputs: Inputs) -> float:
    def ignore(layer: Layer, values: torch.Tensor) -> None:
        pass

    started = time.perf_counter()
    network.forward(inputs, ignore)
    network.wait()
    return time.perf_counter() - started
