import gzip
import multiprocessing
import os
import pickle
import struct
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from tmeasures.cli.sources import normalisation, open_samples
from tmeasures.errors import ArgumentError, SampleError, TMeasuresWarning
from tmeasures.samples import read

workers_warn = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore:.*worker:UserWarning"
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def everything(samples, size=3):
    """All inputs in the order of the data set, as the engine reads them."""
    found = read(samples)
    batches = list(found.batches(size))
    inputs = torch.cat([batch.inputs for batch in batches])
    return inputs[np.argsort(np.concatenate([batch.ids for batch in batches]))]


def refused(pattern, path, kind=SampleError, **options):
    with pytest.raises(kind, match=pattern) as caught:
        everything(open_samples(path, **options)[0])
    text = str(caught.value)
    assert "\n" not in text
    assert "Traceback" not in text
    assert not text.endswith(".")
    return text


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
    np.testing.assert_array_equal(everything(samples), x.astype(x.dtype.newbyteorder("=")))


def test_grey_images_of_bytes_get_a_channel_axis():
    x = pixels(5, 6, 7)
    np.save("x.npy", x)
    np.testing.assert_array_equal(everything(open_samples("x.npy")[0]), x[:, None])


def test_channels_last_is_asked_for_and_moved():
    x = pixels(5, 6, 7, 3)
    np.save("x.npy", x)
    text = refused(r"shape \(5, 6, 7, 3\).*channels came last", "x.npy", ArgumentError)
    assert "--channels last" in text
    samples = open_samples("x.npy", channels="last")[0]
    assert isinstance(samples, np.memmap)
    np.testing.assert_array_equal(everything(samples), x.transpose(0, 3, 1, 2))
    assert open_samples("x.npy", channels="first")[0].shape == (5, 6, 7, 3)
    np.save("x.npy", pixels(5, 3, 7, 3))  # may be either; nothing is asked
    assert open_samples("x.npy")[0].shape == (5, 3, 7, 3)
    np.save("x.npy", pixels(5, 6, 7, 1))
    refused("channels came last", "x.npy", ArgumentError)


def test_channels_of_what_has_none(folder):
    np.save("x.npy", pixels(5, 6, 7))
    for channels in ("first", "last"):
        refused(r"4 axes, .* \(5, 6, 7\); leave it out", "x.npy", ArgumentError, channels=channels)
    refused("--channels is for arrays", str(folder), ArgumentError, channels="last")


@pytest.mark.parametrize("shape", [(6, 7, 3), (6, 7, 1), (6, 7, 4)])
def test_one_image_is_no_array_of_samples(shape):
    np.save("x.npy", pixels(*shape))
    refused("as if it were one image, .* an axis of samples", "x.npy")


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
    np.testing.assert_array_equal(everything(samples), x)
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
    np.testing.assert_array_equal(everything(open_samples("x.npz")[0]), x)


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

DTYPES = {8: "u1", 9: "i1", 11: "i2", 12: "i4", 13: "f4", 14: "f8"}


def idx(x, code):
    content = x.astype(np.dtype(DTYPES[code]).newbyteorder(">")).tobytes()
    return bytes([0, 0, code, x.ndim]) + struct.pack(f">{x.ndim}I", *x.shape) + content


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
    found = everything(samples)
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


# Folders


def image(path, array, **options):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)


@pytest.mark.parametrize("ending", ["png", "bmp", "tif", "TIFF", "ppm", "PNG"])
def test_images_of_lossless_kinds(ending):
    x = pixels(4, 5, 6, 3)
    for i, array in enumerate(x):
        image(f"photos/{i}.{ending}", array)
    samples, labels = open_samples("photos")
    assert labels is None
    np.testing.assert_array_equal(everything(samples), x.transpose(0, 3, 1, 2))


@pytest.mark.parametrize("ending", ["jpg", "jpeg", "webp"])
def test_images_of_lossy_kinds(ending):
    x = np.full((40, 40, 3), (250, 100, 10), np.uint8)
    image(f"photos/a.{ending}", x)
    found = everything(open_samples("photos")[0])
    assert found.dtype == torch.uint8
    assert found.shape == (1, 3, 40, 40)
    assert np.abs(found.permute(0, 2, 3, 1).numpy().astype(int) - x).max() < 12


