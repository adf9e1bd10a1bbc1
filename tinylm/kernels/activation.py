"""Activation functions as rows inside other kernels, with their derivatives.

    relu       max(x, 0)
    tanh       (e^x − e^{−x})/(e^x + e^{−x})                    BERT's pooler
    sigmoid    1/(1 + e^{−x})                                   the gates of highway layers
    gelu       x Φ(x) = x/2 · (1 + erf(x/√2))                   BERT's first release, ELECTRA
    gelu_tanh  x/2 · (1 + tanh(√(2/π)(x + 0.044715 x³)))        GPT-1, GPT-2, later BERT, XLNet
    silu       x · σ(x), also called swish                      an option of GPT-1

The compiled gelu_tanh computes x · σ(2√(2/π)(x + 0.044715 x³)): the same function with one
exponential and no cancellation.
"""

import math

import numpy as np

from .elementary import erf, exp, logistic, tanh
from .runtime.registry import helper

ACTIVATIONS = {  # name -> the number by which kernels know it
    None: 0,
    "relu": 1,
    "gelu": 2,
    "gelu_tanh": 3,
    "tanh": 4,
    "sigmoid": 5,
    "silu": 6,
}
ROOT_HALF = math.sqrt(0.5)
ROOT_2_PI = math.sqrt(2 / math.pi)
DENSITY = 1 / math.sqrt(2 * math.pi)  # of the normal distribution at 0
CUBIC = 0.044715


def _erf_array(x):
    """Error function of an array; SciPy's special functions load slowly, so we import them late."""
    from scipy.special import erf

    return erf(x)


def _gelu_tanh_inner(x):
    """√(2/π)(x + 0.044715 x³), the argument of the tanh."""
    return ROOT_2_PI * (x + CUBIC * x**3)


def activate_ref(x: np.ndarray, act: int) -> np.ndarray:
    """f(x) elementwise, float of any shape; `act` is one of ACTIVATIONS' numbers.

    >>> activate_ref(np.array([-1.0, 2.0]), ACTIVATIONS["relu"])
    array([0., 2.])
    """
    if act == 1:  # relu
        return np.maximum(x, 0)
    if act == 2:  # gelu
        return 0.5 * x * (1 + _erf_array(x * ROOT_HALF))
    if act == 3:  # gelu_tanh
        return 0.5 * x * (1 + np.tanh(_gelu_tanh_inner(x)))
    if act == 4:  # tanh
        return np.tanh(x)
    if act == 5:  # sigmoid; e^{−|x|} never overflows
        small = np.exp(-np.abs(x))
        return np.where(x >= 0, 1, small) / (1 + small)
    if act == 6:  # silu
        return x * activate_ref(x, ACTIVATIONS["sigmoid"])
    return x


def derivative_ref(x: np.ndarray, act: int) -> np.ndarray:
    """f'(x) elementwise; at relu's kink 0.

    >>> derivative_ref(np.array([-1.0, 2.0]), ACTIVATIONS["relu"])
    array([0., 1.])
    """
    if act == 1:  # relu
        return (x > 0).astype(x.dtype)
    if act == 2:  # gelu
        area = 0.5 * (1 + _erf_array(x * ROOT_HALF))
        rise = x * DENSITY * np.exp(-0.5 * x * x)
        return area + rise
    if act == 3:  # gelu_tanh
        t = np.tanh(_gelu_tanh_inner(x))
        rise = 0.5 * x * (1 - t * t) * ROOT_2_PI
        return 0.5 * (1 + t) + rise * (1 + 3 * CUBIC * x * x)
    if act == 4:  # tanh
        return 1 - np.tanh(x) ** 2
    if act == 5:  # sigmoid
        y = activate_ref(x, act)
        return y * (1 - y)
    if act == 6:  # silu
        s = activate_ref(x, ACTIVATIONS["sigmoid"])
        return s + x * s * (1 - s)
    return np.ones_like(x)


@helper
def activate_row(row, slope, act):
    """slope = f'(row), then row = f(row) in place; one exponential serves both."""
    number = row.dtype.type
    zero = number(0)
    one = number(1)
    half = number(0.5)
    three = number(3)
    cubic = number(CUBIC)
    root_half = number(ROOT_HALF)
    root = number(2 * ROOT_2_PI)
    density = number(DENSITY)
    if act == 1:  # relu
        for j in range(row.size):
            x = row[j]
            slope[j] = one if x > 0 else zero
            row[j] = zero if x <= 0 else x  # NaN stays NaN
    elif act == 2:  # gelu
        for j in range(row.size):
            x = row[j]
            area = half * (one + erf(x * root_half))
            slope[j] = area + x * density * exp(-half * x * x)
            row[j] = x * area
    elif act == 3:  # gelu_tanh
        for j in range(row.size):
            x = row[j]
            s = logistic(root * (x + cubic * x * x * x))
            inner_slope = one + three * cubic * x * x
            slope[j] = s + x * s * (one - s) * root * inner_slope
            row[j] = x * s
    elif act == 4:  # tanh
        for j in range(row.size):
            t = tanh(row[j])
            slope[j] = one - t * t
            row[j] = t
    elif act == 5:  # sigmoid
        for j in range(row.size):
            s = logistic(row[j])
            slope[j] = s * (one - s)
            row[j] = s
    elif act == 6:  # silu
        for j in range(row.size):
            x = row[j]
            s = logistic(x)
            slope[j] = s + x * s * (one - s)
            row[j] = x * s
