"""Arrays as samples: .npy, .npz and IDX files, their sizes, and files that are none of these."""

import gzip
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sample_files import DTYPES, contents, idx, image, pixels, refused
from tmeasures.cli.sources import open_samples
from tmeasures.errors import ArgumentError
from tmeasures.samples import read

pytestmark = pytest.mark.usefixtures("folder")


# .npy


@pytest.mark.parametrize(
    "x",
    [
        pixels(5, 1, 4, 3),
        pixels(5, 3, 4, 3).astype(np.float32),
        pixels(5, 7),
        pixels(5, 4, 6).astype(np.float64),
        pixels(5, 2, 2, 2, 3),
        pixels(5, 4).astype(np.int64),
        pixels(5, 1, 4, 3).astype(">f4"),
        np.asfortranarray(pixels(5, 1, 4, 3)),
    ],
)
def test_npy_is_mapped_and_kept_as_it_is(x):
    np.save("x.npy", x)
    samples, labels = open_samples("x.npy")
    assert isinstance(samples, np.memmap)
    assert labels is None
    assert samples.shape == x.shape
    np.testing.assert_array_equal(contents(samples), x.astype(x.dtype.newbyteorder("=")))


def test_grey_images_of_bytes_get_a_channel_axis():
    x = pixels(5, 6, 7)
    np.save("x.npy", x)
    np.testing.assert_array_equal(contents(open_samples("x.npy")[0]), x[:, None])


def test_channels_last_is_asked_for_and_moved():
    x = pixels(5, 6, 7, 3)
    np.save("x.npy", x)
    text = refused(r"shape \(5, 6, 7, 3\).*channels came last", "x.npy", ArgumentError)
    assert "--channels last" in text
    samples = open_samples("x.npy", channels="last")[0]
    assert isinstance(samples, np.memmap)
    np.testing.assert_array_equal(contents(samples), x.transpose(0, 3, 1, 2))
    assert open_samples("x.npy", channels="first")[0].shape == (5, 6, 7, 3)
    np.save("x.npy", pixels(5, 3, 7, 3))  # may be either; nothing is asked
    assert open_samples("x.npy")[0].shape == (5, 3, 7, 3)
    np.save("x.npy", pixels(5, 6, 7, 1))
    refused("channels came last", "x.npy", ArgumentError)


def test_channels_of_what_has_none(folder):
    np.save("x.npy", pixels(5, 6, 7))
    for channels in ("first", "last"):
        refused(
            rf"{channels} is for arrays of 4 axes, .* \(5, 6, 7\); say --channels none",
            "x.npy",
            ArgumentError,
            channels=channels,
        )
    for shape in ((5, 6), (5, 6, 7, 3)):
        np.save("x.npy", pixels(*shape))
        refused(
            "none is for arrays of 3 axes, .*; leave it", "x.npy", ArgumentError, channels="none"
        )
    refused("--channels is for arrays", str(folder), ArgumentError, channels="last")


@pytest.mark.parametrize("x", [pixels(5, 6, 7).astype(np.float32), pixels(5, 6, 3)])
def test_arrays_without_channels_get_the_axis_that_is_asked_for(x):
    np.save("x.npy", x)
    samples = open_samples("x.npy", channels="none")[0]
    assert isinstance(samples, np.memmap)
    np.testing.assert_array_equal(contents(samples), x[:, None])
    assert contents(open_samples("x.npy", channels="none", resize="4")[0]).shape == (5, 1, 4, 4)


@pytest.mark.parametrize("shape", [(6, 7, 3), (6, 7, 1), (6, 7, 4)])
def test_one_image_is_no_array_of_samples(shape):
    np.save("x.npy", pixels(*shape))
    refused("as if it were one image, .* an axis of samples, or say --channels none", "x.npy")


def test_numbers_are_no_inputs():
    for x in (np.arange(5), np.array(3.0)):
        np.save("x.npy", x)
        refused("a number for each sample; give inputs, and labels by --labels", "x.npy")


