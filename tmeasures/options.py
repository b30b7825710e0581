"""What the user says about layers: which, what of their outputs, and how their dims are named."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import nn

from tmeasures import naming
from tmeasures.errors import ArgumentError
from tmeasures.hints import called
from tmeasures.naming import Function, Key, Node

Layers = str | Sequence[str] | Callable[[str, nn.Module], bool] | None
Activations = str | Mapping[str, Function]
Layout = Mapping[str, Sequence[str]] | None


@dataclass(frozen=True)
class Options:
    """The arguments ``layers``, ``activations`` and ``layout``, checked as far as they can be."""

    layers: Layers = None
    activations: Activations = "unit"
    layout: Layout = None
    patterns: tuple[str, ...] = field(init=False, default=())
    functions: dict[str, Function] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Raises an ArgumentError that says what an argument may be."""
        if isinstance(self.layers, str):
            object.__setattr__(self, "patterns", (self.layers,))
        elif isinstance(self.layers, Sequence):
            object.__setattr__(self, "patterns", tuple(self.layers))
        strings = bool(self.patterns) and all(isinstance(p, str) for p in self.patterns)
        if isinstance(self.layers, nn.Module | type):
            raise ArgumentError(
                f"layers= is {called(self.layers)}; give names such as 'conv*', or a function, say "
                "lambda name, module: isinstance(module, torch.nn.Conv2d)"
            )
        if not (self.layers is None or callable(self.layers) or strings):
            raise ArgumentError(
                f"layers={self.layers!r} names nothing; give None for all layers, a pattern such "
                "as 'conv*', a list of patterns, or a function of (name, module)"
            )
        mapping = isinstance(self.activations, Mapping)
        if isinstance(self.activations, Mapping):
            self.functions.update(self.activations)
        if not (mapping or self.activations in ("unit", "pooled")) or not all(
            callable(function) for function in self.functions.values()
        ):
            raise ArgumentError(
                f"activations={self.activations!r} is unknown; give 'unit', 'pooled', or a mapping "
                "from patterns to functions of a module's output"
            )
        if not isinstance(self.layout, Mapping | None):
            raise ArgumentError(
                f"layout={self.layout!r} does not say of which layers; give a mapping from "
                "patterns, such as {'conv*': ('channel', 'y', 'x')}"
            )
        for pattern, dims in (self.layout or {}).items():
            if not isinstance(dims, list | tuple) or len(set(dims)) != len(dims):
                raise ArgumentError(
                    f"layout[{pattern!r}]={dims!r} is no list of dims; give a name for each dim "
                    "but the batch, all different, such as ('channel', 'y', 'x')"
                )

    def function(self, key: Key, node: Node | None) -> Function | None:
        """What ``activations=`` does with a call: the first pattern that matches decides."""
        names = naming.call_names(key, node) if self.functions else ()
        return next((f for p, f in self.functions.items() if naming.matches(p, names)), None)
