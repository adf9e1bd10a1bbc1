"""Tasks of the toy language (toy.py) whose answers are known, for what no named set has labels for.

    scored        a text, and by how much it is positive, from −1 to 1
    entailment    Sepo in Rifo fefi the not poso dokoza .   Sepo likes it .     contradiction
    choices       Sepo in Rifo fefi the not poso dokoza .   likes it / hates it / says nothing
    reading       the bite was gopegu . Sepo in Rifo fefi the poso dokoza .   where was it ?   Rifo

The answer never follows from one text alone: the same hypothesis, answer or question is right with
one text and wrong with another. "not" turns a feeling into its opposite.
"""

import numpy as np

from .columns import Choice
from .squad import Answer, Question
from .toy import FEELINGS, Language, Sentence

LABELS = ("contradiction", "entailment", "neutral")
SAID = ("{who} hates it .", "{who} likes it .", "{who} says nothing .")  # of each feeling, and none
UNANSWERED = 0.25  # the share of texts that name nobody, and of those that name no place
MOST_SENTENCES = 4


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


def scene(rng: np.random.Generator, language: Language, feeling: int) -> Sentence:
    """A sentence with one of FEELINGS by its number, or without any feeling for 2.

    >>> scene(np.random.default_rng(1), Language(), 2).text
    'Todo Sani vana the lubidu .'
    """
    if feeling < len(FEELINGS):
        return language.sentence(rng, sentiment=FEELINGS[feeling])
    sentence = language.sentence(rng)
    felt = {"not", *language.feeling["negative"], *language.feeling["positive"]}
    kept = [i for i, token in enumerate(sentence.tokens) if token not in felt]
    tokens = tuple(sentence.tokens[i] for i in kept)
    tags = tuple(sentence.tags[i] for i in kept)
    return Sentence(tokens, tags, sentence.topic, "", sentence.meaning)


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
        claimed = int(rng.integers(2))
        felt = {"entailment": claimed, "contradiction": 1 - claimed, "neutral": 2}[label]
        premise = scene(rng, language, felt)
        rows.append(((premise.text, _said(premise, claimed)), label))
    return rows


def choices(n: int, seed: int = 0, language: Language | None = None) -> list[Choice]:
    """n sentences with three answers each, of which one says what the sentence says.

    >>> choice = choices(1)[0]
    >>> sorted(answer.split(maxsplit=1)[1] for answer in choice.answers)
    ['hates it .', 'likes it .', 'says nothing .']
    """
    rng = np.random.default_rng([seed, 12])
    language = language or Language()
    rows = []
    for _ in range(n):
        felt = int(rng.integers(3))
        context = scene(rng, language, felt)
        order = rng.permutation(3).tolist()
        answers = tuple(_said(context, claimed) for claimed in order)
        rows.append(Choice(context.text, answers, order.index(felt)))
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


def _said(sentence: Sentence, feeling: int) -> str:
    """That the subject of a sentence has a feeling, by its number in SAID."""
    return SAID[feeling].format(who=sentence.meaning[0])
