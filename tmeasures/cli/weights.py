"""Weights from a file, read without running code, put into a network, or said why not."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.utils import consume_prefix_in_state_dict_if_present

from tmeasures.cli.paths import existing
from tmeasures.errors import ArgumentError
from tmeasures.hints import called, reason

ENDINGS = (".pt", ".pth", ".bin", ".ckpt", ".safetensors")
"""Of files that usually hold weights."""

_NESTED = ("state_dict", "model_state_dict", "model")
"""Where the checkpoints of training scripts keep the state dict."""

_PREFIXES = ("module.", "_orig_mod.", "model.")
"""What DataParallel, torch.compile and Lightning put before every name."""

_SHOWN = 3
"""Names of a list that are shown."""

_WANTED = (
    "expected a state dict: write it by torch.save(network.state_dict(), 'weights.pt') where the "
    "network is"
)


def fill(network: nn.Module, path: Path) -> None:
    """Load a state dict from a file into a network, all of it.

    Args:
        network: Gets the weights.
        path: ``.safetensors``, or what ``torch.save`` wrote. The state dict may lie under
            "state_dict", "model_state_dict" or "model"; a prefix that "module.", "_orig_mod." or
            "model." puts before all its names is taken off where the network has none.

    Raises:
        ArgumentError: The file is missing, holds no state dict, or one of another network.

    Example:
        >>> torch.save(nn.Linear(2, 3).state_dict(), "weights.pt")
        >>> fill(nn.Linear(2, 3), Path("weights.pt"))
    """
    if existing(path, "--weights").is_dir():
        raise ArgumentError(
            f"--weights {str(path)!r} is a folder; expected a file: name the one in it that holds "
            "the weights"
        )
    state = _state(_read(path), path)
    own = network.state_dict()
    while prefix := next((p for p in _PREFIXES if _all_have(state, p)), None):
        if _all_have(own, prefix):
            break
        consume_prefix_in_state_dict_if_present(state, prefix)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        differences = _differences(state, own) or reason(error)
        raise ArgumentError(
            f"--weights {str(path)!r} do not fit the {type(network).__name__}: {differences}; "
            "expected the weights of this very network: name their file, or mend what makes the "
            "network, such as its number of classes"
        ) from None


def _read(path: Path) -> Any:
    if path.suffix.lower() == ".safetensors":
        try:
            from safetensors import SafetensorError
            from safetensors.torch import load_file
        except ImportError:
            raise ArgumentError(
                f"--weights {str(path)!r} needs the package safetensors, which is not installed; "
                "run pip install safetensors"
            ) from None
        try:
            return load_file(path)
        except SafetensorError as error:
            raise ArgumentError(
                f"--weights {str(path)!r} is no file of safetensors, or a damaged one "
                f"({reason(error)}); expected a whole one: fetch or save it anew"
            ) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what is no file of torch's fails in many ways
        raise ArgumentError(f"--weights {str(path)!r} {_refused(error)}") from error


def _refused(error: Exception) -> str:
    """Why torch did not load a file, and what to do."""
    if "TorchScript" in str(error):
        return f"is a TorchScript archive, whose modules cannot be watched; {_WANTED}"
    if found := re.search(r"GLOBAL (\S+)", str(error)):
        return (
            f"holds Python objects such as {found[1]}, not tensors alone, and reading those can "
            f"run any code; {_WANTED}"
        )
    return f"is no file that torch.save wrote, or a damaged one; {_WANTED}"


def _state(loaded: Any, path: Path) -> dict[str, Any]:
    """The state dict in what a file holds."""
    for key in _NESTED:
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if isinstance(loaded, dict) and all(
        isinstance(value, Tensor) or str(name).endswith("_extra_state")
        for name, value in loaded.items()
    ):
        return loaded
    found = f"a mapping with {_listed(loaded)}" if isinstance(loaded, dict) else called(loaded)
    raise ArgumentError(
        f"--weights {str(path)!r} holds {found}; expected a state dict, itself or under "
        f"{', '.join(map(repr, _NESTED))}: save network.state_dict() alone"
    )


def _all_have(state: Mapping[str, Any], prefix: str) -> bool:
    return bool(state) and all(name.startswith(prefix) for name in state)


def _differences(state: Mapping[str, Any], own: Mapping[str, Any]) -> str:
    """What keeps a state dict from fitting, in counts and first names."""
    pairs = [(name, _shape(state[name]), _shape(own[name])) for name in own if name in state]
    parts: list[tuple[str, list[str]]] = [
        ("missing", [name for name in own if name not in state]),
        ("unexpected", [name for name in state if name not in own]),
        (
            "of unequal shape",
            [
                f"{name}: {given} in the file, {wanted} in the network"
                for name, given, wanted in pairs
                if given != wanted
            ],
        ),
    ]
    return ", ".join(f"{len(names)} {what} ({_listed(names)})" for what, names in parts if names)


def _shape(value: Any) -> str | None:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else None


def _listed(names: Iterable[Any]) -> str:
    names = list(map(str, names))
    return ", ".join([*names[:_SHOWN], *["..."] * (len(names) > _SHOWN)])
