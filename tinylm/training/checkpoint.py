"""Checkpoints that survive a kill: safetensors, and the state of a training run.

Every file is written whole or not at all. What must belong together stands in ONE file: `trainer.safetensors` holds
weights, moments, carried state and, in its metadata, the step. `model.safetensors` (for everybody else) and
`trainer.json` (for people, written last) follow it and are written again if a kill kept them back.
No pickle anywhere: reading a file cannot run code.
"""

import contextlib
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tinylm import files, folders
from tinylm.errors import CheckpointError
from tinylm.finite import first_broken, must_be_finite

STATE, SUMMARY, LOG = "trainer.safetensors", "trainer.json", "log.jsonl"
HEAD, LABELS = "classifier.safetensors", "classifier.json"  # beside the model of a classifier
PRETRAINED = "pretrained.json"  # what a comparison notes of a run


def read_json(path):
    """The object in a JSON file of a model's or a run's folder, a dict.

    raises CheckpointError if the file or its folder is missing, DataError if it is not JSON or is absurdly large
    """
    value = files.read_json(_existing(path))
    if not isinstance(value, dict):
        raise CheckpointError(
            f"{path} holds a JSON {type(value).__name__}, expected an object with named fields"
        )
    return value


def save_tensors(path, arrays, metadata=None):
    """Write named arrays as safetensors, atomically.

    arrays : dict[str, np.ndarray]      copied only where not C-contiguous
    metadata : dict[str, str]           optional; "format": "pt" is added, transformers asks for it
    raises CheckpointError  if a number is not finite: what `load_tensors` would refuse is not written
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    if name := first_broken(arrays):
        raise CheckpointError(
            f"{path} is not written: {name} holds NaN or infinity, for training diverged; "
            "try a smaller learning rate or a longer warm-up"
        )
    dense = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    with files.replacing(path) as part:
        try:
            save_file(dense, part, metadata={"format": "pt", **(metadata or {})})
        except SafetensorError as error:  # the package's name for a full disk
            raise OSError(str(error)) from error


def load_tensors(path):
    """Named arrays of a safetensors file, as copies that may be written to, and its metadata.

    The package checks the header against the size of the file before anything is allocated, so that a damaged or
    hostile header cannot ask for more memory than the file justifies. Numbers that NumPy lacks (bfloat16) are refused,
    and so are NaN and the infinities.

    returns dict[str, np.ndarray], dict[str, str]
    raises CheckpointError   if the file is missing, truncated, damaged, of another format, or a number is not finite
    """
    from safetensors import SafetensorError, safe_open

    path = _existing(path)
    try:
        with safe_open(path, framework="np") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}
            metadata = file.metadata() or {}
    except (
        SafetensorError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OSError,
        MemoryError,
    ) as error:
        raise CheckpointError(
            f"{path} is damaged or not a safetensors file ({error}); copy it again from its source, "
            "or delete it and save anew"
        ) from error
    must_be_finite(path, arrays)
    return arrays, metadata


def _existing(path):
    """`path`, if it is a file one can read; else a sentence."""
    path = Path(path)
    if not path.parent.is_dir():
        raise CheckpointError(
            f"the folder {path.parent} does not exist; give the folder of a model or of a run"
        )
    if not path.is_file():
        raise CheckpointError(
            f"{path.parent} holds no {path.name}; give the folder of a model or of a run"
        )
    return path


@dataclass(frozen=True)
class TrainerState:
    """Everything a run needs to go on as if it had never stopped.

    arrays : dict[str, dict[str, np.ndarray]]   groups "model", "optim", "carry"
    facts : dict                                JSON: step, steps, seconds, config, ..., see Trainer
    """

    arrays: dict
    facts: dict = field(default_factory=dict)


def save_state(folder, state):
    """Write `trainer.safetensors`: one file, one rename, so weights and moments can never be of different steps."""
    flat = {
        f"{group}.{name}": array
        for group, arrays in state.arrays.items()
        for name, array in arrays.items()
    }
    save_tensors(Path(folder) / STATE, flat, {"trainer": files.as_json(state.facts)})


def load_state(folder):
    """Read what `save_state` wrote.

    returns TrainerState
    raises CheckpointError if the file is missing, damaged or was not written by a trainer
    """
    path = Path(folder) / STATE
    flat, metadata = load_tensors(path)
    try:
        facts = json.loads(metadata["trainer"])
        problem = wrong_fact(facts)
    except (KeyError, ValueError, RecursionError):
        problem = "its metadata hold no facts of a run"
    if problem:
        raise CheckpointError(
            f"{path} is damaged or was not written by tinylm's trainer ({problem}); "
            "start the run anew in another folder"
        )
    arrays = {"model": {}, "optim": {}, "carry": {}}
    for name, array in flat.items():
        group, _, rest = name.partition(".")
        arrays.setdefault(group, {})[rest] = array
    return TrainerState(arrays, facts)


def wrong_fact(facts):
    """Which fact of a stored state no run can have, as a part of a sentence; None if all are possible."""
    if not isinstance(facts, dict):
        return "its facts are no object with named fields"
    checks = {
        "identity": _is_identity,
        "steps": _is_length,
        "step": _is_step,
        "seconds": lambda seconds, _: _is_number(seconds) and seconds >= 0,
        "tokens": lambda tokens, _: _is_whole(tokens) and tokens >= 0,
        "recent": _is_recent,
        "epoch": _is_epoch,
        "budget": lambda budget, _: isinstance(budget, dict),
        "first": lambda loss, _: loss is None or _is_number(loss),
        "result": _is_result,
    }
    optional = {"identity": {}, "epoch": [0.0, 0], "first": None, "result": None}
    for name, holds in checks.items():
        if name not in facts and name not in optional:
            return f"{name} is missing"
        value = facts.get(name, optional.get(name))
        if not holds(value, facts):
            return f"{name} cannot be {value!r}"
    return None


# Each of these may rely on the facts that are checked before its own.


def _is_identity(identity, _):
    """Settings by part: of the training, the model, the data, the encoding."""
    return isinstance(identity, dict) and all(isinstance(part, dict) for part in identity.values())


def _is_length(steps, facts):
    """The number of updates, and the one that was asked for."""
    asked = facts.get("identity", {}).get("option", {}).get("steps")
    return _is_whole(steps) and steps >= 1 and asked in (None, steps)


def _is_step(step, facts):
    """Updates that were made; all of them were made in a finished run and in no other."""
    if not _is_whole(step):
        return False
    if facts.get("result") is None:
        return 0 <= step < facts["steps"]
    return step == facts["steps"]


def _is_recent(losses, facts):
    """Losses of the last updates."""
    if not isinstance(losses, list) or not all(_is_number(loss) for loss in losses):
        return False
    return len(losses) <= facts["step"] and (len(losses) > 0) == (facts["step"] > 0)


def _is_epoch(epoch, _):
    """The sum of losses since the epoch began, and of how many tokens."""
    if not isinstance(epoch, list) or len(epoch) != 2:
        return False
    return _is_number(epoch[0]) and _is_number(epoch[1]) and epoch[1] >= 0


def _is_result(result, facts):
    """What a finished run returned; it repeats facts of the state."""
    if result is None:
        return True
    if not isinstance(result, dict) or not _is_number(result.get("loss")):
        return False
    if not isinstance(result.get("held_out"), dict | None):
        return False
    return all(result.get(name) == facts[name] for name in ("steps", "seconds", "tokens"))


def _is_whole(value):
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value):
    """Whether a value of JSON is a finite number; Python reads NaN and whole numbers of any size there."""
    numeric = isinstance(value, float | int) and not isinstance(value, bool)
    return numeric and abs(value) <= sys.float_info.max


def claim_run(folder, resume=False, overwrite=False, reading=()):
    """`folders.claim` for a run: `resume` lets a run of ours through, also one killed before its first checkpoint.

    folder : None for a run that keeps nothing, which needs no folder
    """
    if folder is None:
        return contextlib.nullcontext()
    if resume and overwrite:
        raise CheckpointError(
            "a run is either resumed or overwritten; leave out --resume or --overwrite"
        )
    own = ()
    if resume:
        own = (STATE, LOG) if _has_begun(folders.named(folder) / LOG) else (STATE,)
    return folders.claim(folder, own, overwrite=overwrite, reading=reading)


def _has_begun(path):
    """Whether a log is of a run of ours; it is empty for the moment before its first record."""
    if not path.is_file():
        return False
    records = read_log(path)
    return path.stat().st_size == 0 or (bool(records) and records[0]["event"] == "started")


class RunLog:
    """`log.jsonl`: one JSON object per line, appended and handed to the system at once, so that a kill loses no line.

    Opening it drops what lies after the step that is resumed (those updates will be made and written again) and a last
    line that a kill cut in half. Records of what happened to the run itself (saving, saved, resumed) are history and
    stay: a "saving" that no "saved" of the same step follows is a kill that fell into a write.

    keep : the step that is resumed; -1 for a new run
    """

    REPEATED = ("step", "epoch", "evaluation", "plan")  # records that a resumed run makes again

    def __init__(self, path, keep=-1):
        self.path = Path(path)
        kept = [
            record
            for record in read_log(path)
            if record["event"] not in self.REPEATED or record["step"] <= keep
        ]
        files.write_text(path, "".join(map(_line, kept)))

    def write(self, event, **fields):
        """Append one record; `fields` must be JSON.   raises DataError if the disk refuses"""
        with (
            files.refusing(self.path),
            open(self.path, "a", encoding="utf-8", newline="\n") as file,
        ):
            file.write(_line({"event": event, **fields}))


def _line(record):
    return files.as_json(record) + "\n"


def read_log(path):
    """Records of a `log.jsonl` as a list of dicts with "event" and "step"; empty if there is no file.

    A line that is not such a record (a kill cut it in half) is left out.
    """
    path, records = Path(path), []
    if not path.exists():
        return records
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            with contextlib.suppress(ValueError, RecursionError):
                record = json.loads(line)
                if (
                    isinstance(record, dict)
                    and isinstance(record.get("step"), int)
                    and "event" in record
                ):
                    records.append(record)
    return records
