"""A damaged or hostile checkpoint is a sentence, never an allocation or an execution."""

import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm.errors import CheckpointError, DataError
from tinylm.training import checkpoint


def header(fields, data=b""):
    """A safetensors file made by hand: length, JSON header, data."""
    text = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    return struct.pack("<Q", len(text)) + text + data


ONE = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
HOSTILE = {
    "empty": b"",
    "shorter than its length field": b"\x00\x01",
    "header longer than the file": struct.pack("<Q", 2**40) + b"{}",
    "header length of 2^64 - 1": b"\xff" * 64,
    "deeply nested header": header(b"[" * 50_000),
    "not JSON": header(b"\x80\x04K\x01."),
    "a terabyte from four bytes": header(
        {"x": ONE | {"shape": [2**38], "data_offsets": [0, 2**40]}}, b"1234"
    ),
    "a shape that overflows": header({"x": ONE | {"shape": [2**32, 2**32, 2**32]}}, b"1234"),
    "an empty array of astronomic shape": header(
        {"x": ONE | {"shape": [0, 2**62], "data_offsets": [0, 0]}}
    ),
    "negative size": header({"x": ONE | {"shape": [-1]}}, b"1234"),
    "too many axes": header({"x": ONE | {"shape": [1] * 99}}, b"1234"),
    "overlapping tensors": header({"x": ONE, "y": ONE}, b"1234"),
    "bytes that no tensor covers": header({"x": ONE}, b"12345678"),
    "unknown kind of number": header({"x": ONE | {"dtype": "PICKLE"}}, b"1234"),
    "a kind of number that NumPy lacks": header(
        {"x": ONE | {"dtype": "F8_E4M3", "shape": [4]}}, b"1234"
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_weight_file_is_one_clear_sentence(tmp_path, name):
    path = tmp_path / "model.safetensors"
    path.write_bytes(HOSTILE[name])
    with pytest.raises(
        CheckpointError, match="model.safetensors is damaged or not a safetensors file"
    ) as caught:
        checkpoint.load_tensors(path)
    assert "\n" not in str(caught.value)


def test_every_truncation_of_a_weight_file_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    checkpoint.save_tensors(path, {"x": np.arange(7, dtype=np.float32), "y": np.ones((3, 5))})
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError):
            checkpoint.load_tensors(path)


def test_tensors_come_back_as_they_were(tmp_path):
    rng = np.random.default_rng(3)
    arrays = {
        "matrix": rng.normal(size=(5, 7)).astype(np.float32),
        "transposed": rng.normal(size=(3, 11)).T,
        "scalar": np.array(2.5),
        "none": np.zeros((0, 3)),
        "ids": np.arange(13),
    }
    checkpoint.save_tensors(tmp_path / "a.safetensors", arrays, {"note": "x"})
    back, metadata = checkpoint.load_tensors(tmp_path / "a.safetensors")
    assert metadata == {"format": "pt", "note": "x"}
    (tmp_path / "ordinary").touch()
    assert (tmp_path / "a.safetensors").stat().st_mode == (tmp_path / "ordinary").stat().st_mode
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype and back[name].shape == array.shape
        np.testing.assert_array_equal(back[name], array)
        assert back[name].flags.writeable


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "[" * 100_000, '{"a": \x00}'])
def test_json_that_is_not_an_object_is_one_clear_sentence(tmp_path, text):
    (tmp_path / "config.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match="config.json"):
        checkpoint.read_json(tmp_path / "config.json")


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(CheckpointError, match="folder .*nowhere does not exist"):
        checkpoint.read_json(tmp_path / "nowhere" / "config.json")
    with pytest.raises(CheckpointError, match="holds no model.safetensors"):
        checkpoint.load_tensors(tmp_path / "model.safetensors")


def test_a_trainer_state_round_trips_and_a_foreign_file_is_refused(tmp_path):
    groups = {"model": {"a.b": np.arange(3.0)}, "optim": {"m": np.ones(2)}, "carry": {}, "best": {}}
    state = checkpoint.TrainerState(
        groups,
        {"step": 7, "steps": 11, "seconds": 0.1, "tokens": 13, "recent": [0.5], "budget": {}},
    )
    checkpoint.save_state(tmp_path, state)
    back = checkpoint.load_state(tmp_path)
    assert back.facts == state.facts and back.arrays.keys() == groups.keys()
    np.testing.assert_array_equal(back.arrays["model"]["a.b"], np.arange(3.0))
    checkpoint.save_tensors(tmp_path / checkpoint.STATE, {"model.x": np.ones(1)})
    with pytest.raises(CheckpointError, match="not written by tinylm's trainer"):
        checkpoint.load_state(tmp_path)
    for name in state.facts:
        for facts in (
            {k: v for k, v in state.facts.items() if k != name},
            state.facts | {name: "7"},
        ):
            checkpoint.save_state(tmp_path, checkpoint.TrainerState(state.arrays, facts))
            with pytest.raises(CheckpointError, match=name):
                checkpoint.load_state(tmp_path)


FACTS = {
    "step": 7,
    "steps": 11,
    "seconds": 0.5,
    "tokens": 13,
    "recent": [0.5, 0.25],
    "epoch": [1.5, 3],
    "budget": {"plan": [[0, 11]]},
    "first": 2.5,
    "identity": {"option": {"steps": 11}, "data": {}},
    "result": None,
}
FINISHED = FACTS | {
    "step": 11,
    "result": {"steps": 11, "seconds": 0.5, "tokens": 13, "loss": 1.0, "held_out": None},
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


def written(folder, facts):
    """A state file with these facts, NaN allowed; returns what `load_state` says."""
    metadata = {"trainer": json.dumps(facts)}
    checkpoint.save_tensors(folder / checkpoint.STATE, {"model.x": np.ones(1)}, metadata)
    return checkpoint.load_state(folder)


@pytest.mark.parametrize(
    "wrong",
    [
        {"step": -1},
        {"step": 10**9},
        {"step": 12},
        {"step": 7.5},
        {"step": True},
        {"step": 11},  # all updates made, yet no result
        {"steps": 10**9},
        {"steps": 10**9, "step": 10**9},
        {"steps": 0, "step": 0, "recent": []},
        {"seconds": float("nan")},
        {"seconds": float("inf")},
        {"seconds": -0.5},
        {"seconds": 10**400},
        {"tokens": -1},
        {"tokens": 0.5},
        {"recent": []},
        {"recent": [0.5, float("nan")]},
        {"recent": [0.5, "0.5"]},
        {"recent": [0.5] * 8},
        {"epoch": [0.5]},
        {"epoch": [float("inf"), 3]},
        {"identity": []},
        {"identity": {"option": 3}},
        {"result": {"loss": 1.0}},
    ],
    ids=str,
)
def test_facts_that_no_run_can_have_are_refused(tmp_path, wrong):
    with pytest.raises(CheckpointError, match="cannot be|no number|too large") as caught:
        written(tmp_path, FACTS | wrong)
    assert "\n" not in str(caught.value)


@given(facts=st.sampled_from([FACTS, FINISHED]), name=st.sampled_from(list(FACTS)), value=JSON)
def test_any_fact_replaced_by_anything_is_refused_or_possible(tmp_path_factory, facts, name, value):
    folder = tmp_path_factory.mktemp("run")
    assert written(folder, facts).facts == facts
    try:
        found = written(folder, facts | {name: value}).facts
    except CheckpointError as error:
        assert name in str(error) or "step" in str(error) or "number" in str(error)
        return
    assert 0 <= found["step"] <= found["steps"] == 11
    assert 0 <= found["seconds"] < float("inf") and found["tokens"] >= 0
    assert all(
        -float("inf") < loss < float("inf") for loss in found["recent"]
    )  # integers of any size
    assert len(found["recent"]) <= found["step"]


@given(value=JSON)
def test_facts_that_are_anything_are_refused(tmp_path_factory, value):
    with pytest.raises(CheckpointError, match="not written by tinylm's trainer"):
        written(tmp_path_factory.mktemp("run"), value)


def test_a_log_that_the_disk_refuses_is_one_sentence(tmp_path):
    log = checkpoint.RunLog(tmp_path / checkpoint.LOG)
    log.path = tmp_path  # a folder stands in its place
    with pytest.raises(DataError, match="cannot be written"):
        log.write("step", step=1)


@pytest.mark.parametrize(
    "record",
    [
        {"event": "step", "step": 1, "loss": 3.5},
        {"event": "step", "step": 1, "loss": None, "seconds": 0.5},
        {"event": "step", "step": 1, "loss": [3.5], "seconds": 0.5},
        {"event": "step", "step": 1, "loss": 3.5, "seconds": "0.5"},
        {"event": "step", "step": 1, "loss": 3.5, "seconds": 10**400},
        {"event": "step", "step": True, "loss": 3.5, "seconds": 0.5},
        {"event": ["step"], "step": 1},
        {"step": 1},
        [],
    ],
)
def test_a_line_that_is_no_record_of_a_run_is_left_out(tmp_path, record):
    whole = {"event": "step", "step": 2, "loss": 3.25, "seconds": 60.0}
    lines = [json.dumps(each) + "\n" for each in (record, whole)]
    (tmp_path / checkpoint.LOG).write_text("".join(lines), encoding="utf-8")
    assert checkpoint.read_log(tmp_path / checkpoint.LOG) == [whole]
