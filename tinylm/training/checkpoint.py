"""The files of a training run that survive a kill: its state and its log.

Numbers that belong together stand in ONE file: `trainer.safetensors` holds weights, moments,
carried state and, in its metadata, the step. `model.safetensors` (for everybody else) and
`trainer.json` (for people) are written after it. If a kill prevents that, the resumed run writes
them.
"""

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tinylm import files
from tinylm.doors import json_value
from tinylm.errors import CheckpointError
from tinylm.tensors import load_tensors, read_json, save_tensors

from .facts import is_number, is_whole, wrong_fact

__all__ = [
    "HEAD",
    "LABELS",
    "LOG",
    "PRETRAINED",
    "STATE",
    "SUMMARY",
    "RunLog",
    "TrainerState",
    "load_state",
    "load_tensors",
    "read_json",
    "read_log",
    "save_state",
    "save_tensors",
    "wrong_fact",
]

STATE = "trainer.safetensors"
SUMMARY = "trainer.json"
LOG = "log.jsonl"
# Beside the model of a classifier: its head, and its labels and settings.
HEAD = "classifier.safetensors"
LABELS = "classifier.json"
PRETRAINED = "pretrained.json"  # a comparison's note about a run


@dataclass(frozen=True)
class TrainerState:
    """The state that a run needs to go on as if it had never stopped.

    arrays : group -> name -> array     the groups are "model", "optim", "carry" and "best"
    facts : dict, JSON                  step, steps, seconds, ..., see `facts.CHECKS`
    """

    arrays: Mapping[str, Mapping[str, np.ndarray]]
    facts: dict = field(default_factory=dict)


def save_state(folder: str | Path, state: TrainerState) -> None:
    """Write `trainer.safetensors`; one rename, so weights and moments are always of the same step.

    raises CheckpointError  if a number is not finite
    raises DataError        if the disk refuses
    """
    flat = {}
    for group, arrays in state.arrays.items():
        for name, array in arrays.items():
            flat[f"{group}.{name}"] = array
    save_tensors(Path(folder) / STATE, flat, {"trainer": files.as_json(state.facts)})


def load_state(folder: str | Path) -> TrainerState:
    """Read the state that `save_state` wrote.

    raises CheckpointError  if the file is missing, damaged or was not written by a trainer
    """
    path = Path(folder) / STATE
    flat, metadata = load_tensors(path)
    try:
        facts = json_value(metadata["trainer"])
        problem = wrong_fact(facts)
    except (KeyError, ValueError) as error:
        problem = f"its metadata hold no facts of a run: {error}"
    if problem:
        raise CheckpointError(
            f"{path} is damaged or was not written by tinylm's trainer ({problem}); "
            "start the run anew in another folder"
        )
    arrays = {"model": {}, "optim": {}, "carry": {}, "best": {}}
    for name, array in flat.items():
        group, _, rest = name.partition(".")
        arrays.setdefault(group, {})[rest] = array
    return TrainerState(arrays, facts)


class RunLog:
    """`log.jsonl`: one JSON object per line, handed to the system at once, so a kill loses no line.

        {"event": "started", "step": 0}
        {"event": "step", "step": 1, "loss": 5.54, ...}

    Opening a log drops the records after the step that is resumed, because those updates will be
    made and written again. It also drops a last line that a kill cut in half. Records about the run
    itself (saving, saved, resumed) are history and stay: a "saving" without a "saved" of the same
    step is a kill during a save.

    keep : the step that is resumed; -1 for a new run
    """

    REPEATED = ("step", "epoch", "evaluation", "plan")  # records that a resumed run makes again

    def __init__(self, path: str | Path, keep: int = -1):
        self.path = Path(path)
        lines = []
        for record in read_log(path):
            if record["event"] not in self.REPEATED or record["step"] <= keep:
                lines.append(_line(record))
        files.write_text(path, "".join(lines))

    def write(self, event: str, **fields) -> None:
        """Append one record; `fields` must be JSON.   raises DataError if the disk refuses"""
        line = _line({"event": event, **fields})
        with files.refusing(self.path):
            with open(self.path, "a", encoding="utf-8", newline="\n") as file:
                file.write(line)


def _line(record):
    return files.as_json(record) + "\n"


def read_log(path: str | Path) -> list[dict]:
    """The records of a `log.jsonl`, each a dict with "event" and "step"; none if there is no file.

    Lines that are no such record are left out: a kill can cut the last one in half.

    >>> read_log("no_such_run/log.jsonl")
    []
    """
    path = Path(path)
    if not os.path.exists(path):
        return []
    records = []
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            with contextlib.suppress(ValueError):
                record = json_value(line)
                if _is_record(record):
                    records.append(record)
    return records


def _is_record(value):
    """Whether a JSON value is an object with an event and a step; that of a step with its loss."""
    if not isinstance(value, dict) or not isinstance(value.get("event"), str):
        return False
    numbers = []
    if value["event"] == "step":
        components = value.get("components", {})
        if not isinstance(components, dict):
            return False
        numbers = [value.get("loss"), value.get("seconds"), *components.values()]
    return is_whole(value.get("step")) and all(map(is_number, numbers))
