"""The checker of gradients: what it accepts, what it catches, and what its message shows."""

import numpy as np
import pytest

import tinylm.ops as F
from tinylm.gradcheck import GradientError, check_grads
from tinylm.tensor import Tensor, record

X = np.array([[0.3, -1.2, 0.7], [1.1, 0.4, -0.6]])


def op(forward, vjp):
    """A user's own op of one argument, recorded under the name "mine"."""
    return lambda x: record("mine", forward(x.data), (x,), lambda dy: (vjp(dy, x.data),))


def test_a_right_gradient_passes():
    assert check_grads(op(np.sin, lambda dy, x: dy * np.cos(x)), X) is None


@pytest.mark.parametrize(
    "vjp",
    (
        lambda dy, x: dy * 0,
        lambda dy, x: -dy * np.cos(x),
        lambda dy, x: dy * np.cos(x) * 1.00001,
        lambda dy, x: np.cos(x),
        lambda dy, x: dy.sum() * np.cos(x),
        lambda dy, x: dy.reshape(-1)[::-1].reshape(x.shape) * np.cos(x),
        lambda dy, x: dy * np.nan,
    ),
    ids=("zero", "sign", "scale", "without dy", "summed dy", "reversed", "NaN"),
)
def test_a_wrong_gradient_is_caught(vjp):
    with pytest.raises(GradientError):
        check_grads(op(np.sin, vjp), X)


def test_a_softmax_without_gradient_is_caught_although_its_sum_is_constant():
    with pytest.raises(GradientError):
        check_grads(op(lambda x: F.softmax(x).data, lambda dy, x: 0 * dy), X)


def test_one_wrong_entry_among_many_is_caught():
    def vjp(dy, x):
        dx = dy * 2 * x
        dx[-1, -1] *= 1.01
        return dx

    with pytest.raises(GradientError):
        check_grads(op(np.square, vjp), np.random.default_rng(3).normal(size=(13, 17)))


def test_a_gradient_that_is_not_recorded_is_caught():
    with pytest.raises(GradientError):
        check_grads(lambda x: F.mul(x, x.detach()), X)


def test_a_function_that_forgets_the_tape_is_caught():
    with pytest.raises(GradientError):
        check_grads(lambda x: Tensor(x.data * 2), X)


def test_a_constant_function_has_no_gradient_and_passes():
    check_grads(lambda x: Tensor(np.ones(3)), X)


def test_the_message_names_the_argument_and_shows_arrays_and_both_values():
    def wrong(a, b):
        return record("mine", a.data * b.data, (a, b), lambda dy: (dy * b.data, dy * 0))

    with pytest.raises(GradientError) as caught:
        check_grads(wrong, np.array([2.5]), np.array([4.25]))
    message = str(caught.value)
    assert "gradient of argument 1 is wrong" in message and "the tape says 0," in message
    assert (
        "central difference" in message
        and "argument 0: [2.5]" in message
        and "argument 1: [4.25]" in message
    )
    assert "its gradient: [0.]" in message
    assert isinstance(caught.value, AssertionError)


def test_several_outputs_are_all_checked():
    check_grads(lambda x: (F.exp(x), F.mul(x, 3)), X)
    check_grads(lambda x: (y := F.exp(x), F.mul(y, 3), Tensor(np.ones(2))), X)
    with pytest.raises(GradientError):
        check_grads(lambda x: (F.exp(x), op(np.square, lambda dy, x: dy * x)(x)), X)


def test_integers_are_taken_as_float64_and_the_arrays_stay_unchanged():
    whole, before = np.array([1, 2, 3]), X.copy()
    check_grads(F.square, whole)
    check_grads(F.square, X)
    assert whole.dtype.kind == "i" and (X == before).all()


def test_the_directions_follow_the_generator():
    seen = []
    for seed in (1, 1, 2):
        with pytest.raises(GradientError) as caught:
            check_grads(op(np.sin, lambda dy, x: dy * 0), X, rng=np.random.default_rng(seed))
        seen.append(str(caught.value))
    assert seen[0] == seen[1] != seen[2]


def test_a_tiny_gradient_is_checked_like_a_large_one():
    for factor in (1e-7, 1e7):
        check_grads(lambda x, factor=factor: F.mul(F.exp(x), factor), X)
        with pytest.raises(GradientError):
            check_grads(op(lambda x, factor=factor: factor * np.exp(x), lambda dy, x: dy * 0), X)
