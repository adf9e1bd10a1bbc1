"""Prompting: the model's own probabilities of label words, wherever the pattern wants them."""

import json

import numpy as np
import pytest

from tinylm import GPT, Bert, BertConfig, GPTConfig, hub
from tinylm.app.cli import main
from tinylm.data import encode_corpus, load_labelled, load_texts, toy
from tinylm.errors import DataError, TinylmError
from tinylm.text import Chars, Words
from tinylm.training.filling import fill
from tinylm.training.pretrain import learn_encoding
from tinylm.training.train import TrainConfig, Trainer
from tinylm.training.zero_shot import score
from tinylm.transfer.prompting import PromptClassifier, words_of

LETTERS = Chars("abcdefghijklmnopqrstuvwxyz .")
TEXTS = ["the sea is wide", "a hill", "of"]


def gpt(positions=61):
    """A GPT of letters that learned nothing; its first weights are large, so that context counts."""
    config = GPTConfig(
        LETTERS.vocab_size, positions, n_embd=12, n_layer=2, n_head=3, initializer_range=0.5
    )
    return GPT(config).astype(np.float64)


@pytest.fixture(scope="module", params=["wordpiece", "words", "bpe", "unigram"])
def masked(request):
    """A BERT that learned nothing and its tokenizer, of each kind."""
    tokenizer = learn_encoding(Bert, request.param, toy.documents(40, seed=1), 300, {})
    model = Bert(BertConfig.tiny(tokenizer.vocab_size + 7, hidden_size=12))
    model.spell(tokenizer.vocab, tokenizer.special_ids)
    return model, tokenizer


def normalised(scores):
    """exp of the scores, as shares of their sum."""
    p = np.exp(scores)
    return p / p.sum()


# --- causal models


def test_a_causal_model_gives_each_label_its_probability_as_a_continuation():
    model = gpt()
    found = PromptClassifier(model, LETTERS, "{text} is {label}", ["wet", "dry land"])
    for text, row in zip(TEXTS, found.predict_proba(TEXTS), strict=True):
        scores = score(model, LETTERS, f"{text} is ", ["wet", "dry land"])
        np.testing.assert_allclose(row, normalised([s.mean for s in scores]), rtol=1e-10)


def test_what_stands_behind_the_label_counts_as_evidence():
    model = gpt()
    found = PromptClassifier(model, LETTERS, "a {label} thing. {text}.", ["wet", "dry"])
    for text, row in zip(TEXTS, found.predict_proba(TEXTS), strict=True):
        values = []
        for word in ("wet", "dry"):
            [own] = score(model, LETTERS, "a ", [word])
            [rest] = score(model, LETTERS, f"a {word}", [f" thing. {text}."])
            values.append(own.mean + rest.total)
        np.testing.assert_allclose(row, normalised(values), rtol=1e-9)


def test_a_pattern_may_begin_with_its_label():
    model = gpt()
    found = PromptClassifier(model, LETTERS, "{label}: {text}", ["wet", "dry"])
    [own] = score(model, LETTERS, "", ["wet: of"])
    [other] = score(model, LETTERS, "", ["dry: of"])
    nats = []
    for each in (own, other):
        nats.append(each.nats[:3].mean() + each.nats[3:].sum())
    np.testing.assert_allclose(found.predict_proba(["of"])[0], normalised(nats), rtol=1e-10)


@pytest.mark.parametrize("pattern", ["{label} {text}", "{text} {label}"])
def test_with_fastais_rules_a_pattern_stands_behind_the_mark(pattern):
    words = Words(["the", "sea", "hill", "wide"], rules=True)
    config = GPTConfig(words.vocab_size, 13, n_embd=12, n_layer=2, n_head=3, initializer_range=0.5)
    model = GPT(config).astype(np.float64)
    [found] = PromptClassifier(model, words, pattern, ["sea", "hill"]).predict_proba(["the wide"])
    totals = []
    for label in ("sea", "hill"):
        filled = pattern.format(text="the wide", label=label)
        first = filled.index(label)
        [scored] = score(model, words, filled[:first], [filled[first:]])
        totals.append(scored.total)
    np.testing.assert_allclose(found, normalised(totals), rtol=1e-9)


