"""The folder that keeps compiled kernels between runs.

Numba notices a change of the file that defines a cached kernel, but not of a helper in another
file. So our folder is named after a hash of all kernel sources, the place where they lie (Numba
keeps the kernels of two copies apart), the processor, the instructions that the BLAS uses, and the
versions of Numba and llvmlite: any change starts an empty folder. The folder belongs to the user
alone, because loading a compiled kernel runs it. A marker beside each kernel holds the hash of its
files, so that a damaged one is compiled again. If no folder can be written, each process compiles
its kernels anew and nothing fails.
"""

import contextlib
import hashlib
import os
import shutil
import sys
import threading
from pathlib import Path
from typing import Literal

import llvmlite
import llvmlite.binding as llvm
import numba

from tinylm.errors import DataError
from tinylm.files import home, write_bytes
from tinylm.progress import note

from .pool import blas_core

_state = {
    "folder": None,  # a Path; False if none can be written; None before the first question
    "told": False,  # whether `announce` has spoken
}
_lock = threading.Lock()


def source_key(folder: Path | None = None) -> str:
    """16 hex digits: a hash of the kernels, their place, the processor, BLAS and compilers.

    >>> len(source_key())
    16
    """
    place = Path(folder or Path(__file__).parents[1]).resolve()
    processor = f"{llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"
    versions = f"{numba.__version__} {llvmlite.__version__} {sys.version_info[:2]}"
    facts = f"{place} {processor} {blas_core()} {versions}"
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


def place_for(kernel, dtype) -> Path | None:
    """The folder to compile a kernel into, for one dtype; None if none can be kept.

    It is the kept one if that holds what `keep` saw there: a file that was cut off, flipped or put
    there since then would run as a kernel, or fail. Else it is a new one of this process.
    """
    if not folder():
        return None
    if holds(kernel, dtype):
        return _kept(kernel, dtype)
    return folder() / f"{kernel.name}.{dtype.name}.{os.getpid()}"


def _kept(kernel, dtype):
    """The folder that keeps a compiled kernel."""
    return folder() / f"{kernel.name}.{dtype.name}"


def _marker(kernel, dtype):
    """The file that says which files hold the compiled kernel: their hash."""
    return folder() / f"{kernel.name}.{dtype.name}.sha256"


def _digest(place):
    """The hash of all files in a folder; None if there are none.   raises OSError"""
    digest = hashlib.sha256()
    found = sorted(path for path in place.rglob("*") if path.is_file())
    for path in found:
        name = path.relative_to(place).as_posix()
        digest.update(name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest() if found else None


def holds(kernel, dtype) -> bool:
    """True if the cache has the kernel for this dtype, byte for byte as it was written."""
    if not folder():
        return False
    try:
        marked = _marker(kernel, dtype).read_text(encoding="ascii", errors="replace")
        return marked == _digest(_kept(kernel, dtype))
    except OSError:
        return False


def keep(kernel, dtype, place: Path | None) -> None:
    """Keep what was compiled into `place`, and the hash of its files."""
    if place is None or place == _kept(kernel, dtype):
        return
    # If the folder has vanished or the disk is full, another process compiles again.
    with contextlib.suppress(OSError, DataError):
        digest = _digest(place)
        if digest and not holds(kernel, dtype):
            forget(kernel, dtype)
            place.rename(_kept(kernel, dtype))
            write_bytes(_marker(kernel, dtype), digest.encode())
    shutil.rmtree(place, ignore_errors=True)


def forget(kernel, dtype) -> None:
    """Remove what the cache keeps of a kernel for a dtype."""
    if folder():
        with contextlib.suppress(OSError):
            _marker(kernel, dtype).unlink(missing_ok=True)
        shutil.rmtree(_kept(kernel, dtype), ignore_errors=True)


def dispatcher(function, place: Path | None, parallel: bool, fastmath: set[str]):
    """A Numba dispatcher for `function` that keeps what it compiles in `place`, or nowhere."""
    options = {"parallel": parallel, "fastmath": fastmath, "error_model": "numpy", "nogil": True}
    if place is None:
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
