"""A fingerprint is that of the weights: of all of them, and of nothing else."""

import copy
import warnings

import pytest
import torch
from torch import nn

from small_models import Model
from tmeasures.capture import Network


def network():
    """With weights that take no random numbers."""
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    with torch.no_grad():
        model[0].weight.copy_(torch.arange(6.0).view(2, 3))
        model[0].bias.zero_()
    return model


def fingerprint(model):
    return Network(model).fingerprint


def test_it_is_the_same_in_every_process():
    assert fingerprint(network()) == "3228c68666eb5cc259c7cf04c174fde2"


def test_it_depends_on_the_weights_alone():
    model, before = network(), fingerprint(network())
    model[0].weight.requires_grad_(False)
    model[0].weight.data = model[0].weight.data.t().contiguous().t()
    model[1].register_buffer("mask", torch.ones(2), persistent=False)
    model.eval()
    assert fingerprint(model) == before
    turned = nn.Sequential()
    for name in ("1", "0"):
        turned.add_module(name, copy.deepcopy(model.get_submodule(name)))
    assert fingerprint(turned) == before
    compiled = nn.Sequential(torch.compile(model[0], backend="eager"), model[1])
    assert fingerprint(compiled) == before
    watched = Network(model, device="cpu")
    with watched.session():
        assert watched.fingerprint == before
    assert model[0].weight.stride() == (1, 2)


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model[0].weight.data[1, 2].neg_(),
        lambda model: model[0].bias.data[0].neg_(),  # Another zero: its bytes are others.
        lambda model: model[1].running_mean.add_(1),
        lambda model: model[1].num_batches_tracked.add_(1),
        lambda model: model[1].register_buffer("mask", torch.zeros(0)),
        lambda model: setattr(model[0], "weight", nn.Parameter(model[0].weight.view(3, 2))),
        lambda model: setattr(
            model[0], "bias", nn.Parameter(torch.zeros(2, dtype=torch.int32), requires_grad=False)
        ),
        lambda model: model.add_module("2", model[1]),
        lambda model: model.to(torch.bfloat16),
    ],
)
def test_it_changes_with(change):
    model = network()
    change(model)
    assert fingerprint(model) not in (fingerprint(network()), None)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e4m3fn, torch.complex64])
def test_unusual_dtypes(dtype):
    model = nn.Linear(3, 2)
    model.weight = nn.Parameter(torch.ones(2, 3).to(dtype))
    other = copy.deepcopy(model)
    assert fingerprint(model) == fingerprint(other) != fingerprint(nn.Linear(3, 2))
    other.weight.data[0, 0] = 2
    assert fingerprint(model) != fingerprint(other)


def test_weights_without_bytes_and_models_without_weights():
    assert fingerprint(nn.Linear(3, 2, device="meta")) is None
    buffers = [torch.eye(3).to_sparse(), nn.UninitializedBuffer()]
    buffers.append(torch.ones(2, dtype=torch.complex64).conj())
    for buffer in buffers:
        model = network()
        model.register_buffer("buffer", buffer)
        assert fingerprint(model) is None

    class Arrays:
        def run(self, batch):
            return {"a": batch}

    assert fingerprint(Arrays()) is None
    assert fingerprint(nn.ReLU()) == fingerprint(nn.ELU())


def test_quantised_weights_have_none():
    model = network()
    if not hasattr(torch, "quantize_per_tensor"):
        pytest.skip("this torch has no quantised tensors")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = torch.quantize_per_tensor(torch.ones(3), 1.0, 0, torch.qint8)
    model.register_buffer("buffer", values)
    assert fingerprint(model) is None


def test_other_state_is_passed_over_or_ends_it():
    class Noted(nn.Linear):
        def get_extra_state(self):
            return {"note": object()}

        def set_extra_state(self, state):
            pass

    model = Noted(3, 2)
    plain = nn.Linear(3, 2)
    plain.load_state_dict({"weight": model.weight, "bias": model.bias})
    assert fingerprint(model) == fingerprint(plain) is not None

    class Packed(nn.Linear):
        def state_dict(self, *args, **kwargs):
            return {"packed": (self.weight, self.bias)}

    assert fingerprint(Packed(3, 2)) is None


def test_nothing_runs():
    assert fingerprint(Model(lambda self, x: 1 / 0, a=nn.Linear(2, 2))) is not None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_it_is_the_same_on_another_device():
    assert fingerprint(network().cuda()) == fingerprint(network())
