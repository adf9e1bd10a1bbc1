"""Words from their characters: highway layers and the character CNN of ELMo."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tinylm import ops as F
from tinylm.errors import ArgumentError
from tinylm.memory import must_fit
from tinylm.ops.registry import Operand
from tinylm.settings import Config, at_least, one_of
from tinylm.tensor import Tensor

from .layers import Conv1d, Embedding, Linear
from .module import Module, ModuleList


class Highway(Module):
    """A layer that a gate mixes with its own input.   (..., C) -> (..., C)

        g = σ(W_c x + b_c)      y = g·relu(W_t x + b_t) + (1 − g)·x

    width : C
    rng : Generator of the initial weights, N(0, 1/C); b_c starts at −2, so that most of x passes at
    first
    Source: Srivastava et al. 2015, initialised as ELMo's.

    >>> highway = Highway(5, rng=np.random.default_rng(0))
    >>> highway(np.zeros((2, 3, 5), np.float32)).shape
    (2, 3, 5)
    """

    def __init__(self, width: int, *, rng: np.random.Generator):
        self.carry = Linear(width, width, rng=rng, std=width**-0.5)
        self.transform = Linear(width, width, rng=rng, std=width**-0.5)
        self.carry.bias.data -= 2

    def forward(self, x: Operand) -> Tensor:
        """x : (..., C) -> (..., C)"""
        gate = self.carry(x, activation="sigmoid")
        return x + gate * (self.transform(x, activation="relu") - x)


@dataclass(frozen=True)
class CharCNNConfig(Config):
    """Sizes under the published names; the defaults are ELMo's.

    filters : (width in characters, count) pairs     activation : "relu" or "tanh"

    >>> CharCNNConfig().n_filters
    2048
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

    def check(self) -> None:
        """raises ArgumentError if there are no filters or the weights do not fit into the memory"""
        if not self.filters:
            raise ArgumentError("CharCNNConfig: filters is empty; expected (width, count) pairs.")
        longest = max(width for width, _ in self.filters)
        inputs = self.n_characters + longest * self.n_filters
        must_fit((inputs, self.embedding_dim), 4, "CharCNNConfig: the character filters")
        outputs = 2 * self.n_highway * self.n_filters + self.projection_dim
        must_fit((self.n_filters, outputs), 4, "CharCNNConfig: the layers above the filters")

    @property
    def n_filters(self) -> int:
        """Filters of all widths together."""
        return sum(count for _, count in self.filters)


def _without_repeats(ids, size):
    """ids (N, L) without the padding at the end, except for `size` columns of it.

    Padding here is any run of equal columns. A filter of up to `size` characters sees the same
    window at every place in the run, so maxima and their gradients stay.
    """
    differs = ids[:, 1:] != ids[:, :-1]  # from the column before
    changed = np.flatnonzero(differs.any(axis=0))
    run = changed[-1] + 1 if changed.size else 0  # the first column of the last run
    return ids[:, : run + size]


class CharCNN(Module):
    """A vector for each word from its characters.   ids (B, T, L) -> (B, T, projection_dim)

    Embedding, filters of several widths, maximum over time, activation, highway layers, projection.
    The maximum is over all L characters, padding included, as published. The projection is left out
    where it would not change the width.
    config : CharCNNConfig     rng : Generator of the initial weights
    Source: Kim et al. 2016; Peters et al. 2018.

    >>> config = CharCNNConfig(filters=((1, 2), (3, 4)), projection_dim=5)
    >>> words = np.zeros((2, 3, 7), int)  # 2 texts of 3 words of 7 characters
    >>> CharCNN(config, rng=np.random.default_rng(0))(words).shape
    (2, 3, 5)
    """

    def __init__(self, config: CharCNNConfig, *, rng: np.random.Generator):
        c = self.config = config
        self.char_embed = Embedding(c.n_characters, c.embedding_dim, rng=rng)
        table = self.char_embed.weight
        table.data[...] = rng.uniform(-1, 1, table.shape)
        layers = []
        for size, count in c.filters:
            std = (size * c.embedding_dim) ** -0.5
            layers.append(Conv1d(c.embedding_dim, count, size, rng=rng, std=std))
        if c.activation == "relu":
            for layer in layers:
                weight = layer.weight
                weight.data[...] = rng.uniform(-0.05, 0.05, weight.shape)
        self.convolutions = ModuleList(layers)
        highway = [Highway(c.n_filters, rng=rng) for _ in range(c.n_highway)]
        self.highway = ModuleList(highway)
        self.projection = None
        if c.projection_dim != c.n_filters:
            std = c.n_filters**-0.5
            self.projection = Linear(c.n_filters, c.projection_dim, rng=rng, std=std)

    def forward(self, ids: ArrayLike) -> Tensor:
        """ids : (B, T, L) characters of every word -> (B, T, projection_dim)"""
        longest = max(size for size, _ in self.config.filters)
        *places, characters = np.shape(ids)  # (B, T) and L
        words = np.reshape(ids, (-1, characters))  # (B,T,L) -> (B·T,L)
        x = self.char_embed(_without_repeats(words, longest))  # -> (B·T,L',C)
        maxima = [layer.maximum(x) for layer in self.convolutions]
        x = F.concatenate(maxima, axis=1)  # -> (B·T,n_filters)
        x = F.relu(x) if self.config.activation == "relu" else F.tanh(x)
        for layer in self.highway:
            x = layer(x)
        if self.projection is not None:
            x = self.projection(x)
        return F.reshape(x, (*places, x.shape[1]))  # -> (B,T,P)

    def each_once(self, ids: ArrayLike) -> Tensor:
        """As `forward`, but equal words are read once.   (..., L) -> (..., projection_dim)

        A text repeats its words, so this is several times as fast.
        """
        *places, length = np.shape(ids)
        rows = np.ascontiguousarray(np.reshape(ids, (-1, length)))
        known: dict[bytes, int] = {}
        numbers = [known.setdefault(row.tobytes(), len(known)) for row in rows]
        _, firsts = np.unique(numbers, return_index=True)
        vectors = self.forward(rows[None, firsts])[0]  # (1,N,L) -> (N,P)
        return F.embedding(np.reshape(numbers, places), vectors)
