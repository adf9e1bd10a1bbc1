"""Refuse sizes that cannot fit into the machine's memory before anything is allocated."""

import contextlib
import ctypes
import math
import os
import sys
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from functools import cache
from pathlib import Path

from .errors import ArgumentError

SMALL = 2**20  # bytes that are granted without asking the system
GROUP = Path("/sys/fs/cgroup/memory.max")  # the limit of a container on Linux
USED = Path("/proc/self/statm")  # pages of this process on Linux: all, resident, of these shared
STATUS = Path("/proc/self/status")  # what Linux knows of this process, a line each
FORGET = Path("/proc/self/clear_refs")  # "5" makes Linux forget the peak of this process

_left: ContextVar[int | None] = ContextVar("left", default=None)  # bytes that `at_most` leaves


@cache
def physical() -> int | None:
    """Bytes of memory of this machine or its container; None if the system does not say."""
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
    """Ask Windows for the total of its memory.

    GlobalMemoryStatusEx fills a structure of 64 bytes: its size and the load (4 bytes each), then
    the total (8 bytes), and more.
    """
    status = (ctypes.c_ulonglong * 8)()
    status[0] = ctypes.sizeof(status)
    done = ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))
    return int(status[1]) if done else None


def used() -> int:
    """Bytes that this process holds, without files mapped from the disk; 0 if that is unknown."""
    with contextlib.suppress(OSError, ValueError):
        _, resident, shared, *_ = USED.read_text().split()
        pages = int(resident) - int(shared)
        return pages * os.sysconf("SC_PAGE_SIZE")
    return 0


def forget_peak() -> bool:
    """Let `peak` begin anew, where the system can, which is on Linux; returns whether it can."""
    with contextlib.suppress(OSError):
        FORGET.write_text("5")
        return True
    return False


def peak() -> int | None:
    """The most bytes that this process has held since `forget_peak`; None if that is unknown.

    Code and files mapped from the disk count too.
    """
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return None


@contextlib.contextmanager
def at_most(count: int) -> Iterator[None]:
    """Context in which `must_fit` grants `count` bytes in all.

    Loading a file uses it: a config that asks for more than the file has weights for is refused.

    >>> with at_most(100):
    ...     must_fit((5, 5), 4, "A table")  # nothing is left after it
    ...     must_fit((1,), 4, "A bias")
    Traceback (most recent call last):
        ...
    tinylm.errors.ArgumentError: A bias asks for more than its file holds weights for.
    """
    before = _left.set(count)
    try:
        yield
    finally:
        _left.reset(before)


def must_fit(shape: Sequence[int], itemsize: int, what: str) -> None:
    """Refuse an allocation that the machine has no memory for.

    shape : sizes whose product counts the elements
    itemsize : bytes of one element
    what : begins the error's sentence
    raises ArgumentError  for a negative size, if these bytes and those that the process holds are
        more than the machine has, or if `at_most` leaves fewer

    >>> must_fit((7, 11), 4, "A table of 7 rows")
    >>> must_fit((7, -1), 4, "A table of 7 rows")
    Traceback (most recent call last):
        ...
    tinylm.errors.ArgumentError: A table of 7 rows has a negative size: (7, -1); expected sizes \
from 0 on.
    """
    if min(shape, default=0) < 0:
        raise ArgumentError(
            f"{what} has a negative size: {tuple(shape)}; expected sizes from 0 on."
        )
    wanted = math.prod(map(int, shape)) * itemsize
    left = _left.get()
    if left is not None:
        if wanted > left:
            raise ArgumentError(f"{what} asks for more than its file holds weights for.")
        _left.set(left - wanted)
    there = physical()
    if wanted < SMALL or there is None:
        return
    held = used()
    if wanted + held > there:
        raise ArgumentError(
            f"{what} would take {_gigabytes(wanted)}; this machine has {_gigabytes(there)}, "
            f"of which this process uses {_gigabytes(held)}. Choose smaller sizes."
        )


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
