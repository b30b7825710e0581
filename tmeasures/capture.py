"""Runs a network and hands over each of its outputs, named, the moment it exists."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tmeasures import footprint, forwards, hints, naming
from tmeasures.errors import ArgumentError, ModelError, TMeasuresError, warn
from tmeasures.forwards import Autocast, MemoryFormat
from tmeasures.hosts import Arrays, Host, Modules, Run
from tmeasures.naming import Call, Function, Key, Node, Result, Trace
from tmeasures.options import Activations, Layers, Layout, Options
from tmeasures.refusal import Shown, refusal
from tmeasures.selection import Layer, Selection, Site, select
from tmeasures.tile import Inputs, length

__all__ = ["Layer", "Network", "Probe", "Receive"]

Receive = Callable[[Layer, Tensor], None]

_POOLING_CHUNK = 1 << 20


@dataclass(frozen=True)
class Probe:
    """What a forward of n inputs needs: ``bytes_fixed + n * bytes_per_input``, inputs aside.

    A copy of the largest output that lies in memory with gaps is among it.
    """

    bytes_per_input: int
    bytes_fixed: int


class Network:
    """A model whose outputs can be received one by one, as they appear.

    A ``torch.nn.Module`` is watched by hooks on its modules. Any other object needs
    ``run(batch) -> Mapping[str, array]``, where batch is a numpy array (a dict of arrays for
    mappings); each array it returns is a layer, in the mapping's order.

    By default the layers are every leaf that computes, in forward order, and the network's own
    output, unless that is the very tensor of a layer. A leaf is a module during whose forward no
    module inside it is called. Identity, Flatten, Unflatten and Dropout, and leaves that return
    another layer's tensor as it is, are left out, unless named in full.

    Patterns are compared with the paths of modules, containers included, and with the names of
    single calls and results. A name without wildcards asks for exactly that layer.

    The dims of a layer are those of its type. Layers without a type (ReLU, containers, the output)
    take those of the last result of the same shape; or those of the last feature maps (channel and
    space) of the same sizes over space, as after a concatenation, unless they may be attention
    weights; or else ``d0``, ``d1``, ...

    Args:
        model: The network. Compiled and distributed wrappers are taken off, with a warning.
        layers: None, a pattern, a list of patterns, or a function of (name, module).
        activations: ``"unit"``; ``"pooled"``, the mean over space and time, in float64; or a
            mapping from patterns to functions of a module's output that return a tensor.
        layout: From patterns to the names of all dims but the batch.
        call: ``call(model, inputs)``; what it returns is the network's own output. By default
            ``model(inputs)``, or ``model(**inputs)`` for mappings.
        device: Where to run it; by default where it is.
        autocast: The precision that ``torch.autocast`` takes forwards down to; None: their own.

    Attributes:
        device: Where inputs must be.
        dtype: Of the first floating parameter or buffer; None if there is none.
        name: Class of the model.
        autocast: As given.
        layers: The layers in forward order, once probed.
        left_out: From the names of what was left out to the reasons, once probed.

    Raises:
        ArgumentError: The model or an argument cannot be used.

    Example:
        >>> network = Network(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()))
        >>> with network.session():
        ...     _ = network.probe(torch.zeros(2, 1, 8, 8), torch.zeros(3, 1, 8, 8))
        ...     network.forward(
        ...         torch.zeros(5, 1, 8, 8),
        ...         lambda layer, values: print(layer.name, layer.dims, tuple(values.shape)),
        ...     )
        0 ('channel', 'y', 'x') (5, 4, 6, 6)
        1 ('channel', 'y', 'x') (5, 4, 6, 6)
    """

    def __init__(
        self,
        model: Any,
        *,
        layers: Layers = None,
        activations: Activations = "unit",
        layout: Layout = None,
        call: Callable[[Any, Any], Any] | None = None,
        device: torch.device | str | None = None,
        autocast: Autocast | None = None,
    ) -> None:
        self._options = Options(layers, activations, layout)
        self._host: Host
        if isinstance(model, nn.Module):
            self._host = Modules(model, call, device, forwards.precision(autocast))
        elif callable(getattr(model, "run", None)) and not isinstance(model, type):
            self._host = Arrays(model, call, device)
        else:
            raise ArgumentError(f"model is {hints.called(model)}; {_model_advice(model)}")
        self.autocast = autocast
        self.device, self.dtype, self.name = self._host.device, self._host.dtype, self._host.name
        self.layers: list[Layer] = []
        self.left_out: dict[str, str] = {}
        self._selection: Selection | None = None
        self._seen: set[Key] = set()

    @property
    def fingerprint(self) -> str | None:
        """A hash of the weights, the same for equal weights on any device and in any process.

        BLAKE2b, 16 bytes in hex, of the names, dtypes, shapes and bytes of all parameters and
        persistent buffers, by name. Each call reads all of them, and copies one at a time at most.
        None if the model is no torch module, or a tensor has no plain bytes (meta, quantised).

        Example:
            >>> model = nn.Linear(2, 1)
            >>> before = Network(model).fingerprint
            >>> before == Network(model).fingerprint
            True
            >>> _ = nn.init.zeros_(model.weight)
            >>> before == Network(model).fingerprint
            False
        """
        return self._host.fingerprint()

    def session(self, memory_format: MemoryFormat = "preserve") -> AbstractContextManager[None]:
        """Hooks, the device and the order in memory, for as long as it is open; then given back.

        Evaluation mode, grad mode and random states are set for the length of each forward only: a
        generator may yield while a session is open, and two sessions may be open at once.
        """
        return self._host.session(memory_format)

    def convolves(self, inputs: Inputs) -> bool:
        """Whether the order in memory may make a difference: it convolves such inputs."""
        return self._host.convolves(inputs)

    def wait(self) -> None:
        """Until the device has done what it was given."""
        if self.device.type != "cpu":
            getattr(torch, self.device.type).synchronize()

    def probe(self, inputs2: Inputs, inputs3: Inputs) -> Probe:
        """Finds the layers, their shapes and batch axes from two forwards, inside a session.

        Args:
            inputs2: Two inputs, on the device.
            inputs3: Three inputs.

        Returns:
            The memory that a forward needs.

        Raises:
            ArgumentError: A pattern matches nothing, or a layout has the wrong length.
            ModelError: The network raised, which is then the cause; or a layer that was named, or
                every layer, cannot be measured.
            MemoryLimitError: Not even two or three inputs fit the memory.

        Warns:
            TMeasuresWarning: A normalisation uses the batch it is in; or the dims of layers that
                are to be pooled are not known.
        """
        two, moments2 = self._trace(inputs2)
        three, moments3 = self._trace(inputs3)
        self._selection = select(self._host.nodes, two, three, self._options)
        self._seen = set(two.calls) & set(three.calls)
        sites = self._selection.sites.values()
        self.layers = [site.layer for parts in sites for site in parts.values()]
        self.left_out = self._selection.left_out
        for path in dict.fromkeys(key[0] for key in self._seen):
            module = self._host.nodes[path].module if path in self._host.nodes else None
            if isinstance(module, _BatchNorm) and module.running_mean is None:
                warn(
                    f"layer {path or 'output'!r} has no running statistics, so that its values "
                    "depend on the other inputs in the batch; train it with "
                    "track_running_stats=True, or leave it out with layers="
                )
        _warn_of_unpooled(self._selection.unpooled)
        return self._needs(two, moments2, moments3)

    def needs(self, inputs2: Inputs, inputs3: Inputs) -> Probe:
        """What `probe` returns, where the layers are known: in a session in another order."""
        two, moments2 = self._trace(inputs2)
        return self._needs(two, moments2, self._trace(inputs3)[1])

    def _needs(
        self, two: Trace, moments2: Sequence[int] | None, moments3: Sequence[int] | None
    ) -> Probe:
        results = [result for call in two.calls.values() for result in call.results.values()]
        largest = max((result.nbytes // 2 for result in results), default=0)
        copied = self._host.copied
        if moments2 is None or moments3 is None:
            return Probe(sum(result.nbytes // 2 for result in results), copied)
        slope, fixed = footprint.growth(moments2, moments3)
        return Probe(max(slope, largest) + self._gathered(two), fixed + copied)

    def _gathered(self, two: Trace) -> int:
        """Bytes for each input of the largest output that kernels copy for its gaps in memory."""
        assert self._selection is not None, "probe first"
        sizes = [
            result.nbytes // 2
            for key, sites in self._selection.sites.items()
            for suffix, site in sites.items()
            # Pooled ones are new, and half precision is widened before, which closes gaps.
            if not (site.space or (result := two.calls[key].given(suffix)).filled)
            and result.dtype.itemsize > 2
        ]
        return max(sizes, default=0)

    def forward(self, inputs: Inputs, receive: Receive) -> None:
        """Runs the network; each layer's values are handed over before the next operation.

        Args:
            inputs: On the device, in the network's dtype.
            receive: Called with a layer and its values, ``(batch, *layer.shape)``: a view of what
                the module returned, valid until the call returns.

        Raises:
            ModelError: A call, shape or dtype is not as in the probe.
        """
        assert self._selection is not None, "probe first"
        run = _Measurement(self._selection, self._seen, length(inputs), receive)
        self._host.execute(inputs, run)
        run.finish()

    def _trace(self, inputs: Inputs) -> tuple[Trace, list[int] | None]:
        """One probe, and the bytes alive after each operation, where they can be counted."""
        if isinstance(self._host, Modules):
            run = _Tracing(self._host.nodes, self._options)
            try:
                return run.trace, footprint.timeline(lambda: self._host.execute(inputs, run))
            except Exception:  # The dispatch mode may be what failed; if not, it fails again.
                pass
        run = _Tracing(self._host.nodes, self._options)
        what = f"a forward pass of {length(inputs)} inputs"
        try:
            with hints.within_memory(what, "give smaller ones, or a device= with more memory"):
                self._host.execute(inputs, run)
        except TMeasuresError:
            raise
        except Exception as error:
            raise self._refusal(inputs, run, error) from error
        return run.trace, None

    def _refusal(self, inputs: Inputs, run: _Tracing, error: Exception) -> ModelError:
        path = run.stopped()
        node = self._host.nodes.get(path)
        module = node.module if node else None
        where = run.where(type(module).__name__ if module else self.name)
        return refusal(where, module, run.given.get(path), inputs, error)


class _Tracing(Run):
    """Notes what was called and what it returned, and keeps none of it."""

    def __init__(self, nodes: Mapping[str, Node], options: Options) -> None:
        super().__init__()
        self.trace = Trace({}, set())
        self._nodes = nodes
        self._options = options
        self._tensors: dict[int, tuple[weakref.ref[Tensor], int, tuple[Key, str]]] = {}
        self.given: dict[str, Shown] = {}

    def begin(self, path: str, given: Sequence[object] = ()) -> None:
        callers = {caller for caller, _ in self.running if path in self._nodes[caller].inside}
        self.trace.parents.update(callers)
        if given and isinstance(given[0], Tensor):
            self.given[path] = tuple(given[0].shape), given[0].dtype
        super().begin(path, given)

    def returned(self, key: Key, output: object) -> None:
        found = {
            suffix: Result.of(tensor, self._source(tensor, (key, suffix)))
            for suffix, tensor in naming.results(output)
        }
        part: Result | Exception | None = None
        function = self._options.function(key, self._nodes.get(key[0]))
        if function:
            try:
                part = Result.of(_apply(function, output, key))
            except Exception as error:  # Raised later, if the layer is wanted at all.
                part = error
        self.trace.calls[key] = Call(found, part)

    def _source(self, tensor: Tensor, here: tuple[Key, str]) -> tuple[Key, str] | None:
        if tensor.is_inference():
            return None  # It has no version to tell whether it was modified.
        reference, version, source = self._tensors.get(id(tensor), (None, -1, here))
        if reference and reference() is tensor and version == tensor._version:
            return source
        self._tensors[id(tensor)] = weakref.ref(tensor), tensor._version, here
        return None


class _Measurement(Run):
    """Hands over the layers' values, as the probe saw them or not at all."""

    def __init__(self, selection: Selection, seen: set[Key], n: int, receive: Receive) -> None:
        super().__init__()
        self._selection = selection
        self._seen = seen
        self._n = n
        self._receive = receive
        self._missing = dict.fromkeys(selection.sites)

    def returned(self, key: Key, output: object) -> None:
        sites = self._selection.sites.get(key)
        if sites is None:
            if key not in self._seen and key[0] in self._selection.watched:
                raise _unlike(naming.call_name(key), "was called", "no such call")
            return
        del self._missing[key]
        function = self._selection.functions.get(key)
        found = {"": _apply(function, output, key)} if function else dict(naming.results(output))
        for suffix, site in sites.items():
            self._receive(site.layer, _pooled(self._values(site, found.get(suffix)), site))

    def finish(self) -> None:
        """Checks that no layer is missing."""
        for key in self._missing:
            site = next(iter(self._selection.sites[key].values()))
            raise _unlike(site.layer.name, "was not called", "a call")

    def _values(self, site: Site, tensor: Tensor | None) -> Tensor:
        expected = (*site.shape[: site.axis], self._n, *site.shape[site.axis :])
        if tensor is None:
            raise _unlike(site.layer.name, "returned nothing", f"a tensor of shape {expected}")
        if tensor.shape != expected or tensor.dtype != site.dtype:
            raise _unlike(
                site.layer.name,
                f"returned {tensor.dtype} of shape {tuple(tensor.shape)}",
                f"{site.dtype} of shape {expected} for {self._n} inputs",
            )
        values = tensor.detach()  # the model may have turned gradients on
        return values.movedim(site.axis, 0) if site.axis else values


