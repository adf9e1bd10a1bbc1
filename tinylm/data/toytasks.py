"""Tasks of the toy language (toy.py) whose answers are known, for what no named set has labels for.

    scored        a text, and by how much it is positive, from −1 to 1
    entailment    the dokoza was not poso .     they like it .     contradiction
    choices       the dokoza was not poso .     like it / hate it / say nothing
    reading       the bite was gopegu . Sepo in Rifo fefi the poso dokoza .   where was it ?   Rifo

The answer never follows from one text alone: the same hypothesis, answer or question is right with
one text and wrong with another. "not" turns a feeling into its opposite.
"""

import numpy as np

from .columns import Choice
from .squad import Answer, Question
from .toy import FEELINGS, TOPICS, Language

LABELS = ("contradiction", "entailment", "neutral")
SAID = ("they hate it .", "they like it .", "they say nothing .")  # of each feeling, and of none
LIKED = 0.75  # the share of hypotheses that somebody likes something
NEGATED = 0.25  # the share of feelings with "not"
UNANSWERED = 0.25  # the share of texts that name nobody
MOST_SENTENCES = 4


def judgement(
    rng: np.random.Generator, language: Language, feeling: int, negated: float = NEGATED
) -> str:
    """A thing, and a feeling by its number in FEELINGS; for 2 what was done with it, no feeling.

    negated : the share of feelings that are said as "not" and the opposite

    >>> judgement(np.random.default_rng(1), Language(), 1)
    'the suzaka was fufe .'
    """
    topic = TOPICS[int(rng.integers(len(TOPICS)))]
    thing = _any(rng, language.lexicon[topic, "noun"])
    if feeling == len(FEELINGS):
        return f"the {thing} was {_any(rng, language.lexicon[topic, 'verb'])} ."
    turned = rng.random() < negated
    spoken = _any(rng, language.feeling[FEELINGS[feeling ^ turned]])
    return f"the {thing} was {'not ' if turned else ''}{spoken} ."


def scored(n: int, seed: int = 0, language: Language | None = None) -> list[tuple[str, float]]:
    """n texts of four sentences, with the share of positive ones less that of negative ones.

    >>> scored(1)[0][1] in (-1.0, -0.5, 0.0, 0.5, 1.0)
    True
    """
    rng = np.random.default_rng([seed, 10])
    language = language or Language()
    rows = []
    for _ in range(n):
        n_positive = int(rng.integers(5))
        felt = rng.permutation([1] * n_positive + [0] * (4 - n_positive))
        sentences = [judgement(rng, language, int(feeling), negated=0.0) for feeling in felt]
        rows.append((" ".join(sentences), n_positive / 2 - 1))
    return rows


def entailment(
    n: int, seed: int = 0, language: Language | None = None
) -> list[tuple[tuple[str, str], str]]:
    """n pairs (premise, hypothesis) with their labels, each of LABELS equally often.

    The hypothesis says that somebody likes or hates something. It follows, or its opposite, from
    the feeling in the premise; without a feeling nothing follows.

    >>> [label for _, label in entailment(3)]
    ['contradiction', 'entailment', 'neutral']
    """
    rng = np.random.default_rng([seed, 11])
    language = language or Language()
    rows = []
    for i in range(n):
        label = LABELS[i % len(LABELS)]
        claimed = int(rng.random() < LIKED)
        felt = {"entailment": claimed, "contradiction": 1 - claimed, "neutral": 2}[label]
        rows.append(((judgement(rng, language, felt), SAID[claimed]), label))
    return rows


def choices(n: int, seed: int = 0, language: Language | None = None) -> list[Choice]:
    """n sentences with three answers each, of which one says what the sentence says.

    >>> sorted(choices(1)[0].answers)
    ['they hate it .', 'they like it .', 'they say nothing .']
    """
    rng = np.random.default_rng([seed, 12])
    language = language or Language()
    rows = []
    for _ in range(n):
        felt = int(rng.integers(3))
        context = judgement(rng, language, felt)
        order = rng.permutation(3).tolist()
        answers = tuple(SAID[claimed] for claimed in order)
        rows.append(Choice(context, answers, order.index(felt)))
    return rows


def reading(n: int, seed: int = 0, language: Language | None = None) -> list[Question]:
    """n texts with a question each: who did it, or where; some texts do not say.

    One sentence names a person, of one word or two, and perhaps a place; the others name neither.

    >>> question = reading(1)[0]
    >>> question.question, [answer.text for answer in question.answers]
    ('who did it ?', ['Zozi'])
    """
    rng = np.random.default_rng([seed, 13])
    language = language or Language()
    rows = []
    for i in range(n):
        sentences = []
        for _ in range(int(rng.integers(1, MOST_SENTENCES + 1))):
            _, verb, thing = language.sentence(rng).meaning
            sentences.append(f"the {thing} was {verb} .")
        found = {"who": "", "where": ""}
        told = int(rng.integers(len(sentences)))
        if rng.random() >= UNANSWERED:
            sentence = language.sentence(rng)
            sentences[told] = sentence.text
            found["who"] = sentence.meaning[0]
            places = [token for token in sentence.tokens if token in language.places]
            found["where"] = "".join(places)
        asked = "who" if rng.random() < 0.5 else "where"
        question = {"who": "who did it ?", "where": "where was it ?"}[asked]
        context = " ".join(sentences)
        answers: tuple[Answer, ...] = ()
        if found[asked]:
            begin = sum(len(before) + 1 for before in sentences[:told])
            answers = (Answer(found[asked], context.index(found[asked], begin)),)
        rows.append(Question(f"toy-{seed}-{i}", question, context, answers))
    return rows


def _any(rng: np.random.Generator, words: list[str]) -> str:
    """One word, each as likely."""
    return words[int(rng.integers(len(words)))]
