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
teach, not all. That is why it learns slowly: its loss rests on a plateau, the entropy of the single
tokens, before it finds out that the context helps. How long depends most of all on the learning
rate: at the published 1e-4 a small model still rests there after 1,000 updates, at 2e-3, which
narrow models bear, it has left after some 400; a share of 30 % masks in place of 15 % helps too.
The numbers stand at `small`. What stays is that few tokens teach: ELECTRA is the answer to that.

Source: Devlin et al. 2019, and the released code. Differs: masks are drawn anew whenever a text is
read (`duplicates` has the published way); a token that no text spells, such as [UNK], is never
picked; where a document has no sentence ends, spans of some 20 tokens stand for sentences.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from tinylm import nn
from tinylm import ops as F
from tinylm.data import Corpus, masking, pad
from tinylm.data.pairs import SPAN, Epochs, Piece
from tinylm.errors import ArgumentError, TinylmError
from tinylm.memory import must_fit
from tinylm.progress import note
from tinylm.settings import at_least, between
from tinylm.tensor import Tensor

from .bidirectional import Bidirectional, BidirectionalConfig

# What `tiny` and `small` are trained with; the published schedule is made for a million steps.
RECIPE = dict(lr=2e-3, betas=(0.9, 0.98), eps=1e-8, bias_correction=True)
NOT_COUNTED = -100  # the target of a padded pick
HEADS = ("pooler", "masked", "next")  # what stands on the encoder; published models may lack some
AROUND = 3  # special tokens of a pair: [CLS] A [SEP] B [SEP]


def mask_tokens(ids, candidates, n, mask_id, vocab_size, rng) -> tuple[list[int], list[int]]:
    """Hide n tokens of a text: the corrupted text, and the places to predict.

    ids : T tokens     candidates : the places of those that are not special
    A random word may be any of the whole vocabulary, and some picks stay as they are: a model that
    saw only [MASK] at the picks would have no reason to understand a text without it.

    >>> ids = [2, 14, 15, 16, 17, 18, 3]
    >>> mask_tokens(ids, [1, 2, 3, 4, 5], 2, 4, 30, np.random.default_rng(0))
    ([2, 14, 15, 4, 17, 27, 3], [3, 5])
    """
    picks = sorted(int(place) for place in rng.permutation(candidates)[:n])
    lots = rng.random(len(picks))
    words = rng.integers(vocab_size, size=len(picks))
    corrupted = list(ids)
    for place, lot, word in zip(picks, lots, words, strict=True):
        if lot < 0.8:
            corrupted[place] = mask_id
        elif lot < 0.9:
            corrupted[place] = int(word)
    return corrupted, picks


