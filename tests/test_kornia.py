"""Functions of kornia: photometric ones, and geometric ones with inverses beside our own sets."""

import numpy as np
import pytest
import torch
from torch import nn

import tmeasures as tm
from equivariance import DSE, SSE, VSE, images
from pictures import walked

kornia = pytest.importorskip("kornia.geometry.transform")

# What kornia reads inside the frame is not known, so that whole maps are compared.
WHOLE = [VSE(False), DSE(valid_only=False), DSE("layer", valid_only=False), SSE(False)]
ANGLES = [0.0, 30.0, 90.0, 200.0]


def turn(angle):
    return lambda x: kornia.rotate(x, torch.full((len(x),), angle, dtype=x.dtype, device=x.device))


def turns():
    return tm.transformations(
        {f"turn {angle:g}": turn(angle) for angle in ANGLES},
        inverses=[turn(-angle) for angle in ANGLES],
        parameters={"angle": ANGLES},
    )


def flips():
    both = [tm.identity()[0], kornia.hflip, kornia.vflip, kornia.rot180]
    return tm.transformations(both, inverses=[None, *both[1:]])


def network():
    """With maps of 16 x 16 and 8 x 8."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first, last = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 3, 3, padding=1)
    return nn.Sequential(first, nn.ReLU(), nn.MaxPool2d(2), last)


def results(theirs, ours, measures=WHOLE):
    """Of the convolutions, under both sets."""
    model, samples = network(), images(9, 16)
    trees = [tm.measure(model, samples, each, measures=measures) for each in (theirs, ours)]
    for name in ("0", "3"):
        yield tuple(tree[f"layers/{name}"].to_dataset().drop_vars("status") for tree in trees)


@pytest.mark.parametrize("size", [(16, 16), (12, 9)])
def test_positive_angles_turn_the_same_way(size):
    x = torch.rand(2, 3, *size)
    torch.testing.assert_close(turns().apply(x), tm.rotations(ANGLES).apply(x), rtol=0, atol=1e-5)
    assert torch.equal(flips().apply(x), tm.flips().apply(x))


def test_flips_give_the_same():
    for found, expected in results(flips(), tm.flips(), [VSE(), DSE(), SSE(), *WHOLE]):
        assert found.data_vars.keys() == expected.data_vars.keys()
        for name in expected.data_vars:
            np.testing.assert_allclose(found[name], expected[name], 1e-6, 1e-8, err_msg=name)
            # Of functions it is not known that nothing is lost: it is measured.
            assert "floor" not in name or (found[name] == 0).all()


@pytest.mark.parametrize("theirs_first", [True, False])
@pytest.mark.parametrize("other", [None, tm.flips()[1:], tm.scalings([0.8, 1.25])])
def test_turns_give_the_same_to_interpolation(other, theirs_first):
    theirs, ours = turns(), tm.rotations(ANGLES)
    if other is not None:
        # A plain set: one after the other, as theirs, not by one matrix.
        ours = tm.TransformationSet("ours", list(ours))
        theirs, ours = ((each * other if theirs_first else other * each) for each in (theirs, ours))
    for found, expected in results(theirs, ours):
        assert found.data_vars.keys() == expected.data_vars.keys()
        assert expected["DSE_whole"].min() > 0.1
        for name in expected.data_vars:
            np.testing.assert_allclose(found[name], expected[name], 1e-4, 1e-6, err_msg=name)


def test_masks_of_turns_are_not_known():
    (found, _), _ = results(turns(), tm.rotations(ANGLES), [DSE(), DSE(valid_only=False)])
    np.testing.assert_array_equal(found["DSE"], found["DSE_whole"])
    assert found["DSE"].attrs["pairs_left_out"] == 0


@pytest.mark.parametrize("wrong", [turn(30.0), turn(-60.0), kornia.hflip])
def test_wrong_inverses_are_refused(wrong):
    tilted = tm.transformations([turn(30.0)], inverses=[wrong], names=["tilted"])
    with pytest.raises(tm.TransformationError, match="'tilted' and the inverse given for it"):
        tm.explain(network(), images(9, 16), tilted * tm.flips(), measures="DSE")


def test_kornia():
    augmentation = pytest.importorskip("kornia.enhance")
    pictures = torch.rand(4, 3, 8, 8)
    both = tm.transformations(
        {
            "bright": lambda x: augmentation.adjust_brightness(x, 0.2),
            "gamma": lambda x: augmentation.adjust_gamma(x, 2.0),
        }
    )
    found, _ = walked(pictures, both)
    torch.testing.assert_close(found[:, 0], (pictures + 0.2).clamp(0, 1))
    torch.testing.assert_close(found[:, 1], pictures**2)
