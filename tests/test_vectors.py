"""Permutations, changes of sign and circular shifts of vectors and sequences; all exact."""

import numpy as np
import pytest
import torch

from tmeasures.errors import TransformationError
from tmeasures.transformations import circular_shifts, permutations, sign_flips

ORDERS = [[0, 1, 2, 3, 4], [4, 0, 3, 1, 2], [1, 2, 3, 4, 0]]
SIGNS = [[1, 1, 1, 1, 1], [1, -1, -1, 1, -1]]
SETS = {
    "permutations": lambda axis=-1: permutations(ORDERS, axis=axis),
    "sign_flips": lambda axis=-1: sign_flips(SIGNS, axis=axis),
    "circular_shifts": lambda axis=-1: circular_shifts([0, 1, -2, 7], axis=axis),
}
every = pytest.mark.parametrize("make", SETS.values(), ids=SETS)


def values(*shape, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)).to(dtype)


# Definitions


@pytest.mark.parametrize("axis", [-1, -2])
def test_permutations_index(axis):
    x = values(3, 5, 5, 2)[..., 0] if axis == -1 else values(3, 5, 4)
    out = permutations(ORDERS, axis=axis).apply(x)
    for k, order in enumerate(ORDERS):
        assert np.array_equal(out[:, k], np.take(x.numpy(), order, axis=axis))


def test_permutations_by_hand():
    x = torch.tensor([[10, 20, 30]])
    assert permutations([[2, 0, 1]]).apply(x).tolist() == [[[30, 10, 20]]]
    tokens = torch.tensor([[[1, 2], [3, 4], [5, 6]]])
    assert permutations([[2, 0, 1]], axis=-2)[0](tokens).tolist() == [[[5, 6], [1, 2], [3, 4]]]


@pytest.mark.parametrize("axis", [-1, -2])
def test_sign_flips_multiply(axis):
    x = values(3, 5, 5)
    out = sign_flips(SIGNS, axis=axis).apply(x)
    for k, signs in enumerate(SIGNS):
        factor = np.array(signs) if axis == -1 else np.array(signs)[:, None]
        assert np.array_equal(out[:, k], x.numpy() * factor)
    masks = sign_flips(np.array(SIGNS) < 0, axis=axis)
    assert torch.equal(masks.apply(x), out)
    assert sign_flips([[1, -1, 1]])[0](torch.tensor([[4, 5, 6]])).tolist() == [[4, -5, 6]]


@pytest.mark.parametrize("axis", [-1, -2])
def test_circular_shifts_roll(axis):
    x = values(3, 6, 5)
    out = circular_shifts([0, 1, -2, 7], axis=axis).apply(x)
    for k, offset in enumerate([0, 1, -2, 7]):
        assert np.array_equal(out[:, k], np.roll(x.numpy(), offset, axis=axis))


@every
def test_all_is_exact_in_any_dtype(make):
    x = values(2, 5)
    x[0, :3] = torch.tensor([torch.nan, torch.inf, -0.0])
    for t in make():
        assert torch.equal(t.inverse()(t(x)).view(torch.int32), x.view(torch.int32)) or (
            t.name.startswith("sign") and torch.equal(t(t(x)).nan_to_num(9), x.nan_to_num(9))
        )
    for dtype in (torch.float64, torch.int64, torch.int32):
        assert make().apply((x.nan_to_num(2, 3) * 9).to(dtype)).dtype == dtype
    assert make().apply((x.nan_to_num(2, 1) * 9).to(torch.uint8)).dtype == torch.float32
    assert make().apply(values(2, 5, dtype=torch.float16)).dtype == torch.float32


def test_masks_are_permuted_too():
    x = torch.tensor([[True, False, False, True, False]])
    assert permutations(ORDERS).apply(x)[0, 1].tolist() == [False, True, True, False, False]
    with pytest.raises(TransformationError, match="found dtype bool"):
        sign_flips(SIGNS).apply(x)


# Inverses, actions, products


