"""Plans in tight memory, what passes leave behind, and what a run holds of what is planned."""

import weakref

import pytest
import torch
from torch import nn

import tmeasures as tm
from cubes import images, network
from planned import problem, wanted
from tmeasures.budget import memory_limit
from tmeasures.capture import Layer
from tmeasures.engine import Run
from tmeasures.measures import resolve
from tmeasures.planning import Wanted, check, choose
from tmeasures.planning.tiles import walk_shape
from tmeasures.statistics import Moments, Rows, Statistic
from tmeasures.statistics import thresholds as module
from tmeasures.statistics.distances import DistancesKind

CPU = torch.device("cpu")


@pytest.mark.parametrize("memory", [100_000, 10**6])
def test_a_first_layer_without_channels_takes_no_state(memory):
    layers = [
        Layer("0", (1,), ("unit",), torch.float32, "Linear"),
        Layer("1", (2, 20, 20), ("channel", "y", "x"), torch.float32, "Conv2d"),
    ]
    vectors = wanted(tm.NormalizedDistance(vectors=True))
    given = problem(wanted=vectors, layers=layers, memory=memory, n=200)
    try:
        plan = choose(given)
    except tm.MemoryLimitError:
        return
    assert plan.state_bytes + plan.tile_bytes <= memory


@pytest.mark.parametrize("m", [64, 360])
@pytest.mark.parametrize("measure", ["SV", "SD"])
def test_samples_are_read_once_where_that_fits(measure, m):
    plan = choose(problem(wanted=wanted(measure), m=m))
    assert (len(plan.passes), plan.reads) == (1, plan.n)


@pytest.mark.parametrize("sign", [1, "best"])
@pytest.mark.parametrize("threshold", ["quantile", "normal"])
def test_the_state_held_is_that_of_the_plan(sign, threshold, monkeypatch):
    held, live = [], weakref.WeakSet()
    made, update = Statistic.__init__, Run._fold

    def init(self, *arguments):
        made(self, *arguments)
        live.add(self)

    def fold(self, *arguments):
        update(self, *arguments)
        tensors = [v for s in live for v in vars(s).values() if isinstance(v, torch.Tensor)]
        tensors += [v for found in self._before.values() for v in found.values()]
        held.append(sum({v.data_ptr(): v.untyped_storage().nbytes() for v in tensors}.values()))

    monkeypatch.setattr(Statistic, "__init__", init)
    monkeypatch.setattr(Run, "_fold", fold)
    arguments = (network(), images(40), tm.rotations(4))
    measures = [tm.Goodfellow(sign=sign, threshold=threshold), tm.TransformationVariance("std")]
    plan = tm.explain(*arguments, measures=measures)
    tm.measure(*arguments, measures=measures, plan=plan)
    assert 0.9 * plan.state_bytes < max(held) <= plan.state_bytes


def test_every_pass_is_for_something():
    layers = [
        Layer(str(k), (size,), ("unit",), torch.float32, "Linear")
        for k, size in enumerate((40, 10, 30))
    ]
    firing = wanted(tm.Goodfellow(g=0.1, sign="best"))
    alone = 0
    for memory in range(15_000, 40_000, 250):
        given = problem(wanted=firing, layers=layers, n=13, m=5, batch_size=1, memory=memory)
        try:
            plan = choose(given)
        except tm.MemoryLimitError:
            continue
        alone += any(p.statistics == ("rows",) for p in plan.passes)
        assert not any(why.endswith(" for ") for why in plan.why), plan.why
    assert alone


def test_distances_of_two_blocks_go_apart_where_memory_asks():
    some = (tm.NormalizedDistance(block=8), tm.SampleDistance(pairs="all"))
    least = []
    for what in (some[:1], some[1:], some):
        with pytest.raises(tm.MemoryLimitError) as error:
            choose(problem(wanted=wanted(*what), n=200, m=16, batch_size=4, memory=100))
        least.append(memory_limit(str(error.value).split("at least ")[1].split(" for")[0], CPU))
    assert least[2] == max(least[:2])


def test_a_plan_that_reads_more_than_once_is_none_for_a_stream():
    columns = {"wanted": Wanted({"SV": frozenset({"columns"})}), "m": 5000}
    plan = choose(problem(**columns, memory=500_000))
    assert len(plan.passes) == 1
    with pytest.raises(tm.ArgumentError, match="more than once"):
        check(plan, problem(**columns, iterable=True))


def test_thresholds_of_strata_take_the_state_of_all_samples():
    firing = Wanted.by(resolve("GF"), False, stratified=True)
    plan = choose(problem(wanted=firing, n=4000, m=4, stratify="mean", strata=(2000, 2000)))
    assert plan.state_bytes == 10 * (41 + 1) * 4 + 10 * 8


