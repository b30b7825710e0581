"""The style of all messages of the package."""

import ast
from pathlib import Path

import tmeasures as tm
from mistakes import START


def messages():
    """Each literal message of an error or a warning in the package: where, how it begins, ends."""
    for path in Path(tm.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            name = getattr(node.func, "id", "") if isinstance(node, ast.Call) else ""
            if not (name.endswith("Error") or name == "warn") or not node.args:
                continue
            parts = getattr(node.args[0], "values", [node.args[0]])
            texts = [part.value if isinstance(part, ast.Constant) else "'" for part in parts]
            if all(isinstance(text, str) for text in texts):
                yield f"{path.name}:{node.lineno}", texts[0], texts[-1]


def test_every_message_of_the_package_keeps_the_style():
    found = list(messages())
    assert len(found) > 100
    assert not [place for place, start, _ in found if not START.match(start)]
    assert not [place for place, _, end in found if end.rstrip().endswith((".", "!"))]
