"""Demo 01: what does a tape do, and how do we know that a gradient is right?

Question: does the checker pass the right gradient of softmax, and catch three wrong ones?
Expected: the right one agrees with the numeric derivative to 1e-6; all three wrong ones are caught.
A check through `.sum()`, the usual shortcut, would pass the last two of them: the sum of a softmax
is always 1, so it has no slope. Time: 5 s.
"""

# %% A Tensor remembers how it was made
import numpy as np

import tinylm.ops as F
from tinylm import Tensor, check_grads
from tinylm.gradcheck import GradientError
from tinylm.tensor import record

x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
y = (x * x + 2.0 * x).sum()
y.backward()
print("y =", y.item(), "  dy/dx = 2x + 2 =", x.grad)
assert y.item() == 26 and np.array_equal(x.grad, [4, 6, 8])

# %% Broadcasting is undone: the bias was used in every row, so its gradient is the sum over rows
weight = Tensor(np.ones((2, 3)), requires_grad=True)
bias = Tensor(np.zeros(2), requires_grad=True)
F.linear(np.ones((5, 3)), weight, bias).sum().backward()
print("d/d bias over 5 rows =", bias.grad)
assert np.array_equal(bias.grad, [5, 5])


# %% An op is one function: forward, its vjp with the equation, one record
def softmax(x, vjp_of):
    """softmax over the last axis with a gradient of our choice."""
    e = np.exp(x.data - x.data.max(-1, keepdims=True))
    p = e / e.sum(-1, keepdims=True)
    return record("my_softmax", p, (x,), lambda dy: (vjp_of(p, dy),))


def right(p, dy):
    """dx_i = p_i (dy_i − Σ_j p_j dy_j)"""
    return p * (dy - (p * dy).sum(-1, keepdims=True))


wrong = {
    "forgets the sum": lambda p, dy: p * dy,
    "is zero": lambda p, dy: 0 * p,
    "is 1 % too large": lambda p, dy: 1.01 * right(p, dy),
}

# %% The checker compares it with a central difference along random directions
scores = np.random.default_rng(0).normal(size=(4, 7))
check_grads(lambda x: softmax(x, right), scores)
print("the right gradient passes")
caught = 0
for name, vjp in wrong.items():
    try:
        check_grads(lambda x, vjp=vjp: softmax(x, vjp), scores)
    except GradientError as error:
        caught += 1
        print(f"a gradient that {name}: caught ({str(error).splitlines()[0]})")

# %% Verdict
assert caught == len(wrong)
print(f"VERDICT: pass. The right gradient passed, {caught} of {len(wrong)} wrong ones were caught.")
