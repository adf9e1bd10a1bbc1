"""AdamW over one flat buffer, and the squared norm of the flat gradient.

    g ← s·g + λ₂p      m ← β₁m + (1−β₁)g      v ← β₂v + (1−β₂)g²      p ← p − lr·(m/c₁ / (√(v/c₂) + ε) + λp)

s is the clipping factor, λ₂ Adam's weight decay and λ AdamW's, c₁ = 1 − β₁ᵗ and c₂ = 1 − β₂ᵗ (or 1 without bias correction,
as BERT has it). One pass reads and writes each array once.
Ladder: the loop over a block as a function of its own, which is what lets the compiler vectorise it: 4 times faster.
"""

import numpy as np
from numba import prange

from .runtime.registry import helper, kernel

BLOCK = 1 << 14


def _adamw_ref(p, g, m, v, lr, beta1, beta2, eps, decay, l2, correction1, correction2, scale):
    g = g * p.dtype.type(scale) + p.dtype.type(l2) * p
    m[...] = beta1 * m + (1 - beta1) * g
    v[...] = beta2 * v + (1 - beta2) * g * g
    p -= (lr * (m / correction1 / (np.sqrt(v / correction2) + eps) + decay * p)).astype(p.dtype)


@helper
def _adamw_block(p, g, m, v, b1, b2, s, penalty, rate, shrink, inverse, small):
    one = p.dtype.type(1)
    for i in range(p.size):
        grad = g[i] * s + penalty * p[i]
        first = b1 * m[i] + (one - b1) * grad
        second = b2 * v[i] + (one - b2) * grad * grad
        m[i] = first
        v[i] = second
        p[i] = p[i] * shrink - rate * first / (np.sqrt(second * inverse) + small)


@kernel(
    reference=_adamw_ref,
    parallel=True,
    spec="p: inout[N]; g: float[N]; m: inout[N]; v: posinout[N]; lr: real; beta1: rate; beta2: rate; eps: real; "
    "decay: rate; l2: rate; correction1: real; correction2: real; scale: real",
)
def adamw(p, g, m, v, lr, beta1, beta2, eps, decay, l2, correction1, correction2, scale):
    """One update of p, m, v (N,) in place from the gradient g (N,): AdamW with `decay`, Adam with `l2`.

    Source: Loshchilov & Hutter 2019; ε outside the root. Differs: none.
    """
    one = p.dtype.type(1)
    b1, b2, s, penalty = (
        p.dtype.type(beta1),
        p.dtype.type(beta2),
        p.dtype.type(scale),
        p.dtype.type(l2),
    )
    rate, shrink = p.dtype.type(lr / correction1), one - p.dtype.type(lr * decay)
    inverse, small = p.dtype.type(1 / correction2), p.dtype.type(eps)
    for block in prange((p.size + BLOCK - 1) // BLOCK):
        start, stop = block * BLOCK, min(block * BLOCK + BLOCK, p.size)
        _adamw_block(
            p[start:stop],
            g[start:stop],
            m[start:stop],
            v[start:stop],
            b1,
            b2,
            s,
            penalty,
            rate,
            shrink,
            inverse,
            small,
        )


def _squared_norm_ref(g, partial):
    for block in range(partial.size):
        part = g[block * BLOCK : (block + 1) * BLOCK]
        partial[block] = (part * part).sum()


@helper
def _sum_of_squares(row):
    total = row.dtype.type(0)
    for i in range(row.size):
        total += row[i] * row[i]
    return total


@kernel(reference=_squared_norm_ref, parallel=True, spec="g: float[N]; partial: out[3]")
def squared_norm(g, partial):
    """partial[i] = Σ g² over the i-th block of BLOCK elements.   g : (N,)   partial : (blocks,)"""
    for block in prange(partial.size):
        partial[block] = _sum_of_squares(
            g[min(block * BLOCK, g.size) : min(block * BLOCK + BLOCK, g.size)]
        )
