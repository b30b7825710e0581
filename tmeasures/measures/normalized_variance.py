"""NV: variation over transformations in units of variation over samples."""

from __future__ import annotations

import numpy as np

from tmeasures.fields import SV_BELOW_ROUNDING, TV_BELOW_ROUNDING, Field
from tmeasures.measures.base import Q20, Measure, Quantities, ratio
from tmeasures.measures.sample_variance import SampleVariance
from tmeasures.measures.transformation_variance import Spread, TransformationVariance


class NormalizedVariance(Measure):
    """Normalized variance: transformation variance over sample variance.

    ``NV = TV / SV``. 0: invariant. 1: a transformation changes the activation as much as another
    sample does. Above 1: the activation tells the transformations apart better than the samples.
    With ``spread="std"`` it is the ratio of mean standard deviations (what the code published with
    the paper computes); the variable is then ``NV_deviation``.

    - Shape: one number per activation. Unit: none.
    - Special cases: TV = SV = 0, a dead unit: 1. TV > 0 = SV: infinite. NaN where any activation of
      the unit was NaN or infinite.
    - Needs: at least 2 samples and 2 transformations. Error: `ArgumentError` for an unknown spread.
    - Cost: one pass where the state of all sums fits the memory, else several.
    - Source: Quiroga (2020), equation 4.

    Example:
        >>> import torch, tmeasures as tm
        >>> images = torch.tensor([[[1.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 4.0]]])
        >>> tree = tm.measure(torch.nn.Flatten(), images, tm.rotations(4), measures="NV")
        >>> tree["layers/output/NV"].values.round(3)
        array([1., 1., 1., 1.], dtype=float32)
    """

    short = "NV"
    least = (2, 2)

    def __init__(self, spread: Spread = "variance") -> None:
        self._over, self._under = TransformationVariance(spread), SampleVariance(spread)
        self.spread = self._over.spread
        self.needs = self._over.needs | self._under.needs

    def finalize(self, quantities: Quantities) -> dict[str, Field]:
        """See `Measure.finalize`."""
        (over,) = self._over.finalize(quantities).values()
        (under,) = self._under.finalize(quantities).values()
        name = "NV" if self.spread == "variance" else "NV_deviation"
        long_name = "normalized " + ("variance" if self.spread == "variance" else "deviation")
        values = ratio(over.values, under.values)
        rounding = TV_BELOW_ROUNDING | SV_BELOW_ROUNDING
        return {name: Field(values, "1", long_name, Q20, rounding=rounding)}

    def reference(self, cube: np.ndarray) -> dict[str, np.ndarray]:
        """See `Measure.reference`."""
        (over,) = self._over.reference(cube).values()
        (under,) = self._under.reference(cube).values()
        return {"NV" if self.spread == "variance" else "NV_deviation": ratio(over, under)}
