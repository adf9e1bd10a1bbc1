"""A corpus is its documents, no more and no less; splits are by document."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm.data import Corpus, encode_corpus, split_documents
from tinylm.errors import DataError, VocabularyError
from tinylm.text import BPE, Chars, Words

TEXTS = ["the cat sat", "", "a dog in a mat", "the end"]


@pytest.mark.parametrize("kind", [Chars, Words])
def test_documents_come_back_with_their_end(kind):
    tokenizer = kind.train(TEXTS)
    corpus = encode_corpus(TEXTS, tokenizer, tokenizer.end_id)
    assert corpus.ids.dtype == np.int32 and corpus.starts.dtype == np.int64
    for d, text in enumerate(TEXTS):
        assert corpus.document(d).tolist() == [*tokenizer.encode(text), tokenizer.end_id]
    assert len(corpus.starts) == len(TEXTS) + 1 and corpus.starts[-1] == len(corpus) == len(
        corpus.ids
    )
    assert corpus.words == sum(len(t.split()) for t in TEXTS) and corpus.characters == sum(
        map(len, TEXTS)
    )


def test_without_end_nothing_is_added_and_decoding_gives_the_text():
    bpe = BPE.train(TEXTS, 260)
    corpus = encode_corpus(iter(TEXTS), bpe)
    assert bpe.decode(corpus.ids) == "".join(TEXTS)
    assert corpus.counts.sum() == len(corpus) and corpus.counts.shape == (260,)


def test_unigram_entropy_of_equal_counts_is_log_n():
    assert encode_corpus(
        ["abcdefg" * 3], Chars.train("abcdefg")
    ).unigram_entropy() == pytest.approx(np.log(7))


def test_many_documents_cross_the_chunks():
    texts = [f"w{i % 7} x" for i in range(700)]
    words = Words.train(texts)
    corpus = encode_corpus(texts, words)
    assert [words.decode(corpus.document(d)) for d in range(700)] == texts


def test_empty_text_and_wrong_end_are_one_sentence():
    chars = Chars.train("abc")
    for texts in ([], [""], ""):
        with pytest.raises(DataError, match="empty"):
            encode_corpus(texts, chars, chars.end_id)
    with pytest.raises(VocabularyError, match="end_id is 99"):
        encode_corpus(["abc"], chars, 99)


@given(n=st.integers(2, 60), share=st.floats(0.01, 0.99), seed=st.integers(0, 3))
def test_a_split_is_a_partition_into_whole_documents(n, share, seed):
    texts = [f"document {i}" for i in range(n)]
    train, held = split_documents(texts, share, seed)
    assert train and held and sorted(train + held, key=texts.index) == texts
    assert train == sorted(train, key=texts.index) and held == sorted(held, key=texts.index)
    assert (train, held) == split_documents(texts, share, seed)
    assert abs(len(held) - share * n) <= 1


def test_one_document_is_cut_once_at_white_space():
    (train,), (held,) = split_documents(["one two three four five"], 0.3)
    assert f"{train} {held}" == "one two three four five" and held == "four five"


@pytest.mark.parametrize("texts", [[], ["word"], [" "]])
def test_what_cannot_be_split_is_one_sentence(texts):
    with pytest.raises(DataError, match="give"):
        split_documents(texts)


def test_the_fingerprint_of_a_corpus_is_of_its_tokens_and_of_where_documents_begin():
    ids, starts = np.arange(7, dtype=np.int32), np.array([0, 3, 7])
    first = Corpus(ids, starts, 7, 7, 7).fingerprint
    assert first == Corpus(ids.copy(), starts.copy(), 7, 7, 7).fingerprint
    assert first not in (
        Corpus(ids[::-1], starts, 7, 7, 7).fingerprint,
        Corpus(ids, np.array([0, 4, 7]), 7, 7, 7).fingerprint,
    )
