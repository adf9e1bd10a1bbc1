"""ULMFiT: fine-tune a whole language model, not a table of vectors (Howard & Ruder 2018).

The idea: an LSTM learns to predict the next word of plain text, then of the texts of a task, and
then the task itself, each time with all of its layers. Word vectors pass on one layer; here
everything below the new head is passed on. Two things make that work: a language model that does
not overfit small texts (AWD-LSTM, Merity et al. 2018, which drops something everywhere), and an
adaptation that does not forget: see `AdaptConfig.gradual` and TrainConfig's layer_decay.

    loss = −1/N Σ_t log p(x_t | x_1 … x_{t−1}) + α · mean(d²) + β · mean((h_t − h_{t−1})²)
    p = softmax(W_e · d_{t−1} + b),     h = the last layer,     d = h after dropout

Sees x_1 … x_{t−1}, predicts x_t, also across windows: the LSTM's state is carried from batch to
batch. `read_on_paper` below is one layer as one writes it on paper.

Changes from glove.py: a word's vector depends on all words before it; a task gets a network.
Differs from the released classifier: its head is that of transfer/finetune.py, without α and β.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from tinylm import nn
from tinylm import ops as F
from tinylm.arguments import id_array, id_rows
from tinylm.data import Corpus, stream
from tinylm.errors import CheckpointError, TinylmError
from tinylm.kernels.runtime.pool import threads_for
from tinylm.memory import must_fit
from tinylm.settings import at_least, between, from_to_below
from tinylm.tensor import Tensor, no_grad

from .base import Objective, ObjectiveConfig

NOT_COUNTED = -100  # the target of a position without a next token
DROPOUTS = ("output_p", "hidden_p", "input_p", "embed_p", "weight_p")  # fields of the config


def sigmoid(x) -> np.ndarray:
    """1/(1 + e^−x)"""
    return 1 / (1 + np.exp(-x))


def read_on_paper(x, h, c, w_ih, w_hh, bias, kept) -> np.ndarray:
    """One layer's states of one text: an LSTM that lacks the same recurrent weights at every step.

    x : (T, C)     h, c : (H,), what was carried here     w_ih, w_hh, bias : (4H, C), (4H, H), (4H,)
    kept : (4H, H), the mask of weight drop, 0 or 1/(1 − weight_p)     returns (T, H)

    >>> ones = np.ones((4, 1))
    >>> read_on_paper(ones[:2], [0.0], [0.0], ones, ones, np.zeros(4), kept=0 * ones).round(3)
    array([[0.37 ],
           [0.545]])
    """
    states = []
    for t in range(len(x)):
        z = w_ih @ x[t] + (w_hh * kept) @ h + bias
        i, f, g, o = np.split(z, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        states.append(h)
    return np.array(states)


@dataclass(frozen=True)
class UlmfitConfig(ObjectiveConfig):
    """Sizes and rates under the names of fastai's AWD_LSTM.

    emb_sz : of the token vectors, and of the last layer     n_hid : of the layers below it
    output_p, hidden_p, input_p, embed_p, weight_p : dropout of the last layer's states, between
        layers, of the token vectors, of whole rows of the table, of recurrent weights
    alpha, beta : α and β of the loss
    bptt : tokens of a window, and of a truncated backward pass; the length varies, see `jittered`
    batch_size : lanes of the text that are read side by side
    backward : read every text from its end; a second model, whose predictions are averaged with
        those of a forward one
    max_len : a text's summary pools this many of its last states
    forget_bias : added to the forget gates' first biases, so that a young cell remembers
        longer and learns sooner what a text is about (0 as published, 2 in the small sizes)

    >>> UlmfitConfig.awd_lstm().n_hid
    1150
    """

    ranges = {
        "emb_sz": at_least(1, 2**16),
        "n_hid": at_least(1, 2**16),
        "n_layers": at_least(1, 1000),
        "output_p": from_to_below(0, 1),
        "hidden_p": from_to_below(0, 1),
        "input_p": from_to_below(0, 1),
        "embed_p": from_to_below(0, 1),
        "weight_p": from_to_below(0, 1),
        "alpha": at_least(0),
        "beta": at_least(0),
        "bptt": at_least(1, 2**20),
        "batch_size": at_least(1, 2**20),
        "max_len": at_least(1, 2**30),
        "forget_bias": between(-100, 100),
    }
    changeable = (*DROPOUTS, "alpha", "beta", "bptt", "batch_size", "max_len")
    recipes = {
        "awd_lstm": dict(
            optimizer="asgd",
            optimizer_options={"nonmono": 5},
            lr=30.0,
            clip=0.25,
            weight_decay=1.2e-6,
            no_decay=(),
            schedule="constant",
            schedule_options={},
            warmup=0.0,
        )
    }
    vocab_size: int = 60002
    emb_sz: int = 400
    n_hid: int = 1152
    n_layers: int = 3
    output_p: float = 0.1
    hidden_p: float = 0.15
    input_p: float = 0.25
    embed_p: float = 0.02
    weight_p: float = 0.2
    alpha: float = 2.0
    beta: float = 1.0
    bptt: int = 70
    batch_size: int = 64
    backward: bool = False
    max_len: int = 1400
    forget_bias: float = 0.0

    def check(self) -> None:
        """raises ArgumentError if a batch does not fit into the memory"""
        shape = (self.batch_size, self.bptt, 4 * self.n_hid)
        must_fit(shape, 4, "One layer's gates of a batch")

    def dropped(self, factor: float) -> "UlmfitConfig":
        """The same with all five dropouts times a factor: fastai's drop_mult.

        >>> UlmfitConfig(vocab_size=11).dropped(0.5).input_p
        0.125
        """
        return replace(self, **{name: factor * vars(self)[name] for name in DROPOUTS})

    @classmethod
    def tiny(cls, vocab_size: int, **over) -> "UlmfitConfig":
        """Trains in a minute on a laptop: 2 layers, 128 and 64, and a fifth of the dropout."""
        sizes = dict(emb_sz=64, n_hid=128, n_layers=2, bptt=35, batch_size=16, forget_bias=2.0)
        return replace(cls(vocab_size, **sizes).dropped(0.2), **over)

    @classmethod
    def small(cls, vocab_size: int, **over) -> "UlmfitConfig":
        """The size that `tinylm compare` trains: 2 layers, 256 and 128, and little dropout."""
        sizes = dict(emb_sz=128, n_hid=256, n_layers=2, batch_size=16, forget_bias=2.0)
        return replace(cls(vocab_size, **sizes).dropped(0.2), **over)

    @classmethod
    def awd_lstm(cls, vocab_size: int = 10000, **over) -> "UlmfitConfig":
        """AWD-LSTM as published for the Penn Treebank: 3 layers of 1150, much dropout.

        `tinylm pretrain ulmfit --config awd_lstm` trains it so, see `recipes`: SGD at a rate of 30
        until the held-out loss stops falling, then the mean of the weights.
        """
        rates = dict(output_p=0.4, hidden_p=0.3, input_p=0.65, embed_p=0.1, weight_p=0.5)
        config = cls(vocab_size, n_hid=1150, batch_size=80, **rates)
        return replace(config, **over)

    @classmethod
    def ulmfit(cls, vocab_size: int = 60002, **over) -> "UlmfitConfig":
        """ULMFiT's model of Wikipedia: 3 layers of 1152."""
        return replace(cls(vocab_size), **over)


