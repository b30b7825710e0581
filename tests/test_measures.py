"""Measures: special cases, levels of the tests on noise, and how they are named."""

import numpy as np
import pytest
import torch

import tmeasures as tm
from tmeasures.fields import SV_BELOW_ROUNDING, TV_BELOW_ROUNDING
from tmeasures.measures import Quantities, named, resolve


def quantities(cube):
    """The quantities of a small cube straight from their definitions."""
    cube = np.asarray(cube, np.float64)
    n, m = cube.shape[:2]
    rows, columns, mean = cube.mean(1, keepdims=True), cube.mean(0), cube.mean((0, 1))
    values = {
        "rows": np.square(cube - rows).sum((0, 1)),
        "columns": np.square(cube - columns).sum((0, 1)),
        "between": n * np.square(columns - mean).sum(0),
        "error": np.square(cube - rows - columns + mean).sum((0, 1)),
        "row_deviations": np.sqrt(np.square(cube - rows).sum(1) / (m - 1)).sum(0),
        "column_deviations": np.sqrt(np.square(cube - columns).sum(0) / (n - 1)).sum(0),
    }
    return Quantities(n, m, values)


def variables(measure, cube):
    fields = measure.finalize(quantities(cube))
    measure.conclude([fields])
    return {name: field.values for name, field in fields.items()}


CONSTANT = np.full((4, 3), 2.0)
BY_ROW = np.arange(4.0)[:, None] * np.ones(3)
BY_COLUMN = np.ones((4, 1)) * np.arange(3.0)
ADDITIVE = BY_ROW + BY_COLUMN


@pytest.mark.parametrize(
    ("cube", "tv", "sv", "nv"),
    [
        (CONSTANT, 0, 0, 1),
        (BY_ROW, 0, 5 / 3, 0),
        (BY_COLUMN, 1, 0, np.inf),
        (ADDITIVE, 1, 5 / 3, 3 / 5),
    ],
)
def test_variances_of_matrices_worked_out_by_hand(cube, tv, sv, nv):
    assert variables(tm.TransformationVariance(), cube)["TV"] == pytest.approx(tv)
    assert variables(tm.SampleVariance(), cube)["SV"] == pytest.approx(sv)
    assert variables(tm.NormalizedVariance(), cube)["NV"] == pytest.approx(nv)


@pytest.mark.parametrize(
    ("cube", "tv", "sv", "nv"),
    [
        (CONSTANT, 0, 0, 1),
        (BY_COLUMN, 1, 0, np.inf),
        ([[0, 2], [0, 4]], (2 + 4) / 2 / np.sqrt(2), np.sqrt(2) / 2, 3),
    ],
)
def test_deviations_are_averaged_and_not_variances(cube, tv, sv, nv):
    assert variables(tm.TransformationVariance("std"), cube)["TV_deviation"] == pytest.approx(tv)
    assert variables(tm.SampleVariance("std"), cube)["SV_deviation"] == pytest.approx(sv)
    assert variables(tm.NormalizedVariance("std"), cube)["NV_deviation"] == pytest.approx(nv)


@pytest.mark.parametrize(
    ("cube", "f", "p", "paired_f", "paired_p"),
    [
        (CONSTANT, 0, 1, 0, 1),
        (BY_ROW, 0, 1, 0, 1),
        (BY_COLUMN, np.inf, 0, np.inf, 0),
        # MSB = 4 * 2 / 2 = 4 over MSW = 5/3; no paired error
        (ADDITIVE, 12 / 5, 0.146, np.inf, 0),
    ],
)
def test_anova_of_matrices_worked_out_by_hand(cube, f, p, paired_f, paired_p):
    found = variables(tm.Anova(), cube) | variables(tm.Anova(paired=True), cube)
    assert found["ANOVA_F"] == pytest.approx(f)
    assert found["ANOVA_p"] == pytest.approx(p, abs=1e-3)
    assert found["ANOVA_paired_F"] == pytest.approx(paired_f)
    assert found["ANOVA_paired_p"] == pytest.approx(paired_p, abs=1e-3)


def test_anova_agrees_with_scipy():
    from scipy import stats

    cube = np.random.default_rng(0).normal(size=(12, 5)) + np.arange(5) / 4
    found = variables(tm.Anova(), cube)
    expected = stats.f_oneway(*cube.T)
    assert found["ANOVA_F"] == pytest.approx(expected.statistic, rel=1e-12)
    assert found["ANOVA_p"] == pytest.approx(expected.pvalue, rel=1e-10)


