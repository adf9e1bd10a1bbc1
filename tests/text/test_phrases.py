"""Phrases: the published score, greedy joining from left to right, several passes, and an encoding that keeps them."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm import text
from tinylm.errors import DataError
from tinylm.text import Words
from tinylm.text.phrases import join, learn_pairs, learn_passes


def city_texts(n=400):
    """Sentences of random words in which "san" and "francisco" always stand together, "bay" often behind them."""
    rng = np.random.default_rng(0)
    common = [f"w{i}" for i in range(50)]
    lines = []
    for i in range(n):
        words = list(rng.choice(common, 12))
        if i % 20 == 0:
            words[4:4] = ["san", "francisco", "bay"]
        lines.append(" ".join(words))
    return lines


@given(
    st.lists(st.lists(st.sampled_from("abcd"), max_size=9), max_size=9),
    st.integers(1, 3),
    st.sampled_from((0.5, 1, 2)),
)
def test_the_score_is_the_published_one(texts, least, threshold):
    words, pairs = Counter(), Counter()
    for line in texts:
        words.update(line)
        pairs.update((line[i], line[i + 1]) for i in range(len(line) - 1))
    expected = {
        pair
        for pair, n in pairs.items()
        if n >= least
        and min(words[w] for w in pair) >= least
        and (n - least) / words[pair[0]] / words[pair[1]] * sum(words.values())
        > threshold * (1 + 1e-9)
    }
    found = learn_pairs(texts, least, threshold)
    assert expected <= found and len(found - expected) <= sum(
        abs((n - least) / words[a] / words[b] * sum(words.values()) - threshold) < 1e-6
        for (a, b), n in pairs.items()
    )


def test_words_are_joined_greedily_and_a_phrase_grows_once_per_pass():
    pairs = frozenset({("a", "b"), ("b", "c"), ("a_b", "c"), ("c", "c")})
    assert join("a b c".split(), [pairs]) == [("a_b", 2), ("c", 1)]
    assert join("a b c".split(), [pairs, pairs]) == [("a_b_c", 3)]
    assert join("c c c".split(), [pairs]) == [("c_c", 2), ("c", 1)]
    assert join([], [pairs]) == []


def test_two_passes_find_a_phrase_of_three_words():
    lines = [line.split() for line in city_texts()]
    passes = learn_passes(lines, 2)
    assert ("san", "francisco") in passes[0] and not any("w" in a + b for a, b in passes[0])
    assert "san_francisco_bay" in {word for word, _ in join(lines[0], passes)}


def test_an_encoding_with_phrases_keeps_them_and_knows_where_they_stand(tmp_path):
    words = text.learn("words", city_texts(), None, min_count=5, phrases=2)
    assert "san_francisco_bay" in words.vocab and "w1" in words.vocab
    line = "w1 san  francisco bay w2"
    assert words.tokens(line) == ["w1", "san_francisco_bay", "w2"]
    assert [line[a:b] for a, b in words.offsets(line)] == ["w1", "san  francisco bay", "w2"]
    assert words.offsets("") == [] and words.encode("") == []
    words.save(tmp_path)
    again = Words.load(tmp_path)
    assert again.vocab == words.vocab and again.encode(line) == words.encode(line)
    (tmp_path / "words.json").write_text('{"type": "words", "vocab": ["a"], "phrases": [[["a"]]]}')
    with pytest.raises(DataError, match="pairs of words"):
        Words.load(tmp_path)
