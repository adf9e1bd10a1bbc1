"""Folders that tinylm writes into: never over what somebody keeps there, by one process at a time."""

import errno
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm import files, folders, hub, text
from tinylm.app.cli import main
from tinylm.errors import CheckpointError, DataError, TinylmError
from tinylm.objectives.word2vec import Word2Vec, Word2VecConfig
from tinylm.training import checkpoint
from tinylm.training.pretrain import PretrainConfig, pretrain
from tinylm.transfer import Classifier, compare
from tinylm.vectors import read_vectors, write_vectors

WORDS = text.Words.train(["the sea and the rocks and the wind"] * 3)
TEXTS = ["the sea and the wind", "the rocks and the rocks"] * 3
FOREIGN = [
    "vocab.txt",
    "merges.txt",
    "notes.txt",
    "results.jsonl",
    "log.jsonl",
    "model.bin",
    ".git",
]
NAMES = st.sets(st.sampled_from([*hub.OURS, *folders.MARKS, *FOREIGN]), min_size=1)


def model():
    """A small model, the same every time."""
    return Word2Vec(Word2VecConfig(vocab_size=WORDS.vocab_size, size=3))


def classifier():
    """A fitted classifier of two classes."""
    return Classifier(model(), WORDS).fit(TEXTS, ["sea", "land"] * 3)


def quick(out, **options):
    """A pretraining run of two steps."""
    given = PretrainConfig("word2vec", "toy", out, options={"size": 3, "steps": 2, **options})
    return given, [" ".join(TEXTS), "the wind and the sea " * 9]


def pretrained(out, overwrite=False, resume=False):
    """`quick`, run."""
    config, texts = quick(out)
    return pretrain(config, texts, resume=resume, quiet=True, overwrite=overwrite)


def compared(out, overwrite=False):
    """A comparison has no option to overwrite."""
    with compare.claim(compare.CompareConfig(out=out)):
        raise AssertionError("a comparison never starts over something")


def converted(out, overwrite=False):
    """A folder of word vectors."""
    write_vectors(out, ["sea"], np.ones((1, 2)), form="folder", overwrite=overwrite)


WRITERS = {
    "hub.save": lambda out, overwrite=False: hub.save(out, model(), WORDS, overwrite),
    "Classifier.save": lambda out, overwrite=False: classifier().save(out, overwrite),
    "pretrain": pretrained,
    "write_vectors": converted,
    "compare": compared,
}


def fill(folder, names):
    """Files of these names, each holding its name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text(name, encoding="utf-8")


def held(folder):
    """Name -> bytes of what a folder holds."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# ---- what a folder holds


@given(names=NAMES)
def test_a_folder_that_holds_anything_is_refused_and_stays_as_it_was(tmp_path_factory, names):
    folder = tmp_path_factory.mktemp("folder")
    fill(folder, names)
    before = held(folder)
    with pytest.raises(CheckpointError, match="already holds") as caught, folders.claim(folder):
        raise AssertionError("claimed")
    assert held(folder) == before and "\n" not in str(caught.value)


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("name", ["vocab.txt", "config.json", "trainer.safetensors", "notes"])
def test_no_writer_writes_into_a_used_folder(tmp_path, writer, name):
    fill(tmp_path, [name])
    with pytest.raises(CheckpointError, match="already holds"):
        WRITERS[writer](tmp_path)
    assert held(tmp_path) == {name: name.encode()}


@pytest.mark.parametrize("writer", ["hub.save", "Classifier.save", "pretrain"])
def test_overwriting_removes_what_we_write_and_nothing_else(tmp_path, writer):
    foreign = {"notes.txt", "model.bin", "photo.jpg"}
    fill(tmp_path, {*hub.OURS, *foreign})
    WRITERS[writer](tmp_path, overwrite=True)
    fill(tmp_path / "fresh", [])
    WRITERS[writer](tmp_path / "fresh")
    new = held(tmp_path / "fresh")
    assert set(new) <= set(hub.OURS)
    assert {path.name for path in tmp_path.iterdir()} == {*new, *foreign, "fresh"}
    assert all((tmp_path / name).read_text() == name for name in foreign)


