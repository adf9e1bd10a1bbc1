"""The experiment of the whole library: learn from text first, then adapt with few labels, beside honest baselines.

    for each objective:      pretrain on the training posts, the same number of minutes each
    for each label budget, for each seed (the same draws for every system):
        majority · TF-IDF · features of the frozen encoder · fine-tuned · the same architecture from scratch

The rules of honesty: pretraining sees training posts and no label; nothing looks at a label beyond its budget; the
from-scratch twin gets the same updates, the same grid of rates, the same order of texts. Every finished part is kept
at once, so a comparison that is interrupted goes on where it was, and one that is repeated takes seconds.
"""

import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from tinylm import folders, hub, objectives
from tinylm.errors import DataError, TinylmError
from tinylm.files import as_json, write_json, write_text
from tinylm.kernels.runtime.pool import one_pool
from tinylm.progress import duration, hidden, note
from tinylm.settings import Config, above, at_least, refuse_repeated
from tinylm.training.checkpoint import LOG, PRETRAINED, STATE, read_json
from tinylm.training.pretrain import PretrainConfig, pretrain
from tinylm.transfer.adapt import AdaptConfig, Classifier, twin
from tinylm.transfer.baselines import Majority, TfidfClassifier
from tinylm.transfer.budgets import label_budget
from tinylm.transfer.features import Features
from tinylm.transfer.linear import SoftmaxRegression
from tinylm.transfer.metrics import accuracy, macro_f1
from tinylm.transfer.task import Task, load_task

RESULTS, SETTINGS = "results.jsonl", "settings.json"
NOTED = {"steps", "seconds", "tokens", "vocabulary"}  # of every run, in its PRETRAINED
MAJORITY, TFIDF = "majority", "TF-IDF"
SAMPLE = 500  # training posts on which frozen features are standardised
FEATURES, FINETUNED, SCRATCH = "features", "fine-tuned", "from scratch"


@dataclass(frozen=True)
class CompareConfig(Config):
    """What is compared. Changing anything but labels, seeds, objectives, out and quiet asks for another folder.

    data : named set or labelled file · objectives : names of chapters, see `objectives.names()`, or files that define one
    size : of their configs
    minutes : of pretraining, for each objective · labels : budgets per class · seeds : how many draws of labels
    test_size : test texts read (a fixed draw; 0: all) · adapt : fine-tuning and features · out : the folder
    seed : of pretraining, and the first of the draws
    """

    ranges = {
        "minutes": above(0, 1e6),
        "labels": at_least(1),
        "seeds": at_least(1, 1000),
        "test_size": at_least(0),
        "seed": at_least(0),
    }
    data: str | Path = "newsgroups"
    objectives: tuple[str, ...] = ("word2vec", "gpt")
    minutes: float = 2.5
    labels: tuple[int, ...] = (2, 10, 50)
    seeds: int = 3
    out: str | Path = "compare"
    size: str = "small"
    test_size: int = 1000
    adapt: AdaptConfig = AdaptConfig(max_length=512)
    seed: int = 0
    quiet: bool = False
    encoding: str | None = None

    def check(self) -> None:
        """Every objective is known, and there is something to do.   raises TinylmError"""
        for name in self.objectives:
            objectives.find(name)
        if not self.labels:
            raise TinylmError("CompareConfig: labels is empty; expected at least one budget.")
        for name in ("objectives", "labels"):
            refuse_repeated(name, getattr(self, name))

    def cells(self) -> list[tuple[int, int]]:
        """(budget, seed) of every cell of the table, from the small budgets to the large."""
        return [
            (budget, self.seed + i)
            for budget in sorted(set(self.labels))
            for i in range(self.seeds)
        ]


@dataclass(frozen=True)
class Comparison:
    """What came out.

    config, task : what was asked · rows : dicts with method, budget, seed, accuracy, macro_f1, seconds
    pretrained : objective -> dict of steps, seconds, loss, nats_per_word, unigram (held-out) and what else is known
    """

    config: CompareConfig
    task: Task
    rows: list[dict]
    pretrained: dict[str, dict]

    def methods(self) -> list[str]:
        """The systems that were measured, baselines first, in the order in which they were first measured."""
        return list(dict.fromkeys(row["method"] for row in self.rows))

    def scores(self, method: str, budget: int, score: str = "accuracy") -> list[float]:
        """One score per seed, in the order of the seeds; empty where a method was not measured."""
        rows = [row for row in self.rows if (row["method"], row["budget"]) == (method, budget)]
        return [row[score] for row in sorted(rows, key=lambda row: row["seed"])]


