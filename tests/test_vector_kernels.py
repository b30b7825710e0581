"""Vectors of lanes: their operations by exact values, and the kernels with those of four lanes."""

import os
import subprocess
import sys
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
from numba import njit
from numba.core.registry import cpu_target

from tmeasures.kernels.numba_vectors import (
    QUAD,
    WIDTH,
    choose,
    copy,
    larger,
    load,
    splat,
    store,
    turn,
)

LANES = 16
SPECIAL = [0.0, -0.0, np.nan, -1.0, 5e-324, np.inf, -np.inf, 1 / 3]
DTYPES = [np.float32, np.float64]

dtypes = pytest.mark.parametrize("dtype", DTYPES)


def normal(n, dtype=np.float64, seed=0):
    return np.random.default_rng(seed).normal(size=n).astype(dtype)


def assert_same(found, expected):
    """Equal, zeros with their signs."""
    np.testing.assert_array_equal(found, expected)
    some = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(found[some]), np.signbit(expected[some]))


@njit
def reload(x, at, to, place):
    store(to, place, load(x, at))


@dtypes
def test_any_neighbours_are_loaded_and_stored(dtype):
    x = normal(40, dtype)
    x[3:30:5] = np.nan, np.inf, -np.inf, -0.0, np.finfo(dtype).smallest_subnormal, 1 / 3
    for at in range(40 - WIDTH + 1):
        found, expected = np.full(60, -7.0), np.full(60, -7.0)
        expected[at + 5 : at + 5 + WIDTH] = x[at : at + WIDTH]
        reload(x, at, found, at + 5)
        assert_same(found, expected)


@njit
def reckon(a, b, c, to):
    for u in range(0, LANES, WIDTH):
        v, w = load(a, u), load(b, u)
        store(to[0], u, v + w)
        store(to[1], u, v - w)
        store(to[2], u, v * w)
        store(to[3], u, v / w)
        store(to[4], u, abs(v))
        store(to[5], u, sqrt(v))
        store(to[6], u, choose(v, w, load(c, u)))
        store(to[7], u, splat(c[0]))
        store(to[8], u, larger(v, w))


def test_operations_are_those_of_numbers():
    a, b, c = np.array(SPECIAL * 2), np.array(SPECIAL + SPECIAL[::-1]), normal(LANES)
    for first, second in ((a, b), (b, a), (normal(LANES, seed=1), normal(LANES, seed=2)), (c, a)):
        found = np.full((9, LANES), -7.0)
        reckon(first, second, c, found)
        with np.errstate(all="ignore"):
            expected = [first + second, first - second, first * second, first / second]
            expected += [abs(first), np.sqrt(first)]
        expected += [np.where(first > 0, second, c), np.full(LANES, c[0])]
        expected.append(np.where(first > second, first, second))
        assert_same(found, np.array(expected))


@njit
def copy_once(x, start, to, place):
    copy(x, start, to, place)


@dtypes
def test_four_neighbours_are_copied(dtype):
    x = normal(20, dtype)
    x[7], x[9] = np.nan, -0.0
    for start in range(17):
        found, expected = np.full(30, -7, dtype), np.full(30, -7, dtype)
        expected[start + 3 : start + 3 + QUAD] = x[start : start + QUAD]
        copy_once(x, start, found, start + 3)
        assert_same(found, expected)


@njit
def turn_once(x, places, to, place, row):
    turn(x, places, to, place, row)


@dtypes
@pytest.mark.parametrize("places", [(0, 1, 2, 3), (9, 0, 5, 33), (7, 7, 30, 7)])
@pytest.mark.parametrize("row", [4, 5, 16])
def test_four_places_become_columns(dtype, places, row):
    x = normal(37, dtype)
    x[7], x[9] = np.nan, -0.0
    found, expected = np.full(70, -7, dtype), np.full(70, -7, dtype)
    for k in range(QUAD):
        for u in range(QUAD):
            expected[3 + k * row + u] = x[places[u] + k]
    turn_once(x, places, found, 3, row)
    assert_same(found, expected)


FOUR = """
import sys
import pytest
from tmeasures.kernels.numba_vectors import WIDTH
assert WIDTH == 4
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", *sys.argv[1:]]))
"""
OF_VECTORS = ["test_any_neighbours_are_loaded_and_stored", "test_operations_are_those_of_numbers"]
OF_MOVED = [
    "test_maps_of_every_size_and_columns_of_every_number",
    "test_zero_maps",
    "test_pairs_are_compared_where_both_count",
    "test_what_is_below_the_rounding_of_squares_is_no_distance",
    "test_every_memory_layout_is_compared_alike",
]
OF_MOMENTS = "test_units_of_several_blocks_are_as_numpy_has_them[Moments]"


def test_vectors_of_four_lanes_give_the_same():
    """Tests that take one type, of each kernel in vectors, without AVX-512."""
    features = cpu_target.target_context.codegen().magic_tuple()[2].replace("+avx512", "-avx512")
    here = Path(__file__)
    chosen = [f"{here}::{name}" for name in OF_VECTORS]
    chosen += [f"{here.with_name('test_equivariance_kernels.py')}::{name}" for name in OF_MOVED]
    chosen.append(f"{here.with_name('test_map_kernels.py')}::test_maps_of_every_size")
    chosen.append(f"{here.with_name('test_moment_kernels.py')}::{OF_MOMENTS}")
    run = subprocess.run(
        [sys.executable, "-c", FOUR, *chosen, "-k", "not torch and not manhattan"],
        env=os.environ | {"NUMBA_CPU_FEATURES": features},
        cwd=here.parent.parent,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
