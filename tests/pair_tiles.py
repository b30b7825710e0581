"""Cubes that go into sums of distances in tiles, and what measures make of them."""

import itertools

import numpy as np
import torch

from tmeasures.measures import Quantities
from tmeasures.statistics import Setup
from tmeasures.tile import Tile

# Where the torch kernels run: on a GPU wherever one is at hand.
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DIMS = ("channel", "y", "x")


def normal_cube(n, m, unit, dtype=torch.float64, offset=0.0, seed=0):
    g = torch.Generator().manual_seed(seed)
    samples = torch.randn(n, 1, *unit, generator=g, dtype=torch.float64)
    cube = samples + torch.randn(n, m, *unit, generator=g, dtype=torch.float64) / 2 + offset
    return cube.to(dtype)


def setup_of(cube, tile, order="sample", backend=None, known=True, dims=(), errors=False):
    n, m, *shape = cube.shape
    return Setup(
        shape=tuple(shape),
        m=m,
        tile=tile,
        order=order,
        columns=min(tile[1], m) if order == "transformation" else None,
        n=n if known else None,
        dims=dims,
        dtype=cube.dtype,
        device=torch.device(DEVICE if backend == "torch" else "cpu"),
        errors=errors,
        kernels=backend,
    )


def joined(measures):
    """The kinds of measures, one for each key."""
    kinds = {}
    for kind in (kind for measure in measures for kind in measure.kinds):
        kinds[kind.key] = kinds.get(kind.key, kind).joined(kind)
    return list(kinds.values())


def feed(statistics, cube, tile, order="sample", view=lambda x: x):
    """Hand a cube (sample, transformation, *unit) over in tiles; view may change the strides."""
    (n, m), (s, t) = cube.shape[:2], tile
    rows = [range(i, min(i + s, n)) for i in range(0, n, s)]
    columns = [range(j, min(j + t, m)) for j in range(0, m, t)]
    pairs = itertools.product(rows, columns)
    if order == "transformation":
        pairs = ((r, c) for c, r in itertools.product(columns, rows))
    cube = cube.to(statistics[0].device)
    for r, c in pairs:
        values = view(cube[r.start : r.stop, c.start : c.stop])
        for statistic in statistics:
            statistic.update(Tile(r, c, np.arange(r.start, r.stop), None, values))
    return statistics


def gathered(statistics, n, m):
    found = {k: v for statistic in statistics for k, v in statistic.finalize().items()}
    return Quantities(n, m, {k: v.cpu().numpy() for k, v in found.items()})


def quantities(measures, cube, tile, order="sample", view=lambda x: x, **options):
    setup = setup_of(cube, tile, order, **options)
    statistics = [kind(setup) for kind in joined(measures)]
    feed(statistics, cube, tile, order, view)
    assert {statistic.n for statistic in statistics} == {len(cube)}
    return gathered(statistics, *cube.shape[:2])


def values(measures, cube, tile=(32, 10**3), **options):
    found = quantities(measures, cube, tile, **options)
    fields = {}
    for measure in measures:
        fields |= measure.finalize(found)
        fields |= measure.standard_errors(found) if options.get("errors") else {}
    return {name: field.values for name, field in fields.items()}


def assert_agrees(cube, found, measures, dims=DIMS, bound=None):
    bound = bound or (1e-12 if cube.dtype == torch.float64 else 1e-6)
    for measure in measures:
        for name, expected in measure.reference(cube.numpy(), dims).items():
            expected = expected.astype(float)
            np.testing.assert_allclose(found[name], expected, rtol=bound, err_msg=name)


def all_pairs(cube):
    """SD of a cube (sample, 1, unit) by sorting."""
    n = len(cube)
    weights = (2.0 * np.arange(n) - n + 1)[:, None]
    return 2 * (weights * np.sort(cube[:, 0].astype(np.float64), 0)).sum(0) / n**2
