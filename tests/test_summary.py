"""The summary of a result: one row per layer."""

import numpy as np
import pytest
import xarray as xr

from drawing import each_class
from made_results import build, layer, value
from tmeasures import results, summaries, views
from tmeasures.errors import ResultError
from tmeasures.fields import DEAD, NOT_FINITE, SV_BELOW_ROUNDING, TV_BELOW_ROUNDING


def test_summary_of_values():
    values = [0.5, 1.0, 4.0, np.inf, np.nan, 1.0, 2.0, 3.0]
    flags = [
        0,
        DEAD | TV_BELOW_ROUNDING,
        0,
        SV_BELOW_ROUNDING,
        NOT_FINITE,
        DEAD,
        TV_BELOW_ROUNDING,
        0,
    ]
    one = layer("a", (2, 4), ("channel", "time"))
    both = TV_BELOW_ROUNDING | SV_BELOW_ROUNDING
    fields = {
        "NV": value(np.reshape(values, (2, 4)), rounding=both),
        "TV": value(np.reshape(values, (2, 4)), rounding=TV_BELOW_ROUNDING),
        "GF": value(np.reshape(values, (2, 4))),
    }
    tree = build([(one, fields)], status={"a": np.reshape(flags, (2, 4)).astype(np.uint8)})
    table = results.summary(tree)
    finite = np.array([0.5, 1, 4, 1, 2, 3])
    expected = {
        "mean": finite.sum() / 6,
        "std": np.sqrt(((finite - finite.sum() / 6) ** 2).sum() / 6),
        "median": 1.5,
        "q25": 1.0,
        "q75": 2.75,
        "finite": 6,
        "dead": 2,
        "infinite": 1,
        "nan": 1,
        "below_rounding": 2,
    }
    found = {name: table[f"NV_{name}"].sel(layer="a").item() for name in expected}
    assert found == pytest.approx(expected, rel=1e-14)
    assert table["TV_below_rounding"].values == [1]
    assert table["GF_below_rounding"].values == [0]
    assert table["NV_dead"].dtype == np.int64
    assert table["NV_mean"].attrs["long_name"] == "a value: mean over finite units"


def test_summary_of_p_values_and_decisions():
    one = layer("a", (5,), ("unit",))
    p = np.array([0.0, 0.25, np.nan, 0.5, 1.0])
    fields = {"p": value(p, kind="p"), "rejected": value(p < 0.1, kind="decision")}
    table = results.summary(
        build([(one, fields)], status={"a": np.array([0, 0, NOT_FINITE, 0, 0])})
    )
    found = {name: float(table[name][0]) for name in table.data_vars}
    expected = {"p_q25": 0.1875, "p_median": 0.375, "p_q75": 0.625, "p_nan": 1}
    assert found == {**expected, "rejected_share": 0.25}


@pytest.mark.parametrize(
    ("values", "score", "expected"),
    [
        (np.arange(10.0), 0.2, 8.5),
        (np.arange(11.0), 0.2, 9),  # the largest three
        ([3.0, np.nan, 5, np.inf, 1], 0.2, 5),
        ([3.0, np.nan, 5, np.inf, 1], 0.5, 4),
        (np.arange(100.0), 0.07, 96),  # 0.07 * 100 is above 7
        ([2.0, 4.0], 1.0, 3),
        ([np.nan, np.inf], 0.2, np.nan),
    ],
)
def test_the_score_is_the_mean_of_the_largest(tmp_path, values, score, expected):
    one = layer("a", (len(values),), ("unit",))
    tree = build([(one, {"GF": value(values, score=score), "NV": value(values)})])
    results.save(tree, tmp_path / "a.nc")
    tree = results.open(tmp_path / "a.nc")
    table = results.summary(tree)
    np.testing.assert_allclose(table["GF_score"], [expected], rtol=1e-12)
    assert table["GF_score"].attrs["units"] == "1"
    assert "NV_score" not in table
    anew = summaries.summarise(summaries.layers_of(tree))
    assert anew.identical(table)


def test_a_score_of_channels_is_over_channels():
    values = np.array([[1.0, 3.0], [5.0, 5.0], [0.0, 1.0]])
    one = layer("a", (3, 2), ("channel", "time"))
    table = results.summary(views.channels(build([(one, {"GF": value(values, score=0.5)})])))
    assert table["GF_score"].item() == 3.5


def test_summary_of_single_classes():
    tree = each_class()
    table = results.summary(tree)
    assert table["stratum"].values.tolist() == ["ant", "bee", "cow"]
    for name in ("NV", "ND", "rejected"):
        for label in table["stratum"].values:
            alone = results.summary(views.stratum(tree, label))
            columns = [column for column in alone if column.startswith(f"{name}_")]
            assert len(columns) > (name != "rejected") * 5
            for column in columns:
                each = table[column.replace(name, f"{name}_by_stratum")]
                assert each.dims == ("layer", "stratum"), column
                np.testing.assert_array_equal(each.sel(stratum=label), alone[column], column)
    np.testing.assert_array_equal(table["NV_by_stratum_dead"], [[0, 8, 0], [0, 0, 0]])
    assert table["NV_dead"].dims == ("layer",)


def test_summary_without_a_finite_unit():
    one = layer("a", (2,), ("unit",))
    fields = {"NV": value([np.nan, np.inf]), "R": value([False, False], kind="decision")}
    flags = {"a": np.full(2, NOT_FINITE)}
    table = results.summary(build([(one, fields)], status=flags))
    assert np.isnan([table["NV_mean"][0], table["NV_median"][0], table["R_share"][0]]).all()
    assert [int(table[f"NV_{name}"][0]) for name in ("finite", "infinite", "nan")] == [0, 1, 1]


def test_summary_keeps_leading_dims_and_misses_what_a_layer_lacks():
    rng = np.random.default_rng(1)
    values, shares = rng.random((3, 2, 2)), rng.random((3, 2, 2)) < 0.5
    pairs = [
        (layer("a", (2,), ("unit",)), {"NV": value([1.0, 2.0])}),
        (
            layer("b", (2, 2), ("channel", "time"), "torch.float64"),
            {
                "V": value(values, leading=("transformation",)),
                "D": value(shares, leading=("transformation",), kind="decision"),
            },
        ),
    ]
    table = results.summary(build(pairs))
    assert table["V_mean"].dims == ("layer", "transformation")
    np.testing.assert_allclose(table["V_mean"][1], values.mean((1, 2)), rtol=1e-14)
    np.testing.assert_allclose(table["V_median"][1], np.median(values, (1, 2)), rtol=1e-14)
    np.testing.assert_array_equal(table["D_share"][1], shares.mean((1, 2)))
    assert np.isnan(table["V_mean"][0]).all()
    np.testing.assert_array_equal(table["V_finite"], [[0] * 3, [4] * 3])
    np.testing.assert_array_equal(table["NV_finite"], [2, 0])
    assert table["V_dead"].dims == ("layer",)


def test_summary_of_something_else():
    with pytest.raises(ResultError, match="not a result"):
        results.summary(xr.DataTree())
