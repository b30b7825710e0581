"""Classes of samples, and what measures become over them."""

import gc
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tmeasures.fields import (
    DEAD,
    NOT_FINITE,
    SV_BELOW_ROUNDING,
    TV_BELOW_ROUNDING,
    Field,
)
from tmeasures.measures import Quantities, resolve
from tmeasures.measures.anova import Anova
from tmeasures.strata import Aggregate, Strata, planned_bytes, undefined

NAN, INF = np.nan, np.inf


def field(values, **options):
    return Field(np.array(values), "activation2", "a long name", "a source", **options)


def classes(count):
    """Strata of ``count`` classes with two samples each."""
    return Strata.of(np.repeat(np.arange(count), 2))


def over(*each, how="mean", status=None, strata=None):
    """The layer ``fc`` over classes, whose variables and status are given class by class."""
    sums = Aggregate(how, strata or classes(len(each)))
    units = next(iter(each[0].values())).values.shape[-1:]
    for index, fields in enumerate(each):
        bits = np.zeros(units, np.uint8) if status is None else np.array(status[index], np.uint8)
        sums.add(index, {"fc": fields}, {"fc": bits})
    found, bits, by_stratum = sums.result()
    return found["fc"], bits["fc"], None if by_stratum is None else by_stratum["fc"]


# Strata


@pytest.mark.parametrize(
    "labels",
    [
        [3, 1, 3, 2, 1, 3],
        [0, 1, 2] * 99,
        ["b", "a", "b"],
        [True, False],
        [0.5, -1.0, 0.5],
        [7],
        [2**70, 1],
    ],
)
def test_strata_part_the_order(labels):
    labels = np.asarray(labels)
    strata = Strata.of(labels)
    assert strata.labels.tolist() == sorted(set(labels.tolist()))
    assert sorted(np.concatenate(strata.positions)) == list(range(len(labels)))
    assert strata.sizes.tolist() == [len(each) for each in strata.positions]
    for label, positions in zip(strata.labels, strata.positions, strict=True):
        assert (labels[positions] == label).all()
        assert (np.diff(positions) > 0).all()


# Values


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(1, 6),
    leading=st.booleans(),
    seed=st.integers(0, 10**6),
    how=st.sampled_from(["mean", "each"]),
)
def test_means_over_the_classes_that_are_finite(n, leading, seed, how):
    draw = np.random.default_rng(seed)
    shape = (2, 4) if leading else (4,)
    values = draw.normal(1e3, 1, (n, *shape))
    values[draw.random(values.shape) < 0.4] = NAN
    values[draw.random(values.shape) < 0.2] = INF
    errors = draw.random((n, *shape))
    errors[draw.random(errors.shape) < 0.3] = NAN
    dims = ("transformation",) if leading else ()
    each = [
        {"TV": field(v, leading=dims), "TV_se": field(e, leading=dims)}
        for v, e in zip(values, errors, strict=True)
    ]
    found, _, _ = over(*each, how=how)
    for at in np.ndindex(shape):
        of = values[(slice(None), *at)]
        finite = np.isfinite(of)
        assert found["TV_strata"].values[at] == finite.sum()
        mean = of[finite].mean() if finite.any() else NAN
        np.testing.assert_allclose(found["TV"].values[at], mean, rtol=1e-14)
        error = errors[(slice(None), *at)]
        known = error[finite & np.isfinite(error)]
        expected = np.sqrt((known**2).sum()) / len(known) if len(known) else NAN
        np.testing.assert_allclose(found["TV_se"].values[at], expected, rtol=1e-14)
    assert "TV_se_strata" not in found
    assert all(each.leading[-len(dims) :] == dims for each in found.values() if dims)


def test_a_mean_keeps_what_its_field_says():
    made = field([[1.0]], leading=("block",), dims=("channel",), rounding=4, double=True, score=0.2)
    found, _, _ = over({"V": made}, {"V": made})
    mean, number = found["V"], found["V_strata"]
    for name in ("units", "references", "leading", "dims", "rounding", "double", "score", "kind"):
        assert getattr(mean, name) == getattr(made, name)
    assert mean.long_name == "a long name, mean over strata"
    assert (number.leading, number.dims) == (made.leading, made.dims)
    assert (number.kind, number.units, number.score) == ("count", "1", 0)
    assert number.values.dtype == np.uint16


