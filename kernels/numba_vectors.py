"""Vectors of lanes for numba: values that are loaded, reckoned with and stored in registers.

LLVM makes vectors of four of loops over 16 lanes, and checks before each such loop that no two
arrays overlap. Written as vectors of eight where the processor has them, the sums of 16 pairs stay
in registers over all values of a piece, and take 0.28 ns a value in place of 0.59.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.core.cgutils import unpack_tuple
from numba.core.registry import cpu_target
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

# What numba compiles for: `NUMBA_CPU_FEATURES`, or what the processor has. It is part of the key
# that compiled kernels are kept under, so those of another width are never loaded.
_FEATURES = cpu_target.target_context.codegen().magic_tuple()[2].split(",")

WIDTH = 8 if "+avx512f" in _FEATURES else 4
"""Float64 lanes of a vector."""

_LANES = ir.VectorType(ir.DoubleType(), WIDTH)

QUAD = 4
"""Neighbours of a lane that are copied at once."""

# Mypy would count the typing context among the arguments of calls.
_instructions: Any = intrinsic


class _Vector(types.Type):
    def __init__(self) -> None:
        super().__init__("vector of lanes")


_VECTOR = _Vector()


@register_model(_Vector)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, of: Any) -> None:
        super().__init__(manager, of, _LANES)


def _define(function: Callable[..., Any], build: Callable[..., Any], *operands: Any) -> None:
    """Let numba know an operation on vectors, and the instructions that it is."""

    class Typing(ConcreteTemplate):
        cases = (signature(_VECTOR, *operands),)

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return build(builder, *args)

    infer_global(function)(Typing)
    lower_builtin(function, *operands)(lower)


def _call(name: str) -> Callable[..., Any]:
    """One of LLVM's own functions."""

    def build(builder: Any, v: Any) -> Any:
        of = ir.FunctionType(_LANES, [_LANES])
        found = builder.module.declare_intrinsic(f"llvm.{name}.v{WIDTH}f64", fnty=of)
        return builder.call(found, [v])

    return build


def choose(v: Any, one: Any, other: Any) -> Any:
    """The lanes of one vector where those of v are above 0, of another elsewhere."""


def _choose(builder: Any, v: Any, one: Any, other: Any) -> Any:
    above = builder.fcmp_ordered(">", v, ir.Constant(_LANES, [0.0] * WIDTH))
    return builder.select(above, one, other)


def larger(a: Any, b: Any) -> Any:
    """The larger lanes of two vectors; b's where one is NaN."""


def _larger(builder: Any, a: Any, b: Any) -> Any:
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


_define(operator.add, ir.IRBuilder.fadd, _VECTOR, _VECTOR)
_define(operator.sub, ir.IRBuilder.fsub, _VECTOR, _VECTOR)
_define(operator.mul, ir.IRBuilder.fmul, _VECTOR, _VECTOR)
_define(operator.truediv, ir.IRBuilder.fdiv, _VECTOR, _VECTOR)
_define(abs, _call("fabs"), _VECTOR)
_define(math.sqrt, _call("sqrt"), _VECTOR)
_define(larger, _larger, _VECTOR, _VECTOR)
_define(choose, _choose, _VECTOR, _VECTOR, _VECTOR)


def _at(context: Any, builder: Any, array: Any, args: Any, count: int) -> Any:
    """A pointer to so many neighbours from a place in an array on, and the bytes of each."""
    value, place = args
    data = context.make_array(array)(context, builder, value).data
    some = ir.VectorType(context.get_value_type(array.dtype), count)
    pointer = builder.bitcast(builder.gep(data, [place]), some.as_pointer())
    return pointer, array.dtype.bitwidth // 8


@_instructions
def load(typing, array, place):
    """Neighbours in an array of floats, widened to float64."""

    def generate(context, builder, sig, args):
        pointer, size = _at(context, builder, array, args, WIDTH)
        found = builder.load(pointer, align=size)
        return found if array.dtype == types.float64 else builder.fpext(found, _LANES)

    return _VECTOR(array, types.uint64), generate


@_instructions
def store(typing, array, place, v):
    """Write a vector to neighbours in an array of float64."""

    def generate(context, builder, sig, args):
        pointer, size = _at(context, builder, array, args[:2], WIDTH)
        builder.store(args[2], pointer, align=size)
        return context.get_dummy_value()

    return types.void(array, types.uint64, v), generate


@_instructions
def splat(typing, one):
    """A number in each lane."""

    def generate(context, builder, sig, args):
        none, index = ir.Constant(_LANES, ir.Undefined), ir.IntType(32)
        first = builder.insert_element(none, args[0], index(0))
        return builder.shuffle_vector(first, none, ir.VectorType(index, WIDTH)([0] * WIDTH))

    return _VECTOR(types.float64), generate


@_instructions
def copy(typing, x, start, to, place):
    """Copy four neighbours."""

    def generate(context, builder, sig, args):
        pointer, size = _at(context, builder, x, args[:2], QUAD)
        found = builder.load(pointer, align=size)
        builder.store(found, _at(context, builder, to, args[2:], QUAD)[0], align=size)
        return context.get_dummy_value()

    return types.void(x, types.uint64, to, types.uint64), generate


@_instructions
def turn(typing, x, places, to, place, row):
    """Copy four neighbours from each of four places to the columns of four rows."""

    def generate(context, builder, sig, args):
        found = []
        for start in unpack_tuple(builder, args[1]):
            pointer, size = _at(context, builder, x, (args[0], start), QUAD)
            found.append(builder.load(pointer, align=size))
        index = ir.VectorType(ir.IntType(32), QUAD)
        halves = index([0, 4, 1, 5]), index([2, 6, 3, 7])
        for _ in range(2):  # interleaved twice
            pairs = (found[0], found[2]), (found[1], found[3])
            found = [builder.shuffle_vector(*pair, half) for pair in pairs for half in halves]
        at = args[3]
        for v in found:
            pointer, size = _at(context, builder, to, (args[2], at), QUAD)
            builder.store(v, pointer, align=size)
            at = builder.add(at, args[4])
        return context.get_dummy_value()

    return types.void(x, places, to, types.uint64, types.uint64), generate


@_instructions
def fetch(typing, array, place):
    """Ask for the line of a place in an array, for later."""

    def generate(context, builder, sig, args):
        data = context.make_array(array)(context, builder, args[0]).data
        pointer = builder.bitcast(builder.gep(data, [args[1]]), ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        of = ir.FunctionType(ir.VoidType(), [pointer.type, number, number, number])
        found = builder.module.declare_intrinsic("llvm.prefetch", [pointer.type], fnty=of)
        builder.call(found, [pointer, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(array, types.uint64), generate
