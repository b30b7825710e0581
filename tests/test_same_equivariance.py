"""Same-equivariance of networks whose answer is known."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tmeasures as tm
from equivariance import (
    BOTH,
    DSE,
    EVERY,
    MAP,
    QUARTERS,
    SMALL,
    SOME,
    SSE,
    TURNS,
    USUAL,
    VSE,
    WRAPPED,
    assert_does_not_follow,
    assert_follows,
    bare,
    convolution,
    dots,
    images,
    integers,
    largest,
    measured,
    network,
    steps,
    values,
)
from small_models import Model
from tmeasures.results import attribute

# Maps that follow their input, and some that do not


@pytest.mark.parametrize("valid_only", BOTH)
@pytest.mark.parametrize(
    ("model", "transformations"),
    [
        (convolution(1), QUARTERS),
        (convolution(3, padding=1, padding_mode="circular"), WRAPPED),
        (nn.Sequential(convolution(5, padding=2, padding_mode="circular"), nn.ReLU()), WRAPPED),
    ],
)
def test_maps_that_follow(model, transformations, valid_only):
    measures = [VSE(valid_only), DSE(valid_only=valid_only), SSE(valid_only)]
    layer = measured(model, SMALL, transformations, measures)
    if not valid_only:
        layer = layer.to_dataset().rename({k: k.replace("_whole", "") for k in layer.data_vars})
    assert_follows(layer, largest(model, SMALL))


@pytest.mark.parametrize(
    ("model", "transformations"),
    [
        (convolution(1, weight=integers(4, 8, 1, 1)), QUARTERS),
        (
            convolution(3, weight=integers(4, 8, 3, 3), padding=1, padding_mode="circular"),
            WRAPPED,
        ),
        (convolution(1, weight=integers(4, 8, 1, 1)), tm.flips() * QUARTERS),
    ],
)
def test_integers_follow_exactly(model, transformations):
    layer = measured(model, integers(3, 8, 8, 8), transformations, EVERY)
    for name, found in layer.data_vars.items():
        if name != "status" and "normalized" not in name:
            assert (found == 0).all(), name


def test_filters_follow_turns_where_they_are_symmetric():
    model = convolution(3, padding=1)
    assert_does_not_follow(measured(model, SMALL, QUARTERS))
    turned = sum(torch.rot90(model.weight.data, k, (-2, -1)) for k in range(4))
    model.weight.data = turned
    assert_follows(measured(model, SMALL, QUARTERS), largest(model, SMALL))


def test_a_network_that_flips_its_maps_does_not_follow():
    flipping = Model(lambda self, x: self.a(x).flip(-1), a=convolution(1))
    assert_does_not_follow(measured(flipping, SMALL, QUARTERS))
    assert_does_not_follow(measured(flipping, SMALL, WRAPPED))
    assert_does_not_follow(measured(flipping, SMALL, tm.translations([1])))


@pytest.mark.parametrize(
    "transformations",
    [tm.brightness([-0.2, 0, 0.3]), tm.gaussian_blur([0.5, 0.8]), tm.gaussian_noise([0.1, 0.2])],
)
def test_photometric_transformations_move_no_maps(transformations):
    other = [tm.TransformationVariance(), tm.TransformationDistance(vectors=True, unit_norm=True)]
    tree = tm.measure(network(), images(40), transformations, measures=[*USUAL, *other])
    for name in ("0", "1", "2"):
        layer = tree[f"layers/{name}"]
        np.testing.assert_allclose(layer["VSE"], layer["TV"], 1e-6)
        np.testing.assert_allclose(layer["DSE"], layer["TD_vectors_unit"], 1e-6)
        assert (layer["VSE_floor"] == 0).all()
        assert (layer["DSE_floor"] == 0).all()
    np.testing.assert_allclose(tree["layers/4/VSE"], tree["layers/4/TV"], 1e-6)
    assert tree["layers/4/DSE"].dims == tree["layers/4/SSE"].dims == ()


# What leaves the frame, and what warping costs


def test_what_leaves_the_frame_counts_only_where_it_is_asked_to():
    samples = torch.rand(20, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    measures = [DSE(), DSE(valid_only=False), VSE(), VSE(valid_only=False)]
    along = tm.translations(offsets=[(dy, 0) for dy in range(-4, 5)])
    found = {}
    for name, shifts in (("along", along), ("around", tm.translations([4]))):
        layer = measured(nn.Identity(), samples, shifts, measures)
        assert (layer["DSE"] == 0).all()
        assert np.nanmax(layer["VSE"]) == 0
        assert np.nanmax(layer["VSE_whole"]) > 0.01
        found[name] = float(layer["DSE_whole"][0])
    assert found == pytest.approx({"along": 0.304, "around": 0.491}, abs=0.005)


def test_locations_that_fewer_than_two_transformations_have_are_undefined():
    layer = measured(nn.Identity(), SMALL, tm.translations(offsets=[(2, 0), (3, 0), (-5, 0)]))
    # Moved back, rows up to 5, up to 4, and from 5 on are valid.
    assert np.isnan(layer["VSE"]).all(("channel", "x")).values.tolist() == [False] * 6 + [True] * 2
    assert np.isnan(layer["VSE_floor"]).all(("channel", "x")).values.tolist()[5:] == [0, 1, 1]


def test_pairs_with_little_in_common_are_left_out_and_counted():
    shifts = tm.translations(offsets=[(0, 0), (6, 0), (0, 0), (0, 7), (7, 7)])
    layer = measured(nn.Identity(), SMALL, shifts, [DSE(), DSE(valid_only=False)])
    # 64 locations; in common: 16 of (6, 0), 8 of (0, 7), 1 of (7, 7) and at most as many of pairs.
    assert layer["DSE"].attrs["pairs_left_out"] == 4 + 1
    assert layer["DSE_whole"].attrs["pairs_left_out"] == 0
    assert (layer["DSE"] == 0).all()


def test_floors_are_what_warping_there_and_back_costs():
    # Where the network is the identity and copies pixels, nothing else is measured.
    shifts = tm.translations(offsets=[(0, 0), (2, 1), (-3, 0)])
    for transformations in (shifts, TURNS, tm.scalings([0.5, 1.5])):
        layer = measured(nn.Identity(), values(8, 2, 8, 8), transformations, SOME)
        for name in layer.data_vars:
            if f"{name}_floor" in layer:
                bound = 1e-6 * float(np.nanmax(layer[name]))
                np.testing.assert_allclose(
                    layer[f"{name}_floor"], layer[name], 1e-5, bound, err_msg=name
                )
    more = measured(nn.Identity(), values(40, 2, 8, 8), TURNS)
    first = measured(nn.Identity(), values(40, 2, 8, 8), TURNS, n_samples=8)
    assert (more["DSE"] != first["DSE"]).all()
    np.testing.assert_array_equal(more["DSE_floor"], first["DSE_floor"])
    np.testing.assert_array_equal(more["VSE_floor"], first["VSE_floor"])


@pytest.mark.parametrize(
    "transformations", [QUARTERS[1:], tm.flips(), WRAPPED, tm.contrast([2, 3])]
)
def test_floors_of_what_loses_nothing_are_0(transformations):
    layer = tm.measure(network(), images(6), transformations, measures=EVERY)["layers/0"]
    floors = [name for name in layer.data_vars if name.endswith("_floor")]
    assert len(floors) == 20
    for name in floors:
        assert (layer[name] == ("normalized" in name) * (layer[name] == 1)).all(), name


@pytest.mark.parametrize(
    "transformations", [QUARTERS * WRAPPED[:3], tm.rotations(4, fill="edge") * WRAPPED[:3]]
)
def test_inverses_of_products_undo_the_second_first(transformations):
    layer = measured(nn.Identity(), values(5, 2, 8, 8), transformations)
    assert_follows(layer)
    lossy = tm.rotations([90, 180], fill="edge") * tm.translations(offsets=[(1, 2), (0, 0)])
    layer = measured(nn.Identity(), values(5, 2, 8, 8), lossy)
    assert layer["SSE"].max() == layer["DSE"].max() == 0


# Strides


def test_layers_of_half_the_size_move_by_half_as_much():
    strided = convolution(1, stride=2)
    even = tm.translations([2, 4], fill="wrap")
    for shifts in (even, tm.translations([2])):
        assert_follows(measured(strided, SMALL, shifts), largest(strided, SMALL))
    odd = measured(strided, SMALL, tm.translations([1, 3], fill="wrap"))
    assert (odd["DSE"] > 2 * odd["DSE_floor"]).all()


@pytest.mark.parametrize(
    "model",
    [
        bare(3),
        nn.Sequential(bare(5), bare(5, channels=3)),
        bare(3, stride=2),
        bare(2, stride=2),
    ],
    ids=["unpadded", "two", "strided", "patches"],
)
def test_a_map_without_padding_moves_by_whole_steps(model):
    arguments = {"measures": USUAL, "layers": "output"}
    layer = tm.measure(model, dots(), steps(4), **arguments)["layers/output"]
    assert layer["SSE"].mean() < 1e-5
    assert layer["DSE"].mean() < 1e-3  # equal but for rounding, of unit norm


def test_the_stride_of_a_map_may_be_said():
    model = nn.Sequential(bare(5), nn.AvgPool2d(2), bare(5, channels=3))  # 28 to 8
    arguments = {"measures": "SSE", "layers": "2"}
    guessed = tm.measure(model, dots(), steps(4), **arguments)["layers/2/SSE_relative"]
    said = tm.measure(model, dots(), steps(4), **arguments, action={"2": 2})
    assert guessed.mean() > 0.2
    assert said["layers/2/SSE_relative"].mean() < 1e-5


# Declared actions


class Lifting(nn.Module):
    """Four turned copies of each filter: a quarter turn also permutes their channels."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(values(2, 1, 3, 3, seed=1))

    def forward(self, x):
        turned = [torch.rot90(self.weight, k, (-2, -1)) for k in range(4)]
        return F.conv2d(x, torch.stack(turned, 1).flatten(0, 1), padding=1)


