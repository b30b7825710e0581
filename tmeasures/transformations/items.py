"""What a set does to the items of a data set as they are read, and what is left for the device."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch

from tmeasures.errors import TransformationError
from tmeasures.hints import called, reason
from tmeasures.moving import Move, is_picture
from tmeasures.transformations.base import Transformation, TransformationSet, draw_seed
from tmeasures.transformations.callables import CallableTransformation, Function, generators
from tmeasures.transformations.identities import Identity
from tmeasures.transformations.products import ProductSet, ProductTransformation


@dataclass(frozen=True, slots=True)
class Step:
    """A callable of items. It draws by its key in the set, if any, and by its places in products.

    Attributes:
        name: Of the transformation.
        function: From an item to an item.
        key: As `CallableTransformation` has it.
        salts: Of the products in which it comes second, from the outermost.
    """

    name: str
    function: Function
    key: int | None
    salts: tuple[int, ...] = ()

    def call(self, image: Any, sample: int, seed: int) -> Any:
        """The image that it gives."""
        try:
            if self.key is None:
                found = self.function(image)
            else:
                for salt in self.salts:
                    seed = draw_seed(seed, salt)
                with generators(torch.device("cpu")) as reseed:
                    reseed(draw_seed(seed, sample, self.key))
                    found = self.function(image)
        except Exception as error:
            raise TransformationError(
                f"{self.name!r} fails on sample {sample}, {_described(image)} "
                f"({reason(error, 120)}): give a function of one such item"
            ) from error
        if is_picture(found) or hasattr(found, "__array__"):
            return found
        raise TransformationError(
            f"{self.name!r} returns {_described(found)}, expected one image, of Pillow, an array "
            "or a tensor: return that alone, as lambda x: f(image=x)['image'] does"
        )


@dataclass(frozen=True, slots=True)
class Steps:
    """Callables of items, one after another; none leave an item as it is."""

    steps: tuple[Step, ...]
    seed: int

    @property
    def name(self) -> str:
        """Those of the steps."""
        return " · ".join(step.name for step in self.steps) or "the untransformed item"

    def __call__(self, image: Any, sample: int) -> Any:
        """The image that the last one gives."""
        for step in self.steps:
            image = step.call(image, sample, self.seed)
        # Flipped arrays have negative strides, which torch does not take.
        return image.copy() if min(getattr(image, "strides", (0,)), default=0) < 0 else image


@dataclass(frozen=True)
class ItemParts:
    """A set in two parts: what is done to items as they are read, and to batches on the device.

    Attributes:
        variants: What is done to items, in as many ways as there are; nothing in the first.
        columns: Of each transformation, its variant.
        rest: A set of as many transformations: what is left of each.
    """

    variants: tuple[tuple[Step, ...], ...]
    columns: tuple[int, ...]
    rest: TransformationSet

    @classmethod
    def of(cls, transformations: TransformationSet) -> ItemParts | None:
        """The parts of a set; None where nothing is done to items.

        Raises:
            TransformationError: A callable of items comes after what is done on the device.
        """
        variants: list[tuple[Step, ...]] = [()]
        columns: list[int] = []
        for each in transformations:
            steps = _steps(each)
            if steps and steps != variants[-1]:
                variants.append(steps)
            columns.append(len(variants) - 1 if steps else 0)
        if not any(columns):
            return None
        return cls(tuple(variants), tuple(columns), _rest_of_set(transformations))

    def read(self, block: range, untransformed: bool) -> list[int]:
        """The variants that a block of columns takes, in the order in which they are read."""
        found = [self.columns[j] for j in block]
        return list(dict.fromkeys([*found, 0] if untransformed else found))

    def moves(self, variants: list[int], seed: int) -> tuple[Move, ...]:
        """What the reader does to items for these."""
        return tuple(Steps(self.variants[each], seed) for each in variants)

    def runs(self, block: range) -> list[range]:
        """A block cut where the variant changes."""
        cuts = [j for j in block[1:] if self.columns[j] != self.columns[j - 1]]
        return [range(a, b) for a, b in pairwise([block.start, *cuts, block.stop])]


def _steps(each: Transformation) -> tuple[Step, ...]:
    if isinstance(each, CallableTransformation) and each.on == "item":
        return (Step(each.name, each.function, each.key),)
    if not isinstance(each, ProductTransformation):
        return ()
    first, second = _steps(each.first), _steps(each.second)
    if second and not _rest(each.first).is_identity:
        raise TransformationError(
            f"{second[0].name!r} is a callable of items, which go through it as they are read, "
            f"but comes after {each.first.name!r}: put it first in the product"
        )
    return first + tuple(replace(step, salts=(each.salt, *step.salts)) for step in second)


def _rest(each: Transformation) -> Transformation:
    if isinstance(each, ProductTransformation):
        return ProductTransformation(_rest(each.first), _rest(each.second), each.salt)
    return Identity() if _steps(each) else each


def _rest_of_set(transformations: TransformationSet) -> TransformationSet:
    if isinstance(transformations, ProductSet):
        first, second = map(_rest_of_set, transformations.factors)
        return ProductSet(first, second)
    if not any(map(_steps, transformations)):
        return transformations
    return TransformationSet(transformations.name, [*map(_rest, transformations)])


def _described(image: object) -> str:
    if is_picture(image):
        return f"an image of Pillow, {getattr(image, 'mode', '')} {getattr(image, 'size', '')}"
    if isinstance(image, dict):
        return f"a dict of {', '.join(map(str, image))}"
    shape = getattr(image, "shape", None)
    dtype = str(getattr(image, "dtype", "")).removeprefix("torch.")
    return called(image) if shape is None else f"{called(image)} {dtype} {tuple(shape)}"
