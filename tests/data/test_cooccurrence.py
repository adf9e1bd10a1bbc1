"""Co-occurrences: every pair within a window and a line counts by its distance, once, wherever the cells are shuffled."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm.data import Corpus, cooccurrence
from tinylm.data.cooccurrence import Window, cooccurrences
from tinylm.errors import DataError


def corpus(ids, starts, vocab_size, special_ids=(0, 1)):
    return Corpus(
        np.array(ids, np.int32),
        np.array(starts, np.int64),
        vocab_size,
        len(ids),
        5 * len(ids),
        special_ids,
    )


def plainly(text, window):
    """The matrix by two loops over the text."""
    matrix = np.zeros((text.vocab_size, text.vocab_size))
    for first, last in zip(text.starts[:-1], text.starts[1:], strict=True):
        line = [
            word for word in text.ids[first:last] if word not in text.special_ids
        ]  # unknown words take no distance
        for i, word in enumerate(line):
            for d in range(1, min(window.size, i) + 1):
                amount = 1 / d if window.weighted else 1
                matrix[word, line[i - d]] += amount
                if window.symmetric:
                    matrix[line[i - d], word] += amount
    return matrix


def dense(cells, vocab_size):
    """Cells as a matrix; none may come twice."""
    matrix = np.zeros((vocab_size, vocab_size))
    matrix[cells["row"], cells["column"]] = cells["count"]
    assert np.count_nonzero(matrix) == cells.size
    return matrix


@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.integers(1, 7),
    symmetric=st.booleans(),
    weighted=st.booleans(),
    memory=st.sampled_from((1, 500, 2**30)),
    block=st.sampled_from((1, 31, 2**22)),
)
def test_the_matrix_is_that_of_two_plain_loops(seed, size, symmetric, weighted, memory, block):
    rng, window = np.random.default_rng(seed), Window(size, symmetric, weighted)
    ids = np.minimum(rng.geometric(0.15, 211), 22)
    text = corpus(ids, np.append(np.sort(np.append(0, rng.integers(0, 211, 5))), 211), 23)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cooccurrence, "BLOCK", block)
        cells = cooccurrences(text, window, memory)
    np.testing.assert_allclose(dense(cells, 23), plainly(text, window), rtol=1e-6)


def test_cells_are_shuffled_in_memory_and_on_the_disk():
    text = corpus(np.random.default_rng(0).integers(3, 103, 5003), [0, 5003], 103)
    for memory in (2**30, 20_000):
        cells = cooccurrences(text, Window(3), memory)
        place = np.arange(cells.size)
        assert abs(np.corrcoef(place, cells["row"])[0, 1]) < 5 / cells.size**0.5
        assert abs(np.corrcoef(place, cells["column"])[0, 1]) < 5 / cells.size**0.5
        assert isinstance(cells, np.memmap) == (memory < 2**30)


def test_a_text_without_pairs_is_one_sentence():
    with pytest.raises(DataError, match="No two words"):
        cooccurrences(corpus([3, 4, 5], [0, 1, 2, 3], 6), Window())
    with pytest.raises(DataError, match="No two words"):
        cooccurrences(corpus([0, 1, 5], [0, 3], 6, (0, 1, 2)), Window(), memory=1)
