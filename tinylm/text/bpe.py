"""Byte-level byte-pair encoding: begin with 256 bytes, then merge the most frequent neighbours, again and again.

    merge number n = the pair (a, b) of tokens seen most often next to each other inside the words of the text
    encode(word)   = its bytes, merged in the order in which the merges were learned

Any text can be written in bytes, so nothing is ever unknown, and decode(encode(text)) == text for every text.
Source: Sennrich et al. 2016 (merges); Radford et al. 2019, section 2.2, and its released encoder (bytes, split, files).
Differs: ties in training go to the pair with the smallest ids, as in Hugging Face's trainer (the original trainer was
not released); bytes that are not UTF-8 decode to U+FFFD, as released.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from itertools import accumulate, chain
from pathlib import Path

import numpy as np
import regex

from tinylm.errors import DataError, VocabularyError
from tinylm.files import read_json, read_text
from tinylm.text.base import Encoding, Remembered, as_texts, check_vocab_size
from tinylm.text.merging import apply, check_reached, learn, spread

# GPT-2's words: contractions (lower case only), letters, digits or other marks with the space before them, white space
PATTERN = regex.compile(r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
END = "<|endoftext|>"
HEADER = "#version: 0.2"


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
BYTE_IDS = np.argsort([*BYTE_OF.values()])  # byte -> its id, the place of its character
TRANSLATE = {byte: ord(character) for byte, character in BYTE_CHARACTERS.items()}


def _between_spaces(text: str) -> list[str] | None:
    """The parts of a text between single spaces, None if it has any other white space.

    No word reaches over a single space between two marks, so each part, with the space before it, is cut by itself.
    """
    pieces = text.split(" ")
    return pieces if pieces == text.split() else None


def _count(texts: Iterable[str]) -> Counter[str]:
    """How often each word occurs; texts are counted in parts, so that only different parts are cut into words."""
    words: Counter[str] = Counter()
    spaced: Counter[str] = Counter()
    for text in texts:
        pieces = _between_spaces(text)
        words.update(PATTERN.findall(text if pieces is None else pieces.pop(0)))
        spaced.update(pieces or ())
    for piece, count in spaced.items():
        for word in PATTERN.findall(" " + piece):
            words[word] += count
    return words


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
        self._cache = Remembered(self.merge_word)
        self._spaced = Remembered(lambda piece: self._words(" " + piece))  # what follows a space

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
        words = _count(as_texts(texts))
        if not words:
            raise VocabularyError("The training text is empty; byte-pair encoding needs text to learn merges from.")
        spelled = [word.encode("utf-8", "surrogatepass") for word in words]
        symbols = BYTE_IDS[np.frombuffer(b"".join(spelled), np.uint8)]
        units = (symbols, *spread(map(len, spelled), words.values()))
        vocab, merges = learn(units, list(BYTE_OF), vocab_size - 256 - len(specials), min_count)
        if exact:
            check_reached(len(vocab) + len(specials), vocab_size, min_count)
        return cls([*vocab, *specials], merges, specials)

    def _encode(self, text: str) -> list[int]:
        pieces = _between_spaces(text)
        if pieces is None:
            return list(chain.from_iterable(map(self._cache.__getitem__, PATTERN.findall(text))))
        first = self._words(pieces.pop(0))
        return first + list(chain.from_iterable(map(self._spaced.__getitem__, pieces)))

    def _words(self, text: str) -> list[int]:
        """The ids of a short text, which need not be one word."""
        return [i for word in PATTERN.findall(text) for i in self._cache[word]]

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
        find = self._index()
        return apply([find[character] for character in _visible(word)], self._ranks)

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
