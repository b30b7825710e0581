"""What a statistic is: sums kept for one layer while its activations stream past."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal, Protocol, Self

import torch
from torch import Tensor

from tmeasures.kernels import Backend, backend
from tmeasures.statistics.memory import MemoryOrder
from tmeasures.statistics.setup import Setup
from tmeasures.tile import Tile
from tmeasures.transformations.actions import Actions

# Activations of a chunk of units: temporaries of 8 MB.
_CHUNK = 2**20

Reference = Literal["untransformed", "transformed"]
"""Inputs that a statistic looks at: the samples as they are, or the matrix."""


class Kind(Protocol):
    """A kind of statistic: the class of one without parameters, or an object with its parameters.

    Classes of such objects derive from it: what they do not say is as here.
    """

    @property
    def name(self) -> str:
        """The name in plans."""

    @property
    def provides(self) -> frozenset[str]:
        """The quantities that a statistic of it gives; see `tmeasures.statistics`."""

    @property
    def reference(self) -> Reference:
        """Whether it looks at the untransformed samples too."""
        return "transformed"

    @property
    def before(self) -> tuple[Prelude, ...]:
        """Kinds whose quantities a walk before must have given."""
        return ()

    @property
    def signs(self) -> int:
        """How many numbers each of its quantities has for an activation."""
        return 1

    @property
    def moves(self) -> bool:
        """Whether it takes to be known how the transformations act on a layer's outputs."""
        return False

    @property
    def inverts(self) -> bool:
        """Whether it takes the inverses of the transformations."""
        return False

    @property
    def closes_rows(self) -> bool:
        """Whether it holds the activations of rows that a tile does not close."""
        return False

    def state_bytes(self, setup: Setup) -> int:
        """Bytes of state for one layer."""

    def applies(self, dims: tuple[str, ...], actions: Actions | str | None = None) -> str | None:
        """Why it can not be kept of a layer; None where it can.

        Args:
            dims: Of the layer.
            actions: How the transformations act on its outputs, or why that is not known; None
                where no kind asks.
        """
        return None

    def __call__(self, setup: Setup) -> Statistic:
        """An empty statistic for one layer."""


class Prelude(Kind, Protocol):
    """A kind of statistic that is kept before others, often of a few samples only."""

    def rows(self, n: int, m: int) -> int:
        """How many samples it looks at, the first ones."""


class Statistic(ABC):
    """Sums of the activations of one layer, updated a tile at a time.

    The state is float64, on the layer's device, flat over units in the layer's memory order, and
    does not grow with the number of samples. It is allocated at once: memory taken between the
    outputs of a forward pass would keep the allocator from using theirs again. The tiles of a row
    come one after another, from its first column to its last; so do the tiles of a column when
    tiles come transformation-first.

    Args:
        setup: The layer, the matrix and the pass.
    """

    name: ClassVar[str]
    provides: ClassVar[frozenset[str]]
    """The quantities that `finalize` gives; see `tmeasures.statistics`."""
    reference: ClassVar[Reference] = "transformed"
    before: ClassVar[tuple[Prelude, ...]] = ()
    signs: ClassVar[int] = 1
    moves: ClassVar[bool] = False
    inverts: ClassVar[bool] = False
    closes_rows: ClassVar[bool] = False

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        device = setup.device
        self.device = torch.device("cpu") if device.type == "mps" else device  # has no float64
        self.backend: Backend = backend(self.device, setup.kernels)
        self.order: MemoryOrder | None = None
        self.n = 0
        self._allocate()

    @staticmethod
    @abstractmethod
    def state_bytes(setup: Setup) -> int:
        """Bytes of state for one layer."""

    @staticmethod
    def applies(dims: tuple[str, ...], actions: Actions | str | None = None) -> str | None:
        """See `Kind.applies`."""
        return None

    def take(self, found: Mapping[str, Tensor]) -> None:
        """Take what statistics before have found, before the first update; nothing by default."""

    def update(self, tile: Tile[Tensor]) -> None:
        """Fold a tile ``(sample, transformation, *unit)`` into the state, reading it once."""
        values = tile.values.to(self.device)
        if self.order is None:
            self.order = MemoryOrder.of(values)
        self._fold(self.order.tile(values), tile.samples, tile.transformations)

    def _untransformed(self, tile: Tile[Tensor]) -> Tensor | None:
        """The untransformed samples, ``(sample, *unit)``; None where others of a row have them."""
        if tile.reference is not None:
            return tile.reference
        at = self.setup.identity_at(tile.transformations)
        return None if at < 0 else tile.values[:, at]

    @abstractmethod
    def _allocate(self) -> None:
        """Allocate the state."""

    @abstractmethod
    def _fold(self, x: Tensor, samples: range, transformations: range) -> None:
        """Fold a tile in memory order, ``(outer, s, t, inner)``, into the state."""

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

    def _zeros(self, *shape: int) -> Tensor:
        """A float64 state ``(*shape, unit)``."""
        return torch.zeros(*shape, self.setup.units, dtype=torch.float64, device=self.device)

    def _activations(self, *shape: int) -> Tensor:
        """A state of activations ``(*shape, unit)`` in the precision they are kept in."""
        return torch.zeros(*shape, self.setup.units, dtype=self.setup.kept, device=self.device)

    def _of(self, other: Statistic, flat: Tensor) -> Tensor:
        """A state of another part in this one's memory order."""
        assert self.order is not None, "merge before update"
        assert other.order is not None, "merge before update"
        if other.order == self.order:
            return flat
        return self.order.flat(other.order.units(flat))


def squares_about_mean(total: Tensor, squares: Tensor, count: int | Tensor) -> Tensor:
    """Squares about the mean from the sum and the squares about a shift, never below 0."""
    return (squares - total.square() / count).clamp_(min=0)


def chunks(units: int, m: int) -> Iterator[slice]:
    """Units that are taken together, so that ``(m, unit)`` temporaries stay small."""
    some = max(1, _CHUNK // m)
    return (slice(at, min(at + some, units)) for at in range(0, units, some))
