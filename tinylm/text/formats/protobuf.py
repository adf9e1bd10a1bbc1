"""SentencePiece's `.model` files: a Protocol Buffers message, read and written in few rules.

    message = fields
    field   = varint(number · 8 + wire type), then for wire type
                  0    a varint
                  1    8 bytes
                  2    a varint, the length, and that many bytes
                  5    4 bytes
    varint  = 7 bits per byte, lowest first; the top bit says that another byte follows

    model = 1: piece {1: text, 2: score, 3: kind}, repeated
            2: trainer {3: model type, 4: number of pieces, 24: ▁ behind words, 35: byte fallback,
                        40: id of <unk>, 41: of <s>, 42: of </s>, 43: of <pad>}
            3: normalizer {1: name, 2: character map, 3: space in front, 4: collapse spaces,
                           5: write spaces ▁}

Source: sentencepiece_model.proto; the encoding guide of Protocol Buffers.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tinylm.doors import parsing
from tinylm.errors import DataError

# kinds of pieces
NORMAL = 1
UNKNOWN = 2
CONTROL = 3
USER = 4
UNUSED = 5
BYTE = 6
# model types
UNIGRAM = 1
BPE = 2

LARGEST = 64 * 2**20  # bytes of a file
FIXED = {1: 8, 5: 4}  # wire type -> bytes, where the number of bytes is fixed

Field = tuple[int, int | bytes]


@dataclass(frozen=True)
class Model:
    """The content of a `.model` file.

    pieces : (text, score, kind) of each
    kind : UNIGRAM or BPE
    charsmap, prefix, collapse : how text is normalised, see `Normalizer`
    suffix : ▁ stands behind a word, not before it
    """

    pieces: list[tuple[str, float, int]]
    kind: int = UNIGRAM
    charsmap: bytes = b""
    prefix: bool = True
    collapse: bool = True
    suffix: bool = False


# --- messages


def fields(data: bytes) -> Iterator[Field]:
    """The (number, value) of each field; 4-byte and 8-byte values come as bytes.

    raises ValueError       where a message breaks off

    >>> list(fields(message((1, "cat"), (3, 300))))
    [(1, b'cat'), (3, 300)]
    """
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        number = key >> 3
        wire = key & 7
        if wire == 0:
            value, place = _varint(data, place)
            yield number, value
            continue
        if wire == 2:
            length, place = _varint(data, place)
        elif wire in FIXED:
            length = FIXED[wire]
        else:
            raise ValueError(f"wire type {wire} is not known")
        end = place + length
        if end > len(data):
            raise ValueError("a field is longer than the message")
        yield number, data[place:end]
        place = end


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """The varint that begins at `place`, and the place behind it.

    >>> _varint(bytes([0xAC, 0x02]), 0)  # 0x2C + 2 * 128
    (300, 2)
    """
    value = 0
    shift = 0
    while True:
        if place >= len(data) or shift > 63:
            raise ValueError("a number breaks off")
        byte = data[place]
        value |= (byte & 127) << shift
        place += 1
        shift += 7
        if byte < 128:
            return value, place


def _number(value: int) -> bytes:
    """A varint; negative numbers are written as their 64-bit complement.

    >>> list(_number(300))
    [172, 2]
    """
    value &= 2**64 - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def message(*items: tuple[int, int | float | str | bytes]) -> bytes:
    """The bytes of a message of (number, value).

    int and bool become a varint, float 4 bytes, str and bytes their length and bytes.

    >>> message((1, "cat"), (3, 300))
    b'\\n\\x03cat\\x18\\xac\\x02'
    """
    out = bytearray()
    for number, value in items:
        key = number << 3
        if isinstance(value, float):
            out += _number(key | 5)
            out += struct.pack("<f", value)
        elif isinstance(value, int):
            out += _number(key)
            out += _number(value)
        else:
            raw = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
            out += _number(key | 2)
            out += _number(len(raw))
            out += raw
    return bytes(out)


# --- models


def write(model: Model) -> bytes:
    """The bytes of a `.model` file."""
    kinds = [kind for _, _, kind in model.pieces]
    ids = {}  # of special pieces
    pieces = []
    for i, (text, score, kind) in enumerate(model.pieces):
        pieces.append((1, message((1, text), (2, float(score)), (3, kind))))
        if kind in (CONTROL, UNKNOWN):
            ids[text] = i
    trainer = {
        3: model.kind,
        4: len(pieces),
        24: model.suffix,
        35: BYTE in kinds,
        40: kinds.index(UNKNOWN),
        41: ids.get("<s>", -1),
        42: ids.get("</s>", -1),
        43: ids.get("<pad>", -1),
    }
    normalizer = {
        1: "user_defined" if model.charsmap else "identity",
        2: model.charsmap,
        3: model.prefix,
        4: model.collapse,
        5: True,
    }
    trainer_bytes = message(*trainer.items())
    normalizer_bytes = message(*normalizer.items())
    return message(*pieces, (2, trainer_bytes), (3, normalizer_bytes))


def read(path: str | Path) -> Model:
    """The model in a file.

    raises DataError        if it is missing, too large or damaged, or has not one unknown piece
    """
    path = Path(path)
    try:
        if path.stat().st_size > LARGEST:
            raise DataError(
                f"{str(path)!r} is larger than {LARGEST:,} bytes; no SentencePiece model is: "
                "copy it again."
            )
    except FileNotFoundError:
        raise DataError(
            f"There is no file {str(path)!r}; give the path of a SentencePiece model."
        ) from None
    except OSError as error:
        raise DataError(f"{str(path)!r} cannot be read: {error.strerror or error}.") from None
    with parsing(path, "a SentencePiece model"):
        return _parsed(path.read_bytes())


def _parsed(data: bytes) -> Model:
    """The model in the bytes of a file; raises ValueError or another built-in error if damaged."""
    pieces = []
    parts: dict[int, bytes] = {}  # the first field of each number
    for number, value in fields(data):
        if number == 1:
            pieces.append(_piece(value))
        else:
            parts.setdefault(number, value)
    trainer = dict(fields(parts.get(2, b"")))
    normalizer = dict(fields(parts.get(3, b"")))
    if sum(kind == UNKNOWN for _, _, kind in pieces) != 1:
        raise ValueError("there is not exactly one unknown piece")
    kind = trainer.get(3, UNIGRAM)
    suffix = bool(trainer.get(24, 0))
    charsmap = normalizer.get(2, b"")
    if not isinstance(charsmap, bytes):
        raise ValueError("its character map is a number")
    prefix = bool(normalizer.get(3, 1))
    collapse = bool(normalizer.get(4, 1))
    return Model(pieces, kind, charsmap, prefix, collapse, suffix)


def _piece(data: bytes) -> tuple[str, float, int]:
    """The (text, score, kind) in the bytes of a piece."""
    found = dict(fields(data))
    text = found[1].decode("utf-8", "surrogatepass") if 1 in found else ""
    [score] = struct.unpack("<f", found.get(2, bytes(4)))
    kind = found.get(3, NORMAL)
    if kind not in (NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE):
        raise ValueError(f"the piece {text!r} is of the kind {kind!r}")
    return text, score, kind
