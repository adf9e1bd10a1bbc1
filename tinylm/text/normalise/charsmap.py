"""SentencePiece's character maps: rules "replace this by that", as the bytes in a `.model` file.

Where several rules apply, the longest wins. The rules are a trie, stored as an array of units:

    map  = size of the units, 4 bytes
           units, 4 bytes each
           replacements in UTF-8, each ended by a zero byte
    unit = byte | leaf << 8 | offset << 10

The children of a unit share a base, its place ^ its offset: the child for byte b is at base ^ b.
If the leaf bit is set, the unit at the base itself says where the rule's replacement begins.

Source: SentencePiece's normalizer and builder; Darts-clone.
"""

from __future__ import annotations

import sys
import unicodedata
from functools import cache
from itertools import product

import numpy as np

from tinylm.errors import DataError

from .ranges import characters

BLOCK = 256  # units are added in blocks of this size
TOP = 1 << 31  # set in units that are no byte: places of replacements, unused units
LONGEST = 512  # bytes that a rule reads or writes; the published ones have 54 at most
SEARCHED = 2048  # unused units that are tried before a new block is added
# What nmt_nfkc removes, and what it replaces by a space.
GONE = "1-8 b e-1f 7f 8f 9f"
BLANK = "9 a c d 61c 1680 200b 200c 200e 200f 2028 2029 2581 feff fffd"


class CharsMap:
    """The rules in the bytes of a map; raises DataError if the bytes are cut off.

    >>> rules = CharsMap(write({"ﬁ": "fi"}))
    >>> rules.longest("ﬁn".encode(), 0)
    ('fi', 3)
    """

    def __init__(self, data: bytes):
        size = int.from_bytes(data[:4], "little")
        if size % 4 or not 0 < size < len(data) - 4 or data[-1]:
            raise DataError(
                "The character map of the SentencePiece model is damaged: "
                "its trie or its texts are cut off."
            )
        self._units = np.frombuffer(data[4 : 4 + size], "<u4").tolist()
        self._texts = data[4 + size :]
        ends = np.flatnonzero(np.frombuffer(self._texts, np.uint8) == 0)
        self.longest_text = int(np.diff(ends, prepend=-1).max()) - 1  # bytes of a replacement
        if self.longest_text > LONGEST:
            raise DataError(
                f"The character map of the SentencePiece model puts {self.longest_text:,} bytes "
                f"in place of a few; at most {LONGEST} are read."
            )

    def longest(self, raw: bytes, place: int) -> tuple[str, int] | None:
        """The longest rule for the bytes from `place` on: its replacement and its length in bytes.

        None if no rule applies.
        """
        units = self._units
        text_at = None  # where the replacement of the longest rule so far begins
        length = 0
        base = _offset(units[0])
        for i in range(place, min(len(raw), place + LONGEST)):
            byte = raw[i]
            at = base ^ byte
            unit = units[at] if at < len(units) else TOP
            if unit & (TOP | 0xFF) != byte:
                break
            base = at ^ _offset(unit)
            is_leaf = unit >> 8 & 1 and base < len(units)
            if is_leaf and _character_ends(raw, i):
                text_at = units[base] & ~TOP
                length = i + 1 - place
        if text_at is None:
            return None
        text = self._texts[text_at : self._texts.find(b"\0", text_at)]
        return text.decode("utf-8", "replace"), length

    def words_stand_alone(self) -> bool:
        """True if no rule has a space beside another character.

        A text may then be replaced word by word.
        """
        units = np.array(self._units, np.int64)
        places = np.arange(units.size)
        byte = units & (TOP | 0xFF)
        base = places ^ byte  # the base that the unit hangs from
        to = places ^ _offset(units)  # the base that its children hang from
        real = (byte > 0) & (byte < BLOCK) & (np.maximum(base, to) < units.size)
        byte = byte[real]
        base = base[real]
        to = to[real]
        first = base == _offset(self._units[0])  # units of a rule's first byte
        space = byte == ord(" ")
        inside = _reached(base, to, to[first], units.size)  # bases at which a rule goes on
        space_comes_later = (space & inside[base]).any()
        more_after_space = np.isin(base, to[first & space]).any()
        return not space_comes_later and not more_after_space


def _reached(base: np.ndarray, to: np.ndarray, begin: np.ndarray, size: int) -> np.ndarray:
    """The bases that can be reached from some, as (size,) bool; each unit is looked at once.

    base, to : (N,) each unit leads from one base to another     begin : bases to begin with
    raises DataError    for a rule of more than LONGEST bytes

    >>> _reached(np.array([1, 2, 4]), np.array([2, 3, 5]), np.array([1]), 6).nonzero()[0].tolist()
    [1, 2, 3]
    """
    order = np.argsort(base, kind="stable")
    sorted_bases = base[order]
    inside = np.zeros(size, bool)
    newest = np.unique(begin)
    for _ in range(LONGEST):
        inside[newest] = True
        firsts = np.searchsorted(sorted_bases, newest, side="left")
        counts = np.searchsorted(sorted_bases, newest, side="right") - firsts
        skipped = np.cumsum(counts) - counts
        places = np.arange(counts.sum()) + np.repeat(firsts - skipped, counts)
        reached = np.unique(to[order[places]])
        newest = reached[~inside[reached]]
        if not newest.size:
            return inside
    raise DataError(
        f"The character map of the SentencePiece model has a rule for more than {LONGEST} bytes; "
        "it is damaged."
    )


