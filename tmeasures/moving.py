"""Items as a data set gives them, before they are tensors, and what is done to their images.

Inside the package only; `tmeasures.loading` calls it where items are read.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from tmeasures.errors import ArgumentError, TransformationError
from tmeasures.hints import near

Put = Callable[[Any], Any]
"""From another image to the item with it in place of its own."""


class Move(Protocol):
    """What is done to an image as it is read; pickled, where workers are spawned."""

    @property
    def name(self) -> str:
        """How errors call it."""

    def __call__(self, image: Any, sample: int) -> Any:
        """The moved image of the sample that stands there in the data set."""


@dataclass(frozen=True, slots=True)
class Moves:
    """What is done to each item as it is read: it is given once under each move, in turn.

    Attributes:
        each: The moves, at least one.
        key: Of the image in mapping items; None: the only one.
    """

    each: tuple[Move, ...]
    key: str | None = None

    def __len__(self) -> int:
        """How many items each one becomes."""
        return len(self.each)

    def apply(self, item: Any, sample: int) -> Iterator[Any]:
        """The item under each move."""
        image, put = _image(item, self.key, sample)
        return (put(move(image, sample)) for move in self.each)

    def try_out(self, item: Any, sample: int) -> Iterator[Any]:
        """As `apply`, with an error for moves that are no functions of their input alone."""
        image, put = _image(item, self.key, sample)
        before = _values(image)
        for move in self.each:
            first = move(image, sample)
            found = _values(first)
            again = _values(move(image, sample))
            if not _same(before, _values(image)):
                raise TransformationError(
                    f"{move.name!r} changes its input in place: return a new image instead"
                )
            if not _same(found, again):
                raise TransformationError(
                    f"{move.name!r} gives two results for one input, expected one: pass "
                    "random=True, and draw from the global generators"
                )
            yield put(first)


def is_picture(value: object) -> bool:
    """Whether it is an image of Pillow."""
    pillow = sys.modules.get("PIL.Image")  # there is none where it was not imported
    return pillow is not None and isinstance(value, pillow.Image)


def _image(item: Any, key: str | None, sample: int) -> tuple[Any, Put]:
    """The image of an item, and how to put another one in its place."""
    if isinstance(item, tuple | list) and item:
        image, put = _image(item[0], key, sample)

        def with_rest(new: Any) -> Any:
            parts = [put(new), *item[1:]]
            if isinstance(item, list):
                return parts
            return item._make(parts) if hasattr(item, "_make") else tuple(parts)

        return image, with_rest
    if not isinstance(item, Mapping):
        if key is not None:
            raise ArgumentError(
                f"input={key!r} names a key, but sample {sample} is no mapping; leave it out"
            )
        return item, lambda new: new
    found = _key(item, key, sample)
    return item[found], lambda new: {**item, found: new}


def _key(item: Mapping[Any, Any], key: str | None, sample: int) -> Any:
    keys = [str(name) for name in item]
    if key is not None:
        if key not in item:
            raise ArgumentError(
                f"input={key!r} is no key of sample {sample}, which has {', '.join(keys)}"
                f"{near(key, keys)}; name one of these"
            )
        return key
    images = [name for name, value in item.items() if _looks_like_image(value)]
    if len(images) != 1:
        raise ArgumentError(
            f"sample {sample} is a mapping with {', '.join(keys)}, of which {len(images)} look "
            "like images; say which one is transformed with input='...'"
        )
    return images[0]


def _looks_like_image(value: object) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim > 1 and (value.dtype.kind == "f" or value.dtype == np.uint8)
    if isinstance(value, torch.Tensor):
        return value.ndim > 1 and (value.is_floating_point() or value.dtype == torch.uint8)
    return is_picture(value)


def _values(image: Any) -> np.ndarray | None:
    """A copy of its numbers; None of what is no image."""
    if isinstance(image, torch.Tensor):
        image = image.detach().cpu()
        image = (image.double() if image.is_floating_point() else image).numpy()
    return np.array(image) if isinstance(image, np.ndarray) or is_picture(image) else None


def _same(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    if a is None or b is None:
        return a is b
    return a.shape == b.shape and bool(((a == b) | ((a != a) & (b != b))).all())
