"""ANOVA: does an activation's mean depend on the transformation?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from tmeasures.errors import ArgumentError
from tmeasures.fields import SV_BELOW_ROUNDING, Field
from tmeasures.measures.base import Q20, Measure, Quantities, centred

Correction = Literal["bonferroni", "fdr_bh"]
Sphericity = Literal["lower-bound", "assumed"]

# p-values that are worth a thread: 0.4 ms, of which starting it takes a fifth.
_SHARE = 2**12


def _f_statistic(between: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Ratio of two mean squares with 0 / 0 = 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((between == 0) & (error == 0), 0.0, between / error)


def _upper_tail(f: np.ndarray, over: int, under: int) -> np.ndarray:
    """``P(F > f)`` with ``(over, under)`` degrees of freedom, in as many threads as torch's."""
    from concurrent.futures import ThreadPoolExecutor

    import torch
    from scipy.special import fdtrc

    flat = np.ascontiguousarray(f).reshape(-1)
    p = np.empty(flat.shape)

    def fill(part: slice) -> None:
        p[part] = fdtrc(over, under, flat[part])  # scipy releases the lock

    shares = max(1, min(torch.get_num_threads(), flat.size // _SHARE))
    first, *others = (
        slice(flat.size * i // shares, flat.size * (i + 1) // shares) for i in range(shares)
    )
    with ThreadPoolExecutor(max(1, len(others))) as pool:
        rest = [pool.submit(fill, part) for part in others]
        fill(first)  # by this thread: two of a pool were often given one core
        for share in rest:
            share.result()
    p[np.isposinf(flat)] = 0.0
    return p.reshape(f.shape)


class Anova(Measure):
    """Analysis of variance, transformations being the treatments.

    One-way: ``F = MSB / MSW`` with ``MSB = n sum_j (mean_i ST[i, j] - mean)^2 / (m - 1)`` and
    ``MSW = SV``; ``p = P(F_{m-1, m(n-1)} > F)``. The values of one sample are not independent, so
    this test is conservative: it rejects less often than alpha where the samples differ.

    ``paired=True`` is the test for repeated measures: ``F = MSB / MSE`` with MSE the squares about
    row mean + column mean - mean over ``(n - 1)(m - 1)``. Its p is that of ``F_{1, n-1}``, the
    Geisser-Greenhouse lower bound, valid whatever the covariance between transformations;
    ``sphericity="assumed"`` uses ``F_{m-1, (n-1)(m-1)}`` (neighbouring angles correlate: it then
    rejects 8 to 16 % of true hypotheses at a nominal 5 %).

    Variables ``ANOVA_F``, ``ANOVA_p`` and ``ANOVA_rejected``, or ``ANOVA_paired_...``. Rejected
    means that the mean activation depends on the transformation.

    - Shape: one number each per activation, float64. Unit: none.
    - Special cases: no variation at all: F = 0, p = 1. None within columns (paired: no error) but
      between them: F infinite, p = 0. Where any activation was NaN or infinite: F and p are NaN,
      not rejected, and the unit is no part of k.
    - Needs: at least 2 samples and 2 transformations.
    - Errors: `ArgumentError` for an alpha outside (0, 1) or an unknown correction or sphericity.
    - Cost: one pass where the state of all sums fits the memory, else several; p-values of a
      million activations take 0.06 to 0.1 s on 2 cores.
    - Source: Quiroga (2020), section 2.3; Greenhouse and Geisser (1959), On methods in the analysis
      of profile data.

    Args:
        paired: Whether rows are blocks (repeated measures).
        alpha: The level of the test, over all activations after correction.
        correction: ``"bonferroni"`` rejects where ``p < alpha / k``, k being all activations
            measured that are not NaN, dead ones included; ``"fdr_bh"`` keeps the false discovery
            rate at alpha (Benjamini and Hochberg, 1995); None rejects where ``p < alpha``.
        sphericity: Degrees of freedom of the paired test: ``"lower-bound"`` or ``"assumed"``.

    Example:
        >>> import torch, tmeasures as tm
        >>> images = torch.tensor([[[1.0, 0.0], [0.0, 0.0]], [[2.0, 0.0], [0.0, 0.0]]])
        >>> tree = tm.measure(torch.nn.Flatten(), images, tm.rotations(4), measures="ANOVA")
        >>> tree["layers/output/ANOVA_F"].values.round(3)
        array([9., 9., 9., 9.])
        >>> tree["layers/output/ANOVA_p"].values.round(3)
        array([0.03, 0.03, 0.03, 0.03])
    """

    short = "ANOVA"
    least = (2, 2)

    def __init__(
        self,
        paired: bool = False,
        alpha: float = 0.05,
        correction: Correction | None = "bonferroni",
        sphericity: Sphericity = "lower-bound",
    ) -> None:
        if not (isinstance(alpha, int | float) and 0 < alpha < 1):
            raise ArgumentError(
                f"alpha={alpha!r} is no level of a test: give a number between 0 and 1"
            )
        if correction not in ("bonferroni", "fdr_bh", None):
            raise ArgumentError(
                f"correction={correction!r} is unknown: give 'bonferroni', 'fdr_bh' or None"
            )
        if sphericity not in ("lower-bound", "assumed"):
            raise ArgumentError(
                f"sphericity={sphericity!r} is unknown: give 'lower-bound' or 'assumed'"
            )
        self.paired, self.alpha, self.correction = paired, alpha, correction
        self.sphericity = sphericity
        self.needs = frozenset({"between", "error" if paired else "columns"})
        self._prefix = "ANOVA_paired" if paired else "ANOVA"

    def _freedom(self, n: int, m: int) -> tuple[int, int]:
        """Degrees of freedom of the test."""
        if not self.paired:
            return m - 1, m * (n - 1)
        return (1, n - 1) if self.sphericity == "lower-bound" else (m - 1, (n - 1) * (m - 1))

    def finalize(self, quantities: Quantities) -> dict[str, Field]:
        """See `Measure.finalize`."""
        n, m = quantities.n, quantities.m
        between = quantities["between"] / (m - 1)
        if self.paired:
            error = quantities["error"] / ((n - 1) * (m - 1))
        else:
            error = quantities["columns"] / (m * (n - 1))
        f = _f_statistic(between, error)
        freedom = self._freedom(n, m)
        p = _upper_tail(f, *freedom)
        test = "repeated-measures ANOVA" if self.paired else "one-way ANOVA"
        degrees = {"df_between": freedom[0], "df_error": freedom[1]}
        return {
            f"{self._prefix}_F": Field(
                f,
                "1",
                f"F of a {test}",
                Q20,
                rounding=SV_BELOW_ROUNDING,
                double=True,
                attributes=degrees,
            ),
            f"{self._prefix}_p": Field(p, "1", f"p of a {test}", Q20, kind="p", attributes=degrees),
        }

    def conclude(self, layers: Sequence[dict[str, Field]]) -> None:
        """Decide which activations reject, over the whole network."""
        name = f"{self._prefix}_p"
        all_p = np.concatenate([fields[name].values.reshape(-1) for fields in layers])
        all_p = all_p[~np.isnan(all_p)]
        level = self._level(all_p)
        attributes = {"alpha": self.alpha, "k": all_p.size, "correction": self.correction or "none"}
        for fields in layers:
            p = fields[name]
            rejected = p.values < level
            fields[f"{self._prefix}_rejected"] = replace(
                p,
                values=rejected,
                long_name="whether the mean depends on the transformation",
                kind="decision",
                attributes=attributes,
            )

    def _level(self, p: np.ndarray) -> float:
        """The number that a rejected p lies under."""
        if self.correction == "fdr_bh" and p.size:
            ordered = np.sort(p)
            (passed,) = np.nonzero(ordered <= self.alpha * np.arange(1, p.size + 1) / p.size)
            return float(np.nextafter(ordered[passed[-1]], 1)) if passed.size else 0.0
        return self.alpha / max(p.size, 1) if self.correction == "bonferroni" else self.alpha

    def reference(self, cube: np.ndarray) -> dict[str, np.ndarray]:
        """See `Measure.reference`."""
        n, m = cube.shape[:2]
        wide = centred(cube)
        columns, grand = wide.mean(0), wide.mean((0, 1))
        between = n * np.square(columns - grand).sum(0) / (m - 1)
        if self.paired:
            rest = (wide - wide.mean(1, keepdims=True)) - (columns - grand)
            error = np.square(rest).sum((0, 1)) / ((n - 1) * (m - 1))
        else:
            # about each column's first value, so that equal values give exactly 0
            error = (wide - wide[:1]).var(0, ddof=1).mean(0)
        f = _f_statistic(between, error)
        freedom = self._freedom(n, m)
        return {
            f"{self._prefix}_F": f,
            f"{self._prefix}_p": _upper_tail(f.astype(np.float64), *freedom),
        }
