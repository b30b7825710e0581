"""The sample grid: the inputs of a network under all transformations."""

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import tmeasures as tm
from drawing import assert_readable, cells, columns, note, rows
from tmeasures import plots
from tmeasures.errors import ArgumentError, SampleError, TransformationError
from tmeasures.plots.grid import Row, draw
from tmeasures.plots.samples import thinned

IMAGES = torch.rand(20, 1, 9, 9, generator=torch.Generator().manual_seed(0))
ORDER = np.random.default_rng(0).permutation(20)


def title(figure):
    return figure.get_suptitle()


class Pairs(Dataset):
    def __len__(self):
        return 20

    def __getitem__(self, index):
        return IMAGES[index], f"class {index % 3}"


class Stream(IterableDataset):
    def __iter__(self):
        return iter([(image, 7) for image in IMAGES])


def test_a_row_for_each_sample_and_a_column_for_each_transformation():
    before = IMAGES.clone()
    state = torch.get_rng_state()
    figure = plots.samples(IMAGES, tm.rotations(4), n_samples=3)
    assert torch.equal(IMAGES, before)
    assert torch.equal(torch.get_rng_state(), state)
    turned = tm.rotations(4).apply(IMAGES[ORDER[:3]])
    np.testing.assert_allclose(np.stack(cells(figure)), turned.flatten(0, 2).numpy(), rtol=1e-6)
    assert rows(figure) == [f"sample {place}" for place in ORDER[:3]]
    assert columns(figure) == ["rotation 0°", "rotation 90°", "rotation 180°", "rotation 270°"]
    assert title(figure) == "Samples under rotations(4)\n3 of n = 20 samples, m = 4 transformations"
    assert note(figure) == "inputs: from 0 (black) to 1 (white), alike in all"
    places = [image.get_extent() for image in figure.axes[0].images]
    assert places[1][0] > places[0][1], "columns go to the right"
    assert places[4][3] > places[0][2], "rows go down"
    assert title(plots.samples(IMAGES, title="mine")) == "mine"


def test_images_stand_upright():
    corner = torch.zeros(1, 1, 8, 8)
    corner[0, 0, :4, :4] = 1
    figure = plots.samples(corner, tm.flips())
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    box = figure.axes[0].images[0].get_window_extent()
    pixels = np.asarray(canvas.buffer_rgba())[::-1, :, 0]
    x, y = (
        [int(a + share * (b - a)) for share in (0.25, 0.75)]
        for a, b in (sorted(box.intervalx), sorted(box.intervaly))
    )
    assert pixels[np.ix_(y, x)].tolist() == [[0, 0], [255, 0]], "from the lower left"


def test_the_samples_are_those_that_are_measured_first():
    labels = [f"digit {i}" for i in range(20)]
    walk = tm.walk(torch.nn.Flatten(), IMAGES, tm.flips(), labels=labels, seed=5, batch_size=20)
    tile = next(walk)
    walk.close()
    figure = plots.samples(IMAGES, tm.flips(), labels=labels, seed=5, n_samples=5)
    pairs = zip(tile.labels, tile.ids, strict=True)
    assert rows(figure) == [f"{label}\nsample {place}" for label, place in pairs]
    seen = tile.values["output"].reshape(-1, 9, 9).numpy()
    np.testing.assert_array_equal(np.stack(cells(figure)), seen)


@pytest.mark.parametrize(
    ("samples", "arguments", "first"),
    [
        (IMAGES.numpy(), {}, "sample {}"),
        ((IMAGES, torch.arange(20) % 10), {}, "label {label}\nsample {}"),
        (Pairs(), {}, "class {third}\nsample {}"),
        (DataLoader(Pairs(), batch_size=7), {}, "class {third}\nsample {}"),
        (TensorDataset(IMAGES, torch.arange(20) % 10), {}, "label {label}\nsample {}"),
        ({"x": IMAGES, "y": torch.arange(20) % 10}, {"labels": "y"}, "label {label}\nsample {}"),
        ({"x": IMAGES, "mask": IMAGES > 0.5}, {}, "sample {}"),
        ({"x": IMAGES, "other": 1 - IMAGES}, {"input": "x"}, "sample {}"),
    ],
)
def test_every_form_of_samples(samples, arguments, first):
    figure = plots.samples(samples, tm.rotations(2), n_samples=2, **arguments)
    place = int(ORDER[0])
    assert rows(figure)[0] == first.format(place, label=place % 10, third=place % 3)
    np.testing.assert_allclose(cells(figure)[0], IMAGES[place, 0].numpy())


