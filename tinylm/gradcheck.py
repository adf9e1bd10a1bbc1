"""Prove a gradient: compare the tape's derivative with a central difference, in float64, along random directions.

    ⟨w, f(x + εd) − f(x − εd)⟩ / 2ε   ≈   ⟨vjp(w), d⟩            w, d random

w is a random cotangent, never ones: Σ softmax(x) is constant, so a check through `.sum()` cannot see a wrong softmax.

`check_grads` proves an op. `check_objective` proves a whole objective: the gradient of its loss in
every parameter, and what `encodercheck` says of its encoder.
"""

import math

import numpy as np

from .encodercheck import (
    Line,
    ObjectiveError,
    check_causality,
    check_padding,
    check_rows,
    in_float64,
)
from .errors import TinylmError
from .tensor import Tensor, no_grad

STEPS = (1e-4, 1e-5, 1e-6, 1e-7)  # ε of each draw: the smaller the step, the fewer kinks it crosses
TOLERANCE = 1e-6  # of a relative error


class GradientError(TinylmError, AssertionError):
    """The analytic gradient disagrees with the numeric one; the message shows arrays and both values."""


def _outputs(f, arrays):
    """f's results for the arrays as a tuple of Tensors."""
    y = f(*[Tensor(a, requires_grad=True) for a in arrays])
    return y if isinstance(y, tuple | list) else (y,)


def _numeric(f, arrays, i, direction, cotangents, eps):
    """The contracted central difference with argument i moved along `direction`."""

    def contracted(step):
        moved = [a + step * direction if j == i else a for j, a in enumerate(arrays)]
        return sum(
            float((w * y.data).sum()) for w, y in zip(cotangents, _outputs(f, moved), strict=True)
        )

    return _slope(contracted, eps)


def _slope(f, eps):
    """f'(0) of a function of a number, from central differences at two step sizes (Richardson)."""
    wide = (f(eps) - f(-eps)) / (2 * eps)
    narrow = (f(eps / 2) - f(-eps / 2)) / eps
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


# -- a whole objective ---------------------------------------------------------------------------


def check_objective(model, batch, ids=None, rng=None):
    """Check what an objective promises of its loss and encoder; returns a Line for each promise.

    model : an Objective; afterwards it is as it was before
    batch : one of its batches, a small one: its loss is computed some hundred times
    ids : (B, T) integers for `encode` to read, drawn by chance if None
    rng : numpy Generator of the ids and directions
    The checks run in float64, and every weight is moved a little: where weights are zero, as they
    often are in the beginning, a wrong gradient can be right by chance.
    raises GradientError, or ObjectiveError, with the evidence, at the first promise that is broken
    """
    return [
        check_gradient(model, batch, rng),
        check_causality(model, ids, rng),
        check_padding(model, ids, rng),
        check_rows(model, ids, rng),
    ]


def check_gradient(model, batch, rng=None):
    """The gradient of the loss in every parameter is its derivative.

    Parameters in `not_derivatives` are let off. Where training mode changes the loss, as dropout
    does, that loss is checked too.
    returns a Line; raises GradientError naming the parameter, or ObjectiveError if there is no loss
    that could be differentiated
    """
    rng = rng or np.random.default_rng(0)
    with in_float64(model, rng):
        learned = [p for p in model.parameters() if p.requires_grad]
        _check_names(model, learned)
        loss = _loss_of(model, batch)
        worst, unused = _compare(model, loss, rng)
        evaluated = loss().item()
        model.train()
        differs = not math.isclose(loss().item(), evaluated, rel_tol=1e-9)
        if differs:
            again, _ = _compare(model, loss, rng)
            worst = max(worst, again)
    detail = f"{len(learned)} parameters, largest relative error {worst:.0e}"
    if differs:
        detail += ", in training mode too"
    if unused:
        detail += f"; the loss does not use {', '.join(unused)}"
    for name, reason in model.not_derivatives.items():
        detail += f"; {name} is not compared: {reason}"
    return Line("gradient", "ok", detail)


