"""What a run refuses, and how it leaves a model that fails."""

import pytest
import torch
from torch import nn

import tmeasures as tm
from cubes import images, network
from small_models import assert_no_hooks


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"samples": images(1)}, "NV needs at least 2 samples and there is 1"),
        ({"transformations": None}, "NV needs at least 2 transformations and there is 1"),
        ({"measures": "XV"}, "measure 'XV' is unknown"),
        ({"layers": "conv"}, "conv"),
        ({"batch_size": 0}, "batch_size=0 cannot be used"),
        ({"transformations": tm.rotations(4)[1]}, "the single <rotation 90°>"),
        ({"transformations": 3}, "transformations is 3"),
        ({"input": "image"}, "names a key"),
        ({"preprocess": lambda x: x[:1]}, "preprocess returned 1 inputs for 2"),
        ({"memory": "lots"}, "no size"),
        ({"transformations": [lambda x: x[1:], lambda x: x]}, "batch"),
        ({"transformations": [abs, lambda x: x + torch.rand_like(x)]}, "random"),
        ({"model": len}, "torch.nn.Module"),
        ({"device": "gpu"}, "device='gpu' is none"),
        ({"device": "cuda:77"}, "device='cuda:77' is none"),
    ],
)
def test_errors_come_before_work(arguments, says):
    seen = []
    model = network()
    model.register_forward_pre_hook(lambda *_: seen.append(1))
    given = {
        "model": model,
        "samples": images(),
        "transformations": tm.rotations(4),
        "measures": "NV",
    }
    with pytest.raises(tm.TMeasuresError, match=says):
        tm.measure(**(given | arguments))
    assert len(seen) <= 2  # the probe at most


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"measures": tm.NormalizedVariance}, r"give NormalizedVariance\(\)"),
        ({"measures": 5}, "5 is no measure"),
        ({"plan": "x"}, "plan is 'x'"),
        ({"call": "x"}, "call is 'x'"),
        ({"preprocess": lambda x: (x, x)}, "preprocess returned a tuple"),
    ],
)
def test_more_slips_are_one_sentence(arguments, says):
    given = {"measures": "NV"} | arguments
    with pytest.raises(tm.ArgumentError, match=says):
        tm.measure(network(), images(), tm.rotations(4), **given)


def test_items_of_unequal_shape():
    samples = [torch.rand(1, 8, 8), torch.rand(1, 9, 8)]
    with pytest.raises(tm.SampleError, match=r"\(1, 8, 8\)|\(1, 9, 8\)"):
        tm.measure(network(), samples, tm.rotations(4))


def test_mappings_with_several_images_ask_which():
    samples = {"left": images(), "right": images()}
    with pytest.raises(tm.ArgumentError, match="say which tensor"):
        tm.measure(network(), samples, tm.rotations(4))
    with pytest.raises(tm.ArgumentError, match="name one of these"):
        tm.measure(network(), samples, tm.rotations(4), input="middle")


def test_two_measures_of_one_name_are_refused():
    with pytest.raises(tm.ArgumentError, match="ANOVA_F"):
        tm.measure(network(), images(), tm.rotations(4), measures=["ANOVA", tm.Anova(alpha=0.01)])


def test_slips_in_a_measure_of_ones_own():
    class Odd(tm.Measure):
        short = "ODD"
        needs = frozenset({"rows"})
        reads, shape = "rows", slice(None)

        def finalize(self, quantities):
            return {"ODD": tm.Field(quantities[self.reads][self.shape], "1", "odd", "here")}

        def reference(self, cube):
            return {}

    arguments = (network(), images(), tm.rotations(4))
    for change, says in (
        ({"needs": frozenset({"foo"})}, "needs foo, which no statistic gives"),
        ({"reads": "columns"}, "quantity 'columns' was not kept"),
        ({"shape": 0}, r"made ODD of shape \(\) for one unit"),
    ):
        with pytest.raises(tm.ArgumentError, match=says):
            tm.measure(*arguments, measures=type("Odd", (Odd,), change)())


def test_a_model_that_raises_midway_is_given_back_and_says_where():
    class Late(nn.Module):
        calls = 0

        def forward(self, x):
            Late.calls += 1
            if Late.calls > 4:
                raise RuntimeError("out of luck")
            return x

    model = nn.Sequential(nn.Conv2d(1, 2, 3), Late()).train()
    with pytest.raises(RuntimeError, match="out of luck") as error:
        tm.measure(model, images(), tm.rotations(4), batch_size=4)
    assert any("'1'" in note for note in error.value.__notes__)
    assert model.training
    assert model[0].training
    assert_no_hooks(model)
