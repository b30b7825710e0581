"""The house: one-way imports, packages as listed, docstrings that run, a light import."""

import ast
import doctest
import importlib
import pkgutil
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path

import pytest

import tmeasures

ROOT = Path(__file__).parent.parent

# From the bottom up; a module imports only from lines above its own (or from its own room).
ROOMS = [
    ["errors"],
    ["hints"],
    ["tile", "fields", "allocator", "footprint", "budget", "progress"],
    ["seeding", "moving"],
    ["loading"],
    ["arrays"],
    ["samples"],
    ["transformations"],
    ["naming"],
    ["options", "refusal", "forwards"],
    ["selection"],
    ["hosts"],
    ["capture"],
    ["kernels"],
    ["statistics"],
    ["inputs"],
    ["measures", "acting"],
    ["strata"],
    ["plan"],
    ["planning"],
    ["finishing"],
    ["engine"],
    ["watching"],
    ["summaries"],
    ["results", "demands", "formats"],
    ["job"],
    ["recording"],
    ["rehearsal"],
    ["views"],
    ["run", "frames"],
    ["plots"],
    ["__init__"],
    ["simple_conv"],
    ["demo"],
    ["cli"],
]
LEVEL = {name: level for level, names in enumerate(ROOMS) for name in names}
SOURCES = {
    "tmeasures." + ".".join(path.relative_to(folder).with_suffix("").parts): path
    for folder, paths in (
        (ROOT / "tmeasures", (ROOT / "tmeasures").rglob("*.py")),
        (ROOT, (ROOT / "kernels").rglob("*.py")),
    )
    for path in paths
}


def room(module):
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


@pytest.mark.parametrize("module", sorted(SOURCES))
def test_imports_go_one_way(module):
    assert room(module) in LEVEL, f"{room(module)} has no place among the rooms"
    for node in ast.walk(ast.parse(SOURCES[module].read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "tmeasures":
            names = [node.module]
            if node.module == "tmeasures":
                names = [f"tmeasures.{a.name}" for a in node.names if a.name in LEVEL] or names
        elif isinstance(node, ast.Import):
            names = [a.name for a in node.names if a.name.split(".")[0] == "tmeasures"]
        else:
            continue
        for name in names:
            other = room(name)
            allowed = other == room(module) or LEVEL[other] < LEVEL[room(module)]
            assert allowed, f"{module} imports {name}, which lies above it"


def test_no_module_imports_the_top_level_kernels():
    for path in [*SOURCES.values(), *(ROOT / "benchmarks").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [a.name for a in node.names] if isinstance(node, ast.Import) else []
            assert not any(name.split(".")[0] == "kernels" for name in names), path


def test_packages_are_listed_as_they_lie():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {path.parent for path in (ROOT / "tmeasures").rglob("__init__.py")}
    found = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert sorted(listed) == sorted({*found, "tmeasures.kernels"})


def modules():
    names = ["tmeasures"]
    for package in ("tmeasures", "tmeasures.kernels"):
        path = importlib.import_module(package).__path__
        names += [m.name for m in pkgutil.walk_packages(path, package + ".")]
    return sorted(set(names))


@pytest.mark.parametrize("name", modules())
def test_examples_in_docstrings_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        failed, _ = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert failed == 0


def test_every_public_function_and_class_has_an_example():
    for name in tmeasures.__all__:
        public = getattr(tmeasures, name)
        if isinstance(public, type) and issubclass(public, (Exception, Warning)):
            continue
        if callable(public):
            assert ">>>" in (public.__doc__ or ""), f"tm.{name} has no example"


HEAVY = ("xarray", "numba", "scipy", "matplotlib", "netCDF4", "sklearn", "pandas", "PIL", "rich")


@pytest.mark.parametrize(
    ("module", "heavy"), [("tmeasures", (*HEAVY, "typer")), ("tmeasures.cli", HEAVY)]
)
def test_import_leaves_heavy_libraries_for_later(module, heavy):
    code = f"import sys, {module}; print([m for m in {heavy!r} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
