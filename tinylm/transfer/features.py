"""Frozen features: a text becomes one vector, the mean of an encoder's states over its tokens.

    x = mean over t with mask_t of  h_t        then    (x - mean) / std, as measured by `fit`

Any objective serves: all that is used of it is `encode`, which returns the states of every layer,
and, for the layer "summary", its `summary`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tinylm.arguments import strings
from tinylm.data.batching import by_length
from tinylm.errors import ArgumentError, DataError, ShapeError
from tinylm.finite import is_finite
from tinylm.kernels.runtime.pool import one_pool
from tinylm.nn import masked_mean
from tinylm.objectives import Objective, read_by
from tinylm.settings import argument, at_least
from tinylm.tensor import Tensor, no_grad

from .estimator import Estimator
from .mixing import MIX, mixed

# The objective shaped the last layer most. The mean of all layers still holds the words themselves.
LAYERS = ("last", "mean")
# Choices that mean the same where there is a single layer.
ALIKE_IN_ONE_LAYER = {"last", "mean", "mix", "all"}
LAST_FOUR = 4  # layers whose sum and concatenation serve as features; fewer where there are fewer
NO_LIMIT = 2**31  # tokens

Pair = tuple[str, str]


def encode_texts(
    encoder: Objective,
    tokenizer: Any,
    texts: Sequence[str] | Sequence[Pair],
    max_length: int | None = None,
) -> dict[str, np.ndarray]:
    """Texts as the keywords of `encode`: ids and mask, (N,T), and the family's further arrays.

    texts : strings, or pairs of them, which the tokenizer's template puts into one input
    What the encoder does not read is left out, such as the token types of an encoding that was made
    for BERT. A text without a token is read as one padding token, so every row has a real position.
    max_length : tokens read of each text; never more than the encoder has positions for
    raises ArgumentError    for one string instead of a list, and without a tokenizer
    raises DataError        if there is no text
    """
    if tokenizer is None:
        raise ArgumentError(
            "The encoder has no tokenizer, so text cannot be read; give one, or copy its files "
            "into the model's folder."
        )
    parts = parted(texts)
    if not parts[0]:
        raise DataError("Encoding texts: the list is empty; expected at least one text.")
    limits = [n for n in (max_length, encoder.max_length, NO_LIMIT) if n]
    encoded = read_by(encoder, tokenizer(*parts, max_length=min(limits)))
    if encoded["ids"].shape[1] == 0:
        for key, array in encoded.items():
            encoded[key] = np.zeros((len(array), 1, *array.shape[2:]), array.dtype)
    mask = np.array(encoded["mask"], dtype=bool)
    empty = ~mask.any(axis=1)
    mask[empty, 0] = True
    encoded["mask"] = mask
    return encoded


def parted(texts: Sequence[str] | Sequence[Pair]) -> tuple[list[str], ...]:
    """Texts as one list, pairs as two: the first texts and the second ones.

    raises ArgumentError    for one string instead of a list, or for anything else in it

    >>> parted(["sea", "ice"]), parted([("sea", "ice")])
    ((['sea', 'ice'],), (['sea'], ['ice']))
    """
    are_pairs = isinstance(texts, list | tuple) and texts and isinstance(texts[0], list | tuple)
    if not are_pairs:
        return (strings(texts, "texts"),)
    for place, pair in enumerate(texts):
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise ArgumentError(
                f"texts[{place}] is {pair!r:.80}; expected a pair of strings as in texts[0]."
            )
    firsts = strings([first for first, _ in texts], "first texts")
    return firsts, strings([second for _, second in texts], "second texts")


def take(encoded: dict[str, np.ndarray], rows: ArrayLike) -> dict[str, np.ndarray]:
    """Some rows of encoded texts, without the columns that are padding in all of them.

    >>> ids = np.array([[5, 6, 7], [8, 0, 0], [9, 4, 0]])
    >>> take({"ids": ids, "mask": ids > 0}, [1, 2])["ids"].tolist()
    [[8, 0], [9, 4]]
    """
    columns = encoded["mask"][rows].any(axis=0)
    taken = {}
    for key, array in encoded.items():
        taken[key] = np.ascontiguousarray(array[rows][:, columns])
    return taken


def pool(
    states: Sequence[Tensor],
    mask: np.ndarray,
    layers: Sequence[str | int] = LAYERS,
    summary: Callable[[Sequence[Tensor], np.ndarray], Tensor] | None = None,
    mix: np.ndarray | None = None,
) -> np.ndarray:
    """Chosen layers, each averaged over the real positions, side by side.

    states : list of (B,T,C), the embeddings and then every layer, as `encode` returns them
    layers : any of "summary", "last", "second-to-last", "sum-last-4", "concat-last-4", "mean" (the
        mean of all layers that are as wide as the last), "mix" (all layers in shares that the task
        learns), "all" (every layer, side by side), or a number
    summary : an objective's `summary`, which the layer of that name calls
    mix : (L,) the shares of "mix", None for equal ones
    returns (B, F) float
    raises ShapeError       for another name, or for a layer that does not exist

    >>> states = [Tensor([[[1.0], [3.0]]]), Tensor([[[5.0], [9.0]]])]  # two layers of (1, 2, 1)
    >>> mask = np.array([[True, True]])
    >>> pool(states, mask, ["last", "mean"]).tolist()
    [[7.0, 4.5]]
    """
    means = [masked_mean(state, mask).data for state in states]
    if len(means) == 1 and set(layers) <= ALIKE_IN_ONE_LAYER:
        layers = ("last",)
    parts = []
    for layer in layers:
        if layer == "summary":
            parts.append(summary(states, mask).data)
        elif layer == MIX:
            parts.append(mixed(means, mix))
        else:
            parts += chosen(means, layer)
    return np.concatenate(parts, axis=1)


def chosen(means: list[np.ndarray], layer: str | int) -> list[np.ndarray]:
    """The arrays that one entry of `layers` names, of those of all layers.   raises ShapeError

    >>> [array.tolist() for array in chosen([np.zeros((1, 2)), np.ones((1, 2))], "last")]
    [[[1.0, 1.0]]]
    """
    shapes = [mean.shape for mean in means]
    if layer == "last":
        return [means[-1]]
    if layer == "second-to-last" and len(means) > 1:
        return [means[-2]]
    if layer == "mean":
        alike = [mean for mean in means if mean.shape == means[-1].shape]
        return [np.mean(alike, axis=0)]
    if layer == "sum-last-4" and len(set(shapes[-LAST_FOUR:])) == 1:
        return [np.sum(means[-LAST_FOUR:], axis=0)]
    if layer == "concat-last-4":
        return means[-LAST_FOUR:]
    if layer == "all":
        return means
    if isinstance(layer, int) and -len(means) <= layer < len(means):
        return [means[layer]]
    raise ShapeError(
        f"pool: layer {layer!r} of an encoder with {len(means)} arrays of states of shapes "
        f"{shapes}; expected 'summary', 'last', 'mean', 'second-to-last', 'sum-last-4', 'mix' "
        "(these two of equal widths), 'concat-last-4', 'all' or a lower number."
    )


def mean_and_deviation(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What standardises features: (N, F) -> mean (F,), deviation (F,) float64.

    A feature that hardly varies carries only rounding errors; its deviation counts as 1, so that
    they are not magnified.

    >>> mean_and_deviation(np.array([[1.0, 5.0], [3.0, 5.0]]))[1]
    array([1., 1.])
    """
    mean = rows.mean(axis=0, dtype=np.float64)
    deviation = rows.std(axis=0, dtype=np.float64)
    varies = deviation > 1e-6 * max(deviation.max(), 1e-30)
    return mean, np.where(varies, deviation, 1.0)


