"""BERT's pieces follow the published builder: chunks, the cut, random second parts, what is put back."""

import re
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm.data import Corpus, encode_corpus, load_texts
from tinylm.data.pairs import SPAN, Epochs, Outline, pairs, stretches
from tinylm.data.pairs import _trimmed as trimmed
from tinylm.errors import TinylmError
from tinylm.text import Chars, WordPiece, Words

END = 0  # the special token behind every document


def corpus_of(documents):
    """A corpus from the lengths of the sentences of its documents; every token begins a word."""
    starts, sentences, n = [0], [], 0
    for lengths in documents:
        for length in lengths:
            sentences.append(n)
            n += length
        n += 1  # END belongs to the last sentence
        starts.append(n)
    ids = np.arange(n) % 97 + 1
    ids[np.array(starts[1:]) - 1] = END
    return Corpus(
        ids.astype(np.int32),
        np.array(starts),
        98,
        n,
        n,
        special_ids=(END,),
        sentences=np.array([*sentences, n]),
        word_starts=np.ones(n, bool),
    )


def documents(n, rng, most=23):
    """n documents of up to `most` sentences of one token: then every chunk fits and none is trimmed."""
    return [[1] * int(rng.integers(1, most)) for _ in range(n)]


def made_by_document(outline, made):
    """The pieces by the document of their first span, whose places are in its sentences."""
    first = {begin: d for d in range(len(outline)) for begin in sentences(outline, d)}
    found = defaultdict(list)
    for piece in made:
        found[first[piece.begin]].append(piece)
    return found


def sentences(outline, d):
    """The places where the sentences of a document begin."""
    return outline.begins[outline.documents[d] : outline.documents[d + 1]]


lengths = st.lists(st.lists(st.integers(1, 13), min_size=1, max_size=7), min_size=1, max_size=11)


@given(lengths, st.integers(2, 37), st.floats(0, 1), st.integers(0, 5))
def test_spans_fit_are_never_empty_and_stay_inside_one_document(lengths, size, short_rate, seed):
    corpus = corpus_of(lengths)
    rng = np.random.default_rng(seed)
    for piece in pairs(Outline.of(corpus), size, short_rate, rng):
        for begin, end in (piece[:2], piece[2:4]):
            assert 0 <= begin < end
            document = np.searchsorted(corpus.starts, begin, side="right")
            assert end < corpus.starts[document]  # and so without END
        assert piece.end - piece.begin + piece.other_end - piece.other_begin <= size


@given(st.integers(0, 20), st.integers(2, 29), st.floats(0, 1))
def test_everything_is_read_once_and_what_a_random_part_displaced_comes_next(seed, size, short):
    rng = np.random.default_rng(seed)
    outline = Outline.of(corpus_of(documents(7, rng)))
    for d, made in made_by_document(outline, pairs(outline, size, short, rng)).items():
        place = sentences(outline, d)[0]
        for piece in made:
            assert piece.begin == place
            if not piece.is_random:
                assert piece.other_begin == piece.end
            place = piece.end if piece.is_random else piece.other_end
        assert place == sentences(outline, d)[-1] + 1


def test_labels_balance_over_chunks_of_two_sentences_or_more_and_one_sentence_is_always_random():
    rng = np.random.default_rng(0)
    outline = Outline.of(corpus_of(documents(3000, rng)))
    alone, together = [], []
    for d, made in made_by_document(outline, pairs(outline, 17, 0.1, rng)).items():
        last = sentences(outline, d)[-1]
        for piece in made:
            (alone if piece.begin == last else together).append(piece.is_random)
    assert all(alone) and len(together) > 5000
    assert abs(np.mean(together) - 0.5) < 5 * 0.5 / np.sqrt(len(together))


def test_a_random_second_part_is_from_another_document():
    rng = np.random.default_rng(1)
    corpus = corpus_of(documents(11, rng))
    outline = Outline.of(corpus)
    for _ in range(50):
        for piece in pairs(outline, 13, 0.1, rng):
            first, second = np.searchsorted(
                corpus.starts, (piece.begin, piece.other_begin), "right"
            )
            assert (first != second) == piece.is_random