def run(config: CompareConfig) -> Comparison:
    """Run what is not finished yet, and return everything.

    raises TinylmError if the folder holds a comparison with other settings or anything else, if another process writes
    there, or an objective is unknown; what the data, the trainer and the hub raise
    """
    names = tuple(objectives.find(one).name for one in config.objectives)
    config = replace(config, objectives=names)
    with claim(config), one_pool(), hidden(config.quiet):
        return _run(config)


def claim(config: CompareConfig):
    """`folders.claim` of a comparison's folder: it goes on with one that is there, and overwrites nothing else."""
    return folders.claim(config.out, own=(SETTINGS,), overwrite=None)


def _run(config: CompareConfig) -> Comparison:
    task = load_task(config.data, config.test_size)
    # Fail on a class that is too small before the work.
    label_budget(task.labels, max(config.labels), config.seed)
    results = Results(config, task)
    say = results.say
    say(
        f"{task.name}: {len(task.texts):,} training posts, {len(task.test_texts):,} of {task.n_test:,} test posts"
    )
    pretrained = {name: pretrained_run(name, task, config, say) for name in config.objectives}
    _baselines(task, config, results)
    for name in config.objectives:
        encoder, tokenizer = hub.load(Path(config.out) / name)
        tokenizer = Remembering(tokenizer)
        _frozen(name, encoder, tokenizer, task, results)
        _tuned(name, encoder, tokenizer, task, results)
    return Comparison(config, task, results.wanted(), pretrained)


class Results:
    """The rows of OUT/results.jsonl: each is written the moment it is known, and none is computed twice."""

    def __init__(self, config: CompareConfig, task: Task):
        self.config, self.out, self.begun = config, Path(config.out), time.perf_counter()
        self._check_settings(task)
        self.rows = self._read(self.out / RESULTS)

    @staticmethod
    def _read(path: Path) -> list[dict]:
        """The rows of a results file; none if there is no file. raises TinylmError if it is damaged."""
        if not path.exists():
            return []
        try:
            lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
            rows = [json.loads(line) for line in lines if line]
            for row in rows:
                (
                    row["method"],
                    int(row["budget"]),
                    int(row["seed"]),
                    float(row["accuracy"]),
                    float(row["macro_f1"]),
                )
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise TinylmError(
                f"{path} is damaged ({error!r}); delete it, and its rows are computed again."
            ) from error
        return rows

    def _check_settings(self, task: Task) -> None:
        """A folder holds one experiment; rows of two would look alike and mean different things."""
        free = ("objectives", "labels", "seeds", "out", "quiet")
        now = {key: value for key, value in asdict(self.config).items() if key not in free}
        now = json.loads(json.dumps(now | {"texts": task.fingerprint()}))
        path = self.out / SETTINGS
        then = read_json(path) if path.exists() else now
        for key, value in now.items():
            if then.get(key) != value:
                raise TinylmError(
                    f"{self.out} holds a comparison with {key} = {then.get(key)}, now it is {value}; "
                    "give another folder with --out, or delete this one."
                )
        write_json(path, now)

    def say(self, line: str) -> None:
        """A line of progress on stderr, with the time since the beginning."""
        note(f"[{duration(time.perf_counter() - self.begun)}] {line}")

    def missing(self, method: str):
        """The cells that this method has not filled yet."""
        done = {(row["budget"], row["seed"]) for row in self.rows if row["method"] == method}
        return [cell for cell in self.config.cells() if cell not in done]

    def add(self, method: str, cell, truth, predicted, seconds: float) -> None:
        """Keep one result, on disk too, and say so."""
        budget, seed = cell
        scores = {"accuracy": accuracy(truth, predicted), "macro_f1": macro_f1(truth, predicted)}
        facts = {
            "method": method,
            "budget": budget,
            "seed": seed,
            **scores,
            "seconds": round(seconds, 2),
        }
        self.rows.append(facts)
        write_text(self.out / RESULTS, "".join(as_json(row) + "\n" for row in self.rows))
        self.say(
            f"{method}, {budget} labels per class, seed {seed}: {100 * scores['accuracy']:.1f} % ({seconds:.0f} s)"
        )

    def wanted(self) -> list[dict]:
        """The rows of the cells and systems asked for; the folder may hold more."""
        systems = {MAJORITY, TFIDF}
        systems |= {
            f"{name} {kind}"
            for name in self.config.objectives
            for kind in (FEATURES, FINETUNED, SCRATCH)
        }
        return [
            row
            for row in self.rows
            if row["method"] in systems and (row["budget"], row["seed"]) in self.config.cells()
        ]


