"""Look into a model: which tokens attend to which, and which lie near each other.

`typical_words` looks into labelled texts instead, for words to ask a model about.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import ArrayLike

from tinylm import nn
from tinylm.errors import TinylmError, VocabularyError
from tinylm.nn.relative import RelativeAttention
from tinylm.objectives import Objective
from tinylm.tensor import Tensor
from tinylm.text import Encoding
from tinylm.text.names import spellings
from tinylm.transfer.baselines import Tfidf
from tinylm.vectors import Vectors


@contextmanager
def _recorded(layers: list[nn.Module], calls: list[tuple]) -> Iterator[None]:
    """In this context each call of a layer appends (layer, its result with a record) to `calls`.

    The record begins at the layer's input, so it holds this one layer and works for frozen weights.
    """

    def recorder(layer):
        def forward(x, *rest, **more):
            begins = Tensor(x.data, requires_grad=True)
            out = type(layer).forward(layer, begins, *rest, **more)
            calls.append((layer, out))
            return out.detach()

        return forward

    for layer in layers:
        layer.forward = recorder(layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def attention_weights(encoder: Objective, ids: ArrayLike, **family) -> list[np.ndarray]:
    """The weights of every attention layer, read off the op that used them.

        y = A v,   so A is the derivative of y in v, which the op's vjp gives

    Whatever the op did to its scores, masks, causality, distances, is in A.
    encoder : a module with `encode`, in evaluation mode     ids : (1,T)
    family : what `encode` takes besides
    returns one (H,T,T) per layer, from the bottom up, rows sum to 1; none without attention layers
    """
    kinds = nn.MultiHeadAttention | RelativeAttention
    modules = dict.fromkeys(encoder.modules())  # shared ones come several times
    layers = [module for module in modules if isinstance(module, kinds)]
    calls = []
    with _recorded(layers, calls):
        encoder.encode(np.asarray(ids), **family)
    return [_weights(*call) for call in calls]


def _weights(layer: nn.Module, out: Tensor) -> np.ndarray:
    """The weights (H,T,T) behind the result of an attention layer for one text, (1,T,C)."""
    made = _attended(out)
    heads = layer.config.heads
    length = out.shape[1]
    width = made.size // (heads * length)
    packed = made.ndim == 3  # (1,T,H·D); else (1,H,T,D)
    weights = np.empty((heads, length, length))
    for first in range(0, length, width):
        queries = np.arange(first, min(first + width, length))
        dy = np.zeros((length, heads, width), made.dtype)
        dy[queries, :, queries - first] = 1  # each query asks along a direction of its own
        if packed:
            (dqkv,) = made.node.vjp(dy.reshape(made.shape))
            dv = dqkv[0, :, -heads * width :].reshape(length, heads, width)
        else:
            _, _, dv, *_ = made.node.vjp(np.ascontiguousarray(dy.swapaxes(0, 1)[None]))
            dv = dv[0].swapaxes(0, 1)  # (1,H,T,D) -> (T,H,D)
        weights[:, queries] = dv[..., queries - first].transpose(1, 2, 0)
    return weights / weights.sum(axis=-1, keepdims=True)


def _attended(out: Tensor) -> Tensor:
    """The result of the attention op nearest below a Tensor."""
    row = [out]
    while row:
        below = []
        for tensor in row:
            if tensor.node is None:
                continue
            if tensor.node.name.endswith("attention"):
                return tensor
            below += tensor.node.inputs
        row = below
    raise TinylmError("This layer computes its attention without an op of that name.")


def liveliest(layers: list[np.ndarray]) -> tuple[int, int]:
    """(layer, head) that looks least at itself and at the first position.

    Heads that have nothing to say rest on those two places.

    >>> resting = np.eye(3)
    >>> looking_back = np.array([[1.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    >>> liveliest([np.stack([resting, resting]), np.stack([resting, looking_back])])
    (1, 1)
    """
    scores = {}
    for i, layer in enumerate(layers):
        for head, weights in enumerate(layer):
            at_itself = np.mean(np.diag(weights))
            at_first = weights[1:, 0].sum() / max(len(weights) - 1, 1)
            scores[i, head] = 1 - at_itself - at_first
    return max(scores, key=scores.get)


def nearest(
    encoder: Objective, tokenizer: Encoding, word: str, n: int, centred: bool = False
) -> list[tuple[str, float]]:
    """The n tokens nearest to a word by the cosine of input embeddings, as [(token, cosine), ...].

    Special tokens and the word itself are left out.
    centred : subtract the mean of all tokens first, a large part that a transformer's embeddings
              have in common
    raises VocabularyError  if the word is not one token of the vocabulary and has no n-grams
    """
    table = encoder.embedding_table()[: tokenizer.vocab_size]
    subwords = encoder.subwords()
    if word in subwords and word not in tokenizer.vocab:
        target = subwords[word]
    else:
        target = table[_id_of(tokenizer, word)]
    if centred:
        middle = table.mean(axis=0)
        table = table - middle
        target = target - middle
    vectors = Vectors(spellings(tokenizer), table)
    left_out = (word, *tokenizer.specials)
    found = {}
    for token, cosine in vectors.most_similar([target], n=len(table)):
        if token and token not in left_out:
            found.setdefault(token, cosine)
    return list(found.items())[:n]


def _id_of(tokenizer: Encoding, word: str) -> int:
    """The id of a word that is a single token, preferably as it stands after a space.

    raises VocabularyError
    """
    for form in (" " + word, word):
        ids = tokenizer.encode(form)
        if len(ids) == 1 and ids[0] != tokenizer.unk_id:
            return ids[0]
    pieces = tokenizer.tokens(word)
    if len(pieces) > 1:
        shown = f"{len(pieces)} ({' '.join(pieces)})"
        raise VocabularyError(
            f"{word!r} is not one token of this vocabulary but {shown}; give a more frequent word."
        )
    return tokenizer.token_id(word)  # raises, and names similar words


def typical_words(texts: Sequence[str], labels: ArrayLike, n: int) -> list[str]:
    """One word for each of n labels, evenly spaced over the sorted labels.

    A label's word is the one whose mean TF-IDF weight in the label's texts exceeds its mean weight
    in all texts most.

    >>> typical_words(["cold ice", "the ice", "the sea", "deep sea"], ["A", "A", "B", "B"], n=2)
    ['ice', 'sea']
    """
    tfidf = Tfidf(sublinear=True)
    rows = tfidf.fit_transform(texts)
    labels = np.asarray(labels)
    words = list(tfidf.vocabulary_)
    overall = rows.mean(axis=0)
    names = np.unique(labels)
    evenly = np.linspace(0, names.size - 1, n).round().astype(int)
    found = []
    for name in names[np.unique(evenly)]:
        own = rows[np.flatnonzero(labels == name)].mean(axis=0)
        found.append(words[int(np.argmax(own - overall))])
    return list(dict.fromkeys(found))