def test_a_random_second_part_begins_at_any_sentence_of_any_other_document():
    rng = np.random.default_rng(2)
    outline = Outline.of(corpus_of([[1], [2, 3, 5], [1, 1]]))
    seen = defaultdict(int)
    for _ in range(4000):
        for piece in pairs(outline, 50, 0, rng)[:1]:
            seen[piece.other_begin] += 1
    assert set(seen) == {2, 4, 7, 13, 14}  # half the time each document, a third or half a sentence
    for begin, count in seen.items():
        chance = 1 / 6 if begin < 13 else 1 / 4
        assert abs(count / 4000 - chance) < 5 * np.sqrt(chance * (1 - chance) / 4000)


def test_the_cut_falls_behind_any_sentence_but_the_last():
    rng = np.random.default_rng(3)
    outline = Outline.of(corpus_of([[1] * 5, [1]]))
    ends = [pairs(outline, 5, 0, rng)[0].end for _ in range(4000)]
    for end in (1, 2, 3, 4):
        assert abs(np.mean(np.array(ends) == end) - 1 / 4) < 5 * np.sqrt(3 / 16 / 4000)


def test_a_document_draws_its_shorter_length_once_and_from_two_on():
    rng = np.random.default_rng(4)
    outline = Outline.of(corpus_of([[1] * 60] * 2000))
    drawn = []
    for made in made_by_document(outline, pairs(outline, 7, 1.0, rng)).values():
        whole = [p.other_end - p.begin for p in made[:-1] if not p.is_random]
        assert len(set(whole)) <= 1
        drawn += whole[:1]
    for length in range(2, 8):
        assert abs(np.mean(np.array(drawn) == length) - 1 / 6) < 0.05
    rare = pairs(outline, 7, 0.1, rng)
    shorter = [p.other_end - p.begin < 7 for p in rare if not p.is_random and p.other_end % 61 < 53]
    assert np.mean(shorter) > 0.1  # a document of short pieces has more of them


def release(a, b, size, rng):
    """The published truncation, token by token."""
    a, b = list(range(a)), list(range(b))
    while len(a) + len(b) > size:
        longer = a if len(a) > len(b) else b
        longer.pop(0 if rng.random() < 0.5 else -1)
    return a, b


@given(st.integers(1, 40), st.integers(1, 40), st.integers(2, 50))
def test_both_spans_keep_as_many_tokens_as_in_the_release(a, b, size):
    rng = np.random.default_rng(0)
    a_begin, a_end, b_begin, b_end = trimmed((100, 100 + a), (200, 200 + b), size, rng)
    assert 100 <= a_begin <= a_end <= 100 + a and 200 <= b_begin <= b_end <= 200 + b
    first, second = release(a, b, size, rng)
    assert (a_end - a_begin, b_end - b_begin) == (len(first), len(second))


def test_both_spans_lose_tokens_at_front_and_end_as_in_the_release():
    rng = np.random.default_rng(0)
    ours = [trimmed((0, 19), (0, 13), 11, rng)[::2] for _ in range(3000)]
    theirs = [[part[0] for part in release(19, 13, 11, rng)] for _ in range(3000)]
    np.testing.assert_allclose(np.mean(ours, 0), np.mean(theirs, 0), atol=0.2)
    np.testing.assert_allclose(np.std(ours, 0), np.std(theirs, 0), atol=0.15)


# --- where the sentences are


@pytest.mark.parametrize("kind", [WordPiece, Words, Chars])
def test_an_outline_has_the_sentences_of_the_text(kind):
    texts = ["One two. Three four! Five", "", "Six seven. Eight."]
    tokenizer = WordPiece.train(texts, 60, exact=False) if kind is WordPiece else kind.train(texts)
    for end in (None, tokenizer.end_id):
        corpus = encode_corpus(texts, tokenizer, end, structure=True)
        outline = Outline.of(corpus)
        spans = zip(outline.begins, outline.ends, strict=True)
        read = [tokenizer.decode(corpus.ids[begin:end]) for begin, end in spans]
        found = [re.findall(r"\w+", sentence)[0].lower() for sentence in read]
        assert found == ["one", "three", "five", "six", "eight"]
        assert outline.documents == [0, 3, 5] and outline.n_cut == 0


