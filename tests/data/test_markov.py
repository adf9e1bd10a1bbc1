"""The hidden Markov text keeps its promises: losses are exact, samples follow the tables."""

from itertools import product

import numpy as np
import pytest

from tinylm.data import encode_corpus
from tinylm.data.markov import hidden_markov
from tinylm.errors import TinylmError
from tinylm.text import Words


def test_forward_algorithm_equals_the_sum_over_all_state_paths():
    model = hidden_markov(states=3, shift=1, forward=0.6, stay=0.3)
    ids = model.sample(5, np.random.default_rng(0))
    total = 0.0
    for path in product(range(3), repeat=5):
        chance = model.start[path[0]] * model.emission[path[0], ids[0]]
        for t in range(1, 5):
            chance *= model.transition[path[t - 1], path[t]] * model.emission[path[t], ids[t]]
        total += chance
    assert model.exact_loss(ids) == pytest.approx(-np.log(total) / 5, rel=1e-12)


def test_tables_are_distributions_and_start_is_stationary():
    model = hidden_markov()
    for table in (model.transition, model.emission, model.start[None]):
        assert (table >= 0).all() and np.allclose(table.sum(axis=1), 1, rtol=0, atol=1e-12)
    assert np.allclose(model.start @ model.transition, model.start, rtol=0, atol=1e-12)


def test_samples_follow_the_tables():
    model = hidden_markov(states=5, shift=2)
    ids = model.sample(50_000, np.random.default_rng(0))
    pairs = (
        model.emission.T @ (model.start[:, None] * model.transition) @ model.emission
    )  # p(x_t, x_t+1)
    seen = np.zeros_like(pairs)
    np.add.at(seen, (ids[:-1], ids[1:]), 1 / (len(ids) - 1))
    assert np.abs(seen - pairs).max() < 5 * np.sqrt(pairs.max() / len(ids))


def test_unigram_entropy_lies_far_above_the_exact_loss_and_one_token_of_context_is_not_enough():
    model = hidden_markov()
    ids = model.sample(20_000, np.random.default_rng(0))
    text = model.text(ids)
    assert np.array_equal(model.ids(text), ids)
    unigram = encode_corpus([text], Words.train([text])).unigram_entropy()
    exact = model.exact_loss(ids)
    joint = model.emission.T @ (model.start[:, None] * model.transition) @ model.emission
    bigram = -(joint * np.log(joint / joint.sum(1, keepdims=True))).sum()
    assert unigram - exact > 0.8
    assert (unigram - bigram) / (unigram - exact) < 0.85


def test_a_window_of_64_tokens_without_memory_still_reaches_97_percent_of_the_gap():
    model = hidden_markov()
    ids = model.sample(64 * 200, np.random.default_rng(1))
    forgetful = np.mean([model.token_losses(part)[1:].mean() for part in ids.reshape(-1, 64)])
    gap = np.log(model.vocab_size) - model.exact_loss(ids)
    assert np.log(model.vocab_size) - forgetful > 0.97 * gap


def test_wrong_ids_words_and_settings_are_one_sentence():
    model = hidden_markov()
    for wrong in ([24], [-1], [[0]]):
        with pytest.raises(TinylmError, match="0 to 23"):
            model.exact_loss(np.array(wrong))
    with pytest.raises(TinylmError, match="'hello'"):
        model.ids("hello")
    with pytest.raises(TinylmError, match="chances"):
        hidden_markov(forward=0.9, stay=0.2)
    with pytest.raises(TinylmError, match="3 to 35 states"):
        hidden_markov(states=36)
