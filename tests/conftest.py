"""What all tests share."""

import sys
from pathlib import Path

import pytest
import torch

# Modules that tests import and that assert as they do.
pytest.register_assert_rewrite("cubes", "drawing", "reading", "sample_files", "small_models")


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """The networks of the tests are so small that a second thread only waits for its core."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty current directory; what is imported from it is forgotten again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None)
        if file and Path(file).is_relative_to(tmp_path):
            del sys.modules[name]
