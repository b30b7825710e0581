"""The whole run against measures of the stored cube, and its walk, plan and memory."""

import io
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import tmeasures as tm
from tmeasures import engine
from tmeasures.budget import memory_limit
from tmeasures.capture import Layer, Probe
from tmeasures.fields import DEAD, NOT_FINITE, SV_BELOW_ROUNDING, TV_BELOW_ROUNDING
from tmeasures.footprint import peak_bytes
from tmeasures.measures import resolve
from tmeasures.plan import Plan, Problem, check, choose, tile_shape


def network(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            *(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(48, 5)),
        )


def images(n=11, seed=0):
    return torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


EVERY = ["TV", "SV", "NV", "ANOVA", tm.Anova(paired=True)]
SPREADS = [
    tm.TransformationVariance(spread="std"),
    tm.SampleVariance(spread="std"),
    tm.NormalizedVariance(spread="std"),
]


def cube(model, samples, transformations, **arguments):
    """Every layer's cube, (sample, transformation, *unit) in seeded order."""
    tiles = list(tm.walk(model, samples, transformations, batch_size=10**6, **arguments))
    assert len(tiles) == 1
    return {name: values.numpy() for name, values in tiles[0].values.items()}


def assert_agrees(tree, cubes, measures, rtol):
    for name, values in cubes.items():
        for measure in resolve(measures):
            with np.errstate(all="ignore"):
                expected = measure.reference(values)
            for variable, reference in expected.items():
                found = tree[f"layers/{name}/{variable}"].values
                np.testing.assert_allclose(
                    found, reference.astype(np.float64), rtol=rtol, err_msg=f"{name} {variable}"
                )


@pytest.mark.parametrize(
    ("memory", "passes"), [(None, ["sample"]), (200_000, ["sample", "transformation"])]
)
@pytest.mark.parametrize("batch_size", [None, 8, 5])
def test_results_are_those_of_the_stored_cube(memory, passes, batch_size):
    transformations = tm.rotations(64)
    arguments = {"measures": EVERY + SPREADS, "memory": memory, "batch_size": batch_size}
    plan = tm.explain(network(), images(), transformations, **arguments)
    assert [p.order for p in plan.passes] == passes
    tree = tm.measure(network(), images(), transformations, **arguments)
    assert sorted(tree["samples/ids"].values) == list(range(11))
    assert tree.attrs["n_samples"] == 11
    assert tree.attrs["inputs"] == plan.inputs == 11 * 64 * len(passes)
    # Torch itself differs by a few float32 roundings between batch sizes.
    assert_agrees(tree, cube(network(), images(), transformations), EVERY + SPREADS, 2e-4)


@given(n=st.integers(1, 7), m=st.integers(1, 7), batch_size=st.integers(1, 60))
@settings(max_examples=40, deadline=None)
@pytest.mark.parametrize("order", ["sample", "transformation"])
def test_a_walk_visits_every_pair_once_in_order(order, n, m, batch_size):
    samples, angles = torch.rand(n, 1, 4, 4), tm.rotations(m)
    model = nn.ReLU()
    seen, positions = np.zeros((n, m), int), []
    for tile in tm.walk(model, samples, angles, order=order, batch_size=batch_size):
        rows, columns = tile.samples, tile.transformations
        assert len(rows) * len(columns) <= batch_size
        seen[rows.start : rows.stop, columns.start : columns.stop] += 1
        corner = (rows.start, columns.start)
        positions.append(corner if order == "sample" else corner[::-1])
        expected = angles.apply(samples[tile.ids], columns)
        torch.testing.assert_close(tile.values["output"], expected, rtol=0, atol=0)
    assert (seen == 1).all()
    assert positions == sorted(set(positions))


def test_sample_first_reads_each_sample_once_and_the_other_order_as_planned():
    class Counting(torch.utils.data.Dataset):
        reads = 0

        def __len__(self):
            return 10

        def __getitem__(self, i):
            Counting.reads += 1
            return images()[i], i % 3

    data = Counting()
    arguments = {"measures": "NV", "memory": 200_000, "batch_size": 12}
    plan = tm.explain(network(), data, tm.rotations(64), **arguments)
    assert len(plan.passes) == 2
    Counting.reads = 0
    tm.measure(network(), data, tm.rotations(64), plan=plan, measures="NV")
    extra = 3 * 3  # what the transformations are checked on, and the probe
    assert plan.reads < Counting.reads <= plan.reads + extra
    Counting.reads = 0
    tree = tm.measure(network(), data, tm.rotations(64), measures="TV")
    assert 10 < Counting.reads <= 10 + extra
    assert tree["samples/labels"].values.tolist() == [i % 3 for i in tree["samples/ids"].values]


