"""Units that are dead, below rounding or not finite."""

import numpy as np
import pytest
import torch
from torch import nn

import tmeasures as tm
from cubes import EVERY, images
from tmeasures import finishing
from tmeasures.fields import DEAD, NOT_FINITE, SV_BELOW_ROUNDING, TV_BELOW_ROUNDING


def test_activations_that_are_not_finite_are_counted_and_warned_of_once():
    class Log(nn.Module):
        def forward(self, x):
            return torch.log(x.flatten(1) - 0.02)  # NaN under the fill of a rotation

    model = nn.Sequential(Log(), nn.Tanh())
    with pytest.warns(tm.TMeasuresWarning, match="activations of layer '0'") as caught:
        tree = tm.measure(model, images(), tm.rotations(8), measures=EVERY)
    assert len(caught) == 1
    table = tm.summary(tree)
    bad = int(table.NV_nan.sel(layer="0"))
    assert 0 < bad < 64
    values = tree["layers/0"]
    for name in ("TV", "SV", "NV", "ANOVA_F", "ANOVA_p", "ANOVA_paired_F", "ANOVA_paired_p"):
        assert int(np.isnan(values[name]).sum()) == bad
    assert not values["ANOVA_rejected"].values[np.isnan(values["NV"])].any()
    assert values["ANOVA_rejected"].attrs["k"] == int((table.NV_finite + table.NV_infinite).sum())


def test_any_measure_is_nan_where_an_activation_was_not_finite():
    class Largest(tm.Measure):
        """The largest activation."""

        short = "MAX"
        needs = frozenset({"rows"})

        def finalize(self, quantities):
            return {"MAX": tm.Field(quantities["largest"], "1", "largest", "here")}

        def reference(self, cube):
            return {"MAX": np.abs(cube).max((0, 1))}

    samples = torch.ones(3, 2)
    samples[1, 0] = torch.inf
    with pytest.warns(tm.TMeasuresWarning, match="1 of the activations of layer 'output'"):
        tree = tm.measure(nn.ReLU(), samples, [lambda x: x, lambda x: 2 * x], measures=Largest())
    np.testing.assert_array_equal(tree["layers/output/MAX"], [np.nan, 2])


def test_activations_too_large_to_square_are_said_to_be_so():
    huge = torch.tensor([[1e200], [-1e200], [3.0]], dtype=torch.float64)
    with pytest.warns(tm.TMeasuresWarning, match="too large to square") as caught:
        tree = tm.measure(nn.ReLU(), huge, measures=["SV"])
    assert np.isnan(tree["layers/output/SV"].values).all()
    assert caught[0].filename == __file__  # the line that called


def test_dead_and_rounding_units_are_marked():
    class Odd(nn.Module):
        def forward(self, x):
            constant = torch.full_like(x[:, 0, 0, :1], 0.1)
            sums = torch.stack([x[:, 0].sum(1).sum(1), x[:, 0].sum(2).sum(1)], 1)
            return torch.cat([constant, sums], 1)

    tree = tm.measure(Odd(), images(), tm.rotations(4), measures=["NV", "TV"])
    layer = tree["layers/output"]
    # sums over turned squares are the same but for rounding
    assert layer["status"].values.tolist() == [1, 4, 4]
    assert layer["NV"].values[0] == 1
    table = tm.summary(tree)
    assert int(table.NV_dead[0]) == 1
    assert int(table.NV_below_rounding[0]) == 2


ROUNDING = (16 * 2.0**-23) ** 2  # of a variance, where the largest activation is 1


@pytest.mark.parametrize(
    ("values", "bits"),
    [
        ({"rows": 0, "columns": 0, "between": 0}, DEAD),
        ({"rows": 0, "columns": 5, "between": 0}, 0),
        ({"rows": 5, "columns": 0, "between": 5}, 0),
        ({"rows": 0, "row_means": 0}, DEAD),
        ({"rows": 0, "row_means": 5}, 0),
        ({"columns": 0, "between": 0}, DEAD),
        ({"columns": 0, "between": 5}, 0),
        ({"rows": 0.99 * 12 * ROUNDING, "row_means": 5}, TV_BELOW_ROUNDING),
        ({"rows": 1.01 * 12 * ROUNDING, "row_means": 5}, 0),
        ({"columns": 0.99 * 10 * ROUNDING, "between": 5}, SV_BELOW_ROUNDING),
        ({"columns": 1.01 * 10 * ROUNDING, "between": 5}, 0),
        ({"rows": np.nan, "row_means": 0}, NOT_FINITE),
        ({"rows": 0, "row_means": 0, "largest": np.inf}, NOT_FINITE),
        ({"rows": 5, "row_means": 5, "largest": np.inf}, NOT_FINITE),
    ],
)
def test_status_of_three_samples_and_five_transformations(values, bits):
    arrays = {name: np.array([value]) for name, value in ({"largest": 1.0} | values).items()}
    status, bad = finishing._status(arrays, 3, 5, 2.0**-23)
    assert status.tolist() == [bits]
    assert bad.tolist() == [bits == NOT_FINITE]
