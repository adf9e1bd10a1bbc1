"""Reading and writing the files of a model's or a run's folder: safetensors and JSON.

No pickle anywhere: reading a file cannot run code. Every file is written whole or not at all.
"""

import math
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from . import files
from .doors import json_value, parsing
from .errors import CheckpointError
from .finite import first_broken, must_be_finite

# The kinds of numbers that NumPy and safetensors share; of half precision is more said below.
KINDS = ("F64", "F32", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL")
LARGEST_HEADER = 2**24  # bytes; that of a large model has some ten thousand


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

    Numbers of half precision, float16 and bfloat16, become float32. The package checks the header
    against the size of the file before it allocates anything. So a damaged or hostile header cannot
    ask for more memory than the file justifies. NaN and the infinities are refused.

    raises CheckpointError  if the file is missing, truncated, damaged or of another format, or if
        a number is not finite or of a kind that NumPy lacks
    """
    from safetensors import safe_open

    path = _existing(path)
    arrays = {}
    with _parsing(path):
        begin, header = _header(path)
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            for name in file.keys():
                kind = header[name]["dtype"]
                if kind == "BF16":
                    arrays[name] = _from_bfloat16(path, begin, header[name])
                elif kind == "F16":
                    arrays[name] = file.get_tensor(name).astype(np.float32)
                elif kind in KINDS:
                    arrays[name] = file.get_tensor(name)
                else:
                    raise ValueError(f"{name} holds numbers of the kind {kind}")
    must_be_finite(path, arrays)
    return arrays, metadata


def load_npz(path: str | Path) -> dict[str, np.ndarray]:
    """The named arrays of an .npz file, as copies that may be written to.

    Only what `numpy.savez` writes: numbers with a point, not compressed, so that an array is no
    larger than its part of the file. Nothing in it is run.

    raises CheckpointError  if the file is missing, damaged, compressed or holds anything else, or
        if a number is not finite
    """
    path = _existing(path)
    arrays = {}
    with parsing(path, "a file of numpy.savez", CheckpointError):
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                arrays[member.filename.removesuffix(".npy")] = _stored_array(archive, member)
    must_be_finite(path, arrays)
    return arrays


def _stored_array(archive, member):
    """The array of one member of an .npz file.   raises ValueError for anything else"""
    if member.compress_type != zipfile.ZIP_STORED or member.file_size > member.compress_size:
        raise ValueError(f"{member.filename} is compressed")
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        readers = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}
        if version[0] not in readers:
            raise ValueError(f"{member.filename} has a header of version {version}")
        shape, is_fortran, dtype = readers[version[0]](file)
        content = file.read()
    if dtype.kind != "f":
        raise ValueError(f"{member.filename} holds {dtype}, not numbers with a point")
    if math.prod(shape) * dtype.itemsize != len(content):
        raise ValueError(f"{member.filename} holds {len(content)} bytes for the shape {shape}")
    flat = np.frombuffer(content, dtype)
    return flat.reshape(shape, order="F" if is_fortran else "C").astype(dtype.newbyteorder("="))


def data_bytes(path: str | Path) -> int:
    """The bytes of all numbers in a safetensors file: its size without the header.

    raises CheckpointError  if the file is missing or has no header
    """
    path = _existing(path)
    with _parsing(path):
        begin, _ = _header(path)
    return path.stat().st_size - begin


def _parsing(path):
    """Context in which every error becomes one about a damaged safetensors file."""
    advice = "copy it again from its source, or delete it and save anew"
    return parsing(path, "a safetensors file", CheckpointError, advice)


def _header(path):
    """Where the numbers begin, and name -> {"dtype", "shape", "data_offsets"}, as the file says.

    raises an error of any kind for a header that is absurdly long or damaged
    """
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(LARGEST_HEADER, path.stat().st_size - 8):
            raise ValueError(f"its header claims {length} bytes")
        return 8 + length, json_value(file.read(length).decode())


def _from_bfloat16(path, begin, facts):
    """A tensor of bfloat16, which is the upper half of a float32, as float32.

    begin : where in the file the numbers begin     facts : the tensor's, from the header
    The file is mapped, so that wrong offsets reach nothing outside it.
    """
    first, last = facts["data_offsets"]
    mapped = np.memmap(path, np.uint8, "r")
    halves = mapped[begin + first : begin + last].view("<u2")
    bits = halves.astype(np.uint32) << 16
    return bits.view(np.float32).reshape(facts["shape"])


def _existing(path):
    """`path` as a Path.   raises CheckpointError unless it is an existing file"""
    path = Path(path)
    advice = "give the folder of a model or of a run"
    if not os.path.isdir(path.parent):
        raise CheckpointError(f"the folder {path.parent} does not exist; {advice}")
    if not os.path.isfile(path):
        raise CheckpointError(f"{path.parent} holds no {path.name}; {advice}")
    return path
