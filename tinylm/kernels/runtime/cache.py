"""The folder that keeps compiled kernels between runs.

Numba notices a change of the file that defines a cached kernel, but not of a helper in another
file. So our folder is named after a hash of all kernel sources, the place where they lie (Numba
keeps the kernels of two copies apart), the processor, and the versions of Numba and llvmlite: any
change starts an empty folder. The folder belongs to the user alone, because loading a compiled
kernel runs it. If no folder can be written, each process compiles its kernels anew and nothing
fails.
"""

import contextlib
import hashlib
import os
import sys
import threading
from pathlib import Path
from typing import Literal

import llvmlite
import llvmlite.binding as llvm
import numba

from tinylm.files import home
from tinylm.progress import note

_state = {
    "folder": None,  # a Path; False if none can be written; None before the first question
    "told": False,  # whether `announce` has spoken
}
_lock = threading.Lock()


def source_key(folder: Path | None = None) -> str:
    """16 hex digits: a hash of the kernels' sources and place, the processor, the compilers.

    >>> len(source_key())
    16
    """
    place = Path(folder or Path(__file__).parents[1]).resolve()
    processor = f"{llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"
    versions = f"{numba.__version__} {llvmlite.__version__} {sys.version_info[:2]}"
    facts = f"{place} {processor} {versions}"
    digest = hashlib.sha256(facts.encode())
    for path in sorted(place.rglob("*.py")):
        name = path.relative_to(place).as_posix()
        digest.update(name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _private_folder(path):
    """Make `path` if needed; True if we can write to it and nobody else can."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        if hasattr(os, "getuid") and not _belongs_to_us(path.stat()):
            return False
        probe = path / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
        return True
    except OSError:
        return False


def _belongs_to_us(status):
    """True if this user owns the file and neither group nor others may write to it."""
    return status.st_uid == os.getuid() and not status.st_mode & 0o022


def folder() -> Path | Literal[False]:
    """The folder of this version's compiled kernels, or False if none can be kept."""
    with _lock:  # two threads at once would remove each other's probe
        if _state["folder"] is None:
            try:
                path = home() / "kernels" / source_key()
                _state["folder"] = path if _private_folder(path) else False
            except (OSError, RuntimeError):  # no home folder, or unreadable sources
                _state["folder"] = False
    return _state["folder"]


def announce() -> bool:
    """Tell the user once, on stderr, that kernels are compiled; returns whether they are kept."""
    place = folder()
    if not _state["told"]:
        if place:
            where = f"kept in {place}"
        else:
            where = "no cache folder can be written, so each process compiles anew"
        note(f"tinylm: compiling kernels for this machine, up to half a minute ({where})")
    _state["told"] = True
    return bool(place)


def _marker(kernel, dtype):
    """The empty file whose presence says that the kernel is compiled for the dtype."""
    return folder() / f"{kernel.name}.{dtype.name}"


def holds(kernel, dtype) -> bool:
    """True if the cache has the kernel for this dtype."""
    return bool(folder()) and _marker(kernel, dtype).exists()


def mark(kernel, dtype) -> None:
    """Record that the cache has the kernel for this dtype."""
    if folder() and not holds(kernel, dtype):
        # If the folder has vanished or the disk is full, another process compiles again.
        with contextlib.suppress(OSError):
            _marker(kernel, dtype).touch()


def dispatcher(function, parallel: bool, fastmath: set[str]):
    """A Numba dispatcher for `function` that keeps what it compiles in `folder()`."""
    options = {"parallel": parallel, "fastmath": fastmath, "error_model": "numpy", "nogil": True}
    place = folder()
    if not place:
        return numba.njit(function, **options)
    if not parallel:  # Numba tells two versions of one function apart by their folder alone
        place = place / "alone"
    # Numba reads this setting when it makes the dispatcher. It holds for the whole process, so we
    # restore it at once.
    with _lock:
        before = numba.config.CACHE_DIR
        numba.config.CACHE_DIR = str(place)
        try:
            return numba.njit(function, cache=True, **options)
        finally:
            numba.config.CACHE_DIR = before
