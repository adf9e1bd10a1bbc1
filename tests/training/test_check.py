"""`tinylm check`: every chapter keeps its promises, each line catches an objective that breaks one."""

import json
from dataclasses import dataclass

import numpy as np
import pytest

import tinylm
import tinylm.ops as F
from tinylm import nn, objectives, text
from tinylm.app.cli import main
from tinylm.data import encode_corpus, toy
from tinylm.encodercheck import ObjectiveError, check_causality
from tinylm.errors import TinylmError
from tinylm.gradcheck import GradientError, check_gradient, check_objective
from tinylm.objectives.bert import Bert, BertConfig
from tinylm.tensor import Tensor
from tinylm.training.check import PROMISES, check

ALL = ["build", *PROMISES]


@dataclass(frozen=True)
class Config(tinylm.Objective.Config):
    """Sizes: C, windows per batch, words that predict the next."""

    vocab_size: int
    width: int = 5
    windows: int = 11
    before: int = 3


@dataclass(frozen=True)
class Batch:
    """ids : (B, 3) words     targets : (B,) the words that follow"""

    ids: np.ndarray
    targets: np.ndarray

    @property
    def tokens(self):
        """Words to predict."""
        return self.targets.size


class Right(tinylm.Objective, name="right", encoding="words"):
    """Log-bilinear: the mean of three words' states predicts the fourth. It keeps every promise."""

    Config = Config
    causal = True

    def build(self, config, rng):
        width = config.width
        self.table = nn.Embedding(config.vocab_size, width, rng=rng, std=0.3)
        self.mix = nn.Linear(width, width, rng=rng, std=0.3)
        self.out = nn.Parameter(nn.normal(rng, (config.vocab_size, width), 0.3))

    def draw(self, seed, step):
        c = self.config
        rng = np.random.default_rng([seed, step])
        starts = rng.integers(len(self.corpus) - c.before, size=c.windows)
        ids = self.corpus.ids[starts[:, None] + np.arange(c.before + 1)].astype(np.int64)
        return ids[:, :-1].copy(), ids[:, -1].copy()

    def batch(self, step, seed):
        return Batch(*self.draw(seed, step))

    def loss(self, batch):
        states = self.encode(batch.ids)[-1]
        loss = F.cross_entropy(F.linear(F.mean(states, axis=1), self.out), batch.targets)
        return loss, {"loss": loss.item()}

    def encode(self, ids, mask=None):
        x = self.table(ids)
        return [x, F.tanh(self.mix(x))]


class WithDropout(Right, name="with-dropout"):
    def build(self, config, rng):
        super().build(config, rng)
        self.drop = nn.Dropout(0.2, nn.Noise())

    def encode(self, ids, mask=None):
        x, y = super().encode(ids)
        return [x, self.drop(y)]


class WithKinks(Right, name="with-kinks"):
    def encode(self, ids, mask=None):
        x = self.table(ids)
        return [x, F.relu(self.mix(x))]


class WithRunningMean(Right, name="with-running-mean"):
    def build(self, config, rng):
        super().build(config, rng)
        self.norm = nn.BatchNorm1d(config.width)

    def encode(self, ids, mask=None):
        x, y = super().encode(ids)
        flat = self.norm(F.reshape(y, (-1, y.shape[-1])))
        return [x, F.reshape(flat, y.shape)]


class WithState(Right, name="with-state"):
    """Training remembers how much it has read, and says so in state()."""

    def build(self, config, rng):
        super().build(config, rng)
        self.seen = np.zeros(1)

    def loss(self, batch):
        loss, components = super().loss(batch)
        if not self.training:
            return loss, components
        self.seen = self.seen + 1
        return loss * float(1 + 0.1 * self.seen[0]), components

    def state(self):
        return {"seen": self.seen}

    def load_state(self, arrays):
        self.seen = np.array(arrays["seen"])


class OneBatch(Right, name="one-batch"):
    """The whole text in every batch, so that all batches are the same."""

    steps_per_epoch = 1

    def draw(self, seed, step):
        return super().draw(0, 0)


