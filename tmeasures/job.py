"""Everything a run needs, checked and probed before the first forward pass over data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tmeasures.budget import memory_limit
from tmeasures.capture import Network, Probe
from tmeasures.errors import ArgumentError
from tmeasures.fields import Field
from tmeasures.hints import called, near, whole
from tmeasures.inputs import Feed, transformed_key
from tmeasures.measures import Measure, Quantities, resolve
from tmeasures.plan import Plan
from tmeasures.planning import Problem, Wanted, check, choose
from tmeasures.samples import read
from tmeasures.statistics import QUANTITIES, Kind
from tmeasures.strata import How, Strata, planned_bytes
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
    kinds: Mapping[str, Kind]
    strata: Strata | None
    plan: Plan
    arguments: dict[str, str]

    @property
    def left_out_of(self) -> dict[str, dict[str, str]]:
        """From measures to the layers that they cannot be had of, and why."""
        found: dict[str, dict[str, str]] = {}
        for measure in self.measures:
            for layer in self.network.layers:
                reasons = [kind.applies(layer.dims) for kind in measure.kinds]
                if why := next(filter(None, reasons), None):
                    found.setdefault(str(measure), {})[layer.name] = why
        return found


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
    stratify: How | None = None,
    errors: bool = False,
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
    if stratify not in (None, "mean", "each"):
        raise ArgumentError(f"stratify={stratify!r} is unknown: give 'mean', 'each' or None")
    if not isinstance(errors, bool):
        raise ArgumentError(f"errors={errors!r} is neither True nor False; give one of them")
    wanted = Wanted.by(chosen, errors, stratify is not None)
    for measure in chosen:
        measure.check(errors)
    network = Network(
        model, layers=layers, activations=activations, layout=layout, call=call, device=device
    )
    limit = memory_limit(memory, network.device)
    feed = feed_for(network, samples, transformations, preprocess, input, labels, n_samples, seed)
    m = len(feed.transformations)
    _other_than_identities(wanted, feed.transformations)
    enough(chosen, feed.samples.n, m)
    found = probe(network, feed, wanted)
    reads_labels = stratify is not None and not feed.samples.labels_known
    strata = Strata.of(feed.samples.labels()) if stratify is not None else None
    sizes = () if strata is None else tuple(map(len, strata.positions))
    enough(chosen, feed.samples.n, m, sizes)
    inputs = feed.probe(1)
    tensors = [inputs] if isinstance(inputs, Tensor) else inputs.values()
    problem = Problem(
        network=network.name,
        wanted=wanted,
        layers=network.layers,
        n=feed.samples.n,
        m=m,
        probe=found,
        input_bytes=sum(x.nbytes for x in tensors if isinstance(x, Tensor)),
        result_bytes=_result_bytes(chosen, errors, stratify, len(sizes)),
        memory=limit,
        batch_size=batch_size,
        device=network.device.type,
        iterable=feed.samples.iterable,
        identities=feed.transformations.identities,
        stratify=stratify,
        strata=sizes,
        reads_labels=reads_labels,
    )
    arguments = {
        "layers": layers,
        "activations": activations,
        "layout": layout,
        "preprocess": preprocess,
        "call": call,
        "input": input,
        "stratify": stratify,
        "n_samples": n_samples,
        "batch_size": batch_size,
        "memory": memory,
    }
    usual = (None, "unit")
    given = {name: _spelled(value) for name, value in arguments.items() if value not in usual}
    ready = choose(problem) if plan is None else check(plan, problem)
    return Job(network, feed, chosen, problem.kinds, strata, ready, given)


def _spelled(value: Any) -> str:
    """An argument in a form that says the same in every process: functions by name."""
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_spelled(each)}" for key, each in value.items())
    return value if isinstance(value, str) else getattr(value, "__qualname__", None) or repr(value)


def enough(measures: Iterable[Measure], n: int | None, m: int, strata: Sequence[int] = ()) -> None:
    """Whether samples and transformations suffice for the measures: else an error.

    Args:
        measures: What is wanted.
        n: Samples; None where that is not known.
        m: Transformations.
        strata: Samples in each stratum.
    """
    where = " in the largest stratum" if strata else ""
    n = max(strata, default=n)
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
                f"{'is' if n == 1 else 'are'} {n}{where}; give more samples, or leave the measure "
                "out"
            )


def _result_bytes(
    measures: Iterable[Measure], errors: bool, stratify: How | None, n_strata: int
) -> int:
    """Bytes of all variables for one activation; an error where two measures share a name."""
    fields: dict[str, Field] = {}
    given_by: dict[str, Measure] = {}
    for measure in measures:
        for name, field in _of_one_unit(measure, errors).items():
            if name in given_by:
                raise ArgumentError(
                    f"{given_by[name]} and {measure} would both be the variable {name}; measure "
                    f"one of them at a time"
                )
            given_by[name] = measure
            fields[name] = field
    if stratify is not None:
        return sum(planned_bytes(fields, stratify, n_strata))
    return 1 + sum(field.nbytes for field in fields.values())


def _of_one_unit(measure: Measure, errors: bool) -> dict[str, Field]:
    """The variables of a measure for one activation, checked."""
    needs = measure.needs | (measure.error_needs if errors else frozenset())
    given = QUANTITIES.union(*(kind.provides for kind in measure.kinds))
    if unknown := needs - given:
        raise ArgumentError(
            f"measure {measure} needs {', '.join(sorted(unknown))}, which no statistic gives; "
            f"choose among {', '.join(sorted(given))}"
        )
    values = {name: np.ones(1) for name in needs | {"largest"}}
    for kind in measure.kinds:
        if (signs := getattr(kind, "signs", 1)) > 1:
            values |= {name: np.ones((signs, 1)) for name in kind.provides}
    one = Quantities(2, 2, values)
    found = measure.finalize(one) | (measure.standard_errors(one) if errors else {})
    for name, field in found.items():
        if field.values.shape[len(field.leading) :] != (1,):
            raise ArgumentError(
                f"measure {measure} made {name} of shape {field.values.shape} for one unit; "
                f"keep the shape of the quantities, after the dims named in leading"
            )
    measure.conclude([found])
    return found


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


def probe(network: Network, feed: Feed, wanted: Wanted | None = None) -> Probe:
    """Try the transformations, then find the layers with two tiny batches.

    Raises:
        ArgumentError: A statistic that is wanted can be kept of no layer.
    """
    feed.check(wanted is not None and wanted.untransformed)
    with network.session():
        found = network.probe(feed.probe(2), feed.probe(3))
    if wanted is None:
        return found
    for kind in wanted.distances:
        reasons = {kind.applies(layer.dims) for layer in network.layers}
        if None not in reasons:
            raise ArgumentError(
                f"no layer gives {wanted.asking(kind)}: {reasons.pop()}; name layers that have "
                "one, or give their dims by layout="
            )
    return found


def _other_than_identities(wanted: Wanted, transformations: TransformationSet) -> None:
    if wanted.untransformed and len(transformations.identities) == len(transformations):
        raise ArgumentError(
            "GF asks under which transformations a unit still fires, and there is the identity "
            "alone; give a set such as tm.rotations(16)"
        )
