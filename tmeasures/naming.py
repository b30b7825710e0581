"""What a network returned, what that is called, and what its axes are."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tmeasures.errors import ArgumentError
from tmeasures.hints import nearest

Key = tuple[str, int]
"""A call: the path of the module, and how often it was called before in the same forward."""
OUTPUT: Key = ("", 0)
"""The call that returns the network's own output."""
Function = Callable[[Any], Tensor]

_SPATIAL_ORIGINS = {
    f"torch.nn.modules.{name}"
    for name in (
        "batchnorm",
        "conv",
        "instancenorm",
        "padding",
        "pixelshuffle",
        "pooling",
        "upsampling",
    )
}
_SPATIAL_TYPES = (nn.GroupNorm, nn.LocalResponseNorm)
_SPATIAL_DIMS = {2: ("channel", "time"), 3: ("channel", "y", "x"), 4: ("channel", "z", "y", "x")}
_FEATURE_MAPS = frozenset(_SPATIAL_DIMS.values())
_TOKEN_TYPES = (nn.Linear, nn.LayerNorm, nn.Embedding, nn.MultiheadAttention, nn.RNNBase)
_TOKEN_DIMS = {2: ("token", "unit")}


@dataclass(frozen=True)
class Node:
    """A module in its network: all its paths, the first one first, and the paths inside it."""

    module: nn.Module
    aliases: tuple[str, ...]
    inside: frozenset[str]


@dataclass(frozen=True)
class Result:
    """A tensor that a call returned.

    Attributes:
        shape: Its shape.
        dtype: Its dtype.
        dense: Whether it is no sparse tensor.
        source: The earlier result that it is, unmodified.
        filled: Whether it fills the memory that it spans; kernels copy one that does not.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    dense: bool
    source: tuple[Key, str] | None = None
    filled: bool = True

    @classmethod
    def of(cls, tensor: Tensor, source: tuple[Key, str] | None = None) -> Result:
        """What is known of a tensor."""
        dense = tensor.layout == torch.strided
        return cls(tuple(tensor.shape), tensor.dtype, dense, source, dense and _fills(tensor))

    @property
    def nbytes(self) -> int:
        """Bytes of its values."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class Call:
    """What a call returned, and what a function of ``activations=`` made of that."""

    results: dict[str, Result]
    part: Result | Exception | None = None

    def given(self, suffix: str) -> Result:
        """What a layer is made of: the function's part, or the result of this suffix."""
        return self.part if isinstance(self.part, Result) else self.results[suffix]


@dataclass(frozen=True)
class Trace:
    """One probe: the calls in the order in which they ended, and the paths that called others."""

    calls: dict[Key, Call]
    parents: set[str]


def nodes(model: nn.Module) -> dict[str, Node]:
    """The modules of a network that can be called, by the first path of each.

    Parametrizations only make weights, and a compiled wrapper stands for the module inside it.
    """
    skipped: set[nn.Module] = set()
    aliases: dict[nn.Module, list[str]] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        if is_compiled(module):
            skipped.add(module)
        if parametrize.is_parametrized(module):
            skipped.update(module.get_submodule("parametrizations").modules())
        aliases.setdefault(module, []).append(uncompiled(path))
    kept = {module: names for module, names in aliases.items() if module not in skipped}
    return {
        names[0]: Node(
            module,
            tuple(names),
            frozenset(kept[other][0] for other in module.modules() if other in kept) - {names[0]},
        )
        for module, names in kept.items()
    }


def is_compiled(module: nn.Module) -> bool:
    """Whether ``torch.compile(module)`` made this; its class is slow to import."""
    return "_orig_mod" in module._modules


def uncompiled(path: str) -> str:
    """A path without the wrappers that ``torch.compile`` put around modules."""
    return ".".join(part for part in path.split(".") if part != "_orig_mod")


def results(output: object, suffix: str = "") -> Iterator[tuple[str, Tensor]]:
    """The tensors in what a module returned, each with what its name ends in (``.0``, ``.h.c``)."""
    items: Collection[tuple[object, object]] = ()
    if isinstance(output, Tensor):
        yield suffix, output
    elif isinstance(output, Mapping):
        items = output.items()
    elif isinstance(output, tuple) and hasattr(output, "_fields"):
        items = list(zip(output._fields, output, strict=True))
    elif isinstance(output, tuple | list):
        items = list(enumerate(output))
    for key, value in items:
        yield from results(value, f"{suffix}.{key}")


def call_name(key: Key) -> str:
    """A call as layers are named: ``relu``, ``relu#1``, ``output``."""
    return (key[0] or "output") + (f"#{key[1]}" if key[1] else "")


def call_names(key: Key, node: Node | None) -> set[str]:
    """What a pattern may call a call: every path of its module, with and without ``#1``."""
    aliases = node.aliases if node and key != OUTPUT else (key[0] or "output",)
    return {*aliases, *(f"{alias}#{key[1]}" for alias in aliases if key[1])}


