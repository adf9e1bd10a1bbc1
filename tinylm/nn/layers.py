"""The layers: Linear, Conv1d, Embedding, LayerNorm, BatchNorm1d and Dropout."""

import numpy as np
from numpy.typing import ArrayLike

from tinylm import ops as F
from tinylm.ops.registry import Operand
from tinylm.settings import argument, at_least, between, from_to_below
from tinylm.tensor import Tensor

from .module import Buffer, Module, Noise, Parameter, full, normal


class Linear(Module):
    """y = residual + dropout(f(x Wᵀ + b)).   x : (..., n_in) -> (..., n_out)

    weight : (n_out, n_in) from N(0, std²)     bias : (n_out,) zeros, or None

    >>> layer = Linear(3, 5, rng=np.random.default_rng(0))
    >>> layer
    Linear(weight (5, 3), bias (5,))
    >>> layer(np.ones((2, 7, 3), np.float32)).shape
    (2, 7, 5)
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        bias: bool = True,
        *,
        rng: np.random.Generator,
        std: float = 0.02,
    ):
        self.weight = Parameter(normal(rng, (n_out, n_in), std))
        self.bias = Parameter(full((n_out,), 0)) if bias else None

    def forward(
        self,
        x: Operand,
        activation: str | None = None,
        dropout: float = 0.0,
        key: int = 0,
        residual: Operand | None = None,
    ) -> Tensor:
        """x : (..., n_in) -> (..., n_out); the other arguments as in ops.linear."""
        return F.linear(x, self.weight, self.bias, activation, dropout, key, residual)


class Conv1d(Module):
    """Convolution over time with filters of K steps.   x : (B, T, n_in) -> (B, T − K + 1, n_out)

    weight : (n_out, n_in, K) from N(0, std²)     bias : (n_out,) zeros

    >>> layer = Conv1d(3, 5, size=2, rng=np.random.default_rng(0))
    >>> layer(np.ones((2, 7, 3), np.float32)).shape
    (2, 6, 5)
    """

    def __init__(
        self, n_in: int, n_out: int, size: int, *, rng: np.random.Generator, std: float = 0.02
    ):
        self.weight = Parameter(normal(rng, (n_out, n_in, size), std))
        self.bias = Parameter(full((n_out,), 0))

    def forward(self, x: Operand, stride: int = 1, padding: int = 0, dilation: int = 1) -> Tensor:
        """x : (B, T, n_in) -> (B, T', n_out); the other arguments as in ops.conv1d."""
        return F.conv1d(x, self.weight, self.bias, stride, padding, dilation)

    def maximum(self, x: Operand) -> Tensor:
        """x : (B, T, n_in) -> (B, n_out), the maximum over time of forward(x)."""
        return F.conv1d_max(x, self.weight, self.bias)


class Embedding(Module):
    """A table of n vectors of width c from N(0, std²).   ids : any shape -> (*ids.shape, c)

    >>> Embedding(11, 5, rng=np.random.default_rng(0))(np.array([[3, 4, 3]])).shape
    (1, 3, 5)
    """

    def __init__(self, n: int, c: int, *, rng: np.random.Generator, std: float = 0.02):
        self.weight = Parameter(normal(rng, (n, c), std))

    def forward(self, ids: ArrayLike) -> Tensor:
        """ids : integers of any shape -> (*ids.shape, c)"""
        return F.embedding(ids, self.weight)


class LayerNorm(Module):
    """(x − mean)/√(var + ε)·w + b over the last axis.   (..., c) -> (..., c)

    weight : (c,) ones     bias : (c,) zeros

    >>> LayerNorm(3)(np.float32([[1, 3, 5]])).data.round(3)
    array([[-1.225,  0.   ,  1.225]], dtype=float32)
    """

    def __init__(self, c: int, eps: float = 1e-5):
        self.weight = Parameter(full((c,), 1))
        self.bias = Parameter(full((c,), 0))
        self.eps = argument("LayerNorm", "eps", eps, float, at_least(0))

    def forward(self, x: Operand) -> Tensor:
        """x : (..., c) -> (..., c)"""
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


class BatchNorm1d(Module):
    """(x − mean)/√(var + ε)·w + b over a batch.   (N, c) -> (N, c)

    weight : (c,) ones     bias : (c,) zeros
    running_mean, running_var : (c,) buffers, moving averages over the training batches; evaluation
        uses them in place of the batch's own
    momentum : the share of the newest batch in these averages

    >>> layer = BatchNorm1d(1)
    >>> layer(np.float32([[1], [3]])).data.round(3).ravel()
    array([-1.,  1.], dtype=float32)
    >>> layer.running_mean.data
    array([0.2], dtype=float32)
    """

    def __init__(self, c: int, eps: float = 1e-5, momentum: float = 0.1):
        self.weight = Parameter(full((c,), 1))
        self.bias = Parameter(full((c,), 0))
        self.running_mean = Buffer(full((c,), 0))
        self.running_var = Buffer(full((c,), 1))
        self.eps = argument("BatchNorm1d", "eps", eps, float, at_least(0))
        self.momentum = argument("BatchNorm1d", "momentum", momentum, float, between(0, 1))

    def forward(self, x: Operand) -> Tensor:
        """x : (N, c) -> (N, c)"""
        return F.batch_norm(
            x,
            self.running_mean.data,
            self.running_var.data,
            self.weight,
            self.bias,
            self.training,
            self.momentum,
            self.eps,
        )


class Dropout(Module):
    """Dropout while training, nothing in evaluation.   any shape -> the same

    rate : in [0, 1)     noise : the model's Noise
    shared : axes along which one mask serves all, see ops.dropout; for a (B, T, C) sequence (1,) is
        variational dropout

    >>> layer = Dropout(0.5, Noise(seed=7))
    >>> layer(np.ones(8))
    Tensor([2. 2. 2. 0. 2. 0. 0. 0.])
    >>> layer.eval()(Tensor([1.0, 2.0]))
    Tensor([1. 2.])
    """

    def __init__(self, rate: float, noise: Noise, shared: tuple[int, ...] = ()):
        self.rate = argument("Dropout", "rate", rate, float, from_to_below(0, 1))
        self.noise = noise
        self.shared = shared

    def forward(self, x: Operand) -> Tensor:
        """x : any shape -> the same"""
        if not (self.training and self.rate):
            return x
        return F.dropout(x, self.rate, self.noise.key(), self.shared)
