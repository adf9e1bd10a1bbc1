"""The two baselines that any pretrained model has to beat: the commonest class, and word counts.

TF-IDF (1972) with a linear classifier takes a second, and wins more often than papers admit.

    w(t, d) = tf(t, d) * (ln((1 + n) / (1 + df(t))) + 1),   every document scaled to length 1
"""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import regex
from numpy.typing import ArrayLike
from scipy import sparse

from tinylm.arguments import strings
from tinylm.errors import DataError

from .estimator import Estimator
from .linear import SoftmaxRegression
from .metrics import accuracy
from .task import as_labels

# Words of two characters and more. PLAIN is scikit-learn's pattern, used for ASCII. MARKED does the
# same for other text, and keeps combining marks inside their word.
PLAIN = re.compile(r"\b\w\w+\b")
MARKED = regex.compile(r"[\p{L}\p{N}_][\p{L}\p{M}\p{N}_]+")


class Majority:
    """Always predict the commonest label of the training set: the floor of every table.

    At a tie, the first label in sorted order wins.

    >>> Majority().fit(["a", "b", "c"], ["ice", "sea", "sea"]).predict(["d", "e"]).tolist()
    ['sea', 'sea']
    """

    def fit(self, texts: Sequence[str], labels: ArrayLike) -> "Majority":
        """Count the labels; no text is read.   returns self, raises DataError for no label"""
        strings(texts, "texts")
        labels = as_labels(labels)
        if labels.ndim != 1 or labels.size == 0:
            raise DataError("Majority: no labels were given; expected a list of at least one.")
        self.classes_, counts = np.unique(labels, return_counts=True)
        self.label_ = self.classes_[counts.argmax()]
        return self

    def predict(self, texts: Sequence[str]) -> np.ndarray:
        """The same label for every text, (N,)."""
        texts = strings(texts, "texts")
        return np.full(len(texts), self.label_)

    def score(self, texts: Sequence[str], labels: ArrayLike) -> float:
        """Accuracy in [0, 1]."""
        return accuracy(labels, self.predict(texts))


class Tfidf(Estimator):
    """Texts to sparse rows of TF-IDF weights.

    sublinear : use 1 + ln(tf) instead of tf, because the tenth mention of a word says less than the
                first
    After `fit`: vocabulary_, word -> column in alphabetical order; idf_ (F,).
    Source: Spärck Jones 1972, as scikit-learn's TfidfVectorizer has it (smoothed idf, l2 norm).
    Differs: combining marks belong to their word, where scikit-learn cuts words at them.

    >>> tfidf = Tfidf()
    >>> tfidf.fit_transform(["the sea", "the ice"]).toarray().round(2).tolist()
    [[0.0, 0.81, 0.58], [0.81, 0.0, 0.58]]
    >>> tfidf.vocabulary_
    {'ice': 0, 'sea': 1, 'the': 2}
    """

    kind = "transformer"
    fitted = "vocabulary_"

    def __init__(self, sublinear: bool = False):
        self.sublinear = sublinear

    @staticmethod
    def _counts(text: str) -> Counter:
        """word -> how often a text contains it, in lower case."""
        pattern = PLAIN if text.isascii() else MARKED
        return Counter(pattern.findall(text.lower()))

    def fit(self, texts: Sequence[str]) -> "Tfidf":
        """Learn vocabulary and document frequencies.

        returns self; raises DataError if no text contains a word
        """
        texts = strings(texts, "texts")
        frequency = Counter()
        for text in texts:
            frequency.update(self._counts(text).keys())
        if not frequency:
            raise DataError(
                "TF-IDF: the texts hold no word of two letters or more; "
                "expected at least one text with words."
            )
        words = sorted(frequency)
        self.vocabulary_ = {word: column for column, word in enumerate(words)}
        df = np.array([frequency[word] for word in words], dtype=np.float64)
        self.idf_ = np.log((1 + len(texts)) / (1 + df)) + 1
        return self

    def transform(self, texts: Sequence[str]) -> sparse.csr_array:
        """(N,) texts -> (N,F) sparse rows of length 1.

        Words that `fit` never saw are dropped; a text of such words alone becomes a row of zeros.
        """
        texts = strings(texts, "texts")
        starts = [0]
        columns = []
        counts = []
        for text in texts:
            for column, count in self._known(text):
                columns.append(column)
                counts.append(count)
            starts.append(len(columns))
        columns = np.array(columns, dtype=np.int64)
        tf = np.array(counts, dtype=np.float64)
        if self.sublinear:
            tf = 1 + np.log(tf)
        weights = tf * self.idf_[columns]
        rows = np.repeat(np.arange(len(texts)), np.diff(starts))
        length = np.sqrt(np.bincount(rows, weights=weights**2, minlength=len(texts)))
        values = weights / length[rows]
        shape = (len(texts), len(self.vocabulary_))
        return sparse.csr_array((values, columns, np.array(starts)), shape=shape)

    def _known(self, text: str) -> list[tuple[int, int]]:
        """(column, count) for each word of a text in the vocabulary, by column."""
        found = []
        for word, count in self._counts(text).items():
            if word in self.vocabulary_:
                found.append((self.vocabulary_[word], count))
        return sorted(found)

    def fit_transform(self, texts: Sequence[str]) -> sparse.csr_array:
        """`fit`, then `transform` of the same texts."""
        texts = strings(texts, "texts")
        return self.fit(texts).transform(texts)


