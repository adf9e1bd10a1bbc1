"""What all tests share: examples, threads, the disk, shared modules.

A quick run on a laptop tries 25 examples of a property, others each time; CI tries 100, always the same.
An example has no time limit. A laptop's run uses one thread, for the arrays are tiny and a second thread
would wait longer than it works; CI uses all, and so do tests/kernels and every test about threads.

Test files are imported by path, so the modules that several of them share are put on the path here.
"""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault(
    "NUMBA_NUM_THREADS", str(max(2, os.cpu_count() or 2))
)  # one core can run the two-thread tests too

_QUIET = (
    HealthCheck.too_slow,
    HealthCheck.data_too_large,
)  # the first example of a kernel compiles it

settings.register_profile("default", deadline=None, suppress_health_check=_QUIET, max_examples=25)
settings.register_profile(
    "ci",
    deadline=None,
    suppress_health_check=_QUIET,
    derandomize=True,
    database=None,
    print_blob=True,
)
IN_CI = bool(os.environ.get("CI"))
settings.load_profile("ci" if IN_CI else "default")

# browsing.py, markup.py, posts.py, parity.py, arguments.py, strategies.py, strings.py
sys.path[:0] = [
    str(Path(__file__).parent / folder) for folder in (".", "fuzz", "hub", "kernels", "ops", "text")
]


REAL_FSYNC = os.fsync


def checked(handle):
    """What os.fsync promises but for the wait: a handle that is open, or OSError."""
    os.fstat(handle)


@pytest.fixture(scope="session", autouse=True)
def disk_without_waiting():
    """No test of this process outlives a power cut, so none waits for the disk: thousands of writes, 1-9 ms each.

    Programs that tests start, and kill, wait as always; so does a test with the fixture `waiting_disk`.
    """
    os.fsync = checked
    yield
    os.fsync = REAL_FSYNC


@pytest.fixture(scope="session", autouse=True)
def few_threads():
    """One thread, unless this is CI."""
    if not IN_CI:
        from tinylm import kernels

        kernels.set_threads(1)


@pytest.fixture
def waiting_disk(monkeypatch):
    """Here os.fsync waits for the disk."""
    monkeypatch.setattr(os, "fsync", REAL_FSYNC)


@pytest.fixture
def restored_threads():
    """Afterwards parallel kernels use as many threads as before."""
    from tinylm import kernels

    before = kernels.threads()
    yield
    kernels.set_threads(before)


def on_one_thread():
    """Parallel kernels run on one thread: small models wait less, and lock-free kernels are exact."""
    from tinylm import kernels

    before = kernels.threads()
    kernels.set_threads(1)
    yield
    kernels.set_threads(before)


one_thread = pytest.fixture(on_one_thread)  # for one test
one_thread_throughout = pytest.fixture(
    on_one_thread, scope="module"
)  # for the models of a file too
