"""Results made by hand for the pictures, and what is read off a picture."""

import io
from itertools import combinations
from types import SimpleNamespace
from unittest import mock

import numpy as np
from matplotlib.text import Text

from tmeasures import results
from tmeasures.fields import Field

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


def make(layers, status=None, facts=FACTS):
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
        attributes=facts,
    )


def layer(dims, values, status=None):
    """A tree of one layer ``a``."""
    return make({"a": (dims, {"NV": value(values)})}, {} if status is None else {"a": status})


def units(values, status=None):
    """A tree of one layer ``a`` of units."""
    return layer(("unit",), values, status)


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
