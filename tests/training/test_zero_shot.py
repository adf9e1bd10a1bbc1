"""Tasks by prompt: scores obey the chain rule, prompts are the paper's, and a small GPT really translates."""

import numpy as np
import pytest

from tinylm import GPT, GPTConfig, Trainer
from tinylm.data import encode_corpus, toy
from tinylm.errors import ArgumentError, DataError, ShapeError, TinylmError
from tinylm.objectives import Objective
from tinylm.objectives.bert import Bert, BertConfig
from tinylm.sampling import log_probabilities
from tinylm.text import Chars, Words
from tinylm.training.train import TrainConfig
from tinylm.training.zero_shot import (
    answer,
    choose,
    score,
    summarise,
    token_log_probabilities,
    translate,
)

LETTERS = Chars("abcdefgh .=")
T = 11


def gpt(positions=T):
    """A small GPT of LETTERS."""
    config = GPTConfig(
        LETTERS.vocab_size, positions, n_embd=12, n_layer=2, n_head=3, initializer_range=0.5
    )
    return GPT(config).astype(np.float64)


def ids(length, seed=0):
    """Random letters."""
    return np.random.default_rng(seed).integers(3, LETTERS.vocab_size, length)


# --- scores


@pytest.mark.parametrize("length", [1, 2, T, T + 1])
def test_a_short_text_is_scored_in_one_reading(length):
    model, text = gpt(), ids(length)
    found = token_log_probabilities(model, text)
    expected = []
    if length > 1:
        scores = log_probabilities(model.eval().logits(text[None, :-1]).data[0])
        expected = scores[np.arange(length - 1), text[1:]]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("length", [T + 2, 3 * T, 41])
