"""Questions to word vectors: nearest words, analogies, the odd one out, agreement with people."""

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from tinylm.arguments import strings
from tinylm.errors import ArgumentError, ShapeError, VocabularyError
from tinylm.finite import must_be_finite
from tinylm.progress import note
from tinylm.settings import argument, at_least

from .formats import format_of, read_vectors, write_vectors
from .ngrams import Subwords

# Rows looked at in one go, so that a table mapped from the disk is never copied as a whole, except
# for analogies.
BLOCK = 2**16
QUESTIONS = 256  # analogies answered by one product
SMALL = 1e-12  # shorter vectors count as this long, so that nothing is divided by 0
FAR = -2.0  # less than any cosine

Words = str | np.ndarray | Sequence[str | np.ndarray]  # words or vectors (D,), one or several


def best(
    table: np.ndarray, lengths: np.ndarray, target: np.ndarray, leave_out: Sequence[int], n: int
) -> tuple[np.ndarray, np.ndarray]:
    """The n rows whose cosine with `target` is largest, in falling order.

    table : (V, D)
    lengths : (V,) of its rows
    target : (D,)
    leave_out : ids that may not be named
    returns ids (n,) int64, cosines (n,)

    >>> table = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    >>> ids, found = best(table, row_lengths(table), table[0], leave_out=[0], n=1)
    >>> ids.tolist(), found.tolist()
    ([1], [0.6])
    """
    scores = cosines(table, lengths, target[None])[0]
    scores[np.asarray(leave_out, np.int64)] = FAR
    order = np.argsort(-scores, kind="stable")[:n]
    order = order[scores[order] > FAR]
    return order, scores[order]


def row_lengths(table: np.ndarray) -> np.ndarray:
    """The length of every row, at least 1e-12.   (V, D) -> (V,)

    >>> row_lengths(np.array([[3.0, 4.0], [0.0, 2.0]])).tolist()
    [5.0, 2.0]
    """
    blocks = []
    with np.errstate(over="ignore", invalid="ignore"):
        for begin in range(0, len(table), BLOCK):
            rows = table[begin : begin + BLOCK]
            blocks.append(np.linalg.norm(rows, axis=1))
    if not blocks:
        return np.empty(0)
    return np.maximum(np.concatenate(blocks), SMALL)


