"""Ctrl-C and SIGTERM as a note that a loop reads at a good moment, so long work ends saved."""

import signal
import threading
from types import FrameType
from typing import Self


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM arrived; the run is saved and can be resumed.

    .status : the exit status, 130 or 143

    >>> Interrupted(signal.SIGTERM, "saved at step 7 of 23").status
    143
    """

    def __init__(self, number: int, where: str):
        super().__init__(where)
        self.status = 128 + number


class Signals:
    """Context that catches the first Ctrl-C or SIGTERM; a second one acts at once.

    Only the main thread may set handlers; in any other thread the context does nothing.

    .caught : the number of the signal that arrived, or None
    """

    def __init__(self):
        self.caught: int | None = None
        self._before = {}

    def __enter__(self) -> Self:
        self.caught = None
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *failure) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        """Note the signal, and put the former handlers back for the next one of either kind."""
        self.caught = number
        for each, handler in self._before.items():
            signal.signal(each, handler)
