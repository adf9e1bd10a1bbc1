"""What one asks of word vectors: who is near whom, what completes an analogy, and do they agree with people?"""

import difflib
from collections import defaultdict

import numpy as np

from tinylm.arguments import strings
from tinylm.errors import ShapeError, VocabularyError
from tinylm.finite import must_be_finite
from tinylm.vectors.formats import format_of, read_vectors, write_vectors

BLOCK = (
    2**16
)  # rows looked at in one go: of vectors mapped from the disk only what answers analogies is copied whole
QUESTIONS = 256  # analogies answered by one product
SMALL = 1e-12  # the least length of a vector
FAR = -2.0  # less than any cosine


def best(table, lengths, target, leave_out, n):
    """The n rows whose cosine with `target` is largest, in falling order.

    table : (V, D)     lengths : (V,) of its rows     target : (D,)     leave_out : ids that may not be named
    returns ids (n,) int64, cosines (n,)
    """
    scores = cosines(table, lengths, target[None])[0]
    scores[np.asarray(leave_out, np.int64)] = FAR
    order = np.argsort(-scores, kind="stable")[:n]
    order = order[scores[order] > FAR]
    return order, scores[order]


def row_lengths(table):
    """The length of every row, (V, D) -> (V,), at least 1e-12; block by block."""
    with np.errstate(over="ignore", invalid="ignore"):
        blocks = [np.linalg.norm(table[i : i + BLOCK], axis=1) for i in range(0, len(table), BLOCK)]
    return np.maximum(np.concatenate(blocks), SMALL) if blocks else np.empty(0)


def cosines(table, lengths, targets):
    """Cosines of targets (Q, D) with all rows of the table (V, D): (Q, V)."""
    unit = targets / np.maximum(np.linalg.norm(targets, axis=1, keepdims=True), SMALL)
    blocks = [unit @ table[i : i + BLOCK].T for i in range(0, len(table), BLOCK)]
    return np.concatenate(blocks, axis=1) / lengths


def _lists(*groups):
    """Each group as a list: a single word or vector (D,) counts as a list of one."""
    return [
        [group]
        if isinstance(group, str) or (isinstance(group, np.ndarray) and group.ndim == 1)
        else list(group)
        for group in groups
    ]


