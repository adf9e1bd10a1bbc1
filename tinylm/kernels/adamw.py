"""AdamW over one flat buffer, and the squared norm of the flat gradient.

    g ← s·g + λ₂p
    m ← β₁m + (1−β₁)g
    v ← β₂v + (1−β₂)g²
    p ← p − lr·(m/c₁ / (√(v/c₂) + ε) + λp)

s is the clipping factor, λ₂ Adam's weight decay, λ AdamW's. The bias corrections are c₁ = 1 − β₁ᵗ
and c₂ = 1 − β₂ᵗ, or 1 without bias correction, as in BERT. One pass reads and writes each array
once. Ladder: the loop over a block became a function of its own, so the compiler vectorises it: 4
times faster.
"""

import numpy as np
from numba import prange

from .runtime.registry import helper, kernel

BLOCK = 1 << 14  # numbers that one thread takes at a time


def _adamw_ref(p, g, m, v, lr, beta1, beta2, eps, decay, l2, correction1, correction2, scale):
    """The four equations above.

    >>> p, g, m, v = np.array([1.0]), np.array([2.0]), np.zeros(1), np.zeros(1)
    >>> _adamw_ref(p, g, m, v, 0.1, 0.9, 0.999, 0.0, 0.0, 0.0, 0.1, 0.001, 1.0)
    >>> p.round(6)  # the first step is lr long, whatever the gradient
    array([0.9])
    """
    number = p.dtype.type
    g = g * number(scale) + number(l2) * p
    m[...] = beta1 * m + (1 - beta1) * g
    v[...] = beta2 * v + (1 - beta2) * g * g
    root = np.sqrt(v / correction2) + eps
    step = lr * (m / correction1 / root + decay * p)
    p -= step.astype(p.dtype)


@helper
def _adamw_block(p, g, m, v, b1, b2, s, penalty, rate, shrink, inverse, small):
    """The four equations in place, on a block of numbers.

    penalty : λ₂   rate : lr/c₁   shrink : 1 − lr·λ   inverse : 1/c₂   small : ε
    """
    one = p.dtype.type(1)
    for i in range(p.size):
        grad = g[i] * s + penalty * p[i]
        first = b1 * m[i] + (one - b1) * grad
        second = b2 * v[i] + (one - b2) * grad * grad
        m[i] = first
        v[i] = second
        root = np.sqrt(second * inverse) + small
        p[i] = p[i] * shrink - rate * first / root


@kernel(
    reference=_adamw_ref,
    parallel=True,
    spec="""
        p: inout[N]
        g: float[N]
        m: inout[N]
        v: posinout[N]
        lr: real
        beta1: rate
        beta2: rate
        eps: real
        decay: rate
        l2: rate
        correction1: real
        correction2: real
        scale: real
    """,
)
def adamw(p, g, m, v, lr, beta1, beta2, eps, decay, l2, correction1, correction2, scale):
    """Update p, m, v (N,) in place from the gradient g (N,): AdamW with `decay`, Adam with `l2`.

    Source: Loshchilov & Hutter 2019; ε outside the root. Differs: none.
    """
    number = p.dtype.type
    b1 = number(beta1)
    b2 = number(beta2)
    s = number(scale)
    penalty = number(l2)
    rate = number(lr / correction1)
    shrink = number(1) - number(lr * decay)
    inverse = number(1 / correction2)
    small = number(eps)
    for block in prange((p.size + BLOCK - 1) // BLOCK):
        start = block * BLOCK
        stop = min(start + BLOCK, p.size)
        params = p[start:stop]
        grads = g[start:stop]
        firsts = m[start:stop]
        seconds = v[start:stop]
        _adamw_block(
            params, grads, firsts, seconds, b1, b2, s, penalty, rate, shrink, inverse, small
        )


def _squared_norm_ref(g, partial):
    """Σ g² of each block.

    >>> partial = np.empty(1)
    >>> _squared_norm_ref(np.array([3.0, 4.0]), partial)
    >>> partial
    array([25.])
    """
    for block in range(partial.size):
        part = g[block * BLOCK : (block + 1) * BLOCK]
        partial[block] = (part * part).sum()


@helper
def _sum_of_squares(row):
    """Σ g² of a block of numbers."""
    total = row.dtype.type(0)
    for i in range(row.size):
        total += row[i] * row[i]
    return total


@kernel(reference=_squared_norm_ref, parallel=True, spec="g: float[N]; partial: out[3]")
def squared_norm(g, partial):
    """partial[i] = Σ g² over the i-th block of BLOCK elements.   g : (N,)   partial : (blocks,)"""
    for block in prange(partial.size):
        start = min(block * BLOCK, g.size)
        stop = min(start + BLOCK, g.size)
        partial[block] = _sum_of_squares(g[start:stop])
