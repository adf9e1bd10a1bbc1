"""Laws of the search for a learning rate: it finds the valley, forgets what it did, and says when there is none."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm import GPT, GPTConfig
from tinylm import ops as F
from tinylm.app.cli import main
from tinylm.data import Corpus
from tinylm.errors import ShapeError, TinylmError
from tinylm.report import pictures
from tinylm.training.rates import find_rate, smoothed, steepest
from tinylm.training.train import TrainConfig, Trainer

V = 11


def trainer(**options):
    """Of a GPT on a text that repeats itself."""
    ids = (np.arange(997) * 3 % V).astype(np.int32)
    corpus = Corpus(ids, np.array([0, 997]), V, words=997, characters=997)
    model = GPT(GPTConfig.tiny(V, n_positions=7, n_embd=12, n_layer=1, n_head=2))
    model.prepare(corpus)
    return Trainer(model, config=TrainConfig.of(model, steps=10, **options), quiet=True)


def test_a_model_learns_at_the_suggested_rate_and_explodes_beyond_the_last_one():
    found = find_rate(trainer(optimizer="sgd", clip=0.0), 1e-4, 1e4, 60)
    assert len(found.rates) == len(found.losses) < 60
    assert 1e-3 < found.suggested <= found.largest < found.rates[-1]
    losses = []
    for rate in (found.suggested / 1000, found.suggested):
        run = trainer(optimizer="sgd", clip=0.0, lr=rate, schedule="constant", warmup=0.0)
        losses.append(run.run()["loss"])
    assert losses[1] < losses[0] - 0.05


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "asgd"])
def test_the_search_leaves_every_weight_as_it_was_even_after_an_explosion(optimizer):
    searched = trainer(optimizer=optimizer)
    before = {name: array.copy() for name, array in searched.objective.state_dict().items()}
    find_rate(searched, 1e-5, 1e6, 40)
    for name, array in searched.objective.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    alone = trainer(optimizer=optimizer).run()
    assert searched.run()["loss"] == alone["loss"]


def test_a_mistake_of_the_objective_is_no_explosion():
    searched = trainer()
    searched.objective.loss = lambda batch: F.add(np.zeros(2), np.zeros(3))
    with pytest.raises(ShapeError, match="do not broadcast"):
        find_rate(searched, 1e-5, 1e-3, 40)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=40), st.floats(-3, 3))
def test_a_running_mean_lies_inside_what_it_has_seen_and_moves_with_it(losses, shift):
    means = smoothed(losses)
    for i, mean in enumerate(means):
        seen = losses[: i + 1]
        assert min(seen) - 1e-9 <= mean <= max(seen) + 1e-9
    np.testing.assert_allclose(smoothed(np.array(losses) + shift), means + shift, atol=1e-9)


def test_the_steepest_rate_is_measured_by_factors_not_by_differences():
    rates = np.geomspace(1e-4, 1, 9)
    losses = 5 - np.tanh(np.log10(rates / 1e-2))
    assert steepest(rates, losses) == pytest.approx(1e-2)
    assert steepest(rates * 7, losses) == pytest.approx(7e-2)


def test_too_little_to_see_is_said():
    with pytest.raises(TinylmError, match="exploded after 3 updates"):
        steepest([1, 2, 3], [1, 2, 3])
    with pytest.raises(TinylmError, match="falls at no rate"):
        steepest([1, 2, 3, 4, 5], [1, 2, 3, 4, 5])
    with pytest.raises(TinylmError, match="high"):
        find_rate(trainer(), 1e-3, 1e-4)


COMMAND = ["find-rate", "gpt", "--data", "toy", "--steps", "30", "--json", "--quiet"]
for size in ("n_positions=16", "n_embd=12", "n_layer=1", "n_head=2", "vocab_size=300"):
    COMMAND += ["--set", size]


def test_the_command_suggests_a_rate(capsys):
    assert main(COMMAND) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["suggested"] in found["rates"] and len(found["rates"]) == len(found["losses"])


def test_the_command_draws_the_search_or_says_before_it_what_the_picture_needs(tmp_path, capsys):
    picture = tmp_path / "rates.svg"
    done = main([*COMMAND, "--out", str(picture)])
    out, err = capsys.readouterr()
    if pictures.available():
        assert done == 0 and json.loads(out)["suggested"] > 0
        text = picture.read_text()
        assert text.startswith("<?xml") and "learning rate" in text
        assert pictures.rate_curve([1, 2], [3, 4], 1) == pictures.rate_curve([1, 2], [3, 4], 1)
    else:
        assert done == 2 and out == "" and "matplotlib" in err and not picture.exists()


def test_without_matplotlib_a_picture_is_refused_before_the_search(tmp_path, capsys, monkeypatch):
    def search(*_):
        raise AssertionError("the search began")

    monkeypatch.setattr("tinylm.report.pictures.available", lambda: False)
    monkeypatch.setattr("tinylm.training.rates.find_rate", search)
    assert main([*COMMAND, "--out", str(tmp_path / "rates.svg")]) == 2
    out, err = capsys.readouterr()
    assert out == "" and "tinylm[demos]" in err and len(err.splitlines()) == 1


def test_each_rate_of_a_curve_has_a_loss():
    with pytest.raises(ShapeError, match="2 rates, but 1 losses"):
        pictures.rate_curve([1, 2], [3], 1)


def test_a_picture_never_replaces_the_text_that_is_read_and_other_files_only_when_asked(
    tmp_path, capsys, monkeypatch
):
    def search(*_):
        raise AssertionError("the search began")

    monkeypatch.setattr("tinylm.report.pictures.available", lambda: True)
    monkeypatch.setattr("tinylm.training.rates.find_rate", search)
    text = tmp_path / "mine.svg"
    text.write_text("a text of mine\n")
    read = ["find-rate", "gpt", "--data", str(text), "--out", str(text)]
    assert main([*read, "--overwrite"]) == 2 and "is read here" in capsys.readouterr().err
    assert main([*COMMAND, "--out", str(text)]) == 2 and "exists already" in capsys.readouterr().err
    assert text.read_text() == "a text of mine\n"
