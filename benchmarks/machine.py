"""What the numbers were measured on: processor, threads, versions, speed of a matrix product."""

import os
import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path

from tinylm.kernels.runtime.pool import blas_core

PACKAGES = ("numpy", "numba", "torch", "gensim", "tokenizers")
SGEMM = """
import time
import numpy as np
a = np.ones((2048, 2048), np.float32)
times = []
for _ in range(5):
    start = time.perf_counter()
    a @ a
    times.append(time.perf_counter() - start)
print(2 * 2048**3 / min(times) / 1e9)
"""


@cache
def sgemm_speed():
    """GFLOP/s of NumPy's product of two 2048 x 2048 float32 matrices: two threads, best of five."""
    command = [sys.executable, "-c", SGEMM]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "2"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return float(done.stdout)


def processor():
    """The name of the processor, as Linux or else Python tells it."""
    try:
        rows = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        rows = []
    for row in rows:
        if row.startswith("model name"):
            return row.split(":")[1].strip()
    return platform.processor()


def describe():
    """One line: processor, threads, versions, speed."""
    threads = f"2 threads of {os.cpu_count()}"
    python = f"Python {platform.python_version()}"
    packages = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    speed = f"sgemm {sgemm_speed():.0f} GFLOP/s (OpenBLAS for {blas_core()})"
    return f"{processor()}, {threads}; {python}, {packages}; {speed}"
