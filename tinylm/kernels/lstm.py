"""One layer of LSTM over a whole sequence, forward and backward through time.

    z_t = W_x x_t + b, for all steps at once, by `linear`
    i, f, g, o = σ, σ, tanh, σ of (z_t + W r_{t−1})
    c_t = clip(f ∘ c_{t−1} + i ∘ g)
    m_t = o ∘ tanh c_t
    r_t = clip(W_p m_t), or m_t without projection

    dm = W_pᵀ dr, or dr                  do = dm ∘ tanh c
    dc += dm ∘ o ∘ (1 − tanh² c)         dc_{t−1} = f ∘ dc
    dz_t = (dc ∘ g ∘ i(1 − i), dc ∘ c_{t−1} ∘ f(1 − f), dc ∘ i ∘ (1 − g²), do ∘ o(1 − o))
    dr_{t−1} += Wᵀ dz_t

Where a clip cut, no gradient passes. Where the mask leaves a step out, r and c stay as they are.
The caller makes the other gradients, by one product for all steps each: dx and dW_x from dz and x,
dW = Σ dzᵀ r_{t−1}, and dW_p = Σ drᵀ m.

The rows of a batch know nothing of each other. So each thread takes some of them through the whole
text: no thread waits for another at any step. The weights are packed once, before the first step
(see runtime/panels.py). A forward of one step reads them as they lie. Arrays have time first: a
step is one run of memory.

The ladder, ms of forward and backward for T 128, B 16, 512 cells, projected to 128, on two threads
with AVX2: BLAS for strips of hidden units 26 and 26, panels in its place 14 and 20, rows instead of
hidden units 12 and 11.
"""

import numpy as np
from numba import prange

from .elementary import logistic, tanh
from .runtime.blas import product_of_rows
from .runtime.panels import ROWS, STRIP, multiply, pack_columns, pack_rows, packed_size, strips_of
from .runtime.registry import helper, kernel


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _clipped(x, limit):
    return np.clip(x, -limit, limit)


def _lstm_ref(
    gates, weight, projection, mask, cell_clip, projection_clip, threads, cells, hidden, states
):
    """The forward equations, one step after another.

    >>> gates, cells = np.zeros((1, 1, 4)), np.full((2, 1, 1), 8.0)
    >>> hidden, states = np.empty((0, 0, 0)), np.zeros((2, 1, 1))
    >>> weight, mask, empty = np.zeros((4, 1)), np.ones((1, 1), bool), np.empty((0, 0))
    >>> _lstm_ref(gates, weight, empty, mask, 9.0, 9.0, 1, cells, hidden, states)
    >>> cells.ravel()  # a forget gate of σ(0) = 0.5 halves the cell
    array([8., 4.])
    """
    for t in range(len(gates)):
        on = mask[t][:, None]
        z = gates[t] + states[t] @ weight.T
        i, f, g, o = np.split(z, 4, axis=1)  # (B,4H) -> four (B,H)
        i = _sigmoid(i)
        f = _sigmoid(f)
        g = np.tanh(g)
        o = _sigmoid(o)
        values = np.concatenate([i, f, g, o], axis=1)
        gates[t] = np.where(on, values, 0)
        cell = _clipped(f * cells[t] + i * g, cell_clip)
        cells[t + 1] = np.where(on, cell, cells[t])
        r = o * np.tanh(cells[t + 1])
        if projection.size:
            hidden[t] = np.where(on, r, 0)
            r = _clipped(hidden[t] @ projection.T, projection_clip)
        states[t + 1] = np.where(on, r, states[t])


