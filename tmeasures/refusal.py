"""A network that refuses its inputs: what does not fit, and what to give instead."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from tmeasures.errors import ModelError
from tmeasures.hints import dtype_name, reason, shown

Shown = tuple[tuple[int, ...], torch.dtype]
"""Shape and dtype of a tensor."""


def refusal(
    where: str, module: nn.Module | None, given: Shown | None, inputs: object, error: Exception
) -> ModelError:
    """The error for a network that raised in the probe.

    Args:
        where: The layer, in words.
        module: The innermost module that was running; None for what is no torch module.
        given: The first tensor that it was given.
        inputs: What the network was given.
        error: What it raised.
    """
    problem, advice = _advice(module, given, inputs, error)
    text = f"{where} {problem}; the inputs are {shown(inputs)}: give {advice}"
    return ModelError(f"{text} ({reason(error, max(60, 290 - len(text)))})")


def _advice(
    module: nn.Module | None, given: Shown | None, inputs: object, error: Exception
) -> tuple[str, str]:
    """What does not fit, and what to give instead."""
    shape, dtype = given or ((), torch.float32)
    first = isinstance(inputs, Tensor) and shape == tuple(inputs.shape)
    text = str(error)
    if isinstance(module, nn.Embedding):
        ids = f"int64 ids from 0 to {module.num_embeddings - 1}"
        return f"takes {ids}", "such ids, for example samples.long()"
    if not dtype.is_floating_point and module and any(True for _ in module.parameters(False)):
        takes = f"takes floats and gets {dtype_name(dtype)}"
        if dtype == torch.uint8:  # only where nobody said which of several inputs is the image
            return takes, "input= with the name of the images"
        return takes, "samples.float(), or images of 0 to 255 as uint8"
    if isinstance(module, _ConvNd) and first:
        found = _channels(module, shape)
        if found:
            return found
    if isinstance(module, nn.Linear) and shape and shape[-1] != module.in_features:
        takes = f"takes {module.in_features} features and gets {shape[-1]}"
        if first and math.prod(shape[1:]) == module.in_features:
            return takes, "vectors, with preprocess=lambda x: x.flatten(1)"
        return takes, "inputs of the size it was made for, or a preprocess= that resizes them"
    if "too small" in text or "can't be greater than" in text:
        return "needs larger inputs", "larger ones, or a preprocess= that resizes them"
    if "same device" in text:
        return "has weights on another device", "a network that is all on one device, or device="
    if isinstance(error, TypeError) and ("positional arg" in text or "keyword arg" in text):
        takes = "takes other arguments"
        if isinstance(inputs, Mapping):
            key = next(iter(inputs))
            return takes, f"its own names, or call=lambda model, inputs: model(inputs[{key!r}])"
        return takes, "samples that are a mapping by their names, or call= that gives them all"
    return "failed", "inputs that it takes, a preprocess= that makes them, or another call="


def _channels(module: _ConvNd, shape: tuple[int, ...]) -> tuple[str, str] | None:
    """What is wrong with the channels of the inputs of a convolution, if anything is."""
    wanted, dims = module.in_channels, len(module.kernel_size)
    images = f"{wanted} channel{'s' * (wanted > 1)}"
    if len(shape) == dims + 1:
        problem = "expects a channel axis and the images have none"
        return problem, "one, with preprocess=lambda x: x[:, None]"
    if len(shape) != dims + 2 or shape[1] == wanted:
        return None
    if shape[-1] == wanted:
        problem = f"expects {images} in the first axis and they are in the last"
        return problem, "samples.movedim(-1, 1)"
    if shape[1] == 1:
        how = f"preprocess=lambda x: x.repeat(1, {wanted}{', 1' * dims})"
    elif wanted == 1:
        how = "preprocess=lambda x: x.mean(1, keepdim=True)"
    else:
        how = "a preprocess= that makes them"
    return f"expects {images} and the images have {shape[1]}", f"images of {images}, or {how}"
