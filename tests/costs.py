"""How the cost of work grows with its size: what guards against work that is quadratic in a text.

No test asserts a time. A processor may change its speed between two measurements, so both pieces of
work are measured in turn, and the least time of each counts.
"""

import time
from collections.abc import Callable

LEAST = 3  # rounds
MOST = 9


def cost_at_most(factor: float, small: Callable, large: Callable, slack: float = 0.1) -> None:
    """Assert that `large()` takes at most `factor` times as long as `small()`.

    slack : seconds on top, which work of no size may take

    >>> cost_at_most(2, lambda: None, lambda: None)
    """
    least = [float("inf"), float("inf")]
    for turn in range(1, MOST + 1):
        for i, work in enumerate((small, large)):
            begin = time.process_time()
            work()
            least[i] = min(least[i], time.process_time() - begin)
        if turn >= LEAST and least[1] < factor * least[0] + slack:
            return
    raise AssertionError(f"{least[1]:.3f} s against {least[0]:.3f} s, above {factor} times")
