"""Fixed runs of every objective and encoding, and the hashes of what they ended with: a rewrite must not change a bit.

Ids, merges and pieces are whole numbers and strings, so their SHA-256 holds everywhere. Weights are
floats: their last bits depend on the processor and on the versions of NumPy, SciPy and Numba, so
`same_bits.json` holds their hashes by machine, and beside them three numbers that hold on every
machine to 1 part in 1,000. A machine that is not in the file is held to the numbers alone.

    python tests/test_same_bits.py      adds this machine's hashes, keeps all others; says what changed
"""

import hashlib
import json
import platform
from pathlib import Path

import numpy as np
import pytest

from tinylm import kernels, text
from tinylm.data import load_labelled, load_texts, toy
from tinylm.training.pretrain import PretrainConfig, pretrain
from tinylm.transfer import AdaptConfig, Classifier

RECORD = Path(__file__).with_name("same_bits.json")
TOLERANCE = 1e-3  # relative, of the numbers

GPT_SMALL = {"n_positions": 17, "n_embd": 24, "n_head": 3, "n_layer": 2, "batch_size": 3}
DROPOUT = {"resid_pdrop": 0.1, "embd_pdrop": 0.1, "attn_pdrop": 0.1}
GPT = GPT_SMALL | DROPOUT | {"vocab_size": 300, "steps": 12}
W2V = {"size": 13, "batch_words": 3001, "steps": 12}
AVERAGED = {"optimizer": "asgd", "lr": 1.0, "betas": (0.9, 0.999), "eval_every": 2}
RUNS = {
    "word2vec": ("word2vec", W2V),
    "word2vec cbow": ("word2vec", W2V | {"cbow": True}),
    "word2vec cbow sum": ("word2vec", W2V | {"cbow": True, "cbow_mean": False}),
    "word2vec tree": ("word2vec", W2V | {"hs": True, "negative": 0}),
    "word2vec tree and negatives": ("word2vec", W2V | {"hs": True, "negative": 3}),
    "word2vec n-grams": ("fasttext", W2V | {"maxn": 5, "bucket": 501}),
    "word2vec phrases": ("word2vec", W2V | {"phrases": 2, "min_count": 3}),
    "glove": ("glove", {"vector_size": 13, "batch_cells": 2003, "steps": 12}),
    "gpt dropout": ("gpt", GPT),
    "gpt accumulation": ("gpt", GPT | {"accumulate": 3}),
    "gpt averaged sgd": ("gpt", GPT | AVERAGED),
    "gpt sgd momentum": ("gpt", GPT | {"optimizer": "sgd", "lr": 0.1, "clip": 0.5}),
    "gpt adagrad": ("gpt", GPT | {"optimizer": "adagrad", "lr": 0.1}),
    "gpt adam": ("gpt", GPT | {"optimizer": "adam", "schedule": "cosine"}),
}

TEXTS = load_texts("toy")[:200]
PHRASES = [
    f"{t} new york" if i % 10 == 0 else t for i, t in enumerate(TEXTS)
]  # what word2vec joins
STRANGE = [
    "a\u0301 NFD, naïve ﬁ 東京 🙂\u200d",
    "tabs\tand  two spaces",
    "Σ ΑΣ ß 12,345.67 don't",
    "",
]
ENCODINGS = {
    "chars": lambda: text.Chars.train(TEXTS),
    "bytes": lambda: text.Bytes(),
    "words": lambda: text.Words.train(TEXTS, 120),
    "words phrases": lambda: text.Words.train(PHRASES, 120, phrases=2),
    "words rules": lambda: text.Words.train(TEXTS, 120, rules=True),
    "bpe": lambda: text.BPE.train(TEXTS, 400),
    "wordpiece": lambda: text.WordPiece.train(TEXTS, 300),
    "unigram": lambda: text.Unigram.train(TEXTS, 120),
}


def machine():
    """What the last bits of a float depend on, as one line."""
    import llvmlite.binding
    import numba
    import scipy
    from threadpoolctl import threadpool_info

    cores = {x.get("architecture", "") for x in threadpool_info() if x["user_api"] == "blas"}
    versions = [f"{m.__name__} {m.__version__}" for m in (np, scipy, numba)]
    where = [
        platform.system(),
        platform.machine(),
        llvmlite.binding.get_host_cpu_name(),
        kernels.BACKEND,
    ]
    return ", ".join([*where, *sorted(cores), *versions])