def unique_name(key: Key, suffixes: Collection[str], taken: Collection[str]) -> str:
    """The name of a call, counted up until no result's name is that of a module or other call."""
    names = (call_name((key[0], i)) for i in count(key[1]))
    return next(name for name in names if not any(name + suffix in taken for suffix in suffixes))


def matches(pattern: str, names: Collection[str]) -> bool:
    """Whether a pattern is one of the names, or fits one of them."""
    return pattern in names or any(fnmatchcase(name, pattern) for name in names)


def unmatched(argument: str, pattern: str, names: Sequence[str]) -> ArgumentError:
    """The error for a pattern without match, with the names that come near."""
    return ArgumentError(
        f"{argument} pattern {pattern!r} matches nothing that is there; use one that fits a name "
        f"such as {nearest(pattern, names)}"
    )


def batch_axis(two: Sequence[int], three: Sequence[int], per_input: int = 1) -> int | None:
    """The one axis with 2 and 3 times ``per_input`` entries, all others being equal."""
    if len(two) != len(three):
        return None
    changed = [axis for axis in range(len(two)) if two[axis] != three[axis]]
    if len(changed) != 1:
        return None
    sizes = two[changed[0]], three[changed[0]]
    return changed[0] if sizes == (2 * per_input, 3 * per_input) else None


def unfolding(suffix: str, two: Sequence[int], three: Sequence[int]) -> str:
    """How to get a batch axis where one holds several entries of each input; else an empty text."""
    for size in two:
        axis = batch_axis(two, three, size // 2)
        if axis is not None:
            keys = (f"[{k}]" if k.isdigit() else f"[{k!r}]" for k in suffix.split(".")[1:])
            return f"lambda output: output{''.join(keys)}.unflatten({axis}, (-1, {size // 2}))"
    return ""


def plain_dims(ndim: int) -> tuple[str, ...]:
    """The dims of values about which nothing is known."""
    return ("unit",) if ndim == 1 else tuple(f"d{i}" for i in range(ndim))


def module_dims(module: nn.Module | None, ndim: int) -> tuple[str, ...] | None:
    """The unit dims that the type of a module gives to its output; None if it has no say."""
    if ndim <= 1:
        return plain_dims(ndim)
    origins = {cls.__module__ for cls in type(module).__mro__}
    if isinstance(module, _SPATIAL_TYPES) or not origins.isdisjoint(_SPATIAL_ORIGINS):
        return _SPATIAL_DIMS.get(ndim, plain_dims(ndim))
    if isinstance(module, nn.LayerNorm) and ndim != 2:
        return None  # Norms of images, channels first, derive from it.
    if isinstance(module, _TOKEN_TYPES) or (
        type(module).__name__ == "Conv1D" and "transformers.pytorch_utils" in origins
    ):
        return _TOKEN_DIMS.get(ndim, plain_dims(ndim))
    return None


def may_be_map(module: nn.Module | None) -> bool:
    """Whether an untyped module may return maps; some types commonly return attention weights."""
    return not isinstance(module, nn.Softmax | nn.Softmin | nn.LogSoftmax | nn.Dropout)


def map_dims(
    shape: tuple[int, ...], seen: Mapping[tuple[int, ...], tuple[str, ...]]
) -> tuple[str, ...] | None:
    """The dims of the last feature maps of the same sizes over space, whatever their channels.

    Attention weights may have the sizes of earlier feature maps by chance. They come after their
    tokens, which are no such maps and have one of the sizes: from there on, sizes prove nothing.

    Args:
        shape: Unit sizes.
        seen: From the unit sizes of earlier results, the last one last, to their dims.
    """
    sizes = shape[1:]
    if len(shape) == 2 and shape[0] in _lengths(seen):
        return None  # It may as well be (token, token).
    for other, dims in reversed([*seen.items()]):
        if len(other) == len(shape) and dims in _FEATURE_MAPS:
            if other[1:] == sizes:
                return dims
        elif len(other) > 1 and not set(sizes).isdisjoint(other):
            return None
        if len(other) == len(shape) == 2:
            return None  # A single size is met by chance, units for example.
    return None


def _lengths(seen: Mapping[tuple[int, ...], tuple[str, ...]]) -> set[int]:
    """The lengths of all sequences."""
    return {
        size
        for shape, dims in seen.items()
        for size, dim in zip(shape, dims, strict=True)
        if dim in ("token", "time")
    }


def _fills(tensor: Tensor) -> bool:
    steps = sorted(
        (step, n) for step, n in zip(tensor.stride(), tensor.shape, strict=True) if n > 1
    )
    whole = [math.prod(n for _, n in steps[:k]) for k in range(len(steps))]
    return whole == [step for step, _ in steps]
