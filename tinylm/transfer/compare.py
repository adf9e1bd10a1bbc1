"""The experiment of the whole library: learn from text first, then adapt with few labels.

    for each objective:      pretrain on the training posts, the same number of minutes each
    for each label budget, for each seed (the same draws for every system):
        majority · TF-IDF · features of the frozen encoder · fine-tuned · the same from scratch

The rules of honesty: pretraining sees training posts and no label. No system looks at a label
beyond its budget. The from-scratch twin gets the same updates, the same grid of rates and the same
order of texts. Each result is written to the folder at once: an interrupted comparison continues,
and a repeated one takes seconds.
"""

import json
import os
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from tinylm import folders, hub, objectives
from tinylm.doors import json_value
from tinylm.errors import DataError, TinylmError
from tinylm.files import as_json, read_text, write_json, write_text
from tinylm.kernels.runtime.pool import one_pool
from tinylm.objectives import Objective
from tinylm.progress import duration, hidden, note
from tinylm.training.checkpoint import LOG, PRETRAINED, STATE, read_json
from tinylm.training.pretrain import PretrainConfig, prepared, pretrain

from .baselines import Majority, TfidfClassifier
from .budgets import label_budget
from .classifier import Classifier
from .experiment import (
    FEATURES,
    FINETUNED,
    MAJORITY,
    SCRATCH,
    TEACHER,
    TFIDF,
    Cell,
    CompareConfig,
    Comparison,
)
from .features import Features
from .finetune import twin
from .linear import SoftmaxRegression
from .metrics import accuracy, macro_f1
from .task import Task, load_task

RESULTS = "results.jsonl"
SETTINGS = "settings.json"
COSTS = "costs.json"
NOTED = {"steps", "seconds", "tokens", "vocabulary"}  # keys of PRETRAINED in a finished run
ENOUGH = 200_000  # characters of training posts from which every objective can learn
SAMPLE = 500  # training posts on which frozen features are standardised

# Fields of the config in which two runs in one folder may differ.
FREE = ("objectives", "labels", "seeds", "out", "quiet")


def run(config: CompareConfig) -> Comparison:
    """Compute every result that the folder does not hold yet, and return all of them.

    raises TinylmError if an objective is unknown, if the folder holds a comparison with other
    settings or anything else, or if another process writes there; and whatever the data, the
    trainer and the hub raise
    """
    names = tuple(objectives.find(one).name for one in config.objectives)
    config = replace(config, objectives=names)
    with claim(config), one_pool(), hidden(config.quiet):
        return _run(config)


def claim(config: CompareConfig) -> AbstractContextManager:
    """Claim the folder of a comparison, to start one or to continue it; overwrites nothing else."""
    return folders.claim(config.out, own=(SETTINGS,), overwrite=None)


def _run(config: CompareConfig) -> Comparison:
    """`run`, once the folder is claimed."""
    task = load_task(config.data, config.test_size)
    # Fail on a class with too few labels before training starts.
    label_budget(task.labels, max(config.labels), config.seed)
    results = Results(config, task)
    n_test = f"{len(task.test_texts):,} of {task.n_test:,}"
    results.say(f"{task.name}: {len(task.texts):,} training posts, {n_test} test posts")
    _check_text(task, config)
    pretrained = {}
    for name in config.objectives:
        pretrained[name] = pretrained_run(name, task, config, results.say)
    _baselines(task, results)
    for name in config.objectives:
        encoder, tokenizer = hub.load(Path(config.out) / name)
        tokenizer = Remembering(tokenizer)
        _frozen(name, encoder, tokenizer, task, results)
        _tuned(name, encoder, tokenizer, task, results)
    return Comparison(config, task, results.wanted(), pretrained, results.costs)


