"""WordPiece: a word is cut into the longest pieces that the vocabulary holds, from its beginning on.

    unaffable -> un ##aff ##able        a piece that does not begin a word begins with ##

A word with any part that the vocabulary cannot spell is [UNK] as a whole: unlike bytes, characters can be unknown. In
return a piece is a piece of a word: it says whether it begins one, and a common word is one token.
Source: Devlin et al. 2018, the released tokenizer. Differs: the original trainer was not released; ours joins the most
frequent pair of pieces, as in byte-pair encoding (Schuster & Nakajima 2012 take the pair that raises the likelihood of
the text most). A word of more than 100 characters is [UNK], as published models have it today (the release: 200).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

from tinylm.errors import DataError, VocabularyError
from tinylm.files import read_json, read_text
from tinylm.progress import watched
from tinylm.text.base import Encoding, Remembered, as_texts, check_vocab_size
from tinylm.text.cleaning import Cleaning, chunks
from tinylm.text.merging import check_reached, learn, spell
from tinylm.text.template import BERT

SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PREFIX = "##"
LONGEST = 100  # characters of a word; longer ones are [UNK]


class WordPiece(Encoding):
    """BERT's encoding; save() writes vocab.txt and tokenizer_config.json, which the wider ecosystem loads.

    vocab : list[str]               tokens by id; those that continue a word begin with ##
    lower, strip_accents : see `Cleaning`
    """

    files = ("vocab.txt",)
    template = BERT

    def __init__(self, vocab: list[str], lower: bool = True, strip_accents: bool | None = None):
        self.vocab = vocab
        self.specials = tuple(name for name in SPECIALS if name in self._index())
        if "[UNK]" not in self.specials:
            raise VocabularyError("A WordPiece vocabulary needs the token '[UNK]', for words that it cannot spell.")
        self.unk_id, self.pad_id = self._index()["[UNK]"], self._index().get("[PAD]", 0)
        self.end_id = self._index().get("[SEP]")
        self.cleaning = Cleaning(lower, strip_accents)
        self._begin = {t: i for t, i in self._index().items() if not t.startswith(PREFIX)}
        self._inside = {t[len(PREFIX) :]: i for t, i in self._index().items() if t.startswith(PREFIX)}
        self._longest = max(map(len, vocab))
        self._cache, self._places = Remembered(self._chunk), Remembered(self._chunk_offsets)

    @classmethod
    def train(
        cls, texts: Iterable[str], vocab_size: int, min_count: int = 2, lower: bool = True, exact: bool = True
    ) -> WordPiece:
        """Learn pieces until the vocabulary holds `vocab_size` tokens: specials, characters, then joined pieces.

        min_count : a pair of pieces seen less often is not joined
        exact : False takes vocab_size as an upper bound, which a short text need not reach
        raises VocabularyError  if there is no text, or it has too many characters or too few pairs for vocab_size
        """
        cleaning, found = Cleaning(lower), Counter()
        for text in watched(as_texts(texts), "texts read"):
            found.update(chunks(text))
        words: Counter[str] = Counter()
        for chunk, count in found.items():
            for word in cleaning.words(chunk):
                words[word] += count
        found.clear()
        if not words:
            raise VocabularyError("The training text is empty; WordPiece needs text to learn pieces from.")
        alphabet, counted = spell(words, before=PREFIX)
        least = len(SPECIALS) + len(alphabet)
        check_vocab_size(vocab_size, least, "the specials and the characters of the text")
        vocab, _ = learn(alphabet, counted, vocab_size - least, min_count, PREFIX)
        if exact:
            check_reached(len(SPECIALS) + len(vocab), vocab_size, min_count)
        return cls([*SPECIALS, *vocab], lower)

    def _encode(self, text: str) -> list[int]:
        return list(chain.from_iterable(map(self._cache.__getitem__, chunks(text))))

    def _chunk(self, chunk: str) -> list[int]:
        """The ids of a text without white space, which may be several words."""
        return [i for word in self.cleaning.words(chunk) for i, _ in self._pieces(word)]

    def _pieces(self, word: str) -> list[tuple[int, int]]:
        """(id, where it ends) of the pieces of a word, each the longest possible."""
        pieces: list[tuple[int, int]] = []
        begin = 0 if len(word) <= LONGEST else None
        while begin is not None and begin < len(word):
            known = self._inside if begin else self._begin
            ends = range(min(len(word), begin + self._longest), begin, -1)
            end = next((end for end in ends if word[begin:end] in known), None)
            if end is not None:
                pieces.append((known[word[begin:end]], end))
            begin = end
        return pieces if begin is not None else [(self.unk_id, len(word))]

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """The characters of each token, from the first that it holds to the last: accents that follow it are not in it."""
        found = ((at, self._places[chunk]) for at, chunk in self.cleaning.placed_chunks(text))
        return [(at + begin, at + end) for at, places in found for begin, end in places]

    def _chunk_offsets(self, chunk: str) -> list[tuple[int, int]]:
        """`offsets` of a text without white space."""
        found = []
        for word, places in self.cleaning.spans(chunk):
            begin = 0
            for _, end in self._pieces(word):
                found.append((places[begin], places[end - 1] + 1))
                begin = end
        return found

    def decode(self, ids: Iterable[int]) -> str:
        """Words with a space between them: letter case, accents and spacing of the original are not kept."""
        return " ".join(self._spellings(ids)).replace(" " + PREFIX, "").removeprefix(PREFIX)

    def _contents(self) -> dict[str, str]:
        settings = {
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": self.cleaning.lower,
            "strip_accents": self.cleaning.strip_accents,
            **{f"{name[1:-1].lower()}_token": name for name in self.specials},
        }
        return {"vocab.txt": "".join(f"{token}\n" for token in self.vocab),
                "tokenizer_config.json": json.dumps(settings, indent=1) + "\n"}  # fmt: skip

    @classmethod
    def _load(cls, folder: Path) -> WordPiece:
        """Read vocab.txt, one token per line, and the casing from tokenizer_config.json (lower case where there is none).

        raises DataError        for a missing or damaged file
        """
        path, config = (folder / name for name in ("vocab.txt", "tokenizer_config.json"))
        vocab = read_text(path).split("\n")
        vocab = vocab[:-1] if vocab[-1] == "" else vocab
        if len(set(vocab)) != len(vocab) or "[UNK]" not in vocab or "" in vocab:
            raise DataError(f"{str(path)!r} must hold different tokens, one per line, '[UNK]' among them; it is damaged.")
        settings = read_json(config) if config.exists() else {}
        if not isinstance(settings, dict):
            raise DataError(f"{str(config)!r} must hold an object with the settings of the tokenizer; the file is damaged.")
        return cls(vocab, bool(settings.get("do_lower_case", True)), settings.get("strip_accents"))
