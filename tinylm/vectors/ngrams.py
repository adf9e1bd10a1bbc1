"""fastText's character n-grams: the pieces of words have vectors, so an unseen word has one too.

    pieces of `where`, 3 to 4 characters: <wh whe her ere re> <whe wher here ere>
    row of a piece = FNV-1a of its UTF-8 bytes, modulo the number of buckets

So nobody keeps a dictionary of pieces. Now and then two pieces share a row.

Source: Bojanowski et al. 2017; the released fastText, byte for byte.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tinylm.errors import ShapeError
from tinylm.settings import Config, at_least

from .names import to_bytes


def fnv1a(data: Iterable[int]) -> int:
    """The 32-bit FNV-1a hash of some bytes, with fastText's peculiarity.

    fastText sign-extends bytes from 128 on before it mixes them in.

    >>> fnv1a(b"where")
    90969176
    """
    value = 2166136261
    for byte in data:
        extended = byte if byte < 128 else byte | 0xFFFFFF00
        value = (value ^ extended) * 16777619 & 0xFFFFFFFF
    return value


@dataclass(frozen=True)
class NGrams(Config):
    """The pieces of a word and their rows in a table.

    minn, maxn : the shortest and the longest piece, in characters
    bucket : rows for all pieces
    """

    ranges = {"minn": at_least(1), "maxn": at_least(0), "bucket": at_least(1)}
    minn: int = 3
    maxn: int = 6
    bucket: int = 2_000_000

    def pieces(self, word: str) -> list[str]:
        """The pieces of <word>, by place, then by length. A bracket alone is no piece.

        >>> NGrams(minn=3, maxn=4).pieces("sea")
        ['<se', '<sea', 'sea', 'sea>', 'ea>']
        """
        spelled = f"<{word}>"
        last = len(spelled)
        found = []
        for begin in range(last):
            longest = min(begin + self.maxn, last)
            for end in range(begin + self.minn, longest + 1):
                is_bracket = end - begin == 1 and begin in (0, last - 1)
                if not is_bracket:
                    found.append(spelled[begin:end])
        return found

    def rows(self, word: str) -> list[int]:
        """The row of each piece, 0 to bucket − 1."""
        return [fnv1a(to_bytes(piece)) % self.bucket for piece in self.pieces(word)]

    def bags(self, words: Sequence[str], special_ids: Collection[int] = ()) -> np.ndarray:
        """Every word as a bag of rows, for a table with one row per word and then the buckets.

        words : V strings
        special_ids : words that have no pieces
        returns (V + 1 + F,) int64: word w has the rows bags[bags[w]:bags[w + 1]], its own one first

        >>> bags = NGrams(minn=3, maxn=3, bucket=10).bags(["sea", "it"])
        >>> bags[bags[0] : bags[1]].tolist()
        [0, 7, 2, 7]
        """
        rows = []
        for w, word in enumerate(words):
            pieces = [] if w in special_ids else self.rows(word)
            rows.append([w, *(len(words) + piece for piece in pieces)])
        sizes = [len(bag) for bag in rows]
        ends = len(words) + 1 + np.cumsum([0, *sizes])
        return np.concatenate([ends, *rows])


def bag_means(table: np.ndarray, bags: np.ndarray) -> np.ndarray:
    """The mean of each bag's rows of a table.   (R, C) -> (V, C)

    bags : as `NGrams.bags` returns them
    """
    n_words = bags[0] - 1
    means = np.empty((n_words, table.shape[1]), table.dtype)
    for word, mean in enumerate(means):
        rows = bags[bags[word] : bags[word + 1]]
        table[rows].mean(axis=0, out=mean)
    return means


class Subwords:
    """Vectors for unseen words: the mean of the rows of their pieces.

    ngrams : NGrams
    table : (bucket, D)
    raises ShapeError       if the table has another number of rows

    >>> table = np.arange(10.0)[:, None]
    >>> Subwords(NGrams(minn=3, maxn=3, bucket=10), table)["sea"]  # rows 5, 0 and 5
    array([3.33333333])
    """

    def __init__(self, ngrams: NGrams, table: np.ndarray):
        if np.ndim(table) != 2 or len(table) != ngrams.bucket:
            shape = np.shape(table)
            raise ShapeError(
                f"Subwords: the table {shape} does not fit; expected ({ngrams.bucket}, D)."
            )
        self.ngrams = ngrams
        self.table = table

    def __contains__(self, word: str) -> bool:
        """Whether a word has pieces."""
        return bool(self.ngrams.pieces(word))

    def __getitem__(self, word: str) -> np.ndarray:
        """The vector (D,) of a word that has pieces."""
        return self.table[self.ngrams.rows(word)].mean(axis=0)


class AnyWord:
    """Vectors for all words, by a function of the spelling.

    read : word -> (D,)

    >>> AnyWord(lambda word: np.array([len(word)]))["sea"]
    array([3])
    """

    def __init__(self, read: Callable[[str], np.ndarray]):
        self.read = read

    def __contains__(self, word: str) -> bool:
        """Whether there is a word at all."""
        return bool(word)

    def __getitem__(self, word: str) -> np.ndarray:
        """The vector (D,) of a word."""
        return self.read(word)
