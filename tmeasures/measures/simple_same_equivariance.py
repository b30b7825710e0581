"""SSE: how far a transformed input's map is from the transformed map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tmeasures.fields import Field
from tmeasures.measures.base import Q20, Measure, Quantities, ratio
from tmeasures.measures.returning import moved_there
from tmeasures.statistics.carried import CarriedKind
from tmeasures.statistics.returned import LEAST_SHARE
from tmeasures.transformations.base import TransformationSet


class SimpleSameEquivariance(Measure):
    """Simple same-equivariance: the distance of a transformed input's map to the transformed map.

    ``SSE = mean_{i,j} |A(t_j(x_i)) - t_j(A(x_i))|``, the euclidean norm of each channel's map; 0:
    the map follows its input as the input is transformed. ``SSE_relative`` is SSE over the mean
    norm of ``t_j(A(x_i))``, 0 / 0 being 0. It takes no inverse, and warps once where VSE and DSE
    warp the map of a warped input back, so that it has no floor; but the network sees the blur of
    warped inputs, and their maps none.

    Variables ``SSE`` and ``SSE_relative``; ``SSE_whole`` and ``SSE_whole_relative`` without
    ``valid_only``.

    - Shape: one number each per channel, or in all where a layer has no channels; layers on which
      it is not known how the transformations act are left out and listed. Unit: the activation's;
      relative: none.
    - Undefined: NaN where any activation of the channel was NaN or infinite, and where no
      transformation counts; ``SSE_relative`` is infinite where ``t_j(A(x_i))`` alone is 0
      throughout.
    - Needs: transformations whose action on maps is known. Errors: `ArgumentError` where no layer
      has one.
    - Cost: one sample-first pass. Untransformed samples go through the network beside the others
      where no tile of each row's first columns holds an identity. State: 16 bytes for each channel,
      and a map for each sample of a tile that holds less than whole rows.
    - Source: Quiroga (2020), section 2.6.

    Args:
        valid_only: Whether only locations count that the transformation reads inside the frame, and
            only transformations that do so with a tenth of the map at least.

    Example:
        >>> import torch, tmeasures as tm
        >>> flat = torch.nn.Conv2d(1, 2, 1)
        >>> images = torch.rand(10, 1, 8, 8)
        >>> tree = tm.measure(flat, images, tm.rotations(4), measures="SSE")
        >>> bool((tree["layers/output/SSE_relative"] < 1e-6).all())
        True
    """

    short = "SSE"
    least = (1, 1)

    def __init__(self, valid_only: bool = True) -> None:
        self.valid_only = valid_only
        self._kind = CarriedKind(valid_only)
        self.kinds = (self._kind,)
        self.needs = frozenset({"rows"}) | self._kind.provides

    def finalize(self, quantities: Quantities) -> dict[str, Field]:
        """See `Measure.finalize`."""
        key = self._kind.name
        inputs = quantities[f"{key}/inputs"] / (quantities[f"{key}/inputs"] > 0)
        differences, norms = quantities[f"{key}/differences"], quantities[f"{key}/norms"]
        dims = ("channel",) if differences.ndim else ()
        long_name = "simple same-equivariance" + ("" if self.valid_only else ", whole")
        relative = np.where(differences == 0, 0, ratio(differences, norms))
        return {
            self._name: Field(differences / inputs, "activation", long_name, Q20, dims=dims),
            f"{self._name}_relative": Field(
                np.where(np.isnan(differences), np.nan, relative),
                "1",
                f"{long_name}, relative",
                Q20,
                dims=dims,
            ),
        }

    @property
    def _name(self) -> str:
        return "SSE" if self.valid_only else "SSE_whole"

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
        first = cube[:, 0] if untransformed is None else untransformed
        moved, valid = moved_there(first, transformations, dims, item)
        valid = valid if self.valid_only else np.ones_like(valid)
        axes = tuple(2 + axis for axis, dim in enumerate(dims) if dim != "channel")
        share = valid.reshape(len(valid), -1).mean(1)
        columns = [j for j in range(len(valid)) if share[j] >= LEAST_SHARE]
        cube, moved, valid = cube[:, columns], moved[:, columns], valid[columns]
        norms = [
            np.sqrt(np.square(np.where(valid, values, 0)).sum(axes)).mean((0, 1))
            for values in (cube - moved, moved)
        ]
        relative = np.where(norms[0] == 0, 0, norms[0] / norms[1])
        return {self._name: np.asarray(norms[0]), f"{self._name}_relative": relative}
