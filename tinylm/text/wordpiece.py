"""WordPiece: cut a word from its front on, each time the longest piece of the vocabulary.

    unaffable -> un ##aff ##able        a piece that continues a word begins with ##

`longest_pieces` is the whole algorithm. The class `WordPiece` does the same by a kernel,
`tinylm.kernels.longest_match`, for all new words of many texts at once.

A word is [UNK] as a whole if the vocabulary cannot spell some part of it: unlike bytes, characters
can be unknown. In return a piece says whether it begins a word, and a common word is one token.

Source: Devlin et al. 2018, the released tokenizer. Differs: the original trainer was not released;
ours joins the most frequent pair of pieces, as in byte-pair encoding (Schuster & Nakajima 2012 take
the pair that raises the likelihood of the text most). A word of more than 100 characters is [UNK],
as published models have it today (the release: 200).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable
from functools import cached_property
from itertools import chain
from pathlib import Path

import numpy as np

from tinylm.errors import DataError, VocabularyError
from tinylm.files import SURROGATE, as_json, lines_read, read_json, read_text
from tinylm.kernels import longest_match
from tinylm.progress import watched

from .base import (
    Encoding,
    Remembered,
    as_texts,
    check_different,
    check_numbers,
    check_vocab_size,
    damaged,
    shared,
)
from .formats.settings import chosen
from .merging import check_reached, learn, spell
from .normalise.cleaning import Cleaning, chunks
from .template import BERT
from .trie import Dictionary, beginnings

SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PREFIX = "##"
MARK = "\0"  # stands for ## among the characters: no cleaned text holds it
LONGEST = 100  # characters of a word; longer ones are [UNK]


def longest_pieces(word: str, pieces: Collection[str]) -> list[str]:
    """Encoding: the longest piece that fits, then the longest one behind it, to the word's end.

    >>> longest_pieces("unaffable", {"un", "una", "##f", "##ff", "##aff", "##able"})
    ['una', '##ff', '##able']
    >>> longest_pieces("unable", {"un", "una", "##able"})
    ['[UNK]']
    """
    if len(word) > LONGEST:
        return ["[UNK]"]
    cut: list[str] = []
    begin = 0
    while begin < len(word):
        end = len(word)
        prefix = PREFIX if begin else ""
        while end > begin and prefix + word[begin:end] not in pieces:
            end -= 1
        if end == begin:
            return ["[UNK]"]
        cut.append(prefix + word[begin:end])
        begin = end
    return cut


class WordPiece(Encoding):
    """BERT's encoding; save() writes vocab.txt and tokenizer_config.json, which others load.

    >>> WordPiece(["[UNK]", "un", "##able"]).decode([1, 2, 0])
    'unable [UNK]'

    vocab : list[str]               tokens by id; those that continue a word begin with ##
    lower, strip_accents : see `Cleaning`
    raises VocabularyError  without [UNK], or for tokens that vocab.txt, one a line, could not give
        back
    """

    files = ("vocab.txt",)
    template = BERT

    def __init__(self, vocab: list[str], lower: bool = True, strip_accents: bool | None = None):
        self.vocab = list(vocab)
        find = self._index()
        self.specials = tuple(name for name in SPECIALS if name in find)
        if "[UNK]" not in self.specials:
            raise VocabularyError(
                "A WordPiece vocabulary needs the token '[UNK]', for words that it cannot spell."
            )
        check_different(vocab)
        self._check_names(self.vocab)
        self.unk_id = find["[UNK]"]
        self._follow({"pad_id": self.pad_id, "end_id": self.end_id})
        self.cleaning = Cleaning(lower, strip_accents)
        self._ids = Remembered(self._chunks)  # chunk -> the ids of its tokens
        self._places = Remembered(self._chunk_offsets)  # chunk -> their offsets in it

    def roles(self) -> dict[str, int | None]:
        """As of every encoding."""
        find = self._index().get
        return {"end_id": find("[SEP]"), "pad_id": find("[PAD]", 0)}

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        vocab_size: int,
        min_count: int = 2,
        lower: bool = True,
        exact: bool = True,
    ) -> WordPiece:
        """Learn pieces until the vocabulary holds `vocab_size`: specials, characters, pieces.

        min_count : a pair of pieces seen less often is not joined
        exact : False takes vocab_size as an upper bound, which a short text need not reach
        raises VocabularyError  if there is no text, or it has too many characters or too few pairs
            for vocab_size
        """
        check_numbers("WordPiece", vocab_size=vocab_size, min_count=min_count)
        cleaning = Cleaning(lower)
        found: Counter[str] = Counter()
        for text in watched(as_texts(texts), "texts read"):
            found.update(chunks(text))
        words: Counter[str] = Counter()
        for chunk, count in found.items():
            for word in cleaning.words(chunk):
                words[word] += count
        found.clear()  # memory for the next step
        if not words:
            raise VocabularyError(
                "The training text is empty; WordPiece needs text to learn pieces from."
            )
        alphabet, counted = spell(words, before=PREFIX)
        least = len(SPECIALS) + len(alphabet)
        check_vocab_size(vocab_size, least, "the specials and the characters of the text")
        vocab, _ = learn(alphabet, counted, vocab_size - least, min_count, PREFIX)
        if exact:
            check_reached(len(SPECIALS) + len(vocab), vocab_size, min_count)
        return cls([*SPECIALS, *vocab], lower)

    def word_starts(self, text: str) -> np.ndarray:
        """Whether each token of `encode(text)` begins a word, (T,) bool: it does not begin with ##.

        A punctuation mark is a word of its own, as in BERT's whole-word masking.

        >>> WordPiece(["[UNK]", "un", "##able"]).word_starts("unable un").tolist()
        [True, False, True]
        """
        return self._begins_word[self.encode(text)]

    @cached_property
    def _begins_word(self) -> np.ndarray:
        """Whether each token of the vocabulary begins a word, (V,) bool."""
        return np.array([not token.startswith(PREFIX) for token in self.vocab], bool)

    def _encode(self, texts: list[str]) -> list[list[int]]:
        parts = [chunks(text) for text in texts]
        self._ids.learn(chain.from_iterable(parts))
        return [list(chain.from_iterable(map(self._ids.__getitem__, part))) for part in parts]

    @cached_property
    def _trie(self) -> tuple[Dictionary, np.ndarray]:
        """The tokens with MARK in place of ##, and the two nodes where spelling begins.

        The first piece of a word is spelled from the root, every other one from behind MARK.
        """
        spelled = []
        for token in self.vocab:
            if token in self.specials or MARK in token:
                spelled.append("")  # no text holds it
            elif token.startswith(PREFIX):
                spelled.append(MARK + token[len(PREFIX) :])
            else:
                spelled.append(token)
        dictionary = Dictionary.of([*spelled, MARK])
        behind_mark = dictionary.trie.base[0]  # the root's child by character 0, which MARK is
        return dictionary, np.array([0, behind_mark])

    def _pieces(self, words: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Where in the joined words the pieces begin, and their ids, as `longest_pieces` cuts."""
        dictionary, starts = self._trie
        symbols = dictionary.symbols("".join(words))
        begins = beginnings(words)
        chosen = np.empty(symbols.size, np.int64)
        longest_match(symbols, begins, *dictionary.trie, starts, LONGEST, self.unk_id, chosen)
        places = np.flatnonzero(chosen >= 0)
        return places, chosen[places]

    def _chunks(self, found: list[str]) -> list[list[int]]:
        """The ids of texts without white space, each of which may be several words."""
        words = [self.cleaning.words(chunk) for chunk in found]
        places, ids = self._pieces(list(chain.from_iterable(words)))
        return shared(ids.tolist(), places, [sum(map(len, each)) for each in words])

    def _chunk_offsets(self, found: list[str]) -> list[list[tuple[int, int]]]:
        """The offsets of the tokens of texts without white space."""
        words: list[str] = []
        flat: list[int] = []  # the place in its chunk of each character of all words
        sizes = []
        for chunk in found:
            before = len(flat)
            for word, places in self.cleaning.spans(chunk):
                words.append(word)
                flat += places
            sizes.append(len(flat) - before)
        places, _ = self._pieces(words)
        begins = places.tolist()
        ends = [*begins[1:], len(flat)]
        cut = []
        for begin, end in zip(begins, ends, strict=False):  # without a word there is one end more
            cut.append((flat[begin], flat[end - 1] + 1))
        return shared(cut, places, sizes)

    def _offsets(self, text: str) -> list[tuple[int, int]]:
        """For each token its first to last character; accents after the last are left out."""
        found = list(self.cleaning.placed_chunks(text))
        self._places.learn(chunk for _, chunk in found)
        return [(at + begin, at + end) for at, chunk in found for begin, end in self._places[chunk]]

    def decode(self, ids: Iterable[int]) -> str:
        """Words with a space between them; letter case, accents and spacing are lost.

        raises VocabularyError  for an id that does not exist
        """
        return " ".join(self._spellings(ids)).replace(" " + PREFIX, "").removeprefix(PREFIX)

    def _check_names(self, names: list[str]) -> None:
        if "" in names or lines_read("\n".join(names)) != names:
            held = [name for name in names if name and lines_read(name) == [name]]
            wrong = next(name for name in names if name not in held)
            raise VocabularyError(
                f"vocab.txt holds one token per line and cannot give back {wrong!r}; "
                "choose another name."
            )
        if found := SURROGATE.search("".join(names)):
            raise VocabularyError(
                f"A token holds the lone surrogate {found.group()!a}, which vocab.txt cannot hold."
            )

    def _contents(self) -> dict[str, str]:
        settings = {
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": self.cleaning.lower,
            "strip_accents": self.cleaning.strip_accents,
        }
        for name in SPECIALS:  # a special token that was added has no such role
            if name in self.specials:
                settings[f"{name[1:-1].lower()}_token"] = name
        settings |= chosen(self)
        return {
            "vocab.txt": "".join(f"{token}\n" for token in self.vocab),
            "tokenizer_config.json": as_json(settings, indent=1) + "\n",
        }

    @classmethod
    def _load(cls, folder: Path) -> WordPiece:
        """Read vocab.txt, one token a line, and the casing from tokenizer_config.json.

        Without that file text is lower-cased.
        raises DataError        for a missing or damaged file
        """
        path = folder / "vocab.txt"
        vocab = read_text(path).split("\n")
        if vocab[-1] == "":
            vocab.pop()
        if len(set(vocab)) != len(vocab) or "[UNK]" not in vocab or "" in vocab:
            raise DataError(
                f"{str(path)!r} must hold different tokens, one per line, '[UNK]' among them; "
                "it is damaged."
            )
        config = folder / "tokenizer_config.json"
        settings = read_json(config) if os.path.exists(config) else {}
        if not isinstance(settings, dict):
            raise DataError(
                f"{str(config)!r} must hold an object with the settings of the tokenizer; "
                "the file is damaged."
            )
        for name in ("tokenize_chinese_chars", "do_basic_tokenize"):
            if settings.get(name, True) is False:
                raise DataError(
                    f"{str(config)!r} says that {name} is false; WordPiece here always cuts as "
                    "BERT's first tokenizer does, so its ids would be others."
                )
        lower = bool(settings.get("do_lower_case", True))
        with damaged(path):
            return cls(vocab, lower, settings.get("strip_accents"))
