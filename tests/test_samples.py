import doctest
import importlib
import multiprocessing
import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, get_worker_info

from tmeasures.errors import ArgumentError, SampleError
from tmeasures.samples import read


class Rows(Dataset):
    """Items made by a function of the index; counts its reads."""

    def __init__(self, n, item=lambda i: torch.full((2,), i)):
        self.n, self.item, self.reads = n, item, []

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        assert type(i) is int
        self.reads.append(i)
        return self.item(i)


class NoLength(Dataset):
    def __getitem__(self, i):
        return torch.zeros(2)


class Flow(IterableDataset):
    """One-shot: what was taken from it does not come again."""

    def __init__(self, n, item=lambda i: torch.full((2,), i)):
        self.items = (item(i) for i in range(n))
        self.taken = 0

    def __iter__(self):
        for item in self.items:
            self.taken += 1
            yield item


class Sized(Flow):
    def __init__(self, n):
        super().__init__(n)
        self.n = n

    def __len__(self):
        return self.n


class Sharded(IterableDataset):
    def __iter__(self):
        worker = get_worker_info()
        return iter(torch.arange(10)[worker.id :: worker.num_workers])


def everything(samples, size=2):
    """Concatenated ids, inputs and labels of one pass, positions checked on the way."""
    batches = list(samples.batches(size))
    positions = [i for batch in batches for i in batch.samples]
    assert positions == list(range(len(positions)))
    assert all(len(batch.samples) == len(batch.ids) <= size for batch in batches)
    labels = None if batches[0].labels is None else np.concatenate([b.labels for b in batches])
    ids = np.concatenate([batch.ids for batch in batches])
    return ids, torch.cat([batch.inputs for batch in batches]), labels


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


# Data loaders


@pytest.mark.parametrize(
    "collate",
    [
        lambda items: torch.stack(items) + 1,
        lambda items: (torch.stack(items) + 1, torch.stack(items)[:, 0]),
        lambda items: [np.stack(items) + 1, [int(item[0]) for item in items]],
    ],
)
def test_collate_of_the_loader(collate):
    ids, inputs, labels = everything(read(DataLoader(Rows(5), batch_size=2, collate_fn=collate)))
    np.testing.assert_array_equal(inputs, np.stack([ids, ids], 1) + 1)
    assert labels is None or labels.tolist() == ids.tolist()
    assert (labels is None) == (type(collate([torch.ones(2)])) is torch.Tensor)


def test_collate_to_a_mapping_that_pads():
    def pad(items):
        return {
            "x": torch.nn.utils.rnn.pad_sequence(items, batch_first=True),
            "y": [*map(len, items)],
        }

    loader = DataLoader(Rows(4, lambda i: torch.ones(i + 1)), collate_fn=pad)
    batch = next(read(loader).batches(4))
    assert batch.inputs["x"].shape == (4, 4)
    batch = next(read(loader, labels="y").batches(4))
    np.testing.assert_array_equal(batch.labels, batch.ids + 1)


def test_y_of_a_collate_function_that_is_not_one_per_sample():
    loader = DataLoader(Rows(4), collate_fn=lambda items: (torch.stack(items), [0] * 9))
    assert everything(read(loader))[2] is None


def test_errors_of_a_collate_function_are_its_own():
    def fail(items):
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        list(read(DataLoader(Rows(3), collate_fn=fail)).batches(2))


def shift(worker):
    get_worker_info().dataset.shift = 100


class Shifted(Dataset):
    shift = 0

    def __len__(self):
        return 5

    def __getitem__(self, i):
        return torch.tensor([i + self.shift, get_worker_info().num_workers]), i


# fork is deprecated where threads run (python 3.12); small machines are told to use less workers
workers_warn = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore:.*worker:UserWarning"
)


@workers_warn
def test_worker_settings_are_used():
    loader = DataLoader(Shifted(), num_workers=2, worker_init_fn=shift, persistent_workers=True)
    samples = read(loader)
    ids, inputs, labels = everything(samples, 2)
    np.testing.assert_array_equal(inputs[:, 0], ids + 100)
    assert inputs[:, 1].tolist() == [2] * 5
    np.testing.assert_array_equal(labels, ids)
    assert samples.first()[:, 1].tolist() == [1] * 3  # no more workers than batches


@workers_warn
def test_errors_in_workers_are_one_sentence():
    loader = DataLoader(Rows(2, lambda i: torch.zeros(i)), num_workers=1)
    with pytest.raises(SampleError, match="unequal shapes") as error:
        list(read(loader).batches(2))
    assert "Traceback" not in str(error.value)
    assert not multiprocessing.active_children()  # although the error and its frames are kept


def test_settings_of_the_loader():
    loader = DataLoader(
        Rows(3),
        num_workers=1,
        timeout=7,
        prefetch_factor=5,
        multiprocessing_context="spawn",
        pin_memory=True,
    )
    settings = importlib.import_module("tmeasures.loading").Recipe.of(Rows(3), loader, 0).settings
    assert settings["num_workers"] == 1
    assert settings["timeout"] == 7
    assert settings["prefetch_factor"] == 5
    assert settings["multiprocessing_context"].get_start_method() == "spawn"
    assert settings["pin_memory"] == torch.cuda.is_available()


