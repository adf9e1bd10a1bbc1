"""The vectors of fine-tuned models that a report draws: kept by objective and cell."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm.errors import TinylmError
from tinylm.transfer import compare, mapped
from tinylm.transfer.adapt import AdaptConfig


def test_what_is_kept_comes_back_for_its_objective_and_cell_alone(tmp_path):
    rows = np.arange(21, dtype=np.float64).reshape(7, 3)
    assert mapped.kept(tmp_path, "gpt", (2, 0)) is None
    mapped.keep(tmp_path, "gpt", (2, 0), rows)
    mapped.keep(tmp_path, "bert", (2, 0), 2 * rows)
    np.testing.assert_array_equal(mapped.kept(tmp_path, "gpt", (2, 0)), rows)
    np.testing.assert_array_equal(mapped.kept(tmp_path, "bert", (2, 0)), 2 * rows)
    assert mapped.kept(tmp_path, "gpt", (2, 1)) is None
    assert mapped.kept(tmp_path, "gpt", (10, 0)) is None


def test_a_damaged_file_is_one_sentence(tmp_path):
    (tmp_path / mapped.MAPS).write_bytes(b"no tensors")
    with pytest.raises(TinylmError, match="maps.safetensors"):
        mapped.kept(tmp_path, "gpt", (2, 0))


def test_a_comparison_stopped_at_its_map_makes_it_when_it_goes_on(tmp_path, monkeypatch):
    config = compare.CompareConfig(
        data="toy", objectives=("word2vec",), minutes=0.003, labels=(2,), seeds=1, test_size=23,
        out=tmp_path / "out", size="tiny", quiet=True, adapt=AdaptConfig(updates=3),
    )  # fmt: skip
    with monkeypatch.context() as patched:
        patched.setattr(mapped, "keep", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            compare.run(config)
    compare.run(config)
    assert mapped.kept(config.out, "word2vec", (2, 0)) is not None


@given(st.integers(1, 3000))
def test_the_chosen_texts_are_evenly_spaced_and_few(count):
    chosen = mapped.evenly(range(count))
    assert len(chosen) == count if count < 2 * mapped.MAPPED else len(chosen) < 2 * mapped.MAPPED
    assert chosen[0] == 0 and len({b - a for a, b in zip(chosen, chosen[1:], strict=False)}) <= 1
