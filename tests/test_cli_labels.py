"""Labels from files of their own."""

from pathlib import Path

import numpy as np
import pytest

from sample_files import idx, image, pixels
from tmeasures.cli.sources import open_samples
from tmeasures.errors import ArgumentError, SampleError

pytestmark = pytest.mark.usefixtures("folder")


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
        ("y.txt", "01\n2\n3\n", ["01", "2", "3"]),
        ("y.txt", "1_1\n2\n3\n", ["1_1", "2", "3"]),
        ("y.txt", "12e4\n2\n3\n", ["12e4", "2", "3"]),
        ("y.txt", "1.1\n1.10\n3\n", ["1.1", "1.10", "3"]),
        ("y.txt", "nan\ninf\n3\n", ["nan", "inf", "3"]),
        ("y.txt", f"{10**20}\n0\n3\n", [str(10**20), "0", "3"]),
        ("y.txt", "3.000e+00\n-1e-05\n0\n", [3, -0.00001, 0.0]),
        ("y.txt", "image\ntext\nimage\n", ["image", "text", "image"]),
    ],
)
def test_labels_of_text(name, text, expected):
    Path(name).write_text(text, encoding="utf-8")
    found = labelled(name)
    assert found.tolist() == expected
    assert found.dtype.kind == np.array(expected).dtype.kind


def test_a_line_too_many_is_a_header_only_if_it_looks_like_one():
    for text in ("3\n1\n2\n2\n", "cat\ncat\nant\nant\n", "cat\ndog\nfox\nant\n", "007\n1\n2\n3\n"):
        Path("y.txt").write_text(text)
        with pytest.raises(ArgumentError, match="holds 4 labels and --samples 3 samples"):
            labelled("y.txt")


@pytest.mark.parametrize("text", ["digit\n3\n1\n", "Label\ncat\nant\n"])
def test_a_header_is_no_label_where_one_is_lacking(text):
    Path("y.csv").write_text(text)
    with pytest.raises(ArgumentError, match="holds 2 labels and --samples 3 samples"):
        labelled("y.csv")


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
def photos(folder):
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
