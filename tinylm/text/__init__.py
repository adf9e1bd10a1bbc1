"""Encodings: text to ids and back.

    Bytes, Chars            the smallest vocabularies     chars.py
    Words, ElmoWords        the largest                   words.py, elmo.py
    BPE, WordPiece, Unigram parts of words, learned       bpe.py, wordpiece.py, unigram.py

Each is a `base.Encoding`. `learn` trains one by name, `load` reads one from a folder.

>>> encoding = learn("words", ["the cat", "the dog"])
>>> encoding.encode("the dog")
[3, 5]
>>> encoding.decode([3, 4])
'the cat'
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tinylm.arguments import strings
from tinylm.errors import DataError, VocabularyError
from tinylm.settings import argument

from .base import Encoding
from .bpe import BPE
from .chars import Bytes, Chars
from .checks import LIMITS, check_numbers
from .cutting import Window
from .elmo import ElmoWords
from .formats import protobuf, tokenizer_json
from .formats.settings import BESIDE, HEADS
from .growing import grow
from .template import FILE, Template
from .unigram import NAMES, Unigram
from .wordpiece import WordPiece
from .words import Words

__all__ = [
    "BPE",
    "Bytes",
    "Chars",
    "ElmoWords",
    "Encoding",
    "Template",
    "Unigram",
    "Window",
    "WordPiece",
    "Words",
    "find",
    "grow",
    "kind_of",
    "learn",
    "load",
    "tokenizer_json",
]

Loader = Callable[[str | Path], Encoding]

# The file by which an encoding is recognised, and its loader; the first file present decides.
_LOADERS: dict[str, Loader] = {
    "merges.txt": BPE.load,
    "vocab.bpe": BPE.load,
    "vocab.txt": WordPiece.load,
    "words.json": Words.load,
    "elmo.json": ElmoWords.load,
    "chars.json": Chars.load,
    "bytes.json": Bytes.load,
    tokenizer_json.NAME: tokenizer_json.load,
}
FILES = sorted({*HEADS, *BESIDE, FILE})  # all that an encoding may have written into a folder

# The encodings that `learn` makes, with the number of tokens it asks for unless told otherwise.
_CLASSES: dict[str, Any] = {
    "chars": Chars,
    "bytes": Bytes,
    "words": Words,
    "elmo": ElmoWords,
    "bpe": BPE,
    "wordpiece": WordPiece,
    "unigram": Unigram,
}
_USUAL_SIZES = {
    "chars": None,
    "bytes": None,
    "words": 20_000,
    "elmo": 20_000,
    "bpe": 4096,
    "wordpiece": 4096,
    "unigram": 4096,
}
KINDS = tuple(_CLASSES)
GROWING = ("chars", "words", "elmo")  # the kinds that `grow` can give more tokens
_MAY_GIVE_FEWER = ("bpe", "wordpiece", "unigram")  # `train(exact=False)` accepts a short text

# Further options of `learn`, by kind: name -> type.
OPTIONS: dict[str, dict[str, type]] = {
    "words": {"min_count": int, "lower": bool, "phrases": int, "rules": bool},
    "elmo": {"min_count": int, "lower": bool},
}


def learn(
    kind: str,
    texts: Iterable[str],
    vocab_size: int | None = None,
    controls: Iterable[str] = (),
    **options: Any,
) -> Encoding:
    """Train an encoding by the name of its kind.

    kind : one of KINDS
    texts : a single string counts as one text
    vocab_size : at most this many tokens, a short text gives fewer (None: a usual number); controls
        that are appended come on top
    controls : names of special tokens that a model needs; a unigram vocabulary begins with them,
        as the published ones do, any other ends with those that it lacks
    options : those in OPTIONS for this kind, see its `train`
    raises VocabularyError  for another kind or option, for empty text, or for a vocab_size too
        small for the kind

    >>> learn("words", ["the cat", "the dog"], min_count=2).vocab
    ['<unk>', '<pad>', '<eos>', 'the']
    >>> learn("letters", ["the cat"])
    Traceback (most recent call last):
        ...
    tinylm.errors.VocabularyError: There is no encoding 'letters'; it is one of chars, bytes, \
words, elmo, bpe, wordpiece, unigram.
    """
    if kind not in _CLASSES:
        known = ", ".join(_CLASSES)
        raise VocabularyError(f"There is no encoding {kind!r}; it is one of {known}.")
    check_options(kind, vocab_size, options)
    if vocab_size is None:
        vocab_size = _USUAL_SIZES[kind]
    if kind in _MAY_GIVE_FEWER:
        options["exact"] = False
    controls = strings(controls, "controls")
    if kind == "unigram":
        options["controls"] = controls
    encoding = _CLASSES[kind].train(texts, vocab_size, **options)
    encoding.add_specials(name for name in controls if name not in encoding.specials)
    return encoding


def check_options(kind: str, vocab_size: int | None, options: dict[str, Any]) -> None:
    """Check what `learn` can check without reading the texts.

    raises VocabularyError  for an option that the kind does not have
    raises ArgumentError    for a value of the wrong type or out of its range
    """
    known = OPTIONS.get(kind, {})
    unknown = sorted(options.keys() - known.keys())
    if unknown:
        names = ", ".join(known) or "none"
        raise VocabularyError(
            f"The encoding {kind!r} has no option {unknown[0]!r}; it has {names}."
        )
    check_numbers(kind, vocab_size=vocab_size)
    for name, value in options.items():
        argument(kind, name, value, known[name], LIMITS.get(name))


def kind_of(encoding: Encoding) -> str | None:
    """The name of an encoding's kind, one of KINDS; None for one that `learn` does not make.

    >>> kind_of(Chars("abc"))
    'chars'
    """
    for name, encoding_class in _CLASSES.items():
        if type(encoding) is encoding_class:
            return name
    return None


def load(folder: str | Path) -> Encoding:
    """Load the encoding in a folder, of any kind; raises DataError for none or a damaged one.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Chars("abc").save(folder)
    ...     load(folder)
    Chars(6 tokens)
    """
    loader = find(folder)
    if loader is None:
        known = ", ".join(HEADS)
        raise DataError(
            f"{str(folder)!r} holds no encoding; expected a folder with one of {known}."
        )
    return loader(folder)


def find(folder: str | Path) -> Loader | None:
    """The loader for the encoding in a folder, chosen by the files there; None if it holds none."""
    folder = Path(folder)
    for name in NAMES:
        if os.path.exists(folder / name):
            loader = _sentencepiece_loader(folder / name)
            whole = os.path.exists(folder / tokenizer_json.NAME)
            # A Unigram model says nothing of the steps before it, nor of the template.
            return tokenizer_json.load if whole and loader == Unigram.load else loader
    for name, loader in _LOADERS.items():
        if os.path.exists(folder / name):
            return loader
    return None


def _sentencepiece_loader(path: Path) -> Loader:
    """BPE's or Unigram's loader, as a SentencePiece model says."""
    with contextlib.suppress(DataError):  # Unigram.load will report a damaged file
        if protobuf.read(path).kind == protobuf.BPE:
            return BPE.load
    return Unigram.load
