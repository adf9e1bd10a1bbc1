"""Measure how much a user's own NumPy product slows down a training step.

The product runs once before `import tinylm`, or between all steps.
"""

import json
import statistics
import subprocess
import sys

from . import gpt

USES = ("alone", "before", "between")
SIZE = 512  # of the user's product: large enough that NumPy's BLAS wakes all its threads


def worker(name, use):
    """Median ms per step in this process, with the user's product where `use` says."""
    import numpy as np

    a = np.ones((SIZE, SIZE), np.float32)
    if use == "before":
        a @ a  # tinylm is imported below
    return gpt.run_ours(name, 0.1, between=(lambda: a @ a) if use == "between" else None)


def compare(name, pairs):
    """{"before": ratio, "between": ratio} to `alone`, medians over `pairs` rounds of fresh processes."""
    rounds = [{use: _fresh(name, use) for use in USES} for _ in range(pairs)]
    return {use: statistics.median(r[use] / r["alone"] for r in rounds) for use in USES[1:]}


def _fresh(name, use):
    command = [sys.executable, "-m", "benchmarks.products", name, use]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    print(json.dumps(worker(*sys.argv[1:])))
