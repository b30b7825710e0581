"""ND: distance over transformations in units of distance over samples."""

from __future__ import annotations

import numpy as np

from tmeasures.fields import SV_BELOW_ROUNDING, TV_BELOW_ROUNDING, Field
from tmeasures.measures.base import Q20, Measure, Quantities, ratio
from tmeasures.measures.sample_distance import (
    PairsName,
    SampleDistance,
    errors_take_blocks,
    pairs_taken,
)
from tmeasures.measures.transformation_distance import (
    MetricName,
    TransformationDistance,
    error_of_mean,
)
from tmeasures.statistics.metrics import Function
from tmeasures.statistics.pairs import BLOCK

_SPREADS = ("row_spread", "block_spread", "spread_together")


class NormalizedDistance(Measure):
    """Normalized distance: transformation distance over sample distance.

    ``ND = TD / SD``, see `TransformationDistance` and `SampleDistance`. 0: invariant. 1: a
    transformation changes the activation as much as another sample does. Above 1: the activation
    tells the transformations apart better than the samples.

    Variable ``ND``, or ``ND_...`` as for `TransformationDistance`; its attributes ``pairs`` and
    ``block`` say which pairs of samples were taken.

    - Shape: as for `TransformationDistance`. Unit: none.
    - Special cases: TD = SD = 0, a dead unit: 1. TD > 0 = SD: infinite. NaN where any activation of
      the unit, or of the channel, was NaN or infinite.
    - Needs: at least 2 samples and 2 transformations. Errors: as for `SampleDistance`.
    - Standard error, with ``errors=True``: ``ND_se``, by the delta method from TD and SD of each
      block: the standard deviation over blocks of ``TD_b - ND SD_b``, over SD and the root of the
      number of blocks (a last block of one sample is left out); NaN where SD is 0, and for fewer
      than two blocks. None for ``"sqeuclidean"``.
    - Cost: one sample-first pass where the state fits the memory, else several; that of TD and of
      SD.
    - Source: Quiroga (2020), equations 5 and 6.

    Args:
        metric: See `TransformationDistance`.
        vectors: See `TransformationDistance`.
        unit_norm: See `TransformationDistance`.
        pairs: See `SampleDistance`.
        block: See `SampleDistance`.

    Example:
        >>> import torch, tmeasures as tm
        >>> images = torch.tensor([[[1.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 4.0]]])
        >>> tree = tm.measure(torch.nn.Flatten(), images, tm.rotations(4), measures="ND")
        >>> tree["layers/output/ND"].values
        array([1.5, 1.5, 1.5, 1.5], dtype=float32)
    """

    short = "ND"
    least = (2, 2)

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
        self._over = TransformationDistance(metric, vectors, unit_norm)
        self._under = SampleDistance(metric, vectors, unit_norm, pairs, block)
        if pairs == "blocks":  # one statistic, since errors take both distances of each block
            both = frozenset({"rows", "blocks"})
            self._over.kind = self._under.kind = self._under.kind.with_parts(both)
        rows, blocks = self._over.kind, self._under.kind
        self.needs = frozenset({"rows", "columns"})
        if not blocks.metric.squared:
            self.kinds = tuple(dict.fromkeys((rows, blocks)))
            self.needs |= {rows.quantity("rows"), blocks.quantity("blocks")}
            if pairs == "blocks":
                self.error_needs = frozenset(blocks.quantity(name) for name in _SPREADS)

    def check(self, errors: bool) -> None:
        """See `Measure.check`."""
        self._under.kind.check()
        if errors:
            errors_take_blocks(self.short, self._under.kind)

    def finalize(self, quantities: Quantities) -> dict[str, Field]:
        """See `Measure.finalize`."""
        over, under = self._distances(quantities)
        return self._fields(ratio(over, under), "", "normalized distance")

    def standard_errors(self, quantities: Quantities) -> dict[str, Field]:
        """See `Measure.standard_errors`."""
        if not self.error_needs:
            return {}
        n, kind = quantities.n, self._under.kind
        over, under = self._distances(quantities)
        rows, blocks, together = (quantities[kind.quantity(name)] for name in _SPREADS)
        with np.errstate(all="ignore"):  # NaN where SD is 0
            slope = over / under * ((n - 1) / n)
            squares = np.maximum(rows - 2 * slope * together + slope**2 * blocks, 0)
            values = error_of_mean(squares, kind.spread_blocks(n)) / under
        return self._fields(values, "_se", "standard error of the normalized distance")

    def _distances(self, quantities: Quantities) -> tuple[np.ndarray, np.ndarray]:
        """TD and SD."""
        (over,) = self._over.finalize(quantities).values()
        (under,) = self._under.finalize(quantities).values()
        return over.values, under.values

    def _fields(self, values: np.ndarray, ending: str, long_name: str) -> dict[str, Field]:
        metric = self._under.kind.metric
        found = Field(
            values,
            "1",
            long_name + metric.label,
            Q20,
            dims=("channel",) if self.vectors else None,
            rounding=TV_BELOW_ROUNDING | SV_BELOW_ROUNDING,
            attributes=pairs_taken(self._under.kind),
        )
        return {f"ND{metric.suffix}{ending}": found}

    def reference(
        self, cube: np.ndarray, dims: tuple[str, ...] = ("channel",)
    ) -> dict[str, np.ndarray]:
        """See `Measure.reference`; dims are the units', the channel being first if not said."""
        (over,) = self._over.reference(cube, dims).values()
        (under,) = self._under.reference(cube, dims).values()
        return {f"ND{self._under.kind.metric.suffix}": ratio(over, under)}
