"""Pictures of units: what all have in common, histograms, and one measure against another."""

import io
from itertools import pairwise

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.figure import Figure

from drawing import CONV, MAPS, TITLE, assert_readable, each_class, layer, make, units, value
from tmeasures import plots
from tmeasures.errors import ArgumentError, ResultError
from tmeasures.fields import DEAD, NOT_FINITE
from tmeasures.plots.colours import log_ticks
from tmeasures.plots.common import named


@pytest.mark.parametrize(
    ("draw", "arguments"),
    [(plots.maps, ("a", "NV")), (plots.histograms, ("NV",)), (plots.scatter, ("NV", "NV"))],
)
class TestAll:
    """What the three have in common."""

    @pytest.mark.parametrize("scale", ["linear", "log"])
    @pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
    def test_every_format_is_written_and_the_input_unchanged(self, draw, arguments, suffix, scale):
        values = MAPS.copy()
        values[0, 0, :2] = np.nan, np.inf
        status = np.zeros(values.shape, np.uint8)
        status[0, 1], status[0, 0, :2] = DEAD, NOT_FINITE
        tree = layer(CONV, values, status)
        before = tree.copy(deep=True)
        file = io.BytesIO()
        draw(tree, *arguments, scale=scale).savefig(file, format=suffix)
        assert len(file.getvalue()) > 1000
        assert tree.identical(before)

    @pytest.mark.parametrize("scale", ["linear", "log"])
    @pytest.mark.parametrize("fill", [0, 2, -1, np.nan, np.inf])
    def test_degenerate_values(self, draw, arguments, fill, scale):
        file = io.BytesIO()
        draw(layer(CONV, np.full((2, 3, 3), fill)), *arguments, scale=scale).savefig(file)
        assert len(file.getvalue()) > 1000

    def test_titles(self, draw, arguments):
        assert TITLE in draw(layer(CONV, MAPS), *arguments).get_suptitle()
        assert draw(layer(CONV, MAPS), *arguments, title="mine").get_suptitle() == "mine"

    def test_errors(self, draw, arguments):
        tree = layer(CONV, MAPS)
        with pytest.raises(ArgumentError, match=r"'a.nc' is a path"):
            draw("a.nc", *arguments)
        with pytest.raises(ArgumentError, match="of one result, not of 2: draw x, y one by one"):
            draw({"x": tree, "y": tree}, *arguments)
        with pytest.raises(ArgumentError, match="scale='ln' is not a scale"):
            draw(tree, *arguments, scale="ln")
        with pytest.raises(ResultError, match="no measure 'VN': use one of NV"):
            draw(tree, *[name.replace("NV", "VN") for name in arguments])
        steps = make({"a": (("unit",), {"NV": value(np.ones((2, 3)), leading=("stratum",))})})
        with pytest.raises(ResultError, match="the dim 'stratum'"):
            draw(steps, *arguments)
        names = [name.replace("NV", "NV_by_stratum") for name in arguments]
        names = [name.replace("a", "conv") if name == "a" else name for name in names]
        with pytest.raises(ResultError, match=r"each class: draw NV of tm\.stratum\(tree, label\)"):
            draw(each_class(), *names)


def test_names_of_results():
    def found(trees):
        return list(named(trees).items())

    one, two = layer(CONV, MAPS), layer(CONV, MAPS)
    del two.attrs["model"]
    assert found(one) == [("SimpleConv", one)]
    assert found([one, one, two, one]) == [
        ("SimpleConv", one),
        ("SimpleConv 2", one),
        ("result", two),
        ("SimpleConv 3", one),
    ]
    assert found({"x": one, "y": two}) == [("x", one), ("y", two)]


def test_messages_name_few_layers_of_many():
    tree = make({f"block.{i}.conv": (("unit",), {"NV": value([1.0])}) for i in range(100)})
    with pytest.raises(ResultError, match=r"of block.7.conv, .* and 95 more$"):
        plots.histograms(tree, layers="block.7.cov")


def test_a_name_with_brackets_is_a_pattern_that_matches_itself():
    tree = make({name: (("unit",), {"NV": value([1.0])}) for name in ("a[0]", "a0", "b")})
    figure = plots.histograms(tree, layers="a[0]")
    assert [axes.get_title("left") for axes in figure.axes] == ["a[0]", "a0"]


