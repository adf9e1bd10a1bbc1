"""Arithmetic and elementwise functions. Each op: forward, vjp with its equation, one record.

The first line of a docstring is the forward and, after three spaces or on the second line, the
gradient; the table in docs/ops.md is made from it.
"""

import numpy as np
from numpy.typing import ArrayLike

from tinylm.errors import ArgumentError
from tinylm.kernels import ACTIVATIONS, activate_ref, derivative_ref
from tinylm.tensor import Tensor, record

from .registry import Operand, check_broadcast, op, pair, tensor


@op
def add(a: Operand, b: Operand) -> Tensor:
    """a + b, broadcast.   da = dy, db = dy

    >>> add([1, 2], 10)
    Tensor([11. 12.])
    """
    a, b = pair("add", a, b)
    y = a.data + b.data
    return record("add", y, (a, b), lambda dy: (dy, dy))


@op
def sub(a: Operand, b: Operand) -> Tensor:
    """a − b, broadcast.   da = dy, db = −dy"""
    a, b = pair("sub", a, b)
    y = a.data - b.data
    return record("sub", y, (a, b), lambda dy: (dy, -dy))


@op
def mul(a: Operand, b: Operand) -> Tensor:
    """a · b elementwise, broadcast.   da = dy·b, db = dy·a"""
    a, b = pair("mul", a, b)

    def vjp(dy):
        da = dy * b.data
        db = dy * a.data
        return da, db

    y = a.data * b.data
    return record("mul", y, (a, b), vjp)


@op
def div(a: Operand, b: Operand) -> Tensor:
    """a / b elementwise, broadcast.   da = dy/b, db = −dy·a/b²"""
    a, b = pair("div", a, b)

    def vjp(dy):
        da = dy / b.data
        square_b = b.data * b.data
        db = -dy * a.data / square_b
        return da, db

    y = a.data / b.data
    return record("div", y, (a, b), vjp)


@op
def neg(x: Operand) -> Tensor:
    """−x of any shape.   dx = −dy"""
    x = tensor(x)
    y = -x.data
    return record("neg", y, (x,), lambda dy: (-dy,))


@op
def power(x: Operand, exponent: float) -> Tensor:
    """x ** exponent for a constant number.   dx = dy · exponent · x^(exponent − 1), shape of x

    raises ArgumentError  if the exponent is a Tensor

    >>> power([1, 2, 3], 2)
    Tensor([1. 4. 9.])
    """
    if isinstance(exponent, Tensor):
        raise ArgumentError(
            "power: the exponent is a Tensor, which would get no gradient; "
            "use exp(exponent * log(x))."
        )
    x = tensor(x)
    exponent = float(exponent)

    def vjp(dy):
        if exponent == 0:  # x⁻¹ may be infinite, and ∞·0 is NaN
            return (np.zeros_like(x.data),)
        slope = exponent * x.data ** (exponent - 1)
        return (dy * slope,)

    y = x.data**exponent
    return record("power", y, (x,), vjp)


@op
def square(x: Operand) -> Tensor:
    """x² of any shape.   dx = 2·x·dy"""
    x = tensor(x)
    y = x.data * x.data
    return record("square", y, (x,), lambda dy: (2 * x.data * dy,))


@op
def sqrt(x: Operand) -> Tensor:
    """√x of any shape, x ≥ 0.   dx = dy/(2√x)"""
    x = tensor(x)
    y = np.sqrt(x.data)
    return record("sqrt", y, (x,), lambda dy: (dy / (2 * y),))


@op
def exp(x: Operand) -> Tensor:
    """eˣ of any shape.   dx = dy·y"""
    x = tensor(x)
    y = np.exp(x.data)
    return record("exp", y, (x,), lambda dy: (dy * y,))


@op
def log(x: Operand) -> Tensor:
    """Natural logarithm of any shape, x > 0.   dx = dy/x"""
    x = tensor(x)
    y = np.log(x.data)
    return record("log", y, (x,), lambda dy: (dy / x.data,))


@op
def abs(x: Operand) -> Tensor:
    """|x| of any shape.   dx = dy·sign(x), 0 at 0"""
    x = tensor(x)
    y = np.abs(x.data)
    return record("abs", y, (x,), lambda dy: (dy * np.sign(x.data),))


@op
def tanh(x: Operand) -> Tensor:
    """Hyperbolic tangent of any shape.   dx = dy·(1 − y²)"""
    x = tensor(x)
    y = np.tanh(x.data)
    return record("tanh", y, (x,), lambda dy: (dy * (1 - y * y),))


