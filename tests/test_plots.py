"""The heat map, and what the pictures share."""

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.colors import LogNorm, to_rgb

from drawing import (
    CONV,
    FACTS,
    TITLE,
    assert_readable,
    cells,
    columns,
    each_class,
    legend,
    make,
    units,
    value,
)
from tmeasures import plots
from tmeasures.errors import ArgumentError, ResultError
from tmeasures.fields import DEAD, NOT_FINITE
from tmeasures.plots.common import most_invariant
from tmeasures.views import channels, stratum

VALUES = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.2, 0.3, 50.0, 1.0, np.inf, np.nan, 0.35])
STATUS = np.zeros(12, np.uint8)
STATUS[8], STATUS[10] = DEAD, NOT_FINITE


def example():
    maps = np.stack([np.full((2, 2), float(c)) for c in range(3)]) / 10
    fields = {"NV": value(VALUES, "activation²"), "D": value(VALUES < 0.3, kind="decision")}
    return make(
        {"conv": (CONV, {"NV": value(maps, "activation²")}), "fc": (("unit",), fields)},
        {"fc": STATUS},
    )


def colours(figure):
    """Of the cells of each column, from the top."""
    return [column[:, 0, :3] for column in cells(figure)]


def test_a_column_per_layer_and_a_cell_per_channel():
    tree = example()
    before = tree.copy(deep=True)
    figure = plots.heatmap(tree)
    assert tree.identical(before)
    assert [len(column) for column in cells(figure)] == [3, 12]
    assert columns(figure) == ["conv (3)", "fc (12)"]
    extents = [image.get_extent() for image in figure.axes[0].images]
    assert [right - left for left, right, *_ in extents] == pytest.approx([0.92, 0.92])
    assert [extent[2:] for extent in extents] == [[1, 0], [1, 0]]


def test_colours():
    figure = plots.heatmap(example(), limit=0.5)
    bar = figure.axes[1]
    column = colours(figure)[1]
    special = {"outlier": 7, "dead": 8, "infinite": 9, "NaN": 10}
    for kind, row in special.items():
        np.testing.assert_allclose(column[row], to_rgb(plots.COLOURS[kind]))
    plain = [row for row in range(12) if row not in special.values()]
    expected = colormaps["viridis"](VALUES[plain] / 0.5)[:, :3]
    np.testing.assert_allclose(column[plain], expected)
    assert bar.get_ylabel() == "a variance (activation²)"
    assert legend(figure) == ["outlier, above 0.5: 1", "dead: 1", "infinite: 1", "NaN: 1"]


def test_a_cell_has_one_colour():
    """A dead unit is NaN where a measure of one's own divides 0 by 0."""
    tree = units([np.nan, 1], np.full(2, DEAD, np.uint8))
    figure = plots.heatmap(tree)
    assert legend(figure)[1:] == ["dead: 1", "infinite: 0", "NaN: 1"]
    np.testing.assert_allclose(colours(figure)[0][0], to_rgb(plots.COLOURS["NaN"]))


def test_default_limit_leaves_few_outliers():
    assert legend(plots.heatmap(example()))[0].endswith(": 1")
    assert legend(plots.heatmap(example(), scale="log"))[0].endswith(": 1")
    rng = np.random.default_rng(0)
    even = units(rng.random(500))
    figure = plots.heatmap(even)
    assert legend(figure)[0].endswith(": 0")
    assert figure.axes[1].get_ylim()[1] == pytest.approx(1, abs=0.01)


def test_default_limit_by_hand():
    """Equal weights: quartiles 2 and 4 of 1..5, fence 10, so 100 is outside and 9 is not."""
    few = np.repeat([1.0, 2, 3, 4, 5], 20)
    tree = units([*few, 100])
    assert plots.heatmap(tree).axes[1].get_ylim() == pytest.approx((0, 10))
    tree = units([*few, 9])
    assert plots.heatmap(tree).axes[1].get_ylim() == pytest.approx((0, 9))
    tree = make(
        {"a": (("unit",), {"NV": value([*few, 100])}), "b": (("unit",), {"NV": value([90, 100])})}
    )
    assert plots.heatmap(tree).axes[1].get_ylim()[1] > 80, "a layer of few cells weighs as much"


