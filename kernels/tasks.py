"""Kernels on threads: a task is compiled once, and one loop runs those of all kernels.

Numba compiles the body of a parallel loop five times over, in the wrappers that it puts around it:
half a minute for all kernels, where tasks take 18 s. A task is compiled for C; the loop calls it by
its address, through a `_runner` that finds in one place what the task takes.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numba
import numpy as np
import torch
from llvmlite import ir
from numba import prange, types
from numba.core import cgutils
from numba.core.ccallback import CFunc
from numba.extending import intrinsic
from torch import Tensor

from tmeasures.kernels.compile import ARITHMETIC, keep, serial

# Activations that one thread folds in 30 microseconds. A second thread would save 15, and costs a
# hundred times that where another process has its core.
_SMALL = 2**16

# Mypy would count the typing context among the arguments of calls.
_instructions: Any = intrinsic

_NUMBER = ir.IntType(64)
_RUNNER = ir.FunctionType(_NUMBER, [_NUMBER, _NUMBER])


DONE = 1
"""What a task returns; one that an exception ended, as for lack of memory, returns 0."""


class Kernel:
    """A task: a function of its number and of what `call` was given, arrays that do not overlap."""

    def __init__(self, function: Callable[..., int]):
        self._function = function
        self._compiled: dict[Any, Any] = {}
        self._known: dict[Any, int] = {}

    def of(self, given: tuple[Any, ...]) -> int:
        """The address of the task for arguments of these types, compiled at first, or loaded."""
        kind = _kind(given)  # numba's own takes 60 microseconds
        if kind not in self._known:
            with _no_collection():
                self._known[kind] = self._compile(numba.typeof(given))
        return self._known[kind]

    def _compile(self, given: Any) -> int:
        if given not in self._compiled:
            task = CFunc(self._function, ((types.int64, *given), types.int64), {}, ARITHMETIC)
            customize = task._compiler._customize_flags

            def apart(flags: Any) -> Any:
                customize(flags).noalias = True  # as in parallel loops; numba has no option
                return flags

            task._compiler._customize_flags = apart
            keep(task, self._function).compile()
            _launch.compile((types.int64, types.int64, given))
            self._compiled[given] = task
        return int(self._compiled[given].address)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Stop the process's collector: looking through torch's objects was a sixth of compiling."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


@cache
def _start_threads() -> None:
    """Start numba's threads, which sets OpenMP's number for all; torch keeps its own."""
    of_torch = torch.get_num_threads()
    numba.get_num_threads()
    torch.set_num_threads(of_torch)


def _kind(given: Any) -> Any:
    if isinstance(given, np.ndarray):
        return given.dtype.num, given.ndim, given.flags.num
    return tuple(map(_kind, given)) if isinstance(given, tuple) else type(given)


def _borrow(context: Any, builder: Any, kind: Any, found: Any) -> Any:
    """Take arrays from numba's counting: threads would wait for each other's counts."""
    if isinstance(kind, types.BaseTuple):
        for i, of in enumerate(kind.types):
            part = _borrow(context, builder, of, builder.extract_value(found, i))
            found = builder.insert_value(found, part, i)
    elif isinstance(kind, types.Array):
        array = context.make_array(kind)(context, builder, found)
        array.meminfo = cgutils.get_null_value(array.meminfo.type)
        found = array._getvalue()
    return found


@_instructions
def _address(typing, state):
    """Put a task's address and what it takes on the stack; the place is good in the caller."""

    def generate(context, builder, sig, args):
        found = _borrow(context, builder, state, args[0])
        return builder.ptrtoint(cgutils.alloca_once_value(builder, found), _NUMBER)

    return types.int64(state), generate


@_instructions
def _runner(typing, state):
    """The address of a function of a task's number and of such a place, which runs the task."""

    def generate(context, builder, sig, args):
        takes = [_NUMBER, *map(context.get_value_type, state[1])]
        task = ir.FunctionType(_NUMBER, takes).as_pointer()
        runner = ir.Function(builder.module, _RUNNER, builder.module.get_unique_name("runner"))
        runner.linkage = "internal"
        inside = ir.IRBuilder(runner.append_basic_block())
        number, place = runner.args
        place = inside.inttoptr(place, context.get_value_type(state).as_pointer())
        address, given = (inside.extract_value(inside.load(place), i) for i in range(2))
        parts = (inside.extract_value(given, i) for i in range(len(state[1])))
        inside.ret(inside.call(inside.inttoptr(address, task), [number, *parts]))
        return builder.ptrtoint(runner, _NUMBER)

    return types.int64(state), generate


@_instructions
def _run(typing, runner, number, place):
    def generate(context, builder, sig, args):
        return builder.call(builder.inttoptr(args[0], _RUNNER.as_pointer()), args[1:])

    return types.int64(types.int64, types.int64, types.int64), generate


@serial(parallel=True)
def _run_all(runner, tasks, place):
    done = 0
    for number in prange(tasks):
        done += _run(runner, number, place)
    return done


@serial()
def _launch(task, tasks, given):
    state = task, given
    return _run_all(_runner(state), tasks, _address(state))


def call(kernel: Kernel, tasks: int, x: Tensor, *rest: Any) -> None:
    """Run the tasks of a kernel on torch's number of threads, on one where a tile is small.

    Args:
        kernel: The kernel.
        tasks: How many: they get the numbers from 0 on.
        x: The first of what a task takes after its number, the largest.
        rest: The others: tensors, numbers, None, tuples of such and of arrays. No two overlap, if a
            task writes to one of them.

    Raises:
        MemoryError: A task had no room for its scratch: the state is good for nothing, and what the
            task had taken until then is not given back.
    """
    _start_threads()
    wanted = torch.get_num_threads() if x.numel() > _SMALL else 1
    wanted, before = min(wanted, numba.config.NUMBA_NUM_THREADS), numba.get_num_threads()
    given = tuple(part.numpy() if isinstance(part, Tensor) else part for part in (x, *rest))
    task = kernel.of(given)
    if wanted != before:
        numba.set_num_threads(wanted)
    try:
        done = _launch(task, tasks, given)
    finally:
        if wanted != before:
            numba.set_num_threads(before)
    if done < tasks:
        raise MemoryError(
            f"{tasks - done} of {tasks} tasks of a kernel were not done, for the reason printed "
            "above, most likely lack of memory; take a smaller batch_size, or fewer layers"
        )


def threading_layer() -> str:
    """What the kernels' threads run on: ``"omp"``, 2.3 times as fast as ``"workqueue"``.

    Numba decides when it launches its threads, so they are launched.
    """
    _start_threads()
    return str(numba.threading_layer())
