"""The files of byte-pair vocabularies: vocab.json + merges.txt (GPT-1, GPT-2), and SentencePiece's model.

    vocab.json     {"t": 0, "h": 1, "th": 2, ...}        merges.txt      t h          one merge per line, in order
    tokenizer.model  (piece, score, kind) ...            a merge = any two pieces that spell a third, the best score first

Which spelling vocab.json is in, the tokens tell: all 256 bytes (GPT-2), or tokens that end in </w> (GPT-1).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tinylm.errors import DataError, VocabularyError
from tinylm.files import as_json, lines_read, read_json, read_text
from tinylm.text.base import BYTE_TOKENS, Encoding
from tinylm.text.formats import protobuf
from tinylm.text.formats.protobuf import BYTE, CONTROL, NORMAL, UNKNOWN, USER
from tinylm.text.merging import Merge, splits
from tinylm.text.normalise.normalizing import SPACE, Normalizer
from tinylm.text.spelling import (
    BYTE_OF,
    BYTES,
    END_OF_WORD,
    ByteLevel,
    EndOfWord,
    Metaspace,
    Spelling,
)
from tinylm.text.unigram import NAMES

HEADER = "#version: 0.2"
Parts = tuple[
    list[str], list[Merge], tuple[str, ...], Spelling, list[int] | None
]  # what BPE is made of


def contents(encoding: Encoding) -> dict[str, str | bytes]:
    """File name -> content, of a BPE."""
    spelling = encoding.spelling
    if isinstance(spelling, Metaspace):
        return {spelling.files[0]: protobuf.write(_model(encoding, spelling))}
    end = None if encoding.end_id is None else encoding.vocab[encoding.end_id]
    name = "GPT2" if isinstance(spelling, ByteLevel) else "OpenAIGPT"
    settings = {"tokenizer_class": f"{name}Tokenizer", "bos_token": end, "eos_token": end,
                "unk_token": spelling.unknown or end}  # fmt: skip
    if isinstance(spelling, ByteLevel):
        settings["add_prefix_space"] = False
    _check_specials(encoding)
    known = {k: v for k, v in settings.items() if v is not None}
    return {
        "merges.txt": _merges_text(encoding.merges),
        "tokenizer_config.json": as_json(known, indent=1) + "\n",
        "vocab.json": as_json({token: i for i, token in enumerate(encoding.vocab)}),
    }


def _merges_text(merges: list[Merge]) -> str:
    return "\n".join([HEADER, *(f"{a} {b}" for a, b in merges)]) + "\n"


def check_merges(merges: list[Merge]) -> None:
    """Raise VocabularyError if merges.txt, one "first second" per line, could not give a merge back."""
    if list(_merges_of(lines_read(_merges_text(merges)))) == merges:
        return
    wrong = next(m for m in merges if list(_merges_of(lines_read(_merges_text([m])))) != [m])
    raise VocabularyError(
        f"merges.txt cannot hold the merge {wrong!r}: one line, one space between two tokens."
    )


def _check_specials(encoding: Encoding) -> None:
    """Raise VocabularyError if vocab.json would not tell which tokens are special."""
    read = of_merges(encoding.vocab, encoding.merges, Path("vocab.json"))[2]
    if wrong := set(encoding.specials) - {*read, *encoding.added}:
        raise VocabularyError(
            f"vocab.json cannot say that {min(wrong)!r} is a special token; choose another name, "
            "or keep the tokenizer.json that says so."
        )


def _model(encoding: Encoding, spelling: Metaspace) -> protobuf.Model:
    """A SentencePiece model: score = −rank of what is merged, the units below."""
    ranks = {a + b: rank for rank, (a, b) in zip(encoding.ranks, encoding.merges, strict=True)}
    lowest = len(encoding.vocab)
    kinds = (
        dict.fromkeys(encoding.specials, CONTROL)
        | {spelling.unknown: UNKNOWN}
        | dict.fromkeys(spelling.symbols, USER)
    )
    kinds |= dict.fromkeys(BYTE_TOKENS if spelling.byte_fallback else (), BYTE)
    pieces = []
    for i, token in enumerate(encoding.vocab):
        kind = kinds.get(token, NORMAL)
        pieces.append(
            (token, -float(ranks.get(token, lowest + i)) if kind == NORMAL else 0.0, kind)
        )
    normal = spelling.normalizer
    return protobuf.Model(
        pieces,
        protobuf.BPE,
        charsmap=normal.charsmap,
        prefix=normal.prefix,
        collapse=normal.collapse,
    )


def read(folder: Path) -> Parts:
    """What stands in the files of a folder; raises DataError for a missing or damaged one."""
    if not any(
        (folder / name).exists()
        for name in ("vocab.json", "merges.txt", "encoder.json", "vocab.bpe")
    ):
        return _of_model(
            next(
                (folder / name for name in NAMES if (folder / name).exists()), folder / "vocab.json"
            )
        )
    released = (folder / "encoder.json").exists() and not (folder / "vocab.json").exists()
    names = ("encoder.json", "vocab.bpe") if released else ("vocab.json", "merges.txt")
    vocab = _read_vocab(folder / names[0])
    return of_merges(vocab, _read_merges(folder / names[1], set(vocab)), folder / names[0])


def of_merges(vocab: list[str], merges: list[Merge], path: Path) -> Parts:
    """What BPE is made of where the tokens tell the spelling; what no merge makes and is no unit is special."""
    units, made = set(BYTE_OF), {a + b for a, b in merges}
    ordinary = units | made
    if units <= set(vocab):
        return vocab, merges, tuple(token for token in vocab if token not in ordinary), BYTES, None
    if not any(token.endswith(END_OF_WORD) for token in vocab):
        raise DataError(f"{str(path)!r} lacks {len(units - set(vocab))} of the 256 bytes and has no token that ends in "
                        f"{END_OF_WORD}: it is no vocabulary as GPT-2's or GPT-1's.")  # fmt: skip
    if EndOfWord.unknown not in vocab:
        raise DataError(
            f"{str(path)!r} lacks {EndOfWord.unknown!r}, the token of unknown characters; the file is damaged."
        )
    special = (
        token for token in vocab if token not in made and len(token.removesuffix(END_OF_WORD)) > 1
    )
    return vocab, merges, tuple(special), EndOfWord(), None


def _of_model(path: Path) -> Parts:
    """What BPE is made of, from SentencePiece's file."""
    if path.suffix != ".model":
        raise DataError(
            f"There is no file {str(path)!r}; give a folder with the files of a byte-pair vocabulary."
        )
    model = protobuf.read(path)
    kinds = {text: kind for text, _, kind in model.pieces}
    if (
        model.kind != protobuf.BPE
        or model.suffix
        or not set(kinds.values()) <= {NORMAL, UNKNOWN, CONTROL, USER, BYTE}
    ):
        raise DataError(
            f"{str(path)!r} is not a byte-pair model with the space in front and pieces that are all in use."
        )
    if len(kinds) != len(model.pieces) or kinds.get(Metaspace.unknown) != UNKNOWN:
        raise DataError(
            f"{str(path)!r} must hold different pieces, {Metaspace.unknown!r} as the unknown one among them."
        )
    scores = {text: score for text, score, kind in model.pieces if kind == NORMAL}
    symbols = [text for text, kind in kinds.items() if kind == USER]
    crossing = any(SPACE in text[1:] for text in (*scores, *symbols))
    normalizer = Normalizer(model.charsmap, model.prefix, model.collapse, symbols)
    spelling = Metaspace(normalizer, BYTE in kinds.values(), symbols, crossing)
    if spelling.byte_fallback and not set(BYTE_TOKENS) <= set(kinds):
        raise DataError(
            f"{str(path)!r} holds some bytes, but not all 256 of them; the file is damaged."
        )
    merges, ranks = splits(scores)
    return (
        list(kinds),
        merges,
        tuple(t for t, kind in kinds.items() if kind in (UNKNOWN, CONTROL)),
        spelling,
        ranks,
    )


def _read_vocab(path: Path) -> list[str]:
    """A {token: id} file as the list of tokens by id; raises DataError unless the ids are 0, 1, 2, …"""
    stored = read_json(path)
    if not isinstance(stored, dict) or sorted(map(str, stored.values())) != sorted(
        map(str, range(len(stored)))
    ):
        raise DataError(
            f"{str(path)!r} must map each token to an id 0, 1, 2, … without gaps; the file is damaged."
        )
    return sorted(stored, key=lambda token: int(stored[token]))


def _read_merges(path: Path, vocab: set[str]) -> list[Merge]:
    """The merges of a file, one "first second" per line after the header; raises DataError where one fits no token."""
    merges = list(_merges_of(read_text(path).split("\n")))
    for first, second in merges:
        if not {first, second, first + second} <= vocab:
            raise DataError(
                f"{str(path)!r}: the line '{first} {second}' joins tokens that the vocabulary does not hold."
            )
    return merges


def _merges_of(lines: list[str]) -> Iterator[Merge]:
    """The merges of the lines of merges.txt."""
    for number, line in enumerate(lines, 1):
        if line and not (number == 1 and line.startswith("#version")):
            first, _, second = line.partition(" ")
            yield first, second
