"""What a measure is: a formula over the quantities that statistics give."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tmeasures.errors import ArgumentError
from tmeasures.fields import Field
from tmeasures.statistics import Kind

Q20 = "Quiroga (2020), Invariance and Same-Equivariance Measures for Convolutional Neural Networks"


@dataclass(frozen=True)
class Quantities:
    """The quantities of one layer, see `tmeasures.statistics`, each ``(*unit,)`` float64.

    Attributes:
        n: Samples.
        m: Transformations.
        values: Arrays by name.

    Example:
        >>> import numpy as np, tmeasures as tm
        >>> quantities = tm.Quantities(10, 3, {"rows": np.array([40.0])})
        >>> tm.TransformationVariance().finalize(quantities)["TV"].values
        array([2.])
    """

    n: int
    m: int
    values: Mapping[str, np.ndarray]

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.values:
            raise ArgumentError(
                f"quantity {name!r} was not kept: name it in the needs of the measure that reads it"
            )
        return self.values[name]


class Measure(ABC):
    """A number for every activation, computed from sums that a single reading keeps.

    Arguments of the constructor are kept under their names; ``repr`` shows them, results keep it.

    A subclass in a file of this package, with a ``short`` name, is a measure of the library; any
    other instance can be handed to `tmeasures.measure` as it is.

    Attributes:
        short: The name in results and in ``measures=``.
        needs: The quantities `finalize` reads.
        kinds: Kinds of statistic with parameters that give some of them.
        error_needs: The quantities that `standard_errors` reads besides.
        least: The least numbers of samples and of transformations.

    Example:
        >>> import numpy as np, torch, tmeasures as tm
        >>> class Loudness(tm.Measure):
        ...     short = "LOUD"
        ...     needs = frozenset({"largest"})
        ...     def finalize(self, quantities):
        ...         values = quantities["largest"]
        ...         return {"LOUD": tm.Field(values, "activation", "largest magnitude", "here")}
        ...     def reference(self, cube):
        ...         return {"LOUD": np.abs(cube).max((0, 1))}
        >>> tree = tm.measure(torch.nn.ReLU(), torch.tensor([[1.0], [4.0]]), measures=Loudness())
        >>> tree["layers/output/LOUD"].values
        array([4.], dtype=float32)
    """

    short: ClassVar[str]
    needs: frozenset[str]
    kinds: tuple[Kind, ...] = ()
    error_needs: frozenset[str] = frozenset()
    least: tuple[int, int] = (1, 1)

    def check(self, errors: bool) -> None:
        """Try what only a try can tell, before anything runs; nothing unless overridden.

        Args:
            errors: Whether standard errors are asked for.

        Raises:
            ArgumentError: The measure cannot be had as it is.
        """

    @abstractmethod
    def finalize(self, quantities: Quantities) -> dict[str, Field]:
        """The variables of one layer; all quantities are NaN where an activation was not finite."""

    def standard_errors(self, quantities: Quantities) -> dict[str, Field]:
        """More variables of one layer where errors are asked for; none unless overridden."""
        return {}

    def conclude(self, layers: Sequence[dict[str, Field]]) -> None:
        """Add to every layer's variables what takes the whole network to decide."""

    @abstractmethod
    def reference(self, cube: np.ndarray) -> dict[str, np.ndarray]:
        """The definition on a stored cube ``(sample, transformation, *unit)``; slow, for tests.

        In extended precision, after subtracting each unit's first activation, which is exact.
        """

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of the constructor by name, each kept as an attribute."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def __repr__(self) -> str:
        given = (f"{name}={_spelled(value)}" for name, value in self.arguments.items())
        return f"{type(self).__name__}({', '.join(given)})"

    def __str__(self) -> str:
        usual = inspect.signature(type(self)).parameters
        given = [
            f"{name}={_spelled(value)}"
            for name, value in self.arguments.items()
            if value != usual[name].default
        ]
        return self.short + (f"({', '.join(given)})" if given else "")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Measure):
            return False
        return type(self) is type(other) and self.arguments == other.arguments

    def __hash__(self) -> int:
        return hash(repr(self))


def _spelled(value: Any) -> str:
    """An argument in a form that says the same in every process: functions by name."""
    return getattr(value, "__qualname__", None) or repr(value)


def centred(cube: np.ndarray) -> np.ndarray:
    """A cube in extended precision about each unit's first activation."""
    wide = cube.astype(np.longdouble)
    return wide - wide[:1, :1]


def ratio(over: np.ndarray, under: np.ndarray) -> np.ndarray:
    """``over / under`` with 0 / 0 = 1 (a dead unit is as invariant as its samples are alike)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((over == 0) & (under == 0), 1.0, over / under)
