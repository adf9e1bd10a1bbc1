"""The files of a comparison: each result is written as soon as it is known, and computed once.

OUT/settings.json       what was asked; a folder holds one experiment
OUT/results.jsonl       a row for each system, label budget and seed
OUT/predictions.jsonl   what each system said of the test texts, in the last cell asked for
OUT/costs.json          the size of each model, and how fast it reads; measured anew if it is lost
OUT/times.json          the seconds of what stands in no row, to estimate the time left
"""

import json
import math
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from tinylm.doors import json_value
from tinylm.errors import TinylmError
from tinylm.files import as_json, read_text, write_json, write_text
from tinylm.objectives import Objective
from tinylm.progress import duration, note
from tinylm.training.checkpoint import read_json

from . import pace
from .experiment import FEATURES, Cell, CompareConfig
from .pace import ENCODING, Part
from .task import ALL, Budget, Task

RESULTS = "results.jsonl"
PREDICTIONS = "predictions.jsonl"
SETTINGS = "settings.json"
COSTS = "costs.json"
TIMES = "times.json"
NUMBERS = ("parameters", "texts_per_second")  # of each objective in COSTS
LONGEST = 1e9  # seconds, thirty years

# Fields of the config in which two runs in one folder may differ.
FREE = ("objectives", "labels", "scratch_labels", "seeds", "out", "quiet")


def checked_settings(config: CompareConfig, task: Task) -> dict:
    """What all rows of a comparison's folder share, as JSON.

    raises TinylmError  if the folder has rows of other settings, which would mean different things
    """
    now = asdict(config) | {"texts": task.fingerprint()}
    for key in FREE:
        del now[key]
    now = json.loads(json.dumps(now, default=str))  # a Path of the data
    path = Path(config.out) / SETTINGS
    then = read_json(path) if os.path.exists(path) else now
    for key, value in now.items():
        before = then.get(key)
        if before != value:
            raise TinylmError(
                f"{config.out} holds a comparison with {key} = {before}, now it is {value}; "
                "give another folder with --out, or delete this one."
            )
    return now


class Results:
    """The rows of OUT/results.jsonl. Each is written as soon as it is known, and computed once."""

    def __init__(self, config: CompareConfig, task: Task):
        self.config = config
        self.task = task
        self.out = Path(config.out)
        self.begun = time.perf_counter()
        write_json(self.out / SETTINGS, checked_settings(config, task))
        self.rows = self._read(self.out / RESULTS)
        self.said = _rows_of(self.out / PREDICTIONS, _checked_prediction(len(task.test_texts)))
        self.costs = _read_facts(self.out / COSTS)
        for cost in self.costs.values():
            check_numbers(self.out / COSTS, cost, needed=NUMBERS, others=("layers",))
        self.parts = pace.parts(config)
        self.most = len(task.labels) / task.n_classes
        self.times = _read_facts(self.out / TIMES)
        self.done = seconds_of(self.out)
        for name in config.objectives:
            if not self.missing(f"{name} {FEATURES}"):
                self.done.setdefault(Part(ENCODING, name), 0.0)  # nothing is to be encoded again

    @staticmethod
    def _read(path: Path) -> list[dict]:
        """The rows of a results file; none if there is no file.   raises TinylmError if damaged"""
        return _rows_of(path, _checked_row)

    def say(self, line: str) -> None:
        """A line of progress on stderr, with the time since the start."""
        note(f"[{duration(time.perf_counter() - self.begun)}] {line}")

    def finish(self, kind: str, name: str, seconds: float) -> None:
        """Keep what a part without a row took, on disk too."""
        self.done[Part(kind, name)] = seconds
        self.times.setdefault(kind, {})[name] = round(seconds, 2)
        write_json(self.out / TIMES, self.times)

    def how_far(self) -> str:
        """How much is done, and about how long the rest takes, in words."""
        return pace.in_words(self.parts, self.done, self.config.minutes, self.most)

    def missing(self, method: str) -> list[Cell]:
        """The cells that this method has not filled yet."""
        done = {(row["budget"], row["seed"]) for row in self.rows if row["method"] == method}
        return [cell for cell in self.config.cells_of(method) if cell not in done]

    def add(self, method: str, cell: Cell, predicted: ArrayLike, seconds: float) -> None:
        """Keep one result, on disk too, and report it."""
        budget, seed = cell
        row = {
            "method": method,
            "budget": budget,
            "seed": seed,
            **self.task.scores(predicted),
            "seconds": round(seconds, 2),
        }
        if cell == self.config.cells()[-1]:
            self._keep_prediction(method, cell, predicted)
        self.rows.append(row)
        _write_rows(self.out / RESULTS, self.rows)
        percent = f"{100 * row[self.task.metric]:.1f} %"
        labels = "all labels" if budget == ALL else f"{budget} labels per class"
        where = f"{method}, {labels}, seed {seed}"
        self.done[pace.measurement(method, budget, seed)] = seconds
        self.say(f"{where}: {percent} ({seconds:.0f} s); {self.how_far()}")

    def _keep_prediction(self, method: str, cell: Cell, predicted: ArrayLike) -> None:
        """Keep what a system said of each test text, on disk too."""
        budget, seed = cell
        labels = predicted.tolist() if isinstance(predicted, np.ndarray) else predicted
        said = {"method": method, "budget": budget, "seed": seed, "labels": labels}
        self.said = [row for row in self.said if _place(row) != _place(said)] + [said]
        _write_rows(self.out / PREDICTIONS, self.said)

    def add_cost(
        self, name: str, encoder: Objective, texts: int, seconds: float, layers: int
    ) -> None:
        """Keep the size of a model, and how fast it read some texts, on disk too."""
        self.costs[name] = {
            "parameters": sum(p.size for p in encoder.parameters()),
            "texts_per_second": round(texts / seconds, 1),
            "layers": layers,
        }
        write_json(self.out / COSTS, self.costs)
        if Part(ENCODING, name) not in self.done:  # a cost that was lost is measured on fewer texts
            self.finish(ENCODING, name, seconds)

    def lacks_cost(self, name: str) -> bool:
        """Whether the file lacks a model: somebody deleted it, or an older version wrote it."""
        return self.costs.get(name, {}).get("layers") is None

    def wanted(self) -> list[dict]:
        """The rows of the configured cells and systems; the folder may hold more."""
        cells = {method: self.config.cells_of(method) for method in self.config.systems()}
        found = []
        for row in self.rows:
            if (row["budget"], row["seed"]) in cells.get(row["method"], ()):
                found.append(row)
        return found

    def predicted(self) -> dict[str, list]:
        """method -> labels of the test texts, of the configured systems in the last cell."""
        last = self.config.cells()[-1]
        found = {}
        for row in self.said:
            if row["method"] in self.config.systems() and (row["budget"], row["seed"]) == last:
                found[row["method"]] = row["labels"]
        return found