def test_the_same_arguments_give_the_same_bits():
    trees = [tm.measure(network(), images(50), tm.rotations(7), measures=EVERY) for _ in range(2)]
    for tree in trees:
        for name in ("seconds", "created", "plan"):  # the plan notes the memory that was free
            del tree.attrs[name]
    assert trees[0].identical(trees[1])


def test_only_what_is_asked_for_is_there_and_kept():
    tree = tm.measure(network(), images(), tm.rotations(4), measures=["TV"])
    assert set(tree["layers/0"].data_vars) == {"TV", "status"}
    plans = {
        measures: tm.explain(network(), images(), tm.rotations(64), measures=measures)
        for measures in ("TV", "SV", "NV")
    }
    kept = {measures: plan.passes[0].statistics for measures, plan in plans.items()}
    assert kept == {"TV": ("rows",), "SV": ("columns",), "NV": ("moments",)}
    assert plans["TV"].state_bytes < plans["SV"].state_bytes


def test_preprocess_runs_after_the_transformation_and_call_says_how_the_model_is_called():
    shapes = []

    def halve(batch):
        shapes.append(tuple(batch.shape[1:]))
        return batch[..., ::2, ::2] * 2 - 1

    tree = tm.measure(
        nn.Sequential(nn.Conv2d(1, 2, 3)),
        images(),
        tm.rotations(4),
        measures="NV",
        preprocess=halve,
        call=lambda model, inputs: {"scaled": model(inputs) * 3},
    )
    assert set(shapes) == {(1, 8, 8)}
    assert tree["layers/0/NV"].shape == (2, 2, 2)
    assert tree["layers/output.scaled/NV"].shape == (2, 2, 2)


def test_preprocess_gets_the_type_of_the_samples_and_the_network_its_own():
    seen = []

    def keep(batch):
        seen.append(batch.dtype)
        return batch

    tree = tm.measure(network(), images().double(), tm.rotations(2), measures="TV", preprocess=keep)
    assert set(seen) == {torch.float64}
    assert tree["layers/4/TV"].dtype == np.float32


def test_random_transformations_draw_for_seed_and_id_whatever_the_batch():
    noise = tm.transformations([lambda x: x + torch.rand_like(x)] * 3, random=True)

    def walked(batch_size, seed):
        found = torch.zeros(11, 3, 1, 8, 8)
        for tile in tm.walk(nn.ReLU(), images(), noise, batch_size=batch_size, seed=seed):
            columns = tile.transformations
            found[tile.ids, columns.start : columns.stop] = tile.values["output"]
        return found

    assert torch.equal(walked(4, 1), walked(100, 1))
    assert (walked(100, 1) != walked(100, 2)).any((0, 2, 3, 4)).all()


def test_seed_and_number_of_samples_say_which_samples_come_and_in_which_order():
    ids = {}
    for seed in (1, 2):
        arguments = {"seed": seed, "n_samples": 7}
        tree = tm.measure(network(), images(), tm.rotations(2), measures="TV", **arguments)
        ids[seed] = tree["samples/ids"].values.tolist()
        assert (tree.attrs["seed"], tree.attrs["n_samples"]) == (seed, len(ids[seed])) == (seed, 7)
        tiles = tm.walk(network(), images(), tm.rotations(2), batch_size=4, **arguments)
        assert [i for tile in tiles for i in tile.ids] == ids[seed]
    assert ids[1] != ids[2]


def test_the_named_input_alone_is_transformed():
    class Both(nn.Module):
        def forward(self, left, right):
            return {"left": left * 1, "right": right * 1}

    samples, turns = {"left": images(), "right": images(seed=1)}, tm.rotations(4)
    (tile,) = tm.walk(Both(), samples, turns, input="right")
    left, right = (tile.values[f"output.{side}"] for side in ("left", "right"))
    assert torch.equal(left, samples["left"][tile.ids][:, None].expand_as(left))
    torch.testing.assert_close(right, turns.apply(samples["right"][tile.ids]))


def test_mapping_items_serve_a_network_with_several_inputs():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 3)

        def forward(self, image, scale, words):
            assert [int(word) for word in words] == scale.tolist()
            assert scale.dtype == torch.int64
            return self.conv(image) * scale[:, None, None, None]

    samples = [{"image": images()[i], "scale": torch.tensor(i), "words": f"{i}"} for i in range(6)]
    found = {}
    for tile in tm.walk(Two(), samples, tm.rotations(4), batch_size=8):
        scales = tile.values["output"] / tile.values["conv"]
        found |= dict(zip(tile.ids, scales, strict=True))
    for i in range(1, 6):
        torch.testing.assert_close(found[i], torch.full_like(found[i], i))


