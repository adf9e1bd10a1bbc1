"""Frozen features: a text becomes one vector, the mean of an encoder's states over its real positions.

    x = mean over t with mask_t of  h_t        then    (x - mean) / std, as seen in `fit`

Any objective serves: all that is asked of it is `encode`, one array of states per layer.
"""

from collections.abc import Sequence

import numpy as np

from tinylm import ops as F
from tinylm.arguments import strings
from tinylm.errors import DataError, ShapeError
from tinylm.finite import is_finite
from tinylm.kernels.runtime.pool import one_pool
from tinylm.tensor import Tensor, no_grad

# What a text is made of by default: the last layer, which the objective shaped most, beside the mean of all layers,
# where the words themselves are still near.
LAYERS = ("last", "mean")


def encode_texts(encoder, tokenizer, texts, max_length: int | None = None) -> dict[str, np.ndarray]:
    """Texts as the keywords of `encode`: ids and mask, (N,T), and what else the family's tokenizer adds.

    max_length : tokens read of each text; never more than the encoder has positions for
    A text without a token is read as one padding token, so that every row has something to attend to.
    raises ArgumentError for one string instead of a list, DataError if there is no text
    """
    texts = strings(texts, "texts")
    if not texts:
        raise DataError("Encoding texts: the list is empty; expected at least one text.")
    max_length = min(n for n in (max_length, encoder.max_length, 2**31) if n)
    encoded = dict(tokenizer(texts, max_length=max_length))
    if encoded["ids"].shape[1] == 0:
        encoded = {
            key: np.zeros((len(texts), 1), dtype=array.dtype) for key, array in encoded.items()
        }
    encoded["mask"] = np.array(encoded["mask"], dtype=bool)
    encoded["mask"][~encoded["mask"].any(axis=1), 0] = True
    return encoded


def take(encoded: dict[str, np.ndarray], rows) -> dict[str, np.ndarray]:
    """Some rows of encoded texts, without the columns that are padding in all of them."""
    columns = encoded["mask"][rows].any(axis=0)
    return {key: np.ascontiguousarray(array[rows][:, columns]) for key, array in encoded.items()}


def masked_mean(states: Tensor, mask: np.ndarray) -> Tensor:
    """The mean over real positions, differentiable. states (B,T,C), mask (B,T) bool -> (B,C)."""
    share = mask / np.maximum(mask.sum(axis=1, keepdims=True), 1)  # (B,T)
    weights = share[:, None, :].astype(states.dtype)  # (B,1,T)
    return F.reshape(
        F.matmul(Tensor(weights), states), (states.shape[0], states.shape[2])
    )  # (B,1,C) -> (B,C)


def pool(states: Sequence[Tensor], mask: np.ndarray, layers=LAYERS) -> np.ndarray:
    """Chosen layers, each averaged over the real positions, side by side.

    states : list of (B,T,C), the embeddings and then every layer, as `encode` returns them
    layers : any of "last", "mean" (the mean of all layers), "all" (every layer), or a layer's number
    returns (B, F) float; raises ShapeError for another name or a layer that is not there
    """
    means, parts = [masked_mean(state, mask).data for state in states], []
    if (
        len(means) == 1
    ):  # an encoder of words by themselves: its only layer is the last, the mean and all
        layers = ("last",) if set(layers) <= {"last", "mean", "all"} else layers
    for layer in layers:
        if layer == "last":
            parts.append(means[-1])
        elif layer == "mean" and len({m.shape for m in means}) == 1:
            parts.append(np.mean(means, axis=0))
        elif layer == "all":
            parts += means
        elif isinstance(layer, int) and -len(means) <= layer < len(means):
            parts.append(means[layer])
        else:
            raise ShapeError(
                f"pool: layer {layer!r} of an encoder with {len(means)} arrays of states of shapes "
                f"{[m.shape for m in means]}; expected 'last', 'mean' (equal widths), 'all' or a number below that."
            )
    return np.concatenate(parts, axis=1)


class Features:
    """Frozen encoder, texts in, standardised vectors out; scikit-learn's transformer.

    encoder, tokenizer : as `tinylm.hub.load` returns them; the encoder is read, never changed
    max_length : tokens read of each text      layers : see `pool`
    After `fit`: mean_ and std_, (F,).
    """

    def __init__(
        self, encoder, tokenizer, batch_size: int = 32, max_length: int | None = 128, layers=LAYERS
    ):
        self.encoder, self.tokenizer, self.batch_size = encoder, tokenizer, batch_size
        self.max_length, self.layers = max_length, tuple(layers)
        self.mean_ = self.std_ = None  # until fit
        if not self.layers:
            raise ShapeError(f"Features: no layer was chosen; expected some, for example {LAYERS}.")

    def means(self, texts) -> np.ndarray:
        """Pooled states before standardisation, (N,F) float32, in the order of the texts; no dropout, no gradient."""
        return self.encode_means(encode_texts(self.encoder, self.tokenizer, texts, self.max_length))

    def encode_means(self, encoded: dict[str, np.ndarray]) -> np.ndarray:
        """`means` of texts that `encode_texts` has already turned into ids."""
        lengths = encoded["mask"].sum(axis=1)
        # Texts of like length share a batch: the less padding, the less work.
        order, rows = np.argsort(lengths, kind="stable"), None
        training = self.encoder.training
        self.encoder.eval()
        try:
            with no_grad(), one_pool():
                for first in range(0, order.size, self.batch_size):
                    some = order[first : first + self.batch_size]
                    batch = take(encoded, some)
                    pooled = pool(self.encoder.encode(**batch), batch["mask"], self.layers)
                    rows = (
                        np.empty((order.size, pooled.shape[1]), np.float32)
                        if rows is None
                        else rows
                    )
                    rows[some] = pooled
        finally:
            self.encoder.train(training)
        if not is_finite(rows):
            raise DataError(
                "Features: the encoder's states are NaN or infinite; its weights are damaged or its training "
                "diverged. Load another checkpoint, or train anew with a smaller learning rate."
            )
        return rows

    def fit(self, texts, labels=None) -> "Features":
        """Measure mean and standard deviation of every feature on texts; labels are ignored. returns self."""
        self.fit_transform(texts)
        return self

    def fit_transform(self, texts, labels=None) -> np.ndarray:
        """`fit` and `transform` of the same texts, which are encoded once."""
        return self.fit_encoded(encode_texts(self.encoder, self.tokenizer, texts, self.max_length))

    def fit_encoded(self, encoded: dict[str, np.ndarray]) -> np.ndarray:
        """`fit_transform` of texts that `encode_texts` has already turned into ids."""
        rows = self.encode_means(encoded)
        self.mean_, std = rows.mean(axis=0, dtype=np.float64), rows.std(axis=0, dtype=np.float64)
        self.std_ = np.where(
            std > 1e-6 * max(std.max(), 1e-30), std, 1.0
        )  # a constant feature says nothing
        return self.standardise(rows)

    def standardise(self, rows) -> np.ndarray:
        """(rows - mean) / std as `fit` measured them, (N,F) float64. raises ShapeError before `fit`."""
        if self.mean_ is None:
            raise ShapeError(
                "Features: not fitted yet; call fit(texts) or fit_transform(texts) first."
            )
        return (rows - self.mean_) / self.std_

    def transform(self, texts) -> np.ndarray:
        """(N,) texts -> (N,F) float64, standardised by what `fit` saw. raises ShapeError before `fit`."""
        return self.standardise(self.means(texts))
