"""Sets of callables, the identity, products of any sets, and what all sets share."""

import random
from functools import partial

import numpy as np
import pytest
import torch

import tmeasures as tm
from reading import global_states
from tmeasures.errors import TransformationError
from tmeasures.transformations import (
    Transformation,
    TransformationSet,
    flips,
    identity,
    rotations,
    transformations,
    translations,
)


def images(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def torch_noise(x):
    return x + torch.randn_like(x)


def numpy_noise(x):
    return x.numpy() + np.random.standard_normal(x.shape)  # noqa: NPY002


def python_noise(x):
    return x + random.random()


# Identity


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.bool, torch.float64])
def test_identity_passes_other_dtypes_unchanged(dtype):
    x = torch.ones(2, 5, dtype=dtype)
    out = identity().apply(x)
    assert out.dtype == dtype
    assert torch.equal(out, x[:, None])
    assert out.data_ptr() != x.data_ptr()


def test_identity_prepares_images():
    x = torch.full((2, 3, 3), 51, dtype=torch.uint8)
    assert torch.equal(identity().apply(x), torch.full((2, 1, 3, 3), 0.2))
    assert identity().apply(x.half()).dtype == torch.float32
    assert identity().identity == 0
    assert identity()[0].inverse().is_identity
    assert identity()[0].valid((2, 3)).all()


# Callables


def test_batch_and_item_callables():
    x = images(3, 2, 4)
    s = transformations([torch.sin, lambda x: x.flip(1)])
    assert s.names == ["sin", "t1"]
    assert torch.equal(s.apply(x), torch.stack([x.sin(), x.flip(1)], 1))
    shapes = []

    def item(x):
        shapes.append(tuple(x.shape))
        return x[:, 1:]

    out = transformations([item], on="item", names=["cut"]).apply(x)
    assert torch.equal(out, x[:, None, :, 1:])
    assert shapes == [(2, 4)] * 3


def test_arrays_are_taken_and_floats_keep_their_dtype():
    x = images(2, 3)
    s = transformations([lambda x: x.numpy()[:, ::-1] * np.float64(2)])
    out = s.apply(x)
    assert out.dtype == torch.float32
    assert torch.equal(out[:, 0], x.flip(1) * 2)
    assert transformations([lambda x: x > 0.5]).apply(x).dtype == torch.bool


def test_inverses():
    s = transformations([lambda x: 2 * x, torch.exp], inverses=[lambda x: x / 2, None])
    x = images(2, 3)
    assert torch.equal(s[0].inverse()(s[0](x)), x)
    assert torch.equal(s[0].inverse().inverse()(x), 2 * x)
    with pytest.raises(TransformationError, match="'exp' has no inverse"):
        s[1].inverse()
    assert s[0].valid((3, 4)).all()


@pytest.mark.parametrize(
    ("function", "on", "message"),
    [
        (lambda x: x[:1], "batch", "'bad' turns a batch of 2 into shape"),
        (lambda x: x.sum(), "batch", "'bad' turns a batch of 2 into shape"),
        (lambda x: None, "batch", "'bad' returns None"),
        (lambda x: [x], "item", "'bad' returns a list"),
        (lambda x: x.mul_(2), "batch", "'bad' changes its input in place"),
        (torch_noise, "batch", "'bad' gives two results for one input.*random=True"),
        (python_noise, "item", "'bad' gives two results for one input.*random=True"),
        (lambda x: x[:, :2], "batch", r"'good' gives items \(3,\) but 'bad' gives \(2,\)"),
        (lambda x: x[:2], "item", r"'good' gives items \(3,\) but 'bad' gives \(2,\)"),
    ],
)
def test_callables_that_cannot_be_used_are_named(function, on, message):
    s = transformations([lambda x: x + 1, function], on=on, names=["good", "bad"])
    with pytest.raises(TransformationError, match=message):
        s.check(images(2, 3))
    s[:1].check(images(2, 3))


def test_random_callables_must_draw_from_the_global_generators():
    own = torch.Generator()
    s = transformations([lambda x: x + torch.rand(x.shape, generator=own)], random=True)
    with pytest.raises(TransformationError, match="draw from the global generators"):
        s.check(images(2, 3))


