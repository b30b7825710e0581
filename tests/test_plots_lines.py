"""Layer lines: what a measure does with depth."""

from itertools import pairwise

import numpy as np
import pytest

from drawing import CONV, FACTS, TITLE, assert_readable, columns, each_class, make, value
from tmeasures import plots, views
from tmeasures.errors import ArgumentError, ResultError
from tmeasures.fields import DEAD
from tmeasures.plots.legends import LINES
from tmeasures.plots.text import fitted, shortened, width_of
from tmeasures.summaries import summary

PARTS = (
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "output.dense",
)


def tree(values, **attributes):
    """A tree of NV by layer."""
    layers = {name: (("unit",), {"NV": value(each)}) for name, each in values.items()}
    return make(layers, facts=FACTS | attributes)


def deep(count, seed=0, **attributes):
    """A transformer's names, and numbers that have everything in them."""
    rng = np.random.default_rng(seed)
    values = {}
    for i in range(count):
        units = rng.lognormal(-1, 0.6, 40)
        units[:2] = (np.inf, np.nan) if i % 7 == 3 else units[:2]
        values[f"encoder.layer.{i // 5}.{PARTS[i % 5]}"] = units if i != 6 else units * np.nan
    return tree(values, **attributes)


def lines(figure):
    """The lines with markers: those of the results."""
    return [line for line in figure.axes[0].lines if line.get_marker() != "None"]


def band(figure, i=0):
    """Lower and upper end of a band, at each layer."""
    ends = [line for line in figure.axes[0].lines if line.get_marker() == "None"]
    return ends[2 * i].get_ydata(), ends[2 * i + 1].get_ydata()


def legend(figure):
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def test_mean_and_standard_deviation():
    result = tree({"a": [1.0, 3.0], "b": [4.0, 4.0, 7.0]})
    before = result.copy(deep=True)
    figure = plots.lines(result)
    assert result.identical(before)
    (line,) = lines(figure)
    np.testing.assert_allclose(line.get_ydata(), [2, 5])
    np.testing.assert_allclose(band(figure), [[1, 5 - 2**0.5], [3, 5 + 2**0.5]], rtol=1e-6)
    axes = figure.axes[0]
    assert columns(figure) == ["a", "b"]
    assert axes.get_ylabel() == "a variance (dimensionless)\nmean and standard deviation over units"
    assert figure.get_suptitle() == f"NV of {TITLE}"
    assert plots.lines(result, title="mine").get_suptitle() == "mine"
    assert axes.get_legend() is None
    assert axes.get_ylim()[0] < 0.01, "a measure from 0 up is drawn from 0 up"


def test_median_and_quartiles():
    figure = plots.lines(tree({"a": [1, 2, 3, 4, 100.0]}), statistic="median")
    assert lines(figure)[0].get_ydata() == [3]
    np.testing.assert_allclose(band(figure), [[2], [4]])
    assert figure.axes[0].get_ylabel().endswith("median and quartiles over units")


def test_p_values_have_quartiles_and_decisions_a_share():
    fields = {
        "P": value([0.1, 0.2, 0.3, 0.4, 1.0], kind="p"),
        "R": value([True, False, False, False, False], kind="decision"),
    }
    result = make({"a": (("unit",), fields)})
    for statistic in ("mean", "median"):
        figure = plots.lines(result, "P", statistic=statistic)
        np.testing.assert_allclose(lines(figure)[0].get_ydata(), [0.3])
        np.testing.assert_allclose(band(figure), [[0.2], [0.4]])
        assert "median" in figure.axes[0].get_ylabel()
    figure = plots.lines(result, "R")
    np.testing.assert_allclose(lines(figure)[0].get_ydata(), [0.2])
    assert len(figure.axes[0].lines) == 1, "no band"
    assert figure.axes[0].get_ylabel() == "a variance\nshare of the units for which this is so"
    assert figure.axes[0].get_ylim() == pytest.approx((-0.03, 1.03))


def test_a_band_ends_at_0_where_no_unit_is_negative():
    spread = [0, 0, 0, 0, 10.0]
    assert band(plots.lines(tree({"a": spread})))[0] == [0]
    negative = plots.lines(tree({"a": spread, "b": [-1.0, -1.0]}))
    np.testing.assert_allclose(band(negative)[0], [-2, -1])
    assert negative.axes[0].get_ylim()[0] < -2


