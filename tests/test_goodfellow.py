"""Goodfellow's measure from tiles against its definition on a stored cube."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tmeasures as tm
from tmeasures.measures import Quantities
from tmeasures.measures.goodfellow import Goodfellow
from tmeasures.statistics import Setup
from tmeasures.statistics import thresholds as module
from tmeasures.statistics.firing import FiringKind
from tmeasures.statistics.thresholds import CalibrationKind, Rule
from tmeasures.tile import Tile

BACKENDS = ["numba", "torch"]
# Where the torch kernels run: on a GPU wherever one is at hand.
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
MEASURES = [
    Goodfellow(g=g, reference=reference, threshold=threshold, local=local, sign=sign)
    for g, reference, threshold, local, sign in itertools.product(
        (0.01, 0.3),
        ("untransformed", "transformed"),
        ("quantile", "normal"),
        ("conditional", "marginal"),
        (1, -1, "best"),
    )
    if (reference, local) != ("transformed", "marginal")
]


def setup_for(cube, tile, backend=None, identities=(0,), **options):
    device = torch.device(DEVICE if backend == "torch" else "cpu")
    n, m, *shape = cube.shape
    options = {"n": n, "m": m, "shape": tuple(shape), "dtype": cube.dtype, **options}
    return Setup(tile=tile, device=device, kernels=backend, identities=tuple(identities), **options)


def feed(statistic, cube, s, t, untransformed=None, start=0, view=lambda x: x):
    """Hand a cube over in tiles, the untransformed samples with a row's first one."""
    n, m = cube.shape[:2]
    rows = [range(i, min(i + s, n)) for i in range(0, n, s)]
    columns = [range(j, min(j + t, m)) for j in range(0, m, t)]
    for r, c in itertools.product(rows, columns):
        values = view(cube[r.start : r.stop, c.start : c.stop].to(statistic.device))
        first = None
        if untransformed is not None and c.start == 0:
            first = view(untransformed[r.start : r.stop, None].to(statistic.device))[:, 0]
        at = range(start + r.start, start + r.stop)
        statistic.update(Tile(at, c, np.array(at), None, values, first))
    return statistic


def thresholds(calibration):
    """What a calibration has found, ``(sign, *unit)``."""
    return calibration.finalize()[calibration.rule.threshold_name]


def give(statistic, found):
    """Hand thresholds over to what counts."""
    statistic.take({statistic.rule.threshold_name: found})


def calibrated(kind, cube, tile, backend=None, untransformed=None, alone=False, **options):
    """Thresholds from a pass over the matrix; or over what is needed of it, and no more."""
    view = options.pop("view", lambda x: x)
    statistic = kind.before[0](setup_for(cube, tile, backend, **options))
    if alone:
        rows = kind.before[0].rows(*cube.shape[:2])
        if kind.before[0].reference == "untransformed":
            identities = options.get("identities", (0,))
            first = cube[:, identities[0]] if untransformed is None else untransformed
            feed(statistic, first[:rows, None], *tile, first[:rows], view=view)
        else:
            feed(statistic, cube[:rows], *tile, view=view)
    else:
        feed(statistic, cube, *tile, untransformed, view=view)
    return thresholds(statistic)


def quantities(statistic, n, m):
    return Quantities(n, m, {k: v.cpu().numpy() for k, v in statistic.finalize().items()})


def fields(measure, cube, tile=(3, 2), backend=None, untransformed=None, **options):
    """The variables of a measure from tiles."""
    (kind,) = measure.kinds
    limits = calibrated(kind, cube, tile, backend, untransformed, **options)
    options.pop("alone", None)
    view = options.pop("view", lambda x: x)
    statistic = kind(setup_for(cube, tile, backend, **options))
    give(statistic, limits)
    feed(statistic, cube, *tile, untransformed, view=view)
    return measure.finalize(quantities(statistic, *cube.shape[:2]))


def assert_agrees(measure, cube, tile=(3, 2), backend=None, untransformed=None, **options):
    found = fields(measure, cube, tile, backend, untransformed, **options)
    first = None if untransformed is None else untransformed.numpy()
    expected = measure.reference(cube.numpy(), first, options.get("identities", (0,)))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name].values, value, rtol=1e-14, err_msg=str(measure))
    return {name: field.values for name, field in found.items()}