def test_every_kind_of_folder_replaces_its_own_kind_only(tmp_path):
    fill(tmp_path / "comparison", [compare.SETTINGS])
    fill(tmp_path / "vectors", ["vectors.npy"])
    for writer in ("hub.save", "Classifier.save", "pretrain"):
        for kind in ("comparison", "vectors"):
            with pytest.raises(CheckpointError, match=f"{kind}; give another folder$"):
                WRITERS[writer](tmp_path / kind, overwrite=True)
    fill(tmp_path / "model", [hub.CONFIG])
    with pytest.raises(CheckpointError, match="holds a model; give another folder$"):
        converted(tmp_path / "model", overwrite=True)
    converted(tmp_path / "vectors", overwrite=True)
    assert read_vectors(tmp_path / "vectors")[0] == ["sea"]


def test_an_empty_name_is_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for write in WRITERS.values():
        with pytest.raises(DataError, match="name of the output folder is empty"):
            write("")
    assert not list(tmp_path.iterdir())


def test_a_folder_with_clutter_of_the_system_is_empty(tmp_path):
    fill(tmp_path, [".DS_Store", "Thumbs.db", "desktop.ini", ".gitkeep"])
    hub.save(tmp_path, model(), WORDS)
    assert hub.load(tmp_path)[1].vocab == WORDS.vocab


def test_a_claim_after_which_nothing_was_written_leaves_no_folder(tmp_path):
    with pytest.raises(TinylmError), folders.claim(tmp_path / "a" / "b"):
        raise TinylmError("a mistake in something else")
    assert not list(tmp_path.iterdir())


def test_what_is_read_is_never_overwritten(tmp_path):
    hub.save(tmp_path / "model", model(), WORDS)
    before = held(tmp_path / "model")
    (tmp_path / "link").symlink_to(tmp_path / "model", target_is_directory=True)
    for name in ("model", "link"):
        for source in (tmp_path / "model", tmp_path / "model" / "vectors.bin"):
            with (
                pytest.raises(CheckpointError, match="holds what is read here"),
                folders.claim(tmp_path / name, overwrite=True, reading=(source,)),
            ):
                raise AssertionError("claimed")
    with pytest.raises(DataError, match="is read here"):
        folders.claim_file(
            tmp_path / "link" / "vectors.bin", True, [tmp_path / "model/vectors.bin"]
        )
    assert held(tmp_path / "model") == before


