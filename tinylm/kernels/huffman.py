"""A Huffman tree over a vocabulary: frequent words get short codes, so that a softmax gets cheap.

    P(word) = Π_d σ(±u_d·h)

u_d are the inner nodes on the way from the root to the word; the sign is − where the code's bit
is 1. The cost of a word is the length of its code, not the size of the vocabulary.
"""

import numpy as np


def huffman_tree(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each word's way down from the root: the inner nodes that it passes, and the turns it takes.

    >>> paths, codes = huffman_tree([5, 1, 2])
    >>> paths.tolist()
    [[1, -1], [1, 0], [1, 0]]
    >>> codes.astype(int).tolist()
    [[1, 0], [0, 0], [0, 1]]

    counts : (V,) how often each word occurs; 0 is taken for 1, so that every word has a code
    returns paths (V, D) int64, nodes 0 … V − 2 with the root V − 2, then −1; codes (V, D) bool,
        True = the more frequent of the two branches; D is the longest code
    Source: the released word2vec.c; the tree is the same, ties included, where counts are sorted
    from the largest on. Differs: no limit to D.
    """
    counts = np.maximum(np.asarray(counts), 1)
    order = np.argsort(-counts, kind="stable")
    size = len(order)
    parent, bit = _join_rarest(counts[order].tolist())
    depth = np.zeros(2 * size - 1, np.int64)
    for child in range(2 * size - 3, -1, -1):  # a parent has a larger number than its children
        depth[child] = depth[parent[child]] + 1
    paths = np.full((size, depth.max(initial=0)), -1)
    codes = np.zeros(paths.shape, bool)
    at = np.arange(size)
    rows = order
    while rows.size:  # all words climb one node at a time, from their leaves to the root
        below_root = depth[at] > 0
        at = at[below_root]
        rows = rows[below_root]
        level = depth[at] - 1
        paths[rows, level] = parent[at] - size
        codes[rows, level] = bit[at]
        at = parent[at]
    return paths, codes


def _join_rarest(leaves: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Join the two rarest nodes again and again, until one is left: the root.

    leaves : V counts, falling; leaf i is node i, and the inner nodes are V, V + 1, …
    returns parent (2V − 1,) int64 and bit (2V − 1,) bool, True = the more frequent of its two
    """
    size = len(leaves)
    inner = []  # counts of the inner nodes; each joins rarer nodes than the next, so they rise
    parent = np.zeros(2 * size - 1, np.int64)
    bit = np.zeros(2 * size - 1, bool)
    leaf = size - 1  # the rarest leaf without a parent
    node = 0  # the rarest inner node without a parent
    for new in range(size, 2 * size - 1):
        total = 0
        for second in (False, True):
            if leaf >= 0 and (node == len(inner) or leaves[leaf] < inner[node]):
                child = leaf
                total += leaves[leaf]
                leaf -= 1
            else:
                child = size + node
                total += inner[node]
                node += 1
            parent[child] = new
            bit[child] = second
        inner.append(total)
    return parent, bit
