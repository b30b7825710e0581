"""Pictures of results."""

import sys
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.colors import LogNorm, to_rgb

from tmeasures import plots, results
from tmeasures.errors import ArgumentError, ResultError
from tmeasures.fields import DEAD, NOT_FINITE, Field

VALUES = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.2, 0.3, 50.0, 1.0, np.inf, np.nan, 0.35])
STATUS = np.zeros(12, np.uint8)
STATUS[8], STATUS[10] = DEAD, NOT_FINITE


def value(values, **options):
    return Field(np.asarray(values), "activation²", "a variance", "a source", **options)


def make(layers, status=None, attributes=None):
    """A tree of ``{name: (dims, {measure: field})}``."""
    pairs, flags = [], {}
    for name, (dims, fields) in layers.items():
        first = next(iter(fields.values()))
        shape = first.values.shape[len(first.leading) :]
        pairs.append(
            (SimpleNamespace(name=name, shape=shape, dims=dims, dtype="float32", kind="X"), fields)
        )
        flags[name] = np.zeros(shape, np.uint8)
    return results.build(
        pairs,
        status=flags | (status or {}),
        transformations=SimpleNamespace(name="r", names=["a", "b"], parameters={}),
        ids=np.arange(4),
        labels=None,
        attributes=attributes or {},
    )


def example():
    maps = np.stack([np.full((2, 2), float(c)) for c in range(3)]) / 10
    fields = {"NV": value(VALUES), "D": value(VALUES < 0.3, kind="decision")}
    return make(
        {"conv": (("channel", "y", "x"), {"NV": value(maps)}), "fc": (("unit",), fields)},
        {"fc": STATUS},
        {
            "model": "SimpleConv",
            "transformations": "rotations",
            "n_samples": 100,
            "n_transformations": 16,
        },
    )


def cells(figure):
    return [np.asarray(image.get_array())[:, 0, :3] for image in figure.axes[0].images]


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def names(figure):
    return [label.get_text() for label in figure.axes[0].get_xticklabels()]


def test_a_column_per_layer_and_a_cell_per_channel():
    tree = example()
    before = tree.copy(deep=True)
    figure = plots.heatmap(tree)
    assert tree.identical(before)
    assert [len(column) for column in cells(figure)] == [3, 12]
    assert names(figure) == ["conv (3)", "fc (12)"]
    extents = [image.get_extent() for image in figure.axes[0].images]
    assert [right - left for left, right, *_ in extents] == pytest.approx([0.92, 0.92])
    assert [extent[2:] for extent in extents] == [[1, 0], [1, 0]]


def test_colours():
    figure = plots.heatmap(example(), limit=0.5)
    bar = figure.axes[1]
    column = cells(figure)[1]
    special = {"outlier": 7, "dead": 8, "infinite": 9, "NaN": 10}
    for kind, row in special.items():
        np.testing.assert_allclose(column[row], to_rgb(plots.COLOURS[kind]))
    plain = [row for row in range(12) if row not in special.values()]
    expected = colormaps["viridis"](VALUES[plain] / 0.5)[:, :3]
    np.testing.assert_allclose(column[plain], expected)
    assert bar.get_ylabel() == "a variance (activation²)"
    assert legend(figure) == ["outlier, above 0.5: 1", "dead: 1", "infinite: 1", "NaN: 1"]


def test_default_limit_leaves_few_outliers():
    assert legend(plots.heatmap(example()))[0].endswith(": 1")
    assert legend(plots.heatmap(example(), scale="log"))[0].endswith(": 1")
    rng = np.random.default_rng(0)
    even = make({"a": (("unit",), {"NV": value(rng.random(500))})})
    figure = plots.heatmap(even)
    assert legend(figure)[0].endswith(": 0")
    assert figure.axes[1].get_ylim()[1] == pytest.approx(1, abs=0.01)


def test_default_limit_by_hand():
    """Equal weights: quartiles 2 and 4 of 1..5, fence 10, so 100 is outside and 9 is not."""
    few = np.repeat([1.0, 2, 3, 4, 5], 20)
    tree = make({"a": (("unit",), {"NV": value([*few, 100])})})
    assert plots.heatmap(tree).axes[1].get_ylim() == pytest.approx((0, 10))
    tree = make({"a": (("unit",), {"NV": value([*few, 9])})})
    assert plots.heatmap(tree).axes[1].get_ylim() == pytest.approx((0, 9))
    tree = make(
        {"a": (("unit",), {"NV": value([*few, 100])}), "b": (("unit",), {"NV": value([90, 100])})}
    )
    assert plots.heatmap(tree).axes[1].get_ylim()[1] > 80, "a layer of few cells weighs as much"


