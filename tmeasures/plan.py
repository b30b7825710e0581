"""The plan of a run: which statistics, in which order, in how many passes, with what tile."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from html import escape
from math import ceil, isqrt

import torch

from tmeasures.budget import size
from tmeasures.capture import Layer, Probe
from tmeasures.errors import ArgumentError, MemoryLimitError
from tmeasures.hints import called
from tmeasures.statistics import KINDS, Columns, Moments, Order, Rows, Setup, provided

# Inputs in a tile where memory is no concern: kernels are as fast from 64 to 256 on a CPU, clearly
# slower at 32; a GPU takes more to be filled.
_BATCH = {"cpu": 256}
_BATCH_ELSEWHERE = 512
# Tiles over this many bytes gain nothing on a CPU (they only fault in more memory), so the batch
# is cut down to 32 inputs at the least.
_TILE_BYTES, _SMALL_BATCH = 2**31, 32
# Bytes of the process for a byte of a tile: between outputs of many sizes the C library's heap
# keeps holes. Seen: 1.0 for SimpleConv, 1.1 to 1.5 for a residual network, tuned allocator or not.
_HEAP = {"cpu": 1.3}
# The least samples in a tile when m is beyond it: column state is touched once per tile.
_ROWS = 8
# The most transformations in a tile: a row of a tile is summed about its first value, which may be
# an outlier; with 64 columns that costs 64**2 roundings at most, 2e-13.
_COLUMNS = 64


@dataclass(frozen=True)
class Pass:
    """One walk over the whole matrix.

    Attributes:
        order: ``"sample"`` or ``"transformation"`` first.
        statistics: Names of what is kept.
        samples: Samples in a tile.
        transformations: Transformations in a tile.
        columns: Columns of the matrix that are open at once.
    """

    order: Order
    statistics: tuple[str, ...]
    samples: int
    transformations: int
    columns: int

    def __str__(self) -> str:
        tile = f"{self.samples} x {self.transformations}"
        return f"{self.order}-first, tiles of {tile}, keeps {' and '.join(self.statistics)}"


@dataclass(frozen=True)
class Plan:
    """How a run goes: made by `tmeasures.explain`, saved with the result, taken by ``plan=``.

    Attributes:
        network: Class of the network.
        n: Samples; None where an iterable data set does not say.
        m: Transformations.
        measures: As given.
        layers: From names to numbers of activations.
        passes: The walks, in order.
        state_bytes: Of the sums kept.
        tile_bytes: Of the inputs and of the forward pass of a tile.
        result_bytes: Of the result in memory.
        memory: What state and tile may take.
        device: Type of the device.
        spread: Whether standard deviations are summed too.
        why: The reasons, a sentence each.

    Example:
        >>> import torch, tmeasures as tm
        >>> plan = tm.explain(torch.nn.Linear(3, 2), torch.rand(20, 3), measures="SV")
        >>> plan.inputs, plan.reads, plan.layers, tm.Plan.from_json(plan.to_json()) == plan
        (20, 20, {'output': 2}, True)
    """

    network: str
    n: int | None
    m: int
    measures: tuple[str, ...]
    layers: dict[str, int]
    passes: tuple[Pass, ...]
    state_bytes: int
    tile_bytes: int
    result_bytes: int
    memory: int
    device: str = "cpu"
    spread: bool = False
    why: tuple[str, ...] = field(default=())

    @property
    def inputs(self) -> int | None:
        """Inputs through the network, over all passes."""
        return None if self.n is None else len(self.passes) * self.n * self.m

    @property
    def reads(self) -> int | None:
        """Samples read, over all passes; the probe reads at most three more."""
        if self.n is None:
            return None
        return self.n * sum(
            1 if p.order == "sample" else ceil(self.m / p.transformations) for p in self.passes
        )

    def tiles(self, number: int) -> int | None:
        """Tiles of a pass, counted from 0; None where n is unknown."""
        p = self.passes[number]
        if self.n is None:
            return None
        return ceil(self.n / p.samples) * ceil(self.m / p.transformations)

    @property
    def bytes(self) -> int:
        """The most that is taken at once, beside the network and the samples."""
        return self.state_bytes + max(self.tile_bytes, self.result_bytes)

    def to_json(self) -> str:
        """The plan as text, for a result file."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """The plan that `to_json` wrote."""
        found = json.loads(text)
        found["passes"] = tuple(
            Pass(**{**p, "statistics": tuple(p["statistics"])}) for p in found["passes"]
        )
        found["measures"], found["why"] = tuple(found["measures"]), tuple(found["why"])
        return cls(**found)

    def __str__(self) -> str:
        units = sum(self.layers.values())
        n = "unknown" if self.n is None else f"{self.n:,}"
        lines = [
            f"{self.network}: {', '.join(self.measures)}",
            f"  layers       {len(self.layers)}, {units:,} activations",
            f"  matrix       {n} samples x {self.m:,} transformations",
        ]
        if self.inputs is not None:
            lines.append(
                f"  inputs       {self.inputs:,} through the network, {self.reads:,} reads"
            )
        lines += [f"  pass {number}       {p}" for number, p in enumerate(self.passes, 1)]
        lines += [
            f"  state        {size(self.state_bytes)}",
            f"  tile         {size(self.tile_bytes)}",
            f"  result       {size(self.result_bytes)}",
            f"  memory       {size(self.memory)} allowed for state and tile",
            f"  device       {self.device}{_threads() if self.device == 'cpu' else ''}",
        ]
        return "\n".join(lines + [f"  why          {reason}" for reason in self.why])

    def __repr__(self) -> str:
        passes = "1 pass" if len(self.passes) == 1 else f"{len(self.passes)} passes"
        n = "?" if self.n is None else f"{self.n:,}"
        return f"<plan of {self.network}: {passes} over {n} x {self.m:,}, {size(self.bytes)}>"

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def _threads() -> str:
    from tmeasures.kernels.numba_moments import threading_layer

    return f", {torch.get_num_threads()} threads, kernels on {threading_layer()}"


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
    t = m if m * min(_ROWS, most) <= batch or m <= min(2 * root, batch) else root
    t = min(t, _COLUMNS)
    s = max(1, min(most, batch // t))
    t = min(m, batch // s, _COLUMNS)
    while n is not None and s > 2 and min(t, m % t or t) == 1 and n % s == 1:
        s -= 1
    return s, t


@dataclass(frozen=True)
class Problem:
    """What a plan is made for.

    Attributes:
        network: Class of the network.
        measures: As given.
        needs: Quantities that the measures need.
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
    """

    network: str
    measures: tuple[str, ...]
    needs: frozenset[str]
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

    @property
    def spread(self) -> bool:
        """Whether standard deviations are summed."""
        return bool(self.needs & {"row_deviations", "column_deviations"})

    def state_bytes(self, passes: Sequence[Pass]) -> int:
        """Bytes that all passes keep."""
        total = 0
        for p in passes:
            tile = (p.samples, p.transformations)
            for layer in self.layers:
                setup = Setup(
                    shape=layer.shape, m=self.m, tile=tile, columns=p.columns, dtype=layer.dtype
                )
                total += sum(KINDS[name].state_bytes(setup) for name in p.statistics)
        return total

    def tile_bytes(self, batch: int) -> int:
        """Bytes of a tile: inputs before and after the warp, and the forward pass."""
        alive = self.probe.bytes_fixed + batch * (self.probe.bytes_per_input + 3 * self.input_bytes)
        return int(alive * _HEAP.get(self.device, 1.0))

    def ways(self, batch: int) -> Iterator[tuple[Pass, ...]]:
        """The ways to go with tiles of ``batch`` inputs, cheapest in forward passes first."""
        s, t = tile_shape(batch, self.n, self.m)

        def walk(order: Order, *names: str) -> Pass:
            columns = self.m if order == "sample" else t
            return Pass(order, names, s, t, columns)

        if self.needs <= Rows.provides:
            yield (walk("sample", "rows"),)
            return
        if self.needs <= Columns.provides:
            yield (walk("sample", "columns"),)
            yield (walk("transformation", "columns"),)
            return
        if self.needs <= Moments.provides:
            yield (walk("sample", "moments"),)
        else:
            yield (walk("sample", "rows", "columns"),)
        yield (walk("sample", "rows"), walk("transformation", "columns"))


def choose(problem: Problem) -> Plan:
    """The plan with the fewest forward passes that fits the memory, and then the largest tile.

    A way that leaves less than 8 inputs for a tile is taken only where no other one fits.

    Raises:
        MemoryLimitError: Nothing fits; says the least that would.
        ArgumentError: An iterable data set would be read more than once.
    """
    batches = _batches(problem)
    small = min(_ROWS, batches[0])
    count = len(list(problem.ways(batches[0])))
    order = [(way, batch) for way in range(count) for batch in batches if batch >= small]
    order += [(way, batch) for way in range(count) for batch in batches if batch < small]
    least = None
    for way, batch in order:
        passes = list(problem.ways(batch))[way]
        if problem.iterable and (len(passes) > 1 or passes[0].order != "sample"):
            continue
        state, tile = problem.state_bytes(passes), problem.tile_bytes(batch)
        least = min(least or state + tile, state + tile)
        if state + tile <= problem.memory:
            return _plan(problem, passes, batch, way)
    what = "an iterable data set, which is read once, needs" if problem.iterable else "it takes"
    smaller = " or a smaller batch_size" if problem.batch_size is not None else ""
    raise MemoryLimitError(
        f"no plan fits memory={size(problem.memory)}: {what} at least {size(least or 0)} for state "
        f"and tile; allow as much, name fewer layers, or take activations='pooled'{smaller}"
    )


def _batches(problem: Problem) -> list[int]:
    """Numbers of inputs in a tile to try, largest first."""
    if problem.batch_size is not None:
        return [problem.batch_size]
    most = _BATCH.get(problem.device, _BATCH_ELSEWHERE)
    while (
        problem.device == "cpu" and most > _SMALL_BATCH and problem.tile_bytes(most) > _TILE_BYTES
    ):
        most //= 2
    if problem.n is not None:
        most = max(1, min(most, problem.n * problem.m))
    return [most >> k for k in range(most.bit_length())]


def _plan(problem: Problem, passes: tuple[Pass, ...], batch: int, way: int) -> Plan:
    plan = Plan(
        network=problem.network,
        n=problem.n,
        m=problem.m,
        measures=problem.measures,
        layers={layer.name: layer.n_units for layer in problem.layers},
        passes=passes,
        state_bytes=problem.state_bytes(passes),
        tile_bytes=problem.tile_bytes(passes[0].samples * passes[0].transformations),
        result_bytes=problem.result_bytes * sum(layer.n_units for layer in problem.layers),
        memory=problem.memory,
        device=problem.device,
        spread=problem.spread,
    )
    return replace(plan, why=tuple(_reasons(problem, plan, batch, way)))


def _reasons(problem: Problem, plan: Plan, batch: int, way: int) -> Iterator[str]:
    first = plan.passes[0]
    if way == 0:
        if first.statistics == ("rows",):
            yield "one pass: what is asked for closes with each row, so no state grows with m"
        else:
            yield f"one pass: the state of all {problem.m:,} columns fits the memory"
    else:
        one = next(problem.ways(batch))
        whole = problem.state_bytes(one) + problem.tile_bytes(batch)
        text = f"the state of all {problem.m:,} columns and a tile would take {size(whole)}: "
        if len(plan.passes) == 2:
            yield text + "two passes, twice the forward passes, but no state that grows with m"
        else:
            yield text + "columns one block after another, each sample read once per block"
    if problem.batch_size is not None:
        yield f"tiles of {problem.batch_size} inputs as asked for"
    elif first.transformations < problem.m and way == 0:
        t = first.transformations
        yield f"a tile holds {t} of {problem.m:,} columns: rows stay open over several tiles"


def check(plan: Plan, problem: Problem) -> Plan:
    """A plan that was handed in, if it is one for this run."""
    if not isinstance(plan, Plan):
        raise ArgumentError(f"plan is {called(plan)}; give what tm.explain returned")
    if problem.iterable and (len(plan.passes) > 1 or plan.passes[0].order != "sample"):
        raise ArgumentError(
            "the plan reads the samples more than once, and an iterable data set serves one "
            "reading; allow more memory, or give a data set with an index"
        )
    layers = {layer.name: layer.n_units for layer in problem.layers}
    found_there = provided(name for p in plan.passes for name in p.statistics)
    for what, found, expected in (
        ("layers", plan.layers, layers),
        (
            f"samples and transformations ({plan.n} and {plan.m})",
            (plan.n, plan.m),
            (problem.n, problem.m),
        ),
        ("measures", problem.needs - found_there, frozenset()),
        ("spread", plan.spread or not problem.spread, True),
    ):
        if found != expected:
            raise ArgumentError(
                f"the plan was made for other {what} than this run's; leave plan= out, or take one "
                "that tm.explain gives for the same arguments"
            )
    return plan
