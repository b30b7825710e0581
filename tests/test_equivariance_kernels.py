"""The kernels of maps moved by their transformations against their definition."""

from itertools import pairwise
from types import SimpleNamespace

import numba
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tmeasures.kernels import backend, numba_equivariance, torch_equivariance, torch_moments

KERNELS = {"numba": numba_equivariance, "torch": torch_equivariance}
# Where the torch kernels run: on a GPU wherever one is at hand.
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DTYPES = [torch.float32, torch.float64]

backends = pytest.mark.parametrize("backend", KERNELS)
all_norms = pytest.mark.parametrize("unit", [False, True], ids=["raw", "unit"])
all_taps = pytest.mark.parametrize("taps", [1, 4])


def normal(*shape, dtype=torch.float32, offset=0.0, seed=0):
    g = torch.Generator().manual_seed(seed)
    return (torch.randn(*shape, generator=g, dtype=torch.float64) + offset).to(dtype)


def make(c, s, t, size, taps=4, masks=True, dtype=torch.float32, seed=0):
    """A tile with a table; masks leave three locations to all maps."""
    g = np.random.default_rng(seed)
    weight = g.random((t, taps, size)) if taps == 4 else (g.random((t, 1, size)) < 0.9) * 1.0
    valid = np.ones((t, size), bool)
    kept = np.ones((t, t), bool)
    if masks:
        # Some patterns over and over, and others that come once.
        patterns = g.random((t, 3)) < 0.6
        valid = np.where(g.random(size) < 0.8, patterns[:, g.integers(0, 3, size)], valid)
        valid ^= g.random((t, size)) < 0.05
        valid[:, -3:] = True
        kept = g.random((t, t)) < 0.8
    return SimpleNamespace(
        x=normal(c, s, t, size, dtype=dtype, seed=seed),
        index=torch.from_numpy(g.integers(0, size, (t, taps, size)).astype(np.int32)),
        weight=torch.from_numpy(weight),
        valid=torch.from_numpy(valid),
        kept=torch.from_numpy(kept),
    )


def changed(case, **parts):
    return SimpleNamespace(**{**vars(case), **parts})


def columns(case, at):
    parts = {key: getattr(case, key)[at] for key in ("index", "weight", "valid")}
    return changed(case, x=case.x[:, :, at], kept=case.kept[at, at], **parts)


def empty_rows(case, s=0):
    return torch.zeros(s, 2, len(case.x), case.x.shape[3], dtype=torch.float64)


def returned(
    backend, case, unit=False, layer=False, squares=None, distances=None, rows=None, seen=None,
    last=True,
):  # fmt: skip
    """Fold a tile into copies of the states; None: zeros."""
    c, size = len(case.x), case.x.shape[3]
    rows = empty_rows(case) if rows is None else rows
    squares = torch.zeros(c, size, dtype=torch.float64) if squares is None else squares
    if distances is None:
        distances = torch.zeros(1 if layer else c, dtype=torch.float64)
    seen = torch.zeros(size, dtype=torch.int64) if seen is None else seen
    device = DEVICE if backend == "torch" else "cpu"
    states = [v.to(device, copy=True) for v in (squares, rows, seen, distances)]
    tables = [v.to(device) for v in (case.x, case.index, case.weight, case.valid, case.kept)]
    KERNELS[backend].returned(*tables, unit, *states[:3], last, states[3])
    return SimpleNamespace(squares=states[0].cpu(), rows=states[1].cpu(), distances=states[3].cpu())


def moved(case):
    x, index, weight = case.x.double().numpy(), case.index.numpy(), case.weight.numpy()
    maps = np.zeros(case.x.shape, np.longdouble)
    for j in range(x.shape[2]):
        for k in range(index.shape[1]):
            maps[:, :, j] += weight[j, k] * x[:, :, j].astype(np.longdouble)[..., index[j, k]]
    return maps


