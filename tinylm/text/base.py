"""What every encoding can do: text -> ids -> text. Each file beside this one is one way to choose the units.

An encoding is a list of tokens, `vocab`; the id of a token is its place in that list. Special tokens (end of text,
padding, unknown) have ids but no spelling: text that happens to contain their names is ordinary text.
"""

from __future__ import annotations

import contextlib
import difflib
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import filterfalse, pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from tinylm import files
from tinylm.arguments import strings
from tinylm.data.batching import pad
from tinylm.errors import DataError, VocabularyError
from tinylm.settings import argument, at_least, between
from tinylm.text.template import Template

BYTE_TOKENS = {f"<0x{byte:02X}>": bytes([byte]) for byte in range(256)}  # a byte as a token
ADDED = "added_tokens.json"  # beside the files of any encoding, as transformers has it
CACHE_WORDS, CACHE_LENGTH = 1 << 20, 64  # remember at most so many words, none longer than this
AT_ONCE = 1 << 18  # characters that are encoded by one call


class Encoding(ABC):
    """Base of all encodings; a subclass says how text is cut (`_encode`, `offsets`) and how ids become text (`decode`).

    vocab : list[str]       tokens by id
    specials : tuple[str]   names of the tokens that no text produces; added : those that came by add_specials
    template : Template     how texts and pairs of texts become a model's input when the encoding is called
    unk_id, pad_id, end_id  their ids; unk_id and end_id are None where the encoding has none
    """

    files: ClassVar[tuple[str, ...]] = ()  # what save() writes and load() needs

    vocab: list[str]
    specials: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    unk_id: int | None = None
    pad_id: int = 0
    end_id: int | None = None
    template: Template = Template()
    spelling: Any = None  # how BPE writes tokens, see spelling.py
    pieces: Sequence[Any] = ()  # of SentencePiece's encodings: (text, score, kind)

    @property
    def vocab_size(self) -> int:
        """V, the number of tokens, specials included."""
        return len(self.vocab)

    @property
    def special_ids(self) -> tuple[int, ...]:
        """The ids of the special tokens."""
        return tuple(self._index()[name] for name in self.specials if name in self._index())

    @abstractmethod
    def _encode(self, texts: list[str]) -> Sequence[list[int] | np.ndarray]:
        """The ids of each text, in which no name means a special token."""

    def encode(self, text: str, special: str | Collection[str] = "none") -> list[int]:
        """The ids of one text.

        special : what the names of special tokens mean where they stand in the text: "none" ordinary text, "all"
            the tokens, "raise" a VocabularyError ("none_raise" is the same), or the set of names that mean their tokens
        """
        if special == "none" or not self.specials:
            return list(map(int, self._encode([text])[0]))
        refuse = special in ("raise", "none_raise")
        if special == "all":
            allowed = set(self.specials)
        else:
            allowed = set() if refuse else set(strings(special, "special"))
        found = [name for name in self.specials if name in text and name not in allowed]
        if refuse and found:
            raise VocabularyError(
                f"The text contains the special token {found[0]!r}; remove it or allow it by name."
            )
        if unknown := allowed - set(self.specials):
            raise VocabularyError(
                f"{min(unknown)!r} is not a special token; there are {', '.join(self.specials)}."
            )
        names = sorted(
            allowed, key=len, reverse=True
        )  # the longest name wins where one begins another
        parts = re.split(f"({'|'.join(map(re.escape, names))})", text) if names else [text]
        rows = self._encode(parts[::2])  # every other part is a name
        ids = list(map(int, rows[0]))
        for name, row in zip(parts[1::2], rows[1:], strict=True):
            ids += [self._index()[name], *map(int, row)]
        return ids

    @abstractmethod
    def decode(self, ids: Iterable[int]) -> str:
        """The text that ids stand for; raises VocabularyError for an id outside the vocabulary."""

    @abstractmethod
    def offsets(self, text: str) -> list[tuple[int, int]]:
        """For each token of `encode(text)`, the characters text[start:end] that it covers."""

    def encode_batch(self, texts: Iterable[str]) -> list[np.ndarray]:
        """The ids of each text as (T,) int32 arrays; what many texts have in common is worked out once.

        texts : the texts; a single string counts as one text
        """
        rows = (row for portion in _portions(as_texts(texts)) for row in self._encode(portion))
        return [
            row if isinstance(row, np.ndarray) else np.fromiter(row, np.int32, len(row))
            for row in rows
        ]

    def tokens(self, text: str) -> list[str]:
        """The tokens of a text as they stand in the vocabulary."""
        return [self.vocab[i] for i in self.encode(text)]

    def token_id(self, token: str) -> int:
        """The id of one token; raises VocabularyError, with similar tokens named, if it is not in the vocabulary."""
        found = self._index().get(token)
        if found is None:
            near = difflib.get_close_matches(token, self.vocab[:20000], n=3)
            hint = (
                f"similar tokens are {', '.join(map(repr, near))}"
                if near
                else "no token is similar"
            )
            raise VocabularyError(
                f"{token!r} is not one of the {self.vocab_size} tokens of the vocabulary; {hint}."
            )
        return found

    def add_specials(self, names: Iterable[str]) -> None:
        """Append special tokens to the vocabulary, such as the three that GPT-1 is fine-tuned with.

        raises VocabularyError  for a name that is taken, or that the encoding's files could not give back
        """
        for name in strings(names, "names"):
            if name in self._index():
                raise VocabularyError(
                    f"{name!r} is already a token of the vocabulary; choose another name."
                )
            check_whole([name])
            self._check_names([name])
            self._index()[name] = len(self.vocab)
            self.vocab.append(name)
            self.specials, self.added = (*self.specials, name), (*self.added, name)

    def __call__(
        self,
        texts: str | Sequence[str],
        pairs: str | Sequence[str] | None = None,
        max_length: int | None = None,
    ) -> dict[str, np.ndarray]:
        """Texts as the keywords that a model's `encode` takes: `model.encode(**tokenizer(texts))`.

        texts : the texts; a single string counts as one text
        pairs : the second text of each input (None: there is none)
        max_length : inputs are cut to this many tokens, special ones included (None: the longest decides)
        returns {"ids": (B, T) int64, "mask": (B, T) bool, True = a real token}, padded on the side that the template
        says, and where it has types, "token_types": (B, T) int64
        """
        if max_length is not None and max_length < 1:
            raise VocabularyError(
                f"max_length is {max_length}; give at least 1 token, or None for no limit."
            )
        first = [row.tolist() for row in self.encode_batch(texts)]
        second = (
            [None] * len(first)
            if pairs is None
            else [row.tolist() for row in self.encode_batch(pairs)]
        )
        if len(first) != len(second):
            raise VocabularyError(
                f"There are {len(first)} texts but {len(second)} second texts; give as many."
            )
        made = [
            self.template.assemble(a, b, self.token_id, max_length)
            for a, b in zip(first, second, strict=True)
        ]
        ids, mask = pad([row for row, _ in made], self.pad_id, left=self.template.pad_left)
        keywords = {"ids": ids, "mask": mask}
        if self.template.typed:
            types, _ = pad(
                [row for _, row in made], self.template.pad_type, left=self.template.pad_left
            )
            keywords["token_types"] = types
        return keywords

    @classmethod
    def load(cls, folder: str | Path) -> Encoding:
        """The encoding that save() wrote into a folder; raises DataError for a missing or damaged file."""
        encoding = cls._load(Path(folder))
        encoding._restore(Path(folder) / ADDED)
        return encoding

    @classmethod
    @abstractmethod
    def _load(cls, folder: Path) -> Encoding:
        """`load` without the special tokens that were added."""

    def _restore(self, path: Path) -> None:
        """The special tokens that were added before the encoding was saved.   raises DataError"""
        stored = files.read_json(path) if path.exists() else {}
        if not isinstance(stored, dict) or not all(isinstance(i, int) for i in stored.values()):
            raise DataError(f"{str(path)!r} must map tokens to ids; the file is damaged.")
        for name, i in sorted(stored.items(), key=lambda item: item[1]):
            if i == len(self.vocab) and name not in self._index():
                self.vocab.append(name)
                self._index()[name] = i
            elif self._index().get(name) != i:
                raise DataError(
                    f"{str(path)!r} says that {name!r} has the id {i}, but the vocabulary says otherwise."
                )
            self.specials, self.added = (
                tuple(dict.fromkeys((*self.specials, name))),
                (*self.added, name),
            )

    def check_storable(self) -> None:
        """Raise VocabularyError if `save` would refuse, before anything is written or removed."""
        self._contents()

    def save(self, folder: str | Path) -> None:
        """Write the encoding's files into a folder, all of them or none; other files in it stay.

        The first of `_contents` tells the encoding to `text.load`, so it is gone while the others change.
        raises VocabularyError  before anything is written, if they could not give the encoding back
        """
        contents = self._contents()
        heads = list(contents)[:1]
        if self.added:
            contents[ADDED] = as_json({name: self.token_id(name) for name in self.added})
        with files.together(folder, heads, gone=(ADDED,)) as hidden:
            for name, content in contents.items():
                write = files.write_text if isinstance(content, str) else files.write_bytes
                write(hidden / name, content)

    @abstractmethod
    def _contents(self) -> dict[str, str | bytes]:
        """File name -> file content, for save(); first the file by which `text.find` knows the encoding."""

    def _check_names(self, names: list[str]) -> None:  # noqa: B027  (most files hold any string)
        """Raise VocabularyError for a token that the files of this encoding could not give back."""

    def _index(self) -> dict[str, int]:
        """Token -> id, built on first use."""
        if "_ids_of" not in self.__dict__:
            self._ids_of = {token: i for i, token in enumerate(self.vocab)}
        return self._ids_of

    def _spellings(self, ids: Iterable[int]) -> list[str]:
        """The vocabulary's entries for ids; raises VocabularyError for an id that does not exist."""
        found = []
        for i in ids:
            if not 0 <= i < len(self.vocab):
                raise VocabularyError(
                    f"Id {int(i)} does not exist; the vocabulary has the ids 0 to {self.vocab_size - 1}."
                )
            found.append(self.vocab[i])
        return found

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.vocab_size} tokens)"


