"""Tables of actions against the transformations themselves, one by one, on maps."""

import gc
import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from tmeasures.errors import TransformationError
from tmeasures.transformations import (
    AffineSet,
    AffineTransformation,
    TransformationSet,
    actions,
    combined,
    flips,
    identity,
    rotations,
    sampling,
    scalings,
    transformations,
    translations,
)
from tmeasures.transformations.actions import Actions
from tmeasures.transformations.photometric import gaussian_noise
from tmeasures.transformations.series import time_shifts
from tmeasures.transformations.vectors import permutations

MAPS = ("channel", "y", "x")
FILLS = [0.0, "edge", "wrap"]


def values(*shape, dtype=torch.float64, seed=0):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def read(table, x):
    """What a table makes of ``(channel, s, t, value)``, location by location."""
    out = torch.zeros_like(x)
    for j, (index, weight) in enumerate(zip(table.index.long(), table.weight, strict=True)):
        for places, weights in zip(index, weight, strict=True):
            read = weights > 0
            out[:, :, j, read] += weights[read].to(x.dtype) * x[:, :, j, places[read]]
    return out


def moved(acts, x, block, *, back):
    """Values ``(s, t, *unit)`` as the statistics move them, as ``(channel, s, t, value)``."""
    before, table = (
        (acts.moved_back(x, block), acts.back(block))
        if back
        else (acts.moved_forth(x, block), acts.forth(block))
    )
    return read(table, acts.maps(before)), table


def compare(s, shape, item, block, bound=1e-12, dims=MAPS):
    """Tables against each transformation's own action; returns the tables."""
    acts = Actions(s, shape, dims, item)
    x = values(2, len(block), *shape)
    tables = []
    for back in (False, True):
        found, table = moved(acts, x, block, back=back)
        for k, j in enumerate(block):
            move = s[j].acting_on(shape, dims, item)
            move = move.inverse() if back else move
            expected = acts.maps(move(x[:, k])[:, None])[:, :, 0]
            torch.testing.assert_close(found[:, :, k], expected, rtol=0, atol=bound)
            size = (math.prod(shape[1:-1]), shape[-1])
            assert torch.equal(table.valid[k], move.valid(size).flatten())
        assert table.index.dtype == torch.int32
        assert table.weight.dtype == torch.float64
        assert table.index.shape == table.weight.shape
        assert table.index.min() >= 0
        assert table.index.max() < acts.values
        silent = (table.weight == 0) & (table.weight != 0).any(1, keepdim=True)
        for j, k, place in silent.nonzero().tolist():
            there = table.index[j, table.weight[j, :, place] > 0, place]
            assert table.index[j, k, place] in there
        tables.append(table)
    return tables


# Tables against the transformations


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("size", [(28, 28), (14, 14), (7, 7), (9, 6), (1, 1), (1, 5)])
def test_tables_say_what_the_transformations_do(size, fill):
    item, shape = (3, 28, 28), (2, *size)
    compare(rotations(16, fill=fill), shape, item, range(1, 9))
    compare(translations(fill=fill), shape, item, range(24))
    compare(scalings(fill=fill) * translations([1.5], fill=fill), shape, item, range(3, 9))
    compare(rotations(16, fill=fill), shape, (1, 20, 28), range(7, 10))


@pytest.mark.parametrize("fill", FILLS)
def test_lattice_blocks_copy_bits_with_one_tap(fill):
    for s, size, frame in (
        (rotations(4, fill=fill), (14, 14), (28, 28)),
        (rotations(4, fill=fill), (7, 5), (7, 5)),
        (translations([2, 4], fill=fill), (14, 14), (28, 28)),
        (translations([4], fill=fill), (14, 7), (28, 28)),
        (flips(fill=fill), (7, 9), (28, 28)),
        (combined(fill=fill)[5 * 24 : 6 * 24], (28, 28), (28, 28)),
    ):
        for table in compare(s, (2, *size), (1, *frame), range(len(s)), bound=0):
            assert table.index.shape[1] == 1
            assert set(table.weight.unique().tolist()) <= {0.0, 1.0}
            here = torch.arange(table.index.shape[2], dtype=torch.int32).expand(table.index.shape)
            assert torch.equal(table.index[table.weight == 0], here[table.weight == 0])


