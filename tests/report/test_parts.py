"""The parts of the comparison's page, each from results made by hand."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markup import read

from tinylm import GPT, GPTConfig
from tinylm.report import confusion, costs, curves, examples, html, inside, maps
from tinylm.text import Chars
from tinylm.transfer.experiment import CompareConfig, Comparison
from tinylm.transfer.savings import clear_savings
from tinylm.transfer.task import Task

METHODS = ("majority", "TF-IDF", "gpt features", "gpt fine-tuned", "gpt from scratch")
LABELS = ["ice", "sea", "sun"]


def comparison(
    accuracies, truth=("ice", "sea", "sun"), predicted=None, texts=None, seeds=2, facts=None
):
    """A finished comparison of gpt.

    accuracies : method -> {budget: accuracy}; each seed beyond the first has a hundredth more
    """
    truth = np.array(truth, dtype=object)  # an array of strings would drop a NUL at the end
    texts = texts or [f"text {i}" for i in range(len(truth))]
    task = Task("posts", ["a"] * 60, np.array(LABELS * 20), texts, truth, len(texts))
    rows = []
    for method, by_budget in accuracies.items():
        for budget, accuracy in by_budget.items():
            for seed in range(seeds):
                score = accuracy + 0.01 * seed
                scores = {"accuracy": score, "macro_f1": score, "seconds": 1.5 + seed}
                rows.append({"method": method, "budget": budget, "seed": seed, **scores})
    budgets = {budget for by_budget in accuracies.values() for budget in by_budget}
    config = CompareConfig("toy", ("gpt",), labels=tuple(sorted(budgets)), seeds=seeds)
    pretrained = {"gpt": {"steps": 7, "seconds": 90.0, "loss": 3.0, **(facts or {})}}
    return Comparison(config, task, rows, pretrained, {}, predicted or {})


def grid(tuned, scratch, counted):
    """Accuracies at budgets 2 and 8."""
    values = [(0.1, 0.1), counted, (0.2, 0.2), tuned, scratch]
    return {
        method: dict(zip((2, 8), pair, strict=True))
        for method, pair in zip(METHODS, values, strict=True)
    }


said = st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), min_size=1)


@given(said)
def test_the_confusion_table_counts_every_post_once_and_the_right_ones_on_the_diagonal(pairs):
    truth, answers = zip(*pairs, strict=True)
    found = confusion.Answers("gpt fine-tuned", list(truth), list(answers))
    text = confusion.part(found, 2)
    cells = re.findall(r"<td( class=\"right\")?[^>]*>(\d*)</td>", text)
    assert sum(int(count or 0) for _, count in cells) == len(pairs)
    right = sum(int(count or 0) for kind, count in cells if kind)
    assert right == sum(a == b for a, b in pairs) == sum(found.right())


def test_of_many_classes_the_table_holds_those_with_most_mistakes():
    labels = [f"{i:02}" for i in range(53)]
    wrong = dict(zip(labels[7:20], labels[8:20], strict=False))
    found = confusion.Answers("gpt", labels, [wrong.get(label, label) for label in labels])
    shown = confusion.classes(found)
    assert len(shown) == confusion.MOST and set(labels[7:20]) <= set(shown)
    assert "33 are left out" in confusion.part(found, 2)


def test_the_shown_system_is_the_best_pretrained_one_whose_answers_were_kept():
    accuracies = grid(tuned=(0.4, 0.5), scratch=(0.2, 0.9), counted=(0.3, 0.9))
    kept = {method: LABELS for method in METHODS}
    assert confusion.best(comparison(accuracies, predicted=kept)).name == "gpt fine-tuned"
    del kept["gpt fine-tuned"]
    assert confusion.best(comparison(accuracies, predicted=kept)).name == "gpt features"
    assert confusion.best(comparison(accuracies)) is None


def test_the_heads_of_an_encoder_that_reads_little_are_shown_of_what_it_reads():
    letters = Chars("abcdefgh ")
    sizes = dict(n_positions=7, n_embd=6, n_head=2, n_layer=1)
    model = GPT(GPTConfig(letters.vocab_size, **sizes)).eval()
    layers, tokens = inside._weights(model, letters, ["abc defgh" * 5], 20)
    assert len(tokens) == 7 and [layer.shape for layer in layers] == [(2, 7, 7)]


def test_without_the_answers_of_the_twin_no_post_is_right_where_it_is_wrong():
    answers = ["ice", "sea", "sun"]
    predicted = {"gpt fine-tuned": answers, "TF-IDF": ["sun", "sun", "ice"]}
    found = comparison(grid((0.9, 0.9), (0.1, 0.1), (0.3, 0.3)), predicted=predicted)
    best = confusion.best(found)
    assert examples._won(best, examples._others(found, best)) == []


def test_examples_are_right_where_they_say_so():
    accuracies = grid(tuned=(0.4, 0.5), scratch=(0.2, 0.3), counted=(0.3, 0.4))
    truth = ["ice", "sea", "sun", "ice"]
    predicted = {
        "gpt fine-tuned": ["ice", "sun", "sun", "ice"],
        "gpt from scratch": ["ice", "sea", "ice", "sea"],
        "TF-IDF": ["ice"] * 4,
    }
    texts = ["zero", "one", "two", "three"]
    found = comparison(accuracies, truth, predicted, texts)
    text = examples.part(found, confusion.best(found))
    won, lost = text.split("<h3>")[1:]
    assert "two" in won and "three" in won and "zero" not in text
    assert "one" in lost and "gpt fine-tuned: <bdi>sun</bdi> <span>✗ wrong" in lost
    assert "gpt from scratch: <bdi>sea</bdi>" in lost and lost.count("✓ right") == 1


TEXTS = st.lists(st.text(min_size=1), min_size=3, max_size=3, unique=True)


@given(TEXTS, TEXTS)
def test_labels_and_texts_that_contain_markup_stay_text(labels, texts):
    def tags_and_text(names, posts):
        turned = [names[1], names[0], names[2]]
        predicted = {"gpt fine-tuned": turned, "TF-IDF": names, "gpt from scratch": names}
        accuracies = grid(tuned=(0.4, 0.5), scratch=(0.2, 0.3), counted=(0.3, 0.4))
        found = comparison(accuracies, names, predicted, posts)
        best = confusion.Answers("gpt fine-tuned", names, turned)
        parts = [confusion.part(best, 8), examples.part(found, best)]
        return read(html.page("t", *parts))

    plain = tags_and_text(LABELS, ["first", "second", "third"])
    full = tags_and_text(labels, texts)
    assert full.tags == plain.tags
    acting = {letter for letter in full.text if ord(letter) < 32 or 127 <= ord(letter) < 160}
    assert acting <= set("\t\n\r")


def test_a_panel_says_how_many_times_fewer_labels_are_needed():
    found = comparison(grid(tuned=(0.4, 0.5), scratch=(0.2, 0.4), counted=(0.3, 0.7)))
    saved = curves._saved(clear_savings(found), "gpt")
    assert (saved.few, saved.many) == (2, 8) and saved.says == "4.0 times fewer labels"
    worse = comparison(grid(tuned=(0.2, 0.3), scratch=(0.3, 0.4), counted=(0.3, 0.7)))
    assert curves._saved(clear_savings(worse), "gpt") is None
    hardly = comparison(grid(tuned=(0.205, 0.4), scratch=(0.2, 0.4), counted=(0.3, 0.7)))
    assert curves._saved(clear_savings(hardly), "gpt") is None


def test_a_panel_claims_no_saving_that_one_draw_contradicts():
    found = comparison(grid(tuned=(0.4, 0.5), scratch=(0.2, 0.4), counted=(0.3, 0.7)))
    for row in found.rows:
        if row["method"] == "gpt fine-tuned" and row["seed"] == 1:
            row["accuracy"] = 0.1
    assert curves._saved(clear_savings(found), "gpt") is None


def test_a_curve_of_parts_is_their_mean_and_a_run_without_a_log_has_none(tmp_path):
    lines = []
    for step in range(1, 4):
        parts = f'{{"masked": {step}, "other": {step + 2}, "next": 50}}'
        lines.append(
            f'{{"event": "step", "step": {step}, "loss": 99, "components": {parts}, "seconds": 60}}'
        )
    (tmp_path / "log.jsonl").write_text("\n".join(lines), encoding="utf-8")
    assert curves.curve(tmp_path, ("masked", "other")) == [(1, 2), (1, 3), (1, 4)]
    assert curves.curve(tmp_path) == [(1, 99)] * 3
    assert curves.curve(tmp_path / "none") == []


def test_costs_are_means_over_seeds_of_the_largest_budget():
    found = comparison(grid(tuned=(0.4, 0.5), scratch=(0.2, 0.4), counted=(0.3, 0.7)))
    cells = re.findall(r"<t[hd][^>]*>([^<]*)</t[hd]>", costs.part(found))
    gpt = cells.index("gpt")
    assert cells[gpt + 1 : gpt + 4] == ["–", "1.50", "–"] and "2.0" in cells[gpt:]


def test_memory_is_told_where_it_was_counted():
    accuracies = grid(tuned=(0.4, 0.5), scratch=(0.2, 0.4), counted=(0.3, 0.7))
    assert ">512<" in costs.part(comparison(accuracies, facts={"peak_bytes": 512_400_000}))


@given(st.integers(0, 2**32))
def test_agreement_is_whole_for_clusters_and_does_not_mind_the_order(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, 29)
    labels[:6] = [0, 0, 1, 1, 2, 2]
    rows = 100.0 * labels[:, None] + rng.standard_normal((29, 5))
    assert maps.agreement(rows, labels) == 1
    noise = rng.standard_normal((29, 5))
    order = rng.permutation(29)
    found = maps.agreement(noise, labels)
    assert found == pytest.approx(maps.agreement(noise[order], labels[order]))
