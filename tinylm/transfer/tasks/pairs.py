"""Two texts and what holds between them: does one follow from the other, do they say the same?

    x = standardise(summary(encode([CLS] first [SEP] second [SEP])))
    p(y | first, second) = softmax(W x + b)

The encoder reads both texts as one input (a "cross-encoder"), so every word of the one can look at
every word of the other. An encoding without a way to write two texts as one gets GPT-1's: `paired`.
Source: Devlin et al. 2019, section 4.1; Radford et al. 2018, section 3.3.
"""

from collections.abc import Sequence
from typing import Any

from tinylm.errors import DataError, TinylmError
from tinylm.objectives import Objective
from tinylm.objectives.inherit import for_tasks

from ..classifier import Classifier
from ..features import Pair, parted


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
                "PairClassifier: expected pairs of texts, for example "
                '[("It rains.", "It is wet.")].'
            )
        return list(zip(*parts, strict=True))