def test_an_iterable_data_set_comes_in_its_own_order():
    figure = plots.samples(Stream(), tm.rotations(2), n_samples=5)
    assert rows(figure) == [f"label 7\nsample {i}" for i in range(5)]
    np.testing.assert_allclose(cells(figure)[8], IMAGES[4, 0].numpy())
    assert title(figure).endswith("the first 5 samples, m = 2 transformations")


def test_fewer_samples_than_asked_for():
    figure = plots.samples(IMAGES[:3])
    assert len(cells(figure)) == 3
    assert columns(figure) == ["identity"]
    assert title(figure) == "Samples under identity\nn = 3 samples, m = 1 transformations"


def test_colours():
    """RGB is shown as it is from 0 to 1; other values are scaled alike for all samples."""
    colours = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    first = np.random.default_rng(0).permutation(6)[0]
    figure = plots.samples(colours)
    np.testing.assert_allclose(cells(figure)[0], colours[first].permute(1, 2, 0).numpy())
    wide = 4 * colours - 1
    shown = wide[np.random.default_rng(0).permutation(6)[:2]]
    figure = plots.samples(wide, n_samples=2)
    low, high = shown.min().item(), shown.max().item()
    expected = ((shown[0] - low) / (high - low)).permute(1, 2, 0).numpy()
    np.testing.assert_allclose(cells(figure)[0], expected, atol=1e-6)
    assert note(figure) == f"inputs: from {low:.3g} (black) to {high:.3g} (white), alike in all"
    last = plots.samples(colours.permute(0, 2, 3, 1))
    np.testing.assert_allclose(cells(last)[0], colours[first].permute(1, 2, 0).numpy())
    bytes_ = (255 * colours).to(torch.uint8)
    from_bytes = plots.samples(bytes_)
    np.testing.assert_allclose(cells(from_bytes)[0], colours[first].permute(1, 2, 0), atol=0.005)


def test_grey():
    figure = plots.samples(4 * IMAGES - 1, tm.flips(), n_samples=2)
    shown = (4 * IMAGES - 1)[ORDER[:2]]
    ends = [image.get_clim() for image in figure.axes[0].images]
    assert ends == [pytest.approx((shown.min().item(), shown.max().item()))] * 8
    assert {image.get_cmap().name for image in figure.axes[0].images} == {"gray"}
    assert plots.samples(IMAGES).axes[0].images[0].get_clim() == (0, 1)
    plain = plots.samples(IMAGES[:, 0], tm.rotations(2))
    np.testing.assert_allclose(cells(plain)[0], IMAGES[ORDER[0], 0].numpy())
    five = plots.samples(IMAGES.expand(20, 5, 9, 9) * torch.arange(5)[:, None, None] / 4)
    np.testing.assert_allclose(cells(five)[0], IMAGES[ORDER[0], 0].numpy() / 2, rtol=1e-6)
    assert note(five).startswith("inputs: mean of the 5 channels; from 0 (black)")


def test_values_that_are_not_finite_do_no_harm(tmp_path):
    broken = IMAGES.clone()
    broken[:, :, 0, 0], broken[:, :, 1, 1] = np.nan, np.inf
    figure = plots.samples(broken)
    assert figure.axes[0].images[0].get_clim() == (0, 1)
    figure.savefig(tmp_path / "grey.png")
    plots.samples(broken.expand(20, 3, 9, 9)).savefig(tmp_path / "colours.png")
    plots.samples(torch.full((3, 1, 4, 4), np.nan)).savefig(tmp_path / "none.png")
    plots.samples(torch.full((3, 1, 4, 4), 5.0)).savefig(tmp_path / "constant.png")


def test_many_transformations_are_spread():
    images = IMAGES[:, :, :6, :6]
    figure = plots.samples(images, tm.combined(), n_samples=1)
    assert title(figure) == (
        "Samples under combined\n1 of n = 20 samples, 16 of m = 4224 transformations"
    )
    places = [round(i * 4223 / 15) for i in range(16)]
    image = images[ORDER[:1]]
    for cell, place in zip(cells(figure), places, strict=True):
        np.testing.assert_allclose(cell, tm.combined()[place](image)[0, 0].numpy(), atol=1e-6)
    few = plots.samples(images, tm.rotations(16), n_transformations=2)
    assert columns(few) == ["rotation 0°", "rotation 337.5°"]


def test_thinning_keeps_the_draws():
    noise = tm.transformations([lambda x: x + torch.randn_like(x)] * 7, random=True)
    both = noise * noise
    some = thinned(both, 5)
    assert len(some) == 5
    ids = np.array([3, 8])
    expected = both.apply(IMAGES[:2], ids=ids, seed=1)[:, [0, 12, 24, 36, 48]]
    torch.testing.assert_close(some.apply(IMAGES[:2], ids=ids, seed=1), expected)
    assert thinned(both, 49) is both


