"""Folders that are damaged on purpose, and what must then hold: one sentence, nothing written, little allocated."""

import tracemalloc

import pytest

from tinylm import files, hub
from tinylm.errors import TinylmError
from tinylm.hub.weights import INDEX, WEIGHTS
from tinylm.training import checkpoint


def weights_of(folder):
    """The published tensors of a folder."""
    return checkpoint.load_tensors(folder / WEIGHTS)[0]


def shard(folder, n=3, **metadata):
    """Cut the weights of a folder into n shards and an index; returns the index."""
    arrays = weights_of(folder)
    (folder / WEIGHTS).unlink()
    places = {}
    for i, name in enumerate(arrays):
        places[name] = f"model-{i % n + 1:05}-of-{n:05}.safetensors"
    for place in set(places.values()):
        inside = {name: arrays[name] for name in arrays if places[name] == place}
        checkpoint.save_tensors(folder / place, inside)
    total = sum(array.nbytes for array in arrays.values())
    index = {"metadata": {"total_size": total, **metadata}, "weight_map": places}
    files.write_json(folder / INDEX, index)
    return index


def contents(folder):
    """Every file below a folder, with its bytes."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(folder, sentence):
    """Loading fails with one sentence, changes no file and allocates little."""
    before = contents(folder.parent)
    tracemalloc.start()
    with pytest.raises(TinylmError, match=sentence) as caught:
        hub.load(folder)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    size = sum(map(len, before.values()))
    assert "\n" not in str(caught.value)
    assert contents(folder.parent) == before
    assert peak < 20 * size + 2**21