def cosines(table: np.ndarray, lengths: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Cosines of targets (Q, D) with all rows of a table (V, D): (Q, V).   lengths : of its rows"""
    target_lengths = np.linalg.norm(targets, axis=1, keepdims=True)
    unit = targets / np.maximum(target_lengths, SMALL)
    blocks = []
    for begin in range(0, len(table), BLOCK):
        rows = table[begin : begin + BLOCK]
        blocks.append(unit @ rows.T)  # (Q,D) (D,BLOCK) -> (Q,BLOCK)
    return np.concatenate(blocks, axis=1) / lengths


def _list(group: Words) -> list[str | np.ndarray]:
    """The group as a list: a single word or vector (D,) counts as a list of one."""
    if isinstance(group, str) or (isinstance(group, np.ndarray) and group.ndim == 1):
        return [group]
    found = list(group) if isinstance(group, Iterable) else [group]
    for word in found:
        _checked(word)
    return found


def _checked(word: str | np.ndarray) -> str | np.ndarray:
    """The same word or vector; raises ArgumentError for anything else"""
    if isinstance(word, str | np.ndarray):
        return word
    kind = type(word).__name__
    raise ArgumentError(f"A word is {word!r}, of type {kind}; expected a string or a vector.")


def _check_range(n: int, restrict_vocab: int | None) -> None:
    """raises ArgumentError for a negative number of words"""
    argument("Vectors", "n", n, int, at_least(0))
    argument("Vectors", "restrict_vocab", restrict_vocab, int | None, at_least(1))


def _floats(table: Any) -> np.ndarray:
    """A table of other numbers, or a list of rows, as float32; raises ShapeError if it is none"""
    try:
        array = np.asarray(table)
    except ValueError:
        raise ShapeError("Vectors: the rows of the table differ in length.") from None
    if array.dtype.kind not in "fiub":
        raise ShapeError(f"Vectors: the table holds {array.dtype}; expected numbers (V, D).")
    return array.astype(np.float32)


class Vectors:
    """Words and their vectors, frequent words first; answers what gensim's KeyedVectors answers.

    words : V strings; of equal ones the first counts
    table : (V, D) float, may be mapped read-only from the disk; other numbers become float32
    subwords : an ngrams.Subwords, which has vectors for unseen words; without it they have none
    raises ShapeError       if the table does not have one row per word
    raises ArgumentError    if words is a string

    >>> vectors = Vectors(["sea", "lake", "bread"], np.array([[1, 0], [0.8, 0.6], [0, 1]]))
    >>> vectors.most_similar("sea", n=1)
    [('lake', 0.8)]
    >>> vectors.doesnt_match(["sea", "lake", "bread"])
    'bread'
    """

    def __init__(self, words: Iterable[str], table: np.ndarray, subwords: Subwords | None = None):
        words = strings(words, "words")
        if not isinstance(table, np.ndarray) or table.dtype.kind != "f":
            table = _floats(table)
        if np.ndim(table) != 2 or len(words) != len(table) or not len(words):
            raise ShapeError(
                f"Vectors: {len(words)} words and a table {np.shape(table)} do not fit; "
                "expected (V, D), V > 0."
            )
        self.words = words
        self.table = table
        self.lengths = row_lengths(table)
        self.subwords = subwords or {}
        self.index: dict[str, int] = {}
        for i, word in enumerate(words):
            self.index.setdefault(word, i)

    @classmethod
    def load(cls, path: str | Path, errors: str = "surrogateescape", mapped: bool = False) -> Self:
        """Read any format, see `formats.read_vectors`.

        raises CheckpointError  as `read_vectors`, and if a number is not finite
        """
        words, table = read_vectors(path, None, errors, mapped)
        found = cls(words, table)
        if repeated := len(words) - len(found.index):
            note(f"{path}: {repeated:,} words occur again; the first vector of each counts")
        # A row with a number that is not finite has no finite length, so only such rows are read
        # again. A row may also just be too long for float32.
        doubtful = np.flatnonzero(~np.isfinite(found.lengths))
        rows = {f"the vector of {words[i]!r}": table[i] for i in doubtful}
        must_be_finite(path, rows)
        return found

    def save(
        self, path: str | Path, form: str | None = None, overwrite: bool = False
    ) -> dict[str, str]:
        """Write in one of FORMATS, by default the one that the path's suffix suggests.

        Returns and raises as `write_vectors`.
        """
        form = form or format_of(path)
        return write_vectors(path, self.words, self.table, form=form, overwrite=overwrite)

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: str) -> bool:
        return word in self.index

    def __getitem__(self, word: str) -> np.ndarray:
        """The vector (D,) of a word, from its pieces if it has no row; raises VocabularyError."""
        strings([word], "words")
        if word not in self and word in self.subwords:
            return self.subwords[word]
        return self.table[self.id_of(word)]

    def id_of(self, word: str) -> int:
        """The row of a word; raises VocabularyError, naming similar words."""
        if word in self.index:
            return self.index[word]
        near = difflib.get_close_matches(word, self.words[:20000], n=3)
        similar = ", ".join(repr(other) for other in near)
        hint = f"; similar words are {similar}" if near else ""
        raise VocabularyError(
            f"{word!r} is not one of the {len(self):,} words that have vectors{hint}."
        )

    def unit(self, word: str | np.ndarray) -> np.ndarray:
        """The vector (D,) of a word, or a given vector, at length 1."""
        vector = (
            self[word] if isinstance(_checked(word), str) else np.asarray(word, self.table.dtype)
        )
        expected = self.table.shape[1:]
        if vector.shape != expected:
            raise ShapeError(f"Vectors: a vector {vector.shape} was given; expected {expected}.")
        length = np.linalg.norm(np.asarray(vector, np.float64))  # no square overflows
        return vector / max(length, SMALL)

    def _known(self, *groups: Sequence[str | np.ndarray]) -> list[int]:
        """The ids of the words in some lists. Vectors, and words that only have pieces, have no id.

        raises VocabularyError  for an unknown word, and if all lists are empty
        """
        if not any(len(group) for group in groups):
            raise VocabularyError("No word was given; give at least one.")
        ids = []
        for group in groups:
            for word in group:
                if isinstance(word, str) and (word in self or word not in self.subwords):
                    ids.append(self.id_of(word))
        return ids

    def similarity(self, first: str | np.ndarray, second: str | np.ndarray) -> float:
        """The cosine of two words or vectors."""
        return float(self.unit(first) @ self.unit(second))

    def most_similar(
        self, positive: Words, negative: Words = (), n: int = 10, restrict_vocab: int | None = None
    ) -> list[tuple[str, float]]:
        """The n words nearest to Σ positive − Σ negative, all of length 1, without the given ones.

        positive, negative : lists of words or vectors (D,): ["king", "woman"], ["man"] asks for
            queen
        restrict_vocab : look only at this many words, the first ones
        returns [(word, cosine)]
        raises VocabularyError  for an unknown word
        """
        _check_range(n, restrict_vocab)
        positive = _list(positive)
        negative = _list(negative)
        given = self._known(positive, negative)
        added = [self.unit(word) for word in positive]
        taken = [-self.unit(word) for word in negative]
        target = np.sum(added + taken, axis=0)
        table = self.table[:restrict_vocab]
        lengths = self.lengths[:restrict_vocab]
        leave_out = [i for i in given if i < len(table)]
        ids, found = best(table, lengths, target, leave_out, n)
        return [(self.words[i], float(cosine)) for i, cosine in zip(ids, found, strict=True)]

    def most_similar_cosmul(
        self, positive: Words, negative: Words = (), n: int = 10, restrict_vocab: int | None = None
    ) -> list[tuple[str, float]]:
        """As `most_similar`, but multiplies similarities, so that no single one outweighs the rest.

            score = Π_positive (1 + cos)/2  /  (Π_negative (1 + cos)/2 + 10⁻⁶)

        Source: Levy & Goldberg 2014, 3CosMul.
        """
        _check_range(n, restrict_vocab)
        positive = _list(positive)
        negative = _list(negative)
        given = self._known(positive, negative)
        table = self.table[:restrict_vocab]
        lengths = self.lengths[:restrict_vocab]
        targets = np.array([self.unit(word) for word in (*positive, *negative)])
        shares = (1 + cosines(table, lengths, targets)) / 2  # (Q,V)
        wanted = shares[: len(positive)].prod(axis=0)
        unwanted = shares[len(positive) :].prod(axis=0)
        scores = wanted / (unwanted + 1e-6)
        scores[[i for i in given if i < len(table)]] = -1
        order = np.argsort(-scores, kind="stable")[:n]
        return [(self.words[i], float(scores[i])) for i in order if scores[i] >= 0]

    def doesnt_match(self, words: Sequence[str]) -> str:
        """The word that lies farthest from the mean direction of all the words."""
        words = strings(words, "words")
        self._known(words)
        units = np.array([self.unit(word) for word in words])
        agreement = units @ units.mean(axis=0)
        return words[int(np.argmin(agreement))]

    # --- agreement with people

    def _folded(self, restrict_vocab: int | None) -> dict[str, int]:
        """Lower-case word -> the first row that spells it."""
        rows: dict[str, int] = {}
        for i, word in enumerate(self.words[:restrict_vocab]):
            rows.setdefault(word.casefold(), i)
        return rows

    def evaluate_word_pairs(
        self, pairs: Sequence[tuple[str, str, float]], restrict_vocab: int | None = 300_000
    ) -> dict[str, Any]:
        """Do cosines rank pairs of words as people do?

        pairs : (word, word, score) as data.load_similarity gives them; pairs with an unknown word
            are left out
        returns dict: spearman (nan for less than two pairs), pairs (covered), covered (their share)
        """
        from scipy.stats import rankdata

        row_of = self._folded(restrict_vocab)
        first = []
        second = []
        scores = []
        for a, b, score in pairs:
            row_a = row_of.get(a.casefold())
            row_b = row_of.get(b.casefold())
            if row_a is not None and row_b is not None:
                first.append(row_a)
                second.append(row_b)
                scores.append(score)
        spearman = float("nan")
        if len(scores) >= 2:
            products = (self.table[first] * self.table[second]).sum(axis=1)
            similar = products / (self.lengths[first] * self.lengths[second])
            spearman = np.corrcoef(rankdata(similar), rankdata(scores))[0, 1]
        return {
            "spearman": float(spearman),
            "pairs": len(scores),
            "covered": len(scores) / max(len(pairs), 1),
        }

    def evaluate_word_analogies(
        self,
        questions: Iterable[tuple[str, str, str, str, str]],
        restrict_vocab: int | None = 300_000,
        unknown_is_wrong: bool = False,
    ) -> dict[str, Any]:
        """a is to b as c is to d: is d the word nearest to b − a + c, apart from those three?

        questions : (section, a, b, c, d) as data.load_analogies gives them, spelled in any case
        unknown_is_wrong : count questions with an unknown word as answered wrongly, instead of
            leaving them out
        returns dict: accuracy, correct, questions (counted), covered (the share of questions whose
            words are known), sections {name: {"correct", "questions"}}
        """
        row_of = self._folded(restrict_vocab)
        rows = np.array(sorted(row_of.values()))
        place_of = {row: place for place, row in enumerate(rows.tolist())}
        sections: dict[str, dict[str, int]] = {}
        known_sections = []
        known = []
        n_asked = 0
        for section, *words in questions:
            n_asked += 1
            found = [row_of.get(word.casefold()) for word in words]
            is_known = None not in found
            if is_known:
                known_sections.append(section)
                known.append([place_of[row] for row in found])
            if is_known or unknown_is_wrong:
                sections.setdefault(section, {"correct": 0, "questions": 0})["questions"] += 1
        unit = self.table[rows] / self.lengths[rows, None]
        is_right = _answers(unit, known)
        for section, right in zip(known_sections, is_right, strict=True):
            sections[section]["correct"] += right
        correct = sum(is_right)
        counted = sum(section["questions"] for section in sections.values())
        return {
            "accuracy": correct / counted if counted else float("nan"),
            "correct": correct,
            "questions": counted,
            "covered": len(known) / max(n_asked, 1),
            "sections": sections,
        }


def _answers(unit: np.ndarray, questions: list[list[int]]) -> list[bool]:
    """Whether d is the row nearest to b − a + c.

    unit : (V, D) rows of length 1
    questions : rows [a, b, c, d]
    """
    right: list[bool] = []
    for begin in range(0, len(questions), QUESTIONS):
        a, b, c, d = np.array(questions[begin : begin + QUESTIONS]).T
        scores = (unit[b] - unit[a] + unit[c]) @ unit.T  # (Q,V)
        scores[np.arange(len(a)), np.stack([a, b, c])] = -np.inf
        right += (scores.argmax(axis=1) == d).tolist()
    return right
