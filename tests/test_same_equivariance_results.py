"""What reads results reads VSE, DSE and SSE: a value for each location, feature map or layer."""

import numpy as np
import pytest
import torch
from torch import nn

import tmeasures as tm
from tmeasures import plots
from tmeasures.errors import ResultError
from tmeasures.measures import named

DSE, SSE, VSE = (named()[name] for name in ("DSE", "SSE", "VSE"))
MEASURES = ["NV", VSE(), DSE(), DSE(per="layer"), SSE()]
OF_MAPS = ["DSE", "DSE_floor", "SSE", "SSE_relative"]
OF_LAYERS = ["DSE_layer", "DSE_layer_floor"]
OF_UNITS = ["VSE", "VSE_floor"]
EVERY = [*OF_UNITS, *OF_MAPS, *OF_LAYERS]
LABELS = np.array(["ant", "bee"] * 5)


def measured(**options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 36, 4)
        )
        images = torch.rand(10, 1, 6, 6)
    # 5 rotations leave the corners in no other frame: there VSE is NaN.
    return tm.measure(model, images, tm.rotations(5), measures=MEASURES, labels=LABELS, **options)


@pytest.fixture(scope="module")
def tree():
    return measured()


@pytest.fixture(scope="module")
def classes():
    return measured(stratify="each")


def test_files_hold_all_of_it(tree, classes, tmp_path):
    for each in (tree, classes):
        tm.save(each, tmp_path / "a.nc")
        assert tm.open(tmp_path / "a.nc").identical(each)
    assert tree["layers/0/DSE_layer"].dims == ()
    assert set(EVERY) <= set(tree["layers/1"].data_vars)
    assert not set(EVERY) & set(tree["layers/3"].data_vars)


def test_the_summary_is_over_what_there_is(tree):
    table = tm.summary(tree)
    for name in EVERY:
        values = tree["layers/0"][name].values.astype(float)
        finite = values[np.isfinite(values)]
        np.testing.assert_allclose(table[f"{name}_median"][0], np.median(finite), rtol=1e-6)
        np.testing.assert_allclose(table[f"{name}_mean"][0], finite.mean(), rtol=1e-6)
        assert table[f"{name}_finite"].values.tolist()[::2] == [finite.size, 0]
        assert table[f"{name}_nan"].values.tolist()[::2] == [values.size - finite.size, 0]
        assert np.isnan(table[f"{name}_mean"][2]), "the linear layer has none"
    assert table["VSE_nan"][0] == 12, "corners of 3 maps"
    assert table["DSE_layer_finite"].values.tolist() == [1, 1, 0]


def test_maps_of_vse_become_a_value_per_channel(tree):
    reduced = tm.channels(tree)
    for layer in ("0", "1"):
        found, whole = reduced[f"layers/{layer}"], tree[f"layers/{layer}"]
        for name in OF_UNITS:
            expected = np.nanmean(whole[name].values, (1, 2))
            np.testing.assert_allclose(found[name], expected, rtol=1e-5)
        for name in (*OF_MAPS, *OF_LAYERS):
            assert found[name].identical(whole[name])
    assert tm.summary(reduced)["VSE_finite"].values.tolist() == [3, 3, 0]


def test_frames_leave_places_open_that_a_value_does_not_have(tree):
    frame = tm.to_frame(tree, EVERY, layers="0")
    counts = frame.measure.value_counts()
    assert [counts[name] for name in ("VSE", "DSE", "DSE_layer")] == [3 * 36, 3, 1]
    assert not frame[frame.measure == "VSE"].isna()[["channel", "y", "x"]].any(axis=None)
    assert frame[frame.measure == "DSE"].channel.tolist() == [0, 1, 2]
    assert frame[frame.measure == "DSE"][["y", "x"]].isna().all(axis=None)
    (row,) = frame[frame.measure == "DSE_layer"].to_dict("records")
    assert row["value"] == pytest.approx(tree["layers/0/DSE_layer"].item())
    assert frame[frame.measure == "DSE_layer"][["channel", "y", "x"]].isna().all(axis=None)
    channels = tm.to_frame(tree, ["VSE", "DSE", "DSE_layer"], layers="0", by="channel")
    assert channels.measure.value_counts().to_dict() == {"VSE": 3, "DSE": 3, "DSE_layer": 1}
    layers = tm.to_frame(tree, EVERY, by="layer")
    assert layers.layer.tolist() == ["0", "1"]
    assert layers.DSE_layer_median.tolist() == [
        tree[f"layers/{name}/DSE_layer"].item() for name in ("0", "1")
    ]


def test_a_class_has_all_of_it(classes):
    bee = tm.stratum(classes, "bee")
    for name in EVERY:
        by_class = classes["layers/1"][f"{name}_by_stratum"]
        assert by_class.dims[0] == "stratum"
        np.testing.assert_array_equal(bee["layers/1"][name], by_class[1])
        mean = classes["layers/1"][name]
        assert mean.dims == by_class.dims[1:]
    assert tm.summary(bee)["DSE_layer_finite"].values.tolist() == [1, 1, 0]
    frame = tm.to_frame(classes, "DSE_layer_by_stratum", layers="0")
    assert frame.stratum.tolist() == ["ant", "bee"]
    np.testing.assert_array_equal(frame.value, classes["layers/0/DSE_layer_by_stratum"])


@pytest.mark.parametrize("name", EVERY)
def test_pictures_of_each(tree, name):
    cells = {"DSE_layer": 1, "DSE_layer_floor": 1}.get(name, 3)
    for picture in (tree, tm.channels(tree)):
        axes = plots.heatmap(picture, name).axes[0]
        assert [text.get_text() for text in axes.get_xticklabels()] == [
            f"{layer} ({cells})" for layer in "01"
        ]
    panels = plots.histograms(tree, name).axes
    units = tree["layers/0"][name].size
    notes = [text.get_text() for axes in panels for text in axes.texts]
    count = f"{units} unit{'s' * (units > 1)}"
    assert {note.split(":")[0] for note in notes if note} == {count}
    assert plots.lines(tree, name).axes[0].lines
    assert plots.scatter(tree, "NV", name).axes[0].lines


def test_maps_of_vse(tree):
    figure = plots.maps(tree, "1", "VSE")
    assert "NaN: 12" in [text.get_text() for text in figure.legends[0].get_texts()]
    for name, what in (("DSE", "channel"), ("DSE_layer", "layer")):
        with pytest.raises(ResultError, match=f"{name} has no space .* one value per {what}"):
            plots.maps(tree, "1", name)
