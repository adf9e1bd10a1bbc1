"""The toy language keeps its promises: labels are true, losses are exact, the same seed gives the same text."""

from itertools import product

import numpy as np
import pytest

from tinylm.data import encode_corpus, load_labelled, load_tagged, load_texts, toy
from tinylm.errors import TinylmError
from tinylm.text import Words

LANGUAGE = toy.Language()


def test_same_seed_same_text_other_seed_other_text():
    assert toy.documents(5, 1) == toy.documents(5, 1) != toy.documents(5, 2)
    assert toy.Language(1).lexicon != LANGUAGE.lexicon
    assert len(load_texts("toy")) == 3000 and load_texts("toy") == load_labelled("toy").texts


def test_no_word_has_two_meanings():
    words = [w for part in LANGUAGE.lexicon.values() for w in part] + [
        w for f in LANGUAGE.feeling.values() for w in f
    ]
    words += [
        w for names in (LANGUAGE.first_names, LANGUAGE.last_names, LANGUAGE.places) for w in names
    ]
    assert len(set(words)) == len(words)


def test_topic_and_sentiment_are_readable_from_the_words():
    rng = np.random.default_rng(0)
    for topic, sentiment in product(toy.TOPICS, toy.FEELINGS):
        sentences = [LANGUAGE.sentence(rng, topic, sentiment) for _ in range(200)]
        own = {w for part in ("noun", "verb") for w in LANGUAGE.lexicon[topic, part]}
        topical = np.mean([len(own & set(s.tokens)) for s in sentences]) / 2
        assert topical > 1 - toy.STRAY - 0.05
        for s in sentences:
            feeling = next(f for f in toy.FEELINGS if set(LANGUAGE.feeling[f]) & set(s.tokens))
            assert (feeling == sentiment) == ("not" not in s.tokens)


def test_tags_are_valid_bio_and_mark_the_names():
    for tokens, tags in toy.tagged(200):
        assert len(tokens) == len(tags)
        for i, tag in enumerate(tags):
            assert tag != "I-person" or tags[i - 1] == "B-person"
            assert (tag == "O") == (not tokens[i][0].isupper())


def test_a_rewording_keeps_the_words_and_a_difference_changes_one():
    rng, seen = np.random.default_rng(0), set()
    for _ in range(200):
        first, second, label = LANGUAGE.pair(rng)
        missing = set(second.split()) - set(first.split()) - {"was", "by"}
        assert len(missing) == (label == "different")
        seen.add(label)
    assert seen == {"same", "different"}


def test_a_translation_has_one_word_for_each_and_moves_the_feeling_behind_the_noun():
    source, target = (part.split() for part in LANGUAGE.translation(np.random.default_rng(0)))
    assert len(source) == len(target)
    assert target[-2] == LANGUAGE.foreign[source[-3]] and target[-3] == LANGUAGE.foreign[source[-2]]


def test_labels_come_in_equal_parts_and_test_texts_are_new():
    train, test = load_labelled("toy", "train"), load_labelled("toy", "test")
    assert {label: train.labels.count(label) for label in toy.TOPICS} == dict.fromkeys(
        toy.TOPICS, 500
    )
    assert len(set(train.texts) & set(test.texts)) < len(test) / 100
    assert set(load_labelled("toy-sentiment").labels) == set(toy.FEELINGS)
    assert load_tagged("toy", "train") and load_tagged("toy", "test")
    with pytest.raises(TinylmError, match="topic and sentiment"):
        toy.labelled(3, task="colour")


def test_forward_algorithm_equals_the_sum_over_all_state_paths():
    model = toy.hidden_markov(states=3, shift=1, forward=0.6, stay=0.3)
    ids = model.sample(5, np.random.default_rng(0))
    total = 0.0
    for path in product(range(3), repeat=5):
        chance = model.start[path[0]] * model.emission[path[0], ids[0]]
        for t in range(1, 5):
            chance *= model.transition[path[t - 1], path[t]] * model.emission[path[t], ids[t]]
        total += chance
    assert model.exact_loss(ids) == pytest.approx(-np.log(total) / 5, rel=1e-12)


def test_tables_are_distributions_and_start_is_stationary():
    model = toy.hidden_markov()
    for table in (model.transition, model.emission, model.start[None]):
        assert (table >= 0).all() and np.allclose(table.sum(axis=1), 1, rtol=0, atol=1e-12)
    assert np.allclose(model.start @ model.transition, model.start, rtol=0, atol=1e-12)


def test_samples_follow_the_tables():
    model = toy.hidden_markov(states=5, shift=2)
    ids = model.sample(50_000, np.random.default_rng(0))
    pairs = (
        model.emission.T @ (model.start[:, None] * model.transition) @ model.emission
    )  # p(x_t, x_t+1)
    seen = np.zeros_like(pairs)
    np.add.at(seen, (ids[:-1], ids[1:]), 1 / (len(ids) - 1))
    assert np.abs(seen - pairs).max() < 5 * np.sqrt(pairs.max() / len(ids))


def test_unigram_entropy_lies_far_above_the_exact_loss_and_one_token_of_context_is_not_enough():
    model = toy.hidden_markov()
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
    model = toy.hidden_markov()
    ids = model.sample(64 * 200, np.random.default_rng(1))
    forgetful = np.mean([model.token_losses(part)[1:].mean() for part in ids.reshape(-1, 64)])
    gap = np.log(model.vocab_size) - model.exact_loss(ids)
    assert np.log(model.vocab_size) - forgetful > 0.97 * gap


def test_wrong_ids_words_and_settings_are_one_sentence():
    model = toy.hidden_markov()
    for wrong in ([24], [-1], [[0]]):
        with pytest.raises(TinylmError, match="0 to 23"):
            model.exact_loss(np.array(wrong))
    with pytest.raises(TinylmError, match="'hello'"):
        model.ids("hello")
    with pytest.raises(TinylmError, match="chances"):
        toy.hidden_markov(forward=0.9, stay=0.2)
    with pytest.raises(TinylmError, match="3 to 35 states"):
        toy.hidden_markov(states=36)
