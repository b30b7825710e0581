"""The plan of a run, as it is printed, saved and followed."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from html import escape
from math import ceil
from typing import Any, Literal

import torch

from tmeasures.budget import size
from tmeasures.capture import Layer
from tmeasures.forwards import Autocast, MemoryFormat
from tmeasures.inputs import Untransformed
from tmeasures.statistics import Order, Setup


@dataclass(frozen=True)
class Pass:
    """One walk over the whole matrix.

    Attributes:
        order: ``"sample"`` or ``"transformation"`` first.
        statistics: Names of what is kept.
        samples: Samples in a tile.
        transformations: Transformations in a tile.
        columns: Columns of the matrix that are open at once.
        untransformed: Whether the untransformed inputs are visited too: ``"no"``, ``"beside"`` the
            matrix, or ``"alone"`` in its place.
        first: Only so many of the samples; None: all.
        layers: Only these layers; None: all.
        prelude: Whether it walks over all strata at once, before them.
    """

    order: Order
    statistics: tuple[str, ...]
    samples: int
    transformations: int
    columns: int
    untransformed: Untransformed = "no"
    first: int | None = None
    layers: tuple[str, ...] | None = None
    prelude: bool = False

    def setup(self, layer: Layer, **others: Any) -> Setup:
        """What a statistic of a layer is made for."""
        return Setup(
            shape=layer.shape,
            dims=layer.dims,
            dtype=layer.dtype,
            tile=(self.samples, self.transformations),
            order=self.order,
            columns=self.columns,
            **others,
        )

    def rows(self, n: int) -> int:
        """Samples that it visits, of n."""
        return n if self.first is None else min(self.first, n)

    def inputs(self, n: int, m: int) -> int:
        """Inputs through the network."""
        columns = {"no": m, "beside": m + 1, "alone": 1}[self.untransformed]
        return self.rows(n) * columns

    def tiles(self, n: int, m: int) -> int:
        """Tiles of n samples x m transformations."""
        return ceil(self.rows(n) / self.samples) * self.blocks(m)

    def reads(self, n: int, m: int, each_tile: bool = False) -> int:
        """Samples read, once or for each tile that they are in."""
        if self.order == "sample" and not each_tile:
            return self.rows(n)
        return self.rows(n) * self.blocks(m)

    def blocks(self, m: int) -> int:
        """Tiles that a sample is in."""
        return 1 if self.untransformed == "alone" else ceil(m / self.transformations)

    def __str__(self) -> str:
        tile = f"{self.samples} x {self.transformations}"
        what = f"{self.order}-first, tiles of {tile}, keeps {' and '.join(self.statistics)}"
        if self.first is not None:
            what += f", first {self.first:,} samples"
        if self.untransformed == "alone":
            what += ", untransformed"
        elif self.untransformed == "beside":
            what += ", untransformed inputs beside"
        if self.layers is None:
            return what
        shown = (
            self.layers[0] if len(self.layers) == 1 else f"{self.layers[0]} to {self.layers[-1]}"
        )
        return f"{what}, layers {shown}"


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
        state_bytes: Of the sums kept, and of where transformations and their actions read pixels.
        tile_bytes: Of the inputs and of the forward pass of a tile.
        result_bytes: Of the result in memory, and of what one pass gives and a later one completes.
        memory: What state and tile may take.
        device: Type of the device.
        spread: Whether standard deviations are summed too.
        errors: Whether standard errors are asked for.
        stratify: ``"mean"``, ``"each"``, or None.
        strata: Samples in each stratum, in order; empty without.
        identities: Columns of the identity.
        reads_labels: Whether the samples are read once more before, for their labels.
        why: The reasons, a sentence each.
        reads_each_tile: Whether samples are read for each tile that they are in, as callables of
            items take (``on="item"``).
        memory_format: ``"preserve"``, or ``"channels_last"`` where weights and inputs lie so.
        autocast: The precision that forwards are taken down to: ``"bfloat16"``, ``"float16"``; None
            for their own.
        seconds: What `measure` takes, as far as a trial tells; None without.

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
    errors: bool = False
    stratify: Literal["mean", "each"] | None = None
    strata: tuple[int, ...] = ()
    identities: tuple[int, ...] = ()
    reads_labels: bool = False
    why: tuple[str, ...] = field(default=())
    reads_each_tile: bool = False
    memory_format: MemoryFormat = "preserve"
    autocast: Autocast | None = None
    seconds: float | None = None

    @property
    def inputs(self) -> int | None:
        """Inputs through the network, over all passes."""
        return None if self.n is None else self.inputs_of(self.n)

    def inputs_of(self, n: int) -> int:
        """Inputs through the network for n samples."""
        return sum(p.inputs(n, self.m) for p in self.passes)

    @property
    def reads(self) -> int | None:
        """Samples read, over all passes; the probe reads at most three more.

        At most six, where callables act on items and a measure takes untransformed inputs.
        """
        if self.n is None:
            return None
        labels = self.n if self.reads_labels else 0
        return labels + sum(p.reads(self.n, self.m, self.reads_each_tile) for p in self.passes)

    def reading_each_tile(self) -> Plan:
        """The plan where samples are read for each tile that they are in."""
        most = max(p.blocks(self.m) for p in self.passes)
        why = (
            f"callables act on items as they are read, so that each is read up to {most} times in "
            "a pass, once for each block of columns"
        )
        more = () if most == 1 or why in self.why else (why,)
        return replace(self, reads_each_tile=True, why=self.why + more)

    def tiles(self, number: int, stratum: int = 0) -> int | None:
        """Tiles of a pass over a stratum, both counted from 0; None where n is unknown."""
        p = self.passes[number]
        if self.n is None:
            return None
        whole = p.prelude or not self.strata
        return p.tiles(self.n if whole else self.strata[stratum], self.m)

    @property
    def bytes(self) -> int:
        """The most that is taken at once, beside the network and the samples."""
        if self.strata or sum(not p.prelude for p in self.passes) > 1:  # what one gave waits
            return self.state_bytes + self.tile_bytes + self.result_bytes
        return self.state_bytes + max(self.tile_bytes, self.result_bytes)

    def to_json(self) -> str:
        """The plan as text, for a result file."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """The plan that `to_json` wrote."""
        found = {key: _frozen(value) for key, value in json.loads(text).items()}
        passes = ({key: _frozen(value) for key, value in p.items()} for p in found["passes"])
        return cls(**(found | {"passes": tuple(Pass(**p) for p in passes)}))

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
        if self.strata:
            sizes = f"{min(self.strata):,} to {max(self.strata):,} samples"
            lines.append(f"  strata       {len(self.strata):,} of {sizes}, {self.stratify}")
        lines += [f"  {f'pass {number}':<12} {p}" for number, p in enumerate(self.passes, 1)]
        lines += [
            f"  state        {size(self.state_bytes)}",
            f"  tile         {size(self.tile_bytes)}",
            f"  result       {size(self.result_bytes)}",
            f"  memory       {size(self.memory)} allowed for state and tile",
            f"  device       {self.device}{_threads() if self.device == 'cpu' else ''}",
            f"  forward      {self._forward}",
        ]
        if self.seconds is not None:
            lines.append(f"  seconds      {self.seconds:,.2g} by a trial")
        return "\n".join(lines + [f"  why          {reason}" for reason in self.why])

    @property
    def _forward(self) -> str:
        order = "channels last" if self.memory_format == "channels_last" else "order as it comes"
        return order + (f", autocast to {self.autocast}" if self.autocast else "")

    def __repr__(self) -> str:
        passes = "1 pass" if len(self.passes) == 1 else f"{len(self.passes)} passes"
        n = "?" if self.n is None else f"{self.n:,}"
        return f"<plan of {self.network}: {passes} over {n} x {self.m:,}, {size(self.bytes)}>"

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _threads() -> str:
    from tmeasures.kernels.tasks import threading_layer

    return f", {torch.get_num_threads()} threads, kernels on {threading_layer()}"
