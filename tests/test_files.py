"""A file is old or new, never half; what cannot be written or read is one sentence."""

import json
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tinylm import files
from tinylm.errors import DataError
from tinylm.training import checkpoint


def names(folder):
    """What a folder holds."""
    return sorted(entry.name for entry in folder.iterdir())


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "new" / "config.json"
    files.write_json(path, {"a": 1})
    with pytest.raises(RuntimeError), files.replacing(path) as part:
        part.write_text("half")
        raise RuntimeError("killed")
    assert files.read_json(path) == {"a": 1} and names(path.parent) == ["config.json"]


def test_a_disk_that_refuses_is_one_sentence_and_the_old_file_stays(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    files.write_text(path, "first")

    def broken(*_):
        raise OSError("no space")

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(DataError, match="a.txt cannot be written: no space; free space"):
        files.write_text(path, "second")
    assert files.read_text(path) == "first" and names(tmp_path) == ["a.txt"]
    with pytest.raises(DataError, match="cannot be written"):
        files.write_text(path / "inside" / "a file", "third")


def test_two_writers_of_one_file_do_not_disturb_each_other(tmp_path):
    path = tmp_path / "a.txt"
    with files.replacing(path) as one, files.replacing(path) as two:
        one.write_text("one")
        two.write_text("two")
    assert files.read_text(path) in ("one", "two") and names(tmp_path) == ["a.txt"]


def test_a_file_reaches_the_disk_before_its_name_does(tmp_path, monkeypatch, waiting_disk):
    path = tmp_path / "a.txt"
    files.write_text(path, "first")
    done = []

    def recorded(name, function):
        def call(*arguments):
            done.append((name, path.read_text()))
            return function(*arguments)

        return call

    monkeypatch.setattr(os, "fsync", recorded("flush", os.fsync))
    monkeypatch.setattr(os, "replace", recorded("rename", os.replace))
    files.write_text(path, "second")
    assert done == [("flush", "first"), ("rename", "first"), ("flush", "second")]


def test_a_new_file_has_ordinary_permissions(tmp_path, monkeypatch):
    monkeypatch.setattr(
        os, "umask", None
    )  # it belongs to the whole process, other threads write files too
    files.write_text(tmp_path / "ours", "")
    (tmp_path / "ordinary").touch()
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


def test_sweeping_removes_half_written_files_and_nothing_else(tmp_path):
    with files.stage(tmp_path) as hidden:
        killed = tmp_path / hidden.name
    killed.mkdir()
    (killed / "config.json").write_text("half of a fi")
    (killed / ".tmpAbCdEf").write_text("what safetensors was writing")
    (tmp_path / ".film.mkv.part").write_text("somebody else's")
    files.write_json(tmp_path / "config.json", {})
    files.sweep(tmp_path)
    assert names(tmp_path) == [".film.mkv.part", "config.json"]


def test_a_byte_order_mark_is_dropped_and_line_ends_become_newlines(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfa\r\nb")
    assert files.read_text(tmp_path / "a.txt") == "a\nb"


ANY_STRING = st.text(st.characters(exclude_categories=()), max_size=9)
ANY_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), ANY_STRING),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(ANY_STRING, inner)),
    max_leaves=9,
)


@given(ANY_JSON, st.sampled_from([None, 1, 2]))
@example({"\ud83d": ["\udc80", "\u2028\x85\u2029", "\ufeff", "\0", "", "é"]}, None)
@example("\ud83d\ude00", None)
def test_json_of_any_strings_is_utf_8_and_reads_back_or_is_refused(value, indent):
    halves = files.HALVES.search(json.dumps(value, ensure_ascii=False))
    if halves:
        with pytest.raises(DataError, match="in two halves"):
            files.as_json(value, indent)
        return
    text = files.as_json(value, indent)
    assert json.loads(text.encode().decode()) == value
    assert indent or len(text.splitlines()) == 1


def test_json_is_written_as_it_is_read(tmp_path):
    value = {"\ud83d": "é\udfff\r\n\ufeff東京"}
    files.write_json(tmp_path / "a.json", value)
    assert files.read_json(tmp_path / "a.json") == value
    assert "東京" in (tmp_path / "a.json").read_text(encoding="utf-8")
    with pytest.raises(DataError, match="lone surrogate"):
        files.write_text(tmp_path / "b.txt", "a\ud83d")
    assert names(tmp_path) == ["a.json"]


def test_json_that_would_not_be_read_again_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LARGEST_JSON", 100)
    with pytest.raises(DataError, match="larger than 100 bytes"):
        files.write_json(tmp_path / "a.json", "é" * 60)
    assert names(tmp_path) == []


@given(ANY_STRING)
def test_the_log_gives_any_string_back(text):
    if files.HALVES.search(text):
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.jsonl"
        checkpoint.RunLog(path).write("note", step=1, text=text)
        checkpoint.RunLog(path, keep=1)
        assert checkpoint.read_log(path) == [{"event": "note", "step": 1, "text": text}]


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 100_000, b'{"a": \x00}', b"\xff\xfe{}"])
def test_what_is_not_json_is_one_sentence(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DataError, match="a.json") as caught:
        files.read_json(tmp_path / "a.json")
    assert "\n" not in str(caught.value)


def test_json_of_absurd_size_is_refused_before_it_is_read(tmp_path):
    with open(tmp_path / "config.json", "wb") as file:
        file.truncate(2**40)  # a sparse terabyte
    with pytest.raises(DataError, match="at most"):
        files.read_json(tmp_path / "config.json")


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(DataError, match="no file .*nowhere"):
        files.read_text(tmp_path / "nowhere")
    with pytest.raises(DataError, match="cannot be read"):
        files.read_text(tmp_path)
