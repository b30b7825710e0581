"""The result tree: built, saved, opened, summarised, reduced to channels."""

import json
from pathlib import Path
from types import SimpleNamespace

import netCDF4
import numpy as np
import pytest
import xarray as xr

from drawing import each_class
from tmeasures import results, summaries, views
from tmeasures.errors import ArgumentError, ResultError
from tmeasures.fields import DEAD, NOT_FINITE, SV_BELOW_ROUNDING, TV_BELOW_ROUNDING, Field

MAP = ("channel", "y", "x")
ATTRIBUTES = {
    "model": "SimpleConv",
    "seed": 2**62,
    "huge": 2**70,
    "seconds": np.float32(0.5),
    "arguments": {"layers": None, "measures": ["NV", "ANOVA"], "shape": (2, np.int64(3))},
    "measures": ["NV"],
    "nothing": None,
    "flag": True,
    "empty": "",
    "looks_like_json": "12",
    "array": np.arange(3),
}


def layer(name, shape, dims=MAP, dtype="torch.float32"):
    return SimpleNamespace(
        name=name, shape=shape, dims=dims, dtype=dtype, kind="Conv2d", n_units=int(np.prod(shape))
    )


def value(values, **options):
    return Field(np.asarray(values), "1", "a value", "a source", **options)


def build(layers, *, status=None, labels=None, attributes=ATTRIBUTES, m=3):
    angles = SimpleNamespace(
        name="rotations", names=[f"{j}°" for j in range(m)], parameters={"angle": np.arange(m) / 7}
    )
    flags = {one.name: np.zeros(one.shape, np.uint8) for one, _ in layers} | (status or {})
    return results.build(
        layers,
        status=flags,
        transformations=angles,
        ids=np.array([4, 0, 2]),
        labels=labels,
        attributes=attributes,
    )


def example(labels=None):
    """Two layers, every kind of field, names that sort against the order of the network."""
    rng = np.random.default_rng(0)
    shape = (2, 3, 4)
    fields = {
        "TV": value(rng.random(shape)),
        "NV": value(np.where(rng.random(shape) < 0.3, np.inf, rng.random(shape))),
        "ANOVA_F": value(rng.random(shape), double=True),
        "ANOVA_p": value(rng.random(shape), kind="p"),
        "ANOVA_rejected": value(rng.random(shape) < 0.5, kind="decision"),
        "mean": value(rng.random((3, *shape)), leading=("transformation",)),
    }
    last = {"TV": value(rng.random(5)), "NV": value([1, np.nan, 0, 2, 3.0])}
    pairs = [
        (layer("z.relu#1", shape), fields),
        (layer("0/a", (5,), ("unit",), "torch.float64"), last),
    ]
    return build(pairs, status={"0/a": np.array([0, NOT_FINITE, 0, 0, 0], np.uint8)}, labels=labels)


def test_tree_has_the_groups_of_the_schema():
    tree = example(np.array([7, 8, 9]))
    assert list(tree.children) == ["summary", "transformations", "samples", "layers"]
    assert not tree.to_dataset().variables
    assert not tree["layers"].to_dataset(inherit=False).variables
    assert list(tree["layers"].children) == ["z.relu#1", "0%2Fa"]
    assert list(tree["summary"]["layer"].values) == ["z.relu#1", "0/a"]
    assert list(tree["summary"]["n_units"].values) == [24, 5]
    assert list(tree["summary"]["kind"].values) == ["Conv2d", "Conv2d"]
    assert list(tree["transformations"]["names"].values) == ["0°", "1°", "2°"]
    np.testing.assert_array_equal(tree["transformations"]["angle"], np.arange(3) / 7)
    assert list(tree["samples"]["ids"].values) == [4, 0, 2]
    assert list(tree["samples"]["labels"].values) == [7, 8, 9]
    data = tree["layers/z.relu#1"]
    assert data["NV"].dims == MAP
    assert data["mean"].dims == ("transformation", *MAP)
    for name, variable in data.data_vars.items():
        assert {"units", "long_name", "references"} <= set(variable.attrs), name
    assert data["status"].dtype == np.uint8
    assert list(data["status"].attrs["flag_masks"]) == [1, 2, 4, 8]
    assert len(data["status"].attrs["flag_meanings"].split()) == 4


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([0, 65535], np.uint16),
        ([0.0, 3.0], np.uint16),
        ([0, 65536], np.int32),
        ([-1, 3], np.int32),
        ([0, 2**31], np.int64),
        ([3.0, np.nan], np.float32),
    ],
)
def test_counts_are_the_smallest_integers(tmp_path, values, dtype):
    tree = build([(layer("a", (2,), ("unit",)), {"N": value(values, kind="count")})])
    results.save(tree, tmp_path / "a.nc")
    again = results.open(tmp_path / "a.nc")
    assert again["layers/a/N"].dtype == dtype
    np.testing.assert_array_equal(again["layers/a/N"], values)
    table = results.summary(again)
    assert list(table.data_vars) == ["N_mean"]
    assert table["N_mean"].item() == np.nanmean(values)


