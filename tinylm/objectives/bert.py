"""BERT: fill gaps in a text, and say whether two pieces of it belong together (Devlin et al. 2019).

The idea: hide some tokens and let a transformer guess them from both sides. A model that may look
in both directions cannot simply read the answer off, because the answer is not there. A second
task shows it two pieces of text and asks whether the second one followed the first. What it learns
is a vector for every token in its context, and one for the whole input.

    loss = −1/P Σ_{t masked} log p(x_t | x̃)  −  1/B Σ_b log p(next_b | x̃_b)
    p(x_t | x̃) = softmax(W_e · LN(f(W h_t)) + b),    x̃ = the text with its gaps

Sees x̃, both directions; predicts x_t at the P chosen positions only. `mask_tokens` below is the
corruption as one writes it on paper.

Changes from gpt.py: every position sees every other; the norm stands after each sub-layer and one
more after the embeddings; a token's type says to which of two pieces it belongs; 15 % of the tokens
teach, not all.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinylm import nn
from tinylm import ops as F
from tinylm.errors import ShapeError
from tinylm.settings import at_least, between, one_of
from tinylm.tensor import Tensor

from .base import Objective, ObjectiveConfig

NOT_COUNTED = -100  # the target of a padded pick
HEADS = ("pooler", "masked", "next")  # what stands on the encoder; published models may lack some


@dataclass(frozen=True)
class BertConfig(ObjectiveConfig):
    """Sizes and rates under the names of the published config.json.

    heads : those that the model has; encoders are published without them

    >>> BertConfig.base().num_hidden_layers
    12
    >>> BertConfig(11, hidden_size=10, num_attention_heads=3)
    Traceback (most recent call last):
        ...
    tinylm.errors.ShapeError: BertConfig: hidden_size = 10 is not a multiple of \
num_attention_heads = 3.
    """

    ranges = {
        "hidden_size": at_least(1, 2**16),
        "num_hidden_layers": at_least(0, 2**10),
        "num_attention_heads": at_least(1, 2**16),
        "intermediate_size": at_least(1, 2**18),
        "hidden_act": one_of(*nn.ACTIVATION_NAMES),
        "hidden_dropout_prob": between(0, 1),
        "attention_probs_dropout_prob": between(0, 1),
        "max_position_embeddings": at_least(1, 2**20),
        "type_vocab_size": at_least(0, 2**10),
        "initializer_range": at_least(0),
        "layer_norm_eps": at_least(0),
    }
    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    heads: tuple[str, ...] = HEADS

    def check(self) -> None:
        """raises ShapeError if num_attention_heads does not divide hidden_size or heads clash"""
        in_order = tuple(head for head in HEADS if head in self.heads)
        if self.heads != in_order or ("next" in self.heads and "pooler" not in self.heads):
            raise ShapeError(
                f"BertConfig: heads = {self.heads}; expected some of {HEADS} in this order, "
                "next only with pooler."
            )
        if self.hidden_size % self.num_attention_heads:
            raise ShapeError(
                f"BertConfig: hidden_size = {self.hidden_size} is not a multiple of "
                f"num_attention_heads = {self.num_attention_heads}."
            )

    @classmethod
    def base(cls, **over) -> "BertConfig":
        """The published model of 110 million parameters."""
        return replace(cls(), **over)

    def sizes(self, table_width: int | None = None) -> tuple[nn.EncoderConfig, nn.BlockConfig]:
        """The encoder's sizes, under the names of nn.   table_width : None for hidden_size"""
        encoder = nn.EncoderConfig(
            vocab_size=self.vocab_size,
            positions=self.max_position_embeddings,
            types=self.type_vocab_size,
            layers=self.num_hidden_layers,
            table_width=table_width or self.hidden_size,
        )
        block = nn.BlockConfig(
            width=self.hidden_size,
            heads=self.num_attention_heads,
            hidden=self.intermediate_size,
            activation=nn.ACTIVATION_NAMES[self.hidden_act],
            pre_norm=False,
            eps=self.layer_norm_eps,
            residual_dropout=self.hidden_dropout_prob,
            attention_dropout=self.attention_probs_dropout_prob,
            std=self.initializer_range,
            residual_std=self.initializer_range,
        )
        return encoder, block


