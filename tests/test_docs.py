"""The documentation describes every public name and every room, each once."""

import doctest
import re
from collections import Counter
from pathlib import Path

import pytest

import tmeasures as tm

ROOT = Path(__file__).parent.parent


def described(*directives):
    """How often each object stands in a directive of one of these kinds, over all pages."""
    start = rf"^\.\. (?:{'|'.join(directives)}):: (\S+)$"
    pages = (ROOT / ".docs").glob("*.rst")
    return Counter(name for page in pages for name in re.findall(start, page.read_text(), re.M))


def test_every_public_name_is_described_once():
    public = [f"tmeasures.{name}" for name in tm.__all__ if name != "plots"]
    public += [f"tmeasures.plots.{name}" for name in tm.plots.__all__]
    found = described("autofunction", "autoclass", "data")
    wrong = {name: found[name] for name in public if found[name] != 1}
    assert not wrong, "times described in .docs"


def test_every_room_is_described_once():
    rooms = [path.stem for path in (ROOT / "tmeasures").glob("[a-z]*.py")]
    rooms += [path.parent.name for path in (ROOT / "tmeasures").glob("*/__init__.py")]
    assert described("automodule") == Counter(f"tmeasures.{room}" for room in [*rooms, "kernels"])


@pytest.mark.parametrize("page", sorted((ROOT / ".docs").glob("*.rst")), ids=lambda page: page.stem)
def test_examples_on_the_pages_run(page):
    found = doctest.testfile(str(page), module_relative=False)
    assert found.failed == 0
    assert found.attempted or ">>>" not in page.read_text()