def _check_names(model, learned):
    """raises ObjectiveError if there is nothing to learn, or what is let off is no parameter"""
    names = [name for name, _ in model.named_parameters()]
    if not learned:
        raise ObjectiveError(
            "the model has no parameter to learn; build() must assign each as an nn.Parameter"
        )
    if unknown := sorted(model.not_derivatives.keys() - names):
        raise ObjectiveError(
            f"not_derivatives names {unknown[0]!r}, but the parameters are {', '.join(names)}"
        )


def _loss_of(model, batch):
    """The loss of a batch as a function of nothing: noise and carried state begin anew each time.

    The function raises ObjectiveError if the loss is no single number, or is not a finite float64.
    """
    carried = {name: np.array(array) for name, array in model.state().items()}

    def loss():
        model.load_state(carried)
        model.rewind(0, 0)
        returned = model.loss(batch)
        kinds = (Tensor, dict)
        pair = isinstance(returned, tuple) and len(returned) == 2
        if not (pair and all(map(isinstance, returned, kinds)) and returned[0].size == 1):
            raise ObjectiveError(
                f"loss(batch) returns {returned!r}; "
                "expected (Tensor of one number, dict of components)"
            )
        value = returned[0]
        if value.dtype != np.float64 or not math.isfinite(value.item()):
            raise ObjectiveError(
                f"the loss of a float64 model is {value.dtype} {value.item():.9g}; "
                "expected a finite float64 (constants must take the weights' dtype)"
            )
        return value

    return loss


def _compare(model, loss, rng):
    """Compare the gradient of every parameter with differences of the loss.

    returns the largest relative error, and the names of parameters that the loss does not use
    raises GradientError, or ObjectiveError if the loss is another one at every call
    """
    for p in model.parameters():
        p.grad = None
    value = loss()
    again = loss().item()
    if not math.isclose(value.item(), again, rel_tol=1e-12):
        raise ObjectiveError(
            f"the loss of the same batch is first {value.item():.9g}, then {again:.9g}; "
            "chance belongs into batch() or into nn.Noise, memory into state()"
        )
    if value.requires_grad:
        value.backward()
    worst = 0.0
    unused = []
    for name, p in model.named_parameters():
        if name in model.not_derivatives or not p.requires_grad:
            continue
        error = _relative_error(name, p, loss, value.item(), rng)
        worst = max(worst, error)
        if p.grad is None:
            unused.append(name)
    return worst, unused


def _relative_error(name, p, loss, value, rng):
    """How far the gradient of one parameter is off, along random directions.

    A kink within ±ε (relu, maximum) spoils a draw. A wrong gradient agrees in no direction, so the
    first draw that agrees is enough.
    raises GradientError  if none does
    """
    start = p.data.copy()
    for eps in STEPS:
        direction = rng.normal(size=p.shape)

        def moved(step, direction=direction):
            p.data[...] = start + step * direction
            with no_grad():
                return loss().item()

        numeric = _slope(moved, eps)
        p.data[...] = start
        terms = np.zeros(1) if p.grad is None else p.grad * direction
        analytic = float(terms.sum())
        scale = np.sqrt((terms * terms).sum()) + abs(numeric) + 1e-3 * abs(value) + 1e-5
        rounding = 4 * np.finfo(np.float64).eps * abs(value) / eps
        error = abs(analytic - numeric)
        if error <= TOLERANCE * scale + rounding:
            return error / scale
    tape = "that nothing reaches it" if p.grad is None else f"{analytic:.9g}"
    raise GradientError(
        f"the gradient of {name} is wrong: along a random direction the tape says {tape}, "
        f"the central difference {numeric:.9g} (on purpose? say why in not_derivatives; "
        "many kinks, as of relu? give a smaller batch)"
    )
