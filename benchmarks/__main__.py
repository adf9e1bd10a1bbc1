"""Run tinylm and a peer in turn, each in a fresh process, and print medians and ratios.

    python -m benchmarks                        everything
    python -m benchmarks gpt gpt_small --pairs 7 --json

A ratio is peer / tinylm: above 1 we are faster. Keep the machine quiet: other work on its cores
falsifies every number.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from importlib.metadata import version

from . import (
    busy,
    charcnn,
    distil,
    encoders,
    encodings,
    generate,
    gpt,
    layers,
    nanogpt,
    products,
    start,
    xlnet,
)
from .memory import allocated, peak

DROPOUTS = (0.1, 0.0)
STEPS = {"charcnn": charcnn, "xlnet": xlnet, "distil": distil}
NAMES = (
    *gpt.SHAPES,
    *encoders.NAMES,
    *layers.RUNS,
    *STEPS,
    *encodings.NAMES,
    "sgns",
    "cbow",
    "glove",
    "import",
    "cold_start",
    "products",
    "busy",
    "generate",
    "nanogpt",
)


def worker(name, side, dropout, compiled):
    """Measure once, in this process, and print {"ms", "mb"} as a line of JSON.

    An encoding adds what it made, see `encodings.run_ours`.
    """
    if name in encodings.NAMES:
        return print(
            json.dumps(encodings.run_ours(name) if side == "ours" else encodings.run_peer(name))
        )
    if name in ("sgns", "cbow"):
        from . import vectors

        result = vectors.run_tinylm(name) if side == "ours" else vectors.run_gensim(name)
        ms = result["seconds"] * 1e3
    elif name in layers.RUNS:
        ms = layers.RUNS[name][side == "peer"](name)
    elif name in encoders.NAMES:
        ms = encoders.run_ours(name) if side == "ours" else encoders.run_peer(name, compiled)
    elif name in STEPS:
        ms = STEPS[name].run_ours() if side == "ours" else STEPS[name].run_peer(compiled)
    else:
        ms = (
            gpt.run_ours(name, dropout) if side == "ours" else gpt.run_peer(name, dropout, compiled)
        )
    print(json.dumps({"ms": ms, "mb": peak()}))


def measure(name, side, dropout, compiled=False):
    """Start a worker and return its {"ms", "mb"}; for an encoding, also the most memory it allocated."""
    command = [
        sys.executable,
        "-m",
        "benchmarks",
        "--worker",
        name,
        side,
        str(dropout),
        str(int(compiled)),
    ]
    own = encodings.environment(name) if name in encodings.NAMES else {}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    worker, samples = (
        subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "2"} | own, **pipes),
        [],
    )
    while True:
        try:
            output, errors = worker.communicate(timeout=0.005 if own else None)
            break
        except subprocess.TimeoutExpired:
            samples.append((time.monotonic(), allocated(worker.pid)))
    if worker.returncode:
        sys.exit(f"{name} ({side}) failed:\n{errors}")
    found = json.loads(output.strip().splitlines()[-1])
    return found | (
        {"allocated_mb": max(mb for moment, mb in samples if moment < found["until"])}
        if own
        else {}
    )


def sgemm_speed():
    """GFLOP/s of NumPy's product of two 2048 x 2048 float32 matrices on two threads, best of five."""
    code = (
        "import numpy as np, time; a = np.ones((2048, 2048), np.float32); t = []\n"
        "for _ in range(5): s = time.perf_counter(); a @ a; t.append(time.perf_counter() - s)\n"
        "print(2 * 2048**3 / min(t) / 1e9)"
    )
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "2"}
    return float(
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment
        ).stdout
    )


def compare(name, dropout, pairs, compiled, sgemm):
    """One row: medians over `pairs` alternating runs."""
    if name in encodings.NAMES:
        encodings.prepare()
    runs = [
        (measure(name, "ours", dropout), measure(name, "peer", dropout, compiled))
        for _ in range(pairs)
    ]
    ours, peer = ([run[i] for run in runs] for i in (0, 1))
    peers = dict.fromkeys(("sgns", "cbow"), "gensim") | dict.fromkeys(encodings.NAMES, "tokenizers")
    row = {
        "name": f"{name} dropout={dropout:g}" if name in gpt.SHAPES else name,
        "peer": peers.get(name, "torch.compile" if compiled else "torch"),
        "ours_ms": statistics.median(r["ms"] for r in ours),
        "peer_ms": statistics.median(r["ms"] for r in peer),
        "ours_mb": statistics.median(r["mb"] for r in ours),
        "peer_mb": statistics.median(r["mb"] for r in peer),
    }
    row["ratio"] = statistics.median(b["ms"] / a["ms"] for a, b in runs)
    if name in encodings.NAMES:
        row["same"] = encodings.check(name, ours[0]["made"], peer[0]["made"])
        row |= {
            f"{side}_{which}": statistics.median(r[which] for r in rows)
            for side, rows in (("ours", ours), ("peer", peer))
            for which in ("added_mb", "allocated_mb")
        }
    if name in gpt.SHAPES:
        row["sgemm_share"] = gpt.SHAPES[name].flops() / row["ours_ms"] / 1e6 / sgemm
    return row


