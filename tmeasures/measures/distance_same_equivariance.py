"""DSE: how far apart maps are under transformations once they are moved back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tmeasures.errors import ArgumentError
from tmeasures.fields import Field
from tmeasures.measures.base import Q20, Measure, Quantities, ratio
from tmeasures.measures.returning import moved_back, moved_there_and_back
from tmeasures.statistics.returned import LEAST_SHARE, Per, ReturnedKind, Vectors, floor_samples
from tmeasures.statistics.returned_samples import ReturnedSamplesKind
from tmeasures.transformations.base import TransformationSet


class DistanceSameEquivariance(Measure):
    """Distance same-equivariance: the mean distance of maps that are moved back.

    With ``ST'[i, j] = t_j^-1 A(t_j(x_i))``, the map of transformation j warped back at the map's
    own resolution and taken as a vector, ``DSE = mean_i AverageDistance(ST'[i, :])`` with
    ``AverageDistance(v) = sum_{p,q} |v_p - v_q| / pairs``, the pairs with ``p = q`` among them.
    Vectors have unit norm unless told not to, so that 0 says that a map follows its input as the
    input is transformed, or is 0 throughout (its channel is then counted as dead); maps at right
    angles have ``1.41 (m - 1) / m``, and those that are never negative less, so compare at equal m
    and beside the floor. A map that is 0 stays 0.

    With ``valid_only`` two maps are compared, and normed, over the locations that both have in
    their frame; pairs with less than 10 % of the map in common are left out, and counted in the
    attribute ``pairs_left_out``. Without it this is equation 8 to the letter, but what leaves the
    frame alone then gives a network that follows perfectly a DSE of 0.49 (shifts by 4 pixels in
    8 directions, white noise of 28 x 28).

    ``DSE_floor`` is the same measure of ``t_j^-1 t_j A(x_i)``: what warping there and back costs.
    It is over the first samples, an eighth of them, at least 8 and at most 32; more samples move a
    layer's mean by 5 % at most, seen in two networks. How transformations act on maps says
    `tmeasures.Transformation.acting_on`; photometric ones act as the identity.

    Variables ``DSE`` and ``DSE_floor``; with options ``DSE_layer``, ``DSE_raw``, ``DSE_whole``,
    ``DSE_normalized``, in this order where there are several.

    - Shape: one number per channel, or per layer, also where it has no channels; layers on which it
      is not known how the transformations act are left out and listed. Unit: none; the activation's
      for raw vectors.
    - Undefined: NaN where all pairs are left out, and where any activation of the channel, or
      layer, was NaN or infinite.
    - Needs: at least 2 transformations, each with an inverse; normalized, 2 samples. Errors: as
      those of VSE, and `ArgumentError` for another ``per``.
    - Cost: one sample-first pass, the same as the other measures', and a short one of 8 to
      32 untransformed samples for the floor. State: 8 bytes for each channel, and the activations
      of a tile's samples where it holds less than whole rows; before that, for the floor, those of
      a sample under all transformations. Time grows with the pairs, m * (m - 1) / 2 for each
      location.
    - Source: Quiroga (2020), equation 8.

    Args:
        per: ``"channel"``, or ``"layer"``: the maps of all channels as one vector.
        unit_norm: Whether vectors are divided by their norms.
        valid_only: Whether only locations in both frames count.
        normalized: Whether DSE is divided by the sample distance of ``ST'``, the mean distance of
            two samples under one transformation, over blocks of 32 as for SD; 0 / 0 is 1. Quiroga
            (2020) advises against it.

    Example:
        >>> import torch, tmeasures as tm
        >>> flat = torch.nn.Conv2d(1, 2, 1)
        >>> images = torch.rand(10, 1, 8, 8)
        >>> tree = tm.measure(flat, images, tm.rotations(4), measures="DSE")
        >>> tree["layers/output/DSE"].dims, bool((tree["layers/output/DSE"] < 1e-6).all())
        (('channel',), True)
    """

    short = "DSE"
    least = (1, 2)

    def __init__(
        self,
        per: Per = "channel",
        unit_norm: bool = True,
        valid_only: bool = True,
        normalized: bool = False,
    ) -> None:
        if per not in ("channel", "layer"):
            raise ArgumentError(f"per={per!r} is unknown: give 'channel' or 'layer'")
        self.per, self.unit_norm = per, unit_norm
        self.valid_only, self.normalized = valid_only, normalized
        vectors = Vectors(per, unit_norm)
        self._kind = ReturnedKind(False, vectors, valid_only)
        (self._floor,) = self._kind.before
        self.kinds = (self._kind,)
        self.needs = frozenset({"rows"}) | self._kind.provides | self._floor.provides
        if normalized:
            self.least = (2, 2)
            self._samples = ReturnedSamplesKind(vectors, valid_only)
            self.kinds += (self._samples,)
            self.needs |= self._samples.provides

    def finalize(self, quantities: Quantities) -> dict[str, Field]:
        """See `Measure.finalize`."""
        n, key, floor = quantities.n, self._kind.distances_key, self._floor.name
        values = quantities[f"{key}/sum"] / n
        least = quantities[f"{floor}/sum"] / quantities[f"{floor}/rows"]
        if self.normalized:
            name, pairs = self._samples.name, self._samples.pairs.pairs(n)
            columns = quantities[f"{name}/columns"]
            under = quantities[f"{name}/sum"] / columns / (pairs or np.nan) * ((n - 1) / n)
            values, least = ratio(values, under), ratio(least, under)
        units = "1" if self.unit_norm or self.normalized else "activation"
        long_name = "distance same-equivariance" + "".join(f", {word}" for word in self._words)
        dims = ("channel",) if values.ndim else ()
        left_out = {"pairs_left_out": int(np.max(quantities[f"{key}/left_out"]))}
        return {
            self._name: Field(values, units, long_name, Q20, dims=dims, attributes=left_out),
            f"{self._name}_floor": Field(least, units, f"{long_name}, floor", Q20, dims=dims),
        }

    @property
    def _words(self) -> list[str]:
        given = {
            "layer": self.per == "layer",
            "raw": not self.unit_norm,
            "whole": not self.valid_only,
            "normalized": self.normalized,
        }
        return [word for word, said in given.items() if said]

    @property
    def _name(self) -> str:
        return "_".join(["DSE", *self._words])

    def reference(
        self,
        cube: np.ndarray,
        transformations: TransformationSet | None = None,
        dims: Sequence[str] = ("channel", "y", "x"),
        item: Sequence[int] | None = None,
        untransformed: np.ndarray | None = None,
    ) -> dict[str, np.ndarray]:
        """The definition on a stored cube; see `VarianceSameEquivariance.reference`."""
        assert transformations is not None
        moved, valid = moved_back(cube, transformations, dims, item)
        first = cube[:, 0] if untransformed is None else untransformed
        first = first[: floor_samples(len(first))]
        there = moved_there_and_back(first, transformations, dims, item)
        valid = valid if self.valid_only else np.ones_like(valid)
        counts = self._vectors(valid[None], dims)[0]  # (transformation, vector, value)
        values = self._average(self._vectors(moved, dims), counts)
        floor = self._average(self._vectors(there, dims), counts)
        if self.normalized:
            under = self._between_samples(self._vectors(moved, dims), counts)
            values, floor = ratio(values, under), ratio(floor, under)
        found = {self._name: values, f"{self._name}_floor": floor}
        one = self.per == "layer" or "channel" not in dims
        return {name: value[0] if one else value for name, value in found.items()}

    def _vectors(self, cube: np.ndarray, dims: Sequence[str]) -> np.ndarray:
        """``(sample, transformation, vector, value)``."""
        if self.per == "layer" or "channel" not in dims:
            return cube.reshape(*cube.shape[:2], 1, -1)
        first = np.moveaxis(cube, 2 + list(dims).index("channel"), 2)
        return first.reshape(*first.shape[:3], -1)

    def _distance(self, a: np.ndarray, b: np.ndarray, both: np.ndarray) -> np.ndarray:
        a, b = np.where(both, a, 0), np.where(both, b, 0)
        if self.unit_norm:
            a, b = _normed(a), _normed(b)
        return np.asarray(np.sqrt(np.square(a - b).sum(-1)))

    def _average(self, v: np.ndarray, valid: np.ndarray) -> np.ndarray:
        m = v.shape[1]
        total, pairs = np.zeros(v.shape[2], np.longdouble), 0
        for p in range(m):
            for q in range(m):
                both = valid[p] & valid[q]
                if p == q or both[0].mean() >= LEAST_SHARE:
                    pairs += 1
                    total += self._distance(v[:, p], v[:, q], both).mean(0)
        return total / (pairs if pairs > m else np.nan)

    def _between_samples(self, v: np.ndarray, valid: np.ndarray) -> np.ndarray:
        n, block = len(v), self._samples.pairs.block or len(v)
        columns = [j for j in range(v.shape[1]) if valid[j, 0].mean() >= LEAST_SHARE]
        pairs = [
            (p, q)
            for start in range(0, n, block)
            for p in range(start, min(start + block, n))
            for q in range(start, p)
        ]
        total = sum(self._distance(v[p, j], v[q, j], valid[j]) for j in columns for p, q in pairs)
        return np.asarray(total / len(columns) / len(pairs) * (n - 1) / n)


def _normed(vectors: np.ndarray) -> np.ndarray:
    norms = np.sqrt(np.square(vectors).sum(-1, keepdims=True))
    return vectors / np.where(norms == 0, 1, norms)
