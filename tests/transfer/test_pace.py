"""The time left: nothing is left of what is done, and what is not is like its likest."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm.transfer import pace
from tinylm.transfer.experiment import CompareConfig
from tinylm.transfer.pace import Part, measurement, parts, seconds_left

CONFIG = CompareConfig(
    objectives=("gpt", "bert"), labels=(2, 11), seeds=3, scratch_labels=(53, "all"), minutes=0.5
)
PARTS = parts(CONFIG)


def test_every_part_is_counted_once():
    assert len(PARTS) == len(set(PARTS))
    table = len(CONFIG.systems()) * len(CONFIG.cells())
    further = 3 * len(CONFIG.further_cells())  # TF-IDF and two twins
    assert len(PARTS) == 2 * 2 + table + further


@given(st.permutations(PARTS), st.integers(0, len(PARTS)), st.floats(0, 100))
def test_what_is_done_takes_no_time_any_more(order, count, took):
    done = dict.fromkeys(order[:count], took)
    left = seconds_left(PARTS, done, minutes=0.5)
    assert left >= 0 and (left == 0) == (count == len(PARTS) or (count > 0 and left == 0))
    assert seconds_left(PARTS, dict.fromkeys(PARTS, took), minutes=0.5) == 0


@given(st.floats(0.125, 60), st.integers(1, 2))
def test_the_rest_of_a_kind_takes_as_long_as_what_is_done_of_it(took, count):
    kind = [measurement("gpt fine-tuned", 11, seed) for seed in range(3)]
    done = dict.fromkeys(kind[:count], took)
    assert seconds_left(kind, done, minutes=1) == pytest.approx((3 - count) * took)


def test_the_nearest_kin_decides():
    asked = measurement("gpt fine-tuned", 11, 2)
    near = {
        measurement("gpt fine-tuned", 11, 0): 7.0,
        measurement("bert fine-tuned", 11, 0): 5.0,
        measurement("gpt fine-tuned", 2, 0): 3.0,
        measurement("bert fine-tuned", 2, 0): 2.0,
    }
    expected = [7.0, 3.0 * 5.0 / 2.0, 3.0 * 11 / 2, 2.0 * 11 / 2, pace.FIRST_GUESS["fine-tuned"]]
    for seconds in expected:
        assert seconds_left([asked], near, minutes=1) == pytest.approx(seconds)
        if near:
            del near[next(iter(near))]


def test_all_labels_are_as_many_as_is_said():
    done = {measurement("gpt from scratch", 53, 0): 5.0}
    asked = [measurement("gpt from scratch", "all", 0)]
    assert seconds_left(asked, done, minutes=1, most=530) == pytest.approx(50)


def test_pretraining_is_first_guessed_by_its_minutes():
    asked = [Part(pace.PRETRAINING, "gpt"), Part(pace.PRETRAINING, "bert")]
    guess = seconds_left(asked, {}, minutes=3)
    assert guess == pytest.approx(2 * (180 + pace.FIRST_GUESS[pace.PRETRAINING]))
    assert seconds_left(asked, {asked[0]: 200.0}, minutes=3) == pytest.approx(200)
    assert seconds_left(asked, {}, minutes=None) < guess


def test_fewer_objectives_leave_less_to_do():
    fewer = parts(replace(CONFIG, objectives=("gpt",)))
    assert set(fewer) < set(PARTS)
    assert seconds_left(fewer, {}, 1) < seconds_left(PARTS, {}, 1)
