"""Processes of their own: for a single call, or that wait for a word, run and answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")

HERE = Path(__file__).parent


def fresh(function: Callable[..., T], *arguments: Any) -> T:
    """Call a function in a process of its own: an allocator as it comes, a peak of its own."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


class Worker:
    """A script in a process of its own that calls `serve`; idle but while it is asked.

    Args:
        script: Its path.
        arguments: Its arguments.
        python: Its interpreter, perhaps of another environment.
    """

    def __init__(self, script: Path, *arguments: str, python: str = sys.executable) -> None:
        self.script = script
        # -E: a PYTHONPATH of this environment is not that of another.
        self.process = subprocess.Popen(
            [python, "-E", str(script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.about = self._answer()

    def ask(self, call: str, **arguments: Any) -> Any:
        """The answer of one of the calls that it serves."""
        assert self.process.stdin is not None
        print(json.dumps({"call": call} | arguments), file=self.process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        if line := self.process.stdout.readline():
            return json.loads(line)
        self.process.communicate()
        raise RuntimeError(
            f"{self.script.name} ended with status {self.process.returncode} and no answer; its "
            "error stands above"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.communicate()


def serve(calls: Mapping[str, Callable[..., Any]], about: Any = None) -> None:
    """Say that all is ready, then answer a `Worker` until it asks no more.

    Lines of JSON come on the standard input, ``{"call": name, **arguments}``, and go to the
    standard output; whatever else is printed goes to the standard error.

    Args:
        calls: What can be asked, by name.
        about: The first answer.
    """
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        print(json.dumps(about), file=answers, flush=True)
        for line in sys.stdin:
            asked = json.loads(line)
            print(json.dumps(calls[asked.pop("call")](**asked)), file=answers, flush=True)