def normal_cube(n, m, unit, dtype=torch.float32, decimals=None, seed=0):
    """Rows share something, so that firing together is no chance."""
    g = torch.Generator().manual_seed(seed)
    cube = torch.randn(n, m, *unit, generator=g, dtype=torch.float64)
    cube += torch.randn(n, 1, *unit, generator=g, dtype=torch.float64)
    return (cube if decimals is None else cube.round(decimals=decimals)).to(dtype)


@pytest.mark.parametrize("backend", BACKENDS)
@given(
    measure=st.sampled_from(MEASURES),
    shape=st.tuples(*(st.integers(least, most) for least, most in ((2, 40), (2, 9), (1, 4)))),
    tile=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    dtype=st.sampled_from([torch.float16, torch.float32, torch.float64]),
    decimals=st.sampled_from([None, 0]),
    identities=st.lists(st.integers(0, 8), max_size=2, unique=True),
    alone=st.booleans(),
    most=st.sampled_from([4096, 7]),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=150, deadline=None)
def test_every_tiling_agrees_with_the_definition(
    backend, measure, shape, tile, dtype, decimals, identities, alone, most, seed
):
    n, m, *unit = shape
    # Whole numbers tie; a constant unit beside the others.
    cube = normal_cube(n, m, (*unit, 3), dtype, decimals, seed)
    cube[..., 0] = 1.5
    identities = [j for j in identities if j < m]
    untransformed = None if identities else normal_cube(n, 1, (*unit, 3), dtype, decimals, 9)[:, 0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOST", most)
        options = {"identities": identities, "alone": alone}
        assert_agrees(measure, cube, tile, backend, untransformed, **options)


LAYOUTS = {
    "channels last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "batch second": lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
    "batch last": lambda x: x.permute(1, 2, 3, 0).contiguous().permute(3, 0, 1, 2),
    "every second": lambda x: x.repeat_interleave(2, -1)[..., ::2],
}


def strided(layout):
    return lambda x: LAYOUTS[layout](x.flatten(0, 1)).unflatten(0, x.shape[:2])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("measure", [Goodfellow(0.2), Goodfellow(0.2, "transformed", sign="best")])
def test_every_memory_layout_gives_the_same(layout, backend, measure):
    cube = normal_cube(11, 4, (3, 2, 5))
    for tile in ((4, 4), (3, 3)):
        view = strided(layout)
        assert_agrees(measure, cube, tile, backend, identities=(2,), view=view)
        first = normal_cube(11, 1, (3, 2, 5), seed=1)[:, 0]
        assert_agrees(measure, cube, tile, backend, first, identities=(), view=view)


@pytest.mark.parametrize("threshold", ["quantile", "normal"])
def test_thresholds_of_another_memory_order_than_the_matrix(threshold):
    cube = normal_cube(11, 4, (3, 2, 5))
    measure = Goodfellow(0.2, threshold=threshold)
    (kind,) = measure.kinds
    statistic = kind(setup_for(cube, (3, 4)))
    give(statistic, calibrated(kind, cube, (3, 4), view=strided("channels last")))
    feed(statistic, cube, 3, 4)
    found = measure.finalize(quantities(statistic, 11, 4))
    np.testing.assert_allclose(found["GF"].values, measure.reference(cube.numpy())["GF"], 1e-14)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("rule", [Rule(0.1), Rule(0.1, threshold="normal", sign="best")])
@pytest.mark.parametrize("reference", ["untransformed", "transformed"])
def test_parts_merge_in_any_order(backend, rule, reference):
    rule = Rule(rule.g, reference, rule.threshold, rule.sign)
    cube = normal_cube(30, 4, (3, 2, 5)) + 5
    views = [lambda x: x, strided("channels last"), strided("batch second")]
    parts = list(zip((0, 7, 19), (7, 19, 30), views, strict=True))
    kind = FiringKind(rule)

    def merged(make, order):
        made = []
        for start, stop, view in (parts[i] for i in order):
            part = make()
            made.append(feed(part, cube[start:stop], 3, 3, start=start, view=view))
        made[1].merge(made[2])
        made[0].merge(made[1])
        return made[0]

    setup = setup_for(cube, (3, 3), backend)
    whole = thresholds(feed(kind.before[0](setup), cube, 3, 3))

    def counting():
        statistic = kind(setup)
        give(statistic, whole)
        return statistic

    counts = feed(counting(), cube, 3, 3)
    for order in itertools.permutations(range(3)):
        found = merged(lambda: kind.before[0](setup), order)
        torch.testing.assert_close(thresholds(found), whole, rtol=1e-14, atol=0)
        sums = merged(counting, order)
        assert sums.n == counts.n
        for name, value in counts.finalize().items():
            torch.testing.assert_close(sums.finalize()[name], value, rtol=1e-14, atol=0)


@pytest.mark.parametrize("g", [0.01, 0.07, 0.1, 0.5])
@pytest.mark.parametrize("backend", BACKENDS)
def test_just_as_many_inputs_fire_as_are_to(backend, g):
    for n in (50, 100, 237):
        cube = normal_cube(n, 3, (4,))
        rows = -(-n // 3)  # whole rows of transformed inputs
        for reference, count in (("untransformed", n), ("transformed", 3 * rows)):
            expected = -(-round(g * count * 100) // 100)  # 7 of 100, though 0.07 * 100 > 7
            first = cube if reference == "untransformed" else cube[:rows]
            for sign in (1, -1):
                measure = Goodfellow(g, reference, sign=sign)
                rate = fields(measure, first, (16, 3), backend, n=n)["GF_rate"].values
                np.testing.assert_allclose(rate * count, expected, rtol=1e-12)


def test_a_unit_that_is_constant_in_each_part_is_not_constant():
    kind = FiringKind(Rule(0.99)).before[0]  # fires always, or never
    cube = torch.tensor([[3.0, 3.0]] * 4 + [[1.0, 3.0]] * 4).unsqueeze(1)
    parts = [
        feed(kind(setup_for(cube, (4, 1))), cube[at : at + 4], 4, 1, start=at) for at in (0, 4)
    ]
    parts[0].merge(parts[1])
    assert thresholds(parts[0])[0].tolist() == [-np.inf, np.inf]


def test_the_first_inputs_of_the_order_give_a_quantile(monkeypatch):
    monkeypatch.setattr(module, "MOST", 10)
    kind = FiringKind(Rule(0.2)).before[0]
    assert [kind.rows(n, 4) for n in (3, 10, 99)] == [3, 10, 10]
    transformed = CalibrationKind(Rule(0.2, "transformed"))
    assert [transformed.rows(n, 4) for n in (3, 10, 99)] == [1, 3, 3]
    normal = CalibrationKind(Rule(threshold="normal"))
    assert normal.rows(99, 4) == 99
    cube = torch.arange(40.0).view(40, 1, 1)
    # the second and the third largest of 0 to 9
    assert calibrated(FiringKind(Rule(0.2)), cube, (4, 1)).item() == 7.5
    assert calibrated(FiringKind(Rule(0.2, sign=-1)), cube, (4, 1)).item() == -1.5
    both = calibrated(FiringKind(Rule(0.2, sign="best")), cube, (4, 1))
    assert both[:, 0].tolist() == [7.5, -1.5]


def test_a_threshold_of_all_inputs_and_of_constant_units():
    cube = torch.stack([torch.arange(8.0), torch.full((8,), 3.0)], -1).unsqueeze(1)
    for g, expected in ((0.99, -np.inf), (0.5, 3.5)):
        found = calibrated(FiringKind(Rule(g)), cube, (3, 1))
        assert found[0].tolist() == [expected, np.inf]
    found = calibrated(FiringKind(Rule(0.5, threshold="normal")), cube, (3, 1))
    assert found[0].tolist() == [3.5, np.inf]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("sign", [1, -1, "best"])
@pytest.mark.parametrize("g", [0.1, 0.24, 0.3])  # within a level, between two, below the first
def test_values_that_differ_by_rounding_are_equal(backend, sign, g):
    eps, rows = torch.finfo(torch.float32).eps, torch.arange(200.0)
    rounding = 1 + eps * (rows % 5)
    plateau = torch.where(rows < 190, rounding, 3.0)  # 10 of 200 stand out
    mirrored = torch.where(rows < 190, rounding, -3.0)
    cube = torch.stack([plateau, mirrored, rounding], -1).unsqueeze(1).repeat(1, 3, 1)
    measure = Goodfellow(g=g, sign=sign)
    found = fields(measure, cube, backend=backend)
    rates = {1: [0.05, 0, 0], -1: [0, 0.05, 0], "best": [0.05, 0.05, 0]}
    np.testing.assert_array_equal(found["GF_rate"].values, rates[sign])
    np.testing.assert_array_equal(found["GF"].values > 0, np.array(rates[sign]) > 0)
    assert_agrees(measure, cube, backend=backend)
    normal = Goodfellow(g=0.1, sign=sign, threshold="normal")
    assert fields(normal, cube, backend=backend)["GF_rate"].values[2] == 0


def test_rounding_is_relative_to_the_largest_of_both_signs():
    plateau = torch.arange(200.0) % 5 / 10
    plateau[0] = -1e6  # of which 0.1 is less than a rounding
    cube = plateau.view(200, 1, 1).repeat(1, 3, 1)
    assert assert_agrees(Goodfellow(g=0.2), cube)["GF_rate"] == 0


def test_a_unit_constant_but_for_rounding_fires_on_nothing_where_all_are_to():
    cube = 1 + torch.finfo(torch.float32).eps * (torch.arange(8.0) % 3).view(8, 1, 1)
    assert calibrated(FiringKind(Rule(0.99)), cube, (3, 1)).item() == np.inf


def test_normal_thresholds_are_mean_and_deviations():
    cube = normal_cube(50, 3, (4,)) + 1e3
    z = 2.3263478740408408  # of 1 %
    for reference, values in (("untransformed", cube[:, 0]), ("transformed", cube.flatten(0, 1))):
        found = calibrated(FiringKind(Rule(0.01, reference, "normal", "best")), cube, (7, 2))
        mean, deviation = values.double().mean(0), values.double().std(0)
        expected = torch.stack([mean, -mean]) + z * deviation
        torch.testing.assert_close(found, expected, rtol=1e-13, atol=0)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("sign", [1, -1])
def test_a_threshold_between_two_float32_decides_as_it_is(backend, sign):
    one = torch.tensor(1.0)
    steps = sign * torch.stack([torch.nextafter(one, 0 * one), one, torch.nextafter(one, 2 * one)])
    cube = steps.view(3, 1, 1).repeat(1, 2, 1)
    kind = FiringKind(Rule(sign=sign))
    for limit in ((steps[1:].double() + steps[:-1].double()) / 2).tolist() + steps.tolist():
        statistic = kind(setup_for(cube, (3, 2), backend))
        give(statistic, torch.full((1, 1), sign * limit, dtype=torch.float64))
        feed(statistic, cube, 3, 2)
        over = sum(sign * x > sign * limit for x in steps.tolist())
        assert statistic.finalize()["firing(sign=-1)/all" if sign < 0 else "firing/all"] == 2 * over


def test_relu_units_that_are_0_for_most_samples():
    g = torch.Generator().manual_seed(0)
    cube = torch.zeros(1000, 4, 5)
    for unit, fires in enumerate((0, 1, 5, 10, 40)):
        cube[:fires, :, unit] = 1 + torch.rand(fires, 1, generator=g)
    cube = cube[torch.randperm(1000, generator=g)]
    found = assert_agrees(Goodfellow(), cube, (32, 4))
    np.testing.assert_allclose(found["GF_rate"], [0, 0.001, 0.005, 0.01, 0.01])
    np.testing.assert_allclose(found["GF"], [np.nan, 1000, 200, 100, 100])


@pytest.mark.parametrize("reference", ["untransformed", "transformed"])
@pytest.mark.parametrize("threshold", ["quantile", "normal"])
def test_noise_has_a_gf_of_1(reference, threshold):
    g = torch.Generator().manual_seed(1)
    cube = torch.randn(5000, 9, 120, generator=g)
    for sign in (1, -1):
        measure = Goodfellow(0.01, reference, threshold, sign=sign)
        found = {name: field.values for name, field in fields(measure, cube, (64, 9)).items()}
        # L is a mean over 50 x 8 draws of 1 %, and G one over 5000 at least
        assert abs(found["GF"].mean() - 1) < 4 * 0.52 / np.sqrt(120)
        assert abs(found["GF_rate"].mean() - 0.01) < 0.0005
    marginal = fields(Goodfellow(local="marginal"), cube, (64, 9))["GF"].values
    assert abs(marginal.mean() - 1) < 0.05


@pytest.mark.parametrize("g", [0.01, 0.05])
def test_firing_for_the_same_samples_under_all_is_1_over_g(g):
    cube = normal_cube(2000, 1, (6,)).repeat(1, 5, 1)
    found = assert_agrees(Goodfellow(g), cube, (64, 5))
    np.testing.assert_allclose(found["GF"], 1 / g, rtol=1e-12)
    reverse = cube.clone()
    reverse[:, 1:] *= -1  # fires under no transformation but the identity
    assert (fields(Goodfellow(g), reverse, (64, 5))["GF"].values == 0).all()


def test_the_best_of_two_signs_is_the_larger_and_its_rate_goes_with_it():
    cube, g = normal_cube(2000, 5, (4,)), torch.Generator().manual_seed(0)
    first = -torch.rand(2000, 1, 2, generator=g).square()
    others = torch.rand(2000, 4, 2, generator=g) / 2 - 0.5
    cube[:, :, :2] = torch.cat([first, others.where(first > -0.9, first)], 1)
    column = cube[:, 0, 0]
    cube[:, 0, 0] = column.where((column < -0.99) | (column > -0.9), torch.tensor(-0.9))  # ties
    up, down, best = (fields(Goodfellow(0.01, sign=s), cube, (64, 5)) for s in (1, -1, "best"))
    larger = down["GF"].values > up["GF"].values
    assert larger[:2].all()
    assert down["GF_rate"].values[0] < 0.008 < up["GF_rate"].values[0]
    for name in up:
        expected = np.where(larger, down[name].values, up[name].values)
        np.testing.assert_array_equal(best[name].values, expected)


def test_the_first_sign_is_the_best_where_both_are_but_for_rounding():
    # (2/3) / (4/9) and (1/7) / (2/21)
    counts = {"samples": [6, 7], "joint": [4, 1], "all": [8, 12 / 7]}
    values = {f"/{part}": np.array(value, float)[:, None] for part, value in counts.items()}
    measure = Goodfellow(0.1, "transformed", sign="best")
    (kind,) = measure.kinds
    for more in (0, 1e-15, -1e-15):
        values["/joint"][1] = 1 + more
        found = measure.finalize(Quantities(6, 3, {kind.name + k: v for k, v in values.items()}))
        np.testing.assert_allclose(found["GF_rate"].values, 4 / 9)


def test_the_best_of_two_signs_is_the_one_that_is_a_number():
    cube = torch.relu(normal_cube(400, 3, (5,)))  # never fires below
    up, best = (fields(Goodfellow(0.05, sign=sign), cube, (16, 3)) for sign in (1, "best"))
    for name in up:
        np.testing.assert_array_equal(best[name].values, up[name].values)
    down = fields(Goodfellow(0.05, sign=-1), cube, (16, 3))
    assert np.isnan(down["GF"].values).all()
    below = fields(Goodfellow(0.05, sign="best"), -cube, (16, 3))
    np.testing.assert_array_equal(below["GF"].values, up["GF"].values)


def test_where_every_column_is_the_identity_gf_is_nan():
    cube = normal_cube(20, 1, (3,)).repeat(1, 2, 1)
    found = assert_agrees(Goodfellow(0.2), cube, (4, 2), identities=(0, 1))
    assert np.isnan(found["GF"]).all()
    np.testing.assert_allclose(found["GF_rate"], 0.2)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("measure", [Goodfellow(0.2), Goodfellow(0.2, "transformed", sign="best")])
@pytest.mark.parametrize("backend", BACKENDS)
def test_an_untransformed_sample_that_is_not_finite_shows(bad, measure, backend):
    # The engine sees the matrix itself; this one is beside it.
    cube, first = normal_cube(20, 3, (3,)), normal_cube(20, 1, (3,), seed=1)[:, 0]
    first[7, 1] = bad
    found = assert_agrees(measure, cube, (4, 2), backend, first, identities=())
    for value in found.values():
        assert np.isnan(value).tolist() == [False, True, False]


@pytest.mark.parametrize("threshold", ["quantile", "normal"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_value_that_is_not_finite_leaves_other_units_alone(threshold, backend):
    cube = normal_cube(20, 3, (3,))
    measure = Goodfellow(0.2, threshold=threshold, sign="best")
    plain = fields(measure, cube, (4, 2), backend)
    cube[7, :, 1] = float("nan")
    for name, field in fields(measure, cube, (4, 2), backend).items():
        np.testing.assert_array_equal(field.values[::2], plain[name].values[::2])


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("tile", [(3, 7), (3, 2)])
def test_state_bytes_are_those_of_the_state(dtype, tile):
    cube = normal_cube(30, 7, (5,), dtype)
    for measure in MEASURES:
        (kind,) = measure.kinds
        limits = calibrated(kind, cube, tile)
        for each in (kind.before[0], kind):
            statistic = each(setup_for(cube, tile))
            if each is kind:
                give(statistic, limits)
            feed(statistic, cube, *tile)
            found = sum(x.nbytes for x in vars(statistic).values() if isinstance(x, torch.Tensor))
            assert found == each.state_bytes(statistic.setup), each


def test_finalize_changes_nothing():
    cube = normal_cube(30, 3, (4,))
    kind = FiringKind(Rule(sign="best"))
    statistic = kind(setup_for(cube, (4, 2)))
    give(statistic, calibrated(kind, cube, (4, 2)))
    feed(statistic, cube, 4, 2)
    once, twice = statistic.finalize(), statistic.finalize()
    assert once.keys() == kind.provides
    for name in once:
        assert torch.equal(once[name], twice[name]), name


def test_rows_without_their_untransformed_samples_are_no_rows():
    cube = normal_cube(4, 3, (2,))
    statistic = FiringKind()(setup_for(cube, (4, 2), identities=()))
    give(statistic, torch.zeros(1, 2))
    with pytest.raises(AssertionError, match="without their untransformed"):
        feed(statistic, cube, 4, 2)


def test_names_say_what_differs_from_the_usual():
    rules = [measure.kinds[0] for measure in MEASURES if measure.local == "conditional"]
    assert len({kind.name for kind in rules}) == len(rules)
    assert (FiringKind().name, CalibrationKind().name) == ("firing", "calibration")
    other = FiringKind(Rule(0.05, threshold="normal", sign="best"))
    assert other.name == "firing(g=0.05, normal, sign=best)"
    assert other.before[0].name == "calibration(g=0.05, normal, sign=best)"
    assert FiringKind(Rule(0.01)) == FiringKind()
    assert Goodfellow(np.float64(0.05)).kinds == (FiringKind(Rule(0.05)),)


def test_measures_say_what_they_were_given():
    measure = Goodfellow(0.05, reference="transformed", sign=-1)
    assert str(measure) == "GF(g=0.05, reference='transformed', sign=-1)"
    assert repr(Goodfellow()) == (
        "Goodfellow(g=0.01, reference='untransformed', threshold='quantile', "
        "local='conditional', sign=1)"
    )
    assert str(Goodfellow()) == "GF"
    assert eval(repr(measure)) == measure != Goodfellow(0.05, sign=-1)


def test_the_score_of_a_layer_is_of_its_best_units():
    cube = normal_cube(50, 3, (4,))
    found = fields(Goodfellow(0.1), cube)
    assert (found["GF"].score, found["GF_rate"].score) == (0.2, 0)
    assert found["GF"].attributes["g"] == 0.1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"g": 0}, "g=0 is no share"),
        ({"g": 1.0}, "between 0 and 1"),
        ({"g": True}, "g=True"),
        ({"g": "0.1"}, "g='0.1'"),
        ({"g": float("nan")}, "g=nan"),
        ({"reference": "identity"}, "'transformed'"),
        ({"threshold": "median"}, "'normal'"),
        ({"local": "global"}, "'marginal'"),
        ({"sign": 0}, "give 1, -1 or 'best'"),
        ({"sign": True}, "sign=True"),
        ({"sign": 1.0}, "sign=1.0"),
        ({"sign": "both"}, "sign='both'"),
        ({"local": "marginal", "reference": "transformed"}, "1 by construction"),
    ],
)
def test_bad_arguments(arguments, says):
    with pytest.raises(tm.ArgumentError, match=says):
        Goodfellow(**arguments)
