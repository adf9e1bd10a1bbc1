"""The toy language: made from a seed, for tests, demos and machines without a network.

`Language` writes sentences about topics, with a sentiment and with names of people and places. It
chooses the labels first and then the words, so every label is known. Each topic has many words, and
a few labelled sentences show only a few of them: learning from unlabelled text pays.

`hidden_markov` (from markov.py) writes text whose exact loss is known.
"""

from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, islice, product

import numpy as np

from tinylm.errors import VocabularyError

from .markov import HiddenMarkov, hidden_markov

__all__ = [
    "FEELINGS",
    "KINDS",
    "STRAY",
    "TOPICS",
    "WORDS_PER_TOPIC",
    "HiddenMarkov",
    "Language",
    "Sentence",
    "documents",
    "hidden_markov",
    "labelled",
    "tagged",
]

TOPICS = ("cooking", "sailing", "music", "gardens", "racing", "stars")
FEELINGS = ("negative", "positive")
KINDS = ("person", "place")
WORDS_PER_TOPIC = {"noun": 50, "verb": 30}
STRAY = 0.15  # the chance that a word of a sentence comes from any topic at all


@dataclass(frozen=True)
class Sentence:
    """One sentence with all its labels.

    tokens, tags : words and their BIO tags ("O", "B-person", "I-person", "B-place")
    topic, sentiment : one of TOPICS, one of FEELINGS
    meaning : (subject, verb, object); `Language.pair` rewords a sentence without changing it
    """

    tokens: tuple[str, ...]
    tags: tuple[str, ...]
    topic: str
    sentiment: str
    meaning: tuple[str, str, str]

    @property
    def text(self) -> str:
        """The tokens with spaces between them."""
        return " ".join(self.tokens)


class Language:
    """The lexicon of one toy language, and sentences drawn from it.

    seed : decides the words; the same seed gives the same language
    lexicon : (topic, "noun" or "verb") -> words, frequent ones first
    feeling : "negative" or "positive" -> words
    first_names, last_names, places : capitalised words
    foreign : word -> its translation
    """

    def __init__(self, seed: int = 0):
        rng = np.random.default_rng([seed, 4])
        words = iter(_invent(rng, 800))

        def take(n: int) -> list[str]:
            return list(islice(words, n))

        self.lexicon: dict[tuple[str, str], list[str]] = {}
        for topic in TOPICS:
            for part, n in WORDS_PER_TOPIC.items():
                self.lexicon[topic, part] = take(n)
        self.feeling = {feeling: take(20) for feeling in FEELINGS}
        self.first_names = [name.capitalize() for name in take(20)]
        self.last_names = [name.capitalize() for name in take(20)]
        self.places = [name.capitalize() for name in take(30)]
        self.foreign = self._dictionary()
        self._tag_of = dict.fromkeys(self.first_names, "B-person")
        self._tag_of |= dict.fromkeys(self.last_names, "I-person")
        self._tag_of |= dict.fromkeys(self.places, "B-place")

    def _dictionary(self) -> dict[str, str]:
        """Each word's translation: the word backwards, then o or a. Names stay as they are."""
        foreign = {}
        for words in self.lexicon.values():
            for word in words:
                foreign[word] = word[::-1] + "o"
        for words in self.feeling.values():
            for word in words:
                foreign[word] = word[::-1] + "a"
        small_words = {"the": "lo", "by": "da", "in": "su", "was": "era", "not": "ne", ".": "."}
        return foreign | small_words

    def sentence(
        self, rng: np.random.Generator, topic: str | None = None, sentiment: str | None = None
    ) -> Sentence:
        """One sentence of a given or random topic and sentiment.

            who [in place] does the [not] feeling thing .

        "not" turns a feeling into its opposite, so a positive sentence may say "not" and a negative
        word.

        >>> Language().sentence(np.random.default_rng(0), "music", "positive").text
        'Votaso ravapu the bite gopegu .'
        """
        topic = topic or _any_topic(rng)
        sentiment = sentiment or _any_feeling(rng)
        verb = self._word(rng, topic, "verb")
        thing = self._word(rng, topic, "noun")
        person = [_draw(rng, self.first_names), _draw(rng, self.last_names)]
        if rng.random() >= 0.5:
            person.pop()
        where = ["in", _draw(rng, self.places)] if rng.random() < 0.5 else []
        negated = rng.random() < 0.25
        spoken = FEELINGS[FEELINGS.index(sentiment) ^ negated]  # the opposite one after "not"
        feeling = _draw(rng, self.feeling[spoken])
        negation = ["not"] if negated else []

        tokens = [*person, *where, verb, "the", *negation, feeling, thing, "."]
        tags = self._tags(tokens)
        meaning = (" ".join(person), verb, thing)
        return Sentence(tuple(tokens), tags, topic, sentiment, meaning)

    def document(
        self, rng: np.random.Generator, topic: str | None = None, sentiment: str | None = None
    ) -> str:
        """Three to six sentences of one topic and one sentiment."""
        topic = topic or _any_topic(rng)
        sentiment = sentiment or _any_feeling(rng)
        n = int(rng.integers(3, 7))
        return " ".join(self.sentence(rng, topic, sentiment).text for _ in range(n))

    def pair(self, rng: np.random.Generator) -> tuple[str, str, str]:
        """Two sentences and whether they say the same: (first, second, "same" or "different").

        The second rewords the first. In a "different" pair the rewording names another object.
        """
        first = self.sentence(rng)
        subject, verb, thing = first.meaning
        label = "same"
        if rng.random() >= 0.5:
            label = "different"
            others = [noun for noun in self.lexicon[first.topic, "noun"] if noun != thing]
            thing = _draw(rng, others)
        return first.text, f"the {thing} was {verb} by {subject} .", label

    def translation(self, rng: np.random.Generator) -> tuple[str, str]:
        """A sentence and its translation into other words.

        In the translation the feeling stands after the noun that it describes.
        """
        sentence = self.sentence(rng)
        words = list(sentence.tokens)
        words[-3], words[-2] = words[-2], words[-3]
        translated = [self.foreign.get(word, word) for word in words]
        return sentence.text, " ".join(translated)

    def _word(self, rng: np.random.Generator, topic: str, part: str) -> str:
        """A noun or verb of the topic; with the chance STRAY, of any topic."""
        if rng.random() < STRAY:
            topic = _any_topic(rng)
        return _draw(rng, self.lexicon[topic, part])

    def _tags(self, tokens: Sequence[str]) -> tuple[str, ...]:
        """The BIO tag of each token."""
        return tuple(self._tag_of.get(token, "O") for token in tokens)


