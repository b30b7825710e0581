"""How a set of transformations acts on the outputs of a layer, as tables that kernels read."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from tmeasures.errors import TransformationError
from tmeasures.hints import called
from tmeasures.transformations.affine import AffineTransformation
from tmeasures.transformations.base import MAP, Transformation, TransformationSet, prepare
from tmeasures.transformations.inverses import smooth
from tmeasures.transformations.products import ProductTransformation
from tmeasures.transformations.sampling import (
    Cache,
    Fill,
    coordinates,
    inside,
    taps,
    whole,
)

Declared = Callable[[Tensor, Transformation], Tensor]

# Warps there and back change smooth content by 3 to 27 % on maps of 7 x 7 and more.
_SHOWS, _MISSED = 7, 0.5

CHUNK = 2**16
"""Locations of tables that are made at once: several times their bytes are needed meanwhile."""


@dataclass(frozen=True, slots=True)
class Table:
    r"""Where moved maps are read, for a block of transformations.

    Under transformation $j$ the value at location $l$ is
    $\sum_k \mathrm{weight}_{jkl} \, \mathrm{map}[\mathrm{index}_{jkl}]$.

    Attributes:
        index: ``(t, taps, value)`` int32. One tap where the whole block copies values, else 4. A
            tap of weight 0 is at the place of the largest weight, or at the location itself.
        weight: ``(t, taps, value)`` float64.
        valid: ``(t, value)`` bool, where the map was read inside its frame.
    """

    index: Tensor
    weight: Tensor
    valid: Tensor

    @property
    def nbytes(self) -> int:
        """Bytes of all three."""
        return self.index.nbytes + self.weight.nbytes + self.valid.nbytes


_ORDERS = MAP, ("channel", "time")


def in_order(shape: Sequence[int], dims: Sequence[str]) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Shape and dims of maps in the order that transformations know; of other outputs as they are.

    Maps without the dim ``channel`` get one of size 1.

    >>> in_order((28, 26, 8), ("y", "x", "channel")), in_order((9, 28), ("time", "channel"))
    (((8, 28, 26), ('channel', 'y', 'x')), ((28, 9), ('channel', 'time')))
    >>> in_order((28, 26), ("y", "x")), in_order((28, 26), ("token", "unit"))
    (((1, 28, 26), ('channel', 'y', 'x')), ((28, 26), ('token', 'unit')))
    """
    sizes = {"channel": 1, **dict(zip(dims, shape, strict=True))}
    for order in _ORDERS:
        if sizes.keys() == set(order):
            return tuple(sizes[dim] for dim in order), order
    return tuple(shape), tuple(dims)


_TABLES: WeakKeyDictionary[TransformationSet, Cache[Table]] = WeakKeyDictionary()
"""Of each set, for all layers: many have maps of one size."""


