"""Samples: what a user has, turned into batches of inputs in the seeded order.

``read`` takes tensors, arrays, mappings, data sets and data loaders; the ``Samples`` it gives hand
out ``Batch`` after ``Batch``. The order is one permutation drawn from a seed, the same in every
pass.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import cycle
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

from tmeasures.arrays import InMemory, checked, equal_lengths, head, tensors, withhold
from tmeasures.errors import ArgumentError, SampleError, TMeasuresError
from tmeasures.hints import called, whole
from tmeasures.loading import Collated, Items, Recipe, Stream, UnbatchableError, scalars
from tmeasures.moving import Moves

_EMPTY = "the iterable data set gave no sample; give one that is not used up, of at least one"
# Samples read together where only their labels are wanted: loaders hold two such batches for each
# worker.
_READ = 64


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive samples of the seeded order.

    Attributes:
        samples: Their positions in the order, a range.
        ids: Where each stands in the data set, ``(sample,)`` int64.
        inputs: ``(sample, *item)``, or a dictionary for mapping items: every tensor in it has the
            sample axis first, and whatever else the collate function gave is kept as it is. Of
            moved items ``(sample * move, *item)``: each sample under each move, in turn.
        labels: One number or string per sample, ``(sample,)``, or None.
    """

    samples: range
    ids: np.ndarray
    inputs: torch.Tensor | dict[str, Any]
    labels: np.ndarray | None