def test_paired_anova_of_two_columns_is_the_paired_t_test():
    from scipy import stats

    cube = np.random.default_rng(0).normal(size=(12, 2)) + np.arange(12)[:, None]
    expected = stats.ttest_rel(cube[:, 0], cube[:, 1])
    for sphericity in ("lower-bound", "assumed"):  # with m = 2 both have 1 and n - 1 degrees
        found = variables(tm.Anova(paired=True, sphericity=sphericity), cube)
        assert found["ANOVA_paired_F"] == pytest.approx(expected.statistic**2, rel=1e-10)
        assert found["ANOVA_paired_p"] == pytest.approx(expected.pvalue, rel=1e-10)


def test_sphericity_assumed_has_more_degrees_of_freedom():
    from scipy import stats

    cube = np.random.default_rng(1).normal(size=(10, 6)) + np.arange(6) / 3
    bound = variables(tm.Anova(paired=True), cube)["ANOVA_paired_p"]
    found = variables(tm.Anova(paired=True, sphericity="assumed"), cube)
    assumed, f = found["ANOVA_paired_p"], found["ANOVA_paired_F"]
    assert bound == pytest.approx(stats.f.sf(f, 1, 9), rel=1e-10)
    assert assumed == pytest.approx(stats.f.sf(f, 5, 45), rel=1e-10)
    assert assumed < bound


def test_p_is_uniform_on_noise():
    from scipy import stats

    cube = np.random.default_rng(2).normal(size=(20, 6, 20_000))
    p = variables(tm.Anova(), cube)["ANOVA_p"]
    assert stats.kstest(p, "uniform").pvalue > 1e-3
    share = (p < 0.05).mean()
    assert abs(share - 0.05) < 4 * np.sqrt(0.05 * 0.95 / p.size)


def test_p_of_many_activations_is_the_same_on_several_threads():
    from tmeasures.measures.anova import _SHARE

    cube = np.random.default_rng(6).normal(size=(3, 2, 4 * _SHARE + 5))
    before, p = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 8):
            torch.set_num_threads(threads)
            p.append(variables(tm.Anova(), cube)["ANOVA_p"])
    finally:
        torch.set_num_threads(before)
    for other in p[1:]:
        np.testing.assert_array_equal(p[0], other)


def test_bonferroni_rejects_anything_at_all_in_about_alpha_of_repetitions():
    cube = np.random.default_rng(3).normal(size=(10, 4, 600, 50))
    any_rejected = 0
    for repetition in range(600):
        found = variables(tm.Anova(), cube[:, :, repetition])
        any_rejected += found["ANOVA_rejected"].any()
    assert abs(any_rejected / 600 - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 600)


def test_one_way_is_conservative_and_the_lower_bound_valid_where_rows_share_a_sample():
    rng = np.random.default_rng(4)
    steps = rng.normal(size=(12, 16, 4000)).cumsum(1)  # neighbouring columns correlate
    noise = rng.normal(size=(12, 1, 4000)) * 5 + steps
    share = {
        name: (variables(measure, noise)[f"{name}_p"] < 0.05).mean()
        for name, measure in (("ANOVA", tm.Anova()), ("ANOVA_paired", tm.Anova(paired=True)))
    }
    assert share["ANOVA"] < 0.01
    assert share["ANOVA_paired"] < 0.06
    assumed = tm.Anova(paired=True, sphericity="assumed")
    assert (variables(assumed, noise)["ANOVA_paired_p"] < 0.05).mean() > 0.07


def test_corrections_against_all_activations_of_the_network():
    p = [np.array([0.001, 0.02, np.nan]), np.array([[0.03, 0.9]])]

    def decided(correction):
        measure = tm.Anova(correction=correction)
        layers = [{"ANOVA_p": tm.Field(x, "1", "p", "here", kind="p")} for x in p]
        measure.conclude(layers)
        rejected = [fields["ANOVA_rejected"] for fields in layers]
        assert rejected[0].attributes["k"] == 4  # dead ones count, NaN do not
        return [field.values.ravel().tolist() for field in rejected]

    assert decided("bonferroni") == [[True, False, False], [False, False]]
    assert decided(None) == [[True, True, False], [True, False]]
    # Benjamini-Hochberg: 0.001 <= .0125, 0.02 <= .025, 0.03 <= .0375, 0.9 > .05
    assert decided("fdr_bh") == [[True, True, False], [True, False]]


