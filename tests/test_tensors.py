"""Laws of reading arrays from files: what was written comes back, anything else is refused in a sentence."""

import numpy as np
import pytest

from tinylm.errors import CheckpointError
from tinylm.tensors import load_npz


def test_an_npz_file_that_savez_did_not_write_is_refused(tmp_path):
    path = tmp_path / "weights.npz"
    good = {
        "a/b": np.arange(6.0).reshape(2, 3),
        "c": np.asfortranarray(np.ones((2, 3), np.float32)),
    }
    np.savez(path, **good)
    read = load_npz(path)
    assert all(np.array_equal(read[name], array) for name, array in good.items())
    assert all(read[name].dtype == array.dtype for name, array in good.items())
    np.savez_compressed(path, **good)
    with pytest.raises(CheckpointError, match="compressed"):
        load_npz(path)
    np.savez(path, ids=np.arange(3))
    with pytest.raises(CheckpointError, match="not numbers with a point"):
        load_npz(path)
    np.savez(path, names=np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(CheckpointError):
        load_npz(path)
    np.savez(path, a=np.array([np.nan]))
    with pytest.raises(CheckpointError, match="a"):
        load_npz(path)
    np.savez(path, **good)
    whole = path.read_bytes()
    for end in (0, 30, len(whole) // 2, len(whole) - 9):
        path.write_bytes(whole[:end])
        with pytest.raises(CheckpointError, match="damaged"):
            load_npz(path)
    path.write_bytes(whole.replace(b"(2, 3)", b"(9, 3)"))
    with pytest.raises(CheckpointError, match="damaged"):
        load_npz(path)
