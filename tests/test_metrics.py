"""Metrics in torch operations against their definitions, and functions that are none."""

import numpy as np
import pytest
import torch

from tmeasures.errors import ArgumentError
from tmeasures.statistics import metrics
from tmeasures.statistics.metrics import Metric

# Where torch runs: on a GPU wherever one is at hand.
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def root(a, b):
    return (a - b).abs().sqrt()


def largest(a, b):
    return (a - b).abs().amax(-1)


OF_MAPS = [
    *(Metric(name, vectors=True) for name in ("euclidean", "manhattan", "cosine", largest)),
    *(Metric(name, vectors=True, unit_norm=True) for name in ("euclidean", largest)),
]


def normal(*shape, dtype=torch.float64, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def added(metric, x, rows=True, blocks=True):
    """What a tile adds, for each unit or channel."""
    units = len(x) if metric.vectors else len(x) * x.shape[3]
    sums = torch.zeros(2, units, dtype=torch.float64, device=DEVICE)
    metric.add(x.to(DEVICE), sums[: int(rows)], sums[1 : 1 + blocks])
    return sums.cpu().numpy()


def defined(metric, x):
    """The same by definition: values, others, units along the first axes."""
    cube = x.numpy()
    cube = np.moveaxis(cube, 0, 2)
    both = [metric.definition(v).sum(0).reshape(-1) for v in (cube.swapaxes(0, 1), cube)]
    return np.stack(both).astype(float)


@pytest.mark.parametrize("chunk", [1, 7, 40, 300, 2**20])
@pytest.mark.parametrize(
    "metric", [Metric(root), *(m for m in OF_MAPS if m.given is largest)], ids=str
)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_chunks_of_every_size_give_the_same(chunk, metric, dtype, monkeypatch):
    monkeypatch.setattr(metrics, "_CHUNK", {DEVICE: chunk})
    x = normal(3, 6, 5, 4, dtype=dtype)
    np.testing.assert_allclose(added(metric, x), defined(metric, x), rtol=1e-12)


def test_chunks_are_bounded(monkeypatch):
    seen = []

    def watching(a, b):
        seen.append(a.numel())
        return (a - b).abs().sum(-1)

    x, most = normal(3, 40, 5, 6), 60
    monkeypatch.setattr(metrics, "_CHUNK", {DEVICE: most})
    added(Metric(watching, vectors=True), x)
    assert max(seen) <= most


@pytest.mark.parametrize("metric", [Metric(root), *OF_MAPS], ids=str)
def test_what_is_not_asked_for_is_left_out(metric):
    x = normal(3, 6, 5, 4)
    rows, blocks = defined(metric, x)
    for wanted in ((True, False), (False, True)):
        expected = [rows * wanted[0], blocks * wanted[1]]
        np.testing.assert_allclose(added(metric, x, *wanted), expected, rtol=1e-12)


@pytest.mark.parametrize("metric", OF_MAPS, ids=str)
@pytest.mark.parametrize("components", [1, 3, 17, 100, 4099])
def test_equal_maps_are_at_no_distance(metric, components):
    x = normal(3, 7, 1, components).expand(-1, -1, 11, -1) * (1e4 / 3)
    rows, blocks = added(metric, x)
    assert (rows == 0).all()
    if components > 1 or not (metric.unit_norm or metric.given == "cosine"):
        assert (blocks > 0).all()
    channels_last = x.permute(1, 2, 3, 0).contiguous().permute(3, 0, 1, 2)
    assert (added(metric, channels_last)[0] == 0).all()


@pytest.mark.parametrize(
    ("metric", "of_zeros", "of_one"),
    [
        (Metric("cosine", vectors=True), 0, 1),
        (Metric("euclidean", vectors=True, unit_norm=True), 0, 1),
        (Metric("manhattan", vectors=True, unit_norm=True), 0, 1.4),
    ],
)
def test_zero_maps(metric, of_zeros, of_one):
    zero, other = torch.zeros(1, 1, 1, 2), torch.tensor([30.0, 40.0]).view(1, 1, 1, 2)
    for maps, expected in (((zero, -zero), of_zeros), ((zero, other), of_one)):
        x = torch.cat(maps, 1)
        assert added(metric, x)[1] == pytest.approx(expected, rel=1e-14)
        assert defined(metric, x)[1] == pytest.approx(expected, rel=1e-14)


def test_the_cosine_of_opposite_and_of_orthogonal_maps():
    maps = torch.tensor([[2.0, 0.0], [-5.0, 0.0], [0.0, 1e-3]]).view(1, 3, 1, 2)
    for pair, expected in (([0, 1], 2), ([0, 2], 1), ([0, 0], 0)):
        found = added(Metric("cosine", vectors=True), maps[:, pair])[1]
        assert found == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("name", ["euclidean", "manhattan"])
def test_differences_come_first(name):
    x, metric = normal(3, 6, 5, 4) + 1e6, Metric(name, vectors=True)
    np.testing.assert_allclose(added(metric, x), defined(metric, x), rtol=1e-14)


@pytest.mark.parametrize("vectors", [False, True])
@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda a, b: (a - b).abs().sum(), r"a lambda, gave shape \(\) for two tensors of shape"),
        (lambda a, b: float((a - b).abs().sum()), "gave [0-9.]+ for two tensors"),
        (lambda a, b: a.new_zeros(2, 3), r"gave shape \(2, 3\)"),
        (lambda a, b: a.new_zeros(2, 3, 4, dtype=torch.complex64), "gave complex numbers"),
        (lambda a, b: (a - b).abs_().no_such(), "raised AttributeError: .*no_such"),
        (lambda a: a, "raised TypeError"),
        (lambda a, b: a.sub_(b).abs_().view(2, 3, 4, -1).sum(-1), "changes the tensors"),
        (torch.nn.PairwiseDistance, "the class PairwiseDistance, raised|gave"),
    ],
)
def test_functions_that_are_no_metrics(function, says, vectors):
    with pytest.raises(ArgumentError, match=says) as error:
        Metric(function, vectors).check()
    assert "\n" not in str(error.value)
    assert not str(error.value).endswith(".")


def test_an_exception_of_a_function_is_chained():
    def broken(a, b):
        raise RuntimeError("no such thing")

    with pytest.raises(ArgumentError, match="the function broken, raised RuntimeError") as error:
        Metric(broken).check()
    assert isinstance(error.value.__cause__, RuntimeError)


def test_functions_that_are_metrics():
    state = torch.get_rng_state()
    for metric in (Metric(root), Metric(lambda a, b: a != b), *OF_MAPS):
        metric.check()
    Metric(torch.nn.PairwiseDistance(), vectors=True).check()
    assert torch.equal(torch.get_rng_state(), state)


def test_a_function_may_count():
    x = torch.tensor([1.0, 2.0, 2.0]).view(1, 1, 3, 1)
    assert added(Metric(lambda a, b: a != b), x)[0] == [2]


def test_a_function_of_the_name_of_a_metric_is_not_called_so():
    def cosine(a, b):
        return (a - b).abs().sum(-1)

    assert Metric.of(cosine, True, False).words == ("vectors", "callable")
    assert Metric.of("cosine", True, False).words == ("vectors", "cosine")
