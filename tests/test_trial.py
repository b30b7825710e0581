"""Seconds that a trial predicts, by a clock that the network moves."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import tmeasures as tm
from cubes import images, network
from small_models import assert_no_hooks
from tmeasures import cli, rehearsal
from tmeasures.capture import Network
from tmeasures.plan import Plan

PROBED = 2 + 3


@pytest.fixture
def clock(monkeypatch):
    """A second passes for each input of the network `ticking`, and none otherwise."""
    found = SimpleNamespace(now=0.0, forwards=0)
    monkeypatch.setattr(rehearsal, "time", SimpleNamespace(perf_counter=lambda: found.now))
    return found


def ticking(clock):
    def tick(module, args):
        clock.now += len(args[0])
        clock.forwards += 1

    model = network()
    model[0].register_forward_pre_hook(tick)
    return model


WAYS = {
    "whole rows": (100, 4, {}),
    "one tile": (5, 4, {}),
    "a last tile of its own size": (135, 4, {"batch_size": 64}),
    "open rows": (100, 64, {"batch_size": 40}),
    "several thousand columns": (20, 1000, {"batch_size": 64}),
    "two orders": (60, 64, {"memory": "200KB", "measures": "NV"}),
    "all": (70, 12, {"measures": "all"}),
    "all, rows open": (70, 12, {"measures": "all", "batch_size": 16}),
    "the identity in the middle": (40, 12, {"measures": "GF", "batch_size": 8, "shift": 5}),
    "distances in blocks of layers": (40, 12, {"measures": ["TD", "SD"], "memory": 120_000}),
    "classes": (90, 4, {"measures": ["NV", "GF"], "stratify": "each", "batch_size": 16}),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_trial_adds_up_what_each_tile_takes(way, clock):
    n, m, arguments = WAYS[way]
    arguments = arguments | {"memory_format": "preserve"}
    shift = arguments.pop("shift", 0)
    turns = tm.rotations([360 / m * (j - shift) for j in range(m)])
    if "stratify" in arguments:
        arguments["labels"] = [min(i % 4, 2) for i in range(n)]  # a class of twice as many
    model = ticking(clock)
    plan = tm.explain(model, images(n), turns, trial=True, **arguments)
    assert plan.seconds == pytest.approx(plan.inputs + PROBED)
    ran, clock.forwards = clock.forwards, 0
    assert tm.explain(model, images(n), turns, **arguments).seconds is None
    assert clock.forwards == 2
    strata = len(plan.strata) or 1
    most = sum((1 if p.prelude else strata) * (5 if p.blocks(m) == 1 else 12) for p in plan.passes)
    assert ran <= 3 * 2 + 1.5 * most
    model[0]._forward_pre_hooks.clear()
    assert_no_hooks(model)
    again = arguments | {"batch_size": None, "memory": None, "memory_format": "auto"}
    tree = tm.measure(network(), images(n), turns, plan=plan, **again)
    assert Plan.from_json(tree.attrs["plan"]) == plan


def test_what_compiles_counts_nothing(clock):
    model = ticking(clock)

    def compile_once(module, args):
        if len(args[0]) > 3:
            clock.now += 1000
            compiles.remove()

    compiles = model[2].register_forward_pre_hook(compile_once)
    plan = tm.explain(model, images(40), tm.rotations(4), trial=True)
    assert plan.seconds == pytest.approx(plan.inputs + PROBED)


def test_making_the_result_counts(clock, monkeypatch):
    made = rehearsal.result_of

    def slowly(*given):
        clock.now += 70
        return made(*given)

    monkeypatch.setattr(rehearsal, "result_of", slowly)
    plan = tm.explain(ticking(clock), images(40), tm.rotations(4), trial=True)
    assert plan.seconds == pytest.approx(plan.inputs + PROBED + 70)


def test_a_device_is_waited_for(clock, monkeypatch):
    asked = SimpleNamespace(now=0.0, forwards=0)  # what the device has still to do

    def wait(network):
        clock.now += asked.now
        asked.now = 0.0

    monkeypatch.setattr(Network, "wait", wait)
    plan = tm.explain(ticking(asked), images(100), tm.rotations(4), trial=True, batch_size=64)
    assert plan.seconds == pytest.approx(plan.inputs + PROBED)


def test_the_first_tile_of_a_row_counts_for_itself_alone(clock):
    def slow(x):
        clock.now += 100
        return x

    given = ticking(clock), images(24), [slow, *[abs] * 31]
    plan = tm.explain(*given, trial=True, batch_size=64)
    assert plan.passes[0].blocks(32) == 4
    started = clock.now
    tm.measure(*given, plan=plan)
    assert plan.seconds == pytest.approx(clock.now - started)


def test_seconds_are_printed_and_what_else_a_plan_says_stays():
    given = (network(), images(), tm.rotations(4))
    plain, tried = (tm.explain(*given, trial=trial) for trial in (False, True))
    assert tried.seconds > 0
    assert "  seconds  " in str(tried)
    assert "  seconds  " not in str(plain)
    assert tried.passes == plain.passes
    assert tried.why == plain.why


def test_samples_that_serve_one_reading_are_not_tried():
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(images(20))

    with pytest.raises(tm.ArgumentError, match="trial=True for an iterable data set"):
        tm.explain(network(), Stream(), tm.rotations(4), trial=True)


def test_measures_may_come_from_a_generator():
    measures = (name for name in ("TV", "NV"))
    plan = tm.explain(nn.Flatten(), images(), tm.rotations(4), measures=measures, trial=True)
    assert plan.measures == ("TV", "NV")
    assert plan.seconds > 0


def test_the_command_line_tries_too(folder):
    (folder / "net.py").write_text(
        "import torch\n\n\ndef network():\n    return torch.nn.Conv2d(1, 2, 3)\n"
    )
    np.save(folder / "x.npy", np.zeros((12, 1, 6, 6), np.float32))
    given = "explain --model net.py:network --samples x.npy --transformations rotation:4"

    def run(options):
        found = CliRunner().invoke(cli.app, f"{given} {options}".split(), prog_name="tmeasures")
        return found.exit_code, found.output

    code, text = run("--trial --memory-format channels_last --autocast bfloat16")
    assert code == 0, text
    assert "channels last, autocast to bfloat16" in text
    assert "by a trial" in text
    assert "by a trial" not in run("")[1]
    assert run("--autocast float16") == (
        2, "tmeasures: --autocast float16 on cpu, which serves CUDA devices only; give 'bfloat16'\n"
    )  # fmt: skip
