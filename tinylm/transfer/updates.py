"""The one loop by which adapted networks learn: a batch, its loss, its gradient, one update.

    for each stage, an optimiser with a peak rate:
        for each of its updates:   loss(batch).backward();   optimiser.step(rate · schedule)

Fine-tuning, tagging, distillation and several tasks differ in what the loss is and in what the
optimiser moves. Only the conversational agent has a loop of its own: it adds up several backwards
for an update (chat.py).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from tinylm import nn, optim
from tinylm.errors import DivergenceError
from tinylm.tensor import Tensor


class Schedule(Protocol):
    """What the loop reads of a config, such as an AdaptConfig."""

    clip: float

    def multiplier(self, step: int, steps: int) -> float:
        """The share of the peak rate at update `step` of `steps`."""


@dataclass(frozen=True)
class Stage:
    """Updates that share an optimiser and a schedule.

    rate : the peak     updates : how many
    """

    optimiser: optim.Optimizer
    rate: float
    updates: int


def learn(
    network: nn.Module,
    loss: Callable[[int, Any], Tensor],
    batches: Iterator[Any],
    stages: Iterable[Stage],
    updates: int,
    config: Schedule,
    what: str,
    progress: Callable[[int, int], None],
) -> None:
    """Lower a loss, stage after stage; the network is in evaluation mode afterwards.

    loss : (number of the update, what `batches` gave) -> scalar; it also sets the dropout's noise
    stages : each is asked for when the one before has ended, so it may freeze layers then
    updates : of all stages together     what : names the training in an error
    progress : called as progress(done, updates)
    raises DivergenceError  if training diverges
    """
    network.train()
    done = 0
    for stage in stages:
        for place in range(stage.updates):
            stage.optimiser.zero_grad()
            loss(done, next(batches)).backward()
            rate = stage.rate * config.multiplier(place, stage.updates)
            norm = stage.optimiser.step(lr=rate, max_norm=config.clip)
            done += 1
            if not np.isfinite(norm):
                raise DivergenceError(
                    f"{what} diverged: the gradient norm became {norm} at update {done} of "
                    f"{updates}; give smaller rates than {stage.rate}"
                )
            progress(done, updates)
    network.eval()