class TfidfClassifier:
    """TF-IDF and softmax regression, fitted on the labelled texts alone.

    C : as in SoftmaxRegression; cross-validation inside the labels chooses from a grid

    >>> model = TfidfClassifier(C=1.0).fit(["cold ice", "deep sea"], ["ice", "sea"])
    >>> model.predict(["the sea was calm"]).tolist()
    ['sea']
    """

    def __init__(
        self,
        C: float | tuple[float, ...] = (1.0, 10.0, 100.0),
        sublinear: bool = True,
        seed: int = 0,
    ):
        self.vectors = Tfidf(sublinear)
        self.regression = SoftmaxRegression(C, seed=seed)

    def fit(self, texts: Sequence[str], labels: ArrayLike) -> "TfidfClassifier":
        """Learn word weights and the classifier.   texts, labels : (N,)     returns self

        raises as Tfidf.fit and SoftmaxRegression.fit
        """
        rows = self.vectors.fit_transform(texts)
        self.regression.fit(rows, labels)
        self.classes_ = self.regression.classes_
        return self

    def predict(self, texts: Sequence[str]) -> np.ndarray:
        """The most probable label of each text, (N,)."""
        return self.regression.predict(self.vectors.transform(texts))

    def predict_proba(self, texts: Sequence[str]) -> np.ndarray:
        """Probabilities, (N,K), columns in the order of classes_."""
        return self.regression.predict_proba(self.vectors.transform(texts))

    def score(self, texts: Sequence[str], labels: ArrayLike) -> float:
        """Accuracy in [0, 1]."""
        return accuracy(labels, self.predict(texts))


class WordTags:
    """The tagger that counts: each word gets the tag that it had most often, wherever it stands.

    words : False forgets the words and gives every one the commonest tag of all
    Unknown words get the commonest tag of all. At a tie, the first tag in sorted order wins.

    >>> model = WordTags().fit([["Ada", "sees", "Rome"]], [["B-person", "O", "B-place"]])
    >>> model.predict([["Rome", "sees", "us"]])
    [['B-place', 'O', 'B-person']]
    """

    def __init__(self, words: bool = True):
        self.words = words

    def fit(self, sentences: Sequence[Sequence[str]], tags: Sequence[Sequence[str]]) -> "WordTags":
        """Count.   sentences, tags : N lists, of words and of as many tags     returns self"""
        in_all: Counter[str] = Counter()
        of_word: dict[str, Counter[str]] = {}
        for sentence, row in zip(sentences, tags, strict=True):
            for word, tag in zip(sentence, row, strict=True):
                in_all[tag] += 1
                of_word.setdefault(word, Counter())[tag] += 1
        if not in_all:
            raise DataError("WordTags: there is no tag to count; give at least one sentence.")
        self.tag_ = _commonest(in_all)
        self.tags_ = {}
        if self.words:
            self.tags_ = {word: _commonest(counts) for word, counts in of_word.items()}
        return self

    def predict(self, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
        """The tag of each word, N lists."""
        return [[self.tags_.get(word, self.tag_) for word in sentence] for sentence in sentences]


def _commonest(counts: Counter[str]) -> str:
    """The most frequent one, the first in sorted order at a tie."""
    return min(counts, key=lambda tag: (-counts[tag], tag))
