"""The table of benchmarks: names, and rows for reading. What they measure no test asserts."""

import pytest

from benchmarks import pairs
from benchmarks.__main__ import BENCHMARKS, command_line, meant


def test_the_beginning_of_names_means_all_of_them():
    four = [f"attention_{length}_{mask}" for length in (128, 1024) for mask in ("causal", "padded")]
    assert meant("attention") == four


def test_a_whole_name_means_only_itself():
    assert meant("gpt") == ["gpt"] and "gpt_small" in BENCHMARKS


def test_part_of_a_word_means_nothing():
    assert meant("atten") == []


def test_the_help_names_every_benchmark():
    words = command_line().format_help().replace(",", " ").split()
    assert set(BENCHMARKS) <= set(words)


def test_every_pair_belongs_to_one_benchmark():
    assert {name.split()[0] for name in pairs.PAIRS} <= set(BENCHMARKS)


@pytest.mark.parametrize("ms", [(2.0, 8.0), (3.0, 12.0)])
def test_the_ratio_of_a_row_is_that_of_its_rounds(ms):
    ours, peer = ({"ms": each, "mb": 7.0} for each in ms)
    slow = ({"ms": 50.0, "mb": 5.0}, {"ms": 100.0, "mb": 11.0})  # a busy round
    row = pairs.medians("x", "torch", [(ours, peer), slow, (ours, peer)])
    assert (row["ours_ms"], row["peer_ms"], row["ratio"]) == (*ms, 4.0)
