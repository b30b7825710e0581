"""One class of a result, and what channels are where a measure has fewer dims than its layer."""

import numpy as np
import pytest
import torch
import xarray as xr

import tmeasures as tm
from drawing import CONV, each_class, make, value
from tmeasures.errors import ResultError
from tmeasures.fields import DEAD, NOT_FINITE, TV_BELOW_ROUNDING
from tmeasures.results import attribute


def test_a_class_is_a_result_of_its_own():
    tree = each_class()
    before = tree.copy(deep=True)
    bee = tm.stratum(tree, "bee")
    assert tree.identical(before)
    for layer in ("conv", "fc"):
        whole, one = tree[f"layers/{layer}"], bee[f"layers/{layer}"]
        measures = ["NV", "GF", "rejected"] + ["ND"] * (layer == "conv")
        assert list(one.data_vars) == [*measures, "status"]
        assert not one.coords
        for name in one.data_vars:
            by_class = whole[f"{name}_by_stratum"]
            np.testing.assert_array_equal(one[name], by_class[1])
            assert one[name].attrs == by_class.attrs | {"long_name": one[name].attrs["long_name"]}
            assert one[name].dims == by_class.dims[1:]
        assert one.attrs == whole.attrs
    assert bee["layers/conv/rejected"].dtype == bool
    table = tm.summary(bee)
    assert set(table.dims) == {"layer"}
    np.testing.assert_array_equal(table["NV_dead"], [8, 0])
    np.testing.assert_array_equal(table["ND_dead"], [1, 0])
    np.testing.assert_array_equal(table["NV_nan"], [0, 1])
    assert "GF_score" in table


def test_a_class_is_what_its_samples_give_alone():
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3), torch.nn.ReLU())
    images, labels = torch.rand(8, 1, 6, 6), np.array([5, 8] * 4)
    how = {"measures": ["TV", "NV", "ANOVA"], "transformations": tm.rotations(4)}
    tree = tm.measure(network, images, labels=labels, stratify="each", **how)
    alone = tm.measure(network, images[labels == 8], **how)
    for layer in ("0", "1"):
        one, other = tm.stratum(tree, 8)[f"layers/{layer}"], alone[f"layers/{layer}"]
        for name in ("TV", "NV", "ANOVA_F", "ANOVA_p"):
            np.testing.assert_allclose(one[name], other[name], rtol=1e-4)
            assert one[name].attrs == other[name].attrs
        np.testing.assert_array_equal(one["status"], other["status"])


def test_a_class_has_its_own_samples():
    bee = tm.stratum(each_class(), "bee")
    np.testing.assert_array_equal(bee["samples/ids"], [1, 4, 7])
    assert set(bee["samples/labels"].values) == {"bee"}
    assert bee.attrs["n_samples"] == 3
    assert bee.attrs["n_transformations"] == 16
    assert bee["transformations"].identical(each_class()["transformations"])


@pytest.mark.parametrize("labels", [("ant", "3", "x"), (3, 7, 9), (0.5, 2.0, 7.25), (False, True)])
def test_labels_of_any_kind(tmp_path, labels):
    tm.save(each_class(labels), tmp_path / "a.nc")
    tree = tm.open(tmp_path / "a.nc")
    assert tree.identical(each_class(labels))
    with xr.open_datatree(tmp_path / "a.nc") as plain:
        xr.testing.assert_identical(plain.load(), tree)
    for label in labels:
        one = tm.stratum(tree, label)
        assert attribute(one, "stratum") == label
        assert set(one["samples/labels"].values.tolist()) == {label}
        expected = tree["layers/fc/NV_by_stratum"].sel(stratum=label)
        np.testing.assert_array_equal(one["layers/fc/NV"], expected)
        tm.save(one, tmp_path / "b.nc")
        assert tm.open(tmp_path / "b.nc").identical(one)