class Actions:
    """How a set of transformations acts on the outputs of one layer.

    Outputs are seen as ``(channel, value)``. Affine and identity actions are tables; other ones
    (callables, products of unlike fills, declared ones) are applied by torch, and their tables copy
    each value. So values ``(s, t, *unit)`` are taken back by::

        x = actions.maps(actions.moved_back(values, block))
        table = actions.back(block)  # kernels read x through it

    where `moved_back` costs nothing for tables alone. Maps in another order of dims than
    ``(channel, y, x)`` or ``(channel, time)`` are seen in this one. Tables are kept by size of map,
    block and direction, for all layers of the set together (up to 256 MiB); those used longest ago
    leave first, and are made anew when asked for.

    Args:
        transformations: A set of m.
        shape: Of the layer's outputs, without the batch.
        dims: Their names.
        item: Shape of the network's input items.
        declared: ``f(outputs, transformation)``, how outputs ``(batch, *shape)`` are declared to
            transform, in place of the plain action; maps are ``(batch, channel, y, x)`` for it,
            whatever the order of the layer's dims. It carries outputs *forward* as the
            transformation does, and returns as many of the same shape; to take them back it is
            called with the inverse, an object of its own (an ``AffineTransformation`` with its
            matrix, parameters such as the angle -90, a name). It gets the plain action where that
            is known and no identity, scaled to the map, so that ``transformation(outputs)`` warps
            them; else the transformation of the inputs. It is not called for identities.
        device: Of tables.

    Attributes:
        channels: Size of the dim ``channel``, or 1.
        values: Outputs of one channel.

    Raises:
        TransformationError: An action that is not known, see `Actions.why_not`; outputs that a
            callable or a declared action returns in another shape.

    Example:
        >>> from tmeasures.transformations import translations
        >>> down = translations(offsets=[(2, 0)])
        >>> actions = Actions(down, (8, 3, 1), ("channel", "y", "x"), (3, 6, 2))
        >>> table = actions.forth(range(1))
        >>> table.index, table.weight
        (tensor([[[0, 0, 1]]], dtype=torch.int32), tensor([[[0., 1., 1.]]], dtype=torch.float64))
        >>> actions.back(range(1)).valid
        tensor([[ True,  True, False]])
    """

    def __init__(
        self,
        transformations: TransformationSet,
        shape: Sequence[int],
        dims: Sequence[str],
        item: Sequence[int],
        declared: Declared | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        why = self.why_not(transformations, shape, dims, item) if declared is None else None
        if why is not None:
            raise TransformationError(
                f"found outputs of shape {tuple(shape)}, of which it is not known how "
                f"{transformations.name!r} acts on them ({why}): leave the layer out, or declare it"
            )
        self._set, self._declared, self._device = transformations, declared, torch.device(device)
        seen = tuple(shape), tuple(dims)
        if declared is not None or _unknown(transformations, *seen, item) is not None:
            seen = in_order(*seen)
        self._axes = [dims.index(dim) for dim in seen[1] if dim in dims]
        self._unit, (self._shape, dims) = tuple(shape), seen
        self._actions = [t.acting_on(*seen, item) for t in transformations]
        self._channel = dims.index("channel") if "channel" in dims else None
        self._size = tuple(n for axis, n in enumerate(self._shape) if axis != self._channel)
        self.channels = 1 if self._channel is None else self._shape[self._channel]
        self.values = prod(self._size)
        # Plain actions that are known are told apart by size; declared ones need not be known.
        own = None if declared is None else seen
        self._key: Hashable = (self._size, tuple(item), own, self._device)

    @staticmethod
    def why_not(
        transformations: TransformationSet,
        shape: Sequence[int],
        dims: Sequence[str],
        item: Sequence[int],
    ) -> str | None:
        """Why the plain actions on such outputs are not known, in a few words; None if they are."""
        if _unknown(transformations, shape, dims, item) is None:
            return None
        return _unknown(transformations, *in_order(shape, dims), item)

    def maps(self, values: Tensor) -> Tensor:
        """Values ``(s, t, *unit)`` as ``(channel, s, t, value)``.

        A view of contiguous ones, unless the channel stands between y and x, or x before y.
        """
        seen = self._seen(values)
        first = seen[None] if self._channel is None else seen.movedim(2 + self._channel, 0)
        return first.reshape(*first.shape[:3], self.values)

    @property
    def copies(self) -> bool:
        """Whether `maps` copies contiguous values."""
        maps = self.maps(torch.empty(2, 2, *self._unit, device="meta"))
        return maps._base is None

    def units(self, flat: Tensor) -> Tensor:
        """What is ``(..., channel, value)`` in the shape of the outputs, ``(..., *unit)``."""
        lead = flat.shape[:-2]
        if self._channel is None:
            return self._unseen(flat.reshape((*lead, *self._shape)))
        found = flat.reshape((*lead, self.channels, *self._size))
        return self._unseen(found.movedim(len(lead), len(lead) + self._channel))

    def _seen(self, values: Tensor) -> Tensor:
        """Outputs ``(..., *unit)`` in the order in which actions move them; a view."""
        lead = values.ndim - len(self._unit)
        ordered = values.permute((*range(lead), *(lead + axis for axis in self._axes)))
        return ordered.reshape((*values.shape[:lead], *self._shape))

    def _unseen(self, seen: Tensor) -> Tensor:
        """What `_seen` gave, ``(..., *unit)`` again."""
        lead = seen.ndim - len(self._shape)
        sizes = (self._unit[axis] for axis in self._axes)
        back = (lead + self._axes.index(axis) for axis in range(len(self._axes)))
        return seen.reshape((*seen.shape[:lead], *sizes)).permute((*range(lead), *back))

    def back(self, block: range) -> Table:
        """The tables of the inverses of a block of transformations, after `moved_back`."""
        return self._table(block, back=True)

    def forth(self, block: range) -> Table:
        """The tables of a block of transformations, after `moved_forth`."""
        return self._table(block, back=False)

    def moved_back(self, values: Tensor, block: range) -> Tensor:
        """Values ``(s, t, *unit)`` taken back by the actions that no table says.

        The values themselves where there are none such in the block; else new ones.
        """
        return self._moved(values, block, back=True)

    def moved_forth(self, values: Tensor, block: range) -> Tensor:
        """Values ``(s, t, *unit)`` moved by the actions that no table says, as `moved_back`."""
        return self._moved(values, block, back=False)

    @cached_property
    def is_exact(self) -> bool:
        """Whether all of them copy every value to a place of its own: there and back is nothing."""
        return all(self._permutes(j) for j in range(len(self._actions)))

    def _permutes(self, j: int) -> bool:
        if not self._is_table(j):
            return False
        table = self._built(range(j, j + 1), back=False)
        copies = table.index.shape[1] == 1 and bool(table.weight.all())
        return copies and bool(table.index.flatten().sort().values.diff().all())

    def _is_table(self, j: int) -> bool:
        action = self._actions[j]
        if self._declared is not None or action is None:
            return self._set[j].is_identity
        return action.is_identity or isinstance(action, AffineTransformation)

    def check(self, dtype: torch.dtype, back: bool) -> None:
        """Try what no table says on smooth content, and back if that is wanted.

        Raises:
            TransformationError: A function that returns another shape, or that is declared and does
                not take back what it has moved.
        """
        given = torch.rand(self._shape, generator=torch.Generator().manual_seed(0)).unsqueeze(0)
        if large := len(self._size) > 1 and min(self._size) >= _SHOWS:
            given = smooth(given)[0]
        given = self._unseen(given.to(self._device, dtype).unsqueeze(0))
        for j in range(len(self._actions)):
            found = self._moved(given, range(j, j + 1), back=False)
            if back:
                found = self._moved(found, range(j, j + 1), back=True)
            missed = float((found - given).norm() / given.norm())
            if back and large and self._declared is not None and not missed <= _MISSED:
                raise TransformationError(
                    f"{called(self._declared)} and its inverse change outputs under "
                    f"{self._set[j].name!r} by {100 * missed:.3g}% of the norm, expected at most "
                    f"{100 * _MISSED:g}%: return them moved back where it is given the inverse"
                )

    def _moved(self, values: Tensor, block: range, *, back: bool) -> Tensor:
        if all(self._is_table(j) for j in block):
            return values
        values = prepare(values)
        columns = [
            column if self._is_table(j) else self._applied(column, j, back=back)
            for column, j in zip(values.unbind(1), block, strict=True)
        ]
        return torch.stack(columns, 1)

    def _applied(self, outputs: Tensor, j: int, *, back: bool) -> Tensor:
        move = self._actions[j]
        if move is None or (self._declared is not None and move.is_identity):
            move = self._set[j]
        move, maps = move.inverse() if back else move, self._seen(outputs)
        if self._declared is None:
            who, moved = repr(move.name), move(maps)
        else:
            # A copy: one that writes to its input must not change what the network goes on with.
            who = f"{called(self._declared)}, given {move.name!r},"
            moved = self._declared(maps.clone(), move)
        if not isinstance(moved, Tensor) or moved.shape != maps.shape:
            found = tuple(moved.shape[1:]) if isinstance(moved, Tensor) else called(moved)
            raise TransformationError(
                f"{who} turns outputs of shape {self._shape} into {found}, expected the same "
                "shape: return as many values as it is given"
            )
        return self._unseen(moved.to(outputs))

    def _table(self, block: range, *, back: bool) -> Table:
        tables = _TABLES.setdefault(self._set, Cache())
        key = (self._key, block, back)
        table = tables.get(key)
        if table is None:
            table = self._built(block, back=back)
            tables.put(key, table)
        return table

    def _built(self, block: range, *, back: bool) -> Table:
        frame = (prod(self._size[:-1]), prod(self._size[-1:]))
        fills, matrices = zip(*(self._read(j, back=back) for j in block), strict=True)
        reads = np.stack(matrices)
        lattice = whole(reads, frame)
        count = 1 if lattice.all() else 4
        place = self._device
        index = torch.empty(len(block), count, self.values, dtype=torch.int32, device=place)
        weight = torch.empty(index.shape, dtype=torch.float64, device=place)
        valid = torch.empty(len(block), self.values, dtype=torch.bool, device=place)
        step = max(1, CHUNK // self.values)
        for fill in dict.fromkeys(fills):
            same = [k for k, each in enumerate(fills) if each == fill]
            for rows in (same[start : start + step] for start in range(0, len(same), step)):
                at = coordinates(torch.as_tensor(reads[rows], device=place), frame)
                exact = torch.as_tensor(lattice[rows], device=place)
                at[exact] = at[exact].round()
                some, weights = taps(at, fill)
                index[rows] = some[:, :count].int()
                weight[rows] = weights[:, :count]
                valid[rows] = inside(at, fill).flatten(1)
        for k, j in enumerate(block):
            action = self._actions[j]
            if action is not None and not self._is_table(j):
                move = action.inverse() if back else action
                valid[k] = move.valid(frame).flatten().to(place)
        return Table(index, weight, valid)

    def _read(self, j: int, *, back: bool) -> tuple[Fill, np.ndarray]:
        """The fill of a table, and the matrix that says where it reads the map."""
        action = self._actions[j]
        if not self._is_table(j) or not isinstance(action, AffineTransformation):
            return "wrap", np.eye(3)
        return action.fill, action.matrix if back else action.inverse().matrix


def _unknown(
    transformations: TransformationSet,
    shape: Sequence[int],
    dims: Sequence[str],
    item: Sequence[int],
) -> str | None:
    """Why the plain actions on outputs of just these dims are not known; None if they are."""
    for each in transformations:
        if each.acting_on(shape, dims, item) is not None:
            continue
        while isinstance(each, ProductTransformation):
            first = each.first.acting_on(shape, dims, item)
            each = each.first if first is None else each.second
        if each.acts_on and each.acts_on != tuple(dims):
            known = f"{transformations.name} acts on {', '.join(each.acts_on)}"
            return f"its dims are {', '.join(dims)}, and {known}"
        knows_items = each.acting_on(item, each.acts_on, item) is not None
        if not each.acts_on and tuple(shape) != tuple(item) and knows_items:
            known = f"{each.name!r} acts on {tuple(item)}"
            return f"its shape is {tuple(shape)}, and {known}"
        return f"how {each.name!r} acts on outputs is not known"
    return None