def test_equal_values_have_exactly_that_mean():
    found, _, _ = over(*[{"NV": field([1.0, 0.0])}] * 7)
    assert found["NV"].values.tolist() == [1, 0]


def test_attributes_that_differ_between_classes_are_left_out():
    first, second = ({"V": field([1.0], attributes={"alpha": 0.05, "df": k})} for k in (3, 4))
    found, _, _ = over(first, second, first, how="each")
    assert found["V"].attributes == found["V_by_stratum"].attributes == {"alpha": 0.05}


def test_counts_are_added():
    found, _, _ = over(*[{"left_out": field([2, 40_000], kind="count")}] * 2)
    assert set(found) == {"left_out"}
    assert found["left_out"].values.tolist() == [4, 80_000]
    assert found["left_out"].kind == "count"


def test_many_classes_have_a_wider_counter():
    made = {"V": field([1.0])}
    assert planned_bytes(made, "mean", 2**16 - 1)[0] == 12
    assert planned_bytes(made, "mean", 2**16)[0] == 14


# Tests


def anova(p, rejected, name="ANOVA", **options):
    p = np.array(p)
    return {
        f"{name}_F": field(1 / p, double=True),
        f"{name}_p": field(p, kind="p"),
        f"{name}_rejected": field(rejected, kind="decision", **options),
    }


def test_of_a_test_only_the_share_of_rejections_is_kept():
    each = (
        anova([0.01, 0.5, NAN, NAN], [True, False, False, False]),
        anova([0.01, 0.01, 0.01, NAN], [True, True, True, False]),
        anova([0.5, 0.5, NAN, NAN], [False, False, False, False]),
    )
    found, _, _ = over(*each)
    assert set(found) == {"ANOVA_rejected", "ANOVA_rejected_strata"}
    share = found["ANOVA_rejected"]
    np.testing.assert_array_equal(share.values, [2 / 3, 1 / 3, 1, NAN])
    assert found["ANOVA_rejected_strata"].values.tolist() == [3, 3, 1, 0]
    assert (share.kind, share.long_name) == ("value", "a long name, share of strata")


def test_a_decision_goes_by_the_p_of_the_longest_prefix():
    plain, paired = anova([NAN], [False]), anova([0.01], [True], "ANOVA_paired")
    for fields in (plain | paired, paired | plain):
        found, _, _ = over(fields)
        assert found["ANOVA_paired_rejected_strata"].values == 1
        assert found["ANOVA_rejected_strata"].values == 0


def test_a_decision_without_p_counts_where_activations_are_finite():
    each = [{"invariant": field([True, d], kind="decision")} for d in (True, False)]
    found, _, _ = over(*each, status=[[0, 0], [0, NOT_FINITE]])
    assert found["invariant"].values.tolist() == [1, 1]
    assert found["invariant_strata"].values.tolist() == [2, 1]
    channel = {"invariant": field([True], kind="decision", dims=("channel",))}
    sums = Aggregate("mean", classes(1))
    sums.add(0, {"conv": channel}, {"conv": np.full((1, 3, 3), NOT_FINITE, np.uint8)})
    assert sums.result()[0]["conv"]["invariant_strata"].values.tolist() == [1]


def test_what_shares_a_name_with_a_test_or_an_error_but_is_none():
    fields = anova([0.5], [False]) | {
        "ANOVA_F_se": field([1.0]),
        "ANOVAS": field([2.0]),
        "base": field([3.0]),
        "lone_se": field([4.0]),
        "p": field([0.1], kind="p"),
    }
    found, _, _ = over(fields)
    means = {"ANOVA_rejected", "ANOVAS", "base", "lone_se"}
    assert set(found) == means | {f"{name}_strata" for name in means}