def test_copies_among_warps_keep_their_bits():
    s, shape = rotations(16), (1, 8, 8)
    acts = Actions(s, shape, MAPS, (1, 16, 16))
    x = values(1, 16, *shape, dtype=torch.float32)
    x[..., 3, 1] = math.nan
    x[..., 0, 0] = math.inf
    found, table = moved(acts, x, range(16), back=True)
    assert table.index.shape[1] == 4
    for k in range(4):
        turned = torch.rot90(x[:, 4 * k], -k, (-2, -1)).flatten(2)
        assert torch.equal(found[:, :, 4 * k].view(torch.int32), turned.view(torch.int32))


def test_float_noise_does_not_make_a_copy_an_interpolation():
    matrix = np.eye(3)
    matrix[:2, 2] = 1 + 1e-12, -1 - 1e-12
    for fill in FILLS:
        s = AffineSet("noisy", [AffineTransformation(matrix, fill)])
        for table in compare(s, (1, 5, 5), (1, 5, 5), range(1), bound=0):
            assert table.index.shape[1] == 1
            assert set(table.weight.unique().tolist()) <= {0.0, 1.0}


@settings(deadline=None, max_examples=40)
@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    frame=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    fill=st.sampled_from(FILLS),
    entries=st.lists(st.floats(-1.5, 1.5), min_size=4, max_size=4),
    offset=st.tuples(st.floats(-25, 25), st.floats(-25, 25)),
)
def test_any_matrix_on_any_map(size, frame, fill, entries, offset):
    matrix = np.eye(3)
    matrix[:2, :2] += np.reshape(entries, (2, 2))
    matrix[:2, 2] = offset
    if np.linalg.cond(matrix[:2, :2]) > 20 or abs(np.linalg.det(matrix)) < 0.1:
        return
    s = AffineSet("any", [AffineTransformation(matrix, fill)])
    compare(s, (1, *size), (3, *frame), range(1), bound=1e-11)


def test_blocks_of_a_large_set_are_parts_of_one():
    s, shape, item = combined(), (2, 7, 7), (1, 28, 28)
    acts = Actions(s, shape, MAPS, item)
    whole = acts.back(range(300, 330))
    part = acts.back(range(310, 314))
    assert torch.equal(whole.weight[10:14], part.weight)
    assert torch.equal(whole.valid[10:14], part.valid)
    slice_ = Actions(s[310:314], shape, MAPS, item).back(range(4))
    assert torch.equal(slice_.weight, part.weight)
    compare(s, shape, item, range(310, 314))


def test_chunks_change_nothing(monkeypatch):
    s, block = rotations(16, fill="edge"), range(2, 15)
    whole = Actions(s, (1, 6, 6), MAPS, (1, 6, 6)).back(block)
    monkeypatch.setattr(actions, "CHUNK", 5 * 36)
    parts = Actions(rotations(16, fill="edge"), (1, 6, 6), MAPS, (1, 6, 6)).back(block)
    for name in ("index", "weight", "valid"):
        assert torch.equal(getattr(whole, name), getattr(parts, name))


def test_sets_of_several_fills_and_kinds():
    several = TransformationSet(
        "several",
        [
            identity()[0],
            translations(fill="wrap")[4],
            rotations(7)[2],
            *gaussian_noise([0.1]),
            rotations(7, fill="edge")[3],
            translations()[8],
        ],
    )
    compare(several, (2, 7, 7), (1, 28, 28), range(6))
    for table in compare(several, (2, 7, 7), (1, 28, 28), range(3, 4), bound=0):
        assert torch.equal(table.index[0, 0], torch.arange(49))


