"""Spellings: how a text is cut and written before units are merged, and how tokens become text.

    ByteLevel    GPT-2          "The cat" -> The | Ġcat     units: UTF-8 bytes as visible characters
    EndOfWord    GPT-1          "The cat" -> the | cat      units: characters; the last has </w>
    Metaspace    SentencePiece  "The cat" -> ▁The | ▁cat    units: characters

All three are merged in the same way, see bpe.py. They differ in what they keep. Bytes keep
everything and cost length: 東 takes three units. The end mark tells a word from the beginning of a
longer one, but spacing is lost. ▁ makes the space a part of the text; a character that no piece
holds becomes <unk>, or its bytes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from itertools import accumulate, groupby

import regex

from tinylm.errors import VocabularyError

from .base import BYTE_TOKENS, Remembered, decoded
from .checks import check_different, check_whole
from .normalise.cleaning import Cleaning, chunks
from .normalise.normalizing import SPACE, Normalizer
from .normalise.symbols import Symbols
from .unigram import UNKNOWN_TEXT, WORD

# GPT-2's words: contractions (lower case only); letters, digits or other signs with the space
# before them; white space
PATTERN = regex.compile(r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
END = "<|endoftext|>"
END_OF_WORD = "</w>"
UNKNOWN = "<unk>"

# A word; where in the text each of its units begins; where each ends.
Word = tuple[str, Sequence[int], Sequence[int]]


def byte_characters() -> dict[int, str]:
    """A visible character for each byte, in GPT-2's order.

    188 printable bytes are themselves; the other 68 become U+0100 and the characters after it.

    >>> byte_characters()[ord("a")], byte_characters()[ord(" ")]
    ('a', 'Ġ')
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = sorted(set(range(256)) - set(printable))
    characters = {byte: chr(byte) for byte in printable}
    for n, byte in enumerate(others):
        characters[byte] = chr(256 + n)
    return characters


BYTE_CHARACTERS = byte_characters()
BYTE_OF = {character: byte for byte, character in BYTE_CHARACTERS.items()}
TRANSLATE = {byte: ord(character) for byte, character in BYTE_CHARACTERS.items()}
TRANSLATE_BACK = {character: byte for byte, character in TRANSLATE.items()}


class Spelling(ABC):
    """The choices that merging leaves open: a text's words, a word's units, a vocabulary's order.

    specials : the special tokens of a new vocabulary
    alphabet : units that a vocabulary always holds
    after : the ending of a word's last unit
    files : names of the files that such a vocabulary is saved in
    any_split : a token may be made of any two tokens that spell it, not only of the two it was
        learned from; ties in training go to the shortest spelling
    unknown : the token of unknown units (None: no unit is unknown)
    fuses : neighbouring unknown units become one token
    byte_fallback : an unknown character becomes the tokens <0x00> … <0xFF> of its UTF-8 bytes
    """

    specials: tuple[str, ...] = (UNKNOWN,)
    alphabet: str = ""
    after: str = ""
    unknown: str | None = UNKNOWN
    any_split: bool = False
    fuses: bool = False
    byte_fallback: bool = False
    files: tuple[str, ...] = ("vocab.json", "merges.txt")

    @abstractmethod
    def parts(self, text: str) -> tuple[str, list[str]]:
        """Cut a text at spaces: the first part, and the parts that follow a space.

        No word reaches across such a space, so `words` can be asked for each part by itself.
        """

    @abstractmethod
    def words(self, part: str, spaced: bool) -> list[str]:
        """The words of a part; `spaced` says that it follows a space."""

    def training_words(self, part: str, spaced: bool) -> list[str]:
        """The words in which merges are counted; the same words unless overridden."""
        return self.words(part, spaced)

    def letters(self, word: str) -> str:
        """A word with one character per unit; the word itself unless overridden."""
        return word

    def units(self, word: str) -> list[str]:
        """The units of a word, as the vocabulary spells them."""
        return list(self.letters(word))

    def check_specials(self, names: tuple[str, ...]) -> None:
        """Raise VocabularyError for specials that text could spell, or that no file could store."""
        check_different(self.vocabulary(names, list(self.alphabet), []))
        if self.unknown and self.unknown not in names:
            raise VocabularyError(
                f"The special tokens are {', '.join(names)}; {self.unknown!r} must be among them."
            )
        if not self.any_split:
            check_whole(names)
        for name in names:
            words = list(filter(None, self.training_words(name, False)))
            if len(words) < 2 or name.endswith(END_OF_WORD):
                raise VocabularyError(
                    f"The special token {name!r} is a word that text could spell; "
                    "choose a name of letters and signs, such as '<name>'."
                )

    @abstractmethod
    def spans(self, text: str) -> list[Word]:
        """Each word, with the places in the text where its units begin and end."""

    @abstractmethod
    def vocabulary(
        self, specials: tuple[str, ...], alphabet: list[str], made: list[str]
    ) -> list[str]:
        """The tokens by id."""

    @abstractmethod
    def text(self, tokens: list[str], specials: Iterable[str]) -> str:
        """The text of tokens, some of which are special."""