GOOD = (Right, WithDropout, WithKinks, WithRunningMean, WithState, OneBatch)

# -- one that breaks each promise, and only that one ---------------------------------------------


class NoBuild(Right, name="no-build"):
    def build(self, config, rng):
        super().build(config, rng)
        self.out = config.width / 0


class Detached(Right, name="detached"):
    def loss(self, batch):
        states = F.mean(self.encode(batch.ids)[-1], axis=1)
        logits = F.linear(states, Tensor(self.out.data)) + F.mean(self.out) * 0.0
        loss = F.cross_entropy(logits, batch.targets)
        return loss, {"loss": loss.item()}


class Forgotten(Right, name="forgotten"):
    """Nothing at all reaches the parameter."""

    def loss(self, batch):
        states = F.mean(self.encode(batch.ids)[-1], axis=1)
        loss = F.cross_entropy(F.linear(states, Tensor(self.out.data)), batch.targets)
        return loss, {"loss": loss.item()}


class Doubled(Right, name="doubled"):
    """The value of the loss is right, its gradient half of what it should be."""

    def loss(self, batch):
        loss, components = super().loss(batch)
        return loss * 0.5 + Tensor(loss.data) * 0.5, components


class WrongOnlyInTraining(WithDropout, name="wrong-only-in-training"):
    def loss(self, batch):
        loss, components = super().loss(batch)
        return (loss + loss.data if self.training else loss), components


class LetsOffNobody(Right, name="lets-off-nobody"):
    not_derivatives = {"tabel.weight": "a name that there is not"}


class NothingToLearn(Right, name="nothing-to-learn"):
    """Its weights are arrays and buffers; its training is a kernel of its own."""

    def build(self, config, rng):
        self.table = nn.Buffer(nn.normal(rng, (config.vocab_size, config.width), 0.3))

    def encode(self, ids, mask=None):
        return [F.embedding(ids, self.table)]

    def loss(self, batch):
        loss = F.cross_entropy(
            F.linear(self.encode(batch.ids)[0][:, -1], self.table), batch.targets
        )
        return loss, {"loss": loss.item()}

    def fast_step(self, batch, lr):
        return self.loss(batch)[0].item()


class MeanOfReal(Right, name="mean-of-real"):
    """Every position sees the mean of the real ones, the later ones too."""

    def encode(self, ids, mask=None):
        x, y = super().encode(ids)
        real = np.ones(np.shape(ids)) if mask is None else np.asarray(mask, float)
        share = (real / real.sum(axis=1, keepdims=True))[..., None].astype(x.dtype)
        return [x, y + F.sum(x * share, axis=1, keepdims=True)]


class MeanOfAll(Right, name="mean-of-all"):
    causal = False

    def encode(self, ids, mask=None):
        x, y = super().encode(ids)
        return [x, y + F.mean(x, axis=1, keepdims=True)]


class FirstMask(Right, name="first-mask"):
    """The first row's mask serves all."""

    causal = False

    def encode(self, ids, mask=None):
        x, y = super().encode(ids)
        real = np.ones(np.shape(ids)) if mask is None else np.asarray(mask, float)
        share = (real / real.sum(axis=1, keepdims=True))[:1, :, None].astype(x.dtype)
        return [x, y + F.sum(x * share, axis=1, keepdims=True)]


class MeanOfRows(Right, name="mean-of-rows"):
    def encode(self, ids, mask=None):
        x, y = super().encode(ids)
        real = np.ones(np.shape(ids)) if mask is None else np.asarray(mask, float)
        return [x, y + F.mean(x * real[..., None].astype(x.dtype), axis=0, keepdims=True)]


class IgnoresTheStep(Right, name="ignores-the-step"):
    def draw(self, seed, step):
        return super().draw(seed, 0)


class WritesIntoTheBatch(Right, name="writes-into-the-batch"):
    def loss(self, batch):
        batch.ids[0] = 1
        return super().loss(batch)


