"""How much of a reference does a text repeat? BLEU for translations, ROUGE for summaries.

    BLEU    = min(1, e^(1 − r/c)) · (p_1 p_2 p_3 p_4)^¼,    p_n: the share of right n-grams
    ROUGE-n = F1 of n-grams,     ROUGE-L = F1 of the longest common subsequence

Source: Papineni et al. 2002, as sacrebleu counts it for texts that are split at spaces; Lin 2004,
as rouge-score counts it without stemming.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence

from tinylm.arguments import strings
from tinylm.errors import ShapeError

LONGEST = 4  # words of an n-gram in BLEU
NO_WORD = re.compile(r"[^a-z0-9]+")


def _ngrams(words: Sequence[str], n: int) -> Counter:
    """How often each run of n words occurs."""
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def _check(references: Sequence, texts: Sequence[str]) -> None:
    if len(references) != len(texts) or not len(texts):
        raise ShapeError(
            f"metrics: {len(references)} references and {len(texts)} texts; expected one reference "
            "for each text, and at least one."
        )


def bleu(references: Sequence[Sequence[str]], texts: Sequence[str]) -> float:
    """BLEU of a whole set, 0 to 100; words are what stands between spaces.

    references : for each text, the translations that would be right     texts : N translations
    Where no n-gram of a length is right, the k-th such length counts 1/2^k of one.
    raises ShapeError     if the lengths differ or N is 0
    raises ArgumentError  for a string in place of a text's list of translations

    >>> round(bleu([["the sea is calm today"]], ["the sea is calm now"]), 2)
    66.87
    """
    _check(references, texts)
    right = [0] * LONGEST
    found = [0] * LONGEST
    n_words = 0
    n_reference = 0
    for options, text in zip(references, texts, strict=True):
        words = text.split()
        others = [option.split() for option in strings(options, "references")]
        if not others:
            raise ShapeError("metrics: a text has no reference; give each at least one.")
        n_words += len(words)
        # The length of the nearest reference, the shorter one at a tie.
        n_reference += min((abs(len(o) - len(words)), len(o)) for o in others)[1]
        for n in range(1, LONGEST + 1):
            own = _ngrams(words, n)
            most: Counter = Counter()
            for other in others:
                most |= _ngrams(other, n)
            right[n - 1] += (own & most).total()
            found[n - 1] += own.total()
    if not right[0]:
        return 0.0
    logs = []
    missing = 0
    for hits, total in zip(right, found, strict=True):
        if not total:
            break
        missing += hits == 0
        logs.append(math.log(hits / total if hits else 1 / (2**missing * total)))
    if len(logs) < LONGEST:
        return 0.0
    brevity = min(0.0, 1 - n_reference / n_words)
    return 100 * math.exp(brevity + sum(logs) / LONGEST)


def rouge(references: Sequence[str], texts: Sequence[str]) -> dict[str, float]:
    """The means of ROUGE-1, ROUGE-2 and ROUGE-L over N summaries, F1 in [0, 1].

    Words are runs of letters a to z and digits, in lower case.
    raises ShapeError  if the lengths differ or N is 0

    >>> rouge(["The sea is calm."], ["the calm sea"])["rouge1"].__round__(3)
    0.857
    """
    references = strings(references, "references")
    texts = strings(texts, "texts")
    _check(references, texts)
    totals = dict.fromkeys(("rouge1", "rouge2", "rougeL"), 0.0)
    for reference, text in zip(references, texts, strict=True):
        true = NO_WORD.sub(" ", reference.lower()).split()
        found = NO_WORD.sub(" ", text.lower()).split()
        for n in (1, 2):
            own = _ngrams(found, n)
            other = _ngrams(true, n)
            totals[f"rouge{n}"] += _f1((own & other).total(), own.total(), other.total())
        totals["rougeL"] += _f1(common_length(true, found), len(found), len(true))
    return {name: total / len(texts) for name, total in totals.items()}


def _f1(right: int, found: int, true: int) -> float:
    """The harmonic mean of right / found and right / true; 0 where nothing is right."""
    return 2 * right / (found + true) if right else 0.0


def common_length(first: Sequence[str], second: Sequence[str]) -> int:
    """The length of the longest sequence of words that both hold in this order.

    >>> common_length("a b c d".split(), "b x d a".split())
    2
    """
    row = [0] * (len(second) + 1)  # of the words read so far, with each beginning of the second
    for word in first:
        diagonal = 0
        for j, other in enumerate(second, 1):
            above = row[j]
            row[j] = diagonal + 1 if word == other else max(above, row[j - 1])
            diagonal = above
    return row[-1]