class ByteLevel(Spelling):
    """GPT-2's spelling: each byte becomes a visible character, so a word is an ordinary string.

    prefix : put a space in front of a text that begins without one, so that its first word is
        spelled like the others

    >>> BYTES.words("The cat", False)
    ['The', ' cat']
    >>> BYTES.units(" né")
    ['Ġ', 'n', 'Ã', '©']
    """

    specials = (END,)
    alphabet = "".join(BYTE_OF)
    unknown = None

    def __init__(self, prefix: bool = False):
        self.prefix = prefix

    def _prefixed(self, text: str) -> str:
        """The text with its prefix, if it gets one."""
        if self.prefix and text and not text.startswith(" "):
            return " " + text
        return text

    def parts(self, text: str) -> tuple[str, list[str]]:
        """The text cut at its spaces, or whole if it has other white space or two in a row."""
        if self.prefix:
            first, *pieces = self._prefixed(text).split(" ")
            if first or pieces != text.split():
                return self._prefixed(text), []
            return "", pieces
        pieces = text.split(" ")
        if pieces != text.split():
            return text, []
        return pieces[0], pieces[1:]

    def words(self, part: str, spaced: bool) -> list[str]:
        """GPT-2's words, with the space before them."""
        return PATTERN.findall(" " + part if spaced else part)

    def letters(self, word: str) -> str:
        """Each byte as its character; a lone surrogate has three bytes."""
        raw = word.encode("utf-8", "surrogatepass")
        return raw.decode("latin-1").translate(TRANSLATE)

    def spans(self, text: str) -> list[Word]:
        """Each word; all bytes of a character begin and end with that character.

        The space of the prefix is no part of the text: it begins and ends at 0.
        """
        whole = self._prefixed(text)
        if whole != text:
            return self._after_prefix(whole)
        found: list[Word] = []
        at = 0
        for word in PATTERN.findall(text):  # the words leave no character out
            end = at + len(word)
            begins: Sequence[int] = range(at, end)
            ends: Sequence[int] = range(at + 1, end + 1)
            if not word.isascii():
                begins = _place_of_each_byte(word, at)
                ends = [place + 1 for place in begins]
            found.append((word, begins, ends))
            at = end
        return found

    def _after_prefix(self, whole: str) -> list[Word]:
        """`spans` of a text with its prefix, as places in the text without it."""
        moved: list[Word] = []
        for word, begins, ends in self.spans(whole):
            begins = [max(place - 1, 0) for place in begins]
            ends = [place - 1 for place in ends]
            moved.append((word, begins, ends))
        return moved

    def vocabulary(
        self, specials: tuple[str, ...], alphabet: list[str], made: list[str]
    ) -> list[str]:
        """The tokens by id; specials stand last."""
        return [*alphabet, *made, *specials]

    def text(self, tokens: list[str], specials: Iterable[str]) -> str:
        """The text of tokens, special ones by name; bytes that are no UTF-8 become U+FFFD."""
        parts = []
        for is_special, neighbours in groupby(tokens, set(specials).__contains__):
            joined = "".join(neighbours)
            if is_special:
                parts.append(joined.encode())
            else:
                parts.append(joined.translate(TRANSLATE_BACK).encode("latin-1"))
        return decoded(parts)


def _place_of_each_byte(word: str, at: int) -> list[int]:
    """For each UTF-8 byte of a word that stands at `at`, the place of its character.

    >>> _place_of_each_byte("né!", 10)
    [10, 11, 11, 12]
    """
    places = []
    for place, character in enumerate(word, at):
        size = len(character.encode("utf-8", "surrogatepass"))
        places += [place] * size
    return places


class EndOfWord(Spelling):
    """GPT-1's spelling: words as BERT cleans and cuts them, in lower case without accents.

    Differs: GPT-1 as released mended broken text with ftfy and cut with spaCy; models are published
    with this spelling today.

    >>> EndOfWord().words("The café", False)
    ['the', 'cafe']
    >>> EndOfWord().units("cafe")
    ['c', 'a', 'f', 'e</w>']
    """

    after = END_OF_WORD

    def __init__(self):
        self.cleaning = Cleaning(lower=True)
        self._words_of = Remembered(self._placed_words)

    def _placed_words(self, found: list[str]) -> list[list[tuple[str, list[int]]]]:
        """The words of texts without white space, with the places of their characters."""
        return [self.cleaning.spans(chunk) for chunk in found]

    def parts(self, text: str) -> tuple[str, list[str]]:
        """The text cut at white space; the first part is empty: all parts are treated equally."""
        return "", chunks(text)

    def words(self, part: str, spaced: bool) -> list[str]:
        """The words of a part."""
        return self.cleaning.words(part)

    def units(self, word: str) -> list[str]:
        """Characters, the last one with the end mark."""
        return [*word[:-1], word[-1] + END_OF_WORD]

    def spans(self, text: str) -> list[Word]:
        """Each word, with the places where its characters begin and end."""
        found: list[Word] = []
        for at, chunk in self.cleaning.placed_chunks(text):
            for word, places in self._words_of[chunk]:
                begins = [at + place for place in places]
                ends = [place + 1 for place in begins]
                found.append((word, begins, ends))
        return found

    def vocabulary(
        self, specials: tuple[str, ...], alphabet: list[str], made: list[str]
    ) -> list[str]:
        """The tokens by id; specials stand first."""
        return [*specials, *alphabet, *made]

    def text(self, tokens: list[str], specials: Iterable[str]) -> str:
        """Words with a space between them; case, accents and spacing of the original are lost."""
        spaced = [token.replace(END_OF_WORD, " ") for token in tokens]
        return "".join(spaced).removesuffix(" ")