def test_a_vision_transformer_from_transformers():
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        image_size=8, patch_size=4, num_channels=1, hidden_size=8, num_hidden_layers=2,
        num_attention_heads=2, intermediate_size=16, num_labels=3,
    )  # fmt: skip
    model = transformers.ViTForImageClassification(config).train()
    tree = tm.measure(model, {"pixel_values": images()}, tm.rotations(4), measures="NV")
    assert tree["layers/classifier/NV"].dims == ("unit",)
    layer = next(name for name in tree["layers"].children if name.endswith("layernorm_before"))
    assert tree[f"layers/{layer}/NV"].dims == ("token", "unit")
    assert all(module.training for module in model.modules())


def test_a_model_that_is_no_torch_module():
    class Means:
        def run(self, batch):
            assert isinstance(batch, np.ndarray)
            return {"rows": batch.mean((1, 3)), "mean": batch.mean((1, 2, 3))[:, None]}

    tree = tm.measure(Means(), images().numpy(), tm.rotations(4), measures=["TV", "NV"])
    assert set(tree["layers"].children) == {"rows", "mean"}
    assert tree["layers/rows/NV"].dims == ("unit",)
    assert tree["layers/mean/TV"].values == pytest.approx(0, abs=1e-3)


def test_an_iterable_data_set_is_read_once_in_its_own_order():
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(images())

    tree = tm.measure(network(), Stream(), tm.rotations(4), measures=EVERY)
    assert tree["samples/ids"].values.tolist() == list(range(11))
    assert_agrees(tree, cube(network(), Stream(), tm.rotations(4)), EVERY, 2e-4)
    with pytest.raises(tm.MemoryLimitError, match="iterable data set, which is read once"):
        tm.measure(network(), Stream(), tm.rotations(64), measures="NV", memory=40_000)

    class One(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(images(1))

    with pytest.raises(tm.ArgumentError, match="at least 2 samples and there is 1"):
        tm.measure(network(), One(), tm.rotations(4), measures="NV")


def test_uint8_images_and_float64_networks():
    pixels = (images() * 255).to(torch.uint8)
    one = tm.measure(network(), pixels, tm.rotations(4), measures="NV")
    other = tm.measure(network(), pixels.float() / 255, tm.rotations(4), measures="NV")
    np.testing.assert_array_equal(one["layers/4/NV"].values, other["layers/4/NV"].values)
    double = network().double()
    tree = tm.measure(double, images(), tm.rotations(4), measures=EVERY)
    assert tree["layers/4/NV"].dtype == np.float64
    assert_agrees(tree, cube(double, images(), tm.rotations(4)), EVERY, 1e-10)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_networks(dtype):
    model = network().to(dtype)
    tree = tm.measure(model, images(), tm.rotations(4), measures="NV")
    cubes = {k: v.astype(np.float64) for k, v in _half_cube(model).items()}
    assert_agrees(tree, cubes, ["NV"], 2e-2)
    assert tree["layers/4/NV"].dtype == np.float32


def _half_cube(model):
    (tile,) = tm.walk(model, images(), tm.rotations(4), batch_size=1000)
    return {name: values.float().numpy() for name, values in tile.values.items()}


def test_activations_that_are_not_finite_are_counted_and_warned_of_once():
    class Log(nn.Module):
        def forward(self, x):
            return torch.log(x.flatten(1) - 0.02)  # NaN under the fill of a rotation

    model = nn.Sequential(Log(), nn.Tanh())
    with pytest.warns(tm.TMeasuresWarning, match="activations of layer '0'") as caught:
        tree = tm.measure(model, images(), tm.rotations(8), measures=EVERY)
    assert len(caught) == 1
    table = tm.summary(tree)
    bad = int(table.NV_nan.sel(layer="0"))
    assert 0 < bad < 64
    values = tree["layers/0"]
    for name in ("TV", "SV", "NV", "ANOVA_F", "ANOVA_p", "ANOVA_paired_F", "ANOVA_paired_p"):
        assert int(np.isnan(values[name]).sum()) == bad
    assert not values["ANOVA_rejected"].values[np.isnan(values["NV"])].any()
    assert values["ANOVA_rejected"].attrs["k"] == int((table.NV_finite + table.NV_infinite).sum())


def test_dead_and_rounding_units_are_marked():
    class Odd(nn.Module):
        def forward(self, x):
            constant = torch.full_like(x[:, 0, 0, :1], 0.1)
            sums = torch.stack([x[:, 0].sum(1).sum(1), x[:, 0].sum(2).sum(1)], 1)
            return torch.cat([constant, sums], 1)

    tree = tm.measure(Odd(), images(), tm.rotations(4), measures=["NV", "TV"])
    layer = tree["layers/output"]
    # sums over turned squares are the same but for rounding
    assert layer["status"].values.tolist() == [1, 4, 4]
    assert layer["NV"].values[0] == 1
    table = tm.summary(tree)
    assert int(table.NV_dead[0]) == 1
    assert int(table.NV_below_rounding[0]) == 2


ROUNDING = (16 * 2.0**-23) ** 2  # of a variance, where the largest activation is 1


@pytest.mark.parametrize(
    ("values", "bits"),
    [
        ({"rows": 0, "columns": 0, "between": 0}, DEAD),
        ({"rows": 0, "columns": 5, "between": 0}, 0),
        ({"rows": 5, "columns": 0, "between": 5}, 0),
        ({"rows": 0, "row_means": 0}, DEAD),
        ({"rows": 0, "row_means": 5}, 0),
        ({"columns": 0, "between": 0}, DEAD),
        ({"columns": 0, "between": 5}, 0),
        ({"rows": 0.99 * 12 * ROUNDING, "row_means": 5}, TV_BELOW_ROUNDING),
        ({"rows": 1.01 * 12 * ROUNDING, "row_means": 5}, 0),
        ({"columns": 0.99 * 10 * ROUNDING, "between": 5}, SV_BELOW_ROUNDING),
        ({"columns": 1.01 * 10 * ROUNDING, "between": 5}, 0),
        ({"rows": np.nan, "row_means": 0}, NOT_FINITE),
        ({"rows": 0, "row_means": 0, "largest": np.inf}, NOT_FINITE),
        ({"rows": 5, "row_means": 5, "largest": np.inf}, NOT_FINITE),
    ],
)
def test_status_of_three_samples_and_five_transformations(values, bits):
    arrays = {name: np.array([value]) for name, value in ({"largest": 1.0} | values).items()}
    status, bad = engine._status(arrays, 3, 5, 2.0**-23)
    assert status.tolist() == [bits]
    assert bad.tolist() == [bits == NOT_FINITE]


def test_any_measure_is_nan_where_an_activation_was_not_finite():
    class Largest(tm.Measure):
        """The largest activation."""

        short = "MAX"
        needs = frozenset({"rows"})

        def finalize(self, quantities):
            return {"MAX": tm.Field(quantities["largest"], "1", "largest", "here")}

        def reference(self, cube):
            return {"MAX": np.abs(cube).max((0, 1))}

    samples = torch.ones(3, 2)
    samples[1, 0] = torch.inf
    with pytest.warns(tm.TMeasuresWarning, match="1 of the activations of layer 'output'"):
        tree = tm.measure(nn.ReLU(), samples, [lambda x: x, lambda x: 2 * x], measures=Largest())
    np.testing.assert_array_equal(tree["layers/output/MAX"], [np.nan, 2])


def test_a_walk_gives_what_a_layer_gave_before_the_next_one_changed_it():
    model = nn.Sequential(network()[0], nn.ReLU(inplace=True))
    for tile in tm.walk(model, images(), tm.rotations(4)):
        assert tile.values["0"].min() < 0
        torch.testing.assert_close(tile.values["0"].relu(), tile.values["1"])


# ------------------------------------------------------------------------------------- plans


def test_a_plan_prints_what_it_does_and_comes_back_from_the_result():
    arguments = {"measures": "NV", "memory": "200KB"}
    plan = tm.explain(network(), images(), tm.rotations(64), **arguments)
    text = str(plan)
    for part in ("Sequential: NV", "11 samples x 64", "1,408 through the network", "pass 2", "why"):
        assert part in text
    tree = tm.measure(network(), images(), tm.rotations(64), **arguments)
    assert Plan.from_json(tree.attrs["plan"]) == plan
    again = tm.measure(network(), images(), tm.rotations(64), measures="NV", plan=plan)
    assert again.attrs["plan"] == tree.attrs["plan"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"samples": images(10)}, "samples and transformations"),
        ({"measures": "ANOVA"}, "other measures"),
        ({"layers": "0"}, "other layers"),
        ({"measures": tm.TransformationVariance(spread="std")}, "other spread"),
    ],
)
def test_a_plan_for_something_else_is_refused(change, says):
    arguments = {"samples": images(), "measures": "TV", "layers": None}
    plan = tm.explain(network(), transformations=tm.rotations(4), **arguments)
    with pytest.raises(tm.ArgumentError, match=says):
        tm.measure(network(), transformations=tm.rotations(4), plan=plan, **(arguments | change))


