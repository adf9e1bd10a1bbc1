"""Compile kernels into the cache folder, in child processes (`python -m` this module, with DTYPE CLAIMS MODULE...).

Why not where they are needed? Numba optimises a parallel kernel once for the process that compiles it and once more for the
cache, and under reassociation the two differ in the last bits. When every process loads from the cache, all have the same.
It is also faster: several children compile at the same time what the next lines of a training step will ask for.
"""

import atexit
import contextlib
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

COMMON = (
    "attention",
    "linear",
    "cross_entropy",
    "layer_norm",
    "adamw",
    "embedding",
    "dropout",
)  # a transformer's step
_lock = threading.Lock()
_jobs = {}  # (module, dtype) -> the children that compile it


def build_elsewhere(module, dtype, done):
    """Have `module` (a full name) compiled for `dtype`, and with one of the COMMON modules all of them, in children.

    Returns as soon as done() holds; the children go on with the rest. Also returns when they have ended without it.
    """
    with _lock:
        if (module, dtype) not in _jobs:
            package, _, name = module.rpartition(".")
            others = (
                [f"{package}.{other}" for other in COMMON if other != name]
                if name in COMMON
                else []
            )
            children = _start(dtype, [module, *others])
            _jobs.update({(each, dtype): children for each in (module, *others)})
    while not done() and any(child.poll() is None for child in _jobs[module, dtype]):
        time.sleep(0.02)


def _start(dtype, modules):
    """Children that share the modules out among themselves, claiming each by a file."""
    claims, children = tempfile.mkdtemp(prefix="tinylm-"), []
    atexit.register(_end, claims, children)
    command = [sys.executable, "-m", __name__, dtype.name, claims, *modules]
    quiet = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    if (
        getattr(sys, "frozen", False) or not sys.executable
    ):  # there is no interpreter to start, only the program itself
        return children
    with contextlib.suppress(OSError):
        children += [
            subprocess.Popen(command, **quiet)
            for _ in range(min(os.cpu_count() or 1, 4, len(modules)))
        ]
    return children


def _end(claims, children):
    """At exit: no child outlives its parent. What it has finished is kept; Numba writes its files in one rename."""
    shutil.rmtree(claims, ignore_errors=True)
    for child in children:
        child.terminate()
        child.wait()


def main(dtype, claims, modules):
    """What a child does: compile the modules that no other child has claimed."""
    for module in modules:
        try:
            (Path(claims) / module).touch(exist_ok=False)
        except OSError:  # claimed, or the parent has gone
            continue
        for kernel in vars(importlib.import_module(module)).values():
            if getattr(kernel, "__module__", "") == module and hasattr(kernel, "dispatchers"):
                kernel.compile(np.dtype(dtype))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