class Remembered(dict[str, Any]):
    """Word -> what `find` finds for each of a list of words. Bounded: long words and an overfull table are forgotten."""

    def __init__(self, find: Callable[[list[str]], Sequence[Any]]):
        super().__init__()
        self.find = find

    def learn(self, words: Iterable[str]) -> None:
        """Find at once what will be asked for; without it each word is found when it is first asked for."""
        words = list(words)
        new = [
            word
            for word in dict.fromkeys(filterfalse(self.__contains__, words))
            if len(word) <= CACHE_LENGTH
        ]
        if len(self) + len(new) > CACHE_WORDS:
            self.clear()
            new = [word for word in dict.fromkeys(words) if len(word) <= CACHE_LENGTH][:CACHE_WORDS]
        if new:
            self.update(zip(new, self.find(new), strict=True))

    def __missing__(self, word: str) -> Any:
        found = self.find([word])[0]
        if len(word) <= CACHE_LENGTH:
            if len(self) >= CACHE_WORDS:
                self.clear()
            self[word] = found
        return found


def shared(values: Any, places: np.ndarray, sizes: list[int]) -> list[Any]:
    """Values that stand at these places (rising) of texts written one after another, sizes[i] long: those of each text."""
    edges = np.searchsorted(places, np.cumsum([0, *sizes])).tolist()
    return [values[begin:end] for begin, end in pairwise(edges)]


