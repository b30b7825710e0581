"""How far apart two activations are, or two feature maps: metrics, by kernels or functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tmeasures.errors import ArgumentError
from tmeasures.hints import called, near, reason
from tmeasures.kernels import Backend, backend
from tmeasures.kernels.torch_maps import divide_by_norms

Function = Callable[[Tensor, Tensor], Tensor]

# Values widened at once: on a CPU such a chunk stays in the cache (ten times as many take up to
# four times as long), and four of them, which a metric may take besides, are 16 MiB; elsewhere 64.
_CHUNK = {"cpu": 2**19}
_CHUNK_ELSEWHERE = 2**21


_NAMES = ("euclidean", "sqeuclidean", "manhattan", "cosine")


@dataclass(frozen=True)
class Metric:
    """A distance between two activations, or between two feature maps as vectors.

    Attributes:
        given: ``"euclidean"``, ``"sqeuclidean"``, ``"manhattan"``, ``"cosine"`` or a function.
        vectors: Whether it is one of feature maps.
        unit_norm: Whether these are divided by their norms first.
    """

    given: str | Function = "euclidean"
    vectors: bool = False
    unit_norm: bool = False

    @classmethod
    def of(cls, given: str | Function, vectors: bool, unit_norm: bool) -> Metric:
        """A metric by the arguments of a measure, or an error that says what to do."""
        if not callable(given) and given not in _NAMES:
            raise ArgumentError(
                f"metric={called(given)} is unknown{near(given, _NAMES)}: give 'euclidean', "
                "'sqeuclidean', 'manhattan', 'cosine', or a function"
            )
        for name, value in (("vectors", vectors), ("unit_norm", unit_norm)):
            if not isinstance(value, bool):
                raise ArgumentError(f"{name}={value!r} is neither True nor False; give one of them")
        if vectors and given == "sqeuclidean":
            raise ArgumentError(
                "metric='sqeuclidean' has no form for vectors: leave vectors=True out and add up "
                "the values of each feature map, which is the same"
            )
        if not vectors and (given == "cosine" or unit_norm):
            what = "metric='cosine'" if given == "cosine" else "unit_norm=True"
            raise ArgumentError(
                f"{what} is for feature maps, not for single activations: give vectors=True too"
            )
        return cls(
            "euclidean" if given == "manhattan" and not vectors else given, vectors, unit_norm
        )

    @property
    def words(self) -> tuple[str, ...]:
        """What sets it apart from the distance ``|a - b|``, in words that are names too."""
        name = self.given if isinstance(self.given, str) else getattr(self.given, "__name__", "")
        words = ["vectors"] if self.vectors else []
        if self.given != "euclidean":
            own = callable(self.given) and name in _NAMES  # not the one of that name
            words.append(name if name.isidentifier() and not own else "callable")
        return (*words, "unit") if self.unit_norm else tuple(words)

    @property
    def suffix(self) -> str:
        """The end of the names of variables."""
        return "".join(f"_{word}" for word in self.words)

    @property
    def label(self) -> str:
        """The same for a reader; empty for the usual one."""
        return f" ({', '.join(self.words)})" if self.words else ""

    @property
    def squared(self) -> bool:
        """Whether it is the squared distance, which variances give."""
        return self.given == "sqeuclidean"

    @property
    def units(self) -> str:
        """Of the distances."""
        if self.squared:
            return "activation2"
        measured = self.given in ("euclidean", "manhattan") and not self.unit_norm
        return "activation" if measured else "1"

    def check(self) -> None:
        """Try a function; an error where it raises or gives anything but distances."""
        if not callable(self.given):
            return
        shape = (2, 3, 4)
        g = torch.Generator().manual_seed(0)
        size = (2, *shape, 5) if self.vectors else (2, *shape)
        given = torch.randn(size, generator=g, dtype=torch.float64)
        before = given.clone()
        what = f"the metric, {called(self.given)},"
        of = f"for two tensors of shape {size[1:]}"
        to_do = (
            "give a function of two tensors of one shape that returns their distances, a tensor "
        )
        to_do += "without the last dim" if self.vectors else "of that shape"
        try:
            with torch.no_grad():
                found: Any = self.given(*given)
        except Exception as error:
            raise ArgumentError(f"{what} raised {reason(error)} {of}; {to_do}") from error
        if not isinstance(found, Tensor):
            raise ArgumentError(f"{what} gave {called(found)} {of}; {to_do}")
        if found.shape != shape or found.is_complex():
            gave = "complex numbers" if found.is_complex() else f"shape {tuple(found.shape)}"
            raise ArgumentError(f"{what} gave {gave} {of}; {to_do}")
        if not torch.equal(given, before):
            raise ArgumentError(f"{what} changes the tensors it is given; let it work on copies")
        with torch.no_grad():
            swapped, none = self.given(given[1], given[0]), self.given(given[0], given[0])
        wide, tiny = found.double(), 1e-6 * found.double().abs().max()
        if (wide - swapped.double()).abs().max() > tiny or none.double().abs().max() > tiny:
            raise ArgumentError(
                f"{what} is not symmetric, or not 0 for equal tensors; give a distance, for it is "
                "called for one order of each pair, and for no pair of one value with itself"
            )

    def add(
        self,
        x: Tensor,
        within_rows: Tensor,
        within_blocks: Tensor,
        kernels: Backend | None = None,
    ) -> None:
        """Add the distances of the pairs in a tile, all its rows being one block.

        Args:
            x: The tile, ``(outer, s, t, inner)`` for activations, and ``(channel, s, t, value)``
                for feature maps.
            within_rows: ``(1, unit)`` or ``(1, channel)``: grows by the distances of the pairs
                inside each row; or empty.
            within_blocks: The same for the pairs of rows, summed over columns.
            kernels: For all but functions; None: those for x.
        """
        if callable(self.given):
            self._add_by(self.given, x, within_rows, within_blocks)
            return
        kernels = kernels or backend(x.device)
        if self.vectors:
            kernels.maps(x, self.given, self.unit_norm, within_rows, within_blocks)
        else:
            kernels.distances(x.contiguous(), x.shape[1], within_rows, within_blocks)

    def _add_by(
        self, function: Function, x: Tensor, within_rows: Tensor, within_blocks: Tensor
    ) -> None:
        """Add what a function says they are."""
        for into, order in ((within_rows, (2, 1, 0, 3)), (within_blocks, (1, 2, 0, 3))):
            if len(into) and self.vectors:
                self._add_pairs(function, x.permute(order), into[0])
            elif len(into):
                for part, of_part in zip(x, into[0].view(len(x), -1), strict=True):
                    v = part if order[0] == 1 else part.transpose(0, 1)
                    self._add_pairs(function, v, of_part)

    def _add_pairs(self, function: Function, x: Tensor, into: Tensor) -> None:
        """Add the distances of all pairs along the first dim, a chunk at a time."""
        pairs, others, units = x.shape[:3]
        of_one = x[0, 0, 0].numel()
        most = _CHUNK.get(x.device.type, _CHUNK_ELSEWHERE)
        wide = min(units, max(1, most // (pairs * others * of_one)))
        deep = min(others, max(1, most // (pairs * wide * of_one)))
        long = max(1, most // (deep * wide * of_one))
        for lo in range(0, units, wide):
            for at in range(0, others, deep):
                v = x[:, at : at + deep, lo : lo + wide]
                into[lo : lo + wide] += self._pairs(function, v, long)

    def _pairs(self, function: Function, v: Tensor, most: int) -> Tensor:
        """The sum over all pairs along the first dim and over the second; of each unit.

        Args:
            function: The metric.
            v: ``(value, other, unit)`` or ``(value, other, unit, component)``.
            most: How many of the first dim may be widened at once.
        """
        fits = len(v) <= most
        if fits:
            v = self._wide(v)
        total = torch.zeros(v.shape[2], dtype=torch.float64, device=v.device)
        for lag in range(1, len(v)):
            for lo in range(0, len(v) - lag, most):
                hi = min(lo + most, len(v) - lag)
                a, b = v[lo:hi], v[lo + lag : hi + lag]
                found = function(a, b) if fits else function(self._wide(a), self._wide(b))
                total += found.sum((0, 1), dtype=torch.float64)
        return total

    def _wide(self, v: Tensor) -> Tensor:
        """A contiguous copy in float64; of unit norm where that is asked for."""
        wide = v.new_empty(v.shape, dtype=torch.float64).copy_(v)
        if self.unit_norm:
            divide_by_norms(wide)
        return wide

    def definition(self, cube: np.ndarray, dims: tuple[str, ...] = ("channel",)) -> np.ndarray:
        """The sum of the distances of all pairs along the first axis, one after another.

        Args:
            cube: ``(value, other, *unit)``.
            dims: Of the units; the first one is the channel where they do not say.

        Returns:
            ``(other, *unit)``, for feature maps ``(other, channel)``; longdouble.
        """
        v = cube.astype(np.longdouble)
        if self.vectors:
            axis = 2 + (dims.index("channel") if "channel" in dims else 0)
            v = np.moveaxis(v, axis, 2)
            v = v.reshape(*v.shape[:3], -1)
        if self.unit_norm:
            norms = np.sqrt(np.square(v).sum(-1, keepdims=True))
            v = v / np.where(norms == 0, 1, norms)
        total = np.zeros(v.shape[1:3] if self.vectors else v.shape[1:], np.longdouble)
        for lag in range(1, len(v)):
            total += self._defined(v[:-lag], v[lag:]).sum(0)
        return total

    def _defined(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Distances as their definitions say."""
        found: np.ndarray
        if callable(self.given):
            tensors = (torch.from_numpy(v.astype(np.float64)) for v in (a, b))
            found = self.given(*tensors).numpy().astype(np.longdouble)
        elif not self.vectors:
            found = np.abs(a - b)
        elif self.given == "manhattan":
            found = np.abs(a - b).sum(-1)
        elif self.given == "euclidean":
            found = np.sqrt(np.square(a - b).sum(-1))
        else:
            of_a, of_b = (np.sqrt(np.square(v).sum(-1)) for v in (a, b))
            zeros = (of_a == 0) * 1 + (of_b == 0)
            product = np.where(zeros, 1, of_a * of_b)
            found = np.where(zeros == 2, 0, 1 - (a * b).sum(-1) / product)
        return found
