"""exp, tanh, erf and the counter hash for kernels, written so that compiled loops vectorise.

Without Intel's SVML a compiled `np.exp` is a scalar call: it takes 2.0 ms for a million float32
numbers, the polynomial below 0.4 ms. For float64 we call the C library, which is exact to the last
bits, because gradients are proven in float64.
"""

import math

import numpy as np
from numba import float32 as f32
from numba.extending import overload

from .runtime.registry import helper, inlined

_f = np.float32


@inlined
def _exp32(x):
    """e^x = 2^n · e^r with an integer n and a polynomial for e^r, |r| ≤ ln 2 / 2.

    The relative error is 2e-7. NaN stays NaN. Below e^−80 = 2e-35 the result is 0: such values
    would lead to denormal numbers, which are a hundred times slower.
    """
    tiny = x < _f(-80)
    x = _f(-80) if tiny else x
    x = _f(88.3) if x > _f(88.3) else x
    n = np.floor(x * _f(1.44269504) + _f(0.5))
    # ln 2 = 0.693359375 − 2.1219444e-4. The first part has few digits, so n times it is exact.
    r = x - n * _f(0.693359375) + n * _f(2.12194440e-4)
    p = _f(1.9875691e-4)
    p = p * r + _f(1.3981999e-3)
    p = p * r + _f(8.3334519e-3)
    p = p * r + _f(4.1665796e-2)
    p = p * r + _f(1.6666666e-1)
    p = p * r + _f(0.5)
    p = p * r * r + r + _f(1)
    exponent = np.int32(n) + np.int32(127)
    bits = np.int32(exponent << np.int32(23))  # the bits of the float 2^n
    y = p * bits.view(np.float32)
    return _f(0) if tiny else y


@inlined
def _tanh32(x):
    """tanh x = 1 − 2/(e^{2|x|} + 1) with the sign of x; near 0, where that cancels, a series."""
    a = abs(x)
    a = _f(9) if a > _f(9) else a
    square = x * x
    series = _f(2 / 15) - square * _f(17 / 315)
    series = _f(1 / 3) - square * series
    series = x * (_f(1) - square * series)
    e = _exp32(_f(2) * a)
    large = _f(1) - _f(2) / (e + _f(1))
    large = -large if x < _f(0) else large
    return series if a < _f(0.2) else large


@inlined
def _erf32(x):
    """erf x = x · p(x²)/q(x²) on [−4, 4], a minimax approximation; beyond, erf is ±1 in float32."""
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


@inlined
def _sortable(bits):
    """Flip the lower 31 bits of a negative float32's bits, so that floats sort like integers.

    The same call turns them back.
    """
    return bits ^ ((bits >> np.int32(31)) & np.int32(0x7FFFFFFF))


@helper
def _largest32(row):
    """The largest float32 of a contiguous row, found as the largest integer of `_sortable` bits.

    An integer maximum vectorises; a float maximum that must keep NaN does not (0.15 against 1.0 ns
    a number).
    """
    top = np.int32(-2147483648)
    bits = row.view(np.int32)
    for j in range(bits.size):
        top = max(top, np.int32(_sortable(bits[j])))
    return np.int32(_sortable(top)).view(np.float32)


@helper
def _largest64(row):
    """The largest float64 of a row, NaN if there is one."""
    top = -np.inf
    for j in range(row.size):
        top = row[j] if not row[j] <= top and not np.isnan(top) else top
    return top


def largest(row: np.ndarray) -> float:
    """The largest entry of a contiguous row (N,), NaN if it holds a NaN whose sign bit is 0.

    >>> float(largest(np.array([1.0, 3.0, 2.0])))
    3.0
    """
    return row.max()


@overload(largest)
def _largest(row):
    if row.dtype == f32:
        return lambda row: _largest32(row)
    return lambda row: _largest64(row)


def exp(x: float) -> float:
    """e^x of a float scalar, in its type; in float32 0 for x < −80 and constant for x > 88.3.

    >>> exp(0.0)
    1.0
    """
    return math.exp(x)


def tanh(x: float) -> float:
    """Hyperbolic tangent of a float scalar, in its type.

    >>> round(tanh(0.5), 4)
    0.4621
    """
    return math.tanh(x)


def erf(x: float) -> float:
    """Error function of a float scalar, in its type.

    >>> round(erf(1.0), 4)
    0.8427
    """
    return math.erf(x)


def _compile_as(function, single):
    """Make compiled calls of `function` use `single` for float32 and the C library otherwise."""
    double = getattr(math, function.__name__)

    def choose(x):
        if x == f32:
            return lambda x: single(x)
        return lambda x: double(x)

    overload(function)(choose)


_compile_as(exp, _exp32)
_compile_as(tanh, _tanh32)
_compile_as(erf, _erf32)


@inlined
def logistic(x):
    """σ(x) = 1/(1 + e^{−x}), at least σ(−60) = 10^{−26} to avoid slow denormal numbers.

    NaN stays NaN.

    >>> logistic.py_func(0.0)
    0.5
    """
    one = type(x)(1)
    least = type(x)(-60)
    x = least if x < least else x
    return one / (one + exp(-x))


@inlined
def hash32(index, key):
    """32 bits that look random, made from a counter and a uint64 key.

    They depend on nothing else, so threads may compute them in any order.
    """
    x = np.uint32(index) ^ np.uint32(key)
    x = np.uint32(x ^ (x >> np.uint32(16)))
    x = np.uint32(x * np.uint32(0x7FEB352D))
    x = np.uint32(x + np.uint32(key >> np.uint64(32)))
    x = np.uint32(x ^ (x >> np.uint32(15)))
    x = np.uint32(x * np.uint32(0x846CA68B))
    return np.uint32(x ^ (x >> np.uint32(16)))


def hash32_ref(index: np.ndarray, key: int) -> np.ndarray:
    """`hash32` for an array of counters of any shape: returns uint32 of that shape.

    >>> [f"{h:08x}" for h in hash32_ref(np.arange(3), key=1)]
    ['688990c0', '00000000', '53f1e9dd']
    """
    key = np.uint64(key)
    low = np.uint32(key & np.uint64(0xFFFFFFFF))
    high = np.uint32(key >> np.uint64(32))
    x = index.astype(np.uint32) ^ low
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
    x = x + high
    x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))


@inlined
def kept(index, key, threshold):
    """True when element number `index` survives dropout with threshold = rate · 2^32."""
    return hash32(index, key) >= threshold


@inlined
def threshold_of(rate):
    """The bound on 32-bit hashes below which an element is dropped, for a rate in [0, 1).

    >>> int(threshold_of.py_func(0.5)) == 2**31
    True
    """
    return np.uint32(rate * 4294967296.0)


def kept_ref(indices: np.ndarray, key: int, rate: float) -> np.ndarray:
    """`kept` for an array of element numbers: returns bool of the same shape.

    >>> kept_ref(np.arange(8), key=1, rate=0.5).astype(int)
    array([0, 0, 0, 1, 0, 1, 1, 1])
    """
    return hash32_ref(indices, key) >= np.uint32(rate * 4294967296.0)