def test_common_limit():
    """As of one result with all the layers: equal weights, quartiles by hand as above."""
    few = np.repeat([1.0, 2, 3, 4, 5], 20)
    trees = [units(values) for values in ([1, 2], [*few, 100])]
    alone = [plots.common_limit([tree]) for tree in trees]
    assert alone == [plots.heatmap(tree).axes[1].get_ylim() for tree in trees]
    np.testing.assert_allclose(alone, [(0, 2), (0, 10)])
    together = make(
        {"a": (("unit",), {"NV": value([1, 2])}), "b": (("unit",), {"NV": value([*few, 100])})}
    )
    expected = plots.heatmap(together).axes[1].get_ylim()
    assert plots.common_limit(iter(trees)) == expected
    assert expected not in alone
    assert plots.common_limit([example()], "D") == (0, 1)
    with pytest.raises(ArgumentError, match="no results"):
        plots.common_limit([])
    with pytest.raises(ResultError, match="no layer with NV matches 'x'"):
        plots.common_limit(trees, layers="x")


def test_figures_of_their_own_share_a_limit():
    spans = ([1e-5, 1e-3, 0.2], [1e-2, 1, 30], [-4, 1, 2])
    trees = [units(values) for values in spans]
    for scale, shown in (("log", trees[:2]), ("linear", trees)):
        limit = plots.common_limit(shown, scale=scale)
        figures = [plots.heatmap(tree, scale=scale, limit=limit) for tree in shown]
        found = [figure.axes[1].get_ylim() for figure in figures]
        np.testing.assert_allclose(found, [limit] * len(shown))
        assert limit != plots.common_limit(shown[0], scale=scale)
    assert limit[0] == -4
    one = units([1e-3, 0.5])
    low, high = plots.common_limit([one, trees[1]], scale="log")
    assert low == pytest.approx(1.36e-3), "the 1 % quantile of the five values"
    assert 1 < high <= 30


def test_log_scale():
    spread = units([0, *np.logspace(-4, 2, 50)])
    figure = plots.heatmap(spread, scale="log")
    image_colours = colours(figure)[0]
    assert figure.axes[1].get_yscale() == "log"
    np.testing.assert_array_equal(image_colours[0], image_colours[1])
    middle = LogNorm(*figure.axes[1].get_ylim())(np.logspace(-4, 2, 50)[25])
    assert 0.4 < middle < 0.6


def test_a_bar_of_few_decades_has_plain_numbers():
    figure = plots.heatmap(example(), scale="log", limit=(0.3, 3))
    figure.draw_without_rendering()
    axis = figure.axes[1].yaxis
    ticks = dict(zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True))
    shown = [text.get_text() for y, text in ticks.items() if 0.3 <= y <= 3]
    assert shown == ["0.5", "1", "2"]
    assert not any(text.get_text() for text in axis.get_ticklabels(minor=True))


def test_decisions_and_p_values_have_the_range_0_to_1():
    figure = plots.heatmap(example(), "D")
    assert figure.axes[1].get_ylim() == (0, 1)
    assert columns(figure) == ["fc (12)"]
    assert legend(figure)[3] == "NaN: 1", "the decision on a unit that is not finite"


