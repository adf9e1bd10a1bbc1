"""Laws of a model with more kinds of tokens: old tokens keep what they were, for every chapter."""

from dataclasses import replace

import numpy as np
import pytest
from chapters import V, made

from tinylm.errors import TinylmError
from tinylm.objectives import find
from tinylm.objectives.inherit import grown, with_tokens
from tinylm.objectives.registry import CHAPTERS

MORE = 17


@pytest.mark.parametrize("name", CHAPTERS)
def test_old_tokens_keep_their_vectors(name):
    model = made(name)
    larger = with_tokens(model, MORE, np.random.default_rng(5))
    larger.spell([f"word{i}" for i in range(MORE)])
    assert larger.config == replace(model.config, vocab_size=MORE)
    np.testing.assert_allclose(larger.embedding_table()[:V], model.embedding_table(), rtol=1e-6)
    assert larger.embedding_table().shape[0] == MORE


@pytest.mark.parametrize("name", ["ulmfit", "gpt1", "gpt"])
def test_texts_of_old_tokens_keep_their_states_and_logits(name):
    model = made(name)
    larger = with_tokens(model, MORE, np.random.default_rng(5))
    text = np.random.default_rng(0).integers(0, V, (2, 7))
    for before, after in zip(model.encode(text), larger.encode(text), strict=True):
        assert np.array_equal(before.data, after.data)
    assert np.array_equal(model.logits(text).data, larger.logits(text).data[..., :V])


@pytest.mark.parametrize("name", CHAPTERS)
def test_the_rows_of_new_tokens_are_those_of_a_new_model(name):
    if find(name).mean_rows:
        return  # the next test
    larger = with_tokens(made(name), MORE, np.random.default_rng(5))
    fresh = type(larger)(larger.config, np.random.default_rng(5))
    for old, new in zip(fresh.parameters(), larger.parameters(), strict=True):
        if old.shape[0] == MORE:
            assert np.array_equal(old.data[V:], new.data[V:])


@pytest.mark.parametrize("name", [name for name in CHAPTERS if find(name).mean_rows])
def test_the_rows_of_new_tokens_are_the_mean_of_the_old_ones(name):
    model = made(name)
    larger = with_tokens(model, MORE, np.random.default_rng(5))
    seen = 0
    for old, new in zip(model.parameters(), larger.parameters(), strict=True):
        if old.shape != new.shape:
            means = old.data.mean(axis=0)
            np.testing.assert_allclose(new.data[V:], np.array([means] * (MORE - V)), atol=1e-6)
            seen += 1
    assert seen == 2  # vectors and biases


def test_entries_behind_the_tokens_stay_behind_them_along_any_axis():
    old = np.arange(10).reshape(2, 5)  # three tokens, two others
    fresh = -1 - np.arange(16).reshape(2, 8)
    result = grown(old, fresh, n_tokens=3, axis=1)
    assert result.tolist() == [[0, 1, 2, -4, -5, -6, 3, 4], [5, 6, 7, -12, -13, -14, 8, 9]]


def test_a_tree_over_the_vocabulary_cannot_take_more_tokens():
    chapter = find("word2vec")
    model = chapter(chapter.Config.tiny(V, size=5, hs=True))
    with pytest.raises(TinylmError, match="context cannot take 6 more tokens"):
        with_tokens(model, MORE, np.random.default_rng(0))