def test_too_little_memory_says_what_would_do():
    with pytest.raises(tm.MemoryLimitError, match="at least") as error:
        tm.explain(network(), images(), tm.rotations(16), measures="NV", memory=1000)
    words = str(error.value).split("at least ")[1].split(" for")[0]
    plan = tm.explain(network(), images(), tm.rotations(16), measures="NV", memory=words)
    assert plan.state_bytes + plan.tile_bytes <= memory_limit(words, torch.device("cpu"))


@given(st.integers(1, 600), st.integers(1, 300), st.integers(1, 5000))
def test_tiles_are_within_the_batch_and_the_matrix(batch, n, m):
    s, t = tile_shape(batch, n, m)
    assert 1 <= s <= n
    assert 1 <= t <= m
    assert s * t <= batch
    if min(batch, n) >= 8 and m * 8 <= batch:
        assert t == min(m, 64)  # whole rows where 8 of them fit
    if batch >= 64 and n >= 16 and m > 256:
        assert s >= 8


@pytest.mark.parametrize(
    ("batch", "n", "m", "shape"),
    [
        (512, 1000, 60, (8, 60)),  # 8 whole rows
        (1000, 1000, 100, (15, 64)),  # 64 columns at most
        (256, 17, 257, (15, 16)),  # 16 rows would leave a tile of a single input
        (256, 17, 256, (16, 16)),
    ],
)
def test_tiles_worked_out_by_hand(batch, n, m, shape):
    assert tile_shape(batch, n, m) == shape