def test_check_passes_nan_and_random_ones():
    transformations([lambda x: x / 0 * 0]).check(images(2, 3))
    transformations([torch_noise], random=True).check(images(2, 3))
    transformations([torch.neg]).check(torch.zeros(2, 3, dtype=torch.uint8))


class Blur:
    """Transformations such as those of torchvision are objects."""

    def __init__(self, size):
        self.size = size

    def __call__(self, x):
        return x * self.size


def scaled(x, by, offset=0):
    return x * by + offset


def test_names_are_those_of_functions_classes_and_partials_and_differ():
    callables = [
        scaled,
        Blur(3),
        Blur(5),
        partial(scaled, by=2),
        partial(scaled, 3, offset=torch.zeros(4)),
        partial(lambda x, by: x, by=1),
        lambda x: x,
        scaled,
        rotations(4)[1],
        torch.nn.ReLU(),
    ]
    assert transformations(callables).names == [
        "scaled",
        "Blur",
        "Blur#1",
        "scaled(by=2)",
        "scaled(3, offset=Tensor)",
        "lambda(by=1)",
        "t6",
        "scaled#1",
        "rotation 90°",
        "ReLU",
    ]


def test_a_callable_that_raises_in_the_check_is_named_and_its_error_kept():
    s = transformations([lambda x: x, lambda x: x.rotate(45)])
    with pytest.raises(TransformationError, match=r"'t1' fails on a batch.*no attribute") as caught:
        s.check(images(2, 3))
    assert isinstance(caught.value.__cause__, AttributeError)


@pytest.mark.parametrize(
    "make",
    [
        lambda: transformations([]),
        lambda: transformations(torch.sin),
        lambda: transformations([torch.sin, 3]),
        lambda: transformations([None]),
        lambda: transformations([torch.sin], on="sample"),
        lambda: transformations([torch.sin], names=["a", "b"]),
        lambda: transformations([torch.sin], inverses=[]),
        lambda: transformations([torch.sin], inverses=[1]),
        lambda: TransformationSet("none", []),
        lambda: TransformationSet("wrong", [torch.sin]),
        lambda: identity().apply(torch.zeros(2, 3), range(2)),
        lambda: identity().apply(torch.zeros(2, 3), range(0)),
        lambda: rotations(4).apply(torch.zeros(2, 3, 3), range(0, 4, 2)),
        lambda: rotations(4).apply(torch.zeros(2, 3, 3), slice(0, 4)),
        lambda: rotations(4).apply(torch.zeros(2, 3, 3), range(-1, 3)),
        lambda: identity().apply(torch.tensor(1.0)),
        lambda: identity().apply(torch.zeros(2, 3), ids=[1]),
        lambda: identity().apply(torch.zeros(2, 3), ids=[0.5, 1]),
    ],
)
def test_bad_arguments(make):
    with pytest.raises(TransformationError) as caught:
        make()
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("found")


# Random


@pytest.mark.parametrize("noise", [torch_noise, numpy_noise, python_noise])
@pytest.mark.parametrize("on", ["batch", "item"])
def test_draws_depend_on_seed_sample_and_transformation_only(noise, on):
    x = torch.zeros(5, 4)
    ids = np.array([7, 0, 3, 12, 5])
    s = transformations([noise] * 6, on=on, random=True)
    before = global_states()
    whole = s.apply(x, ids=ids, seed=1)
    assert global_states() == before
    assert len({value.item() for value in whole[..., 0].flatten()}) == 30
    for rows in ([0, 1, 2, 3, 4], [4, 2], [3]):
        for columns in (range(6), range(2, 5), range(5, 6)):
            part = s.apply(x[rows], columns, ids=ids[rows], seed=1)
            assert torch.equal(part, whole[rows][:, columns.start : columns.stop])
    assert torch.equal(s[2:5].apply(x, ids=ids, seed=1), whole[:, 2:5])
    assert torch.equal(s[3](x, ids=ids, seed=1), whole[:, 3])
    assert not torch.equal(s.apply(x, ids=ids, seed=2), whole)
    random.seed(9)
    np.random.seed(9)  # noqa: NPY002
    torch.manual_seed(9)
    assert torch.equal(s.apply(x, ids=ids, seed=1), whole)


