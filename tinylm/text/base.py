"""What every encoding can do: text -> ids -> text. Each file beside this one chooses other units.

    >>> from tinylm.text import Chars
    >>> letters = Chars("abc")
    >>> letters.vocab
    ['<unk>', '<pad>', '<eos>', 'a', 'b', 'c']
    >>> letters.encode("cab")
    [5, 3, 4]
    >>> letters.decode([5, 3, 4])
    'cab'

An encoding is a list of tokens, `vocab`; the id of a token is its place in that list. Special
tokens (end of text, padding, unknown) have ids but no spelling: a text that contains the five
letters "<pad>" is ordinary text.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from tinylm import files
from tinylm.arguments import strings
from tinylm.errors import ArgumentError, DataError, VocabularyError

from .checks import (
    as_json,
    check_different,
    check_numbers,
    check_vocab_size,
    check_whole,
    damaged,
    decoded,
    no_token,
    read_vocabulary,
    whole_numbers,
)
from .cutting import Window, as_texts, cut_at, windows, word_of_each_token
from .formats.settings import ADDED, BESIDE, HEADS, MAP, added_tokens, chosen, named
from .template import FILE, Template
from .wordcache import Remembered, portions, shared

# The word cache and the checks have files of their own; encodings import them from here.
__all__ = [
    "ADDED",
    "BYTE_TOKENS",
    "Encoding",
    "Remembered",
    "as_json",
    "as_texts",
    "check_different",
    "check_numbers",
    "check_vocab_size",
    "check_whole",
    "damaged",
    "decoded",
    "read_vocabulary",
    "shared",
]

BYTE_TOKENS = {f"<0x{byte:02X}>": bytes([byte]) for byte in range(256)}  # a byte as a token


class Encoding(ABC):
    """Base of all encodings. A subclass cuts text (`_encode`, `_offsets`) and joins it (`decode`).

    vocab : list[str]       tokens by id
    specials : tuple[str]   names of the tokens that no text produces
    added : tuple[str]      the specials that came by add_specials
    template : Template     arranges a text, or two, as a model's input when the encoding is called
    unk_id, pad_id, end_id  ids of unknown, padding, end of text; unk_id and end_id may be None
    begin_id  id of what stands before every text, in a corpus and in a model's input, or None
    """

    files: ClassVar[tuple[str, ...]] = ()  # names of the files that save() writes and load() needs

    vocab: list[str]
    specials: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    unk_id: int | None = None
    pad_id: int = 0
    end_id: int | None = None
    begin_id: int | None = None
    template: Template = Template()
    arranged: bool = False  # the template is another one than the encoding's own
    spaces_alone: ClassVar[bool] = False  # a space is a token, and no part of the word behind it
    spelling: Any = None  # how BPE writes tokens, see spelling.py
    pieces: Sequence[Any] = ()  # of SentencePiece's encodings: (text, score, kind)

    @property
    def vocab_size(self) -> int:
        """V, the number of tokens, specials included."""
        return len(self.vocab)

    @property
    def special_ids(self) -> tuple[int, ...]:
        """The ids of the special tokens."""
        index = self._index()
        return tuple(index[name] for name in self.specials if name in index)

    # --- text to ids

    @abstractmethod
    def _encode(self, texts: list[str]) -> Sequence[list[int] | np.ndarray]:
        """The ids of each text; special tokens' names are ordinary text here."""

    def encode(self, text: str, special: str | Collection[str] = "none") -> list[int]:
        """The ids of one text.

        special : how to read the name of a special token that stands in the text
            "none"   as ordinary text
            "all"    as that token
            "raise"  as an error, VocabularyError ("none_raise" is the same)
            a set of names: these as tokens, others as ordinary text

        >>> from tinylm.text import Bytes
        >>> Bytes().encode("a<eos>", special="all")
        [100, 2]
        >>> Bytes().encode("a<eos>", special="raise")
        Traceback (most recent call last):
            ...
        tinylm.errors.VocabularyError: The text contains the special token '<eos>'; remove it or \
allow it by name.
        """
        strings([text], "text")
        if special == "none" or not self.specials:
            return list(map(int, self._encode([text])[0]))
        names = self._names_allowed(text, special)
        pieces, found = cut_at(names, text)
        rows = self._encode(pieces)
        ids = list(map(int, rows[0]))
        for name, row in zip(found, rows[1:], strict=True):
            ids.append(self._index()[name])
            ids.extend(map(int, row))
        return ids

    def _names_allowed(self, text: str, special: str | Collection[str]) -> set[str]:
        """The names that mean special tokens in this text; raises VocabularyError, see `encode`."""
        if special == "all":
            return set(self.specials)
        if special in ("raise", "none_raise"):
            for name in self.specials:
                if name in text:
                    raise VocabularyError(
                        f"The text contains the special token {name!r}; "
                        "remove it or allow it by name."
                    )
            return set()
        allowed = set(strings(special, "special"))
        unknown = allowed - set(self.specials)
        if unknown:
            known = ", ".join(self.specials)
            raise VocabularyError(f"{min(unknown)!r} is not a special token; there are {known}.")
        return allowed

    def encode_batch(self, texts: Iterable[str]) -> list[np.ndarray]:
        """The ids of each text as (T,) int32 arrays; a word that several texts share is cut once.

        texts : the texts; a single string counts as one text
        """
        rows: list[np.ndarray] = []
        for portion in portions(as_texts(texts)):
            for ids in self._encode(portion):
                is_array = isinstance(ids, np.ndarray)
                row = ids if is_array else np.fromiter(ids, np.int32, len(ids))
                rows.append(row)
        return rows

    def tokens(self, text: str) -> list[str]:
        """The tokens of a text as they stand in the vocabulary.

        >>> from tinylm.text import Words
        >>> Words(["the", "cat"]).tokens("the black cat")
        ['the', '<unk>', 'cat']
        """
        return [self.vocab[i] for i in self.encode(text)]

    def __call__(
        self,
        texts: str | Sequence[str],
        pairs: str | Sequence[str] | None = None,
        max_length: int | None = None,
    ) -> dict[str, np.ndarray]:
        """Encode texts as the arguments of a model's `encode`: `model.encode(**encoding(texts))`.

        texts : the texts; a single string counts as one text
        pairs : the second text of each input (None: there is none)
        max_length : longer inputs are cut to this many tokens, specials included (None: no limit)
        returns {"ids": (B, T) int64, "mask": (B, T) bool, True = a real token}, and
            "token_types": (B, T) int64 if the template has types; the template says on which
            side rows are padded
        raises VocabularyError  if texts and pairs differ in number, or max_length is below 1

        >>> from tinylm.text import Chars
        >>> Chars("ab")(["ab", "b"])["ids"]
        array([[3, 4],
               [4, 1]])
        """
        if max_length is not None and max_length < 1:
            raise VocabularyError(
                f"max_length is {max_length}; give at least 1 token, or None for no limit."
            )
        firsts = self._lists(texts)
        seconds = [None] * len(firsts) if pairs is None else self._lists(pairs)
        if len(firsts) != len(seconds):
            raise VocabularyError(
                f"There are {len(firsts)} texts but {len(seconds)} second texts; give as many."
            )
        return self.template.arrays(firsts, seconds, self.token_id, max_length, self.pad_id)

    def _lists(self, texts: str | Iterable[str]) -> list[list[int]]:
        """`encode_batch` with lists for arrays."""
        return [row.tolist() for row in self.encode_batch(texts)]

    def units(self, text: str) -> Iterable[str]:
        """What is looked up whole, see growing.py; nothing where texts are spelled from parts."""
        return ()

    def encode_words(self, words: Sequence[str]) -> tuple[list[int], list[int]]:
        """The ids of a text that is already split into words, and the word of each token.

        The words are read as a text with a space between them. So a word without a spelling has no
        token, and a space that is a token belongs to the word behind it.
        words : a list of strings
        returns two lists of T numbers

        >>> from tinylm.text import WordPiece
        >>> WordPiece(["[UNK]", "un", "##able"]).encode_words(["unable", "un"])
        ([1, 2, 1], [0, 0, 1])
        """
        words = strings(words, "words")
        text = " ".join(words)
        return self.encode(text), word_of_each_token(words, self.offsets(text))

    def windows(self, text: str, max_length: int, stride: int) -> list[Window]:
        """A text in overlapping windows, for models that read fewer tokens than it has.

        max_length : tokens of a window at most, without those that a template adds
        stride : tokens by which each window begins behind the one before
        returns at least one Window; together they hold every token
        raises VocabularyError  for a stride that would leave tokens out

        >>> from tinylm.text import Chars
        >>> [window.ids for window in Chars("abc").windows("abcab", 3, stride=2)]
        [[3, 4, 5], [5, 3, 4]]
        """
        return windows(self.encode(text), self.offsets(text), max_length, stride)

    # --- ids to text

    @abstractmethod
    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids; raises VocabularyError for an id outside the vocabulary."""

    @abstractmethod
    def _offsets(self, text: str) -> list[tuple[int, int]]:
        """`offsets` of what is surely a text."""

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """For each token of `encode(text)`, the characters text[start:end] that it covers.

        >>> from tinylm.text import Words
        >>> Words(["the", "cat"]).offsets("the  cat!")
        [(0, 3), (5, 8), (8, 9)]
        """
        strings([text], "text")
        return self._offsets(text)

    def word_starts(self, text: str) -> np.ndarray:
        """Whether each token of `encode(text)` begins a word, (T,) bool; spaces divide words.

        >>> from tinylm.text import Chars
        >>> Chars("ab ").word_starts("ab a").tolist()
        [True, False, True, True]
        """
        begins = []
        before = -1  # where the last token began: of a character's bytes only the first begins one
        for start, end in self.offsets(text):
            first = start == 0 or text[start - 1].isspace() or text[start:end][:1].isspace()
            begins.append(first and start > before)
            before = start
        return np.array(begins, bool)

    def _spellings(self, ids: Iterable[int]) -> list[str]:
        """The tokens of ids; raises VocabularyError for an id outside the vocabulary."""
        found = list(whole_numbers(ids))
        for i in (min(found, default=0), max(found, default=0)):
            if not 0 <= i < len(self.vocab):
                last = self.vocab_size - 1
                raise VocabularyError(
                    f"Id {i} does not exist; the vocabulary has the ids 0 to {last}."
                )
        return [self.vocab[i] for i in found]

    # --- the vocabulary

    def _index(self) -> dict[str, int]:
        """Token -> id, built on first use."""
        if "_ids_of" not in self.__dict__:
            self._ids_of = {token: i for i, token in enumerate(self.vocab)}
        return self._ids_of

    def token_id(self, token: str) -> int:
        """The id of one token; raises VocabularyError, naming similar tokens, for an unknown one.

        >>> from tinylm.text import Words
        >>> Words(["walk", "talk"]).token_id("talks")
        Traceback (most recent call last):
            ...
        tinylm.errors.VocabularyError: 'talks' is not one of the 5 tokens of the vocabulary; \
