"""Looking into a model: who attends to whom, which tokens lie near each other, which words are typical of a label."""

from contextlib import contextmanager

import numpy as np

from tinylm import nn
from tinylm.errors import VocabularyError
from tinylm.tensor import no_grad
from tinylm.transfer.baselines import Tfidf
from tinylm.vectors import Vectors


@contextmanager
def _recorded(modules, calls):
    """Within this context every call of a module leaves (module, input, mask, causal) in `calls`."""

    def recorder(module):
        def forward(x, mask=None, causal=False, *rest, **more):
            calls.append((module, x, mask, causal))
            return type(module).forward(module, x, mask, causal, *rest, **more)

        return forward

    for module in modules:
        module.forward = recorder(module)
    try:
        yield
    finally:
        for module in modules:
            del module.forward


def attention_weights(encoder, ids) -> list[np.ndarray]:
    """The weights of every attention layer, recomputed from its own queries and keys.

        A = softmax(q kᵀ / √D), over the positions that may be seen

    encoder : a module with `encode`, in evaluation mode     ids : (1,T)
    returns one (H,T,T) per layer, from the bottom up, rows sum to 1; empty for a model without attention
    """
    layers, calls = [m for m in encoder.modules() if isinstance(m, nn.MultiHeadAttention)], []
    with no_grad(), _recorded(layers, calls):
        encoder.encode(np.asarray(ids))
        return [_weights(*call) for call in calls]


def _weights(layer, x, mask, causal) -> np.ndarray:
    length, heads = x.shape[1], layer.config.heads
    qkv = (
        layer.c_attn(x).data[0].reshape(length, 3, heads, -1).transpose(1, 2, 0, 3)
    )  # (1,T,3C) -> (3,H,T,D)
    scores = (qkv[0] @ qkv[1].swapaxes(1, 2)).astype(np.float64) / np.sqrt(qkv.shape[-1])  # (H,T,T)
    seen = (
        np.ones((length, length), dtype=bool)
        if mask is None
        else np.broadcast_to(mask, (1, 1, length, length))[0, 0]
    )
    scores = np.where(np.tril(seen) if causal else seen, scores, -np.inf)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def liveliest(layers: list[np.ndarray]) -> tuple[int, int]:
    """(layer, head) that looks least at itself and at the first position, where heads rest that have nothing to say."""

    def elsewhere(weights):
        return 1 - np.mean(np.diag(weights)) - np.mean(weights[1:, 0])

    scores = {
        (i, h): elsewhere(weights)
        for i, layer in enumerate(layers)
        for h, weights in enumerate(layer)
    }
    return max(scores, key=scores.get)


def nearest(
    encoder, tokenizer, word: str, n: int, centred: bool = False
) -> list[tuple[str, float]]:
    """The n tokens nearest to a word, [(token, cosine)] of input embeddings; specials and the word itself are left out.

    centred : measure from the mean of all tokens, which the embeddings of a transformer have in common
    raises VocabularyError  if the word is not one token of the vocabulary, and has no n-grams either
    """
    table, subwords, found = (
        encoder.embedding_table()[: tokenizer.vocab_size],
        encoder.subwords(),
        {},
    )
    unseen = word in subwords and word not in tokenizer.vocab
    target = subwords[word] if unseen else table[_id_of(tokenizer, word)]
    if centred:
        middle = table.mean(axis=0)
        table, target = table - middle, target - middle
    vectors = Vectors(_spellings(tokenizer), table)
    for token, cosine in vectors.most_similar([target], n=len(table)):
        if token and token not in (word, *tokenizer.specials):
            found.setdefault(token, cosine)
    return list(found.items())[:n]


def word_vectors(encoder, tokenizer) -> Vectors:
    """The embeddings of a model's tokens, without those of the special ones.

    A token whose text another one has already ("the" beside " the") has the name that the vocabulary gives it ("Ġthe").
    """
    specials = set(tokenizer.specials)
    spellings = _spellings(tokenizer)
    names: dict[str, int] = {}
    for i, token in enumerate(tokenizer.vocab):
        if token in specials:
            continue
        name = spellings[i]
        if not name or name in names:
            name = token
        while name in names:
            name += "_"
        names[name] = i
    rows = list(names.values())
    return Vectors(list(names), encoder.embedding_table()[rows], encoder.subwords())


def _spellings(tokenizer) -> list[str]:
    """Every token as text, without the space before it."""
    return [tokenizer.decode([i]).strip() for i in range(tokenizer.vocab_size)]


def _id_of(tokenizer, word: str) -> int:
    """The single token that a word is, as it stands inside a text (after a space) if possible."""
    for form in (" " + word, word):
        ids = tokenizer.encode(form)
        if len(ids) == 1 and ids[0] != tokenizer.unk_id:
            return ids[0]
    pieces = tokenizer.tokens(word)
    if len(pieces) > 1:
        raise VocabularyError(
            f"{word!r} is not one token of this vocabulary but {len(pieces)} ({' '.join(pieces)}); "
            "give a more frequent word."
        )
    return tokenizer.token_id(word)  # raises, and names similar words


def typical_words(texts, labels, n: int) -> list[str]:
    """For n labels, evenly spaced, the word whose mean TF-IDF weight in their texts exceeds that in all texts most."""
    vectors = Tfidf(sublinear=True)
    rows, labels = vectors.fit_transform(texts), np.asarray(labels)
    words, overall, names = list(vectors.vocabulary_), rows.mean(axis=0), np.unique(labels)
    chosen = names[np.unique(np.linspace(0, names.size - 1, n).round().astype(int))]
    own = [rows[np.flatnonzero(labels == name)].mean(axis=0) for name in chosen]
    return list(dict.fromkeys(words[int(np.argmax(mean - overall))] for mean in own))
