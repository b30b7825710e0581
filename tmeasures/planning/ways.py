"""What measures take to be kept, and the ways in which it can be spread over passes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

from tmeasures.errors import ArgumentError
from tmeasures.measures import Measure
from tmeasures.statistics import KINDS, Columns, Kind, Moments, Order, Rows
from tmeasures.statistics.base import Prelude
from tmeasures.statistics.distances import DistancesKind
from tmeasures.statistics.returned import ReturnedKind, fused

Piece = tuple[Kind, ...]
"""Statistics that one walk keeps together."""


@dataclass(frozen=True)
class Walk:
    """An order and the statistics that are kept in it, by name."""

    order: Order
    names: tuple[str, ...]


Way = tuple[Walk, ...]

_PIECES = 6  # can be spread in 203 ways, 7 in 877


@dataclass(frozen=True)
class Wanted:
    """What a run has to keep.

    Attributes:
        needs: From each measure, as given, to the quantities that it needs.
        distances: A kind for each metric and block, with all parts that are wanted.
        others: All other kinds that measures name.
        errors: Whether standard errors are asked for.
        stratified: Whether the matrix is walked a stratum at a time.
    """

    needs: Mapping[str, frozenset[str]]
    distances: tuple[DistancesKind, ...] = ()
    others: tuple[Kind, ...] = ()
    errors: bool = False
    stratified: bool = False

    @classmethod
    def by(cls, measures: Sequence[Measure], errors: bool, stratified: bool) -> Wanted:
        """What measures want."""
        kinds = [kind for measure in measures for kind in measure.kinds]
        distances = _joined([k for k in kinds if isinstance(k, DistancesKind)], errors)
        returned = fused([kind for kind in kinds if isinstance(kind, ReturnedKind)])
        rest = [kind for kind in kinds if not isinstance(kind, DistancesKind | ReturnedKind)]
        others = {kind.name: kind for kind in (*rest, *returned)}
        needs = {
            str(measure): measure.needs | (measure.error_needs if errors else frozenset())
            for measure in measures
        }
        return cls(needs, distances, tuple(others.values()), errors, stratified)

    @cached_property
    def kinds(self) -> dict[str, Kind]:
        """Every kind of statistic that a way may name, by name."""
        kinds: list[Kind] = [*self.others, *self.preludes]
        for kind in self.distances:
            kinds += [kind, *(kind.with_parts(frozenset({part})) for part in kind.parts)]
        return KINDS | {kind.name: kind for kind in kinds}

    @property
    def preludes(self) -> tuple[Prelude, ...]:
        """The kinds that are kept before others."""
        return tuple(dict.fromkeys(early for kind in self.others for early in kind.before))

    def asking(self, kind: Kind) -> str:
        """The measures that ask for a kind of statistic."""
        return ", ".join(name for name, needs in self.needs.items() if kind.provides & needs)

    @property
    def untransformed(self) -> str:
        """The measures that ask for untransformed inputs; empty where none does."""
        kinds = [kind for kind in self.others for kind in (kind, *kind.before)]
        asking = [self.asking(kind) for kind in kinds if kind.reference == "untransformed"]
        return ", ".join(dict.fromkeys(filter(None, asking)))

    @property
    def moves(self) -> bool:
        """Whether it takes to be known how the transformations act on outputs."""
        return any(kind.moves for kind in self.others)

    @property
    def inverts(self) -> bool:
        """Whether it takes the inverses of the transformations."""
        return any(kind.inverts for kind in self.others)

    @property
    def moments(self) -> frozenset[str]:
        """The quantities that moments, rows or columns give."""
        given = frozenset({"largest"}).union(
            *(kind.provides for kind in (*self.distances, *self.others, *self.preludes))
        )
        return frozenset().union(*self.needs.values()) - given

    def ways(self) -> Iterator[Way]:
        """Every way of spreading the pieces over walks, those of few walks first.

        A piece is a kind of statistic, or (of more than six) what is alike of several: all
        distances inside rows, say. Each walk of pieces that allow it comes in both orders. What is
        kept before others goes with the first of the sample-first walks before theirs, or (in a way
        that does not name it) in a prelude.
        """
        pieces = self._pieces()
        moments = {(Rows,), (Columns,)} & set(pieces)

        def fewest(spread: Sequence[Sequence[Piece]]) -> tuple[int, int]:
            # Apart, rows and columns give the error less exactly.
            return len(spread), sum(not moments.isdisjoint(some) for some in spread)

        for spread in sorted(_partitions(pieces), key=fewest):
            groups = sorted(spread, key=lambda some: min(map(pieces.index, some)))
            for orders in product(*map(self._orders, groups)):
                walks = sorted(zip(groups, orders, strict=True), key=_late)
                named = [Walk(order, self._names(some)) for some, order in walks]
                if shared := self._shared(walks, named):
                    yield shared
                yield tuple(named)

    def _pieces(self) -> list[Piece]:
        """What is kept, in pieces: as small as can be, and not too many to try all spreads."""
        whole, distances = self._whole(), self._parts()
        rows = [kind for kind in distances if kind.rows]
        blocks = [kind for kind in distances if not kind.rows]
        early = [kind for kind in self.others if not kind.before]
        late = [kind for kind in self.others if kind.before]
        kinds = (*whole, *rows, *blocks, *early, *late)
        if len(kinds) <= _PIECES:
            return [(kind,) for kind in kinds]
        groups: list[Sequence[Kind]] = [*((kind,) for kind in whole), rows, blocks, early, late]
        return [tuple(group) for group in groups if group]

    def _parts(self) -> list[DistancesKind]:
        """The distances, apart for rows and blocks; errors take both of a kind together."""
        found: list[DistancesKind] = []
        for kind in self.distances:
            parts = [kind.parts] if self.errors else [frozenset({part}) for part in kind.parts]
            found += [kind.with_parts(part) for part in parts]
        return found

    def _whole(self) -> tuple[Kind, ...]:
        """What gives all moments."""
        for kind in (Rows, Columns):
            if self.moments <= kind.provides:
                return (kind,)
        return Rows, Columns

    def _orders(self, pieces: Sequence[Piece]) -> tuple[Order, ...]:
        kinds = [kind for piece in pieces for kind in piece]
        if all(self._by_columns(kind) for kind in kinds):
            return "sample", "transformation"
        return ("sample",)

    def _by_columns(self, kind: Kind) -> bool:
        if isinstance(kind, DistancesKind):
            return not kind.sample_first(self.errors)
        return kind is Columns

    def _names(self, pieces: Sequence[Piece]) -> tuple[str, ...]:
        """The statistics that keep the pieces of a walk, each activation read by as few as can."""
        kinds = [kind for piece in pieces for kind in piece]
        moments: list[Kind] = [kind for kind in (Rows, Columns) if kind in kinds]
        if len(moments) == 2 and self.moments <= Moments.provides:
            moments = [Moments]
        distances: dict[str, DistancesKind] = {}
        for kind in kinds:
            if isinstance(kind, DistancesKind):
                distances[kind.key] = kind.joined(distances.get(kind.key, kind))
        others = [kind for kind in self.others if kind in kinds]
        return tuple(kind.name for kind in (*moments, *distances.values(), *others))

    def _shared(
        self, walks: Sequence[tuple[Sequence[Piece], Order]], named: Sequence[Walk]
    ) -> Way | None:
        """The way in which an earlier walk keeps what others wait for; None where there is none."""
        waiting = [i for i, walk in enumerate(walks) if _late(walk) == 1]
        if self.stratified or not waiting or waiting[0] == 0:
            return None
        names = (*named[0].names, *(kind.name for kind in self.preludes))
        return (Walk("sample", names), *named[1:])


def _late(walk: tuple[Sequence[Piece], Order]) -> int:
    """Where a walk comes: those that wait for others after the sample-first ones, then the rest."""
    pieces, order = walk
    if order == "transformation":
        return 2
    return int(any(kind.before for piece in pieces for kind in piece))


def _joined(kinds: Sequence[DistancesKind], errors: bool) -> tuple[DistancesKind, ...]:
    """One kind for each metric and block; distances inside rows in one of each metric only.

    Errors take those of each block, so that every kind keeps its own.
    """
    found: dict[str, DistancesKind] = {}
    first: dict[str, DistancesKind] = {}
    for kind in kinds:
        of_metric = first.setdefault(kind.quantity("rows"), kind)
        if of_metric.metric != kind.metric:
            raise ArgumentError(
                f"two metrics would both be {of_metric.key}: define them by def under names of "
                "their own, or measure with one at a time"
            )
        found[kind.key] = kind.joined(found.get(kind.key, kind))
    if errors:
        return tuple(found.values())
    seen: set[str] = set()
    kept: list[DistancesKind] = []
    for kind in sorted(found.values(), key=lambda kind: len(kind.parts), reverse=True):
        rows = kind.quantity("rows")
        parts = kind.parts - ({"rows"} if rows in seen else set())
        if kind.rows:
            seen.add(rows)
        if parts:
            kept.append(kind.with_parts(parts))
    return tuple(kept)


def _partitions(pieces: Sequence[Piece]) -> Iterator[tuple[tuple[Piece, ...], ...]]:
    """Every way to put pieces into groups, whose order does not matter."""
    if not pieces:
        yield ()
        return
    first, *rest = pieces
    for groups in _partitions(rest):
        yield ((first,), *groups)
        for at, group in enumerate(groups):
            yield (*groups[:at], (first, *group), *groups[at + 1 :])
