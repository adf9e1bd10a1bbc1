"""Tries of pieces: grown level by level, siblings side by side, then packed into the double array of `kernels.lattice`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinylm.kernels import double_array

Trie = tuple[np.ndarray, np.ndarray, np.ndarray]
Tree = tuple[np.ndarray, np.ndarray, np.ndarray]  # first (N + 1,), label (N,), piece (N,): children of n are first[n] … − 1


@dataclass(frozen=True)
class Dictionary:
    """Pieces that can be looked up in any text: the number of each character, the last one for all unknown, and the trie."""

    numbers: np.ndarray
    trie: Trie

    @classmethod
    def of(cls, pieces: Sequence[str]) -> Dictionary:
        """An empty piece stands nowhere."""
        letters = sorted(set("".join(pieces)))
        number = {c: i for i, c in enumerate(letters)}
        numbers = np.full(ord(letters[-1]) + 2 if letters else 1, len(letters))
        numbers[[*map(ord, letters)]] = np.arange(len(letters))
        return cls(numbers, pack(grow([[number[c] for c in piece] for piece in pieces]), len(letters)))

    def symbols(self, text: str) -> np.ndarray:
        """The numbers of the characters of a text, (T,) int64."""
        return self.numbers[np.minimum(code_points(text), self.numbers.size - 1)]


def code_points(text: str) -> np.ndarray:
    """(T,) uint32, lone surrogates included."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def grow(pieces: Sequence[Sequence[int]]) -> Tree:
    """The trie of pieces given as sequences of symbols, node 0 is its root; an empty piece stands nowhere."""
    nodes, level = [(0, -1)], [(i, 0) for i in range(len(pieces))]  # (label, piece); (piece, its node)
    children: list[int] = []
    depth = 0
    while level:
        level = [(i, node) for i, node in level if len(pieces[i]) > depth]
        level.sort(key=lambda pair: (pair[1], pieces[pair[0]][depth]))
        grown, last = [], None
        for i, node in level:
            if (node, pieces[i][depth]) != last:
                last = node, pieces[i][depth]
                nodes.append((last[1], -1))
                children.append(node)
            if len(pieces[i]) == depth + 1:
                nodes[-1] = (last[1], i)
            grown.append((i, len(nodes) - 1))
        level, depth = grown, depth + 1
    first = 1 + np.searchsorted(np.array(children, np.int64), np.arange(len(nodes) + 1))
    label, piece = np.array(nodes, np.int64).T.copy()
    return first, label, piece


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
        keys, index, inverse = np.unique(node * size + symbols[place], return_index=True, return_inverse=True)
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
    return (first, np.concatenate(labels), piece), np.concatenate(counts), np.concatenate(lengths), np.concatenate(ends)


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
