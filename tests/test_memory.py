"""The peak of memory: counted anew where the system can, and never an error where it cannot."""

import subprocess
import sys

from tinylm import memory

# In a process of its own: where malloc keeps what was freed, a block may cost nothing new.
PROGRAM = """
import numpy as np
from tinylm import memory

BLOCK = 64 * 2**20
if memory.forget_peak():  # only Linux forgets
    before = memory.peak()
    block = np.ones(BLOCK, np.uint8)
    del block
    assert memory.peak() >= before + BLOCK // 2
    assert memory.forget_peak() and memory.peak() < before + BLOCK // 2
else:
    assert memory.peak() is None or memory.peak() > 0
"""


def test_the_peak_is_that_since_it_was_forgotten():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_system_that_says_nothing_is_not_asked_again(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "STATUS", tmp_path / "none")
    monkeypatch.setattr(memory, "FORGET", tmp_path / "none" / "none")
    assert memory.peak() is None and memory.forget_peak() is False
