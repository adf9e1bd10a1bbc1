"""Skip-gram with negative sampling on the newsgroups training text: tinylm, and gensim with 2 workers from `corpus_file`.

    python -m benchmarks.sgns               one epoch each, alternately: words/s and peak memory
    python -m benchmarks.sgns --quality     five epochs, three seeds each: WordSim-353, Spearman, mean ± standard error

Both: 100 dimensions, window 5, 5 negatives, min_count 5, sample 1e-3, alpha 0.025; otherwise each one's own defaults.
Every run has a process of its own. Timed is the training alone: vocabularies, and tinylm's ids, are made before.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SETTINGS = dict(window=5, negative=5, sample=1e-3)
SIZE, MIN_COUNT, ALPHA, THREADS = 100, 5, 0.025, 2


def run_tinylm(epochs=1, seed=0, threads=THREADS):
    """Train tinylm's Word2Vec; returns a dict, see `_result`."""
    import tinylm
    from tinylm.data import encode_corpus, load_texts
    from tinylm.text import Words

    tinylm.set_threads(threads)
    texts = load_texts("newsgroups")
    tokenizer = Words.train(texts, min_count=MIN_COUNT)
    corpus = encode_corpus(texts, tokenizer)
    _small(tinylm)  # compiles, or loads what an earlier run compiled
    model = tinylm.Word2Vec(tinylm.Word2VecConfig(tokenizer.vocab_size, SIZE, **SETTINGS), np.random.default_rng(seed))
    model.prepare(corpus)
    steps = epochs * model.steps_per_epoch
    start = time.perf_counter()
    for step in range(steps):
        model.fast_step(model.batch(step, seed), ALPHA * (1 - step / steps))
    seconds = time.perf_counter() - start
    return _result(seconds, epochs * corpus.words, {w: i for i, w in enumerate(tokenizer.vocab)}, model.embedding_table())


def _small(tinylm):
    """One step on ten words."""
    model = tinylm.Word2Vec(tinylm.Word2VecConfig(20, SIZE, **SETTINGS))
    model.prepare(tinylm.data.Corpus(np.arange(3, 13, dtype=np.int32), np.array([0, 10]), 20, 10, 10))
    model.fast_step(model.batch(0, 0), ALPHA)


def run_gensim(epochs=1, seed=0, threads=THREADS):
    """Train gensim's Word2Vec on the same documents, one per line of a file; returns a dict, see `_result`."""
    from gensim.models import Word2Vec

    from tinylm.data import load_texts

    texts = load_texts("newsgroups")
    model = Word2Vec(vector_size=SIZE, sg=1, min_count=MIN_COUNT, alpha=ALPHA, workers=threads, seed=seed + 1, **SETTINGS)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "corpus.txt"
        path.write_text("\n".join(" ".join(text.split()) for text in texts) + "\n", encoding="utf-8")
        model.build_vocab(corpus_file=str(path))
        start = time.perf_counter()
        model.train(corpus_file=str(path), total_words=model.corpus_total_words, total_examples=model.corpus_count,
                    epochs=epochs)
        seconds = time.perf_counter() - start
    words = epochs * sum(len(text.split()) for text in texts)
    return _result(seconds, words, model.wv.key_to_index, model.wv.vectors)


RUNS = {"tinylm": run_tinylm, "gensim": run_gensim}


def _result(seconds, words, index, vectors):
    """Seconds of the training, words of text per second, peak memory in MB, WordSim-353's Spearman, pairs covered."""
    mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    spearman, pairs = wordsim(index, vectors)
    return {"seconds": seconds, "words_per_second": words / seconds, "mb": mb, "spearman": spearman, "pairs": pairs}


def wordsim(index, vectors):
    """Spearman's correlation of cosines with people's scores over the pairs whose words are known, and their number."""
    from scipy.stats import spearmanr

    from tinylm.data import load_similarity

    pairs = [(a.lower(), b.lower(), score) for a, b, score in load_similarity("wordsim353")]
    covered = [(index[a], index[b], score) for a, b, score in pairs if a in index and b in index]
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    cosines = [unit[a] @ unit[b] for a, b, _ in covered]
    return float(spearmanr(cosines, [score for *_, score in covered]).statistic), len(covered)


def fresh(system, epochs=1, seed=0):
    """The result of a run in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.sgns", "--worker", system, "--epochs", str(epochs), "--seed", str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    if done.returncode:
        raise RuntimeError(f"the run of {system} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def speed(pairs=5):
    """Runs of one epoch, alternately; prints medians."""
    runs = {name: [] for name in RUNS}
    for _ in range(pairs):
        for name, results in runs.items():
            results.append(fresh(name))
    for name, results in runs.items():
        rate, mb = (np.median([r[key] for r in results]) for key in ("words_per_second", "mb"))
        print(f"{name}: {rate / 1e6:.2f} M words/s, {mb:.0f} MB")


def quality(epochs=5, seeds=3):
    """Several seeds each; prints WordSim-353's Spearman, mean ± standard error, and the words/s on the way."""
    for name in RUNS:
        results = [fresh(name, epochs, seed) for seed in range(seeds)]
        scores = np.array([r["spearman"] for r in results])
        rate = np.median([r["words_per_second"] for r in results])
        error = scores.std(ddof=1) / seeds**0.5
        print(f"{name}: WordSim-353 {scores.mean():.4f} ± {error:.4f} over {results[0]['pairs']} pairs "
              f"({', '.join(f'{s:.4f}' for s in scores)}), {rate / 1e6:.2f} M words/s", flush=True)


def main():
    """The command line above."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sgns")
    parser.add_argument("--quality", action="store_true", help="compare quality, not speed")
    parser.add_argument("--worker", choices=RUNS, help=argparse.SUPPRESS)
    parser.add_argument("--epochs", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(RUNS[options.worker](options.epochs, options.seed)))
    else:
        quality() if options.quality else speed()


if __name__ == "__main__":
    main()
