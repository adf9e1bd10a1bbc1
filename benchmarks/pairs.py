"""The same work by tinylm and by a peer, in turn, each in a fresh process: medians and ratios.

    python -m benchmarks.pairs charcnn peer     what one process measures

A ratio is peer / tinylm: above 1 we are faster.
"""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from . import charcnn, distil, encoders, gpt, layers, recurrent, vectors, xlnet
from .machine import sgemm_speed
from .memory import peak


@dataclass(frozen=True)
class Pair:
    """The same work on both sides; each function returns its ms.

    compiled : the peer by torch.compile; None where it runs only eagerly
    flops : of the work's matrix products; 0 where nobody counts them
    """

    ours: Callable[[], float]
    peer: Callable[[], float]
    compiled: Callable[[], float] | None = None
    against: str = "torch"
    flops: int = 0


def pair_of(module, *arguments, flops=0):
    """The pair of a module's `run_ours(*arguments)` and `run_peer(*arguments, compiled)`."""
    ours = partial(module.run_ours, *arguments)
    peer = partial(module.run_peer, *arguments)
    return Pair(ours, peer, partial(peer, compiled=True), flops=flops)


def vectors_ms(run, form):
    """ms of the epoch that `vectors.run_tinylm` or `run_gensim` times in seconds."""
    return 1e3 * run(form)["seconds"]


PAIRS = {
    f"{name} dropout={dropout:g}": pair_of(gpt, name, dropout, flops=shape.flops())
    for name, shape in gpt.SHAPES.items()
    for dropout in (0.1, 0.0)
}
PAIRS |= {name: pair_of(encoders, name) for name in encoders.NAMES}
PAIRS |= {
    name: Pair(partial(ours, name), partial(peer, name))
    for name, (ours, peer) in (layers.RUNS | recurrent.RUNS).items()
}
PAIRS |= {"charcnn": pair_of(charcnn), "xlnet": pair_of(xlnet), "distil": pair_of(distil)}
PAIRS |= {
    form: Pair(
        partial(vectors_ms, vectors.run_tinylm, form),
        partial(vectors_ms, vectors.run_gensim, form),
        against="gensim",
    )
    for form in ("sgns", "cbow")
}


def worker(name, side):
    """Measure once, in this process: {"ms", "mb"}.   side : ours, peer or compiled"""
    pair = PAIRS[name]
    sides = {"ours": pair.ours, "peer": pair.peer, "compiled": pair.compiled}
    ms = sides[side]()
    return {"ms": ms, "mb": peak()}


def measure(name, side):
    """The result of a fresh worker."""
    command = [sys.executable, "-m", "benchmarks.pairs", name, side]
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(f"{name} ({side}) failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def compare(name, rounds, compiled=False):
    """One row: medians over rounds in which each side runs once, and of the ratios of a round."""
    pair = PAIRS[name]
    other = "compiled" if compiled and pair.compiled else "peer"
    runs = [(measure(name, "ours"), measure(name, other)) for _ in range(rounds)]
    against = "torch.compile" if other == "compiled" else pair.against
    row = medians(name, against, runs)
    if pair.flops:
        row["sgemm_share"] = pair.flops / row["ours_ms"] / 1e6 / sgemm_speed()
    return row


def medians(name, against, runs):
    """A row of the medians of runs, each a pair of {"ms", "mb"}: ours and the peer's."""
    ours, peer = zip(*runs, strict=True)
    return {
        "name": name,
        "peer": against,
        "ours_ms": statistics.median(run["ms"] for run in ours),
        "peer_ms": statistics.median(run["ms"] for run in peer),
        "ours_mb": statistics.median(run["mb"] for run in ours),
        "peer_mb": statistics.median(run["mb"] for run in peer),
        "ratio": statistics.median(theirs["ms"] / own["ms"] for own, theirs in runs),
    }


def show(row):
    """A row as a line of text."""
    times = f"{row['ours_ms']:10.2f} ms {row['peer_ms']:10.2f} ms ({row['peer']})"
    memory = f"{row['ours_mb']:6.0f} MB against {row['peer_mb']:6.0f} MB"
    line = f"{row['name']:24} {times}   ratio {row['ratio']:5.2f}   {memory}"
    if "sgemm_share" in row:
        line += f"   {100 * row['sgemm_share']:3.0f} % of sgemm"
    return line


if __name__ == "__main__":
    print(json.dumps(worker(*sys.argv[1:])))