@dataclass(frozen=True)
class BertConfig(BidirectionalConfig):
    """Sizes and rates under the names of the published config.json, and how text becomes batches.

    batch_size : pieces per step     sequence_length : tokens of a piece at most, specials included
    mask_rate : share of a piece's tokens to predict     max_predictions : and at most so many
    masked_share, random_share : of the picks that show [MASK], a random word; the others stay
    whole_words : pick whole words; each of their tokens draws its own lot
    next_sentence : pieces are pairs, and the second task is learned; False: one stretch of text
    short_rate : share of the documents whose pieces are shorter, by chance
    duplicates : the text is cut and masked in so many ways, which come again and again (the
        release: 10); 0: in a new way in every epoch
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
        "sequence_length": at_least(AROUND + 2, 2**20),
        "mask_rate": between(0, 1),
        "max_predictions": at_least(1, 2**20),
        "masked_share": between(0, 1),
        "random_share": between(0, 1),
        "short_rate": between(0, 1),
        "duplicates": at_least(0, 10_000),
    }
    recipes = dict.fromkeys(("tiny", "small"), RECIPE)
    changeable = (
        *BidirectionalConfig.changeable,
        "mask_rate",
        "max_predictions",
        "masked_share",
        "random_share",
        "whole_words",
        "next_sentence",
        "short_rate",
        "duplicates",
    )
    heads: tuple[str, ...] = HEADS
    mask_rate: float = 0.15
    max_predictions: int = 20
    masked_share: float = 0.8
    random_share: float = 0.1
    whole_words: bool = False
    next_sentence: bool = True
    short_rate: float = 0.1
    duplicates: int = 0

    def check(self) -> None:
        """Check the fields that depend on each other.

        raises ShapeError     if num_attention_heads does not divide hidden_size
        raises ArgumentError  for heads that cannot be, shares above 1, or if memory is short
        """
        super().check()
        in_order = tuple(head for head in HEADS if head in self.heads)
        if self.heads != in_order or ("next" in self.heads and "pooler" not in self.heads):
            raise ArgumentError(
                f"BertConfig: heads = {self.heads}; expected some of {', '.join(HEADS)} in this "
                "order, next only with pooler."
            )
        if self.masked_share + self.random_share > 1:
            raise ArgumentError(
                f"BertConfig: masked_share = {self.masked_share} and random_share = "
                f"{self.random_share} are more than 1 together; give smaller shares."
            )
        shape = (self.batch_size, self.length, self.hidden_size)
        must_fit(shape, 4, f"One layer's states of a batch, {shape},")

    @classmethod
    def tiny(cls, vocab_size: int, **over) -> "BertConfig":
        """Trains in a minute on a laptop: 2 layers of 64."""
        return replace(cls._of(vocab_size, width=64, heads=2, length=64), **over)

    @classmethod
    def small(cls, vocab_size: int, **over) -> "BertConfig":
        """The size that `tinylm compare` trains: 2 layers of 96, many small steps.

        On newsgroups, without the second task, 1,000 updates end at these nats per held-out gap,
        where counting single tokens costs 7.01 (one seed each; the scale is that of all first
        weights, positions begin at random):

            rate 1e-4, 15 % masks     7.04 with a scale of 0.02, 7.06 with 1/√C
            rate 5e-4, 30 %           6.80
            rate 2e-3, 15 %           6.63
            rate 2e-3, 30 %           6.48, and 6.48; from sinusoids 6.47

        So the scale of the first weights plays no role here. With tables that began as word2vec's,
        800 updates reached 6.28.
        """
        return replace(cls._of(vocab_size, width=96, heads=4, length=128), **over)

    @classmethod
    def _of(cls, vocab_size, width, heads, length):
        """Two layers without dropout, weights of 1/√C, 30 % of the tokens to predict."""
        return cls(
            vocab_size,
            hidden_size=width,
            num_hidden_layers=2,
            num_attention_heads=heads,
            intermediate_size=4 * width,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            max_position_embeddings=length,
            initializer_range=width**-0.5,
            sinusoids=True,
            batch_size=12,
            sequence_length=length,
            mask_rate=0.3,
            max_predictions=length,
        )

    @classmethod
    def base(cls, **over) -> "BertConfig":
        """The published model of 110 million parameters."""
        return replace(cls(), **over)


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


class _Row(NamedTuple):
    """One corrupted piece: T ids and token types, P picks and targets."""

    ids: np.ndarray
    token_types: np.ndarray
    picks: np.ndarray
    targets: np.ndarray


class Bert(Bidirectional, name="bert", encoding="wordpiece"):
    """The model and its two objectives.

    config : BertConfig     rng : numpy Generator of the initial weights (a fixed one by default)

    >>> model = Bert(BertConfig.tiny(11, num_hidden_layers=1))
    >>> model.need("generation")
    Traceback (most recent call last):
        ...
    tinylm.errors.TinylmError: bert has no generation: it cannot continue text; choose a causal \
