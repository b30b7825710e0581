"""Statistics of maps moved back or beside moved ones: tiles, merges, bytes, values not finite."""

import functools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tmeasures as tm
from pair_tiles import DEVICE, normal_cube
from tmeasures.measures import Quantities
from tmeasures.statistics import Setup
from tmeasures.statistics.returned import ReturnedKind, Vectors, floor_samples, fused
from tmeasures.tile import Tile
from tmeasures.transformations import (
    flips,
    permutations,
    rotations,
    scalings,
    transformations,
    translations,
)
from tmeasures.transformations.actions import Actions

DSE, SSE = tm.DistanceSameEquivariance, tm.SimpleSameEquivariance
VSE = tm.VarianceSameEquivariance
BACKENDS = ["numba", "torch"]
SHAPE, DIMS = (2, 3, 5), ("channel", "y", "x")
TURNS, FLIPS = rotations(5)[1:], flips()
SETS = [
    TURNS,
    FLIPS,
    scalings([0.4, 3, 1], fill="edge"),
    translations(offsets=[(2, 0), (0, 0), (0, -1.5), (-2, 4)]),
    transformations(
        [lambda x: x.flip(-1), lambda x: x.roll(1, -2)],
        inverses=[lambda x: x.flip(-1), lambda x: x.roll(-1, -2)],
    ),
]
MEASURES = [
    VSE(),
    VSE(False),
    VSE(normalized=True),
    DSE(),
    DSE("layer", False),
    DSE(unit_norm=False, valid_only=False),
    DSE(normalized=True),
    DSE("layer", normalized=True),
    SSE(),
    SSE(False),
]


@functools.cache
def actions(s, shape=SHAPE, dims=DIMS, device="cpu"):
    return Actions(s, shape, dims, shape, device=device)


def setup_of(cube, s, tile, backend="torch", dims=DIMS):
    device = DEVICE if backend == "torch" else "cpu"
    n, m, *shape = cube.shape
    return Setup(
        shape=tuple(shape),
        m=m,
        tile=tile,
        n=n,
        dims=dims,
        dtype=cube.dtype,
        device=torch.device(device),
        identities=s.identities,
        actions=actions(s, tuple(shape), dims, device),
        kernels=backend,
    )


def kinds_of(measures):
    """Those that measures name and those before, variances and distances of one read."""
    kinds = [kind for measure in measures for kind in measure.kinds]
    returned = fused([kind for kind in kinds if isinstance(kind, ReturnedKind)])
    others = {kind.name: kind for kind in kinds if not isinstance(kind, ReturnedKind)}
    return [*returned, *(early for kind in returned for early in kind.before), *others.values()]


def cuts(count, most):
    """Ranges that make up all, of any lengths up to so many."""
    sizes = st.lists(st.integers(1, most), min_size=count, max_size=count)
    return sizes.map(functools.partial(ranges, count))


def ranges(count, sizes):
    found, at = [], 0
    for size in sizes:
        found += [range(at, min(at + size, count))] if at < count else []
        at += size
    return found


def feed(statistics, cube, untransformed, rows, columns):
    setup = statistics[0].setup
    cube, untransformed = cube.to(setup.device), untransformed.to(setup.device)
    among = setup.identities and setup.identities[0] in columns[0]
    for r in rows:
        for c in columns:
            values = cube[r.start : r.stop, c.start : c.stop]
            given = c.start == 0 and not among
            reference = untransformed[r.start : r.stop] if given else None
            ids = np.arange(r.start, r.stop)
            for statistic in statistics:
                statistic.update(Tile(r, c, ids, None, values, reference))
    return statistics


def finalized(statistics, n, m, measures):
    found = {k: v.cpu().numpy() for each in statistics for k, v in each.finalize().items()}
    with np.errstate(all="ignore"):
        fields = [measure.finalize(Quantities(n, m, found)) for measure in measures]
    return {name: field.values for each in fields for name, field in each.items()}


def drawn(s, n, dtype=torch.float64, seed=0, shape=SHAPE):
    """A cube, and untransformed maps that it has under identities."""
    cube = normal_cube(n, len(s), shape, dtype, seed=seed)
    untransformed = normal_cube(n, 1, shape, dtype, seed=seed + 1)[:, 0]
    for j in s.identities:
        cube[:, j] = untransformed
    return cube, untransformed


def references(cube, untransformed, s, measures, dims=DIMS):
    found = {}
    with np.errstate(all="ignore"):
        for measure in measures:
            given = cube.numpy(), s, dims, None, untransformed.numpy()
            found |= measure.reference(*given)
    return {name: value.astype(float) for name, value in found.items()}


def assert_agrees(found, expected, bound):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        close = bound * np.abs(value[np.isfinite(value)]).max(initial=1e-12)
        np.testing.assert_allclose(found[name], value, bound, close, err_msg=name)


# Tiles and merges


