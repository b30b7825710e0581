"""A run in sight: the bar, the log, and an interrupted run."""

import io
import logging
import re
import sys
import time
import types

import pytest
import torch

import tmeasures as tm
from small_models import assert_no_hooks
from tmeasures import progress


class Counting(torch.nn.Module):
    """Interrupts as Ctrl-C does, in the forward of a given number."""

    def __init__(self, last):
        super().__init__()
        self.linear = torch.nn.Linear(4, 3)
        self.last = last
        self.forwards = 0

    def forward(self, x):
        self.forwards += 1
        if self.forwards == self.last:
            raise KeyboardInterrupt
        return self.linear(x)


IMAGES = torch.rand(20, 1, 2, 2)


def flat(batch):
    return batch.flatten(1)


def test_an_interrupt_says_what_is_lost_and_gives_the_model_back():
    model = Counting(last=torch.inf).train()
    tm.measure(model, IMAGES, tm.rotations(4), preprocess=flat, batch_size=8)
    probes = model.forwards - 10
    model = Counting(last=probes + 4).train()
    with pytest.raises(KeyboardInterrupt) as caught:
        tm.measure(model, IMAGES, tm.rotations(4), preprocess=flat, batch_size=8)
    (note,) = caught.value.__notes__
    assert note == (
        "stopped in pass 1/1 after 24 of 80 inputs (30 %): their sums are lost and there is no "
        "result; the model is as it was"
    )
    assert model.training
    assert_no_hooks(model)


def test_progress_is_silent_away_from_a_terminal_and_counts_inputs_on_one(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for stream, shown, speaks in (
        (io.StringIO(), True, False),
        (Terminal(), False, False),
        (Terminal(), True, True),
    ):
        monkeypatch.setattr(sys, "stderr", stream)
        tm.measure(torch.nn.ReLU(), IMAGES, tm.rotations(4), measures="NV", progress=shown)
        text = stream.getvalue()
        assert ("ReLU, pass 1/1" in text and "80.0/80.0" in text) is speaks, text


def test_the_log_is_silent_unless_asked(caplog, capsys):
    tm.measure(torch.nn.Flatten(), IMAGES, tm.rotations(4), layers="output")
    assert capsys.readouterr() == ("", "")
    assert not caplog.records


def test_the_log_tells_plan_passes_and_layers_left_out(caplog):
    caplog.set_level(logging.INFO, "tmeasures")
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
    tm.measure(network, IMAGES, tm.rotations(4), batch_size=8)
    said = caplog.text
    assert "20 samples x 4 transformations" in said
    assert "layer '0' is left out" in said
    assert "pass 1/1: sample-first, tiles of 2 x 4, keeps moments" in said
    assert "80 inputs in " in said


@pytest.fixture
def notebook(monkeypatch):
    shell = types.SimpleNamespace(kernel=object(), config={})
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))


def test_notebooks_see_the_bar(notebook, capsys):
    tm.measure(torch.nn.ReLU(), IMAGES, tm.rotations(4), batch_size=8)
    last = capsys.readouterr().err.split("\r")[-1]
    for part in ("ReLU, pass 1/1, tile 10/10", "80.0/80.0", "inputs/s"):
        assert part in last


def test_the_bar_can_be_left_out(notebook, capsys):
    tm.measure(torch.nn.ReLU(), IMAGES, tm.rotations(4), progress=False)
    assert capsys.readouterr().err == ""


def test_pipes_see_no_bar(capsys):
    assert progress.bar("text", "inputs", wanted=True, total=3).disable
    assert capsys.readouterr().err == ""


def test_tiles_of_a_plan_are_those_of_the_run(caplog):
    network = torch.nn.Linear(4, 2)
    plan = tm.explain(network, IMAGES, tm.rotations(7), preprocess=flat, batch_size=6)
    model = Counting(last=torch.inf)
    tm.measure(model, IMAGES, tm.rotations(7), preprocess=flat, batch_size=6)
    with_probes = model.forwards
    model.forwards = 0
    tm.explain(model, IMAGES, tm.rotations(7), preprocess=flat, batch_size=6)
    assert plan.tiles(0) == with_probes - model.forwards


def test_the_log_counts_the_first_tile(caplog):
    caplog.set_level(logging.INFO, "tmeasures")

    class Slow(torch.nn.Linear):
        def forward(self, x):
            time.sleep(0.05)
            return super().forward(x)

    tm.measure(Slow(4, 2), IMAGES, tm.rotations(4), preprocess=flat, batch_size=80)
    (rate,) = re.findall(r"80 inputs in .* s, (\d+) a second", caplog.text)
    assert int(rate) < 80 / 0.05
