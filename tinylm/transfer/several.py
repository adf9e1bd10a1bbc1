"""Tasks whose input is several sequences: similarity and multiple choice, as GPT-1 reads them.

    similarity         s = W · (h(first, second) + h(second, first)) + b
    multiple choice    p(answer k | context) = softmax_k(w · h(context, answer k))

h is the encoder's own summary of one input. Two texts that are alike have no order, so both orders
are read; the answers of one context are read apart and compared at the end.
Source: Radford et al. 2018, section 3.3.
"""

from collections.abc import Sequence
from typing import Any

from tinylm import nn
from tinylm import ops as F
from tinylm.arguments import strings
from tinylm.errors import DataError
from tinylm.objectives import read_by
from tinylm.tensor import Tensor


def summaries(
    encoder: Any,
    tokenizer: Any,
    firsts: Sequence[str],
    seconds: Sequence[str],
    max_length: int | None = None,
) -> Tensor:
    """The encoder's summary of each pair.

    firsts, seconds : B texts each     max_length : tokens read of each pair
    returns (B, C)
    """
    limits = [n for n in (max_length, encoder.max_length) if n is not None]
    encoded = tokenizer(firsts, seconds, max_length=min(limits, default=None))
    batch = read_by(encoder, encoded)
    return encoder.summary(encoder.encode(**batch), batch["mask"])


def both_orders(
    encoder: Any,
    tokenizer: Any,
    firsts: Sequence[str],
    seconds: Sequence[str],
    max_length: int | None = None,
) -> Tensor:
    """The summaries of the pairs in both orders, summed: what similarity is judged by.

    The arguments are those of `summaries`.   returns (B, C)
    """
    forward = summaries(encoder, tokenizer, firsts, seconds, max_length)
    backward = summaries(encoder, tokenizer, seconds, firsts, max_length)
    return forward + backward


def choice_scores(
    encoder: Any,
    tokenizer: Any,
    head: nn.Linear,
    contexts: Sequence[str],
    answers: Sequence[Sequence[str]],
    max_length: int | None = None,
    dropout: float = 0.0,
    key: int = 0,
) -> Tensor:
    """A score of every answer; F.cross_entropy of them with the right one's number is the loss.

    head : Linear(C, 1)     contexts : B texts     answers : for each of them K texts
    dropout, key : as in ops.dropout, before the head; all answers of a context share the mask
    returns (B, K)
    raises DataError  if the contexts do not all have the same number of answers, at least one
    """
    contexts = strings(contexts, "contexts")
    counts = sorted({len(some) for some in answers})
    if len(answers) != len(contexts) or len(counts) != 1 or counts == [0]:
        raise DataError(
            f"There are {len(contexts)} contexts and {len(answers)} lists of {counts} answers; "
            "give every context the same number of answers."
        )
    n_answers = counts[0]
    firsts = [context for context in contexts for _ in range(n_answers)]
    seconds = [answer for some in answers for answer in some]
    read = summaries(encoder, tokenizer, firsts, seconds, max_length)  # (B·K,C)
    grouped = read.reshape(len(contexts), n_answers, -1)  # (B·K,C) -> (B,K,C)
    kept = F.dropout(grouped, dropout, key, shared=(1,))
    return head(kept).reshape(len(contexts), n_answers)  # (B,K,1) -> (B,K)
