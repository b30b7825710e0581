"""SV: how much an activation varies over samples under one transformation."""

from __future__ import annotations

import numpy as np

from tmeasures.fields import SV_BELOW_ROUNDING, Field
from tmeasures.measures.base import Q20, Measure, Quantities
from tmeasures.measures.transformation_variance import Spread, checked_spread


class SampleVariance(Measure):
    """Sample variance: the variance over samples, averaged over transformations.

    ``SV = mean_j Var_i ST[i, j]``, with divisor ``n - 1``: the yardstick that `NormalizedVariance`
    divides by. With ``spread="std"`` standard deviations are averaged instead; the variable is then
    ``SV_deviation``.

    - Shape: one number per activation. Unit: the activation's, squared; for ``"std"`` the
      activation's.
    - Undefined: NaN where any activation of the unit was NaN or infinite.
    - Needs: at least 2 samples. Error: `ArgumentError` for an unknown spread.
    - Cost: one pass; per activation 2 numbers of state for each transformation (of a tile, where
      the plan goes transformation-first).
    - Source: Quiroga (2020), equation 3.

    Example:
        >>> import torch, tmeasures as tm
        >>> tree = tm.measure(torch.nn.ReLU(), torch.tensor([[1.0], [4.0]]), measures="SV")
        >>> tree["layers/output/SV"].values
        array([4.5], dtype=float32)
    """

    short = "SV"
    least = (2, 1)

    def __init__(self, spread: Spread = "variance") -> None:
        self.spread = checked_spread(spread)
        self.needs = frozenset({"columns" if spread == "variance" else "column_deviations"})

    def finalize(self, quantities: Quantities) -> dict[str, Field]:
        """See `Measure.finalize`."""
        n, m = quantities.n, quantities.m
        if self.spread == "std":
            values = quantities["column_deviations"] / m
            name, units, long_name = "SV_deviation", "activation", "mean sample deviation"
        else:
            values = quantities["columns"] / (m * (n - 1))
            name, units, long_name = "SV", "activation2", "sample variance"
        return {name: Field(values, units, long_name, Q20, rounding=SV_BELOW_ROUNDING)}

    def reference(self, cube: np.ndarray) -> dict[str, np.ndarray]:
        """See `Measure.reference`."""
        wide = cube.astype(np.longdouble) - cube[:1].astype(np.longdouble)
        if self.spread == "std":
            return {"SV_deviation": wide.std(0, ddof=1).mean(0)}
        return {"SV": wide.var(0, ddof=1).mean(0)}