class Results:
    """The rows of OUT/results.jsonl. Each is written as soon as it is known, and computed once."""

    def __init__(self, config: CompareConfig, task: Task):
        self.config = config
        self.out = Path(config.out)
        self.begun = time.perf_counter()
        self._check_settings(task)
        self.rows = self._read(self.out / RESULTS)
        costs = self.out / COSTS
        self.costs = read_json(costs) if os.path.exists(costs) else {}

    @staticmethod
    def _read(path: Path) -> list[dict]:
        """The rows of a results file; none if there is no file.   raises TinylmError if damaged"""
        if not os.path.exists(path):
            return []
        try:
            rows = []
            for line in read_text(path).split("\n"):
                if line:
                    rows.append(_checked_row(json_value(line)))
        except (ValueError, KeyError, TypeError) as error:
            raise TinylmError(
                f"{path} is damaged ({error!r}); delete it, and its rows are computed again."
            ) from error
        return rows

    def _check_settings(self, task: Task) -> None:
        """Refuse another experiment's folder: its rows look the same and mean different things."""
        now = asdict(self.config) | {"texts": task.fingerprint()}
        for key in FREE:
            del now[key]
        now = json.loads(json.dumps(now))
        path = self.out / SETTINGS
        then = read_json(path) if os.path.exists(path) else now
        for key, value in now.items():
            before = then.get(key)
            if before != value:
                raise TinylmError(
                    f"{self.out} holds a comparison with {key} = {before}, now it is {value}; "
                    "give another folder with --out, or delete this one."
                )
        write_json(path, now)

    def say(self, line: str) -> None:
        """A line of progress on stderr, with the time since the start."""
        note(f"[{duration(time.perf_counter() - self.begun)}] {line}")

    def missing(self, method: str) -> list[Cell]:
        """The cells that this method has not filled yet."""
        done = {(row["budget"], row["seed"]) for row in self.rows if row["method"] == method}
        return [cell for cell in self.config.cells() if cell not in done]

    def add(self, method: str, cell: Cell, truth, predicted, seconds: float) -> None:
        """Keep one result, on disk too, and report it."""
        budget, seed = cell
        row = {
            "method": method,
            "budget": budget,
            "seed": seed,
            "accuracy": accuracy(truth, predicted),
            "macro_f1": macro_f1(truth, predicted),
            "seconds": round(seconds, 2),
        }
        self.rows.append(row)
        lines = [as_json(row) + "\n" for row in self.rows]
        write_text(self.out / RESULTS, "".join(lines))
        percent = f"{100 * row['accuracy']:.1f} %"
        where = f"{method}, {budget} labels per class, seed {seed}"
        self.say(f"{where}: {percent} ({seconds:.0f} s)")

    def add_cost(self, name: str, encoder: Objective, texts: int, seconds: float) -> None:
        """Keep the size of a model, and how fast it read some texts, on disk too."""
        self.costs[name] = {
            "parameters": sum(p.size for p in encoder.parameters()),
            "texts_per_second": round(texts / seconds, 1),
        }
        write_json(self.out / COSTS, self.costs)

    def wanted(self) -> list[dict]:
        """The rows of the configured cells and systems; the folder may hold more."""
        systems = self.config.systems()
        cells = self.config.cells()
        found = []
        for row in self.rows:
            if row["method"] in systems and (row["budget"], row["seed"]) in cells:
                found.append(row)
        return found


def _checked_row(row: dict) -> dict:
    """The same row.   raises ValueError, KeyError or TypeError if it is no result"""
    if not isinstance(row["method"], str):
        raise TypeError("method is no text")
    for name in ("budget", "seed"):
        if type(row[name]) is not int:
            raise TypeError(f"{name} is no whole number")
    for name in ("accuracy", "macro_f1"):
        if not 0 <= row[name] <= 1:
            raise ValueError(f"{name} is not between 0 and 1")
    return row


class Remembering:
    """A tokenizer that keeps its results, because every system reads the same texts many times."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.known = {}

    def __call__(
        self, texts: Iterable[str], max_length: int | None = None
    ) -> dict[str, np.ndarray]:
        """Texts to the keywords of `encode`, (N,T) each, as the tokenizer does it."""
        key = (tuple(texts), max_length)
        if key not in self.known:
            self.known[key] = self.tokenizer(texts, max_length=max_length)
        return self.known[key]


def pretrained_run(
    name: str, task: Task, config: CompareConfig, say: Callable[[str], None]
) -> dict:
    """Train one objective on the training posts in OUT/<name>, unless that run is finished.

    A student learns from the run of its teacher, in the teacher's words and sizes. One document in
    twenty is held out for the reported loss. No label is touched.
    returns the content of the run's PRETRAINED: steps, seconds, loss, ...
    """
    out = Path(config.out) / name
    with folders.claim(out, own=(STATE, LOG, PRETRAINED), overwrite=None):
        if not _is_noted(out):
            say(f"{name}: pretraining for {config.minutes:g} minutes")
            asked = _pretraining(name, task, config)
            _, tokenizer, result = pretrain(asked, task.texts, resume=True, quiet=config.quiet)
            # The evaluation has "tokens" too, those it predicted; the run's number replaces it.
            facts = dict(result["held_out"] or {})
            for key in ("steps", "seconds", "tokens"):
                facts[key] = result[key]
            facts["vocabulary"] = tokenizer.vocab_size
            write_json(out / PRETRAINED, facts)
        return read_json(out / PRETRAINED)


def _pretraining(name: str, task: Task, config: CompareConfig) -> PretrainConfig:
    """How one objective is pretrained; a student has its teacher's sizes and words."""
    asked = PretrainConfig(
        objective=name,
        data=task.name,
        out=Path(config.out) / name,
        size=config.size,
        options={"minutes": config.minutes},
        seed=config.seed,
        encoding=config.encoding,
    )
    if objectives.is_student(name):
        teacher = Path(config.out) / TEACHER
        return replace(asked, size=None, encoding=None, teacher=teacher)
    return asked


