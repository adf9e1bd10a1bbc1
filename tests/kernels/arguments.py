"""Legal arguments for any kernel, built from its spec (the grammar is in tinylm.kernels.runtime.registry.parse_spec).

Sizes are 1 and odd primes, mostly small; now and then one dimension is large enough to need several blocks. Dimensions in
`MAY_BE_ZERO` may also be zero. Outputs arrive filled with NaN, so that what a kernel forgets to write is seen.
"""

import itertools
import re

import numpy as np
from hypothesis import strategies as st

from tinylm.text import trie
from tinylm.text.merging import Table

SMALL = (1, 3, 5, 7, 11, 13, 17, 19)
LARGE = (67, 131)
MAY_BE_ZERO = {"N", "B", "T"}
ARRAYS = {"float", "double", "inout", "posinout", "out", "bool", "ids", "outids"}
WRITTEN = {"inout", "posinout", "out", "outids"}


def dimension_names(kernel):
    """Names of all dimensions in a kernel's spec, in order of appearance."""
    texts = [dim for argument in kernel.arguments for dim in argument.dims or ()]
    names = [part for text in texts for part in re.split(r"[|*+]", text.strip("()"))]
    return list(dict.fromkeys(name for name in names if not name.isdigit()))


def large_sizes(kernel):
    """Sizes that make a kernel's loops run over several blocks, small enough for a test."""
    rank = len(dimension_names(kernel))
    return (16411, 32771) if rank == 1 else (*LARGE, 521) if rank <= 3 else LARGE[:1]


@st.composite
def sizes(draw, kernel):
    """One size per dimension name; at most one of them large or zero."""
    names = dimension_names(kernel)
    dims = {name: draw(st.sampled_from(SMALL if len(names) <= 3 else SMALL[:4])) for name in names}
    special = draw(st.sampled_from(["none", "none", "large", "zero"]))
    if special == "large":
        dims[draw(st.sampled_from(names))] = draw(st.sampled_from(large_sizes(kernel)))
    elif special == "zero" and MAY_BE_ZERO & set(names):
        dims[draw(st.sampled_from(sorted(MAY_BE_ZERO & set(names))))] = 0
    return dims


def shapes_of(argument, dims, broadcast):
    """The shape of an array argument; `broadcast` is an iterator of bools that decide each `(A|1)`."""

    def length(text):
        if text.startswith("("):
            return length(text.strip("()").split("|")[0]) if next(broadcast) else 1
        product, _, more = text.partition("+")
        return int(
            np.prod([int(part) if part.isdigit() else dims[part] for part in product.split("*")])
        ) + int(more or 0)

    return tuple(length(text) for text in argument.dims)


def array(argument, shape, dims, dtype, rng):
    """A random array of the argument's kind."""
    if argument.kind == "out":
        return np.full(shape, np.nan, dtype)
    if argument.kind == "outids":
        return np.full(shape, -1, np.int64)
    if argument.kind == "bool":
        return rng.random(shape) < 0.7
    if argument.kind == "ids":
        return rng.integers(0, max(dims[argument.bound], 1), shape)
    values = rng.normal(size=shape)
    if argument.kind == "double":
        return values
    return (np.abs(values) + 0.1 if argument.kind == "posinout" else values).astype(dtype)


def scalar(kind, rng):
    """A random scalar of the kind."""
    if kind == "rate":
        return float(rng.choice([0.0, 0.1, 0.5, 0.9]))
    if kind == "key":
        return np.uint64(rng.integers(0, 2**64, dtype=np.uint64))
    if kind == "real":
        return float(rng.uniform(0.1, 2))
    first, last = kind.split("..")
    return int(rng.integers(int(first), int(last) + 1))


def build(kernel, dims, dtype, rng):
    """A dict name -> value with all arguments of the kernel; `FINISH` then makes dependent ones consistent."""
    values = {}
    coins = (bool(rng.random() < 0.7) for _ in itertools.count())
    left_out = {
        argument.name for argument in kernel.arguments if argument.optional and rng.random() < 0.3
    }
    if "projection" in left_out:
        dims = dims | {"P": dims["H"]}  # an LSTM's state is then its hidden units
    for argument in kernel.arguments:
        if argument.kind in ARRAYS:
            shape = (
                (0,) * len(argument.dims)
                if argument.name in left_out
                else shapes_of(argument, dims, coins)
            )
            values[argument.name] = array(argument, shape, dims, dtype, rng)
        else:
            values[argument.name] = scalar(argument.kind, rng)
    if kernel.name in FINISH:
        FINISH[kernel.name](values, rng)
    return values