def test_pooled_inputs_move_as_their_pools():
    x = values(3, 2, 16, 12).mul(100).round()  # so that sums are exact in any order
    s = translations([4], fill=0) * flips()
    acts = Actions(s, (2, 4, 3), MAPS, (2, 16, 12))
    pooled = F.avg_pool2d(x, 4)
    expected = torch.stack([F.avg_pool2d(t(x), 4) for t in s], 1)
    found, _ = moved(acts, pooled[:, None].expand(-1, 32, -1, -1, -1), range(32), back=False)
    assert torch.equal(found, acts.maps(expected))
    back, table = moved(acts, expected, range(32), back=True)
    kept = table.valid.expand_as(back)
    there = acts.maps(pooled[:, None].expand(-1, 32, -1, -1, -1))
    assert torch.equal(back[kept], there[kept])
    assert not kept.all()


def test_series_are_maps_of_one_row():
    s = time_shifts([-4, 0, 1, 6])
    for table in compare(s, (3, 10), (2, 20), range(4), dims=("channel", "time")):
        assert table.index.shape == (4, 4, 10)
    acts = Actions(s, (3, 10), ("channel", "time"), (2, 20))
    assert (acts.channels, acts.values) == (3, 10)
    assert torch.equal(acts.forth(range(1)).valid[0], torch.arange(10) < 8)


# Layouts


