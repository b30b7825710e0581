"""What measures take to be kept, and the ways in which it can be spread over passes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tmeasures.errors import ArgumentError
from tmeasures.hints import called
from tmeasures.measures import Measure
from tmeasures.statistics import KINDS, Columns, Kind, Moments, Order, Rows
from tmeasures.statistics.distances import DistancesKind
from tmeasures.statistics.firing import FiringKind


@dataclass(frozen=True)
class Walk:
    """An order and the statistics that are kept in it, by name."""

    order: Order
    names: tuple[str, ...]


Way = tuple[Walk, ...]


@dataclass(frozen=True)
class Wanted:
    """What a run has to keep.

    Attributes:
        needs: From each measure, as given, to the quantities that it needs.
        distances: A kind for each metric and block, with all parts that are wanted.
        firing: Kinds that count what fires over a threshold.
        errors: Whether standard errors are asked for.
        stratified: Whether the matrix is walked a stratum at a time.
    """

    needs: Mapping[str, frozenset[str]]
    distances: tuple[DistancesKind, ...] = ()
    firing: tuple[FiringKind, ...] = ()
    errors: bool = False
    stratified: bool = False

    @classmethod
    def by(cls, measures: Sequence[Measure], errors: bool, stratified: bool) -> Wanted:
        """What measures want."""
        distances: dict[str, DistancesKind] = {}
        firing: dict[str, FiringKind] = {}
        for asking, kind in ((measure, kind) for measure in measures for kind in measure.kinds):
            if isinstance(kind, FiringKind):
                firing[kind.name] = kind
            elif isinstance(kind, DistancesKind):
                distances[kind.key] = kind.joined(distances.get(kind.key, kind))
            else:
                raise ArgumentError(
                    f"measure {asking} has the kind {called(kind)}, which plans do not know; "
                    "give kinds of DistancesKind or FiringKind, or needs of those that are kept"
                )
        needs = {
            str(measure): measure.needs | (measure.error_needs if errors else frozenset())
            for measure in measures
        }
        kinds = tuple(distances.values()), tuple(firing.values())
        return cls(needs, *kinds, errors=errors, stratified=stratified)

    @property
    def kinds(self) -> dict[str, Kind]:
        """Every kind of statistic that a way may name, by name."""
        kinds: list[Kind] = [*self.firing, *(kind.calibration for kind in self.firing)]
        for kind in self.distances:
            kinds += [kind, *(kind.with_parts(frozenset({part})) for part in kind.parts)]
        return KINDS | {kind.name: kind for kind in kinds}

    def asking(self, kind: Kind) -> str:
        """The measures that ask for a kind of statistic."""
        return ", ".join(name for name, needs in self.needs.items() if kind.provides & needs)

    @property
    def untransformed(self) -> bool:
        """Whether untransformed inputs are asked for."""
        return any(kind.reference == "untransformed" for kind in self.firing)

    @property
    def moments(self) -> frozenset[str]:
        """The quantities that moments, rows or columns give."""
        kinds: tuple[Kind, ...] = (*self.distances, *self.firing)
        given = frozenset({"largest"}).union(*(kind.provides for kind in kinds))
        return frozenset().union(*self.needs.values()) - given

    def ways(self) -> Iterator[Way]:
        """Every way that may be the best one, without the preludes that find thresholds."""
        yield from (self._calibrated(way) for way in self._ways())

    def _ways(self) -> Iterator[Way]:
        rows, blocks = self._parts("rows"), self._parts("blocks")
        all_parts, firing = _names(self.distances), _names(self.firing)
        apart = not self.errors or all(len(kind.parts) == 1 for kind in self.distances)
        # Blocks can be had column by column.
        by_columns = apart and not any(
            kind.with_parts(frozenset({"blocks"})).sample_first(self.errors)
            for kind in self.distances
            if "blocks" in kind.parts
        )
        whole = self._whole()
        yield (Walk("sample", (*whole, *all_parts, *firing)),)
        if whole == ("columns",) and not rows and not firing and by_columns:
            yield (Walk("transformation", (*whole, *blocks)),)
        if rows and blocks and apart:
            yield Walk("sample", (*whole, *blocks)), Walk("sample", (*rows, *firing))
        if blocks and by_columns and whole != ("columns",):
            yield (
                Walk("sample", (*whole, *rows, *firing)),
                Walk("transformation", blocks),
            )
        if whole == ("rows",) or (whole == ("columns",) and not (rows or firing)):
            return
        columns = Walk("transformation", ("columns",))
        yield Walk("sample", ("rows", *all_parts, *firing)), columns
        if blocks and by_columns:
            yield (
                Walk("sample", ("rows", *rows, *firing)),
                Walk("transformation", ("columns", *blocks)),
            )
        if rows and blocks and apart:
            yield (
                Walk("sample", ("rows", *blocks)),
                Walk("sample", (*rows, *firing)),
                columns,
            )

    def _whole(self) -> tuple[str, ...]:
        """What gives all moments in one sample-first pass."""
        for kind in (Rows, Columns, Moments):
            if self.moments <= kind.provides:
                return (kind.name,)
        return Rows.name, Columns.name

    def _parts(self, part: str) -> tuple[str, ...]:
        kinds = (kind for kind in self.distances if part in kind.parts)
        return tuple(kind.with_parts(frozenset({part})).name for kind in kinds)

    def _calibrated(self, way: Way) -> Way:
        """Thresholds come with an earlier sample-first pass of the way, where it has two.

        A way of a single one gets a second one where thresholds take the whole matrix anyway.
        """
        first = [walk for walk in way if walk.order == "sample"]
        if not self.firing or self.stratified:
            return way
        calibrations = tuple(dict.fromkeys(kind.calibration.name for kind in self.firing))
        if len(first) > 1:
            shared = Walk("sample", (*first[0].names, *calibrations))
            return (shared, *way[1:])
        if any(kind.calibration.whole for kind in self.firing):
            firing = _names(self.firing)
            rest = tuple(name for name in first[0].names if name not in firing)
            return (
                Walk("sample", (*rest, *calibrations)),
                *(walk for walk in way if walk.order != "sample"),
                Walk("sample", firing),
            )
        return way


def _names(kinds: Sequence[DistancesKind] | Sequence[FiringKind]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(kind.name for kind in kinds))