one such as gpt.
    """

    Config = BertConfig
    model_type = "bert"
    unit = "nats per masked token"
    guesses = ("masked",)

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
            self.logits = None  # the abilities are missing
            self.predict = None
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

    # -- learning from text ----------------------------------------------------------------------

    def prepare(self, corpus: Corpus) -> None:
        """Keep the corpus, and find its sentences if pieces are pairs.

        raises TinylmError  if the corpus knows no sentences, or the model has no second token type
        """
        c = self.config
        super().prepare(corpus)
        around = AROUND if c.next_sentence else AROUND - 1
        size = c.length - around
        if size < 2 or (c.next_sentence and c.type_vocab_size == 1):
            raise TinylmError(
                f"Pieces of {c.length} tokens with {c.type_vocab_size} token types cannot be "
                f"learned from; give at least {AROUND + 2} positions and 2 types, or "
                "next_sentence = False."
            )
        how = (c.short_rate, c.next_sentence, c.duplicates)
        self.epochs = Epochs(corpus, size, *how)
        self.by_length = {length: Epochs(corpus, length - around, *how) for length in c.lengths}
        self.by_length[c.length] = self.epochs
        outline = self.epochs.outline
        if outline is not None and outline.n_cut:
            note(
                f"{outline.n_cut:,} of {len(outline):,} documents have no sentence ends; "
                f"spans of {SPAN} tokens stand for their sentences",
                once=True,
            )

    def batch(self, step: int, seed: int) -> BertBatch:
        """Pieces of the text in a new order in every epoch, with gaps."""
        self.prepared()
        length, count, turn = self.config.turn(step)
        taken = self.by_length[length].take(turn, count, seed)
        rows = []
        for version, number, piece in taken:
            rng = np.random.default_rng([seed, 13, version, number])
            rows.append(self._row(self.corpus, piece, rng))
        return self._together(rows, [piece for _, _, piece in taken])

    def evaluation_batches(self, corpus: Corpus) -> Iterator[BertBatch]:
        """The pieces of another corpus in the order of the text, always alike.

        Pieces of one span all have the full length, except for the last.
        """
        c = self.config
        other = copy.copy(self)  # it shares the weights
        other.prepare(corpus)
        rng = np.random.default_rng(0)
        pieces = other.epochs.in_order()
        for first in range(0, len(pieces), c.batch_size):
            some = pieces[first : first + c.batch_size]
            batch = self._together([self._row(corpus, piece, rng) for piece in some], some)
            if batch.tokens:
                yield batch

    def _row(self, corpus: Corpus, piece: Piece, rng: np.random.Generator) -> _Row:
        """A piece between its special tokens, with gaps."""
        c = self.config
        cls_id, sep_id, gap_id = self.around_and_gap()
        ids = piece.framed(corpus.ids, cls_id, sep_id).astype(np.int64)
        candidates = np.flatnonzero(~np.isin(ids, self.special_ids))
        n = masking.count_picks(len(ids), c.mask_rate, c.max_predictions)
        begins_word = None
        if c.whole_words:
            begins_word = piece.framed(corpus.word_starts, True, True)
        picks = self.choose(ids, candidates, begins_word, n, rng)
        shares = (c.masked_share, c.random_share)
        corrupted = masking.corrupt(ids, picks, gap_id, corpus.vocab_size, rng, *shares)
        second = piece.end - piece.begin + 2  # the place behind the first [SEP]
        token_types = (np.arange(len(ids)) >= second).astype(np.int64)
        return _Row(corrupted, token_types, picks, ids[picks])

    def choose(
        self,
        ids: np.ndarray,
        candidates: np.ndarray,
        begins_word: np.ndarray | None,
        n: int,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """n places of a piece to hide, rising; a subclass may choose in another way.

        ids : (T,) its tokens     candidates : (M,) places that are not special
        begins_word : (T,) bool, True where a token begins a word; None without whole_words
        """
        if begins_word is not None:
            return masking.pick_words(candidates, begins_word, n, rng)
        return masking.pick_tokens(candidates, n, rng)

    def _together(self, rows: list[_Row], pieces: list[Piece]) -> BertBatch:
        """Rows as one batch, padded on the right."""
        ids, mask = pad([row.ids for row in rows])
        token_types, _ = pad([row.token_types for row in rows])
        picks, _ = pad([row.picks for row in rows], -1)
        targets, _ = pad([row.targets for row in rows], NOT_COUNTED)
        is_random = None
        if self.config.next_sentence:
            is_random = np.array([piece.is_random for piece in pieces], np.int64)
        return BertBatch(ids, token_types, mask, picks, targets, is_random)

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

    def logits(self, ids, mask=None, **family) -> Tensor:
        """Scores of the token at every position.   ids : (B, T) -> (B, T, V)"""
        states = self.encode(ids, mask, **family)[-1]
        return self.head(states, self.encoder.embeddings.words.weight)
