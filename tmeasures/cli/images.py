"""Folders of images, read by Pillow as they are needed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from tmeasures.errors import SampleError
from tmeasures.hints import reason
from tmeasures.loading import UnbatchableError

if TYPE_CHECKING:
    import PIL.Image

ENDINGS = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""Of the files that are taken for images, in small or large letters."""

Size = tuple[int, int]
"""Height and width."""


def find(folder: Path) -> list[str]:
    """Images of a folder and its subfolders, by their paths in it, sorted.

    Hidden files and folders, whose names begin with a point, are left out, and what links lead to
    again.

    Raises:
        SampleError: There are none.
    """
    found: list[str] = []
    others: list[str] = []
    seen = set()
    for here, folders, files in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(here)) in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            if name.lower().endswith(ENDINGS) and not name.startswith("."):
                found.append(Path(here, name).relative_to(folder).as_posix())
            else:
                others.append(name)
    if not found:
        instead = f", only {len(others)} other files such as {min(others)!r}" if others else ""
        raise SampleError(
            f"--samples {str(folder)!r} holds no images{instead}; give a folder with files that "
            f"end in {', '.join(ENDINGS)}, in it or in subfolders"
        )
    return sorted(found)


def classes(names: Sequence[str]) -> np.ndarray | None:
    """The subfolder that each image lies in, if all lie in one."""
    parts = [name.split("/") for name in names]
    return None if any(len(p) == 1 for p in parts) else np.array([p[0] for p in parts])


@dataclass(frozen=True)
class Images:
    """Reads images by their names: what a loader's worker does with a list of them.

    Attributes:
        folder: Where they are.
        size: Of all of them.
        like: Name of the image that has this size by itself; None: they are resized to it.
        grey: One channel, not three.
    """

    folder: Path
    size: Size
    like: str | None
    grey: bool

    @classmethod
    def of(cls, folder: Path, first: str, size: Size | None, grey: bool) -> Images:
        """Resized, or else of the size of the first."""
        if size is not None:
            return cls(folder, size, None, grey)
        try:
            width, height = _read(folder / first, grey).size
        except UnbatchableError as error:
            raise SampleError(*error.args) from error.__cause__
        return cls(folder, (height, width), first, grey)

    def __call__(self, names: Sequence[str]) -> Tensor:
        """uint8 ``(image, channel, y, x)``.

        Raises:
            UnbatchableError: An image cannot be read, or has another size.
        """
        return torch.stack([torch.from_numpy(self._pixels(name)) for name in names])

    def _pixels(self, name: str) -> np.ndarray:
        from PIL import Image

        image = _read(self.folder / name, self.grey)
        height, width = self.size
        if self.like is None:
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        elif image.size != (width, height):
            raise UnbatchableError(
                f"images of {str(self.folder)!r} have unequal sizes, such as {self.like} with "
                f"{height}x{width} and {name} with {image.height}x{image.width}; expected one "
                f"height x width: resize them by --resize {height}x{width}"
            )
        pixels = np.array(image)
        return pixels[None] if self.grey else pixels.transpose(2, 0, 1)


def _read(path: Path, grey: bool) -> PIL.Image.Image:
    """An image, upright, of 8 bits, in one or three channels."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            return _of_bytes(ImageOps.exif_transpose(image)).convert("L" if grey else "RGB")
    except Exception as error:  # decoders raise anything for broken files
        raise UnbatchableError(
            f"the image {str(path)!r} cannot be read ({reason(error)}); give whole images of 8 or "
            "16 bits: mend the file, or take it out of the folder"
        ) from error


def _of_bytes(image: PIL.Image.Image) -> PIL.Image.Image:
    """An image of 8 bits; Pillow itself would clip more bits to white."""
    from PIL import Image

    if image.mode == "P" and "transparency" in image.info:
        return image.convert("RGBA")  # else Pillow warns
    if image.mode not in ("I", "F") and not image.mode.startswith("I;16"):
        return image
    values = np.asarray(image)
    if values.dtype.kind == "f" or values.min() < 0 or values.max() > 65535:
        raise ValueError(f"{values.min():g} to {values.max():g} is no range of 8 or 16 bits")
    return Image.fromarray(np.round(values / 257).astype(np.uint8))
