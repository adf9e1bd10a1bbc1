"""WordPiece: a word is cut into the longest pieces that the vocabulary holds, from its beginning on.

    unaffable -> un ##aff ##able        a piece that does not begin a word begins with ##

A word with any part that the vocabulary cannot spell is [UNK] as a whole: unlike bytes, characters can be unknown. In
return a piece is a piece of a word: it says whether it begins one, and a common word is one token.
Source: Devlin et al. 2018, the released tokenizer. Differs: the original trainer was not released; ours joins the most
frequent pair of pieces, as in byte-pair encoding (Schuster & Nakajima 2012 take the pair that raises the likelihood of
the text most). A word of more than 100 characters is [UNK], as published models have it today (the release: 200).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from itertools import chain
from pathlib import Path

import numpy as np

from tinylm.errors import DataError, VocabularyError
from tinylm.files import SURROGATE, as_json, lines_read, read_json, read_text
from tinylm.kernels import longest_match
from tinylm.progress import watched
from tinylm.text.base import (
    Encoding,
    Remembered,
    as_texts,
    check_different,
    check_numbers,
    check_vocab_size,
    damaged,
    shared,
)
from tinylm.text.merging import check_reached, learn, spell
from tinylm.text.normalise.cleaning import Cleaning, chunks
from tinylm.text.template import BERT
from tinylm.text.trie import Dictionary, beginnings

SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PREFIX = "##"
MARK = "\0"  # stands for ## among the characters: no cleaned text holds it
LONGEST = 100  # characters of a word; longer ones are [UNK]


class WordPiece(Encoding):
    """BERT's encoding; save() writes vocab.txt and tokenizer_config.json, which the wider ecosystem loads.

    vocab : list[str]               tokens by id; those that continue a word begin with ##
    lower, strip_accents : see `Cleaning`
    raises VocabularyError  without [UNK], or for tokens that vocab.txt, one per line, could not give back
    """

    files = ("vocab.txt",)
    template = BERT

    def __init__(self, vocab: list[str], lower: bool = True, strip_accents: bool | None = None):
        self.vocab = vocab
        self.specials = tuple(name for name in SPECIALS if name in self._index())
        if "[UNK]" not in self.specials:
            raise VocabularyError(
                "A WordPiece vocabulary needs the token '[UNK]', for words that it cannot spell."
            )
        check_different(vocab)
        self._check_names(vocab)
        self.unk_id, self.pad_id = self._index()["[UNK]"], self._index().get("[PAD]", 0)
        self.end_id = self._index().get("[SEP]")
        self.cleaning = Cleaning(lower, strip_accents)
        self._cache, self._places = Remembered(self._chunks), Remembered(self._chunk_offsets)

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        vocab_size: int,
        min_count: int = 2,
        lower: bool = True,
        exact: bool = True,
    ) -> WordPiece:
        """Learn pieces until the vocabulary holds `vocab_size` tokens: specials, characters, then joined pieces.

        min_count : a pair of pieces seen less often is not joined
        exact : False takes vocab_size as an upper bound, which a short text need not reach
        raises VocabularyError  if there is no text, or it has too many characters or too few pairs for vocab_size
        """
        check_numbers("WordPiece", vocab_size=vocab_size, min_count=min_count)
        cleaning, found = Cleaning(lower), Counter()
        for text in watched(as_texts(texts), "texts read"):
            found.update(chunks(text))
        words: Counter[str] = Counter()
        for chunk, count in found.items():
            for word in cleaning.words(chunk):
                words[word] += count
        found.clear()
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

    def _encode(self, texts: list[str]) -> list[list[int]]:
        parts = [chunks(text) for text in texts]
        self._cache.learn(chain.from_iterable(parts))
        return [list(chain.from_iterable(map(self._cache.__getitem__, part))) for part in parts]

    @cached_property
    def _trie(self) -> tuple[Dictionary, np.ndarray]:
        """The tokens, MARK in place of ##, and the nodes from which the first piece of a word and all others are spelled."""
        spelled = [MARK + t[len(PREFIX) :] if t.startswith(PREFIX) else t for t in self.vocab]
        kept = [
            "" if t in self.specials or MARK in t else s
            for t, s in zip(self.vocab, spelled, strict=True)
        ]
        found = Dictionary.of([*kept, MARK])
        return found, np.array(
            [0, found.trie[0][0]]
        )  # MARK is the first character, so its node is base[0]

    def _pieces(self, words: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Where in the joined words the pieces begin, and their ids."""
        dictionary, starts = self._trie
        symbols = dictionary.symbols("".join(words))
        chosen = np.empty(symbols.size, np.int64)
        longest_match(
            symbols, beginnings(words), *dictionary.trie, starts, LONGEST, self.unk_id, chosen
        )
        places = np.flatnonzero(chosen >= 0)
        return places, chosen[places]

    def _chunks(self, found: list[str]) -> list[list[int]]:
        """The ids of texts without white space, each of which may be several words."""
        words = [self.cleaning.words(chunk) for chunk in found]
        places, ids = self._pieces(list(chain.from_iterable(words)))
        return shared(ids.tolist(), places, [sum(map(len, each)) for each in words])

    def _chunk_offsets(self, found: list[str]) -> list[list[tuple[int, int]]]:
        """`offsets` of texts without white space."""
        spans = [self.cleaning.spans(chunk) for chunk in found]
        characters = [[place for _, places in chunk for place in places] for chunk in spans]
        begins, _ = self._pieces([word for chunk in spans for word, _ in chunk])
        flat = list(chain.from_iterable(characters))
        ends = [*begins[1:].tolist(), len(flat)]
        cut = [
            (flat[begin], flat[end - 1] + 1)
            for begin, end in zip(begins.tolist(), ends, strict=False)
        ]
        return shared(cut, begins, [*map(len, characters)])

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """The characters of each token, from the first that it holds to the last: accents that follow it are not in it."""
        found = list(self.cleaning.placed_chunks(text))
        self._places.learn(chunk for _, chunk in found)
        return [(at + begin, at + end) for at, chunk in found for begin, end in self._places[chunk]]

    def decode(self, ids: Iterable[int]) -> str:
        """Words with a space between them: letter case, accents and spacing of the original are not kept."""
        return " ".join(self._spellings(ids)).replace(" " + PREFIX, "").removeprefix(PREFIX)

    def _check_names(self, names: list[str]) -> None:
        if "" in names or lines_read("\n".join(names)) != names:
            held = [name for name in names if name and lines_read(name) == [name]]
            wrong = next(name for name in names if name not in held)
            raise VocabularyError(
                f"vocab.txt holds one token per line and cannot give back {wrong!r}; choose another name."
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
            **{f"{name[1:-1].lower()}_token": name for name in self.specials},
        }
        return {"vocab.txt": "".join(f"{token}\n" for token in self.vocab),
                "tokenizer_config.json": as_json(settings, indent=1) + "\n"}  # fmt: skip

    @classmethod
    def _load(cls, folder: Path) -> WordPiece:
        """Read vocab.txt, one token per line, and the casing from tokenizer_config.json (lower case where there is none).

        raises DataError        for a missing or damaged file
        """
        path, config = (folder / name for name in ("vocab.txt", "tokenizer_config.json"))
        vocab = read_text(path).split("\n")
        vocab = vocab[:-1] if vocab[-1] == "" else vocab
        if len(set(vocab)) != len(vocab) or "[UNK]" not in vocab or "" in vocab:
            raise DataError(
                f"{str(path)!r} must hold different tokens, one per line, '[UNK]' among them; it is damaged."
            )
        settings = read_json(config) if config.exists() else {}
        if not isinstance(settings, dict):
            raise DataError(
                f"{str(config)!r} must hold an object with the settings of the tokenizer; the file is damaged."
            )
        with damaged(path):
            return cls(
                vocab, bool(settings.get("do_lower_case", True)), settings.get("strip_accents")
            )
