"""Tries as three arrays, in the layout that `kernels.lattice` reads: nodes level by level, children side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Trie = tuple[np.ndarray, np.ndarray, np.ndarray]


def build(pieces: Sequence[Sequence[int]]) -> Trie:
    """The trie of pieces given as sequences of symbols; an empty piece stands nowhere.

    returns first (N + 1,), label (N,), piece (N,) int64: node 0 is the root, piece[n] the number of the piece or -1
    """
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


def count_substrings(
    symbols: np.ndarray, begins: np.ndarray, times: np.ndarray, longest: int
) -> tuple[Trie, np.ndarray, np.ndarray, np.ndarray]:
    """The trie of all substrings of words that are seen twice or more, of at most `longest` symbols, built level by level.

    returns the trie, in which every node is the piece of its own number; counts, lengths and ends (N,) of the nodes: n is
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


def pruned(trie: Trie, alive: np.ndarray) -> Trie:
    """The trie with only the nodes on the way to a piece that is alive. alive : (V,) bool by piece number."""
    first, label, piece = trie
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
