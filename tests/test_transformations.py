"""Affine sets: directions, fills, exact cases, products, inverses, masks, gradients, dtypes."""

import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tmeasures.errors import TransformationError
from tmeasures.transformations import (
    AffineSet,
    AffineTransformation,
    brightness,
    combined,
    flips,
    rotations,
    sampling,
    scalings,
    time_shifts,
    translations,
    warp,
)
from tmeasures.transformations.products import ProductTransformation

FRAMES = [(8, 8), (7, 7), (9, 6), (6, 11), (5, 8), (1, 4)]
FILLS = {0.0: "grid-constant", -1.5: "grid-constant", "edge": "nearest", "wrap": "grid-wrap"}


def images(*shape, dtype=torch.float64, seed=0):
    return torch.rand(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def by_scipy(image, matrix, fill):
    """One image ``(y, x)`` by scipy, which counts from the corner."""
    from scipy.ndimage import affine_transform

    centre = (np.array(image.shape) - 1) / 2
    to, offset = matrix[:2, :2], matrix[:2, 2]
    back = np.linalg.inv(to)
    cval = 0.0 if isinstance(fill, str) else fill
    shift = centre - back @ (centre + offset)
    return affine_transform(
        image.astype(np.float64), back, shift, order=1, mode=FILLS[fill], cval=cval
    )


def smooth(height, width):
    y, x = torch.meshgrid(
        torch.linspace(0, 3, height, dtype=torch.float64),
        torch.linspace(0, 3, width, dtype=torch.float64),
        indexing="ij",
    )
    return (torch.sin(y) * torch.cos(x))[None]


# Directions, by hand


def test_positive_angles_turn_as_rot90():
    x = images(3, 2, 6, 6, dtype=torch.float32)
    tile = rotations(4).apply(x)
    for k in range(4):
        assert torch.equal(tile[:, k], torch.rot90(x, k, (-2, -1)))
    assert torch.equal(rotations([-90.0, 450.0]).apply(x), tile[:, [3, 1]])


def test_quarter_turns_of_other_frames_are_cropped_about_the_centre():
    x = images(1, 4, 6)
    turned = rotations(4).apply(x)[0, 1]
    assert torch.equal(turned[:, 1:5], torch.rot90(x[0], 1)[1:5])
    assert torch.equal(turned[:, [0, 5]], torch.zeros(4, 2, dtype=x.dtype))


@pytest.mark.parametrize("offset", [(1, 0), (0, 2), (-1, 3), (-4, -1), (9, 0)])
def test_translation_moves_content_down_and_right(offset):
    x = images(2, 3, 5, 7, dtype=torch.float32)
    expected = torch.full_like(x, 2.5)
    for y in range(5):
        for c in range(7):
            if 0 <= y + offset[0] < 5 and 0 <= c + offset[1] < 7:
                expected[:, :, y + offset[0], c + offset[1]] = x[:, :, y, c]
    assert torch.equal(translations(offsets=[offset], fill=2.5).apply(x)[:, 0], expected)
    rolled = torch.roll(x, offset, (-2, -1))
    assert torch.equal(translations(offsets=[offset], fill="wrap").apply(x)[:, 0], rolled)


def test_edge_fill_repeats_the_nearest_pixel_exactly():
    x = images(1, 4, 4)
    out = translations(offsets=[(2, -1)], fill="edge").apply(x)[0, 0]
    rows, columns = torch.tensor([0, 0, 0, 1]), torch.tensor([1, 2, 3, 3])
    assert torch.equal(out, x[0][rows][:, columns])


def test_scale_multiplies_the_size_of_the_content():
    x = torch.zeros(1, 9, 9)
    x[0, 3:6, 3:6] = 1
    large, small = scalings([3.0, 1 / 3]).apply(x)[0]
    profile = torch.tensor([2 / 3, 1, 1, 1, 1, 1, 1, 1, 2 / 3])
    torch.testing.assert_close(large, profile[:, None] * profile)
    assert small[4, 4] == 1
    assert small.sum() == pytest.approx(1, abs=1e-6)


def test_half_a_pixel_is_the_mean_of_two():
    x = images(2, 1, 4, 4)
    out = translations(offsets=[(0.5, 0)]).apply(x)[:, 0]
    padded = torch.cat([torch.zeros_like(x[:, :, :1]), x], 2)
    torch.testing.assert_close(out, (padded[:, :, 1:] + padded[:, :, :-1]) / 2)


def test_flips():
    x = images(2, 3, 5, 4, dtype=torch.float32)
    expected = torch.stack([x, x.flip(-1), x.flip(-2), x.flip(-1, -2)], 1)
    assert torch.equal(flips().apply(x), expected)


# Against scipy


@settings(deadline=None, max_examples=60)
@given(
    frame=st.sampled_from(FRAMES),
    fill=st.sampled_from(list(FILLS)),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    entries=st.lists(st.floats(-1.5, 1.5), min_size=4, max_size=4),
    offset=st.tuples(st.floats(-12, 12), st.floats(-12, 12)),
)
def test_any_matrix_agrees_with_scipy(frame, fill, dtype, entries, offset):
    linear = np.reshape(entries, (2, 2)) + np.eye(2) * 1e-3
    if np.linalg.cond(linear) > 20 or abs(np.linalg.det(linear)) < 0.1:
        return
    matrix = np.eye(3)
    matrix[:2, :2], matrix[:2, 2] = linear, offset
    x = images(2, *frame, dtype=dtype)
    tile = AffineSet("any", [AffineTransformation(matrix, fill)]).apply(x)[:, 0]
    expected = np.stack([by_scipy(image, matrix, fill) for image in x.numpy()])
    bound = 1e-5 if dtype == torch.float32 else 1e-11
    # scipy rounds coordinates its own way: at a wrap or a kink of slope 1 that is all it does.
    np.testing.assert_allclose(tile.numpy(), expected, rtol=0, atol=bound)


@pytest.mark.parametrize("frame", [*FRAMES, (64, 64), (224, 200)])
@pytest.mark.parametrize("fill", list(FILLS))
def test_sets_agree_with_scipy(frame, fill):
    sets = [rotations(6, fill=fill), scalings([0.6, 1.1], fill=fill)]
    sets += [translations([1.25], fill=fill)[::3], sets[0][1:3] * sets[1]]
    x = images(2, *frame)
    for s in sets:
        for dtype, bound in ((torch.float32, 1e-5 * max(1, max(frame) / 32)), (x.dtype, 1e-11)):
            tile = s.apply(x.to(dtype))
            assert tile.dtype == dtype
            expected = [[by_scipy(i, a, fill) for a in s.matrices] for i in x.numpy()]
            np.testing.assert_allclose(tile.numpy(), expected, rtol=0, atol=bound)


def test_fill_for_each_channel_and_leading_dims():
    x = images(2, 4, 3, 6, 6)
    fill = (0.5, -1.0, 2.0)
    for s in (rotations(5, fill=fill), translations(fill=fill)):
        tile = s.apply(x)
        assert tile.shape == (2, len(s), 4, 3, 6, 6)
        for c in range(3):
            alone = AffineSet("c", [AffineTransformation(a, fill[c]) for a in s.matrices])
            torch.testing.assert_close(tile[..., c, :, :], alone.apply(x[:, :, c]))


def test_constant_images_under_their_own_fill_stay_constant():
    x = torch.full((1, 6, 6), 0.3)
    for s in (rotations(7, fill=0.3), rotations(7, fill="edge"), rotations(7, fill="wrap")):
        torch.testing.assert_close(s.apply(x), x[:, None].expand(-1, 7, -1, -1))


# Exact cases


def test_lattice_transformations_copy_bits_also_within_a_mixed_tile():
    x = images(2, 3, 8, 8, dtype=torch.float32)
    x[0, 0, 0, 0], x[0, 0, 3, 2], x[1, 0, 1, 1] = float("inf"), float("nan"), -0.0
    tile = rotations(16).apply(x)
    for k in range(4):
        expected = torch.rot90(x, k, (-2, -1))
        assert torch.equal(tile[:, 4 * k].view(torch.int32), expected.view(torch.int32))


def test_float_noise_does_not_make_a_copy_an_interpolation():
    matrix = np.eye(3)
    matrix[:2, 2] = 1 + 1e-12, -1 - 1e-12
    x = images(1, 5, 5)
    noisy = AffineTransformation(matrix, "wrap")(x)
    assert torch.equal(noisy, torch.roll(x, (1, -1), (-2, -1)))


def test_products_are_sequences_exactly_where_pixels_are_copied():
    x = images(2, 3, 6, 6, dtype=torch.float32)
    first, second = rotations(4, fill="wrap"), translations(fill="wrap")
    for a, b in ((first, second), (second, first), (flips(fill="wrap"), first)):
        tile = (a * b).apply(x)
        for i in range(len(a)):
            for j in range(len(b)):
                assert torch.equal(tile[:, i * len(b) + j], b[j](a[i](x)))


# Products and sets


def test_combined_is_the_papers_set():
    s = combined()
    assert len(s) == 4224
    assert s.identity is None
    assert set(s.parameters) == {"angle", "scale", "dy", "dx"}
    i, j, k = 3, 2, 20
    index = (i * 11 + j) * 24 + k
    a, b, c = rotations()[i], scalings()[j], translations()[k]
    assert (c.parameters["dy"], c.parameters["dx"]) == (4, 0)
    np.testing.assert_allclose(s.matrices[index], c.matrix @ b.matrix @ a.matrix, atol=1e-15)
    assert s.names[index] == "rotation 67.5° · scale 0.7 · translation (4, 0)"
    assert [s.parameters[key][index] for key in ("angle", "scale", "dy", "dx")] == [67.5, 0.7, 4, 0]


def test_sizes_and_identities():
    assert [len(s) for s in (rotations(), scalings(), translations(), flips())] == [16, 11, 24, 4]
    assert [s.identity for s in (rotations(), scalings(), flips())] == [0, 5, 0]
    assert translations().identity is None
    assert rotations(16)[3:].identity is None
    assert (scalings() * rotations()).identity == 5 * 16
    assert rotations([45.0, 360.0]).identity == 1
    assert sorted({*zip(*translations([2]).parameters.values(), strict=True)}) == [
        (y, x) for y in (-2, 0, 2) for x in (-2, 0, 2) if (y, x) != (0, 0)
    ]


def test_unlike_fills_are_applied_one_after_the_other():
    x = images(2, 1, 6, 6)
    a, b = rotations(3), translations([1.0], fill="edge")
    product = a * b
    assert not isinstance(product, AffineSet)
    assert isinstance(a * scalings(), AffineSet)
    tile = product.apply(x, range(5, 19))
    for k, index in enumerate(range(5, 19)):
        i, j = divmod(index, 8)
        assert torch.equal(tile[:, k], b[j](a[i](x)))
        assert torch.equal(tile[:, k], product[index](x))


SETS = [rotations(5), rotations([10, 20, 30, 40]), translations(), rotations(3) * scalings(fill=1)]


@pytest.mark.parametrize("s", SETS)
def test_runs_and_slices_give_parts_of_the_whole(s):
    x = images(2, 2, 6, 6)
    whole = s.apply(x)
    assert whole.is_contiguous()
    assert torch.equal(s.apply(x, range(1, 4)), whole[:, 1:4])
    assert torch.equal(s[1:4].apply(x), whole[:, 1:4])
    assert torch.equal(s[-1](x), whole[:, -1])
    assert s[1:4].names == s.names[1:4]


# Inverses and masks


@pytest.mark.parametrize("s", [rotations(), scalings(), translations(), combined()[::97]])
def test_inverse_matrices(s):
    for t in s:
        back = t.inverse()
        np.testing.assert_allclose(back.matrix @ t.matrix, np.eye(3), rtol=0, atol=1e-12)
        np.testing.assert_allclose(back.inverse().matrix, t.matrix, rtol=0, atol=1e-12)


@pytest.mark.parametrize("frame", [(40, 40), (31, 44)])
@pytest.mark.parametrize(
    "s",
    [
        rotations(16),
        scalings(),
        translations([2.5, 4]),
        combined()[5::401],
        rotations(5) * translations([1.5], fill=1),
    ],
)
def test_there_and_back_is_the_identity_where_valid(s, frame):
    x = smooth(*frame)
    error = []
    for t in s:
        back = t.inverse()
        kept = ProductTransformation(t, back).valid(frame)
        assert kept.dtype == torch.bool
        assert kept.sum() > 100
        error.append((back(t(x)) - x)[0][kept].abs().max())
    assert max(error) < 0.01


def test_mask_of_a_shift_is_the_rows_it_leaves():
    down = translations(offsets=[(2, 0)])[0]
    expected = torch.ones(5, 4, dtype=torch.bool)
    expected[:2] = False
    assert torch.equal(down.valid((5, 4)), expected)
    assert torch.equal(down.inverse().valid((5, 4)), expected.flip(0))
    assert translations(offsets=[(2, 0)], fill="wrap")[0].valid((5, 4)).all()
    assert torch.equal(translations(offsets=[(2, 0)], fill="edge")[0].valid((5, 4)), expected)


def test_mask_is_where_no_fill_is_read():
    x = torch.zeros(1, 9, 8, dtype=torch.float64)
    for s in (rotations(16, fill=1), scalings(fill=1), combined(fill=1)[::211]):
        for t in s:
            assert torch.equal(t.valid((9, 8)), t(x)[0] < 1e-9)


def test_mask_of_turns_and_flips_is_full():
    for t in [*rotations(4), *flips()]:
        assert t.valid((7, 7)).all()


# Input


def test_dtypes():
    x = torch.arange(2 * 16, dtype=torch.uint8).reshape(2, 4, 4)
    s = rotations(3)
    assert torch.equal(s.apply(x), s.apply(x.float() / 255))
    assert torch.equal(s[1](x), s.apply(x)[:, 1])
    for half in (torch.float16, torch.bfloat16):
        assert s.apply(x.to(half)).dtype == torch.float32
    for dtype in (torch.float32, torch.float64):
        assert s.apply(x.to(dtype)).dtype == dtype


def test_the_result_is_not_the_batch():
    x = images(2, 3, 3)
    rotations(1).apply(x).zero_()
    assert x.min() > 0


@pytest.mark.parametrize(
    ("batch", "s", "found"),
    [
        (torch.zeros(2, 4, 4, dtype=torch.int64), rotations(), "found dtype int64"),
        (torch.zeros(2, 4), rotations(), r"found items of shape \(4,\)"),
        (torch.zeros(2, 4, 4), rotations(fill=(1, 2, 3)), "fill for 3 channels"),
        (torch.zeros(2, 4, 4, 4), rotations(fill=(1, 2, 3)), "fill for 3 channels"),
        (np.zeros((2, 4, 4)), rotations(), "found a numpy.ndarray"),
    ],
)
def test_inputs_that_are_no_images(batch, s, found):
    for f in (s.apply, s.check, s[0]):
        with pytest.raises(TransformationError, match=found):
            f(batch)
    if isinstance(batch, torch.Tensor):
        with pytest.raises(TransformationError, match=found):
            warp(batch, torch.eye(3)[None], s.fill)


@pytest.mark.parametrize(
    "make",
    [
        lambda: rotations(0),
        lambda: rotations(-3),
        lambda: rotations(2.5),
        lambda: rotations([]),
        lambda: rotations([0, float("nan")]),
        lambda: scalings([]),
        lambda: scalings([1, 0]),
        lambda: scalings([-0.5]),
        lambda: scalings([float("inf")]),
        lambda: scalings(2),
        lambda: translations([]),
        lambda: translations([0]),
        lambda: translations([1], offsets=[(0, 1)]),
        lambda: translations(offsets=[1, 2]),
        lambda: translations(offsets=[]),
        lambda: rotations(fill="zero"),
        lambda: rotations(fill=float("nan")),
        lambda: rotations(fill=None),
        lambda: rotations(fill=[]),
        lambda: flips(fill=[1, float("inf")]),
        lambda: AffineTransformation(np.diag([1, 0, 1])),
        lambda: AffineTransformation(np.diag([1, 1e-320, 1])),
        lambda: AffineTransformation(np.full((3, 3), np.nan)),
        lambda: AffineTransformation(np.eye(2)),
        lambda: AffineTransformation(np.ones((3, 3)) + np.eye(3)),
        lambda: AffineSet("none", []),
        lambda: AffineSet("unlike", [rotations()[0], rotations(fill=1)[0]]),
        lambda: warp(torch.zeros(1, 4, 4), torch.eye(3)),
        lambda: warp(torch.zeros(1, 4, 4), torch.eye(3)[None], fill="none"),
    ],
)
def test_bad_arguments(make):
    with pytest.raises(TransformationError) as caught:
        make()
    assert "\n" not in str(caught.value)
    assert re.search("expected|cannot be used", str(caught.value))


def test_shifts_far_out_of_the_frame():
    x = images(1, 4, 4)
    far = translations(offsets=[(1e30, 0), (0.5, -1e30)], fill=2)
    assert torch.equal(far.apply(x), torch.full((1, 2, 4, 4), 2.0, dtype=x.dtype))


# Cache


def test_maps_are_kept_up_to_a_limit_and_change_nothing(monkeypatch):
    x, y = images(2, 6, 6), images(2, 5, 7)
    fresh = rotations(8).apply(x)
    built = []
    build = sampling.Maps.build
    monkeypatch.setattr(
        sampling.Maps, "build", lambda back, *given: built.append(len(back)) or build(back, *given)
    )
    each = 36 * 2 * x.dtype.itemsize
    for kept, expected in ((8, [4, 4]), (5, [4, 4, 4]), (3, [4, 4, 3, 4, 4])):
        monkeypatch.setattr(sampling, "CACHE_BYTES", kept * each + 1)
        s = rotations(8)
        assert s.kept_bytes(x) == kept * each
        for start, stop in ((0, 4), (4, 8), (1, 4), (0, 4), (4, 8)):
            assert torch.equal(s.apply(x, range(start, stop)), fresh[:, start:stop])
        assert built == expected
        built.clear()
    assert torch.equal(s.apply(y), rotations(8).apply(y))  # frames of another size
    assert torch.equal(s.apply(x.float()), rotations(8).apply(x.float()))
    assert torch.equal(s.apply(x), fresh)


def test_maps_that_are_kept_later_leave_gradients_alone():
    x = images(1, 6, 6).requires_grad_()
    s = rotations(8)
    (s.apply(x, range(4)).square().sum() + s.apply(x, range(4, 8)).square().sum()).backward()
    gradient, x.grad = x.grad, None
    rotations(8).apply(x).square().sum().backward()
    torch.testing.assert_close(gradient, x.grad)


def test_maps_kept_in_inference_mode_serve_outside_it():
    x, s = images(1, 6, 6), rotations(8)
    with torch.inference_mode():
        first = s.apply(x, range(4))
    assert torch.equal(s.apply(x.requires_grad_()), rotations(8).apply(x))
    assert torch.equal(first, s.apply(x, range(4)))
    s.apply(x).sum().backward()


def test_sets_serve_threads_of_unlike_frames():
    s = rotations(4)
    frames = [images(1, 6, 6), images(1, 5, 7), images(1, 6, 6).float()]
    expected = [rotations(4).apply(x) for x in frames]

    def same(k):
        return torch.equal(s.apply(frames[k % 3]), expected[k % 3])

    with ThreadPoolExecutor(3) as pool:
        assert all(pool.map(same, range(300)))


def test_bytes_kept_by_sets():
    x = images(2, 6, 6).float()
    assert rotations(8).kept_bytes(x) == 8 * 36 * 8
    assert brightness([0.1]).kept_bytes(x) == 0
    assert (rotations(8) * brightness([0.1, 0.2])).kept_bytes(x) == 8 * 36 * 8
    assert (brightness([0.1]) * rotations(8)).kept_bytes(x) == 8 * 36 * 8
    assert time_shifts([1, 2]).kept_bytes(torch.zeros(1, 3, 50)) == 2 * 50 * 8


# Gradients


@pytest.mark.parametrize("fill", [0, (0.3, -1), "edge", "wrap"])
def test_warps_are_differentiable_in_images_and_parameters(fill):
    x = images(2, 2, 4, 5).requires_grad_()
    angle = torch.tensor([0.3, -1.1], dtype=torch.float64, requires_grad=True)
    rest = torch.tensor([[1.05, 0.35, -0.15], [0.7, 0.6, 0.9]], dtype=torch.float64)
    rest.requires_grad_()

    def f(x, angle, rest):
        cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
        scale, dy, dx = rest.unbind(1)
        rows = [scale * cos, -scale * sin, dy, scale * sin, scale * cos, dx, zero, zero, zero + 1]
        return warp(x, torch.stack(rows, -1).reshape(-1, 3, 3), fill)

    assert torch.autograd.gradcheck(f, (x, angle, rest))


def test_warp_is_what_the_sets_do():
    x = images(3, 2, 6, 5)
    for fill in (0, (1.0, 2.0), "edge", "wrap"):
        s = rotations(5, fill=fill) * translations(fill=fill)
        torch.testing.assert_close(warp(x, torch.from_numpy(s.matrices), fill), s.apply(x))


def test_gradients_flow_to_images_through_a_set():
    x = images(1, 4, 4).requires_grad_()
    rotations(8).apply(x).sum().backward()
    assert x.grad.min() > 1
