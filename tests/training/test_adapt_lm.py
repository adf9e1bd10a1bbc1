"""A model goes on learning from the texts of a task before it learns the task: pretraining from a folder, no other way."""

import json

import numpy as np
import pytest
from posts import WORDS, posts

from tinylm import hub
from tinylm.app.cli import main
from tinylm.data import encode_corpus, toy
from tinylm.errors import TinylmError
from tinylm.training.evaluation import evaluate
from tinylm.training.pretrain import PretrainConfig, adapt_lm, pretrain

TEXTS = [text for text, _ in posts(120, seed=1)]
LM = {"n_embd": 16, "n_layer": 1, "n_positions": 16, "lr": 0.01, "steps": 20}
MODELS = {
    "gpt": LM,
    "bert": {"hidden_size": 16, "num_hidden_layers": 1, "lr": 0.01, "steps": 20},
    "ulmfit": {"emb_sz": 16, "n_hid": 16, "n_layers": 1, "lr": 0.01, "steps": 20},
    "word2vec": {"size": 7, "steps": 20},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folders of models that have read the toy language, by name."""
    folder = tmp_path_factory.mktemp("runs")
    for name, options in MODELS.items():
        pretrain(PretrainConfig(name, "toy", folder / name, options=options), quiet=True)
    return folder


def files_of(folder):
    """Name -> bytes."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("name", MODELS)
def test_it_is_pretraining_from_the_folder_to_the_same_bits(runs, name, one_thread):
    before = files_of(runs / name)
    model, tokenizer = adapt_lm(runs / name, TEXTS, seed=3, quiet=True, steps=7)
    config = PretrainConfig(name, "x", options={"steps": 7}, seed=3, init=runs / name)
    same, encoding, _ = pretrain(config, TEXTS, quiet=True)
    assert not model.training and tokenizer.vocab == encoding.vocab
    for key, array in same.state_dict().items():
        np.testing.assert_array_equal(model.state_dict()[key], array)
    assert files_of(runs / name) == before


def test_it_lowers_the_loss_on_further_texts_of_the_task(runs):
    further = [text for text, _ in posts(40, seed=2)]
    losses = []
    model, tokenizer = hub.load(runs / "gpt")
    adapted, same = adapt_lm(runs / "gpt", TEXTS, quiet=True, steps=60, lr=0.01)
    for each, encoding in ((model, tokenizer), (adapted, same)):
        assert encoding.vocab == tokenizer.vocab  # so the losses are of the same predictions
        losses.append(evaluate(each, encode_corpus(further, encoding, encoding.end_id))["loss"])
    assert losses[1] < losses[0] - 0.5  # half a nat for each token


def test_a_wrong_option_is_one_sentence(runs):
    with pytest.raises(TinylmError, match="n_embd is 16 in .* and cannot become 8"):
        adapt_lm(runs / "gpt", TEXTS, quiet=True, steps=1, n_embd=8)


def test_finetune_adapts_first_and_the_encoder_that_it_saves_has_learned(runs, tmp_path, capsys):
    table = tmp_path / "a.tsv"
    table.write_text("".join(f"{text}\t{label}\n" for text, label in posts(60, seed=1)))
    encoders = []
    for more in ([], ["--adapt-minutes", "0.01"]):
        out = tmp_path / f"out{len(more)}"
        command = ["finetune", str(runs / "gpt"), "--train", str(table), "--out", str(out)]
        command += ["--method", "features", "--json", "--quiet", *more]
        assert main(command) == 0
        assert json.loads(capsys.readouterr().out)["train"] == 60
        encoders.append(hub.load(out)[0].state_dict())
    start = hub.load(runs / "gpt")[0].state_dict()
    same = [all((start[name] == one[name]).all() for name in start) for one in encoders]
    assert same == [True, False]


def test_the_folder_is_read_once(runs, tmp_path, monkeypatch):
    table = tmp_path / "a.tsv"
    table.write_text("".join(f"{text}\t{label}\n" for text, label in posts(20, seed=1)))
    read = []

    def counted(folder):
        read.append(folder)
        return weights(folder)

    weights = hub.weights.read
    monkeypatch.setattr(hub.weights, "read", counted)
    command = ["finetune", str(runs / "gpt"), "--train", str(table), "--quiet"]
    command += ["--method", "features", "--out", str(tmp_path / "out")]
    assert main([*command, "--adapt-minutes", "0.005"]) == 0
    assert read.count(runs / "gpt") == 1


def test_only_whole_texts_are_adapted_to(runs, tmp_path, capsys):
    command = ["finetune", str(runs / "gpt"), "--task", "tag", "--train", "toy"]
    assert main([*command, "--adapt-minutes", "1", "--out", str(tmp_path / "out")]) == 2
    assert "--adapt-minutes belongs to --task classify" in capsys.readouterr().err


def test_the_toy_language_is_not_the_text_of_the_task():
    words = {word for text in toy.documents(60) for word in text.split()}
    assert not words & set(WORDS["sea"] + WORDS["land"])
