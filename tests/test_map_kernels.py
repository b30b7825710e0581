"""The kernels of feature maps against their definition in extended precision."""

from types import SimpleNamespace

import numba
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tmeasures.kernels import numba_maps, torch_maps, torch_moments
from tmeasures.statistics import Setup
from tmeasures.statistics.metrics import Metric
from tmeasures.statistics.pairs import Distances, Pairs
from tmeasures.tile import Tile

KERNELS = {"numba": numba_maps.maps, "torch": torch_maps.maps}
# Where the torch kernels run: on a GPU wherever one is at hand.
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DTYPES = [torch.float32, torch.float64]
METRICS = [
    ("euclidean", False),
    ("manhattan", False),
    ("cosine", False),
    ("euclidean", True),
    ("manhattan", True),
]

backends = pytest.mark.parametrize("backend", KERNELS)
metrics = pytest.mark.parametrize("metric", METRICS, ids=str)


def normal(*shape, dtype=torch.float32, offset=0.0, seed=0):
    g = torch.Generator().manual_seed(seed)
    return (torch.randn(*shape, generator=g, dtype=torch.float64) + offset).to(dtype)


def fold(backend, x, metric, rows=None, blocks=None):
    """Add a tile to copies of the states; None: zeros."""
    device = DEVICE if backend == "torch" else "cpu"
    zeros = torch.zeros(1, len(x), dtype=torch.float64)
    states = [zeros if state is None else torch.from_numpy(state) for state in (rows, blocks)]
    states = [state.to(device, copy=True) for state in states]
    KERNELS[backend](x.to(device), *metric, *states)
    return [state.cpu().numpy() for state in states]


def definition(x, metric):
    """The sums within rows and within the block."""
    (name, unit_norm), cube = metric, np.moveaxis(x.numpy(), 0, 2)
    of = Metric(name, vectors=True, unit_norm=unit_norm)
    both = [of.definition(v).sum(0) for v in (cube.swapaxes(0, 1), cube)]
    return [found.astype(float)[np.newaxis] for found in both]


def assert_agrees(backend, x, metric, bound=1e-13):
    # Unit norms have rounding errors of their own, however near to each other maps are.
    rounding = 1e-15 * x[0, ..., 0].numel() if metric in METRICS[2:] else 0
    for found, expected in zip(fold(backend, x, metric), definition(x, metric), strict=True):
        np.testing.assert_allclose(found, expected, rtol=bound, atol=rounding)


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@backends
@given(
    shape=st.tuples(*(st.integers(1, most) for most in (20, 40, 40, 40))),
    metric=st.sampled_from(METRICS),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=60, deadline=None)
def test_the_sums_are_those_of_all_pairs(backend, shape, metric, dtype, seed):
    assert_agrees(backend, normal(*shape, dtype=dtype, seed=seed), metric, bound=1e-12)


@backends
@pytest.mark.parametrize("metric", [("euclidean", False), ("cosine", False)], ids=str)
def test_rows_and_blocks_of_every_size(backend, metric):
    for c in range(1, 70):
        assert_agrees(backend, normal(2, c, 70 - c, 5, seed=c), metric)


@backends
@metrics
def test_maps_of_every_size(backend, metric):
    for size in range(2, 54):
        assert_agrees(backend, normal(3, 6, 5, size, seed=size), metric, bound=1e-12)


