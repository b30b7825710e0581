"""Measure a network: the only module that sees all rooms."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from tmeasures import engine
from tmeasures.acting import Action
from tmeasures.capture import Layer, Network
from tmeasures.demands import enough
from tmeasures.engine import Run
from tmeasures.errors import ArgumentError, warn
from tmeasures.fields import NOT_FINITE
from tmeasures.finishing import Outcome
from tmeasures.forwards import Autocast, MemoryFormat
from tmeasures.hints import near, whole
from tmeasures.job import DEFAULT_MEASURES, feed_for, network_of, prepare, probe
from tmeasures.measures import Measure
from tmeasures.plan import Pass, Plan
from tmeasures.planning import tile_shape
from tmeasures.progress import bar
from tmeasures.recording import result_of
from tmeasures.rehearsal import seconds_of
from tmeasures.statistics import Order
from tmeasures.strata import How
from tmeasures.tile import Tile
from tmeasures.transformations import TransformationSet
from tmeasures.watching import consume, logger

if TYPE_CHECKING:
    import xarray as xr


def measure(
    model: Any,
    samples: Any,
    transformations: TransformationSet | Iterable[Callable[..., Any]] | None = None,
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
    progress: bool = True,
    plan: Plan | None = None,
) -> xr.DataTree:
    """Measure how every activation of a network reacts to transformations of its input.

    Each sample is read, transformed on the device (by callables of items as it is read) and sent
    through the network; every activation is folded into running sums inside the network's hooks, so
    that the samples x transformations cube of activations is never stored.

    Args:
        model: A ``torch.nn.Module``, or any object with ``run(batch) -> Mapping[str, array]``.
        samples: A tensor, an array, a mapping of such, a data set of x, (x, y) or mappings, or a
            DataLoader, whose data set, collate function and workers are used. uint8 images become
            float32 / 255. Without labels in the items, see ``labels``.
        transformations: A set such as ``tm.rotations(16)``, a product ``a * b`` (a, then b), a
            list of callables on batches, or None for the identity alone.
        measures: Short names or objects such as ``tm.NormalizedVariance(spread="std")``; ``"all"``
            for every one of the library.
        layers: None for every leaf that computes and the output; a pattern such as ``"conv*"``, a
            list of patterns (containers match too), or a function of name and module.
        activations: ``"unit"``; ``"pooled"``, the mean over space first; or ``{pattern:
            f(output)}``, a part of an output or another shape of it, batch axis included.
        layout: ``{pattern: ("y", "x", "channel")}`` where dims are not those of the module's type.
        preprocess: Applied to a batch after the transformation, on the device.
        call: ``f(model, inputs)``; by default ``model(inputs)``, or ``model(**inputs)`` for
            mappings.
        input: Key of the tensor that is transformed, where items are mappings with several images.
        labels: One for each sample of the data set, or the key of mapping items that holds them.
        stratify: ``"mean"``: every measure within each class of the labels, and its mean over the
            classes; ``"each"``: those of each class too.
        errors: Whether to give standard errors too, ``TV_se`` and the like.
        action: ``{pattern: f}``: how layers' outputs are declared to move, for same-equivariance,
            in place of the plain warp. ``f(outputs, transformation)`` moves ``(batch, *unit)`` as
            the transformation does, and is given its inverse to take them back; maps it gets as
            ``(batch, channel, y, x)``, also where ``layout=`` says another order. A number in place
            of f: the stride of the map, where its size does not tell.
        n_samples: Take the first so many of the seeded order.
        batch_size: Inputs in a tile; None lets the plan choose.
        memory: What state and tile may take, in bytes or as ``"4GiB"``; None: half of what is free.
        device: Where to run; None: where the model is. The model is moved back.
        memory_format: ``"channels_last"``: weights and inputs of 4 dims (and of 5) have their
            channels last in memory, which makes some convolutional networks faster; ``"preserve"``:
            all lies as it comes; ``"auto"``: the faster one in a trial, which at most 2 % of the
            inputs go through, and which a run of under 2,400 inputs does without. The weights get
            their memory back. The two differ by rounding: a plan keeps the choice.
        autocast: ``"bfloat16"``, or on CUDA ``"float16"``: forwards run under ``torch.autocast``.
            They may be much faster, and activations then have the 8 bits (float16: 11) of such
            numbers; sums of them stay float64. None: in the network's own precision.
        seed: Of the order of the samples, and of random transformations.
        progress: Whether to show a bar with pass, tile, inputs per second and time left, in
            terminals and notebooks. What else happens is told to the logger ``tmeasures``.
        plan: One that `explain` gave for the same arguments, in place of a new one.

    Returns:
        An ``xarray.DataTree`` with ``/layers/<name>``, a variable in it for each measure, over the
        layer's own dims; ``/summary``, ``/transformations``, ``/samples``; attributes at the root.

    Raises:
        TMeasuresError: In one sentence, before the first forward pass where it can be known.
        KeyboardInterrupt: Ctrl-C; during the passes with a note on what is lost. The model is as it
            was, here and after every other error.

    Warns:
        TMeasuresWarning: Activations were NaN or infinite; a wrapper was taken off the model.

    Note:
        Cost: a forward pass for each sample and transformation (more than one where the plan says
        so), and on two CPU cores about 0.3 ns for each activation; all measures of invariance
        together take 1.5 to 1.9 times the bare forward pass, with those of same-equivariance 2.6 to
        3.3 times.
        State, float32 networks: 12 bytes for each activation and transformation, and 28 more, for
        variances; each measure's page says what it adds.

    Example:
        >>> import torch, tmeasures as tm
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU())
        >>> tree = tm.measure(network, torch.rand(20, 1, 9, 9), tm.rotations(4), measures="NV")
        >>> tree["layers/1/NV"].dims
        ('channel', 'y', 'x')
    """
    started = time.perf_counter()
    job = prepare(
        model,
        samples,
        transformations,
        measures=measures,
        layers=layers,
        activations=activations,
        layout=layout,
        preprocess=preprocess,
        call=call,
        input=input,
        labels=labels,
        stratify=stratify,
        errors=errors,
        action=action,
        n_samples=n_samples,
        batch_size=batch_size,
        memory=memory,
        device=device,
        memory_format=memory_format,
        autocast=autocast,
        seed=seed,
        plan=plan,
    )
    logger.info("the plan\n%s", job.plan)
    for name, why in job.network.left_out.items():
        logger.info("layer %r is left out: %s", name, why)
    run = Run(*job.given)
    shown = bar(job.network.name, "inputs", wanted=progress, total=job.plan.inputs)
    with closing(run.steps()) as steps, shown:
        ids, found_labels = consume(steps, job.plan, shown)
    enough(job.measures, len(ids), job.plan.m, job.plan.strata)
    _warn_not_finite(run.outcomes)
    return result_of(job, run, ids, found_labels, started)


def explain(
    model: Any,
    samples: Any,
    transformations: TransformationSet | Iterable[Callable[..., Any]] | None = None,
    *,
    trial: bool = False,
    **arguments: Any,
) -> Plan:
    """Say how `measure` would go, with the same arguments: passes, order, tile, bytes, and why.

    Runs two tiny batches to see the layers, for ``memory_format="auto"`` the trial that `measure`
    runs too, and then only thinks; with ``stratify``, where labels are in the items of a data set,
    these are read once.

    Args:
        model: The network.
        samples: What would be read.
        transformations: What would be applied.
        trial: Whether to run a few tiles too, for ``plan.seconds``: what `measure` takes with this
            plan, kernels being compiled. Within a factor of 1.5 on a quiet machine. It costs 5
            tiles of each pass (9 where a row takes several; of each stratum), once more the first
            of them, all of the state, and a result that is thrown away.
        arguments: The others of `measure`.

    Returns:
        A `Plan`, which prints readably, and which ``measure(..., plan=plan)`` takes.

    Raises:
        TMeasuresError: As `measure` does before it runs; a trial of an iterable data set, which
            serves one reading.

    Example:
        >>> import torch, tmeasures as tm
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU())
        >>> plan = tm.explain(network, torch.rand(20, 1, 9, 9), tm.rotations(16), measures=["NV"])
        >>> plan.passes[0].order, plan.inputs
        ('sample', 320)
    """
    _known("explain", arguments, measure.__kwdefaults__ or {})
    arguments.pop("progress", None)
    job = prepare(model, samples, transformations, **arguments)
    if not trial:
        return job.plan
    if job.feed.samples.iterable:
        raise ArgumentError(
            "trial=True for an iterable data set, which serves one reading; leave it out, or give "
            "a data set with an index"
        )
    planned = {"plan": job.plan, "measures": job.measures, "batch_size": None, "memory": None}
    arguments |= planned | {"memory_format": "auto"}
    seconds = seconds_of(lambda: prepare(model, samples, transformations, **arguments))
    return replace(job.plan, seconds=seconds)


def walk(
    model: Any,
    samples: Any,
    transformations: TransformationSet | Iterable[Callable[..., Any]] | None = None,
    *,
    order: Order = "sample",
    layers: Any = None,
    activations: Any = "unit",
    layout: Any = None,
    preprocess: Callable[[Any], Any] | None = None,
    call: Callable[[Any, Any], Any] | None = None,
    input: str | None = None,
    labels: Any = None,
    n_samples: int | None = None,
    batch_size: int = 256,
    device: torch.device | str | None = None,
    memory_format: MemoryFormat = "preserve",
    autocast: Autocast | None = None,
    seed: int = 0,
) -> Iterator[Tile[dict[str, Tensor]]]:
    """Walk the samples x transformations matrix of activations, a tile at a time.

    The arguments are those of `measure`. The network is under hooks until the iterator ends or is
    closed, and in evaluation mode only while it runs.

    Args:
        model: The network.
        samples: What is read.
        transformations: What is applied.
        order: ``"sample"``: all transformations of some samples, then the next samples; each sample
            is read once. ``"transformation"``: all samples under some transformations, then the
            next transformations.
        layers: Which layers.
        activations: What of them.
        layout: Names of their dims.
        preprocess: Applied to a batch after the transformation.
        call: How the model is called.
        input: Key of the tensor that is transformed.
        labels: Of the samples.
        n_samples: Take so many.
        batch_size: Inputs in a tile, at most.
        device: Where to run.
        memory_format: ``"preserve"`` or ``"channels_last"``: how weights and images lie in memory,
            and so the values. There is no ``"auto"``: a walk makes no plan that would say which.
        autocast: ``"bfloat16"``, ``"float16"`` or None: the precision of the forwards; the values
            have the dtype that a layer then returns.
        seed: Of the order of the samples, and of random transformations.

    Raises:
        TMeasuresError: As `measure` does before it runs; an iterable data set would be read twice.

    Yields:
        A `Tile` in which ``values[layer]`` is ``(sample, transformation, *unit)``, a copy;
        ``samples`` and ``transformations`` are ranges, ``ids`` says where each sample stands in the
        data set.

    Example:
        >>> import torch, tmeasures as tm
        >>> images = torch.rand(5, 1, 8, 8)
        >>> for tile in tm.walk(torch.nn.Flatten(), images, tm.rotations(4), batch_size=12):
        ...     print(tile.samples, tile.transformations, tuple(tile.values["output"].shape))
        range(0, 3) range(0, 4) (3, 4, 64)
        range(3, 5) range(0, 4) (2, 4, 64)
    """
    if order not in ("sample", "transformation"):
        raise ArgumentError(f"order={order!r} is unknown: give 'sample' or 'transformation'")
    if str(memory_format) == "auto":
        raise ArgumentError(
            "memory_format is 'auto', which takes a plan, and a walk has none; give 'preserve' or "
            "'channels_last', such as tm.explain(...).memory_format"
        )
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
    feed = feed_for(network, samples, transformations, preprocess, input, labels, n_samples, seed)
    probe(network, feed, memory_format=memory_format)
    m = len(feed.transformations)
    s, t = tile_shape(whole("batch_size", batch_size), feed.samples.n, m)
    if feed.samples.iterable and order == "transformation" and t < m:
        raise ArgumentError(
            f"order='transformation' reads the samples {-(-m // t)} times, and an iterable data "
            f"set serves one reading; walk sample-first, or give a data set with an index"
        )
    return engine.walk(network, feed, Pass(order, (), s, t, m), memory_format)


def layers(model: Any, samples: Any, **arguments: Any) -> list[Layer]:
    """The layers that `measure` would measure, in forward order: names, shapes, dims, dtypes.

    Args:
        model: The network.
        samples: At most three are read.
        arguments: Those of `measure` that say what is measured and how the model is called;
            ``autocast`` among them, which changes dtypes.

    Returns:
        The layers; see `Layer`.

    Raises:
        TMeasuresError: As `measure` does before it runs.

    Example:
        >>> import torch, tmeasures as tm
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU())
        >>> [(layer.name, layer.shape) for layer in tm.layers(network, torch.rand(1, 1, 9, 9))]
        [('0', (4, 7, 7)), ('1', (4, 7, 7))]
    """
    return probed(model, samples, **arguments).layers


def probed(model: Any, samples: Any, **arguments: Any) -> Network:
    """The network that `layers` lists, which also knows what is left out and why."""
    keys = ("layers", "activations", "layout", "call", "device", "autocast")
    given = {key: arguments.pop(key) for key in keys if key in arguments}
    network = network_of(model, "preserve", **given)
    rest = {"preprocess": None, "input": None, "labels": None, "n_samples": None, "seed": 0}
    _known("layers", arguments, [*keys, *rest])
    probe(network, feed_for(network, samples, None, **{**rest, **arguments}))
    return network


def _known(function: str, arguments: Iterable[str], names: Iterable[str]) -> None:
    for name in arguments:
        if name not in names:
            raise ArgumentError(
                f"{function}() takes no argument {name!r}{near(name, names)}; leave it out"
            )


def _warn_not_finite(outcomes: Iterable[Outcome]) -> None:
    counts = {
        outcome.layer.name: int(((outcome.status & NOT_FINITE) != 0).sum()) for outcome in outcomes
    }
    counts = {name: count for name, count in counts.items() if count}
    if not counts:
        return
    first, count = next(iter(counts.items()))
    others = f" (and of {len(counts) - 1} more)" if len(counts) > 1 else ""
    warn(
        f"{count} of the activations of layer {first!r}{others} were NaN, infinite or too large to "
        f"square for some input; check inputs and weights for NaN: all measures of these are "
        f"NaN, and tm.summary counts them"
    )
