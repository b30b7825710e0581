"""The distance kernels against all pairs in extended precision."""

import itertools

import numba
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tmeasures.kernels import numba_distances, torch_distances, torch_moments

KERNELS = {"numba": numba_distances.distances, "torch": torch_distances.distances}
# Where the torch kernels run: on a GPU wherever one is at hand.
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DTYPES = [torch.float32, torch.float64]


def zeros(x, block):
    blocks = -(-x.shape[1] // block)
    return torch.zeros(blocks, x.shape[0] * x.shape[3], dtype=torch.float64)


def fold(backend, x, block, rows=None, blocks=None):
    """Add a tile to copies of the states; None: zeros."""
    device = DEVICE if backend == "torch" else "cpu"
    states = [zeros(x, block) if state is None else state for state in (rows, blocks)]
    states = [state.to(device, copy=True) for state in states]
    KERNELS[backend](x.to(device), block, *states)
    return [state.cpu().numpy() for state in states]


def all_pairs(v):
    """Sum of ``|v[p] - v[q]|``, p < q, along the first axis, then over the second."""
    return sum(np.abs(v[p] - v[p + 1 :]).sum((0, 1)) for p in range(len(v)))


def definition(x, block):
    """The sums within rows and within blocks."""
    v = x.numpy().astype(np.longdouble).transpose(1, 2, 0, 3)
    v = v.reshape(*v.shape[:2], -1)
    parts = [v[i : i + block] for i in range(0, len(v), block)]
    rows = [all_pairs(part.swapaxes(0, 1)) for part in parts]
    return np.stack(rows), np.stack([all_pairs(part) for part in parts])


def assert_agrees(backend, x, block):
    for found, expected in zip(fold(backend, x, block), definition(x, block), strict=True):
        np.testing.assert_allclose(found, expected.astype(float), rtol=1e-13, atol=0)


def tile(*shape, dtype=torch.float32, offset=0.0, decimals=None, seed=0):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(*shape, generator=g, dtype=torch.float64)
    if decimals is not None:
        x = x.round(decimals=decimals)  # many ties
    return (x + offset).to(dtype)


@pytest.mark.parametrize("backend", KERNELS)
@given(
    shape=st.tuples(*(st.integers(1, most) for most in (3, 70, 70, 9))),
    block=st.integers(1, 40),
    dtype=st.sampled_from(DTYPES),
    offset=st.sampled_from([0.0, 1e4]),
    decimals=st.sampled_from([None, 0, 1]),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=30, deadline=None)
def test_the_sums_are_those_of_all_pairs(backend, shape, block, dtype, offset, decimals, seed):
    assert_agrees(
        backend, tile(*shape, dtype=dtype, offset=offset, decimals=decimals, seed=seed), block
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", KERNELS)
def test_rows_and_blocks_of_every_size(backend, dtype):
    for c in range(1, 71):
        assert_agrees(backend, tile(1, c, 71 - c, 3, dtype=dtype, seed=c), 2**40)


@pytest.mark.parametrize("c", [16, 32, 42, 48, 64])
def test_every_order_of_values_is_sorted(c):
    # A network that sorts all zeros and ones sorts everything (Knuth, 5.3.4), and these give
    # ones * zeros pairs only if sorted. Above 16 values, groups of 16 are known to be sorted.
    if c == 16:
        x = torch.arange(2**16).bitwise_right_shift(torch.arange(16).unsqueeze(1)).bitwise_and(1)
    else:
        groups = [torch.arange(min(16, c - i)).unsqueeze(1) for i in range(0, c, 16)]
        ones = torch.tensor([*itertools.product(*(range(len(group) + 1) for group in groups))])
        x = torch.cat([(group < n).int() for group, n in zip(groups, ones.T, strict=True)])
    expected = (x.sum(0) * (c - x.sum(0))).double().numpy()
    rows, _ = fold("numba", x.view(1, 1, c, -1).float(), 1)
    _, blocks = fold("numba", x.view(1, c, 1, -1).double(), c)
    np.testing.assert_array_equal(rows[0], expected)
    np.testing.assert_array_equal(blocks[0], expected)


@pytest.mark.parametrize(("c", "number"), [(16, 63), (32, 191), (64, 543)])
def test_the_network_is_batchers(c, number):
    assert len(numba_distances.comparators(c)) + c // 16 * 63 == number


@pytest.mark.parametrize("backend", KERNELS)
@pytest.mark.parametrize("inner", [255, 256, 257, 700])
def test_layers_of_several_chunks(backend, inner, monkeypatch):
    monkeypatch.setattr(torch_moments, "CHUNK_BYTES", 2**16)
    assert_agrees(backend, tile(2, 45, 5, inner), 32)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", KERNELS)
def test_equal_values_are_at_no_distance(backend, dtype):
    values = tile(1, 45, 1, 9, dtype=dtype, offset=1e4 / 3)
    rows, blocks = fold(backend, values.expand(-1, -1, 19, -1).contiguous(), 32)
    assert (rows == 0).all()
    assert (blocks > 0).all()
    rows, blocks = fold(backend, values.transpose(1, 2).expand(-1, 37, -1, -1).contiguous(), 32)
    assert (rows > 0).all()
    assert (blocks == 0).all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("backend", KERNELS)
def test_values_that_are_not_finite_leave_other_units_alone(backend, bad):
    x = tile(2, 20, 17, 21)
    plain = fold(backend, x, 8)
    x[1, ::3, 1::2, 4] = bad
    for found, expected in zip(fold(backend, x, 8), plain, strict=True):
        units = np.arange(42) != 21 + 4
        np.testing.assert_array_equal(found[:, units], expected[:, units])


@pytest.mark.parametrize("backend", KERNELS)
def test_sums_are_added_to_those_of_earlier_tiles(backend):
    first, second = tile(2, 11, 6, 5, seed=1), tile(2, 11, 6, 5, seed=2)
    found = fold(backend, second, 4, *map(torch.from_numpy, fold(backend, first, 4)))
    alone = zip(fold(backend, first, 4), fold(backend, second, 4), strict=True)
    for total, (a, b) in zip(found, alone, strict=True):
        np.testing.assert_array_equal(total, a + b)


@pytest.mark.parametrize("backend", KERNELS)
def test_what_is_not_asked_for_is_left_out(backend):
    x = tile(2, 11, 6, 5)
    rows, blocks = fold(backend, x, 4)
    none = zeros(x, 4)[:0]
    np.testing.assert_array_equal(fold(backend, x, 4, blocks=none)[0], rows)
    np.testing.assert_array_equal(fold(backend, x, 4, rows=none)[1], blocks)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", KERNELS)
def test_the_activations_are_left_as_they_are(backend, dtype):
    x = tile(1, 20, 18, 7, dtype=dtype)
    before = x.clone()
    fold(backend, x, 8)
    assert torch.equal(x, before)


def test_threads_change_no_bit():
    x, before = tile(2, 20, 17, 1999), torch.get_num_threads()
    found = []
    try:
        for threads in (1, numba.config.NUMBA_NUM_THREADS):
            torch.set_num_threads(threads)
            found.append(fold("numba", x, 8))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for alone, together in zip(*found, strict=True):
        np.testing.assert_array_equal(alone, together)
