"""Whole runs of same-equivariance are what the stored cube gives by the definition."""

import numpy as np
import pytest
import torch
from torch import nn

import tmeasures as tm
from cubes import cube
from equivariance import (
    BOTH,
    DSE,
    EVERY,
    QUARTERS,
    SOME,
    SSE,
    TURNS,
    USUAL,
    VSE,
    WHOLE,
    assert_is,
    double,
    images,
    network,
    values,
)
from tmeasures.results import attribute
from tmeasures.transformations import AffineTransformation

SETS = {
    "rotations": TURNS,
    "quarter turns": QUARTERS,
    "no identity, edge": tm.rotations(4, fill="edge")[1:] * tm.scalings([0.8], fill="edge"),
    "a fill": tm.rotations(3, fill=0.5),
    "flips": tm.flips(),
    "scalings": tm.scalings([0.5, 1, 1.5]),
    "scalings with little in common": tm.scalings([3, 0.3]),
    "shifts, identity last": tm.translations(offsets=[(1, 0), (0, -2.5), (0, 0)]),
    "shifts, no identity": tm.translations([3])[:5],
    "wrapped shifts": tm.translations(offsets=[(1, 0), (-2, 1.5), (0, 3)], fill="wrap"),
    "product": tm.rotations(2) * tm.translations(offsets=[(0, 0), (2, -1)]),
    "product of unlike fills": tm.rotations([0, 30], fill="edge") * tm.flips()[:2],
    "photometric": tm.brightness([-0.2, 0, 0.2]),
    "photometric product": tm.contrast([0.5, 1]) * TURNS[:2],
    "callables": tm.transformations(
        [lambda x: x.flip(-1), lambda x: x.roll(2, -2)],
        inverses=[lambda x: x.flip(-1), lambda x: x.roll(-2, -2)],
    ),
}


@pytest.mark.parametrize("name", SETS)
def test_a_result_is_that_of_the_stored_cube(name):
    arguments = (double(), images(), SETS[name])
    measures = EVERY if name in ("rotations", "shifts, no identity") else SOME
    assert_is(tm.measure(*arguments, measures=measures), arguments, measures)


@pytest.mark.parametrize("batch_size", [1, 3, 12])
@pytest.mark.parametrize("name", ["rotations", "no identity, edge", "shifts, identity last"])
def test_tiles_of_any_size_give_the_same(name, batch_size):
    arguments = (double(), images(7), SETS[name])
    tree = tm.measure(*arguments, measures=SOME, batch_size=batch_size, errors=True)
    assert_is(tree, arguments, SOME)


@pytest.mark.parametrize("errors", BOTH)
def test_more_samples_than_blocks_and_floors_take(errors):
    arguments = (double(), images(70), TURNS[1:])
    measures = [VSE(), DSE(normalized=True), SSE(), "TV", "ND", "GF"]
    tree = tm.measure(*arguments, measures=measures, errors=errors)
    assert_is(tree, arguments, measures[:3])
    alone = tm.measure(*arguments, measures=["TV", "ND", "GF"])
    for variable in ("TV", "ND", "GF"):
        np.testing.assert_allclose(
            tree[f"layers/0/{variable}"], alone[f"layers/0/{variable}"], 1e-12
        )


@pytest.mark.parametrize("memory", [None, 900_000, 600_000, 400_000])
def test_passes_and_runs_of_layers_give_the_same(memory):
    arguments = (double(), images(40), TURNS)
    measures = [VSE(normalized=True), DSE(normalized=True), DSE("layer"), SSE(), "TV", "SV", "SD"]
    plan = tm.explain(*arguments, measures=measures, memory=memory)
    tree = tm.measure(*arguments, measures=measures, memory=memory)
    assert_is(tree, arguments, measures[:4])
    assert tree.attrs["inputs"] == plan.inputs
    assert plan.state_bytes + plan.tile_bytes <= (memory or np.inf)


@pytest.mark.parametrize(("name", "bound"), [("rotations", 1e-5), ("quarter turns", 1e-6)])
@pytest.mark.parametrize("batch_size", [None, 3])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_float32_networks(name, bound, batch_size, memory_format):
    model = network().to(memory_format=memory_format)
    arguments = (model, images().to(memory_format=memory_format), SETS[name])
    tree = tm.measure(*arguments, measures=SOME, batch_size=batch_size)
    assert_is(tree, arguments, SOME, bound)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_networks(dtype):
    model = network().to(dtype)
    arguments = (model, images(5), TURNS[1:])
    tree = tm.measure(*arguments, measures=SOME)
    assert tree["layers/0"].attrs["dtype"] == str(dtype).removeprefix("torch.")
    assert_is(tree, arguments, SOME, 1e-5)


