"""ELECTRA: say of every token whether it is the one that stood there (Clark et al. 2020).

The idea: BERT learns from the 15 % of the tokens that are hidden, and it reads [MASK], which no
later text holds. Here a small masked language model, the generator, fills the gaps with words that
might stand there. The model itself, the discriminator, then judges every token: is it the original,
or the generator's? All tokens teach, so the same text teaches more.

    loss = λ_G · −1/P Σ_{t picked} log p_G(x_t | x masked)
         + λ_D · −1/T Σ_t log p_D(is x̂_t = x_t? | x̂),       x̂_t ~ p_G at the picked t, else x_t

Sees x̂, both directions; predicts T answers, yes or no. A guess of the generator that happens to be
right is not a replacement. No gradient flows from the discriminator through x̂. `electra_loss`
below is the objective as one writes it on paper. At first the discriminator's loss rests at the
entropy of its labels: a wrong word shows only beside its neighbours. Weights that learned to fill
gaps end that wait, and so does attention that begins at near places, see benchmarks/limits.

Changes from bert.py: two encoders that share their tables; the tables are narrower than the layers;
the picks change from step to step, 85 % of them are hidden and none becomes a random word; there is
no second task.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinylm import nn
from tinylm import ops as F
from tinylm.data import Corpus
from tinylm.data.batching import windows
from tinylm.data.gaps import fill, pick
from tinylm.data.pieces import Pieces
from tinylm.errors import ShapeError
from tinylm.sampling import gumbel_max
from tinylm.settings import above, at_least, between, one_of
from tinylm.tensor import Tensor, no_grad

from .bidirectional import Bidirectional, BidirectionalConfig

HIDDEN = 0.85  # of the picks are [MASK] for the generator; the others stay as they are


def electra_loss(
    text, picks, chances, samples, scores, gen_weight: float = 1.0, disc_weight: float = 50.0
) -> float:
    """The loss of one text.

    text : T ids     picks : P places in it
    chances : (P, V) the generator's probabilities     samples : P ids drawn from them
    scores : (T,) the discriminator's logits that a token of the corrupted text is replaced

    >>> half = [[0.5, 0.5]]
    >>> electra_loss([0, 1], [1], half, samples=[1], scores=[-9.0, -9.0]) < 1  # lucky: it is real
    True
    >>> electra_loss([0, 1], [1], half, samples=[0], scores=[-9.0, -9.0]) > 200
    True
    """
    corrupted = list(text)
    generator = 0.0
    for place, p, sample in zip(picks, chances, samples, strict=True):
        generator -= np.log(p[text[place]])
        corrupted[place] = sample
    discriminator = 0.0
    for t in range(len(text)):
        p_replaced = 1 / (1 + np.exp(-scores[t]))
        is_replaced = corrupted[t] != text[t]
        discriminator -= np.log(p_replaced if is_replaced else 1 - p_replaced)
    loss = gen_weight * generator / len(picks) + disc_weight * discriminator / len(text)
    return float(loss)


@dataclass(frozen=True)
class ElectraConfig(BidirectionalConfig):
    """Sizes and rates under their published names; the defaults are the published small model.

    embedding_size : E, width of the tables, which are projected where hidden_size differs
    generator_size, generator_layers : the generator's width and depth, as shares of the model's
    mask_prob : share of the tokens that are picked
    gen_weight, disc_weight : λ_G, λ_D     temperature : of the generator's samples
    uniform_generator : replacements are drawn from the whole vocabulary, there is no generator
    untied_generator : False makes the model its own generator
    untied_generator_embeddings : the generator has its own tables, as wide as its layers
    disallow_correct : the generator may not guess right
    electra_objective : False makes a plain masked language model
    discriminate : "picked" judges only the tokens that were picked; the paper's "ELECTRA 15 %"
    repeats : a place can be picked twice. "last" keeps the last sample there; "mean" is the
        released code, which takes the mean of their ids

    >>> ElectraConfig.electra_small().generator_width
    64
    >>> ElectraConfig(11, hidden_size=10, num_attention_heads=3)
    Traceback (most recent call last):
        ...
    tinylm.errors.ShapeError: ElectraConfig: hidden_size = 10 is not a multiple of \