def _check_text(task: Task, config: CompareConfig) -> None:
    """Fail on a text that is too small for one of the objectives before the first one is trained.

    raises TinylmError      naming the objective
    """
    if sum(map(len, task.texts)) > ENOUGH:
        return
    for name in config.objectives:
        if objectives.is_student(name) or _is_noted(Path(config.out) / name):
            continue  # a student learns from what its teacher can learn from
        try:
            trainer = prepared(_pretraining(name, task, config), task.texts, quiet=True)
            if trainer.held_out is not None:
                trainer.try_evaluation()
        except TinylmError as error:
            raise TinylmError(f"{name} cannot learn from {task.name}: {error}") from error


def _is_noted(out: Path) -> bool:
    """Whether the note of a finished run can be read.

    A damaged note counts as missing if the run's state can replace it; otherwise `read_json` will
    report the damage.
    """
    try:
        return NOTED <= read_json(out / PRETRAINED).keys()
    except DataError:
        return os.path.exists(out / PRETRAINED) and not os.path.exists(out / STATE)


def _drawn(task: Task, cell: Cell) -> tuple[list[str], np.ndarray, np.ndarray]:
    """The labelled examples of one cell: texts, labels, and their rows in the training set."""
    budget, seed = cell
    rows = label_budget(task.labels, budget, seed)
    texts = [task.texts[i] for i in rows]
    return texts, task.labels[rows], rows


def _baselines(task: Task, results: Results) -> None:
    """Majority and TF-IDF, which see nothing but the labelled texts."""
    makers = {
        MAJORITY: lambda seed: Majority(),
        TFIDF: lambda seed: TfidfClassifier(seed=seed),
    }
    for method, make in makers.items():
        for cell in results.missing(method):
            start = time.perf_counter()
            texts, labels, _ = _drawn(task, cell)
            model = make(cell[1]).fit(texts, labels)
            predicted = model.predict(task.test_texts)
            seconds = time.perf_counter() - start
            results.add(method, cell, task.test_labels, predicted, seconds)


def _frozen(name: str, encoder, tokenizer, task: Task, results: Results) -> None:
    """Softmax regression on frozen features.

    The features are standardised on a fixed sample of training posts, whose labels stay unread.
    Each post is encoded once, for all cells.
    """
    method = f"{name} {FEATURES}"
    adapt = results.config.adapt
    if not results.missing(method):
        return
    rows = [label_budget(task.labels, *cell) for cell in results.config.cells()]
    used = np.unique(np.concatenate(rows))
    sample = np.random.default_rng(0).permutation(len(task.texts))[:SAMPLE]
    n_texts = sample.size + used.size + len(task.test_texts)
    results.say(f"{method}: encoding {n_texts:,} posts")
    features = Features(encoder, tokenizer, max_length=adapt.max_length, layers=adapt.layers)
    start = time.perf_counter()
    features.fit([task.texts[i] for i in sample])
    train = features.transform([task.texts[i] for i in used])
    test = features.transform(task.test_texts)
    results.add_cost(name, encoder, n_texts, time.perf_counter() - start)
    for cell in results.missing(method):
        start = time.perf_counter()
        _, labels, rows = _drawn(task, cell)
        model = SoftmaxRegression(adapt.C, seed=cell[1])
        model.fit(train[np.searchsorted(used, rows)], labels)
        predicted = model.predict(test)
        seconds = time.perf_counter() - start
        results.add(method, cell, task.test_labels, predicted, seconds)


def _tuned(name: str, encoder, tokenizer, task: Task, results: Results) -> None:
    """Fine-tune all weights, from the pretrained ones and from random ones; all else is equal."""
    for cell in results.config.cells():
        for kind in (FINETUNED, SCRATCH):
            method = f"{name} {kind}"
            if cell not in results.missing(method):
                continue
            start = time.perf_counter()
            texts, labels, _ = _drawn(task, cell)
            seed = cell[1]
            begin = encoder if kind == FINETUNED else twin(encoder, seed=seed)
            adapt = replace(results.config.adapt, seed=seed)
            model = Classifier(begin, tokenizer, "finetune", adapt)
            model.fit(texts, labels)
            predicted = model.predict(task.test_texts)
            seconds = time.perf_counter() - start
            results.add(method, cell, task.test_labels, predicted, seconds)
