"""Callables of the items of a data set, applied where these are read: `on="item"`."""

import random
from collections import Counter
from itertools import product

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

import tmeasures as tm
from cubes import network
from pictures import PIXELS, THREE, N, Pictures, bright, by_hand, grain, quarter, turns, walked
from reading import global_states, workers_warn
from tmeasures.samples import read


@workers_warn
@pytest.mark.parametrize("order", ["sample", "transformation"])
@pytest.mark.parametrize(("workers", "size"), [(0, 100), (0, 4), (0, 1), (2, 4)])
def test_images_of_pillow_are_transformed_as_by_hand(workers, size, order):
    loader = DataLoader(Pictures(), num_workers=workers)
    found, labels = walked(loader, turns(), batch_size=size, order=order)
    assert torch.equal(found, by_hand(range(N), THREE))
    assert labels == [i % 3 for i in range(N)]


@workers_warn
def test_random_callables_draw_by_seed_sample_and_transformation():
    noise = tm.transformations([grain] * 4, on="item", random=True)
    before = global_states()
    found, _ = walked(Pictures(), noise, batch_size=100)
    assert global_states() == before
    assert len(found.flatten(2).unique(dim=0)) == N
    assert len(found[0].flatten(1).unique(dim=0)) == 4
    for workers, size, order in [(0, 3, "sample"), (2, 5, "transformation"), (1, 2, "sample")]:
        loader = DataLoader(Pictures(), num_workers=workers)
        again, _ = walked(loader, noise, batch_size=size, order=order)
        assert torch.equal(again, found)
    assert torch.equal(walked(Pictures(), noise[1:3])[0], found[:, 1:3])
    assert not torch.equal(walked(Pictures(), noise, seed=1)[0], found)


def test_draws_are_those_of_tensors_in_memory():
    def noisy(x):
        return x + torch.randn(x.shape)

    noise = tm.transformations([noisy] * 3, on="item", random=True)
    images = torch.rand(5, 1, 4, 4)
    for each in (noise, noise * noise, (noise * noise) * noise, noise * (noise * noise)):
        found, _ = walked([*images], each, batch_size=7, seed=3)
        inside, _ = walked(images, each, batch_size=9, seed=3)
        assert torch.equal(found, inside)


class Noisy(Dataset):
    """A data set that draws."""

    def __len__(self):
        return 4

    def __getitem__(self, i):
        drawn = [random.random(), np.random.rand(), float(torch.rand(()))]  # noqa: NPY002
        return torch.tensor(drawn)[:, None, None] + torch.zeros(3, 2, 2)


@workers_warn
def test_a_data_set_that_draws_gives_a_sample_once_and_for_all():
    both = tm.transformations([lambda x: x, lambda x: x.flip(-1), lambda x: x], on="item")
    for workers in (0, 2):
        found, _ = walked(DataLoader(Noisy(), num_workers=workers), both, batch_size=1)
        assert torch.equal(found[:, 0], found[:, 2])
        assert len(found[:, 0].unique()) == 12
        again, _ = walked(Noisy(), both, batch_size=6, order="transformation")
        assert torch.equal(again, found)


# What is read


