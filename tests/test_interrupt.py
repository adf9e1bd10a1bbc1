"""The first signal is noted; whatever comes after it acts at once."""

import signal

import pytest

from tinylm.interrupt import Signals

BOTH = (signal.SIGINT, signal.SIGTERM)


@pytest.mark.parametrize("first", BOTH)
@pytest.mark.parametrize("second", BOTH)
def test_a_second_signal_of_either_kind_acts_at_once(first, second):
    acted = []
    before = {number: signal.signal(number, lambda n, _: acted.append(n)) for number in BOTH}
    try:
        with Signals() as signals:
            signal.raise_signal(first)
            assert signals.caught == first and not acted
            signal.raise_signal(second)
            assert acted == [second]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
