"""What the machine is, and how fast its memory copies."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import version
from statistics import median
from typing import Any

import torch
from system import PROC, seconds_of

import tmeasures as tm
from tmeasures.kernels.tasks import threading_layer

# Far over any cache: a copy reads and writes memory.
_COPIED = 2**28
_COPIES = 9


def describe(device: str, quick: bool = False) -> dict[str, Any]:
    """The machine and the versions that figures belong to; ``quick`` copies next to nothing."""
    tm.measure(torch.nn.ReLU(), torch.ones(2, 1, 2, 2), tm.rotations(4), progress=False)
    where = torch.device(device)
    return {
        "cpu": _processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "torch threads": torch.get_num_threads(),
        "kernels": backend(where),
        "device": torch.cuda.get_device_name(where) if where.type == "cuda" else device,
        "copy, GB/s": round(copy_bandwidth(where, 2**16 if quick else _COPIED) / 1e9, 2),
        "system": f"{platform.system()} {platform.machine()}, {' '.join(platform.libc_ver())}",
        "python": platform.python_version(),
        **{name: version(name) for name in ("tmeasures", "torch", "numba", "numpy", "xarray")},
    }


def backend(device: torch.device) -> str:
    """What the kernels of a device are written in."""
    return f"numba on {threading_layer()}" if device.type == "cpu" else "torch"


def copy_bandwidth(device: torch.device, size: int) -> float:
    """Bytes a second, read and written, of torch's copy of ``size`` bytes over all threads."""
    source = torch.ones(size // 4, device=device)
    target = torch.empty_like(source)
    target.copy_(source)
    seconds = [seconds_of(lambda: target.copy_(source), device) for _ in range(_COPIES)]
    return 2 * size / median(seconds)


def _processor() -> str:
    info = PROC / "cpuinfo"
    if info.exists() and (found := re.search(r"model name\s*:\s*(.+)", info.read_text())):
        return found[1]
    return platform.processor() or platform.machine()
