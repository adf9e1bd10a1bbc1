"""XLNet: predict tokens in a random order, each from those before it (Yang et al. 2019).

The idea: GPT predicts from the left, so it never uses the right; BERT uses both sides, but reads
[MASK], which no later text holds, and guesses all gaps apart. XLNet draws an order of the tokens
and predicts along it. What comes before a token in that order may stand on either side, and no
place is hidden: attention is, by a mask.

    loss = −1/K Σ_{t: the last K of the order z} log p(x_{z_t} | x_{z_1} … x_{z_{t−1}})
    p(x | x_{z<t}) = softmax(W_e · g_{z_t} + b)

Sees the tokens before z_t in the order, and the place z_t itself; predicts the token there. One
stream cannot do both. The content stream h knows which token stands at its place, since later ones
need it. The query stream g begins with one learned vector and must not know. `may_see` below is the
rule as one writes it on paper. After pretraining only h is used.

Changes from bert.py: no gaps; distances and segments are relative (nn/relative.py); each layer also
reads what it read in the step before, its memory; half of the rows run backwards; the second
sentence is not judged.

Source: the paper and the released code. Differs: a place's sinusoids lose the same numbers to
dropout in all rows; a text's vector is the mean of the last layer (published: tanh of <cls>);
</s> ends a document where the release writes <eod>.
"""

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinylm import nn
from tinylm import ops as F
from tinylm.arguments import id_rows
from tinylm.data import Corpus
from tinylm.data.permutation import AROUND, CLASSIFIER, Lanes, Plan, Spans, arrange
from tinylm.errors import ArgumentError, ShapeError, TinylmError
from tinylm.memory import must_fit
from tinylm.ops.registry import check_ids
from tinylm.settings import at_least, from_to_below, one_of
from tinylm.tensor import Tensor
from tinylm.text.template import XLNET
from tinylm.text.unigram import XLNET_CONTROLS

from .base import Objective, ObjectiveConfig

NOT_COUNTED = -100  # the target of a pick that is padding
NO_DECAY = (r"(?<!r_[wrs]_)bias$", "norm")  # the release decays these three biases
RECIPE = dict(lr=2e-3, betas=(0.9, 0.98), bias_correction=True)


def may_see(i: int, j: int, order, targets, specials) -> bool:
    """Whether the query at place i may see the token at place j.

    order : T ranks     targets, specials : places to predict, places of <sep> and <cls>

    >>> order, targets, specials = [3, 1, 0, 2], [1, 3], []
    >>> [[int(may_see(i, j, order, targets, specials)) for j in range(4)] for i in range(4)]
    [[1, 0, 1, 0], [1, 0, 1, 0], [1, 0, 1, 0], [1, 1, 1, 0]]
    """
    if j not in targets and j not in specials:
        return True  # plain context, which comes before everything
    if i in targets:
        return order[i] > order[j]  # not even itself
    if i in specials:
        return order[i] >= order[j]
    return False