def _attention_backward_finish(values, rng):
    """The backward's `out` and `lse` are what the forward made of the other arguments."""
    from tinylm.kernels import KERNELS

    forward = KERNELS["attention"]
    forward.reference(*(values[argument.name] for argument in forward.arguments))


def _distances_in_reach(values, rng):
    """The directions divide the texts, and every key of every query has its row of r."""
    (batch, source), (_, _, _, heads, width) = values["k"].shape[:2], values["r"].shape
    directions = int(rng.choice([n for n in (1, 2, 3, 5) if batch % n == 0]))
    more = int(rng.integers(0, 9))
    shape = (directions, source + more, 1, heads, width)
    values["r"] = rng.normal(size=shape).astype(values["r"].dtype)
    values["begins"] = rng.integers(0, more + 1, values["begins"].shape)
    if "dr" in values:
        values["dr"] = np.full(shape, np.nan, values["r"].dtype)
        from tinylm.kernels import KERNELS

        forward = KERNELS["relative_attention"]
        forward.reference(*(values[argument.name] for argument in forward.arguments))


def _as_the_forward_left_them(values, rng):
    """The CRF's alphas and scales are what the forward made of the other arguments."""
    from tinylm.kernels import KERNELS

    forward = KERNELS["crf"]
    starts = rng.normal(size=values["ends"].shape).astype(values["ends"].dtype)
    given = values | {"starts": starts, "log_partition": np.empty_like(values["dy"])}
    forward.reference(*(given[argument.name] for argument in forward.arguments))


def _some_targets_ignored(values, rng):
    """Negative targets are rows that are not counted."""
    values["targets"][rng.random(values["targets"].shape) < 0.2] = -1


def _nothing_to_keep(values, rng):
    """Without activation and dropout the ops pass an empty `dpre`."""
    if not values["slope"].size and rng.random() < 0.5:
        values.update(rate=0.0, dpre=values["dpre"][:0, :0])


def _gentle_windows(values, rng):
    """Hundreds of updates in a row stay comparable only if each is small; probabilities are in [0, 1].

    A tree's nodes lie behind the words' rows; a path ends with −1; a tree may do without negatives. Words are bags of rows.
    """
    values["lr"] *= 0.01
    values["chances"] = np.abs(np.sin(values["chances"]))
    (rows, width), (words, longest), nodes = (
        values["vectors"].shape,
        values["ways"].shape,
        len(values["context"]),
    )
    ends = words + 1 + np.cumsum(np.append(0, rng.integers(1, 4, words)))
    values["bags"] = np.append(ends, rng.integers(0, rows, ends[-1] - ends[0]))
    values["context"] = rng.normal(size=(words + nodes, width)).astype(values["context"].dtype)
    path = 2 * rng.integers(words, words + nodes, (words, longest)) + rng.integers(
        0, 2, (words, longest)
    )
    values["ways"] = np.where(
        np.arange(longest) < rng.integers(0, longest + 1, (words, 1)), path, -1
    )
    if rng.random() < 0.3:
        values["negative"] = -1


def _gentle_cells(values, rng):
    """Small weights and rates, and sums of at least 1: hundreds of updates of the same rows stay comparable."""
    values.update(weights=values["weights"] * 0.05, lr=values["lr"] * 0.1)
    for name in ("vector_squares", "context_squares", "bias_squares"):
        values[name] += 1


def _a_text_by_words(values, rng):
    """Lines of a text, where its words stand, and room for every cell that they may have."""
    ids, span, rows = values["ids"], values["weights"].size, values["lengths"].size
    values.update(
        vocab_size=max(rows, int(ids.max(initial=0)) + 1), weights=1 / np.arange(1.0, span + 1)
    )
    values["line"] = np.sort(values["line"])
    values["places"] = np.argsort(ids, kind="stable")
    uses = np.bincount(ids, minlength=values["vocab_size"])[:rows]
    values["starts"] = np.concatenate([[0], np.cumsum(uses)])
    values["firsts"] = np.concatenate(
        [[0], np.cumsum(np.minimum(uses * 2 * span, values["vocab_size"]))]
    )
    room = values["firsts"][-1]
    values["counts"] = np.full(room, np.nan, values["counts"].dtype)
    values["columns"] = np.full(room, -1)


def _gentle_recurrence(values, rng):
    """A recurrence of large weights is chaotic: it makes any rounding as large as the values."""
    values["weight"] *= 0.5 / max(values["weight"].shape[1], 1) ** 0.5
    if "hidden" in values:  # m is an output of its own where it is projected, and only there
        places = len(values["mask"]), *values["cells"].shape[1:]
        shape = places if values["projection"].size else (0, 0, 0)
        values["hidden"] = np.full(shape, np.nan, values["weight"].dtype)
    if "acts" in values:  # the gates' values lie between 0 and 1
        values["acts"] = 1 / (1 + np.exp(-values["acts"]))


