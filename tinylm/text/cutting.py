"""Texts cut at special names and into windows, and the word that each token belongs to."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence, Sized
from dataclasses import dataclass

from tinylm.arguments import each_string
from tinylm.errors import ArgumentError, VocabularyError


def cut_at(names: Collection[str], text: str) -> tuple[list[str], list[str]]:
    """Cut a text at these names: the pieces, and the names between them, one fewer.

    >>> cut_at({"<eos>"}, "a<eos>b<eos>")
    (['a', 'b', ''], ['<eos>', '<eos>'])
    """
    if not names:
        return [text], []
    longest_first = sorted(names, key=len, reverse=True)  # where one name begins another
    pattern = "|".join(map(re.escape, longest_first))
    parts = re.split(f"({pattern})", text)
    return parts[::2], parts[1::2]


@dataclass(frozen=True)
class Window:
    """Some neighbouring tokens of a text.

    first : the number in the text of the window's first token
    ids : T numbers     offsets : T pairs, the characters text[start:end] of each token
    """

    first: int
    ids: list[int]
    offsets: list[tuple[int, int]]


def windows(
    ids: Sequence[int], offsets: Sequence[tuple[int, int]], max_length: int, stride: int
) -> list[Window]:
    """The windows of a text's ids and offsets, see `Encoding.windows`.

    >>> offsets = [(0, 1), (1, 2), (2, 3)]
    >>> [(window.first, window.ids) for window in windows([7, 8, 9], offsets, 2, 1)]
    [(0, [7, 8]), (1, [8, 9])]
    """
    if max_length < 1 or not 1 <= stride <= max_length:
        raise VocabularyError(
            f"windows of {max_length} tokens, {stride} apart, would leave tokens out; "
            "give a stride from 1 to max_length."
        )
    found = []
    first = 0
    while True:
        last = first + max_length
        found.append(Window(first, list(ids[first:last]), list(offsets[first:last])))
        if last >= len(ids):
            return found
        first += stride


def word_of_each_token(words: Sequence[str], offsets: Sequence[tuple[int, int]]) -> list[int]:
    """The word of each token, from the offsets in the words joined by single spaces.

    A token that covers several words belongs to the first, a lone space to the word behind it.

    >>> word_of_each_token(["an", "ox"], [(0, 1), (1, 2), (2, 3), (3, 5)])
    [0, 0, 1, 1]
    """
    ends = []  # of each word
    place = -1
    for word in words:
        place += 1 + len(word)
        ends.append(place)
    found = []
    word = 0
    for start, _ in offsets:
        while word < len(words) - 1 and start >= ends[word]:
            word += 1
        found.append(word)
    return found


def as_texts(texts: str | Iterable[str]) -> Iterable[str]:
    """A single text as a list of one: iterating a string by mistake would give its characters.

    raises ArgumentError  for anything but strings

    >>> as_texts("one text")
    ['one text']
    """
    if isinstance(texts, str):
        return [texts]
    if not isinstance(texts, Iterable) or isinstance(texts, bytes):
        raise ArgumentError(f"texts is of type {type(texts).__name__}; expected strings.")
    if not isinstance(texts, Sized):
        return each_string(texts, "texts")
    for _ in each_string(texts, "texts"):
        pass
    return texts
