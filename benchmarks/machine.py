"""What the machine is, what others do on it, and how much memory this process took."""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import torch

import tmeasures as tm
from tmeasures.kernels.numba_moments import threading_layer

T = TypeVar("T")

_PROC = Path("/proc")


def fresh(function: Callable[..., T], *arguments: Any) -> T:
    """Call a function in a process of its own: an allocator as it comes, a peak of its own."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def describe(device: str) -> dict[str, Any]:
    """The machine and the versions that figures belong to."""
    tm.measure(torch.nn.ReLU(), torch.ones(2, 1, 2, 2), tm.rotations(4), progress=False)
    where = torch.device(device)
    return {
        "cpu": _processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "torch threads": torch.get_num_threads(),
        "kernels": f"numba on {threading_layer()}",
        "device": torch.cuda.get_device_name(where) if where.type == "cuda" else device,
        "system": f"{platform.system()} {platform.machine()}, {' '.join(platform.libc_ver())}",
        "python": platform.python_version(),
        **{name: version(name) for name in ("tmeasures", "torch", "numba", "numpy", "xarray")},
    }


def _processor() -> str:
    info = _PROC / "cpuinfo"
    if info.exists() and (found := re.search(r"model name\s*:\s*(.+)", info.read_text())):
        return found[1]
    return platform.processor() or platform.machine()


def other_cpu_seconds() -> float:
    """CPU seconds that all others used since the machine started, and what its host kept from it.

    Busy time of all cores less this process's own; NaN where ``/proc/stat`` is missing.
    """
    stat = _PROC / "stat"
    if not stat.exists():
        return float("nan")
    user, nice, system, _, _, interrupt, soft, steal = map(int, stat.read_text().split()[1:9])
    ticks = user + nice + system + interrupt + soft + steal
    return ticks / os.sysconf("SC_CLK_TCK") - time.process_time()


class Peak:
    """Peak memory over what is held when this is made: resident memory, or that of a GPU.

    Where Linux lets a process reset its peak, what came before does not count.

    Args:
        device: Whose memory.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self.before: int | None = torch.cuda.memory_allocated(device)
            return
        with suppress(OSError):  # not Linux, or not permitted: the peak since the start stands
            (_PROC / "self/clear_refs").write_text("5")
        self.before = _status("VmRSS")

    def bytes(self) -> int | None:
        """The peak so far; None where the system does not tell."""
        if self.before is None:
            return None
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) - self.before
        return (_status("VmHWM") or 0) - self.before


def _status(name: str) -> int | None:
    """Bytes that ``/proc/self/status`` gives, None without it."""
    status = _PROC / "self/status"
    if status.exists() and (found := re.search(rf"{name}:\s*(\d+) kB", status.read_text())):
        return int(found[1]) * 1024
    return None