def test_classes_that_are_not_there():
    with pytest.raises(ResultError, match="no class 'bea': use one of 'bee'"):
        tm.stratum(each_class(), "bea")
    with pytest.raises(ResultError, match="no class '3': use one of 3"):
        tm.stratum(each_class((3, 4)), "3")
    with pytest.raises(ResultError, match=r"no values of single classes: measure with stratify='e"):
        tm.stratum(make({"a": (CONV, {"NV": value(np.ones((1, 2, 2)))})}), 0)
    with pytest.raises(ResultError, match="result of class 'bee' already: take another of the who"):
        tm.stratum(tm.stratum(each_class(), "bee"), "ant")
    with pytest.raises(ResultError, match="not a result"):
        tm.stratum(xr.DataTree(), "ant")


def test_channels_of_a_class_are_a_class_of_channels():
    tree = each_class()
    one = tm.channels(tm.stratum(tree, "bee"))
    other = tm.stratum(tm.channels(tree), "bee")
    for layer in ("conv", "fc"):
        for name, values in one[f"layers/{layer}"].data_vars.items():
            found = other[f"layers/{layer}/{name}"]
            np.testing.assert_array_equal(values, found)
            assert values.dims == found.dims
    np.testing.assert_array_equal(other["layers/conv/status"], [0, 0, DEAD])


def maps():
    """Three channels of four locations, and measures of whole maps."""
    status = np.zeros((3, 2, 2), np.uint8)
    status[0, 0] = DEAD
    status[1] = DEAD
    status[2, 0, 0] = NOT_FINITE
    status[0, 1] = TV_BELOW_ROUNDING
    fields = {
        "first": value([0.5, np.inf, np.nan], dims=("channel",), rounding=TV_BELOW_ROUNDING),
        "NV": value(np.arange(12.0).reshape(3, 2, 2)),
        "pairs": value(np.arange(12).reshape(3, 2, 2), kind="count"),
        "out": value([7, 0, 2], kind="count", dims=("channel",)),
        "sure": value([True, False, True], kind="decision", dims=("channel",)),
    }
    return make({"a": (CONV, fields)}, {"a": status})


def test_measures_of_whole_maps_stay_as_they_are():
    tree = maps()
    data, reduced = (t["layers/a"].to_dataset() for t in (tree, tm.channels(tree)))
    for name in ("first", "out", "sure"):
        assert data[name].dims == ("channel",)
        assert reduced[name].identical(data[name])
    np.testing.assert_array_equal(reduced["NV"], [1.5, 5.5, 9.5])
    np.testing.assert_array_equal(reduced["status"], [TV_BELOW_ROUNDING, DEAD, NOT_FINITE])
    assert list(reduced.data_vars) == list(data.data_vars)


def test_counts_of_channels_are_means():
    data = tm.channels(maps())["layers/a"]
    np.testing.assert_array_equal(data["pairs"], [1.5, 5.5, 9.5])
    assert data["pairs"].dtype == np.float32
    assert data["pairs"].attrs["kind"] == "count"
    assert tm.summary(tm.channels(maps()))["pairs_mean"].item() == 5.5


def test_a_summary_of_whole_maps_counts_maps():
    table = tm.summary(maps())
    found = {
        name: table[f"first_{name}"].item()
        for name in ("mean", "finite", "infinite", "nan", "dead", "below_rounding")
    }
    assert found == {
        "mean": 0.5, "finite": 1, "infinite": 1, "nan": 1, "dead": 1, "below_rounding": 1
    }  # fmt: skip
    assert table["n_units"].item() == 12
    assert table["sure_share"].item() == 0.5, "the third channel has a location that is not finite"
    assert [name for name in table if name.startswith("out")] == ["out_mean"]
    assert table["out_mean"].item() == 3


def test_the_ratio_is_of_one_class():
    fields = {name: value(np.full((1, 1, 2), 2.0)) for name in ("TV", "SV", "NV")}
    tree = make({"a": (CONV, fields | {"TV_strata": value(np.ones((1, 1, 2)), kind="count")})})
    with pytest.raises(ResultError, match=r"means over classes.*tm\.stratum\(tree, label\)"):
        tm.channels(tree, "ratio")
