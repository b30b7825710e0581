"""Inverses that were given for callables, tried on a small batch."""

import itertools
import math
import re

import pytest
import torch
import torch.nn.functional as F

from tmeasures.errors import TransformationError
from tmeasures.transformations import (
    combined,
    flips,
    identity,
    rotations,
    scalings,
    shears,
    transformations,
    translations,
    zooms,
)
from tmeasures.transformations.inverses import check_inverses
from tmeasures.transformations.photometric import gaussian_noise
from tmeasures.transformations.vectors import permutations

MODES = ("bilinear", "nearest")


def turned(angle, mode="bilinear", padding="zeros"):
    """A rotation as other libraries do it."""
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))

    def rotate(x):
        matrix = torch.tensor([[cos, -sin, 0], [sin, cos, 0]], dtype=x.dtype)
        grid = F.affine_grid(matrix.expand(len(x), 2, 3), list(x.shape), align_corners=False)
        return F.grid_sample(x, grid, mode=mode, padding_mode=padding, align_corners=False)

    return rotate


def batches(size):
    draw = torch.Generator().manual_seed(0)
    yield torch.rand(2, 3, size, size, generator=draw)
    yield torch.randn(2, 1, size, size, generator=draw, dtype=torch.float64)
    yield torch.randint(0, 256, (2, 3, size, size), generator=draw, dtype=torch.uint8)
    yield torch.zeros(2, 1, size, size)
    yield torch.full((2, 1, size, size), -3.0)


def tried(f, inverse, batch):
    check_inverses(transformations([f], inverses=[inverse], names=["f"]), batch)


# Accepted


@pytest.mark.parametrize("size", [8, 16, 28, 64])
@pytest.mark.parametrize("angle", [5, 22.5, 45, 90])
@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_rotations_of_others_are_taken(size, angle, mode):
    for batch in batches(size):
        for padding in ("zeros", "border", "reflection"):
            tried(turned(angle, mode, padding), turned(-angle, mode, padding), batch)


@pytest.mark.parametrize(
    ("fill", "scales", "shifts"),
    [
        (0, [0.5, 0.8, 1.25, 2], [0.5, 4, 8.5]),
        (0.5, [0.8, 1.25], [0.5, 4]),
        ("edge", [0.5, 0.8, 1.25], [0.5, 4]),
        ("wrap", [], [0.5, 4, 8.5]),
    ],
)
def test_warps_that_lose_what_leaves_the_frame_are_taken(fill, scales, shifts):
    warps = [*translations(shifts, fill=fill)]
    warps += [*scalings(scales, fill=fill)] if scales else []
    for t in warps:
        for batch in batches(28):
            tried(lambda x, t=t: t(x), lambda x, t=t: t.inverse()(x), batch)


SETS = {
    "rotations": rotations(16),
    "scalings": scalings(),
    "zooms": zooms([0.7, 0.9, 1.1, 1.4]),
    "shears": shears([-0.5, -0.2, 0.2, 0.5]),
    "shifts": translations([0.5, 1, 1.5]),
    "product": rotations(5) * scalings([0.8, 1.2]) * translations([1.5])[:3],
}


@pytest.mark.parametrize("size", [8, 12, 28, 64])
@pytest.mark.parametrize("name", SETS)
def test_right_inverses_are_taken_on_frames_of_any_size(name, size):
    # Half as large on so few pixels and back loses 25 to 32 % of the norm.
    for t in SETS[name][1:] if name == "scalings" and size < 16 else SETS[name]:
        for batch in batches(size):
            tried(lambda x, t=t: t(x), lambda x, t=t: t.inverse()(x), batch)


@pytest.mark.parametrize(
    ("f", "inverse"),
    [
        (torch.neg, torch.neg),
        (lambda x: 2 * x + 1, lambda x: (x - 1) / 2),
        (lambda x: x.flip(-1), lambda x: x.flip(-1)),
        (lambda x: torch.roll(x, 3, -1), lambda x: torch.roll(x, -3, -1)),
        (lambda x: x.sqrt(), lambda x: x**2),
        (lambda x: x[..., None], lambda x: x[..., 0]),
    ],
)
def test_exact_inverses_are_taken_on_any_content(f, inverse):
    for batch in (torch.rand(2, 1, 28, 28), torch.rand(2, 784)):
        tried(f, inverse, batch)


def test_vectors_and_numbers_are_tried_as_they_are():
    order = torch.tensor([2, 0, 1])
    back = order.argsort()
    for batch in (torch.randn(3, 3), torch.arange(6).reshape(2, 3)):
        tried(lambda x: x[:, order], lambda x: x[:, back], batch)
        with pytest.raises(TransformationError, match="'f' and the inverse given for it change"):
            tried(lambda x: x[:, order], lambda x: x[:, order], batch)
    for batch in (torch.arange(4.0), torch.randn(2, 5, dtype=torch.complex64)):
        tried(torch.neg, torch.neg, batch)


def test_sets_of_this_library_are_not_tried():
    batch = torch.rand(2, 3, 8, 8)
    for s in (
        combined(),
        flips(),
        identity(),
        gaussian_noise([0.1]),
        gaussian_noise([0.1]) * rotations(3, fill=1) * translations(),
    ):
        check_inverses(s, batch)
    check_inverses(rotations(4) * gaussian_noise([0.1]), torch.rand(2, 8, 8))
    check_inverses(permutations([[1, 0]], axis=-3), torch.rand(2, 2, 8, 8))


# Refused


def shifted(dy, dx):
    shift = translations(offsets=[(dy, dx)])[0]
    return lambda x: shift(x)


