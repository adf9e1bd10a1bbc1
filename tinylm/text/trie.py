"""Tries of pieces: grown level by level, then packed into the double array of `kernels.lattice`.

A tree numbers its nodes level by level, so that siblings stand side by side. The pieces a, ab, ac
give the nodes 0 (the root), 1 (a), 2 (ab) and 3 (ac).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence, Sized
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tinylm.kernels import double_array


class Tree(NamedTuple):
    """Pieces as a tree that is easy to grow and to prune.

    first : (N + 1,) the children of node n are first[n] … first[n + 1] − 1
    label : (N,) the symbol that leads to each node
    piece : (N,) the piece that is spelled by the way to the node, or −1
    """

    first: np.ndarray
    label: np.ndarray
    piece: np.ndarray


class Trie(NamedTuple):
    """The same as a double array that is fast to ask, as kernels take it: see `kernels.lattice`.

    base, parent, piece : (M,) one entry for each slot
    """

    base: np.ndarray
    parent: np.ndarray
    piece: np.ndarray


@dataclass(frozen=True)
class Dictionary:
    """Pieces that can be looked up in any text.

    numbers : the number of each character by its code point; the last entry is for all unknown
        characters
    trie : the pieces, spelled in these numbers
    """

    numbers: np.ndarray
    trie: Trie

    @classmethod
    def of(cls, pieces: Sequence[str]) -> Dictionary:
        """The dictionary of these pieces; no text holds an empty one."""
        letters, symbols = np.unique(code_points("".join(pieces)), return_inverse=True)
        numbers = np.full(int(letters.max(initial=0)) + 2, letters.size)
        numbers[letters] = np.arange(letters.size)
        sizes = np.fromiter(map(len, pieces), np.int64)
        return cls(numbers, pack(grow(symbols, sizes), letters.size))

    def symbols(self, text: str) -> np.ndarray:
        """The numbers of the characters of a text, (T,) int64."""
        return self.numbers[np.minimum(code_points(text), self.numbers.size - 1)]


def code_points(text: str) -> np.ndarray:
    """The code points of a text, (T,) uint32, lone surrogates included.

    >>> code_points("a東").tolist()
    [97, 26481]
    """
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def beginnings(words: Collection[Sized]) -> np.ndarray:
    """Where words begin when they stand one after another, (N,) bool; no word may be empty.

    >>> beginnings(["ab", "c"]).astype(int).tolist()
    [1, 0, 1]
    """
    lengths = np.fromiter(map(len, words), np.int64, len(words))
    begins = np.zeros(lengths.sum(), bool)
    begins[np.cumsum(lengths) - lengths] = True
    return begins


def grow(symbols: np.ndarray, sizes: np.ndarray) -> Tree:
    """The trie of pieces whose symbols stand one after another; node 0 is its root.

    >>> first, label, piece = grow(np.array([0, 0, 1, 0, 2]), np.array([1, 2, 2]))  # a ab ac
    >>> first.tolist(), label.tolist(), piece.tolist()
    ([1, 2, 4, 4, 4], [0, 0, 1, 2], [-1, 0, 1, 2])

    symbols : (N,) int64
    sizes : (V,) symbols of each piece; an empty piece has no node
    """
    width = int(symbols.max(initial=0)) + 1
    begins = np.cumsum(sizes) - sizes
    labels = [np.zeros(1, np.int64)]
    parents = [np.zeros(0, np.int64)]
    ends_here = [np.full(1, -1)]
    node = np.zeros(sizes.size, np.int64)  # the node of each piece's first `depth` symbols
    total = 1
    longer = np.arange(sizes.size)  # the pieces of more than `depth` symbols
    for depth in range(int(sizes.max(initial=0))):
        longer = longer[sizes[longer] > depth]
        if np.unique(node[longer]).size == longer.size:  # no two have a way in common any more
            ends = begins[longer] + sizes[longer]
            rest = [symbols[a + depth : b] for a, b in zip(begins[longer], ends, strict=True)]
            new = _chains(longer, rest, node[longer], total)
            labels.append(new.label)
            parents.append(new.first)
            ends_here.append(new.piece)
            total += new.label.size
            break
        edge = node[longer] * width + symbols[begins[longer] + depth]  # parent and symbol
        edges, number = np.unique(edge, return_inverse=True)
        node[longer] = total + number
        total += edges.size
        last = sizes[longer] == depth + 1
        piece = np.full(edges.size, -1)
        piece[number[last]] = longer[last]
        labels.append(edges % width)
        parents.append(edges // width)
        ends_here.append(piece)
    first = _first_children(np.concatenate(parents), total)
    return Tree(first, np.concatenate(labels), np.concatenate(ends_here))


def _chains(pieces: np.ndarray, rest: list[np.ndarray], node: np.ndarray, total: int) -> Tree:
    """The nodes of pieces that have parted: a chain for each, numbered level by level.

    pieces : (V,) their numbers     rest : the symbols that each has left, at least one
    node : (V,) the node that each has come to, all different
    total : the number of the next node
    returns a Tree with the parent of each new node in place of its first child

    >>> rest = [np.array([7, 8]), np.array([9])]
    >>> first, label, piece = _chains(np.array([0, 1]), rest, np.array([2, 1]), total=3)
    >>> first.tolist(), label.tolist(), piece.tolist()
    ([1, 2, 4], [9, 7, 8], [1, -1, 0])
    """
    sizes = np.array([part.size for part in rest])
    ends = np.cumsum(sizes)
    chain = np.repeat(np.arange(len(rest)), sizes)
    level = np.arange(chain.size) - np.repeat(ends - sizes, sizes)
    order = np.lexsort((node[chain], level))
    number = np.empty(chain.size, np.int64)
    number[order] = total + np.arange(chain.size)
    parent = np.where(level == 0, node[chain], np.roll(number, 1))
    piece = np.full(chain.size, -1)
    piece[ends - 1] = pieces
    return Tree(parent[order], np.concatenate(rest)[order], piece[order])


def _first_children(parents: np.ndarray, total: int) -> np.ndarray:
    """The first child of each of `total` nodes. parents : of nodes 1, 2, …, rising"""
    return 1 + np.searchsorted(parents, np.arange(total + 1))


def pack(tree: Tree, symbols: int) -> Trie:
    """The tree as a double array that may be asked for the symbols 0 to `symbols`."""
    first, label, piece = tree
    slot = np.empty(label.size, np.int64)
    double_array(first, label, slot)
    size = slot.max() + symbols + 1
    family = np.diff(first)  # number of children
    has_children = family > 0
    eldest = first[:-1][has_children]
    base = np.full(size, 0)
    base[slot[has_children]] = slot[eldest] - label[eldest]
    parent = np.full(size, -1)
    parent[slot[1:]] = np.repeat(slot, family)
    packed = np.full(size, -1)
    packed[slot] = piece
    return Trie(base, parent, packed)


def count_substrings(
    symbols: np.ndarray, begins: np.ndarray, times: np.ndarray, longest: int
) -> tuple[Tree, np.ndarray, np.ndarray, np.ndarray]:
    """The trie of all substrings of words that occur twice or more, built level by level.

    symbols, begins, times : (N,) the words, as `merging.learn` takes them
    longest : symbols of a substring, at most; single symbols stay however rare they are
    returns the tree, in which every node is the piece of its own number; counts, lengths and ends
        (N,) of the nodes: n is spelled symbols[ends[n] - lengths[n] : ends[n]]
    """
    width = int(symbols.max(initial=0)) + 1
    place = np.arange(symbols.size)  # of the last symbol of each occurrence
    node = np.zeros(symbols.size, np.int64)  # of the substring before that symbol
    labels = [np.zeros(1, np.int64)]
    parents = [np.zeros(0, np.int64)]
    counts = [np.zeros(1)]
    lengths = [np.zeros(1, np.int64)]
    ends = [np.zeros(1, np.int64)]
    total = 1
    for depth in range(longest):
        if depth:  # go one symbol further, as long as it lies in the same word
            node = node[place + 1 < symbols.size]
            place = place[place + 1 < symbols.size] + 1
            node = node[~begins[place]]
            place = place[~begins[place]]
        edge = node * width + symbols[place]
        edges, example, number = np.unique(edge, return_index=True, return_inverse=True)
        seen = np.bincount(number, times[place], edges.size)
        kept = (seen >= 2) | (depth == 0)
        renumbered = np.where(kept, total - 1 + np.cumsum(kept), -1)
        node = renumbered[number]
        ends.append(place[example][kept] + 1)
        labels.append(edges[kept] % width)
        parents.append(edges[kept] // width)
        counts.append(seen[kept])
        lengths.append(np.full(kept.sum(), depth + 1))
        total += int(kept.sum())
        place = place[node >= 0]
        node = node[node >= 0]
        if not node.size:
            break
    first = _first_children(np.concatenate(parents), total)
    piece = np.arange(total)
    piece[0] = -1
    tree = Tree(first, np.concatenate(labels), piece)
    return tree, np.concatenate(counts), np.concatenate(lengths), np.concatenate(ends)


def pruned(tree: Tree, alive: np.ndarray) -> Tree:
    """The tree with only the nodes on the way to a piece that is alive.

    alive : (V,) bool by piece number
    """
    first, label, piece = tree
    piece = np.where((piece >= 0) & alive[piece], piece, -1)
    parent = np.repeat(np.arange(label.size), np.diff(first))  # of nodes 1, 2, …
    needed = piece >= 0
    while True:  # each time one level nearer to the root
        more = needed.copy()
        more[parent[needed[1:]]] = True
        if (more == needed).all():
            break
        needed = more
    needed[0] = True
    number = np.cumsum(needed) - 1
    parents = number[parent[needed[1:]]]
    first = _first_children(parents, int(needed.sum()))
    return Tree(first, label[needed], piece[needed])
