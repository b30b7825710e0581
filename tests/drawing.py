"""Results made by hand, and what is read off a picture."""

import io
from itertools import combinations
from types import SimpleNamespace
from unittest import mock

import numpy as np
from matplotlib.text import Text

from tmeasures import results
from tmeasures.fields import DEAD, NOT_FINITE, Field

CONV = ("channel", "y", "x")
MAPS = np.arange(3 * 2 * 4).reshape(3, 2, 4) / 10
FACTS = {
    "model": "SimpleConv",
    "transformations": "rotations(16)",
    "n_samples": 100,
    "n_transformations": 16,
}
TITLE = "SimpleConv under rotations(16)\nn = 100 samples, m = 16 transformations"


def value(values, units="1", **options):
    return Field(np.asarray(values), units, "a variance", "a source", **options)


def make(layers, status=None, facts=FACTS, labels=None, **classes):
    """A tree of ``{name: (dims, {measure: field})}``."""
    pairs, flags = [], {}
    for name, (dims, fields) in layers.items():
        first = next(field for field in fields.values() if field.dims is None)
        shape = first.values.shape[len(first.leading) :]
        pairs.append(
            (SimpleNamespace(name=name, shape=shape, dims=dims, dtype="float32", kind="X"), fields)
        )
        flags[name] = np.zeros(shape, np.uint8)
    return results.build(
        pairs,
        status=flags | (status or {}),
        transformations=SimpleNamespace(name="r", names=["a", "b"], parameters={}),
        ids=np.arange(4 if labels is None else len(labels)),
        labels=labels,
        attributes=facts,
        **classes,
    )


def layer(dims, values, status=None):
    """A tree of one layer ``a``."""
    return make({"a": (dims, {"NV": value(values)})}, {} if status is None else {"a": status})


def units(values, status=None):
    """A tree of one layer ``a`` of units."""
    return layer(("unit",), values, status)


def each_class(labels=("ant", "bee", "cow"), seed=0):
    """A tree of two layers with values of each class; of ``conv`` also one value per channel.

    In class 1 channel 2 of ``conv`` is dead, and unit 0 of ``fc`` not finite.
    """
    rng = np.random.default_rng(seed)
    classes = len(labels)
    status = {
        "conv": np.zeros((classes, 3, 2, 4), np.uint8),
        "fc": np.zeros((classes, 5), np.uint8),
    }
    status["conv"][1, 2], status["fc"][1, 0] = DEAD, NOT_FINITE
    layers = {}
    for name, dims in (("conv", CONV), ("fc", ("unit",))):
        values = rng.lognormal(-1, 1, status[name].shape)
        values[status[name] == DEAD] = 1
        values[status[name] == NOT_FINITE] = np.nan
        fields = _over_classes("NV", values) | _over_classes("GF", 1 / values, score=0.2)
        rejected = values > 0.3
        fields["rejected"] = value(rejected.mean(0))
        fields["rejected_by_stratum"] = value(rejected, leading=("stratum",), kind="decision")
        if name == "conv":
            fields |= _over_classes("ND", values.mean((2, 3)), dims=("channel",))
        layers[name] = dims, fields
    return make(
        layers,
        {"fc": np.bitwise_or.reduce(status["fc"])},
        labels=np.resize(np.array(labels), 3 * classes + 1),
        strata=np.array(labels),
        stratum_status=status,
    )


def _over_classes(name, values, **options):
    """A variable over classes, the number of those where it is finite, and that of each class."""
    finite = np.isfinite(values)
    dims = {"dims": options["dims"]} if "dims" in options else {}
    return {
        name: value(np.nanmean(values, 0), **options),
        f"{name}_strata": value(finite.sum(0), kind="count", **dims),
        f"{name}_by_stratum": value(values, leading=("stratum",), **options),
    }


def columns(figure, i=0):
    """What is written below the columns."""
    return [label.get_text() for label in figure.axes[i].get_xticklabels()]


def rows(figure):
    """What is written beside the rows."""
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


def cells(figure):
    """The pixels of each image."""
    return [np.asarray(image.get_array()) for image in figure.axes[0].images]


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def note(figure):
    """What is written at the foot."""
    return figure.texts[-1].get_text()


def drawn(figure):
    """All that is written, with its box."""
    found, draw = [], Text.draw

    def record(text, *arguments):
        if text.get_visible() and text.get_text().strip():
            found.append(text)
        return draw(text, *arguments)

    with mock.patch.object(Text, "draw", record):
        figure.savefig(io.BytesIO())
    return {text: text.get_window_extent() for text in found}


def assert_readable(figure):
    """No text lies on another, on an image, or outside."""
    boxes = drawn(figure)
    assert len(boxes) > 5
    for (one, box), (other, another) in combinations(boxes.items(), 2):
        assert not box.overlaps(another), f"{one.get_text()!r} on {other.get_text()!r}"
    images = [image.get_window_extent() for axes in figure.axes for image in axes.images]
    for text, box in boxes.items():
        assert figure.bbox.contains(box.x0, box.y0), text
        assert figure.bbox.contains(box.x1, box.y1), text
        assert not any(box.overlaps(image.padded(-1)) for image in images), text