def squares_of(case):
    maps, valid = moved(case), case.valid.numpy()
    found = np.zeros((len(maps), maps.shape[3]), np.longdouble)
    for at in np.flatnonzero(valid.any(0)):
        values = maps[:, :, valid[:, at], at]
        found[:, at] = ((values - values.mean(2, keepdims=True)) ** 2).sum((1, 2))
    return found


def distances_of(case, unit, layer):
    maps, valid = moved(case), case.valid.numpy()
    found = np.zeros(1 if layer else len(maps), np.longdouble)
    for p, q in np.argwhere(np.triu(case.kept.numpy(), 1)):
        for i in range(maps.shape[1]):
            pair = [maps[:, i, j][:, valid[p] & valid[q]] for j in (p, q)]
            if layer:
                pair = [v.reshape(1, -1) for v in pair]
            if unit:
                norms = [np.sqrt((v**2).sum(1, keepdims=True)) for v in pair]
                pair = [v / np.where(n == 0, 1, n) for v, n in zip(pair, norms, strict=True)]
            found += np.sqrt(((pair[0] - pair[1]) ** 2).sum(1))
    return found


def assert_close(found, expected, rtol=1e-12, atol=0.0):
    np.testing.assert_allclose(found.numpy(), expected.astype(float), rtol=rtol, atol=atol)


def assert_agrees(backend, case, unit=False, layer=False):
    found = returned(backend, case, unit, layer)
    assert_close(found.squares, squares_of(case), atol=1e-13)
    # Unit norms: half of the digits are lost where maps differ in their norms alone, or nearly.
    assert_close(found.distances, distances_of(case, unit, layer), atol=1e-10 if unit else 0)


def assert_same(found, expected):
    for key in ("squares", "distances", "rows"):
        np.testing.assert_array_equal(getattr(found, key), getattr(expected, key))


@backends
@given(
    shape=st.tuples(*(st.integers(*sizes) for sizes in ((1, 20), (1, 5), (1, 10), (4, 40)))),
    taps=st.sampled_from([1, 4]),
    masks=st.booleans(),
    unit=st.booleans(),
    layer=st.booleans(),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=60, deadline=None)
def test_the_sums_are_those_of_the_definition(
    backend, shape, taps, masks, unit, layer, dtype, seed
):
    assert_agrees(backend, make(*shape, taps, masks, dtype, seed), unit, layer)


@backends
@all_norms
@pytest.mark.parametrize("layer", [False, True], ids=["channel", "layer"])
@pytest.mark.parametrize("c", [1, 3, 6, 16, 17, 33])
def test_channels_of_every_number(backend, unit, layer, c):
    for s in (1, 2, 7):
        assert_agrees(backend, make(c, s, 3, 5, masks=False, seed=c), unit, layer)


@backends
@all_taps
def test_maps_of_every_size_and_columns_of_every_number(backend, taps):
    for size in range(1, 37):
        assert_agrees(backend, make(2, 2, 3, size, taps, seed=size))
        assert_agrees(backend, make(2, 2, size, 4, taps, seed=size), layer=size % 2 == 0)


@backends
@all_norms
@pytest.mark.parametrize("layer", [False, True], ids=["channel", "layer"])
def test_rows_of_many_columns(backend, unit, layer):
    assert_agrees(backend, make(3, 2, 70, 6), unit, layer)


@all_norms
@pytest.mark.parametrize("layer", [False, True], ids=["channel", "layer"])
def test_numba_goes_by_blocks_of_maps(unit, layer, monkeypatch):
    case = make(18, 3, 13, 11)
    expected = returned("numba", case, unit, layer)
    for maps, brought in ((4, 2**20), (8, 2**20), (32, 6 * 11 * 64), (32, 1)):
        monkeypatch.setattr(numba_equivariance, "MAPS", maps)
        monkeypatch.setattr(numba_equivariance, "BROUGHT", brought)
        found = returned("numba", case, unit, layer)
        assert_close(found.squares, expected.squares.numpy(), 1e-13)
        assert_close(found.distances, expected.distances.numpy(), 1e-13)


