"""Sets of characters, written as ranges of hexadecimal code points: "41-5a 5f" is A … Z and _."""

from __future__ import annotations

from functools import cache


@cache
def bounds(ranges: str) -> list[tuple[int, int]]:
    """The first and the last code point of each range.

    >>> bounds("41-5a 5f")
    [(65, 90), (95, 95)]
    """
    found = []
    for part in ranges.split():
        low, _, high = part.partition("-")
        found.append((int(low, 16), int(high or low, 16)))
    return found


def lies_in(character: str, ranges: str) -> bool:
    """True if a character lies in one of the ranges.

    >>> lies_in("Q", "41-5a 5f"), lies_in("q", "41-5a 5f")
    (True, False)
    """
    code = ord(character)
    return any(low <= code <= high for low, high in bounds(ranges))


def characters(ranges: str) -> list[str]:
    """All characters of the ranges, in order.

    >>> characters("41-43 5f")
    ['A', 'B', 'C', '_']
    """
    return [chr(code) for low, high in bounds(ranges) for code in range(low, high + 1)]
