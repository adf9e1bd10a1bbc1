"""exp, tanh, erf and the counter hash for use inside kernels, written so that compiled loops vectorise.

Without Intel's SVML a compiled `np.exp` is a scalar call: 2.0 ms per million float32, the polynomial below 0.4 ms.
float64 takes the C library's functions, exact to the last bits, because proofs run in float64.
"""

import math

import numpy as np
from numba import float32 as f32
from numba.extending import overload

from .runtime.registry import helper, inlined

_f = np.float32


@inlined
def _exp32(x):
    """e^x = 2^n · e^r, n an integer, e^r a polynomial (|r| ≤ ln 2 / 2); relative error 2e-7; NaN stays NaN.

    Below e^−80 = 2e-35 it is 0: the denormal numbers that come of such values would be a hundred times slower.
    """
    tiny = x < _f(-80)
    x = _f(-80) if tiny else x
    x = _f(88.3) if x > _f(88.3) else x
    n = np.floor(x * _f(1.44269504) + _f(0.5))
    r = (
        x - n * _f(0.693359375) + n * _f(2.12194440e-4)
    )  # ln 2 in two parts, so that n·ln 2 is exact
    p = _f(1.9875691e-4)
    p = p * r + _f(1.3981999e-3)
    p = p * r + _f(8.3334519e-3)
    p = p * r + _f(4.1665796e-2)
    p = p * r + _f(1.6666666e-1)
    p = p * r + _f(0.5)
    p = p * r * r + r + _f(1)
    y = p * np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(
        np.float32
    )  # 2^n by its exponent bits
    return _f(0) if tiny else y


@inlined
def _tanh32(x):
    """tanh x = 1 − 2/(e^{2|x|} + 1) with x's sign; near 0, where that cancels, its series."""
    a = abs(x)
    a = _f(9) if a > _f(9) else a
    square = x * x
    series = x * (_f(1) - square * (_f(1 / 3) - square * (_f(2 / 15) - square * _f(17 / 315))))
    large = _f(1) - _f(2) / (_exp32(_f(2) * a) + _f(1))
    large = -large if x < _f(0) else large
    return series if a < _f(0.2) else large


@inlined
def _erf32(x):
    """erf x = x · p(x²)/q(x²) on [−4, 4], a rational minimax approximation; beyond that it is ±1 in float32."""
    x = _f(-4) if x < _f(-4) else x
    x = _f(4) if x > _f(4) else x
    s = x * x
    p = _f(-2.72614225801306e-10)
    p = p * s + _f(2.77068142495902e-08)
    p = p * s + _f(-2.10102402082508e-06)
    p = p * s + _f(-5.69250639462346e-05)
    p = p * s + _f(-7.34990630326855e-04)
    p = p * s + _f(-2.95459980854025e-03)
    p = p * s + _f(-1.60960333262415e-02)
    q = _f(-1.45660718464996e-05)
    q = q * s + _f(-2.13374055278905e-04)
    q = q * s + _f(-1.68282697438203e-03)
    q = q * s + _f(-7.37332916720468e-03)
    q = q * s + _f(-1.42647390514189e-02)
    return x * p / q


@helper
def _largest32(row):
    """Largest float32 of a contiguous row by its bits: flipping a negative number's lower bits sorts floats like integers.

    An integer maximum vectorises, a float maximum that must keep NaN does not (0.15 against 1.0 ns a number).
    """
    top = np.int32(-2147483648)
    bits = row.view(np.int32)
    for j in range(bits.size):
        top = max(top, np.int32(bits[j] ^ ((bits[j] >> np.int32(31)) & np.int32(0x7FFFFFFF))))
    return np.int32(top ^ ((top >> np.int32(31)) & np.int32(0x7FFFFFFF))).view(np.float32)


@helper
def _largest64(row):
    """Largest float64 of a row, NaN if there is one."""
    top = -np.inf
    for j in range(row.size):
        top = row[j] if not row[j] <= top and not np.isnan(top) else top
    return top


def largest(row):
    """The largest entry of a contiguous row, NaN if it holds one (with a positive sign)."""
    return row.max()


@overload(largest)
def _largest(row):
    if row.dtype == f32:
        return lambda row: _largest32(row)
    return lambda row: _largest64(row)


def exp(x):
    """e^x of a float scalar, in its type; float32: 0 below e^−80, and it grows no more above e^88.3 = 2e38."""
    return math.exp(x)


def tanh(x):
    """Hyperbolic tangent of a float scalar, in its type."""
    return math.tanh(x)


def erf(x):
    """Error function of a float scalar, in its type."""
    return math.erf(x)


def _typed(function, single):
    """Compiled calls of `function` take `single` for float32 and the C library's function otherwise."""
    double = getattr(math, function.__name__)
    overload(function)(lambda x: (lambda x: single(x)) if x == f32 else (lambda x: double(x)))


for _function, _single in ((exp, _exp32), (tanh, _tanh32), (erf, _erf32)):
    _typed(_function, _single)


@inlined
def logistic(x):
    """σ(x) = 1/(1 + e^{−x}), not below σ(−60) = 10^{−26}: denormal numbers would cost a hundred times more."""
    x = type(x)(-60) if x < type(x)(-60) else x  # NaN stays NaN
    return type(x)(1) / (type(x)(1) + exp(-x))


@inlined
def hash32(index, key):
    """32 bits from a counter and a uint64 key: as good as random, and the same in any order and on any thread."""
    x = np.uint32(index) ^ np.uint32(key)
    x = np.uint32(np.uint32(x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D))
    x = np.uint32(x + np.uint32(key >> np.uint64(32)))
    x = np.uint32(np.uint32(x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B))
    return np.uint32(x ^ (x >> np.uint32(16)))


def hash32_ref(index, key):
    """`hash32` for an array of counters of any shape: returns uint32 of that shape."""
    key = np.uint64(key)
    x = index.astype(np.uint32) ^ np.uint32(key & np.uint64(0xFFFFFFFF))
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
    x = x + np.uint32(key >> np.uint64(32))
    x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))


@inlined
def kept(index, key, threshold):
    """True when element `index` survives dropout: hash32(index, key) ≥ threshold = rate · 2^32."""
    return hash32(index, key) >= threshold


@inlined
def threshold_of(rate):
    """The dropout rate in [0, 1) as a bound on 32-bit hashes."""
    return np.uint32(rate * 4294967296.0)


def kept_ref(indices, key, rate):
    """`kept` for an array of element numbers: returns bool of the same shape."""
    return hash32_ref(indices, key) >= np.uint32(rate * 4294967296.0)
