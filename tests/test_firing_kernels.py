"""The firing kernels against sorting and counting in numpy."""

import numba
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tmeasures.kernels import numba_firing, torch_firing, torch_moments

KERNELS = {"numba": numba_firing, "torch": torch_firing}
# Where the torch kernels run: on a GPU wherever one is at hand.
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DTYPES = [torch.float32, torch.float64]


def device(backend):
    return DEVICE if backend == "torch" else "cpu"


def tile(*shape, dtype=torch.float32, decimals=None, seed=0):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(*shape, generator=g, dtype=torch.float64)
    return (x if decimals is None else x.round(decimals=decimals)).to(dtype)


def flat(x):
    """A tile as (s, t, unit)."""
    return x.permute(1, 2, 0, 3).flatten(2).numpy()


def units(x):
    return x.shape[0] * x.shape[3]


def largest(backend, tiles, k, sign=1):
    """The heaps and the smallest values of tiles, folded one after another."""
    x = tiles[0]
    kept = torch.full((k, units(x)), -torch.inf, dtype=x.dtype, device=device(backend))
    smallest = torch.full((units(x),), torch.inf, dtype=x.dtype, device=device(backend))
    for each in tiles:
        KERNELS[backend].keep_largest(each.to(device(backend)), sign, kept, smallest)
    return kept.cpu().numpy(), smallest.cpu().numpy()


