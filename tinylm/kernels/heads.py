"""How the attention kernels read and write heads where they lie.

Queries, keys, values, output and their gradients are contiguous arrays (G, T, M, H', D): G groups
of H' heads, B·H in all. M is 3 where queries, keys and values lie beside each other as one packed
product left them, else 1. So the kernel reads and writes (B, T, 3·H·D) products, (B, T, H, D)
arrays and (B, H, T, D) arrays where they lie. A head's row of D numbers is always one run of
memory; copying rows of unknown stride was four times slower.
"""

import numpy as np

from .runtime.registry import helper

QUERY = 0
KEY = 1
VALUE = 2


def head_rows(x, part, shape):
    """One part of an array (G, T, M, H', D) as a (B, H, T, D) array."""
    mine = x[:, :, min(part, x.shape[2] - 1)]  # (G,T,M,H',D) -> (G,T,H',D)
    turned = mine.swapaxes(1, 2)  # (G,T,H',D) -> (G,H',T,D)
    return turned.reshape(*shape, x.shape[1], x.shape[4])


def write_head_rows(x, part, values):
    """Write values (B, H, T, D) to one part of an array (G, T, M, H', D)."""
    groups, length, parts, heads, width = x.shape
    grouped = values.reshape(groups, heads, length, width)
    x[:, :, min(part, parts - 1)] = grouped.swapaxes(1, 2)


@helper
def load_rows(x, bh, part, first, scale, target):
    """target (n, D) = scale · rows first, first + 1, … of head number bh in one part of x."""
    heads = x.shape[3]
    part = min(part, x.shape[2] - 1)
    for i in range(target.shape[0]):
        row = x[bh // heads, first + i, part, bh % heads]
        mine = target[i]
        for d in range(mine.size):
            mine[d] = row[d] * scale


@helper
def load_turned(x, bh, part, target):
    """target (D, ≥ n) = the transpose of all n rows of head number bh in one part of x.

    Products with it need no further transposition.
    """
    heads = x.shape[3]
    part = min(part, x.shape[2] - 1)
    for i in range(x.shape[1]):
        row = x[bh // heads, i, part, bh % heads]
        for d in range(row.size):
            target[d, i] = row[d]


@helper
def head_copy(x, bh, part):
    """All rows (S, D) of head number bh in one part of x."""
    rows = np.empty((x.shape[1], x.shape[4]), x.dtype)
    load_rows(x, bh, part, 0, x.dtype.type(1), rows)
    return rows


@helper
def store_rows(source, scale, x, bh, part, first):
    """Rows first, first + 1, … of head number bh in one part of x = scale · source (n, D)."""
    heads = x.shape[3]
    part = min(part, x.shape[2] - 1)
    for i in range(source.shape[0]):
        row = x[bh // heads, first + i, part, bh % heads]
        mine = source[i]
        for d in range(mine.size):
            row[d] = mine[d] * scale


@helper
def dot_row(x, bh, t, row):
    """The dot product of `row` and row t of head number bh in x."""
    heads = x.shape[3]
    mine = x[bh // heads, t, 0, bh % heads]
    total = row.dtype.type(0)
    for d in range(row.size):
        total += mine[d] * row[d]
    return total


@helper
def add_row(row, extra):
    """row += extra, in place."""
    for s in range(row.size):
        row[s] += extra[s]


@helper
def scale_row(row, scale):
    """row *= scale, in place."""
    for d in range(row.size):
        row[d] *= scale
