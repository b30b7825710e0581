"""Everything a run needs, checked and probed before the first forward pass over data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tmeasures import forwards
from tmeasures.acting import Action, Said, actions_of_layers, declared, try_actions
from tmeasures.budget import memory_limit
from tmeasures.capture import Network, Probe
from tmeasures.demands import enough, left_out_of, obtained, result_bytes
from tmeasures.errors import ArgumentError, TransformationError
from tmeasures.formats import planned
from tmeasures.forwards import Autocast, MemoryFormat
from tmeasures.hints import called, near, whole
from tmeasures.inputs import Feed
from tmeasures.measures import Measure, resolve, takes_all
from tmeasures.plan import Plan
from tmeasures.planning import Problem, Wanted, check, choose
from tmeasures.samples import read
from tmeasures.statistics import Kind
from tmeasures.statistics.firing import FiringKind
from tmeasures.strata import How, Strata
from tmeasures.transformations import (
    Transformation,
    TransformationSet,
    brightness,
    circular_shifts,
    combined,
    contrast,
    flips,
    gains,
    gaussian_blur,
    gaussian_noise,
    grayscale,
    horizontal_scalings,
    identity,
    permutations,
    rotations,
    scalings,
    shears,
    sign_flips,
    signal_noise,
    time_shifts,
    time_stretches,
    translations,
    vertical_scalings,
    zooms,
)
from tmeasures.transformations import transformations as of_callables
from tmeasures.transformations.actions import Actions
from tmeasures.transformations.inverses import check_inverses

DEFAULT_MEASURES = ("TV", "SV", "NV", "ANOVA")

_READY = (combined, flips, identity, rotations, scalings, translations)
_OF_NUMBERS = (
    brightness,
    circular_shifts,
    contrast,
    gains,
    gaussian_blur,
    gaussian_noise,
    grayscale,
    horizontal_scalings,
    permutations,
    shears,
    sign_flips,
    signal_noise,
    time_shifts,
    time_stretches,
    vertical_scalings,
    zooms,
)
_SETS: dict[str, Callable[..., TransformationSet]] = {
    **{f"tm.{f.__name__}()": f for f in _READY},
    **{f"tm.{f.__name__}([...])": f for f in _OF_NUMBERS},
}
"""By how they are called."""


@dataclass(frozen=True)
class Job:
    """All that a run needs, checked and probed.

    ``left_out_of`` says from measures to the layers that they cannot be had of, and why; ``errors``
    whether standard errors are asked for.
    """

    network: Network
    feed: Feed
    measures: list[Measure]
    kinds: Mapping[str, Kind]
    strata: Strata | None
    plan: Plan
    arguments: dict[str, str]
    actions: Mapping[str, Actions | str]
    left_out_of: dict[str, dict[str, str]]
    errors: bool

    @property
    def given(self) -> tuple[Any, ...]:
        """What a `tmeasures.engine.Run` is given."""
        parts = self.plan, self.network, self.feed, self.measures, self.kinds, self.strata
        return *parts, self.errors, self.actions


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
    action: Action = None,
    n_samples: int | None = None,
    batch_size: int | None = None,
    memory: int | str | None = None,
    device: torch.device | str | None = None,
    memory_format: MemoryFormat | Literal["auto"] = "auto",
    autocast: Autocast | None = None,
    seed: int = 0,
    plan: Plan | None = None,
) -> Job:
    """Check the arguments of `tmeasures.measure`, probe the network, and plan."""
    chosen, functions = resolve(measures), declared(action)
    for name, value in (("call", call), ("preprocess", preprocess)):
        if value is not None and not callable(value):
            raise ArgumentError(f"{name} is {called(value)}; give a function, or None")
    if plan is not None and not (batch_size is memory is None and memory_format == "auto"):
        raise ArgumentError(
            "plan= says how large tiles are and how images lie; leave batch_size=, memory= and "
            "memory_format= out"
        )
    if batch_size is not None:
        batch_size = whole("batch_size", batch_size)
    if stratify not in (None, "mean", "each"):
        raise ArgumentError(f"stratify={stratify!r} is unknown: give 'mean', 'each' or None")
    if not isinstance(errors, bool):
        raise ArgumentError(f"errors={errors!r} is neither True nor False; give one of them")
    wanted = Wanted.by(chosen, errors, stratify is not None)
    for measure in chosen:
        measure.check(errors)
    network = network_of(
        model,
        memory_format,
        layers=layers,
        activations=activations,
        layout=layout,
        call=call,
        device=device,
        autocast=autocast,
    )
    order: MemoryFormat = "channels_last" if memory_format == "channels_last" else "preserve"
    limit = memory_limit(memory, network.device)
    feed = feed_for(network, samples, transformations, preprocess, input, labels, n_samples, seed)
    m = len(feed.transformations)
    _other_than_identities(wanted, feed.transformations)
    enough(chosen, feed.samples.n, m)
    found = probe(network, feed, wanted.untransformed, order)
    actions, no_inverse = _actions(wanted, network, feed, functions, takes_all(measures))
    reasons = {str(each): left_out_of(each, network.layers, actions, no_inverse) for each in chosen}
    chosen = obtained(chosen, reasons, network.layers, takes_all(measures))
    wanted = Wanted.by(chosen, errors, stratify is not None)
    reads_labels = stratify is not None and not feed.samples.labels_known
    strata = Strata.of(feed.labels()) if stratify is not None else None
    sizes = () if strata is None else tuple(map(len, strata.positions))
    enough(chosen, feed.samples.n, m, sizes)
    inputs = feed.probe(1)
    tensors = [inputs] if isinstance(inputs, Tensor) else inputs.values()
    images = feed.images(1)
    problem = Problem(
        network=network.name,
        wanted=wanted,
        layers=network.layers,
        n=feed.samples.n,
        m=m,
        probe=found,
        input_bytes=sum(x.nbytes for x in tensors if isinstance(x, Tensor)),
        result_bytes=result_bytes(chosen, errors, stratify, len(sizes)),
        memory=limit,
        batch_size=batch_size,
        device=network.device.type,
        iterable=feed.samples.iterable,
        identities=feed.transformations.identities,
        stratify=stratify,
        strata=sizes,
        reads_labels=reads_labels,
        actions=actions,
        left_out=reasons,
        memory_format=order,
        autocast=autocast,
        kept_bytes=feed.on_device.kept_bytes(images) if len(images) else 0,
    )
    arguments = {
        "layers": layers,
        "activations": activations,
        "layout": layout,
        "preprocess": preprocess,
        "call": call,
        "input": input,
        "action": action,
        "stratify": stratify,
        "n_samples": n_samples,
        "batch_size": batch_size,
        "memory": memory,
        "memory_format": memory_format,
        "autocast": autocast,
    }
    usual = (None, "unit", "auto")
    given = {name: _spelled(value) for name, value in arguments.items() if value not in usual}
    if plan is not None:
        ready = check(plan, problem)
    else:
        ready = planned(problem, network, feed) if memory_format == "auto" else choose(problem)
    if feed.reads_each_tile:
        ready = ready.reading_each_tile()
    left_out = {name: why for name, why in reasons.items() if why}
    return Job(
        network, feed, chosen, problem.kinds, strata, ready, given, actions, left_out, errors
    )


def _actions(
    wanted: Wanted,
    network: Network,
    feed: Feed,
    functions: Mapping[str, Said],
    everything: bool,
) -> tuple[dict[str, Actions | str], str | None]:
    """How the transformations act on each layer's outputs, and why they cannot be taken back.

    Nothing where no statistic asks. Where everything is asked for that can be had, a
    transformation without an inverse is a reason and no error.
    """
    if not wanted.moves:
        if functions:
            raise ArgumentError(
                "action= says how outputs move, and no measure asks; ask for VSE, DSE or SSE, or "
                "leave it out"
            )
        return {}, None
    no_inverse = None
    if wanted.inverts:
        try:
            check_inverses(feed.on_device, feed.images(2))
        except TransformationError as error:
            if not everything:
                raise
            no_inverse = str(error)
    item = feed.images(1).shape[1:]
    actions = actions_of_layers(
        feed.transformations, network.layers, item, functions, network.device
    )
    try_actions(actions, network.layers, back=wanted.inverts and no_inverse is None)
    return actions, no_inverse


def _spelled(value: Any) -> str:
    """An argument in a form that says the same in every process: functions by name."""
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_spelled(each)}" for key, each in value.items())
    return value if isinstance(value, str) else getattr(value, "__qualname__", None) or repr(value)


def network_of(
    model: Any, memory_format: MemoryFormat | Literal["auto"], **arguments: Any
) -> Network:
    """A network with the arguments of `Network`, if forwards can run as these say."""
    network = Network(model, **arguments)
    is_module = isinstance(model, nn.Module)
    forwards.check(memory_format, network.autocast, network.device, is_module)
    return network


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
    chosen = None if transformations is None else as_set(transformations)
    return Feed.of(found, chosen, network.device, network.dtype, input, preprocess, seed)


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
    elif call := next((call for call, f in _SETS.items() if f is given), None):
        advice = f"call it, {call}"
    elif callable(given) and not isinstance(given, type):
        advice = "give a list of several, such as the identity and this one, [lambda x: x, f]"
    elif isinstance(given, str):
        what += near(f"tm.{given}()", _SETS)
    raise ArgumentError(f"transformations is {what}; {advice}")


def probe(
    network: Network,
    feed: Feed,
    untransformed: str = "",
    memory_format: MemoryFormat = "preserve",
) -> Probe:
    """Try the transformations, then find the layers with two tiny batches.

    Args:
        network: The network.
        feed: Its inputs.
        untransformed: Measures for which untransformed inputs go through the network too.
        memory_format: The order of weights and inputs in memory.
    """
    feed.check(untransformed)
    with network.session(memory_format):
        return network.probe(feed.probe(2), feed.probe(3))


def _other_than_identities(wanted: Wanted, transformations: TransformationSet) -> None:
    firing = any(isinstance(kind, FiringKind) for kind in wanted.others)
    if firing and len(transformations.identities) == len(transformations):
        raise ArgumentError(
            "GF asks under which transformations a unit still fires, and there is the identity "
            "alone; give a set such as tm.rotations(16)"
        )
