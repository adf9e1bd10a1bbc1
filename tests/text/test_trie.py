"""Tries of pieces: any pieces are found again, and neither many nor long ones cost more than they have characters."""

import numpy as np
import pytest
from costs import cost_at_most
from hypothesis import given
from hypothesis import strategies as st

from tinylm.kernels import KERNELS
from tinylm.text import trie
from tinylm.text.trie import Dictionary, code_points

PIECES = st.lists(st.text("abc▁", min_size=1, max_size=40), unique=True, max_size=60)


def found(dictionary, text):
    """The number of the piece that a text is, or −1."""
    base, parent, piece = dictionary.trie
    node = 0
    for symbol in dictionary.symbols(text).tolist():
        above = node
        node = base[above] + symbol
        if parent[node] != above:
            return -1
    return int(piece[node])


@given(PIECES)
def test_every_piece_is_found_and_nothing_else(pieces):
    dictionary = Dictionary.of(pieces)
    for number, piece in enumerate(pieces):
        assert found(dictionary, piece) == number
        assert found(dictionary, piece + "d") == -1
        prefix = piece[:-1]
        expected = pieces.index(prefix) if prefix in pieces else -1
        assert not prefix or found(dictionary, prefix) == expected


@given(PIECES)
def test_the_nodes_are_numbered_level_by_level(pieces):
    """Siblings stand side by side, in the order of their letters, and parents before children."""
    tree = trie.grow(*flat(pieces))
    spelled = sorted({piece[:n] for piece in pieces for n in range(1, len(piece) + 1)})
    spelled.sort(key=len)
    assert tree.label.size == 1 + len(spelled)
    number = {"": 0} | {prefix: 1 + n for n, prefix in enumerate(spelled)}
    for prefix, n in number.items():
        assert tree.piece[n] == (pieces.index(prefix) if prefix in pieces else -1)
        children = [number[other] for other in spelled if other[:-1] == prefix]
        assert list(range(tree.first[n], tree.first[n + 1])) == children
        assert n == 0 or tree.label[n] == ord(prefix[-1])


def flat(pieces):
    """The code points of pieces one after another, and their sizes."""
    symbols = code_points("".join(pieces)).astype(np.int64)
    return symbols, np.fromiter(map(len, pieces), np.int64, len(pieces))


def regular(n):
    """Pieces whose second letters stand at regular distances, so that most places are half taken."""
    pieces = []
    for i in range(n // 5):
        pieces += [chr(0x3000 + i) + chr(0x3000 + 2 * j * (1 + i // 50)) for j in range(5)]
    return pieces


@pytest.mark.parametrize(
    "pieces, n",
    [(regular, 20_000), (lambda n: ["a" * n], 500_000), (lambda n: ["a" * n, "b" * n], 100_000)],
    ids=["regular pieces", "one long piece", "two long pieces"],
)
def test_twice_the_pieces_take_at_most_three_times_as_long(pieces, n):
    KERNELS["double_array"](np.ones(2, np.int64), np.zeros(1, np.int64), np.zeros(1, np.int64))
    once = pieces(n)
    twice = pieces(2 * n)
    cost_at_most(3, lambda: Dictionary.of(once), lambda: Dictionary.of(twice), slack=0.2)
