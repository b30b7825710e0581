"""Sets of transformations from a text such as "rotation:8 * scale:.5,1,2"."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import mul

from torch import nn

from tmeasures.cli.references import load, make, needs
from tmeasures.errors import ArgumentError, TransformationError
from tmeasures.hints import near
from tmeasures.job import as_set
from tmeasures.transformations import (
    Transformation,
    TransformationSet,
    combined,
    flips,
    identity,
    rotations,
    scalings,
    translations,
)

_WHAT = "--transformations"


def transformations(text: str) -> TransformationSet:
    """The set, or the product of sets, that a text names.

    ``term * term * ...``, the first applied first. A term is one of

    - ``rotation:16``, so many angles in equal steps of a full turn; ``rotation:-10,0,10``, these
      angles in degrees, and ``rotation:45,``, with a comma, the angle 45 alone; ``rotation``, 16;
    - ``scale``, or with factors ``scale:.5,1,2``;
    - ``translation``, or with distances in pixels ``translation:1,2,4``;
    - ``flip``, ``combined``, ``identity``;
    - ``package.module:name`` or ``path/to/file.py:name``, a set, a list of callables or a mapping
      of names to them, or a function without arguments that returns one.

    Names may be plural. What a name alone gives is what ``tm.rotations()`` and the like give.

    Args:
        text: As above.

    Returns:
        The set; its name says how many of each.

    Raises:
        ArgumentError: The text, or what it refers to, is something else.
        TransformationError: Numbers that a set cannot have.

    Example:
        >>> transformations("rotation:4 * scale:.5,1")
        <rotations(4) * scalings(2): 8 transformations; angle 0 to 270; scale 0.5 to 1; identity 1;\
 fill 0.0>
        >>> transformations("rotation:45,").names
        ['rotation 45°']
    """
    terms = [term.strip() for term in text.split("*")]
    if not all(terms):
        where = "is empty" if not any(terms) else f"is {text!r}, with nothing beside a '*'"
        raise ArgumentError(f"{_WHAT} {where}; expected {_FORMS}")
    return reduce(mul, map(_term, terms))


def _term(term: str) -> TransformationSet:
    name, colon, given = (part.strip() for part in term.partition(":"))
    known = name.lower().removesuffix("s")
    if known in _NAMED:
        if colon and not given:
            raise ArgumentError(
                f"{_WHAT} {term!r} has nothing after the colon; expected numbers there: give some, "
                "or leave the colon out"
            )
        return _NAMED[known](term, given)
    # Not `given`: a path on Windows has a colon of its own.
    if colon and term.rpartition(":")[2].strip()[:1].isidentifier():
        return _referred(term)
    raise ArgumentError(f"{_WHAT} {term!r} is unknown{near(known, _NAMED)}; expected {_FORMS}")


def _referred(reference: str) -> TransformationSet:
    """The set that a reference names."""
    found = load(reference, _WHAT)
    if callable(found) and not isinstance(found, (Transformation, nn.Module)):
        if needs(found):
            raise ArgumentError(
                f"{_WHAT} {reference!r} takes arguments, as a single transformation does; expected "
                "a list, such as several = [one, another], or a function without arguments that "
                "returns a set"
            )
        found = make(found, reference, _WHAT)
    try:
        return as_set(found)
    except (ArgumentError, TransformationError) as error:
        raise ArgumentError(f"{_WHAT} {reference!r}: {error}") from error


def _rotation(term: str, given: str) -> TransformationSet:
    """Angles, or how many: one number without a comma is a count."""
    if not given:
        return rotations()
    numbers = _numbers(term, given)
    if "," in given:
        return rotations(numbers)
    count = numbers[0]
    if count < 1 or count % 1:
        raise ArgumentError(
            f"{_WHAT} {term!r} has one number, which is how many angles there are, from 1 on; "
            f"expected a whole number: for the single angle write 'rotation:{given},' with a comma"
        )
    return rotations(int(count))


def _of_numbers(make_set: Callable[..., TransformationSet]) -> _Builder:
    """The builder of a set that takes a list of numbers, or nothing."""

    def build(term: str, given: str) -> TransformationSet:
        return make_set(_numbers(term, given)) if given else make_set()

    return build


def _of_nothing(make_set: Callable[[], TransformationSet]) -> _Builder:
    """The builder of a set that takes no arguments."""

    def build(term: str, given: str) -> TransformationSet:
        if given:
            raise ArgumentError(
                f"{_WHAT} {term!r} has arguments, and this set takes none; write "
                f"{term.partition(':')[0].strip()!r}"
            )
        return make_set()

    return build


def _numbers(term: str, given: str) -> list[float]:
    """Numbers between commas; a last comma may follow."""
    numbers = []
    for part in given.removesuffix(",").split(","):
        try:
            numbers.append(float(part))
        except ValueError:
            found = repr(part.strip()) if part.strip() else "nothing between two commas"
            raise ArgumentError(
                f"{_WHAT} {term!r} has {found} where a number should be; expected numbers with a "
                "point and commas between them, such as .5,1,2"
            ) from None
    return numbers


_Builder = Callable[[str, str], TransformationSet]
"""From a term and what stands after its colon to a set."""

_NAMED: dict[str, _Builder] = {
    "rotation": _rotation,
    "scale": _of_numbers(scalings),
    "scaling": _of_numbers(scalings),
    "translation": _of_numbers(translations),
    "flip": _of_nothing(flips),
    "combined": _of_nothing(combined),
    "identity": _of_nothing(identity),
}
"""By name in the singular."""

_FORMS = (
    f"{', '.join(_NAMED)}, with numbers as in rotation:16 or scale:.5,1,2, package.module:name or "
    "file.py:name, or a product such as rotation:8*scale"
)
