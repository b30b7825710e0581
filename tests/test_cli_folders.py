"""Folders of images as samples."""

import multiprocessing
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from reading import workers_warn
from sample_files import contents, image, pixels, refused
from tmeasures.cli.sources import open_samples
from tmeasures.errors import ArgumentError

pytestmark = pytest.mark.usefixtures("folder")


@pytest.mark.parametrize("ending", ["png", "bmp", "tif", "TIFF", "ppm", "PNG"])
def test_images_of_lossless_kinds(ending):
    x = pixels(4, 5, 6, 3)
    for i, array in enumerate(x):
        image(f"photos/{i}.{ending}", array)
    samples, labels = open_samples("photos")
    assert labels is None
    np.testing.assert_array_equal(contents(samples), x.transpose(0, 3, 1, 2))


@pytest.mark.parametrize("ending", ["jpg", "jpeg", "webp"])
def test_images_of_lossy_kinds(ending):
    x = np.full((40, 40, 3), (250, 100, 10), np.uint8)
    image(f"photos/a.{ending}", x)
    found = contents(open_samples("photos")[0])
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
    found = contents(samples)[:, 0, 0, 0]
    assert [names[i] for i in found] == sorted(names)
    assert labels is None


def test_links_to_folders_are_followed(folder):
    image("there/a.png", pixels(2, 2, 3))
    Path("photos").mkdir()
    os.symlink(folder / "there", "photos/here")
    assert len(contents(open_samples("photos")[0])) == 1


def test_links_that_lead_back_add_no_images(folder):
    image("photos/cat/a.png", pixels(2, 2, 3))
    os.symlink(folder / "photos", "photos/cat/up")
    assert open_samples("photos")[1].tolist() == ["cat"]
    os.unlink("photos/cat/up")
    image("photos/dog/a.png", pixels(2, 2, 3))
    os.symlink(folder / "photos/cat", "photos/dog/other")
    assert open_samples("photos")[1].tolist() == ["cat", "dog"]


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
    np.testing.assert_array_equal(contents(open_samples("photos", grey=True)[0]), x[:, None])
    colours = contents(open_samples("photos")[0])
    np.testing.assert_array_equal(colours, np.repeat(x[:, None], 3, 1))
    image("colour/a.png", np.full((2, 2, 3), (255, 0, 0), np.uint8))
    assert contents(open_samples("colour", grey=True)[0]).unique().tolist() == [76]


def test_grey_is_for_folders():
    np.save("x.npy", pixels(5, 6, 7))
    refused("--grey is for folders", "x.npy", ArgumentError, grey=True)


def test_images_are_turned_upright():
    x = pixels(2, 3, 3)
    exif = Image.Exif()
    exif[0x0112] = 6  # a camera held so that rows are columns
    image("photos/a.png", x, exif=exif)
    found = contents(open_samples("photos")[0])[0].permute(1, 2, 0)
    np.testing.assert_array_equal(found, np.rot90(x, -1))


@pytest.mark.parametrize("ending", ["png", "tif", "pgm"])
@pytest.mark.parametrize("grey", [True, False])
def test_16_bits_are_scaled_and_not_clipped(ending, grey):
    image(f"photos/a.{ending}", np.array([[0, 257, 128 * 257], [400, 65535, 65000]], np.uint16))
    found = contents(open_samples("photos", grey=grey)[0])
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
    found = contents(open_samples("photos")[0])
    expected = np.broadcast_to(np.array([255, 0, 0])[:, None, None], (4, 3, 2, 2))
    assert np.abs(found.numpy().astype(int) - expected).max() <= 1
    Image.new("1", (2, 2), 1).save("photos/bits.png")
    assert contents(open_samples("photos", grey=True)[0])[1].unique().tolist() == [255]


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
    np.testing.assert_array_equal(contents(samples), x.transpose(0, 3, 1, 2))
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
    assert contents(open_samples("photos", resize="5x6")[0]).shape == (6, 3, 5, 6)


def test_folders_without_images(folder):
    Path("photos").mkdir()
    refused(r"'photos' holds no images; .* \.png, \.ppm, ", "photos")
    Path("photos/x.gif").write_bytes(b"")
    Path("photos/y.npy").write_bytes(b"")
    refused(r"holds no images, only 2 other files such as 'x\.gif'; give", "photos")


@pytest.mark.parametrize(("text", "size"), [("4", (4, 4)), ("3x5", (3, 5)), (" 12 X 9 ", (12, 9))])
def test_folders_are_resized_as_pillow_does(text, size):
    array = pixels(9, 8, 3)
    image("photos/a.png", array)
    expected = Image.fromarray(array).resize(size[::-1], Image.Resampling.BILINEAR)
    found = contents(open_samples("photos", resize=text)[0])[0].permute(1, 2, 0)
    np.testing.assert_array_equal(found, expected)
