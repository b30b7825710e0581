"""The most and the least invariant feature maps of a layer."""

import copy

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from torch import nn

import tmeasures as tm
from drawing import assert_readable, cells, columns, note, rows
from tmeasures import plots
from tmeasures.errors import ArgumentError, ResultError
from tmeasures.fields import DEAD, NOT_FINITE
from tmeasures.plots.features import TINTS

GENERATOR = torch.Generator().manual_seed(0)
IMAGES = torch.rand(12, 1, 9, 9, generator=GENERATOR)
LABELS = np.arange(12) % 10
ANGLES = tm.rotations(4)
VALUES = [0.5, np.inf, 0.25, np.nan, 3.0, 1.0, 2.0, 0.125]
"""Of eight channels; channel 5 is dead, so 7, 2, 0 are the smallest and 6, 4, 1 the largest."""


@pytest.fixture(scope="module")
def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 6, 3), nn.Flatten(), nn.Linear(150, 3)
        ).train()


@pytest.fixture(scope="module")
def tree(network):
    """A result in which the values of layer 0 are set by hand."""
    found = tm.measure(network, IMAGES, ANGLES, measures=["TV", "NV"], labels=LABELS, seed=3)
    layer = found["layers/0"]
    layer["NV"].values[:] = np.array(VALUES)[:, None, None]
    layer["status"].values[:] = 0
    layer["status"].values[5] = DEAD
    layer["status"].values[3] = NOT_FINITE
    return found


def draw(network, tree, layer="0", measure="NV", samples=IMAGES, **arguments):
    return plots.features(network, samples, ANGLES, tree, layer, measure, **arguments)


def order(count, seed=3):
    return np.random.default_rng(seed).permutation(12)[:count]


def test_one_value_for_the_whole_layer_ranks_nothing(network, tree):
    whole = tree.copy(deep=True)
    values = whole["layers/0/NV"].mean().assign_attrs(whole["layers/0/NV"].attrs)
    whole["layers/0"] = whole["layers/0"].to_dataset().assign(DSE_layer=values)
    with pytest.raises(ArgumentError, match="DSE_layer has one value for the whole layer"):
        draw(network, whole, measure="DSE_layer")


def test_ranking(network, tree):
    figure = draw(network, tree, n_samples=1, labels=LABELS)
    place = order(1)[0]
    assert rows(figure) == [
        f"label {place % 10}\nsample {place}",
        "channel 7\nNV 0.125",
        "channel 2\nNV 0.25",
        "channel 0\nNV 0.5",
        "channel 6\nNV 2",
        "channel 4\nNV 3",
        "channel 1\nNV ∞",
    ]
    assert note(figure).endswith(
        "1 dead channels left out; 1 NaN channels left out; shown: 1 of n = 12 samples"
    )
    tints = [tick.get_color() for tick in figure.axes[0].get_yticklabels()]
    assert tints == ["black", *[TINTS[0]] * 3, *[TINTS[1]] * 3]
    marks = {text.get_text().replace("\n", " "): text for text in figure.axes[0].texts}
    assert list(marks) == ["most invariant", "least invariant"]
    assert [to_rgb(text.get_color()) for text in marks.values()] == [to_rgb(t) for t in TINTS]
    assert figure.get_suptitle() == (
        "NV of the maps of 0 of Sequential under rotations(4)\n"
        "n = 12 samples, m = 4 transformations"
    )
    assert draw(network, tree, title="mine").get_suptitle() == "mine"


def test_values_are_those_of_channels(network, tree):
    values = tm.channels(tree)["layers/2/NV"].values
    figure = draw(network, tree, "2", n_maps=1, n_samples=1)
    expected = [(int(pick(values)), values[pick(values)]) for pick in (np.argmin, np.argmax)]
    assert rows(figure)[1:] == [f"channel {i}\nNV {value:.4g}" for i, value in expected]
    reduced = draw(network, tm.channels(tree), "2", n_maps=1, n_samples=1)
    assert rows(reduced) == rows(figure)


