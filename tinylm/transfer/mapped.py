"""Where a few test texts stand after fine-tuning, kept so that a report can draw a map of them.

OUT/maps.safetensors    objective/budget/seed -> the vectors that its tuned head reads
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tinylm.errors import CheckpointError
from tinylm.tensors import load_tensors, save_tensors

from .experiment import Cell

MAPS = "maps.safetensors"
MAPPED = 300  # texts on a map


def evenly(items: Sequence) -> list:
    """About 300 of the items, evenly spaced: a test set may be sorted by label.

    >>> len(evenly(range(1000))), evenly("abc")
    (334, ['a', 'b', 'c'])
    """
    every = max(1, len(items) // MAPPED)
    return list(items[::every])


def keep(out: str | Path, name: str, cell: Cell, rows: np.ndarray) -> None:
    """Keep the vectors (N,F) of the texts that `evenly` chooses, of one fine-tuned objective."""
    path = Path(out) / MAPS
    arrays = load_tensors(path)[0] if os.path.exists(path) else {}
    arrays[_key(name, cell)] = rows.astype(np.float32)
    save_tensors(path, arrays)


def kept(out: str | Path, name: str, cell: Cell) -> np.ndarray | None:
    """What `keep` kept, (N,F); None if it was never called for this objective and cell.

    raises CheckpointError  if the file is damaged
    """
    path = Path(out) / MAPS
    if not os.path.exists(path):
        return None
    rows = load_tensors(path)[0].get(_key(name, cell))
    if rows is not None and not (rows.ndim == 2 and np.isfinite(rows).all()):
        raise CheckpointError(f"{path} is damaged; delete it, and the maps have no second half.")
    return rows


def _key(name: str, cell: Cell) -> str:
    """The name of an array in the file."""
    budget, seed = cell
    return f"{name}/{budget}/{seed}"
