"""The doors of commands: the files that they read, a run that is resumed, weights of half precision."""

import contextlib
import io
import json
from argparse import Namespace
from functools import cache

import newer_seeds
import numpy as np
from door import Door, written

from tinylm import files, hub
from tinylm.app import tagging
from tinylm.app.commands import chat, predict, search
from tinylm.tensors import load_tensors
from tinylm.training import checkpoint
from tinylm.training.pretrain import PretrainConfig, pretrain
from tinylm.transfer import TagConfig, Tagger

LINES = "the sea is calm\n\na cat sat on the mat\n"
TOKENS = "the DT\nsea NN\n\na DT\ncat NN\n"
TEXTS = [f"the {word} sea is calm today" for word in "abcd" * 10]
OPTIONS = {"steps": 3, "size": 3, "warmup": 0, "batch_words": 20}


def _quietly(work):
    """What a command prints goes nowhere."""
    with contextlib.redirect_stdout(io.StringIO()):
        return work()


def _texts(folder):
    """The lines that `predict` labels, and those that `chat` answers."""
    list(chat._lines(folder / "x.txt"))
    predict.lines_of(folder / "x.txt")


def _searched(folder):
    options = {"query": "a calm sea", "count": 2, "json": False}
    files_of = {"dir": str(folder / "model"), "file": str(folder / "x.txt")}
    _quietly(lambda: search.run(Namespace(**options, **files_of)))


def _write_searched(folder):
    newer_seeds._write_sentences(folder / "model")
    (folder / "x.txt").write_text(LINES, encoding="utf-8")


@cache
def _tagger():
    """A tagger with word vectors of its own, and no encoder."""
    config = TagConfig(updates=1, embeddings=3, hidden=2)
    tagger = Tagger(None, None, "bilstm-crf", "features", config)
    return tagger.fit([["the", "sea"], ["a", "cat"]], [["O", "B-x"], ["O", "O"]])


def _write_tagged(folder):
    _tagger().save(folder / "model", overwrite=True)
    (folder / "x.conll").write_text(TOKENS, encoding="utf-8")


def _tagged(folder):
    paths = {"dir": str(folder / "model"), "file": str(folder / "x.conll")}
    _quietly(lambda: tagging.predict(Namespace(json=False, also=None, **paths)))


def _halves(folder):
    """A safetensors file with numbers of the kinds that NumPy lacks, or reads as others."""
    halves = np.arange(6, dtype=np.uint16)
    header = {
        "w": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]},
        "v": {"dtype": "F16", "shape": [3], "data_offsets": [12, 18]},
        "__metadata__": {"format": "pt"},
    }
    described = json.dumps(header).encode()
    raw = len(described).to_bytes(8, "little") + described
    (folder / "w.safetensors").write_bytes(raw + halves.tobytes() + halves[:3].tobytes())


@cache
def _unfinished():
    """The files of a word2vec run that was stopped after two of three updates."""
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "run"
        pretrain(PretrainConfig("word2vec", "toy", out, options=OPTIONS), TEXTS, quiet=True)
        state = checkpoint.load_state(out)
        facts = state.facts | {"step": 2, "result": None, "recent": state.facts["recent"][:2]}
        checkpoint.save_state(out, checkpoint.TrainerState(state.arrays, facts))
        return {path.name: path.read_bytes() for path in out.iterdir()}


def _write_run(folder):
    (folder / "run").mkdir(exist_ok=True)
    for name, content in _unfinished().items():
        (folder / "run" / name).write_bytes(content)


def _resumed(folder):
    config = PretrainConfig("word2vec", "toy", folder / "run", options=OPTIONS)
    try:
        pretrain(config, TEXTS, resume=True, quiet=True)
    finally:
        files.remove(folder / "run", hub.OURS)
        _write_run(folder)


DOORS = [
    Door("lines", written("x.txt", LINES), _texts, 3),
    Door("search", _write_searched, _searched, 2),
    Door("tagger alone", _write_tagged, _tagged, 3),
    Door("halves", _halves, lambda folder: load_tensors(folder / "w.safetensors"), 5),
    Door("resumed run", _write_run, _resumed, 2),
]
