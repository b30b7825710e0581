"""A result as a tidy table."""

import numpy as np
import pytest
import torch

import tmeasures as tm
from drawing import CONV, each_class, make, value


@pytest.fixture(scope="module")
def tree():
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(2 * 9, 3)
    )
    with torch.no_grad():
        network[0].weight[1], network[0].bias[1] = 0, -1  # dead after the ReLU
    return tm.measure(network, torch.rand(8, 1, 5, 5), tm.rotations(4))


def test_every_value_has_a_row(tree):
    frame = tm.to_frame(tree)
    assert frame.columns.tolist() == [
        "layer", "channel", "y", "x", "unit", "measure", "value", "status"
    ]  # fmt: skip
    layers = tree.children["layers"].children
    variables = ["TV", "SV", "NV", "ANOVA_F", "ANOVA_p", "ANOVA_rejected"]
    assert len(frame) == sum(node["status"].size * len(variables) for node in layers.values())
    for name, node in layers.items():
        for measure in variables:
            rows = frame[(frame.layer == name) & (frame.measure == measure)]
            np.testing.assert_array_equal(rows.value, node[measure].values.ravel())
            for dim in node[measure].dims:
                at = np.indices(node[measure].shape)[node[measure].dims.index(dim)]
                np.testing.assert_array_equal(rows[dim], at.ravel())
    assert frame[frame.layer == "3"][["channel", "y", "x"]].isna().all(axis=None)


def test_rows_say_which_units_are_dead(tree):
    frame = tm.to_frame(tree, "NV", layers="1")
    assert (frame[frame.channel == 1].status == "dead").all()
    dead = tree["layers/1/status"].values.ravel() & 1
    np.testing.assert_array_equal(frame.status.str.contains("dead"), dead.astype(bool))


def test_layers_and_measures_keep_their_order(tree):
    frame = tm.to_frame(tree, ["SV", "NV"])
    assert frame.layer.cat.categories.tolist() == ["0", "1", "3"]
    assert frame.layer.cat.ordered
    assert frame.measure.cat.categories.tolist() == ["SV", "NV"]
    assert frame.groupby("layer", observed=True).value.size().tolist() == [36, 36, 6]


def test_channels_are_those_of_the_reduced_tree(tree):
    frame = tm.to_frame(tree, "NV", layers=["0", "1"], by="channel")
    reduced = tm.channels(tree)
    expected = np.concatenate([reduced[f"layers/{name}/NV"].values for name in "01"])
    np.testing.assert_array_equal(frame.value, expected)
    assert "y" not in frame


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"by": "map"}, tm.ArgumentError, "by='map'"),
        ({"measures": "NW"}, tm.ResultError, "no measure 'NW'"),
        ({"layers": "conv*"}, tm.ResultError, "conv*"),
    ],
)
def test_what_is_not_there_is_said(tree, arguments, error, said):
    with pytest.raises(error, match=r".") as caught:
        tm.to_frame(tree, **arguments)
    assert said in str(caught.value)


def test_the_result_is_unchanged(tree):
    before = tree.copy(deep=True)
    tm.to_frame(tree, by="channel")
    assert tree.identical(before)


def test_a_measure_named_twice_is_one(tree):
    assert len(tm.to_frame(tree, ["NV", "NV"])) == len(tm.to_frame(tree, "NV"))
    with pytest.raises(tm.ArgumentError, match="asks for nothing"):
        tm.to_frame(tree, [])


def test_dims_that_are_columns_are_refused():
    layout = {"output": ("value", "y", "x")}
    network = torch.nn.Conv2d(1, 2, 3)
    tree = tm.measure(network, torch.rand(4, 1, 5, 5), tm.rotations(4), layout=layout)
    with pytest.raises(tm.ArgumentError, match="dim named 'value'"):
        tm.to_frame(tree)


def test_layers_have_the_columns_of_the_summary(tree):
    frame = tm.to_frame(tree, ["NV", "ANOVA_rejected"], layers=["1", "3"], by="layer")
    table = tm.summary(tree).sel(layer=["1", "3"])
    assert frame.layer.tolist() == ["1", "3"]
    assert frame.columns.tolist()[:4] == ["layer", "kind", "n_units", "NV_mean"]
    for column in frame.columns[3:]:
        assert column.startswith(("NV_", "ANOVA_rejected_"))
        np.testing.assert_array_equal(frame[column], table[column])


