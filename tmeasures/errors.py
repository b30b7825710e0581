"""One family of errors and one kind of warning.

Each message is one sentence that says what was found, what was expected and what to do.
"""


class TMeasuresError(Exception):
    """Base of every error this library raises on purpose."""


class ArgumentError(TMeasuresError, ValueError):
    """An argument, or a combination of arguments, cannot be used."""


class SampleError(TMeasuresError, ValueError):
    """The samples cannot be read as a batch of inputs."""


class TransformationError(TMeasuresError, ValueError):
    """A transformation is malformed, or lacks what is asked of it."""


class ModelError(TMeasuresError, RuntimeError):
    """The network did something that the probe did not see, or cannot be measured."""


class MemoryLimitError(TMeasuresError, ValueError):
    """No plan fits the memory allowed."""


class ResultError(TMeasuresError, ValueError):
    """A result file or tree is not one of ours, is truncated, or lacks what is asked of it."""


class TMeasuresWarning(UserWarning):
    """Something was left out, changed or counted; the result says so too."""