def test_damaged_npy():
    np.save("x.npy", pixels(5, 6, 7))
    whole = Path("x.npy").read_bytes()
    for count in (30, 200):
        Path("x.npy").write_bytes(whole[:count])
        refused(r"'x\.npy' is damaged \(ValueError: .*fetch or save it anew", "x.npy")


def test_objects_are_not_read():
    x = np.array([None, "a"], object)
    np.save("x.npy", x)
    np.savez("x.npz", x=x)
    for path in ("x.npy", "x.npz"):
        refused(rf"'{path}' holds Python objects, .* such a dtype", path)


# .npz


def test_npz_of_one_array():
    x = pixels(5, 2, 4, 6)
    np.savez("x.npz", anything=x)
    samples, labels = open_samples("x.npz")
    np.testing.assert_array_equal(contents(samples), x)
    assert labels is None


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("others", "name"),
    [
        ({}, "anything"),
        ({"y": (5,)}, "rows"),
        ({"Labels": (5,), "targets": (5,)}, "flat"),
        ({"a": (5, 3), "b": (2,)}, "x"),
        ({"a": (5, 3, 4), "b": (2, 3, 4)}, "images"),
        ({"a": (5, 3, 4), "b": (2, 3, 4)}, "Samples"),
        ({"a": (5, 3), "b": (2,), "c": ()}, "deep"),
    ],
)
def test_the_array_is_found_among_others(compressed, others, name):
    x = pixels(5, 2) if name == "flat" else pixels(5, 2, 4, 6)
    save = np.savez_compressed if compressed else np.savez
    save("x.npz", **{key: np.zeros(shape) for key, shape in others.items()}, **{name: x})
    np.testing.assert_array_equal(contents(open_samples("x.npz")[0]), x)


def test_the_array_is_named_where_several_may_be_meant():
    np.savez("x.npz", x_train=pixels(7, 7, 6), x_test=pixels(5, 7, 6), y_test=np.arange(5))
    text = refused(r"say which by x\.npz:key", "x.npz")
    assert "x_train (7, 7, 6), x_test (5, 7, 6), y_test (5,);" in text
    samples, labels = open_samples("x.npz:x_test", labels="y_test")
    assert samples.shape == (5, 1, 7, 6)
    assert labels.tolist() == [0, 1, 2, 3, 4]
    refused(r"no array 'x_tst' \(did you mean 'x_test'\?\); give one of x_train", "x.npz:x_tst")
    refused("'gone.npz' does not exist", "gone.npz:x", ArgumentError)
    np.savez("x.npz", x=pixels(7, 7, 6), images=pixels(5, 7, 6))
    refused("say which", "x.npz")


def test_a_file_with_a_colon_in_its_name():
    np.savez("a.npz:b", x=pixels(5, 4))
    os.rename("a.npz:b.npz", "a.npz:b")
    assert open_samples("a.npz:b")[0].shape == (5, 4)


@pytest.mark.parametrize("name", ["y", "labels", "Targets"])
def test_labels_beside_the_samples(name):
    x, y = pixels(5, 7, 6), np.array(list("abcab"))
    np.savez("x.npz", **{"x": x, name: y})
    assert open_samples("x.npz")[1].tolist() == y.tolist()
    np.savez("x.npz", **{"x": x, name: np.arange(5)[:, None]})
    assert open_samples("x.npz")[1].tolist() == [0, 1, 2, 3, 4]
    np.savez("x.npz", **{"x": x, name: np.arange(6)})
    assert open_samples("x.npz")[1] is None