def lifted(maps, transformation):
    """Turns maps and permutes their channels."""
    steps = round(transformation.parameters["angle"] / 90)
    return transformation(maps.unflatten(1, (2, 4)).roll(steps, 2).flatten(1, 2))


@pytest.mark.parametrize("batch_size", [None, 3])
def test_a_declared_action_in_place_of_the_plain_warp(batch_size):
    model = nn.Sequential(Lifting(), nn.ReLU())
    samples = values(5, 1, 8, 8)
    arguments = {"measures": USUAL, "layout": {"*": MAP}, "batch_size": batch_size}
    plain = tm.measure(model, samples, QUARTERS, **arguments)
    assert_does_not_follow(plain["layers/0"])
    for transformations in (QUARTERS, QUARTERS[1:], tm.rotations([-90, 180])):
        tree = tm.measure(model, samples, transformations, action={"*": lifted}, **arguments)
        for name in ("0", "1"):
            assert_follows(tree[f"layers/{name}"], largest(model, samples))
            assert (tree[f"layers/{name}/DSE_floor"] == 0).all()
    one = tm.measure(model, samples, QUARTERS, action={"1": lifted}, **arguments)
    assert_follows(one["layers/1"], largest(model, samples))
    for variable in ("VSE", "DSE", "SSE"):
        np.testing.assert_array_equal(one[f"layers/0/{variable}"], plain[f"layers/0/{variable}"])


def test_a_declared_action_makes_known_what_was_not():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64, bias=False))
    model[1].weight.data = torch.eye(64)

    def turned(vectors, transformation):
        return transformation(vectors.unflatten(1, (1, 8, 8))).flatten(1)

    tree = tm.measure(
        model, values(5, 1, 8, 8), QUARTERS, measures=USUAL, action={"1": turned}, layers="1"
    )
    assert tree["layers/1/DSE"].dims == ()
    for variable in ("VSE", "DSE", "SSE"):
        assert tree[f"layers/1/{variable}"].max() < 1e-6
    assert attribute(tree, "arguments")["action"].startswith("1: ")
