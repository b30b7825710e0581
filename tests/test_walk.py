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