# --- masked models


def test_a_masked_model_fills_the_gap_with_the_label_words(masked):
    model, tokenizer = masked
    single = []
    for word in "the in was not . by".split():
        if len(tokenizer.encode(f"sea {word}")) == len(tokenizer.encode("sea")) + 1:
            single.append(word)
    assert len(single) >= 2
    found = PromptClassifier(model, tokenizer, "{text} {label} .", single[:2])
    [row] = found.predict_proba(["the sea"])
    [choices] = fill(model, tokenizer, "the sea [MASK] .", count=tokenizer.vocab_size)
    chances = {choice.text: choice.probability for choice in choices}
    expected = np.array([chances[word] for word in single[:2]])
    np.testing.assert_allclose(row, expected / expected.sum(), rtol=1e-4)


def test_a_word_of_several_tokens_gets_as_many_gaps():
    tokenizer = learn_encoding(Bert, "chars", ["abc defg ."], 300, {})
    model = Bert(BertConfig.tiny(tokenizer.vocab_size, hidden_size=12))
    model.spell(tokenizer.vocab, tokenizer.special_ids)
    found = PromptClassifier(model, tokenizer, "{text} {label}.", ["ab", "gef"])
    scores = []
    for word in ("ab", "gef"):
        gaps = fill(model, tokenizer, f"de {'[MASK]' * len(word)}.", count=30)
        nats = []
        for letter, choices in zip(word, gaps, strict=True):
            nats += [np.log(c.probability) for c in choices if c.token == letter]
        scores.append(np.mean(nats))
    np.testing.assert_allclose(found.predict_proba(["de"])[0], normalised(scores), rtol=1e-4)


# --- from words to labels


def test_a_label_is_as_probable_as_its_words_in_the_mean():
    model = gpt()
    each = PromptClassifier(model, LETTERS, "{text} is {label}", ["a", "b", "c"])
    both = PromptClassifier(model, LETTERS, "{text} is {label}", {"x": ["a", "b"], "y": "c"})
    p = each.predict_proba(TEXTS)
    expected = np.stack([(p[:, 0] + p[:, 1]) / 2, p[:, 2]], axis=1)
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(both.predict_proba(TEXTS), expected, rtol=1e-10)
    assert both.classes_.tolist() == ["x", "y"]


def test_a_neutral_text_says_nothing_for_any_label():
    model = gpt()
    found = PromptClassifier(model, LETTERS, "{text} is {label}", ["a", "bc"], neutral="of")
    np.testing.assert_allclose(found.predict_proba(["of"])[0], [0.5, 0.5], rtol=1e-12)
    plain = PromptClassifier(model, LETTERS, "{text} is {label}", ["a", "bc"])
    p = plain.predict_proba(["the sea"])[0] / plain.predict_proba(["of"])[0]
    np.testing.assert_allclose(found.predict_proba(["the sea"])[0], p / p.sum(), rtol=1e-10)


def test_a_text_too_long_is_read_from_its_beginning():
    model = gpt(positions=23)
    found = PromptClassifier(model, LETTERS, "{text} is {label}", ["wet", "dry"])
    assert found.room == 23 - len(" is wet") - 1
    long = "abcdefghijklmnopqrstuvwxyz"
    same = found.predict_proba([long, long[: found.room], long[: found.room - 1]])
    np.testing.assert_array_equal(same[0], same[1])
    assert not np.allclose(same[1], same[2])


def test_a_long_text_leaves_room_for_the_pattern_in_a_masked_model(masked):
    model, tokenizer = masked
    words = [token for token in ("the", "in") if tokenizer.encode(token)]
    found = PromptClassifier(model, tokenizer, "{text} was {label} .", words)
    assert np.isfinite(found.predict_proba(["the sea in the " * 60])).all()


