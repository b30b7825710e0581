"""Errors read aloud: what new users do by mistake, and the sentence that answers each."""

import ast
import functools
import importlib
import re
import tempfile
import warnings
from inspect import isroutine
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

import tmeasures as tm
from small_models import Model
from tmeasures import engine
from tmeasures.results import attribute
from tmeasures.statistics import Moments
from tmeasures.transformations import AffineSet, AffineTransformation

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

# What a user does: the kind of error, what its sentence must hold, and how it is done.
# fmt: off
MISTAKES = {
    # The network
    "the class in place of a network": (ARG, "the class ReLU", "ReLU(...)",
        lambda: plan(nn.ReLU)),
    "the class of an object with run()": (ARG, "Jax",
        lambda: plan(type("Jax", (), {"run": blur}))),
    "a path in place of a network": (ARG, "'net.pt'", "load_state_dict",
        lambda: plan("net.pt")),
    "a state dict in place of a network": (ARG, "OrderedDict", "load_state_dict",
        lambda: plan(NETWORK.state_dict())),
    "a function in place of a network": (ARG, "function blur", "run",
        lambda: plan(blur)),
    "None in place of a network": (ARG, "None", "torch.nn.Module",
        lambda: plan(None)),
    "a DataParallel": (ARG, "DataParallel", "model.module",
        lambda: plan(nn.DataParallel(NETWORK))),
    "a network without weights yet": (ARG, "'0' is lazy", "run the model",
        lambda: plan(nn.Sequential(nn.LazyLinear(3)))),
    "a scripted network": (ARG, "ScriptModule", "pass",
        lambda: plan(scripted())),
    "device='gpu'": (ARG, "'gpu'", "name one",
        lambda: plan(device="gpu")),
    "CUDA where there is none": (ARG, "'cuda:77'", "leave device= out",
        lambda: plan(device="cuda:77")),
    "a device that is none": (ARG, "1.5", "name one",
        lambda: plan(device=1.5)),
    "a device for a model of arrays": (ARG, "'meta'", "leave it out",
        lambda: plan(Arrays(lambda x: {"y": x}), device="meta")),
    "call= that is a text": (ARG, "'forward'", "give a function",
        lambda: plan(call="forward")),
    # What the network is given
    "grey images into a colour network": (
        MODEL, "'0' (Conv2d) expects 3 channels and the images have 1",
        "float32 of shape (1, 8, 8)", "preprocess=lambda x: x.repeat(1, 3, 1, 1)", "Given groups=1",
        lambda: plan(network(3))),
    "colour images into a grey network": (
        MODEL, "expects 1 channel and the images have 3", "mean(1, keepdim=True)",
        lambda: plan(samples=IMAGES.expand(6, 3, 8, 8))),
    "four channels into a colour network": (MODEL, "have 4", "preprocess=",
        lambda: plan(network(3), IMAGES.expand(6, 4, 8, 8))),
    "images without a channel axis": (
        MODEL, "have none", "of shape (8, 8)", "preprocess=lambda x: x[:, None]",
        lambda: plan(samples=IMAGES[:, 0])),
    "channels last": (MODEL, "(8, 8, 3)", "movedim(-1, 1)",
        lambda: plan(network(3), torch.rand(6, 8, 8, 3))),
    "images of another size": (
        MODEL, "'3' (Linear) takes 144 features and gets 400", "(1, 12, 12)", "resizes",
        lambda: plan(samples=torch.rand(6, 1, 12, 12))),
    "images into a network of vectors": (MODEL, "takes 64 features and gets 8", "flatten(1)",
        lambda: plan(nn.Linear(64, 3), IMAGES)),
    "images that are too small": (MODEL, "(1, 2, 2)", "resizes",
        lambda: plan(samples=torch.rand(6, 1, 2, 2))),
    "images that are too small to pool": (MODEL, "(1, 8, 8)", "resizes",
        lambda: plan(nn.MaxPool2d(9))),
    "integers in place of floats": (MODEL, "gets int64", "samples.float()",
        lambda: plan(nn.Linear(5, 3), torch.ones(6, 5).long(), None, measures="SV")),
    "booleans in place of floats": (MODEL, "gets bool", "samples.float()",
        lambda: plan(samples=IMAGES > 0.5, transformations=None, measures="SV")),
    "several images of uint8": (MODEL, "gets uint8", "input= with the name",
        lambda: plan(
            Model(lambda self, a, b: self.c(a + b), c=nn.Conv2d(1, 2, 3)),
            {"a": IMAGES.byte(), "b": IMAGES.byte()}, None, measures="SV",
            call=lambda model, inputs: model(*inputs.values()))),
    "floats in place of token ids": (MODEL, "float32 of shape (5,)", "samples.long()",
        lambda: plan(nn.Embedding(30, 4), torch.rand(6, 5), None, measures="SV")),
    "token ids the network does not know": (MODEL, "from 0 to 29", "such ids",
        lambda: plan(nn.Embedding(30, 4), torch.full((6, 5), 50), None, measures="SV")),
    "a sequence of vectors of another size": (MODEL, "LSTM", "(5, 4)", "give inputs",
        lambda: plan(nn.LSTM(7, 3), torch.rand(6, 5, 4), None, measures="SV")),
    "keys that the network does not know": (MODEL, "pixels float32", "keyword argument 'pixels'",
        lambda: plan(NETWORK, {"pixels": IMAGES})),
    "one input where the network takes two": (
        MODEL, "missing 1 required positional argument: 'b'", "give",
        lambda: plan(Model(lambda self, a, b: a))),
    "a network that raises": (MODEL, "the network (Model) failed", "'nothing'", "give",
        lambda: plan(Model(lambda self, x: x.nothing))),
    "a layer that raises": (MODEL, "layer '0' (Model)", "KeyError: 'k'", "give",
        lambda: plan(nn.Sequential(Model(lambda self, x: {}["k"])))),
    "a network that raises several lines": (MODEL, "OSError: no such layer)", "give",
        lambda: raising(OSError("no such layer.\nA long story. It ends."), most=1)),
    "a model of arrays that raises": (MODEL, "Arrays", "give",
        lambda: plan(Arrays(lambda x: x.nothing))),
    "run() without a mapping": (MODEL, "Arrays.run returned a list", "return {'output': array}",
        lambda: plan(Arrays(lambda x: [x]))),
    "run() with texts": (MODEL, "layer 'y'", "return",
        lambda: plan(Arrays(lambda x: {"y": ["a"] * len(x)}))),
    "a network that runs other layers than it did": (MODEL, "layer 'b' was called", "leave it out",
        lambda: dynamic(lambda self, x: self.a(x) if len(x) < 4 else self.b(x))),
    "a network that runs out of CUDA memory": (
        MEMORY, "6 samples x 4 transformations", "batch_size=", "memory=",
        lambda: raising(torch.OutOfMemoryError("CUDA out of memory. Tried 2 GiB"))),
    "a network that runs out of memory": (MEMORY, "24 inputs", "batch_size=12",
        lambda: raising(RuntimeError("DefaultCPUAllocator: can't allocate memory"))),
    "numpy out of memory": (MEMORY, "24 inputs", "batch_size=",
        lambda: raising(MemoryError())),
    "a walk that runs out of memory": (MEMORY, "24 inputs", "batch_size=",
        lambda: raising(MemoryError(), run=walked)),
    "out of memory in the probe": (MEMORY, "2 inputs", "device=",
        lambda: raising(MemoryError(), most=1)),
    "preprocess= that is a text": (ARG, "'norm'", "give a function",
        lambda: plan(preprocess="norm")),
    "preprocess= that raises": (ARG, "float32 of shape (1, 8, 8)", "give a function",
        lambda: plan(preprocess=lambda x: x["image"])),
    "preprocess= that returns a pair": (ARG, "a tuple", "return a tensor",
        lambda: plan(preprocess=lambda x: (x, x))),
    "preprocess= that drops inputs": (ARG, "1 inputs for 2", "return as many",
        lambda: plan(preprocess=lambda x: x[0])),
    "a network on two devices": (ARG, "cpu, meta", "leave device= out",
        lambda: plan(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2, device="meta")), device="cpu")),
    "a network that skips a layer": (MODEL, "'a' was not called", "leave it out",
        lambda: dynamic(lambda self, x: self.a(x) if len(x) < 4 else x)),
    "a network whose shapes change": (MODEL, "'a' returned", "(9, 1, 5)", "leave it out",
        lambda: dynamic(lambda self, x: self.a(x if len(x) < 4 else x[:, None]))),
    # Samples
    "a path in place of samples": (SAMPLE, "'digits.npz'", "np.load",
        lambda: plan(samples="digits.npz")),
    "None in place of samples": (SAMPLE, "None", "give a tensor",
        lambda: plan(samples=None)),
    "a generator of samples": (SAMPLE, "a generator", "give a tensor",
        lambda: plan(samples=(x for x in IMAGES))),
    "a class in place of a data set": (SAMPLE, "the class Flow", "give",
        lambda: plan(samples=Flow)),
    "a data set without a length": (SAMPLE, "Two without a length", "__len__",
        lambda: plan(samples=Two())),
    "no samples": (SAMPLE, "length of 0", "give at least one",
        lambda: plan(samples=IMAGES[:0])),
    "an empty mapping": (SAMPLE, "empty mapping", "give",
        lambda: plan(samples={})),
    "a single number": (SAMPLE, "shape ()", "give them a first axis",
        lambda: plan(samples=torch.tensor(1.0))),
    "an array of texts": (SAMPLE, "dtype <U1", "convert",
        lambda: plan(samples=np.array(["a", "b"]))),
    "an array of arrays": (SAMPLE, "dtype object", "convert",
        lambda: plan(samples=np.array([None, None]))),
    "a mapping of lists": (SAMPLE, "'x' are a list", "np.array",
        lambda: plan(samples={"x": [1, 2]})),
    "a mapping of unequal lengths": (SAMPLE, "{'x': 6, 'y': 5}", "give",
        lambda: plan(samples={"x": IMAGES, "y": IMAGES[1:]})),
    "one-hot labels": (SAMPLE, "(6, 6)", "argmax(1)",
        lambda: plan(samples=(IMAGES, torch.eye(6)))),
    "a column of labels": (SAMPLE, "(6, 1)", "y[:, 0]",
        lambda: plan(samples=(IMAGES, torch.zeros(6, 1)))),
    "fewer labels than images": (SAMPLE, "(5,)", "give one label",
        lambda: plan(samples=(IMAGES, torch.zeros(5)))),
    "items of unequal shapes": (SAMPLE, r"([01] and 2|2 and [01]) have", "(1, 9, 8)", "resize",
        lambda: plan(samples=items((1, 8, 8), (1, 8, 8), (1, 9, 8)))),
    "two items of unequal shapes": (SAMPLE, r"samples (0 and 1|1 and 0) have", "(3, 5)", "resize",
        lambda: plan(samples=items((3, 4), (3, 5)))),
    "items of unequal keys": (SAMPLE, r"samples (0 and 1|1 and 0) have", "['x']", "['z']", "give",
        lambda: plan(samples=[{"x": IMAGES[0]}, {"z": IMAGES[0]}])),
    "items of three parts": (SAMPLE, "3 parts", "mapping",
        lambda: plan(samples=[(IMAGES[0], 1, 2)] * 6)),
    "items of text": (SAMPLE, "a list", "convert",
        lambda: plan(samples=["a", "b"])),
    "items of no known type": (SAMPLE, "object", "convert",
        lambda: plan(samples=[object()] * 6)),
    "images of Pillow with a palette": (SAMPLE, "mode 'P'", "image.convert('RGB')",
        lambda: plan(samples=pictures("P"))),
    "images of Pillow of unequal sizes": (SAMPLE, r"samples (0 and 1|1 and 0) have", "resize",
        lambda: plan(samples=[*pictures(size=7)[:1], *pictures()[:1]])),
    "mappings without a tensor": (SAMPLE, "['text']", "give",
        lambda: plan(samples=[{"text": "a"}] * 6)),
    "a collate function that drops items": (SAMPLE, "(1, 1, 8, 8)", "mend the collate_fn",
        lambda: plan(samples=DataLoader(IMAGES, collate_fn=lambda x: torch.stack(x)[:1]))),
    "an iterable data set without items": (SAMPLE, "no sample", "give",
        lambda: plan(samples=type("Empty", (Flow,), {"__iter__": lambda _: iter(())})())),
    "an iterable data set in two passes": (MEMORY, "iterable", "allow as much",
        lambda: plan(samples=Flow(), transformations=tm.rotations(64), memory="20KB")),
    "an iterable data set walked twice": (ARG, "32 times", "walk sample-first",
        lambda: tm.walk(NETWORK, Flow(), tm.rotations(64), order="transformation", batch_size=8)),
    "an array of labels for an iterable data set": (ARG, "no indices", "give the key",
        lambda: plan(samples=Flow(), labels=range(6))),
    "labels of another length": (ARG, "3 labels for 6 samples", "give one",
        lambda: plan(labels=[1, 2, 3])),
    "labels of two axes": (ARG, "(6, 6)", "give one number",
        lambda: plan(labels=torch.eye(6))),
    "a key of labels for a tensor": (ARG, "'label'", "give one label",
        lambda: plan(labels="label")),
    "a mistyped key of labels": (ARG, "'labels'", "did you mean 'label'",
        lambda: plan(samples={"x": IMAGES, "label": range(6)}, labels="labels")),
    "n_samples too large": (ARG, "n_samples=7", "6 samples", "give at most 6",
        lambda: plan(n_samples=7)),
    "n_samples=0": (ARG, "n_samples=0", "give",
        lambda: plan(n_samples=0)),
    "n_samples='all'": (ARG, "n_samples='all'", "give",
        lambda: plan(n_samples="all")),
    "seed=-1": (ARG, "seed=-1", "at least 0",
        lambda: plan(seed=-1)),
    "seed=None": (ARG, "seed=None", "at least 0",
        lambda: plan(seed=None)),
    "input= for tensors": (ARG, "'image'", "leave it out",
        lambda: plan(input="image")),
    "a mistyped key in input=": (ARG, "'imag'", "did you mean 'image'",
        lambda: plan(samples={"image": IMAGES}, input="imag")),
    "two images in a mapping": (ARG, "left, right", "input='...'",
        lambda: plan(samples={"left": IMAGES, "right": IMAGES})),
    "one sample": (ARG, "there is 1", "give more",
        lambda: plan(samples=IMAGES[:1])),
    "a plan of two passes for an iterable data set": (ARG, "more than once", "allow more",
        lambda: plan(NETWORK, Flow(), MANY, plan=plan(transformations=MANY, memory="50KB"))),
    # Transformations
    "transformations by name": (ARG, "'rotation'", "did you mean 'tm.rotations", "give a set",
        lambda: plan(transformations="rotation")),
    "a number of transformations": (ARG, "16", "tm.rotations(16)",
        lambda: plan(transformations=16)),
    "a set that is not called": (ARG, "function rotations", "tm.rotations()",
        lambda: plan(transformations=tm.rotations)),
    "a set of numbers that is not called": (
        ARG, "function gaussian_blur", "call it, tm.gaussian_blur([...])",
        lambda: plan(transformations=tm.gaussian_blur)),
    "a set of numbers by name": (ARG, "'contrasts'", "did you mean 'tm.contrast([...])'", "give",
        lambda: plan(transformations="contrasts")),
    "a set of the command line": (ARG, "'rotation:16'", "did you mean 'tm.rotations()'", "give",
        lambda: plan(transformations="rotation:16")),
    "one function in place of a list": (ARG, "function blur", "give a list",
        lambda: plan(transformations=blur)),
    "one module in place of a list": (ARG, "Sequential", "give a list",
        lambda: plan(transformations=nn.Sequential(nn.ReLU()))),
    "one transformation in place of a set": (ARG, "rotation 90°", "give a set",
        lambda: plan(transformations=ANGLES[1])),
    "a class of transformations": (ARG, "the class AffineSet", "give",
        lambda: plan(transformations=AffineSet)),
    "no transformations where the measure needs two": (ARG, "there is 1", "give a set",
        lambda: plan(transformations=None)),
    "an empty list of transformations": (TRANSFORM, "[]", "give a list",
        lambda: plan(transformations=[])),
    "a list of angles": (TRANSFORM, "found 0", "tm.rotations([...])",
        lambda: plan(transformations=[0, 90])),
    "a list of sets": (TRANSFORM, "AffineSet", "a * b",
        lambda: plan(transformations=[ANGLES, tm.flips()])),
    "rotations of vectors": (TRANSFORM, "(5,)", "use tm.transformations",
        lambda: plan(nn.Linear(5, 3), torch.rand(6, 5))),
    "rotations of integers": (TRANSFORM, "int64", "convert",
        lambda: plan(samples=IMAGES.long())),
    "a transformation that raises": (TRANSFORM, "'t1' fails", "rotate", "give",
        lambda: plan(transformations=[blur, lambda x: x.rotate(45)])),
    "a transformation for single images": (TRANSFORM, "'t1' turns a batch of 2", "on='item'",
        lambda: plan(transformations=[blur, lambda x: x[0]])),
    "transformations of unequal sizes": (TRANSFORM, "(1, 8, 7)", "crop or resize",
        lambda: plan(transformations=[blur, lambda x: x[..., 1:]])),
    "a transformation that returns None": (TRANSFORM, "returns None", "return",
        lambda: plan(transformations=[blur, lambda x: None])),
    "a transformation that returns integers": (TRANSFORM, "torch.uint8", "return x.float()",
        lambda: plan(transformations=[blur, lambda x: (255 * x).byte()])),
    "a transformation in place": (TRANSFORM, "'t1' changes its input", "return a new tensor",
        lambda: plan(transformations=[blur, lambda x: x.mul_(2)])),
    "a random transformation": (TRANSFORM, "'t1' gives two results", "random=True",
        lambda: plan(transformations=[blur, lambda x: x + torch.rand_like(x)])),
    "a single callable in tm.transformations": (TRANSFORM, "function blur", "give a list",
        lambda: tm.transformations(blur)),
    "on='image'": (TRANSFORM, "'image'", "name one",
        lambda: tm.transformations([blur], on="image")),
    "fewer names than callables": (TRANSFORM, "1 names for 2", "give as many",
        lambda: tm.transformations([blur, blur], names=["a"])),
    "a function of images for tensors in memory": (TRANSFORM, "'t1' fails", "give", "a list",
        lambda: plan(transformations=of_items(blur, lambda image: image.rotate(45)))),
    "a function of images for other items": (
        TRANSFORM, r"sample \d, a torch.Tensor float32", "give",
        lambda: plan(samples=[*IMAGES], transformations=of_items(lambda image: image.rotate(45)))),
    "albumentations called without its keyword": (TRANSFORM, "fails", "as named arguments", "give",
        lambda: plan(samples=pictures(), transformations=of_items(augment))),
    "albumentations without its key": (TRANSFORM, "a dict of image", "f(image=x)['image']",
        lambda: plan(samples=pictures(), transformations=of_items(lambda x: augment(image=x)))),
    "an image and its boxes": (TRANSFORM, "'t0' returns a tuple", "return that alone",
        lambda: plan(samples=pictures(), transformations=of_items(lambda image: (image, [])))),
    "a mask beside the image": (ARG, "image, mask, of which 2", "input='...'",
        lambda: plan(samples=[{"image": x, "mask": x} for x in pictures()],
            transformations=of_items(blur))),
    "a mistyped key of items": (ARG, "'imag'", "did you mean 'image'",
        lambda: plan(samples=[{"image": x} for x in pictures()],
            transformations=of_items(blur), input="imag")),
    "a key for items that are no mappings": (ARG, r"sample \d is no mapping", "leave it out",
        lambda: plan(samples=pictures(), transformations=of_items(blur), input="image")),
    "callables of items that come second": (TRANSFORM, "'blur'", "rotation 90", "put it first",
        lambda: plan(samples=[*IMAGES], transformations=ANGLES * of_items(blur))),
    "a random callable of items": (TRANSFORM, "gives two results", "random=True",
        lambda: plan(samples=[*IMAGES],
            transformations=of_items(lambda image: image + torch.rand(1)))),
    "a callable of items in place": (TRANSFORM, "changes its input", "return a new image",
        lambda: plan(samples=[*IMAGES], transformations=of_items(lambda image: image.mul_(2)))),
    "images and tensors in one set": (TRANSFORM, "float32", "uint8", "convert",
        lambda: plan(samples=pictures(), transformations=of_items(blur,
            lambda image: torch.zeros(1, 8, 8)))),
    "callables of items in GF": (ARG, "(1, 8, 8)", "(1, 6, 6)", "leave GF out",
        lambda: plan(samples=pictures(), measures="GF", transformations=of_items(
            lambda image: image.resize((6, 6))))),
    "the inverse of a callable": (TRANSFORM, "'blur' has no inverse", "inverses=",
        lambda: tm.transformations([blur])[0].inverse()),
    "rotations(0)": (TRANSFORM, "n=0", "give",
        lambda: tm.rotations(0)),
    "rotations('16')": (TRANSFORM, "n='16'", "give",
        lambda: tm.rotations("16")),
    "rotations([])": (TRANSFORM, "angles=[]", "give",
        lambda: tm.rotations([])),
    "rotations(fill='black')": (TRANSFORM, "'black'", "give 0",
        lambda: tm.rotations(fill="black")),
    "a fill of three channels for grey images": (TRANSFORM, "3 channels", "give one number",
        lambda: plan(transformations=tm.rotations(4, fill=(0, 0, 0)))),
    "scalings(2)": (TRANSFORM, "factors=2", "give a list",
        lambda: tm.scalings(2)),
    "scalings('12')": (TRANSFORM, "factors='12'", "give a list",
        lambda: tm.scalings("12")),
    "scalings([0])": (TRANSFORM, "factor 0", "flips()",
        lambda: tm.scalings([0, 1])),
    "translations([0])": (TRANSFORM, "0 pixels", "give offsets=",
        lambda: tm.translations([0, 1])),
    "translations of pixels and offsets": (TRANSFORM, "pixels=[1]", "leave one out",
        lambda: tm.translations([1], offsets=[(0, 0)])),
    "translations of single offsets": (TRANSFORM, "[1, 2]", "give pairs",
        lambda: tm.translations(offsets=[1, 2])),
    "brightness(0.2)": (TRANSFORM, "amounts=0.2", "give a list",
        lambda: tm.brightness(0.2)),
    "brightness([])": (TRANSFORM, "amounts=[]", "give a list",
        lambda: tm.brightness([])),
    "brightness([inf])": (TRANSFORM, "amounts=[inf]", "give a list of finite numbers",
        lambda: tm.brightness([float("inf")])),
    "a contrast below 0": (TRANSFORM, "-1 among the factors of contrast", "of at least 0", "give",
        lambda: tm.contrast([-1, 1])),
    "more than no colour": (TRANSFORM, "1.5 among the amounts of grayscale", "from 0 to 1", "give",
        lambda: tm.grayscale([0, 1.5])),
    "a blur below 0": (TRANSFORM, "-2 among the sigmas", "give",
        lambda: tm.gaussian_blur([-2])),
    "noise below 0": (TRANSFORM, "-0.1 among the amounts", "give",
        lambda: tm.gaussian_noise([-0.1])),
    "limits in the wrong order": (TRANSFORM, "limits=(1, 0)", "give a pair",
        lambda: tm.brightness([0.2], limits=(1, 0))),
    "one limit": (TRANSFORM, "limits=255", "give a list of finite numbers",
        lambda: tm.brightness([0.2], limits=255)),
    "images outside the limits": (
        TRANSFORM, "from 0 to 255", "limits=(0, 1) of 'brightness +0.2'", "give the limits",
        lambda: plan(samples=grey(255.0), transformations=tm.brightness([0.2, 0.4]))),
    "a blur larger than the images": (TRANSFORM, "8 x 8 pixels", "reads 8", "at most 1.75", "give",
        lambda: plan(transformations=tm.gaussian_blur([0, 2]))),
    "a blur of vectors": (TRANSFORM, "(5,)", "use tm.transformations",
        lambda: plan(nn.Linear(5, 3), torch.rand(6, 5), tm.gaussian_blur([0, 1]))),
    "grayscale of one channel": (TRANSFORM, "(1, 8, 8)", "leave grayscale out",
        lambda: plan(transformations=tm.grayscale([0, 1]))),
    "noise on integers": (TRANSFORM, "int64", "convert",
        lambda: plan(samples=IMAGES.long(), transformations=tm.gaussian_noise([0, 0.1]))),
    "zooms([0])": (TRANSFORM, "factor 0", "use flips()",
        lambda: tm.zooms([0, 1])),
    "horizontal_scalings([])": (TRANSFORM, "factors=[]", "give a list",
        lambda: tm.horizontal_scalings([])),
    "vertical_scalings([-1])": (TRANSFORM, "factor -1", "use flips()",
        lambda: tm.vertical_scalings([-1])),
    "shears along z": (TRANSFORM, "axis='z'", "name one",
        lambda: tm.shears([1], axis="z")),
    "shears([])": (TRANSFORM, "amounts=[]", "give a list",
        lambda: tm.shears([])),
    "time_shifts('5')": (TRANSFORM, "offsets='5'", "give a list",
        lambda: tm.time_shifts("5")),
    "time turned round by a stretch": (TRANSFORM, "factor -1", "x.flip(-1)", "use",
        lambda: tm.time_stretches([-1])),
    "a gain below 0": (TRANSFORM, "-1 among the factors of gains", "give",
        lambda: tm.gains([-1])),
    "noise of a signal below 0": (TRANSFORM, "-1 among the sds", "give",
        lambda: tm.signal_noise([-1])),
    "a fill of three channels for series of two": (TRANSFORM, "(2, 9)", "give one number",
        lambda: plan(nn.Flatten(), torch.rand(6, 2, 9), tm.time_shifts([0, 1], fill=(0, 0, 0)))),
    "an order that is no permutation": (TRANSFORM, "[0, 0, 1]", "give whole numbers",
        lambda: tm.permutations([[0, 1, 2], [0, 0, 1]])),
    "one order in place of several": (TRANSFORM, "orders=[0, 1, 2]", "give one or more lists",
        lambda: tm.permutations([0, 1, 2])),
    "permutations of another length": (TRANSFORM, "(5,)", "3 along axis -1", "give",
        lambda: plan(nn.Linear(5, 3), torch.rand(6, 5), tm.permutations([[0, 1, 2], [2, 1, 0]]))),
    "signs that are none": (TRANSFORM, "[1, 0]", "give these",
        lambda: tm.sign_flips([[1, 0]])),
    "circular shifts by parts": (TRANSFORM, "offset 1.5", "use tm.time_shifts",
        lambda: tm.circular_shifts([1.5])),
    "circular shifts along the batch": (TRANSFORM, "axis=0", "give -1",
        lambda: tm.circular_shifts([1], axis=0)),
    "circular shifts along an axis that is not there": (TRANSFORM, "axis -2", "give an axis",
        lambda: plan(nn.Linear(5, 3), torch.rand(6, 5), tm.circular_shifts([0, 1], axis=-2))),
    "a matrix of another shape": (TRANSFORM, "[[1.0, 0.0], [0.0, 1.0]]", "write",
        lambda: AffineTransformation(np.eye(2))),
    "a matrix that has no inverse": (TRANSFORM, "0.0", "use no scale of 0",
        lambda: AffineTransformation(np.diag([0, 1, 1]))),
    "sets of unlike fills": (TRANSFORM, "'0.0', '1.0'", "same fill=",
        lambda: AffineSet("mixed", [ANGLES[0], tm.flips(fill=1)[0]])),
    "an affine set of callables": (TRANSFORM, "<blur>", "use TransformationSet",
        lambda: AffineSet("mixed", tm.transformations([blur]))),
    "a set of functions": (TRANSFORM, "function blur", "wrap",
        lambda: tm.TransformationSet("mine", [blur])),
    "a set of nothing": (TRANSFORM, "'mine'", "give one",
        lambda: tm.TransformationSet("mine", [])),
    "a set applied to an array": (TRANSFORM, "numpy.ndarray", "torch.as_tensor",
        lambda: ANGLES.apply(IMAGES.numpy())),
    "a set applied at other indices": (TRANSFORM, "range(0, 9)", "give a range",
        lambda: ANGLES.apply(IMAGES, range(9))),
    "a set applied with other ids": (TRANSFORM, "(1,)", "leave ids out",
        lambda: ANGLES.apply(IMAGES, ids=[1])),
    "functions without inverses": (TRANSFORM, "'blur' has no inverse", "inverses=",
        lambda: plan(transformations=[blur, abs], measures="VSE")),
    "a product with a function without an inverse": (TRANSFORM, "'blur' has no inverse", "use",
        lambda: plan(transformations=ANGLES * tm.transformations([blur]), measures="DSE")),
    "an inverse that is none": (TRANSFORM, "'abs'", "by 100% of the norm", "at most", "give",
        lambda: plan(measures="VSE", transformations=tm.transformations(
            [blur, abs], inverses=[blur, lambda x: 2 * x]))),
    "an action that changes the shape": (
        TRANSFORM, "rotation 90°", "(4, 6, 6) into (4, 6, 5)", "return as many",
        lambda: plan(measures="VSE", action={"0": lambda maps, transformation: maps[..., 1:]})),
    "an action that returns None": (TRANSFORM, "into None", "return as many",
        lambda: plan(measures="SSE", action={"0": lambda maps, transformation: None})),
    "an action of maps alone": (ARG, "layer '0'", "(4, 6, 6)", "2 were given", "give",
        lambda: plan(measures="VSE", action={"0": blur})),
    "an action that raises": (ARG, "layer '0'", "AttributeError", "action=", "give",
        lambda: plan(measures="VSE", action={"0": lambda maps, transformation: maps.turned()})),
    "an action without a layer": (ARG, "function blur", "give a mapping",
        lambda: plan(measures="VSE", action=blur)),
    "an action by name": (ARG, "a dict", "give a mapping",
        lambda: plan(measures="VSE", action={"0": "rotate"})),
    "an action by number": (ARG, "a dict", "give a mapping",
        lambda: plan(measures="VSE", action={0: blur})),
    "an action that takes nothing back": (TRANSFORM, "100% of the norm", "return them",
        lambda: plan(
            measures="VSE",
            samples=torch.rand(6, 1, 12, 12),
            model=nn.Conv2d(1, 2, 1),
            action={"output": lambda maps, transformation: 0 * maps},
        )),
    "a stride that is none": (ARG, "1.5 is no stride", "give the pixels",
        lambda: plan(measures="VSE", action={"0": 1.5})),
    "a stride that is True": (ARG, "True is no stride", "give the pixels",
        lambda: plan(measures="VSE", action={"0": True})),
    "an action that no measure asks for": (ARG, "no measure asks", "leave it out",
        lambda: plan(measures="TV", action={"0": 2})),
    "an action of no layer": (ARG, "'conv'", "use one",
        lambda: plan(measures="VSE", action={"conv": blur})),
    "a warp by one matrix": (TRANSFORM, "(3, 3)", "matrix[None]",
        lambda: tm.warp(IMAGES, torch.eye(3))),
    # Measures, layers, memory
    "a typo in a measure": (ARG, "'NVV'", "did you mean 'NV'",
        lambda: plan(measures="NVV")),
    "the class of a measure": (ARG, "the class Anova", "give Anova()",
        lambda: plan(measures=tm.Anova)),
    "measures=[]": (ARG, "measures=[]", "give",
        lambda: plan(measures=[])),
    "measures=None": (ARG, "None", "give",
        lambda: plan(measures=None)),
    "two measures of one name": (ARG, "ANOVA_F", "measure one of them",
        lambda: plan(measures=["ANOVA", tm.Anova(alpha=0.1)])),
    "a measure of sums that are not kept": (ARG, "needs sums", "choose among",
        lambda: plan(measures=Mine(needs={"sums"}))),
    "a measure that reads more than it needs": (ARG, "'columns' was not kept", "name it",
        lambda: plan(measures=Mine(reads="columns"))),
    "a measure of another shape": (ARG, "MINE of shape ()", "keep the shape",
        lambda: plan(measures=Mine(at=0))),
    "Anova(alpha=5)": (ARG, "alpha=5", "give",
        lambda: tm.Anova(alpha=5)),
    "Anova(alpha='5%')": (ARG, "alpha='5%'", "give",
        lambda: tm.Anova(alpha="5%")),
    "Goodfellow(g=2)": (ARG, "g=2", "give",
        lambda: tm.Goodfellow(g=2)),
    "Goodfellow(g=True)": (ARG, "g=True", "give",
        lambda: tm.Goodfellow(g=True)),
    "Goodfellow(sign=0)": (ARG, "sign=0", "give 1, -1 or 'best'",
        lambda: tm.Goodfellow(sign=0)),
    "Goodfellow(threshold='max')": (ARG, "'max'", "give",
        lambda: tm.Goodfellow(threshold="max")),
    "a local rate that is the global one": (ARG, "1 by construction", "give",
        lambda: tm.Goodfellow(local="marginal", reference="transformed")),
    "firing under the identity alone": (ARG, "the identity alone", "give a set",
        lambda: plan(transformations=None, measures="GF")),
    "untransformed images of another size": (ARG, "(1, 8, 8)", "(1, 4, 4)", "give transformations",
        lambda: plan(nn.Flatten(), transformations=HALVES, measures="GF")),
    "blocks of one sample": (ARG, "block=1", "give",
        lambda: tm.SampleDistance(block=1)),
    "blocks of 2.5 samples": (ARG, "block=2.5", "give",
        lambda: tm.NormalizedDistance(block=2.5)),
    "pairs='some'": (ARG, "'some'", "give",
        lambda: tm.SampleDistance(pairs="some")),
    "a metric that does not exist": (ARG, "'euclid'", "did you mean 'euclidean'", "a function",
        lambda: tm.TransformationDistance("euclid")),
    "the cosine of single activations": (ARG, "cosine", "vectors=True",
        lambda: tm.TransformationDistance("cosine")),
    "the norm of single activations": (ARG, "unit_norm", "vectors=True",
        lambda: tm.TransformationDistance(unit_norm=True)),
    "squared distances of maps": (ARG, "sqeuclidean", "add",
        lambda: tm.TransformationDistance("sqeuclidean", vectors=True)),
    "a metric of another shape": (ARG, "shape", "return",
        lambda: plan(measures=tm.TransformationDistance(lambda a, b: (a - b).abs().sum()))),
    "vectors='no'": (ARG, "vectors='no'", "give one",
        lambda: tm.NormalizedDistance(vectors="no")),
    "a metric that is a difference": (ARG, "not symmetric", "give a distance",
        lambda: plan(measures=tm.TransformationDistance(lambda a, b: a - b))),
    "a metric that is not 0 for equal values": (ARG, "not 0 for equal", "give a distance",
        lambda: plan(measures=tm.SampleDistance(lambda a, b: (a - b).abs() + 1))),
    "a metric that raises": (ARG, "AttributeError", "give",
        lambda: plan(measures=tm.TransformationDistance(lambda a, b: a.distance(b)))),
    "maps of a network of vectors": (ARG, "no layer gives ND", "name layers",
        lambda: plan(nn.Linear(5, 3), torch.rand(6, 5), [blur, abs],
                     measures=tm.NormalizedDistance(vectors=True))),
    "vectors of single units": (ARG, "per='unit'", "give 'channel'",
        lambda: tm.DistanceSameEquivariance(per="unit")),
    "same-equivariance under one transformation": (ARG, "there is 1", "give a set",
        lambda: plan(transformations=None, measures="VSE")),
    "same-equivariance of a layer without maps": (
        ARG, "no layer gives VSE", "dims are unit", "name layers", "action=",
        lambda: plan(measures="VSE", layers="3")),
    "same-equivariance of averaged maps": (ARG, "no layer gives DSE", "name layers",
        lambda: plan(measures="DSE", activations="pooled")),
    "same-equivariance of an iterable data set": (ARG, "a reading of its own", "leave VSE out",
        lambda: plan(NETWORK, Flow(), measures="VSE")),
    "same-equivariance of smaller images": (ARG, "(1, 4, 4)", "leave SSE out",
        lambda: plan(nn.Conv2d(1, 2, 1), transformations=HALVES, measures="SSE")),
    "a block larger than memory": (MEMORY, "no plan fits", "smaller block",
        lambda: plan(measures=tm.SampleDistance(pairs="all"), memory="15KB", batch_size=2)),
    "firing in an iterable data set": (ARG, "a reading of its own", "give a data set",
        lambda: plan(NETWORK, Flow(), measures="GF")),
    "all pairs of an iterable data set": (ARG, "may end early", "give a data set",
        lambda: plan(NETWORK, Flow(), measures=tm.SampleDistance(pairs="all"))),
    "errors of all pairs": (ARG, "takes blocks", "leave",
        lambda: plan(measures=tm.SampleDistance(pairs="all"), errors=True)),
    "errors='yes'": (ARG, "'yes'", "give",
        lambda: plan(errors="yes")),
    "stratify='class'": (ARG, "'class'", "give",
        lambda: plan(stratify="class")),
    "strata without labels": (ARG, "a label for each sample", "labels=",
        lambda: plan(stratify="mean")),
    "strata with too few labels": (ARG, "2 labels for 6", "give",
        lambda: plan(stratify="mean", labels=[0, 1])),
    "strata of an iterable data set": (ARG, "iterable", "give a data set",
        lambda: plan(NETWORK, Flow(), stratify="mean")),
    "strata of one sample each": (ARG, "there is 1 in the largest stratum", "give more",
        lambda: plan(stratify="each", labels=list(range(6)))),
    "an unknown correction": (ARG, "'holm'", "give",
        lambda: tm.Anova(correction="holm")),
    "an unknown sphericity": (ARG, "sphericity=1", "give",
        lambda: tm.Anova(sphericity=1)),
    "an unknown spread": (ARG, "'sd'", "give",
        lambda: tm.NormalizedVariance("sd")),
    "a mistyped layer": (ARG, "'9'", "such as 0",
        lambda: plan(layers="9")),
    "a layer in layers= by its module": (ARG, "Conv2d", "give names",
        lambda: plan(layers=NETWORK[0])),
    "a class of layers": (ARG, "the class Conv2d", "isinstance",
        lambda: plan(layers=nn.Conv2d)),
    "layers=[]": (ARG, "layers=[]", "give None",
        lambda: plan(layers=[])),
    "layers=3": (ARG, "layers=3", "give None",
        lambda: plan(layers=3)),
    "a function that chooses no layer": (ARG, "chose none", "return True",
        lambda: plan(layers=lambda name, module: False)),
    "a function of layers for a model of arrays": (ARG, "no modules", "use patterns",
        lambda: plan(Arrays(lambda x: {"y": x}), layers=lambda name, module: True)),
    "a layer that is never called": (MODEL, "'spare'", "never called", "leave it out",
        lambda: plan(Model(lambda self, x: x, spare=nn.ReLU()), layers="spare")),
    "a pattern of layers that compute nothing": (MODEL, "Flatten computes nothing", "name others",
        lambda: plan(nn.Sequential(nn.Flatten(), nn.ReLU()), layers="0*")),
    "a network of integers": (MODEL, "int64 values", "layers=",
        lambda: plan(nn.Flatten(), IMAGES.long(), None, measures="SV")),
    "a layer that folds its inputs": (MODEL, "(8, 2)", "unflatten",
        lambda: plan(Model(folding, a=nn.Linear(16, 2)), layers="a")),
    "activations='mean'": (ARG, "'mean'", "give 'unit', 'pooled'",
        lambda: plan(activations="mean")),
    "activations= for no layer": (ARG, "'conv'", "use one",
        lambda: plan(activations={"conv": blur})),
    "activations= that raises": (ARG, "'0'", "IndexError", "give a function",
        lambda: plan(activations={"0": lambda output: output[9]})),
    "activations= that returns a pair": (ARG, "a tuple", "return a tensor",
        lambda: plan(activations={"0": lambda output: (1, 2)})),
    "activations= for a layer that is not measured": (ARG, "'0' matches only", "add them",
        lambda: plan(layers="3", activations={"0": blur})),
    "layout= without a layer": (ARG, "('channel', 'y', 'x')", "give a mapping",
        lambda: plan(layout=("channel", "y", "x"))),
    "layout= as one text": (ARG, "'cyx'", "give a name",
        lambda: plan(layout={"0": "cyx"})),
    "layout= of other dims": (ARG, "2 dims", "give 3 names",
        lambda: plan(layout={"0": ("y", "x")})),
    "batch_size=0": (ARG, "batch_size=0", "give",
        lambda: plan(batch_size=0)),
    "batch_size=True": (ARG, "batch_size=True", "give",
        lambda: plan(batch_size=True)),
    "batch_size=1.5": (ARG, "batch_size=1.5", "give",
        lambda: plan(batch_size=1.5)),
    "memory='4 gigs'": (ARG, "'4 gigs'", "'4GiB'",
        lambda: plan(memory="4 gigs")),
    "memory=0": (ARG, "memory=0", "give",
        lambda: plan(memory=0)),
    "too little memory": (MEMORY, "memory=1000 B", "allow as much",
        lambda: plan(memory=1000)),
    "too little memory for a batch": (MEMORY, "memory=19.6 KiB", "a smaller batch_size",
        lambda: plan(memory="20KB", batch_size=24)),
    "a plan and a batch size": (ARG, "batch_size=", "leave",
        lambda: plan(plan=plan(), batch_size=4)),
    "the plan of another run": (ARG, "samples and transformations (5 and 4)", "leave plan= out",
        lambda: plan(plan=plan(n_samples=5))),
    "the file of a plan": (ARG, "'plan.json'", "tm.explain",
        lambda: plan(plan="plan.json")),
    "an unknown order": (ARG, "'samples'", "give 'sample'",
        lambda: tm.walk(NETWORK, IMAGES, ANGLES, order="samples")),
    "a mistyped argument": (ARG, "batchsize", "leave it out",
        lambda: plan(batchsize=4)),
    "an argument that layers() does not take": (ARG, "measures", "leave it out",
        lambda: tm.layers(NETWORK, IMAGES, measures="NV")),
    # Results
    "save without a result": (RESULT, "a dict", "give the tree",
        lambda: tm.save({}, "a.nc")),
    "save with its arguments in the wrong order": (RESULT, "'a.nc'", "in this order",
        lambda: tm.save("a.nc", tree())),
    "save to None": (RESULT, "None", "give the name",
        lambda: tm.save(tree(), None)),
    "save to a folder": (RESULT, "'/'", "name a file",
        lambda: tm.save(tree(), "/")),
    "save to a folder that is missing": (RESULT, "no folder", "create it",
        lambda: tm.save(tree(), "missing/a.nc")),
    "open a file that is missing": (RESULT, "'missing.nc'", "check the path",
        lambda: tm.open("missing.nc")),
    "open a folder": (RESULT, "'/'", "name a file",
        lambda: tm.open("/")),
    "open None": (RESULT, "None", "give the name",
        lambda: tm.open(None)),
    "open a result": (RESULT, "DataTree", "give the name",
        lambda: tm.open(tree())),
    "open a file of something else": (RESULT, "cannot read", "take another copy",
        lambda: tm.open(__file__)),
    "open a netCDF file of something else": (RESULT, "not a result", "name a file",
        lambda: opened(xarray.DataTree())),
    "open a result of a later version": (RESULT, "format 99", "install a newer",
        lambda: opened(later())),
    "an attribute that is not there": (RESULT, "'sead'", "did you mean 'seed'",
        lambda: attribute(tree(), "sead")),
    "rows by sample": (ARG, "'sample'", "use 'unit'",
        lambda: tm.to_frame(tree(), by="sample")),
    "the summary of None": (RESULT, "None", "give the tree",
        lambda: tm.summary(None)),
    "the summary of a path": (RESULT, "'a.nc'", "open it first",
        lambda: tm.summary("a.nc")),
    "the channels of a path": (RESULT, "'a.nc'", "open it first",
        lambda: tm.channels(Path("a.nc"))),
    "the summary of a part of a result": (RESULT, "lacks /summary", "give what",
        lambda: tm.summary(tree()["layers"])),
    "channels(tree, 'median')": (ARG, "'median'", "give 'mean'",
        lambda: tm.channels(tree(), "median")),
    "a ratio without TV": (RESULT, "no TV", "measure with",
        lambda: tm.channels(tree(), "ratio")),
    # Warnings
    "inputs that are NaN": (WARNING, "NaN", "tm.summary",
        lambda: tm.measure(nn.Linear(2, 2), torch.full((6, 2), torch.nan), measures="SV")),
    "a normalisation by batch": (WARNING, "'0'", "track_running_stats=True",
        lambda: plan(nn.Sequential(nn.BatchNorm2d(1, track_running_stats=False)))),
    "a compiled network": (WARNING, "torch.compile", "pass",
        lambda: plan(Model(None, _orig_mod=NETWORK))),
}
# fmt: on

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


