"""word2vec: the words of a window predict its centre, against words drawn by chance.

    h = v[word] for each word of the window (skip-gram), or the sum or mean of them all (CBOW)
    s = h · u[output]
    loss = −Σ log σ(±s)     e = lr · ±(1 − σ(±s)) for each output
    v[word] += Σ_outputs e · u[output]        u[output] += Σ_h e · h

Outputs: with negative sampling the centre (sign +) and n₁ … n_K (−) drawn from count^0.75; with
a Huffman tree the nodes on the way to the centre, whose signs are its turns; or both.
In CBOW each word of the window gets the whole change of h, not a share of it.

A word is a bag of rows of v, usually its own row alone. With fastText's n-grams v[word] is the
mean of several rows, and each row gets the whole change of the word. So every h is the sum or
mean of a group of rows: those of a word, or of a window.

One update is one centre: all words of its window share its K negatives, and every score is
computed from the rows as they were before. So it is one step of SGD on the window's summed loss.
Random numbers are a counter hash of (key, position, draw), so the reference draws the same ones.

The ladder (words/s at 100 dimensions, window 5, K = 5, newsgroups, one thread, relative to gensim
4.4 with one worker):
  1.7  rows updated in place, K fresh negatives for every pair, as in the original program
  3.5  negatives shared over the window, on copies of the rows: nothing aliases, fewer rows fetched
  3.9  updates of a row taken three at a time
"""

import numpy as np
from numba import prange

from .elementary import exp, hash32, hash32_ref
from .runtime.registry import helper, kernel

SKIP_GRAM = 0
CBOW_SUM = 1
CBOW_MEAN = 2

CHUNKS = 16  # parts of a call that may run at the same time; each is a run of whole sentences
LIMIT = 60.0  # scores are cut to ±LIMIT: σ is exact to e^-60, a few probabilities do not underflow


