"""Which layers there are, what they and their dims are called, and what is refused."""

import pytest
import torch
from torch import nn

from small_models import Model
from tmeasures import naming
from tmeasures.capture import Network
from tmeasures.errors import ArgumentError, ModelError


def probed(model, shape, **options):
    network = Network(model, **options)
    with network.session():
        network.probe(torch.ones(2, *shape), torch.ones(3, *shape))
    return network


def names(model, shape, **options):
    return [layer.name for layer in probed(model, shape, **options).layers]


def dims(model, shape, **options):
    return {layer.name: layer.dims for layer in probed(model, shape, **options).layers}


def convolutional():
    block = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Dropout())
    return Model(
        lambda self, x: self.fc(self.flatten(self.layer2(self.layer1(x)))),
        layer1=block,
        layer2=nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU()),
        flatten=nn.Flatten(),
        fc=nn.Linear(64, 3),
    )


SHAPE = (1, 8, 8)


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        (None, ["layer1.0", "layer1.1", "layer2.0", "layer2.1", "fc"]),
        ("layer1.*", ["layer1.0", "layer1.1"]),
        ("layer1*", ["layer1.0", "layer1.1", "layer1"]),
        (["fc", "layer2"], ["layer2", "fc"]),
        (["*.1", "layer1.2"], ["layer1.1", "layer1.2", "layer2.1"]),
        (["flatten", "output"], ["flatten", "output"]),
        (["fc", "output"], ["fc", "output"]),
        (["fc", "out*"], ["fc"]),
        ("out*", ["output"]),
        (lambda name, module: isinstance(module, nn.Conv2d | nn.Dropout),
         ["layer1.0", "layer1.2", "layer2.0"]),
        (lambda name, module: name == "output", ["output"]),
    ],
)  # fmt: skip
def test_layers(layers, expected):
    assert names(convolutional(), SHAPE, layers=layers) == expected


def test_what_is_left_out_by_default_is_listed():
    network = probed(convolutional(), SHAPE, layers=["layer1.*", "fl*"])
    assert network.left_out == {
        "layer1.2": "Dropout computes nothing",
        "flatten": "Flatten computes nothing",
    }


def test_patterns_without_match_name_what_is_near():
    with pytest.raises(ArgumentError, match=r"'layer3\.\*' matches nothing.* layer1\.0"):
        probed(convolutional(), SHAPE, layers=["fc", "layer3.*"])
    with pytest.raises(ArgumentError, match=r"activations pattern 'fd'.* fc"):
        probed(convolutional(), SHAPE, activations={"fd": lambda output: output})
    with pytest.raises(ArgumentError, match="activations pattern 'layer1'"):
        probed(convolutional(), SHAPE, layers="fc", activations={"layer1": lambda output: output})
    with pytest.raises(ArgumentError, match="layout pattern 'conv'"):
        probed(convolutional(), SHAPE, layout={"conv": ("channel", "y", "x")})


@pytest.mark.parametrize(
    "options",
    [
        {"layers": []},
        {"layers": [3]},
        {"layers": 3},
        {"activations": "mean"},
        {"activations": {"fc": "pooled"}},
        {"layout": {"fc": "unit"}},
        {"layout": {"fc": ("x", "x")}},
    ],
)
def test_bad_arguments_are_refused_at_once(options):
    with pytest.raises(ArgumentError, match="; give"):
        Network(convolutional(), **options)


def folded():
    """Four windows of each input, folded into the batch."""
    return Model(
        lambda self, x: self.head(self.window(x.reshape(-1, 5)).reshape(len(x), 4 * 3)),
        window=nn.Linear(5, 3),
        head=nn.Linear(12, 2),
    )


def test_folded_batches_are_left_out_and_listed():
    network = probed(folded(), (20,))
    assert [layer.name for layer in network.layers] == ["head"]
    reason = "batch axis not found: shapes (8, 3) and (12, 3) for 2 and 3 inputs"
    assert network.left_out == {"window": reason}


def test_a_folded_layer_that_is_named_says_how_to_unfold_it():
    with pytest.raises(ModelError, match=r"lambda output: output.unflatten\(0, \(-1, 4\)\)"):
        probed(folded(), (20,), layers="window")
    network = probed(
        folded(), (20,), activations={"window": lambda output: output.unflatten(0, (-1, 4))}
    )
    assert [(layer.name, layer.shape, layer.dims) for layer in network.layers] == [
        ("window", (4, 3), ("d0", "d1")),
        ("head", (2,), ("unit",)),
    ]
    assert network.left_out == {}


