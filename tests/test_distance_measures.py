"""TD, SD and ND: numbers worked out by hand, blocks and their errors, names, arguments."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pair_tiles import DIMS, all_pairs, joined, normal_cube, values
from tmeasures.errors import ArgumentError
from tmeasures.measures import Quantities, named
from tmeasures.planning import Wanted
from tmeasures.statistics.metrics import Metric

ND, SD, TD = (named()[name] for name in ("ND", "SD", "TD"))
BACKENDS = ["numba", "torch"]


def block_values(cube, block):
    """T and S of each block of 2 rows or more."""
    parts = [cube[i : i + block] for i in range(0, len(cube), block)]
    apart = [np.abs(part[:, None] - part[None]) for part in parts]
    within = [np.abs(part[:, :, None] - part[:, None]).mean((0, 1, 2)) for part in parts]
    among = [x.sum((0, 1)).mean(0) / (len(x) * (len(x) - 1) or 1) for x in apart]
    kept = [i for i, part in enumerate(parts) if len(part) > 1]
    return np.stack([within[i] for i in kept]), np.stack([among[i] for i in kept])


@pytest.mark.parametrize("backend", BACKENDS)
@given(
    n=st.integers(4, 15),
    m=st.integers(2, 6),
    tile=st.tuples(st.integers(1, 16), st.integers(1, 6)),
    block=st.integers(2, 6),
    known=st.booleans(),
)
@settings(max_examples=80, deadline=None)
def test_standard_errors_are_those_of_block_values(backend, n, m, tile, block, known):
    cube = normal_cube(n, m, (3,), torch.float64, 100.0)
    t, s = block_values(cube.numpy(), block)
    expected = {}
    with np.errstate(all="ignore"):
        td, sd = (
            next(iter(x.reference(cube.numpy()).values())).astype(float)
            for x in (TD(), SD(block=block))
        )
        s *= (n - 1) / n
        expected["SD_se"] = s.std(0, ddof=1) / np.sqrt(len(s)) if len(s) > 1 else s[0] * np.nan
        nd = (t - td / sd * s) / sd
        expected["ND_se"] = nd.std(0, ddof=1) / np.sqrt(len(s)) if len(s) > 1 else s[0] * np.nan
    of_td = block_values(cube.numpy(), 32)[0]
    expected["TD_se"] = of_td[0] * np.nan  # n is below 2 blocks of 32
    for measures in ([SD(block=block)], [SD(block=block), ND(block=block), TD()]):
        found = values(measures, cube, tile, backend=backend, known=known, errors=True)
        for measure in measures:
            name = f"{measure.short}_se"
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("tile", [(7, 4), (32, 4), (33, 2), (64, 4), (101, 4), (97, 3)])
@pytest.mark.parametrize("n", [96, 97, 101])
def test_the_standard_error_of_td_takes_blocks_of_32_whatever_the_tile(backend, tile, n):
    cube = normal_cube(n, 4, (3,))
    t, _ = block_values(cube.numpy(), 32)
    found = values([TD()], cube, tile, backend=backend, errors=True)["TD_se"]
    np.testing.assert_allclose(found, t.std(0, ddof=1) / np.sqrt(len(t)), rtol=1e-11)


def test_standard_errors_are_the_spread_over_repetitions():
    cube = normal_cube(32 * 12, 3, (1500,)).numpy()  # each unit is a repetition
    cube = torch.from_numpy(np.exp(cube))
    measures = [TD(), SD(), ND()]
    found = values(measures, cube, (32, 3), errors=True)
    for name in ("TD", "SD", "ND"):
        assert np.sqrt(np.square(found[f"{name}_se"]).mean()) == pytest.approx(
            found[name].std(), rel=0.2
        )
    assert (
        found["ND_se"].mean()
        < 0.8
        * np.hypot(*(found[f"{name}_se"] / found[name] for name in ("TD", "SD"))).mean()
        * found["ND"].mean()
    )  # the two distances of a block go together


@pytest.mark.parametrize("n", [31, 32, 33])
def test_fewer_than_two_blocks_have_no_standard_error(n):
    found = values([TD(), SD(), ND()], normal_cube(n, 3, (4,)), (32, 3), errors=True)
    for name in ("TD_se", "SD_se", "ND_se"):
        assert np.isnan(found[name]).all()


def test_there_is_no_standard_error_of_nd_where_nothing_varies_over_samples():
    cube = torch.zeros(64, 3, 2, dtype=torch.float64)
    cube[:, 1, 1] = 1.0
    found = values([ND()], cube, (32, 3), errors=True)
    assert found["ND"].tolist() == [1, np.inf]
    assert np.isnan(found["ND_se"]).all()


@pytest.mark.parametrize("n", [2, 31, 32])
def test_blocks_of_all_samples_are_exact(n):
    cube = normal_cube(n, 3, (4,))
    found = values([SD()], cube)["SD"]
    expected = np.abs(cube.numpy()[:, None] - cube.numpy()[None]).mean((0, 1, 2))
    np.testing.assert_allclose(found, expected, rtol=1e-13)


@pytest.mark.parametrize(
    "of", [lambda x: x, torch.relu, torch.exp], ids=["normal", "relu", "lognormal"]
)
def test_blocks_are_near_all_pairs_of_4096_samples(of):
    g = torch.Generator().manual_seed(1)
    cube = of(torch.randn(4096, 1, 300, generator=g))
    off = values([SD()], cube, (64, 1))["SD"] / all_pairs(cube.numpy()) - 1
    assert np.sqrt(np.square(off).mean()) < 0.004
    assert abs(off.mean()) < 4 * off.std() / np.sqrt(300)


def test_shuffled_samples_of_classes_agree_with_all_pairs_and_sorted_ones_do_not():
    g = torch.Generator().manual_seed(0)
    classes = torch.arange(1024).div(128, rounding_mode="floor").view(-1, 1, 1)
    cube = 2 * classes + torch.randn(1024, 1, 60, generator=g, dtype=torch.float64)
    exact = all_pairs(cube.numpy())
    shuffled = cube[torch.randperm(1024, generator=g)]
    for given_cube, agrees in ((shuffled, True), (cube, False)):
        found = values([SD()], given_cube, (64, 1), errors=True)
        within = np.abs(found["SD"] - exact) < 4 * found["SD_se"]
        assert within.all() if agrees else not within.any()


SMALL = torch.tensor([[[0.0], [1.0], [5.0]], [[2.0], [2.0], [8.0]]], dtype=torch.float64)


def test_distances_of_a_matrix_worked_out_by_hand():
    # rows 0 1 5 and 2 2 8: pairs 1 + 5 + 4 = 10 and 6 + 6 = 12; columns 0 2, 1 2, 5 8: 2, 1, 3
    found = values([TD(), SD(), ND()], SMALL)
    assert found["TD"] == pytest.approx((20 / 9 + 24 / 9) / 2)
    assert found["SD"] == pytest.approx((2 + 1 + 3) / 2 / 3)
    assert found["ND"] == pytest.approx(22 / 9)


@pytest.mark.parametrize("pairs", ["blocks", "all"])
def test_squared_distances_come_from_variances(pairs):
    v = SMALL.numpy()
    rows = np.square(v - v.mean(1, keepdims=True)).sum((0, 1))
    columns = np.square(v - v.mean(0)).sum((0, 1))
    measures = TD("sqeuclidean"), *(x("sqeuclidean", pairs=pairs) for x in (SD, ND))
    found = Quantities(2, 3, {"rows": rows, "columns": columns})
    # 1 + 25 + 16 = 42 and 36 + 36 = 72 over 9, twice; 4 + 1 + 9 over 4, twice
    expected = {"TD": (84 + 144) / 9 / 2, "SD": 14 / 2 / 3}
    expected["ND"] = expected["TD"] / expected["SD"]
    for measure in measures:
        assert (measure.kinds, measure.error_needs) == ((), frozenset())
        assert measure.needs <= found.values.keys()
        assert measure.standard_errors(found) == {}
        measure.check(errors=True)
        ((name, field),) = measure.finalize(found).items()
        assert name == f"{measure.short}_sqeuclidean"
        assert field.values == pytest.approx(expected[measure.short])
        assert measure.reference(v)[name] == pytest.approx(expected[measure.short])


@pytest.mark.parametrize("cube", ["dead", "by row", "by column"])
def test_the_ratio_of_what_does_not_vary(cube):
    rows, columns = torch.arange(4.0).view(4, 1, 1), torch.arange(3.0).view(1, 3, 1)
    expected = {"dead": 1.0, "by row": 0.0, "by column": np.inf}[cube]
    given_cube = {"dead": 0 * rows + 0 * columns, "by row": rows + 0 * columns}
    found = values([ND()], given_cube.get(cube, 0 * rows + columns).double())
    assert found["ND"] == expected


def test_feature_maps_worked_out_by_hand():
    maps = torch.tensor([[3.0, 0.0], [0.0, 4.0], [0.0, 0.0]], dtype=torch.float64)
    cube = maps.view(1, 3, 1, 2)
    dims = ("channel", "x")
    for arguments, total in (
        (("euclidean", True), 5 + 3 + 4),
        (("manhattan", True), 7 + 3 + 4),
        (("cosine", True), 1 + 1 + 1),
        (("euclidean", True, True), np.sqrt(2) + 1 + 1),
        (("manhattan", True, True), 2 + 1 + 1),
    ):
        (found,) = values([TD(*arguments)], cube, dims=dims).values()
        assert found == pytest.approx(2 * total / 9, rel=1e-15)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("tile", [(6, 5), (4, 2)])
def test_functions_equal_what_is_built_in(backend, tile):
    cube = normal_cube(11, 5, (3, 2, 2), torch.float32)

    def absolute(a, b):
        return (a - b).abs()

    def norm(a, b):
        return torch.linalg.vector_norm(a - b, dim=-1)

    options = {"backend": backend, "dims": DIMS}
    for vectors, function in ((False, absolute), (True, norm)):
        built_in = [x(vectors=vectors) for x in (TD, SD, ND)]
        by_function = [x(function, vectors) for x in (TD, SD, ND)]
        found = values(by_function, cube, tile, **options)
        expected = values(built_in, cube, tile, **options)
        for (name, value), measure in zip(found.items(), built_in, strict=True):
            assert name.endswith(function.__name__)
            like = expected[f"{measure.short}{'_vectors' if vectors else ''}"]
            np.testing.assert_allclose(value, like, rtol=1e-12)


def test_names_units_and_dims_of_variables():
    def far(a, b):
        return (a - b).abs()

    for arguments, name, units in (
        ({}, "", "activation"),
        ({"metric": "manhattan"}, "", "activation"),
        ({"metric": far}, "_far", "1"),
        ({"metric": lambda a, b: far(a, b)}, "_callable", "1"),
        ({"metric": torch.nn.PairwiseDistance()}, "_callable", "1"),
        ({"vectors": True}, "_vectors", "activation"),
        ({"vectors": True, "metric": "manhattan"}, "_vectors_manhattan", "activation"),
        ({"vectors": True, "metric": "cosine"}, "_vectors_cosine", "1"),
        ({"vectors": True, "unit_norm": True}, "_vectors_unit", "1"),
    ):
        dims = ("channel",) if "vectors" in arguments else None
        for measure in (TD(**arguments), SD(**arguments), ND(**arguments)):
            one = dict.fromkeys(measure.needs | measure.error_needs, np.ones(1))
            one = Quantities(100, 3, one)
            fields = measure.finalize(one) | measure.standard_errors(one)
            assert list(fields) == [f"{measure.short}{name}", f"{measure.short}{name}_se"]
            for field in fields.values():
                assert (field.units, field.dims) == ("1" if measure.short == "ND" else units, dims)
    assert Metric.of("sqeuclidean", False, False).units == "activation2"


@pytest.mark.parametrize(
    ("arguments", "attributes"),
    [
        ({}, {"pairs": "blocks", "block": 32}),
        ({"block": 64}, {"pairs": "blocks", "block": 64}),
        ({"pairs": "all"}, {"pairs": "all"}),
        ({"metric": "sqeuclidean"}, {"pairs": "all"}),
    ],
)
def test_fields_say_which_pairs_were_taken(arguments, attributes):
    for measure, bits in ((SD(**arguments), 8), (ND(**arguments), 12)):
        one = Quantities(100, 3, dict.fromkeys(measure.needs, np.ones(1)))
        ((_, field),) = measure.finalize(one).items()
        assert (field.attributes, field.rounding) == (attributes, bits)


def test_measures_keep_the_variances_that_tell_rounding():
    assert TD().needs == {"rows", "distances/rows"}
    assert SD().needs == {"columns", "distances/blocks"}
    assert ND().needs == {"rows", "columns", "distances/rows", "distances/blocks"}
    one = Quantities(2, 2, dict.fromkeys(TD().needs, np.ones(1)))
    assert TD().finalize(one)["TD"].rounding == 4
    for measure in (TD(), SD(), ND(), ND(pairs="all"), ND("cosine", True, block=4)):
        given_by = frozenset().union(*(kind.provides for kind in measure.kinds))
        assert measure.needs | measure.error_needs <= given_by | {"rows", "columns"}


def test_all_pairs_of_nd_share_the_rows_of_td():
    assert set(joined([TD(), SD(pairs="all"), ND(pairs="all")])) == {
        *TD().kinds,
        *SD(pairs="all").kinds,
    }


def test_kinds_say_what_a_plan_asks():
    both = ND("cosine", vectors=True, block=64).kinds[0]
    assert both.name == both.key == "distances(vectors, cosine, block=64)"
    assert [kind.name for kind in (*TD().kinds, *SD(pairs="all").kinds)] == [
        "row distances",
        "block distances(all pairs)",
    ]
    rows, blocks = (both.with_parts(frozenset({part})) for part in ("rows", "blocks"))
    assert rows.joined(blocks) == both
    assert [kind.sample_first(False) for kind in (both, rows, blocks)] == [True, True, False]
    assert blocks.sample_first(True)
    assert [kind.block_rows(10) for kind in (both, rows, *SD(pairs="all").kinds)] == [64, None, 10]
    assert blocks.block_rows(None) == 64
    assert [SD().kinds[0].pairs(n) for n in (1, 2, 32, 33, 34)] == [0, 1, 496, 496, 497]
    assert [SD().kinds[0].spread_blocks(n) for n in (1, 2, 32, 33, 34)] == [0, 1, 1, 1, 2]
    assert both.applies(("token", "channel")) is None
    assert TD().kinds[0].applies(("unit",)) is None
    assert "are unit" in both.applies(("unit",))


def test_functions_of_one_name_are_not_taken_for_each_other():
    with pytest.raises(ArgumentError, match="two metrics would both be"):
        Wanted.by([TD(lambda a, b: (a - b).abs()), SD(lambda a, b: (a - b) ** 2)], False, False)
    other = SD(lambda a, b: (a - b) ** 2, block=64)
    with pytest.raises(ArgumentError, match="two metrics would both be"):
        Wanted.by([TD(lambda a, b: (a - b).abs()), other], False, False)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: TD("euclidian"), "did you mean 'euclidean'"),
        (lambda: TD(None), "or a function"),
        (lambda: SD("cosine"), "give vectors=True too"),
        (lambda: ND(unit_norm=True), "unit_norm=True is for feature maps"),
        (lambda: ND("sqeuclidean", vectors=True), "leave vectors=True out"),
        (lambda: SD(pairs="some"), "'blocks' or 'all'"),
        (lambda: ND(block=1), "whole number of at least 2"),
        (lambda: SD(block=2.5), "whole number of at least 2"),
        (lambda: SD(pairs="all").check(errors=True), "give pairs='blocks'"),
        (lambda: ND(pairs="all").check(errors=True), "give pairs='blocks'"),
    ],
)
def test_arguments_that_cannot_be_used(make, says):
    with pytest.raises(ArgumentError, match=says):
        make()


def test_arguments_that_can_be_used():
    for measure in (TD(), SD(), ND(), SD(pairs="all"), ND("cosine", vectors=True)):
        measure.check(errors=False)
    for measure in (TD(), SD(), ND()):
        measure.check(errors=True)
