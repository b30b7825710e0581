"""A network is watched without being changed, and hands over what its modules returned."""

import warnings
from collections import OrderedDict, namedtuple
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from small_models import Model, assert_no_hooks, vision_transformer
from tmeasures.capture import Network
from tmeasures.errors import ArgumentError, ModelError, TMeasuresWarning


def capture(model, inputs, **options):
    """The network after a probe, and a copy of each layer's values."""
    network = Network(model, **options)
    seen = {}

    def receive(layer, values):
        assert values.shape == (len_of(inputs), *layer.shape)
        assert values.dtype == layer.dtype
        assert len(layer.dims) == len(layer.shape)
        assert layer.name not in seen
        seen[layer.name] = values.clone()

    with network.session():
        probe(network, inputs)
        network.forward(inputs, receive)
    assert list(seen) == [layer.name for layer in network.layers]
    return network, seen


def len_of(inputs):
    return len(next(iter(inputs.values()))) if isinstance(inputs, dict) else len(inputs)


def probe(network, inputs):
    if isinstance(inputs, dict):
        return network.probe(*({k: v[:n] for k, v in inputs.items()} for n in (2, 3)))
    return network.probe(inputs[:2], inputs[:3])


def images(n=5):
    return torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def vectors(n=5, size=6):
    return torch.randn(n, size, generator=torch.Generator().manual_seed(0))


def test_values_are_those_of_the_modules():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ELU(), nn.Flatten(), nn.Linear(144, 7))
    x = images()
    network, seen = capture(model, x)
    with torch.no_grad():
        conv = model[0](x)
        assert torch.equal(seen["0"], conv)
        assert torch.equal(seen["1"], F.elu(conv))
        assert torch.equal(seen["3"], model(x))
    assert list(seen) == ["0", "1", "3"]
    assert network.left_out == {"2": "Flatten computes nothing"}
    assert [layer.kind for layer in network.layers] == ["Conv2d", "ELU", "Linear"]
    assert network.layers[0].n_units == 4 * 36
    assert (network.name, network.dtype) == ("Sequential", torch.float32)
    assert network.device == torch.device("cpu")


def test_in_place_operations_do_not_reach_what_was_handed_over():
    def forward(self, x):
        y = self.conv(x)
        self.relu(y)
        y += 1
        return y

    model = Model(forward, conv=nn.Conv2d(1, 4, 3), relu=nn.ReLU(inplace=True))
    x = images()
    _, seen = capture(model, x)
    conv = model.conv(x).detach()
    assert torch.equal(seen["conv"], F.conv2d(x, model.conv.weight, model.conv.bias))
    assert torch.equal(seen["relu"], conv.relu())
    assert torch.equal(seen["output"], conv.relu() + 1)
    assert (seen["conv"] < 0).any()


def test_residual_added_in_place_makes_the_output_a_layer_of_its_own():
    def forward(self, x):
        y = self.linear(x)
        y += x
        return y

    model = Model(forward, linear=nn.Linear(6, 6))
    x = vectors()
    _, seen = capture(model, x)
    assert torch.equal(seen["output"], seen["linear"] + x)


def test_modules_called_several_times_are_counted_within_each_forward():
    def forward(self, x):
        return self.relu(self.b(self.relu(self.a(x))))

    model = Model(forward, a=nn.Linear(6, 6), b=nn.Linear(6, 5), relu=nn.ReLU())
    network, seen = capture(model, vectors())
    assert list(seen) == ["a", "relu", "b", "relu#1"]
    assert seen["relu#1"].shape == (5, 5)
    with network.session():
        names = []
        for _ in range(2):
            network.forward(vectors(), lambda layer, _: names.append(layer.name))
    assert names == ["a", "relu", "b", "relu#1"] * 2


def test_a_module_under_two_names_goes_by_the_first():
    shared = nn.Linear(6, 6)
    model = Model(lambda self, x: self.second(self.first(x)), first=shared, second=shared)
    assert list(capture(model, vectors())[1]) == ["first", "first#1"]
    assert list(capture(model, vectors(), layers="second")[1]) == ["first", "first#1"]
    assert list(capture(model, vectors(), layers="second#1")[1]) == ["first#1"]


