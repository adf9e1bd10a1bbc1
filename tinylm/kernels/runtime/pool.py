"""One thread pool: matrix products run inside Numba's threads, never in a second pool beside them.

Two pools whose threads spin while they wait (OpenBLAS' and Numba's) take each other's cores and
cost a factor of five. So SciPy's BLAS, which compiled kernels call inside `prange`, always has one
thread. NumPy's own BLAS, which users call between our steps, keeps its threads except inside
`one_pool()`.

A waiting thread of libgomp spins for some milliseconds before it sleeps. On a busy machine it takes
that time from the very thread that it waits for. Our threads spin a thirtieth as long. That is
longer than the pauses within a step, so an idle machine is as fast as before. It is short enough
that a core is soon free for a thread that has work.
"""

import contextlib
import ctypes
import functools
import importlib
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import numba
from threadpoolctl import ThreadpoolController

from tinylm.errors import BackendError, TinylmError, one_line

SPINS = "10000"  # of a waiting thread before it sleeps; libgomp's own number is 300,000
SHARED = 2**17  # numbers of a matrix whose product with one row is worth a second thread
WAITING = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")  # libgomp reads these once, when it is loaded

_state = {
    "started": False,  # `start` has run
    "keeps": False,  # malloc has been told to keep freed memory
    "numpy": (),  # controllers of NumPy's own BLAS
    "counts": (),  # their thread counts before the first user of `one_pool`
    "users": 0,  # how many `one_pool` contexts are open
    "ran": False,  # Numba has started its threads
    "layer": None,  # Numba's threading layer, known after its first parallel call
    "forked": False,  # this process is a child forked after Numba had started its threads
}
_start_lock = threading.Lock()
_parallel_lock = threading.RLock()
_no_lock = contextlib.nullcontext()


class _OfThisThread(threading.local):
    """What holds for the calling thread only."""

    alone = False  # within `one_thread`
    count = 0  # Numba's threads before `one_thread` took all but one; 0 = Numba was not told


_here = _OfThisThread()


def load_openmp() -> None:
    """Load the OpenMP library of Numba's threads and tell it SPINS (once; called at import).

    libgomp reads the variable while it is loaded. So we load it here and then restore the
    environment: child processes and other copies of libgomp never see our number. PyTorch shares
    our copy when it is imported after tinylm, and brings its own when it comes first. A user's own
    setting wins. A libgomp that was loaded earlier keeps what it read then. Other threading layers
    (TBB, workqueue) and other systems stay as they are.
    """
    if sys.platform != "linux" or any(name in os.environ for name in WAITING):
        return
    os.environ["GOMP_SPINCOUNT"] = SPINS
    try:
        importlib.import_module("numba.np.ufunc.omppool")  # starts no thread
    except ImportError:  # there is no libgomp: Numba will use its workqueue
        pass
    finally:
        del os.environ["GOMP_SPINCOUNT"]


def start() -> None:
    """Load SciPy's BLAS and limit it to one thread (once; called before the first kernel)."""
    with _start_lock:
        if _state["started"]:
            return
        libraries = _blas()
        numpys = [library for library in libraries if _is_from("numpy", library)]
        for library in libraries:  # one shared BLAS (conda, Accelerate) is limited for everybody
            if library not in numpys:
                library.set_num_threads(1)
        _state["numpy"] = tuple(numpys)
        _state["started"] = True


def _launch():
    """Start Numba's threads; returns how many a parallel kernel uses.

    raises BackendError  for a threading layer that is not there
    """
    try:
        count = numba.get_num_threads()
    except ValueError as error:
        asked = numba.config.THREADING_LAYER
        raise BackendError(
            f"Numba has no threading layer {asked!r} here ({one_line(str(error), 80)}); unset "
            "NUMBA_THREADING_LAYER, or set it to omp or workqueue."
        ) from error
    _state["ran"] = True
    return count


@functools.cache
def blas_core() -> str:
    """The processor family for which SciPy's OpenBLAS multiplies, such as "Haswell"; "" if unknown.

    OpenBLAS chooses it when it is loaded, by the processor or by the variable OPENBLAS_CORETYPE.
    Another BLAS tells none.
    """
    for library in sorted(_blas(), key=lambda library: not _is_from("scipy", library)):
        if getattr(library, "architecture", None):
            return library.architecture
    return ""


def _blas():
    """Controllers of the BLAS libraries in this process, SciPy's among them."""
    import scipy.linalg.cython_blas  # noqa: F401  (compiled kernels call into it)

    return [x for x in ThreadpoolController().lib_controllers if x.user_api == "blas"]


def _is_from(package, library):
    """True if the package brought the library along: it lies in one of its two library folders."""
    folders = Path(library.filepath).parts[-3:-1]
    return f"{package}.libs" in folders or package in folders


