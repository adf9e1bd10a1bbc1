"""Prove a gradient: compare the tape's derivative with a central difference, in float64.

    ⟨w, f(x + εd) − f(x − εd)⟩ / 2ε   ≈   ⟨vjp(w), d⟩            w, d random

d is a random direction. w is a random cotangent, never ones: Σ softmax(x) is constant, so a check
through `.sum()` cannot see a wrong softmax.

`check_grads` proves an op. `check_objective` proves a whole objective: the gradient of its loss in
every parameter, and the promises of its encoder, with `encodercheck`.

>>> import tinylm.ops as F
>>> check_grads(F.tanh, [0.5, -1.0])  # silence is a proof
>>> check_grads(lambda x: x * F.tanh(x).data, [0.5, -1.0])  # .data hides tanh from the tape
Traceback (most recent call last):
    ...
tinylm.gradcheck.GradientError: the gradient of argument 0 is wrong: ...
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tinylm import ops as F

from .encodercheck import (
    Line,
    ObjectiveError,
    check_causality,
    check_padding,
    check_rows,
    in_float64,
    memory_of,
)
from .errors import TinylmError
from .tensor import Tensor, no_grad

TOLERANCE = 1e-6  # of a relative error
# ε of `check_gradient`'s tries at a parameter: the smaller the step, the fewer kinks it crosses.
STEPS = (1e-4, 1e-5, 1e-6, 1e-7)


class GradientError(TinylmError, AssertionError):
    """Tape and central difference disagree; the message shows the arrays and both values."""

    one_sentence = False


def _outputs(f, inputs):
    """The results of f as a list of Tensors, also where f returns a single one."""
    y = f(*inputs)
    return list(y) if isinstance(y, tuple | list) else [y]


def _numeric(f, arrays, i, direction, cotangents, eps):
    """The contracted central difference with argument i moved along `direction`."""

    def contracted(step):
        moved = list(arrays)
        moved[i] = moved[i] + step * direction
        inputs = [Tensor(a, requires_grad=True) for a in moved]
        total = 0
        for w, y in zip(cotangents, _outputs(f, inputs), strict=True):
            total += float((w * y.data).sum())
        return total

    return _slope(contracted, eps)


def _slope(f, eps):
    """f'(0) of a function of one number, from central differences at steps ε and ε/2.

    Each is off by about c·ε² for the same c, so 4/3 of one less 1/3 of the other cancels that
    (Richardson).

    >>> abs(_slope(math.exp, 0.01) - 1) < 1e-9 < abs((math.exp(0.01) - math.exp(-0.01)) / 0.02 - 1)
    True
    """
    wide = (f(eps) - f(-eps)) / (2 * eps)
    narrow = (f(eps / 2) - f(-eps / 2)) / eps
    return (4 * narrow - wide) / 3


def _contracted(grad, direction):
    """⟨grad, direction⟩ and √Σ of its squared terms, the scale of its errors; 0 for no gradient."""
    if grad is None:
        return 0.0, 0.0
    terms = grad * direction
    return float(terms.sum()), np.sqrt((terms * terms).sum())


def check_grads(
    f: Callable,
    *arrays: ArrayLike,
    rng: np.random.Generator | None = None,
    draws: int = 3,
    eps: float = 1e-4,
    tolerance: float = TOLERANCE,
) -> None:
    """Check the gradient of f with respect to every array; raise with the evidence if one is wrong.

    f : takes one Tensor per array, returns a Tensor or several
    arrays : float arrays, used as float64
    rng : Generator of the directions     draws : random directions and cotangents per argument
    eps : ε, the step of the differences
    tolerance : of |analytic − numeric|, relative to the terms of the sum, a thousandth of f's
        values, and 1e-5
    raises GradientError  showing the argument, the arrays, the analytic and the numeric value

    >>> import tinylm.ops as F
    >>> check_grads(F.mul, [1.0, 2.0], [3.0, 5.0])
    >>> check_grads(lambda x: F.softmax(x) * x, np.ones((2, 3)))
    """
    rng = rng or np.random.default_rng(0)
    arrays = [np.asarray(a, np.float64) for a in arrays]
    for _ in range(draws):
        inputs = [Tensor(a, requires_grad=True) for a in arrays]
        outputs = _outputs(f, inputs)
        cotangents = [rng.normal(size=y.shape) for y in outputs]
        contracted = 0
        size = 0  # rounding errors grow with it
        for y, w in zip(outputs, cotangents, strict=True):
            contracted = contracted + F.sum(F.mul(y, w))
            size += float(np.abs(w * y.data).sum())
        if contracted.requires_grad:
            contracted.backward()  # one backward for all outputs: they share records
        for i, x in enumerate(inputs):
            direction = rng.normal(size=x.shape)
            numeric = _numeric(f, arrays, i, direction, cotangents, eps)
            analytic, spread = _contracted(x.grad, direction)
            scale = spread + np.abs(numeric) + 1e-3 * size + 1e-5
            if not abs(analytic - numeric) <= tolerance * scale:
                raise GradientError(_report(i, arrays, x.grad, analytic, numeric))


def _report(i, arrays, grad, analytic, numeric):
    """The message of a failed check."""

    def show(a):
        return "None" if a is None else np.array2string(a, precision=4, threshold=20)

    lines = [
        f"the gradient of argument {i} is wrong: along a random direction the tape says "
        f"{analytic:.9g}, the central difference {numeric:.9g}."
    ]
    for j, a in enumerate(arrays):
        lines.append(f"  argument {j}: {show(a)}")
    lines.append(f"  its gradient: {show(grad)}")
    return "\n".join(lines)


# -- a whole objective ---------------------------------------------------------------------------


def check_objective(
    model: Any,
    batch: Any,
    ids: ArrayLike | None = None,
    rng: np.random.Generator | None = None,
) -> list[Line]:
    """Check the promises of an objective's loss and encoder; returns a Line for each promise.

    model : an Objective; afterwards it is as it was before
    batch : one of its batches; a small one, because its loss is computed some hundred times
    ids : (B, T) integers for `encode` to read, drawn by chance if None
    rng : numpy Generator of the ids and directions
    The checks run in float64, and they move every weight a little: a wrong gradient can be right by
    chance where weights are zero, as they often are in the beginning.
    raises GradientError, or ObjectiveError, with the evidence, at the first promise that is broken

    >>> import tinylm
    >>> from tinylm.objectives.gpt import GPTBatch
    >>> config = tinylm.GPTConfig(vocab_size=7, n_positions=5, n_embd=4, n_layer=1, n_head=2)
    >>> batch = GPTBatch(np.array([[1, 2, 3]]), np.array([[2, 3, 4]]))
    >>> lines = check_objective(tinylm.GPT(config), batch)
    >>> [line.name for line in lines]
    ['gradient', 'causality', 'padding', 'rows']
    """
    return [
        check_gradient(model, batch, rng),
        check_causality(model, ids, rng),
        check_padding(model, ids, rng),
        check_rows(model, ids, rng),
    ]


def check_gradient(model: Any, batch: Any, rng: np.random.Generator | None = None) -> Line:
    """Check that the gradient of the loss in every parameter is its derivative.

    Parameters in `not_derivatives` are skipped. If training mode changes the loss, as dropout does,
    that loss is checked too.
    returns a Line; raises GradientError naming the parameter, or ObjectiveError if the loss cannot
    be differentiated
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
    """raises ObjectiveError if there is nothing to learn, or not_derivatives names no parameter"""
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
    """A function without arguments that computes the loss of the batch.

    Each call starts from the same noise and the same carried state. It raises ObjectiveError unless
    the loss is one finite float64 number.
    """
    carried = {name: np.array(array) for name, array in model.state().items()}
    remember = memory_of(model)

    def loss():
        model.load_state(carried)
        remember()
        model.rewind(0, 0)
        returned = model.loss(batch)
        if not _is_a_loss(returned):
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


def _is_a_loss(returned):
    """Whether loss(batch) returned a pair: a Tensor of one number, a dict."""
    if not isinstance(returned, tuple) or len(returned) != 2:
        return False
    loss, components = returned
    return isinstance(loss, Tensor) and loss.size == 1 and isinstance(components, dict)


def _compare(model, loss, rng):
    """Compare the gradient of every parameter with differences of the loss.

    returns the largest relative error, and the names of parameters that the loss does not use
    raises GradientError, or ObjectiveError if two calls give different losses
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

    A kink within ±ε (relu, maximum) can make a right gradient disagree along one direction. A wrong
    gradient agrees along none, so the first direction that agrees is enough.
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
        analytic, spread = _contracted(p.grad, direction)
        scale = spread + abs(numeric) + 1e-3 * abs(value) + 1e-5
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
