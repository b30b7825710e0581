"""Runs a model once, call by call: a tree of torch modules under hooks, or an object with run()."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils.dlpack import from_dlpack

from tmeasures import forwards, naming
from tmeasures.errors import ArgumentError, ModelError, TMeasuresError, warn
from tmeasures.forwards import MemoryFormat
from tmeasures.hints import called, within_memory
from tmeasures.naming import OUTPUT, Key, Node
from tmeasures.tile import Inputs


class Run(ABC):
    """One forward: which module is running; subclasses say what to do with what each returns."""

    def __init__(self) -> None:
        self.running: list[Key] = []
        self._counts: Counter[str] = Counter()
        self.ended = ""

    def begin(self, path: str, given: Sequence[object] = ()) -> None:
        """A module is called with these positional arguments."""
        self.running.append((path, self._counts[path]))
        self._counts[path] += 1

    def end(self, path: str, output: object) -> None:
        """A module returns; those still running inside it raised, and it went on without them."""
        while self.running[-1][0] != path:
            self.running.pop()
        if path:
            self.returned(self.running[-1], output)
            self.ended = path
        self.running.pop()

    @abstractmethod
    def returned(self, key: Key, output: object) -> None:
        """Receives what a call returned; the network itself comes last, as `naming.OUTPUT`."""

    def stopped(self) -> str:
        """The path of the innermost module that was running when the forward stopped."""
        return self.running[-1][0] if self.running else ""

    def where(self, kind: str = "") -> str:
        """Where the forward stopped; ``kind`` is the class of the module that was running."""
        kind = f" ({kind})" if kind else ""
        if path := self.stopped():
            return f"layer {path!r}{kind}"
        return f"the network{kind}" + (f", after layer {self.ended!r}," if self.ended else "")


class Host(Protocol):
    """A model that can be run, and its modules if it has any.

    ``copied`` are the bytes of weights that the open session holds beside the model's.
    """

    copied: int
    device: torch.device
    dtype: torch.dtype | None
    name: str
    nodes: dict[str, Node]

    def session(self, memory_format: MemoryFormat = "preserve") -> AbstractContextManager[None]:
        """Makes the model ready for as long as it is open."""

    def convolves(self, inputs: Inputs) -> bool:
        """Whether the order of images in memory may make a difference."""

    def execute(self, inputs: Inputs, run: Run) -> None:
        """Runs the model once."""

    def fingerprint(self) -> str | None:
        """A hash of the weights, or None."""


class Modules:
    """A torch module. Everything a session changes is given back when it closes.

    Args:
        model: The module.
        call: ``call(model, inputs)``, or None.
        device: Where to run it, or None.
        autocast: The dtype that its forwards are taken down to, or None.

    Raises:
        ArgumentError: The module takes no hooks, or has no weights yet, or is on several devices.

    Warns:
        TMeasuresWarning: A wrapper was taken off.
    """

    def __init__(
        self,
        model: nn.Module,
        call: Callable[[Any, Any], Any] | None,
        device: torch.device | str | None,
        autocast: torch.dtype | None = None,
    ) -> None:
        self._model = _unwrapped(model)
        self._call = call or _call
        self._target = None if device is None else _available(device)
        _check(self._model, self._target)
        self.nodes = naming.nodes(self._model)
        self.name = type(self._model).__name__
        tensors = _tensors(self._model)
        self.device = self._target or (tensors[0].device if tensors else torch.device("cpu"))
        self.dtype = next((t.dtype for t in tensors if t.is_floating_point()), None)
        self._autocast = autocast
        self._channels_last, self.copied = False, 0
        self._run: Run | None = None
        self._random: list[Tensor] | None = None

    @contextmanager
    def session(self, memory_format: MemoryFormat = "preserve") -> Iterator[None]:
        """Hooks, no compiled code, the device, and the order of weights and inputs in memory."""
        self._random = None
        with ExitStack() as stack:
            origin = next((tensor.device for tensor in _tensors(self._model)), self.device)
            if origin != self.device:
                stack.callback(self._model.to, origin)
                with within_memory(f"the network on {self.device}", "give another device="):
                    self._model.to(self.device)
            if memory_format == "channels_last":
                what, advice = "the weights, channels last", "give memory_format='preserve'"
                with within_memory(what, advice):
                    copied = stack.enter_context(forwards.channels_last(self._model))
                stack.callback(self._lay_out, self._channels_last, self.copied)
                self._lay_out(True, copied)
            modules = list(self._model.modules())
            for module in modules:
                if naming.is_compiled(module):
                    stack.callback(setattr, module, "forward", module.forward)
                    module.forward = module.get_submodule("_orig_mod").__call__
                elif module._compiled_call_impl is not None:
                    compiled = module._compiled_call_impl
                    stack.callback(setattr, module, "_compiled_call_impl", compiled)
                    module._compiled_call_impl = None
            for path, node in self.nodes.items():
                before = node.module.register_forward_pre_hook(partial(self._begin, path))
                stack.callback(before.remove)
                after = node.module.register_forward_hook(partial(self._end, path))
                stack.callback(after.remove)
            yield

    def execute(self, inputs: Inputs, run: Run) -> None:
        """Runs the model once, without gradients.

        Not in inference mode: buffers that the model caches could not be used for training.
        """
        self._run = run
        try:
            with self._randomness(), self._evaluation(), torch.no_grad():
                given = forwards.laid_out(inputs) if self._channels_last else inputs
                with self._precision(lower=True):
                    output = self._call(self._model, given)
                run.returned(OUTPUT, output)
        except Exception as error:
            if not isinstance(error, TMeasuresError):
                error.add_note(f"raised in {run.where().rstrip(',')}")
            raise
        finally:
            self._run = None

    def convolves(self, inputs: Inputs) -> bool:
        """Whether the order of images in memory may make a difference."""
        return forwards.convolves(self._model, inputs)

    def fingerprint(self) -> str | None:
        """A hash of the weights, or None if their bytes cannot be had."""
        digest = hashlib.blake2b(digest_size=16)
        try:
            state = {naming.uncompiled(n): v for n, v in self._model.state_dict().items()}
            for name, tensor in sorted(state.items()):
                if not name.endswith("_extra_state"):  # Anything at all, and no weight.
                    digest.update(repr((name, tensor.dtype, tuple(tensor.shape))).encode())
                    digest.update(_bytes(tensor))
        except (AttributeError, RuntimeError, TypeError, ValueError):
            return None
        return digest.hexdigest()

    def _begin(self, path: str, module: nn.Module, args: tuple[object, ...]) -> None:
        if self._run:
            self._run.begin(path, args)

    def _end(self, path: str, module: nn.Module, args: object, output: object) -> None:
        if self._run:
            with self._precision(lower=False):
                self._run.end(path, output)

    def _lay_out(self, channels_last: bool, copied: int) -> None:
        self._channels_last, self.copied = channels_last, copied

    def _precision(self, *, lower: bool) -> AbstractContextManager[object]:
        """The network's forward runs in lower precision, and nothing that reads its outputs."""
        if self._autocast is None:
            return nullcontext()
        return torch.autocast(self.device.type, self._autocast, enabled=lower)

    @contextmanager
    def _evaluation(self) -> Iterator[None]:
        """Not model.eval(): some models override it, to merge weights for example."""
        training = [module for module in self._model.modules() if module.training]
        for module in training:
            module.training = False
        try:
            yield
        finally:
            for module in training:
                module.training = True

    @contextmanager
    def _randomness(self) -> Iterator[None]:
        """The model's own stream, which starts from the caller's at the first forward."""
        caller = _random_states(self.device)
        if self._random is not None:
            _set_random_states(self.device, self._random)
        try:
            yield
        finally:
            self._random = _random_states(self.device)
            _set_random_states(self.device, caller)


