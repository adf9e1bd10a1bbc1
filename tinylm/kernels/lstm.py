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

Every step is split by hidden units. A task adds the product with the recurrent weights of its units
to their gates in place, and finishes their cells while these are in cache. For the forward of more
than one step, the weights are transposed and packed once, before the first. Arrays have time first:
a step is one run of memory.

The ladder, ms of the forward for T 70, B 32, H 384 on one thread: products of 16 units that are
added to the gates afterwards 37, of 64 units 33, added by the product itself 29. The products alone
take 24. Short loops cost more than their numbers: a row of 16 starts as slowly as a row of 64.
"""

import numpy as np
from numba import prange

from .elementary import logistic, tanh
from .runtime.blas import pack_rows, packed_rows, product, product_of_rows
from .runtime.registry import helper, kernel

UNITS = 64  # hidden units of a task going forward
COLUMNS = 64  # columns of a task going backward or projecting


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _clipped(x, limit):
    return np.clip(x, -limit, limit)


def _lstm_ref(gates, weight, projection, mask, cell_clip, projection_clip, cells, hidden, states):
    """The forward equations, one step after another.

    >>> gates, cells = np.zeros((1, 1, 4)), np.full((2, 1, 1), 8.0)
    >>> hidden, states = np.empty((0, 0, 0)), np.zeros((2, 1, 1))
    >>> weight, mask, empty = np.zeros((4, 1)), np.ones((1, 1), bool), np.empty((0, 0))
    >>> _lstm_ref(gates, weight, empty, mask, 9.0, 9.0, cells, hidden, states)
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
def _cells(gates, mask, before, limit, first, last, cells, hidden):
    """Finish hidden units first … last − 1 of one step, for every row of the batch.

    gates : (B, 4H), from z to i, f, g, o     before, cells : (B, H), c_{t−1} and c_t
    hidden : (B, H), m; 0 in rows that are masked out
    """
    size = cells.shape[1]
    for b in range(mask.size):
        row = gates[b]
        i = row[first:last]
        f = row[size + first : size + last]
        g = row[2 * size + first : 2 * size + last]
        o = row[3 * size + first : 3 * size + last]
        earlier = before[b, first:last]
        cell = cells[b, first:last]
        m = hidden[b, first:last]
        if not mask[b]:
            i[:] = 0
            f[:] = 0
            g[:] = 0
            o[:] = 0
            cell[:] = earlier
            m[:] = 0
            continue
        for u in range(m.size):
            i[u] = logistic(i[u])
            f[u] = logistic(f[u])
            o[u] = logistic(o[u])
        for u in range(m.size):
            g[u] = tanh(g[u])
        for u in range(m.size):
            c = f[u] * earlier[u] + i[u] * g[u]
            c = limit if c > limit else c
            cell[u] = -limit if c < -limit else c
        for u in range(m.size):
            m[u] = o[u] * tanh(cell[u])


@helper
def _carry(mask, before, first, last, states):
    """Columns first … last − 1 of the state before, in the rows that are masked out."""
    for b in range(mask.size):
        if not mask[b]:
            states[b, first:last] = before[b, first:last]