def test_tuples_mappings_and_nested_outputs():
    pair = namedtuple("pair", ["mean", "spread"])

    def forward(self, x):
        y = self.a(x)
        return {"p": pair(y * 2, y * 3), "none": None, "list": [y * 4, "text"], "n": len(x)}

    _, seen = capture(Model(forward, a=nn.Linear(6, 4)), vectors())
    assert list(seen) == ["a", "output.p.mean", "output.p.spread", "output.list.0"]
    assert torch.equal(seen["output.p.spread"], seen["a"] * 3)


@pytest.mark.parametrize("batch_first", [False, True])
def test_recurrent_layers_have_their_batch_axis_found(batch_first):
    def forward(self, x):
        _, (h, _) = self.lstm(x if batch_first else x.transpose(0, 1))
        return self.head(h[-1])

    model = Model(
        forward, lstm=nn.LSTM(3, 8, num_layers=2, batch_first=batch_first), head=nn.Linear(8, 4)
    )
    x = torch.randn(5, 7, 3)
    network, seen = capture(model, x)
    assert list(seen) == ["lstm.0", "lstm.1.0", "lstm.1.1", "head"]
    assert seen["lstm.0"].shape == (5, 7, 8)
    assert seen["lstm.1.0"].shape == (5, 2, 8)
    dims = {layer.name: layer.dims for layer in network.layers}
    assert dims["lstm.0"] == ("token", "unit")
    assert dims["lstm.1.0"] == ("d0", "d1")
    with torch.no_grad():
        y, (h, _) = model.lstm(x if batch_first else x.transpose(0, 1))
    assert torch.equal(seen["lstm.0"], y if batch_first else y.transpose(0, 1))
    assert torch.equal(seen["lstm.1.0"], h.transpose(0, 1))


def test_attention_with_the_batch_second_is_one_leaf():
    def forward(self, x):
        y = x.transpose(0, 1)
        return self.attention(y, y, y)[0].transpose(0, 1)

    model = Model(forward, attention=nn.MultiheadAttention(8, 2))
    network, seen = capture(model, torch.randn(5, 3, 8))
    assert list(seen) == ["attention.0", "attention.1", "output"]
    assert network.layers[0].dims == ("token", "unit")
    assert network.left_out == {}  # not attention.out_proj
    assert torch.equal(seen["output"], seen["attention.0"])


def test_transformer_encoder_layer_is_seen_from_inside():
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    network, _ = capture(model, torch.randn(5, 3, 8))
    names = [layer.name for layer in network.layers]
    assert names == ["self_attn.0", "norm1", "linear1", "linear2", "norm2"]
    assert {layer.dims for layer in network.layers} == {("token", "unit")}


def test_network_that_is_one_leaf():
    functional = Model(lambda self, x: F.relu(x @ self.w.weight), w=nn.Linear(6, 6))
    for model in (nn.Linear(6, 4), functional):
        network, seen = capture(model, vectors())
        assert list(seen) == ["output"]
        assert network.left_out == {}
        assert network.layers[0].kind == type(model).__name__


def test_leaves_never_called_are_listed():
    model = Model(
        lambda self, x: self.a(x),
        a=nn.Linear(6, 4),
        spare=nn.Linear(6, 4),
        blocks=nn.ModuleList([nn.Linear(6, 4)]),
        empty=nn.ModuleList(),
    )
    network, seen = capture(model, vectors())
    assert list(seen) == ["a"]
    assert network.left_out == {"spare": "never called", "blocks.0": "never called"}


def test_a_leaf_that_returns_another_layers_tensor_is_left_out():
    model = Model(
        lambda self, x: self.path(self.a(x)), a=nn.Linear(6, 4), path=Model(lambda self, x: x)
    )
    network, seen = capture(model, vectors())
    assert list(seen) == ["a"]
    assert network.left_out == {"path": "the very output of 'a'"}


def test_parametrizations_are_not_layers():
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(6, 4)), nn.ReLU())
    network, seen = capture(model, vectors())
    assert list(seen) == ["0", "1"]
    assert network.left_out == {}


