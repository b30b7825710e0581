"""The whole run against measures of the stored cube."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from torch import nn

import tmeasures as tm
from cubes import EVERY, MOMENTS, assert_agrees, cube, images, network

SPREADS = [
    tm.TransformationVariance(spread="std"),
    tm.SampleVariance(spread="std"),
    tm.NormalizedVariance(spread="std"),
]


@pytest.mark.parametrize(
    ("memory", "passes"), [(None, ["sample"]), (200_000, ["sample", "transformation"])]
)
@pytest.mark.parametrize("batch_size", [None, 8, 5])
def test_results_are_those_of_the_stored_cube(memory, passes, batch_size):
    transformations = tm.rotations(64)
    arguments = {"measures": MOMENTS + SPREADS, "memory": memory, "batch_size": batch_size}
    plan = tm.explain(network(), images(), transformations, **arguments)
    assert [p.order for p in plan.passes] == passes
    tree = tm.measure(network(), images(), transformations, **arguments)
    assert sorted(tree["samples/ids"].values) == list(range(11))
    assert tree.attrs["n_samples"] == 11
    assert tree.attrs["inputs"] == plan.inputs == 11 * 64 * len(passes)
    # Torch itself differs by a few float32 roundings between batch sizes.
    assert_agrees(tree, cube(network(), images(), transformations), MOMENTS + SPREADS, 2e-4)


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