def test_a_band_does_not_flatten_the_lines():
    figure = plots.lines(tree({"a": [1.0, 1.0], "b": [2.0] * 999 + [1000.0]}))
    top = figure.axes[0].get_ylim()[1]
    assert 3 < top < 12
    assert band(figure)[1].max() > top


def test_log_scale():
    values = {"a": [0.1, 0.1], "b": [10.0, 1000.0], "c": [0.0, 0.0], "d": [0.1] * 99 + [40.0]}
    figure = plots.lines(tree(values), scale="log")
    axes = figure.axes[0]
    assert axes.get_yscale() == "log"
    np.testing.assert_allclose(lines(figure)[0].get_ydata(), [0.1, 505, np.nan, 0.499], rtol=1e-5)
    floor, top = axes.get_ylim()
    assert floor == pytest.approx(0.01 / 1.25)
    assert 1000 < top < 1500
    assert band(figure)[0][3] == floor, "mean - standard deviation is below 0"
    with pytest.raises(ArgumentError, match=r"no layer has a positive value.*'linear'"):
        plots.lines(tree({"a": [0.0, 0.0]}), scale="log")


def test_units_that_are_not_finite_are_counted():
    result = tree({"a": [1.0, np.inf, np.nan], "b": [np.nan, np.nan], "c": [1.0, 2.0]})
    figure = plots.lines(result)
    np.testing.assert_allclose(lines(figure)[0].get_ydata(), [1, np.nan, 1.5])
    assert figure.axes[0].get_xlabel() == "layer\n(units left out: 1 infinite and 3 NaN)"
    both = plots.lines({"one": result, "other": tree({"a": [1.0], "b": [1.0], "c": [2.0]})})
    assert legend(both) == ["one\n(1 infinite and 3 NaN left out)", "other"]
    assert both.axes[0].get_xlabel() == "layer"
    chosen = plots.lines(result, layers=["a", "c"])
    assert chosen.axes[0].get_xlabel() == "layer\n(units left out: 1 infinite and 1 NaN)"


def test_a_layer_between_gaps_keeps_its_band():
    figure = plots.lines(tree({"a": [np.nan], "b": [1.0, 3.0], "c": [np.nan], "d": [1.0]}))
    (bars,) = [each for each in figure.axes[0].collections if hasattr(each, "get_segments")]
    np.testing.assert_allclose(bars.get_segments()[0], [[1, 1], [1, 3]])


def test_several_results_differ_in_colour_and_marker():
    trees = {f"net {i}": tree({"a": [1.0 + i, 2.0], "b": [2.0, 3.0]}) for i in range(9)}
    figure = plots.lines(trees, dashed=["net 1", "net 3"])
    found = lines(figure)
    assert legend(figure) == list(trees)
    assert len({(line.get_color(), line.get_marker()) for line in found}) == 9
    assert [line.get_color() for line in found[:7]] == list(LINES)
    assert [line.get_linestyle() for line in found[:5]] == ["-", "--", "-", "--", "-"]
    np.testing.assert_allclose([line.get_ydata()[0] for line in found], 1.5 + np.arange(9) / 2)
    one = plots.lines(trees, dashed="net 8")
    assert [line.get_linestyle() for line in lines(one)].index("--") == 8
    with pytest.raises(ArgumentError, match="dashed names 'net 9', and the results are net 0"):
        plots.lines(trees, dashed="net 9")


def test_the_legend_has_names_that_begin_with_an_underscore():
    figure = plots.lines({"_a": tree({"a": [1.0]}), "b": tree({"a": [2.0]})})
    assert legend(figure) == ["_a", "b"]
    handles = figure.axes[0].get_legend().legend_handles
    assert [handle.get_color() for handle in handles] == [
        line.get_color() for line in lines(figure)
    ]


def test_titles_of_several_results():
    pair = {"plain": tree({"a": [1.0]}), "other": tree({"a": [1.0]}, n_samples=50)}
    figure = plots.lines(pair)
    assert figure.get_suptitle() == ("NV of SimpleConv under rotations(16)\nm = 16 transformations")
    assert legend(figure) == ["plain, n = 100 samples", "other, n = 50 samples"]
    assert legend(plots.lines({"plain": pair["plain"]})) == ["plain"]


