"""Demo 02: what does a kernel gain over the NumPy line that defines it?

Question: do the compiled linear + GELU and its reference agree, and how far?
Expected: their largest difference is below 1e-5 of the largest number in float32, and below 1e-14
in float64; one and two threads give the same bits. Time: 20 s, most of it compiling.
"""

# %% A kernel and its reference share a name, arguments and the arrays they write to
import time

import numpy as np

import tinylm
from tinylm.kernels import KERNELS

kernel = KERNELS["linear"]
rng = np.random.default_rng(0)
ROWS = 2048
C_IN = 128
C_OUT = 512
GELU = tinylm.kernels.ACTIVATIONS["gelu_tanh"]


def arguments(dtype):
    """The kernel's arguments, in its order; the last one takes the result."""
    x = rng.normal(size=(ROWS, C_IN)).astype(dtype)
    weight = rng.normal(size=(C_OUT, C_IN)).astype(dtype)
    bias = rng.normal(size=C_OUT).astype(dtype)
    no_residual = np.empty((0, 0), dtype)
    dropout = 0.1
    key = np.uint64(7)  # of dropout's draws
    slope = np.empty((ROWS, C_OUT), dtype)  # GELU's derivative, for the backward
    out = np.empty((ROWS, C_OUT), dtype)
    return x, weight, bias, no_residual, GELU, dropout, key, slope, out


# %% They agree to rounding, dropout included: both ask the same counter hash
worst = {}
for dtype in (np.float32, np.float64):
    args = arguments(dtype)
    kernel.compiled(*args)
    compiled = args[-1].copy()
    kernel.reference(*args)
    worst[dtype.__name__] = float(np.abs(compiled - args[-1]).max() / np.abs(args[-1]).max())
print("largest difference relative to the largest number:", worst)

# %% Threads only divide the rows among them, so they cannot change a bit
args = arguments(np.float32)
results = []
for threads in (1, min(2, tinylm.kernels.threads())):
    tinylm.set_threads(threads)
    kernel.compiled(*args)
    results.append(args[-1].copy())
same = np.array_equal(results[0].view(np.uint32), results[1].view(np.uint32))
print("same bits on one and two threads:", same)


# %% And the time, as a ratio; machines differ, so nothing is asserted about it
def milliseconds(run, repeats=9):
    """Median time of a call."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run(*args)
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times))


with tinylm.one_pool():
    fast = milliseconds(kernel.compiled)
    plain = milliseconds(kernel.reference)
print(f"compiled {fast:.1f} ms, reference {plain:.1f} ms: {plain / fast:.1f} times faster")

# %% Verdict
assert worst["float32"] < 1e-5 and worst["float64"] < 1e-14 and same
print("VERDICT: pass. One definition, two speeds, the same numbers.")
