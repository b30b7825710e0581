"""Any callables as a set of transformations."""

from __future__ import annotations

import random as python_random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from functools import partial
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor

from tmeasures.errors import TransformationError
from tmeasures.hints import called, numbers, reason, shown
from tmeasures.transformations.base import (
    MAP,
    Ids,
    Transformation,
    TransformationSet,
    draw_seed,
)

Function = Callable[[Any], Any]
On = Literal["batch", "item"]


class CallableTransformation(Transformation):
    """A callable as a transformation; made by `transformations`.

    ``key`` is its index in the set that it was made for: a slice draws the same numbers. None where
    it does not draw.
    """

    def __init__(
        self, name: str, function: Function, inverse: Function | None, on: On, key: int | None
    ) -> None:
        super().__init__(name)
        self.acts_on = MAP if key is None and on == "batch" else ()
        self.function, self._inverse, self.on, self.key = function, inverse, on, key

    def inverse(self) -> Transformation:
        """The callable given as its inverse, on batches or items as the callable itself."""
        if self._inverse is None:
            return super().inverse()
        name = f"inverse of {self.name}"
        return CallableTransformation(name, self._inverse, self.function, self.on, self.key)

    def acting_on(
        self, shape: Sequence[int], dims: Sequence[str], item: Sequence[int]
    ) -> Transformation | None:
        """Itself on maps and on outputs of the item's shape; None if it draws, or is of items."""
        known = tuple(dims) == MAP or tuple(shape) == tuple(item)
        return self if known and self.key is None and self.on == "batch" else None

    def at(self, index: int) -> Self:
        """The same, drawing as the element of this index does, if it draws at all."""
        other = copy(self)
        other.key = None if self.key is None else index
        return other

    def _apply(self, batch: Tensor, ids: Ids, seed: int) -> Tensor:
        if self.key is None:
            return self._call(batch)
        with generators(batch.device) as reseed:
            outputs = []
            for row, sample_id in enumerate(ids.tolist()):
                reseed(draw_seed(seed, sample_id, self.key))
                outputs.append(self._call(batch[row : row + 1]))
        return torch.cat(outputs)

    def _call(self, batch: Tensor) -> Tensor:
        if self.on == "item":
            return torch.stack([self._tensor(self.function(item), batch) for item in batch])
        output = self._tensor(self.function(batch), batch)
        if output.ndim == 0 or len(output) != len(batch):
            raise TransformationError(
                f"{self.name!r} turns a batch of {len(batch)} into shape {tuple(output.shape)}, "
                "expected (batch, *item) of the same batch size: use on='item' for a callable of "
                "one item"
            )
        return output

    def _tensor(self, output: object, batch: Tensor) -> Tensor:
        if isinstance(output, np.ndarray):
            output = torch.as_tensor(np.ascontiguousarray(output), device=batch.device)
        if not isinstance(output, Tensor):
            raise TransformationError(
                f"{self.name!r} returns {called(output)}, expected a tensor or an array: return "
                "the transformed one"
            )
        both = output.is_floating_point() and batch.is_floating_point()
        return output.to(batch.dtype) if both else output

    def check(self, batch: Tensor) -> None:
        """Raise if it changes its input, or gives two results for one input."""
        ids, given = np.arange(len(batch)), batch.clone()
        try:
            first = self._apply(given, ids, 0).clone()
        except TransformationError:
            raise
        except Exception as error:
            each, other = "a batch", "one of single items with on='item'"
            if self.on == "item":
                each, other = "an item of a batch", "a list or data set of the items that it takes"
            raise TransformationError(
                f"{self.name!r} fails on {each} {shown(batch)} ({reason(error)}): give a function "
                f"of such a tensor, or {other}"
            ) from error
        if batch.is_floating_point() and not first.is_floating_point():
            raise TransformationError(
                f"{self.name!r} turns {batch.dtype} into {first.dtype}, expected floating values: "
                "return x.float()"
            )
        if not _same(given, batch):
            raise TransformationError(
                f"{self.name!r} changes its input in place: return a new tensor instead"
            )
        if not _same(first, self._apply(given, ids, 0)):
            advice = "pass random=True" if self.key is None else "draw from the global generators"
            raise TransformationError(
                f"{self.name!r} gives two results for one input, expected one: {advice}"
            )


