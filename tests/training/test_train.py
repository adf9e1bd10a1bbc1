"""The loop: resuming changes no bit, interruptions are saved, mistakes are sentences, the log proves what happened."""

import dataclasses
import json
import os
import signal
import sys
import threading
from collections import deque
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinylm.ops as F
from tinylm import hub, nn
from tinylm.data import encode_corpus, load_texts
from tinylm.errors import CheckpointError, DivergenceError, TinylmError
from tinylm.objectives import Objective, find
from tinylm.objectives.word2vec import Word2Vec, Word2VecConfig
from tinylm.progress import Progress, duration
from tinylm.tensor import no_grad
from tinylm.text import Words
from tinylm.training import checkpoint, pretrain
from tinylm.training.losses import Divergence
from tinylm.training.train import Interrupted, TrainConfig, Trainer, evaluate

V = 11  # vocabulary of the toy chain


@dataclass(frozen=True)
class Batch:
    inputs: np.ndarray  # (B,)
    targets: np.ndarray  # (B,)

    @property
    def tokens(self):
        return len(self.targets)


class Bigram(Objective, name="bigram"):
    """log p(next | current) is one row of a (V,V) table; dropout makes the noise of a step matter."""

    causal = True

    def __init__(self, corpus_seed=0):
        super().__init__(self.Config(V), np.random.default_rng(5))
        self.corpus_seed, self.fingerprint = corpus_seed, f"text {corpus_seed}"
        self.factor = 1.0  # of the loss, to break it
        self.on_batch = lambda number: None

    def build(self, config, rng):
        self.table = nn.Embedding(V, V, rng=rng)
        self.dropout = nn.Dropout(0.2, nn.Noise())

    def encode(self, ids, mask=None):
        return [self.table(ids)]

    def batch(self, step, seed):
        self.on_batch(step)
        rng = np.random.default_rng([self.corpus_seed, seed, step])
        inputs = rng.integers(V, size=13)
        return Batch(inputs, (inputs * 3 + rng.integers(2, size=13)) % V)

    def loss(self, batch):
        loss = F.cross_entropy(self.dropout(self.table(batch.inputs)), batch.targets)
        return loss * self.factor, {"loss": loss.item(), "next": loss.item()}

    def evaluation_batches(self, corpus):
        for begin in range(0, len(corpus.ids) - 1, 17):
            ids = corpus.ids[begin : begin + 18]
            yield Batch(ids[:-1], ids[1:])


class Corpus:
    """As much of data.Corpus as evaluation needs."""

    def __init__(self, ids, words):
        self.ids, self.words = ids, words
        self.fingerprint = ids.tobytes().hex()

    def unigram_entropy(self):
        p = np.bincount(self.ids) / len(self.ids)
        return float(-(p[p > 0] * np.log(p[p > 0])).sum())


HELD_OUT = Corpus(np.random.default_rng(2).integers(V, size=101), words=50)
CONFIG = TrainConfig(steps=23, lr=0.05, save_every=5, eval_every=4, seed=3)


pytestmark = pytest.mark.usefixtures("one_thread")


def trained(out=None, config=CONFIG, resume=False, stop_after=None, **options):
    """The weights after a run; stop_after: SIGTERM arrives when that batch is drawn."""
    model = Bigram(**options)
    model.on_batch = lambda number: number == stop_after and os.kill(os.getpid(), signal.SIGTERM)
    result = Trainer(model, out=out, config=config, held_out=HELD_OUT, quiet=True).run(resume)
    return model.state_dict()["table.weight"], result


@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_run_stopped_anywhere_and_resumed_ends_with_the_same_bits(tmp_path, accumulate):
    config = dataclasses.replace(CONFIG, accumulate=accumulate)
    whole, result = trained(config=config)
    for stop in (1, 4, 9):
        out = tmp_path / str(stop)
        with pytest.raises(Interrupted) as caught:
            trained(out, config, stop_after=stop * accumulate)
        assert caught.value.status == 128 + signal.SIGTERM
        assert (
            checkpoint.load_state(out).facts["step"] == stop + 1
        )  # the step in hand is finished, then saved
        weights, resumed = trained(out, config, resume=True)
        np.testing.assert_array_equal(weights, whole)
        assert {**resumed, "seconds": 0} == {**result, "seconds": 0}
        exported, _ = checkpoint.load_tensors(out / hub.WEIGHTS)
        np.testing.assert_array_equal(exported["table.weight"], whole)


