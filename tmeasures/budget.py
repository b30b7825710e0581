"""Bytes: what a run may take, and how they are written."""

from __future__ import annotations

import os
import re
from math import ceil
from pathlib import Path

import torch

from tmeasures.errors import ArgumentError

# The share of the free memory a run takes when it is not told.
_SHARE = 0.5

_UNITS = {"": 1, "K": 1000, "M": 1000**2, "G": 1000**3, "T": 1000**4}
_UNITS |= {"KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}


def size(count: int) -> str:
    """Bytes in a readable unit, rounded up: what is said to be enough is.

    >>> size(3 * 2**20)
    '3.0 MiB'
    """
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{count} B" if unit == "B" else f"{ceil(value * 10) / 10:.1f} {unit}"
        value /= 1024
    return f"{ceil(value * 10) / 10:.1f} TiB"


def memory_limit(memory: int | str | None, device: torch.device) -> int:
    """Bytes from what the user gave: a number, ``"4GiB"``, or None for half of what is free."""
    if memory is None:
        return int(_free(device) * _SHARE)
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([KMGT]I?|)B?\s*", str(memory).upper())
    if found is None or float(found[1]) <= 0:
        raise ArgumentError(
            f"memory={memory!r} is no size: give bytes as a positive number, or a text like '4GiB'"
        )
    return int(float(found[1]) * _UNITS[found[2]])


def _free(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    meminfo, group = Path("/proc/meminfo"), Path("/sys/fs/cgroup/memory.max")
    if meminfo.exists():  # counts what caches would give back
        found = re.search(r"MemAvailable:\s+(\d+)", meminfo.read_text())
        free = int(found[1]) * 1024 if found else free
    if group.exists() and (limit := group.read_text().strip()).isdigit():
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
        free = min(free, max(int(limit) - used, 0))
    return free
