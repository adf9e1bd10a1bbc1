"""Batches are pure functions; an epoch sees everything once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm.data import jittered, length_buckets, pad, stream, windows
from tinylm.errors import DataError, ShapeError

small = st.integers(1, 13)


@given(
    n=st.integers(1, 200),
    length=small,
    batch=small,
    step=st.integers(0, 50),
    seed=st.integers(0, 5),
)
def test_windows_lie_inside_and_depend_on_nothing_but_the_arguments(n, length, batch, step, seed):
    if n < length:
        with pytest.raises(DataError, match="shorter window"):
            windows(n, length, batch, step, seed)
        return
    starts = windows(n, length, batch, step, seed)
    assert starts.shape == (batch,) and starts.dtype == np.int64
    assert starts.min() >= 0 and starts.max() + length <= n
    assert np.array_equal(starts, windows(n, length, batch, step, seed))


@given(n=st.integers(30, 200), length=small, seed=st.integers(0, 5))
def test_every_window_of_an_epoch_is_seen_once_whatever_the_batch_size(n, length, seed):
    per_epoch = (n - length + 1) // length
    one_by_one = [windows(n, length, 1, step, seed)[0] for step in range(2 * per_epoch)]
    for batch in {1, 2, per_epoch}:
        rows = np.concatenate(
            [windows(n, length, batch, s, seed) for s in range(2 * per_epoch // batch)]
        )
        assert rows.tolist() == one_by_one[: len(rows)]
    for epoch in (one_by_one[:per_epoch], one_by_one[per_epoch:]):
        seen = np.concatenate([np.arange(start, start + length) for start in epoch])
        assert len(set(seen.tolist())) == per_epoch * length
        assert np.unique(np.diff(np.sort(epoch))).tolist() in ([], [length])


def test_windows_move_and_shuffle_from_epoch_to_epoch():
    epochs = [windows(1000, 10, 99, step, 0) for step in range(2)]
    assert sorted(epochs[0]) != list(epochs[0])
    assert len({int(e.min()) for e in (windows(1000, 10, 99, s, 0) for s in range(20))}) > 3
    assert not np.array_equal(windows(1000, 10, 99, 0, 0), windows(1000, 10, 99, 0, 1))


@given(n=st.integers(1, 300), batch=st.integers(1, 7), length=small)
def test_stream_reads_each_lane_without_gap(n, batch, length):
    ids = np.arange(n)
    per_epoch = (n // batch - 1) // length
    if per_epoch < 1:
        with pytest.raises(DataError, match="lanes"):
            stream(ids, batch, length, 0)
        return
    parts = [stream(ids, batch, length, step) for step in range(per_epoch)]
    inputs, targets = (np.concatenate([part[i] for part in parts], axis=1) for i in (0, 1))
    assert inputs.shape == (batch, per_epoch * length)
    assert (np.diff(inputs, axis=1) == 1).all() and np.array_equal(targets, inputs + 1)
    assert [part[2] for part in parts] == [True] + [False] * (per_epoch - 1)
    assert stream(ids, batch, length, per_epoch)[2] is True


def epochs(ids, batch, length, seed, count):
    """The steps of the first epochs of a stream with drawn lengths, as (inputs, targets) pairs."""
    found = []
    step = 0
    while len(found) <= count:
        inputs, targets, fresh = stream(ids, batch, length, step, seed)
        if fresh:
            found.append([])
        found[-1].append((inputs, targets))
        step += 1
    return found[:count]


@given(n=st.integers(200, 2000), batch=st.integers(1, 3), length=st.integers(5, 41))
def test_drawn_lengths_still_read_each_lane_without_gap(n, batch, length):
    ids = np.arange(n)
    if n // batch <= length:
        return
    for steps in epochs(ids, batch, length, 0, 3):
        inputs = np.concatenate([step[0] for step in steps], axis=1)
        targets = np.concatenate([step[1] for step in steps], axis=1)
        assert inputs.shape == (batch, n // batch - 1)
        assert (np.diff(inputs, axis=1) == 1).all() and np.array_equal(targets, inputs + 1)


def test_drawn_lengths_vary_by_epoch_and_seed_and_never_fall_below_five():
    ids = np.arange(5003)
    found = {
        (seed, epoch): [step[0].shape[1] for step in steps]
        for seed in (0, 1)
        for epoch, steps in enumerate(epochs(ids, 2, 37, seed, 3))
    }
    assert len({tuple(lengths) for lengths in found.values()}) == len(found)
    assert min(min(lengths) for lengths in found.values()) >= 5


def test_a_batch_of_drawn_length_depends_on_nothing_but_the_arguments():
    ids = np.arange(3001)
    steps = [stream(ids, 3, 31, step, seed=7) for step in range(97)]
    for step in (96, 3, 41, 0):
        again = stream(ids, 3, 31, step, seed=7)
        assert np.array_equal(again[0], steps[step][0]) and again[2] == steps[step][2]


def test_one_length_in_twenty_is_about_half_and_the_others_are_near_the_base():
    lengths = jittered(20_000, 200, np.random.default_rng(0))
    halves = (lengths < 150).mean()
    assert abs(halves - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 20_000)
    for part, base in ((lengths[lengths >= 150], 200), (lengths[lengths < 150], 100)):
        assert abs(part.mean() + 0.5 - base) < 1 and abs(part.std() - 5) < 0.5
    assert jittered(1000, 2, np.random.default_rng(0)).min() == 5


@given(n=st.integers(30, 300), batch=st.integers(1, 5), length=st.integers(2, 7))
def test_reversed_lanes_are_the_stream_of_the_reversed_lanes(n, batch, length):
    ids = np.random.default_rng(n).integers(0, 99, n)
    lane = n // batch
    if lane <= length:
        return
    turned = ids[: lane * batch].reshape(batch, lane)[:, ::-1].ravel()
    for step in range(3):
        here = stream(ids, batch, length, step, backward=True)
        there = stream(turned, batch, length, step)
        assert np.array_equal(here[0], there[0]) and np.array_equal(here[1], there[1])
        mixed = stream(ids, batch, length, step, backward=np.arange(batch) % 2 == 1)
        plain = stream(ids, batch, length, step)
        assert np.array_equal(mixed[0][::2], plain[0][::2])
        assert np.array_equal(mixed[1][1::2], here[1][1::2])


@given(lane=st.integers(8, 60), length=st.integers(1, 7), stride=st.integers(1, 7))
def test_a_stride_moves_windows_and_an_epoch_ends_with_the_last_whole_one(lane, length, stride):
    ids = np.arange(2 * lane)
    begins = []
    for step in range(lane):
        inputs, _, fresh = stream(ids, 2, length, step, stride=stride)
        assert fresh == (inputs[0, 0] == 0)
        if fresh and begins:
            break
        begins.append(int(inputs[0, 0]))
    assert begins == list(range(0, lane - length, stride))


@given(
    lengths=st.lists(st.integers(0, 50), max_size=200),
    batch=st.integers(1, 7),
    seed=st.integers(0, 3),
)
def test_buckets_hold_every_example_once(lengths, batch, seed):
    batches = length_buckets(lengths, batch, seed, 0)
    assert sorted(i for rows in batches for i in rows.tolist()) == list(range(len(lengths)))
    assert all(0 < len(rows) <= batch for rows in batches)
    again = length_buckets(lengths, batch, seed, 0)
    assert all(np.array_equal(a, b) for a, b in zip(batches, again, strict=True))


def test_buckets_waste_less_padding_than_chance_and_differ_between_epochs():
    lengths = np.random.default_rng(0).integers(1, 300, 2000)
    batches = length_buckets(lengths, 16, 0, 0)
    padded = sum(len(rows) * lengths[rows].max() for rows in batches)
    assert padded < 1.1 * lengths.sum()
    other = length_buckets(lengths, 16, 0, 1)
    assert {tuple(sorted(rows)) for rows in batches} != {tuple(sorted(rows)) for rows in other}


@given(st.lists(st.lists(st.integers(0, 99), max_size=7), max_size=5))
def test_padding_is_undone_by_the_mask(rows):
    ids, mask = pad(rows, pad_id=101)
    assert ids.shape == mask.shape == (len(rows), max([1, *map(len, rows)]))
    assert [ids[b][mask[b]].tolist() for b in range(len(rows))] == rows
    assert (ids[~mask] == 101).all()
    assert pad(rows, length=3)[0].shape == (len(rows), 3)


def test_wrong_sizes_are_one_sentence():
    with pytest.raises(ShapeError, match="length 0"):
        windows(10, 0, 1, 0, 0)
    with pytest.raises(ShapeError, match="stride 0"):
        stream(np.arange(10), 1, 1, 0, stride=0)
    with pytest.raises(ShapeError, match="no stride"):
        stream(np.arange(10), 1, 1, 0, seed=0, stride=1)
    with pytest.raises(ShapeError, match="batch_size 0"):
        length_buckets([1], 0, 0, 0)
