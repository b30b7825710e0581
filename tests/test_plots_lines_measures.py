"""Layer lines of several measures, and the floors of those that have one."""

import numpy as np
import pytest

from drawing import CONV, FACTS, assert_readable, columns, each_class, make, value
from tmeasures import plots
from tmeasures.errors import ArgumentError, ResultError
from tmeasures.plots.legends import LINES


def whole(values, **options):
    """A value for each feature map."""
    return value(values, dims=("channel",), **options)


def tree(shift=0.0, **attributes):
    """NV everywhere; DSE and its floor of the two convolutions, and a value of DSE for each."""
    layers = {}
    for i, name in enumerate(("conv1", "conv2")):
        fields = {
            "NV": value(np.array([1.0, 3.0])[:, None, None] + i + shift),
            "DSE": whole([0.2 + shift, 0.4 + shift, 0.9 + shift][:2]),
            "DSE_floor": whole([0.05, 0.15]),
            "DSE_layer": value(0.7 + shift, dims=()),
            "TV": value(np.ones((2, 1, 1)), units="activation2"),
        }
        layers[name] = CONV, fields
    layers["fc"] = ("unit",), {"NV": value([4.0 + shift])}
    return make(layers, facts=FACTS | attributes)


PAIR = {"one": tree(), "other": tree(1)}


def lines(figure):
    """Lines with full markers, by colour and marker; the floors of the same have smaller ones."""
    axes = figure.axes[0]
    return [line for line in axes.lines if line.get_markersize() == 4.5]


def floors(figure):
    return [line for line in figure.axes[0].lines if line.get_markersize() == 2.2]


def bands(figure):
    return [line for line in figure.axes[0].lines if line.get_marker() == "None"]


def legend(figure):
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def handles(figure):
    return figure.axes[0].get_legend().legend_handles


def test_results_have_the_colours_and_measures_the_styles():
    figure = plots.lines(PAIR, ["NV", "DSE"])
    found = lines(figure)
    assert [line.get_color() for line in found] == [LINES[0], LINES[0], LINES[1], LINES[1]]
    styles = [(line.get_linestyle(), line.get_marker()) for line in found]
    assert styles[:2] == styles[2:]
    assert styles[0] == ("-", "o")
    assert styles[1] == ("--", "s")
    expected = [[2, 3, 4], [0.3, 0.3, np.nan], [3, 4, 5], [1.3, 1.3, np.nan]]
    for line, values in zip(found, expected, strict=True):
        np.testing.assert_allclose(line.get_ydata(), values, rtol=1e-6)
    assert not bands(figure)
    assert not figure.axes[0].collections
    assert columns(figure) == ["conv1", "conv2", "fc"]


def test_the_legend_names_results_and_measures_apart():
    figure = plots.lines(PAIR, ["NV", "DSE"])
    assert legend(figure) == ["one", "other", "NV", "DSE\n(not in 1 of 3 layers)", "floor of DSE"]
    one, other, first, second, floor = handles(figure)
    assert [one.get_color(), other.get_color()] == list(LINES[:2])
    assert one.get_marker() == "None"
    for key, line in zip((first, second), lines(figure), strict=False):
        assert key.get_linestyle() == line.get_linestyle()
        assert key.get_marker() == line.get_marker()
        assert key.get_color() not in LINES
    assert floor.get_marker() == second.get_marker()
    assert floor.get_markersize() < second.get_markersize()
    assert floor.get_linewidth() < second.get_linewidth()


def test_the_axis_says_all_measures_and_what_points_are_of():
    figure = plots.lines(PAIR, ["NV", "DSE"], statistic="median")
    label = figure.axes[0].get_ylabel().replace("\n", " ")
    assert label == "NV, DSE (dimensionless) median over units and feature maps"
    assert figure.get_suptitle().startswith("NV, DSE of SimpleConv under")
    alone = plots.lines(PAIR, "DSE").axes[0].get_ylabel().replace("\n", " ")
    assert alone == "a variance (dimensionless) mean and standard deviation over feature maps"


