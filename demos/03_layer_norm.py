"""Demo 03: how does an equation become a fast kernel?

Question: a ladder leads from the equation of layer norm to tinylm/kernels/layer_norm.py. What does
each of its rungs change, and do all give the same numbers?
Expected: in float32 every rung is within 1e-5 of the reference, relative to its largest number; in
float64 the gradient is within 1e-6 of a numeric derivative; one and two threads give the same bits.
Time: 10 s, most of it compiling.
"""

# %% The equation, as an array language says it: this is the reference, and the second rung
import math
import time

import numpy as np
from numba import njit, prange

import tinylm
from tinylm.kernels import KERNELS

rng = np.random.default_rng(0)
N = 4096  # rows
C = 256  # numbers in each
EPS = 1e-5
BLOCK = 64  # rows that a thread takes at once
x, dy = rng.normal(size=(2, N, C)).astype(np.float32)
weight, bias = rng.normal(size=(2, C)).astype(np.float32)


def in_numpy(x, weight, bias, out):
    """y = (x − mean)/√(var + ε)·w + b; every operation reads and writes a whole array."""
    centred = x - x.mean(axis=1, keepdims=True)
    out[...] = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + EPS) * weight + bias


# %% Rung 1: as a person would do it, number by number, in Python
def in_python(x, weight, bias, out):
    """One row after another, one number after another."""
    for i, row in enumerate(x.tolist()):
        mean = sum(row) / len(row)
        rstd = 1 / math.sqrt(sum((value - mean) ** 2 for value in row) / len(row) + EPS)
        out[i] = [
            (value - mean) * rstd * w + b
            for value, w, b in zip(row, weight.tolist(), bias.tolist(), strict=True)
        ]


# %% Rung 3: the same loops compiled. A row stays in the cache while it is read three times
def rows(x, weight, bias, out, start, stop):
    """Layer norm of the rows from start to stop, with numbers of x's own precision."""
    share = x.dtype.type(1) / x.dtype.type(x.shape[1])
    for i in range(start, stop):
        total = x.dtype.type(0)
        for j in range(x.shape[1]):
            total += x[i, j]
        mean = total * share
        square = x.dtype.type(0)
        for j in range(x.shape[1]):
            square += (x[i, j] - mean) * (x[i, j] - mean)
        rstd = x.dtype.type(1 / np.sqrt(square * share + EPS))
        for j in range(x.shape[1]):
            out[i, j] = (x[i, j] - mean) * rstd * weight[j] + bias[j]


strict_rows = njit(rows)


@njit
def compiled(x, weight, bias, out):
    """Sums in the order in which they are written: each addition waits for the one before."""
    strict_rows(x, weight, bias, out, 0, len(x))


# %% Rung 4: sums in any order (NaN still counts): the processor adds 8 or 16 numbers at once
free_rows = njit(rows, fastmath={"reassoc", "contract", "nsz"}, error_model="numpy")


@njit
def vectorised(x, weight, bias, out):
    """The same loops."""
    free_rows(x, weight, bias, out, 0, len(x))


# %% Rung 5: threads take blocks of 64 rows, whose bounds depend on the shape alone
@njit(parallel=True)
def parallel(x, weight, bias, out):
    """The same loops, block by block."""
    for block in prange((len(x) + BLOCK - 1) // BLOCK):
        free_rows(x, weight, bias, out, block * BLOCK, min(block * BLOCK + BLOCK, len(x)))


# %% Climb
def timed(run, *args):
    """Best of several runs in milliseconds, after one that compiles."""
    run(*args)
    times = []
    while len(times) < 3 or (sum(times) < 0.3 and len(times) < 50):
        start = time.perf_counter()
        run(*args)
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)


def library(x, weight, bias, out):
    """What tinylm runs; it also keeps mean and rstd for the backward."""
    KERNELS["layer_norm"].compiled(x, weight, bias, EPS, kept[0], kept[1], out)


kept = np.empty((2, N), np.float32)  # mean and rstd
expected = np.empty((N, C))
before = None
worst = 0.0
in_numpy(x.astype(float), weight.astype(float), bias.astype(float), expected)
with tinylm.one_pool():
    for rung in (in_python, in_numpy, compiled, vectorised, parallel, library):
        out = np.full_like(x, np.nan)
        ms = timed(rung, x, weight, bias, out)
        error = float(np.abs(out - expected).max() / np.abs(expected).max())
        worst = max(worst, error)
        gain = "" if before is None else f"{before / ms:6.1f} times the rung before"
        print(f"{rung.__name__:>12}: {ms:9.3f} ms   error {error:.0e}   {gain}")
        before = ms

# %% Threads change no bit
bits = []
for threads in (1, min(2, tinylm.kernels.threads())):
    tinylm.set_threads(threads)
    out = np.empty_like(x)
    parallel(x, weight, bias, out)
    bits.append(out.tobytes())

# %% The backward: with x̂ the normalised x and g = dy·w,  dx = rstd·(g − mean(g) − x̂·mean(g·x̂)).
# The row's mean and variance take the two means back. dw and db are sums over all rows, which
# threads may not share: each block has its own, and these are added in order
x, dy, weight, bias = (array.astype(float) for array in (x, dy, weight, bias))
mean = x.mean(axis=1)
rstd = 1 / np.sqrt(x.var(axis=1) + EPS)
gradients = [np.empty((N, C)), np.empty(C), np.empty(C)]  # dx, dw, db
KERNELS["layer_norm_backward"].compiled(dy, x, weight, mean, rstd, *gradients)
directions = [rng.normal(size=g.shape) for g in gradients]


def contracted(step):
    """⟨dy, y⟩ with x, w and b moved by `step` along their directions."""
    out = np.empty((N, C))
    moved = [a + step * d for a, d in zip((x, weight, bias), directions, strict=True)]
    in_numpy(*moved, out)
    return (out * dy).sum()


numeric = (contracted(1e-5) - contracted(-1e-5)) / 2e-5
analytic = sum(float((g * d).sum()) for g, d in zip(gradients, directions, strict=True))
print(f"along a random direction: numeric {numeric:.6f}, analytic {analytic:.6f}")

# %% Verdict
assert worst < 1e-5 and bits[0] == bits[1]
assert abs(numeric - analytic) < 1e-6 * abs(numeric)
print("VERDICT: pass. Six rungs, one equation, the same numbers.")
