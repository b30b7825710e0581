"""TV: how much an activation varies over the transformations of a sample."""

from __future__ import annotations

from typing import Literal

import numpy as np

from tmeasures.errors import ArgumentError
from tmeasures.fields import TV_BELOW_ROUNDING, Field
from tmeasures.measures.base import Q20, Measure, Quantities, centred

Spread = Literal["variance", "std"]


def checked_spread(spread: Spread) -> Spread:
    """The spread, or an error that names the two there are."""
    if spread not in ("variance", "std"):
        raise ArgumentError(f"spread={spread!r} is unknown: give 'variance' or 'std'")
    return spread


class TransformationVariance(Measure):
    """Transformation variance: the variance over transformations, averaged over samples.

    ``TV = mean_i Var_j ST[i, j]``, with divisor ``m - 1``; 0: no transformation changes the
    activation of any sample. With ``spread="std"`` standard deviations are averaged instead
    (what the code published with the paper computes); the variable is then ``TV_deviation``.

    - Shape: one number per activation. Unit: the activation's, squared; for ``"std"`` the
      activation's.
    - Undefined: NaN where any activation of the unit was NaN or infinite.
    - Needs: at least 2 transformations. Error: `ArgumentError` for an unknown spread.
    - Standard error, with ``errors=True``: ``TV_se = sd_i(Var_j ST[i, j]) / sqrt(n)``, that of the
      mean over samples drawn independently; NaN for a single sample. Not for ``"std"``.
    - Cost: one sample-first pass; 6 numbers of state for each activation, 9 with errors.
    - Source: Quiroga (2020), equation 2.

    Example:
        >>> import torch, tmeasures as tm
        >>> relu = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.ReLU())
        >>> images = torch.tensor([[[1.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 4.0]]])
        >>> tree = tm.measure(relu, images, tm.rotations(4), measures="TV")
        >>> tree["layers/1/TV"].values
        array([2.125, 2.125, 2.125, 2.125], dtype=float32)
    """

    short = "TV"
    least = (1, 2)

    def __init__(self, spread: Spread = "variance") -> None:
        self.spread = checked_spread(spread)
        self.needs = frozenset({"rows" if spread == "variance" else "row_deviations"})
        if spread == "variance":
            self.error_needs = frozenset({"row_variances"})

    def finalize(self, quantities: Quantities) -> dict[str, Field]:
        """See `Measure.finalize`."""
        n, m = quantities.n, quantities.m
        if self.spread == "std":
            values = quantities["row_deviations"] / n
            name, units, long_name = "TV_deviation", "activation", "mean transformation deviation"
        else:
            values = quantities["rows"] / (n * (m - 1))
            name, units, long_name = "TV", "activation2", "transformation variance"
        return {name: Field(values, units, long_name, Q20, rounding=TV_BELOW_ROUNDING)}

    def standard_errors(self, quantities: Quantities) -> dict[str, Field]:
        """See `Measure.standard_errors`."""
        if self.spread == "std":
            return {}
        n = quantities.n
        values = np.sqrt(quantities["row_variances"] / (n - 1) / n)
        long_name = "standard error of the transformation variance"
        return {"TV_se": Field(values, "activation2", long_name, Q20, rounding=TV_BELOW_ROUNDING)}

    def reference(self, cube: np.ndarray) -> dict[str, np.ndarray]:
        """See `Measure.reference`."""
        if self.spread == "std":
            return {"TV_deviation": centred(cube).std(1, ddof=1).mean(0)}
        return {"TV": centred(cube).var(1, ddof=1).mean(0)}
