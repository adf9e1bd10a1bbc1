"""What chapters that read in both directions share: published sizes, and a model on one nn.Encoder.

A chapter subclasses both, sets `self.encoder` in `build`, and adds its heads, corruption and loss.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from tinylm import nn
from tinylm import ops as F
from tinylm.arguments import id_rows
from tinylm.errors import ArgumentError, ShapeError, TinylmError
from tinylm.ops.registry import check_ids
from tinylm.settings import at_least, from_to_below, one_of
from tinylm.tensor import Tensor
from tinylm.text.template import BERT as PAIRED

from .base import Objective, ObjectiveConfig

SPECIALS = ("[CLS]", "[SEP]", "[MASK]")


@dataclass(frozen=True)
class BidirectionalConfig(ObjectiveConfig):
    """Sizes and rates under their published names, those of BERT's config.json.

    sequence_length : tokens of an example at most, specials included
    batch_size : examples per step
    sinusoids : positions begin as sinusoids (Vaswani et al. 2017): what is learned at one place
        helps at all. False, as published: at random
    lengths : lengths that examples have by turns, step by step: (16, 16, 128). Shorter ones come in
        larger numbers, so that a step reads as many tokens. () for sequence_length alone. Among few
        places a model finds sooner which ones help

    >>> encoder, block = BidirectionalConfig(11, hidden_size=6, num_attention_heads=3).sizes()
    >>> encoder.positions, block.width, block.pre_norm
    (512, 6, False)
    >>> BidirectionalConfig(11, hidden_size=10, num_attention_heads=3)
    Traceback (most recent call last):
        ...
    tinylm.errors.ShapeError: BidirectionalConfig: hidden_size = 10 is not a multiple of \