@pytest.mark.parametrize(
    ("low", "high", "many", "few"),
    [
        (0.02, 3e4, "0.1 1 10 100 1e3 1e4", "0.1 10 1e3"),
        (1e-9, 1e9, "1e-9 1e-6 1e-3 1 1e3 1e6 1e9", "1e-9 1e-4 10 1e6"),
        (0.3, 30, "0.5 1 2 5 10 20", "1 10"),
        (2e-4, 7e-3, "2e-4 5e-4 1e-3 2e-3 5e-3", "3e-4 1e-3 3e-3"),
        (1.5, 6, "2 3 4 5 6", "2 5"),
        (1, 1.1, "1 1.025 1.05 1.075 1.1", "1.02 1.08"),
    ],
)
def test_numbers_on_a_logarithmic_axis(low, high, many, few):
    for most, expected in ((9, many), (4, few)):
        axis = Figure().add_subplot(xscale="log", xlim=(low, high)).xaxis
        log_ticks(axis, low, high, most)
        ticks = [x for x in axis.get_ticklocs() if low * 0.999 < x < high * 1.001]
        np.testing.assert_allclose(ticks, [float(number) for number in expected.split()])
        texts = [axis.get_major_formatter()(x) for x in ticks]
        assert all("10^" in text for text in texts) or texts == expected.split()
        assert not any(text.get_text() for text in axis.get_ticklabels(minor=True))


def stairs(axes):
    return axes.patches[0].get_data()


def notes(figure):
    return [axes.texts[0].get_text().replace("\n", " ") for axes in figure.axes if axes.texts]


def test_histograms_count_what_is_finite_and_not_dead():
    rng = np.random.default_rng(0)
    values = rng.normal(5, 1, 203)
    values[:3] = np.nan, np.inf, 5
    status = np.zeros(203, np.uint8)
    status[0], status[2] = NOT_FINITE, DEAD
    tree = make(
        {"a": (("unit",), {"NV": value(values)}), "b": (("unit",), {"NV": value([3.0, 4, 5])})},
        {"a": status},
    )
    figure = plots.histograms(tree, bins=10)
    first, second = figure.axes[:2]
    counts, edges, _ = stairs(first)
    np.testing.assert_array_equal(counts, np.histogram(values[3:], edges)[0])
    assert counts.sum() == 200
    assert (edges[0], len(edges)) == (0, 11)
    assert edges[-1] == pytest.approx(values[3:].max(), rel=1e-6)
    assert first.get_xlim() == second.get_xlim() == (edges[0], edges[-1])
    assert first.lines[0].get_xdata()[0] == pytest.approx(np.median(values[3:]))
    assert notes(figure) == ["203 units: 1 dead, 1 infinite, 1 NaN", "3 units"]
    assert stairs(second).values.sum() == 3
    assert figure.get_supxlabel().startswith("a variance (dimensionless)\n")


def test_histograms_say_what_lies_off_the_axis():
    """Quartiles 2 and 4 of 1..5, so the fence is 10; of the logarithms, far from all but 1e-9."""
    few = np.repeat([1.0, 2, 3, 4, 5], 20)
    tree = units([*few, 100, 200, 0, 1e-9])
    figure = plots.histograms(tree)
    assert figure.axes[0].get_xlim() == pytest.approx((0, 10), rel=0.05)
    assert notes(figure) == ["104 units: 2 above"]
    figure = plots.histograms(tree, scale="log")
    low, high = figure.axes[0].get_xlim()
    assert 1e-9 < low <= 1
    assert 5 <= high < 100
    assert notes(figure) == ["104 units: 2 above, 2 below"]
    assert figure.axes[0].get_xscale() == "log"
    tree = units([*few, *[1e-9] * 7])
    assert plots.histograms(tree, scale="log").axes[0].get_xlim()[0] > 0.01
    ratios = np.diff(np.log(stairs(figure.axes[0]).edges))
    np.testing.assert_allclose(ratios, ratios[0])


def test_histograms_of_p_values_run_from_0_to_1():
    tree = make({"a": (("unit",), {"p": value([0.2, 0.01, 0.1], kind="p")})})
    assert plots.histograms(tree, "p").axes[0].get_xlim() == (0, 1)


def test_histograms_of_whole_maps_and_of_counts():
    status = np.zeros((4, 1, 2), np.uint8)
    status[0], status[1, 0, 0] = DEAD, DEAD
    fields = {
        "ND": value([1.0, 2.0, 3.0, np.nan], dims=("channel",)),
        "N": value(np.arange(8).reshape(4, 1, 2), kind="count"),
    }
    tree = make({"a": (CONV, fields)}, {"a": status})
    figure = plots.histograms(tree, "ND", bins=4)
    assert notes(figure) == ["4 units: 1 dead, 1 NaN"]
    assert stairs(figure.axes[0]).values.tolist() == [0, 0, 1, 1]
    assert plots.histograms(tree, "N").axes[0].get_xlim() == (0, 7)


