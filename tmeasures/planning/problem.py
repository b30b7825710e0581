"""What a plan is made for, and what a way through the matrix would take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import isqrt
from typing import Literal

from tmeasures.capture import Layer, Probe
from tmeasures.plan import Pass
from tmeasures.planning.ways import Walk, Wanted, Way
from tmeasures.statistics import Kind, Setup
from tmeasures.statistics.distances import DistancesKind

# Inputs in a tile where memory is no concern: kernels are as fast from 64 to 256 on a CPU, clearly
# slower at 32; a GPU takes more to be filled.
_BATCH = {"cpu": 256}
_BATCH_ELSEWHERE = 512
# Inputs in a tile at most where that saves holding the rows of a block.
_BLOCK_BATCH = 1024
# Tiles over this many bytes gain nothing on a CPU (they only fault in more memory), so the batch
# is cut down to 32 inputs at the least.
_TILE_BYTES, _SMALL_BATCH = 2**31, 32
# Bytes of the process for a byte of a tile: between outputs of many sizes the C library's heap
# keeps holes. Seen: 1.0 for SimpleConv, 1.1 to 1.5 for a residual network, tuned allocator or not.
_HEAP = {"cpu": 1.3}
# The least samples in a tile when m is beyond it: column state is touched once per tile.
ROWS = 8
# The most transformations in a tile: a row of a tile is summed about its first value, which may be
# an outlier; with 64 columns that costs 64**2 roundings at most, 2e-13.
_COLUMNS = 64
# Numbers of groups of layers that are tried, beside one group for each layer.
_GROUPS = (*range(1, 33), 48, 64, 96, 128, 192, 256)


def tile_shape(batch: int, n: int | None, m: int) -> tuple[int, int]:
    """Samples and transformations of a tile of at most ``batch`` inputs.

    Whole rows where 8 of them fit or m is small; else about as many samples as transformations,
    which keeps both the column state (touched once per tile) and the open rows' state cheap. A last
    tile of a single input is avoided where that is possible: torch takes other paths for it.

    >>> tile_shape(256, 1000, 16), tile_shape(256, 1000, 4224), tile_shape(256, 2, 4224)
    ((16, 16), (16, 16), (2, 64))
    """
    most = batch if n is None else min(batch, n)
    root = max(1, isqrt(batch))
    t = m if m * min(ROWS, most) <= batch or m <= min(2 * root, batch) else root
    t = min(t, _COLUMNS)
    s = max(1, min(most, batch // t))
    t = min(m, batch // s, _COLUMNS)
    while n is not None and s > 2 and min(t, m % t or t) == 1 and n % s == 1:
        s, t = (s, t - 1) if s == ROWS and t > 2 else (s - 1, t)
    return s, t


@dataclass(frozen=True)
class Problem:
    """What a plan is made for.

    Attributes:
        network: Class of the network.
        wanted: What has to be kept.
        layers: The layers measured.
        n: Samples, or None.
        m: Transformations.
        probe: The memory of a forward pass.
        input_bytes: Of one input.
        result_bytes: Of the result, for one activation.
        memory: Bytes allowed for state and tile.
        batch_size: Inputs in a tile, or None.
        device: Type of the device.
        iterable: Whether the samples serve one reading only.
        identities: Columns of the identity.
        stratify: ``"mean"``, ``"each"``, or None.
        strata: Samples in each stratum.
        reads_labels: Whether the samples are read once more before, for their labels.
    """

    network: str
    wanted: Wanted
    layers: Sequence[Layer]
    n: int | None
    m: int
    probe: Probe
    input_bytes: int
    result_bytes: int
    memory: int
    batch_size: int | None
    device: str
    iterable: bool
    identities: tuple[int, ...] = ()
    stratify: Literal["mean", "each"] | None = None
    strata: tuple[int, ...] = ()
    reads_labels: bool = False

    @cached_property
    def kinds(self) -> dict[str, Kind]:
        """Every kind of statistic that may be kept, by name."""
        return self.wanted.kinds

    @property
    def spread(self) -> bool:
        """Whether standard deviations are summed."""
        return bool(self.wanted.moments & {"row_deviations", "column_deviations"})

    @property
    def rows(self) -> int | None:
        """Samples of the largest matrix that is walked."""
        return max(self.strata, default=self.n)

    @cached_property
    def units(self) -> int:
        """Activations of all layers."""
        return sum(layer.n_units for layer in self.layers)

    def setup(self, p: Pass, layer: Layer) -> Setup:
        """What a statistic of a pass and a layer is made for."""
        n = self.n if p.prelude else self.rows
        return p.setup(
            layer,
            m=self.m,
            n=None if self.iterable else n,
            identities=self.identities,
            spread=self.spread,
            errors=self.wanted.errors,
        )

    def state_bytes(self, passes: Sequence[Pass]) -> int:
        """Bytes of state at most: groups of layers and preludes come one after another."""
        groups: dict[tuple[bool, tuple[str, ...] | None], int] = {}
        for p in passes:
            at, each = (p.prelude, p.layers), self._bytes(replace(p, layers=None))
            names = each if p.layers is None else p.layers
            groups[at] = groups.get(at, 0) + sum(each[name] for name in names)
        return max(groups.values()) + self.threshold_bytes

    def _bytes(self, p: Pass) -> dict[str, int]:
        """Bytes of state of each layer for a pass over all of them."""
        if p not in self._known_bytes:
            kinds = [self.kinds[name] for name in p.statistics]
            self._known_bytes[p] = {
                layer.name: sum(
                    kind.state_bytes(self.setup(p, layer))
                    for kind in kinds
                    if kind.applies(layer.dims) is None
                )
                for layer in self.layers
            }
        return self._known_bytes[p]

    @cached_property
    def _known_bytes(self) -> dict[Pass, dict[str, int]]:
        return {}

    @property
    def threshold_bytes(self) -> int:
        """Bytes of all thresholds."""
        return self.units * sum(8 * kind.signs for kind in self.wanted.firing)

    def tile_bytes(self, inputs: int) -> int:
        """Bytes of a tile: inputs before and after the warp, and the forward pass."""
        each = self.probe.bytes_per_input + 3 * self.input_bytes
        return int((self.probe.bytes_fixed + inputs * each) * _HEAP.get(self.device, 1.0))

    def bytes(self, passes: Sequence[Pass]) -> int:
        """Bytes of state and of the largest tile."""
        return self.state_bytes(passes) + self.tile_bytes(largest_tile(passes))

    def ways(self) -> list[Way]:
        """The ways that the samples allow."""
        found = self.wanted.ways()
        return [way for way in found if not self.iterable or self._one_reading(way)]

    def _one_reading(self, way: Way) -> bool:
        return len(way) == 1 and way[0].order == "sample" and not self.wanted.firing

    def passes(self, way: Way, batch: int, groups: int) -> tuple[Pass, ...]:
        """A way with tiles of ``batch`` inputs, repeated for groups of layers."""
        found = [self._pass(walk, batch, names) for names in self.partition(groups) for walk in way]
        return (*self._preludes(batch, found), *found)

    def partition(self, groups: int) -> list[tuple[str, ...] | None]:
        """Groups of consecutive layers of about as many activations each; None: all of them."""
        if groups == 1:
            return [None]
        if groups >= len(self.layers):
            return [(layer.name,) for layer in self.layers]
        parts: list[list[str]] = [[] for _ in range(groups)]
        seen = 0
        for layer in self.layers:
            middle = seen + layer.n_units / 2
            parts[min(int(middle * groups / self.units), groups - 1)].append(layer.name)
            seen += layer.n_units
        return [tuple(part) for part in parts if part]

    def _preludes(self, batch: int, walks: Sequence[Pass]) -> Iterator[Pass]:
        """Passes that find thresholds which no walk finds, over all strata."""
        if self.n is None:
            return
        wanted = dict.fromkeys(kind.calibration for kind in self.wanted.firing)
        calibrated = {name for p in walks for name in p.statistics}
        kinds = [kind for kind in wanted if kind.name not in calibrated]
        for reference in dict.fromkeys(kind.reference for kind in kinds):
            alone = reference == "untransformed"
            chosen = [kind for kind in kinds if kind.reference == reference]
            rows = max(kind.rows(self.n, self.m) for kind in chosen)
            s, t = (min(batch, rows), 1) if alone else tile_shape(batch, rows, self.m)
            whole = Pass(
                order="sample",
                statistics=tuple(kind.name for kind in chosen),
                samples=s,
                transformations=t,
                columns=self.m,
                untransformed="alone" if alone else "no",
                first=rows if rows < self.n else None,
                prelude=True,
            )
            yield from self._grouped(whole, walks)

    def _grouped(self, whole: Pass, walks: Sequence[Pass]) -> list[Pass]:
        """A prelude, or several over as many groups of layers as memory asks for."""
        found, tile = [whole], self.tile_bytes(largest_tile([whole, *walks]))
        for groups in self.group_counts():
            found = [replace(whole, layers=names) for names in self.partition(groups)]
            if self.state_bytes(found) + tile <= self.memory:
                break
        return found

    def group_counts(self) -> list[int]:
        """Numbers of groups of layers to try, fewest first."""
        most = len(self.layers)
        return [count for count in _GROUPS if count < most] + [most]

    def _pass(self, walk: Walk, batch: int, layers: tuple[str, ...] | None) -> Pass:
        s, t = self._shape(walk, batch)
        kinds = [self.kinds[name] for name in walk.names]
        asked = any(getattr(kind, "reference", None) == "untransformed" for kind in kinds)
        return Pass(
            order=walk.order,
            statistics=walk.names,
            samples=s,
            transformations=t,
            columns=self.m if walk.order == "sample" else t,
            untransformed="beside" if asked and not self.identities else "no",
            layers=layers,
        )

    def _shape(self, walk: Walk, batch: int) -> tuple[int, int]:
        """Samples and transformations of a tile, whole blocks and whole rows where they fit."""
        n, m, names = self.rows, self.m, walk.names
        found = tile_shape(batch, n, m)
        kinds = [kind for name in names if isinstance(kind := self.kinds[name], DistancesKind)]
        if not kinds:
            return found
        # Distances alone may have any number of columns in a tile.
        most = _COLUMNS if len(kinds) < len(names) else m
        rows = any("rows" in kind.parts for kind in kinds)
        blocks = [kind.block_rows(n) for kind in kinds if "blocks" in kind.parts]
        if not any(blocks):
            if m > most and {"moments", "columns"} & set(names):
                return found
            t = min(m, most, batch)
            return min(batch // t, n or batch), t
        block = max(filter(None, blocks))
        t = min(m, most, batch // block)
        if t == m or (t > 0 and not rows):
            return min(block * (batch // (block * t)), n or batch), t
        if walk.order == "transformation":  # holds blocks of as few columns as can be
            found = min(batch, n or batch), 1
        s, t = found
        fitting = largest_divisor(block, s)
        # Others hold a tile more than a block; single samples would be slow.
        return (fitting if block < (n or block + 1) and 2 * fitting > s else s), t

    @cached_property
    def batches(self) -> list[int]:
        """Numbers of inputs in a tile to try, largest first."""
        if self.batch_size is not None:
            return [self.batch_size]
        most = _BATCH.get(self.device, _BATCH_ELSEWHERE)
        while self.device == "cpu" and most > _SMALL_BATCH and self.tile_bytes(most) > _TILE_BYTES:
            most //= 2
        if self.n is not None:
            most = max(1, min(most, self.n * self.m))
        found = [most >> k for k in range(most.bit_length())]
        blocks = [kind.block_rows(self.rows) for kind in self.wanted.distances]
        whole = self.m * max(filter(None, blocks), default=0)
        fits = whole <= _BLOCK_BATCH and self.tile_bytes(whole) <= _TILE_BYTES
        return [whole, *found] if whole > most and fits else found


def largest_divisor(count: int, most: int) -> int:
    """The largest divisor of count up to most."""
    return next(d for d in range(min(count, most), 0, -1) if count % d == 0)


def largest_tile(passes: Sequence[Pass]) -> int:
    """Inputs of the largest tile."""
    beside = {p: p.samples if p.untransformed == "beside" else 0 for p in passes}
    return max(p.samples * p.transformations + beside[p] for p in passes)
