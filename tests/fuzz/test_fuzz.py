"""Damaged files at every door: only our own errors, no call without an end, no memory that no file justifies.

2,000 inputs here; `TINYLM_FUZZ=100000` reads more of them, and so does fuzz.py with several processes.
"""

import os

import fuzz
import pytest
from seeds import DOORS

# Of a damaged page of links we say that it has none; a kill may cut a line of a log in half.
FORGIVING = {"index page", "index json", "log.jsonl"}
COUNT = int(os.environ.get("TINYLM_FUZZ", "2000"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no alarm on Windows")
def test_no_damaged_file_gives_anything_but_a_sentence():
    _, found = fuzz.run(COUNT, seed=COUNT)
    assert not found, "\n".join(f"{wrong}" for wrong in found[:10])


def test_every_door_reads_valid_files_and_refuses_others():
    """A door that refuses everything, or nothing, would prove nothing."""
    fuzzer, _ = fuzz.run(6000, seed=1)  # some doors are opened seldom
    for door in DOORS:
        assert fuzzer.tally[door.name, "read"], door.name
        assert fuzzer.tally[door.name, "refused"] or door.name in FORGIVING, door.name


def test_an_input_can_be_made_again(tmp_path):
    inputs = []
    for place in ("one", "two"):
        fuzzer = fuzz.Fuzzer(tmp_path / place, seed=7, only=["conll", "wheel"])
        inputs.append([(door.name, changed) for door, changed in map(fuzzer.input, range(20))])
    assert inputs[0] == inputs[1]