@op
def sigmoid(x: Operand) -> Tensor:
    """1/(1 + e^{−x}) of any shape, without overflow.   dx = dy·y·(1 − y)

    >>> sigmoid([0.0, 1000.0, -1000.0])
    Tensor([0.5 1.  0. ])
    """
    x = tensor(x)
    y = activate_ref(x.data, ACTIVATIONS["sigmoid"])
    return record("sigmoid", y, (x,), lambda dy: (dy * y * (1 - y),))


def _activation(name, x, act):
    """f(x) and its record, for the functions that kernels also fuse behind a product."""
    x = tensor(x)
    y = activate_ref(x.data, act)
    return record(name, y, (x,), lambda dy: (dy * derivative_ref(x.data, act),))


@op
def relu(x: Operand) -> Tensor:
    """max(x, 0) of any shape.   dx = dy where x > 0, else 0

    >>> relu([-1.0, 2.0])
    Tensor([0. 2.])
    """
    return _activation("relu", x, ACTIVATIONS["relu"])


@op
def gelu(x: Operand, approximate: str = "none") -> Tensor:
    """x·Φ(x) of any shape, Φ the normal distribution function.   dx = dy·(Φ(x) + x·φ(x))

    approximate : "none" computes Φ with the error function, "tanh" is the formula of GPT-2
    raises ArgumentError  for another `approximate`
    Source: Hendrycks & Gimpel 2016.

    >>> gelu([-1.0, 0.0, 1.0])
    Tensor([-0.1587  0.      0.8413])
    """
    if approximate not in ("none", "tanh"):
        raise ArgumentError(
            f"gelu: approximate is {approximate!r}; expected 'none' (error function) or 'tanh'."
        )
    act = "gelu_tanh" if approximate == "tanh" else "gelu"
    return _activation("gelu", x, ACTIVATIONS[act])


@op
def silu(x: Operand) -> Tensor:
    """x·σ(x) of any shape, also called swish.   dx = dy·(σ(x) + x·σ(x)·(1 − σ(x)))

    Source: Ramachandran et al. 2017.

    >>> silu([0.0, 1000.0])
    Tensor([   0. 1000.])
    """
    return _activation("silu", x, ACTIVATIONS["silu"])


def _share(a_wins, a, b):
    """The share of dy that goes to a: 1 where it wins, ½ where both are equal, else 0."""
    share = np.where(a.data == b.data, 0.5, a_wins)
    dtype = np.result_type(a.data, b.data)
    return share.astype(dtype)


@op
def maximum(a: Operand, b: Operand) -> Tensor:
    """Elementwise maximum, broadcast.   dy goes to the larger operand, half to each if equal

    >>> maximum([1, 5], [3, 2])
    Tensor([3. 5.])
    """
    a, b = pair("maximum", a, b)
    y = np.maximum(a.data, b.data)
    share = _share(a.data > b.data, a, b)
    return record("maximum", y, (a, b), lambda dy: (dy * share, dy * (1 - share)))


@op
def minimum(a: Operand, b: Operand) -> Tensor:
    """Elementwise minimum, broadcast.   dy goes to the smaller operand, half to each if equal"""
    a, b = pair("minimum", a, b)
    y = np.minimum(a.data, b.data)
    share = _share(a.data < b.data, a, b)
    return record("minimum", y, (a, b), lambda dy: (dy * share, dy * (1 - share)))


@op
def clip(x: Operand, low: float, high: float) -> Tensor:
    """x limited to [low, high], numbers, any shape.   dx = dy where low ≤ x ≤ high, else 0

    Differs from NumPy and PyTorch: `min` and `max` are ops here, so the bounds have other names.

    >>> clip([-2.0, 0.5, 3.0], 0, 1)
    Tensor([0.  0.5 1. ])
    """
    x = tensor(x)
    inside = (x.data >= low) & (x.data <= high)
    y = np.clip(x.data, low, high)
    return record("clip", y, (x,), lambda dy: (dy * inside,))


@op
def where(condition: ArrayLike, a: Operand, b: Operand) -> Tensor:
    """a where the boolean array `condition` holds, else b; all three broadcast.
    da = dy·condition, db = dy·(not condition)

    >>> where([True, False], [1, 2], 0)
    Tensor([1. 0.])
    """
    condition = np.asarray(condition, dtype=bool)
    a, b = pair("where", a, b)
    check_broadcast("where", condition.shape, a.shape, b.shape)
    y = np.where(condition, a.data, b.data)

    def vjp(dy):
        da = np.where(condition, dy, 0)
        db = np.where(condition, 0, dy)
        return da, db

    return record("where", y, (a, b), vjp)
