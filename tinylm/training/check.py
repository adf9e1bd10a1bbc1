"""Does an objective keep the promises of its base class? Try each promise on toy text.

    for line in check("mine.py"): print(line)

    ok   gradient     28 parameters, largest relative error 3e-10
    --   causality    not claimed
    FAIL resume       a run stopped after 3 steps ends elsewhere: out differs in 7 of 1500 numbers

`gradcheck` and `encodercheck` prove the loss and the encoder. This file tries the promises that
need a text and a training run: batches depend on step and seed alone, a resumed run ends with the
same bits, a saved model comes back, and an evaluation repeats itself and leaves training alone.
"""

import contextlib
import dataclasses
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np

from tinylm import encodercheck, gradcheck, hub, kernels, objectives
from tinylm.data import Corpus, encode_corpus, toy
from tinylm.encodercheck import Line, ObjectiveError
from tinylm.gradcheck import GradientError
from tinylm.progress import hidden
from tinylm.tensor import no_grad

from .config import TrainConfig
from .evaluation import evaluate
from .pretrain import LENGTHS, PretrainConfig, divide, learn_encoding, sized, untrained
from .train import Trainer

DOCUMENTS = 60  # of toy text to train on
HELD_OUT = 6  # of toy text to evaluate on
SMALL = {"vocab_size": 300, "batch_size": 2}  # fields of the config, unless the caller sets them
UPDATES = 6  # of a training run
STOP = 3  # a run is stopped after this many of them, and resumed


def check(
    objective: str | type,
    size: str = "tiny",
    options: dict[str, Any] | None = None,
    seed: int = 0,
    encoding: str | None = None,
) -> list[Line]:
    """Try every promise of an objective on toy text; a small one takes some seconds.

    The arguments are those of PretrainConfig. Options that set the length of a run are ignored.
    returns a Line for each promise; only one if the model cannot be built
    raises TinylmError  if the objective, the size or an option does not exist
    """
    return list(lines(objective, size, options, seed, encoding))


def lines(
    objective: str | type,
    size: str = "tiny",
    options: dict[str, Any] | None = None,
    seed: int = 0,
    encoding: str | None = None,
) -> Iterator[Line]:
    """Yield the lines of `check`, each as soon as it is known."""
    trial = _Trial(objective, size, options or {}, seed, encoding)
    built = trial.attempt("build", _build)
    yield built
    if built.status == "FAIL":
        return
    for name, promise in PROMISES.items():
        yield trial.attempt(name, promise)


class _Trial:
    """One objective on toy text: makes models, trains them and tries the promises on them."""

    def __init__(self, objective, size, options, seed, encoding):
        self.chapter = objectives.find(objective)
        self.kind = encoding or self.chapter.encoding
        self.seed = seed
        fields = {field.name for field in dataclasses.fields(self.chapter.Config)}
        small = {name: value for name, value in SMALL.items() if name in fields}
        asked = PretrainConfig(self.chapter, "toy", options=small | options)
        model_options, train_options, text_options = divide(self.chapter, self.kind, asked)
        train_options |= dict.fromkeys(LENGTHS) | {"steps": UPDATES, "save_every": 1}
        self.training = TrainConfig.of(self.chapter, seed=seed, **train_options)
        sized(self.chapter, size, model_options)  # fail on a mistake before the encoding is learned

        vocab_size = model_options.pop("vocab_size")
        texts = toy.documents(DOCUMENTS + HELD_OUT, seed=1)
        with hidden():
            self.tokenizer = learn_encoding(
                self.chapter, self.kind, texts[:DOCUMENTS], vocab_size, text_options
            )
        self.corpus = self._encode(texts[:DOCUMENTS])
        self.held_out = self._encode(texts[DOCUMENTS:])
        model_options["vocab_size"] = self.tokenizer.vocab_size
        self.config = sized(self.chapter, size, model_options)
        self._undisturbed = None

    def _encode(self, texts) -> Corpus:
        how = {"begin_id": self.tokenizer.begin_id, "end_id": self.tokenizer.end_id}
        return encode_corpus(texts, self.tokenizer, structure=self.chapter.structured, **how)

    def model(self, weights=1):
        """A new model, prepared.

        weights : seeds its first weights; they always differ from those of a model that is built
            without a generator
        """
        rng = np.random.default_rng([self.seed, weights])
        made = untrained(self.chapter, self.config, self.tokenizer, self.corpus, rng)
        return self.taught(made)

    def taught(self, model):
        """The model, with a teacher if it learns from one: always the same, an untrained one."""
        if model.learn_from is not None:
            rng = np.random.default_rng([self.seed, 3])
            model.learn_from(model.stand_in(self.config, rng), begin=False)
        return model

    def batch(self):
        """The first batch."""
        return self.model().batch(0, self.seed)

    def train(self, model, out=None, resume=False, held_out=None, **changes):
        """Train a model to the last step, in memory or in a run folder."""
        config = dataclasses.replace(self.training, **changes)
        Trainer(model, self.tokenizer, out, config, held_out, quiet=True).run(resume)

    def undisturbed(self):
        """A model after a run that nothing disturbed."""
        if self._undisturbed is None:
            model = self.model()
            self.train(model)
            self._undisturbed = model
        return self._undisturbed

    def attempt(self, name: str, promise: Callable[["_Trial"], Line | str]) -> Line:
        """Try one promise; any exception becomes a line.

        It runs on one thread, because only there do lock-free kernels repeat their bits.
        """
        before = kernels.threads()
        kernels.set_threads(1)
        try:
            found = promise(self)
            return found if isinstance(found, Line) else Line(name, "ok", found)
        except (GradientError, ObjectiveError) as error:
            detail = str(error)
        except Exception as error:
            detail = f"{type(error).__name__}: {error}{self._place(error)}"
        finally:
            kernels.set_threads(before)
        return Line(name, "FAIL", " ".join(detail.split()))

    def _place(self, error) -> str:
        """The last line of the objective's own file that an exception passed: " (mine.py:12)"."""
        files = set()
        parents = self.chapter.__mro__
        for cls in parents[: parents.index(objectives.Objective)]:
            for member in vars(cls).values():
                if isinstance(member, FunctionType):
                    files.add(member.__code__.co_filename)
        frames = traceback.extract_tb(error.__traceback__)
        places = [frame for frame in frames if frame.filename in files]
        if not places:
            return ""
        last = places[-1]
        return f" ({Path(last.filename).name}:{last.lineno})"