def test_of_one_result_the_measures_have_the_colours():
    figure = plots.lines(tree(), ["NV", "DSE"])
    found = lines(figure)
    assert [line.get_color() for line in found] == list(LINES[:2])
    assert [line.get_linestyle() for line in found] == ["-", "-"]
    assert len({line.get_marker() for line in found}) == 2
    assert len(bands(figure)) == 4
    assert legend(figure) == ["NV", "DSE\n(not in 1 of 3 layers)", "floor of DSE"]
    assert [key.get_color() for key in handles(figure)] == [LINES[0], LINES[1], LINES[1]]
    named = plots.lines({"plain": tree()}, ["NV", "DSE"], floor=False)
    assert legend(named) == ["plain, NV", "plain, DSE\n(not in 1 of 3 layers)"]


@pytest.mark.parametrize("measures", ["DSE", ["DSE"], ["DSE", "DSE_floor"], ["DSE_floor", "DSE"]])
def test_a_measure_is_drawn_with_its_floor(measures):
    figure = plots.lines(PAIR, measures)
    assert [line.get_color() for line in floors(figure)] == list(LINES[:2])
    for floor, line in zip(floors(figure), lines(figure), strict=True):
        np.testing.assert_allclose(floor.get_ydata(), [0.1, 0.1], rtol=1e-6)
        assert floor.get_linewidth() < line.get_linewidth()
        assert floor.get_linestyle() != line.get_linestyle()
    assert len(bands(figure)) == 4, "of the measure, not of the floor"
    assert legend(figure) == ["one", "other", "floor of DSE"]
    assert columns(figure) == ["conv1", "conv2"]
    assert figure.get_suptitle().startswith("DSE of")


def test_one_line_with_a_floor_has_a_legend():
    figure = plots.lines(tree(), "DSE")
    assert legend(figure) == ["DSE", "floor of DSE"]
    assert legend(plots.lines({"plain": tree()}, "DSE")) == ["plain", "floor of DSE"]
    assert plots.lines(tree(), "DSE", floor=False).axes[0].get_legend() is None


def test_floors_are_left_out_on_demand():
    assert not floors(plots.lines(PAIR, ["NV", "DSE"], floor=False))
    asked_for = plots.lines(PAIR, ["DSE", "DSE_floor", "DSE_layer"], floor=False)
    assert len(floors(asked_for)) == 2
    alone = plots.lines(PAIR, ["NV", "DSE_floor"], floor=False)
    assert not floors(alone)
    np.testing.assert_allclose(lines(alone)[1].get_ydata(), [0.1, 0.1, np.nan], rtol=1e-6)
    with pytest.raises(ResultError, match="no measure 'NV_floor'"):
        plots.lines(PAIR, ["NV", "NV_floor"])


@pytest.mark.parametrize(("statistic", "expected"), [("mean", 0.3), ("median", 0.1)])
def test_a_floor_is_of_the_same_statistic(statistic, expected):
    fields = {
        "VSE": value([1.0, 2.0, 3.0]),
        "VSE_floor": value([0.1, 0.1, 0.7]),
    }
    figure = plots.lines(make({"a": (("unit",), fields)}), "VSE", statistic=statistic)
    np.testing.assert_allclose(floors(figure)[0].get_ydata(), [expected], rtol=1e-6)


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_a_floor_far_below_is_in_the_picture(scale):
    layers = {
        name: (("unit",), {"VSE": value([height]), "VSE_floor": value([1e-6])})
        for name, height in (("a", 5.0), ("b", 5.01))
    }
    figure = plots.lines(make(layers), "VSE", scale=scale)
    low, high = figure.axes[0].get_ylim()
    assert low < 1e-6 < 5 < high
    zero = {"VSE": value([1.0, 2.0]), "VSE_floor": value([0.0, 0.0])}
    zero_figure = plots.lines(make({"a": (("unit",), zero)}), "VSE", scale=scale)
    at = floors(zero_figure)[0].get_ydata()
    np.testing.assert_array_equal(at, [np.nan if scale == "log" else 0])


def test_layers_are_those_that_have_some_of_the_measures():
    figure = plots.lines(PAIR, ["DSE", "NV"], layers=["conv2", "fc"])
    assert columns(figure) == ["conv2", "fc"]
    np.testing.assert_allclose(lines(figure)[0].get_ydata(), [0.3, np.nan], rtol=1e-6)
    assert "DSE\n(not in 1 of 2 layers)" in legend(figure)
    both = plots.lines(PAIR, ["DSE", "NV"], layers="conv*")
    assert legend(both)[2:4] == ["DSE", "NV"]
    with pytest.raises(ResultError, match=r"none of the layers asked for has DSE: .* as conv1"):
        plots.lines(PAIR, ["NV", "DSE"], layers="fc")
    with pytest.raises(ResultError, match="no layer with NV or DSE matches 'pool'"):
        plots.lines(PAIR, ["NV", "DSE"], layers="pool")
    with pytest.raises(ResultError, match="no measure 'DES'"):
        plots.lines(PAIR, ["NV", "DES"])


