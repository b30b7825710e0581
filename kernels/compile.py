"""Every compile flag of the numba kernels, and how one is run.

``contract`` lets a multiplication and an addition become one fused operation. ``reassoc`` is not
allowed: it may turn a sum of equal differences into something other than exactly zero.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numba
import torch
from numba import njit
from torch import Tensor

inner = partial(njit, fastmath={"contract"}, error_model="numpy", cache=True, nogil=True)
parallel = partial(inner, parallel=True)

# Activations that one thread folds in 30 microseconds. A second thread would save 15, and costs a
# hundred times that where another process has its core.
_SMALL = 2**16


def call(kernel: Callable[..., None], x: Tensor, *state: Tensor | int) -> None:
    """Run a kernel on torch's number of threads, on one where a tile is small."""
    of_torch = torch.get_num_threads()
    before = numba.get_num_threads()  # the first such call launches numba's threads
    most = min(of_torch, numba.config.NUMBA_NUM_THREADS)
    numba.set_num_threads(most if x.numel() > _SMALL else 1)
    try:
        kernel(x.numpy(), *(part.numpy() if isinstance(part, Tensor) else part for part in state))
    finally:
        numba.set_num_threads(before)
        if torch.get_num_threads() != of_torch:  # the launch sets OpenMP's number for all
            torch.set_num_threads(of_torch)
