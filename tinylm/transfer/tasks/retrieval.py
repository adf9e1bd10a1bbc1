"""Texts as vectors, judged: do they rank pairs as people do, and is the right text found?

    similarity    Spearman's correlation of cosines with people's numbers
    recall@k      how often the right text is among the k nearest to a query
    MRR           the mean of 1 / rank of the right text

Texts that are equally near share the worst of their ranks, so a model that sees no difference
between texts finds nothing.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from tinylm.errors import DataError, ShapeError
from tinylm.finite import is_finite

from ..features import Pair, parted
from ..metrics import pearson, spearman
from ..sentences import unit

COUNTS = (1, 5, 10)


def similarity_scores(
    encoder: Callable[[Sequence[str]], np.ndarray], pairs: Sequence[Pair], numbers: ArrayLike
) -> dict[str, float]:
    """How well the cosines of pairs follow people's numbers.

    encoder : texts -> vectors (N, C), such as a `SentenceEncoder`
    pairs : N of them     numbers : (N,), higher for texts that are more alike
    returns {"spearman", "pearson"}
    raises ShapeError  if there is no pair, or not one number for each, or not one vector for each
        text

    >>> vectors = {"sea": [1.0, 0.0], "lake": [0.9, 0.1], "tax": [0.0, 1.0]}
    >>> def encoder(texts):
    ...     return np.array([vectors[text] for text in texts])
    >>> scores = similarity_scores(encoder, [("sea", "lake"), ("sea", "tax")], [5, 1])
    >>> round(scores["spearman"], 3)
    1.0
    """
    parts = parted(pairs)
    if len(parts) != 2:
        raise ShapeError("similarity: there are no pairs of texts; expected (text, text), ….")
    firsts, seconds = parts
    a = np.asarray(encoder(firsts))
    b = np.asarray(encoder(seconds))
    if a.shape != b.shape or a.ndim != 2 or len(a) != len(firsts):
        raise ShapeError(
            f"similarity: the encoder made {a.shape} and {b.shape} of {len(firsts)} pairs; "
            "expected (N, C) twice, a vector for each text."
        )
    cosines = (unit(a) * unit(b)).sum(axis=1)
    return {"spearman": spearman(numbers, cosines), "pearson": pearson(numbers, cosines)}


def retrieval_scores(
    queries: ArrayLike,
    texts: ArrayLike,
    right: ArrayLike,
    counts: Sequence[int] = COUNTS,
) -> dict[str, float]:
    """How often, and how early, the right text is found by its cosine with the query.

    queries : (Q, C) vectors     texts : (N, C) vectors     right : (Q,) numbers of texts
    counts : k of each recall@k
    returns {"recall@1", ..., "mrr"}, in [0, 1]
    raises ShapeError  if the shapes do not fit, or a number is no text's
    raises DataError  if a vector is not finite

    >>> texts = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> retrieval_scores(texts[:2], texts, [0, 2], counts=(1, 2))
    {'recall@1': 0.5, 'recall@2': 1.0, 'mrr': 0.75}
    """
    queries = np.asarray(queries)
    texts = np.asarray(texts)
    right = np.asarray(right)
    fits = queries.ndim == texts.ndim == 2 and queries.shape[1:] == texts.shape[1:]
    if not fits or right.shape != (len(queries),) or not right.size:
        raise ShapeError(
            f"retrieval: queries {queries.shape}, texts {texts.shape} and right {right.shape}; "
            "expected (Q, C), (N, C) and (Q,), Q ≥ 1."
        )
    if right.dtype.kind not in "iu":
        raise ShapeError(f"retrieval: right holds {right.dtype}; expected whole numbers of texts.")
    if right.min() < 0 or right.max() >= len(texts):
        raise ShapeError(f"retrieval: a right text has no number from 0 to {len(texts) - 1}.")
    if not (is_finite(queries) and is_finite(texts)):
        raise DataError("retrieval: the vectors hold NaN or infinity; expected finite numbers.")
    cosines = unit(queries) @ unit(texts).T  # (Q,C) @ (C,N) -> (Q,N)
    own = np.take_along_axis(cosines, right[:, None], axis=1)
    ranks = (cosines >= own).sum(axis=1)  # 1 for the nearest
    scores = {f"recall@{k}": float(np.mean(ranks <= k)) for k in counts}
    scores["mrr"] = float(np.mean(1 / ranks))
    return scores
