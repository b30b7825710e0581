"""Every part of the benchmarks runs once, tiny; what is asserted is structure, never a time."""

import json
import math
import mmap
import os
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
import torch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SPREAD = {"median", "least", "greatest"}

# The library of the other environment, as far as peer.py calls it: its NV, by numpy.
OTHER = """
import torch

class AutoActivationsModule:
    def __init__(self, module, filter):
        self.module = module
        self.activations = [m for m in module.modules() if not list(m.children()) and filter(m)]
        for number, each in enumerate(self.activations):
            each.register_forward_hook(lambda m, i, out, at=number: self.values.update({at: out}))

    def forward_activations(self, batch):
        self.values = {}
        self.module(batch)
        self.values[1] = self.values[1] + 1  # as if the next operation had worked in place
        return [self.values[k] for k in range(len(self.activations))]

class PyTorchMeasureOptions:
    def __init__(self, batch_size, verbose):
        print("whatever a library prints is no answer")

class Found:
    pass

class NormalizedVarianceInvariance:
    @torch.no_grad()
    def eval(self, dataset, transformations, model, o):
        found, rows = Found(), range(len(dataset))
        inputs = torch.stack([t(dataset[i]) for i in rows for t in transformations])
        shape = (len(dataset), len(transformations))
        seen = [v.double().unflatten(0, shape) for v in model.forward_activations(inputs)]
        found.layers = [v.std(1).mean(0) / v.std(0).mean(0) for v in seen]
        return found
"""


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


def quick(tmp_path, *arguments):
    """The figures of a quick run of the command line."""
    from run import main

    state = torch.get_rng_state()
    assert main(["--quick", *arguments, "--json", str(tmp_path / "figures.json")]) == 0
    assert torch.equal(torch.get_rng_state(), state)
    return json.loads((tmp_path / "figures.json").read_text())


def check_spreads(record):
    for name, value in record.items():
        if isinstance(value, dict):
            assert value.keys() == SPREAD, name
            assert all(map(math.isfinite, value.values())), name
            assert value["least"] <= value["median"] <= value["greatest"], name


def test_usual_parts_of_all_problems_end_in_a_table(tmp_path, capsys):
    from parts import USUAL
    from problems import CASES, PROBLEMS

    found = quick(tmp_path, "--markdown", str(tmp_path / "figures.md"))
    assert {"cpu", "cores", "torch", "numba", "kernels", "copy, GB/s"} <= found["machine"].keys()
    expected = {
        (part, problem.name)
        for problem in PROBLEMS.values()
        for part in problem.parts
        if part in USUAL
    }
    assert {(one["part"], one["problem"]) for one in found["records"]} == expected
    for record in found["records"]:
        check_spreads(record)
        if record["part"] in ("overhead", "costs"):
            assert record["batch"] == 32  # all inputs at 4n
            assert record["rounds"] >= 1
            for name in ("seconds", "forward_s", "plain_s", "ratio", "ratio_plain", "gb_per_s"):
                assert record[name]["least"] > 0, name
            assert record["activations"] > 10_000
        if record["part"] == "memory":
            assert record["peak"] is None or 0 <= record["at_n"] <= record["peak"]
            assert record["case"] == "forward" or record["plan"] > 0
        if record["part"] == "save":
            assert {"TV", "SV", "NV", "ANOVA_F", "ANOVA_p"} <= set(record["variables"])
            assert record["file"] > record["activations"]

    table = capsys.readouterr().out.split("\n\n")[-1].splitlines()
    for heading in (
        "network", "measures", "device", "backend", "batch", "seconds", "fixed s", "slope",
        "/ forward", "/ plain forward", "1e6 act/s", "GB/s", "copy GB/s", "peak MiB",
    ):  # fmt: skip
        assert f" {heading} " in f"{table[0]} ", heading
    assert len(table) == 1 + 2 * len(CASES["overhead"] | CASES["costs"])
    assert any(line.startswith("  resnet18     all ") for line in table)
    document = (tmp_path / "figures.md").read_text()
    assert "| network | measures | n | m | device |" in document
    assert "## simple_conv: the parts alone, tuned allocator; 1x12x12" in document


def test_sweeps_are_drawn_and_shown_again(tmp_path, capsys):
    from run import main

    found = quick(tmp_path, "--part", "batch", "--part", "m", "--plots", str(tmp_path))
    batches = [r for r in found["records"] if r["part"] == "batch"]
    assert [(r["problem"], r["batch"]) for r in batches] == [
        ("simple_conv", 1),
        ("simple_conv", 2),
        ("resnet18", 1),
        ("resnet18", 2),
    ]
    assert [r["m"] for r in found["records"] if r["part"] == "m"] == [2, 4]
    for record in found["records"]:
        check_spreads(record)
        assert record["forward_activations_per_s"]["least"] > 0
    pictures = {"batch-simple_conv-tuned", "batch-resnet18-tuned", "m-columns-tuned"}
    assert {path.stem for path in tmp_path.glob("*.png")} == pictures
    for path in tmp_path.glob("*.png"):
        path.unlink()

    capsys.readouterr()
    file = str(tmp_path / "figures.json")
    assert main(["--show", file, file, "--plots", str(tmp_path / "again")]) == 0
    assert {path.stem for path in (tmp_path / "again").iterdir()} == pictures
    assert "columns: transformations, tuned allocator" in capsys.readouterr().out


