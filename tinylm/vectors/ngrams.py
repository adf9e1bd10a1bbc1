"""fastText's character n-grams: a word is also what its pieces are, so a word never seen has a vector.

    pieces of `where`, 3 to 4 characters: <wh whe her ere re> <whe wher here ere>
    row of a piece = FNV-1a of its UTF-8 bytes, modulo the number of buckets: no dictionary, now and then two share a row

Source: Bojanowski et al. 2017; the released fastText, byte for byte.
"""

from dataclasses import dataclass

import numpy as np

from tinylm.errors import ShapeError
from tinylm.settings import Config, at_least
from tinylm.vectors.names import to_bytes


def fnv1a(data):
    """The 32-bit FNV-1a hash of some bytes as fastText has it: bytes from 128 on are sign-extended before they are mixed."""
    value = 2166136261
    for byte in data:
        value = (value ^ (byte if byte < 128 else byte | 0xFFFFFF00)) * 16777619 & 0xFFFFFFFF
    return value


@dataclass(frozen=True)
class NGrams(Config):
    """Which pieces a word has and where they live.   minn, maxn : lengths in characters     bucket : rows for all pieces"""

    ranges = {"minn": at_least(1), "maxn": at_least(0), "bucket": at_least(1)}
    minn: int = 3
    maxn: int = 6
    bucket: int = 2_000_000

    def pieces(self, word):
        """The pieces of <word>, place after place, at each the shortest first; a bracket alone is none."""
        spelled = f"<{word}>"
        last = len(spelled)
        spans = [
            (first, end)
            for first in range(last)
            for end in range(first + self.minn, min(first + self.maxn, last) + 1)
        ]
        return [
            spelled[first:end]
            for first, end in spans
            if (first, end) not in ((0, 1), (last - 1, last))
        ]

    def rows(self, word):
        """The row of each piece in 0 … bucket − 1, a list."""
        return [fnv1a(to_bytes(piece)) % self.bucket for piece in self.pieces(word)]

    def bags(self, words, special_ids=()):
        """Every word as a bag of rows of a table with one row per word, then the buckets.

        words : V strings     special_ids : words that have no pieces
        returns (V + 1 + F,) int64: word w is the rows bags[bags[w]:bags[w + 1]], its own one first
        """
        rows = [
            [w] if w in special_ids else [w, *(len(words) + r for r in self.rows(word))]
            for w, word in enumerate(words)
        ]
        ends = len(words) + 1 + np.cumsum([0, *map(len, rows)])
        return np.concatenate([ends, *rows])


def bag_means(table, bags):
    """The mean of each bag's rows: table (R, C), bags of V words -> (V, C)."""
    means = np.empty((bags[0] - 1, table.shape[1]), table.dtype)
    for word, mean in enumerate(means):
        table[bags[bags[word] : bags[word + 1]]].mean(axis=0, out=mean)
    return means


class Subwords:
    """Vectors for words that were never seen: the mean of their pieces' rows.

    ngrams : NGrams     table : (bucket, D)     raises ShapeError  if the table has another number of rows
    """

    def __init__(self, ngrams, table):
        if np.ndim(table) != 2 or len(table) != ngrams.bucket:
            raise ShapeError(
                f"Subwords: the table {np.shape(table)} does not fit; expected ({ngrams.bucket}, D)."
            )
        self.ngrams, self.table = ngrams, table

    def __contains__(self, word):
        return bool(self.ngrams.pieces(word))

    def __getitem__(self, word):
        """The vector (D,) of a word that has pieces."""
        return self.table[self.ngrams.rows(word)].mean(axis=0)
