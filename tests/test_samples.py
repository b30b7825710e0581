"""Samples that are indexed: their forms, order, labels, and what cannot be read."""

import doctest
import importlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset, TensorDataset

from reading import Flow, Rows, everything
from tmeasures.errors import ArgumentError, SampleError
from tmeasures.samples import read


class NoLength(Dataset):
    def __getitem__(self, i):
        return torch.zeros(2)


def order(n, n_samples=None, seed=0):
    return np.random.default_rng(seed).permutation(n)[:n_samples]


def forms(n):
    """Every indexable form of the same n items; item i is (i, i)."""
    x = torch.arange(n)[:, None].expand(n, 2).contiguous()
    return {
        "tensor": x,
        "array": x.numpy(),
        "pair": (x, torch.arange(n)),
        "dataset": Rows(n),
        "parts of one": TensorDataset(x),
        "parts of two": TensorDataset(x, torch.arange(n)),
        "list": list(x),
        "loader": DataLoader(Rows(n), batch_size=3, shuffle=True, drop_last=True),
        "loader without batches": DataLoader(Rows(n), batch_size=None),
        "loader with batch sampler": DataLoader(Rows(n), batch_sampler=[[0, 0]]),
    }


@pytest.mark.parametrize("form", forms(1))
@settings(max_examples=15, deadline=None)
@given(n=st.integers(1, 12), size=st.integers(1, 14), seed=st.integers(0, 2**70), data=st.data())
def test_every_sample_once_in_the_seeded_order(form, n, size, seed, data):
    n_samples = data.draw(st.none() | st.integers(1, n))
    samples = read(forms(n)[form], n_samples=n_samples, seed=seed)
    expected = order(n, n_samples, seed)
    assert samples.n == len(expected)
    assert not samples.iterable
    for _ in range(2):
        ids, inputs, labels = everything(samples, size)
        assert ids.dtype == np.int64
        np.testing.assert_array_equal(ids, expected)
        np.testing.assert_array_equal(samples.ids, expected)
        np.testing.assert_array_equal(inputs, np.stack([expected, expected], axis=1))
        if "two" in form or form == "pair":
            np.testing.assert_array_equal(labels, expected)
        else:
            assert labels is None
    np.testing.assert_array_equal(samples.first(), inputs[:3])
    lengths = [len(batch.samples) for batch in samples.batches(size)]
    assert lengths[:-1] == [size] * (len(lengths) - 1)


def test_reads_each_item_once_per_pass_and_none_before():
    data = Rows(7)
    samples = read(data, n_samples=5)
    assert data.reads == []
    everything(samples, 2)
    assert data.reads == order(7, 5).tolist()
    data.reads.clear()
    samples.first()
    assert data.reads == order(7, 3).tolist()


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64", "float16", "float32", "float64"])
def test_dtypes_are_kept(dtype):
    x = np.arange(12, dtype=dtype).reshape(4, 3)
    for samples in (x, torch.from_numpy(x), list(x), {"x": x}, [{"x": row} for row in x]):
        batch = next(iter(read(samples).batches(4))).inputs
        got = batch["x"] if isinstance(batch, dict) else batch
        assert got.dtype == torch.from_numpy(x).dtype
        np.testing.assert_array_equal(got, x[order(4)])


def test_big_endian_arrays_and_bfloat16_tensors():
    x = np.arange(6, dtype=">f4").reshape(3, 2)
    _, inputs, _ = everything(read(x))
    assert inputs.dtype == torch.float32
    np.testing.assert_array_equal(inputs, x[order(3)])
    assert everything(read(torch.zeros(3, dtype=torch.bfloat16)))[1].dtype == torch.bfloat16


def test_memory_map_stays_on_disk(tmp_path):
    x = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (6, 2))
    x[:] = np.arange(12).reshape(6, 2)
    samples = read(np.load(tmp_path / "x.npy", mmap_mode="r"))
    x[:] += 100  # seen by the batches: nothing was copied before
    np.testing.assert_array_equal(everything(samples)[1], x[order(6)])


def test_inputs_own_their_memory_and_no_graph():
    x = torch.zeros(4, 2, requires_grad=True)
    for samples in (x, list(x), {"x": x}):
        batch = next(iter(read(samples).batches(4))).inputs
        batch = batch["x"] if isinstance(batch, dict) else batch
        assert not batch.requires_grad
        batch += 1
    assert x.sum() == 0


def test_objects_with_array():
    class Wrapped:
        def __array__(self, dtype=None, copy=None):
            return np.arange(6.0).reshape(3, 2)

    np.testing.assert_array_equal(everything(read(Wrapped()))[1], np.asarray(Wrapped())[order(3)])


def test_tuple_of_two_images_is_two_samples():
    image = torch.ones(3, 4, 4)
    assert read((image, image)).n == 2
    assert read((torch.ones(3), torch.ones(3))).n == 2


# Labels


