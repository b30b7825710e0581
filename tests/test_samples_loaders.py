"""Data loaders, iterable data sets, and the random states of both."""

import importlib
import multiprocessing
import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

from reading import Flow, Rows, everything, global_states, workers_warn
from tmeasures.errors import ArgumentError, SampleError
from tmeasures.samples import read


class Sized(Flow):
    def __init__(self, n):
        super().__init__(n)
        self.n = n

    def __len__(self):
        return self.n


class Sharded(IterableDataset):
    def __iter__(self):
        worker = get_worker_info()
        return iter(torch.arange(10)[worker.id :: worker.num_workers])


# Data loaders


@pytest.mark.parametrize(
    "collate",
    [
        lambda items: torch.stack(items) + 1,
        lambda items: (torch.stack(items) + 1, torch.stack(items)[:, 0]),
        lambda items: [np.stack(items) + 1, [int(item[0]) for item in items]],
    ],
)
def test_collate_of_the_loader(collate):
    ids, inputs, labels = everything(read(DataLoader(Rows(5), batch_size=2, collate_fn=collate)))
    np.testing.assert_array_equal(inputs, np.stack([ids, ids], 1) + 1)
    assert labels is None or labels.tolist() == ids.tolist()
    assert (labels is None) == (type(collate([torch.ones(2)])) is torch.Tensor)


def test_collate_to_a_mapping_that_pads():
    def pad(items):
        return {
            "x": torch.nn.utils.rnn.pad_sequence(items, batch_first=True),
            "y": [*map(len, items)],
        }

    loader = DataLoader(Rows(4, lambda i: torch.ones(i + 1)), collate_fn=pad)
    batch = next(read(loader).batches(4))
    assert batch.inputs["x"].shape == (4, 4)
    batch = next(read(loader, labels="y").batches(4))
    np.testing.assert_array_equal(batch.labels, batch.ids + 1)


def test_y_of_a_collate_function_that_is_not_one_per_sample():
    loader = DataLoader(Rows(4), collate_fn=lambda items: (torch.stack(items), [0] * 9))
    assert everything(read(loader))[2] is None


def test_errors_of_a_collate_function_are_its_own():
    def fail(items):
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        list(read(DataLoader(Rows(3), collate_fn=fail)).batches(2))


def shift(worker):
    get_worker_info().dataset.shift = 100


class Shifted(Dataset):
    shift = 0

    def __len__(self):
        return 5

    def __getitem__(self, i):
        return torch.tensor([i + self.shift, get_worker_info().num_workers]), i


@workers_warn
def test_worker_settings_are_used():
    loader = DataLoader(Shifted(), num_workers=2, worker_init_fn=shift, persistent_workers=True)
    samples = read(loader)
    ids, inputs, labels = everything(samples, 2)
    np.testing.assert_array_equal(inputs[:, 0], ids + 100)
    assert inputs[:, 1].tolist() == [2] * 5
    np.testing.assert_array_equal(labels, ids)
    assert samples.first()[:, 1].tolist() == [1] * 3  # no more workers than batches


@workers_warn
def test_errors_in_workers_are_one_sentence():
    loader = DataLoader(Rows(2, lambda i: torch.zeros(i)), num_workers=1)
    with pytest.raises(SampleError, match="unequal shapes") as error:
        list(read(loader).batches(2))
    assert "Traceback" not in str(error.value)
    assert not multiprocessing.active_children()  # although the error and its frames are kept


def test_settings_of_the_loader():
    loader = DataLoader(
        Rows(3),
        num_workers=1,
        timeout=7,
        prefetch_factor=5,
        multiprocessing_context="spawn",
        pin_memory=True,
    )
    settings = importlib.import_module("tmeasures.loading").Recipe.of(Rows(3), loader, 0).settings
    assert settings["num_workers"] == 1
    assert settings["timeout"] == 7
    assert settings["prefetch_factor"] == 5
    assert settings["multiprocessing_context"].get_start_method() == "spawn"
    assert settings["pin_memory"] == torch.cuda.is_available()


# Iterable data sets


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 9),
    size=st.integers(1, 10),
    n_samples=st.none() | st.integers(1, 12),
    probes=st.integers(0, 2),
    in_loader=st.booleans(),
)
def test_iterable_in_its_own_order(n, size, n_samples, probes, in_loader):
    flow = Flow(n, lambda i: (torch.full((2,), i), i))
    samples = read(DataLoader(flow, batch_size=4) if in_loader else flow, n_samples=n_samples)
    assert flow.taken == 0
    assert samples.iterable
    assert samples.ids is None
    assert samples.n == n_samples
    expected = np.arange(min(n, n_samples or n))
    for _ in range(probes):
        np.testing.assert_array_equal(samples.first()[:, 0], expected[:3])
    ids, inputs, labels = everything(samples, size)
    for got in (ids, inputs[:, 0], labels):
        np.testing.assert_array_equal(got, expected)
    assert flow.taken == len(expected)