class Samples:
    """Samples in the seeded order; made by `read`.

    Attributes:
        n: Number of samples. None for an iterable data set of unknown length; where a length or
            ``n_samples`` is known for one it is an upper bound, for the iterable may end earlier.
        iterable: Whether the samples come from an iterable data set, which has an order of its own
            and serves one pass.
        ids: Data set indices in the seeded order, ``(n,)`` int64; None for an iterable data set,
            whose samples are numbered as they come.
    """

    def __init__(
        self,
        source: InMemory | Items | Stream,
        n: int | None,
        ids: np.ndarray | None,
        key: str | None = None,
        labels: np.ndarray | None = None,
    ) -> None:
        self.n = n
        self.ids = ids
        self.iterable = ids is None
        self._source = source
        self._key = key
        self._labels = labels

    @property
    def in_memory(self) -> bool:
        """Whether they are tensors or arrays, and no items that are read one by one."""
        return isinstance(self._source, InMemory)

    def batches(self, size: int, moves: Sequence[Moves] = ()) -> Iterator[Batch]:
        """Hand out every sample once, in the seeded order.

        Args:
            size: Samples in a batch, at least 1. The last batch may be shorter; with an iterable
                data set read by several workers, so may the last batch of each worker.
            moves: What is done to items as they are read: each batch is given once for each of
                these, and read as often, but for an iterable data set. Not for those in memory.

        Returns:
            An iterator of `Batch`. Each call starts a new pass and reads each sample once.

        Raises:
            ArgumentError: ``size`` is not a whole number of at least 1.
            SampleError: The items cannot be batched (unequal shapes, more than two parts, types
                that are neither tensors nor arrays); an iterable data set gave nothing, or is asked
                for a second pass.

        Example:
            >>> samples = read(torch.arange(5), seed=1)
            >>> [batch.inputs.tolist() for batch in samples.batches(2)]
            [[4, 0], [1, 2], [3]]
        """
        size = whole("batch_size", size)
        if isinstance(self._source, InMemory):
            return self._walk(self._source.batches(size), moves)
        return self._walk(self._source.batches(size, moves), moves)

    def first(self, moves: Moves | None = None) -> torch.Tensor | dict[str, Any]:
        """Inputs of the first samples of the order, at most three, to probe a network with.

        What is taken from an iterable data set is kept and given again by `batches`. With worker
        processes, which hold copies of the iterable, the workers start over instead.

        Args:
            moves: What is done to items: they are given under the first move, all being tried.

        Raises:
            SampleError: As `batches` does.
            TransformationError: A move is no function of its input, or fails, or gives items of
                another form than the first does.

        Example:
            >>> read(torch.arange(5), seed=1).first()
            tensor([4, 0, 1])
        """
        if isinstance(self._source, InMemory):
            collated: Collated | None = self._source.first()
        else:
            collated = self._source.first(moves)
        if collated is None:
            raise SampleError(_EMPTY)
        ids = np.arange(collated[0]) if self.ids is None else self.ids
        return self._checked(collated, ids)[0]

    @property
    def labels_known(self) -> bool:
        """Whether `labels` answers without reading the samples: given at once, or read before."""
        return self._labels is not None

    def labels(self, moves: Sequence[Moves] = ()) -> np.ndarray:
        """The labels of all samples in the seeded order, ``(n,)`` numbers or strings.

        Those given in ``labels=`` or as the y of a pair ``(x, y)`` cost nothing; those inside the
        items of a data set take one pass over it, the first time.

        Args:
            moves: A single one, without which the items may make no batch.

        Raises:
            ArgumentError: A sample has no label, or NaN for one; or the samples are an iterable
                data set, whose one pass this would be.

        Example:
            >>> read([(torch.zeros(2), name) for name in "abc"], seed=2).labels()
            array(['c', 'a', 'b'], dtype='<U1')
        """
        if self._labels is None:
            self._labels = self._read_labels(moves)
        missing = self._labels != self._labels
        if missing.any():
            raise ArgumentError(
                f"stratify= needs a label for each sample, and {missing.sum()} of {self.n} labels "
                "are NaN; give these a number or string of their own, or leave the samples out"
            )
        return self._labels

    def take(self, positions: np.ndarray) -> Samples:
        """The samples at these positions of the seeded order, in the order of ``positions``.

        Args:
            positions: Whole numbers from 0 to ``n - 1``, ``(count,)``, at least one.

        Returns:
            Samples of their own: their batches count from 0 and keep ids and labels.

        Raises:
            ArgumentError: The samples are an iterable data set.

        Example:
            >>> samples = read(torch.arange(5), seed=1)
            >>> samples.ids, samples.take(np.array([0, 3])).ids
            (array([4, 0, 1, 2, 3]), array([4, 2]))
        """
        if self.ids is None or isinstance(self._source, Stream):
            raise ArgumentError(
                "an iterable data set cannot be split, for it has no indices; give a data set with "
                "__getitem__ and __len__"
            )
        ids = self.ids[positions]
        labels = None if self._labels is None else self._labels[positions]
        return Samples(replace(self._source, ids=ids), len(ids), ids, self._key, labels)

    def _read_labels(self, moves: Sequence[Moves]) -> np.ndarray:
        if self.iterable:
            raise ArgumentError(
                "stratify= needs all labels before the first pass, and an iterable data set serves "
                "one pass; give a data set with __getitem__ and __len__"
            )
        if isinstance(self._source, InMemory):
            raise ArgumentError(
                "stratify= needs a label for each sample, and there are none; give labels=, or "
                "samples (x, y)"
            )
        found: list[Any] = []
        for batch in self.batches(_READ, moves):
            if batch.labels is None:
                ones = self.take(np.asarray(batch.samples)).batches(1, moves)
                first = next((one.ids[0] for one in ones if one.labels is None), batch.ids[0])
                raise ArgumentError(
                    f"stratify= needs a label for each sample, and sample {first} of the data set "
                    "has none; give labels=, or items (x, y) with a number or string for y"
                )
            found += batch.labels.tolist()
        return np.asarray(found)

    def _walk(self, source: Generator[Collated], moves: Sequence[Moves]) -> Iterator[Batch]:
        start, last = 0, max(len(moves), 1) - 1
        # Closed at once, so that an error that is kept does not keep worker processes.
        with closing(source):
            for collated, number in zip(source, cycle(range(last + 1)), strict=False):
                batch = self._batch(start, collated, len(moves[number]) if moves else 1)
                yield batch
                if number == last:
                    start = batch.samples.stop
                    if start == self.n:
                        return
        if start == 0:
            raise SampleError(_EMPTY)

    def _batch(self, start: int, collated: Collated, each: int) -> Batch:
        """A batch that holds so many inputs of each sample."""
        count = collated[0]
        ids = np.arange(start, start + count) if self.ids is None else self.ids[start:]
        inputs, labels = self._checked(collated, ids, each)
        if self.n is not None and start + count > self.n:
            inputs = head(inputs, (self.n - start) * each, count * each)
            count = self.n - start
            labels = None if labels is None else labels[:count]
        stop = start + count
        ids = ids[: stop - start]
        if self._labels is not None:
            labels = self._labels[start:stop]
        return Batch(range(start, stop), ids, inputs, labels)

    def _checked(
        self, collated: Collated, ids: np.ndarray, each: int = 1
    ) -> tuple[torch.Tensor | dict[str, Any], Any]:
        count, inputs, y = collated
        count *= each
        if isinstance(inputs, TMeasuresError):
            raise inputs
        if isinstance(inputs, UnbatchableError):
            why, *places = inputs.args
            named = " and ".join(str(ids[place]) for place in places)
            raise SampleError(f"samples {named} {why}" if named else why) from inputs.__cause__
        labels = scalars(y)
        if labels is not None and len(labels) != count:
            labels = None
        if self._key is not None:
            inputs, values = withhold(inputs, self._key)
            labels = _label_array(values, count)
        return tensors(inputs, count), None if labels is None else labels[::each]


