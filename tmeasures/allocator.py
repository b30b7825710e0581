"""Keeps freed memory in the process: half of a small network's time is faulting pages in again."""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGE = 2**31 - 1


def tune_allocator() -> bool:
    """Let glibc keep freed memory for the rest of this process.

    By default glibc maps every large tensor anew and returns it to the system when it is freed, so
    that each layer's output faults in all its pages again: a quarter of the bare forward pass of a
    small network on a CPU. Two calls of ``mallopt`` (mmap and trim thresholds) end that. The
    process then keeps its peak memory. The command line sets this, the library only when asked.

    Returns:
        Whether the allocator took both settings; False where the C library is not glibc.

    Example:
        >>> import tmeasures as tm
        >>> isinstance(tm.tune_allocator(), bool)
        True
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    taken = [mallopt(option, _LARGE) == 1 for option in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD)]
    return all(taken)
