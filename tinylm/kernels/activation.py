"""Activation functions as rows inside other kernels, with their derivatives.

    relu    max(x, 0)               sigmoid  1/(1 + e^{−x})         gates of highway layers
    gelu    x Φ(x) = x/2 · (1 + erf(x/√2))                         BERT's first release, ELECTRA
    tanh form  x/2 · (1 + tanh(√(2/π)(x + 0.044715 x³)))            GPT-1, GPT-2, later BERT, XLNet

The compiled tanh form is x · σ(2√(2/π)(x + 0.044715 x³)), the same function with one exponential and nothing to cancel.
"""

import math

import numpy as np

from .elementary import erf, exp, logistic, tanh
from .runtime.registry import helper

ACTIVATIONS = {None: 0, "relu": 1, "gelu": 2, "gelu_tanh": 3, "tanh": 4, "sigmoid": 5}
ROOT_HALF, ROOT_2_PI, DENSITY = math.sqrt(0.5), math.sqrt(2 / math.pi), 1 / math.sqrt(2 * math.pi)
CUBIC = 0.044715


def _erf_array(x):
    """Error function of an array; SciPy's special functions take long to import, so only who needs them waits."""
    from scipy.special import erf

    return erf(x)


def activate_ref(x, act):
    """f(x) elementwise, float of any shape; `act` is one of ACTIVATIONS' numbers."""
    if act == 1:
        return np.maximum(x, 0)
    if act == 2:
        return 0.5 * x * (1 + _erf_array(x * ROOT_HALF))
    if act == 3:
        return 0.5 * x * (1 + np.tanh(ROOT_2_PI * (x + CUBIC * x**3)))
    if act == 5:
        small = np.exp(-np.abs(x))
        return np.where(x >= 0, 1, small) / (1 + small)
    return np.tanh(x) if act == 4 else x


def derivative_ref(x, act):
    """f'(x) elementwise; at relu's kink 0."""
    if act == 1:
        return (x > 0).astype(x.dtype)
    if act == 2:
        return 0.5 * (1 + _erf_array(x * ROOT_HALF)) + x * DENSITY * np.exp(-0.5 * x * x)
    if act == 3:
        t = np.tanh(ROOT_2_PI * (x + CUBIC * x**3))
        return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * ROOT_2_PI * (1 + 3 * CUBIC * x * x)
    if act == 5:
        y = activate_ref(x, act)
        return y * (1 - y)
    return 1 - np.tanh(x) ** 2 if act == 4 else np.ones_like(x)


@helper
def activate_row(row, slope, act):
    """slope = f'(row), then row = f(row) in place; one exponential serves both."""
    one, half, cubic = row.dtype.type(1), row.dtype.type(0.5), row.dtype.type(CUBIC)
    root_half, root, density = (
        row.dtype.type(ROOT_HALF),
        row.dtype.type(2 * ROOT_2_PI),
        row.dtype.type(DENSITY),
    )
    three = row.dtype.type(3)
    if act == 1:
        for j in range(row.size):
            x = row[j]
            slope[j] = one if x > 0 else row.dtype.type(0)
            row[j] = row.dtype.type(0) if x <= 0 else x  # NaN stays NaN
    elif act == 2:
        for j in range(row.size):
            x = row[j]
            area = half * (one + erf(x * root_half))
            slope[j] = area + x * density * exp(-half * x * x)
            row[j] = x * area
    elif act == 3:
        for j in range(row.size):
            x = row[j]
            s = logistic(root * (x + cubic * x * x * x))
            slope[j] = s + x * s * (one - s) * root * (one + three * cubic * x * x)
            row[j] = x * s
    elif act == 4:
        for j in range(row.size):
            t = tanh(row[j])
            slope[j] = one - t * t
            row[j] = t
    elif act == 5:
        for j in range(row.size):
            s = logistic(row[j])
            slope[j] = s * (one - s)
            row[j] = s
