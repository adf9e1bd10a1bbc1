"""The comparison: what is finished is reused, what is asked decides the folder, and the tables say who wins."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from tinylm.data import load_labelled
from tinylm.errors import TinylmError
from tinylm.training import checkpoint
from tinylm.transfer import compare, measures, results, verdict
from tinylm.transfer.adapt import AdaptConfig
from tinylm.transfer.metrics import accuracy
from tinylm.transfer.task import Task, load_task

SEVERAL = ("TF-IDF", "gpt from scratch")  # measured with more labels than the others


def config(out, **over):
    given = dict(
        data="toy",
        objectives=("gpt",),
        minutes=0.004,
        labels=(2, 3),
        seeds=2,
        out=out,
        size="tiny",
        quiet=True,
    )
    return compare.CompareConfig(
        **given | {"test_size": 60, "adapt": AdaptConfig(max_length=17, updates=3)} | over
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return compare.run(config(tmp_path_factory.mktemp("compare")))


def test_every_system_meets_every_cell_once(finished):
    systems = ["majority", "TF-IDF", "gpt features", "gpt fine-tuned", "gpt from scratch"]
    assert finished.methods() == systems
    again = replace(finished, rows=finished.rows[::-1])  # as if the first rows were measured anew
    assert again.methods() == systems
    cells = sorted((row["method"], row["budget"], row["seed"]) for row in finished.rows)
    assert cells == sorted((m, b, s) for m in systems for b in (2, 3) for s in (0, 1))
    assert all(0 <= row["accuracy"] <= 1 and 0 <= row["macro_f1"] <= 1 for row in finished.rows)


def test_a_second_run_computes_nothing(finished, monkeypatch):
    def forbidden(*_, **__):
        raise AssertionError("this was finished before")

    for name in ("pretrain", "Classifier", "Features", "TfidfClassifier", "SoftmaxRegression"):
        monkeypatch.setattr(compare if name == "pretrain" else measures, name, forbidden)
    again = compare.run(finished.config)
    assert again.rows == finished.rows and again.pretrained == finished.pretrained


@pytest.mark.parametrize("name, kept", [("gpt", "best"), ("word2vec", "best"), ("glove", "last")])
def test_the_best_weights_are_kept_unless_the_chapter_wants_the_last(
    name, kept, monkeypatch, tmp_path
):
    class Asked(Exception):
        pass

    def pretrain(asked, *_, **__):
        raise Asked(asked.options["keep"])

    monkeypatch.setattr(compare, "pretrain", pretrain)
    with pytest.raises(Asked, match=kept):
        compare.run(config(tmp_path, objectives=(name,)))


def test_a_student_learns_from_the_bert_of_the_same_folder_and_is_measured_against_it(tmp_path):
    students = config(tmp_path, objectives=("bert", "distil"), labels=(3,), seeds=1)
    found = compare.run(students)
    sizes = {name: cost["parameters"] for name, cost in found.costs.items()}
    assert sizes["distil"] < sizes["bert"]
    head, (teacher, student) = verdict.costs(found)
    assert head[-1] == "of bert's accuracy at 3" and teacher[-1] == "–"
    [own] = found.scores("distil fine-tuned", 3)
    [whole] = found.scores("bert fine-tuned", 3)
    assert student[-1] == f"{100 * own / whole:.0f} %"
    assert found.plateau() == {"bert": True, "distil": True}  # a second is too short for any BERT
    assert compare.run(students).costs == found.costs


def test_a_student_is_named_after_its_teacher(tmp_path):
    for names in (("distil",), ("distil", "bert"), ("gpt", "tinybert")):
        with pytest.raises(TinylmError, match="name bert before it"):
            config(tmp_path, objectives=names)


def test_a_run_that_was_killed_goes_on_with_the_missing_rows(finished, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(finished.config.out, folder)
    path = folder / compare.RESULTS
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(lines[:-3]), encoding="utf-8")
    again = compare.run(replace(finished.config, out=folder))

    def scores(rows):
        return {
            (row["method"], row["budget"], row["seed"]): (row["accuracy"], row["macro_f1"])
            for row in rows
        }

    assert scores(again.rows) == scores(
        finished.rows
    )  # and what was computed again came out the same


def test_the_predictions_of_the_last_cell_are_kept_and_give_its_scores(finished):
    truth = finished.task.test_labels
    assert sorted(finished.predicted) == sorted(finished.methods())
    for method, said in finished.predicted.items():
        found = finished.scores(method, max(finished.config.labels))[-1]
        assert accuracy(truth, np.array(said)) == found
    assert compare.run(finished.config).predicted == finished.predicted


def test_the_time_of_finished_parts_is_in_the_files(finished):
    again = compare.Results(finished.config, finished.task)
    assert set(again.parts) == set(again.done)
    assert again.how_far().startswith(f"all {len(again.parts)} parts done in ")
    fewer = compare.Results(replace(finished.config, seeds=3), finished.task)
    assert f"{len(again.parts)} of {len(again.parts) + 10} parts done in" in fewer.how_far()


def test_how_far_it_is_stands_in_every_line_of_a_result(finished, tmp_path, capsys):
    shutil.copytree(finished.config.out, tmp_path / "copy")
    compare.run(replace(finished.config, out=tmp_path / "copy", labels=(2, 3, 4), quiet=False))
    said = capsys.readouterr().err
    first, *others = [line for line in said.splitlines() if " parts done" in line]
    assert first.endswith(" left") and "22 of 32 parts done in" in first
    numbers = [int(line.split("; ")[1].split()[0].replace("all", "32")) for line in others]
    assert numbers[:-1] == list(range(23, 32)) and "all 32 parts done" in others[-1]


def test_the_twin_and_word_counts_are_measured_with_further_labels(finished, tmp_path):
    shutil.copytree(finished.config.out, tmp_path / "copy")
    more = replace(finished.config, out=tmp_path / "copy", scratch_labels=("all", 5, 10**6))
    more = replace(more, seeds=1)  # all labels are many: one draw of them is enough
    once = [row for row in finished.rows if row["seed"] == 0]
    found = compare.run(more)
    assert found.config.scratch_labels == ("all", 5)  # no class has a million
    further = [row for row in found.rows if row not in finished.rows]
    expected = {(m, b, 0) for m in SEVERAL for b in (5, "all")}
    assert {(row["method"], row["budget"], row["seed"]) for row in further} == expected
    labels, scores = found.curve("gpt from scratch")[-1]
    assert len(scores) == 1 and labels == len(found.task.labels) / 6
    assert [n for n, _ in found.curve("gpt fine-tuned")] == [2, 3]
    assert compare.run(more).rows == found.rows
    assert compare.run(replace(more, scratch_labels=())).rows == once
    for wrong in (("most",), (0,), (5, 5)):
        with pytest.raises(TinylmError, match="scratch_labels"):
            replace(more, scratch_labels=wrong)


def test_five_passes_are_made_however_many_labels_there_are():
    assert measures.updates_of(AdaptConfig(), 11_293) == 5 * 11_293 // 16
    assert measures.updates_of(AdaptConfig(updates=3), 11_293) == 3


def test_another_largest_budget_keeps_its_own_predictions(finished, tmp_path):
    shutil.copytree(finished.config.out, tmp_path / "copy")
    smaller = replace(finished.config, out=tmp_path / "copy", labels=(1,))
    found = compare.run(smaller)
    assert sorted(found.predicted) == sorted(finished.methods())
    again = compare.run(replace(smaller, labels=(1, 3)))
    assert again.predicted == finished.predicted


def test_a_folder_without_predictions_still_has_its_rows(finished, tmp_path):
    shutil.copytree(finished.config.out, tmp_path / "copy")
    (tmp_path / "copy" / results.PREDICTIONS).unlink()
    found = compare.run(replace(finished.config, out=tmp_path / "copy"))
    assert found.predicted == {} and found.rows == finished.rows


@pytest.mark.parametrize("lost", ["file", "layers"])
def test_lost_costs_are_measured_anew(finished, tmp_path, lost):
    shutil.copytree(finished.config.out, tmp_path / "copy")
    path = tmp_path / "copy" / results.COSTS
    stored = json.loads(path.read_text(encoding="utf-8"))
    if lost == "layers":  # as versions wrote it that did not know them
        del stored["gpt"]["layers"]
        path.write_text(json.dumps(stored), encoding="utf-8")
    else:
        path.unlink()
    found = compare.run(replace(finished.config, out=tmp_path / "copy"))
    assert found.rows == finished.rows
    assert json.loads(path.read_text(encoding="utf-8")) == found.costs
    for name in ("parameters", "layers"):
        assert found.costs["gpt"][name] == finished.costs["gpt"][name]
    assert found.costs["gpt"]["texts_per_second"] > 0


@pytest.mark.parametrize("layers", ['"a"', "[]", "true"])
def test_damaged_costs_are_one_sentence(finished, tmp_path, layers):
    cost = f'{{"gpt": {{"parameters": 1, "texts_per_second": 2, "layers": {layers}}}}}'
    (tmp_path / results.COSTS).write_text(cost, encoding="utf-8")
    with pytest.raises(TinylmError, match=r"costs\.json"):
        compare.Results(replace(finished.config, out=tmp_path), finished.task)


@pytest.mark.parametrize("labels", ['"a"', "[]", "[1, 2]"])
def test_damaged_predictions_are_one_sentence(finished, tmp_path, labels):
    line = f'{{"method": "majority", "budget": 2, "seed": 0, "labels": {labels}}}\n'
    (tmp_path / results.PREDICTIONS).write_text(line, encoding="utf-8")
    with pytest.raises(TinylmError, match="predictions.jsonl"):
        compare.Results(replace(finished.config, out=tmp_path), finished.task)


@pytest.mark.parametrize("times", ['{"pretraining": 3}', '{"pretraining": {"gpt": "a"}}', "{"])
def test_damaged_times_are_one_sentence(finished, tmp_path, times):
    (tmp_path / results.TIMES).write_text(times, encoding="utf-8")
    with pytest.raises(TinylmError, match=r"times\.json"):
        compare.Results(replace(finished.config, out=tmp_path), finished.task)


def test_a_folder_holds_one_experiment(finished):
    for change in (
        dict(minutes=0.03),
        dict(test_size=61),
        dict(adapt=AdaptConfig(updates=4)),
        dict(seed=1),
    ):
        with pytest.raises(TinylmError, match="give another folder"):
            compare.run(replace(finished.config, **change))


@pytest.mark.parametrize("damage", ["", "{", "[1]", '{"steps": 3}'])
def test_a_damaged_note_of_a_run_is_written_anew(finished, tmp_path, damage):
    folder = tmp_path / "copy"
    shutil.copytree(finished.config.out, folder)
    note = folder / "gpt" / checkpoint.PRETRAINED
    note.write_text(damage, encoding="utf-8")
    again = compare.run(replace(finished.config, out=folder))
    lost = finished.pretrained["gpt"] | {"peak_bytes": None}  # the peak is over
    assert again.pretrained == {"gpt": lost} and again.rows == finished.rows
    note.write_text("{", encoding="utf-8")
    (note.parent / checkpoint.STATE).unlink()  # what it could be written from
    with pytest.raises(TinylmError, match=r"pretrained\.json"):
        compare.run(replace(finished.config, out=folder))


def test_a_damaged_line_of_results_is_one_sentence(finished, tmp_path):
    task = load_task("toy", 60)
    (tmp_path / compare.RESULTS).write_text('{"method": "majority"}\n', encoding="utf-8")
    with pytest.raises(TinylmError, match="results.jsonl"):
        compare.Results(replace(finished.config, out=tmp_path), task)


@pytest.mark.parametrize(
    "wrong", [{"seconds": "1"}, {"seconds": -1}, {"f1": 2}, {"budget": "most"}, {"seed": "all"}]
)
def test_a_row_with_a_value_that_cannot_be_is_one_sentence(finished, tmp_path, wrong):
    row = {"method": "majority", "budget": 2, "seed": 0, "accuracy": 0.5, "macro_f1": 0.5} | wrong
    (tmp_path / compare.RESULTS).write_text(json.dumps(row) + "\n", encoding="utf-8")
    with pytest.raises(TinylmError, match=r"results\.jsonl"):
        compare.Results(replace(finished.config, out=tmp_path), finished.task)


def test_an_unknown_objective_is_found_before_anything_runs(tmp_path):
    with pytest.raises(TinylmError, match="elmoo"):
        compare.run(config(tmp_path, objectives=("elmoo",)))
    with pytest.raises(TinylmError, match="at least one"):
        compare.run(config(tmp_path, labels=()))
    with pytest.raises(TinylmError, match="A budget of 100000"):
        compare.run(config(tmp_path, labels=(2, 100_000)))
    assert not list(tmp_path.iterdir())


def test_test_texts_are_a_fixed_draw_that_no_training_text_enters():
    task, again = load_task("toy", 50), load_task("toy", 50)
    assert task.test_texts == again.test_texts and len(task.test_texts) == 50 < task.n_test
    assert task.fingerprint() == again.fingerprint() != load_task("toy", 51).fingerprint()


# ---- the tables, on numbers made up for it


def made_up(**accuracies):
    """accuracies : method with _ for a blank -> {budget: [accuracy per seed]}"""
    names = {
        "tfidf": "TF-IDF",
        "tuned": "gpt fine-tuned",
        "scratch": "gpt from scratch",
        "features": "gpt features",
    }
    rows = [
        {
            "method": names[key],
            "budget": budget,
            "seed": seed,
            "accuracy": value,
            "macro_f1": value,
            "seconds": 1.0,
        }
        for key, by_budget in accuracies.items()
        for budget, values in by_budget.items()
        for seed, value in enumerate(values)
    ]
    labels = tuple(sorted({row["budget"] for row in rows}))
    settings = compare.CompareConfig(objectives=("gpt",), labels=labels)
    task = Task("posts", ["a"], np.array(["x"]), ["b"], np.array(["x"]), 1)
    return compare.Comparison(settings, task, rows, {})


def test_the_table_shows_mean_and_spread_and_leaves_gaps_open():
    result = made_up(tfidf={2: [0.1, 0.3], 10: [0.5, 0.5]}, tuned={2: [0.4, 0.4]})
    text = verdict.text_table(*verdict.cells(result))
    assert "20.0 ± 14.1" in text and "50.0 ± 0.0" in text and "–" in text
    assert len({len(line) for line in text.splitlines()}) == 1


def test_the_table_of_pretraining_shows_used_minutes_beside_those_given():
    result = made_up(tuned={2: [0.5]})
    facts = {"steps": 1234, "seconds": 147.0, "loss": 5.0}
    head, rows = verdict.pretraining(replace(result, pretrained={"gpt": facts}))
    assert dict(zip(head, rows[0], strict=True)) == {
        "objective": "gpt",
        "updates": "1,234",
        "minutes used": "2.45 of 2.5",
        "tokens read": "–",
        "held-out loss": "5.000",
        "nats per token": "–",
        "unigram entropy": "–",
        "nats per word": "–",
        "left the unigram plateau": "–",
    }


@pytest.mark.parametrize(("loss", "said"), [(6.66, "no, still on it"), (6.64, "yes")])
def test_a_row_that_is_not_clearly_under_the_unigram_entropy_says_so(loss, said):
    facts = {"steps": 3, "seconds": 5.0, "loss": 9.0, "token_loss": loss, "unigram": 7.0}
    found = replace(made_up(tuned={2: [0.5]}), pretrained={"gpt": facts})
    head, rows = verdict.pretraining(found)
    assert dict(zip(head, rows[0], strict=True))["left the unigram plateau"] == said
    assert found.plateau() == {"gpt": said != "yes"}


@pytest.mark.parametrize(("teacher", "stays"), [(6.9, True), (5.0, False)])
def test_a_student_sits_on_the_plateau_where_its_teacher_does(teacher, stays):
    bert = {"token_loss": teacher, "unigram": 7.0}
    pretrained = {"bert": bert, "distil": {"token_loss": 5.0, "unigram": 7.0}}
    found = replace(made_up(tuned={2: [0.5]}), pretrained=pretrained)
    assert found.plateau() == {"bert": stays, "distil": stays}


def test_a_teacher_that_is_never_right_has_no_share_to_keep():
    rows = []
    for name in ("bert", "distil"):
        rows.append({"method": f"{name} fine-tuned", "budget": 2, "seed": 0, "accuracy": 0.0})
    found = made_up(tuned={2: [0.5]})
    settings = replace(found.config, objectives=("bert", "distil"))
    cost = {"parameters": 1, "texts_per_second": 1.0}
    costs = {"bert": cost, "distil": cost}
    head, lines = verdict.costs(replace(found, config=settings, rows=rows, costs=costs))
    assert head[-1] == "of bert's accuracy at 2" and [line[-1] for line in lines] == ["–", "–"]


def test_the_data_of_a_comparison_may_be_a_path(tmp_path):
    path = tmp_path / "mine.tsv"
    toy = load_labelled("toy")
    lines = [f"{text}\t{label}\n" for text, label in zip(toy.texts, toy.labels, strict=True)]
    path.write_text("".join(lines[:200]), encoding="utf-8")
    some = config(tmp_path / "out", data=path, objectives=("word2vec",), labels=(2,), seeds=1)
    assert compare.run(some).rows == compare.run(replace(some, data=str(path))).rows


def test_layers_that_a_task_mixes_are_refused(tmp_path):
    with pytest.raises(TinylmError, match="those of given layers"):
        config(tmp_path, adapt=AdaptConfig(layers=("mix",)))


def test_the_paired_comparison_counts_seeds():
    result = made_up(
        tuned={2: [0.5, 0.6], 10: [0.5, 0.6]}, scratch={2: [0.1, 0.2], 10: [0.55, 0.2]}
    )
    rows = verdict.pairs(result)[1]
    assert rows == [
        ["gpt", "2", "+40.0", "2 of 2", "beats"],
        ["gpt", "10", "+17.5", "1 of 2", "undecided"],
    ]