@pytest.mark.parametrize(
    ("y", "expected"),
    [
        (lambda i: i, [0, 1, 2]),
        (lambda i: f"class {i}", ["class 0", "class 1", "class 2"]),
        (lambda i: torch.tensor(i / 2), [0, 0.5, 1]),
        (lambda i: np.int16(i), [0, 1, 2]),
        (lambda i: i > 0, [False, True, True]),
        (lambda i: None, None),
        (lambda i: torch.zeros(2), None),
        (lambda i: torch.zeros(i), None),  # boxes, say: would not even stack
        (lambda i: {"boxes": i}, None),
    ],
)
def test_labels_of_items(y, expected):
    items = [(torch.zeros(1), y(i)) for i in range(3)]
    _, inputs, labels = everything(read(items))
    assert inputs.shape == (3, 1)
    if expected is None:
        assert labels is None
    else:
        np.testing.assert_array_equal(labels, np.array(expected)[order(3)])


@pytest.mark.parametrize("form", forms(1))
def test_labels_are_indexed_as_the_data_set(form):
    names = np.array(list("abcdefg"))
    for labels in (names, names.tolist()):
        ids, _, got = everything(read(forms(7)[form], labels=labels, n_samples=5))
        np.testing.assert_array_equal(got, names[ids])
    ids, _, got = everything(read(forms(7)[form], labels=torch.arange(7) * 10))
    np.testing.assert_array_equal(got, ids * 10)


@pytest.mark.parametrize("form", forms(1))
def test_labels_of_another_length(form):
    with pytest.raises(ArgumentError, match="6 labels for 7 samples"):
        read(forms(7)[form], labels=np.zeros(6))


def test_labels_that_are_no_labels():
    with pytest.raises(ArgumentError, match="one number or string per sample"):
        read(torch.zeros(3, 2), labels=np.zeros((3, 2)))
    with pytest.raises(ArgumentError, match="no mapping"):
        read(torch.zeros(3, 2), labels="y")
    with pytest.raises(ArgumentError, match="no mapping"):
        list(read(Rows(3), labels="y").batches(2))
    with pytest.raises(ArgumentError, match=r"'y'.*\['x'\]"):
        read({"x": torch.zeros(3)}, labels="y")
    with pytest.raises(ArgumentError, match="one number or string per sample"):
        list(read([{"x": torch.zeros(2), "y": torch.zeros(2)}], labels="y").batches(2))


# Mappings


def mappings(n):
    ids = torch.arange(n)
    arrays = {"x": ids[:, None].float(), "mask": (ids % 2).numpy(), "y": ids * 10}
    return {"in memory": arrays, "items": [{k: v[i] for k, v in arrays.items()} for i in range(n)]}


@pytest.mark.parametrize("form", mappings(1))
def test_mappings(form):
    expected = order(5)
    for batch in read(mappings(5)[form]).batches(2):
        ids = expected[batch.samples.start : batch.samples.stop]
        assert set(batch.inputs) == {"x", "mask", "y"}
        np.testing.assert_array_equal(batch.inputs["x"][:, 0], ids)
        np.testing.assert_array_equal(batch.inputs["mask"], ids % 2)
        assert batch.labels is None
    samples = read(mappings(5)[form], labels="y")
    for batch in samples.batches(2):
        assert set(batch.inputs) == {"x", "mask"}
        np.testing.assert_array_equal(batch.labels, batch.ids * 10)
    assert set(samples.first()) == {"x", "mask"}
    for batch in read(mappings(5)[form], labels=list("abcde")).batches(2):
        assert set(batch.inputs) == {"x", "mask", "y"}
        np.testing.assert_array_equal(batch.labels, np.array(list("abcde"))[batch.ids])


def test_mapping_with_string_labels_and_texts():
    data = {"x": torch.arange(3), "name": ["a", "b", "c"]}
    assert next(read(data, labels="name", seed=1).batches(3)).labels.tolist() == [
        "abc"[i] for i in order(3, seed=1)
    ]
    items = [{"x": torch.zeros(1), "text": str(i)} for i in range(3)]
    batch = next(read(items).batches(3))
    assert batch.inputs["text"] == [str(i) for i in batch.ids]


def test_mapping_x_with_y():
    items = [({"x": torch.tensor(i), "z": torch.zeros(2)}, i) for i in range(3)]
    batch = next(read(items).batches(3))
    np.testing.assert_array_equal(batch.inputs["x"], batch.labels)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"x": torch.zeros(3), "y": torch.zeros(4)}, "'x': 3, 'y': 4"),
        ({"x": torch.zeros(3), "y": "abc"}, "'y' are 'abc'"),
        ({"x": torch.tensor(1)}, "'x' are a single number"),
        ({}, "empty mapping"),
        ([{"text": "a"}], "no tensor"),
        ([{"x": torch.zeros(2), "a": 1}, {"x": torch.zeros(2)}], r"keys .*'a'"),
        ([{"x": torch.zeros(2)}, {"x": torch.zeros(3)}], "unequal shapes under 'x'"),
    ],
)
def test_bad_mappings(data, message):
    with pytest.raises(SampleError, match=message):
        list(read(data).batches(2))


# Bad input


