"""ELMo: a word's vector comes from its whole sentence (Peters et al. 2018).

The idea: word2vec gives "bank" one vector, whatever stands around it. So let two LSTMs read the
text, one from the left and one from the right, and let each predict the next word that it will
meet. What they remember at a word is a vector of this word in this sentence. A task takes all
layers, mixed with weights of its own. Words are read by their bytes, so every word has a vector.

    loss = −1/2N Σ_t [log p(x_t | x_1 … x_{t−1}) + log p(x_t | x_{t+1} … x_N)]
    p = softmax(W h_t + b),   h = the top layer of one direction
    layer l at word t = [forward h_{t,l} ; backward h_{t,l}],   layer 0 = [x_t ; x_t]

Sees all words before x_t, then all words behind it, never both at once; predicts x_t twice.
`two_way_loss` below is the objective as one writes it on paper.

Changes from glove.py: vectors of words in their sentence, not of words; the loss is that of two
language models, so word order counts. Both share the reader of words and the softmax, nothing else.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tinylm import nn, sampling
from tinylm import ops as F
from tinylm.arguments import id_rows
from tinylm.data import Corpus, Lanes, both_ways
from tinylm.errors import ArgumentError, TinylmError
from tinylm.settings import above, at_least, from_to_below, one_of
from tinylm.tensor import Tensor, no_grad
from tinylm.text import Template
from tinylm.text.elmo import sentence_characters
from tinylm.vectors import AnyWord

from .base import Objective, ObjectiveConfig
from .spelled import SpelledWords

BEGIN = "<S>"
END = "</S>"
UNKNOWN = ("<UNK>", "<unk>", "[UNK]")
READINGS = ("training", "evaluation", "encoding")  # each carries on a state of its own
TRAINING, EVALUATION, ENCODING = READINGS
SAMPLES = 512  # words of the softmax in the laptop sizes: a step takes half as long as with 20,000


def two_way_loss(forward, backward, ids) -> float:
    """Mean nats per prediction of one sentence <S> … </S>.

    forward : (T, V) scores, row t has read ids[0] … ids[t]
    backward : (T, V) scores, row t has read ids[T − 1] … ids[t]     ids : T tokens

    >>> even = np.zeros((3, 4))
    >>> round(two_way_loss(even, even, [0, 2, 1]), 4)  # four guesses among four: log 4
    1.3863
    """
    nats = 0.0
    for t in range(len(ids) - 1):
        for scores, target in ((forward[t], ids[t + 1]), (backward[t + 1], ids[t])):
            weights = np.exp(scores)
            nats -= np.log(weights[target] / weights.sum())
    return float(nats / (2 * (len(ids) - 1)))


@dataclass(frozen=True)
class ElmoConfig(ObjectiveConfig):
    """Sizes and rates under the names of the released options.json, which nests some of them.

    vocab_size : words that the encoding knows
    n_tokens_vocab : so many of them, the first, are predicted, the others count as unknown; None
        for all. Rare words are then read as they are spelled without a row in the softmax
    embedding_dim, filters, activation, n_highway : of the character CNN
    projection_dim : P, the width of a word and of an LSTM's output     dim : H, its cells
    cell_clip, proj_clip : bounds on |c| and on |h|, None for none
    use_skip_connections : from the second layer on, a layer's input is added to its output
    dropout : on each layer's input, and before the softmax
    unroll_steps, batch_size : T words in each of B lanes are read per step
    stateful : each step goes on in the state in which the last one ended
    n_negative_samples_batch : words of the sampled softmax in training, 0 for the full one

    >>> ElmoConfig.published().dim
    4096
    """

    ranges = {
        "n_tokens_vocab": at_least(1, 2**24),
        "embedding_dim": at_least(1, 2**12),
        "filters": at_least(1, 2**16),
        "activation": one_of("relu", "tanh"),
        "n_highway": at_least(0, 2**10),
        "projection_dim": at_least(1, 2**16),
        "dim": at_least(1, 2**18),
        "n_layers": at_least(1, 2**10),
        "cell_clip": above(0),
        "proj_clip": above(0),
        "dropout": from_to_below(0, 1),
        "unroll_steps": at_least(1, 2**20),
        "batch_size": at_least(1, 2**20),
        "n_negative_samples_batch": at_least(0, 2**24),
    }
    changeable = ("dropout", "unroll_steps", "batch_size", "stateful", "n_negative_samples_batch")
    # The released program multiplies the gradients by unroll_steps = 20, clips their norm at 10 and
    # starts Adagrad's sums at 1. Without that factor a norm of 10/20 and sums of 1/20² do the same.
    recipes = {
        "published": dict(
            optimizer="adagrad",
            optimizer_options={"initial_accumulator_value": 1 / 20**2},
            lr=0.2,
            weight_decay=0.0,
            warmup=0.0,
            schedule="constant",
            clip=10 / 20,
        )
    }
    vocab_size: int = 793_471
    n_tokens_vocab: int | None = None
    embedding_dim: int = 16
    filters: tuple[tuple[int, int], ...] = nn.CharCNNConfig.filters
    activation: str = "relu"
    n_highway: int = 2
    projection_dim: int = 512
    dim: int = 4096
    n_layers: int = 2
    cell_clip: float | None = 3.0
    proj_clip: float | None = 3.0
    use_skip_connections: bool = True
    dropout: float = 0.1
    unroll_steps: int = 20
    batch_size: int = 128
    stateful: bool = True
    n_negative_samples_batch: int = 8192

    def check(self) -> None:
        """raises ArgumentError for a projection that is too wide, or weights without memory"""
        if self.projection_dim > self.dim:
            raise ArgumentError(
                f"{type(self).__name__}: projection_dim = {self.projection_dim} is above "
                f"dim = {self.dim}; an LSTM's output is no wider than its cells."
            )
        self.sizes()

    def sizes(self) -> tuple[nn.CharCNNConfig, nn.LSTMConfig]:
        """The sizes of the reader of words and of one LSTM layer, under the names of nn."""
        reader = nn.CharCNNConfig(
            embedding_dim=self.embedding_dim,
            filters=self.filters,
            activation=self.activation,
            n_highway=self.n_highway,
            projection_dim=self.projection_dim,
        )
        layer = nn.LSTMConfig(
            input_size=self.projection_dim,
            hidden_size=self.dim,
            proj_size=self.projection_dim if self.projection_dim < self.dim else 0,
            cell_clip=self.cell_clip,
            projection_clip=self.proj_clip,
            forget_bias=1.0,
        )
        return reader, layer

    @property
    def predicted(self) -> int:
        """The number of words in the softmax."""
        return min(self.n_tokens_vocab or self.vocab_size, self.vocab_size)

    @classmethod
    def tiny(cls, vocab_size: int, **over) -> "ElmoConfig":
        """Trains in a minute on a laptop: 2 layers of 128 cells each way, words of 64."""
        sizes = dict(filters=((1, 16), (2, 16), (3, 32)), projection_dim=64, dim=128)
        return cls._laptop(vocab_size, dict(unroll_steps=16) | sizes | over)

    @classmethod
    def small(cls, vocab_size: int, **over) -> "ElmoConfig":
        """The size that `tinylm compare` trains: 2 layers of 512 cells each way, words of 128."""
        filters = ((1, 32), (2, 32), (3, 64), (4, 128))
        sizes = dict(filters=filters, projection_dim=128, dim=512)
        return cls._laptop(vocab_size, dict(unroll_steps=32) | sizes | over)

    @classmethod
    def _laptop(cls, vocab_size, fields):
        """Few words are cheaper than samples; less than an epoch needs no dropout."""
        usual = dict(n_highway=1, dropout=0.0, batch_size=16, n_negative_samples_batch=0)
        config = cls(vocab_size, **(usual | fields))
        if "n_negative_samples_batch" in fields or config.predicted <= 16 * SAMPLES:
            return config
        return replace(config, n_negative_samples_batch=SAMPLES)

    @classmethod
    def published(cls, vocab_size: int = 793_471, **over) -> "ElmoConfig":
        """The released model: 94 million parameters without the softmax. `recipes` trains it."""
        return replace(cls(vocab_size), **over)


@dataclass(frozen=True)
class ElmoBatch:
    """Words of B lanes in both directions, see data/twoway.py.

    inputs, targets : (2, B, T) int64; a target of −100 is not counted
    fresh : the lanes begin here, so that no state is carried on
    samples : for each direction the words of the sampled softmax, as sampling.log_uniform gives
        them; () for the full one

    >>> both = np.array([[[0, 5]], [[1, 5]]])
    >>> ElmoBatch(both, np.array([[[5, 1]], [[5, 0]]]), fresh=True).tokens
    4
    """

    inputs: np.ndarray
    targets: np.ndarray
    fresh: bool
    samples: tuple = ()

    @property
    def tokens(self) -> int:
        """The number of predictions, of both directions together."""
        return int((self.targets >= 0).sum())


class Elmo(Objective, name="elmo", encoding="elmo"):
    """The model and its objective.

    config : ElmoConfig     rng : numpy Generator of the initial weights (a fixed one by default)
    reader : SpelledWords, a word's vector from its bytes     lm : an nn.BiLM
    softmax : nn.Linear, for both directions
    Source: Peters et al. 2018; the released code. Differs: documents are shuffled, not single
    sentences, and an epoch begins without a state; an LSTM's initial weights are PyTorch's; in
    training a word that the encoding does not know is read as the letters <UNK>.

    >>> words = ["<S>", "</S>", "<UNK>", "<pad>", "bank", "river"]
    >>> model = Elmo(ElmoConfig.tiny(6))
    >>> model.spell(words)
    >>> [layer.shape for layer in model.encode(np.array([[0, 4, 5, 1]]))]
    [(1, 4, 128), (1, 4, 128), (1, 4, 128)]
    >>> layers, mask = model.word_states([["a", "riverbank"], ["bank"]])
    >>> layers[2].shape, mask.tolist()
    ((2, 2, 128), [[True, True], [True, False]])
    """

    Config = ElmoConfig
    structured = True
    needs_tokens = (BEGIN, END)
    template = Template(f"{BEGIN} A {END}")
    unit = "nats per predicted word"
    guesses = ()
    training_defaults = dict(
        lr=1e-2, betas=(0.9, 0.98), weight_decay=0.0, schedule="cosine", clip=1.0
    )
    begin_id: int | None = None
    end_id: int | None = None
    unk_id: int = 0

    def build(self, config: ElmoConfig, rng: np.random.Generator) -> None:
        """Make the reader of words, the LSTMs of both directions, and the softmax."""
        c = config
        words, layer = c.sizes()
        noise = nn.Noise()
        self.drop = nn.Dropout(c.dropout, noise)
        self.reader = SpelledWords(words, rng=rng)
        how = dict(skip=c.use_skip_connections, dropout=c.dropout, noise=noise, rng=rng)
        self.lm = nn.BiLM(layer, c.n_layers, **how)
        self.softmax = nn.Linear(c.projection_dim, c.predicted, rng=rng, std=c.projection_dim**-0.5)
        self.lanes: Lanes | None = None  # the prepared text

    def spell(self, words: Iterable[str], special_ids: Iterable[int] = ()) -> None:
        """Learn how the vocabulary is spelled.   words : at most V strings, by id

        raises TinylmError  if <S> or </S> are not among the predicted words
        """
        super().spell(words, special_ids)
        self.reader.spell(self.words, self.config.vocab_size)
        find = {word: i for i, word in enumerate(self.words)}
        self.begin_id = find.get(BEGIN)
        self.end_id = find.get(END)
        unknown = [find[name] for name in UNKNOWN if name in find]
        self.unk_id = unknown[0] if unknown else 0
        last = max(self.begin_id or 0, self.end_id or 0, self.unk_id)
        if last >= self.config.predicted:
            raise TinylmError(
                f"n_tokens_vocab is {self.config.predicted}, but {self.words[last]} has the id "
                f"{last}; use the encoding elmo, which puts it first, or a larger n_tokens_vocab."
            )

    # -- learning from text ----------------------------------------------------------------------

    def prepare(self, corpus: Corpus) -> None:
        """Keep the corpus as two streams.

        raises TinylmError  before `spell`, if an id does not fit the model, or if there are fewer
            words than a step reads
        """
        super().prepare(corpus)
        c = self.config
        self.lanes = Lanes(self._both_ways(corpus), c.batch_size, c.unroll_steps)

    def _both_ways(self, corpus):
        """A corpus as two streams.   raises TinylmError without <S> and </S>"""
        if self.begin_id is None or self.end_id is None:
            raise TinylmError(
                f"This Elmo knows no {BEGIN} or no {END}, between which sentences stand; call "
                "spell(tokenizer.vocab) after tokenizer.add_specials(model.needs_tokens)."
            )
        return both_ways(corpus, self.begin_id, self.end_id)

    @property
    def steps_per_epoch(self) -> int:
        """Steps that read the whole text once; what does not fill a step is left out."""
        return 0 if self.lanes is None else self.lanes.steps_per_epoch

    def batch(self, step: int, seed: int) -> ElmoBatch:
        """The next T words of B lanes in both directions; documents are shuffled every epoch."""
        self.prepared()
        c = self.config
        inputs, targets, fresh = self.lanes.at(step, seed)
        targets = self._known(targets)
        samples = ()
        if c.n_negative_samples_batch:
            rng = np.random.default_rng([seed, 13, step])
            count = min(c.n_negative_samples_batch, c.predicted)
            drawn = [sampling.log_uniform(each, count, c.predicted, rng) for each in targets]
            samples = tuple(drawn)
        return ElmoBatch(inputs, targets, fresh, samples)

    def _known(self, targets):
        """The targets, those that have no row in the softmax as unknown words."""
        return np.where(targets < self.config.predicted, targets, self.unk_id)

    def tokens_read(self, batch: ElmoBatch) -> int:
        """The words of a batch; each is read from both sides."""
        return batch.inputs[0].size

    def evaluation_batches(self, corpus: Corpus) -> Iterator[ElmoBatch]:
        """The whole corpus in order; the softmax is always the full one."""
        stream = self._both_ways(corpus)
        how = (self.config.batch_size, self.config.unroll_steps)
        for inputs, targets, fresh in stream.once(*how):
            yield ElmoBatch(inputs, self._known(targets), fresh)

    def loss(self, batch: ElmoBatch) -> tuple[Tensor, dict[str, float]]:
        """Mean nats per prediction of both directions, and those of each.

        In training the loss goes on from the state in which the last batch ended, unless the batch
        is fresh, and so does evaluation from its own.
        """
        reading = TRAINING if self.training else EVALUATION
        if batch.fresh or not self.config.stateful:
            self.lm.forget(reading)
        words = self.reader.words(batch.inputs)  # (2,B,T) -> (2,B,T,P)
        ways = self.lm.read((words[0], words[1]), reading=reading)
        losses = []
        for way, outputs in enumerate(ways):
            sampled = batch.samples[way] if batch.samples and self.training else None
            losses.append(self._nats(self.drop(outputs[-1]), batch.targets[way], sampled))
        forward, backward = losses
        loss = (forward + backward) * 0.5
        parts = {"forward": forward.item(), "backward": backward.item()}
        return loss, {"loss": loss.item(), **parts}

    def _nats(self, top, targets, sampled):
        """Mean cross-entropy of one direction.   top (B, T, P), targets (B, T)"""
        weight = self.softmax.weight
        bias = self.softmax.bias
        if sampled is None:
            return F.linear_cross_entropy(top, weight, targets, bias=bias)
        return F.sampled_softmax_loss(top, weight, bias, targets, sampled)

    def perplexities(self, corpus: Corpus) -> dict[str, float]:
        """e^(mean nats) of each direction on another text: {"forward": …, "backward": …}."""
        was_training = self.training
        self.eval()
        nats = np.zeros(2)
        count = 0
        with no_grad():
            for batch in self.evaluation_batches(corpus):
                _, parts = self.loss(batch)
                nats += batch.tokens * np.array([parts["forward"], parts["backward"]])
                count += batch.tokens
        self.train(was_training)
        forward, backward = np.exp(nats / count).tolist()
        return {"forward": forward, "backward": backward}

    def state(self) -> dict[str, np.ndarray]:
        """Where training's last batch ended, see nn.BiLM."""
        return self.lm.state(TRAINING, self.config.batch_size)

    def load_state(self, arrays: dict[str, np.ndarray]) -> None:
        """Take the arrays of `state`.   raises CheckpointError if one is missing or misshapen"""
        self.lm.load_state(TRAINING, arrays)

    # -- the model -------------------------------------------------------------------------------

    def encode(self, ids, mask=None, chars=None, carry: bool = False) -> list[Tensor]:
        """The words themselves, twice side by side, then every layer of both directions.

        ids : (B, T) integers     mask : (B, T) bool, True = a real word
        chars : (B, T, 50), how the words are spelled; without it those of the ids
        carry : go on in the state in which the last call with `carry` ended, as the released
            program always does; `forget` begins anew
        returns n_layers + 1 Tensors (B, T, 2·P)
        """
        if ids is not None:
            ids, mask = id_rows("ELMo", ids, mask)
        mask = None if mask is None else np.asarray(mask, bool)
        words = self.reader.words(ids, chars, self.unk_id)
        above = self.lm(words, mask, ENCODING if carry else None)
        return [F.concatenate([words, words], axis=2), *above]

    def one_sided(self, ids, mask=None, chars=None) -> dict[str, Tensor]:
        """Scores from the left (B, T − 1, V) and from the right; arguments as in `encode`.

        The released files hold no softmax; a model of theirs scores nothing.
        """
        if not self.softmax.weight.data.any():
            return {}
        top = self.encode(ids, mask, chars)[-1]
        forward = top[..., : self.config.projection_dim]
        backward = top[..., self.config.projection_dim :]
        return {"left": self.softmax(forward[:, :-1]), "right": self.softmax(backward[:, 1:])}

    def forget(self) -> None:
        """Let the next `encode` with `carry` begin without a state."""
        self.lm.forget(ENCODING)

    def word_states(
        self, sentences: Sequence[Sequence[str]], carry: bool = False
    ) -> tuple[list[Tensor], np.ndarray]:
        """The layers of sentences that are cut into words: one state for each word.

        Any string is a word. <S> and </S> are read around each sentence and not returned.
        returns n_layers + 1 Tensors (B, T, 2·P), and the mask (B, T) bool, True = a word
        """
        chars, real = sentence_characters(sentences)
        layers = self.encode(None, real, chars, carry)
        inside = [layer[:, 1:-1] for layer in layers]
        return inside, real[:, 2:]

    def embedding_table(self) -> np.ndarray:
        """The vectors of the vocabulary's words from their spelling, (V, P)."""
        return self.reader.table()

    def subwords(self) -> AnyWord:
        """Vectors for words outside the vocabulary, see `Vectors`."""
        return AnyWord(self.reader.word)

    def layer_groups(self) -> list[list[nn.Parameter]]:
        """The Parameters from the bottom up: the reader of words, then each layer both ways."""
        groups = [self.reader.parameters()]
        ways = [direction.rnns for direction in self.lm.directions]
        for pair in zip(*ways, strict=True):
            groups.append(pair[0].parameters() + pair[1].parameters())
        return groups
