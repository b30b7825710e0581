"""SD: how far apart an activation's values over samples are, under one transformation."""

from __future__ import annotations

from typing import Literal

import numpy as np

from tmeasures.errors import ArgumentError
from tmeasures.fields import SV_BELOW_ROUNDING, Field
from tmeasures.hints import whole
from tmeasures.measures.base import Q20, Measure, Quantities
from tmeasures.measures.transformation_distance import MetricName, error_of_mean
from tmeasures.statistics.distances import DistancesKind
from tmeasures.statistics.metrics import Function, Metric
from tmeasures.statistics.pairs import BLOCK

PairsName = Literal["blocks", "all"]


class SampleDistance(Measure):
    """Sample distance: the mean distance over samples, averaged over transformations.

    ``SD = mean_j AverageDistance(ST[:, j])``, see `TransformationDistance`: the yardstick that
    `NormalizedDistance` divides by, with the same metrics.

    ``pairs="blocks"`` takes the pairs inside blocks of 32 consecutive samples of the seeded order,
    which is random, whatever the tiles: the mean distance over these pairs, times ``(n - 1) / n``,
    is an unbiased estimate of SD, and SD itself for 32 samples or fewer. At n = 4096 it is expected
    within 0.2 to 0.3 % of all pairs. ``pairs="all"`` is exact, and holds the activations of all
    samples: layers go in runs, in as many passes as the plan names.

    Variable ``SD``, or ``SD_...`` as for `TransformationDistance`; its attributes ``pairs`` and
    ``block`` say which pairs they were.

    - Shape, unit, undefined cases: as for `TransformationDistance`.
    - Needs: at least 2 samples. Errors: those of `TransformationDistance`; `ArgumentError` for
      unknown pairs, for a block that is no whole number of at least 2, and for standard errors of
      ``pairs="all"``.
    - Standard error, with ``errors=True``: ``SD_se``, as an estimate of the population that the
      samples come from: the standard deviation over blocks of their values, each averaged over the
      transformations, over the root of the number of blocks (a last block of one sample is left
      out); NaN for fewer than two blocks. None for ``"sqeuclidean"``, which takes all pairs
      whatever the arguments.
    - Cost: one pass, in either order (sample-first with errors); 1 number of state for each
      activation beside those of SV, and the activations of a block, 32 for each open
      transformation, where a tile holds less than whole blocks. With ``pairs="all"`` n for each.
      Blocks of 32 take 2/3 of the time of all moments together, for feature maps 3 times as long
      as these, for functions 17 times; growing with the block.
    - Source: Quiroga (2020), equation 6.

    Args:
        metric: See `TransformationDistance`.
        vectors: See `TransformationDistance`.
        unit_norm: See `TransformationDistance`.
        pairs: ``"blocks"`` or ``"all"``.
        block: Samples in a block.

    Example:
        >>> import torch, tmeasures as tm
        >>> tree = tm.measure(torch.nn.ReLU(), torch.tensor([[1.0], [4.0]]), measures="SD")
        >>> tree["layers/output/SD"].values
        array([1.5], dtype=float32)
    """

    short = "SD"
    least = (2, 1)

    def __init__(
        self,
        metric: MetricName | Function = "euclidean",
        vectors: bool = False,
        unit_norm: bool = False,
        pairs: PairsName = "blocks",
        block: int = BLOCK,
    ) -> None:
        self.metric, self.vectors, self.unit_norm = metric, vectors, unit_norm
        self.pairs, self.block = pairs, block
        self._metric = Metric.of(metric, vectors, unit_norm)
        self.kind = DistancesKind(self._metric, rows_of_block(pairs, block), frozenset({"blocks"}))
        self.needs = frozenset({"columns"})
        if not self._metric.squared:
            self.kinds = (self.kind,)
            self.needs |= {self.kind.quantity("blocks")}
            if pairs == "blocks":
                self.error_needs = frozenset({self.kind.quantity("block_spread")})

    def check(self, errors: bool) -> None:
        """See `Measure.check`."""
        self._metric.check()
        if errors:
            errors_take_blocks(self.short, self.kind)

    def finalize(self, quantities: Quantities) -> dict[str, Field]:
        """See `Measure.finalize`."""
        n, m = quantities.n, quantities.m
        if self._metric.squared:
            values = 2 * quantities["columns"] / (n * m)
        else:
            pairs = m * self.kind.pairs(n)
            mean = quantities[self.kind.quantity("blocks")] / (pairs or np.nan)
            values = mean * ((n - 1) / n)
        return {f"SD{self._metric.suffix}": self._field(values, "sample distance")}

    def standard_errors(self, quantities: Quantities) -> dict[str, Field]:
        """See `Measure.standard_errors`."""
        if not self.error_needs:
            return {}
        n, spread = quantities.n, quantities[self.kind.quantity("block_spread")]
        values = error_of_mean(spread, self.kind.spread_blocks(n)) * ((n - 1) / n)
        long_name = "standard error of the sample distance"
        return {f"SD{self._metric.suffix}_se": self._field(values, long_name)}

    def _field(self, values: np.ndarray, long_name: str) -> Field:
        return Field(
            values,
            self._metric.units,
            long_name + self._metric.label,
            Q20,
            dims=("channel",) if self.vectors else None,
            rounding=SV_BELOW_ROUNDING,
            attributes=pairs_taken(self.kind),
        )

    def reference(
        self, cube: np.ndarray, dims: tuple[str, ...] = ("channel",)
    ) -> dict[str, np.ndarray]:
        """See `Measure.reference`; dims are the units', the channel being first if not said."""
        n = len(cube)
        if self._metric.squared:
            wide = cube.astype(np.longdouble)
            return {"SD_sqeuclidean": 2 * (wide - wide[:1]).var(0).mean(0)}
        block = self.kind.block or n
        blocks = [cube[at : at + block] for at in range(0, n, block)]
        total = sum(self._metric.definition(part, dims).mean(0) for part in blocks)
        pairs = sum(len(part) * (len(part) - 1) / 2 for part in blocks)
        return {f"SD{self._metric.suffix}": np.asarray(total / pairs * (n - 1) / n)}


def rows_of_block(pairs: str, block: int) -> int | None:
    """Rows of a block, None for all; or an error that says what to give."""
    if pairs not in ("blocks", "all"):
        raise ArgumentError(f"pairs={pairs!r} is unknown: give 'blocks' or 'all'")
    block = whole("block", block, 2)
    return block if pairs == "blocks" else None


def pairs_taken(kind: DistancesKind) -> dict[str, str | int | float]:
    """Attributes that say which pairs of samples a value comes from."""
    if kind.metric.squared or kind.block is None:
        return {"pairs": "all"}
    return {"pairs": "blocks", "block": kind.block}


def errors_take_blocks(short: str, kind: DistancesKind) -> None:
    """An error where standard errors would come from all pairs."""
    if kind.block is None and not kind.metric.squared:
        raise ArgumentError(
            f"{short} with pairs='all' has no standard error, which takes blocks; give "
            "pairs='blocks', or leave errors=True out"
        )
