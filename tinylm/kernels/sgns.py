"""Skip-gram with negative sampling: each word in a window predicts the window's centre, not K words drawn by chance.

    s = v[context] · u[output]            output ∈ {centre (label 1), n₁, …, n_K (label 0)}, nᵢ drawn from count^0.75
    loss = −Σ log σ(s) over label 1 − Σ log σ(−s) over label 0
    v[context] += lr · Σ_outputs (label − σ(s)) · u[output]         u[output] += lr · Σ_contexts (label − σ(s)) · v[context]

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
from .registry import helper, kernel

CHUNKS = 16  # parts of a call that may run at the same time, each a run of whole sentences; a thread takes neighbouring ones
LIMIT = 60.0  # scores are cut to ±LIMIT: σ is exact to e^-60, and a product of probabilities can be kept from underflow


def alias_table(weights):
    """The distribution weights/Σ weights as V slots of equal chance: (accept, alias), see `sgns`; a draw costs one look.

    weights : (V,) not negative, some positive   returns accept (V,) float64, alias (V,) int64
    Source: Walker 1977, built as by Vose 1991. Differs from word2vec's table of 10^8 entries: exact and small.
    """
    share = (np.asarray(weights, np.float64) * (len(weights) / np.sum(weights))).tolist()  # 1 fills a slot
    accept, alias = [1.0] * len(share), list(range(len(share)))
    small = [i for i, s in enumerate(share) if s < 1]
    large = [i for i, s in enumerate(share) if s >= 1]
    while small and large:
        accept[small[-1]], alias[small[-1]] = share[small[-1]], large[-1]
        share[large[-1]] -= 1 - share[small.pop()]  # the large one gives what the small one's slot has left
        if share[large[-1]] < 1:
            small.append(large.pop())
    return np.array(accept), np.array(alias)


def draw_windows(ids, begins, tables, window, negative, key):
    """What a call of `sgns` trains on, in its order: the definition of subsampling, dynamic windows and negatives.

    ids : (N,) words; begins : (N,) bool, True at the first word of a sentence     tables : keep, accept, alias, see `sgns`
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
    centre, column = np.nonzero(inside & (sentence[partner] == sentence[:, None]) if kept.size else inside)
    slot, fraction = np.divmod(u[:, 2:].astype(np.uint64) * np.uint64(alias.size), np.uint64(1 << 32))
    slot = slot.astype(np.int64)
    negatives = np.where(fraction * 2.0**-32 < accept[slot], slot, alias[slot])
    negatives = np.where(negatives == ids[:, None], -1, negatives)
    return kept[centre], kept[partner[centre, column]], negatives


def _sgns_ref(vectors, context, ids, begins, keep, accept, alias, window, negative, lr, key, losses, counts):
    losses[...], counts[...] = 0, 0
    centres, contexts, negatives = draw_windows(ids, begins, (keep, accept, alias), window, negative, key)
    starts = np.flatnonzero(np.diff(centres, prepend=-1))
    for n, inputs in zip(centres[starts], np.split(ids[contexts], starts[1:]), strict=starts.size > 0):
        outputs = np.append(ids[n], negatives[n][negatives[n] >= 0])
        v, u = vectors[inputs], context[outputs]  # (M, C), (1 + K, C)
        sign = np.where(np.arange(outputs.size) == 0, 1, -1).astype(v.dtype)  # label 1 for the centre, 0 for the negatives
        probability = 1 / (1 + np.exp(-sign * np.clip(v @ u.T, -LIMIT, LIMIT)))  # that each label is right
        errors = v.dtype.type(lr) * sign * (1 - probability)  # lr · (label − σ)
        np.add.at(vectors, inputs, errors @ u)
        np.add.at(context, outputs, errors.T @ v)
        losses[n], counts[n] = -np.log(probability).sum(), inputs.size