def test_two_orders_where_the_state_of_one_pass_does_not_fit(tmp_path):
    from problems import PROBLEMS
    from workload import How, Workload

    found = quick(tmp_path, "--part", "beyond")["records"]
    assert [r["case"] for r in found] == ["moments, one pass", "moments, two orders"]
    check_spreads(found[0])

    work = Workload(PROBLEMS["beyond"], How().device)
    one = work.explain(64)
    two = work.explain(64, memory=one.tile_bytes + one.state_bytes // 8)
    assert len(one.passes) == 1
    assert {p.order for p in two.passes} == {"sample", "transformation"}
    grids = work.transformations.kept_bytes(work.samples[:1])
    assert two.state_bytes - grids < one.state_bytes / 30


def test_growth_stands_beside_the_plan(tmp_path, monkeypatch, capsys):
    import growth

    found = quick(tmp_path, "--part", "growth")["records"]
    assert [(r["n"], r["m"]) for r in found] == [(4, 2), (4, 4)]
    for record in found:
        check_spreads(record)
        assert record["plan"] > 0
    capsys.readouterr()

    monkeypatch.setattr(growth, "TOO_LONG", 0)
    _, late = quick(tmp_path, "--part", "growth")["records"]
    assert "over 0 s" in late["left_out"]
    assert "over 0 s" in capsys.readouterr().out


def test_big_networks_print_their_plans(tmp_path, capsys):
    found = quick(tmp_path, "--part", "big")["records"]
    assert [(r["problem"], r["case"]) for r in found] == [
        ("resnet50", "moments"),
        ("resnet50", "moments, pooled"),
        ("vit_b", "moments"),
        ("vit_b", "moments, pooled"),
    ]
    for record in found:
        check_spreads(record)
        assert record["peak_process"] is None or record["peak_process"] > record["peak"]
    assert found[1]["activations"] < found[0]["activations"]
    assert capsys.readouterr().out.count("5.6 GiB allowed for state and tile") == 4


def test_the_other_library_does_the_same_job(tmp_path):
    """Through the real protocol, in a process that finds another library of the name."""
    import parts
    from problems import PROBLEMS
    from workload import How

    (tmp_path / "pytorch.py").write_text(OTHER)
    (tmp_path / "run_peer.py").write_text(
        "import sys, types, importlib.util, importlib.metadata\n"
        f"sys.path.insert(0, {str(BENCHMARKS)!r})\n"
        f"place = {str(tmp_path / 'pytorch.py')!r}\n"
        "spec = importlib.util.spec_from_file_location('pytorch', place)\n"
        "sys.modules['tmeasures'] = other = types.ModuleType('tmeasures')\n"
        "other.pytorch = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(other.pytorch)\n"
        "import peer\n"
        "peer.main(sys.argv[1])\n"
    )
    problem = PROBLEMS["simple_conv"].quick()
    how = How(repeats=1, quick=True, peer=sys.executable)
    (found,) = parts.PARTS["peer"](problem, how, tmp_path / "run_peer.py")
    check_spreads(found)
    assert found["case"] == "NV, spread=std"
    assert found["peer_wrong_layers"] == ["elu1"]
    assert len(found["peer_layers"]) == found["layers"] - 1 == 15
    assert 0 < found["difference"] < 1e-4
    assert found["peer_over_ours"] > 0
    assert found["peer"].startswith("tmeasures ")


def test_a_worker_that_dies_is_named(tmp_path):
    from workers import Worker

    script = tmp_path / "dies.py"
    script.write_text("raise SystemExit(3)")
    with pytest.raises(RuntimeError, match=r"dies\.py ended with status 3 and no answer"):
        Worker(script)


def test_plain_forward_is_read_in_a_process_of_its_own():
    from plain import plain_forward
    from problems import PROBLEMS
    from workload import How

    with plain_forward(PROBLEMS["simple_conv"], How()) as read:
        assert read(1).seconds > 0


def test_networks_are_those_that_they_are_named_for():
    """SimpleConv is the library's; ResNet50 and ViT-B have as many weights as they should."""
    from networks import NETWORKS

    from tmeasures.simple_conv import SimpleConv

    ours, theirs = NETWORKS["simple_conv"]((1, 28, 28)), SimpleConv()
    theirs.load_state_dict(ours.state_dict())
    images = torch.rand(2, 1, 28, 28)
    assert torch.equal(ours(images), theirs(images))
    with torch.device("meta"):
        resnet, vit = (NETWORKS[name]((3, 224, 224)) for name in ("resnet50", "vit_b"))
    assert sum(p.numel() for p in resnet.parameters()) == 25_557_032
    assert sum(p.numel() for p in vit.parameters()) == 86_567_656


def test_figures_of_a_round_tell_fixed_part_and_slope_apart():
    """T(n) = 2 + 3 n f beside F(n) = n f has slope 3 and fixed part 2, whatever n and f."""
    from overhead import ratios
    from problems import PROBLEMS
    from workload import Workload

    work = Workload(PROBLEMS["simple_conv"].quick(), "cpu")
    n, f = work.problem.n, 0.25
    seconds = {
        "forward n": n * f,
        "forward 4n": 4 * n * f,
        "plain 4n": 8 * n * f,
        "moments n": 2 + 3 * n * f,
        "moments 4n": 2 + 12 * n * f,
        "peer_s": 7.0,
    }
    found = ratios("moments", seconds, work)
    assert found["slope"] == pytest.approx(3)
    assert found["fixed_s"] == pytest.approx(2)
    assert found["fixed_s_per_million"] == pytest.approx(2e6 / work.units)
    assert found["ratio_n"] == pytest.approx(3 + 2 / (n * f))
    assert found["ratio_plain"] == pytest.approx(found["ratio"] / 2)
    rate = 4 * n * 4 * work.units / (2 + 12 * n * f)
    assert found["activations_per_s"] == pytest.approx(rate)
    assert found["gb_per_s"] == pytest.approx(4e-9 * rate)
    assert found["peer_s"] == 7


def test_forward_takes_the_inputs_of_measure():
    """The bare forward sees as many inputs as the hooks do, at n and at 4n."""
    from problems import PROBLEMS
    from workload import Workload

    work = Workload(PROBLEMS["simple_conv"].quick(), "cpu")
    assert work.plan.inputs == 4 * work.problem.n * work.problem.m  # probes the network
    seen = []
    work.model.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    for n in work.problem.sizes:
        seen.clear()
        work.forward(n)
        assert sum(seen) == n * work.problem.m
        assert set(seen) == {min(work.batch, sum(seen))}


def test_comparisons_are_dropped_whose_readings_were_not_quiet():
    """Others are busy in the second reading of b: the round of a with it counts, that of b not."""
    from rounds import interleave
    from system import Reading

    order = []

    def reading(name, busy=()):
        def read():
            order.append(name)
            return Reading(float(order.count(name)), 0.5 if order.count(name) in busy else 0.0)

        return read

    calls = {"f": reading("f"), "a": reading("a"), "b": reading("b", busy=(2,))}
    found = interleave(calls, {"a/f": ("f", "a"), "b/f": ("f", "b")}, repeats=2)
    assert "".join(order) == "fab" + "baf" + "fb"  # a has enough after two rounds
    assert found["a/f"].about() == {"rounds": 2, "dropped": 0, "quiet": True}
    assert found["b/f"].about() == {"rounds": 2, "dropped": 1, "quiet": True}
    assert found["b/f"].used == [{"f": 1.0, "b": 1.0}, {"f": 3.0, "b": 3.0}]


def test_noisy_rounds_count_only_where_none_was_quiet():
    from report import rounds
    from rounds import interleave
    from system import Reading

    calls = {"f": lambda: Reading(1.0, 0.5)}
    about = interleave(calls, {"f": ("f",)}, repeats=2)["f"].about()
    assert about == {"rounds": 4, "dropped": 0, "quiet": False}
    assert "not to be trusted" in rounds(about)


def test_cpu_time_of_others_leaves_out_idle_cores_and_this_process(tmp_path, monkeypatch):
    import system

    tick = os.sysconf("SC_CLK_TCK")
    seconds = {"user": 7, "nice": 1, "system": 2, "idle": 500, "wait": 90, "irq": 1, "soft": 1}
    line = " ".join(str(s * tick) for s in [*seconds.values(), 3, 0, 0])
    (tmp_path / "stat").write_text(f"cpu  {line}\ncpu0 {line}\n")
    monkeypatch.setattr(system, "PROC", tmp_path)
    monkeypatch.setattr(system.time, "process_time", lambda: 4.5)
    assert system.other_cpu_seconds() == 7 + 1 + 2 + 1 + 1 + 3 - 4.5


def test_peak_sees_a_large_array():
    from system import Peak

    peak = Peak(torch.device("cpu"))
    if peak.bytes() is None:
        pytest.skip("no /proc/self/status")
    # Not from the heap, which may hold as much from before.
    np.frombuffer(mmap.mmap(-1, 2**28), np.uint8)[:] = 1
    assert 0.9 * 2**28 < peak.bytes() < 1.5 * 2**28


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--repeats", "0"], "--repeats is 0: give at least 1"),
        (["--part", "peer"], "give --peer PYTHON"),
    ],
)
def test_mistakes_on_the_command_line(arguments, message, capsys):
    from run import main

    with pytest.raises(SystemExit):
        main(arguments)
    assert message in capsys.readouterr().err
