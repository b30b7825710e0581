"""Series: shifts and stretches in time, their inverses, masks and actions; gains and noise."""

import numpy as np
import pytest
import torch

from tmeasures.errors import TransformationError
from tmeasures.transformations import (
    AffineSet,
    gains,
    gaussian_noise,
    rotations,
    signal_noise,
    time_shifts,
    time_stretches,
    transformations,
)
from tmeasures.transformations.actions import Actions
from tmeasures.transformations.products import ProductTransformation
from tmeasures.transformations.series import SeriesSet, SeriesTransformation

DIMS = ("channel", "time")
FILLS = [0, 1.5, "edge", "wrap"]


def series(*shape, dtype=torch.float64):
    return torch.rand(*shape, dtype=dtype, generator=torch.Generator().manual_seed(0))


def read(x, at, fill):
    """The last axis of an array at real positions, linear between steps."""
    length = x.shape[-1]

    def value(i):
        if fill == "wrap":
            return x[..., i % length]
        if fill == "edge":
            return x[..., np.clip(i, 0, length - 1)]
        inside = (i >= 0) & (i < length)
        return np.where(inside, x[..., np.clip(i, 0, length - 1)], fill)

    low = np.floor(at).astype(int)
    share = at - low
    return (1 - share) * value(low) + share * value(low + 1)


