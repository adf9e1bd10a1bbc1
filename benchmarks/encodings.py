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
import subprocess
import sys
import tempfile
import time
from itertools import chain
from pathlib import Path

from .memory import peak

SIZE = 8192
KINDS = ("bpe", "wordpiece", "unigram")
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
        return _result(
            start,
            lambda: getattr(encoding, {"bpe": "merges", "wordpiece": "vocab"}.get(kind, "pieces")),
        )
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
    """Time and memory since the start, before the result is made comparable, and the result."""
    now, mb = _start()
    found = {
        "ms": 1e3 * (now - start[0]),
        "mb": mb,
        "added_mb": mb - start[1],
        "until": time.monotonic(),
    }
    return found | {"made": made()}


def blank(kind):
    """tokenizers' model without a vocabulary, and its trainer with the settings of ours."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    cut, quiet = pre_tokenizers, {"vocab_size": SIZE, "show_progress": False}
    if kind == "bpe":
        theirs, words = Tokenizer(models.BPE()), cut.ByteLevel(add_prefix_space=False)
        trainer = trainers.BpeTrainer(
            initial_alphabet=words.alphabet(), min_frequency=2, **quiet | {"vocab_size": SIZE - 1}
        )
    elif kind == "wordpiece":
        theirs, words = Tokenizer(models.WordPiece(unk_token="[UNK]")), cut.BertPreTokenizer()
        theirs.normalizer = normalizers.BertNormalizer()
        specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        trainer = trainers.WordPieceTrainer(special_tokens=specials, min_frequency=2, **quiet)
    else:
        theirs, words = Tokenizer(models.Unigram()), cut.Metaspace()
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
        theirs.model = models.BPE.from_file(
            *(str(folder(kind) / file) for file in ("vocab.json", "merges.txt"))
        )
    elif kind == "wordpiece":
        theirs.model = models.WordPiece.from_file(
            str(folder(kind) / "vocab.txt"), unk_token="[UNK]"
        )
    else:
        theirs.model = models.Unigram([tuple(pair) for pair in pieces()], unk_id=0)
    return theirs


def check(name, ours, theirs):
    """What the results of both sides have in common, in words; exits if they should be equal and differ."""
    kind, what = name.split("_")
    if name == "unigram_encode":
        if any(abs(a - b) > 1e-6 * abs(b) for a, b in zip(ours, theirs, strict=True)):
            sys.exit(f"{name}: tinylm and tokenizers disagree")
        return f"{sum(a == b for a, b in zip(ours, theirs, strict=True)) / len(ours):.2%} equal, all as probable"
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
    encoding = Unigram(
        [(piece, score, kind) for (piece, score), kind in zip(found, kinds, strict=True)]
    )
    return float(encoding.scores[np.concatenate(encoding.encode_batch(texts()))].sum(dtype=float))


def main():
    """Write what `prepare` promises."""
    from tinylm import text
    from tinylm.data import load_labelled

    posts = list(
        chain.from_iterable(load_labelled("newsgroups", part).texts for part in ("train", "test"))
    )
    (Path(os.environ[FOLDER]) / "posts.txt").write_text(
        "\n".join(" ".join(post.split("\n")) for post in posts)
    )
    for kind, made in (("bpe", text.BPE), ("wordpiece", text.WordPiece), ("unigram", text.Unigram)):
        encoding = made.train(posts, SIZE)
        encoding.save(folder(kind))
        if kind == "unigram":
            (folder(kind) / "pieces.json").write_text(
                json.dumps([(t, s) for t, s, _ in encoding.pieces])
            )


if __name__ == "__main__":
    main()
