"""One vector from many: a mix of layers, and heads that pool a sequence."""

import numpy as np

from .. import ops as F
from ..errors import ShapeError
from .layers import Linear
from .module import Module, Parameter


class ScalarMix(Module):
    """γ Σ_l softmax(w)_l h_l over L layers of one shape.   L arrays (B, T, C) -> (B, T, C)

    w : (L,) zeros     γ : () one     layer_norm : each layer is first normalised by the mean and the variance of all its
    numbers at real positions
    Source: Peters et al. 2018, equation 1.
    """

    def __init__(self, layers, layer_norm=False):
        self.w = Parameter(np.zeros(layers, np.float32))
        self.gamma = Parameter(np.ones((), np.float32))
        self.layer_norm = layer_norm

    def forward(self, layers, mask=None):
        """layers : L tensors (B, T, C) -> (B, T, C)     mask : bool (B, T), True = a real position, None = all are

        raises ShapeError  for another number of layers
        """
        if len(layers) != len(self.w):
            raise ShapeError(
                f"ScalarMix: got {len(layers)} arrays; expected one for each of its {len(self.w)} layers."
            )
        shares = F.softmax(self.w) * self.gamma
        if self.layer_norm:
            mask = np.ones(layers[0].shape[:2], bool) if mask is None else np.asarray(mask, bool)
            layers = [_normalised(x, mask) for x in layers]
        mixed = [x * share for x, share in zip(layers, shares, strict=True)]
        return sum(mixed[1:], mixed[0])


def _normalised(x, mask):
    """x (B, T, C) less its mean, over its deviation; both of all numbers where the mask (B, T) holds."""
    count = mask.sum() * x.shape[2] or 1
    real = mask[:, :, None].astype(x.dtype)
    centred = x - F.sum(x * real) / count
    return centred / F.sqrt(F.sum(F.square(centred * real)) / count + 1e-13)


class Pooler(Module):
    """tanh(W x_0 + b), a dense layer on the first token.   (B, T, C) -> (B, C)

    width : C     rng : Generator of the initial weights, N(0, std²)
    Source: Devlin et al. 2019 (BERT's release).
    """

    def __init__(self, width, *, rng, std=0.02):
        self.dense = Linear(width, width, rng=rng, std=std)

    def forward(self, x):
        """x : (B, T, C) -> (B, C)"""
        return self.dense(x[:, 0], activation="tanh")


class ConcatPool(Module):
    """The last real position, the maximum and the mean over real positions, side by side.   (B, T, C) -> (B, 3·C)

    Source: Howard & Ruder 2018, section 3.3.
    """

    def forward(self, x, mask=None):
        """x : (B, T, C) -> (B, 3·C)     mask : bool (B, T), True = real, None = all are; a row without any gives 0"""
        mask = np.ones(x.shape[:2], bool) if mask is None else np.asarray(mask, bool)
        last = mask & (mask[:, ::-1].cumsum(axis=1)[:, ::-1] == 1)  # one True where the row has any
        mean = mask / np.maximum(mask.sum(axis=1, keepdims=True), 1)
        picked = F.matmul(
            np.stack([last, mean], axis=1).astype(x.dtype), x
        )  # (B,2,T) (B,T,C) -> (B,2,C)
        return F.concatenate([picked[:, 0], F.max_over_time(x, mask), picked[:, 1]], axis=1)
