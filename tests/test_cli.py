"""The command line as it is typed: every example, errors, files and what they remember."""

import io
import json
import logging
import os
import re
import shlex
from importlib.metadata import entry_points, version
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from typer.main import get_command
from typer.testing import CliRunner

import tmeasures as tm
from tmeasures import cli, demo

README = (Path(__file__).parent.parent / "README.md").read_text()


def commands(command, path=()):
    """Every command with the path that calls it."""
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*path, name))
    if path and not hasattr(command, "commands"):
        yield " ".join(path), command


COMMANDS = dict(commands(get_command(cli.app)))


def typed(text):
    """The lines of a text that call tmeasures, continued lines joined."""
    joined = re.sub(r"\\\n\s*", "", text.replace("\b", ""))
    return re.findall(r"^ *(tmeasures .*)$", joined, re.M)


EXAMPLES = {name: typed(command.help) for name, command in COMMANDS.items()}
SHELL = [
    line
    for block in re.findall(r"^```sh\n(.*?)^```$", README, re.M | re.S)
    for line in typed(block)
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the demo has been, one epoch in place of eighty, with a network and photos beside."""
    folder = tmp_path_factory.mktemp("typed")
    (network,) = re.findall(r"^```python\n(# mine.py\n.*?)^```$", README, re.M | re.S)
    (folder / "mine.py").write_text(network)
    np.save(folder / "flat.npy", np.zeros((9, 16, 16), np.float32))
    for number in range(8):
        kind = folder / "photos" / ("cat" if number % 2 else "dog")
        kind.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (40, 60 + number, 3), np.uint8)
        Image.fromarray(pixels).save(kind / f"{number}.jpg")
    result = run(f"tmeasures demo --epochs 1 --out {folder}/tmeasures-demo")
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def there(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return folder


def run(line):
    name, *arguments = shlex.split(line)
    assert name == "tmeasures"
    if arguments[0] == "demo" and "--epochs" not in arguments:
        arguments += ["--epochs", "1"]
    return CliRunner().invoke(cli.app, arguments, prog_name="tmeasures")


def said(line, code=2):
    """The one sentence of a command that fails."""
    result = run(line)
    assert result.exit_code == code, result.output
    (sentence,) = result.stderr.splitlines()
    assert result.stdout == ""
    return sentence.removeprefix("tmeasures: ")


def test_entry_point():
    (point,) = entry_points(group="console_scripts", name="tmeasures")
    assert point.load() is cli.main


def test_version():
    assert run("tmeasures --version").stdout == f"tmeasures {version('tmeasures')}\n"


def test_every_command_has_an_example():
    assert all(EXAMPLES.values())
    for name, lines in EXAMPLES.items():
        assert all(line.startswith(f"tmeasures {name}") for line in lines)


@pytest.mark.parametrize("line", [line for lines in EXAMPLES.values() for line in lines] + SHELL)
def test_examples_run_as_printed(there, line):
    result = run(line)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    for file in re.findall(r"^wrote (.*)$", result.stdout, re.M):
        assert Path(file).stat().st_size > 0


def test_help_shows_examples_as_they_are_typed():
    shown = re.sub(r"\n +", "\n", run("tmeasures measure --help").stdout)
    assert "\n" + EXAMPLES["measure"][0].split(" --samples")[0] + " \\\n" in shown


MEASURE = (
    "tmeasures measure --model tmeasures.demo:network --weights tmeasures-demo/plain.pt "
    "--samples tmeasures-demo/digits.npz --transformations rotation:4"
)


def test_measure_gives_what_the_library_gives(there):
    line = f"{MEASURE} --limit 40 --layers 'conv*,fc2' --seed 3 --batch-size 64 --out own.nc"
    assert run(line).exit_code == 0
    tree = tm.open("own.nc")
    assert tree.attrs["command"] == shlex.join(shlex.split(line))
    network = demo.network()
    network.load_state_dict(torch.load("tmeasures-demo/plain.pt", weights_only=True))
    digits = np.load("tmeasures-demo/digits.npz")
    expected = tm.measure(
        network,
        digits["images"],
        tm.rotations(4),
        layers=["conv*", "fc2"],
        labels=digits["labels"],
        n_samples=40,
        seed=3,
        batch_size=64,
    )
    for group in ("layers", "samples", "transformations", "summary"):
        for node, other in zip(tree[group].subtree, expected[group].subtree, strict=True):
            assert node.to_dataset().identical(other.to_dataset())


def test_normalisation_follows_the_transformation(there):
    line = f"{MEASURE} --limit 10 --layers conv1 --measures TV --mean .5 --std .25 --out own.nc"
    assert run(line).exit_code == 0
    network = demo.network()
    network.load_state_dict(torch.load("tmeasures-demo/plain.pt", weights_only=True))
    expected = tm.measure(
        network,
        np.load("tmeasures-demo/digits.npz")["images"],
        tm.rotations(4),
        layers="conv1",
        measures="TV",
        n_samples=10,
        preprocess=lambda x: (x - 0.5) / 0.25,
    )
    np.testing.assert_allclose(
        tm.open("own.nc")["layers/conv1/TV"], expected["layers/conv1/TV"], rtol=1e-5
    )


def test_show_prints_the_summary(there):
    tree = tm.open("tmeasures-demo/plain.nc")
    table = tm.summary(tree)
    frame = pd.read_csv(io.StringIO(run("tmeasures show tmeasures-demo/plain.nc --csv").stdout))
    assert frame.layer.tolist() == table.layer.values.tolist()
    np.testing.assert_allclose(frame.NV_median, table.NV_median, rtol=1e-6)
    np.testing.assert_allclose(frame.ANOVA_rejected_share, table.ANOVA_rejected_share)
    read = json.loads(run("tmeasures show tmeasures-demo/plain.nc --measure NV --json").stdout)
    assert read["attributes"]["n_samples"] == tree.attrs["n_samples"]
    assert [row["NV_q75"] for row in read["rows"]] == table.NV_q75.values.tolist()
    text = run("tmeasures show tmeasures-demo/plain.nc").stdout
    assert all(f"\n{name} " in text for name in table.layer.values)
    assert "SimpleConv under rotations(16)" in text
    assert "n = 450 samples, m = 16 transformations" in text


def test_show_prints_units_and_channels(there):
    show = "tmeasures show tmeasures-demo/plain.nc --measure NV --layers conv1"
    units = pd.read_csv(io.StringIO(run(f"{show} --by unit --csv").stdout))
    assert len(units) == 16 * 16 * 16
    rows = json.loads(run(f"{show} --by channel --json").stdout)["rows"]
    expected = tm.channels(tm.open("tmeasures-demo/plain.nc"))["layers/conv1/NV"].values
    np.testing.assert_allclose([row["value"] for row in rows], expected, rtol=1e-6)


def test_json_holds_what_is_not_finite(there):
    network = torch.nn.Linear(1, 1, bias=False)
    tree = tm.measure(network, torch.zeros(3, 1), measures="SV")
    tree["layers/output/SV"].values[:] = np.inf
    tm.save(tree, "infinite.nc")
    (row,) = json.loads(run("tmeasures show infinite.nc --by unit --json").stdout)["rows"]
    assert row["value"] == "inf"
    tree["layers/output/SV"].values[:] = np.nan
    tm.save(tree, "infinite.nc")
    (row,) = json.loads(run("tmeasures show infinite.nc --by unit --json").stdout)["rows"]
    assert row["value"] is None


def test_json_keeps_every_digit(there):
    network = torch.nn.Linear(1, 1, bias=False, dtype=torch.float64)
    tree = tm.measure(network, torch.zeros(3, 1), measures="SV")
    tree["layers/output/SV"].values[:] = 1.2345678901234567e-12
    tm.save(tree, "tiny.nc")
    (row,) = json.loads(run("tmeasures show tiny.nc --by unit --json").stdout)["rows"]
    assert row["value"] == 1.2345678901234567e-12


def test_layout_names_dims(there):
    line = f"{MEASURE} --limit 9 --layers conv1 --layout 'conv*=map,row,column' --out own.nc"
    assert run(line).exit_code == 0
    assert tm.open("own.nc")["layers/conv1/TV"].dims == ("map", "row", "column")


def test_a_users_own_logging_does_not_say_things_twice(there):
    (there / "noisy.py").write_text(
        "import logging\nimport torch\n\nlogging.basicConfig(level=logging.INFO)\n\n\n"
        "def make():\n    return torch.nn.Linear(16, 2)\n"
    )
    result = run(
        "tmeasures measure --model noisy.py:make --samples tmeasures-demo/digits.npz "
        "--transformations flip --limit 8 --out own.nc --verbose"
    )
    assert result.stderr.count("pass 1/1") == 1
    assert logging.getLogger("tmeasures").propagate


def test_features_take_the_seed_of_the_result(there, monkeypatch):
    seen = []
    monkeypatch.setattr(tm.plots, "features", lambda *a, **k: seen.append(k) or Figure())
    line = (
        "tmeasures plot features tmeasures-demo/plain.nc --layer conv1 --limit 2 --out a.png "
        "--model tmeasures.demo:network --samples tmeasures-demo/digits.npz --transformations flip"
    )
    assert run(line).exit_code == run(f"{line} --seed 7").exit_code == 0
    assert [given["seed"] for given in seen] == [None, 7]
    assert seen[0]["n_samples"] == 2


def test_lines_take_several_measures(there, monkeypatch):
    seen = []
    monkeypatch.setattr(tm.plots, "lines", lambda *a, **k: seen.append((a[1], k)) or Figure())
    line = "tmeasures plot lines tmeasures-demo/plain.nc --out a.png"
    for more in ("", " --measure 'NV, DSE' --no-floor"):
        assert run(line + more).exit_code == 0
    assert [measures for measures, _ in seen] == [["NV"], ["NV", "DSE"]]
    assert [options["floor"] for _, options in seen] == [True, False]


def test_the_heat_map_of_same_equivariance_is_that_without_units(there, monkeypatch):
    seen = []
    monkeypatch.setattr(tm.plots, "heatmap", lambda _, measure: seen.append(measure) or Figure())
    line = f"{MEASURE} --limit 8 --layers conv5 --measures VSE,DSE --out own.nc --heatmap a.png"
    assert run(line).exit_code == 0
    assert seen == ["DSE"]


def test_layers_lists_what_is_left_out(there):
    (there / "flat.py").write_text(
        "import torch\n\n\ndef network():\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(256, 2))\n"
    )
    out = run("tmeasures layers --model flat.py:network --samples tmeasures-demo/digits.npz").stdout
    assert re.search(r"^1 +Linear +2 +unit 2 *$", out, re.M)
    assert "left out: 0, Flatten" in out


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        (f"{MEASURE} --out own.nc --layout conv1", ["--layout 'conv1'", "channel,y,x"]),
        (f"{MEASURE} --out own.nc --memory 9KiB", ["--memory", "--activations pooled"]),
        (
            "tmeasures layers --model tmeasures.demo:network --samples flat.npy",
            ["expects a channel axis", "--channels none"],
        ),
        (f"{MEASURE} --out own.nc --device gpu", ["--device gpu"]),
        (f"{MEASURE} --out own.nc --seed {2**63}", ["2**63"]),
        (
            "tmeasures heatmap tmeasures-demo/plain.nc tmeasures-demo/plain.nc --out a.png",
            ["twice"],
        ),
        (
            "tmeasures plot samples --samples photos --resize 9 --transformations flip --rows 0 "
            "--out a.png",
            ["--rows=0"],
        ),
        (
            "tmeasures layers --model mine.py:classifier --samples photos --resize 64 --grey",
            ["3 channels", "--preprocess file.py:f where f = lambda x: x.repeat(1, 3, 1, 1)"],
        ),
        ("tmeasures show none.nc", ["there is no file 'none.nc'"]),
        ("tmeasures show tmeasures-demo/digits.npz", ["'tmeasures-demo/digits.npz'"]),
        ("tmeasures show tmeasures-demo/plain.nc --measure NW", ["'NW'", "NV"]),
        ("tmeasures show tmeasures-demo/plain.nc --layers cnv1", ["'cnv1'", "conv1"]),
        ("tmeasures show tmeasures-demo/plain.nc --csv --json", ["choose one"]),
        (f"{MEASURE} --out own.png", ["'own.png'", ".nc"]),
        (f"{MEASURE} --out nowhere/own.nc", ["there is no folder", "nowhere"]),
        (f"{MEASURE} --out tmeasures-demo", ["it is a folder"]),
        (f"{MEASURE} --out own.nc --heatmap own.docx", [".docx", ".png"]),
        (f"{MEASURE} --out own.nc --measures NW", ["NW", "NV"]),
        (f"{MEASURE} --out own.nc --device cuda:9", ["cuda:9", "cpu"]),
        (f"{MEASURE} --out own.nc --memory lots", ["lots", "4GiB"]),
        (f"{MEASURE} --out own.nc --limit 0", ["--limit=0"]),
        (f"{MEASURE} --out own.nc --mean 0,0", ["channel"]),
        (f"{MEASURE} --out own.nc --mean 0 --preprocess torch:relu", ["--preprocess"]),
        ("tmeasures heatmap tmeasures-demo/plain.nc --out a.png --upper -1", ["--upper"]),
        ("tmeasures plot maps tmeasures-demo/plain.nc --layer fc1 --out a.png", ["fc1"]),
    ],
)
def test_errors_are_one_sentence(there, line, parts):
    sentence = said(line)
    for part in parts:
        assert part in sentence


def test_a_networks_own_error_is_one_sentence(there):
    (there / "broken.py").write_text(
        "import torch\n\n\nclass Broken(torch.nn.Module):\n    def forward(self, x):\n"
        "        raise KeyError('weights of\\nlast year')\n"
    )
    line = (
        "tmeasures measure --model broken.py:Broken --samples tmeasures-demo/digits.npz "
        "--transformations flip --out own.nc"
    )
    assert "weights of" in said(line)
    assert isinstance(run(f"{line} --debug").exception, KeyError | tm.TMeasuresError)


def test_ctrl_c_says_what_is_lost(there):
    (there / "slow.py").write_text(
        "import torch\n\n\nclass Slow(torch.nn.Linear):\n    calls = 0\n"
        "    def __init__(self):\n        super().__init__(16, 2)\n"
        "    def forward(self, x):\n        Slow.calls += len(x) > 5\n"
        "        if Slow.calls == 3:\n            raise KeyboardInterrupt\n"
        "        return super().forward(x)\n"
    )
    line = (
        "tmeasures measure --model slow.py:Slow --samples tmeasures-demo/digits.npz "
        "--transformations flip --batch-size 8 --out own.nc"
    )
    sentence = said(line, code=130)
    assert sentence.startswith("interrupted: stopped in pass 1/1 after 16 of 1,800 inputs")


def test_warnings_are_one_line(there):
    network = "import torch\nnetwork = torch.nn.Linear(16, 1)\nnetwork.weight.data.fill_(1e38)\n"
    (there / "huge.py").write_text(network)
    result = run(
        "tmeasures measure --model huge.py:network --samples tmeasures-demo/digits.npz "
        "--transformations flip --out own.nc"
    )
    assert result.exit_code == 0
    (line,) = result.stderr.splitlines()
    assert line.startswith("tmeasures: warning: ")


def test_warnings_name_options(there):
    (there / "odd.py").write_text(
        "import torch\n\n\nclass Odd(torch.nn.Module):\n"
        "    def forward(self, x):\n        return 2 * x.reshape(len(x), 2, 8, 16)\n"
    )
    result = run(
        "tmeasures layers --model odd.py:Odd --samples tmeasures-demo/digits.npz "
        "--activations pooled"
    )
    (line,) = result.stderr.splitlines()
    assert line.startswith("tmeasures: warning: --activations pooled leaves 1 layer")
    assert line.endswith("by --layout")


def test_verbose_tells_the_plan(there):
    result = run(f"{MEASURE} --limit 10 --out own.nc --verbose")
    assert "10 samples x 4 transformations" in result.stderr
    assert "pass 1/1" in result.stderr
    assert "samples" not in run(f"{MEASURE} --limit 10 --out own.nc").stderr


def test_a_folder_that_cannot_be_written_is_said(there, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    assert "no permission" in said(f"{MEASURE} --out own.nc")
