"""What a plan is made for, and the passes and bytes that a way through the matrix takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import torch

from tmeasures.capture import Layer, Probe
from tmeasures.forwards import Autocast, MemoryFormat
from tmeasures.plan import Pass
from tmeasures.planning.tiles import tile_shape, walk_shape
from tmeasures.planning.ways import Walk, Wanted, Way
from tmeasures.statistics import Columns, Kind, Moments, Setup
from tmeasures.statistics.base import Prelude
from tmeasures.statistics.setup import known
from tmeasures.transformations.actions import Actions
from tmeasures.transformations.sampling import CACHE_BYTES

# Inputs in a tile where memory is no concern: kernels are as fast from 64 to 256 on a CPU, clearly
# slower at 32; a GPU takes more to be filled.
_BATCH = {"cpu": 256}
_BATCH_ELSEWHERE = 512
# Inputs in a tile at most where that saves holding the rows of a block.
_BLOCK_BATCH = 1024
# The same on a CPU where a tile of 256 would leave rows open. Seen for 4224 columns:
# 2.0 times the bare forward in tiles of 256, 1.6 in tiles of 1024; in two orders 3.8 and 2.8.
_OPEN_BATCH = 1024
# Tiles over this many bytes gain nothing on a CPU (they only fault in more memory), so the batch
# is cut down to 32 inputs at the least.
_TILE_BYTES, _SMALL_BATCH = 2**31, 32
# Bytes of the process for a byte of a tile: between outputs of many sizes the C library's heap
# keeps holes. Seen: 1.0 for SimpleConv, 1.1 to 1.5 for a residual network, tuned allocator or not.
_HEAP = {"cpu": 1.3}
# What a forward pass costs beside its inputs, in inputs. Seen: 1.6 to 1.8 for SimpleConv.
_OVERHEAD = 2
# What it costs to touch the state of a tile's columns, in rows, where m is beyond a tile. Seen: for
# 4224 columns 5.0 times the bare forward in tiles of 1 x 64, 1.5 in 12 x 16; for 256 columns one
# pass in tiles of 4 x 4 takes 0.7 of the time of two.
_TOUCHED = 1.5
# Maps of a row that a thread brings side by side to move them back, and bytes of them at most.
_LANES, _BROUGHT = 16, 2**24
# Samples where their number is not known: any will do to compare plans.
_SOME = 1000


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
        actions: How the transformations act on each layer's outputs, or why that is not known;
            empty where no statistic asks.
        left_out: From measures to the layers that they cannot be had of, and why.
        memory_format: The order in which images lie in memory.
        autocast: The precision that forwards are taken down to.
        kept_bytes: Of what the transformations keep from tile to tile.
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
    actions: Mapping[str, Actions | str] = field(default_factory=dict)
    left_out: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    memory_format: MemoryFormat = "preserve"
    autocast: Autocast | None = None
    kept_bytes: int = 0

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
            actions=known(self.actions.get(layer.name)),
        )

    def state_bytes(self, passes: Sequence[Pass]) -> int:
        """Bytes of state at most: passes come one after another."""
        found = max(sum(self._layer_bytes(p).values()) for p in passes)
        return found + self.standing_bytes

    def _layer_bytes(self, p: Pass) -> dict[str, int]:
        """Bytes of state of each layer of a pass."""
        each = self._known_bytes.get(whole := replace(p, layers=None))
        if each is None:
            each = {layer.name: self._bytes_of(whole, layer) for layer in self.layers}
            self._known_bytes[whole] = each
        return each if p.layers is None else {name: each[name] for name in p.layers}

    def _bytes_of(self, p: Pass, layer: Layer) -> int:
        setup = self.setup(p, layer)
        kinds = (self.kinds[name] for name in p.statistics)
        return sum(kind.state_bytes(setup) for kind in kinds if self.why_not(kind, layer) is None)

    def why_not(self, kind: Kind, layer: Layer) -> str | None:
        """Why a kind of statistic can not be kept of a layer; None where it can."""
        return kind.applies(layer.dims, self.actions.get(layer.name))

    @cached_property
    def _known_bytes(self) -> dict[Pass, dict[str, int]]:
        return {}

    def waiting_bytes(self, passes: Sequence[Pass]) -> int:
        """Bytes of what passes have given before it becomes a result: float64, on the host.

        Of all layers where one has more than one pass; else of one, as it takes the place of the
        layer's state.
        """
        each = dict.fromkeys((layer.name for layer in self.layers), 0)
        units = {layer.name: layer.n_units for layer in self.layers}
        walks = [p for p in passes if not p.prelude]
        for p in walks:
            numbers = 1 + sum(_numbers(self.kinds[name]) for name in p.statistics)
            for name in p.layers or each:
                each[name] += 8 * units[name] * numbers
        once = sum(len(p.layers or each) for p in walks) == len(each)
        return max(each.values()) if once else sum(each.values())

    @cached_property
    def standing_bytes(self) -> int:
        """Bytes of what stays over passes: what preludes have found, and where pixels are read."""
        numbers = sum(_numbers(kind) for kind in self.wanted.preludes)
        sizes = {known.values for known in self.actions.values() if isinstance(known, Actions)}
        # Four places and weights of each value, back and forth; on a CPU once more, 16 bytes each.
        each = 4 * 12 + 1
        tables = [2 * self.m * size * each for size in sizes]
        read = min(sum(tables), max(CACHE_BYTES, *tables, 0))
        packed = read // each * 4 * 16 if self.device == "cpu" else 0
        widest = 8 * _LANES * self.m * max(sizes, default=0)
        brought = torch.get_num_threads() * min(widest, _BROUGHT)
        return 8 * self.units * numbers + read + packed + brought + self.kept_bytes

    def tile_bytes(self, inputs: int) -> int:
        """Bytes of a tile: inputs before and after the warp, the forward pass, and a layer's copy.

        Outputs of half precision are widened to float32, a layer at a time.
        """
        each = self.probe.bytes_per_input + 3 * self.input_bytes + self._widened + self._ordered
        return int((self.probe.bytes_fixed + inputs * each) * _HEAP.get(self.device, 1.0))

    @cached_property
    def _widened(self) -> int:
        """Bytes of the largest output that is widened."""
        half = (layer.n_units for layer in self.layers if layer.dtype.itemsize == 2)
        return 4 * max(half, default=0)

    @cached_property
    def _ordered(self) -> int:
        """Bytes of the largest output whose maps are copied to lie one by one, as actions take."""
        found = [0]
        for layer in self.layers:
            actions = self.actions.get(layer.name)
            if isinstance(actions, Actions) and actions.copies:
                found.append(layer.n_units * max(layer.dtype.itemsize, torch.float32.itemsize))
        return max(found)

    def bytes(self, passes: Sequence[Pass]) -> int:
        """Bytes of state and of the largest tile."""
        return self.state_bytes(passes) + self.tile_bytes(largest_tile(passes))

    def ways(self) -> Iterator[Way]:
        """The ways that the samples allow."""
        return (way for way in self.wanted.ways() if not self.iterable or _one_reading(way))

    def passes(self, way: Way, batch: int) -> list[Pass]:
        """A way with tiles of at most ``batch`` inputs, each walk of it in one pass."""
        walks = [self._pass(walk, batch) for walk in way]
        return [*self._preludes(batch, walks), *walks]

    def fitted(self, passes: Sequence[Pass]) -> list[Pass] | None:
        """Passes repeated over as few runs of layers as fit the memory; None where one does not.

        Layers stay in forward order: filling one run after another takes the fewest.
        """
        room = self.memory - self.tile_bytes(largest_tile(passes)) - self.standing_bytes
        found: list[Pass] = []
        for p in passes:
            runs: list[list[str]] = []
            left = 0
            for name, size in self._layer_bytes(p).items():
                if size > room:
                    return None
                if not runs or size > left:
                    runs.append([])
                    left = room
                runs[-1].append(name)
                left -= size
            if len(runs) > 1 and self.iterable:
                return None
            found += [replace(p, layers=tuple(run) if len(runs) > 1 else None) for run in runs]
        return found

    def least(self, passes: Sequence[Pass]) -> int:
        """The bytes below which passes do not fit, a layer at a time (all where that is asked)."""
        take = sum if self.iterable else max
        most = max(take(self._layer_bytes(p).values()) for p in passes)
        return most + self.tile_bytes(largest_tile(passes)) + self.standing_bytes

    def cost(self, passes: Sequence[Pass]) -> float:
        """Inputs through the network, in passes over the matrix; each more in small tiles."""
        n = self.n or _SOME
        return sum(p.inputs(n, self.m) * self._slowness(p) for p in passes) / (n * self.m)

    def _slowness(self, p: Pass) -> float:
        found = slowness(p.samples * p.transformations)
        columns = {Moments.name, Columns.name} & set(p.statistics)
        return found + (_TOUCHED / p.samples if columns and p.transformations < self.m else 0)

    def _preludes(self, batch: int, walks: Sequence[Pass]) -> Iterator[Pass]:
        """Passes that keep before all others, over all strata, what no walk keeps."""
        if self.n is None:
            return
        kept = {name for p in walks for name in p.statistics}
        kinds = [kind for kind in self.wanted.preludes if kind.name not in kept]
        for reference in dict.fromkeys(kind.reference for kind in kinds):
            alone = reference == "untransformed"
            chosen: list[Prelude] = [kind for kind in kinds if kind.reference == reference]
            rows = max(kind.rows(self.n, self.m) for kind in chosen)
            s, t = (min(batch, rows), 1) if alone else tile_shape(batch, rows, self.m)
            yield Pass(
                order="sample",
                statistics=tuple(kind.name for kind in chosen),
                samples=s,
                transformations=t,
                columns=self.m,
                untransformed="alone" if alone else "no",
                first=rows if rows < self.n else None,
                prelude=True,
            )

    def _pass(self, walk: Walk, batch: int) -> Pass:
        kinds = [self.kinds[name] for name in walk.names]
        s, t = walk_shape(kinds, walk.order, batch, self.rows, self.m)
        asking = [kind for kind in kinds if kind.reference == "untransformed"]
        # Others are compared with moved maps as they come: the first tile of a row has to have one.
        first = t if any(kind.moves for kind in asking) else self.m
        among = self.identities and self.identities[0] < first
        return Pass(
            order=walk.order,
            statistics=walk.names,
            samples=s,
            transformations=t,
            columns=self.m if walk.order == "sample" else t,
            untransformed="beside" if asking and not among else "no",
        )

    @cached_property
    def batches(self) -> list[int]:
        """Numbers of inputs in a tile to try, largest first."""
        if self.batch_size is not None:
            return [self.batch_size]
        most = _BATCH.get(self.device, _BATCH_ELSEWHERE)
        opens = tile_shape(most, None, self.m)[1] < self.m
        if opens and self.wanted.moments and self.device == "cpu":
            most = _OPEN_BATCH
        while self.device == "cpu" and most > _SMALL_BATCH and self.tile_bytes(most) > _TILE_BYTES:
            most //= 2
        if self.n is not None:
            most = max(1, min(most, self.n * self.m))
        found = [most >> k for k in range(most.bit_length())]
        blocks = [kind.block_rows(self.rows) for kind in self.wanted.distances]
        whole = self.m * max(filter(None, blocks), default=0)
        fits = whole <= _BLOCK_BATCH and self.tile_bytes(whole) <= _TILE_BYTES
        return [whole, *found] if whole > most and fits else found


def _one_reading(way: Way) -> bool:
    return len(way) == 1 and way[0].order == "sample"


def _numbers(kind: Kind) -> int:
    """Numbers for each activation, at most, that a kind gives."""
    return len(kind.provides) * kind.signs


def slowness(inputs: int) -> float:
    """What an input costs in a tile of so many, at least; 1 in a large one."""
    return 1 + _OVERHEAD / inputs


def largest_tile(passes: Sequence[Pass]) -> int:
    """Inputs of the largest tile."""
    beside = {p: p.samples if p.untransformed == "beside" else 0 for p in passes}
    return max(p.samples * p.transformations + beside[p] for p in passes)
