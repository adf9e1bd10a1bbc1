"""How far one distribution is from another, both given as scores: the soft loss of distillation.

    p = softmax(a/τ)    q = softmax(x/τ)        loss = Σ p (log p − log q), a row
    dx = dy (q − p)/τ

Written out with e_p = exp((a − max a)/τ) and the same for q, the loss needs one pass over a row:

    loss = Σ e_p ((a − max a) − (x − max x))/τ / Σ e_p − log Σ e_p + log Σ e_q

The forward keeps two numbers a row, log Σ e^{x/τ} and log Σ e^{a/τ}. The backward makes p and q
from them once more. So of the (N, V) arrays of a vocabulary only dx is new.

The ladder, ms of a distillation step's loss and gradient for 2048 rows of 4096 scores, on a busy
machine: two log-softmaxes and `kl_div` as ops 57, here 17.
"""

import numpy as np
from numba import prange

from .elementary import exp, largest
from .runtime.registry import kernel

BLOCK = 16  # rows that one thread takes at a time
OURS = 0  # columns of lse
THEIRS = 1


def _log_softmax_ref(x):
    """log-softmax and log Σ e^x of every row."""
    top = x.max(axis=1, keepdims=True)
    lse = top + np.log(np.exp(x - top).sum(axis=1, keepdims=True))
    return x - lse, lse[:, 0]


def _kl_with_logits_ref(x, target, temperature, lse, losses):
    """Each row's divergence, and the two log-normalisers.

    >>> x, target = np.zeros((1, 2)), np.array([[0.0, 99.0]])
    >>> lse, losses = np.empty((1, 2)), np.empty(1)
    >>> _kl_with_logits_ref(x, target, 1.0, lse, losses)
    >>> losses.round(4)  # a sure teacher: log 2
    array([0.6931])
    """
    number = x.dtype.type(temperature)
    log_q, lse[:, OURS] = _log_softmax_ref(x / number)
    log_p, lse[:, THEIRS] = _log_softmax_ref(target / number)
    p = np.exp(log_p)
    losses[...] = np.where(p == 0, 0, p * (log_p - log_q)).sum(axis=1)


@kernel(
    reference=_kl_with_logits_ref,
    parallel=True,
    spec="x: float[N,V]; target: float[N,V]; temperature: real; lse: out[N,2]; losses: out[N]",
)
def kl_with_logits(x, target, temperature, lse, losses):
    """losses[n] = KL(softmax(target[n]/τ) ‖ softmax(x[n]/τ)) in nats.

    x, target : (N, V) scores     temperature : τ
    lse : (N, 2), log Σ e^{x/τ} and log Σ e^{target/τ}
    Source: Hinton et al. 2015, section 2.
    """
    n, width = x.shape
    zero = x.dtype.type(0)
    inverse = x.dtype.type(1 / temperature)
    for block in prange((n + BLOCK - 1) // BLOCK):
        for i in range(block * BLOCK, min((block + 1) * BLOCK, n)):
            row = x[i]
            wanted = target[i]
            top = largest(row)
            most = largest(wanted)
            total = zero
            mass = zero
            apart = zero
            for j in range(width):
                own = (row[j] - top) * inverse
                other = (wanted[j] - most) * inverse
                e = exp(other)
                total += exp(own)
                mass += e
                apart += zero if e == zero else e * (other - own)
            log_total = np.log(total)
            log_mass = np.log(mass)
            lse[i, OURS] = top * inverse + log_total
            lse[i, THEIRS] = most * inverse + log_mass
            losses[i] = apart / mass - log_mass + log_total


def _kl_with_logits_backward_ref(dy, x, target, temperature, lse, dx):
    number = x.dtype.type(temperature)
    q = np.exp(x / number - lse[:, OURS, None])
    p = np.exp(target / number - lse[:, THEIRS, None])
    dx[...] = (q - p) * (dy / number)[:, None]


@kernel(
    reference=_kl_with_logits_backward_ref,
    parallel=True,
    spec="""
        dy: float[N]
        x: float[N,V]
        target: float[N,V]
        temperature: real
        lse: float[N,2]
        dx: out[N,V]
    """,
)
def kl_with_logits_backward(dy, x, target, temperature, lse, dx):
    """dx = dy (q − p)/τ from the lse of `kl_with_logits`.

    dy : (N,)     x, target, dx : (N, V)     lse : (N, 2)
    """
    n, width = x.shape
    inverse = x.dtype.type(1 / temperature)
    for block in prange((n + BLOCK - 1) // BLOCK):
        for i in range(block * BLOCK, min((block + 1) * BLOCK, n)):
            factor = dy[i] * inverse
            own = lse[i, OURS]
            other = lse[i, THEIRS]
            for j in range(width):
                q = exp(x[i, j] * inverse - own)
                p = exp(target[i, j] * inverse - other)
                dx[i, j] = (q - p) * factor
