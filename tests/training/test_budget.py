"""Minutes: a run uses the time it was given however the speed changes, and its plan repeats it, bit for bit."""

import dataclasses
import itertools
import json
import os
import signal
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm import GPT, GPTConfig, Word2Vec, Word2VecConfig, optim
from tinylm.app.cli import main
from tinylm.data import Corpus
from tinylm.errors import CheckpointError, TinylmError
from tinylm.interrupt import Interrupted
from tinylm.progress import Progress
from tinylm.training import budget, checkpoint
from tinylm.training.budget import Budget, Plan
from tinylm.training.train import TrainConfig, Trainer

MINUTES = 1.0
EACH = 0.375  # seconds of an update at first: 160 of them fit, and sums of thirds are exact
HALF = 80
later = pytest.mark.parametrize("then", [3 * EACH, EACH / 3], ids=["slower", "faster"])


def text(words, vocab_size):
    """A Corpus of random ids."""
    ids = np.random.default_rng(1).integers(3, vocab_size, words)
    starts = np.linspace(0, words, 8).astype(np.int64)
    return Corpus(ids.astype(np.int32), starts, vocab_size, words, 5 * words)


GPT_TINY = GPTConfig(23, n_positions=7, n_embd=6, n_layer=1, n_head=2, batch_size=2)
MODELS = {
    "gpt": lambda: GPT(GPT_TINY),
    "gpt averaged": lambda: GPT(GPT_TINY),
    "word2vec": lambda: Word2Vec(Word2VecConfig(23, size=5, batch_words=41)),
}
OPTIONS = {
    "gpt": {"schedule": "cosine"},
    "gpt averaged": {"optimizer": "asgd", "lr": 5.0, "optimizer_options": {"nonmono": 0}},
    "word2vec": {},
}
every_model = pytest.mark.parametrize("name", MODELS)


pytestmark = pytest.mark.usefixtures("one_thread")


class Killed(Exception):
    """As hard as kill -9: nothing is saved any more."""


def trainer(name, out=None, cost=lambda step: EACH, on_step=lambda step: None, **length):
    """A Trainer on a clock that only updates move.

    cost : seconds of update `step`     on_step : called when its batch is drawn, after the first plan was made
    """
    model = MODELS[name]()
    model.prepare(text(997, 23))
    config = TrainConfig.of(model, **OPTIONS[name], **(length or {"minutes": MINUTES}), seed=3)
    config = dataclasses.replace(config, save_every=1000)
    made = Trainer(model, None, out, config, text(101, 23), quiet=True)
    draw, now, begun = model.batch, [0.0], [False]

    def batch(step, seed):
        now[0] += cost(step)
        if out is not None and not begun[0]:
            begun[0] = "started" in str(checkpoint.read_log(made.out / checkpoint.LOG)[:1])
        if begun[0]:
            on_step(step)
        return draw(step, seed)

    model.batch = batch
    made.clock = lambda: now[0]
    return made


def trained(*args, resume=False, **options):
    """The weights' bytes after a run, and its result."""
    made = trainer(*args, **options)
    result = made.run(resume)
    return {n: a.tobytes() for n, a in made.objective.state_dict().items()}, result


def changing(then, at=HALF):
    """The cost of updates that take `then` seconds from update `at` on."""
    return lambda step: then if step >= at else EACH


def replans(out):
    """The updates at which a run was planned anew, by its log."""
    records = checkpoint.read_log(out / checkpoint.LOG)
    return [r["step"] for r in records if r["event"] == "plan" and r["step"] > 0]


def evaluations(out):
    """What a run measured on the way: [(step, loss), ...]."""
    records = checkpoint.read_log(out / checkpoint.LOG)
    return [(r["step"], r["loss"]) for r in records if r["event"] == "evaluation"]


# ---- the time


@every_model
@later
def test_a_run_whose_updates_change_their_speed_at_half_time_uses_its_minutes(name, then):
    _, result = trained(name, cost=changing(then))
    assert result["seconds"] == pytest.approx(60 * MINUTES, rel=0.1)
    assert len(result["plan"]) > 1


def used(seconds, cost, first):
    """Simulate a run: cost(step, seconds used so far). returns seconds used in all, and its plan."""
    made, step, total = Budget(minutes=seconds / 60), 0, 0.0
    made.plan = Plan(((0, first),))
    while step < made.plan.steps:
        took = cost(step, total)
        total += took
        step += 1
        if step < made.plan.steps:
            made.revise(step, total, took)
    return total, made.plan


