"""The further tasks by commands: a file in its published format in, labels and probabilities out."""

import io
import json
import sys

import pytest

import tinylm
from tinylm.app.cli import main
from tinylm.app.tasks import TASKS
from tinylm.data import squad, toytasks
from tinylm.transfer import Chooser, PairClassifier, Regressor, SpanReader, TowerClassifier

SMALL = ["--set", "vocab_size=300", "--set", "n_positions=64", "--set", "n_embd=16"]


pytestmark = pytest.mark.usefixtures("one_thread_throughout")


def pairs(path):
    """A table of pairs with a header."""
    lines = ["index\tsentence1\tsentence2\tlabel"]
    for i, ((first, second), label) in enumerate(toytasks.entailment(30)):
        lines.append(f"{i}\t{first}\t{second}\t{label}")
    path.write_text("\n".join(lines), encoding="utf-8")


def numbers(path):
    """A table of texts with numbers."""
    lines = [f"{text}\t{score}" for text, score in toytasks.scored(30)]
    path.write_text("\n".join(lines), encoding="utf-8")


def choices(path):
    """JSON lines of choices."""
    lines = []
    for choice in toytasks.choices(30):
        row = {"ctx": choice.context, "endings": choice.answers, "label": choice.right}
        lines.append(json.dumps(row))
    path.write_text("\n".join(lines), encoding="utf-8")


def questions(path):
    """A file of SQuAD 2.0."""
    path.write_text(json.dumps(squad.written(toytasks.reading(30))), encoding="utf-8")


FILES = {
    "pair": ("pairs.tsv", pairs),
    "tower": ("pairs.tsv", pairs),
    "regress": ("numbers.tsv", numbers),
    "choice": ("choices.jsonl", choices),
    "span": ("questions.json", questions),
}
CLASSES = {
    "pair": PairClassifier,
    "tower": TowerClassifier,
    "regress": Regressor,
    "choice": Chooser,
    "span": SpanReader,
}
MAIN = {
    "pair": "accuracy",
    "tower": "accuracy",
    "regress": "pearson",
    "choice": "accuracy",
    "span": "exact",
}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A finished run, a file of each task, and what the command made of them."""
    folder = tmp_path_factory.mktemp("tasks")
    run = folder / "gpt"
    pretrain = ["pretrain", "gpt", "--data", "toy", "--steps", "3", "--out", str(run), "--quiet"]
    assert main([*pretrain, *SMALL, "--set", "n_layer=1"]) == 0
    found = {"RUN": run}
    for task, (name, write) in FILES.items():
        write(folder / name)
        found[task] = folder / name
        command = ["finetune", str(run), "--task", task, "--train", str(folder / name)]
        command += ["--set", "updates=3", "--out", str(folder / task), "--quiet"]
        assert main(command) == 0
        found[f"{task} model"] = folder / task
    return found


def test_every_task_of_the_command_has_its_class():
    assert {name: task.kind() for name, task in TASKS.items()} == CLASSES
    assert {name: task.kind().task for name, task in TASKS.items()} == {n: n for n in TASKS}


@pytest.mark.parametrize("task", FILES)
def test_finetune_measures_and_predict_gives_what_it_measured(places, tmp_path, capsys, task):
    out = tmp_path / "out"
    command = ["finetune", str(places["RUN"]), "--task", task, "--train", str(places[task])]
    command += ["--test", str(places[task]), "--set", "updates=3", "--out", str(out), "--quiet"]
    assert main([*command, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["train"] + result["test"] == 30 and MAIN[task] in result
    assert main(["predict", str(out), str(places[task]), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 30
    if task != "regress":
        assert all(0 < row["probability"] <= 1 for row in rows)
    if task in ("pair", "tower", "choice"):
        shares = rows[0]["probabilities"]
        shares = shares if task == "choice" else shares.values()
        assert sum(shares) == pytest.approx(1) and max(shares) == rows[0]["probability"]


@pytest.mark.parametrize("task", FILES)
def test_people_get_a_line_for_each_example_and_one_for_the_scores(places, tmp_path, capsys, task):
    assert main(["predict", str(places[f"{task} model"]), str(places[task])]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 30 and all("\t" in line for line in lines)
    command = ["finetune", str(places["RUN"]), "--task", task, "--train", str(places[task])]
    command += ["--test", str(places[task]), "--set", "updates=2", "--method", "gradual"]
    assert main([*command, "--out", str(tmp_path / "out"), "--quiet"]) == 0
    assert f"{MAIN[task]} " in capsys.readouterr().out


@pytest.mark.parametrize("task", FILES)
def test_standard_input_is_read_as_the_file(places, capsys, monkeypatch, task):
    model = str(places[f"{task} model"])
    assert main(["predict", model, str(places[task])]) == 0
    expected = capsys.readouterr().out
    stream = io.TextIOWrapper(io.BytesIO(places[task].read_bytes()), encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", stream)
    assert main(["predict", model]) == 0
    assert capsys.readouterr().out == expected


def test_the_task_classes_load_what_the_command_wrote(places):
    model = PairClassifier.load(places["pair model"])
    assert model.predict([("a", "b")])[0] in toytasks.LABELS
    assert model.tokenizer.template.pair.startswith("<start>")
    apart = TowerClassifier.load(places["tower model"])
    assert apart.tokenizer.template.pair is None, "no text is read beside another"
    assert tinylm.transfer.task_of(places["span model"]) == "span"


MISTAKES = {
    "a label that is no number": ("regress", "BAD", "expected a finite number"),
    "a set of another kind": ("span", "spam", "of another kind"),
    "a missing file": ("choice", "none.jsonl", "'none.jsonl' is neither"),
    "a json file that is no squad": ("span", "LIST", "expected an object"),
    "a setting that does not exist": ("pair", "toy", "no option 'colour'"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_one_sentence_with_status_2(places, tmp_path, capsys, mistake):
    task, source, words = MISTAKES[mistake]
    (tmp_path / "bad.tsv").write_text("sea\tgood\n")
    (tmp_path / "list.json").write_text("[]")
    paths = {"BAD": str(tmp_path / "bad.tsv"), "LIST": str(tmp_path / "list.json")}
    command = ["finetune", str(places["RUN"]), "--task", task, "--train", paths.get(source, source)]
    if mistake == "a setting that does not exist":
        command += ["--set", "colour=7"]
    capsys.readouterr()
    assert main([*command, "--out", str(tmp_path / "out"), "--quiet"]) == 2
    said = capsys.readouterr()
    assert words in said.err and said.err.count("\n") == 1 and not said.out
    assert not (tmp_path / "out").exists()


def test_predict_with_averages_texts_only_and_says_so(places, capsys):
    model = str(places["pair model"])
    assert main(["predict", model, str(places["pair"]), "--with", model]) == 2
    assert "--with averages classifiers of texts" in capsys.readouterr().err