def test_labels_by_key():
    np.savez("x.npz", x=pixels(5, 7, 6), y=np.arange(5), kind=np.array(list("aabba")))
    assert open_samples("x.npz:x", labels="kind")[1].tolist() == list("aabba")
    np.save("other.npy", np.arange(5, 10))
    assert open_samples("x.npz:x", labels="other.npy")[1].tolist() == [5, 6, 7, 8, 9]
    refused(
        r"'knid' is neither an array of 'x\.npz' \(did you mean 'kind'\?\) nor a file",
        "x.npz:x",
        ArgumentError,
        labels="knid",
    )
    refused("has shape .5, 7, 6.; expected", "x.npz:x", ArgumentError, labels="x")


def test_damaged_npz():
    np.savez_compressed("x.npz", x=np.arange(3000).reshape(30, 100))
    whole = bytearray(Path("x.npz").read_bytes())
    Path("x.npz").write_bytes(whole[:300])
    refused("nothing that can be read; give a .npz file that is whole", "x.npz")
    whole[400:420] = b"x" * 20
    Path("x.npz").write_bytes(whole)
    refused(r"'x\.npz' is damaged", "x.npz")


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_headers_of_all_versions(version):
    with zipfile.ZipFile("x.npz", "w") as archive, archive.open("x.npy", "w") as file:
        np.lib.format.write_array(file, pixels(5, 4), version)
    assert open_samples("x.npz")[0].shape == (5, 4)


# IDX


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("code", DTYPES)
def test_idx_of_all_types(code, packed):
    x = pixels(5, 6, 4).astype(DTYPES[code]) - 30 * (code > 8)
    content = idx(x, code)
    Path("train-images-idx3-ubyte").write_bytes(gzip.compress(content) if packed else content)
    samples, labels = open_samples("train-images-idx3-ubyte")
    assert labels is None
    assert samples.shape == (5, 1, 6, 4)
    assert isinstance(samples, np.memmap) != packed
    found = contents(samples)
    assert found.numpy().dtype == x.dtype
    np.testing.assert_array_equal(found[:, 0], x)


def test_idx_of_vectors_and_colours():
    Path("v.idx").write_bytes(idx(pixels(5, 6), 8))
    assert open_samples("v.idx")[0].shape == (5, 6)
    Path("c.idx").write_bytes(idx(pixels(5, 6, 7, 3), 8))
    assert open_samples("c.idx", channels="last")[0].shape == (5, 3, 6, 7)


def test_mnist_as_it_is_published():
    Path("t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(pixels(5, 28, 28), 8)))
    Path("t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.arange(5), 8)))
    samples, labels = open_samples("t10k-images-idx3-ubyte.gz", labels="t10k-labels-idx1-ubyte.gz")
    assert samples.shape == (5, 1, 28, 28)
    assert labels.tolist() == [0, 1, 2, 3, 4]
    refused("a number for each sample", "t10k-labels-idx1-ubyte.gz")
    refused(
        r"labels 't10k-images-.*' has shape \(5, 28, 28\); expected \(5,\), one label",
        "t10k-images-idx3-ubyte.gz",
        ArgumentError,
        labels="t10k-images-idx3-ubyte.gz",
    )


def test_damaged_idx():
    content = idx(pixels(5, 6, 4), 8)
    for wrong in (content[:-1], content + b"x", content[:9]):
        Path("x").write_bytes(wrong)
        refused("'x' is damaged .ValueError", "x")
        Path("x.gz").write_bytes(gzip.compress(wrong))
        refused("'x.gz' is damaged .ValueError", "x.gz")
    Path("x.gz").write_bytes(gzip.compress(content)[:30])
    refused("'x.gz' is damaged .EOFError", "x.gz")
    Path("x").write_bytes(content[:-1])
    refused(r"its header says \(5, 6, 4\), which 135 bytes are not", "x")


# Sizes


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "float64", ">f4"])
@pytest.mark.parametrize("shape", [(5, 3, 9, 8), (5, 1, 9, 8), (5, 9, 8)])
@pytest.mark.parametrize("text", ["4", "12x3"])
def test_arrays_are_resized_without_aliasing(dtype, shape, text):
    x = pixels(*shape).astype(dtype)
    np.save("x.npy", x)
    size = (4, 4) if text == "4" else (12, 3)
    found = contents(open_samples("x.npy", resize=text)[0])
    images = torch.from_numpy(x.astype(np.float64)).reshape(5, -1, 9, 8)
    expected = F.interpolate(images, size, mode="bilinear", antialias=True)
    grey = x.ndim == 3 and dtype != "uint8"
    assert found.shape == (5, *size) if grey else expected.shape
    assert found.numpy().dtype == x.dtype.newbyteorder("=")
    tolerance = {"uint8": 1.01, "float16": 0.2}.get(dtype, 1e-4)
    assert (found.double().reshape(expected.shape) - expected).abs().max() <= tolerance
    if dtype == "uint8":
        assert (found.double() - expected).mean().abs() < 0.2  # rounded, not cut


