"""Character n-grams: which pieces a word has, and where they live."""

import numpy as np
import pytest
from costs import cost_at_most
from hypothesis import given
from hypothesis import strategies as st

from tinylm import Vectors
from tinylm.errors import ArgumentError, ShapeError, VocabularyError
from tinylm.memory import at_most
from tinylm.vectors import NGrams, Subwords, ngrams
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
    grams, words = NGrams(2, 3, 7), ["<unk>", "ab", "b"]
    bags = grams.bags(words, special_ids=(0,))
    rows = [bags[bags[w] : bags[w + 1]].tolist() for w in range(3)]
    assert rows == [
        [0],
        [1, *(3 + row for row in grams.rows("ab"))],
        [2, *(3 + row for row in grams.rows("b"))],
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


WORD = st.text(
    st.sampled_from("ab<>ß\u20ac\U0001f600\0") | st.characters(exclude_categories=()), max_size=9
)


@given(
    words=st.lists(WORD, max_size=7),
    minn=st.integers(1, 5),
    more=st.integers(-1, 13),
    bucket=st.sampled_from([1, 7, 1009, 2**26, 2**40, 10**30]),
    places=st.sampled_from([1, 5, 2**16]),
)
def test_bags_hold_the_rows_that_the_definition_gives(words, minn, more, bucket, places):
    grams = NGrams(minn, max(minn + more, 0), bucket)
    special = range(0, len(words), 3)
    before = ngrams.PLACES
    ngrams.PLACES = places
    try:
        bags = grams.bags(words, special)
    finally:
        ngrams.PLACES = before
    found = [bags[bags[w] : bags[w + 1]].tolist() for w in range(len(words))]
    expected = []
    for w, word in enumerate(words):
        pieces = [] if w in special else grams.rows(word)
        expected.append([w, *(len(words) + row for row in pieces)])
    assert found == expected


def test_pieces_cost_as_much_as_the_words_are_long():
    def bags(n):
        NGrams(1, 32, 101).bags(["ab" * (n // 2), *(["abcde"] * (n // 10))])

    cost_at_most(3, lambda: bags(100_000), lambda: bags(200_000))


def test_pieces_beyond_what_a_file_justifies_are_refused_before_they_are_listed():
    with at_most(10_000), pytest.raises(ArgumentError, match="list of all pieces of the words"):
        NGrams(1, 10**9, 101).bags(["ab" * 10**6])


def test_the_mean_of_very_many_rows_is_their_mean():
    bags = NGrams(1, 32, 101).bags(["abc" * 500, "ab"])
    table = np.random.default_rng(0).normal(size=(103, 5))
    rows = [bags[bags[w] : bags[w + 1]] for w in range(2)]
    assert rows[0].size > 3 * ngrams.MOST_ROWS
    expected = [table[part].mean(axis=0) for part in rows]
    np.testing.assert_allclose(ngrams.bag_means(table, bags), expected, rtol=1e-12)


@pytest.mark.peer
def test_rows_are_those_of_gensims_fasttext():
    from gensim.models.fasttext_inner import compute_ngrams_bytes, ft_hash_bytes

    for word in ("where", "größe", "a", "naïveté", "日本語", "x<y"):
        theirs = [ft_hash_bytes(piece) % 1009 for piece in compute_ngrams_bytes(word, 1, 6)]
        assert sorted(NGrams(1, 6, 1009).rows(word)) == sorted(theirs)
