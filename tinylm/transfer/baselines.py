"""What any pretrained model has to beat: guessing the commonest class, and counting words.

TF-IDF with a linear classifier is forty years old, takes a second, and wins more often than papers admit.

    w(t, d) = tf(t, d) * (ln((1 + n) / (1 + df(t))) + 1),   every document scaled to length 1
"""

import re
from collections import Counter

import numpy as np
import regex
from scipy import sparse

from tinylm.arguments import strings
from tinylm.errors import DataError
from tinylm.transfer.linear import SoftmaxRegression
from tinylm.transfer.metrics import accuracy

# Words of two characters and more: scikit-learn's pattern, and its counterpart where text has combining marks.
PLAIN = re.compile(r"\b\w\w+\b")
MARKED = regex.compile(r"[\p{L}\p{N}_][\p{L}\p{M}\p{N}_]+")


class Majority:
    """Always the commonest label of the training set, at a tie the first in order: the floor of every table."""

    def fit(self, texts, labels) -> "Majority":
        """Count the labels; the texts are not read. returns self; raises DataError if there are none."""
        strings(texts, "texts")
        labels = np.asarray(labels)
        if labels.ndim != 1 or labels.size == 0:
            raise DataError("Majority: no labels were given; expected a list of at least one.")
        self.classes_, counts = np.unique(labels, return_counts=True)
        self.label_ = self.classes_[counts.argmax()]
        return self

    def predict(self, texts) -> np.ndarray:
        """The same label for every text, (N,)."""
        return np.full(len(strings(texts, "texts")), self.label_)

    def score(self, texts, labels) -> float:
        """Accuracy in [0, 1]."""
        return accuracy(labels, self.predict(texts))


class Tfidf:
    """Texts to sparse rows of TF-IDF weights.

    sublinear : 1 + ln(tf) in place of tf: the tenth mention of a word says less than the first
    After `fit`: vocabulary_ word -> column (alphabetical), idf_ (F,).
    Source: Spärck Jones 1972, in the form of scikit-learn's TfidfVectorizer (smoothed idf, l2 norm). Differs: combining
    marks belong to their word, where scikit-learn cuts words at them.
    """

    def __init__(self, sublinear: bool = False):
        self.sublinear = sublinear

    @staticmethod
    def _counts(text: str) -> Counter:
        pattern = PLAIN if text.isascii() else MARKED
        return Counter(pattern.findall(text.lower()))

    def fit(self, texts) -> "Tfidf":
        """Learn the vocabulary and the document frequencies. returns self; raises DataError if no text has a word."""
        texts = strings(texts, "texts")
        frequency = Counter()
        for text in texts:
            frequency.update(self._counts(text).keys())
        if not frequency:
            raise DataError(
                "TF-IDF: the texts hold no word of two letters or more; expected at least one text with words."
            )
        words = sorted(frequency)
        self.vocabulary_ = {word: column for column, word in enumerate(words)}
        df = np.array([frequency[word] for word in words], dtype=np.float64)
        self.idf_ = np.log((1 + len(texts)) / (1 + df)) + 1
        return self

    def transform(self, texts) -> sparse.csr_array:
        """(N,) texts -> (N,F) sparse rows of length 1; words that `fit` never saw are dropped, a text of them is 0."""
        texts = strings(texts, "texts")
        starts, columns, values = [0], [], []
        for text in texts:
            known = sorted(
                (self.vocabulary_[w], tf)
                for w, tf in self._counts(text).items()
                if w in self.vocabulary_
            )
            columns += [column for column, _ in known]
            values += [tf for _, tf in known]
            starts.append(len(columns))
        columns, values = np.array(columns, dtype=np.int64), np.array(values, dtype=np.float64)
        weights = (1 + np.log(values) if self.sublinear else values) * self.idf_[columns]
        rows = np.repeat(np.arange(len(texts)), np.diff(starts))
        length = np.sqrt(np.bincount(rows, weights=weights**2, minlength=len(texts)))
        shape = (len(texts), len(self.vocabulary_))
        return sparse.csr_array((weights / length[rows], columns, np.array(starts)), shape=shape)

    def fit_transform(self, texts) -> sparse.csr_array:
        """`fit`, then `transform` of the same texts."""
        texts = strings(texts, "texts")
        return self.fit(texts).transform(texts)


class TfidfClassifier:
    """TF-IDF and softmax regression, fitted on the labelled texts alone.

    C : as in SoftmaxRegression; a grid is searched by cross-validation inside the labels
    """

    def __init__(self, C=(1.0, 10.0, 100.0), sublinear: bool = True, seed: int = 0):
        self.vectors, self.regression = Tfidf(sublinear), SoftmaxRegression(C, seed=seed)

    def fit(self, texts, labels) -> "TfidfClassifier":
        """texts (N,) strings, labels (N,); returns self; raises as SoftmaxRegression.fit and Tfidf.fit."""
        self.regression.fit(self.vectors.fit_transform(texts), labels)
        self.classes_ = self.regression.classes_
        return self

    def predict(self, texts) -> np.ndarray:
        """The most probable label of each text, (N,)."""
        return self.regression.predict(self.vectors.transform(texts))

    def predict_proba(self, texts) -> np.ndarray:
        """Probabilities, (N,K), columns in the order of classes_."""
        return self.regression.predict_proba(self.vectors.transform(texts))

    def score(self, texts, labels) -> float:
        """Accuracy in [0, 1]."""
        return accuracy(labels, self.predict(texts))
