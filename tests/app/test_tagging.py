"""A tagger by commands: CoNLL files in, columns that conlleval reads out, one sentence for each mistake."""

import io
import json
import sys

import pytest

from tinylm.app import tagging
from tinylm.app.cli import main
from tinylm.data import tagged, toy
from tinylm.transfer import Tagger, entity_scores
from tinylm.transfer.tagging import HEADS

SMALL = ["--set", "vocab_size=300", "--set", "n_positions=32", "--set", "n_embd=16"]


def conll(path, sentences, first="-DOCSTART- -X- O\n\n"):
    """A file of three columns: the token, a part of speech, the tag."""
    blocks = []
    for tokens, tags in sentences:
        blocks.append(
            "".join(f"{token} X {tag}\n" for token, tag in zip(tokens, tags, strict=True))
        )
    path.write_text(first + "\n".join(blocks), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A finished run, CoNLL files, and a tagger made of them by the command."""
    folder = tmp_path_factory.mktemp("tagging")
    run = folder / "gpt"
    pretrain = ["pretrain", "gpt", "--data", "toy", "--steps", "3", "--out", str(run), "--quiet"]
    assert main([*pretrain, *SMALL, "--set", "n_layer=1"]) == 0
    train = conll(folder / "train.conll", toy.tagged(40, seed=1))
    test = conll(folder / "test.conll", toy.tagged(7, seed=2))
    out = folder / "tagger"
    command = ["finetune", str(run), "--task", "tag", "--method", "features", "--embeddings", "8"]
    assert main([*command, "--train", str(train), "--out", str(out), "--quiet"]) == 0
    return {"RUN": run, "TRAIN": train, "TEST": test, "TAGGER": out, "TMP": folder}


def filled(arguments, places):
    """Arguments with the names of places replaced by paths."""
    return [str(places.get(word, word)) for word in arguments]


def test_the_heads_of_the_command_are_those_of_the_tagger():
    assert tagging.HEADS == HEADS and tagging.HEAD in HEADS


@pytest.mark.parametrize("head", HEADS)
def test_finetune_measures_f1_and_predict_gives_the_tags_it_measured(
    places, tmp_path, capsys, head
):
    out = tmp_path / "out"
    command = ["finetune", "RUN", "--task", "tag", "--train", "TRAIN", "--test", "TEST"]
    command += ["--head", head, "--method", "features", "--out", str(out), "--quiet", "--json"]
    assert main(filled(command, places)) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["train"], result["test"]) == (40, 7) and "B-person" in result["tags"]
    assert main(filled(["predict", str(out), "TEST", "--json"], places)) == 0
    found = [row["tags"] for row in json.loads(capsys.readouterr().out)]
    truth = [tags for _, tags in tagged.read(places["TEST"])]
    scores = entity_scores(truth, found)
    assert (result["f1"], result["accuracy"]) == (scores.f1, scores.accuracy)
    assert result["types"].keys() == scores.types.keys()


def test_predict_adds_a_column_to_every_line_and_moves_none(places, capsys):
    assert main(filled(["predict", "TAGGER", "TEST"], places)) == 0
    before = places["TEST"].read_text(encoding="utf-8").removesuffix("\n").split("\n")
    after = capsys.readouterr().out.removesuffix("\n").split("\n")
    words = [tokens for tokens, _ in tagged.read(places["TEST"])]
    tags = iter(tag for row in Tagger.load(places["TAGGER"]).predict(words) for tag in row)
    for old, new in zip(before, after, strict=True):
        if not old:
            assert new == ""
        else:
            tag = "O" if old.startswith(tagged.DOCUMENT) else next(tags)
            assert new == f"{old} {tag}"


def test_predict_reads_standard_input_and_tokens_without_tags(places, capsys, monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(b"Lonave\tx\n\nSepo\tx\n"), encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", stream)
    assert main(filled(["predict", "TAGGER"], places)) == 0
    lines = capsys.readouterr().out.split("\n")
    assert [line.split("\t")[:2] for line in lines[:3]] == [["Lonave", "x"], [""], ["Sepo", "x"]]


def test_for_people_finetune_prints_a_table(places, tmp_path, capsys):
    command = ["finetune", "RUN", "--task", "tag", "--train", "toy", "--test", "TEST", "--head"]
    command += ["linear", "--method", "features", "--out", str(tmp_path / "out"), "--quiet"]
    assert main(filled(command, places)) == 0
    shown = capsys.readouterr().out
    assert "tags learned from" in shown and "precision  recall" in shown and "person" in shown


def test_parts_of_speech_have_an_accuracy_and_no_f1(places, tmp_path, capsys):
    sentences = [(words, ["X"] * (len(words) - 1) + ["Y"]) for words, _ in toy.tagged(20)]
    path = conll(tmp_path / "pos.conll", sentences)
    command = ["finetune", "RUN", "--task", "tag", "--train", str(path), "--test", str(path)]
    command += ["--method", "features", "--out", str(tmp_path / "out"), "--quiet", "--json"]
    assert main(filled(command, places)) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["f1"] is None and 0 < result["accuracy"] <= 1


MISTAKES = {
    "a head without a tagger": (
        ["finetune", "RUN", "--train", "toy", "--head", "crf", "--out", "OUT"],
        "--head belongs to a tagger",
    ),
    "a missing file": (
        ["finetune", "RUN", "--task", "tag", "--train", "none.conll", "--out", "OUT"],
        "'none.conll' is neither",
    ),
    "a set without tags": (
        ["finetune", "RUN", "--task", "tag", "--train", "spam", "--out", "OUT"],
        "of another kind",
    ),
    "a line without a tag": (
        ["finetune", "RUN", "--task", "tag", "--train", "BAD", "--out", "OUT"],
        "line 2: expected a token and its tag",
    ),
    "no token": (["predict", "TAGGER", "EMPTY"], "holds no token"),
    "plain text": (["predict", "TAGGER", "PLAIN"], "line 2: expected 3 columns"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_one_sentence_with_status_2(places, tmp_path, capsys, mistake):
    command, words = MISTAKES[mistake]
    files = {"BAD": "a O\nb\n", "EMPTY": "\n\n", "PLAIN": "one two three\nfour five\n"}
    paths = {name: tmp_path / f"{name.lower()}.conll" for name in files}
    for name, path in paths.items():
        path.write_text(files[name])
    capsys.readouterr()
    assert main(filled(command, places | paths | {"OUT": tmp_path / "out"})) == 2
    said = capsys.readouterr()
    assert words in said.err and said.err.count("\n") == 1 and not said.out
    assert not (tmp_path / "out").exists()