STEPS = [
    *((turned(angle, mode), turned(-2 * angle, mode)) for angle in (22.5, 45) for mode in MODES),
    *((turned(angle, mode), turned(angle, mode)) for angle in (22.5, -30) for mode in MODES),
    *((turned(angle), lambda x: x) for angle in (22.5, 30)),
    *((shifted(dy, 1), shifted(-dy - 1, -1)) for dy in (0, 2)),
    *((shifted(dy, 1), shifted(-dy, 0)) for dy in (0, 2)),
    (shifted(0, 0.5), shifted(0, 0.5)),
    (lambda x: scalings([1.5])[0](x), lambda x: scalings([1.5])[0](x)),
]


@pytest.mark.parametrize("size", [8, 12, 28])
@pytest.mark.parametrize(("f", "inverse"), STEPS)
def test_small_steps_are_refused_on_small_frames(f, inverse, size):
    light = transformations([lambda x: x + 0.25], inverses=[lambda x: x - 0.25])
    products = light * transformations([f], inverses=[inverse], names=["f"])
    refused = "'f' and the inverse given for it (change|displace) smooth content"
    for batch in itertools.islice(batches(size), 3):
        with pytest.raises(TransformationError, match=refused):
            tried(f, inverse, batch)
        with pytest.raises(TransformationError, match=refused):
            check_inverses(products, batch)


def test_a_displacement_is_told_in_pixels():
    with pytest.raises(TransformationError) as caught:
        tried(shifted(0, 2), shifted(0, -1), torch.rand(2, 3, 64, 64))
    text = str(caught.value)
    assert text.startswith("'f' and the inverse given for it displace smooth content by ")
    found, most = re.search(r"by (\S+) pixels, expected at most (\S+):", text).groups()
    assert abs(float(found) - 1) < 0.02
    assert float(most) == 0.8
    assert text.endswith(": give a function that undoes it in inverses=")


@pytest.mark.parametrize("size", [16, 28, 64])
@pytest.mark.parametrize("angle", [30, 45, 80, -30])
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_a_rotation_is_not_its_own_inverse(size, angle, mode):
    for batch in batches(size):
        with pytest.raises(TransformationError, match="change smooth content by"):
            tried(turned(angle, mode), turned(angle, mode), batch)


@pytest.mark.parametrize(
    ("f", "inverse"),
    [
        (lambda x: 2 * x, lambda x: x),
        (lambda x: 1.1 * x, lambda x: x),
        (lambda x: x + 0.25, lambda x: x),
        (lambda x: x + 0.25, lambda x: x + 0.25),
        (lambda x: x.flip(-1), lambda x: x),
        (lambda x: torch.roll(x, 3, -1), lambda x: torch.roll(x, 3, -1)),
        (lambda x: x * 0, lambda x: x),
        (lambda x: x, lambda x: x * math.nan),
    ],
)
def test_wrong_inverses_are_refused(f, inverse):
    for batch in (torch.rand(2, 3, 28, 28), torch.randn(2, 1, 16, 16), torch.rand(2, 12)):
        with pytest.raises(TransformationError) as caught:
            tried(f, inverse, batch)
        text = str(caught.value)
        assert text.startswith("'f' and the inverse given for it change ")
        assert text.endswith("give a function that undoes it in inverses=")
        assert "expected at most" in text
        assert "\n" not in text


def test_the_limit_can_be_moved():
    batch = torch.rand(2, 3, 28, 28)
    s = transformations([turned(20)], inverses=[turned(-20)])
    check_inverses(s, batch)
    with pytest.raises(TransformationError, match=r"by \d(\.\d+)?% of .* at most 1%"):
        check_inverses(s, batch, limit=0.01)


def test_what_has_no_inverse_is_named():
    batch = torch.rand(2, 3, 8, 8)
    none = transformations([torch.exp])
    for s in (none, rotations(2) * none, none * rotations(2), gaussian_noise([0.1]) * none):
        with pytest.raises(TransformationError, match="'exp' has no inverse: use"):
            check_inverses(s, batch)
    with pytest.raises(TransformationError, match="'exp' has no inverse"):
        check_inverses(none, torch.rand(2, 5))


def test_factors_of_products_are_tried_on_what_they_get():
    batch = torch.rand(2, 1, 8, 8)
    flat = transformations([lambda x: x.flatten(1)], inverses=[lambda x: x.unflatten(1, (1, 8, 8))])
    calls = []

    def swap(x):
        calls.append(tuple(x.shape))
        return x[:, [1, 0, *range(2, 64)]]

    swaps = transformations([swap], inverses=[swap], names=["swap"])
    check_inverses(flips() * flat * swaps, batch)
    assert set(calls) == {(2, 64)}
    assert len(calls) < 8
    wrong = transformations([swap], inverses=[lambda x: x], names=["swap"])
    for s in (flat * wrong, flips() * flat * wrong, (flat * wrong)[:]):
        with pytest.raises(TransformationError, match="'swap' and the inverse given for it change"):
            check_inverses(s, batch)


def test_inverses_that_fail_or_return_something_else():
    batch = torch.rand(2, 1, 6, 6)

    def fails(x):
        raise KeyError("mine")

    with pytest.raises(TransformationError, match=r"'inverse of f' fails on a batch.*KeyError"):
        tried(torch.neg, fails, batch)
    with pytest.raises(TransformationError, match=r"'f' returns items of shape \(1, 6, 5\), exp"):
        tried(torch.neg, lambda x: -x[..., 1:], batch)
    with pytest.raises(TransformationError, match="'inverse of f' changes its input in place"):
        tried(torch.neg, lambda x: x.neg_(), batch)


def test_nothing_outside_changes():
    batch = torch.rand(2, 1, 16, 16)
    kept, before = batch.clone(), torch.get_rng_state()
    tried(turned(30), turned(-30), batch)
    assert torch.equal(batch, kept)
    assert torch.equal(torch.get_rng_state(), before)