@pytest.mark.parametrize("scale", ["linear", "log"])
@pytest.mark.parametrize(
    "values", [[0, 0], [2, 2], [np.nan, np.inf], [-1, 3]], ids=["zero", "equal", "none", "negative"]
)
def test_degenerate_values(tmp_path, values, scale):
    tree = units(np.array(values, float))
    plots.heatmap(tree, scale=scale).savefig(tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 0


def test_layers_by_pattern():
    assert columns(plots.heatmap(example(), layers="f*")) == ["fc (12)"]
    assert columns(plots.heatmap(example(), layers=["fc", "c*"])) == ["conv (3)", "fc (12)"]
    for pattern in ("x*", ["fc", "x*"]):
        with pytest.raises(ResultError, match=r"no layer with NV matches 'x\*': .* conv, fc"):
            plots.heatmap(example(), layers=pattern)
    with pytest.raises(ResultError, match="conv, fc"):
        plots.heatmap(example(), layers=[])


def test_title():
    def title(**options):
        return plots.heatmap(example(), **options).get_suptitle()

    assert title() == f"NV of {TITLE}"
    assert title(title="mine") == "mine"
    unknown = plots.heatmap(make({"a": (("unit",), {"NV": value([1, 2])})}, facts={}))
    assert unknown.get_suptitle() == "NV of ? under ?\nn = ? samples, m = ? transformations"


def test_errors():
    with pytest.raises(ResultError, match="no measure 'VN': use one of NV, D"):
        plots.heatmap(example(), "VN")
    with pytest.raises(ResultError, match="no measure 'status'"):
        plots.heatmap(example(), "status")
    with pytest.raises(ArgumentError, match=r"scale='sqrt'.*'linear' or 'log'"):
        plots.heatmap(example(), scale="sqrt")
    with pytest.raises(ArgumentError, match="limit=0 is not above"):
        plots.heatmap(example(), limit=0)
    for limit in ("1", (1, 2, 3), np.inf, (None, 1)):
        with pytest.raises(ArgumentError, match="neither a number nor two"):
            plots.heatmap(example(), limit=limit)
    with pytest.raises(ArgumentError, match="above 0"):
        plots.heatmap(example(), scale="log", limit=(0, 1))
    for layers in (3, [3], {"a": 1}):
        with pytest.raises(ArgumentError, match="neither a pattern nor a list"):
            plots.heatmap(example(), layers=layers)


@pytest.mark.parametrize("draw", [plots.heatmap, plots.common_limit])
def test_what_is_not_a_result(draw):
    for nothing in ([], {}, iter([])):
        with pytest.raises(ArgumentError, match="at least one"):
            draw(nothing)
    for path in ("a.nc", Path("a.nc"), ["a.nc"], {"a": "a.nc"}):
        with pytest.raises(ArgumentError, match=r"'a.nc' is a path.* tm\.open\('a.nc'\)"):
            draw(path)
    for thing in (None, 3, [3], example()["layers/fc"].to_dataset()):
        with pytest.raises(ArgumentError, match=r"of type .* is not a result"):
            draw(thing)
    with pytest.raises(ResultError, match="not a result"):
        draw(example()["layers"])


def other(scale=2.0, layers=("conv", "fc"), **attributes):
    """Like the example, other values."""
    found = {"conv": np.full((3, 2, 2), 0.1), "fc": VALUES * scale}
    return make(
        {
            name: (CONV if name == "conv" else ("unit",), {"NV": value(found[name], "activation²")})
            for name in layers
        },
        {"fc": STATUS} if "fc" in layers else {},
        FACTS | attributes,
    )


def test_panels_have_the_same_colours():
    trees = {"first": example(), "second": other()}
    before = {name: tree.copy(deep=True) for name, tree in trees.items()}
    figure = plots.heatmap(trees)
    assert all(tree.identical(before[name]) for name, tree in trees.items())
    first, second, bar = figure.axes
    limit = bar.get_ylim()
    assert limit == plots.common_limit(trees)
    for axes, name in ((first, "first"), (second, "second")):
        alone = plots.heatmap(trees[name], limit=limit).axes[0]
        for image, expected in zip(axes.images, alone.images, strict=True):
            np.testing.assert_array_equal(image.get_array(), expected.get_array())
    assert len(figure.legends) == 1
    assert legend(figure)[1:] == ["dead: 2", "infinite: 2", "NaN: 2"]
    assert [axes.get_title("left") for axes in (first, second)] == ["first", "second"]


def test_panels_of_the_same_layers_lie_below_each_other():
    figure = plots.heatmap([example(), other(), other()])
    figure.draw_without_rendering()
    boxes = [axes.get_window_extent() for axes in figure.axes[:3]]
    assert all(upper.y0 > lower.y1 for upper, lower in pairwise(boxes))
    assert all(box.x0 == pytest.approx(boxes[0].x0, abs=1) for box in boxes)
    texts = [columns(figure, i) for i in range(3)]
    assert texts == [[], [], ["conv (3)", "fc (12)"]]


def test_panels_of_unlike_networks_lie_beside_each_other_with_names_of_their_own():
    figure = plots.heatmap([example(), other(layers=["fc"], model="Linear")])
    figure.draw_without_rendering()
    left, right = (axes.get_window_extent() for axes in figure.axes[:2])
    assert left.x1 < right.x0
    assert left.y0 == pytest.approx(right.y0, abs=1)
    texts = [columns(figure, i) for i in range(2)]
    assert texts == [["conv (3)", "fc (12)"], ["fc (12)"]]


def test_panels_too_wide_for_one_row():
    trees = [
        make({f"{name}{i}": (("unit",), {"NV": value([0.1, 0.2])}) for i in range(60)})
        for name in "ab"
    ]
    figure = plots.heatmap(trees)
    figure.draw_without_rendering()
    upper, lower = (axes.get_window_extent() for axes in figure.axes[:2])
    assert upper.y0 > lower.y1
    assert [len(axes.get_xticklabels()) for axes in figure.axes[:2]] == [60, 60]


def test_titles_of_panels_say_what_the_title_does_not():
    def written(*trees):
        figure = plots.heatmap(trees)
        panels = [axes.get_title("left").replace("\n", " ") for axes in figure.axes[:-1]]
        return figure.get_suptitle(), panels

    title, panels = written(example(), other(model="Net", n_samples=50))
    assert title == "NV under rotations(16)\nm = 16 transformations"
    assert panels == ["SimpleConv, n = 100 samples", "Net, n = 50 samples"]
    title, panels = written(example(), other(transformations="scalings"))
    assert title == "NV of SimpleConv\nn = 100 samples, m = 16 transformations"
    assert panels == ["SimpleConv under rotations(16)", "SimpleConv 2 under scalings"]
    title, panels = written(example())
    assert panels == [""]
    figure = plots.heatmap({"mine": example()})
    assert figure.get_suptitle() == title
    assert figure.axes[0].get_title("left") == "mine"


def test_sorted_cells():
    """From the top: NaN, dead, infinite, outlier, and down to the least."""
    figure = plots.heatmap(example(), sort=True, limit=0.5)
    column = colours(figure)[1]
    for row, kind in enumerate(["NaN", "dead", "infinite", "outlier"]):
        np.testing.assert_allclose(column[row], to_rgb(plots.COLOURS[kind]))
    finite = [0.5, 0.4, 0.35, 0.3, 0.3, 0.2, 0.2, 0.1]
    np.testing.assert_allclose(column[4:], colormaps["viridis"](np.array(finite) / 0.5)[:, :3])
    axes = figure.axes[0]
    assert "least at the bottom" in axes.get_ylabel()
    assert axes.get_yticks().tolist() == [1, 0.5, 0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["0 %", "50 %", "100 %"]


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("TV", "value", "least"),
        ("TV_deviation", "value", "least"),
        ("NV", "value", "least"),
        ("TD", "value", "least"),
        ("ND", "value", "least"),
        ("GF", "value", "largest"),
        ("GF_rate", "value", ""),
        ("TV_se", "value", ""),
        ("ND_se", "value", ""),
        ("NV_strata", "count", ""),
        ("SV", "value", ""),
        ("SD", "value", ""),
        ("ANOVA_F", "value", ""),
        ("VARIANCE", "value", ""),
    ],
)
def test_which_values_are_the_most_invariant(name, kind, expected):
    tree = make({"a": (("unit",), {name: value([1, 2], kind=kind)})})
    assert most_invariant(tree["layers/a"][name]) == expected


