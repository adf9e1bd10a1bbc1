"""Attention by relative position and segment, in one stream or two, under XLNet's published names.

    score(i, j) = [ (q_i + u)·k_j  +  (q_i + v)·W_r R(i − j)  +  (q_i + s)·g[same or other] ] / √D

q_i + u asks what stands at j, q_i + v how far away it is, q_i + s whether it is of the same
segment. R is a table of sinusoids, so no position has a vector of its own, and a text may be as
long as it likes. `score` below is one entry as one writes it on paper.

The second stream asks for a few places only. Its queries do not know what stands there; keys and
values are the first stream's, and so are all weights.

Source: Dai et al. 2019, section 3.3; Yang et al. 2019, sections 2.3 to 2.5.
"""

from dataclasses import dataclass

import numpy as np

from tinylm import ops as F
from tinylm.errors import ShapeError
from tinylm.tensor import Tensor

from .layers import LayerNorm, Linear
from .module import Module, Noise, Parameter, normal
from .transformer import BlockConfig


def score(q, k, r, g, u, v, s) -> float:
    """The score of one query and one key in one head.

    q, k : D numbers each     r : D numbers, the projected sinusoids of their distance
    g : D numbers, the head's vector for keys of the same segment, or for those of another one
    u, v, s : D numbers each, the biases of content, position and segment

    >>> score([1.0], [3.0], [2.0], [-1.0], [0.5], [0.0], [1.0])  # 1.5 · 3 + 1 · 2 − 2 · 1
    4.5
    """
    total = 0.0
    for d in range(len(q)):
        total += (q[d] + u[d]) * k[d] + (q[d] + v[d]) * r[d] + (q[d] + s[d]) * g[d]
    return total / len(q) ** 0.5


def distances(length: int, source: int, clamp: int = -1) -> np.ndarray:
    """How far a key may stand before a query, from the farthest to those behind it.

    length, source : T queries, the last of S keys     clamp : the farthest, −1 for no limit
    returns (S + T,) from S down to 1 − T

    >>> distances(2, 3)
    array([ 3,  2,  1,  0, -1])
    >>> distances(2, 3, clamp=1)
    array([ 1,  1,  1,  0, -1])
    """
    found = np.arange(source, -length, -1)
    return found.clip(-clamp, clamp) if clamp > 0 else found


def distance_table(steps: np.ndarray, width: int) -> np.ndarray:
    """A row [sin, cos] for each distance.   (R,) -> (R, width) float64

        sin(d · r_i), cos(d · r_i),   r_i = 10000^(−2i/width)

    >>> distance_table(np.array([0, 1]), 2).round(2)
    array([[0.  , 1.  ],
           [0.84, 0.54]])
    """
    rates = 10000.0 ** (-np.arange(0, width, 2) / width)
    angles = steps[:, None] * rates  # (R,C/2)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)[:, :width]


@dataclass(frozen=True)
class View:
    """What some queries of a batch may see, and how it stands to them.

    allowed : (B or 1, T, S) bool, True = the query may see the key; None = all
    other : (B, T, S) bool, True = the key is of another segment; None = segments are not compared.
        Softmax ignores what all scores of a query have in common, so their (q + s)·g_same is left
        out, and those of another segment have (q + s)·(g_other − g_same).
    places : (B, K) which of the T positions ask, None = all of them, in order

    >>> View(None, None).at(np.array([[1]])).places
    array([[1]])
    """

    allowed: np.ndarray | None
    other: np.ndarray | None
    places: np.ndarray | None = None

    def at(self, places: np.ndarray) -> "View":
        """The view of the queries at some places (B, K)."""

        def taken(array):
            if array is None:
                return None
            full = np.broadcast_to(array, (len(places), *array.shape[1:]))
            return np.take_along_axis(full, places[..., None], axis=1)

        return View(taken(self.allowed), taken(self.other), places)