def test_a_signal_during_the_last_step_is_not_lost(tmp_path):
    whole, result = trained()
    with pytest.raises(Interrupted, match="saved at step 23 of 23") as caught:
        trained(tmp_path, stop_after=CONFIG.steps - 1)
    assert caught.value.status == 128 + signal.SIGTERM
    weights, again = trained(tmp_path, resume=True)  # nothing is left to do
    np.testing.assert_array_equal(weights, whole)
    assert {**again, "seconds": 0} == {**result, "seconds": 0}


OTHERS = {
    "adam": {},
    "sgd": {"momentum": 0.9},
    "adagrad": {"initial_accumulator_value": 1.0},
    "asgd": {"nonmono": 0},
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_optimizers_resume_to_the_same_bits_too(tmp_path, name):
    config = dataclasses.replace(
        CONFIG, optimizer=name, optimizer_options=OTHERS[name], lr=0.5, eval_every=1
    )
    whole, result = trained(config=config)
    with pytest.raises(Interrupted):
        trained(tmp_path, config, stop_after=15)
    weights, resumed = trained(tmp_path, config, resume=True)
    assert whole.tobytes() == weights.tobytes() and resumed["held_out"] == result["held_out"]
    exported, _ = checkpoint.load_tensors(tmp_path / hub.WEIGHTS)
    assert exported["table.weight"].tobytes() == whole.tobytes()
    again, _ = trained(tmp_path, config, resume=True)  # finished: left alone
    assert again.tobytes() == whole.tobytes()


def test_asgd_hands_over_and_evaluates_the_mean_of_the_last_weights_of_sgd():
    config = dataclasses.replace(CONFIG, optimizer="sgd", lr=9.0)
    model, weights = Bigram(), []
    model.on_batch = lambda number: weights.append(model.table.weight.data.copy())
    Trainer(model, config=config, held_out=HELD_OUT, quiet=True).run()
    weights.append(model.table.weight.data)  # weights[n] as they are after n steps
    config = dataclasses.replace(config, optimizer="asgd", optimizer_options={"nonmono": 0})
    model = Bigram()
    trainer = Trainer(model, config=config, held_out=HELD_OUT, quiet=True)
    result = trainer.run()
    count = trainer.optimizer.averages
    assert 0 < count < CONFIG.steps and len(weights) == CONFIG.steps + 1
    mean = np.mean(weights[-count:], axis=0)
    np.testing.assert_allclose(model.table.weight.data, mean, rtol=1e-5, atol=1e-6)
    assert evaluate(model, HELD_OUT) == result["held_out"]


def test_an_option_that_an_optimizer_does_not_know_is_one_sentence():
    config = dataclasses.replace(CONFIG, optimizer="sgd", optimizer_options={"betas": 1})
    with pytest.raises(TinylmError, match="sgd has no option 'betas'; it knows lr, momentum"):
        trained(config=config)


@pytest.mark.parametrize("lost", ["model.safetensors", "trainer.json", ".part"])
def test_what_a_kill_during_a_save_kept_back_is_written_by_resuming(tmp_path, lost):
    whole, _ = trained(tmp_path)
    if lost == ".part":
        (tmp_path / ".tinylm-0.part").mkdir()
        (tmp_path / ".tinylm-0.part" / "trainer.safetensors").write_bytes(b"half")
    else:
        (tmp_path / checkpoint.SUMMARY).unlink()
        (tmp_path / lost).unlink(missing_ok=True)
    trained(tmp_path, resume=True)
    assert checkpoint.read_json(tmp_path / checkpoint.SUMMARY)["step"] == CONFIG.steps
    assert not list(tmp_path.glob("*.part"))
    exported, _ = checkpoint.load_tensors(tmp_path / hub.WEIGHTS)
    np.testing.assert_array_equal(exported["table.weight"], whole)


@pytest.mark.parametrize("damage", [b"", b"{", b"[1]", b'{"step": 7}', b"\xff\xfe", b"[" * 10**5])
@pytest.mark.parametrize("stopped", [True, False])
def test_a_damaged_summary_blocks_no_run(tmp_path, damage, stopped):
    if stopped:
        with pytest.raises(Interrupted):
            trained(tmp_path, stop_after=11)
    else:
        trained(tmp_path)
    (tmp_path / checkpoint.SUMMARY).write_bytes(damage)
    weights, result = trained(tmp_path, resume=True)
    np.testing.assert_array_equal(weights, trained()[0])
    assert checkpoint.read_json(tmp_path / checkpoint.SUMMARY)["result"] == result


def test_the_log_holds_every_step_once_after_a_resume(tmp_path):
    with pytest.raises(Interrupted):
        trained(tmp_path, stop_after=11)
    with open(tmp_path / checkpoint.LOG, "a") as log:
        log.write(
            json.dumps({"event": "step", "step": 13, "loss": 0}) + '\n{"event": "st'
        )  # a kill later, mid-line
    trained(tmp_path, resume=True)
    records = checkpoint.read_log(tmp_path / checkpoint.LOG)
    steps = [record for record in records if record["event"] == "step"]
    assert [record["step"] for record in steps] == list(range(1, CONFIG.steps + 1))
    assert set(steps[0]) == {
        "event",
        "step",
        "loss",
        "components",
        "lr",
        "grad_norm",
        "tokens",
        "read",
        "seconds",
    }
    assert [record["step"] for record in records if record["event"] == "resumed"] == [12]
    evaluated = [record["step"] for record in records if record["event"] == "evaluation"]
    assert evaluated == [4, 8, 12, 16, 20, 23]
    saves = [
        (record["event"], record["step"])
        for record in records
        if record["event"] in ("saving", "saved")
    ]
    assert saves == [
        (event, step) for step in (0, 5, 10, 12, 15, 20, 23) for event in ("saving", "saved")
    ]


def test_a_finished_run_is_left_alone_and_an_existing_one_is_not_overwritten(tmp_path):
    weights, result = trained(tmp_path)
    before = {
        path.name: path.stat().st_mtime_ns
        for path in tmp_path.iterdir()
        if path.name != checkpoint.LOG
    }
    model = Bigram()
    again = Trainer(model, out=tmp_path, config=CONFIG, held_out=HELD_OUT, quiet=True).run(
        resume=True
    )
    assert again == result
    np.testing.assert_array_equal(model.state_dict()["table.weight"], weights)
    assert before == {
        path.name: path.stat().st_mtime_ns
        for path in tmp_path.iterdir()
        if path.name != checkpoint.LOG
    }
    with pytest.raises(CheckpointError, match="already holds a run; add --resume"):
        trained(tmp_path)


def test_a_folder_with_a_foreign_model_is_never_overwritten(tmp_path):
    (tmp_path / hub.WEIGHTS).write_bytes(b"precious")
    for resume in (False, True):
        with pytest.raises(CheckpointError, match="already holds a model; give another folder"):
            trained(tmp_path, resume=resume)
    assert (tmp_path / hub.WEIGHTS).read_bytes() == b"precious"


def test_a_resume_with_other_settings_or_data_is_refused(tmp_path):
    trained(tmp_path)
    for config, options, sentence in (
        (dataclasses.replace(CONFIG, lr=0.1), {}, "option lr = 0.05, now it is 0.1"),
        (dataclasses.replace(CONFIG, steps=29), {}, "option steps = 23, now it is 29"),
        (CONFIG, {"corpus_seed": 1}, "data fingerprint = text 0, now it is text 1"),
    ):
        with pytest.raises(CheckpointError, match=sentence):
            trained(tmp_path, config, resume=True, **options)
    trained(tmp_path, dataclasses.replace(CONFIG, save_every=7, eval_every=3), resume=True)


@pytest.mark.parametrize(
    "then, now, sentence",
    [
        ({"vocab_size": 7}, {"vocab_size": 8}, "vocab_size = 7, now it is 8"),
        ({"lower": True}, None, "lower = True, now it is None"),
    ],
)
def test_a_resume_with_another_encoding_or_other_evaluations_of_asgd_is_refused(
    tmp_path, then, now, sentence
):
    def run(resume, encoding, **over):
        config = dataclasses.replace(CONFIG, optimizer="asgd", **over)
        Trainer(Bigram(), out=tmp_path, config=config, quiet=True).run(resume, encoding)

    run(False, then)
    with pytest.raises(CheckpointError, match=f"encoding {sentence}"):
        run(True, now)
    with pytest.raises(CheckpointError, match="option eval_every = 4, now it is 3"):
        run(True, then, eval_every=3)


def test_a_damaged_state_is_one_sentence(tmp_path):
    trained(tmp_path)
    path = tmp_path / checkpoint.STATE
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(CheckpointError, match="trainer.safetensors is damaged"):
        trained(tmp_path, resume=True)


def test_a_loss_that_is_not_finite_stops_with_step_and_batch_and_leaves_the_checkpoint_good(
    tmp_path,
):
    model = Bigram()
    model.on_batch = lambda number: setattr(model, "factor", float("nan") if number == 15 else 1.0)
    config = dataclasses.replace(CONFIG, accumulate=2)
    with pytest.raises(TinylmError, match=r"the loss became nan at step 7, in batch\(15, seed=3\)"):
        Trainer(model, out=tmp_path, config=config, quiet=True).run()
    state = checkpoint.load_state(tmp_path)
    assert state.facts["step"] == 5 and np.isfinite(state.arrays["model"]["table.weight"]).all()


def exploding(out, at, factor, config, resume=False, stop_after=None):
    """A run whose loss is `factor` times as large from batch `at` on; returns its weights."""
    model = Bigram()

    def watch(number):
        model.factor = factor if number >= at else 1.0
        if number == stop_after:
            os.kill(os.getpid(), signal.SIGTERM)

    model.on_batch = watch
    Trainer(model, out=out, config=config, quiet=True).run(resume)
    return model.state_dict()["table.weight"]


@pytest.mark.parametrize(
    "saving, expected",
    [(0.0, [100, 200, 300, 400, 500, 600, 700, 800, 900]), (10.0, [200, 400, 600, 800])],
)
def test_checkpoints_stand_apart_where_saving_is_slow(tmp_path, saving, expected):
    """An update takes a second here, so 200 of them are twenty times ten seconds."""
    now, saved = [0.0], []
    model = Bigram()
    model.on_batch = lambda number: now.__setitem__(0, now[0] + 1.0)
    trainer = Trainer(model, out=tmp_path, config=TrainConfig(steps=950), quiet=True)
    save = trainer.folder.save

    def slow_save(*args):
        save(*args)
        saved.append(trainer.step)
        now[0] += saving

    trainer.folder.save = slow_save
    trainer.clock = lambda: now[0]
    trainer.run()
    assert [step for step in saved if 0 < step < 950] == expected
    assert saved[-1] == 950


LONG = dataclasses.replace(CONFIG, steps=130, save_every=10)


def test_a_run_whose_loss_explodes_stops_and_leaves_the_checkpoint_good(tmp_path):
    with pytest.raises(
        TinylmError, match=r"training diverged: at step 72 .* last 50 updates is .*, the first loss"
    ):
        exploding(tmp_path, 71, 1e5, LONG)
    state = checkpoint.load_state(tmp_path)
    assert state.facts["step"] == 70 and "result" in state.facts and not state.facts["result"]


def test_a_short_run_is_judged_at_its_end(tmp_path):
    with pytest.raises(TinylmError, match="training diverged: at step 23 .* last 23 updates"):
        exploding(tmp_path, 9, 1e10, CONFIG)
    assert checkpoint.load_state(tmp_path).facts["step"] == 20


def test_one_bad_batch_is_no_divergence():
    config = dataclasses.replace(LONG, steps=60)
    exploding(None, 59, 1e4, config)  # 10,000 / 50 is below 1,000


def test_a_resumed_run_diverges_where_the_whole_one_does(tmp_path):
    stops = []
    for out, stop in ((tmp_path / "a", None), (tmp_path / "b", 37)):
        if stop:
            with pytest.raises(Interrupted):
                exploding(out, 71, 1e5, LONG, stop_after=stop)
        with pytest.raises(TinylmError) as caught:
            exploding(out, 71, 1e5, LONG, resume=True)
        stops.append(str(caught.value))
    assert stops[0] == stops[1]
    assert checkpoint.load_state(tmp_path / "b").facts["first"] > 0


def test_a_state_without_a_first_loss_resumes(tmp_path):
    whole, _ = trained(tmp_path / "a")
    with pytest.raises(Interrupted):
        trained(tmp_path / "b", stop_after=7)
    state = checkpoint.load_state(tmp_path / "b")
    del state.facts["first"]
    checkpoint.save_state(tmp_path / "b", state)
    weights, _ = trained(tmp_path / "b", resume=True)
    np.testing.assert_array_equal(weights, whole)


@given(st.floats(-1e6, 1e6), st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=60))
def test_divergence_is_a_mean_a_thousand_times_the_first_loss_or_1(first, losses):
    run, recent = Divergence(), deque(maxlen=50)
    losses = [first, *losses]
    diverged = None
    for step, loss in enumerate(losses, 1):
        recent.append(loss)
        try:
            run.add(step, loss, recent, 0.1, last=step == len(losses))
        except TinylmError:
            diverged = step
            break
    seen = losses[: diverged or len(losses)][-50:]
    assert (np.mean(seen) > 1000 * max(abs(first), 1)) == bool(diverged)


