"""Loss on held-out text, and how it reads beside what knowing single tokens would give."""

from tinylm.errors import TinylmError
from tinylm.tensor import no_grad


def evaluate(objective, corpus, limit=200_000):
    """Loss on held-out text; for a causal model beside what a model of single tokens would reach on the same text.

    limit : tokens to predict at most, whole batches from the beginning
    returns dict: loss (in the unit that follows), tokens (predicted), unit; and,
    where the loss is a text's probability, token by token from left to right, nats_per_word and unigram (nats per token:
    the entropy of the whole text's own token counts, which no model of single tokens can beat there)
    raises TinylmError if the text is too short for a single prediction
    """
    was_training, total, tokens = objective.training, 0.0, 0
    objective.eval()
    try:
        with no_grad():
            for batch in objective.evaluation_batches(corpus):
                loss, components = objective.loss(batch)
                count = components.get(
                    "tokens", batch.tokens
                )  # where words predict several times, the predictions
                total += loss.item() * count  # means weighted by their counts, added up in float64
                tokens += count
                if tokens >= limit:
                    break
    finally:
        objective.train(was_training)
    if not tokens:
        raise TinylmError(
            "the held-out text is too short to predict a single token; give more text"
        )
    found = {"loss": total / tokens, "tokens": tokens}
    found["unit"] = objective.unit
    if objective.causal:
        per_word = found["loss"] * len(corpus.ids) / max(corpus.words, 1)
        found |= {"nats_per_word": per_word, "unigram": float(corpus.unigram_entropy())}
    return found


def in_words(found):
    """A result of `evaluate` as a phrase."""
    if "unigram" not in found:
        return f"{found['loss']:.3f} {found['unit']}"
    return (
        f"{found['loss']:.3f} nats per token, {found['nats_per_word']:.3f} per word "
        f"(unigram entropy {found['unigram']:.3f} per token)"
    )