def test_images_are_sorted_by_path_and_hidden_files_left_out():
    names = ["b.png", "a.png", "sub/c.png", "sub/deep/a.png", "A.png", "a/z.png"]
    for name in names:
        image(f"photos/{name}", np.full((2, 2, 3), names.index(name), np.uint8))
    for hidden in (".x.png", ".cache/x.png", "sub/._c.png"):
        image(f"photos/{hidden}", pixels(3, 3, 3))
    Path("photos/notes.txt").write_text("no image")
    samples, labels = open_samples("photos")
    found = everything(samples)[:, 0, 0, 0]
    assert [names[i] for i in found] == sorted(names, key=lambda name: name.split("/"))
    assert labels is None


def test_links_to_folders_are_followed(folder):
    image("there/a.png", pixels(2, 2, 3))
    Path("photos").mkdir()
    os.symlink(folder / "there", "photos/here")
    assert len(everything(open_samples("photos")[0])) == 1


def test_subfolders_are_classes():
    for name in ("cat/b.png", "dog/a.png", "cat/deep/a.png", "ant/a.png"):
        image(f"photos/{name}", pixels(2, 2, 3))
    assert open_samples("photos")[1].tolist() == ["ant", "cat", "cat", "dog"]
    image("photos/alone.png", pixels(2, 2, 3))
    assert open_samples("photos")[1] is None


def test_grey_folders():
    x = pixels(3, 5, 6)
    for i, array in enumerate(x):
        image(f"photos/{i}.png", array)
    np.testing.assert_array_equal(everything(open_samples("photos", grey=True)[0]), x[:, None])
    colours = everything(open_samples("photos")[0])
    np.testing.assert_array_equal(colours, np.repeat(x[:, None], 3, 1))
    image("colour/a.png", np.full((2, 2, 3), (255, 0, 0), np.uint8))
    assert everything(open_samples("colour", grey=True)[0]).unique().tolist() == [76]


def test_grey_is_for_folders():
    np.save("x.npy", pixels(5, 6, 7))
    refused("--grey is for folders", "x.npy", ArgumentError, grey=True)


def test_images_are_turned_upright():
    x = pixels(2, 3, 3)
    exif = Image.Exif()
    exif[0x0112] = 6  # a camera held so that rows are columns
    image("photos/a.png", x, exif=exif)
    found = everything(open_samples("photos")[0])[0].permute(1, 2, 0)
    np.testing.assert_array_equal(found, np.rot90(x, -1))


@pytest.mark.parametrize("ending", ["png", "tif", "pgm"])
@pytest.mark.parametrize("grey", [True, False])
def test_16_bits_are_scaled_and_not_clipped(ending, grey):
    image(f"photos/a.{ending}", np.array([[0, 257, 128 * 257], [400, 65535, 65000]], np.uint16))
    found = everything(open_samples("photos", grey=grey)[0])
    assert found.shape[1] == (1 if grey else 3)
    assert found[0, -1].tolist() == [[0, 1, 128], [2, 255, 253]]


def test_pixels_of_unknown_range_are_refused():
    for array in (np.full((2, 2), 70000, np.int32), np.ones((2, 2), np.float32)):
        image("photos/a.tif", array)
        refused(r"'photos/a\.tif' cannot be read .* no range of 8 or 16 bits", "photos")


def test_palettes_transparency_and_ink():
    red = np.full((2, 2, 4), (255, 0, 0, 255), np.uint8)
    image("photos/alpha.png", red)
    palette = Image.fromarray(red[..., :3]).convert("P", palette=Image.Palette.ADAPTIVE)
    palette.save("photos/palette.png")
    palette.save("photos/transparent.png", transparency=bytes([255, 10]))
    Image.new("CMYK", (2, 2), (0, 255, 255, 0)).save("photos/cmyk.tif")
    found = everything(open_samples("photos")[0])
    expected = np.broadcast_to(np.array([255, 0, 0])[:, None, None], (4, 3, 2, 2))
    assert np.abs(found.numpy().astype(int) - expected).max() <= 1
    Image.new("1", (2, 2), 1).save("photos/bits.png")
    assert everything(open_samples("photos", grey=True)[0])[1].unique().tolist() == [255]


def test_colours_that_have_no_conversion():
    Path("photos").mkdir()
    Image.new("LAB", (2, 2)).save("photos/lab.tif")
    refused(r"'photos/lab\.tif' cannot be read \(ValueError: conversion", "photos", grey=True)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n" + b"\0" * 50])
def test_broken_images_are_named(content):
    for i in range(4):
        image(f"photos/{i}.png", pixels(2, 2, 3))
    Path("photos/2.png").write_bytes(content)
    for size in (None, "2"):
        refused(r"the image 'photos/2\.png' cannot be read \(", "photos", resize=size)
    Path("photos/0.png").write_bytes(content)
    refused(r"'photos/0\.png' cannot be read", "photos")


