"""A comparison of taggers: the same draws for all, entities as the score, the counting tagger beside them."""

import shutil
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm.errors import DataError, TinylmError
from tinylm.transfer import compare, findings, verdict
from tinylm.transfer.adapt import AdaptConfig
from tinylm.transfer.baselines import WordTags
from tinylm.transfer.budgets import example_budget
from tinylm.transfer.entities import entity_scores
from tinylm.transfer.results import COSTS
from tinylm.transfer.task import TaggedTask, load_task

SYSTEMS = ["majority", "word counts", "gpt features", "gpt fine-tuned", "gpt from scratch"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    config = compare.CompareConfig(
        data="tag:toy",
        objectives=("gpt",),
        minutes=0.004,
        labels=(3, 2),
        seeds=1,
        out=tmp_path_factory.mktemp("tags"),
        size="tiny",
        test_size=23,
        adapt=AdaptConfig(max_length=31, updates=5),
        quiet=True,
        scratch_labels=(5,),
    )
    return compare.run(config)


def test_every_system_is_scored_by_its_entities(finished):
    assert finished.methods() == SYSTEMS
    truth = finished.task.test_labels.tolist()
    for method in SYSTEMS:
        [f1] = finished.scores(method, 3)
        assert f1 == entity_scores(truth, finished.predicted[method]).f1
    assert finished.scores("majority", 3) == [0.0]
    assert (
        len(finished.scores("word counts", 5)) == len(finished.scores("gpt from scratch", 5)) == 1
    )
    assert finished.scores("gpt features", 5) == []


def test_a_second_run_finds_the_same(finished):
    again = compare.run(finished.config)
    assert again.rows == finished.rows and again.predicted == finished.predicted
    assert again.costs == finished.costs and again.costs["gpt"]["layers"] > 1


def test_lost_costs_are_measured_anew(finished, tmp_path):
    shutil.copytree(finished.config.out, tmp_path / "copy")
    (tmp_path / "copy" / COSTS).unlink()
    again = compare.run(replace(finished.config, out=tmp_path / "copy"))
    assert again.rows == finished.rows
    assert again.costs["gpt"]["layers"] == finished.costs["gpt"]["layers"]


def test_the_tables_and_the_sentence_speak_of_the_counting_tagger(finished):
    _, rows = verdict.cells(finished)
    assert [row[0] for row in rows] == SYSTEMS
    assert findings.sentences(finished)[1].startswith("word counts, which gives a word")


def test_a_budget_is_as_many_sentences_as_labels_for_each_type(finished):
    task = finished.task
    assert isinstance(task, TaggedTask) and task.n_classes == 2  # persons and places
    small = task.draw(2, seed=0)
    large = task.draw(7, seed=0)
    assert small.size == 4 and set(small) < set(large) and large.size == 14
    assert task.draw("all", 0).size == len(task.words)
    for sentence, text, tags in zip(task.words, task.texts, task.labels, strict=True):
        assert text == " ".join(sentence) and len(tags) == len(sentence)


def test_tags_without_a_type_have_one_for_all(tmp_path):
    path = tmp_path / "mentions.conll"
    path.write_text("".join(f"Anna{n} B\nBerg I\nsails O\n\n" for n in range(20)))
    task = load_task(path, 2)
    assert task.n_classes == 1 and task.largest_budget == len(task.labels) == 16
    assert task.draw(2, seed=0).size == 2


def test_what_a_tagger_has_no_place_for_is_refused_before_anything_is_trained(tmp_path):
    config = compare.CompareConfig(
        data="tag:toy", objectives=("gpt",), labels=(2,), out=tmp_path / "out", quiet=True,
        adapt=AdaptConfig(lm_coef=0.5),
    )  # fmt: skip
    with pytest.raises(TinylmError, match="lm_coef is 0.5"):
        compare.run(config)
    assert not (tmp_path / "out" / "gpt").exists()


@given(st.integers(1, 97), st.integers(0, 5), st.data())
def test_draws_of_examples_are_nested_and_have_their_size(n_examples, seed, data):
    n = data.draw(st.integers(1, n_examples))
    rows = example_budget(n_examples, n, seed)
    assert rows.size == n == np.unique(rows).size and rows.max() < n_examples
    assert set(example_budget(n_examples, max(1, n - 1), seed)) <= set(rows)
    with pytest.raises(DataError, match="smaller budget"):
        example_budget(n_examples, n_examples + 1, seed)


@given(st.lists(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"))), min_size=1))
def test_counting_tags_gives_no_word_a_rarer_tag_than_another(pairs):
    sentences = [[word for word, _ in row] for row in pairs]
    tags = [[tag for _, tag in row] for row in pairs]
    if not any(sentences):
        with pytest.raises(DataError):
            WordTags().fit(sentences, tags)
        return
    model = WordTags().fit(sentences, tags)
    counts = Counter(pair for row in pairs for pair in row)
    in_all = Counter(tag for row in tags for tag in row)
    [said] = model.predict([list("abcd")])
    for word, tag in zip("abc", said, strict=False):
        known = {t: counts[word, t] for t in "xyz"}
        assert known[tag] == max(known.values()) or not any(known.values())
    assert in_all[said[3]] == max(in_all.values())
    assert WordTags(words=False).fit(sentences, tags).predict([["a", "d"]]) == [[said[3]] * 2]


def test_tags_that_mark_no_entities_are_one_sentence(tmp_path):
    path = tmp_path / "mine.conll"
    path.write_text("a NN\nb VB\n\n" * 2 + "".join(f"w{i} NN\n\n" for i in range(9)), "utf-8")
    with pytest.raises(DataError, match="mark no entities"):
        load_task(path, 0)