class Features(Estimator):
    """Frozen encoder, texts in, standardised vectors out, as a transformer of scikit-learn.

    encoder, tokenizer : as `tinylm.hub.load` returns them; the encoder is read, never changed
    batch_size : texts that the encoder reads at a time
    max_length : tokens read of each text      layers : see `pool`
    After `fit`: mean_ and std_, (F,); depth_, L, the number of the encoder's layers.

    >>> import tinylm
    >>> tokenizer = tinylm.text.Words(["sea", "ice"])
    >>> encoder = tinylm.Word2Vec(tinylm.Word2VecConfig(vocab_size=5, size=3))
    >>> Features(encoder, tokenizer).fit_transform(["sea", "ice", "sea ice"]).shape
    (3, 3)
    """

    kind = "transformer"
    fitted = "mean_"
    mean_: np.ndarray | None = None  # until fit
    std_: np.ndarray | None = None
    depth_: int = 0
    mix_: np.ndarray | None = None  # (L,) the shares of "mix"; equal ones until learned

    def __init__(
        self,
        encoder: Objective,
        tokenizer: Any,
        batch_size: int = 32,
        max_length: int | None = 128,
        layers: Sequence[str | int] = LAYERS,
    ):
        self.encoder = encoder
        self.tokenizer = tokenizer
        self.batch_size = batch_size
        self.max_length = max_length
        argument("Features", "batch_size", batch_size, int, at_least(1))
        argument("Features", "max_length", max_length, int | None, at_least(1))
        self.layers = tuple(layers)
        if not self.layers:
            raise ShapeError(f"Features: no layer was chosen; expected some, for example {LAYERS}.")

    def means(self, texts: Sequence[str]) -> np.ndarray:
        """Pooled states before standardisation, (N,F) float32, without dropout or gradient."""
        return self.encode_means(self._encoded(texts))

    def encode_means(self, encoded: dict[str, np.ndarray]) -> np.ndarray:
        """The same as `means`, from the result of `encode_texts`.

        raises DataError    if the states are not finite
        """
        with self.encoder.evaluating():
            rows = self._pooled(encoded)
        if not is_finite(rows):
            raise DataError(
                "Features: the encoder's states are NaN or infinite; "
                "its weights are damaged or its training diverged. "
                "Load another checkpoint, or train anew with a smaller learning rate."
            )
        return rows

    def _pooled(self, encoded: dict[str, np.ndarray]) -> np.ndarray:
        """(N,F) float32. Texts of similar length share a batch, so that little of it is padding."""
        lengths = encoded["mask"].sum(axis=1)
        rows = None
        with no_grad(), one_pool():
            for chosen in by_length(lengths, self.batch_size):
                batch = take(encoded, chosen)
                states = self.encoder.encode(**batch)
                self.depth_ = len(states)
                pooled = pool(states, batch["mask"], self.layers, self.encoder.summary, self.mix_)
                if rows is None:
                    rows = np.empty((lengths.size, pooled.shape[1]), np.float32)
                rows[chosen] = pooled
        return rows

    def fit(self, texts: Sequence[str], labels: Any = None) -> "Features":
        """Measure mean and deviation of every feature; the labels are ignored.   returns self"""
        self.fit_transform(texts)
        return self

    def fit_transform(self, texts: Sequence[str], labels: Any = None) -> np.ndarray:
        """`fit` and `transform` of the same texts; encodes them once."""
        return self.fit_encoded(self._encoded(texts))

    def fit_encoded(self, encoded: dict[str, np.ndarray]) -> np.ndarray:
        """The same as `fit_transform`, from the result of `encode_texts`."""
        return self.fit_means(self.encode_means(encoded))

    def fit_means(self, rows: np.ndarray) -> np.ndarray:
        """The same as `fit_transform`, from the result of `means`."""
        self.mean_, self.std_ = mean_and_deviation(rows)
        return self.standardise(rows)

    def standardise(self, rows: np.ndarray) -> np.ndarray:
        """(rows - mean) / std with the numbers of `fit`, (N,F) float64.

        raises ShapeError   before `fit`, or if the rows have another width than those of `fit`
        """
        if self.mean_ is None:
            raise ShapeError(
                "Features: not fitted yet; call fit(texts) or fit_transform(texts) first."
            )
        if rows.shape[1:] != self.mean_.shape:
            raise ShapeError(
                f"Features: the encoder gives rows {rows.shape}, but {self.mean_.shape} numbers "
                "were measured by fit; take both from the same model."
            )
        return (rows - self.mean_) / self.std_

    def transform(self, texts: Sequence[str]) -> np.ndarray:
        """(N,) texts -> (N,F) float64, standardised as `fit` has it.

        raises ShapeError   before `fit`
        """
        return self.standardise(self.means(texts))

    def _encoded(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        return encode_texts(self.encoder, self.tokenizer, texts, self.max_length)