def test_the_name_of_a_set_and_a_folder_of_texts_are_no_files_that_could_be_lost(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    fill(tmp_path, ["notes.txt"])
    fill(tmp_path / "texts", ["a.txt"])
    for name in ("toy", "texts"):
        with folders.claim(".", overwrite=True, reading=(name,)):
            pass


def test_a_folder_that_the_disk_refuses_says_so_before_the_work(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(DataError, match="Read-only"), folders.claim(tmp_path):
        raise AssertionError("claimed")


# ---- runs


def test_a_finished_run_is_overwritten_only_when_asked_and_never_together_with_resume(tmp_path):
    pretrained(tmp_path / "run")
    before = held(tmp_path / "run")
    with pytest.raises(CheckpointError, match="already holds a run; add --resume .* --overwrite"):
        pretrained(tmp_path / "run")
    with (
        pytest.raises(
            CheckpointError, match="already holds a run; give another folder, or replace"
        ),
        folders.claim(tmp_path / "run"),  # by a command that has no --resume
    ):
        raise AssertionError("claimed")
    with pytest.raises(CheckpointError, match="either resumed or overwritten"):
        pretrained(tmp_path / "run", overwrite=True, resume=True)
    assert held(tmp_path / "run") == before
    (tmp_path / "run" / "classifier.json").write_text("{}")
    pretrained(tmp_path / "run", overwrite=True)
    assert set(held(tmp_path / "run")) == set(before)
    log = checkpoint.read_log(tmp_path / "run" / checkpoint.LOG)
    assert [record["event"] for record in log].count("started") == 1


def test_resuming_knows_a_run_killed_before_its_first_checkpoint_from_a_foreign_log(tmp_path):
    pretrained(tmp_path / "run")
    (tmp_path / "run" / checkpoint.STATE).unlink()
    pretrained(tmp_path / "run", resume=True)
    fill(tmp_path / "foreign", [hub.CONFIG, checkpoint.LOG])
    with pytest.raises(CheckpointError, match="already holds a model"):
        pretrained(tmp_path / "foreign", resume=True)


def test_a_run_inside_its_data_folder_reads_no_file_of_its_own_and_resumes(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(5):
        words = rng.choice(["sea", "wave", "rock", "stone", "wind"], 300)
        (tmp_path / f"{i}.txt").write_text(" ".join(words), encoding="utf-8")
    out = tmp_path / "runs" / "gpt"
    options = {"vocab_size": 300, "n_positions": 8, "n_embd": 8, "n_layer": 1, "steps": 2}
    config = PretrainConfig("gpt", str(tmp_path), out, options=options)
    _, _, result = pretrain(config, quiet=True)
    assert (out / "merges.txt").exists()  # what the next line must not read
    assert pretrain(config, resume=True, quiet=True)[2] == result


# ---- two processes


HOLD = """
import sys
from tinylm import folders
with folders.claim(sys.argv[1]):
    print("claimed", flush=True)
    sys.stdin.read()
"""


def holder(folder):
    """A process that has claimed the folder and keeps it."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"claimed\n"
    return process


def end(process):
    """kill -9."""
    process.kill()
    process.communicate()


@pytest.mark.parametrize("writer", WRITERS)
def test_a_second_process_in_a_folder_gets_a_sentence_and_a_crash_frees_it(tmp_path, writer):
    process = holder(tmp_path)
    try:
        with pytest.raises(CheckpointError, match="is being written by another process"):
            WRITERS[writer](tmp_path)
    finally:
        end(process)
    assert not list(tmp_path.iterdir())
    with folders.claim(tmp_path):
        pass


def test_the_command_line_says_it_too(tmp_path, capsys):
    process = holder(tmp_path / "run")
    try:
        assert main(["pretrain", "gpt", "--data", "toy", "--out", str(tmp_path / "run")]) == 2
    finally:
        end(process)
    assert "is being written by another process" in capsys.readouterr().err


def test_a_second_thread_is_refused_and_a_claim_inside_a_claim_is_not(tmp_path):
    said = []

    def second():
        try:
            with folders.claim(tmp_path):
                said.append("claimed")
        except CheckpointError as error:
            said.append(str(error))

    with folders.claim(tmp_path), folders.claim(tmp_path):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert len(said) == 1 and "is being written by another" in said[0]
    second()
    assert said[1] == "claimed"


def refused_elsewhere(folder):
    """Whether another thread that claims a folder hears that somebody writes there."""
    heard = []

    def claims():
        try:
            with folders.claim(folder):
                pass
        except CheckpointError as error:
            heard.append("is being written by another process" in str(error))

    thread = threading.Thread(target=claims)
    thread.start()
    thread.join()
    return heard == [True]


def test_where_folders_have_no_locks_a_file_is_locked(tmp_path, monkeypatch):
    flock = folders.fcntl.flock

    def files_only(handle, how):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EBADF, "Bad file descriptor")  # as on NFS
        flock(handle, how)

    monkeypatch.setattr(folders.fcntl, "flock", files_only)
    with folders.claim(tmp_path):
        assert (tmp_path / folders.LOCK).exists()
        assert refused_elsewhere(tmp_path)
    hub.save(tmp_path, model(), WORDS)  # the lock file that stays is no content


def test_where_there_are_no_locks_at_all_the_user_is_warned(tmp_path, monkeypatch):
    def never(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(folders.fcntl, "flock", never)
    with pytest.warns(RuntimeWarning, match="cannot be locked"), folders.claim(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_windows_locks_a_file_and_removes_it(tmp_path, monkeypatch):
    class Msvcrt:
        """What the module of that name does, kept in a list."""

        LK_NBLCK = 2
        locked = []

        def locking(self, handle, how, count):
            """Refuse a second lock, as Windows does."""
            if self.locked:
                raise OSError(errno.EACCES, "Permission denied")
            self.locked.append(handle)

    monkeypatch.setattr(folders, "fcntl", None)
    monkeypatch.setattr(folders, "msvcrt", Msvcrt(), raising=False)
    with folders.claim(tmp_path):
        assert refused_elsewhere(tmp_path)
        files.write_json(tmp_path / "a.json", {})
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
