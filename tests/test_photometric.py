"""Photometric sets: definitions, clipping, blur and its borders, noise that depends on no batch."""

import re

import numpy as np
import pytest
import torch

import tmeasures as tm
from reading import global_states
from tmeasures.errors import TransformationError
from tmeasures.transformations import (
    brightness,
    contrast,
    flips,
    gaussian_blur,
    gaussian_noise,
    grayscale,
    rotations,
    transformations,
)


def images(*shape, dtype=torch.float64, seed=0):
    return torch.rand(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


SETS = {
    "brightness": lambda **k: brightness([-0.3, 0, 0.2], **k),
    "contrast": lambda **k: contrast([0.5, 1, 3], **k),
    "grayscale": lambda **k: grayscale([0.3, 0, 1], **k),
    "gaussian_blur": lambda **k: gaussian_blur([0.7, 0, 1.5], **k),
    "gaussian_noise": lambda **k: gaussian_noise([0.1, 0, 0.1], **k),
}
every = pytest.mark.parametrize("make", SETS.values(), ids=SETS)


# Definitions


def test_brightness_adds_a_share_of_the_range():
    x = images(2, 3, 4, 4) * 4 - 1
    out = brightness([-0.25, 0.5], limits=(-1, 3), clip=False).apply(x)
    np.testing.assert_allclose(out[:, 0], x.numpy() - 1, rtol=0, atol=1e-15)
    np.testing.assert_allclose(out[:, 1], x.numpy() + 2, rtol=0, atol=1e-15)


def test_contrast_multiplies_whatever_the_limits():
    x = images(2, 3, 4, 4) * 2 - 1
    out = contrast([0, 0.5, 1.5], limits=(-1, 1), clip=False).apply(x)
    expected = np.stack([x.numpy() * v for v in (0, 0.5, 1.5)], 1)
    np.testing.assert_allclose(out, expected, rtol=1e-15)


def test_grayscale_mixes_with_the_luma_of_rec_601():
    colours = torch.eye(3, dtype=torch.float64)[..., None, None]
    grey = grayscale([1]).apply(colours)[:, 0, :, 0, 0]
    expected = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)
    torch.testing.assert_close(grey, expected[:, None].expand(3, 3))
    x = images(2, 5, 3, 4, 6)
    luma = np.einsum("ntcyx,c->ntyx", x.numpy(), [0.299, 0.587, 0.114])[:, :, None]
    out = grayscale([0.25, 0.8]).apply(x)
    for k, v in enumerate((0.25, 0.8)):
        np.testing.assert_allclose(out[:, k], (1 - v) * x.numpy() + v * luma, rtol=1e-14)


@pytest.mark.parametrize("sigma", [0.1, 0.5, 1, 1.3, 2.5])
def test_blur_agrees_with_scipy(sigma):
    from scipy.ndimage import gaussian_filter1d

    x = images(2, 2, 23, 17)
    # scipy's mirror is about the outermost pixels; its radius is given.
    radius = int(np.ceil(4 * sigma))
    expected = x.numpy()
    for axis in (-2, -1):
        expected = gaussian_filter1d(expected, sigma, axis=axis, mode="mirror", radius=radius)
    for batch, bound in ((x, 1e-15), (x.float(), 1e-6)):
        out = gaussian_blur([sigma]).apply(batch)[:, 0]
        assert out.dtype == batch.dtype
        np.testing.assert_allclose(out, expected, rtol=0, atol=bound)


def test_blur_by_hand():
    x = torch.zeros(1, 11, 9, dtype=torch.float64)
    x[0, 5, 2] = 1
    a = np.exp(-(np.arange(5.0) ** 2) / 2)
    a /= a[0] + 2 * a[1:].sum()
    column = [0, a[4], a[3], a[2], a[1], a[0], a[1], a[2], a[3], a[4], 0]
    row = [a[2] + a[2], a[1] + a[3], a[0] + a[4], a[1], a[2], a[3], a[4], 0, 0]
    out = gaussian_blur([1]).apply(x)[0, 0]
    np.testing.assert_allclose(out, np.outer(column, row), atol=1e-15)


def test_blur_keeps_the_mean_of_what_is_far_from_borders_and_constants():
    x = torch.full((1, 3, 20, 20), 0.3)
    torch.testing.assert_close(gaussian_blur([2]).apply(x)[:, 0], x)
    dot = torch.zeros(1, 41, 41, dtype=torch.float64)
    dot[0, 20, 20] = 1
    out = gaussian_blur([3.0]).apply(dot)[0, 0].numpy()
    y = np.arange(41) - 20
    assert out.sum() == pytest.approx(1, abs=1e-14)
    # The cut at 4 sigmas takes 0.1 % of the variance.
    assert (out.sum(1) * y**2).sum() == pytest.approx(9, rel=2e-3)


