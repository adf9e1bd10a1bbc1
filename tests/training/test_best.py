"""A run that keeps its best weights: those of the lowest evaluation, the same after a kill, and never worse."""

import dataclasses
import os
import signal

import numpy as np
import pytest

import tinylm
from tinylm import hub
from tinylm.errors import ArgumentError, CheckpointError
from tinylm.interrupt import Interrupted
from tinylm.training import checkpoint
from tinylm.training.best import Best
from tinylm.training.evaluation import evaluate
from tinylm.training.train import GLANCE, TrainConfig, Trainer

V = 7
STEPS = 40
CONFIG = TrainConfig(steps=STEPS, lr=0.02, eval_every=5, save_every=9, warmup=0.0, seed=3)
BEST = dataclasses.replace(CONFIG, keep="best")

pytestmark = pytest.mark.usefixtures("one_thread")


def corpus(seed, length=61):
    """Tokens drawn by chance: whoever knows one text by heart is wrong about another."""
    ids = np.random.default_rng(seed).integers(V, size=length)
    return tinylm.data.Corpus(ids, np.array([0, length]), V, words=length, characters=length)


HELD_OUT = corpus(2)


def trainer(config, out=None, stop_after=None, held_out=HELD_OUT):
    """A small GPT that soon knows its text by heart; stop_after: SIGTERM arrives at that batch."""
    model = tinylm.GPT(tinylm.GPTConfig.tiny(V, n_positions=11, resid_pdrop=0.1))
    model.prepare(corpus(1))
    draw = model.batch

    def batch(number, seed):
        if number == stop_after:
            os.kill(os.getpid(), signal.SIGTERM)
        return draw(number, seed)

    model.batch = batch
    return Trainer(model, out=out, config=config, held_out=held_out, quiet=True)


def weights(run):
    """The weights of a run's model, as one array."""
    return np.concatenate([array.ravel() for array in run.objective.state_dict().values()])


@pytest.fixture(scope="module")
def watched():
    """(trainer that keeps the last weights, its weights and held-out losses at each evaluation)."""
    run = trainer(CONFIG)
    seen = []
    look = run.best.look

    def remember(step, loss, model):
        seen.append((step, loss, weights(run).copy()))
        look(step, loss, model)

    run.best.look = remember
    run.run()
    return run, seen


def test_the_kept_weights_are_those_of_the_lowest_evaluation(watched):
    last, seen = watched
    run = trainer(BEST)
    result = run.run()
    step, loss, kept = min(seen, key=lambda each: each[1])
    assert step < STEPS and loss < seen[-1][1]  # the text was learned by heart
    np.testing.assert_array_equal(weights(run), kept)
    assert result["kept"] == step
    assert evaluate(run.objective, HELD_OUT, GLANCE)["loss"] == loss
    assert result["held_out"]["loss"] < evaluate(last.objective, HELD_OUT)["loss"]


def test_without_it_the_last_weights_stay_and_the_user_is_told(watched, capsys):
    run, seen = watched
    assert not np.array_equal(weights(run), min(seen, key=lambda each: each[1])[2])
    loud = trainer(CONFIG)
    loud.quiet = False
    assert loud.run()["kept"] == STEPS
    said = capsys.readouterr().err
    assert "--set keep=best keeps those weights" in said and "by heart" in said


@pytest.mark.parametrize(("latest", "passed"), [(-3.0, False), (-2.95, False), (-2.9, True)])
def test_a_loss_below_zero_is_passed_as_one_above_is(latest, passed):
    best = Best(keeps=False)
    assert not best.is_passed()
    best.look(1, -3.0, None)
    best.look(2, latest, None)
    assert best.is_passed() == passed


def test_the_last_step_may_be_the_best():
    config = dataclasses.replace(BEST, steps=2, lr=1e-3)
    run = trainer(config, held_out=corpus(1))
    assert run.run()["kept"] == 2 and not run.best.is_passed()


