"""Networks whose maps follow their input or do not, and what same-equivariance is compared with."""

import itertools

import numpy as np
import torch
from torch import nn

import tmeasures as tm
from cubes import cube
from tmeasures.results import attribute

DSE, SSE = tm.DistanceSameEquivariance, tm.SimpleSameEquivariance
VSE = tm.VarianceSameEquivariance
MAP = ("channel", "y", "x")
BOTH = (True, False)
SSES = [SSE(), SSE(False)]
EVERY = [
    *(VSE(*options) for options in itertools.product(BOTH, BOTH)),
    *(DSE(*options) for options in itertools.product(("channel", "layer"), BOTH, BOTH, BOTH)),
    *SSES,
]
USUAL = [VSE(), DSE(), SSE()]
SOME = [VSE(False), VSE(normalized=True), DSE(normalized=True), DSE("layer", False), *SSES]
SOME.append(DSE(unit_norm=False, valid_only=False))
QUARTERS = tm.rotations(4)
TURNS = tm.rotations(5)
WRAPPED = tm.translations([1, 2], fill="wrap")
LAYOUT = {"output": MAP}
WHOLE = {"layers": "output", "layout": LAYOUT}


def network():
    """Maps of 6 x 6 and 3 x 3; the last ones of one channel are 0."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = nn.Conv2d(1, 2, 3, padding=1), nn.MaxPool2d(2), nn.ReLU()
        model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(18, 5))
    model[0].bias.data = torch.tensor([0.1, -3.0])
    return model


def images(n=5, size=6):
    return torch.rand(n, 1, size, size, generator=torch.Generator().manual_seed(0))


def double():
    """One in which tiles of any size give the same to 1e-12."""
    return network().double()


def values(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def integers(*shape, most=9, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(-most, most + 1, shape, generator=draw).float()


SMALL = values(3, 8, 8, 8)


def convolution(size, channels=8, seed=0, weight=None, **arguments):
    made = nn.Conv2d(channels, 4, size, **arguments)
    drawn = values(*made.weight.shape, seed=seed) if weight is None else weight
    made.weight.data = drawn
    made.bias.data = torch.zeros(4)
    return made


def dots(n=6, size=28):
    """Images that are 0 but for their middle, which no shift by 4 pixels takes to the border."""
    x = torch.zeros(n, 1, size, size)
    x[..., size // 2 - 2 : size // 2 + 2, size // 2 - 2 : size // 2 + 2] = images(n, 4)
    return x


def bare(size, stride=1, channels=1):
    """Without padding, and without a bias, so that 0 stays 0."""
    with torch.random.fork_rng():
        torch.manual_seed(size)
        return nn.Conv2d(channels, 3, size, stride, bias=False)


def steps(by):
    return tm.translations(offsets=[(0, 0), (by, 0), (0, -by), (by, by)])


def stored(model, samples, transformations):
    """The cube of each layer, in the precision that the statistics keep."""
    if next(model.parameters()).dtype in (torch.float16, torch.bfloat16):
        (tile,) = tm.walk(model, samples, transformations, batch_size=10**6)
        return {name: found.float().numpy() for name, found in tile.values.items()}
    return cube(model, samples, transformations)


def assert_is(tree, arguments, measures=EVERY, bound=1e-8):
    """A result is what the stored cube gives by the definition."""
    model, samples, transformations = arguments
    cubes, untransformed = stored(*arguments), stored(model, samples, None)
    left = attribute(tree, "left_out_of").get(str(measures[0]), {})
    assert left.keys() < cubes.keys()
    for name in cubes.keys() - left.keys():
        for measure in measures:
            with np.errstate(all="ignore"):
                expected = measure.reference(
                    cubes[name],
                    transformations,
                    tree[f"layers/{name}/status"].dims,
                    samples.shape[1:],
                    untransformed[name][:, 0],
                )
            for variable, reference in expected.items():
                found, reference = tree[f"layers/{name}/{variable}"].values, reference.astype(float)
                # Maps that are alike but for a factor are apart by the root of a rounding.
                least = 1e-7 / bound if variable.startswith("DSE") else 1e-12
                close = bound * np.abs(reference[np.isfinite(reference)]).max(initial=least)
                np.testing.assert_allclose(found, reference, bound, close, err_msg=variable)


def measured(model, samples, transformations, measures=USUAL, **arguments):
    """The variables of the output."""
    arguments = {"layers": "output", "layout": LAYOUT} | arguments
    return tm.measure(model, samples, transformations, measures=measures, **arguments)[
        "layers/output"
    ]


def largest(model, samples):
    """The largest norm of a map."""
    with torch.no_grad():
        return float(model(samples).flatten(2).norm(dim=-1).max())


def assert_follows(layer, norm=0.0, bound=1e-6):
    """Zero to so much of the norm of the maps."""
    assert np.nanmax(layer["VSE"]) <= (bound * norm) ** 2
    assert layer["DSE"].max() <= bound * (norm > 0)
    assert layer["SSE"].max() <= bound * norm
    assert layer["SSE_relative"].max() <= bound * (norm > 0)
    assert np.isfinite(layer["VSE"]).any()


def assert_does_not_follow(layer):
    assert layer["DSE"].min() > 0.2
    assert layer["SSE_relative"].min() > 0.2
    assert np.nanmean(layer["VSE"]) > 10 * np.nanmean(layer["VSE_floor"]) + 1e-3