class LooksAtTheWeights(Right, name="looks-at-the-weights"):
    def draw(self, seed, step):
        ids, targets = super().draw(seed, step)
        order = np.argsort(self.table.weight.data[: len(ids), 0])
        return ids[order], targets[order]


class AskedBefore(Right, name="asked-before"):
    """The first time a step is asked for, its batch is another one than later."""

    def draw(self, seed, step):
        ids, targets = super().draw(seed, step)
        asked = self.__dict__.setdefault("asked", set())
        if (seed, step) in asked:
            ids = ids[::-1].copy()
        asked.add((seed, step))
        return ids, targets


class ADict(Right, name="a-dict"):
    def batch(self, step, seed):
        return ADict.Plain(*self.draw(seed, step))

    @dataclass
    class Plain:
        """Not frozen."""

        ids: np.ndarray
        targets: np.ndarray

        @property
        def tokens(self):
            return self.targets.size


class CountsInFloats(Right, name="counts-in-floats"):
    def batch(self, step, seed):
        @dataclass(frozen=True)
        class Floats(Batch):
            tokens = float(11)

        return Floats(*self.draw(seed, step))


class CountsNothing(Right, name="counts-nothing"):
    """What it trains on is not counted; what it is evaluated on is."""

    @dataclass(frozen=True)
    class Nothing(Batch):
        tokens = 0

    def batch(self, step, seed):
        return CountsNothing.Nothing(*self.draw(seed, step))

    def evaluation_batches(self, corpus):
        yield Batch(*self.draw(0, 0))


class ChanceInTraining(Right, name="chance-in-training"):
    """Noise that no seed and no step repeats."""

    def build(self, config, rng):
        super().build(config, rng)
        self.rng = rng

    def loss(self, batch):
        loss, components = super().loss(batch)
        return (loss * (1 + self.rng.random()) if self.training else loss), components


class Remembers(Right, name="remembers"):
    """Training depends on how many batches were made, which no checkpoint says."""

    seen = 0

    def batch(self, step, seed):
        self.seen += 1
        return super().batch(step, seed)

    def loss(self, batch):
        loss, components = super().loss(batch)
        return (loss * (1 + 0.1 * self.seen) if self.training else loss), components


class NotSaved(Right, name="not-saved"):
    """A random matrix that is neither a Parameter nor a Buffer."""

    def build(self, config, rng):
        super().build(config, rng)
        self.turn = nn.normal(rng, (config.width, config.width), 0.3)

    def encode(self, ids, mask=None):
        x, y = super().encode(ids)
        return [x, F.linear(y, Tensor(self.turn.astype(y.dtype)))]


class LooksElsewhere(Right, name="looks-elsewhere"):
    """Every evaluation takes other batches."""

    looks = 0

    def evaluation_batches(self, corpus):
        self.looks += 1
        for _ in super().evaluation_batches(corpus):
            yield self.batch(self.looks, 7)


class LearnsTheHeldOut(Right, name="learns-the-held-out"):
    """Evaluation prepares the model itself for the other text, instead of a copy."""

    def evaluation_batches(self, corpus):
        self.prepare(corpus)
        for step in range(5):
            yield self.batch(step, 0)


BROKEN = (
    (NoBuild, "build", "ZeroDivisionError"),
    (Detached, "gradient", "gradient of out is wrong"),
    (Forgotten, "gradient", "nothing reaches it"),
    (Doubled, "gradient", "is wrong"),
    (WrongOnlyInTraining, "gradient", "is wrong"),
    (LetsOffNobody, "gradient", "tabel.weight"),
    (NothingToLearn, "gradient", "nn.Parameter"),
    (MeanOfReal, "causality", "after position 0"),
    (MeanOfAll, "padding", "3 tokens of padding change"),
    (FirstMask, "padding", "what the padding holds"),
    (MeanOfRows, "rows", "change row 0"),
    (IgnoresTheStep, "batch", "all the same"),
    (WritesIntoTheBatch, "batch", "learning from a batch changes it"),
    (LooksAtTheWeights, "batch", "other weights"),
    (ADict, "batch", "expected a frozen dataclass"),
    (CountsNothing, "tokens", "is 0; expected an int"),
    (Remembers, "resume", "ends elsewhere: out differs"),
    (NotSaved, "saving", "encodes otherwise"),
    (LooksElsewhere, "evaluation", "of the same weights is"),
    (LearnsTheHeldOut, "untouched", "evaluations in between"),
)

