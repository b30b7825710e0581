"""Data sets read with torch's DataLoader: items -> collated batches, random states kept apart.

Inside the package only; `tmeasures.samples` is what the rest uses.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, default_collate, default_convert

from tmeasures.errors import SampleError
from tmeasures.hints import kind, reason

PROBE = 3
"""Samples of a probe: the engine tries batches of two and of three."""

Collated = tuple[int, Any, Any]
"""Number of samples, their inputs (or the `UnbatchableError` in their place), their y."""


class UnbatchableError(Exception):
    """Items make no batch: ``args`` are why, and their places in it where some stand for it."""


@dataclass(frozen=True, slots=True)
class Collate:
    """Items -> their number, inputs and y; picklable, for workers that are spawned.

    A refusal is returned, not raised: a worker would wrap it in its traceback, and only the
    samples know the numbers of the items.
    """

    function: Callable[[list[Any]], Any] | None

    def __call__(self, items: list[Any]) -> Collated:
        """Collate items."""
        try:
            if self.function is not None:
                return len(items), *_parts(self.function(items))
            inputs, ys = zip(*map(_parts, items), strict=True)
            return len(items), _stack(inputs), scalars(ys)
        except UnbatchableError as error:
            return len(items), error, None


def _parts(value: Any) -> tuple[Any, Any]:
    """The x and y of an item, or of what a collate function gave."""
    if not isinstance(value, tuple | list):
        return value, None
    if len(value) not in (1, 2):
        raise UnbatchableError(
            f"items have {len(value)} parts; expected x, (x,), (x, y) or a mapping: name several "
            "inputs by a mapping, and make a list of numbers an array"
        )
    return value[0], value[1] if len(value) == 2 else None


def _stack(inputs: Sequence[Any]) -> Any:
    try:
        return default_collate(list(inputs))
    except (TypeError, ValueError, RuntimeError, KeyError) as error:
        raise (_unlike(inputs) or _unknown(inputs[0], error)) from error


def _unlike(inputs: Sequence[Any]) -> UnbatchableError | None:
    """What to say of items of which two differ in shape or keys, if two do."""
    columns: dict[str, Sequence[Any]] = {"": inputs}
    if all(isinstance(x, Mapping) for x in inputs):
        for row, item in enumerate(inputs):
            if set(item) != set(inputs[0]):
                keys = f"the keys {list(inputs[0])} and {list(item)}"
                text = f"have {keys}; expected the same: give all items one form"
                return UnbatchableError(text, 0, row)
        columns = {f" under {k!r}": [x[k] for x in inputs] for k in inputs[0]}
    for where, values in columns.items():
        shapes = [tuple(v.shape) if hasattr(v, "shape") else None for v in values]
        for row, shape in enumerate(shapes):
            if shape != shapes[0]:
                text = f"have unequal shapes{where}, {shapes[0]} and {shape}; expected one shape"
                text += ": resize, crop or pad them in the data set"
                return UnbatchableError(text, 0, row)
    return None


def _unknown(item: Any, error: Exception) -> UnbatchableError:
    how = "convert them in the data set or in a collate_fn"
    if kind(item).startswith("PIL."):
        how = "give the data set transform=torchvision.transforms.ToTensor()"
    why = "" if isinstance(error, TypeError) else f" ({reason(error)})"
    return UnbatchableError(
        f"items of type {kind(item)} cannot be batched{why}; expected tensors, arrays, numbers or "
        f"mappings of them: {how}"
    )


def scalars(y: Any) -> np.ndarray | None:
    """``y`` as an array if it is one number or string per sample, else None."""
    if not isinstance(y, torch.Tensor) and hasattr(y, "__array__"):
        y = np.asarray(y)
    if isinstance(y, torch.Tensor | np.ndarray):
        y = y.tolist() if y.ndim == 1 else None
    if not isinstance(y, list | tuple):
        return None
    values = [v.item() if hasattr(v, "item") and np.ndim(v) == 0 else v for v in y]
    return np.asarray(values) if all(isinstance(v, int | float | str) for v in values) else None


@dataclass(frozen=True, slots=True)
class Recipe:
    """A data set and how torch's DataLoader is to read it."""

    dataset: Any
    collate: Collate
    settings: dict[str, Any]
    seed: int

    @classmethod
    def of(cls, dataset: Any, loader: DataLoader[Any] | None, seed: int) -> Recipe:
        """The recipe of a data set, with the settings of its loader if it has one."""
        if loader is None:
            return cls(dataset, Collate(None), {}, seed)
        function = loader.collate_fn
        collate = Collate(None if function in (default_collate, default_convert) else function)
        names = ["num_workers", "timeout", "worker_init_fn", "multiprocessing_context"]
        names = [*names, "prefetch_factor"] if loader.num_workers else []
        settings = {name: getattr(loader, name) for name in names}
        settings["pin_memory"] = loader.pin_memory and torch.cuda.is_available()
        return cls(dataset, collate, settings, seed)

    @property
    def workers(self) -> int:
        """Worker processes asked for."""
        return int(self.settings.get("num_workers", 0))

    def load(self, **settings: Any) -> Generator[Collated]:
        """Batches of a new DataLoader, as ``settings`` say."""
        loader: DataLoader[Collated] = DataLoader(
            self.dataset,
            collate_fn=self.collate,
            **(self.settings | settings),
        )
        # The seed of the workers, too, is drawn from the states that are ours.
        return _apart(loader, _RandomState(self.seed))


