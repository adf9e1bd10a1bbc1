"""Prove an encoder's promises: it reads neither the future nor padding nor its neighbours.

    encode(ids)[:, :t] == encode(ids with other tokens from t on)[:, :t]     causality
    encode(ids[:, :t]) == encode(ids, mask of the first t)[:, :t]            padding
    encode(ids)[b]     == encode(ids[b : b + 1])[0]                          rows

Only a causal encoder promises the first. Each check runs in float64 and compares every entry of
`encode`, and of `logits` if the model has them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .errors import TinylmError
from .tensor import Tensor, no_grad

ROWS = 3  # of the ids that a check draws
LENGTH = 7


class ObjectiveError(TinylmError, AssertionError):
    """An objective breaks a promise of its base class; the message shows the evidence."""

    one_sentence = False


@dataclass(frozen=True)
class Line:
    """The result of one check.

    name : of the check     status : "ok", "FAIL", or "--" if there was nothing to check
    detail : the numbers, the evidence, or the reason

    >>> print(Line("rows", "ok", "3 rows are the same one by one"))
    ok   rows         3 rows are the same one by one
    """

    name: str
    status: str
    detail: str

    def __str__(self) -> str:
        return f"{self.status:4} {self.name:12} {self.detail}"


def check_causality(
    model: Any, ids: ArrayLike | None = None, rng: np.random.Generator | None = None
) -> Line:
    """Check that no state of a causal model depends on a later token.

    returns a Line; raises ObjectiveError with the position
    """
    if not model.causal:
        return Line("causality", "--", "not claimed")
    rng = rng or np.random.default_rng(0)
    with in_float64(model, rng):
        ids = _ids(model, ids, rng)
        others = _others(ids, model.config.vocab_size)
        whole = _read(model, ids)
        length = ids.shape[1]
        for end in range(1, length):
            past = np.arange(length) < end  # (T,)
            seen = _read(model, np.where(past, ids, others))
            what = f"other tokens after position {end - 1} change what is read before"
            _expect_same(whole, seen, what, end)
    detail = f"{length} positions of {', '.join(whole)} see nothing that follows"
    return Line("causality", "ok", detail)


def check_padding(
    model: Any, ids: ArrayLike | None = None, rng: np.random.Generator | None = None
) -> Line:
    """Check that masked padding on the right changes no real position, whatever ids it holds.

    returns a Line; raises ObjectiveError with the position
    """
    rng = rng or np.random.default_rng(0)
    with in_float64(model, rng):
        ids = _ids(model, ids, rng)
        rows, length = ids.shape
        if length == 1:
            return Line("padding", "--", "texts of one token cannot be padded")

        short = (length + 1) // 2
        mask = np.tile(np.arange(length) < short, (rows, 1))  # (B,T)
        alone = _read(model, ids[:, :short])
        padded = _read(model, ids, mask)
        what = f"{length - short} tokens of padding change real positions"
        _expect_same(alone, padded, what, short)

        lengths = length - np.arange(rows) % length  # a different length for each row
        mask = np.arange(length) < lengths[:, None]  # (B,T)
        refilled = np.where(mask, ids, _others(ids, model.config.vocab_size))
        before = _read(model, ids, mask)
        after = _read(model, refilled, mask)
        for b, end in enumerate(lengths):
            what = f"what the padding holds changes real positions of row {b}"
            _expect_same(_row(before, b), _row(after, b), what, end)
    return Line("padding", "ok", f"real positions of {', '.join(alone)} stay the same")


def check_rows(
    model: Any, ids: ArrayLike | None = None, rng: np.random.Generator | None = None
) -> Line:
    """Check that each row of a batch is read as if it were alone.

    returns a Line; raises ObjectiveError with the row
    """
    rng = rng or np.random.default_rng(0)
    with in_float64(model, rng):
        ids = _ids(model, ids, rng)
        together = _read(model, ids)
        rows = len(ids)
        for b in range(rows):
            alone = _read(model, ids[b : b + 1])
            what = f"the other rows of a batch change row {b}"
            _expect_same(alone, _row(together, b), what)
    return Line("rows", "ok", f"{rows} rows of {', '.join(together)} are the same one by one")


# -- what these checks share ---------------------------------------------------------------------


@contextmanager
def in_float64(model: Any, rng: np.random.Generator) -> Iterator[None]:
    """Within this context a model is float64 and in evaluation mode, its weights moved a little.

    Afterwards its weights, gradients, modes, noise and carried state are what they were before.
    """
    modules = model.modules()
    tensors = []
    for module in modules:
        tensors += [x for x in vars(module).values() if isinstance(x, Tensor)]
    arrays = [(x, x.data, x.grad, x.grad_home) for x in tensors]
    modes = [(module, module.training) for module in modules]
    noises = [(noise, dict(vars(noise))) for noise in model.noises()]
    carried = {name: np.array(array) for name, array in model.state().items()}
    remember = memory_of(model)
    dtype = tensors[0].dtype if tensors else np.float32
    try:
        model.astype(np.float64).eval()
        for p in model.parameters():
            size = np.sqrt(np.mean(p.data * p.data)) if p.size else 0.0
            step = 0.1 * max(size, 0.1)
            p.data = p.data + step * rng.normal(size=p.shape)
        yield
    finally:
        model.astype(dtype)  # an objective may convert more than its tensors
        for x, data, grad, home in arrays:
            x.data = data
            x.grad = grad
            x.grad_home = home
        for module, mode in modes:
            module.training = mode
        for noise, values in noises:
            vars(noise).update(values)
        model.load_state(carried)
        remember()


def memory_of(model: Any) -> Callable[[], None]:
    """Note what the parts of a model hold in dicts; returns a function that puts it back.

    `state` holds what training has read. Evaluation goes on from a state of its own, which no
    checkpoint needs.
    """
    found = []
    for module in model.modules():
        for name, value in vars(module).items():
            if isinstance(value, dict):
                found.append((module, name, dict(value)))

    def remember():
        for module, name, value in found:
            setattr(module, name, dict(value))

    return remember


def _ids(model, ids, rng):
    """ids (B, T) to read: the given ones, or random ones."""
    if ids is not None:
        return np.asarray(ids)
    length = LENGTH if model.max_length is None else min(LENGTH, model.max_length)
    return rng.integers(model.config.vocab_size, size=(ROWS, length))


def _others(ids, vocab_size):
    """Other ids (B, T): each place takes the id one row up and one column left, or the next one.

    >>> _others(np.array([[4, 4, 6]]), 7).tolist()
    [[6, 5, 4]]
    """
    rolled = np.roll(ids, (1, 1), axis=(0, 1))
    return np.where(rolled == ids, (ids + 1) % vocab_size, rolled)


def _read(model, ids, mask=None):
    """A model's outputs for ids: every entry of `encode`, and `logits` if it has them.

    returns name -> array (B, T, ...); raises ObjectiveError for another shape
    """
    with no_grad():
        states = model.encode(ids, mask)
        if not isinstance(states, list | tuple):
            raise ObjectiveError(
                f"encode returns a {type(states).__name__}; "
                "expected a list: the embeddings, then every layer"
            )
        found = {f"encode[{i}]": state.data for i, state in enumerate(states)}
        if model.logits is not None:
            found["logits"] = model.logits(ids, mask).data
    for name, array in found.items():
        if array.ndim != 3 or array.shape[:2] != ids.shape:
            raise ObjectiveError(
                f"{name} of ids {ids.shape} has the shape {array.shape}; "
                f"expected {ids.shape} and one axis more"
            )
    return found


def _row(readings, b):
    """Row b of the outputs, as a batch of one."""
    return {name: array[b : b + 1] for name, array in readings.items()}


def _expect_same(before, after, what, end=None):
    """Compare two results of `_read` before position `end`.

    raises ObjectiveError  saying `what` if they differ by more than rounding
    """
    for name in before:
        a = before[name][:, :end]
        b = after[name][:, :end]
        allowed = np.sqrt(np.finfo(a.dtype).eps) * (1 + np.abs(a))
        close = np.abs(a - b) <= allowed
        wrong = ~(close | (a == b))  # infinities are equal, but not close
        if wrong.any():
            first = np.argwhere(wrong)[0]
            place = tuple(first)
            raise ObjectiveError(
                f"{what}: {name} at position {place[1]} "
                f"is {a[place]:.9g} first, then {b[place]:.9g}"
            )
