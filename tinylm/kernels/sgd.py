"""SGD with momentum, and Adagrad, over one flat buffer.

    g ← s·g + λp      SGD: b ← μb + τg,  p ← p − lr·(α·g + β·b)      Adagrad: a ← a + g²,  p ← p − lr·g/(√a + ε)

s is the clipping factor, λ the weight decay. α = 0, β = 1 is momentum; α = 1, β = μ Nesterov's; no b is plain SGD.
"""

import numpy as np
from numba import prange

from .adamw import BLOCK
from .runtime.registry import helper, kernel


def _sgd_ref(p, g, b, lr, momentum, share, direct, along, decay, scale):
    g = (scale * g + decay * p).astype(p.dtype)
    step = g
    if b.size:
        b[...] = momentum * b + share * g
        step = direct * g + along * b
    p -= (lr * step).astype(p.dtype)


@helper
def _plain_block(p, g, rate, penalty, s):
    for i in range(p.size):
        p[i] -= rate * (s * g[i] + penalty * p[i])


@helper
def _momentum_block(p, g, b, factors, rate, penalty, s):
    momentum, share, direct, along = factors
    for i in range(p.size):
        grad = s * g[i] + penalty * p[i]
        moved = momentum * b[i] + share * grad
        b[i] = moved
        p[i] -= rate * (direct * grad + along * moved)


@kernel(
    reference=_sgd_ref,
    parallel=True,
    spec="p: inout[N]; g: float[N]; b: inout[N]?; lr: real; momentum: rate; share: rate; direct: rate; along: real; "
    "decay: rate; scale: real",
)
def sgd(p, g, b, lr, momentum, share, direct, along, decay, scale):
    """One step of SGD on p (N,) and its buffer b, (N,) or (0,), in place, from the gradient g (N,).

    Source: Sutskever et al. 2013. Differs: none.
    """
    number = p.dtype.type
    rate, penalty, s = number(lr), number(decay), number(scale)
    factors = number(momentum), number(share), number(direct), number(along)
    for block in prange((p.size + BLOCK - 1) // BLOCK):
        start, stop = block * BLOCK, min(block * BLOCK + BLOCK, p.size)
        if b.size:
            _momentum_block(p[start:stop], g[start:stop], b[start:stop], factors, rate, penalty, s)
        else:
            _plain_block(p[start:stop], g[start:stop], rate, penalty, s)


def _adagrad_ref(p, g, a, lr, eps, delayed, decay, scale):
    g = (scale * g + decay * p).astype(p.dtype)
    before = a.copy()
    a += g * g
    p -= (lr * g / (np.sqrt(before if delayed else a) + eps)).astype(p.dtype)


@helper
def _adagrad_block(p, g, a, rate, small, fresh, penalty, s):
    for i in range(p.size):
        grad = s * g[i] + penalty * p[i]
        square = grad * grad
        p[i] -= rate * grad / (np.sqrt(a[i] + fresh * square) + small)
        a[i] += square


@kernel(
    reference=_adagrad_ref,
    parallel=True,
    spec="p: inout[N]; g: float[N]; a: posinout[N]; lr: real; eps: real; delayed: 0..1; decay: rate; scale: real",
)
def adagrad(p, g, a, lr, eps, delayed, decay, scale):
    """One step of Adagrad on p and its sum of squares a, both (N,), in place, from the gradient g (N,).

    delayed : 1 divides by the root of the sum as it was before g
    Source: Duchi et al. 2011. Differs: none.
    """
    number = p.dtype.type
    rate, small, fresh, penalty, s = (
        number(lr),
        number(eps),
        number(1 - delayed),
        number(decay),
        number(scale),
    )
    for block in prange((p.size + BLOCK - 1) // BLOCK):
        start, stop = block * BLOCK, min(block * BLOCK + BLOCK, p.size)
        _adagrad_block(p[start:stop], g[start:stop], a[start:stop], rate, small, fresh, penalty, s)
