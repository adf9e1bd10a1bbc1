"""Words: runs of letters, marks and digits, and every sign by itself; frequent ones get an id, the rest are <unk>.

    "don't, naïve 東京" -> don ' t , naïve 東京

A combining mark belongs to the letter that it stands on: the vowel signs of Hindi or Thai and an accent that is a
character of its own do not end a word. Vocabularies of before this rule keep theirs, see `marks`.

The shortest sequences and the largest vocabulary, which is never large enough: a rare word, a misspelt one or a name is
unknown, and "walk" has nothing in common with "walked".
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

import regex

from tinylm.arguments import strings
from tinylm.errors import DataError, VocabularyError
from tinylm.progress import watched
from tinylm.text import rules as fastai
from tinylm.text.base import (
    Encoding,
    as_json,
    as_texts,
    check_different,
    check_numbers,
    check_vocab_size,
    check_whole,
    damaged,
    read_vocabulary,
)
from tinylm.text.phrases import Pairs, join, learn_passes
from tinylm.text.template import Template

# No match contains a special's name whole, so text cannot spell a special.
PLAIN = re.compile(r"\w+|[^\w\s]")
MARKED = regex.compile(
    r"[\p{L}\p{N}_][\p{L}\p{M}\p{N}_]*|[^\s\x1c-\x1f\p{L}\p{N}_]\p{M}*"
)  # a sign keeps its marks too: "=" with U+0338 is "≠"


class Words(Encoding):
    """Whole words, the specials first, then words by falling count (ties alphabetically).

    words : the vocabulary without the specials, in the order of its ids
    lower : words are lower-cased     phrases : pairs of words that are joined, pass after pass
    rules : words are lower-cased, what their capitals and repetitions say stands before them, and xxbos is one more
        special, with which the input of a model begins; see rules.py
    marks : combining marks belong to the word that they stand in; False is the rule of older vocabularies
    raises VocabularyError  for a word that stands twice or that words.json could not give back
    """

    files = ("words.json",)
    kind: ClassVar[str] = "words"
    specials = ("<unk>", "<pad>", "<eos>")
    unk_id, pad_id, end_id = 0, 1, 2

    def __init__(
        self,
        words: Iterable[str],
        lower: bool = False,
        phrases: Iterable[Pairs] = (),
        rules: bool = False,
        marks: bool = True,
    ):
        if rules:
            self.specials, self.template = (
                (*self.specials, fastai.BEGINS),
                Template(f"{fastai.BEGINS} A"),
            )
        self.vocab = [*self.specials, *strings(words, "words")]
        self.first = len(self.specials)  # id of the most frequent word
        self.lower, self.phrases, self.rules = lower, tuple(phrases), rules
        self.marks = marks
        check_different(self.vocab)
        check_whole(self.vocab)
        check_whole([word for pairs in self.phrases for pair in pairs for word in pair])

    @classmethod
    def train(
        cls, texts: Iterable[str], vocab_size: int | None = None, min_count: int = 1, lower: bool = False,
        phrases: int = 0, rules: bool = False,
    ) -> Words:  # fmt: skip
        """Count the words of the texts and keep the frequent ones.

        vocab_size : an upper bound, specials included (None: no bound)
        min_count : words seen less often become <unk> (word2vec's usual value is 5)
        phrases : passes that join words which keep company, see phrases.py; 0: none     rules : see rules.py
        raises VocabularyError if the texts hold no word, or none that is seen min_count times
        """
        check_numbers("Words", vocab_size=vocab_size, min_count=min_count, phrases=phrases)
        specials = len(cls.specials) + rules
        check_vocab_size(vocab_size, specials + 1, "the specials and one word")
        counts: Counter[str] = Counter()
        lines, passes = (
            (_split(text, lower, rules, True) for text in watched(as_texts(texts), "texts read")),
            (),
        )
        if phrases:
            lines = list(lines)
            passes = learn_passes(lines, phrases)
        for line in lines:
            counts.update(word for word, _ in join(line, passes)) if passes else counts.update(line)
        if not counts:
            raise VocabularyError(
                "The training text is empty; a vocabulary needs at least one word."
            )
        kept = sorted((w for w in counts if counts[w] >= min_count), key=lambda w: (-counts[w], w))
        if not kept:
            raise VocabularyError(
                f"No word is seen min_count = {min_count} times (the most frequent: {max(counts.values())}); "
                "lower min_count or give more text."
            )
        return cls(
            kept if vocab_size is None else kept[: vocab_size - specials], lower, passes, rules
        )

    def split(self, text: str) -> list[str]:
        """The words of a text, phrases joined, before the vocabulary is asked."""
        words = _split(text, self.lower, self.rules, self.marks)
        return [word for word, _ in join(words, self.phrases)] if self.phrases else words

    def _encode(self, texts: list[str]) -> list[list[int]]:
        """One id per word; <unk> for a word outside the vocabulary."""
        return [
            list(map(self._index().get, self.split(text), itertools.repeat(self.unk_id)))
            for text in texts
        ]

    def decode(self, ids: Iterable[int]) -> str:
        """The words with a space between them: the spacing of the original is not kept."""
        return " ".join(self._spellings(ids))

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """Where each word stands in the text."""
        spans = (
            [span for _, span in fastai.cut(text, self.marks)]
            if self.rules
            else [m.span() for m in _pattern(text, self.marks).finditer(text)]
        )
        if not self.phrases:
            return spans
        words = _split(text, self.lower, self.rules, self.marks)
        ends = itertools.accumulate(size for _, size in join(words, self.phrases))
        bounds = itertools.pairwise([0, *ends])
        return [(spans[first][0], spans[last - 1][1]) for first, last in bounds]

    def _contents(self) -> dict[str, str]:
        stored = {"type": self.kind, "lower": self.lower, "vocab": self.vocab[self.first :]}
        passes = [sorted(map(list, pairs)) for pairs in self.phrases]
        more = {"marks": True} if self.marks else {}
        more |= ({"rules": True} if self.rules else {}) | ({"phrases": passes} if passes else {})
        return {self.files[0]: as_json(stored | more)}

    @classmethod
    def _load(cls, folder: Path) -> Words:
        """Read what save() wrote; raises DataError for a missing or damaged file."""
        path = folder / cls.files[0]
        stored = read_vocabulary(path, cls.kind)
        try:
            passes = [
                frozenset((str(a), str(b)) for a, b in pairs) for pairs in stored.get("phrases", [])
            ]
        except (TypeError, ValueError):
            raise DataError(f'{str(path)!r} must hold pairs of words as "phrases".') from None
        lower, rules, marks = (bool(stored.get(name)) for name in ("lower", "rules", "marks"))
        with damaged(path):
            return cls(stored["vocab"], lower, passes, rules, marks)


def _pattern(text: str, marks: bool) -> re.Pattern | regex.Pattern:
    """What finds the words of a text. In ASCII, which has no marks, both rules agree, and `re` is faster."""
    return MARKED if marks and not text.isascii() else PLAIN


def _split(text: str, lower: bool, rules: bool, marks: bool) -> list[str]:
    """Cut, then lower-case: the other way round, offsets would be lost where lower case is longer (as for U+0130)."""
    if rules:
        return [word for word, _ in fastai.cut(text, marks)]
    words = _pattern(text, marks).findall(text)
    return list(map(str.lower, words)) if lower else words