@backends
@pytest.mark.parametrize("metric", [("euclidean", False), ("manhattan", False)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_differences_come_before_squares(backend, metric, dtype):
    for size in (1, 7, 30):
        assert_agrees(backend, normal(2, 9, 6, size, dtype=dtype, offset=1e6), metric)


@backends
@metrics
@pytest.mark.parametrize("size", [2, 15, 16, 17, 100, 4099])
@pytest.mark.parametrize("dtype", DTYPES)
def test_equal_maps_are_at_no_distance(backend, metric, size, dtype):
    maps = normal(3, 7, 1, size, dtype=dtype, offset=1e4 / 3)
    rows, blocks = fold(backend, maps.expand(-1, -1, 37, -1).contiguous(), metric)
    assert (rows == 0).all()
    assert (blocks > 0).all()
    rows, blocks = fold(backend, maps.transpose(1, 2).expand(-1, 37, -1, -1).contiguous(), metric)
    assert (rows > 0).all()
    assert (blocks == 0).all()


@backends
@pytest.mark.parametrize(
    ("metric", "of_zeros", "of_one"),
    [(("cosine", False), 0, 1), (("euclidean", True), 0, 1), (("manhattan", True), 0, 1.4)],
)
@pytest.mark.parametrize("size", [2, 3, 15, 16, 17, 32])
def test_zero_maps(backend, metric, of_zeros, of_one, size):
    zero, other = torch.zeros(1, 1, 1, size), torch.zeros(1, 1, 1, size)
    other[..., 0], other[..., -1] = 30, 40
    for maps, expected in (((zero, -zero), of_zeros), ((zero, other), of_one)):
        rows, blocks = fold(backend, torch.cat(maps, 1), metric)
        assert blocks == pytest.approx(expected, rel=1e-14)
        assert rows == 0


@backends
def test_the_cosine_of_opposite_and_of_orthogonal_maps(backend):
    maps = torch.tensor([[2.0, 0.0], [-5.0, 0.0], [0.0, 1e-3]]).view(1, 3, 1, 2)
    for pair, expected in (([0, 1], 2), ([0, 2], 1), ([0, 0], 0)):
        _, found = fold(backend, maps[:, pair], ("cosine", False))
        assert found == pytest.approx(expected, rel=1e-14)


@backends
@pytest.mark.parametrize("metric", METRICS[2:], ids=str)
def test_maps_of_one_value_differ_in_their_signs_alone(backend, metric):
    x = normal(40, 6, 5, 1).abs()
    assert_same(fold(backend, x, metric), [np.zeros((1, 40))] * 2)
    x[:, 0] *= -1
    assert_same(fold(backend, x, metric), [np.zeros((1, 40)), np.full((1, 40), 2.0 * 5 * 5)])


STRIDED = {
    "channels last": lambda x: x.permute(1, 2, 3, 0).contiguous().permute(3, 0, 1, 2),
    "as hooks hand it over": lambda x: x.permute(1, 2, 0, 3).contiguous().permute(2, 0, 1, 3),
    "batch in the middle": lambda x: x.permute(3, 1, 2, 0).contiguous().permute(3, 1, 2, 0),
    "every second": lambda x: x.repeat_interleave(2, 3)[..., ::2],
    "a part": lambda x: torch.cat([x * 0 + 7, x, x * 0 - 3], 0)[len(x) : 2 * len(x)],
}


@backends
@metrics
@pytest.mark.parametrize("layout", STRIDED)
@pytest.mark.parametrize("size", [1, 6, 21])
def test_every_memory_layout_gives_the_same(backend, metric, layout, size, monkeypatch):
    monkeypatch.setattr(numba_maps, "GROUP", 2**10)
    x = normal(35, 5, 7, size)
    expected, found = fold(backend, x, metric), fold(backend, STRIDED[layout](x), metric)
    if backend == "numba":
        assert_same(found, expected)
    else:
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-12)


@metrics
@pytest.mark.parametrize("shape", [(1, 3, 5, 6), (7, 1, 9, 6), (50, 6, 1, 4), (200, 3, 2, 5)])
def test_channels_that_go_in_groups_or_among_threads_give_the_same(metric, shape, monkeypatch):
    for x in (normal(*shape), STRIDED["channels last"](normal(*shape))):
        expected = fold("numba", x, metric)
        for found, defined in zip(expected, definition(x, metric), strict=True):
            np.testing.assert_allclose(found, defined, rtol=1e-12)
        for group in (1, 100, 1000):
            for work in (1, 100):
                monkeypatch.setattr(numba_maps, "GROUP", group)
                monkeypatch.setattr(numba_maps, "WORK", work)
                assert_same(fold("numba", x, metric), expected)


@metrics
def test_threads_change_no_bit(metric):
    x, before = normal(11, 20, 17, 70), torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, numba.config.NUMBA_NUM_THREADS):
            torch.set_num_threads(threads)
            found.append(fold("numba", x, metric))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert_same(other, found[0])