@all_norms
@pytest.mark.parametrize("layer", [False, True], ids=["channel", "layer"])
@pytest.mark.parametrize("c", [1, 3, 20])
def test_numba_goes_by_parts_of_samples(unit, layer, c, monkeypatch):
    case = make(c, 23, 4, 5)
    for parts in (1, 2, 5, 100):
        monkeypatch.setattr(numba_equivariance, "PARTS", parts)
        assert_agrees("numba", case, unit, layer)


@backends
@all_taps
@pytest.mark.parametrize("cuts", [(5,), (1, 2), (3, 4, 11), (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)])
def test_rows_that_span_tiles(backend, taps, cuts):
    case, none = make(5, 3, 12, 22, taps, seed=len(cuts)), torch.zeros(0, dtype=torch.float64)
    case.valid[:7, 0] = False
    case.valid[7:, 1] = False
    case.valid[:, 2] = False
    before = normal(5, 22, dtype=torch.float64, seed=9).abs()
    edges, rows = [0, *cuts, 12], empty_rows(case, 3)
    seen, squares = torch.zeros(22, dtype=torch.int64), before
    for a, b in pairwise(edges):
        assert torch.equal(squares, before)
        tile = columns(case, slice(a, b))
        found = returned(backend, tile, False, False, squares, none, rows, seen, last=b == 12)
        squares, rows, seen = found.squares, found.rows, seen + tile.valid.sum(0)
        if b < 12:
            part = squares_of(columns(case, slice(0, b)))
            assert_close(rows[:, 1].sum(0), part, atol=1e-13)
    assert_close(squares - before, squares_of(case), atol=1e-13)
    assert (rows == 0).all()


@backends
def test_the_mean_of_open_rows(backend):
    case = make(4, 3, 6, 9)
    rows = returned(backend, case, rows=empty_rows(case, 3), last=False).rows
    maps, valid = moved(case), case.valid.numpy()
    for at in np.flatnonzero(valid.any(0)):
        mean = maps[:, :, valid[:, at], at].mean(2)
        assert_close(rows[:, 0, :, at].T, mean, atol=1e-14)


@backends
@all_norms
@pytest.mark.parametrize("layer", [False, True], ids=["channel", "layer"])
@pytest.mark.parametrize("size", [1, 4, 15, 17, 100])
@all_taps
def test_equal_maps_have_no_squares_and_no_distance(backend, unit, layer, size, taps):
    case = make(5, 3, 37, size, taps)
    for key in ("index", "weight"):
        setattr(case, key, getattr(case, key)[:1].expand(37, -1, -1).contiguous())
    case.x = normal(5, 3, 1, size, offset=1e4 / 3).expand(-1, -1, 37, -1).contiguous()
    found = returned(backend, case, unit, layer)
    assert (found.squares == 0).all()
    assert (found.distances == 0).all()
    case.x[:, :, 3] += 1
    found = returned(backend, case, unit, layer)
    assert (found.squares.sum(1) > 0).all()
    assert unit or (found.distances > 0).all()


@backends
@all_taps
def test_equal_maps_in_many_tiles_have_no_squares(backend, taps):
    case, rows = make(3, 2, 3, 8, taps, masks=False), None
    for key in ("index", "weight"):
        setattr(case, key, getattr(case, key)[:1].expand(3, -1, -1).contiguous())
    case.x = normal(3, 2, 1, 8, offset=1e4 / 3).expand(-1, -1, 3, -1).contiguous()
    rows, seen = empty_rows(case, 2), torch.zeros(8, dtype=torch.int64)
    for tile in range(3):
        found = returned(backend, case, rows=rows, seen=seen, last=tile == 2)
        rows, seen = found.rows, seen + 3
    assert (found.squares == 0).all()


