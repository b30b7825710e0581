"""The demo and the command line."""

import re
import sys

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import tmeasures as tm
from tmeasures import cli, demo

SMALL = {"epochs": 1, "filters": 2, "progress": False}


@pytest.fixture(scope="module")
def few():
    """Fewer held-out digits than the demo measures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "HELD_OUT", 40)
        yield


def alike(found):
    """Equal but for what torch itself may round in another way, in the same process."""
    return pytest.approx(found, rel=1e-4)


@pytest.fixture(scope="module")
def small(few, tmp_path_factory):
    """A run of the whole demo, its folder, and whether it left global state as it was."""
    folder = tmp_path_factory.mktemp("demo") / "new" / "folder"
    random_state, threads = torch.get_rng_state(), torch.get_num_threads()
    report = demo.run(folder, seed=3, **SMALL)
    kept = torch.equal(random_state, torch.get_rng_state()) and threads == torch.get_num_threads()
    return report, folder, kept


def test_simple_conv_is_the_paper_s():
    network = demo.SimpleConv(filters=32, shape=(1, 28, 28), classes=10)
    images = torch.rand(3, 1, 28, 28)
    shapes = {layer.name: layer.shape for layer in tm.layers(network, images)}
    assert shapes == {
        "conv1": (32, 28, 28),
        "elu1": (32, 28, 28),
        "conv2": (32, 28, 28),
        "elu2": (32, 28, 28),
        "pool1": (32, 14, 14),
        "conv3": (64, 14, 14),
        "elu3": (64, 14, 14),
        "conv4": (64, 14, 14),
        "elu4": (64, 14, 14),
        "pool2": (64, 7, 7),
        "conv5": (128, 7, 7),
        "elu5": (128, 7, 7),
        "fc1": (128,),
        "elu6": (128,),
        "fc2": (10,),
        "log_softmax": (10,),
    }
    torch.testing.assert_close(network(images).exp().sum(1), torch.ones(3))


@pytest.mark.parametrize("shape", [(3, 4, 4), (2, 9, 6)])
def test_simple_conv_takes_any_size(shape):
    assert demo.SimpleConv(2, shape, 5)(torch.rand(2, *shape)).shape == (2, 5)


def test_simple_conv_too_small():
    with pytest.raises(tm.ArgumentError, match=r"shape=\(1, 3, 28\) is too small"):
        demo.SimpleConv(2, (1, 3, 28))


def rows(digits):
    pairs = torch.cat([digits.images.flatten(1), digits.labels[:, None]], 1)
    return sorted(row.tobytes() for row in pairs.numpy())


def test_digits_and_split():
    digits = demo.load_digits()
    assert digits.images.shape == (1797, 1, 16, 16)
    assert (digits.images.min(), digits.images.max()) == (0, 1)
    assert digits.images[..., :2, :].max() == digits.images[..., -2:].max() == 0, "a margin"
    train, held_out = demo.split(digits, seed=0)
    assert len(held_out.labels) == len(held_out.images) == demo.HELD_OUT
    both = demo.Digits(*map(torch.cat, zip(train, held_out, strict=True)))
    assert rows(both) == rows(digits), "every digit in one of them, with its label"
    again, other = demo.split(digits, seed=0)[1], demo.split(digits, seed=1)[1]
    assert torch.equal(held_out.images, again.images)
    assert not torch.equal(held_out.images, other.images)


def test_rotated_turns_each_image_about_the_full_circle():
    """A dot off the centre, as bright as its image's number, lands all around and keeps its row."""
    images = torch.zeros(400, 1, 9, 9)
    brightness = 1 + torch.arange(400.0)
    images[:, 0, 1:3, 4] = brightness[:, None]
    given = images.clone()
    turned = demo.rotated(images, torch.Generator().manual_seed(0))
    assert torch.equal(images, given)
    total = turned.sum((1, 2, 3)) / (2 * brightness)
    assert ((total > 0.85) & (total < 1.15)).all(), "each is itself, turned"
    offsets = torch.arange(9.0) - 4
    y = (turned[:, 0].sum(2) * offsets).sum(1) / turned.sum((1, 2, 3))
    x = (turned[:, 0].sum(1) * offsets).sum(1) / turned.sum((1, 2, 3))
    angle = torch.atan2(x, -y).rad2deg() % 360
    torch.testing.assert_close(y.hypot(x), torch.full((400,), 2.5), atol=0.2, rtol=0)
    assert len(torch.unique((angle / 22.5).floor())) >= 8
    assert len(torch.unique(angle.round())) <= 16
    assert {int(a // 90) for a in angle} == {0, 1, 2, 3}


def test_accuracies():
    """A network that sees whether the bright half is on top, asked for a digit that is there."""

    class Top(torch.nn.Module):
        def forward(self, x):
            top = x[..., :4, :].mean((1, 2, 3)) > x[..., 4:, :].mean((1, 2, 3)) + 1e-4
            return torch.stack([~top, top], 1).float()

    images = torch.zeros(6, 1, 8, 8)
    images[:, :, :4] = 1
    digits = demo.Digits(images, torch.tensor([1, 1, 1, 1, 1, 0]))
    found = demo.accuracies(Top(), digits)
    assert found["upright"] == pytest.approx(5 / 6)
    # 7 of 16 angles leave more of it on top; the last image is right under the other 9.
    assert found["rotated"] == pytest.approx((5 * 7 + 9) / 96)


def test_training_learns():
    train, held_out = demo.split(demo.load_digits(), seed=0)
    network = demo.fit(train, 4, rotate=False, seed=0, filters=8)
    assert not network.training
    assert demo.accuracies(network, held_out)["upright"] > 0.8


def test_files_and_numbers(small):
    report, folder, kept = small
    assert kept, "global random state and threads are as they were"
    names = ["plain.nc", "augmented.nc", "heatmap.png", "lines.png", "equivariance.png"]
    names += ["plain.pt", "augmented.pt", "digits.npz"]
    assert list(report.files) == [folder / name for name in names]
    assert sorted(folder.iterdir()) == sorted(report.files)
    for picture in ("heatmap", "lines", "equivariance"):
        assert (folder / f"{picture}.png").read_bytes().startswith(b"\x89PNG")
    for name in demo.NETWORKS:
        tree = tm.open(folder / f"{name}.nc")
        assert (tree.attrs["n_samples"], tree.attrs["n_transformations"]) == (40, 16)
        variables = {"TV", "SV", "NV", "ANOVA_F", "TD", "SD", "ND", "GF"}
        variables |= {"VSE", "VSE_floor", "DSE", "DSE_floor", "SSE", "SSE_relative"}
        assert variables <= set(tree["layers/conv1"].data_vars)
        for layer, median in report.invariance[name].items():
            assert median == pytest.approx(np.median(tree["layers"][layer]["NV"]))
            distance = np.median(tree["layers"][layer]["ND"])
            assert report.distance[name][layer] == pytest.approx(distance)
            maps = tree["layers"][layer].get("DSE", np.nan)
            assert report.equivariance[name][layer] == pytest.approx(np.median(maps), nan_ok=True)
            assert report.units[layer] == tree["layers"][layer]["NV"].size
        assert set(report.accuracy[name]) == {"upright", "rotated"}
        assert all(0 <= share <= 1 for share in report.accuracy[name].values())
    assert report.sentence == demo.conclusion(report.invariance)


def test_each_network_is_trained_in_its_own_setting(small):
    report = small[0]
    train, held_out = demo.split(demo.load_digits(), seed=3)
    options = {"epochs": 1, "seed": 3, "filters": 2}
    upright = demo.fit(train, rotate=False, **options)
    augmented = demo.fit(train, rotate=True, **options)
    trees = demo.compare({"plain": upright, "augmented": augmented}, held_out, seed=3)
    for name, tree in trees.items():
        assert demo.medians(tree) == alike(report.invariance[name])
    assert report.invariance["plain"] != report.invariance["augmented"]


def test_printed_report(small):
    report = small[0]
    lines = str(report).splitlines()
    assert lines[-1] == report.sentence
    pairs = [report.invariance, report.distance, report.equivariance]
    for layer, there in (("conv1", pairs), ("log_softmax", pairs[:2])):
        row = next(line for line in lines if line.startswith(f"  {layer} "))
        values = [f"{found[name][layer]:.3f}" for found in there for name in demo.NETWORKS]
        assert row.split() == [layer, str(report.units[layer]), *values]
    assert all(len(line) <= 100 for line in lines[:-1])


def test_weights_and_digits_are_those_that_were_measured(small):
    report, folder, _ = small
    with np.load(folder / "digits.npz") as kept:
        digits = demo.Digits(torch.as_tensor(kept["images"]), torch.as_tensor(kept["labels"]))
    for name in demo.NETWORKS:
        network = demo.SimpleConv(SMALL["filters"], (1, 16, 16), 10)
        network.load_state_dict(torch.load(folder / f"{name}.pt", weights_only=True))
        assert demo.accuracies(network.eval(), digits) == report.accuracy[name]


def test_same_seed_same_numbers(small, tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(99)
        again, other = (demo.run(tmp_path, seed=seed, **SMALL) for seed in (3, 4))
    assert again.accuracy == small[0].accuracy
    for name, found in again.invariance.items():
        assert found == alike(small[0].invariance[name])
        assert other.invariance[name] != alike(small[0].invariance[name])


@pytest.mark.parametrize(
    ("plain", "augmented", "expected"),
    [
        ([1, 1, 1, 2], [1, 1, 0.7, 0.5], "augmented network varies 4.0 times less .* part in c,"),
        ([1, 1, 1, 2], [0.5, 1, 1, 1], r"2\.0 times less .*\(.* 1 against 2 in d\); .* part in d,"),
        ([1, 1, 1, 1], [2, 3, 4, 5], "plain network varies 5.0 times less .* part in a,"),
        ([1, 1, 1, 1], [0.1, 0.1, 0.1, 0.9], "vary alike: .* 0.9 in d of the augmented one, 1 of"),
    ],
)
def test_conclusion_follows_the_numbers(plain, augmented, expected):
    named = [dict(zip("abcd", values, strict=True)) for values in (plain, augmented)]
    sentence = demo.conclusion(dict(zip(demo.NETWORKS, named, strict=True)))
    assert re.search(expected, sentence), sentence
    assert sentence.endswith(".")


@pytest.mark.parametrize(
    ("bad", "message"),
    [({"epochs": 0}, "epochs=0 trains nothing"), ({"seed": -1}, "seed=-1 is out of range")],
)
def test_bad_arguments(tmp_path, bad, message):
    with pytest.raises(tm.ArgumentError, match=message):
        demo.run(tmp_path / "a", **bad)
    assert not (tmp_path / "a").exists()


def test_missing_scikit_learn(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(tm.TMeasuresError, match=r'run pip install "tmeasures\[demo\]"'):
        demo.run(tmp_path)


# The command line.


def call(*arguments):
    return CliRunner().invoke(cli.app, arguments, prog_name="tmeasures")


@pytest.fixture
def calls(monkeypatch, small):
    """What the command hands to `demo.run`, which does nothing."""
    seen = []
    monkeypatch.setattr(demo, "run", lambda out, **k: seen.append((str(out), k)) or small[0])
    return seen


def test_demo_prints_the_report(calls, small):
    result = call("demo", "--out", "a", "--seed", "5", "--epochs", "7")
    assert result.exit_code == 0
    assert calls == [("a", {"seed": 5, "epochs": 7})]
    assert result.stdout.startswith(f"{small[0]}\n\nwrote {small[0].files[0]}\n")
    call("demo")
    assert calls[1] == ("tmeasures-demo", {"seed": 0, "epochs": demo.EPOCHS})


def test_an_error_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    result = call("demo", "--out", str(tmp_path / "file"))
    assert (result.exit_code, result.stdout) == (2, "")
    message = f"tmeasures: cannot write to the folder '{tmp_path}/file': File exists; name another"
    assert result.stderr == message + "\n"
    result = call("demo", "--out", str(tmp_path / "file"), "--debug")
    assert isinstance(result.exception, tm.ResultError)


def test_interrupt(monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "run", interrupted)
    result = call("demo")
    assert (result.exit_code, result.stderr) == (130, "tmeasures: interrupted\n")


def test_the_network_that_saw_rotations_is_the_more_invariant_by_variance_and_by_distance(tmp_path):
    report = demo.run(tmp_path, epochs=8, filters=4, progress=False)
    for found in (report.invariance, report.distance):
        for layer in ("fc2", "log_softmax"):
            assert found["augmented"][layer] < 0.5 * found["plain"][layer]
