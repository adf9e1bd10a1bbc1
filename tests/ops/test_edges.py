"""What the equations leave open: an axis without entries, −∞ everywhere, operands that do not fit, a single number."""

import numpy as np
import pytest

from tinylm import ops as F
from tinylm.errors import ShapeError
from tinylm.tensor import Tensor


@pytest.mark.parametrize("f", [F.logsumexp, F.max, F.min], ids=lambda f: f.__name__)
def test_nothing_is_known_of_an_axis_without_entries(f):
    with pytest.raises(ShapeError, match="no entry"):
        f(np.zeros((2, 0)), axis=1)


def test_the_sum_of_nothing_but_zeros_has_no_gradient():
    x = Tensor([[-np.inf, -np.inf], [-np.inf, 3.0]], requires_grad=True)
    y = F.logsumexp(x, axis=1)
    y.backward(np.ones(2, np.float32))
    assert y.data.tolist() == [-np.inf, 3.0]
    assert x.grad.tolist() == [[0, 0], [0, 1]]


def test_a_condition_that_does_not_fit_is_named_with_the_operands():
    with pytest.raises(ShapeError, match=r"where: shapes \(3,\), \(2,\) and \(\) do not broadcast"):
        F.where([True, False, True], [1, 2], 0)
    with pytest.raises(ShapeError, match=r"add: shapes \(3,\) and \(2,\) do not broadcast"):
        F.add([1, 2, 3], [1, 2])


def test_attention_needs_a_head():
    with pytest.raises(ShapeError, match="0 heads"):
        F.packed_attention(np.zeros((2, 5, 18)), heads=0)


@pytest.mark.parametrize("p", [0.0, 0.5])
def test_divergence_of_a_single_number(p):
    found = F.kl_div(np.log(0.5), p, reduction="sum").item()
    assert found == pytest.approx(p * np.log(p / 0.5) if p else 0.0)


@pytest.mark.parametrize(
    "ids, first, message",
    [
        ([0, 3], [0], "id 3 is out of range"),
        ([0, 1], [1], "must begin with 0"),
        ([0, 1], [0, 2, 1], "never fall"),
        ([0, 1], [], "must begin with 0"),
        ([0, 1], [0, 3], "out of range"),
        ([[0, 1]], [0], r"shapes \(1, 2\) and \(1,\)"),
    ],
)
def test_bags_that_do_not_divide_the_ids_are_refused(ids, first, message):
    with pytest.raises(ShapeError, match=message):
        F.embedding_bag(ids, np.array(first, np.int64), np.ones((3, 2)))
