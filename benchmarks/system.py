"""Time, cores and memory as the system tells of them; takes torch alone, as another library may."""

from __future__ import annotations

import ctypes
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import torch

PROC = Path("/proc")
# A clock tick of /proc/stat is 10 ms, and each core has one.
_RESOLUTION = 0.02


class Reading(NamedTuple):
    """Seconds of a call, and the cores that other processes used meanwhile, on average."""

    seconds: float
    others: float


def timed(call: Callable[[], object], device: torch.device) -> Reading:
    """Read the clock about a call."""
    before = other_cpu_seconds()
    seconds = seconds_of(call, device)
    return Reading(seconds, max(other_cpu_seconds() - before - _RESOLUTION, 0.0) / seconds)


def seconds_of(call: Callable[[], object], device: torch.device) -> float:
    """Seconds of a call; what it returns is freed after the clock was read."""
    _synchronise(device)
    start = time.perf_counter()
    result = call()
    _synchronise(device)
    seconds = time.perf_counter() - start
    del result
    return seconds


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def other_cpu_seconds() -> float:
    """CPU seconds that all others used since the machine started, and what its host kept from it.

    Busy time of all cores less this process's own; NaN where ``/proc/stat`` is missing.
    """
    stat = PROC / "stat"
    if not stat.exists():
        return float("nan")
    user, nice, system, _, _, interrupt, soft, steal = map(int, stat.read_text().split()[1:9])
    ticks = user + nice + system + interrupt + soft + steal
    return ticks / os.sysconf("SC_CLK_TCK") - time.process_time()


class Peak:
    """Peak memory over what is held when this is made: resident memory, or that of a GPU.

    Where Linux lets a process reset its peak, what came before does not count; where the C library
    is glibc, memory that was freed before is given back first, so that taking it again counts.

    Args:
        device: Whose memory.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self.before: int | None = torch.cuda.memory_allocated(device)
            return
        with suppress(AttributeError, OSError, TypeError):  # not glibc
            ctypes.CDLL(None).malloc_trim(0)
        with suppress(OSError):  # not Linux, or not permitted: the peak since the start stands
            (PROC / "self/clear_refs").write_text("5")
        self.before = _status("VmRSS")

    def bytes(self) -> int | None:
        """The peak so far; None where the system does not tell."""
        whole = self.whole()
        return None if whole is None or self.before is None else whole - self.before

    def whole(self) -> int | None:
        """The peak so far with what was held before."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        return _status("VmHWM")


def _status(name: str) -> int | None:
    """Bytes that ``/proc/self/status`` gives, None without it."""
    status = PROC / "self/status"
    if status.exists() and (found := re.search(rf"{name}:\s*(\d+) kB", status.read_text())):
        return int(found[1]) * 1024
    return None
