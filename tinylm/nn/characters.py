"""Words from their characters: highway layers and the character CNN of ELMo."""

from dataclasses import dataclass

import numpy as np

from .. import ops as F
from ..errors import ArgumentError
from ..memory import must_fit
from ..settings import Config, at_least, one_of
from .layers import Conv1d, Embedding, Linear
from .module import Module, ModuleList


class Highway(Module):
    """A layer that a gate mixes with its own input.   (..., C) -> (..., C)

        g = σ(W_c x + b_c)      y = g·relu(W_t x + b_t) + (1 − g)·x

    width : C     rng : Generator of the initial weights, N(0, 1/C); b_c starts at −2, so that at first most is carried
    Source: Srivastava et al. 2015, initialised as ELMo's.
    """

    def __init__(self, width, *, rng):
        self.carry = Linear(width, width, rng=rng, std=width**-0.5)
        self.transform = Linear(width, width, rng=rng, std=width**-0.5)
        self.carry.bias.data -= 2

    def forward(self, x):
        """x : (..., C) -> (..., C)"""
        gate = self.carry(x, activation="sigmoid")
        return x + gate * (self.transform(x, activation="relu") - x)


@dataclass(frozen=True)
class CharCNNConfig(Config):
    """Sizes under the published names; the defaults are ELMo's.

    filters : (width in characters, count) pairs     activation : "relu" or "tanh"
    """

    ranges = {
        "n_characters": at_least(1),
        "embedding_dim": at_least(1),
        "filters": at_least(1),
        "activation": one_of("relu", "tanh"),
        "n_highway": at_least(0, 1000),
        "projection_dim": at_least(1),
    }
    n_characters: int = 262
    embedding_dim: int = 16
    filters: tuple[tuple[int, int], ...] = (
        (1, 32),
        (2, 32),
        (3, 64),
        (4, 128),
        (5, 256),
        (6, 512),
        (7, 1024),
    )
    activation: str = "relu"
    n_highway: int = 2
    projection_dim: int = 512

    def check(self):
        """There are filters, and the weights fit into the memory.   raises ArgumentError"""
        if not self.filters:
            raise ArgumentError("CharCNNConfig: filters is empty; expected (width, count) pairs.")
        longest = max(width for width, _ in self.filters)
        inputs = self.n_characters + longest * self.n_filters
        must_fit((inputs, self.embedding_dim), 4, "CharCNNConfig: the character filters")
        outputs = 2 * self.n_highway * self.n_filters + self.projection_dim
        must_fit((self.n_filters, outputs), 4, "CharCNNConfig: the layers above the filters")

    @property
    def n_filters(self):
        """Filters of all widths together."""
        return sum(count for _, count in self.filters)


def _without_repeats(ids, size):
    """ids (N, L) without the columns at the end that only repeat the one before, `size` of them kept.

    No filter of up to `size` characters sees anything else in what is cut off: maxima and their gradients stay.
    """
    changed = np.flatnonzero((ids[:, 1:] != ids[:, :-1]).any(axis=0))
    return ids[:, : size + (changed[-1] + 1 if changed.size else 0)]


class CharCNN(Module):
    """A vector for each word from its characters.   ids (B, T, L) -> (B, T, projection_dim)

    Embedding, filters of several widths, maximum over time, activation, highway layers, projection. The maximum is over all
    L characters, padding included, as published. No projection where it would not change the width.
    config : CharCNNConfig     rng : Generator of the initial weights
    Source: Kim et al. 2016; Peters et al. 2018.
    """

    def __init__(self, config, *, rng):
        c = self.config = config
        self.char_embed = Embedding(c.n_characters, c.embedding_dim, rng=rng)
        self.char_embed.weight.data[...] = rng.uniform(-1, 1, self.char_embed.weight.shape)
        self.convolutions = ModuleList(
            [
                Conv1d(c.embedding_dim, count, size, rng=rng, std=(size * c.embedding_dim) ** -0.5)
                for size, count in c.filters
            ]
        )
        for layer in self.convolutions if c.activation == "relu" else ():
            layer.weight.data[...] = rng.uniform(-0.05, 0.05, layer.weight.shape)
        self.highway = ModuleList([Highway(c.n_filters, rng=rng) for _ in range(c.n_highway)])
        projected = c.projection_dim != c.n_filters
        self.projection = (
            Linear(c.n_filters, c.projection_dim, rng=rng, std=c.n_filters**-0.5)
            if projected
            else None
        )

    def forward(self, ids):
        """ids : (B, T, L) characters of every word -> (B, T, projection_dim)"""
        words = np.asarray(ids).reshape(-1, np.shape(ids)[-1])  # (B,T,L) -> (B·T,L)
        x = self.char_embed(
            _without_repeats(words, max(size for size, _ in self.config.filters))
        )  # -> (B·T,L',C)
        x = F.concatenate(
            [layer.maximum(x) for layer in self.convolutions], axis=1
        )  # -> (B·T,n_filters)
        x = F.relu(x) if self.config.activation == "relu" else F.tanh(x)
        for layer in self.highway:
            x = layer(x)
        x = x if self.projection is None else self.projection(x)
        return F.reshape(x, (*np.shape(ids)[:-1], x.shape[1]))  # -> (B,T,P)
