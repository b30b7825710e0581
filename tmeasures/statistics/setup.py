"""What a statistic is made for: one layer in one pass over the matrix."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Literal

import torch

from tmeasures.transformations.actions import Actions

Order = Literal["sample", "transformation"]

_CPU = torch.device("cpu")


def known(actions: Actions | str | None) -> Actions | None:
    """The actions, unless there is a reason in their place."""
    return actions if isinstance(actions, Actions) else None


@dataclass(frozen=True, kw_only=True)
class Setup:
    """One layer in one pass over the matrix.

    Attributes:
        shape: Of the layer's units.
        m: Columns of the whole matrix.
        tile: Samples and transformations of a tile, at most.
        order: In which tiles come.
        columns: Columns that are open at once; None: all of them.
        n: Rows of the matrix; None where that is not known before the last one.
        dims: Names of the layer's dims, where they matter.
        dtype: Of the activations.
        device: Where they are.
        identities: Columns of the identity.
        spread: Whether to keep sums of standard deviations too.
        errors: Whether to keep what standard errors take.
        actions: How the transformations act on the layer's outputs, where that matters.
        kernels: ``"numba"`` or ``"torch"``; None chooses by device.
    """

    shape: tuple[int, ...]
    m: int
    tile: tuple[int, int]
    order: Order = "sample"
    columns: int | None = None
    n: int | None = None
    dims: tuple[str, ...] = ()
    dtype: torch.dtype = torch.float32
    device: torch.device = _CPU
    identities: tuple[int, ...] = ()
    spread: bool = False
    errors: bool = False
    actions: Actions | None = None
    kernels: str | None = None

    @property
    def units(self) -> int:
        """Activations of the layer for one input."""
        return prod(self.shape)

    @property
    def kept(self) -> torch.dtype:
        """The precision in which single activations are kept."""
        return torch.float64 if self.dtype == torch.float64 else torch.float32

    @property
    def open_columns(self) -> int:
        """Columns that are open at once."""
        return self.m if self.columns is None else self.columns

    def identity_at(self, columns: range) -> int:
        """Where the first identity is among some columns; -1 if it is not."""
        at = self.identities[0] if self.identities else -1
        return at - columns.start if at in columns else -1

    @property
    def whole_rows(self) -> bool:
        """Whether a tile holds whole rows."""
        return self.tile[1] == self.m
