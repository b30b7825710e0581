"""Arrays in files: .npy, .npz and IDX, read as far as possible only where they are used."""

from __future__ import annotations

import gzip
import math
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.lib import format as npy

from tmeasures.errors import SampleError
from tmeasures.hints import near, reason

Kind = Literal["npy", "npz", "idx"]

_IDX_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

_GZIP = b"\x1f\x8b"

_BROKEN = (OSError, ValueError, EOFError, zlib.error, zipfile.BadZipFile)
"""What numpy, gzip and zipfile raise for files that are cut short, changed or full of objects."""


def kind(path: Path) -> Kind | None:
    """What a file is, by its first bytes; None for any other.

    Raises:
        SampleError: It is compressed by gzip, and damaged.
    """
    start = _start(path, 8)
    if start[:2] == b"\0\0" and start[2] in _IDX_DTYPES and start[3]:
        return "idx"
    if _is_packed(path):
        return None
    if start.startswith(npy.MAGIC_PREFIX):
        return "npy"
    return "npz" if zipfile.is_zipfile(path) and members(path) else None


def split(text: str) -> tuple[Path, str | None]:
    """Path and key of ``file.npz:key``; no key for any other path."""
    file, _, key = text.rpartition(":")
    if file.lower().endswith(".npz") and not Path(text).exists():
        return Path(file), key
    return Path(text), None


def members(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the arrays in a .npz file, of which only the headers are read."""
    shapes = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith(".npy"):
                    with archive.open(name) as file:
                        old = npy.read_magic(file) == (1, 0)
                        read = npy.read_array_header_1_0 if old else npy.read_array_header_2_0
                        shapes[name.removesuffix(".npy")] = read(file)[0]
    except _BROKEN as error:
        raise _damaged(path, error) from error
    return shapes


def member(path: Path, key: str) -> np.ndarray:
    """An array of a .npz file.

    Raises:
        SampleError: There is none of this name, it is damaged, or holds Python objects.
    """
    shapes = members(path)
    if key not in shapes:
        raise SampleError(
            f"{str(path)!r} has no array {key!r}{near(key, shapes)}; give one of {listed(shapes)}"
        )
    try:
        with np.load(path, allow_pickle=False) as archive:
            array: np.ndarray = archive[key]
    except _BROKEN as error:
        raise _damaged(path, error) from error
    return array


def only(path: Path) -> np.ndarray:
    """The array of a .npy or IDX file; of a .npy file and an uncompressed IDX file a memory map.

    Raises:
        SampleError: It is damaged, or holds Python objects.
    """
    try:
        if kind(path) == "idx":
            return _idx(path)
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except _BROKEN as error:
        raise _damaged(path, error) from error
    return array


def listed(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Arrays of a .npz file in words."""
    return ", ".join(f"{name} {shape}" for name, shape in shapes.items())


def _idx(path: Path) -> np.ndarray:
    """An IDX file: two zeros, type, number of axes; their lengths; the elements."""
    start = _start(path, 4)
    header = 4 + 4 * start[3]
    dtype = np.dtype(_IDX_DTYPES[start[2]])
    packed = _is_packed(path)
    content: Any = gzip.decompress(path.read_bytes()) if packed else _start(path, header)
    size = len(content) if packed else path.stat().st_size
    shape = tuple(np.frombuffer(content, ">u4", start[3], 4).tolist())
    if size != header + math.prod(shape) * dtype.itemsize:
        raise ValueError(f"its header says {shape}, which {size} bytes are not")
    if packed:
        return np.frombuffer(content, dtype, offset=header).reshape(shape)
    return np.memmap(path, dtype, "r", header, shape)


def _is_packed(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_GZIP)) == _GZIP


def _start(path: Path, count: int) -> bytes:
    """The first bytes of a file, uncompressed, and zeros where it has no more."""
    try:
        with gzip.open(path) if _is_packed(path) else path.open("rb") as file:
            return file.read(count).ljust(count, b"\0")
    except _BROKEN as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> SampleError:
    if "allow_pickle" in str(error) or "Python objects" in str(error):
        return SampleError(
            f"{str(path)!r} holds Python objects, which are not read, for they can run any code; "
            "give an array of numbers or strings: save it with such a dtype"
        )
    return SampleError(
        f"{str(path)!r} is damaged ({reason(error)}); give a whole file: fetch or save it anew"
    )