def test_the_measures_of_the_library():
    measures = resolve(["TV", "SV", "NV", "ANOVA", Anova(paired=True)])
    draw = np.random.default_rng(0)
    each = []
    for _ in range(3):
        needs = frozenset().union(*(measure.needs for measure in measures))
        quantities = Quantities(9, 4, {name: draw.random(5) for name in needs})
        fields = {k: v for m in measures for k, v in m.finalize(quantities).items()}
        for measure in measures:
            measure.conclude([fields])
        each.append(fields)
    found, _, _ = over(*each)
    means = {"TV", "SV", "NV", "ANOVA_rejected", "ANOVA_paired_rejected"}
    assert set(found) == means | {f"{name}_strata" for name in means}
    share = np.mean([fields["ANOVA_rejected"].values for fields in each], 0)
    np.testing.assert_allclose(found["ANOVA_rejected"].values, share)
    assert found["ANOVA_rejected"].attributes["alpha"] == 0.05
    assert found["NV"].rounding == each[0]["NV"].rounding


# Each class


def test_each_class_is_kept_as_it_is():
    each = [
        {"TV": field([[k, INF]], leading=("block",))} | anova([0.2, k], [False, k > 1])
        for k in (1.0, 2.0, 3.0)
    ]
    bits = [[0, DEAD], [NOT_FINITE, 0], [0, 0]]
    found, status, by_stratum = over(*each, how="each", status=bits)
    alone, _, nothing = over(*each, status=bits)
    for name, kept in alone.items():
        np.testing.assert_array_equal(found[name].values, kept.values)
    assert nothing is None
    assert set(found) == {*alone, *(f"{name}_by_stratum" for name in each[0])}
    for name, first in each[0].items():
        kept = found[f"{name}_by_stratum"]
        np.testing.assert_array_equal(kept.values, [fields[name].values for fields in each])
        assert kept.values.dtype == first.values.dtype
        assert kept.leading == ("stratum", *first.leading)
        assert (kept.kind, kept.double) == (first.kind, first.double)
    np.testing.assert_array_equal(by_stratum, bits)
    assert by_stratum.dtype == np.uint8
    assert status.tolist() == [NOT_FINITE, 0]


@pytest.mark.parametrize("left_out", [False, True])
def test_a_class_that_is_too_small(left_out):
    tv, sv, test = {"TV": field([1.0])}, {"SV": field([3.0])}, anova([0.01], [True])
    small = tv if left_out else tv | undefined(sv | test)
    sums = Aggregate("each", classes(3))
    for index, fields in enumerate((small, tv | sv | test)):
        sums.add(index, {"fc": fields}, {"fc": np.zeros(1, np.uint8)})
    if not left_out:
        sums.add(2, {"fc": undefined(tv | sv | test)}, {})
    found = sums.result()[0]["fc"]
    values = {name: found[name].values.ravel().tolist() for name in found}
    assert (values["TV"], values["TV_strata"]) == ([1], [2])
    assert (values["SV"], values["SV_strata"]) == ([3], [1])
    assert (values["ANOVA_rejected"], values["ANOVA_rejected_strata"]) == ([1], [1])
    np.testing.assert_array_equal(values["TV_by_stratum"], [1, 1, NAN])
    np.testing.assert_array_equal(values["SV_by_stratum"], [NAN, 3, NAN])
    np.testing.assert_array_equal(values["ANOVA_p_by_stratum"], [NAN, 0.01, NAN])
    assert values["ANOVA_rejected_by_stratum"] == [False, True, False]
    assert found["ANOVA_rejected_by_stratum"].values.dtype == bool


def test_undefined():
    fields = anova([0.01, 0.02], [True, True]) | {"left_out": field([3, 4], kind="count")}
    nothing = undefined(fields)
    assert list(nothing) == list(fields)
    assert np.isnan(nothing["ANOVA_F"].values).all()
    assert np.isnan(nothing["ANOVA_p"].values).all()
    assert nothing["ANOVA_rejected"].values.tolist() == [False, False]
    assert nothing["left_out"].values.tolist() == [0, 0]
    assert nothing["ANOVA_p"].kind == "p"
    assert fields["ANOVA_p"].values.tolist() == [0.01, 0.02]


# Status