def test_a_blur_as_large_as_the_image_is_an_error():
    gaussian_blur([2]).check(images(2, 1, 9, 12))
    for shape in ((2, 1, 8, 12), (2, 12, 8)):
        with pytest.raises(TransformationError, match=r"8.*'blur 2 px'.*at most 1.75"):
            gaussian_blur([0, 2]).check(images(*shape))
    gaussian_blur([1.75]).check(images(2, 8, 8))
    gaussian_blur([0]).check(images(2, 1, 1))


def test_results_of_a_set_are_those_of_its_elements():
    x = images(3, 3, 9, 9, dtype=torch.float32)
    for make in SETS.values():
        s = make()
        whole = s.apply(x, ids=[4, 0, 9], seed=3)
        assert whole.is_contiguous()
        assert whole.dtype == x.dtype
        for k, t in enumerate(s):
            assert torch.equal(t(x, ids=[4, 0, 9], seed=3), whole[:, k])
        assert torch.equal(s[1:].apply(x, ids=[4, 0, 9], seed=3), whole[:, 1:])
        assert torch.equal(s.apply(x[2:], range(2, 3), ids=[9], seed=3), whole[2:, 2:])


def test_leading_axes():
    film = images(2, 4, 3, 9, 9)
    for s in (brightness([0.1]), contrast([0.3, 2]), grayscale([0.3]), gaussian_blur([1])):
        out = s.apply(film)
        for frame in range(4):
            assert torch.equal(out[:, :, frame], s.apply(film[:, frame]))
    for s in (brightness([0.1]), contrast([2]), gaussian_noise([1])):
        assert s.apply(images(3)).shape == (3, 1)


# Clipping, identities


@every
def test_results_are_clipped_unless_told_not_to(make):
    x = images(4, 3, 9, 9) * 6 - 3
    with pytest.raises(TransformationError, match=r"from -3 to 2.99, expected them within"):
        make().check(x)
    inside = images(4, 3, 9, 9).clamp(0.05, 1).round()
    raw, clipped = make(clip=False).apply(inside), make().apply(inside)
    assert torch.equal(clipped, raw.clamp(0, 1))
    wide = make(limits=(-3, 3)).apply(x)
    assert wide.min() >= -3
    assert wide.max() <= 3
    assert torch.equal(wide, make(limits=(-3, 3), clip=False).apply(x).clamp(-3, 3))


def test_clipping_does_something_by_hand():
    x = torch.tensor([[0.0, 0.25, 1.0]])
    assert brightness([0.5]).apply(x)[0, 0].tolist() == [0.5, 0.75, 1]
    assert brightness([-0.5]).apply(x)[0, 0].tolist() == [0, 0, 0.5]
    assert brightness([0.5], clip=False).apply(x)[0, 0].tolist() == [0.5, 0.75, 1.5]
    assert contrast([2]).apply(x)[0, 0].tolist() == [0, 0.5, 1]
    noisy = gaussian_noise([1]).apply(torch.full((1, 500), 0.5))
    assert (noisy.min(), noisy.max()) == (0, 1)
    assert gaussian_noise([1], clip=False).apply(torch.full((1, 500), 0.5)).max() > 2


@every
def test_the_neutral_amount_is_the_identity_bit_for_bit(make):
    x = images(2, 3, 9, 9, dtype=torch.float32) * 3 - 1
    x[0, 0, 0, :3] = torch.tensor([torch.nan, -0.0, torch.inf])
    s = make()
    assert s.identities == (1,)
    assert torch.equal(s[1:2].apply(x)[:, 0].view(torch.int32), x.view(torch.int32))
    tile = s[1:2].apply(x)
    tile.zero_()
    assert x.isnan().sum() == 1
    s[1:2].check(x.nan_to_num(0, 5, 5))


@every
def test_small_excesses_of_interpolation_pass_the_check(make):
    x = images(2, 3, 9, 9)
    x[0, 0, 0, 0] = 1 + 1e-5
    make().check(x)
    for outside in (1.01, -0.01):
        x[0, 0, 0, 0] = outside
        with pytest.raises(TransformationError, match=r"give the limits of .*or clip=False"):
            make().check(x)
    make(clip=False).check(x)


