"""Measure how much busy neighbours slow down a training step of `gpt_small`, and a generated token.

    python -m benchmarks busy --pairs 5                          the table
    python -m benchmarks.busy --pairs 5 --also 3000 30000 one    other choices beside it

Each round starts a fresh process for `before` (libgomp's own 300,000 spins), `after` (tinylm's
choice), each of `--also` (a number of spins, or `one`: tinylm on one thread) and PyTorch, in turn.
A process measures alone, then beside one and beside two neighbours. A neighbour is a Python
process that counts: it waits for nothing and uses no memory.

A time is the mean over some seconds. A neighbour delays only a few steps, those in which a thread
must wait for a core, and a median would not see these.
"""

import argparse
import contextlib
import itertools
import json
import os
import statistics
import subprocess
import sys
import time

import numpy as np

from . import gpt

NAME = "gpt_small"
NEIGHBOURS = (0, 1, 2)
SECONDS = 1.5  # of measuring each number
WARM_UP = 0.3  # seconds; a new neighbour has begun by then
LIBGOMP_SPINS = "300000"  # what libgomp takes where nothing is set
SETTINGS = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
COUNTING = """
import os
parent = os.getppid()
while os.getppid() == parent:
    for _ in range(1_000_000):
        pass
"""


@contextlib.contextmanager
def neighbours(count):
    """Within this context `count` processes keep as many cores busy; they end with us, even if killed."""
    started = []
    try:
        for _ in range(count):
            started.append(subprocess.Popen([sys.executable, "-c", COUNTING]))
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def mean_ms(work):
    """Mean ms of `work()` over SECONDS, and at least three calls, after a warm-up."""
    _repeat(work, WARM_UP)
    return _repeat(work, SECONDS)


def _repeat(work, seconds):
    """Mean ms of `work()` over some seconds, and at least three calls."""
    start = time.perf_counter()
    for calls in itertools.count(1):
        work()
        passed = time.perf_counter() - start
        if passed >= seconds and calls >= 3:
            return 1e3 * passed / calls


def our_work():
    """(a training step, a whole generated window) of tinylm, as functions."""
    import tinylm
    from tinylm.training.generate import generate

    step = gpt.our_step(NAME, 0.1)
    shape = gpt.SHAPES[NAME]
    config = tinylm.GPTConfig(shape.V, shape.T, shape.C, shape.L, shape.H)
    reader = tinylm.GPT(config)

    def window():
        for _ in generate(reader, [1], shape.T - 1, temperature=0):
            pass

    return step, window


def peer_work():
    """The same two functions of PyTorch."""
    import torch

    step = gpt.peer_step(NAME, 0.1)
    shape = gpt.SHAPES[NAME]
    net = gpt.torch_model(shape, shape.T, 0.0).eval()

    @torch.inference_mode()
    def window():
        newest = torch.tensor([[1]])
        pasts = [None] * shape.L
        for position in range(shape.T - 1):
            logits, pasts = torch_next(net, shape, newest, position, pasts)
            newest = logits[:, -1].argmax(-1, keepdim=True)

    return step, window


def torch_next(net, shape, ids, position, pasts):
    """Read ids (1, 1) at `position`, after cached keys and values.

    returns logits (1, 1, V), and the cache with one position more
    """
    import torch
    from torch.nn import functional as F

    x = net.wte(ids) + net.wpe.weight[position]
    longer = []
    for block, past in zip(net.blocks, pasts, strict=True):
        q, k, v = (
            z.view(1, 1, shape.H, -1).transpose(1, 2)
            for z in block.qkv(block.ln_1(x)).split(shape.C, 2)
        )
        if past is not None:
            k = torch.cat((past[0], k), 2)
            v = torch.cat((past[1], v), 2)
        longer.append((k, v))
        y = F.scaled_dot_product_attention(q, k, v)
        x = x + block.out(y.transpose(1, 2).reshape(1, 1, shape.C))
        x = x + block.down(F.gelu(block.up(block.ln_2(x)), approximate="tanh"))
    return net.ln_f(x) @ net.wte.weight.T, longer


def worker(side):
    """Measure in this process: {"step": ms beside each number of NEIGHBOURS, "token": the same}."""
    pool = contextlib.nullcontext()
    if side == "torch":
        step, window = peer_work()
    else:
        import tinylm

        step, window = our_work()
        tinylm.set_threads(1 if side == "one" else 2)
        pool = tinylm.one_pool()
    tokens = gpt.SHAPES[NAME].T - 1
    found = {"step": [], "token": []}
    with pool:
        for count in NEIGHBOURS:
            with neighbours(count):
                found["step"].append(mean_ms(step))
                found["token"].append(mean_ms(window) / tokens)
    return found


def environment(side):
    """The variables of a worker: what the user set for waiting threads is replaced by the side's."""
    kept = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    kept["OMP_NUM_THREADS"] = "2"
    if side == "before":
        kept["GOMP_SPINCOUNT"] = LIBGOMP_SPINS
    elif side.isdigit():
        kept["GOMP_SPINCOUNT"] = side
    return kept


def measure(side):
    """The result of a fresh worker for `side`."""
    command = [sys.executable, "-m", "benchmarks.busy", "--worker", side]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env=environment(side)
    )
    return json.loads(done.stdout.splitlines()[-1])


def table(pairs, also=()):
    """Rows {"side", "work", "ms", "ratio", "idle"}, each number a median over `pairs` rounds.

    ms : beside each number of neighbours
    ratio : ms beside each number of neighbours / ms alone, of the same process
    idle : ms alone / ms alone of `before` in the same round
    """
    sides = ("before", "after", *also, "torch")
    rounds = [{side: measure(side) for side in sides} for _ in range(pairs)]
    rows = []
    for work, side in itertools.product(("step", "token"), sides):
        times = np.array([found[side][work] for found in rounds])  # (pairs, NEIGHBOURS)
        before = np.array([found["before"][work][0] for found in rounds])
        rows.append(
            {
                "side": side,
                "work": work,
                "ms": np.median(times, axis=0).tolist(),
                "ratio": np.median(times / times[:, :1], axis=0).tolist(),
                "idle": statistics.median(times[:, 0] / before),
            }
        )
    return rows


def show(rows):
    """The table as text: ms alone and beside one and two neighbours."""
    head = f"{'busy':6} {'':8} {'alone':>10} {'one busy':>20} {'two busy':>20} {'alone/before':>14}"
    lines = [head]
    for row in rows:
        alone, *beside = row["ms"]
        cells = [
            f"{ms:9.2f} ms ({ratio:5.2f})"
            for ms, ratio in zip(beside, row["ratio"][1:], strict=True)
        ]
        start = f"{row['work']:6} {row['side']:8} {alone:7.2f} ms"
        lines.append(" ".join([start, *(f"{cell:>20}" for cell in cells), f"{row['idle']:14.2f}"]))
    return "\n".join(lines)


def main():
    """The table with further choices, or what a worker measures, as JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.busy", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--pairs", type=int, default=5, help="rounds (default 5)")
    parser.add_argument("--also", nargs="*", default=[], help="values of GOMP_SPINCOUNT, or one")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(worker(options.worker)))
    else:
        print(show(table(options.pairs, options.also)))


if __name__ == "__main__":
    main()
