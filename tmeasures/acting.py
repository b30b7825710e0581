"""How transformations act on the outputs of each layer, where measures ask for that."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from tmeasures import naming
from tmeasures.capture import Layer
from tmeasures.errors import ArgumentError, TMeasuresError
from tmeasures.hints import called, reason
from tmeasures.transformations import Transformation, TransformationSet
from tmeasures.transformations.actions import Actions, Declared, in_order

Said = Declared | float
"""What is declared of a layer's outputs: a function that moves them, or their stride."""

Action = Mapping[str, Callable[[Tensor, Transformation], Tensor] | float] | None


def declared(action: Action) -> Mapping[str, Said]:
    """The argument ``action``, or an error that says what it may be."""
    if action is None:
        return {}
    fits = isinstance(action, Mapping) and all(
        isinstance(pattern, str) and (callable(said) or isinstance(said, int | float))
        for pattern, said in action.items()
    )
    if not fits:
        raise ArgumentError(
            f"action is {called(action)}; give a mapping from patterns of layers to functions "
            "f(outputs, transformation), or to strides"
        )
    for pattern, said in action.items():
        if isinstance(said, int | float) and not _is_stride(said):
            raise ArgumentError(
                f"action[{pattern!r}]={said!r} is no stride; give the pixels of the input for one "
                "of the map as a whole number, 0.5 where two of the map are one of the input"
            )
    return action


def _is_stride(said: float) -> bool:
    if isinstance(said, bool) or not 0 < said < math.inf:
        return False
    return float(max(said, 1 / said)).is_integer()


def actions_of_layers(
    transformations: TransformationSet,
    layers: Sequence[Layer],
    item: Sequence[int],
    functions: Mapping[str, Said],
    device: torch.device,
) -> dict[str, Actions | str]:
    """For each layer how the transformations act on its outputs, or why that is not known.

    Args:
        transformations: The set.
        layers: The layers measured.
        item: Shape of the inputs that are transformed.
        functions: What is declared by pattern; the first one that matches a layer decides.
        device: Where the outputs are.

    Raises:
        ArgumentError: A pattern matches no layer.
    """
    for pattern in functions:
        if not any(naming.matches(pattern, {layer.name}) for layer in layers):
            raise naming.unmatched("action", pattern, [layer.name for layer in layers])
    device = torch.device("cpu") if device.type == "mps" else device  # has no float64
    known: dict[object, Actions | str] = {}
    found: dict[str, Actions | str] = {}
    for layer in layers:
        f = next((f for p, f in functions.items() if naming.matches(p, {layer.name})), None)
        key = layer.shape, layer.dims, f
        if key not in known:
            known[key] = _actions_of(transformations, layer, item, f, device)
        found[layer.name] = known[key]
    return found


def _actions_of(
    transformations: TransformationSet,
    layer: Layer,
    item: Sequence[int],
    said: Said | None,
    device: torch.device,
) -> Actions | str:
    f = said if callable(said) else None
    if isinstance(said, int | float):
        shape, dims = in_order(layer.shape, layer.dims)
        if "channel" in dims[:1]:
            item = (*item[:1], *(round(size * said) for size in shape[1:]))  # has this stride
    given = transformations, layer.shape, layer.dims, item
    if f is None and (why := Actions.why_not(*given)) is not None:
        return why
    found = Actions(*given, f, device)
    if f is None:
        # Functions of images need not work on maps of other sizes or numbers of channels.
        try:
            found.check(layer.dtype, back=False)
        except Exception as error:
            return f"{transformations.name} fails on shape {layer.shape} ({reason(error)})"
    return found


def try_actions(actions: Mapping[str, Actions | str], layers: Sequence[Layer], back: bool) -> None:
    """Try those that are functions on zeros of each layer's shape, before anything runs.

    Args:
        actions: Of each layer.
        layers: The layers.
        back: Whether their inverses are tried too.

    Raises:
        TransformationError: One changes the shape of outputs.
        ArgumentError: One raises.
    """
    tried: set[int] = set()
    for layer in layers:
        known = actions[layer.name]
        if isinstance(known, Actions) and id(known) not in tried:
            tried.add(id(known))
            try:
                known.check(layer.dtype, back)
            except TMeasuresError:
                raise
            except Exception as error:
                raise ArgumentError(
                    f"how outputs of layer {layer.name!r} move fails on shape {layer.shape} "
                    f"({reason(error)}); give f(outputs, transformation) of a batch of them by "
                    "action=, or name other layers"
                ) from error
