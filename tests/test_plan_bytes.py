"""The bytes of a plan, the memory that it may take, and whether a run keeps to them."""

import subprocess
import sys
import textwrap
import weakref

import pytest
import torch
from torch import nn

import tmeasures as tm
from cubes import MOMENTS, images, network
from planned import problem, shapes_of, wanted
from tmeasures.budget import memory_limit
from tmeasures.capture import Layer
from tmeasures.footprint import peak_bytes
from tmeasures.planning import check, choose
from tmeasures.statistics import returned
from tmeasures.transformations.actions import Actions


def test_bytes_of_a_plan_worked_out_by_hand():
    plan = choose(problem())
    assert shapes_of(plan) == [("sample", 20, 50, 50)]
    assert plan.state_bytes == 10 * (50 * 12 + 28)  # columns, numbers of each activation
    assert plan.tile_bytes == int(1.3 * (10_000 + 1000 * 1300))
    opened = choose(problem(batch_size=256))
    assert shapes_of(opened) == [("sample", 8, 32, 50)]
    assert opened.state_bytes == plan.state_bytes + 10 * 8 * 6 * 8  # and open rows
    assert plan.result_bytes == 130 + 10 * 8 * (4 + 1)  # and what moments give
    assert plan.bytes == plan.state_bytes + plan.tile_bytes
    half = Layer("0", (10,), ("unit",), torch.float16, "Linear")
    assert choose(problem(layers=[half])).state_bytes == plan.state_bytes  # kept in float32
    large = choose(problem(result_bytes=10**6))
    assert large.bytes == large.state_bytes + 10**7 + 10 * 8 * (4 + 1)


def test_bytes_of_distances_and_thresholds_worked_out_by_hand():
    firing = 10 * (8 + 4 + 3 * 8)  # thresholds as they are found and as they are compared, counts
    moments = 10 * (50 * 12 + 28)
    plan = choose(problem(wanted=wanted("NV", "ND", "GF"), batch_size=32 * 50, n=4096))
    assert shapes_of(plan) == [("sample", 1600, 1, 50), ("sample", 32, 50, 50)]
    assert plan.state_bytes == moments + 10 * 16 + firing
    assert plan.inputs == 4096 * (1 + 50 + 1)
    held = choose(problem(wanted=wanted("ND"), batch_size=16 * 16, n=4096))
    assert shapes_of(held) == [("sample", 8, 32, 50)]
    open_rows = 10 * 8 * 6 * 8
    assert held.state_bytes == moments + open_rows + 10 * (16 + 32 * 50 * 4)
    alone = choose(problem(wanted=wanted("GF"), batch_size=32 * 50, n=4096))
    # The 42 largest and the smallest, and the thresholds.
    assert alone.state_bytes == 10 * (42 + 1) * 4 + 10 * 8


def test_inputs_beside_a_tile_are_in_its_bytes():
    plan = choose(problem(wanted=wanted("GF"), batch_size=64, n=128))
    walk = plan.passes[-1]
    inputs = walk.samples * (walk.transformations + 1)
    assert walk.untransformed == "beside"
    assert plan.tile_bytes == int(1.3 * (10_000 + inputs * 1300))
    among = choose(problem(wanted=wanted("GF"), batch_size=64, n=128, identities=(0,)))
    assert among.tile_bytes < plan.tile_bytes


def test_what_transformations_keep_and_maps_that_are_copied_are_in_the_bytes():
    kept = choose(problem(kept_bytes=5000))
    assert kept.state_bytes == choose(problem()).state_bytes + 5000
    dims = ("y", "channel", "x")
    layers = [Layer("0", (6, 4, 5), dims, torch.float32, "Linear")]
    actions = {"0": Actions(tm.rotations(2), (6, 4, 5), dims, (1, 6, 5))}
    copied = choose(problem(layers=layers, actions=actions, batch_size=256))
    assert copied.tile_bytes == int(1.3 * (10_000 + 256 * (1300 + 4 * 6 * 4 * 5)))


def test_grids_are_in_the_bytes_of_a_plan():
    turned, alike = (
        tm.explain(network(), images(), given, measures="NV", memory_format="preserve")
        for given in (tm.rotations(16), [abs] * 16)
    )
    assert turned.state_bytes - alike.state_bytes == 16 * images(1)[0, 0].numel() * 8


