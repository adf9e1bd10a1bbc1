"""The matrix of co-occurrences of a corpus, its cells that are not zero in random order; beyond a budget, on the disk."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tinylm import kernels
from tinylm.data.documents import Corpus
from tinylm.errors import DataError
from tinylm.settings import Config, at_least

CELL = np.dtype([("row", "<i4"), ("column", "<i4"), ("count", "<f4")])
MOST_FILES = 64
BLOCK = 2**22  # cells at most that are counted in one go, unless a single row holds more


@dataclass(frozen=True)
class Window(Config):
    """What stands together.

    size : words to either side     symmetric : both sides count, or only the left
    weighted : a word at distance d counts 1/d, or 1
    """

    ranges = {"size": at_least(1, 1_000_000), "specials": at_least(0)}
    size: int = 15
    symmetric: bool = True
    weighted: bool = True


def cooccurrences(corpus: Corpus, window: Window, memory: int = 2**32, seed: int = 0) -> np.ndarray:
    """All cells of the matrix that are not zero, shuffled: AdaGrad must not meet them word by word.

    Special tokens vanish before distances are measured. Windows never leave a document.
    memory : bytes to use, thrice those of the cells; if the corpus might need more, they go
    through files
    returns (M,) array of CELL: row (the word), column (its neighbour), count; mapped from a nameless file if it is large
    raises DataError        if no two words stand together
    """
    blocks, most = _blocks(corpus, window)
    rng, parts = np.random.default_rng([seed, 10]), _files(most, memory)
    cells = (
        np.concatenate([np.empty(0, CELL), *blocks])
        if parts <= 1
        else _through_files(blocks, parts, rng)
    )
    if not cells.size:
        raise DataError(
            "No two words that the vocabulary knows stand together in the text; give more text."
        )
    return cells[rng.permutation(cells.size)] if parts <= 1 else cells


def _files(most: int, memory: float) -> int:
    """In how many parts `most` cells fit the memory: cells, their order and their shuffled copy."""
    return int(min(-(-3 * most * CELL.itemsize // max(memory, 1)), MOST_FILES))


def _through_files(
    blocks: Iterator[np.ndarray], parts: int, rng: np.random.Generator
) -> np.ndarray:
    """Shuffle more than the memory holds: every cell goes to one of so many files by chance, and each is shuffled."""
    with contextlib.ExitStack() as stack:
        whole, *piles = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(1 + parts)]
        for block in blocks:
            pile = rng.integers(parts, size=block.size)
            order, ends = (
                np.argsort(pile, kind="stable"),
                np.cumsum(np.bincount(pile, minlength=parts)),
            )
            for file, rows in zip(piles, np.split(order, ends[:-1]), strict=True):
                file.write(block[rows].tobytes())
        for file in piles:
            file.seek(0)
            cells = np.frombuffer(file.read(), CELL)
            whole.write(cells[rng.permutation(cells.size)].tobytes())
            file.truncate(0)
        whole.flush()
        size = whole.tell() // CELL.itemsize
        return np.memmap(whole, CELL, "r", shape=(size,)) if size else np.empty(0, CELL)


def _blocks(corpus: Corpus, window: Window) -> tuple[Iterator[np.ndarray], int]:
    """Cells row after row in arrays of about BLOCK, and how many there are at most."""
    real = ~np.isin(corpus.ids, corpus.special_ids)
    ids = corpus.ids[real].astype(np.int64)
    line = np.repeat(np.arange(len(corpus.starts) - 1), np.diff(corpus.starts))[real]
    uses = np.bincount(ids, minlength=corpus.vocab_size)
    most = np.minimum(
        uses * window.size * (1 + window.symmetric), corpus.vocab_size
    )  # cells of a row

    def blocks() -> Iterator[np.ndarray]:
        places = np.argsort(ids, kind="stable")
        starts, firsts = (np.concatenate([[0], np.cumsum(each)]) for each in (uses, most))
        weights = 1 / np.arange(1, window.size + 1) if window.weighted else np.ones(window.size)
        first = 0
        while first < corpus.vocab_size:
            last = max(first + 1, int(np.searchsorted(firsts, firsts[first] + BLOCK, "right")) - 1)
            room = firsts[first : last + 1] - firsts[first]
            counts, columns = np.empty(room[-1], np.float32), np.empty(room[-1], np.int64)
            lengths = np.empty(last - first, np.int64)
            kernels.cooccurrence(
                counts,
                columns,
                lengths,
                ids,
                line,
                places,
                starts[first : last + 1],
                room,
                weights,
                int(window.symmetric),
                corpus.vocab_size,
            )
            yield _packed(first, (counts, columns, lengths), room)
            first = last

    return blocks(), int(most.sum())


def _packed(
    first_row: int, found: tuple[np.ndarray, np.ndarray, np.ndarray], room: np.ndarray
) -> np.ndarray:
    """CELLs from what the kernel wrote: the parts stand where their rows would begin if all were full."""
    counts, columns, lengths = found
    ends = np.concatenate([[0], np.cumsum(lengths)])
    cells = np.empty(ends[-1], CELL)
    cells["row"] = np.repeat(np.arange(first_row, first_row + lengths.size), lengths)
    for first, last in kernels.row_parts(room):
        size = ends[last] - ends[first]
        cells["column"][ends[first] : ends[last]] = columns[room[first] : room[first] + size]
        cells["count"][ends[first] : ends[last]] = counts[room[first] : room[first] + size]
    return cells