@backends
@all_norms
def test_values_that_do_not_count_change_nothing(backend, unit):
    case = make(3, 2, 7, 20, taps=1)
    case.index[:], case.weight[:] = torch.arange(20), 1
    case.x = normal(3, 2, 1, 20, dtype=torch.float64, offset=1e4 / 3).expand(-1, -1, 7, -1)
    case.valid[0] = False
    equal = returned(backend, case, unit, rows=empty_rows(case, 2), last=False)
    other = normal(3, 2, 7, 20, dtype=torch.float64, offset=1e7)
    case.x = torch.where(case.valid, case.x, other)
    assert_same(returned(backend, case, unit, rows=empty_rows(case, 2), last=False), equal)
    found = returned(backend, case, unit)
    assert (found.squares == 0).all()
    assert (found.distances == 0).all()


@backends
@all_norms
@pytest.mark.parametrize("gap", [1e-3, 1e-6, 1e-9])
def test_maps_that_are_nearly_equal(backend, unit, gap):
    case = make(3, 2, 3, 50, masks=False, dtype=torch.float64)
    for key in ("index", "weight"):
        setattr(case, key, getattr(case, key)[:1].expand(3, -1, -1).contiguous())
    case.x = case.x[:, :, :1] + gap * case.x
    found = returned(backend, case, unit).distances
    assert_close(found, distances_of(case, unit, False), 1e-12 + 1e-13 / gap)


@backends
def test_maps_that_differ_in_their_norms_alone(backend):
    case = make(3, 2, 3, 50, masks=False, dtype=torch.float64)
    for key in ("index", "weight"):
        setattr(case, key, getattr(case, key)[:1].expand(3, -1, -1).contiguous())
    case.x = case.x[:, :, :1] * torch.tensor([1, 2.5, 7]).view(3, 1)
    found = returned(backend, case, True).distances
    assert (found >= 0).all()
    assert found.max() < 1e-6


@backends
@pytest.mark.parametrize("scale", [1e-38, 1e-20, 1e20, 1e37])
@all_norms
def test_maps_of_extreme_sizes(backend, scale, unit):
    case = make(3, 2, 5, 30)
    case.x *= scale
    found = returned(backend, case, unit).distances
    assert_close(found, distances_of(case, unit, False), 1e-12)


@backends
@pytest.mark.parametrize("t", [5, 33, 70])
@all_norms
def test_maps_that_count_everywhere(backend, t, unit):
    case = make(3, 2, t, 9, masks=False)  # beyond 32 maps, pairs of two blocks
    found = returned(backend, case, unit).distances
    assert_close(found, distances_of(case, unit, False), 1e-12)


@backends
def test_what_is_below_the_rounding_of_squares_is_no_distance(backend):
    case = make(4, 3, 6, 20, taps=1, masks=False)
    case.index[:] = torch.arange(20)
    case.weight[:] = 1
    case.x[:] = torch.eye(20)[3] * torch.tensor([1, 2.5, 7, 11, 0.3, 1e-4]).view(6, 1)
    assert returned(backend, case, True).distances.tolist() == [0] * 4


@backends
@pytest.mark.parametrize("size", [1, 3, 16, 33])
def test_zero_maps(backend, size):
    case = make(2, 1, 4, size, masks=False)
    case.index[:] = torch.arange(size)
    case.weight[:] = 0.25
    case.x[:, :, :2] = torch.tensor([0.0, -0.0]).view(2, 1)
    case.x[:, :, 2:] = 3
    case.x[1] = 0
    # Of the pairs, the zero maps and the equal ones are at 0, the four others at 1.
    assert returned(backend, case, True).distances.tolist() == [4, 0]
    assert returned(backend, case, True, layer=True).distances.tolist() == [4]
    expected = 4 * 3 * size**0.5
    assert returned(backend, case).distances.tolist() == pytest.approx([expected, 0], rel=1e-14)


