"""Where compiled kernels are kept between runs.

Numba stamps a cached kernel with the file that defines it only; a changed helper in another file would go unnoticed. Our
folder is therefore named after the hash of all kernel sources, where they lie (Numba keeps the kernels of two copies
apart), the processor, and the versions of Numba and llvmlite: any change starts an empty folder. The folder belongs to the
user alone, because loading a compiled kernel runs it. Where none can be written, kernels are compiled anew in each process
and nothing fails.
"""

import hashlib
import os
import sys
import threading
from pathlib import Path

import llvmlite
import llvmlite.binding as llvm
import numba

from tinylm.files import home
from tinylm.progress import note

_state = {"folder": None, "told": False}
_lock = threading.Lock()


def source_key(folder=None):
    """Hash (hex, 16 digits) of the kernels' folder, its files, the processor and the compilers' versions."""
    place = Path(folder or Path(__file__).parents[1]).resolve()
    processor = f"{llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"
    versions = f"{numba.__version__} {llvmlite.__version__} {sys.version_info[:2]}"
    digest = hashlib.sha256(f"{place} {processor} {versions}".encode())
    for path in sorted(place.rglob("*.py")):
        name = path.relative_to(place).as_posix()
        digest.update(name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _private_folder(path):
    """Make `path` if needed; True when it is writable and nobody else can write to it."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        status = path.stat()
        if hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & 0o022):
            return False
        probe = path / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
        return True
    except OSError:
        return False


def folder():
    """The folder of this version's compiled kernels (a Path), or False where none can be kept."""
    with _lock:  # two threads that ask at once would take away each other's probe
        if _state["folder"] is None:
            try:
                path = home() / "kernels" / source_key()
                _state["folder"] = path if _private_folder(path) else False
            except (OSError, RuntimeError):  # no home folder, unreadable sources
                _state["folder"] = False
    return _state["folder"]


def announce():
    """Say once, on stderr, that kernels are being compiled; returns True when they will be kept."""
    if not _state["told"]:
        where = (
            f"kept in {folder()}"
            if folder()
            else "no cache folder can be written, so each process compiles anew"
        )
        note(f"tinylm: compiling kernels for this machine, up to half a minute ({where})")
    _state["told"] = True
    return bool(folder())


def _marker(kernel, dtype):
    """The empty file that says a kernel has been compiled for a dtype."""
    return folder() / f"{kernel.name}.{dtype.name}"


def holds(kernel, dtype):
    """True when the cache has the kernel for this dtype."""
    return bool(folder()) and _marker(kernel, dtype).exists()


def mark(kernel, dtype):
    """Note that the cache has the kernel for this dtype."""
    if folder() and not holds(kernel, dtype):
        try:
            _marker(kernel, dtype).touch()
        except OSError:  # the folder has vanished or the disk is full: it will be compiled again
            pass


def dispatcher(function, parallel, fastmath):
    """A Numba dispatcher for `function` that keeps what it compiles in `folder()`."""
    options = {"parallel": parallel, "fastmath": fastmath, "error_model": "numpy", "nogil": True}
    place = folder()
    if not place:
        return numba.njit(function, **options)
    with (
        _lock
    ):  # the setting is the whole process'; it is read when the dispatcher is made, then restored
        before, numba.config.CACHE_DIR = numba.config.CACHE_DIR, str(place)
        try:
            return numba.njit(function, cache=True, **options)
        finally:
            numba.config.CACHE_DIR = before
