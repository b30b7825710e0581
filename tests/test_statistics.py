"""The statistics against the definitions on a stored cube, on every backend."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tmeasures.errors import ArgumentError
from tmeasures.kernels import torch_moments
from tmeasures.measures import Quantities, named
from tmeasures.statistics import Columns, Moments, Rows, Setup, base, completed, gather
from tmeasures.statistics.memory import MemoryOrder
from tmeasures.tile import Tile

Anova, NV, SV, TV = (named()[name] for name in ("ANOVA", "NV", "SV", "TV"))
BACKENDS = ["numba", "torch"]
# Where the torch kernels run: on a GPU wherever one is at hand.
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
MEASURES = [TV(), SV(), NV(), Anova(), Anova(paired=True)]
SPREADS = [TV(spread="std"), SV(spread="std"), NV(spread="std")]


def new(kind, cube, tile, backend=None, **options):
    device = DEVICE if backend == "torch" else "cpu"
    options = {"dtype": cube.dtype, "kernels": backend, "spread": kind is not Moments, **options}
    shape, device = tuple(cube.shape[2:]), torch.device(device)
    return kind(Setup(shape=shape, m=cube.shape[1], tile=tile, device=device, **options))


def tiles(n, m, s, t, order="sample"):
    rows = [range(i, min(i + s, n)) for i in range(0, n, s)]
    columns = [range(j, min(j + t, m)) for j in range(0, m, t)]
    pairs = itertools.product(rows, columns)
    return pairs if order == "sample" else ((r, c) for c, r in itertools.product(columns, rows))


def feed(statistics, cube, s, t, order="sample", view=lambda x: x):
    """Hand a cube (sample, transformation, *unit) over in tiles; view may change the strides."""
    n, m = cube.shape[:2]
    cube = cube.to(statistics[0].device)
    for rows, columns in tiles(n, m, s, t, order):
        values = view(cube[rows.start : rows.stop, columns.start : columns.stop])
        tile = Tile(rows, columns, np.arange(rows.start, rows.stop), None, values)
        for statistic in statistics:
            statistic.update(tile)
    return statistics


def quantities(statistics, n, m):
    return Quantities(n, m, {k: v.numpy() for k, v in completed(gather(statistics)).items()})


def single_pass(cube, s, t, backend, view=lambda x: x):
    n, m = cube.shape[:2]
    return quantities(feed([new(Moments, cube, (s, t), backend)], cube, s, t, view=view), n, m)


def two_passes(cube, s, t, backend, view=lambda x: x):
    n, m = cube.shape[:2]
    rows = feed([new(Rows, cube, (s, t), backend)], cube, s, t, view=view)
    columns = [new(Columns, cube, (s, t), backend, columns=min(t, m))]
    return quantities(rows + feed(columns, cube, s, t, "transformation", view), n, m)


def assert_agrees(cube, found, measures=MEASURES, bound=None):
    """Within 1e-6 (float64: 1e-12), for F times what cancellation may cost."""
    bound = bound or (1e-12 if cube.dtype == torch.float64 else 1e-6)
    n = len(cube)
    wide = cube.numpy().astype(np.longdouble)
    wide = wide - wide[:1, :1]
    columns = wide.mean(0)
    squares_columns = np.square(wide - columns).sum((0, 1))
    between = n * np.square(columns - columns.mean(0)).sum(0)
    rows = np.square(wide - wide.mean(1, keepdims=True)).sum((0, 1))
    error = np.square(wide - wide.mean(1, keepdims=True) - columns + columns.mean(0)).sum((0, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        for measure in measures:
            fields, expected = measure.finalize(found), measure.reference(cube.numpy())
            for name, value in expected.items():
                if name.endswith("_p"):
                    continue
                allowed = np.full(value.shape, bound)
                if name.endswith("_F"):
                    allowed = bound * (1 + squares_columns / between)
                if name == "ANOVA_paired_F":
                    allowed = bound * (1 + rows / error + squares_columns / between)
                difference = np.abs(fields[name].values - value)
                good = (fields[name].values == value) | (difference <= allowed * np.abs(value))
                good |= ~np.isfinite(allowed)  # an exact zero below: checked by its own tests
                assert good.all(), (name, fields[name].values, value)


def normal_cube(n, m, unit, dtype, offset=0.0, effect=0.0, seed=0):
    g = torch.Generator().manual_seed(seed)
    cube = torch.randn(n, m, *unit, generator=g, dtype=torch.float64) + offset
    cube += effect * torch.randn(1, m, *unit, generator=g, dtype=torch.float64)
    return cube.to(dtype)


shapes = st.tuples(st.integers(2, 9), st.integers(2, 9), st.integers(1, 5), st.integers(1, 5))


@pytest.mark.parametrize("backend", BACKENDS)
@given(
    shape=shapes,
    s=st.integers(1, 9),
    t=st.integers(1, 9),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    offset=st.sampled_from([0.0, 1e3, 1e4]),
    effect=st.sampled_from([0.0, 1e3, 1e4]),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=60, deadline=None)
def test_every_tiling_agrees_with_the_definition(backend, shape, s, t, dtype, offset, effect, seed):
    n, m, *unit = shape
    cube = normal_cube(n, m, unit, dtype, offset, effect, seed)
    assert_agrees(cube, single_pass(cube, s, t, backend))
    found = two_passes(cube, s, t, backend)
    assert_agrees(cube, found, [*MEASURES, *SPREADS])


@pytest.mark.parametrize("backend", BACKENDS)
@given(
    shape=shapes,
    cuts=st.lists(st.integers(1, 8), max_size=3),
    order=st.randoms(use_true_random=False),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    effect=st.sampled_from([0.0, 1e3, 1e4]),
)
@settings(max_examples=40, deadline=None)
def test_merging_parts_in_any_order_agrees(backend, shape, cuts, order, dtype, effect):
    n, m, *unit = shape
    cube = normal_cube(n, m, unit, dtype, 10.0, effect)
    edges = sorted({0, n, *(c for c in cuts if c < n)})
    kinds = {
        "moments": lambda: new(Moments, cube, (2, 2), backend),
        "rows": lambda: new(Rows, cube, (2, 2), backend),
        "columns": lambda: new(Columns, cube, (2, 2), backend),
    }
    merged = {}
    for name, kind in kinds.items():
        parts = [feed([kind()], cube[a:b], 2, 2)[0] for a, b in itertools.pairwise(edges)]
        order.shuffle(parts)
        while len(parts) > 1:
            parts[0].merge(parts.pop())
        merged[name] = parts[0]
    assert_agrees(cube, quantities([merged["moments"]], n, m))
    assert_agrees(cube, quantities([merged["rows"], merged["columns"]], n, m), MEASURES + SPREADS)


@pytest.mark.parametrize("backend", BACKENDS)
def test_closed_columns_merge_over_transformations(backend):
    cube = normal_cube(6, 8, (3, 2, 5), torch.float64, 10.0, 100.0)
    first, second = (
        feed([new(Columns, half, (3, 2), backend, columns=2)], half, 3, 2, "transformation", view)[
            0
        ]
        for half, view in ((cube[:, :4], lambda x: x), (cube[:, 4:], channels_last))
    )
    first.merge(second)
    rows = feed([new(Rows, cube, (3, 8), backend)], cube, 3, 8)
    assert_agrees(cube, quantities([*rows, first], 6, 8), MEASURES + SPREADS)
    torch.testing.assert_close(first.finalize()["largest"].cpu(), cube.abs().amax((0, 1)))


def test_closed_columns_of_other_samples_do_not_merge():
    cube = normal_cube(6, 8, (3,), torch.float32)
    first, second = (
        feed([new(Columns, part, (3, 2), columns=2)], part, 3, 2, "transformation")[0]
        for part in (cube[:, :4], cube[:4, 4:])
    )
    with pytest.raises(ArgumentError, match="these saw 6 and 4"):
        first.merge(second)


LAYOUTS = {
    "channels last": lambda x: x.flatten(0, 1).contiguous(memory_format=torch.channels_last),
    "batch second": lambda x: x.flatten(0, 1).transpose(0, 1).contiguous().transpose(0, 1),
    "batch third": lambda x: x.flatten(0, 1).permute(1, 2, 0, 3).contiguous().permute(2, 0, 1, 3),
    "batch last": lambda x: x.flatten(0, 1).permute(1, 2, 3, 0).contiguous().permute(3, 0, 1, 2),
    "every second": lambda x: x.flatten(0, 1).repeat_interleave(2, -1)[..., ::2],
    "expanded": lambda x: x.flatten(0, 1)[..., :1].expand(-1, -1, -1, x.shape[-1]),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("tiling", [(3, 4), (2, 3), (1, 1)])
def test_every_memory_layout_gives_the_same(layout, backend, tiling):
    cube = normal_cube(7, 4, (3, 2, 5), torch.float32)
    if layout == "expanded":
        cube = cube[..., :1].expand_as(cube)
    view = LAYOUTS[layout]

    def strided(x):
        return view(x).unflatten(0, x.shape[:2])

    for passes in (single_pass, two_passes):
        found, plain = passes(cube, *tiling, backend, strided), passes(cube, *tiling, backend)
        for name in plain.values:
            np.testing.assert_allclose(found[name], plain[name], rtol=1e-14, err_msg=name)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("tiling", [(4, 5), (2, 2)])
def test_layers_of_several_blocks_agree(backend, tiling, monkeypatch):
    monkeypatch.setattr(torch_moments, "CHUNK_BYTES", 2**17)
    cube = normal_cube(5, 5, (2, 1, 1500), torch.float64, 3.0)

    def batch_second(x):
        return LAYOUTS["batch second"](x).unflatten(0, x.shape[:2])

    assert_agrees(cube, single_pass(cube, *tiling, backend, batch_second))
    assert_agrees(cube, two_passes(cube, *tiling, backend, batch_second), MEASURES + SPREADS)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_activations_of_the_network_are_left_as_they_are(backend, dtype):
    cube = normal_cube(3, 4, (5,), dtype).to(DEVICE if backend == "torch" else "cpu")
    before = cube.clone()
    feed([new(kind, cube, (3, 4), backend) for kind in (Moments, Rows, Columns)], cube, 3, 4)
    assert torch.equal(cube, before)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("tiling", [(2, 6), (2, 2)])
def test_the_largest_is_that_of_all_tiles_and_parts(backend, tiling):
    cube = normal_cube(4, 6, (24,), torch.float32)
    for unit in range(24):  # each unit's is in another place, half of them negative
        cube[unit // 6, unit % 6, unit] = 9 * (-1) ** unit
    for kind in (Moments, Rows, Columns):
        (whole,) = feed([new(kind, cube, tiling, backend)], cube, *tiling)
        halves = (
            feed([new(kind, half, tiling, backend)], half, *tiling)[0]
            for half in (cube[:2], cube[2:])
        )
        first, second = halves
        first.merge(second)
        for statistic in (whole, first):
            assert (statistic.finalize()["largest"] == 9).all(), kind


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("tile", [(3, 7), (3, 2)])
def test_state_bytes_are_those_of_the_state(dtype, tile):
    cube = normal_cube(1, 7, (5,), dtype)
    for kind, options in (
        (Moments, {}),
        (Rows, {}),
        (Rows, {"errors": True}),
        (Columns, {}),
        (Columns, {"columns": 2}),
    ):
        statistic = new(kind, cube, tile, **options)
        found = sum(x.nbytes for x in vars(statistic).values() if isinstance(x, torch.Tensor))
        assert found == kind.state_bytes(statistic.setup), (kind, options)


def test_finalize_changes_nothing():
    cube = normal_cube(5, 4, (3,), torch.float32)
    for kind, options in ((Moments, {}), (Rows, {}), (Columns, {}), (Columns, {"columns": 2})):
        order = "transformation" if options else "sample"
        (statistic,) = feed([new(kind, cube, (2, 2), **options)], cube, 2, 2, order)
        once, twice = statistic.finalize(), statistic.finalize()
        for name in once:
            assert torch.equal(once[name], twice[name]), (kind, name)


@pytest.mark.parametrize("backend", BACKENDS)
def test_variances_of_rows_that_are_nearly_alike_and_their_merge(backend):
    cube = normal_cube(1, 5, (3, 2), torch.float64).expand(12, -1, -1, -1)
    cube = cube * (1 + 1e-6 * torch.arange(12, dtype=torch.float64)[:, None, None, None])
    variances = cube.numpy().astype(np.longdouble).var(1, ddof=1)
    expected = torch.from_numpy((variances.var(0) * 12).astype(np.float64))
    whole, first, second = (
        feed([new(Rows, part, (4, 3), backend, errors=True)], part, 4, 3)[0]
        for part in (cube, cube[:5], cube[5:])
    )
    first.merge(second)
    for statistic in (whole, first):
        found = statistic.finalize()["row_variances"].cpu()
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("layout", ["channels last", "batch second", "batch third"])
def test_dense_outputs_are_read_without_a_copy(layout):
    values = LAYOUTS[layout](normal_cube(3, 4, (3, 2, 5), torch.float32)).unflatten(0, (3, 4))
    assert MemoryOrder.of(values).tile(values).data_ptr() == values.data_ptr()


def channels_last(x):
    return LAYOUTS["channels last"](x).unflatten(0, x.shape[:2])


@pytest.mark.parametrize("passes", [single_pass, two_passes])
def test_tiles_of_unlike_layout_go_together(passes):
    cube = normal_cube(7, 4, (3, 2, 5), torch.float32)
    views = itertools.cycle([lambda x: x, channels_last])
    found = passes(cube, 2, 3, None, lambda x: next(views)(x))
    assert_agrees(cube, found)


def test_parts_of_unlike_layout_merge(monkeypatch):
    monkeypatch.setattr(base, "_CHUNK", 7)
    cube = normal_cube(8, 3, (3, 2, 5), torch.float32)
    cube[5] *= 10  # the largest of most units is in the second part
    first, second = ([new(kind, cube, (2, 3)) for kind in (Moments, Rows, Columns)] for _ in "12")
    feed(first, cube[:4], 2, 3)
    feed(second, cube[4:], 2, 3, view=channels_last)
    for one, other in zip(first, second, strict=True):
        one.merge(other)
        torch.testing.assert_close(one.finalize()["largest"], cube.abs().amax((0, 1)))
    assert_agrees(cube, quantities(first[:1], 8, 3))
    assert_agrees(cube, quantities(first[1:], 8, 3), MEASURES + SPREADS)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("tiling", [(4, 7), (4, 3)])  # columns by fours and one by one; open rows
def test_float32_activations_are_summed_in_float64(backend, tiling):
    cube = normal_cube(9, 7, (5,), torch.float32)
    cube[:, :, 4] *= 10.0 ** torch.arange(-3, 4)  # columns of unlike size
    assert_agrees(cube, single_pass(cube, *tiling, backend), bound=1e-12)
    assert_agrees(cube, two_passes(cube, *tiling, backend), MEASURES + SPREADS, 1e-12)
    kinds = (Moments, Rows, Columns)
    first, second = (
        feed([new(kind, part, tiling, backend) for kind in kinds], part, *tiling)
        for part in (cube[:3], cube[3:])
    )
    for one, other in zip(first, second, strict=True):
        one.merge(other)
    assert_agrees(cube, quantities(first[:1], 9, 7), bound=1e-12)
    assert_agrees(cube, quantities(first[1:], 9, 7), MEASURES + SPREADS, 1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("of", ["rows", "columns"])
def test_the_error_of_two_passes_starts_from_what_is_less(backend, of):
    g = torch.Generator().manual_seed(0)
    shape = (7, 1, 50) if of == "rows" else (1, 7, 50)
    cube = normal_cube(7, 7, (50,), torch.float64)
    cube += 1e4 * torch.randn(shape, generator=g, dtype=torch.float64)
    error = single_pass(cube, 2, 7, backend)["error"]
    np.testing.assert_allclose(two_passes(cube, 2, 7, backend)["error"], error, rtol=1e-10)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_error_of_two_passes_is_never_below_0(backend):
    g = torch.Generator().manual_seed(0)
    row, column = (torch.randint(999, size, generator=g) for size in ((7, 1, 50), (1, 5, 50)))
    cube = (row + column).double()  # no error but rounding
    error = two_passes(cube, 2, 5, backend)["error"]
    assert ((error >= 0) & (error < 1e-8)).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("backend", BACKENDS)
def test_half_precision_is_widened_before_it_is_used(dtype, backend):
    cube = normal_cube(9, 5, (7,), dtype, offset=100.0)
    assert_agrees(cube.float(), single_pass(cube, 4, 2, backend))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("tiling", [(3, 5), (3, 2), (1, 1)])
def test_equal_values_give_exact_zeros(backend, tiling):
    n, m = 7, 5
    row = torch.tensor([0.1, 1e4 / 3, -7.7]).repeat(n, m, 1) * torch.rand(n, 1, 1)
    column = torch.rand(1, m, 3) * torch.ones(n, 1, 1) * 1e4 / 3
    for cube, zero in ((row, ("rows", "between", "error")), (column, ("columns", "error"))):
        for found in (single_pass(cube, *tiling, backend), two_passes(cube, *tiling, backend)):
            for name in zero:
                assert (found[name] == 0).all(), name
    additive = torch.arange(n).view(n, 1, 1) + 3.0 * torch.arange(m).view(1, m, 1)
    assert (single_pass(additive, *tiling, backend)["error"] == 0).all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("where", [(0, 0), (0, 3), (4, 0), (6, 2)])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_value_that_is_not_finite_reaches_every_quantity_that_shows_it(bad, where, backend):
    cube = normal_cube(7, 4, (2,), torch.float32)
    cube[(*where, 1)] = bad
    for found in (single_pass(cube, 2, 3, backend), two_passes(cube, 2, 3, backend)):
        shown = ~np.isfinite(sum(found[name] for name in found.values))
        assert shown.tolist() == [False, True]


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_outlier_in_the_first_column_costs_no_more_than_a_tile_may(backend):
    cube = torch.full((9, 64, 3), 1 / 3, dtype=torch.float64)
    cube += 1e-9 * normal_cube(9, 64, (3,), torch.float64)
    cube[:, 0] = 1e4 / 7
    assert_agrees(cube, single_pass(cube, 4, 64, backend), [TV(), SV(), NV()])
    assert_agrees(cube, two_passes(cube, 4, 64, backend), [TV(), SV(), NV()])


def test_nist_numacc4():
    # NIST StRD NumAcc4: the certified deviation is 0.1; float64 cannot hold 10000000.1 better than
    # to 1e-9, so the data themselves are that far off.
    values = torch.tensor([10000000.2] + [10000000.1, 10000000.3] * 500, dtype=torch.float64)
    found = single_pass(values.view(-1, 1, 1).expand(-1, 2, 1), 100, 2, None)
    assert SV().finalize(found)["SV"].values == pytest.approx(0.01, rel=4e-8)
    assert_agrees(values.view(-1, 1, 1), single_pass(values.view(-1, 1, 1), 64, 1, None), [SV()])


def test_kernels_leave_the_number_of_threads_as_it_was():
    import numba

    before, most = numba.get_num_threads(), numba.config.NUMBA_NUM_THREADS
    cube = normal_cube(2, 2, (3,), torch.float32)
    try:
        numba.set_num_threads(most)
        single_pass(cube, 2, 2, "numba")  # a tile so small that one thread folds it
        assert numba.get_num_threads() == most
    finally:
        numba.set_num_threads(before)


def test_threads_change_no_bit():
    import numba

    cube = normal_cube(16, 4, (9000,), torch.float32, 3.0)
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, numba.config.NUMBA_NUM_THREADS):
            torch.set_num_threads(threads)
            found.append(single_pass(cube, 8, 4, "numba"))
    finally:
        torch.set_num_threads(before)
    alone, plain = found
    for name in plain.values:
        np.testing.assert_array_equal(plain[name], alone[name])