@pytest.mark.parametrize("measures", ["GF", "NV GF", "ND GF"])
def test_the_least_memory_counts_preludes(measures):
    given = {"wanted": wanted(*measures.split()), "n": 4096, "m": 4}
    with pytest.raises(tm.MemoryLimitError) as error:
        choose(problem(**given, memory=100))
    advised = memory_limit(str(error.value).split("at least ")[1].split(" for")[0], CPU)
    choose(problem(**given, memory=advised))
    with pytest.raises(tm.MemoryLimitError):
        choose(problem(**given, memory=advised - 110))  # it is rounded up to 0.1 KiB


@pytest.mark.parametrize(("reference", "rows"), [("untransformed", 4096), ("transformed", 1024)])
def test_a_quantile_takes_the_first_samples_only(reference, rows):
    plan = choose(problem(wanted=wanted(tm.Goodfellow(reference=reference)), n=5000, m=4))
    prelude = plan.passes[0]
    assert (prelude.prelude, prelude.first) == (True, rows)
    assert prelude.inputs(5000, 4) == 4096


def test_tiles_of_distances_beside_others_worked_out_by_hand():
    rows = DistancesKind(parts=frozenset({"rows"}))
    assert walk_shape([rows], "sample", 256, 1000, 100) == (2, 100)
    assert walk_shape([Rows, rows], "sample", 256, 1000, 100) == (4, 64)
    assert walk_shape([Moments, rows], "sample", 256, 1000, 100) == (8, 32)


def test_thresholds_of_strata_share_no_walk():
    def sharing(stratified):
        ways = Wanted.by(resolve(["ND", "GF"]), False, stratified).ways()
        return [way for way in ways if any("calibration" in walk.names for walk in way)]

    assert sharing(False)
    assert not sharing(True)


def test_distances_inside_rows_are_summed_once_whatever_the_block():
    both = wanted("TD", tm.NormalizedDistance(block=64))
    assert [kind.name for kind in both.distances] == ["distances(block=64)"]
    assert len(wanted("TD", tm.NormalizedDistance(block=64), errors=True).distances) == 2


def test_what_waits_to_become_a_result_has_two_signs():
    given = {"wanted": wanted(tm.Goodfellow(sign="best"))}
    # largest and 4 of rows, 3 of each sign
    assert choose(problem(**given)).result_bytes == 130 + 10 * 8 * (1 + 4 + 3 * 2)


def test_reasons_name_who_a_prelude_is_for():
    plan = choose(problem(wanted=wanted("NV", "GF")))
    assert "pass 1 for GF" in plan.why
    assert "pass 2 for NV, GF" in plan.why


def test_results_of_some_layers_stay_beside_the_next():
    layers = [Layer(str(k), (50,), ("unit",), torch.float32, "Linear") for k in range(2)]
    whole = choose(problem(layers=layers, m=4, batch_size=4))
    plan = choose(
        problem(layers=layers, m=4, batch_size=4, memory=whole.state_bytes // 2 + whole.tile_bytes)
    )
    assert [p.layers for p in plan.passes] == [("0",), ("1",)]
    assert plan.bytes == plan.state_bytes + plan.tile_bytes + plan.result_bytes


def test_the_state_of_a_layer_is_freed_when_its_quantities_are_there():
    net = nn.Sequential(*[nn.Linear(8, 8) for _ in range(6)]).double()
    alive = []
    live = weakref.WeakSet()
    made, finalize = Statistic.__init__, Statistic.finalize

    def init(self, *arguments):
        made(self, *arguments)
        live.add(self)

    def final(self):
        alive.append(len(live))
        return finalize(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Statistic, "__init__", init)
        patch.setattr(Statistic, "finalize", final)
        tm.measure(net, torch.rand(8, 8), [abs, torch.relu], measures="NV")
    assert alive == [6, 5, 4, 3, 2, 1]


def test_only_the_first_samples_go_through_a_short_prelude(monkeypatch):
    monkeypatch.setattr(module, "MOST", 7)
    model, seen = nn.Linear(4, 3), []
    plan = tm.explain(model, torch.rand(20, 4), [torch.relu, abs], measures="GF")
    assert plan.inputs == 7 + 20 * 3
    model.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    tm.measure(model, torch.rand(20, 4), [torch.relu, abs], measures="GF")
    assert sum(seen) == plan.inputs + 2 + 3  # the probe


def test_a_stream_is_not_cut_into_runs_of_layers():
    layers = [Layer(str(k), (100,), ("unit",), torch.float32, "Linear") for k in range(4)]
    given = {"layers": layers, "n": None, "iterable": True, "m": 4}
    with pytest.raises(tm.MemoryLimitError) as error:
        choose(problem(**given, memory=100))
    advised = memory_limit(str(error.value).split("at least ")[1].split(" for")[0], CPU)
    (only,) = choose(problem(**given, memory=advised)).passes
    assert only.layers is None
    with pytest.raises(tm.MemoryLimitError):
        choose(problem(**given, memory=advised - 110))  # it is rounded up to 0.1 KiB
