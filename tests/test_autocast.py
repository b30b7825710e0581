"""Forwards in lower precision: what becomes of layers, statistics and plans."""

import numpy as np
import pytest
import torch
from torch import nn

import tmeasures as tm
from cubes import EVERY, cube, images, network
from small_models import Model
from tmeasures import formats, forwards
from tmeasures.capture import Layer, Probe
from tmeasures.fields import SV_BELOW_ROUNDING, TV_BELOW_ROUNDING
from tmeasures.measures import resolve
from tmeasures.plan import Plan
from tmeasures.planning import Problem, Wanted, choose
from tmeasures.statistics.memory import MemoryOrder

ROTATIONS = tm.rotations(4)


def lowered(model, n=11):
    """Every layer's cube under autocast, (sample, transformation, *unit)."""

    def call(model, x):
        with torch.autocast("cpu", torch.bfloat16):
            found = {}
            for name, module in model.named_children():
                x = module(x)
                found[name] = x.float()
            return found

    found = cube(model, images(n), ROTATIONS, layers="output.*", call=call)
    return {name.removeprefix("output."): values for name, values in found.items()}


@pytest.mark.parametrize("memory_format", ["preserve", "channels_last"])
def test_measures_are_those_of_the_lower_activations(memory_format):
    model = network()
    arguments = {"autocast": "bfloat16", "memory_format": memory_format, "batch_size": 44}
    tree = tm.measure(model, images(), ROTATIONS, measures=EVERY, **arguments)
    cubes = lowered(model)
    tolerance = 1e-6 if memory_format == "preserve" else 2e-2  # convolved in another order
    plain = tm.measure(model, images(), ROTATIONS, measures="TV", batch_size=44)
    for layer in ("0", "1", "2", "4"):
        assert tree[f"layers/{layer}/TV"].dtype == np.float32
        for measure in resolve(["TV", "SV", "TD", "SD"]):
            for name, expected in measure.reference(cubes[layer]).items():
                found = tree[f"layers/{layer}/{name}"].values
                np.testing.assert_allclose(found, expected, tolerance, 1e-7, err_msg=name)
        one, other = (t[f"layers/{layer}/TV"].values for t in (tree, plain))
        assert not np.array_equal(one, other)
        np.testing.assert_allclose(one, other, 0.1, 1e-4)


def test_layers_have_the_dtype_that_they_return():
    seen = []
    model = network()
    model[0].register_forward_hook(lambda module, args, out: seen.append(out.dtype))
    tree = tm.measure(model, images(), ROTATIONS, autocast="bfloat16")
    assert set(seen) == {torch.bfloat16}
    assert tree.attrs["autocast"] == "bfloat16"
    assert tm.measure(model, images(), ROTATIONS).attrs["autocast"] == "none"
    assert seen[-1] == torch.float32
    assert not torch.is_autocast_enabled("cpu")


def test_nothing_that_reads_outputs_runs_in_lower_precision():
    states = []

    def note(values):
        states.append(torch.is_autocast_enabled("cpu"))
        return values

    def metric(a, b):
        states.append(torch.is_autocast_enabled("cpu"))
        return (a - b).abs()

    model = Model(lambda self, x: note(self.fc(x.flatten(1))), fc=nn.Linear(64, 3))
    distance = tm.TransformationDistance(metric=metric)
    arguments = {"autocast": "bfloat16", "measures": [distance]}
    tm.measure(model, images(), ROTATIONS, layers="output", **arguments)
    assert True in states  # of the forward
    states.clear()
    flat = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    tm.measure(flat, images(), ROTATIONS, activations={"1": note}, **arguments)
    assert set(states) == {False}


