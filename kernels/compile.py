"""How the numba kernels are compiled, kept and run: all flags are here.

``contract`` lets a multiplication and an addition become one fused operation. ``reassoc`` is not
allowed: it may turn a sum of equal differences into something other than exactly zero.

Machine code is kept where numba keeps it: in ``NUMBA_CACHE_DIR``, else in ``__pycache__`` beside
the sources, else in the user's cache folder. It is loaded while no source of the kernels changes.
"""

from __future__ import annotations

import gc
import hashlib
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numba
import torch
from numba import njit
from numba.core.caching import FunctionCache
from numba.extending import register_jitable
from torch import Tensor

_FLAGS: dict[str, Any] = {"fastmath": {"contract"}, "error_model": "numpy", "nogil": True}

# Numba looks only at the file of the function that Python calls, not at those it calls in turn.
_SOURCES = hashlib.sha256(
    b"".join(file.read_bytes() for file in sorted(Path(__file__).parent.glob("*.py")))
).hexdigest()

# Activations that one thread folds in 30 microseconds. A second thread would save 15, and costs a
# hundred times that where another process has its core.
_SMALL = 2**16

_told = False

# For what a kernel calls: compiled with it. As kernels, each with a wrapper for Python and files of
# its own, they took a tenth longer.
inner = partial(register_jitable, **_FLAGS)


def serial(parallel: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """Compile a kernel, which Python calls, at its first call; or load it."""

    def compiled(function: Callable[..., Any]) -> Any:
        kernel = njit(parallel=parallel, **_FLAGS)(function)
        try:
            kernel._cache = _Cache(function)
        except RuntimeError as error:  # numba found no folder that it can write to
            _tell(error)
        return kernel

    return compiled


parallel = partial(serial, parallel=True)


class _Cache(FunctionCache):
    """Numba's, of all sources together; where files cannot be read or written there are none."""

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        return (*super()._index_key(sig, codegen), _SOURCES)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except OSError as error:
            return _tell(error)

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError as error:
            _tell(error)


def _tell(error: Exception) -> None:
    """Say once why each process compiles anew."""
    global _told
    if not _told:
        logging.getLogger("tmeasures").info(
            "compiled kernels are not kept, so each process compiles them again (%s); let "
            "NUMBA_CACHE_DIR name a folder that can be written to",
            error,
        )
    _told = True


def call(kernel: Callable[..., None], x: Tensor, *state: Tensor | int) -> None:
    """Run a kernel on torch's number of threads, on one where a tile is small."""
    of_torch = torch.get_num_threads()
    before = numba.get_num_threads()  # the first such call launches numba's threads
    most = min(of_torch, numba.config.NUMBA_NUM_THREADS)
    numba.set_num_threads(most if x.numel() > _SMALL else 1)
    collects = gc.isenabled()
    gc.disable()  # of the time to compile, a sixth went into looking through torch's objects
    try:
        kernel(x.numpy(), *(part.numpy() if isinstance(part, Tensor) else part for part in state))
    finally:
        if collects:
            gc.enable()
        numba.set_num_threads(before)
        if torch.get_num_threads() != of_torch:  # the launch sets OpenMP's number for all
            torch.set_num_threads(of_torch)
