"""A mix of an encoder's layers that the task learns: it finds out which of them it needs.

    x = Σ_l s_l h_l,   s = softmax(w)
    minimise over w, W, b    −1/N Σ log softmax(W (x − mean)/std + b)[y]  +  ‖W‖²/2CN

In ELMo the lower layer knows more of grammar, the upper one more of meaning. A task has no need to
be told which: it gets one number for each layer. A mean over words and a mix of layers can change
places, so a text's layers are pooled once, and mixed as often as it takes.
Source: Peters et al. 2018, equation 1. Here γ is left out: standardised features have no scale.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import optimize

from tinylm import nn
from tinylm import ops as F
from tinylm.errors import ShapeError
from tinylm.tensor import Tensor

MIX = "mix"  # the name of this choice among the layers of `pool`
LBFGS = {"maxiter": 200, "gtol": 1e-6}


def mixed(layers: Sequence[np.ndarray], shares: np.ndarray | None = None) -> np.ndarray:
    """Σ_l s_l h_l of L arrays of one shape.

    shares : (L,), None for equal ones
    raises ShapeError  if the arrays differ in shape, or are not as many as the shares

    >>> mixed([np.zeros(2), np.ones(2)]).tolist()
    [0.5, 0.5]
    """
    shapes = {np.shape(layer) for layer in layers}
    if shares is None:
        shares = np.full(len(layers), 1 / len(layers))
    if len(shapes) > 1 or len(shares) != len(layers):
        raise ShapeError(
            f"mixed: {len(layers)} layers of the shapes {sorted(shapes)} and {len(shares)} shares; "
            "expected layers of one shape, and a share for each."
        )
    return np.tensordot(shares, np.stack(layers), axes=1)


def learn_shares(
    layers: np.ndarray,
    codes: Any,
    start: Any,
    criterion: Callable[[Tensor, Any], Tensor] = F.cross_entropy,
    joined: Callable[[Tensor], Tensor] = lambda rows: rows,
) -> np.ndarray:
    """The shares s that a task prefers, (L,), by L-BFGS.

    layers : (L, N, C), what each layer says of each text     codes : (N,) class numbers from 0
    start : a regression that was fitted on the standardised equal mix; gives W, b and C
    criterion : the mean loss of scores (N, K) and codes, for codes that are no classes
    joined : what the head reads of standardised rows, where that is another array

    >>> from tinylm.transfer import SoftmaxRegression
    >>> rng = np.random.default_rng(0)
    >>> codes = np.arange(40) % 2
    >>> layers = rng.normal(size=(2, 40, 3))
    >>> layers[1] += codes[:, None]  # only the second layer knows the class
    >>> start = SoftmaxRegression(1.0).fit(layers.mean(axis=0), codes)
    >>> int(learn_shares(layers, codes, start).argmax())
    1
    """
    n_layers = len(layers)
    n_rows = joined(Tensor(layers[0])).shape[0]
    mix = nn.ScalarMix(n_layers)
    head = nn.Linear(*start.weights_.shape, rng=np.random.default_rng(0))
    learned = [mix.w, head.weight, head.bias]
    for module in (mix, head):
        module.astype(np.float64)
    head.weight.data[...] = start.weights_.T
    head.bias.data[...] = start.bias_
    known = [Tensor(layer.astype(np.float64)) for layer in layers]
    decay = 1 / (start.C_ * n_rows)

    def loss():
        x = mix(known)  # (N,C)
        centred = x - F.mean(x, axis=0)
        variance = F.mean(F.square(centred), axis=0)
        standardised = centred / F.sqrt(variance + 1e-12)
        nats = criterion(head(joined(standardised)), codes)
        return nats + F.sum(F.square(head.weight)) * (decay / 2)

    def value_and_gradient(flat):
        ends = np.cumsum([p.size for p in learned])[:-1]
        for p, part in zip(learned, np.split(flat, ends), strict=True):
            p.data[...] = part.reshape(p.shape)
            p.grad = None
        value = loss()
        value.backward()
        return value.item(), np.concatenate([p.grad.ravel() for p in learned])

    first = np.concatenate([p.data.ravel() for p in learned])
    best = optimize.minimize(value_and_gradient, first, jac=True, method="L-BFGS-B", options=LBFGS)
    return F.softmax(best.x[:n_layers]).data
