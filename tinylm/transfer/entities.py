"""How good is a tagger? Entities count as wholes: precision, recall and F1 over exact spans.

    precision = right / found      recall = right / true      F1 = 2 right / (found + true)

An entity is right if its type, its first and its last token are all as they should be. What counts
as an entity in malformed tags is decided by conlleval's rule: see `tinylm.data.tags`.
Source: the CoNLL-2000 and CoNLL-2003 shared tasks.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tinylm.data import tags as bio
from tinylm.errors import ShapeError

Tags = Sequence[Sequence[str]]  # of every token of every sentence


@dataclass(frozen=True)
class Score:
    """Counts of entities, and the shares made of them.

    right : found and true     found : predicted     true : in the truth

    >>> score = Score(right=1, found=2, true=4)
    >>> score.precision, score.recall, round(score.f1, 3)
    (0.5, 0.25, 0.333)
    """

    right: int
    found: int
    true: int

    @property
    def precision(self) -> float:
        """The share of found entities that are right; 0 if none was found."""
        return self.right / self.found if self.found else 0.0

    @property
    def recall(self) -> float:
        """The share of true entities that were found; 0 if there are none."""
        return self.right / self.true if self.true else 0.0

    @property
    def f1(self) -> float:
        """The harmonic mean of the two; 0 if nothing is right."""
        both = self.found + self.true
        return 2 * self.right / both if both else 0.0


@dataclass(frozen=True)
class EntityScores:
    """The entities of all types together ("micro"), and of each type.

    types : type -> Score, sorted by name     accuracy : the share of tokens with the right tag
    """

    overall: Score
    types: dict[str, Score]
    accuracy: float

    @property
    def f1(self) -> float:
        """F1 of all entities."""
        return self.overall.f1

    def __str__(self) -> str:
        """A table in percent, as the tasks print it.

        >>> print(entity_scores([["B-x", "I-x", "O"]], [["B-x", "O", "O"]]))
        type  precision  recall     F1  true
        x           0.0     0.0    0.0     1
        all         0.0     0.0    0.0     1
        tokens with the right tag: 66.7 %
        """
        width = max(4, *(len(kind) for kind in self.types), 0)
        lines = [f"{'type':{width}}  precision  recall     F1  true"]
        for kind, score in [*self.types.items(), ("all", self.overall)]:
            shares = f"{100 * score.precision:9.1f}  {100 * score.recall:6.1f}"
            lines.append(f"{kind:{width}}  {shares}  {100 * score.f1:5.1f}  {score.true:4}")
        lines.append(f"tokens with the right tag: {100 * self.accuracy:.1f} %")
        return "\n".join(lines)


def entity_scores(truth: Tags, predicted: Tags) -> EntityScores:
    """Precision, recall and F1 of the entities of all sentences, and of each type.

    truth, predicted : N lists of tags, one list for each sentence
    raises ShapeError  if the sentences differ in number or length, or hold no token

    >>> scores = entity_scores([["B-PER", "I-PER", "O", "B-LOC"]], [["B-PER", "I-PER", "O", "O"]])
    >>> scores.overall
    Score(right=1, found=1, true=2)
    >>> round(scores.f1, 3), scores.accuracy
    (0.667, 0.75)
    """
    accuracy = token_accuracy(truth, predicted)
    right: Counter[str] = Counter()
    found: Counter[str] = Counter()
    true: Counter[str] = Counter()
    for true_tags, predicted_tags in zip(truth, predicted, strict=True):
        true_spans = bio.spans(true_tags)
        found_spans = bio.spans(predicted_tags)
        true.update(span.type for span in true_spans)
        found.update(span.type for span in found_spans)
        right.update(span.type for span in set(true_spans) & set(found_spans))
    types = {}
    for kind in sorted(true | found):
        types[kind] = Score(right[kind], found[kind], true[kind])
    overall = Score(right.total(), found.total(), true.total())
    return EntityScores(overall, types, accuracy)


def token_accuracy(truth: Tags, predicted: Tags) -> float:
    """The share of tokens with the right tag, in [0, 1].

    truth, predicted : N lists of tags, one list for each sentence
    raises ShapeError  if the sentences differ in number or length, or hold no token

    >>> token_accuracy([["NN", "VB"], ["NN"]], [["NN", "NN"], ["NN"]])
    0.6666666666666666
    """
    lengths = [len(tags) for tags in truth]
    others = [len(tags) for tags in predicted]
    if lengths != others or not sum(lengths):
        at = [n for n, (a, b) in enumerate(zip(lengths, others, strict=False)) if a != b]
        where = f"; sentence {at[0]} has {lengths[at[0]]} and {others[at[0]]} tags" if at else ""
        raise ShapeError(
            f"metrics: {len(lengths)} true and {len(others)} predicted sentences{where}; expected "
            "one predicted tag for each true one, and at least one token."
        )
    right = 0
    for true_tags, predicted_tags in zip(truth, predicted, strict=True):
        right += sum(a == b for a, b in zip(true_tags, predicted_tags, strict=True))
    return right / sum(lengths)
