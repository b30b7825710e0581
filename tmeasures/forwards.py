"""How forwards run: in which order images lie in memory, and in which precision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from tmeasures.errors import ArgumentError
from tmeasures.hints import called, near
from tmeasures.tile import Inputs

MemoryFormat = Literal["preserve", "channels_last"]
"""Whether weights and inputs lie as they come, or with their channels last."""

Autocast = Literal["bfloat16", "float16"]
"""The precision to which ``torch.autocast`` takes down what can do with it."""

_CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
"""By number of dims."""


def check(memory_format: object, autocast: object, device: torch.device, module: bool) -> None:
    """Whether forwards can run so; else an error.

    Args:
        memory_format: A `MemoryFormat`, or ``"auto"``.
        autocast: An `Autocast`, or None.
        device: Where they run.
        module: Whether the model is a torch module.

    Raises:
        ArgumentError: A value that is unknown, or that this device or model cannot serve.
    """
    for name, value, known in (
        ("memory_format", memory_format, ("auto", "preserve", "channels_last")),
        ("autocast", autocast, (None, "bfloat16", "float16")),
    ):
        if value not in known:
            *first, last = map(repr, known)
            guess = near(value, filter(None, known))
            raise ArgumentError(
                f"{name} is {called(value)}{guess}; give {', '.join(first)} or {last}"
            )
    if not module and (autocast or memory_format == "channels_last"):
        given = f"autocast={autocast!r}" if autocast else f"memory_format={memory_format!r}"
        raise ArgumentError(
            f"{given} for a model that is not a torch.nn.Module, which runs as it is; leave it out"
        )
    if autocast == "float16" and device.type != "cuda":
        raise ArgumentError(
            f"autocast='float16' on {device}, which serves CUDA devices only; give 'bfloat16'"
        )
    if autocast and not torch.amp.is_autocast_available(device.type):
        raise ArgumentError(
            f"autocast={autocast!r} on {device}, for which torch has no autocast; leave it out"
        )


def precision(autocast: str | None) -> torch.dtype | None:
    """The dtype of an `Autocast`; None for None, and for what `check` refuses."""
    return {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(autocast or "")


def laid_out(inputs: Inputs) -> Inputs:
    """Inputs with the channels of images last; whatever is no image as it is.

    >>> laid_out(torch.zeros(2, 1, 5, 5)).stride()
    (25, 1, 5, 1)
    """
    if isinstance(inputs, dict):
        return {name: _laid_out(value) for name, value in inputs.items()}
    laid: Inputs = _laid_out(inputs)
    return laid


def _laid_out(value: Any) -> Any:
    if not isinstance(value, Tensor) or value.ndim not in _CHANNELS_LAST:
        return value
    # Not contiguous(): one channel is in either order, and torch then runs in the other.
    return value.to(memory_format=_CHANNELS_LAST[value.ndim])


@contextmanager
def channels_last(model: nn.Module) -> Iterator[int]:
    """The weights of a module with their channels last; then each has the memory it had before.

    What the module wrote into a weight meanwhile is kept. Gives the bytes that are laid out anew.
    """
    copied = 0
    with ExitStack() as stack:
        for p in filter(_movable, model.parameters()):
            before, after = p.data, _laid_out(p.data)
            if after.stride() != before.stride():  # else another session laid it out
                stack.callback(_give_back, p, before, p._version)
                p.data = after
                copied += after.nbytes
        yield copied


def _movable(p: nn.Parameter) -> bool:
    plain = type(p.data) is Tensor and p.layout == torch.strided and not p.is_inference()
    return plain and p.ndim in _CHANNELS_LAST


def _give_back(p: nn.Parameter, before: Tensor, version: int) -> None:
    if p._version != version:
        before.copy_(p.data)
    p.data = before


def convolves(model: nn.Module, inputs: Inputs) -> bool:
    """Whether channels-last order may make a module faster: it convolves such images."""
    values = inputs.values() if isinstance(inputs, dict) else [inputs]
    dims = {x.ndim for x in values if isinstance(x, Tensor)}
    weights = {module.weight.ndim for module in model.modules() if isinstance(module, _ConvNd)}
    return bool(weights & dims & _CHANNELS_LAST.keys())