def test_items_are_read_once_a_tile_and_counted():
    data = Pictures()
    many = tm.transformations([*THREE] * 6, on="item")
    arguments = {"measures": "NV", "memory": "200KB", "batch_size": 4}
    plan = tm.explain(network(), data, many, **arguments)
    assert plan.reads_each_tile
    assert any(p.order == "sample" for p in plan.passes)
    assert all(p.transformations < 18 for p in plan.passes)
    assert plan.reads == sum(N * -(-18 // p.transformations) for p in plan.passes)
    assert any("each is read up to" in why for why in plan.why)
    assert f"{plan.reads:,} reads" in str(plan)
    data.reads = 0
    tm.measure(network(), data, many, plan=plan, measures="NV")
    assert data.reads == plan.reads + 3
    assert tm.Plan.from_json(plan.to_json()) == plan
    whole = tm.explain(network(), data, turns(), measures="NV")
    assert whole.reads == N
    assert not any("each is read" in why for why in whole.why)
    assert not tm.explain(network(), data, tm.rotations(3), measures="NV").reads_each_tile


def test_the_result_is_that_of_images_transformed_before():
    measures = ["TV", "SV", "TD", "ANOVA"]
    tree = tm.measure(network(), Pictures(), turns(), measures=measures, n_samples=6)
    ids = tree["samples/ids"].values
    moved = iter(by_hand(ids, THREE).transpose(0, 1))
    before = {f"t{k}": images for k, images in enumerate(moved)}
    columns = tm.transformations([lambda x, k=k: x[:, k] for k in range(3)])
    stored = torch.stack([before[f"t{k}"] for k in range(3)], 1)
    other = tm.measure(network(), stored, columns, measures=measures)
    for name in tree["layers"].children:
        for measure in ("TV", "SV", "TD"):
            np.testing.assert_allclose(
                tree[f"layers/{name}/{measure}"], other[f"layers/{name}/{measure}"], 1e-4, 1e-7
            )
    assert tree["transformations/names"].values.tolist() == ["mirror", "quarter", "bright"]


def test_untransformed_inputs_stand_beside():
    data, kept = Pictures(), []

    def keep(batch):
        kept.append(batch.clone())
        return batch

    arguments = {"measures": "GF", "preprocess": keep}
    plan = tm.explain(network(), data, turns(), **arguments)
    assert "beside" in [p.untransformed for p in plan.passes]
    kept.clear()
    data.reads = 0
    tree = tm.measure(network(), data, turns(), plan=plan, **arguments)
    ids = tree["samples/ids"].values
    assert plan.reads < data.reads <= plan.reads + 6
    plain = by_hand(ids, [lambda image: image])[:, 0]
    expected = [by_hand(ids, THREE).flatten(0, 1), plain]
    assert torch.equal(kept[-1], torch.cat(expected))
    aligned = [p for p in plan.passes if p.untransformed == "alone"]
    assert not aligned or any(torch.equal(each, plain) for each in kept)


@pytest.mark.parametrize("further", [tm.identity(), tm.flips()])
def test_untransformed_inputs_of_tiles(further):
    network = tm.capture.Network(nn.Identity())
    each = turns() * further
    feed = tm.job.feed_for(network, Pictures(), each, None, None, None, None, 0)
    tiles = [*feed.tiles("sample", 4, 2, "alone")]
    assert [tile.transformations for tile in tiles] == [range(1)] * 2
    for tile in tiles:
        assert torch.equal(tile.values, by_hand(tile.ids, [lambda image: image])[:, 0])
    for t in (2, 5):
        for tile in feed.tiles("sample", 4, t, "beside"):
            count, block = len(tile.ids), tile.transformations
            expected = further.apply(by_hand(tile.ids, THREE).flatten(0, 1))
            expected = expected.unflatten(0, (count, 3)).flatten(1, 2)
            expected = expected[:, block.start : block.stop].flatten(0, 1)
            if block.start == 0:
                expected = torch.cat([expected, by_hand(tile.ids, [lambda image: image])[:, 0]])
            assert torch.equal(tile.values, expected)


def test_identities_and_products():
    same = tm.identity()[0]
    both = tm.transformations([ImageOps.mirror, same, quarter, same], on="item")
    assert both.identities == (1, 3)
    functions = [ImageOps.mirror, lambda image: image, quarter, lambda image: image]
    found, _ = walked(Pictures(), both, batch_size=3)
    assert torch.equal(found, by_hand(range(N), functions))
    flipped = both * tm.flips()
    assert (flipped.identities, len(flipped)) == ((4, 12), 16)
    for size in (100, 5, 3):
        found, _ = walked(Pictures(), flipped, batch_size=size)
        expected = tm.flips().apply(by_hand(range(N), functions).flatten(0, 1))
        assert torch.equal(found, expected.unflatten(0, (N, 4)).flatten(1, 2))
    part, _ = walked(Pictures(), flipped[3:9])
    assert torch.equal(part, found[:, 3:9])
    twice = tm.transformations([quarter, bright], on="item") * turns()
    found, _ = walked(Pictures(), twice * tm.rotations(2), batch_size=5)
    functions = [lambda image, a=a, b=b: b(a(image)) for a in (quarter, bright) for b in THREE]
    expected = tm.rotations(2).apply(by_hand(range(N), functions).flatten(0, 1))
    torch.testing.assert_close(found, expected.unflatten(0, (N, 6)).flatten(1, 2))
    counts = Counter()

    def counting(image):
        counts[image.tobytes()] += 1
        return image

    once = tm.transformations([counting], on="item") * tm.rotations(8)
    walked(Pictures(), once, batch_size=100)
    assert set(counts.values()) <= {1, 3}  # three of them for the check


def test_random_products_draw_as_in_memory():
    noise = tm.transformations([lambda x: x + torch.randn(x.shape)] * 2, on="item", random=True)
    after = tm.transformations([lambda x: x + torch.randn(x.shape)] * 2, random=True)
    images = torch.rand(4, 1, 3, 3)
    found, _ = walked([*images], noise * after, seed=2, batch_size=3)
    assert torch.equal(found, walked(images, noise * after, seed=2)[0])


# Items


def test_mappings_keep_what_is_not_the_image():
    def item(image, i):
        return {"name": f"n{i}", "image": image, "place": i, "label": i % 2}

    class Two(nn.Module):
        def forward(self, image, place, name):
            assert [int(n[1:]) for n in name] == place.tolist()
            return {"image": image, "place": place.float()}

    data, both = Pictures(item), tm.transformations([quarter, tm.identity()[0]], on="item")
    for each, size in product((both, both * tm.rotations(2)), (3, 12, 100)):
        for tile in tm.walk(Two(), data, each, labels="label", batch_size=size):
            assert tile.labels.tolist() == [i % 2 for i in tile.ids]
            places = tile.values["output.place"]
            assert torch.equal(places, torch.as_tensor(tile.ids)[:, None].expand_as(places))
            functions = [quarter, lambda image: image]
            expected = by_hand(tile.ids, functions)
            if each is not both:
                moved = tm.rotations(2).apply(expected.flatten(0, 1))
                expected = moved.unflatten(0, expected.shape[:2]).flatten(1, 2)
            block = slice(tile.transformations.start, tile.transformations.stop)
            torch.testing.assert_close(tile.values["output.image"], expected[:, block])


def test_the_image_of_several_is_named():
    def item(image, i):
        return {"left": image, "right": image}

    class Both(nn.Module):
        def forward(self, left, right):
            return {"left": left.float(), "right": right * 1}

    for tile in tm.walk(Both(), Pictures(item), turns(), input="right"):
        assert torch.equal(tile.values["output.right"], by_hand(tile.ids, THREE))
        plain = by_hand(tile.ids, [lambda image: image])
        left = tile.values["output.left"]
        assert torch.equal(left, (255 * plain).round().expand_as(left))


@workers_warn
def test_the_collate_function_gets_transformed_items():
    def collate(items):
        assert all(isinstance(image, Image.Image) for image, _, _ in items)
        images = np.stack([np.asarray(image, np.float32)[None] for image, _, _ in items])
        return {"x": images, "y": [label for _, label, _ in items]}

    data = Pictures(lambda image, i: (image, i % 3, "more"))
    for workers in (0, 1):
        loader = DataLoader(data, collate_fn=collate, num_workers=workers)
        call = {"labels": "y", "call": lambda model, batch: model(batch["x"])}
        found, labels = walked(loader, turns(), **call, batch_size=4)
        torch.testing.assert_close(found, 255 * by_hand(range(N), THREE))
        assert labels == [i % 3 for i in range(N)]


def test_a_key_of_items_need_not_be_one_of_batches():
    def collate(items):
        return torch.stack([torch.as_tensor(np.array(each["right"]))[None] for each in items])

    data = Pictures(lambda image, i: {"left": image, "right": image})
    loader = DataLoader(data, collate_fn=collate)
    assert torch.equal(walked(loader, turns(), input="right")[0], by_hand(range(N), THREE))


def test_arrays_and_tensors_are_handed_as_they_are():
    given = []

    def flipped(image):
        given.append((type(image), image.dtype, image.shape))
        return image[:, ::-1]

    arrays = [*np.random.default_rng(0).integers(256, size=(3, 4, 5, 3), dtype=np.uint8)]
    model = {"preprocess": lambda x: x.permute(0, 3, 1, 2)}
    found, _ = walked(arrays, tm.transformations([flipped], on="item"), **model)
    assert set(given) == {(np.ndarray, np.dtype("uint8"), (4, 5, 3))}
    expected = np.stack(arrays)[:, :, ::-1].transpose(0, 3, 1, 2)[:, None].copy()
    assert torch.equal(found, torch.as_tensor(expected).float() / 255)
    keyword = tm.transformations([lambda x: {"image": 255 - x}["image"]], on="item")
    torch.testing.assert_close(walked(arrays, keyword, **model)[0].flip(-1), 1 - found)


def test_tensors_in_memory_are_prepared_and_items_of_lists_are_not():
    dtypes = []

    def noted(x):
        dtypes.append(x.dtype)
        return x

    images = torch.randint(256, (3, 1, 4, 4), dtype=torch.uint8)
    same = tm.transformations([noted], on="item")
    inside, _ = walked(images, same)
    assert set(dtypes) == {torch.float32}
    dtypes.clear()
    assert torch.equal(walked([*images], same)[0], inside)
    assert set(dtypes) == {torch.uint8}


def test_images_of_unequal_sizes_may_become_equal():
    data = [(Image.fromarray(PIXELS[i][: 4 + i]), i % 2) for i in range(4)]
    crops = tm.transformations(
        [lambda image, k=k: image.crop((k, 0, 4 + k, 4)) for k in range(3)], on="item"
    )
    tree = tm.measure(nn.Flatten(), data, crops, measures="TV", stratify="mean")
    assert tree["samples/labels"].values.tolist() == [i % 2 for i in tree["samples/ids"].values]
    with pytest.raises(tm.SampleError, match="unequal shapes"):
        tm.explain(nn.Flatten(), data, tm.flips(), measures="TV")


@workers_warn
def test_iterable_data_sets_are_read_once():
    class Stream(IterableDataset):
        taken = 0

        def __iter__(self):
            for i in range(N):
                Stream.taken += 1
                yield Image.fromarray(PIXELS[i]), i % 3

    noise = tm.transformations([*THREE, grain], on="item", random=True)
    known, _ = walked(Pictures(), noise)
    for workers in (0, 1):
        loader = DataLoader(Stream(), num_workers=workers)
        Stream.taken = 0
        plan = tm.explain(nn.Flatten(), loader, noise, measures="TV")
        assert not plan.reads_each_tile
        found, labels = walked(loader, noise, batch_size=6)
        assert torch.equal(found, known)
        assert labels == [i % 3 for i in range(N)]
        short, _ = walked(loader, noise, batch_size=12, n_samples=5)  # cut within a batch
        assert torch.equal(short, known[:5])


def test_images_of_pillow_without_callables():
    for mode, channels in [("L", 1), ("RGB", 3), ("RGBA", 4), ("1", 1)]:
        images = [Image.fromarray(PIXELS[i]).convert(mode) for i in range(2)]
        for data in (images, [{"x": image} for image in images]):
            batch = read(data).first()
            batch = batch["x"] if isinstance(batch, dict) else batch
            assert (batch.dtype, batch.shape) == (torch.uint8, (2, channels, 8, 8))
            assert set(batch.unique().tolist()) <= {0, 255} or mode != "1"
    assert torch.equal(batch[:1, 0], read(images).first()[:1, 0])
    found, _ = walked(Pictures(), tm.rotations(4))
    expected = tm.rotations(4).apply(by_hand(range(N), [lambda image: image])[:, 0])
    assert torch.equal(found, expected)
    for mode in ("P", "I", "F", "I;16"):
        with pytest.raises(tm.SampleError, match=r"mode '.*convert\('RGB'\)"):
            read([Image.new(mode, (4, 4))] * 2).first()


# Runs


def test_strata():
    data = Pictures(n=6)
    tree = tm.measure(network(), data, turns(), measures="NV", stratify="mean", progress=False)
    labels = [i % 3 for i in range(6)]
    images = torch.as_tensor(PIXELS[:6])[:, None]
    plain = tm.transformations([lambda x: x.flip(-1), lambda x: x.rot90(1, (-2, -1))])
    there = tm.measure(network(), images, plain, labels=labels, measures="NV", stratify="mean")
    two = tm.measure(network(), data, turns()[:2], measures="NV", stratify="mean")
    np.testing.assert_allclose(two["layers/0/NV"], there["layers/0/NV"], 1e-4)
    assert tree["samples/labels"].values.tolist() == [i % 3 for i in tree["samples/ids"].values]


def test_the_sample_grid():
    figure = tm.plots.samples(Pictures(), tm.transformations([*THREE] * 8, on="item"), n_samples=2)
    ticks = [tick.get_text() for tick in figure.axes[0].get_xticklabels()]
    assert len(ticks) == 16
    assert (ticks[0], ticks[-1]) == ("mirror", "bright#7")
    assert "label" in figure.axes[0].get_yticklabels()[0].get_text()


def test_no_action_on_outputs_is_known():
    both = tm.transformations([ImageOps.mirror] * 2, inverses=[ImageOps.mirror] * 2, on="item")
    assert both[0].acting_on((1, 8, 8), ("channel", "y", "x"), (1, 8, 8)) is None
    with pytest.raises(tm.TMeasuresError, match="'mirror' acts on outputs is not known"):
        tm.measure(nn.Conv2d(1, 1, 1), Pictures(), both * tm.rotations(4), measures="VSE")
    flip = {"output": lambda maps, transformation: maps.flip(-1)}
    tree = tm.measure(nn.Conv2d(1, 1, 1), Pictures(), both, measures="VSE", action=flip)
    assert "VSE" in tree["layers/output"]


@workers_warn
def test_workers_know_the_data_set_that_they_read():
    class Shifted(Pictures):
        shift = 0

        def __getitem__(self, i):
            assert get_worker_info().dataset is self
            return torch.full((1, 2, 2), float(i + self.shift))

    def shift(worker):
        get_worker_info().dataset.shift = 100

    loader = DataLoader(Shifted(), num_workers=2, worker_init_fn=shift)
    found, _ = walked(loader, tm.transformations([lambda x: x + 1], on="item"), batch_size=2)
    assert found[:, 0, 0, 0, 0].tolist() == [i + 101 for i in range(N)]


@workers_warn
def test_spawned_workers_take_functions_of_modules():
    mirrors = tm.transformations([ImageOps.mirror, ImageOps.flip], on="item")
    data = [Image.fromarray(each) for each in PIXELS[:3]]
    loader = DataLoader(data, num_workers=1, multiprocessing_context="spawn")
    found, _ = walked(loader, mirrors)
    assert torch.equal(found, by_hand(range(3), [ImageOps.mirror, ImageOps.flip]))