@helper
def _outputs_of(n, word, accept, alias, first_draw, key, outputs):
    """Write the centre and its negatives into `outputs`; returns how many."""
    outputs[0] = word
    count = 1
    for k in range(outputs.size - 1):
        product = np.uint64(hash32(first_draw + k, key)) * np.uint64(alias.size)
        slot = np.int64(product >> np.uint64(32))
        fraction = np.float64(product & np.uint64(0xFFFFFFFF)) * 2.0**-32
        drawn = slot if fraction < accept[slot] else alias[slot]
        if drawn != word:
            outputs[count] = drawn
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
def _errors(v, u, inputs, outputs, lr, errors):
    """errors[m, k] = lr · (label − σ(v[m]·u[k])); returns the loss in nats."""
    one, limit = v.dtype.type(1), v.dtype.type(LIMIT)
    for m in range(inputs):
        for k in range(outputs):
            a, b, score = v[m], u[k], v.dtype.type(0)
            for j in range(a.size):
                score += a[j] * b[j]
            errors[m, k] = score if k == 0 else -score
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
            row[k] = lr * (one - row[k]) if k == 0 else -lr * (one - row[k])
    return loss - np.log(product)


@helper
def _first_begin(begins, n):
    """The first sentence that begins at or after position n (the end of the text if none does)."""
    while 0 < n < begins.size and not begins[n]:
        n += 1
    return n


@kernel(reference=_sgns_ref, parallel=True,
        spec="vectors: inout[V,C]; context: inout[V,C]; ids: ids<V[N]; begins: bool[N]; keep: double[V]; accept: double[V]; "
             "alias: ids<V[V]; window: 1..5; negative: 0..5; lr: real; key: key; losses: out[N]; counts: out[N]")
def sgns(vectors, context, ids, begins, keep, accept, alias, window, negative, lr, key, losses, counts):
    """One pass of SGD over a text, lock-free: threads write rows of the tables without asking (with one thread: exact).

    vectors, context : (V, C), in place: input rows v and output rows u       ids : (N,) int64 words
    begins : (N,) bool, True where a sentence begins       keep : (V,) probability that a word survives subsampling
    accept, alias : (V,) the noise distribution as an alias table: a uniform slot, or alias[slot] with chance 1 − accept
    losses, counts : (N,) written: for each centre the loss in nats, summed over its window, and the number of predictions
    Source: Mikolov et al. 2013; Ji et al. 2016 (shared negatives). Differs: exact sigmoid; one update per window.
    """
    rate = vectors.dtype.type(lr)
    width, most = vectors.shape[1], 2 * window
    for chunk in prange(CHUNKS):
        n = _first_begin(begins, ids.size * chunk // CHUNKS)
        last = _first_begin(begins, ids.size * (chunk + 1) // CHUNKS)
        kept, inputs, outputs = np.empty(last - n, np.int64), np.empty(most, np.int64), np.empty(negative + 1, np.int64)
        v, u = np.empty((most, width), vectors.dtype), np.empty((negative + 1, width), vectors.dtype)
        errors = np.empty((most, negative + 1), vectors.dtype)
        while n < last:
            end, size = _first_begin(begins, n + 1), 0
            for i in range(n, end):
                losses[i], counts[i] = 0, 0
                if hash32(i * (negative + 2), key) * 2.0**-32 < keep[ids[i]]:
                    kept[size] = i
                    size += 1
            for i in range(size):
                draw = kept[i] * (negative + 2) + 1
                reach = 1 + np.int64(np.uint64(hash32(draw, key)) * np.uint64(window) >> np.uint64(32))
                count = 0
                for j in range(max(i - reach, 0), min(i + reach + 1, size)):
                    if j != i:
                        inputs[count] = ids[kept[j]]
                        count += 1
                if count:
                    total = _outputs_of(kept[i], ids[kept[i]], accept, alias, draw + 1, key, outputs)
                    _gather(vectors, inputs, count, v)
                    _gather(context, outputs, total, u)
                    losses[kept[i]] = _errors(v, u, count, total, rate, errors)
                    counts[kept[i]] = count
                    _add_products(vectors, inputs, errors, u, (count, total))
                    _add_products(context, outputs, errors.T, v, (total, count))
            n = end
