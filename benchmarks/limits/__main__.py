"""`python -m benchmarks.limits`: see the package's own text."""

import sys

from .lines import LINES, Limits

chosen = list(LINES)
if sys.argv[1:]:
    chosen = sys.argv[1].split(",")
seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
share = float(sys.argv[3]) if len(sys.argv) > 3 else 1.0
limits = Limits(seed, share)
for name in chosen:
    limits.measure(name)
