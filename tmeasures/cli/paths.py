"""Paths that a user gives to be read."""

from __future__ import annotations

from pathlib import Path

from tmeasures.errors import ArgumentError

_POINTER = b"version https://git-lfs."


def existing(path: Path, what: str) -> Path:
    """The path, where a folder is or a file that can be read.

    Args:
        path: What the user gave.
        what: The option, for messages.

    Raises:
        ArgumentError: Nothing is there, it cannot be opened, or git-lfs has not fetched it.
    """
    if path.is_dir():
        return path
    try:
        with path.open("rb") as file:
            start = file.read(len(_POINTER))
    except FileNotFoundError:
        where = "" if path.is_absolute() else f" in {Path.cwd()}"
        raise ArgumentError(
            f"{what} {str(path)!r} does not exist{where}; expected a file or folder: check the path"
        ) from None
    except OSError as error:
        raise ArgumentError(
            f"{what} {str(path)!r} cannot be opened ({error.strerror}); expected a file to read"
        ) from error
    if start == _POINTER:
        raise ArgumentError(
            f"{what} {str(path)!r} is a pointer that git-lfs left in place of the file; fetch the "
            "file by git lfs pull"
        )
    return path