def transformations(
    callables: Sequence[Function] | Mapping[str, Function],
    *,
    on: On = "batch",
    random: bool = False,
    names: Sequence[str] | None = None,
    inverses: Sequence[Function | None] | None = None,
    parameters: Mapping[str, Sequence[float]] | None = None,
    name: str | None = None,
) -> TransformationSet:
    """A set of any callables, of batches on the model's device or of items as they are read.

    **Of batches**: tensors lie on the model's device; uint8 arrives as float32 / 255, float16 and
    bfloat16 as float32. Such are those of ``kornia`` and ``torchvision.transforms.v2``.

    **Of items**, with ``on="item"``: the image of each item as the data set gives it, in the
    loader's workers, before it is collated: an image of Pillow, an array, a tensor. Of items
    ``(x, y)`` it is x, of mappings the only image, or what ``input=`` names. The result is such an
    image again, which takes its place. Such are those of ``torchvision.transforms`` and, by their
    keyword, of ``albumentations``: ``lambda x: augment(image=x)["image"]``. Labels, boxes or masks
    beside the image are left as they are.

    Images of Pillow become uint8 tensors ``(channel, y, x)`` at last; arrays keep the order of
    their axes, so that ``(y, x, channel)`` takes a ``preprocess=lambda x: x.permute(0, 3, 1, 2)``.
    Items are read once for each tile that they are in, rather than once for all; an iterable data
    set is read once, and its items are transformed in this process. A data set that draws from the
    global generators finds them seeded by (seed, sample id) for each item. In a product ``a * b``
    sets of items come first: the rest follows on the device. How layers' outputs follow is not
    known of them, so that same-equivariance takes an ``action=``. Samples in memory, tensors or
    arrays, have no loader: an item is then what batches are of, one of these tensors.

    A callable may return an array, and may change the item's size and shape, as long as all of the
    set agree. Floating results of batches are cast to the dtype of the input. It must not write to
    its input.

    Args:
        callables: At least one, in a list or by name. Transformations among them stay what they
            are, so that ``[tm.identity()[0], f]`` has an identity; random ones draw by their new
            place.
        on: ``"batch"``: ``f((batch, *item))`` gives ``(batch, *item')``. ``"item"``: ``f(item)``
            for each item, as it is read.
        random: Whether the callables draw from the global generators of torch, numpy or Python.
            Each is then called for one sample at a time (also with ``on="batch"``: a batch of one),
            the generators seeded by (seed, sample id, transformation) and put back afterwards: the
            draws do not depend on the batches or workers, and no random state outside changes.
            Generators of the callables' own are not seeded.
        names: Names, one a callable; None takes those of functions and classes, for a
            ``functools.partial`` with its arguments, and t0, t1, ... for lambdas; a name that
            comes again is counted, ``blur``, ``blur#1``.
        inverses: The inverses, one a callable, None where there is none; of the same kind.
        parameters: Numbers that tell the callables apart, by name, one a callable; results keep
            them.
        name: Of the set; None: ``transformations(3)``, where there are three.

    Raises:
        TransformationError: Nothing callable, an empty sequence, or lengths that differ; when
            checked or applied, a result that is not an array (of items: not one image), of another
            batch size, that differs from call to call (see ``random``), or shapes that differ
            within the set; a set of items that comes second in a product.

    Note:
        Cost: callables of items run once for each sample and transformation (in a product, once for
        each that differs in a tile), and twice on the first three samples. Workers hold up to two
        tiles each, and take functions of modules, no lambdas, where they are spawned.

    Example:
        >>> import torch
        >>> def darker(x):
        ...     return x / 2
        >>> both = transformations([darker, lambda x: x**2], inverses=[lambda x: 2 * x, None])
        >>> both.names
        ['darker', 't1']
        >>> both.apply(torch.tensor([[0.5], [1.0]]))[..., 0]
        tensor([[0.2500, 0.2500],
                [0.5000, 1.0000]])
        >>> both[0].inverse()(torch.tensor([[0.25]]))
        tensor([[0.5000]])
        >>> steps = [0, 5]
        >>> shifts = {f"shift {n}": lambda x, n=n: torch.roll(x, n, -1) for n in steps}
        >>> transformations(shifts, parameters={"shift": steps}, name="shifts")
        <shifts: 2 transformations; shift 0 to 5; no identity>
        >>> noise = transformations([lambda x: x + torch.randn_like(x)] * 4, random=True)
        >>> noise.apply(torch.zeros(2, 8), ids=[7, 3]).shape
        torch.Size([2, 4, 8])

        Images of Pillow with labels, turned as they are read, then shifted on the device:

        >>> import tmeasures as tm
        >>> from PIL import Image
        >>> photos = [(Image.new("RGB", (8, 8), (40 * i, 0, 0)), i % 2) for i in range(6)]
        >>> turns = {f"{angle}°": lambda image, a=angle: image.rotate(a) for angle in (0, 30)}
        >>> tilted = tm.transformations(turns, on="item") * tm.translations()
        >>> network = torch.nn.Conv2d(3, 2, 3)
        >>> tm.measure(network, photos, tilted, measures="NV")["layers/output/NV"].dims
        ('channel', 'y', 'x')
    """
    if isinstance(callables, Mapping):
        names, callables = list(callables) if names is None else names, list(callables.values())
    if callable(callables) or not isinstance(callables, Sequence) or not callables:
        raise TransformationError(
            f"found {'[]' if callables == [] else called(callables)}, expected one or more "
            "callables: give a list of them, such as [lambda x: x, f]"
        )
    if on not in ("batch", "item"):
        raise TransformationError(f"found on={on!r}, expected 'batch' or 'item': name one of them")
    names = _names(callables) if names is None else names
    inverses = [None] * len(callables) if inverses is None else inverses
    rows = {
        key: numbers(f"parameters[{key!r}]", values, TransformationError)
        for key, values in (parameters or {}).items()
    }
    for what, given in (("names", names), ("inverses", inverses), *rows.items()):
        if len(given) != len(callables):
            raise TransformationError(
                f"found {len(given)} {what} for {len(callables)} callables, expected one for each: "
                f"give as many, or leave {what}= out"
            )
    for f in (*callables, *(back for back in inverses if back is not None)):
        if not callable(f):
            advice = "give a function of a batch; for angles use tm.rotations([...])"
            if isinstance(f, TransformationSet):
                advice = "join sets by a * b, or list their elements, [*a, *b]"
            raise TransformationError(f"found {called(f)}, expected a callable: {advice}")
    elements: list[Transformation] = []
    for index, (title, f, back) in enumerate(zip(names, callables, inverses, strict=True)):
        own = {key: values[index] for key, values in rows.items()}
        if not isinstance(f, Transformation):
            f = CallableTransformation(str(title), f, back, on, index if random else None)
        elements.append(f.at(index).called(str(title), own))
    return TransformationSet(name or f"transformations({len(elements)})", elements)


