"""BLEU and ROUGE by hand, by their laws, and against the published scorers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm.errors import ArgumentError, ShapeError
from tinylm.transfer.tasks.overlap import bleu, common_length, rouge

words = st.lists(st.sampled_from("the sea is calm The a1 , . é".split()), max_size=9).map(" ".join)
filled = words.filter(bool)


def test_bleu_of_a_text_found_by_hand():
    # 1-grams 4/5, 2-grams 3/4, 3-grams 2/3, 4-grams 1/2; the lengths are equal
    expected = 100 * (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25
    assert bleu([["the sea is calm today"]], ["the sea is calm now"]) == pytest.approx(expected)


def test_a_word_counts_as_often_as_a_reference_holds_it():
    assert rouge(["the sea"], ["the the the the"])["rouge1"] == pytest.approx(2 / 6)
    assert bleu([["the cat is on the mat"]], ["the the the the the the the"]) < 10


@given(filled)
def test_a_text_repeats_itself_whole(text):
    n = len(text.split())
    assert bleu([[text]], [text]) == pytest.approx(100.0 if n >= 4 else 0.0)
    scores = rouge([text], [text])
    assert scores["rouge1"] in (0.0, 1.0) and scores["rougeL"] == scores["rouge1"]


@given(st.text("abc", max_size=7), st.text("abc", max_size=7))
def test_the_longest_common_sequence_is_that_of_an_exhaustive_search(first, second):
    best = 0
    for bits in range(2 ** len(first)):
        kept = [letter for i, letter in enumerate(first) if bits >> i & 1]
        rest = iter(second)
        if all(letter in rest for letter in kept):
            best = max(best, len(kept))
    assert common_length(first, second) == best


def test_another_number_of_references_is_refused():
    for score in (bleu, rouge):
        with pytest.raises(ShapeError, match="1 references and 2 texts"):
            score(["a"], ["a", "b"])


@pytest.mark.peer
@given(st.lists(st.tuples(st.lists(filled, min_size=2, max_size=2), words), min_size=1, max_size=5))
def test_bleu_is_sacrebleus(pairs):
    import sacrebleu

    references = [options for options, _ in pairs]
    texts = [text for _, text in pairs]
    streams = [list(stream) for stream in zip(*references, strict=True)]
    expected = sacrebleu.corpus_bleu(texts, streams, tokenize="none", force=True).score
    assert bleu(references, texts) == pytest.approx(expected, abs=1e-6)


@pytest.mark.peer
@given(filled, words)
def test_rouge_is_rouge_scores(reference, text):
    from rouge_score import rouge_scorer

    theirs = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"]).score(reference, text)
    ours = rouge([reference], [text])
    for name, score in theirs.items():
        assert ours[name] == pytest.approx(score.fmeasure), name


def test_a_single_translation_stands_in_a_list_too():
    with pytest.raises(ArgumentError, match="references"):
        bleu(["the sea is calm today"], ["the sea is calm today"])
