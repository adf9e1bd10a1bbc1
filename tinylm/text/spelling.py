"""How a text is spelled before its units are merged, and how tokens become text again: three ways that were published.

    ByteLevel    GPT-2          "The cat" -> The | Ġcat     units: UTF-8 bytes as visible characters; nothing is unknown
    EndOfWord    GPT-1          "The cat" -> the | cat      units: characters, the last of a word with </w>
    Metaspace    SentencePiece  "The cat" -> ▁The | ▁cat    units: characters; what no piece holds is <unk> or its bytes

The merges are the same mechanism in all three, see bpe.py. Bytes cost length (three units for 東) and keep everything; the
end mark keeps a word and the beginning of a longer one apart; ▁ makes the space a part of the text that is cut.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from itertools import accumulate

import regex

from tinylm.errors import VocabularyError
from tinylm.text.base import BYTE_TOKENS, check_different, check_whole, decoded
from tinylm.text.normalise.cleaning import Cleaning, chunks
from tinylm.text.normalise.normalizing import SPACE, Normalizer
from tinylm.text.unigram import UNKNOWN_TEXT, WORD

# GPT-2's words: contractions (lower case only), letters, digits or other marks with the space before them, white space
PATTERN = regex.compile(r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
END, END_OF_WORD, UNKNOWN = "<|endoftext|>", "</w>", "<unk>"

Word = tuple[
    str, Sequence[int], Sequence[int]
]  # a word, and where in the text each of its units begins and ends


def byte_characters() -> dict[int, str]:
    """A visible character for each byte, in GPT-2's order: 188 printable bytes are themselves, 68 are U+0100 and on.

    >>> byte_characters()[ord("a")], byte_characters()[ord(" ")]
    ('a', 'Ġ')
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return {byte: chr(byte) for byte in printable} | {
        byte: chr(256 + n) for n, byte in enumerate(others)
    }


BYTE_CHARACTERS = byte_characters()
BYTE_OF = {character: byte for byte, character in BYTE_CHARACTERS.items()}
TRANSLATE = {byte: ord(character) for byte, character in BYTE_CHARACTERS.items()}


class Spelling(ABC):
    """What merges leave open: the words of a text, the units of a word, what a vocabulary holds beside what is merged.

    specials : the special tokens of a new vocabulary     alphabet : units that it always holds
    after : what the last unit of a word ends with     files : the names that such a vocabulary is saved under
    any_split : a token is made of any two that spell it, not only of those it was learned from; ties in training go to
        the shortest spelling
    unknown : the token of unknown units (None: there are none)     fuses : neighbouring unknown units are one token
    byte_fallback : unknown characters are written as the tokens <0x00> … <0xFF> of their UTF-8 bytes
    """

    specials: tuple[str, ...] = (UNKNOWN,)
    alphabet = after = ""
    unknown: str | None = UNKNOWN
    any_split = fuses = byte_fallback = False
    files: tuple[str, ...] = ("vocab.json", "merges.txt")

    @abstractmethod
    def parts(self, text: str) -> tuple[str, list[str]]:
        """What begins the text, and the parts that follow a space; no word reaches over the space before a part."""

    @abstractmethod
    def words(self, part: str, spaced: bool) -> list[str]:
        """The words of a part. spaced : it follows a space"""

    def training_words(self, part: str, spaced: bool) -> list[str]:
        """The words in which merges are counted: where nothing else is said, the words."""
        return self.words(part, spaced)

    def letters(self, word: str) -> str:
        """A word with one character per unit: where nothing else is said, itself."""
        return word

    def units(self, word: str) -> list[str]:
        """The units of a word, as the vocabulary spells them."""
        return list(self.letters(word))

    def check_specials(self, names: tuple[str, ...]) -> None:
        """Raise VocabularyError for special tokens that text could spell, or that a file could not give back."""
        check_different(self.vocabulary(names, list(self.alphabet), []))
        if self.unknown and self.unknown not in names:
            raise VocabularyError(
                f"The special tokens are {', '.join(names)}; {self.unknown!r} must be among them."
            )
        if not self.any_split:
            check_whole(names)
        for name in names:
            parts = [word for word in self.training_words(name, False) if word]
            if len(parts) < 2 or name.endswith(END_OF_WORD):
                raise VocabularyError(
                    f"The special token {name!r} is a word that text could spell; choose a name of "
                    "letters and signs, such as '<name>'."
                )

    @abstractmethod
    def spans(self, text: str) -> list[Word]:
        """Every word, and where the characters begin and end that each of its units stands for."""

    @abstractmethod
    def vocabulary(
        self, specials: tuple[str, ...], alphabet: list[str], made: list[str]
    ) -> list[str]:
        """The tokens by id."""

    @abstractmethod
    def text(self, tokens: list[str], specials: Iterable[str]) -> str:
        """The text of tokens, some of them special."""


