"""word2vec: words that stand in like company get like vectors (Mikolov et al. 2013a, 2013b).

The idea: slide a window over the text and let every word in it predict the word in the middle. Instead of a softmax over
the vocabulary, tell that word from K others drawn by chance; that is cheap enough for billions of words. Two words that
predict the same company end up close together, and the table of vectors, a by-product of the guessing, is what one keeps.

    loss = −log σ(v_c·u_w) − Σ_{k=1..K} log σ(−v_c·u_{n_k}),      n_k ~ count^¾,      mean over all (c, w) in windows

Sees one word c of the window (its row v of `vectors`), predicts the centre w (its row u of `context`): skip-gram. The
continuous bag of words (CBOW) sees the mean of the whole window at once. Hierarchical softmax replaces, or joins, the K
others by the turns of a Huffman tree on the way to w: a true probability at the price of log V. With fastText's n-grams
(maxn) a word's vector is the mean of its own row and its pieces' rows, so words never seen have one. The first chapter:
everything later keeps "predict the text from the text" and replaces the model that does it.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from tinylm import kernels, nn, text
from tinylm import ops as F
from tinylm.errors import TinylmError
from tinylm.objectives.base import Objective, ObjectiveConfig
from tinylm.ops.registry import check_ids
from tinylm.settings import at_least, between
from tinylm.vectors import VECTORS, write_vectors
from tinylm.vectors.ngrams import NGrams, Subwords, bag_means

EVALUATION_WORDS = (
    2000  # words per evaluation batch: the tape keeps every window's rows, about 50 times the text
)
PART = 2**22  # words that are counted in one go
LONGEST_NGRAM = (
    32  # characters: a foreign config.json cannot ask for more pieces than its words justify
)


@dataclass(frozen=True)
class Word2VecConfig(ObjectiveConfig):
    """Sizes and rates under word2vec's own names.

    size : C, width of a vector     window : words to either side, at most     negative : K     ns_exponent : of the counts
    sample : t, words with a share of the text above it are thinned out; 0 keeps all     min_alpha : the lowest learning rate
    cbow, cbow_mean : predict from the sum or the mean of a window (the program's rate is then 0.05)
    hs : hierarchical softmax, beside the K negatives or (negative = 0) alone
    max_sentence : words after which a sentence is cut
    minn, maxn, bucket : characters of an n-gram, and the rows that all n-grams share; maxn = 0: none (fastText: 3, 6, 2·10⁶)
    batch_words : words of text per step
    """

    ranges = {
        "size": at_least(1, 2**16),
        "window": at_least(1, 2**12),
        "negative": at_least(0, 2**12),
        "sample": at_least(0),
        "min_alpha": at_least(0),
        "max_sentence": at_least(1),
        "minn": at_least(1),
        "maxn": between(0, LONGEST_NGRAM),
        "bucket": at_least(1, 2**26),
        "batch_words": at_least(1),
    }
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
    minn: int = 3
    maxn: int = 0
    bucket: int = 100_000
    batch_words: int = 20000

    def check(self):
        """raises TinylmError where n-grams would have no length"""
        if self.maxn and self.minn > self.maxn:
            raise TinylmError(
                f"Word2VecConfig: maxn is {self.maxn}; expected 0, or minn = {self.minn} to {LONGEST_NGRAM}."
            )

    @classmethod
    def tiny(cls, vocab_size, **over):
        """Trains in a minute on a laptop: vectors of 64."""
        return replace(cls(vocab_size, size=64), **over)

    @classmethod
    def small(cls, vocab_size, **over):
        """word2vec's defaults: vectors of 100, which `tinylm compare` trains."""
        return replace(cls(vocab_size), **over)

    @classmethod
    def published(cls, vocab_size, **over):
        """The strongest row of Mikolov et al. 2013b, table 1: 300 dimensions, 15 negatives, t = 1e-5."""
        return replace(cls(vocab_size, size=300, negative=15, sample=1e-5), **over)


@dataclass(frozen=True)
class Word2VecBatch:
    """Some whole sentences and the key of what is drawn on them.

    ids : (N,) int64 words, no specials     begins : (N,) bool, True at the first word of a sentence
    key : uint64 that numbers subsampling, windows and negatives
    """

    ids: np.ndarray
    begins: np.ndarray
    key: np.uint64

    @property
    def tokens(self):
        """Words of text, before subsampling."""
        return self.ids.size


class Word2Vec(Objective, name="word2vec", encoding="words"):
    """Two tables of word vectors and the objective that trains them.

    config : Word2VecConfig     rng : numpy Generator of the initial vectors (a fixed one by default)
    vectors : (V, C) from U(−½, ½)/C, the result; specials are zero. With maxn (V + bucket, C): behind them the n-grams
    context : (V, C) zeros, the words as predicted; with hs (2·V − 1, C): behind them the inner nodes of the tree
    Source: Mikolov et al. 2013b; the released C program, whose subsampling, windows and skipped negatives these are;
    n-grams: Bojanowski et al. 2017. Differs: a window's words share their negatives (Ji et al. 2016), sentences are
    shuffled, the sigmoid is exact; n-grams share 100,000 rows where fastText has 2,000,000.
    """

    Config = Word2VecConfig
    by_line = True
    training_defaults = dict(lr=0.025, warmup=0.0, schedule="linear")

    def build(self, config, rng):
        """Both tables; special tokens get their zeros when a corpus says which they are."""
        rows = config.vocab_size + config.bucket * (config.maxn > 0)
        self.vectors = nn.Parameter(nn.initial_vectors(rng, (rows, config.size), config.size))
        rows = config.vocab_size + config.hs * (config.vocab_size - 1)
        self.context = nn.Parameter(np.zeros((rows, config.size), np.float32))
        self.mode = kernels.SKIP_GRAM
        if config.cbow:
            self.mode = kernels.CBOW_MEAN if config.cbow_mean else kernels.CBOW_SUM
        self.ngrams = NGrams(config.minn, config.maxn, config.bucket)
        self.bags = None
        if not config.maxn:  # each word is a bag of its own row only
            own = np.arange(config.vocab_size)
            self.bags = np.append(np.arange(own.size + 1) + own.size + 1, own)
        self.tables = None
        self.sentences = None

    @property
    def not_derivatives(self):
        """CBOW's mean of a window and the mean of a word's n-grams: the programs hand every row the whole error."""
        if self.mode == kernels.CBOW_MEAN:
            parts = "a window"
        elif self.mode == kernels.SKIP_GRAM and self.config.maxn:
            parts = "a word's n-grams"
        else:
            return {}
        why = f"a score takes the mean of {parts}, but every row gets the whole error, as in the program"
        return {"vectors": why}

    def spell(self, words, special_ids=()):
        """How the words are spelled, which n-grams need.   words : at most V strings, by id"""
        super().spell(words, special_ids)
        self._forget_specials(special_ids)
        if self.config.maxn:
            unused = [""] * (self.config.vocab_size - len(self.words))
            self.bags = self.ngrams.bags([*self.words, *unused], self.special_ids)

    def _forget_specials(self, special_ids):
        """Special tokens are no words: their vectors are zero."""
        self.special_ids = tuple(special_ids)
        self.vectors.data[list(special_ids)] = 0

    # -- learning from text ------------------------------------------------------------------------------------------

    def prepare(self, corpus):
        """Count the words; from the counts follow the chance to be kept, the distribution of the negatives and the tree.

            keep = (√(f/t) + 1) · t/f      f = count/N: the program's formula, which keeps more than the paper's √(t/f)
            P(n) ∝ count^¾

        raises TinylmError  if the corpus has no word that is not a special, or its ids do not fit the model
        """
        super().prepare(corpus)
        c = self.config
        if corpus.special_ids != self.special_ids:
            self._forget_specials(corpus.special_ids)
        self.sentences = _Sentences(corpus, c.max_sentence)
        counts = self.sentences.counts(c.vocab_size)
        share = np.maximum(counts, 1) / counts.sum()
        keep = (
            (np.sqrt(share / c.sample) + 1) * c.sample / share
            if c.sample
            else np.ones(c.vocab_size)
        )
        noise = np.where(counts > 0, np.maximum(counts, 1.0) ** c.ns_exponent, 0)
        accept, alias = kernels.alias_table(noise)
        self.tables = np.stack([np.minimum(keep, 1), accept]), alias, self._ways(counts)

    def _ways(self, counts):
        """Each word's path through the tree as 2·row of `context` + code, −1 after its end: (V, D), D = 0 without one."""
        if not self.config.hs:
            return np.empty((counts.size, 0), np.int64)
        paths, codes = kernels.huffman_tree(counts)
        return np.where(paths < 0, -1, 2 * (paths + counts.size) + codes)

    @property
    def steps_per_epoch(self):
        """Steps in which the whole text is seen once."""
        return max(1, round(len(self._ready().ids) / self.config.batch_words))

    def batch(self, step, seed):
        """About batch_words words in whole sentences, every sentence once per epoch in an order of its own."""
        epoch, part = divmod(step, self.steps_per_epoch)
        ids, begins = self.sentences.part(epoch, part, self.steps_per_epoch, seed)
        return Word2VecBatch(
            ids, begins, np.random.default_rng([seed, step, 8]).integers(2**64, dtype=np.uint64)
        )

    def evaluation_batches(self, corpus):
        """The whole corpus in order; what is drawn on it is the same at every call."""
        self._ready()
        sentences = _Sentences(corpus, self.config.max_sentence)
        bounds = sentences.cuts(max(1, len(sentences.ids) // EVALUATION_WORDS))
        for i, (first, last) in enumerate(zip(bounds[:-1], bounds[1:], strict=True)):
            if first < last:
                yield Word2VecBatch(*sentences.take(np.arange(first, last)), np.uint64(i))

    def predictions(self, batch):
        """Who predicts what in a batch, window after window.

        returns centres (P,) positions in the text, inputs (P,) words, outputs (P, 1 + K) words: the centre's, then its
        negatives, −1 where the draw was the centre's own word and is skipped
        """
        self._ready()
        centres, contexts, negatives = kernels.draw_windows(
            batch.ids,
            batch.begins,
            (*self.tables[0], self.tables[1]),
            self.config.window,
            self.config.negative,
            batch.key,
        )
        outputs = np.concatenate([batch.ids[centres, None], negatives[centres]], axis=1)
        return centres, batch.ids[contexts], outputs

    def hidden(self, centres, inputs):
        """What predicts: each word's vector (P, C), or for CBOW each window's sum or mean (W, C), and its first place.

        The program scores with the mean but hands every row the whole error: the gradient is the sum's.
        """
        h, sizes = self._sums(inputs)  # (P,C), (P,)
        first = np.arange(inputs.size)
        if self.config.cbow:
            first = np.flatnonzero(np.diff(centres, prepend=-1))
            h, sizes = (
                _group_sums(h, first, np.diff(np.append(first, inputs.size))),
                np.add.reduceat(sizes, first),
            )  # (W,C)
        if self.mode != kernels.CBOW_SUM and sizes.max(initial=1) > 1:
            h = h + h.data * (1 / sizes - 1)[:, None].astype(h.dtype)
        return h, first

    def _sums(self, ids):
        """Σ of each word's rows, (..., C), and how many they are (...), for ids of any shape; raises as encode does."""
        if not self.config.maxn:
            return F.embedding(ids, self.vectors), np.ones(np.shape(ids), np.int64)
        self._spelled()
        ids = check_ids("Word2Vec", ids, self.config.vocab_size)
        words, places = np.unique(ids, return_inverse=True)
        sizes, places = self.bags[words + 1] - self.bags[words], places.reshape(ids.shape)
        rows = F.embedding(
            np.concatenate(
                [self.bags[:0], *(self.bags[self.bags[w] : self.bags[w + 1]] for w in words)]
            ),
            self.vectors,
        )
        return F.embedding(places, _group_sums(rows, np.cumsum(sizes) - sizes, sizes)), sizes[
            places
        ]

    def nats(self, centres, inputs, outputs):
        """The loss of every prediction: centres, inputs (P,), outputs (P, 1 + K), first the truth -> Tensor (P,) in nats.

        For CBOW one for each window, (W,).
        """
        h, first = self.hidden(centres, inputs)
        words, negatives = outputs[first, 0], outputs[first, 1:]
        losses = []
        if self.config.negative or not self.config.hs:
            losses.append(
                F.negative_sampling_loss(h, self.context, words, negatives, reduction="none")
            )
        if self.config.hs:
            ways = self.tables[2][words]
            paths = np.where(ways < 0, -1, ways >> 1)
            losses.append(
                F.hierarchical_softmax_loss(
                    h, self.context, paths, (ways & 1) > 0, reduction="none"
                )
            )
        return losses[0] if len(losses) == 1 else losses[0] + losses[1]

    def loss(self, batch):
        """The definition: mean nats per prediction of a Word2VecBatch, and {"loss": the same, "tokens": predictions}."""
        nats = self.nats(*self.predictions(batch))
        loss = F.sum(nats) * (1 / max(nats.size, 1))
        return loss, {"loss": loss.item(), "tokens": nats.size}

    def fast_step(self, batch, lr):
        """The same as a lock-free kernel: for each window one step of SGD at rate `lr` on its summed loss, in place.

        lr : at least min_alpha is taken     returns the mean loss in nats per prediction, each before its own update
        """
        self._ready()
        c, losses = self.config, np.empty((2, batch.ids.size), self.vectors.dtype)
        kernels.word2vec(
            self.vectors.data,
            self.context.data,
            self.bags,
            batch.ids,
            batch.begins,
            *self.tables,
            c.window,
            c.negative if c.negative or not c.hs else -1,
            self.mode,
            float(max(lr, c.min_alpha)),
            batch.key,
            losses,
        )
        nats, count = losses.sum(axis=1, dtype=np.float64)
        return float(nats / max(count, 1))

    def _ready(self):
        if self.sentences is None:
            raise TinylmError("This Word2Vec has not seen a text yet; call prepare(corpus) first.")
        self._spelled()
        return self.sentences

    def _spelled(self):
        if self.bags is None:
            raise TinylmError(
                "This Word2Vec has n-grams but no spellings; call spell(tokenizer.vocab) first."
            )

    # -- the result --------------------------------------------------------------------------------------------------

    def encode(self, ids, mask=None):
        """The words' vectors, whatever stands around them: [(B, T, C)].   ids : (B, T) integers   mask : not needed

        raises ShapeError  if an id is out of range
        """
        sums, sizes = self._sums(ids)
        return [sums * (1 / sizes)[..., None].astype(sums.dtype) if self.config.maxn else sums]

    def logits(self, ids, mask=None):
        """v·u of each word with every word as its neighbour, before σ.   ids : (B, T) -> (B, T, V)"""
        context = self.context[: self.config.vocab_size] if self.config.hs else self.context
        return F.linear(self.encode(ids)[0], context)

    def embedding_table(self):
        """The word vectors as an array (V, C)."""
        self._spelled()
        return bag_means(self.vectors.data, self.bags) if self.config.maxn else self.vectors.data

    def subwords(self):
        """What gives vectors to words outside the vocabulary, see `Vectors`; without n-grams nothing, {}."""
        return (
            Subwords(self.ngrams, self.vectors.data[self.config.vocab_size :])
            if self.config.maxn
            else {}
        )

    def layer_groups(self):
        """[vectors], [context]: from the bottom up."""
        return [[self.vectors], [self.context]]

    def export(self, path):
        """Write `vectors.bin`, which every word-vector program reads, if the folder holds the words."""
        if text.find(path):
            words = text.load(path).vocab
            table = self.embedding_table()[: len(words)]  # the model may have more rows
            write_vectors(path / VECTORS, words, table)


def _group_sums(rows, starts, sizes):
    """Σ of rows[starts[g]:starts[g] + sizes[g]] for each group g.   rows : Tensor (P, C) -> (G, C)"""
    slots = np.arange(sizes.max(initial=1))
    inside = slots < sizes[:, None]
    found = F.embedding(np.where(inside, starts[:, None] + slots, 0), rows)  # (G,S,C)
    return F.sum(F.where(inside[..., None], found, 0.0), axis=1)


class _Sentences:
    """A corpus without its specials, documents cut after max_sentence words.

    ids : (N,) int32 words     starts : (S + 1,) int64, sentence s is ids[starts[s]:starts[s + 1]]
    """

    def __init__(self, corpus, max_sentence):
        dropped = np.flatnonzero(np.isin(corpus.ids, corpus.special_ids))
        self.ids = np.delete(corpus.ids, dropped)
        if not self.ids.size:
            raise TinylmError(
                "The text holds no word that the vocabulary knows; give more text or a larger vocabulary."
            )
        starts = corpus.starts - np.searchsorted(
            dropped, corpus.starts
        )  # of the documents, after specials have vanished
        pieces = -(-np.diff(starts) // max_sentence)
        within = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)
        self.starts = np.append(np.repeat(starts[:-1], pieces) + within * max_sentence, starts[-1])
        self.order = lru_cache(maxsize=2)(self._order)

    def counts(self, vocab_size):
        """How often each word stands in the text, (V,); part by part, because bincount copies what it counts."""
        parts = np.array_split(self.ids, 1 + self.ids.size // PART)
        return sum(np.bincount(part, minlength=vocab_size) for part in parts)

    def _order(self, epoch, seed):
        """Sentences in the order of an epoch, and how many words come before each."""
        order = np.random.default_rng([seed, epoch, 9]).permutation(self.starts.size - 1)
        return order, np.append(0, np.cumsum(np.diff(self.starts)[order]))

    def cuts(self, parts):
        """parts + 1 bounds between sentences that share the words out evenly."""
        return np.searchsorted(self.starts, self.ids.size * np.arange(parts + 1) / parts)

    def part(self, epoch, part, parts, seed):
        """ids and begins of one of the parts of an epoch."""
        order, starts = self.order(epoch, seed)
        first, last = np.searchsorted(starts, self.ids.size * np.arange(part, part + 2) / parts)
        return self.take(order[first:last])

    def take(self, chosen):
        """ids (N,) int64 and begins (N,) bool of some sentences."""
        pieces = [self.ids[self.starts[s] : self.starts[s + 1]] for s in chosen]
        ids = np.concatenate([self.ids[:0], *pieces]).astype(np.int64)
        begins = np.zeros(ids.size, bool)
        begins[np.cumsum([0, *map(len, pieces)])[:-1]] = True
        return ids, begins
