"""Results built from values that tests choose."""

from types import SimpleNamespace

import numpy as np

from tmeasures import results
from tmeasures.fields import Field

MAP = ("channel", "y", "x")
ATTRIBUTES = {
    "model": "SimpleConv",
    "seed": 2**62,
    "huge": 2**70,
    "seconds": np.float32(0.5),
    "arguments": {"layers": None, "measures": ["NV", "ANOVA"], "shape": (2, np.int64(3))},
    "measures": ["NV"],
    "nothing": None,
    "flag": True,
    "empty": "",
    "looks_like_json": "12",
    "array": np.arange(3),
}


def layer(name, shape, dims=MAP, dtype="torch.float32"):
    return SimpleNamespace(
        name=name, shape=shape, dims=dims, dtype=dtype, kind="Conv2d", n_units=int(np.prod(shape))
    )


def value(values, **options):
    return Field(np.asarray(values), "1", "a value", "a source", **options)


def build(layers, *, status=None, labels=None, attributes=ATTRIBUTES, m=3):
    angles = SimpleNamespace(
        name="rotations", names=[f"{j}°" for j in range(m)], parameters={"angle": np.arange(m) / 7}
    )
    flags = {one.name: np.zeros(one.shape, np.uint8) for one, _ in layers} | (status or {})
    return results.build(
        layers,
        status=flags,
        transformations=angles,
        ids=np.array([4, 0, 2]),
        labels=labels,
        attributes=attributes,
    )