@pytest.mark.parametrize(
    ("n", "scale", "spread"),
    [(1, "log", 0.6), (3, "linear", 1), (5, "log", 1), (17, "log", 0.6), (60, "linear", 1)],
)
def test_texts_of_histograms_do_not_overlap(n, scale, spread):
    rng = np.random.default_rng(0)
    status = np.zeros(2048, np.uint8)
    status[:200] = DEAD
    tree = make(
        {
            f"encoder.layer.{i}.attention.output.dense": (
                ("unit",),
                {"NV": value(rng.lognormal(0, spread, 2048))},
            )
            for i in range(n)
        },
        {"encoder.layer.0.attention.output.dense": status},
    )
    figure = plots.histograms(tree, scale=scale)
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert len(shown) == n
    titles = [axes.get_title("left") for axes in shown]
    assert all(line.endswith(".") for title in titles for line in title.splitlines()[:-1])
    labelled = [bool(axes.get_xticklabels()) for axes in shown]
    columns = shown[0].get_gridspec().ncols
    assert labelled == [i >= n - columns for i in range(n)]
    assert_readable(figure)
    names = {title.replace("\n", "") for title in titles}
    assert names == set(map(str, tree["summary"].layer.values))


@pytest.mark.parametrize("bins", [0, -1, 2.5, "auto", True])
def test_errors_of_histograms(bins):
    with pytest.raises(ArgumentError, match=f"bins={bins!r} cannot be used: give a whole number"):
        plots.histograms(units([1, 2]), bins=bins)
    with pytest.raises(ResultError, match="no layer with NV matches 'b'"):
        plots.histograms(units([1, 2]), layers="b")


def dots(figure):
    """All dots ``(n, 2)``, in order."""
    lines = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert all(line.get_rasterized() for line in lines)
    found = np.concatenate([line.get_xydata() for line in lines])
    return found[np.lexsort(found.T)]


def note(figure):
    return figure.get_supxlabel()


def pair(x, y, status=None, units=("1", "1")):
    fields = {"X": value(x, units[0]), "Y": value(y, units[1])}
    return make({"a": (("unit",), fields)}, {} if status is None else {"a": status})


def test_a_dot_per_unit():
    rng = np.random.default_rng(0)
    x, y = rng.random((2, 300))
    figure = plots.scatter(pair(x, y), "X", "Y")
    expected = np.stack([x, y], 1)
    np.testing.assert_allclose(dots(figure), expected[np.lexsort(expected.T)], rtol=1e-6)
    assert figure.get_suptitle() == f"Y against X of {TITLE}"
    assert note(figure).endswith("300 dots")
    maps = np.arange(12.0).reshape(3, 2, 2)
    tree = make({"a": (CONV, {"X": value(maps), "Y": value(2 * maps)})})
    np.testing.assert_allclose(dots(plots.scatter(tree, "X", "Y"))[:, 0], [1.5, 5.5, 9.5])


@pytest.mark.parametrize("dims", [CONV, ("token", "channel", "d2")])
def test_a_dot_per_channel_where_one_measure_is_of_whole_maps(dims):
    maps = np.arange(12.0).reshape(3, 2, 2)
    status = np.zeros((3, 2, 2), np.uint8)
    status[1] = DEAD
    if dims != CONV:
        maps, status = np.moveaxis(maps, 0, 1), np.moveaxis(status, 0, 1)
    fields = {"NV": value(maps), "ND": value([1.0, 2.0, 3.0], dims=("channel",))}
    tree = make({"a": (dims, fields)}, {"a": status})
    for x, y in (("ND", "NV"), ("NV", "ND")):
        figure = plots.scatter(tree, x, y)
        expected = np.array([(1, 1.5), (3, 9.5)])[:, :: 1 if x == "ND" else -1]
        np.testing.assert_allclose(dots(figure), expected)
        assert note(figure) == "2 dots; not drawn: 1 dead"