def test_series_are_lines():
    time = torch.linspace(0, 6, 64)
    series = torch.stack([torch.sin(time), torch.cos(time), 2 * torch.sin(3 * time)])
    samples = torch.stack([series, -series, series / 2])
    reverse = tm.transformations([lambda x: x, lambda x: x.flip(-1)], names=["as it is", "back"])
    figure = plots.samples(samples, reverse)
    axes = figure.axes[0]
    assert not axes.images
    assert len(axes.lines) == 3 * 2 * 3
    places = np.random.default_rng(0).permutation(3)
    drawn = axes.lines[0].get_ydata()
    shape = (drawn.max() - drawn) / np.ptp(drawn)
    first = samples[places[0], 0].numpy()
    np.testing.assert_allclose(shape, (first - first.min()) / np.ptp(first), atol=1e-6)
    np.testing.assert_allclose(axes.lines[3].get_ydata(), drawn[::-1])
    heights = np.array([np.ptp(line.get_ydata()) for line in axes.lines]).reshape(3, 2, 3)
    half, whole = list(places).index(2), list(places).index(0)
    np.testing.assert_allclose(heights[half] * 2, heights[whole], err_msg="one axis for all")
    low, high = samples.min().item(), samples.max().item()
    assert note(figure) == (
        f"inputs: 3 channels, dark to light; one axis for all, from {low:.3g} to {high:.3g}"
    )
    assert_readable(figure)


def test_what_is_a_series():
    wide = torch.rand(4, 6, 24)
    assert not plots.samples(wide).axes[0].images
    assert plots.samples(wide, series=False).axes[0].images
    assert plots.samples(torch.rand(4, 28, 28)).axes[0].images
    assert plots.samples(torch.rand(4, 40, 200)).axes[0].images, "a spectrogram"
    assert not plots.samples(torch.rand(4, 28, 28), series=True).axes[0].images
    assert len(plots.samples(torch.rand(4, 50)).axes[0].lines) == 4


@pytest.mark.filterwarnings("ignore:quarter turns")
@pytest.mark.parametrize(
    ("samples", "transformations"),
    [
        (IMAGES, tm.rotations(16)),
        (IMAGES, tm.combined()),
        (IMAGES, tm.translations()),
        (IMAGES, None),
        (torch.rand(5, 3, 30, 90), tm.flips()),
        (torch.rand(5, 1, 4, 40), tm.rotations(16)),
        (torch.rand(5, 1, 60, 9), tm.flips()),
        (
            (IMAGES, [f"a class of a name as long as {'x' * 40}"] * 20),
            tm.transformations(
                [lambda x: x] * 3, names=["$a$ and $b$", "colour_jitter" * 6, "many words " * 30]
            ),
        ),
    ],
)
def test_text_does_not_overlap(samples, transformations):
    if isinstance(samples, tuple):
        assert_readable(plots.samples(samples[0], transformations, labels=samples[1]))
    else:
        assert_readable(plots.samples(samples, transformations))


def test_names_are_no_formulas():
    formula = tm.transformations([lambda x: x], names=["$x^2$ and $y$"])
    figure = plots.samples(IMAGES, formula)
    assert not figure.axes[0].get_xticklabels()[0].get_parse_math()


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_files(suffix, tmp_path):
    plots.samples(IMAGES, tm.rotations(4)).savefig(tmp_path / f"a.{suffix}")
    assert (tmp_path / f"a.{suffix}").stat().st_size > 3000


def test_mistakes():
    with pytest.raises(ArgumentError, match="n_samples=0"):
        plots.samples(IMAGES, n_samples=0)
    with pytest.raises(ArgumentError, match="n_transformations='all'"):
        plots.samples(IMAGES, n_transformations="all")
    with pytest.raises(SampleError, match=r"shape \(2, 3, 4, 5\), and this picture is of images"):
        plots.samples(torch.rand(3, 2, 3, 4, 5))
    with pytest.raises(SampleError, match="single numbers"):
        plots.samples(torch.rand(3))
    with pytest.raises(ArgumentError, match="2 look like images; say which"):
        plots.samples({"a": IMAGES, "b": IMAGES})
    with pytest.raises(ArgumentError, match="single"):
        plots.samples(IMAGES, tm.rotations(4)[1])
    with pytest.raises(TransformationError, match="in place"):
        plots.samples(IMAGES, [lambda x: x.mul_(2)])
    with pytest.raises(ArgumentError, match=r"5000 rows and 1 columns.*ask for fewer"):
        draw([Row("a", np.zeros((1, 2, 2)), (0, 1))] * 5000, ["b"], title="", note="")