def test_a_gradient_that_is_not_finite_stops_too():
    class Steep(Bigram):
        """The loss stays finite, the slope of the square root at 0 is not."""

        def loss(self, batch):
            loss, components = super().loss(batch)
            return loss + F.sum(F.sqrt(self.table.weight * 0.0)), components

    with (
        np.errstate(all="ignore"),
        pytest.raises(TinylmError, match="gradient norm became (nan|inf) at step 0"),
    ):
        Trainer(Steep(), config=CONFIG, quiet=True).run()


@pytest.mark.parametrize("saves", [False, True])
def test_weights_that_the_last_update_broke_stop_too(saves, tmp_path):
    once = dataclasses.replace(CONFIG, steps=1, lr=1e39, clip=0.0)
    with np.errstate(all="ignore"), pytest.raises(DivergenceError, match="weight table.weight"):
        Trainer(Bigram(), out=tmp_path if saves else None, config=once, quiet=True).run()


def test_an_unusable_held_out_text_fails_before_training_starts(tmp_path):
    with pytest.raises(TinylmError, match="held-out text cannot be evaluated: .* too short"):
        Trainer(
            Bigram(),
            out=tmp_path,
            config=CONFIG,
            held_out=Corpus(np.array([1]), words=1),
            quiet=True,
        ).run()
    assert not list(tmp_path.iterdir())


