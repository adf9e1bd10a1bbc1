"""What every adapted encoder shares: its folder, and the choice of a learning rate.

A folder holds the encoder as `hub.save` writes it, `classifier.safetensors` with the arrays of the
head, and `classifier.json` with the task, its labels and its settings.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from tinylm import files, folders, hub
from tinylm.doors import parsing
from tinylm.errors import CheckpointError, TinylmError
from tinylm.objectives import Objective
from tinylm.training.checkpoint import HEAD, LABELS, load_tensors, read_json, save_tensors

FIRST_TASK = "classify"  # of folders that do not name one

Split = tuple[np.ndarray, np.ndarray]  # numbers of training examples, and of held-out ones


class Adapted:
    """An encoder and a head that `fit` has adapted to a task; a subclass knows how.

    task : the name of the task, in commands and in classifier.json
    alone : whether a head can do without an encoder
    A subclass sets `encoder_` and `head_` in `fit`, and defines `_arrays`, `_facts`, `_assembled`.

    >>> Adapted().save("runs/nothing")
    Traceback (most recent call last):
        ...
    tinylm.errors.TinylmError: Adapted: not fitted yet; call fit or Adapted.load(path) first.
    """

    task: ClassVar[str] = ""
    alone: ClassVar[bool] = False
    tokenizer: Any = None
    encoder_: Objective | None = None
    head_: Any = None  # until fit

    @contextlib.contextmanager
    def fitting(self) -> Iterator[None]:
        """Within this context `fit` learns; what stops it halfway leaves no half-fitted model."""
        self.head_ = None
        try:
            yield
        except BaseException:
            self.head_ = None
            raise

    def check_fitted(self) -> None:
        """raises TinylmError before `fit`"""
        if self.head_ is None:
            name = type(self).__name__
            raise TinylmError(f"{name}: not fitted yet; call fit or {name}.load(path) first.")

    def _arrays(self) -> dict[str, np.ndarray]:
        """The head's arrays by name."""
        return {}

    def _facts(self) -> dict[str, Any]:
        """Labels and settings, as JSON."""
        return {}

    @classmethod
    def _assembled(cls, encoder: Any, tokenizer: Any, facts: dict, arrays: dict) -> Self:
        """The parts of a folder put together.   raises any error if they do not fit"""
        raise TinylmError(f"{cls.__name__} cannot be loaded")

    def save(
        self,
        path: str | Path,
        overwrite: bool = False,
        origin: hub.Origin = hub.NOTHING_SAID,
    ) -> None:
        """Write a folder: the adapted encoder as `hub.save` does, the head, the labels.

        overwrite : replace a model, run or adapted encoder that the folder holds
        origin : text, command and licence, for the model's card
        A save that fails or is killed leaves the old content, the new one, or a folder that `load`
        refuses.
        raises TinylmError      before `fit`
        raises CheckpointError  if the folder holds anything and overwrite is False
        raises DataError        if the disk refuses
        """
        self.check_fitted()
        with folders.claim(path, overwrite=overwrite) as folder:
            with files.together(folder, hub.HEADS, hub.OURS) as hidden:
                self._write(hidden, origin)

    def _write(self, folder: Path, origin: hub.Origin) -> None:
        """Write all files into an empty folder."""
        if self.encoder_ is not None:
            hub.write(folder, self.encoder_, self.tokenizer, origin)
        save_tensors(folder / HEAD, self._arrays())
        facts = {"task": self.task, "encoder": self.encoder_ is not None, **self._facts()}
        files.write_json(folder / LABELS, facts)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """What `save` or `tinylm finetune` wrote, fitted.

        raises CheckpointError if a file is missing or damaged, the parts do not fit together, or
            the folder is another task's
        """
        path = Path(path)
        facts = read_json(path / LABELS)
        task = facts.get("task", FIRST_TASK)
        if task != cls.task:
            raise CheckpointError(
                f"{path} was adapted to the task {task!r}, but {cls.__name__} is for "
                f"{cls.task!r}; load it with the class of its task."
            )
        arrays, _ = load_tensors(path / HEAD)
        encoder = tokenizer = None
        if facts.get("encoder", True) or not cls.alone:
            encoder, tokenizer = hub.load(path)
        kind = cls.__name__.lower()
        name = f"{path / LABELS} or {HEAD}"
        advice = f"train the {kind} anew"
        with parsing(name, f"that of a {kind}", CheckpointError, advice, also_ours=True):
            return cls._assembled(encoder, tokenizer, facts, arrays)


def task_of(path: str | Path) -> str:
    """The task that the encoder in a folder was adapted to.

    raises CheckpointError  if the folder holds no adapted encoder
    """
    return str(read_json(Path(path) / LABELS).get("task", FIRST_TASK))


def best_rate(
    rates: Sequence[float], splits: Sequence[Split], score: Callable[[Split, float], float]
) -> float:
    """The rate with the best held-out score, summed over the splits; the smaller one at a tie.

    score : (split, rate) -> how good training with that rate is
    Where nothing can be held out, the middle rate is taken.

    >>> best_rate((0.3, 0.1, 0.2), [], lambda split, rate: 0.0)
    0.2
    """
    rates = sorted(rates)
    if len(rates) == 1 or not splits:
        return rates[len(rates) // 2]
    totals = np.zeros(len(rates))
    for split in splits:
        for i, rate in enumerate(rates):
            totals[i] += score(split, rate)
    return rates[int(np.argmax(totals))]
