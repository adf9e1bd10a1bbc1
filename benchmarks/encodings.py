"""Encodings beside Hugging Face's tokenizers: all posts of newsgroups, a vocabulary of 8,192.

Training has two threads, encoding one, with all texts in one call. Both sides read the same file of
lines. To encode, both load the vocabulary that tinylm trained.

What is measured: ms for the whole, and MB of the process. The work itself added some of these MB, and
some were allocated, not mapped from files; both numbers are printed too. Before any text, Python with
Numba takes 160 MB, 90 of them LLVM and other programs mapped from files; Python with tokenizers 15.

What must be equal: the merges of BPE, and the ids of all encodings but Unigram. tokenizers adds
Unigram's logarithms in 64 bits, tinylm in 32 as sentencepiece does. So of two cuts that are equally
probable, such as f·ff and ff·f, each side may take another, and only the probability of every post
must be equal, to six digits.

What cannot be equal: tokenizers' WordPiece trainer breaks ties by the order of a hash table, and the
two Unigram trainers begin with different seeds. So we compare the share of tokens that both learned,
and for Unigram the log-likelihood of the text by either.
"""

import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from . import pairs
from .memory import allocated, peak

SIZE = 8192
KINDS = ("bpe", "wordpiece", "unigram")
LEARNED = {"bpe": "merges", "wordpiece": "vocab", "unigram": "pieces"}  # attributes of ours
NAMES = tuple(f"{kind}_{what}" for kind in KINDS for what in ("train", "encode"))
# The environment variable that says where `prepare` put the text and the vocabularies.
FOLDER = "TINYLM_BENCHMARK_ENCODINGS"


def prepare():
    """Write the text and the vocabularies that tinylm learns from it, once.

    The folder is removed when this process ends.
    """
    if FOLDER not in os.environ:
        prepare.folder = tempfile.TemporaryDirectory(prefix="tinylm-encodings-")
        os.environ[FOLDER] = prepare.folder.name
        subprocess.run([sys.executable, "-m", "benchmarks.encodings"], check=True)


def environment(name):
    """Threads of both sides: two for training, one for encoding."""
    threads = "2" if name.endswith("train") else "1"
    return {
        "RAYON_NUM_THREADS": threads,
        "NUMBA_NUM_THREADS": threads,
        "TOKENIZERS_PARALLELISM": "true" if threads == "2" else "false",
    }


def texts():
    """All posts."""
    return (Path(os.environ[FOLDER]) / "posts.txt").read_text().split("\n")


def folder(kind):
    """Where tinylm's vocabulary of a kind is."""
    return Path(os.environ[FOLDER]) / kind


def comparable(kind, rows):
    """A fingerprint of lists of ids; for Unigram the log-probability of each list."""
    if kind == "unigram":
        scores = [score for _, score in pieces()]
        return [sum(map(scores.__getitem__, row)) for row in rows]
    sums = hashlib.sha256()
    for row in rows:
        sums.update(b" ".join(b"%d" % i for i in row) + b"\n")
    return sums.hexdigest()


def pieces():
    """[piece, log-probability] by id of the Unigram vocabulary, as numbers of 64 bits."""
    return json.loads((folder("unigram") / "pieces.json").read_text())


def run_ours(name):
    """Train or encode with tinylm: {"ms", "mb", "added_mb", "until", "made"}.

    made : the merges, tokens or pieces that were learned; or a fingerprint of the ids
    """
    from tinylm import text

    kind, what = name.split("_")
    made = {"bpe": text.BPE, "wordpiece": text.WordPiece, "unigram": text.Unigram}[kind]
    posts = texts()
    if what == "train":
        # Compile the kernels, or load what an earlier run compiled.
        made.train(["aa bb ab"] * 3, 300, exact=False)
        start = _start()
        encoding = made.train(posts, SIZE)
        return _result(start, lambda: getattr(encoding, LEARNED[kind]))
    encoding = made.load(folder(kind))
    made.load(folder(kind)).encode_batch(["compiles"])
    start = _start()
    rows = encoding.encode_batch(posts)
    return _result(start, lambda: comparable(kind, (row.tolist() for row in rows)))


def run_peer(name):
    """The same with tokenizers."""
    kind, what = name.split("_")
    posts = texts()
    if what == "train":
        theirs, trainer = blank(kind)
        start = _start()
        theirs.train_from_iterator(posts, trainer)
        return _result(start, lambda: learned(kind, theirs))
    theirs = loaded(kind)
    start = _start()
    rows = theirs.encode_batch_fast(posts, add_special_tokens=False)
    return _result(start, lambda: comparable(kind, (row.ids for row in rows)))


def _start():
    """Time, and the most memory that the process had until now."""
    return time.perf_counter(), peak()


def _result(start, made):
    """Time and memory since the start, and the result, which `made()` makes comparable afterwards."""
    began, mb_before = start
    now, mb = _start()
    return {
        "ms": 1e3 * (now - began),
        "mb": mb,
        "added_mb": mb - mb_before,
        "until": time.monotonic(),
        "made": made(),
    }


def blank(kind):
    """tokenizers' model without a vocabulary, and its trainer with the settings of ours."""
    from tokenizers import Tokenizer, models, normalizers, trainers
    from tokenizers import pre_tokenizers as cut

    quiet = {"vocab_size": SIZE, "show_progress": False}
    if kind == "bpe":
        theirs = Tokenizer(models.BPE())
        words = cut.ByteLevel(add_prefix_space=False)
        trainer = trainers.BpeTrainer(
            initial_alphabet=words.alphabet(), min_frequency=2, **quiet | {"vocab_size": SIZE - 1}
        )
    elif kind == "wordpiece":
        theirs = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        words = cut.BertPreTokenizer()
        theirs.normalizer = normalizers.BertNormalizer()
        specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        trainer = trainers.WordPieceTrainer(special_tokens=specials, min_frequency=2, **quiet)
    else:
        theirs = Tokenizer(models.Unigram())
        words = cut.Metaspace()
        trainer = trainers.UnigramTrainer(
            unk_token="<unk>", special_tokens=["<unk>", "<s>", "</s>"], **quiet
        )
    theirs.pre_tokenizer = words
    return theirs, trainer


