"""Laws of a run that learns from a teacher: it resumes to the same bits, with the same teacher only."""

import json

import numpy as np
import pytest

from tinylm import Bert, BertConfig, Distil, hub, objectives
from tinylm.app.cli import main
from tinylm.data import toy
from tinylm.errors import CheckpointError, TinylmError
from tinylm.objectives.registry import STUDENTS
from tinylm.text import WordPiece
from tinylm.training.check import check
from tinylm.training.pretrain import PretrainConfig, pretrain
from tinylm.training.train import Trainer

TEXTS = toy.documents(30, seed=1)
TOKENIZER = WordPiece.train(TEXTS, 151)
SIZES = dict(hidden_size=10, num_attention_heads=2, intermediate_size=23, sequence_length=37)


def teacher_at(folder, seed=0):
    """A folder with an untrained teacher of three layers."""
    config = BertConfig.tiny(TOKENIZER.vocab_size, num_hidden_layers=3, batch_size=3, **SIZES)
    hub.save(folder, Bert(config, np.random.default_rng(seed)), TOKENIZER)
    return folder


def learn(teacher, out=None, resume=False, **options):
    """A run of a student."""
    asked = PretrainConfig("distil", "mine", out, options={"steps": 5} | options, teacher=teacher)
    return pretrain(asked, TEXTS, resume=resume, quiet=True)


@pytest.mark.parametrize("name", STUDENTS)
def test_every_student_keeps_its_promises(name):
    lines = check(name, options={"num_hidden_layers": 1, "hidden_dropout_prob": 0.1})
    assert [str(line) for line in lines if line.status == "FAIL"] == []


def test_a_stopped_student_ends_with_the_bits_of_one_that_nobody_stopped(tmp_path, monkeypatch):
    teacher = teacher_at(tmp_path / "teacher")
    options = dict(save_every=1, hidden_dropout_prob=0.1, num_hidden_layers=2)
    whole, _, _ = learn(teacher, **options)
    update = Trainer._update

    def stopping(self, step):
        if step == 3:
            raise RuntimeError("the power fails")
        return update(self, step)

    monkeypatch.setattr(Trainer, "_update", stopping)
    with pytest.raises(RuntimeError):
        learn(teacher, tmp_path / "run", **options)
    monkeypatch.undo()
    resumed, _, _ = learn(teacher, tmp_path / "run", resume=True, **options)
    for name, array in whole.state_dict().items():
        assert np.array_equal(array, resumed.state_dict()[name]), name


def test_a_run_is_not_resumed_with_another_teacher(tmp_path):
    learn(teacher_at(tmp_path / "one"), tmp_path / "run")
    other = teacher_at(tmp_path / "two", seed=1)
    with pytest.raises(CheckpointError, match="initial weights"):
        learn(other, tmp_path / "run", resume=True)


def test_the_teachers_words_are_the_students_and_its_folder_needs_no_teacher(tmp_path):
    student, tokenizer, result = learn(teacher_at(tmp_path / "teacher"), tmp_path / "run")
    assert tokenizer.vocab == TOKENIZER.vocab and len(student.encoder.h) == 1
    assert set(result["held_out"]["components"]) == {"masked", "soft", "cosine", "kl"}
    fields = json.loads((tmp_path / "run" / "config.json").read_text())
    assert fields["model_type"] == "distilbert" and fields["n_layers"] == 1
    loaded, again = hub.load(tmp_path / "run")
    assert type(loaded) is Distil and again.vocab == tokenizer.vocab
    ids = np.arange(7)[None]
    assert np.array_equal(loaded.logits(ids).data, student.eval().logits(ids).data)


def test_what_contradicts_the_teacher_is_refused(tmp_path):
    teacher = teacher_at(tmp_path / "teacher")
    with pytest.raises(TinylmError, match="learns from a trained model"):
        pretrain(PretrainConfig("distil", "mine"), TEXTS, quiet=True)
    with pytest.raises(TinylmError, match="learns from text alone"):
        pretrain(PretrainConfig("bert", "mine", teacher=teacher), TEXTS, quiet=True)
    with pytest.raises(TinylmError, match="leave out --init"):
        pretrain(PretrainConfig("distil", "mine", teacher=teacher, init=teacher), TEXTS, quiet=True)
    with pytest.raises(TinylmError, match="brings its own encoding"):
        pretrain(PretrainConfig("distil", "mine", teacher=teacher, encoding="chars"), TEXTS)
    with pytest.raises(TinylmError, match="brings its own encoding"):
        learn(teacher, vocab_size=99)
    bert = objectives.find("bert")(BertConfig.tiny(11))
    with pytest.raises(TinylmError, match="learns from text alone"):
        bert.need("teacher")


def test_the_command_trains_a_student_of_so_many_layers_and_its_twin(tmp_path, capsys):
    teacher = str(teacher_at(tmp_path / "teacher"))
    (tmp_path / "mine.txt").write_text("\n\n".join(TEXTS), encoding="utf-8")
    command = [
        "distil",
        teacher,
        "--data",
        str(tmp_path / "mine.txt"),
        "--steps",
        "2",
        "--layers",
        "2",
    ]
    assert main([*command, "--out", str(tmp_path / "student"), "--quiet", "--json"]) == 0
    student = json.loads(capsys.readouterr().out)
    assert main([*command, "--out", str(tmp_path / "twin"), "--twin", "--quiet", "--json"]) == 0
    twin = json.loads(capsys.readouterr().out)
    assert student["steps"] == twin["steps"] == 2 and student["loss"] != twin["loss"]
    assert set(student["held_out"]["components"]) == set(twin["held_out"]["components"])
    assert len(hub.load(tmp_path / "student")[0].encoder.h) == 2
    assert hub.load(tmp_path / "twin")[0].config.twin