@pytest.mark.parametrize(
    ("bits", "expected"),
    [
        ([0, 0], 0),
        ([DEAD, DEAD], DEAD),
        ([DEAD, 0], 0),
        ([DEAD, NOT_FINITE], NOT_FINITE),
        ([0, NOT_FINITE], NOT_FINITE),
        ([TV_BELOW_ROUNDING, TV_BELOW_ROUNDING], TV_BELOW_ROUNDING),
        ([TV_BELOW_ROUNDING, 0], 0),
        ([TV_BELOW_ROUNDING, SV_BELOW_ROUNDING], 0),
        ([DEAD, SV_BELOW_ROUNDING, DEAD], SV_BELOW_ROUNDING),
        ([TV_BELOW_ROUNDING, NOT_FINITE], NOT_FINITE),
        ([TV_BELOW_ROUNDING | SV_BELOW_ROUNDING, SV_BELOW_ROUNDING, DEAD], SV_BELOW_ROUNDING),
    ],
)
def test_status_over_classes(bits, expected):
    for order in (bits, bits[::-1]):
        _, status, _ = over(*[{"V": field([1.0])}] * len(bits), status=[[b] for b in order])
        assert status.tolist() == [expected]
        assert status.dtype == np.uint8


def test_a_class_of_one_sample_says_nothing_of_the_sample_variance():
    strata = Strata.of(np.array([0, 1, 1]))
    each = [{"V": field([1.0])}] * 2
    for alone, expected in ((0, SV_BELOW_ROUNDING), (TV_BELOW_ROUNDING, SV_BELOW_ROUNDING)):
        _, status, _ = over(*each, status=[[alone], [SV_BELOW_ROUNDING]], strata=strata)
        assert status.tolist() == [expected]
    _, status, _ = over(*each, status=[[0], [0]], strata=Strata.of(np.array([0, 1])))
    assert status.tolist() == [0]


def test_a_class_without_status_has_no_say_in_it():
    sums = Aggregate("each", classes(2))
    sums.add(0, {"fc": {"V": field([NAN])}}, {})
    sums.add(1, {"fc": {"V": field([1.0])}}, {"fc": np.array([DEAD], np.uint8)})
    _, status, by_stratum = sums.result()
    assert status["fc"].tolist() == [DEAD]
    assert by_stratum["fc"].tolist() == [[0], [DEAD]]


# Memory


def test_means_keep_no_class():
    sums = Aggregate("mean", classes(3))
    sizes, kept = set(), []
    for index in range(3):
        fields = {"TV": field(np.ones(50))} | anova(np.ones(50), np.ones(50, bool))
        kept += [weakref.ref(each.values) for each in fields.values()]
        sums.add(index, {"fc": fields}, {"fc": np.zeros(50, np.uint8)})
        sizes.add(sums.nbytes)
        del fields
    gc.collect()
    assert not any(ref() is not None for ref in kept)
    assert sizes == {50 * (2 * (8 + 2) + 2)}


@pytest.mark.parametrize("how", ["mean", "each"])
def test_bytes_are_planned_as_they_are_taken(how):
    def fields(*shape):
        block = {"block": field(np.ones((3, *shape)), leading=("block",))}
        errors = {"TV": field(np.ones(shape)), "TV_se": field(np.ones(shape))}
        return anova(np.ones(shape), np.ones(shape, bool)) | errors | block

    def stored(each):
        wide = each.double or each.kind == "p"
        return each.values.astype(np.float64 if wide else np.float32).nbytes

    sums = Aggregate(how, classes(4))
    sums.add(0, {"fc": fields(7)}, {"fc": np.zeros(7, np.uint8)})
    found, bits, by_stratum = sums.result()
    result = bits["fc"].nbytes + (0 if by_stratum is None else by_stratum["fc"].nbytes)
    for each in found["fc"].values():
        exact = each.kind in ("count", "decision")
        result += each.values.nbytes if exact else stored(each)
    assert planned_bytes(fields(1), how, 4) == (sums.nbytes / 7, result / 7)


def test_a_result_can_be_asked_for_twice():
    sums = Aggregate("mean", classes(2))
    for index in range(2):
        sums.add(index, {"fc": {"V": field([2.0])}}, {"fc": np.zeros(1, np.uint8)})
        assert sums.result()[0]["fc"]["V"].values.tolist() == [2]