@helper
def _project(hidden, projection, limit, first, last, states):
    """Columns first … last − 1 of states = clip(hidden projectionᵀ)."""
    projected = np.dot(hidden, projection[first:last].T)
    for b in range(states.shape[0]):
        for p in range(first, last):
            r = projected[b, p - first]
            r = limit if r > limit else r
            states[b, p] = -limit if r < -limit else r


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
        cells: inout[T+1,B,H]
        hidden: out[T,B,H]?
        states: inout[T+1,B,P]
    """,
)
def lstm(gates, weight, projection, mask, cell_clip, projection_clip, cells, hidden, states):
    """Fill cells[1:], hidden and states[1:] from cells[0], states[0] and the inputs' part of gates.

    gates : (T, B, 4H) in the order i, f, g, o, overwritten by the gates' values
    weight : (4H, P)   projection : (P, H), or (0, 0) and then P = H   mask : (T, B) bool
    cells : (T + 1, B, H), c   states : (T + 1, B, P), r
    hidden : (T, B, H), m, or (0, 0, 0) without a projection, because m is then r
    Source: Hochreiter & Schmidhuber 1997, Gers et al. 2000 (forget gate), Sak et al. 2014
    (projection).
    """
    length = mask.shape[0]
    size = cells.shape[2]
    width = states.shape[2]
    cut = gates.dtype.type(cell_clip)
    cut_state = gates.dtype.type(projection_clip)
    tasks = (size + UNITS - 1) // UNITS
    packed = np.empty(weight.size if length > 1 else 0, weight.dtype)
    for task in prange(tasks if packed.size else 0):
        for gate in range(4):
            first = gate * size + task * UNITS
            last = gate * size + min((task + 1) * UNITS, size)
            pack_rows(weight, first, last, packed)
    for t in range(length):
        for task in prange(tasks):
            first = task * UNITS
            last = min(first + UNITS, size)
            for gate in range(4):
                start = gate * size + first
                stop = gate * size + last
                z = gates[t][:, start:stop]
                if packed.size:
                    product(states[t], False, packed_rows(packed, start, stop, width), True, z)
                else:
                    product_of_rows(states[t], weight[start:stop], True, z)
            m = hidden[t] if projection.size else states[t + 1]
            _cells(gates[t], mask[t], cells[t], cut, first, last, cells[t + 1], m)
            if not projection.size:
                _carry(mask[t], states[t], first, last, states[t + 1])
        if projection.size:
            for task in prange((width + COLUMNS - 1) // COLUMNS):
                first = task * COLUMNS
                last = min(first + COLUMNS, width)
                _project(hidden[t], projection, cut_state, first, last, states[t + 1])
                _carry(mask[t], states[t], first, last, states[t + 1])


def _lstm_backward_ref(
    acts, cells, states, weight, projection, mask, cell_clip, projection_clip, dstates, dcell
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
def _through_time(dz, weight, mask, dnext, first, last, dstates):
    """Columns first … last − 1 of dstates += dz weight, or += dnext in rows that are masked out.

    dz is 0 in those rows.
    """
    columns = weight[:, first:last]
    product(dz, False, columns, True, dstates[:, first:last])
    for b in range(mask.size):
        if not mask[b]:
            for p in range(first, last):
                dstates[b, p] += dnext[b, p]


@helper
def _cut_rows(states, mask, limit, first, last, dstates):
    """Zero the gradient where this step clipped the projected state."""
    for b in range(mask.size):
        if mask[b]:
            for p in range(first, last):
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
def _unit_rows(acts, dm, start, cells, before, mask, limit, first, last, dcell):
    """`_gate_gradients` of hidden units first … last − 1 for every row.

    dm : (B, columns), the units' gradients begin at column `start`
    """
    size = dcell.shape[1]
    n = last - first
    scratch = np.empty((2, n), dm.dtype)
    for b in range(mask.size):
        row = acts[b]
        i = row[first:last]
        f = row[size + first : size + last]
        g = row[2 * size + first : 2 * size + last]
        o = row[3 * size + first : 3 * size + last]
        if mask[b]:
            grad = dm[b, start : start + n]
            cell = cells[b, first:last]
            earlier = before[b, first:last]
            dearlier = dcell[b, first:last]
            _gate_gradients(i, f, g, o, grad, cell, earlier, limit, dearlier, scratch)
        else:
            i[:] = 0
            f[:] = 0
            g[:] = 0
            o[:] = 0


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
        dstates: inout[T+1,B,P]
        dcell: inout[B,H]
    """,
)
def lstm_backward(
    acts, cells, states, weight, projection, mask, cell_clip, projection_clip, dstates, dcell
):
    """Go back through time from the arrays that `lstm` wrote.

    acts : (T, B, 4H), the gates' values, overwritten by dz   cells : (T + 1, B, H)
    states : (T + 1, B, P)   weight, projection, mask and clips : as in `lstm`
    dstates : (T + 1, B, P), the gradients of every r from outside; those through time are added
    dcell : (B, H), the gradient of the last cell, overwritten by that of the first
    """
    length = mask.shape[0]
    width = states.shape[2]
    size = dcell.shape[1]
    cut = acts.dtype.type(cell_clip)
    cut_state = acts.dtype.type(projection_clip)
    for step in range(length + 1):
        t = length - 1 - step  # at −1 only the gradient of the first state is left to do
        for task in prange((width + COLUMNS - 1) // COLUMNS):
            first = task * COLUMNS
            last = min(first + COLUMNS, width)
            dstate = dstates[t + 1]
            if t + 1 < length:
                dnext = dstates[t + 2]
                _through_time(acts[t + 1], weight, mask[t + 1], dnext, first, last, dstate)
            if projection.size and t >= 0:
                _cut_rows(states[t + 1], mask[t], cut_state, first, last, dstate)
            elif t >= 0:
                cell = cells[t + 1]
                before = cells[t]
                _unit_rows(acts[t], dstate, first, cell, before, mask[t], cut, first, last, dcell)
        if projection.size and t >= 0:
            for task in prange((size + COLUMNS - 1) // COLUMNS):
                first = task * COLUMNS
                last = min(first + COLUMNS, size)
                cell = cells[t + 1]
                before = cells[t]
                dm = np.empty((mask.shape[1], last - first), acts.dtype)
                columns = projection[:, first:last]
                product(dstates[t + 1], False, columns, False, dm)
                _unit_rows(acts[t], dm, 0, cell, before, mask[t], cut, first, last, dcell)