class Arrays:
    """An object with ``run(batch) -> Mapping[str, array]``: numpy in, each array out a layer.

    Args:
        model: The object.
        call: ``call(model, batch)``, or None.
        device: None or the CPU.

    Raises:
        ArgumentError: Another device.
    """

    def __init__(
        self,
        model: Any,
        call: Callable[[Any, Any], Any] | None,
        device: torch.device | str | None,
    ) -> None:
        self.device = _available(device or "cpu")
        if self.device.type != "cpu":
            raise ArgumentError(
                f"device={str(device)!r} for a model that is not a torch.nn.Module; leave it out: "
                "the model gets numpy arrays"
            )
        self.dtype: torch.dtype | None = None
        self.name, self.copied = type(model).__name__, 0
        self.nodes: dict[str, Node] = {}
        self._model = model
        self._call = call or (lambda model, batch: model.run(batch))

    def session(self, memory_format: MemoryFormat = "preserve") -> AbstractContextManager[None]:
        """Nothing to prepare."""
        return nullcontext()

    def convolves(self, inputs: Inputs) -> bool:
        """Not that anybody knew."""
        return False

    def fingerprint(self) -> None:
        """Nobody knows where the weights are."""

    def execute(self, inputs: Inputs, run: Run) -> None:
        """Runs the model once."""
        batch = (
            inputs.numpy(force=True)
            if isinstance(inputs, Tensor)
            else {
                name: value.numpy(force=True) if isinstance(value, Tensor) else value
                for name, value in inputs.items()
            }
        )
        arrays = self._call(self._model, batch)
        if not isinstance(arrays, Mapping):
            raise ModelError(
                f"{self.name}.run returned {called(arrays)}; expected a mapping from names to "
                "arrays: return {'output': array}"
            )
        for name, array in arrays.items():
            if array is not None:
                run.begin(str(name))
                run.end(str(name), _tensor(str(name), array))