@dataclass(frozen=True)
class BertBatch:
    """One batch of corrupted texts.

    ids, token_types : (B, T) int64     mask : (B, T) bool, True = a real token
    picks : (B, P) int64, the positions to predict; negative = padding
    targets : (B, P) int64, the tokens that stood there; −100 where picks are padding
    is_random : (B,) int64, 1 where the second piece is from elsewhere; None without that task
    """

    ids: np.ndarray
    token_types: np.ndarray
    mask: np.ndarray
    picks: np.ndarray
    targets: np.ndarray
    is_random: np.ndarray | None

    @property
    def tokens(self) -> int:
        """The number of tokens to predict."""
        return int((self.targets != NOT_COUNTED).sum())


class Bert(Objective, name="bert", encoding="wordpiece"):
    """The model and its two objectives.

    config : BertConfig     rng : numpy Generator of the initial weights (a fixed one by default)
    """

    Config = BertConfig
    model_type = "bert"
    unit = "nats per masked token"
    structured = True

    def build(self, config: BertConfig, rng: np.random.Generator) -> None:
        """Make the encoder, the pooler and the heads; the token table serves as the head's too."""
        self.noise = nn.Noise()
        encoder, block = config.sizes()
        self.encoder = nn.Encoder(encoder, block, noise=self.noise, rng=rng)
        self.pooler = None
        self.head = None
        self.next = None
        if "pooler" in config.heads:
            self.pooler = nn.Pooler(config.hidden_size, rng=rng, std=config.initializer_range)
        if "masked" in config.heads:
            self.head = self._masked_head(config, block, rng)
        else:
            self.logits = None  # the ability is missing
        if "next" in config.heads:
            self.next = nn.Linear(config.hidden_size, 2, rng=rng, std=config.initializer_range)
        nn.truncate(self, rng, config.initializer_range)

    def _masked_head(self, config, block, rng):
        """The head that scores all tokens at some states."""
        return nn.TokenHead(
            config.hidden_size,
            config.hidden_size,
            config.vocab_size,
            activation=block.activation,
            eps=block.eps,
            std=block.std,
            rng=rng,
        )

    @property
    def max_length(self) -> int:
        """Tokens that `encode` reads at most: each position needs its own vector."""
        return self.config.max_position_embeddings

    def batch(self, step: int, seed: int) -> BertBatch:
        """The batch of a step."""
        return super().batch(step, seed)

    def loss(self, batch: BertBatch) -> tuple[Tensor, dict[str, Any]]:
        """Mean nats per picked token, plus those per pair of pieces if the batch has pairs."""
        self.need("scores")
        states = self.encode(batch.ids, batch.mask, batch.token_types)[-1]
        picked = F.gather_positions(states, batch.picks)  # (B,T,C) -> (B,P,C)
        loss = self.head.loss(picked, self.encoder.embeddings.words.weight, batch.targets)
        parts: dict[str, Any] = {"masked": loss.item()}
        if batch.is_random is not None and self.next is not None:
            scores = self.next(self.pooler(states))  # (B,T,C) -> (B,C) -> (B,2)
            pairs = F.cross_entropy(scores, batch.is_random)
            right = scores.data.argmax(axis=1) == batch.is_random
            n_pairs = len(batch.is_random)
            parts["next"] = (pairs.item() * n_pairs, n_pairs)
            parts["next_accuracy"] = (float(right.sum()), n_pairs)
            loss = loss + pairs
        return loss, parts

    def tokens_read(self, batch: BertBatch) -> int:
        """The real tokens of a batch."""
        return int(batch.mask.sum())

    def encode(self, ids, mask=None, token_types=None, position_ids=None) -> list[Tensor]:
        """The normed embeddings, then every layer's states.

        ids : (B, T) integers     mask : (B, T) bool, True = a real token
        token_types : (B, T), None = all 0     position_ids : (T,) or (B, T), None = 0 … T − 1
        returns num_hidden_layers + 1 Tensors (B, T, C)
        raises ShapeError  if the text is longer than max_position_embeddings
        """
        return self.encoder(ids, mask, token_types, position_ids)

    def logits(self, ids, mask=None, **family) -> Tensor:
        """Scores of the token at every position.   ids : (B, T) -> (B, T, V)"""
        states = self.encode(ids, mask, **family)[-1]
        return self.head(states, self.encoder.embeddings.words.weight)

    def embedding_table(self) -> np.ndarray:
        """The token embeddings as an array (V, C)."""
        return self.encoder.embeddings.words.weight.data

    def layer_groups(self) -> list[list[nn.Parameter]]:
        """The Parameters of the encoder from the bottom up: the tables, then each block."""
        return self.encoder.layer_groups()
