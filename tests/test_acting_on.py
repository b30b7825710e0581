"""How transformations of inputs act on layers' outputs, and what their inverses are called."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from tmeasures.transformations import (
    AffineTransformation,
    Transformation,
    combined,
    flips,
    identity,
    rotations,
    scalings,
    transformations,
    translations,
)
from tmeasures.transformations.photometric import gaussian_noise
from tmeasures.transformations.products import ProductTransformation
from tmeasures.transformations.vectors import permutations

MAPS = ("channel", "y", "x")


def smooth(height, width):
    """A sum of waves, slow against a pixel."""
    y, x = torch.meshgrid(
        torch.linspace(0, 3, height, dtype=torch.float64),
        torch.linspace(0, 3, width, dtype=torch.float64),
        indexing="ij",
    )
    return (torch.sin(y + 0.3) * torch.cos(1.3 * x))[None, None]


# Affine


def test_a_shift_is_as_many_pixels_as_the_map_is_smaller():
    shift = translations(offsets=[(4, -2)])[0]
    for size, expected in (((14, 14), (2, -1)), ((7, 28), (1, -2)), ((56, 14), (8, -1))):
        action = shift.acting_on((8, *size), MAPS, (3, 28, 28))
        np.testing.assert_array_equal(action.matrix[:2, 2], expected)
        np.testing.assert_array_equal(action.matrix[:2, :2], np.eye(2))


@pytest.mark.parametrize("s", [rotations(16), scalings(), combined()[1000:1040], flips()])
def test_equal_sizes_leave_the_matrix_bit_for_bit(s):
    for t in s:
        action = t.acting_on((5, 9, 12), MAPS, (3, 9, 12))
        np.testing.assert_array_equal(action.matrix, t.matrix)
        np.testing.assert_array_equal(action.inverse().matrix, t.inverse().matrix)
        assert (action.name, action.parameters) == (t.name, t.parameters)
        assert action.is_identity == t.is_identity


def test_turns_are_the_same_on_maps_that_shrink_alike():
    for size in ((7, 10), (9, 30), (3, 10)):
        for t in rotations(16):
            action = t.acting_on((1, size[0], size[1]), MAPS, (1, 3 * size[0], 3 * size[1]))
            np.testing.assert_array_equal(action.matrix, t.matrix)


@settings(deadline=None, max_examples=30)
@given(
    entries=st.lists(st.floats(-1, 1), min_size=6, max_size=6),
    sizes=st.lists(st.integers(1, 40), min_size=4, max_size=4),
)
def test_the_action_is_the_matrix_in_steps_of_the_map(entries, sizes):
    matrix = np.eye(3)
    matrix[:2] += np.reshape(entries, (2, 3)) / 2
    if np.linalg.cond(matrix[:2, :2]) > 50:
        return
    height, width, h, w = sizes
    steps = [round(max(a / b, b / a)) ** (1 if a > b else -1) for a, b in ((height, h), (width, w))]
    scale = np.diag([1 / steps[0], 1 / steps[1], 1])
    action = AffineTransformation(matrix).acting_on((2, h, w), MAPS, (1, height, width))
    expected = scale @ matrix @ np.linalg.inv(scale)
    np.testing.assert_allclose(action.matrix, expected, rtol=1e-12, atol=1e-12)
    there = action.matrix @ action.inverse().matrix
    np.testing.assert_allclose(there, np.eye(3), rtol=0, atol=1e-10)


def test_maps_of_a_network_move_as_the_action_says():
    x = smooth(64, 48)
    for s in (rotations([20, 70]), scalings([0.8, 1.2]), translations([5.0]), combined()[700:705]):
        for t in s:
            moved = F.avg_pool2d(t(x), (4, 2))
            pooled = F.avg_pool2d(x, (4, 2))
            action = t.acting_on((1, 16, 24), MAPS, (1, 64, 48))
            inner = F.avg_pool2d(t.valid((64, 48))[None].double(), (4, 2))[0] == 1
            inner &= action.valid((16, 24))
            assert inner.sum() > 100
            assert (moved - action(pooled))[0, 0][inner].abs().max() < 0.01


def test_a_constant_fill_becomes_zero():
    for fill, expected in ((0, 0.0), (2.5, 0.0), ((1, 2, 3), 0.0), ("edge",) * 2, ("wrap",) * 2):
        action = rotations(4, fill=fill)[1].acting_on((8, 7, 7), MAPS, (3, 28, 28))
        assert action.fill == expected
        action(torch.rand(2, 8, 7, 7))
        assert action.inverse().fill == expected


@pytest.mark.parametrize(
    ("shape", "dims", "item"),
    [
        ((10,), ("unit",), (3, 28, 28)),
        ((28, 28), ("token", "unit"), (28, 28)),
        ((7, 7, 8), ("y", "x", "channel"), (3, 28, 28)),
        ((8, 3, 7, 7), ("channel", "z", "y", "x"), (3, 28, 28)),
        ((8, 7, 7), ("d0", "d1", "d2"), (3, 28, 28)),
        ((8, 7, 7), MAPS, (28,)),
    ],
)
def test_affine_ones_act_on_maps_only(shape, dims, item):
    assert rotations(4)[1].acting_on(shape, dims, item) is None


def test_grey_images_and_stacks_of_images_have_maps_too():
    shift = translations(offsets=[(4, 0)])[0]
    for item in ((28, 28), (5, 3, 28, 28)):
        assert shift.acting_on((8, 14, 14), MAPS, item).matrix[0, 2] == 2


# The others


class Own(Transformation):
    """One that says nothing about layers."""

    def _apply(self, batch, ids, seed):
        return batch


def test_one_that_says_nothing_has_no_action():
    assert Own("own").acting_on((3, 4, 4), MAPS, (3, 4, 4)) is None


@pytest.mark.parametrize("dims", [MAPS, ("unit",), ("token", "unit"), ()])
def test_the_identity_acts_on_everything(dims):
    shape = (2, 3, 4)[: len(dims)]
    for t in (identity()[0], gaussian_noise([0.1])[0]):
        action = t.acting_on(shape, dims, (3, 8, 8))
        x = torch.rand(2, *shape)
        assert action.is_identity
        assert torch.equal(action.inverse()(x), x)


def test_callables_act_on_maps_and_on_what_is_shaped_like_inputs():
    t = transformations([torch.neg])[0]
    assert t.acting_on((8, 4, 4), MAPS, (3, 9, 9)) is t
    assert t.acting_on((3, 9, 9), ("a", "b", "c"), (3, 9, 9)) is t
    assert t.acting_on((3, 9), ("token", "unit"), (3, 9, 9)) is None
    drawn = transformations([torch.neg], random=True)[0]
    assert drawn.acting_on((8, 4, 4), MAPS, (3, 9, 9)) is None


def test_products_act_as_both():
    where = ((8, 14, 14), MAPS, (3, 28, 28))
    turn, shift = rotations(4)[1], translations(offsets=[(4, 0)], fill="wrap")[0]
    noise, negative = gaussian_noise([0.1])[0], transformations([torch.neg])[0]
    x = torch.rand(2, 8, 14, 14, dtype=torch.float64)

    both = ProductTransformation(turn, shift).acting_on(*where)
    rolled = torch.roll(torch.rot90(x, 1, (-2, -1)), 2, -2)
    assert torch.equal(both(x), rolled)
    assert torch.equal(both.inverse()(both(x)), x)
    other = ProductTransformation(shift, turn).acting_on(*where)
    assert torch.equal(other(x), torch.rot90(torch.roll(x, 2, -2), 1, (-2, -1)))

    for product in (ProductTransformation(turn, noise), ProductTransformation(noise, turn)):
        assert isinstance(product.acting_on(*where), AffineTransformation)
        assert torch.equal(product.acting_on(*where)(x), torch.rot90(x, 1, (-2, -1)))
    both = ProductTransformation(negative, turn).acting_on(*where)
    assert torch.equal(both(x), -torch.rot90(x, 1, (-2, -1)))
    assert ProductTransformation(noise, noise).acting_on((10,), ("unit",), (3, 8, 8)).is_identity

    swap = permutations([[1, 0]])[0]
    for product in (ProductTransformation(turn, swap), ProductTransformation(swap, turn)):
        assert product.acting_on(*where) is None


def test_products_of_one_matrix_act_as_one():
    s = rotations(5) * scalings([0.7, 1.1])
    for t in s:
        action = t.acting_on((8, 14, 7), MAPS, (3, 28, 28))
        assert isinstance(action, AffineTransformation)
        scale = np.diag([0.5, 0.25, 1])
        np.testing.assert_allclose(
            action.matrix, scale @ t.matrix @ np.linalg.inv(scale), rtol=0, atol=1e-15
        )


# Inverses


def test_inverses_have_the_parameters_of_what_they_do():
    assert rotations(4)[1].inverse().parameters == {"angle": -90}
    assert scalings([0.5])[0].inverse().parameters == {"scale": 2}
    assert translations(offsets=[(4, -1)])[0].inverse().parameters == {"dy": -4, "dx": 1}
    assert flips()[1].inverse().parameters == {"flip_y": 0, "flip_x": 1}
    for t in (*rotations(5), *combined()[500:503], *(rotations(3) * rotations(5))):
        back = t.inverse()
        assert back.inverse().parameters == t.parameters
        np.testing.assert_array_equal(back.inverse().matrix, t.matrix)
        assert back.name == f"inverse of {t.name}"
    assert AffineTransformation(np.eye(3), parameters={"a": 1}).inverse().parameters == {}


def test_inverse_parameters_of_products_tell_how_to_do_them():
    twice = (rotations([30.0]) * translations(offsets=[(1, 2)]) * rotations([50.0]))[0]
    back = twice.inverse().parameters
    assert back == {"angle": -50, "dy": -1, "dx": -2, "angle_2": -30}
    again = (
        rotations([back["angle"]])
        * translations(offsets=[(back["dy"], back["dx"])])
        * rotations([back["angle_2"]])
    )[0]
    np.testing.assert_allclose(again.matrix, twice.inverse().matrix, rtol=0, atol=1e-14)


def test_changing_a_copy_leaves_the_original():
    turn = rotations(8, fill=1)[1]
    before = turn.matrix.copy()
    action = turn.acting_on((8, 7, 5), MAPS, (3, 28, 28))
    action.inverse()
    assert turn.fill == 1
    np.testing.assert_array_equal(turn.matrix, before)
    np.testing.assert_array_equal(turn.inverse().inverse().matrix, before)
    for matrix in (turn.matrix, action.matrix, turn.inverse().matrix):
        with pytest.raises(ValueError, match="read-only"):
            matrix[0, 0] = 3