class ByteLevel(Spelling):
    """GPT-2's spelling: every byte a character that one can see, so that a word is a string like any other."""

    specials = (END,)
    alphabet = "".join(BYTE_OF)
    unknown = None

    def parts(self, text: str) -> tuple[str, list[str]]:
        """The text cut at its spaces; where there is any other white space, or two side by side, it is one part."""
        pieces = text.split(" ")
        return (pieces.pop(0), pieces) if pieces == text.split() else (text, [])

    def words(self, part: str, spaced: bool) -> list[str]:
        """GPT-2's words, with the space before them."""
        return PATTERN.findall(" " + part if spaced else part)

    def letters(self, word: str) -> str:
        """Each byte as its character (a lone surrogate is kept as the three bytes it has)."""
        return word.encode("utf-8", "surrogatepass").decode("latin-1").translate(TRANSLATE)

    def spans(self, text: str) -> list[Word]:
        """Every word; bytes of one character all stand for that character."""
        found: list[Word] = []
        at = 0
        for word in PATTERN.findall(text):  # which leaves no character out
            end = at + len(word)
            places: Sequence[int] = range(at, end)
            if not word.isascii():
                places = [
                    i for i, c in enumerate(word, at) for _ in c.encode("utf-8", "surrogatepass")
                ]
            found.append(
                (
                    word,
                    places,
                    range(at + 1, end + 1) if word.isascii() else [i + 1 for i in places],
                )
            )
            at = end
        return found

    def vocabulary(
        self, specials: tuple[str, ...], alphabet: list[str], made: list[str]
    ) -> list[str]:
        """The tokens by id: specials stand last."""
        return [*alphabet, *made, *specials]

    def text(self, tokens: list[str], specials: Iterable[str]) -> str:
        """The text of tokens, special ones by name; bytes that are no UTF-8 become U+FFFD."""
        names = set(specials)
        return decoded(
            t.encode() if t in names else bytes(map(BYTE_OF.__getitem__, t)) for t in tokens
        )


class EndOfWord(Spelling):
    """GPT-1's spelling: words as BERT cleans and cuts them, in lower case without accents.

    Differs: that is what models are published with today; the release mended broken text with ftfy and cut with spaCy.
    """

    after = END_OF_WORD

    def __init__(self):
        self.cleaning = Cleaning(lower=True)

    def parts(self, text: str) -> tuple[str, list[str]]:
        """The text cut at white space, all parts alike."""
        return "", chunks(text)

    def words(self, part: str, spaced: bool) -> list[str]:
        """The words of a part."""
        return self.cleaning.words(part)

    def units(self, word: str) -> list[str]:
        """Characters, the last one with the end mark."""
        return [*word[:-1], word[-1] + END_OF_WORD]

    def spans(self, text: str) -> list[Word]:
        """Every word with the places of its characters."""
        return [
            (word, places, [place + 1 for place in places])
            for word, places in self.cleaning.spans(text)
        ]

    def vocabulary(
        self, specials: tuple[str, ...], alphabet: list[str], made: list[str]
    ) -> list[str]:
        """The tokens by id: specials stand first."""
        return [*specials, *alphabet, *made]

    def text(self, tokens: list[str], specials: Iterable[str]) -> str:
        """Words with a space between them: letter case, accents and spacing of the original are not kept."""
        return "".join(token.replace(END_OF_WORD, " ") for token in tokens).removesuffix(" ")


