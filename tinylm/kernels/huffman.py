"""A Huffman tree over a vocabulary, as arrays: frequent words get short codes, so that a softmax costs their length.

P(word) = Π_d σ(±u_d·h)        u_d : the inner nodes from the root to the word, − where its code's bit is 1
"""

import numpy as np


def huffman_tree(counts):
    """Each word's way down from the root: the inner nodes that it passes and the turns that it takes there.

    counts : (V,) how often each word occurs; 0 is taken for 1, so that every word has a code
    returns paths (V, D) int64, nodes 0 … V − 2 with the root V − 2, then −1; codes (V, D) bool, True = the more frequent
    of the two branches; D is the longest code
    Source: the released word2vec.c, whose ties these are on counts sorted from the largest. Differs: no limit to D.
    """
    order = np.argsort(-np.maximum(np.asarray(counts), 1), kind="stable")
    leaves, size = np.maximum(np.asarray(counts), 1)[order].tolist(), len(order)
    inner, parent, bit = [], np.zeros(2 * size - 1, np.int64), np.zeros(2 * size - 1, bool)
    leaf, node = size - 1, 0  # the least frequent ones without a parent
    for new in range(size - 1):
        pair = []
        for _ in range(2):
            if leaf >= 0 and (node == len(inner) or leaves[leaf] < inner[node]):
                pair.append((leaf, leaves[leaf]))
                leaf -= 1
            else:
                pair.append((size + node, inner[node]))
                node += 1
        inner.append(pair[0][1] + pair[1][1])
        parent[[pair[0][0], pair[1][0]]], bit[pair[1][0]] = size + new, True
    depth = np.zeros(2 * size - 1, np.int64)
    for child in range(2 * size - 3, -1, -1):  # a parent has a larger number than its children
        depth[child] = depth[parent[child]] + 1
    paths = np.full((size, depth.max(initial=0)), -1)
    codes, at, rows = np.zeros(paths.shape, bool), np.arange(size), order
    while rows.size:  # every leaf at once, up to the root
        alive = depth[at] > 0
        at, rows = at[alive], rows[alive]
        paths[rows, depth[at] - 1], codes[rows, depth[at] - 1] = parent[at] - size, bit[at]
        at = parent[at]
    return paths, codes
