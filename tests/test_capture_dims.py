"""Feature maps keep their dims when their channels change; attention weights are none."""

import warnings

import pytest
import torch
from torch import nn

from small_models import Model
from tmeasures.capture import Network
from tmeasures.errors import TMeasuresWarning

SPACE = {2: ("channel", "time"), 3: ("channel", "y", "x"), 4: ("channel", "z", "y", "x")}


def layers(model, shape, **options):
    network = Network(model, **options)
    with network.session():
        network.probe(torch.ones(2, *shape), torch.ones(3, *shape))
    return {layer.name: layer for layer in network.layers}


def dims(model, shape, **options):
    return {name: layer.dims for name, layer in layers(model, shape, **options).items()}


def fire(kind):
    """As in SqueezeNet: two branches, put together and then passed through one more module."""
    return Model(
        lambda self, x: self.relu(torch.cat([self.left(x), self.right(x)], 1)),
        left=kind(2, 3, 1),
        right=kind(2, 4, 3, padding=1),
        relu=nn.ReLU(),
    )


@pytest.mark.parametrize(("kind", "n"), [(nn.Conv1d, 1), (nn.Conv2d, 2), (nn.Conv3d, 3)])
def test_dims_after_a_concatenation(kind, n):
    model = nn.Sequential(kind(1, 2, 3), fire(kind))
    sizes = (1, 8, 9, 7)[: n + 1]
    found = layers(model, sizes, layers=["1", "1.relu"])
    assert {name: layer.dims for name, layer in found.items()} == {
        "1.relu": SPACE[n + 1],
        "1": SPACE[n + 1],
    }
    assert found["1.relu"].shape[0] == 7
    pooled = layers(model, sizes, activations="pooled")
    assert {layer.dims for layer in pooled.values()} == {("channel",)}


def test_dims_of_earlier_maps_of_other_sizes_are_passed_over():
    def forward(self, x):
        first = self.wide(x)
        last = self.unpool(self.pool(first))
        return self.relu(torch.cat([first, last], 1)), self.relu(x[:, :, :4])

    model = Model(
        forward,
        wide=nn.Conv2d(1, 4, 1),
        pool=nn.MaxPool2d(2),
        unpool=Model(lambda self, x: nn.functional.interpolate(x, scale_factor=2.0)),
        relu=nn.ReLU(),
    )
    assert dims(model, (1, 8, 8), layers=["unpool", "relu", "relu#1"]) == {
        "unpool": SPACE[3],
        "relu": SPACE[3],
        "relu#1": ("d0", "d1", "d2"),
    }


def test_maps_after_tokens_are_maps_again():
    def forward(self, x):
        tokens = self.linear(self.conv(x)[:, 0])
        maps = self.conv(x * tokens.mean())
        return self.relu(torch.cat([maps, maps], 1))

    model = Model(forward, conv=nn.Conv2d(1, 4, 1), linear=nn.Linear(8, 3), relu=nn.ReLU())
    found = dims(model, (1, 8, 8))
    assert (found["linear"], found["relu"]) == (("token", "unit"), SPACE[3])


def test_poolings_without_a_type_stay_unknown():
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3),
        Model(lambda self, x: nn.functional.max_pool2d(x, 2)),
        Model(lambda self, x: x.mean(-1)),
        Model(lambda self, x: x.mean(-1)),
    )
    assert dims(model, (1, 8, 8), layers=["1", "2", "3"]) == {
        "1": ("d0", "d1", "d2"),
        "2": ("d0", "d1"),
        "3": ("unit",),
    }


class Attention(nn.Module):
    """Of 8 tokens with 6 units and 2 heads; it returns its weights too, or them alone."""

    def __init__(self, last, both=False):
        super().__init__()
        self.qk = nn.Linear(6, 12)
        self.last = last
        self.both = both

    def forward(self, x):
        q, k = self.qk(x).unflatten(-1, (2, 2, 3)).permute(2, 0, 3, 1, 4)
        weights = self.last((q @ k.transpose(-1, -2)).softmax(-1))
        return (x, weights) if self.both else weights


@pytest.mark.parametrize("last", [nn.Dropout(), nn.Softmax(-1), nn.ReLU(), nn.Identity()])
def test_attention_weights_are_no_maps(last):
    """Of 8 x 8 pixels come 8 tokens, so that the sizes are those of the maps."""
    attention = Attention(last)
    model = Model(
        lambda self, x: self.attention(self.conv(x).mean(-1).transpose(1, 2)),
        conv=nn.Conv2d(1, 6, 1),
        attention=attention,
    )
    names = ["conv", "attention", "attention.last"]
    found = layers(model, (1, 8, 8), layers=names)
    assert found["conv"].shape[1:] == found["attention"].shape[1:] == (8, 8)
    assert found["conv"].dims == SPACE[3]
    assert {found[name].dims for name in names[1:]} == {("d0", "d1", "d2")}
    attention.both = True
    found = dims(model, (1, 8, 8), layers="attention.?")
    assert found["attention.1"] == ("d0", "d1", "d2")