class Vectors:
    """Words and their vectors, frequent words first, and the questions that gensim's KeyedVectors answer.

    words : V strings; of equal ones the first counts     table : (V, D) float, may be mapped read-only from the disk
    subwords : an ngrams.Subwords, which gives vectors to words that are not in the table; by default nothing does
    raises ShapeError  if the table does not have one row per word, ArgumentError if words is a string
    """

    def __init__(self, words, table, subwords=None):
        words = strings(words, "words")
        if np.ndim(table) != 2 or len(words) != len(table) or not len(words):
            raise ShapeError(
                f"Vectors: {len(words)} words and a table {np.shape(table)} do not fit; expected (V, D), "
                "V > 0."
            )
        self.words, self.table, self.lengths, self.subwords = (
            words,
            table,
            row_lengths(table),
            subwords or {},
        )
        self.index = {word: i for i, word in reversed(list(enumerate(self.words)))}

    @classmethod
    def load(cls, path, errors="surrogateescape", mapped=False):
        """Read any format, see `formats.read_vectors`; raises CheckpointError, also where a number is not finite.

        The rows' lengths, which are measured anyway, tell whether all numbers are finite, so that what is mapped from the
        disk is read once.
        """
        found = cls(*read_vectors(path, None, errors, mapped))
        doubtful = np.flatnonzero(~np.isfinite(found.lengths))  # or only long beyond float32
        rows = {f"the vector of {found.words[i]!r}": found.table[i] for i in doubtful}
        must_be_finite(path, rows)
        return found

    def save(self, path, form=None, overwrite=False):
        """Write in one of FORMATS, by default what the path's suffix says; returns and raises as `write_vectors`."""
        form = form or format_of(path)
        return write_vectors(path, self.words, self.table, form=form, overwrite=overwrite)

    def __len__(self):
        return len(self.words)

    def __contains__(self, word):
        return word in self.index

    def __getitem__(self, word):
        """The vector (D,) of a word, from its pieces if it has no row; raises VocabularyError."""
        return (
            self.subwords[word]
            if word not in self and word in self.subwords
            else self.table[self.id_of(word)]
        )

    def id_of(self, word):
        """The row of a word; raises VocabularyError, naming similar words."""
        if word not in self.index:
            near = difflib.get_close_matches(word, self.words[:20000], n=3)
            hint = f"; similar words are {', '.join(map(repr, near))}" if near else ""
            raise VocabularyError(
                f"{word!r} is not one of the {len(self):,} words that have vectors{hint}."
            )
        return self.index[word]

    def unit(self, word):
        """The vector (D,) of a word, or a vector that is given itself, at length 1."""
        vector = self[word] if isinstance(word, str) else np.asarray(word, self.table.dtype)
        if vector.shape != self.table.shape[1:]:
            raise ShapeError(
                f"Vectors: a vector {vector.shape} was given; expected {self.table.shape[1:]}."
            )
        return vector / max(np.linalg.norm(vector), SMALL)

    def _known(self, *groups):
        """Words of some lists as ids, without vectors and unseen words; raises VocabularyError for an empty question."""
        if not sum(map(len, groups)):
            raise VocabularyError("No word was given; give at least one.")
        words = [word for group in groups for word in group if isinstance(word, str)]
        return [self.id_of(word) for word in words if word in self or word not in self.subwords]

    def similarity(self, first, second):
        """The cosine of two words."""
        return float(self.unit(first) @ self.unit(second))

    def most_similar(self, positive, negative=(), n=10, restrict_vocab=None):
        """The n words nearest to Σ positive − Σ negative, all of length 1: [(word, cosine)], the given ones left out.

        positive, negative : lists of words or vectors (D,): ["king", "woman"], ["man"] asks for queen
        restrict_vocab : look at so many first words only
        raises VocabularyError  for an unknown word
        """
        positive, negative = _lists(positive, negative)
        given = self._known(positive, negative)
        target = np.sum(
            [self.unit(w) for w in positive] + [-self.unit(w) for w in negative], axis=0
        )
        table, lengths = self.table[:restrict_vocab], self.lengths[:restrict_vocab]
        found = best(table, lengths, target, [i for i in given if i < len(table)], n)
        return [(self.words[i], float(cosine)) for i, cosine in zip(*found, strict=True)]

    def most_similar_cosmul(self, positive, negative=(), n=10, restrict_vocab=None):
        """As `most_similar`, but similarities are multiplied, so that no single one outweighs the others.

            score = Π_positive (1 + cos)/2  /  (Π_negative (1 + cos)/2 + 10⁻⁶)

        Source: Levy & Goldberg 2014, 3CosMul.
        """
        positive, negative = _lists(positive, negative)
        given, table = self._known(positive, negative), self.table[:restrict_vocab]
        targets = np.array([self.unit(word) for word in (*positive, *negative)])
        shares = (1 + cosines(table, self.lengths[:restrict_vocab], targets)) / 2  # (Q,V)
        scores = shares[: len(positive)].prod(axis=0) / (
            shares[len(positive) :].prod(axis=0) + 1e-6
        )
        scores[[i for i in given if i < len(table)]] = -1
        order = np.argsort(-scores, kind="stable")[:n]
        return [(self.words[i], float(scores[i])) for i in order if scores[i] >= 0]

    def doesnt_match(self, words):
        """The word that lies farthest from the mean direction of all of them."""
        if isinstance(words, str):
            strings(words, "words")
        self._known(words)
        units = np.array([self.unit(word) for word in words])
        return words[int(np.argmin(units @ units.mean(axis=0)))]

    # -- agreement with people ---------------------------------------------------------------------------------------

    def _folded(self, restrict_vocab):
        """Lower-case word -> the first row that spells it."""
        return {
            word.casefold(): i for i, word in reversed(list(enumerate(self.words[:restrict_vocab])))
        }

    def evaluate_word_pairs(self, pairs, restrict_vocab=300_000):
        """Do cosines rank pairs of words as people do?

        pairs : (word, word, score) as data.load_similarity gives them; pairs with an unknown word are left out
        returns dict: spearman (nan for less than two pairs), pairs (covered), covered (their share)
        """
        from scipy.stats import rankdata

        rows = self._folded(restrict_vocab)
        known = [(rows.get(a.casefold()), rows.get(b.casefold()), score) for a, b, score in pairs]
        known = [each for each in known if None not in each]
        if len(known) < 2:
            return {
                "spearman": float("nan"),
                "pairs": len(known),
                "covered": len(known) / max(len(pairs), 1),
            }
        first, second = (np.array([each[i] for each in known]) for i in (0, 1))
        similar = (self.table[first] * self.table[second]).sum(axis=1) / (
            self.lengths[first] * self.lengths[second]
        )
        spearman = np.corrcoef(rankdata(similar), rankdata([score for *_, score in known]))[0, 1]
        return {
            "spearman": float(spearman),
            "pairs": len(known),
            "covered": len(known) / len(pairs),
        }

    def evaluate_word_analogies(self, questions, restrict_vocab=300_000, unknown_is_wrong=False):
        """a is to b as c is to d: how often is d the word nearest to b − a + c that is none of the three?

        questions : (section, a, b, c, d) as data.load_analogies gives them, spelled in any case
        unknown_is_wrong : count questions with an unknown word as answered wrongly, instead of leaving them out
        returns dict: accuracy, correct, questions (counted), covered (share of questions whose words are known),
        sections {name: {"correct", "questions"}}
        """
        rows = self._folded(restrict_vocab)
        asked = [
            (section, [rows.get(word.casefold()) for word in words])
            for section, *words in questions
        ]
        known = [(section, ids) for section, ids in asked if None not in ids]
        sections = defaultdict(lambda: {"correct": 0, "questions": 0})
        for section, _ in asked if unknown_is_wrong else known:
            sections[section]["questions"] += 1
        first_rows = np.array(sorted(rows.values()))
        unit = self.table[first_rows] / self.lengths[first_rows, None]
        place = {row: i for i, row in enumerate(first_rows.tolist())}
        for begin in range(0, len(known), QUESTIONS):
            part = known[begin : begin + QUESTIONS]
            a, b, c, d = np.array([[place[i] for i in ids] for _, ids in part]).T
            scores = (unit[b] - unit[a] + unit[c]) @ unit.T  # (Q,V)
            scores[np.arange(len(part)), np.stack([a, b, c])] = -np.inf
            for (section, _), right in zip(part, scores.argmax(axis=1) == d, strict=True):
                sections[section]["correct"] += int(right)
        correct, counted = (
            sum(s[key] for s in sections.values()) for key in ("correct", "questions")
        )
        return {
            "accuracy": correct / counted if counted else float("nan"),
            "correct": correct,
            "questions": counted,
            "covered": len(known) / max(len(asked), 1),
            "sections": dict(sections),
        }