@every
@pytest.mark.parametrize("axis", [-1, -2])
def test_inverses_and_actions(make, axis):
    x = values(4, 5, 5)
    for t in make(axis):
        back = t.inverse()
        assert torch.equal(back(t(x)), x)
        assert torch.equal(t(back(x)), x)
        assert torch.equal(back.inverse()(x), t(x))
        assert back.is_identity == t.is_identity
        action = t.acting_on([5, 5], ("token", "unit"), (5, 5))
        assert torch.equal(action(x), t(x))
        assert torch.equal(action.inverse()(action(x)), x)
        assert action.valid((5, 5)).all()
        assert t.acting_on((5, 4), ("token", "unit"), (5, 5)) is None
        assert t.acting_on((5,), ("unit",), (5, 5)) is None


def test_inverse_of_a_permutation_that_is_not_its_own():
    t = permutations([[1, 2, 0]])[0]
    assert t.inverse()(torch.tensor([[20, 30, 10]])).tolist() == [[10, 20, 30]]
    assert circular_shifts([2])[0].inverse().parameters == {"circular_shift": -2}


def test_products():
    x = values(2, 4, 5)
    both = circular_shifts([0, 1], axis=-2) * permutations(ORDERS)
    tile = both.apply(x)
    expected = np.roll(x.numpy(), 1, -2)[..., ORDERS[1]]
    assert np.array_equal(tile[:, 4], expected)
    assert torch.equal(both[4].inverse()(tile[:, 4]), x)
    assert both[4].acting_on((4, 5), ("token", "unit"), (4, 5)) is not None
    assert both[4].acting_on((4, 3), ("token", "unit"), (4, 5)) is None


def test_sizes_names_and_identities():
    assert [len(make()) for make in SETS.values()] == [3, 2, 4]
    assert [make().identities for make in SETS.values()] == [(0,), (0,), (0,)]
    assert permutations(ORDERS).names[1] == "permutation 1"
    assert sign_flips(SIGNS).names[1] == "sign flip 1"
    assert circular_shifts([0, -2]).names == ["circular shift 0", "circular shift -2"]
    assert permutations(ORDERS)[1:].parameters["permutation"].tolist() == [1, 2]
    assert circular_shifts([0, -2]).parameters["circular_shift"].tolist() == [0, -2]
    assert torch.equal(permutations(torch.tensor(ORDERS)).apply(values(2, 5))[:, 0], values(2, 5))


MISTAKES = {
    "no orders": (lambda: permutations([]), r"orders=\[\]"),
    "one order alone": (lambda: permutations([1, 0]), r"orders=\[1, 0\]"),
    "orders of two lengths": (lambda: permutations([[0, 1], [0, 1, 2]]), "all of one length"),
    "a number twice": (lambda: permutations([[0, 1, 2], [0, 0, 2]]), r"\[0, 0, 2\] at index 1"),
    "numbers from 1": (lambda: permutations([[1, 2, 3]]), "each of 0 to 2 once"),
    "parts": (lambda: permutations([[0.0, 1.0]]), "whole numbers"),
    "masks as orders": (lambda: permutations([[False, True]]), "whole numbers"),
    "text": (lambda: permutations(["ab"]), "orders="),
    "an axis from the front": (lambda: permutations(ORDERS, axis=0), "axis=0"),
    "an axis by name": (lambda: sign_flips(SIGNS, axis="unit"), "axis='unit'"),
    "part of an axis": (lambda: circular_shifts([1], axis=-1.5), "axis=-1.5"),
    "no signs": (lambda: sign_flips([]), r"signs=\[\]"),
    "a sign of 0": (lambda: sign_flips([[1, 0, -1]]), r"\[1, 0, -1\] at index 0"),
    "a sign of 2": (lambda: sign_flips([[1, 1], [2, 1]]), r"\[2, 1\] at index 1"),
    "a sign that is not a number": (lambda: sign_flips([[1, float("nan")]]), "expected 1 and -1"),
    "no offsets": (lambda: circular_shifts([]), "offsets="),
    "half an offset": (lambda: circular_shifts([0.5]), "offset 0.5, expected whole numbers"),
    "items of another length": (lambda: permutations(ORDERS).check(values(2, 4)), "5 along axis"),
    "signs of another length": (lambda: sign_flips(SIGNS).check(values(2, 4)), "5 along axis"),
    "items without tokens": (lambda: circular_shifts([1], axis=-2).check(values(2, 4)), "axis -2"),
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
