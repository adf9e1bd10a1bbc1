"""Ctrl-C and SIGTERM as a note that a loop reads when it suits: long work ends with everything saved."""

import signal
import threading


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM arrived; the run is saved and can be resumed. `.status` is the exit status, 130 or 143."""

    def __init__(self, number, where):
        super().__init__(where)
        self.status = 128 + number


class Signals:
    """Context in which the first Ctrl-C or SIGTERM only sets `caught` to its number; a second one acts at once.

    Only the main thread may set handlers; in any other thread the context does nothing.
    """

    def __init__(self):
        self.caught = None
        self._before = {}

    def __enter__(self):
        self.caught = None
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *failure):
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _note(self, number, frame):
        self.caught = number
        signal.signal(number, self._before[number])
