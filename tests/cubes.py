"""A small network, its samples, and the stored cube that a result is compared with."""

import numpy as np
import torch
from torch import nn

import tmeasures as tm
from tmeasures.measures import resolve


def network(seed=0):
    """A classifier of `images`."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            *(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(48, 5)),
        )


def images(n=11, seed=0):
    return torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


MOMENTS = ["TV", "SV", "NV", "ANOVA", tm.Anova(paired=True)]
EVERY = [*MOMENTS, "TD", "SD", "ND"]


def cube(model, samples, transformations, **arguments):
    """Every layer's cube, (sample, transformation, *unit) in seeded order."""
    tiles = list(tm.walk(model, samples, transformations, batch_size=10**6, **arguments))
    assert len(tiles) == 1
    return {name: values.numpy() for name, values in tiles[0].values.items()}


def assert_agrees(tree, cubes, measures, rtol):
    for name, values in cubes.items():
        for measure in resolve(measures):
            with np.errstate(all="ignore"):
                expected = measure.reference(values)
            for variable, reference in expected.items():
                found = tree[f"layers/{name}/{variable}"].values
                np.testing.assert_allclose(
                    found, reference.astype(np.float64), rtol=rtol, err_msg=f"{name} {variable}"
                )
