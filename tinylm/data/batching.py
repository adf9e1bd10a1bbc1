"""Batches as pure functions of the step and the seed: to seek is to resume, and nothing has to be stored.

B, T are the batch size and the number of positions, N the number of token ids in the corpus.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinylm.errors import DataError, ShapeError
from tinylm.memory import must_fit


def windows(n_ids: int, length: int, batch_size: int, step: int, seed: int) -> np.ndarray:
    """Where the windows of training step `step` begin: every window once per epoch, in shuffled order.

    Epoch e cuts the corpus into windows of `length` ids beginning at a random offset (so that the cuts move from epoch
    to epoch) and visits them in a random order; a batch may span the end of one epoch and the beginning of the next.

    n_ids, length : N and the ids per window (to predict the next token at T positions: T + 1)
    returns (B,) int64 positions p with p + length <= n_ids
    raises DataError        if the corpus is shorter than one window
    """
    if length < 1 or batch_size < 1 or step < 0:
        raise ShapeError(
            f"windows: got length {length}, batch_size {batch_size}, step {step}; expected length and "
            "batch_size of at least 1 and a step of at least 0."
        )
    must_fit((batch_size, length), 16, "A batch of that size (its inputs and targets)")
    if n_ids < length:
        raise DataError(
            f"The corpus has {n_ids} tokens, a window needs {length}; give more text or a shorter window."
        )
    per_epoch = max(
        (n_ids - length + 1) // length, 1
    )  # what fits behind the largest offset, so all epochs are equal
    places = np.arange(step * batch_size, (step + 1) * batch_size, dtype=np.int64)
    starts = np.empty(batch_size, np.int64)
    for epoch in range(int(places[0]) // per_epoch, int(places[-1]) // per_epoch + 1):
        here = places // per_epoch == epoch
        rng = np.random.default_rng([seed, 1, epoch])
        offset = int(rng.integers(min(length, n_ids - per_epoch * length + 1)))
        starts[here] = offset + length * rng.permutation(per_epoch)[places[here] % per_epoch]
    return starts


def stream(
    ids: np.ndarray, batch_size: int, length: int, step: int
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Batch number `step` of one continuous reading of the corpus in B parallel lanes, for models that carry a state.

    Lane b reads the b-th B-th of the corpus from its beginning; the inputs of step s + 1 continue those of step s.

    ids : (N,) int
    returns inputs (B, T), targets (B, T) = the inputs one position later, and fresh: True where the lanes begin
    again, so the carried state must be forgotten
    raises DataError        if a lane holds fewer than T + 1 ids
    """
    lane = len(ids) // batch_size
    per_epoch = (lane - 1) // length
    if per_epoch < 1:
        raise DataError(
            f"The corpus has {len(ids)} tokens; {batch_size} lanes of {length} positions need at least "
            f"{batch_size * (length + 1)}; give more text, fewer lanes or a shorter length."
        )
    place = step % per_epoch
    lanes = np.asarray(ids)[: lane * batch_size].reshape(batch_size, lane)  # (N,) -> (B, N // B)
    begin = place * length
    return lanes[:, begin : begin + length], lanes[:, begin + 1 : begin + length + 1], place == 0


def length_buckets(
    lengths: Sequence[int] | np.ndarray, batch_size: int, seed: int, epoch: int
) -> list[np.ndarray]:
    """Batches of examples of similar length, so that little is padding; their order is shuffled by seed and epoch.

    Examples are shuffled, then sorted by length inside chunks of 50 batches: similar, and still different each epoch.

    lengths : (D,) ids per example
    returns index arrays of at most `batch_size` entries; together they hold every example exactly once
    """
    if batch_size < 1:
        raise ShapeError(f"length_buckets: got batch_size {batch_size}; expected at least 1.")
    lengths = np.asarray(lengths)
    rng = np.random.default_rng([seed, 2, epoch])
    order, chunk = rng.permutation(len(lengths)), 50 * batch_size
    batches: list[np.ndarray] = []
    for begin in range(0, len(order), chunk):
        near = order[begin : begin + chunk]
        near = near[np.argsort(lengths[near], kind="stable")]
        batches += [near[i : i + batch_size] for i in range(0, len(near), batch_size)]
    return [batches[i] for i in rng.permutation(len(batches))]


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
    """
    width = max([1, *map(len, rows)]) if length is None else length
    ids = np.full((len(rows), width), pad_id, np.int64)
    mask = np.zeros((len(rows), width), bool)
    for b, row in enumerate(rows):
        n = min(len(row), width)
        place = slice(width - n, width) if left else slice(n)
        ids[b, place] = row[:n]
        mask[b, place] = True
    return ids, mask