def test_resizing_reads_only_what_is_asked(monkeypatch):
    np.save(
        "x.npy", np.lib.stride_tricks.as_strided(np.zeros(1, np.uint8), (900, 1, 8, 8), (0,) * 4)
    )
    samples, _ = open_samples("x.npy", resize="4")
    reads = []
    inner = np.memmap.__getitem__

    def counted(self, index):
        reads.append(len(index))
        return inner(self, index)

    monkeypatch.setattr(np.memmap, "__getitem__", counted)
    batch = next(read(samples, n_samples=10).batches(7))
    assert batch.inputs.shape == (7, 1, 4, 4)
    assert reads == [7]


def test_channels_last_are_resized():
    x = pixels(5, 9, 8, 3)
    np.save("x.npy", x)
    np.save("moved.npy", np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
    last = contents(open_samples("x.npy", channels="last", resize="4x6")[0])
    assert torch.equal(last, contents(open_samples("moved.npy", resize="4x6")[0]))


@pytest.mark.parametrize("text", ["", "a", "0", "4x0", "-3", "4x", "4x5x6", "4,5", "4.5"])
def test_sizes_that_are_none(text):
    np.save("x.npy", pixels(5, 7, 6))
    refused(f"--resize {text!r} is no size; .* height x width", "x.npy", ArgumentError, resize=text)


def test_what_cannot_be_resized():
    for x in (pixels(5, 4), pixels(5, 1, 4, 4).astype(np.int64), pixels(5, 1, 2, 4, 4)):
        np.save("x.npy", x)
        refused(rf"--resize is for images, .*{x.dtype}", "x.npy", ArgumentError, resize="2")


# What is nothing


def test_paths_where_nothing_is(folder):
    refused(rf"--samples 'gone\.npy' does not exist in {folder}; ", "gone.npy", ArgumentError)
    refused("--samples '/gone.npy' does not exist; ", "/gone.npy", ArgumentError)
    Path("x.npy").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    refused("pointer that git-lfs left", "x.npy", ArgumentError)


def test_files_of_other_forms():
    forms = r"\.npy or \.npz file .*IDX file .*folder of images"
    Path("x.csv").write_text("1,2\n3,4\n")
    refused(f"'x.csv' is nothing that can be read; give a {forms}", "x.csv")
    for content in (b"", b"\0\0\x08\0 no axes", b"\0\0\x01\x01 no type"):
        Path("x.idx").write_bytes(content)
        refused(forms, "x.idx")
    torch.save(torch.zeros(3, 1, 4, 4), "x.pt")
    refused(r"give an array: save a tensor x by numpy\.save", "x.pt")
    image("a.png", pixels(4, 4, 3))
    refused("give the folder that the image is in", "a.png")
    np.save("x.npy", pixels(5, 4))
    Path("x.npy.gz").write_bytes(gzip.compress(Path("x.npy").read_bytes()))
    refused("unpack the archive first", "x.npy.gz")
    Path("x.gz").write_bytes(b"\x1f\x8b garbage")
    refused("'x.gz' is damaged", "x.gz")
