"""The plan of a run: its tiles, its passes and its bytes, and whether a run keeps to them."""

import itertools
import subprocess
import sys
import textwrap

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import tmeasures as tm
from cubes import MOMENTS, images, network
from tmeasures.budget import memory_limit
from tmeasures.capture import Layer, Probe
from tmeasures.footprint import peak_bytes
from tmeasures.measures import resolve
from tmeasures.plan import Plan
from tmeasures.planning import Problem, Wanted, check, choose, tile_shape
from tmeasures.planning import problem as module
from tmeasures.planning.tiles import walk_shape
from tmeasures.statistics import Setup


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


def test_a_reused_plan_does_not_falsify_the_record():
    plan = tm.explain(network(), images(), tm.rotations(4))
    tree = tm.measure(network(), images(), tm.rotations(4), measures="TV", plan=plan)
    assert tree.attrs["measures"] == '["TV"]'
    with pytest.raises(tm.ArgumentError, match="leave batch_size="):
        tm.measure(network(), images(), tm.rotations(4), plan=plan, batch_size=4)


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
        (64, 73, 497, (8, 7)),  # 8 rows stay
    ],
)
def test_tiles_worked_out_by_hand(batch, n, m, shape):
    assert tile_shape(batch, n, m) == shape


def problem(**changes):
    """10 activations; a tile of k inputs takes 1.3 (10,000 + 1,300 k) bytes."""
    given = {
        "network": "Net",
        "wanted": Wanted({"NV": frozenset({"rows", "columns"})}),
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
    assert plan.result_bytes == 130 + 10 * 8 * (4 + 1)  # and what moments give
    assert plan.bytes == plan.state_bytes + plan.tile_bytes
    half = Layer("0", (10,), ("unit",), torch.float16, "Linear")
    assert choose(problem(layers=[half])).state_bytes == plan.state_bytes  # kept in float32
    large = choose(problem(result_bytes=10**6))
    assert large.bytes == large.state_bytes + 10**7 + 10 * 8 * (4 + 1)


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
    assert plan.state_bytes == 10 * (52 + 16 * 3 * 8)  # of rows; that of columns is smaller
    assert plan.result_bytes == 130 + 10 * 8 * (4 + 1) + 10 * 8 * (3 + 1)
    assert (plan.inputs, plan.reads) == (2 * 100 * 5000, 100 + 313 * 100)


def wanted(*measures, errors=False):
    return Wanted.by(resolve(measures), errors, stratified=False)


def test_bytes_of_distances_and_thresholds_worked_out_by_hand():
    firing = 10 * (8 + 4 + 3 * 8)  # thresholds as they are found and as they are compared, counts
    moments = 10 * (50 * 12 + 28)
    plan = choose(problem(wanted=wanted("NV", "ND", "GF"), batch_size=32 * 50, n=4096))
    assert shapes_of(plan) == [("sample", 1600, 1, 50), ("sample", 32, 50, 50)]
    assert plan.state_bytes == moments + 10 * 16 + firing
    assert plan.inputs == 4096 * (1 + 50 + 1)
    held = choose(problem(wanted=wanted("ND"), batch_size=16 * 16, n=4096))
    assert shapes_of(held) == [("sample", 16, 16, 50)]
    open_rows = 10 * 16 * 6 * 8
    assert held.state_bytes == moments + open_rows + 10 * (16 + 32 * 50 * 4)
    alone = choose(problem(wanted=wanted("GF"), batch_size=32 * 50, n=4096))
    # The 42 largest and the smallest, and the thresholds.
    assert alone.state_bytes == 10 * (42 + 1) * 4 + 10 * 8


def spreads(pieces):
    """Every way of putting pieces into walks."""
    if not pieces:
        yield []
        return
    for rest in spreads(pieces[1:]):
        for at in range(len(rest) + 1):
            yield [*rest[:at], [pieces[0], *([] if at == len(rest) else rest[at])], *rest[at + 1 :]]


def together(names):
    """The statistics that a walk over these pieces keeps."""
    names = set(names)
    for both, one in [({"rows", "columns"}, "moments")] + [
        ({f"row {key}", f"block {key}"}, key) for key in ("distances", "distances(block=64)")
    ]:
        if both <= names:
            names = names - both | {one}
    return sorted(names)


def fewest_runs(sizes, room):
    """The least number of runs of consecutive layers that each fit, by trying all last runs."""
    best = [0]
    for stop in range(1, len(sizes) + 1):
        fitting = [best[start] + 1 for start in range(stop) if sum(sizes[start:stop]) <= room]
        best.append(min(fitting, default=float("inf")))
    return best[-1]


def fewest_passes(given, pieces, by_columns):
    """By brute force: all spreads of pieces, all orders, all cuts of each walk's layers."""
    best = float("inf")
    for spread in spreads(pieces):
        choices = [
            ("sample", "transformation") if set(names) <= by_columns else ("sample",)
            for names in spread
        ]
        for orders in itertools.product(*choices):
            walks = []
            for names, order in zip(spread, orders, strict=True):
                kinds = [given.kinds[name] for name in together(names)]
                s, t = walk_shape(kinds, order, given.batch_size, given.n, given.m)
                columns = given.m if order == "sample" else t
                walks.append((kinds, order, (s, t), columns))
            beside = ["firing" in names for names in spread]
            inputs = max(s * (t + b) for (_, _, (s, t), _), b in zip(walks, beside, strict=True))
            inputs = max(inputs, min(given.batch_size, given.n) if any(beside) else 0)  # prelude
            room = given.memory - given.tile_bytes(inputs) - given.standing_bytes
            total = 0
            for kinds, order, tile, columns in walks:
                sizes = [
                    sum(
                        kind.state_bytes(
                            Setup(
                                shape=layer.shape,
                                m=given.m,
                                n=given.n,
                                tile=tile,
                                order=order,
                                columns=columns,
                                errors=given.wanted.errors,
                            )
                        )
                        for kind in kinds
                    )
                    for layer in given.layers
                ]
                total += fewest_runs(sizes, room)
            best = min(best, total)
    return best


@pytest.mark.parametrize("batch_size", [4, 16, 100])
@pytest.mark.parametrize(
    ("measures", "errors", "pieces"),
    [
        ("ND NV", False, ["rows", "columns", "row distances", "block distances"]),
        ("ND NV", True, ["rows", "columns", "distances"]),
        ("ND GF NV", False, ["rows", "columns", "row distances", "block distances", "firing"]),
        ("TD SD64 ANOVA", False, ["rows", "columns", "row distances", "block distances(block=64)"]),
        ("TD SD64 NV", True, ["rows", "columns", "row distances", "block distances(block=64)"]),
        (
            "SDall ND",
            False,
            [
                "rows",
                "columns",
                "row distances",
                "block distances",
                "block distances(all pairs)",
            ],
        ),
    ],
)
def test_no_other_way_takes_fewer_passes(measures, errors, pieces, batch_size, monkeypatch):
    monkeypatch.setattr(module, "_OVERHEAD", 0)
    monkeypatch.setattr(module, "_TOUCHED", 0)
    objects = {"SD64": tm.SampleDistance(block=64), "SDall": tm.SampleDistance(pairs="all")}
    layers = [
        Layer(str(k), (size,), ("unit",), torch.float32, "Linear")
        for k, size in enumerate((40, 10, 30, 20))
    ]
    chosen = wanted(*(objects.get(name, name) for name in measures.split()), errors=errors)
    by_columns = {"columns"} | (set() if errors else {p for p in pieces if p.startswith("block")})
    counts = set()
    for memory in (*range(40_000, 200_000, 20_000), *range(200_000, 900_000, 100_000)):
        given = problem(
            wanted=chosen, layers=layers, memory=memory, n=200, m=16, batch_size=batch_size
        )
        fewest = fewest_passes(given, pieces, by_columns)
        if fewest == float("inf"):
            with pytest.raises(tm.MemoryLimitError):
                choose(given)
            continue
        plan = choose(given)
        assert len([p for p in plan.passes if not p.prelude]) == fewest
        assert plan.state_bytes + plan.tile_bytes <= memory
        counts.add(fewest)
    assert len(counts) > 1


def test_columns_alone_go_a_block_at_a_time_unless_the_samples_are_read_once():
    wanted = Wanted({"SV": frozenset({"columns"})})
    given = {"wanted": wanted, "m": 5000, "memory": 500_000}
    assert shapes_of(choose(problem(**given))) == [("transformation", 16, 16, 16)]
    with pytest.raises(tm.MemoryLimitError, match="read once"):
        choose(problem(**given, iterable=True))


@pytest.mark.parametrize("needs", [{"error"}, {"row_deviations"}, {"column_deviations"}])
@pytest.mark.parametrize("m", [50, 5000])
def test_a_plan_is_one_for_its_own_problem(needs, m):
    given = problem(wanted=Wanted({"V": frozenset(needs)}), m=m, memory=500_000)
    plan = choose(given)
    assert plan.spread is (needs != {"error"})
    assert check(plan, given) is plan


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
    [(MOMENTS, None), (MOMENTS, 200_000), ("all", None), ("all", 4_000_000), ("all", 3_200_000)],
)
def test_peak_does_not_grow_with_n(measures, memory):
    def peak(n):
        arguments = {"measures": measures, "memory": memory, "batch_size": 12}
        return peak_bytes(lambda: tm.measure(network(), images(n), tm.rotations(64), **arguments))

    # What grows is the images, their labels and ids.
    assert peak(80) - peak(40) <= 40 * (images(1).nbytes + 64)


