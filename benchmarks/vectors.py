"""word2vec and GloVe beside gensim, on the newsgroups training text.

    python -m benchmarks.vectors                            speed
    python -m benchmarks.vectors --quality [--form cbow]    quality
    python -m benchmarks.vectors --scaling                  a tenfold text

Speed: one epoch each, in turn; words/s, peak memory and ratios, of GloVe also cells/s and the seconds
of counting. Quality: five epochs (glove: 25) of three seeds; WordSim-353 and analogies, mean ±
standard error. Scaling: tinylm alone, one epoch of 5 and of 50 M words, from posts drawn with
replacement; seconds and peak memory. Every run has a process of its own. Only the training is timed:
vocabularies, and tinylm's ids, are made before.

Forms:
    sgns, cbow    100 dimensions, window 5, 5 negatives, min_count 5, sample 1e-3, alpha 0.025 or 0.05;
                  cbow takes the mean
    ngrams        sgns with n-grams of 3 to 6 characters in 100,000 rows
    glove         100 dimensions, window 15, x_max 10; it has no peer

Otherwise each side has its own defaults. tinylm cuts a post after 1,000 words and shuffles the posts
anew in every epoch. gensim has 2 workers and reads `corpus_file` in order, a half per thread; it cuts
after 10,000 words. Neither the cut nor gensim's reading from a file instead of a list changes CBOW's
score by more than the standard error over seeds, about 0.006 of WordSim-353.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from .memory import peak

SETTINGS = dict(window=5, negative=5, sample=1e-3)
SIZE, MIN_COUNT, THREADS = 100, 5, 2
ALPHA = {"sgns": 0.025, "cbow": 0.05, "ngrams": 0.025}
NGRAMS = dict(minn=3, maxn=6, bucket=100_000)
SCALES = (5_000_000, 50_000_000)  # words
EPOCHS = {"sgns": 5, "cbow": 5, "ngrams": 5, "glove": 25}  # of a run for quality


def encoded(words=0):
    """The words that occur five times in the training posts, and the posts as ids.

    words : draw posts with replacement until there are about so many words; 0 takes each post once
    """
    from tinylm.data import Corpus, encode_corpus, load_texts
    from tinylm.text import Words

    texts = load_texts("newsgroups")
    tokenizer = Words.train(texts, min_count=MIN_COUNT)
    corpus = encode_corpus(texts, tokenizer)
    if not words:
        return tokenizer, corpus
    chosen = np.random.default_rng(0).integers(
        len(texts), size=round(words * len(texts) / corpus.words)
    )
    starts = np.append(0, np.cumsum(np.diff(corpus.starts)[chosen]))
    ids = np.concatenate([corpus.document(d) for d in chosen])
    return tokenizer, Corpus(ids, starts, corpus.vocab_size, starts[-1], corpus.characters)


def run_tinylm(form="sgns", epochs=1, seed=0, threads=THREADS, words=0):
    """Train tinylm's Word2Vec; returns a dict, see `_result`."""
    import tinylm

    tinylm.set_threads(threads)
    tokenizer, corpus = encoded(words)
    _small(tinylm)  # compiles, or loads what an earlier run compiled
    rng = np.random.default_rng(seed)
    if form == "ngrams":
        config = tinylm.FastTextConfig(tokenizer.vocab_size, SIZE, **NGRAMS, **SETTINGS)
        model = tinylm.FastText(config, rng)
    else:
        config = tinylm.Word2VecConfig(tokenizer.vocab_size, SIZE, cbow=form == "cbow", **SETTINGS)
        model = tinylm.Word2Vec(config, rng)
    model.spell(tokenizer.vocab, tokenizer.special_ids)
    model.prepare(corpus)
    steps = epochs * model.steps_per_epoch
    start = time.perf_counter()
    with tinylm.one_pool():
        for step in range(steps):
            model.fast_step(model.batch(step, seed), ALPHA[form] * (1 - step / steps))
    seconds = time.perf_counter() - start
    return _result(seconds, epochs * corpus.words, tokenizer.vocab, model.embedding_table())