@pytest.mark.parametrize("stratify", ["mean", "each"])
def test_a_stratum_is_measured_as_if_alone(stratify):
    labels, measures = np.array([1, 0, 0, 1, 1] * 8 + [2]), [*USUAL, DSE(normalized=True)]
    arguments = {"measures": measures, "batch_size": 12}
    tree = tm.measure(double(), images(41), TURNS, labels=labels, stratify=stratify, **arguments)
    alone = []
    for label in range(3):
        some = images(41)[torch.from_numpy(labels == label)]
        given = {"measures": measures[:3]} if label == 2 else {}
        alone.append(tm.measure(double(), some, TURNS, **arguments | given)["layers/0"])
    layer = tree["layers/0"]
    for variable in ("VSE", "DSE", "SSE", "SSE_relative"):
        expected = np.stack([each[variable] for each in alone])
        np.testing.assert_allclose(layer[variable], expected.mean(0), 1e-9, err_msg=variable)
        if stratify == "each":
            np.testing.assert_allclose(layer[f"{variable}_by_stratum"], expected, 1e-9)
    expected = np.mean([each["DSE_normalized"] for each in alone[:2]], 0)
    np.testing.assert_allclose(layer["DSE_normalized"], expected, 1e-9)
    whole = tm.measure(double(), images(41), TURNS, measures=measures)["layers/0"]
    for variable in ("VSE_floor", "DSE_floor"):  # of the whole set
        np.testing.assert_allclose(layer[variable], whole[variable], 1e-9)


def test_functions_without_inverses_have_simple_same_equivariance():
    flips = tm.transformations([lambda x: x, lambda x: x.flip(-1)])
    arguments = (double(), images(6), flips)
    assert_is(tm.measure(*arguments, measures=SSE()), arguments, [SSE()])


def test_sets_may_mix_what_moves_pixels_and_what_does_not():
    stretch = AffineTransformation(np.diag([1.5, 1, 1]))
    mixed = tm.TransformationSet("own", [stretch, tm.brightness([0.2])[0], *QUARTERS[:2]])
    arguments = (double(), images(), mixed)
    assert_is(tm.measure(*arguments, measures=SOME), arguments, SOME)


def test_normalized_variances_of_samples_that_are_nearly_alike():
    x = 1 + 1e-3 * images(4, 8)
    measure, turns = VSE(normalized=True), tm.rotations(3)
    tree = tm.measure(nn.Identity(), x, turns, measures=measure, **WHOLE)
    moved = cube(nn.Identity(), x, turns, **WHOLE)["output"]
    expected = measure.reference(
        moved, turns, untransformed=cube(nn.Identity(), x, None, **WHOLE)["output"][:, 0]
    )
    found = tree["layers/output/VSE_normalized"].values
    np.testing.assert_allclose(found, expected["VSE_normalized"].astype(float), 1e-5)


# Vectors, sequences, series


@pytest.mark.parametrize(
    ("transformations", "shape"),
    [
        (tm.circular_shifts([0, 1, 3]), (6,)),
        (tm.circular_shifts([1, -2], axis=-2), (4, 6)),
        (tm.permutations([[1, 0, 3, 2, 4, 5], [5, 4, 3, 2, 1, 0]]), (4, 6)),
        (tm.sign_flips([[1, -1, 1, -1, 1, 1], [1] * 6]), (6,)),
    ],
)
def test_vectors_and_sequences(transformations, shape):
    model = nn.Sequential(nn.Tanh(), nn.Linear(6, 6), nn.Linear(6, 5)).double()
    arguments = (model, values(9, *shape), transformations)
    tree = tm.measure(*arguments, measures=EVERY, batch_size=5)
    assert_is(tree, arguments)
    assert attribute(tree, "left_out_of")["SSE"].keys() == {"2"}
    assert tree["layers/0/VSE"].shape == shape
    assert tree["layers/0/DSE"].dims == ()
    mixes = transformations.name != "circular_shifts(2)"  # those of tokens do not mind
    assert tree["layers/0/DSE"] < 1e-12
    assert tree["layers/0/SSE"] < 1e-12
    assert (tree["layers/1/DSE"] > 0.1) == mixes


def test_series():
    model = nn.Conv1d(2, 4, 3, padding=1, padding_mode="circular").double()
    samples = values(6, 2, 12).double()
    wrapped = tm.time_shifts([-3, 0, 1], fill="wrap")
    for shifts in (wrapped, tm.time_shifts([0.5, 2]), tm.time_stretches([0.5, 1.5])):
        arguments = (model, samples, shifts)
        tree = tm.measure(*arguments, measures=EVERY)
        assert_is(tree, arguments)
        assert (tree["layers/output/DSE"].max() < 1e-6) == (shifts is wrapped)
    strided = nn.Conv1d(2, 4, 2, 2).double()
    tree = tm.measure(strided, samples, tm.time_shifts([0, 2, 4]), measures=USUAL)
    assert tree["layers/output/DSE"].max() < 1e-6
