"""One thread pool: matrix products run inside Numba's threads, never in a second pool beside them.

Two pools that wait actively for work (OpenBLAS' and Numba's) spin against each other and cost a factor of five. So SciPy's
BLAS, which compiled `np.dot` calls, always has one thread and is called inside `prange`; NumPy's own BLAS, which users call
between our steps, keeps its threads except inside `one_pool()`.

A thread of libgomp that waits for work spins for some milliseconds before it sleeps. On a busy
machine it takes those from the very thread that it waits for. Ours spin a thirtieth of that: longer
than the pauses within a step, so that an idle machine is as fast as before, and short enough that
a core soon is free for whoever can work.
"""

import contextlib
import ctypes
import importlib
import os
import sys
import threading
from pathlib import Path

import numba
from threadpoolctl import ThreadpoolController

from tinylm.errors import TinylmError

SPINS = "10000"  # of a waiting thread before it sleeps; libgomp's own number is 300,000
WAITING = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")  # how libgomp is told, once, when it is loaded

_state = {
    "started": False,
    "numpy": (),
    "layer": None,
    "forked": False,
    "ran": False,
    "users": 0,
    "counts": (),
}
_start_lock = threading.Lock()
_parallel_lock = threading.RLock()
_free = contextlib.nullcontext()


def load_openmp():
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


def start():
    """Load SciPy's BLAS and limit it to one thread (once; called before the first kernel)."""
    with _start_lock:
        if _state["started"]:
            return
        import scipy.linalg.cython_blas  # noqa: F401  (compiled np.dot calls into it)

        libraries = _blas()
        numpys = [
            x for x in libraries if {"numpy.libs", "numpy"} & set(Path(x.filepath).parts[-3:-1])
        ]
        for library in libraries:  # one shared BLAS (conda, Accelerate) is limited for everybody
            if library not in numpys:
                library.set_num_threads(1)
        _state["numpy"] = tuple(numpys)
        _keep_freed_memory()
        _state["started"] = True


def _keep_freed_memory():
    """Tell glibc's malloc to keep what is freed instead of giving it back to the system (elsewhere: nothing).

    A training step frees and asks for the same megabytes again and again; given back, each page costs a fault at its next
    use, a quarter of the step's time on a virtual machine. Peak memory stays the same.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # not Linux, or another C library
        return
    trim_threshold, top_pad, mmap_max = -1, -2, -4  # names of malloc.h
    mallopt(mmap_max, 0)
    mallopt(trim_threshold, 2**31 - 1)
    mallopt(top_pad, 2**24)


def _blas():
    """Controllers of the BLAS libraries loaded now."""
    return [x for x in ThreadpoolController().lib_controllers if x.user_api == "blas"]


@contextlib.contextmanager
def one_pool():
    """Within this context NumPy's own matrix products use one thread, so that they do not fight with our pool.

    Trainer, the commands and the benchmarks use it; so should a hand-written loop that calls NumPy between steps.
    When the last of several that overlap ends, NumPy's thread count is what it was before the first.
    """
    start()
    _count_users(1)
    try:
        yield
    finally:
        _count_users(-1)


def _count_users(change):
    """Note that a user of `one_pool` has come or gone; the first limits NumPy's BLAS, the last restores it."""
    with _start_lock:
        before, _state["users"] = _state["users"], _state["users"] + change
        if not before:
            _state["counts"] = [library.num_threads for library in _state["numpy"]]
        if not before or not _state["users"]:
            for library, count in zip(_state["numpy"], _state["counts"], strict=True):
                library.set_num_threads(count if before else 1)


def set_threads(count):
    """Use `count` threads (1 ≤ count ≤ the number Numba started with) in all parallel kernels that this thread calls.

    raises TinylmError  if there are not that many threads
    """
    if not 1 <= count <= numba.config.NUMBA_NUM_THREADS:
        raise TinylmError(
            f"{count} threads were asked for; expected 1 to {numba.config.NUMBA_NUM_THREADS}, "
            "the number of cores (set NUMBA_NUM_THREADS before the start to have more)."
        )
    _state["ran"] = True  # Numba starts its threads here
    numba.set_num_threads(count)


def threads():
    """Number of threads that parallel kernels use now."""
    _state["ran"] = True  # this starts them too
    return numba.get_num_threads()


@contextlib.contextmanager
def one_thread():
    """Within this context the parallel kernels that this thread calls run on it alone.

    For work too small to share, such as reading one token: nothing is gained by a second thread,
    and on a busy machine every kernel would wait until that thread gets a core. The bits are the
    same: no kernel's blocks depend on the number of threads.
    """
    before = threads()
    numba.set_num_threads(1)
    try:
        yield
    finally:
        numba.set_num_threads(before)


def guard():
    """Context for a parallel kernel: refuses a forked child, and serialises calls where the threading layer demands it."""
    if _state["forked"]:
        raise TinylmError(
            "This process was forked after tinylm's thread pool had started, and such a child cannot use "
            "it; start the process with multiprocessing's 'spawn' method instead."
        )
    if _state["layer"] in ("omp", "tbb"):
        return _free
    return _first_call_or_workqueue()


@contextlib.contextmanager
def _first_call_or_workqueue():
    """Hold a lock: Numba's workqueue layer (used without libgomp) aborts when two threads enter it."""
    with _parallel_lock:
        _state["ran"] = True
        yield
        _state["layer"] = _state["layer"] or numba.threading_layer()


def _after_fork():
    _state["forked"] = _state["ran"]


load_openmp()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
