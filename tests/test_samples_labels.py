"""Labels before the first pass, and samples taken by position: what strata are made of."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from reading import Flow, Rows, everything, global_states, workers_warn
from tmeasures.errors import ArgumentError
from tmeasures.samples import read

N = 150  # more than are read together


def items(n=N):
    return Rows(n, lambda i: (torch.full((2,), i), f"class {i % 3}"))


def collate(pairs):
    return torch.stack([x for x, _ in pairs]), [y for _, y in pairs]


def known():
    """Samples whose labels lie open; label i % 3 of item i."""
    x, y = torch.arange(N)[:, None].expand(N, 2).contiguous(), torch.arange(N) % 3
    return {
        "pair": ((x, y), None),
        "tensor": (x, y),
        "list of labels": (list(x), y.tolist()),
        "data set": (Rows(N), y),
        "loader": (DataLoader(Rows(N)), y.numpy()),
        "mapping": ({"x": x, "y": y}, "y"),
    }


def inside():
    """Samples whose labels are in the items; label i % 3 of item i."""
    x, y = torch.arange(N)[:, None].expand(N, 2).contiguous(), torch.arange(N) % 3
    return {
        "parts": (TensorDataset(x, y), None),
        "list": (list(zip(x, y, strict=True)), None),
        "loader": (DataLoader(TensorDataset(x, y), batch_size=None), None),
        "collate": (DataLoader(TensorDataset(x, y), collate_fn=collate), None),
        "mappings": ([{"x": a, "y": b} for a, b in zip(x, y, strict=True)], "y"),
    }


def inputs_of(batch):
    return batch.inputs["x"] if isinstance(batch.inputs, dict) else batch.inputs


@pytest.mark.parametrize("form", known())
def test_labels_that_are_known(form):
    data, labels = known()[form]
    samples = read(data, labels=labels, n_samples=99, seed=3)
    assert samples.labels_known
    np.testing.assert_array_equal(samples.labels(), samples.ids % 3)
    if isinstance(data, Rows):
        assert data.reads == []


@pytest.mark.parametrize("form", inside())
def test_labels_inside_items_take_a_pass(form):
    data, labels = inside()[form]
    samples = read(data, labels=labels, n_samples=99, seed=3)
    assert not samples.labels_known
    np.testing.assert_array_equal(samples.labels(), samples.ids % 3)
    assert samples.labels_known
    for batch in samples.batches(7):
        np.testing.assert_array_equal(batch.labels, batch.ids % 3)
        np.testing.assert_array_equal(inputs_of(batch)[:, 0], batch.ids)


def test_the_pass_happens_once():
    data = items()
    samples = read(data)
    for _ in range(2):
        assert samples.labels().tolist() == [f"class {i % 3}" for i in samples.ids]
    assert data.reads == samples.ids.tolist()


def test_labels_of_several_batches_are_as_if_given_at_once():
    def labels(y):
        data = [(torch.zeros(1), y(i)) for i in range(N)]
        found = read(data).labels()
        assert found.dtype == read(data, labels=[y(i) for i in range(N)]).labels().dtype
        return found

    assert labels(lambda i: "a" * (i + 1)).dtype == f"<U{N}"
    assert labels(lambda i: i + 0.5 * (i == 149)).dtype == np.float64
    assert labels(lambda i: i > 70).dtype == bool


def test_reading_labels_leaves_random_states_alone():
    def draw(i):
        return torch.rand(2), i

    before = global_states()
    samples = read(Rows(5, draw), seed=5)
    samples.labels()
    assert global_states() == before
    assert torch.equal(everything(samples)[1], everything(read(Rows(5, draw), seed=5))[1])


# Labels that are not there


@pytest.mark.parametrize("data", [torch.zeros(4, 2), {"x": torch.zeros(4, 2)}])
def test_no_labels_in_memory(data):
    samples = read(data)
    assert not samples.labels_known
    with pytest.raises(ArgumentError, match=r"label for each sample, and there are none; give lab"):
        samples.labels()


@pytest.mark.parametrize("data", [Rows(N), DataLoader(Rows(N)), [{"x": torch.zeros(2)}] * N])
def test_no_labels_in_items(data):
    samples = read(data)
    with pytest.raises(ArgumentError, match=f"sample {samples.ids[0]} of the data set has none"):
        samples.labels()
    assert not samples.labels_known
    if isinstance(data, Rows):
        assert len(data.reads) < N


def test_an_item_without_label_is_named():
    for missing in (None, torch.zeros(2)):
        data = [(torch.zeros(1), missing if i == 17 else i) for i in range(N)]
        with pytest.raises(ArgumentError, match="sample 17 of the data set has none; give lab"):
            read(data).labels()


def test_labels_of_a_collate_function_for_no_sample():
    for y in ([0] * 9, [0]):
        samples = read(DataLoader(Rows(4), collate_fn=lambda x, y=y: (torch.stack(x), y)))
        with pytest.raises(ArgumentError, match=f"sample {samples.ids[0]} of the data set has no"):
            samples.labels()


@pytest.mark.parametrize("given", [True, False])
def test_labels_that_are_nan(given):
    y = [0.5, np.nan, np.nan, 1.0]
    data = torch.zeros(4, 2) if given else [(torch.zeros(2), label) for label in y]
    with pytest.raises(ArgumentError, match="2 of 4 labels are NaN; give"):
        read(data, labels=y if given else None).labels()


def test_iterable_data_sets_have_no_labels_beforehand():
    samples = read(Flow(5, lambda i: (torch.zeros(2), i)))
    assert not samples.labels_known
    with pytest.raises(ArgumentError, match=r"an iterable data set serves one pass; give"):
        samples.labels()
    with pytest.raises(ArgumentError, match=r"cannot be split.*__getitem__"):
        samples.take(np.arange(2))
    assert everything(samples)[2].tolist() == list(range(5))  # nothing was used up


# Samples by position


@pytest.mark.parametrize("form", {**known(), **inside()})
@pytest.mark.parametrize("first", ["labels", "take"])
def test_taken_samples(form, first):
    data, labels = (known() | inside())[form]
    samples = read(data, labels=labels, n_samples=99, seed=3)
    if first == "labels":
        samples.labels()
    positions = np.array([90, 2, 41, 5, 60])
    taken = samples.take(positions)
    assert (taken.n, taken.iterable) == (5, False)
    assert taken.labels_known == samples.labels_known
    np.testing.assert_array_equal(taken.ids, samples.ids[positions])
    for _ in range(2):
        start = 0
        for batch in taken.batches(2):
            assert batch.samples == range(start, start + len(batch.ids))
            start = batch.samples.stop
            np.testing.assert_array_equal(batch.ids, taken.ids[batch.samples])
            np.testing.assert_array_equal(inputs_of(batch)[:, 0], batch.ids)
            np.testing.assert_array_equal(batch.labels, batch.ids % 3)
            if isinstance(batch.inputs, dict):
                assert set(batch.inputs) == {"x"}
        assert start == 5
    probe = taken.first()
    probe = probe["x"] if isinstance(probe, dict) else probe
    np.testing.assert_array_equal(probe[:, 0], taken.ids[:3])
    np.testing.assert_array_equal(taken.labels(), taken.ids % 3)
    np.testing.assert_array_equal(taken.take(np.array([3, 0])).ids, samples.ids[[5, 90]])
    assert samples.n == 99


def test_taken_samples_read_only_themselves():
    data = items()
    samples = read(data)
    everything(samples.take(np.arange(40, 44)))
    assert data.reads == samples.ids[40:44].tolist()


def test_each_pass_over_taken_samples_draws_the_same():
    samples = read(Rows(6, lambda i: torch.rand(2)), seed=5)
    before = global_states()
    first = everything(samples.take(np.arange(3)))[1]
    assert torch.equal(first, everything(samples.take(np.arange(3)), 3)[1])
    assert torch.equal(first, everything(samples)[1][:3])
    assert global_states() == before


@workers_warn
def test_workers_read_labels_and_taken_samples():
    samples = read(DataLoader(items(9), num_workers=1))
    assert samples.labels().tolist() == [f"class {i % 3}" for i in samples.ids]
    ids, inputs, _ = everything(samples.take(np.array([8, 1])))
    np.testing.assert_array_equal(inputs[:, 0], ids)
