"""The factor of labels saved: known curves give the known factor, and it moves as it must."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm.transfer import compare, findings, verdict
from tinylm.transfer.savings import best, labels_saved, needed, saving, sure_savings
from tinylm.transfer.task import Task

BUDGETS = (2, 3, 11, 53)
scores = st.lists(st.integers(0, 1000).map(lambda n: n / 1000), min_size=4, max_size=4)
curves = scores.map(lambda values: list(zip(BUDGETS, values, strict=True)))
budgets = st.sampled_from(BUDGETS)


def factor(own, twin, budget):
    _, mine, twins, bound = saving(own, twin, budget)
    return twins / mine, bound


@given(st.floats(0.5, 40), st.floats(0.01, 0.1), st.integers(1, 4))
def test_a_curve_that_reads_its_labels_k_fold_saves_k_fold(times, slope, place):
    """accuracy = slope * ln(labels) is a straight line over log labels."""
    own = [(n, slope * math.log(times * n)) for n in BUDGETS]
    twin = [(n, slope * math.log(n)) for n in (1e-3, *BUDGETS, 1e7)]
    found, bound = factor(own, twin, BUDGETS[place - 1])
    assert bound == "" and found == pytest.approx(times, rel=1e-6)


@given(curves, budgets)
def test_a_tie_is_exactly_one(curve, budget):
    assert factor(curve, curve, budget) == (1.0, "")


@given(curves, curves, st.floats(0, 1), budgets)
def test_a_twin_that_is_worse_everywhere_never_makes_the_factor_smaller(own, twin, shift, budget):
    before, _ = factor(own, twin, budget)
    lowered = [(n, score - shift) for n, score in twin]
    after, _ = factor(own, lowered, budget)
    assert after >= before * (1 - 1e-9)


@given(curves, curves, st.integers(0, 1000), budgets)
def test_a_model_that_is_better_everywhere_never_has_a_smaller_factor(own, twin, shift, budget):
    before, _ = factor(own, twin, budget)
    after, _ = factor([(n, score + shift / 1000) for n, score in own], twin, budget)
    assert after >= before * (1 - 1e-9)


@given(curves, st.floats(-0.5, 1.5))
def test_what_is_needed_is_known_between_the_first_budget_and_the_last(curve, score):
    labels, bound = needed(curve, score)
    reached = [value for _, value in curve]
    assert BUDGETS[0] <= labels <= BUDGETS[-1]
    assert (bound == ">") == (score > max(reached))
    assert (bound == "<") == (score < reached[0])
    if bound:
        assert labels == (BUDGETS[-1] if bound == ">" else BUDGETS[0])


@given(curves, curves, budgets, st.integers(2, 97))
def test_the_unit_of_the_labels_does_not_matter(own, twin, budget, classes):
    in_all = [[(n * classes, score) for n, score in curve] for curve in (own, twin)]
    once, bound = factor(own, twin, budget)
    again, same = factor(*in_all, budget * classes)
    assert again == pytest.approx(once) and same == bound


@given(curves, budgets)
def test_a_dip_of_the_curve_asks_for_no_labels(curve, budget):
    """More labels count as never worse: only where a score is reached first matters."""
    best_so_far = np.maximum.accumulate([score for _, score in curve]).tolist()
    flat = list(zip(BUDGETS, best_so_far, strict=True))
    for score in best_so_far:
        assert needed(curve, score) == needed(flat, score)


# ---- from the rows of a comparison


def compared(scratch_labels=(), **by_method):
    """by_method : features, tuned, scratch -> {budget: [accuracy per seed]}"""
    names = {"features": "gpt features", "tuned": "gpt fine-tuned", "scratch": "gpt from scratch"}
    rows = []
    for key, by_budget in by_method.items():
        for budget, values in by_budget.items():
            for seed, value in enumerate(values):
                row = {"method": names[key], "budget": budget, "seed": seed, "accuracy": value}
                rows.append(row)
    given = compare.CompareConfig(
        objectives=("gpt",), labels=(2, 8), seeds=2, scratch_labels=scratch_labels
    )
    labels = np.array(["x"] * 300 + ["y"] * 212)
    task = Task("posts", ["a"] * 512, labels, ["b"], labels[:1], 1)
    return compare.Comparison(given, task, rows, {})


def test_the_factor_is_that_of_the_mean_curves():
    found = compared(
        tuned={2: [0.2, 0.4], 8: [0.6, 0.6]},
        scratch={2: [0.0, 0.2], 8: [0.4, 0.6]},  # 0.3 is half the way from 2 to 8
    )
    first, second = labels_saved(found)
    assert (first.way, first.budget, first.needed, first.bound) == ("fine-tuned", 2, 2, "")
    assert first.twin == pytest.approx(4) and first.factor == pytest.approx(2)
    assert (second.twin, second.factor, second.bound) == (8, 1, ">")
    assert verdict.savings(found)[1] == [["gpt fine-tuned", "2.0", "> 1.0"]]


def test_all_labels_count_as_many_as_a_class_has_in_the_mean():
    found = compared(
        ("all", 100),
        features={2: [0.3, 0.3], 8: [0.7, 0.7]},
        scratch={2: [0.1] * 2, 8: [0.1] * 2, 100: [0.2] * 2, "all": [0.3] * 2},
    )
    first, second = labels_saved(found)
    assert (first.twin, first.factor, first.bound) == (256, 128, "")
    assert (second.twin, second.factor, second.bound) == (256, 32, ">")
    assert best([first, second]) is first
    assert (
        "gpt features with 2 labels per class even beats its twin with 100, 50 times as many"
        in (findings.sentences(found)[0])
    )  # it does as well as its twin with 256, and better with none
    head, rows = verdict.further(found)
    assert head[1:] == ["100 per class", "all (256 per class)"]
    assert rows == [["gpt from scratch", "20.0 ± 0.0", "30.0 ± 0.0"]]


def test_a_model_that_is_worse_than_its_twin_saves_nothing_and_the_sentence_is_silent():
    found = compared(tuned={2: [0.1] * 2, 8: [0.1] * 2}, scratch={2: [0.2] * 2, 8: [0.3] * 2})
    assert [str(one) for one in labels_saved(found)] == ["< 1.0", "< 1.0"]
    assert best(labels_saved(found)) is None and sure_savings(found) == []
    assert "even beats" not in findings.sentences(found)[0]


def test_without_a_twin_there_is_no_factor():
    assert labels_saved(compared(tuned={2: [0.1, 0.2]})) == []
    assert verdict.savings(compared(tuned={2: [0.1, 0.2]}))[1] == []