def _model_advice(model: Any) -> str:
    """What to give in place of something that is no model."""
    if isinstance(model, type):
        return f"give an object of it, such as {model.__name__}(...)"
    if isinstance(model, str | os.PathLike):
        return (
            "build the network and give it the weights, say "
            f"network.load_state_dict(torch.load({str(model)!r}, weights_only=True))"
        )
    if isinstance(model, Mapping):
        return "build the network and give it these weights by network.load_state_dict"
    expected = "expected a torch.nn.Module, or an object with run(batch) that returns {name: array}"
    return expected + ("; put the function in such a run" if callable(model) else "; give one")


def _warn_of_unpooled(layers: Sequence[Layer]) -> None:
    if not layers:
        return
    names = ", ".join([layer.name for layer in layers[:3]] + ["..."] * (len(layers) > 3))
    dims = ", ".join(max(layers, key=lambda layer: len(layer.dims)).dims)
    what = "1 layer as it is" if len(layers) == 1 else f"{len(layers)} layers as they are"
    warn(
        f"activations='pooled' leaves {what} ({names}), whose dims {dims} are not space; "
        f"name {'it' if len(layers) == 1 else 'them'} by layout="
    )


def _unlike(name: str, found: str, expected: str) -> ModelError:
    return ModelError(
        f"layer {name!r} {found}, and the probe leads to expect {expected}; make all inputs run "
        "the same layers with the same shapes and dtypes, or leave it out with layers="
    )


def _apply(function: Function, output: object, key: Key) -> Tensor:
    value = function(output)
    if not isinstance(value, Tensor):
        raise ArgumentError(
            f"activations= made a {type(value).__name__} of the output of {key[0] or 'output'!r}; "
            "return a tensor"
        )
    return value


def _pooled(values: Tensor, site: Site) -> Tensor:
    """The mean over space, in chunks: torch copies what it sums in another dtype."""
    if not site.space:
        return values
    wide = torch.float32 if values.device.type == "mps" else torch.float64
    rows = max(1, _POOLING_CHUNK // max(1, values[0].numel()))
    means = [chunk.mean(site.space, dtype=wide) for chunk in torch.split(values, rows)]
    return torch.cat(means).to(site.layer.dtype)