def problem(**changes):
    """10 activations; a tile of k inputs takes 1.3 (10,000 + 1,300 k) bytes."""
    given = {
        "network": "Net",
        "measures": ("NV",),
        "needs": frozenset({"rows", "columns"}),
        "layers": [Layer("0", (10,), ("unit",), torch.float32, "Linear")],
        "n": 100,
        "m": 50,
        "probe": Probe(1000, 10_000),
        "input_bytes": 100,
        "result_bytes": 13,
        "memory": 10**9,
        "batch_size": None,
        "device": "cpu",
        "iterable": False,
    }
    return Problem(**(given | changes))


def shapes_of(plan):
    return [(p.order, p.samples, p.transformations, p.columns) for p in plan.passes]


def test_bytes_of_a_plan_worked_out_by_hand():
    plan = choose(problem())
    assert shapes_of(plan) == [("sample", 16, 16, 50)]
    # columns, numbers of each activation, open rows
    assert plan.state_bytes == 10 * (50 * 12 + 28 + 16 * 6 * 8)
    assert plan.tile_bytes == int(1.3 * (10_000 + 256 * 1300))
    assert plan.result_bytes == 130
    assert plan.bytes == plan.state_bytes + plan.tile_bytes
    half = Layer("0", (10,), ("unit",), torch.float16, "Linear")
    assert choose(problem(layers=[half])).state_bytes == plan.state_bytes  # kept in float32
    large = choose(problem(result_bytes=10**6))
    assert large.bytes == large.state_bytes + 10**7


def test_a_plan_takes_the_largest_tile_that_fits_with_its_state():
    whole = choose(problem())
    exact = whole.state_bytes + whole.tile_bytes
    assert choose(problem(memory=exact)).passes == whole.passes
    assert shapes_of(choose(problem(memory=exact - 1))) == [("sample", 11, 11, 50)]
    small = 10 * (4 * 12 + 28) + int(1.3 * (10_000 + 12 * 1300))  # the whole matrix in a tile
    assert shapes_of(choose(problem(n=3, m=4, memory=small))) == [("sample", 3, 4, 4)]


@pytest.mark.parametrize(
    ("device", "megabytes", "shape"),
    [("cpu", 1, (16, 16)), ("cpu", 10, (11, 11)), ("cpu", 1000, (6, 5)), ("cuda", 10, (10, 50))],
)
def test_a_cpu_takes_128_to_32_inputs_where_256_are_over_2_gib(device, megabytes, shape):
    probe = Probe(megabytes * 10**6, 0)
    (only,) = choose(problem(probe=probe, memory=10**12, device=device)).passes
    assert (only.samples, only.transformations) == shape


@pytest.mark.parametrize("memory", [500_000, 625_000])  # the second fits one pass, 4 inputs a tile
def test_two_passes_where_the_columns_do_not_fit(memory):
    plan = choose(problem(m=5000, memory=memory))
    assert shapes_of(plan) == [("sample", 16, 16, 5000), ("transformation", 16, 16, 16)]
    assert plan.state_bytes == 10 * (52 + 16 * 3 * 8) + 10 * (16 * 20 + 52)
    assert (plan.inputs, plan.reads) == (2 * 100 * 5000, 100 + 313 * 100)


