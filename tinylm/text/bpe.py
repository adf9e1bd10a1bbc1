"""Byte-pair encoding: begin with small units, then merge the most frequent neighbours, again and again.

    merge number n = the pair (a, b) of tokens seen most often next to each other inside the words of the text
    encode(word)   = its units, merged in the order in which the merges were learned

What a word and a unit is, `spelling` says: UTF-8 bytes (GPT-2: any text can be written in them, nothing is unknown and
decode(encode(text)) == text), characters with a mark at the end of a word (GPT-1), characters with ▁ for the space
(SentencePiece). A merge left out at random now and then gives other cuts of the same text: see `sample`.
Source: Sennrich et al. 2016 (merges); Radford et al. 2018 and 2019, section 2.2; SentencePiece; Provilkov et al. 2020.
Differs: ties in training go to the pair with the smallest ids, as in Hugging Face's trainer (the original trainers were
not released), in SentencePiece's spelling to the shortest piece, then the first in the alphabet, as there; but pieces are
bounded by letters, digits and other characters, not by scripts and 16 characters, and every character gets a piece.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import chain, pairwise
from pathlib import Path

import numpy as np

from tinylm.arguments import strings
from tinylm.errors import VocabularyError
from tinylm.progress import watched
from tinylm.text.base import (
    BYTE_TOKENS,
    Encoding,
    Remembered,
    as_texts,
    check_different,
    check_numbers,
    check_vocab_size,
    check_whole,
    damaged,
    shared,
)
from tinylm.text.formats import bpe_files
from tinylm.text.merging import Merge, Table, check_reached, learn, spell, splits
from tinylm.text.spelling import BYTES, END, Spelling


class BPE(Encoding):
    """Byte-pair encoding; save() writes vocab.json and merges.txt, or SentencePiece's model file, which others load.

    vocab : list[str]               tokens by id, as `spelling` spells them (GPT-2: "Ġ" is the space)
    merges : list[(str, str)]       in the order learned
    specials : tuple[str, ...]      tokens that no merge produces
    ranks : of each merge, lowest first when encoding (None: the order learned)
    """

    files = ("vocab.json", "merges.txt")

    def __init__(self, vocab: list[str], merges: list[Merge], specials: tuple[str, ...] = (END,),
                 spelling: Spelling = BYTES, ranks: list[int] | None = None):  # fmt: skip
        self.vocab, self.merges, self.specials, self.spelling = vocab, merges, specials, spelling
        check_different(vocab)
        if not spelling.any_split:  # a SentencePiece model holds any string
            check_whole(vocab)
            bpe_files.check_merges(merges)
        find = self._index()
        self.unk_id = self.token_id(spelling.unknown) if spelling.unknown else None
        first = specials[0] if specials and not spelling.unknown else None
        self.end_id = find.get(next((name for name in ("</s>", END) if name in specials), first))
        self.pad_id = find.get("<pad>", self.end_id or 0)
        self.ranks = list(range(len(merges))) if ranks is None else ranks
        self._bytes = [find[token] for token in BYTE_TOKENS] if spelling.byte_fallback else []
        self._cache, self._cuts = Remembered(self._merged), Remembered(self._cut)
        self._spaced = Remembered(lambda parts: self._rows(parts, True))  # what follows a space
        self.files = spelling.files

    @cached_property
    def _table(self) -> Table:
        """The merges in ids."""
        find = self._index()
        pairs, made = (
            [(find[a], find[b]) for a, b in self.merges],
            [find[a + b] for a, b in self.merges],
        )
        return Table(len(self.vocab), pairs, made, self.ranks)

    @classmethod
    def train(
        cls, texts: Iterable[str], vocab_size: int, min_count: int = 2, specials: tuple[str, ...] | None = None,
        exact: bool = True, spelling: Spelling = BYTES,
    ) -> BPE:  # fmt: skip
        """Learn merges until the vocabulary holds `vocab_size` tokens: special tokens, units and merges.

        min_count : a pair seen less often is not merged
        specials : names of the special tokens (None: those usual with the spelling)
        exact : False takes vocab_size as an upper bound, which a short text need not reach
        raises VocabularyError  if there is no text, or it has too many units or too few pairs for vocab_size; before
            the text is read, for special tokens that text could spell or that the files could not give back
        """
        check_numbers("BPE", vocab_size=vocab_size, min_count=min_count)
        specials = spelling.specials if specials is None else tuple(strings(specials, "specials"))
        spelling.check_specials(specials)
        words = _count(watched(as_texts(texts), "texts read"), spelling)
        if not words:
            raise VocabularyError(
                "The training text is empty; byte-pair encoding needs text to learn merges from."
            )
        alphabet, counted = spell(words, after=spelling.after, always=spelling.alphabet)
        least = len(spelling.vocabulary(specials, alphabet, []))
        check_vocab_size(vocab_size, least, f"{len(alphabet)} units and the special tokens")
        vocab, merges = learn(
            alphabet, counted, vocab_size - least, min_count, shorter=spelling.any_split
        )
        made = vocab[len(alphabet) :]
        vocab, ranks = spelling.vocabulary(specials, alphabet, made), None
        if exact:
            check_reached(len(vocab), vocab_size, min_count)
        if spelling.any_split:
            merges, ranks = splits(
                dict.fromkeys(alphabet, 0.0) | {token: -float(i) for i, token in enumerate(made)}
            )
        return cls(vocab, merges, specials, spelling, ranks)

    def _encode(self, texts: list[str]) -> list[list[int]]:
        parts = [self.spelling.parts(text) for text in texts]
        self._spaced.learn(chain.from_iterable(spaced for _, spaced in parts))
        rows = self._rows([first for first, _ in parts], False)
        for ids, (_, spaced) in zip(rows, parts, strict=True):
            ids += chain.from_iterable(map(self._spaced.__getitem__, spaced))
        return [self._fused(ids) for ids in rows] if self.spelling.fuses else rows

    def _fused(self, ids: list[int]) -> list[int]:
        """Unknown units side by side as one token."""
        if self.unk_id not in ids:
            return ids
        return ids[:1] + [b for a, b in pairwise(ids) if not a == b == self.unk_id]

    def _rows(self, parts: list[str], spaced: bool) -> list[list[int]]:
        """The ids of each part of a text."""
        words = [self.spelling.words(part, spaced) for part in parts]
        self._cache.learn(chain.from_iterable(words))
        return [list(chain.from_iterable(map(self._cache.__getitem__, each))) for each in words]

    def _merged(self, words: list[str]) -> list[list[int]]:
        """The ids of each word: while any neighbours have a merge, that of the lowest rank is made."""
        units = [self._units(word)[0] for word in words]
        places, ids = self._table.cut(units)
        return shared(ids.tolist(), places, [*map(len, units)])

    def _cut(self, words: list[str]) -> list[list[tuple[int, int, int]]]:
        """Of every token of each word its id, and the numbers of its first and last unit."""
        units, numbers = zip(*map(self._units, words), strict=True)
        begins, ids = self._table.cut(units)
        flat = list(chain.from_iterable(numbers))
        ends = [*begins[1:].tolist(), len(flat)]
        cut = [
            (i, flat[begin], flat[end - 1])
            for i, begin, end in zip(ids.tolist(), begins.tolist(), ends, strict=True)
        ]
        return shared(cut, begins, [*map(len, units)])

    def _units(self, word: str) -> tuple[list[int], Sequence[int]]:
        """The ids of the units of a word, and of each the number of its unit (bytes of one unit have the same)."""
        units = self.spelling.units(word)
        found = list(map(self._index().get, units))
        if None not in found:
            return found, range(len(found))
        ids: list[int] = []
        numbers: list[int] = []
        for number, (unit, i) in enumerate(zip(units, found, strict=True)):
            known = [i] if i is not None else [self.unk_id]
            if i is None and self._bytes:
                known = [self._bytes[byte] for byte in unit.encode("utf-8", "surrogatepass")]
            ids += known
            numbers += [number] * len(known)
        return ids, numbers

    def sample(self, text: str, dropout: float, rng: np.random.Generator) -> list[int]:
        """The ids of a text cut at random: at each step every merge is left out with probability `dropout`.

        dropout : 0 gives encode(text), 1 the units
        raises VocabularyError  if dropout is no probability
        """
        if not 0 <= dropout <= 1:
            raise VocabularyError(
                f"dropout is {dropout}; give a probability from 0 (none is left out) to 1 (all are)."
            )
        first, spaced = self.spelling.parts(text)
        words = self.spelling.words(first, False) + [
            word for part in spaced for word in self.spelling.words(part, True)
        ]
        _, ids = self._table.cut([self._units(word)[0] for word in words], dropout, rng)
        return self._fused(ids.tolist()) if self.spelling.fuses else ids.tolist()

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids, as `spelling` joins them."""
        return self.spelling.text(self._spellings(ids), self.specials)

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """The characters of each token; tokens that share the bytes of one character all cover that character."""
        found: list[tuple[int, int]] = []
        last = None
        spans = self.spelling.spans(text)
        self._cuts.learn(word for word, _, _ in spans)
        for word, begins, ends in spans:
            for i, first, final in self._cuts[word]:
                begin = (
                    found.pop()[0]
                    if self.spelling.fuses and i == last == self.unk_id
                    else begins[first]
                )
                found.append((begin, ends[final]))
                last = i
        return found

    def _contents(self) -> dict[str, str | bytes]:
        return bpe_files.contents(self)

    @classmethod
    def _load(cls, folder: Path) -> BPE:
        """Read vocab.json + merges.txt, encoder.json + vocab.bpe as GPT-2 was released, or a SentencePiece model.

        raises DataError    for a missing or damaged file
        """
        with damaged(folder):
            return cls(*bpe_files.read(folder))


def _count(texts: Iterable[str], spelling: Spelling) -> dict[str, int]:
    """How often each word occurs, one character per unit; only different parts of the texts are cut into words."""
    parts: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    for text in texts:
        first, spaced = spelling.parts(text)
        parts[0][first] += 1
        parts[1].update(spaced)
    words: Counter[str] = Counter()
    for spaced, counts in enumerate(parts):
        for part, count in counts.items():
            for word in spelling.training_words(part, bool(spaced)):
                words[spelling.letters(word)] += count
        counts.clear()
    del words[""]
    return words
