"""Files that commands write: checked before the work, named after it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from tmeasures.errors import ArgumentError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def result(path: Path) -> Path:
    """A file that a result can be saved to, or an error that says why not."""
    if _is_picture(path):
        raise ArgumentError(
            f"cannot write {str(path)!r}: its ending is that of a picture and a result is netCDF, "
            f"use .nc"
        )
    return _writable(path, replaced=True)


def picture(path: Path) -> Path:
    """A file that a picture can be written to, or an error that says why not."""
    if not _is_picture(path):
        raise ArgumentError(
            f"cannot write {str(path)!r}: its ending names no kind of picture, use .png, .svg or "
            f".pdf"
        )
    return _writable(path, replaced=False)


def write(figure: Figure, path: Path) -> None:
    """Write a picture and say so."""
    figure.savefig(path)
    wrote(path)


def wrote(path: Path) -> None:
    """Say that a file was written."""
    print(f"wrote {path}")


def _is_picture(path: Path) -> bool:
    from matplotlib.backend_bases import FigureCanvasBase

    kinds = FigureCanvasBase.get_supported_filetypes()
    return path.suffix.removeprefix(".").lower() in kinds


def _writable(path: Path, *, replaced: bool) -> Path:
    """The path, if a file can be written there, or be replaced by a new one in its folder."""
    real = Path(os.path.realpath(path)) if path.is_symlink() else path
    folder = real.parent
    if not folder.is_dir():
        raise ArgumentError(
            f"cannot write {str(path)!r}: there is no folder {str(folder)!r}, create it or name "
            f"another"
        )
    if path.is_dir():
        raise ArgumentError(f"cannot write {str(path)!r}: it is a folder, name a file in it")
    if not os.access(folder if replaced or not real.exists() else real, os.W_OK):
        raise ArgumentError(f"cannot write {str(path)!r}: no permission, name another place")
    return path
