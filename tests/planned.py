"""Problems of planning whose plans can be worked out by hand."""

import torch

from tmeasures.capture import Layer, Probe
from tmeasures.measures import resolve
from tmeasures.planning import Problem, Wanted


def problem(**changes):
    """10 activations; a tile of k inputs takes 1.3 (10,000 + 1,300 k) bytes."""
    given = {
        "network": "Net",
        "wanted": Wanted({"NV": frozenset({"rows", "columns"})}),
        "layers": [Layer("0", (10,), ("unit",), torch.float32, "Linear")],
        "n": 100,
        "m": 50,
        "probe": Probe(1000, 10_000),
        "input_bytes": 100,
        "result_bytes": 13,
        "memory": 10**9,
        "batch_size": None,
        "device": "cpu",
        "iterable": False,
    }
    return Problem(**(given | changes))


def wanted(*measures, errors=False):
    return Wanted.by(resolve(measures), errors, stratified=False)


def shapes_of(plan):
    return [(p.order, p.samples, p.transformations, p.columns) for p in plan.passes]
