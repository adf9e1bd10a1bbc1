"""The parts of the report that look into the models: nearest words, and who looks at whom."""

from typing import Any

import numpy as np

from tinylm.errors import VocabularyError
from tinylm.objectives import read_by
from tinylm.transfer.experiment import Comparison
from tinylm.transfer.task import TaggedTask

from . import heads, html, looking, pictures
from .reading import label

Models = dict[str, tuple]  # objective -> (encoder, tokenizer)

LARGE = 20  # tokens of the text whose heads can be chosen
SMALL = 12  # tokens in a small picture
QUERIES = 8  # words in the table of neighbours
NEAR = 6  # neighbours of each
OTHERS_TEXT = (
    "One head of each other model, the one that looks least at itself and at the first token; "
    "each row is a token, dark where it looks."
)


def neighbours(comparison: Comparison, models: Models) -> str:
    """A table per objective; empty if no model knows any of the words."""
    task = comparison.task
    if isinstance(task, TaggedTask):  # no text has a label that a word could be typical of
        return ""
    queries = looking.typical_words(task.test_texts, task.test_labels, QUERIES)
    parts = []
    for name, (encoder, tokenizer) in models.items():
        rows = []
        for word in queries:
            try:
                found = looking.nearest(encoder, tokenizer, word, NEAR)
            except VocabularyError:  # a rare word is several tokens of this vocabulary
                continue
            rows.append([word, ", ".join(token for token, _ in found)])
        if rows:
            parts.append(html.paragraph(f"{name}, by cosine of its input embeddings:"))
            parts.append(html.table(["word", "nearest"], rows, f"Nearest words of {name}"))
    return "\n".join(parts)


def attention(comparison: Comparison, models: Models, ranking: list[str], draw: bool) -> str:
    """All heads of one model, to choose from, and one head of each other; empty without attention.

    ranking : the objectives; the first one with attention is shown in large
    draw : whether pictures can be drawn
    """
    looks = {}
    for name, (encoder, tokenizer) in models.items():
        found = _weights(encoder, tokenizer, comparison.task.test_texts, LARGE)
        if found is not None:
            looks[name] = found
    if not looks:
        return ""
    chosen = next(name for name in ranking if name in looks)
    layers, tokens = looks[chosen]
    lead = f"The first {len(tokens)} tokens of a test post, as {chosen} reads them."
    parts = [html.paragraph(lead), heads.views(layers, tokens)]
    figures = []
    for name, (encoder, tokenizer) in models.items():
        if draw and name in looks and name != chosen:
            figures.append(_small(name, encoder, tokenizer, comparison.task.test_texts))
    if figures:
        parts += [html.paragraph(OTHERS_TEXT), html.panels(figures)]
    return "\n".join(parts)


def _small(name: str, encoder: Any, tokenizer: Any, texts: list[str]) -> str:
    """The picture of one head."""
    layers, tokens = _weights(encoder, tokenizer, texts, SMALL)
    layer, head = looking.liveliest(layers)
    picture = pictures.attention(layers[layer][head], tokens)
    caption = f"{name}, layer {layer + 1} of {len(layers)}, head {head + 1}"
    return html.figure(picture, caption, f"{caption}: which of {len(tokens)} tokens look at which.")


def _weights(
    encoder: Any, tokenizer: Any, texts: list[str], most: int
) -> tuple[list[np.ndarray], list[str]] | None:
    """(H,T,T) of every layer for the beginning of the first text of `most` tokens, and the tokens.

    An encoder that reads fewer tokens at once gets as many as it reads.
    None without a layer of attention, or without such a text.
    """
    most = min(most, encoder.max_length or most)
    for text in texts:
        if len(tokenizer.encode(text)) >= most:
            keywords = dict(read_by(encoder, tokenizer([text], max_length=most)))
            keywords.pop("mask", None)  # there is no padding beside one text
            ids = keywords.pop("ids")
            layers = looking.attention_weights(encoder, ids, **keywords)
            return (layers, [label(tokenizer, i) for i in ids[0].tolist()]) if layers else None
    return None
