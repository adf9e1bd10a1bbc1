"""The sentences of a comparison claim what its rows show, by the rule of `beats`, and nothing else."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm.transfer import compare, findings
from tinylm.transfer.metrics import beats
from tinylm.transfer.savings import clear_savings, labels_saved, sure_savings
from tinylm.transfer.task import Task

BUDGETS = (2, 11, 53)
NAMES = ("gpt", "bert")
OURS = [f"{name} {way}" for name in NAMES for way in ("features", "fine-tuned")]
TWINS = [f"{name} from scratch" for name in NAMES]
SYSTEMS = ["TF-IDF", *OURS, *TWINS]
TASK = Task("posts", ["a", "b"], np.array(["x", "y"]), ["c"], np.array(["x"]), 1)


def compared(scores, objectives=NAMES, labels=BUDGETS, **facts):
    """A comparison of scores: (system, budget) -> [score by seed]; facts : objective -> its own."""
    rows = []
    for (method, budget), by_seed in scores.items():
        for seed, score in enumerate(by_seed):
            kept = {"accuracy": score, "f1": score, "macro_f1": score}
            rows.append({"method": method, "budget": budget, "seed": seed, **kept})
    settings = compare.CompareConfig("posts.tsv", objectives, labels=labels)
    return compare.Comparison(settings, TASK, rows, facts)


def of(**by_system):
    """gpt alone: scores by budget, by the short name of a system; each seed a hundredth more."""
    names = {"counted": "TF-IDF", "tuned": "gpt fine-tuned", "scratch": "gpt from scratch"}
    scores = {}
    for key, values in by_system.items():
        for budget, value in zip(BUDGETS, values, strict=True):
            scores[names[key], budget] = [value, value + 0.01]
    return compared(scores, ("gpt",))


@st.composite
def results(draw, fewest=1, most=3):
    """Scores of a coarse grid by `fewest` to `most` seeds; ties, gains and losses are frequent."""
    n_seeds = draw(st.integers(fewest, most))
    scores = {}
    for method in SYSTEMS:
        for budget in BUDGETS:
            level = draw(st.integers(0, 8))
            noise = draw(st.lists(st.integers(0, 1), min_size=n_seeds, max_size=n_seeds))
            scores[method, budget] = [(level + one) / 10 for one in noise]
    return compared(scores)


def numbers(text):
    """Every budget in a piece of text."""
    return [int(one) for one in re.findall(r"\d+", text)]


@given(results(fewest=2))
def test_the_first_sentence_names_a_gain_that_every_draw_shows(found):
    said, _, _ = findings.sentences(found)
    wins = {}
    for name in NAMES:
        for budget in BUDGETS:
            tuned = found.scores(f"{name} fine-tuned", budget)
            scratch = found.scores(f"{name} from scratch", budget)
            if beats(tuned, scratch):
                wins.setdefault(budget, []).append(name)
    named = re.match(r"With (\d+) labels per class, (\w+) fine-tuned", said)
    assert (named is None) == (not wins) == said.startswith("No fine-tuned objective")
    if named:
        assert int(named[1]) == min(wins) and named[2] in wins[min(wins)]


@given(results(fewest=2))
def test_a_saving_that_is_said_holds_in_every_draw(found):
    said, _, _ = findings.sentences(found)
    saved = re.search(r"; (.+) with (\d+) labels per class even beats its twin with (\d+),", said)
    if saved:
        few = found.scores(saved[1], int(saved[2]))
        twin = f"{saved[1].split()[0]} from scratch"
        for budget in BUDGETS[: BUDGETS.index(int(saved[3])) + 1]:
            assert beats(few, found.scores(twin, budget))


@given(results(fewest=2))
def test_a_sure_saving_is_never_more_than_the_interpolated_one(found):
    interpolated = {(one.objective, one.way, one.budget): one for one in labels_saved(found)}
    for one in sure_savings(found):
        whole = interpolated[one.objective, one.way, one.budget]
        assert 1 < one.factor <= whole.factor * (1 + 1e-9) and whole.bound != "<"


@given(results(fewest=2))
def test_a_clear_saving_is_one_of_a_system_that_beats_its_twin(found):
    kept = clear_savings(found)
    for one in labels_saved(found):
        own = found.scores(f"{one.objective} {one.way}", one.budget)
        twin = found.scores(f"{one.objective} from scratch", one.budget)
        assert (one in kept) == beats(own, twin)


@given(results(fewest=2))
def test_the_second_sentence_places_every_budget_once_and_rightly(found):
    _, said, _ = findings.sentences(found)
    lost = re.findall(r"loses to (.+?) at ([\d, and]+)", said)
    first = re.search(r"beats every pretrained system at ([\d, and]+)", said)
    open_ = re.search(r"neither beaten nor clearly the best at ([\d, and]+)", said)
    placed = []
    for system, where in lost:
        for budget in numbers(where):
            placed.append(budget)
            assert beats(found.scores(system, budget), found.scores("TF-IDF", budget))
    for budget in numbers(first[1]) if first else []:
        placed.append(budget)
        counted = found.scores("TF-IDF", budget)
        assert all(beats(counted, found.scores(system, budget)) for system in OURS)
    for budget in numbers(open_[1]) if open_ else []:
        placed.append(budget)
        counted = found.scores("TF-IDF", budget)
        assert not any(beats(found.scores(system, budget), counted) for system in OURS)
        assert not all(beats(counted, found.scores(system, budget)) for system in OURS)
    assert sorted(placed) == list(BUDGETS)


@given(results(fewest=2))
def test_the_third_sentence_names_every_gain_that_is_not_clear(found):
    _, _, said = findings.sentences(found)
    unclear = []
    worse = []
    for name in NAMES:
        for budget in BUDGETS:
            tuned = found.scores(f"{name} fine-tuned", budget)
            scratch = found.scores(f"{name} from scratch", budget)
            if beats(scratch, tuned):
                worse.append((name, budget))
            elif not beats(tuned, scratch):
                unclear.append((name, budget))
    for opening, expected in (("o clear gain over", unclear), ("learly worse than", worse)):
        part = re.search(opening + r" the twin: (.*?);", said)
        assert (part is None) == (not expected)
        named = []
        for names, where in re.findall(r"([a-z ,]+) \(at ([\d, and]+)\)", part[1] if part else ""):
            for budget in numbers(where):
                named += [(name, budget) for name in NAMES if name in names]
        assert sorted(named) == sorted(expected)


@given(results(most=1))
def test_of_a_single_draw_each_sentence_says_so(found):
    said = findings.sentences(found)
    assert all("only draw" in sentence or "One draw" in sentence for sentence in said)
    assert "even beats" not in said[0]


@given(results())
def test_there_are_always_three_sentences_of_one_line(found):
    few = replace(found, rows=found.rows[::7])  # most cells are missing
    none = replace(found, rows=[])
    for each in (found, few, none):
        said = findings.sentences(each)
        assert len(said) == 3
        assert all(sentence.endswith(".") and "\n" not in sentence for sentence in said)


def test_the_sentences_read_like_this():
    found = of(counted=(0.3, 0.45, 0.9), tuned=(0.5, 0.6, 0.7), scratch=(0.2, 0.4, 0.7))
    assert findings.sentences(found) == [
        "With 2 labels per class, gpt fine-tuned, which first read text without labels, is right on "
        "50.5 % of the test posts, and its twin, the same network from scratch, on 20.5 %; "
        "gpt fine-tuned with 2 labels per class even beats its twin with 11, 5.5 times as many.",
        "TF-IDF, which only counts words, loses to gpt fine-tuned at 2 and 11 and beats every "
        "pretrained system at 53 labels per class.",
        "No clear gain over the twin: gpt (at 53); clear is what holds in each of 2 draws of labels "
        "and by more than the spread.",
    ]


def test_without_a_baseline_or_a_twin_the_sentences_say_what_is_missing():
    gain, rival, caution = findings.sentences(of(tuned=(0.1, 0.2, 0.3)))
    assert gain == "No objective was measured both fine-tuned and from scratch."
    assert rival.startswith("No pretrained system was measured beside TF-IDF")
    assert caution == "Nothing measured shows what reading text first brings."


def test_a_comparison_without_objectives_claims_nothing():
    gain, rival, _ = findings.sentences(compared({("TF-IDF", 2): [0.5, 0.6]}, ()))
    assert gain.startswith("No objective") and rival.startswith("No pretrained system")


@pytest.mark.parametrize(("loss", "stays"), [(6.99, True), (4.0, False)])
def test_an_objective_on_the_unigram_plateau_is_named(loss, stays):
    won = of(counted=(0.3, 0.3, 0.3), tuned=(0.5, 0.6, 0.7), scratch=(0.2, 0.3, 0.4))
    facts = {"gpt": {"token_loss": loss, "unigram": 7.0}}
    caution = findings.sentences(replace(won, pretrained=facts))[2]
    assert caution.startswith("gpt has not left the unigram plateau") == stays
    assert caution.endswith("in each of 2 draws of labels and by more than the spread.")


def test_a_comparison_of_taggers_speaks_of_its_own_score_and_baseline():
    found = of(tuned=(0.5, 0.6, 0.7), scratch=(0.2, 0.3, 0.4))
    counted = [row | {"method": "word counts"} for row in found.rows[:6]]
    tagged = replace(
        found,
        config=replace(found.config, data="entities"),
        task=type("Tagged", (), {"metric": "f1", "labels": TASK.labels, "n_classes": 2})(),
        rows=found.rows + counted,
    )
    gain, rival, _ = findings.sentences(tagged)
    assert "reaches an F1 of 50.5 %, and its twin, the same network from scratch, of 20.5 %" in gain
    assert rival.startswith("word counts, which gives a word its commonest tag, is neither beaten")
