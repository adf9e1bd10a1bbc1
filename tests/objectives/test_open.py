"""An objective is one file, anybody's: a model of five methods goes the whole way that the chapters go."""

import importlib.metadata
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import tinylm
from tinylm import hub, objectives
from tinylm.app.cli import main
from tinylm.data import Corpus
from tinylm.errors import CheckpointError, TinylmError
from tinylm.objectives import registry
from tinylm.objectives.registry import CHAPTERS, STUDENTS
from tinylm.training.evaluation import evaluate
from tinylm.training.pretrain import PretrainConfig, pretrain

ROOT = Path(__file__).parents[2]
MINE = ROOT / "demos" / "log_bilinear.py"
SMALL = ["--set", "width=11", "--set", "length=7", "--set", "batch_size=5", "--quiet"]


@pytest.fixture(autouse=True)
def known_as_before():
    """What a test defines is forgotten after it."""
    for name in registry.CHAPTERS:
        objectives.find(name)
    before = dict(registry._CLASSES)
    yield
    registry._CLASSES.clear()
    registry._CLASSES.update(before)


def test_the_file_is_short_and_lies_outside_the_package():
    lines = MINE.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 60 and "tinylm" not in MINE.relative_to(ROOT).parts[0]
    own = vars(objectives.find(str(MINE)))
    assert {"build", "batch", "encode", "loss"} <= own.keys()


