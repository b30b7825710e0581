"""Text that fits its place: measured, wrapped, shortened in the middle."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from functools import lru_cache

POINTS = 72
"""Points in an inch."""

LINE = 1.25
"""Height of a line of text, in sizes of its font."""

_SWAP = str.maketrans("-_", "_-")


@lru_cache(maxsize=4096)
def width_of(text: str, size: float) -> float:
    """Width in inches of the widest line, in the default font of a size in points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(size=size)
    lines = text.splitlines()
    widths = [text_to_path.get_text_width_height_descent(line, font, False)[0] for line in lines]
    return max(widths, default=0) / POINTS


def height_of(text: str, size: float) -> float:
    """Height in inches of all lines."""
    return len(text.splitlines()) * LINE * size / POINTS


def fitted(text: str, width: float, size: float, lines: int | None = None) -> str:
    """Text broken into lines no wider than so many inches; the middle of too many lines left out.

    The factors of a product of transformations go on lines of their own.
    """
    parts = text.replace(" · ", "\n").splitlines()
    found = [line for part in parts for line in _broken(part, width, size)]
    if lines is not None and len(found) > lines:
        head = lines // 2
        found = [*found[:head], "…", *found[len(found) - (lines - head - 1) :]]
    return "\n".join(found)


def _broken(text: str, width: float, size: float) -> list[str]:
    # Estimated at first, since each try lays out all the lines.
    whole = width_of(text, size)
    characters = len(text) if whole <= width else max(1, int(1.3 * len(text) * width / whole))
    while True:
        # textwrap breaks words at hyphens only, and names of functions have underscores.
        wrapped = textwrap.wrap(text.translate(_SWAP), max(1, characters))
        found = [line.translate(_SWAP) for line in wrapped]
        if characters <= 1 or all(width_of(line, size) <= width for line in found):
            return found
        characters -= 1


def shortened(names: Sequence[str], characters: int = 32) -> list[str]:
    """Names no longer than so many characters, or than it takes to keep them apart."""
    while True:
        short = [_shortened(name, characters) for name in names]
        if len(set(short)) == len(set(names)):
            return short
        characters += 2


def _shortened(name: str, characters: int) -> str:
    if len(name) <= characters:
        return name
    tail = (characters - 1) // 2
    return f"{name[: characters - 1 - tail]}…{name[len(name) - tail :]}"
