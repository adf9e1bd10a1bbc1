"""How the systems of a comparison are measured: on whole texts, and on the words of sentences.

What is not in the results yet is computed, cell by cell; all systems get the same draws of labels.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from tinylm.objectives import Objective
from tinylm.settings import LARGEST

from . import mapped
from .baselines import Majority, TfidfClassifier, WordTags
from .classifier import Classifier
from .experiment import FEATURES, FINETUNED, MAJORITY, SCRATCH, TFIDF, WORD_TAGS, Cell
from .features import Features, encode_texts
from .finetune import MOST_UPDATES, AdaptConfig, twin, updates_for
from .linear import SoftmaxRegression
from .results import Results
from .tagger import Tagger
from .tagging import TagConfig
from .task import Task

SAMPLE = 500  # training posts on which frozen features are standardised


class Remembering:
    """A tokenizer that keeps its results, because every system reads the same texts many times."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.known = {}

    def __call__(
        self, texts: Iterable[str], max_length: int | None = None
    ) -> dict[str, np.ndarray]:
        """Texts to the keywords of `encode`, (N,T) each, as the tokenizer does it."""
        key = (tuple(texts), max_length)
        if key not in self.known:
            self.known[key] = self.tokenizer(texts, max_length=max_length)
        return self.known[key]


