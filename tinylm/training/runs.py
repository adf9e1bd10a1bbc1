"""The folder of a training run: may it be written, may it be continued, and its save and restore.

trainer.safetensors   the state; the only file that resuming reads
model.safetensors     the weights for everybody else
trainer.json          the facts of the state, for people; written last
log.jsonl             one line for each step, evaluation and save
"""

import contextlib
import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinylm import files, folders, hub
from tinylm.errors import CheckpointError, DataError

from . import checkpoint

# A resumed run may have other values of these, because no weight depends on them.
# The exceptions: asgd decides at evaluations when its average begins, and keep="best" what is kept.
FREE_TO_CHANGE = ("save_every", "eval_every")
HELD_OUT = "held-out text"  # the name under which its fingerprint is kept
# Settings that older runs lack, because they came later: the value that those runs had.
CAME_LATER = {"schedule_options": {}, "layer_decay": None, "keep": "last"}

Arrays = dict[str, Mapping[str, np.ndarray]]


# -- may this folder be used? -------------------------------------------------------------------


def claim_run(
    folder: str | Path | None,
    resume: bool = False,
    overwrite: bool = False,
    reading: Sequence[str | Path] = (),
) -> contextlib.AbstractContextManager:
    """`folders.claim` for a run; None, for a run that keeps nothing, claims nothing.

    resume : accept a folder that holds a run of ours, even one killed before its first checkpoint
    raises CheckpointError, DataError   as `folders.claim`

    >>> claim_run("runs/gpt", resume=True, overwrite=True)
    Traceback (most recent call last):
        ...
    tinylm.errors.CheckpointError: a run is either resumed or overwritten; leave out --resume or \
--overwrite
    """
    if folder is None:
        return contextlib.nullcontext()
    if resume and overwrite:
        raise CheckpointError(
            "a run is either resumed or overwritten; leave out --resume or --overwrite"
        )
    own = []
    if resume:
        own.append(checkpoint.STATE)
        if _has_begun(folders.named(folder) / checkpoint.LOG):
            own.append(checkpoint.LOG)
    return folders.claim(folder, own, overwrite=overwrite, reading=reading, resumable=True)


def _has_begun(path):
    """Whether a log belongs to a run of ours; it is empty for a moment before its first record."""
    if not os.path.isfile(path):
        return False
    records = checkpoint.read_log(path)
    if path.stat().st_size == 0:
        return True
    return bool(records) and records[0]["event"] == "started"


def identity(
    config: Any,
    objective: Any,
    encoding: Mapping | None,
    initial: str | None = None,
    held_out: Any = None,
) -> dict[str, dict]:
    """Everything that must be equal for a resumed run to be the same run, as JSON.

    config : TrainConfig     encoding : the options of the text's encoding, or None
    initial : fingerprint of the weights that the run goes on from, or None
    held_out : the Corpus that is evaluated, or None; it counts where it decides on the weights
    returns part -> name -> value, the parts being option, model, data and encoding
    """
    parts = {
        "option": dataclasses.asdict(config),
        "model": dataclasses.asdict(objective.config),
        "data": {"fingerprint": objective.fingerprint, "initial weights": initial},
        "encoding": encoding or {},
    }
    if _looks_decide(parts["option"]):
        parts["data"][HELD_OUT] = None if held_out is None else held_out.fingerprint
    return json.loads(json.dumps(parts))  # as it reads back from a file: lists for tuples


def _looks_decide(options):
    """Whether evaluations decide on the weights that a run ends with."""
    return options["optimizer"] == "asgd" or options["keep"] == "best"


def _must_be_same(folder, then, now):
    """raises CheckpointError naming the first setting that differs between two identities"""
    free = ("save_every",) if _looks_decide(now["option"]) else FREE_TO_CHANGE
    for part, values in now.items():
        saved = then.get(part, {})
        for name in {**saved, **values}:
            before = saved.get(name, CAME_LATER.get(name))
            asked = values.get(name)
            if name == HELD_OUT and name not in saved:
                continue  # a run that began before this was noted
            if name not in free and before != asked:
                raise CheckpointError(
                    f"the run in {folder} has {part} {name} = {before}, now it is {asked}; "
                    "resume with the same settings and data, or give another folder"
                )


