"""A bidirectional text encoder: three tables that add up, then transformer blocks, post-norm.

    x = dropout(LN(tokens[ids] + positions[0 … T−1] + types[token_types]))
    h_l = block_l(h_{l−1}),    every position sees every real position

Source: Devlin et al. 2019 (BERT); Clark et al. 2020 for tables that are narrower than the blocks.
"""

from dataclasses import dataclass

import numpy as np

from tinylm import ops as F
from tinylm.arguments import id_rows
from tinylm.errors import ShapeError
from tinylm.settings import Config, at_least
from tinylm.tensor import Tensor

from .layers import Dropout, Embedding, LayerNorm, Linear
from .module import Module, ModuleList, Noise, Parameter, full, truncate
from .transformer import BlockConfig, TransformerBlock

# Published names of activations -> ours. gelu_fast writes the same formula with rounded constants.
ACTIVATION_NAMES = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
    "tanh": "tanh",
    "sigmoid": "sigmoid",
}


@dataclass(frozen=True)
class EncoderConfig(Config):
    """Sizes of an encoder; its blocks are a BlockConfig.

    vocab_size : V     positions : the longest text     types : kinds of tokens, 0 for no such table
    layers : L     sinusoids : positions begin as `sinusoids`, not at random
    table_width : width of the three tables, projected to the blocks' where it
    differs

    >>> EncoderConfig(11, positions=7, types=2, layers=1, table_width=6).types
    2
    """

    ranges = {
        "vocab_size": at_least(1),
        "positions": at_least(1),
        "types": at_least(0),
        "layers": at_least(0),
        "table_width": at_least(1),
    }
    vocab_size: int
    positions: int
    types: int
    layers: int
    table_width: int
    sinusoids: bool = False


def sinusoids(positions: int, width: int, std: float, base: float = 10_000.0) -> np.ndarray:
    """A first table of positions in which a step to the right is the same turn everywhere.

        row t = √2·std · [sin(t·r_0) … sin(t·r_{n−1}), cos(t·r_0) … cos(t·r_{n−1})]
        r_i = base^(−i/n),   n = width // 2

    So what attention learns about a distance at one place holds at all places. With a smaller base
    all rates are fast, and two rows differ after few steps.
    returns (positions, width) float32; an odd last column is 0
    Source: Vaswani et al. 2017, section 3.5. Differs: the table is learned from there on.

    >>> print(sinusoids(3, 2, std=1.0).round(2))
    [[ 0.    1.41]
     [ 1.19  0.76]
     [ 1.29 -0.59]]
    """
    half = width // 2
    rates = base ** (-np.arange(half) / max(half, 1))
    angles = np.arange(positions)[:, None] * rates  # (positions, half)
    table = full((positions, width), 0)
    table[:, :half] = np.sin(angles)
    table[:, half : 2 * half] = np.cos(angles)
    return table * np.float32(std * 2**0.5)


class Embeddings(Module):
    """Tables of tokens, positions and types, summed and normed.   ids (B, T) -> (B, T, E)

    config : EncoderConfig     eps : of the norm     std : of the initial weights
    rng : Generator of the initial weights
    """

    def __init__(self, config: EncoderConfig, *, eps: float, std: float, rng: np.random.Generator):
        width = config.table_width
        self.words = Embedding(config.vocab_size, width, rng=rng, std=std)
        self.positions = Embedding(config.positions, width, rng=rng, std=std)
        if config.sinusoids:
            self.positions.weight.data[...] = sinusoids(config.positions, width, std)
        self.types = None
        if config.types:
            self.types = Embedding(config.types, width, rng=rng, std=std)
        self.norm = LayerNorm(width, eps)

    def forward(self, ids, token_types=None, position_ids=None) -> Tensor:
        """ids : (B, T) integers -> (B, T, E)

        token_types : (B, T), None = all 0     position_ids : (T,) or (B, T), None = 0 … T − 1
        raises ShapeError  if a text is longer than the table of positions
        """
        ids = np.asarray(ids)
        longest = len(self.positions.weight)
        if ids.ndim != 2 or (position_ids is None and ids.shape[1] > longest):
            raise ShapeError(
                f"Embeddings: ids have shape {ids.shape}; "
                f"expected (B, T) with at most {longest} positions."
            )
        if position_ids is None:
            position_ids = np.arange(ids.shape[1])
        x = self.words(ids) + self.positions(position_ids)  # (B,T) -> (B,T,E)
        if self.types is not None:
            if token_types is None:
                token_types = np.zeros_like(ids)
            x = x + self.types(token_types)
        return self.norm(x)