def test_half_precision():
    for dtype in (torch.bfloat16, torch.float16):
        model = nn.Sequential(nn.Linear(6, 4), nn.ReLU()).to(dtype)
        network, seen = capture(model, vectors().to(dtype))
        assert network.dtype == dtype
        assert seen["1"].dtype == dtype


@pytest.mark.parametrize(
    ("module", "inputs", "prepare"),
    [
        (
            nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last),
            torch.randn(4, 3, 8, 8).to(memory_format=torch.channels_last),
            lambda x: x,
        ),
        (nn.LSTM(3, 5), torch.randn(4, 7, 3), lambda x: x.transpose(0, 1)),
    ],
)
def test_values_are_views_of_what_the_module_returned(module, inputs, prepare):
    returned, received = [], []
    module.register_forward_hook(lambda m, args, output: returned.append(output))
    network = Network(nn.Sequential(module), layers="0", call=lambda m, x: m(prepare(x)))
    with network.session():
        network.probe(inputs[:2], inputs[:3])
        network.forward(inputs, lambda layer, values: received.append(values))
    output = returned[-1] if isinstance(returned[-1], torch.Tensor) else returned[-1][0]
    assert received[0].data_ptr() == output.data_ptr()
    assert sorted(received[0].stride()) == sorted(output.stride())
    assert len(received[0]) == 4


def test_everything_is_given_back():
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.Sequential(nn.ReLU(), nn.ReLU())
    ).train()
    model[0].eval()
    model[3][1].eval()
    flags = [module.training for module in model.modules()]
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    before = torch.get_rng_state()
    _, seen = capture(model, images())
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.is_grad_enabled()
    assert [module.training for module in model.modules()] == flags
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert_no_hooks(model)
    with torch.no_grad():
        model.eval()
        assert torch.equal(seen["1"], model[1](model[0](images())))
    assert "2" not in seen


def test_the_caller_keeps_gradients_between_forwards():
    network = Network(nn.Linear(6, 4))
    with network.session():
        probe(network, vectors())
        assert torch.is_grad_enabled()
        network.forward(vectors(), lambda layer, values: torch.is_grad_enabled() and 1 / 0)


def test_cached_buffers_can_be_trained_with_afterwards():
    def forward(self, x):
        if not hasattr(self, "scale"):
            self.scale = torch.ones(6)
        return self.a(x * self.scale)

    model = Model(forward, a=nn.Linear(6, 4))
    capture(model, vectors())
    model(vectors()).sum().backward()


def test_values_have_no_gradients_where_the_model_turns_them_on():
    def forward(self, x):
        with torch.enable_grad():
            return self.a(x)

    network = Network(Model(forward, a=nn.Linear(6, 4)))
    with network.session():
        probe(network, vectors())
        network.forward(vectors(), lambda layer, v: (v * v).requires_grad and 1 / 0)


def test_random_models_draw_on_from_forward_to_forward():
    model = Model(lambda self, x: self.a(x) + torch.randn(len(x), 4), a=nn.Linear(6, 4))
    network = Network(model, layers="output")
    noise = []
    before = torch.get_rng_state()
    with network.session():
        probe(network, vectors())
        for _ in range(2):
            network.forward(vectors(), lambda layer, values: noise.append(values.clone()))
            assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(noise[0], noise[1])


def test_batch_norm_without_running_statistics_warns():
    model = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4, track_running_stats=False))
    with pytest.warns(TMeasuresWarning, match="layer '1' has no running statistics"):
        capture(model, vectors())


def test_a_model_that_raises_leaves_no_trace_but_a_note():
    def forward(self, x):
        if len(x) > 3:
            raise ValueError("boom")
        return x * 2

    model = nn.Sequential(OrderedDict(a=nn.Linear(6, 4), b=Model(forward))).train()
    network = Network(model)
    with network.session():
        probe(network, vectors())
        with pytest.raises(ValueError, match="boom") as error:
            network.forward(vectors(), lambda *_: None)
    assert error.value.__notes__ == ["raised in layer 'b'"]
    assert_no_hooks(model)
    assert all(module.training for module in model.modules())
    assert torch.is_grad_enabled()

    own = Model(lambda self, x: forward(self, self.a(x)), a=nn.Linear(6, 4))
    with pytest.raises(ValueError, match="boom") as error:
        capture(own, vectors())
    assert error.value.__notes__ == ["raised in the network, after layer 'a'"]