def test_a_held_out_loss_that_is_not_finite_is_one_sentence(tmp_path):
    model = Bigram()
    model.on_batch = lambda number: setattr(model, "factor", 1.0)

    def batches(corpus):
        model.factor = 1.0 if corpus.words else float("nan")
        corpus.words = 0  # after the first look
        yield Batch(corpus.ids[:-1], corpus.ids[1:])

    model.evaluation_batches = batches
    with pytest.raises(TinylmError, match="the held-out loss became nan at step 4; try a smaller"):
        Trainer(
            model, out=tmp_path, config=CONFIG, held_out=Corpus(HELD_OUT.ids, 50), quiet=True
        ).run()


def test_accumulated_gradients_are_those_of_one_larger_batch():
    class Larger(Bigram):
        def batch(self, step, seed):
            parts = [super(Larger, self).batch(2 * step + i, seed) for i in range(2)]
            return Batch(
                np.concatenate([p.inputs for p in parts]),
                np.concatenate([p.targets for p in parts]),
            )

    finals = []
    for model, accumulate in ((Bigram(), 2), (Larger(), 1)):
        model.dropout = nn.Dropout(0.0, nn.Noise())
        Trainer(
            model, config=dataclasses.replace(CONFIG, accumulate=accumulate, eps=1e-3), quiet=True
        ).run()
        finals.append(model.state_dict()["table.weight"])
    np.testing.assert_allclose(*finals, atol=1e-5)