def test_unlike_networks_need_percent():
    small = tree({"a": [1.0], "b": [2.0], "c": [3.0]})
    large = tree({"a": [1.0], "b": [2.0], "x": [2.0], "y": [2.0], "z": [4.0]}, model="Large")
    with pytest.raises(ResultError, match=r"'c' is in one of them only: use depth='percent'"):
        plots.lines([small, large])
    turned = tree({"b": [2.0], "a": [1.0], "c": [3.0]}, model="Large")
    with pytest.raises(ResultError, match="their order is not the same"):
        plots.lines([small, turned])
    assert len(lines(plots.lines([small, large], layers=["a", "b"]))) == 2
    figure = plots.lines([small, large], depth="percent")
    assert [line.get_xdata().tolist() for line in lines(figure)] == [
        [0, 50, 100],
        [0, 25, 50, 75, 100],
    ]
    assert figure.axes[0].get_xlabel() == "depth (% of the layers)"
    part = plots.lines(large, layers=["b", "z"], depth="percent")
    assert lines(part)[0].get_xdata().tolist() == [25, 100]


def test_channels_weigh_alike_in_a_reduced_result():
    maps = value([[[1.0, np.inf]], [[2.0, 4.0]]])
    result = make({"conv": (CONV, {"NV": maps})}, facts={})
    assert lines(plots.lines(result))[0].get_ydata() == pytest.approx(7 / 3)
    reduced = plots.lines(views.channels(result))
    assert lines(reduced)[0].get_ydata() == [2]


@pytest.mark.parametrize("count", [1, 16, 60, 300])
def test_text_does_not_overlap(count):
    pair = {"one": deep(count), "the other": deep(count, 1)}
    assert_readable(plots.lines(pair))
    figure = plots.lines(pair["one"], statistic="median", scale="log")
    assert_readable(figure)
    names = columns(figure)
    assert len(names) == (count if count < 88 else 75)
    assert len(set(names)) == len(names)
    assert all(len(name) <= 40 for name in names)


def test_a_long_legend_fits():
    names = [f"network number {i} of a long series of networks" for i in range(20)]
    trees = {name: deep(12, i) for i, name in enumerate(names)}
    assert_readable(plots.lines(trees, depth="percent"))
    mixed = [deep(12), deep(9, model="a network of a rather long name" * 2, n_samples=7)]
    assert_readable(plots.lines(mixed, depth="percent"))


def test_markers_keep_their_distance():
    (line,) = lines(plots.lines(deep(200), depth="percent"))
    shown = line.get_markevery()
    assert 30 <= len(shown) <= 60
    (few,) = lines(plots.lines(deep(10), depth="percent"))
    assert few.get_markevery() == list(range(10))


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_files(suffix, tmp_path):
    plots.lines([deep(20), deep(30, 1)], depth="percent").savefig(tmp_path / f"a.{suffix}")
    assert (tmp_path / f"a.{suffix}").stat().st_size > 5000


def test_mistakes():
    result = tree({"a": [1.0]})
    for name, wrong in (("statistic", "mode"), ("depth", "height"), ("scale", "sqrt")):
        with pytest.raises(ArgumentError, match=f"{name}='{wrong}'"):
            plots.lines(result, **{name: wrong})
    with pytest.raises(ResultError, match="no measure 'TV'"):
        plots.lines(result, "TV")
    with pytest.raises(ResultError, match="matches 'x'"):
        plots.lines(result, layers="x")
    field = value([[1.0, 2.0], [3.0, 4.0]], leading=("stratum",))
    leading = make({"a": (("unit",), {"NV": field})})
    with pytest.raises(ResultError, match=r"the dim 'stratum'.*tree.isel\(stratum=0\)"):
        plots.lines(leading)
    assert lines(plots.lines(leading.isel(stratum=1)))[0].get_ydata() == [3.5]


def test_the_score_has_a_line_without_a_band():
    fields = {"GF": value(np.arange(10.0), score=0.2), "NV": value(np.ones(10))}
    result = make({"a": (("unit",), fields)})
    figure = plots.lines(result, "GF", statistic="score")
    assert lines(figure)[0].get_ydata() == [8.5]
    assert len(figure.axes[0].lines) == 1
    assert not figure.axes[0].collections
    assert "mean of the largest 20 % of the units" in figure.axes[0].get_ylabel().replace("\n", " ")
    assert figure.axes[0].get_ylim()[1] > 8.5
    with pytest.raises(ArgumentError, match="statistic='score' is not there for NV: use 'mean' or"):
        plots.lines(result, "NV", statistic="score")