def test_images_cut_short_are_named():
    image("photos/a.jpg", pixels(64, 64, 3))
    whole = Path("photos/a.jpg").read_bytes()
    Path("photos/a.jpg").write_bytes(whole[: len(whole) // 2])
    refused(r"'photos/a\.jpg' cannot be read \(OSError: image file is truncated", "photos")


@workers_warn
def test_workers_read_the_same_and_errors_are_one_sentence():
    x = pixels(4, 5, 6, 3)
    for i, array in enumerate(x):
        image(f"photos/{i}.png", array)
    samples, _ = open_samples("photos", workers=1)
    assert samples.num_workers == 1
    np.testing.assert_array_equal(everything(samples), x.transpose(0, 3, 1, 2))
    Path("photos/2.png").write_bytes(b"hello")
    refused(r"^the image 'photos/2\.png' cannot be read", "photos", workers=1)
    assert not multiprocessing.active_children()
    refused("--workers=-1 cannot be used", "photos", ArgumentError, workers=-1)


def test_what_reads_images_goes_to_spawned_workers():
    image("photos/a.png", pixels(2, 2, 3))
    reader = open_samples("photos")[0].collate_fn
    assert torch.equal(pickle.loads(pickle.dumps(reader))(["a.png"]), reader(["a.png"]))


def test_unequal_sizes_are_named():
    for i in range(5):
        image(f"photos/{i}.png", pixels(5, 6, 3))
    image("photos/x.png", pixels(5, 7, 3))
    text = refused("have unequal sizes, such as 0.png with 5x6 and x.png with 5x7", "photos")
    assert "--resize 5x6" in text
    assert everything(open_samples("photos", resize="5x6")[0]).shape == (6, 3, 5, 6)


def test_folders_without_images(folder):
    Path("photos").mkdir()
    refused(r"'photos' holds no images; .* \.png, \.ppm, ", "photos")
    Path("photos/x.gif").write_bytes(b"")
    Path("photos/y.npy").write_bytes(b"")
    refused(r"holds no images, only 2 other files such as 'x\.gif'; give", "photos")


# Sizes


@pytest.mark.parametrize(("text", "size"), [("4", (4, 4)), ("3x5", (3, 5)), (" 12 X 9 ", (12, 9))])
def test_folders_are_resized_as_pillow_does(text, size):
    array = pixels(9, 8, 3)
    image("photos/a.png", array)
    expected = Image.fromarray(array).resize(size[::-1], Image.Resampling.BILINEAR)
    found = everything(open_samples("photos", resize=text)[0])[0].permute(1, 2, 0)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "float64", ">f4"])
@pytest.mark.parametrize("shape", [(5, 3, 9, 8), (5, 1, 9, 8), (5, 9, 8)])
@pytest.mark.parametrize("text", ["4", "12x3"])
def test_arrays_are_resized_without_aliasing(dtype, shape, text):
    x = pixels(*shape).astype(dtype)
    np.save("x.npy", x)
    size = (4, 4) if text == "4" else (12, 3)
    found = everything(open_samples("x.npy", resize=text)[0])
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
    last = everything(open_samples("x.npy", channels="last", resize="4x6")[0])
    assert torch.equal(last, everything(open_samples("moved.npy", resize="4x6")[0]))


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


# Labels


def labelled(labels, n=3):
    np.save("x.npy", pixels(n, 4))
    return open_samples("x.npy", labels=labels)[1]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("y.txt", "3\n1\n2\n", [3, 1, 2]),
        ("y.txt", "3\n\n1\n2", [3, 1, 2]),
        ("y.txt", "\ufeffcat\ngolden retriever, tan\nant", ["cat", "golden retriever, tan", "ant"]),
        ("y.txt", "digit\n3\n1\n2\n", [3, 1, 2]),
        ("y.csv", "label\ncat\ncat\nant\n", ["cat", "cat", "ant"]),
        ("y.csv", '"a, b"\n"c"\n" d "\n', ["a, b", "c", "d"]),
        ("y.csv", "1\r\n2.5\r\n-3\r\n", [1, 2.5, -3]),
        ("y.tsv", "1\n2\n3\n", [1, 2, 3]),
        ("Y.CSV", "1\n2\nb\n", ["1", "2", "b"]),
        ("y.txt", "01\n02\n03\n", [1, 2, 3]),
    ],
)
def test_labels_of_text(name, text, expected):
    Path(name).write_text(text, encoding="utf-8")
    found = labelled(name)
    assert found.tolist() == expected
    assert found.dtype.kind == np.array(expected).dtype.kind


