"""What can be measured of a problem, by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from alone import alone
from big import big
from growth import growth
from halves import error
from memory import memory
from overhead import overhead
from peers import peer
from problems import Problem
from rounds import Figures
from saving import save
from sweeps import batch, beyond, columns
from workload import How

Part = Callable[[Problem, How], list[Figures]]

PARTS: dict[str, Part] = {
    "overhead": partial(overhead, part="overhead"),
    "alone": alone,
    "error": error,
    "memory": memory,
    "costs": partial(overhead, part="costs"),
    "save": save,
    "batch": batch,
    "m": columns,
    "beyond": beyond,
    "growth": growth,
    "big": big,
    "peer": peer,
}
"""A function of each, in the order in which they run: from a problem to records."""

USUAL = ("overhead", "alone", "error", "memory", "costs", "save")
"""Those that run when none is named; the peer too, where there is one."""

OWN = frozenset({"memory", "big", "growth"})
"""Those that start processes of their own for each reading, and need none themselves."""