def _names(callables: Sequence[Function]) -> list[str]:
    """A name for each, counted where several would have the same."""
    names: list[str] = []
    seen: Counter[str] = Counter()
    for index, function in enumerate(callables):
        name = _name(function) or f"t{index}"
        names.append(f"{name}#{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return names


def _name(function: Function) -> str:
    """Of a function or class, of what a partial calls with its arguments; empty of a lambda."""
    if isinstance(function, Transformation):
        return function.name
    if isinstance(function, partial):
        given = [_short(v) for v in function.args]
        given += [f"{k}={_short(v)}" for k, v in function.keywords.items()]
        return f"{_name(function.func) or 'lambda'}({', '.join(given)})"
    name: str = getattr(function, "__name__", type(function).__name__)
    return "" if name.startswith("<") else name


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 12 and "\n" not in text else type(value).__name__


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a, b, rtol=0, atol=0, equal_nan=True)


@contextmanager
def generators(device: torch.device) -> Iterator[Callable[[int], None]]:
    """A function that seeds the global generators, which are put back at the end."""
    ours = [torch.default_generator]
    if device.type == "cuda":
        ours.append(torch.cuda.default_generators[device.index])
    states = [g.get_state() for g in ours]
    numpy_state = np.random.get_state()  # noqa: NPY002
    python_state = python_random.getstate()

    def reseed(seed: int) -> None:
        for generator in ours:
            generator.manual_seed(seed)
        np.random.seed([seed >> 32, seed & 0xFFFFFFFF])  # noqa: NPY002
        python_random.seed(seed)

    try:
        yield reseed
    finally:
        for generator, state in zip(ours, states, strict=True):
            generator.set_state(state)
        np.random.set_state(numpy_state)  # noqa: NPY002
        python_random.setstate(python_state)