def _portions(texts: Iterable[str]) -> Iterator[list[str]]:
    """The texts, as many at once as have AT_ONCE characters together."""
    portion: list[str] = []
    size = 0
    for text in texts:
        portion.append(text)
        size += len(text)
        if size > AT_ONCE:
            yield portion
            portion, size = [], 0
    yield portion


def as_texts(texts: str | Iterable[str]) -> Iterable[str]:
    """A single text counts as a list of one (a string iterated by mistake would give its characters)."""
    return [texts] if isinstance(texts, str) else texts


def decoded(parts: Iterable[bytes]) -> str:
    """UTF-8 bytes as text: lone surrogates as they came, whatever else is no UTF-8 as U+FFFD."""
    raw = b"".join(parts)
    try:
        return raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return raw.decode("utf-8", "replace")


def as_json(value: dict[str, Any]) -> str:
    """JSON as our own vocabularies are stored: UTF-8, readable, the same bytes for the same value."""
    return files.as_json(value, indent=1) + "\n"


def check_different(tokens: Sequence[str]) -> None:
    """Raise VocabularyError if a token stands twice: a file would give one of the two back."""
    if len(set(tokens)) < len(tokens):
        (twice, _), *_ = Counter(tokens).most_common(1)
        raise VocabularyError(
            f"The token {twice!r} stands twice in the vocabulary; give each token a name of its own."
        )