def test_values_over_some_dims_of_a_layer(tmp_path):
    rng = np.random.default_rng(0)
    fields = {
        "NV": value(rng.random((2, 3, 4))),
        "ND": value([1.0, 2.0], dims=("channel",)),
        "DT": value(rng.random((5, 2)), dims=("channel",), leading=("transformation",)),
    }
    results.save(build([(layer("a", (2, 3, 4)), fields)]), tmp_path / "a.nc")
    tree = results.open(tmp_path / "a.nc")
    assert tree["layers/a/ND"].dims == ("channel",)
    assert tree["layers/a/DT"].dims == ("transformation", "channel")
    table = results.summary(tree)
    assert table["DT_mean"].dims == ("layer", "transformation")
    np.testing.assert_allclose(table["DT_mean"][0], fields["DT"].values.mean(1), rtol=1e-6)
    assert (table["ND_finite"].item(), table["NV_finite"].item()) == (2, 24)
    assert table["n_units"].item() == 24


def test_stored_precision():
    tree = example()
    single = {name: v.dtype for name, v in tree["layers/z.relu#1"].data_vars.items()}
    assert single == {
        "TV": np.float32,
        "NV": np.float32,
        "ANOVA_F": np.float64,
        "ANOVA_p": np.float64,
        "ANOVA_rejected": np.bool_,
        "mean": np.float32,
        "status": np.uint8,
    }
    assert tree["layers/0%2Fa"]["TV"].dtype == np.float64


@pytest.mark.parametrize("extreme", [1e-39, 1e-60, 1e39, -1e300])
def test_values_outside_the_range_of_float32_keep_float64(extreme):
    tree = build([(layer("a", (3,), ("unit",), "torch.float16"), {"TV": value([extreme, 0, 1])})])
    assert tree["layers/a"]["TV"].values[0].item() == extreme
    tree = build([(layer("a", (3,), ("unit",), "torch.float16"), {"TV": value([np.inf, 0, 1])})])
    assert tree["layers/a"]["TV"].dtype == np.float32


@pytest.mark.parametrize(
    "labels",
    [
        None,
        np.array([1, 2, 3]),
        np.array(["a", "é", ""]),
        np.array(["a", 1, None], dtype=object),
        np.array([0.5, 1, 2], np.float16),
        np.array([[1, 0], [0, 1], [1, 1]], bool),
    ],
    ids=["none", "int", "str", "object", "half", "several"],
)
def test_round_trip(tmp_path, labels):
    tree = example(labels)
    results.save(tree, tmp_path / "a.nc")
    again = results.open(tmp_path / "a.nc")
    assert again.identical(tree)
    for node in tree.subtree:
        for name, variable in node.to_dataset(inherit=False).variables.items():
            found = again[node.path].to_dataset(inherit=False).variables[name]
            assert found.dtype == variable.dtype, (node.path, name)
    assert [list(node.children) for node in again.subtree] == [
        list(node.children) for node in tree.subtree
    ]
    results.save(again, tmp_path / "a.nc")
    assert results.open(tmp_path / "a.nc").identical(tree)
    assert [path.name for path in tmp_path.iterdir()] == ["a.nc"]


def test_other_readers_open_the_file(tmp_path):
    tree = example()
    results.save(tree, tmp_path / "a.nc")
    with xr.open_datatree(tmp_path / "a.nc") as plain:
        xr.testing.assert_identical(plain.load(), tree)
    with netCDF4.Dataset(tmp_path / "a.nc") as file:
        stored = file["layers/z.relu#1/TV"]
        assert stored.filters()["zlib"]
        assert stored.filters()["shuffle"]
        assert json.loads(file.measures) == ["NV"]


def test_saving_a_slice_of_an_opened_tree(tmp_path):
    results.save(example(), tmp_path / "a.nc")
    part = results.open(tmp_path / "a.nc").isel(channel=slice(0, 1), transformation=0)
    results.save(part, tmp_path / "b.nc")
    assert results.open(tmp_path / "b.nc").identical(part)


def test_attributes_come_back_as_they_were(tmp_path):
    results.save(example(), tmp_path / "a.nc")
    expected = {
        **ATTRIBUTES,
        "arguments": {"layers": None, "measures": ["NV", "ANOVA"], "shape": [2, 3]},
        "array": [0, 1, 2],
    }
    for tree in (example(), results.open(tmp_path / "a.nc")):
        found = {name: results.attribute(tree, name) for name in ATTRIBUTES}
        assert found == expected
        assert {k: type(v) for k, v in found.items()} == {
            k: float if k == "seconds" else type(v) for k, v in expected.items()
        }
        with pytest.raises(ResultError, match=r"no attribute 'sead'.*use one of format, model"):
            results.attribute(tree, "sead")


