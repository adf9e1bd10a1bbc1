"""Encodings: text to ids and back. `Chars`, `Words` and `BPE` share the interface of `base.Encoding`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tinylm.errors import DataError, VocabularyError
from tinylm.text.base import Encoding
from tinylm.text.bpe import BPE
from tinylm.text.chars import Chars
from tinylm.text.words import Words

__all__ = ["BPE", "Chars", "Encoding", "Words", "learn", "load"]

# which file tells which encoding; the first that is present decides
_KINDS: tuple[tuple[str, type[Encoding]], ...] = (
    ("merges.txt", BPE),
    ("vocab.bpe", BPE),
    ("words.json", Words),
    ("chars.json", Chars),
)


def learn(kind: str, texts: Iterable[str], vocab_size: int) -> Encoding:
    """Train the encoding that a chapter asks for by name, with at most `vocab_size` tokens.

    kind : "bpe", "words" or "chars"
    raises VocabularyError  for another kind, for empty text, or for a vocab_size too small for the kind
    """
    if kind == "bpe":
        return BPE.train(texts, vocab_size, exact=False)
    if kind in ("words", "chars"):
        return (Words if kind == "words" else Chars).train(texts, vocab_size)
    raise VocabularyError(f"There is no encoding {kind!r}; it is one of bpe, words, chars.")


def load(folder: str | Path) -> Encoding:
    """The encoding stored in a folder, of whatever kind; raises DataError if there is none."""
    for name, kind in _KINDS:
        if (Path(folder) / name).exists():
            return kind.load(folder)
    known = ", ".join(name for name, _ in _KINDS)
    raise DataError(f"{str(folder)!r} holds no encoding; expected a folder with one of {known}.")