def test_a_trial_runs_in_the_precision_of_the_run(monkeypatch):
    states = []
    model = network()
    model[0].register_forward_hook(lambda module, args, out: states.append((len(out), out.dtype)))
    tm.explain(model, images(600), ROTATIONS, autocast="bfloat16")
    assert states.count((8, torch.bfloat16)) == 6
    monkeypatch.setattr(formats, "_ratio", lambda *_: 0.5)
    plan = tm.explain(model, images(600), ROTATIONS, autocast="bfloat16")
    assert (plan.memory_format, plan.autocast) == ("channels_last", "bfloat16")
    assert "autocast to bfloat16" in str(plan)
    assert Plan.from_json(plan.to_json()) == plan


def test_outputs_are_widened_once_for_all_statistics(monkeypatch):
    seen = set()
    tile = MemoryOrder.tile
    monkeypatch.setattr(
        MemoryOrder, "tile", lambda self, values: seen.add(values.dtype) or tile(self, values)
    )
    tm.measure(network(), images(), ROTATIONS, measures=["NV", "TD"], autocast="bfloat16")
    assert seen == {torch.float32}


def test_what_is_below_rounding_is_told_by_the_lower_precision():
    model = nn.Linear(1, 1)
    nn.init.ones_(model.weight)
    nn.init.zeros_(model.bias)
    samples = 1 + torch.arange(8.0)[:, None] / 100
    arguments = {"measures": "NV", "transformations": [lambda x: x, lambda x: 1.02 * x]}
    lower, own = (
        tm.measure(model, samples, autocast=autocast, **arguments)["layers/output/status"].item()
        for autocast in ("bfloat16", None)
    )
    assert lower == TV_BELOW_ROUNDING | SV_BELOW_ROUNDING
    assert own == 0


def test_dtypes_by_name():
    found = [forwards.precision(name) for name in ("bfloat16", "float16", None, "float64")]
    assert found == [torch.bfloat16, torch.float16, None, None]


def test_devices_without_autocast():
    with pytest.raises(tm.ArgumentError, match=r"'bfloat16' on meta.* no autocast; leave it out"):
        forwards.check("preserve", "bfloat16", torch.device("meta"), True)


def test_a_plan_is_for_one_precision():
    plan = tm.explain(network(), images(), ROTATIONS, autocast="bfloat16")
    tm.measure(network(), images(), ROTATIONS, plan=plan, autocast="bfloat16")
    with pytest.raises(tm.ArgumentError, match="other autocast"):
        tm.measure(network(), images(), ROTATIONS, plan=plan)


def test_widened_outputs_are_among_the_bytes_of_a_tile():
    given = {
        "network": "Net", "wanted": Wanted({"TV": frozenset({"rows"})}), "n": 100, "m": 50,
        "probe": Probe(1000, 10_000), "input_bytes": 100, "result_bytes": 13, "memory": 10**9,
        "batch_size": None, "device": "cpu", "iterable": False,
    }  # fmt: skip
    layers = [
        Layer(str(size), (size,), ("unit",), dtype, "Linear")
        for size, dtype in ((10, torch.bfloat16), (20, torch.bfloat16), (30, torch.float32))
    ]
    plan = choose(Problem(layers=layers, **given))
    (only,) = plan.passes
    inputs = only.samples * only.transformations
    assert plan.tile_bytes == int(1.3 * (10_000 + inputs * (1300 + 4 * 20)))


@pytest.mark.parametrize(
    ("autocast", "says"),
    [
        ("float16", "serves CUDA devices only; give 'bfloat16'"),
        ("bfloat", "did you mean 'bfloat16'"),
        (torch.bfloat16, "give None, 'bfloat16' or 'float16'"),
    ],
)
def test_mistakes(autocast, says):
    with pytest.raises(tm.ArgumentError, match=says):
        tm.measure(network(), images(), ROTATIONS, autocast=autocast)


def test_only_torch_modules_run_in_lower_precision():
    class Arrays:
        def run(self, batch):
            return {"a": batch}

    with pytest.raises(tm.ArgumentError, match=r"not a torch\.nn\.Module"):
        tm.measure(Arrays(), images(), autocast="bfloat16")
