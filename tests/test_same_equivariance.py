"""Whole runs of same-equivariance: the stored cube, and networks whose answer is known."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tmeasures as tm
from cubes import cube
from small_models import Model
from tmeasures.results import attribute
from tmeasures.transformations import AffineTransformation

DSE, SSE = tm.DistanceSameEquivariance, tm.SimpleSameEquivariance
VSE = tm.VarianceSameEquivariance
MAP = ("channel", "y", "x")
BOTH = (True, False)
SSES = [SSE(), SSE(False)]
EVERY = [
    *(VSE(*options) for options in itertools.product(BOTH, BOTH)),
    *(DSE(*options) for options in itertools.product(("channel", "layer"), BOTH, BOTH, BOTH)),
    *SSES,
]
USUAL = [VSE(), DSE(), SSE()]
QUARTERS = tm.rotations(4)
TURNS = tm.rotations(5)
LAYOUT = {"output": MAP}
WHOLE = {"layers": "output", "layout": LAYOUT}


SOME = [VSE(False), VSE(normalized=True), DSE(normalized=True), DSE("layer", False), *SSES]
SOME.append(DSE(unit_norm=False, valid_only=False))


def network():
    """Maps of 6 x 6 and 3 x 3; the last ones of one channel are 0."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = nn.Conv2d(1, 2, 3, padding=1), nn.MaxPool2d(2), nn.ReLU()
        model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(18, 5))
    model[0].bias.data = torch.tensor([0.1, -3.0])
    return model


def images(n=5, size=6):
    return torch.rand(n, 1, size, size, generator=torch.Generator().manual_seed(0))


def double():
    """One in which tiles of any size give the same to 1e-12."""
    return network().double()