def seconds_of(folder: str | Path) -> dict[Part, float]:
    """The parts of a comparison that a folder holds, and the seconds that each took.

    folder : may be missing     raises TinylmError if a file in it is damaged
    """
    done = {}
    for row in _rows_of(Path(folder) / RESULTS, _checked_row):
        part = pace.measurement(row["method"], row["budget"], row["seed"])
        done[part] = _checked_seconds(row.get("seconds", 0))
    path = Path(folder) / TIMES
    try:
        for kind, by_name in _read_facts(path).items():
            for name, seconds in by_name.items():
                done[Part(kind, name)] = _checked_seconds(seconds)
    except (AttributeError, TypeError, ValueError) as error:
        raise TinylmError(
            f"{path} is damaged ({error!r}); delete it, and only estimates are worse."
        ) from error
    return done


def check_numbers(
    path: Path, facts: object, needed: Iterable[str], others: Iterable[str] = ()
) -> None:
    """Check that what a file says are finite numbers; `others` may be missing or null.

    raises TinylmError  naming the file and what is wrong
    """
    try:
        for name in (*needed, *others):
            value = facts[name] if name in needed else facts.get(name)
            if value is None and name in others:
                continue
            if type(value) not in (int, float) or not math.isfinite(value):
                raise ValueError(f"{name} is no finite number")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise TinylmError(
            f"{path} is damaged ({error!r}); delete it, and what it holds is found anew where it "
            "can be."
        ) from error


def _read_facts(path: Path) -> dict:
    """The content of a JSON file, {} if there is none."""
    return read_json(path) if os.path.exists(path) else {}


def _place(row: dict) -> tuple[str, Budget, int]:
    """The system and the cell of a row."""
    return row["method"], row["budget"], row["seed"]


def _rows_of(path: Path, checked: Callable[[dict], dict]) -> list[dict]:
    """The rows of a file of JSON lines; none without a file.   raises TinylmError if damaged"""
    if not os.path.exists(path):
        return []
    try:
        rows = []
        for line in read_text(path).split("\n"):
            if line:
                rows.append(checked(json_value(line)))
    except (ValueError, KeyError, TypeError) as error:
        raise TinylmError(
            f"{path} is damaged ({error!r}); delete it, and its rows are computed again."
        ) from error
    return rows


def _write_rows(path: Path, rows: list[dict]) -> None:
    """Write rows as JSON lines."""
    lines = [as_json(row) + "\n" for row in rows]
    write_text(path, "".join(lines))


def _checked_row(row: dict) -> dict:
    """The same row.   raises ValueError, KeyError or TypeError if it is no result"""
    if not isinstance(row["method"], str):
        raise TypeError("method is no text")
    for name in ("budget", "seed"):
        if type(row[name]) is not int and (name, row[name]) != ("budget", ALL):
            raise TypeError(f"{name} is no whole number")
    if row["budget"] != ALL and row["budget"] < 1:
        raise ValueError("budget is no number of labels")
    for name in ("accuracy", "macro_f1", "f1"):
        if name in row or name != "f1":
            if not 0 <= row[name] <= 1:
                raise ValueError(f"{name} is not between 0 and 1")
    _checked_seconds(row.get("seconds", 0))
    return row


def _checked_seconds(value: float) -> float:
    """The same number.   raises ValueError or TypeError if nothing can have taken so long"""
    if type(value) not in (int, float) or not 0 <= value < LONGEST:
        raise ValueError("seconds is no time")
    return float(value)


def _checked_prediction(n_texts: int) -> Callable[[dict], dict]:
    """A check as `_checked_row`, for the predictions of so many texts."""

    def checked(row: dict) -> dict:
        if not isinstance(row["labels"], list) or len(row["labels"]) != n_texts:
            raise ValueError(f"labels is no list of {n_texts}")
        _place(row)
        return row

    return checked
