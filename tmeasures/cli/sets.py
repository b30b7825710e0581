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
    brightness,
    circular_shifts,
    combined,
    contrast,
    flips,
    gains,
    gaussian_blur,
    gaussian_noise,
    grayscale,
    horizontal_scalings,
    identity,
    rotations,
    scalings,
    shears,
    signal_noise,
    time_shifts,
    time_stretches,
    translations,
    vertical_scalings,
    zooms,
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
    - ``brightness:-.2,0,.2``, and likewise, always with numbers, ``contrast``, ``grayscale``,
      ``gaussian_blur``, ``gaussian_noise``, ``zoom``, ``horizontal_scaling``,
      ``vertical_scaling``, ``shear``; of series ``time_shift``, ``time_stretch``, ``gain``,
      ``signal_noise``; of vectors and sequences ``circular_shift``;
    - ``package.module:name`` or ``path/to/file.py:name``, a set, a list of callables or a mapping
      of names to them, or a function without arguments that returns one.

    Names may be plural. What a name alone gives is what ``tm.rotations()`` and the like give; other
    arguments than numbers, such as ``fill`` or ``limits``, are for a function in a file.

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
        >>> transformations("brightness:-.2,0,.2")
        <brightness(3): 3 transformations; brightness -0.2 to 0.2; identity 1>
    """
    terms = [term.strip() for term in text.split("*")]
    if not all(terms):
        where = "is empty" if not any(terms) else f"is {text!r}, with nothing beside a '*'"
        raise ArgumentError(f"{_WHAT} {where}; expected {_FORMS}")
    return reduce(mul, map(_term, terms))


def _term(term: str) -> TransformationSet:
    name, colon, given = (part.strip() for part in term.partition(":"))
    known = _singular(name)
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
    if known in _VECTORS:
        raise ArgumentError(
            f"{_WHAT} {term!r} needs vectors as long as the data, which are made in Python: write "
            f"a function that returns tm.{known}s([...]), and give it as file.py:name"
        )
    meant = _meant(known)
    expected = f"a set {_WRITTEN}" if meant else _FORMS
    raise ArgumentError(f"{_WHAT} {term!r} is unknown{meant}; expected {expected}")


def _singular(name: str) -> str:
    """A name as the table has it: "brightness" has an s of its own, "stretches" two letters."""
    name = name.lower()
    for ending in ("", "s", "es"):
        if (stem := name.removesuffix(ending)) in _NAMED:
            return stem
    return name.removesuffix("s")


def _meant(name: str) -> str:
    """A question after the sets that an unknown name may mean; empty if there are none."""
    longer = [repr(known) for known in _NAMED if name in known.split("_")]
    return f" (did you mean {' or '.join(longer)}?)" if longer else near(name, _NAMED)


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


def _of_numbers(make_set: Callable[..., TransformationSet], example: str = "") -> _Builder:
    """The builder of a set of a list of numbers; with an example it has no numbers of its own."""

    def build(term: str, given: str) -> TransformationSet:
        if example and not given:
            raise ArgumentError(
                f"{_WHAT} {term!r} has no numbers, and this set has none of its own; give some, as "
                f"in '{term}:{example}'"
            )
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
    "brightness": _of_numbers(brightness, "-.2,0,.2"),
    "contrast": _of_numbers(contrast, ".5,1,2"),
    "grayscale": _of_numbers(grayscale, "0,.5,1"),
    "gaussian_blur": _of_numbers(gaussian_blur, "0,1,2"),
    "gaussian_noise": _of_numbers(gaussian_noise, "0,.1,.2"),
    "zoom": _of_numbers(zooms, ".5,1,2"),
    "horizontal_scaling": _of_numbers(horizontal_scalings, ".5,1,2"),
    "vertical_scaling": _of_numbers(vertical_scalings, ".5,1,2"),
    "shear": _of_numbers(shears, "-.2,0,.2"),
    "time_shift": _of_numbers(time_shifts, "-5,0,5"),
    "time_stretch": _of_numbers(time_stretches, ".8,1,1.25"),
    "gain": _of_numbers(gains, ".5,1,2"),
    "signal_noise": _of_numbers(signal_noise, "0,.1,.2"),
    "circular_shift": _of_numbers(circular_shifts, "-1,0,1"),
}
"""By name in the singular."""

_VECTORS = ("permutation", "sign_flip")
"""Sets that numbers between commas cannot say."""

_WRITTEN = "as in rotation:16, scale:.5,1,2, rotation:8*scale, package.module:name or file.py:name"

_FORMS = f"{', '.join(_NAMED)}, {_WRITTEN}"
