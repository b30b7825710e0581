"""Same-equivariance of what it cannot be had of, or only in part."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tmeasures as tm
from equivariance import (
    DSE,
    QUARTERS,
    TURNS,
    USUAL,
    VSE,
    WHOLE,
    bare,
    images,
    measured,
    network,
    steps,
    values,
)
from small_models import Model
from tmeasures.results import attribute


def test_all_measures_leave_out_what_a_run_cannot_have():
    vectors = nn.Sequential(nn.Linear(6, 5), nn.ReLU())
    samples, doubled = values(40, 6), [lambda x: x, lambda x: 2 * x]
    for arguments in (
        (vectors, samples, doubled),
        (nn.Sequential(nn.Flatten(), nn.Linear(36, 5)), images(40), TURNS),
        (network(), images(40), [lambda x: x, lambda x: x.flip(-1)]),
    ):
        tree = tm.measure(*arguments, measures="all")
        left = attribute(tree, "left_out_of")
        why = " ".join(tm.explain(*arguments, measures="all").why)
        for measure in ("VSE", "DSE"):
            assert left[measure].keys() == set(tree["layers"])
            assert measure in why
            assert not any(measure in each.data_vars for each in tree["layers"].values())
        (reason,) = set(left["VSE"].values())
        assert reason in why
        assert "TV" in tree[f"layers/{next(iter(tree['layers']))}"]


@pytest.mark.parametrize(
    "only_images", [lambda x: x * torch.ones(1, 1, 6, 6), lambda x: F.interpolate(x, (6, 6))]
)
def test_layers_on_which_a_function_fails_are_left_out(only_images):
    arguments = (network(), images(), [lambda x: x, only_images])
    tree = tm.measure(*arguments, measures="all")
    left = attribute(tree, "left_out_of")["SSE"]
    assert left.keys() == {"1", "2", "4"}
    assert "transformations(2) fails on shape (2, 3, 3)" in left["1"]
    assert "SSE" in tree["layers/0"]
    with pytest.raises(tm.ArgumentError, match=r"no layer gives SSE: .* fails on shape"):
        tm.measure(*arguments, measures="SSE", layers="1")


@pytest.mark.parametrize("per", ["layers", 1])
def test_vectors_are_of_channels_or_layers(per):
    with pytest.raises(tm.ArgumentError, match="per="):
        DSE(per=per)


# What is not finite


def test_a_map_with_a_unit_that_is_not_finite():
    def spoilt(self, x):
        x = x.repeat(1, 2, 1, 1)
        x[:, 1, 3, 3] = torch.nan
        return x

    measures = [*USUAL, DSE("layer")]
    with pytest.warns(tm.TMeasuresWarning, match="NaN"):
        layer = measured(Model(spoilt), images(), QUARTERS, measures)
    whole = measured(nn.Identity(), images().repeat(1, 2, 1, 1), QUARTERS, measures)
    for name in ("DSE", "DSE_floor", "SSE", "SSE_relative"):
        assert np.isnan(layer[name]).values.tolist() == [False, True]
        assert layer[name][0] == whole[name][0]
    assert np.isnan(layer["VSE"]).sum(("y", "x")).values.tolist() == [0, 4]  # turned four ways
    assert np.isnan(layer["DSE_layer"])


def test_of_a_layer_that_is_not_finite_nothing_is_known():
    x = images(4, 9)
    x[2, 0, 0, 0] = torch.nan
    measures = [DSE("layer"), DSE("layer", valid_only=False)]
    with pytest.warns(tm.TMeasuresWarning, match="NaN"):
        tree = tm.measure(nn.Identity(), x, tm.rotations([0, 45, 30]), measures=measures, **WHOLE)
    assert np.isnan(tree["layers/output/DSE_layer"])
    assert np.isnan(tree["layers/output/DSE_layer_whole"])


def test_what_is_outside_the_frame_reads_no_activation():
    x = images(4, 6)
    x[2, 0, 0, 0] = torch.nan
    with pytest.warns(tm.TMeasuresWarning, match="NaN"):
        tree = tm.measure(nn.Identity(), x, steps(2), measures=VSE(valid_only=False), **WHOLE)
    missing = np.isnan(tree["layers/output/VSE_whole"].values[0])
    assert np.argwhere(missing).tolist() == [[0, 0], [2, 0], [2, 2]]  # where steps have put it


# What does not count


def test_transformations_that_leave_nothing_valid_are_no_part_of_sse():
    near, far = [(0, 0), (2, 1)], [(50, 0), (51, 0)]
    found = [
        tm.measure(
            bare(3), images(4, 9), tm.translations(offsets=offsets), measures="SSE", **WHOLE
        )["layers/output/SSE"]
        for offsets in (near, near + far)
    ]
    np.testing.assert_allclose(*found, 1e-6)


def test_maps_of_which_no_pair_counts_have_no_distance():
    tree = tm.measure(nn.Identity(), images(4, 2), TURNS, measures=[DSE(), DSE("layer")], **WHOLE)
    layer = tree["layers/output"]
    assert layer["DSE"].attrs["pairs_left_out"] == 5 * 4 / 2
    assert np.isnan(layer["DSE"]).all()
    assert np.isnan(layer["DSE_layer"])