def _small(tinylm):
    """One step on ten words."""
    model = tinylm.Word2Vec(tinylm.Word2VecConfig(20, SIZE, **SETTINGS))
    ten = tinylm.data.Corpus(np.arange(3, 13, dtype=np.int32), np.array([0, 10]), 20, 10, 10)
    model.prepare(ten)
    model.fast_step(model.batch(0, 0), 0.025)


def run_glove(form="glove", epochs=1, seed=0, threads=THREADS, words=0):
    """Count and fit tinylm's GloVe.

    returns a dict, see `_result`, and in it also cells, counting (seconds, with shuffling), cost and
        cells_per_second
    """
    import tinylm
    from tinylm.data.cooccurrence import Window, cooccurrences

    tinylm.set_threads(threads)
    tokenizer, corpus = encoded(words)
    few = tinylm.data.Corpus(np.arange(3, 13, dtype=np.int32), np.array([0, 10]), 20, 10, 10)
    cooccurrences(few, Window(3))  # compiles, or loads what an earlier run compiled
    config = tinylm.GloVeConfig(tokenizer.vocab_size, SIZE, x_max=10.0)
    model = tinylm.GloVe(config, np.random.default_rng(seed))
    start = time.perf_counter()
    model.prepare(corpus)
    counting = time.perf_counter() - start
    steps = epochs * model.steps_per_epoch
    costs = []
    start = time.perf_counter()
    with tinylm.one_pool():
        for step in range(steps):
            costs.append(model.fast_step(model.batch(step, seed), 0.05))
    seconds = time.perf_counter() - start
    more = {
        "cells": len(model.cells),
        "counting": counting,
        "cost": float(np.mean(costs[-model.steps_per_epoch :])),
        "cells_per_second": epochs * len(model.cells) / seconds,
    }
    return _result(seconds, epochs * corpus.words, tokenizer.vocab, model.embedding_table()) | more


def run_gensim(form="sgns", epochs=1, seed=0, threads=THREADS, words=0):
    """Train gensim's Word2Vec or FastText on the posts, one per line of a file; returns a dict, see `_result`.

    words : not used, all posts are read
    """
    from gensim.models import FastText, Word2Vec

    from tinylm.data import load_texts

    texts = load_texts("newsgroups")
    settings = SETTINGS | {
        "vector_size": SIZE,
        "sg": int(form != "cbow"),
        "min_count": MIN_COUNT,
        "alpha": ALPHA[form],
        "workers": threads,
        "seed": seed + 1,
    }
    if form == "ngrams":
        ngrams = {"min_n": NGRAMS["minn"], "max_n": NGRAMS["maxn"], "bucket": NGRAMS["bucket"]}
        model = FastText(**settings, **ngrams)
    else:
        model = Word2Vec(**settings)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "corpus.txt"
        lines = [" ".join(text.split()) + "\n" for text in texts]
        path.write_text("".join(lines), encoding="utf-8")
        model.build_vocab(corpus_file=str(path))
        start = time.perf_counter()
        model.train(
            corpus_file=str(path),
            total_words=model.corpus_total_words,
            total_examples=model.corpus_count,
            epochs=epochs,
        )
        seconds = time.perf_counter() - start
    words = epochs * sum(len(text.split()) for text in texts)
    return _result(seconds, words, model.wv.index_to_key, model.wv.vectors)


RUNS = {"tinylm": run_tinylm, "gensim": run_gensim}


def runs(form):
    """The sides that can run a form: tinylm, and gensim where it can."""
    return {"tinylm": run_glove} if form == "glove" else RUNS


def _result(seconds, words, vocab, table):
    """{"seconds" of the training, "words_per_second", "mb" at the peak, ...: agreement with people}."""
    from tinylm import Vectors
    from tinylm.data import load_analogies, load_similarity

    mb = peak()  # before the tests below
    vectors = Vectors(vocab, table)
    pairs = vectors.evaluate_word_pairs(load_similarity("wordsim353"))
    analogies = vectors.evaluate_word_analogies(load_analogies())
    return {
        "seconds": seconds,
        "words_per_second": words / seconds,
        "mb": mb,
        "spearman": pairs["spearman"],
        "pairs": pairs["pairs"],
        "analogies": analogies["accuracy"],
        "questions": analogies["questions"],
    }


