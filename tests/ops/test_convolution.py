"""Laws of convolution, of the maximum over time and of batch norm: what their strategies cannot say."""

import numpy as np
import pytest

import tinylm.ops as F
from tinylm.errors import ShapeError
from tinylm.ops import convolution
from tinylm.tensor import Tensor

RNG = np.random.default_rng(0)


def results(f, *arrays):
    """f's value and the gradients of all inputs for a fixed cotangent."""
    inputs = [Tensor(a, requires_grad=True) for a in arrays]
    y = f(*inputs)
    y.backward(np.random.default_rng(1).normal(size=y.shape))
    return [y.data, *(x.grad for x in inputs)]


def assert_same(got, wanted):
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


@pytest.mark.parametrize("block", [1, 40, 100, 700])
def test_blocks_of_rows_and_of_time_change_nothing(block, monkeypatch):
    arrays = [RNG.normal(size=shape) for shape in ((5, 23, 3), (7, 3, 4), (7,))]

    def convolve(*inputs):
        return F.conv1d(*inputs, stride=2, padding=3, dilation=2)

    whole = results(convolve, *arrays)
    monkeypatch.setattr(convolution, "BLOCK", block)
    assert_same(results(convolve, *arrays), whole)


def test_one_pass_is_the_maximum_of_the_convolution():
    arrays = [RNG.normal(size=shape) for shape in ((5, 131, 3), (37, 3, 4), (37,))]
    assert_same(
        results(F.conv1d_max, *arrays),
        results(lambda *inputs: F.max_over_time(F.conv1d(*inputs)), *arrays),
    )


def test_of_equal_maxima_the_first_gets_the_gradient_and_hidden_ones_get_none():
    x = np.zeros((2, 3, 1))
    mask = np.array([[False, True, True], [False, False, False]])
    y, dx = results(lambda x: F.max_over_time(x, mask), x)
    assert not y.any() and np.array_equal(
        dx[:, :, 0] != 0, [[False, True, False], [False, False, False]]
    )
    _, dx, dw = results(F.conv1d_max, np.ones((1, 5, 1)), np.ones((1, 1, 2)))
    assert np.array_equal(np.flatnonzero(dx), [0, 1]) and dw[0, 0, 0] == dw[0, 0, 1]


@pytest.mark.parametrize(
    "f, message",
    [
        (
            lambda: F.conv1d(np.ones((2, 3, 5)), np.ones((7, 3, 2))),
            "expected \\(B, T, C\\) and \\(O, C, K\\)",
        ),
        (
            lambda: F.conv1d(np.ones((2, 3, 5)), np.ones((7, 5, 2)), np.ones(5)),
            "bias has shape \\(5,\\); expected \\(7,\\)",
        ),
        (
            lambda: F.conv1d(np.ones((2, 3, 5)), np.ones((7, 5, 3)), dilation=2),
            "longer than the input",
        ),
        (lambda: F.conv1d_max(np.ones((2, 3, 5)), np.ones((7, 5, 4))), "longer than the input"),
        (lambda: F.conv1d_max(np.ones((2, 3)), np.ones(7)), "do not fit"),
        (lambda: F.max_over_time(np.ones((2, 3, 5)), np.ones((2, 5), bool)), "mask \\(2, 5\\)"),
        (lambda: F.max_over_time(np.ones((2, 0, 5))), "at least one position"),
        (lambda: F.batch_norm(np.ones((2, 3)), *np.ones((4, 5)), True), "four times \\(C,\\)"),
        (lambda: F.batch_norm(np.ones((1, 5)), *np.ones((4, 5)), True), "at least two"),
    ],
)
def test_misfits_are_named(f, message):
    with pytest.raises(ShapeError, match=message):
        f()
