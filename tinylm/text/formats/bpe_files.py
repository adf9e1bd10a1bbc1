"""The files of byte-pair vocabularies: vocab.json with merges.txt, or SentencePiece's model.

    vocab.json (GPT-1, GPT-2)         {"t": 0, "h": 1, "th": 2, ...}
    merges.txt                        t h             one merge per line, in order
    tokenizer.model (SentencePiece)   (piece, score, kind) ...

SentencePiece stores no merges: any two pieces that spell a third may be merged, best score first.
vocab.json does not name its spelling, but its tokens tell: all 256 bytes are there (GPT-2), or some
tokens end in </w> (GPT-1).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tinylm.errors import DataError, VocabularyError
from tinylm.files import as_json, lines_read, read_json, read_text

from ..base import BYTE_TOKENS, Encoding
from ..merging import Merge, splits
from ..normalise.normalizing import SPACE, Normalizer
from ..spelling import (
    BYTE_OF,
    BYTES,
    END_OF_WORD,
    SPACED_BYTES,
    ByteLevel,
    EndOfWord,
    Metaspace,
    Spelling,
)
from ..unigram import NAMES
from . import protobuf
from .protobuf import BYTE, CONTROL, NORMAL, UNKNOWN, USER
from .settings import read_settings

HEADER = "#version: 0.2"
OURS = ("vocab.json", "merges.txt")
RELEASED = ("encoder.json", "vocab.bpe")  # the same two as OpenAI named them

# The arguments of BPE: vocab, merges, specials, spelling, ranks.
Parts = tuple[list[str], list[Merge], tuple[str, ...], Spelling, list[int] | None]


# --- writing


def contents(encoding: Encoding) -> dict[str, str | bytes]:
    """File name -> content, for a BPE; raises VocabularyError if the files cannot store it."""
    spelling = encoding.spelling
    if isinstance(spelling, Metaspace):
        return {spelling.files[0]: protobuf.write(_model(encoding, spelling))}
    _check_specials(encoding)
    ids = {token: i for i, token in enumerate(encoding.vocab)}
    return {
        "merges.txt": _merges_text(encoding.merges),
        "tokenizer_config.json": as_json(_settings(encoding), indent=1) + "\n",
        "vocab.json": as_json(ids),
    }


def _settings(encoding: Encoding) -> dict[str, Any]:
    """The content of tokenizer_config.json, from which transformers picks its class."""
    spelling = encoding.spelling
    is_gpt2 = isinstance(spelling, ByteLevel)
    end = None if encoding.end_id is None else encoding.vocab[encoding.end_id]
    settings = {
        "tokenizer_class": "GPT2Tokenizer" if is_gpt2 else "OpenAIGPTTokenizer",
        "bos_token": end,
        "eos_token": end,
        "unk_token": spelling.unknown or end,
    }
    if is_gpt2:
        settings["add_prefix_space"] = spelling.prefix
    return {name: value for name, value in settings.items() if value is not None}


def _merges_text(merges: Iterable[Merge]) -> str:
    """The content of merges.txt."""
    lines = [f"{first} {second}" for first, second in merges]
    return "\n".join([HEADER, *lines]) + "\n"


def check_merges(merges: list[Merge]) -> None:
    """Raise VocabularyError for a merge that merges.txt cannot store as one "first second" line.

    >>> check_merges([("t", "h"), ("a b", "c")])
    Traceback (most recent call last):
        ...
    tinylm.errors.VocabularyError: merges.txt cannot hold the merge ('a b', 'c'): one line, \
one space between two tokens.
    """
    if _read_back(merges) == merges:
        return
    wrong = next(merge for merge in merges if _read_back([merge]) != [merge])
    raise VocabularyError(
        f"merges.txt cannot hold the merge {wrong!r}: one line, one space between two tokens."
    )


def _read_back(merges: list[Merge]) -> list[Merge]:
    """The merges that a reader of our merges.txt would find."""
    return list(_merges_of(lines_read(_merges_text(merges))))


def _check_specials(encoding: Encoding) -> None:
    """Raise VocabularyError if a reader of vocab.json could not tell which tokens are special."""
    _, _, specials, _, _ = of_merges(encoding.vocab, encoding.merges, Path("vocab.json"))
    wrong = set(encoding.specials) - {*specials, *encoding.added}
    if wrong:
        raise VocabularyError(
            f"vocab.json cannot say that {min(wrong)!r} is a special token; choose another name, "
            "or keep the tokenizer.json that says so."
        )


def _model(encoding: Encoding, spelling: Metaspace) -> protobuf.Model:
    """A SentencePiece model. The score of a merged piece is −rank; units have lower scores."""
    ranks = {}
    for rank, (first, second) in zip(encoding.ranks, encoding.merges, strict=True):
        ranks[first + second] = rank
    kinds = dict.fromkeys(encoding.specials, CONTROL)
    kinds[spelling.unknown] = UNKNOWN
    kinds |= dict.fromkeys(spelling.symbols, USER)
    if spelling.byte_fallback:
        kinds |= dict.fromkeys(BYTE_TOKENS, BYTE)
    pieces = []
    for i, token in enumerate(encoding.vocab):
        kind = kinds.get(token, NORMAL)
        rank = ranks.get(token, len(encoding.vocab) + i)
        score = -float(rank) if kind == NORMAL else 0.0
        pieces.append((token, score, kind))
    normalizer = spelling.normalizer
    return protobuf.Model(
        pieces,
        protobuf.BPE,
        charsmap=normalizer.charsmap,
        prefix=normalizer.prefix,
        collapse=normalizer.collapse,
    )


# --- reading


def read(folder: Path) -> Parts:
    """The arguments of BPE from a folder's files; raises DataError for a missing or damaged one."""
    if not any(os.path.exists(folder / name) for name in (*OURS, *RELEASED)):
        models = [folder / name for name in NAMES if os.path.exists(folder / name)]
        return _of_model(models[0] if models else folder / "vocab.json")
    released = os.path.exists(folder / "encoder.json") and not os.path.exists(folder / "vocab.json")
    vocab_name, merges_name = RELEASED if released else OURS
    vocab = _read_vocab(folder / vocab_name)
    merges = _read_merges(folder / merges_name, set(vocab))
    prefix = read_settings(folder).get("add_prefix_space") is True
    return of_merges(vocab, merges, folder / vocab_name, prefix)


