"""The toy language keeps its promises: labels are true, the same seed gives the same text."""

from itertools import product

import numpy as np
import pytest

from tinylm.data import load_labelled, load_tagged, load_texts, toy
from tinylm.errors import TinylmError

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