def test_values_are_seen_by_channel():
    for dims, shape, channels in (
        (MAPS, (3, 4, 5), 3),
        (("unit",), (7,), 1),
        (("token", "unit"), (4, 6), 1),
        ((), (), 1),
        (("y", "x", "channel"), (4, 5, 3), 3),
    ):
        acts = Actions(gaussian_noise([0.1, 0.2]), shape, dims, (3, 4, 5))
        x = values(2, 2, *shape)
        seen = acts.maps(x)
        assert (acts.channels, acts.values) == (channels, math.prod(shape) // channels)
        assert seen.shape == (channels, 2, 2, acts.values)
        assert seen.data_ptr() == x.data_ptr()
        if "channel" in dims:
            axis = 2 + dims.index("channel")
            for c in range(channels):
                assert torch.equal(seen[c].flatten(), x.select(axis, c).flatten())
        else:
            assert torch.equal(seen.flatten(), x.flatten())
        assert torch.equal(acts.units(seen[:, 1, 0]), x[1, 0])
        block = range(2)
        assert acts.moved_back(x, block) is x
        assert torch.equal(moved(acts, x, block, back=True)[0], seen)


@pytest.mark.parametrize("order", [*itertools.permutations(MAPS), ("y", "x"), ("x", "y")])
def test_maps_in_any_order_are_read_as_channel_y_x(order):
    s, item = rotations(8), (1, 28, 20)
    sizes = {"channel": 3 if "channel" in order else 1, "y": 7, "x": 5}
    shape = [sizes[dim] for dim in order]
    acts, first = (
        Actions(s, [sizes[dim] for dim in dims], dims, item) for dims in (order, tuple(sizes))
    )
    assert acts.back(range(8)) is first.back(range(8))
    x = values(2, 8, *shape)
    seen = acts.maps(x)
    for index in itertools.product(*map(range, shape)):
        at = dict(zip(order, index, strict=True))
        values_there = seen[at.get("channel", 0), :, :, 5 * at["y"] + at["x"]]
        assert torch.equal(values_there, x[:, :, *index])
    assert torch.equal(acts.units(seen.permute(1, 2, 0, 3)), x)
    is_view = order in (MAPS, ("y", "x", "channel"), ("y", "x"))
    assert (seen.data_ptr() == x.data_ptr()) is is_view


@pytest.mark.parametrize("dims", [("channel", "time"), ("time", "channel")])
def test_series_in_any_order(dims):
    shape = (3, 10) if dims[0] == "channel" else (10, 3)
    acts = Actions(time_shifts([-4, 0, 1, 6]), shape, dims, (2, 20))
    assert (acts.channels, acts.values) == (3, 10)
    assert torch.equal(acts.units(acts.maps(x := values(4, 2, *shape)).permute(1, 2, 0, 3)), x)


def test_what_no_table_says_gets_maps_in_their_order():
    acts = Actions(CALLABLES, (7, 6, 5), ("y", "x", "channel"), (3, 4, 5))
    x = values(2, 4, 7, 6, 5)
    forth, _ = moved(acts, x, range(4), back=False)
    assert torch.equal(forth[:, :, 2], acts.maps(torch.roll(x[:, 2:3], 1, -2))[:, :, 0])
    back, _ = moved(acts, acts.moved_forth(x, range(4)), range(4), back=True)
    assert torch.equal(back[:, :, :3], acts.maps(x)[:, :, :3])
    same = Actions(CALLABLES[:3], (7, 6, 5), ("y", "x", "channel"), (7, 6, 5))
    assert torch.equal(same.moved_forth(x[:, :3], range(3))[:, 2], torch.roll(x[:, 2], 1, -1))


def test_tables_leave_values_alone():
    x = values(2, 3, 2, 7, 7)
    acts = Actions(rotations(8), (2, 7, 7), MAPS, (1, 28, 28))
    assert acts.moved_back(x, range(3)) is x
    assert acts.moved_forth(x, range(3)) is x


# Actions by torch


def doubled(x):
    return 2 * x


def halved(x):
    return x / 2


def rolled(x):
    return torch.roll(x, 1, -1)


def unrolled(x):
    return torch.roll(x, -1, -1)


CALLABLES = transformations(
    [identity()[0], doubled, rolled, rotations(4)[1]], inverses=[None, halved, unrolled, None]
)


@pytest.mark.parametrize(
    ("shape", "dims"), [((5, 7, 6), MAPS), ((3, 4, 5), ("a", "b", "c")), ((3, 4, 5), MAPS)]
)
def test_callables_move_values_themselves(shape, dims):
    s = CALLABLES if dims == MAPS else CALLABLES[:3]
    acts = Actions(s, shape, dims, (3, 4, 5))
    x = values(2, len(s), *shape)
    kept = x.clone()
    forth, table = moved(acts, x, range(len(s)), back=False)
    assert torch.equal(forth[:, :, 1], acts.maps(2 * x[:, 1:2])[:, :, 0])
    assert torch.equal(forth[:, :, 2], acts.maps(rolled(x[:, 2:3]))[:, :, 0])
    assert table.valid[:3].all()
    back, _ = moved(acts, x, range(len(s)), back=True)
    assert torch.equal(back[:, :, 0], acts.maps(x)[:, :, 0])
    assert torch.equal(back[:, :, 1], acts.maps(x[:, 1:2] / 2)[:, :, 0])
    assert torch.equal(back[:, :, 2], acts.maps(unrolled(x[:, 2:3]))[:, :, 0])
    if dims == MAPS:
        there = s[3].acting_on(shape, dims, (3, 4, 5)).inverse()(x[:, 3])
        expected = acts.maps(there[:, None])[:, :, 0]
        torch.testing.assert_close(back[:, :, 3], expected, rtol=0, atol=1e-12)
    assert torch.equal(x, kept)


def test_products_that_are_no_matrix_go_one_after_the_other():
    light = transformations([doubled], inverses=[halved])
    for s in (rotations(5) * light, light * translations([2]), rotations(5) * rotations(3, fill=1)):
        compare(s, (2, 7, 9), (1, 14, 18), range(5))
    kept = (rotations(5) * rotations(3, fill=1))[1]
    around = kept.acting_on((2, 7, 9), MAPS, (1, 14, 18)).inverse().valid((7, 9))
    acts = Actions(rotations(5) * rotations(3, fill=1), (2, 7, 9), MAPS, (1, 14, 18))
    assert torch.equal(acts.back(range(1, 2)).valid[0], around.flatten())
    assert not around.all()


def test_products_with_photometric_ones_are_tables():
    noise = gaussian_noise([0.1, 0.2])
    for s in (rotations(5) * noise, noise * rotations(5)):
        compare(s, (2, 7, 7), (1, 28, 28), range(10))
        acts, x = Actions(s, (2, 7, 7), MAPS, (1, 28, 28)), values(1, 10, 2, 7, 7)
        assert acts.moved_back(x, range(10)) is x


def test_halves_are_widened_where_torch_moves_them():
    acts = Actions(CALLABLES, (1, 4, 4), MAPS, (1, 4, 4))
    x = values(1, 4, 1, 4, 4, dtype=torch.float16)
    found = acts.moved_forth(x, range(4))
    assert found.dtype == torch.float32
    assert torch.equal(found[:, 0], x[:, 0].float())
    assert torch.equal(found[:, 1], 2 * x[:, 1].float())


# Declared actions


def cycled(x, t):
    """A group convolution over quarter turns: maps turn, and channels change places."""
    quarters = round(math.degrees(math.atan2(t.matrix[1, 0], t.matrix[0, 0])) / 90)
    assert t.parameters["angle"] % 360 == quarters * 90 % 360
    return torch.roll(t(x), quarters, -3)


def test_declared_actions_replace_the_plain_one():
    s, shape, item = rotations(4), (4, 6, 6), (1, 12, 12)
    acts = Actions(s, shape, MAPS, item, declared=cycled)
    maps = values(3, *shape)
    forth = torch.stack([torch.roll(torch.rot90(maps, k, (-2, -1)), k, 1) for k in range(4)], 1)
    x = maps[:, None].expand(-1, 4, -1, -1, -1)
    found, _ = moved(acts, x, range(4), back=False)
    assert torch.equal(found, acts.maps(forth))
    back, table = moved(acts, forth, range(4), back=True)
    assert torch.equal(back, acts.maps(x))
    assert table.index.shape[1] == 1
    plain, _ = moved(Actions(s, shape, MAPS, item), forth, range(4), back=True)
    assert not torch.equal(plain, acts.maps(x))


def test_declared_actions_get_what_they_need():
    seen = []

    def look(x, t):
        seen.append(t)
        return x

    shift = translations(offsets=[(0, 0), (4, 0)], fill=3)
    acts = Actions(shift, (2, 14, 14), MAPS, (1, 28, 28), declared=look)
    x = values(1, 2, 2, 14, 14)
    acts.moved_forth(x, range(2))
    acts.moved_back(x, range(2))
    assert [t.parameters["dy"] for t in seen] == [4, -4]
    assert [t.matrix[0, 2] for t in seen] == [2, -2]
    rows = torch.arange(14)[:, None].expand(14, 14).flatten()
    assert torch.equal(acts.forth(range(2)).valid[1], rows >= 2)
    assert torch.equal(acts.back(range(2)).valid[1], rows < 12)
    assert acts.back(range(2)).valid[0].all()

    seen.clear()
    light = transformations([doubled], inverses=[halved])
    units = Actions(light, (5,), ("unit",), (3, 8, 8), declared=look)
    units.moved_forth(values(1, 1, 5), range(1))
    units.moved_back(values(1, 1, 5), range(1))
    assert [t.name for t in seen] == ["doubled", "inverse of doubled"]
    assert units.back(range(1)).valid.all()

    seen.clear()
    noise = gaussian_noise([0.1])
    Actions(noise, (5,), ("unit",), (3, 8, 8), declared=look).moved_forth(values(1, 1, 5), range(1))
    assert seen == [noise[0]]


def test_declared_actions_may_write_to_their_input():
    acts = Actions(
        rotations(4), (2, 3, 3), MAPS, (1, 3, 3), declared=lambda x, t: x.zero_().double()
    )
    x = values(1, 4, 2, 3, 3, dtype=torch.float32)
    found = acts.moved_forth(x, range(4))
    assert x.all()
    assert found.dtype == torch.float32
    assert torch.equal(found[:, 0], x[:, 0])
    assert not found[:, 1:].any()


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda x, t: x[..., 1:], r"a lambda, given 'rotation 90°', .*\(2, 3, 3\) into \(2, 3, 2"),
        (lambda x, t: x[:1], r"a lambda, given 'rotation 90°', turns outputs"),
        (lambda x, t: None, "into None, expected the same shape: return"),
    ],
)
def test_declared_actions_of_another_shape(f, message):
    acts = Actions(rotations(4), (2, 3, 3), MAPS, (1, 3, 3), declared=f)
    with pytest.raises(TransformationError, match=message):
        acts.moved_forth(values(2, 2, 2, 3, 3), range(1, 3))