def test_training_learns_and_evaluation_reports_nats_per_token_and_per_word():
    chain = [1]
    rng = np.random.default_rng(1)
    for _ in range(600):
        chain.append((chain[-1] * 3 + rng.integers(2)) % V)
    corpus, model = Corpus(np.array(chain), words=200), Bigram()
    Trainer(model, config=TrainConfig(steps=400, lr=0.1), quiet=True).run()
    found = evaluate(model, corpus)
    assert (
        np.log(2) - 0.05 < found["loss"] < np.log(2) + 0.1
    )  # the chain's entropy is one coin per token
    assert found["unigram"] > found["loss"] + 1 and found["tokens"] == 600
    np.testing.assert_allclose(found["nats_per_word"], found["loss"] * 601 / 200, rtol=1e-12)
    assert model.training
    assert (
        evaluate(model, corpus, limit=20)["tokens"] == 34
    )  # whole batches of 17 until 20 are reached
    with pytest.raises(TinylmError, match="too short"):
        evaluate(model, Corpus(np.array([1]), words=1))


def test_a_limit_counts_a_word_once_that_predicts_its_neighbours():
    """Else a look at held-out text would be at a few texts, and the best weights a matter of luck."""
    texts = load_texts("toy")[:400]
    words = Words.train(texts)
    corpus = encode_corpus(texts, words, words.end_id)
    model = Word2Vec(Word2VecConfig(words.vocab_size, size=5), np.random.default_rng(0))
    model.prepare(corpus)
    first, second, *others = model.evaluation_batches(corpus)
    expected = sum(model.loss(batch)[1]["tokens"] for batch in (first, second))
    found = evaluate(model, corpus, limit=first.tokens + 1)
    assert found["tokens"] == expected > first.tokens + second.tokens and others


