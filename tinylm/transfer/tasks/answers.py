"""How good are answers that are words of a text? Exact match and F1, as SQuAD counts them.

    normalised    lower case, no punctuation, no a, an, the, one space between words
    exact         the normalised answer equals one of the right ones
    F1            of the words of both, each as often as it occurs; the best of the right ones

A question without an answer counts 1 if none was given, else 0, in both.
Source: the scorer of SQuAD 2.0, Rajpurkar, Jia & Liang 2018.
"""

import re
import string
from collections import Counter
from collections.abc import Sequence

from tinylm.arguments import strings
from tinylm.errors import ShapeError

ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = frozenset(string.punctuation)


def normalised(answer: str) -> str:
    """An answer as it is compared.

    >>> normalised("The  Sea-bird, a gull.")
    'seabird gull'
    """
    letters = [letter for letter in answer.lower() if letter not in PUNCTUATION]
    return " ".join(ARTICLES.sub(" ", "".join(letters)).split())


def exact_match(right: Sequence[str], answer: str) -> bool:
    """Whether an answer equals one of the right ones; none of them means that there is no answer.

    >>> exact_match(["the sea", "water"], "Sea!"), exact_match([], "")
    (True, True)
    """
    return normalised(answer) in [normalised(each) for each in _counted(right)]


def word_f1(right: Sequence[str], answer: str) -> float:
    """The F1 of the words of an answer against the right one that is nearest, in [0, 1].

    As SQuAD counts it: a sign is dropped ("sea-bird" is one word), and two texts without words are
    equal. ConvAI2's scorer of replies, replies.py, lets a sign part words and gives such texts 0.

    >>> word_f1(["calm sea"], "the calm blue sea")
    0.8
    """
    words = normalised(answer).split()
    return max(_f1(normalised(each).split(), words) for each in _counted(right))


def _counted(right: Sequence[str]) -> list[str]:
    """The right answers that are more than articles; the empty one where there is none."""
    return [each for each in strings(right, "right") if normalised(each)] or [""]


def _f1(true: list[str], found: list[str]) -> float:
    if not true or not found:
        return float(true == found)
    same = (Counter(true) & Counter(found)).total()
    if not same:
        return 0.0
    precision = same / len(found)
    recall = same / len(true)
    return 2 * precision * recall / (precision + recall)


def reading_scores(right: Sequence[Sequence[str]], answers: Sequence[str]) -> dict[str, float]:
    """The mean exact match and F1 of N questions, and of those with and without an answer.

    right : N lists of right answers, [] for a question without     answers : N, "" for none
    returns {"exact", "f1", "total"}, and where there are such questions the same of them with
        HasAns_ and NoAns_ before the names; shares in [0, 1]
    raises ShapeError  if the lengths differ or N is 0

    >>> scores = reading_scores([["sea"], []], ["the sea", "ice"])
    >>> scores["exact"], scores["HasAns_f1"], scores["NoAns_f1"]
    (0.5, 1.0, 0.0)
    """
    if len(right) != len(answers) or not len(right):
        raise ShapeError(
            f"metrics: {len(right)} questions and {len(answers)} answers; expected one answer for "
            "each question, and at least one."
        )
    pairs = list(zip(right, answers, strict=True))
    exact = [float(exact_match(true, answer)) for true, answer in pairs]
    f1 = [word_f1(true, answer) for true, answer in pairs]
    has = [len(true) > 0 for true in right]
    scores = {}
    for prefix, wanted in (("", (True, False)), ("HasAns_", (True,)), ("NoAns_", (False,))):
        rows = [i for i, answerable in enumerate(has) if answerable in wanted]
        if rows:
            scores[f"{prefix}exact"] = sum(exact[i] for i in rows) / len(rows)
            scores[f"{prefix}f1"] = sum(f1[i] for i in rows) / len(rows)
            scores[f"{prefix}total"] = len(rows)
    return scores