# -- the promises: each returns the text of a good line, or raises -------------------------------


def _build(trial):
    """A model can be made and prepared for a text."""
    model = trial.model()
    parameters = model.parameters()
    numbers = sum(p.size for p in parameters)
    return (
        f"{len(parameters)} parameters of {numbers:,} numbers; "
        f"{trial.kind}, {trial.tokenizer.vocab_size} kinds of tokens"
    )


def _gradient(trial):
    return gradcheck.check_gradient(trial.model(), trial.batch())


def _causality(trial):
    return encodercheck.check_causality(trial.model())


def _padding(trial):
    return encodercheck.check_padding(trial.model())


def _rows(trial):
    return encodercheck.check_rows(trial.model())


def _batch(trial):
    """A batch depends on corpus, step and seed alone, and learning from it does not change it."""
    model = trial.model()
    keys = [(step, seed) for seed in (trial.seed, trial.seed + 1) for step in range(4)]
    first = {key: _parts(model.batch(*key)) for key in keys}

    def expect_the_same(maker, complaint):
        for step, seed in reversed(keys):
            now = _parts(maker.batch(step, seed))
            _expect_equal(first[step, seed], now, f"batch({step}, seed={seed}) {complaint}")

    expect_the_same(model, "is another one in another order")
    for key in keys[:2]:
        batch = model.batch(*key)
        _learn(model, batch, trial.training.lr)
        _expect_equal(first[key], _parts(batch), "learning from a batch changes it")
    expect_the_same(model, "is another one after learning")
    model.prepare(trial.corpus)
    expect_the_same(model, "is another one after prepare() with the same corpus")
    expect_the_same(trial.model(weights=2), "is another one in a model with other weights")

    steps = [first[key] for key in keys[:4]]
    if not all(_all_equal(steps[0], other) for other in steps):
        return "the same for the same step and seed, other ones for other steps"
    all_tokens = len(trial.corpus) - 1
    sees_all = model.steps_per_epoch == 1 or model.batch(*keys[0]).tokens >= all_tokens
    if not sees_all:
        raise ObjectiveError(f"batch(0 to 3, seed={trial.seed}) are all the same")
    return "the same for the same step and seed; every step sees the whole text"


def _learn(model, batch, lr):
    """Do everything that training does with a batch, except for the optimiser's part."""
    loss, _ = model.loss(batch)
    if loss.requires_grad:
        loss.backward()
    if model.fast_step is not None:
        model.fast_step(batch, lr)


def _tokens(trial):
    """A batch says how many predictions it has."""
    model = trial.model()
    counts = [model.batch(step, trial.seed).tokens for step in range(4)]
    for step, tokens in enumerate(counts):
        if type(tokens) is not int or tokens < 1:
            raise ObjectiveError(
                f"batch({step}, seed={trial.seed}).tokens is {tokens!r}; expected an int above 0"
            )
    return f"{counts[0]:,} predictions in the first batch"


def _resume(trial):
    """A run that is stopped, and resumed in a new model, ends with the bits of an unbroken run."""
    expected = _carried(trial.undisturbed())
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        stopped = trial.model()
        stopped.batch = _stopping(stopped.batch, STOP * trial.training.accumulate)
        with contextlib.suppress(_Stopped):
            trial.train(stopped, out)
        resumed = trial.model()
        trial.train(resumed, out, resume=True)
    _expect_equal(expected, _carried(resumed), f"a run stopped after {STOP} steps ends elsewhere")
    return f"{UPDATES} steps, stopped after {STOP}, end with the same bits"


class _Stopped(Exception):
    """A training run was stopped on purpose."""


def _stopping(batch, last):
    """A `batch` that gives up at batch `last`."""

    def stopped(step, seed):
        if step >= last:
            raise _Stopped
        return batch(step, seed)

    return stopped


