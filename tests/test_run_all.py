"""Whole runs of distances, firing rates, errors and strata against the stored cube."""

import numpy as np
import pytest
import torch
from torch import nn

import tmeasures as tm
from cubes import cube, images, network
from tmeasures.results import attribute
from tmeasures.statistics import Statistic

ROTATIONS = tm.rotations(12)


def double(seed=0):
    """A network in which tiles of any size give the same to 1e-12."""
    return network(seed).double()


def assert_is(tree, cubes, measures, dims=None, rtol=1e-9):
    for name, values in cubes.items():
        for measure in measures:
            options = {"dims": dims[name]} if dims else {}
            with np.errstate(all="ignore"):
                expected = measure.reference(values, **options)
            for variable, reference in expected.items():
                found = tree[f"layers/{name}/{variable}"].values
                reference = reference.astype(np.float64)
                np.testing.assert_allclose(found, reference, rtol, 1e-12, err_msg=variable)


def passes(plan):
    return [(p.order, *p.statistics) for p in plan.passes]


ONE = [("sample", "moments", "distances")]
BLOCKS_APART = [("sample", "moments", "row distances"), ("sample", "block distances")]
COLUMNS_APART = [
    ("sample", "rows", "row distances"),
    ("transformation", "columns", "block distances"),
]


@pytest.mark.parametrize("n", [40, 70])
@pytest.mark.parametrize(
    ("memory", "expected"),
    [
        (None, ONE),
        (1_500_000, BLOCKS_APART),
        (250_000, COLUMNS_APART),
        (120_000, [*COLUMNS_APART, COLUMNS_APART[1]]),  # two runs of layers
        (
            80_000,
            [COLUMNS_APART[0]] * 2
            + [("transformation", "columns")]
            + [("transformation", "block distances")] * 3,
        ),
    ],
)
def test_distances_are_those_of_the_stored_cube_in_every_way(n, memory, expected):
    measures = [tm.TransformationDistance(), tm.SampleDistance(), tm.NormalizedDistance()]
    arguments = {"measures": measures, "memory": memory}
    plan = tm.explain(double(), images(n), ROTATIONS, **arguments)
    assert passes(plan) == expected
    tree = tm.measure(double(), images(n), ROTATIONS, **arguments)
    assert list(tree["layers"]) == ["0", "1", "2", "4"]
    assert_is(tree, cube(double(), images(n), ROTATIONS), measures)
    assert tree.attrs["inputs"] == plan.inputs == n * 12 * len(expected)


@pytest.mark.parametrize("batch_size", [None, 100, 48, 7])
def test_block_estimates_are_the_same_whatever_the_batch_size(batch_size):
    arguments = (double(), images(70), ROTATIONS)
    tree = tm.measure(*arguments, measures="all", errors=True, batch_size=batch_size)
    whole = tm.measure(*arguments, measures="all", errors=True, batch_size=70 * 12)
    for name in ("TD", "SD", "ND", "TD_se", "SD_se", "ND_se", "TV_se", "GF", "GF_rate"):
        for layer in ("0", "1", "2", "4"):
            found, expected = (each[f"layers/{layer}/{name}"].values for each in (tree, whole))
            np.testing.assert_allclose(found, expected, 1e-9, 1e-14, err_msg=name)


@pytest.mark.parametrize("memory", [None, 500_000])
def test_all_pairs_are_all_pairs(memory):
    measures = [tm.SampleDistance(pairs="all"), tm.NormalizedDistance(pairs="all")]
    arguments = {"measures": measures, "memory": memory}
    plan = tm.explain(double(), images(70), ROTATIONS, **arguments)
    tree = tm.measure(double(), images(70), ROTATIONS, **arguments)
    assert_is(tree, cube(double(), images(70), ROTATIONS), measures)
    held = "the activations of 70 rows are held"
    assert any(held in why for why in plan.why) is (memory is not None)


