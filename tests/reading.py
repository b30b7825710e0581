"""Data sets to read, what is read of them, and the states that reading must leave alone."""

import random

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, IterableDataset


class Rows(Dataset):
    """Items made by a function of the index; counts its reads."""

    def __init__(self, n, item=lambda i: torch.full((2,), i)):
        self.n, self.item, self.reads = n, item, []

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        assert type(i) is int
        self.reads.append(i)
        return self.item(i)


class Flow(IterableDataset):
    """One-shot: what was taken from it does not come again."""

    def __init__(self, n, item=lambda i: torch.full((2,), i)):
        self.items = (item(i) for i in range(n))
        self.taken = 0

    def __iter__(self):
        for item in self.items:
            self.taken += 1
            yield item


def everything(samples, size=2):
    """Concatenated ids, inputs and labels of one pass, positions checked on the way."""
    batches = list(samples.batches(size))
    positions = [i for batch in batches for i in batch.samples]
    assert positions == list(range(len(positions)))
    assert all(len(batch.samples) == len(batch.ids) <= size for batch in batches)
    labels = None if batches[0].labels is None else np.concatenate([b.labels for b in batches])
    ids = np.concatenate([batch.ids for batch in batches])
    return ids, torch.cat([batch.inputs for batch in batches]), labels


# fork is deprecated where threads run (python 3.12); small machines are told to use less workers
workers_warn = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore:.*worker:UserWarning"
)


def global_states():
    numpy_state = np.random.get_state()  # noqa: NPY002
    return (
        random.getstate(),
        numpy_state[1].tolist(),
        numpy_state[2:],
        torch.get_rng_state().tolist(),
    )
