"""One layer of LSTM over a whole sequence, forward and backward through time.

    i, f, g, o = σ, σ, tanh, σ of (z_t + W r_{t−1})              z_t = W_x x_t + b for all steps at once, by `linear`
    c_t = clip(f ∘ c_{t−1} + i ∘ g)      m_t = o ∘ tanh c_t      r_t = clip(W_p m_t), or m_t where nothing is projected

    dm = W_pᵀ dr, or dr      do = dm ∘ tanh c      dc += dm ∘ o ∘ (1 − tanh² c)     dc_{t−1} = f ∘ dc     dr_{t−1} += Wᵀ dz_t
    dz_t = (dc ∘ g ∘ i(1 − i), dc ∘ c_{t−1} ∘ f(1 − f), dc ∘ i ∘ (1 − g²), do ∘ o(1 − o))

No gradient passes where a clip cut. Steps that the mask leaves out carry r and c on as they are. What is left for the caller
is one product each: dx, dW_x from dz and x, dW = Σ dzᵀ r_{t−1}, dW_p = Σ drᵀ m.

Every step is split by hidden units: a task multiplies its units' recurrent weights (going forward they are turned once and
packed together) and finishes their cells while the product is in cache. Arrays have time first: a step is one run of memory.
"""

import numpy as np
from numba import prange

from .elementary import logistic, tanh
from .runtime.blas import product
from .runtime.registry import helper, kernel

UNITS, COLUMNS = (
    16,
    64,
)  # hidden units of a task going forward (their four gates are as many columns), and backward


def _clipped(x, limit):
    return np.clip(x, -limit, limit)


def _lstm_ref(gates, weight, projection, mask, cell_clip, projection_clip, cells, hidden, states):
    for t in range(len(gates)):
        z, on = gates[t] + states[t] @ weight.T, mask[t][:, None]
        i, f, g, o = np.split(z, 4, axis=1)  # (B,4H) -> four (B,H)
        i, f, g, o = 1 / (1 + np.exp(-i)), 1 / (1 + np.exp(-f)), np.tanh(g), 1 / (1 + np.exp(-o))
        gates[t] = np.where(on, np.concatenate([i, f, g, o], axis=1), 0)
        cells[t + 1] = np.where(on, _clipped(f * cells[t] + i * g, cell_clip), cells[t])
        hidden[t] = np.where(on, o * np.tanh(cells[t + 1]), 0)
        r = _clipped(hidden[t] @ projection.T, projection_clip) if projection.size else hidden[t]
        states[t + 1] = np.where(on, r, states[t])


@helper
def _pack_units(weight, first, last, packed):
    """packed (P, 4·n): the columns of the recurrent product that belong to hidden units first … last, gate by gate."""
    n, size = last - first, weight.shape[0] // 4
    for gate in range(4):
        for u in range(n):
            row = weight[gate * size + first + u]
            for p in range(row.size):
                packed[p, gate * n + u] = row[p]


@helper
def _gate_row(z, row, first, size):
    """z (4·n): product plus input for hidden units first …; becomes the gates' values, also in their places in the row."""
    n = z.size // 4
    for gate in range(4):
        mine, own = z[gate * n : gate * n + n], row[gate * size + first : gate * size + first + n]
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
    """c = clip(f ∘ before + i ∘ g) and m = o ∘ tanh c from the gates z = (i, f, g, o) of n hidden units."""
    n = cell.size
    i, f, g, o = z[:n], z[n : 2 * n], z[2 * n : 3 * n], z[3 * n :]
    for u in range(n):
        c = f[u] * before[u] + i[u] * g[u]
        c = limit if c > limit else c
        cell[u] = -limit if c < -limit else c
    for u in range(n):
        hidden[u] = o[u] * tanh(cell[u])


@helper
def _project_rows(hidden, projection, limit, mask, before, first, last, states):
    """states[:, first:last] = clip(hidden projectionᵀ) of these rows of the projection; `before` where the mask is False."""
    projected = np.dot(hidden, projection[first:last].T)
    for b in range(mask.size):
        for p in range(first, last):
            r = projected[b, p - first]
            r = limit if r > limit else r
            r = -limit if r < -limit else r
            states[b, p] = r if mask[b] else before[b, p]


