"""SGD with momentum, and Adagrad, over one flat buffer.

    g ← s·g + λp
    SGD:      b ← μb + τg,   p ← p − lr·(α·g + β·b)
    Adagrad:  a ← a + g²,    p ← p − lr·g/(√a + ε)

s is the clipping factor, λ the weight decay, μ the momentum, and τ the share of the new gradient in
b. α = 0, β = 1 is momentum as usual; α = 1, β = μ is Nesterov's; an empty b is plain SGD.
"""

import numpy as np
from numba import prange

from .adamw import BLOCK
from .runtime.registry import helper, kernel


def _sgd_ref(p, g, b, lr, momentum, share, direct, along, decay, scale):
    """One step of SGD; an empty b means no momentum.

    >>> p = np.array([1.0])
    >>> _sgd_ref(p, np.array([2.0]), np.empty(0), 0.1, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    >>> p
    array([0.8])
    """
    g = (scale * g + decay * p).astype(p.dtype)
    step = g
    if b.size:
        b[...] = momentum * b + share * g
        step = direct * g + along * b
    p -= (lr * step).astype(p.dtype)


@helper
def _plain_block(p, g, rate, penalty, s):
    """p ← p − lr·(s·g + λp) in place, on a block of numbers."""
    for i in range(p.size):
        p[i] -= rate * (s * g[i] + penalty * p[i])


@helper
def _momentum_block(p, g, b, momentum, share, direct, along, rate, penalty, s):
    """SGD's equations in place, on a block of numbers; the names are those of `sgd`."""
    for i in range(p.size):
        grad = s * g[i] + penalty * p[i]
        moved = momentum * b[i] + share * grad
        b[i] = moved
        p[i] -= rate * (direct * grad + along * moved)


@kernel(
    reference=_sgd_ref,
    parallel=True,
    spec="""
        p: inout[N]
        g: float[N]
        b: inout[N]?
        lr: real
        momentum: rate
        share: rate
        direct: rate
        along: real
        decay: rate
        scale: real
    """,
)
def sgd(p, g, b, lr, momentum, share, direct, along, decay, scale):
    """One step of SGD on p (N,) and its buffer b, (N,) or (0,), in place, from the gradient g (N,).

    momentum is μ, share τ, direct α, along β, decay λ and scale s of the equations above.
    Source: Sutskever et al. 2013. Differs: none.
    """
    number = p.dtype.type
    rate = number(lr)
    penalty = number(decay)
    s = number(scale)
    mu = number(momentum)
    tau = number(share)
    alpha = number(direct)
    beta = number(along)
    for block in prange((p.size + BLOCK - 1) // BLOCK):
        start = block * BLOCK
        stop = min(start + BLOCK, p.size)
        params = p[start:stop]
        grads = g[start:stop]
        if b.size:
            buffer = b[start:stop]
            _momentum_block(params, grads, buffer, mu, tau, alpha, beta, rate, penalty, s)
        else:
            _plain_block(params, grads, rate, penalty, s)


def _adagrad_ref(p, g, a, lr, eps, delayed, decay, scale):
    """One step of Adagrad.

    >>> p, a = np.array([1.0]), np.array([9.0])
    >>> _adagrad_ref(p, np.array([4.0]), a, 0.5, 0.0, 0, 0.0, 1.0)
    >>> p, a
    (array([0.6]), array([25.]))
    """
    g = (scale * g + decay * p).astype(p.dtype)
    before = a.copy()
    a += g * g
    root = np.sqrt(before if delayed else a) + eps
    p -= (lr * g / root).astype(p.dtype)


@helper
def _adagrad_block(p, g, a, rate, small, fresh, penalty, s):
    """Adagrad's equations in place, on a block of numbers.

    fresh : 1 if the new square counts in the root, 0 if it is delayed   small : ε   penalty : λ
    """
    for i in range(p.size):
        grad = s * g[i] + penalty * p[i]
        square = grad * grad
        root = np.sqrt(a[i] + fresh * square) + small
        p[i] -= rate * grad / root
        a[i] += square


@kernel(
    reference=_adagrad_ref,
    parallel=True,
    spec="""
        p: inout[N]
        g: float[N]
        a: posinout[N]
        lr: real
        eps: real
        delayed: 0..1
        decay: rate
        scale: real
    """,
)
def adagrad(p, g, a, lr, eps, delayed, decay, scale):
    """One step of Adagrad on p and its sum of squares a, in place, from the gradient g, all (N,).

    delayed : 1 divides by the root of the sum as it was before g
    Source: Duchi et al. 2011. Differs: none.
    """
    number = p.dtype.type
    rate = number(lr)
    small = number(eps)
    fresh = number(1 - delayed)
    penalty = number(decay)
    s = number(scale)
    for block in prange((p.size + BLOCK - 1) // BLOCK):
        start = block * BLOCK
        stop = min(start + BLOCK, p.size)
        params = p[start:stop]
        grads = g[start:stop]
        squares = a[start:stop]
        _adagrad_block(params, grads, squares, rate, small, fresh, penalty, s)