@pytest.mark.filterwarnings("ignore:quarter turns")  # of samples that are no images
@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_mistake_is_answered_by_one_sentence(mistake):
    kind, *parts, make = MISTAKES[mistake]
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


def test_every_set_that_is_not_called_is_known():
    package = importlib.import_module("tmeasures.transformations")
    names = {name for name in package.__all__ if isroutine(getattr(package, name))}
    for name in names - {"transformations", "warp"}:
        text = str(said(ARG, lambda name=name: plan(transformations=getattr(tm, name))))
        assert re.search(rf"; call it, tm\.{name}\((\[\.\.\.\])?\)$", text), text


def test_the_networks_own_error_is_kept_as_the_cause():
    error = said(MODEL, MISTAKES["grey images into a colour network"][-1])
    assert "expected input[2, 1, 8, 8] to have 3 channels" in str(error.__cause__)
    error = said(MEMORY, MISTAKES["a network that runs out of CUDA memory"][-1])
    assert isinstance(error.__cause__, torch.OutOfMemoryError)


def test_memory_may_run_out_for_the_state_and_the_results(monkeypatch):
    def fails(*_, **__):
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(Moments, "_allocate", fails)
        assert "for the state" in str(said(MEMORY, lambda: tm.measure(NETWORK, IMAGES, ANGLES)))
    monkeypatch.setattr(engine, "gather", fails)
    assert "for the results" in str(said(MEMORY, lambda: tm.measure(NETWORK, IMAGES, ANGLES)))


def test_other_errors_of_a_run_stay_themselves():
    error = RuntimeError("boom")
    with pytest.raises(RuntimeError) as caught:
        raising(error)
    assert caught.value is error


def messages():
    """Each literal message of an error or a warning in the package: where, how it begins, ends."""
    for path in Path(tm.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            name = getattr(node.func, "id", "") if isinstance(node, ast.Call) else ""
            if not (name.endswith("Error") or name == "warn") or not node.args:
                continue
            parts = getattr(node.args[0], "values", [node.args[0]])
            texts = [part.value if isinstance(part, ast.Constant) else "'" for part in parts]
            if all(isinstance(text, str) for text in texts):
                yield f"{path.name}:{node.lineno}", texts[0], texts[-1]


def test_every_message_of_the_package_keeps_the_style():
    found = list(messages())
    assert len(found) > 100
    assert not [place for place, start, _ in found if not START.match(start)]
    assert not [place for place, _, end in found if end.rstrip().endswith((".", "!"))]
