"""word2vec: the words of a window predict its centre, against words drawn by chance, down the turns of a tree, or both.

    h = v[word] for each word of the window (skip-gram), or the sum or mean of them all (CBOW)
    s = h · u[output]       outputs: the centre (sign +), n₁ … n_K (−) drawn from count^0.75; nodes of the centre's path (±)
    loss = −Σ log σ(±s)     e = lr · ±(1 − σ(±s)) for each output
    v[word] += Σ_outputs e · u[output]        u[output] += Σ_h e · h        (CBOW: each word gets it whole)

A word is a bag of rows of v, usually its own row alone; with fastText's n-grams v[word] is their mean, and each row gets
the change of the word whole. So every h is the sum or mean of a group of rows: those of a word, or of a window.

One update is one centre: all words of its window share its K negatives, and every score is computed from the rows as they
were before. So it is one step of SGD on the window's summed loss. Random numbers are a counter hash of (key, position,
draw): the reference draws the same ones.

The ladder (words/s at 100 dimensions, window 5, K = 5, newsgroups, one thread, relative to gensim 4.4 with one worker):
  1.7  rows updated in place, K fresh negatives for every pair, as in the original program
  3.5  negatives shared over the window, on copies of the rows: nothing aliases, fewer rows fetched
  3.9  updates of a row taken three at a time
"""

import numpy as np
from numba import prange

from .elementary import exp, hash32, hash32_ref
from .runtime.registry import helper, kernel

SKIP_GRAM, CBOW_SUM, CBOW_MEAN = 0, 1, 2
CHUNKS = 16  # parts of a call that may run at the same time, each a run of whole sentences; a thread takes neighbouring ones
LIMIT = 60.0  # scores are cut to ±LIMIT: σ is exact to e^-60, and a product of probabilities can be kept from underflow


def alias_table(weights):
    """The distribution weights/Σ weights as V slots of equal chance: (accept, alias), see `word2vec`; a draw costs one look.

    weights : (V,) not negative, some positive   returns accept (V,) float64, alias (V,) int64
    Source: Walker 1977, built as by Vose 1991. Differs from word2vec's table of 10^8 entries: exact and small.
    """
    share = (
        np.asarray(weights, np.float64) * (len(weights) / np.sum(weights))
    ).tolist()  # 1 fills a slot
    accept, alias = [1.0] * len(share), list(range(len(share)))
    small = [i for i, s in enumerate(share) if s < 1]
    large = [i for i, s in enumerate(share) if s >= 1]
    while small and large:
        accept[small[-1]], alias[small[-1]] = share[small[-1]], large[-1]
        share[large[-1]] -= (
            1 - share[small.pop()]
        )  # the large one gives what the small one's slot has left
        if share[large[-1]] < 1:
            small.append(large.pop())
    return np.array(accept), np.array(alias)


def draw_windows(ids, begins, tables, window, negative, key):
    """What a call of `word2vec` trains on, in its order: the definition of subsampling, dynamic windows and negatives.

    ids : (N,) words; begins : (N,) bool, True at the first word of a sentence     tables : keep, accept, alias, see there
    returns centres (P,) positions in ids, contexts (P,) positions in ids, negatives (N, K) words, −1 = skipped
    Word n survives with probability keep[ids[n]], before windows are cut, so windows reach over what was dropped; its
    window reaches b words to either side, b uniform in 1..window. Draw number j of word n is hash(n·(K+2) + j).
    """
    keep, accept, alias = tables
    u = hash32_ref(np.arange(ids.size * (negative + 2)).reshape(ids.size, negative + 2), key)
    kept = np.flatnonzero(u[:, 0] * 2.0**-32 < keep[ids])
    sentence = np.cumsum(begins)[kept]
    reach = 1 + (u[kept, 1].astype(np.uint64) * np.uint64(window) >> np.uint64(32)).astype(np.int64)
    offsets = np.concatenate([np.arange(-window, 0), np.arange(1, window + 1)])
    partner = np.arange(kept.size)[:, None] + offsets  # (kept words, 2·window)
    inside = (partner >= 0) & (partner < kept.size) & (np.abs(offsets) <= reach[:, None])
    partner = np.where(inside, partner, 0)
    centre, column = np.nonzero(
        inside & (sentence[partner] == sentence[:, None]) if kept.size else inside
    )
    slot, fraction = np.divmod(
        u[:, 2:].astype(np.uint64) * np.uint64(alias.size), np.uint64(1 << 32)
    )
    slot = slot.astype(np.int64)
    negatives = np.where(fraction * 2.0**-32 < accept[slot], slot, alias[slot])
    negatives = np.where(negatives == ids[:, None], -1, negatives)
    return kept[centre], kept[partner[centre, column]], negatives