# Definitions


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("length", [12, 7, 1])
def test_shifts_are_read_so_many_steps_earlier(fill, length):
    x = series(3, 2, length)
    offsets = [-20, -3, -0.25, 0, 1, 2.5, 9.75]
    out = time_shifts(offsets, fill=fill).apply(x)
    assert out.shape == (3, 7, 2, length)
    assert out.is_contiguous()
    for k, d in enumerate(offsets):
        expected = read(x.numpy(), np.arange(length) - d, fill)
        np.testing.assert_allclose(out[:, k], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("length", [12, 7])
def test_stretches_multiply_the_duration_about_the_middle(fill, length):
    x = series(3, 2, length)
    factors = [0.3, 0.5, 1, 1.7, 3]
    out = time_stretches(factors, fill=fill).apply(x)
    centre = (length - 1) / 2
    for k, s in enumerate(factors):
        at = centre + (np.arange(length) - centre) / s
        np.testing.assert_allclose(out[:, k], read(x.numpy(), at, fill), rtol=0, atol=1e-12)


def test_whole_shifts_copy_bits():
    x = series(2, 2, 6, dtype=torch.float32)
    x[0, 0, 0], x[0, 1, 3], x[1, 0, 1] = torch.inf, torch.nan, -0.0
    out = time_shifts([0, 2, 1.5, -1], fill="wrap").apply(x)
    for k, d in ((0, 0), (1, 2), (3, -1)):
        assert torch.equal(out[:, k].view(torch.int32), x.roll(d, -1).view(torch.int32))
    shifted = time_shifts([2]).apply(x)[:, 0]
    assert torch.equal(shifted[..., 2:].view(torch.int32), x[..., :-2].view(torch.int32))
    assert (shifted[..., :2] == 0).all()


def test_channels_never_mix():
    x = series(1, 3, 9, dtype=torch.float32)
    x[0, 1] = torch.inf
    for s in (time_shifts([0.5, 1]), time_stretches([0.7, 1.3], fill="edge")):
        assert s.apply(x)[:, :, [0, 2]].isfinite().all()


def test_a_fill_for_each_channel_and_other_axes():
    x = series(2, 4, 3, 8)
    out = time_shifts([2, -1.5], fill=(0.5, -1, 2)).apply(x)
    assert out[:, 0, ..., :2].unique().tolist() == [-1, 0.5, 2]
    for c, fill in enumerate((0.5, -1, 2)):
        alone = time_shifts([2, -1.5], fill=fill).apply(x[:, :, c])
        torch.testing.assert_close(out[:, :, :, c], alone)
    flat = time_stretches([2]).apply(x[:, 0, 0])
    assert torch.equal(flat, time_stretches([2]).apply(x)[:, :, 0, 0])


def test_results_of_a_set_are_those_of_its_elements():
    x = series(3, 2, 9, dtype=torch.float32)
    for s in (time_shifts([-1, 0.5, 3]), time_stretches([0.5, 1, 2]), signal_noise([1, 0, 2])):
        whole = s.apply(x)
        assert torch.equal(s[1:].apply(x), whole[:, 1:])
        assert torch.equal(s.apply(x, range(1, 2)), whole[:, 1:2])
        for k, t in enumerate(s):
            assert torch.equal(t(x), whole[:, k])


# Inverses, masks, actions, products


def test_inverses_and_masks():
    x = torch.sin(torch.linspace(0, 6, 80, dtype=torch.float64))[None, None]
    for s in (time_shifts([-3, 0.5, 7]), time_stretches([0.6, 1, 1.5]), time_shifts([2], fill=1)):
        for t in s:
            back = t.inverse()
            assert isinstance(back, SeriesTransformation)
            np.testing.assert_allclose(back.matrix @ t.matrix, np.eye(3), atol=1e-15)
            kept = ProductTransformation(t, back).valid((1, 80))[0]
            assert kept.sum() > 40
            assert (back(t(x)) - x)[0, 0][kept].abs().max() < 0.01
    later = time_shifts([2])[0]
    assert later.valid((1, 5)).tolist() == [[False, False, True, True, True]]
    assert later.inverse().valid((1, 5)).tolist() == [[True, True, True, False, False]]
    assert later.inverse().parameters == {"shift": -2}
    assert time_stretches([4])[0].inverse().parameters == {"stretch": 0.25}
    assert torch.equal(later.valid((3, 5)), later.valid((1, 5)).expand(3, -1))
    assert time_shifts([2], fill="wrap")[0].valid((1, 5)).all()
    zeros = torch.zeros(1, 1, 11, dtype=torch.float64)
    for t in (*time_shifts([1.5, -3], fill=1), *time_stretches([0.5, 0.7, 2], fill=1)):
        assert torch.equal(t.valid((1, 11)), t(zeros)[0] < 1e-9)


def test_on_layers_they_act_in_the_layers_own_steps():
    half = time_shifts([4.0], fill=7)[0].acting_on((16, 10), DIMS, (2, 20))
    maps = series(2, 16, 10)
    assert half.fill == 0
    expected = torch.cat([torch.zeros(2, 16, 2, dtype=maps.dtype), maps[..., :-2]], -1)
    assert torch.equal(half(maps), expected)
    assert torch.equal(half.inverse()(maps)[..., :-2], maps[..., 2:])
    assert half.matrix.tolist() == [[1, 0, 0], [0, 1, 2], [0, 0, 1]]
    stretch = time_stretches([1.5], fill="edge")[0].acting_on((16, 7), DIMS, (2, 20))
    assert torch.equal(stretch(maps), time_stretches([1.5], fill="edge")[0](maps))
    same = time_shifts([0.3], fill="wrap")[0].acting_on((16, 20), DIMS, (2, 20))
    assert same.matrix.tolist() == time_shifts([0.3])[0].matrix.tolist()
    for shape, dims in (((16, 10, 10), ("channel", "y", "x")), ((5,), ("unit",))):
        assert time_shifts([4])[0].acting_on(shape, dims, (2, 20)) is None
    assert rotations(4)[1].acting_on((16, 10), DIMS, (2, 20)) is None


@pytest.mark.parametrize("fill", [0, "edge", "wrap"])
def test_tables_of_layers_are_what_the_actions_do(fill):
    s = time_stretches([0.5, 1.3], fill=fill) * time_shifts([0, 4, 2.5], fill=fill)
    maps = series(2, 3, 10)
    actions = Actions(s, (3, 10), DIMS, (1, 20))
    for move, table in ((lambda t: t, actions.forth), (lambda t: t.inverse(), actions.back)):
        found = table(range(6))
        for j, t in enumerate(s):
            action = move(t.acting_on((3, 10), DIMS, (1, 20)))
            moved = (maps[..., found.index[j].long()] * found.weight[j]).sum(-2)
            torch.testing.assert_close(moved, action(maps), rtol=0, atol=1e-12)
            assert torch.equal(found.valid[j], action.valid((1, 10))[0])


def test_products_are_one_interpolation():
    x = series(2, 2, 12)
    both = time_stretches([0.5, 2]) * time_shifts([0, 1, 2.5])
    assert isinstance(both, SeriesSet)
    assert isinstance(both[2:4], SeriesSet)
    matrix = both[5].matrix
    np.testing.assert_allclose(matrix, [[1, 0, 0], [0, 2, 2.5], [0, 0, 1]])
    centre, t = 5.5, np.arange(12)
    expected = read(x.numpy(), centre + (t - 2.5 - centre) / 2, 0)
    np.testing.assert_allclose(both.apply(x)[:, 5], expected, atol=1e-12)
    assert both[5].name == "stretch 2 · shift 2.5"
    assert both[5].parameters == {"stretch": 2, "shift": 2.5}
    assert both[5].inverse().parameters == {"shift": -2.5, "stretch": 0.5}
    assert both[5].acting_on((8, 6), DIMS, (2, 12)).matrix[1, 2] == 1.25
    unlike = time_stretches([0.5, 2]) * time_shifts([1], fill="edge")
    assert not isinstance(unlike, AffineSet)
    expected = time_shifts([1], fill="edge")[0](time_stretches([2])[0](x))
    assert torch.equal(unlike.apply(x)[:, 1], expected)
    loud = time_shifts([1, 2]) * gains([0.5, 1])
    assert torch.equal(loud.apply(x)[:, 2], time_shifts([2])[0](x) / 2)
    action = loud[2].acting_on((8, 6), DIMS, (2, 12))
    assert action.matrix[1, 2] == 1


def test_sizes_names_and_identities():
    assert time_shifts([-1, 0, 0.5]).names == ["shift -1", "shift 0", "shift 0.5"]
    assert time_shifts([-1, 0, 0.5]).identity == 1
    assert time_stretches([0.5, 1]).identity == 1
    assert time_stretches([0.5, 1]).names == ["stretch 0.5", "stretch 1"]
    assert gains([0.5, 1]).names == ["gain 0.5", "gain 1"]
    assert gains([0.5, 1]).identity == 1
    assert signal_noise([3, 0]).names == ["noise 3", "noise 0"]
    assert signal_noise([3, 0]).identity == 1


# Intensities


def test_gains_and_noise_have_no_limits():
    x = series(2, 3, 50) * 200 - 100
    for s in (gains([0, 0.5, 3]), signal_noise([10, 300])):
        s.check(x)
        assert s[0].acting_on((4, 9), DIMS, (3, 50)).is_identity
        with pytest.raises(TransformationError, match="no inverse"):
            s[0].inverse()
    assert torch.equal(gains([0, 0.5, 3]).apply(x), torch.stack([0 * x, x / 2, 3 * x], 1))
    noise = signal_noise([20, 0, 20]).apply(x) - x[:, None]
    assert noise[:, [0, 2]].std().item() == pytest.approx(20, rel=0.1)
    assert (noise[:, 1] == 0).all()
    expected = gaussian_noise([20, 0, 20], clip=False).apply(x)
    assert torch.equal(noise, expected - x[:, None])
    picked = transformations([signal_noise([1, 1])[1]])
    assert torch.equal(picked.apply(x), signal_noise([1]).apply(x))


# Input


def test_dtypes():
    x = torch.arange(40, dtype=torch.uint8).reshape(2, 2, 10)
    for s in (time_shifts([1, 0.5]), time_stretches([0.5]), gains([2]), signal_noise([1])):
        assert torch.equal(s.apply(x), s.apply(x.float() / 255))
        assert torch.equal(s[0](x), s.apply(x)[:, 0])
        for half in (torch.float16, torch.bfloat16):
            assert s.apply(x.to(half)).dtype == torch.float32


MISTAKES = {
    "no offsets": (lambda: time_shifts([]), "offsets="),
    "an offset alone": (lambda: time_shifts(3), "offsets=3"),
    "an offset that is not finite": (lambda: time_shifts([float("inf")]), "offsets="),
    "a factor of 0": (lambda: time_stretches([1, 0]), "found the factor 0"),
    "a negative factor": (lambda: time_stretches([-2]), "found the factor -2"),
    "no factors": (lambda: time_stretches([]), "factors="),
    "an unknown fill": (lambda: time_shifts([1], fill="zero"), "fill='zero'"),
    "a negative gain": (lambda: gains([-1]), "found -1 among the factors of gains"),
    "no gains": (lambda: gains([]), "factors="),
    "a negative deviation": (lambda: signal_noise([-1]), "found -1 among the sds"),
    "integers": (lambda: time_shifts([1]).check(torch.zeros(2, 3, 4).long()), "dtype int64"),
    "single numbers": (lambda: time_shifts([1]).check(series(5)), "found single numbers"),
    "a fill of other channels": (
        lambda: time_stretches([2], fill=(1, 2)).check(series(2, 3, 8)),
        "fill for 2 channels",
    ),
    "channels of a flat series": (
        lambda: time_stretches([2], fill=(1, 2))[0](series(2, 8)),
        "fill for 2 channels",
    ),
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