def test_inputs_beside_a_tile_are_in_its_bytes():
    plan = choose(problem(wanted=wanted("GF"), batch_size=64, n=128))
    walk = plan.passes[-1]
    inputs = walk.samples * (walk.transformations + 1)
    assert walk.untransformed == "beside"
    assert plan.tile_bytes == int(1.3 * (10_000 + inputs * 1300))
    among = choose(problem(wanted=wanted("GF"), batch_size=64, n=128, identities=(0,)))
    assert among.tile_bytes < plan.tile_bytes


def test_a_prelude_goes_by_groups_of_layers_where_memory_asks():
    layers = [Layer(str(k), (500,), ("unit",), torch.float32, "Linear") for k in range(4)]
    given = {"wanted": wanted("GF"), "layers": layers, "n": 4096, "m": 4, "batch_size": 32}
    whole = choose(problem(**given))
    assert [p.layers for p in whole.passes] == [None, None]
    tight = choose(problem(**given, memory=whole.state_bytes // 2 + whole.tile_bytes))
    assert [p.prelude for p in tight.passes] == [True] * (len(tight.passes) - 1) + [False]
    preludes = [p for p in tight.passes if p.prelude]
    assert len(preludes) > 1
    assert [name for p in preludes for name in p.layers] == ["0", "1", "2", "3"]
    assert tight.state_bytes <= whole.state_bytes // 2


def test_results_stay_beside_the_next_stratum():
    plan = choose(problem())
    strata = choose(problem(stratify="each", strata=(60, 40)))
    assert plan.bytes == plan.state_bytes + max(plan.tile_bytes, plan.result_bytes)
    assert strata.bytes == strata.state_bytes + strata.tile_bytes + strata.result_bytes
    with pytest.raises(tm.ArgumentError, match="other strata"):
        check(strata, problem(stratify="mean", strata=(60, 40)))
