"""Find a learning rate: raise it from far too small to far too large, and watch the loss.

    lr_i = low · (high/low)^(i/(n−1)),    one update at each

At first nothing happens, then the loss falls, at last it explodes. The rate to train with lies
where it falls fastest: a run of some seconds in place of a guess. Afterwards the model is what it
was.
Source: Smith 2017 (cyclical rates); fastai's lr_find.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tinylm.errors import TinylmError
from tinylm.settings import above, argument, at_least

from .train import Trainer

SMOOTH = 0.9  # share of the past in the running mean of the losses
EXPLODED = 1.5  # the search ends where the mean loss is this many times the least one
FEWEST = 5  # rates that a suggestion needs


@dataclass(frozen=True)
class RateSearch:
    """What the search saw.

    rates, losses : of its updates, until the loss exploded; the losses are running means
    suggested : the rate at which the loss fell fastest     largest : the one of the least loss
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    suggested: float
    largest: float


def find_rate(
    trainer: Trainer, low: float = 1e-6, high: float = 100.0, steps: int = 100
) -> RateSearch:
    """Make one update at each of `steps` rates from low to high, and forget them.

    trainer : of a prepared objective; its own rate and schedule do not matter
    raises TinylmError  if the loss explodes before there is anything to see
    Example: `tinylm find-rate gpt --data toy --out rates.svg`
    """
    argument("find_rate", "low", low, float, above(0))
    argument("find_rate", "high", high, float, above(low))
    argument("find_rate", "steps", steps, int, at_least(FEWEST))
    rates = np.geomspace(low, high, steps)
    seen: list[float] = []
    for loss in trainer.sweep(rates):
        seen.append(loss)
        means = smoothed(seen)
        if means[-1] > EXPLODED * max(means.min(), 0) and len(seen) > FEWEST:
            break
    means = smoothed(seen)
    tried = rates[: len(means)]
    suggested = steepest(tried, means)
    largest = tried[int(np.argmin(means))]
    return RateSearch(tuple(tried.tolist()), tuple(means.tolist()), suggested, float(largest))


def smoothed(losses: ArrayLike) -> np.ndarray:
    """Running means in which the past counts 0.9, without a bias to zero at the beginning.

    >>> smoothed([2.0, 2.0, 4.0]).round(2)
    array([2.  , 2.  , 2.74])
    """
    losses = np.asarray(losses, np.float64)
    means = np.empty(len(losses))
    mean = 0.0
    for i, loss in enumerate(losses):
        mean = SMOOTH * mean + (1 - SMOOTH) * loss
        means[i] = mean / (1 - SMOOTH ** (i + 1))
    return means


def steepest(rates: ArrayLike, losses: ArrayLike) -> float:
    """The rate at which the loss falls fastest, by the logarithm of the rate.

    raises TinylmError  for fewer than five rates, or a loss that never falls

    >>> steepest([1e-3, 1e-2, 1e-1, 1.0, 10.0], [5.0, 4.9, 4.0, 3.0, 8.0])
    0.1
    """
    if len(losses) < FEWEST:
        raise TinylmError(
            f"the loss exploded after {len(losses)} updates; begin with a smaller rate"
        )
    slopes = np.gradient(losses, np.log(rates))
    best = int(np.argmin(slopes))
    if slopes[best] >= 0:
        raise TinylmError("the loss falls at no rate; begin with a smaller one, or try more steps")
    return float(rates[best])
