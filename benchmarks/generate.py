"""Greedy generation, one text: a prompt of 32 tokens, then 64 more, beside transformers and CTranslate2.

    python -m benchmarks generate --pairs 5        both sizes
    python -m benchmarks.generate tiny             one size

Each round starts a fresh process for tinylm, transformers (`generate`, greedy, with its cache) and,
if it can be imported, CTranslate2 (float32), in turn. A time is ms per new token, the reading of
the prompt included. All three run the same random weights, which transformers' initialisation and
a fixed seed decide.

`reading` is the time of reading all weights once: a NumPy product of a matrix as large as all
weights together with a vector, in tinylm's process and on as many threads. No program that uses
every weight for every token can be faster, unless the weights fit into a cache.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec

import numpy as np

from .gpt import Shape

SHAPES = {
    "tiny": Shape(1, 256, 128, 4, 4, 4096),
    "gpt2_124m": Shape(1, 1024, 768, 12, 12, 50257),
}
PROMPT = 32
NEW = 64
REPEATS = {"tiny": 60, "gpt2_124m": 3}
SIDES = ("tinylm", "transformers", "ctranslate2")


def available():
    """The sides that can run here."""
    return [side for side in SIDES if find_spec(side)]


def ids(shape):
    """The prompt."""
    return np.random.default_rng(0).integers(0, shape.V, PROMPT)


def per_token(name, write):
    """Median ms per new token of `write()`, which returns the new ids, after one call to warm up."""
    times = []
    write()
    for _ in range(REPEATS[name]):
        start = time.perf_counter()
        new = write()
        times.append(time.perf_counter() - start)
        assert len(new) == NEW
    return 1e3 * statistics.median(times) / NEW


def torch_model(shape):
    """transformers' GPT-2 with random weights from a fixed seed."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=shape.V,
        n_positions=shape.T,
        n_embd=shape.C,
        n_layer=shape.L,
        n_head=shape.H,
        bos_token_id=None,
        eos_token_id=None,
    )
    return GPT2LMHeadModel(config).eval()


def run_tinylm(name):
    """{"ms", "reading"} of tinylm."""
    import tinylm
    from tinylm.training.generate import generate

    shape = SHAPES[name]
    config = tinylm.GPTConfig(shape.V, shape.T, shape.C, shape.L, shape.H)
    model = tinylm.GPT(config).eval()
    prompt = ids(shape)
    tinylm.set_threads(2)
    with tinylm.one_pool():
        ms = per_token(name, lambda: list(generate(model, prompt, NEW, temperature=0)))
    weights = sum(p.size for p in model.parameters())
    return {"ms": ms, "reading": reading(weights, shape.C)}


def reading(count, width):
    """Median ms of a product of a float32 matrix of `count` numbers with a vector."""
    matrix = np.ones((count // width, width), np.float32)
    vector = np.ones(width, np.float32)
    times = []
    for _ in range(25):
        start = time.perf_counter()
        matrix @ vector
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def run_transformers(name):
    """{"ms"} of transformers."""
    import torch

    torch.set_num_threads(2)
    shape = SHAPES[name]
    model = torch_model(shape)
    read = torch.tensor(ids(shape))[None]
    how = {"do_sample": False, "use_cache": True, "pad_token_id": 0}
    mask = torch.ones_like(read)

    def write():
        found = model.generate(read, attention_mask=mask, max_new_tokens=NEW, **how)
        return found[0, PROMPT:]

    return {"ms": per_token(name, write)}


def run_ctranslate2(name):
    """{"ms"} of CTranslate2, which converts transformers' folder first."""
    import ctranslate2

    shape = SHAPES[name]
    with tempfile.TemporaryDirectory() as folder:
        torch_model(shape).save_pretrained(f"{folder}/theirs")
        tokens = [f"t{i}" for i in range(shape.V - 1)] + ["<|endoftext|>"]
        with open(f"{folder}/theirs/vocab.json", "w") as file:
            json.dump({token: i for i, token in enumerate(tokens)}, file)
        with open(f"{folder}/theirs/merges.txt", "w") as file:
            file.write("#version: 0.2\n")
        converter = ctranslate2.converters.TransformersConverter(f"{folder}/theirs")
        converter.convert(f"{folder}/converted")
        generator = ctranslate2.Generator(f"{folder}/converted", "cpu", intra_threads=2)
        prompt = [tokens[i] for i in ids(shape)]
        how = {"max_length": NEW, "min_length": NEW, "include_prompt_in_result": False}

        def write():
            [result] = generator.generate_batch([prompt], sampling_topk=1, **how)
            return result.sequences_ids[0]

        return {"ms": per_token(name, write)}


RUNS = {
    "tinylm": run_tinylm,
    "transformers": run_transformers,
    "ctranslate2": run_ctranslate2,
}


def measure(name, side):
    """What a fresh worker for `side` found."""
    command = [sys.executable, "-m", "benchmarks.generate", name, "--worker", side]
    environment = os.environ | {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(f"generate {name} ({side}) failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def compare(name, pairs):
    """One row: medians over `pairs` rounds in which each side runs once, and ratios within a round."""
    rounds = [{side: measure(name, side) for side in available()} for _ in range(pairs)]
    row = {"name": f"generate_{name}"}
    for side in available():
        row[side] = statistics.median(found[side]["ms"] for found in rounds)
        ratios = [found[side]["ms"] / found["tinylm"]["ms"] for found in rounds]
        row[f"{side}_ratio"] = statistics.median(ratios)
    row["reading"] = statistics.median(found["tinylm"]["reading"] for found in rounds)
    shares = [found["tinylm"]["ms"] / found["tinylm"]["reading"] for found in rounds]
    row["readings"] = statistics.median(shares)
    return row


def show(row):
    """A row for reading: ms per token of each side, and how often tinylm could read its weights."""
    cells = [f"{side} {row[side]:.2f}" for side in SIDES if side in row]
    ratios = [f"{row[f'{side}_ratio']:.2f} of {side}" for side in SIDES[1:] if side in row]
    return (
        f"{row['name']:24} {', '.join(cells)} ms a token; faster by {', '.join(ratios)}; "
        f"reading the weights once {row['reading']:.2f} ms, so {row['readings']:.2f} readings"
    )


def main():
    """The rows of the sizes that are asked for, or what a worker measures, as JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.generate", description=__doc__.splitlines()[0]
    )
    parser.add_argument("names", nargs="*", default=list(SHAPES), metavar="NAME")
    parser.add_argument("--pairs", type=int, default=5, help="rounds (default 5)")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    for name in options.names:
        if options.worker:
            print(json.dumps(RUNS[options.worker](name)))
        else:
            print(show(compare(name, options.pairs)), flush=True)


if __name__ == "__main__":
    main()
