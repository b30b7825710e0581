"""Sums of distances over tiles against their definition on a stored cube, on every backend."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pair_tiles import (
    DEVICE,
    DIMS,
    all_pairs,
    assert_agrees,
    feed,
    gathered,
    joined,
    normal_cube,
    quantities,
    setup_of,
    values,
)
from tmeasures.errors import ArgumentError
from tmeasures.measures import named
from tmeasures.statistics.distances import DistancesKind
from tmeasures.statistics.metrics import Metric
from tmeasures.tile import Tile

ND, SD, TD = (named()[name] for name in ("ND", "SD", "TD"))
BACKENDS = ["numba", "torch"]

shapes = st.tuples(st.integers(2, 13), st.integers(2, 9), st.integers(1, 5), st.integers(1, 5))


@pytest.mark.parametrize("backend", BACKENDS)
@given(
    shape=shapes,
    tile=st.tuples(st.integers(1, 14), st.integers(1, 9)),
    block=st.integers(2, 6),
    known=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    offset=st.sampled_from([0.0, 1e4]),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=80, deadline=None)
def test_every_tiling_agrees_with_the_definition(
    backend, shape, tile, block, known, dtype, offset, seed
):
    n, m, *unit = shape
    cube = normal_cube(n, m, unit, dtype, offset, seed)
    for measures in (
        [TD(), SD(block=block), ND(block=block)],
        *([TD()], [SD(block=block)], [TD(), SD()]),
        *([[ND(pairs="all")]] if known else []),
    ):
        found = values(measures, cube, tile, backend=backend, known=known)
        assert_agrees(cube, found, measures)


@pytest.mark.parametrize("backend", BACKENDS)
@given(
    shape=shapes,
    tile=st.tuples(st.integers(1, 14), st.integers(1, 9)),
    block=st.integers(2, 6),
    known=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
@settings(max_examples=60, deadline=None)
def test_columns_one_block_after_another_agree(backend, shape, tile, block, known, dtype):
    n, m, *unit = shape
    cube = normal_cube(n, m, unit, dtype)
    for measure in (SD(block=block), *([SD(pairs="all")] if known else [])):
        found = values([measure], cube, tile, backend=backend, known=known, order="transformation")
        assert_agrees(cube, found, [measure])


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_size_of_a_batch_changes_nothing(backend):
    cube = normal_cube(100, 5, (7,), torch.float32)
    expected = values([TD(), SD(), ND()], cube, (32, 5), backend=backend, errors=True)
    for tile in [(1, 5), (1, 1), (8, 2), (50, 5), (100, 3), (33, 5), (96, 5)]:
        for known in (True, False):
            found = values(
                [TD(), SD(), ND()], cube, tile, backend=backend, errors=True, known=known
            )
            for name, value in expected.items():
                np.testing.assert_allclose(found[name], value, rtol=1e-12, err_msg=name)


def test_pairs_of_all_samples_are_all_pairs():
    cube = normal_cube(150, 1, (20,), torch.float32)
    measure = SD(pairs="all")
    for tile in ((150, 1), (32, 1)):
        found = values([measure], cube, tile)["SD"]
        np.testing.assert_allclose(found, all_pairs(cube.numpy()), rtol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("errors", [False, True])
def test_rows_of_many_tiles_are_exact(backend, errors):
    cube = normal_cube(3, 4224, (2,), torch.float32)
    found = values([TD()], cube, (2, 60), backend=backend, errors=errors)["TD"]
    rows = cube.transpose(0, 1).numpy()
    expected = np.mean([all_pairs(rows[:, i : i + 1]) for i in range(3)], 0)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    setup = setup_of(cube, (2, 60), errors=errors)
    assert TD().kinds[0].held_rows(setup) == 2


@pytest.mark.parametrize(
    ("tile", "kind", "rows"),
    [
        ((8, 5), TD(), 0),
        ((8, 4), TD(), 8),
        ((32, 5), ND(), 0),
        ((64, 5), ND(), 0),
        ((100, 5), ND(), 0),
        ((32, 4), ND(), 32),
        ((32, 4), SD(), 0),
        ((64, 4), ND(), 64),
        ((8, 5), ND(), 32),
        ((7, 5), ND(), 39),
        ((90, 5), ND(), 100),
        ((100, 4), ND(), 100),
        ((8, 5), SD(pairs="all"), 100),
        ((100, 4), SD(pairs="all"), 0),
    ],
)
def test_what_tiles_close_is_not_held(tile, kind, rows):
    cube = normal_cube(100, 5, (2,))
    assert kind.kinds[-1].held_rows(setup_of(cube, tile)) == rows
    found = values([kind], cube, tile)
    assert_agrees(cube, found, [kind])


def test_a_stream_holds_a_block_and_a_tile():
    cube = normal_cube(100, 5, (2,))
    for s in (1, 8, 32, 40):
        assert SD().kinds[0].held_rows(setup_of(cube, (s, 5), known=False)) == 32 + s


def test_irregular_tiles_of_a_stream_agree():
    cube = normal_cube(100, 5, (3,))
    measures = [TD(), SD(), ND()]
    (statistic,) = (kind(setup_of(cube, (8, 3), known=False)) for kind in joined(measures))
    start = 0
    for s in itertools.cycle([8, 3, 1, 7]):
        r = range(start, min(start + s, 100))
        for c in (range(3), range(3, 5)):
            part = cube[r.start : r.stop, c.start : c.stop]
            statistic.update(Tile(r, c, np.arange(r.start, r.stop), None, part))
        start += s
        if start >= 100:
            break
    found = gathered([statistic], 100, 5)
    for measure in measures:
        found_values = {k: v.values for k, v in measure.finalize(found).items()}
        assert_agrees(cube, found_values, [measure])


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("errors", [True, False])
@pytest.mark.parametrize("order", ["sample", "transformation"])
@pytest.mark.parametrize("tile", [(4, 7), (3, 2), (8, 2), (5, 7)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_state_bytes_are_those_of_the_state(known, errors, order, tile, dtype):
    cube = normal_cube(20, 7, (3, 2, 2), dtype)
    metrics = [Metric(), Metric("cosine", vectors=True)]
    parts = [{"rows"}, {"blocks"}, {"rows", "blocks"}]
    for metric, wanted in itertools.product(metrics, parts):
        kind = DistancesKind(metric, 4, frozenset(wanted))
        setup = setup_of(cube, tile, order, known=known, errors=errors, dims=DIMS)
        (statistic,) = (
            feed([kind(setup)], cube, tile, order) if wanted == {"blocks"} else [kind(setup)]
        )
        found = sum(x.nbytes for x in vars(statistic).values() if isinstance(x, torch.Tensor))
        assert found == kind.state_bytes(setup)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("tile", [(8, 5), (3, 5), (3, 2), (70, 5)])
@pytest.mark.parametrize("vectors", [False, True])
def test_equal_values_give_exact_zeros(backend, tile, vectors):
    g = torch.Generator().manual_seed(0)
    shape = (6, 5, 3)
    rows = torch.randn(70, 1, *shape, generator=g).expand(-1, 5, *shape) * (1e4 / 3)
    columns = torch.randn(1, 5, *shape, generator=g).expand(70, -1, *shape) * (1e4 / 3)
    metrics = ("euclidean", "manhattan", "cosine") if vectors else ("euclidean",)
    for metric in metrics:
        name = Metric.of(metric, vectors, False).suffix
        measures = [x(metric, vectors) for x in (TD, SD, ND)]
        options = {"backend": backend, "dims": DIMS, "errors": True}
        found = values(measures, rows, tile, **options)
        for zero in ("TD", "ND"):
            assert (found[zero + name] == 0).all()
        assert (found[f"TD{name}_se"] == 0).all()
        assert (found[f"SD{name}"] > 0).all()
        found = values(measures, columns, tile, **options)
        assert (found[f"SD{name}"] == 0).all()
        assert (found[f"ND{name}"] == np.inf).all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("vectors", [False, True])
@pytest.mark.parametrize("tile", [(4, 5), (3, 2)])
def test_values_that_are_not_finite_leave_other_units_alone(bad, backend, vectors, tile):
    cube = normal_cube(9, 5, (3, 2, 2), torch.float32)
    measures = [x(vectors=vectors) for x in (TD, SD, ND)]
    options = {"backend": backend, "dims": DIMS, "errors": True}
    with np.errstate(all="ignore"):
        plain = values(measures, cube, tile, **options)
        cube[3, 2, 1, 0, 1] = bad
        found = values(measures, cube, tile, **options)
    for name, value in plain.items():
        others = np.ones(value.shape, bool)
        others[(1,) if vectors else (1, 0, 1)] = False
        np.testing.assert_array_equal(found[name][others], value[others])


def fourth_power(a, b):
    return (a - b) ** 4


LAYOUTS = {
    "channels last": lambda x: x.flatten(0, 1).contiguous(memory_format=torch.channels_last),
    "batch second": lambda x: x.flatten(0, 1).transpose(0, 1).contiguous().transpose(0, 1),
    "batch third": lambda x: x.flatten(0, 1).permute(1, 2, 0, 3).contiguous().permute(2, 0, 1, 3),
    "every second": lambda x: x.flatten(0, 1).repeat_interleave(2, -1)[..., ::2],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("tile", [(8, 4), (4, 4), (3, 3)])
@pytest.mark.parametrize(
    "arguments", [{}, {"vectors": True}, {"metric": lambda a, b: (a - b) ** 4}]
)
def test_every_memory_layout_gives_the_same(layout, backend, tile, arguments):
    cube = normal_cube(11, 4, (3, 2, 5), torch.float32)
    measures = [TD(**arguments), SD(**arguments, block=4), ND(**arguments, block=4)]
    options = {"backend": backend, "dims": DIMS, "errors": True}

    def strided(x):
        return LAYOUTS[layout](x).unflatten(0, x.shape[:2])

    found = values(measures, cube, tile, view=strided, **options)
    plain = values(measures, cube, tile, **options)
    assert_agrees(cube, found, measures)
    for name, value in plain.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-12, err_msg=name)


METRICS = [
    ("euclidean", False),
    ("manhattan", False),
    ("cosine", False),
    ("euclidean", True),
    ("manhattan", True),
]


@pytest.mark.parametrize("backend", BACKENDS)
@given(
    shape=shapes,
    tile=st.tuples(st.integers(1, 14), st.integers(1, 9)),
    metric=st.sampled_from(METRICS),
    dims=st.permutations(("channel", "y")),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    order=st.sampled_from(["sample", "transformation"]),
)
@settings(max_examples=60, deadline=None)
def test_feature_maps_agree_in_every_tiling(backend, shape, tile, metric, dims, dtype, order):
    n, m, *unit = shape
    cube = normal_cube(n, m, unit, dtype, 1.0)
    dims, (name, unit_norm) = tuple(dims), metric
    measures = [SD(name, True, unit_norm, block=3), SD(name, True, unit_norm, "all")]
    if order == "sample":
        measures = [measures[0], TD(name, True, unit_norm), ND(name, True, unit_norm, block=3)]
    for measure in measures:
        found = values([measure], cube, tile, order=order, backend=backend, dims=dims)
        assert_agrees(cube, found, [measure], dims, bound=1e-11)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("errors", [False, True])
@pytest.mark.parametrize("tile", [(4, 5), (3, 5), (3, 2), (8, 2)])
@pytest.mark.parametrize("vectors", [False, True])
def test_parts_of_whole_blocks_merge_in_any_order(backend, errors, tile, vectors):
    cube = normal_cube(26, 5, (3, 2, 2))
    measures = [x(vectors=vectors, block=4) for x in (SD, ND)]
    options = {"backend": backend, "dims": DIMS, "errors": errors}
    expected = quantities(measures, cube, tile, **options).values
    cuts = [(0, 8), (8, 12), (12, 26)]  # the last one ends within a block
    for order in itertools.permutations(range(3)):
        parts = []
        for i in order:
            (kind,), part = joined(measures), cube[slice(*cuts[i])]
            parts += feed([kind(setup_of(cube, tile, **options))], part, tile)
        parts[0].merge(parts[1])
        parts[0].merge(parts[2])
        assert parts[0].n == 26
        for name, value in parts[0].finalize().items():
            np.testing.assert_allclose(value.cpu(), expected[name], rtol=1e-10, err_msg=name)


def test_a_merged_part_goes_on():
    cube = normal_cube(26, 5, (3,))
    (kind,) = joined([ND(block=4)])
    first, second = (
        feed([kind(setup_of(cube, (4, 2), errors=True))], part, (4, 2))[0]
        for part in (cube[:8], cube[8:18])
    )
    first.merge(second)
    feed([first], cube[18:], (2, 2))
    expected = quantities([ND(block=4)], cube, (26, 5), errors=True)
    for name, value in first.finalize().items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-10, err_msg=name)


@pytest.mark.parametrize(
    ("measure", "errors"), [(SD(block=4), False), (ND(block=4), True), (TD(), True)]
)
def test_parts_that_both_end_within_a_block_do_not_merge(measure, errors):
    cube = normal_cube(26, 5, (3,))
    (kind,) = measure.kinds
    setup = setup_of(cube, (4, 5), errors=errors)
    parts = [feed([kind(setup)], part, (4, 5))[0] for part in (cube[:9], cube[9:])]
    with pytest.raises(ArgumentError, match="split such a run at multiples of"):
        parts[0].merge(parts[1])


def test_rows_alone_merge_anywhere():
    cube = normal_cube(26, 5, (3,))
    (kind,) = TD().kinds
    parts = [feed([kind(setup_of(cube, (4, 2)))], x, (4, 2))[0] for x in (cube[:9], cube[9:])]
    parts[0].merge(parts[1])
    expected = quantities([TD()], cube, (26, 5))
    np.testing.assert_allclose(*(x["distances/rows"] for x in (parts[0].finalize(), expected)))


@pytest.mark.parametrize("tile", [(4, 2), (3, 2)])
def test_closed_columns_merge_over_the_same_samples(tile):
    cube = normal_cube(10, 8, (3, 2))
    (kind,) = SD(block=4).kinds

    def part(columns, n=10):
        setup = setup_of(cube, tile, "transformation")
        return feed([kind(setup)], cube[:n, columns], tile, "transformation")[0]

    first, second = part(slice(0, 4)), part(slice(4, 8))
    first.merge(second)
    expected = quantities([SD(block=4)], cube, (10, 8))
    for name, value in first.finalize().items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-12)
    with pytest.raises(ArgumentError, match="these saw 10 and 6"):
        first.merge(part(slice(4, 8), 6))


@pytest.mark.parametrize("tile", [(4, 5), (3, 2), (7, 5)])
@pytest.mark.parametrize("measure", [TD(), SD(block=4), ND(block=4), ND(vectors=True, block=4)])
def test_finalize_changes_nothing(tile, measure):
    cube = normal_cube(11, 5, (3, 2, 2))
    (kind,) = measure.kinds
    setup = setup_of(cube, tile, errors=True, dims=DIMS)
    stopped, plain = kind(setup), kind(setup)
    for part in (cube[:8], cube[8:]):
        feed([stopped, plain], part, tile)
        once, twice = stopped.finalize(), stopped.finalize()
        for name in once:
            assert torch.equal(once[name], twice[name])
    for name, value in plain.finalize().items():
        assert torch.equal(value, twice[name])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("vectors", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_activations_of_the_network_are_left_as_they_are(backend, vectors, dtype):
    cube = normal_cube(8, 4, (3, 2, 2), dtype).to(DEVICE if backend == "torch" else "cpu")
    before = cube.clone()
    measures = [ND(vectors=vectors, unit_norm=vectors, block=4)]
    found = values(measures, cube, (4, 4), backend=backend, dims=DIMS)
    assert torch.equal(cube, before)
    wide = cube.double().cpu() if dtype == torch.float64 else cube.float().cpu()
    assert_agrees(wide, found, measures, bound=1e-12)