# --- mistakes


def test_mistakes_are_one_sentence():
    model = gpt()
    for pattern in ("{text}", "{label}", "{text} {label} {label}"):
        with pytest.raises(TinylmError, match="once each"):
            PromptClassifier(model, LETTERS, pattern, ["a", "b"])
    with pytest.raises(TinylmError, match="fewer than two labels"):
        PromptClassifier(model, LETTERS, "{text} {label}", ["a"])
    with pytest.raises(TinylmError, match="'x' has no word"):
        words_of({"x": [], "y": "b"})
    with pytest.raises(DataError, match="no token for the label word 'Ä'"):
        PromptClassifier(model, LETTERS, "{text} {label}", ["a", "Ä"])
    with pytest.raises(TinylmError, match="the model reads 7 at most"):
        PromptClassifier(gpt(positions=7), LETTERS, "{text} is {label}", ["wet", "dry"])
    bare = Words(["a", "b", "c"])
    bare.end_id = None
    model = GPT(GPTConfig(bare.vocab_size, 7, 6, 1, 2))
    found = PromptClassifier(model, bare, "{label} {text}", ["a", "b"])
    with pytest.raises(DataError, match="let the pattern begin with a word"):
        found.predict(["c"])


# --- the toy language: labels that no text names


@pytest.fixture(scope="module")
def reader():
    """A GPT that has read the toy language's texts, none of which holds the name of a topic."""
    texts = load_texts("toy")
    words = Words.train(texts)
    model = GPT(GPTConfig.tiny(words.vocab_size))
    model.prepare(encode_corpus(texts, words, end_id=words.end_id))
    Trainer(model, words, config=TrainConfig.of(GPT, steps=STEPS, lr=5e-3), quiet=True).run()
    return model, words


STEPS = 700
LANGUAGE = toy.Language()
NAME = LANGUAGE.first_names[0]  # somebody of whom each text goes on to speak
VERBS = {topic: LANGUAGE.lexicon[topic, "verb"][:5] for topic in toy.TOPICS}


def test_a_small_gpt_tells_topics_by_prompt(reader):
    test = load_labelled("toy", "test")
    found = PromptClassifier(*reader, f"{{text}} {NAME} {{label}}", VERBS)
    assert found.score(test.texts[:200], test.labels[:200]) >= 0.8


def test_the_command_labels_lines_and_measures_labelled_files(reader, tmp_path, capsys):
    hub.save(tmp_path / "gpt", *reader)
    test = load_labelled("toy", "test")
    (tmp_path / "new.txt").write_text(f"{test.texts[0]}\n\n{test.texts[1]}\n")
    lines = [f"{test.texts[i]}\t{test.labels[i]}\n" for i in range(24)]
    (tmp_path / "test.tsv").write_text("".join(lines))
    labels = ",".join(f"{topic}={'|'.join(words)}" for topic, words in VERBS.items())
    how = ["--pattern", f"{{text}} {NAME} {{label}}", "--labels", labels]
    folder = str(tmp_path / "gpt")
    assert main(["classify", folder, str(tmp_path / "new.txt"), *how]) == 0
    first, blank, second = capsys.readouterr().out.splitlines()
    found = PromptClassifier(*reader, f"{{text}} {NAME} {{label}}", VERBS)
    expected = found.predict(test.texts[:24])
    assert first.split("\t")[0] == expected[0] and second.split("\t")[0] == expected[1]
    assert blank == "" and first.endswith(test.texts[0])
    assert main(["classify", folder, str(tmp_path / "test.tsv"), *how, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [row["label"] for row in result["texts"]] == expected.tolist()
    assert result["accuracy"] == pytest.approx(np.mean(expected == test.labels[:24]))
    missing = ["--pattern", "{text} {label}", "--labels", "sailing=.,music=the"]
    assert main(["classify", folder, str(tmp_path / "test.tsv"), *missing]) == 2
    assert "'cooking', which --labels lacks" in capsys.readouterr().err
