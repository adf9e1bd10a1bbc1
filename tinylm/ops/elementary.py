"""Arithmetic and elementwise functions. Each op: the forward, the vjp with its equation, one record."""

import numpy as np

from ..errors import ArgumentError
from ..kernels import ACTIVATIONS, activate_ref, derivative_ref
from ..tensor import Tensor, record
from .registry import op, pair, tensor


@op
def add(a, b):
    """a + b, broadcast.   da = dy, db = dy"""
    a, b = pair("add", a, b)
    return record("add", a.data + b.data, (a, b), lambda dy: (dy, dy))


@op
def sub(a, b):
    """a − b, broadcast.   da = dy, db = −dy"""
    a, b = pair("sub", a, b)
    return record("sub", a.data - b.data, (a, b), lambda dy: (dy, -dy))


@op
def mul(a, b):
    """a · b elementwise, broadcast.   da = dy·b, db = dy·a"""
    a, b = pair("mul", a, b)
    return record("mul", a.data * b.data, (a, b), lambda dy: (dy * b.data, dy * a.data))


@op
def div(a, b):
    """a / b elementwise, broadcast.   da = dy/b, db = −dy·a/b²"""
    a, b = pair("div", a, b)
    return record(
        "div", a.data / b.data, (a, b), lambda dy: (dy / b.data, -dy * a.data / (b.data * b.data))
    )


@op
def neg(x):
    """−x of any shape.   dx = −dy"""
    x = tensor(x)
    return record("neg", -x.data, (x,), lambda dy: (-dy,))


@op
def power(x, exponent):
    """x ** exponent for a constant number.   dx = dy · exponent · x^(exponent − 1), shape of x

    raises ArgumentError  if the exponent is a Tensor
    """
    if isinstance(exponent, Tensor):
        raise ArgumentError(
            "power: the exponent is a Tensor, which would get no gradient; use exp(exponent * log(x))."
        )
    x = tensor(x)
    exponent = float(exponent)

    def vjp(dy):
        return (dy * (exponent * x.data ** (exponent - 1)) if exponent else np.zeros_like(x.data),)

    return record("power", x.data**exponent, (x,), vjp)


@op
def square(x):
    """x² of any shape.   dx = 2·x·dy"""
    x = tensor(x)
    return record("square", x.data * x.data, (x,), lambda dy: (2 * x.data * dy,))


@op
def sqrt(x):
    """√x of any shape, x ≥ 0.   dx = dy/(2√x)"""
    x = tensor(x)
    y = np.sqrt(x.data)
    return record("sqrt", y, (x,), lambda dy: (dy / (2 * y),))


@op
def exp(x):
    """eˣ of any shape.   dx = dy·y"""
    x = tensor(x)
    y = np.exp(x.data)
    return record("exp", y, (x,), lambda dy: (dy * y,))


@op
def log(x):
    """Natural logarithm of any shape, x > 0.   dx = dy/x"""
    x = tensor(x)
    return record("log", np.log(x.data), (x,), lambda dy: (dy / x.data,))


@op
def abs(x):
    """|x| of any shape.   dx = dy·sign(x), 0 at 0"""
    x = tensor(x)
    return record("abs", np.abs(x.data), (x,), lambda dy: (dy * np.sign(x.data),))


@op
def tanh(x):
    """Hyperbolic tangent of any shape.   dx = dy·(1 − y²)"""
    x = tensor(x)
    y = np.tanh(x.data)
    return record("tanh", y, (x,), lambda dy: (dy * (1 - y * y),))


@op
def sigmoid(x):
    """1/(1 + e^{−x}) of any shape, without overflow.   dx = dy·y·(1 − y)"""
    x = tensor(x)
    y = activate_ref(x.data, ACTIVATIONS["sigmoid"])
    return record("sigmoid", y, (x,), lambda dy: (dy * y * (1 - y),))


def _activation(name, x, act):
    """f(x) and its record, for the functions that kernels also fuse behind a product."""
    x = tensor(x)
    return record(
        name, activate_ref(x.data, act), (x,), lambda dy: (dy * derivative_ref(x.data, act),)
    )


@op
def relu(x):
    """max(x, 0) of any shape.   dx = dy where x > 0, else 0"""
    return _activation("relu", x, ACTIVATIONS["relu"])


@op
def gelu(x, approximate="none"):
    """x·Φ(x) of any shape: "none" with the error function, "tanh" the tanh formula of GPT-2.   dx = dy·(Φ(x) + x·φ(x))

    raises ArgumentError  for another `approximate`
    Source: Hendrycks & Gimpel 2016.
    """
    if approximate not in ("none", "tanh"):
        raise ArgumentError(
            f"gelu: approximate is {approximate!r}; expected 'none' (error function) or 'tanh'."
        )
    return _activation("gelu", x, ACTIVATIONS["gelu_tanh" if approximate == "tanh" else "gelu"])


def _share(first, a, b):
    """The share of dy that goes to a: 1 where `first`, ½ where the operands are equal."""
    return np.where(a.data == b.data, 0.5, first).astype(np.result_type(a.data, b.data))


@op
def maximum(a, b):
    """Elementwise maximum, broadcast.   dy goes to the larger operand, half to each where they are equal"""
    a, b = pair("maximum", a, b)
    share = _share(a.data > b.data, a, b)
    return record(
        "maximum", np.maximum(a.data, b.data), (a, b), lambda dy: (dy * share, dy * (1 - share))
    )


@op
def minimum(a, b):
    """Elementwise minimum, broadcast.   dy goes to the smaller operand, half to each where they are equal"""
    a, b = pair("minimum", a, b)
    share = _share(a.data < b.data, a, b)
    return record(
        "minimum", np.minimum(a.data, b.data), (a, b), lambda dy: (dy * share, dy * (1 - share))
    )


@op
def clip(x, low, high):
    """x limited to [low, high], numbers, any shape.   dx = dy where low ≤ x ≤ high, else 0"""
    x = tensor(x)
    inside = (x.data >= low) & (x.data <= high)
    return record("clip", np.clip(x.data, low, high), (x,), lambda dy: (dy * inside,))


@op
def where(condition, a, b):
    """a where the boolean array `condition` holds, else b; all broadcast.   da = dy·condition, db = dy·(not condition)"""
    condition = np.asarray(condition, dtype=bool)
    a, b = pair("where", a, b)
    return record(
        "where",
        np.where(condition, a.data, b.data),
        (a, b),
        lambda dy: (np.where(condition, dy, 0), np.where(condition, 0, dy)),
    )
