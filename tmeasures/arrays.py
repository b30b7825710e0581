"""Tensors, arrays and mappings of them, checked and indexed by row: samples in memory, batches.

Inside the package only; `tmeasures.samples` is what the rest uses.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from tmeasures.errors import ArgumentError, SampleError
from tmeasures.hints import called, near
from tmeasures.loading import PROBE, Collated


@dataclass(frozen=True, slots=True)
class InMemory:
    """A tensor, an array, or a dictionary of them: rows are gathered by index."""

    data: Any
    ids: np.ndarray

    def batches(self, size: int) -> Generator[Collated]:
        """Every sample once, ``size`` at a time."""
        for start in range(0, len(self.ids), size):
            yield self._take(self.ids[start : start + size])

    def first(self) -> Collated:
        """The first samples, at most `PROBE`."""
        return self._take(self.ids[:PROBE])

    def _take(self, ids: np.ndarray) -> Collated:
        if isinstance(self.data, dict):
            return len(ids), {name: rows(value, ids) for name, value in self.data.items()}, None
        return len(ids), rows(self.data, ids), None


def checked(data: Any, labels: Any) -> tuple[Any, Any]:
    """Tensors, arrays and dictionaries of them, checked; anything with items as it is."""
    if isinstance(data, tuple | list) and len(data) == 2 and all(map(_is_array, data)):
        x, y = data
        # A list of two unlike arrays with an axis each or more may be items by mistake.
        most = 2 if isinstance(data, tuple) else 1
        if x.shape != y.shape and x.ndim > 1 and 1 <= y.ndim <= most:
            _check_pair(x.shape, y.shape)
            data, labels = x, y if labels is None else labels
    if isinstance(data, Mapping):
        data = dict(data)
        if isinstance(labels, str):
            data, labels = withhold(data, labels)
        return {name: _array(value, f" under {name!r}") for name, value in data.items()}, labels
    if _is_array(data):
        if isinstance(labels, str):
            raise ArgumentError(
                f"labels={labels!r} names a key, but the samples are no mapping; give one label "
                "per sample"
            )
        return _array(data, ""), labels
    if isinstance(data, str | bytes | os.PathLike):
        raise SampleError(
            f"the samples are the path {str(data)!r}, expected what lies there: load it, say with "
            "np.load or torchvision.datasets.ImageFolder"
        )
    if isinstance(data, type) or not hasattr(data, "__getitem__"):
        raise SampleError(
            f"the samples are {called(data)}; give a tensor, an array, a mapping of such, or a "
            "Dataset, DataLoader or list of items"
        )
    return data, labels


def _check_pair(x: Any, y: Any) -> None:
    """Whether the shapes of x and y are those of samples and one label each."""
    if len(y) == 1 and x[0] == y[0]:
        return
    found = f"samples (x, y) have an x of shape {tuple(x)} and a y of shape {tuple(y)}"
    if x[0] != y[0]:
        raise SampleError(f"{found}; give one label for each input")
    how = "y[:, 0]" if tuple(y[1:]) == (1,) else "y.argmax(1) where it is one-hot"
    raise SampleError(f"{found}; expected one label for each, so give {how}, or x alone")


def equal_lengths(data: Any) -> int:
    """The number of samples; an error where the arrays of a mapping differ in it."""
    lengths = {k: len(v) for k, v in data.items()} if isinstance(data, dict) else {"": len(data)}
    if not lengths:
        raise SampleError("the samples are an empty mapping; give at least one array by name")
    if len(set(lengths.values())) > 1:
        raise SampleError(
            f"the mapping holds lengths {lengths}; expected equal ones: give each a first axis of "
            "samples"
        )
    return next(iter(lengths.values()))


def withhold(mapping: Any, key: str) -> tuple[dict[str, Any], Any]:
    """A mapping without a key, and what the key held."""
    if not isinstance(mapping, Mapping) or key not in mapping:
        keys = list(mapping) if isinstance(mapping, Mapping) else []
        found = f"have only {keys}" if keys else "are no mapping"
        raise ArgumentError(
            f"labels={key!r} names a key, but the samples {found}{near(key, keys)}; give one of "
            "their keys, or one label per sample"
        )
    rest = dict(mapping)
    return rest, rest.pop(key)


def tensors(inputs: Any, count: int) -> torch.Tensor | dict[str, Any]:
    """The batch as tensors, each checked to have a row per sample."""
    if isinstance(inputs, Mapping):
        batch = {name: _tensor(value, count) for name, value in inputs.items()}
        if any(isinstance(value, torch.Tensor) for value in batch.values()):
            return batch
        raise SampleError(
            f"mapping items hold no tensor, only {list(batch)}; give at least one, as a tensor or "
            "an array"
        )
    batch = _tensor(inputs, count)
    if isinstance(batch, torch.Tensor):
        return batch
    raise SampleError(
        f"a batch is {called(batch)}; expected a tensor, (x, y) or a mapping of tensors: convert "
        "items in the data set or in a collate_fn"
    )


def _tensor(value: Any, count: int) -> Any:
    if isinstance(value, np.ndarray):
        value = rows(value, np.arange(len(value)))
    if not isinstance(value, torch.Tensor):
        return value
    if value.shape[:1] != (count,):
        raise SampleError(
            f"a batch of {count} samples has shape {tuple(value.shape)}; expected {count} as its "
            "first axis: mend the collate_fn"
        )
    return value.detach()


def head(inputs: torch.Tensor | dict[str, Any], keep: int, count: int) -> Any:
    """The first ``keep`` of the ``count`` samples of a batch."""
    if isinstance(inputs, torch.Tensor):
        return inputs[:keep]
    rows = {k for k, v in inputs.items() if isinstance(v, torch.Tensor | list) and len(v) == count}
    return {k: v[:keep] if k in rows else v for k, v in inputs.items()}


def _is_array(value: Any) -> bool:
    return isinstance(value, torch.Tensor) or hasattr(value, "__array__")


def _array(value: Any, where: str) -> Any:
    """A tensor, or an array of a dtype that torch has in some byte order, with a first axis."""
    if not _is_array(value):
        raise SampleError(
            f"the samples{where} are {called(value)}; give a tensor or an array, say np.array(...)"
        )
    if not isinstance(value, torch.Tensor):
        value = np.asarray(value)
        try:
            rows(value[:0] if value.ndim else value.reshape(1)[:0], np.arange(0))
        except TypeError as error:
            raise SampleError(
                f"the samples{where} have dtype {value.dtype}, which torch lacks; convert them to "
                "a float or integer dtype"
            ) from error
    if value.ndim == 0:
        raise SampleError(
            f"the samples{where} are a single number of shape (); give them a first axis of samples"
        )
    return value


def rows(value: torch.Tensor | np.ndarray, ids: np.ndarray) -> torch.Tensor:
    """The rows of these indices as a tensor."""
    if isinstance(value, torch.Tensor):
        return value[torch.from_numpy(ids).to(value.device)]
    found = np.asarray(value[ids])
    return torch.from_numpy(found.astype(found.dtype.newbyteorder("="), copy=False))