def test_named_layers_that_cannot_be_measured():
    pool = nn.MaxPool2d(2, return_indices=True)
    model = Model(
        lambda self, x: (self.pool(x)[0], x.long(), x + 0j),
        pool=pool,
        spare=nn.Linear(2, 2),
        blocks=nn.ModuleList([nn.ReLU()]),
    )
    network = probed(model, SHAPE)
    assert [layer.name for layer in network.layers] == ["pool.0"]
    assert network.left_out == {
        "pool.1": "int64 values, not floating point",
        "output.1": "int64 values, not floating point",
        "output.2": "complex64 values, not floating point",
        "spare": "never called",
        "blocks.0": "never called",
    }
    for name, message in {
        "pool.1": "int64",
        "spare": "never called; leave",
        "blocks": r"never called; measure .* layers='blocks\.\*'",
    }.items():
        with pytest.raises(ModelError, match=message):
            probed(model, SHAPE, layers=["pool", name])
    assert names(model, SHAPE, layers="pool") == ["pool.0"]
    with pytest.raises(ModelError, match=r"none of the layers .* \(blocks\.0: never called\)"):
        probed(model, SHAPE, layers="block*")
    attention = nn.Sequential(nn.MultiheadAttention(4, 1))
    with pytest.raises(ModelError, match="its parent computes itself"):
        probed(attention, (2, 4), layers="0.out_proj", call=lambda m, x: m[0](x, x, x))


def test_outputs_that_do_not_follow_the_batch_or_hold_nothing():
    model = Model(
        lambda self, x: {"a": self.a(x), "fixed": torch.ones(1, 4), "none": x[:, :0]},
        a=nn.Linear(6, 4),
    )
    network = probed(model, (6,))
    assert [layer.name for layer in network.layers] == ["a"]
    assert "batch axis not found: shapes (1, 4)" in network.left_out["output.fixed"]
    assert network.left_out["output.none"].startswith("no values")


def test_a_call_for_only_one_of_the_probes_is_left_out():
    model = Model(lambda self, x: self.a(x) if len(x) == 2 else x, a=nn.Linear(6, 6))
    assert probed(model, (6,)).left_out == {"a": "returned for only one of the two probe batches"}


def test_a_module_named_output_keeps_its_name():
    model = Model(lambda self, x: self.output(x) + 1, output=nn.Linear(6, 4))
    assert names(model, (6,)) == ["output", "output#1"]
    assert names(model, (6,), layers="output") == ["output"]
    twice = Model(lambda self, x: self.output(self.output(x)) + 1, output=nn.Linear(6, 6))
    assert names(twice, (6,)) == ["output", "output#1", "output#2"]
    parts = Model(lambda self, x: {"a": self.output(x) + 1}, output=nn.Linear(6, 6))
    assert names(parts, (6,)) == ["output", "output#1.a"]


def test_results_of_containers_give_way_to_modules():
    pair = nn.Sequential(nn.Linear(6, 4), Model(lambda self, x: (x + 1, x + 2)))
    model = Model(lambda self, x: self.pair(x)[0] * 2, pair=pair)
    assert names(model, (6,), layers=["pair", "pair.0"]) == ["pair.0", "pair#1.0", "pair#1.1"]
    assert names(model, (6,), layers="pair.0") == ["pair.0"]


def test_dims_by_type():
    image = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.GroupNorm(2, 4), nn.MaxPool2d(2),
        nn.Upsample(scale_factor=2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3),
        nn.BatchNorm1d(3), nn.ELU(),
    )  # fmt: skip
    found = dims(image, SHAPE)
    assert {found[str(i)] for i in range(7)} == {("channel", "y", "x")}
    assert {found[str(i)] for i in range(8, 11)} == {("unit",)}
    series = nn.Sequential(nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4), nn.ConvTranspose1d(4, 2, 3))
    assert set(dims(series, (2, 9)).values()) == {("channel", "time")}
    volume = nn.Sequential(nn.Conv3d(1, 4, 3), nn.AvgPool3d(2), nn.ReLU())
    assert set(dims(volume, (1, 6, 6, 6)).values()) == {("channel", "z", "y", "x")}
    tokens = nn.Sequential(
        nn.Linear(6, 8), nn.LayerNorm(8), nn.GELU(), nn.GRU(8, 4, batch_first=True)
    )
    expected = dict.fromkeys(["0", "1", "2", "3.0"], ("token", "unit"))
    assert dims(tokens, (5, 6), layers=["?", "3.0"]) == expected | {"3.1": ("d0", "d1")}
    assert dims(nn.Sequential(nn.Linear(6, 8), nn.Tanh()), (5, 4, 6))["1"] == ("d0", "d1", "d2")
    other = Model(lambda self, x: x * 2)
    assert dims(other, SHAPE) == {"output": ("d0", "d1", "d2")}
    embedding = nn.Sequential(nn.Embedding(7, 4))
    assert dims(embedding, (5,), call=lambda m, x: m(x.long())) == {"0": ("token", "unit")}


