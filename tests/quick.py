"""How much of a long list of cases a run tries: CI all of it, a quick run a few, others each time."""

import os
import random
from collections.abc import Iterable

IN_CI = bool(os.environ.get("CI"))


def some(cases: Iterable, count: int) -> list:
    """All cases in CI; else at most `count` of them, drawn anew, in their order.

    >>> some("ab", 5)
    ['a', 'b']
    """
    cases = list(cases)
    if IN_CI or len(cases) <= count:
        return cases
    kept = sorted(random.Random().sample(range(len(cases)), count))
    return [cases[i] for i in kept]