def test_unlike_networks_say_how_many_layers_each_lacks():
    deep = {name: (("unit",), {"NV": value([1.0])}) for name in "abcd"}
    deep["e"] = CONV, {"NV": value(np.ones((1, 1, 1))), "DSE": whole([0.3])}
    figure = plots.lines(
        {"one": tree(), "deep": make(deep)}, ["NV", "DSE"], depth="percent", floor=False
    )
    assert "DSE\n(not in 1 of 3 or 4 of 5 layers)" in legend(figure)
    last = lines(figure)[3]
    np.testing.assert_allclose(last.get_xdata(), [0, 25, 50, 75, 100])
    assert np.isnan(last.get_ydata()[:4]).all()
    assert 4 in last.get_markevery(), "a lone point has a marker"


def test_one_value_for_each_layer_has_no_band():
    figure = plots.lines(tree(), "DSE_layer")
    np.testing.assert_allclose(lines(figure)[0].get_ydata(), [0.7, 0.7], rtol=1e-6)
    assert not bands(figure)
    assert not figure.axes[0].collections
    assert figure.axes[0].get_ylabel() == "a variance (dimensionless)"
    beside = plots.lines(tree(), ["DSE", "DSE_layer"], floor=False)
    assert len(bands(beside)) == 2
    assert "standard deviation over feature maps" in beside.axes[0].get_ylabel()


def test_units_left_out_are_counted_by_measure():
    fields = {"NV": value([[[1.0]], [[np.inf]]]), "DSE": whole([np.nan, np.nan])}
    broken = make({"a": (CONV, fields | {"DSE": whole([np.nan, 1.0])})})
    sound = make({"a": (CONV, {"NV": value(np.ones((2, 1, 1))), "DSE": whole([1.0, 1.0])})})
    figure = plots.lines({"x": broken, "y": sound}, ["NV", "DSE"])
    assert legend(figure) == [
        "x\n(NV: 1 infinite left out)\n(DSE: 1 NaN left out)", "y", "NV", "DSE"
    ]  # fmt: skip
    alone = plots.lines(broken, ["NV", "DSE"])
    assert legend(alone) == ["NV\n(1 infinite left out)", "DSE\n(1 NaN left out)"]
    assert alone.axes[0].get_xlabel() == "layer"


def test_mistakes():
    with pytest.raises(ArgumentError, match="NV and TV have other units, dimensionless and activ"):
        plots.lines(PAIR, ["NV", "TV"])
    with pytest.raises(ArgumentError, match="dashed lines and the 2 measures"):
        plots.lines(PAIR, ["NV", "DSE"], dashed="one")
    plots.lines(PAIR, ["DSE", "DSE_floor"], dashed="one")
    with pytest.raises(ArgumentError, match="draws nothing"):
        plots.lines(PAIR, [])
    for wrong in (3, ["NV", 3]):
        with pytest.raises(ArgumentError, match="neither a name nor a list"):
            plots.lines(PAIR, wrong)
    with pytest.raises(ArgumentError, match="NV_by_stratum is of single classes and ND of the wh"):
        plots.lines(each_class(), ["NV_by_stratum", "ND"])


def test_measures_of_each_class():
    figure = plots.lines(each_class(), ["NV_by_stratum", "ND_by_stratum"])
    names = [text.split(",")[0] for text in legend(figure)]
    assert names[:3] == ["class ant", "class bee", "class cow"]
    assert [text.splitlines()[0] for text in legend(figure)[3:]] == ["NV", "ND"]
    assert len([line for line in lines(figure) if line.get_markerfacecolor() != "white"]) == 6


def test_text_does_not_overlap():
    assert_readable(plots.lines(PAIR, ["NV", "DSE", "DSE_layer"]))
    assert_readable(plots.lines({"a long name of a network": tree()}, ["NV", "DSE"]))
    many = {f"network {i}": tree(i) for i in range(12)}
    assert_readable(plots.lines(many, ["NV", "DSE", "DSE_layer"], statistic="median"))
