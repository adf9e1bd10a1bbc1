"""Batches as pure functions of the step and the seed: a resumed run needs nothing but its step.

B, T are the batch size and the number of positions, N the number of token ids in the corpus.
"""

import itertools
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np

from tinylm.errors import DataError, ShapeError
from tinylm.memory import must_fit

CHUNK = 50  # examples are sorted by length within so many batches
LEAST = 5  # ids of a window whose length is drawn
SPREAD = 5.0  # deviation of the drawn lengths


def windows(n_ids: int, length: int, batch_size: int, step: int, seed: int) -> np.ndarray:
    """The starts of the windows of a training step: every window once per epoch, shuffled.

    Each epoch cuts the corpus into windows of `length` ids. The first one begins at a random
    offset, so that the cuts move from epoch to epoch. A batch may span the end of one epoch and the
    beginning of the next.

    n_ids, length : N and the ids per window. To predict the next token at T positions, give N − 1
        and T, and read one id more than a window has: it is the last target
    returns (B,) int64 positions p with p + length <= n_ids
    raises ShapeError       for a length, batch_size or step that is too small
    raises DataError        if the corpus is shorter than one window

    >>> windows(n_ids=10, length=3, batch_size=2, step=0, seed=0)
    array([4, 1])
    """
    if length < 1 or batch_size < 1 or step < 0:
        raise ShapeError(
            f"windows: got length {length}, batch_size {batch_size}, step {step}; expected length "
            "and batch_size of at least 1 and a step of at least 0."
        )
    must_fit((batch_size, length), 16, "A batch of that size (its inputs and targets)")
    if n_ids < length:
        raise DataError(
            f"The corpus has {n_ids} tokens, a window needs {length}; "
            "give more text or a shorter window."
        )
    # Every epoch has as many windows as the largest offset leaves room for.
    per_epoch = max((n_ids - length + 1) // length, 1)
    first = step * batch_size
    places = np.arange(first, first + batch_size, dtype=np.int64)
    epochs = places // per_epoch
    starts = np.empty(batch_size, np.int64)
    for epoch in range(int(epochs[0]), int(epochs[-1]) + 1):
        here = epochs == epoch
        in_order = _windows_of_epoch(n_ids, length, per_epoch, seed, epoch)
        starts[here] = in_order[places[here] % per_epoch]
    return starts


@lru_cache(maxsize=2)  # kept for all steps of an epoch; a batch may span two
def _windows_of_epoch(n_ids, length, per_epoch, seed, epoch):
    """The starts of all windows of an epoch, in the order in which they are read: (per_epoch,)."""
    rng = np.random.default_rng([seed, 1, epoch])
    offsets = min(length, n_ids - per_epoch * length + 1)
    offset = int(rng.integers(offsets))
    starts = offset + length * rng.permutation(per_epoch)
    starts.flags.writeable = False
    return starts


def stream(
    ids: np.ndarray,
    batch_size: int,
    length: int,
    step: int,
    seed: int | None = None,
    stride: int | None = None,
    backward: bool | Sequence[bool] | np.ndarray = False,
) -> tuple[np.ndarray, np.ndarray, bool]:
    """One batch of a continuous reading of the corpus, for models that carry a state.

    The corpus is cut into B lanes of equal length, which are read in parallel. The inputs of step
    s + 1 continue those of step s.

    ids : (N,) int
    seed : draws the length of every window by `jittered`, anew for each epoch; None for windows of
        `length` throughout
    stride : how far step s + 1 begins behind step s, if not at the end of its window; without seed
    backward : the lanes are read from their ends to their beginnings; or one bool for each lane
    returns inputs (B, T), targets (B, T) = the inputs one position later, and fresh, a bool: True
        if the lanes begin again and the carried state must be forgotten
    raises DataError        if a lane holds fewer than T + 1 ids
    raises ShapeError       if a size is below 1, or stride comes with a seed

    >>> inputs, targets, fresh = stream(np.arange(10), batch_size=2, length=2, step=1)
    >>> inputs.tolist(), targets.tolist(), fresh
    ([[2, 3], [7, 8]], [[3, 4], [8, 9]], False)
    >>> stream(np.arange(10), 2, 3, step=0, backward=[False, True])[0].tolist()
    [[0, 1, 2], [9, 8, 7]]
    """
    if min(batch_size, length, 1 if stride is None else stride) < 1 or step < 0:
        raise ShapeError(
            f"stream: got batch_size {batch_size}, length {length}, stride {stride}, step {step}; "
            "expected sizes of at least 1 and a step of at least 0."
        )
    if stride is not None and seed is not None:
        raise ShapeError("stream: windows of drawn lengths have no stride; leave out seed or it.")
    lane = len(ids) // batch_size
    if lane <= length:
        least = batch_size * (length + 1)
        raise DataError(
            f"The corpus has {len(ids)} tokens; {batch_size} lanes of {length} positions need "
            f"at least {least}; give more text, fewer lanes or a shorter length."
        )

    if seed is None:
        stride = stride or length
        place = step % ((lane - 1 - length) // stride + 1)
        begin = place * stride
        end = begin + length
    else:
        begin, end = _drawn_window(lane, length, step, seed)

    first = lane * np.arange(batch_size)  # of each lane
    turned = np.broadcast_to(backward, batch_size)
    origin = np.where(turned, first + lane - 1, first)
    direction = np.where(turned, -1, 1)
    steps = np.arange(begin, end + 1)
    at = origin[:, None] + direction[:, None] * steps  # (B,T+1)
    window = np.asarray(ids)[at]
    return window[:, :-1], window[:, 1:], begin == 0


def jittered(count: int, length: int, rng: np.random.Generator) -> np.ndarray:
    """Lengths of windows that differ a little, so that the cuts never fall on the same places.

        base = length with probability 0.95, else length / 2
        T = max(5, a draw from N(base, 5²) without its fraction)

    returns (count,) int64
    Source: Merity et al. 2018, section 5, and their code.

    >>> jittered(7, 70, np.random.default_rng(0)).tolist()
    [74, 66, 63, 66, 70, 58, 68]
    """
    is_half = rng.random(count) >= 0.95
    base = np.where(is_half, length / 2, length)
    drawn = rng.normal(base, SPREAD)
    return np.maximum(drawn.astype(np.int64), LEAST)


def _drawn_window(lane: int, length: int, step: int, seed: int) -> tuple[int, int]:
    """Begin and end of the window of a step, in a lane that `_cuts` divides anew each epoch."""
    epoch = 0
    while step >= _count(lane, length, seed, epoch):
        step -= _count(lane, length, seed, epoch)
        epoch += 1
    cuts = _cuts(lane, length, seed, epoch)
    return int(cuts[step]), int(cuts[step + 1])


@lru_cache(maxsize=1 << 16)
def _count(lane: int, length: int, seed: int, epoch: int) -> int:
    """How many windows an epoch has."""
    return len(_cuts(lane, length, seed, epoch)) - 1


@lru_cache(maxsize=4)
def _cuts(lane: int, length: int, seed: int, epoch: int) -> np.ndarray:
    """Where the windows of an epoch begin, and the end of the last one: 0 … lane − 1."""
    rng = np.random.default_rng([seed, 4, epoch])
    ends = np.zeros(1, np.int64)
    while ends[-1] < lane - 1:
        missing = (lane - 1 - ends[-1]) // length + 1
        lengths = jittered(int(missing), length, rng)
        ends = np.concatenate([ends, ends[-1] + np.cumsum(lengths)])
    last = max(lane - 1 - LEAST, 0)  # where a window may begin, so that none is too short
    begins = ends[ends <= last]
    return np.append(begins, lane - 1)


def length_buckets(
    lengths: Sequence[int] | np.ndarray, batch_size: int, seed: int, epoch: int
) -> list[np.ndarray]:
    """Batches of examples of similar length, so that little of a batch is padding.

    Examples are shuffled, then sorted by length inside chunks of 50 batches. So the batches hold
    similar lengths and still differ each epoch.

    lengths : (D,) ids per example
    returns index arrays of at most `batch_size` entries; together they hold every example once
    raises ShapeError       if batch_size is below 1

    >>> [batch.tolist() for batch in length_buckets([5, 1, 5, 1], batch_size=2, seed=0, epoch=0)]
    [[1, 3], [2, 0]]
    """
    if batch_size < 1:
        raise ShapeError(f"length_buckets: got batch_size {batch_size}; expected at least 1.")
    lengths = np.asarray(lengths)
    rng = np.random.default_rng([seed, 2, epoch])
    order = rng.permutation(len(lengths))
    chunk = CHUNK * batch_size
    batches: list[np.ndarray] = []
    for begin in range(0, len(order), chunk):
        shuffled = order[begin : begin + chunk]
        by_length = shuffled[np.argsort(lengths[shuffled], kind="stable")]
        for i in range(0, len(by_length), batch_size):
            batches.append(by_length[i : i + batch_size])
    return [batches[i] for i in rng.permutation(len(batches))]


def endless_buckets(
    lengths: Sequence[int] | np.ndarray, batch_size: int, seed: int
) -> Iterator[np.ndarray]:
    """The batches of `length_buckets`, epoch after epoch, without end.

    >>> batches = endless_buckets([5, 1, 5, 1], batch_size=2, seed=0)
    >>> [next(batches).tolist() for _ in range(3)]
    [[1, 3], [2, 0], [0, 2]]
    """
    for epoch in itertools.count():
        yield from length_buckets(lengths, batch_size, seed, epoch)


def by_length(lengths: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """Every example once, short ones first: batches for reading, with little padding.

    lengths : (N,) ids per example
    returns arrays of the numbers of examples, `batch_size` each but for the last

    >>> [batch.tolist() for batch in by_length(np.array([5, 1, 4]), batch_size=2)]
    [[1, 2], [0]]
    """
    order = np.argsort(lengths, kind="stable")
    return [order[first : first + batch_size] for first in range(0, order.size, batch_size)]


def pad(
    rows: Sequence[Sequence[int] | np.ndarray],
    pad_id: int = 0,
    length: int | None = None,
    left: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Token lists of different lengths as one rectangle, padded on the right (or on the left).

    rows : B lists of ids
    length : T, the longest row by default (at least 1); longer rows are cut
    returns ids (B, T) int64 and mask (B, T) bool, True = a real token

    >>> ids, mask = pad([[5, 6, 7], [8]])
    >>> ids.tolist()
    [[5, 6, 7], [8, 0, 0]]
    >>> mask[1].tolist()
    [True, False, False]
    """
    longest = max([1, *map(len, rows)])
    width = longest if length is None else length
    ids = np.full((len(rows), width), pad_id, np.int64)
    mask = np.zeros((len(rows), width), bool)
    for b, row in enumerate(rows):
        n = min(len(row), width)
        place = slice(width - n, width) if left else slice(n)
        ids[b, place] = row[:n]
        mask[b, place] = True
    return ids, mask
