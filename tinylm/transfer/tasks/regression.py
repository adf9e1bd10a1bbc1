"""Numbers from texts: how good a film is, how much two sentences agree.

    ŷ = mean + deviation · (w·x + b),    x = standardise(pool(encode(text)))
    loss = (w·x + b − (y − mean) / deviation)²

Mean and deviation are those of the numbers to learn, so a rate means the same for scores from 0 to
1 and from −4 to 4. A text may be a pair: then the encoder reads both as one input.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from tinylm.errors import DataError, ShapeError

from ..features import Pair, parted
from ..goals import Values
from ..metrics import mean_squared_error, pearson, spearman
from ..pooled import Pooled


class Regressor(Pooled):
    """Numbers from texts, or from pairs: `Regressor(encoder, tokenizer).fit(texts, numbers)`.

    encoder, tokenizer, method, config, progress : as for `Classifier`; the method "features" is
        ridge regression
    After `fit`: encoder_, head_, features_, and after fine-tuning rate_.

    >>> import tinylm
    >>> tokenizer = tinylm.text.Words(["bad", "fine", "great"])
    >>> encoder = tinylm.Word2Vec(tinylm.Word2VecConfig(vocab_size=6, size=5))
    >>> model = Regressor(encoder, tokenizer).fit(["bad", "fine", "great"] * 5, [-3, 0, 4] * 5)
    >>> model.predict(["great", "bad"]).round(1).tolist()
    [4.0, -3.0]
    """

    task = "regress"
    goal = Values()

    def fit(self, texts: Sequence[str] | Sequence[Pair], numbers: ArrayLike) -> "Regressor":
        """Adapt to texts with a number each.

        texts : N strings, or N pairs of strings     numbers : (N,)     returns self
        raises DataError        for no texts, or numbers that are all equal or not finite
        raises ShapeError       if the lengths differ
        raises ArgumentError    if texts is a single string
        """
        parts = parted(texts)
        texts = parts[0] if len(parts) == 1 else list(zip(*parts, strict=True))
        try:
            numbers = np.asarray(numbers, np.float64)
        except (TypeError, ValueError):
            raise DataError("Regressor: the targets are no numbers; give a number each.") from None
        if numbers.shape != (len(texts),):
            raise ShapeError(
                f"Regressor: {len(texts)} texts, but numbers of shape {numbers.shape}; "
                "expected one for each."
            )
        if not np.isfinite(numbers).all() or not numbers.size or np.ptp(numbers) == 0:
            raise DataError(
                "Regressor: expected finite numbers that are not all the same; "
                "without a difference there is nothing to learn."
            )
        mean = numbers.mean()
        deviation = numbers.std()
        self._adapt(texts, (numbers - mean) / deviation)
        weights, bias = self.head_
        self.head_ = (weights * deviation, bias * deviation + mean)
        return self

    def predict(self, texts: Sequence[str] | Sequence[Pair]) -> np.ndarray:
        """The number of each text, (N,) float64.   raises TinylmError before `fit`"""
        return self._scores(texts)[:, 0]

    def evaluate(
        self, texts: Sequence[str] | Sequence[Pair], numbers: ArrayLike
    ) -> dict[str, float]:
        """Pearson's and Spearman's correlation, and the mean squared error.   raises as `predict`

        returns {"pearson", "spearman", "mse"}
        """
        predicted = self.predict(texts)
        return {
            "pearson": pearson(numbers, predicted),
            "spearman": spearman(numbers, predicted),
            "mse": mean_squared_error(numbers, predicted),
        }

    def score(self, texts: Sequence[str] | Sequence[Pair], numbers: ArrayLike) -> float:
        """Pearson's correlation with the true numbers, in [-1, 1].   raises as `predict`"""
        return pearson(numbers, self.predict(texts))