def test_iterable_serves_one_pass():
    samples = read(Flow(4))
    iterator = samples.batches(2)
    with pytest.raises(SampleError, match="one pass"):
        samples.batches(2)
    with pytest.raises(SampleError, match="one pass"):
        samples.first()
    assert len(list(iterator)) == 2


def test_iterable_with_a_length():
    assert read(Sized(4)).n == 4
    assert read(Sized(4), n_samples=3).n == 3
    with pytest.raises(ArgumentError, match=r"5.*4"):
        read(Sized(4), n_samples=5)
    with pytest.raises(SampleError, match="empty"):
        read(Sized(0))


def test_iterable_without_samples():
    with pytest.raises(SampleError, match="no sample"):
        list(read(Flow(0)).batches(2))
    with pytest.raises(SampleError, match="no sample"):
        read(Flow(0)).first()


def test_iterable_labels():
    with pytest.raises(ArgumentError, match="no indices"):
        read(Flow(3), labels=[0, 1, 2])
    items = Flow(3, lambda i: {"x": torch.zeros(2), "y": i})
    samples = read(items, labels="y")
    assert set(samples.first()) == {"x"}
    assert [b.labels.tolist() for b in samples.batches(2)] == [[0, 1], [2]]


@workers_warn
def test_iterable_with_workers():
    samples = read(DataLoader(Sharded(), num_workers=2), n_samples=9)
    assert samples.first().tolist() == [0, 2, 4]
    batches = list(samples.batches(4))  # five a worker: 4, 4, 1, 1, and of the last none is wanted
    assert [b.inputs.tolist() for b in batches] == [[0, 2, 4, 6], [1, 3, 5, 7], [8]]
    assert np.concatenate([b.ids for b in batches]).tolist() == list(range(9))

    samples = read(DataLoader(Sharded(), num_workers=2, collate_fn=labelled), n_samples=6)
    last = list(samples.batches(4))[-1]  # cut in the middle of a worker's batch
    assert last.inputs["x"].tolist() == [1, 3]
    assert last.inputs["name"] == ["1", "3"]
    assert last.inputs["size"] == 4
    assert last.inputs["all"] == ["a", "b", "c"]
    assert len(read(DataLoader(Sharded(), num_workers=2), n_samples=2).first()) == 2


def labelled(items):
    return {
        "x": torch.stack(items),
        "name": [str(int(i)) for i in items],
        "size": len(items),
        "all": ["a", "b", "c"],
    }


# Random states


class Noisy(Dataset):
    def __len__(self):
        return 6

    def __getitem__(self, i):
        return torch.tensor([random.random(), np.random.rand(), float(torch.rand(()))])  # noqa: NPY002


class NoisyFlow(IterableDataset):
    def __iter__(self):
        return (Noisy()[i] for i in range(6))


@pytest.mark.parametrize("data", [torch.zeros(6), Noisy(), NoisyFlow(), Rows(6)])
def test_global_random_states_are_left_alone(data):
    before = global_states()
    samples = read(DataLoader(data, shuffle=True) if isinstance(data, Rows) else data)
    samples.first()
    for _ in samples.batches(2):
        assert global_states() == before
    assert global_states() == before


def test_global_random_states_are_put_back_after_an_error():
    def fail(i):
        torch.rand(1)
        raise LookupError

    before = global_states()
    with pytest.raises(LookupError):
        list(read(Rows(3, fail)).batches(2))
    assert global_states() == before


@pytest.mark.parametrize("data", [Noisy(), NoisyFlow()])
def test_a_random_data_set_draws_the_same_in_every_pass(data):
    def one_pass(size, seed):
        torch.rand(3)  # what others draw does not matter
        return everything(read(data, seed=seed), size)[1]

    passes = one_pass(2, 5)
    assert len(passes.unique()) == passes.numel()
    assert torch.equal(passes, one_pass(2, 5))
    assert torch.equal(passes, one_pass(4, 5))
    assert not torch.isin(one_pass(2, 6), passes).any()
    samples = read(data, seed=5)
    assert torch.equal(samples.first(), passes[:3])
    assert torch.equal(everything(samples)[1], passes)


@workers_warn
def test_workers_draw_the_same_in_every_pass():
    before = global_states()
    passes = []
    for _ in range(2):
        passes.append(everything(read(DataLoader(Noisy(), num_workers=1), seed=5))[1])
        assert global_states() == before
        torch.rand(3)
        before = global_states()
    assert torch.equal(*passes)