def test_a_chapter_with_a_kernel_of_its_own_uses_it_and_resumes_to_the_same_bits(tmp_path):
    class Fast(Bigram):
        def fast_step(self, batch, lr):
            with no_grad():
                np.add.at(self.table.weight.data, (batch.inputs, batch.targets), np.float32(lr))
            return 1.0

    def run(out=None, resume=False, stop=False):
        model = Fast()
        if stop:
            model.on_batch = lambda number: number == 8 and os.kill(os.getpid(), signal.SIGINT)
        Trainer(model, out=out, config=CONFIG, quiet=True).run(resume)
        return model.state_dict()["table.weight"]

    whole = run()
    with pytest.raises(TinylmError, match="bigram has no use for accumulate"):
        Trainer(Fast(), config=dataclasses.replace(CONFIG, accumulate=2), quiet=True).run()
    with pytest.raises(Interrupted) as caught:
        run(tmp_path, stop=True)
    assert caught.value.status == 130
    np.testing.assert_array_equal(run(tmp_path, resume=True), whole)


def test_training_in_another_thread_works_without_signal_handlers():
    results = []
    thread = threading.Thread(target=lambda: results.append(trained()))
    thread.start()
    thread.join()
    np.testing.assert_array_equal(results[0][0], trained()[0])


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"minutes": -1},
        {"minutes": float("inf")},
        {},
        {"steps": 5, "minutes": 1},
        {"steps": 5, "lr": 0},
        {"steps": 5, "lr": float("nan")},
        {"steps": 5, "schedule": "magic"},
        {"steps": 5, "warmup": 2},
        {"steps": 5, "accumulate": 0},
        {"steps": 5, "learning": 1},
    ],
)
def test_a_setting_that_cannot_be_meant_is_one_sentence(wrong):
    with pytest.raises(TinylmError) as caught:
        TrainConfig.of(Bigram, **wrong)
    assert "\n" not in str(caught.value)