def read(
    samples: Any, *, n_samples: int | None = None, labels: Any = None, seed: int = 0
) -> Samples:
    """Read samples of any common form in one seeded order.

    The order is ``numpy.random.default_rng(seed).permutation(N)[:n_samples]`` for a data set of N
    items, the same in every pass. Inputs keep their dtype and their device. The global random
    states of Python, numpy and torch (CPU) are left alone: a data set that draws from them in this
    process finds them seeded with ``seed`` at the start of each pass, and they are put back after
    each batch; where callables act on its items, they are seeded for each item.

    Args:
        samples: One of

            - a tensor or array, ``(sample, *item)``; a memory map is read batch by batch, any other
              object with ``__array__`` once, as a whole;
            - a pair of such an x, with at least two axes, and one axis of labels y;
            - a mapping from names to tensors or arrays of equal first axis;
            - a ``Dataset``, a list, or any object with ``__getitem__`` and ``__len__``, whose items
              are x, ``(x,)``, ``(x, y)`` or mappings. Images of Pillow, as x or in a mapping,
              become uint8 tensors ``(channel, y, x)``; arrays keep the order of their axes;
            - a ``DataLoader``, of which the data set, the collate function and the worker settings
              are used, not the sampler, batch sampler or batch size. A loader without automatic
              batching (``batch_size=None``) is batched all the same: a collate function of its own
              then gets lists of items. Workers live for one pass, also where the loader asks for
              persistent ones, so that each pass starts from the same seed;
            - an ``IterableDataset`` or a loader of one: in its own order, for one pass.
        n_samples: Take only the first samples of the order; default all.
        labels: One number or string per sample, indexed as the data set is (not in the seeded
            order); or, for mappings, the key that holds the label and is withheld from the model.
            Default: the y of ``(x, y)`` items where it is a number or string, otherwise none; all
            of a mapping then goes to the model.
        seed: Of the order, at least 0.

    Returns:
        The samples, not read yet.

    Raises:
        ArgumentError: ``n_samples`` is below 1 or above N, ``seed`` is negative, or ``labels`` does
            not fit the samples.
        SampleError: The samples are empty or of no form above, or have a dtype that torch lacks.
            Items are looked at only when `Samples.batches` comes to them.

    Example:
        >>> images = np.zeros((5, 1, 8, 8), dtype=np.float32)
        >>> samples = read(images, labels=["a", "b", "c", "d", "e"], seed=1, n_samples=3)
        >>> samples.n, samples.ids
        (3, array([4, 0, 1]))
        >>> for batch in samples.batches(2):
        ...     print(batch.samples, batch.ids, batch.labels, tuple(batch.inputs.shape))
        range(0, 2) [4 0] ['e' 'a'] (2, 1, 8, 8)
        range(2, 3) [1] ['b'] (1, 1, 8, 8)
    """
    seed = whole("seed", seed, 0)
    wanted = None if n_samples is None else whole("n_samples", n_samples)
    loader = samples if isinstance(samples, DataLoader) else None
    data: Any = samples if loader is None else loader.dataset
    recipe = Recipe.of(data, loader, seed)
    if isinstance(data, IterableDataset):
        if labels is not None and not isinstance(labels, str):
            raise ArgumentError(
                "labels= has one label per data set index, but an iterable data set has no "
                "indices; give the key that holds a label, or items (x, y)"
            )
        n = _limit(_length(data), wanted)
        return Samples(Stream(recipe, n), n, None, labels)
    if loader is None and not isinstance(data, Dataset):
        data, labels = checked(data, labels)
    in_memory = loader is None and isinstance(data, torch.Tensor | np.ndarray | dict)
    total = equal_lengths(data) if in_memory else _length(data)
    if total is None:
        raise SampleError(
            f"the samples are {called(data)} without a length; give it a __len__, or make it an "
            "IterableDataset"
        )
    ids = np.random.default_rng(seed).permutation(total)[: _limit(total, wanted)]
    source = InMemory(data, ids) if in_memory else Items(recipe, ids)
    if labels is None or isinstance(labels, str):
        return Samples(source, len(ids), ids, labels)
    return Samples(source, len(ids), ids, labels=_label_array(labels, total)[ids])


def _length(data: Any) -> int | None:
    try:
        return len(data)
    except (TypeError, NotImplementedError):
        return None


def _limit(total: int | None, wanted: int | None) -> int | None:
    if total == 0:
        raise SampleError("the samples are empty, with a length of 0; give at least one")
    if total is not None and wanted is not None and wanted > total:
        raise ArgumentError(
            f"n_samples={wanted}, but there are {total} samples; give at most {total}, or leave it "
            "out for all"
        )
    return total if wanted is None else wanted


def _label_array(values: Any, count: int) -> np.ndarray:
    """Labels that the user named, which must be one number or string for each sample."""
    labels = scalars(values)
    if labels is None:
        shape = f" of shape {tuple(values.shape)}" if hasattr(values, "shape") else ""
        raise ArgumentError(
            f"labels= is {called(values)}{shape}; give one number or string per sample, for "
            "one-hot rows their argmax(1)"
        )
    if len(labels) != count:
        raise ArgumentError(
            f"there are {len(labels)} labels for {count} samples; give one for each sample of the "
            "data set, in its order"
        )
    return labels
