"""Labels from files: arrays, or text with a label, or a file's name and its label, in each line."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from tmeasures.cli import array_files
from tmeasures.cli.paths import existing
from tmeasures.errors import ArgumentError

NAMES = ("y", "labels", "targets")
"""Of arrays in .npz files that hold labels."""

_TEXTS = (".csv", ".tsv", ".txt")


def read(text: str, count: int, images: Sequence[str] = ()) -> np.ndarray:
    """Labels from a file.

    Args:
        text: A .npy, IDX or .npz file, ``file.npz:key``, or a .txt, .csv or .tsv file. Its first
            line may be a header. Images of a folder are found by path, by name, or by name without
            ending, lines of other files are left out.
        count: Number of samples.
        images: Their paths, where the samples are a folder.

    Returns:
        One number or string for each sample.

    Raises:
        ArgumentError: There is no such file, it has another form, or not a label for each sample.
    """
    path, key = array_files.split(text)
    if existing(path, "--labels").is_dir():
        raise ArgumentError(f"--labels {text!r} is a folder; give the file in it that holds them")
    if path.suffix.lower() in _TEXTS:
        return one_each(_of_lines(path, count, images), count, text)
    kind = array_files.kind(path)
    if kind is None:
        raise ArgumentError(
            f"--labels {text!r} is no file of labels; give a .npy, .npz or IDX file, or a .txt or "
            ".csv file with one in each line"
        )
    if kind != "npz":
        return one_each(array_files.only(path), count, text)
    shapes = array_files.members(path)
    if key is None:
        likely = list(shapes) if len(shapes) == 1 else [k for k in shapes if k.lower() in NAMES]
        if len(likely) != 1:
            raise ArgumentError(
                f"--labels {text!r} holds {array_files.listed(shapes)}; say which by {text}:key"
            )
        key = likely[0]
    return one_each(array_files.member(path, key), count, text)


def one_each(values: np.ndarray, count: int, text: str) -> np.ndarray:
    """The values, if they are one for each sample.

    Raises:
        ArgumentError: They are more or fewer, or have further axes.
    """
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise ArgumentError(
            f"--labels {text!r} has shape {values.shape}; expected {(count,)}, one label for each "
            "sample: save argmax(1) of what is one-hot"
        )
    if len(values) != count:
        raise ArgumentError(
            f"--labels {text!r} holds {len(values)} labels and --samples {count} samples; give "
            "one label for each"
        )
    return np.array(values)


def _of_lines(path: Path, count: int, images: Sequence[str]) -> np.ndarray:
    lines = [line.strip() for line in _text(path).splitlines() if line.strip()]
    plain = path.suffix.lower() == ".txt"
    table = [_halves(line) for line in lines] if plain else _cells(lines)
    if images and (found := _of_images(table, images, path)):
        return _values(found)
    if not plain and (wide := next((row for row in table if len(row) != 1), None)):
        files = ", or 'file,label' for the images of a folder" if images else ""
        raise ArgumentError(
            f"--labels {str(path)!r} has lines of {len(wide)} columns, such as {','.join(wide)!r}; "
            f"give one label in each line{files}"
        )
    column = lines if plain else [row[0] for row in table]
    return _values(column[1:] if len(column) == count + 1 and _has_header(column) else column)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ArgumentError(
            f"--labels {str(path)!r} is no text in UTF-8; save it as such"
        ) from error


def _halves(line: str) -> list[str]:
    """A line parted at its first tab, comma or semicolon, or else at its last space."""
    for mark in "\t,;":
        if mark in line:
            return [part.strip() for part in line.split(mark, 1)]
    return line.rsplit(maxsplit=1)


def _cells(lines: Sequence[str]) -> list[list[str]]:
    """Rows of a table whose first line says what stands between columns."""
    mark = next((mark for mark in "\t;" if lines and mark in lines[0]), ",")
    return [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=mark)]


def _has_header(column: Sequence[str]) -> bool:
    """Whether the first entry is unlike the others: a word over numbers, or a word of its own."""
    if all(map(_is_number, column[1:])):
        return not _is_number(column[0])
    return column[0] not in column[1:]


def _of_images(
    table: Iterable[Sequence[str]], images: Sequence[str], path: Path
) -> list[str] | None:
    """A label for each image, from rows of file and label; None if no row names an image."""
    places = _places(images)
    labels: dict[int, str] = {}
    for row in table:
        file = PurePosixPath(row[0].replace("\\", "/"))
        place = next((places[k] for k in (str(file), file.name) if k in places), None)
        if place is None or len(row) == 1:
            continue
        if len(row) > 2 or labels.setdefault(place, row[1]) != row[1]:
            found = f"{len(row)} columns" if len(row) > 2 else f"two labels for {row[0]!r}"
            raise ArgumentError(
                f"--labels {str(path)!r} has {found}; give one line 'file,label' for each image"
            )
    if not labels:
        return None
    if lacking := [name for i, name in enumerate(images) if i not in labels]:
        raise ArgumentError(
            f"--labels {str(path)!r} has no label for {len(lacking)} of the {len(images)} images, "
            f"such as {lacking[0]!r}; give one line 'file,label' for each"
        )
    return [labels[i] for i in range(len(images))]


def _places(images: Sequence[str]) -> dict[str, int]:
    """Where each image stands, by its path, and by its name and stem if no other has the same."""
    places: dict[str, int] = {}
    shorter: list[Callable[[PurePosixPath], str]] = [lambda p: p.stem, lambda p: p.name, str]
    for short in shorter:
        keys = [short(PurePosixPath(image)) for image in images]
        counts = Counter(keys)
        places |= {key: i for i, key in enumerate(keys) if counts[key] == 1}
    return places


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _values(column: Sequence[str]) -> np.ndarray:
    """Whole numbers, numbers or strings, whatever all of them are."""
    for number in (int, float):
        try:
            return np.array([number(text) for text in column])
        except ValueError:
            pass
    return np.array(column)
