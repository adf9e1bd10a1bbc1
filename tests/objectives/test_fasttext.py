"""fastText: a word is the mean of its own row and its pieces'; the kernel's proofs are in test_word2vec.py."""

import json

import numpy as np
import pytest

import tinylm
from tinylm import hub
from tinylm.data import encode_corpus, toy
from tinylm.errors import ShapeError, TinylmError
from tinylm.objectives.fasttext import FastText, FastTextConfig, mean_vectors
from tinylm.objectives.word2vec import Word2Vec, Word2VecConfig
from tinylm.text import Words
from tinylm.transfer.adapt import duplicate
from tinylm.vectors.ngrams import NGrams, fnv1a

SPELLINGS = ["a", "ab", "abc", "abca", "b", "bc", "bca", "bcab", "größe", ""]


def spelled(**over):
    """A small model with spellings."""
    model = FastText(FastTextConfig(10, size=3, minn=2, maxn=3, bucket=101, **over))
    model.spell(SPELLINGS)
    return model


def test_a_word_with_ngrams_is_the_mean_of_its_own_row_and_those_of_its_pieces():
    model = FastText(FastTextConfig(9, size=3, minn=2, maxn=3, bucket=101)).astype(np.float64)
    words = [
        "<unk>",
        "<pad>",
        "<eos>",
        "ab",
        "abc",
        "",
        "größe",
    ]  # the vocabulary may be larger than its words
    model.spell(words, special_ids=(0, 1, 2))
    table, rows = model.embedding_table(), model.vectors.data
    pieces = [
        9 + row
        for piece in ("<a", "<ab", "ab", "ab>", "b>")
        for row in [fnv1a(piece.encode()) % 101]
    ]
    np.testing.assert_allclose(table[3], rows[[3, *pieces]].mean(axis=0), rtol=1e-12)
    assert table.shape == (9, 3) and (table[:3] == 0).all()
    ids = np.array([[3, 6, 0], [4, 3, 8]])
    (states,) = model.encode(ids)
    np.testing.assert_allclose(states.data, table[ids], rtol=1e-12)
    states.sum().backward()
    assert np.flatnonzero(np.abs(model.vectors.grad).sum(axis=1)).size > 10
    vectors = tinylm.Vectors(words, table[:7], model.subwords())
    np.testing.assert_allclose(
        vectors["abcab"], rows[9:][NGrams(2, 3, 101).rows("abcab")].mean(axis=0), rtol=1e-12
    )
    assert "abcab" not in vectors and vectors.most_similar("abcab")[0][0] in words
    assert vectors.similarity("abcab", "abcab") == pytest.approx(1)
    np.testing.assert_allclose(duplicate(model).embedding_table(), table, rtol=0, atol=1e-7)


def test_spelling_alone_brings_an_unseen_form_near_its_relatives():
    texts = toy.documents(2000)
    tokenizer = Words.train(texts)
    config = FastTextConfig.tiny(
        tokenizer.vocab_size, size=31, batch_words=4001, maxn=5, bucket=20_011
    )
    model = FastText(config)
    model.spell(tokenizer.vocab, tokenizer.special_ids)
    model.prepare(encode_corpus(texts, tokenizer, end_id=tokenizer.end_id))
    steps = 3 * model.steps_per_epoch
    for step in range(steps):
        model.fast_step(model.batch(step, 1), 0.025 * (1 - step / steps))
    vectors = tinylm.Vectors(tokenizer.vocab, model.embedding_table(), model.subwords())
    known = [word for word in tokenizer.vocab[3:203] if len(word) >= 5]
    unseen = [word for word in known if word + "s" not in vectors]
    found = [word in [near for near, _ in vectors.most_similar(word + "s", n=3)] for word in unseen]
    assert len(found) > 50 and np.mean(found) > 0.8  # by chance 0.01


def test_the_vectors_on_paper_are_the_models():
    model = spelled()
    expected = mean_vectors(model.vectors.data, SPELLINGS, NGrams(2, 3, 101))
    np.testing.assert_allclose(model.embedding_table(), expected, rtol=1e-6)
    ids = np.array([[0, 8], [9, 3]])
    np.testing.assert_allclose(model.encode(ids)[0].data, expected[ids], rtol=1e-5)


def test_without_pieces_it_is_word2vec():
    """Pieces longer than every word: each word is its own row alone."""
    config = dict(vocab_size=10, size=3, batch_words=50)
    plain = Word2Vec(Word2VecConfig(**config))
    pieces = FastText(FastTextConfig(**config, minn=32, maxn=32, bucket=7))
    pieces.spell(SPELLINGS)
    pieces.vectors.data[:10] = plain.vectors.data
    ids = np.arange(10).reshape(2, 5)
    np.testing.assert_array_equal(pieces.encode(ids)[0].data, plain.encode(ids)[0].data)
    np.testing.assert_array_equal(pieces.embedding_table(), plain.embedding_table())


@pytest.mark.parametrize("maxn, chapter", [(4, FastText), (0, Word2Vec)])
def test_a_folder_of_word2vecs_own_time_loads_by_its_maxn(tmp_path, maxn, chapter):
    words = Words.train(toy.documents(20), 100)
    if maxn:
        model = FastText(FastTextConfig(words.vocab_size, size=7, maxn=maxn, bucket=101))
    else:
        model = Word2Vec(Word2VecConfig(words.vocab_size, size=7))
    model.spell(words.vocab, words.special_ids)
    hub.save(tmp_path, model, words)
    path = tmp_path / hub.CONFIG
    fields = json.loads(path.read_text(encoding="utf-8"))
    old = {"model_type": "tinylm-word2vec", "minn": 3, "maxn": maxn, "bucket": 101}
    path.write_text(json.dumps(fields | old), encoding="utf-8")
    again, _ = hub.load(tmp_path)
    assert type(again) is chapter
    np.testing.assert_array_equal(again.embedding_table(), model.embedding_table())


@pytest.mark.parametrize(
    "run, words",
    [
        (lambda: FastTextConfig(10, minn=4, maxn=3), "maxn is 3"),
        (lambda: FastTextConfig(10, maxn=0), "maxn is 0"),
        (lambda: FastText(FastTextConfig(10, bucket=7)).embedding_table(), "call spell"),
        (lambda: spelled().encode(np.array([[3, 10]])), "from 0 to 9"),
        (lambda: spelled().batch(0, 0), "This FastText has not seen a text yet; call prepare"),
    ],
)
def test_mistakes_get_one_clear_sentence(run, words):
    with pytest.raises((TinylmError, ShapeError), match=words):
        run()
