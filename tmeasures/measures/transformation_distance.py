"""TD: how far apart an activation's values under the transformations of a sample are."""

from __future__ import annotations

from typing import Literal

import numpy as np

from tmeasures.fields import TV_BELOW_ROUNDING, Field
from tmeasures.measures.base import Q20, Measure, Quantities, centred
from tmeasures.statistics.distances import DistancesKind
from tmeasures.statistics.metrics import Function, Metric

MetricName = Literal["euclidean", "sqeuclidean", "manhattan", "cosine"]


class TransformationDistance(Measure):
    """Transformation distance: the mean distance over transformations, averaged over samples.

    ``TD = mean_i AverageDistance(ST[i, :])`` with ``AverageDistance(v) = sum_{p,q} d(v_p, v_q) /
    len(v)^2``, ``p = q`` included, and ``d(a, b) = |a - b|``; 0: no transformation changes the
    activation of any sample. It is exact, also where a row spans many tiles.

    ``metric="sqeuclidean"`` is ``(a - b)^2``, which makes TD twice the variance with divisor m. A
    function ``f(a, b)`` of two float64 tensors of one shape returns their distances in a tensor of
    that shape; it is called for ``p < q`` only, so it must be symmetric, and 0 for equal values.

    ``vectors=True`` takes each feature map as one vector and gives one value per channel: the
    euclidean distance of maps, ``"manhattan"``, ``"cosine"`` (1 - the cosine of their angle; 0 for
    two zero maps, 1 for one), or a function of ``(..., value)`` to ``(...)``. For the squared
    euclidean distance of maps add up the ``"sqeuclidean"`` of their activations.

    Variable ``TD``; otherwise ``TD_sqeuclidean``, ``TD_vectors``, ``TD_vectors_cosine``,
    ``TD_vectors_unit``, or ``TD_<name of the function>`` (``callable`` for a lambda).

    - Shape: one number per activation; for vectors one per channel, and layers without channels
      have none. Unit: the activation's; squared for ``"sqeuclidean"``; none for ``"cosine"``,
      functions and unit norms.
    - Undefined: NaN where any activation of the unit, or of the channel, was NaN or infinite.
    - Needs: at least 2 transformations. Errors: `ArgumentError` for an unknown metric, for
      ``"cosine"`` or ``unit_norm`` without vectors, for ``"sqeuclidean"`` with them, and for a
      function that raises or gives another shape.
    - Standard error, with ``errors=True``: ``TD_se``, the standard deviation over blocks of 32
      samples of the seeded order of their mean row, over the root of the number of blocks (a last
      block of one sample is left out); NaN for fewer than two blocks. None for ``"sqeuclidean"``.
    - Cost: one sample-first pass; 1 number of state for each activation beside those of TV, and the
      activations of a tile's samples where it holds less than whole rows. For 16 transformations
      half the time of all moments together, for feature maps twice (3 times for unit norms and the
      cosine), for functions 8 times; growing with m.
    - Source: Quiroga (2020), equation 5.

    Args:
        metric: ``"euclidean"``, ``"manhattan"`` (the same for single activations),
            ``"sqeuclidean"``, ``"cosine"``, or a function.
        vectors: Whether feature maps are compared, not single activations.
        unit_norm: Whether each map is divided by its norm first; a zero map stays zero.

    Example:
        >>> import torch, tmeasures as tm
        >>> relu = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.ReLU())
        >>> images = torch.tensor([[[1.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 4.0]]])
        >>> tree = tm.measure(relu, images, tm.rotations(4), measures="TD")
        >>> tree["layers/1/TD"].values
        array([0.9375, 0.9375, 0.9375, 0.9375], dtype=float32)
    """

    short = "TD"
    least = (1, 2)

    def __init__(
        self,
        metric: MetricName | Function = "euclidean",
        vectors: bool = False,
        unit_norm: bool = False,
    ) -> None:
        self.metric, self.vectors, self.unit_norm = metric, vectors, unit_norm
        self._metric = Metric.of(metric, vectors, unit_norm)
        self.kind = DistancesKind(self._metric, parts=frozenset({"rows"}))
        self.needs = frozenset({"rows"})
        if not self._metric.squared:
            self.kinds = (self.kind,)
            self.needs |= {self.kind.quantity("rows")}
            self.error_needs = frozenset({self.kind.quantity("row_spread")})

    def check(self, errors: bool) -> None:
        """See `Measure.check`."""
        self._metric.check()

    def finalize(self, quantities: Quantities) -> dict[str, Field]:
        """See `Measure.finalize`."""
        n, m = quantities.n, quantities.m
        if self._metric.squared:
            values = 2 * quantities["rows"] / (n * m)
        else:
            values = 2 * quantities[self.kind.quantity("rows")] / (n * m**2)
        return {f"TD{self._metric.suffix}": self._field(values, "transformation distance")}

    def standard_errors(self, quantities: Quantities) -> dict[str, Field]:
        """See `Measure.standard_errors`."""
        if not self.error_needs:
            return {}
        spread = quantities[self.kind.quantity("row_spread")]
        values = error_of_mean(spread, self.kind.spread_blocks(quantities.n))
        long_name = "standard error of the transformation distance"
        return {f"TD{self._metric.suffix}_se": self._field(values, long_name)}

    def _field(self, values: np.ndarray, long_name: str) -> Field:
        return Field(
            values,
            self._metric.units,
            long_name + self._metric.label,
            Q20,
            dims=("channel",) if self.vectors else None,
            rounding=TV_BELOW_ROUNDING,
        )

    def reference(
        self, cube: np.ndarray, dims: tuple[str, ...] = ("channel",)
    ) -> dict[str, np.ndarray]:
        """See `Measure.reference`; dims are the units', the channel being first if not said."""
        m = cube.shape[1]
        if self._metric.squared:
            values = 2 * centred(cube).var(1).mean(0)
        else:
            values = 2 * self._metric.definition(cube.swapaxes(0, 1), dims).mean(0) / m**2
        return {f"TD{self._metric.suffix}": values}


def error_of_mean(squares: np.ndarray, count: int) -> np.ndarray:
    """The standard error of a mean of values with such squares about it; NaN for fewer than 2."""
    if count < 2:
        return np.full_like(squares, np.nan)
    return np.sqrt(squares / (count - 1) / count)
