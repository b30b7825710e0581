"""Samples and labels from the paths that the command line gets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader

from tmeasures.arrays import rows
from tmeasures.cli import array_files, images, label_files
from tmeasures.cli.paths import existing
from tmeasures.errors import ArgumentError, SampleError
from tmeasures.hints import near, whole

_NAMES = ("x", "images", "samples")
"""Of arrays in .npz files that hold samples."""

_RESIZABLE = ("uint8", "float16", "float32", "float64")

_COLOURS = (1, 3, 4)
"""Lengths of a channel axis."""

_FORMS = (
    "a .npy or .npz file (file.npz:key for one of its arrays), an IDX file as those of MNIST, or a "
    "folder of images"
)


def open_samples(
    path: str,
    *,
    labels: str | None = None,
    resize: str | None = None,
    grey: bool = False,
    channels: str | None = None,
    workers: int = 0,
) -> tuple[Any, np.ndarray | None]:
    """Samples for `tmeasures.measure`, and their labels.

    Arrays stay on disk where they can (.npy, IDX) and images are read as they are needed. Images
    have the axes ``(sample, channel, y, x)``: arrays ``(sample, y, x)`` get a channel axis if they
    are uint8 or come from an IDX file, others of three axes only where ``channels`` says so.

    Args:
        path: A .npy file; a .npz file, ``file.npz:key`` for one of its arrays (without a key the
            only one beside labels, the one named x, images or samples, or the only one of three
            axes or more); an IDX file, also .gz; a folder of images, sorted by path.
        labels: A .npy, IDX or ``file.npz:key`` file of one label for each sample, a .txt or .csv
            file with one in each line or, for folders, lines "file,label"; or the key of an array
            in the .npz file of the samples. None: the array y, labels or targets beside them;
            of a folder, the names of the subfolders where all images lie in such.
        resize: ``"64"``, or ``"48x64"`` for height and width.
        grey: Read a folder's images in one channel, not in three.
        channels: Where arrays of four axes have their channels, ``"first"`` or ``"last"``;
            ``"none"``: the array has the axes ``(sample, y, x)``.
        workers: Processes that read a folder; arrays are read in this one.

    Returns:
        Samples, and one label for each or None.

    Raises:
        SampleError: Files that are damaged, of another form, or unlike each other.
        ArgumentError: Paths that do not exist, labels of another number, options that do not fit.

    Example:
        >>> np.savez("digits.npz", x=np.zeros((5, 28, 28), np.uint8), y=np.arange(5))
        >>> samples, labels = open_samples("digits.npz")
        >>> samples.shape, labels
        ((5, 1, 28, 28), array([0, 1, 2, 3, 4]))
    """
    size = None if resize is None else _size(resize)
    place, key = array_files.split(path)
    if existing(place, "--samples").is_dir():
        if channels is not None:
            raise ArgumentError("--channels is for arrays, and --samples is a folder; leave it out")
        return _folder(place, labels, size, grey, whole("--workers", workers, 0))
    if grey:
        raise ArgumentError(
            "--grey is for folders of images, and --samples is a file; leave it out"
        )
    kind = array_files.kind(place)
    if kind is None:
        raise SampleError(f"--samples {path!r} is nothing that can be read; give {_instead(place)}")
    if kind == "npz":
        key = key or _likely(place)
        array = array_files.member(place, key)
    else:
        array = array_files.only(place)
    if array.ndim < 2:
        raise SampleError(
            f"--samples {path!r} has shape {array.shape}, a number for each sample; give inputs, "
            "and labels by --labels"
        )
    known = _labels(labels, len(array), place, key)
    array = _with_channels(array, path, channels, image=kind == "idx")
    return (array if size is None else _resized(array, size, path)), known


def _folder(
    folder: Path, labels: str | None, size: images.Size | None, grey: bool, workers: int
) -> tuple[Any, np.ndarray | None]:
    names = images.find(folder)
    known = images.classes(names) if labels is None else label_files.read(labels, len(names), names)
    # Read where items are collated, not where they are fetched: what is raised there reaches the
    # user without the traceback of a worker.
    reader = images.Images.of(folder, names[0], size, grey)
    data: Any = names
    return DataLoader(data, collate_fn=reader, num_workers=workers), known


def _likely(path: Path) -> str:
    """The array of a .npz file that holds the samples, as far as names and shapes tell."""
    shapes = array_files.members(path)
    for names in (
        [name for name in shapes if name.lower() not in label_files.NAMES],
        [name for name in shapes if name.lower() in _NAMES],
        [name for name, shape in shapes.items() if len(shape) > 2],
    ):
        if len(names) == 1:
            return names[0]
    raise SampleError(
        f"--samples {str(path)!r} holds {array_files.listed(shapes)}; say which by {path}:key"
    )


def _labels(labels: str | None, count: int, path: Path, key: str | None) -> np.ndarray | None:
    """Labels from their file, or from the .npz file of the samples, which has a key."""
    shapes = array_files.members(path) if key else {}
    if labels is None:
        for name, shape in shapes.items():
            if name.lower() in label_files.NAMES and name != key and shape[:1] == (count,):
                return label_files.one_each(array_files.member(path, name), count, f"{path}:{name}")
        return None
    if labels in shapes:
        return label_files.one_each(array_files.member(path, labels), count, f"{path}:{labels}")
    if shapes and not array_files.split(labels)[0].exists():
        raise ArgumentError(
            f"--labels {labels!r} is neither an array of {str(path)!r}{near(labels, shapes)} nor a "
            f"file; give one of {array_files.listed(shapes)}, or a path"
        )
    return label_files.read(labels, count)


def _with_channels(
    array: np.ndarray, path: str, channels: str | None, *, image: bool
) -> np.ndarray:
    """A view with the axes (sample, channel, y, x), where the array holds images."""
    shape = array.shape
    wanted = 3 if channels == "none" else 4
    if channels is not None and array.ndim != wanted:
        advice = "say --channels none for (sample, y, x)" if array.ndim == 3 else "leave it out"
        raise ArgumentError(
            f"--channels {channels} is for arrays of {wanted} axes, and --samples {path!r} has "
            f"shape {shape}; {advice}"
        )
    if channels == "none":
        return array[:, None]
    if channels == "last":
        return np.moveaxis(array, -1, 1)
    if array.ndim == 4 and channels is None and shape[3] in _COLOURS and shape[1] not in _COLOURS:
        raise ArgumentError(
            f"--samples {path!r} has shape {shape}, as if channels came last, expected (sample, "
            "channel, y, x); say --channels last, or --channels first if this is right"
        )
    if array.ndim == 3 and (image or array.dtype == np.uint8):
        if shape[2] in _COLOURS and not image:
            raise SampleError(
                f"--samples {path!r} has shape {shape}, as if it were one image, expected "
                "(sample, y, x) or (sample, channel, y, x); save it with an axis of samples, or "
                "say --channels none if this is right"
            )
        return array[:, None]
    return array


def _resized(array: np.ndarray, size: images.Size, path: str) -> Any:
    """Samples of another size, made as they are read."""
    if array.ndim not in (3, 4) or array.dtype.name not in _RESIZABLE:
        raise ArgumentError(
            f"--resize is for images, and --samples {path!r} has shape {array.shape} and dtype "
            f"{array.dtype}; expected 3 or 4 axes of uint8 or floats: leave it out"
        )
    data: Any = range(len(array))
    return DataLoader(data, collate_fn=_Resize(array, size))


@dataclass(frozen=True)
class _Resize:
    """Rows of an array by their numbers, resized."""

    array: np.ndarray
    size: images.Size

    def __call__(self, ids: Sequence[int]) -> Tensor:
        given = rows(self.array, np.asarray(ids))
        # torch resizes images of 4 axes only, and no float16 on the CPU
        wide = given.float() if given.dtype == torch.float16 else given
        wide = wide if wide.ndim == 4 else wide[:, None]
        made = F.interpolate(wide, self.size, mode="bilinear", antialias=True)
        return made.to(given.dtype).reshape(*given.shape[:-2], *self.size)


def _size(text: str) -> images.Size:
    found = re.fullmatch(r"\s*(\d+)\s*(?:[xX×]\s*(\d+)\s*)?", text)
    height, width = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not (height and width):
        raise ArgumentError(
            f"--resize {text!r} is no size; give one number for squares, such as 64, or height x "
            "width, such as 48x64"
        )
    return height, width


def _instead(path: Path) -> str:
    """What to give in place of a file that is no samples."""
    ending = path.suffix.lower()
    if ending in images.ENDINGS:
        return "the folder that the image is in"
    if ending in (".npy", ".npz"):
        return f"a {ending} file that is whole: fetch or save it anew"
    if ending in (".pt", ".pth"):
        return "an array: save a tensor x by numpy.save('x.npy', x.numpy())"
    if ending in (".zip", ".tar", ".gz", ".tgz"):
        return f"{_FORMS}: unpack the archive first"
    return _FORMS