def test_counts_have_a_line_without_a_band():
    counts = {"a": [8, 10], "b": [100, 102]}
    tree = make({k: (("unit",), {"N": value(v, kind="count")}) for k, v in counts.items()})
    for statistic in ("mean", "median", "score"):
        figure = plots.lines(tree, "N", statistic=statistic)
        (line,) = figure.axes[0].lines
        assert line.get_ydata().tolist() == [9, 101]
        assert figure.axes[0].get_ylim()[1] > 101
        assert "mean over units" in figure.axes[0].get_ylabel()


def test_a_line_for_each_class():
    tree = each_class()
    figure = plots.lines(tree, "NV_by_stratum", statistic="median")
    assert legend(figure) == [
        "class ant, n = 4 samples",
        "class bee, n = 3 samples\n(1 NaN left out)",
        "class cow, n = 3 samples",
    ]
    found = [line for line in lines(figure) if len(line.get_xdata()) == 2]  # one is hollow
    for line, label in zip(found, ("ant", "bee", "cow"), strict=True):
        expected = summary(views.stratum(tree, label))["NV_median"]
        np.testing.assert_array_equal(line.get_ydata(), expected)
    assert figure.get_suptitle() == "NV of SimpleConv under rotations(16)\nm = 16 transformations"
    two = plots.lines({"x": tree, "y": each_class(seed=1)}, "NV_by_stratum", dashed="y, class bee")
    assert [text.split(", n")[0] for text in legend(two)] == [
        f"{name}, class {label}" for name in "xy" for label in ("ant", "bee", "cow")
    ]
    assert_readable(two)
    with pytest.raises(ResultError, match="no measure 'VN'"):
        plots.lines(tree, "VN_by_stratum")
    with pytest.raises(ResultError, match="measure with stratify='each'"):
        plots.lines(deep(3), "NV_by_stratum")


def test_dead_maps_are_a_share_of_the_maps():
    """Half of two maps, which is less than a tenth of 18 units."""
    fields = {"ND": value(np.ones(2), dims=("channel",)), "NV": value(np.ones((2, 1, 9)))}
    status = np.zeros((2, 1, 9), np.uint8)
    status[0] = DEAD
    figure = plots.lines(make({"a": (CONV, fields)}, {"a": status}), "ND")
    assert "hollow" in figure.axes[0].get_xlabel()


def test_names_are_shortened_in_the_middle():
    assert shortened(["short", "b" * 40], 11) == ["short", "bbbbb…bbbbb"]
    layers = [f"encoder.layer.{i}.attention.output.dense" for i in range(12)]
    short = shortened(layers, 20)
    assert len(set(short)) == 12
    assert all(len(name) < len(layer) for name, layer in zip(short, layers, strict=True))
    assert shortened(["a" * 30, "a" * 30], 9) == ["aaaa…aaaa"] * 2


def test_fitted_text():
    text = "rotation 22.5° · scale 0.5 · translation (-1, 0)"
    narrow = fitted(text, 0.7, 8)
    assert narrow.splitlines() == ["rotation", "22.5°", "scale 0.5", "translation", "(-1, 0)"]
    assert all(width_of(line, 8) <= 0.7 for line in narrow.splitlines())
    assert fitted(text, 0.7, 8, 3).splitlines() == ["rotation", "…", "(-1, 0)"]
    widths = [width_of(fitted("x" * 50, width, 8), 8) for width in (2, 1, 0.5)]
    assert all(big > small for big, small in pairwise(widths))
    assert fitted("x" * 50, 0.5, 8).replace("\n", "") == "x" * 50
    assert fitted("gaussian_blur_of_5 left-right", 0.8, 8).splitlines() == [
        "gaussian_",
        "blur_of_5",
        "left-right",
    ]


def test_layers_with_many_dead_units_have_hollow_markers():
    status = np.zeros(20, np.uint8)
    status[:3] = DEAD
    fields = {"NV": value(np.arange(20.0))}
    tree = make({"a": (("unit",), fields), "b": (("unit",), fields)}, {"b": status})
    axes = plots.lines(tree).axes[0]
    (hollow,) = [line for line in axes.lines if line.get_markerfacecolor() == "white"]
    assert hollow.get_xdata().tolist() == [1]
    assert "hollow: over 10 % of the units are dead" in axes.get_xlabel()
    assert "hollow" not in plots.lines(tree, layers="a").axes[0].get_xlabel()
