"""Every problem of the benchmarks runs once, tiny; what is asserted is structure, never a time."""

import json
import math
import mmap
import os
from pathlib import Path

import numba
import numpy as np
import pytest
import torch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
ONE_OF_EACH = {"median", "least", "greatest"}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Tiny pieces of work over several threads wait for each other on a busy machine."""
    before = torch.get_num_threads(), numba.get_num_threads()
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    yield
    torch.set_num_threads(before[0])
    numba.set_num_threads(before[1])


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def test_every_problem_runs_once(tmp_path, capsys):
    from problems import PROBLEMS
    from run import main

    state = torch.get_rng_state()
    assert main(["--quick", "--json", str(tmp_path / "figures.json")]) == 0
    assert torch.equal(torch.get_rng_state(), state)

    found = json.loads((tmp_path / "figures.json").read_text())
    assert {"cpu", "cores", "torch", "numba", "kernels"} <= found["machine"].keys()
    assert [one["name"] for one in found["problems"]] == list(PROBLEMS)
    printed = capsys.readouterr().out
    for one in found["problems"]:
        assert f"\n{one['name']}: " in printed
        (parts,) = one["states"].values()
        assert set(parts) == set(PROBLEMS[one["name"]].parts)
        if "overhead" in parts:
            _check_overhead(parts["overhead"])
            _check_memory(parts["memory"])
            _check_costs(parts["costs"])
        else:
            assert {"TV", "SV", "NV", "ANOVA_F", "ANOVA_p"} <= set(parts["save"]["variables"])
            assert parts["save"]["file"] > parts["save"]["activations"]
            assert parts["save"]["save_s"]["least"] > 0
    for label in (
        "slope",
        "fixed part",
        "kernel alone",
        "peak of measure",
        "ND / forward",
        "tm.save",
    ):
        assert f"  {label}" in printed


def _check_overhead(found):
    figures = {name: value for name, value in found.items() if isinstance(value, dict)}
    for name, value in figures.items():
        assert value.keys() == ONE_OF_EACH, name
        assert all(map(math.isfinite, value.values())), name
        assert value["least"] <= value["median"] <= value["greatest"], name
    fixed = {
        "slope",
        "fixed_s",
        "fixed_s_per_million",
    }  # differences: of any sign where all is tiny
    assert all(value["least"] > 0 for name, value in figures.items() if name not in fixed)
    assert found["activations"] > 10_000
    assert found["tile"] == [2, 4]
    assert found["rounds"] >= 1


def _check_costs(found):
    from problems import COSTS

    assert found["ratios"].keys() == found["passes"].keys() == COSTS.keys()
    for name, value in found["ratios"].items():
        assert 0 < value["least"] <= value["median"] <= value["greatest"], name
    assert "firing" in found["passes"]["all"][-1]


def _check_memory(found):
    for one in found.values():
        assert one["plan"] > 0
        assert one["n"] is None or 0 <= one["n"] <= one["4n"]


def test_figures_of_a_round_tell_fixed_part_and_slope_apart():
    """T(n) = 2 + 3 n f beside F(n) = n f has slope 3 and fixed part 2, whatever n and f."""
    from measurements import _overhead
    from problems import PROBLEMS, Workload

    work = Workload(PROBLEMS["simple_conv"].quick(), "cpu")
    n, f = work.problem.n, 0.25
    times = {
        "measure n": [2 + 3 * n * f],
        "forward n": [n * f],
        "forward 4n": [4 * n * f],
        "measure 4n": [2 + 12 * n * f],
    }
    found = _overhead(times, work)
    assert found["slope"] == pytest.approx([3])
    assert found["fixed_s"] == pytest.approx([2])
    assert found["fixed_s_per_million"] == pytest.approx([2e6 / work.units])
    assert found["ratio_n"] == pytest.approx([3 + 2 / (n * f)])
    assert found["activations_per_s"] == pytest.approx([4 * n * 4 * work.units / (2 + 12 * n * f)])


def test_forward_takes_the_inputs_of_measure():
    """The bare forward sees as many inputs as the hooks do, at n and at 4n."""
    from problems import PROBLEMS, Workload

    work = Workload(PROBLEMS["simple_conv"].quick(), "cpu")
    assert work.plan.inputs == work.problem.n * work.problem.m  # probes the network
    seen = []
    work.model.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    for n in work.problem.sizes:
        seen.clear()
        work.forward(n)
        assert sum(seen) == n * work.problem.m
        assert set(seen) == {8}


def test_busy_rounds_are_dropped(monkeypatch):
    import measurements
    from problems import PROBLEMS

    busy = iter([0.0] * 4 + [0.0, 0.5, 0.0, 0.0] + [0.0] * 4 + [0.5, 0.0])
    monkeypatch.setattr(measurements, "timed", lambda call, device: (1.0, next(busy)))
    monkeypatch.setattr(measurements, "_overhead", lambda times, work: dict(times))
    monkeypatch.setattr(measurements, "_parts", lambda *_: {})
    found = measurements.overhead(PROBLEMS["simple_conv"].quick(), "cpu", 2, False)
    assert (found["rounds"], found["dropped"], found["quiet"]) == (2, 1, True)
    assert found["parts_quiet"]
    assert next(busy, None) is None


def test_cpu_time_of_others_leaves_out_idle_cores_and_this_process(tmp_path, monkeypatch):
    import machine

    tick = os.sysconf("SC_CLK_TCK")
    seconds = {"user": 7, "nice": 1, "system": 2, "idle": 500, "wait": 90, "irq": 1, "soft": 1}
    line = " ".join(str(s * tick) for s in [*seconds.values(), 3, 0, 0])
    (tmp_path / "stat").write_text(f"cpu  {line}\ncpu0 {line}\n")
    monkeypatch.setattr(machine, "_PROC", tmp_path)
    monkeypatch.setattr(machine.time, "process_time", lambda: 4.5)
    assert machine.other_cpu_seconds() == 7 + 1 + 2 + 1 + 1 + 3 - 4.5


def test_peak_sees_a_large_array():
    from machine import Peak

    peak = Peak(torch.device("cpu"))
    if peak.bytes() is None:
        pytest.skip("no /proc/self/status")
    # Not from the heap, which may hold as much from before.
    np.frombuffer(mmap.mmap(-1, 2**28), np.uint8)[:] = 1
    assert 0.9 * 2**28 < peak.bytes() < 1.5 * 2**28
