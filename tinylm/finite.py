"""NaN and the infinities: found in arrays before they do harm.

A sum passes them on, so one fast pass over an array tells that all is well; only where the sum is not finite, which large
numbers can bring about too, each number is looked at.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from .errors import CheckpointError

CHUNK = (
    2**20
)  # numbers that are added up at once: what is mapped from the disk is never in memory whole


def is_finite(array: ArrayLike) -> bool:
    """Whether an array of any shape and dtype holds neither NaN nor an infinity; whole numbers never do."""
    array = np.asarray(array)
    if array.dtype.kind not in "fc":
        return True
    flat = array.ravel(order="K")
    for begin in range(0, flat.size, CHUNK):
        part = flat[begin : begin + CHUNK]
        with np.errstate(over="ignore", invalid="ignore"):
            total = part.sum()
        if not np.isfinite(total) and not np.isfinite(part).all():
            return False
    return True


def first_broken(arrays: Mapping[str, ArrayLike]) -> str | None:
    """The name of the first array that holds NaN or an infinity; None if all are finite."""
    return next((name for name, array in arrays.items() if not is_finite(array)), None)


def must_be_finite(path: str | Path, arrays: Mapping[str, ArrayLike]) -> None:
    """Refuse a file of which an array holds NaN or an infinity.

    path, arrays : the file, and name -> array of any shape, as read from it
    raises CheckpointError  naming the file and the array
    """
    if name := first_broken(arrays):
        raise CheckpointError(
            f"{path}: {name} holds NaN or infinity, so nothing can be computed with it; "
            "copy the file again from its source, or train anew with a smaller learning rate"
        )