def test_the_generators_come_back_when_a_callable_raises():
    def fails(x):
        torch.rand(3)
        raise KeyError("mine")

    before = global_states()
    with pytest.raises(KeyError, match="mine"):
        transformations([fails], random=True).apply(torch.zeros(2, 3))
    assert global_states() == before


def test_products_of_random_sets():
    x = torch.zeros(3, 4)
    noise = transformations([torch_noise] * 2, random=True)
    product = noise * noise
    whole = product.apply(x, ids=[4, 5, 6], seed=3)
    assert torch.equal(product.apply(x[1:], range(1, 4), ids=[5, 6], seed=3), whole[1:, 1:])
    assert torch.equal(product[2](x, ids=[4, 5, 6], seed=3), whole[:, 2])
    first = noise.apply(x, ids=[4, 5, 6], seed=3)
    second = whole.view(3, 2, 2, 4) - first[:, :, None]
    values = torch.cat([first.flatten(), second.flatten()])
    assert values.sort().values.diff().min() > 1e-6


# Products


def brighter(x):
    return x + 0.25


def test_a_product_is_a_sequence_and_its_inverse_is_in_reverse_order():
    x = images(2, 1, 6, 6)
    light = transformations([brighter, lambda x: 2 * x], inverses=[lambda x: x - 0.25, None])
    product = rotations(4) * light
    assert len(product) == 8
    assert product.names[2:4] == ["rotation 90° · brighter", "rotation 90° · t1"]
    tile = product.apply(x, range(1, 7))
    for k, index in enumerate(range(1, 7)):
        i, j = divmod(index, 2)
        assert torch.equal(tile[:, k], light[j](rotations(4)[i](x)))
    there = product[2](x)
    torch.testing.assert_close(product[2].inverse()(there), x)
    late = (light * translations(offsets=[(1, 0)]))[0]
    torch.testing.assert_close(late.inverse()(late(x))[..., :5, :], x[..., :5, :])
    with pytest.raises(TransformationError, match="'t1' has no inverse"):
        product[3].inverse()


def test_masks_of_products():
    shift = translations(offsets=[(1, 0)])
    light = transformations([brighter])
    rows = torch.arange(5)[:, None].expand(5, 4)
    for product in (shift * light, light * shift):
        assert torch.equal(product[0].valid((5, 4)), rows >= 1)
    around = translations(offsets=[(2, 0)], fill="wrap")
    assert torch.equal((shift * around)[0].valid((5, 4)), rows != 2)
    half = translations(offsets=[(0.5, 0)], fill="wrap")
    assert torch.equal((shift * half)[0].valid((5, 4)), rows > 1)


def test_parameters_of_products():
    twice = flips() * rotations(3, fill=1) * rotations(2, fill=1)
    assert list(twice.parameters) == ["flip_y", "flip_x", "angle", "angle_2"]
    assert twice.parameters["angle"][:4].tolist() == [0, 0, 120, 120]
    assert twice.parameters["angle_2"][:4].tolist() == [0, 180, 0, 180]
    mixed = TransformationSet("mixed", [rotations(4)[1], translations()[0]])
    assert np.isnan(mixed.parameters["dy"][0])
    assert mixed.parameters["angle"][0] == 90
    assert np.isnan(mixed.parameters["angle"][1])
    assert all(v.dtype == np.float64 and len(v) == 2 for v in mixed.parameters.values())


def test_product_checks_both_factors():
    x = images(2, 1, 6, 6)
    bad = transformations([lambda x: x[:1]])
    for product in (bad * rotations(2), rotations(2) * bad):
        with pytest.raises(TransformationError, match="turns a batch"):
            product.check(x)
    with pytest.raises(TransformationError, match="two results"):
        (transformations([torch_noise]) * rotations(2)).check(x)
    cut = transformations([lambda x: x[..., :4, :4]])
    (cut * rotations(2)).check(x)
    assert (cut * rotations(2)).apply(x).shape == (2, 2, 1, 4, 4)
    with pytest.raises(TransformationError, match="found items of shape"):
        (transformations([lambda x: x.flatten(1)]) * rotations(2)).check(x)


