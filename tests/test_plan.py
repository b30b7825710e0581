"""The plan of a run: what it prints, how it is kept and given again."""

import pytest

import tmeasures as tm
from cubes import images, network
from tmeasures.plan import Plan


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
