"""Have child processes compile kernels into the cache folder; each runs compiler.py.

Why not in the process that needs them? Numba optimises a parallel kernel once for the process that
compiles it and once more for the cache, and under reassociation the two differ in the last bits.
When every process loads from the cache, all have the same bits. It is also faster: several children
compile side by side, and they compile early what the next lines of a training step will ask for.
"""

import atexit
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable

import numpy as np

MOST_CHILDREN = 4
COMMON = (  # the modules that every step of a transformer uses
    "attention",
    "linear",
    "cross_entropy",
    "layer_norm",
    "adamw",
    "embedding",
    "dropout",
)
_lock = threading.Lock()
_jobs = {}  # (module, dtype) -> the children that compile it


def build_elsewhere(module: str, dtype: np.dtype, done: Callable[[], bool]) -> None:
    """Have the kernels of `module` (its full name) compiled for `dtype` in child processes.

    If it is one of the COMMON modules, the children compile all of those. Returns as soon as done()
    is true, while the children go on with the rest; also returns if they end without it.
    """
    with _lock:
        if (module, dtype) not in _jobs:
            modules = _compiled_with(module)
            children = _start(dtype, modules)
            for each in modules:
                _jobs[each, dtype] = children
    children = _jobs[module, dtype]
    while not done() and any(child.poll() is None for child in children):
        time.sleep(0.02)


def _compiled_with(module):
    """The modules to compile when `module` is asked for, itself first.

    >>> _compiled_with("tinylm.kernels.lstm")
    ['tinylm.kernels.lstm']
    >>> len(_compiled_with("tinylm.kernels.linear"))
    7
    """
    package, _, name = module.rpartition(".")
    modules = [module]
    if name in COMMON:
        modules += [f"{package}.{other}" for other in COMMON if other != name]
    return modules


def _start(dtype, modules):
    """Start children that divide the modules among themselves; a child claims one by a file."""
    claims = tempfile.mkdtemp(prefix="tinylm-")
    children = []
    atexit.register(_end, claims, children)
    if getattr(sys, "frozen", False) or not sys.executable:
        return children  # there is no interpreter to start, only the program itself
    command = [sys.executable, "-m", f"{__package__}.compiler", dtype.name, claims, *modules]
    quiet = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    count = min(os.cpu_count() or 1, MOST_CHILDREN, len(modules))
    with contextlib.suppress(OSError):
        for _ in range(count):
            children.append(subprocess.Popen(command, **quiet))
    return children


def _end(claims, children):
    """At exit, end all children; finished kernels stay, as Numba renames whole files into place."""
    shutil.rmtree(claims, ignore_errors=True)
    for child in children:
        child.terminate()
        child.wait()
