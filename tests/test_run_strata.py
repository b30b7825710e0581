"""Stratified runs against runs of each class by itself."""

import numpy as np
import pytest
import torch

import tmeasures as tm
from cubes import images, network

ROTATIONS = tm.rotations(6)
LABELS = np.array(["b", "a", "c", "a", "b"] * 12 + ["rare"])
CLASSES = ("a", "b", "c")


def double():
    return network().double()


class Labelled(torch.utils.data.Dataset):
    """Items with labels, whose reads are counted."""

    def __init__(self):
        self.reads = 0

    def __len__(self):
        return len(LABELS)

    def __getitem__(self, i):
        self.reads += 1
        return images(61)[i], str(LABELS[i])


def of_class(label, measures, **arguments):
    chosen = torch.from_numpy(np.flatnonzero(label == LABELS))
    return tm.measure(double(), images(61)[chosen], ROTATIONS, measures=measures, **arguments)


@pytest.mark.parametrize("memory", [None, 400_000])
def test_a_stratum_is_measured_as_if_alone(memory):
    measures = ["TV", "SV", "NV", "TD", "ANOVA"]
    arguments = {"labels": LABELS, "stratify": "each", "memory": memory}
    tree = tm.measure(double(), images(61), ROTATIONS, measures=measures, **arguments)
    for name in ("0", "2", "4"):
        layer = tree[f"layers/{name}"]
        assert layer["stratum"].values.tolist() == [*CLASSES, "rare"]
        for variable in ("TV", "SV", "NV", "TD", "ANOVA_F"):
            alone = [of_class(label, measures)[f"layers/{name}/{variable}"] for label in CLASSES]
            found = layer[f"{variable}_by_stratum"].values
            np.testing.assert_allclose(found[:3], np.stack(alone), 1e-9, err_msg=variable)
            if variable != "ANOVA_F":
                counted = np.isfinite(found)
                assert (layer[f"{variable}_strata"].values == counted.sum(0)).all()
                expected = np.where(counted, found, 0).sum(0) / counted.sum(0)
                np.testing.assert_allclose(layer[variable], expected, 1e-12)
        assert np.isnan(layer["SV_by_stratum"][3]).all()  # one sample
        assert np.isfinite(layer["TV_by_stratum"][3]).all()
        rejected = [of_class(label, measures)[f"layers/{name}/ANOVA_rejected"] for label in CLASSES]
        np.testing.assert_allclose(layer["ANOVA_rejected"], np.mean(rejected, 0))
        assert "ANOVA_F" not in layer


def test_means_alone_are_those_of_each():
    arguments = {"labels": LABELS, "measures": "all", "errors": True}
    each = tm.measure(double(), images(61), ROTATIONS, stratify="each", **arguments)
    mean = tm.measure(double(), images(61), ROTATIONS, stratify="mean", **arguments)
    for name in ("0", "2", "4"):
        for variable, values in mean[f"layers/{name}"].data_vars.items():
            np.testing.assert_array_equal(values, each[f"layers/{name}/{variable}"])
        assert "TV_by_stratum" not in mean[f"layers/{name}"]
    assert mean.attrs["stratify"] == "mean"


def test_a_class_is_a_result_of_its_own():
    arguments = {"labels": LABELS, "measures": ["NV", "ND"], "stratify": "each"}
    tree = tm.measure(double(), images(61), ROTATIONS, **arguments)
    one = tm.stratum(tree, "b")
    alone = of_class("b", ["NV", "ND"])
    np.testing.assert_allclose(one["layers/0/ND"], alone["layers/0/ND"], 0.1)  # another order
    np.testing.assert_allclose(tm.summary(one).NV_mean, tm.summary(alone).NV_mean, 1e-9)
    assert set(one["samples/labels"].values) == {"b"}