@pytest.mark.parametrize("form", forms(1))
def test_n_samples_out_of_range(form):
    with pytest.raises(ArgumentError, match=r"8.*7"):
        read(forms(7)[form], n_samples=8)
    for wrong in (0, -1, 2.0):
        with pytest.raises(ArgumentError, match="n_samples"):
            read(forms(7)[form], n_samples=wrong)


def test_seed_and_size_out_of_range():
    with pytest.raises(ArgumentError, match="seed"):
        read(torch.zeros(3), seed=-1)
    for data in (torch.zeros(3), Rows(3), Flow(3)):
        with pytest.raises(ArgumentError, match="batch_size=0"):
            read(data).batches(0)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (torch.zeros(0, 3), "empty"),
        (np.zeros((0, 3)), "empty"),
        (Rows(0), "empty"),
        ([], "empty"),
        ({"x": np.zeros((0, 3))}, "empty"),
        (torch.tensor(1.0), "single number"),
        (np.float32(1), "single number"),
        (np.array(["a"]), "dtype <U1"),
        (np.array([None]), "dtype object"),
        (np.zeros(3, np.longdouble), "torch lacks"),
        ({"x": np.array(["a"])}, "'x' have dtype"),
        (NoLength(), "without a length"),
        (DataLoader(NoLength(), batch_sampler=[[0]]), "without a length"),
        ((i for i in range(3)), "generator"),
        ("images", "the path 'images'"),
        (3, "are 3"),
        (None, "are None"),
        (Rows, "the class Rows"),
    ],
)
def test_what_cannot_be_read(data, message):
    with pytest.raises(SampleError, match=message):
        read(data)


def test_a_pair_of_equal_shapes_is_two_items():
    _, inputs, labels = everything(read((torch.zeros(3, 4), torch.ones(3, 4))))
    assert inputs.shape == (2, 3, 4)
    assert labels is None


def test_a_pair_of_inputs_and_labels_may_be_a_list():
    x, y = torch.rand(5, 2), torch.arange(5)
    ids, inputs, labels = everything(read([x, y]))
    np.testing.assert_array_equal(labels, ids)
    assert torch.equal(inputs, x[torch.as_tensor(ids)])


def test_items_of_unequal_shapes_are_named_by_their_place_in_the_data_set():
    shapes = [(1,)] * 20
    shapes[13] = (2,)
    for data in (Rows(20, lambda i: torch.zeros(shapes[i])), [torch.zeros(s) for s in shapes]):
        with pytest.raises(SampleError, match=r"samples (\d+ and 13|13 and \d+) have"):
            list(read(data).batches(7))


def of_shapes(*shapes):
    return [torch.zeros(shape) for shape in shapes]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            of_shapes((1, 4, 4), (1, 4, 4), (1, 5, 4)),
            r"\(1, [45], 4\) and \(1, [45], 4\); .*resize",
        ),
        ([(x, 0) for x in of_shapes(3, 3, 4)], r"\([34],\) and \([34],\)"),
        ([object()] * 3, "object cannot be batched.*convert"),
        ([None] * 3, "NoneType cannot be batched"),
        ([np.zeros(2, ">f4")] * 3, "ndarray cannot be batched.*byte order"),
        (["a", "b", "c"], "a batch is a list.*convert"),
        ([((torch.zeros(2), torch.zeros(2)), 1)] * 3, "a batch is a list"),
        ([(torch.zeros(2), torch.zeros(2), 1)] * 3, "3 parts.*mapping"),
        ([()] * 3, "0 parts"),
        (DataLoader(Rows(3), collate_fn=lambda items: torch.stack(items).sum(0)), r"\(2,\).*3"),
        (DataLoader(Rows(3), collate_fn=lambda items: torch.zeros(())), r"\(\).*3"),
        (DataLoader(Rows(3), collate_fn=lambda items: {"x": torch.zeros(2)}), r"\(2,\).*3"),
        (DataLoader(Rows(3), collate_fn=lambda items: (*items, 1)), "4 parts"),
    ],
)
def test_items_that_make_no_batch(data, message):
    for get in (lambda s: next(s.batches(3)), lambda s: s.first()):
        with pytest.raises(SampleError, match=message):
            get(read(data))


def test_images_of_pillow():
    image = pytest.importorskip("PIL.Image")
    batch = next(read([(image.new("RGB", (5, 4), (1, 2, 3)), "a")] * 2).batches(2))
    assert torch.equal(batch.inputs, torch.tensor([1, 2, 3])[:, None, None].expand(2, 3, 4, 5))
    assert batch.inputs.dtype == torch.uint8
    assert batch.labels.tolist() == ["a", "a"]


def test_cuda_tensor_is_indexed_where_it_is():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    _, inputs, _ = everything(read(torch.arange(5, device="cuda")))
    assert inputs.device.type == "cuda"
    assert inputs.tolist() == order(5).tolist()


def test_doctests():
    result = doctest.testmod(importlib.import_module("tmeasures.samples"))
    assert result.attempted > 5
    assert result.failed == 0