def values(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def integers(*shape, most=9, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(-most, most + 1, shape, generator=draw).float()


def stored(model, samples, transformations):
    """The cube of each layer, in the precision that the statistics keep."""
    if next(model.parameters()).dtype in (torch.float16, torch.bfloat16):
        (tile,) = tm.walk(model, samples, transformations, batch_size=10**6)
        return {name: found.float().numpy() for name, found in tile.values.items()}
    return cube(model, samples, transformations)


def assert_is(tree, arguments, measures=EVERY, bound=1e-8):
    """A result is what the stored cube gives by the definition."""
    model, samples, transformations = arguments
    cubes, untransformed = stored(*arguments), stored(model, samples, None)
    left = attribute(tree, "left_out_of").get(str(measures[0]), {})
    assert left.keys() < cubes.keys()
    for name in cubes.keys() - left.keys():
        for measure in measures:
            with np.errstate(all="ignore"):
                expected = measure.reference(
                    cubes[name],
                    transformations,
                    tree[f"layers/{name}/status"].dims,
                    samples.shape[1:],
                    untransformed[name][:, 0],
                )
            for variable, reference in expected.items():
                found, reference = tree[f"layers/{name}/{variable}"].values, reference.astype(float)
                # Maps that are alike but for a factor are apart by the root of a rounding.
                least = 1e-7 / bound if variable.startswith("DSE") else 1e-12
                close = bound * np.abs(reference[np.isfinite(reference)]).max(initial=least)
                np.testing.assert_allclose(found, reference, bound, close, err_msg=variable)


def measured(model, samples, transformations, measures=USUAL, **arguments):
    """The variables of the output."""
    arguments = {"layers": "output", "layout": LAYOUT} | arguments
    return tm.measure(model, samples, transformations, measures=measures, **arguments)[
        "layers/output"
    ]


def largest(model, samples):
    """The largest norm of a map."""
    with torch.no_grad():
        return float(model(samples).flatten(2).norm(dim=-1).max())


def assert_follows(layer, norm=0.0, bound=1e-6):
    """Zero to so much of the norm of the maps."""
    assert np.nanmax(layer["VSE"]) <= (bound * norm) ** 2
    assert layer["DSE"].max() <= bound * (norm > 0)
    assert layer["SSE"].max() <= bound * norm
    assert layer["SSE_relative"].max() <= bound * (norm > 0)
    assert np.isfinite(layer["VSE"]).any()


def assert_does_not_follow(layer):
    assert layer["DSE"].min() > 0.2
    assert layer["SSE_relative"].min() > 0.2
    assert np.nanmean(layer["VSE"]) > 10 * np.nanmean(layer["VSE_floor"]) + 1e-3


# The stored cube


SETS = {
    "rotations": TURNS,
    "quarter turns": QUARTERS,
    "no identity, edge": tm.rotations(4, fill="edge")[1:] * tm.scalings([0.8], fill="edge"),
    "a fill": tm.rotations(3, fill=0.5),
    "flips": tm.flips(),
    "scalings": tm.scalings([0.5, 1, 1.5]),
    "scalings with little in common": tm.scalings([3, 0.3]),
    "shifts, identity last": tm.translations(offsets=[(1, 0), (0, -2.5), (0, 0)]),
    "shifts, no identity": tm.translations([3])[:5],
    "wrapped shifts": tm.translations(offsets=[(1, 0), (-2, 1.5), (0, 3)], fill="wrap"),
    "product": tm.rotations(2) * tm.translations(offsets=[(0, 0), (2, -1)]),
    "product of unlike fills": tm.rotations([0, 30], fill="edge") * tm.flips()[:2],
    "photometric": tm.brightness([-0.2, 0, 0.2]),
    "photometric product": tm.contrast([0.5, 1]) * TURNS[:2],
    "callables": tm.transformations(
        [lambda x: x.flip(-1), lambda x: x.roll(2, -2)],
        inverses=[lambda x: x.flip(-1), lambda x: x.roll(-2, -2)],
    ),
}


@pytest.mark.parametrize("name", SETS)
def test_a_result_is_that_of_the_stored_cube(name):
    arguments = (double(), images(), SETS[name])
    measures = EVERY if name in ("rotations", "shifts, no identity") else SOME
    assert_is(tm.measure(*arguments, measures=measures), arguments, measures)


@pytest.mark.parametrize("batch_size", [1, 3, 12])
@pytest.mark.parametrize("name", ["rotations", "no identity, edge", "shifts, identity last"])
def test_tiles_of_any_size_give_the_same(name, batch_size):
    arguments = (double(), images(7), SETS[name])
    tree = tm.measure(*arguments, measures=SOME, batch_size=batch_size, errors=True)
    assert_is(tree, arguments, SOME)


@pytest.mark.parametrize("errors", BOTH)
def test_more_samples_than_blocks_and_floors_take(errors):
    arguments = (double(), images(70), TURNS[1:])
    measures = [VSE(), DSE(normalized=True), SSE(), "TV", "ND", "GF"]
    tree = tm.measure(*arguments, measures=measures, errors=errors)
    assert_is(tree, arguments, measures[:3])
    alone = tm.measure(*arguments, measures=["TV", "ND", "GF"])
    for variable in ("TV", "ND", "GF"):
        np.testing.assert_allclose(
            tree[f"layers/0/{variable}"], alone[f"layers/0/{variable}"], 1e-12
        )


@pytest.mark.parametrize("memory", [None, 900_000, 600_000, 400_000])
def test_passes_and_runs_of_layers_give_the_same(memory):
    arguments = (double(), images(40), TURNS)
    measures = [VSE(normalized=True), DSE(normalized=True), DSE("layer"), SSE(), "TV", "SV", "SD"]
    plan = tm.explain(*arguments, measures=measures, memory=memory)
    tree = tm.measure(*arguments, measures=measures, memory=memory)
    assert_is(tree, arguments, measures[:4])
    assert tree.attrs["inputs"] == plan.inputs
    assert plan.state_bytes + plan.tile_bytes <= (memory or np.inf)


@pytest.mark.parametrize(("name", "bound"), [("rotations", 1e-5), ("quarter turns", 1e-6)])
@pytest.mark.parametrize("batch_size", [None, 3])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_float32_networks(name, bound, batch_size, memory_format):
    model = network().to(memory_format=memory_format)
    arguments = (model, images().to(memory_format=memory_format), SETS[name])
    tree = tm.measure(*arguments, measures=SOME, batch_size=batch_size)
    assert_is(tree, arguments, SOME, bound)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_networks(dtype):
    model = network().to(dtype)
    arguments = (model, images(5), TURNS[1:])
    tree = tm.measure(*arguments, measures=SOME)
    assert tree["layers/0"].attrs["dtype"] == str(dtype).removeprefix("torch.")
    assert_is(tree, arguments, SOME, 1e-5)


@pytest.mark.parametrize("stratify", ["mean", "each"])
def test_a_stratum_is_measured_as_if_alone(stratify):
    labels, measures = np.array([1, 0, 0, 1, 1] * 8 + [2]), [*USUAL, DSE(normalized=True)]
    arguments = {"measures": measures, "batch_size": 12}
    tree = tm.measure(double(), images(41), TURNS, labels=labels, stratify=stratify, **arguments)
    alone = []
    for label in range(3):
        some = images(41)[torch.from_numpy(labels == label)]
        given = {"measures": measures[:3]} if label == 2 else {}
        alone.append(tm.measure(double(), some, TURNS, **arguments | given)["layers/0"])
    layer = tree["layers/0"]
    for variable in ("VSE", "DSE", "SSE", "SSE_relative"):
        expected = np.stack([each[variable] for each in alone])
        np.testing.assert_allclose(layer[variable], expected.mean(0), 1e-9, err_msg=variable)
        if stratify == "each":
            np.testing.assert_allclose(layer[f"{variable}_by_stratum"], expected, 1e-9)
    expected = np.mean([each["DSE_normalized"] for each in alone[:2]], 0)
    np.testing.assert_allclose(layer["DSE_normalized"], expected, 1e-9)
    whole = tm.measure(double(), images(41), TURNS, measures=measures)["layers/0"]
    for variable in ("VSE_floor", "DSE_floor"):  # of the whole set
        np.testing.assert_allclose(layer[variable], whole[variable], 1e-9)


# Known answers: maps that follow their input, and some that do not


WRAPPED = tm.translations([1, 2], fill="wrap")
SMALL = values(3, 8, 8, 8)


def convolution(size, channels=8, seed=0, weight=None, **arguments):
    made = nn.Conv2d(channels, 4, size, **arguments)
    drawn = values(*made.weight.shape, seed=seed) if weight is None else weight
    made.weight.data = drawn
    made.bias.data = torch.zeros(4)
    return made


@pytest.mark.parametrize("valid_only", BOTH)
@pytest.mark.parametrize(
    ("model", "transformations"),
    [
        (convolution(1), QUARTERS),
        (convolution(3, padding=1, padding_mode="circular"), WRAPPED),
        (nn.Sequential(convolution(5, padding=2, padding_mode="circular"), nn.ReLU()), WRAPPED),
    ],
)
def test_maps_that_follow(model, transformations, valid_only):
    measures = [VSE(valid_only), DSE(valid_only=valid_only), SSE(valid_only)]
    layer = measured(model, SMALL, transformations, measures)
    if not valid_only:
        layer = layer.to_dataset().rename({k: k.replace("_whole", "") for k in layer.data_vars})
    assert_follows(layer, largest(model, SMALL))


@pytest.mark.parametrize(
    ("model", "transformations"),
    [
        (convolution(1, weight=integers(4, 8, 1, 1)), QUARTERS),
        (
            convolution(3, weight=integers(4, 8, 3, 3), padding=1, padding_mode="circular"),
            WRAPPED,
        ),
        (convolution(1, weight=integers(4, 8, 1, 1)), tm.flips() * QUARTERS),
    ],
)
def test_integers_follow_exactly(model, transformations):
    layer = measured(model, integers(3, 8, 8, 8), transformations, EVERY)
    for name, found in layer.data_vars.items():
        if name != "status" and "normalized" not in name:
            assert (found == 0).all(), name


def test_filters_follow_turns_where_they_are_symmetric():
    model = convolution(3, padding=1)
    assert_does_not_follow(measured(model, SMALL, QUARTERS))
    turned = sum(torch.rot90(model.weight.data, k, (-2, -1)) for k in range(4))
    model.weight.data = turned
    assert_follows(measured(model, SMALL, QUARTERS), largest(model, SMALL))


def test_a_network_that_flips_its_maps_does_not_follow():
    flipping = Model(lambda self, x: self.a(x).flip(-1), a=convolution(1))
    assert_does_not_follow(measured(flipping, SMALL, QUARTERS))
    assert_does_not_follow(measured(flipping, SMALL, WRAPPED))
    assert_does_not_follow(measured(flipping, SMALL, tm.translations([1])))


@pytest.mark.parametrize(
    "transformations",
    [tm.brightness([-0.2, 0, 0.3]), tm.gaussian_blur([0.5, 0.8]), tm.gaussian_noise([0.1, 0.2])],
)
def test_photometric_transformations_move_no_maps(transformations):
    other = [tm.TransformationVariance(), tm.TransformationDistance(vectors=True, unit_norm=True)]
    tree = tm.measure(network(), images(40), transformations, measures=[*USUAL, *other])
    for name in ("0", "1", "2"):
        layer = tree[f"layers/{name}"]
        np.testing.assert_allclose(layer["VSE"], layer["TV"], 1e-6)
        np.testing.assert_allclose(layer["DSE"], layer["TD_vectors_unit"], 1e-6)
        assert (layer["VSE_floor"] == 0).all()
        assert (layer["DSE_floor"] == 0).all()
    np.testing.assert_allclose(tree["layers/4/VSE"], tree["layers/4/TV"], 1e-6)
    assert tree["layers/4/DSE"].dims == tree["layers/4/SSE"].dims == ()


# What leaves the frame, and what warping costs


def test_what_leaves_the_frame_counts_only_where_it_is_asked_to():
    samples = torch.rand(20, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    measures = [DSE(), DSE(valid_only=False), VSE(), VSE(valid_only=False)]
    along = tm.translations(offsets=[(dy, 0) for dy in range(-4, 5)])
    found = {}
    for name, shifts in (("along", along), ("around", tm.translations([4]))):
        layer = measured(nn.Identity(), samples, shifts, measures)
        assert (layer["DSE"] == 0).all()
        assert np.nanmax(layer["VSE"]) == 0
        assert np.nanmax(layer["VSE_whole"]) > 0.01
        found[name] = float(layer["DSE_whole"][0])
    assert found == pytest.approx({"along": 0.304, "around": 0.491}, abs=0.005)


def test_locations_that_fewer_than_two_transformations_have_are_undefined():
    layer = measured(nn.Identity(), SMALL, tm.translations(offsets=[(2, 0), (3, 0), (-5, 0)]))
    # Moved back, rows up to 5, up to 4, and from 5 on are valid.
    assert np.isnan(layer["VSE"]).all(("channel", "x")).values.tolist() == [False] * 6 + [True] * 2
    assert np.isnan(layer["VSE_floor"]).all(("channel", "x")).values.tolist()[5:] == [0, 1, 1]


def test_pairs_with_little_in_common_are_left_out_and_counted():
    shifts = tm.translations(offsets=[(0, 0), (6, 0), (0, 0), (0, 7), (7, 7)])
    layer = measured(nn.Identity(), SMALL, shifts, [DSE(), DSE(valid_only=False)])
    # 64 locations; in common: 16 of (6, 0), 8 of (0, 7), 1 of (7, 7) and at most as many of pairs.
    assert layer["DSE"].attrs["pairs_left_out"] == 4 + 1
    assert layer["DSE_whole"].attrs["pairs_left_out"] == 0
    assert (layer["DSE"] == 0).all()


def test_layers_of_half_the_size_move_by_half_as_much():
    strided = convolution(1, stride=2)
    even = tm.translations([2, 4], fill="wrap")
    for shifts in (even, tm.translations([2])):
        assert_follows(measured(strided, SMALL, shifts), largest(strided, SMALL))
    odd = measured(strided, SMALL, tm.translations([1, 3], fill="wrap"))
    assert (odd["DSE"] > 2 * odd["DSE_floor"]).all()


def test_floors_are_what_warping_there_and_back_costs():
    # Where the network is the identity and copies pixels, nothing else is measured.
    shifts = tm.translations(offsets=[(0, 0), (2, 1), (-3, 0)])
    for samples in (values(9, 2, 8, 8), values(32, 2, 8, 8)):
        for transformations in (shifts, TURNS, tm.scalings([0.5, 1.5])):
            layer = measured(nn.Identity(), samples, transformations, SOME)
            for name in layer.data_vars:
                if f"{name}_floor" in layer:
                    bound = 1e-6 * float(np.nanmax(layer[name]))
                    np.testing.assert_allclose(
                        layer[f"{name}_floor"], layer[name], 1e-5, bound, err_msg=name
                    )
    more = measured(nn.Identity(), values(40, 2, 8, 8), TURNS)
    first = measured(nn.Identity(), values(40, 2, 8, 8), TURNS, n_samples=32)
    assert (more["DSE"] != first["DSE"]).all()
    np.testing.assert_array_equal(more["DSE_floor"], first["DSE_floor"])
    np.testing.assert_array_equal(more["VSE_floor"], first["VSE_floor"])


@pytest.mark.parametrize(
    "transformations", [QUARTERS[1:], tm.flips(), WRAPPED, tm.contrast([2, 3])]
)
def test_floors_of_what_loses_nothing_are_0(transformations):
    layer = tm.measure(network(), images(6), transformations, measures=EVERY)["layers/0"]
    floors = [name for name in layer.data_vars if name.endswith("_floor")]
    assert len(floors) == 20
    for name in floors:
        assert (layer[name] == ("normalized" in name) * (layer[name] == 1)).all(), name


@pytest.mark.parametrize(
    "transformations", [QUARTERS * WRAPPED[:3], tm.rotations(4, fill="edge") * WRAPPED[:3]]
)
def test_inverses_of_products_undo_the_second_first(transformations):
    layer = measured(nn.Identity(), values(5, 2, 8, 8), transformations)
    assert_follows(layer)
    lossy = tm.rotations([90, 180], fill="edge") * tm.translations(offsets=[(1, 2), (0, 0)])
    layer = measured(nn.Identity(), values(5, 2, 8, 8), lossy)
    assert layer["SSE"].max() == layer["DSE"].max() == 0


# Declared actions


class Lifting(nn.Module):
    """Four turned copies of each filter: a quarter turn also permutes their channels."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(values(2, 1, 3, 3, seed=1))

    def forward(self, x):
        turned = [torch.rot90(self.weight, k, (-2, -1)) for k in range(4)]
        return F.conv2d(x, torch.stack(turned, 1).flatten(0, 1), padding=1)


def lifted(maps, transformation):
    """Turns maps and permutes their channels."""
    steps = round(transformation.parameters["angle"] / 90)
    return transformation(maps.unflatten(1, (2, 4)).roll(steps, 2).flatten(1, 2))


@pytest.mark.parametrize("batch_size", [None, 3])
def test_a_declared_action_in_place_of_the_plain_warp(batch_size):
    model = nn.Sequential(Lifting(), nn.ReLU())
    samples = values(5, 1, 8, 8)
    arguments = {"measures": USUAL, "layout": {"*": MAP}, "batch_size": batch_size}
    plain = tm.measure(model, samples, QUARTERS, **arguments)
    assert_does_not_follow(plain["layers/0"])
    for transformations in (QUARTERS, QUARTERS[1:], tm.rotations([-90, 180])):
        tree = tm.measure(model, samples, transformations, action={"*": lifted}, **arguments)
        for name in ("0", "1"):
            assert_follows(tree[f"layers/{name}"], largest(model, samples))
            assert (tree[f"layers/{name}/DSE_floor"] == 0).all()
    one = tm.measure(model, samples, QUARTERS, action={"1": lifted}, **arguments)
    assert_follows(one["layers/1"], largest(model, samples))
    for variable in ("VSE", "DSE", "SSE"):
        np.testing.assert_array_equal(one[f"layers/0/{variable}"], plain[f"layers/0/{variable}"])


def test_a_declared_action_makes_known_what_was_not():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64, bias=False))
    model[1].weight.data = torch.eye(64)

    def turned(vectors, transformation):
        return transformation(vectors.unflatten(1, (1, 8, 8))).flatten(1)

    tree = tm.measure(
        model, values(5, 1, 8, 8), QUARTERS, measures=USUAL, action={"1": turned}, layers="1"
    )
    assert tree["layers/1/DSE"].dims == ()
    for variable in ("VSE", "DSE", "SSE"):
        assert tree[f"layers/1/{variable}"].max() < 1e-6
    assert attribute(tree, "arguments")["action"].startswith("1: ")


# Vectors, sequences, series


@pytest.mark.parametrize(
    ("transformations", "shape"),
    [
        (tm.circular_shifts([0, 1, 3]), (6,)),
        (tm.circular_shifts([1, -2], axis=-2), (4, 6)),
        (tm.permutations([[1, 0, 3, 2, 4, 5], [5, 4, 3, 2, 1, 0]]), (4, 6)),
        (tm.sign_flips([[1, -1, 1, -1, 1, 1], [1] * 6]), (6,)),
    ],
)
def test_vectors_and_sequences(transformations, shape):
    model = nn.Sequential(nn.Tanh(), nn.Linear(6, 6), nn.Linear(6, 5)).double()
    arguments = (model, values(9, *shape), transformations)
    tree = tm.measure(*arguments, measures=EVERY, batch_size=5)
    assert_is(tree, arguments)
    assert attribute(tree, "left_out_of")["SSE"].keys() == {"2"}
    assert tree["layers/0/VSE"].shape == shape
    assert tree["layers/0/DSE"].dims == ()
    mixes = transformations.name != "circular_shifts(2)"  # those of tokens do not mind
    assert tree["layers/0/DSE"] < 1e-12
    assert tree["layers/0/SSE"] < 1e-12
    assert (tree["layers/1/DSE"] > 0.1) == mixes


def test_series():
    model = nn.Conv1d(2, 4, 3, padding=1, padding_mode="circular").double()
    samples = values(6, 2, 12).double()
    wrapped = tm.time_shifts([-3, 0, 1], fill="wrap")
    for shifts in (wrapped, tm.time_shifts([0.5, 2]), tm.time_stretches([0.5, 1.5])):
        arguments = (model, samples, shifts)
        tree = tm.measure(*arguments, measures=EVERY)
        assert_is(tree, arguments)
        assert (tree["layers/output/DSE"].max() < 1e-6) == (shifts is wrapped)
    strided = nn.Conv1d(2, 4, 2, 2).double()
    tree = tm.measure(strided, samples, tm.time_shifts([0, 2, 4]), measures=USUAL)
    assert tree["layers/output/DSE"].max() < 1e-6


# What cannot be had


def test_all_measures_leave_out_what_a_run_cannot_have():
    vectors = nn.Sequential(nn.Linear(6, 5), nn.ReLU())
    samples, doubled = values(40, 6), [lambda x: x, lambda x: 2 * x]
    for arguments in (
        (vectors, samples, doubled),
        (nn.Sequential(nn.Flatten(), nn.Linear(36, 5)), images(40), TURNS),
        (network(), images(40), [lambda x: x, lambda x: x.flip(-1)]),
    ):
        tree = tm.measure(*arguments, measures="all")
        left = attribute(tree, "left_out_of")
        why = " ".join(tm.explain(*arguments, measures="all").why)
        for measure in ("VSE", "DSE"):
            assert left[measure].keys() == set(tree["layers"])
            assert measure in why
            assert not any(measure in each.data_vars for each in tree["layers"].values())
        (reason,) = set(left["VSE"].values())
        assert reason in why
        assert "TV" in tree[f"layers/{next(iter(tree['layers']))}"]


@pytest.mark.parametrize(
    "only_images", [lambda x: x * torch.ones(1, 1, 6, 6), lambda x: F.interpolate(x, (6, 6))]
)
def test_layers_on_which_a_function_fails_are_left_out(only_images):
    arguments = (network(), images(), [lambda x: x, only_images])
    tree = tm.measure(*arguments, measures="all")
    left = attribute(tree, "left_out_of")["SSE"]
    assert left.keys() == {"1", "2", "4"}
    assert "transformations(2) fails on shape (2, 3, 3)" in left["1"]
    assert "SSE" in tree["layers/0"]
    with pytest.raises(tm.ArgumentError, match=r"no layer gives SSE: .* fails on shape"):
        tm.measure(*arguments, measures="SSE", layers="1")


def test_a_map_with_a_unit_that_is_not_finite():
    def spoilt(self, x):
        x = x.repeat(1, 2, 1, 1)
        x[:, 1, 3, 3] = torch.nan
        return x

    measures = [*USUAL, DSE("layer")]
    with pytest.warns(tm.TMeasuresWarning, match="NaN"):
        layer = measured(Model(spoilt), images(), QUARTERS, measures)
    whole = measured(nn.Identity(), images().repeat(1, 2, 1, 1), QUARTERS, measures)
    for name in ("DSE", "DSE_floor", "SSE", "SSE_relative"):
        assert np.isnan(layer[name]).values.tolist() == [False, True]
        assert layer[name][0] == whole[name][0]
    assert np.isnan(layer["VSE"]).sum(("y", "x")).values.tolist() == [0, 4]  # turned four ways
    assert np.isnan(layer["DSE_layer"])


def test_functions_without_inverses_have_simple_same_equivariance():
    flips = tm.transformations([lambda x: x, lambda x: x.flip(-1)])
    arguments = (double(), images(6), flips)
    assert_is(tm.measure(*arguments, measures=SSE()), arguments, [SSE()])


def test_sets_may_mix_what_moves_pixels_and_what_does_not():
    stretch = AffineTransformation(np.diag([1.5, 1, 1]))
    mixed = tm.TransformationSet("own", [stretch, tm.brightness([0.2])[0], *QUARTERS[:2]])
    arguments = (double(), images(), mixed)
    assert_is(tm.measure(*arguments, measures=SOME), arguments, SOME)


@pytest.mark.parametrize("per", ["layers", 1])
def test_vectors_are_of_channels_or_layers(per):
    with pytest.raises(tm.ArgumentError, match="per="):
        DSE(per=per)


def dots(n=6, size=28):
    """Images that are 0 but for their middle, which no shift by 4 pixels takes to the border."""
    x = torch.zeros(n, 1, size, size)
    x[..., size // 2 - 2 : size // 2 + 2, size // 2 - 2 : size // 2 + 2] = images(n, 4)
    return x


def steps(by):
    return tm.translations(offsets=[(0, 0), (by, 0), (0, -by), (by, by)])


def bare(size, stride=1, channels=1):
    """Without padding, and without a bias, so that 0 stays 0."""
    with torch.random.fork_rng():
        torch.manual_seed(size)
        return nn.Conv2d(channels, 3, size, stride, bias=False)


@pytest.mark.parametrize(
    "model",
    [
        bare(3),
        nn.Sequential(bare(5), bare(5, channels=3)),
        bare(3, stride=2),
        bare(2, stride=2),
    ],
    ids=["unpadded", "two", "strided", "patches"],
)
def test_a_map_without_padding_moves_by_whole_steps(model):
    arguments = {"measures": USUAL, "layers": "output"}
    layer = tm.measure(model, dots(), steps(4), **arguments)["layers/output"]
    assert layer["SSE"].mean() < 1e-5
    assert layer["DSE"].mean() < 1e-3  # equal but for rounding, of unit norm


def test_the_stride_of_a_map_may_be_said():
    model = nn.Sequential(bare(5), nn.AvgPool2d(2), bare(5, channels=3))  # 28 to 8
    arguments = {"measures": "SSE", "layers": "2"}
    guessed = tm.measure(model, dots(), steps(4), **arguments)["layers/2/SSE_relative"]
    said = tm.measure(model, dots(), steps(4), **arguments, action={"2": 2})
    assert guessed.mean() > 0.2
    assert said["layers/2/SSE_relative"].mean() < 1e-5


def test_of_a_layer_that_is_not_finite_nothing_is_known():
    x = images(4, 9)
    x[2, 0, 0, 0] = torch.nan
    measures = [DSE("layer"), DSE("layer", valid_only=False)]
    with pytest.warns(tm.TMeasuresWarning, match="NaN"):
        tree = tm.measure(nn.Identity(), x, tm.rotations([0, 45, 30]), measures=measures, **WHOLE)
    assert np.isnan(tree["layers/output/DSE_layer"])
    assert np.isnan(tree["layers/output/DSE_layer_whole"])


def test_what_is_outside_the_frame_reads_no_activation():
    x = images(4, 6)
    x[2, 0, 0, 0] = torch.nan
    with pytest.warns(tm.TMeasuresWarning, match="NaN"):
        tree = tm.measure(nn.Identity(), x, steps(2), measures=VSE(valid_only=False), **WHOLE)
    missing = np.isnan(tree["layers/output/VSE_whole"].values[0])
    assert np.argwhere(missing).tolist() == [[0, 0], [2, 0], [2, 2]]  # where steps have put it


def test_transformations_that_leave_nothing_valid_are_no_part_of_sse():
    near, far = [(0, 0), (2, 1)], [(50, 0), (51, 0)]
    found = [
        tm.measure(
            bare(3), images(4, 9), tm.translations(offsets=offsets), measures="SSE", **WHOLE
        )["layers/output/SSE"]
        for offsets in (near, near + far)
    ]
    np.testing.assert_allclose(*found, 1e-6)


def test_normalized_variances_of_samples_that_are_nearly_alike():
    x = 1 + 1e-3 * images(4, 8)
    measure, turns = VSE(normalized=True), tm.rotations(3)
    tree = tm.measure(nn.Identity(), x, turns, measures=measure, **WHOLE)
    moved = cube(nn.Identity(), x, turns, **WHOLE)["output"]
    expected = measure.reference(
        moved, turns, untransformed=cube(nn.Identity(), x, None, **WHOLE)["output"][:, 0]
    )
    found = tree["layers/output/VSE_normalized"].values
    np.testing.assert_allclose(found, expected["VSE_normalized"].astype(float), 1e-5)


def test_maps_of_which_no_pair_counts_have_no_distance():
    tree = tm.measure(nn.Identity(), images(4, 2), TURNS, measures=[DSE(), DSE("layer")], **WHOLE)
    layer = tree["layers/output"]
    assert layer["DSE"].attrs["pairs_left_out"] == 5 * 4 / 2
    assert np.isnan(layer["DSE"]).all()
    assert np.isnan(layer["DSE_layer"])
