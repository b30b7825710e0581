"""The kernels of moments on layers of several blocks, beside numpy and by number of threads."""

import numpy as np
import pytest
import torch

from tmeasures.statistics import Columns, Moments, Rows, Setup
from tmeasures.tile import Tile

# Rows and columns that no four divides, in tiles that leave rows open; units in unlike blocks.
N, M, T, UNITS = 11, 13, 7, 700
TILES = [(range(i, min(i + 7, N)), range(j, min(j + T, M))) for i in (0, 7) for j in range(0, M, T)]


def normal_cube():
    return torch.randn(N, M, UNITS, generator=torch.Generator().manual_seed(0))


def fed(kind, cube):
    """A statistic that has seen the whole matrix."""
    setup = Setup(shape=(UNITS,), m=M, tile=(7, T), dtype=torch.float32, spread=True)
    statistic = kind(setup)
    for rows, columns in TILES:
        values = cube[rows.start : rows.stop, columns.start : columns.stop].contiguous()
        statistic.update(Tile(rows, columns, np.array(rows), None, values))
    return statistic.finalize()


@pytest.mark.parametrize("kind", [Moments, Rows, Columns])
def test_bits_do_not_depend_on_the_number_of_threads(kind):
    cube = normal_cube() * torch.logspace(-9, 9, UNITS)
    found = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        found.append(fed(kind, cube))
    for name, values in found[0].items():
        assert all(values.equal(other[name]) for other in found[1:]), name


@pytest.mark.parametrize("kind", [Moments, Rows, Columns])
def test_units_of_several_blocks_are_as_numpy_has_them(kind):
    cube = normal_cube()
    wide = cube.double().numpy()
    rows = ((wide - wide.mean(1, keepdims=True)) ** 2).sum((0, 1))
    columns = ((wide - wide.mean(0, keepdims=True)) ** 2).sum((0, 1))
    rest = wide - wide.mean(1, keepdims=True) - wide.mean(0) + wide.mean((0, 1))
    expected = {
        "rows": rows,
        "columns": columns,
        "between": N * M * wide.mean(0).var(0),
        "row_means": N * M * wide.mean(1).var(0),
        "row_deviations": wide.std(1, ddof=1).sum(0),
        "column_deviations": wide.std(0, ddof=1).sum(0),
        "error": (rest**2).sum((0, 1)),
        "largest": abs(wide).max((0, 1)),
    }
    for name, values in fed(kind, cube).items():
        np.testing.assert_allclose(values.numpy(), expected[name], rtol=1e-12, err_msg=name)
