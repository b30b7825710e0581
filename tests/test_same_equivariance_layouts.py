"""Same-equivariance of maps whose dims stand in another order than ``(channel, y, x)``."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

import tmeasures as tm
from equivariance import (
    EVERY,
    MAP,
    QUARTERS,
    SMALL,
    TURNS,
    USUAL,
    assert_does_not_follow,
    assert_follows,
    assert_is,
    bare,
    convolution,
    dots,
    largest,
    measured,
    steps,
    values,
)
from small_models import Model
from tmeasures.results import attribute

pytestmark = pytest.mark.filterwarnings("ignore:quarter turns of frames of")  # no squares

SERIES, LAST = ("channel", "time"), ("y", "x", "channel")
ORDERS = [order for order in itertools.permutations(MAP) if order != MAP]
FLIPPED = tm.transformations([lambda x: x.flip(-1)], inverses=[lambda x: x.flip(-1)])
SETS = [
    QUARTERS,
    TURNS,
    tm.translations([1.5])[:3],
    tm.rotations(3, fill="edge") * tm.flips()[1:],
    FLIPPED * TURNS[:2],
    tm.contrast([0.5, 1], clip=False),
]


def permuted(inner, order, dims=MAP):
    """A network that returns the maps of another with their dims in this order."""
    axes = [1 + dims.index(dim) for dim in order]
    return Model(lambda self, x: self.inner(x).permute(0, *axes), inner=inner)


def both(inner, samples, transformations, order, dims=MAP, **arguments):
    """The outputs' measures as a network returns them, and with their dims in another order."""
    models = {dims: inner, order: permuted(inner, order, dims)}
    return [
        measured(model, samples, transformations, EVERY, layout={"output": of}, **arguments)
        for of, model in models.items()
    ]


def assert_equal(first, other):
    """Variable by variable, their dims put in one order."""
    assert first.data_vars.keys() == other.data_vars.keys()
    for name, found in other.data_vars.items():
        ordered = found.transpose(*first[name].dims)
        # Maps that are alike but for a factor are apart by the root of a rounding.
        np.testing.assert_allclose(ordered, first[name], 1e-6, 1e-8, err_msg=name)


# Against the same network with channels first


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("transformations", SETS, ids=lambda each: each.name)
def test_maps_give_the_same_in_any_order(transformations, order):
    first, other = both(convolution(3), values(5, 8, 9, 6), transformations, order)
    assert first["VSE"].dims == MAP
    assert other["VSE"].dims == order
    assert first["VSE"].shape == (4, 7, 4)
    assert_equal(first, other)


@pytest.mark.parametrize("batch_size", [1, 4, 16])
def test_channels_last_in_tiles_of_any_size(batch_size):
    samples = values(40, 8, 5, 5)
    arguments = {"batch_size": batch_size, "memory": 10_000_000}
    assert_equal(*both(convolution(3), samples, TURNS, LAST, **arguments))


@pytest.mark.parametrize("transformations", [tm.time_shifts([-3, 0, 1.5]), tm.gains([1, 2])])
def test_series_give_the_same_with_time_first(transformations):
    model, order = nn.Conv1d(2, 4, 3, padding=1), ("time", "channel")
    assert_equal(*both(model, values(6, 2, 12), transformations, order, SERIES))


# Against the stored cube


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("transformations", [TURNS, QUARTERS[1:]], ids=lambda each: each.name)
def test_a_result_is_that_of_the_stored_cube(transformations, order):
    model = permuted(nn.Conv2d(1, 3, 3).double(), order)
    arguments = (model, values(5, 1, 7, 6), transformations)
    assert_is(tm.measure(*arguments, measures=EVERY, layout={"output": order}), arguments)


@pytest.mark.parametrize("dims", [("y", "x"), ("x", "y"), ("time",)])
def test_maps_without_channels_are_one(dims):
    axes = len(dims)
    shape, kind = ((1, 7, 6), nn.Conv2d) if axes == 2 else ((1, 12), nn.Conv1d)
    inner, known = kind(1, 1, 3).double(), MAP if axes == 2 else SERIES
    model = Model(
        lambda self, x: permuted(self.inner, ("channel", *dims), known)(x)[:, 0], inner=inner
    )
    transformations = TURNS if axes == 2 else tm.time_shifts([0, 2, -1.5])
    arguments = (model, values(5, *shape), transformations)
    tree = tm.measure(*arguments, measures=EVERY, layout={"output": dims})
    assert_is(tree, arguments)
    found, expected = tree["layers/output"], tree["layers/inner"]
    assert found["DSE"].dims == ()
    for variable in ("VSE", "DSE", "DSE_floor", "SSE"):
        ordered = found[variable].transpose(*known[1:], missing_dims="ignore")
        np.testing.assert_array_equal(ordered, expected[variable][0])


# Known answers


def test_linear_layers_of_channels_follow_turns():
    last = Model(lambda self, x: self.mix(x.permute(0, 2, 3, 1)), mix=nn.Linear(8, 4, bias=False))
    layout = {"*": LAST}
    tree = tm.measure(last, SMALL, QUARTERS, measures=USUAL, layout=layout)
    assert not any(attribute(tree, "left_out_of").values())
    assert_follows(tree["layers/mix"], largest(last, SMALL))
    flipped = Model(lambda self, x: self.last(x).flip(-2), last=last)
    assert_does_not_follow(measured(flipped, SMALL, QUARTERS, layout=layout))
    wrong = {"output": ("x", "y", "channel")}
    assert_does_not_follow(measured(permuted(convolution(1), LAST), SMALL, QUARTERS, layout=wrong))


def test_declared_actions_get_maps_with_channels_first():
    shapes = []

    def passed_on(maps, transformation):
        shapes.append(maps.shape[1:])
        return transformation(maps).roll(round(transformation.parameters["angle"] / 90), 1)

    one = values(3, 3)
    model = nn.Conv2d(1, 4, 3, bias=False)
    model.weight.data = torch.stack([one.rot90(k) for k in range(4)]).unsqueeze(1)
    last = permuted(model, LAST)
    arguments = {"layout": {"output": LAST}, "action": {"output": passed_on}}
    layer = measured(last, values(5, 1, 8, 8), QUARTERS, **arguments)
    assert_follows(layer, 20)
    assert set(shapes) == {(4, 6, 6)}


def test_the_stride_of_channels_last_may_be_said():
    inner = nn.Sequential(bare(5), nn.AvgPool2d(2), bare(5, channels=3))  # 28 to 8
    last, layout = permuted(inner, LAST), {"output": LAST}
    guessed, said = (
        measured(last, dots(), steps(4), layout=layout, action=action)
        for action in (None, {"output": 2})
    )
    assert guessed["SSE_relative"].mean() > 0.2
    assert said["SSE_relative"].mean() < 1e-5


@pytest.mark.parametrize(
    ("dims", "transformations"),
    [
        (("token", "unit", "channel"), QUARTERS),
        (("y", "x", "unit"), QUARTERS),
        (LAST, tm.time_shifts([1, 2])),
    ],
)
def test_other_dims_are_left_out_as_before(dims, transformations):
    with pytest.raises(
        tm.ArgumentError, match=r"no layer gives VSE: its dims are .*acts on channel"
    ):
        measured(nn.Identity(), SMALL, transformations, layout={"output": dims})


def test_what_acts_on_the_inputs_shape_acts_on_the_dims_as_they_are():
    shifts = tm.circular_shifts([0, 1, 3])
    layer = measured(nn.Tanh(), values(5, 6, 7, 4), shifts, layout={"output": LAST})
    assert_follows(layer)
