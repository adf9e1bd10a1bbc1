"""Several patterns for one task: the mean of what each says alone, and patterns that a task brings along."""

import json

import numpy as np
import pytest

from tinylm import GPT, GPTConfig, hub
from tinylm.app.cli import main
from tinylm.app.commands import classify
from tinylm.errors import DataError, TinylmError
from tinylm.text import Chars
from tinylm.transfer import PatternClassifier, PromptClassifier
from tinylm.transfer.patterns import PATTERNS, patterns_of

LETTERS = Chars("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ .,:")
TEXTS = ["the sea is wide", "a hill", "of"]
LABELS = {"wet": ["sea", "rain"], "dry": ["land"]}
SEVERAL = ["{text} is {label}", "{label} or {text}", "so {text}: {label}."]


@pytest.fixture(scope="module")
def model():
    """A GPT of letters that learned nothing; its first weights are large, so that context counts."""
    sizes = dict(n_embd=12, n_layer=2, n_head=3, initializer_range=0.5)
    return GPT(GPTConfig(LETTERS.vocab_size, 61, **sizes)).astype(np.float64)


@pytest.mark.parametrize("neutral", [None, "no"])
def test_the_probabilities_are_the_mean_of_what_each_pattern_says(model, neutral):
    found = PatternClassifier(model, LETTERS, SEVERAL, LABELS, neutral)
    alone = []
    for pattern in SEVERAL:
        each = PromptClassifier(model, LETTERS, pattern, LABELS, neutral)
        alone.append(each.predict_proba(TEXTS))
    mean = sum(alone) / 3
    assert np.ptp(alone, axis=0).min() > 0  # the patterns do not agree
    np.testing.assert_allclose(found.predict_proba(TEXTS), mean, rtol=1e-12)
    best = found.classes_[mean.argmax(axis=1)]
    assert found.predict(TEXTS).tolist() == best.tolist()
    assert found.score(TEXTS, best) == 1


def test_the_order_of_the_patterns_does_not_matter(model):
    one = PatternClassifier(model, LETTERS, SEVERAL, LABELS).predict_proba(TEXTS)
    other = PatternClassifier(model, LETTERS, SEVERAL[::-1], LABELS).predict_proba(TEXTS)
    np.testing.assert_allclose(one, other, rtol=1e-12)


def test_one_pattern_is_the_classifier_of_that_pattern(model):
    found = PatternClassifier(model, LETTERS, SEVERAL[0], LABELS)
    same = PromptClassifier(model, LETTERS, SEVERAL[0], LABELS)
    np.testing.assert_array_equal(found.predict_proba(TEXTS), same.predict_proba(TEXTS))


@pytest.mark.parametrize("task", PATTERNS)
def test_a_task_brings_several_patterns_that_a_model_can_answer(model, task):
    found = PatternClassifier(model, LETTERS, task, LABELS)
    assert found.patterns == list(PATTERNS[task]) and len(found.patterns) > 1
    np.testing.assert_allclose(found.predict_proba(TEXTS).sum(axis=1), 1)
    assert all(pattern.startswith("{text}") for pattern in found.patterns)  # of any length


@pytest.mark.parametrize("patterns", [[], ["{text} {label}"] * 2])
def test_no_pattern_and_the_same_one_twice_are_one_sentence(patterns):
    with pytest.raises(TinylmError, match="give at least one, and each of them once"):
        patterns_of(patterns)


def test_a_word_that_one_of_the_patterns_cannot_spell_is_refused(model):
    with pytest.raises(DataError, match="has no token for the label word"):
        PatternClassifier(model, LETTERS, SEVERAL, ["sea", "\u6771"])


def test_the_command_takes_several_patterns_or_the_name_of_a_task(model, tmp_path, capsys):
    hub.save(tmp_path / "run", model, LETTERS)
    (tmp_path / "new.txt").write_text("\n".join(TEXTS))
    command = ["classify", str(tmp_path / "run"), str(tmp_path / "new.txt"), "--json"]
    command += ["--labels", "wet=sea|rain,dry=land"]
    loaded, letters = hub.load(tmp_path / "run")
    given = [part for pattern in SEVERAL for part in ("--pattern", pattern)]
    for how, patterns in ((given, SEVERAL), (["--task", "topic"], "topic")):
        assert main([*command, *how]) == 0
        found = json.loads(capsys.readouterr().out)
        expected = PatternClassifier(loaded, letters, patterns, LABELS)
        assert found["patterns"] == expected.patterns
        rows = [row["probability"] for row in found["texts"]]
        assert rows == expected.predict_proba(TEXTS).max(axis=1).tolist()
    twice = ["--pattern", SEVERAL[0]] * 2
    for wrong in ([], [*given, "--task", "topic"], twice, ["--task", "weather"]):
        with pytest.raises(SystemExit):
            main([*command, *wrong])


def test_the_tasks_of_the_command_are_those_that_have_patterns():
    assert set(classify.TASKS) == set(PATTERNS)