@given(
    at=st.floats(0, 1),
    factor=st.floats(1 / 3, 3),
    updates=st.integers(100, 2000),
    noise=st.floats(0, 0.2),
    seed=st.integers(0, 99),
)
def test_whenever_the_speed_changes_the_used_time_is_within_ten_percent(
    at, factor, updates, noise, seed
):
    rng = np.random.default_rng(seed)

    def cost(step, total):
        slow = factor if total >= at * 60 else 1
        return 60 / updates * slow * (1 + noise * rng.uniform(-1, 1))

    total, _ = used(60, cost, updates)
    assert 54 <= total <= 66


@given(wrong=st.floats(0.1, 10), updates=st.integers(200, 2000))
def test_a_first_plan_that_was_wrong_by_far_is_corrected(wrong, updates):
    total, plan = used(60, lambda step, total: 60 / updates, max(8, round(updates * wrong)))
    assert total == pytest.approx(60, rel=0.05)
    assert abs(plan.steps - updates) <= 0.05 * updates


@given(costs=st.lists(st.floats(0, 0.6), min_size=1, max_size=50), first=st.integers(1, 5000))
def test_no_run_takes_longer_than_its_last_mark_and_two_updates(costs, first):
    turns = itertools.cycle(costs)
    total, _ = used(60, lambda step, total: max(next(turns), 0.01), first)
    assert total <= 60 * budget.LATEST + 2 * 0.6


def test_one_stall_decides_nothing_and_regular_work_is_counted():
    made = Budget(minutes=100)
    made.times.extend([1.0] * 20 + [200.0])
    assert made.speed() == 1.0
    made.times.extend(([1.0] * 9 + [11.0]) * 10)
    assert made.speed() == pytest.approx(2.0, rel=0.1)  # the median alone says 1


def test_only_the_latest_updates_tell_the_speed():
    made = Budget(minutes=1)
    made.times.extend([1.0] * 20 + [3.0] * 3)
    assert made.speed() == 3.0


def test_a_steady_run_keeps_its_first_plan():
    total, plan = used(60, lambda step, total: 0.1, 600)
    assert plan == Plan(((0, 600),)) and total == pytest.approx(60)


# ---- the plan


@st.composite
def plans(draw):
    """A plan that a run can have made, with up to six segments."""
    end = draw(st.integers(1, 500))
    segments, begin = [(0, end)], 0
    for _ in range(draw(st.integers(0, 5))):
        if begin + 1 >= end:
            break
        begin = draw(st.integers(begin + 1, end - 1))
        end = draw(st.integers(begin + 1, begin + 500))
        segments.append((begin, end))
    return Plan(tuple(segments))


@given(plans())
def test_the_place_moves_evenly_from_nothing_to_the_end_and_never_jumps(plan):
    places = [plan.place(step) for step in range(plan.steps + 1)]
    assert places[0] == 0 and places[-1] == pytest.approx(plan.length)
    moves = np.diff(places)
    assert (moves > 0).all()
    bounds = [*(start for start, _ in plan.segments), plan.steps]
    for begin, end in itertools.pairwise(bounds):
        np.testing.assert_allclose(moves[begin:end], moves[begin], rtol=1e-6)


@given(plans())
def test_a_later_segment_changes_nothing_before_it(plan):
    for count in range(1, len(plan.segments)):
        earlier = Plan(plan.segments[:count])
        for step in range(1, plan.segments[count][0] + 1):
            assert earlier.place(step) == plan.place(step)
            assert earlier.evaluates(step, 0) == plan.evaluates(step, 0)


