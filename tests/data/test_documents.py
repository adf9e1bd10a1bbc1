"""A corpus is its documents, no more and no less; splits are by document."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm.data import Corpus, encode_corpus, split_documents
from tinylm.errors import DataError, VocabularyError
from tinylm.text import BPE, Chars, Unigram, WordPiece, Words

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
    with pytest.raises(VocabularyError, match="begin_id is -1"):
        encode_corpus(["abc"], chars, begin_id=-1)


def test_what_begins_a_document_belongs_to_its_first_sentence_and_begins_a_word():
    words = Words.train(SENTENCES, rules=True)
    plain = encode_corpus(SENTENCES, words, words.end_id, structure=True)
    begun = encode_corpus(SENTENCES, words, words.end_id, structure=True, begin_id=words.begin_id)
    for d in range(len(SENTENCES)):
        assert begun.document(d).tolist() == [words.begin_id, *plain.document(d)]
    # Every bound has moved by the number of documents that begin before it.
    before = np.searchsorted(plain.starts, plain.sentences, side="left")
    assert begun.sentences.tolist() == (plain.sentences + before).tolist()
    kept = begun.ids != words.begin_id
    assert begun.word_starts[kept].tolist() == plain.word_starts.tolist()
    assert begun.word_starts[~kept].all()


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


SENTENCES = ["the cat sat. the dog ran! why? no", "one only", "", "a. b\n\nc d"]
KINDS = {
    "chars": lambda: Chars.train(SENTENCES),
    "words": lambda: Words.train(SENTENCES),
    "bpe": lambda: BPE.train(SENTENCES, 300, exact=False),
    "wordpiece": lambda: WordPiece.train(SENTENCES, 60, min_count=1, exact=False),
    "unigram": lambda: Unigram.train(SENTENCES * 5, 30, exact=False),
}


@pytest.mark.parametrize("kind", KINDS)
def test_sentences_cover_a_corpus_and_begin_where_the_text_says(kind):
    tokenizer = KINDS[kind]()
    corpus = encode_corpus(SENTENCES, tokenizer, tokenizer.end_id, structure=True)
    assert corpus.sentences[0] == 0 and corpus.sentences[-1] == len(corpus)
    assert set(corpus.starts) <= set(corpus.sentences)
    first = corpus.sentences[corpus.sentences < corpus.starts[1]]
    bounds = [*first, corpus.starts[1]]
    spoken = [tokenizer.decode(corpus.ids[a:b]) for a, b in zip(bounds, bounds[1:], strict=False)]
    assert len(spoken) == 4
    for heard, said in zip(spoken, ["the cat sat.", "the dog ran!", "why?", "no"], strict=True):
        assert "".join(heard.split()).startswith("".join(said.split()))


@pytest.mark.parametrize("kind", KINDS)
def test_a_word_begins_behind_white_space_and_nowhere_inside_a_word(kind):
    tokenizer = KINDS[kind]()
    text = "the cat ran"
    begins = tokenizer.word_starts(text)
    assert begins.shape == (len(tokenizer.encode(text)),) and begins[0]
    inside = [
        not text[start - 1 : start].isspace() and not text[start:end][:1].isspace() and start > 0
        for start, end in tokenizer.offsets(text)
    ]
    assert [not b for b in begins] == inside
    corpus = encode_corpus([text], tokenizer, structure=True)
    np.testing.assert_array_equal(corpus.word_starts, begins)


def test_a_corpus_has_no_structure_unless_it_is_asked_for():
    corpus = encode_corpus(SENTENCES, Chars.train(SENTENCES))
    assert corpus.sentences is None and corpus.word_starts is None