num_attention_heads = 3.
    """

    ranges = {
        "hidden_size": at_least(1, 2**16),
        "num_hidden_layers": at_least(0, 2**10),
        "num_attention_heads": at_least(1, 2**16),
        "intermediate_size": at_least(1, 2**18),
        "hidden_act": one_of(*nn.ACTIVATION_NAMES),
        "hidden_dropout_prob": from_to_below(0, 1),
        "attention_probs_dropout_prob": from_to_below(0, 1),
        "max_position_embeddings": at_least(1, 2**20),
        "type_vocab_size": at_least(0, 2**10),
        "initializer_range": at_least(0),
        "layer_norm_eps": at_least(0),
        "sequence_length": at_least(5, 2**20),
        "batch_size": at_least(1, 2**20),
        "lengths": at_least(5, 2**20),
    }
    changeable = (
        "hidden_dropout_prob",
        "attention_probs_dropout_prob",
        "sequence_length",
        "batch_size",
        "lengths",
    )
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
    sequence_length: int = 128
    batch_size: int = 32
    lengths: tuple[int, ...] = ()
    sinusoids: bool = False

    def check(self) -> None:
        """Check the fields that depend on each other.

        raises ShapeError     if num_attention_heads does not divide hidden_size
        raises ArgumentError  if one of `lengths` is above sequence_length
        """
        if any(length > self.length for length in self.lengths):
            raise ArgumentError(
                f"{type(self).__name__}: lengths = {self.lengths}; expected none above "
                f"{self.length}, the length of an example."
            )
        if self.hidden_size % self.num_attention_heads:
            raise ShapeError(
                f"{type(self).__name__}: hidden_size = {self.hidden_size} is not a multiple of "
                f"num_attention_heads = {self.num_attention_heads}."
            )

    @property
    def length(self) -> int:
        """Tokens of an example at most: sequence_length, as far as there are positions."""
        return min(self.sequence_length, self.max_position_embeddings)

    def turn(self, step: int) -> tuple[int, int, int]:
        """What a step reads: the length of its examples, their number, and its own number.

        Steps of one length are numbered from 0, so that each goes on where the last one ended.

        >>> config = BidirectionalConfig(11, sequence_length=64, batch_size=2, lengths=(16, 16, 64))
        >>> [config.turn(step) for step in range(4)]
        [(16, 8, 0), (16, 8, 1), (64, 2, 0), (16, 8, 2)]
        """
        turns = self.lengths or (self.length,)
        rounds, place = divmod(step, len(turns))
        length = turns[place]
        number = rounds * turns.count(length) + turns[:place].count(length)
        return length, self.batch_size * self.length // length, number

    @property
    def table_width(self) -> int:
        """E, the width of the tables; where it is not hidden_size, they are projected."""
        return self.hidden_size

    def sizes(self) -> tuple[nn.EncoderConfig, nn.BlockConfig]:
        """The encoder's sizes, under the names of nn."""
        encoder = nn.EncoderConfig(
            vocab_size=self.vocab_size,
            positions=self.max_position_embeddings,
            types=self.type_vocab_size,
            layers=self.num_hidden_layers,
            table_width=self.table_width,
            sinusoids=self.sinusoids,
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


class Bidirectional(Objective):
    """A model on `self.encoder`, an nn.Encoder that the subclass builds.

    .cls_id, .sep_id, .gap_id, .pad_id : the special tokens' ids, None until `spell` says them
    """

    Config = BidirectionalConfig
    structured = True
    needs_tokens = SPECIALS
    template = PAIRED
    training_defaults = dict(
        lr=1e-3,
        eps=1e-6,
        weight_decay=0.01,
        no_decay=("bias$", "norm", "ln_"),
        bias_correction=False,
        warmup=0.1,
        schedule="linear",
        clip=1.0,
    )
    cls_id: int | None = None
    sep_id: int | None = None
    pad_id: int | None = None
    encoder: nn.Encoder

    @property
    def max_length(self) -> int:
        """Tokens that `encode` reads at most: each position needs its own vector."""
        return self.config.max_position_embeddings

    def spell(self, words: Iterable[str], special_ids: Iterable[int] = ()) -> None:
        """Learn how tokens are spelled, and which ones are [CLS], [SEP], [MASK] and [PAD]."""
        super().spell(words, special_ids)
        find = {word: i for i, word in enumerate(self.words)}
        self.cls_id, self.sep_id, self.gap_id = (find.get(name) for name in SPECIALS)
        self.pad_id = find.get("[PAD]", 0)

    def around_and_gap(self) -> tuple[int, int, int]:
        """The ids of [CLS], [SEP] and [MASK].   raises TinylmError if the words lack one of them"""
        found = (self.cls_id, self.sep_id, self.gap_id)
        if None in found:
            raise TinylmError(
                f"{type(self).__name__} does not know the tokens {', '.join(SPECIALS)}; call "
                "spell(tokenizer.vocab, tokenizer.special_ids), after add_specials if they lack."
            )
        return found

    def tokens_read(self, batch) -> int:
        """The real tokens of a batch, which has a `mask` (B, T)."""
        return int(batch.mask.sum())

    def encode(self, ids, mask=None, token_types=None, position_ids=None) -> list[Tensor]:
        """The normed embeddings, as wide as the layers, then every layer's states.

        ids : (B, T) integers     mask : (B, T) bool, True = a real token
        token_types : (B, T), None = all 0     position_ids : (T,) or (B, T), None = 0 … T − 1
        returns num_hidden_layers + 1 Tensors (B, T, C)
        raises ShapeError  if the text is longer than max_position_embeddings
        """
        return self.encoder(ids, mask, token_types, position_ids)

    def predict(self, ids, picks, mask=None, **family) -> Tensor:
        """Scores of the tokens at some places, each of which becomes a gap.

        ids : (B, T) integers     picks : (B, K), places in each text
        returns (B, K, V)
        raises TinylmError  if it cannot fill gaps, ShapeError  for a place beyond the text
        """
        self.need("filling")
        rows, mask = id_rows(self.name, ids, mask)
        picks = check_ids("predict", picks, rows.shape[1], "place")
        hidden = rows.copy()
        np.put_along_axis(hidden, picks, self.gap_id, axis=1)
        return F.gather_positions(self.logits(hidden, mask, **family), picks)

    @property
    def token_table(self) -> nn.Parameter:
        """The token embeddings, (V, E)."""
        return self.encoder.embeddings.words.weight

    def layer_groups(self) -> list[list[nn.Parameter]]:
        """The Parameters of the encoder from the bottom up: the tables, then each block."""
        return self.encoder.layer_groups()