similar tokens are 'talk', 'walk'.
        """
        strings([token], "token")
        found = self._index().get(token)
        if found is not None:
            return found
        raise no_token(token, self.vocab)

    def add_specials(self, names: Iterable[str]) -> None:
        """Append special tokens to the vocabulary, such as the three that GPT-1's fine-tuning adds.

        One with the usual name of a role, such as <pad>, takes it.
        raises VocabularyError  for a name empty, taken or not to be stored; then none is added

        >>> from tinylm.text import Chars
        >>> letters = Chars("ab")
        >>> letters.add_specials(["<start>"])
        >>> letters.vocab
        ['<unk>', '<pad>', '<eos>', 'a', 'b', '<start>']
        """
        names = strings(names, "names")
        for i, name in enumerate(names):
            if not name or name in self._index() or name in names[:i]:
                taken = "is already a token of the vocabulary" if name else "stands between letters"
                raise VocabularyError(f"{name!r} {taken}; choose another name.")
            check_whole([name])
            self._check_names([name])
        for name in names:
            before = self.roles()
            self._append(name)
            self.specials = (*self.specials, name)
            self.added = (*self.added, name)
            self._follow(before)

    def roles(self) -> dict[str, int | None]:
        """pad_id and end_id as the vocabulary's names say, or as all of this kind have them."""
        return {"end_id": type(self).end_id, "pad_id": type(self).pad_id}

    def _follow(self, before: dict[str, int | None]) -> None:
        """Let ids that followed from names follow again; one that was set otherwise stays."""
        for name, i in self.roles().items():
            if getattr(self, name) == before[name]:
                setattr(self, name, i)

    def arrange(self, template: Template) -> None:
        """Use another template than the encoding's own; it is saved and loaded with it.

        raises ArgumentError  for anything else
        """
        if not isinstance(template, Template):
            raise ArgumentError(f"template is {template!r}; expected a Template.")
        self.template = template
        self.arranged = True

    def _append(self, name: str) -> None:
        """Give a new token the next id."""
        self._index()[name] = len(self.vocab)
        self.vocab.append(name)

    def _check_names(self, names: list[str]) -> None:  # noqa: B027  (most files hold any string)
        """Raise VocabularyError for a token that this encoding's files could not store."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.vocab_size} tokens)"

    # --- files

    @abstractmethod
    def _contents(self) -> dict[str, str | bytes]:
        """File name -> content, for save(). The first is the file `text.find` looks for."""

    def check_storable(self) -> None:
        """Raise VocabularyError if `save` would refuse, before anything is written or removed."""
        chosen(self)
        self._contents()

    def save(self, folder: str | Path) -> None:
        """Write the encoding's files into a folder, all or none, in place of one that is there.

        `text.load` recognises an encoding by the first file of `_contents`. That file is removed
        before the others change and returns last, so nobody loads a half-written encoding.

        raises VocabularyError  before anything is written, if load() could not read it back
        """
        by_hand = chosen(self)
        contents = self._contents()
        if self.added:
            contents[ADDED] = as_json({name: self.token_id(name) for name in self.added})
        if by_hand:
            contents[MAP] = as_json(by_hand)
        if self.arranged or self.template != type(self).template:
            contents[FILE] = self.template.written()
        others = (*HEADS, *BESIDE, FILE)
        with files.together(folder, list(contents)[:1], gone=others) as hidden:
            for name, content in contents.items():
                write = files.write_text if isinstance(content, str) else files.write_bytes
                write(hidden / name, content)

    @classmethod
    def load(cls, folder: str | Path) -> Encoding:
        """Read what save() wrote into a folder; raises DataError for a missing or damaged file."""
        encoding = cls._load(Path(folder))
        encoding._restore(Path(folder))
        encoding.follow_settings(Path(folder))
        arrangement = Path(folder) / FILE
        if os.path.exists(arrangement):
            encoding.arrange(Template.read(arrangement))
        return encoding

    @classmethod
    @abstractmethod
    def _load(cls, folder: Path) -> Encoding:
        """`load` without the special tokens that were added."""

    def follow_settings(self, folder: Path) -> None:
        """Use the tokens that a folder's files name for end and padding.   raises DataError"""
        for role, name in named(folder).items():
            setattr(self, role, self._index().get(name, getattr(self, role)))

    def _restore(self, folder: Path) -> None:
        """Add the special tokens that were added before saving; raises DataError."""
        before = self.roles()
        stored = added_tokens(folder, self.vocab_size)
        for name, i in sorted(stored.items(), key=lambda item: item[1]):
            if i == len(self.vocab) and name not in self._index():
                self._append(name)
            elif self._index().get(name) != i:
                raise DataError(
                    f"{str(folder)!r} says that {name!r} has the id {i}, "
                    "but the vocabulary says otherwise."
                )
            self.added = (*self.added, name)
        own = [name for name in self.specials if name not in self.added]
        self.specials = (*own, *self.added)
        self._follow(before)