@dataclass(frozen=True, slots=True)
class Items:
    """A map-style data set, fetched by our index lists."""

    recipe: Recipe
    ids: np.ndarray

    def batches(self, size: int) -> Generator[Collated]:
        """Every sample once, ``size`` at a time."""
        starts = range(0, len(self.ids), size)
        return self.recipe.load(
            batch_sampler=(self.ids[start : start + size].tolist() for start in starts),
            num_workers=min(self.recipe.workers, len(starts)),
        )

    def first(self) -> Collated:
        """The first samples, at most `PROBE`."""
        return next(
            self.recipe.load(
                batch_sampler=[self.ids[:PROBE].tolist()],
                num_workers=min(self.recipe.workers, 1),
            )
        )


class Stream:
    """An iterable data set: one pass, in its own order."""

    def __init__(self, recipe: Recipe, n: int | None) -> None:
        self._recipe = recipe
        self._n = n
        self._random = _RandomState(recipe.seed)
        self._items = self._read()
        self._served = False

    def batches(self, size: int) -> Generator[Collated]:
        """Every sample once, ``size`` at a time."""
        self._still_unserved()
        self._served = True
        if self._recipe.workers:
            return self._recipe.load(batch_size=size)
        return _apart(self._groups(size), self._random)

    def first(self) -> Collated | None:
        """The first samples, at most `PROBE`, kept for `batches`; None if there are none."""
        self._still_unserved()
        size = PROBE if self._n is None else min(PROBE, self._n)
        if self._recipe.workers:
            return next(self._recipe.load(batch_size=size), None)
        with self._random.active():
            items = list(islice(self._items, size))
            self._items = chain(items, self._items)
            return self._recipe.collate(items) if items else None

    def _still_unserved(self) -> None:
        if self._served:
            raise SampleError(
                "an iterable data set serves one pass and has served it; give a data set with "
                "__getitem__ and __len__, or take measures and a memory= that need one pass"
            )

    def _read(self) -> Iterator[Any]:
        yield from islice(self._recipe.dataset, self._n)

    def _groups(self, size: int) -> Iterator[Collated]:
        while items := list(islice(self._items, size)):
            yield self._recipe.collate(items)


class _RandomState:
    """Global random states for a data set that draws from them in this process."""

    def __init__(self, seed: int) -> None:
        self._own: tuple[Any, ...] = (
            random.Random(seed).getstate(),
            np.random.MT19937(seed).state,
            torch.Generator().manual_seed(seed % 2**63).get_state(),
        )

    @contextmanager
    def active(self) -> Iterator[None]:
        outside = self._swap(self._own)
        try:
            yield
        finally:
            self._own = self._swap(outside)

    @staticmethod
    def _swap(new: tuple[Any, ...]) -> tuple[Any, ...]:
        old = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
        random.setstate(new[0])
        np.random.set_state(new[1])  # noqa: NPY002
        torch.set_rng_state(new[2])
        return old


def _apart(batches: Any, state: _RandomState) -> Generator[Collated]:
    with state.active():
        iterator = iter(batches)
    while True:
        with state.active():
            collated = next(iterator, None)
        if collated is None:
            return
        yield collated
