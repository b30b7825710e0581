"""A result as a tidy table."""

import numpy as np
import pytest
import torch

import tmeasures as tm


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
