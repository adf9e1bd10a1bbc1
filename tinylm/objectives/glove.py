"""GloVe: the whole text as one matrix, factorised (Pennington et al. 2014).

The idea: word2vec reads the text window by window and meets the same pair of words a thousand times. Count all pairs first,
X_wc, and fit the logarithms of the counts once, frequent pairs more closely than rare ones. Because the fit is linear in the
logarithms, differences of vectors become ratios of probabilities: where `ice` and `steam` differ, P(k|ice)/P(k|steam) tells.

    cost = Σ_{w,c: X_wc > 0} ½ f(X_wc) (v_w·u_c + b_w + b̃_c − log X_wc)²        f(x) = min(1, (x/x_max)^α)

Sees how often each word w stands near each word c of the corpus (weighted by 1/distance), predicts the logarithm of it.
Changes from word2vec.py: counts instead of draws, a square instead of a logistic loss, AdaGrad instead of SGD, and what is
kept is the sum of both tables.
"""

from dataclasses import dataclass, replace

import numpy as np

from tinylm import kernels, nn, text
from tinylm import ops as F
from tinylm.data.cooccurrence import Window, cooccurrences
from tinylm.errors import CheckpointError
from tinylm.objectives.base import Objective, ObjectiveConfig
from tinylm.settings import above, at_least
from tinylm.tensor import no_grad
from tinylm.vectors import VECTORS, write_vectors

RAREST = 100  # words whose mean stands for all unknown ones in exported files, as in the program


@dataclass(frozen=True)
class GloVeConfig(ObjectiveConfig):
    """Sizes and rates under the names of the released program, dashes as underscores.

    vector_size : C     window_size : words to either side     symmetric : both sides, or only the left
    distance_weighting : a pair d words apart counts 1/d     x_max, alpha : of the weight f     grad_clip : of a component
    batch_cells : cells of the matrix per step
    memory : gigabytes for the cells; what may be more is shuffled on the disk
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
    def tiny(cls, vocab_size, **over):
        """Trains in a minute on a laptop: vectors of 64, and x_max = 10 as the released demo has it for a small text."""
        return replace(cls(vocab_size, vector_size=64, window_size=10, x_max=10.0), **over)

    @classmethod
    def small(cls, vocab_size, **over):
        """Vectors of 100, which `tinylm compare` trains."""
        return replace(cls(vocab_size, vector_size=100, window_size=10, x_max=10.0), **over)

    @classmethod
    def published(cls, vocab_size, **over):
        """The paper's model of 6 billion words: 300 dimensions, window 10, x_max = 100."""
        return replace(cls(vocab_size, vector_size=300, window_size=10), **over)


@dataclass(frozen=True)
class GloVeBatch:
    """Some cells of the matrix.   rows, columns : (N,) int64 words     counts : (N,) float32, X > 0"""

    rows: np.ndarray
    columns: np.ndarray
    counts: np.ndarray

    @property
    def tokens(self):
        """Cells."""
        return self.rows.size


