"""SentencePiece's character maps: rules "what stands here becomes that", of several the longest, as the bytes in a `.model`.

    map  = size of the units, 4 bytes; units, 4 bytes each; replacements in UTF-8, each ended by a zero byte
    unit = byte | leaf << 8 | offset << 10      the unit for the next byte b stands at base ^ b; its own base is its
                                                place ^ offset, and if it is a leaf, the place of a replacement stands there

Source: SentencePiece's normalizer and builder; Darts-clone.
"""

from __future__ import annotations

import sys
import unicodedata
from functools import cache
from itertools import product

import numpy as np

from tinylm.errors import DataError

BLOCK = 256  # units are made by so many
TOP = 1 << 31  # set where a unit is no byte: places of replacements, unused units
SEARCHED = 2048  # unused units that are tried before new ones are made
GONE = (
    *range(1, 9),
    0xB,
    *range(0xE, 0x20),
    0x7F,
    0x8F,
    0x9F,
)  # what becomes nothing and what a space in nmt_nfkc
BLANK = (
    0x9,
    0xA,
    0xC,
    0xD,
    0x61C,
    0x1680,
    0x200B,
    0x200C,
    0x200E,
    0x200F,
    0x2028,
    0x2029,
    0x2581,
    0xFEFF,
    0xFFFD,
)


class CharsMap:
    """The rules that the bytes of a map hold; raises DataError if they are cut off."""

    def __init__(self, data: bytes):
        size = int.from_bytes(data[:4], "little")
        if size % 4 or not 0 < size < len(data) - 4 or data[-1]:
            raise DataError(
                "The character map of the SentencePiece model is damaged: its trie or its texts are cut off."
            )
        self._units = np.frombuffer(data[4 : 4 + size], "<u4").tolist()
        self._texts = data[4 + size :]

    def longest(self, raw: bytes, place: int) -> tuple[str, int] | None:
        """The replacement of the longest rule for the bytes that begin here, and how many these are."""
        found, base = None, _offset(self._units[0])
        for i in range(place, len(raw)):
            at = base ^ raw[i]
            unit = self._units[at] if at < len(self._units) else TOP
            if unit & (TOP | 0xFF) != raw[i]:
                break
            base = at ^ _offset(unit)
            whole = (
                i + 1 == len(raw) or raw[i + 1] & 0xC0 != 0x80
            )  # no rule may end inside a character
            if unit >> 8 & 1 and base < len(self._units) and whole:
                found = self._units[base] & ~TOP, i + 1 - place
        if found is None:
            return None
        return self._texts[found[0] : self._texts.find(b"\0", found[0])].decode(
            "utf-8", "replace"
        ), found[1]

    def words_stand_alone(self) -> bool:
        """True if no rule has a space beside another character: a text may then be replaced word by word."""
        units = np.array(self._units, np.int64)
        label, at = units & (TOP | 0xFF), np.arange(units.size)
        base, to = at ^ label, at ^ _offset(units)
        real = (label > 0) & (label < BLOCK) & (np.maximum(base, to) < units.size)
        label, base, to = label[real], base[real], to[real]
        inside, start, space = (
            np.zeros(units.size, bool),
            base == _offset(self._units[0]),
            label == ord(" "),
        )
        inside[to[start]] = True  # bases at which a rule goes on
        while not inside[to[inside[base]]].all():
            inside[to[inside[base]]] = True
        return not (space & inside[base]).any() and not np.isin(base, to[start & space]).any()


def _offset(unit):
    """Of one unit or an array: 21 bits, shifted by 8 more where bit 9 says so."""
    return unit >> 10 << ((unit & 0x200) >> 6)


def write(rules: dict[str, str]) -> bytes:
    """The bytes of a map with these rules; what is replaced holds no NUL."""
    texts, places, root = bytearray(), {}, {}
    for key, value in rules.items():
        if value not in places:
            places[value] = len(texts)
            texts += value.encode() + b"\0"
        node = root
        for byte in key.encode():
            node = node.setdefault(byte, {})
        node[0] = places[value]
    states: dict[tuple, int] = {}  # where the same may follow, it is the same state
    start = _number(root, states)
    bases, size = _placed(list(states))
    units = np.full(size, TOP, np.int64)
    units[0] = bases[start] << 10
    leaf = [state[0][0] == 0 for state in states]
    for state, base in zip(states, bases, strict=True):
        for byte, to in state:
            at = base ^ byte
            units[at] = byte | leaf[to] << 8 | (at ^ bases[to]) << 10 if byte else TOP | to
    return (4 * size).to_bytes(4, "little") + units.astype("<u4").tobytes() + bytes(texts)


def _number(node: dict, states: dict[tuple, int]) -> int:
    """The number of a node's state: its sorted (byte, number of the next state), or (0, place of a replacement)."""
    state = tuple(
        (byte, _number(node[byte], states) if byte else node[byte]) for byte in sorted(node)
    )
    return states.setdefault(state, len(states))


def _placed(states: list[tuple]) -> tuple[list[int], int]:
    """A base for each state, no two alike, such that no two states need the same unit; and the number of units."""
    free, size, bases = dict.fromkeys(range(1, BLOCK)), BLOCK, {}
    for state in states:
        first = state[0][0]
        fitting = (
            slot ^ first for slot in free if all(slot ^ first ^ byte in free for byte, _ in state)
        )
        base = next((base for base in fitting if base not in bases), size)
        if base == size:
            free = dict.fromkeys([*list(free)[-SEARCHED:], *range(size, size + BLOCK)])
            size += BLOCK
        bases[base] = None
        for byte, _ in state:
            del free[base ^ byte]
    return list(bases), size


@cache
def named(name: str) -> bytes:
    """The map that SentencePiece calls "nfkc", or "nmt_nfkc": controls gone, all white space and invisible marks a space.

    Compatibility characters become what they stand for, and what can be composed is, if each part is one character.
    """
    rules: dict[str, str] = {}
    alike: dict[str, list[str]] = {}  # characters that decompose to one
    several: dict[str, None] = {}
    for c in map(chr, range(1, sys.maxunicode + 1)):
        if unicodedata.decomposition(c) or "가" <= c <= "힣":
            whole, parts = (unicodedata.normalize(form, c) for form in ("NFKC", "NFKD"))
            if whole != c:
                rules[c] = whole
            if len(parts) == 1:
                alike.setdefault(parts, [parts]).append(c)
            else:
                several[parts] = None
    for parts in several:
        whole = unicodedata.normalize("NFC", parts)
        if whole != parts:
            rules |= dict.fromkeys(
                map("".join, product(*(alike.get(c, [c]) for c in parts))), whole
            )
    if name == "nmt_nfkc":
        rules |= {chr(c): "" for c in GONE} | {chr(c): " " for c in BLANK}
        del rules["～"]  # in Japanese not the same as ~
    return write(rules)