def assert_keeps(backend, tiles, k, sign):
    kept, smallest = largest(backend, tiles, k, sign)
    values = sign * np.concatenate([flat(x).reshape(-1, units(x)) for x in tiles])
    expected = np.sort(values, 0)[::-1][:k]
    found = np.sort(kept, 0)[::-1]
    np.testing.assert_array_equal(found[: len(expected)], expected)
    assert (found[len(expected) :] == -np.inf).all()
    np.testing.assert_array_equal(smallest, values.min(0))
    for i in range(1, k):
        assert (kept[(i - 1) // 2] <= kept[i]).all()


@pytest.mark.parametrize("backend", KERNELS)
@given(
    shape=st.tuples(*(st.integers(1, most) for most in (3, 12, 9, 9))),
    k=st.integers(1, 30),
    count=st.integers(1, 3),
    sign=st.sampled_from([1, -1]),
    dtype=st.sampled_from(DTYPES),
    decimals=st.sampled_from([None, 0]),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=40, deadline=None)
def test_the_largest_are_those_of_sorted_values(
    backend, shape, k, count, sign, dtype, decimals, seed
):
    tiles = [tile(*shape, dtype=dtype, decimals=decimals, seed=seed + i) for i in range(count)]
    assert_keeps(backend, tiles, k, sign)


@pytest.mark.parametrize("backend", KERNELS)
@pytest.mark.parametrize("inner", [255, 256, 257, 700])
def test_the_largest_of_layers_of_several_blocks(backend, inner, monkeypatch):
    monkeypatch.setattr(torch_moments, "CHUNK_BYTES", 2**15)
    assert_keeps(backend, [tile(2, 9, 5, inner, seed=i) for i in range(3)], 11, -1)


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("backend", KERNELS)
def test_the_largest_of_values_that_come_in_order(backend, order):
    x = order * torch.arange(60.0).view(1, 60, 1, 1)
    assert_keeps(backend, [x, x], 7, 1)


def count(backend, x, limits, m=None, seen=0, sign=1, same=(), at=-1, reference=None, kept=None):
    """Totals of one tile, and its open rows; kept: those of earlier tiles."""
    m = x.shape[2] if m is None else m
    shape = (x.shape[1] if m > x.shape[2] else 0, len(limits), units(x))
    kept = kept or (torch.zeros(shape, dtype=torch.int32), torch.zeros(shape, dtype=torch.uint8))
    totals = torch.zeros(len(limits), 3, units(x), dtype=torch.float64)
    here = [part.to(device(backend), copy=True) for part in (limits, totals, *kept)]
    x = x.to(device(backend))
    reference = x if reference is None else reference.to(device(backend))
    KERNELS[backend].firing(x, reference, at, torch.tensor(same).long(), sign, *here, seen, m)
    return here[1].cpu().numpy(), [part.cpu() for part in here[2:]]


def definition(x, limits, first, sign=1, same=()):
    """Totals of whole rows."""
    found = []
    others = [j for j in range(x.shape[2]) if j not in same]
    for limit, own in zip(limits.numpy(), (sign, -sign), strict=False):
        fires, alone = own * flat(x) > limit, own * first > limit
        joint = (alone * fires[:, others].sum(1)).sum(0)
        found.append([fires.sum((0, 1)), alone.sum(0), joint])
    return np.array(found, np.float64)


def limits_of(x, signs=1, decimals=None):
    return tile(signs, 1, 1, units(x), dtype=x.dtype, decimals=decimals, seed=99).view(signs, -1)


@pytest.mark.parametrize("backend", KERNELS)
@given(
    shape=st.tuples(*(st.integers(1, most) for most in (3, 9, 14, 9))),
    signs=st.integers(1, 2),
    sign=st.sampled_from([1, -1]),
    same=st.lists(st.integers(0, 13), max_size=3, unique=True),
    given=st.booleans(),
    dtype=st.sampled_from(DTYPES),
    decimals=st.sampled_from([None, 0]),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=60, deadline=None)
def test_the_counts_of_whole_rows(backend, shape, signs, sign, same, given, dtype, decimals, seed):
    x = tile(*shape, dtype=dtype, decimals=decimals, seed=seed)
    same = [j for j in same if j < shape[2]]
    limits = limits_of(x, signs, decimals)
    if given or not same:
        reference = tile(shape[0], shape[1], 1, shape[3], dtype=dtype, decimals=decimals, seed=7)
        first, options = flat(reference)[:, 0], {"reference": reference, "at": 0}
    else:
        first, options = flat(x)[:, same[0]], {"at": same[0]}
    totals, _ = count(backend, x, limits, sign=sign, same=same, **options)
    np.testing.assert_array_equal(totals, definition(x, limits, first, sign, same))


@pytest.mark.parametrize("identity", [0, 3, 4, 6])
@pytest.mark.parametrize("backend", KERNELS)
def test_rows_over_several_tiles_are_closed_by_the_last(backend, identity):
    x = tile(2, 5, 7, 33)
    limits = limits_of(x, 2)
    kept, totals = None, 0
    for j in (0, 3, 6):
        part = x[:, :, j : j + 3].contiguous()
        inside = j <= identity < j + part.shape[2]
        at, same = (identity - j, [identity - j]) if inside else (-1, [])
        found, kept = count(backend, part, limits, 7, j, at=at, same=same, kept=kept)
        assert (j == 6) == found[:, 1:].any()
        totals = totals + found
    expected = definition(x, limits, flat(x)[:, identity], same=[identity])
    np.testing.assert_array_equal(totals, expected)


@pytest.mark.parametrize("backend", KERNELS)
def test_open_rows_are_forgotten_when_others_begin(backend):
    x = tile(1, 5, 4, 9)
    limits = limits_of(x)
    _, stale = count(backend, tile(1, 5, 2, 9, seed=1), limits, 4, 0, at=1, same=[1])
    _, kept = count(backend, x[:, :, :2].contiguous(), limits, 4, 0, kept=stale)
    second, _ = count(backend, x[:, :, 2:].contiguous(), limits, 4, 2, at=0, same=[0], kept=kept)
    expected = definition(x, limits, flat(x)[:, 2], same=[2])
    np.testing.assert_array_equal(second[:, 1:], expected[:, 1:])


@pytest.mark.parametrize("backend", KERNELS)
@pytest.mark.parametrize("inner", [1023, 1024, 1025, 2500])
def test_the_counts_of_layers_of_several_blocks(backend, inner, monkeypatch):
    monkeypatch.setattr(torch_moments, "CHUNK_BYTES", 2**16)
    x = tile(2, 4, 5, inner)
    limits = limits_of(x, 2)
    totals, _ = count(backend, x, limits, at=2, same=[2])
    expected = definition(x, limits, flat(x)[:, 2], same=[2])
    np.testing.assert_array_equal(totals, expected)


@pytest.mark.parametrize("backend", KERNELS)
def test_infinite_limits_are_over_all_and_under_all(backend):
    x = tile(1, 4, 5, 2)
    limits = torch.tensor([[torch.inf, -torch.inf]] * 2)
    totals, _ = count(backend, x, limits, at=0, same=[0])
    assert totals[:, :, 0].tolist() == [[0, 0, 0]] * 2
    assert totals[:, :, 1].tolist() == [[20, 4, 16]] * 2


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("backend", KERNELS)
def test_values_that_are_not_finite_leave_other_units_alone(backend, bad):
    x = tile(2, 6, 5, 21)
    limits, others = limits_of(x, 2), np.arange(42) != 21 + 4
    plain, heaps = count(backend, x, limits, at=0)[0], largest(backend, [x], 4)
    x[1, ::3, ::2, 4] = bad
    found, kept = count(backend, x, limits, at=0)[0], largest(backend, [x], 4)
    np.testing.assert_array_equal(found[..., others], plain[..., others])
    for one, other in zip(kept, heaps, strict=True):
        np.testing.assert_array_equal(one[..., others], other[..., others])
    assert np.isnan(found[:, 1, 21 + 4]).all()  # an untransformed sample is not finite


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", KERNELS)
def test_the_activations_are_left_as_they_are(backend, dtype):
    x = tile(1, 6, 5, 7, dtype=dtype)
    before = x.clone()
    largest(backend, [x], 4, -1)
    count(backend, x, limits_of(x, 2), at=1, same=[1])
    assert torch.equal(x, before)


def test_threads_change_no_bit():
    x, before = tile(2, 20, 17, 1999), torch.get_num_threads()
    found = []
    try:
        for threads in (1, numba.config.NUMBA_NUM_THREADS):
            torch.set_num_threads(threads)
            totals, _ = count("numba", x, limits_of(x, 2), at=3, same=[3])
            found.append([totals, *largest("numba", [x], 9)])
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for alone, together in zip(*found, strict=True):
        np.testing.assert_array_equal(alone, together)
