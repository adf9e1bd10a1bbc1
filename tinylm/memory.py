"""How much memory the machine has; what cannot fit into it is refused before anything is allocated."""

import contextlib
import ctypes
import math
import os
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from .errors import ArgumentError

SMALL = 2**20  # bytes that are granted without asking the system
GROUP = Path("/sys/fs/cgroup/memory.max")  # what a container on Linux may use
USED = Path("/proc/self/statm")  # pages of this process on Linux: all, resident, of these shared


@cache
def physical() -> int | None:
    """Bytes of memory that this machine has, or that its container may use; None where the system does not say."""
    if sys.platform == "win32":
        return _windows()
    found = None
    with contextlib.suppress(OSError, ValueError):
        found = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with contextlib.suppress(OSError, ValueError):
        allowed = int(GROUP.read_text())
        found = min(found or allowed, allowed)
    return found


def _windows() -> int | None:
    """GlobalMemoryStatusEx fills a structure: its size and the load (4 bytes each), then the total (8 bytes), and more."""
    status = (ctypes.c_ulonglong * 8)()
    status[0] = ctypes.sizeof(status)
    done = ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))
    return int(status[1]) if done else None


def used() -> int:
    """Bytes that this process holds, without files mapped from the disk; 0 where the system does not say cheaply."""
    with contextlib.suppress(OSError, ValueError):
        _, resident, shared, *_ = USED.read_text().split()
        return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")
    return 0


def must_fit(shape: Sequence[int], itemsize: int, what: str) -> None:
    """Refuse an allocation that the machine has no memory for.

    shape : sizes whose product counts the elements     itemsize : bytes of one     what : begins the sentence of the error
    raises ArgumentError  for a negative size, or for more bytes than the machine has beside what the process holds
    """
    if min(shape, default=0) < 0:
        raise ArgumentError(
            f"{what} has a negative size: {tuple(shape)}; expected sizes from 0 on."
        )
    wanted = math.prod(map(int, shape)) * itemsize
    there = physical()
    if wanted < SMALL or there is None:
        return
    held = used()
    if wanted + held > there:
        raise ArgumentError(
            f"{what} would take {_gigabytes(wanted)}; this machine has {_gigabytes(there)}, of which "
            f"this process uses {_gigabytes(held)}. Choose smaller sizes."
        )


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
