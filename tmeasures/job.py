"""Everything a run needs, checked and probed before the first forward pass over data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tmeasures.budget import memory_limit
from tmeasures.capture import Network, Probe
from tmeasures.errors import ArgumentError
from tmeasures.hints import called, near, whole
from tmeasures.inputs import Feed, transformed_key
from tmeasures.measures import Measure, Quantities, resolve
from tmeasures.plan import Plan, Problem, check, choose
from tmeasures.samples import read
from tmeasures.statistics import QUANTITIES
from tmeasures.transformations import (
    Transformation,
    TransformationSet,
    combined,
    flips,
    identity,
    rotations,
    scalings,
    translations,
)
from tmeasures.transformations import transformations as of_callables

DEFAULT_MEASURES = ("TV", "SV", "NV", "ANOVA")

_SETS = (combined, flips, identity, rotations, scalings, translations)


@dataclass(frozen=True)
class Job:
    """All that a run needs, checked and probed."""

    network: Network
    feed: Feed
    measures: list[Measure]
    plan: Plan
    arguments: dict[str, str]


def prepare(
    model: Any,
    samples: Any,
    transformations: Any,
    *,
    measures: str | Measure | Iterable[str | Measure] = DEFAULT_MEASURES,
    layers: Any = None,
    activations: Any = "unit",
    layout: Any = None,
    preprocess: Callable[[Any], Any] | None = None,
    call: Callable[[Any, Any], Any] | None = None,
    input: str | None = None,
    labels: Any = None,
    n_samples: int | None = None,
    batch_size: int | None = None,
    memory: int | str | None = None,
    device: torch.device | str | None = None,
    seed: int = 0,
    plan: Plan | None = None,
) -> Job:
    """Check the arguments of `tmeasures.measure`, probe the network, and plan."""
    chosen = resolve(measures)
    for name, value in (("call", call), ("preprocess", preprocess)):
        if value is not None and not callable(value):
            raise ArgumentError(f"{name} is {called(value)}; give a function, or None")
    if plan is not None and not (batch_size is memory is None):
        raise ArgumentError("plan= says how large tiles are; leave batch_size= and memory= out")
    if batch_size is not None:
        batch_size = whole("batch_size", batch_size)
    network = Network(
        model, layers=layers, activations=activations, layout=layout, call=call, device=device
    )
    limit = memory_limit(memory, network.device)
    feed = feed_for(network, samples, transformations, preprocess, input, labels, n_samples, seed)
    m = len(feed.transformations)
    enough(chosen, feed.samples.n, m)
    found = probe(network, feed)
    inputs = feed.probe(1)
    tensors = [inputs] if isinstance(inputs, Tensor) else inputs.values()
    problem = Problem(
        network=network.name,
        measures=tuple(map(str, chosen)),
        needs=frozenset().union(*(measure.needs for measure in chosen)) - {"largest"},
        layers=network.layers,
        n=feed.samples.n,
        m=m,
        probe=found,
        input_bytes=sum(x.nbytes for x in tensors if isinstance(x, Tensor)),
        result_bytes=_result_bytes(chosen),
        memory=limit,
        batch_size=batch_size,
        device=network.device.type,
        iterable=feed.samples.iterable,
    )
    arguments = {
        "layers": layers,
        "activations": activations,
        "layout": layout,
        "preprocess": preprocess,
        "call": call,
        "input": input,
        "n_samples": n_samples,
        "batch_size": batch_size,
        "memory": memory,
    }
    usual = (None, "unit")
    given = {name: _spelled(value) for name, value in arguments.items() if value not in usual}
    ready = choose(problem) if plan is None else check(plan, problem)
    return Job(network, feed, chosen, ready, given)


def _spelled(value: Any) -> str:
    """An argument in a form that says the same in every process: functions by name."""
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_spelled(each)}" for key, each in value.items())
    return value if isinstance(value, str) else getattr(value, "__qualname__", None) or repr(value)


def enough(measures: Iterable[Measure], n: int | None, m: int) -> None:
    """Whether samples and transformations suffice for the measures: else an error."""
    for measure in measures:
        least_n, least_m = measure.least
        if m < least_m:
            raise ArgumentError(
                f"{measure.short} needs at least {least_m} transformations and there "
                f"{'is' if m == 1 else 'are'} {m}; give a set such as tm.rotations(16)"
            )
        if n is not None and n < least_n:
            raise ArgumentError(
                f"{measure.short} needs at least {least_n} samples and there "
                f"{'is' if n == 1 else 'are'} {n}; give more samples, or leave the measure out"
            )


def _result_bytes(measures: Iterable[Measure]) -> int:
    """Bytes of all variables for one activation; an error where two measures share a name."""
    names = frozenset().union(*(measure.needs for measure in measures)) | {"largest"}
    one = Quantities(2, 2, {name: np.ones(1) for name in names})
    given_by: dict[str, Measure] = {}
    total = 1  # the status
    for measure in measures:
        if unknown := measure.needs - QUANTITIES:
            raise ArgumentError(
                f"measure {measure} needs {', '.join(sorted(unknown))}, which no statistic gives; "
                f"choose among {', '.join(sorted(QUANTITIES))}"
            )
        for name, field in measure.finalize(one).items():
            if field.values.shape[len(field.leading) :] != (1,):
                raise ArgumentError(
                    f"measure {measure} made {name} of shape {field.values.shape} for one unit; "
                    f"keep the shape of the quantities, after the dims named in leading"
                )
            if name in given_by:
                raise ArgumentError(
                    f"{given_by[name]} and {measure} would both be the variable {name}; measure "
                    f"one of them at a time"
                )
            given_by[name] = measure
            total += field.values.size * (8 if field.double or field.kind == "p" else 4)
    return total


def feed_for(
    network: Network,
    samples: Any,
    transformations: Any,
    preprocess: Callable[[Any], Any] | None,
    input: str | None,
    labels: Any,
    n_samples: int | None,
    seed: int,
) -> Feed:
    """Samples and transformations for a network, read and checked as far as they can be."""
    found = read(samples, n_samples=n_samples, labels=labels, seed=seed)
    chosen = identity() if transformations is None else as_set(transformations)
    first = found.first()
    key = transformed_key(first, input, transformations is not None)
    return Feed(found, first, chosen, network.device, network.dtype, key, preprocess, seed)


def as_set(given: Any) -> TransformationSet:
    """The set that an argument is, or makes up: a list or mapping of callables."""
    if isinstance(given, TransformationSet):
        return given
    several = isinstance(given, Iterable) and not isinstance(given, (str, Tensor))
    if several and not callable(given):
        return of_callables(given if isinstance(given, Mapping) else list(given))
    advice = "give a set such as tm.rotations(16), or a list of callables"
    what = called(given)
    if isinstance(given, Transformation):
        what = f"the single {given!r}"
    elif any(given is f for f in _SETS):
        advice = f"call it, tm.{given.__name__}()"
    elif callable(given) and not isinstance(given, type):
        advice = "give a list of several, such as the identity and this one, [lambda x: x, f]"
    elif isinstance(given, str):
        what += near(given, (f"tm.{f.__name__}()" for f in _SETS))
    raise ArgumentError(f"transformations is {what}; {advice}")


def probe(network: Network, feed: Feed) -> Probe:
    """Try the transformations, then find the layers with two tiny batches."""
    feed.check()
    with network.session():
        return network.probe(feed.probe(2), feed.probe(3))
