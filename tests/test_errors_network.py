"""Errors read aloud: mistakes about the network and what it is given."""

import pytest
import torch
from torch import nn

import tmeasures as tm
from mistakes import (
    ANGLES,
    ARG,
    IMAGES,
    MEMORY,
    MODEL,
    NETWORK,
    Arrays,
    assert_answered,
    blur,
    dynamic,
    network,
    plan,
    raising,
    said,
    scripted,
    walked,
)
from small_models import Model
from tmeasures import engine
from tmeasures.statistics import Moments

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
}
# fmt: on


@pytest.mark.filterwarnings("ignore:quarter turns")  # of samples that are no images
@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_mistake_is_answered_by_one_sentence(mistake):
    *expected, make = MISTAKES[mistake]
    assert_answered(*expected, make=make)


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