@given(st.integers(1, 3000), st.integers(0, 20))
def test_a_fixed_number_of_steps_has_whole_places_and_even_evaluations(steps, every):
    plan = Plan(((0, steps),))
    for step in range(1, min(steps, 100) + 1):
        assert plan.place(step) == step and type(plan.place(step)) is int
        assert plan.evaluates(step, every) == (step % (every or max(1, steps // 10)) == 0)


@given(plans(), st.sampled_from(sorted(optim.SCHEDULES)))
def test_a_schedule_goes_on_where_it_is_when_a_run_is_planned_anew(plan, name):
    def share(place):
        return optim.SCHEDULES[name](place, plan.length, round(0.1 * plan.length))

    fine = [share(place) for place in np.linspace(0, plan.length, 2_001)]
    steepest = (
        np.abs(np.diff(fine)).max() + 1e-9
    )  # in a 2,000th of the way, the schedule's own jumps included
    for start, _ in plan.segments[1:]:
        move = plan.place(start) - plan.place(start - 1)
        pieces = 2_000 * move / plan.length + 2
        assert abs(share(plan.place(start)) - share(plan.place(start - 1))) <= steepest * pieces


@given(plans())
def test_a_plan_comes_back_from_json(plan):
    assert Plan.read(json.loads(json.dumps(plan.lists()))) == plan
    assert TrainConfig(plan=plan.segments).budget().plan == plan


@pytest.mark.parametrize(
    "plan",
    [
        (),
        ((1, 9),),
        ((0, 0),),
        ((0, 9), (9, 12)),
        ((0, 9), (4, 4)),
        ((0, 9), (4, 8), (4, 7)),
        ((0, 9), (-1, 7)),
        ((0, 9.0),),
        ((0, 9, 2),),
        ((0, 2**40),),
        (0, 9),
        ((0, True),),
    ],
    ids=str,
)
def test_a_plan_that_no_run_can_have_made_is_refused(plan):
    with pytest.raises(TinylmError, match="expected"):
        TrainConfig(plan=plan)
    if not all(isinstance(pair, tuple) and len(pair) == 2 for pair in plan):
        return
    with pytest.raises(TinylmError):
        Plan.read([list(pair) for pair in plan])


@pytest.mark.parametrize("junk", [None, 7, "plan", [1, 2], {"a": 1}, [[0, 5], "x"]], ids=str)
def test_a_damaged_plan_in_a_file_is_one_sentence(junk):
    with pytest.raises(TinylmError):
        Plan.read(junk)
    with pytest.raises(TinylmError):
        Budget(minutes=1).restore({"plan": junk, "times": [], "passed": 0})


@pytest.mark.parametrize(
    "lengths",
    [
        {},
        {"steps": 3, "plan": ((0, 3),)},
        {"minutes": 1, "plan": ((0, 3),)},
        {"minutes": 1, "tokens": 3},
    ],
    ids=str,
)
def test_a_run_has_exactly_one_length(lengths):
    with pytest.raises(TinylmError, match="give one of the four"):
        TrainConfig(**lengths)


# ---- tokens


@every_model
def test_a_run_of_so_many_tokens_reads_about_so_many_at_any_speed(name):
    for wanted in (419, 4001):
        weights, result = trained(name, tokens=wanted)
        each = result["read"] / result["steps"]
        assert abs(result["read"] - wanted) <= max(each, 0.02 * wanted)
        assert trained(name, tokens=wanted, cost=changing(9 * EACH))[0] == weights


@every_model
def test_a_run_of_tokens_is_the_run_of_as_many_steps(name):
    weights, result = trained(name, tokens=1009)
    again, _ = trained(name, steps=result["steps"])
    assert again == weights


def test_a_run_of_tokens_that_was_stopped_goes_on_by_its_plan(tmp_path):
    def stop(step):
        if step == 11:
            os.kill(os.getpid(), signal.SIGTERM)

    whole, expected = trained("gpt", tokens=1009)
    with pytest.raises(Interrupted):
        trained("gpt", tmp_path / "run", on_step=stop, tokens=1009)
    weights, result = trained("gpt", tmp_path / "run", resume=True, tokens=1009)
    assert weights == whole and result["steps"] == expected["steps"] > 12


# ---- the bits


@every_model
@later
def test_the_replay_of_a_recorded_plan_ends_with_the_same_bits(name, then, tmp_path):
    weights, result = trained(name, tmp_path / "run", cost=changing(then))
    plan = budget.recorded(tmp_path / "run")
    assert [list(segment) for segment in plan] == result["plan"] and len(plan) > 1
    again, replayed = trained(name, tmp_path / "again", plan=plan)
    assert again == weights
    assert {**replayed, "seconds": 0} == {**result, "seconds": 0}
    assert evaluations(tmp_path / "again") == evaluations(tmp_path / "run")
    assert 8 <= len(evaluations(tmp_path / "run")) <= 13


@every_model
@later
def test_a_run_killed_at_each_replan_and_resumed_ends_with_the_same_bits(name, then, tmp_path):
    cost = changing(then)
    whole, result = trained(name, tmp_path / "whole", cost=cost)
    steps = replans(tmp_path / "whole")
    assert steps == [begin for begin, _ in result["plan"][1:]] != []

    def kill(step):
        raise Killed

    def stop(step):
        os.kill(os.getpid(), signal.SIGTERM)

    for at in steps:
        # before the decision, before its first use, after it; and with a save in between
        for moment, end in ((at - 1, kill), (at, kill), (at + 3, kill), (at, stop)):
            out = tmp_path / f"{end.__name__} {moment}"
            with pytest.raises((Killed, Interrupted)):
                trained(name, out, cost=cost, on_step=lambda s, m=moment, e=end: s == m and e(s))
            weights, resumed = trained(name, out, cost=cost, resume=True)
            assert weights == whole and resumed == result
            assert evaluations(out) == evaluations(tmp_path / "whole")
            assert replans(out) == steps


@later
def test_a_run_killed_while_it_saves_a_plan_ends_as_the_plan_that_it_records(
    then, tmp_path, monkeypatch
):
    cost, save, calls = changing(then), checkpoint.save_state, itertools.count()

    def torn(folder, state):
        if next(calls) == 1:  # the first save is that of step 0
            raise Killed
        save(folder, state)

    monkeypatch.setattr(checkpoint, "save_state", torn)
    with pytest.raises(Killed):
        trained("gpt", tmp_path, cost=cost)
    assert len(replans(tmp_path)) == 1  # announced, but no update has followed it
    weights, result = trained("gpt", tmp_path, cost=changing(0.7, at=31), resume=True)
    assert replans(tmp_path) == [begin for begin, _ in result["plan"][1:]]
    again, _ = trained("gpt", plan=budget.recorded(tmp_path))
    assert again == weights


def test_a_run_resumed_on_a_slower_machine_is_planned_anew_and_replayed_to_the_same_bits(tmp_path):
    with pytest.raises(Interrupted):
        trained("gpt", tmp_path, on_step=lambda s: s == 70 and os.kill(os.getpid(), signal.SIGTERM))
    weights, result = trained("gpt", tmp_path, cost=lambda step: 2.5 * EACH, resume=True)
    assert result["seconds"] == pytest.approx(60 * MINUTES, rel=0.1)  # both parts together
    again, _ = trained("gpt", plan=budget.recorded(tmp_path))
    assert again == weights


def test_a_run_whose_speed_never_changes_equals_the_run_of_so_many_steps(tmp_path):
    weights, result = trained("gpt", tmp_path)
    assert result["plan"] == [[0, 160]] and result["seconds"] == pytest.approx(60)
    same, fixed = trained("gpt", steps=160)
    assert same == weights and fixed["plan"] == [[0, 160]]


# ---- what a user sees


def test_the_command_line_replays_a_run(tmp_path, capsys):
    rng = np.random.default_rng(0)
    (tmp_path / "mine.txt").write_text(" ".join(rng.choice(["sea", "wave", "rock", "wind"], 500)))
    command = ["pretrain", "gpt", "--data", str(tmp_path / "mine.txt"), "--quiet", "--json"]
    for option in ("n_layer=1", "n_embd=8", "n_positions=16", "vocab_size=270"):
        command += ["--set", option]
    command.append("--out")
    assert main([*command, str(tmp_path / "a"), "--minutes", "0.005"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert main([*command, str(tmp_path / "b"), "--replay", str(tmp_path / "a")]) == 0
    replayed = json.loads(capsys.readouterr().out)
    assert replayed["plan"] == result["plan"] and replayed["loss"] == result["loss"]
    weights = [(tmp_path / run / "model.safetensors").read_bytes() for run in "ab"]
    assert weights[0] == weights[1]
    assert main([*command, str(tmp_path / "c"), "--replay", str(tmp_path / "none")]) == 2
    assert "does not exist" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*command, str(tmp_path / "c"), "--replay", str(tmp_path / "a"), "--minutes", "1"])


def test_a_new_plan_is_said_and_moves_the_end_of_the_bar(capsys, monkeypatch):
    for terminal in (False, True):
        monkeypatch.setattr(sys.stderr, "isatty", lambda terminal=terminal: terminal)
        with Progress(0, 5) as progress:
            progress.replan(3, 17)
            progress.update(4, loss=2.5, tokens=100)
            progress.update(17, loss=2.5, tokens=100)
        said = capsys.readouterr().err
        assert "step 3: planned anew, 17 steps instead of 5" in said
        assert "17/17" in said


def test_only_a_finished_run_is_replayed(tmp_path):
    with pytest.raises(Interrupted):
        trained("gpt", tmp_path, on_step=lambda s: s == 9 and os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(CheckpointError, match="not finished"):
        budget.recorded(tmp_path)
