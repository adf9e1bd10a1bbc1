"""Reading and writing the files of a model's or a run's folder: safetensors and JSON.

No pickle anywhere: reading a file cannot run code. Every file is written whole or not at all.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from . import files
from .errors import CheckpointError
from .finite import first_broken, must_be_finite

# The exceptions that safetensors raises for a damaged file, one or another by its kind of damage.
UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, OSError, MemoryError)


def read_json(path: str | Path) -> dict:
    """The object in a JSON file of a model's or a run's folder.

    raises CheckpointError  if the file or its folder is missing, or the value is no object
    raises DataError        if the file is not JSON, or absurdly large

    >>> read_json("no_such_folder/config.json")
    Traceback (most recent call last):
        ...
    tinylm.errors.CheckpointError: the folder no_such_folder does not exist; give the folder of a \
model or of a run
    """
    value = files.read_json(_existing(path))
    if not isinstance(value, dict):
        kind = type(value).__name__
        raise CheckpointError(f"{path} holds a JSON {kind}, expected an object with named fields")
    return value


def save_tensors(
    path: str | Path,
    arrays: Mapping[str, ArrayLike],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write named arrays of any shape as a safetensors file, atomically.

    arrays : name -> array      copied only where an array is not C-contiguous
    metadata : strings          transformers also wants "format": "pt", which is added
    raises CheckpointError  if a number is not finite, because `load_tensors` would refuse the file
    raises DataError        if the disk refuses
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


def load_tensors(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The named arrays of a safetensors file, as copies that may be written to, and its metadata.

    The package checks the header against the size of the file before it allocates anything. So a
    damaged or hostile header cannot ask for more memory than the file justifies. NaN, the
    infinities and numbers that NumPy lacks (bfloat16) are refused.

    raises CheckpointError  if the file is missing, truncated, damaged or of another format, or if
        a number is not finite
    """
    from safetensors import SafetensorError, safe_open

    path = _existing(path)
    try:
        with safe_open(path, framework="np") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}
            metadata = file.metadata() or {}
    except (SafetensorError, *UNREADABLE) as error:
        raise CheckpointError(
            f"{path} is damaged or not a safetensors file ({error}); copy it again from its "
            "source, or delete it and save anew"
        ) from error
    must_be_finite(path, arrays)
    return arrays, metadata


def _existing(path):
    """`path` as a Path.   raises CheckpointError unless it is an existing file"""
    path = Path(path)
    advice = "give the folder of a model or of a run"
    if not path.parent.is_dir():
        raise CheckpointError(f"the folder {path.parent} does not exist; {advice}")
    if not path.is_file():
        raise CheckpointError(f"{path.parent} holds no {path.name}; {advice}")
    return path