num_attention_heads = 3.
    """

    ranges = {
        "embedding_size": at_least(1, 2**16),
        "generator_size": above(0, 1),
        "generator_layers": between(0, 1),
        "mask_prob": above(0, 1),
        "gen_weight": at_least(0),
        "disc_weight": at_least(0),
        "temperature": above(0),
        "discriminate": one_of("all", "picked"),
        "repeats": one_of("last", "mean"),
    }
    changeable = (
        *BidirectionalConfig.changeable,
        "mask_prob",
        "gen_weight",
        "disc_weight",
        "temperature",
        "disallow_correct",
        "discriminate",
        "repeats",
    )
    embedding_size: int = 128
    hidden_size: int = 256
    num_attention_heads: int = 4
    intermediate_size: int = 1024
    batch_size: int = 128
    generator_size: float = 0.25
    generator_layers: float = 1.0
    mask_prob: float = 0.15
    gen_weight: float = 1.0
    disc_weight: float = 50.0
    temperature: float = 1.0
    uniform_generator: bool = False
    untied_generator: bool = True
    untied_generator_embeddings: bool = False
    disallow_correct: bool = False
    electra_objective: bool = True
    discriminate: str = "all"
    repeats: str = "last"

    @property
    def table_width(self) -> int:
        """E, the width of the tables."""
        return self.embedding_size

    def check(self) -> None:
        """raises ShapeError if heads do not divide the width of their layers"""
        super().check()
        own = self.electra_objective and self.untied_generator and not self.uniform_generator
        if own and self.generator_width % self.generator_heads:
            raise ShapeError(
                f"ElectraConfig: generator_size = {self.generator_size} makes the generator "
                f"{self.generator_width} wide, which its {self.generator_heads} heads (one for "
                "each 64) do not divide."
            )

    @classmethod
    def tiny(cls, vocab_size: int, **over) -> "ElectraConfig":
        """Trains in a minute on a laptop: 2 layers of 64, a generator half as wide."""
        sizes = dict(embedding_size=64, hidden_size=64, num_attention_heads=2)
        sizes |= dict(intermediate_size=256, generator_size=0.5)
        return cls._narrow(vocab_size, **sizes | over)

    @classmethod
    def small(cls, vocab_size: int, **over) -> "ElectraConfig":
        """The size that `tinylm compare` trains: 2 layers of 96, a generator of 64."""
        sizes = dict(embedding_size=96, hidden_size=96, num_attention_heads=4)
        sizes |= dict(intermediate_size=384, generator_size=2 / 3)
        return cls._narrow(vocab_size, **sizes | over)

    @classmethod
    def _narrow(cls, vocab_size, **over):
        """A model of 2 layers for little text: less than some epochs need no dropout."""
        sizes = dict(num_hidden_layers=2, max_position_embeddings=256, sequence_length=64)
        sizes |= dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
        sizes |= dict(sinusoids=True, batch_size=16)
        sizes |= dict(initializer_range=over["hidden_size"] ** -0.5)
        return cls(vocab_size, **sizes | over)

    @classmethod
    def electra_small(cls, **over) -> "ElectraConfig":
        """The published small model: 14 million parameters, and a generator of 64."""
        return cls(**over)

    @classmethod
    def electra_base(cls, **over) -> "ElectraConfig":
        """The published base model of 110 million parameters."""
        sizes = dict(embedding_size=768, hidden_size=768, num_attention_heads=12)
        sizes |= dict(intermediate_size=3072, generator_size=1 / 3)
        return cls(**dict(sequence_length=512, batch_size=256) | sizes | over)

    @classmethod
    def electra_large(cls, **over) -> "ElectraConfig":
        """The published large model of 335 million parameters."""
        sizes = dict(embedding_size=1024, hidden_size=1024, num_attention_heads=16)
        sizes |= dict(intermediate_size=4096, num_hidden_layers=24, mask_prob=0.25)
        return cls(**dict(sequence_length=512, batch_size=2048) | sizes | over)

    @property
    def generator_width(self) -> int:
        """Width of the generator's layers."""
        return max(round(self.hidden_size * self.generator_size), 1)

    @property
    def generator_heads(self) -> int:
        """Heads of the generator, each at least 64 wide."""
        return max(self.generator_width // 64, 1)

    @property
    def most_picks(self) -> int:
        """N, the most places that are picked in an example."""
        return max(int((self.mask_prob + 0.005) * self.length), 1)

    def generator_sizes(self) -> tuple[nn.EncoderConfig, nn.BlockConfig]:
        """The generator's sizes, under the names of nn."""
        encoder, block = self.sizes()
        layers = round(self.num_hidden_layers * self.generator_layers)
        width = self.generator_width
        if self.untied_generator_embeddings:
            encoder = replace(encoder, table_width=width)
        block = replace(block, width=width, heads=self.generator_heads, hidden=4 * width)
        return replace(encoder, layers=layers), block


@dataclass(frozen=True)
class ElectraBatch:
    """One batch of examples with their gaps.

    ids, token_types : (B, T) int64, the text     mask : (B, T) bool, True = a real token
    masked : (B, T) int64, the text as the generator reads it
    picks : (P,) int64, the places to fill, in the flattened (B·T,); one can be there twice
    judged : (B, T) bool, True where the discriminator's answer counts
    tokens : the number of answers that the loss counts
    """

    ids: np.ndarray
    token_types: np.ndarray
    mask: np.ndarray
    masked: np.ndarray
    picks: np.ndarray
    judged: np.ndarray
    tokens: int


class Electra(Bidirectional, name="electra", encoding="wordpiece"):
    """The discriminator, which is the model that adaptation builds on, and its generator.

    config : ElectraConfig     rng : numpy Generator of the initial weights (a fixed one by default)
    .generator, .generator_head : None with a uniform generator. The generator is the encoder itself
        if it is tied to it, and in a plain masked language model
    .dense, .out : the discriminator's head; None in a plain masked language model
    Source: Clark et al. 2020; the released code. Differs: see ElectraConfig.repeats and Pieces; a
    uniform generator's loss, always log V, is not added. `summary` is the mean of the last layer,
    as for every objective here; the published one is the state of [CLS].

    >>> config = ElectraConfig.tiny(11, num_hidden_layers=1)
    >>> model = Electra(config)
    >>> model.generator.embeddings is model.encoder.embeddings
    True
    >>> model.judge(np.array([[5, 6, 7]])).shape
    (1, 3)
    """

    Config = ElectraConfig
    model_type = "electra"
    unit = "nats, generator plus weighted discriminator"
    guesses = ("generator",)

    def build(self, config: ElectraConfig, rng: np.random.Generator) -> None:
        """Make the encoder, the generator with its head, and the discriminator's head."""
        c = config
        self.noise = nn.Noise()
        self.pieces: Pieces | None = None
        encoder, block = c.sizes()
        self.encoder = nn.Encoder(encoder, block, noise=self.noise, rng=rng)
        if c.uniform_generator and c.electra_objective:
            self.generator = None
            self.generator_head = None
            self.logits = None  # it cannot score tokens
            self.predict = None
        else:
            self._build_generator(rng)
        self.dense = None
        self.out = None
        if c.electra_objective:
            std = c.initializer_range
            self.dense = nn.Linear(c.hidden_size, c.hidden_size, rng=rng, std=std)
            self.out = nn.Linear(c.hidden_size, 1, rng=rng, std=std)
        else:
            self.judge = None  # a plain masked language model
        nn.truncate(self, rng, c.initializer_range)

    def _build_generator(self, rng):
        """The generator, which shares the tables and their norm, and its head."""
        c = self.config
        encoder, block = c.sizes()
        self.generator = self.encoder
        if c.electra_objective and c.untied_generator:
            encoder, block = c.generator_sizes()
            shared = None if c.untied_generator_embeddings else self.encoder.embeddings
            self.generator = nn.Encoder(
                encoder, block, noise=self.noise, rng=rng, embeddings=shared
            )
        self.generator_head = nn.TokenHead(
            block.width,
            encoder.table_width,
            c.vocab_size,
            activation="gelu",  # whatever hidden_act says, as published
            eps=block.eps,
            std=block.std,
            rng=rng,
        )

    # -- learning from text ----------------------------------------------------------------------

    def prepare(self, corpus: Corpus) -> None:
        """Keep the corpus and cut it into examples.

        raises TinylmError  if its ids do not fit the model, the vocabulary lacks a special token,
            or there is no text
        """
        special = self.around_and_gap()
        super().prepare(corpus)
        self.pieces = Pieces(corpus, special, self.config.length)
        self.by_length = {n: Pieces(corpus, special, n) for n in self.config.lengths}
        self.by_length[self.config.length] = self.pieces

    def batch(self, step: int, seed: int) -> ElectraBatch:
        """B examples, all of them once per epoch in a new order; their gaps change with the step.

        A pure function of the prepared corpus, the step and the seed.
        """
        self.prepared()
        length, count, turn = self.config.turn(step)
        pieces = self.by_length[length]
        examples = pieces.examples(seed)
        chosen = windows(len(examples), 1, count, turn, seed)
        return self._batch(pieces, examples[chosen], np.random.default_rng([seed, 11, step]))

    def evaluation_batches(self, corpus: Corpus) -> Iterator[ElectraBatch]:
        """All examples of a corpus in order, always with the same gaps and the same dice.

        raises TinylmError  as prepare
        """
        other = copy.copy(self)  # it shares the weights
        other.prepare(corpus)
        examples = other.pieces.examples(0)
        for first in range(0, len(examples), self.config.batch_size):
            self.noise.at(0, first)
            chosen = examples[first : first + self.config.batch_size]
            yield other._batch(other.pieces, chosen, np.random.default_rng([0, 13, first]))

    def _batch(self, pieces, examples, rng):
        """Some examples, as rows of pieces.examples, with their gaps."""
        c = self.config
        ids, token_types, mask = pieces.rows(examples, self.cls_id, self.sep_id, self.pad_id)
        picks = pick(ids, mask, self.around_and_gap(), c.mask_prob, c.most_picks, rng)
        hidden = picks[rng.random(picks.size) < HIDDEN]
        masked = ids.copy()
        masked.reshape(-1)[hidden] = self.gap_id
        judged = mask
        if c.discriminate == "picked":
            judged = np.zeros_like(mask)
            judged.reshape(-1)[picks] = True
        tokens = int(judged.sum()) if c.electra_objective else picks.size
        return ElectraBatch(ids, token_types, mask, masked, picks, judged, tokens)

    def loss(self, batch: ElectraBatch) -> tuple[Tensor, dict[str, Any]]:
        """gen_weight · generator's + disc_weight · discriminator's loss, and their parts.

        generator : nats per pick     right : share of the picks that it guesses right
        discriminator : nats per judged token     accuracy : share that is judged right
        replaced : share that is replaced     precision : share of what is called replaced that is
        """
        c = self.config
        generated, scores, parts = self._generate(batch)
        if not c.electra_objective:
            return generated, parts
        corrupted = fill(batch.ids, batch.picks, self._samples(batch, scores), c.repeats)
        judged, more = self._discriminate(batch, corrupted)
        loss = judged * c.disc_weight
        if generated is not None:
            loss = loss + generated * c.gen_weight
        return loss, parts | more

    def _generate(self, batch):
        """The generator's mean loss, its scores (P, V) for the picked places, parts of the loss."""
        if self.generator is None:
            return None, None, {}
        states = self.generator(batch.masked, batch.mask, batch.token_types)[-1]
        rows = states.reshape(1, -1, states.shape[-1])  # (B,T,C) -> (1,B·T,C)
        picked = F.gather_positions(rows, batch.picks[None])  # (1,B·T,C) -> (1,P,C)
        table = self.generator.embeddings.words.weight
        bias = self.generator_head.bias
        transformed = self.generator_head.transform(picked)  # (1,P,C) -> (1,P,E)
        targets = batch.ids.reshape(-1)[batch.picks]
        loss = F.linear_cross_entropy(transformed, table, targets[None], bias=bias)
        with no_grad():  # the samples have no gradient
            scores = F.linear(transformed, table, bias).data[0]  # (1,P,E) -> (P,V)
        right = int((scores.argmax(axis=1) == targets).sum())
        count = targets.size
        parts = {"generator": (loss.item() * count, count), "right": (right, count)}
        return loss, scores, parts

    def _samples(self, batch, scores):
        """A token for each pick, (P,), drawn from the generator or from the whole vocabulary."""
        c = self.config
        rng = np.random.default_rng(int(self.noise.key()))
        if scores is None:
            scores = np.zeros((batch.picks.size, c.vocab_size), np.float32)
        scores = scores / c.temperature
        if c.disallow_correct:
            targets = batch.ids.reshape(-1)[batch.picks]
            scores[np.arange(targets.size), targets] = -np.inf
        return gumbel_max(scores, rng)

    def _discriminate(self, batch, corrupted):
        """The discriminator's mean loss on the corrupted text (B, T), and parts of the loss."""
        is_replaced = corrupted != batch.ids
        scores = self.judge(corrupted, batch.mask, token_types=batch.token_types)
        losses = F.binary_cross_entropy_with_logits(scores, is_replaced, reduction="none")
        count = int(batch.judged.sum())
        loss = (losses * batch.judged.astype(losses.dtype)).sum() * (1 / count)
        called = (scores.data > 0)[batch.judged]
        truly = is_replaced[batch.judged]
        parts = {
            "discriminator": (loss.item() * count, count),
            "accuracy": (int((called == truly).sum()), count),
            "replaced": (int(truly.sum()), count),
            "precision": (int((called & truly).sum()), int(called.sum())),
        }
        return loss, parts

    # -- the model -------------------------------------------------------------------------------

    def judge(self, ids, mask=None, **family) -> Tensor:
        """The logits that each token is replaced.   ids : (B, T) -> (B, T)"""
        states = self.encode(ids, mask, **family)[-1]
        activation = nn.ACTIVATION_NAMES[self.config.hidden_act]
        hidden = self.dense(states, activation=activation)
        return self.out(hidden).reshape(np.shape(ids))  # (B,T,C) -> (B,T,1) -> (B,T)

    def logits(self, ids, mask=None, **family) -> Tensor:
        """The generator's scores of the token at every position.   ids : (B, T) -> (B, T, V)"""
        states = self.generator(ids, mask, **family)[-1]
        return self.generator_head(states, self.generator.embeddings.words.weight)
