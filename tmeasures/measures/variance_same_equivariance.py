"""VSE: how much a map varies under transformations once it is moved back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tmeasures.fields import Field
from tmeasures.measures.base import Q20, Measure, Quantities, ratio
from tmeasures.measures.returning import moved_back, moved_there_and_back
from tmeasures.statistics.returned import ReturnedKind, floor_samples
from tmeasures.statistics.returned_samples import ReturnedSamplesKind
from tmeasures.transformations.base import TransformationSet


class VarianceSameEquivariance(Measure):
    """Variance same-equivariance: the variance over transformations of maps that are moved back.

    With ``ST'[i, j] = t_j^-1 A(t_j(x_i))``, the map of transformation j warped back at the map's
    own resolution, ``VSE = mean_i Var_j(ST'[i, :])`` at each location of each channel, ``Var`` with
    the divisor ``count - 1``; 0: the map follows its input as the input is transformed. How a
    transformation acts on maps, and what the centre of a strided layer's map means for that, says
    `tmeasures.Transformation.acting_on`; photometric transformations act as the identity, so that
    VSE is TV; ``action=`` of `tmeasures.measure` declares other actions.

    Warping there and back blurs and loses what leaves the frame, which no network can avoid:
    ``VSE_floor`` is the same measure of ``t_j^-1 t_j A(x_i)``, over the first samples, an eighth of
    them, at least 8 and at most 32. Where contrasts vary much, a layer's mean over 8 is within 27 %
    of that over many, over 32 within 10 %.

    Variables ``VSE`` and ``VSE_floor``; ``VSE_normalized`` and its floor; ``VSE_whole`` and
    ``VSE_whole_normalized`` with ``valid_only=False``.

    - Shape: one number per activation of layers on which it is known how the transformations act;
      others are left out and listed. Unit: the activation's, squared; none where normalized.
    - Undefined: NaN where fewer than two transformations have the location in their frame, and
      where any activation of the unit was NaN or infinite (a neighbour's takes what is
      interpolated from it with it).
    - Needs: at least 2 transformations, each with an inverse; normalized, 2 samples. Errors:
      `ArgumentError` where no layer has an action that is known, `TransformationError` for a
      transformation without an inverse, and for an inverse given for a callable that is none.
    - Cost: one sample-first pass, the same as the other measures', and a short one of 8 to
      32 untransformed samples for the floor. State: 8 bytes for each activation; 16 more for each
      sample of a tile that holds less than whole rows; before that, for the floor, the activations
      of a sample under all transformations.
    - Source: Quiroga (2020), section 2.6.

    Args:
        valid_only: Whether a location counts only under transformations that have it in their
            frame; else what is outside is read as the fill says, 0 mostly.
        normalized: Whether VSE is divided by the sample variance of ``ST'``, its mean over these
            transformations of the variance over samples; 0 / 0 is 1. Quiroga (2020) advises
            against it.

    Example:
        >>> import torch, tmeasures as tm
        >>> flat = torch.nn.Conv2d(1, 2, 1)
        >>> images = torch.rand(10, 1, 8, 8)
        >>> tree = tm.measure(flat, images, tm.rotations(4), measures="VSE")
        >>> tree["layers/output/VSE"].dims, bool((tree["layers/output/VSE"] < 1e-12).all())
        (('channel', 'y', 'x'), True)
    """

    short = "VSE"
    least = (1, 2)

    def __init__(self, valid_only: bool = True, normalized: bool = False) -> None:
        self.valid_only, self.normalized = valid_only, normalized
        self._kind = ReturnedKind(valid_only=valid_only)
        (self._floor,) = self._kind.before
        self.kinds = (self._kind,)
        self.needs = frozenset({"rows"}) | self._kind.provides | self._floor.provides
        if normalized:
            self.least = (2, 2)
            self._samples = ReturnedSamplesKind(valid_only=valid_only)
            self.kinds += (self._samples,)
            self.needs |= self._samples.provides

    def finalize(self, quantities: Quantities) -> dict[str, Field]:
        """See `Measure.finalize`."""
        key, floor = self._kind.variances_key, self._floor.name
        values = quantities[f"{key}/sum"] / quantities.n
        least = quantities[f"{floor}/sum"] / quantities[f"{floor}/rows"]
        if self.normalized:
            name = self._samples.name
            squares, columns = quantities[f"{name}/sum"], quantities[f"{name}/columns"]
            under = squares / columns / (quantities.n - 1)
            values, least = ratio(values, under), ratio(least, under)
        units = "1" if self.normalized else "activation2"
        long_name = "variance same-equivariance" + ("" if self.valid_only else ", whole")
        long_name += ", normalized" if self.normalized else ""
        return {
            self._name: Field(values, units, long_name, Q20),
            f"{self._name}_floor": Field(least, units, f"{long_name}, floor", Q20),
        }

    @property
    def _name(self) -> str:
        words = [] if self.valid_only else ["whole"]
        return "_".join(["VSE", *words, *(["normalized"] if self.normalized else [])])

    def reference(
        self,
        cube: np.ndarray,
        transformations: TransformationSet | None = None,
        dims: Sequence[str] = ("channel", "y", "x"),
        item: Sequence[int] | None = None,
        untransformed: np.ndarray | None = None,
    ) -> dict[str, np.ndarray]:
        """The definition on a stored cube, moved by the transformations' own actions; for tests.

        Args:
            cube: ``(sample, transformation, *unit)``.
            transformations: The set.
            dims: Of the units.
            item: Shape of the network's input items; None: that of the units.
            untransformed: ``(sample, *unit)``; None: the first column.
        """
        assert transformations is not None
        moved, valid = moved_back(cube, transformations, dims, item)
        valid = valid if self.valid_only else np.ones_like(valid)
        first = cube[:, 0] if untransformed is None else untransformed
        first = first[: floor_samples(len(first))]
        there = moved_there_and_back(first, transformations, dims, item)
        values, floor = _variances(moved, valid), _variances(there, valid)
        if self.normalized:
            over = np.where(valid, moved.var(0, ddof=1), 0).sum(0) / valid.sum(0)
            values, floor = ratio(values, over), ratio(floor, over)
        return {self._name: values, f"{self._name}_floor": floor}


def _variances(moved: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Variances over the transformations where they are valid, averaged over samples."""
    counts = valid.sum(0)
    means = np.where(valid, moved, 0).sum(1) / np.where(counts, counts, 1)
    squares = np.where(valid, np.square(moved - means[:, None]), 0).sum(1).mean(0)
    return np.where(counts > 1, squares / np.where(counts > 1, counts - 1, 1), np.nan)