class Metaspace(Spelling):
    """SentencePiece's spelling: normalised text, cut before each ▁.

    normalizer : changes the text first (None: only spaces)
    byte_fallback : unknown characters become their UTF-8 bytes
    symbols : pieces that are never cut, and that the normaliser leaves as they are
    crossing : a piece may hold a ▁ inside, so a text is one word

    >>> Metaspace().parts("The cat")
    ('', ['The', 'cat'])
    >>> Metaspace().words("cat", True)
    ['▁cat']
    """

    specials = (UNKNOWN, "<s>", "</s>")
    any_split = True
    fuses = True
    files = ("tokenizer.model",)

    def __init__(
        self,
        normalizer: Normalizer | None = None,
        byte_fallback: bool = False,
        symbols: Iterable[str] = (),
        crossing: bool = False,
    ):
        self.byte_fallback = byte_fallback
        self.symbols = dict.fromkeys(symbols)  # a set in the order given
        if "" in self.symbols:
            raise VocabularyError("A symbol is empty; give symbols of at least one character.")
        self.normalizer = (normalizer or Normalizer()).keeping(self.symbols)
        self.crossing = crossing or any(SPACE in symbol[1:] for symbol in self.symbols)
        self._found = Symbols(self.symbols)

    def parts(self, text: str) -> tuple[str, list[str]]:
        """The normalised text, cut at ▁ unless a piece may hold one inside."""
        first, *spaced = self._cut(self.normalizer(text))
        return first, spaced

    def _cut(self, normal: str) -> list[str]:
        return [normal] if self.crossing else normal.split(SPACE)

    def words(self, part: str, spaced: bool) -> list[str]:
        """A part is one word, but symbols in it are words of their own."""
        whole = SPACE + part if spaced else part
        if not whole or not self._found:
            return [whole] if whole else []
        return self._found.split(whole)

    def training_words(self, part: str, spaced: bool) -> list[str]:
        """Words cut where letters meet digits or other signs: no learned piece joins these.

        raises VocabularyError  for a NUL, at which SentencePiece would end a piece
        """
        if "\0" in part:
            raise VocabularyError(
                "The text holds a NUL character, which no SentencePiece model can hold; "
                "remove it first."
            )
        found = []
        for word in self.words(part, spaced):
            if word not in self.symbols:
                found += WORD.findall(word)
        return found

    def units(self, word: str) -> list[str]:
        """Characters; a symbol is one unit."""
        return [word] if word in self.symbols else list(word)

    def spans(self, text: str) -> list[Word]:
        """Each word, with the places in the original text where its units begin and end."""
        normal, places = self.normalizer.with_places(text)
        found: list[Word] = []
        at = 0  # in the normalised text
        for i, part in enumerate(self._cut(normal)):
            for word in self.words(part, spaced=i > 0):
                sizes = map(len, self.units(word))
                edges = list(accumulate(sizes, initial=at))
                in_text = [places[edge] for edge in edges]
                found.append((word, in_text[:-1], in_text[1:]))
                at = edges[-1]
        return found

    def vocabulary(
        self, specials: tuple[str, ...], alphabet: list[str], made: list[str]
    ) -> list[str]:
        """The tokens by id: specials, symbols, bytes, merged pieces, then the alphabet."""
        byte_tokens = BYTE_TOKENS if self.byte_fallback else ()
        return [*specials, *self.symbols, *byte_tokens, *made, *alphabet]

    def text(self, tokens: list[str], specials: Iterable[str]) -> str:
        """Text with spaces for ▁, without the space that normalising put in front.

        Special tokens vanish; <unk> becomes " ⁇ ".
        """
        names = set(specials)
        parts: list[bytes] = []
        for token in tokens:
            if token == UNKNOWN:
                parts.append(UNKNOWN_TEXT.encode())
            elif token in BYTE_TOKENS and self.byte_fallback:
                parts.append(BYTE_TOKENS[token])
            elif token not in names:
                if self.normalizer.prefix and not parts:
                    token = token.removeprefix(SPACE)
                shown = token.replace(SPACE, " ")
                parts.append(shown.encode("utf-8", "surrogatepass"))
        return decoded(parts)


BYTES = ByteLevel()
SPACED_BYTES = ByteLevel(prefix=True)  # RoBERTa's and others' way
