"""Two texts and what holds between them: does one follow from the other, do they say the same?

    x = standardise(summary(encode([CLS] first [SEP] second [SEP])))
    p(y | first, second) = softmax(W x + b)

The encoder reads both texts as one input (a "cross-encoder"), so every word of the one can look at
every word of the other. An encoding without a way to write two texts as one gets GPT-1's: `paired`.

    u, v = standardise(summary(encode(first))), the same of second
    p(y | first, second) = softmax(W (u, v, |u − v|, u·v) + b)

Or it reads each text alone (a "two-tower" model with one set of weights). The words of the two
never meet, only their vectors do. So it knows less, but a text's vector is computed once for all
its pairs, and any encoder can do it.
Source: Devlin et al. 2019, section 4.1; Radford et al. 2018, section 3.3; for two towers Conneau et
al. 2017, section 3.1.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinylm.errors import DataError, TinylmError
from tinylm.objectives import Objective
from tinylm.objectives.inherit import for_tasks

from ..classifier import Classifier
from ..features import Pair, parted
from ..goals import Towers


def paired(encoder: Objective, tokenizer: Any) -> tuple[Objective, Any]:
    """An encoder and a tokenizer that read pairs: these, or copies that know GPT-1's three tokens.

    raises TinylmError  if the encoder or the encoding cannot take new tokens

    >>> import tinylm
    >>> letters = tinylm.text.Chars("ab")
    >>> model = tinylm.Word2Vec(tinylm.Word2VecConfig(letters.vocab_size, size=3))
    >>> model, letters = paired(model, letters)
    >>> letters.tokens("ab"), letters.template.pair
    (['a', 'b'], '<start> A <delimiter> B <classify>')
    """
    if tokenizer.template.pair is not None:
        return encoder, tokenizer
    try:
        return for_tasks(encoder, tokenizer)
    except TinylmError as error:
        raise TinylmError(
            f"{encoder.name} cannot read two texts as one: its encoding has no template for pairs, "
            f"and new tokens do not fit in ({error})"
        ) from error


class PairClassifier(Classifier):
    """A classifier of pairs: `PairClassifier(encoder, tokenizer).fit(pairs, labels)`.

    encoder, tokenizer : their template must know pairs; see `paired`
    method, config, progress, and what `fit` leaves : as for `Classifier`

    >>> PairClassifier(None, None).fit(["It rains."], ["yes"])
    Traceback (most recent call last):
        ...
    tinylm.errors.DataError: PairClassifier: expected pairs of texts, for example [("It rains.", \
"It is wet.")].
    """

    task = "pair"

    def _checked(self, texts: Sequence[Pair]) -> list[Pair]:
        """The pairs as a list of tuples.   raises ArgumentError, or DataError for texts alone"""
        parts = parted(texts)
        if len(parts) != 2:
            raise DataError(
                f"{type(self).__name__}: expected pairs of texts, for example "
                '[("It rains.", "It is wet.")].'
            )
        return list(zip(*parts, strict=True))


class TowerClassifier(PairClassifier):
    """A classifier of pairs that reads each text alone: `TowerClassifier(encoder, tokenizer)`.

    encoder, tokenizer : as `tinylm.hub.load` returns them
    method, config, progress, and what `fit` leaves : as for `Classifier`, but the head is
        (W (4F,K), b (K,)). After fine-tuning, `SentenceEncoder` gives the vectors of encoder_.

    >>> import tinylm
    >>> words = tinylm.text.Words(["sea", "ice"])
    >>> model = tinylm.Word2Vec(tinylm.Word2VecConfig(words.vocab_size, size=3))
    >>> pairs = [("sea", "ice"), ("ice", "ice"), ("ice", "sea"), ("sea", "sea")]
    >>> towers = TowerClassifier(model, words).fit(pairs, ["differ", "same", "differ", "same"])
    >>> towers.predict([("sea", "sea"), ("sea", "ice")])
    array(['same', 'differ'], dtype='<U6')
    """

    task = "tower"
    goal = Towers()

    def _adapt(self, texts: Sequence[Pair], targets: Any) -> None:
        super()._adapt(apart(texts), targets)

    def _scores(self, texts: Sequence[Pair]) -> np.ndarray:
        return super()._scores(apart(texts))


def apart(pairs: Sequence[Pair]) -> list[str]:
    """The texts of pairs one behind the other, as the goal Towers expects them.

    >>> apart([("a", "b"), ("c", "d")])
    ['a', 'b', 'c', 'd']
    """
    return [text for pair in pairs for text in pair]