@pytest.mark.parametrize("backend", BACKENDS)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_every_tiling_agrees_with_the_definition(backend, data):
    s = data.draw(st.sampled_from(SETS))
    n, m = data.draw(st.integers(2, 6)), len(s)
    measures = data.draw(st.lists(st.sampled_from(MEASURES), min_size=1, max_size=4, unique=True))
    dtype = data.draw(st.sampled_from([torch.float64, torch.float32]))
    rows, columns = data.draw(cuts(n, n)), data.draw(cuts(m, m))
    cube, untransformed = drawn(s, n, dtype, data.draw(st.integers(0, 99)))
    tile = max(map(len, rows)), max(map(len, columns))
    setup = setup_of(cube, s, tile, backend)
    statistics = [kind(setup) for kind in kinds_of(measures)]
    feed(statistics, cube, untransformed, rows, columns)
    assert all(each.n == n for each in statistics)
    found = finalized(statistics, n, m, measures)
    bound = 1e-10 if dtype == torch.float64 else 1e-5
    assert_agrees(found, references(cube, untransformed, s, measures), bound)


@pytest.mark.parametrize("backend", BACKENDS)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_parts_of_the_rows_merge(backend, data):
    s = data.draw(st.sampled_from(SETS))
    n, m = data.draw(st.integers(2, 7)), len(s)
    # Sample distances are those of blocks of 32 rows, which parts must not cut.
    measures = [each for each in MEASURES if not (each.short == "DSE" and each.normalized)]
    columns = data.draw(cuts(m, m))
    cube, untransformed = drawn(s, n)
    setup = setup_of(cube, s, (n, max(map(len, columns))), backend)
    parts = []
    for r in data.draw(cuts(n, n)):
        statistics = [kind(setup) for kind in kinds_of(measures)]
        parts.append(feed(statistics, cube, untransformed, [r], columns))
    first, *others = data.draw(st.permutations(parts))
    if data.draw(st.booleans()):  # others together first, as in a tree
        for each in others[1:]:
            for one, other in zip(others[0], each, strict=True):
                one.merge(other)
        others = others[:1]
    for each in others:
        for one, other in zip(first, each, strict=True):
            one.merge(other)
    assert all(each.n == n for each in first)
    found = finalized(first, n, m, measures)
    assert_agrees(found, references(cube, untransformed, s, measures), 1e-9)


@pytest.mark.parametrize("backend", BACKENDS)
def test_blocks_of_32_merge(backend):
    measures = [DSE(normalized=True), DSE("layer", normalized=True)]
    cube, untransformed = drawn(TURNS, 70)
    setup = setup_of(cube, TURNS, (32, 3), backend)
    parts = [[kind(setup) for kind in kinds_of(measures)] for _ in range(3)]
    columns = [range(3), range(3, 4)]
    for part, r in zip(parts, (range(32), range(32, 64), range(64, 70)), strict=True):
        feed(part, cube, untransformed, [r], columns)
    for part in parts[:2]:
        for one, other in zip(parts[2], part, strict=True):
            one.merge(other)
    found = finalized(parts[2], 70, 4, measures)
    expected = references(cube, untransformed, TURNS, measures)
    for name in ("DSE_normalized", "DSE_layer_normalized"):
        np.testing.assert_allclose(found[name], expected[name], 1e-10)


@pytest.mark.parametrize("tile", [(7, 4), (3, 4), (4, 3)])
@pytest.mark.parametrize("turns", [TURNS, tm.rotations([0, 90, 180, 270])])
def test_a_floor_takes_the_first_samples(tile, turns):
    cube, untransformed = drawn(turns, 80)
    untransformed[10:] = torch.nan
    (kind,) = ReturnedKind(vectors=Vectors()).before
    (s, t), m = tile, 4
    rows = [range(i, min(i + s, 80)) for i in range(0, 80, s)]
    columns = [range(j, min(j + t, m)) for j in range(0, m, t)]
    (floor,) = feed([kind(setup_of(cube, turns, tile))], cube, untransformed, rows, columns)
    assert floor.n == 10
    found = floor.finalize()
    assert found["floor of returned distances/rows"] == 10
    expected = references(cube, untransformed, turns, [DSE(), VSE()])
    distances = found["floor of returned distances/sum"].cpu() / 10
    variances = found["floor of returned variances/sum"].cpu() / 10
    np.testing.assert_allclose(distances, expected["DSE_floor"], 1e-10)
    np.testing.assert_allclose(variances, expected["VSE_floor"], 1e-10, 1e-12)


def test_how_many_samples_a_floor_takes():
    found = {n: floor_samples(n) for n in (0, 5, 8, 63, 64, 72, 128, 256, 10_000, None)}
    assert list(found.values()) == [0, 5, 8, 8, 8, 9, 16, 32, 32, 32]


# What is held


def tensors(statistic):
    held = [value for value in vars(statistic).values() if isinstance(value, torch.Tensor)]
    return held + (tensors(statistic.inner) if hasattr(statistic, "inner") else [])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
