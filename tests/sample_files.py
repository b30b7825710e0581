"""Files of samples as users have them, and what is read of them."""

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reading import everything
from tmeasures.cli.sources import open_samples
from tmeasures.errors import SampleError
from tmeasures.samples import read


def pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def contents(samples):
    """All inputs in the order of the data set, as the engine reads them."""
    ids, inputs, _ = everything(read(samples), 3)
    return inputs[np.argsort(ids)]


def refused(pattern, path, kind=SampleError, **options):
    """The sentence that answers a source that cannot be read."""
    with pytest.raises(kind, match=pattern) as caught:
        contents(open_samples(path, **options)[0])
    text = str(caught.value)
    assert "\n" not in text
    assert "Traceback" not in text
    assert not text.endswith(".")
    return text


DTYPES = {8: "u1", 9: "i1", 11: "i2", 12: "i4", 13: "f4", 14: "f8"}


def idx(x, code):
    content = x.astype(np.dtype(DTYPES[code]).newbyteorder(">")).tobytes()
    return bytes([0, 0, code, x.ndim]) + struct.pack(f">{x.ndim}I", *x.shape) + content


def image(path, array, **options):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
