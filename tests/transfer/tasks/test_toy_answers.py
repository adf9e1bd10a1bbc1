"""A small encoder learns the toy tasks, whose answers are known, from examples alone.

The language has few words here, so that training takes seconds; no test example is a training one.
"""

import numpy as np
import pytest

import tinylm
from tinylm.data import toytasks
from tinylm.data.toy import Language
from tinylm.text import WordPiece
from tinylm.transfer import (
    AdaptConfig,
    Chooser,
    PairClassifier,
    Regressor,
    SpanConfig,
    SpanReader,
    TowerClassifier,
    spearman,
)

HOW = {"updates": 300, "batch_size": 32, "rates": (4e-3,), "dropout": 0.0, "max_length": 48}


def few_words():
    """The toy language with the first words of each kind."""
    language = Language()
    for words in (language.lexicon, language.feeling):
        for kind in words:
            words[kind] = words[kind][:5]
    language.first_names = language.first_names[:7]
    language.last_names = language.last_names[:7]
    language.places = language.places[:7]
    return language


def both(make, text):
    """Training examples, and test examples whose texts are not among them."""
    language = few_words()
    training = make(1500, 1, language)
    known = {text(example) for example in training}
    test = [example for example in make(600, 2, language) if text(example) not in known]
    assert len(test) > 60
    return training, test


def small(texts, layers):
    """A BERT without pretraining that knows the words of some texts."""
    words = WordPiece.train(texts, 400, exact=False)
    sizes = dict(hidden_size=32, num_attention_heads=2, intermediate_size=64)
    config = tinylm.BertConfig.tiny(words.vocab_size, num_hidden_layers=layers, **sizes)
    return tinylm.Bert(config, np.random.default_rng(0)), words


@pytest.mark.parametrize("task, least", [(PairClassifier, 0.95), (TowerClassifier, 0.9)])
def test_entailment(task, least):
    training, test = both(toytasks.entailment, lambda example: example[0])
    pairs, labels = zip(*training, strict=True)
    encoder, words = small([text for pair in pairs for text in pair], 1)
    config = AdaptConfig(**(HOW | {"updates": 900, "rates": (2e-3,)}))
    model = task(encoder, words, "finetune", config).fit(pairs, labels)
    score = model.score(*zip(*test, strict=True))
    assert (
        score >= least
    )  # the premise alone gives 0.8, the hypothesis 0.4; read together 0.989 to 1


def test_multiple_choice():
    training, test = both(toytasks.choices, lambda example: example.context)
    texts = [choice.context for choice in training] + list(toytasks.SAID) * 3
    encoder, words = small(texts, 1)
    config = AdaptConfig(**(HOW | {"batch_size": 16}))
    model = Chooser(encoder, words, "finetune", config).fit(training)
    assert model.score(test) >= 0.9  # chance is 1/3


def test_reading():
    training, test = both(toytasks.reading, lambda example: example.context)
    texts = [f"{question.question} {question.context}" for question in training]
    encoder, words = small(texts, 2)
    model = SpanReader(encoder, words, config=SpanConfig(**HOW)).fit(training)
    scores = model.evaluate(test)
    assert scores["exact"] >= 0.9 and scores["NoAns_exact"] >= 0.8


@pytest.mark.parametrize("method", ["features", "finetune"])
def test_numbers(method):
    training, test = both(toytasks.scored, lambda example: example[0])
    texts, numbers = zip(*training, strict=True)
    encoder, words = small(texts, 1)
    config = AdaptConfig(**(HOW | {"max_length": 64, "rates": (1e-3,)}))
    model = Regressor(encoder, words, method, config).fit(texts, numbers)
    found = model.predict([text for text, _ in test])
    assert spearman([number for _, number in test], found) > 0.9
