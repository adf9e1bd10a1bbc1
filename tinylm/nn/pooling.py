"""One vector from many: a mix of layers, and heads that pool a sequence."""

import numpy as np
from numpy.typing import ArrayLike

from tinylm import ops as F
from tinylm.errors import ShapeError
from tinylm.tensor import Tensor

from .layers import Linear
from .module import Module, Parameter


def masked_mean(states: Tensor, mask: np.ndarray) -> Tensor:
    """The mean over real positions, differentiable. states (B,T,C), mask (B,T) bool -> (B,C).

    >>> states = Tensor([[[1.0, 2.0], [3.0, 4.0], [9.0, 9.0]]])
    >>> masked_mean(states, np.array([[True, True, False]])).data.tolist()
    [[2.0, 3.0]]
    """
    n_real = mask.sum(axis=1, keepdims=True)
    share = mask / np.maximum(n_real, 1)  # (B,T)
    weights = share[:, None, :].astype(states.dtype)  # (B,T) -> (B,1,T)
    means = F.matmul(Tensor(weights), states)  # (B,1,T) @ (B,T,C) -> (B,1,C)
    return F.reshape(means, (states.shape[0], states.shape[2]))


class ScalarMix(Module):
    """γ Σ_l softmax(w)_l h_l over L layers of one shape.   L arrays (B, T, C) -> (B, T, C)

    w : (L,) zeros     γ : () one
    layer_norm : first normalise each layer by the mean and variance of all its numbers at real
    positions
    Source: Peters et al. 2018, equation 1.

    >>> lower, upper = np.zeros((1, 2, 3)), np.ones((1, 2, 3))
    >>> ScalarMix(2)([Tensor(lower), Tensor(upper)]).data[0, 0]
    array([0.5, 0.5, 0.5])
    """

    def __init__(self, layers: int, layer_norm: bool = False):
        self.w = Parameter(np.zeros(layers, np.float32))
        self.gamma = Parameter(np.ones((), np.float32))
        self.layer_norm = layer_norm

    def forward(self, layers: list[Tensor], mask: ArrayLike | None = None) -> Tensor:
        """layers : L tensors (B, T, C) -> (B, T, C)

        mask : bool (B, T), True = a real position, None = all are
        raises ShapeError  for another number of layers
        """
        if len(layers) != len(self.w):
            raise ShapeError(
                f"ScalarMix: got {len(layers)} arrays; "
                f"expected one for each of its {len(self.w)} layers."
            )
        shares = F.softmax(self.w) * self.gamma
        if self.layer_norm:
            real = _real(mask, layers[0].shape)
            layers = [_normalised(x, real) for x in layers]
        mixed = [x * share for x, share in zip(layers, shares, strict=True)]
        return sum(mixed[1:], mixed[0])


def _real(mask, shape):
    """The mask (B, T) as bool; all True for None.   shape : (B, T, C)"""
    if mask is None:
        return np.ones(shape[:2], bool)
    return np.asarray(mask, bool)


def _normalised(x, mask):
    """(x − mean)/deviation of x (B, T, C), both over all numbers at positions in the mask."""
    width = x.shape[2]
    count = mask.sum() * width or 1
    real = mask[:, :, None].astype(x.dtype)
    mean = F.sum(x * real) / count
    centred = x - mean
    variance = F.sum(F.square(centred * real)) / count
    return centred / F.sqrt(variance + 1e-12)  # ε as in ELMo's release


class Pooler(Module):
    """tanh(W x_0 + b), a dense layer on the first token.   (B, T, C) -> (B, C)

    width : C     rng : Generator of the initial weights, N(0, std²)
    Source: Devlin et al. 2019 (BERT's release).

    >>> Pooler(5, rng=np.random.default_rng(0))(Tensor(np.zeros((2, 3, 5), np.float32))).shape
    (2, 5)
    """

    def __init__(self, width: int, *, rng: np.random.Generator, std: float = 0.02):
        self.dense = Linear(width, width, rng=rng, std=std)

    def forward(self, x: Tensor) -> Tensor:
        """x : (B, T, C) -> (B, C)"""
        return self.dense(x[:, 0], activation="tanh")


class ConcatPool(Module):
    """The last real position, and the maximum and mean over real positions.   (B, T, C) -> (B, 3·C)

    Source: Howard & Ruder 2018, section 3.3.

    >>> ConcatPool()(Tensor([[[1.0], [4.0], [1.0]]])).data
    array([[1., 4., 2.]], dtype=float32)
    """

    def forward(self, x: Tensor, mask: ArrayLike | None = None) -> Tensor:
        """x : (B, T, C) -> (B, 3·C)

        mask : bool (B, T), True = a real position, None = all are; a row without any gives zeros
        """
        real = _real(mask, x.shape)
        backwards = real[:, ::-1].cumsum(axis=1)
        remaining = backwards[:, ::-1]  # real positions from here to the end
        last = real & (remaining == 1)
        lengths = real.sum(axis=1, keepdims=True)
        mean = real / np.maximum(lengths, 1)
        weights = np.stack([last, mean], axis=1).astype(x.dtype)
        picked = F.matmul(weights, x)  # (B,2,T) (B,T,C) -> (B,2,C)
        largest = F.max_over_time(x, real)
        return F.concatenate([picked[:, 0], largest, picked[:, 1]], axis=1)