@pytest.mark.parametrize("stop", [3, 11, 26, STEPS - 1])
def test_a_run_that_is_stopped_and_resumed_keeps_the_same_bits(stop, tmp_path):
    whole = trainer(BEST)
    result = whole.run()
    with pytest.raises(Interrupted):
        trainer(BEST, tmp_path / "run", stop_after=stop).run()
    again = trainer(BEST, tmp_path / "run")
    resumed = again.run(resume=True)
    np.testing.assert_array_equal(weights(again), weights(whole))
    assert {**resumed, "seconds": 0} == {**result, "seconds": 0}
    exported, _ = checkpoint.load_tensors(tmp_path / "run" / hub.WEIGHTS)
    for name, array in again.objective.state_dict().items():
        if name in exported:
            np.testing.assert_array_equal(exported[name], array)


def test_without_held_out_text_the_last_weights_stay():
    kept = trainer(BEST, held_out=None)
    plain = trainer(CONFIG, held_out=None)
    assert kept.run()["kept"] == plain.run()["kept"] == STEPS
    np.testing.assert_array_equal(weights(kept), weights(plain))


def test_other_evaluations_are_another_run(tmp_path):
    with pytest.raises(Interrupted):
        trainer(BEST, tmp_path / "run", stop_after=11).run()
    more = dataclasses.replace(BEST, eval_every=3)
    with pytest.raises(CheckpointError, match="eval_every = 5, now it is 3"):
        trainer(more, tmp_path / "run").run(resume=True)
    with pytest.raises(CheckpointError, match="keep = best, now it is last"):
        trainer(CONFIG, tmp_path / "run").run(resume=True)


@pytest.mark.parametrize("held_out", [None, corpus(5)], ids=["none", "another"])
def test_another_held_out_text_is_another_run_where_it_decides(held_out, tmp_path):
    with pytest.raises(Interrupted):
        trainer(BEST, tmp_path / "run", stop_after=11).run()
    with pytest.raises(CheckpointError, match="data held-out text"):
        trainer(BEST, tmp_path / "run", held_out=held_out).run(resume=True)
    with pytest.raises(Interrupted):
        trainer(CONFIG, tmp_path / "last", stop_after=11).run()
    trainer(CONFIG, tmp_path / "last", held_out=held_out).run(resume=True)


def test_a_run_from_before_the_held_out_text_was_noted_goes_on(tmp_path):
    with pytest.raises(Interrupted):
        trainer(BEST, tmp_path / "run", stop_after=11).run()
    state = checkpoint.load_state(tmp_path / "run")
    del state.facts["identity"]["data"]["held-out text"]
    checkpoint.save_state(tmp_path / "run", state)
    assert trainer(BEST, tmp_path / "run").run(resume=True)["steps"] == STEPS


def test_a_state_without_its_best_weights_is_one_sentence(tmp_path):
    with pytest.raises(Interrupted):
        trainer(BEST, tmp_path / "run", stop_after=11).run()
    state = checkpoint.load_state(tmp_path / "run")
    assert state.facts["best"]["step"] in (5, 10) and state.arrays["best"]
    checkpoint.save_state(
        tmp_path / "run", checkpoint.TrainerState({**state.arrays, "best": {}}, state.facts)
    )
    with pytest.raises(CheckpointError, match="best weights are missing"):
        trainer(BEST, tmp_path / "run").run(resume=True)
    late = {"step": state.facts["step"] + 1, "loss": 1.0, "latest": 1.0}
    for wrong in (late, {"step": 1, "loss": 1.0}, [], {**late, "step": 1, "loss": "x"}):
        facts = {**state.facts, "best": wrong}
        checkpoint.save_state(tmp_path / "run", checkpoint.TrainerState(state.arrays, facts))
        with pytest.raises(CheckpointError, match="best cannot be"):
            checkpoint.load_state(tmp_path / "run")


def test_an_average_of_weights_is_not_kept_beside_the_best():
    with pytest.raises(ArgumentError, match="asgd keeps the average"):
        dataclasses.replace(BEST, optimizer="asgd")
