"""Labels from files: arrays, or text with a label, or a file's name and its label, in each line."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from tmeasures.cli import array_files
from tmeasures.cli.paths import existing
from tmeasures.errors import ArgumentError

NAMES = ("y", "labels", "targets")
"""Of arrays in .npz files that hold labels."""

_TEXTS = (".csv", ".tsv", ".txt")

_HEADERS = ("class", "file", "filename", "id", "image", "label", "labels", "name", "path", "target")
"""First lines that are no label, in small letters, if no other line is the same."""

_NUMBER = re.compile(r"-?(0|[1-9][0-9]{,17})(\.[0-9]+)?(e[+-][0-9]+)?")
"""Not 007, 1_1, 12e4 or what no int64 holds, which are names."""

_PARTS = re.compile(r"\s*[\t,;]\s*|\s+(?=[^\s,;]+$)")
"""Between file and label: a tab, comma or semicolon, or else the last space."""


def read(text: str, count: int, images: Sequence[str] = ()) -> np.ndarray:
    """Labels from a file.

    Args:
        text: A .npy, IDX or .npz file, ``file.npz:key``, or a .txt, .csv or .tsv file. Its first
            line is a header if it is a word over numbers, or a word such as "label". Images of a
            folder are found by path, by name, or by name without ending, lines of other files are
            left out.
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
    rows, plain = _rows(path), path.suffix.lower() == ".txt"
    parted = [_PARTS.split(row[0], maxsplit=1) for row in rows] if plain else rows
    if images and (found := _of_images(parted, images, path)):
        return _values(found)
    if wide := next((row for row in rows if len(row) != 1), None):
        files = ", or 'file,label' for the images of a folder" if images else ""
        raise ArgumentError(
            f"--labels {str(path)!r} has lines of {len(wide)} columns, such as {','.join(wide)!r}; "
            f"give one label in each line{files}"
        )
    column = [row[0] for row in rows]
    return _values(column[1:] if _has_header(column) else column)


def _rows(path: Path) -> list[list[str]]:
    """The cells of each line; of a .txt file the line itself."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ArgumentError(
            f"--labels {str(path)!r} is no text in UTF-8; save it as such"
        ) from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if path.suffix.lower() == ".txt":
        return [[line] for line in lines]
    # The sniffers of csv and pandas take letters for marks where there is one column.
    mark = next((mark for mark in "\t;" if lines and mark in lines[0]), ",")
    return [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=mark)]


def _has_header(column: Sequence[str]) -> bool:
    """Whether the first entry names the others: a word over numbers, or one of a few words."""
    if len(column) < 2:
        return False
    first, rest = column[0], column[1:]
    over_numbers = first[:1].isalpha() and all(map(_NUMBER.fullmatch, rest))
    return over_numbers or (first.lower() in _HEADERS and first not in rest)


def _of_images(
    rows: Iterable[Sequence[str]], images: Sequence[str], path: Path
) -> list[str] | None:
    """A label for each image, from rows of file and label; None if no row names an image."""
    known = _by_name(images)
    labels: dict[str, str] = {}
    for row in rows:
        file = PurePosixPath(row[0].replace("\\", "/"))
        image = known.get(str(file)) or known.get(file.name)
        if image is None or len(row) == 1:
            continue
        if len(row) > 2 or labels.setdefault(image, row[1]) != row[1]:
            found = f"{len(row)} columns" if len(row) > 2 else f"two labels for {row[0]!r}"
            raise ArgumentError(
                f"--labels {str(path)!r} has {found}; give one line 'file,label' for each image"
            )
    if not labels:
        return None
    if lacking := [image for image in images if image not in labels]:
        raise ArgumentError(
            f"--labels {str(path)!r} has no label for {len(lacking)} of the {len(images)} images, "
            f"such as {lacking[0]!r}; give one line 'file,label' for each"
        )
    return [labels[image] for image in images]


def _by_name(images: Sequence[str]) -> dict[str, str]:
    """The images by stem and by name, where no other has the same, and by path."""
    found: dict[str, str] = {}
    for names in zip(*((p.stem, p.name, str(p)) for p in map(PurePosixPath, images)), strict=True):
        counts = Counter(names)
        found |= {n: image for n, image in zip(names, images, strict=True) if counts[n] == 1}
    return found


def _values(column: Sequence[str]) -> np.ndarray:
    """Numbers if all are written as such and no two become one; else the strings themselves."""
    texts = np.array(column)
    if not all(map(_NUMBER.fullmatch, column)):
        return texts
    whole = not any(mark in text for text in column for mark in ".e")
    numbers = texts.astype(np.int64 if whole else np.float64)
    return numbers if len(set(numbers.tolist())) == len(set(column)) else texts
