"""GloVe: the whole text as one matrix, factorised (Pennington et al. 2014).

The idea: word2vec reads the text window by window and meets the same pair of words a thousand
times. Count all pairs first, X_wc, and fit the logarithms of the counts once, frequent pairs more
closely than rare ones. Because the fit is linear in the logarithms, differences of vectors become
ratios of probabilities: where `ice` and `steam` differ, P(k|ice)/P(k|steam) tells.

    cost = Σ_{w,c: X_wc > 0} ½ f(X_wc) (v_w·u_c + b_w + b̃_c − log X_wc)²
    f(x) = min(1, (x/x_max)^α)

Sees how often each word w stands near each word c of the corpus (weighted by 1/distance), predicts
the logarithm of it. `count_pairs` and `fit_cell` below are the algorithm as one writes it on paper;
data/cooccurrence.py and kernels/glove.py are the same, fast.

Changes from word2vec.py: counts instead of draws, a square instead of a logistic loss, AdaGrad
instead of SGD, and the result is the sum of both tables.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tinylm import kernels, nn, text
from tinylm import ops as F
from tinylm.data import Corpus
from tinylm.data.cooccurrence import Window, cooccurrences
from tinylm.errors import CheckpointError
from tinylm.settings import above, at_least
from tinylm.tensor import Tensor, no_grad
from tinylm.vectors import VECTORS, write_vectors

from .base import Objective, ObjectiveConfig

RAREST = 100  # in exported files <unk> has the mean of this many rare words, as in the program


def count_pairs(documents: Iterable[list[int]], window: int) -> dict[tuple[int, int], float]:
    """X: for each word and each neighbour, the sum of 1/distance over all places.

    >>> count_pairs([[5, 7, 5], [7, 5]], window=2)
    {(5, 7): 3.0, (5, 5): 1.0, (7, 5): 3.0}
    """
    counts = {}
    for words in documents:
        for n, word in enumerate(words):
            for m in range(max(n - window, 0), min(n + window + 1, len(words))):
                if m != n:
                    pair = (word, words[m])
                    counts[pair] = counts.get(pair, 0.0) + 1 / abs(n - m)
    return counts


def fit_cell(vectors, context, biases, squares, cell, config: "GloVeConfig", lr: float) -> float:
    """One step of AdaGrad on one cell (w, c, X_wc) of the matrix; returns its cost before the step.

        g = η · clip(∂cost); for a bias g = ∂cost, as in the released program
        p −= g/√G
        G += g²

    vectors, context : (V, C), changed in place     biases : (2, V), changed in place
    squares : the sums G for each of these three, changed in place
    lr : η
    """
    w, c, count = cell
    v = vectors[w].copy()
    u = context[c].copy()
    weight = min(1, (count / config.x_max) ** config.alpha)
    error = v @ u + biases[0, w] + biases[1, c] - np.log(count)
    slope = weight * error  # ∂cost/∂(v·u)
    clip = config.grad_clip
    _adagrad(vectors, squares[0], w, lr * np.clip(slope * u, -clip, clip))
    _adagrad(context, squares[1], c, lr * np.clip(slope * v, -clip, clip))
    _adagrad(biases, squares[2], (0, w), slope)
    _adagrad(biases, squares[2], (1, c), slope)
    return slope * error / 2


def _adagrad(table, squares, place, step):
    """Change one row or number of a table by its `step` g: p −= g/√G, then G += g²."""
    table[place] -= step / np.sqrt(squares[place])
    squares[place] += step**2


@dataclass(frozen=True)
class GloVeConfig(ObjectiveConfig):
    """Sizes and rates under the names of the released program, dashes as underscores.

    vector_size : C, the width of a vector
    window_size : words to either side
    symmetric : count both sides, or only the left
    distance_weighting : a pair d words apart counts 1/d, not 1
    x_max, alpha : of the weight f(x) = min(1, (x/x_max)^alpha)
    grad_clip : the largest size of each component of a gradient
    batch_cells : cells of the matrix per step
    memory : gigabytes for the cells; a larger matrix is shuffled on the disk

    >>> GloVeConfig.tiny(1000).x_max
    10.0
    >>> GloVeConfig(1000, alpha=0)
    Traceback (most recent call last):
        ...
    tinylm.errors.ArgumentError: GloVeConfig: alpha is 0; expected a number above 0.
    """

    ranges = {
        "vector_size": at_least(1, 2**16),
        "window_size": at_least(1, 2**12),
        "x_max": above(0),
        "alpha": above(0),
        "grad_clip": above(0),
        "batch_cells": at_least(1),
        "memory": above(0, 2**20),
    }
    changeable = (
        "window_size",
        "symmetric",
        "distance_weighting",
        "x_max",
        "alpha",
        "grad_clip",
        "batch_cells",
        "memory",
    )
    vocab_size: int = 30000
    vector_size: int = 50
    window_size: int = 15
    symmetric: bool = True
    distance_weighting: bool = True
    x_max: float = 100.0
    alpha: float = 0.75
    grad_clip: float = 100.0
    batch_cells: int = 200_000
    memory: float = 4.0

    @classmethod
    def tiny(cls, vocab_size: int, **over) -> "GloVeConfig":
        """Trains in a minute on a laptop: vectors of 64; x_max = 10 as in the released demo."""
        return replace(cls(vocab_size, vector_size=64, window_size=10, x_max=10.0), **over)

    @classmethod
    def small(cls, vocab_size: int, **over) -> "GloVeConfig":
        """Vectors of 100, which `tinylm compare` trains."""
        return replace(cls(vocab_size, vector_size=100, window_size=10, x_max=10.0), **over)

    @classmethod
    def published(cls, vocab_size: int, **over) -> "GloVeConfig":
        """The paper's model of 6 billion words: 300 dimensions, window 10, x_max = 100."""
        return replace(cls(vocab_size, vector_size=300, window_size=10), **over)