def _word2vec_ref(
    vectors,
    context,
    bags,
    ids,
    begins,
    chances,
    alias,
    ways,
    window,
    negative,
    mode,
    lr,
    key,
    losses,
):
    losses[...] = 0
    centres, contexts, negatives = draw_windows(
        ids, begins, (*chances, alias), window, max(negative, 0), key
    )
    starts = np.flatnonzero(np.diff(centres, prepend=-1))
    for n, inputs in zip(
        centres[starts], np.split(ids[contexts], starts[1:]), strict=starts.size > 0
    ):
        drawn = np.append(ids[n], negatives[n][negatives[n] >= 0])[: None if negative >= 0 else 0]
        way = ways[ids[n]][ways[ids[n]] >= 0]
        outputs = np.append(drawn, way >> 1)
        sign = np.append(np.where(np.arange(drawn.size) == 0, 1, -1), 1 - 2 * (way & 1)).astype(
            vectors.dtype
        )
        groups = [bags[bags[word] : bags[word + 1]] for word in inputs]
        groups = groups if mode == SKIP_GRAM else [np.concatenate(groups)]
        sizes = [1 if mode == CBOW_SUM else rows.size for rows in groups]
        v = (
            np.stack([vectors[rows].sum(axis=0) for rows in groups])
            / np.array(sizes, vectors.dtype)[:, None]
        )  # (groups, C)
        u = context[outputs]  # (outputs, C)
        probability = 1 / (
            1 + np.exp(-sign * np.clip(v @ u.T, -LIMIT, LIMIT))
        )  # that each label is right
        errors = v.dtype.type(lr) * sign * (1 - probability)
        for rows, change in zip(groups, errors @ u, strict=True):
            np.add.at(vectors, rows, change)
        np.add.at(context, outputs, errors.T @ v)
        losses[:, n] = -np.log(probability).sum(), len(v)


@helper
def _outputs_of(word, chances, alias, ways, negative, draws, outputs, signs):
    """Write the centre and its negatives, then the nodes of its path, and the sign of each; returns how many.

    draws : the number of the first draw, and the key
    """
    count = 0
    if negative >= 0:
        outputs[0], signs[0], count = word, 1, 1
    for k in range(negative):
        product = np.uint64(hash32(draws[0] + k, draws[1])) * np.uint64(alias.size)
        slot = np.int64(product >> np.uint64(32))
        fraction = np.float64(product & np.uint64(0xFFFFFFFF)) * 2.0**-32
        drawn = slot if fraction < chances[1, slot] else alias[slot]
        if drawn != word:
            outputs[count], signs[count] = drawn, -1
            count += 1
    for k in range(ways.shape[1]):
        if ways[word, k] >= 0:
            outputs[count], signs[count] = ways[word, k] >> 1, 1 - 2 * (ways[word, k] & 1)
            count += 1
    return count


@helper
def _gather(table, rows, count, local):
    for m in range(count):
        row, mine = table[rows[m]], local[m]
        for j in range(mine.size):
            mine[j] = row[j]


@helper
def _add_products(table, rows, factors, local, counts):
    """table[rows[m]] += Σ_k factors[m, k] · local[k], three k at a time."""
    for m in range(counts[0]):
        row, k = table[rows[m]], 0
        while k + 3 <= counts[1]:
            f, g, h = factors[m, k], factors[m, k + 1], factors[m, k + 2]
            a, b, c = local[k], local[k + 1], local[k + 2]
            for j in range(row.size):
                row[j] += f * a[j] + g * b[j] + h * c[j]
            k += 3
        while k < counts[1]:
            f, a = factors[m, k], local[k]
            for j in range(row.size):
                row[j] += f * a[j]
            k += 1


@helper
def _errors(v, u, inputs, outputs, lr, signs, errors):
    """errors[m, k] = lr · sign·(1 − σ(sign · v[m]·u[k])); returns the loss in nats."""
    one, limit = v.dtype.type(1), v.dtype.type(LIMIT)
    for m in range(inputs):
        for k in range(outputs):
            a, b, score = v[m], u[k], v.dtype.type(0)
            for j in range(a.size):
                score += a[j] * b[j]
            errors[m, k] = score * signs[k]
    loss, product = 0.0, 1.0
    for m in range(inputs):
        row = errors[m]
        for k in range(outputs):
            row[k] = one / (one + exp(-min(max(row[k], -limit), limit)))
        for k in range(outputs):
            product *= row[k]
            if product < 1e-200:
                loss -= np.log(product)
                product = 1.0
            row[k] = lr * signs[k] * (one - row[k])
    return loss - np.log(product)


@helper
def _pool(table, rows, ends, groups, mean, local):
    """local[g] = the sum or mean of table[rows[ends[g]:ends[g + 1]]]."""
    for g in range(groups):
        row, mine, size = table[rows[ends[g]]], local[g], ends[g + 1] - ends[g]
        for j in range(mine.size):
            mine[j] = row[j]
        for m in range(ends[g] + 1, ends[g + 1]):
            row = table[rows[m]]
            for j in range(mine.size):
                mine[j] += row[j]
        if mean and size > 1:
            for j in range(mine.size):
                mine[j] /= table.dtype.type(size)


