"""Data sets read with torch's DataLoader: items -> collated batches, random states kept apart.

Inside the package only; `tmeasures.samples` is what the rest uses.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from traceback import format_exception
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import (
    DataLoader,
    Dataset,
    default_collate,
    default_convert,
    get_worker_info,
)

from tmeasures.errors import SampleError, TMeasuresError, TransformationError
from tmeasures.hints import kind, reason
from tmeasures.moving import Moves, is_picture
from tmeasures.seeding import RandomState, apart

PROBE = 3
"""Samples of a probe: the engine tries batches of two and of three."""

Collated = tuple[int, Any, Any]
"""Number of samples, their inputs (or the error in their place), their y."""


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
    inputs = [_without_pictures(x) for x in inputs]
    try:
        return default_collate(inputs)
    except (TypeError, ValueError, RuntimeError, KeyError) as error:
        raise (_unlike(inputs) or _unknown(inputs[0], error)) from error


def _without_pictures(item: Any) -> Any:
    """An item with uint8 tensors ``(channel, y, x)`` in the place of Pillow's images."""
    if isinstance(item, Mapping):
        if not any(map(is_picture, item.values())):
            return item
        return {key: _without_pictures(value) for key, value in item.items()}
    if not is_picture(item):
        return item
    values = np.array(item.convert("L") if item.mode == "1" else item)
    if values.dtype != np.uint8 or item.mode.startswith("P"):  # places in a palette are no light
        raise UnbatchableError(
            f"images of Pillow's mode {item.mode!r} cannot be batched; expected 8 bits a channel: "
            "call image.convert('RGB') in the data set"
        )
    return torch.from_numpy(values.reshape(*values.shape[:2], -1)).permute(2, 0, 1)


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
    why = "" if isinstance(error, TypeError) else f" ({reason(error)})"
    return UnbatchableError(
        f"items of type {kind(item)} cannot be batched{why}; expected tensors, arrays, numbers or "
        "mappings of them: convert them in the data set or in a collate_fn"
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
        given = {"dataset": self.dataset, "collate_fn": self.collate}
        loader: DataLoader[Collated] = DataLoader(**(given | self.settings | settings))
        # The seed of the workers, too, is drawn from the states that are ours.
        return apart(loader, RandomState(self.seed))

    def load_moved(
        self,
        moves: Sequence[Moves],
        requests: Iterable[tuple[list[int], int]],
        trying: bool = False,
        **settings: Any,
    ) -> Generator[Collated]:
        """A batch for each request: indices of samples, and under which of the moves."""
        return self.load(
            dataset=_Moved(self.dataset, self.collate, tuple(moves), self.seed, trying),
            collate_fn=_as_it_is,
            batch_size=None,
            sampler=requests,
            worker_init_fn=_Started(self.settings.get("worker_init_fn")),
            **settings,
        )


@dataclass(frozen=True, slots=True)
class _Moved(Dataset[Collated]):
    """Whole batches of a data set's items under moves, read and moved where workers are.

    Each item is read under global random states of its own, so that a data set that draws from
    them gives the same item whenever it is read again: a tile reads its own.
    """

    dataset: Any
    collate: Collate
    moves: tuple[Moves, ...]
    seed: int
    trying: bool

    def __getitem__(self, request: tuple[list[int], int]) -> Collated:
        ids, each = request
        return _moved([*map(self._read, ids)], ids, self.collate, self.moves[each], self.trying)

    def _read(self, sample: int) -> Any:
        # A key of its own keeps it apart from what callables draw for the same sample.
        sequence = np.random.SeedSequence((self.seed, sample), spawn_key=(0,))
        with RandomState(int(sequence.generate_state(1, np.uint64)[0])).active():
            return self.dataset[sample]


@dataclass(frozen=True, slots=True)
class _Started:
    """A ``worker_init_fn`` that finds the data set itself in the worker's information."""

    function: Callable[[int], None] | None

    def __call__(self, worker: int) -> None:
        info: Any = get_worker_info()
        object.__setattr__(info, "dataset", info.dataset.dataset)  # it forbids to set it
        if self.function is not None:
            self.function(worker)


def _as_it_is(value: Any) -> Any:
    return value


def _uncollated(items: list[Any]) -> Collated:
    return len(items), items, None


def _moved(
    items: list[Any], ids: list[int], collate: Collate, moves: Moves, trying: bool
) -> Collated:
    """Items under moves, sample by sample; where they are tried, under the first one only."""
    count = len(items)
    try:
        with torch.no_grad():
            if trying:
                return _tried(items, ids, collate, moves)
            pairs = zip(items, ids, strict=True)
            moved = [each for item, sample in pairs for each in moves.apply(item, sample)]
            _, inputs, y = collate(moved)
    except TMeasuresError as error:
        if error.__cause__ is not None and get_worker_info() is not None:
            error.add_note("".join(format_exception(error.__cause__)))  # workers send no cause
        return count, error, None
    if isinstance(inputs, UnbatchableError):
        why, *places = inputs.args
        inputs = UnbatchableError(why, *dict.fromkeys(place // len(moves) for place in places))
    return count, inputs, y


def _tried(items: list[Any], ids: list[int], collate: Collate, moves: Moves) -> Collated:
    columns = zip(*map(moves.try_out, items, ids), strict=True)
    first: Collated | None = None
    for move, column in zip(moves.each, columns, strict=True):
        found = collate(list(column))
        if isinstance(found[1], UnbatchableError):
            return found
        first = first or found
        mine, its = _form(first[1]), _form(found[1])
        if mine != its:
            raise TransformationError(
                f"{moves.each[0].name!r} gives items {mine} but {move.name!r} gives {its}: those "
                "of one set must agree, so crop, resize or convert to one form"
            )
    assert first is not None
    return first


def _form(inputs: Any) -> str:
    """Dtypes and shapes of one sample's inputs, as an error says them."""
    if isinstance(inputs, Mapping):
        return ", ".join(f"{key} {_form(value)}" for key, value in inputs.items())
    if not isinstance(inputs, Tensor | np.ndarray):
        return kind(inputs)
    return f"{tuple(inputs.shape[1:])} {str(inputs.dtype).removeprefix('torch.')}"


@dataclass(frozen=True, slots=True)
class Items:
    """A map-style data set, fetched by our index lists."""

    recipe: Recipe
    ids: np.ndarray

    def batches(self, size: int, moves: Sequence[Moves] = ()) -> Generator[Collated]:
        """Every sample once, ``size`` at a time; with moves, each batch once for each of them."""
        starts = range(0, len(self.ids), size)
        batches = (self.ids[start : start + size].tolist() for start in starts)
        workers = min(self.recipe.workers, len(starts) * max(1, len(moves)))
        if not moves:
            return self.recipe.load(batch_sampler=batches, num_workers=workers)
        requests = ((ids, each) for ids in batches for each in range(len(moves)))
        return self.recipe.load_moved(moves, requests, num_workers=workers)

    def first(self, moves: Moves | None = None) -> Collated:
        """The first samples, at most `PROBE`, under the first move; all moves are tried."""
        ids = self.ids[:PROBE].tolist()
        workers = min(self.recipe.workers, 1)
        if moves is None:
            return next(self.recipe.load(batch_sampler=[ids], num_workers=workers))
        return next(self.recipe.load_moved([moves], [(ids, 0)], trying=True, num_workers=workers))


class Stream:
    """An iterable data set: one pass, in its own order."""

    def __init__(self, recipe: Recipe, n: int | None) -> None:
        self._recipe = recipe
        self._n = n
        self._random = RandomState(recipe.seed)
        self._items = self._read()
        self._served = False

    def batches(self, size: int, moves: Sequence[Moves] = ()) -> Generator[Collated]:
        """Every sample once, ``size`` at a time; with moves, each batch once for each of them.

        Workers do not know how samples are numbered, so that items are moved in this process.
        """
        self._still_unserved()
        self._served = True
        if moves:
            return apart(self._moved_groups(size, moves), self._random)
        if self._recipe.workers:
            return self._recipe.load(batch_size=size)
        return apart(map(self._recipe.collate, self._groups(size)), self._random)

    def first(self, moves: Moves | None = None) -> Collated | None:
        """The first samples, at most `PROBE`, kept for `batches`; None if there are none.

        With moves, under the first one; all are tried.
        """
        self._still_unserved()
        size = PROBE if self._n is None else min(PROBE, self._n)
        if self._recipe.workers and moves is None:
            return next(self._recipe.load(batch_size=size), None)
        with self._random.active():
            if self._recipe.workers:
                items = next(self._groups(size), [])
            else:
                items = list(islice(self._items, size))
                self._items = chain(items, self._items)
            if not items or moves is None:
                return self._recipe.collate(items) if items else None
            return _moved(items, [*range(len(items))], self._recipe.collate, moves, trying=True)

    def _still_unserved(self) -> None:
        if self._served:
            raise SampleError(
                "an iterable data set serves one pass and has served it; give a data set with "
                "__getitem__ and __len__, or take measures and a memory= that need one pass"
            )

    def _read(self) -> Iterator[Any]:
        yield from islice(self._recipe.dataset, self._n)

    def _groups(self, size: int) -> Iterator[list[Any]]:
        """Items as they are given."""
        if self._recipe.workers:
            plain = {"collate_fn": _uncollated, "pin_memory": False}
            yield from (items for _, items, _ in self._recipe.load(batch_size=size, **plain))
            return
        while items := list(islice(self._items, size)):
            yield items

    def _moved_groups(self, size: int, moves: Sequence[Moves]) -> Iterator[Collated]:
        start = 0
        for items in self._groups(size):
            ids = [*range(start, start + len(items))]
            for each in moves:
                yield _moved(items, ids, self._recipe.collate, each, trying=False)
            start += len(items)