@pytest.mark.parametrize(("correction", "level"), [("bonferroni", 0.025), (None, 0.05)])
def test_p_at_the_level_itself_is_not_rejected(correction, level):
    fields = {"ANOVA_p": tm.Field(np.array([level, level / 2]), "1", "p", "here", kind="p")}
    tm.Anova(correction=correction).conclude([fields])
    assert fields["ANOVA_rejected"].values.tolist() == [False, True]


def test_benjamini_hochberg_agrees_with_scipy():
    from scipy.stats import false_discovery_control

    p = np.random.default_rng(5).beta(0.3, 1, size=500)
    fields = {"ANOVA_p": tm.Field(p, "1", "p", "here", kind="p")}
    tm.Anova(correction="fdr_bh").conclude([fields])
    expected = false_discovery_control(p) <= 0.05
    assert 0 < expected.sum() < 500
    np.testing.assert_array_equal(fields["ANOVA_rejected"].values, expected)


def test_fdr_rejects_nothing_where_nothing_passes():
    fields = {"ANOVA_p": tm.Field(np.array([0.9, 0.5]), "1", "p", "here", kind="p")}
    tm.Anova(correction="fdr_bh").conclude([fields])
    assert not fields["ANOVA_rejected"].values.any()


@pytest.mark.parametrize(
    ("measure", "rounding", "double"),
    [
        (tm.TransformationVariance(), TV_BELOW_ROUNDING, False),
        (tm.SampleVariance(), SV_BELOW_ROUNDING, False),
        (tm.NormalizedVariance(), TV_BELOW_ROUNDING | SV_BELOW_ROUNDING, False),
        (tm.Anova(), SV_BELOW_ROUNDING, True),
    ],
)
def test_fields_say_which_rounding_concerns_them_and_whether_they_stay_float64(
    measure, rounding, double
):
    field = next(iter(measure.finalize(quantities(ADDITIVE)).values()))
    assert (field.rounding, field.double) == (rounding, double)


def test_every_measure_of_the_library_is_found_by_its_short_name():
    assert named() == {
        "ANOVA": tm.Anova,
        "DSE": tm.DistanceSameEquivariance,
        "GF": tm.Goodfellow,
        "ND": tm.NormalizedDistance,
        "NV": tm.NormalizedVariance,
        "SD": tm.SampleDistance,
        "SSE": tm.SimpleSameEquivariance,
        "SV": tm.SampleVariance,
        "TD": tm.TransformationDistance,
        "TV": tm.TransformationVariance,
        "VSE": tm.VarianceSameEquivariance,
    }


def test_names_and_objects_resolve_and_repeat_once():
    found = resolve(["NV", tm.NormalizedVariance(), tm.NormalizedVariance(spread="std")])
    assert [str(measure) for measure in found] == ["NV", "NV(spread='std')"]
    assert repr(found[1]) == "NormalizedVariance(spread='std')"
    assert resolve("ANOVA") == [tm.Anova()]
    assert resolve("all") == [kind() for kind in named().values()]
    assert len(resolve(["all", tm.NormalizedVariance(spread="std")])) == len(named()) + 1


def test_a_function_is_spelled_by_its_name_and_compared_as_it_is():
    def gap(a, b):
        return (a - b).abs()

    measure = tm.TransformationDistance(gap)
    assert str(measure).endswith("<locals>.gap)")
    assert " at 0x" not in repr(measure)
    twin = tm.TransformationDistance(lambda a, b: gap(a, b))
    twin.metric.__qualname__ = gap.__qualname__
    assert repr(twin) == repr(measure)
    assert twin != measure
    assert resolve([measure, twin, tm.TransformationDistance(gap)]) == [measure, twin]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["NVV"], "did you mean 'NV'"),
        (["anova"], "did you mean 'ANOVA'"),
        ([3], "3 is no measure"),
        ([], "asks for nothing"),
    ],
)
def test_unknown_measures_are_errors_that_say_what_is_near(given, says):
    with pytest.raises(tm.ArgumentError, match=says):
        resolve(given)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: tm.Anova(alpha=0), "alpha=0"),
        (lambda: tm.Anova(alpha=1.5), "between 0 and 1"),
        (lambda: tm.Anova(correction="holm"), "'fdr_bh'"),
        (lambda: tm.Anova(sphericity="yes"), "'assumed'"),
        (lambda: tm.NormalizedVariance(spread="mad"), "'std'"),
    ],
)
def test_bad_arguments(make, says):
    with pytest.raises(tm.ArgumentError, match=says):
        make()