def test_maps_are_the_networks(network, tree):
    figure = draw(network, tree, "1", n_maps=2, n_samples=2)
    found = cells(figure)
    places = order(2)
    assert [row for row in rows(figure) if "sample" in row] == [f"sample {i}" for i in places]
    chosen = [int(row.split()[1]) for row in rows(figure)[1:5]]
    turned = ANGLES.apply(IMAGES[places])
    with torch.no_grad():
        maps = network[:2](turned.flatten(0, 1)).unflatten(0, (2, 4)).numpy()
    for sample in range(2):
        for column in range(4):
            at = 20 * sample + column
            np.testing.assert_allclose(found[at], turned[sample, column, 0].numpy(), rtol=1e-6)
            for i, channel in enumerate(chosen):
                seen = found[at + 4 + 4 * i]
                np.testing.assert_allclose(seen, maps[sample, column, channel], atol=1e-6)
    for i, channel in enumerate(chosen):
        ends = pytest.approx((maps[:, :, channel].min(), maps[:, :, channel].max()), abs=1e-6)
        images = figure.axes[0].images
        each = [images[20 * s + 4 + 4 * i + j] for s in range(2) for j in range(4)]
        assert [image.get_clim() for image in each] == [ends] * 8, "one scale for a channel"
        assert {image.get_cmap().name for image in each} == {"viridis"}


def test_nothing_is_changed(network, tree):
    network.train()
    before = tree.copy(deep=True), copy.deepcopy(network.state_dict()), IMAGES.clone()
    state = torch.get_rng_state()
    hooks = [len(module._forward_hooks) for module in network.modules()]
    draw(network, tree)
    assert tree.identical(before[0])
    assert all(torch.equal(x, before[1][name]) for name, x in network.state_dict().items())
    assert torch.equal(IMAGES, before[2])
    assert torch.equal(torch.get_rng_state(), state)
    assert all(module.training for module in network.modules())
    assert [len(module._forward_hooks) for module in network.modules()] == hooks


def test_samples_follow_the_seed(network, tree):
    asked = draw(network, tree, n_maps=1, seed=8, n_samples=2)
    assert [row for row in rows(asked) if "sample" in row] == [f"sample {i}" for i in order(2, 8)]
    few = draw(network, tree, n_maps=1, samples=IMAGES[:2])
    assert len(rows(few)) == 6
    assert note(few).endswith("shown: n = 2 samples")


def test_inputs_are_drawn_before_preprocessing(network, tree):
    def preprocess(x):
        return x.mul_(2).sub_(1)

    figure = draw(network, tree, preprocess=preprocess, n_samples=1, n_maps=1)
    plain = draw(network, tree, n_samples=1, n_maps=1)
    np.testing.assert_array_equal(cells(figure)[0], cells(plain)[0])
    assert not np.allclose(cells(figure)[4], cells(plain)[4])


def test_mappings_calls_and_patterns():
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv2d(1, 4, 3), nn.Linear(49, 2)

        def forward(self, image, mask):
            return self.fc(self.conv(image * mask).mean(1).flatten(1))

    samples = {"image": IMAGES, "mask": 1 - IMAGES, "digit": LABELS}
    how = {
        "input": "image",
        "labels": "digit",
        "call": lambda model, x: model(x["image"], x["mask"]),
        "preprocess": lambda x: x | {"image": x["image"].mul_(0.5)},
        "layout": {"conv": ("channel", "x", "y"), "fc": ("unit",)},
        "activations": {"fc": lambda output: output[:, :1]},
    }
    model = Masked()
    found = tm.measure(model, samples, ANGLES, measures="NV", **how)
    figure = plots.features(model, samples, ANGLES, found, "conv", n_maps=1, **how)
    first = order(1, 0)[0]
    assert rows(figure)[0] == f"label {first % 10}\nsample {first}"
    np.testing.assert_allclose(cells(figure)[0], IMAGES[first, 0].numpy())
    channel = int(rows(figure)[1].split()[1])
    with torch.no_grad():
        maps = model.conv((IMAGES / 2 * (1 - IMAGES))[first : first + 1])[0, channel].numpy()
    np.testing.assert_allclose(cells(figure)[4], maps.T, atol=1e-6)


