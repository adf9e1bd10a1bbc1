"""A write that fails at any moment leaves what was there before, what is new, or a folder that is refused: no mixture.

Every system call by which we write is made to fail once, or from some moment on, as on a full disk; or everything
stops at that moment, clean-up included, as in a kill. The folder is then loaded, and written once more.
"""

import errno
import os
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from quick import IN_CI

from tinylm import hub, text
from tinylm.errors import DataError, TinylmError
from tinylm.objectives.word2vec import Word2Vec, Word2VecConfig
from tinylm.text import BPE, Words
from tinylm.text.spelling import EndOfWord
from tinylm.training import checkpoint
from tinylm.transfer import Classifier
from tinylm.vectors import read_vectors, write_vectors

SENTENCES = ["the sea and the wind", "the rocks and the rocks"] * 3
CALLS = [
    (os, "replace"),
    (os, "fsync"),
    (os, "chmod"),
    (Path, "mkdir"),
    (Path, "touch"),
    (Path, "unlink"),
    (Path, "write_bytes"),
    (np, "save"),
]
WAYS = ("once", "from then on", "killed")


class Killed(BaseException):
    """What no code of ours may catch."""


class Disk:
    """Counts calls that write; call number `fails` fails, and in some ways those after it."""

    def __init__(self, monkeypatch, fails, way):
        self.fails, self.way, self.calls = fails, way, 0
        for owner, name in CALLS:
            monkeypatch.setattr(owner, name, self.counted(getattr(owner, name)))
        monkeypatch.setattr(shutil, "rmtree", self.unless_killed(shutil.rmtree))

    def counted(self, function):
        """The function, which fails when its turn comes."""

        def call(*arguments, **named):
            self.calls += 1
            if self.calls == self.fails or (self.calls > self.fails and self.way != "once"):
                if self.way == "killed":
                    raise Killed
                raise OSError(errno.ENOSPC, "No space left on device")
            return function(*arguments, **named)

        return call

    def unless_killed(self, function):
        """Clean-up works on a full disk; a killed process makes none."""

        def call(*arguments, **named):
            if not (self.way == "killed" and self.calls >= self.fails):
                function(*arguments, **named)

        return call


def words(version):
    """Two vocabularies of the same size."""
    return Words.train([["sea wave sea wave", "rock wind rock wind"][version]])


def model(version):
    """Two models of the same shapes."""
    config = Word2VecConfig(vocab_size=words(version).vocab_size, size=3)
    return Word2Vec(config, np.random.default_rng(version))


def facts_of_model(path):
    """What a loaded model is: its words and its numbers."""
    loaded, tokenizer = hub.load(path)
    return (
        tokenizer.vocab,
        loaded.state_dict()["vectors"].tolist(),
        read_vectors(path / "vectors.bin")[0],
    )


def classifier(version):
    """Two classifiers of the same shapes on two models; their labels differ too."""
    labels = [["sea", "land"], ["wet", "dry"]][version] * 3
    return Classifier(model(version), words(version)).fit(SENTENCES, labels)


def facts_of_classifier(path):
    """Labels, head and model."""
    loaded = Classifier.load(path)
    return loaded.classes_.tolist(), loaded.head_[0].tolist(), facts_of_model(path)


def vectors(version):
    """Two tables of the same size."""
    return [["sea", "wave"], ["rock", "wind"]][version], np.full((2, 3), version, np.float32)


def facts_of_vectors(path):
    """Words and numbers."""
    names, table = read_vectors(path)
    return names, table.tolist()


def bpe(version, **options):
    """Two vocabularies whose files have the same names; only one has a token that was added."""
    encoding = BPE.train(
        [["low lower lowest", "wide wider widest"][version]], 270, exact=False, **options
    )
    if version == 0:
        encoding.add_specials(["<added>"])
    return encoding


def facts_of_encoding(path):
    """The vocabulary and how it cuts."""
    loaded = text.load(path)
    return loaded.vocab, loaded.specials, loaded.encode("low wide lower wider lowest widest")


KINDS = {  # name -> (version -> what is saved, how, how it is read back)
    "vectors": (vectors, lambda v, p: write_vectors(p, *v, form="folder", overwrite=True), facts_of_vectors),
    "model": (lambda n: (model(n), words(n)), lambda v, p: hub.save(p, *v, overwrite=True), facts_of_model),
    "classifier": (classifier, lambda v, p: v.save(p, overwrite=True), facts_of_classifier),
    "bytes": (bpe, lambda v, p: v.save(p), facts_of_encoding),
    "ends of words": (lambda n: bpe(n, spelling=EndOfWord()), lambda v, p: v.save(p), facts_of_encoding),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_write_that_fails_anywhere_leaves_no_mixture(kind, way, tmp_path, monkeypatch):
    make, save, read = KINDS[kind]
    old, new = make(0), make(1)
    facts = []
    for version, name in ((old, "old"), (new, "new")):
        save(version, tmp_path / name)
        facts.append(read(tmp_path / name))
    assert facts[0] != facts[1]
    outcomes = []
    for fails in moments():
        folder = tmp_path / f"{fails}"
        shutil.copytree(tmp_path / "old", folder)
        with monkeypatch.context() as patched:
            disk = Disk(patched, fails, way)
            try:
                save(new, folder)
            except DataError as error:
                assert "cannot be" in str(error) and "\n" not in str(error)
            except Killed:
                pass
        outcomes.append(outcome(read, folder, facts))
        save(new, folder)
        assert read(folder) == facts[1]
        whole = {path.name for path in (tmp_path / "new").iterdir()}
        stages = {path.name for path in folder.iterdir()} - whole
        assert not stages or (kind in ("bytes", "ends of words") and way == "killed")
        shutil.rmtree(folder)
        if disk.calls < fails:
            break
    assert outcomes[0] == "old" and outcomes[-1] == "new"
    assert outcomes == sorted(outcomes, key=("old", "refused", "new").index)


def moments():
    """Each call to fail at; in a quick run the first, and then every third from a drawn one on."""
    yield 1
    yield from range(2, 1000) if IN_CI else range(random.choice([2, 3, 4]), 1000, 3)


def outcome(read, folder, facts):
    """What a folder is after a failure: "old", "new", or "refused" with one sentence."""
    try:
        found = read(folder)
    except TinylmError as error:
        assert "\n" not in str(error)
        return "refused"
    return ("old", "new")[facts.index(found)]


def test_safetensors_leaves_nothing_where_a_kill_can_leave_it(tmp_path, monkeypatch):
    seen = set()

    def watched(arrays, path, metadata):
        seen.update(entry.name for entry in tmp_path.iterdir())
        assert (
            Path(path).parent.parent == tmp_path
        )  # its own temporary files stand beside this path
        Path(path).with_name(".tmpAbCdEf").write_bytes(b"half")
        raise Killed

    monkeypatch.setattr("safetensors.numpy.save_file", watched)
    with pytest.raises(Killed):
        checkpoint.save_tensors(tmp_path / "a.safetensors", {"x": np.ones(3)})
    assert len(seen) == 1 and not list(tmp_path.iterdir())
