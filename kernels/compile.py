"""Every compile flag of the numba kernels.

``contract`` lets a multiplication and an addition become one fused operation. ``reassoc`` is not
allowed: it may turn a sum of equal differences into something other than exactly zero.
"""

from __future__ import annotations

from functools import partial

from numba import njit

inner = partial(njit, fastmath={"contract"}, error_model="numpy", cache=True, nogil=True)
parallel = partial(inner, parallel=True)