def test_measures_of_whole_maps_have_a_row_per_channel():
    frame = tm.to_frame(each_class(), ["NV", "ND"], layers="conv")
    rows = frame[frame.measure == "ND"]
    np.testing.assert_array_equal(rows.value, each_class()["layers/conv/ND"])
    assert rows.channel.tolist() == [0, 1, 2]
    assert rows[["y", "x"]].isna().all(axis=None)
    assert (frame.measure == "NV").sum() == 24
    by_channel = tm.to_frame(each_class(), ["NV", "ND"], layers="conv", by="channel")
    assert by_channel.measure.value_counts().tolist() == [3, 3]
    assert "y" not in by_channel
    assert not by_channel.isna().any(axis=None)


def test_status_of_whole_maps_is_the_channels():
    status = np.zeros((3, 1, 2), np.uint8)
    status[0], status[1, 0, 0], status[2, 0, 1] = 1, 1, 2
    fields = {"ND": value([1.0, 2.0, 3.0], dims=("channel",)), "NV": value(np.ones((3, 1, 2)))}
    frame = tm.to_frame(make({"a": (CONV, fields)}, {"a": status}))
    assert frame[frame.measure == "ND"].status.tolist() == ["dead", "", "not_finite"]
    assert frame[frame.measure == "NV"].status.tolist() == ["dead"] * 3 + ["", "", "not_finite"]


@pytest.mark.parametrize("labels", [("ant", "bee", "cow"), (4, 6, 9)])
def test_values_of_each_class_have_its_label(labels):
    tree = each_class(labels)
    assert not tm.to_frame(tree).measure.str.endswith("_by_stratum").any()
    assert "stratum" not in tm.to_frame(tree)
    for by in ("unit", "channel"):
        frame = tm.to_frame(tree, ["NV_by_stratum", "ND_by_stratum"], by=by)
        assert set(frame.stratum) == set(labels)
        for label in labels:
            alone = tm.to_frame(tm.stratum(tree, label), ["NV", "ND"], by=by)
            rows = frame[frame.stratum == label].reset_index(drop=True)
            np.testing.assert_array_equal(rows.value, alone.value)
            assert rows.status.tolist() == alone.status.tolist()
            assert rows.channel.equals(alone.channel)
    mixed = tm.to_frame(tree, ["NV", "NV_by_stratum"])
    assert mixed[mixed.measure == "NV"].stratum.isna().all()


def test_layers_have_a_row_for_each_class_that_is_asked_for():
    tree = each_class()
    table = tm.summary(tree)
    frame = tm.to_frame(tree, "NV_by_stratum", by="layer")
    assert frame.columns.tolist()[:4] == ["layer", "stratum", "kind", "n_units"]
    assert frame.stratum.tolist() == ["ant", "bee", "cow"] * 2
    expected = table["NV_by_stratum_median"].values.ravel()
    np.testing.assert_array_equal(frame.NV_by_stratum_median, expected)
    whole = tm.to_frame(tree, by="layer")
    assert whole.layer.tolist() == ["conv", "fc"]
    assert "NV_strata_mean" in whole
    assert not any("by_stratum" in column for column in whole)


def test_layers_without_some_measure_are_there():
    """Of ``fc`` there is no ND."""
    for by in ("unit", "channel", "layer"):
        frame = tm.to_frame(each_class(), layers="f*", by=by)
        assert set(frame.layer) == {"fc"}
        measures = set(frame) if by == "layer" else set(frame.measure)
        assert "NV_median" in measures or "NV" in measures
        assert not any(name.startswith("ND") for name in measures)
    with pytest.raises(tm.ResultError, match="no layer with ND matches 'f\\*'"):
        tm.to_frame(each_class(), "ND", layers="f*")
    with pytest.raises(tm.ResultError, match="no layer matches 'g\\*'"):
        tm.to_frame(each_class(), layers="g*")