def _unwrapped(model: nn.Module) -> nn.Module:
    """The module inside compiled and distributed wrappers."""
    while True:
        if naming.is_compiled(model):
            wrapper, inner = "torch.compile", model.get_submodule("_orig_mod")
        elif isinstance(model, nn.parallel.DistributedDataParallel):
            wrapper, inner = "DistributedDataParallel", model.module
        elif isinstance(model, nn.DataParallel):
            raise ArgumentError(
                "model is a DataParallel, which runs copies that cannot be watched; pass "
                "model.module instead"
            )
        else:
            return model
        warn(
            f"model is wrapped in {wrapper}, and the {type(inner).__name__} inside is measured; "
            "pass that one to silence this"
        )
        model = inner


def _tensors(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]


def _bytes(tensor: Tensor) -> memoryview:
    """The bytes of a tensor in the order of its indices, copied only where they lie otherwise."""
    if tensor.is_quantized:
        raise TypeError("the bytes alone do not tell the values")
    plain = tensor.detach().to("cpu", memory_format=torch.contiguous_format)
    return plain.reshape(-1).view(torch.uint8).numpy().data


def _check(model: nn.Module, target: torch.device | None) -> None:
    for path, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise ArgumentError(
                f"module {path or type(module).__name__!r} is a ScriptModule, which takes no "
                "hooks; pass the module it was scripted from"
            )
        if any(is_lazy(parameter) for parameter in module._parameters.values()):
            raise ArgumentError(
                f"module {path or type(module).__name__!r} is lazy and has no weights yet; run the "
                "model on one batch first"
            )
    devices = {str(tensor.device) for tensor in _tensors(model)}
    if target is not None and len(devices) > 1:
        raise ArgumentError(
            f"device={str(target)!r} for a model that is on {', '.join(sorted(devices))}; leave "
            "device= out, or move the model to one device"
        )


def _call(model: nn.Module, inputs: Inputs) -> Any:
    return model(**inputs) if isinstance(inputs, dict) else model(inputs)


def _available(device: torch.device | str) -> torch.device:
    """A device that this torch can run on, or an error that says what there is."""
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        there = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        there += ["mps"] * torch.backends.mps.is_available()
        raise ArgumentError(
            f"device={str(device)!r} is none that can be used here ({', '.join(['cpu', *there])}); "
            "name one of these, or leave device= out to run where the model is"
        ) from error
    return found


def _random_states(device: torch.device) -> list[Tensor]:
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    return states


def _set_random_states(device: torch.device, states: list[Tensor]) -> None:
    torch.set_rng_state(states[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1], device)


def _tensor(name: str, array: Any) -> Tensor:
    if isinstance(array, Tensor):
        return array
    if hasattr(array, "__dlpack__") and not isinstance(array, np.ndarray):
        return from_dlpack(array)
    values = np.asarray(array)
    if not values.flags.writeable or any(stride < 0 for stride in values.strides):
        values = values.copy()
    try:
        return torch.from_numpy(values)
    except TypeError as error:
        raise ModelError(
            f"layer {name!r} is an array of dtype {values.dtype}, which torch lacks; return "
            "floating numbers"
        ) from error
