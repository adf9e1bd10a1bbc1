"""Every kernel is registered beside the plain NumPy reference that defines it.

    @kernel(reference=softmax_ref, spec="x: float[R,C]; out: out[R,C]")
    def softmax(x, out): ...

A kernel takes arrays and scalars, and writes into arrays that its caller allocated. It compiles at
its first call. Under `TINYLM_BACKEND=numpy` the reference runs in its place and nothing is
compiled.

The `spec` says which arguments are legal, so one property test can hold every kernel to its
reference without further code. `parse_spec` explains its grammar.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass

import numba
import numpy as np

from tinylm.errors import BackendError

from . import cache, pool
from .build import build_elsewhere

# The full set would delete isfinite() and round the last elements of a vector loop differently.
FASTMATH = {"reassoc", "contract", "nsz"}
BACKEND = os.environ.get("TINYLM_BACKEND", "numba")
KERNELS: dict[str, "Kernel"] = {}

# Kind in a spec -> Numba's type: of a scalar (else int64), of an array's items (else the dtype).
SCALARS = {"rate": numba.float64, "real": numba.float64, "key": numba.uint64}
ITEMS = {
    "bool": numba.boolean,
    "ids": numba.int64,
    "outids": numba.int64,
    "double": numba.float64,
}
INTEGER = np.dtype(np.int64)

if BACKEND not in ("numba", "numpy"):
    raise BackendError(
        f"TINYLM_BACKEND is {BACKEND!r}; expected 'numba' (compiled, the default) "
        "or 'numpy' (references)."
    )
if numba.config.DISABLE_JIT:  # NUMBA_DISABLE_JIT=1 forbids compiling, so the references run
    BACKEND = "numpy"


@dataclass(frozen=True)
class Argument:
    """One argument of a kernel, as its spec describes it.

    dims : the names of an array's dimensions, None for a scalar
    bound : of `ids<V`, the dimension V
    optional : the array may be empty
    """

    name: str
    kind: str
    dims: tuple[str, ...] | None
    bound: str | None
    optional: bool


ARGUMENT = re.compile(r"(\w+): ([\w.]+)(?:<(\w+))?(?:\[(.*)\](\??))?")


def parse_spec(spec: str) -> tuple[Argument, ...]:
    """Read "name: kind[dims]; ..." into Arguments; a new line separates as well as a semicolon.

    Kinds of arrays, all C-contiguous:
        float     input
        inout     input, changed in place
        posinout  the same, and positive
        out       only written
        double    input, float64 in both precisions
        bool      input
        ids<V     input, integers in [0, V), V a dimension
        outids    int64, only written
    Kinds of scalars, which have no brackets:
        rate      a float in [0, 1)
        real      a positive float
        key       uint64
        a..b      an integer in that range
    A dimension is a name, a number, `(A|1)` (A or 1), a product such as `3*C`, or `T+1`. An array
    `[...]?` may also be empty.

    raises ValueError  if a part has another form

    >>> parse_spec("x: float[N,3*C]?")
    (Argument(name='x', kind='float', dims=('N', '3*C'), bound=None, optional=True),)
    >>> parse_spec("lr: real; ids: ids<V[N]")[1].bound
    'V'
    """
    arguments = []
    for piece in re.split("[;\n]", spec):
        part = piece.strip()
        if not part:
            continue
        match = ARGUMENT.fullmatch(part)
        if match is None:
            raise ValueError(f"kernel spec {part!r} is not of the form 'name: kind[dims]'")
        name, kind, bound, dims, optional = match.groups()
        names = None if dims is None else tuple(dims.split(","))
        arguments.append(Argument(name, kind, names, bound, optional == "?"))
    return tuple(arguments)


class Kernel:
    """A compiled function with its reference; TINYLM_BACKEND says which of the two a call runs."""

    def __init__(
        self, function: Callable, reference: Callable, spec: str, parallel: bool, alone: bool
    ):
        self.name = function.__name__
        self.function = function
        self.reference = reference
        self.arguments = parse_spec(spec)
        self.integer = all(a.dims is None or a.kind in ITEMS for a in self.arguments)
        self.parallel = parallel
        self.alone = alone
        self.dispatchers = {}  # (dtype, parallel) -> the version compiled for them
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__
        self.__module__ = function.__module__

    def __call__(self, *args):
        if BACKEND == "numpy":
            return self.reference(*args)
        return self.compiled(*args)

    def compiled(self, *args):
        """Run the version compiled for the first argument's dtype, whatever the backend."""
        dtype = INTEGER if self.integer else args[0].dtype
        parallel = self.parallel and not (self.alone and pool.is_alone())
        dispatcher = self.dispatchers.get((dtype, parallel)) or self._load(dtype, parallel)
        if not parallel:
            return dispatcher(*args)
        with pool.guard():
            return dispatcher(*args)

    def _load(self, dtype, parallel):
        """This version from the cache, where a child process puts it (see build.py)."""
        pool.start()
        if not cache.holds(self, dtype) and cache.announce():
            build_elsewhere(self.__module__, dtype, lambda: cache.holds(self, dtype))
        self.compile(dtype)
        return self.dispatchers[dtype, parallel]

    def serves(self, dtype: np.dtype) -> bool:
        """Whether there is a version for `dtype`: int64 if no array may be of floats, else floats.

        >>> from tinylm import kernels
        >>> kernels.merge.serves(INTEGER), kernels.linear.serves(INTEGER)
        (True, False)
        """
        return self.integer == (dtype == INTEGER)

    def compile(self, dtype: np.dtype) -> None:
        """Compile for `dtype`, or load from the cache, for the types in the spec.

        What the cache holds is used only if it is what was written there. If it fails all the same,
        or cannot be written, the kernel is compiled without it.
        """
        versions = [False, True] if self.alone else [self.parallel]
        place = cache.place_for(self, dtype)
        try:
            self._compile(dtype, versions, place)
        except Exception:
            if place is None:
                raise
            cache.forget(self, dtype)
            self._compile(dtype, versions, None)
        else:
            cache.keep(self, dtype, place)

    def _compile(self, dtype, versions, place):
        """Compile all versions.   place : the folder that keeps them, or None"""
        for parallel in versions:
            dispatcher = cache.dispatcher(self.function, place, parallel, FASTMATH)
            dispatcher.compile(self.signature(dtype))
            dispatcher.disable_compile()
            self.dispatchers[dtype, parallel] = dispatcher

    def signature(self, dtype: np.dtype) -> tuple:
        """Numba's types of the arguments; arrays are C-contiguous."""
        number = numba.from_dtype(dtype)
        types = []
        for argument in self.arguments:
            if argument.dims is None:
                types.append(SCALARS.get(argument.kind, numba.int64))
            else:
                item = ITEMS.get(argument.kind, number)
                types.append(numba.types.Array(item, len(argument.dims), "C"))
        return tuple(types)

    def __repr__(self):
        return f"<kernel {self.name}{' (parallel)' if self.parallel else ''}>"


def kernel(
    reference: Callable, spec: str, parallel: bool = False, alone: bool = False
) -> Callable[[Callable], Kernel]:
    """Register the decorated function as the compiled version of `reference` (see the top).

    parallel : its loops over `prange` are shared among threads
    alone : it is also compiled without threads, and within `pool.one_thread` that version runs:
        for a kernel so short that starting its loops takes a good part of its time
    raises ValueError  if there is a kernel of that name, or the spec cannot be read
    """

    def register(function):
        name = function.__name__
        if name in KERNELS:
            raise ValueError(f"there are two kernels named {name!r}")
        KERNELS[name] = Kernel(function, reference, spec, parallel, alone)
        return KERNELS[name]

    return register


def helper(function: Callable):
    """A small function called inside kernels: compiled together with the kernel that uses it."""
    return numba.njit(function, fastmath=FASTMATH, error_model="numpy")


def inlined(function: Callable):
    """A helper for one number, merged into the loop around it so that the loop vectorises."""
    return numba.njit(function, fastmath=FASTMATH, error_model="numpy", forceinline=True)
