"""The weights of a published folder: one safetensors file, or several shards and their index.

model.safetensors                       all tensors, or
model.safetensors.index.json            {"weight_map": {tensor: file}, "metadata": {...}}
model-00001-of-00002.safetensors …      the shards
"""

import os
import re
from pathlib import Path

import numpy as np

from tinylm.errors import CheckpointError
from tinylm.tensors import data_bytes, load_tensors, read_json

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")
SHARD = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*\.safetensors")  # no path, no hidden file


def read(folder: Path) -> tuple[Path, dict[str, np.ndarray]]:
    """The file that the weights stand in, or their index, and its tensors by name.

    raises CheckpointError  if the folder holds none, only pickled ones, or damaged ones
    """
    path = folder / WEIGHTS
    if os.path.exists(path):
        return path, load_tensors(path)[0]
    if os.path.exists(folder / INDEX):
        return folder / INDEX, _read_shards(folder / INDEX)
    for name in PICKLED:
        if os.path.exists(folder / name):
            raise CheckpointError(
                f"{folder} holds its weights only in {name}, a format that can run code when it is "
                "read; convert it with transformers: "
                "model.save_pretrained(folder, safe_serialization=True)"
            )
    return path, load_tensors(path)[0]  # says what is missing


def _read_shards(index: Path) -> dict[str, np.ndarray]:
    """The tensors of all shards.

    raises CheckpointError  if the index names a file outside its folder, or it and the shards
        disagree about the tensors or their bytes
    """
    places, total = _read_index(index)
    arrays: dict[str, np.ndarray] = {}
    found = 0
    for name in dict.fromkeys(places.values()):
        shard = index.parent / name
        found += data_bytes(shard)
        inside, _ = load_tensors(shard)
        listed = {tensor for tensor, place in places.items() if place == name}
        if different := sorted(listed ^ inside.keys()):
            problem = "lacks" if different[0] in listed else "holds unlisted"
            raise CheckpointError(
                f"{shard} {problem} {different[0]}, its index says otherwise; "
                "copy all files again from their source"
            )
        arrays |= inside
    if total not in (None, found):
        raise CheckpointError(
            f"{index} announces {total} bytes, its shards hold {found}; "
            "copy all files again from their source"
        )
    return arrays


def _read_index(path: Path) -> tuple[dict[str, str], int | None]:
    """Tensor -> name of its shard, and the bytes of all; raises CheckpointError."""
    index = read_json(path)
    places = index.get("weight_map")
    metadata = index.get("metadata", {})
    if not isinstance(places, dict) or not places or not isinstance(metadata, dict):
        raise CheckpointError(
            f"{path} is damaged: it must map tensors to the files that hold them, in weight_map"
        )
    for tensor, name in places.items():
        if not isinstance(name, str) or not SHARD.fullmatch(name):
            raise CheckpointError(
                f"{path} places {tensor!a:.80} in {name!r:.80}; "
                "expected the name of a .safetensors file in the same folder"
            )
    return places, metadata.get("total_size")