def test_a_module_that_raises_and_is_caught_does_not_confuse_names():
    def failing(self, x):
        raise ValueError

    def forward(self, x):
        try:
            self.block(x)
        except ValueError:
            x = self.a(x)
        return self.b(x)

    block = nn.Sequential(nn.Linear(6, 6), Model(failing))
    model = nn.Sequential(Model(forward, block=block, a=nn.Linear(6, 6), b=nn.Linear(6, 4)))
    expected = ["0.block.0", "0.a", "0.b", "0"]
    assert list(capture(model, vectors(), layers=["0.*", "0"])[1]) == expected


def test_what_the_probe_did_not_see_is_an_error():
    model = Model(
        lambda self, x: self.mode(self, x), a=nn.Linear(6, 6), b=nn.Linear(6, 6), c=nn.ReLU()
    )
    network = Network(model)

    def refused(mode, message, inputs=None):
        model.mode = mode
        with pytest.raises(ModelError, match=message):
            network.forward(vectors() if inputs is None else inputs, lambda *_: None)

    with network.session():
        model.mode = lambda self, x: self.b(self.a(x))
        probe(network, vectors())
        refused(lambda self, x: self.b(self.a(self.a(x))), "'a#1' was called")
        refused(lambda self, x: self.b(x), "layer 'a' was not called")
        refused(lambda self, x: self.c(self.b(self.a(x))), "'c' was called")
        refused(lambda self, x: self.b(self.a(x)[:, None]), "shape")
        refused(lambda self, x: self.b(self.a(x.repeat(2, 1))), "shape .10, 6..* for 5 inputs")
        model.double()
        refused(lambda self, x: self.b(self.a(x)), "float64", vectors().double())
        model.float().mode = lambda self, x: self.b(self.a(x))
        network.forward(vectors(), lambda *_: None)
    assert_no_hooks(model)


def test_compiled_models_are_measured_as_they_were():
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU())
    compiled = torch.compile(model, backend="eager")
    with pytest.warns(TMeasuresWarning, match=r"torch.compile, and the Sequential inside"):
        network, seen = capture(compiled, vectors())
    assert list(seen) == ["0", "1"]
    assert network.name == "Sequential"
    assert_no_hooks(model)


def test_models_compiled_in_place_or_in_part_run_as_written():
    compiled = []

    def backend(graph, inputs):
        compiled.append(graph)
        return graph.forward

    def block():
        return Model(lambda self, x: self.a(x) * 2, a=nn.Linear(6, 6))

    inner = block()
    inner.compile(backend=backend)
    part = torch.compile(block(), backend=backend)
    model = nn.Sequential(inner, part)
    implementation, forward = inner._compiled_call_impl, part.forward
    assert list(capture(model, vectors())[1]) == ["0.a", "1.a", "output"]
    assert not compiled
    assert inner._compiled_call_impl is implementation
    assert part.forward is forward
    for module in (inner, part):
        torch.compiler.reset()
        compiled.clear()
        module(vectors())
        assert compiled


def test_distributed_data_parallel_is_unwrapped(tmp_path):
    distributed = torch.distributed
    distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1
    )
    try:
        model = nn.parallel.DistributedDataParallel(nn.Sequential(nn.Linear(6, 4), nn.ReLU()))
        with pytest.warns(TMeasuresWarning, match="DistributedDataParallel"):
            network, seen = capture(model, vectors())
    finally:
        distributed.destroy_process_group()
    assert list(seen) == ["0", "1"]
    assert network.name == "Sequential"