@backends
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_map_that_is_not_finite_is_no_known_distance_from_zero_maps(backend, bad):
    case = make(2, 1, 3, 9, taps=1, masks=False)
    case.index[:] = torch.arange(9)
    case.weight[:] = 1
    case.x[:] = 0
    case.x[0, 0, 1, 4] = bad
    assert np.isnan(returned(backend, case, True).distances.tolist()).tolist() == [True, False]


@backends
@all_norms
def test_pairs_are_compared_where_both_count(backend, unit):
    case = make(2, 2, 3, 12, masks=False)
    case.valid[0, 6:] = False
    case.valid[1, :4] = False
    case.valid[2] = False
    found = returned(backend, case, unit)
    assert_close(found.distances, distances_of(case, unit, False))
    assert (found.distances > 0).all()
    assert (found.squares[:, 4:6] > 0).all()
    assert (found.squares[:, :4] == 0).all()
    assert (found.squares[:, 6:] == 0).all()
    case.x[:, :, 1, :] = 1e30  # counts nowhere that the first map does but at 4 and 5
    case.valid[1, 4:6] = False
    found = returned(backend, case, unit)
    assert (found.distances == 0).all()
    assert (found.squares == 0).all()


@backends
@pytest.mark.parametrize("layer", [False, True], ids=["channel", "layer"])
def test_pairs_that_are_not_kept_are_left_out(backend, layer):
    case = make(3, 2, 6, 9)
    case.kept[:] = False
    case.kept[4, 1] = case.kept[2, 2] = True
    assert (returned(backend, case, layer=layer).distances == 0).all()
    case.kept[1, 4] = True
    assert_agrees(backend, case, layer=layer)


LAYOUTS = {
    "channels last": lambda x: x.permute(1, 2, 3, 0).contiguous().permute(3, 0, 1, 2),
    "as hooks hand it over": lambda x: x.permute(1, 2, 0, 3).contiguous().permute(2, 0, 1, 3),
    "batch in the middle": lambda x: x.permute(3, 1, 2, 0).contiguous().permute(3, 1, 2, 0),
    "every second": lambda x: x.repeat_interleave(2, 3)[..., ::2],
    "a part": lambda x: torch.cat([x * 0 + 7, x, x * 0 - 3], 0)[len(x) : 2 * len(x)],
}


@backends
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("c", "size"), [(35, 21), (16, 3), (3, 6), (1, 1)])
def test_every_memory_layout_gives_the_same(backend, layout, c, size):
    case = make(c, 5, 6, size)
    expected = returned(backend, case, True)
    found = returned(backend, changed(case, x=LAYOUTS[layout](case.x)), True)
    if backend == "numba":
        assert_same(found, expected)
    else:
        assert_close(found.squares, expected.squares.numpy(), atol=1e-13)
        assert_close(found.distances, expected.distances.numpy())