@pytest.mark.parametrize("encoding", ["words", "bpe"])
def test_it_trains_is_killed_resumes_and_is_looked_at(tmp_path, capsys, encoding):
    command = ["pretrain", str(MINE), "--data", "toy", "--encoding", encoding, "--steps", "60"]
    command += ["--set", "save_every=10", "--set", "vocab_size=300", "--threads", "1", *SMALL]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert main([*command, "--out", str(whole)]) == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "tinylm", *command, "--out", str(killed)], cwd=ROOT
    )
    while process.poll() is None and not (killed / "trainer.json").exists():
        time.sleep(0.001)  # until the first checkpoint
    process.kill()
    process.wait()
    assert main([*command, "--out", str(killed), "--resume"]) == 0
    assert (killed / hub.WEIGHTS).read_bytes() == (whole / hub.WEIGHTS).read_bytes()
    fields = json.loads((whole / hub.CONFIG).read_text(encoding="utf-8"))
    assert fields["model_type"] == "tinylm-lbl" and ".py" not in str(fields)
    capsys.readouterr()
    _, tokenizer = hub.load(whole)
    spelled = [tokenizer.decode([i]) for i in range(tokenizer.vocab_size)]
    word = next(
        t.strip() for t in spelled[5:] if t.startswith(" ") == (encoding == "bpe") and len(t) > 3
    )
    code = ["--objective", str(MINE)]
    assert main(["neighbors", str(whole), word, *code, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["neighbors"]) == 10


def test_it_is_fine_tuned_and_predicts_in_processes_that_only_know_the_file(tmp_path):
    run, tuned = str(tmp_path / "run"), str(tmp_path / "tuned")
    code = ["--objective", str(MINE)]

    def tinylm_says(*arguments, status=0):
        done = subprocess.run(
            [sys.executable, "-m", "tinylm", *arguments],
            cwd=ROOT,
            input=b"one line\n",
            capture_output=True,
        )
        assert done.returncode == status, done.stderr.decode()
        return done.stdout.decode() if status == 0 else done.stderr.decode()

    alone = ["--threads", "1"]
    pretrain = ["pretrain", str(MINE), "--data", "toy", "--out", run, "--steps", "20"]
    tinylm_says(*pretrain, *SMALL, *alone)
    assert "pass --objective FILE.py" in tinylm_says("neighbors", run, "the", status=2)
    (tmp_path / "few.tsv").write_text("a b\tx\nb c\ty\na d\tx\nc e\ty\n", encoding="utf-8")
    few = str(tmp_path / "few.tsv")
    tinylm_says("finetune", run, "--train", few, "--out", tuned, *code, "--quiet", *alone)
    assert tinylm_says("predict", tuned, *code).split("\t")[0] in "xy"


def test_it_stands_in_a_comparison_and_its_report_beside_a_chapter(tmp_path, capsys):
    out = tmp_path / "compare"
    command = ["compare", "--data", "toy", "--objectives", f"word2vec,{MINE}", "--minutes", "0.002"]
    command += [
        "--labels",
        "2",
        "--seeds",
        "1",
        "--out",
        str(out),
        "--quiet",
        "--encoding",
        "words",
    ]
    assert main([*command, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    methods = {row["method"] for row in result["rows"]}
    assert {"lbl features", "lbl fine-tuned", "lbl from scratch", "word2vec features"} <= methods
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "lbl fine-tuned" in page and "word2vec fine-tuned" in page


# ---- the door


def chapter(name="mine", lack=(), **more):
    """Define a small objective, without the methods that it shall lack."""

    def build(self, config, rng):
        self.table = tinylm.nn.Embedding(config.vocab_size, 3, rng=rng)

    def encode(self, ids, mask=None):
        return [self.table(ids)]

    def batch(self, step, seed):
        return ()

    def loss(self, batch):
        return ()

    own = {"build": build, "encode": encode, "batch": batch, "loss": loss} | more
    own = {key: value for key, value in own.items() if key not in lack}
    return type("Mine", (tinylm.Objective,), own, name=name)


def test_defining_a_class_registers_it_and_a_second_definition_replaces_it():
    first = chapter()
    assert objectives.find("mine") is first and "mine" in objectives.names()
    second = chapter()
    assert objectives.find("mine") is second
    assert objectives.by_model_type("tinylm-mine") is second
    assert objectives.find(first) is first


@pytest.mark.parametrize("name", ["Mine", "a b", "", "../x", "gpt"])
def test_a_name_that_no_folder_or_command_can_have_is_refused(name):
    with pytest.raises(TinylmError, match="cannot be called|is a chapter of tinylm"):
        chapter(name)


@pytest.mark.parametrize("method", ["build", "batch", "loss", "encode"])
def test_a_missing_method_is_named_when_the_class_is_defined(method):
    with pytest.raises(TinylmError, match=f"mine lacks {method}"):
        chapter(lack=(method,))


def test_unknown_objectives_say_what_there_is_and_what_to_pass(tmp_path):
    with pytest.raises(
        TinylmError, match="expected one of word2vec, fasttext, glove, elmo, ulmfit, gpt.*mine.py"
    ):
        objectives.find("elmoo")
    (tmp_path / hub.CONFIG).write_text('{"model_type": "tinylm-elsewhere"}', encoding="utf-8")
    with pytest.raises(CheckpointError, match="pass --objective FILE.py"):
        hub.load(tmp_path)


DEFINES = """
import tinylm
class {name}(tinylm.Objective, name="{name}"):
    def build(self, config, rng): self.table = tinylm.nn.Embedding(config.vocab_size, 3, rng=rng)
    def encode(self, ids, mask=None): return [self.table(ids)]
    def batch(self, step, seed): return None
    def loss(self, batch): return None
"""


@pytest.mark.parametrize(
    "content, sentence",
    [
        ("x = 1\n", "defines no objective"),
        ("from tinylm import GPT\n", "defines no objective"),
        ("1 / 0\n", r"mine.py, line 1, cannot be run: ZeroDivisionError"),
        ("x = 1\ndef f(:\n", "mine.py, line 2, cannot be run: SyntaxError"),
        ("import json\n\njson.loads('no')\n", "mine.py, line 3, cannot be run: JSONDecodeError"),
        ("x = '\0'\n", "mine.py cannot be run: (SyntaxError|ValueError)"),
        (DEFINES.format(name="one") + DEFINES.format(name="two"), "defines one, two; say which"),
    ],
)
def test_a_file_that_defines_no_single_objective_is_one_sentence(tmp_path, content, sentence):
    path = tmp_path / "mine.py"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(TinylmError, match=sentence) as caught:
        objectives.find(str(path))
    assert "\n" not in str(caught.value)


def test_a_helper_with_a_name_is_no_objective(tmp_path):
    helpers = """
from dataclasses import dataclass
from typing import NamedTuple
class Row(NamedTuple):
    name: str
@dataclass
class Column:
    name: str = "column"
"""
    path = tmp_path / "mine.py"
    path.write_text(helpers + DEFINES.format(name="helped"), encoding="utf-8")
    assert objectives.find(str(path)).name == "helped"
    path.write_text(helpers, encoding="utf-8")
    with pytest.raises(TinylmError, match="defines no objective"):
        objectives.find(str(path))


def test_a_file_that_was_interrupted_runs_anew(tmp_path):
    path = tmp_path / "mine.py"
    once = f"""
import os
if not os.path.exists({str(tmp_path / "seen")!r}):
    open({str(tmp_path / "seen")!r}, "w").close()
    raise KeyboardInterrupt
"""
    path.write_text(once + DEFINES.format(name="again"), encoding="utf-8")
    with pytest.raises(KeyboardInterrupt):
        objectives.find(str(path))
    assert objectives.find(str(path)).name == "again"


@pytest.mark.parametrize("name", [*CHAPTERS, *STUDENTS])
def test_a_batch_before_there_is_a_text_is_one_sentence(name):
    chapter = objectives.find(name)
    with pytest.raises(TinylmError, match=r"call prepare|no teacher"):
        chapter(chapter.Config.tiny(59)).batch(0, 0)


def test_a_file_of_several_is_asked_for_one_by_name(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(DEFINES.format(name="one") + DEFINES.format(name="two"), encoding="utf-8")
    assert objectives.find(f"{path}:two").name == "two"
    with pytest.raises(TinylmError, match="defines no objective 'three'"):
        objectives.find(f"{path}:three")
    with pytest.raises(TinylmError, match="There is no file"):
        objectives.find(str(tmp_path / "none.py"))


def test_an_installed_package_offers_an_objective_and_only_the_one_asked_for_is_loaded(
    tmp_path, monkeypatch
):
    (tmp_path / "offering.py").write_text(DEFINES.format(name="offered"), encoding="utf-8")
    (tmp_path / "broken.py").write_text("1 / 0\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    entries = [
        importlib.metadata.EntryPoint("offered", "offering:offered", registry.ENTRY_POINTS),
        importlib.metadata.EntryPoint("broken", "broken:X", registry.ENTRY_POINTS),
    ]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: entries)
    assert objectives.by_model_type("tinylm-offered").name == "offered"
    assert objectives.find("offered").__module__ == "offering"
    with pytest.raises(TinylmError, match="'broken' of an installed package .* cannot be imported"):
        objectives.find("broken")


# ---- what the base class supplies


def test_an_ability_that_is_missing_is_a_sentence():
    mine = chapter()(tinylm.Objective.Config(7))
    with pytest.raises(TinylmError, match="mine has no generation: it cannot continue text"):
        mine.need("generation")
    with pytest.raises(TinylmError, match="mine has no scores"):
        mine.need("scores")
    assert (mine.state(), mine.subwords(), mine.steps_per_epoch, mine.max_length) == (
        {},
        {},
        0,
        None,
    )
    np.testing.assert_array_equal(mine.embedding_table(), mine.table.weight.data)
    assert mine.layer_groups() == [mine.parameters()]
    with pytest.raises(TinylmError, match="has not seen a text yet"):
        mine.prepared()


def test_evaluation_covers_the_held_out_text_once_and_leaves_the_corpus_of_training():
    model, tokenizer, _ = pretrain(
        PretrainConfig(str(MINE), "toy", options={"steps": 2, "length": 7, "batch_size": 5}),
        quiet=True,
    )
    trained_on = model.corpus
    ids = np.arange(3, 140, dtype=np.int32)
    held_out = Corpus(ids, np.array([0, 137]), tokenizer.vocab_size, 137, 500)
    batches = list(model.evaluation_batches(held_out))
    assert len(batches) == 4 and model.corpus is trained_on  # 4 · 5 · 7 tokens for 136
    found = evaluate(model, held_out)
    assert found == evaluate(model, held_out) and found["tokens"] == 140


def test_a_config_field_named_as_an_option_of_training_is_refused(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        MINE.read_text(encoding="utf-8").replace(
            "context: int = 5", "context: int = 5\n        lr: float = 1.0"
        ),
        encoding="utf-8",
    )
    with pytest.raises(TinylmError, match="config field 'lr', which is an option of training"):
        pretrain(PretrainConfig(str(path), "toy"), quiet=True)


def test_every_encoding_serves_every_chapter_that_reads_ids():
    texts = tinylm.data.load_texts("toy")[:60]
    for name, options in {
        "gpt": {"n_positions": 7, "n_embd": 6, "n_head": 2, "batch_size": 3},
        "word2vec": {"size": 5, "batch_words": 500},
        "glove": {"vector_size": 5, "batch_cells": 500},
    }.items():
        for kind in tinylm.text.KINDS:
            asked = PretrainConfig(name, "toy", options=options | {"steps": 2}, encoding=kind)
            model, tokenizer, result = pretrain(asked, texts, quiet=True)
            assert np.isfinite(result["loss"]), (name, kind)
            specials = list(tokenizer.special_ids)
            if name != "gpt":
                assert not model.vectors.data[specials].any(), (name, kind)
                ordinary = np.delete(model.vectors.data, specials, axis=0)
                assert ordinary.any(axis=1).all(), (name, kind)


def test_another_encoding_is_another_run(tmp_path, capsys):
    command = [
        "pretrain",
        "gpt",
        "--data",
        "toy",
        "--out",
        str(tmp_path),
        "--steps",
        "1",
        "--quiet",
    ]
    assert main([*command, "--set", "vocab_size=300"]) == 0
    assert main([*command, "--set", "vocab_size=300", "--resume", "--encoding", "unigram"]) == 2
    assert "encoding kind = bpe, now it is unigram" in capsys.readouterr().err
    assert os.path.exists(tmp_path / "merges.txt")
