"""Objects that a text names, as "package.module:name" or "file.py:name"; networks among them."""

from __future__ import annotations

import inspect
import sys
import sysconfig
import traceback
from collections.abc import Callable
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from tmeasures.cli.paths import existing
from tmeasures.cli.weights import ENDINGS, fill
from tmeasures.errors import ArgumentError, TMeasuresError
from tmeasures.hints import called, near, reason

_FORM = "expected package.module:name or path/to/file.py:name"


def load(reference: str, what: str) -> Any:
    """The object that a text names.

    The current directory is importable, as with ``python -m``, and the folder of a file, as with
    ``python file.py``. A file is loaded once, as the module of its stem, so that worker processes
    find the classes in it.

    Args:
        reference: ``package.module:name`` or ``path/to/file.py:name``; the name may be dotted.
        what: The option, for messages.

    Raises:
        ArgumentError: The text has another form; there is no such file, module or name; importing
            it failed.

    Example:
        >>> load("math:pi", "--number")
        3.141592653589793
    """
    source, _, name = (part.strip() for part in reference.rpartition(":"))
    if not source or not _is_dotted(name):
        raise ArgumentError(f"{what} {reference!r} names no object; {_FORM}{_advice(reference)}")
    if source.endswith(".py"):
        found: Any = _file(Path(source), what)
    elif _is_dotted(source):
        found = _module(source, what)
    else:
        raise ArgumentError(f"{what} {reference!r} names no module or .py file; {_FORM}")
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise ArgumentError(
                f"{what} {reference!r}: there is no {part!r} in it{_other(part, found)}; expected "
                "a name defined there"
            ) from None
    return found


def make(function: Callable[..., Any], reference: str, what: str) -> Any:
    """What a function or class gives when it is called without arguments.

    Raises:
        ArgumentError: It needs arguments, or raised an error that is not this library's.
    """
    if missing := needs(function):
        name = reference.rpartition(":")[2].strip()
        raise ArgumentError(
            f"{what} {reference!r} needs arguments ({', '.join(missing)}); expected a function "
            f"without any: write 'def make(): return {name}({missing[0]}=...)' in a file.py, and "
            "give file.py:make"
        )
    try:
        return function()
    except TMeasuresError:
        raise
    except (Exception, SystemExit) as error:
        raise ArgumentError(
            f"{what} {reference!r} was called and raised {_raised(error)}; expected it to return: "
            "mend it there"
        ) from error


