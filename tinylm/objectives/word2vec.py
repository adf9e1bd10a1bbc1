"""word2vec: words that keep similar company get similar vectors (Mikolov et al. 2013a, 2013b).

The idea: slide a window over the text and let every word in it predict the word in the middle.
Instead of a softmax over the vocabulary, tell the middle word from K others drawn by chance; that
is cheap enough for billions of words. Two words that predict the same company end up close
together, and the table of vectors, a by-product of the guessing, is the result.

    loss = −log σ(v_c·u_w) − Σ_{k=1..K} log σ(−v_c·u_{n_k})
    n_k ~ count^¾,      mean over all (c, w) in windows

Sees one word c of the window (its row v of `vectors`), predicts the centre w (its row u of
`context`): skip-gram. The continuous bag of words (CBOW) sees the mean of the whole window at once.
Hierarchical softmax replaces the K others, or joins them: it predicts the turns of a Huffman tree
on the way to w, a true probability at the price of log V. `skip_gram` below is the algorithm as one
writes it on paper; kernels/word2vec.py is the same, fast.

This is the first chapter. Later ones keep "predict the text from the text" and replace the model.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tinylm import kernels, nn, text
from tinylm import ops as F
from tinylm.data import Corpus
from tinylm.data.sentences import Sentences
from tinylm.errors import TinylmError
from tinylm.settings import at_least
from tinylm.tensor import Tensor
from tinylm.vectors import VECTORS, write_vectors

from . import registry
from .base import Objective, ObjectiveConfig

EVALUATION_WORDS = 2000  # per evaluation batch: the tape needs about 50 rows for each word of text


def skip_gram(vectors, context, sentence, reach, negatives, lr) -> float:
    """Train on one sentence, word by word; returns the summed loss in nats.

    vectors, context : (V, C) tables, changed in place
    sentence : word ids
    reach[n] : how many words to either side of word n predict it
    negatives[n] : the K words that word n must be told from

    >>> vectors = np.ones((3, 2))
    >>> context = np.zeros((3, 2))  # so all four scores are 0, and each costs log 2
    >>> round(skip_gram(vectors, context, [0, 1], [1, 1], [[2], [2]], lr=0.0), 4)
    2.7726
    """
    loss = 0.0
    for n, centre in enumerate(sentence):
        before = sentence[max(n - reach[n], 0) : n]
        after = sentence[n + 1 : n + 1 + reach[n]]
        outputs = [(centre, 1), *((word, -1) for word in negatives[n])]
        # One step of SGD for each window: all its scores come from the rows as they were before.
        old_vectors = vectors.copy()
        old_context = context.copy()
        for word in [*before, *after]:
            for output, sign in outputs:
                score = sign * (old_vectors[word] @ old_context[output])
                probability = 1 / (1 + np.exp(-score))
                loss -= np.log(probability)
                error = sign * (1 - probability)
                vectors[word] += lr * error * old_context[output]
                context[output] += lr * error * old_vectors[word]
    return float(loss)


@dataclass(frozen=True)
class Word2VecConfig(ObjectiveConfig):
    """Sizes and rates under word2vec's own names.

    size : C, the width of a vector
    window : the most words to either side of the centre
    negative : K, the words drawn against each centre
    sample : t; words that make up more than this share of the text are thinned out; 0 keeps all
    ns_exponent : negatives are drawn in proportion to count^ns_exponent
    min_alpha : the lowest learning rate
    cbow : predict from the whole window at once (the released program then starts at lr = 0.05)
    cbow_mean : from the mean of the window's vectors, not their sum
    hs : hierarchical softmax, beside the K negatives, or alone where negative is 0
    max_sentence : cut sentences after so many words, or ¾ of batch_words: no batch is then empty
    batch_words : words of text per step

    >>> Word2VecConfig.tiny(1000).size
    64
    >>> Word2VecConfig.published(1000).negative
    15
    >>> Word2VecConfig(1000, ns_exponent="no")
    Traceback (most recent call last):
        ...
    tinylm.errors.ArgumentError: Word2VecConfig: ns_exponent is 'no'; expected a number.
    """

    ranges = {
        "size": at_least(1, 2**16),
        "window": at_least(1, 2**12),
        "negative": at_least(0, 2**12),
        "sample": at_least(0),
        "min_alpha": at_least(0),
        "max_sentence": at_least(1),
        "batch_words": at_least(1),
    }
    changeable = ("window", "negative", "sample", "ns_exponent", "min_alpha")
    changeable += ("max_sentence", "batch_words")
    vocab_size: int = 30000
    size: int = 100
    window: int = 5
    negative: int = 5
    sample: float = 1e-3
    ns_exponent: float = 0.75
    min_alpha: float = 2.5e-6
    cbow: bool = False
    cbow_mean: bool = True
    hs: bool = False
    max_sentence: int = 1000
    batch_words: int = 20000

    def check(self) -> None:
        """Refuse likeness alone: all vectors would become one.   raises TinylmError"""
        if not (self.negative or self.hs):
            raise TinylmError(
                f"{type(self).__name__}: negative is 0 without hs; give at least one of the two."
            )

    @classmethod
    def tiny(cls, vocab_size: int, **over) -> "Word2VecConfig":
        """Trains in a minute on a laptop: vectors of 64."""
        return replace(cls(vocab_size, size=64), **over)

    @classmethod
    def small(cls, vocab_size: int, **over) -> "Word2VecConfig":
        """word2vec's defaults, which `tinylm compare` trains: vectors of 100."""
        return replace(cls(vocab_size), **over)

    @classmethod
    def published(cls, vocab_size: int, **over) -> "Word2VecConfig":
        """The strongest row of Mikolov et al. 2013b, table 1: size 300, K = 15, t = 1e-5."""
        return replace(cls(vocab_size, size=300, negative=15, sample=1e-5), **over)