def _long_enough(values, rng):
    """The input is as long as a filter; sums of small integers are exact, so that the first of equal maxima is known."""
    batch, steps, channels = values["x"].shape
    longer = (batch, steps + values["weight"].shape[1] // channels - 1, channels)
    values["x"] = rng.integers(-3, 4, longer).astype(values["x"].dtype)
    values["weight"] = rng.integers(-3, 4, values["weight"].shape).astype(values["x"].dtype)
    if "dx" in values and values["dx"].size:
        values["dx"] = np.full(longer, np.nan, values["x"].dtype)


def _tree(pieces):
    """The tree of pieces given as tuples of symbols."""
    return trie.grow(
        np.array([s for piece in pieces for s in piece], np.int64),
        np.array([*map(len, pieces)], np.int64),
    )


def _a_trie_of_short_pieces(values, rng):
    """Random pieces of few symbols (piece 0 is the unknown one), and a text of symbols that they use and one more."""
    count = values["scores"].size
    pieces = {tuple(rng.integers(0, 3, rng.integers(1, 5)).tolist()): None for _ in range(count)}
    values.update(
        zip(("base", "parent", "piece"), trie.pack(_tree([(), *pieces][:count]), 4), strict=True)
    )
    values["text"] %= 4
    values["scores"] = -np.abs(values["scores"])


def _a_trie_with_a_second_start(values, rng):
    """Random pieces, and of the nodes that begin some, another one to start from."""
    count = max(int(values["piece"].max(initial=0)) + 1, 2)
    pieces = [
        (0, 1),
        *{tuple(rng.integers(0, 3, rng.integers(1, 5)).tolist()): None for _ in range(count)},
    ]
    values.update(zip(("base", "parent", "piece"), trie.pack(_tree([(), *pieces]), 4), strict=True))
    values["starts"] = np.array([0, values["base"][0]])
    values["text"] %= 4


def _merges_as_learned(values, rng):
    """Each merge makes a new token of two that are there before it; some merges share a rank."""
    pairs = [(0, 1)]
    for made in range(3, 3 + values["made"].size):
        pairs.append(tuple(rng.integers(0, min(made, 9), 2).tolist()))
    size = 3 + len(pairs)
    table = Table(size, pairs, list(range(3, size)), rng.integers(0, size, len(pairs)).tolist())
    values.update(first=table.first, second=table.second, made=table.made, ranks=table.ranks)
    values["units"] %= 3


def _a_tree(values, rng):
    """Siblings have different labels in rising order; the root has none."""
    count = max(values["label"].size, 1)
    pieces = {tuple(rng.integers(0, 7, rng.integers(1, 4)).tolist()) for _ in range(count)}
    values["first"], values["label"], _ = _tree(sorted(pieces))
    values["slot"] = np.full(values["label"].size, -1)


def _gentle_block(values, rng):
    """Weights of a size at which every product keeps its input's: else rounding decides the softmax."""
    for name in ("w_attn", "w_proj", "w_up", "w_down"):
        values[name] *= 1 / values[name].shape[1] ** 0.5


FINISH = {
    "block_step": _gentle_block,
    "double_array": _a_tree,
    "viterbi": _a_trie_of_short_pieces,
    "expectation": _a_trie_of_short_pieces,
    "longest_match": _a_trie_with_a_second_start,
    "merge": _merges_as_learned,
    "conv1d_max": _long_enough,
    "conv1d_max_backward": _long_enough,
    "lstm": _gentle_recurrence,
    "lstm_backward": _gentle_recurrence,
    "word2vec": _gentle_windows,
    "glove": _gentle_cells,
    "cooccurrence": _a_text_by_words,
    "attention_backward": _attention_backward_finish,
    "relative_attention": _distances_in_reach,
    "relative_attention_backward": _distances_in_reach,
    "crf_backward": _as_the_forward_left_them,
    "linear_cross_entropy": _some_targets_ignored,
    "linear_backward": _nothing_to_keep,
}


def copies(values):
    """The same arguments in fresh arrays of the same layout."""
    return {
        name: value.copy(order="K") if isinstance(value, np.ndarray) else value
        for name, value in values.items()
    }


def written(kernel, values):
    """name -> array of everything that the kernel writes."""
    return {
        argument.name: values[argument.name]
        for argument in kernel.arguments
        if argument.kind in WRITTEN
    }