def needs(function: Callable[..., Any]) -> list[str]:
    """Names of the arguments that have no default."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (ValueError, TypeError):  # some built-ins show no signature
        return []
    named = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind not in named]


def model(reference: str, weights: Path | None = None) -> Any:
    """The network that a text names, with weights from a file.

    Args:
        reference: Of a network (a ``torch.nn.Module``, or an object with ``run(batch)``), or of a
            function or class that makes one without arguments.
        weights: Of a state dict; see `tmeasures.cli.weights.fill`.

    Raises:
        ArgumentError: Nothing usable is there, or the weights do not fit.

    Example:
        >>> model("torch.nn:Flatten")
        Flatten(start_dim=1, end_dim=-1)
    """
    if Path(reference).suffix.lower() in ENDINGS:
        raise ArgumentError(
            f"--model {reference!r} is a file of weights; expected the code that makes the "
            f"network, as package.module:name or path/to/file.py:name, beside --weights {reference}"
        )
    found = load(reference, "--model")
    if not _is_network(found):
        if not callable(found):
            raise ArgumentError(
                f"--model {reference!r} is {_described(found)}; expected a torch.nn.Module, an "
                "object with run(batch), or a function or class that makes one"
            )
        found = make(found, reference, "--model")
        if not _is_network(found):
            raise ArgumentError(
                f"--model {reference!r} returned {_described(found)}; expected a torch.nn.Module "
                "or an object with run(batch): return it alone"
            )
    if weights is not None:
        if not isinstance(found, nn.Module):
            raise ArgumentError(
                f"--weights are for a torch.nn.Module, and --model {reference!r} is "
                f"{_described(found)}; leave them out, and read them where it is made"
            )
        fill(found, weights)
    return found


def _is_dotted(name: str) -> bool:
    return all(part.isidentifier() for part in name.split("."))


def _advice(reference: str) -> str:
    """What to write in place of a text that is no reference."""
    if "(" in reference:
        return ", without parentheses: it is called where that is needed"
    if reference.endswith(".py"):
        return f", such as {reference}:make for a function make() in it"
    module, _, name = reference.rpartition(".")
    return f", such as {module}:{name}" if module and _is_dotted(reference) else ""


def _other(name: str, found: object) -> str:
    """Names like one that is not there, or else some that are."""
    public = [other for other in dir(found) if not other.startswith("_")]
    if meant := near(name, public):
        return meant
    if not isinstance(found, ModuleType):
        return ""
    own = [x for x in public if getattr(getattr(found, x), "__module__", None) == found.__name__]
    return f", which defines {', '.join(own[:8])}" if own else ""


def _file(path: Path, what: str) -> ModuleType:
    """A .py file as a module."""
    place = existing(path, what).resolve()
    name = place.stem.replace(".", "_")  # pickle would look for a package before a point
    if (known := sys.modules.get(name)) is not None:
        if Path(getattr(known, "__file__", None) or "").resolve() == place:
            return known
        raise ArgumentError(
            f"{what} {str(path)!r} has the name of a module that is already loaded, {name!r}; "
            "expected a name of its own: rename the file"
        )
    _make_importable(place.parent)
    spec = spec_from_file_location(name, place)
    if spec is None or spec.loader is None:
        raise ArgumentError(f"{what} {str(path)!r} is no Python file; {_FORM}")
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if not isinstance(error, (Exception, SystemExit)):
            raise
        raise _import_failed(str(path), what, error) from error
    return module


def _module(name: str, what: str) -> ModuleType:
    """A module by its dotted name."""
    _make_importable(Path.cwd())
    try:
        return import_module(name)
    except (Exception, SystemExit) as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing and f"{name}.".startswith(f"{missing}."):
            raise ArgumentError(
                f"{what}: there is no module {missing!r}; install it, start in the folder where it "
                "lies, or give path/to/file.py:name"
            ) from None
        raise _import_failed(name, what, error) from error


def _make_importable(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _import_failed(source: str, what: str, error: BaseException) -> ArgumentError:
    if isinstance(error, SystemExit):
        advice = "put what a script does under if __name__ == '__main__'"
    elif isinstance(error, ModuleNotFoundError):
        advice = f"install {(error.name or '').partition('.')[0]!r}, or mend the import"
    elif isinstance(error, ImportError) and "relative import" in str(error):
        advice = "name it as package.module:name, started in the folder that holds the package"
    else:
        advice = "mend it there"
    return ArgumentError(
        f"{what}: importing {source!r} raised {_raised(error)}; expected it to import: {advice}"
    )


def _raised(error: BaseException) -> str:
    """An error of the user's code in a line: its type, message and place."""
    text = reason(error)
    if isinstance(error, SyntaxError):
        text = reason(type(error)(error.msg))  # without the place, which may be cut off
        place, line = error.filename, error.lineno
    else:
        frames = [(frame.filename, frame.lineno) for frame in _frames(error)]
        place, line = frames[-1] if frames else (None, None)
    return f"{text} ({Path(place).name}, line {line})" if place and line else text


def _frames(error: BaseException) -> list[traceback.FrameSummary]:
    """Where the error passed: the user's own files, or if it passed none, those of libraries."""
    here = Path(__file__).parent
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<") and not Path(frame.filename).is_relative_to(here)
    ]
    libraries = [sysconfig.get_path(key) for key in ("stdlib", "purelib", "platlib")]
    own = [
        frame
        for frame in frames
        if not any(Path(frame.filename).is_relative_to(library) for library in libraries)
    ]
    return own or frames


def _is_network(value: object) -> bool:
    if isinstance(value, type):
        return False
    return isinstance(value, nn.Module) or callable(getattr(value, "run", None))


def _described(value: object) -> str:
    if isinstance(value, tuple):
        return f"a tuple ({', '.join(map(called, value))})"
    return called(value)