def test_results_stay_beside_the_next_stratum():
    plan = choose(problem())
    strata = choose(problem(stratify="each", strata=(60, 40)))
    assert plan.bytes == plan.state_bytes + max(plan.tile_bytes, plan.result_bytes)
    assert strata.bytes == strata.state_bytes + strata.tile_bytes + strata.result_bytes
    with pytest.raises(tm.ArgumentError, match="other strata"):
        check(strata, problem(stratify="mean", strata=(60, 40)))


def test_the_least_memory_is_that_of_the_smallest_way():
    with pytest.raises(tm.MemoryLimitError, match=r"at least 15\.1 KiB"):  # two passes, one input
        choose(problem(memory=1000))


def test_too_little_memory_says_what_would_do():
    with pytest.raises(tm.MemoryLimitError, match="at least") as error:
        tm.explain(network(), images(), tm.rotations(16), measures="NV", memory=1000)
    words = str(error.value).split("at least ")[1].split(" for")[0]
    plan = tm.explain(network(), images(), tm.rotations(16), measures="NV", memory=words)
    assert plan.state_bytes + plan.tile_bytes <= memory_limit(words, torch.device("cpu"))


@pytest.mark.parametrize("width", range(3, 12))
def test_the_advice_on_memory_works(width):
    arguments = (nn.Linear(64, width), torch.rand(20, 64), [abs, torch.relu])
    with pytest.raises(tm.MemoryLimitError) as error:
        tm.explain(*arguments, memory=100)
    advised = str(error.value).split("at least ")[1].split(" for")[0]
    tm.explain(*arguments, memory=advised)
    with pytest.raises(tm.MemoryLimitError, match="smaller batch_size"):
        tm.explain(*arguments, memory=100, batch_size=40)


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


PROBED = 3


@pytest.mark.parametrize("arguments", [{}, {"memory": "600KB", "measures": "NV"}])
def test_inputs_of_a_tile_leave_before_the_next_ones_come(arguments):
    made = []

    def note(batch):
        if len(batch) > PROBED:
            assert all(each() is None for each in made)
            made.append(weakref.ref(batch))
        return batch

    turns = tm.rotations(64)
    tm.measure(network(), images(40), turns, preprocess=note, batch_size=64, **arguments)
    assert len(made) >= 40


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
    tm.measure(net[:2], torch.rand(3, 1, 64, 64), tm.rotations(2), measures="all")
    arguments = (net, torch.rand(40, 1, 64, 64), tm.rotations(16))
    options = {"measures": sys.argv[1].split(), "batch_size": 32}
    plan = tm.explain(*arguments, **options)
    open("/proc/self/clear_refs", "w").write("5")
    before = used("VmRSS")
    tm.measure(*arguments, **options)
    print(used("VmHWM") - before, plan.bytes)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("measures", ["NV ANOVA", "NV ND GF"])
def test_the_process_stays_within_the_plan(measures):
    command = [sys.executable, "-c", textwrap.dedent(MEMORY), measures]
    out = subprocess.run(command, capture_output=True, text=True, check=True)
    peak, planned = map(int, out.stdout.split())
    assert planned / 2 < peak <= 1.2 * planned


@pytest.mark.parametrize(
    ("measures", "memory"),
    [(MOMENTS, None), (MOMENTS, 80_000), ("all", None), ("all", 1_250_000), ("all", 1_180_000)],
)
def test_peak_does_not_grow_with_n(monkeypatch, measures, memory):
    monkeypatch.setattr(returned, "_FLOOR_SAMPLES", (8, 8))  # more samples take no more for floors

    def peak(n):
        # In one order of memory: which of the two sizes a trial pays for depends on the plan.
        arguments = {"measures": measures, "memory": memory, "memory_format": "preserve"}
        arguments["batch_size"] = 12
        return peak_bytes(lambda: tm.measure(network(), images(n), tm.rotations(16), **arguments))

    # What grows is the images, their labels and ids.
    assert peak(80) - peak(40) <= 40 * (images(1).nbytes + 64)