@every
def test_on_maps_they_act_as_the_identity(make):
    maps = images(2, 7, 4, 4)
    for t in make():
        for shape, dims in (((7, 4, 4), ("channel", "y", "x")), ((5,), ("unit",))):
            action = t.acting_on(shape, dims, (3, 9, 9))
            assert action.is_identity
        assert torch.equal(action.inverse()(maps), maps)
        assert t.valid((4, 5)).all()
    with pytest.raises(TransformationError, match="has no inverse"):
        make()[0].inverse()


def test_names_and_parameters():
    assert brightness([-0.2, -0.0, 0.2]).names == [
        "brightness -0.2",
        "brightness 0",
        "brightness +0.2",
    ]
    assert contrast([0.5]).names == ["contrast 0.5"]
    assert grayscale([1, -0.0]).names == ["grayscale 1", "grayscale 0"]
    assert gaussian_blur([2]).names == ["blur 2 px"]
    assert gaussian_noise([0.1]).names == ["noise 0.1"]
    keys = ["brightness", "contrast", "grayscale", "blur", "noise"]
    for make, key in zip(SETS.values(), keys, strict=True):
        assert list(make().parameters) == [key]
    assert gaussian_blur([0.7, 2]).parameters["blur"].tolist() == [0.7, 2]
    assert "brightness(3): 3 transformations" in repr(SETS["brightness"]())


# Noise


def test_noise_has_its_standard_deviation_and_is_independent():
    x = torch.full((6, 3, 32, 32), 0.5, dtype=torch.float64)
    out = gaussian_noise([0.1, 0.3, 0.3], limits=(0, 2), clip=False).apply(x) - 0.5
    for k, sd in enumerate((0.2, 0.6, 0.6)):
        assert out[:, k].std().item() == pytest.approx(sd, rel=0.02)
        assert out[:, k].mean().item() == pytest.approx(0, abs=0.02 * sd)
    correlations = np.corrcoef(out.reshape(18, -1).numpy()) - np.eye(18)
    assert np.abs(correlations).max() < 0.1
    channels = np.corrcoef(out.reshape(18 * 3, -1).numpy()) - np.eye(54)
    assert np.abs(channels).max() < 0.15


def test_noise_depends_on_seed_sample_and_transformation_only():
    x = images(5, 2, 3, 3, dtype=torch.float32)
    ids = np.array([7, 0, 3, 12, 5])
    s = gaussian_noise([0.5] * 6, clip=False)
    before = global_states()
    whole = s.apply(x, ids=ids, seed=1)
    assert global_states() == before
    for rows in ([0, 1, 2, 3, 4], [4, 2], [3]):
        for columns in (range(6), range(2, 5), range(5, 6)):
            part = s.apply(x[rows], columns, ids=ids[rows], seed=1)
            assert torch.equal(part, whole[rows][:, columns.start : columns.stop])
    assert torch.equal(s[2:5].apply(x, ids=ids, seed=1), whole[:, 2:5])
    assert torch.equal(s[3](x, ids=ids, seed=1), whole[:, 3])
    again = s.apply(x, ids=ids, seed=2)
    assert not torch.isclose(again, whole).any()
    same = s.apply(x[:1].expand(5, -1, -1, -1), ids=ids, seed=1).flatten(0, 1).flatten(1)
    assert len({tuple(row.tolist()) for row in same}) == 30


def test_noise_in_another_set_draws_by_its_new_place():
    x = images(2, 9, dtype=torch.float32)
    noise = gaussian_noise([0.3, 0.3, 0.3], clip=False)
    picked = transformations([noise[2], noise[0]])
    assert torch.equal(picked.apply(x), noise[:2].apply(x))


def test_noise_is_alike_in_all_dtypes():
    x = images(2, 40)
    single = gaussian_noise([0.3], clip=False).apply(x.float())
    torch.testing.assert_close(gaussian_noise([0.3], clip=False).apply(x).float(), single)


def test_products_of_noise_draw_independently():
    x = torch.zeros(2, 400)
    noise = gaussian_noise([0.5, 0.5], clip=False)
    tile = (noise * noise).apply(x)
    assert tile.std().item() == pytest.approx(0.5 * 2**0.5, rel=0.05)
    first = noise.apply(x)
    for i in range(2):
        for j in range(2):
            second = tile[:, 2 * i + j] - first[:, i]
            assert np.abs(np.corrcoef(second, first[:, i])[:2, 2:]).max() < 0.2
    assert torch.equal((noise * noise).apply(x, range(1, 3)), tile[:, 1:3])