def check_whole(tokens: Sequence[str]) -> None:
    """Raise VocabularyError for tokens that a JSON file could not give back: see `files.as_json`, `files.read_json`."""
    if halves := files.HALVES.search("\n".join(tokens)):
        raise VocabularyError(
            f"A token holds a character in two halves, {halves.group()!a}, which no JSON file can "
            "hold; join them or remove them."
        )
    most = 6 * sum(map(len, tokens)) + 8 * len(tokens)  # bytes, if every character is escaped
    if most > files.LARGEST_JSON:
        size = len(files.as_json(list(tokens), indent=2).encode())
        if size > files.LARGEST_JSON:
            longest = max(tokens, key=len)
            raise VocabularyError(
                f"The vocabulary takes {size:,} bytes, a file of it may have "
                f"{files.LARGEST_JSON:,}; its longest token has {len(longest):,} characters "
                f"({longest[:20]!r}…): raise min_count, lower vocab_size, or clean the text."
            )


@contextlib.contextmanager
def damaged(path: Path) -> Iterator[None]:
    """What an encoding refuses while it is made of a file, as a DataError that names the file."""
    try:
        yield
    except VocabularyError as error:
        raise DataError(f"{str(path)!r} is damaged: {error}") from None


def read_vocabulary(path: Path, kind: str) -> dict[str, Any]:
    """One of our own vocabulary files, checked: an object with this "type" and a "vocab" of distinct strings."""
    value = files.read_json(path)
    if not isinstance(value, dict) or value.get("type") != kind:
        raise DataError(
            f"{str(path)!r} is not a vocabulary of type {kind!r}; the file is damaged or of another kind."
        )
    vocab = value.get("vocab")
    if (
        not isinstance(vocab, list)
        or not all(isinstance(v, str) for v in vocab)
        or len(set(vocab)) != len(vocab)
    ):
        raise DataError(
            f'{str(path)!r} must hold a list "vocab" of different strings; the file is damaged.'
        )
    return value


LIMITS = {
    "vocab_size": at_least(1, 2**31 - 1),
    "min_count": at_least(1, 2**31 - 1),
    "phrases": between(0, 20),
}  # of the numbers that `train` takes, whatever the encoding


def check_numbers(where: str, **given: int | None) -> None:
    """Hold numbers that `train` takes to LIMITS; None stands for no number.

    raises ArgumentError  naming the encoding, the number and what was expected
    """
    for name, value in given.items():
        argument(where, name, value, int | None, LIMITS[name])


def check_vocab_size(vocab_size: int | None, least: int, why: str) -> None:
    """Raise VocabularyError if a wanted vocabulary cannot even hold what the encoding always needs."""
    if vocab_size is not None and vocab_size < least:
        raise VocabularyError(
            f"vocab_size is {vocab_size}, but {why} need at least {least}; ask for {least} or more."
        )
