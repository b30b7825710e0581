"""What errors say: values by a name that a reader knows, names that come near, wrong numbers."""

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
from torch import Tensor

from tmeasures.errors import ArgumentError, MemoryLimitError, TMeasuresError


def called(value: object) -> str:
    """A value as a message calls it.

    >>> called("photos"), called(torch.nn.ReLU), called(print), called([1])
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
        return f"{dtype_name(inputs.dtype)} of shape {tuple(inputs.shape[1:])}"
    if isinstance(inputs, Mapping):
        each = (f"{key} {shown(value)}" for key, value in inputs.items())
        return textwrap.shorten(", ".join(each), 120, placeholder="...")
    return called(inputs)


def dtype_name(dtype: torch.dtype) -> str:
    """``float32``, not ``torch.float32``."""
    return str(dtype).removeprefix("torch.")