def test_dims_are_inherited_from_layers_that_are_not_measured():
    assert dims(convolutional(), SHAPE, layers="layer1.1") == {"layer1.1": ("channel", "y", "x")}
    assert dims(convolutional(), SHAPE, layers="layer2") == {"layer2": ("channel", "y", "x")}


def test_dims_are_not_inherited_from_what_has_no_batch_axis():
    def forward(self, x):
        y = self.fold(x.reshape(-1, 5, 6)).reshape(len(x), -1)[:, :30]
        return y.reshape(-1, 5, 6) + 1

    model = Model(forward, fold=nn.Linear(6, 6))
    assert dims(model, (2, 5, 6)) == {"output": ("d0", "d1")}


def test_layout():
    model = nn.Sequential(Model(lambda self, x: x * 2), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    given = ("y", "x", "colour")
    found = dims(model, SHAPE, layout={"0": given})
    assert found == {"0": given, "1": given, "3": ("unit",)}
    with pytest.raises(ArgumentError, match=r"'3' has 2 dims, and its shape .* is \(3,\)"):
        probed(model, SHAPE, layout={"3": ("a", "b")})


def test_pooled_activations_are_means_over_space_in_float64():
    model = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.Flatten(), nn.Linear(128, 3))
    nn.init.ones_(model[0].weight)
    x = torch.ones(5, 1, 8, 8)
    x[:, :, 0, 0], x[:, :, 7, 7] = 2.0**30, -(2.0**30)  # In float32 they swallow the ones.
    network = Network(model, activations="pooled")
    seen = {}
    with network.session():
        network.probe(x[:2], x[:3])
        network.forward(x, lambda layer, values: seen.update({layer.name: values.clone()}))
    assert [(layer.shape, layer.dims) for layer in network.layers] == [
        ((2,), ("channel",)),
        ((3,), ("unit",)),
    ]
    assert torch.equal(seen["0"], torch.full((5, 2), 62 / 64))


def test_dtypes_of_pooled_activations():
    for dtype, expected in ((torch.bfloat16, torch.float32), (torch.float64, torch.float64)):
        model = nn.Sequential(nn.Conv2d(1, 2, 3)).to(dtype)
        network = probed(model, SHAPE, call=lambda m, x: m(x.to(m[0].weight.dtype)),
                         activations="pooled")  # fmt: skip
        assert network.layers[0].dtype == expected


def test_parts_of_outputs():
    model = nn.Sequential(nn.LSTM(6, 4, batch_first=True))
    network = probed(model, (5, 6), activations={"0": lambda output: output[0][:, -1]})
    assert [(layer.name, layer.shape, layer.dims) for layer in network.layers[:1]] == [
        ("0", (4,), ("unit",))
    ]
    kept = probed(convolutional(), SHAPE, activations={"layer1.0": lambda output: output[:, :2]})
    assert kept.layers[0].shape == (2, 6, 6)
    assert kept.layers[0].dims == kept.layers[1].dims == ("channel", "y", "x")
    with pytest.raises(ArgumentError, match="made a tuple of the output of '0'"):
        probed(model, (5, 6), activations={"0": lambda output: output})
    with pytest.raises(ArgumentError, match=r"layer '0' .ZeroDivisionError") as error:
        probed(model, (5, 6), activations={"0": lambda output: 1 / 0})
    assert isinstance(error.value.__cause__, ZeroDivisionError)
    # Of fc only a part is measured, so that the output is not there yet.
    last = probed(convolutional(), SHAPE, activations={"fc": lambda output: output[:, :2]})
    assert [layer.name for layer in last.layers[-2:]] == ["fc", "output"]
    mapping = Model(lambda self, x: {"a": x + 1, "b": x})
    part = probed(mapping, (6,), activations={"output": lambda output: output["a"][:, :4]})
    assert [(layer.name, layer.shape) for layer in part.layers] == [("output", (4,))]
    # A function for what is not measured is not asked.
    probed(convolutional(), SHAPE, activations={"*": lambda o: o if o.ndim == 4 else o[:, :2]})


@pytest.mark.parametrize(
    ("two", "three", "axis"),
    [
        ((2, 5), (3, 5), 0),
        ((5, 2), (5, 3), 1),
        ((2, 2), (3, 3), None),
        ((2, 2), (3, 2), 0),
        ((2, 3), (2, 3), None),
        ((4, 3), (6, 3), None),
        ((2, 5), (3, 5, 1), None),
        ((), (), None),
    ],
)
def test_batch_axis(two, three, axis):
    assert naming.batch_axis(two, three) == axis