@helper
def _rows_of_task(batch, threads):
    """How many rows a thread takes: whole tiles (see runtime/panels.py), about equal for all."""
    rows = (batch + threads - 1) // threads
    return max(ROWS, (rows + ROWS - 1) // ROWS * ROWS)


@helper
def _cells(gates, mask, before, limit, cells, hidden):
    """Finish one step of some rows.

    gates : (B, 4H), from z to i, f, g, o     before, cells : (B, H), c_{t−1} and c_t
    hidden : (B, H), m; 0 in rows that are masked out
    """
    size = cells.shape[1]
    for b in range(mask.size):
        row = gates[b]
        if not mask[b]:
            row[:] = 0
            cells[b] = before[b]
            hidden[b] = 0
            continue
        i = row[:size]
        f = row[size : 2 * size]
        g = row[2 * size : 3 * size]
        o = row[3 * size :]
        earlier = before[b]
        cell = cells[b]
        m = hidden[b]
        for u in range(size):
            i[u] = logistic(i[u])
            f[u] = logistic(f[u])
            o[u] = logistic(o[u])
        for u in range(size):
            g[u] = tanh(g[u])
        for u in range(size):
            c = f[u] * earlier[u] + i[u] * g[u]
            c = limit if c > limit else c
            cell[u] = -limit if c < -limit else c
        for u in range(size):
            m[u] = o[u] * tanh(cell[u])


@helper
def _carry(mask, before, states):
    """Copy the state before in the rows that are masked out."""
    for b in range(mask.size):
        if not mask[b]:
            states[b] = before[b]


@helper
def _clip(limit, states):
    """Cut the states at ± limit."""
    for b in range(states.shape[0]):
        row = states[b]
        for p in range(row.size):
            r = limit if row[p] > limit else row[p]
            row[p] = -limit if r < -limit else r


@kernel(
    reference=_lstm_ref,
    parallel=True,
    spec="""
        gates: inout[T,B,4*H]
        weight: float[4*H,P]
        projection: float[P,H]?
        mask: bool[T,B]
        cell_clip: real
        projection_clip: real
        threads: 1..9
        cells: inout[T+1,B,H]
        hidden: out[T,B,H]?
        states: inout[T+1,B,P]
    """,
)
def lstm(
    gates, weight, projection, mask, cell_clip, projection_clip, threads, cells, hidden, states
):
    """Fill cells[1:], hidden and states[1:] from cells[0], states[0] and the inputs' part of gates.

    gates : (T, B, 4H) in the order i, f, g, o, overwritten by the gates' values
    weight : (4H, P)   projection : (P, H), or (0, 0) and then P = H   mask : (T, B) bool
    cells : (T + 1, B, H), c   states : (T + 1, B, P), r
    hidden : (T, B, H), m, or (0, 0, 0) without a projection, because m is then r
    threads : how many there are; no bit depends on it
    Source: Hochreiter & Schmidhuber 1997, Gers et al. 2000 (forget gate), Sak et al. 2014
    (projection).
    """
    length, batch = mask.shape
    size = cells.shape[2]
    width = states.shape[2]
    cut = gates.dtype.type(cell_clip)
    cut_state = gates.dtype.type(projection_clip)
    outputs = width if projection.size else 0
    packs = length > 1
    packed = np.empty(packed_size(width, 4 * size) if packs else 0, weight.dtype)
    packed_out = np.empty(packed_size(size, outputs) if packs else 0, weight.dtype)
    for strip in prange(strips_of(4 * size)):
        if packs:
            pack_rows(weight, strip, packed)
        elif length:
            first = strip * STRIP
            last = min(first + STRIP, 4 * size)
            product_of_rows(states[0], weight[first:last], True, gates[0][:, first:last])
    out_strips = strips_of(outputs) if packs else 0
    for strip in prange(out_strips):
        pack_rows(projection, strip, packed_out)
    rows = _rows_of_task(batch, threads)
    for task in prange((batch + rows - 1) // rows):
        first = task * rows
        last = min(first + rows, batch)
        for t in range(length):
            z = gates[t][first:last]
            before = states[t][first:last]
            r = states[t + 1][first:last]
            m = hidden[t][first:last] if outputs else r
            on = mask[t][first:last]
            if packs:
                multiply(before, packed, True, z)
            _cells(z, on, cells[t][first:last], cut, cells[t + 1][first:last], m)
            if outputs:
                if packs:
                    multiply(m, packed_out, False, r)
                else:
                    product_of_rows(m, projection, False, r)
                _clip(cut_state, r)
            _carry(on, before, r)


def _lstm_backward_ref(
    acts,
    cells,
    states,
    weight,
    projection,
    mask,
    cell_clip,
    projection_clip,
    threads,
    dstates,
    dcell,
):
    for t in reversed(range(len(acts))):
        on = mask[t][:, None]
        i, f, g, o = np.split(acts[t], 4, axis=1)
        if projection.size:
            was_cut = np.abs(states[t + 1]) >= projection_clip
            dstates[t + 1][on & was_cut] = 0
        dm = dstates[t + 1]
        if projection.size:
            dm = dm @ projection
        tanh_c = np.tanh(cells[t + 1])
        was_cut = np.abs(cells[t + 1]) >= cell_clip
        dc = dcell + dm * o * (1 - tanh_c**2)
        dc = np.where(was_cut, 0, dc)
        dz_i = dc * g * i * (1 - i)
        dz_f = dc * cells[t] * f * (1 - f)
        dz_g = dc * i * (1 - g**2)
        dz_o = dm * tanh_c * o * (1 - o)
        dz = np.concatenate([dz_i, dz_f, dz_g, dz_o], axis=1)
        dcell[...] = np.where(on, dc * f, dcell)  # before acts[t] is overwritten: f is a part of it
        acts[t] = np.where(on, dz, 0)
        carried = np.where(on, 0, dstates[t + 1])
        dstates[t] += acts[t] @ weight + carried


@helper
def _pass_on(mask, dnext, dstates):
    """dstates += dnext in the rows that are masked out."""
    for b in range(mask.size):
        if not mask[b]:
            for p in range(dstates.shape[1]):
                dstates[b, p] += dnext[b, p]


@helper
def _cut_rows(states, mask, limit, dstates):
    """Zero the gradient where this step clipped the projected state."""
    for b in range(mask.size):
        if mask[b]:
            for p in range(dstates.shape[1]):
                was_cut = abs(states[b, p]) >= limit
                dstates[b, p] = 0 if was_cut else dstates[b, p]


@helper
def _gate_gradients(i, f, g, o, dm, cell, before, limit, dcell, scratch):
    """For n hidden units of one row: i, f, g, o become their dz, dcell becomes dc_{t−1}.

    cell, before : (n,), c_t and c_{t−1}   scratch : (2, n)
    """
    dc = scratch[0]
    kept = scratch[1]  # tanh c, later dz of i, which the others still need as i
    one = dcell.dtype.type(1)
    # Each gradient stays one statement: fastmath orders the factors of a product by where they
    # first occur, so naming a part of it earlier would change the last bits.
    for u in range(dm.size):
        kept[u] = tanh(cell[u])
    for u in range(dm.size):
        d = dcell[u] + dm[u] * o[u] * (one - kept[u] * kept[u])
        dc[u] = 0 if abs(cell[u]) >= limit else d
    for u in range(dm.size):
        o[u] = dm[u] * kept[u] * o[u] * (one - o[u])
    for u in range(dm.size):
        dcell[u] = dc[u] * f[u]
    for u in range(dm.size):
        f[u] = dc[u] * before[u] * f[u] * (one - f[u])
    for u in range(dm.size):
        kept[u] = dc[u] * g[u] * i[u] * (one - i[u])
    for u in range(dm.size):
        g[u] = dc[u] * i[u] * (one - g[u] * g[u])
    for u in range(dm.size):
        i[u] = kept[u]


@helper
def _unit_rows(acts, dm, cells, before, mask, limit, dcell, scratch):
    """`_gate_gradients` of all rows.   dm : (B, H)   scratch : (2, H)"""
    size = dcell.shape[1]
    for b in range(mask.size):
        row = acts[b]
        if mask[b]:
            i = row[:size]
            f = row[size : 2 * size]
            g = row[2 * size : 3 * size]
            o = row[3 * size :]
            _gate_gradients(i, f, g, o, dm[b], cells[b], before[b], limit, dcell[b], scratch)
        else:
            row[:] = 0


@kernel(
    reference=_lstm_backward_ref,
    parallel=True,
    spec="""
        acts: inout[T,B,4*H]
        cells: float[T+1,B,H]
        states: float[T+1,B,P]
        weight: float[4*H,P]
        projection: float[P,H]?
        mask: bool[T,B]
        cell_clip: real
        projection_clip: real
        threads: 1..9
        dstates: inout[T+1,B,P]
        dcell: inout[B,H]
    """,
)
def lstm_backward(
    acts,
    cells,
    states,
    weight,
    projection,
    mask,
    cell_clip,
    projection_clip,
    threads,
    dstates,
    dcell,
):
    """Go back through time from the arrays that `lstm` wrote.

    acts : (T, B, 4H), the gates' values, overwritten by dz   cells : (T + 1, B, H)
    states : (T + 1, B, P)   weight, projection, mask, clips and threads : as in `lstm`
    dstates : (T + 1, B, P), the gradients of every r from outside; those through time are added
    dcell : (B, H), the gradient of the last cell, overwritten by that of the first
    """
    length, batch = mask.shape
    width = states.shape[2]
    size = dcell.shape[1]
    cut = acts.dtype.type(cell_clip)
    cut_state = acts.dtype.type(projection_clip)
    inner = size if projection.size else 0
    packed = np.empty(packed_size(4 * size, width), weight.dtype)
    packed_out = np.empty(packed_size(width, inner), weight.dtype)
    for strip in prange(strips_of(width)):
        pack_columns(weight, strip, packed)
    for strip in prange(strips_of(inner)):
        pack_columns(projection, strip, packed_out)
    rows = _rows_of_task(batch, threads)
    for task in prange((batch + rows - 1) // rows):
        first = task * rows
        last = min(first + rows, batch)
        scratch = np.empty((2, size), acts.dtype)
        outer = np.empty((last - first, inner), acts.dtype)
        for step in range(length):
            t = length - 1 - step
            dr = dstates[t + 1][first:last]
            dearlier = dstates[t][first:last]
            dz = acts[t][first:last]
            on = mask[t][first:last]
            after = cells[t + 1][first:last]
            before = cells[t][first:last]
            dm = outer if inner else dr
            if inner:
                _cut_rows(states[t + 1][first:last], on, cut_state, dr)
                multiply(dr, packed_out, False, dm)
            _unit_rows(dz, dm, after, before, on, cut, dcell[first:last], scratch)
            multiply(dz, packed, True, dearlier)
            _pass_on(on, dr, dearlier)