@pytest.mark.parametrize("every", [1, 3, 10_000])
def test_a_document_without_sentence_ends_is_cut_into_spans_where_words_begin(every):
    corpus = corpus_of([[7 * SPAN + 3], [2 * SPAN, 2], [SPAN]])
    begins_word = np.arange(len(corpus)) % every == 0
    outline = Outline.of(Corpus(**{**vars(corpus), "word_starts": begins_word}))
    first = outline.documents[1]
    assert outline.n_cut == 1 and outline.documents[2:] == [first + 2, first + 3]
    assert outline.begins[1:first] == outline.ends[: first - 1]
    spans = np.subtract(outline.ends, outline.begins)[: first - 1]
    assert spans.min() > SPAN - 3 and spans.max() < SPAN + 3
    if every < SPAN:
        assert begins_word[outline.begins[:first]].all()


def test_a_corpus_without_structure_or_without_text_is_one_sentence():
    words = Words.train(["a b"])
    with pytest.raises(TinylmError, match="structure=True"):
        Outline.of(encode_corpus(["a b"], words))
    with pytest.raises(TinylmError, match="not special"):
        Outline.of(encode_corpus(["", " "], words, words.end_id, structure=True))


# --- one span a piece


@given(st.integers(1, 200), st.integers(2, 31), st.floats(0, 1), st.integers(0, 5))
def test_stretches_cover_the_corpus_once(n_ids, size, short_rate, seed):
    made = stretches(n_ids, size, short_rate, np.random.default_rng(seed))
    covered = np.concatenate([np.arange(piece.begin, piece.end) for piece in made])
    assert np.array_equal(covered, np.arange(n_ids))
    assert max(piece.end - piece.begin for piece in made) <= size
    if short_rate == 0:
        assert {piece.end - piece.begin for piece in made[1:-1]} <= {size}


# --- epochs


CORPUS = corpus_of(documents(31, np.random.default_rng(0)))


@pytest.mark.parametrize("next_sentence", [True, False])
@pytest.mark.parametrize("duplicates", [0, 3])
def test_a_batch_depends_on_step_and_seed_alone(next_sentence, duplicates):
    def epochs():
        return Epochs(CORPUS, 13, 0.1, next_sentence, duplicates)

    used = epochs()
    in_order = [used.take(step, 5, seed=1) for step in range(40)]
    for step in (39, 3, 17, 0):
        assert epochs().take(step, 5, seed=1) == in_order[step]
    assert epochs().take(3, 5, seed=2) != in_order[3]


@pytest.mark.parametrize("duplicates", [1, 2])
def test_duplicates_come_again_in_another_order(duplicates):
    epochs = Epochs(CORPUS, 13, 0.1, duplicates=duplicates)
    n = len(epochs.pieces(0, 0))
    first, again = (epochs.take(epoch, n, 0) for epoch in (0, duplicates))
    assert sorted(first) == sorted(again) and first != again
    if duplicates > 1:
        assert sorted(first) != sorted(epochs.take(1, n, 0))


def test_without_duplicates_every_epoch_cuts_anew():
    epochs = Epochs(CORPUS, 13, 0.1)
    made = [epochs.pieces(version, 0) for version in range(3)]
    assert made[0] != made[1] != made[2]


@pytest.mark.named_set
@pytest.mark.parametrize("name", ["kjv", "wikipedia"])
def test_labels_balance_and_documents_differ_on_real_text(name):
    texts = load_texts(name)
    tokenizer = Words.train(texts, 20_000)
    corpus = encode_corpus(texts, tokenizer, tokenizer.end_id, structure=True)
    outline = Outline.of(corpus)
    ends = set(np.array(outline.ends)[np.array(outline.documents[1:]) - 1].tolist())
    labels = []
    # No short targets: a sentence that fills one is a chunk of its own, and always gets a random part.
    for piece in pairs(outline, 125, 0.0, np.random.default_rng(0)):
        first, second = np.searchsorted(corpus.starts, (piece.begin, piece.other_begin), "right")
        assert (first != second) == piece.is_random
        # A chunk that ends its document may have been a single sentence, as may a long one.
        if piece.end not in ends and piece.end - piece.begin < 60:
            labels.append(piece.is_random)
    assert len(labels) > 2000
    assert abs(np.mean(labels) - 0.5) < 5 * 0.5 / np.sqrt(len(labels))
