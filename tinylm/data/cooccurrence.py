"""Count how often words stand near each other: a matrix, as a shuffled list of its non-zero cells.

The text "the sea the sea" with a window of 1, to the left only:

    row  column  count
    sea  the     2          sea stands after the, twice
    the  sea     1

Cells that do not fit a given memory are shuffled through files.
"""

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from tinylm import kernels
from tinylm.errors import DataError
from tinylm.settings import Config, at_least

from .documents import Corpus

CELL = np.dtype([("row", "<i4"), ("column", "<i4"), ("count", "<f4")])
MOST_FILES = 64  # the most files through which cells are shuffled
BLOCK = 2**22  # the most cells that are counted at once, unless a single row holds more


@dataclass(frozen=True)
class Window(Config):
    """The neighbourhood in which two words count as standing together.

    size : words to either side
    symmetric : count both sides, or only the left
    weighted : count a word at distance d as 1/d, or as 1
    """

    ranges = {"size": at_least(1, 1_000_000)}
    size: int = 15
    symmetric: bool = True
    weighted: bool = True


def cooccurrences(corpus: Corpus, window: Window, memory: int = 2**32, seed: int = 0) -> np.ndarray:
    """All non-zero cells of the matrix, shuffled, so that training does not meet them word by word.

    Special tokens vanish before distances are measured. Windows never leave a document.

    memory : bytes to use. Shuffling takes three times the size of the cells; if the corpus might
        need more than this, the cells go through files
    returns (M,) array of CELL: row (the word), column (its neighbour), count; a large one is mapped
        from a nameless file
    raises DataError        if no two words stand together

    >>> corpus = Corpus(np.array([0, 1, 0, 1]), np.array([0, 4]), 2, words=4, characters=15)
    >>> sorted(cooccurrences(corpus, Window(1, symmetric=False)).tolist())
    [(0, 1, 1.0), (1, 0, 2.0)]
    """
    rng = np.random.default_rng([seed, 10])
    counter = _Counter(corpus, window)
    parts = _files(counter.most_cells(), memory)
    if parts > 1:
        cells = _through_files(counter.blocks(), parts, rng)
    else:
        cells = np.concatenate([np.empty(0, CELL), *counter.blocks()])
    if not cells.size:
        raise DataError(
            "No two words that the vocabulary knows stand together in the text; give more text."
        )
    return cells if parts > 1 else cells[rng.permutation(cells.size)]


def _files(most: int, memory: float) -> int:
    """How many parts `most` cells need so that each part fits the memory; at most MOST_FILES."""
    needed = 3 * most * CELL.itemsize  # the cells, their order and their shuffled copy
    parts = -(-needed // max(memory, 1))  # rounded up
    return int(min(parts, MOST_FILES))


def _through_files(
    blocks: Iterator[np.ndarray], parts: int, rng: np.random.Generator
) -> np.ndarray:
    """Shuffle cells that do not fit the memory.

    Each cell goes to one of `parts` files, drawn at random. Then each file, which does fit the
    memory, is shuffled and appended to the result.
    """
    with contextlib.ExitStack() as stack:

        def nameless() -> BinaryIO:
            return stack.enter_context(tempfile.TemporaryFile())

        whole = nameless()
        piles = [nameless() for _ in range(parts)]
        for block in blocks:
            _deal(block, piles, rng)
        for file in piles:
            file.seek(0)
            cells = np.frombuffer(file.read(), CELL)
            shuffled = cells[rng.permutation(cells.size)]
            whole.write(shuffled.tobytes())
            file.truncate(0)
        whole.flush()
        size = whole.tell() // CELL.itemsize
        if not size:
            return np.empty(0, CELL)
        return np.memmap(whole, CELL, "r", shape=(size,))


def _deal(block: np.ndarray, piles: list[BinaryIO], rng: np.random.Generator) -> None:
    """Append each cell of a block to a random pile."""
    pile_of = rng.integers(len(piles), size=block.size)
    by_pile = np.argsort(pile_of, kind="stable")
    sizes = np.bincount(pile_of, minlength=len(piles))
    ends = np.cumsum(sizes)
    for file, cells in zip(piles, np.split(by_pile, ends[:-1]), strict=True):
        file.write(block[cells].tobytes())


class _Counter:
    """Counts the cells of a corpus, some rows of the matrix at a time."""

    def __init__(self, corpus: Corpus, window: Window):
        is_word = ~np.isin(corpus.ids, corpus.special_ids)
        documents = np.arange(len(corpus.starts) - 1)
        document_of = np.repeat(documents, np.diff(corpus.starts))
        self.window = window
        self.vocab_size = corpus.vocab_size
        self.ids = corpus.ids[is_word].astype(np.int64)
        self.document_of = document_of[is_word]
        self.uses = np.bincount(self.ids, minlength=corpus.vocab_size)
        neighbours = self.uses * window.size * (1 + window.symmetric)
        self.row_sizes = np.minimum(neighbours, corpus.vocab_size)  # the most cells of each row

    def most_cells(self) -> int:
        """The most cells that the matrix can have."""
        return int(self.row_sizes.sum())

    def blocks(self) -> Iterator[np.ndarray]:
        """The cells, row after row, in arrays of about BLOCK."""
        distances = np.arange(1, self.window.size + 1)
        weights = 1 / distances if self.window.weighted else np.ones(self.window.size)
        places = np.argsort(self.ids, kind="stable")
        places_begin = _sums(self.uses)
        rows_begin = _sums(self.row_sizes)
        first = 0
        while first < self.vocab_size:
            full = rows_begin[first] + BLOCK
            last = int(np.searchsorted(rows_begin, full, "right")) - 1
            last = max(last, first + 1)
            room = rows_begin[first : last + 1] - rows_begin[first]
            counts = np.empty(room[-1], np.float32)
            columns = np.empty(room[-1], np.int64)
            lengths = np.empty(last - first, np.int64)
            kernels.cooccurrence(
                counts,
                columns,
                lengths,
                self.ids,
                self.document_of,
                places,
                places_begin[first : last + 1],
                room,
                weights,
                int(self.window.symmetric),
                self.vocab_size,
            )
            yield _cells(first, counts, columns, lengths, room)
            first = last


def _sums(sizes: np.ndarray) -> np.ndarray:
    """Where each of some runs begins, and where the last one ends: [2, 3] -> [0, 2, 5]."""
    return np.concatenate([[0], np.cumsum(sizes)])


def _cells(
    first_row: int, counts: np.ndarray, columns: np.ndarray, lengths: np.ndarray, room: np.ndarray
) -> np.ndarray:
    """An array of CELL from the kernel's output.

    The kernel writes each part of some rows where the part would begin if all rows were full. Here
    the gaps between the parts are closed.
    """
    ends = _sums(lengths)
    cells = np.empty(ends[-1], CELL)
    rows = np.arange(first_row, first_row + lengths.size)
    cells["row"] = np.repeat(rows, lengths)
    for first, last in kernels.row_parts(room):
        begin = ends[first]
        end = ends[last]
        source = slice(room[first], room[first] + end - begin)
        cells["column"][begin:end] = columns[source]
        cells["count"][begin:end] = counts[source]
    return cells
