"""Classes and the newer kinds of variables on the command line."""

import io
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import tmeasures as tm
from drawing import CONV, each_class, make, value
from tmeasures import cli

RUN = "--model net.py:network --samples x.npz --channels none --transformations rotation:4"


@pytest.fixture(autouse=True)
def files(folder):
    """Results by class, and samples with labels."""
    for name, labels in (("text", ("ant", "bee", "cow")), ("number", (3, 7)), ("half", (0.5, 2.0))):
        tm.save(each_class(labels), f"{name}.nc")
    rng = np.random.default_rng(0)
    np.savez("x.npz", images=rng.random((12, 5, 5), np.float32), labels=np.arange(12) % 3)
    Path("net.py").write_text(
        "import torch\n\n\ndef network():\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(25, 4))\n"
    )


def run(line, code=0):
    result = CliRunner().invoke(cli.app, shlex.split(line)[1:], prog_name="tmeasures")
    assert result.exit_code == code, result.output
    return result


def said(line):
    (sentence,) = run(line, 2).stderr.splitlines()
    return sentence.removeprefix("tmeasures: ")


def table(text):
    """The table for people as lists of words, by layer."""
    rows = [line.split() for line in text.splitlines()]
    (head,) = [row for row in rows if row[:2] == ["layer", "kind"]]
    return {
        row[0]: dict(zip(head, row, strict=True))
        for row in rows
        if len(row) == len(head) and row != head
    }


def csv(line):
    return pd.read_csv(io.StringIO(run(f"{line} --csv").stdout))


def test_the_short_table_says_what_it_leaves_out():
    text = run("tmeasures show text.nc").stdout
    rows = table(text)
    assert list(rows) == ["conv", "fc"]
    head = "layer kind units NV NV_strata GF GF_strata rejected ND GF_score dead"
    assert list(rows["fc"]) == head.split()
    found = tm.summary(tm.open("text.nc"))
    assert float(rows["fc"]["NV_strata"]) == 2.8
    assert float(rows["conv"]["ND"]) == pytest.approx(found["ND_median"][0].item(), rel=1e-3)
    assert rows["fc"]["ND"] == "-"
    assert "; of counts the mean; GF_score: mean of the largest 20 %\n" in text
    *_, alike, left_out = text.splitlines()
    assert alike == "the same in every layer: ND_strata 3"
    assert left_out.endswith("--stratum shows one of ant, bee, cow")
    plain = run("tmeasures show text.nc --stratum ant").stdout
    assert "--stratum" not in plain
    assert "the same" not in plain
    assert "of counts" not in plain


def test_pairs_that_are_left_out_are_said():
    fields = {"NV": value(np.ones((2, 1, 1)))}
    few, many = (
        fields | {"DSE": value([0.5, 0.2], dims=("channel",), attributes={"pairs_left_out": count})}
        for count in (3, 12)
    )
    fc = ("unit",), {"NV": value([1.0])}
    tm.save(make({"a": (CONV, few), "b": (CONV, many), "c": fc}), "dse.nc")
    *_, last = run("tmeasures show dse.nc").stdout.splitlines()
    assert last == "pairs of transformations left out of DSE: up to 12 in a layer"
    assert "up to 3 in" in run("tmeasures show dse.nc --layers a").stdout
    assert "left out" not in run("tmeasures show dse.nc --layers c").stdout
    assert table(run("tmeasures show dse.nc").stdout)["c"]["DSE"] == "-"


def test_dead_units_are_those_of_the_layer():
    tree = tm.stratum(each_class(), "bee")
    for name in ("NV", "GF", "rejected"):
        del tree["layers/conv"][name]
    tm.save(tree, "bee.nc")
    row = table(run("tmeasures show bee.nc --layers conv").stdout)["conv"]
    assert (row["units"], row["dead"]) == ("24", "8")


@pytest.mark.parametrize(
    ("file", "typed", "label"),
    [("text", "bee", "bee"), ("number", "7", 7), ("half", "2", 2.0), ("half", "0.5", 0.5)],
)
def test_a_class_is_shown(file, typed, label):
    one = tm.stratum(tm.open(f"{file}.nc"), label)
    text = run(f"tmeasures show {file}.nc --stratum {typed}").stdout
    assert f"SimpleConv under rotations(16), class {label}\n" in text
    assert f"n = {one.attrs['n_samples']} samples" in text
    for by in ("layer", "channel", "unit"):
        frame = csv(f"tmeasures show {file}.nc --stratum {typed} --by {by}")
        expected = tm.to_frame(one, by=by)
        assert frame.columns.tolist() == expected.columns.tolist()
        column = "NV_median" if by == "layer" else "value"
        np.testing.assert_allclose(frame[column], expected[column], rtol=1e-6)
    read = json.loads(run(f"tmeasures show {file}.nc --stratum {typed} --json").stdout)
    assert read["attributes"]["stratum"] == label


