"""Encodings: text to ids and back. Bytes, Chars, Words, BPE, WordPiece and Unigram are each a `base.Encoding`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path

from tinylm.errors import DataError, VocabularyError
from tinylm.settings import argument
from tinylm.text.base import ADDED, LIMITS, Encoding, check_numbers
from tinylm.text.bpe import BPE
from tinylm.text.chars import Bytes, Chars
from tinylm.text.elmo import ElmoWords
from tinylm.text.formats import protobuf, tokenizer_json
from tinylm.text.template import Template
from tinylm.text.unigram import NAMES, Unigram
from tinylm.text.wordpiece import WordPiece
from tinylm.text.words import Words

__all__ = [
    "BPE",
    "Bytes",
    "Chars",
    "ElmoWords",
    "Encoding",
    "Template",
    "Unigram",
    "WordPiece",
    "Words",
    "find",
    "learn",
    "load",
    "tokenizer_json",
]

Loader = Callable[[str | Path], Encoding]

# which file tells which encoding; the first that is present decides
_KINDS: tuple[tuple[str, Loader], ...] = (
    ("merges.txt", BPE.load),
    ("vocab.bpe", BPE.load),
    ("vocab.txt", WordPiece.load),
    ("words.json", Words.load),
    ("elmo.json", ElmoWords.load),
    ("chars.json", Chars.load),
    ("bytes.json", Bytes.load),
    (tokenizer_json.NAME, tokenizer_json.load),
)


FILES = sorted(
    {
        *NAMES,
        *(name for name, _ in _KINDS),
        ADDED,
        "vocab.json",
        "encoder.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
    }
)  # all that an encoding may have written into a folder

_LEARNED = {  # kind -> its class, the usual size, and what its `train` is told besides
    "chars": (Chars, None, {}),
    "bytes": (Bytes, None, {}),
    "words": (Words, 20_000, {}),
    "bpe": (BPE, 4096, {"exact": False}),
    "wordpiece": (WordPiece, 4096, {"exact": False}),
    "unigram": (Unigram, 4096, {"exact": False}),
}
KINDS = tuple(_LEARNED)  # encodings that `learn` makes
OPTIONS = {
    "words": {"min_count": int, "lower": bool, "phrases": int, "rules": bool}
}  # more that `learn` takes, by kind


def learn(kind: str, texts: Iterable[str], vocab_size: int | None = None, **options) -> Encoding:
    """Train the encoding that a chapter asks for by name.

    kind : one of KINDS     texts : a single string counts as one text
    vocab_size : tokens at most, a short text gives fewer; None: a usual number
    options : those of the kind in OPTIONS, see its `train`
    raises VocabularyError  for another kind or option, for empty text, or for a vocab_size too small for the kind
    """
    if kind not in _LEARNED:
        raise VocabularyError(f"There is no encoding {kind!r}; it is one of {', '.join(_LEARNED)}.")
    check_options(kind, vocab_size, options)
    encoding, usual, more = _LEARNED[kind]
    return encoding.train(texts, usual if vocab_size is None else vocab_size, **more, **options)


def check_options(kind: str, vocab_size: int | None, options: dict[str, object]) -> None:
    """What `learn` refuses without a look at the texts.

    raises VocabularyError  for an option that the kind does not have; ArgumentError for a value out of its range
    """
    known = OPTIONS.get(kind, {})
    if unknown := sorted(options.keys() - known.keys()):
        raise VocabularyError(
            f"The encoding {kind!r} has no option {unknown[0]!r}; it has {', '.join(known) or 'none'}."
        )
    check_numbers(kind, vocab_size=vocab_size)
    for name, value in options.items():
        argument(kind, name, value, known[name], LIMITS.get(name))


def load(folder: str | Path) -> Encoding:
    """The encoding stored in a folder, of whatever kind; raises DataError if there is none, or it is damaged."""
    loader = find(folder)
    if loader is None:
        known = ", ".join((*NAMES, *(name for name, _ in _KINDS)))
        raise DataError(
            f"{str(folder)!r} holds no encoding; expected a folder with one of {known}."
        )
    return loader(folder)


def find(folder: str | Path) -> Loader | None:
    """What loads the encoding that a folder holds, by its files; None if it holds none."""
    folder = Path(folder)
    model = next((folder / name for name in NAMES if (folder / name).exists()), None)
    if model is None:
        return next((loader for name, loader in _KINDS if (folder / name).exists()), None)
    with contextlib.suppress(DataError):  # a damaged file is for Unigram to refuse
        return BPE.load if protobuf.read(model).kind == protobuf.BPE else Unigram.load
    return Unigram.load