# -- the arrays of a run ------------------------------------------------------------------------


def arrays_of(objective: Any, optimizer: Any) -> Arrays:
    """All arrays that a resumed run needs, by group: the arrays themselves, not copies.

    optimizer : None for an objective whose own kernel makes the updates
    """
    return {
        "model": objective.state_dict(),
        "optim": optimizer.state() if optimizer else {},
        "carry": objective.state(),
    }


def put_back(objective: Any, optimizer: Any, arrays: Arrays) -> None:
    """Set weights, moments and carried state from arrays as `arrays_of` returns them."""
    objective.load_state_dict(arrays["model"])
    if optimizer:
        optimizer.load_state(arrays["optim"])
    objective.load_state(arrays["carry"])


@contextlib.contextmanager
def undone(objective: Any, optimizer: Any):
    """Context for updates on trial: at its end all arrays of the run are as they were before."""
    before = {}
    for group, arrays in arrays_of(objective, optimizer).items():
        before[group] = {name: np.array(array) for name, array in arrays.items()}
    try:
        yield
    finally:
        put_back(objective, optimizer, before)


# -- the files of a run -------------------------------------------------------------------------


class RunFolder:
    """Saves and restores one run; with `path` None it keeps nothing and every write does nothing.

    path : the folder, claimed by the caller
    objective, tokenizer : exported beside the state
    origin : what the model's card says of it; set before the run begins
    """

    origin: hub.Origin = hub.NOTHING_SAID

    def __init__(self, path: str | Path | None, objective: Any, tokenizer: Any):
        self.path = None if path is None else folders.named(path)
        self.objective = objective
        self.tokenizer = tokenizer
        self._log = None

    def previous(self, identity: Mapping[str, dict]) -> checkpoint.TrainerState | None:
        """The saved state of the same run; None if the folder holds no state.

        raises CheckpointError  if the state is damaged, or is of a run with another identity
        """
        if self.path is None or not os.path.exists(self.path / checkpoint.STATE):
            return None
        state = checkpoint.load_state(self.path)
        _must_be_same(self.path, state.facts.get("identity", {}), identity)
        return state

    def clear(self) -> None:
        """Remove the files that a new run replaces, and begin its log."""
        if self.path is not None:
            files.remove(self.path, hub.OURS)
            self._log = checkpoint.RunLog(self.path / checkpoint.LOG)

    def reopen(self, step: int) -> None:
        """Continue the log of a run that is resumed after `step` updates."""
        self._log = checkpoint.RunLog(self.path / checkpoint.LOG, keep=step)

    def export_model(self) -> None:
        """Write the model and its tokenizer, before the first update."""
        if self.path is not None:
            hub.write(self.path, self.objective, self.tokenizer, self.origin)

    def log(self, event: str, **fields) -> None:
        """Append a record to the log."""
        if self._log:
            self._log.write(event, **fields)

    def save(self, facts: dict, optimizer: Any, best: Mapping[str, np.ndarray]) -> None:
        """Save a checkpoint: first the state that resuming reads, then its exports.

        facts : of the state, see `facts.CHECKS`     best : the best weights so far, if kept
        raises CheckpointError  if a number is not finite
        """
        if self.path is None:
            return
        step = facts["step"]
        arrays = arrays_of(self.objective, optimizer)
        state = checkpoint.TrainerState({**arrays, "best": best}, facts)
        self.log("saving", step=step)
        checkpoint.save_state(self.path, state)
        self.export(facts, optimizer)
        self.log("saved", step=step)

    def export(self, facts: dict, optimizer: Any) -> None:
        """Export a saved state, unless its summary, which is written last, is there already."""
        summary = self.path / checkpoint.SUMMARY
        with contextlib.suppress(DataError):  # a missing or damaged summary is written again
            if checkpoint.read_json(summary) == facts:
                return
        with averaged(optimizer):
            hub.save_weights(self.path, self.objective)
        files.write_json(summary, facts)


def averaged(optimizer: Any) -> contextlib.AbstractContextManager:
    """Context for evaluating and exporting: the weights hold their average, if there is one."""
    return optimizer.averaged() if optimizer else contextlib.nullcontext()