def _offset(unit):
    """The offset of a unit, or of an array of units: 21 bits, shifted by 8 more if bit 9 is set."""
    return unit >> 10 << ((unit & 0x200) >> 6)


def _character_ends(raw: bytes, i: int) -> bool:
    """True if byte i is the last of its character: the next one does not continue it."""
    return i + 1 == len(raw) or raw[i + 1] & 0xC0 != 0x80


# --- writing


def write(rules: dict[str, str]) -> bytes:
    """The bytes of a map with these rules; no key may hold a NUL."""
    texts = bytearray()
    places: dict[str, int] = {}  # replacement -> its place in texts
    root: dict[int, dict | int] = {}  # the trie: byte -> node, 0 -> place of a replacement
    for key, value in rules.items():
        if value not in places:
            places[value] = len(texts)
            texts += value.encode() + b"\0"
        node = root
        for byte in key.encode():
            node = node.setdefault(byte, {})
        node[0] = places[value]
    states: dict[tuple, int] = {}
    start = _number(root, states)
    bases, size = _placed(list(states))
    is_leaf = [state[0][0] == 0 for state in states]
    units = np.full(size, TOP, np.int64)
    units[0] = bases[start] << 10
    for state, base in zip(states, bases, strict=True):
        for byte, to in state:
            at = base ^ byte
            if byte == 0:
                units[at] = TOP | to
            else:
                offset = at ^ bases[to]
                units[at] = byte | is_leaf[to] << 8 | offset << 10
    head = (4 * size).to_bytes(4, "little")
    return head + units.astype("<u4").tobytes() + bytes(texts)


def _number(node: dict, states: dict[tuple, int]) -> int:
    """The number of a node's state. Nodes with the same continuations share one state.

    A state is the sorted (byte, number of the next state), or (0, place of a replacement).
    """
    state = []
    for byte in sorted(node):
        to = _number(node[byte], states) if byte else node[byte]
        state.append((byte, to))
    return states.setdefault(tuple(state), len(states))


def _placed(states: list[tuple]) -> tuple[list[int], int]:
    """A base for each state, all different, and the number of units.

    No two states need the same unit.
    """
    free = dict.fromkeys(range(1, BLOCK))
    size = BLOCK
    bases: dict[int, None] = {}
    for state in states:
        base = _free_base(state, free, bases)
        if base is None:
            base = size
            searched = list(free)[-SEARCHED:]
            free = dict.fromkeys([*searched, *range(size, size + BLOCK)])
            size += BLOCK
        bases[base] = None
        for byte, _ in state:
            del free[base ^ byte]
    return list(bases), size


def _free_base(state: tuple, free: dict[int, None], bases: dict[int, None]) -> int | None:
    """The first new base at which all units that a state needs are free; None if there is none."""
    first = state[0][0]
    for slot in free:
        base = slot ^ first
        if base not in bases and all(base ^ byte in free for byte, _ in state):
            return base
    return None


# --- the published maps


@cache
def named(name: str) -> bytes:
    """The map that SentencePiece calls "nfkc" or "nmt_nfkc".

    nfkc : compatibility characters become what they stand for, then letters and marks are
        composed wherever each part is one character
    nmt_nfkc : moreover, controls vanish, and white space and invisible marks become a space
    """
    rules: dict[str, str] = {}
    same: dict[str, list[str]] = {}  # character -> it, and those that decompose to it
    several: dict[str, None] = {}  # decompositions of more than one character, in order
    for c in map(chr, range(1, sys.maxunicode + 1)):
        if not unicodedata.decomposition(c) and not "가" <= c <= "힣":
            continue
        whole = unicodedata.normalize("NFKC", c)
        parts = unicodedata.normalize("NFKD", c)
        if whole != c:
            rules[c] = whole
        if len(parts) == 1:
            same.setdefault(parts, [parts]).append(c)
        else:
            several[parts] = None
    for parts in several:
        whole = unicodedata.normalize("NFC", parts)
        if whole != parts:
            choices = [same.get(c, [c]) for c in parts]
            spellings = map("".join, product(*choices))
            rules |= dict.fromkeys(spellings, whole)
    if name == "nmt_nfkc":
        rules |= dict.fromkeys(characters(GONE), "")
        rules |= dict.fromkeys(characters(BLANK), " ")
        del rules["～"]  # in Japanese not the same as ~
    return write(rules)
