"""How the numba kernels are compiled and kept: the flags of their arithmetic are here.

``contract`` lets a multiplication and an addition become one fused operation. ``reassoc`` is not
allowed: it may turn a sum of equal differences into something other than exactly zero.

Machine code is kept where numba keeps it: in ``NUMBA_CACHE_DIR``, else in ``__pycache__`` beside
the sources, else in the user's cache folder. It is loaded while no source of the kernels changes.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from numba import njit
from numba.core.caching import FunctionCache

ARITHMETIC: dict[str, Any] = {"fastmath": {"contract"}, "error_model": "numpy"}
_FLAGS = ARITHMETIC | {"nogil": True, "no_cfunc_wrapper": True}

# Numba looks only at the file of the function that Python calls, not at those it calls in turn.
_SOURCES = hashlib.sha256(
    b"".join(file.read_bytes() for file in sorted(Path(__file__).parent.glob("*.py")))
).hexdigest()

_told = False

# For what a kernel calls: with no wrapper for Python and no files of its own, which took a tenth
# longer.
inner = partial(njit, no_cpython_wrapper=True, **_FLAGS)


def serial(parallel: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function that Python calls at its first call; or load it."""

    def compiled(function: Callable[..., Any]) -> Any:
        return keep(njit(parallel=parallel, **_FLAGS)(function), function)

    return compiled


def keep(compiled: Any, function: Callable[..., Any]) -> Any:
    """Load what was compiled of a function, and save what will be."""
    try:
        compiled._cache = _Cache(function)
    except RuntimeError as error:  # numba found no folder that it can write to
        _tell(error)
    return compiled


class _Cache(FunctionCache):
    """Numba's, of all sources together; where files cannot be read or written there are none."""

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        return (*super()._index_key(sig, codegen), _SOURCES)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            found = super().load_overload(sig, target_context)
        except OSError as error:
            return _tell(error)
        # Of two processes that save at once, one may take the other's file for its own.
        wanted = tuple(getattr(sig, "args", sig))
        return found if found is None or tuple(found.signature.args) == wanted else None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError as error:
            _tell(error)


def _tell(error: Exception) -> None:
    """Say once why each process compiles anew."""
    global _told
    if not _told:
        logging.getLogger("tmeasures").info(
            "compiled kernels are not kept, so each process compiles them again (%s); let "
            "NUMBA_CACHE_DIR name a folder that can be written to",
            error,
        )
    _told = True
