"""Byte-level byte-pair encoding: begin with 256 bytes, then merge the most frequent neighbours, again and again.

    merge number n = the pair (a, b) of tokens seen most often next to each other inside the words of the text
    encode(word)   = its bytes, merged in the order in which the merges were learned

Any text can be written in bytes, so nothing is ever unknown, and decode(encode(text)) == text for every text.
Source: Sennrich et al. 2016 (merges); Radford et al. 2019, section 2.2, and its released encoder (bytes, split, files).
Differs: ties in training go to the pair with the smallest ids, as in Hugging Face's trainer (the original trainer was
not released); bytes that are not UTF-8 decode to U+FFFD, as released.
"""

from __future__ import annotations

import heapq
import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from itertools import accumulate, chain
from pathlib import Path

import numpy as np
import regex

from tinylm.errors import DataError, VocabularyError
from tinylm.files import read_json, read_text
from tinylm.text.base import Encoding, as_texts, check_vocab_size

# GPT-2's words: contractions (lower case only), letters, digits or other marks with the space before them, white space
PATTERN = regex.compile(r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
END = "<|endoftext|>"
HEADER = "#version: 0.2"
CACHE_WORDS, CACHE_LENGTH = 1 << 20, 64  # remember at most so many words, none longer than this

Pair = tuple[int, int]


def byte_characters() -> dict[int, str]:
    """A visible character for each byte, in GPT-2's order: 188 printable bytes are themselves, 68 are U+0100 and on.

    >>> byte_characters()[ord("a")], byte_characters()[ord(" ")]
    ('a', 'Ġ')
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + n) for n, byte in enumerate(others)}


BYTE_CHARACTERS = byte_characters()
BYTE_OF = {character: byte for byte, character in BYTE_CHARACTERS.items()}
TRANSLATE = {byte: ord(character) for byte, character in BYTE_CHARACTERS.items()}


def _visible(text: str) -> str:
    """A text's UTF-8 bytes as visible characters, one per byte (a lone surrogate is kept as the three bytes it has)."""
    return text.encode("utf-8", "surrogatepass").decode("latin-1").translate(TRANSLATE)


class BPE(Encoding):
    """GPT-2's byte-level BPE; save() writes vocab.json and merges.txt, which the wider ecosystem loads.

    vocab : list[str]               tokens by id, their bytes as visible characters ("Ġ" is the space)
    merges : list[(str, str)]       in the order learned
    specials : tuple[str, ...]      tokens that no merge produces; the last one is end_id, also used for padding
    """

    files = ("vocab.json", "merges.txt")

    def __init__(self, vocab: list[str], merges: list[tuple[str, str]], specials: tuple[str, ...] = (END,)):
        self.vocab, self.merges, self.specials = vocab, merges, specials
        find = self._index()
        self.end_id = find[specials[-1]] if specials else None
        self.pad_id = self.end_id or 0
        self._ranks = {(find[a], find[b]): (rank, find[a + b]) for rank, (a, b) in enumerate(merges)}
        self._cache = _Cache(self)

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        vocab_size: int,
        min_count: int = 2,
        special: str | None = END,
        exact: bool = True,
    ) -> BPE:
        """Learn merges until the vocabulary holds `vocab_size` tokens: 256 bytes, merges, and the special token last.

        min_count : a pair seen less often is not merged
        special : name of the end-of-text token (None: without)
        exact : False takes vocab_size as an upper bound, which a short text need not reach
        raises VocabularyError  if there is no text, vocab_size is below 257, or the text has not enough pairs to merge
        """
        specials = () if special is None else (special,)
        check_vocab_size(vocab_size, 256 + len(specials), "256 bytes and the special token")
        counts: Counter[str] = Counter()
        for text in as_texts(texts):
            counts.update(PATTERN.findall(text))
        if not counts:
            raise VocabularyError("The training text is empty; byte-pair encoding needs text to learn merges from.")
        vocab, merges = _learn(counts, vocab_size - len(specials), min_count)
        reached = len(vocab) + len(specials)
        if exact and reached < vocab_size:
            raise VocabularyError(
                f"The text supports at most {reached} tokens (no further pair is seen {min_count} times), "
                f"but vocab_size is {vocab_size}; ask for {reached} or fewer, pass exact=False, or give more text."
            )
        return cls([*vocab, *specials], merges, specials)

    def encode(self, text: str, special: str | Collection[str] = "none") -> list[int]:
        """The ids of one text.

        special : what the names of special tokens mean where they stand in the text: "none" ordinary text, "all"
            the tokens, "none_raise" a VocabularyError, or the set of names that mean their tokens
        """
        if special == "none" or not self.specials:
            return list(chain.from_iterable(map(self._cache.__getitem__, PATTERN.findall(text))))
        allowed = set(self.specials) if special == "all" else set() if special == "none_raise" else set(special)
        found = [name for name in self.specials if name in text and name not in allowed]
        if special == "none_raise" and found:
            raise VocabularyError(f"The text contains the special token {found[0]!r}; remove it or allow it by name.")
        if unknown := allowed - set(self.specials):
            raise VocabularyError(f"{min(unknown)!r} is not a special token; there are {', '.join(self.specials)}.")
        ids: list[int] = []
        names = sorted(allowed, key=len, reverse=True)  # the longest name wins where one begins another
        for part in regex.split(f"({'|'.join(map(regex.escape, names))})", text) if names else [text]:
            ids += [self._index()[part]] if part in allowed else self.encode(part)
        return ids

    def encode_batch(self, texts: Iterable[str]) -> list[np.ndarray]:
        """The ids of each text as (T,) int32 arrays."""
        return [np.fromiter(self.encode(text), np.int32) for text in as_texts(texts)]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids, special tokens by name; bytes that are no UTF-8 become U+FFFD."""
        names = set(self.specials)
        raw = b"".join(
            token.encode() if token in names else bytes(map(BYTE_OF.__getitem__, token))
            for token in self._spellings(ids)
        )
        try:
            return raw.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            return raw.decode("utf-8", "replace")

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """The characters of each token; tokens that share the bytes of one character all cover that character."""
        owner = [i for i, character in enumerate(text) for _ in character.encode("utf-8", "surrogatepass")]
        ends = list(accumulate(len(token) for token in self.tokens(text)))  # in bytes: one visible character each
        return [(owner[start], owner[end - 1] + 1) for start, end in zip([0, *ends], ends, strict=False)]

    def merge_word(self, word: str) -> list[int]:
        """The ids of one word: while any neighbours have a merge, apply the one learned first."""
        find, ranks = self._index(), self._ranks
        ids = [find[character] for character in _visible(word)]
        never = (len(ranks), -1)
        while len(ids) > 1:
            pair = min(zip(ids, ids[1:], strict=False), key=lambda pair: ranks.get(pair, never))
            if pair not in ranks:
                break
            ids = _replace(ids, pair, ranks[pair][1])
        return ids

    def _contents(self) -> dict[str, str]:
        settings = {
            "tokenizer_class": "GPT2Tokenizer",
            "add_prefix_space": False,
            "bos_token": self.specials[-1] if self.specials else None,
            "eos_token": self.specials[-1] if self.specials else None,
            "unk_token": self.specials[-1] if self.specials else None,
        }
        return {
            "merges.txt": "\n".join([HEADER, *(f"{a} {b}" for a, b in self.merges)]) + "\n",
            "tokenizer_config.json": json.dumps({k: v for k, v in settings.items() if v is not None}, indent=1) + "\n",
            "vocab.json": json.dumps(self._index(), ensure_ascii=False),
        }

    @classmethod
    def load(cls, folder: str | Path) -> BPE:
        """Read vocab.json + merges.txt, or encoder.json + vocab.bpe as GPT-2 was released.

        raises DataError    for a missing or damaged file
        """
        folder = Path(folder)
        released = (folder / "encoder.json").exists() and not (folder / "vocab.json").exists()
        vocab_path, merges_path = (folder / n for n in (("encoder.json", "vocab.bpe") if released else cls.files))
        vocab = _read_vocab(vocab_path)
        merges = _read_merges(merges_path, set(vocab))
        made = set(BYTE_OF) | {a + b for a, b in merges}
        if missing := set(BYTE_OF) - set(vocab):
            raise DataError(f"{str(vocab_path)!r} lacks {len(missing)} of the 256 bytes: not a byte-level vocabulary.")
        return cls(vocab, merges, tuple(token for token in vocab if token not in made))


class _Cache(dict[str, list[int]]):
    """Word -> ids; a missing word is merged on first use. Bounded: long words and an overfull cache are forgotten."""

    def __init__(self, encoding: BPE):
        super().__init__()
        self.encoding = encoding

    def __missing__(self, word: str) -> list[int]:
        ids = self.encoding.merge_word(word)
        if len(word) <= CACHE_LENGTH:
            if len(self) >= CACHE_WORDS:
                self.clear()
            self[word] = ids
        return ids


def _replace(ids: list[int], pair: Pair, new: int) -> list[int]:
    """Every occurrence of a pair, from the left, replaced by one token."""
    first, second = pair
    merged, i, last = [], 0, len(ids) - 1
    while i <= last:
        if ids[i] == first and i < last and ids[i + 1] == second:
            merged.append(new)
            i += 2
        else:
            merged.append(ids[i])
            i += 1
    return merged


class _Pairs:
    """Neighbouring pairs in a set of words: how often each is seen and in which words, kept up to date by merging.

    A merge changes only the words that contain the pair, so only their pairs are counted anew. The heap may hold
    outdated counts: a count that fell is noticed when it comes to the top, one that rose is pushed again.
    """

    def __init__(self, words: list[list[int]], counts: list[int]):
        self.words, self.counts = words, counts
        self.seen: defaultdict[Pair, int] = defaultdict(int)
        self.where: defaultdict[Pair, set[int]] = defaultdict(set)
        for w, word in enumerate(words):
            self._count(w, word, counts[w])
        self.heap = [(-count, pair) for pair, count in self.seen.items()]
        heapq.heapify(self.heap)

    def _count(self, w: int, word: list[int], times: int) -> None:
        for pair in zip(word, word[1:], strict=False):
            self.seen[pair] += times
            if times > 0:
                self.where[pair].add(w)

    def most_frequent(self, min_count: int) -> Pair | None:
        """The pair seen most often, ties to the smallest ids; None when no pair is seen min_count times."""
        while self.heap:
            count, pair = heapq.heappop(self.heap)
            now = self.seen.get(pair, 0)
            if now == -count and now >= min_count:
                return pair
            if min_count <= now < -count:
                heapq.heappush(self.heap, (-now, pair))
        return None

    def merge(self, pair: Pair, new: int) -> None:
        """Replace the pair by the token `new` in every word that contains it."""
        risen = set()
        for w in self.where.pop(pair):
            old, merged = self.words[w], _replace(self.words[w], pair, new)
            self._count(w, old, -self.counts[w])
            self._count(w, merged, self.counts[w])
            self.words[w] = merged
            risen.update(p for p in zip(merged, merged[1:], strict=False) if new in p)
        self.seen.pop(pair, None)
        for changed in risen:
            heapq.heappush(self.heap, (-self.seen[changed], changed))


def _learn(counts: Counter[str], vocab_size: int, min_count: int) -> tuple[list[str], list[tuple[str, str]]]:
    """The merges of a set of counted words, until the vocabulary is full or no pair is left."""
    vocab = list(BYTE_CHARACTERS.values())
    find = {token: i for i, token in enumerate(vocab)}
    pairs = _Pairs([[find[c] for c in _visible(word)] for word in counts], list(counts.values()))
    merges: list[tuple[str, str]] = []
    while len(vocab) < vocab_size and (pair := pairs.most_frequent(min_count)) is not None:
        first, second = vocab[pair[0]], vocab[pair[1]]
        merges.append((first, second))
        if first + second not in find:  # two different pairs may spell the same token
            find[first + second] = len(vocab)
            vocab.append(first + second)
        pairs.merge(pair, find[first + second])
    return vocab, merges


def _read_vocab(path: Path) -> list[str]:
    """A {token: id} file as the list of tokens by id; raises DataError unless the ids are 0, 1, 2, …"""
    stored = read_json(path)
    if not isinstance(stored, dict) or sorted(map(str, stored.values())) != sorted(map(str, range(len(stored)))):
        raise DataError(f"{str(path)!r} must map each token to an id 0, 1, 2, … without gaps; the file is damaged.")
    return sorted(stored, key=lambda token: int(stored[token]))


def _read_merges(path: Path, vocab: set[str]) -> list[tuple[str, str]]:
    """The merges of a file, one "first second" per line after the header; raises DataError where one fits no token."""
    merges = []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line or (number == 1 and line.startswith("#version")):
            continue
        first, _, second = line.partition(" ")
        if not {first, second, first + second} <= vocab:
            raise DataError(f"{str(path)!r}, line {number}: {line!r} joins tokens that the vocabulary does not hold.")
        merges.append((first, second))
    return merges
