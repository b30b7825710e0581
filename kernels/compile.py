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
from numba.extending import intrinsic
from torch import Tensor

_ARITHMETIC: dict[str, Any] = {"fastmath": {"contract"}, "error_model": "numpy"}
_FLAGS = _ARITHMETIC | {"nogil": True, "no_cfunc_wrapper": True}

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
inner = partial(njit, no_cpython_wrapper=True, **_FLAGS)


# Mypy would count the typing context among the arguments of calls.
_instructions: Any = intrinsic

_NUMBER = ir.IntType(64)
_RUNNER = ir.FunctionType(ir.VoidType(), [_NUMBER, _NUMBER])


def serial(parallel: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function that Python calls at its first call; or load it."""

    def compiled(function: Callable[..., Any]) -> Any:
        return _keep(njit(parallel=parallel, **_FLAGS)(function), function)

    return compiled


class Kernel:
    """A task: a function of its number and of what `call` was given, arrays that do not overlap.

    Numba compiles the body of a parallel loop five times over, in the wrappers that it puts around
    it. A task is compiled for C, and one loop runs those of all kernels by their address.
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
        task = CFunc(self._function, ((types.int64, *given), types.void), {}, _ARITHMETIC)
        before = task._compiler._customize_flags
        task._compiler._customize_flags = lambda flags: _apart(before(flags))
        _keep(task, self._function).compile()
        return task


def _apart(flags: Any) -> Any:
    """Say that arrays do not overlap, as numba does of parallel loops; there is no option."""
    flags.noalias = True
    return flags


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


def _borrow(context, builder, kind, found):
    """Take arrays from numba's counting: threads would wait for each other's counts."""
    if isinstance(kind, types.BaseTuple):
        for i, of in enumerate(kind):
            part = _borrow(context, builder, of, builder.extract_value(found, i))
            found = builder.insert_value(found, part, i)
    elif isinstance(kind, types.Array):
        array = context.make_array(kind)(context, builder, found)
        array.meminfo = cgutils.get_null_value(array.meminfo.type)
        found = array._getvalue()
    return found


@_instructions
def _address(typing, state):
    """Where a copy of an address of a task and of what it takes is, while its function runs."""

    def generate(context, builder, sig, args):
        found = _borrow(context, builder, state, args[0])
        return builder.ptrtoint(cgutils.alloca_once_value(builder, found), _NUMBER)

    return types.int64(state), generate


@_instructions
def _runner(typing, state):
    """The address of a function of a number, which runs a task, and of such a copy."""

    def generate(context, builder, sig, args):
        takes = [_NUMBER, *map(context.get_value_type, state[1])]
        task = ir.FunctionType(context.get_value_type(types.void), takes).as_pointer()
        runner = ir.Function(builder.module, _RUNNER, builder.module.get_unique_name("runner"))
        runner.linkage = "internal"
        inside = ir.IRBuilder(runner.append_basic_block())
        number, place = runner.args
        place = inside.inttoptr(place, context.get_value_type(state).as_pointer())
        address, given = (inside.extract_value(inside.load(place), i) for i in range(2))
        parts = (inside.extract_value(given, i) for i in range(len(state[1])))
        inside.call(inside.inttoptr(address, task), [number, *parts])
        inside.ret_void()
        return builder.ptrtoint(runner, _NUMBER)

    return types.int64(state), generate


@_instructions
def _run(typing, runner, number, place):
    def generate(context, builder, sig, args):
        builder.call(builder.inttoptr(args[0], _RUNNER.as_pointer()), args[1:])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


@serial(parallel=True)
def _run_all(runner, tasks, place):
    for number in prange(tasks):
        _run(runner, number, place)


@serial()
def _launch(task, tasks, given):
    state = task, given
    _run_all(_runner(state), tasks, _address(state))


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
