"""SentencePiece's `.model` files: a Protocol Buffers message, read and written by the few rules that it takes.

    message = fields; field = varint(number · 8 + wire type), then varint (0), 8 bytes (1), length + bytes (2), 4 bytes (5)
    model   = 1: pieces {1: text, 2: score, 3: kind}; 2: trainer {3: model type, 35: byte fallback, 40-43: ids}
              3: normalizer {1: name, 2: character map, 3: dummy prefix, 4: remove extra white space, 5: escape white space}

Source: sentencepiece_model.proto; the encoding guide of Protocol Buffers.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tinylm.errors import DataError

NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
UNIGRAM, BPE = 1, 2
LARGEST = 64 * 2**20

Field = tuple[int, int | bytes]


@dataclass(frozen=True)
class Model:
    """What a `.model` file says: (text, score, kind) of each piece, the model type, and how text is normalised.

    charsmap : what characters become, see `normalizing`; empty: themselves
    """

    pieces: list[tuple[str, float, int]]
    kind: int = UNIGRAM
    charsmap: bytes = b""
    prefix: bool = True
    collapse: bool = True
    suffix: bool = False


def fields(data: bytes) -> Iterator[Field]:
    """(number, value) of every field; 4-byte values come as their bytes. raises ValueError where a message breaks off."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, place = _varint(data, place)
        elif wire in (1, 2, 5):
            length, place = _varint(data, place) if wire == 2 else ({1: 8, 5: 4}[wire], place)
            if place + length > len(data):
                raise ValueError("a field is longer than the message")
            value, place = data[place : place + length], place + length
        else:
            raise ValueError(f"wire type {wire} is not known")
        yield number, value


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if place >= len(data) or shift > 63:
            raise ValueError("a number breaks off")
        value |= (data[place] & 127) << shift
        place, shift = place + 1, shift + 7
        if data[place - 1] < 128:
            return value, place


def _number(value: int) -> bytes:
    """A varint; negative numbers are written as their 64-bit complement."""
    value &= 2**64 - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def message(*items: tuple[int, int | float | str | bytes]) -> bytes:
    """The bytes of a message of (number, value): int and bool as varint, float in 4 bytes, else length and bytes."""
    out = bytearray()
    for number, value in items:
        if isinstance(value, float):
            out += _number(number << 3 | 5) + struct.pack("<f", value)
        elif isinstance(value, int):
            out += _number(number << 3) + _number(value)
        else:
            raw = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
            out += _number(number << 3 | 2) + _number(len(raw)) + raw
    return bytes(out)


def write(model: Model) -> bytes:
    """The bytes of a `.model` file."""
    kinds = [kind for _, _, kind in model.pieces]
    names = {
        text: i for i, (text, _, kind) in enumerate(model.pieces) if kind in (CONTROL, UNKNOWN)
    }
    ids = {
        40: kinds.index(UNKNOWN),
        41: names.get("<s>", -1),
        42: names.get("</s>", -1),
        43: names.get("<pad>", -1),
    }
    pieces = [
        (1, message((1, text), (2, float(score)), (3, kind))) for text, score, kind in model.pieces
    ]
    trainer = message(
        (3, model.kind), (4, len(pieces)), (24, model.suffix), (35, BYTE in kinds), *ids.items()
    )
    name = "user_defined" if model.charsmap else "identity"
    normalizer = message(
        (1, name), (2, model.charsmap), (3, model.prefix), (4, model.collapse), (5, True)
    )
    return message(*pieces, (2, trainer), (3, normalizer))


def read(path: str | Path) -> Model:
    """The model in a file; raises DataError if it is missing, too large, damaged, or holds no unknown piece."""
    path = Path(path)
    try:
        if path.stat().st_size > LARGEST:
            raise DataError(
                f"{str(path)!r} is larger than {LARGEST:,} bytes; no SentencePiece model is: copy it again."
            )
        top = list(fields(path.read_bytes()))
        pieces = [_piece(value) for number, value in top if number == 1]
        trainer, normalizer = (
            dict(fields(next((v for n, v in top if n == part), b""))) for part in (2, 3)
        )
        if sum(kind == UNKNOWN for _, _, kind in pieces) != 1:
            raise ValueError("there is not exactly one unknown piece")
        return Model(pieces, trainer.get(3, UNIGRAM), normalizer.get(2, b""), bool(normalizer.get(3, 1)),
                     bool(normalizer.get(4, 1)), bool(trainer.get(24, 0)))  # fmt: skip
    except FileNotFoundError:
        raise DataError(
            f"There is no file {str(path)!r}; give the path of a SentencePiece model."
        ) from None
    except DataError:
        raise
    except (ValueError, TypeError, AttributeError, OSError, struct.error) as error:
        raise DataError(
            f"{str(path)!r} is not a SentencePiece model ({error}); it is damaged or of another kind."
        ) from None


def _piece(data: int | bytes) -> tuple[str, float, int]:
    found = dict(fields(data))
    return found[1].decode("utf-8", "surrogatepass") if 1 in found else "", \
        struct.unpack("<f", found.get(2, bytes(4)))[0], found.get(3, NORMAL)  # fmt: skip