@dataclass(frozen=True)
class XLNetConfig(ObjectiveConfig):
    """Sizes and rates under the names of the published config.json, and how text becomes batches.

    attn_type : "bi", or "uni" for Transformer-XL, which sees the past only
    mem_len : tokens that a layer remembers; None or 0 for no memory in training
    reuse_len : tokens that a step moves on, and remembers; None or 0 for half of seq_len
    clamp_len : distances beyond it count as it, −1 for no limit
    same_length : with "uni", every token sees equally many others
    untie_r : each layer has its own three biases; False: all share them
    seq_len : tokens of a row, specials included     num_predict : K, those to predict
    perm_size : tokens of a block; blocks keep their order
    mask_alpha, mask_beta, longest_span, released_spans : see data.permutation.Spans
    half_backwards : half of the rows run backwards (the release's bi_data)
    dropatt : dropout of the attention weights

    >>> XLNetConfig.large().n_layer
    24
    >>> XLNetConfig(11, d_model=10, n_head=3)
    Traceback (most recent call last):
        ...
    tinylm.errors.ShapeError: XLNetConfig: d_model = 10 is not a multiple of n_head = 3.
    """

    ranges = {
        "d_model": at_least(1, 2**16),
        "n_layer": at_least(0, 2**10),
        "n_head": at_least(1, 2**16),
        "d_inner": at_least(1, 2**18),
        "ff_activation": one_of(*nn.ACTIVATION_NAMES),
        "attn_type": one_of("bi", "uni"),
        "initializer_range": at_least(0),
        "layer_norm_eps": at_least(0),
        "dropout": from_to_below(0, 1),
        "dropatt": from_to_below(0, 1),
        "mem_len": at_least(0, 2**20),
        "reuse_len": at_least(0, 2**20),
        "clamp_len": at_least(-1, 2**20),
        "seq_len": at_least(AROUND + 4, 2**20),
        "num_predict": at_least(1, 2**20),
        "perm_size": at_least(1, 2**20),
        "mask_alpha": at_least(1, 1000),
        "mask_beta": at_least(1, 1000),
        "longest_span": at_least(1, 1000),
        "batch_size": at_least(1, 2**20),
    }
    changeable = (
        *"dropout dropatt mem_len reuse_len clamp_len same_length seq_len num_predict".split(),
        *"perm_size mask_alpha mask_beta longest_span released_spans half_backwards".split(),
        "batch_size",
    )
    recipes = dict.fromkeys(("tiny", "small"), RECIPE)
    vocab_size: int = 32000
    d_model: int = 768
    n_layer: int = 12
    n_head: int = 12
    d_inner: int = 3072
    ff_activation: str = "gelu"
    attn_type: str = "bi"
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    dropout: float = 0.1
    dropatt: float = 0.1
    mem_len: int | None = 384
    reuse_len: int | None = 256
    clamp_len: int = -1
    same_length: bool = False
    untie_r: bool = True
    seq_len: int = 512
    num_predict: int = 85
    perm_size: int = 256
    mask_alpha: int = 6
    mask_beta: int = 1
    longest_span: int = 5
    released_spans: bool = False
    half_backwards: bool = True
    batch_size: int = 16

    def check(self) -> None:
        """Check the fields that depend on each other.

        raises ShapeError     if n_head does not divide d_model
        raises ArgumentError  for an odd batch of two directions, a reuse_len that leaves no text,
            more predictions than tokens, or if memory is short
        """
        if self.d_model % self.n_head:
            raise ShapeError(
                f"XLNetConfig: d_model = {self.d_model} is not a multiple of n_head = "
                f"{self.n_head}."
            )
        if self.half_backwards and self.batch_size % 2:
            raise ArgumentError(
                f"XLNetConfig: batch_size is {self.batch_size}; expected an even number, since "
                "half of the rows run backwards."
            )
        if self.seq_len - self.reused < AROUND + 2:
            raise ArgumentError(
                f"XLNetConfig: reuse_len is {self.reuse_len} of seq_len = {self.seq_len}; expected "
                f"at least {AROUND + 2} tokens beside it."
            )
        first = self.num_predict // 2
        text = self.seq_len - self.reused - AROUND
        if first >= self.reused or self.num_predict - first >= text:
            raise ArgumentError(
                f"XLNetConfig: num_predict is {self.num_predict}; expected less, because half of "
                f"them stand among {self.reused} reused tokens and half among {text} others, and "
                "each half needs tokens that are not predicted."
            )
        shape = (self.batch_size, self.seq_len, self.d_model)
        must_fit(shape, 4, f"One layer's states of a batch, {shape},")

    @property
    def reused(self) -> int:
        """Tokens that a step moves on."""
        return self.reuse_len or self.seq_len // 2

    @classmethod
    def tiny(cls, vocab_size: int, **over) -> "XLNetConfig":
        """Trains in a minute on a laptop: 2 layers of 64."""
        return replace(cls._of(vocab_size, width=64, heads=2, length=64), **over)

    @classmethod
    def small(cls, vocab_size: int, **over) -> "XLNetConfig":
        """The size that `tinylm compare` trains: 2 layers of 96, first weights of 1/√C."""
        return replace(cls._of(vocab_size, width=96, heads=4, length=128), **over)

    @classmethod
    def _of(cls, vocab_size, width, heads, length):
        """Two layers without dropout, weights of 1/√C; a quarter of the tokens is predicted."""
        return cls(
            vocab_size,
            d_model=width,
            n_layer=2,
            n_head=heads,
            d_inner=4 * width,
            initializer_range=width**-0.5,
            dropout=0.0,
            dropatt=0.0,
            mem_len=length // 2,
            reuse_len=length // 2,
            seq_len=length,
            num_predict=length // 4,
            perm_size=length // 2,
            mask_alpha=3,
            batch_size=12,
        )

    @classmethod
    def base(cls, **over) -> "XLNetConfig":
        """The published model of 12 layers."""
        return replace(cls(), **over)

    @classmethod
    def large(cls, **over) -> "XLNetConfig":
        """The published model of 24 layers."""
        return replace(cls(d_model=1024, n_layer=24, n_head=16, d_inner=4096), **over)