def test_distances_of_maps_leave_out_layers_without_channels():
    measures = [
        tm.NormalizedDistance(vectors=True),
        tm.TransformationDistance("cosine", vectors=True),
        tm.SampleDistance("manhattan", vectors=True, unit_norm=True),
    ]
    tree = tm.measure(double(), images(40), ROTATIONS, measures=measures)
    cubes = cube(double(), images(40), ROTATIONS)
    del cubes["4"]
    dims = dict.fromkeys(cubes, ("channel", "y", "x"))
    assert_is(tree, cubes, measures, dims)
    assert tree["layers/0/ND_vectors"].dims == ("channel",)
    assert list(tree["layers/4"].data_vars) == ["status"]
    left = attribute(tree, "left_out_of")
    assert list(left) == [str(measure) for measure in measures]
    assert all(layers.keys() == {"4"} for layers in left.values())
    plan = tm.explain(double(), images(40), ROTATIONS, measures=measures)
    assert any("leave out 1 of 4 layers" in why for why in plan.why)


def test_a_map_with_one_unit_that_is_not_finite_has_no_distance():
    class Broken(nn.Module):
        def forward(self, x):
            x = x.repeat(1, 2, 1, 1)
            x[:, 1, 3, 3] = torch.nan
            return x

    model = nn.Sequential(Broken(), nn.Conv2d(2, 1, 1))
    measures = [tm.NormalizedDistance(vectors=True), "ND", "GF"]
    arguments = {"measures": measures, "layers": "0", "layout": {"0": ("channel", "y", "x")}}
    with pytest.warns(tm.TMeasuresWarning, match="NaN"):
        tree = tm.measure(model, images(40), ROTATIONS, **arguments)
    layer = tree["layers/0"]
    assert np.isfinite(layer["ND_vectors"].values).tolist() == [True, False]
    for name in ("ND", "GF_rate"):
        assert np.isfinite(layer[name].values).sum() == 2 * 64 - 1


