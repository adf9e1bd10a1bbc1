"""How good is a conversational agent? Hits@1, perplexity, F1 of words; and the baseline TF-IDF.

    hits@1       how often the reply that was given gets the best score of all candidates
    perplexity   exp of the mean −log p of a token of the given reply
    F1           of the words that a drawn reply and the given one share

Source: the ConvAI2 challenge (Dinan et al. 2019).
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinylm.data.dialogues import Utterance
from tinylm.errors import DataError

from .baselines import Tfidf

ARTICLES = re.compile(r"\b(a|an|the)\b")
SIGNS = re.compile(r"[!\"#$%&()*+,\-./:;<=>?@\[\]\\^`{|}~_']")


@dataclass(frozen=True)
class ChatScores:
    """Shares in [0, 1], and a perplexity.

    f1 : None if no replies were drawn     count : utterances

    >>> print(ChatScores(0.5, 20.0, None, 8))
    hits@1 0.500, perplexity 20.0 on 8 utterances
    """

    hits: float
    perplexity: float
    f1: float | None
    count: int

    def __str__(self) -> str:
        f1 = "" if self.f1 is None else f", F1 {self.f1:.3f}"
        shown = f"hits@1 {self.hits:.3f}, perplexity {self.perplexity:.1f}{f1}"
        return f"{shown} on {self.count} utterances"


def word_f1(truth: str, said: str) -> float:
    """The F1 of the words of two texts, without case, articles and signs.

    As ConvAI2 counts it: a sign parts two words, and two texts without words have nothing in
    common. SQuAD's scorer, tasks/answers.py, drops signs ("sea-bird" is one word) and counts two
    such texts as equal.

    >>> round(word_f1("I have the dog.", "i have a cat"), 3)
    0.667
    >>> word_f1("yes", "no")
    0.0
    """
    true = words_of(truth)
    found = words_of(said)
    common = (Counter(true) & Counter(found)).total()
    return 2 * common / (len(true) + len(found)) if common else 0.0


def words_of(text: str) -> list[str]:
    """The words that `word_f1` compares.

    >>> words_of("The sea, a wave!")
    ['sea', 'wave']
    """
    plain = SIGNS.sub(" ", text.lower())
    return ARTICLES.sub(" ", plain).split()


def tfidf_hits(train: Sequence[Utterance], test: Sequence[Utterance]) -> float:
    """Hits@1 of TF-IDF: the candidate whose words are nearest to persona and history.

    Word frequencies are those of the training dialogues. Where several candidates are equally near,
    their share of the hit is counted: guessing would have it in the mean.
    raises DataError  if there is nothing to measure on
    """
    if not test:
        raise DataError("tfidf_hits: there are no utterances; give at least one.")
    texts = []
    for utterance in train:
        texts += [*utterance.persona, *utterance.history, utterance.reply]
    tfidf = Tfidf(sublinear=True).fit(texts)
    hits = []
    for utterance in test:
        asked = " ".join([*utterance.persona, *utterance.history])
        rows = tfidf.transform([asked, *utterance.candidates])  # (1 + N, F)
        nearness = (rows[1:] @ rows[:1].T).toarray()[:, 0]  # (N,)
        best = np.isclose(nearness, nearness.max(), rtol=0, atol=1e-12)
        hits.append(best[-1] / best.sum())
    return float(np.mean(hits))
