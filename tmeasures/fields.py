"""What a measure hands over for a layer, and the bits of a unit's status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

DEAD = 1
"""Status bit: all activations of the unit are equal."""
NOT_FINITE = 2
"""Status bit: the unit gave a NaN or an infinite activation."""
TV_BELOW_ROUNDING = 4
"""Status bit: the transformation variance is not 0, but no more than the network's own rounding."""
SV_BELOW_ROUNDING = 8
"""Status bit: the sample variance is not 0, but no more than the network's own rounding."""

STATUS: Mapping[str, int] = {
    "dead": DEAD,
    "not_finite": NOT_FINITE,
    "tv_below_rounding": TV_BELOW_ROUNDING,
    "sv_below_rounding": SV_BELOW_ROUNDING,
}
"""The bits of the variable ``status``, by name."""

BY_STRATUM = "_by_stratum"
"""Ending of the variables that have a value for each class."""
STATUS_BY_STRATUM = f"status{BY_STRATUM}"
"""The variable that has the status of the units within each class."""


@dataclass(frozen=True)
class Field:
    """What a measure hands over for one layer.

    Attributes:
        values: One number per unit, ``(*leading, *unit)``; booleans for decisions, integers for
            counts.
        units: Of the values, as CF writes them; ``"1"`` where they have none.
        long_name: The measure in words.
        references: Where it is defined.
        leading: Names of the dims before those of the unit, such as ``("transformation",)``, or
            ``("stratum",)`` for a value within each class.
        dims: Names of the layer's dims that the values have; None: all of them.
        rounding: Bits of the status that say a variance under this value is below rounding.
        kind: How the values are summarised: ``"value"``, ``"p"``, ``"decision"`` or ``"count"``.
        double: Keep float64 also for float32 networks. p-values always are.
        score: The share of units, those of the largest values, whose mean is the layer's score in
            the summary; 0: none.
        attributes: More attributes of the variable, such as the level of a test.

    Example:
        >>> import numpy as np, tmeasures as tm
        >>> tm.Field(np.array([0.5, 2.0]), "1", "normalized variance", "Quiroga (2020)").kind
        'value'
    """

    values: np.ndarray
    units: str
    long_name: str
    references: str
    leading: tuple[str, ...] = ()
    dims: tuple[str, ...] | None = None
    rounding: int = 0
    kind: Literal["value", "p", "decision", "count"] = "value"
    double: bool = False
    score: float = 0.0
    attributes: Mapping[str, str | int | float] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Bytes of the values in a result of float32 activations."""
        if self.kind in ("decision", "count"):
            return self.values.nbytes
        return self.values.size * (8 if self.double or self.kind == "p" else 4)
