"""Every kernel is registered beside the plain NumPy reference that defines it.

    @kernel(reference=softmax_ref, spec="x: float[R,C]; out: out[R,C]")
    def softmax(x, out): ...

A kernel takes arrays and scalars and writes into arrays that its caller allocated. It compiles at its first call; under
`TINYLM_BACKEND=numpy` the reference runs in its place and nothing is compiled. The `spec` says which arguments are legal,
so that one property test can hold every kernel to its reference without further code (the grammar is in `parse_spec`).
"""

import os
import re
from dataclasses import dataclass

import numba

from . import cache, pool
from .build import build_elsewhere

FASTMATH = {
    "reassoc",
    "contract",
    "nsz",
}  # the full set would delete isfinite() and make vector tails differ
BACKEND = os.environ.get("TINYLM_BACKEND", "numba")
KERNELS: dict[str, "Kernel"] = {}

if BACKEND not in ("numba", "numpy"):
    raise ImportError(
        f"TINYLM_BACKEND is {BACKEND!r}; expected 'numba' (compiled, the default) or 'numpy' (references)."
    )


@dataclass(frozen=True)
class Argument:
    """One argument of a kernel as its spec names it: `kind` and, for arrays, the names of its dimensions."""

    name: str
    kind: str
    dims: tuple[str, ...] | None
    bound: str | None
    optional: bool


def parse_spec(spec):
    """Read "name: kind[dims]; ..." into Arguments.

    Array kinds: `float` (input), `inout` (input, changed in place), `posinout` (the same, positive), `out` (only
    written), `double` (input, float64 in both precisions), `bool`, `ids<V` (integers in [0, V), V a dimension),
    `outids` (int64, only written); `[...]?` may also be empty. Scalar kinds have no brackets: `rate` (in [0, 1)), `key`
    (uint64), `real` (a positive float), `a..b` (an integer in that range).
    A dimension is a name, a number, `(A|1)` (A or 1), a product such as `3*C`, or `T+1`. Arrays are C-contiguous.
    """
    arguments = []
    for part in filter(None, (piece.strip() for piece in spec.split(";"))):
        match = re.fullmatch(r"(\w+): ([\w.]+)(?:<(\w+))?(?:\[(.*)\](\??))?", part)
        if match is None:
            raise ValueError(f"kernel spec {part!r} is not of the form 'name: kind[dims]'")
        name, kind, bound, dims, optional = match.groups()
        arguments.append(
            Argument(
                name, kind, None if dims is None else tuple(dims.split(",")), bound, optional == "?"
            )
        )
    return tuple(arguments)


class Kernel:
    """A compiled function with its reference; calling it runs one of the two, as TINYLM_BACKEND says."""

    def __init__(self, function, reference, spec, parallel):
        self.name, self.function, self.reference = function.__name__, function, reference
        self.arguments, self.parallel = parse_spec(spec), parallel
        self.dispatchers = {}  # dtype -> the version compiled for it
        self.__doc__, self.__name__, self.__module__ = (
            function.__doc__,
            function.__name__,
            function.__module__,
        )

    def __call__(self, *args):
        if BACKEND == "numpy":
            return self.reference(*args)
        return self.compiled(*args)

    def compiled(self, *args):
        """Run the compiled version whatever the backend; the first argument's dtype says which one."""
        dispatcher = self.dispatchers.get(args[0].dtype) or self._load(args[0].dtype)
        if not self.parallel:
            return dispatcher(*args)
        with pool.guard():
            return dispatcher(*args)

    def _load(self, dtype):
        """The version for `dtype`, from the cache, where another process puts it first (build.py says why)."""
        pool.start()
        if not cache.holds(self, dtype) and cache.announce():
            build_elsewhere(self.__module__, dtype, lambda: cache.holds(self, dtype))
        return self.compile(dtype)

    def compile(self, dtype):
        """Compile for `dtype`, or load what is cached; exactly one version, for the types that the spec names."""
        dispatcher = cache.dispatcher(self.function, parallel=self.parallel, fastmath=FASTMATH)
        dispatcher.compile(self.signature(dtype))
        dispatcher.disable_compile()
        cache.mark(self, dtype)
        self.dispatchers[dtype] = dispatcher
        return dispatcher

    def signature(self, dtype):
        """Numba's types of the arguments; arrays are C-contiguous."""
        scalars = {"rate": numba.float64, "real": numba.float64, "key": numba.uint64}
        items = {
            "bool": numba.boolean,
            "ids": numba.int64,
            "outids": numba.int64,
            "double": numba.float64,
        }
        types = []
        for a in self.arguments:
            if a.dims is None:
                types.append(scalars.get(a.kind, numba.int64))
            else:
                types.append(
                    numba.types.Array(items.get(a.kind, numba.from_dtype(dtype)), len(a.dims), "C")
                )
        return tuple(types)

    def __repr__(self):
        return f"<kernel {self.name}{' (parallel)' if self.parallel else ''}>"


def kernel(reference, spec, parallel=False):
    """Register the decorated function as the compiled version of `reference`; see the module's docstring."""

    def register(function):
        if function.__name__ in KERNELS:
            raise ValueError(f"there are two kernels named {function.__name__!r}")
        KERNELS[function.__name__] = Kernel(function, reference, spec, parallel)
        return KERNELS[function.__name__]

    return register


def helper(function):
    """A small function called inside kernels: compiled together with the kernel that uses it."""
    return numba.njit(function, fastmath=FASTMATH, error_model="numpy")


def inlined(function):
    """A helper for one number: always merged into the loop around it, which could not be vectorised otherwise."""
    return numba.njit(function, fastmath=FASTMATH, error_model="numpy", forceinline=True)
