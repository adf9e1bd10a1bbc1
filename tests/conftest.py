"""What all tests share: examples, threads, the disk, shared modules.

A quick run on a laptop tries 25 examples of a property, others each time; CI tries 100, always the same.
An example has no time limit. A run uses one thread, for the arrays are tiny and a second thread would wait
longer than it works; tests/kernels and every test about threads use all, and so does CI where it runs some
folders once more in a single process.

A run of the whole suite first compiles all kernels, on all cores: what a test would wait for later,
while the other cores are idle. Then, where pytest-xdist is installed, as many processes as there are
cores share the tests, each file in one process (`-n 0` asks for one).

Test files are imported by path, so the modules that several of them share are put on the path here.
"""

import os
import subprocess
import sys
import tempfile
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
# where CI repeats tests on the references, which the first run has held to the kernels
settings.register_profile("again", parent=settings.get_profile("ci"), max_examples=25)
IN_CI = bool(os.environ.get("CI"))
settings.load_profile("ci" if IN_CI else "default")

# browsing.py, markup.py, posts.py, parity.py, arguments.py, strategies.py, strings.py
SUITE = Path(__file__).parent
sys.path[:0] = [str(SUITE / folder) for folder in (".", "fuzz", "hub", "kernels", "ops", "text")]


def is_worker():
    """Whether this is one of the processes that share the tests, or was started by one."""
    return "PYTEST_XDIST_WORKER" in os.environ


def is_whole(config):
    """Whether the whole suite is asked for, and no single test of it by name."""
    asked = [Path(config.invocation_params.dir, str(arg).split("::")[0]) for arg in config.args]
    whole = any(path.resolve() in (SUITE, SUITE.parent) for path in asked)
    return whole and not config.option.keyword and not config.option.collectonly


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """Share a run of the whole suite among processes, unless the command says how."""
    options = config.option
    if is_worker() or not config.pluginmanager.hasplugin("xdist"):
        return  # a worker that started workers would never end
    if options.usepdb or not is_whole(config):
        return
    if options.numprocesses is None and options.dist == "no":
        options.numprocesses = os.cpu_count()
        options.dist = "loadfile"
        options.loadscopereorder = False  # files of few tests, such as kills, would come last


def pytest_sessionstart(session):
    """Compile all kernels before the first test of the whole suite."""
    if is_whole(session.config) and not is_worker():
        compile_kernels(session.config.get_terminal_writer())


def compile_kernels(writer):
    """Have child processes compile every kernel that the cache lacks, one module after another, the longest first."""
    import numpy as np

    from tinylm.kernels import BACKEND, KERNELS
    from tinylm.kernels.runtime import cache, compiler

    if BACKEND == "numpy" or not cache.folder():
        return
    children = []
    with tempfile.TemporaryDirectory() as claims:
        for dtype in map(np.dtype, ("float64", "float32", "int64")):
            versions = [kernel for kernel in KERNELS.values() if kernel.serves(dtype)]
            lacking = [kernel for kernel in versions if not cache.holds(kernel, dtype)]
            files = {sys.modules[k.__module__].__file__: k.__module__ for k in lacking}
            modules = [files[path] for path in sorted(files, key=os.path.getsize, reverse=True)]
            place = Path(claims, dtype.name)
            place.mkdir()
            command = [sys.executable, "-m", compiler.__name__, dtype.name, str(place), *modules]
            for _ in range(min(len(modules), max(1, (os.cpu_count() or 1) // 2))):
                child = subprocess.Popen(command, cwd=SUITE.parent, stderr=subprocess.DEVNULL)
                children.append(child)
        if children:
            writer.line("compiling all kernels for this machine, about a minute")
        for child in children:
            child.wait()


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
    """One thread, unless this is CI and has all cores for this process."""
    if not IN_CI or is_worker():
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
