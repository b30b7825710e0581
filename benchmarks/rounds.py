"""Readings of several calls in turn, and which of them count."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from system import Reading

QUIET = 0.1
"""Cores that others may use during a reading, on average, before what it belongs to is dropped."""

Figures = dict[str, Any]


@dataclass
class Rounds:
    """What was read of a few calls that are compared: seconds by call, of each round.

    Attributes:
        quiet: Rounds that others left alone.
        noisy: The rest.
    """

    quiet: list[dict[str, float]] = field(default_factory=list)
    noisy: list[dict[str, float]] = field(default_factory=list)

    @property
    def used(self) -> list[dict[str, float]]:
        """The quiet rounds; all where none was quiet."""
        return self.quiet or self.noisy

    def about(self) -> Figures:
        """How many rounds were used and dropped, and whether they were quiet."""
        return {
            "rounds": len(self.used),
            "dropped": len(self.noisy) if self.quiet else 0,
            "quiet": bool(self.quiet),
        }


def interleave(
    calls: Mapping[str, Callable[[], Reading]],
    together: Mapping[str, Sequence[str]],
    repeats: int,
) -> dict[str, Rounds]:
    """Read calls in turn until all that are compared were read often enough in quiet.

    A round reads every call, in an order that turns about from round to round. What is compared
    counts in a round if others left all its readings alone; it is read no more once it counted
    ``repeats`` times, and after ``2 * repeats`` rounds in any case.

    Args:
        calls: What is read.
        together: The calls that are compared, by name of the comparison.
        repeats: Quiet rounds that are wanted of each.

    Returns:
        `Rounds` of each comparison.
    """
    found = {name: Rounds() for name in together}
    for number in range(2 * repeats):
        wanted = [name for name, rounds in found.items() if len(rounds.quiet) < repeats]
        names = [call for call in calls if any(call in together[name] for name in wanted)]
        readings: dict[str, Reading] = {}
        for call in names if number % 2 == 0 else names[::-1]:
            gc.collect()
            readings[call] = calls[call]()
        for name in wanted:
            busy = any(readings[call].others > QUIET for call in together[name])
            rounds = found[name].noisy if busy else found[name].quiet
            rounds.append({call: readings[call].seconds for call in together[name]})
    return found


def spread(values: Sequence[float]) -> Figures:
    """Median, least and greatest."""
    return {"median": median(values), "least": min(values), "greatest": max(values)}


def spreads(rounds: Sequence[Mapping[str, float]]) -> Figures:
    """`spread` over rounds of each figure."""
    return {name: spread([one[name] for one in rounds]) for name in rounds[0]}
