"""A run in sight: the bar, and what is said when it is interrupted."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable
from typing import Any


def bar(
    description: str,
    unit: str,
    *,
    wanted: bool,
    work: Iterable[Any] | None = None,
    total: int | None = None,
) -> Any:
    """A tqdm bar for terminals and notebooks; silent elsewhere, and where it is not wanted.

    Args:
        description: Text before the bar.
        unit: What is counted.
        wanted: Whether to show it at all.
        work: What to go through, or None to update the bar by hand.
        total: Units to come, or None where nobody knows.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a notebook without widgets gets the bar of a terminal
        from tqdm.auto import tqdm

    return tqdm(
        work,
        total=total,
        desc=description,
        unit=f" {unit}",
        unit_scale=True,
        dynamic_ncols=True,
        disable=not (wanted and _somebody_watches()),
    )


def share(done: int, total: int | None) -> str:
    """How far a run got: ``"320 of 1,600 inputs (20 %)"``.

    >>> share(320, 1600), share(320, None)
    ('320 of 1,600 inputs (20 %)', '320 inputs')
    """
    if not total:
        return f"{done:,} inputs"
    return f"{done:,} of {total:,} inputs ({done / total:.0%})".replace("%", " %")


def _somebody_watches() -> bool:
    """A terminal, or a notebook, whose streams say that they are none."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return hasattr(shell, "kernel") or bool(getattr(sys.stderr, "isatty", bool)())
