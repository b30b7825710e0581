"""The tiles and the passes of a plan: no other way is better."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import tmeasures as tm
from planned import problem, shapes_of, wanted
from tmeasures.capture import Layer, Probe
from tmeasures.planning import Wanted, check, choose, tile_shape
from tmeasures.planning import problem as module
from tmeasures.planning.tiles import walk_shape
from tmeasures.statistics import Setup


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
        (256, 17, 257, (8, 31)),  # 32 columns would leave a tile of a single input
        (256, 17, 256, (8, 32)),
        (64, 73, 497, (8, 7)),  # 8 rows stay
    ],
)
def test_tiles_worked_out_by_hand(batch, n, m, shape):
    assert tile_shape(batch, n, m) == shape


def test_a_plan_takes_the_largest_tile_that_fits_with_its_state():
    whole = choose(problem())
    exact = whole.state_bytes + whole.tile_bytes
    assert choose(problem(memory=exact)).passes == whole.passes
    assert shapes_of(choose(problem(memory=exact - 1))) == [("sample", 10, 50, 50)]
    small = 10 * (4 * 12 + 28) + int(1.3 * (10_000 + 12 * 1300))  # the whole matrix in a tile
    assert shapes_of(choose(problem(n=3, m=4, memory=small))) == [("sample", 3, 4, 4)]


@pytest.mark.parametrize(
    ("device", "megabytes", "shape"),
    [("cpu", 1, (20, 50)), ("cpu", 10, (8, 16)), ("cpu", 1000, (6, 5)), ("cuda", 10, (10, 50))],
)
def test_a_cpu_takes_1000_to_32_inputs_where_more_are_over_2_gib(device, megabytes, shape):
    probe = Probe(megabytes * 10**6, 0)
    (only,) = choose(problem(probe=probe, memory=10**12, device=device)).passes
    assert (only.samples, only.transformations) == shape


@pytest.mark.parametrize("memory", [500_000, 625_000])  # the second fits one pass, 4 inputs a tile
def test_two_passes_where_the_columns_do_not_fit(memory):
    plan = choose(problem(m=5000, memory=memory))
    assert shapes_of(plan) == [("sample", 8, 32, 5000), ("transformation", 8, 32, 32)]
    assert plan.state_bytes == 10 * (52 + 32 * 20)  # of columns; that of rows is smaller
    assert plan.result_bytes == 130 + 10 * 8 * (4 + 1) + 10 * 8 * (3 + 1)
    assert (plan.inputs, plan.reads) == (2 * 100 * 5000, 100 + 157 * 100)


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
    assert shapes_of(choose(problem(**given))) == [("transformation", 8, 32, 32)]
    with pytest.raises(tm.MemoryLimitError, match="read once"):
        choose(problem(**given, iterable=True))


@pytest.mark.parametrize("needs", [{"error"}, {"row_deviations"}, {"column_deviations"}])
@pytest.mark.parametrize("m", [50, 5000])
def test_a_plan_is_one_for_its_own_problem(needs, m):
    given = problem(wanted=Wanted({"V": frozenset(needs)}), m=m, memory=500_000)
    plan = choose(given)
    assert plan.spread is (needs != {"error"})
    assert check(plan, given) is plan


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
