"""Sentences: no specials, cut at a length, every one once in each epoch."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm.data import Corpus
from tinylm.data.sentences import Sentences
from tinylm.errors import TinylmError


def corpus(documents, special_ids=(0, 1, 2)):
    """A Corpus of lists of ids below 10."""
    ids = np.array(sum(documents, []), np.int32)
    starts = np.cumsum([0, *map(len, documents)])
    return Corpus(ids, starts, 10, len(ids), 5 * len(ids), special_ids)


documents = st.lists(st.lists(st.integers(0, 9), max_size=13), min_size=1, max_size=7)


@given(documents, st.integers(1, 5))
def test_sentences_are_the_documents_without_specials_cut_at_their_length(texts, most):
    expected = []
    for text in texts:
        words = [word for word in text if word > 2]
        expected += [words[first : first + most] for first in range(0, len(words), most)]
    if not expected:
        with pytest.raises(TinylmError, match="no word that the vocabulary knows"):
            Sentences(corpus(texts), most)
        return
    sentences = Sentences(corpus(texts), most)
    bounds = zip(sentences.starts[:-1], sentences.starts[1:], strict=True)
    assert [sentences.ids[first:last].tolist() for first, last in bounds] == expected
    assert sentences.counts(10).tolist() == np.bincount(sum(expected, []), minlength=10).tolist()


@given(documents, st.integers(1, 4), st.integers(0, 3))
def test_the_parts_of_an_epoch_hold_every_sentence_once(texts, parts, epoch):
    texts = [*texts, [3, 4, 5]]
    sentences = Sentences(corpus(texts), 3)
    found = []
    for part in range(parts):
        ids, begins = sentences.part(epoch, part, parts, seed=7)
        found += [each.tolist() for each in np.split(ids, np.flatnonzero(begins)[1:])]
    whole, begins = sentences.take(np.arange(sentences.starts.size - 1))
    expected = [each.tolist() for each in np.split(whole, np.flatnonzero(begins)[1:])]
    assert sorted(each for each in found if each) == sorted(expected)


def test_cuts_share_the_words_out():
    sentences = Sentences(corpus([[3, 4]] * 6), 1000)
    assert sentences.cuts(3).tolist() == [0, 2, 4, 6]
