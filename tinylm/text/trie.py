"""Tries of pieces: grown level by level, siblings side by side, then packed into the double array of `kernels.lattice`."""

from __future__ import annotations

from collections.abc import Collection, Sequence, Sized
from dataclasses import dataclass

import numpy as np

from tinylm.kernels import double_array

Trie = tuple[np.ndarray, np.ndarray, np.ndarray]
Tree = tuple[
    np.ndarray, np.ndarray, np.ndarray
]  # first (N + 1,), label (N,), piece (N,): children of n are first[n] … − 1


@dataclass(frozen=True)
class Dictionary:
    """Pieces that can be looked up in any text: the number of each character, the last one for all unknown, and the trie."""

    numbers: np.ndarray
    trie: Trie

    @classmethod
    def of(cls, pieces: Sequence[str]) -> Dictionary:
        """An empty piece stands nowhere."""
        letters, symbols = np.unique(code_points("".join(pieces)), return_inverse=True)
        numbers = np.full(int(letters.max(initial=0)) + 2, letters.size)
        numbers[letters] = np.arange(letters.size)
        return cls(
            numbers, pack(grow(symbols, np.fromiter(map(len, pieces), np.int64)), letters.size)
        )

    def symbols(self, text: str) -> np.ndarray:
        """The numbers of the characters of a text, (T,) int64."""
        return self.numbers[np.minimum(code_points(text), self.numbers.size - 1)]


def code_points(text: str) -> np.ndarray:
    """(T,) uint32, lone surrogates included."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def beginnings(words: Collection[Sized]) -> np.ndarray:
    """(N,) bool: where the words begin when they are written one after another; none of them is empty."""
    lengths = np.fromiter(map(len, words), np.int64, len(words))
    begins = np.zeros(lengths.sum(), bool)
    begins[np.cumsum(lengths) - lengths] = True
    return begins


def grow(symbols: np.ndarray, sizes: np.ndarray) -> Tree:
    """The trie of pieces, whose symbols stand one after another; node 0 is its root, and an empty piece stands nowhere.

    symbols : (N,) int64     sizes : (V,) symbols of each piece
    """
    width, begins, total = int(symbols.max(initial=0)) + 1, np.cumsum(sizes) - sizes, 1
    label, parent, piece = [np.zeros(1, np.int64)], [np.zeros(0, np.int64)], [np.full(1, -1)]
    node = np.zeros(sizes.size, np.int64)
    for depth in range(int(sizes.max(initial=0))):
        here = np.flatnonzero(sizes > depth)
        keys, family = np.unique(
            node[here] * width + symbols[begins[here] + depth], return_inverse=True
        )
        node[here] = total + family
        ends = np.full(keys.size, -1)
        ends[family[sizes[here] == depth + 1]] = here[sizes[here] == depth + 1]
        for values, more in ((label, keys % width), (parent, keys // width), (piece, ends)):
            values.append(more)
        total += keys.size
    first = 1 + np.searchsorted(np.concatenate(parent), np.arange(total + 1))
    return first, np.concatenate(label), np.concatenate(piece)


def pack(tree: Tree, symbols: int) -> Trie:
    """base, parent, piece (M,): the tree as a double array that may be asked for the symbols 0 to `symbols`."""
    first, label, piece = tree
    slot = np.empty(label.size, np.int64)
    double_array(first, label, slot)
    base, parent, packed = (np.full(slot.max() + symbols + 1, none) for none in (0, -1, -1))
    family = np.diff(first)
    base[slot[family > 0]] = slot[first[:-1][family > 0]] - label[first[:-1][family > 0]]
    parent[slot[1:]] = np.repeat(slot, family)
    packed[slot] = piece
    return base, parent, packed


def count_substrings(
    symbols: np.ndarray, begins: np.ndarray, times: np.ndarray, longest: int
) -> tuple[Tree, np.ndarray, np.ndarray, np.ndarray]:
    """The trie of all substrings of words that are seen twice or more, of at most `longest` symbols, built level by level.

    returns the tree, in which every node is the piece of its own number; counts, lengths and ends (N,) of the nodes: n is
    spelled symbols[ends[n] - lengths[n] : ends[n]]
    """
    size = int(symbols.max(initial=0)) + 1
    place, node = np.arange(symbols.size), np.zeros(symbols.size, np.int64)
    labels, parents, counts = [np.zeros(1, np.int64)], [np.zeros(0, np.int64)], [np.zeros(1)]
    lengths, ends = [np.zeros(1, np.int64)], [np.zeros(1, np.int64)]
    total = 1
    for depth in range(longest):
        if depth:  # the place after the substring, as long as it lies in the same word
            place, node = place[place + 1 < symbols.size] + 1, node[place + 1 < symbols.size]
            place, node = place[~begins[place]], node[~begins[place]]
        keys, index, inverse = np.unique(
            node * size + symbols[place], return_index=True, return_inverse=True
        )
        seen = np.bincount(inverse, times[place], keys.size)
        kept = (seen >= 2) | (depth == 0)
        ends.append(place[index][kept] + 1)
        number = np.where(kept, total - 1 + np.cumsum(kept), -1)[inverse]
        place, node = place[number >= 0], number[number >= 0]
        labels.append(keys[kept] % size)
        parents.append(keys[kept] // size)
        counts.append(seen[kept])
        lengths.append(np.full(kept.sum(), depth + 1))
        total += int(kept.sum())
        if not node.size:
            break
    first = 1 + np.searchsorted(np.concatenate(parents), np.arange(total + 1))
    piece = np.arange(total)
    piece[0] = -1
    return (
        (first, np.concatenate(labels), piece),
        np.concatenate(counts),
        np.concatenate(lengths),
        np.concatenate(ends),
    )


def pruned(tree: Tree, alive: np.ndarray) -> Tree:
    """The tree with only the nodes on the way to a piece that is alive. alive : (V,) bool by piece number."""
    first, label, piece = tree
    piece = np.where((piece >= 0) & alive[piece], piece, -1)
    parent = np.repeat(np.arange(label.size), np.diff(first))  # of nodes 1, 2, …
    needed = piece >= 0
    while True:  # one level nearer to the root each time
        more = needed.copy()
        more[parent[needed[1:]]] = True
        if (more == needed).all():
            break
        needed = more
    needed[0] = True
    number = np.cumsum(needed) - 1
    parents = number[parent[needed[1:]]]
    kept = int(needed.sum())
    return 1 + np.searchsorted(parents, np.arange(kept + 1)), label[needed], piece[needed]