class GloVe(Objective, name="glove", encoding="words"):
    """Two tables of word vectors with a bias for each word, and the objective that fits them to counts.

    config : GloVeConfig     rng : numpy Generator of the initial values (a fixed one by default)
    vectors, context : (V, C) and biases : (2, V) from U(−½, ½)/C; specials are zero
    squares : AdaGrad's sums for each of the three, which begin at 1
    Source: Pennington et al. 2014; the released program, version 1.2. Differs: cells are shuffled anew among the steps of
    every epoch; the vector of <unk> is zero here, and in exported files the mean of the hundred rarest, as in the program.
    """

    Config = GloVeConfig
    by_line = True
    training_defaults = dict(lr=0.05, warmup=0.0, schedule="constant")
    unit = "squared error per cell"

    def build(self, config, rng):
        """Both tables and their biases; special tokens get their zeros when a corpus says which they are."""
        width = config.vector_size
        self.vectors = nn.Parameter(nn.initial_vectors(rng, (config.vocab_size, width), width))
        self.context = nn.Parameter(nn.initial_vectors(rng, (config.vocab_size, width), width))
        self.biases = nn.Parameter(nn.initial_vectors(rng, (2, config.vocab_size), width))
        self.squares = [np.ones_like(p.data) for p in self.parameters()]
        self.cells = None
        self.length = 0  # tokens of the text that was counted

    def spell(self, words, special_ids=()):
        """Which tokens are special; spellings are not needed.   words : at most V strings, by id"""
        super().spell(words, special_ids)
        self._forget_specials(special_ids)

    def _forget_specials(self, special_ids):
        """Special tokens are no words: their vectors and biases are zero."""
        self.special_ids = tuple(special_ids)
        self.vectors.data[list(special_ids)] = 0
        self.context.data[list(special_ids)] = 0
        self.biases.data[:, list(special_ids)] = 0

    # -- learning from text ------------------------------------------------------------------------------------------

    def prepare(self, corpus):
        """Count the matrix of the corpus, whose documents no window leaves.

        raises TinylmError  if no two known words stand together, or the corpus' ids do not fit the model
        """
        super().prepare(corpus)
        if corpus.special_ids != self.special_ids:
            self._forget_specials(corpus.special_ids)
        self.cells = self._count(corpus)
        self.length = len(corpus.ids)

    def _count(self, corpus):
        c = self.config
        window = Window(c.window_size, c.symmetric, c.distance_weighting)
        return cooccurrences(corpus, window, int(c.memory * 2**30))

    @property
    def steps_per_epoch(self):
        """Steps in which every cell is seen once."""
        return max(1, round(len(self._counted()) / self.config.batch_cells))

    def batch(self, step, seed):
        """About batch_cells cells, every cell once per epoch: the epoch has the order of the parts, prepare that within."""
        epoch, part = divmod(step, self.steps_per_epoch)
        order = np.random.default_rng([seed, epoch, 11]).permutation(self.steps_per_epoch)
        first, last = (len(self.cells) * (order[part] + i) // self.steps_per_epoch for i in (0, 1))
        return _batch(self.cells[first:last])

    def evaluation_batches(self, corpus):
        """The cells of another text, its counts scaled to the length of the text that the model was prepared for."""
        self._counted()
        cells, scale = self._count(corpus), self.length / len(corpus.ids)
        for first in range(0, len(cells), self.config.batch_cells):
            batch = _batch(cells[first : first + self.config.batch_cells])
            yield replace(batch, counts=batch.counts * np.float32(scale))

    def loss(self, batch):
        """The definition: the mean cost of a GloVeBatch, and {"loss": the same, "tokens": cells}."""
        rows, columns = batch.rows, batch.columns
        v, u = F.embedding(rows, self.vectors), F.embedding(columns, self.context)  # (N,C)
        weights, logs = self._goals(batch)
        error = F.sum(v * u, axis=1) + self.biases[0, rows] + self.biases[1, columns] - logs  # (N,)
        loss = F.sum(error * error * weights) * (0.5 / max(rows.size, 1))
        return loss, {"loss": loss.item(), "tokens": rows.size}

    def _goals(self, batch):
        """f(X) and log X of some counts, (N,) each."""
        counts = batch.counts.astype(self.vectors.dtype)
        return np.minimum((counts / self.config.x_max) ** self.config.alpha, 1).astype(
            counts.dtype
        ), np.log(counts)

    def adagrad_step(self, batch, lr):
        """The program's AdaGrad for one cell, on the tape: what `fast_step` does for one cell after another.

            g = clip(∂cost) · η, for biases just ∂cost        p −= g/√G        G += g², from the G before

        batch : a GloVeBatch of one cell     lr : η     returns the cost before the update
        """
        loss, _ = self.loss(batch)
        loss.backward()
        with no_grad():
            for parameter, squares in zip(self.parameters(), self.squares, strict=True):
                g = parameter.grad
                g = (
                    g
                    if parameter is self.biases
                    else np.clip(g, -self.config.grad_clip, self.config.grad_clip) * lr
                )
                parameter.data -= g / np.sqrt(squares)
                squares += g * g
                parameter.grad = None
        return loss.item()

    def fast_step(self, batch, lr):
        """The same as a lock-free kernel: one update of AdaGrad at rate `lr` for each cell, in place.

        returns the mean cost of a cell, each before its own update; where it is not finite, that cell changed nothing
        """
        losses, tables = (
            np.empty(batch.tokens, self.vectors.dtype),
            [p.data for p in self.parameters()],
        )
        kernels.glove(
            *tables,
            *self.squares,
            batch.rows,
            batch.columns,
            *self._goals(batch),
            float(lr),
            float(self.config.grad_clip),
            losses,
        )
        return float(losses.sum(dtype=np.float64) / max(batch.tokens, 1))

    def state(self):
        """AdaGrad's sums, by name: what a resumed run needs beside the weights."""
        return dict(zip(("vectors", "context", "biases"), self.squares, strict=True))

    def load_state(self, arrays):
        """Take the sums that `state` gave.   raises CheckpointError if one is missing or of another shape"""
        for name, squares in self.state().items():
            if name not in arrays or arrays[name].shape != squares.shape:
                raise CheckpointError(
                    f"The state lacks AdaGrad's sums of {name}, shape {squares.shape}; "
                    "it is damaged or another model's."
                )
        self.squares = [np.array(arrays[name], own.dtype) for name, own in self.state().items()]

    def astype(self, dtype):
        """Weights and AdaGrad's sums in another precision, in place."""
        self.squares = [squares.astype(dtype) for squares in self.squares]
        return super().astype(dtype)

    def _counted(self):
        self.prepared()
        return self.cells

    # -- the result --------------------------------------------------------------------------------------------------

    def encode(self, ids, mask=None):
        """The words' vectors v + u, whatever stands around them: [(B, T, C)].   ids : (B, T) integers   mask : not needed

        raises ShapeError  if an id is out of range
        """
        return [F.embedding(ids, self.vectors) + F.embedding(ids, self.context)]

    def logits(self, ids, mask=None):
        """log X of each word with every word, up to the former's own bias: v·u + b̃.   ids : (B, T) -> (B, T, V)"""
        return F.linear(F.embedding(ids, self.vectors), self.context, self.biases[1])

    def embedding_table(self):
        """The word vectors as an array (V, C): the sum of both tables."""
        return self.vectors.data + self.context.data

    def layer_groups(self):
        """[vectors, context], [biases]: from the bottom up."""
        return [[self.vectors, self.context], [self.biases]]

    def export(self, path):
        """Write `vectors.bin`, which every word-vector program reads, if the folder holds the words."""
        if not text.find(path):
            return
        tokenizer = text.load(path)
        table = self.embedding_table()[: tokenizer.vocab_size]  # the model may have more rows
        if tokenizer.unk_id in tokenizer.special_ids:
            known = np.delete(table, tokenizer.special_ids, axis=0)
            table[tokenizer.unk_id] = known[-RAREST:].mean(axis=0)
        write_vectors(path / VECTORS, tokenizer.vocab, table)


def _batch(cells):
    return GloVeBatch(
        cells["row"].astype(np.int64),
        cells["column"].astype(np.int64),
        np.ascontiguousarray(cells["count"]),
    )
