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

Every step is split by hidden units. A task multiplies the recurrent weights of its units and
finishes their cells while the product is in cache. For the forward, these weights are transposed
and packed once, before the first step. Arrays have time first: a step is one run of memory.
"""

import numpy as np
from numba import prange

from .elementary import logistic, tanh
from .runtime.blas import product
from .runtime.registry import helper, kernel

UNITS = 16  # hidden units of a task going forward: their four gates are 64 columns of a product
COLUMNS = 64  # columns of a task going backward or projecting


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _clipped(x, limit):
    return np.clip(x, -limit, limit)


def _lstm_ref(gates, weight, projection, mask, cell_clip, projection_clip, cells, hidden, states):
    """The forward equations, one step after another.

    >>> gates, cells = np.zeros((1, 1, 4)), np.full((2, 1, 1), 8.0)
    >>> hidden, states = np.zeros((1, 1, 1)), np.zeros((2, 1, 1))
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
        m = o * np.tanh(cells[t + 1])
        hidden[t] = np.where(on, m, 0)
        r = hidden[t]
        if projection.size:
            r = _clipped(r @ projection.T, projection_clip)
        states[t + 1] = np.where(on, r, states[t])


@helper
def _pack_units(weight, first, last, packed):
    """packed (P, 4·n) = the recurrent weights of units first … last − 1, transposed, by gates."""
    n = last - first
    size = weight.shape[0] // 4
    for gate in range(4):
        for u in range(n):
            row = weight[gate * size + first + u]
            for p in range(row.size):
                packed[p, gate * n + u] = row[p]


@helper
def _gate_row(z, row, first, size):
    """Turn the recurrent product z (4·n) of hidden units first … into their gates' values.

    row : (4·size,), the inputs' share of all gates; its places of these units get the values too
    """
    n = z.size // 4
    for gate in range(4):
        mine = z[gate * n : gate * n + n]
        start = gate * size + first
        own = row[start : start + n]
        for u in range(n):
            mine[u] += own[u]
        if gate == 2:
            for u in range(n):
                mine[u] = tanh(mine[u])
        else:
            for u in range(n):
                mine[u] = logistic(mine[u])
        for u in range(n):
            own[u] = mine[u]


@helper
def _cell_row(z, before, limit, cell, hidden):
    """c = clip(f ∘ before + i ∘ g), m = o ∘ tanh c from the gates z = (i, f, g, o) of n units."""
    n = cell.size
    i = z[:n]
    f = z[n : 2 * n]
    g = z[2 * n : 3 * n]
    o = z[3 * n :]
    for u in range(n):
        c = f[u] * before[u] + i[u] * g[u]
        c = limit if c > limit else c
        cell[u] = -limit if c < -limit else c
    for u in range(n):
        hidden[u] = o[u] * tanh(cell[u])


@helper
def _project_rows(hidden, projection, limit, mask, before, first, last, states):
    """Columns first … last − 1 of states = clip(hidden projectionᵀ), or `before` if masked out."""
    projected = np.dot(hidden, projection[first:last].T)
    for b in range(mask.size):
        for p in range(first, last):
            r = projected[b, p - first]
            r = limit if r > limit else r
            r = -limit if r < -limit else r
            states[b, p] = r if mask[b] else before[b, p]


@helper
def _packed_part(packed, first, last, width):
    """The (P, 4·n) array of hidden units first … last − 1 in the flat `packed`."""
    part = packed[4 * width * first : 4 * width * last]
    return part.reshape((width, 4 * (last - first)))


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
        hidden: out[T,B,H]
        states: inout[T+1,B,P]
    """,
)
def lstm(gates, weight, projection, mask, cell_clip, projection_clip, cells, hidden, states):
    """Fill cells[1:], hidden and states[1:] from cells[0], states[0] and the inputs' part of gates.

    gates : (T, B, 4H) in the order i, f, g, o, overwritten by the gates' values
    weight : (4H, P)   projection : (P, H), or (0, 0) and then P = H   mask : (T, B) bool
    cells : (T + 1, B, H), c   hidden : (T, B, H), m   states : (T + 1, B, P), r
    Source: Hochreiter & Schmidhuber 1997, Gers et al. 2000 (forget gate), Sak et al. 2014
    (projection).
    """
    length, batch, size = hidden.shape
    width = states.shape[2]
    cut = gates.dtype.type(cell_clip)
    cut_state = gates.dtype.type(projection_clip)
    tasks = (size + UNITS - 1) // UNITS
    packed = np.empty(weight.size, weight.dtype)
    for task in prange(tasks):
        first = task * UNITS
        last = min(first + UNITS, size)
        _pack_units(weight, first, last, _packed_part(packed, first, last, width))
    for t in range(length):
        for task in prange(tasks):
            first = task * UNITS
            last = min(first + UNITS, size)
            columns = _packed_part(packed, first, last, width)
            z = np.empty((batch, columns.shape[1]), gates.dtype)
            product(states[t], False, columns, False, z)
            for b in range(batch):
                before = cells[t, b, first:last]
                cell = cells[t + 1, b, first:last]
                new = hidden[t, b, first:last]
                if mask[t, b]:
                    _gate_row(z[b], gates[t, b], first, size)
                    _cell_row(z[b], before, cut, cell, new)
                else:
                    for gate in range(4):
                        start = gate * size
                        gates[t, b, start + first : start + last] = 0
                    cell[:] = before
                    new[:] = 0
                if not projection.size:
                    state = states[t, b, first:last]
                    states[t + 1, b, first:last] = new if mask[t, b] else state
        if projection.size:
            for task in prange((width + COLUMNS - 1) // COLUMNS):
                first = task * COLUMNS
                last = min(first + COLUMNS, width)
                _project_rows(
                    hidden[t], projection, cut_state, mask[t], states[t], first, last, states[t + 1]
                )


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