def test_sorted_cells_have_the_most_invariant_at_the_bottom():
    values = [1.0, np.nan, 4.0, np.inf, 3.0, 2.0]
    status = np.zeros(6, np.uint8)
    status[4] = DEAD
    special = {kind: to_rgb(plots.COLOURS[kind]) for kind in ("NaN", "dead", "infinite")}
    shades = {number: colormaps["viridis"](number / 4)[:3] for number in (1, 2, 4)}
    orders = {
        "GF": [special["NaN"], special["dead"], *(shades[i] for i in (1, 2, 4))],
        "NV": [
            special["NaN"],
            special["dead"],
            special["infinite"],
            *(shades[i] for i in (4, 2, 1)),
        ],
    }
    orders["GF"].append(special["infinite"])
    words = {"GF": "largest at the bottom", "NV": "least at the bottom"}
    for name, expected in orders.items():
        tree = make({"a": (("unit",), {name: value(values)})}, {"a": status})
        figure = plots.heatmap(tree, name, sort=True, limit=4)
        np.testing.assert_allclose(colours(figure)[0], expected)
        assert words[name] in figure.axes[0].get_ylabel()
        np.testing.assert_allclose(
            colours(plots.heatmap(tree, name, limit=4))[0][0], shades[1], err_msg="not sorted"
        )


def test_measures_of_whole_maps_have_a_cell_per_channel():
    status = np.zeros((3, 1, 2), np.uint8)
    status[1], status[2, 0, 0] = DEAD, DEAD
    fields = {"ND": value([0.5, 1, 0.25], dims=("channel",)), "NV": value(np.ones((3, 1, 2)))}
    tree = make({"a": (CONV, fields)}, {"a": status})
    figure = plots.heatmap(tree, "ND", limit=1)
    assert columns(figure) == ["a (3)"]
    shown = colormaps["viridis"]([0.5, 0.25])[:, :3]
    expected = [shown[0], to_rgb(plots.COLOURS["dead"]), shown[1]]
    np.testing.assert_allclose(colours(figure)[0], expected)
    assert figure.axes[0].get_ylabel() == "feature maps"
    reduced = plots.heatmap(channels(tree), "ND", limit=1)
    np.testing.assert_array_equal(colours(reduced)[0], colours(figure)[0])


def test_a_measure_of_whole_layers_has_one_cell():
    fields = {"DSE_layer": value(0.5, dims=()), "NV": value(np.ones((3, 1, 2)))}
    figure = plots.heatmap(make({"a": (CONV, fields)}), "DSE_layer", limit=1)
    assert columns(figure) == ["a (1)"]
    np.testing.assert_allclose(colours(figure)[0], [colormaps["viridis"](0.5)[:3]])
    assert figure.axes[0].get_ylabel() == "one value for each layer"


