"""Where a published folder keeps the tensors of a model, and whether all of them are there."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinylm.errors import CheckpointError
from tinylm.progress import note

SHOWN = 5  # tensors that an error names
# Heads of models that others adapted to a task; the model below them is whole without them.
TASK = re.compile(
    r"(classifier|pre_classifier|qa_outputs|score|sequence_summary|multiple_choice_head)\..*"
)


@dataclass(frozen=True)
class Stored:
    """Where a published folder keeps one of our tensors.

    ours : its name in our state_dict
    theirs : its published name; several are stacked along our first axis (query, key, value)
    shape : of each published tensor
    rows : the first axis of each published tensor, where they differ in it
    transposed : published [in, out], ours [out, in]
    tied : names under which files may repeat it; loading refuses a repetition that differs
    repeated : we write it under the tied names too, because others ask for all of them
    folded : published with its last axes apart, [C, H, D]; ours has them as one, [C, H·D]

    >>> stored = Stored("w", ("q", "k"), (2, 1), transposed=True)
    >>> stored.write(np.array([[1, 2], [3, 4]]))["k"]
    array([[3],
           [4]])
    >>> Stored("table", ("tokens", "positions"), (3, 7), rows=(3, 2)).shapes
    [(3, 7), (2, 7)]
    >>> heads = Stored("w", ("q",), (5, 2, 3), transposed=True, folded=True)
    >>> heads.read({"q": np.zeros((5, 2, 3))}).shape
    (6, 5)
    """

    ours: str
    theirs: tuple[str, ...]
    shape: tuple[int, ...]
    rows: tuple[int, ...] = ()
    transposed: bool = False
    tied: tuple[str, ...] = ()
    repeated: bool = False
    folded: bool = False

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """The shape of each published tensor."""
        if not self.rows:
            return [self.shape] * len(self.theirs)
        return [(n, *self.shape[1:]) for n in self.rows]

    def write(self, array: np.ndarray) -> dict[str, np.ndarray]:
        """Published name -> array, from our array of any shape."""
        axis = -1 if self.transposed else 0
        sizes = [shape[axis] for shape in self.shapes]
        parts = self._turned(np.split(array, np.cumsum(sizes)[:-1]))
        if self.folded:
            parts = [part.reshape(self.shape) for part in parts]
        found = dict(zip(self.theirs, parts, strict=True))
        if self.repeated:
            found |= {name: parts[0].copy() for name in self.tied}
        return found

    def read(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """Our array, from the published ones of any shape; all of them must be there."""
        parts = [arrays[name] for name in self.theirs]
        if self.folded:
            parts = [part.reshape(len(part), -1) for part in parts]
        turned = self._turned(parts)
        return np.concatenate(turned) if len(turned) > 1 else turned[0]

    def _turned(self, parts: Iterable[np.ndarray]) -> list[np.ndarray]:
        """The parts, transposed if published and ours are transposed."""
        if not self.transposed:
            return list(parts)
        return [np.ascontiguousarray(part.T) for part in parts]


def renamed(
    path: Path, arrays: Mapping[str, np.ndarray], canonical: Callable[[str], str]
) -> dict[str, np.ndarray]:
    """The arrays under the names of their layout.

    canonical : an older or shorter name -> the name in the layout
    raises CheckpointError  if two tensors mean the same one
    """
    found: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        known = canonical(name)
        if known in found:
            raise CheckpointError(f"{path} holds {known} twice, once as {name}; keep one of them")
        found[known] = array
    return found


def match(
    path: Path,
    arrays: Mapping[str, np.ndarray],
    layout: Iterable[Stored],
    ignored: re.Pattern,
    config: str = "config.json",
) -> dict[str, np.ndarray]:
    """Our state_dict, from the published tensors of a file.

    path : the file, for messages
    ignored : names of harmless buffers in older files
    config : the file that describes the model, for messages
    raises CheckpointError  naming the tensors that are missing, misshapen, no numbers with a point,
        or unexpected; or a repetition that differs
    """
    layout = list(layout)
    problems = [*_lacking(arrays, layout), *_wrong(arrays, layout)]
    known = set()
    for stored in layout:
        known.update(stored.theirs, stored.tied)
    others = [name for name in arrays if name not in known and not ignored.fullmatch(name)]
    heads = [name for name in others if TASK.fullmatch(name)]
    unexpected = [name for name in others if name not in heads]
    if unexpected:
        problems.append(f"it holds {_listed(unexpected)}, for which the model has no place")
    if problems:
        raise CheckpointError(
            f"{path} does not fit its {config}, the two files do not belong together: "
            + "; ".join(problems)
        )
    for stored in layout:
        _check_repetitions(path, arrays, stored)
    if heads:
        note(f"{path}: the head of a task is not read ({_listed(heads)})")
    return {stored.ours: stored.read(arrays) for stored in layout}


def _lacking(arrays, layout):
    """A list with the sentence about missing tensors, if there are any."""
    missing = []
    for stored in layout:
        missing += [name for name in stored.theirs if name not in arrays]
    return [f"it lacks {_listed(missing)}"] if missing else []


def _wrong(arrays, layout):
    """A list with the sentence about misshapen tensors and those of another kind, if any."""
    wrong = []
    for stored in layout:
        for name, shape in zip(stored.theirs, stored.shapes, strict=True):
            if name not in arrays:
                continue
            found = arrays[name]
            if found.shape != shape:
                wrong.append(f"{name} has the shape {found.shape}, not {shape}")
            elif found.dtype.kind != "f":
                wrong.append(f"{name} holds {found.dtype}, not floating-point numbers")
    return [_listed(wrong)] if wrong else []


def _check_repetitions(path, arrays, stored):
    """raises CheckpointError if a tied tensor differs from the one that it repeats"""
    for name in stored.tied:
        if name in arrays and not np.array_equal(arrays[name], arrays[stored.theirs[0]]):
            raise CheckpointError(
                f"{path}: {name} differs from {stored.theirs[0]}, "
                "which this model shares with it; a model with its own head cannot be loaded"
            )


def _listed(items: list[str]) -> str:
    """The first few items, and how many more there are.

    >>> _listed(list("abcdefg"))
    'a, b, c, d, e and 2 more'
    """
    shown = ", ".join(items[:SHOWN])
    more = len(items) - SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
