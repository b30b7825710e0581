"""Tile: what one step of a walk hands on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

V = TypeVar("V")
W = TypeVar("W")


@dataclass(frozen=True, slots=True)
class Tile(Generic[V]):
    """A block of the samples x transformations matrix and the activations in it.

    Inside the network's hooks ``values`` is one layer's tensor, ``(sample, transformation,
    *unit)``; from `tmeasures.walk` it maps each layer's name to such a tensor.

    Attributes:
        samples: Positions of the rows in the seeded order, a range.
        transformations: Indices of the columns, a range.
        ids: Where each row stands in the data set, ``(sample,)`` int64.
        labels: Labels of the rows, ``(sample,)``, or None.
        values: The activations.
    """

    samples: range
    transformations: range
    ids: np.ndarray
    labels: np.ndarray | None
    values: V

    def holding(self, values: W) -> Tile[W]:
        """The same tile with other values."""
        return Tile(self.samples, self.transformations, self.ids, self.labels, values)
