"""Tasks of the toy language (toy.py) whose answers are known, for what no named set has labels for.

    scored        a text, and by how much it is positive, from −1 to 1
    entailment    Sepo in Rifo fefi the poso dokoza .   Sepo was in Rifo .     entailment
    choices       Sepo in Rifo fefi the poso dokoza .   Who was there? Sepo / Ludu / Lonave
    reading       Sepo in Rifo fefi the … . Ludu in Gagi … .   where was Ludu ?   Gagi

The answer never follows from one text alone: the same hypothesis, answer or question is right with
one text and wrong with another.
"""

from collections.abc import Sequence

import numpy as np

from .columns import Choice
from .squad import Answer, Question
from .toy import FEELINGS, Language

ENTAILMENT = ("entailment", "neutral", "contradiction")
N_ANSWERS = 3
UNANSWERED = 0.2  # the share of questions whose text does not answer them


def scored(n: int, seed: int = 0, language: Language | None = None) -> list[tuple[str, float]]:
    """n documents of four sentences, with the share of positive ones less that of negative ones.

    >>> scored(1)[0][1] in (-1.0, -0.5, 0.0, 0.5, 1.0)
    True
    """
    rng = np.random.default_rng([seed, 10])
    language = language or Language()
    rows = []
    for _ in range(n):
        n_positive = int(rng.integers(5))
        feelings = [FEELINGS[1]] * n_positive + [FEELINGS[0]] * (4 - n_positive)
        order = rng.permutation(4)
        sentences = [language.sentence(rng, sentiment=feelings[i]).text for i in order]
        rows.append((" ".join(sentences), n_positive / 2 - 1))
    return rows


def scene(
    rng: np.random.Generator, language: Language, who: str, where: str | None
) -> tuple[str, str]:
    """A sentence about somebody, perhaps somewhere: its text, and the thing it names.

    >>> scene(np.random.default_rng(0), Language(), "Sepo", "Rifo")[0][:12]
    'Sepo in Rifo'
    """
    sentence = language.sentence(rng)
    verb = sentence.meaning[1]
    told = sentence.tokens[sentence.tokens.index(verb) :]
    beginning = [who] if where is None else [who, "in", where]
    return " ".join([*beginning, *told]), sentence.meaning[2]


def entailment(
    n: int, seed: int = 0, language: Language | None = None
) -> list[tuple[tuple[str, str], str]]:
    """n pairs (premise, hypothesis) with their labels, each of ENTAILMENT equally often.

    The hypothesis says where somebody was; the premise says the same place, another, or none.

    >>> (premise, hypothesis), label = entailment(1)[0]
    >>> label, hypothesis.split()[-2] in premise.split()
    ('entailment', True)
    """
    rng = np.random.default_rng([seed, 11])
    language = language or Language()
    rows = []
    for i in range(n):
        label = ENTAILMENT[i % len(ENTAILMENT)]
        who = _any(rng, language.first_names)
        said, other = _some(rng, language.places, 2)
        premise, _ = scene(rng, language, who, None if label == "neutral" else said)
        claimed = other if label == "contradiction" else said
        rows.append(((premise, f"{who} was in {claimed} ."), label))
    return rows


def choices(n: int, seed: int = 0, language: Language | None = None) -> list[Choice]:
    """n sentences with N_ANSWERS continuations, of which one names the sentence's own place.

    >>> choice = choices(1)[0]
    >>> choice.answers[choice.right].split()[-2] in choice.context.split()
    True
    """
    rng = np.random.default_rng([seed, 12])
    language = language or Language()
    rows = []
    for _ in range(n):
        who = _any(rng, language.first_names)
        places = _some(rng, language.places, N_ANSWERS)
        right = int(rng.integers(N_ANSWERS))
        context, _ = scene(rng, language, who, places[right])
        answers = tuple(f"{who} was in {place} ." for place in places)
        rows.append(Choice(context, answers, right))
    return rows


def reading(n: int, seed: int = 0, language: Language | None = None) -> list[Question]:
    """n questions about two or three people: where one of them was, or what the text does not say.

    Everybody in a text is in another place, so the name in the question decides. A share UNANSWERED
    of the questions asks for somebody of whom no place is said.

    >>> question = reading(1)[0]
    >>> question.question.split()[:2]
    ['where', 'was']
    """
    rng = np.random.default_rng([seed, 13])
    language = language or Language()
    rows = []
    for i in range(n):
        n_people = int(rng.integers(2, 4))
        people = _some(rng, language.first_names, n_people)
        places = _some(rng, language.places, n_people)
        asked = int(rng.integers(n_people))
        without = asked if rng.random() < UNANSWERED else -1
        sentences = []
        start = 0
        for p, (who, where) in enumerate(zip(people, places, strict=True)):
            text, _ = scene(rng, language, who, None if p == without else where)
            if p == asked:
                start = sum(len(before) + 1 for before in sentences) + len(f"{who} in ")
            sentences.append(text)
        answers = () if without == asked else (Answer(places[asked], start),)
        context = " ".join(sentences)
        rows.append(Question(f"toy-{seed}-{i}", f"where was {people[asked]} ?", context, answers))
    return rows


def _any(rng: np.random.Generator, words: Sequence[str]) -> str:
    """One word, each as likely."""
    return words[int(rng.integers(len(words)))]


def _some(rng: np.random.Generator, words: Sequence[str], n: int) -> list[str]:
    """n different words."""
    return [words[int(i)] for i in rng.permutation(len(words))[:n]]