class Encoder(Module):
    """Embeddings, then L transformer blocks that see in both directions.

    config, block : EncoderConfig, BlockConfig     noise : nn.Noise
    rng : Generator of the initial weights, a normal distribution truncated at two deviations
    embeddings : those of another encoder, to share its tables; None makes new ones

    >>> block = BlockConfig(width=6, heads=3, hidden=24, pre_norm=False)
    >>> config = EncoderConfig(11, positions=7, types=2, layers=2, table_width=6)
    >>> encoder = Encoder(config, block, noise=Noise(), rng=np.random.default_rng(0))
    >>> [state.shape for state in encoder(np.zeros((2, 5), int))]
    [(2, 5, 6), (2, 5, 6), (2, 5, 6)]
    """

    def __init__(
        self,
        config: EncoderConfig,
        block: BlockConfig,
        *,
        noise: Noise,
        rng: np.random.Generator,
        embeddings: Embeddings | None = None,
    ):
        is_shared = embeddings is not None
        if embeddings is None:
            embeddings = Embeddings(config, eps=block.eps, std=block.std, rng=rng)
        self.embeddings = embeddings
        self.drop = Dropout(block.residual_dropout, noise)
        self.project = None
        if config.table_width != block.width:
            self.project = Linear(config.table_width, block.width, rng=rng, std=block.std)
        self.h = ModuleList(
            TransformerBlock(block, noise=noise, rng=rng) for _ in range(config.layers)
        )
        new = [self.h] if self.project is None else [self.project, self.h]
        for part in new if is_shared else [embeddings, *new]:
            truncate(part, rng, block.std)

    def forward(
        self, ids, mask=None, token_types=None, position_ids=None, scores=None
    ) -> list[Tensor]:
        """The input of the first block, then every block's output: L + 1 Tensors (B, T, C).

        ids : (B, T) integers     mask : (B, T) bool, True = a real token
        token_types, position_ids : as in Embeddings
        scores : None, or a list that gets each block's `MultiHeadAttention.scores`, (B, H, T, T)
        """
        ids, mask = id_rows("Encoder", ids, mask)
        x = self.drop(self.embeddings(ids, token_types, position_ids))
        if self.project is not None:
            x = self.project(x)  # (B,T,E) -> (B,T,C)
        allowed = None
        if mask is not None:
            allowed = mask[:, None, None, :]  # (B,T) -> (B,1,1,T)
        states = [x]
        for block in self.h:
            x = block(x, allowed, scores=scores)
            states.append(x)
        return states

    def layer_groups(self) -> list[list[Parameter]]:
        """The Parameters from the bottom up: the tables with their projection, then each block."""
        tables = self.embeddings.parameters()
        if self.project is not None:
            tables += self.project.parameters()
        return [tables, *(block.parameters() for block in self.h)]


class TokenHead(Module):
    """Scores of all tokens at some states: dense, activation, norm, then a table of tokens.

    width : C of the states     table_width : E of the table, which the caller passes in

    >>> head = TokenHead(6, 5, 11, activation="gelu", eps=1e-12, std=0.02,
    ...                  rng=np.random.default_rng(0))
    >>> table = Parameter(np.ones((11, 5), np.float32))
    >>> head(Tensor(np.ones((2, 3, 6), np.float32)), table).shape
    (2, 3, 11)
    """

    def __init__(
        self,
        width: int,
        table_width: int,
        vocab_size: int,
        *,
        activation: str,
        eps: float,
        std: float,
        rng: np.random.Generator,
    ):
        self.activation = activation
        self.dense = Linear(width, table_width, rng=rng, std=std)
        self.norm = LayerNorm(table_width, eps)
        self.bias = Parameter(full((vocab_size,), 0))
        truncate(self, rng, std)

    def transform(self, x) -> Tensor:
        """x : (..., C) -> (..., E), what is compared with the table."""
        return self.norm(self.dense(x, activation=self.activation))

    def forward(self, x, table) -> Tensor:
        """x : (..., C), table : (V, E) -> scores (..., V)"""
        return F.linear(self.transform(x), table, self.bias)

    def loss(self, x, table, targets) -> Tensor:
        """Mean cross-entropy in nats.

        x : (..., C)     table : (V, E)     targets : (...) integers, −100 = not counted
        """
        return F.linear_cross_entropy(self.transform(x), table, targets, bias=self.bias)