def fresh(system, form, epochs=1, seed=0, words=0):
    """The result of a run in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.vectors"]
    command += ["--worker", system, "--form", form]
    command += ["--epochs", str(epochs), "--seed", str(seed), "--words", str(words)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    if done.returncode:
        raise RuntimeError(f"the run of {system} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def medians(rows, *keys):
    """The median over runs of each of their numbers `keys`."""
    return [float(np.median([row[key] for row in rows])) for key in keys]


def speed(forms, pairs):
    """Train for one epoch, the peers in turn; yield lines of medians and of ratios to the peer."""
    for form in forms:
        results = {name: [] for name in runs(form)}
        for _ in range(pairs):
            for name in results:
                results[name].append(fresh(name, form))
        for name, rows in results.items():
            rate, mb = medians(rows, "words_per_second", "mb")
            yield f"{form} {name}: {rate / 1e6:.2f} M words/s, {mb:.0f} MB"
        if form == "glove":
            rows = results["tinylm"]
            rate, counting, cells = medians(rows, "cells_per_second", "counting", "cells")
            fitted = f"{rate / 1e6:.2f} M of {cells / 1e6:.1f} M cells/s"
            yield f"glove tinylm: {fitted}; counting and shuffling {counting:.1f} s"
        else:
            ratios = [
                ours["words_per_second"] / theirs["words_per_second"]
                for ours, theirs in zip(results["tinylm"], results["gensim"], strict=True)
            ]
            yield f"{form} ratio {np.median(ratios):.2f}"


def quality(forms, seeds):
    """Train with several seeds; yield lines: agreement with people, and speed."""
    for form in forms:
        for name in runs(form):
            rows = [fresh(name, form, EPOCHS[form], seed) for seed in range(seeds)]
            people = agreement(rows, "WordSim-353", "spearman", "pairs")
            analogies = agreement(rows, "analogies", "analogies", "questions")
            [rate] = medians(rows, "words_per_second")
            line = f"{form} {name}: {people}; {analogies}; {rate / 1e6:.2f} M words/s"
            if form == "glove":
                cost = np.mean([row["cost"] for row in rows])
                line += f", cost {cost:.5f} a cell"
            yield line


def agreement(rows, what, score, count):
    """The mean of a score over seeds ± its standard error, over how many questions, each seed's."""
    scores = np.array([row[score] for row in rows])
    error = scores.std(ddof=1) / len(scores) ** 0.5
    each = ", ".join(f"{s:.4f}" for s in scores)
    return f"{what} {scores.mean():.4f} ± {error:.4f} over {rows[0][count]:,} ({each})"


def scaling(forms, _):
    """Train on a text and on ten times as much; yield lines of seconds, memory and ratios.

    Of GloVe the seconds are those of counting and shuffling.
    """
    for form in forms:
        small, large = (fresh("tinylm", form, words=words) for words in SCALES)
        key = "counting" if form == "glove" else "seconds"
        for words, row in zip(SCALES, (small, large), strict=True):
            yield f"{form}: {words / 1e6:.0f} M words {row[key]:.1f} s, {row['mb']:.0f} MB"
        times = large[key] / small[key]
        bytes_a_word = 2**20 * (large["mb"] - small["mb"]) / (SCALES[1] - SCALES[0])
        yield f"{form}: {times:.1f} times the time, {bytes_a_word:.0f} bytes a word"


def main():
    """The command line above."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.vectors")
    parser.add_argument("--quality", action="store_true", help="compare quality, not speed")
    parser.add_argument("--scaling", action="store_true", help="a tenfold text")
    parser.add_argument("--form", choices=EPOCHS, help="one of them (default: all)")
    parser.add_argument(
        "--pairs", type=int, default=3, help="alternating runs, or seeds (default 3)"
    )
    parser.add_argument("--worker", choices=RUNS, help=argparse.SUPPRESS)
    parser.add_argument("--epochs", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--words", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        run = runs(options.form)[options.worker]
        print(json.dumps(run(options.form, options.epochs, options.seed, words=options.words)))
    else:
        what = quality if options.quality else scaling if options.scaling else speed
        forms = [options.form] if options.form else list(EPOCHS)
        for line in what(forms, options.pairs):
            print(line, flush=True)


if __name__ == "__main__":
    main()
