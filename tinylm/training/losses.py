"""What a run reads from its losses: the means of their parts, divergence, the mean of an epoch."""

from collections import deque
from collections.abc import Mapping

from tinylm.errors import DivergenceError


class Components:
    """Means of the parts of a loss, over several batches.

    A part is a mean over the batch's predictions, or a pair (sum, count) where something else is
    counted: sentences, or tokens that were not predicted.

    >>> parts = Components()
    >>> parts.add({"masked": 2.0, "next_sentence": (1.5, 3)}, predictions=10)
    >>> parts.add({"masked": 5.0, "next_sentence": (0.5, 1)}, predictions=20)
    >>> parts.means()
    {'masked': 4.0, 'next_sentence': 0.5}
    """

    def __init__(self):
        self.sums: dict[str, list[float]] = {}

    def add(self, components: Mapping, predictions: int) -> None:
        """Add a batch: the components that `Objective.loss` returned, and its predictions."""
        for name, part in components.items():
            if name in ("loss", "tokens"):
                continue
            total, count = part if isinstance(part, tuple) else (part * predictions, predictions)
            sums = self.sums.setdefault(name, [0.0, 0])
            sums[0] += float(total)
            sums[1] += count

    def means(self) -> dict[str, float]:
        """The mean of each part that counted anything."""
        return {name: total / count for name, (total, count) in self.sums.items() if count}


class Divergence:
    """Tells a run whose loss explodes from a run with one bad batch.

    A run has diverged when the mean of its recent losses exceeds 1,000 times its first loss. First
    losses between -1 and 1 count as 1, and negative ones by their size. So 1e-9 and then 1e-3 is no
    explosion; -3 and then 5,000 is one.

    .first : the run's first loss, kept in checkpoints; None before it
    """

    FACTOR = 1000.0

    def __init__(self):
        self.first: float | None = None

    def add(self, step: int, loss: float, recent: deque[float], lr: float, last: bool) -> None:
        """Count an update, and judge the run once `recent` is full.

        recent : the last losses, this one included     lr : the run's learning rate, for the error
        last : this is the last update, so judge the run even if `recent` is not full
        raises DivergenceError  if the run has diverged

        >>> Divergence().add(1, loss=5.5, recent=deque([5.5], maxlen=50), lr=0.1, last=True)
        """
        if self.first is None:
            self.first = loss
        if not last and len(recent) < recent.maxlen:
            return
        mean = sum(recent) / len(recent)
        if mean > self.FACTOR * max(abs(self.first), 1.0):
            raise DivergenceError(
                f"training diverged: at step {step} the mean loss of the last {len(recent)} "
                f"updates is {mean:.3g}, the first loss was {self.first:.3g}; "
                f"try a smaller learning rate than {lr} or a longer warm-up"
            )


class EpochMean:
    """The mean loss of each epoch, in float64, every step weighted by its tokens.

    .sums : [sum of loss · tokens, sum of tokens] since the epoch began, kept in checkpoints

    >>> epoch = EpochMean()
    >>> epoch.add(1, 2, {"loss": 3.0, "tokens": 10})
    >>> epoch.add(2, 2, {"loss": 5.0, "tokens": 30})
    {'epoch': 1, 'loss': 4.5}
    """

    def __init__(self):
        self.sums: list[float] = [0.0, 0]

    def add(
        self, step: int, steps_per_epoch: int | None, record: Mapping, accumulate: int = 1
    ) -> dict | None:
        """Count update `step` (the first is 1) with the loss and tokens of its record.

        steps_per_epoch : batches that read the text once     accumulate : batches of an update
        returns {"epoch": number, "loss": mean} if an epoch ends here, else None
        """
        if not steps_per_epoch:
            return None
        weighted = self.sums[0] + record["loss"] * record["tokens"]
        tokens = self.sums[1] + record["tokens"]
        read = step * accumulate // steps_per_epoch
        if read == (step - 1) * accumulate // steps_per_epoch:
            self.sums = [weighted, tokens]
            return None
        self.sums = [0.0, 0]
        return {"epoch": read, "loss": weighted / max(tokens, 1)}
