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
import numpy as np
import torch
from llvmlite import ir
from numba import njit, prange, types
from numba.core import cgutils
from numba.core.caching import FunctionCache
from numba.core.ccallback import CFunc
from numba.extending import intrinsic, register_jitable
from torch import Tensor

_ARITHMETIC: dict[str, Any] = {"fastmath": {"contract"}, "error_model": "numpy"}
_FLAGS = _ARITHMETIC | {"nogil": True}

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


# Mypy would count the typing context among the arguments of calls.
_instructions: Any = intrinsic

_NUMBER = ir.IntType(64)


def serial(parallel: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function that Python calls at its first call; or load it."""

    def compiled(function: Callable[..., Any]) -> Any:
        return _keep(njit(parallel=parallel, **_FLAGS)(function), function)

    return compiled


class Kernel:
    """A task: a function of its number and, by `unpack`, of what `call` was given.

    Numba compiles the body of a parallel loop five times over, in the wrappers that it puts around
    it. A task is compiled once, for C, and one loop runs those of all kernels by their address.
    """

    def __init__(self, function: Callable[..., None]):
        self._function = function
        self._compiled: dict[Any, Any] = {}
        self._known: dict[Any, Any] = {}

    def of(self, given: tuple[Any, ...]) -> Any:
        """The task for arguments of these types, compiled at the first call or loaded."""
        kind = _kind(given)  # numba's own takes 60 microseconds
        if kind not in self._known:
            of_numba = numba.typeof(given)
            if of_numba not in self._compiled:
                self._compiled[of_numba] = self._compile(of_numba)
            self._known[kind] = self._compiled[of_numba]
        return self._known[kind]

    def _compile(self, given: Any) -> Any:
        takes = types.int64, types.CPointer(given)
        task = CFunc(self._function, (takes, types.void), {}, _ARITHMETIC)
        _keep(task, self._function).compile()
        return task


def _kind(given: Any) -> Any:
    if isinstance(given, np.ndarray):
        return given.dtype.num, given.ndim, given.flags.num
    return tuple(map(_kind, given)) if isinstance(given, tuple) else type(given)


def _keep(compiled: Any, function: Callable[..., Any]) -> Any:
    try:
        compiled._cache = _Cache(function)
    except RuntimeError as error:  # numba found no folder that it can write to
        _tell(error)
    return compiled


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


@_instructions
def unpack(typing, given):
    """What `call` was given, in a task."""

    def generate(context, builder, sig, args):
        place = context.get_value_type(given.dtype).as_pointer()
        found = builder.load(builder.bitcast(args[0], place))
        context.nrt.incref(builder, given.dtype, found)
        return found

    return given.dtype(given), generate


@_instructions
def _address(typing, given):
    def generate(context, builder, sig, args):
        return builder.ptrtoint(cgutils.alloca_once_value(builder, args[0]), _NUMBER)

    return types.int64(given), generate


@_instructions
def _run(typing, task, number, given):
    def generate(context, builder, sig, args):
        of = ir.FunctionType(ir.VoidType(), [_NUMBER, _NUMBER])
        builder.call(builder.inttoptr(args[0], of.as_pointer()), args[1:])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


@serial(parallel=True)
def _run_all(task, tasks, given):
    for number in prange(tasks):
        _run(task, number, given)


@serial()
def _launch(task, tasks, given):
    _run_all(task, tasks, _address(given))


def call(kernel: Kernel, tasks: int, x: Tensor, *rest: Tensor | int) -> None:
    """Run the tasks of a kernel on torch's number of threads, on one where a tile is small."""
    of_torch = torch.get_num_threads()
    before = numba.get_num_threads()  # the first such call launches numba's threads
    most = min(of_torch, numba.config.NUMBA_NUM_THREADS)
    given = tuple(part.numpy() if isinstance(part, Tensor) else part for part in (x, *rest))
    numba.set_num_threads(most if x.numel() > _SMALL else 1)
    collects = gc.isenabled()
    gc.disable()  # of the time to compile, a sixth went into looking through torch's objects
    try:
        _launch(kernel.of(given).address, tasks, given)
    finally:
        if collects:
            gc.enable()
        numba.set_num_threads(before)
        if torch.get_num_threads() != of_torch:  # the launch sets OpenMP's number for all
            torch.set_num_threads(of_torch)


def threading_layer() -> str:
    """What the kernels' threads run on: ``"omp"``, 2.3 times as fast as ``"workqueue"``.

    Numba decides when it launches its threads, so they are launched.
    """
    of_torch = torch.get_num_threads()
    numba.get_num_threads()
    torch.set_num_threads(of_torch)
    return str(numba.threading_layer())