def test_counts_have_a_scale_of_their_own():
    maps = np.arange(12).reshape(3, 2, 2)
    tree = make({"a": (CONV, {"N": value(maps, kind="count")})})
    figure = plots.heatmap(tree, "N")
    assert figure.axes[1].get_ylim() == (0, 9.5)
    expected = colormaps["viridis"](np.array([1.5, 5.5, 9.5]) / 9.5)[:, :3]
    np.testing.assert_allclose(colours(figure)[0], expected)


def test_a_value_for_each_class_is_not_drawn():
    tree = each_class()
    for name in ("NV_by_stratum", "ND_by_stratum", "rejected_by_stratum"):
        for draw in (plots.heatmap, plots.common_limit):
            with pytest.raises(
                ResultError, match=r"for each class: draw .* of tm\.stratum\(tree, "
            ):
                draw(tree, name)
    bee = stratum(tree, "bee")
    assert legend(plots.heatmap(bee, "ND"))[1] == "dead: 1"
    assert legend(plots.heatmap(bee))[1:] == ["dead: 1", "infinite: 0", "NaN: 1"]


def test_titles_say_the_class():
    tree = each_class()
    figure = plots.heatmap(stratum(tree, "bee"))
    assert figure.get_suptitle() == (
        "NV of SimpleConv under rotations(16)\nclass bee, n = 3 samples, m = 16 transformations"
    )
    figure = plots.heatmap({"ant": stratum(tree, "ant"), "all": tree})
    panels = [axes.get_title("left") for axes in figure.axes[:2]]
    assert panels == ["ant, n = 4 samples", "all, n = 100 samples"]
    figure = plots.heatmap({"mine": stratum(tree, "ant"), "other": stratum(tree, "bee")})
    panels = [axes.get_title("left") for axes in figure.axes[:2]]
    assert panels == ["mine, class ant, n = 4 samples", "other, class bee, n = 3 samples"]
    tree.attrs["stratify"] = "each"
    assert "\nmeans over classes, n = 100 samples, m" in plots.heatmap(tree).get_suptitle()
    assert "\nclass ant, n = 4 samples, m" in plots.heatmap(stratum(tree, "ant")).get_suptitle()
    figure = plots.heatmap({"a": stratum(tree, "ant"), "b": stratum(each_class(seed=1), "ant")})
    assert "class ant, n = 4 samples" in figure.get_suptitle()


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_every_format_is_written_without_a_warning(tmp_path, suffix):
    figure = plots.heatmap({"a": example(), "b": other()}, scale="log", sort=True)
    figure.savefig(tmp_path / f"a.{suffix}")
    assert (tmp_path / f"a.{suffix}").stat().st_size > 1000


def test_leading_dims_have_to_be_picked():
    tree = make({"a": (("unit",), {"V": value(np.ones((2, 3)), leading=("transformation",))})})
    with pytest.raises(
        ResultError, match=r"the dim 'transformation'.*tree\.isel\(transformation=0\)"
    ):
        plots.heatmap(tree, "V")
    assert columns(plots.heatmap(tree.isel(transformation=0), "V")) == ["a (3)"]


@pytest.mark.parametrize("n_layers", [1, 7, 60])
@pytest.mark.parametrize(
    "name", ["layer{}.downsample.0", "model.language_model.layers.{}.self_attn.q_proj.lora_A.base"]
)
def test_names_of_layers_do_not_overlap(n_layers, name):
    layers = {name.format(i): (("unit",), {"NV": value([0.1, 0.2])}) for i in range(n_layers)}
    figure = plots.heatmap(make(layers))
    figure.draw_without_rendering()
    axes = figure.axes[0]
    assert len(set(columns(figure))) == n_layers
    boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
    assert_readable(figure)
    assert axes.get_window_extent().width > 18 * n_layers, "wide enough to tell columns apart"
    frame = figure.bbox
    assert all(frame.y0 <= box.y0 and frame.x0 <= box.x0 for box in boxes)
    assert not figure.legends[0].get_window_extent().overlaps(axes.xaxis.label.get_window_extent())
    assert axes.get_window_extent().height > 300, "long names do not squeeze the picture"


def test_no_global_state():
    plots.heatmap(example())
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()


def test_notebooks_show_figures_without_pyplot():
    tree = units([1.0, 2.0])
    assert plots.heatmap(tree)._repr_png_().startswith(b"\x89PNG")