@pytest.mark.parametrize("layer", [False, True], ids=["channel", "layer"])
@pytest.mark.parametrize("c", [3, 20])
def test_threads_change_no_bit(layer, c):
    case, before, found = make(c, 2200 // c, 8, 40), torch.get_num_threads(), []
    reference = case.x[:, :, 0].contiguous()
    try:
        for threads in (1, 2, numba.config.NUMBA_NUM_THREADS):
            torch.set_num_threads(threads)
            found.append(returned("numba", case, True, layer))
            found[-1].rows = carried("numba", case, reference)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert_same(other, found[0])


def test_the_channels_beside_a_channel_change_no_bit():
    case = make(40, 5, 6, 7)
    whole = returned("numba", case)
    for c in range(0, 40, 3):
        alone = returned("numba", changed(case, x=case.x[c : c + 1]))
        assert torch.equal(alone.distances, whole.distances[c : c + 1])
        # Other samples are side by side, and added in another order.
        assert_close(alone.squares, whole.squares[c : c + 1].numpy(), 1e-14, atol=1e-14)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@backends
@all_norms
@all_taps
@pytest.mark.parametrize(("c", "size"), [(3, 9), (20, 18)])
@pytest.mark.parametrize("layout", ["contiguous", "channels last"])
def test_values_that_are_not_finite_leave_other_channels_alone(
    backend, bad, unit, taps, c, size, layout
):
    case = make(c, 7, 6, size, taps)
    rows, x = empty_rows(case, 7), case.x.clone()
    x[0, ::3, 1::2, [0, -2]] = bad  # the last values are copied with those before them
    x[-1, -1, -1] = bad
    case.x, x = (LAYOUTS.get(layout, torch.clone)(v) for v in (case.x, x))
    worse = changed(case, x=x)
    others = slice(1, c - 1)
    expected, found = returned(backend, case, unit), returned(backend, worse, unit)
    np.testing.assert_array_equal(found.squares[others], expected.squares[others])
    np.testing.assert_array_equal(found.distances[others], expected.distances[others])
    assert not found.distances[-1].isfinite()
    expected = returned(backend, case, rows=rows, last=False)
    found = returned(backend, worse, rows=rows, last=False)
    np.testing.assert_array_equal(found.rows[:, :, others], expected.rows[:, :, others])
    expected = carried(backend, case, case.x[:, :, 0])
    found = carried(backend, worse, x[:, :, 0])
    np.testing.assert_array_equal(found[:, others], expected[:, others])


@backends
@pytest.mark.parametrize("layer", [False, True], ids=["channel", "layer"])
def test_sums_are_added_to_those_of_earlier_tiles(backend, layer):
    first, second = make(4, 5, 6, 9, seed=1), make(4, 5, 6, 9, seed=2)
    one, other = returned(backend, first, True, layer), returned(backend, second, True, layer)
    found = returned(backend, second, True, layer, one.squares, one.distances)
    assert_close(found.squares, (one.squares + other.squares).numpy())
    assert_close(found.distances, (one.distances + other.distances).numpy())


@backends
@all_norms
def test_what_is_not_asked_for_is_left_out(backend, unit):
    case, none = make(4, 5, 40, 9), torch.zeros(0, dtype=torch.float64)
    both = returned(backend, case, unit)
    assert torch.equal(returned(backend, case, unit, distances=none).squares, both.squares)
    alone = returned(backend, case, unit, squares=torch.zeros(0, 9, dtype=torch.float64))
    assert torch.equal(alone.distances, both.distances)


@backends
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, *DTYPES])
def test_the_activations_are_left_as_they_are(backend, dtype):
    case = make(4, 3, 5, 18, dtype=dtype)
    before, reference = case.x.clone(), case.x[:, :, 0].contiguous()
    assert_agrees(backend, case, True)
    assert_carried(backend, case, reference)
    assert torch.equal(case.x, before)


@all_norms
@pytest.mark.parametrize("layer", [False, True], ids=["channel", "layer"])
def test_torch_goes_by_chunks(unit, layer, monkeypatch):
    case, sizes, move = make(5, 6, 7, 8), [], torch_equivariance._moved
    monkeypatch.setattr(
        torch_equivariance, "_moved", lambda x, *of: sizes.append(x.numel()) or move(x, *of)
    )
    expected = returned("torch", case, unit, layer)
    gaps = carried("torch", case, case.x[:, :, 0])
    assert max(sizes) == case.x.numel()
    for most in (8, 500, 10000, 30000):
        monkeypatch.setattr(torch_moments, "CHUNK_BYTES", most)
        sizes.clear()
        found = returned("torch", case, unit, layer)
        assert max(sizes) <= max(7 * 8, most / 8 / 6)
        assert_close(found.squares, expected.squares.numpy())
        assert_close(found.distances, expected.distances.numpy())
        assert_close(carried("torch", case, case.x[:, :, 0]), gaps.numpy())