def test_thresholds_are_those_of_the_whole_set():
    measure = tm.Goodfellow(g=0.1)
    arguments = {"measures": measure, "labels": LABELS, "stratify": "each"}
    plan = tm.explain(double(), images(61), ROTATIONS, **arguments)
    assert [p.prelude for p in plan.passes] == [True, False]
    tree = tm.measure(double(), images(61), ROTATIONS, **arguments)
    whole = tm.measure(double(), images(61), ROTATIONS, measures=measure)
    sizes = np.array([np.sum(label == LABELS) for label in (*CLASSES, "rare")])
    for name in ("0", "4"):
        rates = tree[f"layers/{name}/GF_rate_by_stratum"].values[:3]
        of_all = whole[f"layers/{name}/GF_rate"].values * 61
        fired = (rates * sizes[:3].reshape(-1, *[1] * (rates.ndim - 1))).sum(0)
        assert ((of_all - fired >= -1e-9) & (of_all - fired <= 1 + 1e-9)).all()  # the rare one's


@pytest.mark.parametrize("threshold", ["quantile", "normal"])
@pytest.mark.parametrize("reference", ["untransformed", "transformed"])
def test_firing_in_a_class_goes_by_thresholds_of_all(reference, threshold):
    measure = tm.Goodfellow(g=0.2, reference=reference, threshold=threshold)
    arguments = {"measures": measure, "labels": LABELS, "stratify": "each"}
    tree = tm.measure(double(), images(61), ROTATIONS, **arguments)
    (seeded,) = tm.walk(double(), images(61), ROTATIONS, batch_size=10**6, labels=LABELS)
    values = seeded.values["4"].numpy()
    inputs = values[:, 0] if reference == "untransformed" else values
    if threshold == "normal":
        inputs = inputs.reshape(-1, 5)
        limit = inputs.mean(0) + 0.8416212335729143 * inputs.std(0, ddof=1)
    else:
        inputs = inputs if reference == "untransformed" else inputs[: -(-61 // 6)].reshape(-1, 5)
        ordered = np.sort(inputs, 0)[::-1]
        fires = -(-len(inputs) // 5)
        limit = (ordered[fires - 1] + ordered[fires]) / 2
    fires = values > limit
    for at, label in enumerate(CLASSES):
        one = fires[seeded.labels == label]
        rate = one[:, 0].mean(0) if reference == "untransformed" else one.mean((0, 1))
        with np.errstate(all="ignore"):
            local = (one[:, :1] & one[:, 1:]).mean(1).sum(0) / one[:, 0].sum(0)
            expected = local / rate
        found = tree["layers/4/GF_by_stratum"].values[at]
        np.testing.assert_allclose(found, expected, 1e-9)


def test_a_threshold_that_is_not_finite_gives_nothing_in_any_class():
    x = torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
    x[5, 1] = torch.nan
    labels = np.arange(40) % 2
    arguments = {"labels": labels, "stratify": "each", "layers": "output"}
    measure = tm.Goodfellow(threshold="normal")
    with pytest.warns(tm.TMeasuresWarning, match="NaN"):
        tree = tm.measure(torch.nn.Identity(), x, [lambda x: x, abs], measures=measure, **arguments)
    rates = tree["layers/output/GF_rate_by_stratum"].values
    assert np.isfinite(rates).tolist() == [[True, False], [True, False]]


def test_labels_are_read_when_all_else_is_right():
    data = Labelled()
    with pytest.raises(tm.ArgumentError, match="nope"):
        tm.measure(double(), data, ROTATIONS, layers="nope", stratify="mean")
    assert data.reads < 10


def test_samples_are_visited_once_and_read_once_more_for_labels():
    data = Labelled()
    arguments = {"measures": ["TV", "NV", "ND"], "stratify": "mean", "batch_size": 48}
    plan = tm.explain(double(), data, ROTATIONS, **arguments)
    assert (plan.reads, plan.inputs) == (2 * 61, 61 * 6)
    assert any("for their labels" in why for why in plan.why)
    assert plan.strata == (24, 24, 12, 1)
    data.reads = 0
    tree = tm.measure(double(), data, ROTATIONS, **arguments)
    assert plan.reads <= data.reads <= plan.reads + 9  # transformations are checked, and the probe
    assert tree.attrs["inputs"] == plan.inputs
    assert sorted(tree["samples/ids"].values) == list(range(61))
    labels = tree["samples/labels"].values
    assert (labels == np.sort(labels)).all()
    assert (labels == LABELS[tree["samples/ids"].values]).all()
    seeded = tm.measure(double(), data, measures="SV")["samples/ids"].values.tolist()
    places = [seeded.index(id_) for id_ in tree["samples/ids"].values]
    for size, end in zip((24, 24, 12), (24, 48, 60), strict=True):
        assert places[end - size : end] == sorted(places[end - size : end])


def test_a_class_that_is_too_small_has_no_value():
    class Loudness(tm.Measure):
        short = "LOUD"
        needs = frozenset({"largest"})
        least = (20, 1)

        def finalize(self, quantities):
            return {"LOUD": tm.Field(quantities["largest"], "activation", "loudness", "here")}

        def reference(self, cube):
            return {"LOUD": np.abs(cube).max((0, 1))}

    arguments = {"labels": LABELS, "measures": Loudness(), "stratify": "each"}
    tree = tm.measure(double(), images(61), ROTATIONS, **arguments)
    layer = tree["layers/0"]
    assert np.isnan(layer["LOUD_by_stratum"].values).all((1, 2, 3)).tolist() == [0, 0, 1, 1]
    assert (layer["LOUD_strata"] == 2).all()


def test_a_class_that_is_too_small_does_not_say_that_a_unit_lives():
    x = torch.rand(61, 3)
    x[:, 0] = 0
    x[60, 0] = 1  # of the class "rare", which NV does not measure
    model, two = torch.nn.Identity(), [lambda x: x, lambda x: 2 * x]
    arguments = {"labels": LABELS, "stratify": "mean", "layers": "output"}
    status = tm.measure(model, x, two, measures="NV", **arguments)["layers/output/status"]
    assert (status.values & 1).tolist() == [1, 0, 0]
    status = tm.measure(model, x, two, measures="TV", **arguments)["layers/output/status"]
    assert (status.values & 1).tolist() == [0, 0, 0]


def test_rows_held_are_those_of_the_largest_class():
    arguments = {"measures": tm.SampleDistance(pairs="all"), "batch_size": 6}
    strata = {"labels": LABELS, "stratify": "mean"}
    whole = tm.explain(double(), images(61), ROTATIONS, **arguments)
    apart = tm.explain(double(), images(61), ROTATIONS, **arguments, **strata)
    assert any("of 61 rows" in why for why in whole.why)
    assert any("of 24 rows" in why for why in apart.why)
    assert apart.state_bytes < 0.6 * whole.state_bytes
    measured = {label: of_class(label, **arguments) for label in CLASSES}
    tree = tm.measure(double(), images(61), ROTATIONS, **arguments, **strata)
    expected = np.mean([one["layers/0/SD"].values for one in measured.values()], 0)
    np.testing.assert_allclose(tree["layers/0/SD"], expected, 1e-9)


def test_known_labels_take_no_reading():
    arguments = {"labels": LABELS, "stratify": "each", "measures": ["NV"]}
    plan = tm.explain(double(), images(61), ROTATIONS, **arguments)
    assert plan.reads == 61
    mean = tm.explain(double(), images(61), ROTATIONS, **(arguments | {"stratify": "mean"}))
    assert plan.result_bytes > 2 * mean.result_bytes
    assert "4 of 1 to 24 samples" in str(plan)
    again = tm.measure(double(), images(61), ROTATIONS, plan=plan, **arguments)
    assert tm.Plan.from_json(again.attrs["plan"]) == plan
    other = np.roll(LABELS, 1)
    other[:3] = "a"
    with pytest.raises(tm.ArgumentError, match="other strata"):
        tm.measure(double(), images(61), ROTATIONS, plan=plan, **(arguments | {"labels": other}))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"stratify": "class"}, "stratify='class' is unknown"),
        ({"stratify": "mean"}, "a label for each sample"),
        ({"stratify": "mean", "labels": LABELS[:7]}, "7 labels for 61 samples"),
        ({"stratify": "mean", "labels": np.arange(61)}, "NV needs at least 2 samples"),
    ],
)
def test_what_cannot_be_stratified_is_refused(arguments, says):
    with pytest.raises(tm.TMeasuresError, match=says):
        tm.measure(double(), images(61), ROTATIONS, measures="NV", **arguments)