def test_models_that_cannot_be_used_say_what_to_pass():
    with pytest.raises(ArgumentError, match=r"pass model\.module"):
        Network(nn.DataParallel(nn.Linear(6, 4)))
    with pytest.raises(ArgumentError, match="'0' is lazy"):
        Network(nn.Sequential(nn.LazyLinear(4)))
    with pytest.raises(ArgumentError, match=r"expected a torch.nn.Module"):
        Network(lambda x: x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(nn.Linear(6, 4))
    with pytest.raises(ArgumentError, match="ScriptModule"):
        Network(nn.Sequential(scripted))
    two = nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 4, device="meta"))
    with pytest.raises(ArgumentError, match="cpu, meta"):
        Network(two, device="cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_device_is_given_back():
    model = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4))
    network = Network(model, device="cuda")
    before = torch.cuda.get_rng_state()
    with network.session():
        network.probe(vectors(2).cuda(), vectors(3).cuda())
        network.forward(vectors().cuda(), lambda layer, v: v.is_cuda or 1 / 0)
    assert torch.equal(torch.cuda.get_rng_state(), before)
    assert {tensor.device.type for tensor in model.state_dict().values()} == {"cpu"}


def test_call_and_mappings():
    def forward(self, x, scale):
        return self.a(x * scale)

    class Two(Model):
        def forward(self, x, scale):
            return forward(self, x, scale)

    model = Two(None, a=nn.Linear(6, 4))
    inputs = {"x": vectors(), "scale": torch.full((5, 1), 2.0)}
    assert torch.equal(capture(model, inputs)[1]["a"], model.a(vectors() * 2).detach())
    _, seen = capture(model, vectors(), call=lambda m, x: {"loud": m(x, 3.0).exp()})
    assert list(seen) == ["a", "output.loud"]
    assert torch.equal(seen["output.loud"], seen["a"].exp())


def test_a_vision_transformer():
    model = vision_transformer()
    network, seen = capture(model, {"pixel_values": images()}, layers=["vit.*", "output.logits"])
    dims = {layer.name: layer.dims for layer in network.layers}
    assert seen["output.logits"].shape == (5, 3)
    assert dims["vit.embeddings.patch_embeddings.projection"] == ("channel", "y", "x")
    assert dims["vit.layernorm"] == ("token", "unit")
    default, _ = capture(model, {"pixel_values": images()})
    names = [layer.name for layer in default.layers]
    assert names[-1] == "classifier"
    assert "output.logits" not in names


class Arrays:
    def run(self, batch):
        read_only = batch * 3.0
        read_only.flags.writeable = False
        return {
            "double": batch * 2,
            "flipped": batch[:, ::-1],
            "read_only": read_only,
            "torch": torch.from_numpy(batch)[:, None] + 1,
            "count": np.ones(len(batch), dtype=np.int64),
            "none": None,
        }


def test_models_that_are_not_torch():
    x = vectors()
    network, seen = capture(Arrays(), x)
    assert list(seen) == ["double", "flipped", "read_only", "torch"]
    assert torch.equal(seen["flipped"], x.flip(1))
    assert torch.equal(seen["torch"], x[:, None] + 1)
    assert [layer.dims for layer in network.layers] == [("unit",)] * 3 + [("d0", "d1")]
    assert network.left_out == {"count": "int64 values, not floating point"}
    assert (network.name, network.dtype) == ("Arrays", None)

    pooled, seen = capture(
        Arrays(), x, layers="torch", layout={"torch": ("channel", "x")}, activations="pooled"
    )
    assert pooled.layers[0].dims == ("channel",)
    assert torch.allclose(seen["torch"], (x + 1).mean(1, keepdim=True))

    named = SimpleNamespace(run=lambda batch: {"sum": batch["a"] + batch["b"]})
    assert torch.equal(capture(named, {"a": x, "b": x})[1]["sum"], 2 * x)


def test_bad_models_that_are_not_torch():
    with pytest.raises(ArgumentError, match="device='cuda'"):
        Network(Arrays(), device="cuda")
    with pytest.raises(ModelError, match="returned a list"):
        capture(SimpleNamespace(run=lambda batch: [batch]), vectors())
    with pytest.raises(ModelError, match="dtype object"):
        capture(SimpleNamespace(run=lambda batch: {"a": batch.astype(object)}), vectors())
    with pytest.raises(ArgumentError, match="has no modules"):
        capture(Arrays(), vectors(), layers=lambda name, module: True)
