"""Prove a gradient: compare the tape's derivative with a central difference, in float64, along random directions.

    ⟨w, f(x + εd) − f(x − εd)⟩ / 2ε   ≈   ⟨vjp(w), d⟩            w, d random

w is a random cotangent, never ones: Σ softmax(x) is constant, so a check through `.sum()` cannot see a wrong softmax.
"""

import numpy as np

from .errors import TinylmError
from .tensor import Tensor


class GradientError(TinylmError, AssertionError):
    """The analytic gradient disagrees with the numeric one; the message shows arrays and both values."""


def _outputs(f, arrays):
    """f's results for the arrays as a tuple of Tensors."""
    y = f(*[Tensor(a, requires_grad=True) for a in arrays])
    return y if isinstance(y, tuple | list) else (y,)


def _numeric(f, arrays, i, direction, cotangents, eps):
    """The contracted central difference with argument i moved along `direction`, at two step sizes (Richardson)."""

    def contracted(step):
        moved = [a + step * direction if j == i else a for j, a in enumerate(arrays)]
        return sum(
            float((w * y.data).sum()) for w, y in zip(cotangents, _outputs(f, moved), strict=True)
        )

    wide, narrow = ((contracted(e) - contracted(-e)) / (2 * e) for e in (eps, eps / 2))
    return (4 * narrow - wide) / 3


def check_grads(f, *arrays, rng=None, draws=3, eps=1e-4, tolerance=1e-6):
    """Check the gradient of f with respect to every array; returns None, or raises with the evidence.

    f : takes one Tensor per array, returns a Tensor or several     arrays : float arrays, used as float64
    rng : numpy Generator of the directions     draws : random directions and cotangents per argument
    tolerance : allowed |analytic − numeric| relative to the terms of the sum, a thousandth of f's values, and 1e-5
    raises GradientError  showing the argument, the arrays, the analytic and the numeric value
    """
    rng = rng or np.random.default_rng(0)
    arrays = [np.asarray(a, np.float64) for a in arrays]
    for _ in range(draws):
        inputs = [Tensor(a, requires_grad=True) for a in arrays]
        y = f(*inputs)
        ys = y if isinstance(y, tuple | list) else (y,)
        cotangents = [rng.normal(size=y.shape) for y in ys]
        contracted = sum(
            (y * w).sum() for y, w in zip(ys, cotangents, strict=True)
        )  # one backward: outputs share records
        if contracted.requires_grad:
            contracted.backward()
        size = sum(
            float(np.abs(w * y.data).sum()) for y, w in zip(ys, cotangents, strict=True)
        )  # as rounding errors grow
        for i, x in enumerate(inputs):
            direction = rng.normal(size=x.shape)
            numeric = _numeric(f, arrays, i, direction, cotangents, eps)
            terms = np.zeros(1) if x.grad is None else x.grad * direction
            analytic = float(terms.sum())
            scale = np.sqrt((terms * terms).sum()) + np.abs(numeric) + 1e-3 * size + 1e-5
            if not abs(analytic - numeric) <= tolerance * scale:
                raise GradientError(_report(i, arrays, x.grad, analytic, numeric))


def _report(i, arrays, grad, analytic, numeric):
    """The message of a failed check."""

    def show(a):
        return "None" if a is None else np.array2string(a, precision=4, threshold=20)

    shown = "\n".join(f"  argument {j}: {show(a)}" for j, a in enumerate(arrays))
    return (
        f"the gradient of argument {i} is wrong: along a random direction the tape says {analytic:.9g}, the central "
        f"difference {numeric:.9g}.\n{shown}\n  its gradient: {show(grad)}"
    )
