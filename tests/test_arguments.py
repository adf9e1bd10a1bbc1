"""One string is never read as a list of letters, wherever a list of strings is taken."""

import numpy as np
import pytest

from tinylm.arguments import strings
from tinylm.data import encode_corpus, split_documents
from tinylm.errors import ArgumentError
from tinylm.objectives.gpt import GPT, GPTConfig
from tinylm.optim import AdamW
from tinylm.report.looking import typical_words
from tinylm.text import BPE, Bytes, Chars, Unigram, WordPiece, Words, learn
from tinylm.training.pretrain import PretrainConfig, pretrain
from tinylm.transfer import Classifier, Features, Majority, Tfidf, TfidfClassifier
from tinylm.vectors import Vectors
from tinylm.vectors.formats import write_vectors

TEXTS = ["sea wave", "land rock", "sea", "land"]
LABELS = ["sea", "land", "sea", "land"]
WORDS = Words.train(TEXTS)
SMALL = GPTConfig.tiny(vocab_size=WORDS.vocab_size, n_positions=7, n_embd=8, n_layer=1, n_head=2)


def classifier():
    return Classifier(GPT(SMALL), WORDS).fit(TEXTS, LABELS)


def features():
    return Features(GPT(SMALL), WORDS).fit(TEXTS)


def vectors():
    return Vectors(["a", "b"], np.eye(2))


CALLS = {
    "Classifier.fit": lambda one: Classifier(GPT(SMALL), WORDS).fit(one, list("abab")),
    "Classifier.predict": lambda one: classifier().predict(one),
    "Classifier.predict_proba": lambda one: classifier().predict_proba(one),
    "Classifier.score": lambda one: classifier().score(one, list("abab")),
    "Features.fit": lambda one: Features(GPT(SMALL), WORDS).fit(one),
    "Features.fit_transform": lambda one: Features(GPT(SMALL), WORDS).fit_transform(one),
    "Features.transform": lambda one: features().transform(one),
    "Features.means": lambda one: features().means(one),
    "Majority.fit": lambda one: Majority().fit(one, list("abab")),
    "Majority.predict": lambda one: Majority().fit(TEXTS, LABELS).predict(one),
    "Tfidf.fit": lambda one: Tfidf().fit(one),
    "Tfidf.transform": lambda one: Tfidf().fit(TEXTS).transform(one),
    "Tfidf.fit_transform": lambda one: Tfidf().fit_transform(one),
    "TfidfClassifier.fit": lambda one: TfidfClassifier().fit(one, list("abab")),
    "TfidfClassifier.predict": lambda one: TfidfClassifier().fit(TEXTS, LABELS).predict(one),
    "TfidfClassifier.score": lambda one: TfidfClassifier().fit(TEXTS, LABELS).score(one, LABELS),
    "typical_words": lambda one: typical_words(one, list("abab"), 2),
    "split_documents": lambda one: split_documents(one),
    "pretrain": lambda one: pretrain(
        PretrainConfig("word2vec", "mine", options={"steps": 1}), one, quiet=True
    ),
    "Words": lambda one: Words(one),
    "Vectors": lambda one: Vectors(one, np.eye(4)),
    "doesnt_match": lambda one: vectors().doesnt_match(one),
    "write_vectors": lambda one: write_vectors("unused.bin", one, np.eye(4)),
    "add_specials": lambda one: Words.train(TEXTS).add_specials(one),
    "encode, special": lambda one: WORDS.encode("a", special=one),
    "BPE.train, specials": lambda one: BPE.train(TEXTS, 300, specials=one),
    "AdamW, no_decay": lambda one: AdamW(GPT(SMALL), lr=0.1, no_decay=one),
}


@pytest.mark.parametrize("name", CALLS)
def test_one_string_for_a_list_is_refused(name):
    with pytest.raises(ArgumentError, match="is one string, 'abab'; expected a list of strings"):
        CALLS[name]("abab")


SINGLE = {
    "encode_batch": lambda one: np.concatenate(WORDS.encode_batch(one)).tolist(),
    "a call": lambda one: WORDS(one)["ids"].tolist(),
    "encode_corpus": lambda one: encode_corpus(one, WORDS).ids.tolist(),
    "Chars.train": lambda one: Chars.train(one).vocab,
    "Words.train": lambda one: Words.train(one).vocab,
    "BPE.train": lambda one: BPE.train(one, 261, exact=False).vocab,
    "WordPiece.train": lambda one: WordPiece.train(one, 30, exact=False).vocab,
    "Unigram.train": lambda one: Unigram.train(one, 20, exact=False).vocab,
    "learn": lambda one: learn("words", one).vocab,
    "Bytes": lambda one: Bytes()(one)["ids"].tolist(),
}


@pytest.mark.parametrize("name", SINGLE)
def test_where_a_single_text_is_documented_it_counts_as_a_list_of_one(name):
    text = "sea wave sea wave rock"
    assert SINGLE[name](text) == SINGLE[name]([text])


@pytest.mark.parametrize("wrong", [b"ab", 7, None, ["a", 7], ["a", None], [["a"]], [float("nan")]])
def test_whatever_is_no_list_of_strings_is_one_sentence(wrong):
    with pytest.raises(ArgumentError) as caught:
        strings(wrong, "texts")
    assert "\n" not in str(caught.value) and str(caught.value).startswith("texts")


@pytest.mark.parametrize("kind", [list, tuple, iter, np.array, dict.fromkeys])
def test_any_list_of_strings_passes(kind):
    assert strings(kind(["sea", "wave"]), "texts") == ["sea", "wave"]