def test_a_measure_of_each_class_is_shown():
    frame = csv("tmeasures show number.nc --measure NV_by_stratum")
    assert frame[["layer", "stratum"]].values.tolist() == [
        [layer, label] for layer in ("conv", "fc") for label in (3, 7)
    ]
    for by in ("channel", "unit"):
        frame = csv(f"tmeasures show number.nc --measure NV_by_stratum --by {by}")
        assert set(frame.stratum) == {3, 7}
    rows = json.loads(run("tmeasures show text.nc --measure ND_by_stratum --json").stdout)["rows"]
    assert [row["stratum"] for row in rows if row["layer"] == "conv"] == ["ant", "bee", "cow"]
    assert re.search(
        "^conv +bee ", run("tmeasures show text.nc --measure NV_by_stratum").stdout, re.M
    )
    for by in ("channel", "unit"):
        text = run(f"tmeasures show number.nc --by {by} --json").stdout
        assert all("stratum" not in row for row in json.loads(text)["rows"])


PICTURES = [
    "heatmap {} --out a.png",
    "plot lines {} --out a.png",
    "plot histograms {} --out a.png",
    "plot scatter {} --x ND --y NV --out a.png",
    "plot maps {} --layer conv --out a.png",
]


@pytest.mark.parametrize("line", PICTURES)
def test_pictures_of_a_class(line, monkeypatch):
    seen = []
    name = line.split("{")[0].split()[-1]
    draw = getattr(tm.plots, name)
    monkeypatch.setattr(tm.plots, name, lambda *a, **k: seen.append(a[0]) or draw(*a, **k))
    run(f"tmeasures {line} --stratum 7".format("number.nc"))
    (tree,) = seen
    tree = tree["number"] if isinstance(tree, dict) else tree
    assert tree.identical(tm.stratum(tm.open("number.nc"), 7))
    assert Path("a.png").stat().st_size > 1000


def test_features_of_a_class(monkeypatch):
    seen = []

    def draw(model, samples, transformations, tree, *_, **__):
        seen.append(tree)
        raise tm.ArgumentError("seen")

    monkeypatch.setattr(tm.plots, "features", draw)
    said(
        "tmeasures plot features text.nc --layer conv --stratum cow --model torch.nn:Flatten "
        "--samples x.npz --transformations flip --out a.png"
    )
    assert seen[0].attrs["stratum"] == "cow"


def test_a_line_for_each_class():
    run("tmeasures plot lines text.nc --measure NV_by_stratum --statistic median --out a.png")
    run("tmeasures plot lines text.nc --measure GF --statistic score --out a.png")


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("show text.nc --stratum bea", ["no class 'bea'", "'bee'"]),
        ("show number.nc --stratum bee", ["no class 'bee'", "3, 7"]),
        ("heatmap number.nc --measure NV_by_stratum --out a.png", ["NV with --stratum LABEL"]),
        ("plot maps text.nc --layer conv --measure ND --out a.png", ["one value per channel"]),
        ("plot lines text.nc --statistic score --out a.png", ["--statistic score", "NV"]),
    ],
)
def test_mistakes(line, parts):
    sentence = said(f"tmeasures {line}")
    assert all(part in sentence for part in parts), sentence


def test_a_result_without_classes():
    tree = each_class()
    for layer in tree["layers"].children.values():
        for name in list(layer.data_vars):
            if name.endswith(("_by_stratum", "_strata")):
                del layer[name]
    tm.save(tree, "plain.nc")
    sentence = said("tmeasures show plain.nc --stratum ant")
    assert sentence.endswith("measure with --stratify each")
    assert "not shown" not in run("tmeasures show plain.nc").stdout


@pytest.mark.parametrize("name", ["measure", "explain"])
def test_options_of_measure_and_explain(name, monkeypatch):
    seen = []

    def stop(*_, **given):
        seen.append([given["measures"], given["stratify"], given["errors"]])
        raise tm.ArgumentError("seen, and errors=True too")

    monkeypatch.setattr(tm, name, stop)
    line = f"tmeasures {name} {RUN}" + " --out own.nc" * (name == "measure")
    assert said(f"{line} --measures all --stratify each --errors") == "seen, and --errors too"
    said(f"{line} --measures TV,NV --stratify mean")
    said(line)
    assert seen[:2] == [["all", "each", True], [["TV", "NV"], "mean", False]]
    assert seen[2][1:] == [None, False]


def test_measuring_by_class():
    text = run(f"tmeasures measure {RUN} --stratify each --measures all --errors --out own.nc")
    tree = tm.open("own.nc")
    assert {"TV", "TV_strata", "TV_by_stratum", "TV_se"} <= set(tree["layers/1"].data_vars)
    assert "--stratum shows one of 0, 1, 2" in text.stdout
    assert ", class 1\n" in run("tmeasures show own.nc --stratum 1").stdout
    assert ", means over classes\n" in run("tmeasures show own.nc").stdout
    plan = run(f"tmeasures explain {RUN} --stratify mean").stdout
    assert plan != run(f"tmeasures explain {RUN}").stdout
