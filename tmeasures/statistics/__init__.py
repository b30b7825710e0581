"""What is kept of each layer while its activations stream past, and what it gives.

Quantities, for one unit with the matrix ``ST`` of n rows and m columns:

=====================  =============================================================
``rows``               squares about the row means, over all rows
``row_means``          m times the squares of the row means about their mean
``row_deviations``     sum of the rows' standard deviations
``row_variances``      squares of the rows' variances about their mean
``columns``            squares about the column means, over all columns
``between``            n times the squares of the column means about their mean
``column_deviations``  sum of the columns' standard deviations
``error``              squares about row mean + column mean - mean
``largest``            the largest ``|ST[i, j]|``
=====================  =============================================================

Kinds with parameters give quantities whose names start with their own, ``distances/rows`` or
``firing/all``: see `tmeasures.statistics.distances.DistancesKind` and
`tmeasures.statistics.firing.FiringKind`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor

from tmeasures.statistics.base import Kind, Statistic
from tmeasures.statistics.columns import Columns
from tmeasures.statistics.moments import Moments
from tmeasures.statistics.rows import Rows
from tmeasures.statistics.setup import Order, Setup

__all__ = ["KINDS", "QUANTITIES", "Columns", "Kind", "Moments", "Order", "Rows", "Setup"]
__all__ += ["Statistic", "completed", "gather", "provided"]

KINDS: dict[str, Kind] = {kind.name: kind for kind in (Moments, Rows, Columns)}


QUANTITIES = frozenset().union(*(kind.provides for kind in KINDS.values()), {"largest"})
"""All that a measure may need."""


def provided(kinds: Iterable[Kind]) -> frozenset[str]:
    """The quantities that `completed` gives from statistics of these kinds."""
    found = frozenset({"largest"}).union(*(kind.provides for kind in kinds))
    return found | {"error"} if {"row_means", "between"} <= found else found


def gather(statistics: Iterable[Statistic]) -> dict[str, Tensor]:
    """The quantities of a layer from all its statistics, float64 on the CPU."""
    found: dict[str, Tensor] = {}
    for statistic in statistics:
        for name, value in statistic.finalize().items():
            found.setdefault(name, value.cpu().double())
    return found


def completed(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The quantities, with ``error`` also from rows and columns.

    From rows and columns the error is a difference, ``rows - between = columns - row_means``; the
    one that starts from less is taken. Its relative error is that of the quantities times
    ``columns / error`` at most.
    """
    if "error" in found or not {"rows", "row_means", "columns", "between"} <= found.keys():
        return dict(found)
    from_rows = found["rows"] - found["between"]
    from_columns = found["columns"] - found["row_means"]
    less = found["rows"] < found["columns"]
    return {**found, "error": from_rows.where(less, from_columns).clamp_(min=0)}
