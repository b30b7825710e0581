"""Channels-last order: what it changes, what it gives back, and how it is chosen."""

import numpy as np
import pytest
import torch
from torch import nn

import tmeasures as tm
from cubes import EVERY, cube, images, network
from small_models import Model, assert_no_hooks
from tmeasures import formats
from tmeasures.capture import Network
from tmeasures.forwards import channels_last, convolves, laid_out
from tmeasures.plan import Plan

ROTATIONS = tm.rotations(4)


def convolutions():
    """Weights of 1 and of 16 channels, a tied one, a frozen one, and vectors."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.Conv2d(16, 16, 3), nn.Flatten(),
        nn.Linear(64, 3),
    )  # fmt: skip
    model[3].weight = model[2].weight
    model[0].weight.requires_grad_(False)
    return model


def memory_of(model):
    return {
        name: (p.data_ptr(), p.untyped_storage().data_ptr(), p.stride(), p.detach().clone())
        for name, p in model.named_parameters(remove_duplicate=False)
    }


def assert_same_memory(model, before):
    for name, (*where, values) in memory_of(model).items():
        assert where == list(before[name][:3]), name
        assert torch.equal(values, before[name][3])
    assert_no_hooks(model)


def watched(model):
    """The order in which each forward of a model found its inputs and its third layer's weight."""
    seen = []

    def note(module, args):
        seen.append((args[0].stride()[1] == 1, module.weight.stride()[1] == 1))

    model[2].register_forward_pre_hook(note)
    return seen


@pytest.mark.parametrize("fails", [False, True])
def test_weights_have_the_same_memory_afterwards(fails):
    model, shared = convolutions(), []
    shared.append(model[2].weight.data)  # somebody else's, with the same memory
    before, seen = memory_of(model), watched(model)
    arguments = {"memory_format": "channels_last", "measures": "NV"}
    if fails:
        arguments["call"] = lambda model, x: model(x) if len(x) < 5 else 1 / 0
        with pytest.raises(ZeroDivisionError):
            tm.measure(model, images(), ROTATIONS, **arguments)
    else:
        tm.measure(model, images(), ROTATIONS, **arguments)
    assert set(seen) == {(True, True)}
    model[2]._forward_pre_hooks.clear()
    assert_same_memory(model, before)
    assert shared[0].data_ptr() == model[2].weight.data_ptr()


def test_preserve_leaves_what_lies_channels_last():
    model = convolutions().to(memory_format=torch.channels_last)
    before, seen = memory_of(model), watched(model)
    tm.measure(model, images(), ROTATIONS, memory_format="preserve")
    assert set(seen) == {(True, True)}
    model[2]._forward_pre_hooks.clear()
    assert_same_memory(model, before)


def test_overlapping_sessions_leave_the_weights_as_they_were():
    model = convolutions()
    before = memory_of(model)
    first, second = (Network(model).session("channels_last") for _ in range(2))
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    second.__exit__(None, None, None)
    assert_same_memory(model, before)


def test_what_a_module_writes_into_its_weights_is_kept():
    conv = nn.Conv2d(4, 4, 3)
    pointer, expected = conv.weight.data_ptr(), conv.weight.detach() + 1
    with channels_last(conv), torch.no_grad():
        conv.weight += 1
    assert conv.weight.data_ptr() == pointer
    assert torch.equal(conv.weight, expected)


def test_mappings_and_volumes_are_laid_out():
    volume, image, vector = torch.rand(2, 3, 4, 5, 6), torch.rand(2, 1, 4, 5), torch.rand(2, 3)
    found = laid_out({"volume": volume, "image": image, "vector": vector, "name": ["a", "b"]})
    assert found["volume"].stride() == (360, 1, 90, 18, 3)
    assert found["image"].stride() == (20, 1, 5, 1)
    assert found["vector"] is vector
    assert torch.equal(found["volume"], volume)
    conv = nn.Conv3d(3, 2, 3)
    assert convolves(conv, volume)
    assert not convolves(conv, image)
    tree = tm.measure(conv, torch.rand(6, 3, 4, 4, 4), measures="SV", memory_format="channels_last")
    plain = tm.measure(conv, torch.rand(6, 3, 4, 4, 4), measures="SV")
    assert tree["layers/output/SV"].shape == plain["layers/output/SV"].shape == (2, 2, 2, 2)


@pytest.mark.parametrize("kernels", ["numba", "torch"])
@pytest.mark.parametrize("batch_size", [None, 7, 1])
def test_both_orders_agree_with_the_stored_cube(kernels, batch_size, monkeypatch):
    from tmeasures import statistics
    from tmeasures.kernels import backend

    base = statistics.base
    monkeypatch.setattr(base, "backend", lambda device, name=None: backend(device, kernels))
    model = network().double()
    cubes = cube(model, images(), ROTATIONS)
    measures = [*EVERY, tm.NormalizedDistance(vectors=True), "VSE", "DSE", "SSE", "GF"]
    given = {"measures": measures, "batch_size": batch_size}
    found, plain = (
        tm.measure(model, images(), ROTATIONS, memory_format=order, **given)
        for order in ("channels_last", "preserve")
    )
    for name in cubes:
        for variable in plain[f"layers/{name}"].data_vars:
            one, other = (tree[f"layers/{name}/{variable}"].values for tree in (found, plain))
            np.testing.assert_allclose(one, other, 1e-9, 1e-12, err_msg=f"{name} {variable}")
    np.testing.assert_allclose(
        found["layers/0/TV"].values, cubes["0"].var(1, ddof=1).mean(0), rtol=1e-9
    )