@dataclass(frozen=True)
class UlmfitBatch:
    """inputs, targets : (B, T) int64; targets[b, t] follows inputs[b, t], −100 is not counted.

    fresh : the lanes begin here, so what was carried is forgotten

    >>> UlmfitBatch(np.array([[5, 6, 0]]), np.array([[6, 7, -100]]), fresh=True).tokens
    2
    """

    inputs: np.ndarray
    targets: np.ndarray
    fresh: bool

    @property
    def tokens(self) -> int:
        """The number of targets that are counted."""
        return int((self.targets != NOT_COUNTED).sum())


class Ulmfit(Objective, name="ulmfit", encoding="words"):
    """The model and its objective.

    config : UlmfitConfig     rng : numpy Generator of the initial weights (a fixed one by default)
    table : (V, emb_sz), the token vectors, and with `bias` (V,) the head
    Source: Merity et al. 2018 and Howard & Ruder 2018; the released code of both.

    >>> model = Ulmfit(UlmfitConfig(vocab_size=11, emb_sz=5, n_hid=7))
    >>> len(model.layer_groups())  # the table, then three layers
    4
    >>> [state.shape for state in model.encode([[3, 4, 3]])]
    [(1, 3, 5), (1, 3, 7), (1, 3, 7), (1, 3, 5)]
    """

    Config = UlmfitConfig
    causal = True
    mean_rows = True
    unit = "nats per token"
    vocab_sizes = {"words": 8000}  # every update pays for every word: 20,000 take twice as long
    training_defaults = dict(
        optimizer="adam",
        lr=1e-2,
        betas=(0.8, 0.99),
        weight_decay=1e-7,
        schedule="slanted_triangular",
        schedule_options={"ratio": 32},
        clip=0.3,
    )

    def build(self, config: UlmfitConfig, rng: np.random.Generator) -> None:
        """Make the table, the layers, and the bias of the head; the table is the head's matrix."""
        c = config
        self.noise = nn.Noise()
        self.table = nn.Parameter(nn.uniform(rng, (c.vocab_size, c.emb_sz), 0.1))
        self.bias = nn.Parameter(nn.full((c.vocab_size,), 0))
        widths = [c.emb_sz] + [c.n_hid] * (c.n_layers - 1) + [c.emb_sz]
        more = dict(weight_drop=c.weight_p, forget_bias=c.forget_bias)
        layers = [nn.LSTMConfig(below, width, **more) for below, width in pairwise(widths)]
        self.lstm = nn.LSTMStack(layers, dropout=c.hidden_p, noise=self.noise, rng=rng)
        # One mask for all steps of a window ("variational"): axis 1 is time.
        self.input_drop = nn.Dropout(c.input_p, self.noise, shared=(1,))
        self.output_drop = nn.Dropout(c.output_p, self.noise, shared=(1,))
        # What the lanes have read, in training and in evaluation: each goes on from its own.
        self._carried: dict[bool, nn.State | None] = {True: None, False: None}
        if c.backward:
            self.causal = False  # it sees what follows, and nothing before
            self.backward = True
            self.start_cache = self.step = None

    # -- learning from text ----------------------------------------------------------------------

    def prepare(self, corpus: Corpus) -> None:
        """Keep the corpus, and forget what was read of another one.

        raises TinylmError  if a lane is not longer than a window, or its ids do not fit the model
        """
        c = self.config
        least = c.batch_size * (c.bptt + 1)
        if len(corpus.ids) < least:
            raise TinylmError(
                f"The text has {len(corpus.ids)} tokens; {c.batch_size} lanes of windows of "
                f"{c.bptt} need {least} (use more text, a smaller batch_size or a smaller bptt)."
            )
        super().prepare(corpus)
        self._carried = {True: None, False: None}

    def batch(self, step: int, seed: int) -> UlmfitBatch:
        """The next window of the lanes; lengths are drawn anew in every epoch."""
        c = self.config
        ids = self.prepared().ids
        inputs, targets, fresh = stream(ids, c.batch_size, c.bptt, step, seed, backward=c.backward)
        return UlmfitBatch(inputs.astype(np.int64), targets.astype(np.int64), fresh)

    def rate_scale(self, batch: UlmfitBatch) -> float:
        """A window half as long moves the weights half as far."""
        return batch.inputs.shape[1] / self.config.bptt

    def evaluation_batches(self, corpus: Corpus) -> Iterator[UlmfitBatch]:
        """The whole corpus in lanes and windows that do not overlap; a short one has fewer lanes.

        Padding at the end of the last lane is not counted.
        """
        c = self.config
        ids = corpus.ids[::-1] if c.backward else corpus.ids
        n = len(ids) - 1
        if n < 1:
            return
        lanes = min(c.batch_size, max(n // c.bptt, 1))
        length = -(-n // lanes)  # rounded up
        inputs = np.zeros((lanes, length), np.int64)
        targets = np.full((lanes, length), NOT_COUNTED, np.int64)
        inputs.reshape(-1)[:n] = ids[:-1]
        targets.reshape(-1)[:n] = ids[1:]
        for begin in range(0, length, c.bptt):
            window = slice(begin, begin + c.bptt)
            yield UlmfitBatch(inputs[:, window], targets[:, window], fresh=begin == 0)

    def loss(self, batch: UlmfitBatch) -> tuple[Tensor, dict[str, float]]:
        """Mean nats per counted token; while training, with the penalties α and β.

        Its components: next_token, and activation and slowness without their α and β. It goes on
        from the state of the call before, unless the batch is fresh.
        """
        c = self.config
        start = None if batch.fresh else self._carried[self.training]
        states, end = self.read(batch.inputs, start)
        self._carried[self.training] = nn.detach(end)
        raw = states[-1]
        dropped = self.output_drop(raw)
        nats = F.linear_cross_entropy(dropped, self.table, batch.targets, bias=self.bias)
        if not self.training:
            return nats, {"loss": nats.item()}
        activation = F.mean(F.square(dropped))
        loss = nats + activation * c.alpha
        parts = {"next_token": nats.item(), "activation": activation.item()}
        if raw.shape[1] > 1:
            slowness = F.mean(F.square(raw[:, 1:] - raw[:, :-1]))
            loss = loss + slowness * c.beta
            parts["slowness"] = slowness.item()
        return loss, {"loss": loss.item(), **parts}

    def state(self) -> dict[str, np.ndarray]:
        """What the training lanes have read: h and c of every layer; {} before the first batch."""
        arrays = {}
        for i, (h, c) in enumerate(self._carried[True] or ()):
            arrays[f"h.{i}"] = h.data
            arrays[f"c.{i}"] = c.data
        return arrays

    def load_state(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Go on reading where the arrays of `state` stand.

        raises CheckpointError  if they are those of other layers
        """
        if not arrays:
            self._carried[True] = None
            return
        state = []
        for i, layer in enumerate(self.lstm.rnns):
            width = layer.config.width
            pair = [arrays.get(f"h.{i}"), arrays.get(f"c.{i}")]
            if any(part is None or part.shape[1:] != (width,) for part in pair):
                raise CheckpointError(
                    f"The carried state of layer {i} is missing or has not {width} columns; "
                    "it belongs to another model."
                )
            state.append(tuple(Tensor(np.array(part)) for part in pair))
        self._carried[True] = state

    # -- the model -------------------------------------------------------------------------------

    def embed(self, ids) -> Tensor:
        """The token vectors.   ids (B, T) -> (B, T, C)

        While training, some tokens have none, wherever they stand, and some columns are zero.
        """
        x = F.embedding(ids, self.table)
        if self.training and self.config.embed_p:
            rows = np.ones((len(self.table), 1), self.table.dtype)
            kept = F.dropout(rows, self.config.embed_p, self.noise.key()).data
            x = x * kept[ids]  # (B,T,C) * (B,T,1)
        return self.input_drop(x)

    def read(self, ids, state=None, mask=None) -> tuple[list[Tensor], nn.State]:
        """Read on from a state, in the order of the ids; every call draws its masks anew.

        ids : (B, T) integers     mask : (B, T) bool, at False the state passes on
        returns the embeddings and every layer's states, (B, T, C) each; the state at the end
        """
        x = self.embed(id_array("ULMFiT", ids))
        if state is not None:  # gradcheck works in float64
            state = [tuple(Tensor(p.data.astype(x.dtype)) for p in pair) for pair in state]
        outs, end = self.lstm(x, state, mask)
        return [x, *outs], end

    def encode(self, ids, mask=None) -> list[Tensor]:
        """The embeddings, then every layer's states, read from a zero state.

        ids : (B, T) integers     mask : (B, T) bool, True = a real token
        A long text is read in chunks of bptt, and gradients pass only inside of each. Chunks before
        the last max_len tokens leave no trace on the tape, for `summary` does not look at them
        (BPT3C, Howard & Ruder 2018, section 3.3).
        """
        ids, mask = id_rows("ULMFiT", ids, mask)
        real = np.ones(ids.shape, bool) if mask is None else mask
        turn = slice(None, None, -1 if self.config.backward else 1)
        ids = ids[:, turn]
        real = real[:, turn]
        first = self._first_pooled(real)
        state = None
        chunks = []
        for begin in range(0, max(ids.shape[1], 1), self.config.bptt):
            chunk = slice(begin, begin + self.config.bptt)
            is_seen = chunk.stop > first
            with contextlib.nullcontext() if is_seen else no_grad():
                states, end = self.read(ids[:, chunk], state, real[:, chunk])
            state = nn.detach(end)
            chunks.append(states)
        whole = chunks[0]
        if len(chunks) > 1:
            whole = [F.concatenate(parts, axis=1) for parts in zip(*chunks, strict=True)]
        return [x[:, turn] for x in whole] if self.config.backward else whole

    def _first_pooled(self, real):
        """The first position in reading order that the summary of some row looks at."""
        backwards = np.pad(real[:, ::-1], ((0, 0), (0, 1)))  # also of no token there is a maximum
        from_the_end = np.argmax(backwards, axis=1)  # (B,), padding behind the last real token
        ends = real.shape[1] - from_the_end
        return max(int(ends.min(initial=0)) - self.config.max_len, 0)

    def summary(self, states: list[Tensor], mask) -> Tensor:
        """The last state of a text, and the maximum and mean of its last max_len states.

        states : as `encode` returns them     mask : (B, T) bool, True = a real token
        returns (B, 3·C)
        """
        turn = slice(None, None, -1 if self.config.backward else 1)
        real = np.asarray(mask, bool)[:, turn]
        left = real[:, ::-1].cumsum(axis=1)[:, ::-1]  # real tokens from here to the end
        return nn.ConcatPool()(states[-1][:, turn], real & (left <= self.config.max_len))

    def logits(self, ids, mask=None) -> Tensor:
        """Scores of the next token at every position (of the one before, if the model is backward).

        ids : (B, T) -> (B, T, V)
        """
        top = self.output_drop(self.encode(ids, mask)[-1])
        return F.linear(top, self.table, self.bias)

    def start_cache(self, batch_size: int, length: int) -> nn.Carried:
        """A cache for `step`: the state of every layer, however long the text grows."""
        return nn.Carried()

    def step(self, ids, cache: nn.Carried, mask=None) -> np.ndarray:
        """Read ids (B, T) after the tokens in the cache; returns the next token's scores (B, V).

        mask : (B, T) bool, False at padding, which stands on the left; None = all real
        """
        ids, mask = id_rows("ULMFiT", ids, mask)
        with no_grad(), threads_for(ids.size * self.config.n_hid**2):
            states, cache.state = self.read(ids, cache.state, mask)
            return F.linear(states[-1][:, -1], self.table, self.bias).data

    @property
    def token_table(self) -> nn.Parameter:
        """The token embeddings, (V, C)."""
        return self.table

    def layer_groups(self) -> list[list[nn.Parameter]]:
        """The Parameters from the bottom up: the table, then each layer, the last with the bias."""
        groups = [[self.table], *[layer.parameters() for layer in self.lstm.rnns]]
        groups[-1] = [*groups[-1], self.bias]
        return groups
