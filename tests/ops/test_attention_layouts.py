"""Attention reads q, k and v where they lie, each in a layout of its own."""

from itertools import product

import numpy as np
import pytest

import tinylm.ops as F

LAYOUTS = (
    (0, 1, 2, 3),
    (0, 2, 1, 3),
    (2, 0, 1, 3),
)  # the axes of (B, H, T, D) as they lie in memory


def laid(x, axes):
    """x (B, H, T, D) with its axes in another order of memory."""
    return np.ascontiguousarray(x.transpose(axes)).transpose(np.argsort(axes))


@pytest.mark.parametrize("length", [1, 5])
def test_the_layout_of_one_operand_changes_nothing_in_the_result(length):
    rng = np.random.default_rng(0)
    q, k, v = (rng.normal(size=(2, 3, n, 7)) for n in (length, 11, 11))
    expected = F.scaled_dot_product_attention(q, k, v).data
    for axes in product(LAYOUTS, repeat=3):
        operands = [laid(x, each) for x, each in zip((q, k, v), axes, strict=True)]
        found = F.scaled_dot_product_attention(*operands).data
        np.testing.assert_allclose(found, expected, atol=1e-12)
