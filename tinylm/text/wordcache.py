"""Remember what was worked out for a word: most words of a text have been met before.

The table is bounded twice: it holds at most CACHE_WORDS words, and none longer than CACHE_LENGTH.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import filterfalse, pairwise
from typing import Any

import numpy as np

CACHE_WORDS = 1 << 20  # a full table is emptied and starts again
CACHE_LENGTH = 64  # characters; a longer word is worked out anew each time
AT_ONCE = 1 << 18  # characters that are encoded by one call


class Remembered(dict[str, Any]):
    """A dict that fills itself: a missing word is looked up by `find` and kept.

    find : takes a list of words and returns one value for each

    >>> lengths = Remembered(lambda words: [len(word) for word in words])
    >>> lengths["house"]
    5
    >>> lengths
    {'house': 5}
    """

    def __init__(self, find: Callable[[list[str]], Sequence[Any]]):
        super().__init__()
        self.find = find

    def learn(self, words: Iterable[str]) -> None:
        """Find all missing words by one call, before they are asked for one by one."""
        words = list(words)
        new = _short(filterfalse(self.__contains__, words))
        if len(self) + len(new) > CACHE_WORDS:
            self.clear()
            new = _short(words)[:CACHE_WORDS]
        if new:
            self.update(zip(new, self.find(new), strict=True))

    def __missing__(self, word: str) -> Any:
        found = self.find([word])[0]
        if len(word) <= CACHE_LENGTH:
            if len(self) >= CACHE_WORDS:
                self.clear()
            self[word] = found
        return found


def _short(words: Iterable[str]) -> list[str]:
    """The words that are short enough to remember, each once, in order."""
    return [word for word in dict.fromkeys(words) if len(word) <= CACHE_LENGTH]


def shared(values: Any, places: np.ndarray, sizes: list[int]) -> list[Any]:
    """Share out the values of joined texts: one slice of `values` for each text.

    values : a list or array, one value per place
    places : (N,) int       where each value stands in the joined texts, rising
    sizes : the length of each text

    >>> shared("abcd", np.array([0, 2, 5, 6]), [5, 3])
    ['ab', 'cd']
    """
    bounds = np.cumsum([0, *sizes])
    edges = np.searchsorted(places, bounds).tolist()
    return [values[begin:end] for begin, end in pairwise(edges)]


def portions(texts: Iterable[str]) -> Iterator[list[str]]:
    """Group the texts so that each group has about AT_ONCE characters; the last may be empty.

    >>> list(portions(["a short text", "another"]))
    [['a short text', 'another']]
    """
    portion: list[str] = []
    size = 0
    for text in texts:
        portion.append(text)
        size += len(text)
        if size > AT_ONCE:
            yield portion
            portion = []
            size = 0
    yield portion