def test_progress_without_a_terminal_is_plain_lines(capsys, monkeypatch):
    monkeypatch.setattr("tinylm.progress.PLAIN_EVERY", 0.0)
    with Progress(0, 3) as progress:
        for step in range(1, 4):
            progress.update(step, loss=2.5, tokens=100)
    captured = capsys.readouterr()
    assert captured.out == "" and len(captured.err.splitlines()) == 3
    assert (
        "step 3/3: loss 2.500" in captured.err
        and "tokens/s" in captured.err
        and "0 s left" in captured.err
    )


def test_progress_on_a_terminal_is_a_bar_and_quiet_is_silent(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with Progress(0, 3) as progress:
        progress.update(1, loss=2.5, tokens=100)
        progress.say("a line")
    text = capsys.readouterr().err
    assert "loss 2.500" in text and "a line" in text
    with Progress(0, 3, quiet=True) as progress:
        progress.update(3, loss=2.5, tokens=100)
        progress.say("a line")
    assert capsys.readouterr().err == ""


def test_durations_read_like_speech():
    assert [duration(s) for s in (0.2, 42, 185, 7800)] == [
        "0 s",
        "42 s",
        "3 min 05 s",
        "2 h 10 min",
    ]


def test_a_line_ends_at_a_newline_and_nowhere_else():
    lines = pretrain._documents(find("word2vec"), ["one\u2028line\x0c here\n\nanother"])
    assert lines == ["one\u2028line\x0c here", "another"]
    assert pretrain._documents(find("gpt"), ["a\nb"]) == ["a\nb"]


@pytest.mark.parametrize("accumulate", [1, 3])
def test_an_objective_scales_the_rate_of_each_batch(tmp_path, accumulate):
    config = dataclasses.replace(CONFIG, optimizer="sgd", accumulate=accumulate, steps=5)
    model = Bigram()
    model.rate_scale = lambda batch: 0.5
    Trainer(model, out=tmp_path, config=config, quiet=True).run()
    plain, _ = trained(config=dataclasses.replace(config, lr=CONFIG.lr / 2))
    np.testing.assert_allclose(model.state_dict()["table.weight"], plain, rtol=1e-5, atol=1e-8)
    rates = [r["lr"] for r in checkpoint.read_log(tmp_path / "log.jsonl") if r["event"] == "step"]
    assert max(rates) <= CONFIG.lr / 2 * (1 + 1e-9)


def test_the_scales_of_accumulated_batches_are_averaged():
    config = dataclasses.replace(CONFIG, optimizer="sgd", accumulate=2, steps=1, warmup=0.0)
    moved = []
    for scales in ([1.0, 0.0], [0.5, 0.5]):
        model = Bigram()
        left = iter(scales)
        model.rate_scale = lambda batch, left=left: next(left)
        Trainer(model, config=config, quiet=True).run()
        moved.append(model.state_dict()["table.weight"].copy())
    np.testing.assert_array_equal(*moved)


def test_lower_layers_learn_slower_by_the_layer_decay():
    class Two(Bigram, name="two-tables"):
        def build(self, config, rng):
            super().build(config, rng)
            self.upper = nn.Embedding(V, V, rng=rng)

        def loss(self, batch):
            scores = self.table(batch.inputs) + self.upper(batch.inputs)
            return F.cross_entropy(scores, batch.targets), {}

        def layer_groups(self):
            return [self.table.parameters(), self.upper.parameters()]

    config = TrainConfig(steps=1, optimizer="sgd", layer_decay=0.25, weight_decay=0.0)
    model = Two()
    before = {name: array.copy() for name, array in model.state_dict().items()}
    Trainer(model, config=config, quiet=True).run()
    moved = {name: array - before[name] for name, array in model.state_dict().items()}
    np.testing.assert_allclose(moved["table.weight"], moved["upper.weight"] / 4, atol=1e-7)
    assert np.abs(moved["upper.weight"]).max() > 1e-4
