"""Encodings: text to ids and back. Chars, Words, BPE, WordPiece and Unigram share the interface of `base.Encoding`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tinylm.errors import DataError, VocabularyError
from tinylm.text.base import Encoding
from tinylm.text.bpe import BPE
from tinylm.text.chars import Chars
from tinylm.text.template import Template
from tinylm.text.unigram import NAMES, Unigram
from tinylm.text.wordpiece import WordPiece
from tinylm.text.words import Words

__all__ = ["BPE", "Chars", "Encoding", "Template", "Unigram", "WordPiece", "Words", "find", "learn", "load"]

# which file tells which encoding; the first that is present decides
_KINDS: tuple[tuple[str, type[Encoding]], ...] = (
    ("merges.txt", BPE),
    ("vocab.bpe", BPE),
    ("vocab.txt", WordPiece),
    *((name, Unigram) for name in NAMES),
    ("words.json", Words),
    ("chars.json", Chars),
)


_USUAL_SIZES = {"bpe": 4096, "wordpiece": 4096, "unigram": 4096, "words": 20_000, "chars": None}  # where none is asked for
_EXACT = {"bpe": BPE, "wordpiece": WordPiece, "unigram": Unigram}  # kinds that may be asked for an exact number
OPTIONS = {"words": {"min_count": int, "lower": bool, "phrases": int}}  # more that `learn` takes, by kind


def learn(kind: str, texts: Iterable[str], vocab_size: int | None = None, **options) -> Encoding:
    """Train the encoding that a chapter asks for by name.

    kind : "bpe", "wordpiece", "unigram", "words" or "chars"
    vocab_size : tokens at most, a short text gives fewer; None: a usual number
    options : those of the kind in OPTIONS, see its `train`
    raises VocabularyError  for another kind, for empty text, or for a vocab_size too small for the kind
    """
    if kind not in _USUAL_SIZES:
        raise VocabularyError(f"There is no encoding {kind!r}; it is one of {', '.join(_USUAL_SIZES)}.")
    size = vocab_size or _USUAL_SIZES[kind]
    if kind in _EXACT:
        return _EXACT[kind].train(texts, size, exact=False)
    return (Words if kind == "words" else Chars).train(texts, size, **options)


def load(folder: str | Path) -> Encoding:
    """The encoding stored in a folder, of whatever kind; raises DataError if there is none, or it is damaged."""
    kind = find(folder)
    if kind is None:
        known = ", ".join(name for name, _ in _KINDS)
        raise DataError(f"{str(folder)!r} holds no encoding; expected a folder with one of {known}.")
    return kind.load(folder)


def find(folder: str | Path) -> type[Encoding] | None:
    """The kind of encoding that a folder holds, by its files; None if it holds none."""
    return next((kind for name, kind in _KINDS if (Path(folder) / name).exists()), None)