def alias_table(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distribution weights/Σ weights as V slots of equal chance: one look draws a word.

    A slot holds its own word with probability `accept`, and otherwise the word `alias`:

    >>> accept, alias = alias_table([1, 3])
    >>> accept.tolist(), alias.tolist()
    ([0.5, 1.0], [1, 1])

    weights : (V,) not negative, some positive
    returns accept (V,) float64, alias (V,) int64
    Source: Walker 1977, built as by Vose 1991. Differs from word2vec's table of 10^8 entries:
    exact and small.
    """
    weights = np.asarray(weights, np.float64)
    share = (weights * (len(weights) / np.sum(weights))).tolist()  # 1 fills a slot
    accept = [1.0] * len(share)
    alias = list(range(len(share)))
    small = [i for i, s in enumerate(share) if s < 1]
    large = [i for i, s in enumerate(share) if s >= 1]
    while small and large:
        poor = small.pop()
        rich = large[-1]
        accept[poor] = share[poor]
        alias[poor] = rich
        share[rich] -= 1 - share[poor]  # the rich word fills the rest of the poor one's slot
        if share[rich] < 1:
            small.append(large.pop())
    return np.array(accept), np.array(alias)


def _scaled(bits, n):
    """(integer in 0 … n − 1, fraction in [0, 1)) of n · bits / 2^32, for uint32 bits."""
    product = bits.astype(np.uint64) * np.uint64(n)
    whole = (product >> np.uint64(32)).astype(np.int64)
    return whole, (product & np.uint64(0xFFFFFFFF)) * 2.0**-32


def draw_windows(
    ids: np.ndarray,
    begins: np.ndarray,
    tables: tuple[np.ndarray, np.ndarray, np.ndarray],
    window: int,
    negative: int,
    key: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The predictions of one call of `word2vec`, in its order.

    This defines subsampling, dynamic windows and negatives. Word n survives with probability
    keep[ids[n]], before windows are cut, so windows reach over dropped words. Its window reaches
    b words to either side, b uniform in 1..window. Draw number j of word n is hash(n·(K+2) + j).

    ids : (N,) words
    begins : (N,) bool, True at the first word of a sentence
    tables : keep, accept, alias, see `word2vec` and `alias_table`
    returns centres (P,) positions in ids, contexts (P,) positions in ids, negatives (N, K) words,
        −1 = skipped
    """
    keep, accept, alias = tables
    draws = np.arange(ids.size * (negative + 2)).reshape(ids.size, negative + 2)
    bits = hash32_ref(draws, key)  # (N, 2 + K): survives? how far? which negatives?
    kept = np.flatnonzero(bits[:, 0] * 2.0**-32 < keep[ids])
    sentence = np.cumsum(begins)[kept]
    reach = 1 + _scaled(bits[kept, 1], window)[0]
    offsets = np.concatenate([np.arange(-window, 0), np.arange(1, window + 1)])
    partner = np.arange(kept.size)[:, None] + offsets  # (kept words, 2·window)
    inside = (partner >= 0) & (partner < kept.size) & (np.abs(offsets) <= reach[:, None])
    partner = np.where(inside, partner, 0)
    if kept.size:
        inside &= sentence[partner] == sentence[:, None]
    centre, column = np.nonzero(inside)
    slot, fraction = _scaled(bits[:, 2:], alias.size)
    negatives = np.where(fraction < accept[slot], slot, alias[slot])
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
    """One window after another, one step of SGD each."""
    real = vectors.dtype.type
    losses[...] = 0
    tables = (*chances, alias)
    centres, contexts, negatives = draw_windows(ids, begins, tables, window, max(negative, 0), key)
    starts = np.flatnonzero(np.diff(centres, prepend=-1))
    ends = np.append(starts, centres.size)[1:]
    for start, end in zip(starts, ends, strict=True):
        n = centres[start]
        outputs, signs = _outputs_ref(ids[n], negatives[n], ways, negative >= 0)
        signs = signs.astype(real)
        groups = [bags[bags[word] : bags[word + 1]] for word in ids[contexts[start:end]]]
        if mode != SKIP_GRAM:
            groups = [np.concatenate(groups)]
        sizes = [1 if mode == CBOW_SUM else rows.size for rows in groups]
        sums = np.stack([vectors[rows].sum(axis=0) for rows in groups])
        v = sums / np.array(sizes, real)[:, None]  # (groups, C)
        u = context[outputs]  # (outputs, C)
        scores = np.clip(v @ u.T, -LIMIT, LIMIT)
        right = 1 / (1 + np.exp(-signs * scores))  # the probability of each label
        errors = real(lr) * signs * (1 - right)
        for rows, change in zip(groups, errors @ u, strict=True):
            np.add.at(vectors, rows, change)
        np.add.at(context, outputs, errors.T @ v)
        losses[0, n] = -np.log(right).sum()
        losses[1, n] = len(v)


def _outputs_ref(word, negatives, ways, sampled):
    """The rows of `context` that a word is predicted by, and their signs."""
    drawn = np.append(word, negatives[negatives >= 0]) if sampled else negatives[:0]
    way = ways[word][ways[word] >= 0]
    outputs = np.append(drawn, way >> 1)
    signs = np.append(np.full(drawn.size, -1), 1 - 2 * (way & 1))
    signs[: min(drawn.size, 1)] = 1
    return outputs, signs


@helper
def _outputs(word, chances, alias, ways, negative, draw, key, outputs, signs):
    """Write the centre and its negatives, then the nodes of its path, and the sign of each.

    draw : the number of the draw for the first negative
    returns the number of outputs
    """
    count = 0
    if negative >= 0:
        outputs[0] = word
        signs[0] = 1
        count = 1
    for k in range(negative):
        product = np.uint64(hash32(draw + k, key)) * np.uint64(alias.size)
        slot = np.int64(product >> np.uint64(32))
        fraction = np.float64(product & np.uint64(0xFFFFFFFF)) * 2.0**-32
        drawn = slot if fraction < chances[1, slot] else alias[slot]
        if drawn != word:
            outputs[count] = drawn
            signs[count] = -1
            count += 1
    for k in range(ways.shape[1]):
        way = ways[word, k]
        if way >= 0:
            outputs[count] = way >> 1
            signs[count] = 1 - 2 * (way & 1)
            count += 1
    return count


@helper
def _window(i, reach, kept, size, ids, bags, mode, rows, ends):
    """Write the rows of the words around the kept word i, and where each group of them ends.

    returns the number of groups
    """
    count = 0
    groups = 0
    for j in range(max(i - reach, 0), min(i + reach + 1, size)):
        if j == i:
            continue
        word = ids[kept[j]]
        for place in range(bags[word], bags[word + 1]):
            rows[count] = bags[place]
            count += 1
        groups = groups + 1 if mode == SKIP_GRAM else 1
        ends[groups] = count
    return groups


@helper
def _gather(table, rows, count, local):
    """local[m] = table[rows[m]]."""
    for m in range(count):
        row = table[rows[m]]
        mine = local[m]
        for j in range(mine.size):
            mine[j] = row[j]


@helper
def _add_products(table, rows, factors, local, count, terms):
    """table[rows[m]] += Σ_k factors[m, k] · local[k], three k at a time."""
    for m in range(count):
        row = table[rows[m]]
        k = 0
        while k + 3 <= terms:
            f = factors[m, k]
            g = factors[m, k + 1]
            h = factors[m, k + 2]
            a = local[k]
            b = local[k + 1]
            c = local[k + 2]
            for j in range(row.size):
                row[j] += f * a[j] + g * b[j] + h * c[j]
            k += 3
        while k < terms:
            f = factors[m, k]
            a = local[k]
            for j in range(row.size):
                row[j] += f * a[j]
            k += 1


@helper
def _errors(v, u, inputs, outputs, lr, signs, errors):
    """errors[m, k] = lr · sign·(1 − σ(sign · v[m]·u[k])); returns the loss in nats."""
    one = v.dtype.type(1)
    limit = v.dtype.type(LIMIT)
    for m in range(inputs):
        for k in range(outputs):
            a = v[m]
            b = u[k]
            score = v.dtype.type(0)
            for j in range(a.size):
                score += a[j] * b[j]
            errors[m, k] = score * signs[k]
    loss = 0.0
    product = 1.0  # of probabilities; one logarithm for many of them
    for m in range(inputs):
        row = errors[m]
        for k in range(outputs):
            score = min(max(row[k], -limit), limit)
            row[k] = one / (one + exp(-score))
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
        begin = ends[g]
        end = ends[g + 1]
        row = table[rows[begin]]
        mine = local[g]
        for j in range(mine.size):
            mine[j] = row[j]
        for m in range(begin + 1, end):
            row = table[rows[m]]
            for j in range(mine.size):
                mine[j] += row[j]
        if mean and end - begin > 1:
            size = table.dtype.type(end - begin)
            for j in range(mine.size):
                mine[j] /= size


@helper
def _spread(table, rows, ends, groups, factors, u, outputs, change):
    """table[rows[m]] += Σ_k factors[g, k] · u[k], the same for every m of group g."""
    for g in range(groups):
        change[:] = 0
        for k in range(outputs):
            f = factors[g, k]
            a = u[k]
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


@helper
def _longest_bag(bags, words):
    """The largest number of rows of a word."""
    longest = 1
    for word in range(words):
        longest = max(longest, bags[word + 1] - bags[word])
    return longest


@kernel(
    reference=_word2vec_ref,
    parallel=True,
    spec="""
        vectors: inout[R,C]
        context: inout[U,C]
        bags: ids<R[B]
        ids: ids<V[N]
        begins: bool[N]
        chances: double[2,V]
        alias: ids<V[V]
        ways: ids<U[V,D]
        window: 1..5
        negative: 0..5
        mode: 0..2
        lr: real
        key: key
        losses: out[2,N]
    """,
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
    """One pass of SGD over a text, lock-free: threads write to the same rows without waiting.

    With one thread it is exact.

    vectors : (R, C), in place: the rows v
    context : (U, C), in place: the rows u, one a word, then one a node of the tree
    bags : (V + 1 + F,) word w is the rows bags[bags[w]:bags[w + 1]] of vectors, at least one
    ids : (N,) int64 words
    begins : (N,) bool, True where a sentence begins
    chances : (2, V) that a word survives subsampling; that a draw keeps its slot's own word
    alias : (V,) the word that a draw takes otherwise, see `alias_table`
    ways : (V, D) each word's path in the tree as 2·row + code, then −1; D = 0 without a tree
    negative : K, or −1 without negative sampling
    mode : SKIP_GRAM, CBOW_SUM or CBOW_MEAN
    losses : (2, N) written: for each centre the loss in nats, summed over its window, and the
        number of predictions
    Source: Mikolov et al. 2013; Ji et al. 2016 (shared negatives); Bojanowski et al. 2017 (bags).
    Differs: exact sigmoid; one update per window.
    """
    rate = vectors.dtype.type(lr)
    width = vectors.shape[1]
    draws = max(negative, 0) + 2
    most = 2 * window
    room = max(negative + 1, 0) + ways.shape[1]
    longest = _longest_bag(bags, alias.size)
    for chunk in prange(CHUNKS):
        n = _first_begin(begins, ids.size * chunk // CHUNKS)
        last = _first_begin(begins, ids.size * (chunk + 1) // CHUNKS)
        kept = np.empty(last - n, np.int64)
        rows = np.empty(most * longest, np.int64)
        ends = np.zeros(most + 1, np.int64)
        outputs = np.empty(room, np.int64)
        signs = np.empty(room, vectors.dtype)
        v = np.empty((most, width), vectors.dtype)
        u = np.empty((room, width), vectors.dtype)
        errors = np.empty((most, room), vectors.dtype)
        change = np.empty(width, vectors.dtype)
        while n < last:
            end = _first_begin(begins, n + 1)
            size = 0
            for i in range(n, end):
                losses[0, i] = 0
                losses[1, i] = 0
                if hash32(i * draws, key) * 2.0**-32 < chances[0, ids[i]]:
                    kept[size] = i
                    size += 1
            for i in range(size):
                centre = kept[i]
                draw = centre * draws + 1
                scaled = np.uint64(hash32(draw, key)) * np.uint64(window)
                reach = 1 + np.int64(scaled >> np.uint64(32))
                groups = _window(i, reach, kept, size, ids, bags, mode, rows, ends)
                if groups == 0:
                    continue
                word = ids[centre]
                total = _outputs(
                    word, chances, alias, ways, negative, draw + 1, key, outputs, signs
                )
                # Where every word is one row, nothing is summed and updates go three at a time.
                single = mode == SKIP_GRAM and ends[groups] == groups
                if single:
                    _gather(vectors, rows, groups, v)
                else:
                    _pool(vectors, rows, ends, groups, mode != CBOW_SUM, v)
                _gather(context, outputs, total, u)
                losses[0, centre] = _errors(v, u, groups, total, rate, signs, errors)
                losses[1, centre] = groups
                if single:
                    _add_products(vectors, rows, errors, u, groups, total)
                else:
                    _spread(vectors, rows, ends, groups, errors, u, total, change)
                _add_products(context, outputs, errors.T, v, total, groups)
            n = end