def test_a_layer_may_lie_otherwise_in_every_tile():
    """Tiles of 12, 12 and 1 inputs, in orders that turn about."""
    orders = [torch.channels_last, torch.contiguous_format]

    def forward(self, x):
        orders.reverse()
        y = x.expand(-1, 3, -1, -1) * torch.arange(1, 4)[:, None, None]
        return y.transpose(2, 3).contiguous(memory_format=orders[0]).transpose(2, 3)

    model, x = Model(forward), images(25).double()
    expected = x.var(0).expand(3, 8, 8) * torch.tensor([1, 4, 9])[:, None, None]
    for order in ("channels_last", "preserve"):
        tree = tm.measure(model, x, measures="SV", batch_size=12, memory_format=order)
        np.testing.assert_allclose(tree["layers/output/SV"].values, expected, rtol=1e-5)


def chosen(monkeypatch, ratio, n=600, model=None, **arguments):
    counts = []

    def stub(network, inputs):
        counts.append(len(inputs))
        return ratio

    monkeypatch.setattr(formats, "_ratio", stub)
    return tm.explain(model or convolutions(), images(n), ROTATIONS, **arguments), counts


def test_the_faster_order_is_planned_and_followed(monkeypatch):
    plan, counts = chosen(monkeypatch, 0.9)
    assert plan.memory_format == "channels_last"
    assert counts == [8]  # 600 x 4 inputs, of which 6 forwards take 2 %
    assert "0.90 of the time in a trial of 8 inputs" in str(plan)
    assert "channels last" in str(plan)
    assert Plan.from_json(plan.to_json()) == plan
    model = convolutions()
    seen = watched(model)
    trees = [tm.measure(model, images(600), ROTATIONS, plan=plan) for _ in range(2)]
    assert set(seen[2:]) - {(True, True)} == {(False, False)}  # the probe, as it comes
    assert seen.count((True, True)) == 2 * 10  # tiles of 64 x 4
    assert trees[0].attrs["memory_format"] == "channels_last"
    for name in trees[0]["layers"]:
        assert trees[0][f"layers/{name}"].equals(trees[1][f"layers/{name}"])


def test_a_small_gain_is_none(monkeypatch):
    plan, _ = chosen(monkeypatch, 0.96)
    assert plan.memory_format == "preserve"
    assert "0.96 of the time" in str(plan)


def test_a_short_run_has_no_trial(monkeypatch):
    plan, counts = chosen(monkeypatch, 0.5, n=599)
    assert (plan.memory_format, counts) == ("preserve", [])
    assert "2,396 inputs are too few for a trial" in str(plan)


def test_a_trial_takes_32_inputs_at_most_and_no_more_than_a_tile(monkeypatch):
    assert chosen(monkeypatch, 1, n=6000)[1] == [32]
    assert chosen(monkeypatch, 1, n=6000, batch_size=12)[1] == [12]


class Count(torch.utils.data.IterableDataset):
    def __iter__(self):
        return iter(images(20))


def test_only_what_convolves_has_a_trial(monkeypatch):
    flat = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    assert chosen(monkeypatch, 0.5, model=flat)[1] == []
    plan = tm.explain(convolutions(), Count(), ROTATIONS)
    assert "is not known" in str(plan)


def test_a_trial_runs_each_order_three_times_and_leaves_no_trace():
    model = convolutions()
    before, seen = memory_of(model), watched(model)
    plan = tm.explain(model, images(600), ROTATIONS)
    orders = [(False, False)] * 4 + [(True, True)] * 3 + [(False, False)]
    assert seen[: len(orders)] == orders  # two of the probe
    assert "of the time in a trial" in str(plan)
    model[2]._forward_pre_hooks.clear()
    assert_same_memory(model, before)


def test_a_tile_has_the_bytes_of_its_order(monkeypatch):
    auto, _ = chosen(monkeypatch, 0.5)
    plans = {
        order: tm.explain(convolutions(), images(600), ROTATIONS, memory_format=order)
        for order in ("preserve", "channels_last")
    }
    assert auto.tile_bytes == plans["channels_last"].tile_bytes
    # Contiguous, the second convolution of 16 channels copies 6 x 6 maps, and 4 x 4 back.
    assert plans["channels_last"].tile_bytes < plans["preserve"].tile_bytes


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"memory_format": "channel_last"}, "did you mean 'channels_last'"),
        ({"memory_format": None}, "memory_format is None; give 'auto', 'preserve' or"),
    ],
)
def test_mistakes(arguments, says):
    with pytest.raises(tm.ArgumentError, match=says):
        tm.explain(convolutions(), images(), ROTATIONS, **arguments)


def test_orders_are_of_torch_modules_and_of_plans():
    class Arrays:
        def run(self, batch):
            return {"a": batch}

    assert tm.explain(Arrays(), images(600), ROTATIONS).memory_format == "preserve"
    with pytest.raises(tm.ArgumentError, match=r"is not a torch\.nn\.Module"):
        tm.explain(Arrays(), images(), memory_format="channels_last")
    plan = tm.explain(convolutions(), images(), ROTATIONS)
    with pytest.raises(tm.ArgumentError, match="memory_format= out"):
        tm.measure(convolutions(), images(), ROTATIONS, plan=plan, memory_format="preserve")