def show(row):
    """A row as a line of text."""
    share = f"   {100 * row['sgemm_share']:3.0f} % of sgemm" if "sgemm_share" in row else ""
    times = f"{row['ours_ms']:10.2f} ms {row['peer_ms']:10.2f} ms ({row['peer']})"
    memory = f"{row['ours_mb']:6.0f} MB against {row['peer_mb']:6.0f} MB"
    if "ours_added_mb" in row:
        memory += "".join(f", {which} {row[f'ours_{which}_mb']:.0f} against {row[f'peer_{which}_mb']:.0f}"
                          for which in ("added", "allocated"))  # fmt: skip
    return f"{row['name']:24} {times}   ratio {row['ratio']:5.2f}   {memory}{share}   {row.get('same', '')}".rstrip()


def machine(sgemm):
    """One line: processor, threads, versions."""
    packages = ", ".join(
        f"{p} {version(p)}" for p in ("numpy", "numba", "torch", "gensim", "tokenizers")
    )
    cpu = (
        next(
            (
                line.split(":")[1].strip()
                for line in open("/proc/cpuinfo")
                if line.startswith("model name")
            ),
            platform.processor(),
        )
        if os.path.exists("/proc/cpuinfo")
        else platform.processor()
    )
    return f"{cpu}, 2 threads of {os.cpu_count()}; Python {platform.python_version()}, {packages}; sgemm {sgemm:.0f} GFLOP/s"


def meant(name):
    """The benchmark of a name, or those whose names it begins: "attention" means four."""
    return [name] if name in NAMES else [n for n in NAMES if n.startswith(f"{name}_")]


def main():
    """The command line above."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)} (default: all)"
    )
    parser.add_argument(
        "--pairs", type=int, default=5, help="alternating pairs of runs (default 5)"
    )
    parser.add_argument("--text", metavar="FILE", help="the text that nanogpt learns from")
    parser.add_argument("--json", action="store_true", help="print a list of rows as JSON")
    parser.add_argument(
        "--compile", action="store_true", help="compare with torch.compile instead of eager PyTorch"
    )
    parser.add_argument("--worker", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        name, side, dropout, compiled = options.worker
        return worker(name, side, float(dropout), bool(int(compiled)))
    if unknown := [name for name in options.names if not meant(name)]:
        parser.error(
            f"unknown name {unknown[0]!r}; expected one of {', '.join(NAMES)} or the beginning of some"
        )
    rows, out = [], sys.stderr if options.json else sys.stdout
    sgemm = sgemm_speed()
    print(machine(sgemm), file=out)
    for name in [found for given in options.names for found in meant(given)] or NAMES:
        if name == "import":
            print(
                f"import                   {start.import_time():.2f} s for tinylm with its GPT",
                file=out,
            )
        elif name == "cold_start":
            result = start.cold_start()
            print(
                f"cold_start               {result['cold']:.1f} s with an empty kernel cache ({result['parallel']} "
                f"parallel kernels), {result['warm']:.2f} s with a filled one\n  {result['told']}",
                file=out,
            )
        elif name == "glove":
            from . import vectors

            vectors.speed(["glove"], options.pairs)
        elif name == "products":
            for shape in ("gpt_small", "gpt"):
                found = products.compare(shape, options.pairs)
                print(
                    f"products {shape:15} a NumPy product before the import slows a step {found['before']:.2f} times, "
                    f"one between all steps {found['between']:.2f} times",
                    file=out,
                    flush=True,
                )
        elif name == "nanogpt":
            if options.text is None:
                print("nanogpt                  left out: it needs --text FILE", file=out)
                continue
            found = []
            for row in nanogpt.compare(options.text):
                found.append(row)
                print(nanogpt.show(row), file=out, flush=True)
            print(nanogpt.summary(found), file=out, flush=True)
        elif name == "busy":
            print(busy.show(busy.table(options.pairs)), file=out, flush=True)
        elif name == "generate":
            for size in generate.SHAPES:
                rows.append(generate.compare(size, options.pairs))
                print(generate.show(rows[-1]), file=out, flush=True)
        else:
            for dropout in DROPOUTS if name in gpt.SHAPES else (0.0,):
                rows.append(compare(name, dropout, options.pairs, options.compile, sgemm))
                print(show(rows[-1]), file=out, flush=True)
    if options.json:
        print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