def test_the_channels_beside_a_channel_change_no_bit():
    x = normal(40, 5, 6, 7)
    whole = fold("numba", x, ("euclidean", False))
    for c in range(40):
        assert_same(fold("numba", x[c : c + 1], ("euclidean", False)), [v[:, [c]] for v in whole])


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@backends
@metrics
@pytest.mark.parametrize("size", [1, 6])
@pytest.mark.parametrize("layout", ["contiguous", "channels last"])
def test_values_that_are_not_finite_leave_other_channels_alone(backend, metric, bad, size, layout):
    x = STRIDED.get(layout, torch.clone)(normal(20, 7, 6, size))
    plain = fold(backend, x, metric)
    x[4, ::3, 1::2, 0] = bad
    x[19, -1, -1, -1] = bad
    for found, expected in zip(fold(backend, x, metric), plain, strict=True):
        channels = np.delete(np.arange(20), [4, 19])
        np.testing.assert_array_equal(found[:, channels], expected[:, channels])


@backends
@metrics
@pytest.mark.parametrize("size", [1, 6])
def test_sums_are_added_to_those_of_earlier_tiles(backend, metric, size):
    first, second = normal(4, 11, 6, size, seed=1), normal(4, 11, 6, size, seed=2)
    found = fold(backend, second, metric, *fold(backend, first, metric))
    alone = zip(fold(backend, first, metric), fold(backend, second, metric), strict=True)
    assert_same(found, [a + b for a, b in alone])


@backends
@metrics
@pytest.mark.parametrize("size", [1, 6])
def test_what_is_not_asked_for_is_left_out(backend, metric, size):
    x, none = normal(4, 11, 6, size), np.zeros((0, 4))
    rows, blocks = fold(backend, x, metric)
    assert_same(fold(backend, x, metric, blocks=none), [rows, none])
    assert_same(fold(backend, x, metric, rows=none), [none, blocks])


@backends
@metrics
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, *DTYPES])
@pytest.mark.parametrize("size", [1, 6])
def test_the_activations_are_left_as_they_are(backend, metric, dtype, size):
    x = normal(4, 20, 18, size, dtype=dtype)
    before = x.clone()
    found = fold(backend, x, metric)
    assert torch.equal(x, before)
    for one, other in zip(found, definition(x.double(), metric), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


@metrics
def test_torch_goes_by_chunks(metric, monkeypatch):
    x, widened, widen = normal(5, 12, 7, 6), [], torch_maps._widen
    monkeypatch.setattr(
        torch_maps, "_widen", lambda maps, *of: widened.append(maps.numel()) or widen(maps, *of)
    )
    expected = fold("torch", x, metric)
    assert max(widened) == x.numel()
    for most in (8, 500, 5000, 20000):
        monkeypatch.setattr(torch_moments, "CHUNK_BYTES", most)
        widened.clear()
        for found, other in zip(fold("torch", x, metric), expected, strict=True):
            np.testing.assert_allclose(found, other, rtol=1e-12)
        assert max(widened) <= max(6, most / 32)


@pytest.mark.parametrize("name", ["euclidean", "manhattan", "cosine"])
def test_a_statistic_of_maps_goes_to_its_own_kernels(name):
    def maps(x, metric, unit_norm, within_rows, within_blocks):
        seen.append((tuple(x.shape), metric, unit_norm))
        within_rows += 1
        within_blocks += 2

    seen = []
    setup = Setup(shape=(3, 2, 5), m=4, tile=(6, 4), n=6, dims=("channel", "y", "x"))
    statistic = Distances(setup, Pairs(Metric(name, vectors=True, unit_norm=True)))
    statistic.backend = SimpleNamespace(maps=maps)
    statistic.update(Tile(range(6), range(4), np.arange(6), None, normal(6, 4, 3, 2, 5)))
    assert seen == [((3, 6, 4, 10), name, True)]
    assert statistic.totals.tolist() == [[1, 1, 1], [2, 2, 2]]