class Biases(Module):
    """u, v and s, each (H, D): what every query adds before it asks for content, place, segment."""

    def __init__(self, config: BlockConfig, rng: np.random.Generator):
        shape = (config.heads, config.width // config.heads)
        self.r_w_bias = Parameter(normal(rng, shape, config.std))
        self.r_r_bias = Parameter(normal(rng, shape, config.std))
        self.r_s_bias = Parameter(normal(rng, shape, config.std))


class RelativeAttention(Module):
    """Attention with residual and norm.   (B, T, C) -> (B, T, C)

    config : BlockConfig     noise : nn.Noise     rng : Generator of the initial weights
    biases : those that several layers share; None makes the layer's own
    """

    def __init__(
        self,
        config: BlockConfig,
        *,
        noise: Noise,
        rng: np.random.Generator,
        biases: Biases | None = None,
    ):
        self.config = config
        self.noise = noise
        width = config.width
        self.q = Linear(width, width, bias=False, rng=rng, std=config.std)
        self.k = Linear(width, width, bias=False, rng=rng, std=config.std)
        self.v = Linear(width, width, bias=False, rng=rng, std=config.std)
        self.o = Linear(width, width, bias=False, rng=rng, std=config.std)
        self.r = Linear(width, width, bias=False, rng=rng, std=config.std)
        self.biases = Biases(config, rng) if biases is None else biases
        shape = (2, config.heads, width // config.heads)
        self.seg_embed = Parameter(normal(rng, shape, config.std))
        self.layer_norm = LayerNorm(width, config.eps)

    def _heads(self, x):
        """(..., T, C) -> (..., H, T, D)"""
        heads = self.config.heads
        split = x.reshape(*x.shape[:-1], heads, x.shape[-1] // heads)
        return F.swapaxes(split, -3, -2)

    def keys(self, x: Tensor, table: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What both streams look at.

        x : (B, S, C), memory and content     table : (G, R, C), the sinusoids of the distances
        returns keys (B, H, S, D), values (B, H, S, D), distances (G, H, R, D)
        """
        return self._heads(self.k(x)), self._heads(self.v(x)), self._heads(self.r(table))

    def forward(self, x: Tensor, seen: tuple[Tensor, Tensor, Tensor], view: View) -> Tensor:
        """x : (B, T, C) -> norm(x + attention), (B, T, C)

        seen : of `keys`     view : what the T queries may see
        A query that may see nothing takes the mean of all values, as published.
        """
        rate = self.config.attention_dropout if self.training else 0.0
        key = self.noise.key() if rate else 0
        keys, values, steps = seen
        y = F.relative_attention(
            self._heads(self.q(x)),
            keys,
            values,
            steps,
            self._first_steps(x, keys, steps, view.places),
            self.biases.r_w_bias,
            self.biases.r_r_bias,
            self.biases.r_s_bias,
            self.seg_embed[1] - self.seg_embed[0],  # see `View.other`
            view.other,
            view.allowed,
            rate,
            key,
        )
        if view.allowed is not None:
            blind = ~view.allowed.any(axis=2)[:, None, :, None]  # (B,T,S) -> (B,1,T,1)
            if blind.any():
                y = F.where(blind, F.mean(values, axis=2, keepdims=True), y)
        y = F.swapaxes(y, 1, 2).reshape(x.shape)  # (B,H,T,D) -> (B,T,C)
        rate = self.config.residual_dropout if self.training else 0.0
        key = self.noise.key() if rate else 0
        return self.layer_norm(self.o(y, dropout=rate, key=key, residual=x))

    @staticmethod
    def _first_steps(x, keys, steps, places):
        """The row of the distances from each query to the first key.   returns (B, T)

        Distances begin with that from place 0 of the text, T, to the first of S keys: S = R − T.
        """
        length = steps.shape[2] - keys.shape[2]  # T, also where only some of the places ask
        if places is None:
            places = np.arange(length)
        return np.broadcast_to(length - np.asarray(places), x.shape[:2])


class PositionWise(Module):
    """norm(x + W₂ f(W₁ x)), with dropout behind each product.   (B, T, C) -> (B, T, C)

    config : BlockConfig     noise : nn.Noise     rng : Generator of the initial weights
    """

    def __init__(self, config: BlockConfig, *, noise: Noise, rng: np.random.Generator):
        self.config = config
        self.noise = noise
        self.layer_norm = LayerNorm(config.width, config.eps)
        self.layer_1 = Linear(config.width, config.hidden, rng=rng, std=config.std)
        self.layer_2 = Linear(config.hidden, config.width, rng=rng, std=config.std)

    def forward(self, x: Tensor) -> Tensor:
        """x : (B, T, C) -> (B, T, C)"""
        rate = self.config.residual_dropout if self.training else 0.0
        first = self.noise.key() if rate else 0
        hidden = self.layer_1(x, self.config.activation, rate, first)
        second = self.noise.key() if rate else 0
        return self.layer_norm(self.layer_2(hidden, dropout=rate, key=second, residual=x))


class RelativeLayer(Module):
    """A layer for one stream or two.   content (B, T, C), query (B, K, C) -> the same shapes

    The arguments are RelativeAttention's.

    >>> config = BlockConfig(width=6, heads=3, hidden=24)
    >>> layer = RelativeLayer(config, noise=Noise(), rng=np.random.default_rng(0))
    >>> content, query = Tensor(np.zeros((2, 5, 6), np.float32)), None
    >>> table = Tensor(distance_table(distances(5, 5), 6)[None].astype(np.float32))
    >>> content, query = layer(content, query, table, View(None, None))
    >>> content.shape, query
    ((2, 5, 6), None)
    """

    def __init__(
        self,
        config: BlockConfig,
        *,
        noise: Noise,
        rng: np.random.Generator,
        biases: Biases | None = None,
    ):
        self.rel_attn = RelativeAttention(config, noise=noise, rng=rng, biases=biases)
        self.ff = PositionWise(config, noise=noise, rng=rng)

    def forward(
        self,
        content: Tensor,
        query: Tensor | None,
        table: Tensor,
        view: View,
        query_view: View | None = None,
        memory: np.ndarray | None = None,
        query_only: bool = False,
    ) -> tuple[Tensor | None, Tensor | None]:
        """content : (B, T, C)     query : (B, K, C), or None for one stream alone

        table : (G, R, C), R = T + S; each of G parts of the rows has its own distances
        view, query_view : what the T and the K queries may see of the S = M + T keys
        memory : (B, M, C), what the layer read before this; it gets no gradient
        query_only : leave out the content's result, which nobody reads above the last layer
        raises ShapeError  if G does not divide B
        """
        if len(content) % len(table):
            raise ShapeError(
                f"RelativeLayer: {len(content)} rows cannot be read in {len(table)} directions; "
                "give an even number of rows."
            )
        known = content
        if memory is not None and memory.shape[1]:
            before = Tensor(memory.astype(content.dtype, copy=False))
            known = F.concatenate([before, content], axis=1)  # (B,M+T,C)
        seen = self.rel_attn.keys(known, table)
        if query is not None:
            query = self.ff(self.rel_attn(query, seen, query_view))
        if query_only:
            return None, query
        return self.ff(self.rel_attn(content, seen, view)), query
