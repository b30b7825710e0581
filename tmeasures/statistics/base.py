"""What a statistic is: sums kept for one layer while its activations stream past."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal, Self

import torch
from torch import Tensor

from tmeasures.kernels import Backend, backend
from tmeasures.statistics.memory import MemoryOrder
from tmeasures.tile import Tile

Order = Literal["sample", "transformation"]


class Statistic(ABC):
    """Sums of the activations of one layer about a shift, updated a tile at a time.

    The state is float64, on the layer's device, flat over units in the layer's memory order, and
    does not grow with the number of samples. The tiles of a row come one after another, from its
    first column to its last; so do the tiles of a column when tiles come transformation-first.

    Args:
        m: Columns of the whole matrix.
        columns: Columns that are open at once: m, or those of a tile in transformation-first order.
        spread: Whether to keep the sum of standard deviations too, where the statistic can.
        kernels: ``"numba"`` or ``"torch"``; None chooses by device.
    """

    name: ClassVar[str]
    provides: ClassVar[frozenset[str]]
    """The quantities that `finalize` gives; see `tmeasures.statistics`."""

    def __init__(
        self, m: int, columns: int, *, spread: bool = False, kernels: str | None = None
    ) -> None:
        self.m, self.columns, self.spread = m, columns, spread
        self.n = 0
        self.order: MemoryOrder | None = None
        self._kernels = kernels

    @staticmethod
    @abstractmethod
    def unit_bytes(itemsize: int, tile: tuple[int, int], columns: int, m: int) -> int:
        """Bytes of state for one unit.

        Args:
            itemsize: Bytes of an activation as it is kept, 4 or 8.
            tile: Samples and transformations in a tile.
            columns: Columns open at once.
            m: Columns of the whole matrix.
        """

    def update(self, tile: Tile[Tensor]) -> None:
        """Fold a tile ``(sample, transformation, *unit)`` into the state, reading it once."""
        values = tile.values
        if values.device.type == "mps":  # has no float64
            values = values.cpu()
        if self.order is None:
            self.order = MemoryOrder.of(values)
            self.backend: Backend = backend(values.device, self._kernels)
            self._start(self.order.tile(values))
        self._fold(self.order.tile(values), tile.samples, tile.transformations)

    @abstractmethod
    def _start(self, x: Tensor) -> None:
        """Allocate the state for tiles like x, ``(outer, s, t, inner)``."""

    @abstractmethod
    def _fold(self, x: Tensor, samples: range, transformations: range) -> None:
        """Fold a tile in memory order into the state."""

    @abstractmethod
    def merge(self, other: Self) -> None:
        """Add the sums of another part of the matrix, moved to this state's shift.

        Both have closed their rows. Errors of merging are as small as those of adding.
        """

    @abstractmethod
    def quantities(self) -> dict[str, Tensor]:
        """The quantities in `provides` and ``largest``, flat in memory order; changes nothing."""

    def finalize(self) -> dict[str, Tensor]:
        """The quantities in `provides` and ``largest``, each ``(*unit,)``; changes nothing."""
        assert self.order is not None, "finalize before update"
        return {name: self.order.units(value) for name, value in self.quantities().items()}

    def _of(self, other: Statistic, flat: Tensor) -> Tensor:
        """A state of another part in this one's memory order."""
        assert self.order is not None, "merge before update"
        assert other.order is not None, "merge before update"
        if other.order == self.order:
            return flat
        return self.order.flat(other.order.units(flat))


def squares_about_mean(total: Tensor, squares: Tensor, count: int) -> Tensor:
    """Squares about the mean from the sum and the squares about a shift, never below 0."""
    return (squares - total.square() / count).clamp_(min=0)


def zeros(x: Tensor, *shape: int) -> Tensor:
    """A float64 state for the units of a tile in memory order."""
    return torch.zeros(*shape, x.shape[0] * x.shape[3], dtype=torch.float64, device=x.device)
