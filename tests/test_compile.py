"""Compiled kernels are kept while their sources stay as they are, and only where files can be."""

import gc
import logging
import shutil
import sys
from importlib import import_module
from pathlib import Path

import numba
import pytest
import torch

from tmeasures import kernels

INNER = "from small.compile import inner\n\n\n@inner()\ndef step(x):\n    return x + {}\n"
OUTER = """
from small.compile import serial
from small.steps import step
from small.tasks import DONE, Kernel

@serial()
def once(x):
    return step(x)

@serial()
def twice(x):
    return step(step(x))

@Kernel
def fill(number, x, to):
    to[number] = step(x[number])
    return DONE
"""


@pytest.fixture
def small(folder, monkeypatch):
    """A function that imports anew a package of kernels in two files, the inner one adding some."""
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(folder / "cache"))
    package = folder / "small"
    package.mkdir()
    for name in ("compile.py", "tasks.py"):
        text = Path(kernels.__file__).with_name(name).read_text()
        (package / name).write_text(text.replace("tmeasures.kernels.", "small."))
    (package / "outer.py").write_text(OUTER)

    def fresh(adds=1):
        (package / "steps.py").write_text(INNER.format(adds))
        for name in [name for name in sys.modules if name.split(".")[0] == "small"]:
            del sys.modules[name]
        return import_module("small.outer")

    return fresh


def test_compiled_kernels_are_loaded(small):
    assert small().twice(1) == 3
    again = small()
    assert again.twice(1) == 3
    assert sum(again.twice.stats.cache_hits.values()) == 1


def test_a_change_of_an_inner_file_is_seen(small):
    assert small(adds=1).twice(1) == 3
    changed = small(adds=5)
    assert changed.twice(1) == 11
    assert not changed.twice.stats.cache_hits
    assert small(adds=1).twice(1) == 3


def filled(outer):
    """What a kernel makes of three numbers, and how often its only task was loaded."""
    x, to = torch.arange(3.0), torch.zeros(3)
    sys.modules["small.tasks"].call(outer.fill, 3, x, to)
    (task,) = outer.fill._compiled.values()
    return to.tolist(), task.cache_hits


def test_tasks_are_loaded_until_an_inner_file_changes(small):
    assert filled(small(adds=1)) == ([1, 2, 3], 0)
    assert filled(small(adds=1)) == ([1, 2, 3], 1)
    assert filled(small(adds=5)) == ([5, 6, 7], 0)


def test_files_that_two_processes_exchanged_are_not_run(small, folder):
    def kinds(outer):
        call, found = sys.modules["small.tasks"].call, []
        for dtype in (torch.float32, torch.float64):
            x = torch.arange(4, dtype=dtype)
            to = torch.zeros_like(x)
            call(outer.fill, 4, x, to)
            found.append(to.tolist())
        return found, sum(task.cache_hits for task in outer.fill._compiled.values())

    right = [[1, 2, 3, 4]] * 2
    assert kinds(small()) == (right, 0)
    assert kinds(small()) == (right, 2)
    for name in ("fill", "_launch"):
        one, other = (folder / "cache").rglob(f"*.{name}-*.nbc")
        text = one.read_bytes()
        one.write_bytes(other.read_bytes())
        other.write_bytes(text)
    assert kinds(small()) == (right, 0)


def told(caplog):
    return [r.getMessage() for r in caplog.records if r.name == "tmeasures"]


def test_no_folder_to_write_to_is_no_error(small, folder, monkeypatch, caplog):
    (folder / "file").touch()
    (folder / "small" / "__pycache__").touch()
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(folder / "file" / "cache"))
    monkeypatch.setenv("HOME", str(folder / "file"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "file"))
    monkeypatch.setenv("LOCALAPPDATA", str(folder / "file"))
    with caplog.at_level(logging.INFO):
        outer = small()
        assert (outer.once(1), outer.twice(1)) == (2, 3)
        assert filled(outer) == ([1, 2, 3], 0)
    (line,) = told(caplog)
    assert "no locator available" in line


def test_a_folder_that_is_lost_is_no_error(small, folder, caplog):
    outer = small()
    shutil.rmtree(folder / "cache")
    (folder / "cache").touch()
    with caplog.at_level(logging.INFO):
        assert (outer.once(1), outer.twice(1)) == (2, 3)
    (line,) = told(caplog)
    assert "Not a directory" in line or "exists" in line


def test_nothing_is_said_where_kernels_are_kept(small, folder, caplog):
    with caplog.at_level(logging.INFO):
        assert small().once(1) == 2
    assert told(caplog) == []
    assert list((folder / "cache").rglob("*.nbi"))


@pytest.mark.parametrize("collects", [True, False])
def test_garbage_is_collected_as_before(collects):
    one = torch.zeros(1, 1)
    (gc.enable if collects else gc.disable)()
    try:
        kernels.backend(torch.device("cpu")).columns(
            one.view(1, 1, 1, 1), one, one.double(), one.double(), one[0]
        )
        assert gc.isenabled() == collects
    finally:
        gc.enable()