def test_a_line_too_many_is_a_header_only_if_it_looks_like_one():
    for text in ("3\n1\n2\n2\n", "cat\ncat\nant\nant\n"):
        Path("y.txt").write_text(text)
        with pytest.raises(ArgumentError, match="holds 4 labels and --samples 3 samples"):
            labelled("y.txt")


def test_labels_of_arrays():
    np.save("y.npy", np.array([3, 1, 2]))
    assert labelled("y.npy").tolist() == [3, 1, 2]
    np.save("y.npy", np.array([["a"], ["b"], ["c"]]))
    assert labelled("y.npy").tolist() == ["a", "b", "c"]
    Path("y-idx1").write_bytes(idx(np.array([3, 1, 2]), 8))
    assert labelled("y-idx1").tolist() == [3, 1, 2]
    np.savez("y.npz", labels=np.arange(3), other=np.zeros(3))
    assert labelled("y.npz").tolist() == [0, 1, 2]
    assert labelled("y.npz:other").tolist() == [0, 0, 0]
    np.savez("y.npz", a=np.arange(3))
    assert labelled("y.npz").tolist() == [0, 1, 2]
    np.savez("y.npz", a=np.arange(3), b=np.zeros(3))
    with pytest.raises(ArgumentError, match=r"holds a \(3,\), b \(3,\); say which by y\.npz:key"):
        labelled("y.npz")
    with pytest.raises(SampleError, match="no array 'c'"):
        labelled("y.npz:c")


@pytest.mark.parametrize("count", [2, 4])
def test_labels_of_another_number(count):
    np.save("y.npy", np.arange(count))
    Path("y.txt").write_text("1\n" * count)
    for name in ("y.npy", "y.txt"):
        with pytest.raises(ArgumentError, match=f"holds {count} labels and --samples 3 samples"):
            labelled(name)


def test_labels_that_are_none(folder):
    np.save("y.npy", np.eye(3))
    with pytest.raises(ArgumentError, match=r"shape \(3, 3\); expected \(3,\).*argmax\(1\)"):
        labelled("y.npy")
    for name, content, message in (
        ("y.json", b"[1, 2, 3]", "is no file of labels; give a .npy"),
        ("y.txt", b"\xff\xfe1\x00", "is no text in UTF-8"),
        ("y.csv", b"a,1\nb,2\nc,3\n", "has lines of 2 columns, such as 'a,1'; give one label"),
        ("y.txt", b"", "holds 0 labels"),
    ):
        Path(name).write_bytes(content)
        with pytest.raises(ArgumentError, match=message):
            labelled(name)
    with pytest.raises(ArgumentError, match=r"--labels 'gone\.npy' does not exist"):
        labelled("gone.npy")
    with pytest.raises(ArgumentError, match="is a folder; give the file"):
        labelled(str(folder))


@pytest.fixture
def photos():
    for name in ("a.png", "b.png", "sub/c.png"):
        image(f"photos/{name}", pixels(2, 2, 3))


@pytest.mark.usefixtures("photos")
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("y.txt", "x\ny\nz\n"),
        ("y.csv", "x\ny\nz\n"),
        ("y.csv", "sub/c.png,z\na.png,x\nb.png,y\n"),
        ("y.csv", "file,label\nsub/c.png,z\na.png,x\nb.png,y\nnot_here.png,q\n"),
        ("y.csv", "c.png,z\na.png,x\nb.png,y\n"),
        ("y.csv", "id;class\nc;z\na;x\nb;y\n"),
        ("y.csv", "./sub/c.png,z\nphotos/a.png,x\nphotos\\b.png,y\n"),
        ("y.tsv", "sub/c.png\tz\na.png\tx\nb.png\ty\n"),
        ("y.txt", "sub/c.png,z\na.png, x\nb.png,y\n"),
        ("y.txt", "sub/c.png z\na.png x\nb.png y\n"),
        ("y.txt", "a.png x\na.png x\nb.png y\nc.png z\n"),
    ],
)
def test_labels_of_a_folder(name, text):
    Path(name).write_text(text)
    assert open_samples("photos", labels=name)[1].tolist() == ["x", "y", "z"]


