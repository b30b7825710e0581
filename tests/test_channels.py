"""Results reduced to channels."""

import numpy as np
import pytest
import xarray as xr

from made_results import build, layer, value
from tmeasures import results, views
from tmeasures.errors import ArgumentError, ResultError
from tmeasures.fields import DEAD, NOT_FINITE, SV_BELOW_ROUNDING, TV_BELOW_ROUNDING


def channel_tree():
    """Four channels of two locations: plain, dead, partly not finite, wholly not finite."""
    tv = np.array([[1.0, 3.0], [0, 0], [2, np.nan], [np.nan, np.nan]])
    sv = np.array([[2.0, 4.0], [0, 0], [8, np.nan], [np.nan, np.nan]])
    nv = np.array([[0.5, 0.75], [1, 1], [0.25, np.nan], [np.nan, np.nan]])
    bits = np.array(
        [
            [TV_BELOW_ROUNDING, 0],
            [DEAD | TV_BELOW_ROUNDING, DEAD],
            [0, NOT_FINITE],
            [NOT_FINITE, NOT_FINITE],
        ]
    )
    fields = {
        "TV": value(tv),
        "SV": value(sv),
        "NV": value(nv, rounding=12),
        "p": value([[0.2, 0.4], [1, 1], [0.5, np.nan], [np.nan, np.nan]], kind="p"),
        "R": value([[True, False], [False] * 2, [True, False], [False] * 2], kind="decision"),
        "L": value(np.stack([nv, 2 * nv]), leading=("block",)),
    }
    vector = {name: value([2.0, 4.0]) for name in ("TV", "SV", "NV")}
    pairs = [
        (layer("conv", (4, 2), ("channel", "time")), fields),
        (layer("fc", (2,), ("unit",)), vector),
    ]
    return build(pairs, status={"conv": bits})


def test_channels_mean():
    tree = channel_tree()
    before = tree.copy(deep=True)
    reduced = views.channels(tree)
    assert tree.identical(before)
    data = reduced["layers/conv"].to_dataset()
    assert all("time" not in variable.dims for variable in data.variables.values())
    np.testing.assert_array_equal(data["NV"], [0.625, 1, 0.25, np.nan])
    np.testing.assert_array_equal(data["TV"], [2, 0, 2, np.nan])
    np.testing.assert_allclose(data["p"], [0.3, 1, 0.5, np.nan], rtol=1e-15)
    np.testing.assert_array_equal(data["R"], [0.5, 0, 1, np.nan])
    np.testing.assert_array_equal(data["L"], [[0.625, 1, 0.25, np.nan], [1.25, 2, 0.5, np.nan]])
    np.testing.assert_array_equal(data["status"], [0, DEAD, NOT_FINITE, NOT_FINITE])
    assert data["NV"].dtype == np.float32
    assert data["status"].dtype == np.uint8
    assert data["status"].attrs == tree["layers/conv"]["status"].attrs
    assert reduced["layers/fc"].identical(tree["layers/fc"])
    assert reduced.attrs["channels"] == "mean"


def test_channels_summarise_anew(tmp_path):
    reduced = views.channels(channel_tree())
    table = results.summary(reduced)
    np.testing.assert_array_equal(table["n_units"], [4, 2])
    np.testing.assert_array_equal(table["NV_finite"], [3, 2])
    np.testing.assert_array_equal(table["NV_dead"], [1, 0])
    assert table["R_mean"][0] == 0.5
    results.save(reduced, tmp_path / "a.nc")
    assert results.open(tmp_path / "a.nc").identical(reduced)
    assert views.channels(reduced).identical(reduced)


def test_channels_infinite_and_below_rounding():
    nv = [[1.0, np.inf], [np.inf, np.inf], [np.inf, np.nan]]
    below = SV_BELOW_ROUNDING
    bits = np.array([[0, below], [below, DEAD], [below, NOT_FINITE]])
    one = layer("a", (3, 2), ("channel", "x"))
    data = views.channels(build([(one, {"NV": value(nv)})], status={"a": bits}))["layers/a"]
    np.testing.assert_array_equal(data["NV"], [1, np.inf, np.inf])
    np.testing.assert_array_equal(data["status"], [0, below, NOT_FINITE])


def test_channels_ratio():
    tree = channel_tree()
    reduced = views.channels(tree, "ratio")
    data = reduced["layers/conv"]
    np.testing.assert_allclose(data["NV"], [4 / 6, 1, 0.25, np.nan], rtol=1e-7)
    np.testing.assert_array_equal(data["TV"], [2, 0, 2, np.nan])
    assert data["NV"].attrs["rounding"] == 12
    assert "ratio" not in data["TV"].attrs["long_name"]
    assert reduced["layers/fc"].identical(tree["layers/fc"])
    assert results.summary(reduced)["NV_q75"][0] == pytest.approx((4 / 6 + 1) / 2)


def test_channels_ratio_without_sample_variance_is_infinite():
    one = layer("a", (3, 2), ("channel", "z"))
    fields = {"TV": value([[0, 1.0], [0, 0], [1, 3]]), "SV": value([[0, 0], [0, 0], [2, np.inf]])}
    data = views.channels(build([(one, fields)]), "ratio")["layers/a"]
    np.testing.assert_array_equal(data["NV"], [np.inf, 1, 0.5])


def test_channels_errors():
    tree = build([(layer("a", (2, 2), ("channel", "x")), {"NV": value(np.ones((2, 2)))})])
    with pytest.raises(ResultError, match=r"layer 'a' has no TV and no SV.*measure with"):
        views.channels(tree, "ratio")
    with pytest.raises(ArgumentError, match=r"'median'.*give 'mean' or 'ratio'"):
        views.channels(tree, "median")
    with pytest.raises(ResultError, match="not a result"):
        views.channels(xr.DataTree())


def test_channels_whatever_the_order_of_dims():
    rng = np.random.default_rng(2)
    values = rng.random((3, 4, 2))
    one = layer("a", (3, 4, 2), ("y", "x", "channel"), "torch.float64")
    data = views.channels(build([(one, {"NV": value(values)})]))["layers/a"]
    np.testing.assert_allclose(data["NV"], values.mean((0, 1)), rtol=1e-14)
