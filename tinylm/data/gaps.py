"""Gaps in a text, as ELECTRA makes them: which places to fill, and the text with samples there."""

import numpy as np

from .masking import count_picks


def pick(ids, mask, never, share: float, most: int, rng: np.random.Generator) -> np.ndarray:
    """Places to fill: in each row round(share · real tokens), but at least 1 and at most `most`.

    They are drawn with replacement, as published, so one can be drawn twice.

    ids : (B, T)     mask : (B, T) bool, True = a real token     never : ids that are not picked
    returns (P,) int64, places in the flattened (B·T,)

    >>> ids = np.array([[2, 7, 3]])
    >>> pick(ids, ids > 0, [2, 3], 0.5, 9, np.random.default_rng(0)).tolist()
    [1, 1]
    """
    allowed = mask & ~np.isin(ids, never)
    length = ids.shape[1]
    places = []
    for b, row in enumerate(allowed):
        count = count_picks(int(mask[b].sum()), share, most)
        places.append(b * length + rng.choice(np.flatnonzero(row), count))
    return np.concatenate(places)


def fill(ids, picks, samples, repeats: str = "last") -> np.ndarray:
    """The text with the samples at the picked places.   ids : (B, T) -> (B, T)

    picks, samples : (P,)     repeats : what counts at a place that comes twice, the
    "last" sample or the "mean" of the ids, rounded down, as in the released code

    >>> fill(np.array([[5, 6, 7]]), [1, 1], [2, 8]).tolist()
    [[5, 8, 7]]
    >>> fill(np.array([[5, 6, 7]]), [1, 1], [2, 8], "mean").tolist()
    [[5, 5, 7]]
    """
    corrupted = np.array(ids).reshape(-1)
    samples = np.asarray(samples)
    if repeats == "mean":
        sums = np.bincount(picks, samples).astype(np.int64)
        samples = sums[picks] // np.bincount(picks)[picks]
    corrupted[picks] = samples  # of repeated places the last one counts
    return corrupted.reshape(np.shape(ids))
