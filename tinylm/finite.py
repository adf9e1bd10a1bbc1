"""Find NaN and the infinities in arrays before they do harm.

A sum passes them on, so one fast pass over an array usually proves that all numbers are finite. If
the sum is not finite, which large numbers can also cause, each number is looked at.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from .errors import CheckpointError

# Numbers added up at once, so that an array mapped from the disk is never in memory as a whole.
CHUNK = 2**20


def is_finite(array: ArrayLike) -> bool:
    """Whether an array of any shape and dtype holds neither NaN nor an infinity.

    >>> is_finite([1.0, 2.0]), is_finite([1.0, np.nan]), is_finite(["a", "b"])
    (True, False, True)
    """
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
    """The name of the first array that holds NaN or an infinity; None if all are finite.

    >>> first_broken({"weight": [1.0, 2.0], "bias": [np.inf]})
    'bias'
    """
    for name, array in arrays.items():
        if not is_finite(array):
            return name
    return None


def must_be_finite(path: str | Path, arrays: Mapping[str, ArrayLike]) -> None:
    """Refuse a file that holds NaN or an infinity.

    arrays : name -> array of any shape, as read from the file
    raises CheckpointError  naming the file and the array
    """
    if name := first_broken(arrays):
        raise CheckpointError(
            f"{path}: {name} holds NaN or infinity, so nothing can be computed with it; "
            "copy the file again from its source, or train anew with a smaller learning rate"
        )
