"""One family of errors and one kind of warning.

Each message is one sentence that says what was found, what was expected and what to do.
"""

import sys
import warnings
from pathlib import Path


class TMeasuresError(Exception):
    """Base of every error this library raises on purpose."""


class ArgumentError(TMeasuresError, ValueError):
    """An argument, or a combination of arguments, cannot be used."""


class SampleError(TMeasuresError, ValueError):
    """The samples cannot be read as a batch of inputs."""


class TransformationError(TMeasuresError, ValueError):
    """A transformation is malformed, or lacks what is asked of it."""


class ModelError(TMeasuresError, RuntimeError):
    """The network refuses inputs, did what the probe did not see, or has no layer to measure."""


class MemoryLimitError(TMeasuresError, ValueError):
    """No plan fits the memory allowed, or a run took more than there is."""


class ResultError(TMeasuresError, ValueError):
    """A result file or tree is not one of ours, is truncated, or lacks what is asked of it."""


class TMeasuresWarning(UserWarning):
    """Something was left out, changed or counted; the result says so too."""


def warn(message: str) -> None:
    """Warn at the line outside this library that led here."""
    here = str(Path(__file__).parent)
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(here):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, TMeasuresWarning, stacklevel=level)
