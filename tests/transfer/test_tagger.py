"""Laws of taggers, held by every chapter's encoder: what changes, what does not, what comes back from a folder."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

import tinylm
from tinylm.data import load_tagged, toy
from tinylm.data import tags as bio
from tinylm.errors import ArgumentError, CheckpointError, DataError, ShapeError, TinylmError
from tinylm.files import read_json, write_json
from tinylm.objectives import registry
from tinylm.objectives.gpt import GPT, GPTConfig
from tinylm.text import Words
from tinylm.training.pretrain import PretrainConfig, pretrain
from tinylm.transfer import Classifier, TagConfig, Tagger
from tinylm.transfer.tagging import HEADS

SIZES = {
    "gpt1": {"n_positions": 16, "n_embd": 10, "n_head": 2, "batch_size": 3},
    "gpt": {"n_positions": 16, "n_embd": 10, "n_head": 2, "batch_size": 3},
    "bert": {
        "hidden_size": 10,
        "num_attention_heads": 2,
        "max_position_embeddings": 16,
        "batch_size": 3,
    },
    "electra": {"hidden_size": 10, "embedding_size": 7, "sequence_length": 16, "batch_size": 3},
    "word2vec": {"size": 7},
    "fasttext": {"size": 7, "bucket": 101},
    "glove": {"vector_size": 7},
    "elmo": {"filters": ((1, 5), (3, 7)), "projection_dim": 5, "dim": 11, "batch_size": 3},
}
QUICK = TagConfig(updates=3, hidden=5, max_length=13, layers=("last",))


def parted(sentences):
    """(words, tags) of some sentences."""
    return [tokens for tokens, _ in sentences], [tags for _, tags in sentences]


WORDS, TAGS = parted(toy.tagged(13, seed=3))
OTHERS, _ = parted(toy.tagged(11, seed=5))


@pytest.fixture(scope="module")
def small():
    """A small GPT with random weights that reads words, and its tokenizer."""
    tokenizer = Words.train([" ".join(words) for words in WORDS])
    config = GPTConfig.tiny(tokenizer.vocab_size, n_embd=6, n_head=2, n_layer=2, n_positions=31)
    return GPT(config, np.random.default_rng(7)).eval(), tokenizer


def weights(module):
    return {name: np.array(value) for name, value in module.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("name", registry.CHAPTERS)
def test_every_chapters_encoder_becomes_a_tagger_by_either_method(name):
    asked = PretrainConfig(name, "toy", options=SIZES.get(name, {}) | {"steps": 2})
    model, tokenizer, _ = pretrain(asked, quiet=True)
    before = weights(model)
    long = [WORDS[0] * 5, *WORDS]
    for method, head in (("features", "bilstm-crf"), ("finetune", "linear")):
        tagger = Tagger(model, tokenizer, head, method, QUICK).fit(long, [TAGS[0] * 5, *TAGS])
        found = tagger.predict(OTHERS)
        assert [len(row) for row in found] == [len(words) for words in OTHERS]
        alone = [tagger.predict([words])[0] for words in OTHERS]
        assert found == alone
        changed = not same(before, weights(tagger.encoder_))
        assert changed == (method == "finetune")
        assert same(before, weights(model))


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("method", ["features", "finetune"])
def test_the_same_seed_gives_the_same_bits_and_a_folder_gives_them_back(
    small, head, method, tmp_path
):
    config = replace(QUICK, embeddings=3)
    fitted = [Tagger(*small, head, method, config).fit(WORDS, TAGS) for _ in range(2)]
    assert same(*(weights(tagger.head_) for tagger in fitted))
    assert same(*(weights(tagger.encoder_) for tagger in fitted))
    fitted[0].save(tmp_path / "tagger")
    loaded = Tagger.load(tmp_path / "tagger")
    assert loaded.predict(OTHERS) == fitted[0].predict(OTHERS)
    for a, b in zip(loaded.predict_proba(OTHERS), fitted[0].predict_proba(OTHERS), strict=True):
        assert np.array_equal(a, b)
    assert (loaded.head, loaded.method, loaded.config) == (head, method, config)


@pytest.mark.parametrize("head", HEADS)
def test_probabilities_are_a_distribution_for_every_word_and_whatever_the_batch(small, head):
    tagger = Tagger(*small, head, config=QUICK).fit(WORDS, TAGS)
    together = tagger.predict_proba(OTHERS)
    for words, p in zip(OTHERS, together, strict=True):
        assert p.shape == (len(words), len(tagger.tags_))
        np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-5)
        np.testing.assert_allclose(tagger.predict_proba([words])[0], p, atol=1e-5)


def test_a_tagger_of_own_embeddings_learns_who_is_who():
    train = load_tagged("toy", "train")[:100]
    test = load_tagged("toy", "test")[:100]
    config = TagConfig(embeddings=16, updates=150)
    tagger = Tagger(None, None, "bilstm-crf", config=config).fit(*parted(train))
    scores = tagger.evaluate(*parted(test))
    majority = [["O"] * len(tokens) for tokens, _ in test]
    assert scores.f1 > 0.9 and scores.f1 == tagger.score(*parted(test))
    assert scores.accuracy > 0.97 > tinylm.transfer.token_accuracy(parted(test)[1], majority)


def test_any_dialect_of_tags_teaches_the_same():
    iob1 = [["I" + tag[1:] if tag[0] == "B" else tag for tag in row] for row in TAGS]
    assert iob1 != TAGS and [bio.to_bio(row) for row in iob1] == TAGS
    config = TagConfig(embeddings=5, updates=3)
    first, second = (Tagger(None, None, config=config).fit(WORDS, tags) for tags in (TAGS, iob1))
    assert first.tags_ == second.tags_ and same(weights(first.head_), weights(second.head_))
    assert first.score(WORDS, TAGS) == second.score(WORDS, iob1)


@pytest.mark.parametrize("head", ["linear", "crf"])
def test_constrained_predictions_are_legal_and_free_ones_are_not_always(head):
    """Random weights predict anything; only legal BIO is its own BIO."""
    rng = np.random.default_rng(0)
    found = {}
    for constrained in (True, False):
        config = TagConfig(embeddings=5, updates=1, constrained=constrained)
        tagger = Tagger(None, None, head, config=config).fit(WORDS, TAGS)
        tagger.head_.output.weight.data[:] = rng.normal(size=tagger.head_.output.weight.shape)
        tagger.head_.words.weight.data[:] = rng.normal(size=tagger.head_.words.weight.shape)
        rows = tagger.predict(OTHERS)
        found[constrained] = all(bio.to_bio(row) == row for row in rows)
    assert found == {True: True, False: False}


def test_parts_of_speech_are_scored_by_token():
    tags = [["X" if tag == "O" else "NN" for tag in row] for row in TAGS]
    tagger = Tagger(None, None, config=TagConfig(embeddings=5, updates=60)).fit(WORDS, tags)
    assert not tagger.entities_ and tagger.tags_ == ["NN", "X"]
    predicted = tagger.predict(WORDS)
    pairs = [*zip(itertools.chain(*tags), itertools.chain(*predicted), strict=True)]
    assert tagger.score(WORDS, tags) == sum(a == b for a, b in pairs) / len(pairs) > 0.9


def test_words_that_were_never_seen_share_one_vector():
    tagger = Tagger(None, None, config=TagConfig(embeddings=5, updates=9)).fit(WORDS, TAGS)
    known, first, second = tagger.predict_proba([[WORDS[0][0], "xyz", "zyx"]])[0]
    assert np.array_equal(first, second) and not np.array_equal(known, first)


def test_a_frozen_encoders_layers_are_mixed_in_shares_that_are_learned(small):
    config = replace(QUICK, layers=("mix",), updates=20)
    tagger = Tagger(*small, config=config).fit(WORDS, TAGS)
    assert tagger.head_.mix.w.shape == (3,)  # the embeddings and two layers
    assert np.ptp(tagger.head_.mix.w.data) > 0
    tuned = Tagger(*small, "linear", "finetune", config).fit(WORDS, TAGS)
    assert tuned.head_.mix.w.shape == (3,) and tuned.predict(OTHERS)


def test_the_rate_follows_the_schedule_that_the_config_names():
    def learned(schedule, **options):
        how = {"warmup": 0.0, "schedule": schedule, "schedule_options": options}
        config = TagConfig(embeddings=5, updates=7, **how)
        return weights(Tagger(None, None, config=config).fit(WORDS, TAGS).head_)

    constant = learned("constant")
    assert same(constant, learned("cosine", floor=1.0))
    assert not same(constant, learned("linear"))


def test_the_rate_is_chosen_by_held_out_sentences(small):
    tags = [["B-x" if word == "the" else "O" for word in words] for words in WORDS]
    config = replace(QUICK, rates=(1e-8, 3e-2), head_rate=1e-8, updates=60)
    tagger = Tagger(*small, "linear", "finetune", config)
    assert tagger.fit(WORDS, tags).rate_ in config.rates
    assert Tagger(*small, "linear", "finetune", replace(config, rates=(3e-2,))).fit(
        WORDS, tags
    ).rate_ == pytest.approx(3e-2)


MISTAKES = {
    "no sentence": (lambda t: t.fit([], []), DataError, "there are no sentences"),
    "an empty sentence": (lambda t: t.fit([["a"], []], [["O"], []]), DataError, r"sentences\[1\]"),
    "a string": (lambda t: t.fit(["a b"], [["O", "O"]]), ArgumentError, r"sentences\[0\] is one"),
    "fewer lists": (lambda t: t.fit([["a"], ["b"]], [["O"]]), ShapeError, "2 sentences, but 1"),
    "fewer tags": (lambda t: t.fit([["a", "b"]], [["O"]]), ShapeError, "sentence 0 has 2 words"),
    "one tag": (lambda t: t.fit([["a", "b"]], [["O", "O"]]), DataError, "at least two"),
    "too early": (lambda t: t.predict([["a"]]), TinylmError, "not fitted yet"),
    "scored early": (lambda t: t.score([["a"]], [["O"]]), TinylmError, "not fitted yet"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_one_sentence(mistake):
    call, kind, words = MISTAKES[mistake]
    with pytest.raises(kind, match=words) as caught:
        call(Tagger(None, None, config=TagConfig(embeddings=3)))
    assert "\n" not in str(caught.value)


def test_choices_that_do_not_exist_are_named(small):
    with pytest.raises(TinylmError, match="unknown head 'hmm'; expected 'linear' or 'bilstm'"):
        Tagger(*small, "hmm")
    with pytest.raises(TinylmError, match="unknown method 'lora'"):
        Tagger(*small, method="lora")
    with pytest.raises(TinylmError, match="nothing to read"):
        Tagger(None, None)
    with pytest.raises(TinylmError, match="nothing to read"):
        Tagger(None, None, method="finetune", config=TagConfig(embeddings=3))


def test_taggers_and_classifiers_are_not_mistaken_for_each_other(small, tmp_path):
    Tagger(*small, config=QUICK).fit(WORDS, TAGS).save(tmp_path / "tagger")
    texts = [" ".join(words) for words in WORDS]
    Classifier(*small).fit(texts, ["a", "b"] * 6 + ["a"]).save(tmp_path / "classifier")
    with pytest.raises(CheckpointError, match="the task 'tag', but Classifier is for 'classify'"):
        Classifier.load(tmp_path / "tagger")
    with pytest.raises(CheckpointError, match="the task 'classify', but Tagger is for 'tag'"):
        Tagger.load(tmp_path / "classifier")
    with pytest.raises(CheckpointError, match="already holds"):
        Tagger(*small, config=QUICK).fit(WORDS, TAGS).save(tmp_path / "classifier")


DAMAGES = [
    (part, wrong)
    for part in ("labels", "head", "method", "sizes", "words", "config")
    for wrong in (None, ["a"], "ice", 7, {})
] + [
    ("sizes", {"features": 10**9, "layers": 0, "words": 0, "tags": 4}),
    ("sizes", {"features": 6, "layers": 0, "words": 0, "tags": 5}),
    ("words", ["sea"]),
    ("config", {"hidden": 0}),
    ("encoder", False),
]


@pytest.fixture(scope="module")
def folder(small, tmp_path_factory):
    path = tmp_path_factory.mktemp("taggers") / "whole"
    Tagger(*small, config=QUICK).fit(WORDS, TAGS).save(path)
    return path


@pytest.mark.parametrize("part, wrong", DAMAGES)
def test_a_damaged_tagger_is_one_sentence(folder, part, wrong):
    path = folder / "classifier.json"
    facts = read_json(path)
    write_json(path, facts | {part: wrong})
    try:
        with pytest.raises(TinylmError) as caught:
            Tagger.load(folder).predict(OTHERS)
        assert "\n" not in str(caught.value)
    finally:
        write_json(path, facts)
