"""Words: runs of letters, marks and digits, and each sign by itself; frequent ones get an id.

    "don't, naïve 東京" -> don ' t , naïve 東京

All other words become <unk>. The sequences are the shortest and the vocabulary is the largest, yet
never large enough: a rare word, a misspelt one or a name is unknown, and "walk" has nothing in
common with "walked".

A combining mark belongs to the letter it stands on: Hindi's and Thai's vowel signs, or an accent
that is a character of its own, do not end a word. Older vocabularies cut there, see `marks`.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import regex

from tinylm.arguments import strings
from tinylm.errors import DataError, VocabularyError
from tinylm.progress import watched

from . import rules as fastai
from .base import Encoding, as_texts
from .checks import (
    as_json,
    check_different,
    check_numbers,
    check_vocab_size,
    check_whole,
    damaged,
    frequent,
    read_vocabulary,
)
from .phrases import Pairs, join, learn_passes
from .template import Template

# No match contains a special's whole name, so text cannot spell a special.
PLAIN = re.compile(r"\w+|[^\w\s]")
# A sign keeps its marks too: "=" with U+0338 is "≠".
MARKED = regex.compile(
    r"[\p{L}\p{N}_][\p{L}\p{M}\p{N}_]*"
    r"|[^\s\x1c-\x1f\p{L}\p{N}_]\p{M}*"
)


class Words(Encoding):
    """Whole words: the specials first, then words by falling count (ties alphabetically).

    words : the vocabulary without the specials, in the order of its ids
    lower : words are lower-cased
    phrases : the pairs of words that are joined, pass after pass, see phrases.py
    rules : words are lower-cased, and marks before them keep their capitals and repetitions, see
        rules.py; one more special, xxbos, then stands before every text
    marks : combining marks belong to the word they stand in (False: as in older vocabularies)
    raises VocabularyError  for a word that stands twice or that words.json could not store

    >>> words = Words(["the", "cat"])
    >>> words.encode("the cat, the dog")
    [3, 4, 0, 3, 0]
    >>> words.decode([3, 4, 2])
    'the cat <eos>'
    """

    files = ("words.json",)
    kind: ClassVar[str] = "words"
    specials = ("<unk>", "<pad>", "<eos>")
    unk_id = 0
    pad_id = 1
    end_id = 2

    def __init__(
        self,
        words: Iterable[str],
        lower: bool = False,
        phrases: Iterable[Pairs] = (),
        rules: bool = False,
        marks: bool = True,
    ):
        if rules:
            self.begin_id = len(self.specials)
            self.specials = (*self.specials, fastai.BEGINS)
            self.template = Template(f"{fastai.BEGINS} A")
        self.vocab = [*self.specials, *strings(words, "words")]
        self.first = len(self.specials)  # id of the most frequent word
        self.lower = lower
        self.phrases = tuple(phrases)
        self.rules = rules
        self.marks = marks
        check_different(self.vocab)
        check_whole(self.vocab)
        pairs = itertools.chain.from_iterable(self.phrases)
        check_whole(list(itertools.chain.from_iterable(pairs)))

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        vocab_size: int | None = None,
        min_count: int = 1,
        lower: bool = False,
        phrases: int = 0,
        rules: bool = False,
    ) -> Words:
        """Count the words of the texts and keep the frequent ones.

        vocab_size : at most this many tokens, specials included (None: no limit)
        min_count : words seen less often become <unk> (word2vec's usual value is 5)
        phrases : passes that join words found together, see phrases.py (0: none)
        rules : use fastai's rules, see rules.py
        raises VocabularyError  if the texts hold no word, or none that is seen min_count times

        >>> Words.train(["the cat", "the dog"], min_count=2).vocab
        ['<unk>', '<pad>', '<eos>', 'the']
        """
        check_numbers("Words", vocab_size=vocab_size, min_count=min_count, phrases=phrases)
        specials = len(cls.specials) + rules
        check_vocab_size(vocab_size, specials + 1, "the specials and one word")
        read = watched(as_texts(texts), "texts read")
        lines: Iterable[list[str]] = (_split(text, lower, rules, True) for text in read)
        passes: tuple[Pairs, ...] = ()
        if phrases:
            lines = list(lines)
            passes = learn_passes(lines, phrases)
        counts: Counter[str] = Counter()
        for line in lines:
            counts.update(_joined(line, passes))
        kept = _frequent(counts, min_count)
        if vocab_size is not None:
            kept = kept[: vocab_size - specials]
        return cls(kept, lower, passes, rules)

    def split(self, text: str) -> list[str]:
        """The words of a text, phrases joined, known to the vocabulary or not.

        >>> Words([]).split("don't, naïve")
        ['don', "'", 't', ',', 'naïve']
        """
        words = _split(text, self.lower, self.rules, self.marks)
        return _joined(words, self.phrases)

    def units(self, text: str) -> list[str]:
        """The words, each of which is looked up whole."""
        return self.split(text)

    def _encode(self, texts: list[str]) -> list[list[int]]:
        find = self._index().get
        unknown = itertools.repeat(self.unk_id)
        return [list(map(find, self.split(text), unknown)) for text in texts]

    def decode(self, ids: Iterable[int]) -> str:
        """The words with a space between them; the original's spacing is not kept."""
        return " ".join(self._spellings(ids))

    def _offsets(self, text: str) -> list[tuple[int, int]]:
        """Where each word stands in the text."""
        if self.rules:
            spans = [span for _, span in fastai.cut(text, self.marks)]
        else:
            matches = _pattern(text, self.marks).finditer(text)
            spans = [match.span() for match in matches]
        if not self.phrases:
            return spans
        words = _split(text, self.lower, self.rules, self.marks)
        found = []
        first = 0
        for _, size in join(words, self.phrases):  # a phrase covers `size` words
            last = first + size - 1
            found.append((spans[first][0], spans[last][1]))
            first = last + 1
        return found

    def _contents(self) -> dict[str, str]:
        stored: dict[str, Any] = {"type": self.kind, "lower": self.lower}
        stored["vocab"] = self.vocab[self.first :]
        if self.marks:
            stored["marks"] = True
        if self.rules:
            stored["rules"] = True
        if self.phrases:
            stored["phrases"] = [sorted(map(list, pairs)) for pairs in self.phrases]
        return {self.files[0]: as_json(stored)}

    @classmethod
    def _load(cls, folder: Path) -> Words:
        path = folder / cls.files[0]
        stored = read_vocabulary(path, cls.kind)
        try:
            passes = list(map(_pairs, stored.get("phrases", [])))
        except (TypeError, ValueError):
            raise DataError(f'{str(path)!r} must hold pairs of words as "phrases".') from None
        lower = bool(stored.get("lower"))
        rules = bool(stored.get("rules"))
        marks = bool(stored.get("marks"))
        with damaged(path):
            return cls(stored["vocab"], lower, passes, rules, marks)


def _pairs(stored: Iterable[Iterable[str]]) -> Pairs:
    """The pairs of one pass as words.json holds them."""
    return frozenset((str(a), str(b)) for a, b in stored)


def _frequent(counts: Counter[str], min_count: int) -> list[str]:
    """Words seen min_count times or more, by falling count; raises VocabularyError for none."""
    if not counts:
        raise VocabularyError("The training text is empty; a vocabulary needs at least one word.")
    return frequent(counts, min_count, "word")


def _joined(words: list[str], passes: tuple[Pairs, ...]) -> list[str]:
    """The words with phrases joined."""
    return [word for word, _ in join(words, passes)] if passes else words


def _pattern(text: str, marks: bool) -> re.Pattern | regex.Pattern:
    """The pattern of a word. On ASCII, which has no marks, both agree and `re` is faster."""
    return MARKED if marks and not text.isascii() else PLAIN


def _split(text: str, lower: bool, rules: bool, marks: bool) -> list[str]:
    """Cut a text into words, then lower-case them.

    The other way round, offsets would be wrong where lower case is longer (U+0130).
    """
    if rules:
        return [word for word, _ in fastai.cut(text, marks)]
    words = _pattern(text, marks).findall(text)
    return list(map(str.lower, words)) if lower else words
