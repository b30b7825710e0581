"""Global random states of Python, numpy and torch, set for a while and put back.

Inside the package only.
"""

from __future__ import annotations

import random
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch

T = TypeVar("T")


class RandomState:
    """Global random states for a data set that draws from them in this process.

    Args:
        seed: Of all three.
    """

    def __init__(self, seed: int) -> None:
        self._own: tuple[Any, ...] = (
            random.Random(seed).getstate(),
            np.random.MT19937(seed).state,
            torch.Generator().manual_seed(seed % 2**63).get_state(),
        )

    @contextmanager
    def active(self) -> Iterator[None]:
        """They stand in the place of those outside, which come back as they were."""
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


def apart(values: Iterable[T], state: RandomState) -> Generator[T]:
    """The values, each made under a state of their own; those outside are left alone."""
    with state.active():
        iterator = iter(values)
    while True:
        with state.active():
            try:
                value = next(iterator)
            except StopIteration:
                return
        yield value