def _saving(trial):
    """A saved model comes back with its class, config, weights, encodings and held-out loss."""
    model = trial.undisturbed()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "model"
        hub.save(out, model, trial.tokenizer)
        loaded, _ = hub.load(out)
    if type(loaded) is not type(model) or loaded.config != model.config:
        raise ObjectiveError(f"{model.config} was saved, {loaded.config} comes back")
    loaded.prepare(trial.corpus)
    trial.taught(loaded)
    _expect_equal(model.state_dict(), loaded.state_dict(), "other weights come back")
    _expect_equal(_encoded(model), _encoded(loaded), "a model that comes back encodes otherwise")
    before = evaluate(model, trial.held_out)["loss"]
    after = evaluate(loaded, trial.held_out)["loss"]
    if before != after:
        raise ObjectiveError(f"held-out loss is {before:.9g}, and {after:.9g} in what comes back")
    return "weights, encode and held-out loss come back"


def _encoded(model):
    """The states that `encode` returns for some ids, by name."""
    length = 7 if model.max_length is None else min(7, model.max_length)
    rng = np.random.default_rng(0)
    ids = rng.integers(model.config.vocab_size, size=(3, length))
    with model.evaluating(), no_grad():
        states = model.encode(ids)
    return {f"encode[{i}]": state.data for i, state in enumerate(states)}


def _evaluation(trial):
    """Held-out loss is the same every time."""
    model = trial.undisturbed()
    found = [evaluate(model, trial.held_out), evaluate(model, trial.held_out)]
    model.train()
    found.append(evaluate(model, trial.held_out))
    first, again, later = (each["loss"] for each in found)
    if not first == again == later:
        seen = f"{first:.9g}, {again:.9g}, {later:.9g}"
        raise ObjectiveError(f"the held-out loss of the same weights is {seen}")
    return f"{first:.3f} {found[0]['unit']}, every time"


def _untouched(trial):
    """Evaluation between two steps leaves the bits of training alone."""
    if trial.training.optimizer == "asgd":
        return Line("untouched", "--", "asgd begins its average where evaluations tell it to")
    if trial.training.keep == "best":
        return Line("untouched", "--", "evaluations choose the weights to keep")
    expected = _carried(trial.undisturbed())
    model = trial.model()
    trial.train(model, held_out=trial.held_out, eval_every=1)
    _expect_equal(expected, _carried(model), "with evaluations in between training ends elsewhere")
    return f"{UPDATES} steps with evaluations in between end with the same bits"


PROMISES: dict[str, Callable[[_Trial], Line | str]] = {
    "gradient": _gradient,
    "causality": _causality,
    "padding": _padding,
    "rows": _rows,
    "batch": _batch,
    "tokens": _tokens,
    "resume": _resume,
    "saving": _saving,
    "evaluation": _evaluation,
    "untouched": _untouched,
}


# -- comparing to the bit ------------------------------------------------------------------------


def _carried(model):
    """Copies of all arrays that training carries from step to step."""
    arrays = dict(model.state_dict())
    for name, array in model.state().items():
        arrays[f"state {name}"] = array
    return {name: np.array(array) for name, array in arrays.items()}


def _parts(value, name="batch"):
    """The contents of a batch as arrays of our own, by name: {"batch.ids": ..., ...}.

    raises ObjectiveError  if it is no frozen dataclass
    """
    if name == "batch":
        frozen = dataclasses.is_dataclass(value) and value.__dataclass_params__.frozen
        if not frozen:
            raise ObjectiveError(f"batch is a {type(value).__name__}; expected a frozen dataclass")
    if dataclasses.is_dataclass(value):
        inner = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    elif isinstance(value, dict):
        inner = value
    elif isinstance(value, list | tuple):
        inner = dict(enumerate(value))
    else:
        array = np.array(value)
        if array.dtype.hasobject:
            array = np.array(repr(value))
        return {name: array}
    found = {}
    for key, part in inner.items():
        found |= _parts(part, f"{name}.{key}")
    return found


def _equal(a, b):
    """Whether two arrays are the same to the bit; NaN equals NaN."""
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def _all_equal(one, other):
    """Whether two dicts hold the same arrays."""
    return one.keys() == other.keys() and all(_equal(one[name], other[name]) for name in one)


def _expect_equal(before, after, complaint):
    """raises ObjectiveError, beginning with `complaint`, if two dicts of arrays differ in a bit"""
    if before.keys() != after.keys():
        names = ", ".join(sorted(map(str, before.keys() ^ after.keys())))
        raise ObjectiveError(f"{complaint}: only one of the two has {names}")
    for name, a in before.items():
        b = after[name]
        if _equal(a, b):
            continue
        if a.shape != b.shape or a.dtype != b.dtype:
            was = f"{a.dtype} {a.shape}"
            now = f"{b.dtype} {b.shape}"
            raise ObjectiveError(f"{complaint}: {name} is {was}, then {now}")
        count = (a != b).sum()
        raise ObjectiveError(f"{complaint}: {name} differs in {count} of {a.size} numbers")