@pytest.mark.usefixtures("photos")
def test_labels_that_read_like_names_of_images():
    Path("y.csv").write_text("a\nb\na\n")
    assert open_samples("photos", labels="y.csv")[1].tolist() == ["a", "b", "a"]


@pytest.mark.usefixtures("photos")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.png,x\nb.png,y\n", "no label for 1 of the 3 images, such as 'sub/c.png'; give one"),
        ("a.png,x\nb.png,y\nc.png,z\na.png,q\n", "has two labels for 'a.png'"),
        ("a.png,x,1\nb.png,y,1\nc.png,z,1\n", "has 3 columns; give one line 'file,label'"),
        ("x,a.png\ny,b.png\nz,c.png\n", "lines of 2 columns, .* or 'file,label'"),
        ("x\ny\n", "holds 2 labels and --samples 3"),
    ],
)
def test_labels_that_leave_images_out(text, message):
    Path("y.csv").write_text(text)
    with pytest.raises(ArgumentError, match=message):
        open_samples("photos", labels="y.csv")


def test_names_that_several_images_have_are_not_guessed():
    for name in ("one/a.png", "two/a.png"):
        image(f"photos/{name}", pixels(2, 2, 3))
    Path("y.csv").write_text("one/a.png,1\ntwo/a.png,2\n")
    assert open_samples("photos", labels="y.csv")[1].tolist() == [1, 2]
    Path("y.csv").write_text("one/a.png,1\na.png,2\n")
    with pytest.raises(ArgumentError, match=r"such as 'two/a\.png'"):
        open_samples("photos", labels="y.csv")


# Normalisation


@pytest.mark.parametrize("space", [(), (4,), (4, 5), (2, 4, 5)])
def test_normalisation_by_channel(space):
    x = torch.rand(6, 3, *space, dtype=torch.float64)
    found = normalisation("0.485,0.25, 0", "1,.5,2")(x)
    for channel, (mean, std) in enumerate([(0.485, 1), (0.25, 0.5), (0, 2)]):
        torch.testing.assert_close(
            found[:, channel], (x[:, channel] - mean) / std, rtol=0, atol=1e-15
        )
    assert found.dtype == torch.float64


def test_normalisation_by_one_number():
    x = torch.rand(6, 3, 4)
    torch.testing.assert_close(normalisation(".5", "2")(x), (x - 0.5) / 2)
    mixed = normalisation("0.5", "1,2,4")(x)
    torch.testing.assert_close(mixed[:, 2], (x[:, 2] - 0.5) / 4)
    mixed = normalisation("1,.2,.4", "2")(x)
    torch.testing.assert_close(mixed[:, 1], (x[:, 1] - 0.2) / 2)
    assert normalisation(".5", "2")(torch.tensor([1, 2])).tolist() == [0.25, 0.75]


def test_normalisation_reads_as_given():
    assert repr(normalisation("0.485,.456,4e-1", "1")) == "--mean 0.485,.456,4e-1 --std 1"


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        ("a", "1", "--mean 'a' is not one or more finite numbers"),
        ("", "1", "--mean '' is not"),
        ("1,,2", "1", "--mean '1,,2' is not"),
        ("1 2 3", "1", "--mean '1 2 3' is not .* commas between"),
        ("0", "nan", "--std 'nan' is not"),
        ("inf", "1", "--mean 'inf' is not"),
        ("0", "0", "--std '0' is not positive"),
        ("0,0", "1,-1", "--std '1,-1' is not positive"),
        ("0,0,0", "1,1", "--mean has 3 numbers and --std 2; give as many of each"),
    ],
)
def test_normalisations_that_are_none(mean, std, message):
    with pytest.raises(ArgumentError, match=message):
        normalisation(mean, std)


@pytest.mark.parametrize("shape", [(6, 1, 4, 4), (6, 4, 4), (6,)])
def test_normalisation_of_other_channels(shape):
    with pytest.raises(ArgumentError, match="are for 3 channels, and inputs have shape"):
        normalisation("0", "1,1,1")(torch.zeros(shape))


def test_means_of_bytes_for_inputs_up_to_one():
    bytes_mean = normalisation("123.7,116.3,103.5", "58,57,57")
    with pytest.warns(TMeasuresWarning, match="divide mean and std by 255 too"):
        bytes_mean(torch.rand(2, 3, 4, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bytes_mean(torch.rand(2, 3, 4, 4))  # said once
        normalisation("123,116,103", "58")(255 * torch.ones(2, 3, 4, 4))
        normalisation("0.5", "0.2")(torch.rand(2, 3, 4, 4))