@dataclass(frozen=True)
class Word2VecBatch:
    """Some whole sentences and the key of the random draws on them.

    ids : (N,) int64 words, no specials
    begins : (N,) bool, True at the first word of a sentence
    key : uint64; the draws of subsampling, windows and negatives depend on it alone
    """

    ids: np.ndarray
    begins: np.ndarray
    key: np.uint64

    @property
    def tokens(self) -> int:
        """Words of text, before subsampling."""
        return self.ids.size


class Word2Vec(Objective, name="word2vec", encoding="words"):
    """Two tables of word vectors and the objective that trains them.

    config : Word2VecConfig
    rng : numpy Generator of the initial vectors (a fixed one by default)
    vectors : (V, C), the result; drawn from U(−½, ½)/C, special tokens are zero
    context : (V, C) zeros, the words as predicted; with hs (2·V − 1, C): the tree's nodes follow
    bags : the rows of `vectors` that make up each word, see `first_bags`
    chances, alias, ways : what `prepare` derives from the counts for kernels.word2vec, see there
    Source: Mikolov et al. 2013b; subsampling, windows and skipped negatives as in the released C
    program. Differs: the words of a window share their negatives (Ji et al. 2016), sentences are
    shuffled, the sigmoid is exact.

    >>> model = Word2Vec(Word2VecConfig(vocab_size=11, size=5))
    >>> model.vectors.shape
    (11, 5)
    >>> model.encode(np.array([[3, 4, 3]]))[0].shape
    (1, 3, 5)
    """

    Config = Word2VecConfig
    by_line = True
    training_defaults = dict(lr=0.025, warmup=0.0, schedule="linear")

    def build(self, config: Word2VecConfig, rng: np.random.Generator) -> None:
        """Make both tables; special tokens get their zeros when a corpus names them."""
        rows = self.vector_rows()
        self.vectors = nn.Parameter(nn.initial_vectors(rng, (rows, config.size), config.size))
        outputs = config.vocab_size
        if config.hs:
            outputs += config.vocab_size - 1  # the inner nodes of the tree
        self.context = nn.Parameter(nn.full((outputs, config.size), 0))
        self.mode = kernels.SKIP_GRAM
        if config.cbow:
            self.mode = kernels.CBOW_MEAN if config.cbow_mean else kernels.CBOW_SUM
        self.bags = self.first_bags()
        self.sentences: Sentences | None = None

    def vector_rows(self) -> int:
        """The number of rows of `vectors`: one for each word."""
        return self.config.vocab_size

    def first_bags(self) -> np.ndarray | None:
        """The rows of `vectors` that make up each word, in the kernel's form: its own row alone.

        returns (V + 1 + F,) int64: word w is the mean of the rows bags[bags[w]:bags[w + 1]]
        """
        own = np.arange(self.config.vocab_size)
        ends = np.arange(own.size + 1) + own.size + 1
        return np.append(ends, own)

    @classmethod
    def reader(cls, fields: dict) -> type:
        """FastText for old folders: it was once Word2Vec with maxn > 0."""
        if cls is Word2Vec and fields.get("maxn"):
            return registry.find("fasttext")
        return cls

    @property
    def not_derivatives(self) -> dict[str, str]:
        """With CBOW's mean each word of the window gets the whole error, as in the program."""
        return {"vectors": whole_error("a window")} if self.mode == kernels.CBOW_MEAN else {}

    def spell(self, words: Iterable[str], special_ids: Iterable[int] = ()) -> None:
        """Learn which tokens are special.   words : at most V strings, by id"""
        super().spell(words, special_ids)
        self._zero_specials(self.special_ids)

    def _zero_specials(self, special_ids):
        """Set the vectors of special tokens to zero: they are not words."""
        self.special_ids = tuple(special_ids)
        self.vectors.data[list(special_ids)] = 0

    # -- learning from text ----------------------------------------------------------------------

    def prepare(self, corpus: Corpus) -> None:
        """Count the words, and derive from the counts what the kernel draws by.

            keep = (√(f/t) + 1) · t/f       f = count/N, the program's formula
            P(n) ∝ count^¾

        `keep` keeps more words than the paper's √(t/f) does. With hs, build the tree as well.
        raises TinylmError  if the corpus has special tokens only, or its ids do not fit the model
        """
        super().prepare(corpus)
        c = self.config
        if corpus.special_ids != self.special_ids:
            self._zero_specials(corpus.special_ids)
        self.sentences = Sentences(corpus, min(c.max_sentence, max(1, 3 * c.batch_words // 4)))
        counts = self.sentences.counts(c.vocab_size)
        keep = np.ones(c.vocab_size)
        if c.sample:
            share = np.maximum(counts, 1) / counts.sum()
            keep = (np.sqrt(share / c.sample) + 1) * c.sample / share
        noise = np.where(counts > 0, np.maximum(counts, 1.0) ** c.ns_exponent, 0)
        accept, self.alias = kernels.alias_table(noise)
        self.chances = np.stack([np.minimum(keep, 1), accept])  # (2,V)
        self.ways = self._ways(counts)

    def _ways(self, counts):
        """Each word's path through the tree as 2·(row of `context`) + code, then −1.

        returns (V, D), D = 0 without a tree
        """
        if not self.config.hs:
            return np.empty((counts.size, 0), np.int64)
        paths, codes = kernels.huffman_tree(counts)
        return np.where(paths < 0, -1, 2 * (paths + counts.size) + codes)

    @property
    def steps_per_epoch(self) -> int:
        """Steps in which the whole text is seen once."""
        return max(1, round(len(self._ready().ids) / self.config.batch_words))

    def batch(self, step: int, seed: int) -> Word2VecBatch:
        """About batch_words words; each epoch visits every sentence once, in its own order."""
        epoch, part = divmod(step, self.steps_per_epoch)
        ids, begins = self.sentences.part(epoch, part, self.steps_per_epoch, seed)
        key = np.random.default_rng([seed, step, 8]).integers(2**64, dtype=np.uint64)
        return Word2VecBatch(ids, begins, key)

    def evaluation_batches(self, corpus: Corpus) -> Iterator[Word2VecBatch]:
        """The whole corpus in order; every call makes the same random draws on it."""
        self._ready()
        sentences = Sentences(corpus, self.config.max_sentence)
        bounds = sentences.cuts(max(1, len(sentences.ids) // EVALUATION_WORDS))
        for i, (first, last) in enumerate(zip(bounds[:-1], bounds[1:], strict=True)):
            if first < last:
                ids, begins = sentences.take(np.arange(first, last))
                yield Word2VecBatch(ids, begins, np.uint64(i))

    def predictions(self, batch: Word2VecBatch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Who predicts whom in a batch, window after window.

        returns centres (P,), positions in the text; inputs (P,), words; outputs (P, 1 + K), the
        centre's word, then its negatives, −1 where the draw was the centre's own word
        """
        self._ready()
        centres, contexts, negatives = kernels.draw_windows(
            batch.ids,
            batch.begins,
            (*self.chances, self.alias),
            self.config.window,
            self.config.negative,
            batch.key,
        )
        outputs = np.concatenate([batch.ids[centres, None], negatives[centres]], axis=1)
        return centres, batch.ids[contexts], outputs

    def hidden(self, centres: np.ndarray, inputs: np.ndarray) -> tuple[Tensor, np.ndarray]:
        """The vectors that predict, and the place of each one's first word in `inputs`.

        centres, inputs : (P,) as `predictions` returns them
        returns each word's vector (P, C); with CBOW each window's sum or mean (W, C)

        The released program scores with a mean but gives each of its rows the whole error. So does
        this: the value is the mean's, the gradient is the sum's.
        """
        h, sizes = self.sums(inputs)  # (P,C), (P,)
        first = np.arange(inputs.size)
        if self.config.cbow:
            first = np.flatnonzero(np.diff(centres, prepend=-1))  # (W,) where a window begins
            h = F.embedding_bag(np.arange(inputs.size), first, h)  # (P,C) -> (W,C)
            sizes = np.add.reduceat(sizes, first)
        if self.mode != kernels.CBOW_SUM and sizes.max(initial=1) > 1:
            to_mean = (1 / sizes - 1)[:, None].astype(h.dtype)  # sum + sum · this = mean
            h = h + h.data * to_mean  # h.data is a constant to the tape
        return h, first

    def sums(self, ids: np.ndarray) -> tuple[Tensor, np.ndarray]:
        """Each word's rows of `vectors`, summed, and their number: (..., C) and (...)."""
        return F.embedding(ids, self.vectors), np.ones(np.shape(ids), np.int64)

    def nats(self, centres: np.ndarray, inputs: np.ndarray, outputs: np.ndarray) -> Tensor:
        """The loss of every prediction in nats, (P,); with CBOW of every window, (W,).

        centres, inputs : (P,)     outputs : (P, 1 + K), first the truth
        """
        h, first = self.hidden(centres, inputs)
        words = outputs[first, 0]
        losses = []
        if self.config.negative:
            drawn = outputs[first, 1:]
            loss = F.negative_sampling_loss(h, self.context, words, drawn, reduction="none")
            losses.append(loss)
        if self.config.hs:
            ways = self.ways[words]
            paths = np.where(ways < 0, -1, ways >> 1)
            turns = (ways & 1) > 0
            loss = F.hierarchical_softmax_loss(h, self.context, paths, turns, reduction="none")
            losses.append(loss)
        return losses[0] if len(losses) == 1 else losses[0] + losses[1]

    def loss(self, batch: Word2VecBatch) -> tuple[Tensor, dict[str, float]]:
        """The definition: mean nats per prediction; {"loss": the same, "tokens": predictions}."""
        centres, inputs, outputs = self.predictions(batch)
        nats = self.nats(centres, inputs, outputs)
        loss = F.sum(nats) * (1 / max(nats.size, 1))
        return loss, {"loss": loss.item(), "tokens": nats.size}

    def fast_step(self, batch: Word2VecBatch, lr: float) -> float:
        """The same as a lock-free kernel: one step of SGD on each window's summed loss, in place.

        lr : the rate; min_alpha if that is higher
        returns the mean loss in nats per prediction, each before its own update
        """
        self._ready()
        c = self.config
        losses = np.empty((2, batch.ids.size), self.vectors.dtype)
        kernels.word2vec(
            self.vectors.data,
            self.context.data,
            self.bags,
            batch.ids,
            batch.begins,
            self.chances,
            self.alias,
            self.ways,
            c.window,
            c.negative or -1,  # -1: the tree alone
            self.mode,
            float(max(lr, c.min_alpha)),
            batch.key,
            losses,
        )
        nats, count = losses.sum(axis=1, dtype=np.float64)
        return float(nats / max(count, 1))

    def _ready(self):
        """The sentences.   raises TinylmError before `prepare`"""
        self.prepared()
        return self.sentences

    # -- the result ------------------------------------------------------------------------------

    def encode(self, ids, mask=None) -> list[Tensor]:
        """The words' vectors, whatever stands around them: [(B, T, C)].

        ids : (B, T) integers     mask : not needed
        raises ShapeError  if an id is out of range
        """
        return [F.embedding(ids, self.vectors)]

    def logits(self, ids, mask=None) -> Tensor:
        """v·u of each word with every word as its neighbour, before σ.   (B, T) -> (B, T, V)"""
        context = self.context
        if self.config.hs:
            context = context[: self.config.vocab_size]
        return F.linear(self.encode(ids)[0], context)

    @property
    def token_table(self) -> nn.Parameter:
        """The word vectors, (V, C)."""
        return self.vectors

    def layer_groups(self) -> list[list[nn.Parameter]]:
        """[vectors], [context]: from the bottom up."""
        return [[self.vectors], [self.context]]

    def export(self, path: Path) -> None:
        """Write `vectors.bin`, which every word-vector program reads, if the folder holds words."""
        if text.find(path):
            words = text.load(path).vocab
            table = self.embedding_table()[: len(words)]  # the model may have more rows
            write_vectors(path / VECTORS, words, table)


def whole_error(parts: str) -> str:
    """The reason that `not_derivatives` gives for a score that is the mean of some `parts`."""
    return f"a score takes the mean of {parts}, but each row gets the whole error, as published"