def test_callables_of_another_shape():
    cut = transformations([lambda x: x[..., 1:]], names=["cut"])
    acts = Actions(cut, (2, 4, 4), MAPS, (1, 8, 8))
    with pytest.raises(TransformationError, match=r"'cut' turns outputs .*\(2, 4, 3\), expected"):
        acts.moved_forth(values(2, 1, 2, 4, 4), range(1))
    with pytest.raises(TransformationError, match="'cut' has no inverse"):
        acts.moved_back(values(2, 1, 2, 4, 4), range(1))


# What cannot be had


def noisy(x):
    return x + torch.rand_like(x)


@pytest.mark.parametrize(
    ("s", "shape", "dims", "why"),
    [
        (
            rotations(4),
            (8, 16),
            ("token", "unit"),
            "its dims are token, unit, and rotations(4) acts on channel, y, x",
        ),
        (
            rotations(4) * permutations([[1, 0]]),
            (2, 8, 8),
            MAPS,
            "its shape is (2, 8, 8), and 'permutation 0' acts on (3, 8, 8)",
        ),
        (
            permutations([[1, 0]]) * rotations(4),
            (3, 8, 8),
            ("a", "b", "c"),
            "its dims are a, b, c, and permutations(1) * rotations(4) acts on channel, y, x",
        ),
        (
            transformations([noisy], random=True, names=["n"]),
            (3, 8, 8),
            MAPS,
            "how 'n' acts on outputs is not known",
        ),
        (
            time_shifts([1]),
            (3, 8, 8),
            MAPS,
            "its dims are channel, y, x, and time_shifts(1) acts on channel, time",
        ),
        (rotations(4), (5, 2, 2), MAPS, None),
        (gaussian_noise([1]), (5,), ("unit",), None),
        (gaussian_noise([1]) * rotations(2), (5, 2, 2), MAPS, None),
        (permutations([[1, 0]]), (3, 8, 8), ("a", "b", "c"), None),
    ],
)
def test_why_not(s, shape, dims, why):
    assert Actions.why_not(s, shape, dims, (3, 8, 8)) == why
    if why is None:
        Actions(s, shape, dims, (3, 8, 8))
        return
    with pytest.raises(TransformationError) as caught:
        Actions(s, shape, dims, (3, 8, 8))
    text = str(caught.value)
    assert f"({why}): leave the layer out" in text
    assert text.startswith(f"found outputs of shape {shape}")
    assert "\n" not in text
    Actions(s, shape, dims, (3, 8, 8), declared=lambda x, t: x)


