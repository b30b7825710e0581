"""How Sphinx builds the documentation: ``sphinx-build -nW .docs build/docs``."""

from importlib.metadata import version as installed
from textwrap import indent

from typer.main import get_command
from typer.testing import CliRunner

from tmeasures.cli import app as commands

project = html_title = "tmeasures"
version = release = installed("tmeasures")
highlight_language = "text"
html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["style.css"]
html_show_copyright = html_show_sourcelink = False
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx_math_dollar",
]

# Names in single backticks are links, and one that leads nowhere is an error.
default_role = "py:obj"
_others = r"(collections|matplotlib|numpy|torch|xarray)\..*"
nitpick_ignore_regex = [("py:.*", _others), ("py:class", r"tmeasures\.tile\.V")]

add_module_names = False
python_maximum_signature_line_length = 88
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # The text says more, and aliases are spelled out in full.
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = ["Source"]


def paths(group, start=()):
    """The words that call each command of a group, and of the groups in it."""
    for name, command in group.commands.items():
        yield (*start, name)
        yield from paths(command, (*start, name)) if hasattr(command, "commands") else ()


def add_commands(app, docname, source):
    """Append to the page of the command line what ``--help`` prints for each command."""
    if docname != "command_line":
        return
    for path in [(), *paths(get_command(commands))]:
        shown = CliRunner().invoke(commands, [*path, "--help"], prog_name="tmeasures")
        title = " ".join(["tmeasures", *path])
        title += "\n" + "-" * len(title)
        source[0] += f"\n{title}\n\n.. code-block:: text\n\n{indent(shown.output, '   ')}\n"


def setup(app):
    """Connect to Sphinx."""
    app.connect("source-read", add_commands)
