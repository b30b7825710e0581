"""The walk: every pair of a sample and a transformation, tile by tile."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import tmeasures as tm
from cubes import images, network
from small_models import assert_no_hooks


@given(n=st.integers(1, 7), m=st.integers(1, 7), batch_size=st.integers(1, 60))
@settings(max_examples=40, deadline=None)
@pytest.mark.parametrize("order", ["sample", "transformation"])
def test_a_walk_visits_every_pair_once_in_order(order, n, m, batch_size):
    samples, angles = torch.rand(n, 1, 4, 4), tm.rotations(m)
    model = nn.ReLU()
    seen, positions = np.zeros((n, m), int), []
    for tile in tm.walk(model, samples, angles, order=order, batch_size=batch_size):
        rows, columns = tile.samples, tile.transformations
        assert len(rows) * len(columns) <= batch_size
        seen[rows.start : rows.stop, columns.start : columns.stop] += 1
        corner = (rows.start, columns.start)
        positions.append(corner if order == "sample" else corner[::-1])
        expected = angles.apply(samples[tile.ids], columns)
        torch.testing.assert_close(tile.values["output"], expected, rtol=0, atol=0)
    assert (seen == 1).all()
    assert positions == sorted(set(positions))


def test_random_transformations_draw_for_seed_and_id_whatever_the_batch():
    noise = tm.transformations([lambda x: x + torch.rand_like(x)] * 3, random=True)

    def walked(batch_size, seed):
        found = torch.zeros(11, 3, 1, 8, 8)
        for tile in tm.walk(nn.ReLU(), images(), noise, batch_size=batch_size, seed=seed):
            columns = tile.transformations
            found[tile.ids, columns.start : columns.stop] = tile.values["output"]
        return found

    assert torch.equal(walked(4, 1), walked(100, 1))
    assert (walked(100, 1) != walked(100, 2)).any((0, 2, 3, 4)).all()


def test_a_walk_gives_what_a_layer_gave_before_the_next_one_changed_it():
    model = nn.Sequential(network()[0], nn.ReLU(inplace=True))
    for tile in tm.walk(model, images(), tm.rotations(4)):
        assert tile.values["0"].min() < 0
        torch.testing.assert_close(tile.values["0"].relu(), tile.values["1"])


def test_two_walks_at_once_and_training_between_tiles():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).train()
    mean = model[1].running_mean.clone()
    arguments = (model, images(), tm.rotations(4))
    first = tm.walk(*arguments, batch_size=8)
    second = tm.walk(*arguments, order="transformation", batch_size=8)
    for one, other in zip(first, second, strict=False):
        assert one.values.keys() == other.values.keys()
        assert model.training
        model.train()
        first.close()
    second.close()
    assert model.training
    assert model[1].training
    assert torch.equal(model[1].running_mean, mean)
    assert_no_hooks(model)


def test_a_walk_in_lower_precision_and_another_order():
    arguments = (network(), images(), tm.rotations(4))
    (lower,) = tm.walk(*arguments, autocast="bfloat16", memory_format="channels_last")
    (own,) = tm.walk(*arguments)
    lowered = {layer.name: layer.dtype for layer in tm.layers(*arguments[:2], autocast="bfloat16")}
    assert lowered == {name: values.dtype for name, values in lower.values.items()}
    assert lowered["0"] == torch.bfloat16
    assert lower.values["0"].flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(lower.values["0"].float(), own.values["0"], rtol=0.02, atol=0.02)
    assert own.values["0"].dtype == torch.float32
    assert own.values["0"].is_contiguous()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"memory_format": "auto"}, "a walk has none; give 'preserve' or 'channels_last'"),
        ({"memory_format": "channel_last"}, "did you mean 'channels_last'"),
        ({"autocast": "bfloat"}, "did you mean 'bfloat16'"),
    ],
)
def test_mistakes_of_how_forwards_run(arguments, says):
    with pytest.raises(tm.ArgumentError, match=says):
        tm.walk(network(), images(), tm.rotations(4), **arguments)
    if "autocast" in arguments:
        with pytest.raises(tm.ArgumentError, match=says):
            tm.layers(network(), images(), **arguments)