def digest(arrays):
    """SHA-256 of named arrays: names, dtypes, shapes and bytes."""
    found = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        found.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        found.update(np.ascontiguousarray(array))
    return found.hexdigest()


def numbers(arrays):
    """Three sums over all weights that a change of the method would move, a change of the last bits not."""
    flat = np.concatenate([np.ravel(a).astype(np.float64) for _, a in sorted(arrays.items())])
    wave = np.cos(np.arange(flat.size))
    return [float(np.abs(flat).sum()), float((flat * flat).sum()), float(np.abs(flat * wave).sum())]


def trained(name):
    """The arrays that a run ends with."""
    objective, options = RUNS[name]
    asked = PretrainConfig(objective, "toy", None, "tiny", options, seed=5)
    texts = PHRASES if "phrases" in options else TEXTS
    model, tokenizer, _ = pretrain(asked, texts, quiet=True)
    return model, tokenizer


def tuned():
    """A fine-tuned classifier and frozen features on a trained GPT, as arrays."""
    model, tokenizer = trained("gpt dropout")
    labelled = load_labelled("toy")
    texts, labels = labelled.texts[:40], labelled.labels[:40]
    found = {}
    for method in ("finetune", "features"):
        config = AdaptConfig(updates=7, max_length=13, seed=2)
        classifier = Classifier(model, tokenizer, method, config).fit(texts, labels)
        found |= {f"{method} {k}": a for k, a in classifier.encoder_.state_dict().items()}
        found |= {f"{method} head {i}": a for i, a in enumerate(classifier.head_)}
    return found


FLOATS = {name: lambda name=name: trained(name)[0].state_dict() for name in RUNS}
FLOATS["classifier"] = tuned


def ids_of(name):
    """An encoding's tokens and what it makes of texts, as one hash."""
    encoding = ENCODINGS[name]()
    found = hashlib.sha256(json.dumps(list(encoding.vocab)).encode())
    for one in (*TEXTS[:50], *STRANGE):
        ids = np.asarray(encoding.encode(one), np.int64)
        found.update(ids)
        found.update(encoding.decode(ids).encode("utf-8", "surrogatepass"))
    return found.hexdigest()


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("name", FLOATS)
def test_a_fixed_run_ends_with_the_recorded_weights(name):
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    arrays = FLOATS[name]()
    np.testing.assert_allclose(numbers(arrays), record["numbers"][name], rtol=TOLERANCE)
    exact = record["machines"].get(machine(), {})
    assert exact.get(name) in (None, digest(arrays))


@pytest.mark.parametrize("name", ENCODINGS)
def test_an_encoding_learns_the_recorded_tokens(name):
    assert ids_of(name) == json.loads(RECORD.read_text(encoding="utf-8"))["ids"][name]


def test_the_toy_language_is_the_recorded_one():
    joined = "\0".join([*load_texts("toy"), *(t for t, _ in toy.labelled(50, 3, "sentiment"))])
    found = hashlib.sha256(joined.encode()).hexdigest()
    assert found == json.loads(RECORD.read_text(encoding="utf-8"))["toy"]


def main():
    """Record this machine."""
    kernels.set_threads(1)
    record = {"toy": "", "ids": {}, "numbers": {}, "machines": {}}
    if RECORD.exists():
        record = json.loads(RECORD.read_text(encoding="utf-8"))
    joined = "\0".join([*load_texts("toy"), *(t for t, _ in toy.labelled(50, 3, "sentiment"))])
    record["toy"] = hashlib.sha256(joined.encode()).hexdigest()
    exact = record["machines"].setdefault(machine(), {})
    for name in ENCODINGS:
        found = ids_of(name)
        if record["ids"].setdefault(name, found) != found:
            print(f"changed: {name}")
        record["ids"][name] = found
    for name, run in FLOATS.items():
        arrays = run()
        if exact.setdefault(name, digest(arrays)) != digest(arrays):
            print(f"changed: {name}")
        exact[name] = digest(arrays)
        record["numbers"].setdefault(name, numbers(arrays))
    RECORD.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
