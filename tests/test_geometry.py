"""Zooms, horizontal and vertical scalings, shears: directions, inverses, by hand and by scipy."""

import numpy as np
import pytest
import torch

import tmeasures as tm
from tmeasures.errors import TransformationError
from tmeasures.transformations import (
    AffineSet,
    horizontal_scalings,
    rotations,
    scalings,
    shears,
    translations,
    vertical_scalings,
    zooms,
)

SETS = {
    "zooms": lambda **k: zooms([0.5, 1, 1.7], **k),
    "horizontal_scalings": lambda **k: horizontal_scalings([0.5, 1, 1.7], **k),
    "vertical_scalings": lambda **k: vertical_scalings([0.5, 1, 1.7], **k),
    "shears x": lambda **k: shears([-0.4, 0, 0.3], **k),
    "shears y": lambda **k: shears([-0.4, 0, 0.3], axis="y", **k),
}
every = pytest.mark.parametrize("make", SETS.values(), ids=SETS)


def images(*shape):
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def read(image, at):
    """An image ``(y, x)`` read by scipy at pixels ``(2, y, x)``, 0 outside."""
    from scipy.ndimage import map_coordinates

    return map_coordinates(image, at, order=1, mode="grid-constant")


def pixels(height, width):
    """Pixels about the centre of the frame, and the centre."""
    centre = np.array([(height - 1) / 2, (width - 1) / 2])[:, None, None]
    return np.indices((height, width)) - centre, centre


@pytest.mark.parametrize(("height", "width"), [(9, 9), (8, 11)])
def test_they_sample_at_multiples_of_the_coordinates(height, width):
    x = images(1, height, width)
    (y, x_), centre = pixels(height, width)
    for v in (0.4, 1, 1.3, 2):
        for make, at in (
            (zooms, (v * y, v * x_)),
            (horizontal_scalings, (y, v * x_)),
            (vertical_scalings, (v * y, x_)),
        ):
            expected = read(x[0].numpy(), np.stack(at) + centre)
            np.testing.assert_allclose(make([v]).apply(x)[0, 0], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("height", "width"), [(9, 9), (8, 11)])
def test_shears_move_in_pixels_a_pixel(height, width):
    x = images(1, height, width)
    (y, x_), centre = pixels(height, width)
    for k in (-1.5, -0.3, 0, 0.5, 2):
        for axis, at in (("x", (y, x_ - k * y)), ("y", (y - k * x_, x_))):
            expected = read(x[0].numpy(), np.stack(at) + centre)
            out = shears([k], axis=axis).apply(x)[0, 0]
            np.testing.assert_allclose(out, expected, rtol=0, atol=1e-12)


def test_directions_by_hand():
    x = torch.zeros(1, 5, 5)
    x[0, 2, 1:4] = 1
    wide, narrow = horizontal_scalings([0.5, 2]).apply(x)[0].round(decimals=4)
    assert wide[2].tolist() == [1, 1, 1, 1, 1]
    assert narrow[2].tolist() == [0, 0, 1, 0, 0]
    assert (wide[[0, 1, 3, 4]] == 0).all()
    high, low = vertical_scalings([0.5, 2]).apply(x.mT)[0].round(decimals=4)
    assert torch.equal(high, wide.mT)
    assert torch.equal(low, narrow.mT)
    bar = torch.zeros(1, 5, 5)
    bar[0, :, 2] = 1
    right = shears([1]).apply(bar)[0, 0].round(decimals=4)
    assert torch.equal(right, torch.eye(5))
    down = shears([1], axis="y").apply(bar.mT)[0, 0].round(decimals=4)
    assert torch.equal(down, torch.eye(5))
    assert torch.equal(shears([-1]).apply(bar)[0, 0].round(decimals=4), torch.eye(5).flip(1))


def test_zooms_are_scalings_by_the_inverse():
    np.testing.assert_allclose(
        zooms([0.25, 0.7, 3]).matrices, scalings([4, 1 / 0.7, 1 / 3]).matrices, rtol=1e-15
    )
    both = horizontal_scalings([0.7]) * vertical_scalings([0.7])
    np.testing.assert_allclose(both.matrices, zooms([0.7]).matrices, rtol=1e-15)


@every
def test_inverses_identities_and_fills(make):
    s = make()
    assert isinstance(s, AffineSet)
    assert s.identities == (1,)
    (key,) = s.parameters
    for t in s:
        back = t.inverse()
        np.testing.assert_allclose(back.matrix @ t.matrix, np.eye(3), rtol=0, atol=1e-14)
        undo = -t.parameters[key] if "shear" in key else 1 / t.parameters[key]
        assert back.parameters == {key: undo}
    x = images(2, 3, 6, 8)
    assert torch.equal(s.apply(x)[:, 1], x)
    ones = torch.ones(1, 6, 8)
    for fill in (1, "edge", "wrap"):
        torch.testing.assert_close(make(fill=fill).apply(ones), ones.expand(1, 3, -1, -1))
    assert make().apply(ones).min() == 0
    assert isinstance(make(fill="edge") * rotations(4, fill="edge"), AffineSet)


def test_inverses_have_parameters_of_their_own():
    assert rotations(4)[1].inverse().parameters == {"angle": -90}
    assert scalings([4])[0].inverse().parameters == {"scale": 0.25}
    assert translations(offsets=[(1, -2)])[0].inverse().parameters == {"dy": -1, "dx": 2}


def test_names():
    assert zooms([0.5]).names == ["zoom 0.5"]
    assert horizontal_scalings([2]).names == ["horizontal scale 2"]
    assert vertical_scalings([2]).names == ["vertical scale 2"]
    assert shears([0.5]).names == ["shear x 0.5"]
    assert shears([-1], axis="y").names == ["shear y -1"]
    assert [make().name for make in SETS.values()] == [
        "zooms(3)",
        "horizontal_scalings(3)",
        "vertical_scalings(3)",
        "shears(3)",
        "shears(3)",
    ]


MISTAKES = {
    "a zoom of 0": (lambda: zooms([1, 0]), "found the factor 0"),
    "a negative scale": (lambda: horizontal_scalings([-1]), "found the factor -1"),
    "no factors": (lambda: vertical_scalings([]), "factors="),
    "a factor alone": (lambda: zooms(2), "factors=2"),
    "no shears": (lambda: shears([]), "amounts="),
    "an endless shear": (lambda: shears([float("inf")]), "amounts="),
    "an unknown axis": (lambda: shears([1], axis="z"), "axis='z'"),
    "an unknown fill": (lambda: zooms([1], fill="black"), "fill='black'"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_answered_by_one_sentence(mistake):
    make, part = MISTAKES[mistake]
    with pytest.raises(TransformationError, match=part) as caught:
        make()
    text = str(caught.value)
    assert text[0].islower()
    assert len(text) < 300
    assert ". " not in text + " "


def test_quarter_turns_of_other_frames_than_squares_are_told_once():
    network, images = torch.nn.Flatten(), torch.rand(3, 1, 4, 6)
    with pytest.warns(tm.TMeasuresWarning, match="frames of 4 x 6") as told:
        tm.measure(network, images, tm.rotations(4), measures="TV")
    assert len(told) == 1
    tm.measure(network, images, tm.rotations([0, 180]), measures="TV")
    tm.measure(network, images[..., :4], tm.rotations(4), measures="TV")
