"""Character n-grams: which pieces a word has, and where they live."""

import numpy as np
import pytest

from tinylm import Vectors
from tinylm.errors import ShapeError, VocabularyError
from tinylm.vectors import NGrams, Subwords
from tinylm.vectors.ngrams import fnv1a


def test_the_pieces_of_where_are_those_of_the_paper():
    pieces = NGrams(3, 4).pieces("where")
    assert sorted(pieces) == sorted("<wh whe her ere re> <whe wher here ere>".split())
    assert NGrams(1, 2).pieces("aß") == [
        "<a",
        "a",
        "aß",
        "ß",
        "ß>",
    ]  # characters, not bytes; a bracket alone is none
    assert NGrams(3, 6).pieces("") == [] and NGrams(3, 6).pieces("a") == ["<a>"]


def test_the_hash_is_fnv1a_on_letters_and_sign_extends_other_bytes():
    assert (
        fnv1a(b"") == 0x811C9DC5 and fnv1a(b"a") == 0xE40C292C and fnv1a(b"foobar") == 0xBF9CF968
    )  # the published values
    assert fnv1a(b"\xff") == ((0x811C9DC5 ^ 0xFFFFFFFF) * 16777619) % 2**32


def test_a_bag_is_the_words_own_row_and_its_pieces_behind_all_words():
    ngrams, words = NGrams(2, 3, 7), ["<unk>", "ab", "b"]
    bags = ngrams.bags(words, special_ids=(0,))
    rows = [bags[bags[w] : bags[w + 1]].tolist() for w in range(3)]
    assert rows == [
        [0],
        [1, *(3 + row for row in ngrams.rows("ab"))],
        [2, *(3 + row for row in ngrams.rows("b"))],
    ]


def test_unseen_words_have_vectors_and_those_without_pieces_none():
    table, pieces = np.eye(2, 5), np.random.default_rng(0).normal(size=(11, 5))
    vectors = Vectors(["ab", "cd"], table, Subwords(NGrams(4, 5, 11), pieces))
    np.testing.assert_allclose(vectors["abcd"], pieces[NGrams(4, 5, 11).rows("abcd")].mean(axis=0))
    assert (vectors["ab"] == table[0]).all() and len(vectors.most_similar("abcd", ["cd"])) == 1
    assert vectors.doesnt_match(["ab", "ab", "abcd"]) == "abcd"
    with pytest.raises(VocabularyError, match="'x' is not one"):
        vectors.most_similar("x")
    with pytest.raises(ShapeError, match="expected \\(11, D\\)"):
        Subwords(NGrams(4, 5, 11), pieces[:3])


@pytest.mark.peer
def test_rows_are_those_of_gensims_fasttext():
    from gensim.models.fasttext_inner import compute_ngrams_bytes, ft_hash_bytes

    for word in ("where", "größe", "a", "naïveté", "日本語", "x<y"):
        theirs = [ft_hash_bytes(piece) % 1009 for piece in compute_ngrams_bytes(word, 1, 6)]
        assert sorted(NGrams(1, 6, 1009).rows(word)) == sorted(theirs)