# Products, input


def test_products_with_affine_ones():
    x = images(2, 3, 12, 12, dtype=torch.float32)
    turns, light = rotations(4), brightness([0, 0.2])
    tile = (turns * light).apply(x)
    for i in range(4):
        for j in range(2):
            assert torch.equal(tile[:, 2 * i + j], light[j](turns[i](x)))
    both = turns * light
    assert both.identity == 0
    assert both.names[3] == "rotation 90° · brightness +0.2"
    both.check(x)
    dims = ("channel", "y", "x")
    action = both[3].acting_on((8, 6, 6), dims, (3, 12, 12))
    maps = images(2, 8, 6, 6)
    assert torch.equal(action(maps), torch.rot90(maps, 1, (-2, -1)))
    assert (gaussian_blur([1]) * flips())[1].acting_on((8, 6, 6), dims, (3, 12, 12)) is not None
    with pytest.raises(TransformationError, match="no inverse"):
        both[3].inverse()


@every
def test_dtypes(make):
    x = (images(2, 3, 9, 9) * 255).to(torch.uint8)
    s = make()
    assert torch.equal(s.apply(x), s.apply(x.float() / 255))
    s.check(x)
    assert torch.equal(s[1](x), x.float() / 255)
    for half in (torch.float16, torch.bfloat16):
        y = (x / 255).to(half)
        assert torch.equal(s.apply(y), s.apply(y.float()))
    with pytest.raises(TransformationError, match=r"found dtype int64.*convert"):
        s.apply(x.long())


def test_a_run_measures_with_them():
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3), torch.nn.ReLU())
    s = gaussian_noise([0, 0.1]) * contrast([0.5, 1])
    runs = [
        tm.measure(model, images(6, 3, 8, 8, dtype=torch.float32), s, measures="TV", batch_size=b)
        for b in (2, 6)
    ]
    a, b = (run["layers/0"]["TV"].to_numpy() for run in runs)
    np.testing.assert_allclose(a, b, rtol=1e-5)
    assert (a > 0).all()


MISTAKES = {
    "no amounts": (lambda: brightness([]), "give a list"),
    "an amount alone": (lambda: brightness(0.2), "amounts=0.2"),
    "an amount that is not finite": (lambda: contrast([1, float("nan")]), "factors="),
    "a negative contrast": (lambda: contrast([-0.5, 1]), "found -0.5 among the factors"),
    "a negative sigma": (lambda: gaussian_blur([-1]), "found -1 among the sigmas"),
    "negative noise": (lambda: gaussian_noise([0.1, -0.1]), "found -0.1 among the amounts"),
    "grayscale above 1": (lambda: grayscale([0, 1.1]), "found 1.1.*from 0 to 1"),
    "grayscale below 0": (lambda: grayscale([-0.1]), "found -0.1.*from 0 to 1"),
    "limits the wrong way round": (lambda: brightness([0.1], limits=(1, 0)), r"limits=\(1, 0\)"),
    "equal limits": (lambda: brightness([0.1], limits=(1, 1)), r"limits=\(1, 1\)"),
    "three limits": (lambda: gaussian_noise([0.1], limits=(0, 1, 2)), r"limits=\(0, 1, 2\)"),
    "one limit": (lambda: grayscale([0.1], limits=255), "limits=255"),
    "an infinite limit": (lambda: gaussian_blur([1], limits=(0, float("inf"))), "limits="),
    "grey images in grayscale": (lambda: grayscale([0.5]).check(images(2, 1, 4, 4)), "3, y, x"),
    "grayscale of (y, x)": (lambda: grayscale([0, 1]).check(images(2, 3, 4)), r"\(3, 4\)"),
    "a blur of vectors": (lambda: gaussian_blur([1]).check(images(2, 9)), r"shape \(9,\)"),
    "a large blur": (lambda: gaussian_blur([5]).check(images(2, 1, 9, 9)), "expected larger"),
    "integers": (lambda: brightness([0]).apply(torch.zeros(2, 3).long()), "found dtype int64"),
    "images of 0 to 255": (lambda: contrast([2]).check(images(2, 4) * 255), "expected them within"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_answered_by_one_sentence(mistake):
    make, part = MISTAKES[mistake]
    with pytest.raises(TransformationError, match=part) as caught:
        make()
    text = str(caught.value)
    assert re.match("[a-z]", text)
    assert len(text) < 300
    assert not re.search(r"\n|\. |\.$", text)
    assert re.search(r"\b(give|convert|leave|use)\b", text)