class Metaspace(Spelling):
    """SentencePiece's spelling: normalised text, cut before every ▁.

    normalizer : what is done to text first     byte_fallback : unknown characters are written as their UTF-8 bytes
    symbols : pieces that are always taken whole     crossing : a piece may hold a ▁ inside, so that text is one word
    """

    specials = (UNKNOWN, "<s>", "</s>")
    any_split = fuses = True
    files = ("tokenizer.model",)

    def __init__(self, normalizer: Normalizer | None = None, byte_fallback: bool = False,
                 symbols: Iterable[str] = (), crossing: bool = False):  # fmt: skip
        self.byte_fallback = byte_fallback
        self.symbols = dict.fromkeys(symbols)  # a set in the order given
        if "" in self.symbols:
            raise VocabularyError("A symbol is empty; give symbols of at least one character.")
        self.normalizer = normalizer or Normalizer(kept=self.symbols)
        self.crossing = crossing or any(SPACE in symbol[1:] for symbol in self.symbols)
        longest_first = sorted(self.symbols, key=lambda symbol: (-len(symbol), symbol))
        self._symbol = (
            regex.compile(f"({'|'.join(map(regex.escape, longest_first))})")
            if self.symbols
            else None
        )

    def parts(self, text: str) -> tuple[str, list[str]]:
        """The normalised text, cut at ▁ where no piece holds one inside."""
        normal = self.normalizer(text)
        first, *spaced = [normal] if self.crossing else normal.split(SPACE)
        return first, spaced

    def words(self, part: str, spaced: bool) -> list[str]:
        """A part is one word, symbols in it are words of their own."""
        whole = SPACE + part if spaced else part
        return [word for word in (self._symbol.split(whole) if self._symbol else (whole,)) if word]

    def training_words(self, part: str, spaced: bool) -> list[str]:
        """No piece that is learned reaches from letters to digits or to other characters.

        raises VocabularyError for a NUL, which ends a piece where SentencePiece loads it
        """
        if "\0" in part:
            raise VocabularyError(
                "The text holds a NUL character, which no SentencePiece model can hold; remove it first."
            )
        return [
            cut
            for word in self.words(part, spaced)
            if word not in self.symbols
            for cut in WORD.findall(word)
        ]

    def units(self, word: str) -> list[str]:
        """Characters; a symbol is one unit."""
        return [word] if word in self.symbols else list(word)

    def spans(self, text: str) -> list[Word]:
        """Every word with the places of its units."""
        normal, places = self.normalizer.with_places(text)
        parts = [normal] if self.crossing else normal.split(SPACE)
        found: list[Word] = []
        place = 0
        for word in (word for i, part in enumerate(parts) for word in self.words(part, i > 0)):
            edges = list(accumulate(map(len, self.units(word)), initial=place))
            edges_in_text = [places[edge] for edge in edges]
            found.append((word, edges_in_text[:-1], edges_in_text[1:]))
            place = edges[-1]
        return found

    def vocabulary(
        self, specials: tuple[str, ...], alphabet: list[str], made: list[str]
    ) -> list[str]:
        """The tokens by id: specials, symbols, bytes, what was merged, then the alphabet."""
        return [
            *specials,
            *self.symbols,
            *(BYTE_TOKENS if self.byte_fallback else ()),
            *made,
            *alphabet,
        ]

    def text(self, tokens: list[str], specials: Iterable[str]) -> str:
        """Text with spaces: controls vanish, <unk> becomes " ⁇ ", and the space that normalising put in front is removed."""
        names, parts = set(specials), []
        for token in tokens:
            if token == UNKNOWN:
                parts.append(UNKNOWN_TEXT.encode())
            elif token in BYTE_TOKENS and self.byte_fallback:
                parts.append(BYTE_TOKENS[token])
            elif token not in names:
                shown = token.removeprefix(SPACE) if self.normalizer.prefix and not parts else token
                parts.append(shown.replace(SPACE, " ").encode("utf-8", "surrogatepass"))
        return decoded(parts)


BYTES = ByteLevel()