@kernel(
    reference=_lstm_ref,
    parallel=True,
    spec="gates: inout[T,B,4*H]; weight: float[4*H,P]; projection: float[P,H]?; mask: bool[T,B]; cell_clip: real; "
    "projection_clip: real; cells: inout[T+1,B,H]; hidden: out[T,B,H]; states: inout[T+1,B,P]",
)
def lstm(gates, weight, projection, mask, cell_clip, projection_clip, cells, hidden, states):
    """Fill cells[1:], hidden and states[1:] from cells[0], states[0] and the inputs' share of the gates.

    gates : (T, B, 4H) in the order i, f, g, o, overwritten by the gates' values   weight : (4H, P)   mask : (T, B) bool
    projection : (P, H), or (0, 0) and then P = H   cells : (T + 1, B, H)   hidden : (T, B, H), m   states : (T + 1, B, P), r
    Source: Hochreiter & Schmidhuber 1997, Gers et al. 2000 (forget gate), Sak et al. 2014 (projection).
    """
    (length, batch, size), width = hidden.shape, states.shape[2]
    cut, cut_state = gates.dtype.type(cell_clip), gates.dtype.type(projection_clip)
    tasks, packed = (size + UNITS - 1) // UNITS, np.empty(weight.size, weight.dtype)
    for task in prange(tasks):
        first, last = task * UNITS, min(task * UNITS + UNITS, size)
        _pack_units(
            weight,
            first,
            last,
            packed[4 * width * first : 4 * width * last].reshape((width, 4 * (last - first))),
        )
    for t in range(length):
        for task in prange(tasks):
            first, last = task * UNITS, min(task * UNITS + UNITS, size)
            columns = packed[4 * width * first : 4 * width * last].reshape(
                (width, 4 * (last - first))
            )
            z = np.empty((batch, columns.shape[1]), gates.dtype)
            product(states[t], False, columns, False, z)
            for b in range(batch):
                cell, new = cells[t + 1, b, first:last], hidden[t, b, first:last]
                if mask[t, b]:
                    _gate_row(z[b], gates[t, b], first, size)
                    _cell_row(z[b], cells[t, b, first:last], cut, cell, new)
                else:
                    for gate in range(4):
                        gates[t, b, gate * size + first : gate * size + last] = 0
                    cell[:] = cells[t, b, first:last]
                    new[:] = 0
                if not projection.size:
                    states[t + 1, b, first:last] = new if mask[t, b] else states[t, b, first:last]
        if projection.size:
            for task in prange((width + COLUMNS - 1) // COLUMNS):
                first, last = task * COLUMNS, min(task * COLUMNS + COLUMNS, width)
                _project_rows(
                    hidden[t], projection, cut_state, mask[t], states[t], first, last, states[t + 1]
                )


def _lstm_backward_ref(
    acts, cells, states, weight, projection, mask, cell_clip, projection_clip, dstates, dcell
):
    for t in reversed(range(len(acts))):
        on, (i, f, g, o) = mask[t][:, None], np.split(acts[t], 4, axis=1)
        if projection.size:
            dstates[t + 1][on & (np.abs(states[t + 1]) >= projection_clip)] = 0
        dm = dstates[t + 1] @ projection if projection.size else dstates[t + 1]
        tanh_c = np.tanh(cells[t + 1])
        dc = np.where(np.abs(cells[t + 1]) >= cell_clip, 0, dcell + dm * o * (1 - tanh_c**2))
        dz = np.concatenate(
            [
                dc * g * i * (1 - i),
                dc * cells[t] * f * (1 - f),
                dc * i * (1 - g**2),
                dm * tanh_c * o * (1 - o),
            ],
            axis=1,
        )
        dcell[...] = np.where(on, dc * f, dcell)  # f is a part of acts
        acts[t] = np.where(on, dz, 0)
        dstates[t] += acts[t] @ weight + np.where(on, 0, dstates[t + 1])


@helper
def _through_time(dz, weight, mask, dnext, first, last, dstates):
    """Columns first … last of dstates += dz weight, and what a step left out by the mask carries on: dnext as it is."""
    product(dz, False, weight[:, first:last], True, dstates[:, first:last])
    for b in range(mask.size):
        if not mask[b]:
            for p in range(first, last):
                dstates[b, p] += dnext[b, p]


@helper
def _cut_rows(states, mask, limit, first, last, dstates):
    """Zero where the projected state was clipped in this step."""
    for b in range(mask.size):
        if mask[b]:
            for p in range(first, last):
                dstates[b, p] = 0 if abs(states[b, p]) >= limit else dstates[b, p]


@helper
def _gate_gradients(acts, dm, cell, before, limit, dcell, scratch):
    """For n hidden units of one row: acts (i, f, g, o, four arrays) become dz, dcell becomes that of the step before."""
    i, f, g, o = acts
    dc, kept, one = scratch[0], scratch[1], dcell.dtype.type(1)
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
    """`_gate_gradients` of units first … last for every row; dm has them from column `start` on."""
    size, n = dcell.shape[1], last - first
    scratch = np.empty((2, n), dm.dtype)
    for b in range(mask.size):
        row = acts[b]
        parts = (
            row[first:last],
            row[size + first : size + last],
            row[2 * size + first : 2 * size + last],
            row[3 * size + first : 3 * size + last],
        )
        if mask[b]:
            _gate_gradients(
                parts,
                dm[b, start : start + n],
                cells[b, first:last],
                before[b, first:last],
                limit,
                dcell[b, first:last],
                scratch,
            )
        else:
            for part in parts:
                part[:] = 0


@kernel(
    reference=_lstm_backward_ref,
    parallel=True,
    spec="acts: inout[T,B,4*H]; cells: float[T+1,B,H]; states: float[T+1,B,P]; weight: float[4*H,P]; "
    "projection: float[P,H]?; mask: bool[T,B]; cell_clip: real; projection_clip: real; "
    "dstates: inout[T+1,B,P]; dcell: inout[B,H]",
)
def lstm_backward(
    acts, cells, states, weight, projection, mask, cell_clip, projection_clip, dstates, dcell
):
    """Back through time from what `lstm` left: acts become dz, dstates and dcell all of their gradients.

    acts : (T, B, 4H), the gates' values   cells : (T + 1, B, H)   states, dstates : (T + 1, B, P); dstates arrives with the
    gradients of every r from outside and leaves with those through time added, that of r_0 first   dcell : (B, H), of the
    last cell, leaves as that of the first   the rest as in `lstm`
    """
    length, width, size = mask.shape[0], states.shape[2], dcell.shape[1]
    cut, cut_state = acts.dtype.type(cell_clip), acts.dtype.type(projection_clip)
    for step in range(length + 1):
        t = length - 1 - step  # at −1 only the gradient of the first state is left to do
        for task in prange((width + COLUMNS - 1) // COLUMNS):
            first, last = task * COLUMNS, min(task * COLUMNS + COLUMNS, width)
            if t + 1 < length:
                _through_time(
                    acts[t + 1], weight, mask[t + 1], dstates[t + 2], first, last, dstates[t + 1]
                )
            if projection.size and t >= 0:
                _cut_rows(states[t + 1], mask[t], cut_state, first, last, dstates[t + 1])
            elif t >= 0:
                _unit_rows(
                    acts[t],
                    dstates[t + 1],
                    first,
                    cells[t + 1],
                    cells[t],
                    mask[t],
                    cut,
                    first,
                    last,
                    dcell,
                )
        if projection.size and t >= 0:
            for task in prange((size + COLUMNS - 1) // COLUMNS):
                first, last = task * COLUMNS, min(task * COLUMNS + COLUMNS, size)
                dm = np.empty((mask.shape[1], last - first), acts.dtype)
                product(dstates[t + 1], False, projection[:, first:last], False, dm)
                _unit_rows(acts[t], dm, 0, cells[t + 1], cells[t], mask[t], cut, first, last, dcell)