def test_maps_over_time_are_lines():
    class Sensor(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.relu = nn.Conv1d(3, 4, 5), nn.ReLU()

        def forward(self, x):
            return self.relu(self.conv(x))

    samples = torch.rand(6, 3, 40, generator=torch.Generator().manual_seed(2)) - 0.5
    reverse = tm.transformations([lambda x: x, lambda x: x.flip(-1)], names=["as it is", "back"])
    model = Sensor()
    found = tm.measure(model, samples, reverse, measures="NV")
    figure = plots.features(model, samples, reverse, found, "conv", n_maps=1, n_samples=2)
    axes = figure.axes[0]
    assert not axes.images
    curves = [line for line in axes.lines if len(line.get_ydata()) > 2]
    assert [len(line.get_ydata()) for line in curves] == [*[40] * 6, *[36] * 4] * 2
    assert "; maps: lines, each channel from its least to its largest" in note(figure)
    channel = int(rows(figure)[1].split()[1])
    places = np.random.default_rng(0).permutation(6)[:2]
    with torch.no_grad():
        maps = model.conv(reverse.apply(samples[places]).flatten(0, 1))[:, channel].numpy()
    drawn = [curves[i].get_ydata() for i in (6, 7, 16, 17)]
    scale = np.ptp(drawn[0]) / np.ptp(maps[0])
    for line, values in zip(drawn, maps, strict=True):
        np.testing.assert_allclose(line.max() - line, scale * (values - values.min()), atol=1e-5)
    assert_readable(figure)


def test_few_channels(network, tree):
    part = tree.copy(deep=True)
    part["layers/0"]["status"].values[0] = DEAD
    names = rows(draw(network, part, n_samples=1))
    assert [name.split()[1] for name in names[1:]] == ["7", "2", "4", "1"], "five left, none twice"
    part["layers/0"]["status"].values[[0, 1, 2, 3, 4]] = DEAD
    names = rows(draw(network, part, n_samples=1))
    assert [name.split()[1] for name in names[1:]] == ["7", "6"], "two left, one at each end"
    part["layers/0"]["status"].values[6] = DEAD
    assert [name.split()[1] for name in rows(draw(network, part, n_samples=1))[1:]] == ["7"]
    part["layers/0"]["status"].values[7] = DEAD
    with pytest.raises(ResultError, match="no channel of '0' has a value of NV, all 8 being dead"):
        draw(network, part)


def test_other_measures_say_what_they_rank_by(network, tree):
    figure = draw(network, tree.assign(), measure="TV", n_samples=1, n_maps=2)
    assert [text.get_text() for text in figure.axes[0].texts] == [
        "most invariant",
        "least invariant",
    ]
    found = tm.measure(network, IMAGES, ANGLES, measures=["SV", "ANOVA"])
    for measure in ("SV", "ANOVA_p", "ANOVA_rejected"):
        figure = draw(network, found, measure=measure, n_samples=1, n_maps=2)
        marks = [text.get_text().replace("\n", " ") for text in figure.axes[0].texts]
        assert marks == [f"smallest {measure}", f"largest {measure}"]


def test_of_gf_the_largest_are_the_most_invariant(network, tree):
    found = tree.copy(deep=True)
    layer = found["layers/0"]
    layer["GF"], layer["ND"] = layer["NV"], layer["NV"].isel(x=0, y=0)
    figure = draw(network, found, measure="GF", n_samples=1, n_maps=2)
    assert [row.split()[1] for row in rows(figure)[1:]] == ["1", "4", "2", "7"]
    marks = [text.get_text() for text in figure.axes[0].texts]
    assert marks == ["most invariant", "least invariant"]
    figure = draw(network, found, measure="ND", n_samples=1, n_maps=2)
    assert [row.split()[1] for row in rows(figure)[1:]] == ["7", "2", "4", "1"]
    assert [text.get_text() for text in figure.axes[0].texts] == marks


def test_many_transformations_are_spread(network, tree):
    many = tm.rotations(64)
    figure = plots.features(
        network, IMAGES, many, tree, "0", n_maps=1, n_samples=1, n_transformations=3
    )
    names = [name.replace("\n", " ") for name in columns(figure)]
    assert names == [many[i].name for i in (0, 32, 63)]
    assert note(figure).endswith(
        "shown: 1 of n = 12 samples, 3 of m = 64 transformations of rotations(64)"
    )


def test_activations_that_are_not_finite_do_no_harm(network, tree, tmp_path):
    broken = IMAGES.clone()
    broken[:, :, 4, 4] = np.nan
    draw(network, tree, samples=broken).savefig(tmp_path / "a.png")
    zeros = draw(network, tree, "1", samples=torch.zeros(4, 1, 9, 9))
    zeros.savefig(tmp_path / "b.png")


@pytest.mark.parametrize(
    ("n_maps", "n_samples", "measure"),
    [(1, 1, "NV"), (3, 3, "NV"), (1, 2, "ANOVA_paired_rejected")],
)
def test_text_does_not_overlap(n_maps, n_samples, measure, network, tree):
    found = tree
    if measure != "NV":
        found = tm.measure(network, IMAGES, ANGLES, measures=tm.Anova(paired=True))
    for layer in ("0", "2"):
        figure = draw(network, found, layer, measure, n_maps=n_maps, n_samples=n_samples)
        assert_readable(figure)


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_files(suffix, tmp_path, network, tree):
    draw(network, tree, n_maps=1, n_samples=1).savefig(tmp_path / f"a.{suffix}")
    assert (tmp_path / f"a.{suffix}").stat().st_size > 5000


def test_mistakes(network, tree):
    with pytest.raises(ResultError, match="no layer 'conv': use one of 0, 1, 2, 4"):
        draw(network, tree, "conv")
    with pytest.raises(ArgumentError, match="'4' has the dims unit and so no maps: choose a layer"):
        draw(network, tree, "4")
    strata = tree.copy(deep=True)
    strata["layers/0"]["NV"] = strata["layers/0"]["NV"].expand_dims("stratum")
    with pytest.raises(ResultError, match=r"dim 'stratum'.* pick .*tree.isel\(stratum=0\)"):
        draw(network, strata)
    strata["layers/0"]["NV_by_stratum"] = strata["layers/0"]["NV"]
    with pytest.raises(ResultError, match=r"draw NV of tm\.stratum\(tree, label\)"):
        draw(network, strata, measure="NV_by_stratum")
    with pytest.raises(ResultError, match="no measure 'SV'"):
        draw(network, tree, measure="SV")
    for name in ("n_maps", "n_samples", "n_transformations"):
        with pytest.raises(ArgumentError, match=f"{name}=0"):
            draw(network, tree, **{name: 0})
    other = nn.Sequential(nn.Conv2d(1, 9, 3), *list(network)[1:2], nn.Conv2d(9, 6, 3), *network[3:])
    with pytest.raises(ResultError, match="8 channels in the result and 9 in the network"):
        draw(other, tree)
    with pytest.raises(ResultError, match=r"network has no layer '2' of the result: .* measured$"):
        draw(network[:2], tree)
    with pytest.raises(ArgumentError, match="layout pattern 'x'"):
        draw(network, tree, layout={"x": ("unit",)})
    found = tm.measure(network[:1], IMAGES, ANGLES, measures="NV", activations="pooled")
    with pytest.raises(ArgumentError, match="no maps over y, x or time"):
        draw(network[:1], found, activations="pooled")
    with pytest.raises(ResultError, match="not a result"):
        draw(network, tree["layers"])


def test_other_weights_than_those_that_were_measured_are_told(network, tree):
    other = copy.deepcopy(network)
    draw(other, tree)
    with torch.no_grad():
        other[0].bias[0] += 1
    with pytest.warns(tm.TMeasuresWarning, match="other weights than the Sequential"):
        draw(other, tree)