@pytest.mark.parametrize("batch_size", [None, 7])
@pytest.mark.parametrize("rotations", [ROTATIONS, ROTATIONS[1:], ROTATIONS[6:] * tm.flips()])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"sign": "best", "g": 0.1},
        {"reference": "transformed", "g": 0.05},
        {"threshold": "normal", "local": "marginal"},
        {"threshold": "normal", "reference": "transformed", "sign": -1},
    ],
)
def test_firing_rates_are_those_of_the_stored_cube(options, rotations, batch_size):
    measure = tm.Goodfellow(**options)
    arguments = {"measures": [measure, "TV"], "batch_size": batch_size}
    arguments["memory_format"] = "preserve"  # or the trial's inputs would be counted
    plan = tm.explain(double(), images(70), rotations, **arguments)
    model, seen = double(), []
    model.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    tree = tm.measure(model, images(70), rotations, **arguments)
    assert sum(seen) == plan.inputs + 2 + 3  # the probe
    cubes = cube(double(), images(70), rotations)
    untransformed = cube(double(), images(70), None)
    for name, values in cubes.items():
        expected = measure.reference(
            values, untransformed=untransformed[name][:, 0], identities=rotations.identities
        )
        for variable, reference in expected.items():
            found = tree[f"layers/{name}/{variable}"].values
            np.testing.assert_allclose(found, reference.astype(np.float64), 1e-9)
    assert tree.attrs["inputs"] == plan.inputs
    m = len(rotations)
    beside = 0 if rotations.identities else 70
    rows = 70 * m if options.get("threshold") == "normal" else -(-70 // m) * m
    prelude = rows if options.get("reference") == "transformed" else 70
    assert plan.inputs == 70 * m + beside + prelude


def test_firing_is_counted_beside_columns_that_do_not_fit():
    arguments = {"measures": ["SV", "GF"], "memory": 1_500_000}
    plan = tm.explain(double(), images(70), tm.rotations(300), **arguments)
    assert passes(plan)[1:] == [("sample", "firing"), ("transformation", "columns")]


@pytest.mark.parametrize("sign", [1, "best"])
def test_firing_of_a_unit_that_is_not_finite(sign):
    x = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
    x[7, 1] = torch.nan
    arguments = {"layers": "output", "measures": [tm.Goodfellow(g=0.1, sign=sign), "TV"]}
    with pytest.warns(tm.TMeasuresWarning, match="NaN"):
        tree = tm.measure(nn.Identity(), x, [lambda x: x, lambda x: x + 0.1], **arguments)
    for name in ("GF", "GF_rate"):
        assert np.isfinite(tree[f"layers/output/{name}"].values).tolist() == [True, False, True]


class Sums(Statistic):
    """A statistic of one's own: the sum of all activations, and of the untransformed ones."""

    name = "sums"
    provides = frozenset({"own/sums", "own/untransformed"})
    reference = "untransformed"

    @staticmethod
    def state_bytes(setup):
        return 2 * 8 * setup.units

    def _allocate(self):
        self.sums, self.untransformed = self._zeros(), self._zeros()

    def update(self, tile):
        super().update(tile)
        if tile.reference is not None:
            self.untransformed += self.order.flat(tile.reference.double()).sum(0)

    def _fold(self, x, samples, transformations):
        self.sums += x.double().sum((1, 2)).flatten()
        self.n = samples.stop

    def merge(self, other):
        self.sums += other.sums

    def quantities(self):
        return {"own/sums": self.sums, "own/untransformed": self.untransformed}


class Own(tm.Measure):
    short = "OWN"
    needs = frozenset({"own/sums", "own/untransformed"})
    kinds = (Sums,)

    def finalize(self, quantities):
        values = quantities["own/sums"] - quantities["own/untransformed"]
        return {"OWN": tm.Field(values, "1", "own", "here")}

    def reference(self, cube):
        return {}


def test_a_measure_may_bring_a_statistic_of_its_own():
    arguments = (double(), images(20), ROTATIONS[1:])
    plan = tm.explain(*arguments, measures=[Own(), "TV"])
    assert plan.passes[0].untransformed == "beside"
    tree = tm.measure(*arguments, measures=[Own(), "TV"])
    values = cube(*arguments)["0"].sum((0, 1)) - cube(double(), images(20), None)["0"].sum((0, 1))
    np.testing.assert_allclose(tree["layers/0/OWN"], values, 1e-9)


def test_thresholds_share_a_pass_where_there_are_two():
    names = ["ANOVA", "GF", "ND", "NV", "SD", "SV", "TD", "TV"]
    arguments = {"measures": names, "memory": 1_500_000}
    plan = tm.explain(double(), images(70), ROTATIONS, **arguments)
    assert passes(plan) == [
        ("sample", "block distances", "calibration"),
        ("sample", "moments", "row distances", "firing"),
    ]
    tree = tm.measure(double(), images(70), ROTATIONS, **arguments)
    whole = tm.measure(double(), images(70), ROTATIONS, measures="all")
    for layer in ("0", "1", "2", "4"):
        for name in ("GF", "GF_rate", "ND"):
            found, expected = (each[f"layers/{layer}/{name}"].values for each in (tree, whole))
            np.testing.assert_allclose(found, expected, 1e-9)


def test_an_iterable_of_unknown_length_holds_its_blocks():
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(images(70).double())

    measures = [tm.TransformationDistance(), tm.SampleDistance(), tm.NormalizedDistance()]
    tree = tm.measure(double(), Stream(), ROTATIONS, measures=measures, batch_size=100)
    assert_is(tree, cube(double(), Stream(), ROTATIONS), measures)
    with pytest.raises(tm.ArgumentError, match="serves one"):
        tm.measure(double(), Stream(), ROTATIONS, measures="GF")
    with pytest.raises(tm.ArgumentError, match="'all' takes a number of samples"):
        tm.measure(double(), Stream(), ROTATIONS, measures=tm.SampleDistance(pairs="all"))


def test_a_plan_of_all_measures_is_taken_over():
    arguments = {"measures": "all", "errors": True, "memory": 2_000_000}
    plan = tm.explain(double(), images(70), ROTATIONS, **arguments)
    del arguments["memory"]
    tree = tm.measure(double(), images(70), ROTATIONS, plan=plan, **arguments)
    assert tm.Plan.from_json(tree.attrs["plan"]) == plan
    names = ["ND", "GF", "VSE", "DSE", "SSE"]
    few = tm.measure(double(), images(70), ROTATIONS, plan=plan, measures=names)
    for name in ("ND", "GF"):
        np.testing.assert_array_equal(few[f"layers/0/{name}"], tree[f"layers/0/{name}"])
    assert "ND_se" not in few["layers/0"]  # which the plan keeps, and this run does not ask for
    with pytest.raises(tm.ArgumentError, match="other identities"):
        tm.measure(double(), images(70), tm.rotations(13)[1:], plan=plan, measures=names)
    without = tm.explain(double(), images(70), ROTATIONS, measures=["TD", "SV"])
    for change in ({"measures": "SD"}, {"measures": "GF"}, {"measures": "TD", "errors": True}):
        with pytest.raises(tm.ArgumentError, match="the plan was made for other"):
            tm.measure(double(), images(70), ROTATIONS, plan=without, **change)


@pytest.mark.parametrize("memory", [1_200_000, 700_000])
def test_standard_errors_are_the_same_in_several_passes(memory):
    arguments = {"measures": ["ND", "TV"], "errors": True}
    plan = tm.explain(double(), images(70), ROTATIONS, memory=memory, **arguments)
    assert len(plan.passes) > 1
    tree = tm.measure(double(), images(70), ROTATIONS, memory=memory, **arguments)
    whole = tm.measure(double(), images(70), ROTATIONS, **arguments)
    for name in ("ND", "ND_se", "TV_se"):
        found, expected = (each[f"layers/0/{name}"].values for each in (tree, whole))
        np.testing.assert_allclose(found, expected, 1e-9)


def test_standard_errors_are_those_of_the_stored_cube():
    arguments = (double(), images(70), ROTATIONS)
    tree = tm.measure(*arguments, measures=["TV", "SD", "NV"], errors=True)
    values = cube(*arguments)["0"].astype(np.longdouble)
    expected = values.var(1, ddof=1).std(0, ddof=1) / np.sqrt(70)
    np.testing.assert_allclose(tree["layers/0/TV_se"], expected.astype(float), 1e-9)
    apart = [np.abs(b[:, None] - b).sum((0, 1)) for b in np.split(values, [32, 64])]
    sizes = np.array([32, 32, 6])[:, None, None, None]
    means = np.stack(apart).mean(1) / (sizes * (sizes - 1)) * 69 / 70
    expected = means.std(0, ddof=1) / np.sqrt(3)
    np.testing.assert_allclose(tree["layers/0/SD_se"], expected.astype(float), 1e-9)
    assert "NV_se" not in tree["layers/0"]
    one = tm.measure(double(), images(1), ROTATIONS, measures="TV", errors=True)
    assert np.isnan(one["layers/0/TV_se"]).all()


@pytest.mark.parametrize("order", ["sorted", "shuffled"])
def test_blocks_estimate_all_pairs_whether_or_not_samples_come_by_class(order):
    random = torch.Generator().manual_seed(1)
    classes = torch.arange(8).repeat_interleave(40)
    if order == "shuffled":
        classes = classes[torch.randperm(320, generator=random)]
    x = 3 * torch.randn(8, 50, generator=random)[classes] + torch.randn(320, 50, generator=random)
    model, two = nn.Identity(), [lambda x: x, lambda x: -x]
    arguments = {"layers": "output", "errors": True, "measures": "SD"}
    blocks = tm.measure(model, x, two, **arguments)["layers/output"]
    pairs = tm.SampleDistance(pairs="all")
    exact = tm.measure(model, x, two, layers="output", measures=pairs)["layers/output/SD"].values
    off = (blocks["SD"].values - exact) / blocks["SD_se"].values
    assert np.abs(off).max() < 3
    assert np.sqrt(np.square(off).mean()) < 1