@helper
def _spread(table, rows, ends, groups, factors, u, outputs, change):
    """table[rows[m]] += Σ_k factors[g, k] · u[k], the same for every m of group g."""
    for g in range(groups):
        change[:] = 0
        for k in range(outputs):
            f, a = factors[g, k], u[k]
            for j in range(change.size):
                change[j] += f * a[j]
        for m in range(ends[g], ends[g + 1]):
            row = table[rows[m]]
            for j in range(row.size):
                row[j] += change[j]


@helper
def _first_begin(begins, n):
    """The first sentence that begins at or after position n (the end of the text if none does)."""
    while 0 < n < begins.size and not begins[n]:
        n += 1
    return n


@kernel(
    reference=_word2vec_ref,
    parallel=True,
    spec="vectors: inout[R,C]; context: inout[U,C]; bags: ids<R[B]; ids: ids<V[N]; begins: bool[N]; "
    "chances: double[2,V]; alias: ids<V[V]; ways: ids<U[V,D]; window: 1..5; negative: 0..5; mode: 0..2; lr: real; "
    "key: key; losses: out[2,N]",
)
def word2vec(
    vectors,
    context,
    bags,
    ids,
    begins,
    chances,
    alias,
    ways,
    window,
    negative,
    mode,
    lr,
    key,
    losses,
):
    """One pass of SGD over a text, lock-free: threads write rows of the tables without asking (with one thread: exact).

    vectors : (R, C), in place: the rows v     context : (U, C), in place: the rows u, one per word, then the tree's nodes
    bags : (V + 1 + F,) word w is the rows bags[bags[w]:bags[w + 1]] of vectors, at least one
    ids : (N,) int64 words     begins : (N,) bool, True where a sentence begins
    chances : (2, V) that a word survives subsampling; that a uniform slot of the noise distribution is taken and not its
    alias     alias : (V,)     ways : (V, D) each word's path in the tree as 2·row + code, then −1; D = 0 without a tree
    negative : K, −1 without negative sampling     mode : SKIP_GRAM, CBOW_SUM or CBOW_MEAN
    losses : (2, N) written: for each centre the loss in nats, summed over its window, and the number of predictions
    Source: Mikolov et al. 2013; Ji et al. 2016 (shared negatives); Bojanowski et al. 2017 (bags). Differs: exact sigmoid;
    one update per window.
    """
    rate, most, draws = vectors.dtype.type(lr), 2 * window, max(negative, 0) + 2
    width, room, longest = vectors.shape[1], max(negative + 1, 0) + ways.shape[1], 1
    for word in range(alias.size):
        longest = max(longest, bags[word + 1] - bags[word])
    for chunk in prange(CHUNKS):
        n = _first_begin(begins, ids.size * chunk // CHUNKS)
        last = _first_begin(begins, ids.size * (chunk + 1) // CHUNKS)
        kept, outputs = np.empty(last - n, np.int64), np.empty(room, np.int64)
        rows, ends = np.empty(most * longest, np.int64), np.zeros(most + 1, np.int64)
        v, u, change = (
            np.empty((most, width), vectors.dtype),
            np.empty((room, width), vectors.dtype),
            np.empty(width, vectors.dtype),
        )
        errors, signs = np.empty((most, room), vectors.dtype), np.empty(room, vectors.dtype)
        while n < last:
            end, size = _first_begin(begins, n + 1), 0
            for i in range(n, end):
                losses[0, i], losses[1, i] = 0, 0
                if hash32(i * draws, key) * 2.0**-32 < chances[0, ids[i]]:
                    kept[size] = i
                    size += 1
            for i in range(size):
                draw = kept[i] * draws + 1
                reach = 1 + np.int64(
                    np.uint64(hash32(draw, key)) * np.uint64(window) >> np.uint64(32)
                )
                count, groups = 0, 0
                for j in range(max(i - reach, 0), min(i + reach + 1, size)):
                    if j != i:
                        word = ids[kept[j]]
                        for place in range(bags[word], bags[word + 1]):
                            rows[count] = bags[place]
                            count += 1
                        groups = groups + 1 if mode == SKIP_GRAM else 1
                        ends[groups] = count
                if count:
                    total = _outputs_of(
                        ids[kept[i]],
                        chances,
                        alias,
                        ways,
                        negative,
                        (draw + 1, key),
                        outputs,
                        signs,
                    )
                    single = (
                        count == groups and mode == SKIP_GRAM
                    )  # every word is one row: no sum, updated three at a time
                    if single:
                        _gather(vectors, rows, count, v)
                    else:
                        _pool(vectors, rows, ends, groups, mode != CBOW_SUM, v)
                    _gather(context, outputs, total, u)
                    losses[0, kept[i]] = _errors(v, u, groups, total, rate, signs, errors)
                    losses[1, kept[i]] = groups
                    if single:
                        _add_products(vectors, rows, errors, u, (groups, total))
                    else:
                        _spread(vectors, rows, ends, groups, errors, u, total, change)
                    _add_products(context, outputs, errors.T, v, (total, groups))
            n = end
