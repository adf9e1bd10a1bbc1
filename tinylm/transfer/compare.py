"""The experiment of the whole library: learn from text first, then adapt with few labels.

    for each objective:      pretrain on the training posts, as many minutes or tokens each
    for each label budget, for each seed (the same draws for every system):
        majority · TF-IDF · features of the frozen encoder · fine-tuned · the same from scratch

The rules of honesty: pretraining sees training posts and no label. No system looks at a label
beyond its budget. The from-scratch twin gets the same updates, the same grid of rates and the same
order of texts. Each result is written to the folder at once: an interrupted comparison continues,
and a repeated one takes seconds.
"""

import os
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np

from tinylm import folders, hub, memory, objectives
from tinylm.errors import DataError, TinylmError
from tinylm.files import write_json
from tinylm.kernels.runtime.pool import one_pool
from tinylm.progress import hidden, note
from tinylm.settings import LARGEST
from tinylm.training.checkpoint import LOG, PRETRAINED, STATE, read_json
from tinylm.training.pretrain import PretrainConfig, prepared, pretrain

from . import mapped
from .baselines import Majority, TfidfClassifier
from .budgets import label_budget
from .classifier import Classifier
from .experiment import (
    ALL,
    FEATURES,
    FINETUNED,
    MAJORITY,
    SCRATCH,
    TEACHER,
    TFIDF,
    Budget,
    Cell,
    CompareConfig,
    Comparison,
)
from .features import Features
from .finetune import MOST_UPDATES, twin, updates_for
from .linear import SoftmaxRegression
from .pace import PRETRAINING, Part
from .results import RESULTS, SETTINGS, Results
from .task import Task, load_task

__all__ = [
    "FEATURES",
    "FINETUNED",
    "RESULTS",
    "SCRATCH",
    "CompareConfig",
    "Comparison",
    "Results",
    "claim",
    "pretrained_run",
    "run",
]

NOTED = {"steps", "seconds", "tokens", "vocabulary"}  # keys of PRETRAINED in a finished run
ENOUGH = 200_000  # characters of training posts from which every objective can learn
SAMPLE = 500  # training posts on which frozen features are standardised


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
    config = replace(config, scratch_labels=_available(task, config))
    results = Results(config, task)
    n_test = f"{len(task.test_texts):,} of {task.n_test:,}"
    results.say(f"{task.name}: {len(task.texts):,} training posts, {n_test} test posts")
    results.say(results.how_far())
    _check_text(task, config)
    pretrained = {}
    for name in config.objectives:
        pretrained[name] = _timed_run(name, task, results)
    _baselines(task, results)
    for name in config.objectives:
        encoder, tokenizer = hub.load(Path(config.out) / name)
        tokenizer = Remembering(tokenizer)
        _frozen(name, encoder, tokenizer, task, results)
        _tuned(name, encoder, tokenizer, task, results)
    wanted = results.wanted()
    return Comparison(config, task, wanted, pretrained, results.costs, results.predicted())


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


def _timed_run(name: str, task: Task, results: Results) -> dict:
    """`pretrained_run`, whose time counts in the estimates of what is left."""
    start = time.perf_counter()
    facts = pretrained_run(name, task, results.config, results.say)
    if Part(PRETRAINING, name) not in results.done:
        # A run that was finished or begun before took at least the time of its updates.
        seconds = max(time.perf_counter() - start, facts["seconds"])
        results.finish(PRETRAINING, name, seconds)
        results.say(f"{name}: pretrained; {results.how_far()}")
    return facts


def pretrained_run(
    name: str, task: Task, config: CompareConfig, say: Callable[[str], None]
) -> dict:
    """Train one objective on the training posts in OUT/<name>, unless that run is finished.

    A student learns from the run of its teacher, in the teacher's words and sizes. One document in
    twenty is held out for the reported loss. No label is touched.
    returns the content of the run's PRETRAINED: steps, seconds, loss, peak_bytes of memory, ...
    """
    out = Path(config.out) / name
    with folders.claim(out, own=(STATE, LOG, PRETRAINED), overwrite=None):
        if not _is_noted(out):
            say(f"{name}: pretraining for {config.length_in_words()}")
            asked = _pretraining(name, task, config)
            can_forget = memory.forget_peak()
            _, tokenizer, result = pretrain(asked, task.texts, resume=True, quiet=config.quiet)
            # The evaluation has "tokens" too, those it predicted; the run's number replaces it.
            facts = dict(result["held_out"] or {})
            for key in ("steps", "seconds", "tokens", "read"):
                facts[key] = result.get(key)  # a run that an older version finished may lack one
            facts["vocabulary"] = tokenizer.vocab_size
            facts["peak_bytes"] = memory.peak() if can_forget else None
            write_json(out / PRETRAINED, facts)
        return read_json(out / PRETRAINED)


def _pretraining(name: str, task: Task, config: CompareConfig) -> PretrainConfig:
    """How one objective is pretrained; a student has its teacher's sizes and words."""
    asked = PretrainConfig(
        objective=name,
        data=task.name,
        out=Path(config.out) / name,
        size=config.size,
        options=config.length,
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


def _available(task: Task, config: CompareConfig) -> tuple[Budget, ...]:
    """Those of config.scratch_labels that every class has."""
    smallest = np.unique(task.labels, return_counts=True)[1].min()
    found = []
    for budget in config.scratch_labels:
        if budget == ALL or budget <= smallest:
            found.append(budget)
        else:
            note(f"{task.name}: a class has {smallest} labels, so {budget} per class are left out")
    return tuple(found)


def _drawn(task: Task, cell: Cell) -> tuple[list[str], np.ndarray, np.ndarray]:
    """The labelled examples of one cell: texts, labels, and their rows in the training set."""
    budget, seed = cell
    if budget == ALL:
        rows = np.arange(len(task.labels))
    else:
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
    config = results.config
    for cell in config.cells() + config.further_cells():
        for kind in (FINETUNED, SCRATCH):
            method = f"{name} {kind}"
            if cell not in results.missing(method):
                continue
            start = time.perf_counter()
            texts, labels, _ = _drawn(task, cell)
            seed = cell[1]
            begin = encoder if kind == FINETUNED else twin(encoder, seed=seed)
            adapt = replace(config.adapt, seed=seed, updates=_updates(config, len(texts)))
            model = Classifier(begin, tokenizer, "finetune", adapt)
            model.fit(texts, labels)
            predicted = model.predict(task.test_texts)
            seconds = time.perf_counter() - start
            if kind == FINETUNED and cell == results.config.cells()[-1]:
                shown = model.features_.transform(mapped.evenly(task.test_texts))
                mapped.keep(results.out, name, cell, shown)
            results.add(method, cell, task.test_labels, predicted, seconds)


def _updates(config: CompareConfig, n_texts: int) -> int | None:
    """The updates of fine-tuning: five passes, however many labels there are.

    A twin that catches up only with many labels must have read all of them. None is the same where
    the usual bound is not reached.
    """
    adapt = config.adapt
    passes = updates_for(n_texts, adapt.batch_size, most=LARGEST)
    if adapt.updates is None and passes > MOST_UPDATES:
        return passes
    return adapt.updates