def of_merges(
    vocab: list[str], merges: list[Merge], path: str | Path, prefix: bool = False
) -> Parts:
    """The arguments of BPE from a vocabulary and its merges, of GPT-2's kind or GPT-1's.

    A token is special if no merge makes it and it is no unit.

    path : the file, for messages     prefix : of GPT-2's spelling, see ByteLevel
    raises DataError        if the vocabulary is of neither kind
    """
    units = set(BYTE_OF)
    known = set(vocab)
    made = {first + second for first, second in merges}
    if units <= known:
        strange = [token for token in vocab if token in made and not units.issuperset(token)]
        if strange:
            raise DataError(
                f"{str(path)!r} makes {strange[0]!r} of something that is no byte; the file is "
                "damaged."
            )
        ordinary = units | made
        specials = tuple(token for token in vocab if token not in ordinary)
        return vocab, merges, specials, SPACED_BYTES if prefix else BYTES, None
    if not any(token.endswith(END_OF_WORD) for token in vocab):
        lacking = len(units - known)
        raise DataError(
            f"{str(path)!r} lacks {lacking} of the 256 bytes and has no token that ends in "
            f"{END_OF_WORD}: it is no vocabulary as GPT-2's or GPT-1's."
        )
    if EndOfWord.unknown not in known:
        raise DataError(
            f"{str(path)!r} lacks {EndOfWord.unknown!r}, the token of unknown characters; "
            "the file is damaged."
        )
    not_made = [token for token in vocab if token not in made]
    specials = tuple(token for token in not_made if len(token.removesuffix(END_OF_WORD)) > 1)
    return vocab, merges, specials, EndOfWord(), None


def _of_model(path: Path) -> Parts:
    """The arguments of BPE from SentencePiece's file."""
    if path.suffix != ".model":
        raise DataError(
            f"There is no file {str(path)!r}; "
            "give a folder with the files of a byte-pair vocabulary."
        )
    model = protobuf.read(path)
    kinds = {text: kind for text, _, kind in model.pieces}
    _check_model(model, kinds, path)
    scores = {text: score for text, score, kind in model.pieces if kind == NORMAL}
    symbols = [text for text, kind in kinds.items() if kind == USER]
    crossing = any(SPACE in text[1:] for text in (*scores, *symbols))
    normalizer = Normalizer(model.charsmap, model.prefix, model.collapse)
    spelling = Metaspace(normalizer, BYTE in kinds.values(), symbols, crossing)
    if spelling.byte_fallback and not set(BYTE_TOKENS) <= set(kinds):
        raise DataError(
            f"{str(path)!r} holds some bytes, but not all 256 of them; the file is damaged."
        )
    merges, ranks = splits(scores)
    specials = tuple(text for text, kind in kinds.items() if kind in (UNKNOWN, CONTROL))
    return list(kinds), merges, specials, spelling, ranks


def _check_model(model: protobuf.Model, kinds: dict[str, int], path: Path) -> None:
    """Raise DataError for a model that is not of byte pairs or that BPE cannot follow exactly."""
    all_in_use = set(kinds.values()) <= {NORMAL, UNKNOWN, CONTROL, USER, BYTE}
    if model.kind != protobuf.BPE or model.suffix or not all_in_use:
        raise DataError(
            f"{str(path)!r} is not a byte-pair model with the space in front and pieces "
            "that are all in use."
        )
    different = len(kinds) == len(model.pieces)
    if not different or kinds.get(Metaspace.unknown) != UNKNOWN:
        raise DataError(
            f"{str(path)!r} must hold different pieces, {Metaspace.unknown!r} as the unknown one "
            "among them."
        )


def _read_vocab(path: Path) -> list[str]:
    """The tokens of a {token: id} file by id; raises DataError unless ids are 0, 1, 2, …"""
    stored = read_json(path)
    wanted = sorted(map(str, range(len(stored)))) if isinstance(stored, dict) else None
    if wanted is None or sorted(map(str, stored.values())) != wanted:
        raise DataError(
            f"{str(path)!r} must map each token to an id 0, 1, 2, … without gaps; "
            "the file is damaged."
        )
    return sorted(stored, key=lambda token: int(stored[token]))


def _read_merges(path: Path, vocab: set[str]) -> list[Merge]:
    """The merges of merges.txt; raises DataError for one that joins or makes an unknown token."""
    merges = list(_merges_of(read_text(path).split("\n")))
    for first, second in merges:
        if not {first, second, first + second} <= vocab:
            raise DataError(
                f"{str(path)!r}: the line '{first} {second}' joins tokens "
                "that the vocabulary does not hold."
            )
    return merges


def _merges_of(lines: list[str]) -> Iterator[Merge]:
    """The merges in the lines of merges.txt.

    >>> list(_merges_of(["#version: 0.2", "t h", "th e", ""]))
    [('t', 'h'), ('th', 'e')]
    """
    for number, line in enumerate(lines):
        is_header = number == 0 and line.startswith("#version")
        if line and not is_header:
            first, _, second = line.partition(" ")
            yield first, second