# Exactness


@pytest.mark.parametrize(
    ("s", "size", "exact"),
    [
        (rotations(4), (7, 7), True),
        (rotations(4), (7, 6), False),
        (rotations(8), (7, 7), False),
        (flips(), (7, 6), True),
        (translations([4], fill="wrap"), (7, 7), True),
        (translations([2], fill="wrap"), (7, 7), False),
        (translations([4]), (7, 7), False),
        (translations([4], fill="edge"), (7, 7), False),
        (gaussian_noise([0.1]), (7, 7), True),
        (gaussian_noise([0.1]) * rotations(4), (7, 7), True),
        (transformations([doubled], inverses=[halved]), (7, 7), False),
        (rotations(4), (1, 1), True),
        (translations(offsets=[(0, -28)]), (1, 1), False),
        (translations(offsets=[(0, -14)]), (1, 2), False),
    ],
)
def test_sets_that_lose_nothing(s, size, exact):
    acts = Actions(s, (2, *size), MAPS, (1, 28, 28))
    assert acts.is_exact is exact
    declared = Actions(s, (2, *size), MAPS, (1, 28, 28), declared=lambda x, t: x)
    assert declared.is_exact is False
    if exact:
        x = values(2, len(s), 2, *size)
        there = read(acts.forth(range(len(s))), acts.maps(x))
        assert torch.equal(read(acts.back(range(len(s))), there), acts.maps(x))


