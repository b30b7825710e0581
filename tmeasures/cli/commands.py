"""Turns functions into commands: options that several share, errors in a sentence, a log."""

from __future__ import annotations

import inspect
import logging
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import MISSING, fields, is_dataclass
from typing import Annotated, Any, get_type_hints

import typer

from tmeasures.errors import TMeasuresError, TMeasuresWarning

WRONG = 2
"""Exit code after an error of the library, of the user's code, or of usage."""
INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it: 128 + SIGINT."""

_DEBUG = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
_VERBOSE = Annotated[
    bool, typer.Option("--verbose", "-v", help="Tell the plan, passes and times on stderr.")
]

_OPTIONS = {
    "n_samples": "--limit",
    "memory_format": "--memory-format",
    "batch_size": "--batch-size",
    "preprocess": "--preprocess",
    "activations": "--activations",
    "autocast": "--autocast",
    "measures": "--measures",
    "statistic": "--statistic",
    "stratify": "--stratify",
    "layers": "--layers",
    "layout": "--layout",
    "labels": "--labels",
    "memory": "--memory",
    "device": "--device",
    "limit": "--upper",
    "depth": "--depth",
    "scale": "--scale",
    "seed": "--seed",
    "bins": "--bins",
}
"""What arguments that messages name are called on the command line."""


def command(app: typer.Typer, *, runs: bool = False) -> Callable[[Callable[..., None]], Any]:
    """Register a function as a command of an app.

    A parameter whose type is a dataclass stands for the options that are its fields. Every command
    gets ``--debug``.

    Args:
        app: Where to.
        runs: Whether it runs a network: it then gets ``--verbose``.
    """

    def register(function: Callable[..., None]) -> Callable[..., None]:
        groups: dict[str, Any] = {}
        parameters: list[inspect.Parameter] = []
        hints = get_type_hints(function, include_extras=True)
        for key, parameter in inspect.signature(function).parameters.items():
            if is_dataclass(hints[key]):
                groups[key] = hints[key]
                parameters += _of_fields(hints[key])
            else:
                parameters.append(_parameter(key, hints[key], parameter.default))
        if runs:
            parameters.append(_parameter("verbose", _VERBOSE, False))
        parameters.append(_parameter("debug", _DEBUG, False))

        def run(**given: Any) -> None:
            debug, verbose = given.pop("debug"), given.pop("verbose", False)
            with _spoken(debug), _log(verbose):
                for key, group in groups.items():
                    given[key] = group(**{f.name: given.pop(f.name) for f in fields(group)})
                function(**given)

        run.__name__, run.__doc__ = function.__name__, _help(function)
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        app.command()(run)
        return function

    return register


def _help(function: Callable[..., None]) -> str:
    """The docstring, its examples kept from being wrapped."""
    paragraphs = (inspect.getdoc(function) or "").split("\n\n")
    return "\n\n".join(f"\b\n{p}" if "\n    tmeasures " in p else p for p in paragraphs)


def _of_fields(group: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        _parameter(
            f.name, hints[f.name], inspect.Parameter.empty if f.default is MISSING else f.default
        )
        for f in fields(group)
    ]


def _parameter(name: str, hint: Any, default: Any) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=hint)


@contextmanager
def _spoken(debug: bool) -> Iterator[None]:
    """Errors as one sentence, warnings as one line each."""
    with warnings.catch_warnings():
        usual = warnings.showwarning

        def show(message: Any, category: Any, *where: Any, **more: Any) -> None:
            if issubclass(category, TMeasuresWarning):
                print(f"tmeasures: warning: {_translated(str(message))}", file=sys.stderr)
            else:
                usual(message, category, *where, **more)

        warnings.simplefilter("always", TMeasuresWarning)
        warnings.showwarning = show
        try:
            yield
        except (typer.Exit, typer.Abort, BrokenPipeError):
            raise
        except KeyboardInterrupt as interrupt:
            notes = getattr(interrupt, "__notes__", [])
            print(f"tmeasures: {': '.join(['interrupted', *notes])}", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None
        except Exception as error:
            if debug:
                raise
            print(f"tmeasures: {_sentence(error)}", file=sys.stderr)
            raise typer.Exit(WRONG) from None


def _sentence(error: Exception) -> str:
    if isinstance(error, TMeasuresError):
        return _translated(str(error))
    reason = (str(error).strip().splitlines() or ["no reason given"])[0].rstrip(".")
    notes = "".join(f", {note}" for note in getattr(error, "__notes__", []))
    return f"{type(error).__name__}: {reason}{notes}; --debug shows where"


def _translated(text: str) -> str:
    """A message of the library in the words of the command line."""
    if "preprocess=lambda x: x.mean(1, keepdim=True)" in text:
        text += "; --grey reads a folder in one channel"
    text = text.replace("one, with preprocess=lambda x: x[:, None]", "one, by --channels none")
    text = text.replace("preprocess=lambda", "--preprocess file.py:f where f = lambda")
    text = text.replace("a set such as tm.rotations(16)", "a set such as rotation:16")
    text = text.replace("of tm.stratum(tree, label)", "with --stratum LABEL")
    in_a_file = "or clip=False, to a set in a file, as --transformations file.py:name"
    text = text.replace("or clip=False", in_a_file)
    text = text.replace("errors=True", "--errors").replace("trial=True", "--trial")
    text = re.sub(r", or an object such as tm\.\w+\(.*?\)", "", text)
    names = "|".join(_OPTIONS)
    return (
        re.sub(
            rf"(?<![-\w.])({names})=(?:(['\"])(.*?)\2)?",
            lambda found: (
                f"{_OPTIONS[found[1]]} {found[3] or ''}".rstrip() + ("" if found[3] else " ")
            ),
            text,
        )
        .replace("  ", " ")
        .replace(" ,", ",")
        .rstrip()
    )


@contextmanager
def _log(verbose: bool) -> Iterator[None]:
    """What the library logs, on stderr and beside the bar."""
    with ExitStack() as stack:
        if verbose:
            from tqdm.contrib.logging import logging_redirect_tqdm

            logger, handler = logging.getLogger("tmeasures"), logging.StreamHandler()
            handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
            stack.callback(setattr, logger, "propagate", logger.propagate)
            stack.callback(logger.setLevel, logger.level)
            # A handler that the user's file gives the root would say everything twice.
            logger.propagate = False
            logger.setLevel(logging.INFO)
            logger.addHandler(handler)
            stack.callback(logger.removeHandler, handler)
            stack.enter_context(logging_redirect_tqdm([logger]))
        yield