class Texts:
    """The systems for texts with a label each."""

    def __init__(self, task: Task, results: Results):
        self.task = task
        self.results = results
        self.config = results.config

    def reader(self, tokenizer: Any) -> Any:
        """The tokenizer that all systems of an encoder share."""
        return Remembering(tokenizer)

    def counting(self) -> dict[str, Callable[[int], Any]]:
        """The baselines, which see nothing but the labelled texts: method -> maker, from a seed."""
        return {
            MAJORITY: lambda seed: Majority(),
            TFIDF: lambda seed: TfidfClassifier(seed=seed),
        }

    def baselines(self) -> None:
        """Measure the baselines."""
        for method, make in self.counting().items():
            for cell in self.results.missing(method):
                self._measure(method, cell, make(cell[1]))

    def _measure(self, method: str, cell: Cell, model: Any, mapped_as: str | None = None) -> float:
        """Fit a model to a cell's labels, keep what it says; returns the seconds of predicting.

        mapped_as : the objective under whose name the model's map is kept, before the row: a cell
            that has its row is never measured again
        """
        start = time.perf_counter()
        rows = self.task.draw(*cell)
        model.fit([self.task.inputs[i] for i in rows], self.task.labels[rows])
        fitted = time.perf_counter()
        predicted = model.predict(self.task.test_inputs)
        end = time.perf_counter()
        if mapped_as:
            self._map(mapped_as, cell, model)
        self.results.add(method, cell, predicted, end - start)
        return end - fitted

    def frozen(self, name: str, encoder: Objective, tokenizer: Any) -> None:
        """Measure softmax regression on frozen features.

        The features are standardised on a fixed sample of training posts, whose labels stay unread.
        Each post is encoded once, for all cells.
        """
        method = f"{name} {FEATURES}"
        if not self.results.missing(method):
            self._cost_anew(name, encoder, tokenizer)
            return
        used, train, test = self._encoded(name, encoder, tokenizer)
        adapt = self.config.adapt
        for cell in self.results.missing(method):
            start = time.perf_counter()
            rows = self.task.draw(*cell)
            model = SoftmaxRegression(adapt.C, seed=cell[1])
            model.fit(train[np.searchsorted(used, rows)], self.task.labels[rows])
            predicted = model.predict(test)
            self.results.add(method, cell, predicted, time.perf_counter() - start)

    def _encoded(
        self, name: str, encoder: Objective, tokenizer: Any
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The rows that any cell uses, (N,), their features (N,F), and those of the test texts."""
        task = self.task
        adapt = self.config.adapt
        drawn = [task.draw(*cell) for cell in self.config.cells()]
        used = np.unique(np.concatenate(drawn))
        sample = np.random.default_rng(0).permutation(len(task.texts))[:SAMPLE]
        n_texts = sample.size + used.size + len(task.test_texts)
        self.results.say(f"{name} {FEATURES}: encoding {n_texts:,} posts")
        features = Features(encoder, tokenizer, max_length=adapt.max_length, layers=adapt.layers)
        start = time.perf_counter()
        features.fit([task.texts[i] for i in sample])
        train = features.transform([task.texts[i] for i in used])
        test = features.transform(task.test_texts)
        seconds = time.perf_counter() - start
        self.results.add_cost(name, encoder, n_texts, seconds, features.depth_)
        return used, train, test

    def _cost_anew(self, name: str, encoder: Objective, tokenizer: Any) -> None:
        """Measure the cost of a finished model that the folder lacks: encode a few posts again."""
        if not self.results.lacks_cost(name):
            return
        texts = self.task.texts[:SAMPLE]
        self.results.say(f"{name}: reading {len(texts):,} posts again, to measure how fast it is")
        adapt = self.config.adapt
        features = Features(encoder, tokenizer, max_length=adapt.max_length, layers=adapt.layers)
        start = time.perf_counter()
        features.fit(texts)
        seconds = time.perf_counter() - start
        self.results.add_cost(name, encoder, len(texts), seconds, features.depth_)

    def tuned(self, name: str, encoder: Objective, tokenizer: Any) -> None:
        """Measure fine-tuning, from pretrained and from random weights; all else is equal."""
        for cell in self.config.cells() + self.config.further_cells():
            for kind in (FINETUNED, SCRATCH):
                method = f"{name} {kind}"
                if cell not in self.results.missing(method):
                    continue
                begin = encoder if kind == FINETUNED else twin(encoder, seed=cell[1])
                model = self._tuning(begin, tokenizer, cell)
                is_mapped = kind == FINETUNED and cell == self.config.cells()[-1]
                self._measure(method, cell, model, name if is_mapped else None)

    def _map(self, name: str, cell: Cell, model: Any) -> None:
        """Keep the vectors of a few test texts that a fine-tuned model classifies, for a report."""
        rows = model.features_.transform(mapped.evenly(self.task.test_texts))
        mapped.keep(self.results.out, name, cell, rows)

    def _tuning(self, encoder: Objective, tokenizer: Any, cell: Cell) -> Any:
        """The model that fine-tunes an encoder in a cell."""
        updates = updates_of(self.config.adapt, self.task.draw(*cell).size)
        adapt = replace(self.config.adapt, seed=cell[1], updates=updates)
        return Classifier(encoder, tokenizer, "finetune", adapt)


class Words(Texts):
    """The systems for sentences with a tag for each word.

    TF-IDF has no words in their places; `WordTags` counts in its stead. All others are taggers with
    a linear head, so that an encoder's context is the only context there is.
    """

    def reader(self, tokenizer: Any) -> Any:
        """The tokenizer itself, because a tagger asks it for more than ids."""
        return tokenizer

    def counting(self) -> dict[str, Callable[[int], Any]]:
        """As of texts."""
        return {
            MAJORITY: lambda seed: WordTags(words=False),
            WORD_TAGS: lambda seed: WordTags(),
        }

    def frozen(self, name: str, encoder: Objective, tokenizer: Any) -> None:
        """Measure a linear tagger on the frozen encoder."""
        method = f"{name} {FEATURES}"
        for cell in self.results.missing(method):
            tagger = self._tagger(encoder, tokenizer, "features", cell)
            seconds = self._measure(method, cell, tagger)
            if self.results.lacks_cost(name):
                self._add_cost(name, encoder, tokenizer, seconds)
        self._cost_anew(name, encoder, tokenizer)

    def _cost_anew(self, name: str, encoder: Objective, tokenizer: Any) -> None:
        """As of texts; a tagger of the smallest budget tags the test sentences again."""
        if not self.results.lacks_cost(name):
            return
        self.results.say(f"{name}: tagging again, to measure how fast it is")
        cell = self.config.cells()[0]
        rows = self.task.draw(*cell)
        tagger = self._tagger(encoder, tokenizer, "features", cell)
        tagger.fit([self.task.inputs[i] for i in rows], self.task.labels[rows])
        start = time.perf_counter()
        tagger.predict(self.task.test_inputs)
        self._add_cost(name, encoder, tokenizer, time.perf_counter() - start)

    def _add_cost(self, name: str, encoder: Objective, tokenizer: Any, seconds: float) -> None:
        """Keep the cost of a model that tagged the test sentences in some seconds."""
        depth = len(encoder.encode(**_first(encoder, tokenizer, self.task.texts)))
        self.results.add_cost(name, encoder, len(self.task.test_texts), seconds, depth)

    def _map(self, name: str, cell: Cell, model: Any) -> None:
        """Nothing: a map of sentences would not show what a tagger reads."""

    def _tuning(self, encoder: Objective, tokenizer: Any, cell: Cell) -> Any:
        """As of texts."""
        return self._tagger(encoder, tokenizer, "finetune", cell)

    def _tagger(self, encoder: Objective, tokenizer: Any, method: str, cell: Cell) -> Tagger:
        """A tagger with the settings of the comparison; it has its own number of updates."""
        given = asdict(replace(self.config.adapt, seed=cell[1]))
        return Tagger(encoder, tokenizer, "linear", method, TagConfig(**given))


def _first(encoder: Objective, tokenizer: Any, texts: list[str]) -> dict[str, np.ndarray]:
    """The first text as the keywords of `encode`."""
    return encode_texts(encoder, tokenizer, texts[:1], max_length=8)


def updates_of(adapt: AdaptConfig, n_texts: int) -> int | None:
    """The updates of fine-tuning: five passes, however many labels there are.

    A twin that catches up only with many labels must have read all of them. None is the same where
    the usual bound is not reached.

    >>> updates_of(AdaptConfig(), 1024), updates_of(AdaptConfig(), 11_293)
    (None, 3529)
    """
    passes = updates_for(n_texts, adapt.batch_size, most=LARGEST)
    if adapt.updates is None and passes > MOST_UPDATES:
        return passes
    return adapt.updates
