"""fastText's character n-grams: the pieces of words have vectors, so an unseen word has one too.

    pieces of `where`, 3 to 4 characters: <wh whe her ere re> <whe wher here ere>
    row of a piece = FNV-1a of its UTF-8 bytes, modulo the number of buckets

So nobody keeps a dictionary of pieces. Now and then two pieces share a row.

Source: Bojanowski et al. 2017; the released fastText, byte for byte.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tinylm.errors import ShapeError
from tinylm.memory import must_fit
from tinylm.settings import Config, at_least

from .names import to_bytes

FNV_BASIS = 2166136261
FNV_PRIME = np.uint32(16777619)
PLACES = 2**16  # at which pieces are hashed at once, fewer if there are many lengths
MOST_ROWS = 2**12  # of a table that are copied at once


def fnv1a(data: Iterable[int]) -> int:
    """The 32-bit FNV-1a hash of some bytes, with fastText's peculiarity.

    fastText sign-extends bytes from 128 on before it mixes them in.

    >>> fnv1a(b"where")
    90969176
    """
    value = FNV_BASIS
    for byte in data:
        extended = byte if byte < 128 else byte | 0xFFFFFF00
        value = (value ^ extended) * int(FNV_PRIME) & 0xFFFFFFFF
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
        texts = ["" if w in special_ids else f"<{word}>" for w, word in enumerate(words)]
        n_words = len(texts)
        sizes = 1 + self._counts(np.array([len(text) for text in texts], np.int64))
        must_fit((n_words + 1 + int(sizes.sum()),), 8, "The list of all pieces of the words")
        ends = n_words + 1 + np.cumsum([0, *sizes])
        bags = np.empty(ends[-1], np.int64)
        bags[: n_words + 1] = ends
        bags[ends[:-1]] = np.arange(n_words)
        done = n_words + 1
        for owners, rows in self._hashed(texts):
            places = done + np.arange(rows.size) + owners + 1  # behind the own rows so far
            bags[places] = n_words + rows
            done += rows.size
        return bags

    def _counts(self, lengths: np.ndarray) -> np.ndarray:
        """How many pieces texts of so many characters have, the brackets included in each.

        lengths : (V,) int64, 0 for a word that has no pieces
        """
        longest = np.minimum(self.maxn, lengths)
        kinds = np.maximum(longest - self.minn + 1, 0)  # different lengths of pieces
        counts = kinds * (lengths + 1) - kinds * (self.minn + longest) // 2
        brackets = 2 * ((self.minn == 1) & (kinds > 0))
        return counts - brackets

    def _hashed(self, texts: Sequence[str]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The rows of all pieces of some texts, those of a few thousand places at a time.

        A piece's hash goes on from that of the piece one character shorter.
        yields (F,) the number of the text that each piece belongs to, and (F,) its row
        """
        longest = min(self.maxn, max(map(len, texts), default=0))
        kinds = longest - self.minn + 1
        if kinds < 1:
            return
        lengths = np.array([len(text) for text in texts])
        owners = np.repeat(np.arange(len(texts)), lengths)
        last = np.cumsum(lengths)[owners] - 1  # (N,) the last character of the text around each
        first = last + 1 - lengths[owners]
        codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
        letters, symbols = np.unique(codes, return_inverse=True)
        units = _units(letters)
        bucket = np.uint64(min(self.bucket, 2**32))
        step = max(PLACES // kinds, 1)
        for begin in range(0, owners.size, step):
            places = np.arange(begin, min(begin + step, owners.size))
            end = last[places]
            hashes = np.full(places.size, FNV_BASIS, np.uint32)
            rows = np.empty((places.size, kinds), np.int64)
            kept = np.zeros((places.size, kinds), bool)
            for length in range(1, longest + 1):
                at = places + length - 1
                inside = at <= end
                _mix(hashes, units, symbols[np.where(inside, at, 0)], inside)
                if length == 1:
                    inside &= (places != first[places]) & (places != end)  # no bracket alone
                if length >= self.minn:
                    rows[:, length - self.minn] = hashes.astype(np.uint64) % bucket
                    kept[:, length - self.minn] = inside
            yield np.repeat(owners[places], kept.sum(axis=1)), rows[kept]


def _units(letters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The bytes of some characters as fnv1a extends them: (U, 4) uint32, and how many, (U,)."""
    spelled = [to_bytes(chr(letter)) for letter in letters]
    padded = b"".join(unit.ljust(4, b"\0") for unit in spelled)
    signed = np.frombuffer(padded, np.int8).reshape(-1, 4)
    return signed.astype(np.int32).view(np.uint32), np.array([len(unit) for unit in spelled])


def _mix(
    hashes: np.ndarray,
    units: tuple[np.ndarray, np.ndarray],
    symbols: np.ndarray,
    inside: np.ndarray,
) -> None:
    """Mix the bytes of one more character into each hash, in place.

    hashes : (N,) uint32     units : as `_units` returns them
    symbols : (N,) the characters     inside : (N,) where there is one
    """
    values, sizes = units
    for i in range(4):
        more = inside & (i < sizes[symbols])
        if not more.any():
            return
        mixed = (hashes ^ values[symbols, i]) * FNV_PRIME
        np.copyto(hashes, mixed, where=more)


def bag_means(table: np.ndarray, bags: np.ndarray) -> np.ndarray:
    """The mean of each bag's rows of a table.   (R, C) -> (V, C)

    bags : as `NGrams.bags` returns them
    """
    n_words = bags[0] - 1
    means = np.empty((n_words, table.shape[1]), table.dtype)
    for word, mean in enumerate(means):
        rows = bags[bags[word] : bags[word + 1]]
        if rows.size <= MOST_ROWS:
            table[rows].mean(axis=0, out=mean)
        else:  # of a text without spaces: its rows together might need more than the file
            parts = np.split(rows, range(MOST_ROWS, rows.size, MOST_ROWS))
            mean[:] = sum(table[part].sum(axis=0) for part in parts) / rows.size
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
