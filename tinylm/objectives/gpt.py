"""GPT: predict the next token from all before it (Radford et al. 2018, 2019).

The idea: a stack of transformer blocks reads a text from left to right, and at every position names the probability of
each possible next token. No label is needed, for the text itself holds every answer. To predict well the model must pick
up words, grammar, topics and facts; what it learned is then adapted to a task with few labels.

    loss = −1/N Σ_t log p(x_t | x_1 … x_{t−1}),      p = softmax(W_e · h_t),   h = the last layer after its norm

Sees x_1 … x_{t−1}, predicts x_t. This file is GPT-2's form: norms before each sub-layer and one at the end, learned
positions, the head tied to the embedding, GELU in its tanh form.
"""

from dataclasses import dataclass, replace

import numpy as np

from tinylm import nn
from tinylm import ops as F
from tinylm.data import windows
from tinylm.errors import ShapeError, TinylmError
from tinylm.memory import must_fit
from tinylm.objectives.base import Objective, ObjectiveConfig
from tinylm.settings import at_least, between, one_of
from tinylm.tensor import no_grad

_ACTIVATIONS = {
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu": "gelu",
    "relu": "relu",
}


@dataclass(frozen=True)
class GPTConfig(ObjectiveConfig):
    """Sizes and rates under the names of the published config.json; batch_size counts windows of n_positions tokens."""

    ranges = {
        "n_positions": at_least(1, 2**20),
        "n_embd": at_least(1, 2**16),
        "n_layer": at_least(1, 2**10),
        "n_head": at_least(1, 2**16),
        "n_inner": at_least(1, 2**18),
        "activation_function": one_of(*_ACTIVATIONS),
        "resid_pdrop": between(0, 1),
        "embd_pdrop": between(0, 1),
        "attn_pdrop": between(0, 1),
        "layer_norm_epsilon": at_least(0),
        "initializer_range": at_least(0),
        "batch_size": at_least(1, 2**20),
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

    def check(self):
        """raises ShapeError where heads cannot share the width out"""
        if self.n_embd % self.n_head:
            raise ShapeError(
                f"GPTConfig: n_embd = {self.n_embd} is not a multiple of n_head = {self.n_head}."
            )
        shape = (self.batch_size, self.n_positions, self.n_embd)
        must_fit(shape, 4, f"One layer's states of a batch, {shape},")

    @classmethod
    def tiny(cls, vocab_size, **over):
        """Trains in a minute on a laptop: 2 layers of 64. Narrow layers want larger first weights, about 1/√n_embd."""
        return replace(
            cls(
                vocab_size,
                n_positions=64,
                n_embd=64,
                n_layer=2,
                n_head=2,
                resid_pdrop=0.0,
                embd_pdrop=0.0,
                attn_pdrop=0.0,
                initializer_range=0.1,
            ),
            **over,
        )

    @classmethod
    def small(cls, vocab_size, **over):
        """What `tinylm compare` trains in some minutes: 2 layers of 96 that read far back, in many small steps. On two cores
        that beats deeper and wider models of the same minutes by far. Less than one epoch needs no dropout."""
        return replace(
            cls(
                vocab_size,
                n_positions=256,
                n_embd=96,
                n_layer=2,
                n_head=4,
                resid_pdrop=0.0,
                embd_pdrop=0.0,
                attn_pdrop=0.0,
                initializer_range=0.08,
                batch_size=4,
            ),
            **over,
        )

    @classmethod
    def gpt2(cls, **over):
        """The published 124M parameters."""
        return replace(cls(), **over)


@dataclass(frozen=True)
class GPTBatch:
    """inputs, targets : (B, T) int64, targets[b, t] follows inputs[b, t]; −100 is not counted."""

    inputs: np.ndarray
    targets: np.ndarray

    @property
    def tokens(self):
        """How many targets are counted."""
        return int((self.targets != -100).sum())


class GPT(Objective, name="gpt", encoding="bpe"):
    """The model and its objective.

    config : GPTConfig     rng : numpy Generator of the initial weights (a fixed one by default)
    Source: Radford et al. 2019; the released code. Residual projections start at 0.02/√(2·layers), as the paper says and
    transformers does; the released code has 0.02 throughout.
    """

    Config = GPTConfig
    model_type = "gpt2"
    causal = True
    training_defaults = dict(
        lr=3e-3,
        betas=(0.9, 0.98),
        weight_decay=0.1,
        warmup=0.1,
        schedule="cosine",
        clip=1.0,
    )

    def build(self, config, rng):
        """Embeddings of tokens and positions, the blocks, the last norm; the head is the embedding."""
        c = config
        self.noise = nn.Noise()
        self.wte = nn.Embedding(c.vocab_size, c.n_embd, rng=rng, std=c.initializer_range)
        self.wpe = nn.Embedding(c.n_positions, c.n_embd, rng=rng, std=c.initializer_range / 2)
        self.drop = nn.Dropout(c.embd_pdrop, self.noise)
        block = nn.BlockConfig(
            c.n_embd,
            c.n_head,
            c.n_inner or 4 * c.n_embd,
            _ACTIVATIONS[c.activation_function],
            True,
            c.layer_norm_epsilon,
            c.resid_pdrop,
            c.attn_pdrop,
            c.initializer_range,
            c.initializer_range / (2 * c.n_layer) ** 0.5,
        )
        self.h = nn.ModuleList(
            nn.TransformerBlock(block, noise=self.noise, rng=rng) for _ in range(c.n_layer)
        )
        self.ln_f = nn.LayerNorm(c.n_embd, c.layer_norm_epsilon)

    @property
    def max_length(self):
        """Tokens that are read at most: every position has its own vector."""
        return self.config.n_positions

    # -- learning from text ------------------------------------------------------------------------------------------

    def prepare(self, corpus):
        """Keep the corpus.

        raises TinylmError  if it is shorter than one window or its ids do not fit the model
        """
        if len(corpus.ids) <= self.config.n_positions:
            raise TinylmError(
                f"The text has {len(corpus.ids)} tokens; GPT needs more than one window of "
                f"{self.config.n_positions} (use more text or a smaller n_positions)."
            )
        super().prepare(corpus)

    def batch(self, step, seed):
        """B windows of T tokens at shuffled places, every window of the text once per epoch."""
        c = self.config
        starts = windows(len(self.corpus.ids) - 1, c.n_positions, c.batch_size, step, seed)
        at = starts[:, None] + np.arange(c.n_positions + 1)  # (B,) -> (B,T+1)
        ids = self.corpus.ids[at].astype(np.int64)
        return GPTBatch(ids[:, :-1], ids[:, 1:])

    def evaluation_batches(self, corpus):
        """The whole corpus in order, in windows that do not overlap; the end is padded and not counted."""
        c = self.config
        n = len(corpus.ids) - 1
        if n < 1:
            return
        rows = -(-n // c.n_positions)
        inputs = np.zeros(rows * c.n_positions, np.int64)
        targets = np.full(rows * c.n_positions, -100, np.int64)
        inputs[:n], targets[:n] = corpus.ids[:-1], corpus.ids[1:]
        inputs, targets = inputs.reshape(rows, -1), targets.reshape(rows, -1)
        for first in range(0, rows, c.batch_size):
            yield GPTBatch(
                inputs[first : first + c.batch_size], targets[first : first + c.batch_size]
            )

    def loss(self, batch):
        """Mean nats per counted token of a GPTBatch, a single number, and {"loss": the same as a float}."""
        loss = F.linear_cross_entropy(self.encode(batch.inputs)[-1], self.wte.weight, batch.targets)
        return loss, {"loss": loss.item()}

    # -- the model ---------------------------------------------------------------------------------------------------

    def encode(self, ids, mask=None, position_ids=None, cache=None):
        """Embeddings and every layer's states; the last entry is after ln_f.

        ids : (B, T) integers   mask : (B, T) bool, True = a real token   position_ids : (B, T), or counted from the cache's
        end   returns n_layer + 1 Tensors (B, T, C)
        raises ShapeError  if the text is longer than n_positions or an id is out of range
        """
        ids = np.asarray(ids)
        past = cache[0].length if cache else 0
        if ids.ndim != 2 or past + ids.shape[1] > self.config.n_positions:
            raise ShapeError(
                f"GPT: ids have shape {ids.shape} after {past} cached positions; expected (B, T) with at most "
                f"n_positions = {self.config.n_positions} in all."
            )
        position_ids = past + np.arange(ids.shape[1]) if position_ids is None else position_ids
        x = self.drop(self.wte(ids) + self.wpe(position_ids))  # (B,T) -> (B,T,C)
        states, allowed = [x], None if mask is None else np.asarray(mask, bool)[:, None, None, :]
        for i, block in enumerate(self.h):
            x = block(x, allowed, causal=True, cache=cache[i] if cache else None)
            states.append(x)
        states[-1] = self.ln_f(x)
        return states

    def logits(self, ids, mask=None, **family):
        """Scores of the next token at every position.   ids : (B, T) -> (B, T, V)"""
        return F.linear(self.encode(ids, mask, **family)[-1], self.wte.weight)

    def start_cache(self, batch_size, length):
        """An empty key/value cache per layer for `length` positions, for step()."""
        c = self.config
        return [
            nn.Cache(batch_size, c.n_head, length, c.n_embd // c.n_head, self.wte.weight.dtype)
            for _ in self.h
        ]

    def step(self, ids, cache):
        """Read ids (B, T) after what the cache holds; returns the next token's scores, an array (B, V)."""
        with no_grad():
            last = self.encode(ids, cache=cache)[-1][:, -1]
            return F.linear(last, self.wte.weight).data

    def embedding_table(self):
        """The token embeddings as an array (V, C)."""
        return self.wte.weight.data

    def layer_groups(self):
        """Embeddings, then each block, the last with ln_f: lists of Parameters from the bottom up."""
        groups = [
            [*self.wte.parameters(), *self.wpe.parameters()],
            *(block.parameters() for block in self.h),
        ]
        groups[-1] = [*groups[-1], *self.ln_f.parameters()]
        return groups