def _keep_freed_memory():
    """Tell glibc's malloc to keep freed memory instead of returning it to the system (once).

    A training step frees and requests the same megabytes again and again. If malloc returns them,
    each page costs a fault at its next use, a quarter of the step's time on a virtual machine. Peak
    memory stays the same. With another C library nothing happens.
    """
    if _state["keeps"]:
        return
    _state["keeps"] = True
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # not Linux, or another C library
        return
    # The numbers of these options in malloc.h.
    trim_threshold = -1
    top_pad = -2
    mmap_max = -4
    mallopt(mmap_max, 0)
    mallopt(trim_threshold, 2**31 - 1)
    mallopt(top_pad, 2**24)


@contextlib.contextmanager
def one_pool() -> Iterator[None]:
    """Within this context NumPy's own matrix products use one thread, out of our pool's way.

    From the first `one_pool` on, glibc also keeps freed memory for the next step. Trainer, the
    commands and the benchmarks use it; so should a hand-written loop that calls NumPy between
    steps. Contexts may overlap: when the last one ends, NumPy's thread count is what it was before
    the first.

    >>> import numpy as np
    >>> with one_pool():
    ...     np.ones((2, 3)) @ np.ones((3, 2))
    array([[3., 3.],
           [3., 3.]])
    """
    start()
    _keep_freed_memory()
    _count_users(1)
    try:
        yield
    finally:
        _count_users(-1)


def _count_users(change):
    """Count a user of `one_pool` in (1) or out (−1).

    The first limits NumPy's BLAS, the last restores it.
    """
    with _start_lock:
        before = _state["users"]
        after = before + change
        _state["users"] = after
        if before == 0:
            _state["counts"] = [library.num_threads for library in _state["numpy"]]
            for library in _state["numpy"]:
                library.set_num_threads(1)
        elif after == 0:
            for library, count in zip(_state["numpy"], _state["counts"], strict=True):
                library.set_num_threads(count)


def set_threads(count: int) -> None:
    """Use `count` threads in all parallel kernels that this thread calls.

    raises TinylmError  unless 1 ≤ count ≤ the number of threads that Numba started with

    >>> before = threads()
    >>> set_threads(1)
    >>> threads()
    1
    >>> set_threads(before)
    """
    most = numba.config.NUMBA_NUM_THREADS
    if not 1 <= count <= most:
        raise TinylmError(
            f"{count} threads were asked for; expected 1 to {most}, "
            "the number of cores (set NUMBA_NUM_THREADS before the start to have more)."
        )
    _launch()
    numba.set_num_threads(count)


def threads() -> int:
    """The number of threads that parallel kernels use now.

    >>> with one_thread():
    ...     threads()
    1
    """
    return 1 if _here.alone else _launch()


class one_thread:
    """Within this context the parallel kernels that this thread calls run on it alone.

    For work too small to share, such as reading one token: a second thread gains nothing, and on a
    busy machine every kernel would wait until that thread gets a core. No kernel's blocks depend on
    the number of threads, so the bits do not either.

    A small model enters it for every token, so it costs next to nothing: Numba is told only when a
    kernel comes that has no version without threads.
    """

    def __enter__(self):
        self.outer = _here.alone
        _here.alone = True

    def __exit__(self, *error):
        _here.alone = self.outer
        if _here.count and not self.outer:
            numba.set_num_threads(_here.count)
            _here.count = 0


def threads_for(count: int) -> AbstractContextManager:
    """The context for products of one row with matrices of `count` numbers: all threads, or one.

    count : numbers that are read between two waits of the threads for each other

    >>> with threads_for(100):
    ...     is_alone()
    True
    """
    return _no_lock if count >= SHARED else one_thread()


def is_alone() -> bool:
    """Whether the caller is within `one_thread`.

    >>> with one_thread():
    ...     is_alone()
    True
    """
    return _here.alone


def guard() -> AbstractContextManager:
    """The context in which a parallel kernel runs; calls queue up where Numba demands it.

    raises TinylmError  in a child process that was forked after our threads had started
    """
    if _state["forked"]:
        raise TinylmError(
            "This process was forked after tinylm's thread pool had started, and such a child "
            "cannot use it; start the process with multiprocessing's 'spawn' method instead."
        )
    if _here.alone and not _here.count:
        _here.count = _launch()
        numba.set_num_threads(1)
    if _state["layer"] in ("omp", "tbb"):
        return _no_lock
    return _first_call_or_workqueue()


@contextlib.contextmanager
def _first_call_or_workqueue():
    """Hold a lock: Numba's workqueue layer, its substitute for libgomp, aborts on two callers."""
    with _parallel_lock:
        _launch()
        yield
        _state["layer"] = _state["layer"] or numba.threading_layer()


def _after_fork():
    """In a forked child: note whether its parent had threads, which the child does not have."""
    _state["forked"] = _state["ran"]


load_openmp()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
