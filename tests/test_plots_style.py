"""What holds for all pictures: a style of their own, and names that are no formulas."""

import io
from collections import OrderedDict

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg

import tmeasures as tm
from drawing import drawn
from tmeasures import plots
from tmeasures.errors import ArgumentError

NAME = r"a$\foo$"
IMAGES = torch.rand(4, 1, 9, 9, generator=torch.Generator().manual_seed(0))
ANGLES = tm.transformations([lambda x: x, lambda x: x.flip(-1)], names=[NAME, "back"], name=NAME)


@pytest.fixture(scope="module")
def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return torch.nn.Sequential(OrderedDict({NAME: torch.nn.Conv2d(1, 4, 3)}))


@pytest.fixture(scope="module")
def tree(network):
    found = tm.measure(network, IMAGES, ANGLES, measures=["TV", "NV"])
    found.attrs |= {"model": NAME, "transformations": "others"}
    layer = found["layers"][NAME]
    for measure in ("TV", "NV"):
        layer[measure].attrs |= {"long_name": NAME, "units": NAME}
    layer[NAME] = layer["NV"]
    return found


PICTURES = {
    "heatmap": lambda _, tree: plots.heatmap({NAME: tree, "b": tree}, scale="log"),
    "maps": lambda _, tree: plots.maps(tree, NAME),
    "lines": lambda _, tree: plots.lines({NAME: tree, "b": tree}, scale="log"),
    "histograms": lambda _, tree: plots.histograms(tree),
    "scatter": lambda _, tree: plots.scatter(tree, "TV", "NV", scale="log"),
    "samples": lambda *_: plots.samples(IMAGES, ANGLES, labels=[NAME] * 4),
    "features": lambda network, tree: plots.features(
        network, IMAGES, ANGLES, tree, NAME, NAME, n_maps=1, n_samples=1
    ),
}
each_picture = pytest.mark.parametrize("draw", PICTURES.values(), ids=PICTURES)


def saved(figure, **options):
    file = io.BytesIO()
    figure.savefig(file, **options)
    return file.getvalue()


def pixels(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


@each_picture
def test_the_users_style_changes_nothing(draw, network, tree):
    expected, plain = saved(draw(network, tree)), pixels(draw(network, tree))
    odd = {"font.sans-serif": ["DejaVu Serif"], "savefig.transparent": True, "axes.grid": True}
    for users in ("dark_background", "ggplot", odd):
        with style.context(users):
            before = matplotlib.rcParams.copy()
            figure, other = draw(network, tree), draw(network, tree)
            assert saved(figure) == expected
            np.testing.assert_array_equal(pixels(other), plain)
            assert matplotlib.rcParams.copy() == before
        assert saved(draw(network, tree)) == expected


def test_the_users_style_stays_after_an_error(tree):
    with style.context("ggplot"):
        before = matplotlib.rcParams.copy()
        with pytest.raises(ArgumentError):
            plots.histograms(tree, bins=0)
        assert matplotlib.rcParams.copy() == before


def test_how_files_are_written_stays_the_users(tree):
    with style.context({"savefig.dpi": 30, "pdf.fonttype": 42}):
        figure = plots.heatmap(tree)
        width = int.from_bytes(saved(figure)[16:20], "big")
        assert width == int(30 * figure.get_figwidth())
        assert b"/FontFile2" in saved(figure, format="pdf"), "TrueType"


@each_picture
def test_names_are_no_formulas(draw, network, tree):
    texts = [text.get_text() for text in drawn(draw(network, tree))]
    assert any(NAME in text for text in texts)
