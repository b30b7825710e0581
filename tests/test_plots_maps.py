"""Maps: the spatial detail of one layer."""

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.colors import to_rgb

from drawing import CONV, MAPS, TITLE, cells, layer, legend, make, units, value
from tmeasures import plots
from tmeasures.errors import ArgumentError, ResultError
from tmeasures.fields import DEAD, NOT_FINITE


def images(figure):
    return [image[..., :3] for image in cells(figure)]


def viridis(values, high, low=0):
    return colormaps["viridis"]((np.asarray(values) - low) / (high - low))[..., :3]


def test_maps_are_an_image_a_channel():
    figure = plots.maps(layer(CONV, MAPS), "a", limit=3)
    for image, values in zip(images(figure), MAPS, strict=True):
        np.testing.assert_allclose(image, viridis(values, 3))
    assert [text.get_text() for text in figure.axes[0].texts] == ["0", "1", "2"]
    assert figure.get_suptitle() == f"NV in a of {TITLE}\nall 3 channels of 2 x 4 (y, x)"
    assert figure.axes[1].get_ylabel().split() == ["a", "variance", "(dimensionless)"]
    assert figure.axes[1].get_ylim() == (0, 3)


def test_maps_of_layers_with_channels_last_or_none():
    last = plots.maps(layer(("y", "x", "channel"), MAPS.transpose(1, 2, 0)), "a")
    for image, expected in zip(
        images(last), images(plots.maps(layer(CONV, MAPS), "a")), strict=True
    ):
        np.testing.assert_array_equal(image, expected)
    single = plots.maps(layer(("y", "x"), MAPS[0]), "a", limit=1)
    np.testing.assert_allclose(images(single)[0], viridis(MAPS[0], 1))
    assert single.get_suptitle().endswith("one map of 2 x 4 (y, x)")


def test_maps_have_the_colours_of_the_heat_map():
    values = np.full((1, 2, 3), 0.1)
    values[0, 0] = 5, np.inf, np.nan
    status = np.zeros(values.shape, np.uint8)
    status[0, 1, 0], status[0, 0, 2] = DEAD, NOT_FINITE
    for scale in ("linear", "log"):
        figure = plots.maps(layer(CONV, values, status), "a", limit=(0.01, 1), scale=scale)
        (image,) = images(figure)
        places = {"outlier": (0, 0), "infinite": (0, 1), "NaN": (0, 2), "dead": (1, 0)}
        for kind, place in places.items():
            np.testing.assert_allclose(image[place], to_rgb(plots.COLOURS[kind]))
        assert legend(figure) == ["outlier, above 1: 1", "dead: 1", "infinite: 1", "NaN: 1"]


def test_chosen_channels():
    figure = plots.maps(layer(CONV, MAPS), "a", channels=[1, 0])
    assert [text.get_text() for text in figure.axes[0].texts] == ["1", "0"]
    everything = plots.maps(layer(CONV, MAPS), "a")
    assert figure.axes[1].get_ylim() == everything.axes[1].get_ylim(), "limits of the whole layer"
    np.testing.assert_array_equal(images(figure)[0], images(everything)[1])
    assert "\n2 of 3 channels of 2 x 4" in figure.get_suptitle()
    many = layer(CONV, np.random.default_rng(0).random((70, 2, 2)))
    figure = plots.maps(many, "a")
    assert len(images(figure)) == 64
    assert "\n64 of 70 channels" in figure.get_suptitle()
    assert len(images(plots.maps(many, "a", channels=np.arange(70)))) == 70


def test_images_of_a_grid_do_not_overlap():
    figure = plots.maps(layer(CONV, np.random.default_rng(0).random((37, 3, 5))), "a")
    figure.draw_without_rendering()
    boxes = [image.get_window_extent() for image in figure.axes[0].images]
    boxes += [text.get_window_extent() for text in figure.axes[0].texts]
    frame = figure.bbox
    for i, box in enumerate(boxes):
        assert frame.x0 <= box.x0 <= box.x1 <= frame.x1
        assert frame.y0 <= box.y0 <= box.y1 <= frame.y1
        for other in boxes[:i]:
            across = min(box.x1, other.x1) - max(box.x0, other.x0)
            assert across < 1 or min(box.y1, other.y1) - max(box.y0, other.y0) < 1


@pytest.mark.parametrize(
    ("dims", "rows", "columns"),
    [
        (("channel", "time"), "channel", "time"),
        (("time", "channel"), "channel", "time"),
        (("token", "unit"), "unit", "token"),
        (("d0", "d1"), "d0", "d1"),
    ],
)
def test_layers_of_two_dims_are_one_image(dims, rows, columns):
    values = np.arange(12).reshape(3, 4) / 8
    figure = plots.maps(layer(dims, values), "a", limit=1.5)
    axes = figure.axes[0]
    expected = values if dims == (rows, columns) else values.T
    np.testing.assert_allclose(images(figure)[0], viridis(expected, 1.5))
    assert (axes.get_ylabel(), axes.get_xlabel()) == (rows, columns)
    n = len(expected)
    words = f"all {n} {rows}s, {12 // n} {'time step' if columns == 'time' else columns}s"
    assert figure.get_suptitle().endswith(words)


def test_chosen_rows_keep_their_indices():
    figure = plots.maps(layer(("token", "unit"), np.ones((5, 300))), "a", channels=[200, 3])
    figure.draw_without_rendering()
    axes = figure.axes[0]
    ticks = zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)
    assert {y: text.get_text() for y, text in ticks if text.get_text()} == {0: "200", 1: "3"}
    assert "2 of 300 units, 5 tokens" in figure.get_suptitle()


def test_errors_of_maps():
    tree = layer(CONV, MAPS)
    with pytest.raises(ResultError, match="no layer 'b' with NV: use one of a"):
        plots.maps(tree, "b")
    with pytest.raises(ResultError, match=r"no layer \['a'\] with NV"):
        plots.maps(tree, ["a"])
    for channels in (1, "1", [], ["1"], [0.5], [True], [[0]]):
        with pytest.raises(ArgumentError, match="not a list of indices"):
            plots.maps(tree, "a", channels=channels)
    for index in (3, -1):
        with pytest.raises(ArgumentError, match=f"no channel {index}: use indices from 0 to 2"):
            plots.maps(tree, "a", channels=[0, index])
    flat = units(np.ones(3))
    with pytest.raises(ResultError, match=r"no space .* heatmap\(tree, 'NV', layers='a'\)"):
        plots.maps(flat, "a")
    fields = {"ND": value(np.ones(3), dims=("channel",)), "NV": value(MAPS)}
    with pytest.raises(ResultError, match=r"ND has no space in layer 'a', one value per channel: "):
        plots.maps(make({"a": (CONV, fields)}), "a", "ND")
    deep = layer(("channel", "z", "y", "x"), np.ones((2, 3, 4, 5)))
    with pytest.raises(ResultError, match=r"channel, z, y, x, .* tree\.isel\(z=0\)"):
        plots.maps(deep, "a")
    assert len(images(plots.maps(deep.isel(z=0), "a"))) == 2
    unknown = layer(("d0", "d1", "d2"), np.ones((2, 3, 4)))
    with pytest.raises(ResultError, match=r"tree\.isel\(d0=0\)"):
        plots.maps(unknown, "a")
