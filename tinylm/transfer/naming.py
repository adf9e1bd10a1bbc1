"""Entities without a tagged sentence: what a masked language model would put in a name's place.

    She met [Ludu Rifo] in ...     the span becomes one gap
    She met [MASK] in ...          the model's best words for it: descriptors
    Votaso 0.2, him 0.1, Sepo ...  each descriptor lies in a cluster of the vocabulary
    person                         somebody gave some clusters a name, by hand

    share(type | context) ∝ Σ p(w | context),   w over the descriptors in a cluster of that type

Nobody tags a sentence: one only names some clusters, a few words for each type. A span may be
asked about a second time out of its context, in a neutral sentence such as "{span} is a [MASK]
entity". The context is preferred: the second vote is added where the first one is in doubt.

Source: Rajasekharan 2020, "Unsupervised NER using BERT". Differs: spans are runs of capitalised
words unless the caller gives others, such as those that a tagger of parts of speech found.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinylm.arguments import strings
from tinylm.data.tags import OUTSIDE, Span, to_bio
from tinylm.errors import ArgumentError, ShapeError, TinylmError
from tinylm.kernels.runtime.pool import one_pool
from tinylm.training.filling import GAP, fill
from tinylm.vectors.search import row_lengths

from .entities import EntityScores, Tags, entity_scores

NO_TYPE = ""  # of a candidate span before it has one


def capitalised(tokens: Sequence[str]) -> list[Span]:
    """The runs of words that begin with a capital: the candidates, without a type.

    >>> [tuple(span) for span in capitalised("Ludu Rifo in Gagi .".split())]
    [('', 0, 2), ('', 3, 4)]
    """
    found = []
    begin = None
    for place, token in enumerate([*tokens, ""]):
        is_name = token[:1].isupper()
        if is_name and begin is None:
            begin = place
        elif not is_name and begin is not None:
            found.append(Span(NO_TYPE, begin, place))
            begin = None
    return found


def clusters(vectors: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    """Group words by the directions of their vectors; the number of each word's cluster, (V,).

    vectors : (V, D), frequent words first
    threshold : the cosine with a cluster's first word from which on a word belongs to it
    Word by word, in their order: one that belongs to no cluster begins its own, and takes in all
    later words that are near it and in no cluster yet.

    >>> clusters(np.array([[1.0, 0.0], [0.0, 1.0], [0.9, 0.1]])).tolist()
    [0, 1, 0]
    """
    unit = vectors / row_lengths(vectors)[:, None]
    found = np.full(len(unit), -1)
    count = 0
    for word in range(len(unit)):
        if found[word] < 0:
            near = (unit @ unit[word] >= threshold) & (found < 0)
            near[word] = True  # rounding, or a vector of zeros
            found[near] = count
            count += 1
    return found


class UnsupervisedTagger:
    """A tagger of entities that has seen no tag: `UnsupervisedTagger(…).predict(sentences)`.

    model, tokenizer : a masked language model, as `tinylm.hub.load` returns them
    types : type -> some words of its own; the whole cluster of each word gets that type
    threshold : of `clusters`; 1 leaves each word alone
    count : the descriptors of a gap that vote
    template : a sentence with {span} and [MASK] for a second vote (None: there is none)
    margin : the context decides alone if its best share leads by so much
    types_ : word -> type, of all words whose cluster has one
    raises TinylmError  for a model that cannot fill gaps, a type without a word that the model
        knows, or a template without its places

    >>> UnsupervisedTagger(None, None, {"person": "Ludu"})
    Traceback (most recent call last):
        ...
    tinylm.errors.ArgumentError: types['person'] is one string, 'Ludu'; expected a list of \