@dataclass(frozen=True)
class XLNetBatch:
    """One step of B rows.

    ids, token_types : (B, T) int64
    visible : (B, T, T) bool, True = query i may see token j
    picks : (B, K) int64, the places to predict; negative = padding
    targets : (B, K) int64, the tokens there; −100 where picks are padding
    half_backwards : the second half of the rows runs backwards
    fresh : a new reading of the text begins, so the memory must be forgotten
    memory : where the step finds its memory and leaves it; None for the model's own
    """

    ids: np.ndarray
    token_types: np.ndarray
    visible: np.ndarray
    picks: np.ndarray
    targets: np.ndarray
    half_backwards: bool
    fresh: bool
    memory: nn.Memory | None = None

    @property
    def tokens(self) -> int:
        """The number of tokens to predict."""
        return int((self.targets != NOT_COUNTED).sum())


class XLNet(Objective, name="xlnet", encoding="unigram"):
    """The model and its objective.

    config : XLNetConfig     rng : numpy Generator of the initial weights (a fixed one by default)

    >>> model = XLNet(XLNetConfig.tiny(11, n_layer=1))
    >>> [state.shape for state in model.encode(np.zeros((2, 5), int))]
    [(2, 5, 64), (2, 5, 64)]
    """

    Config = XLNetConfig
    model_type = "xlnet"
    unit = "nats per predicted token"
    guesses = ()
    structured = True
    needs_tokens = XLNET_CONTROLS
    template = XLNET
    training_defaults = dict(
        lr=1e-4, eps=1e-6, weight_decay=0.01, no_decay=NO_DECAY, bias_correction=False
    )
    sep_id: int | None = None
    cls_id: int | None = None

    def build(self, config: XLNetConfig, rng: np.random.Generator) -> None:
        """Make the table of tokens, the query's first vector, the layers and the head's bias."""
        c = config
        self.noise = nn.Noise()
        self.memory = nn.Memory()
        block = nn.BlockConfig(
            width=c.d_model,
            heads=c.n_head,
            hidden=c.d_inner,
            activation=nn.ACTIVATION_NAMES[c.ff_activation],
            pre_norm=False,
            eps=c.layer_norm_eps,
            residual_dropout=c.dropout,
            attention_dropout=c.dropatt,
            std=c.initializer_range,
        )
        sizes = nn.StreamsConfig(
            c.vocab_size,
            c.n_layer,
            clamp=c.clamp_len,
            causal=c.attn_type == "uni",
            same_length=c.same_length,
            shared_biases=not c.untie_r,
        )
        self.network = nn.TwoStreams(sizes, block, noise=self.noise, rng=rng)
        self.bias = nn.Parameter(nn.full((c.vocab_size,), 0))

    # -- learning from text ----------------------------------------------------------------------

    def spell(self, words: Iterable[str], special_ids: Iterable[int] = ()) -> None:
        """Learn how tokens are spelled, and which ones are <sep> and <cls>."""
        super().spell(words, special_ids)
        find = {word: i for i, word in enumerate(self.words)}
        self.sep_id = find.get("<sep>")
        self.cls_id = find.get("<cls>")

    def prepare(self, corpus: Corpus) -> None:
        """Keep the corpus, cut into lanes, and forget what was read before.

        raises TinylmError  if it is too short for a single step
        """
        super().prepare(corpus)
        c = self.config
        rows = c.batch_size // 2 if c.half_backwards else c.batch_size
        self.lanes = self._lanes(corpus, rows, c.half_backwards)
        self.memory = nn.Memory()

    def _lanes(self, corpus, rows, backwards):
        c = self.config
        return Lanes(corpus, c.reused, c.seq_len - c.reused - AROUND, rows, backwards)

    def batch(self, step: int, seed: int) -> XLNetBatch:
        """The next piece of every lane, with an order, targets and what each token may see."""
        self.prepared()
        return self._batch(self.lanes, step, seed)

    def evaluation_batches(self, corpus: Corpus) -> Iterator[XLNetBatch]:
        """The whole corpus in order and forward, always alike, with a memory of its own."""
        c = self.config
        other = copy.copy(self)  # it shares the weights
        Objective.prepare(other, corpus)
        rows = max(1, min(c.batch_size, len(corpus.ids) // (4 * c.seq_len)))
        if len(corpus.ids) < c.seq_len:
            return
        lanes = other._lanes(corpus, rows, False)
        memory = nn.Memory()
        for step in range(lanes.steps):
            yield replace(other._batch(lanes, step, 0), memory=memory)

    def _batch(self, lanes, step, seed):
        """Rows of a step with targets."""
        if self.sep_id is None or self.cls_id is None:
            raise TinylmError(
                "XLNet does not know the tokens <sep>, <cls>; call "
                "spell(tokenizer.vocab, tokenizer.special_ids), after add_specials if they lack."
            )
        c = self.config
        spans = Spans(c.longest_span, c.mask_alpha, c.mask_beta, c.released_spans)
        how = Plan(c.num_predict, c.perm_size, spans)
        rows, fresh = lanes.step(step, seed)
        shape = (len(rows), c.seq_len)
        ids = np.empty(shape, np.int64)
        visible = np.empty((*shape, c.seq_len), bool)
        picks = np.full((len(rows), c.num_predict), -1)
        for b, (places, _) in enumerate(rows):
            rng = np.random.default_rng([seed, 19, step, b])
            specials = np.where(places == CLASSIFIER, self.cls_id, self.sep_id)
            ids[b] = np.where(places < 0, specials, lanes.corpus.ids[np.maximum(places, 0)])
            starts = lanes.words(places, b)
            chosen, visible[b] = arrange(starts, places < 0, c.reused, how, rng)
            picks[b, : chosen.size] = chosen
        there = np.take_along_axis(ids, np.maximum(picks, 0), axis=1)
        targets = np.where(picks < 0, NOT_COUNTED, there)
        types = np.array([segments for _, segments in rows])
        return XLNetBatch(ids, types, visible, picks, targets, lanes.backwards, fresh)

    def tokens_read(self, batch: XLNetBatch) -> int:
        """All tokens of a batch."""
        return batch.ids.size

    def loss(self, batch: XLNetBatch) -> tuple[Tensor, dict[str, Any]]:
        """Mean nats per predicted token; the memory moves on by a step."""
        carried = self.memory if batch.memory is None else batch.memory
        if batch.fresh or not carried.fits(len(batch.ids)):
            carried.states = None
        inputs, query = self.streams(
            batch.ids,
            token_types=batch.token_types,
            memory=carried.states,
            visible=batch.visible,
            picks=np.maximum(batch.picks, 0),
            half_backwards=batch.half_backwards,
            query_only=True,
        )
        c = self.config
        if c.mem_len and c.n_layer:
            carried.states = nn.remember(inputs, carried.states, c.mem_len, c.reused)
        table = self.network.word_embedding.weight
        loss = F.linear_cross_entropy(query[-1], table, batch.targets, bias=self.bias)
        return loss, {"loss": loss.item()}

    # -- the model -------------------------------------------------------------------------------

    def streams(self, ids, mask=None, token_types=None, **family) -> nn.Streams:
        """Both streams, layer by layer; the arguments are those of nn.TwoStreams."""
        return self.network(ids, mask, token_types, **family)

    def encode(self, ids, mask=None, token_types=None, **family) -> list[Tensor]:
        """The embeddings, then every layer's states: the content stream alone.

        The arguments are those of `streams`.   returns n_layer + 1 Tensors (B, T, C)
        """
        return self.streams(ids, mask, token_types, **family)[0]

    def predict(self, ids, picks, mask=None, **family) -> Tensor:
        """Scores of the tokens at some places, of which the query stream does not know them.

        ids : (B, T)     picks : (B, K)     the other arguments are those of `streams`; without
            `visible`, a place sees all tokens but those at the picks
        returns (B, K, V)
        """
        ids, mask = id_rows(self.name, ids, mask)
        picks = check_ids("predict", picks, ids.shape[1], "place")
        if family.get("visible") is None:
            hidden = np.zeros(ids.shape, bool)
            np.put_along_axis(hidden, picks, True, axis=1)
            family["visible"] = np.repeat(~hidden[:, None], hidden.shape[1], axis=1)
        query = self.streams(ids, mask, picks=picks, query_only=True, **family)[1]
        return F.linear(query[-1], self.network.word_embedding.weight, self.bias)

    @property
    def token_table(self) -> nn.Parameter:
        """The token embeddings, (V, C); the head's too."""
        return self.network.word_embedding.weight

    def layer_groups(self) -> list[list[nn.Parameter]]:
        """The Parameters from the bottom up: the table and the query's first vector, the layers."""
        tables = [self.network.word_embedding.weight, self.network.mask_emb]
        return [tables, *(layer.parameters() for layer in self.network.layer)]

    # -- the memory ------------------------------------------------------------------------------

    def state(self) -> dict[str, np.ndarray]:
        """The memory, and how many tokens it holds."""
        c = self.config
        shape = (c.n_layer, c.batch_size, c.mem_len or 0, c.d_model)
        return self.memory.arrays(shape, self.network.mask_emb.dtype) if c.mem_len else {}

    def load_state(self, arrays: dict[str, np.ndarray]) -> None:
        """Take the memory of `state`.   raises CheckpointError if it is missing or misshapen"""
        if wanted := self.state():
            self.memory = nn.Memory.of(arrays, wanted["memory"].shape)