class Remembering:
    """A tokenizer that keeps what it has cut: every system of a comparison reads the same texts many times."""

    def __init__(self, tokenizer):
        self.tokenizer, self.known = tokenizer, {}

    def __call__(self, texts, max_length=None) -> dict[str, np.ndarray]:
        """As the tokenizer: texts to the keywords of `encode`, (N,T) each."""
        key = (tuple(texts), max_length)
        if key not in self.known:
            self.known[key] = self.tokenizer(texts, max_length=max_length)
        return self.known[key]


def pretrained_run(name: str, task: Task, config: CompareConfig, say) -> dict:
    """Train one objective on the training posts, or find it finished, in OUT/<name>; returns what is known of the run.

    One document in twenty is held out, for the loss that is reported; no label is touched.
    """
    out = Path(config.out) / name
    with folders.claim(out, own=(STATE, LOG, PRETRAINED), overwrite=None):
        if not _is_noted(out):
            say(f"{name}: pretraining for {config.minutes:g} minutes")
            asked = PretrainConfig(
                objective=name,
                data=task.name,
                out=out,
                size=config.size,
                options={"minutes": config.minutes},
                seed=config.seed,
                encoding=config.encoding,
            )
            _, tokenizer, result = pretrain(asked, task.texts, resume=True, quiet=config.quiet)
            facts = {key: result[key] for key in ("steps", "seconds", "tokens")}
            # "tokens" of the evaluation are those predicted, not those trained on: the run's own number stays.
            write_json(
                out / PRETRAINED,
                (result["held_out"] or {}) | facts | {"vocabulary": tokenizer.vocab_size},
            )
        return read_json(out / PRETRAINED)


def _is_noted(out: Path) -> bool:
    """Whether a run's note is there; a damaged one is written anew if the run's state is there to write it from."""
    try:
        return NOTED <= read_json(out / PRETRAINED).keys()
    except DataError:
        return (out / PRETRAINED).exists() and not (out / STATE).exists()


def _baselines(task: Task, config: CompareConfig, results: Results) -> None:
    makers = {MAJORITY: lambda seed: Majority(), TFIDF: lambda seed: TfidfClassifier(seed=seed)}
    for method, make in makers.items():
        for cell in results.missing(method):
            start, rows = time.perf_counter(), label_budget(task.labels, *cell)
            model = make(cell[1]).fit([task.texts[i] for i in rows], task.labels[rows])
            results.add(
                method,
                cell,
                task.test_labels,
                model.predict(task.test_texts),
                time.perf_counter() - start,
            )


def _frozen(name: str, encoder, tokenizer, task: Task, results: Results) -> None:
    """Softmax regression on frozen features, standardised on a fixed draw of training posts: a text is not a label."""
    method, config = f"{name} {FEATURES}", results.config
    if not results.missing(method):
        return
    drawn = np.unique(
        np.concatenate([label_budget(task.labels, *cell) for cell in results.config.cells()])
    )
    sample = np.random.default_rng(0).permutation(len(task.texts))[:SAMPLE]
    results.say(f"{method}: encoding {sample.size + drawn.size + len(task.test_texts):,} posts")
    features = Features(
        encoder, tokenizer, max_length=config.adapt.max_length, layers=config.adapt.layers
    )
    features.fit([task.texts[i] for i in sample])
    train, test = (
        features.transform([task.texts[i] for i in drawn]),
        features.transform(task.test_texts),
    )
    for cell in results.missing(method):
        start, rows = time.perf_counter(), label_budget(task.labels, *cell)
        model = SoftmaxRegression(config.adapt.C, seed=cell[1])
        model.fit(train[np.searchsorted(drawn, rows)], task.labels[rows])
        results.add(
            method, cell, task.test_labels, model.predict(test), time.perf_counter() - start
        )


def _tuned(name: str, encoder, tokenizer, task: Task, results: Results) -> None:
    """All weights, from the pretrained ones and from random ones; all else is equal."""
    for cell in results.config.cells():
        for kind in (FINETUNED, SCRATCH):
            if cell not in results.missing(f"{name} {kind}"):
                continue
            start, rows = time.perf_counter(), label_budget(task.labels, *cell)
            begin = encoder if kind == FINETUNED else twin(encoder, seed=cell[1])
            model = Classifier(
                begin, tokenizer, "finetune", replace(results.config.adapt, seed=cell[1])
            )
            model.fit([task.texts[i] for i in rows], task.labels[rows])
            predicted = model.predict(task.test_texts)
            results.add(
                f"{name} {kind}", cell, task.test_labels, predicted, time.perf_counter() - start
            )
