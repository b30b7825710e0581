"""GF: how much more often a unit that fires still fires under transformations than by chance."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import Any, Literal

import numpy as np

from tmeasures.errors import ArgumentError
from tmeasures.fields import Field
from tmeasures.measures.base import Q20, Measure, Quantities
from tmeasures.statistics.base import Reference
from tmeasures.statistics.firing import FiringKind
from tmeasures.statistics.thresholds import Rule, Sign, Threshold

Local = Literal["conditional", "marginal"]

G09 = "Goodfellow, Le, Saxe, Lee and Ng (2009), Measuring invariances in deep networks, NIPS 22"


class Goodfellow(Measure):
    """Goodfellow's invariance: local firing rate over global firing rate.

    A unit fires where ``sign * a`` is over a threshold of its own, which it passes for a share g of
    the reference inputs. ``GF = L / G``: with the untransformed samples ``u[i] = a(x_i)``, and the
    set ``I`` of the columns that are not the identity,

        G = share of the reference inputs on which the unit fires
        L = mean over the samples i with u[i] firing of the share of j in I with ST[i, j] firing

    1: a unit fires under a transformation whether it does without or not, as for pure noise. 0: the
    samples that fire do so under no transformation. ``1 / G``, about ``1 / g``: under all of them.
    Larger is more invariant. Variables ``GF``, and ``GF_rate`` with the measured G: near g, but
    less where values are equal (a ReLU that is 0 for most samples).

    The quantile, over ``n0`` reference inputs with ``r = ceil(g n0)``, is the middle between the
    r-th and the (r+1)-th largest of ``sign * a``, so that r inputs lie over it where no two are
    equal (over the r-th largest lie r - 1: none at all up to n0 = 100). Values are taken for equal
    that differ by no more than rounding, ``16 eps max |a|``, which would decide in their place
    (eps of float32 for half networks, whose values stand on a coarser lattice); a unit that is
    constant in this sense over these inputs never fires.

    - Shape: one number each per activation. Unit: none. The layer's score is the mean GF of the top
      20 % of its units.
    - Undefined: GF is NaN where no untransformed sample fires (GF_rate is then 0), where every
      column is the identity, and, with GF_rate, where any activation was NaN or infinite.
    - Needs: at least 2 samples; L is a mean over the few that fire, 10 of 1000 for g = 0.01.
    - Errors: `ArgumentError` for a g outside (0, 1), an unknown reference, threshold, local or
      sign, and for ``local="marginal"`` with ``reference="transformed"``.
    - Cost: one sample-first pass, and before it a short one over the first 4096 reference inputs;
      all samples for ``"normal"``, or an earlier pass over the whole matrix where there is one.
      Untransformed samples go through the network beside the others where the set has no identity.
      State of an activation: 28 bytes, and 5 for each sample of a tile that holds less than whole
      rows; before that, ``r + 2`` activations (for ``"normal"`` 24 bytes). Twice that for
      ``"best"``.
    - Source: Goodfellow, Le, Saxe, Lee and Ng (2009), Measuring invariances in deep networks, NIPS
      22; Quiroga (2020), section 3.2.2.

    Args:
        g: The share of reference inputs on which a unit is to fire.
        reference: ``"untransformed"`` samples, or the ``"transformed"`` ones: the whole matrix.
        threshold: ``"quantile"`` of the first ``min(n, 4096)`` reference inputs in the seeded order
            (transformed ones in whole rows), or ``"normal"``: the mean and as many standard
            deviations as a normal variable exceeds with probability g, over all reference inputs
            (a ReLU's rate is then nearer 4 %).
        local: ``"conditional"``, L as above; or ``"marginal"``: L is the firing rate over the whole
            matrix, whichever samples fire (what the code published with Quiroga (2020) computes).
        sign: 1, -1 for a unit that speaks by low values, or ``"best"``: the larger GF of the two,
            and the rate that goes with it.

    Example:
        >>> import torch, tmeasures as tm
        >>> images = torch.zeros(4, 2, 2)
        >>> images[0] = torch.tensor([[9.0, 9.0], [9.0, 0.0]])
        >>> images[1] = torch.tensor([[0.0, 0.0], [0.0, 9.0]])
        >>> measure = tm.Goodfellow(g=0.25)
        >>> tree = tm.measure(torch.nn.Flatten(), images, tm.rotations(4), measures=measure)
        >>> tree["layers/output/GF"].values.round(3)
        array([2.667, 2.667, 2.667, 0.   ], dtype=float32)
        >>> tree["layers/output/GF_rate"].values
        array([0.25, 0.25, 0.25, 0.25], dtype=float32)
    """

    short = "GF"
    least = (2, 1)

    def __init__(
        self,
        g: float = 0.01,
        reference: Reference = "untransformed",
        threshold: Threshold = "quantile",
        local: Local = "conditional",
        sign: Sign = 1,
    ) -> None:
        if not (isinstance(g, int | float) and 0 < g < 1):
            raise ArgumentError(f"g={g!r} is no share of inputs: give a number between 0 and 1")
        _check("reference", reference, ("untransformed", "transformed"))
        _check("threshold", threshold, ("quantile", "normal"))
        _check("local", local, ("conditional", "marginal"))
        if type(sign) not in (int, str) or sign not in (1, -1, "best"):
            raise ArgumentError(f"sign={sign!r} is unknown: give 1, -1 or 'best'")
        if local == "marginal" and reference == "transformed":
            raise ArgumentError(
                "local='marginal' over reference='transformed' is 1 by construction: give "
                "local='conditional' or reference='untransformed'"
            )
        self.g, self.threshold, self.local, self.sign = float(g), threshold, local, sign
        self._rule = Rule(self.g, reference, threshold, sign)
        kind = FiringKind(self._rule)
        self.kinds, self.needs = (kind,), kind.provides

    @property
    def arguments(self) -> dict[str, Any]:
        """See `Measure.arguments`; ``reference`` is a method of measures, so no attribute."""
        kept = {name: getattr(self, name) for name in ("threshold", "local", "sign")}
        return {"g": self.g, "reference": self._rule.reference, **kept}

    def finalize(self, quantities: Quantities) -> dict[str, Field]:
        """See `Measure.finalize`."""
        name, n, m = self._rule.name, quantities.n, quantities.m
        samples, joint = quantities[f"{name}/samples"], quantities[f"{name}/joint"]
        everywhere = quantities[f"{name}/all"] / (n * m)
        gf, rate = self._ratio(samples, n, joint, everywhere)
        if self.sign == "best":
            gf, rate = _larger(gf, rate)
        origin, attributes = f"{G09}; {Q20}", self.arguments
        words = f"firing rate over {self._rule.reference} inputs"
        return {
            "GF": Field(gf, "1", "Goodfellow invariance", origin, score=0.2, attributes=attributes),
            "GF_rate": Field(rate, "1", words, origin, attributes=attributes),
        }

    def _ratio(
        self, samples: np.ndarray, n: int, joint: np.ndarray, everywhere: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """GF and G from counts of untransformed samples and from the rate over the matrix."""
        with np.errstate(divide="ignore", invalid="ignore"):
            rate = samples / n
            local = joint / samples if self.local == "conditional" else everywhere
            if self._rule.reference == "transformed":
                rate = np.where(np.isnan(samples), np.nan, everywhere)
            return np.where(samples > 0, local / rate, np.nan), rate

    def reference(
        self,
        cube: np.ndarray,
        untransformed: np.ndarray | None = None,
        identities: Sequence[int] = (0,),
    ) -> dict[str, np.ndarray]:
        """The definition on a stored cube, in float64; slow, for tests.

        Args:
            cube: ``(sample, transformation, *unit)``.
            untransformed: ``(sample, *unit)``; None: the first column of the identity.
            identities: The columns of the identity.
        """
        if untransformed is None:
            untransformed = cube[:, identities[0]]
        wide, first = cube.astype(np.float64), untransformed.astype(np.float64)
        eps = float(np.finfo(np.promote_types(cube.dtype, np.float32)).eps)
        found = [
            self._definition(sign * wide, sign * first, identities, eps)
            for sign in self._rule.signs
        ]
        gf, rate = _larger(*np.stack(found, 1)) if len(found) > 1 else found[0]
        return {"GF": gf, "GF_rate": rate}

    def _definition(
        self, cube: np.ndarray, first: np.ndarray, identities: Sequence[int], eps: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """GF and G of a cube and of untransformed samples that have the sign already."""
        threshold = self._thresholds(cube, first, eps)
        others = [j for j in range(cube.shape[1]) if j not in identities]
        bad = ~(np.isfinite(cube).all((0, 1)) & np.isfinite(first).all(0))
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = (cube[:, others] > threshold).sum(1) / len(others)
            fires = first > threshold
            samples, joint = fires.sum(0), (shares * fires).sum(0)
            everywhere = (cube > threshold).mean((0, 1))
            rate = fires.mean(0) if self._rule.reference == "untransformed" else everywhere
            local = joint / samples if self.local == "conditional" else everywhere
            gf = np.where(samples == 0, np.nan, local / rate)
        return np.where(bad, np.nan, gf), np.where(bad, np.nan, rate)

    def _thresholds(self, cube: np.ndarray, first: np.ndarray, eps: float) -> np.ndarray:
        n, m = cube.shape[:2]
        inputs = first if self._rule.reference == "untransformed" else cube
        inputs = inputs[: self._rule.rows(n, m)].reshape(-1, *cube.shape[2:])
        rounding = 16 * eps * np.abs(inputs).max(0)
        if self.threshold == "normal":
            found = inputs.mean(0) + NormalDist().inv_cdf(1 - self.g) * inputs.std(0, ddof=1)
        else:
            fires, ordered = self._rule.firing(n, m), -np.sort(-inputs, 0)
            last = ordered[fires - 1]
            beyond = ordered[fires] if fires < len(ordered) else np.full_like(last, -np.inf)
            found = np.where(last - beyond <= rounding, beyond + rounding, (last + beyond) / 2)
        return np.where(np.ptp(inputs, 0) <= rounding, np.inf, found)


def _larger(gf: np.ndarray, rate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The larger GF of two signs, and the rate of that one; the first where rounding decides."""
    second = (gf[1] > gf[0] * (1 + 1e-12)) | np.isnan(gf[0])
    return np.where(second, gf[1], gf[0]), np.where(second, rate[1], rate[0])


def _check(name: str, value: str, known: tuple[str, str]) -> None:
    if value not in known:
        raise ArgumentError(f"{name}={value!r} is unknown: give {known[0]!r} or {known[1]!r}")