def test_a_set_is_a_sequence():
    s = rotations(4)
    assert isinstance(s[1], Transformation)
    assert list(s) == [s[0], s[1], s[2], s[3]]
    assert s[-1] is s[3]
    assert len(s[::2]) == 2
    assert s[1:3].name == "rotations(4)[1:3]"
    assert (s * flips())[:2].name == "(rotations(4) * flips)[:2]"
    with pytest.raises(TypeError):
        s * 2
    with pytest.raises(TypeError):
        s[0].parameters["angle"] = 3


def test_a_mapping_names_its_callables():
    both = tm.transformations({"as it is": lambda x: x, "half": lambda x: x / 2}, name="gains")
    assert (both.name, both.names) == ("gains", ["as it is", "half"])
    assert both.apply(torch.tensor([[4.0]])).flatten().tolist() == [4, 2]
    renamed = tm.transformations({"a": abs}, names=["magnitude"])
    assert renamed.names == ["magnitude"]


def test_parameters_tell_callables_apart():
    gains = [1.0, 0.5]
    both = tm.transformations([lambda x, g=g: g * x for g in gains], parameters={"gain": gains})
    np.testing.assert_array_equal(both.parameters["gain"], gains)
    assert both[1].parameters == {"gain": 0.5}
    assert both[1:].parameters["gain"].tolist() == [0.5]
    tree = tm.measure(torch.nn.Linear(2, 1), torch.rand(5, 2), both, measures="TV")
    np.testing.assert_array_equal(tree["transformations/gain"], gains)
    with pytest.raises(tm.TransformationError, match="found 1 gain for 2 callables"):
        tm.transformations([abs, abs], parameters={"gain": [1]})


def test_transformations_among_callables_stay_as_they_are():
    mixed = tm.transformations([tm.identity()[0], lambda x: -x])
    assert (mixed.identity, mixed.names) == (0, ["identity", "t1"])


def test_sets_of_any_elements_are_checked():
    noisy = tm.transformations([lambda x: x + torch.rand_like(x)])
    with pytest.raises(tm.TransformationError, match="two results"):
        tm.TransformationSet("noise", [tm.identity()[0], *noisy]).check(torch.rand(2, 3))
    with pytest.raises(tm.TransformationError, match="must agree"):
        tm.TransformationSet(
            "sizes", [tm.identity()[0], *tm.transformations([lambda x: x[:, :1]])]
        ).check(torch.rand(2, 3))


def test_products_and_their_slices_are_checked():
    def in_place(x):
        return x.mul_(2)

    both = tm.transformations([lambda x: x, in_place]) * tm.flips()
    batch = torch.rand(2, 1, 4, 4)
    for found in (both[:], tm.transformations([*both]), both[4:6]):
        with pytest.raises(tm.TransformationError, match="in place"):
            found.check(batch)
    both[:4].check(batch)


def test_transformations_take_the_names_and_parameters_that_are_given():
    both = tm.transformations(
        {"as it is": tm.identity()[0], "double": lambda x: 2 * x}, parameters={"gain": [1, 2]}
    )
    assert (both.names, both.identity) == (["as it is", "double"], 0)
    assert both.parameters["gain"].tolist() == [1, 2]
    assert tm.transformations({0: abs, 5: abs}).names == ["0", "5"]


@pytest.mark.parametrize("values", [["a", "b"], 3])
def test_parameters_that_are_no_numbers_are_refused(values):
    with pytest.raises(tm.TransformationError, match="list of finite numbers"):
        tm.transformations([abs, abs], parameters={"mode": values})


def test_random_callables_of_joined_sets_draw_apart():
    one = tm.transformations([lambda x: x + torch.randn_like(x)], random=True)
    other = tm.transformations([lambda x: x - torch.randn_like(x)], random=True)
    first, second = tm.transformations([*one, *other]).apply(torch.zeros(1, 5))[0]
    assert not torch.allclose(first, -second)
    kept = tm.transformations([*one, *other])[1:].apply(torch.zeros(1, 5))[0, 0]
    assert torch.equal(kept, second)
