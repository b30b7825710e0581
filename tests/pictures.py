"""A data set of images of Pillow, functions of these, and what a walk hands over of them."""

import random

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import nn
from torch.utils.data import Dataset

import tmeasures as tm

N = 7
PIXELS = np.random.default_rng(0).integers(256, size=(N, 8, 8), dtype=np.uint8)


class Pictures(Dataset):
    """Images of Pillow with labels; counts its reads."""

    def __init__(self, item=lambda image, i: (image, i % 3), n=N):
        self.item, self.n, self.reads = item, n, 0

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        self.reads += 1
        return self.item(Image.fromarray(PIXELS[i]), i)


def quarter(image):
    return image.transpose(Image.Transpose.ROTATE_90)


def bright(image):
    return ImageEnhance.Brightness(image).enhance(0.5)


def grain(image):
    """Draws from all three generators."""
    noise = np.random.normal(size=(8, 8)) + torch.randn(8, 8).numpy()  # noqa: NPY002
    return Image.fromarray((np.asarray(image) / 2 + 9 * noise + random.random()).astype(np.uint8))


THREE = [ImageOps.mirror, quarter, bright]


def turns(**arguments):
    return tm.transformations(THREE, on="item", **arguments)


def by_hand(ids, functions):
    """(sample, transformation, channel, y, x) in [0, 1]."""
    rows = [[np.asarray(f(Image.fromarray(PIXELS[i]))) for f in functions] for i in ids]
    return torch.as_tensor(np.array(rows))[:, :, None].float() / 255


def walked(samples, transformations, **arguments):
    """Inputs (sample, transformation, *item) in the order of the data set, and the labels."""
    found, labels = {}, {}
    for tile in tm.walk(nn.Identity(), samples, transformations, **arguments):
        for row, i in enumerate(tile.ids.tolist()):
            found.setdefault(i, []).extend(tile.values["output"][row])
            labels[i] = None if tile.labels is None else tile.labels[row]
    order = sorted(found)
    return torch.stack([torch.stack(found[i]) for i in order]), [labels[i] for i in order]