def test_columns_alone_go_a_block_at_a_time_unless_the_samples_are_read_once():
    given = {"needs": frozenset({"columns"}), "m": 5000, "memory": 500_000}
    assert shapes_of(choose(problem(**given))) == [("transformation", 16, 16, 16)]
    with pytest.raises(tm.MemoryLimitError, match="read once"):
        choose(problem(**given, iterable=True))


def test_the_least_memory_is_that_of_the_smallest_way():
    with pytest.raises(tm.MemoryLimitError, match=r"at least 15\.8 KiB"):  # two passes, one input
        choose(problem(memory=1000))


@pytest.mark.parametrize("needs", [{"error"}, {"row_deviations"}, {"column_deviations"}])
@pytest.mark.parametrize("m", [50, 5000])
def test_a_plan_is_one_for_its_own_problem(needs, m):
    given = problem(needs=frozenset(needs), m=m, memory=500_000)
    plan = choose(given)
    assert plan.spread is (needs != {"error"})
    assert check(plan, given) is plan


@pytest.mark.parametrize(
    ("text", "count"),
    [("4GiB", 4 * 2**30), ("1.5MB", 1_500_000), (7, 7), ("300", 300), ("2 k", 2000)],
)
def test_memory_in_words(text, count):
    assert memory_limit(text, torch.device("cpu")) == count


@pytest.mark.parametrize("text", ["much", -1, 0, "4 GiBs"])
def test_memory_that_is_no_size(text):
    with pytest.raises(tm.ArgumentError, match="is no size"):
        memory_limit(text, torch.device("cpu"))


