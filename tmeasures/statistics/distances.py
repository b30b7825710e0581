"""The kinds of sums of distances: what measures ask for and plans name."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tmeasures.statistics.base import Kind
from tmeasures.statistics.pairs import Distances, Pairs
from tmeasures.statistics.setup import Setup
from tmeasures.transformations.actions import Actions


@dataclass(frozen=True)
class DistancesKind(Pairs, Kind):
    """Sums of the distances of pairs, by metric and block.

    Row i of the seeded order belongs to block ``i // block``, whatever the tiles. The names of the
    quantities start with its key, as ``distances/blocks`` or ``distances(vectors)/blocks`` does;
    that of ``rows`` says the metric alone, for the block makes no difference to it:

    ===================  ======================================================================
    ``rows``             distances of the pairs inside rows, over all rows
    ``blocks``           distances of the pairs of rows inside blocks, over columns and blocks
    ``row_spread``       squares of ``T_b`` about their mean, over the blocks of 2 rows or more
    ``block_spread``     the same of ``S_b``
    ``spread_together``  products of the two
    ===================  ======================================================================

    ``T_b`` is the average distance ``sum_{p,q} / m^2`` in a row of block b, ``S_b`` the mean
    distance of two of its rows, over all columns. The last three need a setup with errors, and
    blocks that are not all rows.

    Kinds of one key differ only in their parts, which one statistic sums in one read.
    """

    @property
    def name(self) -> str:
        """See `Kind.name`."""
        of = "" if len(self.parts) == 2 else "row " if self.rows else "block "
        return f"{of}{self.key}"

    @property
    def provides(self) -> frozenset[str]:
        """See `Kind.provides`."""
        found = [*self.parts]
        if self.block is not None:
            found += [f"{part[:-1]}_spread" for part in self.parts]
            found += ["spread_together"] if len(self.parts) == 2 else []
        return frozenset(map(self.quantity, found))

    def with_parts(self, parts: frozenset[str]) -> DistancesKind:
        """The same with other parts."""
        return replace(self, parts=parts)

    def joined(self, other: DistancesKind) -> DistancesKind:
        """The kind with the parts of both, which have one key and one metric."""
        return self.with_parts(self.parts | other.parts)

    def sample_first(self, errors: bool) -> bool:
        """Whether tiles must come sample-first: errors take a block's mean over all columns."""
        return self.rows or errors

    def block_rows(self, n: int | None) -> int | None:
        """Rows of a block; None where no blocks are wanted."""
        return (self.block or n) if self.blocks else None

    def pairs(self, n: int) -> int:
        """Pairs of rows inside the blocks of n rows."""
        block = self.block or n
        rest = n % block
        return n // block * (block * (block - 1) // 2) + rest * (rest - 1) // 2

    def spread_blocks(self, n: int) -> int:
        """Blocks of 2 rows or more among n rows."""
        block = self.block or n
        return n // block + (n % block > 1)

    def check(self) -> None:
        """Try the metric; see `Metric.check`."""
        self.metric.check()

    @property
    def closes_rows(self) -> bool:
        """See `Kind.closes_rows`."""
        return self.rows

    def applies(self, dims: tuple[str, ...], actions: Actions | str | None = None) -> str | None:
        """See `Kind.applies`: feature maps take a dim of channels."""
        if not self.metric.vectors or "channel" in dims:
            return None
        return f"feature maps take a dim 'channel' and the dims are {', '.join(dims) or 'none'}"

    def state_bytes(self, setup: Setup) -> int:
        """See `Kind.state_bytes`."""
        return Distances.state_bytes(setup, self)

    def __call__(self, setup: Setup) -> Distances:
        """See `Kind.__call__`."""
        return Distances(setup, self)