def test_dots_without_a_place_are_counted_once():
    x = [1, 2, 0, -1, np.nan, np.inf, 3, np.nan]
    y = [1, 0, 2, np.nan, np.inf, 2, 5, 1]
    status = np.zeros(8, np.uint8)
    status[6] = DEAD
    figure = plots.scatter(pair(x, y, status), "X", "Y")
    assert note(figure) == "3 dots; not drawn: 1 dead, 3 NaN, 1 infinite"
    np.testing.assert_array_equal(dots(figure), [(2, 0), (1, 1), (0, 2)])
    figure = plots.scatter(pair(x, y, status), "X", "Y", scale="log")
    expected = "1 dot; not drawn: 1 dead, 3 NaN, 1 infinite, 2 not positive"
    assert note(figure) == expected
    np.testing.assert_array_equal(dots(figure), [(1, 1)])
    axes = figure.axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")


def test_the_diagonal_is_drawn_where_units_agree():
    def diagonals(*units, **options):
        figure = plots.scatter(pair([1, 2, 3], [2, 3, 9], units=units), "X", "Y", **options)
        return [line for line in figure.axes[0].lines if line.get_linestyle() == "--"]

    for scale in ("linear", "log"):
        (line,) = diagonals("activation2", "activation2", scale=scale)
        np.testing.assert_array_equal(line.get_xdata(), line.get_ydata())
        assert len(set(line.get_xdata())) == 2
        assert diagonals("activation2", "1", scale=scale) == []
        assert diagonals("1", "1", scale=scale) == []
        figure = plots.scatter(pair([1, 2], [1, 2], units=["activation2"] * 2), "X", "Y")
        assert note(figure) == "dashed: equal; 2 dots"
    figure = plots.scatter(pair([1, 2], [1, 2], units=("activation2", "1")), "X", "Y")
    assert figure.axes[0].get_xlabel() == "a variance (activation²)"
    assert figure.axes[0].get_ylabel() == "a variance (dimensionless)"


def test_dots_are_coloured_by_layer():
    tree = make(
        {name: (("unit",), {"X": value([i]), "Y": value([i])}) for i, name in enumerate("abc")}
    )
    figure = plots.scatter(tree, "X", "Y")
    colours = {
        float(line.get_xdata()[0]): line.get_color()
        for line in figure.axes[0].lines
        if line.get_marker() == "o" and line.get_xdata().size
    }
    expected = colormaps["plasma"](np.linspace(0, 0.88, 3))
    np.testing.assert_allclose([colours[i] for i in range(3)], expected)
    bar = figure.axes[1]
    assert [text.get_text() for text in bar.get_yticklabels()] == ["a", "b", "c"]
    np.testing.assert_allclose(bar.collections[-1].cmap(range(3)), expected)
    assert bar.yaxis_inverted()


def test_names_beside_the_bar_do_not_overlap():
    tree = make(
        {
            f"encoder.layer.{i}.attention.output.dense": (
                ("unit",),
                {"X": value([1.0]), "Y": value([2.0])},
            )
            for i in range(75)
        }
    )
    figure = plots.scatter(tree, "X", "Y")
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[1].get_yticklabels()]
    assert len(boxes) == 25
    assert all(upper.y0 > lower.y1 for upper, lower in pairwise(boxes))
    assert all(box.x1 <= figure.bbox.x1 for box in boxes)


def test_many_dots_stay_small_in_vector_formats():
    rng = np.random.default_rng(0)
    tree = pair(*rng.random((2, 100_000)))
    for suffix in ("svg", "pdf"):
        file = io.BytesIO()
        plots.scatter(tree, "X", "Y").savefig(file, format=suffix)
        assert len(file.getvalue()) < 1_000_000


def test_errors_of_scatter():
    tree = make(
        {
            "a": (("unit",), {"X": value([1.0]), "Y": value([1.0])}),
            "b": (("unit",), {"Z": value([1.0])}),
            "c": (("unit",), {"X": value([5.0])}),
        }
    )
    with pytest.raises(ResultError, match="no measure 'V': use one of X, Y, Z"):
        plots.scatter(tree, "X", "V")
    with pytest.raises(ResultError, match="no layer has both X and Z"):
        plots.scatter(tree, "X", "Z")
    with pytest.raises(ResultError, match="matches 'c'"):
        plots.scatter(tree, "X", "Y", layers="c")
    assert len(dots(plots.scatter(tree, "X", "Y"))) == 1


def test_histograms_show_most_of_each_layer():
    """A small layer far below many units of another one."""
    fields = {"a": (("unit",), {"NV": value(np.linspace(1, 2, 10_000))})}
    fields["b"] = (("unit",), {"NV": value(np.geomspace(1e-4, 1e-2, 100))})
    low, high = plots.histograms(make(fields), scale="log").axes[0].get_xlim()
    assert low <= np.quantile(np.geomspace(1e-4, 1e-2, 100), 0.1)
    assert high >= 1.9