MEMORY = """
    import sys, torch, tmeasures as tm
    from torch import nn
    torch.manual_seed(0)
    assert tm.tune_allocator()
    net = nn.Sequential(
        *(nn.Conv2d(1, 24, 3, padding=1), nn.ELU(), nn.Conv2d(24, 32, 3, padding=1), nn.ELU()),
        *(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32 * 32 * 32, 10)),
    )
    def used(field):
        lines = open("/proc/self/status").read().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))
    # everything is loaded and compiled
    tm.measure(net[:2], torch.rand(3, 1, 64, 64), tm.rotations(2))
    arguments = (net, torch.rand(24, 1, 64, 64), tm.rotations(16))
    plan = tm.explain(*arguments, batch_size=32)
    open("/proc/self/clear_refs", "w").write("5")
    before = used("VmRSS")
    tm.measure(*arguments, batch_size=32)
    print(used("VmHWM") - before, plan.bytes)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_the_process_stays_within_the_plan():
    command = [sys.executable, "-c", textwrap.dedent(MEMORY)]
    out = subprocess.run(command, capture_output=True, text=True, check=True)
    peak, planned = map(int, out.stdout.split())
    assert planned / 2 < peak <= 1.2 * planned


@pytest.mark.parametrize("memory", [None, 200_000])
def test_peak_does_not_grow_with_n(memory):
    def peak(n):
        arguments = {"measures": EVERY, "memory": memory, "batch_size": 12}
        return peak_bytes(lambda: tm.measure(network(), images(n), tm.rotations(64), **arguments))

    # What grows is the images, their labels and ids.
    assert peak(40) - peak(10) <= 30 * (images(1).nbytes + 64)


# --------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"samples": images(1)}, "NV needs at least 2 samples and there is 1"),
        ({"transformations": None}, "NV needs at least 2 transformations and there is 1"),
        ({"measures": "XV"}, "measure 'XV' is unknown"),
        ({"layers": "conv"}, "conv"),
        ({"batch_size": 0}, "batch_size=0 cannot be used"),
        ({"transformations": tm.rotations(4)[1]}, "the single <rotation 90°>"),
        ({"transformations": 3}, "transformations is 3"),
        ({"input": "image"}, "names a key"),
        ({"preprocess": lambda x: x[:1]}, "preprocess returned 1 inputs for 2"),
        ({"memory": "lots"}, "no size"),
        ({"transformations": [lambda x: x[1:], lambda x: x]}, "batch"),
        ({"transformations": [abs, lambda x: x + torch.rand_like(x)]}, "random"),
        ({"model": len}, "torch.nn.Module"),
        ({"device": "gpu"}, "device='gpu' is none"),
        ({"device": "cuda:77"}, "device='cuda:77' is none"),
    ],
)
def test_errors_come_before_work(arguments, says):
    seen = []
    model = network()
    model.register_forward_pre_hook(lambda *_: seen.append(1))
    given = {
        "model": model,
        "samples": images(),
        "transformations": tm.rotations(4),
        "measures": "NV",
    }
    with pytest.raises(tm.TMeasuresError, match=says):
        tm.measure(**(given | arguments))
    assert len(seen) <= 2  # the probe at most


def test_items_of_unequal_shape():
    samples = [torch.rand(1, 8, 8), torch.rand(1, 9, 8)]
    with pytest.raises(tm.SampleError, match=r"\(1, 8, 8\)|\(1, 9, 8\)"):
        tm.measure(network(), samples, tm.rotations(4))


def test_mappings_with_several_images_ask_which():
    samples = {"left": images(), "right": images()}
    with pytest.raises(tm.ArgumentError, match="say which tensor"):
        tm.measure(network(), samples, tm.rotations(4))
    with pytest.raises(tm.ArgumentError, match="name one of these"):
        tm.measure(network(), samples, tm.rotations(4), input="middle")


def test_a_model_that_raises_midway_is_given_back_and_says_where():
    class Late(nn.Module):
        calls = 0

        def forward(self, x):
            Late.calls += 1
            if Late.calls > 4:
                raise RuntimeError("out of luck")
            return x

    model = nn.Sequential(nn.Conv2d(1, 2, 3), Late()).train()
    with pytest.raises(RuntimeError, match="out of luck") as error:
        tm.measure(model, images(), tm.rotations(4), batch_size=4)
    assert any("'1'" in note for note in error.value.__notes__)
    assert model.training
    assert model[0].training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_two_measures_of_one_name_are_refused():
    with pytest.raises(tm.ArgumentError, match="ANOVA_F"):
        tm.measure(network(), images(), tm.rotations(4), measures=["ANOVA", tm.Anova(alpha=0.01)])


def test_progress_is_silent_away_from_a_terminal_and_counts_inputs_on_one(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for stream, progress, speaks in (
        (io.StringIO(), True, False),
        (Terminal(), False, False),
        (Terminal(), True, True),
    ):
        monkeypatch.setattr(sys, "stderr", stream)
        tm.measure(network(), images(), tm.rotations(4), measures="NV", progress=progress)
        text = stream.getvalue()
        assert ("Sequential, pass 1/1" in text and "44.0/44.0" in text) is speaks, text


def test_a_measure_of_ones_own_is_one_class():
    class Range(tm.Measure):
        """Largest activation over the deviation between samples."""

        short = "LOUD"
        least = (2, 1)
        needs = frozenset({"columns", "largest"})

        def finalize(self, quantities):
            spread = np.sqrt(quantities["columns"] / (quantities.m * (quantities.n - 1)))
            return {"LOUD": tm.Field(quantities["largest"] / spread, "1", "loudness", "here")}

        def reference(self, cube):
            return {"LOUD": np.abs(cube).max((0, 1)) / np.sqrt(cube.var(0, ddof=1).mean(0))}

    tree = tm.measure(network(), images(), tm.rotations(4), measures=["TV", Range()])
    assert_agrees(tree, cube(network(), images(), tm.rotations(4)), [Range()], 1e-4)


def test_a_network_with_one_number_per_input(tmp_path):
    class Score(nn.Module):
        def forward(self, x):
            return x.sum((1, 2, 3))

    tree = tm.measure(Score(), images(), tm.rotations(5), measures=EVERY)
    assert tree["layers/output/NV"].dims == ()
    assert_agrees(tree, cube(Score(), images(), tm.rotations(5)), EVERY, 1e-4)
    tm.save(tree, tmp_path / "score.nc")
    assert tm.open(tmp_path / "score.nc").identical(tree)
    assert tm.plots.heatmap(tree, "NV").axes


THREADS = """
    import torch, tmeasures as tm
    torch.set_num_threads(1)
    seen = []
    model = torch.nn.Conv2d(1, 32, 3)
    model.register_forward_hook(lambda *_: seen.append(torch.get_num_threads()))
    tm.measure(model, torch.rand(200, 1, 16, 16), tm.rotations(4), measures="NV")
    assert set(seen) == {1}, seen
    assert torch.get_num_threads() == 1
