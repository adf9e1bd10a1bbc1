"""Byte-pair encoding: begin with small units, then merge the most frequent neighbours, repeatedly.

    merge number n = the pair (a, b) of tokens most often next to each other inside words
    encode(word)   = its units, merged in the order in which the merges were learned

`find_merges` and `apply_merges` are these two sentences as code. The class `BPE` does the same by
two kernels, `tinylm.kernels.learn_merges` and `merge`, which count only what a merge changes.

`spelling` says what a word and a unit is: UTF-8 bytes (GPT-2: bytes can write any text, nothing is
unknown and decode(encode(text)) == text), characters with a mark at the end of a word (GPT-1), or
characters with ▁ for the space (SentencePiece). Leaving merges out at random gives other cuts of
the same text: see `sample`.

Source: Sennrich et al. 2016 (merges); Radford et al. 2018 and 2019, section 2.2; SentencePiece;
Provilkov et al. 2020. Differs: ties in training go to the pair with the smallest ids, as in
Hugging Face's trainer (the original trainers were not released). In SentencePiece's spelling they
go to the shortest piece, then to the first in the alphabet, as there; but letters, digits and
other characters bound our pieces, not scripts and 16 characters, and every character gets a piece.
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

from .base import (
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
from .formats import bpe_files
from .merging import Merge, Table, check_reached, learn, spell, splits
from .spelling import BYTES, END, Spelling


def find_merges(words: dict[str, int], wanted: int, min_count: int = 2) -> list[Merge]:
    """Training: the merges that make `wanted` new tokens, from words and how often each occurs.

    >>> find_merges({"hug": 10, "pug": 5, "pun": 12, "bun": 4, "hugs": 5}, 3)
    [('u', 'g'), ('u', 'n'), ('h', 'ug')]
    """
    cuts = {word: list(word) for word in words}
    vocab = sorted(set("".join(words)))
    size = len(vocab) + wanted
    merges: list[Merge] = []
    while len(vocab) < size:
        counts: Counter[Merge] = Counter()
        for word, tokens in cuts.items():
            for pair in pairwise(tokens):
                counts[pair] += words[word]
        most = max(counts.values(), default=0)
        if most < min_count:
            break
        ties = [pair for pair, count in counts.items() if count == most]
        best = min(ties, key=lambda pair: (vocab.index(pair[0]), vocab.index(pair[1])))
        merges.append(best)
        if "".join(best) not in vocab:
            vocab.append("".join(best))
        for word, tokens in cuts.items():
            cuts[word] = join_pair(tokens, best)
    return merges


def join_pair(tokens: list[str], pair: Merge) -> list[str]:
    """Join every such pair of neighbours, from the left.

    >>> join_pair(["a", "a", "a", "b"], ("a", "a"))
    ['aa', 'a', 'b']
    """
    joined: list[str] = []
    i = 0
    while i < len(tokens):
        if tuple(tokens[i : i + 2]) == pair:
            joined.append("".join(pair))
            i += 2
        else:
            joined.append(tokens[i])
            i += 1
    return joined


def apply_merges(word: str, merges: list[Merge]) -> list[str]:
    """Encoding: while any neighbours have a merge, make the one that was learned first.

    >>> apply_merges("hugs", [("u", "g"), ("u", "n"), ("h", "ug")])
    ['hug', 's']
    """
    rank = {pair: n for n, pair in enumerate(merges)}
    tokens = list(word)
    while True:
        found = [(rank[pair], i) for i, pair in enumerate(pairwise(tokens)) if pair in rank]
        if not found:
            return tokens
        _, i = min(found)
        tokens[i : i + 2] = [tokens[i] + tokens[i + 1]]


class BPE(Encoding):
    """Byte-pair encoding; save() writes vocab.json and merges.txt, or SentencePiece's model file.

    >>> bpe = BPE(["h", "u", "g", "ug", "hug"], [("u", "g"), ("h", "ug")], specials=())
    >>> bpe
    BPE(5 tokens)
    >>> bpe.decode([4, 3])
    'hugug'

    vocab : list[str]               tokens by id, as `spelling` spells them (GPT-2: Ġ for a space)
    merges : list[(str, str)]       in the order learned
    specials : tuple[str, ...]      tokens that no merge produces
    ranks : of each merge, lowest first when encoding (None: the order learned)
    raises VocabularyError          for a token that stands twice, or that a file could not hold
    """

    files = ("vocab.json", "merges.txt")

    def __init__(
        self,
        vocab: list[str],
        merges: list[Merge],
        specials: tuple[str, ...] = (END,),
        spelling: Spelling = BYTES,
        ranks: list[int] | None = None,
    ):
        self.vocab = list(vocab)
        self.merges = list(merges)
        self.specials = tuple(specials)
        self.spelling = spelling
        self.ranks = list(range(len(merges))) if ranks is None else ranks
        self.files = spelling.files
        check_different(vocab)
        if not spelling.any_split:  # a SentencePiece model holds any string
            check_whole(vocab)
            bpe_files.check_merges(merges)
        find = self._index()
        self.unk_id = self.token_id(spelling.unknown) if spelling.unknown else None
        self._follow({"pad_id": self.pad_id, "end_id": self.end_id})
        self._bytes = [find[token] for token in BYTE_TOKENS] if spelling.byte_fallback else []
        self._ids = Remembered(self._merged)  # word -> its ids
        self._cuts = Remembered(self._cut)  # word -> its ids, with the units that each covers
        self._spaced = Remembered(lambda parts: self._rows(parts, True))  # spaced part -> its ids

    def roles(self) -> dict[str, int | None]:
        """As of every encoding."""
        end_id = self._index().get(self._end_name())
        return {"end_id": end_id, "pad_id": self._index().get("<pad>", end_id or 0)}

    def _end_name(self) -> str | None:
        """The special token that ends a text, if there is one."""
        for name in ("</s>", END):
            if name in self.specials:
                return name
        own = [name for name in self.specials if name not in self.added]
        return own[0] if own and not self.spelling.unknown else None

    @cached_property
    def _table(self) -> Table:
        """The merges in ids, as the kernel takes them."""
        find = self._index()
        try:
            pairs = [(find[a], find[b]) for a, b in self.merges]
            made = [find[a + b] for a, b in self.merges]
        except KeyError as error:
            raise VocabularyError(
                f"A merge needs the token {error.args[0]!r}, which the vocabulary lacks."
            ) from None
        return Table(len(self.vocab), pairs, made, self.ranks)

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        vocab_size: int,
        min_count: int = 2,
        specials: tuple[str, ...] | None = None,
        exact: bool = True,
        spelling: Spelling = BYTES,
    ) -> BPE:
        """Learn merges until the vocabulary holds `vocab_size` tokens: specials, units and merges.

        min_count : a pair seen less often is not merged
        specials : names of the special tokens (None: those usual with the spelling)
        exact : False takes vocab_size as an upper bound, which a short text need not reach
        raises VocabularyError  if there is no text, or it has too many units or too few pairs for
            vocab_size; before the text is read, for special tokens that text could spell or that
            the files could not give back
        """
        check_numbers("BPE", vocab_size=vocab_size, min_count=min_count)
        if specials is None:
            specials = spelling.specials
        else:
            specials = tuple(strings(specials, "specials"))
        spelling.check_specials(specials)
        words = _count(watched(as_texts(texts), "texts read"), spelling)
        if not words:
            raise VocabularyError(
                "The training text is empty; byte-pair encoding needs text to learn merges from."
            )
        alphabet, counted = spell(words, after=spelling.after, always=spelling.alphabet)
        least = len(spelling.vocabulary(specials, alphabet, []))
        check_vocab_size(vocab_size, least, f"{len(alphabet)} units and the special tokens")
        wanted = vocab_size - least
        tokens, merges = learn(alphabet, counted, wanted, min_count, shorter=spelling.any_split)
        made = tokens[len(alphabet) :]
        vocab = spelling.vocabulary(specials, alphabet, made)
        if exact:
            check_reached(len(vocab), vocab_size, min_count)
        ranks = None
        if spelling.any_split:
            scores = dict.fromkeys(alphabet, 0.0)
            scores |= {token: -float(i) for i, token in enumerate(made)}
            merges, ranks = splits(scores)
        return cls(vocab, merges, specials, spelling, ranks)

    def _encode(self, texts: list[str]) -> list[list[int]]:
        parts = [self.spelling.parts(text) for text in texts]
        self._spaced.learn(chain.from_iterable(spaced for _, spaced in parts))
        rows = self._rows([first for first, _ in parts], False)
        for ids, (_, spaced) in zip(rows, parts, strict=True):
            ids += chain.from_iterable(map(self._spaced.__getitem__, spaced))
        return [self._fused(ids) for ids in rows] if self.spelling.fuses else rows

    def _fused(self, ids: list[int]) -> list[int]:
        """Make neighbouring unknown units one token."""
        if self.unk_id not in ids:
            return ids
        return ids[:1] + [b for a, b in pairwise(ids) if not a == b == self.unk_id]

    def _rows(self, parts: list[str], spaced: bool) -> list[list[int]]:
        """The ids of each part of a text."""
        words = [self.spelling.words(part, spaced) for part in parts]
        self._ids.learn(chain.from_iterable(words))
        return [list(chain.from_iterable(map(self._ids.__getitem__, each))) for each in words]

    def _merged(self, words: list[str]) -> list[list[int]]:
        """The ids of each word, as `apply_merges` cuts it."""
        units = [self._units(word)[0] for word in words]
        places, ids = self._table.cut(units)
        return shared(ids.tolist(), places, [*map(len, units)])

    def _cut(self, words: list[str]) -> list[list[tuple[int, int, int]]]:
        """For each word, a list of (token id, first unit, last unit)."""
        units, numbers = zip(*map(self._units, words), strict=True)
        places, ids = self._table.cut(units)
        flat = list(chain.from_iterable(numbers))
        begins = places.tolist()
        ends = [*begins[1:], len(flat)]
        cut = []
        for token, begin, end in zip(ids.tolist(), begins, ends, strict=True):
            cut.append((token, flat[begin], flat[end - 1]))
        return shared(cut, places, [*map(len, units)])

    def _units(self, word: str) -> tuple[list[int], Sequence[int]]:
        """The ids of a word's units, and the number of each unit; bytes of one unit share it.

        "a東" in bytes has the ids of a, <0xE6>, <0x9D>, <0xB1>, and the numbers 0, 1, 1, 1.
        """
        units = self.spelling.units(word)
        found = list(map(self._index().get, units))
        if None not in found:
            return found, range(len(found))
        ids: list[int] = []
        numbers: list[int] = []
        for number, (unit, token) in enumerate(zip(units, found, strict=True)):
            if token is not None:
                known = [token]
            elif self._bytes:
                known = [self._bytes[byte] for byte in unit.encode("utf-8", "surrogatepass")]
            elif self.unk_id is not None:
                known = [self.unk_id]
            else:
                raise VocabularyError(
                    f"{unit!r} is no token, and this vocabulary has none for what it does not know."
                )
            ids += known
            numbers += [number] * len(known)
        return ids, numbers

    def sample(self, text: str, dropout: float, rng: np.random.Generator) -> list[int]:
        """The ids of a text cut at random: each step leaves each merge out with this probability.

        dropout : 0 gives encode(text), 1 the units
        raises VocabularyError  if dropout is no probability
        """
        if not 0 <= dropout <= 1:
            raise VocabularyError(
                f"dropout is {dropout}; give a probability from 0 (none is left out) "
                "to 1 (all are)."
            )
        strings([text], "text")
        first, spaced = self.spelling.parts(text)
        words = list(self.spelling.words(first, False))
        for part in spaced:
            words += self.spelling.words(part, True)
        units = [self._units(word)[0] for word in words]
        ids = self._table.cut(units, dropout, rng)[1].tolist()
        return self._fused(ids) if self.spelling.fuses else ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids, as `spelling` joins them; raises VocabularyError for an unknown id."""
        return self.spelling.text(self._spellings(ids), self.specials)

    def _offsets(self, text: str) -> list[tuple[int, int]]:
        """For each token its characters; tokens that share a character's bytes all cover it."""
        found: list[tuple[int, int]] = []
        last = None
        spans = self.spelling.spans(text)
        self._cuts.learn(word for word, _, _ in spans)
        for word, begins, ends in spans:
            cuts = self._cuts[word]
            if not self.spelling.fuses:
                found += [(begins[first], ends[final]) for _, first, final in cuts]
                continue
            for token, first, final in cuts:
                begin = begins[first]
                if token == last == self.unk_id:
                    begin = found.pop()[0]
                found.append((begin, ends[final]))
                last = token
        return found

    def _contents(self) -> dict[str, str | bytes]:
        return bpe_files.contents(self)

    @classmethod
    def _load(cls, folder: Path) -> BPE:
        """Read vocab.json + merges.txt, GPT-2's encoder.json + vocab.bpe, or a SentencePiece model.

        raises DataError    for a missing or damaged file
        """
        with damaged(folder):
            return cls(*bpe_files.read(folder))


def _count(texts: Iterable[str], spelling: Spelling) -> dict[str, int]:
    """How often each word occurs, one character a unit. Parts of texts that recur are cut once."""
    firsts: Counter[str] = Counter()
    followers: Counter[str] = Counter()  # the parts after a space
    for text in texts:
        first, spaced = spelling.parts(text)
        firsts[first] += 1
        followers.update(spaced)
    words: Counter[str] = Counter()
    for spaced, counts in ((False, firsts), (True, followers)):
        for part, count in counts.items():
            for word in spelling.training_words(part, spaced):
                words[spelling.letters(word)] += count
        counts.clear()  # memory for the next step
    del words[""]
    return words
