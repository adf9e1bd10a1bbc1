"""The layers: Linear, Conv1d, Embedding, LayerNorm, BatchNorm1d, Dropout, and the source of dropout's keys."""

from .. import ops as F
from ..settings import argument, at_least, between, from_to_below
from .module import Buffer, Module, Parameter, full, normal


class Linear(Module):
    """y = residual + dropout(f(x Wᵀ + b)).   x : (..., n_in) -> (..., n_out)

    weight : (n_out, n_in) from N(0, std²)     bias : (n_out,) zeros, or None
    """

    def __init__(self, n_in, n_out, bias=True, *, rng, std=0.02):
        self.weight = Parameter(normal(rng, (n_out, n_in), std))
        self.bias = Parameter(full((n_out,), 0)) if bias else None

    def forward(self, x, activation=None, dropout=0.0, key=0, residual=None):
        """x : (..., n_in) -> (..., n_out); the other arguments as in ops.linear."""
        return F.linear(x, self.weight, self.bias, activation, dropout, key, residual)


class Conv1d(Module):
    """Convolution over time with filters of K steps.   x : (B, T, n_in) -> (B, T − K + 1, n_out)

    weight : (n_out, n_in, K) from N(0, std²)     bias : (n_out,) zeros
    """

    def __init__(self, n_in, n_out, size, *, rng, std=0.02):
        self.weight = Parameter(normal(rng, (n_out, n_in, size), std))
        self.bias = Parameter(full((n_out,), 0))

    def forward(self, x, stride=1, padding=0, dilation=1):
        """x : (B, T, n_in) -> (B, T', n_out); the other arguments as in ops.conv1d."""
        return F.conv1d(x, self.weight, self.bias, stride, padding, dilation)

    def maximum(self, x):
        """x : (B, T, n_in) -> (B, n_out), the maximum over time of forward(x)."""
        return F.conv1d_max(x, self.weight, self.bias)


class Embedding(Module):
    """A table of n vectors of width c from N(0, std²).   ids : any shape -> (*ids.shape, c)"""

    def __init__(self, n, c, *, rng, std=0.02):
        self.weight = Parameter(normal(rng, (n, c), std))

    def forward(self, ids):
        """ids : integers of any shape -> (*ids.shape, c)"""
        return F.embedding(ids, self.weight)


class LayerNorm(Module):
    """(x − mean)/√(var + ε)·w + b over the last axis of size c; w starts at 1, b at 0.   (..., c) -> (..., c)"""

    def __init__(self, c, eps=1e-5):
        self.weight = Parameter(full((c,), 1))
        self.bias = Parameter(full((c,), 0))
        self.eps = argument("LayerNorm", "eps", eps, float, at_least(0))

    def forward(self, x):
        """x : (..., c) -> (..., c)"""
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


class BatchNorm1d(Module):
    """(x − mean)/√(var + ε)·w + b over a batch; w starts at 1, b at 0.   (N, c) -> (N, c)

    running_mean, running_var : (c,) buffers, averages over batches that `momentum` moves; evaluation uses them
    """

    def __init__(self, c, eps=1e-5, momentum=0.1):
        self.weight = Parameter(full((c,), 1))
        self.bias = Parameter(full((c,), 0))
        self.running_mean = Buffer(full((c,), 0))
        self.running_var = Buffer(full((c,), 1))
        self.eps = argument("BatchNorm1d", "eps", eps, float, at_least(0))
        self.momentum = argument("BatchNorm1d", "momentum", momentum, float, between(0, 1))

    def forward(self, x):
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
    """Dropout while training, nothing in evaluation.   any shape -> the same; rate in [0, 1), noise : Noise

    shared : axes along which one mask serves all, see ops.dropout; (1,) is variational dropout of a (B, T, C) sequence
    """

    def __init__(self, rate, noise, shared=()):
        self.rate = argument("Dropout", "rate", rate, float, from_to_below(0, 1))
        self.noise = noise
        self.shared = shared

    def forward(self, x):
        """x : any shape -> the same"""
        return (
            F.dropout(x, self.rate, self.noise.key(), self.shared)
            if self.training and self.rate
            else x
        )
