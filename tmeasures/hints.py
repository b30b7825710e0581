"""What errors say: values by a name a reader knows, names that come near, and what would help."""

from __future__ import annotations

import difflib
import math
import operator
import os
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from inspect import isroutine
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from tmeasures.errors import ArgumentError, MemoryLimitError, ModelError, TMeasuresError

Shown = tuple[tuple[int, ...], torch.dtype]
"""Shape and dtype of a tensor."""


def called(value: object) -> str:
    """A value as a message calls it.

    >>> called("photos"), called(nn.ReLU), called(print), called([1])
    ("'photos'", 'the class ReLU', 'the function print', 'a list')
    """
    if value is None or isinstance(value, str | bytes | os.PathLike | bool | int | float):
        return textwrap.shorten(repr(value), 60, placeholder="...")
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isroutine(value):
        return "a lambda" if value.__name__ == "<lambda>" else f"the function {value.__name__}"
    name = kind(value)
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def kind(value: object) -> str:
    """The name of a value's type, with the module that it comes from."""
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")


def near(name: object, names: Iterable[str]) -> str:
    """A question that names what a mistyped name may have meant; empty if nothing comes near.

    >>> near("anova", ["ANOVA", "NV"])
    " (did you mean 'ANOVA'?)"
    """
    lower = {each.lower(): each for each in names}
    found = difflib.get_close_matches(str(name).lower(), lower, n=1, cutoff=0.7)
    return f" (did you mean {lower[found[0]]!r}?)" if found else ""


def nearest(name: str, names: Iterable[str]) -> str:
    """A list of those that come near to a name that is not there; else of the first ones.

    >>> nearest("conv*9", ["conv1", "conv2", "fc"])
    'conv2, conv1 and 1 more'
    """
    there, bare = list(names), re.sub(r"[*?\[\]]", "", name)
    found = difflib.get_close_matches(bare, there, n=5, cutoff=0.5) or there[:8]
    rest = len(there) - len(found)
    return ", ".join(found) + (f" and {rest} more" if rest else "")


def whole(
    name: str, value: Any, least: int = 1, error: type[TMeasuresError] = ArgumentError
) -> int:
    """A whole number of at least ``least``, or an error that names the argument."""
    try:
        number = least - 1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = least - 1
    if number < least:
        raise error(f"{name}={value!r} cannot be used: give a whole number of at least {least}")
    return number


def numbers(name: str, value: Any, error: type[TMeasuresError] = ArgumentError) -> list[float]:
    """One or more finite numbers as floats, or an error that names the argument."""
    try:
        found = [] if isinstance(value, str) else [float(v) for v in value]
    except (TypeError, ValueError):
        found = []
    if not found or not all(map(math.isfinite, found)):
        raise error(f"{name}={value!r} cannot be used: give a list of finite numbers")
    return found


def reason(error: BaseException, most: int = 90) -> str:
    """The class and the first line of an error, without stops and of so many characters."""
    lines = str(error).strip().splitlines() or [""]
    text = f"{type(error).__name__}: {lines[0]}".replace(". ", "; ").rstrip(".: ")
    return textwrap.shorten(text, most, placeholder="...")


@contextmanager
def within_memory(what: str, advice: str) -> Iterator[None]:
    """Memory that runs out becomes one sentence: what for, and what to do about it."""
    try:
        yield
    except Exception as error:
        text = str(error).lower()
        out = "out of memory" in text or "can't allocate memory" in text or "alloc_failed" in text
        if not (isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and out)):
            raise
        raise MemoryLimitError(f"out of memory for {what}: {advice}") from error


def shown(inputs: object) -> str:
    """A batch of inputs in words: dtypes and shapes without the batch axis."""
    if isinstance(inputs, Tensor):
        return f"{_name(inputs.dtype)} of shape {tuple(inputs.shape[1:])}"
    if isinstance(inputs, Mapping):
        each = (f"{key} {shown(value)}" for key, value in inputs.items())
        return textwrap.shorten(", ".join(each), 120, placeholder="...")
    return called(inputs)


def refusal(
    where: str, module: nn.Module | None, given: Shown | None, inputs: object, error: Exception
) -> ModelError:
    """The error for a network that raised in the probe.

    Args:
        where: The layer, in words.
        module: The innermost module that was running; None for what is no torch module.
        given: The first tensor that it was given.
        inputs: What the network was given.
        error: What it raised.
    """
    problem, advice = _advice(module, given, inputs, error)
    text = f"{where} {problem}; the inputs are {shown(inputs)}: give {advice}"
    return ModelError(f"{text} ({reason(error, max(60, 290 - len(text)))})")


def _advice(
    module: nn.Module | None, given: Shown | None, inputs: object, error: Exception
) -> tuple[str, str]:
    """What does not fit, and what to give instead."""
    shape, dtype = given or ((), torch.float32)
    first = isinstance(inputs, Tensor) and shape == tuple(inputs.shape)
    text = str(error)
    if isinstance(module, nn.Embedding):
        ids = f"int64 ids from 0 to {module.num_embeddings - 1}"
        return f"takes {ids}", "such ids, for example samples.long()"
    if not dtype.is_floating_point and module and any(True for _ in module.parameters(False)):
        takes = f"takes floats and gets {_name(dtype)}"
        if dtype == torch.uint8:  # only where nobody said which of several inputs is the image
            return takes, "input= with the name of the images"
        return takes, "samples.float(), or images of 0 to 255 as uint8"
    if isinstance(module, _ConvNd) and first:
        found = _channels(module, shape)
        if found:
            return found
    if isinstance(module, nn.Linear) and shape and shape[-1] != module.in_features:
        takes = f"takes {module.in_features} features and gets {shape[-1]}"
        if first and math.prod(shape[1:]) == module.in_features:
            return takes, "vectors, with preprocess=lambda x: x.flatten(1)"
        return takes, "inputs of the size it was made for, or a preprocess= that resizes them"
    if "too small" in text or "can't be greater than" in text:
        return "needs larger inputs", "larger ones, or a preprocess= that resizes them"
    if "same device" in text:
        return "has weights on another device", "a network that is all on one device, or device="
    if isinstance(error, TypeError) and ("positional arg" in text or "keyword arg" in text):
        takes = "takes other arguments"
        if isinstance(inputs, Mapping):
            key = next(iter(inputs))
            return takes, f"its own names, or call=lambda model, inputs: model(inputs[{key!r}])"
        return takes, "samples that are a mapping by their names, or call= that gives them all"
    return "failed", "inputs that it takes, a preprocess= that makes them, or another call="


def _channels(module: _ConvNd, shape: tuple[int, ...]) -> tuple[str, str] | None:
    """What is wrong with the channels of the inputs of a convolution, if anything is."""
    wanted, dims = module.in_channels, len(module.kernel_size)
    images = f"{wanted} channel{'s' * (wanted > 1)}"
    if len(shape) == dims + 1:
        problem = "expects a channel axis and the images have none"
        return problem, "one, with preprocess=lambda x: x[:, None]"
    if len(shape) != dims + 2 or shape[1] == wanted:
        return None
    if shape[-1] == wanted:
        problem = f"expects {images} in the first axis and they are in the last"
        return problem, "samples.movedim(-1, 1)"
    if shape[1] == 1:
        how = f"preprocess=lambda x: x.repeat(1, {wanted}{', 1' * dims})"
    elif wanted == 1:
        how = "preprocess=lambda x: x.mean(1, keepdim=True)"
    else:
        how = "a preprocess= that makes them"
    return f"expects {images} and the images have {shape[1]}", f"images of {images}, or {how}"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
