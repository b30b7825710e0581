"""What users do by mistake, and how the sentence is read that answers it."""

import functools
import re
import tempfile
import warnings

import pytest
import torch
from torch import nn
from torch.utils.data import IterableDataset

import tmeasures as tm
from small_models import Model

ARG, MODEL, MEMORY = tm.ArgumentError, tm.ModelError, tm.MemoryLimitError
SAMPLE, TRANSFORM, RESULT = tm.SampleError, tm.TransformationError, tm.ResultError
WARNING = tm.TMeasuresWarning

IMAGES = torch.rand(6, 1, 8, 8)
ANGLES, MANY = tm.rotations(4), tm.rotations(64)


def network(channels=1):
    """A classifier of 8 x 8 images."""
    return nn.Sequential(nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))


NETWORK = network()


class Arrays:
    """A model of numpy arrays."""

    def __init__(self, function):
        self.run = function


class Flow(IterableDataset):
    """Images one after the other."""

    def __iter__(self):
        return iter(IMAGES)


class Two:
    """A data set without a length."""

    def __getitem__(self, index):
        return IMAGES[index]


class Mine(tm.Measure):
    """A measure with a slip in it."""

    short = "MINE"

    def __init__(self, needs=frozenset({"rows"}), reads="rows", at=slice(None)):
        self.needs, self.reads, self.at = frozenset(needs), reads, at

    def finalize(self, quantities):
        return {"MINE": tm.Field(quantities[self.reads][self.at], "1", "mine", "here")}

    def reference(self, cube):
        return {}


def plan(model=NETWORK, samples=IMAGES, transformations=ANGLES, **arguments):
    """What a run says before it starts."""
    return tm.explain(model, samples, transformations, **{"measures": "NV"} | arguments)


@functools.cache
def tree():
    return tm.measure(NETWORK, IMAGES, ANGLES, measures="NV")


def walked(*arguments):
    return list(tm.walk(*arguments))


def opened(some_tree):
    """Read back a tree that was written without a check."""
    with tempfile.TemporaryDirectory() as folder:
        some_tree.to_netcdf(f"{folder}/a.nc")
        return tm.open(f"{folder}/a.nc")


def scripted():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.trace(NETWORK, IMAGES)


def later():
    """A result as a later version may write it."""
    changed = tree().copy()
    changed.attrs["format"] = 99
    return changed


def raising(error, most=3, run=tm.measure):
    """Run a network that raises when it gets more inputs than so many."""

    def forward(self, x):
        if len(x) > most:
            raise error
        return x

    run(Model(forward), IMAGES, ANGLES)


def dynamic(forward):
    """Run a network that does something else for more inputs than the probe's three."""
    model = Model(forward, a=nn.Linear(5, 5), b=nn.Linear(5, 5))
    tm.measure(model, torch.rand(9, 5), measures="SV")


def folding(self, x):
    return self.a(x.reshape(-1, 16)).reshape(len(x), -1)


def items(*shapes):
    return [torch.zeros(shape) for shape in shapes]


def pictures(mode="L", size=8):
    return [pytest.importorskip("PIL.Image").new(mode, (size, size))] * 6


def of_items(*functions):
    return tm.transformations(functions, on="item")


def augment(*arguments, **named):
    """Called as those of albumentations are."""
    if arguments:
        raise KeyError("You have to pass data to augmentations as named arguments, image=image")
    return named


def blur(x):
    return x


def grey(most):
    """Images from 0 to a value."""
    images = torch.zeros(6, 1, 8, 8)
    images[..., 4] = most
    return images


HALVES = [lambda x: x[..., ::2, ::2], lambda x: x[..., 1::2, 1::2]]

START = re.compile(r"[a-z\d'<-]|[A-Z]\w*(\.\w+|[A-Z]\w*)* ")
"""How a sentence begins: in lower case, with a name in quotes, or with a word of code."""

ADVICE = re.compile(
    r"\b(add|allow|build|call|check|choose|convert|create|crop|draw|give|install|join|keep|"
    r"leave|load|make|measure|mend|name|open|pass|put|return|run|say|take|train|unfold|use|walk|"
    r"wrap|write)\b"
)


def said(kind, make):
    """The error or warning that a mistake is answered by."""
    if not issubclass(kind, Warning):
        with pytest.raises(kind) as caught:
            make()
        return caught.value
    with pytest.warns(kind) as caught:
        make()
    return next(each.message for each in caught if issubclass(each.category, kind))


def assert_answered(kind, *parts, make):
    """One sentence of this kind answers a mistake, holds the parts and says what to do."""
    error = said(kind, make)
    text = str(error)
    assert type(error) is kind
    assert START.match(text), text
    assert "\n" not in text
    assert ". " not in text
    assert not text.endswith(".")
    assert len(text) < 300, (len(text), text)
    assert ADVICE.search(text), text
    for part in parts:
        assert part in text or re.search(part, text), (part, text)