@pytest.mark.parametrize(
    ("shape", "dims", "copies"),
    [
        ((4, 6, 5), MAPS, False),
        ((6, 5, 4), ("y", "x", "channel"), False),
        ((6, 4, 5), ("y", "channel", "x"), True),
        ((4, 5, 6), ("channel", "x", "y"), True),
        ((6, 5), ("y", "x"), False),
        ((7, 4), ("time", "channel"), False),
    ],
)
def test_which_maps_are_copies(shape, dims, copies):
    item, turns = ((1, 12), time_shifts([1])) if "time" in dims else ((1, 6, 5), rotations(2))
    found = Actions(turns, shape, dims, item)
    assert found.copies == copies
    x = values(2, 3, *shape)
    assert (found.maps(x).data_ptr() != x.data_ptr()) == copies


# Cache


def test_layers_of_one_size_share_their_tables():
    s, item = rotations(8), (1, 28, 28)
    one = Actions(s, (2, 7, 7), MAPS, item).back(range(4))
    assert Actions(s, (5, 7, 7), MAPS, item).back(range(4)) is one
    assert Actions(s, (2, 7, 7), MAPS, item).forth(range(4)) is not one
    for shape, other_item, declared in (
        ((2, 7, 8), item, None),
        ((2, 7, 7), (1, 28, 20), None),
        ((2, 7, 7), item, lambda x, t: x),
    ):
        other = Actions(s, shape, MAPS, other_item, declared).back(range(4))
        assert other is not one
        fresh = Actions(rotations(8), shape, MAPS, other_item, declared).back(range(4))
        assert torch.equal(other.weight, fresh.weight)
    alone = Actions(rotations(8), (2, 7, 7), MAPS, item).back(range(4))
    assert alone is not one
    assert torch.equal(alone.weight, one.weight)


def test_declared_tables_are_those_of_their_layer():
    s = rotations(4) * permutations([[1, 0]])
    item, same = (2, 8, 8), lambda x, t: x
    here = Actions(s, (2, 8, 8), MAPS, item, same).back(range(4))
    there = Actions(s, (3, 8, 8), MAPS, item, same).back(range(4))
    other = Actions(s, (2, 8, 8), ("channel", "a", "b"), item, same).back(range(4))
    assert here is not there
    assert here is not other


def test_tables_leave_with_their_set_and_by_their_age(monkeypatch):
    gc.collect()
    before = len(actions._TABLES)
    s, item = rotations(8), (1, 28, 28)
    acts = Actions(s, (2, 7, 7), MAPS, item)
    size = acts.back(range(1, 3)).nbytes
    assert size == 2 * 49 * (4 * 12 + 1)
    assert len(actions._TABLES) == before + 1
    monkeypatch.setattr(sampling, "CACHE_BYTES", 2 * size)
    s = rotations(8)
    acts = Actions(s, (2, 7, 7), MAPS, item)
    first, second = acts.back(range(1, 3)), acts.back(range(3, 5))
    assert acts.back(range(1, 3)) is first
    acts.back(range(5, 7))
    assert acts.back(range(1, 3)) is first
    again = acts.back(range(3, 5))
    assert again is not second
    assert torch.equal(again.weight, second.weight)
    monkeypatch.setattr(sampling, "CACHE_BYTES", size - 1)
    assert acts.forth(range(1, 3)) is not acts.forth(range(1, 3))
    del s, acts
    gc.collect()
    assert len(actions._TABLES) == before