def test_a_long_attribute_survives(tmp_path):
    tree = build([(layer("a", (2,), ("unit",)), {})], attributes={"plan": ["x" * 100] * 3000})
    results.save(tree, tmp_path / "a.nc")
    assert len(results.attribute(results.open(tmp_path / "a.nc"), "plan")) == 3000


def test_an_opened_file_is_closed_and_in_memory(tmp_path):
    results.save(example(), tmp_path / "a.nc")
    tree = results.open(tmp_path / "a.nc")
    (tmp_path / "a.nc").unlink()
    assert np.isfinite(tree["layers/z.relu#1"]["TV"]).all()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.999])
def test_truncated_file(tmp_path, share):
    path = tmp_path / "a.nc"
    results.save(example(), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ResultError, match=r"cannot read .*a\.nc.*truncated") as caught:
        results.open(path)
    assert "\n" not in str(caught.value)


def test_damaged_values(tmp_path):
    path = tmp_path / "a.nc"
    values = np.random.default_rng(0).random(4000)
    results.save(build([(layer("a", (4000,), ("unit",)), {"TV": value(values)})]), path)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4000] = bytes(4000)
    path.write_bytes(content)
    with pytest.raises(ResultError, match="cannot read"):
        results.open(path)


def test_files_that_are_not_ours(tmp_path):
    with pytest.raises(ResultError, match="there is no file"):
        results.open(tmp_path / "none.nc")
    with pytest.raises(ResultError, match="is a folder"):
        results.open(tmp_path)
    results.save(example(), tmp_path / "rotation.nc")
    with pytest.raises(ResultError, match=r"did you mean 'rotation\.nc'"):
        results.open(tmp_path / "rotatoin.nc")
    (tmp_path / "text.nc").write_text("not a result")
    with pytest.raises(ResultError, match="not a result"):
        results.open(tmp_path / "text.nc")
    xr.Dataset({"a": ("x", [1.0])}, attrs={"format": 1}).to_netcdf(tmp_path / "other.nc")
    with pytest.raises(ResultError, match="not a result of tmeasures"):
        results.open(tmp_path / "other.nc")


def test_newer_format(tmp_path):
    tree = example()
    tree.attrs["format"] = results.FORMAT + 1
    results.save(tree, tmp_path / "a.nc")
    with pytest.raises(ResultError, match=f"format {results.FORMAT + 1} .* install a newer"):
        results.open(tmp_path / "a.nc")


@pytest.mark.parametrize("where", ["write", "rename"])
def test_a_failure_leaves_the_old_file(tmp_path, monkeypatch, where):
    path = tmp_path / "a.nc"
    results.save(example(), path)
    before = path.read_bytes()
    write = xr.DataTree.to_netcdf

    def fail(*args, **options):
        if where == "write":
            write(*args, **options)
            assert len(list(tmp_path.iterdir())) == 2, "written beside the target"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(
        *{"write": (xr.DataTree, "to_netcdf"), "rename": (results.os, "replace")}[where], fail
    )
    with pytest.raises(ResultError, match="No space left on device"):
        results.save(example(np.arange(3)), path)
    assert [found.name for found in tmp_path.iterdir()] == ["a.nc"]
    assert path.read_bytes() == before


def test_an_interrupt_leaves_no_temporary_file(tmp_path, monkeypatch):
    write = xr.DataTree.to_netcdf

    def interrupt(*args, **options):
        write(*args, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(xr.DataTree, "to_netcdf", interrupt)
    with pytest.raises(KeyboardInterrupt):
        results.save(example(), tmp_path / "a.nc")
    assert not list(tmp_path.iterdir())


def test_saving_errors_before_work(tmp_path, monkeypatch):
    monkeypatch.setattr(xr.DataTree, "to_netcdf", lambda *a, **k: pytest.fail("work was done"))
    with pytest.raises(ResultError, match=r"no folder .*missing.*, create it"):
        results.save(example(), tmp_path / "missing" / "a.nc")
    with pytest.raises(ResultError, match="is a folder"):
        results.save(example(), tmp_path)
    with pytest.raises(ResultError, match=r"lacks /summary.*not a result"):
        results.save(xr.DataTree(), tmp_path / "a.nc")


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "link.nc").symlink_to(tmp_path / "a.nc")
    results.save(example(), tmp_path / "link.nc")
    assert (tmp_path / "link.nc").is_symlink()
    assert Path(tmp_path / "a.nc").is_file()


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