@pytest.mark.parametrize("tile", [(4, 4), (4, 3), (1, 1), (9, 4)])
def test_bytes_of_state_are_those_held(tile, dtype):
    cube, untransformed = drawn(TURNS, 9, dtype)
    setup = setup_of(cube, TURNS, tile)
    s, t = tile
    rows = [range(i, min(i + s, 9)) for i in range(0, 9, s)]
    columns = [range(j, min(j + t, 4)) for j in range(0, 4, t)]
    for measure in MEASURES:
        for kind in kinds_of([measure]):
            statistic = kind(setup)
            assert sum(x.nbytes for x in tensors(statistic)) == kind.state_bytes(setup), kind.name
            feed([statistic], cube, untransformed, rows, columns)
            assert sum(x.nbytes for x in tensors(statistic)) == kind.state_bytes(setup), kind.name


@pytest.mark.parametrize("backend", BACKENDS)
def test_finalize_changes_nothing(backend):
    cube, untransformed = drawn(TURNS, 6)
    setup = setup_of(cube, TURNS, (2, 3), backend)
    kinds = kinds_of(MEASURES)
    once, twice = ([kind(setup) for kind in kinds] for _ in range(2))
    columns = [range(3), range(3, 4)]
    feed(once, cube, untransformed, [range(2), range(2, 4), range(4, 6)], columns)
    for rows in (range(2), range(2, 4), range(4, 6)):
        feed(twice, cube, untransformed, [rows], columns)
        for statistic in twice:
            found = {name: value.clone() for name, value in statistic.finalize().items()}
            for name, value in statistic.finalize().items():
                torch.testing.assert_close(value, found[name], rtol=0, atol=0, equal_nan=True)
    for one, two in zip(once, twice, strict=True):
        found = two.finalize()
        for name, value in one.finalize().items():
            torch.testing.assert_close(value, found[name], rtol=0, atol=0, equal_nan=True)


# Values that are not finite, and memory layouts


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("s", [TURNS, SETS[3]], ids=["rotations", "shifts"])
def test_what_is_not_finite_does_not_disturb_other_channels(s, bad, backend):
    measures = [m for m in MEASURES if getattr(m, "per", "channel") == "channel"]
    cube, untransformed = drawn(s, 5)
    spoilt = [cube.clone(), untransformed.clone()]
    for values in spoilt:
        values[..., 1, 0, 0] = bad
    setup = setup_of(cube, s, (3, 4), backend)
    both = []
    for given_cube, first in ((cube, untransformed), spoilt):
        statistics = [kind(setup) for kind in kinds_of(measures)]
        feed(statistics, given_cube, first, [range(3), range(3, 5)], [range(4)])
        both.append(finalized(statistics, 5, 4, measures))
    for name, expected in both[0].items():
        np.testing.assert_array_equal(both[1][name][0], expected[0], err_msg=name)
        if not name.startswith("VSE"):
            assert not np.isfinite(both[1][name][1]), name


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("s", [TURNS, FLIPS], ids=["rotations", "flips"])
def test_distances_of_layers_say_that_something_is_not_finite(s, backend):
    measures = [DSE("layer"), DSE("layer", False), DSE("layer", normalized=True)]
    cube, untransformed = drawn(s, 5)
    cube[2, 1, 1, 1, 2] = torch.inf
    setup = setup_of(cube, s, (5, 4), backend)
    statistics = [kind(setup) for kind in kinds_of(measures)]
    feed(statistics, cube, untransformed, [range(5)], [range(4)])
    found = finalized(statistics, 5, 4, measures)
    for name in ("DSE_layer", "DSE_layer_raw", "DSE_layer_normalized"):
        assert np.isnan(found[name]), name


@pytest.mark.parametrize("backend", BACKENDS)
def test_maps_may_lie_in_any_order(backend):
    cube, untransformed = drawn(TURNS, 4)
    setup = setup_of(cube, TURNS, (4, 4), backend)
    expected = references(cube, untransformed, TURNS, MEASURES)
    last = cube.movedim(2, -1).contiguous().movedim(-1, 2)
    assert last.stride() != cube.stride()
    statistics = [kind(setup) for kind in kinds_of(MEASURES)]
    feed(statistics, last, untransformed, [range(4)], [range(4)])
    assert_agrees(finalized(statistics, 4, 4, MEASURES), expected, 1e-10)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("shape", "dims"),
    [((6,), ("unit",)), ((2, 6), ("token", "unit")), ((2, 6), ("unit", "channel"))],
)
def test_outputs_of_other_dims(shape, dims, backend):
    s = permutations([[5, 4, 3, 2, 1, 0], [0, 1, 2, 3, 5, 4]])
    cube, untransformed = drawn(s, 4, shape=shape)
    setup = setup_of(cube, s, (4, 1), backend, dims)
    statistics = [kind(setup) for kind in kinds_of(MEASURES)]
    feed(statistics, cube, untransformed, [range(4)], [range(1), range(1, 2)])
    found = finalized(statistics, 4, 2, MEASURES)
    assert_agrees(found, references(cube, untransformed, s, MEASURES, dims), 1e-10)
    assert found["DSE"].shape == found["SSE"].shape == ((6,) if "channel" in dims else ())
    assert found["VSE"].shape == shape