@dataclass(frozen=True)
class GloVeBatch:
    """Some cells of the matrix.

    rows, columns : (N,) int64, the words w and c of each cell     counts : (N,) float32, X > 0
    """

    rows: np.ndarray
    columns: np.ndarray
    counts: np.ndarray

    @property
    def tokens(self) -> int:
        """The number of cells."""
        return self.rows.size


class GloVe(Objective, name="glove", encoding="words"):
    """Two tables of word vectors, a bias for each word, and the objective that fits them to counts.

    config : GloVeConfig     rng : numpy Generator of the initial values (a fixed one by default)
    vectors, context : (V, C) and biases : (2, V) from U(−½, ½)/C; specials are zero
    squares : AdaGrad's sums G for each of the three, which begin at 1
    cells : the matrix X after `prepare`, see data/cooccurrence.py
    Source: Pennington et al. 2014; the released program, version 1.2. Differs: every epoch shuffles
    the cells anew among its steps; the vector of <unk> is zero here, and in exported files the mean
    of the hundred rarest words, as in the program.

    >>> model = GloVe(GloVeConfig(vocab_size=11, vector_size=5))
    >>> [(name, p.shape) for name, p in model.named_parameters()]
    [('vectors', (11, 5)), ('context', (11, 5)), ('biases', (2, 11))]
    >>> model.encode(np.array([[3, 4, 3]]))[0].shape
    (1, 3, 5)
    """

    Config = GloVeConfig
    by_line = True
    # Held-out cells fit best after a tenth of the updates; the vectors get better until the last.
    training_defaults = dict(lr=0.05, warmup=0.0, schedule="constant", keep="last")
    unit = "squared error per cell"

    def build(self, config: GloVeConfig, rng: np.random.Generator) -> None:
        """Make both tables and their biases; specials get their zeros when a corpus names them."""
        width = config.vector_size
        self.vectors = nn.Parameter(nn.initial_vectors(rng, (config.vocab_size, width), width))
        self.context = nn.Parameter(nn.initial_vectors(rng, (config.vocab_size, width), width))
        self.biases = nn.Parameter(nn.initial_vectors(rng, (2, config.vocab_size), width))
        self.squares = [np.ones_like(p.data) for p in self.parameters()]
        self.cells = None
        self.length = 0  # tokens of the text that was counted

    def spell(self, words: Iterable[str], special_ids: Iterable[int] = ()) -> None:
        """Learn which tokens are special.   words : at most V strings, by id"""
        super().spell(words, special_ids)
        self._zero_specials(self.special_ids)

    def _zero_specials(self, special_ids):
        """Set the vectors and biases of special tokens to zero: they are not words."""
        self.special_ids = tuple(special_ids)
        self.vectors.data[list(special_ids)] = 0
        self.context.data[list(special_ids)] = 0
        self.biases.data[:, list(special_ids)] = 0

    # -- learning from text ----------------------------------------------------------------------

    def prepare(self, corpus: Corpus) -> None:
        """Count the matrix of the corpus; no window leaves its document.

        raises TinylmError  if no two known words stand together, or an id does not fit the model
        """
        super().prepare(corpus)
        if corpus.special_ids != self.special_ids:
            self._zero_specials(corpus.special_ids)
        self.cells = self._count(corpus)
        self.length = len(corpus.ids)

    def _count(self, corpus):
        """The cells of a corpus, in random order."""
        c = self.config
        window = Window(c.window_size, c.symmetric, c.distance_weighting)
        return cooccurrences(corpus, window, int(c.memory * 2**30))

    @property
    def steps_per_epoch(self) -> int:
        """Steps in which every cell is seen once."""
        return max(1, round(len(self._counted()) / self.config.batch_cells))

    def batch(self, step: int, seed: int) -> GloVeBatch:
        """About batch_cells cells, every cell once per epoch.

        `prepare` shuffled the cells once and for all; an epoch shuffles only its parts.
        """
        epoch, part = divmod(step, self.steps_per_epoch)
        order = np.random.default_rng([seed, epoch, 11]).permutation(self.steps_per_epoch)
        first = len(self.cells) * order[part] // self.steps_per_epoch
        last = len(self.cells) * (order[part] + 1) // self.steps_per_epoch
        return _batch(self.cells[first:last])

    def tokens_read(self, batch: GloVeBatch) -> int:
        """The cells' share of the text: to see every cell once is to read the text once."""
        return round(batch.tokens * self.length / len(self._counted()))

    def evaluation_batches(self, corpus: Corpus) -> Iterator[GloVeBatch]:
        """The cells of another text, their counts scaled to the length of the training text."""
        self._counted()
        cells = self._count(corpus)
        scale = np.float32(self.length / len(corpus.ids))
        for first in range(0, len(cells), self.config.batch_cells):
            batch = _batch(cells[first : first + self.config.batch_cells])
            yield replace(batch, counts=batch.counts * scale)

    def loss(self, batch: GloVeBatch) -> tuple[Tensor, dict[str, float]]:
        """The definition: the mean cost of the cells, and {"loss": the same, "tokens": cells}."""
        rows = batch.rows
        columns = batch.columns
        v = F.embedding(rows, self.vectors)  # (N,C)
        u = F.embedding(columns, self.context)
        weights, logs = self._weights_and_logs(batch)
        scores = F.sum(v * u, axis=1)  # (N,C) -> (N,)
        error = scores + self.biases[0, rows] + self.biases[1, columns] - logs
        loss = F.sum(error * error * weights) * (0.5 / max(rows.size, 1))
        return loss, {"loss": loss.item(), "tokens": rows.size}

    def _weights_and_logs(self, batch):
        """f(X) and log X of a batch, (N,) each."""
        counts = batch.counts.astype(self.vectors.dtype)
        weights = np.minimum((counts / self.config.x_max) ** self.config.alpha, 1)
        return weights.astype(counts.dtype), np.log(counts)

    def adagrad_step(self, batch: GloVeBatch, lr: float) -> float:
        """`fit_cell` on the tape, for a batch of one cell; returns the cost before the update."""
        loss, _ = self.loss(batch)
        loss.backward()
        clip = self.config.grad_clip
        with no_grad():
            for parameter, squares in zip(self.parameters(), self.squares, strict=True):
                g = parameter.grad
                if parameter is not self.biases:
                    g = np.clip(g, -clip, clip) * lr
                parameter.data -= g / np.sqrt(squares)
                squares += g * g
                parameter.grad = None
        return loss.item()

    def fast_step(self, batch: GloVeBatch, lr: float) -> float:
        """`fit_cell` as a lock-free kernel: one update at rate `lr` for each cell, in place.

        A cell whose cost is not finite changes nothing.
        returns the mean cost of the cells, each before its own update
        """
        losses = np.empty(batch.tokens, self.vectors.dtype)
        weights, logs = self._weights_and_logs(batch)
        kernels.glove(
            self.vectors.data,
            self.context.data,
            self.biases.data,
            *self.squares,
            batch.rows,
            batch.columns,
            weights,
            logs,
            float(lr),
            float(self.config.grad_clip),
            losses,
        )
        return float(losses.sum(dtype=np.float64) / max(batch.tokens, 1))

    def state(self) -> dict[str, np.ndarray]:
        """AdaGrad's sums, by name: a resumed run needs them beside the weights."""
        return dict(zip(("vectors", "context", "biases"), self.squares, strict=True))

    def load_state(self, arrays: dict[str, np.ndarray]) -> None:
        """Take the sums of `state`.   raises CheckpointError if one is missing or misshapen"""
        for name, squares in self.state().items():
            if name not in arrays or arrays[name].shape != squares.shape:
                raise CheckpointError(
                    f"The state lacks AdaGrad's sums of {name}, shape {squares.shape}; "
                    "it is damaged or another model's."
                )
        self.squares = [np.array(arrays[name], own.dtype) for name, own in self.state().items()]

    def astype(self, dtype) -> "GloVe":
        """Convert weights and AdaGrad's sums to another precision, in place; returns self."""
        self.squares = [squares.astype(dtype) for squares in self.squares]
        return super().astype(dtype)

    def _counted(self):
        """The cells.   raises TinylmError before `prepare`"""
        self.prepared()
        return self.cells

    # -- the result ------------------------------------------------------------------------------

    def encode(self, ids, mask=None) -> list[Tensor]:
        """The words' vectors v + u, whatever stands around them: [(B, T, C)].

        ids : (B, T) integers     mask : not needed
        raises ShapeError  if an id is out of range
        """
        return [F.embedding(ids, self.vectors) + F.embedding(ids, self.context)]

    def logits(self, ids, mask=None) -> Tensor:
        """v·u + b̃: the model's log X of each word with every word, but for b of the first.

        (B, T) -> (B, T, V)
        """
        return F.linear(F.embedding(ids, self.vectors), self.context, self.biases[1])

    def embedding_table(self) -> np.ndarray:
        """The word vectors as an array (V, C): the sum of both tables."""
        return self.vectors.data + self.context.data

    def layer_groups(self) -> list[list[nn.Parameter]]:
        """[vectors, context], [biases]: from the bottom up."""
        return [[self.vectors, self.context], [self.biases]]

    def export(self, path: Path) -> None:
        """Write `vectors.bin`, which every word-vector program reads, if the folder holds words."""
        if not text.find(path):
            return
        tokenizer = text.load(path)
        table = self.embedding_table()[: tokenizer.vocab_size]  # the model may have more rows
        if tokenizer.unk_id in tokenizer.special_ids:
            known = np.delete(table, tokenizer.special_ids, axis=0)
            table[tokenizer.unk_id] = known[-RAREST:].mean(axis=0)
        write_vectors(path / VECTORS, tokenizer.vocab, table)


def _batch(cells):
    """A GloVeBatch of some records (row, column, count)."""
    rows = cells["row"].astype(np.int64)
    columns = cells["column"].astype(np.int64)
    return GloVeBatch(rows, columns, np.ascontiguousarray(cells["count"]))
