"""What a run takes: mappings, streams, text, networks from elsewhere, lists of callables."""

import numpy as np
import pytest
import torch
from torch import nn

import tmeasures as tm
from cubes import EVERY, assert_agrees, cube, images, network
from small_models import vision_transformer


def test_the_named_input_alone_is_transformed():
    class Both(nn.Module):
        def forward(self, left, right):
            return {"left": left * 1, "right": right * 1}

    samples, turns = {"left": images(), "right": images(seed=1)}, tm.rotations(4)
    (tile,) = tm.walk(Both(), samples, turns, input="right")
    left, right = (tile.values[f"output.{side}"] for side in ("left", "right"))
    assert torch.equal(left, samples["left"][tile.ids][:, None].expand_as(left))
    torch.testing.assert_close(right, turns.apply(samples["right"][tile.ids]))


def test_mapping_items_serve_a_network_with_several_inputs():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 3)

        def forward(self, image, scale, words):
            assert [int(word) for word in words] == scale.tolist()
            assert scale.dtype == torch.int64
            return self.conv(image) * scale[:, None, None, None]

    samples = [{"image": images()[i], "scale": torch.tensor(i), "words": f"{i}"} for i in range(6)]
    found = {}
    for tile in tm.walk(Two(), samples, tm.rotations(4), batch_size=8):
        scales = tile.values["output"] / tile.values["conv"]
        found |= dict(zip(tile.ids, scales, strict=True))
    for i in range(1, 6):
        torch.testing.assert_close(found[i], torch.full_like(found[i], i))


def test_text_in_mapping_items_goes_to_the_model():
    class Named:
        def run(self, batch):
            assert len(batch["name"]) == len(batch["image"])
            return {"mean": batch["image"].mean((2, 3))}

    samples = {"name": list("abcdefghijk"), "image": images()}
    samples = [{"name": n, "image": x} for n, x in zip(*samples.values(), strict=True)]
    assert "mean" in tm.measure(Named(), samples, tm.rotations(4), measures="NV")["layers"]
    call = {"call": lambda model, batch: model(batch["image"])}
    tree = tm.measure(network(), samples, tm.rotations(4), measures="NV", **call)
    assert "0" in tree["layers"]


def test_a_vision_transformer_from_transformers():
    model = vision_transformer().train()
    tree = tm.measure(model, {"pixel_values": images()}, tm.rotations(4), measures="NV")
    assert tree["layers/classifier/NV"].dims == ("unit",)
    layer = next(name for name in tree["layers"].children if name.endswith("layernorm_before"))
    assert tree[f"layers/{layer}/NV"].dims == ("token", "unit")
    assert all(module.training for module in model.modules())


def test_a_model_that_is_no_torch_module():
    class Means:
        def run(self, batch):
            assert isinstance(batch, np.ndarray)
            return {"rows": batch.mean((1, 3)), "mean": batch.mean((1, 2, 3))[:, None]}

    tree = tm.measure(Means(), images().numpy(), tm.rotations(4), measures=["TV", "NV"])
    assert set(tree["layers"].children) == {"rows", "mean"}
    assert tree["layers/rows/NV"].dims == ("unit",)
    assert tree["layers/mean/TV"].values == pytest.approx(0, abs=1e-3)


def test_an_iterable_data_set_is_read_once_in_its_own_order():
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(images())

    tree = tm.measure(network(), Stream(), tm.rotations(4), measures=EVERY)
    assert tree["samples/ids"].values.tolist() == list(range(11))
    assert_agrees(tree, cube(network(), Stream(), tm.rotations(4)), EVERY, 2e-4)
    with pytest.raises(tm.MemoryLimitError, match="iterable data set, which is read once"):
        tm.measure(network(), Stream(), tm.rotations(64), measures="NV", memory=40_000)

    class One(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(images(1))

    with pytest.raises(tm.ArgumentError, match="at least 2 samples and there is 1"):
        tm.measure(network(), One(), tm.rotations(4), measures="NV")


def test_iterable_data_sets_are_refused_where_they_would_be_read_twice():
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(images())

        def __len__(self):
            return 11

    sets = tm.rotations(64)
    plan = tm.explain(network(), images(), sets, measures="NV", memory=200_000, batch_size=8)
    assert len(plan.passes) == 2
    with pytest.raises(tm.ArgumentError, match="serves one reading"):
        tm.measure(network(), Stream(), sets, measures="NV", plan=plan)
    with pytest.raises(tm.ArgumentError, match="reads the samples 8 times"):
        tm.walk(network(), Stream(), sets, order="transformation", batch_size=64)


def test_a_generator_of_callables_and_a_list_of_transformations():
    found = tm.measure(network(), images(), (f for f in (abs, torch.relu)), measures="TV")
    assert found["transformations"].sizes["transformation"] == 2
    two = [tm.rotations(4)[0], tm.rotations(4)[1]]
    tree = tm.measure(network(), images(), two, measures="TV")
    assert tree["transformations/names"].values.tolist() == [t.name for t in two]
    assert tree["transformations/angle"].values.tolist() == [0, 90]