def carried(backend, case, reference, totals=None):
    device = DEVICE if backend == "torch" else "cpu"
    if totals is None:
        totals = torch.zeros(2, len(case.x), dtype=torch.float64)
    totals = totals.to(device, copy=True)
    parts = (case.x, reference, case.index, case.weight, case.valid)
    KERNELS[backend].carried(*(v.to(device) for v in parts), totals)
    return totals.cpu()


def assert_carried(backend, case, reference):
    t, valid = case.x.shape[2], case.valid.numpy()
    maps = moved(changed(case, x=reference.unsqueeze(2).expand(-1, -1, t, -1)))
    gaps = np.where(valid, case.x.double().numpy() - maps, 0)
    norms = np.where(valid, maps, 0)
    expected = np.stack([np.sqrt((v**2).sum(3)).sum((1, 2)) for v in (gaps, norms)])
    assert_close(carried(backend, case, reference), expected)


@backends
@given(
    shape=st.tuples(*(st.integers(1, most) for most in (20, 5, 20, 40))),
    taps=st.sampled_from([1, 4]),
    masks=st.booleans(),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=60, deadline=None)
def test_maps_are_compared_with_those_of_untransformed_samples(
    backend, shape, taps, masks, dtype, seed
):
    case = make(*shape, taps, masks, dtype, seed)
    assert_carried(backend, case, normal(*shape[:2], shape[3], dtype=dtype, seed=seed + 1))


@backends
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("c", [1, 3, 16, 35])
def test_every_memory_layout_is_compared_alike(backend, layout, c):
    case = make(c, 5, 6, 19)
    x = LAYOUTS[layout](case.x)
    for reference in (x[:, :, 1], normal(5, 19, c).permute(2, 0, 1), normal(c, 5, 19)):
        assert_carried(backend, changed(case, x=x), reference)


@backends
def test_a_map_that_moves_as_its_input_does_has_no_gap(backend):
    case = make(3, 4, 5, 20, masks=False, taps=1)
    reference = normal(3, 4, 20)
    for j in range(5):
        case.x[:, :, j] = reference[..., case.index[j, 0].long()] * case.weight[j, 0].float()
    before = torch.tensor([[1.0, 2, 3], [4, 5, 6]], dtype=torch.float64)
    found = carried(backend, case, reference, before)
    assert torch.equal(found[0], before[0])
    assert (found[1] > before[1]).all()


def test_the_backend_has_them():
    for name in KERNELS:
        of_name = backend(torch.device("cpu"), name)
        assert of_name.returned is KERNELS[name].returned
        assert of_name.carried is KERNELS[name].carried


@backends
@all_taps
@pytest.mark.parametrize("dtype", [torch.float16, *DTYPES])
def test_maps_are_moved_as_they_are(backend, taps, dtype):
    case = make(5, 3, 6, 35, taps, dtype=dtype)
    expected = moved(case).transpose(1, 2, 0, 3).astype(np.float64)
    device = DEVICE if backend == "torch" else "cpu"
    x, index, weight = (v.to(device) for v in (case.x, case.index, case.weight))
    out = torch.full((3, 8, 5, 35), torch.nan, dtype=torch.float64, device=device)
    KERNELS[backend].moved(x, index, weight, 1, out)
    np.testing.assert_allclose(out[:, 1:7].cpu(), expected, 1e-12, 1e-14)
    assert out[:, [0, 7]].isnan().all()
    one = x[:, :, :1]
    KERNELS[backend].moved(one, index, weight, 1, out)
    whole = changed(case, x=case.x[:, :, :1].expand(-1, -1, 6, -1))
    expected = moved(whole).transpose(1, 2, 0, 3).astype(np.float64)
    np.testing.assert_allclose(out[:, 1:7].cpu(), expected, 1e-12, 1e-14)
    KERNELS[backend].moved(x.transpose(1, 3).contiguous().transpose(1, 3), index, weight, 1, out)
    expected = moved(case).transpose(1, 2, 0, 3).astype(np.float64)
    np.testing.assert_allclose(out[:, 1:7].cpu(), expected, 1e-12, 1e-14)