def test_every_token_of_a_long_text_sees_at_least_half_a_window(length):
    model, text = gpt(), ids(length)
    found = token_log_probabilities(model, text)
    assert len(found) == length - 1
    model.eval()
    for t in range(1, length):
        possible = []
        for seen in range(min(t, T // 2 + 1), min(t, T) + 1):
            logits = model.logits(text[None, t - seen : t]).data[0, -1]
            possible.append(log_probabilities(logits)[text[t]])
        assert np.isclose(possible, found[t - 1], rtol=1e-9).any()


def test_reading_restores_the_mode_and_leaves_no_dropout():
    model, text = gpt(), ids(7)
    first = token_log_probabilities(model, text)
    np.testing.assert_array_equal(first, token_log_probabilities(model, text))
    assert model.training


def test_the_chain_rule_holds_for_scores():
    model = gpt()
    [both] = score(model, LETTERS, "abc", ["de fg"])
    [first] = score(model, LETTERS, "abc", ["de"])
    [second] = score(model, LETTERS, "abcde", [" fg"])
    assert both.total == pytest.approx(first.total + second.total, rel=1e-12)
    assert len(both.nats) == 5 and both.mean == pytest.approx(both.total / 5)


def test_the_probabilities_of_all_next_tokens_sum_to_one():
    letters = [LETTERS.decode([i]) for i in range(3, LETTERS.vocab_size)]
    model = gpt()
    scores = score(model, LETTERS, "ab c", letters)
    specials = np.exp(log_probabilities(model.eval().logits([LETTERS.encode("ab c")]).data[0, -1]))
    total = sum(np.exp(found.total) for found in scores) + specials[:3].sum()
    assert total == pytest.approx(1, rel=1e-12)


def test_an_empty_prompt_is_the_beginning_of_a_text():
    model = gpt()
    [found] = score(model, LETTERS, "", ["abc"])
    text = [LETTERS.end_id, *LETTERS.encode("abc")]
    np.testing.assert_allclose(found.nats, token_log_probabilities(model, text))


@pytest.mark.parametrize("prompt", ["", "the"])
def test_with_fastais_rules_every_text_begins_with_its_mark(prompt):
    """As in a corpus and in a task: the model has never read a text without it."""
    words = Words(["the", "cat", "sat"], rules=True)
    model = GPT(GPTConfig(words.vocab_size, T, 6, 1, 2, initializer_range=0.5)).astype(np.float64)
    [found] = score(model, words, prompt, [" cat sat"])
    text = [words.begin_id, *words.encode(prompt + " cat sat")]
    np.testing.assert_allclose(found.nats, token_log_probabilities(model, text)[-2:])


def test_a_token_on_the_border_belongs_to_the_continuation():
    words = Words(["the", "cat", "cats"])
    model = GPT(GPTConfig(words.vocab_size, 7, 6, 1, 2)).astype(np.float64)
    [whole] = score(model, words, "the cat", ["s"])
    [apart] = score(model, words, "the ", ["cats"])
    assert whole.total == pytest.approx(apart.total)


def test_the_choice_is_the_best_by_mean_or_by_total():
    model, candidates = gpt(), ["a", "bcd", "ef g", "h h h h"]
    scores = score(model, LETTERS, "ab", candidates)
    means, totals = [s.mean for s in scores], [s.total for s in scores]
    assert choose(model, LETTERS, "ab", candidates) == np.argmax(means)
    assert choose(model, LETTERS, "ab", candidates, by="total") == np.argmax(totals)


def test_what_cannot_be_scored_is_a_sentence():
    with pytest.raises(TinylmError, match="bert gives no probability to a text"):
        token_log_probabilities(Bert(BertConfig.tiny(13)), [1, 2])
    with pytest.raises(DataError, match="'' holds no token"):
        score(gpt(), LETTERS, "a", [""])
    with pytest.raises(ShapeError, match="expected .T,."):
        token_log_probabilities(gpt(), [[1, 2]])
    with pytest.raises(TinylmError, match="by is 'sum'"):
        choose(gpt(), LETTERS, "a", ["b"], by="sum")
    with pytest.raises(TinylmError, match="no candidates"):
        choose(gpt(), LETTERS, "a", [])


# --- prompts


class Scripted(Objective):
    """A model that writes a given text whatever it reads, and remembers the prompt."""

    def __init__(self, tokenizer, text):
        self.script = [*tokenizer.encode(text), tokenizer.end_id]
        super().__init__(self.Config(tokenizer.vocab_size))

    def build(self, config, rng):
        self.prompt = []

    def start_cache(self, batch_size, length):
        return {"next": 0}

    def step(self, ids, cache):
        if cache["next"] == 0:
            self.prompt = ids[0].tolist()
        scores = np.zeros((1, self.config.vocab_size))
        scores[0, self.script[cache["next"]]] = 1e6
        cache["next"] += 1
        return scores


SIGNS = Chars("abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ.:;=?!\n")


def scripted(text):
    """(a Scripted of SIGNS, a function that gives the prompt that it has read)."""
    model = Scripted(SIGNS, text)
    return model, lambda: SIGNS.decode(model.prompt)


def test_a_summary_without_sentences_is_refused_before_anything_is_written():
    model = Scripted(SIGNS, "")
    with pytest.raises(ArgumentError, match="sentences is -1"):
        summarise(model, SIGNS, "A story.", np.random.default_rng(0), sentences=-1)
    assert not model.prompt


def test_a_summary_is_three_sentences_after_tldr():
    model, prompt = scripted(" It rained. We left! Why? Nobody knew. More.")
    found = summarise(model, SIGNS, "A long story.", np.random.default_rng(0))
    assert found == "It rained. We left! Why?"
    assert prompt() == "A long story.\nTL;DR:"


def test_a_translation_is_one_sentence_after_the_examples():
    model, prompt = scripted(" le chien dort. Il ronfle.\nthe cat = le chat")
    examples = [("a cat", "un chat"), ("a dog", "un chien")]
    assert translate(model, SIGNS, examples, "the dog sleeps.") == "le chien dort."
    assert prompt() == "a cat = un chat\na dog = un chien\nthe dog sleeps. ="
    model, _ = scripted(" le chien\nthe cat = le chat.")
    assert translate(model, SIGNS, examples, "the dog") == "le chien"


def test_what_is_written_with_fastais_rules_stands_behind_the_mark():
    words = Words("a wet day tl ; dr : it rained".split(), rules=True)
    model = Scripted(words, "it rained")
    assert summarise(model, words, "a wet day", np.random.default_rng(0)) == "it rained"
    assert model.prompt == [words.begin_id, *words.encode("a wet day\nTL;DR:")]


def test_an_answer_is_one_line_after_document_and_history():
    model, prompt = scripted(" blue\nQ: next")
    found = answer(model, SIGNS, "The sea is blue.", "What colour?", [("Who?", "The sea")])
    assert found == "blue"
    assert prompt() == "The sea is blue.\nQ: Who?\nA: The sea\nQ: What colour?\nA:"


def test_writing_ends_with_the_text_or_after_some_tokens():
    model, _ = scripted("one two")
    assert answer(model, SIGNS, "D", "Q") == "one two"
    assert answer(model, SIGNS, "D", "Q", steps=3) == "one"


NO_DROPOUT = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
SIZES = {"n_positions": 48, "n_embd": 64, "n_layer": 2, "n_head": 4, "initializer_range": 0.1}
LINES = 15_000


def test_a_small_gpt_learns_to_translate_by_prompt():
    """Lines "sentence = translation" are all that it learns from; the sentences of the test are new."""
    language, rng = toy.Language(), np.random.default_rng(0)
    pairs = [language.translation(rng) for _ in range(LINES)]
    texts = [f"{source} = {target}" for source, target in pairs]
    words = Words.train(texts)
    model = GPT(GPTConfig(words.vocab_size, batch_size=16, **SIZES, **NO_DROPOUT))
    model.prepare(encode_corpus(texts, words))
    training = TrainConfig.of(GPT, steps=1000, lr=8e-3)
    Trainer(model, words, config=training, quiet=True).run()
    known = {source for source, _ in pairs}
    right = 0
    tested = 0
    while tested < 100:
        sentence, expected = language.translation(rng)
        if sentence in known:
            continue
        tested += 1
        found = translate(model, words, pairs[tested : tested + 2], sentence, steps=15)
        right += found == expected
    assert right >= 80


def test_one_string_is_no_list_of_continuations():
    for call in (score, choose):
        with pytest.raises(ArgumentError, match="is one string, 'bad'; expected a list"):
            call(gpt(), LETTERS, "a", "bad")