BREAKING_MORE = (  # promises that others rest on
    (AskedBefore, "batch", "another order"),
    (CountsInFloats, "tokens", "11.0; expected an int"),
    (ChanceInTraining, "gradient", "chance belongs into batch()"),
)


def failed(lines):
    """Names of the lines that say FAIL."""
    return [line.name for line in lines if line.status == "FAIL"]


def prepared(chapter, **options):
    """A model on toy text and its first batch."""
    texts = toy.documents(20)
    tokenizer = tinylm.text.Words.train(texts, 60)
    model = chapter(chapter.Config.tiny(tokenizer.vocab_size, **options))
    model.spell(tokenizer.vocab, tokenizer.special_ids)
    model.prepare(encode_corpus(texts, tokenizer, end_id=tokenizer.end_id))
    return model, model.batch(0, 0)


CBOW_REASON = "vectors is not compared: a score takes the mean of a window"
ELMO = {
    "embedding_dim": 3,
    "filters": ((1, 5), (3, 7)),
    "projection_dim": 5,
    "dim": 11,
    "cell_clip": 0.3,
    "proj_clip": 0.2,
    "unroll_steps": 7,
}
CHAPTERS = {
    "skip-gram": ("word2vec", {}, "2 parameters"),
    "cbow mean": ("word2vec", {"cbow": True}, CBOW_REASON),
    "cbow sum": ("word2vec", {"cbow": True, "cbow_mean": False}, "2 parameters"),
    "tree": ("word2vec", {"hs": True, "negative": 0}, "2 parameters"),
    "tree and negatives": ("word2vec", {"hs": True, "negative": 3}, "2 parameters"),
    "n-grams": ("fasttext", {"maxn": 5, "bucket": 501}, "the mean of a word's n-grams"),
    "n-grams, cbow sum": (
        "fasttext",
        {"maxn": 5, "bucket": 501, "cbow": True, "cbow_mean": False},
        "2 parameters",
    ),
    "glove": ("glove", {}, "3 parameters"),
    "elmo": ("elmo", ELMO | {"dropout": 0.1}, "in training mode too"),
    "elmo sampled": ("elmo", ELMO | {"n_negative_samples_batch": 31}, "in training mode too"),
    "elmo without state": (
        "elmo",
        ELMO | {"stateful": False, "use_skip_connections": False, "n_tokens_vocab": 99},
        "29 parameters",
    ),
    "ulmfit": ("ulmfit", {"n_layers": 1}, "in training mode too"),
    "ulmfit without noise": (
        "ulmfit",
        dict.fromkeys(("output_p", "hidden_p", "input_p", "embed_p", "weight_p"), 0.0),
        "in training mode too",
    ),
    "ulmfit averaged": ("ulmfit", {"optimizer": "asgd", "lr": 1.0, "bptt": 7}, "8 parameters"),
    "ulmfit backward": ("ulmfit", {"backward": True, "bptt": 5, "max_len": 5}, "8 parameters"),
    "gpt1": ("gpt1", {"n_layer": 1}, "13 parameters"),
    "gpt1 dropout": (
        "gpt1",
        {"n_layer": 1, "resid_pdrop": 0.1, "embd_pdrop": 0.1, "attn_pdrop": 0.1},
        "in training mode too",
    ),
    "gpt": ("gpt", {"n_layer": 1}, "16 parameters"),
    "gpt dropout": (
        "gpt",
        {"n_layer": 1, "resid_pdrop": 0.1, "embd_pdrop": 0.1, "attn_pdrop": 0.1, "accumulate": 2},
        "in training mode too",
    ),
    "gpt relu": ("gpt", {"n_layer": 1, "activation_function": "relu"}, "16 parameters"),
    "bert": ("bert", {"num_hidden_layers": 1}, "26 parameters"),
    "bert without pairs": (
        "bert",
        {"num_hidden_layers": 1, "next_sentence": False, "max_predictions": 3},
        "the loss does not use",
    ),
    "bert dropout": (
        "bert",
        {"num_hidden_layers": 1, "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1},
        "in training mode too",
    ),
    "bert whole words": (
        "bert",
        {"num_hidden_layers": 1, "whole_words": True, "duplicates": 2, "hidden_act": "gelu_new"},
        "26 parameters",
    ),
    "gpt averaged": ("gpt", {"n_layer": 1, "optimizer": "asgd"}, "16 parameters"),
}


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_chapter_keeps_its_promises(name):
    chapter, options, said = CHAPTERS[name]
    lines = check(chapter, options=options)
    assert failed(lines) == [] and [line.name for line in lines] == ALL
    assert said in lines[1].detail


@pytest.mark.parametrize("chapter", GOOD, ids=lambda chapter: chapter.name)
def test_an_objective_that_keeps_its_promises_passes(chapter):
    lines = check(chapter, seed=3)
    assert failed(lines) == [] and [line.name for line in lines] == ALL
    assert all("\n" not in str(line) for line in lines)


@pytest.mark.parametrize(
    "chapter,name,evidence", BROKEN, ids=[f"{name}-{chapter.name}" for chapter, name, _ in BROKEN]
)
def test_a_broken_promise_is_caught_on_its_line_alone(chapter, name, evidence):
    lines = check(chapter)
    assert failed(lines) == [name], "\n".join(map(str, lines))
    [line] = [line for line in lines if line.status == "FAIL"]
    assert evidence in line.detail and str(line).startswith(f"FAIL {name}")
    assert "\n" not in str(line)


@pytest.mark.parametrize("chapter,name,evidence", BREAKING_MORE)
def test_a_broken_promise_is_caught_although_others_break_with_it(chapter, name, evidence):
    lines = {line.name: line for line in check(chapter)}
    assert lines[name].status == "FAIL" and evidence in lines[name].detail


def test_each_line_has_an_objective_that_breaks_it():
    assert {name for _, name, _ in BROKEN} == set(ALL)


def test_without_a_model_there_is_only_the_first_line():
    [line] = check(NoBuild)
    assert line.name == "build" and "(test_check.py:" in line.detail


def test_what_is_not_claimed_is_not_checked():
    lines = {line.name: line for line in check("glove")}
    assert lines["causality"].status == "--" and lines["causality"].detail == "not claimed"
    assert str(lines["causality"]) == "--   causality    not claimed"
    lines = {line.name: line for line in check(Right, options={"optimizer": "asgd", "lr": 0.1})}
    assert lines["untouched"].status == "--" and "asgd" in lines["untouched"].detail
    lines = {line.name: line for line in check(Right, options={"keep": "best"})}
    assert lines["untouched"].status == "--" and "keep" in lines["untouched"].detail


def test_options_that_say_how_long_a_run_is_are_ignored():
    for length in ({"plan": ((0, 9),)}, {"minutes": 1.0}, {"tokens": 9}, {"steps": 9}):
        assert check(Right, options=length)[0].status == "ok"


@pytest.mark.parametrize("options", ({"widht": 3}, {"width": "wide"}, {"lr": -1.0}))
def test_a_mistake_in_the_options_is_no_line(options):
    with pytest.raises(TinylmError):
        check(Right, options=options)


def test_an_unknown_objective_or_size_is_no_line():
    with pytest.raises(TinylmError, match="There is no objective"):
        check("gtp")
    with pytest.raises(TinylmError, match="has no config"):
        check(Right, size="huge")


# -- check_objective -----------------------------------------------------------------------------


def test_check_objective_returns_a_line_for_each_promise():
    model, batch = prepared(Right)
    lines = check_objective(model, batch)
    assert [line.name for line in lines] == ["gradient", "causality", "padding", "rows"]
    assert all(line.status == "ok" for line in lines)


@pytest.mark.parametrize(
    "chapter", [c for c, name, _ in BROKEN if name in ("gradient", "causality", "padding", "rows")]
)
def test_check_objective_raises_at_the_first_broken_promise(chapter):
    model, batch = prepared(chapter)
    with pytest.raises((GradientError, ObjectiveError)):
        check_objective(model, batch)


def everything(model):
    """All that a check could have changed, as bytes and values."""
    found = [(name, p.dtype, p.data.tobytes()) for name, p in model.named_parameters()]
    found += [(name, a.dtype, a.tobytes()) for name, a in model.state_dict().items()]
    found += [(name, a.tobytes()) for name, a in model.state().items()]
    found += [None if p.grad is None else p.grad.tobytes() for p in model.parameters()]
    found += [module.training for module in model.modules()]
    found += [dict(vars(noise)) for noise in model.noises()]
    return found


@pytest.mark.parametrize("chapter", [*GOOD, Detached, MeanOfReal, MeanOfAll, tinylm.GloVe])
def test_a_checked_model_is_as_it_was_whether_it_passes_or_not(chapter):
    model, batch = prepared(chapter)
    model.modules()[-1].eval()
    model.loss(batch)[0].backward()
    arrays = [id(p.data) for p in model.parameters()]
    before = everything(model)
    try:
        check_objective(model, batch)
    except TinylmError:
        pass
    assert everything(model) == before
    assert [id(p.data) for p in model.parameters()] == arrays


def test_what_the_loss_does_not_use_is_said():
    model, batch = prepared(Right)
    model.spare = nn.Parameter(np.ones(3, np.float32))
    line = check_objective(model, batch)[0]
    assert line.status == "ok" and "the loss does not use spare" in line.detail


def test_a_frozen_parameter_is_not_compared():
    model, batch = prepared(Right)
    model.out.requires_grad = False
    assert "3 parameters" in check_objective(model, batch)[0].detail


@pytest.mark.parametrize(
    "value,said",
    (
        (lambda loss: loss, "expected .Tensor of one number"),
        (lambda loss: (loss.item(), {}), "expected .Tensor of one number"),
        (lambda loss: (F.stack([loss, loss]), {}), "expected .Tensor of one number"),
        (lambda loss: (loss * np.nan, {}), "expected a finite float64"),
        (lambda loss: (Tensor(loss.data.astype(np.float32)), {}), "expected a finite float64"),
    ),
    ids=("no pair", "a float", "two numbers", "NaN", "float32"),
)
def test_a_loss_that_cannot_be_differentiated_is_said(value, said):
    model, batch = prepared(Right)
    plain = model.loss
    model.loss = lambda batch: value(plain(batch)[0])
    with pytest.raises(ObjectiveError, match=said):
        check_objective(model, batch)


def test_a_loss_that_draws_by_itself_is_told_where_chance_belongs():
    model, batch = prepared(Right)
    plain, rng = model.loss, np.random.default_rng(0)
    model.loss = lambda batch: (plain(batch)[0] * (1 + rng.random()), {})
    with pytest.raises(ObjectiveError, match="chance belongs into batch"):
        check_objective(model, batch)


@pytest.mark.parametrize("shape", ((1, 1), (1, 5), (4, 1), (2, 2), (5, 13)))
def test_texts_of_any_size_can_be_read(shape):
    model, batch = prepared(Right)
    ids = np.random.default_rng(0).integers(model.config.vocab_size, size=shape)
    assert failed(check_objective(model, batch, ids)) == []
    model, batch = prepared(MeanOfReal)
    if shape[1] > 1:
        with pytest.raises(ObjectiveError, match="change what is read before"):
            check_objective(model, batch, ids)


def test_a_model_of_one_position_can_be_checked():
    model, batch = prepared(tinylm.GPT, n_positions=1, n_embd=4, n_head=2, n_layer=1)
    statuses = [line.status for line in check_objective(model, batch)]
    assert statuses == ["ok", "ok", "--", "ok"]


def test_another_shape_of_states_is_said():
    model, batch = prepared(Right)
    plain = model.encode
    model.encode = lambda ids, mask=None: [x[:, :1] for x in plain(ids)]
    with pytest.raises(ObjectiveError, match="has the shape"):
        check_objective(model, batch)


# -- the command ---------------------------------------------------------------------------------

FILE = """
from dataclasses import dataclass
import numpy as np
import tinylm
from tinylm import nn, ops as F


@dataclass(frozen=True)
class Batch:
    ids: np.ndarray
    targets: np.ndarray

    @property
    def tokens(self):
        return self.targets.size


class Bigram(tinylm.Objective, name="bigram", encoding="chars"):
    def build(self, config, rng):
        self.table = nn.Parameter(nn.normal(rng, (config.vocab_size, 8), 0.1))

    def batch(self, step, seed):
        ids = self.corpus.ids.astype(np.int64)
        at = np.random.default_rng([seed, step]).integers(len(ids) - 1, size=50)
        return Batch(ids[at], ids[at + 1])

    def loss(self, batch):
        x = F.embedding(batch.ids, self.table)
        loss = F.cross_entropy(F.linear(x, self.table), batch.targets)
        return loss, {"loss": loss.item()}

    def encode(self, ids, mask=None):
        return [F.embedding(ids, self.table)]


class Crash(Bigram, name="crash"):
    def encode(self, ids, mask=None):
        raise IndexError("off by one")
"""


@pytest.fixture
def mine(tmp_path):
    """A file that defines two objectives."""
    path = tmp_path / "mine.py"
    path.write_text(FILE, encoding="utf-8")
    return path


def test_the_command_prints_a_line_for_each_promise(mine, capsys):
    assert main(["check", f"{mine}:bigram", "--set", "lr=0.01", "--quiet"]) == 0
    out, _ = capsys.readouterr()
    assert [line.split()[1] for line in out.splitlines()] == ALL
    assert {line.split()[0] for line in out.splitlines()} == {"ok", "--"}


def test_an_exception_is_a_line_with_its_place_and_ends_with_status_1(mine, capsys):
    assert main(["check", f"{mine}:crash", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["passed"] is False and found["objective"] == f"{mine}:crash"
    lines = {line["name"]: line for line in found["lines"]}
    assert [name for name, line in lines.items() if line["status"] == "FAIL"] == [
        "padding",
        "rows",
        "saving",
    ]
    assert lines["rows"]["detail"] == "IndexError: off by one (mine.py:38)"


@pytest.mark.parametrize(
    "arguments", (["gtp"], ["gpt", "--config", "huge"], ["gpt", "--set", "n_hed=2"])
)
def test_a_mistake_ends_with_status_2(arguments, capsys):
    assert main(["check", *arguments]) == 2
    assert capsys.readouterr().err.startswith("tinylm: ")


@pytest.mark.parametrize("name", ["ulmfit", "elmo", "xlnet"])
def test_a_batch_that_goes_on_from_another_is_checked_and_nothing_stays_of_it(name):
    """Evaluation carries a state of its own, which no checkpoint holds."""
    chapter = objectives.find(name)
    texts = toy.documents(200, seed=0)
    encoding = text.learn(chapter.encoding, texts, 300)
    if chapter.needs_tokens:
        encoding.add_specials(set(chapter.needs_tokens) - set(encoding.vocab))
    model = chapter(chapter.Config.tiny(encoding.vocab_size), np.random.default_rng(0))
    model.spell(encoding.vocab, encoding.special_ids)
    model.prepare(encode_corpus(texts, encoding, encoding.end_id))
    model.eval()
    model.loss(model.batch(0, 0))
    after = model.loss(model.batch(1, 0))[0].item()
    model.loss(model.batch(0, 0))
    check_gradient(model, model.batch(1, 0))
    assert model.loss(model.batch(1, 0))[0].item() == after


def test_equal_neighbours_hide_no_look_ahead():
    model = Bert(BertConfig.tiny(11))
    model.causal = True  # a lie
    with pytest.raises(ObjectiveError, match="change what is read before"):
        check_causality(model, np.array([[4, 4, 4]]))