@pytest.mark.parametrize("last", [nn.Softmax(-1), nn.Dropout()])
def test_attention_along_an_axis_of_maps(last):
    """Queries and keys are maps themselves, of as many rows as there are weights."""

    def forward(self, x):
        q, k = self.qk(x).chunk(2, 1)
        return self.last((q @ k.transpose(-1, -2))[:, :2])

    model = Model(forward, qk=nn.Conv2d(1, 6, 1), last=last)
    assert dims(model, (1, 8, 8), layers="last") == {"last": ("d0", "d1", "d2")}

    def with_weights(self, x):
        return x, self.qk(x)[:, :2].softmax(-1)

    model = nn.Sequential(Model(with_weights, qk=nn.Conv2d(1, 6, 1)))
    assert dims(model, (1, 8, 8), layers="0.1") == {"0.1": ("d0", "d1", "d2")}


def test_attention_weights_between_times():
    def forward(self, x):
        y = self.conv(x)
        return self.relu(y.transpose(1, 2) @ y)

    model = Model(forward, conv=nn.Conv1d(1, 3, 1), relu=nn.ReLU())
    assert dims(model, (1, 8))["relu"] == ("d0", "d1")

    def across(self, x):
        queries, keys = self.linear(x[:, 0, :5, None]), self.conv(x)
        return self.relu(queries @ keys)

    model = Model(across, linear=nn.Linear(1, 3), conv=nn.Conv1d(1, 3, 1), relu=nn.ReLU())
    found = layers(model, (1, 8))
    assert (found["relu"].shape, found["relu"].dims) == ((5, 8), ("d0", "d1"))


def test_tokens_whose_units_are_as_many_as_earlier_times():
    model = nn.Sequential(
        nn.Conv1d(1, 3, 1),
        nn.Conv1d(3, 8, 2, stride=2),
        Model(lambda self, x: x[:, :, ::2].transpose(1, 2)),
        nn.LayerNorm(8),
        Model(lambda self, x: torch.cat([x, x, x], 1)),
    )
    found = layers(model, (1, 8))
    assert found["0"].shape == (3, 8)
    assert found["2"].shape == (2, 8)
    assert found["2"].dims == ("d0", "d1")
    assert found["3"].dims == ("token", "unit")
    assert found["4"].dims == ("d0", "d1")


def test_what_pooling_leaves_is_named():
    def forward(self, x):
        maps = self.conv(x)
        halves = self.first(maps), self.second(maps[..., :4])
        return self.linear(maps.flatten(2)), self.gru(maps.flatten(2)), halves

    model = Model(
        forward,
        conv=nn.Conv2d(1, 4, 1),
        first=Model(lambda self, x: x[..., :3]),
        second=Model(lambda self, x: x.mean(1)),
        linear=nn.Linear(64, 5),
        gru=nn.GRU(64, 5, batch_first=True),
    )
    with pytest.warns(TMeasuresWarning) as caught:
        found = layers(model, (1, 8, 8), activations="pooled")
    assert [str(w.message) for w in caught] == [
        "activations='pooled' leaves 2 layers as they are (first, second), whose dims d0, d1, d2 "
        "are not space; name them by layout="
    ]
    assert caught[0].filename == __file__
    assert found["first"].shape == (4, 8, 3)
    assert found["linear"].dims == ("token", "unit")
    assert found["gru.1"].dims == ("d0", "d1")
    layout = {"first": ("channel", "y", "x"), "second": ("depth", "width")}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = layers(model, (1, 8, 8), activations="pooled", layout=layout)
        layers(model, (1, 8, 8))
    assert found["first"].shape == (4,)

    with pytest.warns(TMeasuresWarning, match=r"leaves 1 layer as it is \(first\).*; name it by"):
        layers(model, (1, 8, 8), activations="pooled", layers=["conv", "first"])
    five = nn.Sequential(*[nn.Unflatten(1, (2, 4))] + [nn.ELU()] * 5)
    with pytest.warns(TMeasuresWarning, match=r"5 layers .* \(1, 1#1, 1#2, \.\.\.\), whose"):
        layers(five, (8,), activations="pooled")
