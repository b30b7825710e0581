"""The result tree: built, saved, opened."""

import json
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray as xr

from made_results import ATTRIBUTES, MAP, build, layer, value
from tmeasures import results
from tmeasures.errors import ResultError
from tmeasures.fields import NOT_FINITE


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
