"""Windows: every token is read, the answer's tokens are found again, and the best place is one only."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm import GPT1, Bert, BertConfig, GPT1Config, Word2Vec, Word2VecConfig
from tinylm.data.squad import Answer, Question
from tinylm.errors import DataError
from tinylm.text import Chars, WordPiece
from tinylm.text.template import XLNET
from tinylm.transfer import paired
from tinylm.transfer.features import take
from tinylm.transfer.tasks.windows import best_spans, max_context, read_questions, targets

TEXT = "gabe fed a cab and bade dad be"
WORDS = WordPiece.train([TEXT, "who did it"], 60, exact=False)


def bert_of_words(max_length=37):
    """A small BERT of word pieces."""
    sizes = dict(hidden_size=12, num_hidden_layers=1, num_attention_heads=3)
    config = BertConfig.tiny(WORDS.vocab_size, max_position_embeddings=max_length, **sizes)
    return Bert(config).eval(), WORDS


def gpt1_of_letters():
    """A small GPT-1 of letters with the tokens of tasks."""
    letters = Chars("abcdefghinotuw ")
    config = GPT1Config(letters.vocab_size, n_positions=37, n_embd=12, n_layer=1, n_head=3)
    return paired(GPT1(config).eval(), letters)


def padded_on_the_left():
    """Any encoder, with an encoding that is arranged as XLNet's."""
    letters = Chars("abcdefghinotuw ")
    letters.add_specials(["<sep>", "<cls>"])
    letters.arrange(XLNET)
    return Word2Vec(Word2VecConfig(letters.vocab_size, size=5)), letters


READERS = {"bert": bert_of_words, "gpt1": gpt1_of_letters, "left": padded_on_the_left}
QUESTIONS = [
    Question("a", "who did it", TEXT, (Answer("a cab", 9),)),
    Question("b", "who", "gabe", (Answer("gabe", 0),)),
    Question("c", "who", TEXT),
]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("stride", [2, 7, 100])
def test_the_tokens_of_the_text_and_its_answer_stand_where_the_reading_says(reader, stride):
    encoder, tokenizer = READERS[reader]()
    reading = read_questions(encoder, tokenizer, QUESTIONS, 31, stride, 64)
    places = targets(reading, QUESTIONS)
    seen = [set() for _ in QUESTIONS]
    answered = set()
    for r, n in enumerate(reading.question):
        question = QUESTIONS[n]
        begin, count = reading.begin[r], reading.count[r]
        ids = reading.encoded["ids"][r, begin : begin + count]
        own = tokenizer.encode(question.context)
        offsets = tokenizer.offsets(question.context)
        first = offsets.index(tuple(reading.offsets[r][0]))
        assert ids.tolist() == own[first : first + count]
        seen[n] |= set(range(first, first + count))
        assert reading.encoded["mask"][r].sum() <= 31
        if (places[r] == reading.nowhere[r]).all():
            continue
        i, j = places[r] - begin
        chars = reading.offsets[r]
        assert question.context[chars[i, 0] : chars[j, 1]].strip() == question.answers[0].text
        answered.add(n)
    assert answered == {0, 1}
    assert [len(each) for each in seen] == [len(tokenizer.encode(q.context)) for q in QUESTIONS]


@pytest.mark.parametrize("reader", READERS)
def test_nowhere_is_the_token_for_the_whole_input_and_no_token_of_the_text(reader):
    encoder, tokenizer = READERS[reader]()
    reading = read_questions(encoder, tokenizer, QUESTIONS, 31, 7, 64)
    rows = np.arange(len(reading.question))
    ids = reading.encoded["ids"][rows, reading.nowhere]
    name = {"bert": "[CLS]", "gpt1": "<classify>", "left": "<cls>"}[reader]
    assert (ids == tokenizer.token_id(name)).all()
    columns = reading.encoded["mask"].any(axis=0)
    allowed = reading.allowed(rows, columns)
    np.testing.assert_array_equal(allowed.sum(axis=1), reading.count + 1)
    some = reading.encoded["mask"][1:2].any(axis=0)
    batch = take(reading.encoded, [1])
    assert reading.allowed(rows[1:2], some).shape == batch["mask"].shape


@given(st.integers(1, 40), st.integers(1, 9), st.data())
def test_every_token_has_its_largest_context_in_exactly_one_window(length, size, data):
    stride = data.draw(st.integers(1, size))
    firsts, counts = [], []
    first = 0
    while True:
        firsts.append(first)
        counts.append(min(size, length - first))
        if first + size >= length:
            break
        first += stride
    found = max_context(firsts, counts)
    owners = np.zeros(length, int)
    for first, part in zip(firsts, found, strict=True):
        owners[first : first + part.size] += part
    assert (owners == 1).all()
    for token in range(length):  # no window gives it more context, as the paper's script counts
        score = {}
        for w, (first, count) in enumerate(zip(firsts, counts, strict=True)):
            if first <= token < first + count:
                score[w] = min(token - first, first + count - 1 - token) + 0.01 * count
        best = max(score, key=score.get)
        assert found[best][token - firsts[best]]


def test_the_best_spans_are_those_of_an_exhaustive_search():
    encoder, tokenizer = gpt1_of_letters()
    reading = read_questions(encoder, tokenizer, QUESTIONS[:1], 31, 7, 64)
    rng = np.random.default_rng(5)
    for row in range(len(reading.question)):
        scores = rng.normal(size=(*reading.encoded["mask"].shape[1:], 2))
        begin = reading.begin[row]
        every = []
        for i in np.flatnonzero(reading.best[row]):
            for j in range(i, min(i + 3, reading.count[row])):
                value = scores[begin + i, 0] + scores[begin + j, 1]
                ends = (int(reading.offsets[row][i, 0]), int(reading.offsets[row][j, 1]))
                every.append((value, *ends))
        every.sort(key=lambda span: -span[0])
        found = best_spans(reading, row, scores, max_answer=3, count=5)
        assert found == [pytest.approx(span) for span in every[:5]]


def test_a_question_that_leaves_no_room_is_refused_and_long_ones_are_cut():
    encoder, tokenizer = gpt1_of_letters()
    long = [Question("a", "who did it " * 9, TEXT)]
    with pytest.raises(DataError, match="too few for the question"):
        read_questions(encoder, tokenizer, long, 31, 7, 64)
    reading = read_questions(encoder, tokenizer, long, 31, 7, max_question=5)
    assert reading.encoded["ids"].shape[1] == 31
    with pytest.raises(DataError, match="there are none"):
        read_questions(encoder, tokenizer, [], 31, 7, 64)


def test_a_text_without_tokens_can_only_be_answered_with_nothing():
    encoder, tokenizer = bert_of_words()
    empty = [Question("a", "who", ""), Question("b", "who", " ")]
    reading = read_questions(encoder, tokenizer, empty, 31, 7, 64)
    assert reading.count.tolist() == [0, 0]
    assert best_spans(reading, 0, np.zeros((31, 2)), 3, 5) == []
    np.testing.assert_array_equal(targets(reading, empty), reading.nowhere[:, None].repeat(2, 1))
