"""GPT: predict the next token from all before it (Radford et al. 2018, 2019).

The idea: a stack of transformer blocks reads a text from left to right, and at every position gives
the probability of each possible next token. No label is needed, because the text itself holds every
answer. To predict well the model must pick up words, grammar, topics and facts; what it has learned
is then adapted to a task with few labels.

    loss = −1/N Σ_t log p(x_t | x_1 … x_{t−1})
    p = softmax(W_e · h_t),     h = the last layer after its norm

Sees x_1 … x_{t−1}, predicts x_t. This file is GPT-2's form: norms before each sub-layer and one at
the end, learned positions, the head tied to the embedding, GELU in its tanh form. `next_token_loss`
below is the objective as one writes it on paper.

Changes from gpt1.py: the norms moved, tokens and positions have a table each, residual projections
start smaller, the text is bytes and ten times as much. What both share stands here: windows, loss,
causal attention, cache.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from tinylm import nn
from tinylm import ops as F
from tinylm.arguments import id_array, id_rows
from tinylm.data import Corpus, windows
from tinylm.errors import ShapeError, TinylmError
from tinylm.kernels.runtime.pool import threads_for
from tinylm.memory import must_fit
from tinylm.settings import at_least, between, one_of
from tinylm.tensor import Tensor, no_grad

from .base import Objective, ObjectiveConfig

NOT_COUNTED = -100  # the target of a position without a next token


def next_token_loss(scores, ids) -> float:
    """Mean nats per predicted token of one text.

    scores : (T, V), row t sees ids[0] … ids[t]     ids : T tokens

    >>> scores = np.log([[0.5, 0.5], [0.25, 0.75], [0.5, 0.5]])
    >>> round(next_token_loss(scores, [0, 1, 0]), 4)  # −(log 0.5 + log 0.25) / 2
    1.0397
    """
    nats = 0.0
    for t in range(len(ids) - 1):
        weights = np.exp(scores[t])
        probabilities = weights / weights.sum()
        nats -= np.log(probabilities[ids[t + 1]])
    return float(nats / (len(ids) - 1))


def check_sizes(config) -> None:
    """Check the width against the heads, and a batch against the memory.

    config : GPTConfig or GPT1Config
    raises ShapeError if n_head does not divide n_embd, ArgumentError if memory is short
    """
    c = config
    if c.n_embd % c.n_head:
        raise ShapeError(
            f"{type(c).__name__}: n_embd = {c.n_embd} is not a multiple of n_head = {c.n_head}."
        )
    shape = (c.batch_size, c.n_positions, c.n_embd)
    must_fit(shape, 4, f"One layer's states of a batch, {shape},")


@dataclass(frozen=True)
class GPTConfig(ObjectiveConfig):
    """Sizes and rates under the names of the published config.json.

    batch_size : windows of n_positions tokens per step

    >>> GPTConfig.gpt2().n_embd
    768
    >>> GPTConfig(vocab_size=11, n_embd=10, n_head=3)
    Traceback (most recent call last):
        ...
    tinylm.errors.ShapeError: GPTConfig: n_embd = 10 is not a multiple of n_head = 3.
    """

    ranges = {
        "n_positions": at_least(1, 2**20),
        "n_embd": at_least(1, 2**16),
        "n_layer": at_least(1, 2**10),
        "n_head": at_least(1, 2**16),
        "n_inner": at_least(1, 2**18),
        "activation_function": one_of(*nn.ACTIVATION_NAMES),
        "resid_pdrop": between(0, 1),
        "embd_pdrop": between(0, 1),
        "attn_pdrop": between(0, 1),
        "layer_norm_epsilon": at_least(0),
        "initializer_range": at_least(0),
        "batch_size": at_least(1, 2**20),
    }
    changeable = ("batch_size", "resid_pdrop", "embd_pdrop", "attn_pdrop")
    recipes = {
        "nanogpt": dict(
            encoding="chars",
            held_out=0.1,
            steps=2000,
            lr=1e-3,
            betas=(0.9, 0.99),
            weight_decay=0.1,
            warmup=0.05,
            schedule="cosine",
            schedule_options={"floor": 0.1},
            clip=1.0,
        )
    }
    vocab_size: int = 50257
    n_positions: int = 1024
    n_embd: int = 768
    n_layer: int = 12
    n_head: int = 12
    n_inner: int | None = None
    activation_function: str = "gelu_new"
    resid_pdrop: float = 0.1
    embd_pdrop: float = 0.1
    attn_pdrop: float = 0.1
    layer_norm_epsilon: float = 1e-5
    initializer_range: float = 0.02
    batch_size: int = 16

    def check(self) -> None:
        """raises ShapeError if n_head does not divide n_embd, ArgumentError if memory is short"""
        check_sizes(self)

    @classmethod
    def tiny(cls, vocab_size: int, **over) -> "GPTConfig":
        """Trains in a minute on a laptop: 2 layers of 64.

        Narrow layers want larger initial weights, about 1/√n_embd.
        """
        sizes = dict(n_positions=64, n_embd=64, n_layer=2, n_head=2, initializer_range=0.1)
        config = cls(vocab_size, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, **sizes)
        return replace(config, **over)

    @classmethod
    def small(cls, vocab_size: int, **over) -> "GPTConfig":
        """The size that `tinylm compare` trains: 2 layers of 96, many small steps of long windows.

        On two cores it beats deeper and wider models of the same minutes by far. Less than one
        epoch needs no dropout.
        """
        sizes = dict(n_positions=256, n_embd=96, n_layer=2, n_head=4, initializer_range=0.08)
        rates = dict(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
        config = cls(vocab_size, batch_size=4, **sizes, **rates)
        return replace(config, **over)

    @classmethod
    def nanogpt(cls, vocab_size: int, **over) -> "GPTConfig":
        """nanoGPT's size for a laptop: a text by characters, 4 layers of 128, windows of 64.

        `tinylm pretrain gpt --config nanogpt` trains it as nanoGPT does, see `recipes`: 2,000
        updates, the rate from 1e-3 to 1e-4, no dropout. Differs: biases, as in GPT-2; smaller
        positions at first; windows in shuffled order, where nanoGPT draws places at random.
        """
        sizes = dict(n_positions=64, n_embd=128, n_layer=4, n_head=4, batch_size=12)
        config = cls(vocab_size, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, **sizes)
        return replace(config, **over)

    @classmethod
    def gpt2(cls, **over) -> "GPTConfig":
        """The published model of 124 million parameters."""
        return replace(cls(), **over)


@dataclass(frozen=True)
class GPTBatch:
    """inputs, targets : (B, T) int64; targets[b, t] follows inputs[b, t], −100 is not counted.

    >>> GPTBatch(np.array([[5, 6, 0]]), np.array([[6, 7, -100]])).tokens
    2
    """

    inputs: np.ndarray
    targets: np.ndarray

    @property
    def tokens(self) -> int:
        """The number of targets that are counted."""
        return int((self.targets != NOT_COUNTED).sum())


class GPT(Objective, name="gpt", encoding="bpe"):
    """The model and its objective.

    config : GPTConfig     rng : numpy Generator of the initial weights (a fixed one by default)
    Source: Radford et al. 2019; the released code. Residual projections start at 0.02/√(2·layers),
    as the paper says and transformers does; the released code has 0.02 throughout.

    >>> model = GPT(GPTConfig(vocab_size=11, n_positions=7, n_embd=6, n_layer=2, n_head=3))
    >>> len(model.layer_groups())  # the embeddings, then two blocks
    3
    >>> model.max_length
    7
    """

    Config = GPTConfig
    model_type = "gpt2"
    causal = True
    speaks = True
    training_defaults = dict(
        lr=3e-3,
        betas=(0.9, 0.98),
        weight_decay=0.1,
        warmup=0.1,
        schedule="cosine",
        clip=1.0,
    )

    def build(self, config: GPTConfig, rng: np.random.Generator) -> None:
        """Make the embeddings of tokens and positions, the blocks, the last norm.

        The token embedding serves as the head too.
        """
        c = config
        self.noise = nn.Noise()
        self.wte = nn.Embedding(c.vocab_size, c.n_embd, rng=rng, std=c.initializer_range)
        self.wpe = nn.Embedding(c.n_positions, c.n_embd, rng=rng, std=c.initializer_range / 2)
        self.drop = nn.Dropout(c.embd_pdrop, self.noise)
        block = nn.BlockConfig(
            width=c.n_embd,
            heads=c.n_head,
            hidden=c.n_inner or 4 * c.n_embd,
            activation=nn.ACTIVATION_NAMES[c.activation_function],
            pre_norm=True,
            eps=c.layer_norm_epsilon,
            residual_dropout=c.resid_pdrop,
            attention_dropout=c.attn_pdrop,
            std=c.initializer_range,
            residual_std=c.initializer_range / (2 * c.n_layer) ** 0.5,
        )
        self.h = nn.ModuleList(
            nn.TransformerBlock(block, noise=self.noise, rng=rng) for _ in range(c.n_layer)
        )
        self.ln_f = nn.LayerNorm(c.n_embd, c.layer_norm_epsilon)

    @property
    def max_length(self) -> int:
        """Tokens that `encode` reads at most: each position needs its own vector."""
        return self.config.n_positions

    # -- learning from text ----------------------------------------------------------------------

    def prepare(self, corpus: Corpus) -> None:
        """Keep the corpus.

        raises TinylmError  if it is shorter than one window or its ids do not fit the model
        """
        if len(corpus.ids) <= self.config.n_positions:
            raise TinylmError(
                f"The text has {len(corpus.ids)} tokens; GPT needs more than one window of "
                f"{self.config.n_positions} (use more text or a smaller n_positions)."
            )
        super().prepare(corpus)

    def batch(self, step: int, seed: int) -> GPTBatch:
        """B windows of T tokens at shuffled places, every window of the text once per epoch."""
        c = self.config
        text = self.prepared().ids
        starts = windows(len(text) - 1, c.n_positions, c.batch_size, step, seed)
        at = starts[:, None] + np.arange(c.n_positions + 1)  # (B,) -> (B,T+1)
        ids = text[at].astype(np.int64)
        return GPTBatch(ids[:, :-1], ids[:, 1:])

    def evaluation_batches(self, corpus: Corpus) -> Iterator[GPTBatch]:
        """The whole corpus in order, in windows that do not overlap.

        Padding at the end is not counted.
        """
        c = self.config
        n = len(corpus.ids) - 1
        if n < 1:
            return
        rows = -(-n // c.n_positions)  # rounded up
        inputs = np.zeros((rows, c.n_positions), np.int64)
        targets = np.full((rows, c.n_positions), NOT_COUNTED, np.int64)
        inputs.reshape(-1)[:n] = corpus.ids[:-1]
        targets.reshape(-1)[:n] = corpus.ids[1:]
        for first in range(0, rows, c.batch_size):
            last = first + c.batch_size
            yield GPTBatch(inputs[first:last], targets[first:last])

    def loss(self, batch: GPTBatch) -> tuple[Tensor, dict[str, float]]:
        """Mean nats per counted token of a GPTBatch, and {"loss": the same as a float}."""
        tables = self.tables()
        states = self.encode(batch.inputs, tables=tables)
        loss = F.linear_cross_entropy(states[-1], tables[0], batch.targets)
        return loss, {"loss": loss.item()}

    def states_and_loss(self, ids, mask, **family) -> tuple[list[Tensor], Tensor]:
        """The states of some texts, and how well they predict them, to be learned beside a task.

        ids : (B, T) integers     mask : (B, T) bool, True = a real token
        returns the states, as `encode` does; the mean over the texts of their mean nats per
        predicted token, where special tokens count and padding does not
        Source: Radford et al. 2018, section 3.2.
        """
        ids, mask = id_rows("GPT", ids, mask)
        tables = self.tables()
        states = self.encode(ids, mask, tables=tables, **family)
        scores = F.linear(states[-1][:, :-1], tables[0])  # (B,T-1,C) -> (B,T-1,V)
        nats = F.cross_entropy(scores, ids[:, 1:], reduction="none")  # (B,T-1)
        counted = mask[:, :-1] & mask[:, 1:]
        counts = np.maximum(counted.sum(axis=1, keepdims=True), 1)
        shares = counted / (counts * len(ids))
        return states, F.sum(nats * shares.astype(nats.dtype))

    # -- the model -------------------------------------------------------------------------------

    def tables(self) -> tuple[Tensor, Tensor]:
        """The vectors of tokens (V, C) and of positions (P, C); the first are the head's too."""
        return self.wte.weight, self.wpe.weight

    def embed(self, ids, position_ids, tables, speakers=None) -> Tensor:
        """The vectors' sums.   ids (B, T), position_ids (T,) or (B, T) -> (B, T, C)"""
        tokens, positions = tables
        x = F.embedding(ids, tokens) + F.embedding(position_ids, positions)
        return x if speakers is None else x + F.embedding(speakers, tokens)

    def finish(self, x) -> Tensor:
        """What stands above the last block: a norm.   (B, T, C) -> (B, T, C)"""
        return self.ln_f(x)

    def encode(
        self, ids, mask=None, position_ids=None, cache=None, tables=None, speakers=None
    ) -> list[Tensor]:
        """The embeddings, then every layer's states; the last entry is after ln_f.

        ids : (B, T) integers     mask : (B, T) bool, True = a real token
        position_ids : (B, T) or (T,); by default 0 … T − 1, and with a cache the number of real
            tokens before each one
        cache : an nn.Cache from `start_cache`: the ids follow what it holds
        tables : of `tables`, if the caller needs the same ones for the head
        speakers : (B, T) ids of tokens whose vectors are added to those of `ids`: who says each
        returns n_layer + 1 Tensors (B, T, C)
        raises ShapeError  if ids or mask are not (B, T), the text is longer than n_positions, or an
            id is out of range
        """
        ids, mask = id_rows("GPT", ids, mask)
        past = 0 if cache is None else cache.length
        if position_ids is None:
            position_ids = self._positions(ids, mask, cache)
        if np.max(position_ids, initial=0) >= self.config.n_positions:
            raise ShapeError(
                f"GPT: ids have shape {ids.shape} after {past} cached positions; "
                f"expected (B, T) with at most n_positions = {self.config.n_positions} in all."
            )
        allowed = None
        if cache is not None:
            cache.open(ids.shape[1], mask)
            mask = cache.real if cache.padded else None
        if mask is not None:
            allowed = mask[:, None, None, :]  # (B,S) -> (B,1,1,S)
        x = self.embed(ids, position_ids, tables or self.tables(), speakers)  # (B,T,C)
        x = self.drop(x)
        states = [x]
        for i, block in enumerate(self.h):
            layer = None if cache is None else cache.layer(i)
            x = block(x, allowed, causal=True, cache=layer)
            states.append(x)
        states[-1] = self.finish(x)
        return states

    @staticmethod
    def _positions(ids, mask, cache):
        """The default of `encode`'s position_ids."""
        length = ids.shape[1]
        return np.arange(length) if cache is None else cache.positions(length, mask)

    def logits(self, ids, mask=None, **family) -> Tensor:
        """Scores of the next token at every position.   ids : (B, T) -> (B, T, V)"""
        tables = self.tables()
        states = self.encode(ids, mask, tables=tables, **family)
        return F.linear(states[-1], tables[0])

    def start_cache(self, batch_size: int, length: int) -> nn.Cache:
        """An empty key/value cache for `step`, with room for `length` tokens in each row."""
        c = self.config
        width = c.n_embd // c.n_head
        dtype = self.tables()[0].dtype
        cache = nn.Cache(c.n_layer, batch_size, c.n_head, length, width, dtype)
        cache.is_plain = (
            type(self).encode is GPT.encode
            and type(self).embed is GPT.embed
            and all(block.is_standard() for block in self.h)
        )
        return cache

    def step(self, ids, cache: nn.Cache, mask=None, **family) -> np.ndarray:
        """Read ids (B, T) after the tokens in the cache; returns the next token's scores (B, V).

        mask : (B, T) bool, False at padding, which stands on the left; None = all real
        family : further keywords of `encode`
        """
        ids = id_array("GPT", ids)
        with no_grad():
            tables = self.tables()
            if mask is None and not family and self._is_next(ids, cache):
                with threads_for(self.h[0].mlp.c_fc.weight.size):
                    last = self.finish(self._read_one(ids, cache, tables))
            else:
                last = self.encode(ids, mask, cache=cache, tables=tables, **family)[-1][:, -1]
            with threads_for(len(ids) * tables[0].size):
                return F.linear(last, tables[0]).data

    def _is_next(self, ids, cache):
        """Whether ids are one more token of one text: nothing to refuse, to mask or to drop."""
        return (
            cache.is_plain
            and ids.shape == (1, 1)
            and ids.dtype.kind in "iu"
            and 0 <= ids[0, 0] < self.config.vocab_size
            and cache.length == cache.lengths[0]
            and cache.length < min(self.config.n_positions, cache.size)
            and not self.training
        )

    def _read_one(self, ids, cache, tables):
        """The last block's state of one more token: as in `encode`, without its checks.

        A chapter with an `encode`, an `embed` or blocks of its own is never read here.

        ids : (1, 1) -> (1, C). In a small model the checks take longer than the reading.
        """
        tokens, positions = tables
        row = tokens.data[ids[0]] + positions.data[cache.lengths]
        cache.open(1)
        for i, block in enumerate(self.h):
            row = block.read_one(row, cache.layer(i))
        return Tensor(row)

    @property
    def token_table(self) -> nn.Parameter:
        """The token embeddings, (V, C)."""
        return self.wte.weight

    def layer_groups(self) -> list[list[nn.Parameter]]:
        """The Parameters from the bottom up: embeddings, then each block, the last with ln_f."""
        groups = [self.wte.parameters() + self.wpe.parameters()]
        for block in self.h:
            groups.append(block.parameters())
        groups[-1] = groups[-1] + self.ln_f.parameters()
        return groups