def test_common_limit():
    """As of one result with all the layers: equal weights, quartiles by hand as above."""
    few = np.repeat([1.0, 2, 3, 4, 5], 20)
    trees = [make({"a": (("unit",), {"NV": value(values)})}) for values in ([1, 2], [*few, 100])]
    alone = [plots.common_limit([tree]) for tree in trees]
    assert alone == [plots.heatmap(tree).axes[1].get_ylim()[1] for tree in trees]
    assert alone == pytest.approx([2, 10])
    together = make(
        {"a": (("unit",), {"NV": value([1, 2])}), "b": (("unit",), {"NV": value([*few, 100])})}
    )
    expected = plots.heatmap(together).axes[1].get_ylim()[1]
    assert plots.common_limit(iter(trees)) == expected
    assert expected not in alone
    assert plots.common_limit([example()], "D") == 1
    with pytest.raises(ArgumentError, match="no results"):
        plots.common_limit([])
    with pytest.raises(ResultError, match="no layer with NV matches 'x'"):
        plots.common_limit(trees, layers="x")


def test_log_scale():
    spread = make({"a": (("unit",), {"NV": value([0, *np.logspace(-4, 2, 50)])})})
    figure = plots.heatmap(spread, scale="log")
    image_colours = cells(figure)[0]
    assert figure.axes[1].get_yscale() == "log"
    np.testing.assert_array_equal(image_colours[0], image_colours[1])
    middle = LogNorm(*figure.axes[1].get_ylim())(np.logspace(-4, 2, 50)[25])
    assert 0.4 < middle < 0.6


def test_decisions_and_p_values_have_the_range_0_to_1():
    figure = plots.heatmap(example(), "D")
    assert figure.axes[1].get_ylim() == (0, 1)
    assert names(figure) == ["fc (12)"]
    assert legend(figure)[3] == "NaN: 1", "the decision on a unit that is not finite"


@pytest.mark.parametrize("scale", ["linear", "log"])
@pytest.mark.parametrize(
    "values", [[0, 0], [2, 2], [np.nan, np.inf], [-1, 3]], ids=["zero", "equal", "none", "negative"]
)
def test_degenerate_values(tmp_path, values, scale):
    tree = make({"a": (("unit",), {"NV": value(np.array(values, float))})})
    plots.heatmap(tree, scale=scale).savefig(tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 0


def test_layers_by_pattern():
    assert names(plots.heatmap(example(), layers="f*")) == ["fc (12)"]
    assert names(plots.heatmap(example(), layers=["fc", "c*"])) == ["conv (3)", "fc (12)"]
    for pattern in ("x*", ["fc", "x*"]):
        with pytest.raises(ResultError, match=r"no layer with NV matches 'x\*': .* conv, fc"):
            plots.heatmap(example(), layers=pattern)
    with pytest.raises(ResultError, match="conv, fc"):
        plots.heatmap(example(), layers=[])


def test_title():
    def title(**options):
        return plots.heatmap(example(), **options).get_suptitle()

    assert title() == "NV of SimpleConv under rotations\nn = 100 samples, m = 16 transformations"
    assert title(title="mine") == "mine"


def test_errors():
    with pytest.raises(ResultError, match="no measure 'VN': use one of NV, D"):
        plots.heatmap(example(), "VN")
    with pytest.raises(ResultError, match="no measure 'status'"):
        plots.heatmap(example(), "status")
    with pytest.raises(ArgumentError, match=r"scale='sqrt'.*'linear' or 'log'"):
        plots.heatmap(example(), scale="sqrt")
    with pytest.raises(ArgumentError, match="limit=0 is not above"):
        plots.heatmap(example(), limit=0)


def test_leading_dims_have_to_be_picked():
    tree = make({"a": (("unit",), {"V": value(np.ones((2, 3)), leading=("transformation",))})})
    with pytest.raises(
        ResultError, match=r"the dim 'transformation'.*tree\.isel\(transformation=0\)"
    ):
        plots.heatmap(tree, "V")
    assert names(plots.heatmap(tree.isel(transformation=0), "V")) == ["a (3)"]


@pytest.mark.parametrize("n_layers", [1, 7, 60])
def test_names_of_layers_do_not_overlap(n_layers):
    layers = {
        f"layer{i}.downsample.0": (("unit",), {"NV": value([0.1, 0.2])}) for i in range(n_layers)
    }
    figure = plots.heatmap(make(layers))
    figure.draw_without_rendering()
    axes = figure.axes[0]
    boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
    assert axes.get_window_extent().width > 20 * n_layers, "wide enough to tell columns apart"
    frame = figure.bbox
    assert all(frame.y0 <= box.y0 and frame.x0 <= box.x0 for box in boxes)
    assert not figure.legends[0].get_window_extent().overlaps(axes.xaxis.label.get_window_extent())
    assert axes.get_window_extent().height > 300, "long names do not squeeze the picture"


def test_no_global_state():
    plots.heatmap(example())
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()
