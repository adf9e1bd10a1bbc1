"""Loss on held-out text, beside the loss that knowing only single tokens would give."""

from collections.abc import Mapping
from typing import Any

from tinylm.errors import TinylmError
from tinylm.tensor import no_grad

from .losses import Components


def evaluate(objective: Any, corpus: Any, limit: int = 200_000) -> dict[str, Any]:
    """The loss on held-out text.

    limit : stop after this many predicted tokens; whole batches are read from the beginning. Where
        a word predicts several times, as in word2vec, it counts once
    returns dict: loss, tokens (predicted), unit (of the loss), and components, the means of its
        parts by name, if the objective reports some. If it predicts tokens of the vocabulary, the
        dict also has token_loss, the nats per token of these predictions alone, and unigram: the
        entropy in nats per token of the text's own token counts, which no model of single tokens
        can beat on it. Where every token is told from all before it, or from all behind it, the
        loss is the probability of the text, so there the dict also has nats_per_word
    raises TinylmError if the text is too short for a single prediction
    """
    with objective.evaluating():
        total, tokens, parts = _summed_loss(objective, corpus, limit)
    if not tokens:
        raise TinylmError(
            "the held-out text is too short to predict a single token; give more text"
        )
    found = {"loss": total / tokens, "tokens": tokens, "unit": objective.unit}
    if parts:
        found["components"] = parts
    if _tells_a_whole_text(objective):
        nats = found["loss"] * len(corpus.ids)
        found["nats_per_word"] = nats / max(corpus.words, 1)
    token_loss = _token_loss(objective, found)
    if token_loss is not None:
        found["token_loss"] = token_loss
        found["unigram"] = float(corpus.unigram_entropy())
    return found


def _tells_a_whole_text(objective: Any) -> bool:
    """Whether it predicts token by token, in one direction."""
    return objective.causal or objective.backward


def _token_loss(objective: Any, found: Mapping[str, Any]) -> float | None:
    """The nats per token of an objective's guesses at tokens; None if it makes none."""
    if _tells_a_whole_text(objective) or objective.guesses == ():
        return found["loss"]
    parts = found.get("components", {})
    guesses = [parts[name] for name in objective.guesses or () if name in parts]
    return sum(guesses) / len(guesses) if guesses else None


def _summed_loss(objective, corpus, limit):
    """The losses of all predictions added up in float64, their number, the means of their parts."""
    total = 0.0
    predictions = 0
    seen = 0
    parts = Components()
    with no_grad():
        for batch in objective.evaluation_batches(corpus):
            loss, components = objective.loss(batch)
            # A word can predict several times; then the chapter counts the predictions itself.
            count = components.get("tokens", batch.tokens)
            total += loss.item() * count
            predictions += count
            parts.add(components, count)
            seen += batch.tokens
            if seen >= limit:
                break
    return total, predictions, parts.means()


def in_words(found: Mapping[str, Any]) -> str:
    """A result of `evaluate` as a phrase.

    >>> in_words({"loss": 2.25, "unit": "nats per masked token"})
    '2.250 nats per masked token'
    >>> in_words({"loss": 2.25, "unit": "nats", "components": {"masked": 2, "next_sentence": 0.25}})
    '2.250 nats; masked 2.000, next_sentence 0.250'
    >>> in_words({"loss": 2.0, "nats_per_word": 6.5, "unigram": 3.125})
    '2.000 nats per token, 6.500 per word (unigram entropy 3.125 per token)'
    """
    if "nats_per_word" in found:
        said = (
            f"{found['loss']:.3f} nats per token, {found['nats_per_word']:.3f} per word "
            f"(unigram entropy {found['unigram']:.3f} per token)"
        )
    else:
        said = f"{found['loss']:.3f} {found['unit']}"
    parts = [f"{name} {mean:.3f}" for name, mean in found.get("components", {}).items()]
    return said + (f"; {', '.join(parts)}" if parts else "")
