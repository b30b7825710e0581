"""The bytes a piece of torch code keeps alive, counted operation by operation."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_BLOCKED = 16


def peak_bytes(f: Callable[[], object]) -> int:
    """Peak bytes of tensor storages that were allocated, and alive at once, while ``f`` ran.

    Storages that exist before (parameters, inputs) count nothing, and a storage shared by several
    tensors counts once. Of the scratch memory inside operations only that of convolutions on a CPU
    is known.

    Args:
        f: Called once, without arguments.

    Returns:
        The peak, in bytes; 0 if nothing was allocated.

    Example:
        >>> x = torch.ones(100)
        >>> peak_bytes(lambda: (x + 1).add_(1) * 2)
        800
    """
    return max(timeline(f), default=0)


def timeline(f: Callable[[], object]) -> list[int]:
    """Bytes newly allocated and alive after each operation that ``f`` runs.

    Args:
        f: Called once, without arguments.

    Returns:
        One number for each operation, in order.
    """
    storages = _Storages()
    with storages:
        f()
    return storages.timeline


def growth(two: Sequence[int], three: Sequence[int]) -> tuple[int, int]:
    """Splits the footprints of the same code on 2 and on 3 inputs into a slope and a fixed part.

    With the same operations in both, each moment has a line of its own, ``fixed + slope * n``, and
    the largest slope and the largest fixed part together bound the peak for every n. The peaks
    alone would not: with 2 inputs it may stand where a large temporary hides the slope.

    Args:
        two: `timeline` with 2 inputs.
        three: `timeline` with 3 inputs.

    Returns:
        Bytes for each input, and bytes whatever the number of inputs.
    """
    if len(two) != len(three):
        two, three = [max(two, default=0)], [max(three, default=0)]
    slopes = [max(b - a, 0) for a, b in zip(two, three, strict=True)]
    fixed = [max(a - 2 * slope, 0) for a, slope in zip(two, slopes, strict=True)]
    return max(slopes, default=0), max(fixed, default=0)


class _Storages(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the storages that operations return and did not receive."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.timeline: list[int] = []
        self._alive = 0
        # The reference is what makes the callback run; an id is free for reuse once it has.
        self._known: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        for value in tree_leaves((args, kwargs)):
            self._see(value, new=False)
        out = func(*args, **kwargs)
        for value in tree_leaves(out):
            self._see(value, new=True)
        self.timeline.append(self._alive + _scratch(func, args, out))
        return out

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Else the first operation imports torch._dynamo, which takes over a second.
        return False

    def _see(self, value: object, *, new: bool) -> None:
        if not isinstance(value, torch.Tensor):
            return
        storage = value.untyped_storage()
        if id(storage) in self._known:
            return
        size = storage.nbytes() if new else 0
        self._alive += size
        self._known[id(storage)] = weakref.ref(storage, partial(self._freed, id(storage), size))

    def _freed(self, identity: int, size: int, _: object) -> None:
        del self._known[identity]
        self._alive -= size


def _scratch(func: Any, args: Sequence[Any], out: Any) -> int:
    """Bytes that an operation allocates and frees inside.

    oneDNN copies a contiguous image of 16 channels or more into blocks of channels, convolves that
    into another such copy, and copies the result back; channels-last images it takes as they are.
    """
    if func is not torch.ops.aten.convolution.default or out.device.type != "cpu":
        return 0
    image = args[0]
    blocked = image.ndim > 3 and image.shape[1] >= _BLOCKED and image.is_contiguous()
    return image.nbytes + out.nbytes if blocked else 0