def _any_topic(rng: np.random.Generator) -> str:
    return TOPICS[int(rng.integers(len(TOPICS)))]


def _any_feeling(rng: np.random.Generator) -> str:
    return FEELINGS[int(rng.integers(len(FEELINGS)))]


def _draw(rng: np.random.Generator, words: Sequence[str]) -> str:
    """A word, early ones more often: the n-th has a chance proportional to 1 / (n + 2) (Zipf)."""
    chances = _summed_chances(len(words))
    point = rng.random() * chances[-1]
    return words[bisect(chances, point, 0, len(words) - 1)]


@cache
def _summed_chances(n: int) -> tuple[float, ...]:
    """The chances of the first of n words, of the first two, and so on, up to a factor."""
    return tuple(accumulate(1 / (i + 3) for i in range(n)))


def _invent(rng: np.random.Generator, n: int) -> list[str]:
    """n different words of two or three syllables, in the order in which rng makes them."""
    syllables = ["".join(pair) for pair in product("bdfgklmnprstvz", "aeiou")]
    words: dict[str, None] = {}
    while len(words) < n:
        length = 2 + int(rng.random() < 0.5)
        chosen = rng.integers(len(syllables), size=length)
        word = "".join(syllables[int(i)] for i in chosen)
        words[word] = None
    return list(words)


def documents(n: int, seed: int = 0, language: Language | None = None) -> list[str]:
    """n unlabelled documents of the language.

    >>> documents(1)[0][:48]
    'Lonave Sepo in Rifo fefi the not sepefe dokoza .'
    """
    rng = np.random.default_rng([seed, 5])
    language = language or Language()
    return [language.document(rng) for _ in range(n)]


def labelled(
    n: int, seed: int = 0, task: str = "topic", language: Language | None = None
) -> list[tuple[str, str]]:
    """n documents with their labels, each label equally often.

    task : "topic" or "sentiment"
    returns [(text, label)]
    raises VocabularyError  for another task

    >>> [label for text, label in labelled(3)]
    ['cooking', 'sailing', 'music']
    """
    rng = np.random.default_rng([seed, 6])
    language = language or Language()
    names = {"topic": TOPICS, "sentiment": FEELINGS}.get(task)
    if names is None:
        raise VocabularyError(
            f"The toy language has no task {task!r}; its tasks are topic and sentiment."
        )
    rows = []
    for i in range(n):
        label = names[i % len(names)]
        text = language.document(rng, **{task: label})
        rows.append((text, label))
    return rows


def tagged(
    n: int, seed: int = 0, language: Language | None = None
) -> list[tuple[list[str], list[str]]]:
    """n sentences as (tokens, BIO tags).

    >>> tokens, tags = tagged(1)[0]
    >>> list(zip(tokens, tags))[:4]
    [('Ludu', 'B-person'), ('in', 'O'), ('Gagi', 'B-place'), ('dulifu', 'O')]
    """
    rng = np.random.default_rng([seed, 7])
    language = language or Language()
    rows = []
    for _ in range(n):
        sentence = language.sentence(rng)
        rows.append((list(sentence.tokens), list(sentence.tags)))
    return rows