"""


def test_the_number_of_threads_stays_what_it_was():
    subprocess.run([sys.executable, "-c", textwrap.dedent(THREADS)], check=True)


def test_two_walks_at_once_and_training_between_tiles():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).train()
    mean = model[1].running_mean.clone()
    arguments = (model, images(), tm.rotations(4))
    first = tm.walk(*arguments, batch_size=8)
    second = tm.walk(*arguments, order="transformation", batch_size=8)
    for one, other in zip(first, second, strict=False):
        assert one.values.keys() == other.values.keys()
        assert model.training
        model.train()
        first.close()
    second.close()
    assert model.training
    assert model[1].training
    assert torch.equal(model[1].running_mean, mean)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize("width", range(3, 12))
def test_the_advice_on_memory_works(width):
    arguments = (nn.Linear(64, width), torch.rand(20, 64), [abs, torch.relu])
    with pytest.raises(tm.MemoryLimitError) as error:
        tm.explain(*arguments, memory=100)
    advised = str(error.value).split("at least ")[1].split(" for")[0]
    tm.explain(*arguments, memory=advised)
    with pytest.raises(tm.MemoryLimitError, match="smaller batch_size"):
        tm.explain(*arguments, memory=100, batch_size=40)


def test_iterable_data_sets_are_refused_where_they_would_be_read_twice():
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(images())

        def __len__(self):
            return 11

    sets = tm.rotations(64)
    plan = tm.explain(network(), images(), sets, measures="NV", memory=200_000, batch_size=8)
    assert len(plan.passes) == 2
    with pytest.raises(tm.ArgumentError, match="serves one reading"):
        tm.measure(network(), Stream(), sets, measures="NV", plan=plan)
    with pytest.raises(tm.ArgumentError, match="reads the samples 8 times"):
        tm.walk(network(), Stream(), sets, order="transformation", batch_size=64)


def test_text_in_mapping_items_goes_to_the_model():
    class Named:
        def run(self, batch):
            assert len(batch["name"]) == len(batch["image"])
            return {"mean": batch["image"].mean((2, 3))}

    samples = {"name": list("abcdefghijk"), "image": images()}
    samples = [{"name": n, "image": x} for n, x in zip(*samples.values(), strict=True)]
    assert "mean" in tm.measure(Named(), samples, tm.rotations(4), measures="NV")["layers"]
    call = {"call": lambda model, batch: model(batch["image"])}
    tree = tm.measure(network(), samples, tm.rotations(4), measures="NV", **call)
    assert "0" in tree["layers"]


def test_a_reused_plan_does_not_falsify_the_record():
    plan = tm.explain(network(), images(), tm.rotations(4))
    tree = tm.measure(network(), images(), tm.rotations(4), measures="TV", plan=plan)
    assert tree.attrs["measures"] == '["TV"]'
    with pytest.raises(tm.ArgumentError, match="leave batch_size="):
        tm.measure(network(), images(), tm.rotations(4), plan=plan, batch_size=4)


def test_activations_too_large_to_square_are_said_to_be_so():
    huge = torch.tensor([[1e200], [-1e200], [3.0]], dtype=torch.float64)
    with pytest.warns(tm.TMeasuresWarning, match="too large to square") as caught:
        tree = tm.measure(nn.ReLU(), huge, measures=["SV"])
    assert np.isnan(tree["layers/output/SV"].values).all()
    assert caught[0].filename == __file__  # the line that called


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"measures": tm.NormalizedVariance}, r"give NormalizedVariance\(\)"),
        ({"measures": 5}, "5 is no measure"),
        ({"plan": "x"}, "plan is 'x'"),
        ({"call": "x"}, "call is 'x'"),
        ({"preprocess": lambda x: (x, x)}, "preprocess returned a tuple"),
    ],
)
def test_more_slips_are_one_sentence(arguments, says):
    given = {"measures": "NV"} | arguments
    with pytest.raises(tm.ArgumentError, match=says):
        tm.measure(network(), images(), tm.rotations(4), **given)


def test_slips_in_a_measure_of_ones_own():
    class Odd(tm.Measure):
        short = "ODD"
        needs = frozenset({"rows"})
        reads, shape = "rows", slice(None)

        def finalize(self, quantities):
            return {"ODD": tm.Field(quantities[self.reads][self.shape], "1", "odd", "here")}

        def reference(self, cube):
            return {}

    arguments = (network(), images(), tm.rotations(4))
    for change, says in (
        ({"needs": frozenset({"foo"})}, "needs foo, which no statistic gives"),
        ({"reads": "columns"}, "quantity 'columns' was not kept"),
        ({"shape": 0}, r"made ODD of shape \(\) for one unit"),
    ):
        with pytest.raises(tm.ArgumentError, match=says):
            tm.measure(*arguments, measures=type("Odd", (Odd,), change)())


def test_a_generator_of_callables_and_a_list_of_transformations():
    found = tm.measure(network(), images(), (f for f in (abs, torch.relu)), measures="TV")
    assert found["transformations"].sizes["transformation"] == 2
    two = [tm.rotations(4)[0], tm.rotations(4)[1]]
    tree = tm.measure(network(), images(), two, measures="TV")
    assert tree["transformations/names"].values.tolist() == [t.name for t in two]
    assert tree["transformations/angle"].values.tolist() == [0, 90]