# Iterable data sets


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 9),
    size=st.integers(1, 10),
    n_samples=st.none() | st.integers(1, 12),
    probes=st.integers(0, 2),
    in_loader=st.booleans(),
)
def test_iterable_in_its_own_order(n, size, n_samples, probes, in_loader):
    flow = Flow(n, lambda i: (torch.full((2,), i), i))
    samples = read(DataLoader(flow, batch_size=4) if in_loader else flow, n_samples=n_samples)
    assert flow.taken == 0
    assert samples.iterable
    assert samples.ids is None
    assert samples.n == n_samples
    expected = np.arange(min(n, n_samples or n))
    for _ in range(probes):
        np.testing.assert_array_equal(samples.first()[:, 0], expected[:3])
    ids, inputs, labels = everything(samples, size)
    for got in (ids, inputs[:, 0], labels):
        np.testing.assert_array_equal(got, expected)
    assert flow.taken == len(expected)


def test_iterable_serves_one_pass():
    samples = read(Flow(4))
    iterator = samples.batches(2)
    with pytest.raises(SampleError, match="one pass"):
        samples.batches(2)
    with pytest.raises(SampleError, match="one pass"):
        samples.first()
    assert len(list(iterator)) == 2


def test_iterable_with_a_length():
    assert read(Sized(4)).n == 4
    assert read(Sized(4), n_samples=3).n == 3
    with pytest.raises(ArgumentError, match=r"5.*4"):
        read(Sized(4), n_samples=5)
    with pytest.raises(SampleError, match="empty"):
        read(Sized(0))


def test_iterable_without_samples():
    with pytest.raises(SampleError, match="no sample"):
        list(read(Flow(0)).batches(2))
    with pytest.raises(SampleError, match="no sample"):
        read(Flow(0)).first()


def test_iterable_labels():
    with pytest.raises(ArgumentError, match="no indices"):
        read(Flow(3), labels=[0, 1, 2])
    items = Flow(3, lambda i: {"x": torch.zeros(2), "y": i})
    samples = read(items, labels="y")
    assert set(samples.first()) == {"x"}
    assert [b.labels.tolist() for b in samples.batches(2)] == [[0, 1], [2]]


@workers_warn
def test_iterable_with_workers():
    samples = read(DataLoader(Sharded(), num_workers=2), n_samples=9)
    assert samples.first().tolist() == [0, 2, 4]
    batches = list(samples.batches(4))  # five a worker: 4, 4, 1, 1, and of the last none is wanted
    assert [b.inputs.tolist() for b in batches] == [[0, 2, 4, 6], [1, 3, 5, 7], [8]]
    assert np.concatenate([b.ids for b in batches]).tolist() == list(range(9))

    samples = read(DataLoader(Sharded(), num_workers=2, collate_fn=labelled), n_samples=6)
    last = list(samples.batches(4))[-1]  # cut in the middle of a worker's batch
    assert last.inputs["x"].tolist() == [1, 3]
    assert last.inputs["name"] == ["1", "3"]
    assert last.inputs["size"] == 4
    assert last.inputs["all"] == ["a", "b", "c"]
    assert len(read(DataLoader(Sharded(), num_workers=2), n_samples=2).first()) == 2


def labelled(items):
    return {
        "x": torch.stack(items),
        "name": [str(int(i)) for i in items],
        "size": len(items),
        "all": ["a", "b", "c"],
    }


# Random states


class Noisy(Dataset):
    def __len__(self):
        return 6

    def __getitem__(self, i):
        return torch.tensor([random.random(), np.random.rand(), float(torch.rand(()))])  # noqa: NPY002


class NoisyFlow(IterableDataset):
    def __iter__(self):
        return (Noisy()[i] for i in range(6))


def global_states():
    numpy_state = np.random.get_state()  # noqa: NPY002
    return (
        random.getstate(),
        numpy_state[1].tolist(),
        numpy_state[2:],
        torch.get_rng_state().tolist(),
    )


@pytest.mark.parametrize("data", [torch.zeros(6), Noisy(), NoisyFlow(), Rows(6)])
def test_global_random_states_are_left_alone(data):
    before = global_states()
    samples = read(DataLoader(data, shuffle=True) if isinstance(data, Rows) else data)
    samples.first()
    for _ in samples.batches(2):
        assert global_states() == before
    assert global_states() == before


def test_global_random_states_are_put_back_after_an_error():
    def fail(i):
        torch.rand(1)
        raise LookupError

    before = global_states()
    with pytest.raises(LookupError):
        list(read(Rows(3, fail)).batches(2))
    assert global_states() == before


@pytest.mark.parametrize("data", [Noisy(), NoisyFlow()])
def test_a_random_data_set_draws_the_same_in_every_pass(data):
    def one_pass(size, seed):
        torch.rand(3)  # what others draw does not matter
        return everything(read(data, seed=seed), size)[1]

    passes = one_pass(2, 5)
    assert len(passes.unique()) == passes.numel()
    assert torch.equal(passes, one_pass(2, 5))
    assert torch.equal(passes, one_pass(4, 5))
    assert not torch.isin(one_pass(2, 6), passes).any()
    samples = read(data, seed=5)
    assert torch.equal(samples.first(), passes[:3])
    assert torch.equal(everything(samples)[1], passes)


@workers_warn
def test_workers_draw_the_same_in_every_pass():
    before = global_states()
    passes = []
    for _ in range(2):
        passes.append(everything(read(DataLoader(Noisy(), num_workers=1), seed=5))[1])
        assert global_states() == before
        torch.rand(3)
        before = global_states()
    assert torch.equal(*passes)


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
    with pytest.raises(SampleError, match=r"PIL\.Image\.Image cannot be batched.*ToTensor"):
        read([image.new("L", (4, 4))] * 2).first()


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