strings, for example ['Ludu'].
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        types: Mapping[str, Sequence[str]],
        threshold: float = 0.5,
        count: int = 20,
        template: str | None = None,
        margin: float = 0.2,
    ):
        self.types = {kind: strings(words, f"types[{kind!r}]") for kind, words in types.items()}
        model.need("filling")
        if template is not None and not ("{span}" in template and GAP in template):
            raise TinylmError(
                f"The template {template!r} must hold {{span}} and {GAP}, for example "
                f"'{{span}} is a {GAP} entity .'."
            )
        if not 0 < threshold <= 1:
            raise ArgumentError(f"threshold is {threshold}; expected a number from above 0 to 1.")
        self.model = model
        self.tokenizer = tokenizer
        self.threshold = threshold
        self.count = count
        self.template = template
        self.margin = margin
        self.types_ = self._named()

    def predict(
        self, sentences: Sequence[Sequence[str]], spans: Sequence[Sequence[Span]] | None = None
    ) -> list[list[str]]:
        """The BIO tag of every token.

        sentences : N lists of words     spans : the candidates of each sentence, of any type
            (None: its runs of capitalised words)
        raises ArgumentError  for a sentence that is no list of strings
        raises ShapeError  for spans of another number of sentences, or beyond their words
        """
        words = [strings(row, f"sentences[{n}]") for n, row in enumerate(sentences)]
        if spans is None:
            spans = [capitalised(row) for row in words]
        if len(spans) != len(words):
            raise ShapeError(
                f"UnsupervisedTagger: spans are of {len(spans)} sentences, "
                f"but there are {len(words)}; give the spans of each."
            )
        rows = []
        with one_pool():
            for row, candidates in zip(words, spans, strict=True):
                rows.append(self._tagged(row, candidates))
        return rows

    def evaluate(
        self,
        sentences: Sequence[Sequence[str]],
        tags: Tags,
        spans: Sequence[Sequence[Span]] | None = None,
    ) -> EntityScores:
        """Precision, recall and F1 on tagged sentences, see `entity_scores`."""
        return entity_scores([to_bio(row) for row in tags], self.predict(sentences, spans))

    def shares(self, tokens: Sequence[str], start: int, end: int) -> dict[str, float]:
        """The share of each type in the vote on one span; empty if no descriptor has a type.

        tokens : the words of a sentence     start, end : the span is tokens[start:end]
        """
        words = [*tokens[:start], GAP, *tokens[end:]]
        found = self._vote(" ".join(words))
        if self.template is None or self._leads(found):
            return found
        asked = self.template.replace("{span}", " ".join(tokens[start:end]))
        return shared(Counter(found) + Counter(self._vote(asked)))

    # ---- the vote

    def _tagged(self, tokens, candidates):
        """The tags of one sentence."""
        tags = [OUTSIDE] * len(tokens)
        for span in candidates:
            if not 0 <= span.start < span.end <= len(tokens):
                raise ShapeError(
                    f"UnsupervisedTagger: the span from {span.start} to {span.end} is not within "
                    f"the {len(tokens)} words of its sentence."
                )
            found = self.shares(tokens, span.start, span.end)
            if found:
                best = max(found, key=found.get)
                tags[span.start] = f"B-{best}"
                for place in range(span.start + 1, span.end):
                    tags[place] = f"I-{best}"
        return tags

    def _vote(self, text):
        """{type: share} of the descriptors of a text's first gap."""
        votes: Counter[str] = Counter()
        text = self._fitting(text)
        for choice in fill(self.model, self.tokenizer, text, self.count)[0]:
            if choice.text in self.types_:
                votes[self.types_[choice.text]] += choice.probability
        return shared(votes)

    def _leads(self, found):
        """Whether the best share is ahead of the next by the margin."""
        values = sorted([*found.values(), 0.0], reverse=True)
        return bool(found) and values[0] - values[1] >= self.margin

    def _fitting(self, text):
        """The words around the gap that the model can read: as many before it as behind it."""
        words = text.split(" ")
        [gap, *_] = [place for place, word in enumerate(words) if GAP in word]
        reach = len(words)
        most = self.model.max_length
        around = len(self.tokenizer("")["ids"][0]) + 1  # the template's tokens, and the gap
        while True:
            kept = words[max(gap - reach, 0) : gap + reach + 1]
            length = around + len(self.tokenizer.encode(" ".join(w for w in kept if w != GAP)))
            if most is None or length <= most or reach == 0:
                return " ".join(kept)
            reach = min(reach, len(words)) * 3 // 4

    # ---- the clusters

    def _named(self):
        """word -> type, from the clusters of the words that have one."""
        usual = []  # the ids of tokens that are words
        for i in range(self.tokenizer.vocab_size):
            if i not in self.tokenizer.special_ids:
                usual.append(i)
        words = [self.tokenizer.decode([i]).strip() for i in usual]
        numbers = clusters(self.model.embedding_table()[usual], self.threshold)
        votes: dict[int, Counter[str]] = {}
        number_of: dict[str, int] = {}
        for word, number in zip(words, numbers.tolist(), strict=True):
            number_of.setdefault(word, number)
        for kind, own in self.types.items():
            known = [word for word in own if word in number_of]
            if not known:
                raise TinylmError(
                    f"The model has none of the words {', '.join(own)} of the type {kind!r}; "
                    "give words of its vocabulary."
                )
            for word in known:
                votes.setdefault(number_of[word], Counter())[kind] += 1
        found = {}
        for word, number in number_of.items():
            if number in votes:
                [(kind, _)] = votes[number].most_common(1)
                found[word] = kind
        for kind, own in self.types.items():  # what was said by hand holds
            found |= {word: kind for word in own if word in number_of}
        return found


def shared(votes: Mapping[str, float]) -> dict[str, float]:
    """Votes as shares of their sum; nothing if there are none.

    >>> shared({"person": 3.0, "place": 1.0})
    {'person': 0.75, 'place': 0.25}
    """
    total = sum(votes.values())
    return {kind: value / total for kind, value in votes.items() if total > 0}