def learned(kind, theirs):
    """Merges, tokens or pieces of a trained tokenizer."""
    model = json.loads(theirs.to_str())["model"]
    return model["merges"] if kind == "bpe" else list(model["vocab"])


def loaded(kind):
    """tokenizers' program with the vocabulary that tinylm saved."""
    from tokenizers import models

    theirs, _ = blank(kind)
    if kind == "bpe":
        vocab = str(folder(kind) / "vocab.json")
        merges = str(folder(kind) / "merges.txt")
        theirs.model = models.BPE.from_file(vocab, merges)
    elif kind == "wordpiece":
        vocab = str(folder(kind) / "vocab.txt")
        theirs.model = models.WordPiece.from_file(vocab, unk_token="[UNK]")
    else:
        theirs.model = models.Unigram([tuple(pair) for pair in pieces()], unk_id=0)
    return theirs


def check(name, ours, theirs):
    """In words, what both results have in common; exits if they should be equal and differ."""
    kind, what = name.split("_")
    if name == "unigram_encode":
        both = list(zip(ours, theirs, strict=True))
        if any(abs(a - b) > 1e-6 * abs(b) for a, b in both):
            sys.exit(f"{name}: tinylm and tokenizers disagree")
        return f"{sum(a == b for a, b in both) / len(both):.2%} equal, all as probable"
    if kind == "bpe" or what == "encode":
        if ours != theirs:
            sys.exit(f"{name}: tinylm and tokenizers disagree")
        return "equal merges" if what == "train" else "equal ids"
    if kind == "wordpiece":
        return f"{len(set(ours) & set(theirs)) / SIZE:.1%} equal tokens"
    first, second = (likelihood([piece[:2] for piece in found]) for found in (ours, theirs))
    if first < 1.005 * second:  # both are negative
        sys.exit(f"{name}: by tinylm's pieces the text is less likely")
    return f"negative log-likelihood {first / second:.4f} of theirs"


def likelihood(found):
    """Log-probability of the text in nats.   found : (piece, log-probability), specials first"""
    import numpy as np

    from tinylm.text import Unigram
    from tinylm.text.formats.protobuf import CONTROL, NORMAL, UNKNOWN

    kinds = [UNKNOWN, CONTROL, CONTROL, *[NORMAL] * (len(found) - 3)]
    pieces_of = zip(found, kinds, strict=True)
    encoding = Unigram([(piece, score, kind) for (piece, score), kind in pieces_of])
    ids = np.concatenate(encoding.encode_batch(texts()))
    return float(encoding.scores[ids].sum(dtype=float))


def measure(name, side):
    """The result of a fresh worker, see `run_ours`.

    It also has "allocated_mb", the most that the worker allocated before its work ended.
    """
    command = [sys.executable, "-m", "benchmarks.encodings", name, side]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    variables = os.environ | {"OMP_NUM_THREADS": "2"} | environment(name)
    running = subprocess.Popen(command, env=variables, **pipes)
    samples = []
    output = None
    while output is None:
        try:
            output, errors = running.communicate(timeout=0.005)
        except subprocess.TimeoutExpired:
            samples.append((time.monotonic(), allocated(running.pid)))
    if running.returncode:
        sys.exit(f"{name} ({side}) failed:\n{errors}")
    found = json.loads(output.splitlines()[-1])
    found["allocated_mb"] = max(mb for moment, mb in samples if moment < found["until"])
    return found


def compare(name, rounds):
    """A row as those of `pairs`, with the memory of the work itself and what both sides share."""
    prepare()
    runs = [(measure(name, "ours"), measure(name, "peer")) for _ in range(rounds)]
    row = pairs.medians(name, "tokenizers", runs)
    ours, peer = zip(*runs, strict=True)
    row["same"] = check(name, ours[0]["made"], peer[0]["made"])
    for side, found in (("ours", ours), ("peer", peer)):
        for which in ("added_mb", "allocated_mb"):
            row[f"{side}_{which}"] = statistics.median(run[which] for run in found)
    return row


def show(row):
    """A row as a line of text."""
    added = f"added {row['ours_added_mb']:.0f} against {row['peer_added_mb']:.0f}"
    here = f"allocated {row['ours_allocated_mb']:.0f} against {row['peer_allocated_mb']:.0f}"
    return f"{pairs.show(row)}, {added}, {here}   {row['same']}"


def write():
    """Write what `prepare` promises."""
    from tinylm import text
    from tinylm.data import load_labelled

    posts = []
    for part in ("train", "test"):
        posts += load_labelled("newsgroups", part).texts
    lines = [" ".join(post.split("\n")) for post in posts]
    (Path(os.environ[FOLDER]) / "posts.txt").write_text("\n".join(lines))
    for kind, made in (("bpe", text.BPE), ("wordpiece", text.WordPiece), ("unigram", text.Unigram)):
        encoding = made.train(posts, SIZE)
        encoding.save(folder(kind))
        if kind == "unigram":
            (folder(kind) / "pieces.json").write_text(
                json.dumps([(t, s) for t, s, _ in encoding.pieces])
            )


if __name__ == "__main__":
    if len(sys.argv) == 1:
        write()
    else:
        name, side = sys.argv[1:]
        print(json.dumps({"ours": run_ours, "peer": run_peer}[side](name)))
